"""Phrases of sentiment that no training tree of the embedded data holds: each word is known, their combination is new.

    never somewhat awful      (3 (2 never) (1 (2 somewhat) (0 awful)))

All combinations of a negation, an adverb of degree and an adjective are made, `negated` (not good), `graded` (very
good), `negated_graded` (not [very good]) and `graded_negated` (very [not good]), with the labels of the same rules as
the sentences of `load_embedded`; those that are in its training split are left out. Training shows `never` with no
degree and a degree before `not` with "really" alone, so that most of the long ones need a rule, and not a memory.
"""

from itertools import product

from datasets import ClassLabel, Dataset, Features, Value

from ...tokenization.brackets import read_brackets
from .grammar import ROLES, Node, branch, leaf
from .lexicon import VALUES
from .load import SENTIMENTS, load_embedded

FEATURES = Features(
    {
        "tree": Value("string"),
        "text": Value("string"),
        "sentiment": ClassLabel(names=SENTIMENTS),
        "kind": Value("string"),
    }
)


def load_compositions(seed: int = 0) -> Dataset:
    """Return the phrases that the training split of `load_embedded(seed)` does not hold."""
    seen = {phrase for tree in load_embedded(seed)["train"]["tree"] for phrase in _phrases(tree)}
    rows = []
    for kind, node in _combinations():
        text = " ".join(leaf.word for leaf in node.leaves())
        if text not in seen:
            sentiment = SENTIMENTS[node.polarity + 2]
            rows.append({"tree": node.brackets(), "text": text, "sentiment": sentiment, "kind": kind})
    return Dataset.from_list(rows, features=FEATURES)


def _phrases(tree: str) -> list[str]:
    """Return the words below each node of a tree, in lower case."""
    read = read_brackets(tree)
    words = [word.lower() for word in read.sentence]
    return [" ".join(words[start:end]) for start, end in read.spans()]


def _combinations() -> list[tuple[str, Node]]:
    negations = [leaf(word) for word, role in ROLES.items() if role == "negate"]
    degrees = [leaf(word) for word, role in ROLES.items() if role in ("intensify", "diminish")]
    adjectives = [leaf(value.en) for kind in ("praise", "blame") for value in VALUES[kind]]
    negated = list(map(branch, product(negations, adjectives)))
    graded = list(map(branch, product(degrees, adjectives)))
    return [
        *(("negated", node) for node in negated),
        *(("graded", node) for node in graded),
        *(("negated_graded", branch(pair)) for pair in product(negations, graded)),
        *(("graded_negated", branch(pair)) for pair in product(degrees, negated)),
    ]
