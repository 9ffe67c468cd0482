"""Encoder and decoder with the next target token: what every such model does alike, whatever its two parts are.

    P(y_1 ... y_T | x) = prod_t P(y_t | y_1 ... y_{t-1}, x)
    P(y_t | y_1 ... y_{t-1}, x) = softmax(W_out h_t + b_out)          h_t: the decoder's output after y_{t-1}

In training all positions are predicted at once: the decoder reads the targets one step later (`shift_right`). The loss
is the mean of -log P(y_t | ...) in nats.

Shapes: B batch, S source tokens, T target tokens, D width of the decoder's output, V target vocabulary.
"""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import IGNORED
from ..calls import Seq2SeqLMOutput, model_call
from ..inputs import check_rank
from ..vocabularies import TargetHeadMixin
from .causal_lm import check_targets, kept_outputs, mean_over_targets
from .lm_loss import linear_cross_entropy


class Seq2SeqKwargs(TransformersKwargs, total=False):
    """Arguments of a forward with a head besides its parameters."""

    decoder_inputs_embeds: torch.Tensor | None
    use_cache: bool | None
    label_smoothing: float


def check_beginning(decoder_input_ids: torch.Tensor | None) -> None:
    """Refuse a call without the beginnings of the targets."""
    if decoder_input_ids is None:
        raise ValueError(
            "A decoder needs a beginning: give decoder_input_ids, or labels to a model with a head. For "
            "vectors of the sources alone call model.get_encoder()."
        )
    check_rank(decoder_input_ids, "decoder_input_ids")


def shift_right(labels: torch.Tensor, start: int) -> torch.Tensor:
    """Return what a decoder has read before each of (B, T) targets: the start, then all but the last."""
    shifted = labels.roll(1, dims=1)
    # Any token would do in place of -100: what follows it is not asked for.
    shifted = shifted.masked_fill(shifted == IGNORED, start)
    shifted[:, 0] = start
    return shifted


class ConditionalGenerationMixin(TargetHeadMixin):
    """`...ForConditionalGeneration`: a backbone `model` with encoder and decoder, and `lm_head`.

    Each model names `GenerationMixin` as a base of its own: transformers looks for it there.
    """

    # Whether the decoder saves time if it is told where a target ends.
    _skips_behind_labels: ClassVar[bool] = False

    def prepare_decoder_input_ids_from_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Return what the decoder has read before each of (B, T) targets: the start, then all but the last."""
        if labels.dim() != 2 or labels.shape[1] == 0:
            raise ValueError(f"labels are (batch, target tokens), one token a row or more, got {tuple(labels.shape)}.")
        self._check_targets(labels, labels.shape)
        return shift_right(labels, self.config.decoder_start_token_id)

    def _mask_of_targets(self, labels: torch.Tensor, decoder_input_ids: torch.Tensor | None) -> torch.Tensor | None:
        """Return what has to be read for (B, T) labels: all up to the last that is asked for; None: everything."""
        if not self._skips_behind_labels or decoder_input_ids is None or decoder_input_ids.shape != labels.shape:
            return None
        return (labels != IGNORED).long().flip(1).cummax(1).values.flip(1)

    def _read_pair(self, **given: Any) -> Any:
        """Read sources and beginnings of targets: a hook for a backbone that takes more than these."""
        return self.model(**given)

    # Trainer and `generate` look for these parameters by name; the others are in `kwargs`.
    @model_call("decoder_inputs_embeds", "label_smoothing")
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[torch.Tensor, ...] | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[Seq2SeqKwargs],
    ) -> Seq2SeqLMOutput:
        """Predict the next target token at every position.

        Beside the arguments of the backbone's forward it takes `labels`, (B, T) the targets, with -100 for padding,
        which add `loss`; from labels alone it makes `decoder_input_ids`. `num_items_in_batch` is the number of targets
        in the whole update, by which the summed loss is divided; without it, the loss is the mean over this batch.
        `logits_to_keep` says how many of the last positions get logits (see `kept_outputs`), or which; 0: all. With
        another number than 0 the loss is computed without a table of all logits. `label_smoothing` is the share of
        each target that goes to all tokens alike (`lm_loss.py`).

        Returns:
            `logits` (B, T, V), `loss` where there are labels, and what the model without a head returns.
        """
        return self._predict(
            {"input_ids": input_ids, "attention_mask": attention_mask, "inputs_embeds": inputs_embeds},
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            cache=cache,
            labels=labels,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )

    def _predict(
        self,
        source: dict[str, Any],
        *,
        decoder_input_ids: torch.Tensor | None,
        decoder_attention_mask: torch.Tensor | None,
        cache: Cache | None,
        labels: torch.Tensor | None,
        logits_to_keep: int | torch.Tensor,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Predict the next target token, whatever the encoder reads: `source` has its arguments."""
        # 1. Without the beginnings of the targets, make them: each target is predicted from those before it.
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        smoothing = kwargs.pop("label_smoothing", 0.0)
        makes_inputs = decoder_input_ids is None and kwargs.get("decoder_inputs_embeds") is None
        if labels is not None and makes_inputs:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if labels is not None and decoder_attention_mask is None and (makes_inputs or self.training):
            decoder_attention_mask = self._mask_of_targets(labels, decoder_input_ids)
        seen = 0 if cache is None else cache.get_seq_length()
        # 2. Read the sources and these beginnings, (B, T, D).
        outputs = self._read_pair(
            **source,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            cache=cache,
            **{**kwargs, "return_dict": True},
        )
        # 3. Score the vocabulary after the positions that are asked for.
        hidden_states = outputs.last_hidden_state
        logits = self.lm_head(kept_outputs(hidden_states, logits_to_keep, decoder_attention_mask, seen))
        # 4. Compare with the targets, at all positions.
        loss = None
        if labels is not None:
            self._check_targets(labels, hidden_states.shape[:2])
            has_all = isinstance(logits_to_keep, int) and logits_to_keep == 0
            total = self._summed_loss(hidden_states, logits if has_all else None, labels, smoothing)
            loss = mean_over_targets(total, labels, num_items_in_batch)
        fields = {name: value for name, value in outputs.items() if name != "last_hidden_state"}
        return Seq2SeqLMOutput(loss=loss, logits=logits, **fields)

    def _check_targets(self, labels: torch.Tensor, shape: torch.Size) -> None:
        check_targets(labels, shape, self.lm_head.out_features, self.config.size_field_of("decoder_start_token_id"))

    def _summed_loss(
        self, hidden_states: torch.Tensor, logits: torch.Tensor | None, labels: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        # Logits that were made anyway are used; else the loss is taken a few rows at a time, and they never exist.
        if logits is not None:
            rows, targets = logits.float().flatten(0, 1), labels.flatten()
            return nn.functional.cross_entropy(rows, targets, reduction="sum", label_smoothing=smoothing)
        asked, head = labels != IGNORED, self.lm_head
        return linear_cross_entropy(hidden_states[asked], head.weight, head.bias, labels[asked], smoothing)
