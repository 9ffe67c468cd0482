"""Pictures of word vectors: words that are used alike lie side by side.

    plot_words(vectors, {"days": ["monday", ...], "numbers": ["one", ...]}, path="words.html")

`.html` is one file that needs no network; `.png`, `.svg` and `.pdf` are drawn by matplotlib. A map of hundreds of
dimensions on two cannot be true everywhere: t-SNE and UMAP keep neighbourhoods, and say nothing about distances
between far groups; PCA keeps the two directions of greatest spread, and lets groups overlap.
"""

import colorsys
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from .figures import FRAME, GREY, check_path, need_matplotlib, new_figure, save_figure, warning_about_glyphs, words_in
from .pages import write_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ...models.words.vectors import KeyedVectors

Method: TypeAlias = Literal["tsne", "pca", "umap"]
Words: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]]

NEIGHBOURS = 5
_TITLES: dict[Method, str] = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}
# Dark enough for small text on white, and told apart by colour-blind readers as far as ten colours can be.
_HUES = ("#1f6fb4", "#c8501e", "#0a7d5a", "#a4317f", "#7a5b00", "#5646b8", "#b3263a", "#00748c", "#4f7a12", "#5a5a5a")
_MARGIN = 0.06  # of the longer side of the cloud
_RINGS = (5.0, 12.0, 22.0, 34.0, 48.0)  # points from a dot to its label


@dataclass(frozen=True, eq=False)
class WordMap:
    """Words on a plane, as `plot_words` lays them out.

    `neighbours` are for each word the nearest others of the map with their cosines, in the space of the vectors.
    """

    words: tuple[str, ...]
    clusters: tuple[str | None, ...]  # of each word
    coordinates: np.ndarray  # (n, 2)
    neighbours: tuple[tuple[tuple[str, float], ...], ...]
    method: Method
    title: str | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Draw into a file, whose suffix chooses the kind: .html, or .png, .svg and .pdf, which need matplotlib."""
        _writer(path)(self, Path(path))

    @property
    def caption(self) -> str:
        """One line that tells what the picture shows."""
        return f"{_TITLES[self.method]} of {len(self.words)} word vectors, by cosine"


def plot_words(
    vectors: "KeyedVectors",
    words: Words | None = None,
    *,
    method: Method = "tsne",
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    seed: int = 0,
) -> WordMap:
    """Lay words out on a plane by their vectors and draw them.

    Args:
        words: What to draw: words, or clusters of words by name, each in a colour of its own. None draws the first
            100, which are the most frequent ones.
        method: "tsne", "pca", or "umap" (`pip install umap-learn`).
        path: A file to draw into, see `WordMap.save`.
        seed: The same seed gives the same picture.
    """
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}; got {method!r}.")
    if path is not None:
        _writer(path)  # before the work, not after it
    if words is None:  # a row that is set aside has no key
        words = [word for word in vectors.index_to_key if word is not None][:100]
    drawn, clusters = _flat(words)
    _check_words(drawn, vectors)
    units = _unit_rows(np.stack([np.asarray(vectors[word], dtype=np.float64) for word in drawn]), drawn)
    coordinates = _REDUCTIONS[method](units, seed)
    names = tuple(str(word) for word in drawn)  # a key may be a number
    word_map = WordMap(names, clusters, coordinates, _neighbours(units, names), method, title)
    if path is not None:
        word_map.save(path)
    return word_map


def _flat(words: Words) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Return the words, and the cluster of each."""
    groups: Mapping[Any, Sequence[str]] = words if isinstance(words, Mapping) else {None: words}
    drawn: list[str] = []
    clusters: list[str | None] = []
    for name, group in groups.items():
        if isinstance(group, str):
            raise TypeError(f"words must be lists of strings, got the string {group!r}: put it into a list.")
        drawn += group
        clusters += [name] * (len(drawn) - len(clusters))
    return tuple(drawn), tuple(clusters)


def _check_words(words: tuple[str, ...], vectors: "KeyedVectors") -> None:
    twice = [word for word, count in Counter(words).items() if count > 1]
    if twice:
        raise ValueError(f"A word has one place on the map, but {_listed(twice)} came twice: name each word once.")
    unknown = [word for word in words if word not in vectors]
    if unknown:
        lower = [str(word).lower() for word in unknown if str(word).lower() in vectors]
        hint = f" (there is {_listed(lower)})" if lower else ""
        raise ValueError(f"There is no vector for {_listed(unknown)}{hint}: leave them out, see `word in vectors`.")
    if len(words) < 3:
        raise ValueError(f"A map needs 3 words or more, got {len(words)}.")


