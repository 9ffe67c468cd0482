"""One direction of one layer: a cell's weights, and the loop over time by the fastest route there is.

    fused       on the CPU with numba: kernels made from the cell's equation (`hfseq/kernels`)
    torch       cells that torch has itself (cuDNN on a GPU), and what is traced or exported
    reference   any cell anywhere: the equation on tensors

**Padding never changes an answer.** A padded `nn.LSTM(bidirectional=True)` runs its backward direction over the
padding first, so its outputs move with whatever else is in the batch. Here a loop meets each row's real tokens alone,
in its own reading order, and the outputs are put back where the tokens were: left padding, right padding, holes and
empty rows are all the same, and the state reached is the one after each row's last real token.

    text   a b c . .        forward reads  a b c        backward reads  c b a

Shapes: B batch, T time, I input, H hidden, n real tokens, G gates of which S are split, P vectors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn
from transformers import initialization as init

from ..base import is_loaded
from ..token_order import Packing, TokenOrder
from .cells import Cell
from .clipping import clipped_on_the_way_back
from .fused import gpu_kernels_for, is_avx512, kernels_for, needs_plain_operations, product_dtype
from .gate_values import GateValues
from .state import States


class Weights(NamedTuple):
    """The weights of one loop, as its equation meets them.

    Attributes:
        weight_ih: (G H, I).
        weight_hh: (G H, H).
        bias: (G H) or None.
        bias_hh: (S H) or None.
        params: (P, H) or None.
    """

    weight_ih: torch.Tensor
    weight_hh: torch.Tensor
    bias: torch.Tensor | None
    bias_hh: torch.Tensor | None
    params: torch.Tensor | None


Engine: TypeAlias = Callable[[Packing, torch.Tensor, torch.Tensor, Weights], tuple[torch.Tensor, torch.Tensor]]
"""(packing, inputs (n, I), states (states, B, H), weights) -> outputs (n, H) and the states reached."""


class RecurrentLoop(nn.Module):
    """One direction of one layer.

    Args:
        cell: The equation.
        input_size: I.
        hidden_size: H.
        backward: Whether it reads from the end.
        weight_drop: Probability that a recurrent weight is dropped in training, for all steps of a batch (DropConnect,
            Wan et al. 2013; Merity et al. 2017).

    Attributes:
        clip_hidden: Largest size of each element of what a step hands back to the one before, see `clipping.py`.
    """

    clip_hidden: float | None = None

    def __init__(
        self, cell: Cell, *, input_size: int, hidden_size: int, backward: bool = False, weight_drop: float = 0.0
    ) -> None:
        super().__init__()
        self.cell, self.hidden_size, self.backward, self.weight_drop = cell, hidden_size, backward, weight_drop
        rows = sum(cell.gate_sizes(hidden_size))
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias = nn.Parameter(torch.empty(rows)) if cell.bias else None
        has_bias_hh = cell.bias and cell.split
        self.bias_hh = nn.Parameter(torch.empty(len(cell.split) * hidden_size)) if has_bias_hh else None
        # On the loop itself: the hooks of accelerate do not reach into a ParameterDict.
        for name, values in cell.params.items():
            self.register_parameter(f"param_{name}", nn.Parameter(torch.empty(len(values), hidden_size)))
        self.reset_parameters()

    @property
    def params(self) -> dict[str, torch.Tensor]:
        """The cell's own vectors by their names, in its order."""
        return {name: self.get_parameter(f"param_{name}") for name in self.cell.params}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise each gate alone: input weights Xavier, recurrent ones orthogonal, biases as the cell says."""
        sizes = self.cell.gate_sizes(self.hidden_size)
        for weight, rule in ((self.weight_ih, init.xavier_uniform_), (self.weight_hh, init.orthogonal_)):
            if not is_loaded(weight):
                # Gate by gate: one gate's rows of an orthogonal matrix (G H, H) are not orthogonal by themselves.
                for gate in weight.split(sizes):
                    rule(gate)
        if self.bias is not None and not is_loaded(self.bias):
            for name, gate in zip(self.cell.gates, self.bias.split(sizes), strict=True):
                init.constant_(gate, self.cell.gate_bias.get(name, 0.0))
        if self.bias_hh is not None:
            init.zeros_(self.bias_hh)
        for vectors, values in zip(self.params.values(), self.cell.params.values(), strict=True):
            if not is_loaded(vectors):
                for vector, value in zip(vectors, values, strict=True):
                    init.constant_(vector, value)

    def weights(self) -> Weights:
        """Return the weights as the equation meets them: shared gates are repeated for each cell of their block."""
        # Not get_parameter: a parametrization may compute them.
        vectors = [getattr(self, f"param_{name}") for name in self.cell.params]
        params = torch.cat(vectors) if len(vectors) > 1 else vectors[0] if vectors else None
        weight_hh: torch.Tensor = self.weight_hh
        # Once a batch, not once a step: the same connections are missing at every step (Merity et al.).
        if self.training and self.weight_drop > 0:
            weight_hh = nn.functional.dropout(weight_hh, self.weight_drop)
        if self.cell.block_size == 1:
            return Weights(self.weight_ih, weight_hh, self.bias, self.bias_hh, params)
        bias = None if self.bias is None else self._repeat_shared(self.bias)
        return Weights(self._repeat_shared(self.weight_ih), self._repeat_shared(weight_hh), bias, None, params)

    def _repeat_shared(self, tensor: torch.Tensor) -> torch.Tensor:
        """Repeat each shared gate; cell j of the H belongs to block j mod H / block_size."""
        gates = tensor.split(self.cell.gate_sizes(self.hidden_size))
        return torch.cat([gate for gate in gates for _ in range(self.hidden_size // len(gate))])

    def start(self, inputs: torch.Tensor) -> States:
        """Return the states before the first token: zeros."""
        return (inputs.new_zeros(inputs.shape[0], self.hidden_size),) * len(self.cell.states)

    def forward(
        self,
        inputs: torch.Tensor,
        order: TokenOrder,
        states: States | None = None,
        *,
        with_state: bool = True,
        output_gates: bool = False,
    ) -> tuple[torch.Tensor, States] | tuple[torch.Tensor, States, GateValues]:
        """Map (B, T, I) to outputs (B, T, H), zero at padding, and the states reached, each (B, H).

        with_state=False leaves the states undefined, and allows a faster route where torch has the cell.
        output_gates=True takes the reference, and also returns each gate and state of each token by its name:
        (B, T, H), zero at padding.
        """
        # 1. Take the weights, as dropout, sharing or a parametrization makes them.
        weights = self.weights()
        self._check(inputs, order, states, weights)
        # 2. Begin from zeros, or where an earlier call ended.
        states = states or self.start(inputs)
        if output_gates:
            return self._watched(inputs, order, states, weights)
        # 3. In a graph nothing may depend on the numbers in the mask.
        if torch.compiler.is_exporting() or torch.jit.is_tracing() or inputs.device.type == "meta":
            return self._traced(inputs, order, states, weights, with_state)
        # 4. Elsewhere take the fastest route; torch.compile leaves it outside its graph.
        run = self._run_outside_graphs if torch.compiler.is_compiling() else self._run
        return run(inputs, order, states, weights, with_state)

    def _check(self, inputs: torch.Tensor, order: TokenOrder, states: States | None, weights: Weights) -> None:
        """Refuse what does not fit: kernels are given addresses, and torch would broadcast."""
        expected = (order.batch, order.steps, weights.weight_ih.shape[1])
        if inputs.shape != expected or order.batch == 0:
            raise ValueError(f"inputs of shape {tuple(inputs.shape)} must be {expected}, of one text or more.")
        shapes = [tuple(state.shape) for state in states or ()]
        if states is not None and shapes != [(order.batch, self.hidden_size)] * len(self.cell.states):
            raise ValueError(
                f"The state has shapes {shapes}, this layer's {len(self.cell.states)} of "
                f"({order.batch}, {self.hidden_size}): it comes from another model, or from another number of texts."
            )

    def _run(
        self, inputs: torch.Tensor, order: TokenOrder, states: States, weights: Weights, with_state: bool
    ) -> tuple[torch.Tensor, States]:
        """Take the fastest route there is; all of them give the same numbers."""
        given, mode, clip = (inputs, order, states, weights), self.cell.torch_mode, self.clip_hidden
        if needs_plain_operations():
            return self._reference(*given)
        kernels = kernels_for(inputs, *states, *weights)
        # No other loop can clip between its steps: neither torch's own, nor the kernels for a GPU.
        if clip is not None and kernels is None:
            return self._reference(*given)
        gpu = gpu_kernels_for(inputs, *states, *weights) if kernels is None and mode is None else None
        if kernels is not None and _is_short_step(order, kernels):
            return self._fused_step(kernels, inputs, states, weights)
        if kernels is not None:
            # Said only where it is set: code exported to the Hub may meet older kernels.
            more = {} if clip is None else {"clip_hidden": clip}
            run = partial(kernels.run, self.cell, product_dtype=product_dtype(inputs), **more)
            return self._packed(run, *given)
        if gpu is not None:
            return self._packed(partial(gpu.run, self.cell), *given)
        if mode is None:
            return self._reference(*given)
        # Without padding torch's padded loop is exact. With it, its states are not ours; a ReLU's could even overflow.
        if order.real is None or not (with_state or mode == "RNN_RELU"):
            return self._padded(*given)
        return self._packed(self._torch, *given)

    # The rows alive at each step are numbers that a traced graph cannot hold.
    _run_outside_graphs = torch.compiler.disable(_run)

    def _fused_step(
        self, kernels: Any, inputs: torch.Tensor, states: States, weights: Weights
    ) -> tuple[torch.Tensor, States]:
        """Read one token of each row: a step of generation."""
        states = kernels.step(self.cell, inputs.squeeze(1), states, weights)
        # `stack` makes a copy: a user may change the output, and the cache must not change with it.
        return torch.stack(states[:1], dim=1), states

    def _packed(
        self, engine: Engine, inputs: torch.Tensor, order: TokenOrder, states: States, weights: Weights
    ) -> tuple[torch.Tensor, States]:
        """Run an engine that takes packed rows: pack, run, unpack."""
        packed, before = order.pack(inputs, self.backward), order.sort(torch.stack(states))
        outputs, reached = engine(order.packing, packed, before, weights)
        return order.unpack(outputs, self.backward), order.unsort(reached).unbind()

    def _torch(
        self, packing: Packing, inputs: torch.Tensor, states: torch.Tensor, weights: Weights
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run torch's loop over the same packed rows; only rows with a token take part."""
        reached = states.clone()
        if not packing.sizes:
            return inputs.new_zeros(0, self.hidden_size), reached
        sizes = torch.tensor(packing.sizes, device="cpu")
        outputs, after = self._call_torch(inputs, states[:, : packing.first].contiguous(), weights, sizes)
        reached[:, : packing.first] = after
        return outputs, reached

    def _call_torch(
        self, inputs: torch.Tensor, states: torch.Tensor, weights: Weights, sizes: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Call `torch.lstm` or its kin on packed rows with their sizes, or on (B, T, I); states (states, B, H)."""
        bias = weights.weight_ih.new_zeros(len(weights.weight_ih)) if weights.bias is None else weights.bias
        bias_hh = torch.zeros_like(bias)
        # torch adds two biases; the second matters only where the equation keeps them apart.
        if weights.bias_hh is not None:
            bias_hh = torch.cat((bias_hh[: -len(weights.bias_hh)], weights.bias_hh))
        flat = (weights.weight_ih, weights.weight_hh, bias, bias_hh)
        is_lstm = self.cell.torch_mode == "LSTM"
        function = getattr(torch, str(self.cell.torch_mode).lower())
        # cuDNN has gradients only of what was run as training; without dropout that changes nothing else. A graph,
        # which is traced with gradients and checked without, must not differ by it.
        is_training = self.training if torch.jit.is_tracing() else torch.is_grad_enabled()
        # Has biases, number of layers, dropout, training, bidirectional: torch has no names for them here.
        options = (True, 1, 0.0, is_training, False)
        with _without_autocast_where_it_fails(inputs) as cast:
            states = cast(states)
            before = tuple(states[:, None]) if is_lstm else states[:1]
            if sizes is not None:
                outputs, *after = function(cast(inputs), sizes, before, flat, *options)
            else:
                outputs, *after = function(cast(inputs), before, flat, *options, True)  # batch first
        return outputs, torch.cat(after)

    def _watched(
        self, inputs: torch.Tensor, order: TokenOrder, states: States, weights: Weights
    ) -> tuple[torch.Tensor, States, GateValues]:
        """Run the reference, and keep what each step computes."""
        steps: list[GateValues] = []
        outputs, reached = self._reference(inputs, order, states, weights, steps)
        values = {name: torch.stack([step[name] for step in steps], dim=1) for name in steps[0]}
        if order.real is not None:
            values = {name: torch.where(order.real[..., None], value, 0.0) for name, value in values.items()}
        return outputs, reached, values

    def _reference(
        self,
        inputs: torch.Tensor,
        order: TokenOrder,
        states: States,
        weights: Weights,
        shown: list[GateValues] | None = None,
    ) -> tuple[torch.Tensor, States]:
        """Run the equation step by step; where there is padding, a step leaves the state as it was.

        Into `shown`, if it is given, goes what each step computes, from the first token to the last.
        """
        gates = nn.functional.linear(inputs, weights.weight_ih, weights.bias)  # (B, T, G H)
        steps = range(inputs.shape[1])
        outputs = []
        for t in reversed(steps) if self.backward else steps:
            values: GateValues | None = None if shown is None else {}
            read = clipped_on_the_way_back(states, self.clip_hidden)
            new = self.cell.step(gates[:, t], read, weights.weight_hh, weights.bias_hh, weights.params, values)
            if shown is not None and values is not None:
                shown.insert(0 if self.backward else len(shown), values)
            if order.real is None:
                outputs.append(new[0])
            else:
                real = order.real[:, t, None]
                outputs.append(torch.where(real, new[0], 0.0))
                new = tuple(torch.where(real, after, before) for after, before in zip(new, states, strict=True))
            states = new
        return torch.stack(outputs[::-1] if self.backward else outputs, dim=1), states

    def _padded(
        self, inputs: torch.Tensor, order: TokenOrder, states: States, weights: Weights
    ) -> tuple[torch.Tensor, States]:
        """Run torch's loop over each row's real tokens and then its padding, whose states are wrong."""
        front = order.to_front(inputs, self.backward)
        outputs, reached = self._call_torch(front, torch.stack(states), weights, None)
        return order.put_back(outputs, self.backward), reached.unbind()

    def _traced(
        self, inputs: torch.Tensor, order: TokenOrder, states: States, weights: Weights, with_state: bool
    ) -> tuple[torch.Tensor, States]:
        """Take a route for graphs, in which nothing may depend on the numbers in the mask.

        torch.jit.trace leaves the length open where torch has the cell and no state is carried. Elsewhere, and in
        torch.export, which unrolls torch's own loops as well, the graph is for this length: the equation T times.
        """
        if with_state or self.cell.torch_mode is None:
            return self._reference(inputs, order, states, weights)
        return self._padded(inputs, order, states, weights)


def _is_short_step(order: TokenOrder, kernels: Any) -> bool:
    """Return whether this is one token of a few rows without gradients, where packing costs more than computing."""
    return order.one_step and not torch.is_grad_enabled() and order.batch <= kernels.MANY_ROWS_OF_A_STEP


@contextmanager
def _without_autocast_where_it_fails(inputs: torch.Tensor) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Leave autocast where torch's CPU loops have no bfloat16 kernel, below AVX-512: they run in float32."""
    if inputs.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or is_avx512():
        yield lambda tensor: tensor
        return
    with torch.autocast("cpu", enabled=False):
        yield torch.Tensor.float
