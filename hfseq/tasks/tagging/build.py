"""The parts of the tagging recipe: its settings, its model, and the facts of its card.

`recipes/token_classification.py` strings them together in eight steps. Each word has a tag, which tells entities in
IOB2 or something of the word itself; the word's first token is the one that is measured. Training texts are cut to
`tokenizer.max_length`; no text that is evaluated is, so that every word counts.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, Final, Literal, cast

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TokenClassificationPipeline,
    pipeline,
)

from ...cards.facts import Comparison, DataFacts, Examples, SeedRun
from ...cards.measure import collect_examples, environment, measure_speed, model_size_mb
from ...data.tagged import TaggedSettings, TaggedTask, tokenize_words
from ...data.vectors import EmbeddingSettings
from ...evaluation.entities import Tags, entities, found_entities, found_tags
from ...evaluation.tags import score_tags, tags_of
from ...evaluation.trainer_metrics import TAGGING
from ...recipe.publish import HubSettings
from ...registry import FAMILIES
from ...settings import fields_of
from ...tokenization import train_tokenizer, unknown_rate
from ...training.arguments import SequenceTrainingArguments
from ..text_classification.build import CardSettings, architecture, fill_embeddings, most_tokens
from .card import TASK
from .facts import Answer, KindScore, TaggedText, TaggerFacts, WordFacts

_FILLED_IN = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "freeze_embeddings", "pooling")
_FROM_TRANSFORMERS = tuple(item.name for item in dataclasses.fields(PreTrainedConfig))
_SPEED_TEXTS = 512
_SHOWN: Final = 200  # characters of the tags of an example

TAGGERS = {name: family for name, family in FAMILIES.items() if TASK in family.heads and family.backbone is not None}
"""The families whose taggers are trained by gradient: a hidden Markov model counts, and has no body under its head."""


@dataclass
class WordTokens:
    """How words become tokens, see `train_tokenizer`."""

    kind: Literal["word", "wordpiece", "unigram", "bpe", "whitespace"] = field(
        default="word", metadata={"help": "what a token is; the kinds that see where the words of a list end"}
    )
    vocab_size: int = field(default=10_000, metadata={"help": "most entries, special tokens included"})
    min_frequency: int | None = field(
        default=None, metadata={"help": "rarer words or merges are left out; null: 2 (unigram has no such threshold)"}
    )
    lowercase: bool = field(default=False, metadata={"help": "lower-case the words; capitals tell names"})
    max_length: int = field(
        default=128, metadata={"help": "longer training texts are cut to so many tokens; evaluated ones are not"}
    )
    label_all_tokens: bool = field(
        default=True,
        metadata={"help": "train on all tokens of a word, as a pipeline asks all; false: on its first one alone"},
    )

    def __post_init__(self) -> None:
        """Refuse what would leave a text without a word."""
        if self.max_length < 2:
            raise ValueError(f"max_length={self.max_length} must be at least 2: a word and the end of the text.")


@dataclass
class TaggingSettings:
    """All settings of the recipe, a section each."""

    data: TaggedSettings
    card: CardSettings
    tokenizer: WordTokens = field(default_factory=WordTokens)
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    model: dict[str, Any] = fields_of(
        {name: family.config for name, family in TAGGERS.items()}, without=(*_FILLED_IN, *_FROM_TRANSFORMERS)
    )
    training: dict[str, Any] = fields_of(SequenceTrainingArguments)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint in training.output_dir"})


def problem_of(task: TaggedTask) -> Literal["entities", "tags"]:
    """Name what the tags tell: a key of `TAGGING`."""
    return "entities" if task.has_entities else "tags"


def make_tokenizer(rows: Dataset, settings: WordTokens) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the words of the training split. It sets no limit: a tagger reads texts of any length."""
    return train_tokenizer(
        texts_of(rows),
        settings.kind,
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_frequency,
        lowercase=settings.lowercase,
    )


def make_tokens(task: TaggedTask, tokenizer: PreTrainedTokenizerFast, settings: WordTokens) -> DatasetDict:
    """Turn the words of all splits into ids and labels; the options for training concern the training split alone."""
    tokens = {}
    for name, rows in task.dataset.items():
        is_training = name == "train"
        tokens[name] = tokenize_words(
            rows,
            tokenizer,
            task.label_names,
            max_length=settings.max_length if is_training else None,
            label_all_tokens=settings.label_all_tokens and is_training,
        )
    return DatasetDict(tokens)


