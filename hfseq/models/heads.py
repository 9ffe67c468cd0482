"""Heads that any backbone can wear: a label for a text, from its pooled vector, or one for each of its tokens.

A head is a mixin over a family's `...PreTrainedModel`; the family names its backbone in `backbone_class`, whose config
has `output_size` (width of `last_hidden_state`), `has_backward_half`, `pooling` and `classifier_dropout`.

Shapes: B batch, T time, D width of the backbone's output, L labels, V vocabulary.
"""

from collections.abc import Callable
from typing import ClassVar, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput, TokenClassifierOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from .base import at_least_one_token
from .calls import model_call


class SequencePooling(nn.Module):
    """(B, T, D) -> (B, output_size), looking at real tokens only.

    last        what each direction says when it has read the whole text: h at its last token (first, going backward)
    mean, max   over the tokens
    mean_max    both, side by side
    attention   sum_t a_t h_t  with  a = softmax(v . tanh(W h_t))

    Args:
        kind: One of the above.
        hidden_size: D.
        has_backward_half: Whether the second half of D was read backward.
    """

    def __init__(self, *, kind: str, hidden_size: int, has_backward_half: bool) -> None:
        super().__init__()
        self.kind, self.has_backward_half = kind, has_backward_half
        self.output_size = hidden_size * (2 if kind == "mean_max" else 1)
        if kind == "attention":
            self.query = nn.Linear(hidden_size, hidden_size)
            self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pool; also return the weights (B, T) of attention pooling. A text without a token pools to zeros."""
        if attention_mask is None:
            attention_mask = hidden_states.new_ones(hidden_states.shape[:2])
        real = attention_mask.bool()
        if self.kind == "last":
            return self._last(hidden_states, real), None
        if self.kind == "attention":
            weights = self._weights(hidden_states, real)
            return torch.einsum("bt,btd->bd", weights, hidden_states), weights
        pooled = []
        if self.kind in ("mean", "mean_max"):
            count = real.sum(1, keepdim=True).clamp(min=1)
            pooled.append((hidden_states * real[..., None]).sum(1) / count)
        if self.kind in ("max", "mean_max"):
            low = torch.finfo(hidden_states.dtype).min
            # max, not amax, whose gradient goes looking for ties.
            highest = hidden_states.masked_fill(~real[..., None], low).max(1).values
            pooled.append(highest * real.any(1, keepdim=True))
        return torch.cat(pooled, dim=-1), None

    def _last(self, hidden_states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        step = torch.arange(real.shape[1], device=real.device)
        rows = torch.arange(real.shape[0], device=real.device)
        last = (real * step).argmax(1)  # of a row without a token: 0, where the output is zero anyway
        if not self.has_backward_half:
            return hidden_states[rows, last] * real.any(1, keepdim=True)
        first = real.int().argmax(1)
        forward, backward = hidden_states.chunk(2, dim=-1)
        return torch.cat((forward[rows, last], backward[rows, first]), dim=-1) * real.any(1, keepdim=True)

    def _weights(self, hidden_states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        scores = self.score(torch.tanh(self.query(hidden_states))).squeeze(-1)  # (B, T)
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1)
        return weights * real


def sequence_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    problem_type: str,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Loss of one prediction per text: cross-entropy, binary cross-entropy per label, or squared error.

    `num_items_in_batch` is the number of label entries in *all* the batches of one update (every gradient accumulation
    step, every process), as Trainer counts them. The sum divided by it makes 4 x 8 texts the same update as 1 x 32;
    transformers' own classification heads ignore it for the last two problem types and are off by the factor 4.

    Args:
        logits: (B, L).
        labels: (B,) class ids (-100: no label), (B, L) 0 or 1 each, or (B,) or (B, L) numbers.
        problem_type: "single_label_classification", "multi_label_classification" or "regression".
        num_items_in_batch: See above; without it, the mean over this batch.
    """
    logits = logits.float()
    if problem_type == "single_label_classification":
        _check_classes(labels, logits)
        targets = labels.view(-1)
        loss_function: Callable[..., torch.Tensor] = nn.functional.cross_entropy
    else:
        is_regression = problem_type == "regression"
        loss_function = nn.functional.mse_loss if is_regression else nn.functional.binary_cross_entropy_with_logits
        if labels.numel() != logits.numel():
            raise ValueError(
                f"{problem_type} needs one number per label: labels of shape {tuple(labels.shape)} do not fit logits "
                f"of shape {tuple(logits.shape)}. Check config.num_labels ({logits.shape[-1]})."
            )
        targets = labels.float().view_as(logits)
        if not is_regression:
            _check_shares(targets)
    if num_items_in_batch is None:
        return loss_function(logits, targets)
    return loss_function(logits, targets, reduction="sum") / num_items_in_batch


def _check_classes(labels: torch.Tensor, logits: torch.Tensor) -> None:
    """Name a class id that does not exist; on the CPU only, elsewhere looking would wait for the device."""
    rows, num_labels = logits.shape
    if labels.is_floating_point() or labels.numel() != rows:
        raise ValueError(
            f"single_label_classification needs one integer label a text, got {labels.dtype} of shape "
            f"{tuple(labels.shape)} for {rows} texts. For numbers set problem_type to 'regression', for several "
            "labels a text to 'multi_label_classification'."
        )
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        return
    wrong = labels[(labels != -100) & ((labels < 0) | (labels >= num_labels))]
    if len(wrong):
        raise ValueError(f"label {int(wrong[0])} is outside 0 to {num_labels - 1} (config.num_labels={num_labels}).")


