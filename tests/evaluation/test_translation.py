"""BLEU, chrF and exact matches of written texts."""

import math

import numpy as np
import pytest

from hfseq.evaluation.scores import SCORES
from hfseq.evaluation.translation import METRICS, bleu, exact_match, sentence_chrf, signature, translation_scores

WANTED = ["the cat sat on the mat today .", "it is raining in the north of the country ."]


def test_texts_that_are_right_have_the_best_scores_and_others_less():
    assert translation_scores(WANTED, WANTED) == pytest.approx({"bleu": 100, "chrf": 100, "exact_match": 1})
    found = translation_scores(WANTED, [WANTED[0], "no"])
    assert found["exact_match"] == 0.5 and 0 < found["bleu"] < 100 and 0 < found["chrf"] < 100
    assert all(SCORES[name].formula(WANTED, WANTED[::-1]) < SCORES[name].formula(WANTED, WANTED) for name in METRICS)


def test_bleu_is_the_formula():
    """Of 8 + 8 written words, with 10 + 8 wanted ones, the n-grams that both have are counted by hand."""
    wanted = ["a b c d e f g h i j", "k l m n o p q r"]
    written = ["a b c d x f g h", "k l m n o p q r"]
    right, all_of_them = (7 + 8, 5 + 7, 3 + 6, 1 + 5), (8 + 8, 7 + 7, 6 + 6, 5 + 5)
    precision = math.prod(one / other for one, other in zip(right, all_of_them, strict=True)) ** 0.25
    assert bleu(wanted, written) == pytest.approx(100 * math.exp(1 - 18 / 16) * precision)


def test_capitals_count_and_white_space_at_the_ends_does_not():
    assert exact_match(["Ja."], [" Ja. "]) == 1 and exact_match(["Ja."], ["ja."]) == 0
    assert "case:mixed" in signature() and "tok:13a" in signature()


def test_a_single_text_has_a_score_without_four_right_words_in_a_row():
    assert 0 < sentence_chrf("ein Hund rennt", "der Hund läuft") < sentence_chrf("ein Hund rennt", "ein Hund rennt")


def test_each_text_needs_its_reference():
    with pytest.raises(ValueError, match="1 texts were written and 2 wanted: give one reference"):
        translation_scores(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="0 texts were written and 0 wanted"):
        translation_scores([], [])


def test_any_of_several_references_is_right():
    references = [["a dog runs on the sand", "a brown dog at the sea"], ["a cat"]]
    written = ["a brown dog at the sea", "a cat"]
    assert translation_scores(references, written) == {"bleu": pytest.approx(100), "chrf": 100, "exact_match": 1}
    one = translation_scores(["a dog runs on the sand", "a cat"], written)
    assert one["bleu"] < 60 and one["exact_match"] == 0.5
    assert sentence_chrf(references[0], written[0]) == 100
    assert "nrefs:var" in signature(references) or "nrefs:2" in signature(references)
    assert signature() == signature(["a", "b"]) and "nrefs:1" in signature()


def test_a_bleu_of_several_references_counts_what_is_in_any_of_them():
    """Two halves, each of which one reference has: no single one has both."""
    references = [["one two three four five x x x x x", "y y y y y six seven eight nine ten"]]
    written = ["one two three four five six seven eight nine ten"]
    precisions = [10 / 10, 8 / 9, 6 / 8, 4 / 7]  # n-grams over the middle are in neither
    expected = 100 * np.prod(precisions) ** 0.25
    assert bleu(references, written) == pytest.approx(expected)
