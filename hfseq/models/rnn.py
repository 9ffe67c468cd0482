"""The vanilla recurrent network (Elman 1990).

    h_t = act(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)          act = tanh or relu,  h_0 = 0

The simplest memory: one vector, rewritten whole at every step, which is why gradients through it vanish or explode.
`RNNModel` equals `torch.nn.RNN` on every real token, see `recurrence.py` for padding, directions and state.
"""

from typing import Literal

from huggingface_hub.dataclasses import strict
from torch import nn

from .heads import SequenceClassificationMixin
from .recurrence import RecurrentConfig, RecurrentModel, RecurrentPreTrainedModel


@strict
class RNNConfig(RecurrentConfig):
    """Configuration of the vanilla RNN: `RecurrentConfig` and the activation.

    Args:
        nonlinearity: The activation, "tanh" or "relu".
    """

    model_type = "hfseq_rnn"

    nonlinearity: Literal["tanh", "relu"] = "tanh"


class RNNPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the RNN classes."""

    config: RNNConfig


class RNNModel(RecurrentModel, RNNPreTrainedModel):
    """Embeddings and vanilla recurrent layers, no head."""

    config: RNNConfig

    def make_loop(self, input_size: int) -> nn.RNN:
        """One direction of one layer."""
        return nn.RNN(input_size, self.config.hidden_size, nonlinearity=self.config.nonlinearity, batch_first=True)


class RNNForSequenceClassification(SequenceClassificationMixin, RNNPreTrainedModel):
    """A vanilla RNN with a classifier on its pooled outputs."""

    config: RNNConfig
    backbone_class = RNNModel


__all__ = ["RNNConfig", "RNNForSequenceClassification", "RNNModel", "RNNPreTrainedModel"]
