"""Pairs of texts, a source and what is to be written from it, as columns `source` and `target`.

They come from a table with two columns, from a column of dictionaries (`translation: {"en": ..., "de": ...}`, as
translation sets on the Hub have it), from a folder of files line by line (`train.en`, `train.de`), or from our
generator.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, Translation, Value

from ..settings import check_known, option
from .columns import Role, find_columns, is_text, spelled
from .embedded.load import load_embedded
from .embedded.replies import reply
from .parallel_files import languages_in, read_parallel
from .sources import SplitSettings, column_values, existing_path, load_splits, take_columns

logger = logging.getLogger(__name__)

SOURCE, TARGET = "source", "target"
_FEATURES = Features({SOURCE: Value("string"), TARGET: Value("string")})
_FILES = {"train": ("train",), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}
_MANY_EQUAL: Final = 0.1  # share of rows whose source and target are the same text
_MOST_HELD_OUT: Final = 2_000  # sources cut off train for a split that is not there
_JOINS: Final = re.compile(r"(^|please |, | )(before|while|as soon as|no wait)\b")
_COMPARED: Final = 2_000  # rows by whose words swapped languages are told

_SAY_LANGUAGES: Final = (
    "--data.source_language=CODE and --data.target_language=CODE (an autoencoder: --data.text_column=CODE)"
)

SOURCES: Final = Role(
    "text_column",
    "the sources",
    ("source", "src", "text", "input", "sentence", "utterance", "question", "document", "article", "dialogue"),
    is_text,
)
TARGETS: Final = Role(
    "target_column",
    "the targets",
    ("target", "tgt", "translation", "output", "reply", "response", "answer", "summary", "highlights"),
    is_text,
)


@dataclass
class ParallelSettings(SplitSettings):
    """Which pairs of texts to learn from."""

    target_column: str | None = option(
        None,
        "the column of targets; null: found by its name. `embedded` has `translation` and `reply`",
    )
    source_language: str | None = option(
        None, "ISO code of the sources: the key of a dictionary, the end of a file (train.en) or a column"
    )
    target_language: str | None = option(None, "ISO code of the targets")
    copies_source: bool = option(False, "the target is the source itself: the model is a sequence autoencoder")
    max_rows: int | None = option(None, "pairs kept of each split, drawn with `seed`")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max_rows={self.max_rows} must be at least 1; null keeps every row.")
        source, target = self.source_language, self.target_language
        if (source is None) != (target is None):
            raise ValueError(f"source_language={source!r} and target_language={target!r}: give both, or neither.")
        if source is not None and source == target:
            raise ValueError(f"source_language and target_language are both {source!r}; they must differ.")
        if self.copies_source and (self.target_column is not None or target is not None):
            given = f"target_column={self.target_column!r}, target_language={target!r}"
            raise ValueError(f"{given}: with copies_source=true the source is the target too. Leave both out.")
        if self.text_column is not None and self.text_column == self.target_column:
            cure = "they must differ. An autoencoder takes copies_source=true, and no target_column"
            raise ValueError(f"text_column and target_column are both {self.text_column!r}; {cure}.")


def load_parallel(settings: ParallelSettings) -> DatasetDict:
    """Load pairs, check every row, and cut a validation split off train where there is none.

    A test split is cut off as well, unless somebody said which splits there are.
    """
    is_embedded = settings.path is None and settings.name == "embedded"
    found = _embedded(settings) if is_embedded else _parallel_files(settings) or load_splits(settings)
    found = {split: _without_dictionaries(rows, settings) for split, rows in found.items()}
    _find_columns(found, settings)
    dataset = DatasetDict({split: _pairs(rows, split, settings) for split, rows in found.items()})
    _check_swapped(dataset)
    is_said = settings.splits is not None or isinstance(settings.path, dict)
    for split in ("validation",) if is_said else ("validation", "test"):
        if split not in dataset:
            dataset["train"], dataset[split] = _cut(dataset["train"], settings, split)
    for split, rows in dataset.items():
        if settings.max_rows is not None and rows.num_rows > settings.max_rows:
            dataset[split] = rows.shuffle(seed=settings.seed).select(range(settings.max_rows))
    return dataset


def _parallel_files(settings: ParallelSettings) -> dict[str, Dataset]:
    """Read a folder of files that belong together line by line; nothing where it is none."""
    if not isinstance(settings.path, str) or not existing_path(settings.path).is_dir():
        return {}
    folder = existing_path(settings.path)
    if not (known := languages_in(folder)):
        return {}
    where, held = f"data.path={settings.path!r}", sorted(set().union(*known.values()))
    languages = _languages_asked(settings)
    if not languages:
        raise ValueError(f"{where} holds texts in {', '.join(held)}: say which is the source with {_SAY_LANGUAGES}.")
    for language in languages:
        check_known(language, held, where, kind="language")
    usual = {split: [name for name in names if name in known] for split, names in _FILES.items()}
    chosen = settings.splits or {split: names[0] for split, names in usual.items() if names}
    if "train" not in chosen:
        others = ", ".join(sorted(known))
        raise ValueError(f"{where} has no train files, only {others}; name them with '--data.splits={{train: NAME}}'.")
    found: dict[str, Dataset] = {}
    for split, name in chosen.items():
        check_known(name, known, "data.splits", kind="split")
        found[split] = read_parallel(folder, name, languages)
    return found


def _languages_asked(settings: ParallelSettings) -> list[str]:
    """Return source and target, of an autoencoder its one language; nothing where nobody said them."""
    own = (settings.text_column,) if settings.copies_source else (settings.source_language, settings.target_language)
    return [language for language in own if language is not None]


def _embedded(settings: ParallelSettings) -> dict[str, Dataset]:
    """Generate utterances with their German and with what the assistant answers.

    What is held out are new combinations of known words in known constructions. Nobody knows the German of a word that
    was never read; and what joins clauses in a new way is another lesson, at which recurrent networks fail.
    """
    if settings.target_column is None and not settings.copies_source:
        settings.target_column = "translation"
        logger.warning("Nobody named the targets: read from 'translation'. Answers are in data.target_column=reply.")
    rows = load_embedded(seed=settings.seed)
    words = {word.lower() for own in rows["train"]["tokens"][:] for word in own}
    joined = set(map(_joined, rows["train"]["text"][:]))
    chosen = settings.splits or {split: split for split in rows}
    for name in chosen.values():
        check_known(name, rows, "data.splits", kind="split")
    for name in {*chosen.values()} - {"train"}:
        columns = zip(*(rows[name][column][:] for column in ("novelty", "tokens", "text")), strict=True)
        is_kept = [
            novelty == "combination" and words.issuperset(map(str.lower, own)) and _joined(text) in joined
            for novelty, own, text in columns
        ]
        rows[name] = rows[name].select(np.flatnonzero(is_kept))
    return {split: _answered(rows[name]) for split, name in chosen.items()}


def _joined(text: str) -> tuple[tuple[str, bool], ...]:
    """Return what joins the clauses of an utterance, each with whether it begins one."""
    return tuple((found[2], found[1] != " ") for found in _JOINS.finditer(text.lower()))


def _answered(rows: Dataset) -> Dataset:
    intents, tags = rows.features["label"].names, rows.features["tags"].feature.names
    columns = zip(*(rows[name][:] for name in ("label", "tokens", "tags")), strict=True)
    replies = [reply(intents[label], words, [tags[tag] for tag in own]) for label, words, own in columns]
    return rows.add_column("reply", pa.array(replies, pa.string()))


def _without_dictionaries(rows: Dataset, settings: ParallelSettings) -> Dataset:
    """Make a column for each key of dictionaries of texts, and ask for the languages where nobody said them."""
    structs = {name: keys for name, feature in rows.features.items() if (keys := _keys_of_texts(feature))}
    if len(structs) != 1:
        return rows
    ((name, keys),) = structs.items()
    if settings.source_language is None and settings.text_column is None:
        raise ValueError(
            f"Column {name!r} holds texts in {', '.join(keys)}: say which is the source with {_SAY_LANGUAGES}."
        )
    parts = rows.select_columns(name).flatten()
    return parts.rename_columns({f"{name}.{key}": key for key in keys})


def _keys_of_texts(feature: Any) -> Sequence[str]:
    """Return the keys of dictionaries of texts; none of what is no such column."""
    if isinstance(feature, Translation):
        return list(feature.languages)
    is_pair = isinstance(feature, dict) and len(feature) > 1 and all(map(is_text, feature.values()))
    return list(feature) if is_pair else []


def _find_columns(splits: Mapping[str, Dataset], settings: ParallelSettings) -> None:
    """Fill in the columns that nobody named: those of the languages, else those with usual names."""
    names = splits["train"].column_names
    codes = {"text_column": settings.source_language, "target_column": settings.target_language}
    asked = {setting: code for setting, code in codes.items() if getattr(settings, setting) is None}
    if named := [setting for setting, code in asked.items() if code in names]:
        for setting in named:
            setattr(settings, setting, asked[setting])
        # Where languages name columns, a column of another name may hold a third language.
        for setting in asked.keys() - set(named):
            cure = f"Name the column with --data.{setting}=NAME, or another language"
            raise ValueError(f"No column is named {asked[setting]!r}, only {', '.join(names)}. {cure}.")
    roles = (SOURCES,) if settings.copies_source else (SOURCES, TARGETS)
    find_columns(settings, splits, *roles)


def _pairs(rows: Dataset, split: str, settings: ParallelSettings) -> Dataset:
    """Take source and target, refuse rows that lack one of them, and warn of those that are the same text."""
    columns = {"text_column": SOURCE} | ({} if settings.copies_source else {"target_column": TARGET})
    rows = take_columns(rows, split, settings, **columns)
    for setting, column in columns.items():
        name = getattr(settings, setting)
        if not is_text(rows.features[column]):
            held = f"data.{setting}={name!r} holds {spelled(rows.features[column])}"
            raise ValueError(f"Split {split!r}: {held}, not texts.")
        blank = pc.equal(pc.utf8_trim_whitespace(column_values(rows, column)), "")
        if (row := pc.index(blank, pa.scalar(True)).as_py()) >= 0:
            count = pc.sum(blank).as_py()
            fault = f"{name!r} is empty, so it is a {'target' if column == SOURCE else 'source'} without a {column}"
            raise ValueError(f"Split {split!r}, row {row}: {fault}; {count} rows are so. Remove them.")
    if settings.copies_source:
        return rows.add_column(TARGET, column_values(rows, SOURCE).combine_chunks()).cast(_FEATURES)
    same = np.equal(*(np.asarray(rows[column][:], dtype=object) for column in (SOURCE, TARGET))).mean()
    if same == 1:
        cure = "Name other columns, or train an autoencoder with data.copies_source=true"
        raise ValueError(f"Split {split!r}: every target is the same text as its source. {cure}.")
    if same >= _MANY_EQUAL:
        logger.warning("Split %r: %.0f %% of the targets are the same text as their source.", split, 100 * same)
    return rows.select_columns([SOURCE, TARGET]).cast(_FEATURES)


def _cut(train: Dataset, settings: ParallelSettings, split: str) -> tuple[Dataset, Dataset]:
    """Cut rows off train; all rows of one source stay together, or a translation would be known from another one."""
    sources = column_values(train, SOURCE).combine_chunks().dictionary_encode()
    ids, count = sources.indices.to_numpy(), len(sources.dictionary)
    wanted = min(max(round(settings.validation_fraction * count), 1), _MOST_HELD_OUT)
    if count < 3:
        raise ValueError(f"{count} sources are too few to cut off a split {split!r}: give one, or more rows.")
    order = np.random.default_rng((settings.seed, len(split))).permutation(count)
    is_held = np.isin(ids, order[:wanted])
    logger.warning("The data have no %s split: %d rows of train are kept aside as one.", split, is_held.sum())
    return train.select(np.flatnonzero(~is_held)), train.select(np.flatnonzero(is_held))


def _check_swapped(dataset: DatasetDict) -> None:
    """Refuse a split whose sources are written in the words of the targets of train, and the other way round."""
    known = [set(_words(dataset["train"], column)) for column in (SOURCE, TARGET)]
    for split, rows in dataset.items():
        own = [_words(rows, column) for column in (SOURCE, TARGET)]
        straight, crossed = (
            sum(word in words for texts, words in zip(own, order, strict=True) for word in texts)
            for order in (known, known[::-1])
        )
        if crossed > 2 * straight:
            cure = "the languages of its files or columns are swapped, in it or in train"
            raise ValueError(f"The sources of split {split!r} look like the targets of train: {cure}.")


def _words(rows: Dataset, column: str) -> list[str]:
    return [word for text in rows[:_COMPARED][column] for word in text.lower().split()]
