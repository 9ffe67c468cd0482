"""How well a masked language model tells what is hidden: loss, perplexity and accuracy over the hidden tokens.

    nats a token = sum over hidden tokens of -log P(token | what the window shows) / their number

The text is read in windows, each once, and what they hide is drawn from one seed that has nothing to do with training
(`EVALUATION_SEED`): the same tokens are asked of every model with these tokens and windows, whatever the batches.
These numbers are not those of a causal model: both sides of a token are seen, and most of its neighbours.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from transformers import PreTrainedModel

from ...evaluation.language import evaluating
from .masking import MaskedWindowDataset, Masking
from .windows import IGNORED, OrderedCutter, TokenText

EVALUATION_SEED: Final = 0
"""Of what an evaluation hides."""
_ROWS: Final = 32


@dataclass(frozen=True, kw_only=True)
class MaskedScores:
    """What was asked, and what was right.

    Args:
        nats: The sum of -log P over the hidden tokens.
        hits: How many of them the model held for the likeliest.
        num_tokens: How many were hidden.
    """

    nats: float
    hits: int
    num_tokens: int

    @property
    def loss(self) -> float:
        """Nats a hidden token."""
        return self.nats / self.num_tokens

    @property
    def perplexity(self) -> float:
        """exp(loss): a choice among so many equally likely tokens would be as hard."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def accuracy(self) -> float:
        """Share of hidden tokens that the model held for the likeliest."""
        return self.hits / self.num_tokens


def hidden_windows(text: TokenText, masking: Masking, pad_token_id: int | None) -> MaskedWindowDataset:
    """The windows of an evaluation: what they hide is drawn from `EVALUATION_SEED`."""
    return MaskedWindowDataset(text, masking, pad_token_id or 0, seed=EVALUATION_SEED)


@torch.no_grad()
def masked_sums(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """(3,) the sum of -log P of a batch's hidden tokens, how many there are, and how many were guessed."""
    labels = batch["labels"]
    asked = labels != IGNORED
    logits = model(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")).logits
    logits, labels = logits[asked].float(), labels[asked]
    nats = torch.nn.functional.cross_entropy(logits, labels, reduction="none").double().sum()
    return torch.stack([nats, asked.sum().double(), (logits.argmax(-1) == labels).sum().double()])


def score_masked(model: PreTrainedModel, text: TokenText, masking: Masking, *, window: int) -> MaskedScores:
    """Ask a masked language model for tokens of a text.

    Args:
        model: Any masked language model; it gets its mode back.
        text: The tokens.
        masking: How tokens are hidden.
        window: Tokens that are read at once, as in training.
    """
    dataset, sums = hidden_windows(text, masking, model.config.pad_token_id), torch.zeros(3, dtype=torch.float64)
    with evaluating(model):
        for windows in OrderedCutter(text, _ROWS, window, reads_last=True).updates(0):
            batch = dataset.__getitems__(windows)
            there = {name: batch[name].to(model.device) for name in batch if name not in ("restart", "slot")}
            sums += masked_sums(model, there).cpu()
    nats, tokens, hits = sums.tolist()
    return MaskedScores(nats=nats, hits=int(hits), num_tokens=int(tokens))


def score_guess(guess: np.ndarray, text: TokenText, masking: Masking, *, window: int) -> MaskedScores:
    """Score the same guess for every token that `score_masked` asks for: what counting alone can do.

    Args:
        guess: (V,) probabilities of the tokens.
        text: See `score_masked`.
        masking: See `score_masked`.
        window: See `score_masked`.
    """
    dataset = hidden_windows(text, masking, None)
    cutter = OrderedCutter(text, _ROWS, window, reads_last=True)
    batches = (dataset.__getitems__(windows)["labels"].numpy() for windows in cutter.updates(0))
    asked = np.concatenate([labels[labels != IGNORED] for labels in batches])
    return MaskedScores(
        nats=-float(np.log(guess[asked]).sum()), hits=int((asked == guess.argmax()).sum()), num_tokens=len(asked)
    )
