"""The command `hfseq` as a person types it."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from transformers import AutoModelForSequenceClassification

from hfseq import cli
from hfseq.cards.publishing import CARD_WORDS
from hfseq.commands import sources
from hfseq.commands.models import task_of
from hfseq.data.sources import GENERATED
from hfseq.hub import pull
from hfseq.models.recurrent.recursive import RecursiveConfig
from hfseq.models.words.word2vec import Word2VecConfig, Word2VecModel
from hfseq.progress import BARS_AFTER
from hfseq.registry import FAMILIES
from hfseq.tasks import TASKS

SMALL = ("--data.max_rows=60", "--training.max_steps=4", "--training.learning_rate=5e-3", "--model.hidden_size=16")
ROWS = [(f"{'good' if i % 2 else 'bad'} film {i % 9}", "pos" if i % 2 else "neg") for i in range(60)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    lines = ["\t".join(row) for row in [("text", "label"), *ROWS]]
    (folder / "films.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
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


def test_help_lists_the_tasks_and_fits_on_a_screen(capsys):
    for task in TASKS.values():
        (section,) = (item for item in dataclasses.fields(task.settings) if item.name == "model")
        types = set(section.metadata["open_section"]["classes"]) - {""}
        if task.name == "trees":  # of one type, whose compositions --model chooses
            types = set(get_args(RecursiveConfig.__annotations__["composition"]))
        if task.name == "strokes":  # of one type, whose cells --model chooses
            types = {"lstm", "gru", "rnn"}
        assert set(cli.MODELS[task.command]) == (
            types or set(get_args(Word2VecConfig.__annotations__["architecture"]))
        )
    assert len(cli.MODELS) == len(TASKS)
    for words in (["--help"], ["train", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 100


def test_push_takes_the_words_that_a_card_may_lack(capsys):
    assert [*cli.SAID] == [*CARD_WORDS, "license"]
    with pytest.raises(SystemExit):
        cli.main(["push", "--help"])
    told = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')} TEXT" in told for name in cli.SAID)


def test_the_card_shows_the_command_and_the_sentences(trained):
    facts = json.loads((trained / "facts.json").read_text(encoding="utf-8"))
    assert facts["command"].startswith("hfseq train text-classification split --model gru --out films ")
    assert [widget["text"] for widget in facts["widgets"]] == ["Is it good?", "a: bad film"]


@pytest.mark.slow
def test_a_single_file_is_trained_on(files, tmp_path):
    words = ["train", "text-classification", str(files / "films.tsv")]
    words += ["--model", "gru", "--out", str(tmp_path / "m"), *SMALL]
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
    capsys.readouterr()
    before = [(trained / name).read_bytes() for name in ("facts.json", "README.md")]
    assert cli.main(["push", str(trained), "mistyped/films", "--force"]) == cli.REFUSED
    told = capsys.readouterr().err
    assert "does not say what the model does, the language of the texts, the name of the data" in told
    assert "--summary TEXT --language TEXT --data-name TEXT" in told and told.count("\n") == 1
    assert [(trained / name).read_bytes() for name in ("facts.json", "README.md")] == before
    words = ["--summary", "Tells good films.", "--language", "en", "--data-name", "films", "--data-license", "cc0-1.0"]
    assert cli.main(["push", str(trained), hub_repo_name, "--force", *words, "--data-domain", "reviews"]) == 0
    assert f"model={json.dumps(hub_repo_name)}" in (trained / "README.md").read_text(encoding="utf-8")
    assert (pull(hub_repo_name) / "README.md").read_bytes() == (trained / "README.md").read_bytes()
    second = f"{hub_repo_name}-too"
    assert cli.main(["push", str(trained), second, "--force"]) == 0
    assert f"model={json.dumps(second)}" in (pull(second) / "README.md").read_text(encoding="utf-8")
    assert cli.main(["push", str(trained), "foreign/films", "--force"]) == 1  # the token may not
    assert f"model={json.dumps(second)}" in (trained / "README.md").read_text(encoding="utf-8")
    card = trained / "README.md"
    text = card.read_text(encoding="utf-8")
    card.write_text(text + "false\n", encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["push", str(trained), hub_repo_name, "--force"]) == 0
    told = capsys.readouterr().err
    assert f"warning: {card} does not load {hub_repo_name}: it differs" in told and told.count("\n") == 1
    assert cli.main(["card", str(trained), "--check"]) == 1
    assert cli.main(["card", str(trained)]) == 0
    assert card.read_text(encoding="utf-8") == text


def test_the_class_of_every_family_tells_its_pipeline():
    for family in FAMILIES.values():
        for task, head in family.heads.items():
            if task != "text2text-generation":  # no command answers with it
                assert task_of(head.__name__) == ("tree-sentiment" if family.name == "recursive" else task)
    assert task_of(Word2VecModel.__name__) == "word-vectors"
    with pytest.raises(ValueError, match="class LSTMModel, which answers no texts"):
        task_of("LSTMModel")


def test_info_of_the_hub_is_that_of_the_folder(trained, hub_repo_name, capsys):
    assert cli.main(["info", str(trained)]) == 0
    here = capsys.readouterr().out.splitlines()
    words = [
        "--summary",
        "A.",
        "--language",
        "en",
        "--data-name",
        "films",
        "--data-license",
        "mit",
        "--data-domain",
        "b",
    ]
    assert cli.main(["push", str(trained), f"{hub_repo_name}-info", "--force", *words]) == 0
    capsys.readouterr()
    assert cli.main(["info", f"{hub_repo_name}-info"]) == 0
    there = capsys.readouterr().out.splitlines()
    assert there[0] == here[0] and here[1].startswith(there[1]) and there[2:4] == here[2:4]
    assert cli.main(["info", "no such: folder"]) == 1
    assert "no id on the Hub is spelled so" in capsys.readouterr().err


@pytest.fixture
def hub_repo_name():
    return f"user/command-{os.getpid()}"


def test_info_and_recipes(trained, tmp_path, capsys):
    assert cli.main(["info", str(trained)]) == 0
    told = capsys.readouterr().out
    model = AutoModelForSequenceClassification.from_pretrained(trained)
    numbers = sum(tensor.numel() for tensor in model.state_dict().values())
    assert "type:       hfseq_gru (GRUForSequenceClassification), task text-classification\n" in told
    assert f"weights:    {numbers:,} numbers, " in told and "labels:     2: neg, pos\n" in told
    assert f"vocabulary: {model.config.vocab_size} entries\n" in told
    assert cli.main(["recipes", "list"]) == 0
    assert "text_classification/gru_embedded" in capsys.readouterr().out.splitlines()
    assert cli.main(["recipes", "copy", "text_classification/gru_embedded", str(tmp_path)]) == 0
    assert Path(tmp_path / "gru_embedded.yaml").is_file()


TRAIN = ["train", "text-classification"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "the following arguments are required: COMMAND"),
        (["trian"], 2, "did you mean train?"),
        (["train", "text-clasification", "x.csv"], 2, "is no task: give one of text-classification, token-"),
        (["train", "word-vectors", "x.txt", "--model", "gru"], 2, "give one of skip-gram, cbow"),
        ([*TRAIN, "x.csv", "--model", "grru"], 2, "did you mean gru?"),
        ([*TRAIN, "x.csv", "--minutes", "0"], 2, "'0' must be a number above 0, such as 5 or 0.5"),
        ([*TRAIN, "x.csv", "--minutes", "five"], 2, "'five' must be a number above 0, such as 5 or 0.5"),
        ([*TRAIN, "x.csv", "--minute", "5"], 2, "did you mean --minutes?"),
        ([*TRAIN, "x.csv", "--processes", "0"], 2, "'0' must be a whole number above 0, such as 2"),
        ([*TRAIN, "x.csv", "--training.max_steps", "4"], 2, "write --training.max_steps=VALUE"),
        (TRAIN, 2, "DATA is missing: give a file, a folder, a Hub id, `embedded`, or --config"),
        ([*TRAIN, "none.csv", "--model", "gru"], 1, "data.path='none.csv' does not exist"),
        ([*TRAIN, "none.csv", "--model", "gru", "--data.foo=1"], 2, "unknown key 'foo'"),
        ([*TRAIN, "x.csv", "--model", "gru", "--training.learnin_rate=1"], 2, "; --settings lists them all"),
        ([*TRAIN, "x.csv", "--model", "gru", "--training.learning_rate=fast"], 2, 'is "fast" but takes'),
        ([*TRAIN, "x.csv", "--model", "gru", "--trainin.seed=1"], 2, "unknown section 'trainin'; did you mean"),
        ([*TRAIN, "embedded", "--config", "gru_embeded"], 2, "did you mean 'gru_embedded'"),
        ([*TRAIN, "embedded", "--config", "none.yaml"], 2, "--config none.yaml: there is no such file"),
        ([*TRAIN, "embedded", "--model", "gru", "--hub.repo_id=u/x"], 2, "does not say what the model does, the lang"),
        (["predict", "m", "--fil=x"], 2, "did you mean --file?"),
        (["predict", "no/such/folder", "text"], 1, "no/such/folder"),
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


def test_an_unknown_key_shows_the_five_nearest(capsys):
    assert cli.main([*TRAIN, "x.csv", "--model", "gru", "--training.learnin_rate=1"]) == 2
    shown = re.search(r"Nearest of \d+: (.*);", capsys.readouterr().err)
    assert len(shown[1].split(", ")) == 5 and "learning_rate" in shown[1].split(", ")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train", "--help"],
        ["trian"],
        [*TRAIN, "x.csv", "--model", "grru"],
        ["recipes", "list"],
        ["info", "."],
    ],
)
@pytest.mark.parametrize("as_module", [True, False], ids=["module", "script"])
def test_what_needs_no_model_imports_no_torch(words, as_module, tmp_path):
    script = tmp_path / "hfseq"  # as pip writes it
    script.write_text("import sys\nfrom hfseq.cli import main\nsys.exit(main())\n", encoding="utf-8")
    start = ["-m", "hfseq"] if as_module else [str(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    command = [sys.executable, "-X", "importtime", *start, *words]
    told = subprocess.run(command, capture_output=True, text=True, env=environment, check=False).stderr
    imported = {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}
    assert "hfseq.cli" in imported and not imported & {"torch", "transformers", "datasets", "numpy"}


def test_the_bars_of_other_libraries_wait_as_long_as_ours(tmp_path):
    script = tmp_path / "hfseq"
    lines = ["import os, sys", "from hfseq import cli", "cli._quieten(False)"]
    lines += ["print(os.environ['TQDM_DELAY'], 'tqdm' in sys.modules)"]  # which reads it while it is imported
    script.write_text("\n".join(lines), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    environment.pop("TQDM_DELAY", None)
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=True).stdout
    assert told == f"{BARS_AFTER} False\n"


def run_in(folder, words, package):
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=True).stdout


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("serve.py", ["serve.py", "-m", "hfseq"]),
        ("hfseq.py", ["-P", "hfseq.py"]),
        ("serve/__init__.py", ["-m", "serve", "-m", "hfseq"]),
    ],
)
def test_a_script_of_a_user_is_not_the_command(file, words, tmp_path):
    """Asked of cli.py in a package of its name that imports no models."""
    package = tmp_path / "lib" / "hfseq"
    package.mkdir(parents=True)
    (package / "cli.py").write_bytes(Path(cli.__file__).read_bytes())
    asked = "from .cli import is_this_process\nprint(is_this_process())\n"
    (package / "__init__.py").write_text(asked, encoding="utf-8")
    (package / "__main__.py").touch()
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("import hfseq\n", encoding="utf-8")
    path.with_name("__main__.py").touch()  # what -m runs of a package
    assert run_in(tmp_path, words, package.parent) == "False\n"
    assert run_in(package.parent, ["-m", "hfseq"], package.parent) == "True\n"


def test_a_script_of_a_user_has_the_models(tmp_path):
    (tmp_path / "serve.py").write_text("import hfseq\nprint(hfseq.LSTMConfig.model_type)\n", encoding="utf-8")
    assert run_in(tmp_path, ["serve.py", "-m", "hfseq"], Path(cli.__file__).parents[1]) == "hfseq_lstm\n"


def test_the_command_knows_the_same_generated_data_as_the_recipes():
    assert set(sources._GENERATED) == set(GENERATED)  # two lists: the import of one takes seconds
