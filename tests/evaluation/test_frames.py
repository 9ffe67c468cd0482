"""The scores of intents and slots, by hand and as Trainer asks for them, and probabilities that mean what they say."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from transformers import EvalPrediction

from hfseq.evaluation.calibration import (
    ROUNDING,
    coverage_curve,
    fit_temperature,
    negative_log_likelihood,
    probabilities,
    threshold_that_keeps,
)
from hfseq.evaluation.frames import Frames, best_frames, frame_metrics, score_frames
from hfseq.evaluation.scores import SCORES
from hfseq.evaluation.tags import score_tags
from hfseq.evaluation.trainer_metrics import FRAMES, INTENT_SLOTS, check_metric_for_best_model
from tests.closeness import assert_same

NAMES = ["O", "B-a", "I-a", "B-b", "I-b"]
EXPECTED = Frames(["x", "y", "x", "z"], [["B-a", "I-a"], ["O"], ["B-b", "O"], ["O", "O"]])
ANSWERED = Frames(["x", "x", "x", "z"], [["B-a", "I-a"], ["O"], ["B-b", "I-b"], ["O", "O"]])


def test_a_frame_is_right_when_all_of_it_is():
    found = score_frames(EXPECTED, ANSWERED)
    assert found == {"frame_accuracy": 0.5, "intent_accuracy": 0.75, "slot_f1": 0.5}
    assert tuple(found) == FRAMES and set(FRAMES) <= set(SCORES)
    assert found["slot_f1"] == score_tags("entity_f1", EXPECTED.slots, ANSWERED.slots)
    assert set(score_frames(EXPECTED, EXPECTED).values()) == {1.0}


def test_frames_of_different_numbers_are_refused():
    with pytest.raises(ValueError, match="as many intents as rows of tags"):
        score_frames(EXPECTED, Frames(["x"], [["O"]]))
    with pytest.raises(ValueError, match="one at least"):
        score_frames(Frames([], []), Frames([], []))


def test_the_trainer_is_told_the_same():
    labels = np.array([[1, 2, -100], [-100, 0, -100], [3, 0, -100], [0, 0, -100]])
    slots = np.array([[1, 2, 4], [3, 0, 1], [3, 4, 1], [0, 0, 2]])
    intents = {"x": 0, "y": 1, "z": 2}
    logits = np.eye(3)[[intents[name] for name in ANSWERED.intents]]
    wanted = np.array([intents[name] for name in EXPECTED.intents])
    found = frame_metrics(NAMES)(EvalPrediction(predictions=(logits, slots), label_ids=(wanted, labels)))
    assert found == score_frames(EXPECTED, ANSWERED)


def test_a_batch_is_kept_small_and_must_be_finite():
    logits, slots = best_frames((torch.ones(2, 3), torch.eye(5)[None, :2].expand(2, -1, -1)), None)
    assert logits.shape == (2, 3) and slots.tolist() == [[0, 1], [0, 1]]
    for broken in (
        (torch.full((1, 2), torch.nan), torch.zeros(1, 1, 2)),
        (torch.zeros(1, 2), torch.ones(1, 1, 2) / 0),
    ):
        with pytest.raises(ValueError, match="training diverged"):
            best_frames(broken, None)


def test_a_metric_that_is_not_measured_is_refused():
    check_metric_for_best_model("eval_slot_f1", INTENT_SLOTS)
    with pytest.raises(ValueError, match="'entity_f1' is not measured for intents and slots; choose one of frame_acc"):
        check_metric_for_best_model("entity_f1", INTENT_SLOTS)


# Calibration


def drawn(temperature, rows=20_000, labels=5):
    """Logits, and labels that are drawn from their softmax at a temperature."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(rows, labels)) * 3
    shares = probabilities(logits, temperature)
    return logits, (shares.cumsum(-1) > generator.random((rows, 1))).argmax(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    logits, labels = drawn(temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    shares = probabilities(logits, found)
    right = shares.argmax(-1) == labels
    assert shares.max(-1).mean() == pytest.approx(right.mean(), abs=0.01)  # as sure as it is right


def test_the_likelihood_is_that_of_torch_and_no_other_temperature_is_better():
    logits, labels = drawn(1.7, rows=500)
    expected = -log_softmax(logits / 1.7, axis=-1)[np.arange(500), labels].mean()
    assert_same(negative_log_likelihood(logits, labels, 1.7), expected)
    best = fit_temperature(logits, labels)
    lowest = negative_log_likelihood(logits, labels, best)
    assert all(lowest <= negative_log_likelihood(logits, labels, best * factor) for factor in (0.9, 0.99, 1.01, 1.1))


def test_a_model_that_is_always_right_gets_a_temperature_within_bounds():
    logits = np.eye(4) * 50
    assert 0.05 <= fit_temperature(logits, np.arange(4)) <= 20
    assert fit_temperature(-logits, np.arange(4)) <= 20  # always wrong, and very sure


def test_labels_that_training_never_shows_do_not_count():
    logits, labels = drawn(1.0, rows=200)
    unseen = np.where(np.arange(200) < 20, 5, labels)
    assert_same(negative_log_likelihood(logits, unseen), negative_log_likelihood(logits[20:], labels[20:]))
    with pytest.raises(ValueError, match="No row has a label that the model knows"):
        fit_temperature(logits, np.full(200, 7))


@pytest.mark.parametrize("keep", [1.0, 0.99, 0.9, 0.5, 0.01])
def test_the_threshold_is_the_highest_that_keeps_the_right_answers(keep):
    logits, labels = drawn(1.0, rows=1_000)
    shares = probabilities(logits)
    scores = np.sort(shares.max(-1)[shares.argmax(-1) == labels])
    threshold = threshold_that_keeps(shares, labels, keep)
    assert (scores >= threshold).mean() >= keep
    higher = scores[scores > threshold + 2 * ROUNDING]
    assert len(higher) == 0 or (scores >= higher[0]).mean() < keep


def test_the_right_answers_stand_in_the_precision_of_a_model_too():
    logits = 3 * np.random.default_rng(0).normal(size=(50, 50, 7)).astype(np.float32)
    for own in logits:
        threshold = threshold_that_keeps(probabilities(own, 0.7), own.argmax(-1), 1.0)
        assert ((torch.from_numpy(own) / 0.7).softmax(-1).amax(-1) >= threshold).all()


def test_no_right_answer_sets_no_threshold():
    assert threshold_that_keeps(np.array([[0.9, 0.1]]), np.array([1]), 0.99) == 0.0


def test_the_curve_by_hand():
    shares = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])
    labels = np.array([0, 1, 1, 0])
    found = {
        point.threshold: (point.coverage, point.accuracy) for point in coverage_curve(shares, labels, [0, 0.7, 1])
    }
    assert found == {0.0: (1.0, 0.75), 0.7: (0.5, 1.0), 1.0: (0.0, None)}
