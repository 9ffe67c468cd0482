"""What the three places of gradient clipping cost: training steps per CPU second, each against no clipping.

    python benchmarks/clipping.py

A step is forward pass, backward pass, clipping and AdamW, of a classifier of one layer on a batch of ragged texts. The
thresholds are low, so that there is always something to clip. Ratios are at most about 1: the goal is to lose no more
than a tenth. Without the fused kernels `clip_hidden` takes the plain loop and its peer that of torch: the last row.
"""

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from measure import median_ratio, take_turns, write_result
from torch import nn

from hfseq import FAMILIES
from hfseq.models.recurrent import fused
from hfseq.models.recurrent.clipping import clipping_hidden

CELLS, WIDTH, TEXTS, VOCAB_SIZE = ("lstm", "gru", "rnn"), 128, 64, 5_000
NONE, PLACES = "no clipping", ("clip_grad_value", "clip_hidden", "max_grad_norm")
GOAL, ROUNDS, STEPS = 0.9, 11, 3


def train(model: Any, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor], place: str) -> None:
    """Take some training steps with one clipping."""
    for _ in range(STEPS):
        with clipping_hidden(model, 1e-4 if place == "clip_hidden" else None):
            model(**batch).loss.backward()
        if place == "clip_grad_value":
            nn.utils.clip_grad_value_(model.parameters(), 1e-4)
        if place == "max_grad_norm":
            nn.utils.clip_grad_norm_(model.parameters(), 1e-2)
        optimizer.step()
        optimizer.zero_grad()


def make_batch() -> dict[str, torch.Tensor]:
    """Make texts of 3 to 90 tokens, 45 on average."""
    lengths = torch.distributions.Gamma(4.0, 1 / 12).sample((TEXTS,)).int().clamp(3, 90).long()
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    ids = torch.randint(4, VOCAB_SIZE, mask.shape) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.randint(0, 4, (TEXTS,))}


def measure(cell: str, places: tuple[str, ...], *, has_kernels: bool = True) -> list[dict[str, Any]]:
    """Let the places take turns with no clipping, on one model each."""
    batch, family = make_batch(), FAMILIES[cell]
    rivals: dict[str, Callable[[], Any]] = {}
    for place in (NONE, *places):
        torch.manual_seed(0)
        sizes: dict[str, Any] = {
            "vocab_size": VOCAB_SIZE,
            "embedding_size": WIDTH,
            "hidden_size": WIDTH,
            "num_labels": 4,
        }
        model = family.heads["text-classification"](family.config(**sizes)).train()
        rivals[place] = partial(train, model, torch.optim.AdamW(model.parameters()), batch, place)
    with nullcontext() if has_kernels else patch.object(fused, "kernels", lambda: None):
        taken = take_turns(rivals, ROUNDS if has_kernels else ROUNDS // 2)
    rows = []
    for place in places:
        speeds = [round(STEPS / statistics.median(taken[name]), 1) for name in (place, NONE)]
        told = "" if has_kernels else ", without numba (both)"
        rows.append(
            {
                "claim": f"training with {place}, {cell.upper()}-{WIDTH}, {TEXTS} ragged texts{told}",
                "goal": GOAL if has_kernels else 0.25,
                "ratio": round(median_ratio(taken[NONE], taken[place]), 2),
                "steps_per_cpu_second": speeds[0],
                "peer_steps_per_cpu_second": speeds[1],
            }
        )
    return rows


def main() -> None:
    """Measure all of it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = [row for cell in CELLS for row in measure(cell, PLACES)]
    rows += measure("lstm", ("clip_hidden",), has_kernels=False)
    write_result("clipping", command="python benchmarks/clipping.py", peer=NONE, rows=rows, seed=0)


if __name__ == "__main__":
    main()
