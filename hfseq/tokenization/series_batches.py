"""Rows of numbers as padded batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

from ..models.base import IGNORED
from .series import SeriesFeatureExtractor


class SeriesCollator:
    """Make padded batches for models of numbers.

    Rows have `input_values` (T, F), scaled by the extractor, and `labels`, where there are any: a class or numbers of
    the whole series; or with `each_step` a class (T) or what came (T, H, O) of every step, padded with -100. Where
    numbers to learn are missing (NaN), they become -100 too, which no model learns from.

    Args:
        feature_extractor: What made `input_values`.
        each_step: Whether every step has labels of its own.
    """

    def __init__(self, feature_extractor: SeriesFeatureExtractor, *, each_step: bool = False) -> None:
        self.feature_extractor, self.each_step = feature_extractor, each_step

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad `input_values` and `attention_mask`, and stack or pad the labels."""
        values = [np.asarray(row["input_values"], dtype=np.float32) for row in rows]
        padded = self.feature_extractor.pad(BatchFeature({"input_values": values}), padding=True, return_tensors="pt")
        batch: dict[str, torch.Tensor] = dict(padded)
        if "labels" in rows[0]:
            labels = [mark_missing(np.asarray(row["labels"])) for row in rows]
            batch["labels"] = (
                self._padded(labels, [len(each) for each in values]) if self.each_step else _stack(labels)
            )
        return batch

    def _padded(self, labels: Sequence[np.ndarray], lengths: Sequence[int]) -> torch.Tensor:
        padded = np.full((len(labels), max(lengths), *labels[0].shape[1:]), IGNORED, dtype=labels[0].dtype)
        for row, (own, length) in enumerate(zip(labels, lengths, strict=True)):
            if own.shape[:1] != (length,):
                raise ValueError(f"labels of shape {own.shape} do not fit a series of {length} steps: each needs one.")
            padded[row, slice(length) if self.feature_extractor.padding_side == "right" else slice(-length, None)] = (
                own
            )
        return torch.from_numpy(padded)


def _stack(labels: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(labels))


def mark_missing(labels: np.ndarray) -> np.ndarray:
    """Return whole numbers as they are, and others in single precision with -100 where they are missing."""
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64)
    if (labels == IGNORED).any():
        raise ValueError(
            f"A number to learn is exactly {IGNORED}, which marks what is missing: scale the targets "
            "(SeriesFeatureExtractor.scale_targets)."
        )
    return np.where(np.isnan(labels), np.float32(IGNORED), labels.astype(np.float32))


__all__ = ["SeriesCollator", "mark_missing"]
