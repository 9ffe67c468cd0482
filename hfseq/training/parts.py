"""A batch of evaluated texts in parts, for texts are evaluated whole and a few may be very long."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers.trainer_pt_utils import nested_concat

from ..evaluation.batches import rows_at_once
from ..models.base import IGNORED

_JOINED = (torch.Tensor, tuple)
_PLACES = ("", "encoder_", "decoder_", "cross_")
# What is told of each layer where a configuration asks for it: no score, and of other shapes in each part and batch.
OF_LAYERS = [f"{place}{kind}" for place in _PLACES for kind in ("attentions", "hidden_states")]


def parts_of(inputs: Mapping[str, Any]) -> list[slice]:
    """Return which rows of a batch are read at once: one part, or several where long texts would fill the memory."""
    mask = inputs.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.dim() != 2 or len(mask) <= rows_at_once(mask.shape[1]):
        return [slice(None)]
    parts, start, longest = [], 0, 0
    for row, length in enumerate(mask.sum(1).tolist()):
        longest = max(longest, length)
        if row - start + 1 > rows_at_once(longest) and row > start:
            parts.append(slice(start, row))
            start, longest = row, length
    return [*parts, slice(start, len(mask))]


class InParts(nn.Module):
    """A model that reads the rows of a batch part by part, each part padded to its own longest text.

    Args:
        model: Takes `attention_mask` and other tensors of B rows, and returns tensors of B rows and maybe a loss.
        parts: The rows of each part.
    """

    def __init__(self, model: nn.Module, parts: list[slice]) -> None:
        super().__init__()
        self.model, self.parts = model, parts

    def forward(self, **inputs: Any) -> Any:
        """Return what the model would return for all rows at once, but what it tells of its layers."""
        joined: dict[str, Any] = {}
        losses, counts, kind = [], [], dict
        for own in self._trimmed(inputs):
            outputs = self.model(**own)
            kind = type(outputs)
            if outputs.get("loss") is not None:
                losses.append(outputs["loss"])
                counts.append((own["labels"] != IGNORED).sum())
            # Not the keys and values that a decoder keeps, which are no answer.
            answers = {
                name: each
                for name, each in outputs.items()
                if name not in ("loss", *OF_LAYERS) and isinstance(each, _JOINED)
            }
            joined = {name: nested_concat(joined[name], each) for name, each in answers.items()} if joined else answers
        return kind(**({"loss": _loss(losses, counts, inputs)} if losses else {}), **joined)

    def _trimmed(self, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
        mask = inputs["attention_mask"]
        for rows in self.parts:
            columns = _columns(mask[rows], inputs.get("slot_labels", inputs.get("labels")))
            yield {
                name: value[rows, columns] if _is_of_tokens(value, mask) else _rows(value, rows, len(mask))
                for name, value in inputs.items()
            }


def _columns(mask: torch.Tensor, labels: Any) -> slice:
    """Return where the texts of a part stand."""
    used = mask.any(0).nonzero()
    if not len(used):
        return slice(0, 1)
    # Answers for each token begin where the labels of the whole batch begin.
    first = 0 if isinstance(labels, torch.Tensor) and _is_of_tokens(labels, mask) else int(used[0])
    return slice(first, int(used[-1]) + 1)


def _is_of_tokens(value: Any, mask: torch.Tensor) -> bool:
    # Not floats: labels of several classes may be as many as there are tokens.
    is_table = isinstance(value, torch.Tensor) and value.dim() == 2 and not value.is_floating_point()
    return is_table and value.shape[1] == mask.shape[1]


def _rows(value: Any, rows: slice, count: int) -> Any:
    return value[rows] if isinstance(value, torch.Tensor) and value.dim() and len(value) == count else value


def _loss(losses: list[torch.Tensor], counts: list[torch.Tensor], inputs: dict[str, Any]) -> torch.Tensor:
    parts = torch.stack(losses)
    if inputs.get("num_items_in_batch") is not None:  # each is a part of a sum that is divided already
        return parts.sum()
    shares = torch.stack(counts).to(parts.dtype)
    return (parts * shares).sum() / shares.sum()
