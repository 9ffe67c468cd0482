"""Numbers as input: each step is a vector of measurements, prices or pen offsets, and no token.

    x_t = W v_t + b     v_t: (F) the numbers of a step; x_t: what the first layer reads instead of a word's vector

`feature_size` of a config says how many numbers a step has; such a model has no vocabulary. Its checkpoint is read
beside a `SeriesFeatureExtractor`, which scales the numbers and tells which of them are missing.

Shapes: B batch, T time, F numbers of a step, E width of the vectors.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from .configs import bounded
from .heads.densities import Density, Distribution, make_density
from .inputs import can_be_checked


@dataclass(kw_only=True)
class ValuesConfig:
    """Fields of a config whose model may read numbers; it stands before the config class that has all the others."""

    feature_size: int | None = bounded(None, 1, 65_536)
    prediction_length: int = bounded(1, 1, 10_000)
    num_targets: int | None = bounded(None, 1, 65_536)
    distribution: Distribution = "point"
    quantiles: list[float] | None = None
    num_mixtures: int = bounded(3, 1, 1_000)

    def validate_values(self) -> None:
        """Check that nothing of a model of numbers needs token ids, and that the quantiles are shares in order."""
        self.density()
        if self.feature_size is None:
            return
        for name, without in _OF_TOKENS.items():
            value = getattr(self, name, without)
            if value != without:
                raise ValueError(
                    f"{name}={value!r} is about token ids, and a model with feature_size={self.feature_size} reads "
                    f"numbers: leave {name} out, or feature_size."
                )

    def density(self) -> Density:
        """Return what a forecast says of each number."""
        return make_density(self.distribution, quantiles=self.quantiles, num_mixtures=self.num_mixtures)

    @property
    def target_size(self) -> int:
        """O, how many numbers of each later step are predicted."""
        return self.num_targets or self.feature_size or 1


_OF_TOKENS: dict[str, Any] = {
    **{"characters": "none", "feature_buckets": 0, "wide_ngrams": 0, "pairs": "joined"},
    **{"slot_labels": None, "embedding_dropout": 0.0, "freeze_embeddings": False},
}


class ValueEmbedding(nn.Linear):
    """(B, T, F) numbers -> (B, T, E), with an answer to what they must be."""

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """Map the numbers of each step to a vector."""
        check_values(input_values, self.in_features)
        # Of any floating kind: a model in half precision reads what a feature extractor returns.
        return super().forward(input_values.to(self.weight.dtype))


def check_values(input_values: torch.Tensor, feature_size: int) -> None:
    """Refuse what is no batch of series of finite numbers with as many of them at each step as the model knows."""
    if input_values.dim() != 3:
        alone = " One series is a batch of one: input_values[None]." if input_values.dim() == 2 else ""
        raise ValueError(
            f"input_values must be of shape (series, steps, {feature_size}), got {tuple(input_values.shape)}.{alone}"
        )
    if input_values.shape[2] != feature_size:
        raise ValueError(
            f"input_values have {input_values.shape[2]} numbers a step, and this model reads {feature_size} "
            "(config.feature_size): give it the columns that it was trained on."
        )
    if not input_values.is_floating_point():
        raise ValueError(f"input_values must be floating-point numbers, got {input_values.dtype}: call .float().")
    if input_values.shape[0] == 0 and can_be_checked(input_values):
        raise ValueError("input_values have no rows: give the model one series or more.")
    if can_be_checked(input_values) and not bool(input_values.isfinite().all()):
        row, step, feature = (~input_values.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"input_values hold {input_values[row, step, feature].item()} in series {row}, step {step}, feature "
            f"{feature}: fill it in, leave the step out by attention_mask, or let a SeriesFeatureExtractor with "
            "missing='mask' tell the model."
        )


def as_vectors(
    backbone: PreTrainedModel,
    input_ids: torch.Tensor | None,
    inputs_embeds: torch.Tensor | None,
    input_values: torch.Tensor | None,
    attention_mask: torch.Tensor | None = None,
) -> torch.Tensor | None:
    """Return `inputs_embeds`, or the vectors that the backbone makes of the numbers of real steps."""
    embed: nn.Module | None = getattr(backbone, "embed_values", None)
    if input_values is None:
        if embed is not None and inputs_embeds is None:
            raise ValueError(
                f"{type(backbone).__name__} with feature_size={backbone.config.feature_size} reads numbers: give it "
                f"input_values{', not input_ids' if input_ids is not None else ''}."
            )
        return inputs_embeds
    if input_ids is not None or inputs_embeds is not None:
        raise ValueError("Give exactly one of input_ids, inputs_embeds and input_values.")
    if embed is None:
        raise ValueError(
            f"{type(backbone).__name__} reads token ids: give it input_ids, or make one with feature_size in its "
            "config, which says how many numbers a step has."
        )
    vectors: torch.Tensor = embed(_without_padding(input_values, attention_mask))
    return vectors


def _without_padding(input_values: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """Return the numbers with zeros at padding, whatever stands there: of NaN the gradient would be NaN too."""
    if attention_mask is None or attention_mask.dim() != 2 or input_values.dim() != 3 or not input_values.shape[1]:
        return input_values
    real = attention_mask[:, -input_values.shape[1] :].bool()
    # A mask that does not fit is refused by the backbone, which knows what was read before.
    if real.shape != input_values.shape[:2]:
        return input_values
    return input_values.masked_fill(~real[..., None], 0.0)


def check_reads_tokens(config: PreTrainedConfig) -> None:
    """Refuse a language model that would read numbers."""
    if getattr(config, "feature_size", None) is not None:
        raise ValueError(
            f"A language model predicts token ids, and feature_size={config.feature_size} reads numbers: leave it "
            "out, or take a model for series (...ForSeriesPrediction)."
        )


__all__ = ["ValueEmbedding", "ValuesConfig", "as_vectors", "check_reads_tokens", "check_values"]
