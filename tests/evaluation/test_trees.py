"""Metrics of trees, on trees small enough to count by hand."""

import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from hfseq.evaluation.trainer_metrics import TREES, check_metric_for_best_model
from hfseq.evaluation.trees import best_nodes, binary_roots, by_length, negation_count, tree_metrics


def test_a_root_is_the_last_node_with_a_label_and_padding_counts_nowhere():
    labels = np.array([[0, 1, 1, -100, -100], [2, -100, 1, 0, 2], [1, -100, -100, -100, -100]])
    nodes = np.array([[0, 1, 0, 5, 5, 5], [2, 9, 1, 1, 0, 5], [1, 5, 5, 5, 5, 5]])  # one node was built
    logits = np.eye(3)[[1, 0, 1]]
    found = tree_metrics(EvalPrediction(predictions=(logits, nodes), label_ids=labels))
    assert found == {"root_accuracy": pytest.approx(2 / 3), "node_accuracy": pytest.approx(5 / 8)}
    roots = tree_metrics(EvalPrediction(predictions=(logits, nodes), label_ids=np.array([1, 2, 0])))
    assert roots == {"root_accuracy": pytest.approx(1 / 3)}


def test_a_text_without_a_label_counts_nowhere():
    labels, nodes = np.array([[0, 1], [-100, -100]]), np.array([[0, 0], [0, 0]])
    for given, nodes_too in ((labels, {"node_accuracy": pytest.approx(1 / 2)}), (labels[:, 1], {})):
        found = tree_metrics(EvalPrediction(predictions=(np.eye(2)[[1, 0]], nodes), label_ids=given))
        assert found == {"root_accuracy": 1.0} | nodes_too


def test_of_the_nodes_the_best_class_is_kept_and_nan_is_refused():
    logits, nodes = torch.eye(2), torch.tensor([[[0.0, 1.0]], [[2.0, 1.0]]])
    kept, best = best_nodes((logits, nodes, None), None)
    assert torch.equal(kept, logits) and best.tolist() == [[1], [0]]
    with pytest.raises(ValueError, match="training diverged"):
        best_nodes((logits, nodes * torch.nan, None), None)


def test_five_classes_are_two_by_the_sums_of_their_probabilities():
    shares = np.array([[0.3, 0.2, 0.1, 0.4, 0.0], [0.1, 0.1, 0.6, 0.1, 0.1], [0.0, 0.1, 0.6, 0.3, 0.0]])
    with np.errstate(divide="ignore"):
        logits = np.log(shares)
    # The first is negative in sum, though "positive" is its likeliest class; the second is neutral and left out.
    assert binary_roots(logits, np.array([1, 2, 4])) == {"binary_root_accuracy": 1.0}
    assert binary_roots(logits, np.array([3, 2, 4])) == {"binary_root_accuracy": 0.5}
    assert binary_roots(logits, np.array([2, 2, 2])) == {}


def test_phrases_are_counted_by_their_words():
    lengths, right = np.array([1, 1, 2, 4, 30, 20]), np.array([1, 0, 1, 1, 0, 1], dtype=bool)
    assert [tuple(row) for row in by_length(lengths, right)] == [
        (1, 1, 2, 1),
        (2, 2, 1, 1),
        (3, 4, 1, 1),
        (20, None, 2, 1),
    ]


def test_negations_count_where_both_phrases_have_a_label():
    pairs = [[(2, 1)]] * 4  # of (not good)
    expected = [[2, 3, 1], [2, 3, 1], [2, 2, 2], [2, -100, 1]]
    answered = [[0, 0, 1], [2, 3, 3], [2, 2, 2], [2, 2, 1]]
    assert negation_count(pairs, expected, answered) == (3, 2, 2, 1)
    assert negation_count([[]], [[1]], [[1]]) == (0, 0, 0, 0)


def test_the_best_model_is_chosen_by_a_score_that_an_evaluation_has():
    check_metric_for_best_model("root_accuracy", TREES)
    with pytest.raises(ValueError, match="metric_for_best_model='accuracy' is not measured for trees"):
        check_metric_for_best_model("accuracy", TREES)
