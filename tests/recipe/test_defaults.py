"""What follows the rows where nobody says it, and that what a person says wins."""

import numpy as np
import pytest

from hfseq.recipe.budget import BudgetSettings
from hfseq.recipe.defaults.classification import max_length, model_defaults, training_defaults
from hfseq.recipe.defaults.rows import RowCounts, count_rows
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.words.bag_trainer import BagTrainingArguments

SMALL, LARGE = RowCounts(2_000, 20, 40, 2), RowCounts(60_000, 20, 400, 2)


def test_rows_are_counted():
    rows = count_rows(["a b c"] * 19 + ["a " * 100], np.array([0] * 19 + [1]), 2)
    assert (rows.num_rows, rows.median_words, rows.num_labels) == (20, 3, 2)
    assert 3 < rows.long_words < 100
    assert rows.smallest_share == pytest.approx(0.1)
    several = count_rows(["a", "b"], np.array([[1.0, 1.0], [1.0, 0.0]]), 2)
    assert several.smallest_share == pytest.approx(1 / 1.5)


@pytest.mark.parametrize(("smallest", "rare"), [(4, True), (6, False)])
def test_a_class_below_a_tenth_of_its_share_is_rare(smallest, rare):
    labels = np.array([0] * (100 - smallest) + [1] * smallest)
    assert count_rows(["a"] * 100, labels, 2).has_rare_classes is rare


def test_few_rows_get_as_many_updates_as_a_network_needs():
    few = training_defaults("gru", SMALL, "accuracy", {}, 2.0)
    many = training_defaults("gru", LARGE, "accuracy", {}, 2.0)
    assert few["max_steps"] * few["total_train_batch_size"] > 10 * SMALL.num_rows
    assert many["max_steps"] > few["max_steps"]
    assert few["early_stopping_patience"] > 0
    assert few["max_minutes"] == 2.0


@pytest.mark.parametrize(
    ("said", "left_out"),
    [
        ({"max_steps": 7}, {"max_steps"}),
        ({"num_train_epochs": 2.0}, {"max_steps"}),
        ({"eval_strategy": "epoch"}, {"eval_steps", "early_stopping_patience", "load_best_model_at_end"}),
        ({"per_device_train_batch_size": 4}, {"total_train_batch_size"}),
        ({"learning_rate": 0.1}, {"learning_rate"}),
    ],
)
def test_what_a_person_says_is_left_alone(said, left_out):
    assert left_out & training_defaults("gru", SMALL, "accuracy", {}, None).keys() == left_out
    assert not (left_out | said.keys()) & training_defaults("gru", SMALL, "accuracy", said, None).keys()
    assert "hidden_size" not in model_defaults("gru", SMALL, {"hidden_size": 7})


@pytest.mark.parametrize("family", ["bag", "gru", "lstm", "rnn", "transformer", "window", "custom"])
@pytest.mark.parametrize("rows", [SMALL, LARGE])
def test_the_defaults_are_arguments_that_work(family, rows, tmp_path):
    cls = BagTrainingArguments if family == "bag" else SequenceTrainingArguments
    cls(str(tmp_path), use_cpu=True, **training_defaults(family, rows, "accuracy", {}, 1.0))


def test_long_texts_are_cut_within_limits():
    assert max_length("gru", SMALL) == 64  # 40 words are 52 tokens
    assert max_length("gru", LARGE) == 256
    assert max_length("bag", LARGE) == 1_000_000


@pytest.mark.parametrize("minutes", [0, -1.0])
def test_a_budget_without_time_is_refused(minutes):
    with pytest.raises(ValueError, match=f"minutes={minutes} must be more than 0"):
        BudgetSettings(minutes=minutes)


def test_steps_of_a_bag_and_many_labels_get_no_weights():
    rows = count_rows(["a"] * 100, np.array([0] * 99 + [1]), 2)
    for said, expected in (({}, "balanced"), ({"learning_rate": 0.1}, None)):
        assert training_defaults("bag", rows, "accuracy", said, None).get("class_weights") == expected
