import json
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from hfseq import load_fasttext
from hfseq.data.fasttext import read_fasttext
from hfseq.models.artifacts import UnsafeArtifactError

FOLDER = Path(__file__).parents[1] / "golden" / "fasttext"
ANSWERS = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))
CLASSIFIERS = [name for name, answers in ANSWERS.items() if "predictions" in answers]
every_file = pytest.mark.parametrize("name", ANSWERS)
every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)


@cache
def loaded(name):
    return load_fasttext(FOLDER / name)


def probabilities(model, tokenizer, texts):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    if model.config.problem_type != "multi_label_classification":
        return logits.softmax(-1)
    # fastText looks a sigmoid up in a table of 512 steps from -8 to 8.
    return torch.where(logits < -8, 0.0, torch.where(logits > 8, 1.0, (torch.floor((logits + 8) * 32) / 32 - 8).sigmoid()))


@every_classifier
def test_predictions_are_those_of_fasttext(name):
    model, tokenizer = loaded(name)
    answers = ANSWERS[name]["predictions"]
    for row, answer in zip(probabilities(model, tokenizer, list(answers)), answers.values(), strict=True):
        found = {model.config.id2label[i]: p for i, p in enumerate(row.tolist())}
        # fastText says p + 1e-5 for p, and multiplies such numbers on the path to a label; a path that falls below 1e-5
        # is not walked to its end.
        steps = np.diff(model.paths()[0]).max() if model.config.hierarchical_softmax else 1
        missing = found.keys() - answer.keys()
        assert all(found[label] < 1e-5 for label in missing) and (steps > 1 or not missing)
        assert all(-1e-6 < answer[label] - found[label] < 1.1e-5 * steps for label in answer)
