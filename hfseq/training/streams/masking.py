"""Masked language modelling: tokens of a window are hidden, and told from both sides (Devlin et al. 2019).

    text      will it rain in Oslo tomorrow
    read      will <mask> rain in the tomorrow        15 % of the words are asked for, one of a window at least:
    asked          it         Oslo                    of those 80 % read <mask>, 10 % another token, 10 % are as before

Words are all tokens but special ones: marks of documents, conditions, and unknown tokens.

What a window hides follows from a seed, the epoch and where the window begins: anew in every epoch, and the same
however an update is dealt to processes and accumulation steps.

Shapes: B rows, T tokens of the longest window.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ...models.base import IGNORED
from .windows import TokenText, WindowDataset, Windows

MASKED: Final = 0.8  # the share of what is asked for that reads `<mask>`
REPLACED: Final = 0.1  # the share that reads another token, so that the model cannot trust what it reads


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden."""

    probability: float  # share of a window's tokens, special ones left out, that are asked for
    mask_token_id: int
    words: np.ndarray  # (n,) the ids that may replace a token: all but the special ones
    special: np.ndarray  # (V,) which ids are not asked for, except in a window that has no other

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, probability: float) -> "Masking":
        """Build it for a tokenizer: marks of documents, conditions and unknown tokens are special."""
        if tokenizer.mask_token_id is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no mask_token: hfseq.train_tokenizer makes one that has."
            )
        special = np.zeros(len(tokenizer), bool)
        # Also those that the tokenizer has unset because its texts lack them.
        special[[index for index, token in tokenizer.added_tokens_decoder.items() if token.special]] = True
        return cls(probability, tokenizer.mask_token_id, np.flatnonzero(~special), special)

    def hide(self, ids: np.ndarray, seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return what is read of one window (T,), and the tokens asked for (T,), -100 elsewhere.

        A window of special tokens alone is asked for one of them, so that no update is empty.
        """
        order, way, other = np.random.default_rng(seed).random((3, len(ids)))
        candidates = ~self.special[ids]
        count = max(round(self.probability * int(candidates.sum())), 1)
        asked = np.argsort(np.where(candidates, order, order + 1))[:count]
        read, labels = ids.copy(), np.full_like(ids, IGNORED)
        labels[asked] = ids[asked]
        way, others = way[asked], self.words[(other[asked] * len(self.words)).astype(np.int64)]
        read[asked] = np.where(way < MASKED, self.mask_token_id, np.where(way < MASKED + REPLACED, others, ids[asked]))
        return read, labels


class MaskedWindowDataset(WindowDataset):
    """Windows -> batches with hidden tokens, which are drawn from the seed, the epoch and the window's place."""

    def __init__(self, text: TokenText, masking: Masking, pad_token_id: int = 0, *, seed: int = 0) -> None:
        super().__init__(text, pad_token_id)
        self.masking, self.seed = masking, seed

    def _tokens(self, windows: Windows, real: torch.Tensor) -> dict[str, Any]:
        shape = tuple(real.shape)
        input_ids, labels = np.full(shape, self.pad_token_id, np.int64), np.full(shape, IGNORED, np.int64)
        for row, (start, length) in enumerate(zip(windows.starts.tolist(), windows.lengths.tolist(), strict=True)):
            ids = self.text.ids[start : start + length].astype(np.int64)
            seed = (self.seed, windows.epoch, start)
            input_ids[row, :length], labels[row, :length] = self.masking.hide(ids, seed)
        return {"input_ids": torch.from_numpy(input_ids), "labels": torch.from_numpy(labels)}
