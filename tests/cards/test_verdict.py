"""A model that is behind a simple system of the same run is named so, in the terminal, on the card and by `push`."""

import dataclasses

import pytest

import hfseq
from hfseq.cards.facts import SAME_RUN, Comparison, SeedRun
from hfseq.cards.render import render_card
from hfseq.cards.verdict import behind, verdict_lines
from hfseq.hub import BehindError
from tests.cards.test_render import golden


def beside(facts, *rows, own=0.9, metric="accuracy"):
    """The facts with this score, and these systems beside it."""
    runs = [SeedRun(seed=0, minutes=1.0, metrics={metric: own})]
    comparisons = [Comparison(name=n, metric=metric, value=v, source=s) for n, v, s in rows]
    return dataclasses.replace(facts, runs=runs, comparisons=comparisons)


@pytest.fixture
def facts():
    return golden()


def test_a_better_simple_system_is_named_loudly_with_both_scores(facts):
    facts = beside(facts, ("Most frequent class", 0.5, SAME_RUN), ("TF-IDF", 0.95, SAME_RUN))
    assert [(row.name, row.value, row.own) for row in behind(facts)] == [("TF-IDF", 0.95, 0.9)]
    *table, last = verdict_lines(facts)
    assert any("this model" in line and "90.0" in line for line in table)
    assert last.startswith("*** BEHIND")
    assert "90.0, TF-IDF 95.0" in last
    assert "**BEHIND" in render_card(facts)


@pytest.mark.parametrize("peer", [0.5, 0.9, 0.902])
def test_a_model_that_is_better_or_level_is_not_behind(facts, peer):
    facts = beside(facts, ("TF-IDF", peer, SAME_RUN))
    assert behind(facts) == []
    assert "BEHIND" not in "".join(verdict_lines(facts))
    assert "BEHIND" not in render_card(facts)


def test_published_results_are_no_simple_systems_of_the_run(facts):
    facts = beside(facts, ("A large model", 0.99, "a paper"))
    assert behind(facts) == []
    assert verdict_lines(facts) == []


def test_of_an_error_less_is_better(facts):
    facts = dataclasses.replace(facts, problem_type="regression")
    worse = beside(facts, ("Mean", 0.2, SAME_RUN), metric="mse", own=0.3)
    better = beside(facts, ("Mean", 0.3, SAME_RUN), metric="mse", own=0.2)
    assert [row.name for row in behind(worse)] == ["Mean"]
    assert behind(better) == []


def test_push_refuses_a_folder_whose_facts_say_that_it_is_behind(facts, tmp_path):
    beside(facts, ("TF-IDF", 0.95, SAME_RUN)).save(tmp_path / "facts.json")
    with pytest.raises(BehindError, match=r"TF-IDF 95\.0.*--hub\.force=true"):
        hfseq.push(tmp_path, "user/model")
    with pytest.raises(Exception) as other:  # force goes on, to the files that are missing
        hfseq.push(tmp_path, "user/model", force=True)
    assert not isinstance(other.value, BehindError)
