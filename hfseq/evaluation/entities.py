"""Entities in rows of tags: which words belong together, and how many of them were found.

    >>> entities(["B-city", "I-city", "O", "B-day"])
    [Entity(kind='city', start=0, end=2), Entity(kind='day', start=3, end=4)]

Tags are IOB1, IOB2, IOBES or BILOU: a prefix that tells where in its entity a word stands, and the entity's kind; O is
outside. Rows that break these rules are read as conlleval, the script of the CoNLL tasks, reads them: an I- after O
begins an entity, and so does any change of kind.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..models.tag_names import GOING_ON, OPEN, OUTSIDE, tag_parts
from ..models.tag_names import tell_entities as tell_entities  # asked for where entities are

Tags = Sequence[str]


class Entity(NamedTuple):
    """Words `start` to `end`, without the word at `end`."""

    kind: str
    start: int
    end: int


class Found(NamedTuple):
    """How many were expected, predicted, and both."""

    expected: int
    predicted: int
    right: int

    @property
    def precision(self) -> float:
        """The share of the predicted ones that are right; 0 of none."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of the expected ones that were found; 0 of none."""
        return self.right / self.expected if self.expected else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        both = self.expected + self.predicted
        return 2 * self.right / both if both else 0.0


def strays(names: Iterable[str]) -> list[str]:
    """List the names that are neither O nor a prefix and a kind."""
    return [name for name in names if name != OUTSIDE and not tag_parts(name)[0]]


def entities(tags: Tags) -> list[Entity]:
    """Read the entities of one row, in order."""
    found: list[Entity] = []
    kind, start, before = "", 0, ""
    for index, tag in enumerate([*tags, OUTSIDE]):
        prefix, own = tag_parts(tag)
        goes_on = before in OPEN and own == kind and prefix in GOING_ON
        if kind and not goes_on:
            found.append(Entity(kind, start, index))
        if not goes_on:
            kind, start = own, index
        before = prefix
    return found


def in_iob2(tags: Tags) -> list[str]:
    """Write the entities of one row anew: B- at the first word of each, I- at the others."""
    written = [OUTSIDE] * len(tags)
    for kind, start, end in entities(tags):
        written[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return written


def kinds(names: Iterable[str]) -> list[str]:
    """List the kinds of entities in these names of tags, each once, in order."""
    return list(dict.fromkeys(tag_parts(name)[1] for name in names if name != OUTSIDE))


def found_entities(expected: Sequence[Tags], predicted: Sequence[Tags]) -> dict[str, Found]:
    """Count the entities of each kind; one is right when its kind and both its ends are."""
    true, told = (
        {(row, *entity) for row, tags in enumerate(rows) for entity in entities(tags)}
        for rows in (expected, predicted)
    )
    return _found(*(Counter(kind for _, kind, *_ in each) for each in (true, told, true & told)))


def found_tags(expected: Sequence[Tags], predicted: Sequence[Tags]) -> dict[str, Found]:
    """Count the words of each tag."""
    rows = zip(expected, predicted, strict=True)
    pairs = [pair for row in rows for pair in zip(*row, strict=True)]
    right = Counter(tag for tag, answer in pairs if tag == answer)
    return _found(Counter(tag for tag, _ in pairs), Counter(answer for _, answer in pairs), right)


def all_found(found: Iterable[Found]) -> Found:
    """Sum the counts of all kinds."""
    return Found(*map(sum, zip(Found(0, 0, 0), *found, strict=True)))


def _found(expected: Counter[str], predicted: Counter[str], right: Counter[str]) -> dict[str, Found]:
    names = sorted(expected.keys() | predicted.keys(), key=lambda name: (-expected[name], name))
    return {name: Found(expected[name], predicted[name], right[name]) for name in names}
