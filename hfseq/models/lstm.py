"""Long short-term memory (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000).

    i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)          input gate
    f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)          forget gate
    g_t = tanh   (W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)          new content
    o_t = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)          output gate
    c_t = f_t * c_{t-1} + i_t * g_t                               private cell,   c_0 = 0
    h_t = o_t * tanh(c_t)                                         public output,  h_0 = 0

`LSTMModel` equals `torch.nn.LSTM` on every real token, see `recurrence.py` for padding, directions and state.
"""

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import initialization as init

from .base import bounded, is_loaded
from .heads import SequenceClassificationMixin
from .recurrence import RecurrentConfig, RecurrentModel, RecurrentPreTrainedModel


@strict
class LSTMConfig(RecurrentConfig):
    """Configuration of the LSTM: `RecurrentConfig` and the forget bias.

    Args:
        forget_bias: Initial b_if. 1 keeps the cell's gradient alive from the first step (Jozefowicz et al. 2015).
    """

    model_type = "hfseq_lstm"

    forget_bias: float | int = bounded(1.0, -10.0, 10.0)


class LSTMPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the LSTM classes: the forget bias."""

    config: LSTMConfig

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """As `RecurrentPreTrainedModel`, then b_if = `forget_bias` (b_hf stays 0: torch adds the two)."""
        super()._init_weights(module)
        if isinstance(module, nn.LSTM):
            bias = module.get_parameter("bias_ih_l0")
            if not is_loaded(bias):
                _, forget, _, _ = bias.chunk(4)
                init.constant_(forget, self.config.forget_bias)


class LSTMModel(RecurrentModel, LSTMPreTrainedModel):
    """Embeddings and LSTM layers, no head."""

    config: LSTMConfig

    def make_loop(self, input_size: int) -> nn.LSTM:
        """One direction of one layer."""
        return nn.LSTM(input_size, self.config.hidden_size, batch_first=True)


class LSTMForSequenceClassification(SequenceClassificationMixin, LSTMPreTrainedModel):
    """An LSTM with a classifier on its pooled outputs."""

    config: LSTMConfig
    backbone_class = LSTMModel


__all__ = ["LSTMConfig", "LSTMForSequenceClassification", "LSTMModel", "LSTMPreTrainedModel"]
