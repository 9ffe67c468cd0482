"""One answer for each token: what taggers and masked language models share.

Shapes: B batch, T time, D width of the backbone's output, L classes: labels of a tagger, or the vocabulary.
"""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import IGNORED
from ..calls import model_call
from ..inputs import at_least_one_token
from ..token_words import Read
from ..values import as_vectors
from .classification import check_classes


def token_loss(
    logits: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Return the cross-entropy of one label a token.

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
    check_classes(labels, logits)
    total = nn.functional.cross_entropy(logits, labels, reduction="sum")
    return total / ((labels != IGNORED).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)


class TokenHeadMixin(PreTrainedModel):
    """Forward and loss of a model with an output layer on each token; `_head` is that layer."""

    backbone_class: ClassVar[type[PreTrainedModel]]
    output_class: ClassVar[type]

    def _head(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map outputs of the backbone (B, T, D) to logits (B, T, L)."""
        raise NotImplementedError

    def _emissions(self, hidden_states: torch.Tensor, read: Read) -> torch.Tensor:
        """Say (B, T, L) of each token which class it may have: what `_head` says, and what stands beside it."""
        return self._head(hidden_states)

    def _loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None,
        read: Read,
    ) -> torch.Tensor:
        """Compare what `_head` said with the labels."""
        return token_loss(logits, labels, num_items_in_batch)

    def _answers(self, logits: torch.Tensor, read: Read) -> torch.Tensor:
        """Make answers (B, T, L) of what `_head` said."""
        return logits

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        input_values: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> Any:
        """Say for each token which class it has.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens.
            inputs_embeds: (B, T, E) instead of `input_ids`.
            labels: (B, T) class ids, -100 for tokens without one; adds `loss`. Of a masked language model the tokens
                that were replaced, -100 for all others.
            num_items_in_batch: Labels in the whole update, see `sequence_loss`.
            input_values: (B, T, F) numbers instead of `input_ids`, of a model with `feature_size`.
            **kwargs: `output_hidden_states`, `output_attentions`; `output_gates` of a recurrent model.

        Returns:
            `logits` (B, T, L) and, when asked for, `loss`, `hidden_states`, `attentions`, `gates`.
        """
        # 1. Read the texts, (B, T, D). Nothing is continued from here, so a state would be kept for nobody.
        inputs_embeds = as_vectors(self.model, input_ids, inputs_embeds, input_values, attention_mask)
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        read = Read.by(self.model, input_ids, attention_mask)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            **{"use_cache": False, **kwargs, "return_dict": True, **read.found},
        )
        # 2. Score the classes of each token.
        logits = self._emissions(outputs.last_hidden_state, read)
        # 3. Compare with the labels.
        loss = None if labels is None else self._loss(logits, labels, num_items_in_batch, read)
        # 4. Answer.
        answer = self.output_class(
            loss=loss,
            logits=self._answers(logits, read),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        if outputs.get("gates") is not None:
            answer["gates"] = outputs.gates
        return answer
