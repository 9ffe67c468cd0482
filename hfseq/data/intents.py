"""Words with slots and an intent: into columns `tokens`, `labels` (the slots) and `intent`, then token ids.

Words and slots are read as `tagged.py` reads words and tags, and intents as `text.py` reads labels of texts: from the
Hub, Parquet, JSON or our generator. Rows whose intent is `data.unknown_intent` are no requests: nothing is learnt from
them, and they show how many such texts are answered with no intent. Embedded data have such texts beside them.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from datasets import Dataset, DatasetDict, Value
from transformers import PreTrainedTokenizerFast

from ..evaluation.entities import OUTSIDE, tell_entities
from ..settings import option
from .columns import INTENTS, TAGS, WORDS, find_columns, spelled
from .embedded.chatter import load_chatter
from .sources import cut_splits
from .tagged import TaggedSettings, TaggedTask, tagged_splits, tagged_words, tokenize_words
from .text import Classes, common_feature, find_classes, with_classes

logger = logging.getLogger(__name__)

INTENT: Final = "intent"
_SLOTS: Final = "slots"
_NAMES: Final = "data.intent_names"


@dataclass
class IntentSettings(TaggedSettings):
    """Which words, slots and intents to learn from; `label_column` and `label_names` are those of the slots."""

    intent_column: str | None = option(None, "the column of intents, a name or an integer a row; null: by its name")
    intent_names: list[str] | None = option(None, "all intents, in the order of their ids")
    unknown_intent: str | None = option(
        None, "the intent of rows that are no request: they are measured and never learnt; null: there are none"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        named = [self.text_column, self.label_column, self.intent_column]
        twice = {name for name in named if name is not None and named.count(name) > 1}
        if twice:
            raise ValueError(f"{twice.pop()!r} is named for two of words, slots and intents: each has its own column.")
        if self.intent_names is not None and len(set(self.intent_names)) != len(self.intent_names):
            raise ValueError(f"intent_names={self.intent_names} holds a name twice; each intent needs its own.")


@dataclass(frozen=True)
class IntentTask:
    """Prepared requests, and what a model needs to know of their intents and slots."""

    tagged: TaggedTask  # columns `tokens`, `labels` (the slots) and `intent`
    intents: Classes
    no_requests: dict[str, Dataset] = field(default_factory=dict)  # split -> texts with a column `tokens`

    @property
    def dataset(self) -> DatasetDict:
        """The rows of all splits."""
        return self.tagged.dataset

    @property
    def slots(self) -> Classes:
        """The names of the tags."""
        return self.tagged.classes

    def intents_of(self, split: str) -> list[str]:
        """Return the intents of a split, by name."""
        names = self.intents.all_names
        return [names[index] for index in self.dataset[split][INTENT][:]]


def load_intents(settings: IntentSettings) -> IntentTask:
    """Load words, slots and intents, check every row, and cut a validation split where there is none."""
    splits = tagged_splits(settings)
    find_columns(settings, splits, WORDS, TAGS, INTENTS)
    tagged = tagged_words(splits, settings, intent_column=INTENT)
    if not tell_entities(tagged.classes.all_names):
        odd = next((name for name in tagged.classes.all_names if name != OUTSIDE), OUTSIDE)
        raise ValueError(
            f"data.label_column={settings.label_column!r} holds tags such as {odd!r}, which tell no slots: they are "
            "written as O, B-city, I-city."
        )
    dataset, no_requests = tagged.dataset, dict[str, Dataset]()
    if settings.unknown_intent is not None:
        dataset, no_requests = _parted(dataset, settings.unknown_intent, settings)
    dataset, intents = _with_intents(dataset, settings)
    cut_splits(dataset, settings, settings.max_rows)
    if settings.path is None and settings.name == "embedded":
        no_requests = dict(load_chatter(settings.seed))
    return IntentTask(dataclasses.replace(tagged, dataset=dataset), intents, no_requests)


def _parted(dataset: DatasetDict, unknown: str, settings: IntentSettings) -> tuple[DatasetDict, dict[str, Dataset]]:
    """Part the rows that are no request from the others."""
    requests, others = {}, {}
    for split, rows in dataset.items():
        feature, intents = rows.features[INTENT], rows[INTENT][:]
        names = getattr(feature, "names", None)
        told = [str(names[intent] if names else intent) for intent in intents]
        requests[split] = rows.select([index for index, name in enumerate(told) if name != unknown])
        others[split] = rows.select([index for index, name in enumerate(told) if name == unknown])
    found = {split: rows.num_rows for split, rows in others.items() if rows.num_rows}
    if not found:
        held = sorted({str(name) for name in dataset["train"][INTENT][:1_000]})[:10]
        where = f"data.intent_column={settings.intent_column!r}"
        raise ValueError(f"data.unknown_intent={unknown!r} is the intent of no row; {where} holds {held}.")
    if "train" in found:
        logger.warning("%d rows of train have the intent %r: nothing is learnt from them.", found["train"], unknown)
    for split, rows in requests.items():
        if not rows.num_rows:
            raise ValueError(
                f"Split {split!r} holds only rows of the intent {unknown!r}: there are no requests in it."
            )
    return DatasetDict(requests), {split: others[split] for split in found if split != "train"}


def _with_intents(dataset: DatasetDict, settings: IntentSettings) -> tuple[DatasetDict, Classes]:
    """Name the intents; those that train lacks come behind, see `Classes`."""
    column = f"data.intent_column={settings.intent_column!r}"
    # As rows of texts with labels: where labels are dropped, their words and slots go with them.
    dataset = _renamed(dataset, {"labels": _SLOTS, INTENT: "labels"})
    feature = common_feature(dataset)
    if not INTENTS.fits(feature):
        raise ValueError(f"{column} holds {spelled(feature)}, not one intent a row: a name or an integer.")
    own = dataclasses.replace(
        settings,
        label_column=settings.intent_column,
        label_names=_without(settings.intent_names, settings.unknown_intent),
        intent_column=None,
    )
    if settings.unknown_intent is not None and hasattr(feature, "names"):
        dataset, feature = _by_name(dataset, feature.names)
    try:
        dataset, classes = find_classes(dataset, feature, own, named_in=_NAMES)
    except ValueError as error:
        told = str(error).replace("data.label_column", "data.intent_column")
        raise ValueError(f"Intents: {told.replace('data.label_names', _NAMES)}") from error
    return _renamed(with_classes(dataset, classes), {"labels": INTENT, _SLOTS: "labels"}), classes


def _renamed(dataset: DatasetDict, names: dict[str, str]) -> DatasetDict:
    return DatasetDict({split: rows.rename_columns(names) for split, rows in dataset.items()})


def _by_name(labelled: DatasetDict, names: Sequence[str]) -> tuple[DatasetDict, Any]:
    """Write ids as names, so that the ids of the intents can be others than those of the data."""
    found = {}
    for split, rows in labelled.items():
        told = [names[label] for label in rows["labels"][:]]
        found[split] = rows.remove_columns("labels").add_column("labels", told, feature=Value("string"))
    return DatasetDict(found), found["train"].features["labels"]


def _without(names: Sequence[str] | None, unknown: str | None) -> list[str] | None:
    return None if names is None else [name for name in names if name != unknown]


def tokenize_intents(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerFast,
    slot_names: Sequence[str],
    *,
    max_length: int | None = None,
    label_all_tokens: bool = False,
) -> Dataset:
    """Turn requests into `input_ids`, `labels` (the intents), `slot_labels`, `length` and `cut`; see `tokenize_words`.

    Args:
        dataset: Rows of words, slots and intents, as `load_intents` returns them.
        slot_names: Names of the slots, in the order of their ids.
    """
    options: dict[str, Any] = {"max_length": max_length, "label_all_tokens": label_all_tokens}
    tokens = tokenize_words(dataset.select_columns(["tokens", "labels"]), tokenizer, slot_names, **options)
    tokens = tokens.rename_column("labels", "slot_labels")
    return tokens.add_column("labels", dataset[INTENT][:])


def tokenize_no_requests(dataset: Dataset, tokenizer: PreTrainedTokenizerFast, max_length: int | None) -> Dataset:
    """Turn texts that are no request into `input_ids`."""
    encoded = tokenizer(
        dataset["tokens"][:], is_split_into_words=True, truncation=max_length is not None, max_length=max_length
    )
    return Dataset.from_dict({"input_ids": encoded["input_ids"]})
