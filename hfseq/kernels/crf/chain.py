"""A linear-chain CRF in probabilities, text by text; the plain twin is `models/heads/crf_passes.py`.

    P_t(j)     = exp(e_t(j) - largest of the word)             E_ij = exp(A_ij - largest), 0 where j may not follow i
    alpha_t(j) = P_t(j) sum_i alpha_{t-1}(i) E_ij / c_t        c_t: so that they sum to 1
    v_t(j)     = P_t(j) beta_t(j) / c_t
    beta_t(i)  = sum_j E_ij v_{t+1}(j)

    d log Z / d e_t(j) = P(y_t = j | x)                      = alpha_t(j) beta_t(j)
    d log Z / d A_ij   = sum_t P(y_t = i, y_{t+1} = j | x)   = E_ij sum_t alpha_t(i) v_{t+1}(j)

So the gradients are there with the loss, and its backward pass is a multiplication. The largest ones, taken out of
the exponents, are in log Z and in the score of the true labels alike, so the loss does without them. All is float64,
which holds probabilities down to 1e-308: no logarithm is taken inside a text.

The letters are those of `models/heads/crf.py`. Shapes: n words of all texts, B texts, L labels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from .chain_loops import find_paths, follow_labels, pass_through

INTERFACE = 1  # as in models/heads/fused_crf.py

WIDEST = 300.0
"""The largest difference of two scores that is left to probabilities: with a larger one they might become 0."""

_FREE = -100  # the label of a word whose label is not known
_RULED_OUT = -1e29  # what is lower stands for minus infinity


class _Chain(NamedTuple):
    """exp(a) (L), E (L, L), exp(b) (L) and P (n, L), all float64."""

    start: torch.Tensor
    steps: torch.Tensor
    end: torch.Tensor
    words: torch.Tensor


class _Passed(NamedTuple):
    """What the two passes found.

    Attributes:
        log_z: Of all texts together, without what was taken out.
        marginals: (n, L).
        pairs: (L, L) the expected number of each transition.
        ends: (2, L) the expected number of texts that begin, and that end, with each label.
    """

    log_z: float
    marginals: torch.Tensor
    pairs: torch.Tensor
    ends: torch.Tensor


def loss(packed: torch.Tensor, labels: torch.Tensor, begins: torch.Tensor, scores: Any) -> torch.Tensor | None:
    """Return -log P of the labels, summed over texts.

    Args:
        packed: (n, L) emissions.
        labels: (n) ids, -100: not known.
        begins: (B + 1) the first word of each text, and n.
        scores: a, A and b, see `Scores` of `crf_passes.py`.

    Returns:
        None if the numbers are too far apart for probabilities, or a text has no legal row with its labels.
    """
    with torch.no_grad():
        found = _loss_and_gradients(packed, labels, begins, scores)
    return None if found is None else _Loss.apply(*found, packed, *scores)


def log_marginals(packed: torch.Tensor, begins: torch.Tensor, scores: Any) -> torch.Tensor | None:
    """Return log P(y_t = j | x), (n, L), minus infinity of what is ruled out; None as `loss`."""
    with torch.no_grad():
        chain = _chain(packed, scores)
        if chain is None:
            return None
        log_z, _, _, marginals = _pass(chain, begins)
        return marginals.to(packed.dtype).log_() if np.isfinite(log_z) else None


def best_paths(packed: torch.Tensor, begins: torch.Tensor, scores: Any) -> torch.Tensor:
    """Return the labels (n) of the likeliest rows."""
    paths = torch.empty(len(packed), dtype=torch.long)
    arrays = [each.detach().contiguous().numpy() for each in (*scores, packed)]
    find_paths(begins.numpy(), *arrays, _RULED_OUT, paths.numpy())
    return paths


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, gradients: tuple[torch.Tensor, ...], *_: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    def backward(ctx: Any, d_value: torch.Tensor) -> Any:
        if torch.is_grad_enabled():  # only under create_graph=True; a constant would be the wrong answer, unseen
            raise RuntimeError("The kernel of CRFs has no second derivative: leave create_graph=True out.")
        return None, None, *(d_value * gradient for gradient in ctx.saved_tensors)


def _loss_and_gradients(
    packed: torch.Tensor, labels: torch.Tensor, begins: torch.Tensor, scores: Any
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]] | None:
    """Return the loss, and its gradients by the emissions, a, A and b."""
    chain = _chain(packed, scores)
    every = None if chain is None else _expected(chain, begins)
    right = None if chain is None or every is None else _take_right_ones(chain, every, labels, begins)
    if every is None or right is None:
        return None
    gradients = every.marginals, every.ends[0], every.pairs, every.ends[1]
    return packed.new_tensor(every.log_z - right), tuple(gradient.to(packed.dtype) for gradient in gradients)


def _take_right_ones(chain: _Chain, every: _Passed, labels: torch.Tensor, begins: torch.Tensor) -> float | None:
    """Take the expected numbers of the rows that have the labels from those of all rows, and return their log Z."""
    is_known = labels != _FREE
    if is_known.all():
        arrays = (labels, *chain, every.marginals, every.pairs, every.ends)
        total = follow_labels(begins.numpy(), *(each.numpy() for each in arrays))
        return float(total) if np.isfinite(total) else None
    is_other = torch.arange(chain.words.shape[1]) != labels[:, None]
    right = _expected(chain._replace(words=chain.words.masked_fill(is_other & is_known[:, None], 0.0)), begins)
    if right is None:
        return None
    for numbers, less in zip(every[1:], right[1:], strict=True):
        numbers -= less
    return right.log_z


def _expected(chain: _Chain, begins: torch.Tensor) -> _Passed | None:
    """Pass through all texts; None if one has no legal row of labels."""
    log_z, alphas, ahead, marginals = _pass(chain, begins)
    if not np.isfinite(log_z):
        return None
    pairs = chain.steps * (alphas.t() @ ahead)
    texts = begins[1:] > begins[:-1]
    ends = torch.stack([marginals[each[texts]].sum(0) for each in (begins[:-1], begins[1:] - 1)])
    return _Passed(log_z, marginals, pairs, ends)


def _pass(chain: _Chain, begins: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log Z (NaN if a text has no legal row), alpha, v of the word behind each, and the marginals."""
    found = [torch.empty_like(chain.words) for _ in range(3)]
    log_z = pass_through(begins.numpy(), *(each.numpy() for each in (*chain, *found)))
    return float(log_z), *found


def _chain(packed: torch.Tensor, scores: Any) -> _Chain | None:
    """Return the probabilities; None if the numbers are too far apart for them, or NaN, or there are none."""
    largest = [each.max() for each in scores]
    lowest = [torch.where(each > _RULED_OUT, each, top).min() for each, top in zip(scores, largest, strict=True)]
    highest, least = packed.aminmax(dim=-1, keepdim=True)[::-1]
    widths = [top - low for top, low in zip(largest, lowest, strict=True)]
    if not len(packed) or not float(torch.stack([*widths, (highest - least).amax()]).max()) <= WIDEST:
        return None
    start, steps, end = ((each - top).double().exp_() for each, top in zip(scores, largest, strict=True))
    return _Chain(start, steps, end, (packed - highest).double().exp_())
