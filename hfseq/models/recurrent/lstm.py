"""Long short-term memory (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000).

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)          input gate
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)          forget gate
    g_t = tanh   (W_g x_t + U_g h_{t-1} + b_g)          new content
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)          output gate
    c_t = f_t * c_{t-1} + i_t * g_t                     private cell,   c_0 = 0
    h_t = o_t * tanh(c_t)                               public output,  h_0 = 0

`LSTMModel` equals `torch.nn.LSTM` on every real token; its parts can be switched off, coupled, normalised or shared
(`cells.lstm_cell`). See `loop.py` for padding, directions and state.
"""

from huggingface_hub.dataclasses import strict
from transformers import GenerationMixin

from ..configs import bounded
from ..heads.causal_lm import CausalLMMixin
from ..heads.classification import SequenceClassificationMixin
from ..heads.joint import IntentAndSlotsMixin
from ..heads.series import SeriesPredictionMixin
from ..heads.tagging import TokenClassificationMixin
from .backbone import RecurrentConfig, RecurrentModel, RecurrentPreTrainedModel
from .cells import Cell, lstm_cell


@strict
class LSTMConfig(RecurrentConfig):
    """Configuration of the LSTM: `RecurrentConfig` and a switch for each part of the cell.

    Args:
        input_gate: Off: everything enters, i = 1.
        forget_gate: Off: nothing is forgotten, f = 1 (Hochreiter and Schmidhuber 1997).
        output_gate: Off: everything is shown, o = 1.
        peephole: The gates see the cell (Gers and Schmidhuber 2000).
        coupled: i = 1 - f, a quarter fewer parameters (Greff et al. 2017).
        layer_norm: Normalise gates and cell (Ba et al. 2016).
        block_size: How many cells share their gates (Hochreiter and Schmidhuber 1997).
        forget_bias: Initial b_f. 1 keeps the cell's gradient alive from the first step (Jozefowicz et al. 2015).
    """

    model_type = "hfseq_lstm"

    input_gate: bool = True
    forget_gate: bool = True
    output_gate: bool = True
    peephole: bool = False
    coupled: bool = False
    layer_norm: bool = False
    block_size: int = bounded(1, 1, 65_536)
    forget_bias: float | int = bounded(1.0, -10.0, 10.0)

    def validate_cell(self) -> None:
        """Check that the switches fit one another, and that blocks fit the width."""
        if self.hidden_size % self.block_size:
            raise ValueError(f"block_size={self.block_size} does not divide hidden_size={self.hidden_size}")
        self.make_cell()

    def make_cell(self) -> Cell:
        """Return the LSTM with these switches."""
        return lstm_cell(
            input_gate=self.input_gate,
            forget_gate=self.forget_gate,
            output_gate=self.output_gate,
            peephole=self.peephole,
            coupled=self.coupled,
            layer_norm=self.layer_norm,
            block_size=self.block_size,
            forget_bias=float(self.forget_bias),
        )


class LSTMPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the LSTM classes."""

    config: LSTMConfig


class LSTMModel(RecurrentModel, LSTMPreTrainedModel):
    """Embeddings and LSTM layers, no head."""

    config: LSTMConfig


class LSTMForSequenceClassification(SequenceClassificationMixin, LSTMPreTrainedModel):
    """An LSTM with a classifier on its pooled outputs."""

    config: LSTMConfig
    backbone_class = LSTMModel


class LSTMForTokenClassification(TokenClassificationMixin, LSTMPreTrainedModel):
    """An LSTM with a classifier on the output at each token."""

    config: LSTMConfig
    backbone_class = LSTMModel


class LSTMForIntentAndSlots(IntentAndSlotsMixin, LSTMPreTrainedModel):
    """An LSTM with two heads: the intent of a text, and the slot of each token."""

    config: LSTMConfig
    backbone_class = LSTMModel


class LSTMForCausalLM(CausalLMMixin, LSTMPreTrainedModel, GenerationMixin):
    """An LSTM as a language model."""

    config: LSTMConfig
    backbone_class = LSTMModel


class LSTMForSeriesPrediction(SeriesPredictionMixin, LSTMPreTrainedModel):
    """An LSTM that says what comes next in a series of numbers."""

    config: LSTMConfig
    backbone_class = LSTMModel


__all__ = [
    "LSTMConfig",
    "LSTMForCausalLM",
    "LSTMForIntentAndSlots",
    "LSTMForSequenceClassification",
    "LSTMForSeriesPrediction",
    "LSTMForTokenClassification",
    "LSTMModel",
]
