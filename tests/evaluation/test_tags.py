"""Entities as conlleval reads them, and the metrics of taggers."""

import random

import evaluate
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from sklearn.metrics import accuracy_score, f1_score
from transformers import EvalPrediction

from hfseq import LSTMConfig, LSTMForTokenClassification
from hfseq.data.tagged import tokenize_words
from hfseq.evaluation.entities import (
    Entity,
    Found,
    all_found,
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
    TagAccuracy,
    best_tags,
    score_tags,
    tagging_metrics,
    tags_of,
)
from hfseq.evaluation.trainer_metrics import TAGGING, check_metric_for_best_model
from hfseq.tokenization import train_tokenizer
from hfseq.tokenization.kinds import TAGGING_KINDS
from tests.closeness import assert_same
from tests.evaluation.conlleval import chunks
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


def drawn(tags, count, seed):
    """Rows of tags in any order, legal or not, and answers that agree in most words."""
    generator = random.Random(seed)
    rows = [[generator.choice(tags) for _ in range(generator.randint(1, 12))] for _ in range(count)]
    return rows, [[tag if generator.random() < 0.7 else generator.choice(tags) for tag in row] for row in rows]


@pytest.mark.parametrize(
    "tags",
    [["O", "O", *NAMES], ["O", "O", *NAMES, "E-a", "E-b", "I-c-d"], ["O", "I-a", "I-a", "B-a"]],
    ids=["IOB", "IOBE", "IOB1"],
)
def test_counts_equal_conllevals_for_any_tags(tags):
    rows, told = drawn(tags, 3000, seed=len(tags))
    found = found_entities(rows, told)
    assert found == {kind: Found(*counts) for kind, counts in chunks(rows, told).items()}
    assert sum(each.right for each in found.values()) > 500
    of_all = all_found(found.values())
    for name in ("f1", "precision", "recall"):
        assert_same(score_tags(f"entity_{name}", rows, told), getattr(of_all, name), 1e-12)


def test_scores_equal_seqevals_for_any_tags():
    seqeval = pytest.importorskip("seqeval.metrics", reason="the oracle of this test: pip install seqeval")
    rows, told = drawn(["O", "O", *NAMES, "E-a", "S-b"], 3000, seed=1)
    for name in ("f1", "precision", "recall"):
        oracle = getattr(seqeval, f"{name}_score")(rows, told, zero_division=0)
        assert_same(score_tags(f"entity_{name}", rows, told), oracle, 1e-12)
    report = seqeval.classification_report(rows, told, output_dict=True, zero_division=0)
    for kind, found in found_entities(rows, told).items():
        oracle = [report[kind][name] for name in ("precision", "recall", "f1-score", "support")]
        assert_same([found.precision, found.recall, found.f1, found.expected], oracle, 1e-12)


@pytest.mark.parametrize("kind", TAGGING_KINDS)
def test_the_evaluator_scores_a_model_with_our_metrics(kind, tmp_path):
    rows = [["call", "Ana", ",", "now", "!"], ["Oslo"], ["Ana", "likes", "New", "York", "(", "not", "Oslo", ")"]] * 4
    tokenizer = train_tokenizer([" ".join(row) for row in rows], kind, purpose="tagging", vocab_size=300)
    torch.manual_seed(3)
    config = LSTMConfig(vocab_size=len(tokenizer), embedding_size=8, hidden_size=8, id2label=dict(enumerate(NAMES)))
    model = LSTMForTokenClassification(config).eval()
    torch.nn.init.normal_(model.classifier.weight, std=9.0)  # answers of all kinds
    unknown = Dataset.from_dict({"tokens": rows, "labels": [[0] * len(row) for row in rows]})
    words = tokenize_words(unknown, tokenizer, NAMES)
    with torch.no_grad():
        best = [model(torch.tensor([ids])).logits[0].argmax(-1).numpy() for ids in words["input_ids"][:]]
    predicted = tags_of(best, words["labels"][:], NAMES)
    other = dict(zip(NAMES, [*NAMES[1:], NAMES[0]], strict=True))
    expected = [[tag if at % 3 else other[tag] for at, tag in enumerate(row, start=len(row))] for row in predicted]
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=NAMES))})
    ids = [[NAMES.index(tag) for tag in row] for row in expected]
    data = Dataset.from_dict({"tokens": rows, "ner_tags": ids}, features)
    for metric in (EntityF1, TagAccuracy):
        result = evaluate.evaluator("token-classification").compute(
            model_or_pipeline=model, tokenizer=tokenizer, data=data, metric=metric(cache_dir=str(tmp_path))
        )
        assert_same(result[metric.score_name], score_tags(metric.score_name, expected, predicted), 1e-12)
        assert result[metric.score_name] < 1
    assert result["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("metric", "value"), [(EntityPrecision, 1 / 4), (EntityRecall, 1 / 4), (EntityF1, 1 / 4), (TagAccuracy, 4 / 7)]
)
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


def test_the_tags_of_words_have_an_accuracy():
    assert TagAccuracy().compute(predictions=PREDICTED, references=EXPECTED) == {"accuracy": pytest.approx(4 / 7)}


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
