"""The simplest systems that a text classifier is measured beside, on the same rows of the same run."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from ...cards.facts import Comparison
from ...generation.generative_classifier import GenerativeClassifier, ngram_model
from ...recipe.publish import rival
from .settings import Rivals

Answers = tuple[str, np.ndarray]  # the name of a system, and its label of each row

_LONGEST: Final = 4  # characters of an n-gram
_SMOOTHING: Final = 0.01  # added to each count


def rivals(
    train: Dataset, rows: Dataset, kind: Rivals, measure: Callable[[np.ndarray], dict[str, float]]
) -> list[Comparison]:
    """Train the systems and let each answer all rows; `measure` makes scores of the answers."""
    # Whole columns: iterating over one of a Dataset reads it row by row.
    learnt, texts = train[:], rows[:]["text"]
    commonest = Counter(learnt["labels"]).most_common(1)[0][0]
    systems = _of_characters if kind == "characters" else _of_words
    always = "Most frequent class", np.full(len(texts), commonest)
    answers = [always, *systems(learnt["text"], learnt["labels"], texts)]
    return [row for name, labels in answers for row in rival(name, measure(labels))]


def _of_words(train: list[str], labels: list[int], texts: list[str]) -> Iterator[Answers]:
    words = make_pipeline(CountVectorizer(token_pattern=r"\w+|[^\w\s]"), LogisticRegression(max_iter=300))
    yield "Bag of words (logistic regression on word counts)", words.fit(train, labels).predict(texts)


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
