"""`hfseq predict`: texts of the command line, a file or stdin -> a line of JSON each; of a captioner, pictures.

A file .jsonl has an object a line: `{"text": ...}`, and for a model of pairs `{"text": ..., "text_pair": ...}`. For a
model of forecasts a text is a series in JSON: `[12.5, 17.0]`, or `{"sales": [12.5, 17.0]}`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .models import CAPTIONS, INTENT_SLOTS, SERIES, TREES, WORD_VECTORS, compares_two, load_pipeline

if TYPE_CHECKING:
    from transformers import Pipeline

    from ..cards.measure import Asked

_PAIR = {"text", "text_pair"}
_AT_ONCE = 256  # texts that are read before they are answered
BATCH = 32


def run(options: argparse.Namespace) -> None:
    """Print an answer to each text as soon as its batch is done."""
    if options.texts and options.file:
        raise ValueError(f"texts and --file {options.file} are both given: leave one of them out.")
    pipe = load_pipeline(options.model)
    for answer in answers(pipe, _texts(options)):
        print(json.dumps(answer, ensure_ascii=False), flush=True)


def answers(pipe: "Pipeline", texts: "Iterable[Asked]") -> Iterator[dict[str, Any]]:
    """Answer texts in batches: `text`, of pairs `text_pair` too, and what the task tells of it."""
    stream = iter(texts)
    answer = _ANSWERS[pipe.task]
    while batch := list(islice(stream, _AT_ONCE)):
        _check_pairs(pipe, batch)
        for text, found in zip(batch, answer(pipe, batch), strict=True):
            yield {**({"text": text} if isinstance(text, str) else text), **found}


def _texts(options: argparse.Namespace) -> "Iterator[Asked]":
    if options.texts:
        yield from options.texts
    elif options.file and Path(options.file).suffix == ".jsonl":
        yield from _objects(Path(options.file))
    elif options.file:
        with Path(options.file).open(encoding="utf-8") as lines:
            yield from (line.rstrip("\r\n") for line in lines)
    else:
        yield from (line.rstrip("\r\n") for line in sys.stdin)


def _batch_size(pipe: Any, texts: Sequence["Asked"], **options: Any) -> int:
    from ..evaluation.batches import batch_size_for

    return batch_size_for(pipe.tokenizer, texts, BATCH, **options)


def _objects(path: Path) -> "Iterator[Asked]":
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number} is no JSON: {error}.") from error
            is_texts = isinstance(row, dict) and all(isinstance(text, str) for text in row.values())
            if not is_texts or row.keys() not in ({"text"}, _PAIR):
                wanted = '{"text": ...} or {"text": ..., "text_pair": ...}'
                raise ValueError(f"{path}, line {number} must be {wanted} with texts, not {line.strip()[:100]}.")
            yield row if row.keys() == _PAIR else row["text"]


def _check_pairs(pipe: Any, texts: "list[Asked]") -> None:
    """Refuse single texts where a model compares two; each task but labels takes single ones alone."""
    compares = compares_two(pipe)
    for text in texts:
        if compares and isinstance(text, str):
            cure = 'give --file PAIRS.jsonl with a {"text": ..., "text_pair": ...} a line'
            raise ValueError(f"This model compares two texts, but {text!r} is one: {cure}.")
        if pipe.task != "text-classification" and not isinstance(text, str):
            raise ValueError(f"A model of the task {pipe.task} takes one text, not {text}: leave text_pair out.")


def _labels(pipe: Any, texts: "list[Asked]") -> Iterator[dict[str, Any]]:
    kind = pipe.model.config.problem_type
    from ..tokenization.limits import reading_options

    options = reading_options(pipe.tokenizer)
    size = _batch_size(pipe, texts, **options)
    for found in pipe(texts, top_k=None, batch_size=size, **options):
        if kind == "regression":
            yield {"score": found[0]["score"]}
        elif kind == "multi_label_classification":
            yield {"labels": [each for each in found if each["score"] > 0.5]}
        else:
            yield max(found, key=lambda each: each["score"])


def _entities(pipe: Any, texts: list[str]) -> Iterator[dict[str, Any]]:
    from ..evaluation.entities import tell_entities
    from ..tokenization.word_lists import aggregation

    joins = tell_entities(list(pipe.model.config.id2label.values()))
    options = {"aggregation_strategy": aggregation(pipe.tokenizer) if joins else "none"}
    for text, found in zip(texts, pipe(texts, batch_size=_batch_size(pipe, texts), **options), strict=True):
        told = [
            {
                "label": each.get("entity_group") or each["entity"],
                "text": text[each["start"] : each["end"]],
                "start": each["start"],
                "end": each["end"],
                "score": float(each["score"]),
            }
            for each in found
        ]
        yield {"entities" if joins else "tags": told}


def _intents(pipe: Any, texts: list[str]) -> Iterator[dict[str, Any]]:
    yield from pipe(texts, batch_size=_batch_size(pipe, texts))


def _trees(pipe: Any, texts: list[str]) -> Iterator[dict[str, Any]]:
    for found in pipe(texts, batch_size=_batch_size(pipe, texts)):
        yield {name: found[name] for name in ("label", "score", "brackets")}


def _continued(pipe: Any, texts: list[str]) -> Iterator[dict[str, Any]]:
    for text in texts:  # prompts differ in length, and not every tokenizer has a padding token
        yield {"generated": pipe(text, return_full_text=False)[0]["generated_text"]}


def _written(pipe: Any, texts: list[str]) -> Iterator[dict[str, Any]]:
    for found in pipe(texts, batch_size=_batch_size(pipe, texts)):
        # A pipeline of several answers to each text gives lists; the first is the best.
        yield {"generated": (found[0] if isinstance(found, list) else found)["generated_text"]}


def _described(pipe: Any, pictures: list[str]) -> Iterator[dict[str, Any]]:
    for found in pipe(pictures, batch_size=BATCH):
        yield {"caption": found[0]["generated_text"]}


def _filled(pipe: Any, texts: list[str]) -> Iterator[dict[str, Any]]:
    mask = pipe.tokenizer.mask_token
    for text in texts:
        if text.count(mask) != 1:
            raise ValueError(f"{text!r} needs {mask} once: that is what the model fills in.")
        yield {"answers": [{"word": each["token_str"].strip(), "score": each["score"]} for each in pipe(text)]}


def _nearest(pipe: Any, texts: list[str]) -> Iterator[dict[str, Any]]:
    for word in texts:
        yield {"nearest": pipe(word)}


def _forecasts(pipe: Any, texts: list[str]) -> Iterator[dict[str, Any]]:
    """Read each text as JSON: a series, or `{"series": ..., "known": ...}`."""
    for text in texts:
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{text[:60]!r} is no JSON: write a series as [12.5, 17.0] or {{...}} ({error}). A table is read in "
                "Python: pipeline('series-forecasting', model=...)(pandas.read_csv(...))."
            ) from error
        is_pair = isinstance(given, dict) and given.keys() == {"series", "known"}
        yield pipe(given["series"], known=given["known"]) if is_pair else pipe(given)


_ANSWERS: dict[str, Callable[[Any, Any], Iterator[dict[str, Any]]]] = {
    "text-classification": _labels,
    "token-classification": _entities,
    INTENT_SLOTS: _intents,
    TREES: _trees,
    "text-generation": _continued,
    "text2text-generation": _written,
    "fill-mask": _filled,
    CAPTIONS: _described,
    WORD_VECTORS: _nearest,
    SERIES: _forecasts,
}
