"""A label for each token: the head of taggers, and its loss."""

from typing import ClassVar, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..calls import model_call
from .classification import _check_classes


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
