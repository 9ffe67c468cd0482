"""The command `hfseq` as a person types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfseq import cli
from hfseq.hub import pull
from hfseq.tasks import TASKS

SMALL = ("--data.max_rows=60", "--training.max_steps=4", "--training.learning_rate=5e-3", "--model.hidden_size=16")
ROWS = [(f"{'good' if i % 2 else 'bad'} film {i % 9}", "pos" if i % 2 else "neg") for i in range(60)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for suffix, sign in (("csv", ","), ("tsv", "\t")):
        lines = [sign.join(row) for row in [("text", "label"), *ROWS]]
        (folder / f"films.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    (folder / "films.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "split").mkdir()
    for name, rows in (("train", ROWS[:40]), ("test", ROWS[40:])):
        lines = [",".join(row) for row in [("text", "label"), *rows]]
        (folder / "split" / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "films"
    words = ["train", "text-classification", str(files / "split"), "--model", "gru", "--out", str(folder), *SMALL]
    assert cli.main([*words, "--card.ask=Is it good?", "--card.ask=a: bad film"]) == 0
    return folder


def test_help_lists_the_tasks_and_fits_on_a_screen_in_no_time(capsys):
    assert set(cli.TASKS) == {task.command for task in TASKS.values()}
    for words in (["--help"], ["train", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 100
    code = "import sys; sys.orig_argv = ['python', '-m', 'hfseq']; import hfseq.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_card_shows_the_command_and_the_sentences(trained):
    facts = json.loads((trained / "facts.json").read_text(encoding="utf-8"))
    assert facts["command"].startswith("hfseq train text-classification split --model gru --out films ")
    assert [widget["text"] for widget in facts["widgets"]] == ["Is it good?", "a: bad film"]


@pytest.mark.parametrize("name", ["films.csv", "films.tsv", "films.jsonl"])
def test_every_kind_of_file_is_trained_on(files, tmp_path, name):
    words = ["train", "text-classification", str(files / name), "--model", "gru", "--out", str(tmp_path / "m"), *SMALL]
    assert cli.main(words) == 0
    assert (tmp_path / "m" / "README.md").is_file()


def test_predict_writes_a_line_of_json_a_text(trained, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("good film\nbad film\n", encoding="utf-8")
    assert cli.main(["predict", str(trained), "--file", str(tmp_path / "texts.txt")]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["text"] for answer in answers] == ["good film", "bad film"]
    assert all(answer["label"] in ("pos", "neg") and 0 < answer["score"] <= 1 for answer in answers)


def test_evaluate_gives_the_score_of_the_card_and_counts_unknown_labels_as_wrong(trained, files, tmp_path, capsys):
    assert cli.main(["evaluate", str(trained), str(files / "split")]) == 0
    measured = dict(line.split() for line in capsys.readouterr().out.splitlines())
    facts = json.loads((trained / "facts.json").read_text(encoding="utf-8"))
    assert float(measured["accuracy"]) == pytest.approx(facts["runs"][0]["metrics"]["accuracy"], abs=1e-4)
    (tmp_path / "odd.csv").write_text("text,label\nodd film,odd\nodd film,odder\n", encoding="utf-8")
    assert cli.main(["evaluate", str(trained), str(tmp_path / "odd.csv")]) == 0
    told = capsys.readouterr()
    assert "no label 'odd', 'odder'" in told.err and "accuracy 0.0000" in told.out


def test_card_check_and_push(trained, hub_repo_name, capsys):
    assert cli.main(["card", str(trained), "--check"]) == 0
    assert cli.main(["push", str(trained), hub_repo_name, "--force"]) == 0
    assert (pull(hub_repo_name) / "README.md").read_bytes() == (trained / "README.md").read_bytes()
    card = trained / "README.md"
    text = card.read_text(encoding="utf-8")
    card.write_text(text + "false\n", encoding="utf-8")
    assert cli.main(["card", str(trained), "--check"]) == 1
    assert cli.main(["card", str(trained)]) == 0
    assert card.read_text(encoding="utf-8") == text


@pytest.fixture
def hub_repo_name():
    return f"user/command-{os.getpid()}"


def test_info_and_recipes(trained, tmp_path, capsys):
    assert cli.main(["info", str(trained)]) == 0
    assert "hfseq_gru" in (told := capsys.readouterr().out) and "neg, pos" in told
    assert cli.main(["recipes", "list"]) == 0
    assert "text_classification/gru_embedded" in capsys.readouterr().out.splitlines()
    assert cli.main(["recipes", "copy", "text_classification/gru_embedded", str(tmp_path)]) == 0
    assert Path(tmp_path / "gru_embedded.yaml").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train", "text-clasification", "x.csv"], 2, "invalid choice"),
        (["train", "text-classification", "none.csv", "--model", "gru"], 1, "data.path='none.csv' does not exist"),
        (["train", "text-classification", "none.csv", "--model", "gru", "--data.foo=1"], 1, "unknown key 'foo'"),
        (["train", "text-classification", "embedded", "--config", "gru_embeded"], 1, "did you mean 'gru_embedded'"),
        (["predict", "m", "--fil=x"], 2, "is not understood"),
        (["push", "nowhere", "user/x"], 1, "There is no folder 'nowhere'"),
        (["recipes", "show", "gru_embedded"], 1, "text_classification/gru_embedded"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(words, code, message, capsys):
    try:
        found = cli.main(words)
    except SystemExit as stopped:
        found = stopped.code
    told = capsys.readouterr().err
    assert found == code and message in told and told.count("\n") == 1
