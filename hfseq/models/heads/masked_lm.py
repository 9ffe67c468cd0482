"""A guess for each hidden token: the head of masked language models."""

from typing import ClassVar

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..calls import model_call
from .tagging import token_loss


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
