"""Entities as conlleval reads them, and the metrics of taggers."""

import random

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from transformers import EvalPrediction

from hfseq.evaluation.entities import (
    Entity,
    Found,
    entities,
    found_entities,
    found_tags,
    in_iob2,
    kinds,
    tell_entities,
)
from hfseq.evaluation.scores import SCORES
from hfseq.evaluation.tags import (
    EntityF1,
    EntityPrecision,
    EntityRecall,
    best_tags,
    score_tags,
    tagging_metrics,
    tags_of,
)
from hfseq.evaluation.trainer_metrics import TAGGING, check_metric_for_best_model
from tests.closeness import assert_same
from tests.rounds import for_each

NAMES = ["O", "B-a", "I-a", "B-b", "I-b"]
EXPECTED = [["B-a", "I-a", "O", "B-b"], ["B-a", "B-a"], ["O"]]
PREDICTED = [["B-a", "I-a", "O", "B-a"], ["B-a", "I-a"], ["B-b"]]  # 1 of 3 true ones, 1 of 4 told ones


def padded(rows, filler=-100):
    """Rows of names -> ids (rows, 5)."""
    return np.array([[*map(NAMES.index, row), *[filler] * (5 - len(row))] for row in rows])


@for_each(
    ("tags", "found"),
    [
        ("", []),
        ("O O", []),
        ("B-a I-a O B-b", [("a", 0, 2), ("b", 3, 4)]),
        ("B-a B-a", [("a", 0, 1), ("a", 1, 2)]),
        ("I-a I-a B-a", [("a", 0, 2), ("a", 2, 3)]),  # IOB1
        ("B-a I-b", [("a", 0, 1), ("b", 1, 2)]),  # another kind begins another entity
        ("S-a B-b I-b E-b E-a", [("a", 0, 1), ("b", 1, 4), ("a", 4, 5)]),
        ("B-a E-a I-a", [("a", 0, 2), ("a", 2, 3)]),  # what has ended does not go on
        ("U-a B-b L-b", [("a", 0, 1), ("b", 1, 3)]),
        ("B-date-time I-date-time", [("date-time", 0, 2)]),
    ],
)
def test_entities_are_read_as_conlleval_reads_them(tags, found):
    assert entities(tags.split()) == [Entity(*each) for each in found]


def test_entities_written_anew_are_the_same_in_iob2():
    assert in_iob2(["I-a", "I-a", "B-a", "O", "S-b", "B-b", "E-b"]) == ["B-a", "I-a", "B-a", "O", "B-b", "B-b", "I-b"]
    generator = random.Random(0)
    for _ in range(200):
        tags = [generator.choice([*NAMES, "E-a", "S-a", "E-b"]) for _ in range(8)]
        assert entities(in_iob2(tags)) == entities(tags)
        assert in_iob2(in_iob2(tags)) == in_iob2(tags)


@for_each(
    ("names", "told"),
    [
        (NAMES, True),
        (["O", "I-a"], True),
        (["B-a", "I-a"], True),
        (["O", "NOUN"], False),
        (["O", "B-a", "NOUN"], False),
        (["O"], False),
        (["S-a", "O"], False),
    ],
)
def test_names_tell_whether_there_are_entities(names, told):
    assert tell_entities(names) == told


def test_kinds_are_listed_once_in_order():
    assert kinds(["O", "B-b", "I-b", "I-a", "B-a"]) == ["b", "a"]


def test_counts_are_of_each_kind():
    assert found_entities(EXPECTED, PREDICTED) == {"a": Found(3, 3, 1), "b": Found(1, 1, 0)}
    found = found_tags([["x", "y"], ["x"]], [["x", "x"], ["z"]])
    assert found == {"x": Found(2, 2, 1), "y": Found(1, 0, 0), "z": Found(0, 1, 0)}
    assert (found["x"].precision, found["x"].recall, found["x"].f1) == (0.5, 0.5, 0.5)
    assert (found["y"].precision, found["z"].recall, found["y"].f1) == (0.0, 0.0, 0.0)


