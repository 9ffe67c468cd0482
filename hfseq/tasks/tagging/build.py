"""The parts of `recipes/token_classification.py`: its tokens, its model, and the facts of its card.

Each word has a tag, which tells entities in IOB2 or something of the word itself; the word's first token is measured.
Training texts are cut to `tokenizer.max_length`; no text that is evaluated is, so that every word counts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, cast

import numpy as np
from datasets import Dataset, DatasetDict
from tokenizers import normalizers
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast, TokenClassificationPipeline, pipeline

from ...cards.confusion import Confusion, most_confused
from ...cards.facts import Examples, SeedRun
from ...cards.measure import collect_examples
from ...data.tagged import TaggedTask, tokenize_words
from ...evaluation.entities import Tags, entities, found_entities, found_tags
from ...evaluation.tags import tags_of
from ...models.token_words import word_tables
from ...models.windows.linear_crf import CRFForTokenClassification
from ...recipe.defaults.tagging import LINEAR
from ...recipe.embeddings import fill_embeddings
from ...recipe.publish import run_facts, split_line
from ...recipe.sections import build_model, label_options, token_options
from ...recipe.texts import NO_LIMIT, most_tokens, speed_line, text_facts
from ...tokenization.word_lists import aggregation
from .card import TASK
from .facts import Answer, DecodingFacts, KindScore, Problem, TaggedText, TaggerFacts, WordFacts
from .rivals import simple_taggers
from .settings import TaggingSettings, TokenizerSettings, WordSettings


def problem_of(task: TaggedTask) -> Problem:
    """Name what the tags tell: a key of `TAGGING` in `evaluation/trainer_metrics.py`."""
    return "entities" if task.has_entities else "tags"


def make_tokenizer(rows: Dataset, settings: TokenizerSettings, *, limit: int | None = None) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the words of the training split.

    A tagger reads texts of any length, but for one with learned positions, whose pipeline cuts texts at this `limit`.

    Requests are often published in lower case. Where no word of training has a capital, `Play` would be unknown letter
    by letter, so the tokenizer then writes what it is asked in lower case as well.
    """
    texts = texts_of(rows)
    tokenizer = settings.train(texts, purpose="tagging", max_length=limit)
    if settings.kind == "word_or_characters" and all(text == text.lower() for text in texts):
        backend = tokenizer.backend_tokenizer
        known = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([*known, normalizers.Lowercase()])
    return tokenizer


def make_tokens(task: TaggedTask, tokenizer: PreTrainedTokenizerFast, settings: TokenizerSettings) -> DatasetDict:
    """Turn the words of all splits into ids and labels."""
    tokenize = partial(tokenize_words, tokenizer=tokenizer, names=task.classes.all_names)
    return tokens_of_splits(task.dataset, settings, tokenize)


def tokens_of_splits(
    dataset: DatasetDict, settings: TokenizerSettings, tokenize: Callable[..., Dataset]
) -> DatasetDict:
    """Tokenize all splits; the options for training concern the training split alone."""
    tokens = {}
    for name, rows in dataset.items():
        is_training = name == "train"
        tokens[name] = tokenize(
            rows,
            max_length=settings.max_length if is_training else None,
            label_all_tokens=settings.label_all_tokens and is_training,
        )
    return DatasetDict(tokens)


def words_cut(task: TaggedTask, tokens: DatasetDict) -> float:
    """Return the share of the training words that the model has not seen, since texts were cut."""
    words = sum(map(len, task.dataset["train"]["tokens"][:]))
    return float(sum(tokens["train"]["cut"][:]) / words)


def check_lengths(tokens: DatasetDict, model: Mapping[str, Any]) -> None:
    """Refuse before the training a text, never cut in evaluation, that the learned positions have no place for."""
    limit = most_tokens(model)
    for split, rows in tokens.items():
        longest = max(rows["length"][:])
        if limit is not None and longest > limit:
            cure = f"raise model.max_position_embeddings to {longest} or more, or {NO_LIMIT}"
            long = f"A text of split {split!r} has {longest} tokens"
            raise ValueError(f"{long}, more than the {limit} learned positions of the model: {cure}.")


def texts_of(rows: Dataset) -> list[str]:
    """Write words as texts, with a space between two."""
    return [" ".join(words) for words in rows["tokens"][:]]


