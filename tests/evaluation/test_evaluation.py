"""Evaluation and prediction: sorted by length for speed, and the same answers as Trainer's."""

from functools import partial

import numpy as np
import pytest
from transformers import EvalPrediction, Trainer

from hfseq.evaluation.trainer_metrics import classification_metrics
from hfseq.training.trainer import SequenceTrainer
from tests.closeness import assert_same
from tests.training.trainers import RecordingCollator, distinct_texts, make_trainer


@pytest.fixture
def make(tmp_path):
    """`make_trainer` in an empty folder."""
    return partial(make_trainer, tmp_path)


class GroupsEvaluation(SequenceTrainer):
    """The planted fault: Trainer's own evaluation order, which is grouped by length as training is."""

    _get_eval_sampler = Trainer._get_eval_sampler


@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length"])
def test_predictions_are_those_of_trainer_in_the_order_of_the_dataset(make, strategy):
    rows = distinct_texts(43)
    expected = make(Trainer).predict(rows)
    output = make(train_sampling_strategy=strategy).predict(rows)
    assert_same(output.predictions, expected.predictions)
    assert output.label_ids.tolist() == expected.label_ids.tolist() == rows["labels"][:]
    assert_same(output.metrics["test_loss"], expected.metrics["test_loss"])


def test_predictions_in_the_order_of_trainers_groups_are_caught(make):
    rows = distinct_texts(43)
    expected = make(Trainer).predict(rows).predictions
    wrong = make(GroupsEvaluation, train_sampling_strategy="group_by_length").predict(rows).predictions
    assert np.abs(wrong - expected).max() > 1e-2
    assert_same(np.sort(wrong[:, 0]), np.sort(expected[:, 0]))  # every row is there, elsewhere


def test_prediction_and_evaluation_run_over_rows_sorted_by_length(make):
    collator, rows = RecordingCollator(), distinct_texts(43)
    trainer = make(collator=collator, eval_dataset=rows, train_sampling_strategy="group_by_length")
    several = make(collator=collator, eval_dataset={"one": rows})
    for run in (
        trainer.evaluate,
        several.evaluate,
        lambda: trainer.evaluate(rows),
        lambda: trainer.evaluate({"one": rows}),
        lambda: trainer.predict(rows),
    ):
        collator.batches.clear()
        run()
        lengths = [len(row) for batch in collator.batches for row in batch]
        assert len(lengths) == 43
        assert lengths == sorted(lengths)
    assert rows["input_ids"][:] != sorted(rows["input_ids"][:], key=len)


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_evaluation_equals_trainers(make, strategy):
    rows = distinct_texts(43)
    options = {"eval_dataset": rows, "compute_metrics": classification_metrics("single_label_classification")}
    expected = make(Trainer, **options).evaluate()
    found = make(train_sampling_strategy=strategy, **options).evaluate()
    for name in ("eval_loss", "eval_accuracy", "eval_f1_macro", "eval_matthews_correlation"):
        assert_same(found[name], expected[name])


def test_several_evaluation_sets_are_evaluated_each(make):
    sets = {"one": distinct_texts(20), "other": distinct_texts(9)}
    found = make(eval_dataset=sets).evaluate()
    for name, rows in sets.items():
        assert_same(found[f"eval_{name}_loss"], make(Trainer).evaluate(rows)["eval_loss"])


def test_score_gives_logits_and_metrics_alone(make):
    rows = distinct_texts(43)
    metrics = classification_metrics("single_label_classification")
    logits, found = make(compute_metrics=metrics, train_sampling_strategy="group_by_length").score(rows)
    assert_same(logits, make(Trainer).predict(rows).predictions)
    assert found == metrics(EvalPrediction(logits, np.array(rows["labels"])))
    assert found["accuracy"] == (logits.argmax(-1) == np.array(rows["labels"])).mean()


def test_a_column_of_lengths_changes_no_prediction(make):
    """Trainer drops such a column on the way, so the order must not depend on it."""
    rows = distinct_texts(43)
    wrong = rows.add_column("length", list(range(43)))
    expected = make(Trainer).predict(rows).predictions
    for options in ({}, {"remove_unused_columns": False}):
        assert_same(make(**options).predict(rows if options else wrong).predictions, expected)


def test_prediction_takes_any_dataset_as_trainer_does(make):
    rows = distinct_texts(11)
    as_list = [{"input_ids": ids} for ids in rows["input_ids"]]
    output = make().predict(as_list)
    assert_same(output.predictions, make(Trainer).predict(rows).predictions)
    assert output.label_ids is None
    assert make().predict(rows.remove_columns("labels")).label_ids is None
