"""Words with tags from the Hub, local files or our generator: into columns `tokens` and `labels`, then token ids.

Tables (Parquet, JSON) have a list of words and a list of tags in each row; files of CoNLL are read by `conll.py`.
Entities are brought to IOB2, the writing that pipelines read: tags in IOB1, IOBES or BILOU tell the same entities.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import PreTrainedTokenizerFast

from ..evaluation.entities import OUTSIDE, in_iob2, kinds, strays, tell_entities
from ..models.base import IGNORED
from ..settings import option
from ..tokenization.word_lists import Words, cut_words, encode_words
from .columns import TAGS, WORDS, find_columns, is_text, spelled
from .conll import CONLL_FORMATS, sentences
from .sources import FORMATS, column_values, cut_splits, load_splits, take_columns
from .text import Classes, DataSettings, common_feature, find_classes, is_list, with_classes
from .unseen_labels import UnseenLabels

logger = logging.getLogger(__name__)

_TOKENS, _LABELS, _CUT = "tokens", "labels", "cut"
_FORMATS = {**{suffix: FORMATS[suffix] for suffix in (".parquet", ".json", ".jsonl")}, **CONLL_FORMATS}


@dataclass
class TaggedSettings(DataSettings):
    """Which words and tags to learn from."""

    text_column: str | None = option(None, "the column of words, a list a row; null: found by its name")
    label_column: str | None = option(
        None, "the column of tags: a list of names or integers a row, one for each word; null: found by its name"
    )
    unseen_labels: UnseenLabels = option(
        "refuse", "tags that train never shows, in other splits: refuse the data, drop their rows, or count as wrong"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_pair_column is not None:
            given = f"text_pair_column={self.text_pair_column!r}"
            raise ValueError(f"{given} is for labels of two texts; a tagger reads one: leave it out.")


@dataclass(frozen=True)
class TaggedTask:
    """Prepared words, and what a model needs to know of their tags."""

    dataset: DatasetDict  # columns `tokens` and `labels`
    classes: Classes

    @property
    def has_entities(self) -> bool:
        """Whether the tags tell entities (in IOB2), rather than something of each word."""
        return tell_entities(self.classes.all_names)

    def tags(self, split: str) -> list[list[str]]:
        """Return the rows of tags of a split, by name."""
        names = self.classes.all_names
        return [[names[index] for index in row] for row in self.dataset[split][_LABELS][:]]


def load_tagged(settings: TaggedSettings) -> TaggedTask:
    """Load words and tags, check every row, and cut a validation split where there is none."""
    splits = tagged_splits(settings)
    find_columns(settings, splits, WORDS, TAGS)
    task = tagged_words(splits, settings)
    cut_splits(task.dataset, settings, settings.max_rows)
    return task


def tagged_splits(settings: TaggedSettings) -> dict[str, Dataset]:
    """Read the rows of every split, with the columns that they have."""
    return {split: sentences(rows, split) for split, rows in load_splits(settings, _FORMATS).items()}


def tagged_words(splits: Mapping[str, Dataset], settings: TaggedSettings, **others: str) -> TaggedTask:
    """Check the words and tags of every row, and tell what the tags are.

    Args:
        **others: Further columns to keep: field of the settings that names it -> its new name.
    """
    found = {split: _words_and_tags(rows, split, settings, **others) for split, rows in splits.items()}
    dataset = DatasetDict(found)
    feature = common_feature(dataset)
    if not isinstance(feature, List):
        raise ValueError(f"data.label_column={settings.label_column!r} holds {spelled(feature)}, not lists of tags.")
    if settings.unseen_labels == "refuse" and is_text(feature.feature):  # a slip is told as what it is
        names = {tag for rows in dataset.values() for tags in rows[_LABELS][:] for tag in tags if tag}
        _check_strays(dataset, sorted(names), settings)
    dataset, classes = find_classes(dataset, feature.feature, settings, _is_of_a_kind)
    classes = _with_insides(classes)
    dataset = with_classes(dataset, classes, List)
    if tell_entities(classes.all_names):
        dataset, classes = _with_iob2(dataset, classes)
    else:
        _check_strays(dataset, classes.all_names, settings)
    return TaggedTask(dataset, classes)


def _is_of_a_kind(tag: str, names: Sequence[str]) -> bool:
    """Tell whether a tag is another prefix of a kind of entities among these: I-PER, where there is only B-PER."""
    return tell_entities(names) and tell_entities([*names, tag]) and set(kinds([tag])) <= set(kinds(names))


def _check_strays(dataset: DatasetDict, names: list[str], settings: TaggedSettings) -> None:
    """Refuse one odd tag among tags that tell entities, which would turn all of them into tags of single words."""
    odd = strays(names)
    if not odd or OUTSIDE not in names or 2 * len(odd) >= len(names):
        return
    for split, rows in dataset.items():
        wanted = odd[0] if is_text(rows.features[_LABELS].feature) else names.index(odd[0])
        for number, row in enumerate(rows[_LABELS][:]):
            if wanted in row:
                good = next(name for name in names if tell_entities([name]))
                held = f"data.label_column={settings.label_column!r} holds tags such as O and {good}, and {odd[0]!r}"
                where = f"split {split!r}, row {number}, word {rows[number][_TOKENS][row.index(wanted)]!r}"
                cure = "Is it a slip, a header line, or another column?"
                raise ValueError(f"{held}, which tells no entity ({where}). {cure}")


def _words_and_tags(rows: Dataset, split: str, settings: TaggedSettings, **others: str) -> Dataset:
    rows = take_columns(rows, split, settings, text_column=_TOKENS, label_column=_LABELS, **others)
    words = rows.features[_TOKENS]
    if not (isinstance(words, List) and is_text(words.feature)):
        held = f"data.text_column={settings.text_column!r} holds {spelled(words)}"
        raise ValueError(f"Split {split!r}: {held}, not lists of words.")
    _check_rows(rows, split, settings)
    return _with_words(rows, split)


def _check_rows(rows: Dataset, split: str, settings: TaggedSettings) -> None:
    """Refuse a row that has more words than tags or fewer, and a word that is blank."""
    words, tags = column_values(rows, _TOKENS), column_values(rows, _LABELS)
    if not is_list(tags):
        return  # what holds no lists is refused for all splits together
    counts = pc.list_value_length(words), pc.list_value_length(tags)
    row = pc.index(pc.not_equal(*counts), True).as_py()
    if row >= 0:
        own, begin = f"{counts[0][row]} words ({settings.text_column!r})", words[row].as_py()[:5]
        own += f" and {counts[1][row]} tags ({settings.label_column!r})"
        raise ValueError(f"Split {split!r}, row {row} has {own}: each word needs one tag. It begins {begin}.")
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(pc.list_flatten(words)), ""), True)
    place = pc.index(blank, True).as_py()
    if place >= 0:
        row = pc.list_parent_indices(words)[place].as_py()
        fault = f"row {row} holds a word that is empty or blank: {words[row].as_py()}"
        raise ValueError(f"Split {split!r}, {fault}. Remove it and its tag.")


def _with_words(rows: Dataset, split: str) -> Dataset:
    """Leave out the rows of no words: there is nothing in them to learn or to measure."""
    kept = pc.indices_nonzero(pc.list_value_length(column_values(rows, _TOKENS))).to_pylist()
    if len(kept) == rows.num_rows:
        return rows
    logger.warning("Split %r: %d of %d rows hold no word and are left out.", split, len(rows) - len(kept), len(rows))
    if not kept:
        raise ValueError(f"Split {split!r} holds no word at all; give rows with words.")
    return rows.select(kept)


def _with_iob2(dataset: DatasetDict, classes: Classes) -> tuple[DatasetDict, Classes]:
    names = classes.all_names
    rows = {split: [[names[index] for index in row] for row in part[_LABELS][:]] for split, part in dataset.items()}
    written = {split: [in_iob2(tags) for tags in part] for split, part in rows.items()}
    if written == rows and {OUTSIDE, *names} <= {OUTSIDE, *_pairs(names)}:
        return dataset, classes
    logger.warning("The tags were not in IOB2, which pipelines read: they have been rewritten, for the same entities.")
    own = _pairs(classes.names)
    classes = Classes([OUTSIDE, *own], [tag for tag in _pairs(classes.unseen) if tag not in own])
    found = {}
    for split, part in dataset.items():
        features = Features({**part.features, _LABELS: List(ClassLabel(names=classes.of(split)))})
        columns = {name: part[name][:] for name in features}
        found[split] = Dataset.from_dict({**columns, _LABELS: written[split]}, features)
    return DatasetDict(found), classes


def _with_insides(classes: Classes) -> Classes:
    """Give the model I-X for each B-X: a word may be several tokens, and the later ones are inside its entity."""
    if not tell_entities(classes.all_names):
        return classes
    insides = [f"I-{name[2:]}" for name in classes.names if name.startswith("B-")]
    return Classes([*classes.names, *(name for name in insides if name not in classes.names)], classes.unseen)


def _pairs(names: Sequence[str]) -> list[str]:
    return [f"{prefix}-{kind}" for kind in kinds(names) for prefix in "BI"]


def tokenize_words(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerFast,
    names: Sequence[str],
    *,
    max_length: int | None = None,
    label_all_tokens: bool = False,
) -> Dataset:
    """Turn words and their tags into `input_ids`, `labels`, `length`, and `cut`, the number of words cut off.

    The first token of a word has its tag; -100 stands at all others, at special tokens too. A word that the tokenizer
    leaves nothing of (a lone control character) is read as its unknown token, so that each word has a place.

    Args:
        dataset: Rows of words and tags, as `load_tagged` returns them.
        tokenizer: One that sees where the words of a list end, see `hfseq.tokenization`.
        names: Names of the tags, in the order of their ids.
        max_length: Longer texts are cut to so many tokens, special tokens included, after a warning.
        label_all_tokens: Tag the other tokens of a word as well: inside the entity that its first one begins, or as
            the first one. For training only, as measures count words.
    """
    later = _tags_of_later_tokens(names) if label_all_tokens else [IGNORED] * len(names)
    number = Value("int64")
    columns = {"input_ids": List(Value("int32")), "labels": List(number), "length": number, _CUT: number}
    tokens = dataset.map(
        _tokenize,
        batched=True,
        fn_kwargs={"tokenizer": tokenizer, "max_length": max_length, "later": later},
        remove_columns=dataset.column_names,
        features=Features(columns),
        desc="Tokenizing",
    )
    if lost := sum(tokens[_CUT][:]):
        warning = "%d of %d words are left out with their tags: the texts are cut to %d tokens."
        logger.warning(warning, lost, sum(map(len, dataset[_TOKENS][:])), max_length)
    return tokens


def _tags_of_later_tokens(names: Sequence[str]) -> list[int]:
    """Return what a word's later tokens are tagged with, for each tag of its first one."""
    ids = {name: index for index, name in enumerate(names)}
    if not tell_entities(names):
        return list(ids.values())
    return [ids.get(f"I-{name[2:]}", IGNORED) if name.startswith("B-") else index for name, index in ids.items()]


def _tokenize(
    batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerFast, max_length: int | None, later: list[int]
) -> dict[str, list[Any]]:
    made: dict[str, list[Any]] = {"input_ids": [], "labels": [], "length": [], _CUT: []}
    rows = encode_words(batch[_TOKENS], tokenizer)
    for (ids, words), tags in zip(rows, batch[_LABELS], strict=True):
        ids, words = cut_words(ids, words, max_length)
        made["input_ids"].append(ids)
        made["labels"].append(list(_labels(words, tags, later)))
        made["length"].append(len(ids))
        made[_CUT].append(len(tags) - len({word for word in words if word is not None}))
    return made


def _labels(words: Words, tags: Sequence[int], later: Sequence[int]) -> Iterator[int]:
    before = None
    for word in words:
        if word is None:
            yield IGNORED
        else:
            yield tags[word] if word != before else later[tags[word]]
        before = word
