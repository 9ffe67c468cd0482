"""The kernel of additive attention equals torch, forward and backward."""

import pytest
import torch

from hfseq.models.recurrent import fused
from tests.closeness import assert_same
from tests.rounds import for_each

pytest.importorskip("numba")


def plain(query, keys, v):
    return torch.tanh(query[:, :, None] + keys[:, None]) @ v


def drawn(dtype, size, shape=(3, 4, 5, 37)):
    batch, targets, sources, width = shape
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, targets, width), (batch, sources, width), (width,)
    return [(size * torch.randn(*each, generator=generator, dtype=dtype)).requires_grad_() for each in shapes]


@for_each(
    ("dtype", "size", "tolerance"),
    [(torch.float32, size, 3e-6) for size in (0.01, 1.0, 5.0)] + [(torch.float64, 3.0, 1e-13)],
)
def test_scores_and_gradients_equal_torch(dtype, size, tolerance):
    found, expected = [], []
    for scores_of, results in ((fused.additive_scores, found), (plain, expected)):
        tensors = drawn(dtype, size)
        scores = scores_of(*tensors)
        weights = torch.linspace(-1, 1, scores.numel(), dtype=dtype).view_as(scores)
        weights[1] = 0  # as of padding
        (scores * weights).sum().backward()
        results += [scores, *(tensor.grad for tensor in tensors)]
    # Each tanh is right to a rounding of 1, also where it is small: 37 of them make a score.
    assert_same(found, expected, tolerance, scale=1.0)


def test_columns_of_a_larger_matrix_are_taken_as_they_are():
    query, keys, v = (tensor.detach() for tensor in drawn(torch.float32, 1.0))
    wide = torch.cat((query, query), -1)
    assert_same(fused.additive_scores(wide[..., :37], keys, v), plain(query, keys, v))


def test_what_the_kernel_cannot_hold_is_left_to_torch():
    query, keys, v = (tensor.detach() for tensor in drawn(torch.float32, 1.0))
    assert fused.additive_scores(query, keys, v) is not None
    assert fused.additive_scores(query[:, :1], keys, v) is None  # a step of generation
    assert fused.additive_scores(query.bfloat16(), keys.bfloat16(), v.bfloat16()) is None
    for number in (50.0, -50.0, float("inf"), float("nan")):
        large = query.clone()
        large[0, 0, 0] = number
        assert fused.additive_scores(large, keys, v) is None, number
    large = torch.zeros_like(query)
    large[0, 0, 0] = -39.0
    far = torch.zeros_like(keys)
    assert_same(fused.additive_scores(large, far, v), plain(large, far, v))


def test_a_second_derivative_is_an_error():
    query, keys, v = drawn(torch.float32, 1.0)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(fused.additive_scores(query, keys, v).sum(), query, create_graph=True)
