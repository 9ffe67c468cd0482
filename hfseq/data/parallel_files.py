"""Texts and their translations line by line in two files: `train.en` and `train.de`, also .gz, .bz2 or .xz."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from datasets import Dataset

from ..models.packed_files import PACKED, numbered_lines, open_text

_NAME = re.compile(r"(?P<split>[\w-]+)\.(?P<language>[A-Za-z]{2,3}(?:[_-]\w+)?)")


def languages_in(folder: Path) -> dict[str, set[str]]:
    """Return which languages each split has a file of; empty for a folder of other files."""
    found: dict[str, set[str]] = {}
    for file in folder.iterdir():
        if (match := _NAME.fullmatch(_unpacked(file))) is not None:
            found.setdefault(match["split"], set()).add(match["language"])
    return {split: languages for split, languages in found.items() if len(languages) > 1}


def read_parallel(folder: Path, split: str, languages: Sequence[str]) -> Dataset:
    """Read the files of a split, whose lines belong together, into a column for each language."""
    files = [_file(folder, f"{split}.{language}") for language in languages]
    columns = {language: list(_lines(file)) for language, file in zip(languages, files, strict=True)}
    counts = [len(lines) for lines in columns.values()]
    if len(set(counts)) > 1:
        told = ", ".join(f"{file} has {count} lines" for file, count in zip(files, counts, strict=True))
        raise ValueError(f"{told}: line by line they must be a text and its target. Remove what has no other half.")
    return Dataset.from_dict(columns)


def _file(folder: Path, name: str) -> Path:
    file = next((file for file in sorted(folder.iterdir()) if _unpacked(file) == name), None)
    if file is None:
        held = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise FileNotFoundError(f"{folder} holds no file {name}; it holds {held}.")
    return file


def _lines(file: Path) -> Iterable[str]:
    with open_text(file) as text:
        yield from (line.rstrip("\r\n") for _, line in numbered_lines(text, file))


def _unpacked(file: Path) -> str:
    return file.stem if file.suffix in PACKED else file.name
