"""The vanilla recurrent network (Elman 1990) and its residual forms.

    h_t = act(W x_t + U h_{t-1} + b)                                     residual="none"
    h_t = h_{t-1} + act(W x_t + U h_{t-1} + b)                           residual="plain"
    h_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f) * h_{t-1} + act(...)      residual="forget"

with act = tanh, relu or sigmoid, and h_0 = 0. The simplest memory: one vector, rewritten whole at every step, which is
why gradients through it vanish or explode. Adding to it instead gives the gradient a way past every step; a forget
gate lets it be cleared again; one step further is the LSTM. With residual="none" `RNNModel` equals `torch.nn.RNN`
on every real token, see `loop.py` for padding, directions and state.
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
from .cells import Cell, rnn_cell


@strict
class RNNConfig(RecurrentConfig):
    """Configuration of the vanilla RNN: `RecurrentConfig`, the activation and the residual.

    Args:
        nonlinearity: The activation, "tanh", "relu" or "sigmoid".
        residual: "none", "plain", or "forget" for one with a forget gate.
    """

    model_type = "hfseq_rnn"

    nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh"
    residual: Literal["none", "plain", "forget"] = "none"

    def make_cell(self) -> Cell:
        """Return the cell with this activation and residual."""
        return rnn_cell(self.nonlinearity, self.residual)


class RNNPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the RNN classes."""

    config: RNNConfig


class RNNModel(RecurrentModel, RNNPreTrainedModel):
    """Embeddings and vanilla recurrent layers, no head."""

    config: RNNConfig


class RNNForSequenceClassification(SequenceClassificationMixin, RNNPreTrainedModel):
    """A vanilla RNN with a classifier on its pooled outputs."""

    config: RNNConfig
    backbone_class = RNNModel


class RNNForTokenClassification(TokenClassificationMixin, RNNPreTrainedModel):
    """A vanilla RNN with a classifier on the output at each token."""

    config: RNNConfig
    backbone_class = RNNModel


class RNNForIntentAndSlots(IntentAndSlotsMixin, RNNPreTrainedModel):
    """A vanilla RNN with two heads: the intent of a text, and the slot of each token."""

    config: RNNConfig
    backbone_class = RNNModel


class RNNForCausalLM(CausalLMMixin, RNNPreTrainedModel, GenerationMixin):
    """A vanilla RNN as a language model."""

    config: RNNConfig
    backbone_class = RNNModel


class RNNForSeriesPrediction(SeriesPredictionMixin, RNNPreTrainedModel):
    """A plain recurrent network that says what comes next in a series of numbers."""

    config: RNNConfig
    backbone_class = RNNModel


__all__ = [
    "RNNConfig",
    "RNNForCausalLM",
    "RNNForIntentAndSlots",
    "RNNForSequenceClassification",
    "RNNForSeriesPrediction",
    "RNNForTokenClassification",
    "RNNModel",
]
