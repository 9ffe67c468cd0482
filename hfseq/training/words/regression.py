"""The second way to train a bag: as a regression, whose best weights are the same from every start.

A bag with a row as wide as there are labels, and no further matrix, is a linear model of a text's features. Its loss
plus the squared weights is convex: scikit-learn's solvers find the one minimum in seconds, with no learning rate and
no epochs. On a few thousand texts that is better than the steps of `BagTrainer` by 1 to 3 points. On very many texts,
or with thousands of labels, the steps are faster and the rows narrower.

    minimize  sum over texts of loss(U h + b, label) + 1 / (2 C) sum of squared weights

C, how freely weights may grow, is chosen on validation texts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from scipy.sparse import csr_matrix
from transformers.utils import logging

from ...models.base import IGNORED
from ...models.heads.classification import problem_type_of
from ...models.words.bag import BagForSequenceClassification, BagModel
from ...progress import progress_bar
from ..convex import STRENGTHS, ConvexProblem, Weights
from ..unseen import hide_unseen
from .bag_corpus import BagCorpus, BagTargets, set_row_weights
from .bag_texts import BagTexts
from .compressed_rows import KeptRows, empty_bag

logger = logging.get_logger(__name__)

_HELD_OUT = 0.1  # of the texts, where no validation texts are given
_ROOM, _FEWEST_BUCKETS, _MOST_BUCKETS = 16, 1 << 16, 1 << 23  # buckets for an n-gram that occurs


@dataclass(frozen=True)
class Fitted:
    """A bag that a regression has filled.

    Attributes:
        model: The bag.
        strength: C, chosen on the validation texts.
        losses: The loss on the validation texts with each C that was tried.
        loss: The mean loss on the training texts.
    """

    model: BagForSequenceClassification
    strength: float
    losses: dict[float, float]
    loss: float


def regression_options(texts: Dataset, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a new bag that a regression is to fill: those given, and what follows from the texts.

    N-grams get so many buckets that few share one; those that no text has take no room in the finished model.
    """
    for name, reason in (
        ("hidden_size", "a row has a number for each label"),
        ("hierarchical_softmax", "all labels are scored"),
    ):
        if given.get(name):
            raise ValueError(f"{name}={given[name]!r} does not fit solver='regression': {reason}. Leave it out.")
    words = sum(len(text.split()) for text in texts["text"])
    longest = int(given.get("word_ngrams", 2))
    # The n-grams of a word's characters are few beside those of words.
    wanted = _ROOM * words * max(longest - 1, int(given.get("longest_ngram", 0) > 0))
    buckets = min(max(1 << math.ceil(math.log2(max(wanted, 1))), _FEWEST_BUCKETS), _MOST_BUCKETS)
    # Width 1: these rows only say which features there are; `fit_regression` makes others.
    return {"weighting": "tfidf_l2", "ngram_buckets": buckets, **given, "hidden_size": 1}