def _check_shares(targets: torch.Tensor) -> None:
    """Name a multi-label entry that is no share of yes: outside 0 to 1 the loss has no lower bound."""
    if targets.device.type != "cpu" or torch.compiler.is_compiling():
        return
    wrong = targets[(targets < 0) | (targets > 1)]
    if len(wrong):
        raise ValueError(f"multi_label_classification needs labels from 0 to 1, got {wrong[0].item():g}.")


class SequenceClassificationMixin(PreTrainedModel):
    """`...ForSequenceClassification`: one label, several labels or numbers for a text."""

    backbone_class: ClassVar[type[PreTrainedModel]]

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        config = self.config
        self.num_labels = cast(int, config.num_labels)
        self.model = self.backbone_class(config)
        self.pooling = SequencePooling(
            kind=config.pooling, hidden_size=config.output_size, has_backward_half=config.has_backward_half
        )
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(self.pooling.output_size, self.num_labels)
        self.post_init()

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        output_attentions: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Classify texts.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens.
            inputs_embeds: (B, T, E) instead of `input_ids`.
            labels: As `sequence_loss` takes them; adds `loss`.
            num_items_in_batch: Label entries in the whole update, see `sequence_loss`.
            output_attentions: Also return what the model attends to; None: as the config says.
            **kwargs: `output_hidden_states`.

        Returns:
            `logits` (B, L) and, when asked for, `loss`, `hidden_states`, and `attentions`: those of the backbone's
            layers (B, H, T, T), then the weights (B, T) of attention pooling, as far as there are any.
        """
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            **{**kwargs, "use_cache": False, "return_dict": True},
        )
        pooled, weights = self.pooling(outputs.last_hidden_state, attention_mask)
        logits = self.classifier(self.dropout(pooled))
        loss = None
        if labels is not None:
            loss = sequence_loss(logits, labels, self._problem_type(labels), num_items_in_batch)
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=(outputs.attentions or ()) + (() if weights is None else (weights,)) or None
            if output_attentions
            else None,
        )

    def _problem_type(self, labels: torch.Tensor) -> str:
        """The config's, or transformers' guess from the labels, kept in the config so that pipelines know it too."""
        if self.config.problem_type is None:
            if self.num_labels == 1:
                self.config.problem_type = "regression"
            elif labels.is_floating_point():
                self.config.problem_type = "multi_label_classification"
            else:
                self.config.problem_type = "single_label_classification"
        return self.config.problem_type


def token_loss(
    logits: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Cross-entropy of one label a token.

    Args:
        logits: (B, T, L).
        labels: (B, T) class ids; -100: no label.
        num_items_in_batch: Labels in the whole update, see `sequence_loss`; without it, the mean over this batch.
    """
    if labels.shape != logits.shape[:2]:
        raise ValueError(
            f"token classification needs one label a token, got labels of shape {tuple(labels.shape)} for tokens of "
            f"shape {tuple(logits.shape[:2])}: pad them with DataCollatorForTokenClassification."
        )
    logits, labels = logits.float().flatten(0, 1), labels.flatten()
    _check_classes(labels, logits)
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    return loss / ((labels != -100).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)


class TokenClassificationMixin(PreTrainedModel):
    """`...ForTokenClassification`: one label for each token."""

    backbone_class: ClassVar[type[PreTrainedModel]]

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        config = self.config
        self.num_labels = cast(int, config.num_labels)
        self.model = self.backbone_class(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.output_size, self.num_labels)
        self.post_init()

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TokenClassifierOutput:
        """Label the tokens of texts.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens.
            inputs_embeds: (B, T, E) instead of `input_ids`.
            labels: (B, T) class ids, -100 for tokens without one; adds `loss`.
            num_items_in_batch: Labels in the whole update, see `sequence_loss`.
            **kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `logits` (B, T, L) and, when asked for, `loss`, `hidden_states`, `attentions`.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            **{**kwargs, "use_cache": False, "return_dict": True},
        )
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels, num_items_in_batch)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class MaskedLMMixin(PreTrainedModel):
    """`...ForMaskedLM`: the tokens that were masked, from a backbone that reads in both directions."""

    backbone_class: ClassVar[type[PreTrainedModel]]
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        config = self.config
        if config.adaptive_softmax_cutoffs is not None:
            raise ValueError(
                f"adaptive_softmax_cutoffs={config.adaptive_softmax_cutoffs} is for models of the next token: leave "
                "it out."
            )
        self.model = self.backbone_class(config)
        if not config.bidirectional:
            raise ValueError(
                "A masked language model fills in from both sides: set bidirectional=True in the config (a model that "
                "reads forward serves generation)."
            )
        self.lm_head = nn.Linear(config.output_size, config.vocab_size)
        self.post_init()

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MaskedLMOutput:
        """Say for each position which token stands, or stood, there.

        Args:
            input_ids: (B, T) token ids, some of them replaced by the mask.
            attention_mask: (B, T), 1 for real tokens.
            inputs_embeds: (B, T, E) instead of `input_ids`.
            labels: (B, T) the tokens that were replaced, -100 for all others; adds `loss`.
            num_items_in_batch: Labels in the whole update, see `sequence_loss`.
            **kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `logits` (B, T, V) and, when asked for, `loss`, `hidden_states`, `attentions`.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            **{**kwargs, "return_dict": True},
        )
        logits = self.lm_head(outputs.last_hidden_state)
        loss = None if labels is None else token_loss(logits, labels, num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
