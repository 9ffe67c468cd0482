"""The kernel of CRFs equals torch: loss, gradients, marginals and paths."""

import pytest
import torch

from hfseq.kernels.crf import chain as chain_kernel
from hfseq.models.heads import fused_crf
from hfseq.models.heads.crf import LinearChainCRF
from tests.closeness import assert_same
from tests.rounds import for_each

pytest.importorskip("numba")

KINDS = [f"{prefix}-{kind}" for kind in range(8) for prefix in "BI"]
SCHEMES = {
    "iob2": ["O", *KINDS],
    "iobes": ["O", *KINDS, "E-0", "S-0", "E-1", "S-1", "S-9"],
    "tags": [f"TAG{index}" for index in range(17)],
}


def drawn(names, dtype, size):
    generator = torch.Generator().manual_seed(0)
    crf = LinearChainCRF(names).to(dtype)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.normal_(0, size, generator=generator)
    emissions = size * torch.randn(5, 9, len(names), generator=generator, dtype=dtype)
    chain = torch.rand(5, 9, generator=generator) < 0.7
    chain[2] = False
    return crf, emissions.requires_grad_(), chain


PRECISIONS = ((torch.float32, 1.0, 3e-6), (torch.float64, 0.1, 1e-13), (torch.float64, 9.0, 1e-12))


@torch.no_grad()
def paths_of(crf, emissions, chain):
    """The likeliest row of each text, which is legal."""
    return crf.answers(emissions, chain, "viterbi").argmax(-1).masked_fill(~chain, -100)


def results(crf, emissions, chain, labels):
    crf.zero_grad()
    emissions.grad = None
    loss = crf.loss(emissions, labels, chain, 7)
    (3 * loss).backward()
    with torch.no_grad():
        marginals = crf.answers(emissions, chain, "marginal")[chain].exp()
    paths = paths_of(crf, emissions, chain)
    return [loss.detach(), emissions.grad, *(each.grad.clone() for each in crf.parameters()), marginals, paths]


@for_each(
    ("scheme", "dtype", "size", "free", "tolerance"),
    [
        (scheme, dtype, size, free, tolerance)
        for scheme in SCHEMES
        for dtype, size, tolerance in (
            (torch.float32, 1.0, 3e-6),
            (torch.float64, 0.1, 1e-13),
            (torch.float64, 9.0, 1e-12),
        )
        for free in (False, True)
    ],
)
def test_the_kernel_equals_torch(scheme, dtype, size, free, tolerance):
    crf, emissions, chain = drawn(SCHEMES[scheme], dtype, size)
    labels = paths_of(crf, -emissions, chain)  # a legal row, and an unlikely one
    if free:
        labels[:, ::2] = -100
    found = results(crf, emissions, chain, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_crf, "_kernels", lambda: None)
        expected = results(crf, emissions, chain, labels)
    assert_same(found, expected, tolerance, scale=1.0)


@pytest.mark.parametrize("size", [0.3, 3.0, 6.0])
def test_rows_that_need_no_search_are_the_likeliest(size, monkeypatch):
    crf, emissions, chain = drawn(SCHEMES["iob2"], torch.float64, size)
    known = []

    def found_without(*given):
        known.append(given[-2].copy())
        return search(*given)

    search = chain_kernel.find_paths
    monkeypatch.setattr(chain_kernel, "find_paths", found_without)
    found = paths_of(crf, emissions, chain)
    monkeypatch.setattr(fused_crf, "_kernels", lambda: None)
    assert torch.equal(found, paths_of(crf, emissions, chain))
    assert known[0][chain.any(1).numpy()].any() == (size > 1)


def test_the_kernel_is_taken_where_it_can_be():
    crf, emissions, chain = drawn(SCHEMES["iob2"], torch.float32, 1.0)
    labels, scores = paths_of(crf, emissions, chain), crf.scores(emissions)
    assert fused_crf.fused_loss(emissions, labels, chain, scores) is not None
    assert fused_crf.fused_answers(emissions.detach(), chain, scores, False) is None  # with gradients
    with torch.no_grad():
        assert fused_crf.fused_answers(emissions, chain, scores, True) is not None
        assert fused_crf.fused_answers(emissions, torch.zeros_like(chain), scores, True) is None  # no word at all


@pytest.mark.parametrize("number", [400.0, float("inf"), float("nan")])
def test_what_probabilities_cannot_hold_is_left_to_logarithms(number):
    crf, emissions, chain = drawn(SCHEMES["iob2"], torch.float64, 1.0)
    chain[0, 0] = True
    labels = paths_of(crf, emissions, chain)
    far = emissions.detach().clone()
    far[0, 0, 1] = number
    scores = crf.scores(far)
    with torch.no_grad():
        assert fused_crf.fused_loss(far, labels, chain, scores) is None
        assert fused_crf.fused_answers(far, chain, scores, True) is None
        assert torch.isfinite(crf.loss(far, labels, chain)) == (number == 400.0)


def test_the_kernel_has_no_second_derivative():
    crf, emissions, chain = drawn(SCHEMES["iob2"], torch.float64, 1.0)
    loss = crf.loss(emissions, paths_of(crf, emissions, chain), chain)
    with pytest.raises(RuntimeError, match="no second derivative: leave create_graph=True out"):
        torch.autograd.grad(loss, emissions, create_graph=True)
