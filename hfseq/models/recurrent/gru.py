"""The gated recurrent unit (Cho et al. 2014), in both of its forms.

    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)                     reset
    z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)                     update: how much to keep
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + b'_n))         new content; reset="after" the product, or
    n_t = tanh(W_n x_t + b_n + U_n (r_t * h_{t-1}))                reset="before" it
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}                          h_0 = 0

The paper resets before; `torch.nn.GRU` and cuDNN reset after, which is the default here. Weights of the two forms
cannot be exchanged. With reset="after" `GRUModel` equals `torch.nn.GRU` on every real token, see `loop.py` for
padding, directions and state.
"""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import GenerationMixin

from ..heads.causal_lm import CausalLMMixin
from ..heads.classification import SequenceClassificationMixin
from ..heads.joint import IntentAndSlotsMixin
from ..heads.series import SeriesPredictionMixin
from ..heads.tagging import TokenClassificationMixin
from .backbone import RecurrentConfig, RecurrentModel, RecurrentPreTrainedModel
from .cells import Cell, gru_cell


@strict
class GRUConfig(RecurrentConfig):
    """Configuration of the GRU: `RecurrentConfig` and the place of the reset gate.

    Args:
        reset: "after" or "before" the recurrent product.
    """

    model_type = "hfseq_gru"

    reset: Literal["after", "before"] = "after"

    def make_cell(self) -> Cell:
        """Return the GRU in this form."""
        return gru_cell(self.reset)


class GRUPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the GRU classes."""

    config: GRUConfig


class GRUModel(RecurrentModel, GRUPreTrainedModel):
    """Embeddings and GRU layers, no head."""

    config: GRUConfig


class GRUForSequenceClassification(SequenceClassificationMixin, GRUPreTrainedModel):
    """A GRU with a classifier on its pooled outputs."""

    config: GRUConfig
    backbone_class = GRUModel


class GRUForTokenClassification(TokenClassificationMixin, GRUPreTrainedModel):
    """A GRU with a classifier on the output at each token."""

    config: GRUConfig
    backbone_class = GRUModel


class GRUForIntentAndSlots(IntentAndSlotsMixin, GRUPreTrainedModel):
    """A GRU with two heads: the intent of a text, and the slot of each token."""

    config: GRUConfig
    backbone_class = GRUModel


class GRUForCausalLM(CausalLMMixin, GRUPreTrainedModel, GenerationMixin):
    """A GRU as a language model."""

    config: GRUConfig
    backbone_class = GRUModel


class GRUForSeriesPrediction(SeriesPredictionMixin, GRUPreTrainedModel):
    """A GRU that says what comes next in a series of numbers."""

    config: GRUConfig
    backbone_class = GRUModel


__all__ = [
    "GRUConfig",
    "GRUForCausalLM",
    "GRUForIntentAndSlots",
    "GRUForSequenceClassification",
    "GRUForSeriesPrediction",
    "GRUForTokenClassification",
    "GRUModel",
]
