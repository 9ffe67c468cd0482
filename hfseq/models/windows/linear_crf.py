"""The linear CRF (Lafferty, McCallum and Pereira 2001): features of words, and which tag follows which.

    log P(y | x) = sum_t e_t(y_t) + sum_{t>1} A_{y_{t-1} y_t} - log Z(x)        e_t: what the features of word t say

A word is seen through a window of features (`features.py`): its spelling, its ends, its shape, and its neighbours'.
Nothing is learnt but a number for each feature and label, and for each pair of labels (`heads/crf.py`): there is no
state, no vector of a word, and no hidden layer. That is what taggers were before networks, and on a few thousand
sentences it is hard to beat.

The loss is convex in all of its numbers. `SequenceTrainer` with `wide_solver="regression"` finds the one minimum by
L-BFGS, as CRFsuite does; steps along a gradient work too, and take longer. Where we differ from CRFsuite's usual
weights: features share `feature_buckets` rows by a hash, every feature has a number for every label, and only the
squares of numbers are kept small, not their sizes.

Shapes: B batch, T time, L labels.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Self, Unpack

from ..base import SequencePreTrainedModel
from ..calls import model_call
from ..configs import SequenceConfig, bounded
from ..features import MOST_BUCKETS, WordFeatures
from ..fixed_vocabulary import WithoutEmbeddingsMixin
from ..heads.tagging import TokenClassificationMixin
from ..inputs import at_least_one_token, mask_of_inputs
from ..token_words import CheckedWordsMixin, TokenWords, Words, word_tables


@strict
class CRFConfig(SequenceConfig):
    """Configuration of the linear CRF.

    Args:
        vocab_size: Number of token ids.
        feature_buckets: Rows that features share by a hash.
        num_characters: Number of different characters, with one for none; it and the next follow from the tokenizer
            (`CRFForTokenClassification.of`).
        spelling_size: Characters of all tokens together.
        decoding: What the logits decide: "viterbi", the likeliest row of labels, or "marginal", the likeliest label of
            each word.
    """

    model_type = "hfseq_crf"

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    feature_buckets: int = bounded(1 << 18, 1, MOST_BUCKETS)
    num_characters: int = bounded(1, 1, 32_767)
    spelling_size: int = bounded(0, 0, 1 << 30)
    decoding: Literal["marginal", "viterbi"] = "viterbi"
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    crf: ClassVar[bool] = True  # what other taggers choose
    slot_labels: ClassVar[None] = None  # no other head reads its checkpoints

    @property
    def output_size(self) -> int:
        """L, the width of `last_hidden_state`: a feature speaks of labels."""
        return cast(int, self.num_labels)


class CRFPreTrainedModel(WithoutEmbeddingsMixin, CheckedWordsMixin, SequencePreTrainedModel):
    """What transformers needs to know of the linear CRF."""

    config: CRFConfig
    how_to_grow = "train a new one."
    _no_split_modules = ["WordFeatures"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start features at 0, and tables of words empty."""
        if isinstance(module, TokenWords | WordFeatures):
            module.reset()
        else:
            super()._init_weights(module)


class CRFModel(CRFPreTrainedModel):
    """Features of words, and what they say of each label; not what follows what."""

    def __init__(self, config: CRFConfig) -> None:
        super().__init__(config)
        characters = config.num_characters
        self.token_words = TokenWords(config.vocab_size, num_characters=characters, spelling_size=config.spelling_size)
        self.features = WordFeatures(
            buckets=config.feature_buckets, num_characters=characters, num_labels=config.output_size
        )
        self.post_init()

    @model_call("inputs_embeds")
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        words: Words | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutput:
        """Look at words and their neighbours.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens.
            words: Those of these texts, where the head has found them for itself (`Read` of `token_words.py`).

        Returns:
            `last_hidden_state` (B, T, L), the emissions; zero at tokens of no word.
        """
        vectors = cast(torch.Tensor | None, kwargs.get("inputs_embeds"))
        input_ids, attention_mask, _ = at_least_one_token(input_ids, attention_mask, vectors)
        if input_ids is None:
            raise ValueError("A linear CRF looks up how tokens are spelled: give input_ids, not inputs_embeds.")
        if attention_mask is not None:
            attention_mask = mask_of_inputs(attention_mask, *input_ids.shape)
        if words is None:
            words = self.token_words(input_ids, attention_mask)
        return BaseModelOutput(last_hidden_state=self.features(words))


class CRFForTokenClassification(TokenClassificationMixin, CRFPreTrainedModel):
    """A linear CRF."""

    config: CRFConfig
    backbone_class = CRFModel

    @classmethod
    def of(cls, tokenizer: Any, names: Sequence[str], **options: Any) -> Self:
        """Make a new tagger for the words of a tokenizer.

        Args:
            tokenizer: One that tells how words are spelled, see `word_tables`; best `word_or_characters`.
            names: Of the labels, in the order of their ids.
            **options: Other fields of the config.
        """
        tables = word_tables(tokenizer)
        config = CRFConfig(
            vocab_size=len(tokenizer),
            num_characters=len(tables.classes),
            spelling_size=len(tables.spelling),
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            **{name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")},
            **options,
        )
        model = cls(config)
        model.fill_words(tables)
        return model

    def _add_classifier(self) -> None:
        """Make nothing: the features speak of labels."""

    def _head(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states


__all__ = ["CRFConfig", "CRFForTokenClassification", "CRFModel"]
