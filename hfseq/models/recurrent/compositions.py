"""How a node of a tree is made of its children: six compositions, each once, as an equation.

A composition is a pure function `(ops, gates, children) -> states` in the letters of the papers, as the cells of
`cells.py` are:

    gates     a = W x + b + U [children] for each gate, (m, H), in the order in which the composition names them.
              x is the word of the node: 0 at a node that has none, and then W x is too. A leaf has no children.
    children  of a binary composition the states of the left and the right child, zeros where there is none; of a sum
              the messages of all children, added up
    states    what a node knows; the first one is h, which it also shows
    ops       sigmoid and tanh

An equation uses only `ops`, +, -, * and numbers, so that `hfseq/kernels/trees` prints fused kernels from it. What
needs other products has a field for it: a gate whose U meets vectors that the equation computes (`late`), a quadratic
form (`quadratic`), and matrices as states (`has_matrices`).

Nodes with a word and children too, as in dependency trees, have W x and U [children] in every composition.

Shapes: m nodes of a level, H width, S states, G gates of the children, X gates of the word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch.nn.functional import linear

from .cells import TORCH

TreeEquation = Callable[[Any, Any, Any], tuple[Any, ...]]


class TreeWeights(NamedTuple):
    """What children meet.

    Attributes:
        weight_hh: (G H, 2 H) meets [h_left ; h_right]; of a sum (G H, H).
        weight_edge: (H, H) meets the h of one child, for the gate of a message.
        quadratic: (2 H, H, 2 H) or None.
        weight_mm: (H, 2 H) meets the matrices of both children; or None.
    """

    weight_hh: torch.Tensor
    weight_edge: torch.Tensor | None = None
    quadratic: torch.Tensor | None = None
    weight_mm: torch.Tensor | None = None


class Children(NamedTuple):
    """The states of the children of a level.

    Attributes:
        states: (2 m, S H) left, right, left, right, ..., zeros where there is no child; of a sum (children, S H).
        owners: (children) of a sum: which of the m nodes each belongs to.
    """

    states: torch.Tensor
    owners: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Composition:
    """An equation and what it needs.

    Attributes:
        equation: The function of the module's docstring.
        gates: Names of what U gives, in the order of its rows.
        word_gates: Names of what W gives; those that a leaf needs come first.
        leaf_gates: How many a leaf needs; None: all.
        states: Their names, h first.
        word_gate: Gate of U -> gate of W, where they are not called the same.
        late: The last gate, if it is a function: U meets vectors that the equation computes.
        quadratic: Whether v^T V v is added to the gate, v = [h_left ; h_right].
        message: Of a sum, which takes any number of children: what each child sends, `(ops, gate, states) -> summed`.
        message_gate: The gate of W that a message shares.
        word_bias: Initial biases other than 0.
        averages: Whether U begins as half the identity twice, and not orthogonal.
        has_matrices: Whether a node has a matrix beside its vector (`_matrix_vector_step`).
        widest: The largest H; None: no bound but the config's.
    """

    equation: TreeEquation
    gates: tuple[str, ...]
    word_gates: tuple[str, ...]
    leaf_gates: int | None = None
    states: tuple[str, ...] = ("h",)
    word_gate: Mapping[str, str] = field(default_factory=dict)
    late: str | None = None
    quadratic: bool = False
    message: TreeEquation | None = None
    message_gate: str | None = None
    word_bias: Mapping[str, float] = field(default_factory=dict)
    averages: bool = False
    has_matrices: bool = False
    widest: int | None = None

    @property
    def is_sum(self) -> bool:
        """Whether a node may have any number of children."""
        return self.message is not None

    @property
    def arity(self) -> int:
        """How many children's h lie side by side before U."""
        return 1 if self.is_sum else 2

    @cached_property
    def word_places(self) -> tuple[int, ...]:
        """Of each gate of U, which gate of W it is added to."""
        return tuple(self.word_gates.index(self.word_gate.get(gate, gate)) for gate in self.gates)

    def named_words(self, words: torch.Tensor, width: int) -> dict[str, torch.Tensor]:
        """Return the word's part of each gate; that of gates which a leaf does not need may be left out, as zeros."""
        found = dict(zip(self.word_gates, words.split(width, -1), strict=False))
        return {gate: found[gate] if gate in found else torch.zeros_like(words[:, :width]) for gate in self.word_gates}

    def word_rows(self, hidden_size: int) -> int:
        """Return how many rows W has."""
        return (len(self.word_gates) + (hidden_size if self.has_matrices else 0)) * hidden_size

    def leaf_rows(self, hidden_size: int) -> int:
        """Return how many of them a leaf needs, which come first."""
        return self.word_rows(hidden_size) if self.leaf_gates is None else self.leaf_gates * hidden_size

    def step(self, words: torch.Tensor, children: Children | None, weights: TreeWeights) -> torch.Tensor:
        """Compute the nodes of a level, (m, S H), by the reference.

        Args:
            words: (m, X H) W x + b of each node; of leaves the first gates may be all.
            children: None at leaves.
            weights: What the children meet.
        """
        # Products in the dtype of the weights, all else in float32 at least, as in the cells.
        dtype = words.dtype
        wide = torch.Tensor.float if dtype in (torch.float16, torch.bfloat16) else lambda tensor: tensor
        step = _matrix_vector_step if self.has_matrices else _sum_step if self.is_sum else _binary_step
        states = step(self, wide(words), children, weights, wide)
        return torch.cat([state.to(dtype) for state in states], dim=-1)


