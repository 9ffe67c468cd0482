"""The ladder of language models: each rung is an ordinary checkpoint, measured by one function on the same tokens."""

import json
import math
import re
import shlex
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfseq.data.documents import load_documents
from hfseq.evaluation.language import score
from hfseq.recipe.ladders import save_ladder
from hfseq.recipe.language import make_text, make_tokenizer, score_split
from hfseq.settings import read_settings
from hfseq.tasks.ladder import build
from hfseq.tasks.ladder.build import Rung, ladder_table, plot_ladder, train_rungs
from hfseq.tasks.ladder.settings import NETWORKS, LadderSettings
from recipes import ladder
from tests.launches import ROOT, header_lines

OF_OTHER_TASKS = ("classifiers", "translators")
CONFIGS = sorted(
    path for path in (ROOT / "recipes/configs/ladder").glob("*.yaml") if not path.stem.startswith(OF_OTHER_TASKS)
)
CONFIG = str(ROOT / "recipes/configs/ladder/embedded.yaml")
SMALL = [
    "--data.max_characters=4000",
    "--rungs.orders=[1, 2]",
    "--rungs.num_states=3",
    "--rungs.num_iterations=3",
    "--rungs.networks=[gru, rnn, transformer]",
    "--network.hidden_size=8",
    "--network.embedding_size=8",
    "--transformer.hidden_size=8",
    "--transformer.num_hidden_layers=1",
    "--transformer.num_attention_heads=2",
    "--transformer_training.learning_rate=0.02",
    "--training.num_train_epochs=2",
    "--training.total_train_batch_size=8",
    "--training.disable_tqdm=true",
]
NAMES = ["unigram", "bigram", "hidden Markov", "GRU", "RNN", "Transformer"]


def settings(*options):
    return read_settings(LadderSettings, ["--config", CONFIG, *options])


class Climbed:
    """A small ladder, and what it was made of."""

    def __init__(self, folder, *options, dataset=None):
        self.folder = folder
        self.settings = settings(*SMALL, f"--training.output_dir={folder}", *options)
        self.dataset = load_documents(self.settings.data) if dataset is None else dataset
        self.tokenizer = make_tokenizer(self.dataset, self.settings.tokenizer)
        self.texts = {
            name: make_text(rows, self.tokenizer, self.settings.tokenizer) for name, rows in self.dataset.items()
        }
        self.rungs = list(train_rungs(self.settings, self.dataset, self.texts, self.tokenizer, folder))


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    return Climbed(tmp_path_factory.mktemp("ladder"))


def test_each_rung_is_there_in_its_order(climbed):
    assert [rung.name for rung in climbed.rungs] == NAMES
    assert [rung.is_counted for rung in climbed.rungs] == [True, True, True, False, False, False]
    for rung in climbed.rungs:
        assert 1 < rung.metrics["perplexity"] < len(climbed.tokenizer)
        assert rung.parameters > 0 and rung.minutes > 0 and rung.sample
    unigram, bigram = (rung.metrics["perplexity"] for rung in climbed.rungs[:2])
    assert bigram < unigram


def test_each_rung_is_a_checkpoint_that_scores_what_the_ladder_says(climbed):
    for rung in climbed.rungs:
        folder = climbed.folder / rung.name.lower().replace(" ", "-")
        model = AutoModelForCausalLM.from_pretrained(folder)
        options = {"carry": climbed.settings.carry, "kind": climbed.settings.tokenizer.kind}
        again = score_split(model, climbed.texts["test"], climbed.dataset["test"], **options)
        assert again == pytest.approx(rung.metrics, rel=1e-6), rung.name
        # And as anybody would score these texts, who knows nothing of ladders.
        scores = score(model, AutoTokenizer.from_pretrained(folder), climbed.dataset["test"]["text"][:])
        assert scores.perplexity == pytest.approx(rung.metrics["perplexity"], rel=1e-5), rung.name
        tensors = dict(model.state_dict())
        if rung.name == "Transformer":  # whose output weights are its embeddings
            del tensors["lm_head.weight"]
        assert sum(tensor.numel() for tensor in tensors.values()) == rung.parameters


