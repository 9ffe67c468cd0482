"""Attention (Bahdanau et al. 2015), as the transformer uses it (Vaswani et al. 2017), and the positions it needs.

    A = softmax(Q K^T / sqrt(d) + mask)        how much each query looks at each key; a row of A sums to 1
    attention(Q, K, V) = A V                   what it finds there

    Q_h = X W_Q,h   K_h = M W_K,h   V_h = M W_V,h                    h = 1 ... H heads, each of width d
    multi_head(X, M) = [attention(Q_1, K_1, V_1) ... attention(Q_H, K_H, V_H)] W_O

M = X is self-attention; in cross-attention M is what an encoder has read. The mask is 0 where a query may look and
-inf elsewhere: at padding, and, in a decoder, at the future.

A text of three words of width 4, by hand. The weights make queries, keys and values of width 3:

>>> X = torch.tensor([[1., 0, 1, 0], [0, 2, 0, 2], [1, 1, 1, 1]])
>>> W_Q = torch.tensor([[1., 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 1]])
>>> W_K = torch.tensor([[0., 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]])
>>> W_V = torch.tensor([[0., 2, 0], [0, 3, 0], [1, 0, 3], [1, 1, 0]])
>>> Q, K, V = X @ W_Q, X @ W_K, X @ W_V
>>> Q.tolist()
[[1.0, 0.0, 2.0], [2.0, 2.0, 2.0], [2.0, 1.0, 3.0]]

First, each query is compared with each key:

>>> (Q @ K.T).tolist()
[[2.0, 4.0, 4.0], [4.0, 16.0, 12.0], [4.0, 12.0, 10.0]]

Second, a softmax makes weights of these scores; third, the values are added up with these weights. `scaling=1` leaves
out the division by sqrt(d), as introductions do, and there is one text, with one head:

>>> heads = [values[None, None] for values in (Q, K, V)]
>>> outputs, attention_weights = dot_product_attention(None, *heads, None, scaling=1.0)
>>> [[round(weight, 4) for weight in row] for row in attention_weights[0, 0].tolist()]
[[0.0634, 0.4683, 0.4683], [0.0, 0.982, 0.018], [0.0003, 0.8805, 0.1192]]
>>> [[round(value, 4) for value in row] for row in outputs[0, :, 0].tolist()]
[[1.9366, 6.6831, 1.5951], [2.0, 7.964, 0.054], [1.9997, 7.7599, 0.3584]]

Shapes: B batch, T queries, S keys, D width of the model, H heads, d = D / H.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, EncoderDecoderCache

Attend: TypeAlias = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
"""(module, query, key, value, mask, dropout=, scaling=) -> outputs (B, T, H, d), their weights (B, H, T, S) or None:
the signature of attention functions in transformers."""

Mask: TypeAlias = Any
"""As `attention_mask_for` makes it; other attention functions take other forms, which transformers makes for them."""

Rotation: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine of the angles of rotary positions, (B, 1, T, d) each."""


