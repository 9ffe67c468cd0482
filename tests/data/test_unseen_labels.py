"""Labels and tags that only other splits show: named with their numbers, answered by no model, counted as wrong."""

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, List
from transformers import EvalPrediction

from hfseq.data.tagged import TaggedSettings, load_tagged
from hfseq.evaluation.scores import compute_score
from hfseq.evaluation.tags import tagging_metrics
from hfseq.evaluation.trainer_metrics import classification_metrics
from hfseq.training.unseen import hide_unseen
from tests.data.test_text_data import table
from tests.rounds import for_each


def tagged(tmp_path, train, test, **settings):
    tables = {"train": train, "validation": train, "test": test}
    rows = {
        split: Dataset.from_dict({"tokens": [["word"] * len(row) for row in tags], "tags": tags})
        for split, tags in tables.items()
    }
    DatasetDict(rows).save_to_disk(str(tmp_path / "saved"))
    return load_tagged(TaggedSettings(path=str(tmp_path / "saved"), **settings))


@for_each(
    ("train", "test", "names", "ids", "told"),
    [
        (
            ["a", "b"],
            ["b", "odd", "a", "odd", "zz"],
            (["a", "b"], ["odd", "zz"]),
            [1, 2, 0, 2, 3],
            "'odd' (2), 'zz' (1)",
        ),
        ([0, 1, 3], [1, 9, 3, 7], (["0", "1", "2", "3"], ["7", "9"]), [1, 5, 3, 4], "'7'"),
    ],
)
def test_single_labels_have_ids_behind_those_of_the_model(load, caplog, train, test, names, ids, told):
    task = load({"train": table(train), "validation": table(train), "test": table(test)})
    assert (task.classes.names, task.classes.unseen) == names
    assert task.dataset["test"]["labels"][:] == ids
    assert task.dataset["train"].features["labels"] == ClassLabel(names=names[0])
    assert "Split 'test' has labels that train never shows: " in caplog.text
    assert told.strip("'") in caplog.text and "count as wrong" in caplog.text


@pytest.mark.parametrize(("train", "test"), [([["a"], ["b"]], [["b", "odd"], []]), ([[0], [1]], [[1, 5], []])])
def test_several_labels_have_columns_behind_those_of_the_model(load, train, test):
    task = load({"train": table(train), "validation": table(train), "test": table(test)})
    assert task.dataset["train"]["labels"][:] == [[1, 0], [0, 1]]
    assert task.dataset["test"]["labels"][:] == [[0, 1, 1], [0, 0, 0]]
    assert len(task.classes.unseen) == 1 and len(task.classes.names) == 2


def test_classes_that_the_data_declare_stay_classes_of_the_model(load, caplog):
    classes = ClassLabel(names=["a", "b", "c"])
    task = load({"train": table([0, 1], label=classes), "test": table([2, 2], label=classes)})
    assert (task.classes.names, task.classes.unseen) == (["a", "b", "c"], [])
    assert "Labels 2 (2) of split 'test' never occur in train" in caplog.text


@for_each(
    ("train", "test", "names"),
    [
        ([["B-PER", "O"]], [["B-PER", "I-PER"]], (["B-PER", "O", "I-PER"], [])),
        ([["B-PER", "I-PER"]], [["O", "B-PER"]], (["B-PER", "I-PER", "O"], [])),
        ([["S-PER", "O", "B-LOC", "E-LOC"]], [["B-PER", "E-PER"]], (["O", "B-LOC", "I-LOC", "B-PER", "I-PER"], [])),
        ([["U-PER", "O", "B-LOC"]], [["B-PER", "L-PER"]], (["O", "B-LOC", "I-LOC", "B-PER", "I-PER"], [])),
        ([["B-PER", "O"]], [["B-CITY", "I-CITY"]], (["B-PER", "O", "I-PER"], ["B-CITY", "I-CITY"])),
        ([["S-PER", "O", "B-LOC"]], [["S-CITY"]], (["O", "B-LOC", "I-LOC", "B-PER", "I-PER"], ["B-CITY", "I-CITY"])),
        ([["NOUN", "VERB"]], [["NOUN", "X"]], (["NOUN", "VERB"], ["X"])),
    ],
)
def test_tags_of_a_known_kind_are_the_models_and_others_are_not(tmp_path, caplog, train, test, names):
    if names[1]:
        with pytest.raises(ValueError, match="Name all classes in data.label_names, or leave such rows .*=wrong they"):
            tagged(tmp_path, train, test)
    task = tagged(tmp_path, train, test, **({"unseen_labels": "wrong"} if names[1] else {}))
    assert (task.classes.names, task.classes.unseen) == names
    assert task.dataset["train"].features["labels"] == List(ClassLabel(names=names[0]))
    assert ("never shows" in caplog.text) == bool(names[1])


