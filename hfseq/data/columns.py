"""Which columns of a table hold what is asked for, where nobody said: by their usual names, or by what they hold."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Any, Final

from datasets import ClassLabel, Dataset, IterableDataset, List, Value

logger = logging.getLogger(__name__)

_LOOKED_AT: Final = 200  # rows
_SHOWN, _WIDTH = 3, 30  # values that an error quotes of a column, and characters of each
_LONGER = 2  # times as long must texts be to be told from labels


def is_text(feature: Any) -> bool:
    """Tell whether a column of this type holds texts."""
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def spelled(feature: Any) -> str:
    """Name the type of a column in an error."""
    if isinstance(feature, List):
        return f"lists of {spelled(feature.feature)}"
    return feature.dtype if isinstance(feature, Value) else type(feature).__name__


def _is_words(feature: Any) -> bool:
    return isinstance(feature, List) and is_text(feature.feature)


def _is_text_or_words(feature: Any) -> bool:
    return is_text(feature) or _is_words(feature)


def _is_label(feature: Any) -> bool:
    inner = feature.feature if isinstance(feature, List) else feature
    return isinstance(inner, Value | ClassLabel)


def _is_one_label(feature: Any) -> bool:
    return isinstance(feature, ClassLabel) or is_text(feature) or spelled(feature).startswith(("int", "uint"))


def _is_list(feature: Any) -> bool:
    return isinstance(feature, List)


@dataclass(frozen=True)
class Role:
    """What a setting names a column for."""

    setting: str
    held: str  # in an error
    names: tuple[str, ...]  # usual ones, in lower case; a column with the first one needs no guess
    fits: Callable[[Any], bool]  # of the type of a column


_OF_TEXTS = (
    *("text", "texts", "sentence", "content", "review", "reviews", "review_text", "tweet", "message", "question"),
    *("comment", "comment_text", "utterance", "query", "document", "description", "body", "sms", "post", "headline"),
)
_OF_LABELS = (
    *("label", "labels", "category", "categories", "class", "sentiment", "target", "topic", "intent", "emotion"),
)
_NUMBERS_OF_ROWS = ("id", "idx", "index", "guid", "uuid", "unnamed:_0")  # the last one as pandas writes them

TEXTS: Final = Role("text_column", "the texts", _OF_TEXTS, is_text)
RUNNING: Final = Role("text_column", "the texts", (*_OF_TEXTS, "tokens", "words"), _is_text_or_words)
LABELS: Final = Role("label_column", "the labels", _OF_LABELS, _is_label)
WORDS: Final = Role("text_column", "the words", ("tokens", "words", "token", "word"), _is_words)
TAGS: Final = Role(
    "label_column", "the tags", ("tags", "ner_tags", "labels", "label", "ner", "tag", "slots", "upos"), _is_list
)
INTENTS: Final = Role(
    "intent_column", "the intents", ("intent", "intents", "label", "labels", "category", "class"), _is_one_label
)
USUAL_NAMES: Final = frozenset(chain.from_iterable(role.names for role in (RUNNING, LABELS, WORDS, TAGS)))


class UnclearColumnError(ValueError):
    """Nobody can tell which column of a table is meant."""

    def __init__(self, role: Role, held: Iterable[str], cure: str | None = None) -> None:
        self.role, self.held = role, list(held)
        cure = f"--data.{role.setting}=NAME" if cure is None else cure
        super().__init__(f"Which column holds {role.held}? Choose one with {cure}. There are: {'; '.join(self.held)}.")

    def with_cure(self, cure: str) -> "UnclearColumnError":
        """Return the same error for a command that chooses columns with other words."""
        return UnclearColumnError(self.role, self.held, cure)


def find_columns(
    settings: Any, splits: Mapping[str, Dataset | IterableDataset], *roles: Role, taken: Iterable[str | None] = ()
) -> None:
    """Fill in those settings that name no column, from the columns of train; a guess is told.

    Args:
        settings: Has a field for each of the `roles`, None where nobody named a column. It is changed, so that errors,
            cards and what is saved of the settings name the columns that were read.
        taken: Columns that are read as something else.
    """
    asked = [role for role in roles if getattr(settings, role.setting) is None]
    rows = splits.get("train", next(iter(splits.values())))
    if not asked or (isinstance(rows, Dataset) and not rows.column_names):
        return
    table = _Table(rows)
    own = {role.setting: getattr(settings, role.setting) for role in roles}
    others = {*own.values(), *taken}
    free = [name for name in table.names if name not in others and plain_name(name) not in _NUMBERS_OF_ROWS]
    found = _by_name(asked, table, free)
    if len(found) < len(asked):
        found |= _by_type(asked, table, free, found)
    for role in asked:
        if role.setting not in found:
            raise UnclearColumnError(role, map(table.told, table.names))
        setattr(settings, role.setting, found[role.setting])
    guessed = [role for role in asked if found[role.setting] != role.names[0]]
    if guessed:
        told = " and ".join(f"{role.held} from column {found[role.setting]!r}" for role in guessed)
        settings_of = " and ".join(f"data.{role.setting}" for role in guessed)
        logger.warning("Nobody named the columns: read %s. Others are named in %s.", told, settings_of)


class _Table:
    """Names, types and first values of columns."""

    def __init__(self, rows: Dataset | IterableDataset) -> None:
        self.rows = list(rows.take(_LOOKED_AT))
        self.names = list(rows.column_names or (self.rows[0] if self.rows else ()))
        self.types: Mapping[str, Any] = rows.features or {}

    def fits(self, role: Role, name: str) -> bool:
        """Whether a column can be what is asked for; of an unknown type it can."""
        return name not in self.types or role.fits(self.types[name])

    def values(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows if row[name] is not None]

    def length(self, name: str) -> float:
        """Return how many characters the texts of a column have in the mean; of what is no text 0."""
        return fmean([len(value) if isinstance(value, str) else 0 for value in self.values(name)] or [0])

    def told(self, name: str) -> str:
        kind = _kind(self.types[name]) if name in self.types else "values"
        distinct = list(dict.fromkeys(map(_short, self.values(name))))
        quoted = ", ".join(distinct[:_SHOWN]) + (", ..." if len(distinct) > _SHOWN else "")
        return f"{name!r} ({kind}: {quoted or 'nothing'})"


def _kind(feature: Any) -> str:
    """Say in words what a column holds."""
    if isinstance(feature, List):
        return f"lists of {_kind(feature.feature)}"
    if is_text(feature):
        return "texts"
    words = {"int": "whole numbers", "uint": "whole numbers", "float": "numbers", "bool": "yes or no"}
    return words.get(
        spelled(feature).rstrip("0123456789"), "classes" if isinstance(feature, ClassLabel) else spelled(feature)
    )


def _short(value: Any) -> str:
    text = " ".join(str(value)[: 10 * _WIDTH].split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 4]} ..."


def _by_name(asked: Iterable[Role], table: _Table, free: list[str]) -> dict[str, str]:
    """Find the columns with the first of the usual names, else the only one with any of them."""
    found: dict[str, str] = {}
    for role in asked:
        left = [name for name in free if name not in found.values()]
        usual = [name for name in left if plain_name(name) in role.names and table.fits(role, name)]
        if role.names[0] in left:
            found[role.setting] = role.names[0]
        elif len(usual) == 1:
            found[role.setting] = usual[0]
    return found


def plain_name(name: str) -> str:
    """Write a name of a column as the usual ones are: in lower case, with underscores."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _by_type(asked: Iterable[Role], table: _Table, free: list[str], found: Mapping[str, str]) -> dict[str, str]:
    """Tell by types and lengths: the one column of its type that is left, or, of two, the one of longer texts."""
    missing = [role for role in asked if role.setting not in found]
    left = [name for name in free if name not in found.values()]
    fitting = {role.setting: [name for name in left if table.fits(role, name)] for role in missing}
    if len(missing) == 1:
        role = missing[0]
        one = left if role is LABELS else fitting[role.setting]  # nearly every type can be that of labels
        return {role.setting: one[0]} if len(one) == 1 and one[0] in fitting[role.setting] else {}
    if len(left) != 2:
        return {}
    first, second = missing
    ordered = sorted(left, key=table.length, reverse=True)
    if len(fitting[first.setting]) == 1:
        ordered.sort(key=lambda name: name not in fitting[first.setting])
    elif table.length(ordered[0]) <= _LONGER * table.length(ordered[1]):
        return {}
    is_possible = ordered[0] in fitting[first.setting] and ordered[1] in fitting[second.setting]
    return {first.setting: ordered[0], second.setting: ordered[1]} if is_possible else {}
