"""The recurrent decoder: cells over the target's tokens, and a look at the memory behind them.

    h_t, s_t = cell(x_t, s_{t-1})       x_t = E y_{t-1}, or [E y_{t-1}; a_{t-1}] with input feeding, or the vector v
    a_t      = tanh(W_c [c_t; h_t])     c_t: the context, `decoder_attention.py`; without attention a_t = h_t

Without input feeding, coverage and scheduled sampling no step needs what attention made of the one before: the cells
run over the whole target at once, and then attention takes all positions together. Otherwise steps follow one another.

Shapes: B batch, T target tokens, S source tokens, I width of x_t, H width, N heads.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import nn
from transformers.cache_utils import Cache

from ..inputs import can_be_checked
from ..token_order import TokenOrder
from .cells import Cell
from .decoder_attention import Memory, make_attention
from .loop import RecurrentLoop
from .state import RecurrentStateLayer, States

Sampler = Callable[[torch.Tensor], torch.Tensor]
"""a_t (B, 1, H) -> the embedding (B, 1, E) of the token that the model would write after it."""


class DecoderConfig(Protocol):
    """What the decoder asks of a config, beside the fields of `RecurrentDecoderConfig`."""

    hidden_size: int
    embedding_size: int
    num_hidden_layers: int
    attention: Literal["none", "additive", "dot", "general", "multi_head"]
    num_attention_heads: int
    input_feeding: bool
    coverage: bool
    scheduled_sampling: float | int
    hidden_dropout: float | int
    pad_token_id: int | None

    @property
    def feedback(self) -> bool:
        """Whether it reads its previous token."""

    @property
    def encoder_depth(self) -> int:
        """Number of layers whose last states it may begin with."""

    @property
    def decoder_has_words(self) -> bool:
        """Whether it has embeddings of its own."""

    @property
    def target_vocab_size(self) -> int:
        """Number of its token ids."""

    def make_cell(self) -> Cell:
        """Return its cell."""


class Carried(NamedTuple):
    """What goes from one step to the next.

    Attributes:
        states: s_t of each layer.
        vector: (B, H) v, which a decoder without feedback reads at each step.
        fed: (B, H) a_t, with input feeding.
        covered: (B, S) how much attention each source token has had, with coverage.
    """

    states: tuple[States, ...]
    vector: torch.Tensor | None
    fed: torch.Tensor | None
    covered: torch.Tensor | None


class Decoded(NamedTuple):
    """What a decoder made of some tokens.

    Attributes:
        outputs: (B, T, H) a_t, zero at padding.
        layers: h_t of each layer, (B, T, H).
        weights: (B, N, T, S) alpha, with attention.
        reached: What is carried on.
        before: What was carried to each step, if that was asked for.
    """

    outputs: torch.Tensor
    layers: list[torch.Tensor]
    weights: torch.Tensor | None
    reached: Carried
    before: list[Carried]


class Bridge(nn.Module):
    """From the encoder's last states to the decoder's first ones: s_0 = tanh(W_s z + b_s), for each of them alone.

    A layer of the decoder begins where that of the encoder ended which is as far from the top; the layers of a deeper
    decoder that have none begin at the lowest one.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.num_states = len(config.make_cell().states)
        # Counted from the top: the last layers are those whose outputs attention compares.
        above = config.encoder_depth - config.num_hidden_layers
        self.partners = [max(layer_idx + above, 0) for layer_idx in range(config.num_hidden_layers)]
        count = config.num_hidden_layers * self.num_states
        self.projections = nn.ModuleList(nn.Linear(config.hidden_size, config.hidden_size) for _ in range(count))

    def forward(self, final_states: torch.Tensor) -> tuple[States, ...]:
        """Map z, (B, layers of the encoder, states, H), to the states of each layer, each (B, H)."""
        projections = iter(self.projections)
        return tuple(
            tuple(torch.tanh(next(projections)(final_states[:, partner, k])) for k in range(self.num_states))
            for partner in self.partners
        )


