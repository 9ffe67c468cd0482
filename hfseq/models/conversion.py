"""Recurrent weights from and to torch and Keras: the same numbers, the same answers.

    load_torch(model.layers, nn_lstm)               a torch module's weights into a model's layers
    nn_lstm = to_torch(model.layers)                and back
    load_keras(model.layers[0], layer.get_weights())
    layer.set_weights(to_keras(model.layers[0]))    one Keras layer at a time; Keras itself is not needed here

                    here                            torch                       Keras
    gates           i f g o    r z n                i f g o    r z n            i f c o    z r h
    weights         (G H, I) (G H, H)               the same                    transposed: (I, G H) (H, G H)
    biases          one; a second where the         two, which it adds up       one; two rows (2, G H) for a GRU
                    equation keeps two apart                                    with reset_after=True

So on the way in two biases become their sum (except those of the GRU's n gate), and on the way out the second one is
zero. Everything else is copied as it is.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from .recurrent.backbone import RecurrentLayer
from .recurrent.cells import Cell, gru_cell, rnn_cell
from .recurrent.loop import RecurrentLoop

_TORCH_MODULES: dict[str, Callable[..., nn.RNNBase]] = {
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "RNN_TANH": nn.RNN,
    "RNN_RELU": nn.RNN,
}
_CONFIGS = {
    "LSTM": "LSTMConfig()",
    "GRU": 'GRUConfig(reset="after")',
    "RNN_TANH": 'RNNConfig(nonlinearity="tanh")',
    "RNN_RELU": 'RNNConfig(nonlinearity="relu")',
}
# Cells that Keras has and torch lacks.
_KERAS_ONLY = (gru_cell("before").source, rnn_cell("sigmoid").source)
# At the place of the key Keras has the value; all other gates have the same places.
_KERAS_GATES = {"r": "z", "z": "r"}


def load_torch(layers: Iterable[nn.Module], module: nn.RNNBase) -> None:
    """Copy the weights of a torch module into a model's layers, whose dtype and device stay as they are.

    Args:
        layers: `model.layers`.
        module: An `nn.LSTM`, `nn.GRU` or `nn.RNN`; its `batch_first` and `dropout` do not matter.
    """
    loops = _loops(layers)
    if module.proj_size:
        raise ValueError(
            f"proj_size={module.proj_size}: these layers have no projection. Train an nn.LSTM with proj_size=0."
        )
    if loops[0].cell.torch_mode != module.mode:
        raise ValueError(
            f"the weights are those of torch's {module.mode}, but the layers' cell is "
            f"{loops[0].cell.torch_mode or 'none of torch'}: make the model of hfseq.{_CONFIGS[module.mode]}."
        )
    _check_sizes(_sizes(loops), (module.input_size, module.hidden_size, module.num_layers, bool(module.bidirectional)))
    for loop, weights in zip(loops, module.all_weights, strict=True):
        _fill(loop, *weights)


def to_torch(layers: Iterable[nn.Module]) -> nn.RNNBase:
    """Build the torch module that computes what a model's layers do, with `batch_first=True`.

    It equals them on a batch without padding; torch reads padding as if it were text, see `loop.py`.

    Args:
        layers: `model.layers`.

    Returns:
        An `nn.LSTM`, `nn.GRU` or `nn.RNN` in the layers' dtype, on their device.
    """
    loops = _loops(layers)
    mode = loops[0].cell.torch_mode
    if mode is None:
        raise ValueError(
            f"torch has no module for this cell with the gates {loops[0].cell.gates}: it has those of "
            f"hfseq.{', '.join(_CONFIGS.values())}."
        )
    input_size, hidden_size, num_layers, bidirectional = _sizes(loops)
    options: dict[str, Any] = {"bidirectional": bidirectional, "batch_first": True}
    if mode.startswith("RNN"):
        options["nonlinearity"] = mode.removeprefix("RNN_").lower()
    weight = loops[0].weight_ih
    sizes = (input_size, hidden_size, num_layers)
    # On the meta device no random numbers are drawn, so that a seeded program goes on as without this call.
    module = _TORCH_MODULES[mode](*sizes, dtype=weight.dtype, device="meta", **options)
    module = module.to_empty(device=weight.device)
    with torch.no_grad():
        for loop, theirs in zip(loops, module.all_weights, strict=True):
            for parameter, value in zip(theirs, (loop.weight_ih, loop.weight_hh, *_two_biases(loop)), strict=True):
                parameter.copy_(value)
    return module


def load_keras(layer: nn.Module, weights: Sequence[np.ndarray]) -> None:
    """Copy the weights of one Keras layer into one of a model's layers.

    The weights do not tell the activations: the layer must have Keras's default ones (for a SimpleRNN, the config's).

    Args:
        layer: One of `model.layers`.
        weights: What `get_weights()` of an LSTM, GRU or SimpleRNN returns, or of a Bidirectional around one.
    """
    loops = _loops([layer])
    count = len(weights) // len(loops)
    if len(weights) not in (2 * len(loops), 3 * len(loops)):
        raise ValueError(
            f"got {len(weights)} arrays for {len(loops)} direction(s), each of which has 2 or 3: kernel, recurrent "
            "kernel and perhaps a bias. Pass get_weights() of one layer, and set the config's bidirectional as there."
        )
    directions = [_from_keras(loop, weights[k * count : (k + 1) * count]) for k, loop in enumerate(loops)]
    for loop, tensors in zip(loops, directions, strict=True):
        _fill(loop, *tensors)


def to_keras(layer: nn.Module) -> list[np.ndarray]:
    """Return the weights of one layer as `set_weights()` of the Keras layer takes them.

    An LSTM, a GRU with `reset_after` as the config's `reset`, or a SimpleRNN with the config's activation;
    a Bidirectional (`merge_mode="concat"`) around one, if the layer has two directions.

    Args:
        layer: One of `model.layers`.
    """
    weights: list[np.ndarray] = []
    for loop in _loops([layer]):
        _check_keras(loop.cell)
        bias, bias_hh = (_keras_order(loop.cell, each) for each in _two_biases(loop))
        kernels = [_keras_order(loop.cell, each).T for each in (loop.weight_ih, loop.weight_hh)]
        weights += [_to_numpy(each) for each in (*kernels, torch.stack((bias, bias_hh)) if loop.cell.split else bias)]
    return weights


def _loops(layers: Iterable[nn.Module]) -> list[RecurrentLoop]:
    """Return both directions of each layer, in the order of torch and Keras."""
    pairs = ((layer.forward_loop, layer.backward_loop) for layer in cast(Iterable[RecurrentLayer], layers))
    return [loop for pair in pairs for loop in pair if loop is not None]


def _sizes(loops: Sequence[RecurrentLoop]) -> tuple[int, int, int, bool]:
    """Return the width of the input and of one direction, the depth, and whether there are two directions."""
    bidirectional = any(loop.backward for loop in loops)
    return loops[0].weight_ih.shape[1], loops[0].hidden_size, len(loops) // (1 + bidirectional), bidirectional


def _check_sizes(ours: tuple[int, int, int, bool], theirs: tuple[int, int, int, bool]) -> None:
    names = ("embedding_size", "hidden_size", "num_hidden_layers", "bidirectional")
    wrong = [f"{name}={b} (it is {a})" for name, a, b in zip(names, ours, theirs, strict=True) if a != b]
    if wrong:
        raise ValueError(f"the weights do not fit the layers: make the model with {', '.join(wrong)}.")


@torch.no_grad()
def _fill(
    loop: RecurrentLoop,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor | None = None,
    bias_hh: torch.Tensor | None = None,
) -> None:
    """Copy one direction; biases that the source lacks are zero."""
    rows = len(weight_ih)
    # Rows at the end whose two biases stay apart: the reset gate comes between them.
    own = loop.hidden_size * len(loop.cell.split)
    bias = weight_ih.new_zeros(rows) if bias_ih is None else bias_ih.clone()
    second = torch.zeros_like(bias) if bias_hh is None else bias_hh
    bias[: rows - own] += second[: rows - own]
    values = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    if own:
        values["bias_hh"] = second[rows - own :]
    for name, value in values.items():
        # Not loop.weight_ih, which may be computed by a parametrization.
        loop.get_parameter(name).copy_(value)


@torch.no_grad()
def _two_biases(loop: RecurrentLoop) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two biases, as torch has them; the second is zero except where the equation keeps them apart."""
    # No cell of torch or Keras lacks it.
    assert loop.bias is not None
    second = torch.zeros_like(loop.bias)
    if loop.bias_hh is not None:
        second[-len(loop.bias_hh) :] = loop.bias_hh
    return loop.bias, second


