"""Every recurrent cell of the textbooks, once, as an equation.

A cell is a pure function `(ops, gates, states, params) -> new states` in the letters of the books:

    gates    a = W x_t + b + U h_{t-1} for each gate, (B, H), in the order in which the cell names them
    states   what the cell remembers; the first one is h, which it also shows
    params   vectors of width H for each name in `params`, met element by element
    ops      sigmoid, tanh, relu, exp, rsqrt, and mean over H

With `ops = TORCH` the function is the reference: any device, any dtype, autograd. With symbols in place of tensors
(`kernels/cells/symbols.py`) the same function is differentiated and printed as fused kernels. An equation therefore
uses only `ops`, +, -, *, / and numbers: no `if` on values, no indexing, no torch.

Two kinds of gate are not sums, because those of the books are not:

    split    the two products meet inside the equation: the gate is the pair (W x_t + b, U h_{t-1} + b')
    late     U meets a vector that the equation computes: the gate is a function, a(v) = W x_t + b + U v

A cell of your own is a decorated function:

    @register_cell(gates=("f", "g"))
    def keeper(ops, gates, states, params):
        (f, g), (h,) = gates, states
        keep = ops.sigmoid(f)
        return (keep * h + (1 - keep) * ops.tanh(g),)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from inspect import get_annotations, signature
from types import SimpleNamespace
from typing import Any

import torch
from typing_extensions import Required, TypedDict, Unpack

from .gate_values import GateValues, run_watched, shown_names

Equation = Callable[[Any, Any, Any, Any], tuple[Any, ...]]

TORCH = SimpleNamespace(
    sigmoid=torch.sigmoid,
    tanh=torch.tanh,
    relu=torch.relu,
    exp=torch.exp,
    rsqrt=torch.rsqrt,
    mean=lambda vector: vector.mean(-1, keepdim=True),
)
"""The operations of an equation, on tensors."""


@dataclass(frozen=True, eq=False)
class Cell:
    """An equation and what it needs; each cell exists once, so that kernels are compiled once.

    Attributes:
        equation: The function of the module's docstring.
        gates: Their names; weights are stacked in this order: plain gates, then split ones, then the late one.
        states: Their names, h first.
        split: Gates whose two products meet in the equation.
        late: The gate that is a function, if any.
        params: Vectors of width H: name -> their initial values, one a vector.
        bias: Whether the input product has one.
        gate_bias: Initial biases other than 0.
        shared: Gates that `block_size` cells have in common (memory blocks).
        block_size: How many cells a block has.
        torch_mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU" if torch has this very cell.
        source: How to make this cell again, (function, arguments): what a pickle holds.
    """

    equation: Equation
    gates: tuple[str, ...]
    states: tuple[str, ...] = ("h",)
    split: tuple[str, ...] = ()
    late: str | None = None
    params: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    bias: bool = True
    gate_bias: Mapping[str, float] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    block_size: int = 1
    torch_mode: str | None = None
    source: tuple[Callable[..., "Cell"], tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        plain = tuple(gate for gate in self.gates if gate not in self.split and gate != self.late)
        late = () if self.late is None else (self.late,)
        distinct = len(set(self.gates)) == len(self.gates) and len(set(self.states)) == len(self.states)
        if not self.gates or not distinct or plain + tuple(self.split) + late != tuple(self.gates):
            raise ValueError(
                f"gates={self.gates} must name plain gates, then the split ones {self.split}, then the late one "
                f"{self.late!r}, and states={self.states} its states, each once: weights are stacked in this order."
            )
        if self.states[:1] != ("h",):
            raise ValueError(f"states={self.states} must begin with 'h', which is also the output")
        if self.block_size > 1 and self.split:
            raise ValueError(
                f"block_size={self.block_size} shares gates, and split gates {self.split} cannot be shared"
            )
        for name, values in self.params.items():
            if not isinstance(values, tuple) or not values:
                raise ValueError(f"params[{name!r}]={values!r} must be a tuple of initial values, one a vector")
        for what, names, known in (
            ("gate_bias", self.gate_bias, self.gates if self.bias else ()),
            ("shared", self.shared, self.gates),
        ):
            if not set(names) <= set(known):
                raise ValueError(f"{what}: {sorted(set(names) - set(known))} is not among {list(known)}")

    def __copy__(self) -> "Cell":
        return self

    # A copied model keeps its very cell, also when the name has since been given to another.
    def __deepcopy__(self, memo: Any) -> "Cell":
        return self

    def __reduce__(self) -> Any:
        if self.source is None:
            raise TypeError("this cell has no name to be found again by: make it with @register_cell")
        return self.source

    def gate_sizes(self, hidden_size: int) -> list[int]:
        """Return how many rows of the weights belong to each gate."""
        return [hidden_size // (self.block_size if gate in self.shared else 1) for gate in self.gates]

    def step(
        self,
        inputs: torch.Tensor,
        states: tuple[torch.Tensor, ...],
        weight_hh: torch.Tensor,
        bias_hh: torch.Tensor | None,
        params: torch.Tensor | None,
        values: GateValues | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Run one step of the reference.

        Args:
            inputs: (B, G H) the input product of all gates, bias included.
            states: Each (B, H).
            weight_hh: (G H, H).
            bias_hh: (number of split gates x H), if they have a bias.
            params: (number of vectors, H).
            values: Where to put the value of each gate and state, (B, H) by its name; None: nobody asks.
        """
        linear, dtype = torch.nn.functional.linear, states[0].dtype
        # Products in the dtype of the weights, all else in float32 at least: sums of many steps need the digits.
        narrow = dtype in (torch.float16, torch.bfloat16)
        wide = torch.Tensor.float if narrow else lambda tensor: tensor
        h = states[0]
        from_input, rows = inputs.chunk(len(self.gates), -1), weight_hh.chunk(len(self.gates))
        own = (None,) * len(self.split) if bias_hh is None else bias_hh.chunk(len(self.split))
        biases = dict(zip(self.split, own, strict=True))
        gates: list[Any] = []
        for name, a, weight in zip(self.gates, map(wide, from_input), rows, strict=True):
            if name in self.split:
                gates.append((a, wide(linear(h, weight, biases[name]))))
            elif name == self.late:
                gates.append(lambda v, a=a, weight=weight: a + wide(linear(v.to(dtype), weight)))
            else:
                gates.append(a + wide(linear(h, weight)))
        params = None if params is None else wide(params)
        given = TORCH, tuple(gates), tuple(map(wide, states)), self.named(params)
        found: GateValues = {}
        if values is None:
            new = self.equation(*given)
        else:
            new, found = run_watched(self.equation, *given, names=self.gates, split=self.split)
        self.check_states(new)
        reached = tuple(state.to(dtype) for state in new)
        if values is not None:
            named = zip(shown_names(self.gates, self.states), found.values(), strict=True)
            values |= {name: value.to(dtype) for name, value in named}
            values |= zip(self.states, reached, strict=True)
        return reached

    def check_states(self, new: tuple[Any, ...]) -> None:
        """Check that the equation returns the states that its cell names."""
        if not isinstance(new, tuple | list) or len(new) != len(self.states):
            count = len(new) if isinstance(new, tuple | list) else f"{type(new).__name__} instead of a tuple of"
            raise ValueError(f"the equation returns {count} states, but its cell names {self.states}")

    def named(self, params: Any) -> dict[str, tuple[Any, ...]]:
        """Return the rows of `params` under the names that the equation knows."""
        rows = iter(() if params is None else params)
        return {name: tuple(next(rows) for _ in values) for name, values in self.params.items()}


