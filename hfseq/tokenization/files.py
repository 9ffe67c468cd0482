"""What the tokenizer files of a stranger must be before they are loaded.

A `tokenizer.json` can end the process that loads it, or raise a `PanicException`, which `except Exception` does not
catch. So it is tried in a process of its own first (`trial.py`), in bounds of size, memory and time.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers.utils.hub import cached_file, resolve_revision

from ..models.artifacts import (
    SOURCE_TOKENIZER_NAME,
    TARGET_TOKENIZER_NAME,
    TOKENIZER_NAME,
    UnsafeArtifactError,
    explained_panics,
    read_json,
)
from . import trial as tokenizer_trial

MOST_BYTES = 64 << 20  # the largest of the well-known ones has half of it
_VOCABULARIES = (TOKENIZER_NAME, SOURCE_TOKENIZER_NAME, TARGET_TOKENIZER_NAME)
_PATIENCE = 600  # seconds by the clock: the trial's own bound is one of work, which a busy machine does not use up


def check_tokenizer_file(file: str | Path) -> None:
    """Refuse a `tokenizer.json` that, with the files beside it, is too large, is no JSON, or does harm in use."""
    file = Path(file)
    for path in (file, *(file.with_name(name) for name in tokenizer_trial.SIBLINGS)):
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            size = f"{path.stat().st_size >> 20} MB, a tokenizer's file at most {MOST_BYTES >> 20}"
            raise UnsafeArtifactError(f"{path} has {size}: train or save the tokenizer anew.")
        if path == file or path.is_file():
            read_json(path)
    _check_name(file.with_name("tokenizer_config.json"))
    if wrong := _trial(file):
        raise UnsafeArtifactError(f"{file} is not loaded: {wrong}. Take one that a working tokenizer saved.")


def check_tokenizer_folder(folder: str | os.PathLike[str]) -> None:
    """Check the `tokenizer.json` of a checkpoint folder, if there is one, or the two of source and target."""
    for name in _VOCABULARIES:  # all there are: which one transformers loads depends on config.json as well
        if (Path(folder) / name).is_file():
            check_tokenizer_file(Path(folder) / name)


def check_tokenizer(source: str | os.PathLike[str], *, revision: str | None = None) -> str | None:
    """Check the tokenizers of a folder or a Hub id, and return the revision to load: the checked commit."""
    if os.path.isdir(source):
        check_tokenizer_folder(source)
        return revision
    revision = resolve_revision(str(source), revision=revision)
    names = (*tokenizer_trial.SIBLINGS, *_VOCABULARIES)
    options: dict[str, Any] = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
    found = [cached_file(str(source), name, **options) for name in names]
    for folder in {Path(file).parent for file in found if file is not None}:
        check_tokenizer_folder(folder)
    return revision


def load_tokenizer(source: str | os.PathLike[str], *, revision: str | None = None, **options: Any) -> Any:
    """Load a tokenizer as `AutoTokenizer` does, once its file is checked; no code of a stranger runs."""
    revision = check_tokenizer(source, revision=revision)
    with explained_panics(source):
        return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False, **options)


def _check_name(config: Path) -> None:
    """Refuse `fast_tokenizer_files`, which makes transformers load another file than the one that is checked."""
    names = read_json(config).get("fast_tokenizer_files") if config.is_file() else None
    if names not in (None, [], [TOKENIZER_NAME]):
        raise UnsafeArtifactError(
            f"{config} has fast_tokenizer_files={names!r}, but only {TOKENIZER_NAME} is read: delete that entry."
        )


def _trial(file: Path) -> str | None:
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"}
    text: dict[str, Any] = {"encoding": "utf-8", "errors": "replace"}
    command = [sys.executable, "-I", tokenizer_trial.__file__, str(file.resolve()), json.dumps(sys.path)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, env=environment, **text
        )
    except subprocess.TimeoutExpired:
        return f"the trial was not over after {_PATIENCE} seconds"
    if done.returncode == 0:
        said = done.stdout.strip()
        return None if said == "ok" else said
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note:")]
    return f"it ends the process that loads or uses it (status {done.returncode}; {lines[-1] if lines else 'silent'})"
