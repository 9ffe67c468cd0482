"""Two processes train as one: each trainer, for each deals out its data and meets the other process in its own way.

All of them run in one launch, for to start two processes takes longer than all they do. Run as a module, this file is
what the two processes do.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

import hfseq
from hfseq.models.words.word2vec import Word2VecModel
from hfseq.training.checkpoints import newest_whole
from tests.closeness import ROUNDINGS, assert_same
from tests.contract.cases import spellings
from tests.launches import launch
from tests.training import target_writers, trainers
from tests.training import test_intents_and_slots as requests
from tests.training.streams import stream_trainers
from tests.training.streams.stream_trainers import distance, small_masked_model, small_model, text
from tests.training.test_fine_tuning import Watch, deep_model
from tests.training.words import bags
from tests.training.words import test_word_training as words

FINE_TUNING = {
    "total_train_batch_size": 16,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 5,
    "layer_rate_decay": 0.5,
    "unfreeze_every": 1,
    "weight_decay": 0.1,
    "max_grad_norm": 0.1,
}
MASKED = {"carry": "none", "mlm_probability": 0.3}
WAYS = [*({"carry": carry} for carry in ("stream", "document", "none")), {"vary_window": True}, MASKED]
STREAMS = {"gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 6}
HELD_OUT = [text(seed=1), text(2, seed=1)]  # the other one has fewer predictions than there are processes
RESUMED = {"max_steps": 5, "save_strategy": "steps", "save_steps": 1, "folder": "resumed"}


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The folder in which two processes have trained."""
    folder = tmp_path_factory.mktemp("processes")
    program = ["accelerate", "launch", "--multi_gpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no"]
    process = launch(*program, "--dynamo_backend=no", "-m", "tests.training.test_processes", str(folder))
    assert process.returncode == 0, process.stderr
    return folder


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")


# SequenceTrainer


def test_two_processes_fine_tune_as_one_does(launched, tmp_path):
    watch = Watch()
    alone = trainers.make_trainer(tmp_path, model=deep_model(), callbacks=[watch], **FINE_TUNING)
    alone.train()
    assert read(launched / "moved.json") == [sorted(moved) for moved in watch.moved]
    together = AutoModelForSequenceClassification.from_pretrained(launched / "tuned")
    assert_same(together.parameters(), alone.model.parameters())


def test_two_processes_find_intents_and_slots_as_one_does(launched, tmp_path):
    alone = intents_and_slots(tmp_path)
    alone.train()
    together = hfseq.AutoModelForIntentAndSlots.from_pretrained(launched / "requests")
    assert_same(together.parameters(), alone.model.parameters())


def intents_and_slots(folder, **options):
    """A trainer of all parts: words by their characters, features of words, a CRF, and two heads."""
    parts = {"characters": "cnn", "character_hidden_size": 4, "feature_buckets": 50, "crf": True}
    model = requests.network(**parts, slot_labels=["x", "y", "z"], **spellings().sizes())
    model.fill_words(spellings())
    rates = {"learning_rate": 0.03, "lr_scheduler_type": "constant", "max_steps": 3}
    shares = {"total_train_batch_size": 16, "gradient_accumulation_steps": 2}
    return requests.make_trainer(folder, model, **rates, **shares, **options)


def find_intents_and_slots(folder):
    trainer = intents_and_slots(folder / "finding", num_processes=2)
    trainer.train()
    trainer.save_model(folder / "requests")


def fine_tune(folder):
    watch = Watch()
    trainer = trainers.make_trainer(
        folder, model=deep_model(), callbacks=[watch], folder="tuning", num_processes=2, **FINE_TUNING
    )
    trainer.train()
    trainer.save_model(folder / "tuned")
    if trainer.is_world_process_zero():
        write(folder / "moved.json", [sorted(moved) for moved in watch.moved])


# StreamTrainer


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_two_processes_read_streams_and_evaluate_as_one(launched, tmp_path, options):
    """And one goes on from where two stopped."""
    number = WAYS.index(options)
    new = small_masked_model() if options is MASKED else small_model()
    two = type(new).from_pretrained(launched / f"stream{number}")
    options = {**STREAMS, **options, "per_device_eval_batch_size": 8}
    one = stream_trainers.make_trainer(tmp_path, **options)
    one.train()
    assert distance(one.model, two) < ROUNDINGS < 0.1 < distance(two, new)
    found = [one.evaluate(held_out)["eval_loss"] for held_out in HELD_OUT]
    assert_same(read(launched / f"losses{number}.json"), found)
    (states,) = (launched / f"run{number}").glob("checkpoint-6/streams_1.safetensors")
    resumed = stream_trainers.make_trainer(tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(states.parent))
    assert distance(resumed.model, two) < ROUNDINGS


def train_streams(folder):
    for number, options in enumerate(WAYS):
        options = {**STREAMS, **options, "per_device_eval_batch_size": 4, "num_processes": 2}
        trainer = stream_trainers.make_trainer(folder, folder=f"run{number}", **options)
        trainer.train()
        losses = [trainer.evaluate(held_out)["eval_loss"] for held_out in HELD_OUT]
        trainer.save_model(folder / f"stream{number}")
        if trainer.is_world_process_zero():
            write(folder / f"losses{number}.json", losses)


