"""Texts with labels from the Hub, local files or our generator: into columns `text` and `labels`, then token ids.

Rows of two texts have a column `text_pair` as well; the names of the two are those that transformers' pipeline takes.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value, concatenate_datasets
from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..progress import progress_bar
from ..settings import check_known, option
from ..tokenization.kinds import ids_are_bytes
from .columns import LABELS, TEXTS, find_columns, is_text, spelled
from .label_files import LabelFiles
from .sources import SplitSettings, column_values, cut_splits, load_splits, take_columns
from .unseen_labels import NAMED, UnseenLabels, tell_never_seen, without_labels

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_MISSING = {"nan", "na", "n/a", "null", "none", "inf", "-inf", "-", "?"}
PAIR = "text_pair"
_MANY_CLASSES = 1000
_CELLS = 1 << 30  # of the table of rows by labels, four bytes each
_CUT = "cut"  # the column of tokens that were cut off
_LIKE_IDS = "which looks like a column of ids; check data.label_column, or name the classes with data.label_names."


@dataclass
class DataSettings(SplitSettings):
    """Which texts and labels to learn from."""

    label_column: str | None = option(
        None, "the column of labels: names, integers, lists of them, or floats; null: found by its name"
    )
    text_pair_column: str | None = option(None, "the column of second texts, where a label is of two; null: of one")
    label_names: list[str] | None = option(None, "all classes, in the order of their ids")
    unseen_labels: UnseenLabels = option(
        "wrong", "labels that train never shows, in other splits: count as wrong, drop their rows, or refuse the data"
    )
    max_rows: int | None = option(None, "rows kept of each split, drawn with `seed`")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max_rows={self.max_rows} must be at least 1; null keeps every row.")
        if self.text_column is not None and self.text_column == self.label_column:
            raise ValueError(f"text_column and label_column are both {self.text_column!r}; they must differ.")
        if self.text_pair_column is not None and self.text_pair_column in (self.text_column, self.label_column):
            given = f"text_pair_column={self.text_pair_column!r}"
            raise ValueError(f"{given} is the text_column or the label_column too; they must differ.")
        if self.label_names is not None and len(set(self.label_names)) != len(self.label_names):
            raise ValueError(f"label_names={self.label_names} holds a name twice; each class needs its own.")


@dataclass(frozen=True)
class Classes:
    """The names of the model's classes, and of those that other splits show and train does not.

    The ids of the unseen ones, or their columns, come behind those of the model. Of a regression the one name is that
    of the label column.
    """

    names: list[str]
    unseen: list[str] = field(default_factory=list)

    @property
    def all_names(self) -> list[str]:
        """The names of all labels that rows have."""
        return [*self.names, *self.unseen]

    def of(self, split: str) -> list[str]:
        """Return the names that the rows of a split may have; a model learns from train, and its outputs alone."""
        return self.names if split == "train" else self.all_names


@dataclass(frozen=True)
class TextTask:
    """Prepared texts, and what a model needs to know of their labels."""

    dataset: DatasetDict  # columns `text`, where a row has two `text_pair`, and `labels`
    problem_type: str  # `single_label_classification`, `multi_label_classification` or `regression`
    classes: Classes

    @property
    def has_pairs(self) -> bool:
        """Whether each row has two texts."""
        return PAIR in self.dataset["train"].column_names


def load_text_dataset(settings: DataSettings) -> TextTask:
    """Load texts and labels, check every row, and cut a validation split where there is none."""
    files = LabelFiles()
    task = labelled_texts(files.settled(load_splits(settings, read_other=files.read)), settings)
    cut_splits(task.dataset, settings, settings.max_rows)
    return task


def labelled_texts(splits: Mapping[str, Dataset], settings: DataSettings) -> TextTask:
    """Find the columns that `settings` do not name, check every row of these splits, and tell what the labels are."""
    find_columns(settings, splits, TEXTS, LABELS, taken=[settings.text_pair_column])
    return _with_labels(
        DatasetDict({split: _texts(rows, split, settings) for split, rows in splits.items()}), settings
    )


def _texts(rows: Dataset, split: str, settings: DataSettings) -> Dataset:
    columns = {"text_column": "text"} | ({} if settings.text_pair_column is None else {"text_pair_column": PAIR})
    rows = take_columns(rows, split, settings, **columns, label_column="labels")
    for setting, column in columns.items():
        if not is_text(rows.features[column]):
            held = f"data.{setting}={getattr(settings, setting)!r} holds {spelled(rows.features[column])}"
            raise ValueError(f"Split {split!r}: {held}, not texts.")
    return rows


def all_texts(rows: Dataset) -> Dataset:
    """Return a column `text` of all texts, the second ones behind the first ones."""
    if PAIR not in rows.column_names:
        return rows.select_columns("text")
    return concatenate_datasets([rows.select_columns("text"), rows.select_columns(PAIR).rename_column(PAIR, "text")])


def joined_texts(rows: Dataset, between: str = " ") -> list[str]:
    """Return one text a row: of two, the first, what stands between them, and the second."""
    if PAIR not in rows.column_names:
        return rows["text"][:]
    return list(map(between.join, zip(rows["text"][:], rows[PAIR][:], strict=True)))


def as_asked(rows: Dataset) -> list[Any]:
    """Return the rows as a pipeline of transformers takes them: texts, or dicts of two."""
    if PAIR not in rows.column_names:
        return rows["text"][:]
    return rows.select_columns(["text", PAIR]).to_list()


def tokenize_dataset(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
    """Turn `text` into `input_ids` and `length`; the rest stays.

    With `max_length`, texts are cut to so many tokens, special ones included, and `cut` counts those left out. Of two
    texts a row is cut where the longer one ends, token by token, as transformers' pipeline does it.
    """
    texts = [name for name in ("text", PAIR) if name in dataset.column_names]
    if ids_are_bytes(tokenizer) and texts == ["text"] and tokenizer.truncation_side == "right":
        return _as_bytes(dataset, cast(PreTrainedTokenizerFast, tokenizer), max_length)
    options = {"tokenizer": tokenizer, "max_length": max_length}
    return dataset.map(_tokenize, batched=True, fn_kwargs=options, remove_columns=texts, desc="Tokenizing")


class Cut(NamedTuple):
    """How much of texts was cut off, in shares from 0 to 1."""

    texts: float
    tokens: float

    @classmethod
    def of(cls, rows: Dataset) -> "Cut":
        """Count what `tokenize_dataset` left out of these rows."""
        if _CUT not in rows.column_names or not rows.num_rows:
            return cls(0.0, 0.0)
        lost, kept = (column_values(rows, name).to_numpy() for name in (_CUT, "length"))
        return cls(float((lost > 0).mean()), float(lost.sum() / max(lost.sum() + kept.sum(), 1)))


def _as_bytes(dataset: Dataset, tokenizer: PreTrainedTokenizerFast, max_length: int | None) -> Dataset:
    """Do the same for the kind `byte`, whose ids Arrow has already."""
    texts, starts = text_bytes(dataset, tokenizer.backend_tokenizer.normalizer)
    ids: Any = pa.LargeListArray.from_arrays(pa.array(starts), pa.array(texts))
    whole = pc.list_value_length(ids)
    if max_length is not None:
        ids = pc.list_slice(ids, 0, max_length)
    lengths = pc.list_value_length(ids).cast(pa.int64())
    dataset = dataset.add_column("input_ids", ids).add_column("length", lengths)
    if max_length is not None:
        dataset = dataset.add_column(_CUT, pc.subtract(whole, lengths))
    return dataset.remove_columns("text")


def text_bytes(dataset: Dataset, normalizer: Any | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of the column `text` end to end, uint8, and where each text begins.

    Args:
        dataset: Has the column.
        normalizer: That of the tokenizer, such as lower-casing.
    """
    column = column_values(dataset, "text")
    if normalizer is not None:
        texts = progress_bar("Spelling texts", column.to_pylist(), unit="text")
        column = pa.chunked_array([[normalizer.normalize_str(text) for text in texts]], pa.large_string())
    column = pc.cast(column, pa.large_binary())
    lengths = pc.binary_length(column).to_numpy().astype(np.int64)
    # Arrow holds the texts as we need them, one behind the other.
    parts = [_bytes_of(chunk) for chunk in column.chunks]
    flat = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.uint8), *parts])
    return flat, np.concatenate([[0], np.cumsum(lengths)])


