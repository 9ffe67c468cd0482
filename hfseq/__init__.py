"""The classic sequence models as ordinary Hugging Face models.

`import hfseq` registers every model with transformers' Auto classes; from then on `pipeline`, `Trainer`,
`from_pretrained` and `push_to_hub` work as for any other model. The models are imported at once (registering needs the
classes); everything else on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__
from .version import check_transformers

check_transformers()  # before the models, which an older transformers would fail in, in words of its own

from .models.cells import CELLS, register_cell
from .models.custom import (
    CustomConfig,
    CustomForCausalLM,
    CustomForSequenceClassification,
    CustomForTokenClassification,
    CustomModel,
)
from .models.gru import (
    GRUConfig,
    GRUForCausalLM,
    GRUForSequenceClassification,
    GRUForTokenClassification,
    GRUModel,
)
from .models.hmm import HMMConfig, HMMForCausalLM, HMMForTokenClassification
from .models.keyed_vectors import KeyedVectors
from .models.lstm import (
    LSTMConfig,
    LSTMForCausalLM,
    LSTMForSequenceClassification,
    LSTMForTokenClassification,
    LSTMModel,
)
from .models.ngram import NGramConfig, NGramForCausalLM
from .models.rnn import (
    RNNConfig,
    RNNForCausalLM,
    RNNForSequenceClassification,
    RNNForTokenClassification,
    RNNModel,
)
from .models.transformer import (
    TransformerConfig,
    TransformerForCausalLM,
    TransformerForMaskedLM,
    TransformerForSequenceClassification,
    TransformerForTokenClassification,
    TransformerModel,
)
from .models.transformer_seq2seq import (
    TransformerForConditionalGeneration,
    TransformerSeq2SeqConfig,
    TransformerSeq2SeqModel,
)
from .models.word2vec import Word2VecConfig, Word2VecModel
from .pipelines import WordVectorsPipeline
from .registry import FAMILIES, register

if TYPE_CHECKING:
    from .contexts import ContextComparison, compare_contexts
    from .data.embedded import load_embedded
    from .data.phrases import Phrases
    from .data.sentence_transformers import export_sentence_transformers, export_text_encoder
    from .data.streams import TokenText
    from .data.words import WordCorpus
    from .generation import fused_generate
    from .generative import GenerativeClassifier
    from .hub import pull, push
    from .models.conversion import load_keras, load_torch, to_keras, to_torch
    from .plots import WordMap, plot_words
    from .scoring import Scores, TextScore, score, score_ids
    from .stream_training import StreamTrainer, StreamTrainingArguments
    from .tokenization import prompt_tokenizer, train_tokenizer
    from .training import SequenceTrainer, SequenceTrainingArguments
    from .word_training import Word2VecTrainer, Word2VecTrainingArguments, train_word2vec

_LAZY = {
    "ContextComparison": "contexts",
    "GenerativeClassifier": "generative",
    "Phrases": "data.phrases",
    "Scores": "scoring",
    "SequenceTrainer": "training",
    "SequenceTrainingArguments": "training",
    "StreamTrainer": "stream_training",
    "StreamTrainingArguments": "stream_training",
    "TextScore": "scoring",
    "TokenText": "data.streams",
    "Word2VecTrainer": "word_training",
    "Word2VecTrainingArguments": "word_training",
    "WordCorpus": "data.words",
    "WordMap": "plots",
    "compare_contexts": "contexts",
    "export_sentence_transformers": "data.sentence_transformers",
    "export_text_encoder": "data.sentence_transformers",
    "fused_generate": "generation",
    "load_embedded": "data.embedded",
    "load_keras": "models.conversion",
    "load_torch": "models.conversion",
    "plot_words": "plots",
    "prompt_tokenizer": "tokenization",
    "pull": "hub",
    "push": "hub",
    "score": "scoring",
    "score_ids": "scoring",
    "to_keras": "models.conversion",
    "to_torch": "models.conversion",
    "train_tokenizer": "tokenization",
    "train_word2vec": "word_training",
}

__all__ = [
    "CELLS",
    "FAMILIES",
    "ContextComparison",
    "CustomConfig",
    "CustomForCausalLM",
    "CustomForSequenceClassification",
    "CustomForTokenClassification",
    "CustomModel",
    "GRUConfig",
    "GRUForCausalLM",
    "GRUForSequenceClassification",
    "GRUForTokenClassification",
    "GRUModel",
    "GenerativeClassifier",
    "HMMConfig",
    "HMMForCausalLM",
    "HMMForTokenClassification",
    "KeyedVectors",
    "LSTMConfig",
    "LSTMForCausalLM",
    "LSTMForSequenceClassification",
    "LSTMForTokenClassification",
    "LSTMModel",
    "NGramConfig",
    "NGramForCausalLM",
    "Phrases",
    "RNNConfig",
    "RNNForCausalLM",
    "RNNForSequenceClassification",
    "RNNForTokenClassification",
    "RNNModel",
    "Scores",
    "SequenceTrainer",
    "SequenceTrainingArguments",
    "StreamTrainer",
    "StreamTrainingArguments",
    "TextScore",
    "TokenText",
    "TransformerConfig",
    "TransformerForCausalLM",
    "TransformerForConditionalGeneration",
    "TransformerForMaskedLM",
    "TransformerForSequenceClassification",
    "TransformerForTokenClassification",
    "TransformerModel",
    "TransformerSeq2SeqConfig",
    "TransformerSeq2SeqModel",
    "Word2VecConfig",
    "Word2VecModel",
    "Word2VecTrainer",
    "Word2VecTrainingArguments",
    "WordCorpus",
    "WordMap",
    "WordVectorsPipeline",
    "compare_contexts",
    "export_sentence_transformers",
    "export_text_encoder",
    "fused_generate",
    "load_embedded",
    "load_keras",
    "load_torch",
    "plot_words",
    "prompt_tokenizer",
    "pull",
    "push",
    "register_cell",
    "score",
    "score_ids",
    "to_keras",
    "to_torch",
    "train_tokenizer",
    "train_word2vec",
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
