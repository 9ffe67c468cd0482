"""Pairs of words that occur together more often than chance: "new york" becomes the one word "new_york".

    phrases = Phrases.learn("corpus.txt")
    corpus = WordCorpus.read("corpus.txt", phrases=phrases)

Learn again with the first as `phrases` to find longer ones. Scores and defaults are gensim's. All distinct pairs of
the corpus are counted, in 16 bytes of memory each.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from typing_extensions import Unpack

from ..models.packed_files import open_text
from ..tokenization.texts import check_keywords
from .raw_corpus import RawCorpus, ReadingOptions, Source, read_raw

Scoring = Literal["default", "npmi"]
_Counts: TypeAlias = tuple[np.ndarray, np.ndarray]  # sorted distinct keys, how often each occurs


@dataclass(frozen=True)
class Phrases:
    """Pairs of words, each with its score; those in `before`, on top of which these were learnt, are merged first."""

    scores: dict[tuple[str, str], float]
    delimiter: str = "_"
    before: "Phrases | None" = None

    @classmethod
    def learn(
        cls,
        source: Source,
        *,
        min_count: int = 5,
        threshold: float = 10.0,
        scoring: Scoring = "default",
        delimiter: str = "_",
        phrases: "Phrases | None" = None,
        **reading: Unpack[ReadingOptions],
    ) -> "Phrases":
        """Find the pairs of a source (see `WordCorpus.read`) that occur `min_count` times and score above `threshold`.

            default   (count(a b) - min_count) / count(a) / count(b) * number of distinct words and pairs
            npmi      log(p(a b) / p(a) / p(b)) / -log p(a b), from -1 to 1

        `phrases` are merged first; `reading` tells how texts become words, see `ReadingOptions`.
        """
        check_keywords(cls.learn, reading, ReadingOptions)
        if scoring not in ("default", "npmi"):
            raise ValueError(f"scoring={scoring!r} is not one of 'default', 'npmi'")
        if min_count < 1 or (scoring == "npmi" and not -1 <= threshold <= 1):
            raise ValueError(f"min_count={min_count} must be 1 or more, threshold={threshold} from -1 to 1 for npmi")
        raw = read_raw(source, **reading)
        if phrases is not None:
            raw = phrases.merge(raw)
        keys, together = _count_pairs(raw)
        first, second = raw.counts[keys >> 32], raw.counts[keys & 0xFFFFFFFF]
        if scoring == "default":
            scores = (together - min_count) / first / second * (len(raw.words) - 1 + len(keys))
        else:
            total = raw.counts[1:].sum()
            with np.errstate(divide="ignore", invalid="ignore"):  # a corpus of one pair alone: log 1 = 0
                scores = np.log(together * total / first / second) / -np.log(together / total)
        good = (scores > threshold) & (np.minimum(np.minimum(first, second), together) >= min_count)
        found = zip(keys[good], scores[good].tolist(), strict=True)
        names = {(raw.words[key >> 32], raw.words[key & 0xFFFFFFFF]): score for key, score in found}
        return cls(names, delimiter, phrases)

    def __getitem__(self, words: Iterable[str]) -> list[str]:
        """Merge the phrases of one sentence, from left to right."""
        merged: list[str] = []
        is_free = False  # to be the first of a pair
        for word in words if self.before is None else self.before[words]:
            is_second = is_free and (merged[-1], word) in self.scores
            if is_second:
                merged[-1] += self.delimiter + word
            else:
                merged.append(word)
            is_free = not is_second
        return merged

    def merge(self, raw: RawCorpus) -> RawCorpus:
        """Merge the phrases of a corpus; its file takes the place of the other's."""
        if self.before is not None:
            raw = self.before.merge(raw)
        ids = {word: index for index, word in enumerate(raw.words)}
        pairs: dict[int, int] = {}
        for a, b in self.scores:
            if a in ids and b in ids:
                pairs[ids[a] << 32 | ids[b]] = ids.setdefault(a + self.delimiter + b, len(ids))
        words = list(ids)
        keys = np.array(sorted(pairs), dtype=np.int64)
        targets = np.array([pairs[key] for key in keys.tolist()], dtype=np.int32)
        counts = np.zeros(len(words), dtype=np.int64)

        def pieces() -> Iterator[np.ndarray]:
            held = np.zeros(0, dtype=np.int32)
            for block in raw.blocks():
                piece, is_free = _merged(np.concatenate([held, block]), keys, targets)
                # The last word may be the first of a pair whose second begins the next block.
                cut = len(piece) - int(is_free)
                held, piece = piece[cut:], piece[:cut]
                counts[:] += np.bincount(piece, minlength=len(words))
                yield piece
            counts[:] += np.bincount(held, minlength=len(words))
            yield held

        raw.rewrite(pieces())
        return replace(raw, words=words, counts=counts)

    def save(self, path: str | Path) -> None:
        """Write JSON."""

        def content(phrases: Phrases) -> dict:
            pairs = [[*pair, score] for pair, score in phrases.scores.items()]
            return {"delimiter": phrases.delimiter, "pairs": pairs, "before": phrases.before}

        Path(path).write_text(json.dumps(self, default=content, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Phrases":
        """Read what `save` wrote."""
        try:
            with open_text(path) as file:
                return cls._built(json.load(file))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is no file of phrases: save them again. {error!r}") from error

    @classmethod
    def _built(cls, content: dict) -> "Phrases":
        scores = {(a, b): float(score) for a, b, score in content["pairs"]}
        before = None if content["before"] is None else cls._built(content["before"])
        return cls(scores, content["delimiter"], before)


def _pair_keys(block: np.ndarray) -> np.ndarray:
    """Write each word with its successor as one number, -1 where a sentence ends between or beside them."""
    first, second = block[:-1].astype(np.int64), block[1:].astype(np.int64)
    return np.where((first > 0) & (second > 0), first << 32 | second, -1)


def _count_pairs(raw: RawCorpus) -> _Counts:
    none = np.zeros(0, dtype=np.int64)
    total = waiting = none, none
    last = np.zeros(1, dtype=np.int32)
    for block in raw.blocks():
        keys = _pair_keys(np.concatenate([last, block]))
        last = block[-1:]
        waiting = _added(waiting, np.unique(keys[keys >= 0], return_counts=True))
        if len(waiting[0]) >= len(total[0]):  # each key is sorted anew as often as the total doubles, no more
            total, waiting = _added(total, waiting), (none, none)
    return _added(total, waiting)


def _added(one: _Counts, other: _Counts) -> _Counts:
    keys, place = np.unique(np.concatenate([one[0], other[0]]), return_inverse=True)
    counts = np.bincount(place, weights=np.concatenate([one[1], other[1]]), minlength=len(keys))
    return keys, counts.astype(np.int64)


def _merged(block: np.ndarray, keys: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, bool]:
    """Merge pairs from left to right, and tell whether the last word is still free to be the first of one."""
    if len(keys) == 0 or len(block) < 2:
        return block, bool(len(keys) and len(block) and block[-1] != 0)
    pairs = _pair_keys(block)
    place = np.minimum(np.searchsorted(keys, pairs), len(keys) - 1)
    is_pair = keys[place] == pairs
    index = np.arange(len(pairs))
    run_start = np.maximum.accumulate(np.where(is_pair & ~np.concatenate([[False], is_pair[:-1]]), index, 0))
    taken = is_pair & ((index - run_start) % 2 == 0)
    merged = block.copy()
    merged[:-1][taken] = targets[place[taken]]
    keep = np.ones(len(block), dtype=np.bool_)
    keep[1:][taken] = False
    return merged[keep], bool(keep[-1] and block[-1] != 0)
