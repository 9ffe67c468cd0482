"""Labels that training never shows: the loss has no output for them, and the scores count them as wrong.

Their ids are those behind the model's own, or their columns of several labels, see `Classes.unseen`. No answer
can be one of them.
"""

import torch

from ..models.base import IGNORED


def hide_unseen(labels: torch.Tensor, num_labels: int, problem_type: str | None = None) -> torch.Tensor:
    """Return labels for a loss: the ids of unseen classes become -100, columns of unseen ones are cut off.

    Args:
        labels: Ids of any shape, or (B, L) of 0 and 1 for several labels a text.
        num_labels: How many outputs the model has.
        problem_type: Of the model's config; None: one label a token.
    """
    if problem_type == "regression":
        return labels
    if labels.is_floating_point():
        return labels[:, :num_labels] if labels.dim() == 2 else labels
    return torch.where(labels >= num_labels, IGNORED, labels)
