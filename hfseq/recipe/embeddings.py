"""Pretrained word vectors in the rows of a model, and how much of its vocabulary and of its texts they cover."""

from collections import Counter
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from ..data.vectors import EmbeddingInit, EmbeddingSettings, embedding_matrix
from ..models.words.bag import BagConfig
from ..settings import known_fields

logger = logging.get_logger(__name__)


def fill_embeddings(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    settings: EmbeddingSettings,
    texts: Sequence[str] | None = None,
) -> None:
    """Copy pretrained word vectors, if the settings name any, into the rows that have one.

    Args:
        texts: Those of the training split, to tell how many of their words have a vector.
    """
    source = settings.from_pretrained
    if source is None:
        return
    if isinstance(model.config, BagConfig) and model.config.units == "bytes":  # its rows are words, the tokens bytes
        given = f"embeddings.from_pretrained={source!r} fills the rows of tokens"
        raise ValueError(f"{given}, which are bytes with tokenizer.kind=byte: take the kind word, or leave it out.")
    found = embedding_matrix(tokenizer, source, settings.format)
    key = "embedding_size" if "embedding_size" in known_fields(type(model.config)) else "hidden_size"
    width, size = getattr(model.config, key), found.matrix.shape[1]
    if size != width:
        sizes = f"{size} numbers, the model's embeddings {width}"
        raise ValueError(f"The vectors in {source} have {sizes}. Set model.{key} to {size}.")
    rows = _rows(model, tokenizer, found)
    weight = model.get_input_embeddings().get_parameter("weight")
    token_of = {row: token for token, row in rows.items()}  # of a row with several tokens, the last one's
    with torch.no_grad():
        weight[list(token_of)] = torch.from_numpy(found.matrix[list(token_of.values())])
    has_words = getattr(model.base_model, "token_words", None) is not None
    covered = len(token_of) / (len(weight) if has_words else len(tokenizer))
    logger.warning("%s covers %.1f %% of the vocabulary.", source, 100 * covered)
    if texts is not None:
        told = "%.1f %% of the running words of the training texts have a vector, %.1f %% that of their lower case."
        logger.warning(told, *(100 * share for share in _running_shares(texts, tokenizer, set(rows), found)))


def _rows(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, found: EmbeddingInit) -> dict[int, int]:
    """Return the row of each token that has a vector."""
    tokens: list[int] = found.known.nonzero()[0].tolist()
    words = getattr(model.base_model, "token_words", None)
    if words is None:
        return {token: token for token in tokens}
    # Pieces of words have the row of unknown words, which is no vector's but that of `<unk>`.
    unknown = int(words.rows[tokenizer.unk_token_id])
    rows = {token: int(words.rows[token]) for token in tokens}
    own = [token for token, row in rows.items() if row != unknown or token == tokenizer.unk_token_id]
    # Spellings that differ in case may share a row: the lower-cased one comes last, if its vector is its own.
    texts = dict(zip(own, tokenizer.convert_ids_to_tokens(own), strict=True))
    own.sort(key=lambda token: (not found.lowered[token], texts[token] == texts[token].lower()))
    return {token: rows[token] for token in own}


def _running_shares(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, known: set[int], found: EmbeddingInit
) -> tuple[float, float]:
    """Return the shares of the words of texts that have a vector, and that have the one of their lower case."""
    total = covered = lowered = 0
    encoded = tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
    if encoded.encodings is None:  # a tokenizer of trees, whose words are a token each
        tokens = [token for row in encoded["input_ids"] for token in row]
        covered = sum(token in known for token in tokens)
        lowered = sum(token in known and bool(found.lowered[token]) for token in tokens)
        return covered / max(len(tokens), 1), lowered / max(len(tokens), 1)
    for text in encoded.encodings:
        sizes = Counter(text.word_ids)
        # A word of several tokens has no row of its own.
        whole = [token for token, word in zip(text.ids, text.word_ids, strict=True) if sizes[word] == 1]
        total += len(sizes)
        covered += sum(token in known for token in whole)
        lowered += sum(token in known and bool(found.lowered[token]) for token in whole)
    return covered / max(total, 1), lowered / max(total, 1)
