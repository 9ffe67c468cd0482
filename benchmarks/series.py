"""Training of a forecaster: an LSTM of hfseq on numbers, and the same around a plain nn.LSTM, on the same windows.

    python benchmarks/series.py
    python benchmarks/series.py --rounds 3 --batches 4     # a small try; printed only

Both read 4 numbers a step through a linear layer, an LSTM of 64, and predict the next 12 steps after each step by a
linear layer; squared error, clipping and fused AdamW are the same. Windows of unlike lengths (20 to 200 steps) come
padded on the right, in batches of 32 in the order they are drawn: the peer packs them, as one does so that padding is
neither read nor learnt. Beside it stands the peer without packing, which reads the padding and does not learn it.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from measure import median_ratio, print_rows, take_turns, write_result
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import set_seed

from hfseq import LSTMConfig, LSTMForSeriesPrediction
from hfseq.models.base import IGNORED

FEATURES, EMBEDDING, WIDTH, HORIZON = 4, 32, 64, 12
BATCH, LEARNING_RATE, MAX_GRAD_NORM = 32, 1e-3, 1.0
SHORTEST, LONGEST, EQUAL = 20, 200, 110  # steps; equal windows have the mean of the unlike ones
BATCHES, ROUNDS = 12, 15
OURS, PLAIN, PACKED, PADDED = "hfseq", "nn.LSTM", "packed nn.LSTM", "padded nn.LSTM"


class Batch(NamedTuple):
    """Windows, padded on the right.

    Attributes:
        values: (B, T, F).
        mask: (B, T), 1 for real steps; None where all are.
        labels: (B, T, H, 1), -100 where there is nothing to learn.
    """

    values: torch.Tensor
    mask: torch.Tensor | None
    labels: torch.Tensor


def make_batches(count: int, seed: int, *, ragged: bool) -> list[Batch]:
    """Draw windows of noise: what they hold changes no time."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        lengths = torch.full((BATCH,), EQUAL)
        if ragged:
            lengths = torch.randint(SHORTEST, LONGEST + 1, (BATCH,), generator=generator)
        longest = int(lengths.max())
        mask = torch.arange(longest) < lengths[:, None]
        values = torch.randn(BATCH, longest, FEATURES, generator=generator) * mask[..., None]
        labels = torch.randn(BATCH, longest, HORIZON, 1, generator=generator)
        labels = labels.masked_fill(~mask[..., None, None], IGNORED)
        found.append(Batch(values, mask.long() if ragged else None, labels))
    return found


class PlainForecaster(nn.Module):
    """The peer: what one writes around nn.LSTM."""

    def __init__(self, packs: bool) -> None:
        super().__init__()
        self.packs = packs
        self.embed = nn.Linear(FEATURES, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, HORIZON)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the mean squared error of what is known."""
        vectors = self.embed(batch.values)
        if self.packs and batch.mask is not None:
            packed = pack_padded_sequence(vectors, batch.mask.sum(1), batch_first=True, enforce_sorted=False)
            output, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        else:
            output, _ = self.lstm(vectors)
        known = batch.labels != IGNORED
        missed = (self.head(output)[..., None] - batch.labels).masked_fill(~known, 0.0)
        return missed.square().sum() / known.sum()


class OwnForecaster(nn.Module):
    """Ours, with the same parts."""

    def __init__(self) -> None:
        super().__init__()
        config = LSTMConfig(
            feature_size=FEATURES,
            embedding_size=EMBEDDING,
            hidden_size=WIDTH,
            hidden_dropout=0.0,
            prediction_length=HORIZON,
            num_targets=1,
        )
        self.model = LSTMForSeriesPrediction(config)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the mean squared error of what is known."""
        loss: torch.Tensor = self.model(
            input_values=batch.values, attention_mask=batch.mask, labels=batch.labels, use_cache=False
        ).loss
        return loss


def train(model: nn.Module, batches: list[Batch]) -> None:
    """Update a model on each batch."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    for batch in batches:
        model(batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()


def compare(seed: int, count: int, rounds: int) -> list[dict[str, Any]]:
    """Train all rivals in turns, on windows of unlike and of equal lengths."""
    rows = []
    peers = {True: ((PACKED, True, 1.5), (PADDED, False, 1.0)), False: ((PLAIN, False, 1.0),)}
    for ragged, others in peers.items():
        batches = make_batches(count, seed, ragged=ragged)
        rivals: dict[str, Callable[[], None]] = {}
        set_seed(seed)
        rivals[OURS] = partial(train, OwnForecaster(), batches)
        for name, packs, _ in others:
            set_seed(seed)
            rivals[name] = partial(train, PlainForecaster(packs), batches)
        taken = take_turns(rivals, rounds)
        steps = sum(int((batch.labels[:, :, 0, 0] != IGNORED).sum()) for batch in batches)
        speeds = {name: round(steps / sorted(seconds)[len(seconds) // 2]) for name, seconds in taken.items()}
        lengths = f"{SHORTEST} to {LONGEST}" if ragged else str(EQUAL)
        for name, _, goal in others:
            told = f"{speeds[OURS]:,} steps per CPU second against {speeds[name]:,}"
            claim = f"Training an LSTM-{WIDTH} forecaster on windows of {lengths} steps, {told}"
            ratio = round(median_ratio(taken[name], taken[OURS]), 2)
            rows.append({"claim": claim, "peer": name, "goal": goal, "ratio": ratio})
    return rows


def main() -> None:
    """Compare, and keep the result of a whole run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, default=BATCHES, help="updates of a turn")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    rows = compare(arguments.seed, arguments.batches, arguments.rounds)
    if (arguments.batches, arguments.rounds) != (BATCHES, ROUNDS):
        print_rows(rows)
        return
    command = f"python benchmarks/series.py --seed {arguments.seed}"
    write_result("series", command=command, peer="named in the claim", rows=rows)


if __name__ == "__main__":
    main()
