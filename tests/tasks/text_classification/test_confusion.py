"""Which labels are taken for which, and the accuracy where close ones count as one."""

import dataclasses

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from hfseq.cards.confusion import most_confused
from hfseq.cards.parts import code
from hfseq.cards.render import check_card, render_card
from hfseq.data.text import Classes, TextTask
from hfseq.tasks.text_classification.confusion import check_groups, group_ids
from hfseq.tasks.text_classification.facts import SAME_LABELS, CardFacts
from hfseq.tasks.text_classification.rivals import rivals
from tests.closeness import assert_same
from tests.tasks.text_classification.classifiers import facts_of, small_settings, text_task

NAMES = [f"label {number}" for number in range(12)]


@pytest.fixture
def settings(tmp_path):
    """Settings of a small run that writes nothing but into an empty folder."""
    return small_settings(tmp_path)


def test_the_pairs_that_are_confused_most_come_first():
    expected = np.array([3, 3, 3, 3, 1, 1, 7, 7, 7, 0])
    predicted = np.array([4, 4, 3, 5, 2, 2, 7, 7, 8, 0])
    found = [(row.expected, row.predicted, row.texts, row.of) for row in most_confused(NAMES, expected, predicted)]
    assert found == [
        ("label 1", "label 2", 2, 2),
        ("label 3", "label 4", 2, 4),
        ("label 3", "label 5", 1, 4),
        ("label 7", "label 8", 1, 3),
    ]


def test_only_the_worst_pairs_of_many_labels_are_listed():
    expected = np.arange(12).repeat(2)
    assert len(most_confused(NAMES, expected, (expected + 1) % 12)) == 10
    assert most_confused(NAMES, expected, expected) == []
    few = np.array([0, 1, 1])
    assert most_confused(NAMES[:10], few, few[::-1]) == []
    assert len(most_confused(NAMES[:10], few, few[::-1], few=1)) == 2


def test_labels_of_a_group_have_one_number():
    names = ["bs", "de", "hr", "nb", "nn"]
    ids = group_ids(names, [["hr", "bs"], ["nb", "nn"]])
    assert ids[0] == ids[2] != ids[1]
    assert ids[3] == ids[4] != ids[0]
    assert group_ids(names, []).tolist() == [0, 1, 2, 3, 4]


def test_the_second_accuracy_counts_labels_of_a_group_as_one(settings, tmp_path):
    settings.card = dataclasses.replace(settings.card, same_labels=[["bad", "fair"]])
    task = text_task()
    facts, logits, _ = facts_of(settings, task, tmp_path)
    labels, answers = np.array(task.dataset["test"]["labels"]), logits.argmax(-1)
    assert_same(facts.runs[0].metrics[SAME_LABELS], ((answers == 2) == (labels == 2)).mean())
    assert facts.metric_names[:2] == ["accuracy", SAME_LABELS]
    assert {row.metric for row in facts.comparisons} >= {"accuracy", SAME_LABELS}
    always = {row.metric: row.value for row in facts.comparisons if row.name == "Most frequent class"}
    assert_same([always["accuracy"], always[SAME_LABELS]], [(labels == 0).mean(), (labels != 2).mean()])
    facts.save(tmp_path / "facts.json")
    assert CardFacts.load(tmp_path / "facts.json") == facts
    assert "| Accuracy where bad/fair count as one (%), test |" in render_card(facts)


def many_labels(names):
    """Two texts of each label; each text is about its label alone."""
    features = Features({"text": Value("string"), "labels": ClassLabel(names=names)})
    texts = [f"word{number} word{number}" for number in range(len(names))] * 2
    rows = Dataset.from_dict({"text": texts, "labels": [*range(len(names))] * 2}, features)
    return TextTask(DatasetDict({"train": rows, "test": rows}), "single_label_classification", Classes(names))


def test_the_card_of_many_labels_has_a_table_of_the_confused_ones(settings, tmp_path):
    settings.training["max_steps"] = 1
    names = ["None", "nan", "a|b", "TODO", *NAMES]  # labels may be any words
    facts, logits, _ = facts_of(settings, many_labels(names), tmp_path)
    assert facts.confusions == most_confused(names, np.array([*range(16)] * 2), logits.argmax(-1))
    assert facts.confusions  # after one step
    card = render_card(facts)
    check_card(card)
    worst = facts.confusions[0]
    assert f"| {code(worst.expected)} | {code(worst.predicted)} | {worst.texts} of 2 |" in card


def test_the_card_of_few_labels_has_no_such_table(settings, tmp_path):
    facts, _, _ = facts_of(settings, text_task(), tmp_path)
    assert facts.confusions == []
    assert "Confused labels" not in render_card(facts)


@pytest.mark.parametrize("groups", [[["bad"]], [["bad", "fair"], ["fair", "good"]], [["bad", "bad"]]])
def test_groups_that_are_none_are_refused(settings, groups):
    with pytest.raises(ValueError, match="must be groups of two labels or more"):
        dataclasses.replace(settings.card, same_labels=groups)


def test_groups_of_other_labels_are_refused_before_the_training():
    with pytest.raises(ValueError, match=r"names \['god'\], which are not among"):
        check_groups([["bad", "god"]], text_task())
    with pytest.raises(ValueError, match="about the one label of a text"):
        check_groups([["bad", "good"]], text_task("regression"))
    check_groups([["bad", "good"]], text_task())
    check_groups([], text_task("regression"))


def test_the_rivals_of_characters_are_naive_bayes_and_a_language_model_a_label():
    texts = {"abab", "baba", "aabb", "abba", "bbaa"}, {"cdcd", "dcdc", "ccdd", "cddc", "ddcc"}
    train = Dataset.from_dict({"text": [*texts[0], *texts[1]], "labels": [0] * 5 + [1] * 5})
    rows = Dataset.from_dict({"text": ["abaab", "CCDCD", "bbab"], "labels": [0, 1, 0]})
    labels = np.array(rows["labels"])
    task = dataclasses.replace(text_task(), dataset=DatasetDict({"train": train}))
    found = rivals(task, rows, "characters", lambda answers: {"accuracy": float((answers == labels).mean())})
    assert [row.name.split(" (")[0] for row in found] == [
        "Most frequent class",
        "Naive Bayes on character n-grams of 1 to 4",
        "A language model a label",
    ]
    assert [row.value for row in found[1:]] == [1.0, 1.0]
