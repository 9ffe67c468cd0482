"""The three losses of word2vec, as functions of the vectors: each row of a batch predicts one word.

Shapes: B batch, D width, V vocabulary, N negatives.
"""

import torch
from torch.nn import functional as F


def softmax_losses(outputs: torch.Tensor, context: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B,): cross-entropy among all words; outputs (V, D), context (B, D), labels (B,)."""
    return F.cross_entropy(context @ outputs.T, labels, reduction="none")


def sampled_losses(
    outputs: torch.Tensor, context: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """(B,): a word against noise words (B, N), of which one that is the word itself is passed over (word2vec.c)."""
    positive = (context * outputs[labels]).sum(-1)
    negative = torch.einsum("bd,bnd->bn", context, outputs[noise])
    return F.softplus(-positive) + (F.softplus(negative) * (noise != labels[:, None])).sum(-1)


def path_losses(
    outputs: torch.Tensor,
    context: torch.Tensor,
    labels: torch.Tensor,
    paths: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """(B,): the turns to each word in a Huffman tree; `paths` are those of `word_tables.huffman_paths`."""
    starts, nodes, turns = paths
    sizes = starts[labels + 1] - starts[labels]
    owner = torch.repeat_interleave(torch.arange(len(labels), device=labels.device), sizes)
    place = torch.arange(len(owner), device=labels.device) - (sizes.cumsum(0) - sizes)[owner] + starts[labels][owner]
    scores = (context[owner] * outputs[nodes[place].long()]).sum(-1)
    signs = (1 - 2 * turns[place]).to(scores.dtype)
    return scores.new_zeros(len(labels)).index_add(0, owner, F.softplus(scores * signs))
