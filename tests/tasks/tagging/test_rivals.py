"""The simple systems beside a tagger: what they answer, and what is said where one is missing."""

import logging
import sys

import pytest

from hfseq.tasks.tagging.rivals import commonest_tags, crf_tags, features, simple_taggers
from tests.tasks.tagging.taggers import tagged_task

WORDS = [["the", "saw", "saw"], ["the", "Saw"], ["I", "saw"]]
TAGS = [["DET", "NOUN", "VERB"], ["DET", "NAME"], ["PRON", "VERB"]]
COMMONEST = "Most frequent tag of each word"


def test_a_word_gets_its_commonest_tag_and_an_unknown_one_the_commonest_of_all():
    asked = [["I", "saw", "the", "Saw"], ["never", "seen"], []]
    tags = [["A", "A", "A"], ["A", "NAME"], ["PRON", "VERB"]]
    assert commonest_tags(WORDS, TAGS, asked)[0] == ["PRON", "VERB", "DET", "NAME"]
    assert commonest_tags(WORDS, tags, asked)[1:] == [["A", "A"], []]


@pytest.mark.parametrize(("problem", "metric"), [("entities", "entity_f1"), ("tags", "accuracy")])
def test_without_crfsuite_the_table_has_the_commonest_tag_alone_and_says_so(problem, metric, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pycrfsuite", None)  # its import fails
    with caplog.at_level(logging.WARNING):
        rows = simple_taggers(tagged_task(problem), "test")
    assert [(row.name, row.metric) for row in rows] == [(COMMONEST, metric)]
    assert rows[0].value == 1.0  # each word of these sentences has one tag
    assert "pip install python-crfsuite" in caplog.text
    assert crf_tags(WORDS, TAGS, WORDS) is None


def test_a_crf_tells_by_neighbours_what_single_words_cannot():
    pytest.importorskip("pycrfsuite", reason="python-crfsuite is not installed; no extra of hfseq brings it to tests")
    found = crf_tags(WORDS * 20, TAGS * 20, WORDS)
    assert found == TAGS
    assert commonest_tags(WORDS * 20, TAGS * 20, WORDS) != TAGS


def test_features_know_the_word_its_ending_its_shape_and_its_neighbours():
    first, second = features(["Oslo", "2021"])
    assert {"word:Oslo", "lower:oslo", "shape:Xx", "ends:lo", "1:shape:0", "-1:none", "2:none"} <= set(first)
    assert {"word:2021", "shape:0", "-1:word:Oslo", "1:none"} <= set(second)
    assert list(features([])) == []
