"""Pictures that stand in tables: paths of files beside them, addresses, or the bytes of the files.

They stay where they are, and are read one by one when they are asked for.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Image, Value

from .columns import is_text, spelled
from .sources import SplitSettings, existing_path

_AT_ONCE = 64  # rows that are read, of which each may hold a whole file


def are_pictures(feature: Any) -> bool:
    """Tell whether a column of this type may hold pictures."""
    is_packed = isinstance(feature, dict) and bool(feature) and not set(feature) - {"bytes", "path"}
    is_binary = isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")
    return isinstance(feature, Image) or is_text(feature) or is_packed or is_binary


class TablePictures(Sequence[Any]):
    """The different pictures of tables with one column.

    Attributes:
        places: The split and the row of each picture, as an error names them.
    """

    def __init__(self) -> None:
        self.places: list[str] = []
        self._found: list[tuple[Dataset, int, Path | None]] = []

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, number: Any) -> Any:
        rows, row, folder = self._found[number]
        (given,) = rows[row].values()
        return _placed(given, folder)

    def add(self, rows: Dataset, split: str, settings: SplitSettings) -> list[Any]:
        """Add the pictures of a split, each once; return for each row what two rows of one picture share.

        Raises:
            ValueError: If the column holds no pictures, or a file is not there.
        """
        (column,) = rows.column_names
        if not are_pictures(rows.features[column]):
            held = f"holds {spelled(rows.features[column])}"
            raise ValueError(f"Split {split!r}: the column of pictures {held}: give paths of files, or their bytes.")
        folder, known, keys = _folder(split, settings), set[Any](), []
        for row, given in enumerate(_values(rows, column)):
            placed, where = _placed(given, folder), f"split {split!r}, row {row}"
            _check_there(placed, where)
            keys.append(_key(placed))
            if keys[-1] not in known:
                known.add(keys[-1])
                self.places.append(where)
                self._found.append((rows, row, folder))
        return keys


def _values(rows: Dataset, column: str) -> Iterator[Any]:
    for start in range(0, rows.num_rows, _AT_ONCE):
        yield from rows[start : start + _AT_ONCE][column]


def source_of(split: str, settings: SplitSettings) -> str:
    """Return what is read as a split; two splits may read the same on purpose, as where one is measured alone."""
    name = (settings.splits or {}).get(split, split)
    return settings.path.get(name, name) if isinstance(settings.path, dict) else name


def _folder(split: str, settings: SplitSettings) -> Path | None:
    """Return where the table of a split lies."""
    path = source_of(split, settings) if isinstance(settings.path, dict) else settings.path
    if path is None:
        return None
    place = existing_path(path)
    return place if place.is_dir() else place.parent


def _placed(given: Any, folder: Path | None) -> Any:
    """Look for a file where its table lies."""
    if isinstance(given, dict) and given.get("bytes") is None:
        given = given.get("path")
    is_beside = isinstance(given, str) and not _is_elsewhere(given) and not Path(given).is_absolute()
    return str(folder / given) if is_beside and folder is not None else given


def _is_elsewhere(text: str) -> bool:
    return "://" in text or text.startswith("data:")


def _check_there(placed: Any, where: str) -> None:
    if not placed:
        raise ValueError(f"{where}: there is neither a path nor the bytes of a picture; leave this row out.")
    if isinstance(placed, str) and not _is_elsewhere(placed) and not Path(placed).is_file():
        raise ValueError(f"{where}: there is no picture {placed!r}; paths are those from the folder of the table.")


def _key(placed: Any) -> Any:
    """Return what two rows of one picture share: the file, or the bytes."""
    if isinstance(placed, str):
        return placed if _is_elsewhere(placed) else str(Path(placed).resolve())
    return hashlib.sha256(placed["bytes"] if isinstance(placed, dict) else placed).digest()