def test_all_processes_go_on_from_the_checkpoint_that_the_first_one_finds(launched):
    assert [read(launched / f"resumed{rank}.json") for rank in range(2)] == [[3, "checkpoint-3"], [3, "checkpoint-3"]]
    assert newest_whole(launched / "resumed") == launched / "resumed" / "checkpoint-5"


def resume_from_torn_checkpoints(folder):
    trainer = stream_trainers.make_trainer(folder, num_processes=2, **RESUMED)
    trainer.train()
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        (folder / "resumed" / "checkpoint-5" / "rng_state_1.pth").unlink()
        states = folder / "resumed" / "checkpoint-4" / "streams_1.safetensors"
        states.write_bytes(states.read_bytes()[: states.stat().st_size // 2])
    resumed = stream_trainers.make_trainer(folder, num_processes=2, **RESUMED)
    found = []
    original = resumed._load_rng_state
    resumed._load_rng_state = lambda checkpoint: (found.append(Path(checkpoint).name), original(checkpoint))
    resumed.train(resume_from_checkpoint=True)
    done = RESUMED["max_steps"] - len(resumed.losses)
    write(folder / f"resumed{resumed.args.process_index}.json", [done, found[0]])


# EncoderDecoderTrainer

WRITING = {"gradient_accumulation_steps": 2, "num_train_epochs": 2, "optim": "sgd", "learning_rate": 0.3}


def test_two_processes_learn_to_write_targets_as_one_does(launched, tmp_path):
    alone = target_writers.make_trainer(tmp_path, eval_dataset=target_writers.pairs(13), **WRITING)
    alone.train()
    together = AutoModelForSeq2SeqLM.from_pretrained(launched / "writer")
    assert_same(together.parameters(), alone.model.parameters(), scale=0.1)
    # 13 rows in batches of 4: the last ones of one process are filled up, and count once.
    found = read(launched / "written.json")
    assert found["texts"] == alone.write(target_writers.pairs(13))
    measured = {name: value for name, value in alone.evaluate().items() if name in found["scores"]}
    assert_same(found["scores"], measured, 1e-4)


def write_targets(folder):
    options = {**WRITING, "per_device_eval_batch_size": 4, "num_processes": 2}
    trainer = target_writers.make_trainer(folder, folder="writing", eval_dataset=target_writers.pairs(13), **options)
    trainer.train()
    texts, found = trainer.write(target_writers.pairs(13)), trainer.evaluate()
    trainer.save_model(folder / "writer")
    if trainer.is_world_process_zero():
        scores = {name: found[name] for name in ("eval_bleu", "eval_chrf", "eval_exact_match")}
        write(folder / "written.json", {"texts": texts, "scores": scores})


# Word2VecTrainer


def test_two_processes_train_one_model_of_words(launched):
    model = Word2VecModel.from_pretrained(launched / "words")
    assert words.separation(model) > 0.3


def train_words(folder):
    corpus = hfseq.WordCorpus.read(words.world(), min_count=1)
    options = {"num_train_epochs": 8, "learning_rate": 0.05, "average_words": 2000, "num_processes": 2}
    trainer = words.make_trainer(corpus, **options)
    model = trainer.train()
    weights = [None, None]
    torch.distributed.all_gather_object(weights, model.inputs.weight.detach())
    assert torch.equal(*weights)
    if trainer.processes.is_main_process:
        model.save_pretrained(folder / "words")


# BagTrainer


def test_two_processes_train_one_bag(launched):
    bag = AutoModelForSequenceClassification.from_pretrained(launched / "bag")
    rows = bags.learnable(500, seed=1)
    found = bag(input_ids=torch.tensor(rows["input_ids"][:])).logits.argmax(-1)
    assert float((found == torch.tensor(rows["labels"][:])).float().mean()) > 0.95
    new = bags.new_model()
    assert not torch.equal(bag.model.row_weights, torch.ones(new.config.num_rows))


def train_bags(folder):
    # Made apart, with other weights: what the first process has counts.
    model = bags.new_model(seed=torch.distributed.get_rank(), weighting="tfidf")
    held_out = bags.learnable(100, seed=1)
    trainer = bags.make_trainer(
        folder / "bags", model=model, num_processes=2, num_train_epochs=5, eval_dataset=held_out, eval_strategy="epoch"
    )
    trainer.train()
    for parameter in (*model.parameters(), model.model.row_weights):
        weights = [None, None]
        torch.distributed.all_gather_object(weights, parameter.detach())
        assert torch.equal(*weights)
    trainer.save_model(folder / "bag")


if __name__ == "__main__":
    torch.set_num_threads(1)
    works = (fine_tune, find_intents_and_slots, train_streams, resume_from_torn_checkpoints, write_targets)
    for train in (*works, train_words, train_bags):
        train(Path(sys.argv[1]))
    # Together: threads of the connection that are left at the end of one process can abort it.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
