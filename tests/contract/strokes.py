"""Models that draw: each id of a batch stands for a movement of a pen, which is a row of a table."""

from typing import Any, ClassVar

import torch
from datasets import Dataset
from transformers import PreTrainedModel

from hfseq.data.strokes import StrokesCollator
from tests.contract.cases import VOCABULARY, TaggerCase

_OFFSETS = torch.randn(len(VOCABULARY), 2, generator=torch.Generator().manual_seed(2))
TABLE = torch.cat((_OFFSETS, torch.arange(len(VOCABULARY))[:, None] % 2), dim=1)
"""dx, dy, and whether the pen is lifted."""


class StrokesCase(TaggerCase):
    """The next movement, and what the pen does then: here, its id's remainder."""

    small: ClassVar[dict[str, Any]] = {"hidden_size": 5, "num_mixtures": 3}
    no_dropout: ClassVar[dict[str, float]] = {"hidden_dropout": 0.0}
    misfit: ClassVar[dict[str, int]] = {"hidden_size": 9}
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "hidden_size": [0, -1, "64", None, True, 10**12],
        "num_hidden_layers": [0, 10**6],
        "cell": ["transistor", None],
        "loss": ["mae", None],
        "num_mixtures": [0, 10**6],
        "offset_scale": [0.0, -1.0, "2"],
        "residual_std": [0.0],
        "class_names": [[], ["a", "a"], "a"],
        "hidden_dropout": [1.5, "0.1"],
        "pad_token_id": [0],
    }

    @property
    def traits(self) -> set[str]:
        return {"loss", "weights", "head", "layers", "cache", "reads on", "recurrence", "strokes"}

    @property
    def grown_width(self) -> int:
        return self.config().density_size

    def config(self, **options: Any) -> Any:
        return self.family.config(**{**self.small, **self.options, **options})

    def given(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        values = TABLE.to(ids.device)[ids]
        return {"input_values": values} | ({} if mask is None else {"attention_mask": mask})

    def states(self, model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Of the last layer alone: the output shows all of them side by side."""
        return super().states(model, ids, mask)[..., -model.config.hidden_size :]

    def rows(self) -> Dataset:
        rows = super().rows()
        values = [TABLE[torch.tensor(ids)].tolist() for ids in rows["input_ids"]]
        return rows.remove_columns("input_ids").add_column("input_values", values)

    def collator(self) -> Any:
        return StrokesCollator()
