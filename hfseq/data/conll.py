"""CoNLL and CoNLL-U: a word on each line, its tags behind it, and an empty line after each sentence.

| file               | columns                                                                              |
|--------------------|--------------------------------------------------------------------------------------|
| `.conllu`          | `tokens`, `lemma`, `tags` and `upos` (the same), `xpos`, `feats`, `deprel`           |
| any other of CoNLL | `tokens` (the first), `tags` (the last), and `column_2`, `column_3`, ... between them |
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from datasets import Dataset, Features, List, Value

from ..tokenization.conllu import conllu_sentences
from .sources import Formats

_CONLLU_COLUMNS = {"tokens": 1, "lemma": 2, "tags": 3, "upos": 3, "xpos": 4, "feats": 5, "deprel": 7}
_CONLL_LINES, _CONLLU_LINES = "lines of CoNLL", "lines of CoNLL-U"  # the only column of a file that was read as text


def _lines(column: str) -> tuple[str, dict[str, Any]]:
    return "text", {"features": Features({column: Value("string")}), "encoding": "utf-8-sig"}


CONLL_FORMATS: Formats = {
    **dict.fromkeys((".conll", ".txt", ".tsv", ".iob", ".iob2", ".bio"), _lines(_CONLL_LINES)),
    ".conllu": _lines(_CONLLU_LINES),
}


def sentences(rows: Dataset, split: str) -> Dataset:
    """Turn the lines of a file into its sentences, a row each; rows of a table stay as they are."""
    if rows.column_names == [_CONLL_LINES]:
        return _from_conll(rows[_CONLL_LINES][:], split)
    if rows.column_names == [_CONLLU_LINES]:
        return _from_conllu(rows[_CONLLU_LINES][:], split)
    return rows


def _from_conll(lines: Iterable[str], split: str) -> Dataset:
    """Read words and tags in columns, parted by tabs or, in a file without them, by blanks."""
    width, first = 0, ""
    found: list[list[list[str]]] = [[]]
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t") if "\t" in line else re.split(" +", line.strip(" \r\n"))
        is_id = line.startswith("# id ") and not found[-1]  # as MultiCoNER has them
        if not line.strip() or line.split()[0] == "-DOCSTART-" or is_id:
            found.append([])
            continue
        if not width:
            width, first = len(cells), line
        if len(cells) != width or width < 2:
            wanted = f"{width}, as the lines before it" if width > 1 else "a word and its tags"
            where = f"Split {split!r}, line {number}"
            raise ValueError(f"{where} has {len(cells)} columns, not {wanted}: {line[:200]!r}. {_cure(line, first)}")
        found[-1].append([cell.strip() for cell in cells])
    names = ["tokens", *(f"column_{index}" for index in range(2, width)), "tags"]
    return _columns(found, dict(zip(names, range(width), strict=False)))


def _cure(*lines: str) -> str:
    for line in lines:
        if line.startswith("# "):
            return f"{line[:200]!r} is read as a word and its tags: remove it and its like if they are comments."
    return "An empty line ends a sentence."


def _from_conllu(lines: Iterable[str], split: str) -> Dataset:
    """Read the words of the trees of Universal Dependencies, neither contractions (1-2) nor gaps (1.1)."""
    return _columns((words for _, words in conllu_sentences(lines, f"Split {split!r}")), _CONLLU_COLUMNS)


def _columns(found: Iterable[Sequence[Sequence[str]]], places: dict[str, int]) -> Dataset:
    full = [sentence for sentence in found if sentence]
    columns = {name: [[cells[place] for cells in sentence] for sentence in full] for name, place in places.items()}
    return Dataset.from_dict(columns, Features({name: List(Value("string")) for name in columns}))