CELLS: dict[str, Cell] = {}
"""Every cell that has a name: what `CustomConfig(cell=...)` may say."""


def find_cell(name: str) -> Cell:
    """Return the cell registered under this name."""
    if name not in CELLS:
        raise ValueError(
            f"no cell is called {name!r}: known are {', '.join(sorted(CELLS))}. A cell of your own must be registered "
            "(hfseq.register_cell) before its model is made or loaded: import the module that does it."
        )
    return CELLS[name]


class CellFields(TypedDict, total=False):
    """The fields of `Cell` that a cell of one's own may set; `gates` are required."""

    gates: Required[tuple[str, ...]]
    states: tuple[str, ...]
    split: tuple[str, ...]
    late: str | None
    params: Mapping[str, tuple[float, ...]]
    bias: bool
    gate_bias: Mapping[str, float]


def register_cell(name: str | None = None, **fields: Unpack[CellFields]) -> Callable[[Equation], Equation]:
    """Make an equation a cell that configs can name.

    Args:
        name: What to call it; the function's name if not given.
        **fields: `gates`, `states`, `split`, `late`, `params`, `bias` and `gate_bias` of `Cell`.
    """
    unknown = sorted(fields.keys() - get_annotations(CellFields).keys())
    if unknown or "gates" not in fields:
        wrong = f"does not know {', '.join(unknown)}" if unknown else "needs gates=(names of the gates)"
        raise TypeError(f"register_cell {wrong}: it takes name, {', '.join(get_annotations(CellFields))}.")

    def register(equation: Equation) -> Equation:
        called = name or equation.__name__
        if called in CELLS and CELLS[called].equation.__module__ == __name__:
            raise ValueError(
                f"{called!r} is a cell of hfseq: give yours another name, register_cell({called + '_2'!r}, ...)"
            )
        given: dict[str, Any] = {each: value for each, value in fields.items() if value is not None}
        # Lists are taken too; the cell is frozen, so they become tuples.
        for each in ("gates", "states", "split"):
            if each in given:
                given[each] = tuple(given[each])
        CELLS[called] = Cell(equation, **given, source=(find_cell, (called,)))
        return equation

    return register


