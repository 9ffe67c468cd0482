"""Rows of different lengths that lie end to end in one tensor."""

import torch


def ragged_places(starts: torch.Tensor, sizes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """List the places of ranges of different sizes, all of the first range before those of the second.

    Args:
        starts: (R,) the first place of each range.
        sizes: (R,) how many places it has; may be 0.

    Returns:
        For each place the number of its range, and the place itself, both (sum of sizes,).
    """
    owner = torch.repeat_interleave(sizes)
    within = torch.arange(len(owner), device=sizes.device) - (sizes.cumsum(0) - sizes)[owner]
    return owner, starts[owner] + within


def place_owners(starts: torch.Tensor, places: int) -> torch.Tensor:
    """Return the number of the range of each place, (places,): ranges lie end to end and begin at `starts`, (R,)."""
    return torch.repeat_interleave(torch.diff(starts, append=starts.new_tensor([places])))