def fit_regression(
    model: BagForSequenceClassification,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    class_weights: str | None = None,
    seed: int = 42,
    strengths: Sequence[float] = STRENGTHS,
) -> Fitted:
    """Return a bag with the words, n-grams and weighting of `model`, and the weights of a regression.

    Args:
        model: A new bag with its vocabulary; it stays as it is.
        train: Columns `input_ids` (of bytes: or `text`) and `labels`.
        validation: Texts to choose C on; without any a tenth of the training texts is kept aside for that, and the
            weights are then fitted on all.
        class_weights: "balanced": each class counts the same, however few texts it has.
        seed: Chooses the texts that are kept aside.
        strengths: The values of C.
    """
    problem_type = problem_type_of(model.config, torch.tensor(train["labels"][:1]))
    if model.config.hierarchical_softmax:
        raise ValueError("hierarchical_softmax=True: a regression scores all labels; make the bag without it.")
    made = _with_seen_rows(model, train, problem_type)
    features, targets = _features(made.model, train), BagTargets.of(train, made, problem_type).column.numpy()
    if problem_type == "single_label_classification":
        features, targets = features[targets != IGNORED], targets[targets != IGNORED]
    scale = 1 / max(float(np.sqrt(features.multiply(features).sum(1)).mean()), np.finfo(np.float32).tiny)
    problem = ConvexProblem(problem_type, made.num_labels, made.config.bias, class_weights)
    fit_on, choose_on = np.arange(len(targets)), None
    if validation is None:
        order = np.random.default_rng(seed).permutation(len(targets))
        choose_on, fit_on = np.split(order, [max(int(_HELD_OUT * len(order)), 1)])
        held = features[choose_on], targets[choose_on]
    else:
        held = _features(made.model, validation), _held_targets(validation, made.num_labels, problem_type)
    trials = progress_bar("Fitting regressions", strengths, unit="fit")
    found = {c: problem.fit(scale * features[fit_on], targets[fit_on], c) for c in trials}
    quality = {c: problem.quality(each.logits(scale * held[0]), held[1]) for c, each in found.items()}
    best = max(quality, key=lambda c: quality[c])
    weights = found[best] if choose_on is None else problem.fit(scale * features, targets, best)
    weights = weights._replace(rows=scale * weights.rows)
    _write(made, weights)
    loss = -problem.quality(weights.logits(features), targets)[-1]
    losses = {c: -each[-1] for c, each in quality.items()}
    tried = ", ".join(f"{c:g}" for c in quality)
    logger.warning("Regression: C=%g is the best of %s on the validation texts.", best, tried)
    return Fitted(made.eval(), best, losses, loss)


def _held_targets(rows: Dataset, num_labels: int, problem_type: str) -> np.ndarray:
    """Return the labels that choose; those that training never shows are answered by no weights."""
    return hide_unseen(torch.tensor(rows["labels"][:]), num_labels, problem_type).numpy()


def _with_seen_rows(model: BagForSequenceClassification, train: Dataset, problem_type: str) -> Any:
    """Return a bag whose rows are the features that texts have, as wide as there are outputs."""
    bag, corpus = model.model, BagCorpus.of(train, model.model)
    frequencies = corpus.frequencies(bag, once_a_text=True)
    stays = frequencies > 0
    if model.config.units == "tokens":  # the tokenizer has them all
        stays[: model.config.words_with_rows] = True
    kept = KeptRows.of(bag, np.flatnonzero(stays))
    is_binary = problem_type == "single_label_classification" and model.num_labels == 2
    made = empty_bag(model, kept.config(bag, hidden_size=1 if is_binary else model.num_labels))
    kept.fill(made.model, bag)
    if made.model.row_weights is not None:
        set_row_weights(made.model, frequencies[kept.rows], len(corpus))
    return made


@torch.no_grad()
def _features(bag: BagModel, dataset: Dataset) -> csr_matrix:
    """Return by how much each row counts in each text, (N, R)."""
    values, columns, ends = [], [], [np.zeros(1, dtype=np.int64)]
    for rows, starts in BagTexts.of(dataset, bag).chunks(bag):
        values.append(bag.shares(rows, starts).double().numpy())
        columns.append(rows.numpy())
        ends.append(ends[-1][-1] + np.append(starts.numpy()[1:], len(rows)))
    parts = np.concatenate(values), np.concatenate(columns), np.concatenate(ends)
    found = csr_matrix(parts, shape=(len(parts[2]) - 1, bag.config.num_rows))
    found.sum_duplicates()
    return found


@torch.no_grad()
def _write(made: BagForSequenceClassification, weights: Weights) -> None:
    """Make the weights the rows of the bag, whose last matrix changes nothing."""
    rows, biases = torch.from_numpy(weights.rows.T), torch.from_numpy(weights.biases)
    made.model.inputs.get_parameter("weight").copy_(rows)
    if made.num_labels == 2 and rows.shape[1] == 1:
        made.classifier.weight.copy_(torch.tensor([[0.0], [1.0]]))
        biases = torch.cat([torch.zeros(1), biases])
    else:
        made.classifier.weight.copy_(torch.eye(made.num_labels))
    if made.classifier.bias is not None:
        made.classifier.bias.copy_(biases)
