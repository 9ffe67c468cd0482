"""Texts with labels from the Hub, local files or our generator: into columns `text` and `labels`, then token ids."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value, load_dataset, load_from_disk
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from transformers import PreTrainedTokenizerBase

from hfseq.data.embedded.load import load_embedded
from hfseq.data.json_files import check_json
from hfseq.models.packed_files import check_plain, not_in_encoding
from hfseq.settings import check_known

logger = logging.getLogger(__name__)

_SPLIT_NAMES = {"train": ["train"], "validation": ["validation", "valid", "dev", "val"], "test": ["test"]}
# An empty cell is an empty text and "NA" or "null" is a word: pandas would turn them into missing values.
Formats = Mapping[str, tuple[str, dict[str, Any]]]
FORMATS: Formats = {
    ".parquet": ("parquet", {}),
    ".csv": ("csv", {"keep_default_na": False}),
    ".tsv": ("csv", {"keep_default_na": False, "sep": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_MISSING = {"nan", "na", "n/a", "null", "none", "inf", "-inf", "-", "?"}
_MANY_CLASSES = 1000
_NAMED = 10  # labels that a message names
_CELLS = 1 << 30  # of the table of rows by labels, four bytes each
_SPLIT_FILE = re.compile(r"(?P<split>\w+?)(-\d+-of-\d+)?(?P<suffix>\.\w+)")


@dataclass
class DataSettings:
    """Which texts and labels to learn from."""

    name: str | None = field(
        default=None, metadata={"help": "a dataset on the Hub (user/name), or `embedded` for the generated one"}
    )
    config: str | None = field(default=None, metadata={"help": "configuration of the Hub dataset"})
    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit of the Hub dataset"})
    path: str | dict[str, str] | None = field(
        default=None, metadata={"help": "a folder, a file, or {split: file}; read in place of downloading `name`"}
    )
    splits: dict[str, str] | None = field(
        default=None, metadata={"help": "which splits to use, {train: ..., validation: ..., test: ...}"}
    )
    text_column: str = field(default="text", metadata={"help": "the column of texts"})
    label_column: str = field(
        default="label", metadata={"help": "the column of labels: names, integers, lists of them, or floats"}
    )
    label_names: list[str] | None = field(default=None, metadata={"help": "all classes, in the order of their ids"})
    max_rows: int | None = field(default=None, metadata={"help": "rows kept of each split, drawn with `seed`"})
    validation_fraction: float = field(
        default=0.1, metadata={"help": "share of train that becomes validation where there is none"}
    )
    seed: int = field(default=0, metadata={"help": "seed of generated data, of the validation cut and of max_rows"})

    def __post_init__(self) -> None:
        if self.name is None and self.path is None:
            raise ValueError("no data: give `name` (a Hub dataset or `embedded`) or `path` (a local folder or file).")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction={self.validation_fraction} must lie between 0 and 1.")
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max_rows={self.max_rows} must be at least 1; null keeps every row.")
        if self.text_column == self.label_column:
            raise ValueError(f"text_column and label_column are both {self.text_column!r}; they must differ.")
        if self.label_names is not None and len(set(self.label_names)) != len(self.label_names):
            raise ValueError(f"label_names={self.label_names} holds a name twice; each class needs its own.")
        for split in self.splits or {}:
            check_known(split, _SPLIT_NAMES, "splits", kind="split")

    @property
    def hub_id(self) -> str | None:
        """The data set of the Hub that is read: none where local files take its place or the data are generated."""
        return self.name if self.path is None and self.name != "embedded" else None


@dataclass(frozen=True)
class TextTask:
    """Prepared texts, and what a model needs to know of their labels.

    Attributes:
        dataset: splits train, validation and, where the source has one, test; columns `text` and `labels`.
        problem_type: in the words of Hugging Face: `single_label_classification`, `multi_label_classification`
            or `regression`.
        label_names: one name for each output of the model; for regression the name of the label column.
    """

    dataset: DatasetDict
    problem_type: str
    label_names: list[str]


def load_text_dataset(settings: DataSettings) -> TextTask:
    """Load texts and labels, check every row, and cut a validation split where there is none."""
    splits = chosen_splits(read_splits(settings), settings.splits)
    dataset = DatasetDict({split: _two_columns(rows, split, settings) for split, rows in splits.items()})
    task = _with_labels(dataset, settings)
    cut_splits(task.dataset, settings)
    return task


def cut_splits(dataset: DatasetDict, settings: DataSettings) -> None:
    """Cut a validation split off train where there is none, and every split to `max_rows`; in place."""
    if "validation" not in dataset:
        cut = dataset["train"].train_test_split(settings.validation_fraction, seed=settings.seed)
        dataset["train"], dataset["validation"] = cut["train"], cut["test"]
    for split, rows in dataset.items():
        if settings.max_rows is not None and rows.num_rows > settings.max_rows:
            dataset[split] = rows.shuffle(seed=settings.seed).select(range(settings.max_rows))


def tokenize_dataset(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
    """Turn the column `text` into `input_ids` and `length`; every other column stays.

    Args:
        dataset: rows with a column `text`; an empty text gives the special tokens alone.
        tokenizer: any tokenizer.
        max_length: longer texts are cut to this many tokens, special tokens included.
    """
    options = {"tokenizer": tokenizer, "max_length": max_length}
    return dataset.map(_tokenize, batched=True, fn_kwargs=options, remove_columns=["text"], desc="Tokenizing")


def _tokenize(
    batch: dict[str, list[str]], tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> dict[str, list[Any]]:
    encoded = tokenizer(
        batch["text"],
        truncation=max_length is not None,
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    return {"input_ids": encoded["input_ids"], "length": [len(ids) for ids in encoded["input_ids"]]}


def read_splits(settings: DataSettings, streaming: bool = False, formats: Formats = FORMATS) -> dict[str, Dataset]:
    """Read every split of the source, with the columns that it has.

    Args:
        settings: Which source.
        streaming: Download nothing of a Hub dataset before it is read; its splits are then `IterableDataset`s.
        formats: Of local files: suffix -> builder of `datasets`, and its options.
    """
    if settings.path is not None:
        return _read_local(settings.path, settings, formats)
    if settings.name == "embedded":
        return load_embedded(seed=settings.seed)
    return _read_hub(settings, streaming)


def _read_hub(settings: DataSettings, streaming: bool) -> dict[str, Dataset]:
    name, where = settings.name, f"data.name={settings.name!r}"
    if Path(str(name)).exists():
        raise ValueError(f"{where} is also a local path; write --data.path={name} to read it.")
    try:
        return load_dataset(name, settings.config, revision=settings.revision, streaming=streaming)
    except DatasetNotFoundError as error:
        raise FileNotFoundError(
            f"{where} is neither `embedded` nor a dataset that the Hub shows you: check the spelling, and the login "
            f"for a private one; local files are given by --data.path. {error}"
        ) from error
    except ConnectionError as error:
        raise ConnectionError(
            f"{where} is not in the local cache and the Hub cannot be reached. Give a local copy with "
            f"--data.path=FOLDER, or run once with a network: later runs read the cache. {error}"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{where}, data.config={settings.config!r}: {error}") from error


def _read_local(path: str | dict[str, str], settings: DataSettings, formats: Formats) -> dict[str, Dataset]:
    if isinstance(path, dict):
        return {split: _read_files([existing_path(file)], formats) for split, file in path.items()}
    root = existing_path(path)
    if root.is_file():
        return {"train": _read_files([root], formats)}
    if (root / "dataset_dict.json").exists() or (root / "state.json").exists():
        return _read_saved(root)
    wanted = {name for names in _SPLIT_NAMES.values() for name in names} | set((settings.splits or {}).values())
    files: dict[str, list[Path]] = {}
    for file in sorted([*root.glob("*"), *root.glob("data/*")]):
        match = _SPLIT_FILE.fullmatch(file.name)
        if match is not None and match["split"] in wanted and match["suffix"] in formats:
            files.setdefault(match["split"], []).append(file)
    if not files:
        held = ", ".join(sorted(file.name for file in root.iterdir())) or "nothing"
        raise ValueError(
            f"data.path={path!r} holds no train file ({' '.join(f'train{suffix}' for suffix in formats)}) "
            f"and no saved dataset; it holds {held}."
        )
    return {split: _read_files(parts, formats) for split, parts in files.items()}


def _read_saved(folder: Path) -> dict[str, Dataset]:
    try:
        saved = load_from_disk(str(folder))
    except IndexError as error:  # how datasets answers a split without rows
        raise ValueError(f"data.path={str(folder)!r} holds a saved split without rows; save it without.") from error
    return saved if isinstance(saved, DatasetDict) else {"train": saved}


def existing_path(path: str) -> Path:
    """Return the path, with `~` resolved, of something that is there."""
    if not Path(path).expanduser().exists():
        raise FileNotFoundError(f"data.path={path!r} does not exist (looked from {Path.cwd()}).")
    return Path(path).expanduser()


def _read_files(files: list[Path], formats: Formats) -> Dataset:
    names, suffixes = ", ".join(map(str, files)), {file.suffix for file in files}
    if len(suffixes) > 1:
        raise ValueError(f"One split has files of several types: {names}; keep one type.")
    check_known(files[0].suffix, formats, names, kind="file type")
    builder, options = formats[files[0].suffix]
    for file in files:
        check_plain(file)  # datasets would unpack it, and take all files of an archive for one
        if builder == "json":
            check_json(file)
    try:
        rows = load_dataset(builder, data_files=[str(file) for file in files], split="train", **options)
    except (DatasetGenerationError, ValueError, StopIteration, pa.ArrowException) as error:
        for file in files if builder != "parquet" else []:
            if fault := not_in_encoding(file):
                raise ValueError(fault) from error
        reason = str(error.__cause__ or error) or "It holds no row."
        raise ValueError(f"{names} cannot be read as {builder}; is it empty or torn? {reason}") from error
    if "__index_level_0__" in rows.column_names:
        raise ValueError(f"{names}: the rows have more cells than the header; quote texts that hold the separator.")
    return rows


def chosen_splits(source: Mapping[str, Dataset], splits: dict[str, str] | None) -> dict[str, Dataset]:
    """Choose train and, where they are there, validation and test.

    Args:
        source: Every split.
        splits: Its names for them; without, the usual ones.
    """
    if splits is None:
        chosen = {
            split: next(name for name in names if name in source)
            for split, names in _SPLIT_NAMES.items()
            if not source.keys().isdisjoint(names)
        }
    else:
        chosen = splits
        for name in chosen.values():
            check_known(name, source, "data.splits", kind="split")
    if "train" not in chosen:
        raise ValueError(
            f"The data has no train split, only {', '.join(source)}; name one with '--data.splits={{train: NAME}}'."
        )
    return {split: source[name] for split, name in chosen.items()}


def _two_columns(rows: Dataset, split: str, settings: DataSettings) -> Dataset:
    columns = {settings.text_column: "text", settings.label_column: "labels"}
    check_known(settings.text_column, rows.column_names, f"split {split!r}", kind="data.text_column")
    check_known(settings.label_column, rows.column_names, f"split {split!r}", kind="data.label_column")
    if rows.num_rows == 0:
        raise ValueError(f"Split {split!r} is empty; give rows, or choose other splits with data.splits.")
    rows = rows.select_columns(list(columns)).rename_columns(columns)
    if not is_text(rows.features["text"]):
        kind = spelled(rows.features["text"])
        raise ValueError(f"Split {split!r}: data.text_column={settings.text_column!r} holds {kind}, not texts.")
    for given, column in columns.items():
        missing = pc.index(pc.is_null(column_values(rows, column)), True).as_py()
        if missing >= 0:
            raise ValueError(f"Split {split!r}, row {missing}: {given!r} has no value; fill in or remove such rows.")
    return rows


def column_values(rows: Dataset, column: str) -> pa.ChunkedArray:
    """A whole column, as Arrow holds it."""
    return rows.with_format("arrow")[:].column(column)


def is_text(feature: Any) -> bool:
    """Whether a column of this type holds texts."""
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def spelled(feature: Any) -> str:
    """The type of a column as an error names it."""
    if isinstance(feature, List):
        return f"lists of {spelled(feature.feature)}"
    return feature.dtype if isinstance(feature, Value) else type(feature).__name__


def _with_labels(dataset: DatasetDict, settings: DataSettings) -> TextTask:
    """Check the labels of all splits together and turn them into what a model takes."""
    if settings.label_names is None:
        _check_odd_labels(dataset, settings)
    feature = common_feature(dataset)
    if isinstance(feature, List):
        names = class_names(feature.feature, dataset, settings)
        options = {"ids": {name: index for index, name in enumerate(names)}, "size": len(names)}
        _check_multi_hot(dataset, names)
        multi_hot = Features({"text": dataset["train"].features["text"], "labels": List(Value("float32"))})
        dataset = dataset.map(_multi_hot, batched=True, fn_kwargs=options, features=multi_hot)
        return TextTask(dataset, "multi_label_classification", names)
    if _kind(feature) == "number":
        _check_scores(dataset, settings)
        return TextTask(dataset.cast_column("labels", Value("float32")), "regression", [settings.label_column])
    names = class_names(feature, dataset, settings)
    if _kind(feature) == "truth":
        dataset = dataset.cast_column("labels", Value("int64"))
    return TextTask(with_classes(dataset, ClassLabel(names=names)), "single_label_classification", names)


def with_classes(dataset: DatasetDict, feature: Any) -> DatasetDict:
    """Make the column `labels` of every split one of classes."""
    size = max(1000, len(getattr(feature, "feature", feature).names))  # each batch costs as much as there are names
    return DatasetDict(
        {
            split: rows.cast(Features({**rows.features, "labels": feature}), batch_size=size)
            for split, rows in dataset.items()
        }
    )


def _check_odd_labels(dataset: DatasetDict, settings: DataSettings) -> None:
    """Refuse a few words among numbers, which would turn a column of scores into one of classes."""
    for split, rows in dataset.items():
        if not is_text(rows.features["labels"]):
            continue
        values = column_values(rows, "labels")
        distinct = pc.unique(values).to_pylist()
        odd = [label for label in distinct if not _NUMBER.fullmatch(label.strip())]
        numbers = set(distinct) - set(odd)
        are_scores = len(odd) < len(numbers) and not all(number.strip().isdecimal() for number in numbers)
        if odd and numbers and (are_scores or _MISSING.issuperset(label.strip().lower() for label in odd)):
            row = pc.index(pc.is_in(values, value_set=pa.array(odd, values.type)), True).as_py()
            raise ValueError(
                f"Split {split!r}, row {row}: the label is {values[row].as_py()!r} among numbers such as "
                f"{min(numbers)}. If {settings.label_column!r} holds scores, fix or remove such rows; if it holds "
                "classes, name them in data.label_names."
            )


def _check_multi_hot(dataset: DatasetDict, names: list[str]) -> None:
    """Refuse a table of rows by labels that no disk has room for."""
    rows = max(split.num_rows for split in dataset.values())
    if rows * len(names) > _CELLS:
        raise ValueError(
            f"{rows} rows of {len(names)} possible labels are a table of {rows * len(names)} numbers, more than "
            f"{_CELLS}: keep the most frequent labels, or fewer rows."
        )


def _multi_hot(batch: dict[str, list[Any]], ids: dict[str, int], size: int) -> dict[str, list[Any]]:
    rows = []
    for labels in batch["labels"]:
        present = {ids[label] if isinstance(label, str) else label for label in labels}
        rows.append([float(index in present) for index in range(size)])
    return {"labels": rows}


def common_feature(dataset: DatasetDict) -> Any:
    """The type of the column `labels`, once all splits are known to have the same."""
    features = {split: rows.features["labels"] for split, rows in dataset.items()}
    kinds = {split: _kind(feature) for split, feature in features.items()}
    if None in kinds.values() or len(set(kinds.values())) > 1:
        found = ", ".join(f"{split}: {spelled(feature)}" for split, feature in features.items())
        raise ValueError(
            f"The labels are of mixed or unknown types ({found}); every row of every split needs the same: "
            "class names, integers, booleans, floats, or lists of names or integers."
        )
    names = [feature.names for feature in features.values() if isinstance(feature, ClassLabel)]
    if any(other != names[0] for other in names):
        raise ValueError(f"The splits name their classes differently: {names}; cast them to one ClassLabel.")
    return features["train"]


def _kind(feature: Any) -> str | None:
    """What the labels are; None for what no model here takes."""
    if isinstance(feature, List):
        inner = _kind(feature.feature)
        return f"list of {inner}" if inner in ("class", "name", "integer") else None
    if isinstance(feature, ClassLabel):
        return "class"
    if is_text(feature):
        return "name"
    kinds = {"int": "integer", "uint": "integer", "float": "number", "bool": "truth"}
    return kinds.get(feature.dtype.rstrip("0123456789")) if isinstance(feature, Value) else None


def class_names(feature: Any, dataset: DatasetDict, settings: DataSettings) -> list[str]:
    """The names of all classes, once every label of every split is known to be one of them."""
    seen = {split: _distinct(rows, split) for split, rows in dataset.items()}
    kind, given = _kind(feature), settings.label_names
    if kind == "class":
        names = given or feature.names
    elif kind == "truth":
        names = given or ["false", "true"]
    elif kind == "integer":
        names = given or _numbered(max(seen["train"], default=-1), dataset["train"].num_rows)
    else:
        names = given or sorted(seen["train"])
    if kind == "class" and len(names) != len(feature.names):
        raise ValueError(f"data.label_names={names} must rename the classes of the data, {feature.names}.")
    declared = given is not None or kind in ("class", "truth")
    if not declared:
        _check_count(len(names), len(_label_values(dataset["train"])))
    for split, labels in seen.items():
        _check_labels(split, labels, names, kind == "name", declared)
        if unseen := labels - seen["train"]:
            logger.warning("Labels %s of split %r never occur in train.", _some(unseen), split)
    if len(seen["train"]) < 2:
        raise ValueError(f"All labels of train are {names}: a classifier needs two classes; check data.label_column.")
    return names


def _numbered(highest: int, num_rows: int) -> list[str]:
    if highest >= max(num_rows, 1000):
        raise ValueError(
            f"The labels of train reach {highest} in {num_rows} rows, which looks like a column of ids; check "
            "data.label_column, or name the classes with data.label_names."
        )
    return [str(index) for index in range(highest + 1)]


def _check_count(names: int, labels: int) -> None:
    """Refuse so many classes that most are seen once."""
    if names > _MANY_CLASSES and 2 * names > labels:
        raise ValueError(
            f"The {labels} labels of train are of {names} kinds, which looks like a column of ids or texts; check "
            "data.label_column, or name the classes with data.label_names."
        )


def _label_values(rows: Dataset) -> pa.ChunkedArray:
    """All labels of a split, those of lists one after another."""
    values = column_values(rows, "labels")
    is_list = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    return pc.list_flatten(values) if is_list else values


def _some(labels: Iterable[Any]) -> str:
    """The first few labels, as an error names them."""
    ordered = sorted(labels)
    return f"{ordered[:_NAMED]}" + (f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else "")


def _distinct(rows: Dataset, split: str) -> set[Any]:
    labels = set(pc.unique(_label_values(rows)).to_pylist())
    if None in labels or "" in labels:
        raise ValueError(f"Split {split!r} has an empty label; fill in or remove such rows.")
    return labels


def _check_labels(split: str, labels: set[Any], names: list[str], are_names: bool, declared: bool) -> None:
    where = f"Split {split!r}"
    if -1 in labels:
        raise ValueError(
            f"{where} has the label -1, the mark of rows without a label (as in GLUE's test splits); leave the split "
            "out, for example with '--data.splits={train: train, validation: validation}'."
        )
    unknown = sorted(labels - set(names)) if are_names else sorted(labels - set(range(len(names))))
    if not unknown:
        return
    if not declared:
        raise ValueError(
            f"{where} has the labels {_some(unknown)}, which train never shows; remove those rows, or declare all "
            "classes with data.label_names."
        )
    if are_names:
        check_known(unknown[0], names, where, kind="label")
    raise ValueError(
        f"{where} has the labels {_some(unknown)}, but the {len(names)} classes {_some(names)} have ids from 0 on."
    )


def _check_scores(dataset: DatasetDict, settings: DataSettings) -> None:
    if settings.label_names is not None:
        raise ValueError(
            f"data.label_column={settings.label_column!r} holds floats, which are scores to predict: "
            "leave out data.label_names, or make the labels integers."
        )
    for split, rows in dataset.items():
        row = pc.index(pc.is_finite(column_values(rows, "labels")), False).as_py()
        if row >= 0:
            raise ValueError(f"Split {split!r}, row {row}: the label is not a finite number; fix or remove such rows.")
