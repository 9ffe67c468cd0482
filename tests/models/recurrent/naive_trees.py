"""The compositions as the papers have them, written down a second time: one tree, one node, one child at a time.

Nothing of `hfseq` is used but a loop's parameters, so that the tests compare two independent accounts of each one.
"""

import torch
from torch import sigmoid, tanh


def naive_states(loop, vectors, parents):
    """h of each node of one tree: `vectors` has that of its word, or None; `parents` are counted from 1."""
    children = [[j for j, parent in enumerate(parents) if parent == k + 1] for k in range(len(parents))]
    found = {}

    def visit(k):
        below = [visit(j) for j in children[k]]
        found[k] = BY_HAND[loop.name](Letters(loop, vectors[k]), below)
        return found[k]

    visit(parents.index(0))
    return torch.stack([found[k][0] for k in range(len(parents))])


class Letters:
    """The weights by gate: `x("i")` is W_i x + b_i, without a word b_i; `u("i", v)` is U_i v."""

    def __init__(self, loop, vector):
        width = loop.hidden_size
        words, gates = ORDER[loop.name]
        self.loop, self.vector, self.zero = loop, vector, loop.bias.new_zeros(width)
        self.w = dict(zip(words, loop.weight_ih.split(width), strict=False))
        self.b = dict(zip(words, loop.bias.split(width), strict=True))
        self.rows = dict(zip(gates, loop.weight_hh.split(width), strict=True))

    def x(self, gate):
        return self.b[gate] if self.vector is None else self.w[gate] @ self.vector + self.b[gate]

    def u(self, gate, *vectors):
        return self.rows[gate] @ torch.cat(vectors)

    def pair(self, below, state=0):
        """This state of the left and the right child, zeros where there is none."""
        return [below[k][state] if k < len(below) else self.zero for k in (0, 1)]


ORDER = {  # gates of W and of U, as their rows are stacked
    "matrix": ("p", "p"),
    "tensor": ("p", "p"),
    "matrix_vector": ("p", "p"),
    "tree_lstm": ("igof", ["i", "f_left", "f_right", "g", "o"]),
    "child_sum": ("igof", "igo"),
    "tree_gru": ("znrs", ["r_left", "r_right", "z", "s", "n"]),
}


def matrix(at, below):
    return (tanh(at.x("p") + at.u("p", *at.pair(below))),)


def tensor(at, below):
    v = torch.cat(at.pair(below))
    form = torch.stack([v @ at.loop.quadratic[:, k] @ v for k in range(at.loop.hidden_size)])
    return (tanh(at.x("p") + at.u("p", v) + form),)


def matrix_vector(at, below):
    width = at.loop.hidden_size
    own = at.loop.weight_ih[width:] @ at.vector if at.vector is not None else at.zero.new_zeros(width * width)
    eye = torch.eye(width, dtype=own.dtype)
    if not below:
        return tanh(at.x("p")), eye + own.view(width, width)
    (a, b), matrices = at.pair(below), [state[1] for state in below] + [eye]
    p = tanh(at.x("p") + at.u("p", matrices[1] @ a, matrices[0] @ b))
    return p, at.loop.weight_mm @ torch.cat(matrices[:2]) + own.view(width, width)


def tree_lstm(at, below):
    h, (c_left, c_right) = at.pair(below), at.pair(below, 1)
    gate = {g: sigmoid(at.x(g) + at.u(g, *h)) for g in ("i", "o")}
    f_left, f_right = (sigmoid(at.x("f") + at.u(side, *h)) for side in ("f_left", "f_right"))
    c = gate["i"] * tanh(at.x("g") + at.u("g", *h)) + f_left * c_left + f_right * c_right
    return gate["o"] * tanh(c), c


def child_sum(at, below):
    h = sum((state[0] for state in below), at.zero)
    c = sigmoid(at.x("i") + at.u("i", h)) * tanh(at.x("g") + at.u("g", h))
    for h_k, c_k in below:
        c = c + sigmoid(at.x("f") + at.loop.weight_edge @ h_k) * c_k
    return sigmoid(at.x("o") + at.u("o", h)) * tanh(c), c


def tree_gru(at, below):
    left, right = at.pair(below)
    r_left, r_right = (sigmoid(at.x("r") + at.u(side, left, right)) for side in ("r_left", "r_right"))
    z, s = (sigmoid(at.x(gate) + at.u(gate, left, right)) for gate in ("z", "s"))
    n = tanh(at.x("n") + at.u("n", r_left * left, r_right * right))
    return ((1 - z) * n + z * (s * left + (1 - s) * right),)


BY_HAND = {
    "matrix": matrix,
    "tensor": tensor,
    "matrix_vector": matrix_vector,
    "tree_lstm": tree_lstm,
    "child_sum": child_sum,
    "tree_gru": tree_gru,
}
