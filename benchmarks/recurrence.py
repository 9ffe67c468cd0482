"""The exact time loop against torch's own exact loop (packed sequences), forward and backward.

    python benchmarks/recurrence.py

Both are right on ragged batches; the padded bidirectional loop that most people use is not.
"""

from functools import partial

import torch
from measure import ratios, write_result
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hfseq.models.recurrence import RecurrentLayer, token_order

PEER = "packed torch.nn loop"
BATCH, WIDTH = 64, 128


def random_lengths() -> torch.Tensor:
    """As a shuffled batch of news has them: 3 to 90 tokens, 45 on average."""
    return torch.distributions.Gamma(4.0, 1 / 12).sample((BATCH,)).int().clamp(3, 90).long()


def even_lengths() -> torch.Tensor:
    """As a batch of rows of about one length."""
    return torch.randint(36, 43, (BATCH,))


def packed(loop: nn.RNNBase, inputs: torch.Tensor, lengths: torch.Tensor, weights: torch.Tensor) -> None:
    """The peer: one bidirectional loop over a packed batch."""
    rows = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    output = pad_packed_sequence(loop(rows)[0], batch_first=True, total_length=inputs.shape[1])[0]
    torch.autograd.grad(output, [inputs, *loop.parameters()], weights)


def ours(layer: RecurrentLayer, inputs: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor) -> None:
    """Ours: the mask is all it is given."""
    output = layer(inputs, token_order(mask))
    torch.autograd.grad(output, [inputs, *layer.parameters()], weights)


def main() -> None:
    """Measure the three families on both kinds of batch."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = []
    for cell in (nn.LSTM, nn.GRU, nn.RNN):
        make_loop = partial(cell, hidden_size=WIDTH, batch_first=True)
        for kind, lengths in (("random", random_lengths()), ("even", even_lengths())):
            mask = torch.arange(int(lengths.max())) < lengths[:, None]
            inputs = torch.randn(BATCH, mask.shape[1], WIDTH, requires_grad=True)
            weights = torch.randn(BATCH, mask.shape[1], 2 * WIDTH) * mask[..., None]
            layer = RecurrentLayer(make_loop=make_loop, input_size=WIDTH, bidirectional=True, layer_idx=0)
            loop = make_loop(WIDTH, bidirectional=True)
            rivals = {
                PEER: partial(packed, loop, inputs, lengths, weights),
                "ours": partial(ours, layer, inputs, mask, weights),
            }
            claim = f"bidirectional {cell.__name__}-{WIDTH}, batch {BATCH} of {kind} lengths, forward + backward"
            rows.append({"claim": claim, "goal": 1.0, "ratio": round(ratios(rivals, PEER)["ours"], 2)})
    write_result("recurrence", command="python benchmarks/recurrence.py", peer=PEER, rows=rows)


if __name__ == "__main__":
    main()
