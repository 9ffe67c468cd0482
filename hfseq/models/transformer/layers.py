"""One layer of a transformer: what is done N times.

    x <- x + attention(norm(x))        x <- x + feed_forward(norm(x))        "pre"
    x <- norm(x + attention(x))        x <- norm(x + feed_forward(x))        as published, "post"
    feed_forward(x) = W_down act(W_up x)                                     at each position alone

A decoder beside an encoder attends twice, to its own text and to what the encoder has read, before it feeds forward.

Shapes: B batch, T time, D width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import Attend, LastLinear, Mask, MultiHeadAttention, Rotation


class FeedForward(nn.Module):
    """What each position makes of what it has gathered.

        relu, gelu:  W_down act(W_up x)            swiglu:  W_down (silu(W_gate x) * W_up x)

    Args:
        hidden_size: D.
        intermediate_size: Width inside; None: 4 D, or 8/3 D where there are three matrices.
        hidden_act: See above.
        bias: Whether the products add a bias.
        dropout: On the inside.
    """

    def __init__(
        self, *, hidden_size: int, intermediate_size: int | None, hidden_act: str, bias: bool, dropout: float
    ) -> None:
        super().__init__()
        width = intermediate_size or (8 * hidden_size // 3 if hidden_act == "swiglu" else 4 * hidden_size)
        self.up_proj = nn.Linear(hidden_size, width, bias=bias)
        self.gate_proj = nn.Linear(hidden_size, width, bias=bias) if hidden_act == "swiglu" else None
        self.down_proj = LastLinear(width, hidden_size, bias=bias)
        self.activation = nn.functional.relu if hidden_act == "relu" else nn.functional.gelu
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D)."""
        inner = self.up_proj(hidden_states)
        if self.gate_proj is None:
            inner = self.activation(inner)
        else:
            inner = nn.functional.silu(self.gate_proj(hidden_states)) * inner
        return self.down_proj(self.dropout(inner))


class TransformerLayer(GradientCheckpointingLayer):
    """Self-attention, in a decoder that has an encoder cross-attention, and the feed-forward network.

    Args:
        self_attention: Among the tokens of the text.
        feed_forward: At each of them.
        cross_attention: To the memory that an encoder left.
        make_norm: Makes the norm of each of these.
        pre_norm: Whether it comes before, see the equations.
        dropout: On what each of these adds.
    """

    def __init__(
        self,
        *,
        self_attention: MultiHeadAttention,
        feed_forward: FeedForward,
        cross_attention: MultiHeadAttention | None,
        make_norm: Callable[[], nn.Module],
        pre_norm: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attention, self.self_attention_norm = self_attention, make_norm()
        self.cross_attention, self.cross_attention_norm = cross_attention, None
        if cross_attention is not None:
            self.cross_attention_norm = make_norm()
        self.feed_forward, self.feed_forward_norm = feed_forward, make_norm()
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attend: Attend,
        mask: Mask = None,
        rotation: Rotation | None = None,
        memory: torch.Tensor | None = None,
        memory_mask: Mask = None,
        cache: Cache | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """(B, T, D) -> (B, T, D); the other arguments as `MultiHeadAttention` takes them."""

        def look(x: torch.Tensor) -> torch.Tensor:
            past = cache
            past = past.self_attention_cache if isinstance(past, EncoderDecoderCache) else past
            # Flash attention, which takes no mask of several texts in a row, sees by the positions where each begins.
            own = {"mask": mask, "rotation": rotation, "cache": past, "position_ids": position_ids}
            return self.self_attention(x, attend, **own, **kwargs)[0]

        def look_at_memory(x: torch.Tensor) -> torch.Tensor:
            attention: Any = self.cross_attention
            return attention(x, attend, mask=memory_mask, memory=memory, cache=cache, **kwargs)[0]

        hidden_states = self._add(hidden_states, look, self.self_attention_norm)
        if self.cross_attention_norm is not None:
            hidden_states = self._add(hidden_states, look_at_memory, self.cross_attention_norm)
        return self._add(hidden_states, self.feed_forward, self.feed_forward_norm)

    def _add(self, x: torch.Tensor, sublayer: Callable[[torch.Tensor], torch.Tensor], norm: nn.Module) -> torch.Tensor:
        """The residual connection, and its norm before or after."""
        if self.pre_norm:
            return x + self.dropout(sublayer(norm(x)))
        return norm(x + self.dropout(sublayer(x)))
