"""Words of a card that nobody said."""

from pathlib import Path

import pytest

from hfseq.cards.render import load_facts, render_card
from hfseq.cards.words import CardWords
from hfseq.recipe.publish import check_published
from hfseq.recipe.sections import CardSettings

GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_card_says_what_nobody_said() -> None:
    facts = load_facts(GOLDEN / "card_classifier.json")
    facts.summary = facts.language = None
    facts.source.name = facts.source.license = facts.source.domain = None
    card = render_card(facts)
    assert "The licence of the data was not stated." in card
    assert "in a language that was not stated" in card
    assert "\nlanguage:" not in card


def test_publishing_asks_for_the_words_that_are_missing() -> None:
    facts = load_facts(GOLDEN / "card_classifier.json")
    check_published(facts)
    facts.source.license = None
    with pytest.raises(ValueError, match=r"--card\.data_license=\.\.\.\.$"):
        check_published(facts)


def test_a_model_without_an_id_is_called_as_its_folder(tmp_path: Path) -> None:
    assert CardWords().facts(tmp_path / "my model")["model_id"] == "my-model"


@pytest.mark.parametrize("kind", ["classifier", "regression", "language", "masked", "words"])
def test_a_card_needs_no_texts_of_our_own(kind: str) -> None:
    facts = load_facts(GOLDEN / f"card_{kind}.json")
    for name in {"widgets", "prompts", "samples", "neighbours", "analogies"} & vars(facts).keys():
        setattr(facts, name, [])
    card = render_card(facts)
    assert "of our own" not in card
    assert "widget:" not in card
    assert "\n\n\n" not in card.partition("## Usage")[2]


def test_words_about_the_file_s_data_do_not_count_for_other_data() -> None:
    file = {("data", "name"): "org/old", ("card", "summary"): "Old.", ("card", "rivals"): "words"}
    forgotten = CardSettings.forgotten
    assert forgotten(file, {}) == set()
    assert forgotten(file, {("data", "name"): "org/old"}) == set()
    assert forgotten(file, {("data", "path"): "mine.csv"}) == {"summary"}
    assert forgotten(file, {("data", "path"): "copy.csv", ("card", "same_data"): True}) == set()
