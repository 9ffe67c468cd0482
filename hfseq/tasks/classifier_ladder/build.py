"""The ladder of classifiers: from the commonest label to attention, on one data set, each with what it costs.

    majority -> TF-IDF regression -> bag of words -> bag of n-grams -> averaged word vectors
             -> window -> RNN -> LSTM -> GRU -> transformer

Every rung is measured on the same texts: accuracy, macro F1, minutes of training, MB of all files that it needs to
answer, and the median time for one text on one CPU core, with everything from the text to the label. Bags and networks
are trained on texts of at most `tokenizer.max_length` tokens; every rung is measured on whole texts. A rung that is
behind a simpler one says so: then the simpler one is the better choice here.

Bags and networks are trained by the parts of `recipes/text_classification.py`, and each is an ordinary checkpoint.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from datasets import DatasetDict
from transformers import PreTrainedTokenizerFast
from transformers.trainer_utils import set_seed

from ...cards.measure import median_ms
from ...cards.table import markdown_table
from ...data.text import TextTask
from ...data.vectors import embedding_matrix
from ...evaluation.scores import compute_score
from ...evaluation.trainer_metrics import check_metric_for_best_model, classification_metrics
from ...recipe.ladders import Bar, Ladder, plot_bars
from ...recipe.runs import evaluated_split
from ...registry import FAMILIES
from ...training.arguments import SequenceTrainingArguments
from ...training.words.trainer import train_word2vec
from ..text_classification.build import (
    load,
    longest_text,
    make_arguments,
    make_model,
    make_tokenizer,
    make_tokens,
    make_trainer,
    published_pipeline,
)
from .settings import ClassifierLadderSettings, ModelParts
from .simple import AveragedVectors, Majority, SimpleClassifier, TfIdfRegression, token_lists

_NETWORK, _SIMPLE = "#1f6fb4", "#7a5b00"
_METRICS = ("accuracy", "f1_macro")
_TITLES = {
    **{"majority": "majority", "tf-idf": "TF-IDF regression", "word-vectors": "averaged word vectors"},
    **{"bag": "bag of words", "bag-ngrams": "bag of n-grams", "window": "window network"},
}


@dataclass(kw_only=True)
class ClassifierRung:
    """One model of the ladder, what it reached, and what it costs."""

    name: str
    is_network: bool
    metrics: dict[str, float]  # of the evaluated split
    minutes: float  # of training
    file_mb: float  # of all files that it needs to answer
    ms_per_text: float
    behind: str | None = None  # the simplest rung that is more often right


@dataclass(frozen=True)
class Prepared:
    """What every rung learns from."""

    task: TextTask
    split: str  # that is evaluated
    tokenizer: PreTrainedTokenizerFast
    tokens: DatasetDict

    def texts(self, split: str) -> list[str]:
        """Return the texts of a split."""
        return cast(list[str], self.task.dataset[split]["text"][:])

    def labels(self, split: str) -> np.ndarray:
        """Return the numbers of their labels."""
        return np.asarray(self.task.dataset[split]["labels"][:])


def load_one_label(settings: ClassifierLadderSettings) -> TextTask:
    """Load texts and labels, and refuse those that are not one label a text."""
    task = load(settings.data)
    if task.problem_type != "single_label_classification":
        problem = f"the labels of data.label_column={settings.data.label_column!r} make it {task.problem_type}"
        raise ValueError(f"The ladder of classifiers compares models of one label a text, but {problem}.")
    if task.has_pairs:
        given = f"data.text_pair_column={settings.data.text_pair_column!r} makes rows of two"
        raise ValueError(f"The ladder of classifiers compares models of one text a row, but {given}: leave it out.")
    check_metric_for_best_model(settings.training.get("metric_for_best_model"), task.problem_type)
    return task


def prepare(settings: ClassifierLadderSettings, task: TextTask) -> Prepared:
    """Make the tokens that all rungs but TF-IDF read."""
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    tokens = make_tokens(task, tokenizer, settings.tokenizer)
    return Prepared(task, evaluated_split(task.dataset), tokenizer, tokens)


def climb(settings: ClassifierLadderSettings, prepared: Prepared, folder: Path) -> Iterator[ClassifierRung]:
    """Make each rung, one after the other, save it to a folder of its own, and measure it."""
    makers: dict[str, Callable[[], SimpleClassifier]] = {
        "majority": Majority,
        "tf-idf": TfIdfRegression,
        "word-vectors": partial(_averaged_vectors, settings, prepared, folder / "training" / "word-vectors"),
    }
    parts = {name: settings.parts_of(name, str(folder / "training" / name)) for name in settings.rungs.trained()}
    # All at once: what is wrong is told before anything is trained.
    arguments = {name: make_arguments(part) for name, part in parts.items()}
    rungs: list[ClassifierRung] = []
    for name in settings.rungs.in_order():
        home, title = folder / name, _TITLES.get(name) or FAMILIES[name].title
        home.mkdir(parents=True, exist_ok=True)
        if name in makers:
            rung = _simple_rung(title, makers[name], prepared, home)
        else:
            rung = _trained_rung(title, parts[name], arguments[name], prepared, home)
        rung.behind = simplest_ahead(rung, rungs)
        rungs.append(rung)
        yield rung


def simplest_ahead(rung: ClassifierRung, below: Sequence[ClassifierRung]) -> str | None:
    """Name the simplest of the rungs below that is more often right; None: it was worth the climb."""
    return next((lower.name for lower in below if lower.metrics["accuracy"] > rung.metrics["accuracy"]), None)


def _simple_rung(title: str, make: Callable[[], SimpleClassifier], prepared: Prepared, home: Path) -> ClassifierRung:
    start = time.perf_counter()
    classifier = make()
    classifier.fit(prepared.texts("train"), prepared.labels("train"))
    minutes = (time.perf_counter() - start) / 60
    classifier.save(home)
    texts, labels = prepared.texts(prepared.split), prepared.labels(prepared.split)
    predictions = classifier.predict(texts)
    return ClassifierRung(
        name=title,
        is_network=False,
        metrics={name: compute_score(name, predictions, labels) for name in _METRICS},
        minutes=minutes,
        file_mb=_folder_mb(home),
        ms_per_text=median_ms(lambda text: classifier.predict([text]), texts),
    )


def _averaged_vectors(settings: ClassifierLadderSettings, prepared: Prepared, folder: Path) -> AveragedVectors:
    """Take the word vectors that are given, or train some on the training texts."""
    source, options = settings.embeddings.from_pretrained, settings.word_vectors_training
    if source is None:
        words = token_lists(prepared.texts("train"), prepared.tokenizer)
        # The tokenizer has left rare words out; one thread gives the same vectors every time.
        how = {"min_count": 1, "num_threads": 1, "seed": int(settings.training.get("seed", 42)), **options}
        train_word2vec(words, **settings.word_vectors, **how).save_pretrained(folder, vectors_only=True)
        source = str(folder)
    return AveragedVectors(
        prepared.tokenizer, embedding_matrix(prepared.tokenizer, source, settings.embeddings.format)
    )


def _trained_rung(
    title: str, parts: ModelParts, args: SequenceTrainingArguments, prepared: Prepared, home: Path
) -> ClassifierRung:
    task, (tokenizer, tokens) = prepared.task, _tokens_for(parts, prepared)
    set_seed(args.seed)
    trainer = make_trainer(
        make_model(parts, task, tokenizer),
        args,
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
        compute_metrics=classification_metrics(task.problem_type),
    )
    trainer.train()
    _, metrics = trainer.score(tokens[prepared.split])
    for part in (cast(Any, trainer.model), tokenizer):
        part.save_pretrained(home)
    pipe = published_pipeline(home)
    return ClassifierRung(
        name=title,
        is_network=parts.model["type"] != "bag",
        metrics={metric: metrics[metric] for metric in _METRICS},
        minutes=trainer.training_seconds / 60,
        file_mb=_folder_mb(home),
        ms_per_text=median_ms(pipe, prepared.texts(prepared.split)),
    )


def _tokens_for(parts: ModelParts, prepared: Prepared) -> tuple[PreTrainedTokenizerFast, DatasetDict]:
    """Return what all rungs read, but of a model with learned positions, which cannot read the longest texts."""
    limit = longest_text(parts)
    if limit is None:
        return prepared.tokenizer, prepared.tokens
    tokenizer = copy.deepcopy(prepared.tokenizer)
    tokenizer.model_max_length = limit
    return tokenizer, make_tokens(prepared.task, tokenizer, parts.tokenizer)


def _folder_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6


def classifier_line(rung: ClassifierRung) -> str:
    """Say in a line what a rung reached."""
    scores = ", ".join(f"{name} {value:.4f}" for name, value in rung.metrics.items())
    return f"{rung.name}: {scores}" + ("" if rung.behind is None else f", behind {rung.behind}")


def classifier_table(rungs: Sequence[ClassifierRung]) -> str:
    """Write the rungs as a table in Markdown; the mark of a rung names the simplest one that it is behind."""
    titles = ["rung", "accuracy", "macro F1", "minutes", "MB", "ms a text", "behind"]
    rows = [
        [
            rung.name,
            *(f"{100 * rung.metrics[name]:.1f}" for name in _METRICS),
            *(f"{value:.2f}" for value in (rung.minutes, rung.file_mb, rung.ms_per_text)),
            "" if rung.behind is None else f"⚠ {rung.behind}",
        ]
        for rung in rungs
    ]
    return markdown_table(titles, rows)


def plot_classifiers(rungs: Sequence[ClassifierRung], path: str | Path) -> None:
    """Draw the accuracy of the rungs, a bar each, to a .png, .svg or .pdf file; needs matplotlib."""
    bars = [
        Bar(
            rung.name,
            100 * rung.metrics["accuracy"],
            f"{100 * rung.metrics['accuracy']:.1f}  ({rung.file_mb:.1f} MB, {rung.ms_per_text:.2f} ms a text)",
            _NETWORK if rung.is_network else _SIMPLE,
        )
        for rung in rungs
    ]
    plot_bars(bars, "accuracy (brown: counted or averaged, blue: a network)", path)


CLASSIFIERS = Ladder(
    settings=ClassifierLadderSettings,
    load=load_one_label,
    prepare=prepare,
    climb=climb,
    line=classifier_line,
    table=classifier_table,
    plot=plot_classifiers,
)
