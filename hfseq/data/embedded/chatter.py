"""Embedded texts that are no request: what an assistant should not take for one of its intents.

    >>> load_chatter()["test"][0]["tokens"]
    ['why', 'do', 'frogs', 'sing', 'at', 'night', '?']

Stories, riddles and sums; some share words with the requests of the embedded data ("the alarm of the neighbours"), so
that a known word alone is no sign of a request. They are for measuring, never for training: there is no train split,
and validation and test have other templates.
"""

import re
from random import Random

from datasets import Dataset, DatasetDict

from .grammar import WORD, pick

ROWS = 300
"""Of each split."""

_WORDS = {
    "animal": ["cat", "dog", "frog", "heron", "horse", "owl", "sheep", "snail", "spider", "whale"],
    "animals": ["bees", "cats", "crows", "frogs", "geese", "moths", "otters", "owls", "snails", "whales"],
    "did": ["hid", "painted", "carried", "forgot", "mended", "stole", "counted", "buried", "polished", "sold"],
    "thing": ["ladder", "anchor", "basket", "candle", "drum", "feather", "hammer", "lantern", "mirror", "saddle"],
    "place": ["barn", "bridge", "cellar", "forest", "garden", "harbour", "island", "meadow", "tower", "valley"],
    "person": ["baker", "farmer", "judge", "miller", "nurse", "pilot", "poet", "sailor", "tailor", "widow"],
    "colour": ["amber", "black", "blue", "brown", "green", "grey", "orange", "purple", "red", "white"],
    "feeling": ["afraid", "ashamed", "bored", "glad", "jealous", "lonely", "proud", "sleepy", "tired", "worried"],
    "number": ["two", "three", "four", "five", "six", "seven", "eight", "nine", "eleven", "twelve"],
    "season": ["spring", "summer", "autumn", "winter"],
}
_TEMPLATES = {
    "validation": (
        "the {animal} {did} a {thing} in the {place}.",
        "all {season} the {person} was {feeling} of the {colour} {animal}.",
        "how do {animals} sleep in {season}?",
        "{number} and {number} make {number}, said the {person}.",
        "the alarm of the {person} rang all {season}.",
        "nobody in the {place} remembers the {colour} {thing}.",
        "a {person} and a {animal} went into a {place}.",
        "{animals} are never {feeling}.",
    ),
    "test": (
        "why do {animals} sing at night?",
        "once upon a time a {colour} {animal} lived in a {place}.",
        "my grandmother {did} {number} {colour} {thing}s.",
        "the {person} who {did} the {thing} is {feeling} today.",
        "do {animals} dream of the {place}?",
        "it rained on the {place} and the {animal} was {feeling}.",
        "the lamp in the {place} belongs to a {person}.",
        "no {person} is as {feeling} as a {animal} in {season}.",
    ),
}


def load_chatter(seed: int = 0) -> DatasetDict:
    """Generate validation and test: columns `text` and `tokens`, no two texts the same."""
    rng = Random(seed)
    return DatasetDict({split: _rows(templates, rng) for split, templates in _TEMPLATES.items()})


def _rows(templates: tuple[str, ...], rng: Random) -> Dataset:
    texts: dict[str, None] = {}
    while len(texts) < ROWS:
        text = re.sub(r"\{(\w+)\}", lambda slot: pick(_WORDS[slot[1]], rng), pick(templates, rng))
        texts[text] = None
    return Dataset.from_dict({"text": list(texts), "tokens": [re.findall(WORD, text) for text in texts]})
