"""Where rows come from: the Hub, local files, or our generator; which of their splits and columns are read."""

import csv
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, concatenate_datasets, load_dataset, load_from_disk
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

from ..models.packed_files import PACKED, check_plain, not_in_encoding, reading
from ..settings import check_known, option
from .embedded.load import load_embedded
from .embedded.seasons import load_regimes, load_seasons
from .embedded.word_order import load_word_order
from .headers import check_header, check_names, first_row

logger = logging.getLogger(__name__)

ReadFile: TypeAlias = Callable[[Path], Dataset]
# suffix -> builder of `datasets`, and its options; or what reads a file of a format that `datasets` does not know
Formats: TypeAlias = Mapping[str, tuple[str, dict[str, Any]] | ReadFile]
Said: TypeAlias = Mapping[tuple[str, str], Any]  # (section, key) -> value, of a settings file or a command line

# An empty cell is an empty text and "NA" or "null" is a word: pandas would turn them into missing values.
FORMATS: Formats = {
    ".parquet": ("parquet", {}),
    ".csv": ("csv", {"keep_default_na": False}),
    ".tsv": ("csv", {"keep_default_na": False, "sep": "\t", "quoting": csv.QUOTE_NONE}),  # a quote is a character
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
}
GENERATED: dict[str, Callable[[int], DatasetDict]] = {
    "embedded": load_embedded,
    "embedded_hindi": load_word_order,
    "embedded_seasons": load_seasons,
    "embedded_regimes": load_regimes,
}
"""Data sets that need no file, by name: a seed makes them."""
_TEXT = ".txt"  # a format that says nothing of what is inside
_DEEPEST = 100  # lists and objects of JSON inside each other; no table needs as many
_SPLIT_NAMES = {"train": ["train"], "validation": ["validation", "valid", "dev", "val"], "test": ["test"]}
_PLACES = (("data", "path"), ("data", "name"))
_SAME_DATA = ("card", "same_data")
IF_A_COPY = "If it is a copy of the same data, add --card.same_data=true."
# What a settings file says of its data alone; how much of them is read, and how they are cut, holds for others too.
_OF_ONE_DATA_SET = {"config", "revision", "streaming", "splits", "split_name", "label_names", "column_names"}
_OF_ONE_DATA_SET |= {"intent_names", "unknown_intent", "tree_column", "label_map"}
_OF_ONE_DATA_SET |= {
    f"{what}_column"
    for what in ("text", "text_pair", "label", "intent", "condition", "other", "score", "target", "image", "caption")
}
_OF_ONE_DATA_SET |= {"source_language", "target_language"}
_OF_ONE_DATA_SET |= {"drawing_column", "point_columns", "class_column", "grid"}
_OF_ONE_DATA_SET |= {"time_column", "group_column", "label_delay"}  # of series
_OF_ONE_DATA_SET |= {"target_columns", "feature_columns", "known_columns"}
_SPLIT_FILE = re.compile(r"(?P<split>\w+?)(-\d+-of-\d+)?(?P<suffix>\.\w+)")


@dataclass
class SourceSettings:
    """Where the data come from."""

    name: str | None = option(
        None,
        "a dataset on the Hub (user/name), or one that is generated: `embedded`, or for translation `embedded_hindi`, "
        "for series `embedded_seasons` and `embedded_regimes`",
    )
    config: str | None = option(None, "configuration of the Hub dataset")
    revision: str | None = option(None, "branch, tag or commit of the Hub dataset")
    path: str | dict[str, str] | None = option(None, "a folder, a file, or {split: file}; read in place of `name`")
    text_column: str | None = option(None, "the column of texts; null: found by its name, see the docs on your data")
    column_names: list[str] | None = option(None, "names of the columns of CSV or TSV files that have no header")
    seed: int = option(0, "seed of generated data, and of all that is drawn from the rows")

    def __post_init__(self) -> None:
        names = self.column_names
        if names is not None and (not names or len(set(names)) < len(names) or "" in names):
            raise ValueError(f"column_names={names} must be one name or more, each once and none empty.")
        if names is not None and self.path is None:
            raise ValueError(f"column_names={names} is for CSV and TSV files: give their data.path, or leave it out.")
        if self.name is None and self.path is None:
            raise ValueError("no data: give data.name (a Hub dataset or `embedded`) or data.path (a folder or a file)")

    @staticmethod
    def forgotten(file: Said, command: Said) -> set[str]:
        """Return the keys of a file's section `data` that are about other data than the command line names."""
        other = other_data(file, command)
        if not other:
            return set()
        places = {key for _, key in _PLACES}
        keys = {key for section, key in file if section == "data"} & (_OF_ONE_DATA_SET | places)
        has_card = any(section == "card" for section, _ in file)  # a comparison has none
        if lost := sorted(key for key in keys - places if ("data", key) not in command):
            logger.warning(
                "%s is other data than the settings file's: of its section data, %s no longer count. "
                "Say what still holds on the command line, such as --data.%s=VALUE.%s",
                *(other, ", ".join(lost), lost[0], f" {IF_A_COPY}" if has_card else ""),
            )
        return keys

    @property
    def hub_id(self) -> str | None:
        """The Hub dataset that is read; None for local files and generated data."""
        return self.name if self.path is None and self.name not in GENERATED else None


