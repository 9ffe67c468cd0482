"""Clip what one step hands back to the step before it: the second of the three places where gradients are clipped.

    forward     h_t = f(x_t, h_{t-1})                                        as ever (see below)
    backward    dL/dh_{t-1} = d_{t-1} + clip((dh_t/dh_{t-1})^T dL/dh_t)      clip(v) = min(max(v, -c), c), each element

d_{t-1} is what comes from the output at step t-1 (the loss, or the layer above); it is not clipped, and neither is the
gradient that comes to the last state from outside. What is clipped goes from step t to step t-1, so that an explosion
cannot grow from step to step. Every state of a cell is met, so h and c of an LSTM, and the state that the first step
began from as well: reading a text in one call or in pieces gives the same gradients. Padding is no step: it hands back
what it got. An infinite element becomes c, one that is NaN stays NaN.

On the CPU with the fused kernels the forward pass is the same to the bit. On a GPU, or without numba, the loop
in plain torch takes over, which rounds otherwise than torch's own loops.

The limit is an attribute of each loop (`RecurrentLoop.clip_hidden`), set while a gradient is taken and in no config.
A graph (torch.jit.trace, torch.export) has no backward pass of ours, and knows nothing of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .state import States


class _ClippedOnTheWayBack(torch.autograd.Function):
    """The identity, whose gradient is clipped element by element."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: torch.Tensor, limit: float) -> torch.Tensor:
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float], output: torch.Tensor) -> None:
        ctx.limit = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient.clamp(-ctx.limit, ctx.limit), None


def clipped_on_the_way_back(states: States, limit: float | None) -> States:
    """Return the states that a step reads; what it hands back to them is clipped to [-limit, limit]."""
    if limit is None:
        return states
    return tuple(_ClippedOnTheWayBack.apply(state, limit) for state in states)


def loops_of(model: nn.Module) -> list[Any]:
    """List the time loops of a model; none for one that does not recur over time."""
    # By the attribute: a model that was exported with its code has a class of its own.
    return [module for module in model.modules() if hasattr(module, "clip_hidden")]


def check_clips_hidden(model: nn.Module, limit: float) -> None:
    """Raise a ValueError for a model without a loop over time."""
    if not loops_of(model):
        raise ValueError(
            f"clip_hidden={limit} clips what the steps of a recurrent network hand back to one another, and "
            f"{type(model).__name__} has no loop over time: leave it out; max_grad_norm and clip_grad_value clip the "
            "gradient of any model."
        )


@contextmanager
def clipping_hidden(model: nn.Module, limit: float | None) -> Iterator[None]:
    """Clip the gradient between the steps of all loops of a model, in all that runs inside; None: do nothing.

    Forward and backward pass both belong inside.
    """
    if limit is None:
        yield
        return
    check_clips_hidden(model, limit)
    loops = loops_of(model)
    before = [loop.clip_hidden for loop in loops]
    try:
        for loop in loops:
            loop.clip_hidden = limit
        yield
    finally:
        for loop, earlier in zip(loops, before, strict=True):
            loop.clip_hidden = earlier