def check_lengths(tokens: DatasetDict, model: Mapping[str, Any]) -> None:
    """Refuse before the training a text that the `model` section's learned positions have no place for.

    No text that is evaluated is cut, so that it is the data that say how many positions it takes.
    """
    limit = most_tokens(model)
    for split, rows in tokens.items():
        longest = max(rows["length"][:])
        if limit is not None and longest > limit:
            raise ValueError(
                f"A text of split {split!r} has {longest} tokens, more than the {limit} learned positions of the "
                f"model: raise model.max_position_embeddings to {longest} or more, or take "
                "model.position_embedding_type=rotary or sinusoidal, which have no such limit."
            )


def texts_of(rows: Dataset) -> list[str]:
    """Write words as texts, with a space between two."""
    return [" ".join(words) for words in rows["tokens"][:]]


def make_model(settings: TaggingSettings, task: TaggedTask, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the tagger of the `model` section for these tags and this vocabulary."""
    options = {
        **settings.model,
        "freeze_embeddings": settings.embeddings.freeze,
        "id2label": dict(enumerate(task.label_names)),
        "label2id": {name: index for index, name in enumerate(task.label_names)},
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    family = FAMILIES[options.pop("type")]
    model = family.heads[TASK](family.config(**options))
    if settings.embeddings.from_pretrained is not None:
        fill_embeddings(model, tokenizer, settings.embeddings.from_pretrained, settings.embeddings.format)
    return model


def card_facts(
    settings: TaggingSettings,
    task: TaggedTask,
    tokens: Dataset,
    split: str,
    folder: Path,
    *,
    predictions: np.ndarray,
    run: SeedRun,
    command: str,
) -> TaggerFacts:
    """Gather what the card says: from the settings, from the run, and measured on the saved model.

    Args:
        settings: Of the run.
        task: The data.
        tokens: The split that was evaluated, as `make_tokens` made it.
        split: Its name.
        folder: The saved model; it is loaded back on the CPU, as anybody would load it.
        predictions: (rows, T) ids of tags on that split.
        run: Seed, metrics and minutes.
        command: The launch line.
    """
    card, rows = settings.card, task.dataset[split]
    texts, expected = texts_of(rows), task.tags(split)
    predicted = tags_of(predictions, tokens["labels"][:], task.label_names)
    pipe = pipeline(
        TASK, model=str(folder), device="cpu", aggregation_strategy=_aggregation(task), trust_remote_code=False
    )
    model, tokenizer = pipe.model, cast(PreTrainedTokenizerFast, pipe.tokenizer)
    return TaggerFacts(
        model_id=card.model_id,
        summary=card.summary,
        tagging=problem_of(task),
        labels=len(task.label_names),
        language=card.language,
        license=card.license,
        parameters=model.num_parameters(),
        file_mb=model_size_mb(folder),
        architecture=dataclasses.replace(architecture(model, settings.tokenizer.max_length), pooling=None),
        data=DataFacts(
            name=card.data_name,
            license=card.data_license,
            domain=card.data_domain,
            splits={name: part.num_rows for name, part in task.dataset.items()},
            evaluated_split=split,
            vocabulary_size=model.config.vocab_size,
            unknown_rate=unknown_rate(tokenizer, texts),
            hub_id=settings.data.hub_id,
            url=card.data_url,
            restriction=card.data_restriction,
        ),
        words=_word_facts(settings.tokenizer, task, tokens, split),
        runs=[run],
        kinds=_kinds(task, expected, predicted),
        speed=measure_speed(pipe, texts[:_SPEED_TEXTS]),
        environment=environment(),
        command=command,
        examples=Examples() if card.data_restriction else _examples(task, rows["tokens"][:], expected, predicted),
        widgets=[_answered(pipe, text) for text in card.ask],
        comparisons=[_baseline(task, split), *(Comparison(**row) for row in card.comparisons)],
        pretrained=_pretrained(settings.embeddings),
        limits=card.limits,
        citations=card.citations,
        license_name=card.license_name,
        license_link=card.license_link,
    )


def _aggregation(task: TaggedTask) -> Literal["simple", "none"]:
    """How a pipeline puts tokens together; joining words of the same tag makes sense for entities alone."""
    return "simple" if task.has_entities else "none"


def _pretrained(embeddings: EmbeddingSettings) -> str | None:
    return None if embeddings.from_pretrained is None else Path(embeddings.from_pretrained).name


def _word_facts(settings: WordTokens, task: TaggedTask, tokens: Dataset, split: str) -> WordFacts:
    splits = {name: sum(map(len, rows["tokens"][:])) for name, rows in task.dataset.items()}
    added = tokens.num_rows  # the end of each text
    return WordFacts(
        kind=settings.kind,
        lowercase=settings.lowercase,
        tokens_per_word=(sum(tokens["length"][:]) - added) / splits[split],
        splits=splits,
    )


def _kinds(task: TaggedTask, expected: Sequence[Tags], predicted: Sequence[Tags]) -> list[KindScore]:
    found = found_entities(expected, predicted) if task.has_entities else found_tags(expected, predicted)
    return [
        KindScore(kind=kind, expected=count.expected, precision=count.precision, recall=count.recall, f1=count.f1)
        for kind, count in found.items()
    ]


def _answered(pipe: TokenClassificationPipeline, text: str) -> TaggedText:
    """Ask the pipeline, which gives entities where they are joined and tokens where not."""
    answers: list[dict[str, Any]] = cast(Any, pipe(text))
    return TaggedText(
        text=text,
        answers=[
            Answer(
                label=each["entity_group"] if "entity_group" in each else each["entity"],
                text=text[each["start"] : each["end"]],
                score=round(float(each["score"]), 4),
            )
            for each in answers
        ],
    )


def _examples(
    task: TaggedTask, rows: Sequence[Sequence[str]], expected: Sequence[Tags], predicted: Sequence[Tags]
) -> Examples:
    tell = _entities_told if task.has_entities else _tags_told
    told = [tell(words, *tags) for words, *tags in zip(rows, expected, predicted, strict=True)]
    shares = [
        float(np.mean([a == b for a, b in zip(*tags, strict=True)])) for tags in zip(expected, predicted, strict=True)
    ]
    texts = [" ".join(words) for words in rows]
    # What is told of two rows of tags can be the same: it names neither the place of an entity nor its prefixes.
    right = [share == 1 for share in shares]
    return collect_examples(texts, [each[0] for each in told], [each[1] for each in told], shares, right=right)


def _entities_told(words: Sequence[str], expected: Tags, predicted: Tags) -> tuple[str, str]:
    """Write the entities of a row, those expected and those predicted."""
    expected_text, predicted_text = (
        "; ".join(f"{kind}: {' '.join(words[start:end])}" for kind, start, end in entities(tags)) or "none"
        for tags in (expected, predicted)
    )
    return expected_text, predicted_text


def _tags_told(words: Sequence[str], expected: Tags, predicted: Tags) -> tuple[str, str]:
    """Write the words whose tag is wrong with both tags; all words where none is."""
    wrong = [index for index, tag in enumerate(expected) if tag != predicted[index]] or range(len(words))
    expected_text, predicted_text = (
        shorten(" ".join(f"{words[index]}/{tags[index]}" for index in wrong), _SHOWN, placeholder=" …")
        for tags in (expected, predicted)
    )
    return expected_text, predicted_text


def _baseline(task: TaggedTask, split: str) -> Comparison:
    """A system that reads no word but the one it tags, measured in this run: each word's most frequent tag."""
    counts: dict[str, Counter[str]] = {}
    for words, tags in zip(task.dataset["train"]["tokens"][:], task.tags("train"), strict=True):
        for word, tag in zip(words, tags, strict=True):
            counts.setdefault(word, Counter())[tag] += 1
    commonest = sum(counts.values(), Counter()).most_common(1)[0][0]
    best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    answers = [[best.get(word, commonest) for word in words] for words in task.dataset[split]["tokens"][:]]
    metric = TAGGING[problem_of(task)][0]
    return Comparison(
        name="Most frequent tag of each word",
        metric=metric,
        value=score_tags(metric, task.tags(split), answers),
        source="measured in the same run",
    )
