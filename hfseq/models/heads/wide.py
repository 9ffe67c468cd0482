"""The wide part of a classifier: a weight for each word and n-gram of a text and each label (Cheng et al. 2016).

    logits += sum over features f of a text of w_f u_f / sqrt(sum of w_f^2)      w_f: inverse document frequency

The features are the tokens, and the runs of 2 to n tokens, which share `buckets` rows by a hash, as in a bag. What a
regression learns from a few thousand texts, this part learns beside the network, which is left with the rest. Its
weights begin at 0: a new model answers as one without it.

Of two texts that are read apart (`pairs.py`), it also tells how alike they are: the cosine of their features, with the
same w_f, once for tokens and once for runs. A small network does not learn that from a few thousand pairs.

Shapes: B batch, T time, F features of all texts, R rows (tokens, then buckets), L labels.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from ..inputs import mask_of_inputs
from ..ragged import place_owners
from ..words.bag_ngrams import TokenOptions, TokenTables, id_hashes, token_features

_SCALE = 10.0
"""Of a cosine: one weight has to do what thousands do elsewhere, with steps of the same size."""


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
        starts, rows = self._found(input_ids, attention_mask)
        counting = self.row_weights[rows]
        squares = counting.new_zeros(len(starts)).index_add(0, place_owners(starts, len(rows)), counting.square())
        sums = F.embedding_bag(rows, self.weight, starts, mode="sum", per_sample_weights=counting)
        return sums / squares.sqrt().clamp(min=torch.finfo(sums.dtype).tiny)[:, None]

    def _found(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """List where the features of each text begin, (B,), and their rows, (F,)."""
        batch, steps = input_ids.shape
        if attention_mask is None:
            is_real = np.ones((batch, steps), dtype=bool)
        else:
            is_real = mask_of_inputs(attention_mask, batch, steps).bool().numpy(force=True)
        begins, found = self.features(input_ids.numpy(force=True)[is_real].astype(np.int64), is_real.sum(1))
        places = begins[:-1].astype(np.int64), found.astype(np.int64)
        starts, rows = (torch.from_numpy(each).to(self.weight.device) for each in places)
        return starts, rows

    def cosines(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Map (2 B, T), first texts and then second ones, to the cosines (B, 2) of tokens and of runs.

        The cosine is 0 where one of the two has no feature.
        """
        starts, rows = self._found(input_ids, attention_mask)
        owners, pairs, size = place_owners(starts, len(rows)), len(starts) // 2, len(self.row_weights)
        # A row for each feature of a pair, whichever of the two texts has it.
        keys, places = torch.unique(owners % pairs * size + rows, return_inverse=True)
        values = self.row_weights.new_zeros(2, len(keys))
        values = values.index_put((owners // pairs, places), self.row_weights[rows], accumulate=True)
        products = torch.stack((values.prod(0), values[0].square(), values[1].square()), dim=-1)
        kinds = keys // size * 2 + (keys % size >= self.options.words).long()  # a place for each pair and kind
        both, *own = products.new_zeros(2 * pairs, 3).index_add(0, kinds, products).view(pairs, 2, 3).unbind(-1)
        # Roots first: the product of squares is more than half precision holds.
        return both / (own[0].sqrt() * own[1].sqrt()).clamp(min=torch.finfo(both.dtype).tiny)


class WideLikeness(nn.Module):
    """(2 B, T) -> (B, L): what it says of each label that two texts have the same tokens, and the same runs.

    Args:
        num_labels: L.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_labels, 2))

    def start(self) -> None:
        """Give weights that a checkpoint lacks the values of a new model."""
        init.zeros_(self.weight)

    def forward(self, wide: WideNgrams, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Score the labels of pairs, first texts and then second ones, by the features of `wide`."""
        return F.linear(_SCALE * wide.cosines(input_ids, attention_mask), self.weight)
