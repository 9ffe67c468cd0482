"""Texts in fastText's format: a text a line, with its labels among its words.

    __label__sports The match ended one to nil
    __label__baking __label__bread Can I bake bread without yeast ?

A word that begins with the prefix is a label wherever it stands, and no word of the text, as fastText reads it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, List, Value

from ..formats.fasttext import LABEL_PREFIX
from ..models.packed_files import open_packed, reading
from ..settings import check_known
from .sources import FORMATS, column_values

SUFFIXES = (".txt", ".train", ".valid", ".test")  # those of fastText's tutorials
_LISTS = {"text": Value("string"), "label": List(Value("string"))}
_SPACES = bytes.maketrans(b"\0", b" ")  # NUL is white space to fastText as well; `bytes.split` knows the others
_MARK = b"\xef\xbb\xbf"  # that some editors put before a text in UTF-8


class LabelFiles:
    """Read files of labelled lines into the columns `text` and `label`, for `load_splits`."""

    def __init__(self, prefix: str = LABEL_PREFIX) -> None:
        self.prefix, self._read_any = prefix, False

    def read(self, path: Path) -> Dataset:
        """Read a file; the labels of each text are a list."""
        check_known(path.suffix, [*FORMATS, *SUFFIXES], str(path), kind="file type")
        return self.read_any(path)

    def read_any(self, path: Path) -> Dataset:
        """Read a file of any name, as `read`."""
        texts: list[str] = []
        labels: list[list[str]] = []
        with reading(path), open_packed(path, "rb") as file:
            for names, text in labelled_lines(file, path, self.prefix):
                labels.append(names)
                texts.append(text)
        if not texts:
            raise ValueError(f"{path} holds no text. Each line is a label and a text, as '{self.prefix}good A text'.")
        self._read_any = True
        return Dataset(pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels)}))

    def settled(self, splits: Mapping[str, Dataset]) -> dict[str, Dataset]:
        """Give each text its one label instead of a list, if files were read and none of their texts has several."""
        lists = {split: rows for split, rows in splits.items() if _LISTS.items() <= rows.features.items()}
        columns = {split: column_values(rows, "label") for split, rows in lists.items()}
        single = {split: pc.list_flatten(column) for split, column in columns.items()}
        if not self._read_any or any(len(single[split]) != len(columns[split]) for split in lists):
            return dict(splits)
        alone = {
            split: Dataset(pa.table({"text": rows.data["text"], "label": single[split]}))
            for split, rows in lists.items()
        }
        return {**splits, **alone}


def labelled_lines(file: IO[bytes], path: Path, prefix: str = LABEL_PREFIX) -> Iterator[tuple[list[str], str]]:
    """Yield the labels and the text of each line; blank lines are passed over.

    Args:
        file: Open at its beginning.
        path: Named in errors.
        prefix: What labels begin with.
    """
    mark, number = prefix.encode(), 0
    for number, line in enumerate(file, start=1):
        line = line.translate(_SPACES).strip()
        if number == 1:
            line = line.removeprefix(_MARK)
        if not line:
            continue
        names, text = _parts(line, mark)
        if not names or not text:
            raise ValueError(f"{path}, line {number}: {_fault(path, line, prefix, has_label=bool(names))}")
        yield [name.decode("utf-8") for name in names], text.decode("utf-8")


def _parts(line: bytes, mark: bytes) -> tuple[list[bytes], bytes]:
    first, _, rest = line.partition(b" ")
    if first.startswith(mark) and mark not in rest and not first.split()[1:]:  # as nearly all lines are
        return [first[len(mark) :]], rest.strip()
    words = line.split()
    names = [word[len(mark) :] for word in words if word.startswith(mark)]
    return list(dict.fromkeys(names)), b" ".join(word for word in words if not word.startswith(mark))


def _fault(path: Path, line: bytes, prefix: str, *, has_label: bool) -> str:
    shown = line[:60].decode("utf-8", "replace")
    if has_label:
        return f"{shown!r} is a label without a text. Add the text, or remove the line."
    with open_packed(path, "rb") as file:
        has_any = any(prefix.encode() in other for other in file)
    if has_any:
        return f"{shown!r} has no label. Let it begin with '{prefix}NAME', or remove the line."
    return (
        f"{shown!r} has no label, nor has any line: no word begins with {prefix!r}. Write each line as "
        f"'{prefix}good A text', or give the labels' own prefix (label_prefix); a table belongs into .csv."
    )
