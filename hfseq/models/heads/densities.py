"""What a forecast says of a number that comes: one value, quantiles, a Gaussian, or a mixture of Gaussians.

    point       y^                                  loss (y - y^)^2
    quantile    y^_q for each q                     loss mean_q max(q (y - y^_q), (q - 1) (y - y^_q))      (pinball)
    gaussian    N(y; m, s^2)                        loss -log p(y)
    mixture     sum_k w_k N(y; m_k, s_k^2)          loss -log p(y)                                  (Bishop 1994)

with s = softplus(.) + 1e-3 and w = softmax(.): a scaled number is hardly ever known to a thousandth of its spread, and
without the floor a loss has no lower bound. Quantiles are put in order before they are shown: sorted ones are never
worse (Chernozhukov et al. 2010), while sorted ones in the loss would learn slower.

Shapes: (..., P) parameters of one number, (...) numbers.
"""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import nn

Distribution: TypeAlias = Literal["point", "quantile", "gaussian", "mixture"]
DISTRIBUTIONS = get_args(Distribution)

MEDIAN_AND_80_PERCENT = (0.1, 0.5, 0.9)
"""The quantiles where a config names none."""

_LEAST_SCALE = 1e-3
_HALVINGS = 60


class Density:
    """One of the above.

    Attributes:
        num_parameters: P, what a model says of each number.
    """

    num_parameters: int = 1

    def loss(self, parameters: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Compare (..., P) with the numbers that came, (...); return the loss of each, (...)."""
        raise NotImplementedError

    def center(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the one number (...) to expect: the mean; of quantiles the median."""
        raise NotImplementedError

    def quantile(self, parameters: torch.Tensor, share: float) -> torch.Tensor:
        """Return the number (...) below which this share of what comes is said to lie."""
        raise ValueError(f"{type(self).__name__} says one number and no interval: {_HOW_TO_INTERVALS}")

    def sample(self, parameters: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw a number (...) of each."""
        raise ValueError(f"{type(self).__name__} has nothing to draw from: {_HOW_TO_INTERVALS}")


_HOW_TO_INTERVALS = "train with distribution='gaussian' or 'mixture', or for intervals alone 'quantile'."


class Point(Density):
    """One number, by squared error."""

    def loss(self, parameters: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return the squared errors."""
        return (parameters.squeeze(-1) - values).square()

    def center(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the numbers."""
        return parameters.squeeze(-1)


class Quantiles(Density):
    """A number for each share, by the pinball loss.

    Args:
        shares: Increasing, between 0 and 1.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        if not shares or list(shares) != sorted(set(shares)) or not 0 < shares[0] <= shares[-1] < 1:
            raise ValueError(
                f"quantiles={list(shares)} must be increasing shares between 0 and 1, as [0.1, 0.5, 0.9]."
            )
        self.shares = tuple(float(share) for share in shares)
        self.num_parameters = len(self.shares)

    def loss(self, parameters: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of the pinball losses."""
        shares = torch.tensor(self.shares, dtype=parameters.dtype, device=parameters.device)
        missed = values[..., None] - parameters
        return torch.maximum(shares * missed, (shares - 1) * missed).mean(-1)

    def center(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the median, or what lies nearest to it between two shares."""
        return self.quantile(parameters, min(max(0.5, self.shares[0]), self.shares[-1]))

    def quantile(self, parameters: torch.Tensor, share: float) -> torch.Tensor:
        """Return that of a share which was learnt, or what lies between two of them."""
        if not self.shares[0] <= share <= self.shares[-1]:
            raise ValueError(
                f"The share {share} is outside the quantiles that this model has learnt, {list(self.shares)}."
            )
        ordered = parameters.sort(-1).values
        above = next(place for place, each in enumerate(self.shares) if each >= share)
        if self.shares[above] == share:
            return ordered[..., above]
        below = above - 1
        part = (share - self.shares[below]) / (self.shares[above] - self.shares[below])
        return ordered[..., below].lerp(ordered[..., above], part)


class GaussianMixture(Density):
    """A mixture of K Gaussians.

    Args:
        num_mixtures: K.
    """

    def __init__(self, num_mixtures: int) -> None:
        self.num_mixtures = num_mixtures
        self.num_parameters = 3 * num_mixtures

    def parts(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log w, m and s of each Gaussian, (..., K) each."""
        weights, means, scales = parameters.chunk(3, dim=-1)
        return weights.log_softmax(-1), means, nn.functional.softplus(scales) + _LEAST_SCALE

    def loss(self, parameters: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return -log p(y), in nats."""
        log_weights, means, scales = self.parts(parameters)
        errors = (values[..., None] - means) / scales
        log_densities = -0.5 * errors.square() - scales.log() - 0.5 * math.log(2 * math.pi)
        return -(log_weights + log_densities).logsumexp(-1)

    def center(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the means."""
        log_weights, means, _ = self.parts(parameters)
        return (log_weights.exp() * means).sum(-1)

    def quantile(self, parameters: torch.Tensor, share: float) -> torch.Tensor:
        """Return the quantiles: of one Gaussian by its formula, of several by halving an interval around them."""
        if not 0 < share < 1:
            raise ValueError(f"The share {share} of a quantile must lie between 0 and 1.")
        log_weights, means, scales = self.parts(parameters)
        away = scales * math.sqrt(2) * torch.special.erfinv(scales.new_tensor(2 * share - 1))
        # The quantile of a mixture lies between those of its parts.
        low, high = (means + away).amin(-1), (means + away).amax(-1)
        for _ in range(_HALVINGS if self.num_mixtures > 1 else 0):
            middle = (low + high) / 2
            below = (log_weights.exp() * _normal_below((middle[..., None] - means) / scales)).sum(-1) < share
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def sample(self, parameters: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw a Gaussian of each mixture, and a number of it."""
        log_weights, means, scales = self.parts(parameters)
        weights = log_weights.exp().flatten(0, -2)
        chosen = weights.multinomial(1, generator=generator).view(*means.shape[:-1], 1)
        means, scales = means.gather(-1, chosen).squeeze(-1), scales.gather(-1, chosen).squeeze(-1)
        drawn = torch.randn(means.shape, generator=generator, dtype=means.dtype, device=means.device)
        return means + scales * drawn


class Gaussian(GaussianMixture):
    """One Gaussian: a mixture of one, without a weight."""

    def __init__(self) -> None:
        super().__init__(1)
        self.num_parameters = 2

    def parts(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log w = 0, m and s, (..., 1) each."""
        means, scales = parameters.chunk(2, dim=-1)
        return torch.zeros_like(means), means, nn.functional.softplus(scales) + _LEAST_SCALE


def _normal_below(errors: torch.Tensor) -> torch.Tensor:
    """Return which share of a standard Gaussian lies below."""
    return 0.5 * torch.erfc(-errors / math.sqrt(2))


def make_density(kind: Distribution, *, quantiles: Sequence[float] | None = None, num_mixtures: int = 3) -> Density:
    """Return the density of this name; `quantiles` are for "quantile" alone."""
    if quantiles is not None and kind != "quantile":
        raise ValueError(
            f"quantiles={list(quantiles)} are learnt with distribution='quantile', and distribution={kind!r} has "
            "others of its own or none: leave quantiles out."
        )
    if kind == "quantile":
        return Quantiles(MEDIAN_AND_80_PERCENT if quantiles is None else quantiles)
    if kind == "mixture":
        return GaussianMixture(num_mixtures)
    return Gaussian() if kind == "gaussian" else Point()


__all__ = ["Density", "Gaussian", "GaussianMixture", "Point", "Quantiles", "make_density"]
