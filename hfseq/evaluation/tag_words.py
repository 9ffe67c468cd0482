"""The tags of many lists of words.

    tags = hfseq.tag_words(model, tokenizer, [["will", "it", "rain", "in", "Oslo", "?"]])

The pipeline of transformers gives spans of characters, one text after the other. Here texts of about one length are
read together, so that little of a batch is padding, and each word has the tag of its first token.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..progress import progress_bar
from ..tokenization.limits import text_limit
from ..tokenization.padding import PaddingCollator
from ..tokenization.word_lists import Ids, Words, cut_words, encode_words
from .batches import rows_at_once
from .language import evaluating

_ENCODED = 1024  # rows that the tokenizer reads at once


def tag_words(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Sequence[str]],
    *,
    batch_size: int = 32,
) -> list[list[str | None]]:
    """Return the name of the tag of each word; None of a word behind the positions that the model has learnt.

    Neither the order of the rows nor the size of a batch changes a tag. The model runs in evaluation mode and gets its
    mode back.

    Args:
        model: A token classifier, of ours or any other.
        tokenizer: The model's, of the `tokenizers` library.
        rows: Lists of words.
        batch_size: Texts that the model reads at once.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} has no room for a text: use 1 or more.")
    for number, words in enumerate(rows):
        if isinstance(words, str):
            raise ValueError(
                f"Row {number} is a text, {words!r:.60}, not a list of words: split it, or ask a pipeline."
            )
    encoded, limit = _encoded(rows, tokenizer), text_limit(tokenizer)
    read = [cut_words(*each, limit) for each in encoded]
    order = sorted(
        (number for number, words in enumerate(rows) if len(words)), key=lambda number: -len(read[number][0])
    )
    found: list[list[str | None]] = [[] for _ in rows]
    names, at = cast(dict[int, str], model.config.id2label), 0
    with evaluating(model), torch.inference_mode(), progress_bar("Tagging", total=len(order), unit="text") as bar:
        while at < len(order):
            size = min(batch_size, rows_at_once(len(read[order[at]][0])))
            own = order[at : at + size]
            for number, ids in zip(own, _best(model, tokenizer, [read[number][0] for number in own]), strict=True):
                found[number] = _of_words(ids, read[number][1], len(rows[number]), names)
            at += size
            bar.update(len(own))
    return found


def _encoded(rows: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> list[tuple[Ids, Words]]:
    read: list[tuple[Ids, Words]] = []
    for start in range(0, len(rows), _ENCODED):
        read += encode_words(rows[start : start + _ENCODED], tokenizer)
    return read


def _best(model: Any, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Ids]) -> list[list[int]]:
    """Return the best label of each token."""
    batch = PaddingCollator(tokenizer)([{"input_ids": ids} for ids in rows])
    logits = model(**{name: tensor.to(model.device) for name, tensor in batch.items()}).logits
    if logits.dim() != 3:
        raise ValueError(
            f"{type(model).__name__} has one answer for a text, not one for each word: load its folder with "
            "AutoModelForTokenClassification."
        )
    best = logits.argmax(-1).tolist()
    if tokenizer.padding_side == "right":
        return [labels[: len(ids)] for labels, ids in zip(best, rows, strict=True)]
    return [labels[len(labels) - len(ids) :] for labels, ids in zip(best, rows, strict=True)]


def _of_words(labels: Sequence[int], words: Words, count: int, names: dict[int, str]) -> list[str | None]:
    tags: list[str | None] = [None] * count
    for label, word in zip(reversed(labels), reversed(words), strict=True):
        if word is not None:
            tags[word] = names[label]  # a word's first token comes last
    return tags