def test_scores_equal_seqevals():
    seqeval = pytest.importorskip("seqeval.metrics", reason="the oracle of this test: pip install seqeval")
    generator = random.Random(1)
    tags = ["O", "O", *NAMES, "E-a", "S-b"]
    for _ in range(50):
        rows = [[generator.choice(tags) for _ in range(generator.randint(1, 9))] for _ in range(6)]
        told = [[tag if generator.random() < 0.7 else generator.choice(tags) for tag in row] for row in rows]
        for name in ("f1", "precision", "recall"):
            oracle = getattr(seqeval, f"{name}_score")(rows, told, zero_division=0)
            assert_same(score_tags(f"entity_{name}", rows, told), oracle, 1e-12)


@pytest.mark.parametrize(("metric", "value"), [(EntityPrecision, 1 / 4), (EntityRecall, 1 / 4), (EntityF1, 1 / 4)])
def test_metrics_work_at_once_and_batch_by_batch(metric, value):
    name = metric.score_name
    assert metric().compute(predictions=PREDICTED, references=EXPECTED) == {name: pytest.approx(value)}
    gathered = metric()
    for predicted, expected in zip(PREDICTED, EXPECTED, strict=True):
        gathered.add(prediction=predicted, reference=expected)
    assert gathered.compute() == {name: pytest.approx(value)}
    assert name in SCORES


def test_precision_and_recall_differ_where_the_numbers_of_entities_do():
    told = [["B-a", "I-a", "O", "B-b"], ["O", "O"], ["O"]]
    assert score_tags("entity_precision", EXPECTED, told) == 1.0
    assert score_tags("entity_recall", EXPECTED, told) == 0.5
    assert score_tags("entity_f1", EXPECTED, told) == pytest.approx(2 / 3)


def test_rows_that_cannot_be_scored_are_named():
    with pytest.raises(ValueError, match="row 1 has 2 true tags and 1 predicted ones"):
        EntityF1().compute(predictions=[["O"], ["O"]], references=[["O"], ["O", "O"]])
    with pytest.raises(ValueError, match="there are no tags to score"):
        score_tags("entity_f1", [[]], [[]])


def test_the_trainer_gets_the_scores_of_entities():
    labels = padded(EXPECTED)
    labels[0] = [-100, 1, 2, 0, 3]  # a special token in front
    ids = padded(PREDICTED, filler=4)
    ids[0] = [4, 1, 2, 0, 1]
    scores = tagging_metrics(NAMES)(EvalPrediction(predictions=ids, label_ids=labels))
    assert list(scores) == list(TAGGING["entities"])
    assert scores["entity_f1"] == pytest.approx(1 / 4)
    assert scores["accuracy"] == 4 / 7


def test_the_trainer_gets_the_scores_of_words():
    names = ["X", "Y", "Z"]
    labels, ids = np.array([[0, 1, -100], [2, 0, 0]]), np.array([[0, 0, 2], [2, 0, 1]])
    scores = tagging_metrics(names)(EvalPrediction(predictions=ids, label_ids=labels))
    kept = labels != -100
    assert scores == {
        "accuracy": accuracy_score(labels[kept], ids[kept]),
        "f1_macro": pytest.approx(f1_score(labels[kept], ids[kept], average="macro")),
    }


def test_tags_are_named_where_words_begin():
    assert tags_of(np.array([[1, 4, 2], [3, 0, -100]]), [[0, -100, 0], [0]], NAMES) == [["B-a", "I-a"], ["B-b"]]


def test_the_likeliest_tags_are_kept_and_a_diverged_model_is_told():
    logits = torch.tensor([[[0.0, 2.0], [1.0, -1.0]]])
    assert best_tags(logits, torch.zeros(1, 2)).tolist() == [[1, 0]]
    assert best_tags((logits, "state"), torch.zeros(1, 2)).tolist() == [[1, 0]]
    logits[0, 1, 0] = float("nan")
    with pytest.raises(ValueError, match="training diverged"):
        best_tags(logits, torch.zeros(1, 2))


@pytest.mark.parametrize(("problem", "wrong"), [("entities", "f1"), ("tags", "entity_f1")])
def test_a_metric_that_is_not_measured_is_answered_with_those_that_are(problem, wrong):
    for name in (None, "eval_loss", *TAGGING[problem]):
        check_metric_for_best_model(name, problem)
    with pytest.raises(
        ValueError, match=f"is not measured for {problem}; choose one of {', '.join(TAGGING[problem])}"
    ):
        check_metric_for_best_model(wrong, problem)
