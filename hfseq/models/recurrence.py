"""The one masked time loop: any torch cell, any depth, both directions, state in and state out.

**Padding never changes an answer.** A padded `nn.LSTM(bidirectional=True)` runs its backward direction over the
padding first, so its outputs move with whatever else is in the batch; packing repairs that and costs up to half the
speed. Here each direction is a loop of its own that meets every row's real tokens first, in its own reading order:

    text   a b c . .        forward reads  a b c . .        backward reads  c b a . .

What follows a row's last real token cannot reach back, so both directions are exact, and the outputs are put back
where the tokens were: left padding, right padding and holes are all the same. Ragged rows are packed in two cases
only, because a padded loop runs past their last token: when their final *state* is asked for, and when the state may
grow without bound (relu), so that what nobody reads could overflow and spoil the gradient.

Shapes: B batch, T time, E embedding, H hidden of one direction, D = H or 2H.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .base import (
    SequenceConfig,
    SequencePreTrainedModel,
    at_least_one_token,
    bounded,
    check_input_ids,
    is_loaded,
    share,
)
from .state import RECURRENT_LAYER_TYPE, RecurrentStateLayer, States


@strict
class RecurrentConfig(SequenceConfig):
    """Fields that RNN, LSTM and GRU share.

    Args:
        vocab_size: Number of token ids.
        embedding_size: Width of a token's vector.
        hidden_size: Width of ONE direction; a bidirectional layer gives twice as much.
        num_hidden_layers: Depth.
        bidirectional: Read from both ends.
        embedding_dropout: Share of the vocabulary blanked per batch (all occurrences of a word at once).
        hidden_dropout: Dropout on the embeddings, between the layers and on the last output.
        dropout_kind: "element" draws anew at every step; "locked" keeps one mask for a whole text.
        pooling: How a text's outputs become one vector, see `heads.SequencePooling`.
        classifier_dropout: Dropout before the classifier.
        freeze_embeddings: Keep the embedding matrix as it is (pretrained vectors).
        initializer_range: Standard deviation of the embeddings.
    """

    keys_to_ignore_at_inference = ["past_key_values"]
    foreign_names = {
        "num_layers": "num_hidden_layers",
        "embedding_dim": "embedding_size",
        "input_size": "embedding_size",
        "dropout": "hidden_dropout",
    }

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    embedding_size: int = bounded(128, 1, 65_536)
    hidden_size: int = bounded(128, 1, 65_536)
    num_hidden_layers: int = bounded(1, 1, 64)
    bidirectional: bool = False
    embedding_dropout: float | int = share(0.0)
    hidden_dropout: float | int = share(0.1)
    dropout_kind: Literal["element", "locked"] = "element"
    pooling: Literal["last", "mean", "max", "attention", "mean_max"] = "last"
    classifier_dropout: float | int = share(0.1)
    freeze_embeddings: bool = False
    # 0.1, not the 0.02 of deep transformers: one shallow layer must hear its input from the first step on.
    initializer_range: float | int = bounded(0.1, 0.0, 10.0)
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    @property
    def layer_types(self) -> list[str]:
        """Tells transformers which cache layer to build (`state.py`)."""
        return [RECURRENT_LAYER_TYPE] * self.num_hidden_layers

    def validate_layer_type(self) -> None:
        """Replaces transformers' check, which knows its own layer types only."""

    def validate_pad_token_id(self) -> None:
        """The padding row must exist."""
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id={self.pad_token_id} is outside 0 to vocab_size - 1 = {self.vocab_size - 1}"
            )

    @property
    def output_size(self) -> int:
        """D, the width of `last_hidden_state`."""
        return self.hidden_size * (2 if self.bidirectional else 1)


class TokenOrder(NamedTuple):
    """Where each direction finds its tokens: row b meets position `forward[b, k]` at step k."""

    forward: torch.Tensor  # (B, T) real tokens first, in reading order, then the padding
    backward: torch.Tensor  # (B, T) the same real tokens reversed, then the padding
    real: torch.Tensor  # (B, T) bool
    lengths: torch.Tensor  # (B,) number of real tokens


def token_order(attention_mask: torch.Tensor) -> TokenOrder:
    """The order in which each direction reads a batch with this mask, (B, T)."""
    real = attention_mask.bool()
    lengths = real.sum(1)
    forward = torch.argsort(~real, dim=1, stable=True)
    step = torch.arange(real.shape[1], device=real.device).expand_as(forward)
    flipped = torch.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)
    return TokenOrder(forward, forward.gather(1, flipped), real, lengths)


