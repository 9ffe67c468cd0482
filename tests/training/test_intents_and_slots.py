"""`SequenceTrainer` over models of intents and slots: labels that training never shows, long texts, wrong losses."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from hfseq.evaluation import batches
from hfseq.evaluation.frames import best_frames, frame_metrics
from hfseq.registry import FAMILIES
from hfseq.tokenization.padding import IntentSlotsCollator
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.parts import InParts, parts_of
from hfseq.training.trainer import SequenceTrainer
from tests.closeness import assert_same
from tests.contract.cases import VOCABULARY, spellings, texts, tokenizer
from tests.training.trainers import NO_DROPOUT

SLOTS = ["O", "B-a", "I-a"]


def network(family="gru", **options):
    torch.manual_seed(0)
    sizes = {"vocab_size": len(VOCABULARY), "embedding_size": 6, "hidden_size": 5, "num_labels": 3}
    row = FAMILIES[family]
    return row.heads["intent-slots"](row.config(**{**sizes, **NO_DROPOUT, "slot_labels": SLOTS, **options}))


def rows(*, later=False):
    """Ragged rows; `later` gives the last one an intent and a slot that training never shows."""
    found = texts()
    intents = found["labels"][:]
    slots = [[token % 3 for token in ids] for ids in found["input_ids"]]
    if later:
        intents[-1] = slots[-1][-1] = 3
    return Dataset.from_dict({"input_ids": found["input_ids"][:], "labels": intents, "slot_labels": slots})


def make_trainer(folder, model=None, **options):
    usual = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "save_strategy": "no", "max_steps": 2}
    return SequenceTrainer(
        model=network() if model is None else model,
        args=SequenceTrainingArguments(str(folder), **{**usual, "per_device_eval_batch_size": 4, **options}),
        train_dataset=rows(),
        eval_dataset=rows(),
        data_collator=IntentSlotsCollator(tokenizer()),
        compute_metrics=frame_metrics([*SLOTS, "B-later"]),
        preprocess_logits_for_metrics=best_frames,
    )


def test_predictions_come_in_the_order_of_the_rows(tmp_path):
    trainer, given = make_trainer(tmp_path), rows()
    output = trainer.predict(given)
    logits, slots = output.predictions
    assert output.label_ids[0].tolist() == given["labels"][:]
    for row, ids in enumerate(given["input_ids"]):
        with torch.no_grad():
            alone = trainer.model(torch.tensor([ids]))
        assert_same(logits[row], alone.logits[0])
        assert slots[row, : len(ids)].tolist() == alone.slot_logits[0].argmax(-1).tolist()
        assert output.label_ids[1][row, : len(ids)].tolist() == given["slot_labels"][row]


def test_labels_that_training_never_shows_count_as_wrong_and_not_in_the_loss(tmp_path):
    trainer = make_trainer(tmp_path)
    seen = {name: value for name, value in trainer.evaluate(rows()).items() if "runtime" not in name}
    later = trainer.evaluate(rows(later=True))
    assert np.isfinite(later["eval_loss"])
    assert later["eval_intent_accuracy"] <= seen["eval_intent_accuracy"]
    alone = rows(later=True).select([23])
    found = trainer.evaluate(alone)
    assert found["eval_intent_accuracy"] == found["eval_frame_accuracy"] == 0
    assert np.isfinite(found["eval_loss"]) and found["eval_loss"] > 0  # its other slots are known
    labels = trainer.predict(alone).label_ids
    assert labels[0].tolist() == alone["labels"][:] and labels[1][0].tolist() == alone["slot_labels"][0]


@pytest.mark.parametrize("side", ["right", "left"])
def test_long_texts_are_read_in_parts(monkeypatch, side):
    monkeypatch.setattr(batches, "MOST_TOKENS", 20)
    given = [{"input_ids": [4] * n, "labels": 1, "slot_labels": [n % 3] * n} for n in (1, 2, 2, 3, 9, 30)]
    inputs, model = IntentSlotsCollator(tokenizer(side))(given), network(bidirectional=True).eval()
    parts = parts_of(inputs)
    assert len(parts) > 1
    with torch.no_grad():
        for more in ({}, {"num_items_in_batch": torch.tensor(7)}):
            whole, joined = (each(**inputs, **more) for each in (model, InParts(model, parts)))
            assert_same(joined.logits, whole.logits)
            real = inputs["attention_mask"].bool()
            assert_same(joined.slot_logits[real], whole.slot_logits[real])
            assert_same(joined.loss, whole.loss)


def test_losses_of_one_head_are_refused(tmp_path):
    with pytest.raises(ValueError, match="label_smoothing_factor=0.1 makes a loss of intents alone"):
        make_trainer(tmp_path, label_smoothing_factor=0.1)
    spelled = network(feature_buckets=50, characters="cnn", **spellings().sizes())
    with pytest.raises(ValueError, match="fits the features of a tagger, not those of a model of intents and slots"):
        make_trainer(tmp_path, spelled, wide_solver="regression").train()
    trainer = make_trainer(tmp_path, class_weights="balanced")
    with pytest.raises(ValueError, match="class_weights='balanced' is a loss of intents alone"):
        trainer.train()


def test_a_regression_may_stand_beside_the_network(tmp_path):
    model = network(wide_ngrams=2, wide_buckets=64)
    trainer = make_trainer(tmp_path, model, wide_solver="regression")
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.mixed is not None and model.wide.weight.any()
    assert trainer.evaluate()["eval_loss"] < before


def test_both_heads_learn(tmp_path):
    trainer = make_trainer(tmp_path, max_steps=60, learning_rate=0.03, per_device_train_batch_size=8)
    trainer.train()
    found = trainer.evaluate()
    assert found["eval_slot_f1"] > 0.9 and found["eval_intent_accuracy"] > 0.5
