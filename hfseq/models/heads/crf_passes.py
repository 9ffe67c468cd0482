"""The passes of a linear-chain CRF in torch: on any device, with gradients, without a loop over the texts.

    alpha_1(j) = a_j + e_1(j) - c_1
    alpha_t(j) = log sum_i exp(alpha_{t-1}(i) + A_ij) + e_t(j) - c_t
    c_t                                               such that sum_j exp(alpha_t(j)) = 1
    log Z      = c_1 + ... + c_T + log sum_j exp(alpha_T(j) + b_j)

    beta_T(i)  = b_i
    beta_t(i)  = log sum_j exp(A_ij + e_{t+1}(j) + beta_{t+1}(j))     up to a constant for each t
    log P(y_t = j | x) = alpha_t(j) + beta_t(j)                       normalised over j

Viterbi's delta is alpha with max in the place of each sum. The letters are those of `crf.py`.

Texts stand at the front of their rows; `lengths` says how long each is. Shapes: B batch, T time, L labels.
"""

from typing import Final, NamedTuple

import torch

# In the place of minus infinity: its exponential is 0 beside any number, and a difference of two is no NaN.
FORBIDDEN: Final = -1e30

LEAST: Final = -104.0
"""The least log-probability that is told: in float32 its exponential is 0. Minus infinity would be NaN times 0."""


class Scores(NamedTuple):
    """a (L), A (L, L) and b (L), FORBIDDEN where the names of the labels rule it out."""

    start: torch.Tensor
    transitions: torch.Tensor
    end: torch.Tensor


def read_forward(emissions: torch.Tensor, lengths: torch.Tensor, scores: Scores) -> tuple[torch.Tensor, torch.Tensor]:
    """Return alpha (B, T, L), and c with the last term of log Z behind it (B, T + 1), 0 behind the end of a text."""
    alpha = scores.start.expand(len(emissions), -1)
    alphas, gains = [], []
    for t in range(emissions.shape[1]):
        before = alpha if t == 0 else (alpha[:, :, None] + scores.transitions).logsumexp(1)
        joint = before + emissions[:, t]
        gain = joint.logsumexp(-1, keepdim=True)
        is_read = (t < lengths)[:, None]
        alpha = torch.where(is_read, joint - gain, alpha)
        alphas.append(alpha)
        gains.append(gain.masked_fill(~is_read, 0.0))
    last = (alpha + scores.end).logsumexp(-1, keepdim=True)
    gains.append(last.masked_fill((lengths == 0)[:, None], 0.0))
    return torch.stack(alphas, 1), torch.cat(gains, 1)


def read_backward(emissions: torch.Tensor, lengths: torch.Tensor, scores: Scores) -> torch.Tensor:
    """Return beta, (B, T, L)."""
    beta = scores.end.expand(len(emissions), -1)
    betas = [beta]
    for t in range(emissions.shape[1] - 1, 0, -1):
        ahead = emissions[:, t] + beta
        # A constant is taken out at each step: in a long text the sums would lose digits.
        ahead = ahead - ahead.logsumexp(-1, keepdim=True)
        before = (ahead[:, None] + scores.transitions).logsumexp(-1)
        beta = torch.where((t < lengths)[:, None], before, beta)
        betas.append(beta)
    return torch.stack(betas[::-1], 1)


def log_marginals(emissions: torch.Tensor, lengths: torch.Tensor, scores: Scores) -> torch.Tensor:
    """Return log P(y_t = j | x), (B, T, L)."""
    alphas, _ = read_forward(emissions, lengths, scores)
    return (alphas + read_backward(emissions, lengths, scores)).log_softmax(-1)


def best_paths(emissions: torch.Tensor, lengths: torch.Tensor, scores: Scores) -> torch.Tensor:
    """Return the labels of the likeliest paths, (B, T), 0 behind the end of a text."""
    delta = scores.start + emissions[:, 0]
    links = []  # for each label, the best one before it
    for t in range(1, emissions.shape[1]):
        best, link = (delta[:, :, None] + scores.transitions).max(1)
        best = best + emissions[:, t]
        is_read = (t < lengths)[:, None]
        delta = torch.where(is_read, best - best.amax(-1, keepdim=True), delta)
        links.append(link)
    label = (delta + scores.end).argmax(-1)
    path = [label]
    for t in range(len(links), 0, -1):
        # Behind the end of its text a row waits with its last label.
        label = torch.where(t < lengths, links[t - 1].gather(1, label[:, None])[:, 0], label)
        path.append(label)
    labels = torch.stack(path[::-1], 1)
    steps = torch.arange(labels.shape[1], device=labels.device)
    return labels.masked_fill(steps >= lengths[:, None], 0)


__all__ = ["FORBIDDEN", "LEAST", "Scores", "best_paths", "log_marginals", "read_backward", "read_forward"]
