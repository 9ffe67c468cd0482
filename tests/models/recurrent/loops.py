"""What the tests of the recurrent core share: loops of every cell, batches of every kind, routes, and a comparison."""

import dataclasses
from typing import NamedTuple
from unittest.mock import patch

import torch

from hfseq import CELLS
from hfseq.kernels.cells import sequence
from hfseq.models.recurrent import fused
from hfseq.models.recurrent.loop import RecurrentLoop
from hfseq.models.token_order import TokenOrder
from tests.closeness import assert_same

BUILT_IN = {name: cell for name, cell in CELLS.items() if cell.equation.__module__ == "hfseq.models.recurrent.cells"}
BATCH, STEPS, INPUT, HIDDEN = 5, 6, 3, 20  # 20: whole vectors and a rest, whatever the CPU; and five blocks of four

RAGGED = torch.tensor([[1] * 6, [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0], [1] * 6])
HOLES = torch.tensor([[0, 1, 1, 0, 1, 0], [0] * 6, [1] * 6, [1, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1]])


class Batch(NamedTuple):
    """A mask, a reading direction, whether a state comes in, and whether the states reached are asked for."""

    mask: torch.Tensor | None
    backward: bool = False
    from_state: bool = False
    with_state: bool = True

    def order(self, device="cpu"):
        return TokenOrder(BATCH, STEPS, None if self.mask is None else self.mask.to(device))

    def make(self, cell, dtype, device="cpu"):
        """Inputs and states, which take gradients."""
        generator = torch.Generator().manual_seed(1)
        inputs = torch.randn(BATCH, STEPS, INPUT, generator=generator, dtype=torch.float64)
        states = [torch.randn(BATCH, HIDDEN, generator=generator, dtype=torch.float64) for _ in cell.states]
        states = tuple(state.to(device, dtype).requires_grad_() for state in states) if self.from_state else None
        return inputs.to(device, dtype).requires_grad_(), states


BATCHES = {
    "every-token-real": Batch(None, with_state=False),
    "every-token-real-backward-from-a-state": Batch(None, backward=True, from_state=True),
    "ragged": Batch(RAGGED, with_state=False),
    "ragged-backward-from-a-state": Batch(RAGGED, backward=True, from_state=True),
    "left-padded-from-a-state": Batch(RAGGED.flip(1), from_state=True),
    "left-padded-backward": Batch(RAGGED.flip(1), backward=True, with_state=False),
    "holes-and-an-empty-row-from-a-state": Batch(HOLES, from_state=True),
    "holes-and-an-empty-row-backward": Batch(HOLES, backward=True),
    "no-token-at-all-from-a-state": Batch(torch.zeros_like(HOLES), from_state=True),
}


def make_loop(cell, *, dtype=torch.float64, input_size=INPUT, hidden_size=HIDDEN, backward=False):
    """A loop whose parameters are all different: zero biases would hide an exchange of gates."""
    loop = RecurrentLoop(cell, input_size=input_size, hidden_size=hidden_size, backward=backward).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in loop.parameters():
            parameter.uniform_(-0.6, 0.6, generator=generator)
    return loop.to(dtype)


def without_torch(cell):
    """The same equation as a cell that torch does not have."""
    return dataclasses.replace(cell, torch_mode=None)


def fused_route(loop, *arguments, **options):
    with patch.object(sequence, "run", wraps=sequence.run) as kernels:
        result = loop(*arguments, **options)
    assert kernels.called
    return result


def route_without_kernels(loop, *arguments, **options):
    """As on a machine without numba: torch's own loop where torch has the cell, else the reference."""
    with patch.object(fused, "kernels", lambda *_: None):
        return loop(*arguments, **options)


def reference_route(loop, *arguments, **options):
    with patch.object(loop, "cell", without_torch(loop.cell)):
        return route_without_kernels(loop, *arguments, **options)


def traced_route(loop, *arguments, **options):
    with patch.object(torch.jit, "is_tracing", lambda: True):
        return loop(*arguments, **options)


ROUTES = {
    "fused": fused_route,
    "without_kernels": route_without_kernels,
    "reference": reference_route,
    "traced": traced_route,
}
TOLERANCES = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-10)}
"""dtype -> largest absolute error of outputs and states, largest error of gradients relative to the largest one."""


class Result(NamedTuple):
    """What a route computed, by name."""

    values: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]


def run(route, loop, batch):
    """Outputs, states reached, and the gradients of inputs, initial states and every parameter."""
    device = loop.weight_ih.device
    inputs, states = batch.make(loop.cell, loop.weight_ih.dtype, device)
    outputs, reached = route(loop, inputs, batch.order(device), states, with_state=batch.with_state)
    values = {"outputs": outputs}
    if batch.with_state:
        values |= zip(loop.cell.states, reached, strict=True)
    generator = torch.Generator().manual_seed(2)
    loss = inputs.sum() * 0  # where no token is real, nothing else may have a gradient
    for value in values.values():
        share = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        loss = loss + (value * share.to(device)).sum()
    leaves = {"inputs": inputs} | {f"d_{k}": state for k, state in enumerate(states or ())}
    leaves |= dict(loop.named_parameters())
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    named = zip(leaves.items(), gradients, strict=True)
    return Result(values, {name: torch.zeros_like(leaf) if g is None else g for (name, leaf), g in named})


def assert_close(result, exact, tolerances):
    """Each value within the first tolerance, each gradient within the second."""
    for_values, for_gradients = tolerances
    assert_same(result.values, exact.values, for_values)
    assert_same(result.gradients, exact.gradients, for_gradients, scale=1e-6)
