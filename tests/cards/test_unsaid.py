"""Words of a card that nobody said."""

from pathlib import Path

import pytest

from hfseq.cards.publishing import CARD_WORDS, say, say_id, unsaid_in
from hfseq.cards.render import load_facts, render_card, write_card
from hfseq.cards.words import CardWords
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


KINDS = ["classifier", "regression", "language", "masked", "words"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_is_asked_for_all_that_it_does_not_say(kind: str) -> None:
    facts = load_facts(GOLDEN / f"card_{kind}.json")
    assert unsaid_in(render_card(facts)) == []
    for name in CARD_WORDS:
        place = facts.source if name.startswith("data_") else facts
        setattr(place, name.removeprefix("data_"), None)
    assert unsaid_in(render_card(facts)) == list(CARD_WORDS)


def test_what_is_said_later_goes_into_facts_and_card(tmp_path: Path) -> None:
    facts = load_facts(GOLDEN / "card_classifier.json")
    facts.source.license = facts.language = None
    facts.model_id = "films"
    facts.save(tmp_path / "facts.json")
    write_card(tmp_path, facts)
    say(tmp_path, {"data_license": "cc0-1.0", "language": "en", "license": "mit"})
    with say_id(tmp_path, "user/films") as missed:
        assert missed is None
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Licence: cc0-1.0." in card and "language: en" in card and "license: mit" in card and "user/films" in card
    assert render_card(load_facts(tmp_path / "facts.json")) == card
    with pytest.raises(ValueError, match="license_name"):
        say(tmp_path, {"license": "other"})
    with pytest.raises(ValueError, match="--summary has a placeholder"):
        say(tmp_path, {"summary": "TODO"})
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card


def test_a_card_changed_by_hand_stays_as_it_is(tmp_path: Path) -> None:
    facts = load_facts(GOLDEN / "card_classifier.json")
    facts.model_id = "films"
    facts.save(tmp_path / "facts.json")
    write_card(tmp_path, facts)
    card = tmp_path / "README.md"
    text = card.read_text(encoding="utf-8") + "More.\n"
    card.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"facts\.json makes \(changed by hand, or written by another hfseq\)\. "):
        say(tmp_path, {"language": "en"})
    with say_id(tmp_path, "user/films") as missed:
        assert missed is not None and "README.md does not load user/films: it differs from what" in missed
    assert card.read_text(encoding="utf-8") == text
    card.write_text(text.replace('"films"', '"user/films"'), encoding="utf-8")
    with say_id(tmp_path, "user/films") as missed:
        assert missed is None


def test_a_training_for_the_hub_asks_for_the_words_before_it_begins() -> None:
    card = CardSettings(summary="What.", language="en", data_name="mine", data_domain="films")
    card.check_said(None)
    with pytest.raises(ValueError, match=r"does not say the licence of the data: give --card\.data_license=TEXT, or"):
        card.check_said("user/x")
    CardSettings(**vars(card) | {"data_license": "mit"}).check_said("user/x")


def test_a_model_without_an_id_is_called_as_its_folder(tmp_path: Path) -> None:
    assert CardWords().facts(tmp_path / "my model")["model_id"] == "my-model"


@pytest.mark.parametrize("kind", KINDS)
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
