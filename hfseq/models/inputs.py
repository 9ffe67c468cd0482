"""What a model may be given: ids or vectors of texts with at least one token, and a mask that fits them.

What is wrong with them is told before torch says "index out of range in self".
"""

from typing import cast

import torch
from torch import nn


def at_least_one_token(
    input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None, inputs_embeds: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Return the three inputs; a batch of texts without tokens gets one masked column, so that there is an answer."""
    # A tokenizer that finds no token returns an empty *float* tensor, so nothing of it is kept.
    if (input_ids is None) == (inputs_embeds is None):
        raise ValueError("Give exactly one of input_ids and inputs_embeds.")
    given = cast(torch.Tensor, input_ids if inputs_embeds is None else inputs_embeds)
    check_rank(given, "input_ids" if inputs_embeds is None else "inputs_embeds")
    if given.shape[1] > 0:
        return input_ids, attention_mask, inputs_embeds
    attention_mask = torch.zeros(given.shape[0], 1, dtype=torch.long, device=given.device)
    if inputs_embeds is None:
        return torch.zeros(given.shape[0], 1, dtype=torch.long, device=given.device), attention_mask, None
    return None, attention_mask, inputs_embeds.new_zeros(given.shape[0], 1, given.shape[2])


def check_rank(given: torch.Tensor, name: str) -> None:
    """Refuse inputs that are no batch of texts: (B, T) ids, or (B, T, E) vectors."""
    ranks = {"inputs_embeds": ("(texts, tokens, width)", 3)}
    shape, rank = ranks.get(name, ("(texts, tokens)", 2))
    if given.dim() != rank:
        alone = f" One text is a batch of one: {name}[None]." if given.dim() == rank - 1 else ""
        raise ValueError(f"{name} must be of shape {shape}, got {tuple(given.shape)}.{alone}")


def mask_of_inputs(attention_mask: torch.Tensor, batch: int, steps: int, *, seen: int = 0) -> torch.Tensor:
    """Return the columns of the mask that belong to these inputs: the last ones if it covers earlier tokens too.

    Args:
        attention_mask: (batch, steps) or (batch, seen + steps).
        batch: Number of texts.
        steps: Number of tokens of each.
        seen: Number of tokens read before them.
    """
    if attention_mask.shape not in ((batch, steps), (batch, seen + steps)):
        raise ValueError(
            f"attention_mask of shape {tuple(attention_mask.shape)} does not fit {batch} texts of {steps} tokens"
            f"{f' after {seen} earlier ones' if seen else ''}: it must be ({batch}, {seen + steps})."
        )
    return attention_mask[:, -steps:]


def mask_if_padded(mask: torch.Tensor | None, batch: int, steps: int, *, seen: int = 0) -> torch.Tensor | None:
    """Return the columns of the mask that belong to these inputs; None if all of them are real, which is faster."""
    return None if mask is None else none_if_all(mask_of_inputs(mask, batch, steps, seen=seen))


def none_if_all(mask: torch.Tensor) -> torch.Tensor | None:
    """Return the mask, or None where it leaves nothing out and that costs nothing to see."""
    return None if can_be_checked(mask) and bool(mask.all()) else mask


def embed_with_word_dropout(
    embeddings: nn.Embedding, input_ids: torch.Tensor, dropout: float = 0.0, *, of_target: bool = False
) -> torch.Tensor:
    """Map (B, T) ids to (B, T, E) vectors.

    `dropout` is the part of the vocabulary that is blanked, every occurrence of a word at once (Gal and Ghahramani
    2016). `of_target` says that these are the words of a decoder with a vocabulary of its own.
    """
    # To look at all ids in each step of generation would take longer than the step: look only when torch complains.
    try:
        vectors = embeddings(input_ids)
    except (IndexError, RuntimeError):
        check_input_ids(input_ids, embeddings.num_embeddings, of_target=of_target)
        raise
    # To torch a batch without rows is no error.
    if input_ids.shape[0] == 0:
        check_input_ids(input_ids, embeddings.num_embeddings, of_target=of_target)
    if dropout == 0:
        return vectors
    kept = nn.functional.dropout(vectors.new_ones(embeddings.num_embeddings, 1), dropout)
    return vectors * kept[input_ids]


def check_input_ids(input_ids: torch.Tensor, vocab_size: int, *, of_target: bool = False) -> None:
    """Say what is wrong with token ids before nn.Embedding says "index out of range in self"."""
    side = "decoder_" if of_target else ""
    if input_ids.is_floating_point():
        raise ValueError(
            f"{side}input_ids must be integers, got {input_ids.dtype}. Tokenize with return_tensors='pt'."
        )
    if input_ids.shape[0] == 0 and can_be_checked(input_ids):
        raise ValueError(f"{side}input_ids have no rows: give the model one text or more.")
    check_range(
        "target id" if of_target else "input id",
        input_ids,
        vocab_size,
        f" (config.{side}vocab_size={vocab_size}). This tokenizer does not belong to this model: load both from one "
        f"checkpoint, or grow the model with model.resize_{side}token_embeddings(len(tokenizer))",
    )


def check_range(name: str, values: torch.Tensor, size: int, hint: str = "", *, ignored: int | None = None) -> None:
    """Raise ValueError if a value lies outside 0 to size - 1, unless it is `ignored`.

    Args:
        name: What the values are called.
        values: Integers of any shape; looked at only where `can_be_checked` allows it.
        size: How many rows or classes there are.
        hint: What the message says after the range.
        ignored: A value outside the range that is allowed.
    """
    if not can_be_checked(values) or values.numel() == 0:
        return
    low, high = values.aminmax()
    if int(low) >= 0 and int(high) < size:  # numbers, not tensors: two operations of torch less
        return
    wrong = values[(values < 0) | (values >= size)]
    wrong = wrong if ignored is None else wrong[wrong != ignored]
    if len(wrong):
        raise ValueError(f"{name} {int(wrong[0])} is outside 0 to {size - 1}{hint}.")


def can_be_checked(values: torch.Tensor) -> bool:
    """Return whether looking at the values costs nothing: on another device it waits, in a graph it fails."""
    # vmap maps over texts without values of their own.
    in_graph = torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._functorch.is_batchedtensor(values)
    return values.device.type == "cpu" and not in_graph
