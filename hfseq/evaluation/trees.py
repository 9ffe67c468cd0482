"""Metrics of trees with labels: roots and nodes, phrases by their length, and what a negation does.

    trainer = Trainer(..., compute_metrics=tree_metrics, preprocess_logits_for_metrics=best_nodes)
    trainer.train(ignore_keys_for_eval=NOT_SCORED)

Nodes stand in post-order, the root last. A class is a number from 0 up; a node without one has -100 and counts
nowhere.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from transformers import EvalPrediction

from ..models.base import IGNORED
from .scores import compute_score
from .trainer_metrics import DIVERGED, NODES, ROOT, ROOT_BINARY

NOT_SCORED: Final = ["parents", "node_mask", "hidden_states", "attentions"]  # outputs of a model: the rest counts
LENGTHS: Final = (1, 2, 3, 5, 10, 20)  # words of a phrase from which each row of a table counts
NEUTRAL: Final = 2  # the middle one of five classes


def best_nodes(outputs: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep the logits of the roots, and the likeliest class of each node, which takes a small part of the memory."""
    logits, node_logits = outputs[:2]
    if not (torch.isfinite(logits).all() and torch.isfinite(node_logits).all()):
        raise ValueError(DIVERGED)
    return logits, node_logits.argmax(-1)


def tree_metrics(evaluated: EvalPrediction) -> dict[str, float]:
    """Score roots, and nodes where the labels (rows, N) are those of nodes; a row's last label is its root's."""
    logits, nodes = (np.asarray(part) for part in evaluated.predictions[:2])
    labels = np.asarray(evaluated.label_ids)
    if labels.ndim == 1:
        kept = labels != IGNORED
        return {ROOT: compute_score(ROOT, logits.argmax(-1)[kept], labels[kept])}
    is_node = labels != IGNORED
    # A plain text among the trees has no label at all.
    kept = is_node.any(1)
    last = labels.shape[1] - 1 - is_node[:, ::-1].argmax(1)
    roots = labels[np.arange(len(labels)), last]
    own = nodes[:, : labels.shape[1]][is_node]
    return {
        ROOT: compute_score(ROOT, logits.argmax(-1)[kept], roots[kept]),
        NODES: compute_score(NODES, own, labels[is_node]),
    }


def binary_roots(logits: np.ndarray, roots: np.ndarray) -> dict[str, float]:
    """Score five classes from very negative to very positive as two: neutral roots are left out.

    The answer is the side with the greater sum of probabilities, as for the Stanford Sentiment Treebank.

    Args:
        logits: (rows, 5).
        roots: (rows,) classes 0 to 4.
    """
    kept = roots != NEUTRAL
    if not kept.any():
        return {}
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    is_positive = shares[:, NEUTRAL + 1 :].sum(-1) > shares[:, :NEUTRAL].sum(-1)
    return {
        ROOT_BINARY: compute_score(ROOT_BINARY, is_positive[kept].astype(int), (roots[kept] > NEUTRAL).astype(int))
    }


class LengthCount(NamedTuple):
    """How many phrases of a range of lengths there are, and how many are right."""

    shortest: int
    longest: int | None  # None: any longer one
    phrases: int
    right: int


def by_length(lengths: np.ndarray, right: np.ndarray) -> list[LengthCount]:
    """Count phrases by their numbers of words, (phrases,); ranges that hold none are left out."""
    found = []
    for shortest, after in zip(LENGTHS, (*LENGTHS[1:], None), strict=True):
        own = (lengths >= shortest) & (lengths < (np.inf if after is None else after))
        if own.any():
            found.append(
                LengthCount(shortest, None if after is None else after - 1, int(own.sum()), int(right[own].sum()))
            )
    return found


class NegationCount(NamedTuple):
    """What is answered to phrases that a negation heads."""

    phrases: int
    right: int
    changed: int  # phrases whose class differs from that of the phrase without the negation
    right_of_changed: int


def negation_count(
    pairs: Iterable[Sequence[tuple[int, int]]], expected: Iterable[Any], answered: Iterable[Any]
) -> NegationCount:
    """Count over all rows; pairs in which a node has no class are left out.

    Args:
        pairs: Of each row: a node that a negation heads, and the phrase without the negation.
        expected: Of each row the classes of its nodes, a list or (nodes,).
        answered: Those that a model gives.
    """
    rows = []
    for own, labels, found in zip(pairs, expected, answered, strict=True):
        for node, without in own:
            if IGNORED not in (labels[node], labels[without]):
                rows.append((labels[node] == found[node], labels[node] != labels[without]))
    table = np.array(rows, dtype=bool).reshape(-1, 2)
    right, changed = table.T
    return NegationCount(len(table), int(right.sum()), int(changed.sum()), int((right & changed).sum()))
