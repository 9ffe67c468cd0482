"""One token after another without making a tensor: a recurrent language model's step, and the choice of a token.

A step of generation is a handful of products with one row each, so what is around them weighs: here every buffer is
made once, and a step is a few calls of kernels with addresses.

    g_1 = T[x_t]  or  W_ih e(x_t) + b        T = E W_ih^T + b, the embeddings folded into the gates: (V, G H)
    h_1 = cell(g_1, states_1)                the cell's own kernel (`printer.py`)
    h_l = cell(W_ih h_(l-1) + b, states_l)
    scores = W_out h_L + b_out

A layer's trace holds its states twice, before and after a step; the two halves change places at every step.

Shapes: B rows, V vocabulary, E embedding, H hidden, G gates of which S are split.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numba import njit

from .printer import kernels_for
from .products import products_module
from .sequence import DTYPES

if TYPE_CHECKING:
    from ...models.recurrent.cells import Cell
    from ...models.recurrent.loop import Weights


class Layer(NamedTuple):
    """What a layer of the network is: its cell, its weights, and the states (each (B, H)) it starts from."""

    cell: "Cell"
    weights: "Weights"
    states: Sequence[torch.Tensor]


class Decoder:
    """A language model that goes from state to state; its weights are read where they lie and must not move.

    Args:
        layers: The lowest first.
        embeddings: (V, E).
        weight_out: (V, D), from the last layer's output to the scores.
        bias_out: (V) or None.
        fold: Whether to fold the embeddings into the first layer's gates: a product of V rows now, which saves one
            of B rows at every step.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        embeddings: torch.Tensor,
        weight_out: torch.Tensor,
        bias_out: torch.Tensor | None,
        *,
        fold: bool,
    ) -> None:
        first = layers[0].weights
        rows = layers[0].states[0].shape[0]
        self._cells = [_CellStep(layer) for layer in layers]
        self._inputs: list[_Product | None] = [
            _Product(layer.weights.weight_ih, layer.weights.bias, rows, out=cell.gates)
            for layer, cell in zip(layers, self._cells, strict=True)
        ]
        if fold:
            self._inputs[0] = None
            table = embeddings @ first.weight_ih.t()
            self._table = (table if first.bias is None else table.add_(first.bias)).numpy()
            self._embedded = self._cells[0].gates
        else:
            self._table = embeddings.contiguous().numpy()
            self._embedded = np.empty((rows, embeddings.shape[1]), self._table.dtype)
        self._out = _Product(weight_out, bias_out, rows)

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Read one token a row, (B), and give the scores of the next, (B, V): the same array at every step."""
        np.take(self._table, tokens, axis=0, out=self._embedded, mode="clip")  # the other modes copy
        below = self._embedded.ctypes.data
        for product, cell in zip(self._inputs, self._cells, strict=True):
            if product is not None:
                product(below)
            below = cell()
        return self._out(below)

    def states(self) -> list[tuple[torch.Tensor, ...]]:
        """Return the states reached, layer by layer."""
        return [cell.states() for cell in self._cells]


class _Product:
    """Out = rows W^T + bias, from an address to an array of its own or to `out`."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, rows: int, out: np.ndarray | None = None
    ) -> None:
        self._weight = weight.contiguous()
        units, width = weight.shape
        self._bias = np.zeros(units, weight.numpy().dtype) if bias is None else bias.numpy()
        self._results = np.empty((rows, units), self._bias.dtype) if out is None else out
        self._add = sys.modules[products_module(DTYPES[weight.dtype])].add_product
        self._before = self._weight.data_ptr(), 0, units
        self._after = 0, width, self._results.ctypes.data, 0, units, rows, width

    def __call__(self, address: int) -> np.ndarray:
        self._results[:] = self._bias
        self._add(*self._before, address, *self._after)
        return self._results


class _CellStep:
    """One layer's equation from `gates`, which hold the input's part, to the address of its output."""

    def __init__(self, layer: Layer) -> None:
        cell, weights = layer.cell, layer.weights
        rows, width = layer.states[0].shape
        kernels = kernels_for(cell, DTYPES[weights.weight_hh.dtype], width)
        trace = torch.stack([torch.cat((state, state)) for state in layer.states])  # (states, 2 B, H)
        self.gates = np.empty((rows, len(weights.weight_hh)), trace.numpy().dtype)  # (B, G H)
        self._split = trace.numpy()[0, :0]
        self._bias_hh = None if weights.bias_hh is None else weights.bias_hh.numpy()
        if cell.split:
            self._split = np.zeros((rows, len(cell.split) * width), self.gates.dtype)
        params = None if weights.params is None else weights.params.contiguous()
        weight_hh = weights.weight_hh.contiguous()
        vectors, scratch = trace.new_empty(rows, width), trace.new_empty(kernels.scratch + 1, width)
        self._kept = params, weight_hh, vectors, scratch  # known to the kernel by their addresses alone
        self._trace, self._rows, self._after = trace, rows, 0
        self._sequence = kernels.sequence
        fixed = (
            *(0 if params is None else params.data_ptr(), vectors.data_ptr(), scratch.data_ptr()),
            *(weight_hh.data_ptr(), np.array([rows], dtype=np.int64)),
        )
        halves = [trace[0, :rows].data_ptr(), trace[0, rows:].data_ptr()]
        # To the half behind, then back: `first` is how many rows the states after lie behind those before.
        self._calls = [
            (self.gates.ctypes.data, self._split.ctypes.data, before, *fixed, first, trace.stride(0), width)
            for before, first in zip(halves, (rows, -rows), strict=True)
        ]
        self._outputs = halves[::-1]

    def __call__(self) -> int:
        if self._bias_hh is not None:
            self._split[:] = self._bias_hh
        elif self._split.size:
            self._split[:] = 0.0
        turn = self._after
        self._sequence(*self._calls[turn])
        self._after = 1 - turn
        return self._outputs[turn]

    def states(self) -> tuple[torch.Tensor, ...]:
        """Return the states after the last step, each (B, H)."""
        start = self._after * self._rows
        return self._trace[:, start : start + self._rows].clone().unbind()


