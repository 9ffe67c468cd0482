"""What the compression of a bag reads in texts: how much each row counts, and what the scores should be."""

import numpy as np
import torch

from ...models.words.bag import BagForSequenceClassification, BagModel
from .bag_texts import BagTexts

_SOME = 30_000  # texts that the labels' vectors are fitted on: far more than a label has numbers
_RIDGE = 1e-6  # of the mean square of a text's vector: keeps what no text tells as it was


def some_texts(texts: BagTexts, seed: int) -> BagTexts:
    """Return a part of the texts if there are very many."""
    if len(texts) <= _SOME:
        return texts
    return texts.chosen(np.sort(np.random.default_rng(seed).choice(len(texts), _SOME, replace=False)))


@torch.no_grad()
def row_importance(bag: BagModel, texts: BagTexts | None) -> tuple[np.ndarray, np.ndarray]:
    """Return how much the square of each row's error counts in that of the scores, (R,), and whether it was seen.

    A row that is a share s of a text's vector moves its score by s times its error.
    """
    count = bag.config.num_rows
    if texts is None:
        return np.ones(count), np.ones(count, dtype=bool)
    squares, seen = np.zeros(count), np.zeros(count, dtype=bool)
    for found, starts in texts.chunks(bag):
        rows, shares = found.numpy(), bag.shares(found, starts).double().numpy()
        squares += np.bincount(rows, shares**2, minlength=count)
        seen[rows] = True
    return squares, seen


@torch.no_grad()
def fit_outputs(model: BagForSequenceClassification, hidden: torch.Tensor, wanted: torch.Tensor) -> None:
    """Move the labels' vectors so that the scores of texts come near what is wanted, by least squares.

    Args:
        model: Its classifier changes.
        hidden: The vectors (N, D) that it has of the texts.
        wanted: Their scores (N, outputs).
    """
    classifier = model.classifier
    missing = (wanted - classifier(hidden)).double().numpy()
    vectors = hidden.double().numpy()
    if classifier.bias is not None:
        vectors = np.concatenate([vectors, np.ones((len(vectors), 1))], axis=1)
    # einsum adds in one order, on any number of threads.
    squares = np.einsum("ni,nj->ij", vectors, vectors)
    squares += np.eye(len(squares)) * _RIDGE * np.trace(squares) / len(squares)
    change = torch.from_numpy(np.linalg.solve(squares, np.einsum("ni,nj->ij", vectors, missing)).T)
    classifier.weight.add_(change[:, : hidden.shape[1]].float())
    if classifier.bias is not None:
        classifier.bias.add_(change[:, -1].float())
