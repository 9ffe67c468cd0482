"""Small pictures of coloured shapes and their captions, drawn by rules of ours: the embedded data of captioning.

    >>> load_shapes()["train"][0]["captions"]
    ['a red circle left of a blue square', 'a blue square right of a red circle']

| column | content |
|---|---|
| `image` | (32, 32, 3) numbers 0 to 255: one or two shapes on a light ground, of changing size, place and shade |
| `captions` | all that may be said of it: one text for one shape; two for two, from either side |
| `novelty` | what training has not shown: `seen` (nothing), `combination` (see below) |

The captions follow the grammar

    picture  -> thing | thing relation thing
    thing    -> "a" colour shape
    relation -> "left of" | "right of" | "above" | "below"

Training knows each colour, each shape and each relation. Six of the thirty pairs of colour and shape it has seen
alone, in pictures of one thing, and never beside another thing: all rows of test have such a pair in a relation, and
no row of validation has. Whoever has learnt by heart what may stand beside what cannot tell them.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from datasets import Array3D, Dataset, DatasetDict, Features, List, Value

SIZE = 32
COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (40, 90, 210),
    "yellow": (235, 205, 40),
    "purple": (140, 60, 180),
    "black": (30, 30, 30),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring")
# Relation -> what it is from the other side, and where the first thing lies, (right, down).
RELATIONS = {
    "left of": ("right of", (-1, 0)),
    "right of": ("left of", (1, 0)),
    "above": ("below", (0, -1)),
    "below": ("above", (0, 1)),
}
# One shape for each colour, so that all colours and all shapes occur among them.
HELD_OUT = frozenset((colour, SHAPES[place % len(SHAPES)]) for place, colour in enumerate(COLOURS))
# Validation chooses the checkpoint, so nothing that test holds back may take part in it.
ROWS = {"seen": {"train": 12_000, "validation": 400}, "combination": {"test": 600}}
_ALONE = 0.4  # of the pictures that training sees
_HELD_OUT_ALONE = 0.5  # of those, as held-out things are shown nowhere else
_REACH = 7  # pixels from the centre of a shape, more than any has
_GROUND = 235
FEATURES = Features(
    {"image": Array3D((SIZE, SIZE, 3), "uint8"), "captions": List(Value("string")), "novelty": Value("string")}
)


class Thing(NamedTuple):
    """A shape of a colour."""

    colour: str
    shape: str

    @property
    def name(self) -> str:
        """How it is called."""
        return f"a {self.colour} {self.shape}"


THINGS = tuple(Thing(colour, shape) for colour in COLOURS for shape in SHAPES)


def load_shapes(seed: int = 0) -> DatasetDict:
    """Draw all pictures: train, validation, and test, with combinations that the others lack."""
    return DatasetDict(_drawn(seed))


@cache
def _drawn(seed: int) -> DatasetDict:
    rng = np.random.default_rng(seed)
    splits: dict[str, list[dict[str, Any]]] = {}
    for novelty, rows in ROWS.items():
        for split, count in rows.items():
            drawn = (_row(novelty, rng) for _ in range(count))
            splits.setdefault(split, []).extend(drawn)
    return DatasetDict({name: Dataset.from_list(rows, features=FEATURES) for name, rows in splits.items()})


def _row(novelty: str, rng: np.random.Generator) -> dict[str, Any]:
    is_new = novelty == "combination"
    if not is_new and rng.random() < _ALONE:
        held_out = sorted(HELD_OUT) if rng.random() < _HELD_OUT_ALONE else THINGS
        things, relation = [Thing(*_one_of(held_out, rng))], None
    else:
        first = _one_of([thing for thing in THINGS if (thing in HELD_OUT) == is_new], rng)
        others = [thing for thing in THINGS if (is_new or thing not in HELD_OUT) and thing != first]
        other = _one_of(others, rng)
        things, relation = [first, other], _one_of(list(RELATIONS), rng)
        if rng.random() < 0.5:
            things.reverse()
    return {"image": draw(things, relation, rng), "captions": captions(things, relation), "novelty": novelty}


def _one_of(values: Any, rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]


def captions(things: list[Thing], relation: str | None = None) -> list[str]:
    """Return all captions of a picture: of two things, from either side."""
    if relation is None:
        return [things[0].name]
    first, second = things
    return [f"{first.name} {relation} {second.name}", f"{second.name} {RELATIONS[relation][0]} {first.name}"]


def draw(things: list[Thing], relation: str | None, rng: np.random.Generator) -> np.ndarray:
    """Return the picture, (32, 32, 3), of things that lie as the relation says; the rest is left to chance."""
    image = np.full((SIZE, SIZE, 3), _GROUND, dtype=np.float64)
    image += rng.normal(0, 4, image.shape)
    for thing, (x, y) in zip(things, _places(relation, rng), strict=True):
        left, top = int(x) - _REACH, int(y) - _REACH  # of a part that holds the whole shape
        part = image[max(top, 0) : top + 2 * _REACH + 1, max(left, 0) : left + 2 * _REACH + 1]
        place = x - max(left, 0), y - max(top, 0)
        inside = _inside(thing.shape, *place, rng.uniform(4.0, 5.5), part.shape[:2])[..., None]
        part += (np.array(COLOURS[thing.colour]) * rng.uniform(0.85, 1.1) - part) * inside
    return np.clip(image, 0, 255).astype(np.uint8)


def _places(relation: str | None, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Choose the centres: far apart on the axis of the relation, near on the other one."""
    edge = 6.5
    if relation is None:
        yield rng.uniform(edge, SIZE - edge, 2)
        return
    axis = np.abs(np.array(RELATIONS[relation][1], dtype=np.float64))
    reach = axis * rng.uniform(12.5, SIZE - 2 * edge - 0.5) + (1 - axis) * rng.uniform(-3, 3)
    middle = rng.uniform(edge + np.abs(reach) / 2, SIZE - edge - np.abs(reach) / 2)
    first = -1 if sum(RELATIONS[relation][1]) < 0 else 1
    yield middle + first * reach / 2
    yield middle - first * reach / 2


def _inside(shape: str, x: float, y: float, radius: float, size: tuple[int, ...]) -> np.ndarray:
    """Return how much of each pixel of a part of this size lies in the shape: 0 to 1, from 3 x 3 points of it."""
    height, width = size
    right = ((np.arange(3 * width) + 0.5) / 3)[None, :] - x
    down = ((np.arange(3 * height) + 0.5) / 3)[:, None] - y
    away = np.hypot(right, down)
    sides = np.maximum(np.abs(right), np.abs(down))
    if shape == "circle":
        found = away <= radius
    elif shape == "square":
        found = sides <= 0.85 * radius
    elif shape == "triangle":
        found = (down <= 0.8 * radius) & (np.abs(right) <= 0.55 * (down + radius))
    elif shape == "cross":
        found = (sides <= radius) & (np.minimum(np.abs(right), np.abs(down)) <= 0.3 * radius)
    else:  # a ring
        found = (away <= radius) & (away >= 0.55 * radius)
    part: np.ndarray = found.reshape(height, 3, width, 3).mean(axis=(1, 3))
    return part
