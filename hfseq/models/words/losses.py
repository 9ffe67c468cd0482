"""The three losses of word2vec, as functions of the vectors: each row of a batch predicts one word.

Shapes: B batch, D width, V vocabulary, N negatives.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ..ragged import ragged_places
from .tables import noise_table


class WordLosses:
    """The losses of a model, by the loss that its config names, with the tables that it needs.

    Tables are made of the counts of words, once, for a large vocabulary takes a second; anew when the counts change.
    """

    def __init__(self) -> None:
        self._made: tuple[Any, tuple[np.ndarray, ...]] | None = None

    def __call__(self, model: Any, context: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row of a `Word2VecModel`: context (B, D), labels (B,)."""
        config, outputs = model.config, model.needed_outputs("a loss").weight
        if config.loss == "softmax":
            return softmax_losses(outputs, context, labels)
        tables = [torch.from_numpy(table).to(labels.device) for table in self._tables(model)]
        if config.loss == "hierarchical-softmax":
            return path_losses(outputs, context, labels, (tables[0], tables[1], tables[2]))
        # Drawn on the CPU, so that a seed gives the same negatives on every device.
        draws = torch.randint(len(tables[0]), (len(labels), config.negatives))
        return sampled_losses(outputs, context, labels, tables[0][draws.to(labels.device)].long())

    def _tables(self, model: Any) -> tuple[np.ndarray, ...]:
        config, counts = model.config, model.counts
        # torch counts each change in place; with the address that tells whether the counts are still the same.
        state = (counts.data_ptr(), counts._version, config.loss, config.noise_power)
        if self._made is None or self._made[0] != state:
            if config.loss == "hierarchical-softmax":
                self._made = (state, model.paths())
            else:
                self._made = (state, (noise_table(counts.cpu().numpy(), config.noise_power),))
        return self._made[1]


def softmax_losses(outputs: torch.Tensor, context: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return cross-entropies among all words, (B,); outputs (V, D), context (B, D), labels (B,)."""
    return F.cross_entropy(context @ outputs.T, labels, reduction="none")


def sampled_losses(
    outputs: torch.Tensor, context: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Return the losses of each word against its noise words (B, N): (B,)."""
    # Row by row: a product with all of `outputs` is what negative sampling saves.
    positive = (context * outputs[labels]).sum(-1)
    negative = torch.einsum("bd,bnd->bn", context, outputs[noise])
    # A noise word that is the word itself counts nothing, as in word2vec.c; the paper does not say.
    return F.softplus(-positive) + (F.softplus(negative) * (noise != labels[:, None])).sum(-1)


def path_losses(
    outputs: torch.Tensor,
    context: torch.Tensor,
    labels: torch.Tensor,
    paths: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return the losses of all turns on the way to each word in a Huffman tree, (B,); `paths`: `huffman_paths`."""
    starts, nodes, turns = paths
    owner, place = ragged_places(starts[labels], starts[labels + 1] - starts[labels])
    scores = (context[owner] * outputs[nodes[place].long()]).sum(-1)
    signs = (1 - 2 * turns[place]).to(scores.dtype)
    return scores.new_zeros(len(labels)).index_add(0, owner, F.softplus(scores * signs))
