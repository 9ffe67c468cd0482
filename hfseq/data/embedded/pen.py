"""Drawings by a pen that follows rules: circles, zigzags, letters of line segments, from one seed, with a noisy hand.

    >>> load_pen_drawings()["train"][0].keys()
    dict_keys(['drawing', 'kind'])

A drawing is a row of points (dx, dy, pen): how far the pen moves, to the right and downward as on a screen, and 1
where it is lifted behind the point. Each has a size, a slant, a turn and a trembling of its own.
"""

import copy
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

ROWS = {"train": 1600, "validation": 200, "test": 200}
_STEP = 0.22  # of the width of a letter, between two points
_SIZES = (30.0, 45.0)
_SLANT, _TURN, _STRETCH, _TREMBLING, _SHIFT = 0.15, 0.1, 0.12, 0.012, 0.04
_FEATURES_OF_POINT = List(List(Value("float32")))

# The strokes of each letter, in a box of width and height 1 with its origin at the upper left.
_LETTERS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "A": (((0.0, 1.0), (0.5, 0.0), (1.0, 1.0)), ((0.2, 0.6), (0.8, 0.6))),
    "E": (((0.8, 0.0), (0.0, 0.0), (0.0, 1.0), (0.8, 1.0)), ((0.0, 0.5), (0.6, 0.5))),
    "L": (((0.0, 0.0), (0.0, 1.0), (0.7, 1.0)),),
    "N": (((0.0, 1.0), (0.0, 0.0), (0.8, 1.0), (0.8, 0.0)),),
    "T": (((0.0, 0.0), (1.0, 0.0)), ((0.5, 0.0), (0.5, 1.0))),
    "V": (((0.0, 0.0), (0.5, 1.0), (1.0, 0.0)),),
    "square": (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)),),
}

Stroke = np.ndarray
"""(points, 2) places."""


def load_pen_drawings(seed: int = 0) -> DatasetDict:
    """Draw train, validation and test: a seed gives the same rows; kinds of a split differ by one drawing at most."""
    return DatasetDict({name: copy.copy(rows) for name, rows in _drawn(seed).items()})  # formats are set in place


@lru_cache(maxsize=2)
def _drawn(seed: int) -> dict[str, Dataset]:
    rng, kinds = np.random.default_rng(seed), sorted(KINDS)
    features = Features({"drawing": _FEATURES_OF_POINT, "kind": ClassLabel(names=kinds)})
    found = {}
    for split, count in ROWS.items():
        order = rng.permutation(count) % len(kinds)
        rows = [{"drawing": draw(kinds[place], rng), "kind": kinds[place]} for place in order]
        found[split] = Dataset.from_list(rows, features)
    return found


def draw(kind: str, rng: np.random.Generator) -> list[list[float]]:
    """Draw one figure of a kind, as points (dx, dy, pen)."""
    strokes = [_by_hand(stroke, rng) for stroke in KINDS[kind](rng)]
    places = np.concatenate(strokes) @ _hand(rng)
    moves = np.diff(places, axis=0, prepend=places[:1])
    lifted = np.zeros(len(places))
    lifted[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
    return [[round(float(dx), 2), round(float(dy), 2), float(up)] for (dx, dy), up in zip(moves, lifted, strict=True)]


def _hand(rng: np.random.Generator) -> np.ndarray:
    """Return (2, 2): size, stretch, slant and turn of one drawing."""
    turn = rng.normal(0, _TURN)
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    slanted = np.array([[1 + rng.normal(0, _STRETCH), 0.0], [-rng.normal(0, _SLANT), 1.0]])
    return rng.uniform(*_SIZES) * slanted @ turned


def _by_hand(corners: Stroke, rng: np.random.Generator) -> Stroke:
    """Move the corners a little, walk along them in even steps, and let the hand tremble."""
    corners = corners + rng.normal(0, _SHIFT, 2) + rng.normal(0, _SHIFT / 2, corners.shape)
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    walked = np.concatenate(([0.0], np.cumsum(lengths)))
    # Every corner is a point, as a pen that turns slows down.
    sides = zip(walked[:-1], walked[1:], strict=True)
    steps = [np.linspace(a, b, max(1, round((b - a) / _STEP)), endpoint=False) for a, b in sides]
    places = np.concatenate([*steps, walked[-1:]])
    even = np.stack([np.interp(places, walked, axis) for axis in corners.T], axis=1)
    return even + rng.normal(0, _TREMBLING, even.shape)


def _circle(rng: np.random.Generator) -> list[Stroke]:
    start, way = rng.normal(-np.pi / 2, 0.3), rng.choice([-1, 1])  # from the top, either way
    angles = start + way * np.linspace(0, 2 * np.pi + rng.normal(0.1, 0.1), 18)
    return [0.5 + 0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)]


def _zigzag(rng: np.random.Generator) -> list[Stroke]:
    teeth = int(rng.integers(3, 6))
    return [np.array([[0.35 * place, 0.5 * (place % 2)] for place in range(2 * teeth)])]


def _letter(name: str) -> Callable[[np.random.Generator], list[Stroke]]:
    return lambda rng: [np.array(stroke) for stroke in _LETTERS[name]]


KINDS: dict[str, Callable[[np.random.Generator], list[Stroke]]] = {
    **{name: _letter(name) for name in _LETTERS},
    "circle": _circle,
    "zigzag": _zigzag,
}
"""Each kind of figure -> its strokes before a hand draws them."""
