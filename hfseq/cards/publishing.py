"""What a trained folder lacks before it is published: words that only a person knows, and how they are said later."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huggingface_hub.utils import validate_repo_id

from .checks import NO_LANGUAGE, check_words
from .facts import Facts, check_license
from .parts import quoted
from .pictures import pictures_in
from .render import load_facts, render_card, write_card
from .verdict import behind_line


@dataclass(frozen=True)
class Word:
    """One thing that a reader on the Hub must know."""

    about: str
    unsaid: str  # what the card says without it


CARD_WORDS: Final = {  # by its key in section `card` of a recipe
    "summary": Word("what the model does", "What this model does was not stated."),
    "language": Word("the language of the texts", NO_LANGUAGE),
    "data_name": Word("the name of the data", "their name was not stated"),
    "data_license": Word("the licence of the data", "The licence of the data was not stated."),
    "data_domain": Word("what the texts are", "what the texts are was not stated"),
}

# What we render today may be other words than an older hfseq wrote, so nobody can tell these two apart.
_DIFFERS = "differs from what facts.json makes (changed by hand, or written by another hfseq)"


def unsaid_in(card: str) -> list[str]:
    """Return the keys of the words that the text of a card lacks."""
    text = " ".join(card.split())
    return [name for name, word in CARD_WORDS.items() if word.unsaid in text]


def asked(names: Iterable[str]) -> str:
    """List what some keys are about."""
    return ", ".join(CARD_WORDS[name].about for name in names)


def behind_line_in(folder: Path) -> str | None:
    """Say which simple system is better than the model of a folder; None if none is."""
    return behind_line(load_facts(folder / "facts.json"))


def say(folder: Path, words: Mapping[str, str]) -> None:
    """Write words into the facts and the card of a trained folder; a card that differs from its facts stays as it is.

    Args:
        words: Key of `CARD_WORDS`, or "license", that of the weights -> text.
    """
    path, card = folder / "facts.json", folder / "README.md"
    check_words({f"--{name.replace('_', '-')}": text for name, text in words.items()})
    facts = load_facts(path)
    if _is_changed(card, facts):
        cure = f"Write the words there too, or let `hfseq card {folder}` write it anew from facts.json"
        raise ValueError(f"{card} {_DIFFERS}. {cure}, which takes the changes away.")
    _change(facts, words)
    write_card(folder, facts)
    facts.save(path)


@contextmanager
def say_id(folder: Path, repo_id: str) -> Iterator[str | None]:
    """Let the card's snippet load the model from where it is pushed in the block, and as before if that fails.

    A card that is not what facts.json makes is left as it is; if it does not name the id, the block gets a line on it.
    """
    validate_repo_id(repo_id)
    card, facts = folder / "README.md", load_facts(folder / "facts.json")
    former = facts.model_id
    if _is_changed(card, facts):
        cure = f"Write the id there, or let `hfseq card {folder}` write it anew, and push again."
        names = quoted(repo_id) in card.read_text(encoding="utf-8")
        yield None if names else f"{card} does not load {repo_id}: it {_DIFFERS}, and was left as it is. {cure}"
        return
    if former == repo_id:
        yield None
        return
    _write_id(folder, facts, repo_id)
    try:
        yield None
    except BaseException:  # Control-C too: the next push may go elsewhere
        _write_id(folder, facts, former)
        raise


def _write_id(folder: Path, facts: Facts, model_id: str) -> None:
    facts.model_id = model_id
    write_card(folder, facts)
    facts.save(folder / "facts.json")


def _is_changed(card: Path, facts: Facts) -> bool:
    return card.is_file() and card.read_text(encoding="utf-8") != render_card(facts, pictures_in(card.parent))


def _change(facts: Facts, words: Mapping[str, str]) -> None:
    for name, text in words.items():
        place, key = (facts.source, name.removeprefix("data_")) if name.startswith("data_") else (facts, name)
        setattr(place, key, text)
    if "license" in words:
        check_license(facts.license, facts.license_name, facts.license_link)
