"""What is known of a word before anything is learnt: its spelling, its ends, its shape, and its neighbours.

    emissions_t = sum over places o = -2 .. 2, sum over features f of word t + o of  w[hash(f, o)]

These are the features that taggers had before networks (Ratnaparkhi 1996; Lafferty et al. 2001): the word as it is
written and in lower case, its shape, `Xx` for `Oslo` and `X.X.` for `U.S.`, and its last and first letters, which
count of the word itself alone. Each feature has a row of L numbers for each place that a neighbour may have. A hash
says which row, so that no list of features is kept. Beyond a text stands a sign of its own. Rows begin at 0: a new
model answers as one without them.

A word that comes several times in a batch is hashed and summed once, for each place; what follows is a look-up.

Shapes: B batch, T time, N distinct words of a batch (the first is none), C characters of the longest, K features of a
word, O places, F features of a word at all places, L labels.
"""

from itertools import accumulate
from typing import Final

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from .base import is_loaded
from .inputs import can_be_checked
from .token_words import DIGIT, LOWER, UPPER, Words, WordsPart, WordTables, check_fit
from .words.tables import FNV_OFFSET, FNV_PRIME

FARTHEST: Final = 2  # words from a word to its farthest neighbour that counts
PLACES: Final = 2 * FARTHEST + 1  # O
LONGEST_END: Final = 4  # characters
MOST_BUCKETS: Final = 1 << 27
FEATURES: Final = 3 + 2 * LONGEST_END  # K
# Of a neighbour, the ends cost more than they tell: on 300 sentences of UD EWT 2 points of accuracy.
OF_NEIGHBOUR: Final = 3
SIZES: Final = tuple(FEATURES if place == FARTHEST else OF_NEIGHBOUR for place in range(PLACES))
"""How many features count at each place; F is their sum."""

_OFFSET, _PRIME, _BITS = int(FNV_OFFSET), int(FNV_PRIME), 0xFFFFFFFF
# Below 2^31, so that no product leaves the 64 bits which every machine multiplies alike.
_FOLD: Final = 0x45D9F3B


def hashed(values: torch.Tensor, symbols: torch.Tensor | int) -> torch.Tensor:
    """Take one more symbol into each hash: FNV-1a of 32 bits, in the integers of 64 that torch has on every device."""
    return ((values ^ symbols) * _PRIME) & _BITS


def word_hashes(words: Words, lower: torch.Tensor) -> torch.Tensor:
    """Return the hashes of the features of words, (N, K).

    Args:
        words: Of a batch.
        lower: (characters), the lower case of each.
    """
    spelled, lowered = words.characters, lower[words.characters].long()
    has_class = (words.classes == UPPER) | (words.classes == LOWER) | (words.classes == DIGIT)
    # Of letters and digits the class, which is no character: those have numbers from 1 on.
    shape = torch.where(has_class, _BITS - words.classes.long(), spelled)
    is_there = spelled != 0
    # Of a run of the same in a shape only one counts: `Xx` for every name, however long.
    repeated = F.pad(shape[:, 1:] == shape[:, :-1], (1, 0), value=False)
    counts = torch.stack((is_there, is_there, is_there & ~repeated))
    # 1. From the first character to the last, all three at once; on the way, the first letters.
    symbols = torch.stack((spelled, lowered, shape))
    values, begins = torch.full_like(symbols[..., 0], _OFFSET), []
    for place in range(symbols.shape[-1]):
        values = torch.where(counts[..., place], hashed(values, symbols[..., place]), values)
        if place < LONGEST_END:
            begins.append(values[1])
    begins += [values[1]] * (LONGEST_END - len(begins))
    # 2. From the last character back, as far as endings go. A shorter word is its own ending.
    length, ending, ends = is_there.sum(1), torch.full_like(values[0], _OFFSET), []
    for size in range(1, LONGEST_END + 1):
        last = lowered.gather(1, (length - size).clamp(min=0)[:, None]).squeeze(1)
        ending = torch.where(length >= size, hashed(ending, last), ending)
        ends.append(ending)
    # 3. What says which feature it is: `a` as a word, as an ending, ...
    found = torch.stack((*values, *ends, *begins), dim=-1)
    return hashed(found, torch.arange(FEATURES, device=found.device))


