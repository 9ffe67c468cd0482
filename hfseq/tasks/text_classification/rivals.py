"""The simplest systems that a text classifier is measured beside, on the same rows of the same run."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from transformers.utils import logging

from ...cards.facts import Comparison
from ...data.text import PAIR, TextTask, all_texts, joined_texts
from ...generation.generative_classifier import GenerativeClassifier, ngram_model
from ...progress import progress_bar
from ...recipe.likeness import Alike, tfidf_cosine, word_overlap
from ...recipe.publish import rival
from .settings import Rivals

logger = logging.get_logger(__name__)

Answers = tuple[str, np.ndarray]  # the name of a system, and its label of each row

_STRENGTHS: Final = (1.0, 10.0)  # scikit-learn's C
_MOST_STEPS: Final = 1000

_LONGEST: Final = 4  # characters of an n-gram
_SMOOTHING: Final = 0.01  # added to each count


def rivals(
    task: TextTask, rows: Dataset, kind: Rivals, measure: Callable[[np.ndarray], dict[str, float]]
) -> list[Comparison]:
    """Train the systems on the rows of `train`, let each answer all `rows`; `measure` makes scores of the answers."""
    # Whole columns: iterating over one of a Dataset reads it row by row.
    learnt = task.dataset["train"]
    train, labels, texts = joined_texts(learnt), np.asarray(learnt["labels"][:]), joined_texts(rows)
    answers: Iterator[Answers]
    if kind == "characters" and task.problem_type == "single_label_classification":
        answers = _of_characters(train, labels.tolist(), texts)
    else:
        answers = answers_of_words(train, labels, texts, _validation(task))
    pairs = _of_pairs(task, labels, rows) if task.has_pairs else ()
    every = (_always(task, labels, len(texts)), *answers, *pairs)
    return [row for name, labels in every for row in rival(name, measure(labels))]


def _always(task: TextTask, labels: np.ndarray, rows: int) -> Answers:
    if task.problem_type == "regression":
        return "Mean of the training rows", np.full(rows, labels.mean())
    if task.problem_type == "multi_label_classification":
        return "Labels of more than half of the texts", np.tile((labels.mean(0) > 0.5).astype(int), (rows, 1))
    return "Most frequent class", np.full(rows, np.bincount(labels).argmax())


def _validation(task: TextTask) -> tuple[list[str], np.ndarray] | None:
    if "validation" not in task.dataset:
        return None
    held = task.dataset["validation"]
    return joined_texts(held), np.asarray(held["labels"][:])


def answers_of_words(
    train: list[str],
    labels: np.ndarray,
    texts: list[str],
    held: tuple[list[str], np.ndarray] | None,
    strengths: Sequence[float] = _STRENGTHS,
    most_steps: int = _MOST_STEPS,
) -> Iterator[Answers]:
    """Fit a linear model on TF-IDF; how freely its weights may grow is chosen on validation, if there is a choice."""
    vectors = TfidfVectorizer(ngram_range=(1, 2))
    try:
        features = vectors.fit_transform(train)
    except ValueError:  # scikit-learn counts words of two letters or more, and there may be none
        logger.warning("No text has a word of two letters: there is no TF-IDF regression beside the model.")
        return
    seen = None if held is None else (vectors.transform(held[0]), held[1])
    strength, model = _fitted(features, labels, seen, strengths, most_steps)
    name = f"Bag of words (TF-IDF of 1-2-grams, {_name(labels)}, C={strength:g})"
    yield name, model.predict(vectors.transform(texts))


def _of_pairs(task: TextTask, labels: np.ndarray, rows: Dataset) -> Iterator[Answers]:
    """Fit linear models on how alike the two texts are: on one number, then on all that we have."""
    learnt, held = task.dataset["train"], task.dataset.get("validation")
    try:
        texts = all_texts(learnt)["text"][:]
        cosine, runs = (tfidf_cosine(texts, ngram_range=(1, longest)) for longest in (1, 2))
    except ValueError:
        return  # no words, of which `answers_of_words` warns
    for name, measures in (
        ("Cosine of the TF-IDF of the two texts", [cosine]),
        ("TF-IDF cosines, word overlap and lengths of the two texts", [cosine, runs, word_overlap, _length_ratio]),
    ):
        seen = None if held is None else (_numbers(measures, held), np.asarray(held["labels"][:]))
        strength, model = _fitted(_numbers(measures, learnt), labels, seen)
        yield f"{name} ({_name(labels)}, C={strength:g})", model.predict(_numbers(measures, rows))


def _numbers(measures: Sequence[Alike], rows: Dataset) -> np.ndarray:
    first, second = rows["text"][:], rows[PAIR][:]
    return np.stack([measure(first, second) for measure in measures], axis=1)


def _length_ratio(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    lengths = np.array([[len(text.split()) for text in texts] for texts in (first, second)])
    return np.asarray(lengths.min(0) / lengths.max(0).clip(min=1))


def _fitted(
    features: Any,
    labels: np.ndarray,
    held: tuple[Any, np.ndarray] | None,
    strengths: Sequence[float] = _STRENGTHS,
    most_steps: int = _MOST_STEPS,
) -> tuple[float, Any]:
    """Fit with each strength, and return the one that is best on validation, with its model."""
    bar = progress_bar("Fitting regressions", strengths, unit="fit")
    fitted = [(strength, _linear(labels, strength, most_steps).fit(features, _classes(labels))) for strength in bar]
    if held is None:
        return fitted[0]
    seen, wanted = held[0], _classes(held[1])
    wanted = wanted[:, : labels.shape[1]] if labels.ndim > 1 else wanted  # of labels that train shows
    return max(fitted, key=lambda pair: pair[1].score(seen, wanted))


def _linear(labels: np.ndarray, strength: float, most_steps: int) -> Any:
    if labels.ndim == 1 and labels.dtype.kind == "f":
        return Ridge(alpha=1 / strength)
    regression = LogisticRegression(C=strength, max_iter=most_steps)
    return OneVsRestClassifier(regression) if labels.ndim > 1 else regression


def _classes(labels: np.ndarray) -> np.ndarray:
    return labels.astype(int) if labels.ndim > 1 else labels


def _name(labels: np.ndarray) -> str:
    if labels.ndim > 1:
        return "a logistic regression a label"
    return "ridge regression" if labels.dtype.kind == "f" else "logistic regression"


def _of_characters(train: list[str], labels: list[int], texts: list[str]) -> Iterator[Answers]:
    counts = CountVectorizer(analyzer="char", ngram_range=(1, _LONGEST))
    bayes = make_pipeline(counts, MultinomialNB(alpha=_SMOOTHING)).fit(train, labels)
    yield f"Naive Bayes on character n-grams of 1 to {_LONGEST}", bayes.predict(texts)
    # P(text | label): a language model for each label.
    authors = GenerativeClassifier.train(
        (text.lower() for text in train), map(str, labels), make=partial(ngram_model, order=_LONGEST)
    )
    likeliest = authors.log_probs(text.lower() for text in texts).argmax(1)
    yield f"A language model a label (character {_LONGEST}-grams)", np.array(authors.labels)[likeliest].astype(int)
