"""Recursive networks: what `Case` has differently where a text is a tree."""

from typing import Any, ClassVar

import torch
from datasets import Dataset

from tests.contract.cases import VOCABULARY, Case, texts
from tests.devices import DEVICE

NODE = VOCABULARY.index("<s>")
"""The token of nodes without a word; the tokenizer of the suite never writes it."""


class RecursiveCase(Case):
    """A label for the root of a tree, and one for each node."""

    small: ClassVar[dict[str, Any]] = {**Case.small, "node_token_id": NODE, "initializer_range": 1.0}
    poolings: ClassVar[list[dict[str, str]]] = [{"tree": tree} for tree in ("given", "right", "left", "balanced")]
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12],
        "embedding_size": [0, "64"],
        "vocab_size": [-1, 10**18],
        "composition": ["lstm", None],
        "tree": ["up", None],
        "hidden_dropout": [1.5, "0.1"],
        "node_token_id": [len(VOCABULARY), -1, 0],
        "pad_token_id": [len(VOCABULARY)],
        "problem_type": ["ranking", "regression", "multi_label_classification"],
    }

    @property
    def traits(self) -> set[str]:
        return {"body", "loss", "head", "classifier", "weights", "embeddings", "trees"}

    def vectors(self, hidden: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The words, and what was built to join them: one node less."""
        is_node = torch.zeros(len(hidden), dtype=torch.bool, device=hidden.device)
        is_node[: len(real)] = real
        is_node[len(real) : len(real) + max(0, int(real.sum()) - 1)] = True
        return hidden[is_node], hidden[~is_node]

    def own_part(self, vectors: torch.Tensor, alone: torch.Tensor, side: str) -> torch.Tensor:
        columns, words = (len(vectors) + 1) // 2, (len(alone) + 1) // 2
        given = vectors[:columns]
        words_of_it = given[:words] if side == "right" else given[columns - words :]
        return torch.cat([words_of_it, vectors[columns : columns + words - 1]])

    def trees(self) -> dict[str, torch.Tensor]:
        """Rows with trees: in post-order, with padding on each side; the root first; a forest; a word; nothing."""
        ids = [
            *([5, 6, NODE, 7, NODE, 0, 0], [0, 0, 4, 9, 8, NODE, NODE], [NODE, 4, NODE, 9, 8, 0, 0]),
            *([5, 6, NODE, 7, 8, 9, 4], [0, 0, 0, 0, 0, 0, 7], [0] * 7),
        ]
        parents = [
            *([3, 3, 5, 5, 0, 0, 0], [0, 0, 5, 4, 4, 5, 0], [0, 1, 1, 3, 3, 0, 0]),
            *([3, 3, 0, 0, 0, 0, 0], [0] * 7, [0] * 7),
        ]
        mask = [[1] * 5 + [0] * 2, [0] * 2 + [1] * 5, [1] * 5 + [0] * 2, [1] * 7, [0] * 6 + [1], [0] * 7]
        given = {"input_ids": ids, "attention_mask": mask, "parents": parents}
        return {name: torch.tensor(values, device=DEVICE) for name, values in given.items()}

    def trainings(self) -> list[tuple[dict[str, Any], Dataset]]:
        return [(self.no_dropout, texts())]
