"""The classic sequence models as ordinary Hugging Face models.

`import hfseq` registers every model with transformers' Auto classes; from then on `pipeline`, `Trainer`,
`from_pretrained` and `push_to_hub` work as for any other model. All but the models is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .cli import is_this_process
from .version import __version__ as __version__
from .version import check_transformers

if not is_this_process():  # the command does it itself, once its words are right: help takes no seconds
    check_transformers()  # first: with an older transformers the models would fail, and say nothing of the cure

    from . import registry
    from .models.auto import AutoModelForIntentAndSlots as AutoModelForIntentAndSlots
    from .models.auto import AutoModelForStrokes as AutoModelForStrokes
    from .models.counting.hmm import *
    from .models.counting.mixture import *
    from .models.counting.ngram import *
    from .models.recurrent.captioner import *
    from .models.recurrent.cells import CELLS as CELLS
    from .models.recurrent.cells import register_cell as register_cell
    from .models.recurrent.custom import *
    from .models.recurrent.gru import *
    from .models.recurrent.lstm import *
    from .models.recurrent.recursive import *
    from .models.recurrent.recursive import TreeClassifierOutput as TreeClassifierOutput
    from .models.recurrent.rnn import *
    from .models.recurrent.seq2seq import *
    from .models.recurrent.strokes import *
    from .models.transformer.transformer import *
    from .models.transformer.transformer_seq2seq import *
    from .models.windows.linear_crf import *
    from .models.windows.window import *
    from .models.words.bag import *
    from .models.words.vectors import KeyedVectors as KeyedVectors
    from .models.words.word2vec import *
    from .pipelines import ImageCaptioningPipeline as ImageCaptioningPipeline
    from .pipelines import IntentSlotsPipeline as IntentSlotsPipeline
    from .pipelines import QuestionAnsweringPipeline as QuestionAnsweringPipeline
    from .pipelines import SeriesForecastingPipeline as SeriesForecastingPipeline
    from .pipelines import SummarizationPipeline as SummarizationPipeline
    from .pipelines import Text2TextGenerationPipeline as Text2TextGenerationPipeline
    from .pipelines import TranslationPipeline as TranslationPipeline
    from .pipelines import TreeSentimentPipeline as TreeSentimentPipeline
    from .pipelines import WordVectorsPipeline as WordVectorsPipeline
    from .registry import FAMILIES as FAMILIES
    from .tokenization.series import SeriesFeatureExtractor as SeriesFeatureExtractor
    from .tokenization.source_target import SourceTargetTokenizer as SourceTargetTokenizer
    from .tokenization.trees import TreeTokenizer as TreeTokenizer

    registry.register()

if TYPE_CHECKING:  # the lazy names for type checkers and editors; a test holds both lists equal
    from .data.corpus import WordCorpus as WordCorpus
    from .data.embedded.load import load_embedded as load_embedded
    from .data.embedded.pen import load_pen_drawings as load_pen_drawings
    from .data.embedded.seasons import load_regimes as load_regimes
    from .data.embedded.seasons import load_seasons as load_seasons
    from .data.embedded.shapes import load_shapes as load_shapes
    from .data.embedded.word_order import load_word_order as load_word_order
    from .data.phrases import Phrases as Phrases
    from .data.sentence_transformers import export_sentence_transformers as export_sentence_transformers
    from .data.sentence_transformers import export_text_encoder as export_text_encoder
    from .data.strokes import StrokesCollator as StrokesCollator
    from .data.trees import Tree as Tree
    from .data.trees import binarise as binarise
    from .data.trees import from_conllu as from_conllu
    from .data.trees import from_lists as from_lists
    from .data.trees import from_spacy as from_spacy
    from .data.trees import read_brackets as read_brackets
    from .data.trees import read_tree_file as read_tree_file
    from .data.trees import to_lists as to_lists
    from .data.trees import tree_features as tree_features
    from .data.trees import unbinarise as unbinarise
    from .data.trees import write_brackets as write_brackets
    from .data.trees import write_conllu as write_conllu
    from .evaluation.language import Scores as Scores
    from .evaluation.language import TextScore as TextScore
    from .evaluation.language import score as score
    from .evaluation.language import score_ids as score_ids
    from .evaluation.tag_words import tag_words as tag_words
    from .formats.fasttext import load_fasttext as load_fasttext
    from .generation.fused import fused_generate as fused_generate
    from .generation.generative_classifier import GenerativeClassifier as GenerativeClassifier
    from .hub import pull as pull
    from .hub import push as push
    from .insight.alignment import Alignment as Alignment
    from .insight.alignment import align as align
    from .insight.contexts import ContextComparison as ContextComparison
    from .insight.contexts import compare_contexts as compare_contexts
    from .insight.doctor.live import diagnose as diagnose
    from .insight.gradient_callback import GradientFlowCallback as GradientFlowCallback
    from .insight.gradients import gradient_flow as gradient_flow
    from .insight.influence import Influence as Influence
    from .insight.influence import influence as influence
    from .insight.layer_flow import GradientFlow as GradientFlow
    from .insight.layer_flow import LayerFlow as LayerFlow
    from .insight.looks import Look as Look
    from .insight.looks import look_at as look_at
    from .insight.plots import WordMap as WordMap
    from .insight.plots import plot_words as plot_words
    from .models.conversion import load_keras as load_keras
    from .models.conversion import load_torch as load_torch
    from .models.conversion import to_keras as to_keras
    from .models.conversion import to_torch as to_torch
    from .models.token_words import word_tables as word_tables
    from .retrieval.encode import common_direction as common_direction
    from .retrieval.encode import encode as encode
    from .retrieval.search_index import SearchIndex as SearchIndex
    from .tokenization import prompt_tokenizer as prompt_tokenizer
    from .tokenization import train_tokenizer as train_tokenizer
    from .tokenization.padding import IntentSlotsCollator as IntentSlotsCollator
    from .tokenization.series_batches import SeriesCollator as SeriesCollator
    from .training.arguments import SequenceTrainingArguments as SequenceTrainingArguments
    from .training.averaging import average_checkpoints as average_checkpoints
    from .training.captions import CaptionTrainer as CaptionTrainer
    from .training.clip_finder import ClipFinder as ClipFinder
    from .training.seq2seq import EncoderDecoderTrainer as EncoderDecoderTrainer
    from .training.seq2seq import EncoderDecoderTrainingArguments as EncoderDecoderTrainingArguments
    from .training.streams.trainer import StreamTrainer as StreamTrainer
    from .training.streams.trainer import StreamTrainingArguments as StreamTrainingArguments
    from .training.streams.windows import TokenText as TokenText
    from .training.trainer import SequenceTrainer as SequenceTrainer
    from .training.words.bag_trainer import BagTrainer as BagTrainer
    from .training.words.bag_trainer import BagTrainingArguments as BagTrainingArguments
    from .training.words.compression import CompressionReport as CompressionReport
    from .training.words.compression import CompressionSettings as CompressionSettings
    from .training.words.compression import compress_bag as compress_bag
    from .training.words.train_bag import train_bag as train_bag
    from .training.words.trainer import Word2VecTrainer as Word2VecTrainer
    from .training.words.trainer import Word2VecTrainingArguments as Word2VecTrainingArguments
    from .training.words.trainer import train_word2vec as train_word2vec

_LAZY_MODULES = {  # each imported when one of its names is first used
    "data.corpus": "WordCorpus",
    "data.embedded.load": "load_embedded",
    "data.embedded.pen": "load_pen_drawings",
    "data.embedded.shapes": "load_shapes",
    "data.embedded.seasons": "load_regimes load_seasons",
    "data.embedded.word_order": "load_word_order",
    "formats.fasttext": "load_fasttext",
    "data.phrases": "Phrases",
    "data.sentence_transformers": "export_sentence_transformers export_text_encoder",
    "data.strokes": "StrokesCollator",
    "data.trees": (
        "Tree binarise from_conllu from_lists from_spacy read_brackets read_tree_file to_lists tree_features "
        "unbinarise write_brackets write_conllu"
    ),
    "evaluation.language": "Scores TextScore score score_ids",
    "evaluation.tag_words": "tag_words",
    "generation.fused": "fused_generate",
    "generation.generative_classifier": "GenerativeClassifier",
    "hub": "pull push",
    "insight.alignment": "Alignment align",
    "insight.contexts": "ContextComparison compare_contexts",
    "insight.influence": "Influence influence",
    "insight.doctor.live": "diagnose",
    "insight.gradient_callback": "GradientFlowCallback",
    "insight.gradients": "gradient_flow",
    "insight.layer_flow": "GradientFlow LayerFlow",
    "insight.looks": "Look look_at",
    "insight.plots": "WordMap plot_words",
    "models.conversion": "load_keras load_torch to_keras to_torch",
    "models.token_words": "word_tables",
    "retrieval.encode": "common_direction encode",
    "retrieval.search_index": "SearchIndex",
    "tokenization": "prompt_tokenizer train_tokenizer",
    "tokenization.padding": "IntentSlotsCollator",
    "tokenization.series_batches": "SeriesCollator",
    "training.arguments": "SequenceTrainingArguments",
    "training.averaging": "average_checkpoints",
    "training.clip_finder": "ClipFinder",
    "training.captions": "CaptionTrainer",
    "training.seq2seq": "EncoderDecoderTrainer EncoderDecoderTrainingArguments",
    "training.streams.trainer": "StreamTrainer StreamTrainingArguments",
    "training.streams.windows": "TokenText",
    "training.trainer": "SequenceTrainer",
    "training.words.bag_trainer": "BagTrainer BagTrainingArguments",
    "training.words.train_bag": "train_bag",
    "training.words.compression": "CompressionReport CompressionSettings compress_bag",
    "training.words.trainer": "Word2VecTrainer Word2VecTrainingArguments train_word2vec",
}
_LAZY = {name: module for module, names in _LAZY_MODULES.items() for name in names.split()}

__all__ = [*_LAZY]
if not is_this_process():
    __all__ += [
        "AutoModelForIntentAndSlots",
        "AutoModelForStrokes",
        "CELLS",
        "FAMILIES",
        "KeyedVectors",
        "SeriesFeatureExtractor",
        "SourceTargetTokenizer",
        "TreeClassifierOutput",
        "TreeTokenizer",
        "register_cell",
    ]
    __all__ += [
        "ImageCaptioningPipeline",
        "IntentSlotsPipeline",
        "QuestionAnsweringPipeline",
        "SeriesForecastingPipeline",
        "SummarizationPipeline",
        "Text2TextGenerationPipeline",
    ]
    __all__ += ["TranslationPipeline", "TreeSentimentPipeline", "WordVectorsPipeline"]
    __all__ += [name for module in registry.MODULES for name in module.__all__]


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in _LAZY:
        raise AttributeError(f"module 'hfseq' has no attribute {name!r}")
    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
