"""A label for each token: the head of taggers."""

from typing import cast

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import TokenClassifierOutput

from .shared_checkpoint import SLOT_HEAD, tagger_config
from .token_head import TokenHeadMixin


class TokenClassificationMixin(TokenHeadMixin):
    """`...ForTokenClassification`: one label for each token."""

    output_class = TokenClassifierOutput

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(tagger_config(config))
        self.names_in_joint = None if self.config is config else SLOT_HEAD
        config = self.config
        self.num_labels = cast(int, config.num_labels)
        self.model = self.backbone_class(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.output_size, self.num_labels)
        self.post_init()

    def _head(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(hidden_states))
