"""How probable the next movement of a pen is: a mixture of Gaussians for where it goes, and what it does then.

    p(x, pen) = P(pen) sum_k pi_k N(x | mu_k, Sigma_k)         Sigma_k = [s1^2, r s1 s2; r s1 s2, s2^2]

The network's numbers become parameters by (Graves 2013, eq. 18 to 22)

    pi = softmax     s = 0.001 + softplus     r = 0.99 tanh     P(pen) = softmax

Graves takes exp for s; softplus does not overflow, and the two bounds keep a Gaussian from becoming a line or a point,
whose density has no limit. In place of his Bernoulli for the end of a stroke the pen has three states, as in
sketch-rnn (Ha and Eck 2017), so that a drawing ends by itself.

Shapes: ... any, K components.
"""

import math
from typing import Final, NamedTuple

import torch
from torch import nn

DRAWS, LIFTS, ENDS = 0, 1, 2
"""What the pen does after a point: it goes on, it ends its stroke, or it ends the drawing."""
PEN_STATES: Final = 3
SMALLEST_STD: Final = 1e-3
LARGEST_CORRELATION: Final = 0.99


class StrokeDensity(NamedTuple):
    """The density of the next movement.

    Attributes:
        log_weights: (..., K) log pi.
        means: (..., K, 2).
        stds: (..., K, 2).
        correlations: (..., K).
        pen_logits: (..., 3).
    """

    log_weights: torch.Tensor
    means: torch.Tensor
    stds: torch.Tensor
    correlations: torch.Tensor
    pen_logits: torch.Tensor

    @staticmethod
    def size(num_mixtures: int) -> int:
        """Return how many numbers a network must give: 6 a component, and 3 of the pen."""
        return 6 * num_mixtures + PEN_STATES

    @classmethod
    def of_mixture(cls, numbers: torch.Tensor) -> "StrokeDensity":
        """Read the numbers of a network, (..., 6 K + 3)."""
        shape = *numbers.shape[:-1], -1
        pen, weights, means, stds, correlations = numbers.split(
            (PEN_STATES, *(share * ((numbers.shape[-1] - PEN_STATES) // 6) for share in (1, 2, 2, 1))), dim=-1
        )
        return cls(
            weights.log_softmax(-1),
            means.reshape(*shape, 2),
            SMALLEST_STD + nn.functional.softplus(stds).reshape(*shape, 2),
            LARGEST_CORRELATION * correlations.tanh(),
            pen,
        )

    @classmethod
    def around(cls, numbers: torch.Tensor, std: float) -> "StrokeDensity":
        """Read a mean and the pen, (..., 2 + 3): one Gaussian of a width that the network does not say."""
        pen, mean = numbers.split((PEN_STATES, 2), dim=-1)
        zeros = mean.new_zeros(*mean.shape[:-1], 1)
        return cls(zeros, mean[..., None, :], torch.full_like(mean, std)[..., None, :], zeros, pen)

    def log_prob_of_offsets(self, offsets: torch.Tensor) -> torch.Tensor:
        """Return log p of offsets (..., 2) without the pen, (...)."""
        first, second = ((offsets[..., None, :] - self.means) / self.stds).unbind(-1)
        rest = torch.log1p(-self.correlations.square())  # log(1 - r^2)
        distance = first.square() + (second - self.correlations * first).square() * torch.exp(-rest)
        log_norm = math.log(2 * math.pi) + self.stds.log().sum(-1) + 0.5 * rest
        return torch.logsumexp(self.log_weights - log_norm - 0.5 * distance, dim=-1)

    def log_prob_of_pens(self, pens: torch.Tensor) -> torch.Tensor:
        """Return log P of what the pen does, (...) of 0, 1, 2."""
        return self.pen_logits.log_softmax(-1).gather(-1, pens[..., None]).squeeze(-1)

    def mean(self) -> torch.Tensor:
        """Return the mean offset, (..., 2)."""
        return (self.log_weights.exp()[..., None] * self.means).sum(-2)

    def sharpened(self, *, bias: float = 0.0, temperature: float = 1.0) -> "StrokeDensity":
        """Return a density that prefers what is likely.

        Args:
            bias: Of Graves (2013, eq. 61 and 62): stds are divided by exp(bias), and weights sharpened by 1 + bias.
            temperature: As in sketch-rnn: logits are divided by it, and variances multiplied.
        """
        weights = self.log_weights * ((1 + bias) / temperature)
        return self._replace(
            log_weights=weights.log_softmax(-1),
            stds=self.stds * (math.exp(-bias) * math.sqrt(temperature)),
            pen_logits=self.pen_logits / temperature,
        )

    def sample(self, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw offsets (N, 2) and what the pen does, (N), from a density of N rows."""
        chosen = torch.multinomial(self.log_weights.exp(), 1, generator=generator)  # (N, 1)
        correlation = self.correlations.gather(1, chosen)[:, 0]
        places = chosen[..., None].expand(-1, 1, 2)
        mean, std = self.means.gather(1, places)[:, 0], self.stds.gather(1, places)[:, 0]
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        second = correlation * noise[:, 0] + (1 - correlation.square()).sqrt() * noise[:, 1]
        pens = torch.multinomial(self.pen_logits.softmax(-1), 1, generator=generator)[:, 0]
        return mean + std * torch.stack((noise[:, 0], second), dim=-1), pens