def dot_product_attention(
    module: nn.Module | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Mask,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend in three steps and keep the attention weights: `attn_implementation="eager"`.

    Args:
        module: Not used; other implementations find their settings there.
        query: (B, H, T, d).
        key: (B, H, S, d).
        value: (B, H, S, d).
        mask: Broadcast to (B, H, T, S); True where a query may look, or a number to add to the score.
        scaling: 1 / sqrt(d).
        dropout: Probability that an attention weight is dropped.
        **kwargs: For other implementations.

    Returns:
        The outputs (B, T, H, d), and the attention weights (B, H, T, S).
    """
    # 1. Compare each query with each key.
    scores = query @ key.transpose(-2, -1) * scaling  # (B, H, T, S)
    # 2. Make weights of the scores, which sum to 1 over the keys.
    if mask is not None and mask.dtype == torch.bool:
        # Not -inf: a query that may look nowhere, at padding, would see NaN. It sees nothing.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        attention_weights = scores.softmax(-1) * mask
    else:
        attention_weights = (scores if mask is None else scores + mask).softmax(-1)
    # Autocast makes a softmax float32.
    attention_weights = attention_weights.to(value.dtype)
    # 3. Add up the values with these weights.
    outputs = nn.functional.dropout(attention_weights, dropout) @ value  # (B, H, T, d)
    return outputs.transpose(1, 2).contiguous(), attention_weights


def attention_mask_for(
    attention_mask: torch.Tensor | None,
    position_ids: torch.Tensor | None = None,
    *,
    queries: int,
    keys: int,
    seen: int = 0,
    is_causal: bool,
    device: torch.device,
) -> torch.Tensor | None:
    """Say where each query may look, for `dot_product_attention`.

    Args:
        attention_mask: (B, S) or shorter, 1 for real tokens; None: all are real.
        position_ids: (B, T); where several texts stand in one row, each begins at 0 and, if `is_causal`, sees only
            itself.
        queries: T.
        keys: S, with room for future tokens in a cache of fixed size.
        seen: Number of tokens that a decoder has read before these.
        is_causal: Whether query t sees no key after itself.

    Returns:
        (B or 1, 1, T or 1, S) bool; None: everywhere.
    """
    allowed = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    if is_causal:
        step = torch.arange(keys, device=device)
        allowed = (step <= seen + step[:queries, None])[None, None]
    if is_causal and position_ids is not None:
        text = (position_ids.diff(dim=1, prepend=position_ids[:, :1] - 1) != 1).cumsum(1)  # (B, T) which of the row's
        allowed = allowed & (text[:, None, :, None] == text[:, None, None, :])
    if attention_mask is not None:
        # A cache of fixed size has keys behind the mask, where nothing is written yet.
        real = nn.functional.pad(attention_mask.bool(), (0, keys - attention_mask.shape[1]))
        allowed = allowed & real[:, None, None, :]
    return allowed if is_causal or attention_mask is not None else None


_FEW_KEYS = 128


def slow_in_bfloat16(query: torch.Tensor, key: torch.Tensor) -> bool:
    """Return whether float32 is faster, as it is in training on a CPU with few keys.

    There the backward pass of torch's fused attention takes several times as long in bfloat16 as in float32.
    """
    is_cpu_bfloat16 = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    return is_cpu_bfloat16 and query.requires_grad and key.shape[2] <= _FEW_KEYS


def attend_in_float32(
    attend: Attend,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Mask,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Call `attend` in float32, whatever autocast says; the outputs have the dtype of the query."""
    if isinstance(mask, torch.Tensor) and mask.is_floating_point():
        mask = mask.float()
    with torch.autocast(query.device.type, enabled=False):
        outputs, attention_weights = attend(module, query.float(), key.float(), value.float(), mask, **kwargs)
    return outputs.to(query.dtype), attention_weights


class LastLinear(nn.Linear):
    """The last product of what a layer adds; a class of its own because it begins smaller where many add up."""


class MultiHeadAttention(nn.Module):
    """H heads side by side, each with its own view of the same text.

    Args:
        hidden_size: D.
        num_attention_heads: H, which divides D.
        bias: Whether the four products add a bias.
        dropout: Probability that an attention weight is dropped in training.
        is_causal: Whether no query sees a later key.
        layer_idx: Place in the cache.
        config: Not read here; transformers' attention functions look up there how to run.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        bias: bool,
        dropout: float,
        is_causal: bool,
        layer_idx: int,
        config: PreTrainedConfig,
    ) -> None:
        super().__init__()
        self.head_size = hidden_size // num_attention_heads
        self.dropout, self.is_causal, self.layer_idx, self.config = dropout, is_causal, layer_idx, config
        self.q_proj = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.k_proj = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.v_proj = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.o_proj = LastLinear(hidden_size, hidden_size, bias=bias)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attend: Attend,
        *,
        mask: Mask,
        memory: torch.Tensor | None = None,
        rotation: Rotation | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from `hidden_states` to themselves, or to `memory`.

        Args:
            hidden_states: X, (B, T, D).
            attend: `dot_product_attention` or one of transformers' functions.
            mask: Where to look, in the form that `attend` takes.
            memory: M of cross-attention, (B, S, D).
            rotation: Cosines and sines of rotary positions; None for other positions.
            cache: Keys and values of earlier tokens, to which these are added.
            **kwargs: Passed on to `attend`.

        Returns:
            (B, T, D), and the attention weights (B, H, T, S) where `attend` keeps them.
        """
        # 1. Queries, keys and values of each head.
        query = self._heads(self.q_proj(hidden_states))
        if memory is None:
            key, value = self._heads(self.k_proj(hidden_states)), self._heads(self.v_proj(hidden_states))
            # 2. Turn queries and keys by their positions, before the cache: a key keeps its place.
            if rotation is not None:
                query, key = rotate(query, rotation), rotate(key, rotation)
            # 3. Put the keys and values of earlier tokens in front.
            if cache is not None:
                key, value = cache.update(key, value, self.layer_idx)
        else:
            key, value = self._memory(memory, cache)
        # 4. Attend, in each head alone.
        if attend is not dot_product_attention and slow_in_bfloat16(query, key):
            attend = partial(attend_in_float32, attend)
        options = {"dropout": self.dropout if self.training else 0.0, "scaling": self.head_size**-0.5, **kwargs}
        outputs, attention_weights = attend(self, query, key, value, mask, **options)
        # 5. Mix the heads.
        return self.o_proj(outputs.flatten(2)), attention_weights

    def _heads(self, values: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, H, T, d)."""
        batch, steps, _ = values.shape
        return values.view(batch, steps, -1, self.head_size).transpose(1, 2)

    def _memory(self, memory: torch.Tensor, cache: Cache | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of what the encoder has read.

        They are computed once for a whole text that is generated, and kept in the cache.
        """
        if isinstance(cache, EncoderDecoderCache) and cache.is_updated.get(self.layer_idx):
            layer: Any = cache.cross_attention_cache.layers[self.layer_idx]
            return layer.keys, layer.values
        key, value = self._heads(self.k_proj(memory)), self._heads(self.v_proj(memory))
        if isinstance(cache, EncoderDecoderCache):
            key, value = cache.cross_attention_cache.update(key, value, self.layer_idx)
            cache.is_updated[self.layer_idx] = True
        return key, value


# Attention alone does not know in which order the words stand. Positions tell it, in one of three ways: a vector that
# is added to each word's, by formula (sinusoidal) or learnt, or a rotation of queries and keys.


def angles(positions: torch.Tensor, width: int, base: float) -> torch.Tensor:
    """Return the angle of each position at each of width / 2 frequencies: p / base^(2i / width).

    Args:
        positions: (B, T).
        width: Even.
        base: 10,000 in both papers: wave lengths from 2 pi to 10,000 * 2 pi tokens.

    Returns:
        (B, T, width / 2), float32 whatever the model's dtype is.
    """
    # float32, because bfloat16 cannot count to 1,000.
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    return positions[..., None].float() * torch.exp(exponents * -math.log(base))


def sinusoids(positions: torch.Tensor, hidden_size: int) -> torch.Tensor:
    """Map (B, T) positions to (B, T, D), sine and cosine in turn. Any position has one; none is stored.

        P[p, 2i] = sin(p / 10000^(2i / D))        P[p, 2i + 1] = cos(p / 10000^(2i / D))

    The vector of p + k is a rotation of that of p, whatever p is, so that "k tokens ago" can be learnt once.
    """
    angle = angles(positions, hidden_size, 10_000.0)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)


