"""One table: which families there are, and what each is for.

`register()` hands every row to transformers' Auto classes, and the contract suite tests every row: a new family is
registered and tested by one new row.
"""

from dataclasses import dataclass

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTimeSeriesPrediction,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from . import pipelines
from .models.auto import AutoModelForIntentAndSlots
from .models.configs import SequenceConfig
from .models.counting import hmm, mixture, ngram
from .models.recurrent import custom, gru, lstm, recursive, rnn, seq2seq
from .models.transformer import transformer, transformer_seq2seq
from .models.windows import linear_crf, window
from .models.words import bag, word2vec
from .tokenization.series import SeriesFeatureExtractor
from .tokenization.source_target import SourceTargetTokenizer
from .tokenization.trees import TreeTokenizer

MODULES = (
    *(rnn, lstm, gru, custom, seq2seq, recursive, window, linear_crf, transformer, transformer_seq2seq),
    *(ngram, mixture, hmm, word2vec, bag),
)
"""One a family; the public names of each (`__all__`) are those of the package."""


@dataclass(frozen=True)
class Family:
    """One row: a model family.

    Attributes:
        config: The configuration; its `model_type` names the family in config.json.
        backbone: The model without a head; None for a family whose models are nothing without one.
        heads: Task -> the class with that head; empty for a family that has the backbone alone.
    """

    config: type[PreTrainedConfig]
    backbone: type[PreTrainedModel] | None
    heads: dict[str, type[PreTrainedModel]]

    @property
    def name(self) -> str:
        """The family's short name, as a recipe's `model.type` gives it."""
        return self.config.model_type.removeprefix("hfseq_")

    @property
    def title(self) -> str:
        """The family's name as people write it: LSTM, Transformer."""
        return self.config.__name__.removesuffix("Config")


AUTO_CLASSES = {
    "text-classification": AutoModelForSequenceClassification,
    "token-classification": AutoModelForTokenClassification,
    "intent-slots": AutoModelForIntentAndSlots,
    "text-generation": AutoModelForCausalLM,
    "fill-mask": AutoModelForMaskedLM,
    "text2text-generation": AutoModelForSeq2SeqLM,
    "series-forecasting": AutoModelForTimeSeriesPrediction,
}
"""Task -> the Auto class that loads its models. A task has the name of its pipeline, where transformers has one."""

FAMILIES = {
    family.name: family
    for family in (
        Family(
            rnn.RNNConfig,
            rnn.RNNModel,
            {
                "text-classification": rnn.RNNForSequenceClassification,
                "token-classification": rnn.RNNForTokenClassification,
                "intent-slots": rnn.RNNForIntentAndSlots,
                "text-generation": rnn.RNNForCausalLM,
                "series-forecasting": rnn.RNNForSeriesPrediction,
            },
        ),
        Family(
            lstm.LSTMConfig,
            lstm.LSTMModel,
            {
                "text-classification": lstm.LSTMForSequenceClassification,
                "token-classification": lstm.LSTMForTokenClassification,
                "intent-slots": lstm.LSTMForIntentAndSlots,
                "text-generation": lstm.LSTMForCausalLM,
                "series-forecasting": lstm.LSTMForSeriesPrediction,
            },
        ),
        Family(
            gru.GRUConfig,
            gru.GRUModel,
            {
                "text-classification": gru.GRUForSequenceClassification,
                "token-classification": gru.GRUForTokenClassification,
                "intent-slots": gru.GRUForIntentAndSlots,
                "text-generation": gru.GRUForCausalLM,
                "series-forecasting": gru.GRUForSeriesPrediction,
            },
        ),
        Family(
            custom.CustomConfig,
            custom.CustomModel,
            {
                "text-classification": custom.CustomForSequenceClassification,
                "token-classification": custom.CustomForTokenClassification,
                "intent-slots": custom.CustomForIntentAndSlots,
                "text-generation": custom.CustomForCausalLM,
                "series-forecasting": custom.CustomForSeriesPrediction,
            },
        ),
        Family(
            seq2seq.Seq2SeqConfig,
            seq2seq.Seq2SeqModel,
            {"text2text-generation": seq2seq.Seq2SeqForConditionalGeneration},
        ),
        Family(
            recursive.RecursiveConfig,
            recursive.RecursiveModel,
            {"text-classification": recursive.RecursiveForSequenceClassification},
        ),
        Family(
            window.WindowConfig,
            window.WindowModel,
            {
                "text-classification": window.WindowForSequenceClassification,
                "token-classification": window.WindowForTokenClassification,
                "intent-slots": window.WindowForIntentAndSlots,
            },
        ),
        Family(
            linear_crf.CRFConfig,
            linear_crf.CRFModel,
            {"token-classification": linear_crf.CRFForTokenClassification},
        ),
        Family(
            transformer.TransformerConfig,
            transformer.TransformerModel,
            {
                "text-classification": transformer.TransformerForSequenceClassification,
                "token-classification": transformer.TransformerForTokenClassification,
                "intent-slots": transformer.TransformerForIntentAndSlots,
                "text-generation": transformer.TransformerForCausalLM,
                "fill-mask": transformer.TransformerForMaskedLM,
                "series-forecasting": transformer.TransformerForSeriesPrediction,
            },
        ),
        Family(
            transformer_seq2seq.TransformerSeq2SeqConfig,
            transformer_seq2seq.TransformerSeq2SeqModel,
            {"text2text-generation": transformer_seq2seq.TransformerForConditionalGeneration},
        ),
        Family(ngram.NGramConfig, None, {"text-generation": ngram.NGramForCausalLM}),
        Family(mixture.MixtureConfig, None, {"text-generation": mixture.MixtureForCausalLM}),
        Family(
            hmm.HMMConfig,
            None,
            {"token-classification": hmm.HMMForTokenClassification, "text-generation": hmm.HMMForCausalLM},
        ),
        Family(word2vec.Word2VecConfig, word2vec.Word2VecModel, {}),
        Family(bag.BagConfig, bag.BagModel, {"text-classification": bag.BagForSequenceClassification}),
    )
}


def register() -> None:
    """Make every family known to AutoConfig, AutoModel and the Auto classes of its heads.

    Our pipelines and our tokenizers become known as well.
    """
    for family in FAMILIES.values():
        AutoConfig.register(family.config.model_type, family.config, exist_ok=True)
        if family.backbone is not None:
            AutoModel.register(family.config, family.backbone, exist_ok=True)
        for task, head in family.heads.items():
            AUTO_CLASSES[task].register(family.config, head, exist_ok=True)
        if (language_model := family.heads.get("text-generation")) is not None:
            # Trainer shifts labels for label smoothing by the names of classes; another model would learn to copy.
            MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[family.config.model_type] = language_model.__name__
    pipelines.register()
    # Found by the class that tokenizer_config.json names. No model has this very config, so that a folder with another
    # tokenizer, which says nothing of its class, is loaded as before.
    for tokenizer in (SourceTargetTokenizer, TreeTokenizer):
        AutoTokenizer.register(SequenceConfig, tokenizer, exist_ok=True)
    # In the same way, by what preprocessor_config.json names.
    AutoFeatureExtractor.register(SequenceConfig, SeriesFeatureExtractor, exist_ok=True)
