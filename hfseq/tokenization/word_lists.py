"""Lists of words as token ids, each with the place of its word."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

from transformers import PreTrainedTokenizerBase

Ids: TypeAlias = Sequence[int]
Words: TypeAlias = Sequence[int | None]  # the place of each token's word; None: a special token that was added
Aggregation: TypeAlias = Literal["simple", "first"]


def aggregation(tokenizer: Any) -> Aggregation:
    """Return the strategy of `pipeline("token-classification")` that joins entities as they are scored.

    A word answers by its first token. Where later ones tell that they continue it, the pipeline can do so too.
    """
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    return "first" if prefix.strip() else "simple"


def encode_words(rows: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[Ids, Words]]:
    """Yield the ids of each row and the words that they belong to.

    A word that the tokenizer leaves nothing of (a lone control character) is read as its unknown token, so that each
    word has a place.
    """
    encoded = tokenizer([list(words) for words in rows], is_split_into_words=True, truncation=False, verbose=False)
    for index, words in enumerate(rows):
        ids, places = encoded["input_ids"][index], encoded.word_ids(index)
        if silent := set(range(len(words))) - set(places):
            readable = [str(tokenizer.unk_token) if place in silent else word for place, word in enumerate(words)]
            again = tokenizer([readable], is_split_into_words=True, truncation=False, verbose=False)
            ids, places = again["input_ids"][0], again.word_ids(0)
        yield ids, places


def cut_words(ids: Ids, words: Words, max_length: int | None) -> tuple[Ids, Words]:
    """Keep the first tokens of words, and all special tokens; None: all of them."""
    if max_length is None or len(ids) <= max_length:
        return ids, words
    of_words = [place for place, word in enumerate(words) if word is not None]
    left_out = set(of_words[max_length - len(ids) :])
    kept = [place for place in range(len(ids)) if place not in left_out]
    return [ids[place] for place in kept], [words[place] for place in kept]
