"""The simplest systems beside a captioner, on the same rows of the same run.

most frequent   the commonest caption of training, whatever the picture
nearest         a caption of the nearest training picture: by the cosine of the means of the regions' vectors, or of
                pictures by that of their pixels, averaged over 8 x 8 parts
"""

from collections import Counter

import numpy as np
import torch
from torch import nn

from ...cards.facts import Comparison
from ...data.captions import CAPTIONS, IMAGE, CaptionTask
from ...evaluation.translation import METRICS, translation_scores
from ...recipe.publish import rival
from .card import MOST_FREQUENT, NEAREST

_PARTS = 8  # of a picture, on each side
_AT_ONCE = 256


def rivals(task: CaptionTask, split: str) -> list[Comparison]:
    """Let each system caption all pictures of a split."""
    train, rows = task.dataset["train"], task.dataset[split]
    learnt, wanted = train[CAPTIONS][:], rows[CAPTIONS][:]
    counts = Counter(text for texts in learnt for text in texts)
    answers = {MOST_FREQUENT: [counts.most_common(1)[0][0]] * rows.num_rows}
    answers[NEAREST] = [learnt[place][0] for place in nearest(task, train[IMAGE][:], rows[IMAGE][:])]
    scores = {name: translation_scores(wanted, written) for name, written in answers.items()}
    return [row for name, metrics in scores.items() for row in rival(name, {key: metrics[key] for key in METRICS})]


def nearest(task: CaptionTask, known: list[int], asked: list[int]) -> list[int]:
    """Return for each picture that is asked the place of the known one that is most alike."""
    vectors = _vectors(task, known)
    found: list[int] = []
    for start in range(0, len(asked), _AT_ONCE):
        likeness = _vectors(task, asked[start : start + _AT_ONCE]) @ vectors.T
        found += np.asarray(likeness).argmax(axis=1).tolist()
    return found


def _vectors(task: CaptionTask, numbers: list[int]) -> np.ndarray:
    """Return a vector of length 1 for each picture, not centred."""
    parts = [_raw(task, numbers[start : start + _AT_ONCE]) for start in range(0, len(numbers), _AT_ONCE)]
    vectors = torch.cat(parts)
    return nn.functional.normalize(vectors, dim=1).numpy()


def _raw(task: CaptionTask, numbers: list[int]) -> torch.Tensor:
    inputs = task.images.inputs(numbers)
    if "pixel_values" in inputs:
        return nn.functional.adaptive_avg_pool2d(inputs["pixel_values"], _PARTS).flatten(1)
    features, mask = inputs["image_features"], inputs.get("image_mask")
    if mask is None:
        return features.mean(1)
    real = mask[..., None].bool()
    return features.masked_fill(~real, 0.0).sum(1) / real.sum(1)  # what is not real may be NaN
