"""The picture of a tree with a label at each node, and its lines for a terminal.

    found = pipeline("tree-sentiment", model="user/trees")("(3 (2 It) (4 works))")
    tree(found, path="tree.svg")
    print(tree_text(found))

Labels are in the order of their numbers, as from very negative to very positive: the first one is red, the last one
blue, and the middle grey. A colour is the paler the less sure the model is. Nothing here recurses.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...tokenization.brackets import read_brackets
from ...tokenization.tree import Tree, bottom_up
from .figures import FRAME, GREY, check_path, drawn, need_matplotlib, new_figure, words_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCALE: Final = 5  # classes of brackets whose labels are 0 to 4
_WIDEST, _HIGHEST = 40.0, 30.0  # inches; a larger tree has smaller nodes
_SLOT, _LETTER, _LEVEL = 0.4, 0.1, 0.5  # inches: of a word at least, of a letter, of a level
_FONT, _READABLE = 9.0, 2.0  # points; smaller letters are left out
_INDENT: Final = 3
_NARROWEST: Final = 20


@dataclass(frozen=True)
class _Labelled:
    """A tree, the label and the score of each node, and all labels in their order."""

    tree: Tree
    labels: list[str]
    scores: list[float | None]  # None: nobody said how sure
    classes: list[str]

    @property
    def colours(self) -> np.ndarray:
        """Return (nodes, 3): the colour of each label, the paler the smaller its score."""
        places = {name: index for index, name in enumerate(self.classes)}
        strength = np.array([1.0 if score is None else score for score in self.scores])[:, None]
        own = np.array([colour_of(places[label], len(self.classes)) for label in self.labels])
        return 1 - strength * (1 - own)


def colour_of(index: int, count: int) -> tuple[float, float, float]:
    """Return red, green and blue of a label among so many: from red over grey to blue."""
    place = 0.5 if count < 2 else index / (count - 1)
    ends = ((0.84, 0.24, 0.20), (0.85, 0.85, 0.85), (0.20, 0.45, 0.78))
    first, second = (ends[0], ends[1]) if place <= 0.5 else (ends[1], ends[2])
    share = 2 * place if place <= 0.5 else 2 * place - 1
    red, green, blue = ((1 - share) * one + share * other for one, other in zip(first, second, strict=True))
    return red, green, blue


def tree(
    found: Mapping[str, Any] | str, *, path: str | os.PathLike[str] | None = None, title: str | None = None
) -> "Figure":
    """Draw a tree: a circle for each node in the colour of its label, with the label's number, and words below.

    Args:
        found: What `pipeline("tree-sentiment")` answers to a text, or a tree in brackets.
        path: A .png, .svg or .pdf file to draw into. In an .svg words stay text, so that a browser writes any script
            with its own fonts; the other two need a font of that script here.
        title: What stands above the picture.
    """
    if path is not None:
        check_path(path, (".png", ".svg", ".pdf"))
    labelled = _read(found)
    need_matplotlib("A tree is")
    return drawn(lambda: _draw(labelled, title), path, "install a font such as Noto Sans CJK, or draw into an .svg")


def tree_text(found: Mapping[str, Any] | str, *, width: int = 100) -> str:
    """Write a tree in lines, one a node: its label, its score, and its part of the text.

    Args:
        found: What `pipeline("tree-sentiment")` answers to a text, or a tree in brackets.
        width: Most characters of a line. What lies too deep to be indented is told by its depth.
    """
    if width < _NARROWEST:
        raise ValueError(f"width={width} is too narrow for a tree: give {_NARROWEST} or more.")
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in _lines(_read(found), width))


def _read(found: Mapping[str, Any] | str) -> _Labelled:
    if isinstance(found, str):
        return _in_brackets(read_brackets(found))
    if not isinstance(found, Mapping) or not {"tree", "classes"} <= found.keys():
        raise TypeError(
            f"A tree is what pipeline('tree-sentiment') answers to one text, or a text in brackets; got {found!r:.80}."
        )
    nodes: Sequence[Mapping[str, Any]] = found["tree"]
    if not nodes:
        raise ValueError("The tree has no node: the text is empty, so there is nothing to draw.")
    parents = tuple(0 if node["parent"] is None else node["parent"] + 1 for node in nodes)
    own = Tree(tuple(node["word"] for node in nodes), parents)
    return _Labelled(own, [node["label"] for node in nodes], [node["score"] for node in nodes], list(found["classes"]))


def _in_brackets(own: Tree) -> _Labelled:
    names = sorted(set(own.labels))
    if all(name.isdecimal() for name in names):
        names = [str(number) for number in range(max(_SCALE, *(int(name) + 1 for name in names)))]
    return _Labelled(own, list(own.labels), [None] * len(own), names)


def _depths(own: Tree) -> list[int]:
    depths = [0] * len(own)
    for node in reversed(bottom_up(own.parents)):
        if own.parents[node]:
            depths[node] = depths[own.parents[node] - 1] + 1
    return depths


def _lines(labelled: _Labelled, width: int) -> Iterator[str]:
    """Yield the line of each node, its children below it."""
    own, spans = labelled.tree, labelled.tree.spans()
    children, sentence = own.children(), own.sentence
    deepest = width // (2 * _INDENT)
    waiting = [(root, 0, "", "") for root in reversed(own.roots)]
    while waiting:
        node, depth, before, indent = waiting.pop()
        score = labelled.scores[node]
        word, (start, end) = own.words[node], spans[node]
        told = word if word is not None and children[node] else " ".join(sentence[start:end])
        yield f"{before}{labelled.labels[node]}{'' if score is None else f' {score:.2f}'}  {told}"
        below = sorted(children[node], key=spans.__getitem__)
        for place, child in reversed(list(enumerate(below))):
            if depth + 1 > deepest:
                waiting.append((child, depth + 1, f"{indent}({depth + 1}) ", indent))
                continue
            is_last = place == len(below) - 1
            mark, rest = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
            waiting.append((child, depth + 1, indent + mark, indent + rest))


def _places(own: Tree) -> np.ndarray:
    """Return (nodes,) from left to right: a word stands in its slot, a node without one above its children."""
    slots = iter(range(len(own)))
    places = np.array([next(slots) if word is not None else -1.0 for word in own.words], dtype=float)
    children = own.children()
    for node in bottom_up(own.parents):
        if own.words[node] is None:
            places[node] = places[children[node]].mean()
    return places


def _draw(labelled: _Labelled, title: str | None) -> "Figure":
    from matplotlib.collections import LineCollection

    own = labelled.tree
    across, down = _places(own), -np.array(_depths(own), dtype=float)
    words = [word for word in own.words if word is not None]
    slot = max(_SLOT, _LETTER * max(map(len, words)))
    wanted = slot * (len(words) + 1), _LEVEL * (2 - down.min())
    width, height = min(wanted[0], _WIDEST), min(wanted[1], _HIGHEST)
    scale = min(width / wanted[0], height / wanted[1])
    figure = new_figure(max(width, 3.0), height + 0.6)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-1, len(words))
    axes.set_ylim(down.min() - 1, 0.6)
    edges = [
        [(across[node], down[node]), (across[parent - 1], down[parent - 1])]
        for node, parent in enumerate(own.parents)
        if parent
    ]
    axes.add_collection(LineCollection(edges, colors=FRAME, linewidths=1.2 * scale, zorder=1))
    size = (18 * scale) ** 2
    axes.scatter(across, down, s=size, c=labelled.colours, edgecolors=GREY, linewidths=0.6 * scale, zorder=2)
    if _FONT * scale >= _READABLE:
        _write(axes, labelled, across, down, scale)
    _legend(axes, labelled.classes)
    if title:
        axes.set_title(title, wrap=True, **words_in(11))
    return figure


def _write(axes: Any, labelled: _Labelled, across: np.ndarray, down: np.ndarray, scale: float) -> None:
    """Write the number of each label into its circle, and words below."""
    # The layout, for which the axes are what they are, need not measure hundreds of words.
    inside, below = (words_in(size * scale) | {"in_layout": False} for size in (0.8 * _FONT, _FONT))
    numbers = {name: str(index) for index, name in enumerate(labelled.classes)}
    for node, (label, word) in enumerate(zip(labelled.labels, labelled.tree.words, strict=True)):
        place = across[node], down[node]
        axes.text(*place, numbers[label], ha="center", va="center", zorder=3, **inside)
        if word is not None:
            offset = {"xytext": (0, -12 * scale), "textcoords": "offset points"}
            axes.annotate(word, place, ha="center", va="top", zorder=3, **offset, **below)


def _legend(axes: Any, classes: list[str]) -> None:
    from matplotlib.lines import Line2D

    options: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 8, "markeredgecolor": GREY}
    marks = [
        Line2D([], [], markerfacecolor=colour_of(index, len(classes)), label=_named(index, name), **options)
        for index, name in enumerate(classes)
    ]
    font = {name: value for name, value in words_in(8).items() if name == "family"} | {"size": 8}
    shown = min(len(classes), 5)
    axes.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=shown, frameon=False, prop=font)


def _named(index: int, name: str) -> str:
    return name if name == str(index) else f"{index} {name}"
