"""Evaluated texts are read as the published pipeline reads them: whole, or as far as learned positions go."""

import csv
import functools
import io
import logging
import random
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from transformers import AutoTokenizer, pipeline

from hfseq import cli
from hfseq.cards.render import render_card
from hfseq.tasks.text_classification import build
from hfseq.tasks.text_classification.facts import CardFacts
from tests.tasks.base import RECIPES

LONGEST, POSITIONS = 8, 20  # tokens of a text in training, and of learned positions
FILLERS = ["the", "a", "of", "it", "to", "and", "in", "that", "was", "for", "on", "with"]
DATA = ("--data.max_rows=null", f"--tokenizer.max_length={LONGEST}", "--tokenizer.min_count=1")
QUIET = ("--training.use_cpu=true", "--training.disable_tqdm=true", "--training.report_to=none")
STEPS = (
    *("--training.max_steps=60", "--training.learning_rate=0.02", "--training.total_train_batch_size=32"),
    *("--training.eval_strategy=steps", "--training.eval_steps=20", "--training.save_strategy=steps"),
    *("--training.save_steps=20", "--training.load_best_model_at_end=true"),
)
SMALL = ("--model.hidden_size=8", "--model.pooling=max", *STEPS)
ATTENDING = (*SMALL, "--model.num_attention_heads=2", "--model.num_hidden_layers=1")
LEARNED = ("--model.position_embedding_type=learned", f"--model.max_position_embeddings={POSITIONS}")
MODELS = {
    "gru": ("gru_embedded", *SMALL),
    "window": ("window_embedded", *SMALL),
    "bag": ("bag_embedded", "--model.hidden_size=8"),
    "rotary": ("transformer_embedded", *ATTENDING),
    "learned": ("transformer_embedded", *ATTENDING, *LEARNED),
}


def films(rows, seed, places):
    """Texts of 30 words, of which two, at one of these places, tell the label."""
    draw = random.Random(seed)
    for number in range(rows):
        word = ("good", "bad")[number % 2]
        words = draw.choices(FILLERS, k=30)
        for place in draw.sample(places, k=2):
            words[place] = word
        yield " ".join(words), word


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Training texts that tell their label at once, and others that tell it where training cuts."""
    folder = tmp_path_factory.mktemp("films")
    write(folder / "train.csv", [*films(240, 0, range(LONGEST - 1)), ("good film", "good"), ("bad film", "bad")])
    for split in ("validation", "test"):
        write(folder / f"{split}.csv", films(120, split, range(LONGEST, 30)))
    return folder


@dataclass
class Run:
    """A model, its card, what was told while it was made, and the rows of the test."""

    folder: Path
    facts: CardFacts
    printed: str
    logged: str
    texts: list[str]
    labels: list[str]

    def accuracy(self, **options):
        pipe = pipeline("text-classification", model=str(self.folder), device="cpu", **options)
        return float(
            np.mean([each["label"] == label for each, label in zip(pipe(self.texts), self.labels, strict=True)])
        )


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Makes the run of a name once."""

    @functools.cache
    def make(name):
        config, *options = MODELS[name]
        options = (*QUIET, *DATA, *options, f"--data.path={data}")
        folder, handler = tmp_path_factory.mktemp(name), logging.StreamHandler(logged := io.StringIO())
        logging.getLogger().addHandler(handler)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
            facts = RECIPES["text_classification"].run(patch, folder, *options, config=config, small=())
        logging.getLogger().removeHandler(handler)
        rows = load_dataset("csv", data_files=str(data / "test.csv"), split="train")
        return Run(folder, facts, printed.getvalue(), logged.getvalue(), rows["text"][:], rows["label"][:])

    return make


@pytest.mark.parametrize("name", ["gru", "window", "bag", "rotary"])
def test_the_accuracy_of_the_card_is_that_of_the_plain_pipeline(name, run, caplog, capsys):
    done = run(name)
    found = done.accuracy()
    assert "indexing errors" not in caplog.text + capsys.readouterr().err
    assert done.facts.runs[0].metrics["accuracy"] == pytest.approx(found)
    assert found > 0.9
    # What training has not seen decides: cut as training texts are, these are guessed.
    assert done.accuracy(truncation=True, max_length=LONGEST) < 0.7
    assert AutoTokenizer.from_pretrained(done.folder).model_max_length > 10**9


def test_validation_is_read_whole_where_it_chooses_the_model(run):
    done = run("gru")
    state = next(done.folder.glob("checkpoint-*")) / "trainer_state.json"
    scores = [float(each) for each in re.findall(r'"eval_accuracy": ([\d.]+)', state.read_text(encoding="utf-8"))]
    assert max(scores) > 0.9


def test_learned_positions_are_the_longest_text_of_the_tokenizer_and_the_card_cuts_there(run):
    done = run("learned")
    assert AutoTokenizer.from_pretrained(done.folder).model_max_length == POSITIONS
    assert done.facts.architecture.limit == POSITIONS
    assert done.facts.runs[0].metrics["accuracy"] == pytest.approx(done.accuracy(truncation=True))
    with pytest.raises(ValueError, match=f"longer than the {POSITIONS} positions"):
        done.accuracy()
    card = render_card(done.facts)
    assert re.search(
        r'^pipe = pipeline\("text-classification", model="[\w-]+", truncation=True\)$', card, re.MULTILINE
    )
    assert f"It has learnt {POSITIONS} positions and reads no more tokens of a text" in card
    assert "The evaluated ones were read whole." not in card
    assert "of split 'test' are cut to 20 tokens (the learned positions of the model): 100.0 %" in done.logged


def test_the_share_that_training_cut_is_counted_and_said(run):
    done = run("gru")
    cut = done.facts.cut
    # 240 texts of 30 words and the end, of which 7 and the end are kept; two of 2 words and the end.
    assert cut.texts == pytest.approx(240 / 242)
    assert cut.tokens == pytest.approx(240 * 23 / (240 * 31 + 2 * 3))
    said = (
        "Its training texts were cut to 8 tokens: 99.2 % of the texts were longer, and 74.1 % of the tokens were left"
    )
    assert said in render_card(done.facts) and said in done.printed
    assert "of split 'train' are cut to 8 tokens (tokenizer.max_length): 99.2 % are longer, 74.1 % of" in done.logged
    assert "of split 'test'" not in done.logged


def test_the_command_evaluates_as_the_card_does(run, data, capsys):
    done = run("gru")
    capsys.readouterr()
    assert cli.main(["evaluate", str(done.folder), str(data / "test.csv")]) == 0
    measured = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert float(measured["accuracy"]) == pytest.approx(done.facts.runs[0].metrics["accuracy"], abs=1e-4)


def test_a_card_says_what_it_knows_of_long_texts():
    facts = CardFacts.load(Path(__file__).parents[2] / "golden/card_classifier.json")
    assert "were cut, in training and in the evaluation" in render_card(facts)  # facts of an older run
    facts.cut = build.CutFacts(texts=0.0, tokens=0.0)
    assert (
        f"None of the texts that it was trained on has more than {facts.architecture.max_length} tokens."
        in render_card(facts)
    )
    facts.cut = build.CutFacts(texts=0.0001, tokens=0.00001)
    assert "less than 0.1 % of the texts were longer, and less than 0.1 % of the tokens were left" in render_card(
        facts
    )