def take(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """values[b, index[b, k]] for values (B, T, D)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def put_back(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The inverse of `take`: out[b, index[b, k]] = values[b, k]."""
    return torch.empty_like(values).scatter(1, index[..., None].expand_as(values), values)


def _own_columns(attention_mask: torch.Tensor, hidden_states: torch.Tensor, cache: Cache | None) -> torch.Tensor:
    """The columns of the mask that belong to these inputs: all, or the last T where it also covers earlier ones."""
    batch, steps = hidden_states.shape[:2]
    seen = 0 if cache is None else cache.get_seq_length()
    if attention_mask.shape not in ((batch, steps), (batch, seen + steps)):
        raise ValueError(
            f"attention_mask of shape {tuple(attention_mask.shape)} does not fit {batch} texts of {steps} tokens"
            f"{f' after {seen} earlier ones' if seen else ''}: it must be ({batch}, {seen + steps})."
        )
    return attention_mask[:, -steps:]


class LockedDropout(nn.Module):
    """Dropout with one mask for all steps of a text (variational dropout, Gal and Ghahramani 2016)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """values: (B, T, D)."""
        if not self.training or self.p == 0:
            return values
        return values * nn.functional.dropout(values.new_ones(values.shape[0], 1, values.shape[2]), self.p)


class RecurrentLayer(GradientCheckpointingLayer):
    """One layer: a loop per direction, with outputs side by side.

    Args:
        make_loop: Builds one direction's loop for an input width: an nn.RNN, nn.LSTM or nn.GRU of one layer.
        input_size: Width of what comes in.
        bidirectional: Whether to add the second direction.
        layer_idx: Place in the cache.
    """

    def __init__(
        self, *, make_loop: Callable[[int], nn.RNNBase], input_size: int, bidirectional: bool, layer_idx: int
    ) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.forward_loop = make_loop(input_size)
        self.backward_loop = make_loop(input_size) if bidirectional else None

    def forward(
        self, hidden_states: torch.Tensor, order: TokenOrder | None = None, past_key_values: Cache | None = None
    ) -> torch.Tensor:
        """hidden_states: (B, T, input) -> (B, T, D), zero where there is padding. `order` is None without padding."""
        if past_key_values is not None:
            return self._with_state(hidden_states, order, past_key_values)
        if order is None:
            outputs = [_run(self.forward_loop, hidden_states)[0]]
            if self.backward_loop is not None:
                outputs.append(_run(self.backward_loop, hidden_states.flip(1))[0].flip(1))
            return torch.cat(outputs, dim=-1)
        outputs = []
        for loop, index in ((self.forward_loop, order.forward), (self.backward_loop, order.backward)):
            if loop is not None:
                outputs.append(put_back(_read(loop, take(hidden_states, index), order.lengths), index))
        return torch.cat(outputs, dim=-1) * order.real[..., None]

    def _with_state(self, hidden_states: torch.Tensor, order: TokenOrder | None, cache: Cache) -> torch.Tensor:
        """Continue from the cached state and leave the new one there."""
        while len(cache.layers) <= self.layer_idx:  # a DynamicCache() made without a config has no layers yet
            cache.layers.append(RecurrentStateLayer())
        before: States | None = cast(RecurrentStateLayer, cache.layers[self.layer_idx]).states
        if order is None:
            output, after = self._continue(hidden_states, before)
        else:
            output, after = self._continue(_pack(take(hidden_states, order.forward), order.lengths), before)
            output = pad_packed_sequence(output, batch_first=True, total_length=hidden_states.shape[1])[0]
            output = put_back(output, order.forward) * order.real[..., None]
            empty = (order.lengths == 0)[:, None]  # a row without a token keeps its state
            kept = before or tuple(torch.zeros_like(state) for state in after)
            after = tuple(torch.where(empty, old, new) for old, new in zip(kept, after, strict=True))
        cache.update(after[0], after[-1], self.layer_idx, num_new_tokens=hidden_states.shape[1])
        return output

    def _continue(self, inputs: Any, states: States | None) -> tuple[Any, States]:
        """The forward loop with the state as a tuple of (B, H), whatever the cell calls it."""
        is_lstm = isinstance(self.forward_loop, nn.LSTM)
        if states is not None:
            states = tuple(state[None].contiguous() for state in states)
        output, after = _run(self.forward_loop, inputs, states if is_lstm or states is None else states[0])
        return output, tuple(state[0] for state in (after if is_lstm else (after,)))


def _pack(inputs: torch.Tensor, lengths: torch.Tensor) -> PackedSequence:
    """Rows that begin with `lengths` real tokens; packing knows no empty rows, so those keep one step."""
    return pack_padded_sequence(inputs, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)


def _read(loop: nn.RNNBase, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Outputs of one direction, (B, T, H); right at the first `lengths` steps of each row, finite at the others."""
    if loop.mode != "RNN_RELU":
        return _run(loop, inputs)[0]
    output = _run(loop, _pack(inputs, lengths))[0]
    return pad_packed_sequence(output, batch_first=True, total_length=inputs.shape[1])[0]


def _run(loop: nn.RNNBase, inputs: Any, state: Any = None) -> tuple[Any, Any]:
    """Call torch's loop, outside autocast where its bfloat16 kernel is missing: on a CPU below AVX-512 it fails."""
    on_cpu = loop.get_parameter("weight_hh_l0").device.type == "cpu"
    if not (on_cpu and torch.is_autocast_enabled("cpu")) or torch.backends.cpu.get_cpu_capability() == "AVX512":
        return loop(inputs, state)
    with torch.autocast("cpu", enabled=False):
        return loop(inputs.float(), state)


class RecurrentPreTrainedModel(SequencePreTrainedModel):
    """Initialisation of recurrent weights; what transformers needs to know of recurrent models."""

    supports_gradient_checkpointing = True
    _no_split_modules = ["RecurrentLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _can_record_outputs = {"hidden_states": RecurrentLayer}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Each gate on its own: input weights Xavier, recurrent weights orthogonal, biases 0.

        transformers' rule covers nn.LSTM alone (Xavier everywhere, the forget bias wiped) and leaves nn.GRU and nn.RNN
        as leftover memory.
        """
        if not isinstance(module, nn.RNNBase):
            super()._init_weights(module)
            return
        for name, parameter in module.named_parameters(recurse=False):
            if name.startswith("bias"):
                init.zeros_(parameter)
            elif not is_loaded(parameter):
                rule = init.orthogonal_ if "_hh_" in name else init.xavier_uniform_
                for gate in parameter.split(module.hidden_size):
                    rule(gate)


class RecurrentModel(RecurrentPreTrainedModel):
    """Embeddings, then a stack of recurrent layers. A family says how one loop is built (`make_loop`)."""

    config: RecurrentConfig

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            RecurrentLayer(
                make_loop=self.make_loop,
                input_size=config.embedding_size if layer_idx == 0 else config.output_size,
                bidirectional=config.bidirectional,
                layer_idx=layer_idx,
            )
            for layer_idx in range(config.num_hidden_layers)
        )
        make_dropout = LockedDropout if config.dropout_kind == "locked" else nn.Dropout
        self.dropout = make_dropout(config.hidden_dropout)
        self.gradient_checkpointing = False
        self.post_init()
        self.freeze_parameters()

    def make_loop(self, input_size: int) -> nn.RNNBase:
        """One direction of one layer for inputs of this width, batch first."""
        raise NotImplementedError(f"{type(self).__name__} must say how its loop is built")

    def freeze_parameters(self) -> None:
        """The embeddings, when the config freezes them."""
        self.embed_tokens.weight.requires_grad_(not self.config.freeze_embeddings)

    def _embed(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, T, E); in training a share of the vocabulary is blanked, every occurrence of it."""
        check_input_ids(input_ids, self.config.vocab_size)
        embeds = self.embed_tokens(input_ids)
        if not self.training or self.config.embedding_dropout == 0:
            return embeds
        keep = nn.functional.dropout(embeds.new_ones(self.config.vocab_size, 1), self.config.embedding_dropout)
        return embeds * keep[input_ids]

    def _cache(self, past_key_values: Cache | None, use_cache: bool | None) -> Cache | None:
        if past_key_values is None and not use_cache:
            return None
        if self.config.bidirectional:
            raise ValueError(
                "A bidirectional model has no state to carry: its backward direction starts at the end of the text. "
                "Set bidirectional=False in the config, or leave use_cache and past_key_values out."
            )
        if self.gradient_checkpointing and self.training:
            raise ValueError(
                "Gradient checkpointing runs each layer twice, and the second run would meet the state that the first "
                "one left. Call model.gradient_checkpointing_disable(), or leave past_key_values out."
            )
        return DynamicCache(config=self.config) if past_key_values is None else past_key_values

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Run the texts through the layers.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens; all real without it. With a state, the last T columns count.
            past_key_values: The state to continue from, as an earlier call returned it.
            inputs_embeds: (B, T, E) vectors instead of `input_ids`: numbers, or words embedded elsewhere.
            use_cache: Return the state reached. Off by default: ragged rows then run packed, which is slower.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `last_hidden_state` (B, T, D), zero at padding; `past_key_values` when asked for.
        """
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        hidden_states = self._embed(input_ids) if input_ids is not None else inputs_embeds
        assert hidden_states is not None
        cache = self._cache(past_key_values, use_cache)
        order = None
        if attention_mask is not None:
            mask = _own_columns(attention_mask, hidden_states, cache)
            # A state waits for the device anyway (packing needs lengths), so look once whether there is any padding.
            order = None if cache is not None and bool(mask.all()) else token_order(mask)
        hidden_states = self.dropout(hidden_states)
        for layer in self.layers:
            hidden_states = self.dropout(layer(hidden_states, order=order, past_key_values=cache))
        return BaseModelOutputWithPast(last_hidden_state=hidden_states, past_key_values=cache)
