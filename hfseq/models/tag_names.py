"""What the name of a tag says: where in an entity its word stands, and which tag may follow which.

Tags are IOB2, IOBES or BILOU: a prefix and the entity's kind; O is outside.

    B-city I-city O        IOB2: an entity begins with B and goes on with I
    B-city E-city S-day    IOBES: it ends with E; S is an entity of one word
    B-city L-city U-day    BILOU: the same with the letters L and U
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

OUTSIDE: Final = "O"
OPEN: Final = ("B", "I")  # after which an entity may go on
GOING_ON: Final = ("I", "E", "L")  # what goes on with an entity
_CLOSING = ("E", "L")
_TAG = re.compile(r"([BIESLU])-(.+)", re.DOTALL)


def tag_parts(tag: str) -> tuple[str, str]:
    """Split a tag into prefix and kind, two empty texts for all that is none."""
    match = _TAG.fullmatch(tag)
    return ("", "") if match is None else (match[1], match[2])


def tell_entities(names: Iterable[str]) -> bool:
    """Tell whether these names mark entities: all but O have a prefix and a kind, and one begins or goes on."""
    prefixes = {tag_parts(name)[0] for name in names if name != OUTSIDE}
    return "" not in prefixes and not prefixes.isdisjoint(OPEN)


class LegalPaths(NamedTuple):
    """Which tags may begin a text, follow one another, and end it; by their places in the list of names."""

    begins: list[bool]
    follows: list[list[bool]]  # follows[i][j]: j may stand behind i
    ends: list[bool]


def legal_paths(names: Sequence[str]) -> LegalPaths:
    """Return the rules that follow from the names; where they tell no entities, everything is allowed.

    I-X, E-X and L-X go on with an entity of X, so B-X or I-X stands before them. An entity of X must be ended where
    there is an E-X or L-X. Where no tag begins an X (there is I-X alone), any tag may stand before I-X.
    """
    size = range(len(names))
    if not tell_entities(names):
        return LegalPaths([True for _ in size], [[True for _ in size] for _ in size], [True for _ in size])
    parts = [tag_parts(name) for name in names]
    begun = {kind for prefix, kind in parts if prefix == "B"}
    closed = begun & {kind for prefix, kind in parts if prefix in _CLOSING}
    # Whether a tag needs its entity before it, and whether it needs it behind it.
    goes_on = [prefix in GOING_ON and kind in begun for prefix, kind in parts]
    stays_open = [prefix in OPEN and kind in closed for prefix, kind in parts]
    is_one_entity = [
        [parts[i][0] in OPEN and parts[j][0] in GOING_ON and parts[i][1] == parts[j][1] for j in size] for i in size
    ]
    follows = [[is_one_entity[i][j] or not (stays_open[i] or goes_on[j]) for j in size] for i in size]
    return LegalPaths([not each for each in goes_on], follows, [not each for each in stays_open])


def tags_inside(names: Sequence[str]) -> dict[int, int]:
    """Map the place of each B-X to that of I-X, where there is one: the tag of what goes on with the same word."""
    places = {name: place for place, name in enumerate(names)}
    inside = {places[name]: places.get(f"I-{name[2:]}") for name in names if tag_parts(name)[0] == "B"}
    return {begin: place for begin, place in inside.items() if place is not None} if tell_entities(names) else {}


__all__ = ["OUTSIDE", "LegalPaths", "legal_paths", "tag_parts", "tags_inside", "tell_entities"]
