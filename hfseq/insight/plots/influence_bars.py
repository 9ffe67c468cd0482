"""Pictures of influence: how much of each word the last state of a network still holds.

    influence(model, tokenizer, "what time is it?", path="influence.png")
    influence({"RNN": (rnn, tokenizer), "LSTM": (lstm, tokenizer)}, text="what time is it?", path="both.html")

A bar is a token's share, see `hfseq.influence`, which gives the numbers.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..influence import Influence
from ..influence import influence as measure
from .attention_maps import label_tokens
from .figures import FRAME, GREY, check_path, drawn, need_matplotlib, new_figure, words_in
from .token_tables import TokenTable, write_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAR, _HEIGHT = 0.5, 1.4  # inches of a bar's place, and of the highest bar
_WIDEST = 16.0  # inches
_CURE = "save as .html, which uses the fonts of the browser, or install a font such as Noto Sans CJK"


def influence(
    model: Any,
    tokenizer: Any = None,
    text: str | None = None,
    *,
    position: int | None = None,
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
) -> "Figure | None":
    """Draw which words a network still remembers in the end; None is returned for an .html file.

    Args:
        model: As `hfseq.influence` takes it; or several to compare, {name: (model, tokenizer)}, each in a row of its
            own.
        tokenizer: The model's tokenizer; None for several models, and for a folder or Hub id.
        text: What is read.
        position: The token whose state is looked at; None: where the network ends.
        path: A .png, .svg or .pdf file to draw into, or an .html file, which shows each value under the mouse.
        title: What stands above the picture; None: the text.
    """
    is_page = path is not None and check_path(path, (".html", ".png", ".svg", ".pdf")) == ".html"
    if not is_page:
        need_matplotlib("Influence is", ", or choose an .html file")
    if text is None:
        raise TypeError("There is no text to read: give influence(model, tokenizer, text), or text= beside several.")
    found = {name: measure(*pair, text, position=position) for name, pair in _pairs(model, tokenizer).items()}
    title = text if title is None else title
    if is_page:
        assert path is not None
        tables = [
            TokenTable(name, each.tokens, ("",), each.shares[None], form="{:.1%}") for name, each in found.items()
        ]
        caption = f"share of each token in {_of_what(position)}"
        highest = max(float(each.shares.max()) for each in found.values()) or 1.0
        write_tables(Path(path), tables, limit=highest, title=title, caption=caption)
        return None
    return drawn(lambda: _bars(found, title, _of_what(position)), path, _CURE)


def _pairs(model: Any, tokenizer: Any) -> dict[str, tuple[Any, Any]]:
    if not isinstance(model, Mapping):
        return {"": (model, tokenizer)}
    if tokenizer is not None or not model:
        raise TypeError("Several models come with their tokenizers: {name: (model, tokenizer), ...} and no other one.")
    wrong = [name for name, pair in model.items() if not (isinstance(pair, tuple | list) and len(pair) == 2)]
    if wrong:
        raise TypeError(f"{wrong[0]!r} must come as a pair, (model, tokenizer).")
    return {str(name): tuple(pair) for name, pair in model.items()}


def _of_what(position: int | None) -> str:
    return "the last state" if position is None else f"the state at token {position}"


def _bars(found: Mapping[str, Influence], title: str, of_what: str) -> "Figure":
    """Draw a row of bars for each model, all in one scale."""
    longest = max(len(each.tokens) for each in found.values())
    pitch = min(_BAR, _WIDEST / longest)
    figure = new_figure(longest * pitch + 1.2, len(found) * (_HEIGHT + 0.5) + 0.8, 0.05)
    panels = figure.subplots(len(found), squeeze=False)[:, 0]
    highest = max(float(each.shares.max()) for each in found.values()) or 1.0
    for axes, (name, each) in zip(panels, found.items(), strict=True):
        axes.bar(range(len(each.tokens)), 100 * each.shares, color="#1f6fb4")
        axes.set(xlim=(-0.5, longest - 0.5), ylim=(0, 105 * highest))
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FRAME)
        axes.tick_params(axis="y", labelsize=7, color=FRAME, length=2)
        axes.set_ylabel(f"{name} %".strip(), **words_in(9), color=GREY)
        label_tokens(axes.xaxis, each.tokens, pitch)
    figure.supxlabel(f"share in {of_what}", fontsize=8, color=GREY)
    figure.suptitle(title, wrap=True, **words_in(12))
    return figure
