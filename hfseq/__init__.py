"""The classic sequence models as ordinary Hugging Face models.

`import hfseq` registers every model with transformers' Auto classes; from then on `pipeline`, `Trainer`,
`from_pretrained` and `push_to_hub` work as for any other model. The models are imported at once (registering needs the
classes); everything else on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .models.cells import CELLS, register_cell
from .models.custom import CustomConfig, CustomForSequenceClassification, CustomModel
from .models.gru import GRUConfig, GRUForSequenceClassification, GRUModel
from .models.lstm import LSTMConfig, LSTMForSequenceClassification, LSTMModel
from .models.rnn import RNNConfig, RNNForSequenceClassification, RNNModel
from .registry import FAMILIES, register

if TYPE_CHECKING:
    from .data.embedded import load_embedded
    from .hub import pull, push
    from .models.conversion import load_keras, load_torch, to_keras, to_torch
    from .tokenization import train_tokenizer
    from .training import SequenceTrainer, SequenceTrainingArguments

__version__ = "0.1.0"

_LAZY = {
    "SequenceTrainer": "training",
    "SequenceTrainingArguments": "training",
    "load_embedded": "data.embedded",
    "load_keras": "models.conversion",
    "load_torch": "models.conversion",
    "pull": "hub",
    "push": "hub",
    "to_keras": "models.conversion",
    "to_torch": "models.conversion",
    "train_tokenizer": "tokenization",
}

__all__ = [
    "CELLS",
    "FAMILIES",
    "CustomConfig",
    "CustomForSequenceClassification",
    "CustomModel",
    "GRUConfig",
    "GRUForSequenceClassification",
    "GRUModel",
    "LSTMConfig",
    "LSTMForSequenceClassification",
    "LSTMModel",
    "RNNConfig",
    "RNNForSequenceClassification",
    "RNNModel",
    "SequenceTrainer",
    "SequenceTrainingArguments",
    "load_embedded",
    "load_keras",
    "load_torch",
    "pull",
    "push",
    "register_cell",
    "to_keras",
    "to_torch",
    "train_tokenizer",
]

register()


def __getattr__(name: str) -> Any:
    """Import a lazy public name (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'hfseq' has no attribute {name!r}")
    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted(__all__)
