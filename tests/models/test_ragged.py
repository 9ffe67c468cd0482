"""Ranges of different sizes, listed end to end."""

import torch

from hfseq.models.ragged import ragged_places


def test_places_are_those_of_each_range_in_turn():
    starts, sizes = torch.tensor([5, 0, 7, 2]), torch.tensor([2, 0, 3, 1])
    owner, place = ragged_places(starts, sizes)
    expected = [(i, start + k) for i, start in enumerate(starts.tolist()) for k in range(int(sizes[i]))]
    assert list(zip(owner.tolist(), place.tolist(), strict=True)) == expected


def test_no_ranges_and_empty_ranges_have_no_places():
    for count in (0, 3):
        owner, place = ragged_places(torch.arange(count), torch.zeros(count, dtype=torch.long))
        assert owner.shape == place.shape == (0,)
