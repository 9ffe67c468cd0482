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

from typing import ClassVar, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import SequencePreTrainedModel, at_least_one_token, mask_of_inputs
from ..calls import model_call
from ..configs import SequenceConfig, bounded
from ..features import WordFeatures
from ..fixed_vocabulary import WithoutEmbeddingsMixin
from ..heads.crf import LinearChainCRF
from ..heads.tagging import TokenClassificationMixin
from ..token_words import TokenWords


@strict
class CRFConfig(SequenceConfig):
    """Configuration of the linear CRF.

    Args:
        vocab_size: Number of token ids.
        feature_buckets: Rows that features share by a hash.
        num_characters: Number of different characters, and the next: see `word_tables(tokenizer).sizes()`.
        spelling_size: Length of all tokens' spellings together.
        decoding: What the logits decide: "viterbi", the likeliest row of labels, or "marginal", the likeliest label of
            each word.
    """

    model_type = "hfseq_crf"

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    feature_buckets: int = bounded(1 << 18, 1, 1 << 27)
    num_characters: int = bounded(1, 1, 32_767)
    spelling_size: int = bounded(0, 0, 1 << 30)
    decoding: Literal["marginal", "viterbi"] = "viterbi"
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    crf: ClassVar[bool] = True  # as other taggers say it

    @property
    def output_size(self) -> int:
        """L, the width of `last_hidden_state`: a feature speaks of labels."""
        return int(self.num_labels)


class CRFPreTrainedModel(WithoutEmbeddingsMixin, SequencePreTrainedModel):
    """What transformers needs to know of the linear CRF."""

    config: CRFConfig
    how_to_grow = "train a new one: any word that its characters can spell is known to it."
    _no_split_modules = ["WordFeatures"]


class CRFModel(CRFPreTrainedModel):
    """Features of words, which say something of each label; without what follows what."""

    def __init__(self, config: CRFConfig) -> None:
        super().__init__(config)
        self.words = TokenWords(
            config.vocab_size, num_characters=config.num_characters, spelling_size=config.spelling_size
        )
        self.features = WordFeatures(
            buckets=config.feature_buckets, num_characters=config.num_characters, num_labels=config.num_labels
        )
        self.post_init()
