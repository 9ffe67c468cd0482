"""Pen strokes: a recurrent network that draws, one movement of the pen after the other (Graves 2013).

    x_t = (dx / s, dy / s, lifted)             a movement, in units of s, and whether the pen is lifted behind it
    h_t^1 = cell([x_t; c], h_{t-1}^1)          c: the vector of a class, where there are classes
    h_t^n = cell([h_t^{n-1}; x_t; c], h_{t-1}^n)
    p(x_{t+1} | x_1 ... x_t) from y_t = W [h_t^1; ...; h_t^N] + b

Every layer sees the input, and the output sees every layer. What y_t says of the next movement, `loss` decides:

    "mdn"   a mixture of K Gaussians and what the pen does (`stroke_density.py`); the loss is -log p in nats a step
    "mse"   the mean alone: the loss is the mean squared error of dx / s and dy / s, and the pen's cross-entropy

The first point of a drawing only says where it begins: it is read as (0, 0), and not predicted. Offsets come in and go
out in the units of the data: `config.offset_scale`, s, is part of the checkpoint.

Padding never changes an answer, on either side. A state goes on from call to call (`cache`).

Shapes: B batch, T time, F = 3, C width of a class, H hidden, N layers, D = N H, P numbers of a density.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import nn
from transformers.cache_utils import Cache, DynamicCache
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.output_capturing import capture_outputs
from typing_extensions import Unpack

from ..base import IGNORED
from ..calls import BaseModelOutputWithPast, CausalLMOutputWithPast, model_call, with_cache
from ..heads.causal_lm import mean_over_targets, next_tokens
from ..inputs import can_be_checked, check_range, mask_if_padded
from ..token_order import TokenOrder
from .backbone import RecurrentLayer, RecurrentPreTrainedModel
from .stroke_density import DRAWS, ENDS, LIFTS, PEN_STATES, StrokeDensity
from .stroke_sampling import StrokeSamplingMixin
from .strokes_config import FEATURES, StrokesConfig


class StrokesPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the classes that draw."""

    config: StrokesConfig
    main_input_name = "input_values"
    read_by_layers = frozenset()

    def get_input_embeddings(self) -> nn.Module:
        """Refuse: there are none."""
        raise self._without_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Refuse: there are none."""
        raise self._without_embeddings()

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Refuse: there are none."""
        raise self._without_embeddings()

    def _without_embeddings(self) -> NotImplementedError:
        # transformers raises this kind of error for it, and catches it in places.
        return NotImplementedError(
            f"{type(self).__name__} has no embeddings: it reads movements of a pen, not tokens."
        )


