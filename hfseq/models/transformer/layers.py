"""One layer of a transformer: what is done N times.

    x <- x + attention(norm(x))        x <- x + feed_forward(norm(x))        "pre"
    x <- norm(x + attention(x))        x <- norm(x + feed_forward(x))        as published, "post"
    feed_forward(x) = W_down act(W_up x)                                     at each position alone

A decoder beside an encoder attends twice, to its own text and to what the encoder has read, before it feeds forward.

Shapes: B batch, T time, D width.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import Attend, LastLinear, Mask, MultiHeadAttention, Rotation


class Attending(NamedTuple):
    """How a batch attends, the same in every layer.

    Attributes:
        attend: The attention function.
        mask: Who sees whom in the text, in the form that `attend` takes.
        memory_mask: Which tokens of the memory are seen, in the same form.
        rotation: The angles of rotary positions.
        position_ids: As the model was given them. Flash attention, which takes no mask of several texts in a row, sees
            by them where each begins.
    """

    attend: Attend
    mask: Mask = None
    memory_mask: Mask = None
    rotation: Rotation | None = None
    position_ids: torch.Tensor | None = None


class FeedForward(nn.Module):
    """Two products with an activation in between, at each position alone.

        relu, gelu:  W_down act(W_up x)            swiglu:  W_down (silu(W_gate x) * W_up x)

    Args:
        hidden_size: D.
        intermediate_size: Width inside; None: 4 D, or 8/3 D where there are three matrices.
        hidden_act: "relu", "gelu" or "swiglu".
        bias: Whether the products add a bias.
        dropout: Dropout between the products.
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
        """Map (B, T, D) to (B, T, D)."""
        inner = self.up_proj(hidden_states)
        if self.gate_proj is None:
            inner = self.activation(inner)
        else:
            inner = nn.functional.silu(self.gate_proj(hidden_states)) * inner
        return self.down_proj(self.dropout(inner))


class TransformerLayer(GradientCheckpointingLayer):
    """Self-attention, in a decoder that has an encoder cross-attention, and the feed-forward network.

    Args:
        self_attention: From the tokens of the text to each other.
        feed_forward: The network that each token goes through alone.
        cross_attention: From the tokens of the text to the memory that an encoder left.
        make_norm: Makes one norm for each of the three.
        pre_norm: Whether the norm comes before, as in "pre", or after the sum.
        dropout: Dropout on what each of the three adds.
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
        how: Attending,
        memory: torch.Tensor | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Map (B, T, D) to (B, T, D).

        Args:
            hidden_states: (B, T, D).
            how: How the batch attends.
            memory: (B, S, D) what an encoder has read.
            cache: Keys and values of earlier tokens.
            **kwargs: Passed on to the attention function.
        """
        # 1. The tokens look at each other.
        look = partial(self._attend_to_text, how=how, cache=cache, **kwargs)
        hidden_states = self._add(hidden_states, look, self.self_attention_norm)
        # 2. In a decoder beside an encoder, they look at what the encoder has read.
        if self.cross_attention_norm is not None:
            look = partial(self._attend_to_memory, how=how, memory=memory, cache=cache, **kwargs)
            hidden_states = self._add(hidden_states, look, self.cross_attention_norm)
        # 3. Each position alone works on what it has gathered.
        return self._add(hidden_states, self.feed_forward, self.feed_forward_norm)

    def _attend_to_text(self, x: torch.Tensor, how: Attending, cache: Cache | None, **kwargs: Any) -> torch.Tensor:
        past = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
        own = {"mask": how.mask, "rotation": how.rotation, "cache": past, "position_ids": how.position_ids}
        return self.self_attention(x, how.attend, **own, **kwargs)[0]

    def _attend_to_memory(
        self, x: torch.Tensor, how: Attending, memory: torch.Tensor | None, cache: Cache | None, **kwargs: Any
    ) -> torch.Tensor:
        attention: Any = self.cross_attention
        return attention(x, how.attend, mask=how.memory_mask, memory=memory, cache=cache, **kwargs)[0]

    def _add(self, x: torch.Tensor, sublayer: Callable[[torch.Tensor], torch.Tensor], norm: nn.Module) -> torch.Tensor:
        """Add what a sub-layer makes of x (the residual connection), with the norm before or after."""
        if self.pre_norm:
            return x + self.dropout(sublayer(norm(x)))
        return norm(x + self.dropout(sublayer(x)))
