"""Which word of the source a translator looks at, while it writes each word of the target.

    found = align(model, tokenizer, "I am going home.", "मैं घर जा रहा हूँ।")
    found.looked_at["घर"]                                                   # ["home"]
    plots.alignment(found, path="alignment.png")

The weights are those of cross-attention: row t is what the decoder looked at before it wrote token t. A word of
several tokens has the mean of their rows and the sum of their columns, so that each row still sums to 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

_HAS_NONE = (
    "{model} returned no cross-attention, so that nothing is aligned: a recurrent model needs config.attention other "
    "than 'none'; load models of transformers' own with attn_implementation='eager'."
)


@dataclass(frozen=True)
class Alignment:
    """The words of a source and a target, and how much each target word looked at each source word.

    Attributes:
        source: S words.
        target: T words.
        weights: (T, S).
    """

    source: list[str]
    target: list[str]
    weights: torch.Tensor

    @property
    def looked_at(self) -> dict[str, list[str]]:
        """Target word -> for each time it stands there, the source word that it looked at most."""
        found: dict[str, list[str]] = {}
        for word, best in zip(self.target, self.weights.argmax(1).tolist(), strict=True):
            found.setdefault(word, []).append(self.source[best])
        return found


@torch.no_grad()
def align(
    model: Any, tokenizer: Any, source: str, target: str | None = None, *, layer: int = -1, **generate_kwargs: Any
) -> Alignment:
    """Return what the decoder looks at while it writes the target.

    Args:
        model: An encoder-decoder with cross-attention, of ours or of transformers.
        tokenizer: Its tokenizer; with a slow one, the words are tokens.
        source: The text that is read.
        target: The text that is written; None: what the model writes itself.
        layer: Which layer of the decoder, -1 is the last. Its heads are averaged.
        **generate_kwargs: How the model writes (`num_beams`, `max_new_tokens`, ...) where there is no target.
    """
    if target is not None and generate_kwargs:
        raise ValueError(f"The target is given, so that {', '.join(generate_kwargs)} would change nothing.")
    with evaluating(model):
        # 1. Read the source, (1, S) ids.
        read = tokenizer(source, return_tensors="pt")
        inputs = {name: read[name].to(model.device) for name in ("input_ids", "attention_mask")}
        # 2. Let the model write, or take the target; (1, T) ids with the end of the text.
        if target is None:
            written = model.generate(**inputs, **generate_kwargs)
            target = tokenizer.batch_decode(written, skip_special_tokens=True)[0]
        labels = tokenizer(text_target=target, return_tensors="pt")
        # 3. Write it again with the whole target known: row t of the weights belongs to token t.
        outputs = model(**inputs, labels=labels["input_ids"].to(model.device), output_attentions=True)
    weights = cross_weights(outputs, layer, _HAS_NONE.format(model=type(model).__name__))
    # 4. Put the tokens of a word together.
    source_words, source_of = words_of(tokenizer, read, source)
    target_words, target_of = words_of(tokenizer, labels, target)
    weights = sum_of(weights.T, source_of, len(source_words)).T
    counts = torch.bincount(target_of, minlength=len(target_words))
    return Alignment(source_words, target_words, sum_of(weights, target_of, len(target_words)) / counts[:, None])


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Let a model answer as it does in evaluation, and leave it as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def cross_weights(outputs: Any, layer: int, has_none: str) -> torch.Tensor:
    """Return the cross-attention of the first row, (T, S), the mean of its heads; `has_none` is the error without."""
    layers = [each for each in outputs.cross_attentions or () if each is not None]
    if not layers:
        raise ValueError(has_none)
    if not -len(layers) <= layer < len(layers):
        raise ValueError(f"layer={layer}: this decoder returned {len(layers)}, which are 0 to {len(layers) - 1}.")
    weights: torch.Tensor = layers[layer][0].mean(0).float().cpu()
    return weights


def words_of(tokenizer: Any, encoded: Any, text: str) -> tuple[list[str], torch.Tensor]:
    """Return the words of a text, and for each token the place of its word; special tokens are words of their own."""
    tokens = encoded.tokens() if encoded.is_fast else tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist())
    if not encoded.is_fast:
        return tokens, torch.arange(len(tokens))
    words: list[str] = []
    places: list[int] = []
    last = None
    for token, word in zip(tokens, encoded.word_ids(), strict=True):
        if word is None:
            words.append(token)
        elif word != last:
            span = encoded.word_to_chars(word)
            words.append(text[span.start : span.end].strip() or token)
        last = word
        places.append(len(words) - 1)
    return words, torch.tensor(places)


def sum_of(rows: torch.Tensor, places: torch.Tensor, count: int) -> torch.Tensor:
    """Add up the rows that have one place."""
    return rows.new_zeros(count, rows.shape[1]).index_add(0, places, rows)


__all__ = ["Alignment", "align"]
