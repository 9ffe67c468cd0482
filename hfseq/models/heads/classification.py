"""A label for a text, from its pooled vector.

A head, here and in the files beside it, is a mixin over a family's `...PreTrainedModel`, so that any backbone can
have it. The family names its backbone in `backbone_class`, whose config has `output_size` (the width of
`last_hidden_state`), `has_backward_half`, `pooling`, `pairs`, `classifier_dropout`, `wide_ngrams`, `wide_buckets` and
`temperature`.

Shapes: B batch, T time, D width of the backbone's output, L labels, V vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import IGNORED
from ..calls import SequenceClassifierOutput, model_call
from ..inputs import at_least_one_token, can_be_checked, check_range
from ..shared_checkpoint import classifier_config
from ..token_words import Read
from ..values import as_vectors
from .pairs import COMPARED, PairRows, compare
from .pooling import SequencePooling
from .wide import WideLikeness, WideNgrams


def sequence_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    problem_type: str,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Return the loss of one prediction a text: cross-entropy, binary cross-entropy per label, or squared error.

    `num_items_in_batch` is the number of label entries in *all* the batches of one update (every gradient accumulation
    step, every process), as Trainer counts them. The sum divided by it makes 4 x 8 texts the same update as 1 x 32;
    transformers' own classification heads ignore it for the last two problem types and are off by the factor 4.

    Args:
        logits: (B, L).
        labels: (B,) class ids (-100: no label), (B, L) 0 or 1 each, or (B,) or (B, L) numbers.
        problem_type: "single_label_classification", "multi_label_classification" or "regression".
        num_items_in_batch: Without it, the loss is the mean over this batch.
    """
    logits = logits.float()
    if problem_type == "single_label_classification":
        check_classes(labels, logits)
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
            _check_between_0_and_1(targets)
    if num_items_in_batch is None:
        return loss_function(logits, targets)
    return loss_function(logits, targets, reduction="sum") / num_items_in_batch


def problem_type_of(config: PreTrainedConfig, labels: torch.Tensor) -> str:
    """Return the config's, or transformers' guess from the labels, kept in the config for pipelines."""
    if config.problem_type is None:
        if config.num_labels == 1:
            config.problem_type = "regression"
        elif labels.is_floating_point():
            config.problem_type = "multi_label_classification"
        else:
            config.problem_type = "single_label_classification"
    return cast(str, config.problem_type)


def check_classes(labels: torch.Tensor, logits: torch.Tensor) -> None:
    """Refuse a class id that does not exist."""
    rows, num_labels = logits.shape
    if labels.is_floating_point() or labels.numel() != rows:
        raise ValueError(
            f"single_label_classification needs one integer label a text, got {labels.dtype} of shape "
            f"{tuple(labels.shape)} for {rows} texts. For numbers set problem_type to 'regression', for several "
            "labels a text to 'multi_label_classification'."
        )
    check_range("label", labels, num_labels, f" (config.num_labels={num_labels})", ignored=IGNORED)


def _check_between_0_and_1(targets: torch.Tensor) -> None:
    """Refuse a multi-label entry outside 0 to 1, where the loss has no lower bound."""
    if not can_be_checked(targets):
        return
    wrong = targets[(targets < 0) | (targets > 1)]
    if len(wrong):
        raise ValueError(f"multi_label_classification needs labels from 0 to 1, got {wrong[0].item():g}.")


class Classified(NamedTuple):
    """What was read of texts, and what the classifier says of them."""

    outputs: SequenceClassifierOutput  # without a loss
    last_hidden_state: torch.Tensor  # (B, T, D), or (2 B, T, D) of pairs that are compared
    read: Read  # by the backbone: of pairs that are compared, each of the two alone


