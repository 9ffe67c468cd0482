"""A linear-chain CRF in probabilities, text by text; the plain twin is `models/heads/crf_passes.py`.

    P_t(j)     = exp(e_t(j) - largest of the word)             E_ij = exp(A_ij - largest), 0 where j may not follow i
    alpha_t(j) = P_t(j) sum_i alpha_{t-1}(i) E_ij / c_t        c_t: so that they sum to 1
    v_t(j)     = P_t(j) beta_t(j) / c_t
    beta_t(i)  = sum_j E_ij v_{t+1}(j)

    d log Z / d e_t(j) = P(y_t = j | x)                      = alpha_t(j) beta_t(j)
    d log Z / d A_ij   = sum_t P(y_t = i, y_{t+1} = j | x)   = E_ij sum_t alpha_t(i) v_{t+1}(j)

So the gradients are there with the loss, and its backward pass is a multiplication. The largest ones, taken out of
the exponents, are in log Z and in the score of the true labels alike, so the loss does without them. No logarithm is
taken inside a text: with scores that lie near to one another, float32 holds all probabilities that matter, and float64
with any others that a network has.

The letters are those of `models/heads/crf.py`. Shapes: n words of all texts, B texts, L labels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from .chain_loops import below_largest, ends_of, find_paths, follow_labels, pass_through, put_first, sure_paths

INTERFACE = 1  # as in models/heads/fused_crf.py

WIDEST = 300.0
"""The largest difference of two scores that is left to probabilities: with a larger one they might become 0."""

WIDEST_OF_SINGLE = 30.0
"""The same for float32. What is lost there is less likely than the best label by 1e38, and two words further on, where
all labels can be reached again, this difference twice is made up for at most: 1e-12 remain."""

_FREE = -100  # the label of a word whose label is not known: IGNORED of models/base.py, which stands above
_RULED_OUT = -1e29  # what is lower stands for minus infinity


class _Chain(NamedTuple):
    """exp(a) (L), E (L, L), exp(b) (L) and P (n, L), float32 or all float64."""

    start: np.ndarray
    steps: np.ndarray
    end: np.ndarray
    words: np.ndarray


class _Expected(NamedTuple):
    """What the two passes found.

    Attributes:
        log_z: Of all texts together, without what was taken out.
        marginals: (n, L).
        pairs: (L, L) the expected number of each transition.
        ends: (2, L) the expected number of texts that begin, and that end, with each label.
    """

    log_z: float
    marginals: np.ndarray
    pairs: np.ndarray
    ends: np.ndarray


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
    found = _loss_and_gradients(_array(packed), labels.numpy(), begins.numpy(), *map(_array, scores))
    return None if found is None else _Loss.apply(*found, packed, *scores)


def answers(
    packed: torch.Tensor, begins: torch.Tensor, scores: Any, least: float, with_paths: bool
) -> torch.Tensor | None:
    """Return log P(y_t = j | x), (n, L); None as `loss`.

    Args:
        packed: (n, L) emissions.
        begins: (B + 1) the first word of each text, and n.
        scores: a, A and b.
        least: The lowest logarithm, of what is ruled out too.
        with_paths: Whether the label of the likeliest row and the likeliest label change places.
    """
    emissions, texts, tables = _array(packed), begins.numpy(), [_array(each) for each in scores]
    chain = _chain(emissions, *tables)
    if chain is None:
        return None
    log_z, alphas, ahead, marginals = _pass(chain, texts)
    if not np.isfinite(log_z):
        return None
    paths = np.empty(len(emissions), dtype=np.int64)
    if with_paths:
        is_known = sure_paths(texts, chain.steps, alphas, ahead, marginals, paths)
        find_paths(texts, *tables, emissions, emissions.dtype.type(_RULED_OUT), is_known, paths)
    found = marginals.astype(emissions.dtype, copy=False)
    with np.errstate(divide="ignore"):
        np.log(found, out=found)
    np.maximum(found, least, out=found)
    if with_paths:
        put_first(found, paths, np.finfo(found.dtype).eps)
    return torch.from_numpy(found)


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
    emissions: np.ndarray, labels: np.ndarray, begins: np.ndarray, *scores: np.ndarray
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]] | None:
    """Return the loss, and its gradients by the emissions, a, A and b."""
    chain = _chain(emissions, *scores)
    every = None if chain is None else _expected(chain, begins)
    right = None if chain is None or every is None else _take_right_ones(chain, every, labels, begins)
    if every is None or right is None:
        return None
    numbers = np.asarray(every.log_z - right), every.marginals, every.ends[0], every.pairs, every.ends[1]
    value, *gradients = (torch.from_numpy(each.astype(emissions.dtype, copy=False)) for each in numbers)
    return value, tuple(gradients)


def _take_right_ones(chain: _Chain, every: _Expected, labels: np.ndarray, begins: np.ndarray) -> float | None:
    """Take the expected numbers of the rows that have the labels from those of all rows, and return their log Z."""
    is_known = labels != _FREE
    if is_known.all():
        with np.errstate(divide="ignore"):
            total = follow_labels(begins, labels, *chain, every.marginals, every.pairs, every.ends)
        return float(total) if np.isfinite(total) else None
    is_other = is_known[:, None] & (np.arange(chain.words.shape[1]) != labels[:, None])
    right = _expected(chain._replace(words=np.where(is_other, 0, chain.words).astype(chain.words.dtype)), begins)
    if right is None:
        return None
    for numbers, less in zip(every[1:], right[1:], strict=True):
        numbers -= less
    return right.log_z


def _expected(chain: _Chain, begins: np.ndarray) -> _Expected | None:
    """Pass through all texts; None if one has no legal row of labels."""
    log_z, alphas, ahead, marginals = _pass(chain, begins)
    if not np.isfinite(log_z):
        return None
    # By torch, on the threads that it was given.
    pairs = chain.steps * (torch.from_numpy(alphas).t() @ torch.from_numpy(ahead)).numpy()
    texts = begins[1:] > begins[:-1]
    ends = np.stack([marginals[each[texts]].sum(0) for each in (begins[:-1], begins[1:] - 1)])
    return _Expected(log_z, marginals, pairs, ends)


def _pass(chain: _Chain, begins: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return log Z (NaN if a text has no legal row), alpha, v of the word behind each, and the marginals."""
    alphas, ahead, marginals = (np.empty_like(chain.words) for _ in range(3))
    log_z = pass_through(begins, *chain, alphas, ahead, marginals)
    return float(log_z), alphas, ahead, marginals


def _chain(emissions: np.ndarray, *scores: np.ndarray) -> _Chain | None:
    """Return the probabilities; None if the numbers are too far apart for them, or NaN, or there are none."""
    if not len(emissions):
        return None
    words = np.empty_like(emissions)
    tops, lows = zip(*(ends_of(each.ravel(), _RULED_OUT) for each in scores), strict=True)
    width = below_largest(emissions, words) + max(top - low for top, low in zip(tops, lows, strict=True))
    if not width <= WIDEST:
        return None
    kind = emissions.dtype if width <= WIDEST_OF_SINGLE else np.float64
    less = (*(each - top for each, top in zip(scores, tops, strict=True)), words)
    return _Chain(*(np.exp(each.astype(kind, copy=False)) for each in less))


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().contiguous().numpy()
