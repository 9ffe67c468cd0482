"""Systems that say how alike two sentences are, and the rank correlation of what they say with what people said.

    word overlap, TF-IDF  the simplest peers
    an encoder            the cosine of the vectors that `hfseq.encode` gives the two

What a system has to know of many sentences (TF-IDF its weights, SIF its common direction) is taken from the train
split, never from the pairs that are scored.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...cards.measure import cpu_timed, one_thread
from ...cards.table import markdown_table
from ...evaluation.scores import compute_score
from ...recipe.likeness import Alike, tfidf_cosine, word_overlap
from ...retrieval.encode import common_direction, encode, with_tokenizer
from .settings import CompareSettings

Loaded: TypeAlias = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@dataclass(kw_only=True)
class Row:
    """One system, and what it reached."""

    name: str
    is_peer: bool  # whether it is one of the simplest systems, which need no model
    spearman: float
    ms_per_sentence: float  # of one CPU core, with all that is done for the pairs, loading and fitting left out


def peer_rows(reference: list[str], pairs: Dataset) -> Iterator[Row]:
    """Measure the simplest systems."""
    yield _measured("word overlap", word_overlap, pairs, is_peer=True)
    yield _measured("TF-IDF cosine", tfidf_cosine(reference), pairs, is_peer=True)


def encoder_rows(settings: CompareSettings, reference: list[str], pairs: Dataset) -> Iterator[Row]:
    """Measure the cosines of the vectors of each model."""
    loaded: dict[str, Loaded] = {}  # a model that is there under several names is loaded once
    for name, encoder in settings.encoders.items():
        source = encoder["model"]
        if source not in loaded:
            loaded[source] = _load(name, source)
        options: dict[str, Any] = {key: value for key, value in encoder.items() if key != "model"}
        options |= {"batch_size": settings.batch_size, "normalize": True}
        yield _measured(name, _cosines(*loaded[source], options, reference), pairs, is_peer=False)


def reference_texts(train: Dataset) -> list[str]:
    """Return the sentences of the train split, each once."""
    return list(dict.fromkeys([*train["sentence1"][:], *train["sentence2"][:]]))


def similarity_table(rows: Sequence[Row]) -> str:
    """Write the rows as a table in Markdown, the best first."""
    titles = ["system", "Spearman x 100", "ms a sentence"]
    best_first = sorted(rows, key=lambda row: -row.spearman)
    return markdown_table(
        titles, [[row.name, f"{100 * row.spearman:.1f}", f"{row.ms_per_sentence:.3f}"] for row in best_first]
    )


def behind_lines(rows: Sequence[Row]) -> list[str]:
    """Say which models are behind the best of the simplest systems."""
    best = max((row for row in rows if row.is_peer), key=lambda row: row.spearman)
    behind = [row.name for row in rows if not row.is_peer and row.spearman < best.spearman]
    return [f"behind {best.name}, which needs no model: {', '.join(behind)}"] if behind else []


def save_similarity(rows: Sequence[Row], folder: Path, command: str, **more: Any) -> None:
    """Write `similarity.json` and `similarity.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"command": command, **more, "rows": [asdict(row) for row in rows]}
    (folder / "similarity.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "similarity.md").write_text(similarity_table(rows) + "\n", encoding="utf-8")


def _measured(name: str, alike: Alike, pairs: Dataset, *, is_peer: bool) -> Row:
    first, second = pairs["sentence1"][:], pairs["sentence2"][:]
    with one_thread():
        said, seconds = cpu_timed(lambda: alike(first, second))
    spearman = compute_score("spearman", said, pairs["score"][:])
    return Row(name=name, is_peer=is_peer, spearman=spearman, ms_per_sentence=1000 * seconds / (2 * len(first)))


def _load(name: str, source: str) -> Loaded:
    try:
        return with_tokenizer(source)
    except (OSError, ValueError) as error:
        given = f"compare.encoders: {name!r} has model={source!r}, which is not loaded"
        raise ValueError(f"{given}. A folder must hold a finished run. {error}") from error


def _cosines(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: dict[str, Any], reference: list[str]
) -> Alike:
    options = {**options, "tokenizer": tokenizer}
    if options.get("weighting") == "sif":
        options["direction"] = common_direction(model, reference, tokenizer=tokenizer)

    def alike(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        vectors = encode(model, [*first, *second], **options)
        return np.asarray((vectors[: len(first)] * vectors[len(first) :]).sum(axis=1))

    return alike
