"""How a decoder looks at the memory: the kinds of attention of recurrent encoder-decoders.

    e_ts     = score(h_t, m_s)                  how well the decoder's output h_t fits the source token s
    alpha_t. = softmax(e_t.)                    over the real tokens of the source
    c_t      = sum_s alpha_ts m_s               the context

    dot         e_ts = h_t . m_s                                        (Luong et al. 2015)
    general     e_ts = h_t . W m_s                                      (Luong et al. 2015)
    additive    e_ts = v . tanh(W h_t + U m_s + b)                      (Bahdanau et al. 2015)
    coverage    e_ts = v . tanh(W h_t + U m_s + b + w k_ts)             k_ts = sum_{t' < t} alpha_t's (See et al. 2017)
    multi_head  e_ts = (W_q h_t) . (W_k m_s) / sqrt(d), c_t of W_v m_s  in each head of width d (Vaswani et al. 2017)

What depends on the memory alone (W m_s, U m_s + b, W_k m_s, W_v m_s) is computed once a source.

Bahdanau et al. score with the state before the step, h_{t-1}, and let c_t enter the cell. Here all kinds stand where
Luong et al. have them, behind the cell: without input feeding all positions of a target are then one product.

Coverage is an input of the score alone, as in Tu et al. (2016): the loss for attending twice that See et al. add would
be one more weight to tune.

Shapes: B batch, T target tokens, S source tokens, H width, N heads.
"""

from typing import NamedTuple

import torch
from torch import nn

from .fused import additive_scores


class Memory(NamedTuple):
    """What attention needs of the sources.

    Attributes:
        keys: (B, S, H) what is compared.
        values: (B, S, H) what the context is made of.
        real: (B, S), whether a source token is real; None: all are.
    """

    keys: torch.Tensor
    values: torch.Tensor
    real: torch.Tensor | None


class DotAttention(nn.Module):
    """Attention by a product; "dot" compares the memory itself."""

    def keys_and_values(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, S, H) to keys and values, each (B, S, H)."""
        return memory, memory

    def forward(
        self, query: torch.Tensor, memory: Memory, covered: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the contexts (B, T, H) of the decoder's outputs (B, T, H), and the weights (B, N, T, S)."""
        alpha = _softmax(query @ memory.keys.transpose(1, 2), memory.real)
        return alpha @ memory.values, alpha[:, None]


class GeneralAttention(DotAttention):
    """Attention by a product with a matrix between."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        # W meets the memory, which is there once, and not the decoder's outputs, of which there is one a token.
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)

    def keys_and_values(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, S, H) to W m and m."""
        return self.key(memory), memory


class AdditiveAttention(DotAttention):
    """Attention by a small network, which may see how much attention each source token has had."""

    def __init__(self, hidden_size: int, *, coverage: bool) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.coverage = nn.Linear(1, hidden_size, bias=False) if coverage else None

    def keys_and_values(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, S, H) to U m + b and m."""
        # The one bias of the score stands here, where it is added once a source token.
        return self.key(memory), memory

    def forward(
        self, query: torch.Tensor, memory: Memory, covered: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Do as `DotAttention` does; `covered` is k_t, (B, S)."""
        keys = memory.keys
        if self.coverage is not None and covered is not None:
            keys = keys + self.coverage(covered[..., None])
        query = self.query(query)
        # The kernel makes no (B, T, S, H) numbers, which take more time than all else of attention.
        scores = additive_scores(query, keys, self.score.weight[0])
        if scores is None:
            scores = self.score(torch.tanh(query[:, :, None] + keys[:, None])).squeeze(-1)  # (B, T, S)
        alpha = _softmax(scores, memory.real)
        return alpha @ memory.values, alpha[:, None]


class MultiHeadMemoryAttention(DotAttention):
    """Scaled products in several heads."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        # No fourth matrix that mixes the heads: W_c of the attentional vector, which follows, does that.
        self.query, self.key, self.value = (nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(3))

    def keys_and_values(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, S, H) to W_k m and W_v m."""
        return self.key(memory), self.value(memory)

    def forward(
        self, query: torch.Tensor, memory: Memory, covered: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Do as `DotAttention` does, in each head alone."""
        queries, keys, values = map(self._heads, (self.query(query), memory.keys, memory.values))
        scores = queries @ keys.transpose(2, 3) * queries.shape[-1] ** -0.5  # (B, N, T, S)
        alpha = _softmax(scores, None if memory.real is None else memory.real[:, None])
        return (alpha @ values).transpose(1, 2).flatten(2), alpha

    def _heads(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B, T, H) -> (B, N, T, d)."""
        return vectors.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _softmax(scores: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """Return alpha (..., T, S) of scores: zero at padding, and everywhere in a source without tokens."""
    if real is None:
        return scores.softmax(-1)
    padding = ~real[..., None, :]
    # The lowest number and not -inf, of which a source without tokens would make NaN.
    masked = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
    return masked.softmax(-1).masked_fill(padding, 0.0)


def make_attention(kind: str, hidden_size: int, *, num_heads: int, coverage: bool) -> DotAttention | None:
    """Return the attention of this kind; None for "none"."""
    if kind == "additive":
        return AdditiveAttention(hidden_size, coverage=coverage)
    if kind == "multi_head":
        return MultiHeadMemoryAttention(hidden_size, num_heads)
    if kind == "general":
        return GeneralAttention(hidden_size)
    return DotAttention() if kind == "dot" else None
