"""`hfseq card`: the card of a trained folder, written anew from its facts or checked against them."""

import argparse
from pathlib import Path


def run(options: argparse.Namespace) -> None:
    """Render README.md from facts.json, or with --check compare the two."""
    from ..cards.render import load_facts, render_card, write_card

    folder = Path(options.folder)
    if not (folder / "facts.json").is_file():
        raise FileNotFoundError(f"{folder} holds no facts.json: give the folder of a model that a recipe trained.")
    facts, card = load_facts(folder / "facts.json"), folder / "README.md"
    if not options.check:
        write_card(folder, facts)
        print(f"wrote {card}")
    elif not card.is_file() or card.read_text(encoding="utf-8") != render_card(facts):
        raise ValueError(f"{card} does not say what facts.json says: `hfseq card {folder}` writes it anew.")
    else:
        print(f"{card} says what facts.json says")
