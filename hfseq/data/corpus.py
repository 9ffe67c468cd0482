"""Corpora for word vectors: any text becomes a vocabulary and one file of word ids, in constant memory.

What a source may be, see `raw_corpus.py`. The training reads the file of ids memory-mapped. A line is a sentence: no
window reaches over its end.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from transformers import PreTrainedTokenizerFast
from typing_extensions import Unpack

from ..models.words.word2vec import SPECIAL_TOKENS
from ..tokenization import Split, vocabulary_tokenizer
from ..tokenization.texts import check_keywords
from .phrases import Phrases
from .raw_corpus import ID, IDS, RawCorpus, ReadingOptions, Source, read_raw

END_ID = -1  # in the file of ids: a sentence ends
_GONE = -2


@dataclass(frozen=True)
class WordCorpus:
    """A vocabulary and a corpus of its words, for `Word2VecTrainer`.

    Attributes:
        words: Most frequent first; of equally frequent ones the first seen.
        ids: int32, memory-mapped: a word is 2 + its place in `words`, -1 ends a sentence; rarer words are left out.
        raw_words: How many were read, `raw_types` distinct ones.
    """

    words: list[str]
    counts: np.ndarray
    ids: np.ndarray
    raw_words: int
    raw_types: int
    split: Split
    lowercase: bool
    folder: tempfile.TemporaryDirectory = field(repr=False)

    @classmethod
    def read(
        cls,
        source: Source,
        *,
        min_count: int | Callable[[int], int] = 5,
        max_words: int | None = None,
        phrases: Phrases | None = None,
        **reading: Unpack[ReadingOptions],
    ) -> "WordCorpus":
        """Read a source once: a text file, a dataset, or an iterable of texts or of lists of words.

        Args:
            min_count: Rarer words are left out; a function tells it from the number of words that were read.
            max_words: Keep the most frequent so many.
            **reading: How texts become words: `split`, `lowercase`, `text_column`, `cache_dir`; see `ReadingOptions`.
        """
        check_keywords(cls.read, reading, ReadingOptions)
        if (not callable(min_count) and min_count < 1) or (max_words is not None and max_words < 1):
            raise ValueError(f"min_count={min_count} and max_words={max_words} must be 1 or more")
        if phrases is not None and not isinstance(phrases, Phrases):
            raise TypeError(f"phrases={phrases!r}: give what Phrases.learn returns")
        raw = read_raw(source, **reading)
        raw_words, raw_types = int(raw.counts[1:].sum()), len(raw.words) - 1
        if phrases is not None:
            raw = phrases.merge(raw)
        kept = _kept(raw, min_count(raw_words) if callable(min_count) else min_count, max_words)
        ranks = np.full(len(raw.words), _GONE, dtype=np.int32)
        ranks[kept] = np.arange(len(kept)) + len(SPECIAL_TOKENS)
        ranks[0] = END_ID
        raw.rewrite(ids[ids != _GONE] for ids in (ranks[block] for block in raw.blocks()))
        ids = np.memmap(raw.path, dtype=ID, mode="r")
        _check_neighbours(ids)
        words = [raw.words[index] for index in kept]
        return cls(words, raw.counts[kept], ids, raw_words, raw_types, raw.split, raw.lowercase, raw.folder)

    @property
    def vocab_size(self) -> int:
        """Count the words and the special tokens, as a `Word2VecConfig` of this corpus needs them."""
        return len(self.words) + len(SPECIAL_TOKENS)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Make the tokenizer whose ids are this corpus's."""
        return vocabulary_tokenizer(self.words, split=self.split, lowercase=self.lowercase)

    def __len__(self) -> int:
        """Count the ids in the file, ends of sentences among them."""
        return len(self.ids)


def _check_neighbours(ids: np.ndarray) -> None:
    for start in range(0, len(ids), IDS):
        block = ids[start : start + IDS + 1]
        if ((block[:-1] != END_ID) & (block[1:] != END_ID)).any():
            return
    cure = "Is each word a text of its own? Give texts, or lists of words; or lower min_count."
    raise ValueError(f"No sentence has two words that are kept, so there is nothing to learn from. {cure}")


def _kept(raw: RawCorpus, min_count: int, max_words: int | None) -> np.ndarray:
    counts = raw.counts.copy()
    counts[[0, *(index for index, word in enumerate(raw.words) if word in SPECIAL_TOKENS)]] = 0  # these are no words
    order = np.argsort(-counts, kind="stable")
    kept = order[counts[order] >= min_count][:max_words]
    if len(kept) < 2:
        found = f"{len(raw.words) - 1} distinct words, the most frequent {int(counts.max())} times"
        cure = "Two or more are needed: lower min_count, or check that the source holds texts cut into words."
        raise ValueError(f"min_count={min_count} leaves {len(kept)} words of a corpus of {found}. {cure}")
    return kept
