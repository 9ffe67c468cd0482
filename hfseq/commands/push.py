"""`hfseq push`: a trained folder to the Hub."""

import argparse
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path


def run(options: argparse.Namespace) -> None:
    """Write the words given into the card, push the folder in one commit, and print where it is."""
    from ..hub import push

    folder = Path(options.folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {options.folder!r}: give that of a trained model.")
    given = {name: text for name, text in vars(options).items() if name.startswith("said_") and text is not None}
    with _said(folder, {name.removeprefix("said_"): text for name, text in given.items()}, options.repo_id) as missed:
        private = True if options.private else None
        result = push(folder, options.repo_id, private=private, with_code=options.with_code, force=options.force)
    print(f"pushed to {result.url}")
    if missed is not None:
        print(f"warning: {missed}", file=sys.stderr)


def _said(folder: Path, words: dict[str, str], repo_id: str) -> AbstractContextManager[str | None]:
    if not (folder / "facts.json").is_file():
        if words:
            raise FileNotFoundError(
                f"{folder} holds no facts.json: write the words into {folder / 'README.md'} itself."
            )
        return nullcontext()
    from ..cards.publishing import say, say_id  # here: a folder without facts needs no extra to be pushed

    if words:
        say(folder, words)
    return say_id(folder, repo_id)
