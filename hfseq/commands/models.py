"""A model of a folder or the Hub, as the pipeline of its task."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Pipeline

WORD_VECTORS = "word-vectors"
INTENT_SLOTS = "intent-slots"
TREES = "tree-sentiment"
STROKES = "strokes-generation"  # no pipeline: it answers no texts
CAPTIONS = "image-captioning"
SERIES = "series-forecasting"
_TASKS = {  # the end of the name of a class -> its pipeline; ours and those of transformers
    "RecursiveForSequenceClassification": TREES,
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForIntentAndSlots": INTENT_SLOTS,
    "ForCausalLM": "text-generation",
    "ForSeriesPrediction": SERIES,
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "CaptionerForConditionalGeneration": CAPTIONS,
    "ForConditionalGeneration": "text2text-generation",
    "Word2VecModel": WORD_VECTORS,
    "StrokesForGeneration": STROKES,
}


def task_of(saved: str) -> str:
    """Name the pipeline of a model by the class it was saved from."""
    task = next((task for end, task in _TASKS.items() if saved.endswith(end)), None)
    if task is None:
        raise ValueError(f"This model was saved from the class {saved}, which answers no texts: give one with a head.")
    return task


def drawing_code(model: str) -> str:
    """Return the Python code by which a model draws."""
    return f"hfseq.AutoModelForStrokes.from_pretrained({model!r}).generate_strokes(...)"


def compares_two(pipe: "Pipeline") -> bool:
    """Tell whether a model refuses a single text: it compares two."""
    return getattr(pipe.model.config, "pairs", None) == "siamese"


def load_pipeline(model: str, **options: Any) -> "Pipeline":
    """Load a model of a folder or a Hub id with its tokenizer; CPU or the one GPU as transformers chooses."""
    from transformers import AutoConfig, pipeline

    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    task: Any = task_of((getattr(config, "architectures", None) or ["none"])[0])
    if task == STROKES:
        raise ValueError(f"This model answers no texts: it draws, with {drawing_code(model)} in Python.")
    if task not in (SERIES, CAPTIONS) and getattr(config, "feature_size", None) is not None:
        raise ValueError(f"{model} reads numbers, and {task} texts: its card shows how it is used in Python.")
    return pipeline(task, model=model, trust_remote_code=False, **options)
