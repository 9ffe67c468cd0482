"""Two texts in one row, `A </s> B </s>`: each is read alone by the same network, then the two are compared.

    u, v = the pooled outputs of A and of B
    x    = [u, v, |u - v|, u * v]                               what the classifier sees (Conneau et al. 2017)

The first `</s>` of a row ends A, all that follows it is B; a row of one text has a B without a token, whose v is 0. A
network that reads both at once (`pairs="joined"`) has to carry A through B in its state, which a small one does not
learn from a few thousand pairs.

Shapes: B batch, T time, D width of a pooled output.
"""

import torch
from transformers import PreTrainedConfig

from ..inputs import mask_of_inputs

COMPARED = 4
"""How many vectors of width D the classifier sees."""


def check_pairs(config: PreTrainedConfig) -> None:
    """Refuse a config whose model could not tell where the first text ends."""
    if config.pairs == "siamese" and config.eos_token_id is None:
        raise ValueError(
            "pairs='siamese' reads two texts apart, which the id eos_token_id parts, but it is None: give the id of "
            "the tokenizer's </s>, or pairs='joined'."
        )


class PairRows:
    """Where the two texts of each row are.

    Args:
        input_ids: (B, T).
        attention_mask: (B, T), 1 for real tokens; None: all are.
        end: The id that ends a text.
    """

    def __init__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, end: int) -> None:
        self.input_ids = input_ids
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        real = mask_of_inputs(attention_mask, *input_ids.shape).bool()
        ends = ((input_ids == end) & real).long()
        ended = ends.cumsum(1) - ends > 0  # before this token
        self.first, self.second = real & ~ended, real & ended
        self.is_word = input_ids != end

    def apart(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and mask (2 B, T): all first texts, then all second ones, each at its place in the row."""
        return torch.cat((self.input_ids, self.input_ids)), torch.cat((self.first, self.second)).long()

    def words(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same without what ends the texts, which all of them share."""
        ids, mask = self.apart()
        return ids, mask * torch.cat((self.is_word, self.is_word))

    def together(self, outputs: torch.Tensor, token_dim: int = 1) -> torch.Tensor:
        """Map what is told of the tokens of `apart`, (2 B, ...), to (B, ...): of each token in its own text.

        Args:
            outputs: Such as hidden states (2 B, T, D) or attention (2 B, H, T, T).
            token_dim: The dimension T of the tokens that it is told of.
        """
        first, second = outputs.chunk(2)
        shape = [1] * first.dim()
        shape[0], shape[token_dim] = self.second.shape
        return torch.where(self.second.view(shape), second, first)


def compare(pooled: torch.Tensor) -> torch.Tensor:
    """Map the vectors (2 B, D) of the texts of `PairRows.apart` to (B, 4 D)."""
    first, second = pooled.chunk(2)
    return torch.cat((first, second, (first - second).abs(), first * second), dim=-1)
