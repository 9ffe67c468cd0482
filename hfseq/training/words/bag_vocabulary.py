"""A new bag for a tokenizer and texts: its dictionary, and the n-grams of its words."""

from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers.normalizers import Lowercase
from transformers import PreTrainedTokenizerFast

from ...data.text import text_bytes
from ...models.words.bag import BagConfig, BagForSequenceClassification
from ...models.words.bag_tables import character_ngrams, words_of
from ...models.words.fused_words import split_texts
from ...tokenization.kinds import ids_are_bytes
from ..draws import OwnDraws


def new_bag(
    tokenizer: PreTrainedTokenizerFast,
    texts: Dataset,
    *,
    seed: int = 42,
    min_count: int = 1,
    max_words: int | None = None,
    **options: Any,
) -> BagForSequenceClassification:
    """Make a bag that is ready to be trained.

    Args:
        tokenizer: One of the kind `byte` makes a bag of bytes, any other a bag of tokens.
        texts: Those to be trained on, in a column `text`: a bag of bytes takes its dictionary from them.
        seed: Of the first vectors.
        min_count: Bags of bytes: rarer words are not in the dictionary; they have their character n-grams alone.
        max_words: Bags of bytes: most words of the dictionary; the most frequent ones stay.
        **options: Fields of `BagConfig`.
    """
    is_bytes = ids_are_bytes(tokenizer)
    options |= {"vocab_size": len(tokenizer), "units": "bytes" if is_bytes else "tokens"}
    options |= {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    if is_bytes:
        options["lowercase"] = tokenizer.backend_tokenizer.normalizer is not None
        words, starts = dictionary(texts, BagConfig(**options), min_count=min_count, max_words=max_words)
        options |= {"num_words": len(starts) - 1, "num_word_bytes": len(words)}
        tables = {"word_bytes": torch.from_numpy(words), "word_starts": torch.from_numpy(starts)}
    else:
        tables = {}
        config = BagConfig(**options)
        if config.longest_ngram:
            lengths = {"shortest": config.shortest_ngram, "longest": config.longest_ngram}
            spellings = words_of(tokenizer, config.vocab_size)
            ngram_starts, ngrams = character_ngrams(spellings, **lengths, buckets=config.ngram_buckets)
            options["num_ngrams"] = len(ngrams)
            tables = {"ngram_starts": ngram_starts, "ngrams": ngrams}
    with OwnDraws(seed):
        model = BagForSequenceClassification(BagConfig(**options))
    for name, table in tables.items():
        model.model.fill_table(name, table)
    return model


def dictionary(
    texts: Dataset, config: BagConfig, *, min_count: int, max_words: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of texts, the most frequent first: their bytes end to end, and where each word begins."""
    flat, text_starts = text_bytes(texts, Lowercase() if config.lowercase else None)
    _, _, word_bytes, starts, counts = split_texts(flat, text_starts, config.ends_texts, config.label_prefix.encode())
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= min_count][:max_words]
    if len(order) == 0:
        raise ValueError(f"No word is in the texts {min_count} times or more: lower min_count, or give other texts.")
    lengths = np.diff(starts)[order]
    ends = np.cumsum(lengths)
    places = np.repeat(starts[order] - (ends - lengths), lengths) + np.arange(ends[-1])
    return word_bytes[places], np.concatenate([[0], ends])