def _listed(words: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(repr(word) for word in words[:limit]) + more


def _unit_rows(rows: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """Scale rows to length 1, where Euclidean distance and cosine give the same order."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    broken = [word for word, length in zip(words, lengths[:, 0], strict=True) if not 0 < length < np.inf]
    if broken:
        raise ValueError(f"The vectors of {_listed(broken)} are zero, NaN or infinite: leave these words out.")
    units = rows / lengths
    if units.shape[1] < 2 or np.allclose(units, units[0], atol=1e-12):
        raise ValueError("All these vectors point the same way, which leaves nothing to draw.")
    return units


def _pca(units: np.ndarray, seed: int) -> np.ndarray:
    return PCA(n_components=2, random_state=seed).fit_transform(units)


def _tsne(units: np.ndarray, seed: int) -> np.ndarray:
    # A perplexity is a number of neighbours: with few words a group must not have to reach into the next one.
    perplexity = min(30.0, max(1.5, (len(units) - 1) / 4))
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(units).astype(np.float64)


def _umap(units: np.ndarray, seed: int) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError("method='umap' needs the package umap-learn: pip install umap-learn") from error
    n_neighbors = min(15, max(2, (len(units) - 1) // 2))
    # Its spectral start fails with few words, and a seed allows one thread only: saying so saves a warning.
    reducer = UMAP(n_neighbors=n_neighbors, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(units), dtype=np.float64)


_REDUCTIONS: dict[Method, Callable[[np.ndarray, int], np.ndarray]] = {"tsne": _tsne, "pca": _pca, "umap": _umap}


def _neighbours(units: np.ndarray, words: Sequence[str]) -> tuple[tuple[tuple[str, float], ...], ...]:
    count = min(NEIGHBOURS, len(words) - 1)
    distances, places = NearestNeighbors(n_neighbors=count).fit(units).kneighbors()
    cosines = 1 - distances**2 / 2  # of vectors of length 1
    return tuple(
        tuple((words[place], float(cosine)) for place, cosine in zip(*row, strict=True))
        for row in zip(places, cosines, strict=True)
    )


def _writer(path: str | os.PathLike[str]) -> Callable[[WordMap, Path], None]:
    suffix = check_path(path, (".html", ".png", ".svg", ".pdf"))
    if suffix == ".html":
        return _write_html
    need_matplotlib(f"{suffix} files are", ", or choose .html")
    return _write_figure


def _cluster_colours(word_map: WordMap) -> dict[str | None, str]:
    names = list(dict.fromkeys(word_map.clusters))
    if len(names) <= len(_HUES):
        return dict(zip(names, _HUES, strict=False))
    return {name: _hue(i, len(names)) for i, name in enumerate(names)}


def _hue(number: int, count: int) -> str:
    """Return a colour of the wheel as #rrggbb, darker if it is too light for text on white, as yellow and cyan are."""
    rgb = np.array(colorsys.hls_to_rgb(number / count, (0.3, 0.42)[number % 2], 0.7))
    dark = rgb * min(1.0, 0.42 / float(rgb @ (0.2126, 0.7152, 0.0722)))
    return "#" + "".join(f"{round(255 * part):02x}" for part in dark)


def _legend(word_map: WordMap) -> dict[str, str]:
    return {name: colour for name, colour in _cluster_colours(word_map).items() if name is not None}


def _percentages(coordinates: np.ndarray) -> np.ndarray:
    """Turn coordinates into 0 to 100, y downward, with one scale for both axes and the cloud in the middle."""
    low, high = coordinates.min(0), coordinates.max(0)
    side = float((high - low).max()) * (1 + 2 * _MARGIN)
    return 50 + 100 * (coordinates - (low + high) / 2) / side * (1, -1)


def _write_html(word_map: WordMap, path: Path) -> None:
    colours = _cluster_colours(word_map)
    place = {word: i for i, word in enumerate(word_map.words)}
    near = [[[place[word], round(cosine, 3)] for word, cosine in words] for words in word_map.neighbours]
    points = _percentages(word_map.coordinates).round(3).tolist()
    said = {"title": word_map.title or "", "caption": word_map.caption, "legend": _legend(word_map)}
    words = list(zip(word_map.words, word_map.clusters, points, near, strict=True))
    write_page(path, "word_map.html", colours=colours, words=words, **said)


def _write_figure(word_map: WordMap, path: Path) -> None:
    cure = "save as .html, which uses the fonts of the browser, or install a font such as Noto Sans CJK"
    with warning_about_glyphs(cure):
        save_figure(_figure(word_map), path)


def _figure(word_map: WordMap) -> "Figure":
    count = len(word_map.words)
    width = min(24.0, math.sqrt(max(40.0, 0.75 * count) * 1.3))
    figure = new_figure(width, width / 1.3)
    axes = figure.add_subplot()
    of_clusters = _cluster_colours(word_map)
    colours = [of_clusters[cluster] for cluster in word_map.clusters]
    x, y = word_map.coordinates.T
    axes.scatter(x, y, s=16, c=colours, linewidths=0, zorder=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(_MARGIN)
    axes.set(xticks=[], yticks=[])  # the axes of these maps have no unit
    axes.spines[:].set_color(FRAME)
    if word_map.title:
        axes.set_title(word_map.title, loc="left", pad=10, **words_in(13))
    axes.set_xlabel(word_map.caption, loc="left", fontsize=8, color=GREY)
    _draw_legend(figure, _legend(word_map))
    _draw_labels(figure, axes, word_map, colours)
    return figure


def _draw_legend(figure: "Figure", colours: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    if not colours:
        return
    dots = [Line2D([], [], color=colour, marker="o", markersize=5, linestyle="") for colour in colours.values()]
    legend = figure.legend(
        dots, [" "] * len(dots), loc="outside right upper", frameon=False, handlelength=1, handletextpad=0.4
    )
    # The names come afterwards: handed to `legend`, a leading underscore would hide one and $ would start a formula.
    for text, (name, colour) in zip(legend.get_texts(), colours.items(), strict=True):
        text.set(text=name, color=colour, **words_in(9))


def _draw_labels(figure: "Figure", axes: "Axes", word_map: WordMap, colours: Sequence[str]) -> None:
    """Write each word beside its dot, where there is room; a line ties a word to its dot if it had to go farther."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2, foreground="white")]  # lines pass behind the words
    style = {**words_in(9), "ha": "center", "va": "center", "path_effects": halo, "zorder": 3}
    labels = [
        axes.annotate(word, point, xytext=(0, 0), textcoords="offset points", color=colour, **style)
        for word, point, colour in zip(word_map.words, word_map.coordinates, colours, strict=True)
    ]
    for label in labels:
        label.set_in_layout(False)
    figure.draw_without_rendering()  # the layout gives the axes their final size
    scale = 72 / figure.dpi  # pixels to points
    sizes = np.array([label.get_window_extent().size for label in labels]) * scale
    dots = axes.transData.transform(word_map.coordinates) * scale
    offsets = _label_offsets(dots, sizes, np.asarray(axes.bbox.extents) * scale)
    for label, offset, size, dot, colour in zip(labels, offsets, sizes, dots, colours, strict=True):
        label.set_position(tuple(offset))
        gap = np.maximum(np.abs(offset) - size / 2, 0)
        if gap.max() > _RINGS[0] + 1:
            end = axes.transData.inverted().transform((dot + np.sign(offset) * gap) / scale)
            start = axes.transData.inverted().transform(dot / scale)
            axes.plot(*zip(start, end, strict=True), color=colour, linewidth=0.5, alpha=0.6, zorder=1)


def _label_offsets(dots: np.ndarray, sizes: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Find (n, 2) from each dot to the middle of its label: of some places around it the one that covers least.

    In points: `dots` and `sizes` of the labels are (n, 2), `frame` is left, bottom, right and top of the picture.
    """
    directions = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])
    rings = np.repeat(_RINGS, len(directions))[:, None]  # (K, 1)
    sides = np.tile(directions, (len(_RINGS), 1))  # (K, 2)
    offsets = np.full(dots.shape, np.nan)
    for _ in range(3):  # the first knows the labels before, the next ones all others
        for i, (dot, size) in enumerate(zip(dots, sizes, strict=True)):
            others = np.arange(len(dots)) != i
            tried = sides * (size / 2 + rings)  # (K, 2)
            covered = _overlaps(dot + tried, size, (dots + offsets)[others], sizes[others])
            covered += _overlaps(dot + tried, size, dots[others], np.full((others.sum(), 2), 6.0)) * 5
            inside = np.minimum(dot + tried + size / 2, frame[2:]) - np.maximum(dot + tried - size / 2, frame[:2])
            outside = size.prod() - inside.clip(0).prod(1)
            # A farther place costs a little, so that it is taken only where a nearer one would cover something.
            offsets[i] = tried[np.argmin(covered + 3 * outside + rings[:, 0] + 0.01 * np.arange(len(tried)))]
    return offsets


def _overlaps(centres: np.ndarray, size: np.ndarray, others: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return (K,) the area that a box at each of K centres shares with other boxes; those not placed yet are NaN."""
    reach = (size + sizes) / 2 - np.abs(centres[:, None] - others[None])
    shared = np.nan_to_num(reach).clip(0)
    return np.minimum(shared, np.minimum(size, sizes)).prod(2).sum(1)
