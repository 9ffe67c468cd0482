"""What is known of the gradient in each layer of a model, and how it is told in words; `gradients.py` measures it.

Shapes: B rows, T columns, D the longest distance from the loss's end.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

Kind = Literal["vanishes", "explodes", "flows"]
Direction = Literal["forward", "backward"]

LITTLE = 1e-3  # a share below this is vanished, one above its inverse exploded


@dataclass(frozen=True, eq=False)
class LayerFlow:
    """The gradient in one direction of one layer; (B, T) tensors are NaN where there is padding.

    Attributes:
        layer: Its number, from 0.
        direction: "forward" or "backward".
        hidden: (B, T) the norm of dL/dh_t.
        memory: (B, T) the norm of dL/dc_t, where the cell has a memory beside h.
        carried: (B, T) the norm of what comes to step t of the gradient at the loss's end, through the steps between:
            that of dL/dc_t where the cell has a memory, else that of dL/dh_t.
        distance: (B, T) steps from the loss's end, which has 0; -1 at padding and at steps that the loss ignores.
        recurrent: The largest singular value of each gate's recurrent matrix.
        jacobian: The largest singular value of the Jacobian of a step, the median over some: of dh_t/dh_{t-1}, or of
            the whole state where the cell has a memory.
    """

    layer: int
    direction: Direction
    hidden: torch.Tensor
    memory: torch.Tensor | None
    carried: torch.Tensor
    distance: torch.Tensor
    recurrent: dict[str, float]
    jacobian: float

    @cached_property
    def share(self) -> torch.Tensor:
        """(D + 1) what is left of the gradient after 0 to D steps: the median over the rows that are so long."""
        ends = torch.where(self.distance == 0, self.carried, torch.nan).nanmean(1, keepdim=True)
        return self.by_distance(self.carried / ends)

    def by_distance(self, values: torch.Tensor) -> torch.Tensor:
        """Return (D + 1) the median of `values` (B, T) at each distance from the loss's end."""
        distances = range(int(self.distance.max()) + 1)
        return values.new_tensor([float(values[self.distance == distance].median()) for distance in distances])

    @cached_property
    def reach(self) -> int | None:
        """After how many steps the gradient has vanished or exploded; None: it has not, as far as the rows go."""
        share = self.share
        if len(large := _places(~(share < 1 / LITTLE))):  # NaN too
            return large[0]
        if not len(share) or not share[-1] <= LITTLE:
            return None
        above = _places(share > LITTLE)
        return above[-1] + 1 if above else 0

    @property
    def kind(self) -> Kind:
        """What the gradient does from the loss's end to the beginning."""
        if not len(self.share):
            return "vanishes"
        if self.reach is None:
            return "flows"
        return "vanishes" if self.share[self.reach] <= LITTLE else "explodes"

    @property
    def verdict(self) -> str:
        """The same in words."""
        where = f"(layer {self.layer}, {self.direction})"
        if not len(self.share):
            return f"vanishes: no gradient comes to this layer at all {where}"
        steps, share = self.reach, self.share
        if self.kind == "vanishes":
            return f"vanishes: after {_steps(steps)} a tenth of a percent is left {where}"
        if steps is not None and share[steps].isfinite():
            return f"explodes: after {_steps(steps)} it is {share[steps]:,.0f} times as large {where}"
        if steps is not None:
            return f"explodes: after {_steps(steps)} it is no finite number any more {where}"
        last = float(share[-1])
        left = f"it is {last:,.0f} times as large" if last >= 2 else f"{_percent(last)} is left"
        return f"flows: after {_steps(len(share) - 1)} {left} {where}"


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """What `gradient_flow` found; printing it shows a table.

    Attributes:
        layers: One for each direction of each layer, from the lowest.
        loss: The loss of the batch.
    """

    layers: list[LayerFlow]
    loss: float

    @property
    def worst(self) -> LayerFlow:
        """The layer in the most trouble: one that explodes, then the one that vanishes first."""
        return min(self.layers, key=_trouble)

    @property
    def kind(self) -> Kind:
        """What the gradient does in the worst layer."""
        return self.worst.kind

    @property
    def verdict(self) -> str:
        """The same in words: "vanishes: after 14 steps a tenth of a percent is left (layer 0, forward)"."""
        return self.worst.verdict

    def __str__(self) -> str:
        """Show the share left at some distances, and the largest singular values."""
        longest = max(len(layer.share) for layer in self.layers) - 1
        shown = [d for d in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if d < longest] + [longest] * (longest > 0)
        lines = [self.verdict, "layer           " + "".join(f"{f'{d} back':>10}" for d in shown) + "  singular values"]
        for layer in self.layers:
            shares = (f"{layer.share[d]:10.2g}" if d < len(layer.share) else " " * 10 for d in shown)
            values = ", ".join(f"{gate} {value:.2f}" for gate, value in layer.recurrent.items())
            name = f"{layer.layer} {layer.direction}"
            lines.append(f"{name:<16}{''.join(shares)}  {values}; step {layer.jacobian:.2f}")
        return "\n".join(lines)


def _places(marked: torch.Tensor) -> list[int]:
    places: list[int] = marked.nonzero().flatten().tolist()
    return places


def _steps(count: int | None) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} percent" if share > 0.1 else f"{100 * share:.2g} percent"


def _trouble(layer: LayerFlow) -> tuple[int, float]:
    """Return what is smallest for the layer in the most trouble."""
    if layer.kind == "flows":
        return 2, float(layer.share[-1])
    return ("explodes", "vanishes").index(layer.kind), -1.0 if layer.reach is None else layer.reach
