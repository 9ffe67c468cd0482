"""Treebanks: labels of nodes or of texts, classes of a map, and what is no tree."""

import logging

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, load_dataset

import hfseq
from hfseq.data.embedded.load import SENTIMENTS
from hfseq.data.treebanks import TreebankSettings, load_trees, tokenize_trees

TREES = [
    "(3 (2 It) (4 works))",
    "(1 (2 It) (1 (2 never) (3 works)))",
    "(2 (2 It) (2 is))",
    "(0 (0 Bad) (2 (2 ,) (1 sad)))",
]


@pytest.fixture
def folder(tmp_path):
    """Trees in files, one of which has a tree on several lines."""
    (tmp_path / "train.txt").write_text("\n".join(TREES), encoding="utf-8")
    (tmp_path / "dev.txt").write_text("(4 (4 Good)\n   (2 .))\n(2 It)\n", encoding="utf-8")
    return tmp_path


def loaded(folder, **options):
    return load_trees(TreebankSettings(path=str(folder), **options))


def test_files_of_brackets_become_trees_with_a_class_a_node(folder):
    task = loaded(folder)
    assert task.classes.names == ["0", "1", "2", "3", "4"] and task.is_scale
    assert task.dataset["train"]["labels"][:] == [[2, 4, 3], [2, 2, 3, 1, 1], [2, 2, 2], [0, 2, 1, 2, 0]]
    assert task.dataset["train"]["text"][1] == "It never works"
    assert task.dataset["validation"]["tree"][:] == ["(4 (4 Good) (2 .))", "(2 It)"]
    assert task.roots("validation").tolist() == [4, 2]
    assert task.trees("train")[0].words == ("It", "works", None)


def test_numbers_are_renamed_in_their_order(folder):
    task = loaded(folder, label_names=SENTIMENTS)
    assert task.classes.names == SENTIMENTS and task.roots("train").tolist() == [3, 1, 2, 0]
    with pytest.raises(ValueError, match="has the labels \\[2, 3, 4\\], but the 2 classes"):
        loaded(folder, label_names=["bad", "good"])


def test_the_embedded_labels_have_names_without_being_asked():
    task = load_trees(TreebankSettings(name="embedded", max_rows=20))
    assert task.classes.names == SENTIMENTS
    rows = hfseq.load_embedded()["test"]
    sentiments = dict(zip(rows["tree"][:], rows["sentiment"][:], strict=True))
    assert [sentiments[tree] for tree in task.dataset["test"]["tree"][:]] == task.roots("test").tolist()


