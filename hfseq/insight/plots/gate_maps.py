"""Pictures of gates: what a recurrent cell lets in, keeps and shows at each word.

    gates(model, tokenizer, "Mohan is a nice person. Tapas is an evil.", path="gates.png")
    gates(model, tokenizer, "Mohan is a nice person. Tapas is an evil.", names="f", units="all", path="forget.html")

The first is one map with a row for each gate and state: the mean of its absolute values over all units, which is the
mean itself for gates between 0 and 1, and for the others how strong they are. The second has a map for each gate, with
a row for each unit; blue is above 0, red below. Columns are tokens, and white is 0.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...evaluation.language import evaluating
from ...models.recurrent.backbone import RecurrentModel
from ...retrieval.encode import backbone_of, with_tokenizer
from .attention_maps import Maps, draw_grid
from .figures import check_path, drawn, need_matplotlib
from .token_tables import TokenTable, write_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURE = "save as .html, which uses the fonts of the browser, or install a font such as Noto Sans CJK"


def gates(
    model: Any,
    tokenizer: Any,
    text: str,
    *,
    names: str | Sequence[str] | None = None,
    layer: int = -1,
    backward: bool = False,
    units: Literal["mean", "all"] | Sequence[int] = "mean",
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
) -> "Figure | None":
    """Draw the gates and states of one layer while it reads a text; None is returned for an .html file.

    Args:
        model: A recurrent model with any head or none, or a folder or Hub id to load it from. `output_gates` of its
            forward gives the numbers.
        tokenizer: The model's tokenizer; None for a folder or Hub id.
        text: What is read.
        names: Which gates and states, "f" or ["i", "f"]; None: all that the cell has.
        layer: Its number from 0; -1 is the last.
        backward: Draw the direction that reads from the end.
        units: "mean" of the absolute values over all units, a row for each gate; "all" units, or some by their
            numbers, a map for each gate.
        path: A .png, .svg or .pdf file to draw into, or an .html file, which shows each value under the mouse.
        title: What stands above the picture; None: the text.
    """
    is_page = path is not None and check_path(path, (".html", ".png", ".svg", ".pdf")) == ".html"
    if not is_page:
        need_matplotlib("Gates are", ", or choose an .html file")
    tokens, values = _read(model, tokenizer, text, layer, backward)
    values = _named(values, names)
    labels, panels = _panels(values, units)
    limit = max(1.0, *(float(np.abs(panel).max()) for panel in panels.values()))
    title = text if title is None else title
    if is_page:
        assert path is not None
        tables = [TokenTable(name, tokens, labels, panel) for name, panel in panels.items()]
        caption = "mean of the absolute values of all units" if units == "mean" else "a row for each unit; white is 0"
        write_tables(Path(path), tables, limit=limit, title=title, caption=caption)
        return None
    weights = np.stack(list(panels.values()))[None]
    scale = ("Blues", 0.0, limit) if units == "mean" else ("RdBu", -limit, limit)
    maps = Maps(weights, ("",), tuple(panels), labels, tokens, ("", ""), scale)
    return drawn(lambda: draw_grid(maps, title), path, _CURE)


def _read(
    model: Any, tokenizer: Any, text: str, layer: int, backward: bool
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the T tokens, and each gate and state (T, H) of the layer."""
    if not isinstance(text, str):
        raise TypeError(f"text must be one string, got a {type(text).__name__}: draw each text alone.")
    model, tokenizer = with_tokenizer(model, tokenizer)
    backbone = backbone_of(model)
    if not isinstance(backbone, RecurrentModel):
        raise TypeError(f"{type(model).__name__} has no gates: take an LSTM, a GRU, an RNN or a cell of your own.")
    depth, directions = backbone.config.num_hidden_layers, 1 + backbone.config.bidirectional
    if not -depth <= layer < depth:
        raise ValueError(f"layer={layer}: this model has the layers 0 to {depth - 1}.")
    if backward and directions == 1:
        raise ValueError("backward=True: this model reads forward alone; one with bidirectional=True has both.")
    encoded = tokenizer(text, return_tensors="pt")
    tokens = tuple(tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist()))
    if not tokens:
        raise ValueError(f"The text {text!r} has no token: there is nothing to draw.")
    inputs = {name: encoded[name].to(backbone.device) for name in ("input_ids", "attention_mask") if name in encoded}
    with evaluating(model):
        shown = backbone(**inputs, output_gates=True, return_dict=True).gates
    values = shown[layer % depth * directions + backward]
    return tokens, {name: value[0].float().cpu().numpy() for name, value in values.items()}


def _named(values: dict[str, np.ndarray], names: str | Sequence[str] | None) -> dict[str, np.ndarray]:
    wanted = [names] if isinstance(names, str) else list(values if names is None else names)
    absent = [name for name in wanted if name not in values]
    if absent or not wanted:
        asked = f"There is no gate or state {absent[0]!r}" if absent else "No gate or state was asked for"
        raise ValueError(f"{asked}: this cell has {', '.join(values)}.")
    return {name: values[name] for name in wanted}


def _panels(
    values: dict[str, np.ndarray], units: str | Sequence[int]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the names of the rows, and for each map (rows, T)."""
    if units == "mean":
        return tuple(values), {"": np.stack([np.abs(value).mean(1) for value in values.values()])}
    size = next(iter(values.values())).shape[1]
    numbers = list(range(size)) if units == "all" else units
    if isinstance(numbers, str):
        raise ValueError(f"units must be 'mean', 'all' or numbers, got {units!r}.")
    absent = [number for number in numbers if number not in range(-size, size)]
    if absent or not numbers:
        asked = f"There is no unit {absent[0]!r}" if absent else "No unit was asked for"
        raise ValueError(f"{asked}: choose among the {size} by their numbers, 0 to {size - 1}.")
    places = [range(size)[number] for number in numbers]
    return tuple(map(str, places)), {name: value[:, places].T for name, value in values.items()}