def test_a_transformer_is_trained_without_a_state_and_as_its_own_section_says(climbed):
    made = settings("--training.carry=stream", "--training.vary_window=true", "--tokenizer.start=false")
    assert made.training_of("gru") == made.training
    changed = {"carry": "none", "vary_window": False, **made.transformer_training}
    assert made.transformer_training["learning_rate"] == 3e-3 != made.training["learning_rate"]
    assert made.training_of("transformer") == made.training | changed
    assert made.network_of("gru", 20) == made.network
    assert made.network_of("transformer", 20) == {"max_position_embeddings": 20, **made.transformer}
    config = AutoModelForCausalLM.from_pretrained(climbed.folder / "transformer").config
    assert (config.max_position_embeddings, config.hidden_size, config.num_hidden_layers) == (32, 8, 1)


def test_a_carried_text_is_measured_as_one(climbed, tmp_path):
    """By hand for the network: every token but the first of all, the state carried from document to document."""
    one = Climbed(
        tmp_path,
        "--training.carry=stream",
        "--tokenizer.start=false",
        "--rungs.orders=[]",
        "--rungs.num_states=0",
        "--rungs.networks=[rnn]",
        dataset=climbed.dataset,
    )
    (rung,) = one.rungs
    ids = torch.from_numpy(one.texts["test"].ids).long()[None]
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(tmp_path / "rnn")(ids[:, :-1]).logits[0].double()
    nats = torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item()
    assert rung.metrics["perplexity"] == pytest.approx(math.exp(nats), rel=1e-5)


def test_a_split_to_measure_is_found_where_there_is_no_test_split(climbed):
    dataset, texts = (
        {name: each[name] for name in ("train", "validation")} for each in (climbed.dataset, climbed.texts)
    )
    made = settings(*SMALL, "--rungs.orders=[2]", "--rungs.num_states=0", "--rungs.networks=[]")
    (rung,) = train_rungs(made, dataset, texts, climbed.tokenizer, climbed.folder / "validation")
    model = AutoModelForCausalLM.from_pretrained(climbed.folder / "bigram")
    options = {"carry": "document", "kind": made.tokenizer.kind}
    assert rung.metrics == score_split(model, texts["validation"], dataset["validation"], **options)
    assert rung.metrics != climbed.rungs[1].metrics


# Table and picture


RUNGS = [
    Rung(name="unigram", is_counted=True, parameters=1234, minutes=0.001, metrics={"perplexity": 54.321}, sample="a"),
    Rung(name="LSTM", is_counted=False, parameters=56789, minutes=1.5, metrics={"perplexity": 7.0}, sample="ü"),
]


def test_the_table_has_a_row_for_each_rung():
    assert ladder_table(RUNGS).splitlines() == [
        "| rung | parameters | minutes | perplexity |",
        "|---|---|---|---|",
        "| unigram | 1,234 | 0.00 | 54.32 |",
        "| LSTM | 56,789 | 1.50 | 7 |",
    ]


def test_what_is_written_can_be_read_back(tmp_path):
    save_ladder(RUNGS, ladder_table(RUNGS), tmp_path, "python recipes/ladder.py")
    found = json.loads((tmp_path / "ladder.json").read_text(encoding="utf-8"))
    assert found["command"] == "python recipes/ladder.py"
    assert [Rung(**rung) for rung in found["rungs"]] == RUNGS
    assert (tmp_path / "ladder.md").read_text(encoding="utf-8") == ladder_table(RUNGS) + "\n"


def test_the_picture_names_each_rung_and_what_it_reached(tmp_path):
    pytest.importorskip("matplotlib")
    plot_ladder(RUNGS, tmp_path / "ladder.svg")
    drawn = (tmp_path / "ladder.svg").read_text(encoding="utf-8")
    for words in (
        "unigram",
        "LSTM",
        r"54\.32  \(0\.00 M, 0\.0 min\)",
        r"7  \(0\.06 M, 1\.5 min\)",
        "perplexity .brown",
    ):
        assert re.search(f"<!-- {words}", drawn), words
    assert {"#7a5b00", "#1f6fb4"} <= set(re.findall(r"#[0-9a-f]{6}", drawn))  # one of each kind
    with pytest.raises(ValueError, match="no rung to draw"):
        plot_ladder([], tmp_path / "none.png")