class Seq2SeqDecoder(nn.Module):
    """Cells, attention and bridge; the target's embeddings, if it has its own."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.num_states = len(config.make_cell().states)
        self.feedback, self.input_feeding, self.coverage = config.feedback, config.input_feeding, config.coverage
        self.sampling = float(config.scheduled_sampling)
        hidden_size = config.hidden_size
        self.embed_tokens = (
            nn.Embedding(config.target_vocab_size, config.embedding_size, config.pad_token_id)
            if config.decoder_has_words
            else None
        )
        input_size = config.embedding_size if config.feedback else hidden_size
        first = input_size + (hidden_size if config.input_feeding else 0)
        self.layers = nn.ModuleList(
            RecurrentLoop(config.make_cell(), input_size=size, hidden_size=hidden_size)
            for size in [first, *[hidden_size] * (config.num_hidden_layers - 1)]
        )
        self.bridge = Bridge(config)
        self.attention = make_attention(
            config.attention, hidden_size, num_heads=config.num_attention_heads, coverage=config.coverage
        )
        has_attention = self.attention is not None
        self.combine = nn.Linear(2 * hidden_size, hidden_size, bias=False) if has_attention else None
        self.dropout = nn.Dropout(config.hidden_dropout)

    def memory(
        self, encoded: torch.Tensor, real: torch.Tensor | None, kept: RecurrentStateLayer | None
    ) -> Memory | None:
        """Return what attention needs of the sources, (B, S, H); keys and values are kept for the next call."""
        if self.attention is None:
            return None
        if kept is not None and kept.states is not None:
            keys, values = (*kept.states, encoded)[:2]
            return Memory(keys, values, real)
        keys, values = self.attention.keys_and_values(encoded)
        # What is the memory itself need not be kept: each call is given that, and beams would copy it at every step.
        if kept is not None and keys is not encoded:
            kept.keep((keys,) if values is encoded else (keys, values), num_new_tokens=encoded.shape[1])
        return Memory(keys, values, real)

    def start(self, final_states: torch.Tensor, source_length: int) -> Carried:
        """Return what is carried to the first step."""
        states = self.bridge(final_states)
        batch, hidden_size = states[-1][0].shape
        return Carried(
            states,
            vector=None if self.feedback else states[-1][0],
            fed=final_states.new_zeros(batch, hidden_size) if self.input_feeding else None,
            covered=final_states.new_zeros(batch, source_length) if self.coverage else None,
        )

    def load(self, layers: Sequence[RecurrentStateLayer]) -> Carried | None:
        """Return what an earlier call left in the cache; None if there was none."""
        if layers[0].states is None:
            return None
        held = [layer.states or () for layer in layers]
        more = iter(held[-1][self.num_states :])
        return Carried(
            tuple(states[: self.num_states] for states in held),
            vector=None if self.feedback else next(more),
            fed=next(more) if self.input_feeding else None,
            covered=next(more) if self.coverage else None,
        )

    def keep(self, layers: Sequence[RecurrentStateLayer], decoded: Decoded, steps: int) -> None:
        """Leave what is carried on in the cache."""
        before = [self._held(carried) for carried in decoded.before]
        for layer_idx, (layer, states) in enumerate(zip(layers, self._held(decoded.reached), strict=True)):
            # They may lie in the outputs' memory; a user may change those, the cache must not. One step is a copy.
            states = states if steps == 1 else tuple(state.clone() for state in states)
            past = [each[layer_idx] for each in before] if layer.record_past else None
            layer.keep(states, num_new_tokens=steps, before=past)

    def _held(self, carried: Carried) -> list[States]:
        """Return the states that each layer of the cache holds: the last one holds all that is no layer's own."""
        more = tuple(tensor for tensor in carried[1:] if tensor is not None)
        return [*carried.states[:-1], (*carried.states[-1], *more)]

    def forward(
        self,
        inputs: torch.Tensor | None,
        order: TokenOrder,
        memory: Memory | None,
        carried: Carried,
        *,
        sampler: Sampler | None = None,
        keeps_state: bool = False,
        records_past: bool = False,
    ) -> Decoded:
        """Read some target tokens.

        Args:
            inputs: (B, T, E) their embeddings; None without feedback.
            order: Where the real tokens are.
            memory: What attention looks at.
            carried: What the bridge or an earlier call left.
            sampler: What writes for scheduled sampling.
            keeps_state: Whether somebody goes on from `Decoded.reached`.
            records_past: Whether somebody may go back to `Decoded.before`.
        """
        if carried.vector is not None:
            inputs = carried.vector[:, None].expand(-1, order.steps, -1)
        assert inputs is not None
        # Asked here and below: a call that does nothing would still slow down each step of generation.
        inputs = self.dropout(inputs) if self.training else inputs
        samples = sampler is not None and self.training and self.sampling > 0 and order.steps > 1
        if not (self.input_feeding or self.coverage or samples or records_past):
            return self._at_once(inputs, order, memory, carried)
        run = self._step_by_step if keeps_state or not _ends_early(order) else self._longest_first
        return run(inputs, order, memory, carried, sampler if samples else None)

    def _at_once(self, inputs: torch.Tensor, order: TokenOrder, memory: Memory | None, carried: Carried) -> Decoded:
        """Run the cells over all tokens, and then look at the memory from all positions."""
        layers, reached = self._cells(inputs, order, carried.states)
        outputs, weights = self._attend(layers[-1], memory, None)
        # At padding h_t is zero, and a_t, which has seen the memory, is not.
        if order.real is not None and memory is not None:
            outputs = outputs * order.real[..., None]
        if self.training:
            outputs = self.dropout(outputs)
        return Decoded(outputs, layers, weights, carried._replace(states=reached), [])

    def _cells(
        self, hidden_states: torch.Tensor, order: TokenOrder, states: tuple[States, ...]
    ) -> tuple[list[torch.Tensor], tuple[States, ...]]:
        """Return the outputs of each layer, and the states that each reaches."""
        layers: list[torch.Tensor] = []
        reached: list[States] = []
        for loop, before in zip(self.layers, states, strict=True):
            if layers:
                hidden_states = self.dropout(layers[-1]) if self.training else layers[-1]
            outputs, after = loop(hidden_states, order, before)
            layers.append(outputs)
            reached.append(after)
        return layers, tuple(reached)

    def _attend(
        self, hidden_states: torch.Tensor, memory: Memory | None, covered: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map h_t to a_t, and return the weights (B, N, T, S)."""
        if self.attention is None or self.combine is None or memory is None:
            return hidden_states, None
        context, weights = self.attention(hidden_states, memory, covered)
        return torch.tanh(self.combine(torch.cat((context, hidden_states), dim=-1))), weights

    def _longest_first(
        self,
        inputs: torch.Tensor,
        order: TokenOrder,
        memory: Memory | None,
        carried: Carried,
        sampler: Sampler | None,
    ) -> Decoded:
        """Go step by step through targets of different lengths, each step with the rows that have not ended."""
        rows = torch.argsort(order.lengths, descending=True, stable=True)
        everywhere = TokenOrder(order.batch, order.steps, None)
        given = inputs[rows], everywhere, _take(memory, rows), _take(carried, rows), sampler
        decoded = self._step_by_step(*given, order.packing.sizes)
        back = torch.argsort(rows)
        weights = None if decoded.weights is None else decoded.weights[back]
        layers = [layer[back] for layer in decoded.layers]
        return decoded._replace(outputs=decoded.outputs[back], layers=layers, weights=weights)

    def _step_by_step(
        self,
        inputs: torch.Tensor,
        order: TokenOrder,
        memory: Memory | None,
        carried: Carried,
        sampler: Sampler | None,
        sizes: Sequence[int] | None = None,
    ) -> Decoded:
        """Do the same token by token, where a step needs what the one before it made.

        `sizes` says how many rows each step has, if it is not all of them; they are the first ones.
        """
        # For each token of each text alone, as in the paper; the first one, the start, is always given.
        drawn = None
        if sampler is not None:
            drawn = torch.rand(order.batch, order.steps, 1, 1, device=inputs.device) < self.sampling
            if order.real is not None:
                # With padding before it, the first one is the first real token.
                drawn = drawn & (order.real.cumsum(1) > 1)[..., None, None]
        before: list[Carried] = []
        steps: list[tuple[torch.Tensor, list[torch.Tensor], torch.Tensor | None, Carried]] = []
        latest = inputs.new_zeros(())
        for t, size in enumerate([order.batch] * order.steps if sizes is None else sizes):
            if size < len(carried.states[0][0]):
                left = slice(size)
                memory, carried = _take(memory, left), _take(carried, left)
            now = inputs[:size, t : t + 1]
            if sampler is not None and drawn is not None and t > 0:
                now = torch.where(drawn[:size, t], self.dropout(sampler(latest[:size])), now)
            before.append(carried)
            real = None if order.real is None else order.real[:, t : t + 1]
            steps.append(self._step(now, TokenOrder(size, 1, real), memory, carried))
            carried = steps[-1][-1]
            # What a model would write is after its last real token.
            latest = steps[-1][0] if real is None or t == 0 else torch.where(real[..., None], steps[-1][0], latest)
        outputs, layers, weights = zip(*(step[:3] for step in steps), strict=True)
        together = _join(outputs, order)
        return Decoded(
            # Dropout only now: what is fed back is a_t itself.
            self.dropout(together) if self.training else together,
            [_join(each, order) for each in zip(*layers, strict=True)],
            None if memory is None else _join(weights, order),
            carried,
            before,
        )

    def _step(
        self, now: torch.Tensor, order: TokenOrder, memory: Memory | None, carried: Carried
    ) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor | None, Carried]:
        """Read one token: a_t, h_t of each layer, alpha, and what is carried on."""
        if carried.fed is not None:
            now = torch.cat((now, carried.fed[:, None]), dim=-1)
        layers, reached = self._cells(now, order, carried.states)
        outputs, weights = self._attend(layers[-1], memory, carried.covered)
        fed, covered, real = carried.fed, carried.covered, order.real
        # A step over padding carries on what it met.
        if fed is not None:
            fed = outputs[:, 0] if real is None else torch.where(real, outputs[:, 0], fed)
        if covered is not None and weights is not None:
            seen = weights[:, 0, 0]
            covered = covered + (seen if real is None else seen * real)
        if real is not None and memory is not None:
            outputs = outputs * real[..., None]
        return outputs, layers, weights, Carried(reached, carried.vector, fed, covered)


def _ends_early(order: TokenOrder) -> bool:
    """Return whether there is padding, and only behind the targets, so that rows may be left out where they end."""
    real = order.real
    if real is None or not can_be_checked(real):
        return False
    return bool(real[:, 0].any()) and bool((real[:, 1:] <= real[:, :-1]).all())


def _take(held: Any, rows: torch.Tensor | slice) -> Any:
    """Return these rows of all tensors in a tuple of tuples."""
    if held is None or isinstance(held, torch.Tensor):
        return None if held is None else held[rows]
    parts = [_take(part, rows) for part in held]
    return type(held)(*parts) if hasattr(held, "_fields") else tuple(parts)


def _join(parts: Sequence[torch.Tensor], order: TokenOrder) -> torch.Tensor:
    """Join what the steps made, each (rows, ..., 1, H): zeros where a row, or all of them, had ended."""
    rows, pad = order.batch, nn.functional.pad
    filled = [p if len(p) == rows else pad(p, (0, 0) * (p.dim() - 1) + (0, rows - len(p))) for p in parts]
    joined = torch.cat(filled, dim=-2)
    return joined if len(parts) == order.steps else pad(joined, (0, 0, 0, order.steps - len(parts)))


def state_layers(cache: Cache, depth: int) -> list[RecurrentStateLayer]:
    """Return the first layers of a cache, which hold states; a cache made without a config has none yet."""
    while len(cache.layers) < depth:
        cache.layers.append(RecurrentStateLayer())
    for layer in cache.layers[:depth]:
        if not isinstance(layer, RecurrentStateLayer):
            raise ValueError(f"The cache holds {type(layer).__name__}: it comes from another kind of model.")
    return list(cache.layers[:depth])  # type: ignore[arg-type]
