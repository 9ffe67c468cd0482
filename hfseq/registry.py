"""One table: which families there are, and what each is for.

`register()` hands every row to transformers' Auto classes; the contract suite walks the same rows, so a new family is
tested the moment it is entered here.
"""

from dataclasses import dataclass

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pipelines import PIPELINE_REGISTRY

from .models.counting.hmm import HMMConfig, HMMForCausalLM, HMMForTokenClassification
from .models.counting.ngram import NGramConfig, NGramForCausalLM
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
from .models.words.word2vec import Word2VecConfig, Word2VecModel
from .pipelines import WordVectorsPipeline


@dataclass(frozen=True)
class Family:
    """One row: a model family.

    Attributes:
        config: The configuration; its `model_type` names the family in config.json.
        backbone: The model without a head; None where nothing is left without one.
        heads: For each pipeline task, the class with that head; none where the backbone is all there is.
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
    "text-generation": AutoModelForCausalLM,
    "fill-mask": AutoModelForMaskedLM,
    "text2text-generation": AutoModelForSeq2SeqLM,
}
"""Task -> the Auto class that loads its models; a pipeline's name, where transformers has one."""

FAMILIES = {
    family.name: family
    for family in (
        Family(
            RNNConfig,
            RNNModel,
            {
                "text-classification": RNNForSequenceClassification,
                "token-classification": RNNForTokenClassification,
                "text-generation": RNNForCausalLM,
            },
        ),
        Family(
            LSTMConfig,
            LSTMModel,
            {
                "text-classification": LSTMForSequenceClassification,
                "token-classification": LSTMForTokenClassification,
                "text-generation": LSTMForCausalLM,
            },
        ),
        Family(
            GRUConfig,
            GRUModel,
            {
                "text-classification": GRUForSequenceClassification,
                "token-classification": GRUForTokenClassification,
                "text-generation": GRUForCausalLM,
            },
        ),
        Family(
            CustomConfig,
            CustomModel,
            {
                "text-classification": CustomForSequenceClassification,
                "token-classification": CustomForTokenClassification,
                "text-generation": CustomForCausalLM,
            },
        ),
        Family(
            TransformerConfig,
            TransformerModel,
            {
                "text-classification": TransformerForSequenceClassification,
                "token-classification": TransformerForTokenClassification,
                "text-generation": TransformerForCausalLM,
                "fill-mask": TransformerForMaskedLM,
            },
        ),
        Family(
            TransformerSeq2SeqConfig,
            TransformerSeq2SeqModel,
            {"text2text-generation": TransformerForConditionalGeneration},
        ),
        Family(NGramConfig, None, {"text-generation": NGramForCausalLM}),
        Family(
            HMMConfig,
            None,
            {"token-classification": HMMForTokenClassification, "text-generation": HMMForCausalLM},
        ),
        Family(Word2VecConfig, Word2VecModel, {}),
    )
}


def register() -> None:
    """Make every family known to AutoConfig, AutoModel and the Auto classes of its heads; and our pipelines."""
    for family in FAMILIES.values():
        AutoConfig.register(family.config.model_type, family.config, exist_ok=True)
        if family.backbone is not None:
            AutoModel.register(family.config, family.backbone, exist_ok=True)
        for task, head in family.heads.items():
            AUTO_CLASSES[task].register(family.config, head, exist_ok=True)
        if (language_model := family.heads.get("text-generation")) is not None:
            # Trainer shifts labels for label smoothing by the names of classes; another model would learn to copy.
            MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[family.config.model_type] = language_model.__name__
    PIPELINE_REGISTRY.register_pipeline("word-vectors", WordVectorsPipeline, pt_model=AutoModel)
