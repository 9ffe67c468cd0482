"""Batches of long texts are read in parts, with the same answers."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from hfseq.evaluation import batches
from hfseq.evaluation.trainer_metrics import classification_metrics
from hfseq.training import parts
from hfseq.training.parts import InParts, parts_of
from tests.closeness import assert_same
from tests.contract.cases import VOCABULARY
from tests.training.trainers import make_trainer, small_model

LENGTHS = [0, 1, 2, 2, 3, 9, 30]


def batch(side="right", lengths=LENGTHS, labels=None):
    generator = torch.Generator().manual_seed(0)
    size = max(lengths)
    ids, mask = torch.zeros(len(lengths), size, dtype=torch.long), torch.zeros(len(lengths), size, dtype=torch.long)
    for row, length in enumerate(lengths):
        own = slice(length) if side == "right" else slice(size - length, None)
        ids[row, own] = torch.randint(4, len(VOCABULARY), (length,), generator=generator)
        mask[row, own] = 1
    labels = torch.arange(len(lengths)) % 3 if labels is None else labels
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.fixture
def little_room(monkeypatch):
    """Room for 20 tokens at once."""
    monkeypatch.setattr(batches, "MOST_TOKENS", 20)


def test_a_part_has_room_for_its_longest_text_and_each_row_is_in_one(little_room):
    found = parts_of(batch())
    assert found == [slice(0, 5), slice(5, 6), slice(6, 7)]
    assert parts_of(batch(lengths=[2, 2, 3])) == [slice(None)]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", ["lstm", "transformer", "window"])
def test_parts_answer_as_the_whole_batch(little_room, side, family):
    options = {"hidden_size": 8, "num_attention_heads": 2} if family == "transformer" else {}
    model, inputs = small_model(family, **options).eval(), batch(side)
    with torch.no_grad():
        for more in ({}, {"num_items_in_batch": torch.tensor(7)}):
            whole, joined = (each(**inputs, **more) for each in (model, InParts(model, parts_of(inputs))))
            assert type(joined) is type(whole)
            assert_same(joined.logits, whole.logits)
            assert_same(joined.loss, whole.loss)


def test_labels_of_several_classes_are_not_taken_for_tokens(little_room):
    labels = torch.ones(len(LENGTHS), max(LENGTHS))  # as many classes as tokens
    model = small_model("lstm", num_labels=max(LENGTHS), problem_type="multi_label_classification").eval()
    inputs = batch(labels=labels)
    with torch.no_grad():
        assert_same(InParts(model, parts_of(inputs))(**inputs)["loss"], model(**inputs).loss)


def test_a_trainer_reads_long_texts_in_parts(little_room, tmp_path, monkeypatch):
    inputs = batch()
    rows = {"input_ids": [row[:n].tolist() for row, n in zip(inputs["input_ids"], LENGTHS, strict=True)]}
    rows = Dataset.from_dict(rows | {"labels": inputs["labels"].tolist()})
    metrics = classification_metrics("single_label_classification")
    trainer = make_trainer(tmp_path, per_device_eval_batch_size=7, eval_dataset=rows, compute_metrics=metrics)
    in_parts, found = trainer.predict(rows).predictions, trainer.evaluate()
    monkeypatch.setattr(batches, "MOST_TOKENS", 10_000)
    assert_same(in_parts, trainer.predict(rows).predictions)
    assert_same(found["eval_loss"], trainer.evaluate()["eval_loss"])


@pytest.mark.parametrize("family", ["lstm", "transformer"])
def test_what_a_model_tells_of_its_layers_is_left_out_of_an_evaluation(little_room, tmp_path, family):
    heads = {"hidden_size": 8, "num_attention_heads": 2, "attn_implementation": "eager"}
    options = heads if family == "transformer" else {"pooling": "attention"}
    rows = Dataset.from_dict({"input_ids": [[4] * length for length in (1, 2, 3, 9, 30)], "labels": [0, 1, 2, 0, 1]})
    found = []
    for told in (False, True):
        model = small_model(family, **options)
        model.config.output_attentions = model.config.output_hidden_states = told
        # A batch in two parts, and one that is read whole:
        trainer = make_trainer(tmp_path, model=model, per_device_eval_batch_size=3)
        found.append(trainer.predict(rows).predictions)
    assert_same(*found)


def test_one_text_of_20_000_words_does_not_pad_a_batch_to_its_length(tmp_path):
    seen = []
    model = small_model("transformer", embedding_size=8, num_attention_heads=2, position_embedding_type="rotary")
    model.register_forward_pre_hook(
        lambda module, args, inputs: seen.append(inputs["input_ids"].shape), with_kwargs=True
    )
    rows = Dataset.from_dict({"input_ids": [[4, 5, 3]] * 255 + [[4] * 20_000], "labels": [0] * 256})
    trainer = make_trainer(tmp_path, model=model, per_device_eval_batch_size=256)
    logits = trainer.predict(rows).predictions
    assert seen == [(255, 3), (1, 20_000)]
    assert np.isfinite(logits).all()
    assert parts.rows_at_once(20_000) == 1


def test_a_pipeline_reads_as_many_texts_as_the_longest_allows():
    from tests.contract.cases import tokenizer

    assert batches.batch_size_for(tokenizer(), ["a b", "a"], 32) == 32
    assert batches.batch_size_for(tokenizer(), ["a " * 20_000, "a"], 32) == 1
    assert batches.batch_size_for(tokenizer(), [{"text": "a", "text_pair": "a " * 20_000}], 32) == 1
    assert batches.batch_size_for(tokenizer(), [], 32) == 32
    pairs = [{"text": "a b", "text_pair": "a"}, {"text": "a", "text_pair": "a " * 20_000}]
    assert [batches.batch_size_for(tokenizer(), rows, 32) for rows in (pairs[:1], pairs)] == [32, 1]
