"""Classes that count the same, however few texts they have: weights in the loss of a text classifier."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from datasets import Dataset
from torch.nn import functional as F

from ..models.base import IGNORED
from ..models.heads.classification import check_classes, problem_type_of

RARE: Final = 0.1  # of the texts that a class would have if all had as many


def smallest_share(counts: Sequence[int]) -> float:
    """Return the texts of the smallest class, where 1 is as many as it would have if all had the same.

    Args:
        counts: The training texts of each class; classes without any do not count.
    """
    present = [count for count in counts if count > 0]
    return min(present) * len(present) / sum(present) if present else 1.0


def needs_balance(counts: Sequence[int]) -> bool:
    """Tell whether the smallest class has less than a tenth of the texts that it would have if all had as many."""
    return smallest_share(counts) < RARE


def balanced_weights(labels: np.ndarray, num_labels: int) -> np.ndarray:
    """Return a weight for each class, the inverse of its share, whose mean over the texts is 1.

    Args:
        labels: The classes of the training texts; -100 for none.
        num_labels: How many classes there are. One without texts has the weight 1: it is never asked for.
    """
    counts = np.bincount(labels[labels != IGNORED], minlength=num_labels)
    present = counts > 0
    return np.where(present, counts.sum() / (max(int(present.sum()), 1) * np.maximum(counts, 1)), 1.0)


class WeightedLoss:
    """Cross-entropy, each text times the weight of its class, as `Trainer.compute_loss_func` takes it.

    The sum is divided by the number of texts of the whole update, not by their weights: the mean weight is 1, and the
    update is the same however many accumulation steps it is dealt to.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = torch.from_numpy(weights).float()

    @classmethod
    def balanced(cls, model: Any, dataset: Dataset) -> "WeightedLoss":
        """Take the weights from the training rows of a classifier that gives one label a text."""
        if getattr(model.config, "slot_labels", None) is not None:
            raise ValueError(
                "class_weights='balanced' is a loss of intents alone, under which a model would learn no slots: leave "
                "it out."
            )
        first = torch.tensor(dataset["labels"][:1])
        problem_type = problem_type_of(model.config, first) if first.dim() == 1 else "several labels a row"
        if problem_type != "single_label_classification":
            raise ValueError(
                f"class_weights='balanced' is for classifiers with one label a text, not for {problem_type}: "
                "leave it out."
            )
        return cls(balanced_weights(np.asarray(dataset["labels"][:]), model.config.num_labels))

    def __call__(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """Return the loss of a batch."""
        logits = (outputs["logits"] if isinstance(outputs, dict) else outputs[0]).float()
        check_classes(labels, logits)
        total = F.cross_entropy(logits, labels.view(-1), weight=self.weights.to(logits.device), reduction="sum")
        return total / ((labels != IGNORED).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)
