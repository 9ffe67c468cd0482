"""Every cell against nn.LSTM, exact ragged batches against packed nn.LSTM, and one step of generation.

    python benchmarks/cells.py

Ratios above 1 are faster than the peer. The goal of a cell in training is 1/1.1: its time is at most 1.1 times that of
nn.LSTM, which has four gates and a kernel of its own in oneDNN. nn.LSTM on a padded batch is no peer: its backward
direction reads the padding first.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measure import ratios, write_result
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hfseq import CELLS
from hfseq.models.recurrent.backbone import RecurrentLayer
from hfseq.models.recurrent.fused import product_dtype
from hfseq.models.recurrent.loop import RecurrentLoop
from hfseq.models.token_order import TokenOrder

PEER = "nn.LSTM"
SHAPES = ((32, 50, 128), (64, 50, 256), (64, 50, 512))  # rows, steps, width
GOALS = {"lstm_layer_norm": 1 / 1.3}


def train_cells() -> list[dict[str, Any]]:
    """Time forward and backward of one layer, every token real; each cell's slowest of three sizes counts."""
    measured: dict[str, list[float]] = {name: [] for name in CELLS}
    for rows, steps, width in SHAPES:
        inputs = torch.randn(rows, steps, width, requires_grad=True)
        weights = torch.randn(rows, steps, width)
        peer = nn.LSTM(width, width, batch_first=True)
        rivals: dict[str, Callable[[], Any]] = {
            PEER: lambda: torch.autograd.grad(peer(inputs)[0], [inputs, *peer.parameters()], weights)  # noqa: B023
        }
        for name, cell in CELLS.items():
            loop = RecurrentLoop(cell, input_size=width, hidden_size=width)
            rivals[name] = partial(train_loop, loop, inputs, weights)
        for name, ratio in ratios(rivals, PEER, rounds=7).items():
            if name != PEER:
                measured[name].append(round(ratio, 2))
    sizes = ", ".join(f"{rows}x{steps}x{width}" for rows, steps, width in SHAPES)
    return [
        {
            "claim": f"{name}: forward + backward, slowest of {sizes}",
            "goal": GOALS.get(name, 1 / 1.1),
            "ratio": min(found),
            "ratios": found,
        }
        for name, found in measured.items()
    ]


def train_loop(loop: RecurrentLoop, inputs: torch.Tensor, weights: torch.Tensor) -> None:
    """Compute all gradients of one layer of ours."""
    outputs, _ = loop(inputs, TokenOrder(inputs.shape[0], inputs.shape[1], None))
    torch.autograd.grad(outputs, [inputs, *loop.parameters()], weights)


def run_packed(peer: nn.LSTM, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Run the peer on ragged rows: exact, by packing."""
    rows = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(peer(rows)[0], batch_first=True, total_length=inputs.shape[1])[0]


def ragged(batch: int, width: int = 128) -> list[dict[str, Any]]:
    """Time both directions over a shuffled batch of news (3 to 90 tokens, 45 on average); ours gets the mask alone."""
    lengths = torch.distributions.Gamma(4.0, 1 / 12).sample((batch,)).int().clamp(3, 90).long()
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    inputs = torch.randn(batch, mask.shape[1], width, requires_grad=True)
    weights = torch.randn(batch, mask.shape[1], 2 * width) * mask[..., None]
    peer = nn.LSTM(width, width, batch_first=True, bidirectional=True)
    layer = RecurrentLayer(CELLS["lstm"], input_size=width, hidden_size=width, bidirectional=True)

    def read() -> torch.Tensor:
        return layer(inputs, TokenOrder(batch, mask.shape[1], mask))

    def train_ours() -> None:
        torch.autograd.grad(read(), [inputs, *layer.parameters()], weights)

    def train_peer() -> None:
        torch.autograd.grad(run_packed(peer, inputs, lengths), [inputs, *peer.parameters()], weights)

    def train_in_bfloat16() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            train_ours()

    packed, text = f"packed {PEER}", f"exact ragged BiLSTM-{width}, batch {batch}"
    rivals: dict[str, Callable[[], Any]] = {packed: train_peer, "training": train_ours}
    with torch.autocast("cpu", torch.bfloat16):
        if product_dtype(inputs) is not None:
            rivals["training in bfloat16"] = train_in_bfloat16
        else:
            print("This CPU has no bfloat16 products: that row is left out.")
    found = ratios(rivals, packed)
    goals = {"training": 3.0, "training in bfloat16": 4.0}
    result = [
        {"claim": f"{text}: {name}, forward + backward (peer: {packed})", "goal": goals[name], "ratio": ratio}
        for name, ratio in found.items()
        if name != packed
    ]
    with torch.no_grad():
        found = ratios({packed: lambda: run_packed(peer, inputs, lengths), "ours": read}, packed)
    return [*result, {"claim": f"{text}: inference (peer: {packed})", "goal": 1.0, "ratio": found["ours"]}]


@torch.no_grad()
def whole_text(width: int, steps: int = 28) -> dict[str, Any]:
    """Time inference on one text, one direction."""
    inputs, peer = torch.randn(1, steps, width), nn.LSTM(width, width, batch_first=True)
    loop = RecurrentLoop(CELLS["lstm"], input_size=width, hidden_size=width)
    rivals = {
        PEER: repeated(10, lambda: peer(inputs)),
        "ours": repeated(10, lambda: loop(inputs, TokenOrder(1, steps, None))),
    }
    claim = f"inference on one text of {steps} tokens, LSTM-{width}"
    return {"claim": claim, "goal": 1.0, "ratio": ratios(rivals, PEER)["ours"]}


@torch.no_grad()
def one_step(width: int, batch: int) -> dict[str, Any]:
    """Time the state update of generation: one token from a state."""
    inputs, state = torch.randn(batch, 1, width), torch.zeros(batch, width)
    peer = nn.LSTM(width, width, batch_first=True)
    loop = RecurrentLoop(CELLS["lstm"], input_size=width, hidden_size=width)
    rivals = {
        PEER: repeated(20, lambda: peer(inputs, (state[None], state[None]))),
        "ours": repeated(20, lambda: loop(inputs, TokenOrder(batch, 1, None), (state, state))),
    }
    goal = {(512, 1): 5.0}.get((width, batch), 1.0)
    return {
        "claim": f"one step from a state, LSTM-{width}, batch {batch}",
        "goal": goal,
        "ratio": ratios(rivals, PEER)["ours"],
    }


def repeated(times: int, work: Callable[[], Any]) -> Callable[[], None]:
    """Repeat work that is too short for the clock."""

    def run() -> None:
        for _ in range(times):
            work()

    return run


def main() -> None:
    """Measure all of it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = ragged(64)
    rows += [one_step(width, batch) for width, batch in ((128, 1), (512, 1), (512, 16), (1024, 1))]
    rows += [whole_text(width) for width in (128, 256)]
    rows += train_cells()
    for row in rows:
        row |= {"goal": round(row["goal"], 2), "ratio": round(row["ratio"], 2)}
    write_result("cells", command="python benchmarks/cells.py", peer=PEER, rows=rows)


if __name__ == "__main__":
    main()
