"""One vector of a text: how a sequence of hidden states is pooled."""

import torch
from torch import nn


class SequencePooling(nn.Module):
    """(B, T, D) -> (B, output_size), looking at real tokens only.

    last        what each direction says when it has read the whole text: h at its last token (first, going backward)
    mean, max   over the tokens
    mean_max    both, side by side
    attention   sum_t a_t h_t  with  a = softmax(v . tanh(W h_t))

    Args:
        kind: "last", "mean", "max", "mean_max" or "attention".
        hidden_size: D.
        has_backward_half: Whether the second half of D was read backward.
    """

    def __init__(self, *, kind: str, hidden_size: int, has_backward_half: bool) -> None:
        super().__init__()
        self.kind, self.has_backward_half = kind, has_backward_half
        self.output_size = hidden_size * (2 if kind == "mean_max" else 1)
        if kind == "attention":
            self.query = nn.Linear(hidden_size, hidden_size)
            self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pool; also return the weights (B, T) of attention pooling. A text without a token pools to zeros."""
        if attention_mask is None:
            attention_mask = hidden_states.new_ones(hidden_states.shape[:2])
        real = attention_mask.bool()
        if self.kind == "last":
            return self._last(hidden_states, real), None
        if self.kind == "attention":
            weights = self._weights(hidden_states, real)
            return torch.einsum("bt,btd->bd", weights, hidden_states), weights
        pooled = []
        if self.kind in ("mean", "mean_max"):
            count = real.sum(1, keepdim=True).clamp(min=1)
            pooled.append((hidden_states * real[..., None]).sum(1) / count)
        if self.kind in ("max", "mean_max"):
            low = torch.finfo(hidden_states.dtype).min
            # max, not amax: the gradient of amax looks for ties, which takes long.
            highest = hidden_states.masked_fill(~real[..., None], low).max(1).values
            pooled.append(highest * real.any(1, keepdim=True))
        return torch.cat(pooled, dim=-1), None

    def _last(self, hidden_states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        step = torch.arange(real.shape[1], device=real.device)
        rows = torch.arange(real.shape[0], device=real.device)
        # Of a row without a token this is 0, where the output is zero anyway.
        last = (real * step).argmax(1)
        if not self.has_backward_half:
            return hidden_states[rows, last] * real.any(1, keepdim=True)
        first = real.int().argmax(1)
        forward, backward = hidden_states.chunk(2, dim=-1)
        return torch.cat((forward[rows, last], backward[rows, first]), dim=-1) * real.any(1, keepdim=True)

    def _weights(self, hidden_states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        scores = self.score(torch.tanh(self.query(hidden_states))).squeeze(-1)  # (B, T)
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1)
        return weights * real