def _made_once(make: Callable[..., Cell]) -> Callable[..., Cell]:
    """Make a function return the same cell for the same arguments, in a form that a pickle can find again."""
    made: dict[tuple[Any, ...], Cell] = {}

    @wraps(make)
    def find(*args: Any, **kwargs: Any) -> Cell:
        given = signature(make).bind(*args, **kwargs)
        given.apply_defaults()
        if given.args not in made:
            made[given.args] = replace(make(*given.args), source=(find, given.args))
        return made[given.args]

    return find


@_made_once
def rnn_cell(nonlinearity: str = "tanh", residual: str = "none") -> Cell:
    """Make the vanilla recurrent cell, or one of its residual forms.

        none      h_t = act(a_n)
        plain     h_t = h_{t-1} + act(a_n)                        the gradient has a way past every step
        forget    h_t = sigmoid(a_f) * h_{t-1} + act(a_n)         and the memory can be cleared

    Args:
        nonlinearity: act: "tanh", "relu" or "sigmoid".
        residual: "none", "plain" or "forget".
    """

    def equation(ops: Any, gates: Any, states: Any, params: Any) -> tuple[Any, ...]:
        *f, n = gates
        (h,) = states
        update = getattr(ops, nonlinearity)(n)
        if residual == "none":
            return (update,)
        return (h + update,) if residual == "plain" else (ops.sigmoid(f[0]) * h + update,)

    # The forget gate begins open, as the LSTM's does (bias 1).
    torch_modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
    return Cell(
        equation,
        gates=("f", "n") if residual == "forget" else ("n",),
        gate_bias={"f": 1.0} if residual == "forget" else {},
        torch_mode=torch_modes.get(nonlinearity) if residual == "none" else None,
    )


@_made_once
def lstm_cell(
    input_gate: bool = True,
    forget_gate: bool = True,
    output_gate: bool = True,
    peephole: bool = False,
    coupled: bool = False,
    layer_norm: bool = False,
    block_size: int = 1,
    forget_bias: float = 1.0,
) -> Cell:
    """Make a long short-term memory, with a switch for each of its parts.

        i = sigmoid(a_i)        f = sigmoid(a_f)        g = tanh(a_g)        o = sigmoid(a_o)
        c_t = f * c_{t-1} + i * g
        h_t = o * tanh(c_t)

    Args:
        input_gate: Off: i = 1.
        forget_gate: Off: f = 1, the cell of 1997, which never forgets.
        output_gate: Off: o = 1.
        peephole: The gates see the cell: a_i + p_i * c_{t-1}, a_f + p_f * c_{t-1}, a_o + p_o * c_t (Gers 2000).
        coupled: i = 1 - f, one gate less (Greff et al. 2017).
        layer_norm: a = LN(W x) + LN(U h) + b over all gates at once, and h = o * tanh(LN(c)) (Ba et al. 2016).
        block_size: How many cells share their i, f and o (Hochreiter and Schmidhuber 1997).
        forget_bias: Initial bias of a_f.
    """
    if coupled and not (input_gate and forget_gate):
        raise ValueError("coupled=True makes the input gate from the forget gate: leave input_gate and forget_gate on")
    if peephole and block_size > 1:
        raise ValueError(
            f"peephole=True gives each cell gates of its own, block_size={block_size} shares them: choose"
        )
    switches = {"i": input_gate and not coupled, "f": forget_gate, "g": True, "o": output_gate}
    names = tuple(name for name, on in switches.items() if on)
    seeing = tuple(name for name in names if peephole and name != "g")

    def equation(ops: Any, gates: Any, states: Any, params: Any) -> tuple[Any, ...]:
        (_, c), p = states, dict(zip(seeing, params.get("peephole", ()), strict=True))
        a = dict(zip(names, _normalised(ops, gates, params) if layer_norm else gates, strict=True))

        def gate(name: str, cell: Any) -> Any:
            return ops.sigmoid(a[name] + p[name] * cell if name in p else a[name])

        f = gate("f", c) if forget_gate else 1.0
        i = 1.0 - f if coupled else gate("i", c) if input_gate else 1.0
        c = f * c + i * ops.tanh(a["g"])
        shown = ops.tanh(_layer_norm(ops, (c,), params["cell_gain"])[0] + params["cell_bias"][0] if layer_norm else c)
        return (gate("o", c) * shown if output_gate else shown), c

    # torch begins near b_f = 0, where half of the memory is gone after each step (Jozefowicz et al. 2015).
    gate_bias = {"f": forget_bias} if forget_gate else {}
    params: dict[str, tuple[float, ...]] = {"peephole": (0.0,) * len(seeing)} if seeing else {}
    if layer_norm:
        ones = (1.0,) * len(names)
        bias = tuple(gate_bias.get(name, 0.0) for name in names)
        params |= {"input_gain": ones, "state_gain": ones, "gate_bias": bias, "cell_gain": (1.0,), "cell_bias": (0.0,)}
    is_torch = names == ("i", "f", "g", "o") and not (peephole or layer_norm or block_size > 1)
    return Cell(
        equation,
        gates=names,
        states=("h", "c"),
        split=names if layer_norm else (),
        params=params,
        # A bias before the norm would be normalised away; the norm has its own behind it.
        bias=not layer_norm,
        gate_bias={} if layer_norm else gate_bias,
        shared=tuple(name for name in names if name != "g"),
        block_size=block_size,
        torch_mode="LSTM" if is_torch else None,
    )


