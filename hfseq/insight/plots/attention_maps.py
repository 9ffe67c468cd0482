"""Pictures of attention: which token looks at which, a heat map for each layer and head.

    outputs = model(**inputs, output_attentions=True)
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    attention(outputs.attentions, tokens, path="attention.png")

A row of a map is a query, the token that looks; a column is a key, the token looked at. Attention pooling has one
weight for each token, which is drawn as a bar.
"""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from .figures import FRAME, GREY, check_path, need_matplotlib, new_figure, save_figure, warning_about_glyphs, words_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_CELL = 0.36  # inches; cells get smaller where one of the next two would be exceeded
_LONGEST_SIDE = 8.0  # inches of one map
_LARGEST_GRID = 24.0  # inches of all maps together
_SHORTEST_SIDE = 0.6  # inches; where maps would get smaller than this, the grid gets larger instead
_PAD = 0.07  # inches around a map and its labels
_FONT_SIZES = (5.0, 9.0)  # points
_LINE = 1.15  # what a line of text takes, in sizes of its font
_LONGEST_LABEL = 24  # characters


class Maps(NamedTuple):
    """What is drawn: weights (layers, heads, T, S) and the names along each side; an empty name is not shown.

    `scale` has the name of matplotlib's colours, and the values of the first and the last of them; None: blue, from 0.
    """

    weights: np.ndarray
    layers: tuple[str, ...]
    heads: tuple[str, ...]
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    sides: tuple[str, str] = ("queries", "keys")
    scale: tuple[str, float, float] | None = None


