"""A recurrent model of any cell that has a name, a cell of your own among them.

    @hfseq.register_cell(gates=("f", "g"))
    def keeper(ops, gates, states, params):
        (f, g), (h,) = gates, states
        keep = ops.sigmoid(f)
        return (keep * h + (1 - keep) * ops.tanh(g),)

    model = CustomForSequenceClassification(CustomConfig(cell="keeper"))

It trains, keeps a state, is saved and loaded as the built-in families are. A checkpoint holds the cell's name, not its
equation: whoever loads it imports the module that registers the cell first.
"""

from huggingface_hub.dataclasses import strict
from transformers import GenerationMixin

from ..heads.causal_lm import CausalLMMixin
from ..heads.classification import SequenceClassificationMixin
from ..heads.joint import IntentAndSlotsMixin
from ..heads.series import SeriesPredictionMixin
from ..heads.tagging import TokenClassificationMixin
from .backbone import RecurrentConfig, RecurrentModel, RecurrentPreTrainedModel
from .cells import Cell, find_cell


@strict
class CustomConfig(RecurrentConfig):
    """Configuration of a model of any registered cell: `RecurrentConfig` and the cell's name.

    Args:
        cell: A name in `cells.CELLS`.
    """

    model_type = "hfseq_custom"

    cell: str = "minimal_gated"

    def validate_cell(self) -> None:
        """Check that the cell exists, and that its blocks fit the width."""
        block_size = self.make_cell().block_size
        if self.hidden_size % block_size:
            raise ValueError(
                f"cell={self.cell!r} needs a hidden_size divisible by {block_size}, got {self.hidden_size}"
            )

    def make_cell(self) -> Cell:
        """Return the registered cell."""
        return find_cell(self.cell)


class CustomPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the classes for any cell."""

    config: CustomConfig


class CustomModel(RecurrentModel, CustomPreTrainedModel):
    """Embeddings and layers of the named cell, no head."""

    config: CustomConfig


class CustomForSequenceClassification(SequenceClassificationMixin, CustomPreTrainedModel):
    """A model of the named cell with a classifier on its pooled outputs."""

    config: CustomConfig
    backbone_class = CustomModel


class CustomForTokenClassification(TokenClassificationMixin, CustomPreTrainedModel):
    """A model of the named cell with a classifier on the output at each token."""

    config: CustomConfig
    backbone_class = CustomModel


class CustomForIntentAndSlots(IntentAndSlotsMixin, CustomPreTrainedModel):
    """A model of the named cell with two heads: the intent of a text, and the slot of each token."""

    config: CustomConfig
    backbone_class = CustomModel


class CustomForCausalLM(CausalLMMixin, CustomPreTrainedModel, GenerationMixin):
    """A model of the named cell as a language model."""

    config: CustomConfig
    backbone_class = CustomModel


class CustomForSeriesPrediction(SeriesPredictionMixin, CustomPreTrainedModel):
    """A model of the named cell that says what comes next in a series of numbers."""

    config: CustomConfig
    backbone_class = CustomModel


__all__ = [
    "CustomConfig",
    "CustomForCausalLM",
    "CustomForIntentAndSlots",
    "CustomForSequenceClassification",
    "CustomForSeriesPrediction",
    "CustomForTokenClassification",
    "CustomModel",
]
