"""Cards of taggers: the golden card and its table of confused tags.

After a change of the template, `python -m tests.tasks.tagging.test_card --write` renders the golden card anew.
"""

import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from hfseq.cards.parts import code
from hfseq.cards.render import check_card, load_facts, render_card
from hfseq.commands.models import load_pipeline
from hfseq.commands.predict import answers
from hfseq.tasks.tagging.facts import TaggerFacts
from tests.tasks.tagging.taggers import facts_of, small_settings, tagged_task

GOLDEN = Path(__file__).parents[2] / "golden"
PATH = GOLDEN / "card_tagger.json"


def golden_facts():
    return TaggerFacts.load(PATH)


def test_the_card_equals_its_golden_file():
    card = render_card(golden_facts())
    assert card == (GOLDEN / "card_tagger.md").read_text(encoding="utf-8")
    check_card(card)


def test_facts_survive_json(tmp_path):
    golden_facts().save(tmp_path / "facts.json")
    assert json.loads((tmp_path / "facts.json").read_text("utf-8")) == json.loads(PATH.read_text("utf-8"))
    assert load_facts(PATH) == golden_facts()


def test_older_facts_without_confused_tags_have_a_card_too():
    card = render_card(dataclasses.replace(golden_facts(), confusions=[]))
    check_card(card)
    assert "Confused tags" not in card


def test_the_snippet_joins_pieces_by_the_first_one_as_they_are_scored():
    facts = golden_facts()
    assert 'aggregation_strategy="simple"' in render_card(facts)
    assert 'aggregation_strategy="first"' in render_card(dataclasses.replace(facts, aggregation="first"))


@pytest.mark.parametrize(("kind", "strategy"), [("word", "simple"), ("wordpiece", "first")])
def test_the_snippet_asks_as_the_command_does(kind, strategy, tmp_path, monkeypatch):
    settings = small_settings(tmp_path)
    settings.training["max_steps"], settings.tokenizer.kind = 1, kind
    facts, _, _ = facts_of(settings, tagged_task(), tmp_path)
    assert facts.aggregation == strategy
    pipe, asked = load_pipeline(str(tmp_path / "model")), []
    monkeypatch.setattr(type(pipe), "__call__", lambda self, texts, **options: asked.append(options) or [[]])
    list(answers(pipe, ["call Ana"]))
    assert asked[0]["aggregation_strategy"] == strategy


@pytest.mark.parametrize("problem", ["entities", "tags"])
def test_confused_tags_are_counted_word_by_word(problem, tmp_path):
    settings, task = small_settings(tmp_path), tagged_task(problem)
    settings.training["max_steps"] = 1
    facts, predictions, _ = facts_of(settings, task, tmp_path)
    names, rows = task.classes.names, task.tags("test")
    pairs = Counter(
        (tag, names[answer])
        for row, own in zip(rows, predictions, strict=True)
        for tag, answer in zip(row, own, strict=False)
        if tag != names[answer]
    )
    found = {(row.expected, row.predicted): row.texts for row in facts.confusions}
    assert found == dict(pairs) and found  # fewer than are shown
    assert {row.expected: row.of for row in facts.confusions} == {
        tag: sum(row.count(tag) for row in rows) for tag, _ in pairs
    }
    worst, card = facts.confusions[0], render_card(facts)
    check_card(card)
    assert f"| {code(worst.expected)} | {code(worst.predicted)} | {worst.texts} of {worst.of} |" in card


if __name__ == "__main__" and "--write" in sys.argv:
    (GOLDEN / "card_tagger.md").write_text(render_card(golden_facts()), encoding="utf-8")