@dataclass
class SplitSettings(SourceSettings):
    """Where the data come from, and which splits are used."""

    splits: dict[str, str] | None = option(None, "which splits to use, {train: ..., validation: ..., test: ...}")
    validation_fraction: float = option(0.1, "share of train for validation if there is none", was="validation_share")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction={self.validation_fraction} must lie between 0 and 1.")
        for split in self.splits or {}:
            check_known(split, _SPLIT_NAMES, "splits", kind="split")


def other_data(file: Said, command: Said) -> str:
    """Say which data the command line names, where they are others than the settings file's; else an empty text."""
    others = [place for place in _PLACES if command.get(place) is not None and command[place] != file.get(place)]
    is_named = any(file.get(place) is not None for place in _PLACES)
    if not is_named or command.get(_SAME_DATA, file.get(_SAME_DATA, False)):
        return ""
    return ", ".join(f"data.{key}={command[section, key]}" for section, key in others)


def load_splits(
    source: SplitSettings, formats: Formats = FORMATS, read_other: ReadFile | None = None
) -> dict[str, Dataset]:
    """Read train and, where they are there, validation and test, by their usual names or those in `splits`."""
    found = read_splits(source, (source.splits or {}).values(), formats=formats, read_other=read_other)
    chosen = source.splits
    if chosen is None:
        usual = {split: [name for name in names if name in found] for split, names in _SPLIT_NAMES.items()}
        chosen = {split: names[0] for split, names in usual.items() if names}
    for name in chosen.values():
        check_known(name, found, "data.splits", kind="split")
    _tell_left_out(found, chosen)
    if "train" not in chosen:
        held = ", ".join(found)
        raise ValueError(f"The data has no train split, only {held}; name one with '--data.splits={{train: NAME}}'.")
    return {split: found[name] for split, name in chosen.items()}


def _tell_left_out(found: Iterable[str], chosen: Mapping[str, str]) -> None:
    reads_one = len(chosen) > 1 and len(set(chosen.values())) == 1  # as `hfseq evaluate` asks for one alone
    standard = set(sum(_SPLIT_NAMES.values(), []))
    left_out = [name for name in found if name in standard and name not in chosen.values()]
    if left_out and not reads_one:
        told = ", ".join(map(repr, left_out))
        logger.warning("data.splits leaves out %s: nothing is learnt from these rows, nor measured on them.", told)


def read_splits(
    source: SourceSettings,
    names: Iterable[str] = (),
    *,
    streaming: bool = False,
    formats: Formats = FORMATS,
    read_other: ReadFile | None = None,
) -> dict[str, Dataset]:
    """Read every split of the source, with the columns that it has.

    In a folder a file is a split if it has a usual name or one of `names`. `read_other` reads files of other formats,
    and in a folder the .txt files of a split that has no others.
    Of a Hub dataset `streaming` downloads nothing before it is read; its splits are then `IterableDataset`s.
    """
    path = source.path
    if path is None:
        made = GENERATED.get(source.name or "")
        return _read_hub(source, streaming) if made is None else made(source.seed)
    if isinstance(path, str) and existing_path(path).is_dir():
        return _read_folder(existing_path(path), source, names, formats, read_other)
    named = {"train": path} if isinstance(path, str) else path
    files = {split: existing_path(file) for split, file in named.items()}
    return {split: _read_file(file, source, formats, read_other) for split, file in files.items()}


def _read_file(file: Path, source: SourceSettings, formats: Formats, read_other: ReadFile | None) -> Dataset:
    if is_table(file) and file.suffix.lower() in PACKED:
        raise ValueError(f"{file} is a packed table: unpack it, and give {file.with_suffix('')}.")
    if read_other is None or file.suffix.lower() in formats:
        return _read_files([file], source, formats)
    _check_no_names(source, str(file))
    return read_other(file)


