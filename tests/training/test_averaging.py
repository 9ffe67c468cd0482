"""The mean of checkpoints: a model of its own, or an error that says what does not fit."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from hfseq import cli
from hfseq.training.averaging import average_checkpoints, last_checkpoints
from tests.contract.cases import tokenizer
from tests.training.target_writers import small_model


def saved(folder, change=lambda model: None, **options):
    """A checkpoint as a trainer leaves it, with what belongs to the training beside the model."""
    model = small_model(**options)
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    for name in ("optimizer.pt", "trainer_state.json", "training_args.bin"):
        (folder / name).write_text("{}", encoding="utf-8")
    return folder


def times(factor):
    def change(model):
        for parameter in model.parameters():
            parameter.mul_(factor)

    return change


def test_the_mean_of_weights_is_a_model_that_loads(tmp_path):
    folders = [saved(tmp_path / str(number), times(factor)) for number, factor in enumerate((1.0, 2.0, 4.5))]
    out = average_checkpoints(folders, tmp_path / "mean")
    for name, value in AutoModelForSeq2SeqLM.from_pretrained(out).state_dict().items():
        assert torch.allclose(value, 2.5 * small_model().state_dict()[name])
    assert AutoTokenizer.from_pretrained(out)("good film")["input_ids"] == tokenizer()("good film")["input_ids"]
    assert not {"optimizer.pt", "trainer_state.json", "training_args.bin"} & {path.name for path in out.iterdir()}


def test_the_mean_of_equal_checkpoints_is_each_of_them_to_the_bit(tmp_path):
    first = saved(tmp_path / "0")
    folders = [first, *(shutil.copytree(first, tmp_path / str(number)) for number in (1, 2))]
    out = average_checkpoints(folders, tmp_path / "mean")
    expected, found = load_file(first / "model.safetensors"), load_file(out / "model.safetensors")
    assert found.keys() == expected.keys() and all(found[name].equal(expected[name]) for name in found)


def test_checkpoints_that_do_not_fit_are_told_apart(tmp_path):
    one, other = saved(tmp_path / "one"), saved(tmp_path / "other", hidden_size=16)
    with pytest.raises(ValueError, match=r"are different models \(hidden_size: 8, 16\): average those of one run"):
        average_checkpoints([one, other], tmp_path / "mean")
    torn = shutil.copytree(one, tmp_path / "torn")
    weights = load_file(torn / "model.safetensors")
    name = next(iter(weights))
    save_file({"renamed": weights.pop(name), **weights}, torn / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"do not hold the same weights .*{name}, renamed|renamed, {name}"):
        average_checkpoints([one, torn], tmp_path / "mean")
    with pytest.raises(ValueError, match="1 checkpoint has no mean: give two or more"):
        average_checkpoints([one], tmp_path / "mean")
    with pytest.raises(FileExistsError, match="is there already, and not empty"):
        average_checkpoints([one, one], torn)
    with pytest.raises(FileNotFoundError, match="holds no config.json: give folders of checkpoints"):
        average_checkpoints([one, tmp_path], tmp_path / "mean")


def test_numbers_that_are_no_weights_must_be_equal(tmp_path):
    folders = []
    for number in range(2):
        folder = saved(tmp_path / str(number))
        weights = load_file(folder / "model.safetensors")
        weights["counts"] = torch.tensor([number])
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    with pytest.raises(ValueError, match="counts holds whole numbers that differ, and they have no mean"):
        average_checkpoints(folders, tmp_path / "mean")


def test_the_command_averages_the_last_checkpoints_of_a_run(tmp_path, capsys):
    for step in (2, 4, 10):  # by number, not by name
        saved(tmp_path / "run" / f"checkpoint-{step}", times(step))
    assert cli.main(["average", str(tmp_path / "run"), "--last", "2", "--out", str(tmp_path / "mean")]) == 0
    assert "averaged 2 checkpoints" in capsys.readouterr().out
    found, first = (load_file(tmp_path / name / "model.safetensors") for name in ("mean", "run/checkpoint-2"))
    assert all(torch.allclose(found[name], 3.5 * first[name]) for name in found)
    assert json.loads((tmp_path / "mean" / "config.json").read_text(encoding="utf-8"))["hidden_size"] == 8
    assert cli.main(["average", str(tmp_path / "run"), "--last", "4", "--out", str(tmp_path / "more")]) == 1
    assert "holds 3 checkpoints, not 4: train with --training.save_total_limit=4 or more" in capsys.readouterr().err


@pytest.mark.parametrize(("best", "save_steps", "is_refused"), [(2, 2, True), (2, 6, False), (8, 2, False)])
def test_the_best_checkpoint_is_none_of_the_last_where_others_are_gone(tmp_path, best, save_steps, is_refused):
    for step in (2, 8, 10):
        saved(tmp_path / f"checkpoint-{step}", times(step))
    log = [{"step": step, "eval_loss": 1.0} for step in range(2, 12, 2)]
    state = {"best_global_step": best, "save_steps": save_steps, "eval_steps": 2, "log_history": log}
    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    assert [path.name for path in last_checkpoints(tmp_path, 2)] == ["checkpoint-8", "checkpoint-10"]
    if is_refused:
        with pytest.raises(ValueError, match=r"was kept as the best .*Ask for fewer than 3, .*save_total_limit=4"):
            last_checkpoints(tmp_path, 3)
    else:
        assert len(last_checkpoints(tmp_path, 3)) == 3


def test_a_run_that_is_not_there_has_no_last_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match="none is no folder: give that of a run"):
        last_checkpoints(tmp_path / "none", 2)
