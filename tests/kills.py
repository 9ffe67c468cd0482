"""Runs that are killed at random moments and gone on with: the weights must be those of a run that nobody killed.

    python -m tests.kills --kills 40 --seed 0

Every trainer takes its turn. A run is a process of its own, which is sent SIGKILL at a moment drawn anew each time
between its first checkpoint and its end; as it writes a checkpoint at every step, most of these fall into one. Then
another process resumes it, and is now and then killed too. The processes are forked from this one, which has imported
everything.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from hfseq import Word2VecConfig, WordCorpus
from hfseq.models.artifacts import UnsafeArtifactError
from hfseq.training.checkpoints import UNFINISHED, check_checkpoint, checkpoints_in
from hfseq.training.words.trainer import Word2VecTrainer, Word2VecTrainingArguments
from tests.launches import free_port
from tests.training import trainers
from tests.training.streams import stream_trainers

SAVED = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 3, "learning_rate": 0.03}


def classification(folder):
    model = trainers.small_model(**trainers.DROPOUT)
    evaluated = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    return trainers.make_trainer(
        folder,
        model=model,
        rows=trainers.distinct_texts(40),
        eval_dataset=trainers.distinct_texts(8),
        total_train_batch_size=8,
        num_train_epochs=2,
        **{**SAVED, "save_steps": 2, **evaluated},
    )


def stream(folder):
    model = stream_trainers.small_model(**stream_trainers.DROPOUT)
    return stream_trainers.make_trainer(
        folder, model=model, train=stream_trainers.text(500), optim="adamw_torch", **SAVED
    )


def masked(folder):
    model = stream_trainers.small_masked_model(hidden_dropout=0.3)
    options = {"carry": "none", "mlm_probability": 0.3, "optim": "adamw_torch", **SAVED}
    return stream_trainers.make_trainer(folder, model=model, train=stream_trainers.text(500), **options)


def words(folder):
    rng = np.random.default_rng(0)
    corpus = WordCorpus.read([[f"w{i}" for i in rng.integers(0, 40, 30)] for _ in range(200)], min_count=1)
    arguments = Word2VecTrainingArguments(
        output_dir=str(folder / "run"),
        num_train_epochs=2,
        save_words=600,
        save_total_limit=2,
        num_threads=1,
        disable_tqdm=True,
        engine="torch",
        tokens_per_step=200,
        device="cpu",
    )
    return Word2VecTrainer(Word2VecConfig(vocab_size=corpus.vocab_size, hidden_size=16), corpus, arguments)


KINDS = {"classification": classification, "stream": stream, "masked": masked, "words": words, "two": stream}
"""What is trained; `two` is a stream of two processes."""


def run(kind, folder):
    """Starts the processes of a run, which train, or go on with what they find, and save a model in `folder/done`."""
    count = 2 if kind == "two" else 1
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(count)}
    processes = []
    for rank in range(count):
        process = os.fork()
        if not process:
            if count > 1:
                os.environ.update(world, RANK=str(rank), LOCAL_RANK=str(rank))
            _train(kind, folder, rank)
        processes.append(process)
    return processes


def _train(kind, folder, rank):
    """What a forked process does until its end."""
    status = 1
    with open(folder / f"log-{rank}.txt", "a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            trainer = KINDS[kind](folder)
            trainer.train(resume_from_checkpoint=bool(checkpoints_in(folder / "run")))
            if rank == 0:
                trainer.model.save_pretrained(folder / "done")
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)


def ended(processes):
    """How each process ended, when all have: 0, or the signal or status."""
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def wait_for_checkpoint(processes, folder):
    """Waits for the first checkpoint of a run."""
    while not checkpoints_in(folder / "run"):
        for process in processes:
            assert not os.waitpid(process, os.WNOHANG)[0], f"ended without a checkpoint: {logs(folder)}"
        time.sleep(0.001)


def logs(folder):
    return "".join(path.read_text(encoding="utf-8")[-2000:] for path in sorted(folder.glob("log-*.txt")))


def killed(kind, folder, seconds):
    """Kills a run so many seconds after its first checkpoint is there; whether it was still running."""
    processes = run(kind, folder)
    wait_for_checkpoint(processes, folder)
    time.sleep(seconds)
    for process in processes:
        os.kill(process, signal.SIGKILL)
    return -signal.SIGKILL in ended(processes)


def torn(folder):
    """Whether a killed run left its newest checkpoint torn; an older one may be half removed."""
    try:
        check_checkpoint(checkpoints_in(folder)[-1])
    except UnsafeArtifactError:
        return True
    return False


def reference(kind, folder):
    """The weights of a run that nobody kills, and the seconds from its first checkpoint to its end."""
    folder.mkdir()
    processes = run(kind, folder)
    wait_for_checkpoint(processes, folder)
    first = time.monotonic()
    assert not any(ended(processes)), logs(folder)
    return load_file(folder / "done" / "model.safetensors"), time.monotonic() - first


def same(one, other):
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def kill_and_resume(parent, kills, seed):
    """Kills so many runs; how many came to the same weights, fell into a checkpoint, and left a torn one.

    Returns:
        Counts, and the folders of those that did not come to the same.
    """
    rng, kinds = random.Random(seed), list(KINDS)
    references = {kind: reference(kind, parent / f"{kind}-whole") for kind in kinds[:kills]}
    counts, failed, number = {"kills": 0, "same": 0, "while saving": 0, "torn": 0}, [], 0
    while counts["kills"] < kills:
        kind = kinds[counts["kills"] % len(kinds)]
        weights, seconds = references[kind]
        number += 1
        folder = parent / f"{kind}-{number}"
        folder.mkdir()
        if not killed(kind, folder, rng.uniform(0, seconds)):
            continue  # it had ended before: no kill
        counts["kills"] += 1
        counts["while saving"] += (folder / "run" / UNFINISHED).exists()
        counts["torn"] += torn(folder / "run")
        if rng.random() < 0.25:
            killed(kind, folder, rng.uniform(0, seconds))
            shutil.rmtree(folder / "done", ignore_errors=True)  # where it came to its end before the second kill
        if not any(ended(run(kind, folder))) and same(load_file(folder / "done" / "model.safetensors"), weights):
            counts["same"] += 1
        else:
            failed.append(folder)
    return counts, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    parent = Path(tempfile.mkdtemp(prefix="kills-"))
    counts, failed = kill_and_resume(parent, options.kills, options.seed)
    for folder in failed:
        print(f"{folder}:\n{logs(folder)}")  # noqa: T201
    found = f"{counts['kills']} kills, {counts['while saving']} of them while a checkpoint was written, "
    found += f"{counts['torn']} left the newest one torn; {counts['same']} resumed to the very same weights"
    print(found)  # noqa: T201
    if failed:
        sys.exit(1)
    shutil.rmtree(parent)


if __name__ == "__main__":
    main()
