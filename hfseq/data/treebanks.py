"""Parse trees with labels from the Hub, local files or our generator: `tree`, `text`, `labels`, and then token ids.

A tree is a text in brackets with a label at each node, `(3 (2 It) (4 works))`, as the Stanford Sentiment Treebank has
them. Where only whole texts have labels, they stand in a column of their own, and trees may be plain texts.
"""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import PreTrainedTokenizerBase

from ..models.base import IGNORED
from ..settings import check_known, option
from ..tokenization.brackets import read_brackets
from ..tokenization.tree import Tree
from ..tokenization.trees import tree_in
from .columns import is_text, spelled
from .embedded.load import SENTIMENTS
from .negations import NEGATIONS
from .sources import cut_splits, load_splits, take_columns
from .text import Classes, DataSettings, find_classes
from .trees import TREE_FORMATS

logger = logging.getLogger(__name__)

TREE: Final = "tree"
_NONE: Final = ""  # the label of a node that has none
_NAMES: Final = "names"
_TEXT: Final = Value("string")


@dataclass
class TreebankSettings(DataSettings):
    """Which trees and labels to learn from."""

    tree_column: str = option(TREE, "the column of trees in brackets; with label_column plain texts may stand there")
    label_column: str | None = option(
        None, "the column of labels of whole texts, for trees without labels; null: labels stand in the trees"
    )
    labels: Literal["nodes", "root"] = option("nodes", "learn from the labels of all nodes, or of whole texts alone")
    label_map: dict[str, str] | None = option(
        None, "label of the data: class of the model; nodes of other labels have none, texts of others are left out"
    )
    negations: list[str] = field(
        default_factory=lambda: list(NEGATIONS),
        metadata={"help": "words whose phrases are measured by themselves, in lower case; []: none are"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("text_column", "text_pair_column"):
            if (given := getattr(self, name)) is not None:
                raise ValueError(f"{name}={given!r}: trees hold their words; name their column, tree_column={given}.")
        if self.tree_column == self.label_column:
            raise ValueError(f"tree_column and label_column are both {self.tree_column!r}; they must differ.")
        if self.label_column is not None and self.labels == "nodes":
            own = f"label_column={self.label_column!r} has a label a text, and none for the nodes of its tree"
            raise ValueError(f"{own}: set labels=root, or leave label_column out where the trees hold labels.")
        if self.label_map is not None and len(set(self.label_map.values())) < 2:
            raise ValueError(f"label_map={self.label_map} must lead to two classes or more.")
        if self.label_map is not None and self.label_names is not None:
            missing = sorted(set(self.label_map.values()) - set(self.label_names))
            if missing:
                raise ValueError(f"label_map leads to {missing}, which label_names={self.label_names} lacks.")


@dataclass(frozen=True)
class TreeTask:
    """Prepared trees, and what a model needs to know of their labels."""

    dataset: DatasetDict  # columns `tree`, `text` and `labels`: the class of each node, of a plain text its own alone
    classes: Classes
    is_scale: bool  # whether the five labels are 0 to 4, from very negative to very positive

    def trees(self, split: str) -> list[Tree]:
        """Read the trees of a split whose nodes have labels."""
        return [read_brackets(text) for text in self.dataset[split][TREE][:]]

    def roots(self, split: str) -> np.ndarray:
        """Return the classes of the texts of a split, (rows,)."""
        return np.array([row[-1] for row in self.dataset[split]["labels"][:]])


def load_trees(settings: TreebankSettings) -> TreeTask:
    """Load trees and labels, check every row, and cut a validation split where there is none."""
    splits = load_splits(settings, TREE_FORMATS)
    dataset = DatasetDict({split: _rows(rows, split, settings) for split, rows in splits.items()})
    cut_splits(dataset, settings, settings.max_rows)
    if settings.label_map is not None:
        dataset = _mapped(dataset, settings.label_map)
    return _with_classes(dataset, settings)


def read_tree(text: str, where: str) -> Tree | None:
    """Read a tree in brackets; None: a plain text."""
    try:
        return tree_in(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _rows(rows: Dataset, split: str, settings: TreebankSettings) -> Dataset:
    """Return columns `tree`, `text` and `names`, the label of each node."""
    named = {"tree_column": TREE} | ({} if settings.label_column is None else {"label_column": "label"})
    rows = take_columns(rows, split, settings, **named)
    if not is_text(rows.features[TREE]):
        held = f"data.tree_column={settings.tree_column!r} holds {spelled(rows.features[TREE])}"
        raise ValueError(f"Split {split!r}: {held}, not trees in brackets.")
    written = rows[TREE][:]
    given = None if settings.label_column is None else _told(rows, settings.label_column)
    texts, names = [], []
    for place, text in enumerate(written):
        where = f"Split {split!r}, row {place}"
        tree = read_tree(text, where)
        texts.append(text if tree is None else " ".join(tree.sentence))
        names.append(_labels(tree, where) if given is None else [given[place]])
    made = {TREE: written, "text": texts, _NAMES: names}
    return Dataset.from_dict(made, Features({TREE: _TEXT, "text": _TEXT, _NAMES: List(_TEXT)}))


def _labels(tree: Tree | None, where: str) -> list[str]:
    if tree is None:
        raise ValueError(
            f"{where} holds no tree in brackets, as '(3 (2 It) (4 works))'. Plain texts have their labels in a column "
            "of their own: name it with data.label_column, and set data.labels=root."
        )
    if len(tree.roots) != 1 or any(
        word is not None and own for word, own in zip(tree.words, tree.children(), strict=True)
    ):
        raise ValueError(
            f"{where} is no tree of phrases with labels: of dependency trees learn the labels of whole texts, with "
            "data.label_column and data.labels=root."
        )
    if tree.labels[-1] == _NONE:
        raise ValueError(f"{where}: the root of the tree has no label; give one, or remove the row.")
    return list(tree.labels)


def _told(rows: Dataset, column: str) -> list[str]:
    """Return the labels of texts by name."""
    feature, values = rows.features["label"], rows["label"][:]
    if isinstance(feature, ClassLabel):
        return [feature.names[value] for value in values]
    if not isinstance(feature, Value) or feature.dtype.startswith("float"):
        raise ValueError(f"data.label_column={column!r} holds {spelled(feature)}, not one label a text.")
    return list(map(str, values))


def _mapped(dataset: DatasetDict, label_map: dict[str, str]) -> DatasetDict:
    """Give labels their classes, and leave out the texts whose root has none."""
    every = _every_label(dataset, _NAMES)
    for label in label_map:
        check_known(label, sorted(every), "data.label_map", kind="label")
    found = {}
    for split, rows in dataset.items():
        names = [[label_map.get(name, _NONE) for name in row] for row in rows[_NAMES][:]]
        kept = [place for place, row in enumerate(names) if row[-1] != _NONE]
        if lost := len(names) - len(kept):
            told = "Split %r: %d of %d texts have a label that data.label_map leaves out, and are left out."
            logger.warning(told, split, lost, len(names))
        if not kept:
            raise ValueError(f"Split {split!r}: data.label_map={label_map} leaves no text; look at its labels.")
        own = rows.select(kept).remove_columns(_NAMES)
        found[split] = own.add_column(_NAMES, [names[place] for place in kept], feature=List(_TEXT))
    return DatasetDict(found)


def _every_label(dataset: DatasetDict, column: str) -> set[str]:
    return {name for rows in dataset.values() for names in rows[column][:] for name in names}


def _with_classes(dataset: DatasetDict, settings: TreebankSettings) -> TreeTask:
    """Turn the labels into the classes of a model; nodes without one get -100."""
    every = _every_label(dataset, _NAMES) - {_NONE}
    is_scale, is_mapped = every == {"0", "1", "2", "3", "4"}, settings.label_map is not None
    names = settings.label_names
    if names is None and settings.label_map is not None:
        names = list(dict.fromkeys(settings.label_map.values()))
    elif names is None and is_scale and settings.path is None and settings.name == "embedded":
        names = SENTIMENTS
    are_numbers = not is_mapped and all(name.isdecimal() for name in every)
    feature = Value("int64") if are_numbers else _TEXT
    dataset = DatasetDict({split: _with_labels(rows, feature) for split, rows in dataset.items()})
    try:
        dataset, classes = find_classes(dataset, feature, dataclasses.replace(settings, label_names=names))
    except ValueError as error:
        if settings.label_column is not None:
            raise
        raise ValueError(str(error).replace("data.label_column", "data.tree_column")) from error
    is_renamed = are_numbers and names is not None
    ids = {str(index) if is_renamed else name: index for index, name in enumerate(classes.all_names)}
    return TreeTask(DatasetDict({split: _with_ids(rows, ids) for split, rows in dataset.items()}), classes, is_scale)


def _with_labels(rows: Dataset, feature: Any) -> Dataset:
    """Add a column `labels` of those labels that are some."""
    kind = int if feature != _TEXT else str
    labels = [[kind(name) for name in names if name != _NONE] for names in rows[_NAMES][:]]
    return rows.add_column("labels", labels, feature=List(feature))


def _with_ids(rows: Dataset, ids: Mapping[str, int]) -> Dataset:
    """Write the labels of all nodes as ids."""
    labels = [[ids.get(name, IGNORED) for name in names] for names in rows[_NAMES][:]]
    return rows.remove_columns([_NAMES, "labels"]).add_column("labels", labels, feature=List(Value("int64")))


def tokenize_trees(rows: Dataset, tokenizer: PreTrainedTokenizerBase, learns: str, longest: int) -> Dataset:
    """Turn trees into `input_ids`, `parents`, `labels` (a node each, or the root's) and `length`.

    Args:
        rows: As `load_trees` returns them.
        tokenizer: One of trees.
        learns: `nodes` or `root`.
        longest: Trees with more nodes are left out.
    """
    options = {"tokenizer": tokenizer, "learns": learns}
    tokens = rows.map(
        _tokenize,
        batched=True,
        fn_kwargs=options,
        remove_columns=rows.column_names,
        desc="Tokenizing",
        load_from_cache_file=False,
    )
    lengths = tokens["length"][:]
    kept = [place for place, length in enumerate(lengths) if length <= longest]
    if len(kept) == len(lengths):
        return tokens
    lost = len(lengths) - len(kept)
    if not kept:
        raise ValueError(f"tokenizer.max_length={longest} leaves no tree: the smallest has {min(lengths)} nodes.")
    logger.warning("%d trees of more than %d nodes are left out (tokenizer.max_length).", lost, longest)
    return tokens.select(kept)


def _tokenize(batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, learns: str) -> dict[str, list[Any]]:
    encoded: Any = tokenizer(batch[TREE])
    labels = batch["labels"] if learns == "nodes" else [row[-1] for row in batch["labels"]]
    ids = encoded["input_ids"]
    return {"input_ids": ids, "parents": encoded["parents"], "labels": labels, "length": list(map(len, ids))}
