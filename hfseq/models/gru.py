"""The gated recurrent unit (Cho et al. 2014), in the form of `torch.nn.GRU` and cuDNN.

    r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)               reset
    z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)               update: how much to keep
    n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_{t-1} + b_hn))          new content
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}                              h_0 = 0

The reset gate acts *after* the product W_hn h; in the paper it acts on h before it. Weights of the two forms cannot be
exchanged. `GRUModel` equals `torch.nn.GRU` on every real token, see `recurrence.py` for padding, directions and state.
"""

from huggingface_hub.dataclasses import strict
from torch import nn

from .heads import SequenceClassificationMixin
from .recurrence import RecurrentConfig, RecurrentModel, RecurrentPreTrainedModel


@strict
class GRUConfig(RecurrentConfig):
    """Configuration of the GRU: the fields of `RecurrentConfig`."""

    model_type = "hfseq_gru"


class GRUPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the GRU classes."""

    config: GRUConfig


class GRUModel(RecurrentModel, GRUPreTrainedModel):
    """Embeddings and GRU layers, no head."""

    config: GRUConfig

    def make_loop(self, input_size: int) -> nn.GRU:
        """One direction of one layer."""
        return nn.GRU(input_size, self.config.hidden_size, batch_first=True)


class GRUForSequenceClassification(SequenceClassificationMixin, GRUPreTrainedModel):
    """A GRU with a classifier on its pooled outputs."""

    config: GRUConfig
    backbone_class = GRUModel


__all__ = ["GRUConfig", "GRUForSequenceClassification", "GRUModel", "GRUPreTrainedModel"]
