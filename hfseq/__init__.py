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

from .models.counting.hmm import HMMConfig, HMMForCausalLM, HMMForTokenClassification
from .models.counting.ngram import NGramConfig, NGramForCausalLM
from .models.recurrent.cells import CELLS, register_cell
from .models.recurrent.custom import (
    CustomConfig,
    CustomForCausalLM,
    CustomForSequenceClassification,
    CustomForTokenClassification,
    CustomModel,
)
from .models.recurrent.gru import (
    GRUConfig,
    GRUForCausalLM,
    GRUForSequenceClassification,
    GRUForTokenClassification,
    GRUModel,
)
from .models.recurrent.lstm import (
    LSTMConfig,
    LSTMForCausalLM,
    LSTMForSequenceClassification,
    LSTMForTokenClassification,
    LSTMModel,
)
from .models.recurrent.rnn import (
    RNNConfig,
    RNNForCausalLM,
    RNNForSequenceClassification,
    RNNForTokenClassification,
    RNNModel,
)
from .models.transformer.transformer import (
    TransformerConfig,
    TransformerForCausalLM,
    TransformerForMaskedLM,
    TransformerForSequenceClassification,
    TransformerForTokenClassification,
    TransformerModel,
)
from .models.transformer.transformer_seq2seq import (
    TransformerForConditionalGeneration,
    TransformerSeq2SeqConfig,
    TransformerSeq2SeqModel,
)
from .models.words.vectors import KeyedVectors
from .models.words.word2vec import Word2VecConfig, Word2VecModel
from .pipelines import WordVectorsPipeline
from .registry import FAMILIES, register

if TYPE_CHECKING:
    from .data.corpus import WordCorpus
    from .data.embedded.load import load_embedded
    from .data.phrases import Phrases
    from .data.sentence_transformers import export_sentence_transformers, export_text_encoder
    from .evaluation.language import Scores, TextScore, score, score_ids
    from .generation.fused import fused_generate
    from .generation.generative_classifier import GenerativeClassifier
    from .hub import pull, push
    from .insight.contexts import ContextComparison, compare_contexts
    from .insight.plots import WordMap, plot_words
    from .models.conversion import load_keras, load_torch, to_keras, to_torch
    from .tokenization import prompt_tokenizer, train_tokenizer
    from .training.arguments import SequenceTrainingArguments
    from .training.streams.trainer import StreamTrainer, StreamTrainingArguments
    from .training.streams.windows import TokenText
    from .training.trainer import SequenceTrainer
    from .training.words.trainer import Word2VecTrainer, Word2VecTrainingArguments, train_word2vec

_LAZY = {
    "ContextComparison": "insight.contexts",
    "GenerativeClassifier": "generation.generative_classifier",
    "Phrases": "data.phrases",
    "Scores": "evaluation.language",
    "SequenceTrainer": "training.trainer",
    "SequenceTrainingArguments": "training.trainer",
    "StreamTrainer": "training.streams.trainer",
    "StreamTrainingArguments": "training.streams.trainer",
    "TextScore": "evaluation.language",
    "TokenText": "training.streams.windows",
    "Word2VecTrainer": "training.words.trainer",
    "Word2VecTrainingArguments": "training.words.trainer",
    "WordCorpus": "data.corpus",
    "WordMap": "insight.plots",
    "compare_contexts": "insight.contexts",
    "export_sentence_transformers": "data.sentence_transformers",
    "export_text_encoder": "data.sentence_transformers",
    "fused_generate": "generation.fused",
    "load_embedded": "data.embedded.load",
    "load_keras": "models.conversion",
    "load_torch": "models.conversion",
    "plot_words": "insight.plots",
    "prompt_tokenizer": "tokenization",
    "pull": "hub",
    "push": "hub",
    "score": "evaluation.language",
    "score_ids": "evaluation.language",
    "to_keras": "models.conversion",
    "to_torch": "models.conversion",
    "train_tokenizer": "tokenization",
    "train_word2vec": "training.words.trainer",
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
