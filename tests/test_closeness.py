"""The measure of closeness that the other tests rely on bites, at every size of the values."""

import numpy as np
import pytest
import torch

from tests.closeness import assert_same, difference
from tests.rounds import for_each

KINDS = {
    "tensor": lambda values: values,
    "array": lambda values: values.numpy(),
    "list": lambda values: values.tolist(),
    "nested": lambda values: {"a": (values, 2 * values), "b": [values[:1], 3.0]},
    "parameters": lambda values: iter([torch.nn.Parameter(values)]),
}


@for_each("kind", KINDS)
@for_each("size", [1e-9, 1.0, 1e9])
def test_a_shift_is_judged_by_the_size_of_the_values(size, kind):
    values = torch.tensor([size, -size / 1000, 0.0], dtype=torch.float64)
    for shift in (0.0, 0.9e-5, -0.9e-5):
        assert_same(KINDS[kind](values + shift * size), KINDS[kind](values))
    for shift in (1.1e-5, -1.1e-5):
        with pytest.raises(AssertionError, match="is allowed"):
            assert_same(KINDS[kind](values + shift * size), KINDS[kind](values))
    assert difference(values * (1 - 1e-3), values) == pytest.approx(1e-3)


def test_one_wrong_value_among_many_is_named_with_both_values_and_the_bound():
    expected = torch.arange(12.0, dtype=torch.float64).view(3, 4)
    found = expected.clone()
    found[1, 2] += 0.5
    message = r"^logits\[1, 2\]: 6.5 is not 6: they differ by 0.5, but 0.011 is allowed \(0.001 of values of size 11\)"
    with pytest.raises(AssertionError, match=message):
        assert_same(found, expected, 1e-3, what="logits")
    with pytest.raises(AssertionError, match=r"^step 3 bias\[0\]: 2 is not 1"):
        assert_same({"bias": torch.tensor([2.0])}, {"bias": torch.tensor([1.0])}, what="step 3")


def test_a_small_array_is_not_judged_by_a_large_one_unless_the_size_is_given():
    with pytest.raises(AssertionError, match=r"^1\[0\]"):
        assert_same([torch.ones(1), torch.tensor([1e-8])], [torch.ones(1), torch.tensor([2e-8])])
    assert_same(torch.tensor([1e-8]), torch.tensor([2e-8]), scale=1.0)
    with pytest.raises(AssertionError, match="of size 0.0001"):
        assert_same(torch.tensor([1e-8]), torch.tensor([2e-8]), scale=1e-4)


@for_each(
    ("found", "expected"),
    [
        (torch.tensor([float("nan")]), torch.tensor([float("nan")])),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 1.0])),
        (torch.tensor([1.0, float("inf")]), torch.tensor([1.0, 1e30])),
        (float("inf"), float("-inf")),
        (torch.tensor([0.5, torch.finfo().min]), torch.tensor([0.6, torch.finfo().min])),
        (torch.ones(1), torch.zeros(1)),
        (torch.ones(2, 1), torch.ones(2)),
        (np.ones(3), 1.1),
        ({"a": 1.0}, {"a": 1.0, "b": 2.0}),
        ({"a": 1.0, "b": 2.0}, {"a": 1.0}),
        ((np.ones(2), np.ones(2)), (np.ones(2), np.ones(2) * 1.1)),
    ],
)
def test_what_is_not_the_same(found, expected):
    with pytest.raises(AssertionError):
        assert_same(found, expected)


def test_what_is_the_same():
    assert_same(torch.tensor([0.5, -torch.inf]), np.array([0.5, -np.inf]))
    assert_same(torch.ones(2, 3), 1)
    assert_same(torch.zeros(2), 0)
    assert_same(torch.ones(0), torch.ones(0))
    assert_same([1.0, float("nan")], [1.0, float("nan")], nan=True)
    assert_same(torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.float64))
