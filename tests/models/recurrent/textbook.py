"""The cells as the books have them, written down a second time: one text, one token, one step at a time.

Nothing of `hfseq` is used but a loop's parameters, so that the tests compare two independent accounts of each cell.
"""

import torch
from torch.nn.functional import layer_norm

GATES = {
    "rnn_tanh": "n",
    "rnn_relu": "n",
    "rnn_sigmoid": "n",
    "residual": "n",
    "residual_forget": "fn",
    "lstm": "ifgo",
    "lstm_forget_only": "fg",
    "lstm_forget_input": "ifg",
    "lstm_peephole": "ifgo",
    "lstm_coupled": "fgo",
    "lstm_blocks": "ifgo",
    "lstm_layer_norm": "ifgo",
    "gru": "rzn",
    "gru_reset_before": "rzn",
    "minimal_gated": "fn",
}
"""Cell -> its gates in the order in which the weights are stacked."""
BLOCK = 4


class Gates:
    """The weights by gate, and the token that is read: `a("i", h)` is W_i x + b_i + U_i h."""

    def __init__(self, name, loop, token):
        letters, width = GATES[name], loop.hidden_size
        rows = [width // BLOCK if name == "lstm_blocks" and letter != "g" else width for letter in letters]
        self.w = dict(zip(letters, loop.weight_ih.split(rows), strict=True))
        self.u = dict(zip(letters, loop.weight_hh.split(rows), strict=True))
        self.b = {} if loop.bias is None else dict(zip(letters, loop.bias.split(rows), strict=True))
        self.b_hh = loop.bias_hh
        self.token = token

    def input(self, letter):
        return self.w[letter] @ self.token + self.b.get(letter, 0.0)

    def state(self, letter, h):
        return self.u[letter] @ h

    def __call__(self, letter, h):
        return self.input(letter) + self.state(letter, h)


def elman(activation):
    return lambda a, p, h: (activation(a("n", h)),)


def residual(a, p, h):
    return (h + torch.tanh(a("n", h)),)


def residual_forget(a, p, h):
    return (torch.sigmoid(a("f", h)) * h + torch.tanh(a("n", h)),)


def lstm(a, p, h, c):
    i, f, o = (torch.sigmoid(a(letter, h)) for letter in "ifo")
    c = f * c + i * torch.tanh(a("g", h))
    return o * torch.tanh(c), c


def lstm_forget_only(a, p, h, c):
    c = torch.sigmoid(a("f", h)) * c + torch.tanh(a("g", h))
    return torch.tanh(c), c


def lstm_forget_input(a, p, h, c):
    c = torch.sigmoid(a("f", h)) * c + torch.sigmoid(a("i", h)) * torch.tanh(a("g", h))
    return torch.tanh(c), c


def lstm_peephole(a, p, h, c):
    p_i, p_f, p_o = p["peephole"]
    i, f = torch.sigmoid(a("i", h) + p_i * c), torch.sigmoid(a("f", h) + p_f * c)
    c = f * c + i * torch.tanh(a("g", h))
    return torch.sigmoid(a("o", h) + p_o * c) * torch.tanh(c), c


def lstm_coupled(a, p, h, c):
    f, o = torch.sigmoid(a("f", h)), torch.sigmoid(a("o", h))
    c = f * c + (1 - f) * torch.tanh(a("g", h))
    return o * torch.tanh(c), c


def lstm_blocks(a, p, h, c):
    i, f, o = (torch.sigmoid(a(letter, h)).repeat(BLOCK) for letter in "ifo")
    c = f * c + i * torch.tanh(a("g", h))
    return o * torch.tanh(c), c


def lstm_layer_norm(a, p, h, c):
    from_input = torch.cat([a.input(letter) for letter in "ifgo"])
    from_state = torch.cat([a.state(letter, h) for letter in "ifgo"])
    total = layer_norm(from_input, from_input.shape, p["input_gain"].flatten(), p["gate_bias"].flatten())
    total = total + layer_norm(from_state, from_state.shape, p["state_gain"].flatten())
    i, f, g, o = total.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    shown = layer_norm(c, c.shape, p["cell_gain"][0], p["cell_bias"][0])
    return torch.sigmoid(o) * torch.tanh(shown), c


def gru(a, p, h):
    r, z = torch.sigmoid(a("r", h)), torch.sigmoid(a("z", h))
    n = torch.tanh(a.input("n") + r * (a.state("n", h) + a.b_hh))
    return ((1 - z) * n + z * h,)


def gru_reset_before(a, p, h):
    r, z = torch.sigmoid(a("r", h)), torch.sigmoid(a("z", h))
    return ((1 - z) * torch.tanh(a("n", r * h)) + z * h,)


def minimal_gated(a, p, h):
    f = torch.sigmoid(a("f", h))
    return ((1 - f) * h + f * torch.tanh(a("n", f * h)),)


FORMULAS = {
    "rnn_tanh": elman(torch.tanh),
    "rnn_relu": elman(torch.relu),
    "rnn_sigmoid": elman(torch.sigmoid),
    "residual": residual,
    "residual_forget": residual_forget,
    "lstm": lstm,
    "lstm_forget_only": lstm_forget_only,
    "lstm_forget_input": lstm_forget_input,
    "lstm_peephole": lstm_peephole,
    "lstm_coupled": lstm_coupled,
    "lstm_blocks": lstm_blocks,
    "lstm_layer_norm": lstm_layer_norm,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    "minimal_gated": minimal_gated,
}


def route(name):
    """A route (see `loops.py`) that takes the formula through each text alone, meeting its real tokens only."""

    def by_hand(loop, inputs, order, states, with_state):
        states = states or loop.start(inputs)
        outputs, reached = torch.zeros(*inputs.shape[:2], loop.hidden_size, dtype=inputs.dtype), []
        for row, tokens in enumerate(inputs):
            own = [state[row] for state in states]
            positions = [t for t in range(len(tokens)) if order.real is None or order.real[row, t]]
            for t in reversed(positions) if loop.backward else positions:
                own = FORMULAS[name](Gates(name, loop, tokens[t]), loop.params, *own)
                outputs[row, t] = own[0]
            reached.append(own)
        return outputs, tuple(torch.stack(rows) for rows in zip(*reached, strict=True))

    return by_hand
