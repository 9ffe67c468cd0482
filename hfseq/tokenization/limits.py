"""How long a text may be for the model that a tokenizer is saved with."""

from typing import Any

from transformers import PreTrainedTokenizerBase

_NO_LIMIT = 10**9  # tokenizers without a longest text say 10^30


def text_limit(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return how many tokens of a text the model can read; None: any number."""
    limit = tokenizer.model_max_length
    return int(limit) if limit < _NO_LIMIT else None


def reading_options(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the options that cut texts which the model cannot read; a pipeline of classifiers does not by itself."""
    return {} if text_limit(tokenizer) is None else {"truncation": True}
