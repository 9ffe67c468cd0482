"""Drawing: movements drawn from a model one by one, with its state carried on."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from transformers import PreTrainedModel

from .stroke_density import DRAWS, ENDS, LIFTS, StrokeDensity

FIRST = (0.0, 0.0, float(DRAWS))
"""The first point, where nobody gives one: the pen is put down, and goes on from there."""

Drawing: TypeAlias = Any
"""(T, 3) numbers: a tensor, an array or lists of dx, dy and what the pen does."""


class StrokeSamplingMixin(PreTrainedModel):
    """`generate_strokes` for a model that says the density of the next movement."""

    def density(self, logits: torch.Tensor) -> StrokeDensity:
        """Return the density of the next movement."""
        raise NotImplementedError

    @torch.no_grad()
    def generate_strokes(
        self,
        num_drawings: int = 1,
        *,
        classes: str | int | Sequence[str | int] | None = None,
        prefix: Drawing | None = None,
        bias: float = 0.0,
        temperature: float = 1.0,
        max_new_steps: int = 200,
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> list[torch.Tensor]:
        """Draw until each drawing has ended, and at most so many steps.

        Args:
            num_drawings: How many.
            classes: Which kind of drawing, by name or number: one for all, or one for each.
            prefix: (T, 3) the beginning that all go on from, in the units of the data; it is part of what is returned.
                None: the pen is put down, (0, 0, 0).
            bias: 0 draws from the model; more prefers what is likely, which looks tidier (Graves 2013); 1 is much.
            temperature: Above 1 draws more freely, below 1 less, the pen too.
            max_new_steps: Most points that are added to a drawing.
            seed: For the same drawings again.
            generator: Where the random numbers come from, in place of a seed.

        Returns:
            A (T, 3) tensor each: dx, dy in the units of the data, and what the pen does after the point: 0 goes on, 1
            ends the stroke, 2 ends the drawing. A drawing without a 2 was cut off.
        """
        check_amounts(num_drawings, max_new_steps, bias, temperature)
        _check_source(seed, generator)
        if seed is not None:
            generator = torch.Generator(self.device).manual_seed(seed)
        begun = _read_prefix([FIRST] if prefix is None else prefix).to(self.device)
        read = begun.expand(num_drawings, -1, -1).clone()
        read[:, 0, :2] = 0.0  # where a drawing begins changes nothing of it
        labels = self._class_ids(classes, num_drawings)
        was_training = self.training
        self.eval()
        try:
            steps = self._draw(read, labels, (bias, temperature), max_new_steps, generator)
        finally:
            self.train(was_training)
        drawn = torch.cat((begun.expand(num_drawings, -1, -1), *steps), dim=1)
        return [_until_its_end(each) for each in drawn]

    def _draw(
        self,
        read: torch.Tensor,
        labels: torch.Tensor | None,
        sharpness: tuple[float, float],
        most: int,
        generator: torch.Generator | None,
    ) -> list[torch.Tensor]:
        """Return the steps, (B, 1, 3) each; what follows the end of a drawing is noise."""
        steps, has_ended = list[torch.Tensor](), torch.zeros(len(read), dtype=torch.bool, device=read.device)
        cache, given = None, {} if labels is None else {"class_ids": labels}
        bias, temperature = sharpness
        while len(steps) < most and not bool(has_ended.all()):
            outputs = self(read, cache=cache, use_cache=True, **given)
            cache = outputs.cache
            density = self.density(outputs.logits[:, -1]).sharpened(bias=bias, temperature=temperature)
            offsets, pens = density.sample(generator)
            read = torch.cat((offsets * self.config.offset_scale, pens[:, None].to(offsets)), dim=-1)[:, None]
            steps.append(read)
            has_ended |= pens == ENDS
        return steps

    def _class_ids(self, classes: str | int | Sequence[str | int] | None, count: int) -> torch.Tensor | None:
        """Return (B,) the numbers of the classes."""
        names = self.config.class_names
        if names is None or classes is None:
            if names is None and classes is not None:
                raise ValueError(f"classes={classes!r}: this model knows no classes; leave them out.")
            if names is not None:
                raise ValueError(
                    f"This model draws classes: give classes=, such as {names[0]!r}, of {_listed(names)}."
                )
            return None
        asked = [classes] * count if isinstance(classes, str | int) else list(classes)
        if len(asked) != count:
            raise ValueError(f"There are {len(asked)} classes for {count} drawings: give one, or one for each.")
        known: dict[str | int, int] = {**{name: place for place, name in enumerate(names)}}
        known |= {place: place for place in range(len(names))}
        for one in asked:
            if isinstance(one, bool) or one not in known:  # True is 1 to a dictionary
                raise ValueError(
                    f"There is no class {one!r}: choose among {_listed(names)}, or 0 to {len(names) - 1}."
                )
        return torch.tensor([known[one] for one in asked], device=self.device)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")


def check_amounts(count: Any, steps: Any, bias: Any, temperature: Any) -> None:
    """Check the options of `generate_strokes` that are numbers."""
    for name, number in (("num_drawings", count), ("max_new_steps", steps)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ValueError(f"{name}={number!r} must be a whole number, 1 or more.")
    for name, value, fits in (
        ("bias", bias, "from 0 to 100"),
        ("temperature", temperature, "above 0, at most 100"),
    ):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= 100 or (name == "temperature" and value == 0):
            raise ValueError(f"{name}={value!r} must be a number {fits}.")


def _check_source(seed: int | None, generator: torch.Generator | None) -> None:
    if seed is not None and generator is not None:
        raise ValueError(f"seed={seed} and generator are two sources of random numbers: give one of them.")


def _read_prefix(prefix: Drawing) -> torch.Tensor:
    begun = torch.as_tensor(prefix, dtype=torch.float32)
    if begun.dim() != 2 or begun.shape[1] != 3 or len(begun) == 0 or not bool(begun.isfinite().all()):
        raise ValueError(
            f"prefix must be one drawing of finite numbers (points, 3): dx, dy and what the pen does; got the shape "
            f"{tuple(begun.shape)}{'' if bool(begun.isfinite().all()) else ' with numbers that are not finite'}."
        )
    if bool((begun[:, 2] == ENDS).any()):
        raise ValueError(f"prefix holds the end of a drawing (pen = {ENDS}), and nothing comes after it: give 0 or 1.")
    wrong = (begun[:, 2] != DRAWS) & (begun[:, 2] != LIFTS)
    if bool(wrong.any()):
        place = int(wrong.nonzero()[0])
        raise ValueError(f"prefix, point {place}: the pen is {begun[place, 2]:g}, and must be 0 or 1 (it is lifted).")
    return begun


def _until_its_end(drawn: torch.Tensor) -> torch.Tensor:
    """Cut a drawing behind its first end."""
    ends = (drawn[:, 2] == ENDS).nonzero()
    return drawn[: int(ends[0]) + 1].clone() if len(ends) else drawn.clone()