Wide = Callable[[torch.Tensor], torch.Tensor]


def _binary_step(
    composition: Composition, words: torch.Tensor, children: Children | None, weights: TreeWeights, wide: Wide
) -> tuple[torch.Tensor, ...]:
    """Add up the gates of binary nodes, and call the equation."""
    width = weights.weight_hh.shape[1] // 2
    word = composition.named_words(words, width)
    gates: list[Any] = [word[composition.word_gates[place]] for place in composition.word_places]
    # U meets zeros at a leaf, which is no work worth doing: a half of all nodes are leaves.
    if children is None:
        zeros = (torch.zeros_like(gates[0]),) * len(composition.states)
        if composition.late is not None:
            gates[-1] = lambda left, right, a=gates[-1]: a
        return composition.equation(TORCH, tuple(gates), (zeros, zeros))
    # Both children in one product: [left ; right] lie side by side already.
    pairs = children.states.unflatten(0, (-1, 2))  # (m, 2, S H)
    h = pairs[..., :width].flatten(1)  # (m, 2 H)
    rows = weights.weight_hh.split(width)
    for number, (gate, row) in enumerate(zip(composition.gates, rows, strict=True)):
        if gate == composition.late:
            gates[number] = lambda left, right, a=gates[number], row=row: (
                a + wide(linear(torch.cat((left, right), -1).to(h.dtype), row))
            )
        else:
            gates[number] = gates[number] + wide(linear(h, row))
    if weights.quadratic is not None:
        gates[0] = gates[0] + wide(quadratic_form(h, weights.quadratic))
    left, right = (tuple(wide(side).chunk(len(composition.states), -1)) for side in pairs.unbind(1))
    return composition.equation(TORCH, tuple(gates), (left, right))


def quadratic_form(vectors: torch.Tensor, quadratic: torch.Tensor) -> torch.Tensor:
    """Return v^T V_k v for each v of (m, 2 H) and each of the H slices, which lie in the middle of (2 H, H, 2 H)."""
    met = (vectors @ quadratic.flatten(1)).unflatten(-1, quadratic.shape[1:])  # (m, H, 2 H)
    return (met @ vectors[..., None]).squeeze(-1)


def _sum_step(
    composition: Composition, words: torch.Tensor, children: Children | None, weights: TreeWeights, wide: Wide
) -> tuple[torch.Tensor, ...]:
    """Add up the messages of the children, and call the equation."""
    width = weights.weight_hh.shape[1]
    word = composition.named_words(words, width)
    gates = [word[gate] for gate in composition.gates]
    sums = [torch.zeros_like(gates[0])] * len(composition.states)
    if children is not None:
        assert children.owners is not None and composition.message is not None and weights.weight_edge is not None
        h = children.states[:, :width]
        # W x is computed for the node, and each of its children has a gate of its own.
        own = word[str(composition.message_gate)].index_select(0, children.owners)
        states = tuple(wide(children.states).chunk(len(composition.states), -1))
        sent = composition.message(TORCH, own + wide(linear(h, weights.weight_edge)), states)
        sums = [torch.zeros_like(gates[0]).index_add(0, children.owners, each) for each in sent]
        product = wide(linear(sums[0].to(h.dtype), weights.weight_hh))
        gates = [gate + met for gate, met in zip(gates, product.split(width, -1), strict=True)]
    return composition.equation(TORCH, tuple(gates), tuple(sums))


def _matrix_vector_step(
    composition: Composition, words: torch.Tensor, children: Children | None, weights: TreeWeights, wide: Wide
) -> tuple[torch.Tensor, ...]:
    """Compute vectors and matrices (Socher et al. 2012).

        p = tanh(W [B a ; A b] + W_x x + b)        P = W_M [A ; B] + M_x x

    A word's matrix is the identity and a linear function of its vector; Socher et al. learn one for each word, of low
    rank, which 10,000 words have too few occurrences for. Kept is what a matrix differs from the identity by, so that
    zeros stand for a child that is not there: the identity, which changes nothing.
    """
    width = weights.weight_hh.shape[0]
    words, matrices = words[:, :width], words[:, width:]
    if children is None:
        return torch.tanh(words), matrices
    assert weights.weight_mm is not None
    pairs = children.states.unflatten(0, (-1, 2))
    a, b = pairs[..., :width].unbind(1)
    change_a, change_b = pairs[..., width:].unflatten(-1, (width, width)).unbind(1)
    changed = [vector + (change @ vector[..., None]).squeeze(-1) for vector, change in ((a, change_b), (b, change_a))]
    p = words + wide(linear(torch.cat(changed, -1), weights.weight_hh))
    # What is kept is a difference, so the identity is added before W_M and taken away behind it.
    eye = torch.eye(width, dtype=a.dtype, device=a.device)
    both = weights.weight_mm @ torch.cat((change_a + eye, change_b + eye), 1) - eye  # (m, H, H)
    return torch.tanh(p), matrices + wide(both.flatten(1))