class Filters(NamedTuple):
    """What is done to the scores before a token is chosen, in this order; each as in transformers.

    Attributes:
        penalty: Scores of the tokens seen are divided by it, or multiplied where they are negative; 1: none.
        temperature: All scores are divided by it.
        top_k: How many of the highest scores stay in; 0: all. Scores equal to the last of them stay too.
        top_p: The likeliest tokens stay until their probabilities sum to it; 1: all.
        least: How many tokens `top_p` must leave.
    """

    penalty: float = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    least: int = 1


@njit(nogil=True, cache=True)
def choose(
    scores: np.ndarray, filters: Filters, seen: np.ndarray, banned: np.ndarray, draws: np.ndarray, tokens: np.ndarray
) -> bool:
    """Choose one token a row.

    Args:
        scores: (B, V) float32, which are overwritten.
        filters: What is done to them first.
        seen: (B, V) the tokens that the penalty concerns; (B, 0) without one. The tokens chosen are added.
        banned: Tokens that must not be chosen.
        draws: (B) uniform numbers in [0, 1), by which a token is drawn; (0): the likeliest is taken.
        tokens: (B) receives the ids.

    Returns:
        Whether the scores were numbers that one can draw by.
    """
    for row in range(len(tokens)):
        values = scores[row]
        if seen.shape[1]:
            _penalise(values, seen[row], filters.penalty)
        for token in banned:
            values[token] = -np.inf
        if filters.temperature != 1.0:
            for token in range(len(values)):
                values[token] /= filters.temperature
        if filters.top_k > 0:
            _keep_top_k(values, filters.top_k)
        if filters.top_p < 1.0:
            _keep_top_p(values, filters.top_p, filters.least)
        chosen = _draw(values, draws[row]) if len(draws) else _highest(values)
        if chosen < 0:
            return False
        if seen.shape[1]:
            seen[row, chosen] = True
        tokens[row] = chosen
    return True


@njit(nogil=True, cache=True)
def _penalise(values: np.ndarray, seen: np.ndarray, penalty: float) -> None:
    for token in range(len(values)):
        if seen[token]:
            values[token] = values[token] * penalty if values[token] < 0 else values[token] / penalty


@njit(nogil=True, cache=True)
def _keep_top_k(values: np.ndarray, count: int) -> None:
    """Forget what is below the `count` highest."""
    if count >= len(values):
        return
    last = np.partition(values, len(values) - count)[len(values) - count]
    for token in range(len(values)):
        if values[token] < last:
            values[token] = -np.inf


@njit(nogil=True, cache=True)
def _keep_top_p(values: np.ndarray, share: float, least: int) -> None:
    """Forget the least likely tokens that together have no more than 1 - share."""
    tokens = np.flatnonzero(values > -np.inf)
    order = tokens[np.argsort(values[tokens])]
    highest = values[order[-1]] if len(order) else np.float32(0.0)
    total = 0.0
    for token in order:
        total += np.exp(values[token] - highest)
    below = 0.0
    for token in order[: max(len(order) - least, 0)]:
        below += np.exp(values[token] - highest) / total
        if np.float32(below) > np.float32(1.0 - share):
            return
        values[token] = -np.inf


@njit(nogil=True, cache=True)
def _highest(values: np.ndarray) -> int:
    """Return the first of the highest; a NaN is higher than all, as in torch."""
    best = 0
    for token in range(len(values)):
        if np.isnan(values[token]):
            return token
        if values[token] > values[best]:
            best = token
    return best


@njit(nogil=True, cache=True)
def _draw(values: np.ndarray, draw: float) -> int:
    """Return the token at which the cumulative softmax passes `draw`; -1 if the scores allow none."""
    highest = values[_highest(values)]
    total = 0.0
    for token in range(len(values)):
        values[token] = np.exp(values[token] - highest)
        total += values[token]
    if not (0.0 < total < np.inf):
        return -1
    target, below, chosen = draw * total, 0.0, -1
    for token in range(len(values)):
        if values[token] > 0:
            below += values[token]
            chosen = token
            if below > target:
                break
    return chosen
