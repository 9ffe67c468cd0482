"""Which model families there are: a new one is registered with transformers and tested by its module in MODULES."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import transformers
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pipelines import PIPELINE_REGISTRY

from .models.counting import hmm, ngram
from .models.recurrent import custom, gru, lstm, rnn
from .models.transformer import transformer, transformer_seq2seq
from .models.words import word2vec
from .pipelines import WordVectorsPipeline

MODULES = (rnn, lstm, gru, custom, transformer, transformer_seq2seq, ngram, hmm, word2vec)
"""One a family; its public names (`__all__`) are those of the package, and their endings tell what they are."""

AUTO_CLASSES: dict[str, Any] = {
    "text-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
    "text-generation": transformers.AutoModelForCausalLM,
    "fill-mask": transformers.AutoModelForMaskedLM,
    "text2text-generation": transformers.AutoModelForSeq2SeqLM,
}
"""Task -> the Auto class that loads its models. A task has the name of its pipeline, where transformers has one."""


@dataclass(frozen=True)
class Family:
    """A model family: config, model without a head (None where that is nothing), and task -> class with its head."""

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


def _family(module: ModuleType) -> Family:
    classes = {name: getattr(module, name) for name in module.__all__}

    def ending_in(ending: str) -> Any:
        return next((cls for name, cls in classes.items() if name.endswith(ending)), None)

    endings = {task: auto.__name__.removeprefix("AutoModel") for task, auto in AUTO_CLASSES.items()}
    endings["text2text-generation"] = "ForConditionalGeneration"
    heads = {task: ending_in(ending) for task, ending in endings.items() if ending_in(ending) is not None}
    return Family(ending_in("Config"), ending_in("Model"), heads)


FAMILIES = {family.name: family for family in map(_family, MODULES)}


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