def attention(
    attentions: torch.Tensor | Sequence[torch.Tensor],
    tokens: Sequence[str],
    *,
    key_tokens: Sequence[str] | None = None,
    layers: int | Sequence[int] | None = None,
    heads: int | Sequence[int] | Literal["mean"] | None = None,
    row: int = 0,
    attention_mask: torch.Tensor | None = None,
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw where attention looks: a grid of heat maps, a row for each layer and a column for each head.

    Args:
        attentions: What a model returns as `attentions` or `cross_attentions`: a tuple with a tensor (B, heads, T, S)
            for each layer; or the weights (B, T) of attention pooling, as a tuple of one. A single tensor is one
            layer: (B, heads, T, S), or the (heads, T, S) of one text, or the (T, S) of one head.
        tokens: The T tokens that look; in pooling those that are looked at. With `attention_mask`, the tokens of
            padding may be there or not.
        key_tokens: The S tokens that are looked at, in cross attention; None in self-attention.
        layers: Numbers of the layers to draw, from 0; -1 is the last. None draws all.
        heads: Numbers of the heads to draw, or "mean" for the mean over all. None draws all.
        row: Which text of the batch.
        attention_mask: (B, S), 0 at padding, which is left out. In cross attention it is the mask of the keys.
        path: A .png, .svg or .pdf file to draw into.
    """
    if path is not None:
        check_path(path, (".png", ".svg", ".pdf"))
    need_matplotlib("Attention is")
    stacks, pooled = _stacks(attentions)
    (text,) = _chosen("row", row, len(stacks[0]))
    real = _real(attention_mask, text, (len(stacks[0]), stacks[0].shape[3]))
    numbers = _chosen("layer", layers, len(stacks))
    weights = torch.stack([stacks[number][text] for number in numbers]).detach().float().cpu().numpy()
    weights, head_names = _heads(weights, heads)
    weights, queries, keys = _tokens(weights, tokens, key_tokens, real, pooled)
    low, high = float(weights.min()), float(weights.max())
    if not 0 <= low <= high < math.inf:  # NaN is not in order with anything
        raise ValueError(f"Weights are finite and not negative, got {low:g} to {high:g}: hand over the softmax.")
    layer_names = tuple(f"layer {number}" for number in numbers)
    if isinstance(attentions, torch.Tensor):  # alone, it does not tell which layer it is, and a matrix not which head
        layer_names = ("",) * len(numbers)
        head_names = head_names if attentions.dim() > 2 else ("",)
    maps = Maps(weights, layer_names, head_names, queries, keys)
    with warning_about_glyphs("install a font such as Noto Sans CJK"):
        figure = _bars(maps, title) if pooled else draw_grid(maps, title)
        if path is not None:
            save_figure(figure, path)
    return figure


def _stacks(attentions: torch.Tensor | Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], bool]:
    """Return each layer as (B, heads, T, S), and whether this is pooling, as (B, 1, 1, S)."""
    if isinstance(attentions, torch.Tensor):
        if attentions.dim() not in (2, 3, 4):
            raise ValueError(f"A tensor is (B, heads, T, S), (heads, T, S) or (T, S), got {tuple(attentions.shape)}.")
        return [attentions[(None,) * (4 - attentions.dim())]], False
    _check_layers(attentions)
    first = attentions[0]
    if len(attentions) == 1 and first.dim() == 2:
        return [first[:, None, None]], True
    if first.dim() != 4:
        raise ValueError(f"Each layer must be (B, heads, T, S), or the only one (B, T), got {tuple(first.shape)}.")
    return list(attentions), False


def _check_layers(attentions: Any) -> None:
    if attentions is None or (isinstance(attentions, tuple | list) and all(layer is None for layer in attentions)):
        raise ValueError(
            "There are no attention weights: call the model with output_attentions=True (models of "
            "transformers' own also need attn_implementation='eager' when they are loaded)."
        )
    if not isinstance(attentions, tuple | list):
        given = type(attentions).__name__
        raise TypeError(f"attentions must be a tensor or a tuple of them, got {given}: hand over outputs.attentions.")
    others = [type(layer).__name__ for layer in attentions if not isinstance(layer, torch.Tensor)]
    if others:
        raise TypeError(
            f"attentions must be a tuple of tensors, one for each layer, got a {others[0]} in it. What generate() "
            "returns has a tuple for each step: call the model once on the whole text."
        )
    if attentions[0].dim() == 4 and attentions[-1].dim() == 2:
        raise ValueError(f"The last of {len(attentions)} are weights of attention pooling: draw [:-1] and [-1:].")
    shapes = dict.fromkeys(str(tuple(layer.shape)) for layer in attentions)
    if len(shapes) > 1:
        raise ValueError(f"Layers of one picture have one shape, got {' and '.join(shapes)}: draw them one by one.")


def _chosen(what: str, numbers: int | Sequence[int] | None, count: int) -> list[int]:
    """Turn the numbers that were asked for into numbers from 0."""
    places = range(count)
    wanted = [numbers] if isinstance(numbers, int) else list(places if numbers is None else numbers)
    absent = [number for number in wanted if number not in range(-count, count)]
    if absent or not wanted:
        asked = f"There is no {what} {absent[0]!r}" if absent else f"No {what} was asked for"
        raise ValueError(f"{asked}: choose among the {count} by their numbers, 0 to {count - 1}.")
    return [places[number] for number in wanted]


def _heads(weights: np.ndarray, heads: int | Sequence[int] | str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    count = weights.shape[1]
    if isinstance(heads, str):
        if heads != "mean":
            raise ValueError(f"heads must be numbers, 'mean' or None, got {heads!r}.")
        return weights.mean(1, keepdims=True), (f"mean of {count} heads",)
    numbers = _chosen("head", heads, count)
    return weights[:, numbers], tuple(f"head {number}" for number in numbers)


def _real(mask: torch.Tensor | None, text: int, shape: tuple[int, int]) -> np.ndarray:
    """Return (S,) True at the keys of one text that are no padding."""
    if mask is None:
        return np.ones(shape[1], dtype=bool)
    masks = torch.as_tensor(mask)
    if (given := tuple(masks.shape)) != shape:
        raise ValueError(f"attention_mask must be (B, S) = {shape}, as the weights are, got {given}.")
    real = masks[text].bool().cpu().numpy()
    if not real.any():
        raise ValueError(f"Text {text} of the batch is nothing but padding: choose another row.")
    return real


def _tokens(
    weights: np.ndarray, tokens: Sequence[str], key_tokens: Sequence[str] | None, real: np.ndarray, pooled: bool
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Return the weights without padding, and the names of their queries and keys."""
    queries, keys = weights.shape[2:]
    if pooled:
        if key_tokens is not None:
            raise ValueError("Attention pooling has one row of tokens: give them as tokens, without key_tokens.")
        return weights[..., real], ("",), _names("tokens", tokens, real)
    if key_tokens is not None:
        every = np.ones(queries, dtype=bool)
        return weights[..., real], _names("tokens", tokens, every), _names("key_tokens", key_tokens, real)
    if queries != keys:
        raise ValueError(f"{queries} tokens look at {keys}, which is cross attention: give the latter as key_tokens.")
    names = _names("tokens", tokens, real)
    return weights[:, :, real][..., real], names, names


def _names(what: str, tokens: Sequence[str], real: np.ndarray) -> tuple[str, ...]:
    if isinstance(tokens, str):
        raise TypeError(f"{what} must be a list of strings, got the string {tokens!r}: split it into tokens.")
    if len(tokens) == len(real):
        return tuple(str(token) for token, kept in zip(tokens, real, strict=True) if kept)
    if len(tokens) == real.sum():
        return tuple(map(str, tokens))
    without = "" if real.all() else f" ({real.sum()} without padding)"
    raise ValueError(
        f"There are {len(tokens)} {what} for {len(real)} places of attention{without}: take them from the ids that "
        "the model saw, with tokenizer.convert_ids_to_tokens(input_ids[row])."
    )


def draw_grid(maps: Maps, title: str | None) -> "Figure":
    """Draw a map for each layer and head, all in one scale of colours."""
    layers, heads, queries, keys = maps.weights.shape
    longer = max(queries, keys)
    cell = min(_CELL, _LONGEST_SIDE / longer, _LARGEST_GRID / max(layers * queries, heads * keys))
    cell = max(cell, _SHORTEST_SIDE / longer)
    width, height = keys * cell, queries * cell
    figure = new_figure(heads * width + 3, layers * height + 3, _PAD)
    panels = figure.subplots(layers, heads, squeeze=False)
    colours, low, high = maps.scale or ("Blues", 0.0, float(maps.weights.max()) or 1.0)
    for axes, weights in zip(panels.flat, maps.weights.reshape(-1, queries, keys), strict=True):
        # "antialiased" keeps cells sharp, and thin lines alive where cells are smaller than pixels.
        axes.imshow(weights, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="antialiased")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(FRAME)
    for axes, name in zip(panels[0], maps.heads, strict=True):
        axes.set_title(name, fontsize=_FONT_SIZES[1], color=GREY)
    for axes, name in zip(panels[:, 0], maps.layers, strict=True):
        axes.set_ylabel(name, fontsize=_FONT_SIZES[1], color=GREY)
        _label(axes.yaxis, maps.queries, cell, across=False)
    for axes in panels[-1]:
        label_tokens(axes.xaxis, maps.keys, cell)
    for write, name in zip((figure.supylabel, figure.supxlabel), maps.sides, strict=True):
        write(name, fontsize=8, color=GREY)
    # One colour bar for all, to the right of the map in the corner.
    inset = panels[0, -1].inset_axes((1 + 0.14 / width, 0, 0.12 / width, 1))
    scale = figure.colorbar(panels[0, -1].images[0], cax=inset)
    scale.outline.set_edgecolor(FRAME)
    scale.ax.tick_params(labelsize=7, color=FRAME, length=2)
    _finish(figure, panels[0, 0], title, (heads * width, layers * height), (heads, layers))
    for axes in panels.flat:
        axes.set_aspect("equal")  # so they are already; this keeps them so if the figure gets another size
    return figure


def _bars(maps: Maps, title: str | None) -> "Figure":
    pitch = min(_CELL, 12.0 / len(maps.keys))
    width, height = len(maps.keys) * pitch, 2.0
    figure = new_figure(width + 3, height + 3, _PAD)
    axes = figure.add_subplot()
    axes.bar(range(len(maps.keys)), maps.weights[0, 0, 0], color="#1f6fb4")
    axes.set_xlim(-0.5, len(maps.keys) - 0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FRAME)
    axes.tick_params(axis="y", labelsize=7, color=FRAME, length=2)
    axes.set_ylabel("weight", fontsize=8, color=GREY)
    label_tokens(axes.xaxis, maps.keys, pitch)
    _finish(figure, axes, title, (width, height), (1, 1))
    return figure


def label_tokens(axis: "Axis", tokens: Sequence[str], pitch: float) -> None:
    """Write tokens below their places, which are `pitch` inches apart."""
    _label(axis, tokens, pitch, across=True)


def _label(axis: "Axis", tokens: Sequence[str], cell: float, *, across: bool) -> None:
    """Write a token at each cell; where cells are too small for letters, one token for several of them."""
    points = 72 * cell
    size = float(np.clip(points / _LINE, *_FONT_SIZES))
    places = range(0, len(tokens), math.ceil(_LINE * size / points - 1e-9))
    labels = [_shown(tokens[place]) for place in places]
    turned: dict[str, Any] = {}
    if across and max(map(len, labels)) * 0.7 * size > points:
        slanted = math.cos(math.pi / 4) * points > _LINE * size  # is shorter and easier to read, but needs room
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {"rotation": 90}
    axis.set_ticks(list(places), labels, **words_in(size), **turned)
    axis.set_tick_params(length=0)


def _shown(token: str) -> str:
    """Write a token on one line, with signs for blanks, which nobody would see."""
    visible = token.replace(" ", "␣")
    line = visible if visible.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in visible)
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"


def _finish(
    figure: "Figure", axes: "Axes", title: str | None, inner: tuple[float, float], counts: tuple[int, int]
) -> None:
    """Give the maps, of which `axes` is one, `inner` inches together, and the figure what labels need besides."""
    if title:
        figure.suptitle(title, wrap=True, **words_in(13))
    figure.draw_without_rendering()  # the layout finds out what labels take
    left, lower, right, upper = axes.get_position(original=True).extents
    width, height = figure.get_size_inches()
    labels = width * (1 - counts[0] * (right - left)), height * (1 - counts[1] * (upper - lower))
    figure.set_size_inches(labels[0] + inner[0], labels[1] + inner[1])
