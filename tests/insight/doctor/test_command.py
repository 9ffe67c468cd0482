"""`hfseq doctor` on the folder of a run: its report, its trial, and what it says where there is no run."""

import contextlib
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from hfseq.cli import main
from hfseq.commands.run_folder import open_folder, trainer_of
from hfseq.insight.doctor.findings import CHECKS
from hfseq.insight.doctor.report import Report
from hfseq.insight.doctor.trial import trial_table, try_findings

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"


def asked(*words):
    """The exit code and what was printed."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        code = main(list(map(str, words)))
    return code, told.getvalue()


@pytest.fixture(scope="module")
def run(data_folder, tmp_path_factory):
    """A GRU that was trained with a far too low learning rate."""
    folder = tmp_path_factory.mktemp("run") / "slow"
    words = ["model.embedding_size=16", "model.hidden_size=16", "model.wide_ngrams=0", "tokenizer.min_count=1"]
    words += [f"training.{name}=steps" for name in ("eval_strategy", "save_strategy", "wide_solver")]
    words += [f"training.{name}=6" for name in ("eval_steps", "save_steps")]
    words += ["training.learning_rate=1e-6", "training.max_steps=12", "training.logging_steps=2"]
    options = (f"--{word}" for word in words)
    code, told = asked("train", "text-classification", data_folder, "--model", "gru", "--out", folder, *options)
    assert code == 0, told
    return folder


@pytest.fixture
def copy(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_report_names_the_fault_and_a_command_that_cures_it(run):
    code, told = asked("doctor", run)
    assert code == 0
    assert told.startswith(f"text-classification, 12 steps, settings in {run / 'resolved.yaml'}\n")
    assert "learning-rate-too-low" in told
    assert "no-better-than-most-frequent" in told
    commands = re.findall("try: (hfseq .*)", told)
    assert any("--training.learning_rate=0.001" in command for command in commands)
    words = shlex.split(commands[0])[1:]
    assert words[:2] == ["train", "text-classification"]
    assert Path(words[words.index("--config") + 1]).is_file()


def test_json_has_the_same(run):
    code, told = asked("doctor", run, "--json")
    found = json.loads(told)
    assert code == 0
    assert {"name", "severity", "text", "changes", "advice"} == set(found["findings"][0])
    assert found["checks"] > 25


def test_options_that_nobody_would_read_are_refused(run, capsys):
    assert main(["doctor", str(run), "--json", "--try"]) == 2
    assert "leave --try out" in capsys.readouterr().err
    assert main(["doctor", str(run), "--steps", "5"]) == 2
    assert "add --try" in capsys.readouterr().err


def test_try_compares_from_the_same_start_and_leaves_the_run_alone(run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    code, told = asked("doctor", run, "--try", "--steps", 12)
    assert code == 0
    lines = told[told.index("After 12 steps") :].splitlines()
    assert lines[2].split()[:3] == ["as", "they", "are"]
    assert lines[3].split()[0].startswith("--training.")
    as_it_is, changed = (float(line.split()[-len(lines[1].split()) + 1]) for line in lines[2:4])
    assert changed < as_it_is  # the loss
    history = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    last = [row["eval_loss"] for row in history if "eval_loss" in row][-1]
    assert as_it_is == pytest.approx(last, abs=1e-4)  # the very run again: same seed, same rows, same steps
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_data_that_are_gone_leave_checks_out(copy):
    text = (copy / "resolved.yaml").read_text(encoding="utf-8")
    (copy / "resolved.yaml").write_text(re.sub("path: .*", "path: /nowhere/at/all", text), encoding="utf-8")
    code, told = asked("doctor", copy)
    assert code == 0
    assert "learning-rate-too-low" in told  # the log alone tells it
    assert re.search(r"Left out, since the data cannot be read again \(.*nowhere/at/all", told.replace("\n", " "))


def test_the_checkpoint_tells_where_the_training_was_stopped(copy):
    for name in ("config.json", "model.safetensors", "trainer_state.json"):
        (copy / name).unlink()
    code, told = asked("doctor", copy)
    assert code == 0
    assert "text-classification" in told


FAULTS = {  # what is wrong with the folder -> what is said
    "no settings": (lambda folder: [path.unlink() for path in folder.glob("*.yaml")], "is a model without its run"),
    "no log": (
        lambda folder: [path.unlink() for path in folder.rglob("trainer_state.json")],
        "there is no log of the training",
    ),
    "torn log": (lambda folder: (folder / "trainer_state.json").write_text('{"log_hist'), "trainer_state.json"),
    "strange log": (lambda folder: (folder / "trainer_state.json").write_text("{}"), "has no list log_history"),
    "torn settings": (lambda folder: (folder / "resolved.yaml").write_text("data: [1"), "resolved.yaml"),
    "empty": (lambda folder: (shutil.rmtree(folder), folder.mkdir()), "is no run: it holds no settings.yaml"),
    "no folder": (shutil.rmtree, "give the folder that `hfseq train` wrote"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_folder_that_is_no_whole_run_is_told(copy, capsys, name):
    break_it, expected = FAULTS[name]
    break_it(copy)
    code = main(["doctor", str(copy)])
    told = capsys.readouterr()
    assert expected in told.out.replace("\n", " ") + told.err
    assert code == (0 if name == "no log" else 2 if name == "torn settings" else 1)


def test_a_trial_that_fails_is_told_and_the_others_go_on():
    from hfseq.insight.doctor.findings import Finding

    def train(changes):
        if "training.learning_rate" in changes:
            raise ValueError("The training diverged")
        return {"loss": 1.0 - 0.1 * len(changes)}

    changes = [{"training.learning_rate": 1.0}, {"model.hidden_size": 64}, {"model.hidden_size": 64}, {}]
    changes.append({"training.num_train_epochs": 9})  # which so many steps cannot show
    found = [Finding(f"finding-{index}", "hint", "", each) for index, each in enumerate(changes)]
    trials = try_findings(Report(found, 4), train)
    assert [trial.changes for trial in trials] == [{}, *changes[:2]]
    assert "failed: The training diverged" in trial_table(trials, 5)
    assert [trial.scores for trial in trials] == [{"loss": 1.0}, {}, {"loss": 0.9}]
    assert try_findings(Report([], 4), train) == []


def test_the_page_lists_every_finding():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = [f"| `{one.name}` | {one.severity} | {one.looks_for} | {one.cure} |" for one in CHECKS.values()]
    assert rows == told


def test_a_trial_goes_to_no_hub_and_knows_no_clock(run, monkeypatch):
    """A run that pushed its model, within some minutes, is tried: nothing may be pushed, and all steps are made."""
    given = {}

    def recipe(words):
        given.update(word.removeprefix("--").split("=", 1) for word in words[2:])
        state = {"global_step": 3, "log_history": [{"step": 3, "eval_loss": 1.0}]}
        (Path(json.loads(given["training.output_dir"])) / "trainer_state.json").write_text(json.dumps(state))

    monkeypatch.setattr("hfseq.commands.train.recipe_main", lambda name: recipe)
    opened = open_folder(str(run))
    opened.settings.hub.repo_id, opened.settings.budget.minutes = "user/name", 0.1
    assert trainer_of(opened, 3)({}) == {"loss": 1.0}
    assert given["hub.repo_id"] == "null"
    assert float(given["training.max_minutes"]) > 1_000 and "budget.minutes" not in given


def test_a_run_without_a_log_has_no_number_of_steps(copy):
    for path in copy.rglob("trainer_state.json"):
        path.unlink()
    code, told = asked("doctor", copy)
    assert (code, told.partition("\n")[0]) == (
        0,
        f"text-classification, without a log, settings in {copy / 'resolved.yaml'}",
    )
    assert open_folder(str(copy)).trial_steps == 12  # training.max_steps