class StrokesModel(StrokesPreTrainedModel):
    """The layers, no head."""

    def __init__(self, config: StrokesConfig) -> None:
        super().__init__(config)
        self.class_embeddings = None
        if config.class_names is not None:
            self.class_embeddings = nn.Embedding(len(config.class_names), config.class_embedding_size)
        self.layers = nn.ModuleList(
            RecurrentLayer(
                config.make_cell(),
                input_size=config.input_size + (config.hidden_size if layer_idx else 0),
                hidden_size=config.hidden_size,
                layer_idx=layer_idx,
            )
            for layer_idx in range(config.num_hidden_layers)
        )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.gradient_checkpointing = False
        self.post_init()

    @model_call()
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        class_ids: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPast:
        """Read drawings.

        Args:
            input_values: (B, T, 3) dx, dy in the units of the data, and 0 or 1 (or 2): whether the pen is lifted.
            attention_mask: (B, T), 1 for real points; all without it. With a state, the last T columns count.
            cache: The state to continue from, as an earlier call returned it.
            class_ids: (B,) the class of each drawing, where the config names classes.
            use_cache: Return the state reached.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `last_hidden_state` (B, T, D), zero at padding, and `cache` when asked for.
        """
        # 1. Take the points as they are. A drawing without any becomes one masked column.
        values, attention_mask = _at_least_one_point(input_values, attention_mask)
        batch, steps = values.shape[:2]
        # 2. Find the state to continue from, and the real points.
        wants_cache = self._wants_cache(cache, use_cache)
        cache = DynamicCache(config=self.config) if cache is None and wants_cache else cache
        seen = 0 if cache is None else cache.get_seq_length()
        mask = mask_if_padded(attention_mask, batch, steps, seen=seen)
        # 3. Divide the offsets by their scale, and add the class, (B, T, 3 + C).
        features = self._features(values, mask, class_ids)
        # 4. Run the layers; each sees the input.
        order, outputs = TokenOrder(batch, steps, mask), list[torch.Tensor]()
        for layer in self.layers:
            read = torch.cat((outputs[-1], features), dim=-1) if outputs else features
            outputs.append(self.dropout(layer(read, order=order, cache=cache)))
        return BaseModelOutputWithPast(last_hidden_state=torch.cat(outputs, dim=-1), **with_cache(cache))

    def _features(
        self, values: torch.Tensor, mask: torch.Tensor | None, class_ids: torch.Tensor | None
    ) -> torch.Tensor:
        values = values.to(self.dtype)
        if mask is not None:
            values = values.masked_fill(~mask.bool()[..., None], 0.0)  # whatever stands there, NaN too
        if can_be_checked(values) and not bool(values.isfinite().all()):
            row, step = (~values.isfinite()).any(-1).nonzero()[0].tolist()
            raise ValueError(
                f"input_values[{row}, {step}] = {values[row, step].tolist()} is not finite: remove such points, or "
                "mask them by attention_mask."
            )
        pens = values[..., 2]
        if can_be_checked(values) and bool((wrong := (pens != DRAWS) & (pens != LIFTS) & (pens != ENDS)).any()):
            row, step = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"input_values[{row}, {step}]: the pen is {pens[row, step]:g}, and must be 0 (it goes on), 1 (the "
                "stroke ends) or 2 (the drawing ends)."
            )
        features = torch.cat((values[..., :2] / self.config.offset_scale, values[..., 2:].clamp(0, 1)), dim=-1)
        if self.class_embeddings is None:
            if class_ids is not None:
                raise ValueError("class_ids are given, and config.class_names names no classes: leave them out.")
            return features
        labels = self._checked_classes(class_ids, len(values))
        vectors = self.class_embeddings(labels)[:, None].expand(-1, values.shape[1], -1)
        return torch.cat((features, vectors.to(features.dtype)), dim=-1)

    def _checked_classes(self, class_ids: torch.Tensor | None, batch: int) -> torch.Tensor:
        names = cast(list[str], self.config.class_names)
        if class_ids is None:
            raise ValueError(f"This model draws classes: give class_ids, one of 0 to {len(names) - 1} a drawing.")
        if class_ids.shape != (batch,) or class_ids.is_floating_point():
            raise ValueError(
                f"class_ids must be {batch} whole numbers, one a drawing, got {class_ids.dtype} of shape "
                f"{tuple(class_ids.shape)}."
            )
        check_range("class id", class_ids, len(names), f" (config.class_names has {len(names)})")
        return class_ids