def _check_no_names(source: SourceSettings, where: str) -> None:
    if source.column_names is not None:
        given = f"data.column_names={source.column_names}"
        raise ValueError(f"{given} is for CSV and TSV files without a header, not for {where}: leave it out.")


def existing_path(path: str) -> Path:
    """Return the path, with `~` resolved, of something that is there."""
    if not Path(path).expanduser().exists():
        raise FileNotFoundError(f"data.path={path!r} does not exist (looked from {Path.cwd()}).")
    return Path(path).expanduser()


def is_plain_text(path: str | dict[str, str]) -> bool:
    """Tell whether it is text without rows: any file that is no table, or a folder with train.txt and no table."""
    if isinstance(path, dict):
        return any(map(is_plain_text, path.values()))
    place = Path(path).expanduser()
    return bool(text_files(place)) if place.is_dir() else not is_table(place)


def is_table(file: Path) -> bool:
    """Tell by its name whether a file is a table; a packed one is too."""
    packed = Path(file.stem).suffix if file.suffix.lower() in PACKED else ""
    return not {file.suffix.lower(), packed.lower()}.isdisjoint(FORMATS)


def text_files(folder: Path, split: str = "train") -> list[Path]:
    """Find the text files of a split in a folder that has no table of it."""
    tables = _files_of_splits(folder, [split], FORMATS)
    return [] if tables else _files_of_splits(folder, [split], [_TEXT]).get(split, [])


def _read_hub(source: SourceSettings, streaming: bool) -> dict[str, Dataset]:
    name, where = source.name, f"data.name={source.name!r}"
    if Path(str(name)).exists():
        raise ValueError(f"{where} is also a local path; write --data.path={name} to read it.")
    try:
        return load_dataset(name, source.config, revision=source.revision, streaming=streaming)
    except DatasetNotFoundError as error:
        cure = "check the spelling, and the login for a private one; --data.path reads local files"
        raise FileNotFoundError(f"{where} is neither `embedded` nor a dataset on the Hub: {cure}. {error}") from error
    except ConnectionError as error:
        fault = f"{where} is not in the local cache and the Hub cannot be reached"
        cure = "Give a local copy with --data.path=FOLDER, or run once with a network, which fills the cache"
        raise ConnectionError(f"{fault}. {cure}. {error}") from error
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{where}, data.config={source.config!r}: {error}") from error


def _read_folder(
    folder: Path, source: SourceSettings, names: Iterable[str], formats: Formats, read_other: ReadFile | None
) -> dict[str, Dataset]:
    """Read what `save_to_disk` wrote, or files that are named by their splits, as in a clone of a Hub dataset."""
    where = f"data.path={str(folder)!r}"
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        _check_no_names(source, f"a saved dataset ({where})")
        try:
            saved = load_from_disk(str(folder))
        except IndexError as error:  # how datasets answers a split without rows
            raise ValueError(f"{where} holds a saved split without rows; save it without.") from error
        return saved if isinstance(saved, DatasetDict) else {"train": saved}
    wanted = {*names, *sum(_SPLIT_NAMES.values(), [])}
    files = _files_of_splits(folder, wanted, formats)
    others = {} if read_other is None else _files_of_splits(folder, wanted - set(files), [_TEXT])
    if not files and not others:
        held = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
        trains = " ".join(f"train{suffix}" for suffix in (*formats, *([_TEXT] if read_other else [])))
        raise ValueError(f"{where} holds no train file ({trains}) and no saved dataset; it holds {held}.")
    found = {split: _read_files(parts, source, formats) for split, parts in files.items()}
    for split, parts in others.items():
        found[split] = concatenate_datasets([_read_file(part, source, formats, read_other) for part in parts])
    return found


