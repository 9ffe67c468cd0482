"""A task of memory alone: a symbol is shown first, distractors follow, and at the end it is asked for.

    symbol  distractor  distractor ... distractor  ?        label: the symbol

>>> rows = recall_task([2, 5], rows=4, seed=0)
>>> rows[0]["distance"], len(rows[0]["input_ids"]), sum(rows[0]["attention_mask"])
(5, 7, 7)

Symbols are never distractors, so that nothing but remembering is asked. All rows of a set are as long as its longest,
with padding on the left.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from datasets import Dataset

SYMBOLS: Final = 8
DISTRACTORS: Final = 8
QUESTION: Final = 1
VOCABULARY: Final = 2 + SYMBOLS + DISTRACTORS
"""Ids: 0 is padding, 1 the question, then the symbols, then the distractors."""


def recall_task(distances: Sequence[int], *, rows: int, seed: int) -> Dataset:
    """Make rows with `input_ids`, `attention_mask`, `labels` and `distance`, each drawn at random.

    Args:
        distances: How many distractors stand between the symbol and the question.
    """
    if not distances or min(distances) < 1:
        raise ValueError(f"distances must be one or more numbers above 0, got {list(distances)}.")
    rng, longest = Random(seed), max(distances)
    made = []
    for _ in range(rows):
        distance, label = rng.choice(list(distances)), rng.randrange(SYMBOLS)
        between = [2 + SYMBOLS + rng.randrange(DISTRACTORS) for _ in range(distance)]
        padding = [0] * (longest - distance)
        ids = [*padding, 2 + label, *between, QUESTION]
        mask = [0] * len(padding) + [1] * (distance + 2)
        made.append({"input_ids": ids, "attention_mask": mask, "labels": label, "distance": distance})
    return Dataset.from_list(made)