def _at_least_one_point(
    values: torch.Tensor | None, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if values is None:
        raise ValueError("Give input_values: (drawings, points, 3) numbers dx, dy and whether the pen is lifted.")
    if values.dim() != 3 or values.shape[2] != FEATURES:
        alone = " One drawing is a batch of one: input_values[None]." if values.dim() == 2 else ""
        raise ValueError(f"input_values must be of shape (drawings, points, 3), got {tuple(values.shape)}.{alone}")
    if values.shape[0] == 0 and can_be_checked(values):
        raise ValueError("input_values have no rows: give the model one drawing or more.")
    if values.shape[1] > 0:
        return values, mask
    return values.new_zeros(len(values), 1, FEATURES), values.new_zeros(len(values), 1, dtype=torch.long)


class StrokesForGeneration(StrokeSamplingMixin, StrokesPreTrainedModel):
    """The density of the next movement of the pen: to score drawings, and to draw."""

    def __init__(self, config: StrokesConfig) -> None:
        super().__init__(config)
        self.model = StrokesModel(config)
        self.density_head = nn.Linear(config.output_size, config.density_size)
        self.post_init()

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        labels: torch.Tensor | None = None,
        class_ids: torch.Tensor | None = None,
        use_cache: bool | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CausalLMOutputWithPast:
        """Say at each point what the next movement will be.

        Args:
            input_values: (B, T, 3) dx, dy, and whether the pen is lifted; a drawing begins at (0, 0).
                `StrokesCollator` makes them of drawings.
            attention_mask: (B, T), 1 for real points. With a state, the last T columns count.
            cache: The state to continue from, as an earlier call returned it.
            labels: (B, T) what the pen does after each point: 0 it goes on, 1 the stroke ends, 2 the drawing ends, and
                -100 where nothing is to be learnt, as of the first point; shifted here, and so are the offsets, which
                `input_values` hold.
            class_ids: (B,) the class of each drawing, where the config names classes.
            use_cache: Return the state reached.
            num_items_in_batch: Points predicted in the whole update, by which the summed loss is divided; without it,
                the mean over this batch.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `logits` (B, T, P), which `density` reads, `cache` and `hidden_states` as asked for, and `loss` where there
            are labels: in nats a step with "mdn".
        """
        # 1. Read the drawings, (B, T, D).
        read = self.model(
            input_values=input_values,
            attention_mask=attention_mask,
            cache=cache,
            class_ids=class_ids,
            use_cache=use_cache,
            **{**kwargs, "return_dict": True},
        )
        # 2. Describe the next movement by P numbers.
        logits = self.density_head(read.last_hidden_state)
        # 3. Compare with what came.
        loss = None
        if labels is not None:
            pens = _pens_to_come(labels, logits, attention_mask)
            total = self._step_losses(logits, cast(torch.Tensor, input_values), pens).sum()
            loss = mean_over_targets(total, pens, num_items_in_batch)
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, **with_cache(read.past_key_values), hidden_states=read.hidden_states
        )

    def density(self, logits: torch.Tensor) -> StrokeDensity:
        """Return the density of the next movement, of offsets in units of `config.offset_scale`."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.config.loss == "mse":
            return StrokeDensity.around(logits, float(self.config.residual_std))
        return StrokeDensity.of_mixture(logits)

    def step_log_probs(
        self,
        input_values: torch.Tensor,
        labels: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        class_ids: torch.Tensor | None = None,
        logits: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return log p of each next movement, in the units of the data, (B, T); 0 where nothing is asked.

        `logits` are those that the model has given for this batch already; None: it reads the batch.
        """
        if logits is None:
            logits = self(input_values, attention_mask, class_ids=class_ids, use_cache=False).logits
        pens = _pens_to_come(labels, logits, attention_mask)
        return self._log_probs(logits, input_values, pens)

    @torch.no_grad()
    def fit_residual_std(self, batches: Iterable[Mapping[str, torch.Tensor]]) -> float:
        """Set `config.residual_std` to the root mean square of what the mean misses; wanted after training by "mse".

        Args:
            batches: What `StrokesCollator` makes of training drawings.
        """
        if self.config.loss != "mse":
            raise ValueError(f"loss={self.config.loss!r} learns a width for each step: fit_residual_std is for 'mse'.")
        squares, count, was_training = 0.0, 0, self.training
        self.eval()
        for batch in batches:
            here = {name: value.to(self.device) for name, value in batch.items()}
            logits = self(**{name: value for name, value in here.items() if name != "labels"}).logits
            pens = _pens_to_come(here["labels"], logits, here.get("attention_mask"))
            misses = self.density(logits).mean() - self._offsets_to_come(here["input_values"], pens)
            squares += float(misses.square().double().mean(-1)[pens != IGNORED].sum())
            count += int((pens != IGNORED).sum())
        self.train(was_training)
        if count == 0:
            raise ValueError("The batches predict nothing: give drawings of two points or more, with their labels.")
        self.config.residual_std = max((squares / count) ** 0.5, 1e-6)
        return float(self.config.residual_std)

    def _log_probs(self, logits: torch.Tensor, values: torch.Tensor, pens: torch.Tensor) -> torch.Tensor:
        density, asked, offsets = self.density(logits), pens != IGNORED, self._offsets_to_come(values, pens)
        found = density.log_prob_of_offsets(offsets) + density.log_prob_of_pens(pens.clamp(min=0))
        # A density in other units: dx is s times as large, and so is dy.
        return torch.where(asked, found - 2 * math.log(self.config.offset_scale), 0.0)

    def _step_losses(self, logits: torch.Tensor, values: torch.Tensor, pens: torch.Tensor) -> torch.Tensor:
        if self.config.loss == "mdn":
            return -self._log_probs(logits, values, pens)
        density = self.density(logits)
        squares = (density.means[..., 0, :] - self._offsets_to_come(values, pens)).square().mean(-1)
        return torch.where(pens != IGNORED, squares - density.log_prob_of_pens(pens.clamp(min=0)), 0.0)

    def _offsets_to_come(self, values: torch.Tensor, pens: torch.Tensor) -> torch.Tensor:
        """Return (B, T, 2) the offset after each point in units of the scale, and zeros where none is asked for."""
        if values.shape[1] == 0:
            return values.new_zeros(*pens.shape, 2)
        offsets = nn.functional.pad(values[:, 1:, :2], (0, 0, 0, 1)) / self.config.offset_scale
        return torch.where((pens != IGNORED)[..., None], offsets, 0.0)


def _pens_to_come(labels: torch.Tensor, logits: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """Return (B, T) what the pen does after the next movement, -100 where none follows."""
    if labels.dim() == 2 and labels.shape[1] == 0:
        return labels.new_full(logits.shape[:2], IGNORED, dtype=torch.long)
    if labels.is_floating_point() or labels.shape != logits.shape[:2]:
        raise ValueError(
            f"labels say what the pen does after each point, whole numbers of shape {tuple(logits.shape[:2])}, got "
            f"{labels.dtype} of shape {tuple(labels.shape)}."
        )
    pens = next_tokens(labels, attention_mask)
    check_range("label", pens, PEN_STATES, " (0 goes on, 1 ends a stroke, 2 ends the drawing)", ignored=IGNORED)
    return pens


__all__ = ["StrokesConfig", "StrokesForGeneration", "StrokesModel"]
