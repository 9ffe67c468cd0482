"""The simple systems that a model of drawings is measured beside, on the same rows of the same run.

    last offset               the pen goes on as it did: a Gaussian around the last offset
    mixture without context   the same mixture of Gaussians at each step

Both are fitted on the training drawings, the first one apart for a pen that draws and one that was lifted; so is how
often the pen goes on, is lifted or ends.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from ...cards.facts import Comparison
from ...data.strokes import StrokesTask
from ...models.recurrent.stroke_density import LIFTS, PEN_STATES
from ...recipe.publish import rival
from .card import LAST_OFFSET, NO_CONTEXT

_MOST_FITTED = 50_000  # points that the mixture is fitted on
_FLOOR = 1e-6  # added to variances, in units of the scale


class Steps(NamedTuple):
    """The steps of all drawings of a split, from each point to the next, in units of the scale.

    Attributes:
        before: (n, 3) the point before each, dx, dy and 1 where the pen was lifted behind it.
        after: (n, 3) the point, dx, dy and what the pen does: 0, 1 or 2.
    """

    before: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, drawings: Sequence[np.ndarray], scale: float) -> "Steps":
        """Read drawings."""
        units = np.array([scale, scale, 1.0])
        before = np.concatenate([each[:-1] for each in drawings]) / units
        return cls(before, np.concatenate([each[1:] for each in drawings]) / units)


def rivals(task: StrokesTask, split: str, scale: float, num_mixtures: int) -> list[Comparison]:
    """Fit the systems on train, and let each score a split."""
    train, asked = (Steps.of(task.drawings(name), scale) for name in ("train", split))
    in_units = -2 * np.log(scale)  # a density in the units of the data
    found = {}
    for name, density, mean in (
        (f"{LAST_OFFSET} (a Gaussian around it)", _around_last(train, asked), asked.before[:, :2]),
        (
            f"{NO_CONTEXT} ({num_mixtures} Gaussians)",
            _without_context(train, asked, num_mixtures),
            train.after[:, :2].mean(0),
        ),
    ):
        log_probs = density + in_units + _pens(train, asked)
        squares = np.square(asked.after[:, :2] - mean)
        found[name] = {"nats_per_step": float(-log_probs.mean()), "mse": float(squares.mean())}
    return [row for name, scores in found.items() for row in rival(name, scores)]


def _around_last(train: Steps, asked: Steps) -> np.ndarray:
    """Return (n) log densities by N(last offset, covariance of the changes), one for each state of the pen before."""
    found = np.zeros(len(asked.after))
    for lifted in (False, True):
        own, theirs = ((steps.before[:, 2] == LIFTS) == lifted for steps in (train, asked))
        if theirs.any():
            changes = (train.after - train.before)[own if own.sum() > 2 else slice(None), :2]
            spread = changes.T @ changes / len(changes) + _FLOOR * np.eye(2)
            found[theirs] = multivariate_normal.logpdf((asked.after - asked.before)[theirs, :2], cov=spread)
    return found


def _without_context(train: Steps, asked: Steps, num_mixtures: int) -> np.ndarray:
    offsets = train.after[:, :2]
    places = np.random.default_rng(0).permutation(len(offsets))[:_MOST_FITTED]
    most = min(num_mixtures, len(places))
    mixture = GaussianMixture(most, reg_covar=_FLOOR, random_state=0).fit(offsets[places])
    found: np.ndarray = mixture.score_samples(asked.after[:, :2])
    return found


def _pens(train: Steps, asked: Steps) -> np.ndarray:
    """Return (n) log shares of what the pen does, behind a pen that drew and one that was lifted; none is 0."""
    counts = np.ones((2, PEN_STATES))
    np.add.at(counts, (train.before[:, 2].astype(int), train.after[:, 2].astype(int)), 1)
    shares = np.log(counts / counts.sum(1, keepdims=True))
    found: np.ndarray = shares[asked.before[:, 2].astype(int), asked.after[:, 2].astype(int)]
    return found
