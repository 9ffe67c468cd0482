"""A small grammar engine: one derivation, read off as English, as a sentiment tree, as German and as urgency.

A `Rule` is a pair of templates that mean the same:

    Rule("turn off the [{blame} {device}] in the {room}", "schalte {device.acc+blame} {room.in} aus")

English: `{slot}` is filled by a `Value` (a word of the lexicon) or by another rule; `[...]` makes a constituent of
the parse tree, everything else branches to the right. German: `{device.acc}` asks for a case with its article,
`{room.in}` for "in the ...", `{device.acc+blame}` puts an inflected adjective between article and noun.

Sentiment is -2 ... 2 at every node (printed as 0 ... 4), and only two children and their words decide it:

    not, never + X             the sign flips and the strength becomes mild:  not great = -1, not [very bad] = +1
    very, really ... + X       one step away from neutral:                   very good = +2, really [not good] = -2
    slightly, somewhat ... + X one step towards neutral:                     slightly awful = -1, slightly bad = 0
    X [but Y]                  Y:                                            good [but slow] = -1
    X Y                        the sum, kept within -2 ... 2:                awful lamp = -2

Words inside a slot that is tagged (names of songs, people, ...) are neutral, whatever they say.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeAlias, TypeVar, Union

Choice = TypeVar("Choice")

POLARITY = {
    **dict.fromkeys(("great", "wonderful", "perfect", "excellent", "love"), 2),
    **dict.fromkeys(("good", "nice", "pleasant", "decent", "enjoy", "admire"), 1),
    **dict.fromkeys(("bad", "boring", "annoying", "slow", "dislike", "regret"), -1),
    **dict.fromkeys(("terrible", "awful", "horrible", "disgusting", "hate"), -2),
}
ROLES = {
    **dict.fromkeys(("not", "never"), "negate"),
    **dict.fromkeys(("very", "really", "extremely"), "intensify"),
    **dict.fromkeys(("slightly", "somewhat", "fairly"), "diminish"),
    "but": "but",  # makes the branch it opens a "contrast"
}
OUTSIDE = "O"

WORD = r"\w+(?:[.,:'-]\w+)*|[^\w\s]"
PIECE = r"\{\w+\}|" + WORD  # "[" and "]" are single pieces as well
GERMAN_SLOT = r"\{(\w+)(?:\.(\w+))?(?:\+(\w+))?\}"
ARTICLES = {
    "nom": {"m": "der", "f": "die", "n": "das"},
    "acc": {"m": "den", "f": "die", "n": "das"},
    "dat": {"m": "dem", "f": "der", "n": "dem"},
    "in": {"m": "im", "f": "in der", "n": "im"},
}


@dataclass(frozen=True, eq=False)  # two entries of the lexicon are never the same value
class Value:
    """A word or name of the lexicon, in both languages."""

    en: str
    de: str  # without article: nominative and accusative
    dative: str = ""  # where it differs ("mir")
    gender: str = ""  # "m", "f" or "n" of a noun which takes an article; empty for a name
    urgency: float = 0.0  # what the value adds to that of the utterance
    tagged: bool = True  # whether it is a slot for the tagger; else it is part of the wording
    held_out: bool = False  # whether training must never see it

    def german(self, case: str = "", adjective: str = "") -> str:
        """Inflect the value: article and adjective agree with the noun in gender and case."""
        word = self.dative if case == "dat" and self.dative else self.de
        if not self.gender or not case:
            return word
        if adjective:
            ending = "e" if case == "nom" or (case == "acc" and self.gender != "m") else "en"
            word = f"{adjective}{ending} {word}"
        return f"{ARTICLES[case][self.gender]} {word}"


@dataclass(frozen=True)
class Rule:
    """An English template, its German twin, and what the wording adds to the urgency."""

    en: str
    de: str
    urgency: float = 0.0

    def __post_init__(self) -> None:
        asked = {name for slot, _, adjective in re.findall(GERMAN_SLOT, self.de) for name in (slot, adjective)}
        if unknown := sorted(asked - {*self.slots, ""}):
            raise ValueError(f"The German {self.de!r} asks for {unknown}, which the English {self.en!r} lacks.")

    @property
    def slots(self) -> list[str]:
        """Names of the slots in English order."""
        return re.findall(r"\{(\w+)\}", self.en)


Filler: TypeAlias = Union[Value, "Derivation"]


@dataclass(frozen=True)
class Derivation:
    """A rule whose slots are filled: the meaning from which all columns are read off."""

    rule: Rule
    fillers: Mapping[str, Filler] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A leaf (one word) or a branch (two children) of the binary tree."""

    polarity: int
    word: str = ""
    tag: str = OUTSIDE
    role: str = ""
    children: tuple["Node", ...] = ()

    def leaves(self) -> Iterator["Node"]:
        """Yield the leaves from left to right."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    def capitalised(self) -> "Node":
        """Return the tree with a capital at the start of its first word."""
        if not self.children:
            return replace(self, word=self.word[0].upper() + self.word[1:])
        return replace(self, children=(self.children[0].capitalised(), *self.children[1:]))

    def brackets(self) -> str:
        """Write the tree in PTB brackets, with 0 (very negative) to 4 (very positive) at every node."""
        inside = " ".join(child.brackets() for child in self.children) or self.word
        return f"({self.polarity + 2} {inside})"


def leaf(word: str, tag: str = OUTSIDE) -> Node:
    """Make a leaf; a word inside a slot carries neither sentiment nor a role."""
    if tag != OUTSIDE:
        return Node(0, word, tag)
    return Node(POLARITY.get(word.lower(), 0), word, role=ROLES.get(word.lower(), ""))


def compose(left: Node, right: Node) -> int:
    """Return the polarity of two neighbours, by the table at the top of this file."""
    sign = (right.polarity > 0) - (right.polarity < 0)
    if left.role == "negate":
        return -sign
    if left.role == "diminish":
        return right.polarity - sign
    if right.role == "contrast":
        return right.polarity
    return max(-2, min(2, right.polarity + (sign if left.role == "intensify" else left.polarity)))


def branch(nodes: Sequence[Node]) -> Node:
    """Join nodes to one binary tree that branches to the right."""
    *rest, tree = nodes
    for node in reversed(rest):
        role = "contrast" if node.role == "but" else ""
        tree = Node(compose(node, tree), role=role, children=(node, tree))
    return tree


def english(derivation: Derivation) -> Node:
    """Read the derivation off as an English tree whose leaves carry the words and IOB2 tags."""
    return _constituent(iter(re.findall(PIECE, derivation.rule.en)), derivation.fillers)


def _constituent(pieces: Iterator[str], fillers: Mapping[str, Filler]) -> Node:
    nodes = []
    for piece in pieces:
        if piece == "]":
            break
        if piece == "[":
            nodes.append(_constituent(pieces, fillers))
        elif piece.startswith("{"):
            nodes.append(_filled(piece[1:-1], fillers))
        else:
            nodes.append(leaf(piece))
    return branch(nodes)


def _filled(slot: str, fillers: Mapping[str, Filler]) -> Node:
    filler = fillers[slot]
    if isinstance(filler, Derivation):
        return english(filler)
    words = re.findall(WORD, filler.en)
    tags = [f"{'I' if i else 'B'}-{slot_type(slot)}" if filler.tagged else OUTSIDE for i in range(len(words))]
    return branch(list(map(leaf, words, tags)))


def german(derivation: Derivation) -> str:
    """Read the derivation off as German, without final mark or capital."""

    def fill(match: re.Match[str]) -> str:
        slot, case, adjective = match.groups()
        filler = derivation.fillers[slot]
        if isinstance(filler, Derivation):
            return german(filler)
        stem = derivation.fillers[adjective] if adjective else None
        return filler.german(case or "", stem.de if isinstance(stem, Value) else "")

    return re.sub(GERMAN_SLOT, fill, derivation.rule.de)


def urgency(derivation: Derivation) -> float:
    """Add up the cues of urgency of all rules and values of the derivation."""
    cues = [urgency(part) if isinstance(part, Derivation) else part.urgency for part in derivation.fillers.values()]
    return derivation.rule.urgency + sum(cues)


def slot_type(slot: str) -> str:
    """Return the type of a slot: `contact2` is the second `contact` of its template."""
    return slot.rstrip("0123456789")


@dataclass(frozen=True)
class Grammar:
    """What may fill a slot: the values of a lexicon, or rules with slots of their own."""

    values: Mapping[str, Sequence[Value]]
    phrases: Mapping[str, Sequence[Rule]]

    def fill(self, rule: Rule, rng: Random, **given: Filler) -> Derivation:
        """Fill the slots of a rule at random, but for those that are `given`; no value is used twice by one rule."""
        fillers = dict(given)
        for slot in rule.slots:
            kind = slot_type(slot)
            if slot in fillers:
                continue
            if kind in self.phrases:
                fillers[slot] = self.fill(pick(self.phrases[kind], rng), rng)
            elif kind in self.values:
                fillers[slot] = pick([value for value in self.values[kind] if value not in fillers.values()], rng)
            else:
                raise ValueError(f"The grammar has no slot type {kind!r}; add it to its values or its phrases.")
        return Derivation(rule, fillers)


def pick(choices: Sequence[Choice], rng: Random) -> Choice:
    """Pick one; `Random.random` is the only method whose numbers Python promises never to change."""
    return choices[int(rng.random() * len(choices))]
