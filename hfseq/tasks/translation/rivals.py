"""The simplest systems beside a model that writes a text from a text, on the same rows of the same run.

copy            the source as it is: what a translation is worth that changes nothing
word by word    each word becomes the likeliest word of the target, in the order of the source; the probabilities
t(f | e) are those of IBM model 1 (Brown et al. 1993), learnt from the pairs by EM:

c(f, e) = sum over pairs, f in target, e in source or empty:  t(f | e) / sum_e' t(f | e')
t(f | e) = c(f, e) / sum_f' c(f', e)

nearest         the target of the training source that is nearest in words (cosine of TF-IDF)
"""

from collections.abc import Sequence

import numpy as np
import regex
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer

from ...cards.facts import Comparison
from ...data.parallel import SOURCE, TARGET
from ...evaluation.translation import METRICS, translation_scores
from ...progress import progress_bar
from ...recipe.publish import rival
from .card import NEAREST, WORD_BY_WORD

# Not \w, which lacks the vowel signs of Devanagari and its relatives: each would cut a word in two.
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}_]+(?:[-'’][\p{L}\p{M}\p{N}_]+)*|[^\p{L}\p{M}\p{N}_\s]")
_MOST_PAIRS = 100_000  # of which the systems learn; more take minutes
_STEPS = 8  # of EM
_AT_ONCE = 256  # texts that are compared with all sources
_EMPTY = 0  # the empty word of each source, of which words come that no other word explains


def rivals(train: Dataset, rows: Dataset, *, copies_source: bool) -> list[Comparison]:
    """Let each system answer all rows; an autoencoder is none that a copy could be compared with."""
    learnt = train.select(range(min(train.num_rows, _MOST_PAIRS)))
    sources, targets = learnt[SOURCE][:], learnt[TARGET][:]
    asked, wanted = rows[SOURCE][:], rows[TARGET][:]
    answers = (
        {} if copies_source else {"Copy of the source": asked, WORD_BY_WORD: word_by_word(sources, targets, asked)}
    )
    answers[NEAREST] = nearest(sources, targets, asked)
    scores = {name: translation_scores(wanted, written) for name, written in answers.items()}
    return [row for name, metrics in scores.items() for row in rival(name, {key: metrics[key] for key in METRICS})]


def word_by_word(sources: Sequence[str], targets: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Write for each word the likeliest word of the target; an unknown word stays as it is."""
    words, written = _Numbers(), _Numbers()
    both = zip(sources, targets, strict=True)
    pairs = [(words.ids(source.lower()), written.ids(target)) for source, target in both]
    best = _likeliest(pairs, len(words))
    names = list(written)
    meanings = {word: names[best[number]] for number, word in enumerate(words) if best[number] >= 0}
    found = []
    for text in asked:
        line = " ".join(meanings.get(word.lower(), word) for word in _WORD.findall(text))
        line = regex.sub(r" (?=[.,:;!?।])", "", line)
        found.append(line[:1].upper() + line[1:])
    return found


class _Numbers(dict[str, int]):
    """The number of each word, in the order in which words come; 0 is the empty word."""

    def __init__(self) -> None:
        super().__init__({"": _EMPTY})

    def ids(self, text: str) -> list[int]:
        return [self.setdefault(word, len(self)) for word in dict.fromkeys(_WORD.findall(text))]


def _likeliest(pairs: Sequence[tuple[list[int], list[int]]], count: int) -> np.ndarray:
    """Learn t(f | e), and return the likeliest f of each e; -1 where e was never seen."""
    # A link is a word f of a target with a word e of its source; `place` is where f stands among all targets.
    links, places, start = [], [], 0
    width = 1 + max(max(target, default=0) for _, target in pairs)
    for source, target in pairs:
        own = np.array([_EMPTY, *source])[:, None] * width + np.array(target)
        links.append(own.ravel())
        places.append(np.tile(start + np.arange(len(target)), len(own)))
        start += len(target)
    place = np.concatenate(places)
    both, kind = np.unique(np.concatenate(links), return_inverse=True)
    e, f = both // width, both % width
    share = np.ones(len(both))
    for _ in progress_bar("Learning words", range(_STEPS), unit="step"):
        belief = share[kind]
        belief /= np.bincount(place, belief)[place]
        counts = np.bincount(kind, belief, minlength=len(share))
        share = counts / np.bincount(e, counts, minlength=count)[e]
    best = np.full(count, -1)
    order = np.argsort(share, kind="stable")
    best[e[order]] = f[order]  # of one e the last, which is the likeliest
    return best


def nearest(sources: Sequence[str], targets: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Write the target of the training source that is nearest."""
    table = TfidfVectorizer(tokenizer=_WORD.findall, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True)
    known = table.fit_transform(sources).T.tocsr()
    found: list[str] = []
    for start in progress_bar("Finding nearest sources", range(0, len(asked), _AT_ONCE), unit="batch"):
        near = table.transform(asked[start : start + _AT_ONCE]) @ known
        found += [targets[row] for row in np.asarray(near.argmax(axis=1)).ravel()]
    return found