def test_a_map_makes_two_classes_of_five_and_leaves_neutral_texts_out(folder, caplog):
    two = {"0": "bad", "1": "bad", "3": "good", "4": "good"}
    with caplog.at_level(logging.WARNING, "hfseq"):
        task = loaded(folder, label_map=two)
    assert task.classes.names == ["bad", "good"] and not task.is_scale
    assert task.dataset["train"]["labels"][:] == [[-100, 1, 1], [-100, -100, 1, 0, 0], [0, -100, 0, -100, 0]]
    assert "Split 'train': 1 of 4 texts have a label that data.label_map leaves out" in caplog.text
    assert task.dataset["validation"].num_rows == 1
    turned = loaded(folder, label_map=two, label_names=["good", "bad"])
    assert turned.dataset["train"]["labels"][0] == [-100, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_map": {"0": "bad", "5": "good"}}, "data.label_map: unknown label '5'.*Allowed: 0, 1, 2, 3, 4"),
        ({"label_map": {"0": "bad"}}, "must lead to two classes or more"),
        ({"label_map": {"0": "a", "1": "b"}, "label_names": ["a"]}, r"label_map leads to \['b'\], which label_names"),
        ({"text_column": "words"}, "text_column='words': trees hold their words; name their column, tree_column"),
        ({"tree_column": "label", "label_column": "label", "labels": "root"}, "are both 'label'; they must differ"),
        ({"label_column": "label"}, "label_column='label' has a label a text.*set labels=root"),
        ({"tree_column": "parse"}, "unknown data.tree_column 'parse'.*Allowed: tree, words"),
    ],
)
def test_what_does_not_go_together_is_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        loaded(folder, **options)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("(3 (2 It) (4 works)", "column 20: expected '\\)'"),
        ("It works", "Split 'train', row 4 holds no tree in brackets.*name it with data.label_column"),
        ("( (2 It) (4 works))", "row 4: the root of the tree has no label"),
    ],
)
def test_a_row_that_is_no_labelled_tree_is_named(tmp_path, tree, message):
    Dataset.from_dict({"tree": [*TREES, tree]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path)


def test_labels_of_texts_stand_in_a_column_and_trees_may_be_plain(tmp_path):
    rows = {"tree": ["(S (NP It) (VP works))", "It is bad", "(I agree)", "no"], "mood": ["good", "bad", "good", "bad"]}
    DatasetDict(train=Dataset.from_dict(rows), test=Dataset.from_dict(rows)).save_to_disk(tmp_path / "data")
    task = loaded(tmp_path / "data", label_column="mood", labels="root", validation_fraction=0.25)
    assert task.classes.names == ["bad", "good"] and task.dataset["test"]["labels"][:] == [[1], [0], [1], [0]]
    assert task.dataset["test"]["text"][:] == ["It works", "It is bad", "(I agree)", "no"]
    tokenizer = hfseq.TreeTokenizer.train(rows["tree"], min_frequency=1)
    tokens = tokenize_trees(task.dataset["test"], tokenizer, "root", 100)
    assert tokens["labels"][:] == [1, 0, 1, 0] and tokens["parents"][:2] == [[3, 3, 0], [0, 0, 0]]


def test_tokens_have_the_label_of_each_node_and_large_trees_are_left_out(folder, caplog):
    task = loaded(folder)
    tokenizer = hfseq.TreeTokenizer.train(task.dataset["train"]["tree"][:], min_frequency=1)
    tokens = tokenize_trees(task.dataset["train"], tokenizer, "nodes", 100)
    assert tokens["labels"][:] == task.dataset["train"]["labels"][:]
    for row, tree in zip(tokens, TREES, strict=True):
        encoded = tokenizer(tree, return_labels=True)
        assert (row["input_ids"], row["parents"]) == (encoded["input_ids"], encoded["parents"])
        assert row["labels"] == encoded["labels"] and row["length"] == len(row["input_ids"])
    with caplog.at_level(logging.WARNING, "hfseq"):
        assert tokenize_trees(task.dataset["train"], tokenizer, "root", 4)["labels"][:] == [3, 2]
    assert "2 trees of more than 4 nodes are left out (tokenizer.max_length)" in caplog.text
    with pytest.raises(ValueError, match="tokenizer.max_length=2 leaves no tree: the smallest has 3 nodes"):
        tokenize_trees(task.dataset["train"], tokenizer, "root", 2)


def test_a_label_that_training_lacks_is_a_class_of_its_own(folder):
    (folder / "train.txt").write_text("(1 (0 a) (1 b))\n(0 (0 a) (0 b))", encoding="utf-8")
    task = loaded(folder)
    assert task.classes.names == ["0", "1"] and task.classes.unseen == ["2", "4"]
    assert np.array_equal(task.roots("validation"), [3, 2])
    (folder / "dev.txt").write_text("(1 (2 a) (1 b))\n(1 (0 a) (1 b))", encoding="utf-8")
    kept = loaded(folder, unseen_labels="drop")
    assert kept.classes.unseen == [] and kept.dataset["validation"]["labels"][:] == [[0, 1, 1]]


def test_dependency_trees_have_labels_of_texts_alone(tmp_path):
    conllu = "1\tIt\tit\tPRON\t_\t_\t2\tnsubj\t_\t_\n2\tworks\twork\tVERB\t_\t_\t0\troot\t_\t_\n"
    (tmp_path / "train.conllu").write_text(f"{conllu}\n{conllu}", encoding="utf-8")
    with pytest.raises(ValueError, match="row 0 is no tree of phrases with labels"):
        loaded(tmp_path)
    trees = load_dataset("json", data_files=_json(tmp_path, conllu), split="train")
    assert trees.num_rows == 4
    task = loaded(tmp_path / "texts", label_column="label", labels="root")
    tokenizer = hfseq.TreeTokenizer.train(task.dataset["train"]["tree"][:], min_frequency=1)
    assert tokenize_trees(task.dataset["train"], tokenizer, "root", 9)["parents"][0] == [2, 0]


def _json(folder, conllu):
    (folder / "texts").mkdir()
    rows = Dataset.from_dict({"tree": [conllu] * 4, "label": ["a", "b", "a", "b"]})
    rows.to_json(folder / "texts" / "train.jsonl")
    return str(folder / "texts" / "train.jsonl")