def test_a_picture_without_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'hfseq\[plots\]'"):
        plot_ladder(RUNGS, tmp_path / "ladder.png")


# The recipe


def test_the_recipe_leaves_table_picture_and_checkpoints(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    options = ["--rungs.orders=[1]", "--rungs.num_states=0", "--rungs.networks=[gru]"]
    arguments = ["--config", CONFIG, *SMALL, f"--training.output_dir={tmp_path / 'run'}", *options]
    monkeypatch.setattr(sys, "argv", ["recipes/ladder.py", *arguments])
    ladder.main()
    folder = tmp_path / "run"
    assert (folder / "ladder.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads((folder / "ladder.json").read_text(encoding="utf-8"))
    assert [rung["name"] for rung in facts["rungs"]] == ["unigram", "GRU"]
    words = shlex.split(facts["command"])
    assert words[:2] == ["python", "recipes/ladder.py"] and options[-1] in words
    printed = capsys.readouterr().out
    assert (folder / "ladder.md").read_text(encoding="utf-8") in printed
    for rung in facts["rungs"]:
        assert f"{rung['name']}: {rung['metrics']}\n    {rung['sample']!r}\n" in printed
        assert (folder / rung["name"].lower() / "model.safetensors").is_file()


def test_the_recipe_ends_well_without_matplotlib(climbed, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(build, "load_documents", lambda settings: climbed.dataset)
    monkeypatch.setattr(build, "train_rungs", lambda *given: iter(RUNGS))
    monkeypatch.setattr(sys, "argv", ["ladder.py", "--config", CONFIG, f"--training.output_dir={tmp_path}"])
    ladder.main()
    assert "no picture: plot_ladder needs matplotlib: pip install 'hfseq[plots]'" in capsys.readouterr().out
    assert (tmp_path / "ladder.md").read_text(encoding="utf-8") == ladder_table(RUNGS) + "\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rungs.of=classifiers", 'rungs.of is "classifiers" but takes one of "language_models"'),
        ("--rungs.orders=[0]", r"rungs.orders=\[0\] must be from 1 to 10 each"),
        ("'--rungs.orders=[1, 11]'", r"rungs.orders=\[1, 11\] must be from 1 to 10 each"),
        ("--rungs.num_states=-1", "rungs.num_states=-1 must be 0 or more"),
        ("--rungs.num_iterations=0", "num_iterations=0 1 or more"),
        ("--rungs.networks=[lstn]", "unknown family 'lstn'; did you mean 'lstm'"),
        ("--rungs.networks=[ngram]", "unknown family 'ngram'"),
        ("--rungs.networks=[custom]", "unknown family 'custom'"),
        (
            "--rungs.orders=[] --rungs.num_states=0 --rungs.networks=[]",
            "rungs has no rung: give orders, num_states or networks",
        ),
        ("--network.hiden_size=8", "unknown key 'hiden_size'; did you mean 'hidden_size'"),
        ("--network.bidirectional=true", "unknown key 'bidirectional'"),
        ("--training.carry=text", "training.carry"),
        ("--transformer_training.carry=stream", "transformer_training.carry='stream': a transformer has no state"),
        ("--training.mlm_probability=0.15", "unknown key 'mlm_probability'"),
        ("--transformer_training.mlm_probability=0.15", "unknown key 'mlm_probability'"),
        ("--transformer_training.output_dir=elsewhere", "unknown key 'output_dir'"),
        ("--transformer.bidirectional=true", "unknown key 'bidirectional'"),
        ("--tokenizer.kind=word", 'takes one of "char"'),
        ("--data.name=null", "no data: give data.name"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        settings(*shlex.split(options))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_settings_file_parses_and_names_itself_in_its_launch_line(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (line,) = [line for line in header_lines(path) if line.startswith("python ")]
    program, script, *arguments = shlex.split(line)
    assert (program, script) == ("python", "recipes/ladder.py")
    assert arguments == ["--config", str(path.relative_to(ROOT))]
    made = read_settings(LadderSettings, arguments)
    assert made.training["output_dir"] == f"runs/ladder_{path.stem}"
    assert set(made.rungs.networks) <= set(NETWORKS) == {"rnn", "lstm", "gru", "transformer"}
