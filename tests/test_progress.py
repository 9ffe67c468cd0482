"""Bars of long steps: who sees them, and who switched them off."""

import io
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pytest
import tqdm.auto
from transformers.utils import logging

from hfseq import progress
from hfseq.data.documents import TEXT, token_ids
from hfseq.data.raw_corpus import read_raw
from hfseq.evaluation.language import score_ids
from hfseq.formats.vector_files import read_word_vectors
from hfseq.models.counting.ngram import NGramConfig, NGramForCausalLM
from hfseq.progress import progress_bar, silence_progress
from hfseq.tokenization import byte_tokenizer, train_tokenizer
from hfseq.training.words.bag_texts import BagTexts
from hfseq.training.words.bag_vocabulary import new_bag
from recipes import (
    captioning,
    intent_slots,
    ladder,
    language_modeling,
    masked_language_modeling,
    sentence_similarity,
    series,
    strokes,
    text_classification,
    token_classification,
    translation,
    trees,
    word2vec,
)


class Terminal(io.StringIO):
    """A stream that says that a person looks at it."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """What a person sees, with the bars switched on as they are by default and no delay."""
    stream = Terminal()
    monkeypatch.setattr(tqdm.auto, "tqdm", partial(tqdm.auto.tqdm, file=stream))
    monkeypatch.setattr(progress, "BARS_AFTER", 0)
    monkeypatch.setattr(logging, "_tqdm_active", True)  # the tests switch the bars of the Hub off, and so these
    monkeypatch.delenv("RANK", raising=False)
    are_off = datasets.are_progress_bars_disabled()
    datasets.enable_progress_bars()
    yield stream
    (datasets.disable_progress_bars if are_off else datasets.enable_progress_bars)()


def walk():
    return list(progress_bar("Walking", range(3), unit="step"))


def test_a_bar_is_shown_where_a_person_looks(terminal):
    assert walk() == [0, 1, 2]
    assert "Walking: 100%" in terminal.getvalue() and "| 3/3 [" in terminal.getvalue()


@pytest.mark.parametrize("switch", ["transformers", "datasets", "silence", "disable", "another process"])
def test_each_switch_makes_it_silent(terminal, switch, monkeypatch):
    if switch == "another process":
        monkeypatch.setenv("RANK", "1")
    off = {
        "transformers": logging.disable_progress_bar,
        "datasets": datasets.disable_progress_bars,
        "silence": silence_progress,
    }
    off.get(switch, lambda: None)()
    with progress_bar("Walking", total=3, disable=switch == "disable") as bar:
        bar.update(3)
    assert terminal.getvalue() == ""


def test_a_step_that_ends_at_once_shows_nothing(terminal, monkeypatch):
    monkeypatch.setattr(progress, "BARS_AFTER", 1.0)
    assert walk() == [0, 1, 2]
    assert terminal.getvalue() == ""


def words(tmp_path):
    (tmp_path / "text.txt").write_text("a b a\n", encoding="utf-8")
    read_raw(tmp_path / "text.txt")


def vectors(tmp_path):
    (tmp_path / "v.txt").write_text("a 1 2\nb 3 4\n", encoding="utf-8")
    read_word_vectors(tmp_path / "v.txt")


def tokens(tmp_path):
    tokenizer = train_tokenizer(["a b a b"], "char", purpose="language-modeling")
    list(token_ids(datasets.Dataset.from_dict({TEXT: ["a b"]}), tokenizer))


def scores(tmp_path):
    model = NGramForCausalLM(NGramConfig(vocab_size=5, order=2, pad_token_id=None)).fit([[1, 2, 3]])
    score_ids(model, [np.array([1, 2, 3])])


def features(tmp_path):
    tokenizer, texts = byte_tokenizer(), datasets.Dataset.from_dict({"text": ["a b", "b"]})
    bag = new_bag(tokenizer, texts, hidden_size=2).model
    BagTexts.of(texts, bag).hidden(bag)


@pytest.mark.parametrize(
    ("step", "doing"),
    [
        (words, "Reading words: 5.00 word"),  # ends of lines are two of them
        (vectors, "Reading vectors: 2.00 vector"),
        (tokens, "Reading texts: 100%"),
        (tokens, "Tokenizing: 3.00 character"),
        (scores, "Scoring: 100%"),
        (features, "Listing features: 100%"),
    ],
)
def test_long_steps_have_a_bar(terminal, tmp_path, step, doing):
    step(tmp_path)
    assert doing in terminal.getvalue()


def test_counting_ngrams_has_a_bar(terminal, monkeypatch):
    """It is transformers' own; no switch of ours shortens its delay."""
    seen = []
    monkeypatch.setattr(logging, "tqdm", lambda orders, **options: seen.append(options) or orders)
    NGramForCausalLM(NGramConfig(vocab_size=5, order=3, pad_token_id=None)).fit([[1, 2, 3]])
    assert seen == [{"desc": "Counting n-grams", "unit": "order", "delay": 1, "leave": None}]


@pytest.mark.parametrize(
    ("recipe", "config"),
    [
        (intent_slots, "lstm_embedded"),
        (ladder, "embedded"),
        (ladder, "classifiers_embedded"),
        (ladder, "translators_embedded"),
        (language_modeling, "lstm_embedded"),
        (masked_language_modeling, "transformer_embedded"),
        (sentence_similarity, "embedded"),
        (text_classification, "lstm_embedded"),
        (token_classification, "lstm_embedded"),
        (translation, "lstm_embedded"),
        (series, "lstm_seasons"),
        (strokes, "lstm_embedded"),
        (captioning, "lstm_shapes"),
        (trees, "tree_lstm_embedded"),
        (word2vec, "skipgram_embedded"),
    ],
)
def test_disable_tqdm_of_a_recipe_silences_its_first_steps_too(terminal, tmp_path, recipe, config):
    name = recipe.__name__.rpartition(".")[2]
    section = "compare" if recipe is sentence_similarity else "training"
    words = ["--config", f"recipes/configs/{name}/{config}.yaml", "--data.path=none.csv"]
    words += ["--data.target_columns=[sales]"] if recipe is series else []
    for silent in ("false", "true"):
        with pytest.raises((ValueError, FileNotFoundError), match="none.csv"):
            recipe.main([*words, f"--{section}.output_dir={tmp_path}", f"--{section}.disable_tqdm={silent}"])
        assert progress.progress_is_shown() is (silent == "false")


def test_every_recipe_is_asked_to_be_silent():
    (mark,) = test_disable_tqdm_of_a_recipe_silences_its_first_steps_too.pytestmark
    asked = {recipe.__name__.rpartition(".")[2] for recipe, _ in mark.args[1]}
    assert asked == {path.stem for path in Path("recipes").glob("*.py")} - {"__init__"}
