"""Models that read numbers: each id of a batch stands for a step, whose numbers are a row of a table."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from datasets import Dataset

from hfseq import SeriesCollator, SeriesFeatureExtractor
from tests.contract.cases import VOCABULARY, Case, TaggerCase
from tests.contract.families import TransformerCase, TransformerClassifierCase, TransformerTaggerCase

WIDTH = 3
TABLE = torch.randn(len(VOCABULARY), WIDTH, generator=torch.Generator().manual_seed(2))
NOT_A_NUMBER = 99
"""In the place of an id: a step whose numbers are NaN."""


class NumbersCase:
    """What a model of numbers has differently: no ids, no words and no texts."""

    small: ClassVar[dict[str, Any]] = {**Case.small, "feature_size": WIDTH}
    no_dropout: ClassVar[dict[str, float]] = {"hidden_dropout": 0.0, "classifier_dropout": 0.0}
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "feature_size": [0, -1, "3", True, 10**6],
        "characters": ["cnn"],
        "wide_ngrams": [2],
        "embedding_dropout": [0.1],
        "freeze_embeddings": [True],
    }

    @property
    def traits(self) -> set[str]:
        return (super().traits - {"body", "classifier", "tagger", "embeddings"}) | {"numbers"}

    def given(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        values = TABLE.to(ids.device)[ids.clamp(max=len(TABLE) - 1)]
        values = values.masked_fill((ids == NOT_A_NUMBER)[..., None], torch.nan)
        return {"input_values": values} | ({} if mask is None else {"attention_mask": mask})

    def extractor(self) -> SeriesFeatureExtractor:
        """What makes its batches."""
        return SeriesFeatureExtractor(WIDTH, mean=[1.0] * WIDTH, std=[2.0] * WIDTH)

    def saved(self, model: Any = None) -> Any:
        folder = super().saved(model)
        self.extractor().save_pretrained(folder)
        return folder

    def rows(self) -> Dataset:
        rows = super().rows()
        values = [TABLE[torch.tensor(ids)].tolist() for ids in rows["input_ids"]]
        return rows.remove_columns("input_ids").add_column("input_values", values)

    def collator(self) -> Any:
        return SeriesCollator(self.extractor(), each_step="tokens" in self.traits)


class NumbersClassifierCase(NumbersCase, Case):
    """A label, labels or numbers for a series."""


class NumbersTaggerCase(NumbersCase, TaggerCase):
    """A label for each step."""


_STILL = {name: value for name, value in TransformerCase.no_dropout.items() if name != "embedding_dropout"}


class NumbersTransformerClassifierCase(NumbersCase, TransformerClassifierCase):
    """The same of a transformer."""

    small: ClassVar[dict[str, Any]] = {**TransformerClassifierCase.small, "feature_size": WIDTH}
    no_dropout: ClassVar[dict[str, float]] = _STILL
    wrong_values: ClassVar[dict[str, list[Any]]] = {"feature_size": [0, "3"], "wide_ngrams": [2]}


class NumbersTransformerTaggerCase(NumbersCase, TransformerTaggerCase):
    """The same of a transformer."""

    small: ClassVar[dict[str, Any]] = {**TransformerTaggerCase.small, "feature_size": WIDTH}
    no_dropout: ClassVar[dict[str, float]] = _STILL
    wrong_values: ClassVar[dict[str, list[Any]]] = NumbersTransformerClassifierCase.wrong_values


@dataclass
class SeriesCase(NumbersCase, TaggerCase):
    """What comes in the next steps: here, numbers that belong to a step's id."""

    small: ClassVar[dict[str, Any]] = {
        **{"embedding_size": 6, "hidden_size": 5, "feature_size": WIDTH},
        **{"prediction_length": 2, "num_targets": 2},
    }
    misfit: ClassVar[dict[str, int]] = {"prediction_length": 5}
    foreign_label: ClassVar[tuple[int, str]] = NOT_A_NUMBER, "labels hold nan"
    wrong_values: ClassVar[dict[str, list[Any]]] = {
        "prediction_length": [0, "2", None],
        "num_targets": [0, 10**6],
        "distribution": ["normal", None],
        "quantiles": [[], [0.5, 0.5], [0.9, 0.1], [0.0, 0.5], "0.5"],
        "num_mixtures": [0, 10**6],
    }

    @property
    def traits(self) -> set[str]:
        return super().traits | {"series"}

    @property
    def grown_width(self) -> int:
        config = self.config(**self.misfit)
        return config.prediction_length * config.target_size * config.density().num_parameters

    def answers(self, outputs: Any) -> torch.Tensor:
        return outputs.logits.flatten(2)

    def targets(self, ids: torch.Tensor) -> torch.Tensor:
        return ids

    def wanted(self, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        labels = self.numbers_after(targets.clamp(0, len(TABLE) - 1))
        labels = labels.masked_fill((targets == -100)[..., None, None], -100.0)
        return {"labels": labels.masked_fill((targets == NOT_A_NUMBER)[..., None, None], torch.nan)}

    def numbers_after(self, ids: torch.Tensor) -> torch.Tensor:
        """(..., 2 steps, 2 numbers) that come after a step of this id."""
        numbers = TABLE.to(ids.device)[ids][..., :2]
        return torch.stack([numbers, numbers.flip(-1)], dim=-2)

    def rows(self) -> Dataset:
        rows = super().rows()
        ids = [[int((torch.tensor(step) == TABLE).all(-1).nonzero()) for step in row] for row in rows["input_values"]]
        labels = [self.numbers_after(torch.tensor(row)).tolist() for row in ids]
        return rows.remove_columns("labels").add_column("labels", labels)


@dataclass
class TransformerSeriesCase(TransformerCase, SeriesCase):
    """The same of a transformer."""

    small: ClassVar[dict[str, Any]] = {
        **TransformerCase.small,
        **{name: SeriesCase.small[name] for name in ("feature_size", "prediction_length", "num_targets")},
    }
    no_dropout: ClassVar[dict[str, float]] = _STILL
    wrong_values: ClassVar[dict[str, list[Any]]] = SeriesCase.wrong_values


NUMBERS: dict[tuple[str, str], type[Case]] = {
    ("transformer", "text-classification"): NumbersTransformerClassifierCase,
    ("transformer", "token-classification"): NumbersTransformerTaggerCase,
    ("transformer", "series-forecasting"): TransformerSeriesCase,
}
KINDS: dict[str, type[Case]] = {
    "text-classification": NumbersClassifierCase,
    "token-classification": NumbersTaggerCase,
    "series-forecasting": SeriesCase,
}


def kind_of(family: str, task: str) -> type[Case]:
    """The case of a family whose model reads numbers."""
    return NUMBERS.get((family, task)) or KINDS[task]
