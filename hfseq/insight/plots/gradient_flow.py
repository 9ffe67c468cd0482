"""How far the gradient comes back: its norm against the distance from the loss, on a scale of powers of ten."""

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..layer_flow import LITTLE, GradientFlow, LayerFlow
from .figures import GREY, check_path, need_matplotlib, new_figure, save_figure, words_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FLOOR = 1e-12  # of what is left; below it lie only roundings


def gradient_flow(
    flows: GradientFlow | Mapping[str, GradientFlow],
    *,
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw the gradient of each layer against the distance from the loss's end.

    Args:
        flows: What `hfseq.gradient_flow` found, or several by their names, which are compared.
        path: A .png, .svg or .pdf file to draw into.
        title: What stands above.
    """
    if path is not None:
        check_path(path, (".png", ".svg", ".pdf"))
    need_matplotlib("A gradient flow is")
    named = flows if isinstance(flows, Mapping) else {"": flows}
    lines = [(_label(name, layer, flow), layer) for name, flow in named.items() for layer in flow.layers]
    lines = [(label, layer) for label, layer in lines if len(layer.share) > 1]
    if not lines:
        raise ValueError("There is no curve to draw: no row has two steps that the loss depends on.")
    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    for number, (label, layer) in enumerate(lines):
        share = layer.share.double().numpy()
        drawn = np.where((share > _FLOOR) & np.isfinite(share), share, math.nan)
        style = ("-", "--", ":", "-.")[number // 10 % 4]  # there are ten colours
        axes.plot(range(len(share)), drawn, style, label=label, gid=label)
    axes.set_yscale("log")
    axes.axhline(LITTLE, color=GREY, linewidth=0.8, linestyle=":")
    axes.axhline(1 / LITTLE, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_xlabel("steps back from the end of the loss")
    axes.set_ylabel("share of the gradient that is left")
    axes.legend(prop={"size": 8}, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    if title is not None:
        axes.set_title(title, **words_in(10))
    if path is not None:
        save_figure(figure, path)
    return figure


def _label(name: str, layer: LayerFlow, flow: GradientFlow) -> str:
    place = f"layer {layer.layer}, {layer.direction}"
    if not name:
        return place
    return name if len(flow.layers) == 1 else f"{name}, {place}"