def _check_keras(cell: Cell) -> None:
    if cell.torch_mode is None and cell.source not in _KERAS_ONLY:
        raise ValueError(
            f"Keras has no layer for this cell with the gates {cell.gates}: it has those of "
            f'hfseq.{", ".join(_CONFIGS.values())}, GRUConfig(reset="before"), RNNConfig(nonlinearity="sigmoid").'
        )


def _keras_order(cell: Cell, rows: torch.Tensor) -> torch.Tensor:
    """Put the rows of each gate in Keras's order instead of ours, or back: only two gates change places."""
    gates = dict(zip(cell.gates, rows.detach().chunk(len(cell.gates)), strict=True))
    return torch.cat([gates[_KERAS_GATES.get(gate, gate)] for gate in cell.gates])


def _from_keras(loop: RecurrentLoop, weights: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """Return weight_ih, weight_hh and biases of one direction, in torch's layout."""
    _check_keras(loop.cell)
    rows, input_size = loop.weight_ih.shape
    expected = [(input_size, rows), (loop.hidden_size, rows), (2, rows) if loop.cell.split else (rows,)]
    found = [tuple(np.shape(array)) for array in weights]
    if found != expected[: len(found)]:
        cure = "Make the model with the sizes of the Keras layer"
        if loop.cell.gates == ("r", "z", "n"):
            cure += ', and with reset="after" for reset_after=True (a bias of two rows), "before" for False'
        raise ValueError(f"the arrays have the shapes {found}, but the layer needs {expected}. {cure}.")
    tensors = [torch.tensor(array) for array in weights]
    biases = [bias for pair in tensors[2:] for bias in (pair if loop.cell.split else (pair,))]
    return [_keras_order(loop.cell, each) for each in (tensors[0].T, tensors[1].T, *biases)]


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return an array in the dtype of the tensor; bfloat16, which numpy lacks, becomes float32."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().contiguous().numpy().copy()
