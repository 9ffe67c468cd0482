"""A model of a folder or the Hub, as the pipeline of its task."""

from typing import TYPE_CHECKING, Any

from ..registry import FAMILIES, register

if TYPE_CHECKING:
    from transformers import Pipeline, PreTrainedConfig

_HEADS = {  # of models that are not ours
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
}
WORDS = "word-vectors"


def load_config(model: str) -> "PreTrainedConfig":
    """Read the config of a folder or a Hub id."""
    from transformers import AutoConfig

    register()
    return AutoConfig.from_pretrained(model, trust_remote_code=False)


def task_of(config: "PreTrainedConfig") -> str:
    """Name the pipeline of a model by the class it was saved from."""
    saved = (getattr(config, "architectures", None) or ["none"])[0]
    heads = {head.__name__: task for family in FAMILIES.values() for task, head in family.heads.items()}
    heads |= {"Word2VecModel": WORDS}
    task = heads.get(saved) or next((task for end, task in _HEADS.items() if saved.endswith(end)), None)
    if task is None:
        raise ValueError(f"This model was saved from the class {saved}, which answers no texts: give one with a head.")
    return task


def load_pipeline(model: str, **options: Any) -> "Pipeline":
    """Load a model of a folder or a Hub id with its tokenizer; CPU or the one GPU as transformers chooses."""
    from transformers import pipeline

    task: Any = task_of(load_config(model))
    return pipeline(task, model=model, trust_remote_code=False, **options)