def rotation_of(positions: torch.Tensor, head_size: int, base: float) -> Rotation:
    """Return the angles by which queries and keys at these positions are turned (rotary, Su et al. 2021)."""
    angle = angles(positions, head_size, base).repeat(1, 1, 2)[:, None]  # (B, 1, T, d)
    return angle.cos(), angle.sin()


def rotate(values: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """Turn each pair (x_i, x_{i + d/2}) by its angle; then q . k depends only on how far apart two tokens are."""
    # The paper pairs neighbours, x_{2i} with x_{2i + 1}. To pair halves, as everybody does now, differs only in the
    # order of the columns of W_Q and W_K, which are learnt.
    first, second = values.chunk(2, dim=-1)
    turned = values * rotation[0] + torch.cat((-second, first), dim=-1) * rotation[1]
    return turned.to(values.dtype)


def positions_of(
    attention_mask: torch.Tensor | None, steps: int, seen: int | torch.Tensor, device: torch.device
) -> torch.Tensor:
    """Return the place of each of the last `steps` tokens among the real ones, (B or 1, T)."""
    if attention_mask is None:
        return torch.arange(steps, device=device)[None] + seen
    return ((attention_mask != 0).cumsum(1) - 1).clamp(min=0)[:, -steps:]


def positions_in(mask: torch.Tensor, seen: int | torch.Tensor) -> torch.Tensor:
    """Return the place of each token among the real ones, (B, T), as a causal mask (B, 1, T, S) tells it."""
    visible_keys = (mask if mask.dtype == torch.bool else mask == 0)[:, 0].sum(-1)
    step = torch.arange(mask.shape[2], device=mask.device) + seen
    # At most its own place: padding may see everything.
    return torch.minimum(visible_keys - 1, step).clamp(min=0)


def check_positions(positions: torch.Tensor, limit: int) -> None:
    """Refuse a text that is longer than the learned positions; on the CPU only, elsewhere looking would wait."""
    if positions.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return
    last = int(positions.max())
    if last >= limit:
        raise ValueError(
            f"A text of {last + 1} tokens is longer than the {limit} positions that the model has learnt "
            f"(config.max_position_embeddings={limit}): cut it, or generate fewer new tokens. Models with "
            "position_embedding_type='sinusoidal' or 'rotary' take any length."
        )
