"""The wide part of a classifier: a weight for each word and n-gram of a text and each label (Cheng et al. 2016).

    logits += sum over features f of a text of w_f u_f / sqrt(sum of w_f^2)      w_f: inverse document frequency

The features are the tokens, and the runs of 2 to n tokens, which share `buckets` rows by a hash, as in a bag. What a
regression learns from a few thousand texts, this part learns beside the network, which is left with the rest. Its
weights begin at 0: a new model answers as one without it.

Shapes: B batch, T time, F features of all texts, R rows (tokens, then buckets), L labels.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from ..base import mask_of_inputs
from ..ragged import place_owners
from ..words.bag_ngrams import TokenOptions, TokenTables, id_hashes, token_features


class WideNgrams(nn.Module):
    """(B, T) token ids -> (B, L) logits.

    Args:
        vocab_size: Number of token ids.
        longest: Tokens of the longest run.
        buckets: Rows that runs of two tokens and more share.
        num_labels: L.
    """

    def __init__(self, *, vocab_size: int, longest: int, buckets: int, num_labels: int) -> None:
        super().__init__()
        buckets = buckets if longest > 1 else 0
        self.options = TokenOptions(vocab_size, longest, buckets)
        self.weight = nn.Parameter(torch.zeros(vocab_size + buckets, num_labels))
        self.row_weights: torch.Tensor
        self.register_buffer("row_weights", torch.ones(vocab_size + buckets))
        # Not a buffer: it follows from the sizes, and a model that is built without memory must have it as well.
        self._tables = TokenTables(id_hashes(vocab_size), None, None, np.zeros(0, dtype=np.int32))

    def start(self) -> None:
        """Give weights that a checkpoint lacks the values of a new model."""
        init.zeros_(self.weight)
        init.ones_(self.row_weights)

    def features(self, ids: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """List where the features of each text begin, (B + 1,), and their rows, (F,), see `token_features`."""
        return token_features(ids, lengths, self._tables, self.options)

    @torch.no_grad()
    def set_frequencies(self, frequencies: np.ndarray, texts: int) -> None:
        """Weigh features by log((1 + texts) / (1 + texts with it)) + 1; one that no text has weighs nothing.

        Args:
            frequencies: (R,), how many of the training texts have each.
            texts: How many there are.
        """
        weights = np.where(frequencies > 0, np.log((1 + texts) / (1 + frequencies)) + 1, 0)
        self.row_weights.copy_(torch.from_numpy(weights))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Score the labels of texts; 0 for a text without a token."""
        batch, steps = input_ids.shape
        if attention_mask is None:
            is_real = np.ones((batch, steps), dtype=bool)
        else:
            is_real = mask_of_inputs(attention_mask, batch, steps).bool().numpy(force=True)
        begins, found = self.features(input_ids.numpy(force=True)[is_real].astype(np.int64), is_real.sum(1))
        rows = torch.from_numpy(found).to(self.weight.device)
        starts = torch.from_numpy(begins[:-1].astype(np.int64)).to(self.weight.device)
        counting = self.row_weights[rows]
        squares = counting.new_zeros(batch).index_add(0, place_owners(starts, len(rows)), counting.square())
        sums = F.embedding_bag(rows, self.weight, starts, mode="sum", per_sample_weights=counting)
        return sums / squares.sqrt().clamp(min=torch.finfo(sums.dtype).tiny)[:, None]