def _files_of_splits(folder: Path, wanted: Iterable[str], suffixes: Iterable[str]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for file in sorted([*folder.glob("*"), *folder.glob("data/*")]):
        match = _SPLIT_FILE.fullmatch(file.name)
        if match is not None and match["split"] in wanted and match["suffix"].lower() in suffixes:
            files.setdefault(match["split"], []).append(file)
    return files


def _read_files(files: list[Path], source: SourceSettings, formats: Formats) -> Dataset:
    names = ", ".join(map(str, files))
    if len({file.suffix.lower() for file in files}) > 1:
        raise ValueError(f"One split has files of several types: {names}; keep one type.")
    suffix = files[0].suffix.lower()
    check_known(suffix, formats, names, kind="file type")
    how = formats[suffix]
    if callable(how) or how[0] != "csv":
        _check_no_names(source, names)
    for file in files:
        check_plain(file)  # datasets would unpack it, and take all files of an archive for one
    if callable(how):
        return concatenate_datasets([how(file) for file in files])
    return _read_by(*how, files, source)


def _read_by(builder: str, options: dict[str, Any], files: list[Path], source: SourceSettings) -> Dataset:
    """Read files as `datasets` does; what it raises names them and what to do."""
    names = ", ".join(map(str, files))
    if builder == "csv" and source.column_names is not None:
        options = {**options, "column_names": source.column_names}
    for file in files if builder == "json" else []:
        _check_json(file)
    try:
        rows = load_dataset(builder, data_files=[str(file) for file in files], split="train", **options)
    except (DatasetGenerationError, ValueError, StopIteration, pa.ArrowException) as error:
        for file in files if builder != "parquet" else []:
            if fault := not_in_encoding(file):
                raise ValueError(fault) from error
        reason = str(error.__cause__ or error) or "It holds no row."
        raise ValueError(f"{names} cannot be read as {builder}; is it empty or torn? {reason}") from error
    if builder == "csv":
        _check_first_lines(files, rows, source, options)
    return rows


def _check_first_lines(files: list[Path], rows: Dataset, source: SourceSettings, options: dict[str, Any]) -> None:
    if "__index_level_0__" in rows.column_names:
        names, header = (
            ", ".join(map(str, files)),
            "the header" if source.column_names is None else "data.column_names",
        )
        raise ValueError(f"{names}: the rows have more cells than {header}; quote texts that hold the separator.")
    said = {value for name, value in vars(source).items() if name.endswith("_column") and value is not None}
    for file in files:
        first = first_row(file, options)
        if source.column_names is None:
            check_header(file, first, rows, said)
        else:
            check_names(file, first, rows, source.column_names)


def _check_json(path: Path) -> None:
    """Refuse what is not UTF-8, or so deeply nested that some parsers of JSON or JSON Lines crash."""
    depth = 0
    with reading(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line.decode("utf-8")
            bare = _without_strings(line)
            opened, closed = (bare.count(pair[:1]) + bare.count(pair[1:]) for pair in (b"[{", b"]}"))
            if depth + opened > _DEEPEST and depth + _peak(bare) > _DEEPEST:
                fault = f"lists and objects are nested deeper than {_DEEPEST}"
                raise ValueError(f"{path}, line {number}: {fault}; is it a table? Remove such rows.")
            depth = max(depth + opened - closed, 0)


def _without_strings(line: bytes) -> bytes:
    """Keep what stands outside of quotes; also what follows a quote that is never closed."""
    parts = line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    return b"".join([*parts[::2], *(parts[-1:] if len(parts) % 2 == 0 else [])])


def _peak(bare: bytes) -> int:
    """Return how deep it goes from where it begins."""
    marks = np.frombuffer(bare.translate(None, bytes(set(range(256)) - set(b"[]{}"))), dtype=np.uint8)
    return int(np.where(np.isin(marks, list(b"[{")), 1, -1).cumsum().max(initial=0))


def take_columns(rows: Dataset, split: str, settings: SourceSettings, **columns: str) -> Dataset:
    """Keep the columns that settings name, each row of which has a value; `columns`: field of settings -> new name."""
    if rows.num_rows == 0:
        raise ValueError(f"Split {split!r} is empty; give rows, or choose other splits with data.splits.")
    names = {getattr(settings, setting): column for setting, column in columns.items()}
    for setting, given in zip(columns, names, strict=True):
        check_known(given, rows.column_names, f"split {split!r}", kind=f"data.{setting}")
        missing = pc.index(pc.is_null(column_values(rows, given)), True).as_py()
        if missing >= 0:
            raise ValueError(f"Split {split!r}, row {missing}: {given!r} has no value; fill in or remove such rows.")
    return rows.select_columns(list(names)).rename_columns(names)


def column_values(rows: Dataset, column: str) -> pa.ChunkedArray:
    """Return a whole column, as Arrow holds it."""
    return rows.select_columns(column).with_format("arrow")[:].column(column)


def cut_splits(dataset: DatasetDict, settings: SplitSettings, max_rows: int | None) -> None:
    """Cut a validation split off train where there is none, and every split to `max_rows`; in place."""
    if "validation" not in dataset:
        cut = dataset["train"].train_test_split(settings.validation_fraction, seed=settings.seed)
        dataset["train"], dataset["validation"] = cut["train"], cut["test"]
    for split, rows in dataset.items():
        if max_rows is not None and rows.num_rows > max_rows:
            dataset[split] = rows.shuffle(seed=settings.seed).select(range(max_rows))
