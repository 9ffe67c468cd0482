"""The additive score of all pairs of a query and a key, without the vectors that torch would store for each pair.

    e_ts = v . tanh(q_t + k_s)                              (B, T, S), of (B, T, S, H) hyperbolic tangents

With Q = exp(2 q) and K = exp(2 k), which are computed once a token and not once a pair, a pair costs one division:

    r = 1 / (Q_t K_s + 1)        tanh(q_t + k_s) = 1 - 2 r        e_ts = sum(v) - 2 v . r
    de_ts / dq_t = de_ts / dk_s = 4 v r (1 - r)                   de_ts / dv = 1 - 2 r

The backward pass computes r anew, which takes less time than to read it back. The plain twin is in
`models/recurrent/decoder_attention.py`.

Shapes: B batch, T queries, S keys, H width.
"""

from typing import Any

import torch

from .additive_loops import backward, forward

INTERFACE = 1  # as in models/recurrent/fused.py

# The largest |q| + |k| whose Q K is a number.
LARGEST = {torch.float32: 40.0, torch.float64: 350.0}


def additive_scores(query: torch.Tensor, keys: torch.Tensor, v: torch.Tensor) -> torch.Tensor | None:
    """Return e (B, T, S) of queries (B, T, H), keys (B, S, H) and v (H); None if a number is too large for it."""
    with torch.no_grad():
        sizes = sum(torch.linalg.vector_norm(each, torch.inf) for each in (query, keys))
    # Not written as `>`, so that NaN is left to torch.
    if not float(sizes) <= LARGEST[query.dtype]:
        return None
    return _AdditiveScores.apply(query, keys, v)


class _AdditiveScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, keys: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        queries, keys = ((2 * each).exp().contiguous() for each in (query, keys))
        v = v.contiguous()
        total = query.new_empty(*query.shape[:2], keys.shape[1])
        forward(queries.numpy(), keys.numpy(), v.detach().numpy(), total.numpy())
        ctx.save_for_backward(queries, keys, v)
        return v.sum() - 2 * total

    @staticmethod
    def backward(ctx: Any, d_scores: torch.Tensor) -> Any:
        if torch.is_grad_enabled():  # only under create_graph=True; a constant would be the wrong answer, unseen
            raise RuntimeError(
                "The kernel of additive attention has no second derivative: leave create_graph=True out."
            )
        queries, keys, v = ctx.saved_tensors
        # Of v one sum a text: sums of many thousand numbers in a row would lose digits.
        d_queries, d_keys, d_v = (
            torch.zeros_like(queries),
            torch.zeros_like(keys),
            queries.new_zeros(len(keys), len(v)),
        )
        given = (queries, keys, v, d_scores.contiguous(), d_queries, d_keys, d_v)
        backward(*(each.detach().numpy() for each in given))
        return d_queries.mul_(4), d_keys.mul_(4), d_scores.sum() - 2 * d_v.sum(0)