class WordFeatures(WordsPart):
    """Words of a batch -> (B, T, L) emissions.

    Args:
        buckets: Rows that features share.
        num_characters: Number of different characters, with 0 for none, as in `TokenWords`.
        num_labels: L.
    """

    lower: torch.Tensor

    def __init__(self, *, buckets: int, num_characters: int, num_labels: int) -> None:
        super().__init__()
        self.buckets = buckets
        self.weight = nn.Parameter(torch.zeros(buckets, num_labels))
        self.register_buffer("lower", torch.zeros(num_characters, dtype=torch.int32))

    @torch.no_grad()
    def reset(self) -> None:
        """Give what a checkpoint lacks the values of a new model."""
        init.zeros_(self.weight)
        if not is_loaded(self.lower):
            init.zeros_(self.lower)

    @torch.no_grad()
    def fill(self, tables: WordTables) -> None:
        """Copy what each character is in lower case."""
        check_fit("lower", self.lower, tables.lower)
        self.lower.copy_(tables.lower)

    def rows(self, words: Words) -> torch.Tensor:
        """Return the rows of the features of each distinct word at all places, (N, F); word 0 is beyond a text."""
        if can_be_checked(self.lower) and len(self.lower) > 1 and not self.lower[-1]:
            raise ValueError(
                "The features of words know no lower case yet: call model.fill_words(word_tables(tokenizer)) with the "
                "tokenizer that its config was made for, or load a trained model."
            )
        own = word_hashes(words, self.lower)
        # As if it were written with a character that no word has.
        own[0] = hashed(hashed(torch.full_like(own[0], _OFFSET), _BITS), torch.arange(FEATURES, device=own.device))
        found = torch.cat([hashed(own[:, :size], place) for place, size in enumerate(SIZES)], dim=1)
        # The last bits of FNV know the last bits alone of what was hashed, and they choose the row: mix all in.
        mixed = ((found ^ (found >> 16)) * _FOLD) & _BITS
        return (mixed ^ (mixed >> 16)) % self.buckets

    def forward(self, words: Words) -> torch.Tensor:
        """Add up what a word and its neighbours say; 0 for a token of no word."""
        return spread(row_sums(self.rows(words), self.weight), neighbours(words))


def row_sums(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return what each word says at each place, (N, O, L), by its rows (N, F) of the weights."""
    begins = torch.tensor([0, *accumulate(SIZES[:-1])], device=rows.device)
    words = torch.arange(len(rows), device=rows.device) * rows.shape[1]
    bags = (words[:, None] + begins).flatten()
    return F.embedding_bag(rows.flatten(), weight, bags, mode="sum").view(len(rows), PLACES, -1)


def neighbours(words: Words) -> torch.Tensor:
    """Return which word stands at each place around each token's word, (B, T, O): 0 beyond the text.

    A token of no word has -1 everywhere.
    """
    steps = words.starts.shape[1]
    number = words.starts.cumsum(1) - 1  # of the word that a token belongs to, in its text
    # A text as its words, with room around it; what is no first token goes to a column that is cut off.
    column = torch.where(words.starts, number + FARTHEST, steps + 2 * FARTHEST)
    text = F.pad(torch.zeros_like(words.word_of), (0, 2 * FARTHEST + 1)).scatter(1, column, words.word_of)
    around = text[:, :-1].unfold(1, PLACES, 1)  # (B, T, O), a row for each word
    found = around.gather(1, number.clamp(min=0)[..., None].expand(-1, -1, PLACES))
    in_words = words.starts | ((words.word_of > 0) & ~words.steps)
    return found.masked_fill(~in_words[..., None], -1)


def spread(scores: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """Add up the scores (N, O, L) of the words `near` (B, T, O) each token: (B, T, L)."""
    count, places, labels = scores.shape
    index = near * places + torch.arange(places, device=near.device)
    # One row more, of nothing, for tokens of no word.
    index = torch.where(near >= 0, index, count * places)
    table = F.pad(scores.flatten(0, 1), (0, 0, 0, 1))
    return F.embedding_bag(index.flatten(0, 1), table, mode="sum").view(*near.shape[:2], labels)
