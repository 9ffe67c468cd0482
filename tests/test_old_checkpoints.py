"""Checkpoints that were saved before the files moved into rooms: they load, and answer as they did."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

import hfseq
from hfseq.registry import AUTO_CLASSES, FAMILIES
from tests.closeness import assert_same

FOLDERS = sorted((Path(__file__).parent / "golden" / "checkpoints").iterdir())


def outputs_of(model, input_ids, image_features=None, input_values=None):
    if input_values is not None:
        with torch.no_grad():
            return model.eval()(input_values=torch.tensor(input_values))
    ids = torch.tensor(input_ids)
    given = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    given |= {"input_ids": ids} if image_features is None else {"image_features": torch.tensor(image_features)}
    with torch.no_grad():
        return model.eval()(**given)


def answers_of(output):
    return output.logits if "logits" in output else output.last_hidden_state


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("auto", [False, True], ids=["class", "auto"])
def test_an_old_checkpoint_answers_as_it_did(folder, auto):
    expected = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    loader = getattr(hfseq, expected["class"])
    if auto:
        loader = AUTO_CLASSES.get(folder.name.partition("-")[2], AutoModel)
    model = loader.from_pretrained(folder)
    assert type(model).__name__ == expected["class"]
    # The files say -Infinity where an n-gram model says the lowest finite number.
    answers = torch.tensor(expected["answers"]).clamp(min=torch.finfo(torch.float32).min)
    output = outputs_of(model, expected.get("input_ids"), expected.get("image_features"), expected.get("input_values"))
    assert_same(answers_of(output), answers)
    if "slot_answers" in expected:
        assert_same(output.slot_logits, torch.tensor(expected["slot_answers"]))


def test_there_is_an_old_checkpoint_of_each_kind():
    heads = {f"{name}-{task}" for name, family in FAMILIES.items() for task in family.heads}
    assert heads <= {folder.name for folder in FOLDERS}
