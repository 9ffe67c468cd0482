"""Columns that are known ahead, such as holidays: a step of a model shows their values of the steps that it predicts.

    step t reads     y_t  x_t  k_{t+1} ... k_{t+H}         y, x: seen up to now; k: known ahead; H: steps predicted

Shapes: T steps, C columns seen up to now, K known ahead.
"""

from collections.abc import Sequence

import numpy as np


def with_known(observed: np.ndarray, known: np.ndarray, horizon: int) -> np.ndarray:
    """Join (T, C) and the known columns of the `horizon` steps after each, for the steps that have them all.

    Args:
        observed: (T, C).
        known: (T or more, K); rows after those of `observed` are of the steps that come.
        horizon: H; 0: a step shows the known values of itself.
    """
    if not known.shape[1]:
        return observed
    steps = max(min(len(observed), len(known) - horizon), 0)
    shown = [known[ahead : ahead + steps] for ahead in (range(1, horizon + 1) if horizon else [0])]
    return np.concatenate([observed[:steps], *shown], axis=1)


def known_names(known: Sequence[str], horizon: int) -> list[str]:
    """Name the columns that `with_known` adds: "holiday+1" is that of the next step."""
    return [f"{name}+{ahead}" for ahead in range(1, horizon + 1) for name in known] if horizon else list(known)