def _bytes_of(chunk: pa.Array) -> np.ndarray:
    _, offsets, values = chunk.buffers()
    if not len(chunk) or values is None:
        return np.zeros(0, dtype=np.uint8)
    ends = np.frombuffer(offsets, dtype=np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    return np.frombuffer(values, dtype=np.uint8)[ends[0] : ends[-1]]


def _tokenize(
    batch: dict[str, list[str]], tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> dict[str, list[Any]]:
    # Cut here: of a pair the library makes every combination of what it cuts off both texts.
    encoded = tokenizer(batch["text"], batch.get(PAIR), truncation=False, verbose=False)
    whole = cast(list[list[int]], encoded["input_ids"])
    if max_length is None:
        return {"input_ids": whole, "length": list(map(len, whole))}
    is_left = tokenizer.truncation_side == "left"
    ids = [
        row if len(row) <= max_length else _shortened(encoding, max_length, is_left=is_left)
        for row, encoding in zip(whole, cast(Any, encoded).encodings, strict=True)
    ]
    lost = [len(row) - len(kept) for row, kept in zip(whole, ids, strict=True)]
    return {"input_ids": ids, "length": list(map(len, ids)), _CUT: lost}


def _shortened(encoding: Encoding, max_length: int, *, is_left: bool) -> list[int]:
    """Return the ids that the truncation `longest_first` of tokenizers keeps; special tokens stay."""
    places: dict[int | None, list[int]] = {0: [], 1: [], None: []}  # of the first text, the second, and special tokens
    for place, sequence in enumerate(encoding.sequence_ids):
        places[sequence].append(place)
    counts = _kept(len(places[0]), len(places[1]), max(max_length - len(places[None]), 0))
    kept = list(places[None])
    for sequence, count in enumerate(counts):
        own = places[sequence]
        kept += own[len(own) - count :] if is_left else own[:count]
    return [encoding.ids[place] for place in sorted(kept)]


def _kept(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of each text stay where both have `room`: the longer one is cut until they are even."""
    shorter, longer = sorted((first, second))
    if shorter + longer > room:
        shorter = min(shorter, room // 2)
        longer = room - shorter
    return (shorter, longer) if first <= second else (longer, shorter)


def _with_labels(dataset: DatasetDict, settings: DataSettings) -> TextTask:
    if settings.label_names is None:
        _check_odd_labels(dataset, settings)
    feature = common_feature(dataset)
    if isinstance(feature, List):
        dataset, classes = find_classes(dataset, feature.feature, settings)
        problem = "multi_label_classification"
        return TextTask(_with_multi_hot(dataset, classes), problem, classes)
    if _kind(feature) == "number":
        _check_scores(dataset, settings)
        scores = dataset.cast_column("labels", Value("float32"))
        return TextTask(scores, "regression", Classes([str(settings.label_column)]))
    dataset, classes = find_classes(dataset, feature, settings)
    if _kind(feature) == "truth":
        dataset = dataset.cast_column("labels", Value("int64"))
    dataset = with_classes(dataset, classes)
    return TextTask(dataset, "single_label_classification", classes)


def with_classes(dataset: DatasetDict, classes: Classes, wrap: Callable[[Any], Any] = lambda one: one) -> DatasetDict:
    """Make the column `labels` of every split one of classes; `wrap` makes it one of lists."""
    cast = {}
    for split, rows in dataset.items():
        names = classes.of(split)
        features = Features({**rows.features, "labels": wrap(ClassLabel(names=names))})
        cast[split] = rows.cast(features, batch_size=max(1000, len(names)))  # a batch costs as much as there are names
    return DatasetDict(cast)


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
            found = f"the label is {values[row].as_py()!r} among numbers such as {min(numbers)}"
            cure = "holds scores, fix or remove such rows; if it holds classes, name them in data.label_names"
            raise ValueError(f"Split {split!r}, row {row}: {found}. If {settings.label_column!r} {cure}.")


def _with_multi_hot(dataset: DatasetDict, classes: Classes) -> DatasetDict:
    rows, names = max(split.num_rows for split in dataset.values()), classes.all_names
    if rows * len(names) > _CELLS:
        table = f"{rows} rows of {len(names)} possible labels are a table of {rows * len(names)} numbers"
        raise ValueError(f"{table}, more than {_CELLS}: keep the most frequent labels, or fewer rows.")
    features = Features({**dataset["train"].features, "labels": List(Value("float32"))})
    hot = {}
    for split, part in dataset.items():
        own = {"names": classes.of(split)}
        hot[split] = part.map(_multi_hot, batched=True, fn_kwargs=own, features=features, desc="Labels")
    return DatasetDict(hot)


def _multi_hot(batch: dict[str, list[Any]], names: list[str]) -> dict[str, list[Any]]:
    present = [{names[label] if isinstance(label, int) else label for label in labels} for labels in batch["labels"]]
    return {"labels": [[float(name in own) for name in names] for own in present]}


def common_feature(dataset: DatasetDict) -> Any:
    """Return the type of the column `labels`, once all splits are known to have the same."""
    features = {split: rows.features["labels"] for split, rows in dataset.items()}
    kinds = {split: _kind(feature) for split, feature in features.items()}
    if None in kinds.values() or len(set(kinds.values())) > 1:
        found = ", ".join(f"{split}: {spelled(feature)}" for split, feature in features.items())
        wanted = "class names, integers, booleans, floats, or lists of names or integers"
        raise ValueError(f"The labels are of mixed or unknown types ({found}); all rows need the same: {wanted}.")
    names = [feature.names for feature in features.values() if isinstance(feature, ClassLabel)]
    if any(other != names[0] for other in names):
        raise ValueError(f"The splits name their classes differently: {names}; cast them to one ClassLabel.")
    return features["train"]


def _kind(feature: Any) -> str | None:
    if isinstance(feature, List):
        inner = _kind(feature.feature)
        return f"list of {inner}" if inner in ("class", "name", "integer") else None
    if isinstance(feature, ClassLabel):
        return "class"
    if is_text(feature):
        return "name"
    kinds = {"int": "integer", "uint": "integer", "float": "number", "bool": "truth"}
    return kinds.get(feature.dtype.rstrip("0123456789")) if isinstance(feature, Value) else None


def find_classes(
    dataset: DatasetDict,
    feature: Any,
    settings: DataSettings,
    belongs: Callable[[str, list[str]], bool] | None = None,
    *,
    named_in: str = "data.label_names",
) -> tuple[DatasetDict, Classes]:
    """Return the classes, once every label is known to be one of them, and the rows with labels that `Classes` names.

    Labels that train lacks are classes of their own where nobody has declared all of them, see `Classes.unseen`.

    Args:
        feature: The type of a label.
        belongs: Tells whether a label that train lacks is one of the model's all the same, from the names of train.
        named_in: The option that names all classes, as a warning tells it.
    """
    seen = {split: _counted(rows, split) for split, rows in dataset.items()}
    names, is_declared = _known_names(feature, dataset, seen["train"], settings)
    kind = _kind(feature)
    known = set(names) if kind == "name" else set(range(len(names)))
    unknown = {label for labels in seen.values() for label in labels} - known
    also = [label for label in sorted(map(str, unknown)) if belongs is not None and belongs(label, names)]
    if settings.unseen_labels == "drop":
        # -1 is the mark of rows without a label: a split of them is no data to evaluate on, and refused below.
        dropped = {label for label in unknown if str(label) not in also and label != -1}
        dataset = DatasetDict({split: without_labels(rows, split, dropped) for split, rows in dataset.items()})
        seen, unknown = {split: _counted(rows, split) for split, rows in dataset.items()}, unknown - dropped
    for split, labels in seen.items():
        _check_labels(split, set(labels), known, names, is_declared)
    if len(seen["train"]) < 2:
        raise ValueError(f"All labels of train are {names}: a classifier needs two classes; check data.label_column.")
    if unknown and kind == "integer":  # as names they need not be the next numbers
        dataset = DatasetDict({split: _with_label_texts(rows) for split, rows in dataset.items()})
    later = [str(label) for label in sorted(unknown)]
    classes = Classes([*names, *also], [label for label in later if label not in also])
    refuse = settings.unseen_labels == "refuse"
    tell_never_seen(seen, classes.unseen, also, named_in=named_in, refuse=refuse)
    return dataset, classes


def _with_label_texts(rows: Dataset) -> Dataset:
    is_list = isinstance(rows.features["labels"], List)
    return rows.cast_column("labels", List(Value("string")) if is_list else Value("string"))


def _known_names(
    feature: Any, dataset: DatasetDict, labels: Mapping[Any, int], settings: DataSettings
) -> tuple[list[str], bool]:
    """Return the names of the classes, and whether they are declared, rather than found in train."""
    kind, given = _kind(feature), settings.label_names
    if kind == "class":
        names = given or feature.names
    elif kind == "truth":
        names = given or ["false", "true"]
    elif kind == "integer":
        names = given or _numbered(max(labels, default=-1), dataset["train"].num_rows)
    else:
        names = given or sorted(labels)
    if kind == "class" and len(names) != len(feature.names):
        raise ValueError(f"data.label_names={names} must rename the classes of the data, {feature.names}.")
    is_declared = given is not None or kind in ("class", "truth")
    num_labels = sum(labels.values())
    if not is_declared and len(names) > _MANY_CLASSES and 2 * len(names) > num_labels:  # most are seen once
        raise ValueError(f"The {num_labels} labels of train are of {len(names)} kinds, {_LIKE_IDS}")
    return names, is_declared


def _numbered(highest: int, num_rows: int) -> list[str]:
    if highest >= max(num_rows, 1000):
        raise ValueError(f"The labels of train reach {highest} in {num_rows} rows, {_LIKE_IDS}")
    return [str(index) for index in range(highest + 1)]


def _label_values(rows: Dataset) -> pa.ChunkedArray:
    values = column_values(rows, "labels")
    return pc.list_flatten(values) if is_list(values) else values


def is_list(values: pa.ChunkedArray) -> bool:
    """Tell whether each value is a list."""
    return pa.types.is_list(values.type) or pa.types.is_large_list(values.type)


def _some(labels: Iterable[Any]) -> str:
    ordered = sorted(labels)
    return f"{ordered[:NAMED]}" + (f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else "")


def _counted(rows: Dataset, split: str) -> Counter[Any]:
    """Count each label of a split."""
    found = pc.value_counts(_label_values(rows)).to_pylist()
    labels = Counter({each["values"]: each["counts"] for each in found})
    if None in labels or "" in labels:
        raise ValueError(f"Split {split!r} has an empty label; fill in or remove such rows.")
    return labels


def _check_labels(split: str, labels: set[Any], known: set[Any], names: list[str], is_declared: bool) -> None:
    """Refuse marks of rows without a label, and labels that are none of the declared ones."""
    where = f"Split {split!r}"
    if -1 in labels:
        cure = "leave the split out, for example with '--data.splits={train: train, validation: validation}'"
        raise ValueError(f"{where} has the label -1, the mark of rows without a label; {cure}.")
    unknown = sorted(label for label in labels - known if is_declared or (isinstance(label, int) and label < 0))
    cure = "" if split == "train" else " Add it to data.label_names, or drop such rows: data.unseen_labels=drop."
    if unknown and isinstance(unknown[0], str):
        try:
            check_known(unknown[0], names, where, kind="label")
        except ValueError as error:
            raise ValueError(f"{error}{cure}") from None
    if unknown:
        numbers = f"the {len(names)} classes {_some(names)} have ids from 0 on"
        raise ValueError(f"{where} has the labels {_some(unknown)}, but {numbers}.{cure}")


def _check_scores(dataset: DatasetDict, settings: DataSettings) -> None:
    if settings.label_names is not None:
        held = f"data.label_column={settings.label_column!r} holds floats, which are scores to predict"
        raise ValueError(f"{held}: leave out data.label_names, or make the labels integers.")
    for split, rows in dataset.items():
        row = pc.index(pc.is_finite(column_values(rows, "labels")), False).as_py()
        if row >= 0:
            raise ValueError(f"Split {split!r}, row {row}: the label is not a finite number; fix or remove such rows.")
