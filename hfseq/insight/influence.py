r"""How much of each word the state of a network still holds: what an RNN forgets, and an LSTM keeps.

    found = influence(model, tokenizer, "what time is it?")
    print(found)                            # a bar for each token
    found.shares                            # (T,), of sum 1
    plots.influence(model, tokenizer, "what time is it?", path="influence.html")

The measure is the derivative of the state h by the vector x_t of token t, a matrix (D, E):

    norm_t  = || d h / d x_t ||             Frobenius: the root of the sum of all squared entries
    share_t = norm_t / sum_s norm_s

A word has a share of 0 if the state would stay as it is when the word's vector moves a little: the network has
forgotten it. The norms tell how much is left at all, the shares how it is divided.

Shapes: T tokens, E width of a token's vector, D width of the state, n rows that are read at once.
"""

import os
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..evaluation.language import evaluating
from ..retrieval.encode import backbone_of, with_tokenizer

_AT_ONCE: Final = 64  # entries of the state whose derivatives are taken in one call
_WIDEST_BAR: Final = 40  # characters


@dataclass(frozen=True, eq=False)
class Influence:
    """What `influence` found; printing it shows a bar for each token.

    Attributes:
        tokens: T, with the special tokens that the tokenizer adds.
        norms: (T,) float64, of the derivative of the state by each token's vector.
        position: The token whose state it is; None: where the network ends.
    """

    tokens: tuple[str, ...]
    norms: np.ndarray
    position: int | None = None

    @property
    def shares(self) -> np.ndarray:
        """Return (T,), of sum 1; zeros where nothing has an influence at all."""
        total = self.norms.sum()
        return self.norms / total if total > 0 else self.norms

    def __str__(self) -> str:
        width = max(map(len, self.tokens))
        rows = zip(self.tokens, self.shares.tolist(), strict=True)
        lines = (f"{token:>{width}}  {share:6.1%}  {'█' * round(_WIDEST_BAR * share)}" for token, share in rows)
        return "\n".join(map(str.rstrip, lines))


def influence(
    model: PreTrainedModel | str | os.PathLike[str],
    tokenizer: PreTrainedTokenizerBase | None,
    text: str,
    *,
    position: int | None = None,
) -> Influence:
    """Measure how much of each token a state of the last layer holds, see the top of this module.

    Args:
        model: A network that reads vectors, recurrent or not, or a folder or Hub id to load it from. Of a model with a
            head the backbone is used, of an encoder-decoder the encoder. It runs in evaluation mode and gets its mode
            back.
        tokenizer: The model's tokenizer; None for a folder or Hub id.
        text: What is read.
        position: The token whose state is looked at, from 0; -1 is the last. None: the state with which the network
            ends, which is that of the last token; of a bidirectional network, what each direction says at its own end.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be one string, got a {type(text).__name__}: call influence once for each text.")
    model, tokenizer = with_tokenizer(model, tokenizer)
    backbone = backbone_of(model)
    if "inputs_embeds" not in signature(backbone.forward).parameters:
        raise TypeError(f"{type(model).__name__} reads no vectors, which influence is about: take a network.")
    encoded = tokenizer(text, return_tensors="pt")
    ids = encoded["input_ids"]
    tokens = tuple(tokenizer.convert_ids_to_tokens(ids[0].tolist()))
    if not tokens:
        raise ValueError(f"The text {text!r} has no token: nothing has an influence.")
    if position is not None and not -len(tokens) <= position < len(tokens):
        raise ValueError(f"position={position}: this text has the tokens 0 to {len(tokens) - 1}.")
    with evaluating(model):
        vectors = backbone.get_input_embeddings()(ids.to(backbone.device))
        squares = _squares(backbone, vectors, position).cpu().numpy()
    if not np.isfinite(squares).all():
        raise ValueError("The derivatives are NaN or infinite: the model's weights are broken, or its states explode.")
    return Influence(tokens, np.sqrt(squares), position if position is None else position % len(tokens))


def _squares(backbone: Any, vectors: torch.Tensor, position: int | None) -> torch.Tensor:
    """Return (T,) float64: for each token the sum of the squared entries of d state / d vector.

    The text is read as a batch of the same row n times, and row k asks for the derivative of entry k of the state.
    """
    width = _state(backbone, vectors, position).shape[1]
    total = vectors.new_zeros(vectors.shape[1], dtype=torch.float64)
    for start in range(0, width, _AT_ONCE):
        entries = torch.arange(start, min(start + _AT_ONCE, width), device=vectors.device)
        with torch.enable_grad():
            rows = vectors.detach().repeat(len(entries), 1, 1).requires_grad_()  # (n, T, E)
            asked = _state(backbone, rows, position).gather(1, entries[:, None]).sum()
            (gradients,) = torch.autograd.grad(asked, rows)
        total += gradients.double().square().sum(dim=(0, 2))
    return total


def _state(backbone: Any, vectors: torch.Tensor, position: int | None) -> torch.Tensor:
    """Return (n, D): the state that is asked about, of each row."""
    hidden_states = backbone(inputs_embeds=vectors, return_dict=True).last_hidden_state
    if position is None and getattr(backbone.config, "has_backward_half", False):
        forward, backward = hidden_states.chunk(2, dim=-1)
        return torch.cat((forward[:, -1], backward[:, 0]), dim=-1)
    return hidden_states[:, -1 if position is None else position]


__all__ = ["Influence", "influence"]
