"""A label for each token: the head of taggers.

With `config.crf` the labels of a text are chosen together (`crf.py`). In training the logits are what the classifier
says of each token, and in evaluation the answers: argmax is the decision, softmax its probability.

A word has one label, which its first token tells. Where the backbone knows words (`token_words.py`), the other tokens
of a word do not take part in the CRF, and in evaluation they answer as the first one does, inside the entity that it
begins. The words of a batch are found once, for the backbone and for all that is here.

With `config.feature_buckets` the features of words (`features.py`) speak beside the network, as the wide part of a
classifier does: what they say of each label is added to what the network says.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ..calls import TokenClassifierOutput
from ..features import WordFeatures
from ..inputs import can_be_checked, mask_of_inputs
from ..shared_checkpoint import SLOT_HEAD, tagger_config
from ..tag_names import tags_inside
from ..token_words import Read, Words
from .crf import LinearChainCRF, put_first
from .crf_passes import LEAST
from .token_head import TokenHeadMixin, token_loss

_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id")


class TagRowsMixin(PreTrainedModel):
    """What becomes of the scores of each token's labels: a model with a head for them has this beside its own."""

    crf: LinearChainCRF | None
    features: WordFeatures | None

    def _add_tags(self, names: Sequence[str]) -> None:
        """Make the CRF over labels of these names, if the config asks for one."""
        self.crf = LinearChainCRF(names) if self.config.crf else None
        self._inside = tags_inside(names)

    def _add_features(self, num_labels: int) -> None:
        """Make what the features of words say of so many labels, if the config asks for it."""
        self.features = None
        if getattr(self.config, "feature_buckets", 0):
            sizes = {"buckets": self.config.feature_buckets, "num_characters": self.config.num_characters}
            self.features = WordFeatures(num_labels=num_labels, **sizes)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start the CRF and the features at 0, and all else as the family does."""
        if isinstance(module, LinearChainCRF):
            module.reset_parameters()
        elif isinstance(module, WordFeatures):
            module.reset()
        else:
            super()._init_weights(module)

    def _with_features(self, scores: torch.Tensor, words: Words | None) -> torch.Tensor:
        """Add up what the network and the features say of each token."""
        return scores if self.features is None or words is None else scores + self.features(words)

    def _tag_loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None,
        read: Read,
    ) -> torch.Tensor:
        """Compare what the model says of each token with the labels."""
        if self.crf is None:
            return token_loss(logits, labels, num_items_in_batch)
        return self.crf.loss(logits, labels, self.chain(logits, read), num_items_in_batch)

    def _tag_answers(self, logits: torch.Tensor, read: Read) -> torch.Tensor:
        """Make answers of what the model says of each token, see the top of this file."""
        if self.training:
            return logits
        of_text = self._of_text(logits, read)
        starts = None if read.words is None else read.words.starts
        if self.crf is not None:
            chain = of_text if starts is None else of_text & starts
            logits = self.crf.answers(logits, chain, self.config.decoding)
        if starts is None:
            return logits
        later = of_text & ~starts
        # Most texts have known words alone, where each token is a word.
        if can_be_checked(later) and not later.any():
            return logits
        return answer_for_words(logits, starts, later, self._inside)

    def chain(self, logits: torch.Tensor, read: Read) -> torch.Tensor:
        """Return which tokens follow one another in the CRF, (B, T) as the logits (B, T, L): one of each word."""
        of_text = self._of_text(logits, read)
        return of_text if read.words is None else of_text & read.words.starts

    def _of_text(self, logits: torch.Tensor, read: Read) -> torch.Tensor:
        """Return which tokens are of the text's words, (B, T): no padding and no special ones."""
        if read.attention_mask is None:
            found = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        else:
            found = mask_of_inputs(read.attention_mask, *logits.shape[:2]).bool()
        if read.input_ids is not None:
            for token in {getattr(self.config, name) for name in _SPECIAL} - {None}:
                found = found & (read.input_ids != token)
        return found


class TokenClassificationMixin(TagRowsMixin, TokenHeadMixin):
    """`...ForTokenClassification`: one label for each token."""

    output_class = TokenClassifierOutput
    names_in_joint: Mapping[str, str] | None

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(tagger_config(config))
        self.names_in_joint = None if self.config is config else SLOT_HEAD
        config = self.config
        self.num_labels = cast(int, config.num_labels)
        self.model = self.backbone_class(config)
        self.features = None
        self._add_classifier()
        names = cast(dict[int, str], config.id2label)
        self._add_tags([names[index] for index in range(self.num_labels)])
        self.post_init()

    def _add_classifier(self) -> None:
        """Make what scores the labels of a token."""
        self.dropout = nn.Dropout(self.config.classifier_dropout)
        self.classifier = nn.Linear(self.config.output_size, self.num_labels)
        self._add_features(self.num_labels)

    def _head(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(hidden_states))

    def _emissions(self, hidden_states: torch.Tensor, read: Read) -> torch.Tensor:
        return self._with_features(super()._emissions(hidden_states, read), read.words)

    def _loss(self, *given: Any) -> torch.Tensor:
        return self._tag_loss(*given)

    def _answers(self, logits: torch.Tensor, read: Read) -> torch.Tensor:
        return self._tag_answers(logits, read)


def answer_for_words(
    logits: torch.Tensor, starts: torch.Tensor, later: torch.Tensor, inside: dict[int, int]
) -> torch.Tensor:
    """Let the later tokens of each word answer as its first one, inside the entity that it may begin.

    Args:
        logits: (B, T, L).
        starts: (B, T) where words begin.
        later: (B, T) the other tokens of words.
        inside: The label of I-X, for that of B-X (`tag_names.tags_inside`).
    """
    step = torch.arange(starts.shape[1], device=starts.device).expand_as(starts)
    first = step.masked_fill(~starts, -1).cummax(1).values  # (B, T), -1 before the first word
    rows = logits.gather(1, first.clamp(min=0)[..., None].expand_as(logits))
    decided = rows.argmax(-1)
    if inside:
        begins, goes_on = (torch.tensor(each, device=rows.device) for each in (list(inside), list(inside.values())))
        goes_to = torch.arange(rows.shape[-1], device=rows.device).index_copy(0, begins, goes_on)
        lowest = (rows.amax(-1, keepdim=True) + LEAST).expand_as(rows)
        both = torch.logaddexp(rows[..., begins], rows[..., goes_on])
        rows = rows.index_copy(-1, goes_on, both).index_copy(-1, begins, lowest[..., begins])
        # B-X and I-X together may be likelier than what was decided: one word would have two answers.
        rows = put_first(rows, goes_to[decided])
    return torch.where((later & (first >= 0))[..., None], rows, logits)


__all__ = ["TagRowsMixin", "TokenClassificationMixin", "answer_for_words"]
