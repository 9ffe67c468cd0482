"""The loss of an output layer, without its logits.

    a_n = W h_n + b        total = - sum_n sum_v q_nv log softmax(a_n)_v        dtotal / da_n = softmax(a_n) - q_n

q_n is 1 at the target t_n, or with smoothing e it is 1 - e there and e / V more for every token (Szegedy et al. 2016).

A vocabulary of 10,000 makes logits a_n 25 times as wide as outputs h_n of 400: written to memory, read back for the
softmax and again for its gradient, and copied between precisions, they cost more than the products do. Here a few rows
at a time pass through the cache once, and what is kept is the gradient, in the precision of the products.

Shapes: n rows, D width of the outputs, V vocabulary.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from ..recurrent.fused import product_dtype

# Logits of a piece: 4 MB, about what a core's cache holds.
_NUMBERS_AT_ONCE = 2**20


def linear_cross_entropy(
    hidden_states: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the sum of the cross-entropies of `linear(hidden_states, weight, bias)`; products as autocast says.

    Args:
        hidden_states: (n, D).
        weight: (V, D).
        bias: (V).
        targets: (n) classes.
        label_smoothing: e, the share of each target that all classes have in common.
    """
    return _LinearCrossEntropy.apply(
        hidden_states, weight, bias, targets, label_smoothing, _products_in(hidden_states)
    )


def _products_in(hidden_states: torch.Tensor) -> torch.dtype:
    """Return the dtype of matrix products: bfloat16 where the CPU has it, elsewhere what autocast says."""
    device = hidden_states.device.type
    if device == "cpu":
        return product_dtype(hidden_states) or hidden_states.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_states.dtype


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        label_smoothing: float,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        inputs, transposed = hidden_states.to(dtype), weight.to(dtype).t()
        gradient = inputs.new_empty(len(inputs), len(weight))  # (n, V)
        total = torch.zeros((), dtype=torch.float32, device=inputs.device)
        rows = max(_NUMBERS_AT_ONCE // len(weight), 1)
        for piece, own, kept in zip(inputs.split(rows), targets.split(rows), gradient.split(rows), strict=True):
            with torch.autocast(inputs.device.type, enabled=False):
                logits = (piece @ transposed).float()
            if bias is not None:
                logits += bias
            # In float32 whatever the products are: the differences of large logits decide.
            log_probs = logits.log_softmax(1)
            chosen = log_probs.gather(1, own[:, None])
            total -= (1 - label_smoothing) * chosen.sum()
            if label_smoothing > 0:
                total -= label_smoothing / len(weight) * log_probs.sum()
            difference = log_probs.exp_().sub_(label_smoothing / len(weight))
            kept.copy_(difference.scatter_add_(1, own[:, None], torch.full_like(chosen, label_smoothing - 1)))
        # The gradient instead of the logits: the backward pass only scales it.
        ctx.save_for_backward(inputs, weight, gradient)
        ctx.has_bias, ctx.dtype = bias is not None, hidden_states.dtype
        return total

    # With once_differentiable a second derivative is an error, not a wrong number.
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: torch.Tensor) -> Any:
        inputs, weight, gradient = ctx.saved_tensors
        with torch.autocast(inputs.device.type, enabled=False):
            d_inputs = (gradient @ weight.to(gradient.dtype)).to(ctx.dtype) * d_total
            d_weight = (gradient.t() @ inputs).to(weight.dtype) * d_total
            # A product, because it sums bfloat16 ten times as fast as `sum`.
            d_bias = (gradient.new_ones(1, len(gradient)) @ gradient)[0].to(weight.dtype) * d_total
        return d_inputs, d_weight, d_bias if ctx.has_bias else None, None, None, None