def make_model(settings: TaggingSettings, task: TaggedTask, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the tagger of the `model` section for these tags and this vocabulary."""
    if settings.model["type"] == LINEAR:
        chosen = {name: value for name, value in settings.model.items() if name != "type"}
        return CRFForTokenClassification.of(tokenizer, task.classes.names, **chosen)
    model = build_network(TASK, settings, tokenizer, task.classes.names)
    fill_embeddings(model, tokenizer, settings.embeddings, texts_of(task.dataset["train"]))
    return model


def build_network(
    task: str,
    settings: WordSettings,
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    **options: Any,
) -> PreTrainedModel:
    """Build a network of the `model` section that tags words, and give it the spellings that it asks for.

    Args:
        task: The name of the pipeline.
        settings: Those of the recipe.
        tokenizer: Trained already.
        labels: Names of the labels, in the order of their ids.
        **options: Further fields of the config.
    """
    options |= label_options(labels) | token_options(tokenizer)
    tables = word_tables(tokenizer, lowercase=settings.tokenizer.lowercase) if settings.reads_words else None
    if tables is not None:
        options |= tables.sizes()
    model: Any = build_model(task, settings.model, freeze_embeddings=settings.embeddings.freeze, **options)
    if tables is not None:
        model.fill_words(tables)
    return cast(PreTrainedModel, model)


def card_facts(
    settings: TaggingSettings,
    task: TaggedTask,
    split: str,
    folder: Path,
    *,
    tokens: Dataset,
    predictions: np.ndarray,
    run: SeedRun,
    cut: float | None = None,
    decoding: DecodingFacts | None = None,
) -> TaggerFacts:
    """Gather what the card says of the run and of the saved model, loaded back as anybody would load it.

    Args:
        tokens: Those of the evaluated split.
        predictions: The (rows, T) ids of its tags.
        cut: The share of the training words that were cut off.
        decoding: What `choose_decoding` found.
    """
    card, rows = settings.card, task.dataset[split]
    texts, expected = texts_of(rows), task.tags(split)
    predicted = tags_of(predictions, tokens["labels"][:], task.classes.all_names)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    strategy = aggregation(tokenizer)
    # Words of one tag are joined where they are one entity.
    options: dict[str, Any] = {"tokenizer": tokenizer, "device": "cpu"}
    options["aggregation_strategy"] = strategy if task.has_entities else "none"
    pipe = pipeline(TASK, model=str(folder), trust_remote_code=False, **options)
    return TaggerFacts(
        **run_facts(card, pipe.model, folder, run),
        **text_facts(settings, task.dataset, texts, split, pipe),
        tagging=problem_of(task),
        labels=len(task.classes.names),
        words=word_facts(settings.tokenizer, task.dataset, split, tokens, cut),
        aggregation=strategy,
        decoding=decoding,
        kinds=_kinds(task, expected, predicted),
        confusions=_confusions(task, expected, predicted),
        examples=Examples() if not card.shows_rows else _examples(task, rows["tokens"][:], expected, predicted),
        widgets=[_answered(pipe, text) for text in card.ask],
        comparisons=[*simple_taggers(task, split), *card.published()],
    )


def word_facts(
    settings: TokenizerSettings, dataset: DatasetDict, split: str, tokens: Dataset, cut: float | None
) -> WordFacts:
    """Count the words of all splits, and the tokens of the evaluated one."""
    words = {name: sum(map(len, part["tokens"][:])) for name, part in dataset.items()}
    return WordFacts(
        kind=cast(str, settings.kind),
        lowercase=settings.lowercase,
        tokens_per_word=(sum(tokens["length"][:]) - tokens.num_rows) / words[split],  # but the end of each text
        splits=words,
        cut=cut,
    )


def report_lines(facts: TaggerFacts) -> Iterator[str]:
    """Say of the finished model what it answers, how good and how fast it is."""
    for widget in facts.widgets:
        yield f"{widget.text!r} -> " + ", ".join(f"{each.label}: {each.text}" for each in widget.answers)
    yield split_line(facts.data.evaluated_split, facts.runs[0].metrics)
    yield speed_line(facts.speed)


def _kinds(task: TaggedTask, expected: Sequence[Tags], predicted: Sequence[Tags]) -> list[KindScore]:
    found = found_entities(expected, predicted) if task.has_entities else found_tags(expected, predicted)
    return [
        KindScore(kind=kind, expected=count.expected, precision=count.precision, recall=count.recall, f1=count.f1)
        for kind, count in found.items()
    ]


def _confusions(task: TaggedTask, expected: Sequence[Tags], predicted: Sequence[Tags]) -> list[Confusion]:
    names = task.classes.all_names
    ids = {name: index for index, name in enumerate(names)}
    true, told = (np.array([ids[tag] for row in rows for tag in row]) for rows in (expected, predicted))
    return most_confused(names, true, told, few=1)


def _answered(pipe: TokenClassificationPipeline, text: str) -> TaggedText:
    answers = []
    for found in cast(Any, pipe(text)):
        label = found.get("entity_group") or found["entity"]  # entities where words are joined, tokens where not
        part, score = text[found["start"] : found["end"]], round(float(found["score"]), 4)
        answers.append(Answer(label=label, text=part, score=score))
    return TaggedText(text=text, answers=answers)


def _examples(
    task: TaggedTask, rows: Sequence[Sequence[str]], expected: Sequence[Tags], predicted: Sequence[Tags]
) -> Examples:
    tell = _entities_told if task.has_entities else _tags_told
    told, shares = [], []
    for words, *both in zip(rows, expected, predicted, strict=True):
        agree = [one == other for one, other in zip(*both, strict=True)]
        told.append([tell(words, tags, agree) for tags in both])
        shares.append(float(np.mean(agree)))
    texts = [" ".join(words) for words in rows]
    # What is told of two rows of tags can be the same: it names neither the place of an entity nor its prefixes.
    right = [share == 1 for share in shares]
    return collect_examples(texts, [each[0] for each in told], [each[1] for each in told], shares, right=right)


def _entities_told(words: Sequence[str], tags: Tags, agree: Sequence[bool]) -> str:
    return "; ".join(f"{kind}: {' '.join(words[start:end])}" for kind, start, end in entities(tags)) or "none"


def _tags_told(words: Sequence[str], tags: Tags, agree: Sequence[bool]) -> str:
    chosen = [index for index, is_right in enumerate(agree) if not is_right or all(agree)]  # all where none is wrong
    return shorten(" ".join(f"{words[index]}/{tags[index]}" for index in chosen), 200, placeholder=" …")
