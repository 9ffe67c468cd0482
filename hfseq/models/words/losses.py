"""The three losses of word2vec, as functions of the vectors: each row of a batch predicts one word.

Shapes: B batch, D width, V vocabulary, N negatives.
"""

import torch
from torch.nn import functional as F

from ..ragged import ragged_places


def softmax_losses(outputs: torch.Tensor, context: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return cross-entropies among all words, (B,); outputs (V, D), context (B, D), labels (B,)."""
    return F.cross_entropy(context @ outputs.T, labels, reduction="none")


def sampled_losses(
    outputs: torch.Tensor, context: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Return the losses of each word against its noise words (B, N): (B,)."""
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
