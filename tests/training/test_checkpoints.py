"""Checkpoints of killed runs and full disks, and runs that diverge: what is gone on from, what is refused and kept."""

import errno
import json
import os
import resource
import shutil
import stat
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerState

import hfseq
from hfseq.models.artifacts import UnsafeArtifactError
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.checkpoints import UNFINISHED, check_checkpoint, checkpoints_in, newest_whole
from tests import kills
from tests.contract.cases import texts
from tests.training.streams import stream_trainers
from tests.training.trainers import make_trainer, small_model

SAVED = {"save_strategy": "steps", "save_steps": 1}


@pytest.fixture
def make(tmp_path):
    """A classifier's trainer of 6 updates with a checkpoint after each."""
    return partial(make_trainer, tmp_path, **{**SAVED, "max_steps": 6, "total_train_batch_size": 8})


@pytest.fixture
def make_stream(tmp_path):
    """A language model's trainer with a checkpoint after each of its 5 updates."""
    return partial(stream_trainers.make_trainer, tmp_path, max_steps=5, optim="adamw_torch", **SAVED)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(a.equal(b) for a, b in pairs)


# Torn checkpoints


def cut(name):
    """Leaves the first half of a file, as a kill in a write does."""

    def plant(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return plant


def flipped(folder):
    """Changes one byte of the optimizer."""
    content = bytearray((folder / "optimizer.pt").read_bytes())
    content[content.index(b"exp_avg")] ^= 255
    (folder / "optimizer.pt").write_bytes(content)


def without(name):
    return lambda folder: (folder / name).unlink()


def pickled(folder):
    torch.save(weights(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def pickled_beside_others(folder):
    pickled(folder)
    save_file({"weight": torch.ones(1)}, folder / "other.safetensors")


def as_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


def index_alone(folder):
    index = {"metadata": {}, "weight_map": {"weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "model.safetensors").unlink()


def with_nan(folder):
    tensors = weights(folder)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def stepless(folder):
    (folder / "trainer_state.json").write_text("{}", encoding="utf-8")


TORN = {
    "no state": (without("trainer_state.json"), "lacks trainer_state.json: its run was stopped while it wrote it"),
    "half a state": (cut("trainer_state.json"), "trainer_state.json is not JSON"),
    "a state of nothing": (stepless, "trainer_state.json tells no step"),
    "half a config": (cut("config.json"), "config.json is not JSON"),
    "no weights": (without("model.safetensors"), "holds neither model.safetensors nor"),
    "no index of shards": (as_shard, "holds neither model.safetensors nor"),
    "an index without shards": (index_alone, "names model-00001-of-00002.safetensors, which is missing"),
    "half the weights": (cut("model.safetensors"), "model.safetensors is truncated"),
    "a pickle": (pickled, "holds pytorch_model.bin only. A pickle .* is never read here"),
    "a pickle beside others": (pickled_beside_others, "holds pytorch_model.bin only"),
    "NaN": (with_nan, "model.safetensors holds NaN or infinite numbers in .*: the run that wrote it diverged"),
    "no optimizer": (without("optimizer.pt"), "lacks optimizer.pt: training would go on otherwise"),
    "half an optimizer": (cut("optimizer.pt"), "optimizer.pt is torn"),
    "a byte of the optimizer": (flipped, "optimizer.pt is torn"),
    "no scheduler": (without("scheduler.pt"), "lacks scheduler.pt"),
    "half a scheduler": (cut("scheduler.pt"), "scheduler.pt is torn"),
    "no random state": (without("rng_state.pth"), "lacks rng_state.pth"),
    "half a random state": (cut("rng_state.pth"), "rng_state.pth is torn"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of a classifier that nothing happened to."""
    trainer = make_trainer(
        tmp_path_factory.mktemp("whole"), max_steps=6, total_train_batch_size=8, lr_scheduler_type="linear", **SAVED
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("damage", TORN)
def test_a_torn_checkpoint_is_left_aside_for_the_whole_one_before_it(whole, tmp_path, caplog, damage):
    plant, reason = TORN[damage]
    for step in (2, 3):
        shutil.copytree(f"{whole.args.output_dir}/checkpoint-{step}", tmp_path / "run" / f"checkpoint-{step}")
    torn = tmp_path / "run" / "checkpoint-3"
    plant(torn)
    with pytest.raises(UnsafeArtifactError, match=reason):
        check_checkpoint(torn)
    with caplog.at_level("WARNING"):
        assert newest_whole(tmp_path / "run") == tmp_path / "run" / "checkpoint-2"
    (aside, chosen) = (record.getMessage() for record in caplog.records)
    assert aside.startswith(f"{torn} is left aside: ") and chosen == f"Going on from {torn.with_name('checkpoint-2')}."


@pytest.mark.parametrize("named", [True, False])
def test_a_run_goes_on_from_the_newest_whole_checkpoint(whole, tmp_path, named):
    run = tmp_path / "run"
    shutil.copytree(whole.args.output_dir, run)
    for step in (4, 5, 6):
        cut("model.safetensors")(run / f"checkpoint-{step}")
    options = {"max_steps": 6, "total_train_batch_size": 8, "lr_scheduler_type": "linear", **SAVED}
    trainer = make_trainer(tmp_path, **options)
    if named:
        with pytest.raises(UnsafeArtifactError, match="checkpoint-5/model.safetensors is truncated"):
            trainer.train(resume_from_checkpoint=str(run / "checkpoint-5"))
        with pytest.raises(ValueError, match="There is no checkpoint to resume at .*checkpoint-9"):
            trainer.train(resume_from_checkpoint=str(run / "checkpoint-9"))
    trainer.train(resume_from_checkpoint=str(run / "checkpoint-3") if named else True)
    assert same_weights(trainer.model, whole.model)
    assert newest_whole(run) == run / "checkpoint-6"  # written anew in the place of the torn one


class Wrapper(torch.nn.Module):
    """A model that is none of transformers', and so has no config.json."""

    def __init__(self):
        super().__init__()
        self.inner = small_model()

    def forward(self, input_ids, attention_mask, labels):
        return {"loss": self.inner(input_ids, attention_mask=attention_mask, labels=labels).loss}


def test_a_module_that_is_no_model_of_transformers_is_gone_on_with(tmp_path):
    def trainer(folder):
        return make_trainer(tmp_path, folder=folder, model=Wrapper(), rows=texts(24), max_steps=4, **SAVED)

    unbroken = trainer("run")
    unbroken.train()
    assert not (tmp_path / "run" / "checkpoint-2" / "config.json").exists()
    shutil.copytree(tmp_path / "run" / "checkpoint-2", tmp_path / "again" / "checkpoint-2")
    resumed = trainer("again")
    resumed.train(resume_from_checkpoint=True)
    assert same_weights(resumed.model, unbroken.model)


def as_adapters(folder):
    """The files that PEFT writes: those of the default adapter, and another's in its folder."""
    (folder / "config.json").unlink()
    (folder / "other").mkdir()
    for place in (folder, folder / "other"):
        shutil.copy(folder / "model.safetensors", place / "adapter_model.safetensors")
        (place / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "adapter_config.json", "other/adapter_model.safetensors"]
)
def test_checkpoints_of_adapters_are_checked(whole, tmp_path, name):
    folder = tmp_path / "checkpoint-3"
    shutil.copytree(f"{whole.args.output_dir}/checkpoint-3", folder)
    as_adapters(folder)
    check_checkpoint(folder)
    cut(name)(folder)
    with pytest.raises(UnsafeArtifactError, match=f"{name} is "):
        check_checkpoint(folder)


def test_a_run_of_torn_checkpoints_is_refused_with_all_reasons(whole, tmp_path):
    run = tmp_path / "run"
    for step, plant in ((2, without("optimizer.pt")), (3, cut("model.safetensors"))):
        shutil.copytree(f"{whole.args.output_dir}/checkpoint-{step}", run / f"checkpoint-{step}")
        plant(run / f"checkpoint-{step}")
    message = r"go on from none of .*truncated.*lacks optimizer.pt.*Name another output_dir and start anew\.$"
    with pytest.raises(UnsafeArtifactError, match=message) as refused:
        make_trainer(tmp_path).train(resume_from_checkpoint=True)
    assert "elete" not in str(refused.value)  # the weights of the first one are good
    with pytest.raises(ValueError, match="There is no checkpoint to resume in output_dir="):
        make_trainer(tmp_path, folder="other").train(resume_from_checkpoint=True)


def test_the_random_states_and_streams_of_every_process_are_needed(make_stream, tmp_path):
    make_stream().train()
    folder = tmp_path / "run" / "checkpoint-5"
    (folder / "rng_state.pth").rename(folder / "rng_state_0.pth")  # several processes number them
    with pytest.raises(UnsafeArtifactError, match="lacks rng_state_1.pth"):
        check_checkpoint(folder)
    shutil.copy(folder / "rng_state_0.pth", folder / "rng_state_1.pth")
    check_checkpoint(folder)
    streams = folder / "streams_0.safetensors"
    tensors = load_file(streams)
    save_file(tensors, streams, {"num_processes": "2", "shares": "2"})
    with pytest.raises(UnsafeArtifactError, match="lacks streams_1.safetensors, the states of the streams"):
        check_checkpoint(folder)
    save_file(tensors, streams, {"num_processes": "1", "shares": "1"})
    check_checkpoint(folder)
    cut(streams.name)(folder)
    with pytest.raises(UnsafeArtifactError, match="streams_0.safetensors is truncated"):
        check_checkpoint(folder)


def test_what_other_tools_shard_is_left_to_them(tmp_path):
    (tmp_path / "pytorch_model_fsdp_0").mkdir()
    (tmp_path / "trainer_state.json").write_text('{"global_step": 3}', encoding="utf-8")
    check_checkpoint(tmp_path)


# Writing


def test_a_checkpoint_has_its_name_when_it_is_whole(make, monkeypatch):
    seen = []
    for name in ("save_model", "_save_optimizer_and_scheduler", "_save_rng_state"):
        original = getattr(Trainer, name)

        def spied(self, output_dir, *args, original=original, **kwargs):
            original(self, output_dir, *args, **kwargs)
            seen.append((Path(output_dir).parent.name, len(checkpoints_in(self.args.output_dir))))

        monkeypatch.setattr(Trainer, name, spied)
    trainer = make(max_steps=2)
    trainer.train()
    assert seen == [(UNFINISHED, 0)] * 3 + [(UNFINISHED, 1)] * 3
    assert [path.name for path in checkpoints_in(trainer.args.output_dir)] == ["checkpoint-1", "checkpoint-2"]
    assert not Path(trainer.args.output_dir, UNFINISHED).exists()


def test_what_a_killed_run_left_half_written_is_removed(make, tmp_path):
    left = tmp_path / "run" / UNFINISHED / "checkpoint-1"
    left.mkdir(parents=True)
    (left / "model-00001-of-00009.safetensors").write_bytes(b"half")
    make(max_steps=1).train()
    assert not left.parent.exists()
    assert "model-00001-of-00009.safetensors" not in [path.name for path in (tmp_path / "run/checkpoint-1").iterdir()]


@pytest.mark.parametrize("kind", [stat.S_ISDIR, stat.S_ISREG])
def test_a_mount_that_flushes_no_folders_is_written_to(make, tmp_path, monkeypatch, kind):
    fsync = os.fsync

    def picky(descriptor):
        if kind(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", picky)
    if kind is stat.S_ISREG:  # a file that is not on the disk is no checkpoint
        with pytest.raises(OSError, match="checkpoint-1 could not be written .*Invalid argument"):
            make(max_steps=1).train()
        assert not checkpoints_in(tmp_path / "run")
    else:
        make(max_steps=1).train()
        assert newest_whole(tmp_path / "run") == tmp_path / "run" / "checkpoint-1"


def test_the_best_checkpoint_is_kept_under_its_own_name_and_loaded(make, tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 1, "save_total_limit": 1, "load_best_model_at_end": True}
    rows = make().train_dataset
    trainer = make(eval_dataset=rows.select(range(9)), learning_rate=0.3, greater_is_better=True, **options)
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert best == f"{trainer.args.output_dir}/checkpoint-{trainer.state.best_global_step}"
    (kept,) = checkpoints_in(tmp_path / "run")
    assert str(kept) == best
    state = json.loads((kept / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["best_model_checkpoint"] == best
    assert all(torch.equal(value, trainer.model.state_dict()[name]) for name, value in weights(kept).items())


def test_old_checkpoints_are_removed(make, tmp_path):
    make(save_total_limit=2).train()
    assert [path.name for path in checkpoints_in(tmp_path / "run")] == ["checkpoint-5", "checkpoint-6"]


def test_every_checkpoint_is_pushed_when_it_has_its_name(make, hub, api, repo_id):
    trainer = make(push_to_hub=True, hub_model_id=repo_id, hub_strategy="all_checkpoints", hub_always_push=True)
    trainer.train()
    files = set(api.list_repo_files(repo_id))
    written = {path.name for path in Path(trainer.args.output_dir, "checkpoint-6").iterdir()}
    assert {f"checkpoint-6/{name}" for name in written} <= files
    assert not [name for name in files if UNFINISHED in name]


@contextmanager
def no_room_for(size):
    """No file may grow beyond so many bytes: a real error of a real write, in Python, torch and safetensors."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fails_at(number, function):
    """The function, which finds the disk full at its call of this number."""
    calls = []

    def full(*args, **kwargs):
        calls.append(args)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*args, **kwargs)

    return full


@contextmanager
def disk_full_at(number, patches):
    """torch.save, or the state's, fails at its call of this number."""
    owner, name = patches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, fails_at(number, getattr(owner, name)))
        yield


FULL = {f"torch.save {number}": partial(disk_full_at, number, (torch, "save")) for number in range(1, 5)}
FULL["the state"] = partial(disk_full_at, 1, (TrainerState, "save_to_json"))
FULL |= {f"{size} bytes": partial(no_room_for, size) for size in (600, 1200, 2000, 3000, 5000)}


@pytest.mark.parametrize("full", FULL)
def test_a_full_disk_leaves_the_checkpoint_before_as_it_was(whole, tmp_path, full):
    run, options = tmp_path / "run", {"max_steps": 6, "total_train_batch_size": 8, "lr_scheduler_type": "linear"}
    shutil.copytree(f"{whole.args.output_dir}/checkpoint-3", run / "checkpoint-3")
    trainer = make_trainer(tmp_path, **options, **SAVED)
    message = "checkpoint-4 could not be written .*checkpoint-3, the one before it, is as it was: --resume goes on"
    with FULL[full](), pytest.raises(OSError, match=message):
        trainer.train(resume_from_checkpoint=True)
    assert [path.name for path in run.iterdir() if path.is_dir()] == ["checkpoint-3"]
    again = make_trainer(tmp_path, **options, **SAVED)
    again.train(resume_from_checkpoint=True)
    assert same_weights(again.model, whole.model)


def test_an_error_that_is_none_of_a_disk_stays_what_it_is(make, tmp_path, monkeypatch):
    def broken(self, output_dir):
        raise KeyError("a fault of ours")

    monkeypatch.setattr(Trainer, "_save_rng_state", broken)
    with pytest.raises(KeyError, match="a fault of ours"):
        make().train()
    assert not (tmp_path / "run" / UNFINISHED).exists()


@pytest.mark.slow
def test_killed_runs_of_every_trainer_come_to_the_same_weights(tmp_path):
    counts, failed = kills.kill_and_resume(tmp_path, kills=len(kills.KINDS), seed=0)
    assert not failed, kills.logs(failed[0])
    assert counts["same"] == counts["kills"] == len(kills.KINDS) and counts["torn"] == 0


# Divergence


def test_training_stops_at_the_first_loss_that_is_no_number(make, tmp_path):
    trainer = make(learning_rate=1e38, max_grad_norm=0.0, optim="sgd", logging_steps=500)
    with pytest.raises(ValueError, match="diverged: .*at step 2, with the learning rate 1e.38 .*Lower learning_rate"):
        trainer.train()
    assert trainer.state.global_step < 3 and all(
        path.name == "checkpoint-1" for path in checkpoints_in(tmp_path / "run")
    )


class Diverge(TrainerCallback):
    """Makes one number of the weights NaN."""

    def __init__(self, after):
        self.after = after

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.after:
            next(model.parameters()).data.view(-1)[0] = float("nan")


def test_a_stream_that_diverges_keeps_its_last_good_checkpoint(make_stream, tmp_path):
    trainer = make_stream(callbacks=[Diverge(after=3)])
    with pytest.raises(ValueError, match="diverged: NaN or infinite numbers are in .* at step 3.*is .*checkpoint-2"):
        trainer.train()
    assert newest_whole(tmp_path / "run").name == "checkpoint-2"
    assert {path.name for path in (tmp_path / "run").iterdir() if path.is_dir()} == {"checkpoint-1", "checkpoint-2"}


def test_weights_that_diverge_in_the_last_update_are_noticed(make):
    trainer = make(save_strategy="no", max_steps=1, learning_rate=float("inf"), optim="sgd")
    with pytest.raises(ValueError, match="diverged: NaN or infinite numbers are in .* at step 1"):
        trainer.train()


def test_a_filter_that_hides_such_losses_is_off_also_where_a_stock_config_has_it(tmp_path):
    stock = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none").to_dict()
    assert stock["logging_nan_inf_filter"]
    assert not SequenceTrainingArguments(**stock).logging_nan_inf_filter


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_saved(tmp_path, value):
    model = small_model()
    given = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    broken = next(iter(dict(model.named_parameters())))
    with torch.no_grad():
        model.get_parameter(broken).view(-1)[0] = value
    with pytest.raises(ValueError, match=f"holds NaN or infinite numbers in {broken}: its training diverged. Nothing"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    model.save_pretrained(tmp_path / "model", state_dict=given)  # what is written is what counts
    with pytest.raises(ValueError, match="holds NaN"):
        small_model().save_pretrained(tmp_path / "other", state_dict=model.state_dict())


def test_weights_that_are_no_numbers_are_not_pushed(tmp_path, hub, repo_id):
    small_model().save_pretrained(tmp_path)
    with_nan(tmp_path)
    with pytest.raises(UnsafeArtifactError, match="model.safetensors holds NaN or infinite numbers in "):
        hfseq.push(tmp_path, repo_id, card="# A card")
    assert not hub.log


def test_vectors_that_are_no_numbers_make_no_model():
    vectors = hfseq.KeyedVectors(2)
    vectors.add_vectors(["good", "bad", "worse"], np.array([[1, 2], [3, np.nan], [np.inf, 0]], dtype=np.float32))
    with pytest.raises(ValueError, match=r"The vector of 'bad' holds NaN or infinite .*\(2 of 3\)"):
        hfseq.Word2VecModel.from_vectors(vectors)
    for count in (-1, np.nan):
        vectors = hfseq.KeyedVectors(2)
        vectors.add_vectors(["good", "bad"], np.ones((2, 2), dtype=np.float32))
        vectors.expandos["count"] = np.array([3, count])
        with pytest.raises(
            ValueError, match=f"counts hold {float(count) if count != -1 else -1}: they must be 0 or more"
        ):
            hfseq.Word2VecModel.from_vectors(vectors)
