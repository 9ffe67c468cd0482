"""How well a masked language model tells what is hidden: loss, perplexity and accuracy over the hidden tokens.

    nats a token = sum over hidden tokens of -log P(token | what the window shows) / their number

What is hidden is drawn from a seed of its own: the same tokens are asked of every model with these tokens and windows,
whatever the batches. The numbers are not those of a causal model: both sides of a token are seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from transformers import PreTrainedModel

from ...evaluation.language import evaluating, exp_or_inf
from ...models.base import IGNORED
from ...progress import progress_bar
from .masking import MaskedWindowDataset, Masking
from .windows import OrderedCutter, TokenText

EVALUATION_SEED: Final = 0  # of what an evaluation hides
_ROWS: Final = 32


@dataclass(frozen=True, kw_only=True)
class MaskedScores:
    """What was asked, and what was right."""

    nats: float  # the sum of -log P over the hidden tokens
    hits: int  # how many of them the model held for the likeliest
    num_tokens: int

    @property
    def loss(self) -> float:
        """The mean of -log P over the hidden tokens, in nats."""
        return self.nats / self.num_tokens

    @property
    def perplexity(self) -> float:
        """exp(loss): a choice among so many equally likely tokens would be as hard."""
        return exp_or_inf(self.loss)

    @property
    def accuracy(self) -> float:
        """The share of hidden tokens that the model held for the likeliest."""
        return self.hits / self.num_tokens


def _batches(text: TokenText, masking: Masking, window: int, pad: int | None = None) -> Iterator[dict[str, Any]]:
    dataset = MaskedWindowDataset(text, masking, pad or 0, seed=EVALUATION_SEED)
    cutter = OrderedCutter(text, _ROWS, window, reads_last=True)
    return map(dataset.__getitems__, progress_bar("Scoring", cutter.updates(0), total=len(cutter), unit="batch"))


@torch.no_grad()
def masked_sums(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Return (3,) the sum of -log P of a batch's hidden tokens, how many there are, and how many were guessed."""
    labels = batch["labels"]
    asked = labels != IGNORED
    logits = model(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")).logits
    logits, labels = logits[asked].float(), labels[asked]
    nats = torch.nn.functional.cross_entropy(logits, labels, reduction="none").double().sum()
    return torch.stack([nats, asked.sum().double(), (logits.argmax(-1) == labels).sum().double()])


def score_masked(model: PreTrainedModel, text: TokenText, masking: Masking, *, window: int) -> MaskedScores:
    """Ask any masked language model, which gets its mode back, for tokens of a text."""
    sums = torch.zeros(3, dtype=torch.float64)
    with evaluating(model):
        for batch in _batches(text, masking, window, model.config.pad_token_id):
            there = {name: batch[name].to(model.device) for name in batch if name not in ("restart", "slot")}
            sums += masked_sums(model, there).cpu()
    nats, tokens, hits = sums.tolist()
    return MaskedScores(nats=nats, hits=int(hits), num_tokens=int(tokens))


def score_guess(guess: np.ndarray, text: TokenText, masking: Masking, *, window: int) -> MaskedScores:
    """Score the same guess (V,) for every token that `score_masked` asks for: what counting alone can do."""
    labels = (batch["labels"].numpy() for batch in _batches(text, masking, window))
    asked = np.concatenate([rows[rows != IGNORED] for rows in labels])
    return MaskedScores(
        nats=-float(np.log(guess[asked]).sum()), hits=int((asked == guess.argmax()).sum()), num_tokens=len(asked)
    )
