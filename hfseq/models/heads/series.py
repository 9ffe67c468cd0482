"""Forecasts: at each step of a series of numbers, what comes in the next H steps.

    p(y_{t+1} ... y_{t+H} | v_1 ... v_t) = prod p(y_{t+k, o} | W h_t + b)      h_t: what the backbone has read

for each of O numbers of a step; `densities.py` says what p is, and `distribution` which one. All H steps are said at
once; `forecast` goes further by reading what it has said. The loss is the mean over the numbers that came.

Shapes: B batch, T time, H steps ahead (`prediction_length`), O numbers of a step (`num_targets`), P parameters.
"""

from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import IGNORED
from ..calls import SeriesPredictionOutput, model_call, with_cache
from ..inputs import can_be_checked
from ..values import as_vectors
from .causal_lm import kept_outputs


class SeriesForecast(NamedTuple):
    """What follows the last step of each series; all in the scale of `input_values`.

    Attributes:
        prediction: (B, N, O) the numbers to expect.
        parameters: (B, N, O, P) of p; from step H + 1 on given that what was predicted before had come.
        samples: (S, B, N, O) futures that were drawn; None: none were asked for.
    """

    prediction: torch.Tensor
    parameters: torch.Tensor
    samples: torch.Tensor | None


class SeriesPredictionMixin(PreTrainedModel):
    """`...ForSeriesPrediction`: the next steps, from a backbone that reads forward."""

    backbone_class: ClassVar[type[PreTrainedModel]]
    main_input_name = "input_values"

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        config = self.config
        if config.feature_size is None:
            raise ValueError(
                f"{type(self).__name__} reads numbers: set feature_size in the config, how many a step has."
            )
        if config.bidirectional:
            raise ValueError(
                "A forecast must not read the future: set bidirectional=False in the config (a bidirectional body "
                "serves classification and labels of steps)."
            )
        self.model = self.backbone_class(config)
        self.density = config.density()
        self.ahead = (config.prediction_length, config.target_size, self.density.num_parameters)
        self.head = nn.Linear(config.output_size, config.prediction_length * config.target_size * self.ahead[2])
        self.post_init()

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SeriesPredictionOutput:
        """Predict the next steps after every step.

        Args:
            input_values: (B, T, F) numbers, scaled as a `SeriesFeatureExtractor` does.
            attention_mask: (B, T), 1 for real steps. With a state, the last T columns count.
            cache: The state to continue from, as an earlier call returned it.
            inputs_embeds: (B, T, E) instead of `input_values`.
            labels: (B, T, H, O) what came in the H steps after each one, -100 where it is not known; (B, T, O) does
                where H = 1. Adds `loss`.
            use_cache: Return the state reached.
            num_items_in_batch: Numbers that are predicted in the whole update, by which the summed loss is divided;
                without it, the mean over this batch.
            **kwargs: `output_hidden_states`, `output_attentions`; `output_gates` of a recurrent model.

        Returns:
            `logits`, `prediction`, and `loss`, `cache`, `hidden_states`, `attentions` and `gates` as asked for.
        """
        # 1. Read the series, (B, T, D).
        inputs_embeds = as_vectors(self.model, None, inputs_embeds, input_values, attention_mask)
        outputs = self.model(
            attention_mask=attention_mask,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **{**kwargs, "return_dict": True},
        )
        # 2. Say what comes after each step, (B, T, H, O, P).
        parameters = self._say_ahead(outputs.last_hidden_state)
        # 3. Compare with what came. A batch of texts without tokens has got one masked column.
        loss = None if labels is None else self._loss(parameters, labels, num_items_in_batch)
        return SeriesPredictionOutput(
            loss=loss,
            logits=parameters,
            prediction=self.density.center(parameters),
            **with_cache(outputs.cache),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            gates=outputs.get("gates"),
        )

    def _say_ahead(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.head(hidden_states).unflatten(-1, self.ahead))

    def _loss(
        self, parameters: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
    ) -> torch.Tensor:
        if labels.dim() == 3 and self.ahead[0] == 1:
            labels = labels[:, :, None]
        check_numbers(labels, parameters.shape[:-1])
        known = labels != IGNORED
        # Half precision has no room for sums of squares.
        losses = self.density.loss(parameters.float(), labels.float().masked_fill(~known, 0.0))
        total = losses.masked_fill(~known, 0.0).sum()
        return total / (known.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)

    @torch.no_grad()
    def forecast(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        steps: int | None = None,
        num_samples: int = 0,
        generator: torch.Generator | None = None,
    ) -> SeriesForecast:
        """Say what follows the last real step of each series.

        Args:
            input_values: (B, T, F), as `forward` takes them.
            attention_mask: (B, T), 1 for real steps.
            steps: N; None: H. More than H are reached by reading what was predicted, which needs a model that reads
                what it predicts and nothing else.
            num_samples: S, how many futures to draw of each series; each of them reads what it drew.
            generator: What they are drawn with.
        """
        steps = self.ahead[0] if steps is None else steps
        self._check_reach(steps, num_samples)
        prediction, parameters = self._follow(input_values, attention_mask, steps, self.density.center)
        if num_samples == 0:
            return SeriesForecast(prediction, parameters, None)
        several = input_values.repeat(num_samples, 1, 1)
        mask = None if attention_mask is None else attention_mask.repeat(num_samples, 1)
        drawn, _ = self._follow(several, mask, steps, lambda each: self.density.sample(each, generator))
        return SeriesForecast(prediction, parameters, drawn.unflatten(0, (num_samples, len(input_values))))

    def _check_reach(self, steps: int, num_samples: int) -> None:
        """Refuse numbers of steps and samples that this model cannot reach."""
        if steps < 1 or num_samples < 0:
            raise ValueError(f"steps={steps} must be 1 or more, and num_samples={num_samples} 0 or more.")
        horizon, targets, _ = self.ahead
        if steps > horizon and targets != self.config.feature_size:
            raise ValueError(
                f"steps={steps}: this model says {horizon} steps ahead (prediction_length). To go on it would read "
                f"its own predictions, {targets} numbers a step, but it reads {self.config.feature_size}. Ask for "
                f"{horizon} steps at most, or train with a longer prediction_length."
            )

    def _follow(
        self, values: torch.Tensor, mask: torch.Tensor | None, steps: int, choose: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return numbers (B, N, O) and their parameters after the last real step, H steps at a time."""
        # 1. Read the series, and say what follows its last real step.
        goes_on = steps > self.ahead[0]
        outputs = self.model(
            inputs_embeds=as_vectors(self.model, None, None, values, mask), attention_mask=mask, use_cache=goes_on
        )
        last = kept_outputs(outputs.last_hidden_state, 1, mask)
        chosen: list[torch.Tensor] = []
        said: list[torch.Tensor] = []
        while True:
            said.append(self._say_ahead(last)[:, 0])  # (B, H, O, P)
            chosen.append(choose(said[-1]))
            reached = len(chosen) * self.ahead[0]
            if reached >= steps:
                return torch.cat(chosen, 1)[:, :steps], torch.cat(said, 1)[:, :steps]
            # 2. Read what was said as if it had come.
            if mask is not None:
                mask = nn.functional.pad(mask, (0, self.ahead[0]), value=1)
            outputs = self.model(
                inputs_embeds=as_vectors(self.model, None, None, chosen[-1]),
                attention_mask=mask,
                cache=outputs.cache,
                use_cache=True,
            )
            last = outputs.last_hidden_state[:, -1:]


def check_numbers(labels: torch.Tensor, shape: torch.Size) -> None:
    """Refuse labels that are no numbers, or not one for each that is predicted."""
    if labels.shape != shape or not labels.is_floating_point():
        raise ValueError(
            f"labels of a forecast are floating-point numbers of shape {tuple(shape)}: series, steps, steps ahead "
            f"(prediction_length), numbers of a step (num_targets). Got {labels.dtype} of shape {tuple(labels.shape)}."
        )
    if can_be_checked(labels) and not bool(labels.isfinite().all()):
        place = (~labels.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"labels hold {labels[tuple(place)].item()} at {place} (series, step, ahead, number): what is not known "
            f"is marked by {IGNORED}."
        )


__all__ = ["SeriesForecast", "SeriesPredictionMixin", "SeriesPredictionOutput"]
