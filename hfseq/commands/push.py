"""`hfseq push`: a trained folder to the Hub."""

import argparse
from pathlib import Path


def run(options: argparse.Namespace) -> None:
    """Push a folder in one commit and print where it is."""
    from ..hub import push

    if not Path(options.folder).is_dir():
        raise FileNotFoundError(f"There is no folder {options.folder!r}: give that of a trained model.")
    private = True if options.private else None
    result = push(options.folder, options.repo_id, private=private, with_code=options.with_code, force=options.force)
    print(f"pushed to {result.url}")