class SequenceClassificationMixin(PreTrainedModel):
    """`...ForSequenceClassification`: one label, several labels or numbers for a text.

    In evaluation, logits are divided by `config.temperature`, where one was fitted: the answers stay, and their
    probabilities become as large as the answers are often right (Guo et al. 2017).
    """

    backbone_class: ClassVar[type[PreTrainedModel]]
    names_in_joint: Mapping[str, str] | None

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(self._own_config(config))
        self.names_in_joint = None if self.config is config else {}
        self._add_classifier()
        self.post_init()

    @staticmethod
    def _own_config(config: PreTrainedConfig) -> PreTrainedConfig:
        """Return the config of this head alone."""
        return classifier_config(config)

    def _add_classifier(self) -> None:
        """Make the backbone and the parts above it."""
        config = self.config
        self.num_labels = cast(int, config.num_labels)
        self.model = self.backbone_class(config)
        self.pooling = SequencePooling(
            kind=config.pooling, hidden_size=config.output_size, has_backward_half=config.has_backward_half
        )
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.is_siamese = config.pairs == "siamese"
        width = self.pooling.output_size * (COMPARED if self.is_siamese else 1)
        self.classifier = nn.Linear(width, self.num_labels)
        self.wide = None
        if config.wide_ngrams:
            sizes = {"vocab_size": config.vocab_size, "buckets": config.wide_buckets, "num_labels": self.num_labels}
            self.wide = WideNgrams(longest=config.wide_ngrams, **sizes)
            if self.is_siamese:
                self.likeness = WideLikeness(self.num_labels)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start the wide part at 0, and all else as the family does."""
        if isinstance(module, WideNgrams | WideLikeness):
            module.start()
        else:
            super()._init_weights(module)

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
        input_values: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Classify texts.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens.
            inputs_embeds: (B, T, E) instead of `input_ids`; not with a wide part, which looks ids up.
            labels: (B,) classes or numbers, or (B, labels) of 0 and 1, see `sequence_loss`; adds `loss`.
            num_items_in_batch: Label entries in the whole update, see `sequence_loss`.
            output_attentions: Also return what the model attends to; None: as the config says.
            input_values: (B, T, F) numbers instead of `input_ids`, of a model with `feature_size`.
            **kwargs: `output_hidden_states`; `output_gates` of a recurrent model.

        Returns:
            `logits` (B, L) and, when asked for, `loss`, `hidden_states`, `gates`, and `attentions`: those of the
            backbone's layers (B, H, T, T), then the weights (B, T) of attention pooling, as far as there are any.
        """
        # 1. Score the labels.
        inputs_embeds = as_vectors(self.model, input_ids, inputs_embeds, input_values, attention_mask)
        found = self._classify(input_ids, attention_mask, inputs_embeds, output_attentions, kwargs).outputs
        if labels is None:
            return found
        # 2. Compare with the right ones. In a tuple the loss comes first, so it is not added behind the rest.
        problem_type = problem_type_of(self.config, labels)
        loss = sequence_loss(cast(torch.Tensor, found.logits), labels, problem_type, num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, **found)

    def _classify(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        output_attentions: bool | None,
        others: dict[str, Any],
    ) -> Classified:
        """Read texts and score their labels."""
        # 1. Read the texts, (B, T, D); of pairs that are compared, each of the two alone, (2 B, T, D).
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        self._check_ids(input_ids)
        pairs, read_ids, read_mask = None, input_ids, attention_mask
        if self.is_siamese and input_ids is not None:
            pairs = PairRows(input_ids, attention_mask, self.config.eos_token_id)
            read_ids, read_mask = pairs.apart()
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        read = Read.by(self.model, read_ids, read_mask)
        outputs = self.model(
            input_ids=read_ids,
            attention_mask=read_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            **{**others, "use_cache": False, "return_dict": True, **read.found},
        )
        # 2. Make one vector of each row.
        pooled, weights = self.pooling(outputs.last_hidden_state, read_mask)
        if pairs is not None:
            pooled = compare(pooled)
        # 3. Score the labels.
        logits = self.classifier(self.dropout(pooled))
        if self.wide is not None and input_ids is not None:
            logits = logits + self.wide(input_ids, attention_mask)
            if pairs is not None:
                logits = logits + self.likeness(self.wide, *pairs.words())
        if not self.training and self.config.temperature is not None:
            logits = logits / self.config.temperature
        # 4. Show what was attended to: in the layers, and in the end by the pooling.
        attentions = (*(outputs.attentions or ()), *(() if weights is None else (weights,)))
        hidden_states, gates = outputs.hidden_states, outputs.get("gates")
        if pairs is not None:
            attentions = tuple(pairs.together(each, token_dim=-2 if each.dim() > 2 else 1) for each in attentions)
            hidden_states = hidden_states and tuple(map(pairs.together, hidden_states))
            gates = gates and tuple({name: pairs.together(value) for name, value in each.items()} for each in gates)
        found = SequenceClassifierOutput(
            logits=logits,
            hidden_states=hidden_states,
            attentions=attentions if output_attentions and attentions else None,
            gates=gates,
        )
        return Classified(found, outputs.last_hidden_state, read)

    def _check_ids(self, input_ids: torch.Tensor | None) -> None:
        """Refuse vectors where ids are looked at."""
        if input_ids is not None:
            return
        if self.wide is not None:
            raise ValueError(
                f"wide_ngrams={self.config.wide_ngrams}: this model looks runs of token ids up, not vectors. "
                "Give input_ids, or take a model with wide_ngrams=0."
            )
        if self.is_siamese:
            raise ValueError(
                "pairs='siamese': this model finds the two texts by the id that ends the first, and vectors have "
                "none. Give input_ids, or take a model with pairs='joined'."
            )
