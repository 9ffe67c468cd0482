"""An intent for a text and a slot for each of its words: one body, two heads, one forward, one loss.

    loss of a text = intent_weight * -log p(intent) + slot_weight * sum over its tokens of -log p(slot)

The text is the item: both sums are divided by the number of texts. `num_items_in_batch`, as Trainer counts it, is the
number of `labels` of an update, which are intents, one a text; so each update is the same however its texts are dealt
to accumulation steps and processes. A mean over the slots of a batch would need a second count, which no Trainer has,
and would weigh a word less where others of its batch have many. (With a CRF the second part is that of the whole row
of slots, `-log p(slots)`.)

The intent head is that of `classification.py`, part for part; the slots' is that of a tagger. A classifier and a
tagger of the family read the same checkpoint, see `shared_checkpoint.py`.

Shapes: B batch, T time, D width of the backbone's output, L intents, S names of slots.
"""

from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import IGNORED
from ..calls import Gates, model_call
from .classification import SequenceClassificationMixin, sequence_loss
from .tagging import TagRowsMixin

_PROBLEM: Final = "single_label_classification"


@dataclass
class IntentAndSlotsOutput(ModelOutput):
    """What a model of intents and slots returns.

    Attributes:
        loss: Where labels were given.
        logits: (B, L), of the intents; in evaluation divided by `config.temperature`.
        slot_logits: (B, T, S), of the slots; with a CRF in evaluation its answers, see `tagging.py`.
        hidden_states: Where asked for.
        attentions: Where asked for.
        gates: Of a recurrent model, where asked for.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    slot_logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    gates: Gates = None


class IntentAndSlotsMixin(TagRowsMixin, SequenceClassificationMixin):
    """`...ForIntentAndSlots`: `config.id2label` names the intents, `config.slot_labels` the slots."""

    @staticmethod
    def _own_config(config: PreTrainedConfig) -> PreTrainedConfig:
        """Return the config as it is: both heads are this model's."""
        _check_config(config)
        return config

    def _add_classifier(self) -> None:
        """Make the backbone and both heads."""
        # One text has one intent: a pipeline of classifiers reads this, and takes the softmax.
        self.config.problem_type = _PROBLEM
        super()._add_classifier()
        self.slot_classifier = nn.Linear(self.config.output_size, len(self.config.slot_labels))
        self._add_features(len(self.config.slot_labels))
        self._add_tags(self.config.slot_labels)

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        slot_labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        output_attentions: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> IntentAndSlotsOutput:
        """Find the intent and the slots of texts.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens.
            inputs_embeds: (B, T, E) instead of `input_ids`; not with a wide part, which looks ids up.
            labels: (B,) ids of intents, -100 for a text without one; adds `loss`.
            slot_labels: (B, T) ids of slots, -100 for tokens without one; adds to `loss`.
            num_items_in_batch: Texts with an intent in the whole update, see above; None: those of this batch.
            output_attentions: Also return what the model attends to; None: as the config says.
            **kwargs: `output_hidden_states`; `output_gates` of a recurrent model.
        """
        # 1. Read the texts, and score their intents.
        found = self._classify(input_ids, attention_mask, inputs_embeds, output_attentions, kwargs)
        read, logits = found.read, cast(torch.Tensor, found.outputs.logits)
        # 2. Score the slots of each token.
        slot_logits = self._with_features(self.slot_classifier(self.dropout(found.last_hidden_state)), read.words)
        # 3. Compare with the right ones.
        texts = _texts(labels, slot_labels, num_items_in_batch)
        losses = []
        if labels is not None:
            losses.append(self.config.intent_weight * sequence_loss(logits, labels, _PROBLEM, texts))
        if slot_labels is not None:
            losses.append(self.config.slot_weight * self._tag_loss(slot_logits, slot_labels, texts, read))
        # 4. Answer.
        return IntentAndSlotsOutput(
            loss=sum(losses[1:], losses[0]) if losses else None,
            logits=logits,
            slot_logits=self._tag_answers(slot_logits, read),
            hidden_states=found.outputs.hidden_states,
            attentions=found.outputs.attentions,
            gates=found.outputs.gates,
        )


def _texts(
    labels: torch.Tensor | None, slot_labels: torch.Tensor | None, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor | int:
    """Count the texts that have an intent, without intents those that have slots; of an update as Trainer counts."""
    if num_items_in_batch is not None:
        # There may be slots and no intent, where Trainer evaluates labels that training never shows.
        return torch.as_tensor(num_items_in_batch).clamp(min=1)
    if labels is not None:
        return (labels != IGNORED).sum().clamp(min=1)
    return 1 if slot_labels is None else (slot_labels != IGNORED).any(-1).sum().clamp(min=1)


def _check_config(config: PreTrainedConfig) -> None:
    """Refuse a config that lacks the names of slots, or asks for what one reading of a text cannot give."""
    if config.slot_labels is None:
        raise ValueError(
            "slot_labels is None: a model of intents and slots needs the names of its slots, such as "
            "slot_labels=['O', 'B-city', 'I-city']; id2label names the intents."
        )
    if config.pairs == "siamese":
        raise ValueError("pairs='siamese' reads two texts apart, and slots are of one text: take pairs='joined'.")
    if config.problem_type not in (None, _PROBLEM):
        raise ValueError(
            f"problem_type={config.problem_type!r}: a text has one intent. Leave it out, or give {_PROBLEM!r}."
        )