def test_one_odd_tag_among_entities_of_another_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'MISC', which tells no entity"):
        tagged(tmp_path, [["B-PER", "I-PER", "O"]], [["MISC", "O", "O"]])


def test_their_rows_are_left_out_where_that_is_asked_for(load, tmp_path, caplog):
    single = table(["b", "odd", "a", "odd", "zz"])
    task = load({"train": table(["a", "b"]), "validation": table(["a"]), "test": single}, unseen_labels="drop")
    assert (task.classes.unseen, task.dataset["test"]["labels"][:]) == ([], [1, 0])
    assert "Split 'test': 3 of 5 rows have labels that train never shows, such as 'odd', and are left" in caplog.text
    assert "Split 'validation'" not in caplog.text and "count as wrong" not in caplog.text
    task = load({"train": table([0, 1, 3]), "test": table([7, 1])}, unseen_labels="drop")
    assert (task.classes.all_names, task.dataset["test"]["labels"][:]) == (["0", "1", "2", "3"], [1])
    several = {"train": table([["a"], ["b"]]), "test": table([["b", "odd"], [], ["a"]])}
    assert load(several, unseen_labels="drop").dataset["test"]["labels"][:] == [[0, 0], [1, 0]]
    tags = [["B-PER", "O"], ["B-CITY", "O"], ["B-PER", "I-PER"], ["O", "I-CITY"]]
    task = tagged(tmp_path, [["B-PER", "O"]], tags, unseen_labels="drop")
    assert task.tags("test") == [["B-PER", "O"], ["B-PER", "I-PER"]]  # I-PER is of a kind that train shows
    assert task.classes.unseen == []


def test_labels_that_nobody_declared_are_left_out_too(load, caplog):
    splits = {"train": table(["a", "b"]), "test": table(["a", "c", "zz"])}
    task = load(splits, label_names=["b", "a", "c"], unseen_labels="drop")
    assert (task.classes.names, task.dataset["test"]["labels"][:]) == (["b", "a", "c"], [1, 2])
    with pytest.raises(
        ValueError, match="unknown label 'zz'.* Add it to data.label_names, or drop such rows: data.un"
    ):
        load(splits, label_names=["b", "a", "c"])
    with pytest.raises(ValueError, match=r"unknown label 'b'. Allowed: a, c.$"):  # in train it is a mistake
        load(splits, label_names=["a", "c"], unseen_labels="drop")


@for_each(
    ("test", "settings", "message"),
    [
        (
            ["odd", "a"],
            {"unseen_labels": "refuse"},
            r"'test' has labels that train never shows: 'odd' \(1\). Name all",
        ),
        (
            ["odd"],
            {"unseen_labels": "drop"},
            "1 of 1 rows have labels .* such as 'odd', and .*drop leaves none. Name all classes",
        ),
        ([-1, -1], {"unseen_labels": "drop"}, "the label -1, the mark of rows without a label"),
    ],
)
def test_labels_that_training_never_shows_can_be_refused(load, test, settings, message):
    train = ["a", "b"] if isinstance(test[0], str) else [0, 1]
    with pytest.raises(ValueError, match=message):
        load({"train": table(train), "test": table(test)}, **settings)


def test_no_answer_can_be_right_for_them():
    logits = np.eye(2)[[0, 1, 1, 0]]
    found = classification_metrics("single_label_classification")(EvalPrediction(logits, np.array([0, 1, 2, 3])))
    assert found["accuracy"] == 0.5 and found["f1_micro"] == 0.5
    assert found["f1_macro"] == pytest.approx((2 / 3 + 2 / 3 + 0 + 0) / 4)
    told = np.array([[1, 0, 0], [0, 1, 1]])
    several = classification_metrics("multi_label_classification")(EvalPrediction(logits[:2] - 0.5, told))
    assert several["accuracy"] == 0.5
    assert several["f1_macro"] == pytest.approx(2 / 3)
    assert several["f1_micro"] == compute_score("f1_micro", [[1, 0, 0], [0, 1, 0]], told)
    names = ["O", "B-PER", "I-PER", "B-CITY", "I-CITY"]
    ids, labels = np.array([[1, 2, 0]]), np.array([[1, 2, 3]])
    tags = tagging_metrics(names)(EvalPrediction(ids, labels))
    assert (tags["entity_precision"], tags["entity_recall"]) == (1.0, 0.5)
    assert tags["accuracy"] == pytest.approx(2 / 3)


def test_the_loss_does_not_see_them():
    ids = torch.tensor([[0, 2, -100], [1, 3, 5]])
    assert hide_unseen(ids, 2).tolist() == [[0, -100, -100], [1, -100, -100]]
    hot = torch.tensor([[1.0, 0.0, 1.0]])
    assert hide_unseen(hot, 2, "multi_label_classification").tolist() == [[1.0, 0.0]]
    assert hide_unseen(torch.tensor([7.5]), 1, "regression").tolist() == [7.5]