def matrix(ops: Any, gates: Any, children: Any) -> tuple[Any, ...]:
    """Compute p = tanh(W [left ; right] + b), the recursive network of Socher et al. (2011).

    Their leaves are the words' vectors themselves. Here these go through a product and tanh as well, so that they may
    have another width, and so that words and phrases are of one kind.
    """
    return (ops.tanh(gates[0]),)


def tree_lstm(ops: Any, gates: Any, children: Any) -> tuple[Any, ...]:
    """Compute the binary N-ary Tree-LSTM of Tai et al. (2015): a forget gate for each child.

        c = f_left c_left + f_right c_right + i g        h = o tanh(c)

    Each gate sees both children; both forget gates share the word's part, as in the paper. In a chain, where each node
    has a word and the one before as its only child, it is the LSTM of `cells.py`.
    """
    (i, f_left, f_right, g, o), ((_, c_left), (_, c_right)) = gates, children
    c = ops.sigmoid(f_left) * c_left + ops.sigmoid(f_right) * c_right + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(c), c


def child_sum(ops: Any, gates: Any, children: Any) -> tuple[Any, ...]:
    """Compute the child-sum Tree-LSTM of Tai et al. (2015), for any number of children in any order.

        f_k = sigmoid(W_f x + U_f h_k + b_f)        c = sum of f_k c_k + i g        h = o tanh(c)

    i, g and o see the sum of the children's h.
    """
    (i, g, o), (_, kept) = gates, children
    c = kept + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(c), c


def forgetting_message(ops: Any, gate: Any, states: Any) -> tuple[Any, ...]:
    """Send h, and what the forget gate leaves of c."""
    h, c = states
    return h, ops.sigmoid(gate) * c


def tree_gru(ops: Any, gates: Any, children: Any) -> tuple[Any, ...]:
    """Compute the gated recursive network of Chen et al. (2015): a GRU whose past is two children.

        n = tanh(W_n x + b_n + U_n [r_left h_left ; r_right h_right])
        h = (1 - z) n + z (s h_left + (1 - s) h_right)

    Chen et al. weigh n and the children by a softmax of three, for which two sigmoids are as good: z is what is kept,
    as in `cells.py`, and s how much of that is the left child. Their leaves are the words' vectors.
    """
    (r_left, r_right, z, s, n), ((h_left,), (h_right,)) = gates, children
    n = ops.tanh(n(ops.sigmoid(r_left) * h_left, ops.sigmoid(r_right) * h_right))
    z, s = ops.sigmoid(z), ops.sigmoid(s)
    return ((1.0 - z) * n + z * (s * h_left + (1.0 - s) * h_right),)


COMPOSITIONS = {
    "matrix": Composition(matrix, gates=("p",), word_gates=("p",), averages=True),
    # V has 4 H^3 numbers: at 256, 67 million.
    "tensor": Composition(matrix, gates=("p",), word_gates=("p",), averages=True, quadratic=True, widest=256),
    # A node has a matrix: at 64, 4,096 numbers.
    "matrix_vector": Composition(matrix, gates=("p",), word_gates=("p",), averages=True, has_matrices=True, widest=64),
    "tree_lstm": Composition(
        tree_lstm,
        gates=("i", "f_left", "f_right", "g", "o"),
        word_gates=("i", "g", "o", "f"),
        leaf_gates=3,
        states=("h", "c"),
        word_gate={"f_left": "f", "f_right": "f"},
        # Both children are kept at first, as the LSTM of cells.py keeps its past.
        word_bias={"f": 1.0},
    ),
    "child_sum": Composition(
        child_sum,
        gates=("i", "g", "o"),
        word_gates=("i", "g", "o", "f"),
        leaf_gates=3,
        states=("h", "c"),
        message=forgetting_message,
        message_gate="f",
        word_bias={"f": 1.0},
    ),
    "tree_gru": Composition(
        tree_gru,
        gates=("r_left", "r_right", "z", "s", "n"),
        word_gates=("z", "n", "r", "s"),
        leaf_gates=2,
        word_gate={"r_left": "r", "r_right": "r"},
        # The reset comes before the product, as in the paper and in the GRU of Cho et al. (2014).
        late="n",
    ),
}
"""Name -> composition: what `RecursiveConfig(composition=...)` may say."""