def _normalised(ops: Any, gates: Any, params: Any) -> list[Any]:
    """Return LN(W x) + LN(U h) + b for each gate."""
    # Ba et al. have a bias in each of the two norms as well; three biases only add up, so one stays.
    from_input, from_state = zip(*gates, strict=True)
    inputs = _layer_norm(ops, from_input, params["input_gain"])
    recurrent = _layer_norm(ops, from_state, params["state_gain"])
    return [x + u + b for x, u, b in zip(inputs, recurrent, params["gate_bias"], strict=True)]


def _layer_norm(ops: Any, vectors: Any, gains: Any, epsilon: float = 1e-5) -> list[Any]:
    """Return (v - mean) / sqrt(variance + epsilon) * gain, mean and variance over all the vectors together."""
    part = 1.0 / len(vectors)
    mean = ops.mean(sum(vectors)) * part
    centred = [vector - mean for vector in vectors]
    scale = ops.rsqrt(ops.mean(sum(vector * vector for vector in centred)) * part + epsilon)
    return [vector * scale * gain for vector, gain in zip(centred, gains, strict=True)]


@_made_once
def gru_cell(reset: str = "after") -> Cell:
    """Make the gated recurrent unit.

        r = sigmoid(a_r)        z = sigmoid(a_z)
        n = tanh(W_n x + b + r * (U_n h + b'))        reset "after" the product: torch.nn.GRU, cuDNN
        n = tanh(W_n x + b + U_n (r * h))             reset "before" it: the paper (Cho et al. 2014)
        h_t = (1 - z) * n + z * h_{t-1}

    Weights of the two forms cannot be exchanged. Cho et al. write z for what is kept, as here; Chung et al. the other
    way round.

    Args:
        reset: "after" or "before".
    """

    def equation(ops: Any, gates: Any, states: Any, params: Any) -> tuple[Any, ...]:
        (r, z, n), (h,) = gates, states
        # z is what is kept, as in Cho et al.; Chung et al. (2014) write 1 - z for it.
        r, z = ops.sigmoid(r), ops.sigmoid(z)
        n = ops.tanh(n[0] + r * n[1] if reset == "after" else n(r * h))
        return ((1.0 - z) * n + z * h,)

    return Cell(
        equation,
        gates=("r", "z", "n"),
        split=("n",) if reset == "after" else (),
        late="n" if reset == "before" else None,
        torch_mode="GRU" if reset == "after" else None,
    )


def minimal_gated(ops: Any, gates: Any, states: Any, params: Any) -> tuple[Any, ...]:
    """Compute a GRU with one gate in both roles (Zhou et al. 2016): f resets what is read and how much is replaced."""
    (f, n), (h,) = gates, states
    f = ops.sigmoid(f)
    return ((1.0 - f) * h + f * ops.tanh(n(f * h)),)


CELLS |= {
    "rnn_tanh": rnn_cell("tanh"),
    "rnn_relu": rnn_cell("relu"),
    "rnn_sigmoid": rnn_cell("sigmoid"),
    "residual": rnn_cell("tanh", "plain"),
    "residual_forget": rnn_cell("tanh", "forget"),
    "lstm": lstm_cell(),
    "lstm_forget_only": lstm_cell(input_gate=False, output_gate=False),
    "lstm_forget_input": lstm_cell(output_gate=False),
    "lstm_peephole": lstm_cell(peephole=True),
    "lstm_coupled": lstm_cell(coupled=True),
    "lstm_blocks": lstm_cell(block_size=4),
    "lstm_layer_norm": lstm_cell(layer_norm=True),
    "gru": gru_cell(),
    "gru_reset_before": gru_cell("before"),
    "minimal_gated": Cell(minimal_gated, gates=("f", "n"), late="n", source=(find_cell, ("minimal_gated",))),
}
