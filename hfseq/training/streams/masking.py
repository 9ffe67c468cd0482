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

from .windows import IGNORED, TokenText, WindowDataset, Windows

MASKED: Final = 0.8
"""Share of what is asked for that reads `<mask>`."""
REPLACED: Final = 0.1
"""Share that reads another token, so that the model cannot trust what it reads."""


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden.

    Args:
        probability: Share of a window's tokens, special ones left out, that are asked for.
        mask_token_id: What stands in their place.
        words: (n,) the ids that may stand there instead: all but the special ones.
        special: (V,) which ids are not asked for, but in a window that has no other.
    """

    probability: float
    mask_token_id: int
    words: np.ndarray
    special: np.ndarray

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, probability: float) -> "Masking":
        """As this tokenizer needs it: marks of documents, conditions and unknown tokens are special."""
        if tokenizer.mask_token_id is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no mask_token, so nothing can be hidden: hfseq.train_tokenizer makes "
                "tokenizers with one."
            )
        special = np.zeros(len(tokenizer), bool)
        # Those that the tokenizer has unset, for its texts lack them, too.
        special[[index for index, token in tokenizer.added_tokens_decoder.items() if token.special]] = True
        return cls(probability, tokenizer.mask_token_id, np.flatnonzero(~special), special)

    def hide(self, ids: np.ndarray, seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Hide tokens of one window.

        Args:
            ids: (T,) its tokens.
            seed: Of the drawing.

        Returns:
            (T,) what is read, and (T,) the tokens asked for, -100 elsewhere. A window of special tokens alone, of
            which there is hardly any, is asked for one of them, so that no update is empty.
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
    """Windows -> batches with hidden tokens.

    Args:
        text: Where the windows lie.
        masking: How their tokens are hidden.
        pad_token_id: Stands where there is padding.
        seed: Of the drawing, together with the epoch and the window's place.
    """

    def __init__(self, text: TokenText, masking: Masking, pad_token_id: int = 0, *, seed: int = 0) -> None:
        super().__init__(text, pad_token_id)
        self.masking, self.seed = masking, seed

    def __getitems__(self, windows: Windows) -> dict[str, Any]:
        """The whole batch, as DataLoader asks for it.

        Returns:
            `input_ids`, `labels` (-100 where nothing is asked), `attention_mask` (B, T) if there is padding,
            `restart` (B,), and the number `slot`.
        """
        shape = (len(windows.starts), windows.width)
        input_ids, labels = np.full(shape, self.pad_token_id, np.int64), np.full(shape, IGNORED, np.int64)
        for row, (start, length) in enumerate(zip(windows.starts.tolist(), windows.lengths.tolist(), strict=True)):
            ids = self.text.ids[start : start + length].astype(np.int64)
            seed = (self.seed, windows.epoch, start)
            input_ids[row, :length], labels[row, :length] = self.masking.hide(ids, seed)
        batch: dict[str, Any] = {"input_ids": torch.from_numpy(input_ids), "labels": torch.from_numpy(labels)}
        if (windows.lengths < windows.width).any():
            real = np.arange(windows.width) < windows.lengths[:, None]
            batch["attention_mask"] = torch.from_numpy(real).long()
        return {**batch, "restart": torch.from_numpy(windows.restart), "slot": windows.slot}
