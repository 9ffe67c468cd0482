"""Words read by their characters, beside an embedding of the word: what an unknown word looks like says much of it.

    x   = [E_w ; r(c_1 ... c_n) ; f(c_1 ... c_n)]        the input of the first layer, for each distinct word once
    E_w   the word's embedding, that of `<unk>` where it has none
    c_i   embeddings of its characters                    zeros before c_1 and behind c_n

    "cnn"   r_j = max_i (b_j + sum_d W_jd . c_{i+d})       over d of a kernel with c_i in its middle; Ma and Hovy 2016
    "lstm"  r   = [forward h after c_n ; backward h after c_1]                               Lample et al. 2016
    f       what the letters' case, digits and marks tell (`case_features`), 0 or 1 each

A word without characters (`<unk>`, a special token) has r = 0 and f = 0. The papers drop out the characters'
embeddings too; here dropout is on x, as on the embeddings of any recurrent model.

Shapes: N distinct words, C characters of the longest, K different characters, E width of a character, R width of r,
F features.
"""

from functools import partial
from typing import Any

import torch
from torch import nn

from ..token_order import TokenOrder
from ..token_words import DIGIT, LOWER, NOTHING, OTHER, UPPER, Words
from .cells import lstm_cell
from .loop import RecurrentLoop

CASE_FEATURES = 8


def check_characters(config: Any) -> None:
    """Check that a model that reads characters knows how many there are, and that their widths fit."""
    if config.characters == "none":
        if config.case_features:
            raise ValueError("case_features=True is about characters: set characters to 'cnn' or 'lstm'.")
        return
    if config.num_characters < 2 or config.spelling_size < 1 or config.word_rows < 2:
        raise ValueError(
            f"characters={config.characters!r} needs a tokenizer's spellings, and num_characters="
            f"{config.num_characters}, spelling_size={config.spelling_size}, word_rows={config.word_rows} have no "
            "room for them: make the config with **word_tables(tokenizer).sizes(), as the recipe for tagging does."
        )
    if config.characters == "lstm" and config.character_hidden_size % 2:
        raise ValueError(
            f"character_hidden_size={config.character_hidden_size} is shared by two directions: take an even number."
        )
    if config.characters == "cnn" and config.character_kernel_size % 2 == 0:
        raise ValueError(
            f"character_kernel_size={config.character_kernel_size} has no middle: take an odd number of characters."
        )


def width_of_characters(config: Any) -> int:
    """Return how many numbers a word's characters add to its embedding."""
    if config.characters == "none":
        return 0
    return int(config.character_hidden_size) + (CASE_FEATURES if config.case_features else 0)


class CharacterCNN(nn.Module):
    """A convolution over the characters of a word, and the most that it finds anywhere in it."""

    def __init__(self, *, input_size: int, hidden_size: int, kernel_size: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(input_size, hidden_size, kernel_size, padding=kernel_size // 2)

    def forward(self, characters: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Map (N, C) characters, of which each has its row of the vectors (K, E), to (N, R)."""
        words, places = characters.nonzero(as_tuple=True)  # (n) real characters: one long word makes no padding
        weight, bias = self.convolution.weight, self.convolution.bias
        margin = weight.shape[-1] // 2
        beside = nn.functional.pad(characters, (margin, margin))
        # There are few different characters: their products with the weights are computed once, and looked up.
        products = [nn.functional.linear(vectors, weight[..., d]) for d in range(weight.shape[-1])]
        found = torch.stack(
            [nn.functional.embedding(beside[words, places + d], each) for d, each in enumerate(products)]
        ).sum(0)  # (n, R)
        found = found if bias is None else found + bias
        most = found.new_zeros(len(characters), found.shape[1])
        return most.scatter_reduce(0, words[:, None].expand_as(found), found, "amax", include_self=False)


class CharacterLSTM(nn.Module):
    """An LSTM over the characters of a word from either end, and the states that it reaches."""

    def __init__(self, *, input_size: int, hidden_size: int) -> None:
        super().__init__()
        make_loop = partial(RecurrentLoop, lstm_cell(), input_size=input_size, hidden_size=hidden_size // 2)
        self.forward_loop, self.backward_loop = make_loop(), make_loop(backward=True)

    def forward(self, characters: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Map (N, C) characters, of which each has its row of the vectors (K, E), to (N, R)."""
        order = TokenOrder(len(characters), characters.shape[1], characters > 0)
        inputs = nn.functional.embedding(characters, vectors)
        return torch.cat([loop(inputs, order)[1][0] for loop in (self.forward_loop, self.backward_loop)], dim=-1)


class CharacterReader(nn.Module):
    """Vectors of distinct words from their characters; the config says which reader."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.has_case = config.case_features
        sizes = {"input_size": config.character_embedding_size, "hidden_size": config.character_hidden_size}
        self.embeddings = nn.Embedding(config.num_characters, config.character_embedding_size, NOTHING)
        self.reader: CharacterCNN | CharacterLSTM
        if config.characters == "cnn":
            self.reader = CharacterCNN(**sizes, kernel_size=config.character_kernel_size)
        else:
            self.reader = CharacterLSTM(**sizes)

    def forward(self, words: Words) -> torch.Tensor:
        """Return (N, R), or (N, R + F) with features of case."""
        # The row of no character is 0, and must stay so: it is what stands around a word.
        vectors = self.embeddings(torch.arange(len(self.embeddings.weight), device=words.characters.device))
        found = self.reader(words.characters, vectors)
        return torch.cat((found, case_features(words.classes, found)), dim=-1) if self.has_case else found


def case_features(classes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return (N, F), 0 or 1 each, of the classes (N, C) of words' characters, in the precision of `like`."""
    upper, lower, digit, other = (classes == kind for kind in (UPPER, LOWER, DIGIT, OTHER))
    has_upper, has_lower, has_digit, has_other = (each.any(1) for each in (upper, lower, digit, other))
    is_number = has_digit & (digit | other | (classes == NOTHING)).all(1)
    found = (
        *(upper[:, 0], upper[:, 1:].any(1), has_upper & ~has_lower, has_lower & ~has_upper),
        *(has_digit, is_number, has_other, has_other & (other | (classes == NOTHING)).all(1)),
    )
    return torch.stack(found, dim=1).to(like.dtype)
