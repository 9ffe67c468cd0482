"""A guess for each hidden token: the head of masked language models."""

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import MaskedLMOutput

from ..values import check_reads_tokens
from .token_head import TokenHeadMixin


class MaskedLMMixin(TokenHeadMixin):
    """`...ForMaskedLM`: the tokens that were masked, from a backbone that reads in both directions."""

    output_class = MaskedLMOutput
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        config = self.config
        check_reads_tokens(config)
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

    def _head(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.lm_head(hidden_states)
