"""A folder holds one run: what may be resumed or done again, and what is refused rather than mixed or overwritten."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainingArguments

from hfseq.recipe.publish import told_options
from hfseq.recipe.runs import open_run
from hfseq.settings import fields_of, read_settings


@dataclass
class Data:
    """A section."""

    name: str = "requests"


@dataclass
class Card:
    """Another one."""

    summary: str = "a summary"


@dataclass
class Settings:
    """Of a recipe."""

    data: Data
    card: Card
    training: dict[str, Any] = fields_of(TrainingArguments)
    resume: bool = False


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "one"


def opened(folder, *, resume=False, name="requests", summary="a summary", **training):
    """Opens the run of these settings."""
    training = {"output_dir": str(folder), "use_cpu": True, **training}
    args = TrainingArguments(**training)
    settings = Settings(Data(name), Card(summary), training, resume)
    return open_run(settings, args.output_dir, resume=resume, record=args.should_save)


def interrupted(folder):
    """A run with two checkpoints and no model."""
    opened(folder)
    for step in (8, 12):
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir()
        save_file({"weight": torch.zeros(2)}, checkpoint / "model.safetensors")
        (checkpoint / "config.json").write_text("{}", encoding="utf-8")
        (checkpoint / "trainer_state.json").write_text('{"position": 0}', encoding="utf-8")  # as of word vectors


def finished(folder):
    """The same, with the model that is saved at the end."""
    interrupted(folder)
    (folder / "config.json").write_text("{}", encoding="utf-8")


def written(folder):
    return read_settings(Settings, ["--config", str(folder / "settings.yaml")])


def test_a_new_run_records_its_settings_before_it_trains(folder):
    assert opened(folder, seed=3) is None
    assert written(folder).training == {"output_dir": str(folder), "use_cpu": True, "seed": 3}
    assert opened(folder, seed=4) is None  # nothing was trained yet
    assert written(folder).training["seed"] == 4


def test_an_interrupted_run_goes_on_from_its_last_checkpoint(folder):
    interrupted(folder)
    assert opened(folder, resume=True) == str(folder / "checkpoint-12")


def test_torn_checkpoints_are_left_aside_and_told(folder, caplog):
    interrupted(folder)
    (folder / "checkpoint-12" / "trainer_state.json").unlink()
    with caplog.at_level("WARNING"):
        assert opened(folder, resume=True) == str(folder / "checkpoint-8")
    assert (
        "checkpoint-12 is left aside: " in caplog.text and f"Going on from {folder / 'checkpoint-8'}." in caplog.text
    )
    (folder / "checkpoint-8" / "model.safetensors").unlink()
    with pytest.raises(OSError, match="go on from none of the checkpoints .* Name another output_dir and start anew"):
        opened(folder, resume=True)


def test_an_interrupted_run_is_not_started_anew(folder):
    interrupted(folder)
    with pytest.raises(ValueError, match="not finished: go on with --resume. To start a new run name another folder"):
        opened(folder)


def test_a_finished_run_is_done_again_or_gone_on_with(folder):
    finished(folder)
    assert opened(folder, resume=True) == str(folder / "checkpoint-12")
    finished_again = folder / "config.json"
    finished_again.write_text("{}", encoding="utf-8")
    assert opened(folder) is None
    with pytest.raises(ValueError, match="not finished"):  # now that it was started again
        os.utime(finished_again, ns=(0, 0))
        opened(folder)


@pytest.mark.parametrize("resume", [True, False])
def test_another_run_is_not_mixed_in(folder, resume):
    finished(folder)
    with pytest.raises(ValueError, match=r"other settings \(data.name: 'requests' -> 'news'\). To start a new run"):
        opened(folder, resume=resume, name="news")
    assert written(folder).data.name == "requests"


def test_a_model_without_checkpoints_is_not_overwritten_by_another(folder):
    opened(folder)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="training.seed: None -> 3"):
        opened(folder, seed=3)
    assert opened(folder) is None


def test_only_a_resumed_run_may_train_differently_which_is_logged(folder, monkeypatch):
    finished(folder)
    with pytest.raises(ValueError, match="other settings"):
        opened(folder, max_steps=20)
    logged = []
    monkeypatch.setattr("hfseq.recipe.runs.logger.warning", lambda text, *values: logged.append(text % values))
    assert opened(folder, resume=True, max_steps=20) == str(folder / "checkpoint-12")
    assert logged == ["Resuming with other settings: training.max_steps: None -> 20."]
    assert written(folder).training["max_steps"] == 20


def test_the_card_may_change_and_the_folder_may_move(folder):
    finished(folder)
    moved = folder.rename(folder.with_name("other"))
    assert opened(moved, summary="a better one") is None
    assert opened(moved, resume=True) == str(moved / "checkpoint-12")


def test_checkpoints_of_unknown_settings_are_refused(folder):
    finished(folder)
    (folder / "settings.yaml").unlink()
    for resume in (True, False):
        with pytest.raises(ValueError, match="no settings.yaml tells them"):
            opened(folder, resume=resume)


def test_there_must_be_something_to_resume(folder):
    with pytest.raises(ValueError, match="--resume: the folder .*one' does not exist. Start without --resume"):
        opened(folder, resume=True)
    assert not folder.exists()
    opened(folder)
    with pytest.raises(ValueError, match="--resume: the folder .*one' has no checkpoint. Start without --resume"):
        opened(folder, resume=True)


def test_only_the_first_process_looks_and_records(folder, monkeypatch):
    finished(folder)
    before = (folder / "settings.yaml").stat().st_mtime_ns
    monkeypatch.setattr(TrainingArguments, "should_save", False)
    assert opened(folder, name="news", resume=True) == str(folder / "checkpoint-12")
    assert (folder / "settings.yaml").stat().st_mtime_ns == before


def test_a_run_without_a_folder_of_its_own_takes_that_of_transformers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = TrainingArguments(use_cpu=True).output_dir
    settings = Settings(Data(), Card(), {"use_cpu": True})
    assert open_run(settings, folder, resume=False) is None
    assert dataclasses.asdict(written(Path(folder))) == dataclasses.asdict(settings)


def test_a_card_leaves_out_what_the_settings_leave_open():
    model = {"type": "lstm", "last_hidden_size": None, "residual": "none", "dropout_kind": "locked"}
    assert told_options(model, ("type",)) == {"residual": "none", "dropout_kind": "locked"}
