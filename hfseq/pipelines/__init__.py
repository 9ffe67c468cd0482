"""Pipelines that transformers lacks: word vectors, intents and slots, trees, and the tasks that its version 5 removed.

`import hfseq` registers them. From then on `transformers.pipeline` takes "word-vectors", "intent-slots",
"tree-sentiment", "series-forecasting", "image-captioning", "translation", "translation_XX_to_YY", "summarization",
"text2text-generation" and "question-answering", for our models and for any other that the Auto class of the task
loads. A task that transformers has itself stays as transformers has it.

Three things of transformers change for the whole process, all of them here: the four names leave the table of removed
tasks, the registry of pipelines gains them, and its `check_task` reads the languages in "translation_XX_to_YY".
"""

from collections.abc import Callable
from typing import Any

import transformers.pipelines
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTimeSeriesPrediction,
    Pipeline,
)
from transformers.pipelines import PIPELINE_REGISTRY

from ..models.auto import AutoModelForIntentAndSlots
from .image_captioning import ImageCaptioningPipeline as ImageCaptioningPipeline
from .intent_slots import IntentSlotsPipeline as IntentSlotsPipeline
from .question_answering import QuestionAnsweringPipeline as QuestionAnsweringPipeline
from .series import SeriesForecastingPipeline as SeriesForecastingPipeline
from .text2text import SummarizationPipeline as SummarizationPipeline
from .text2text import Text2TextGenerationPipeline as Text2TextGenerationPipeline
from .text2text import TranslationPipeline as TranslationPipeline
from .text2text import languages_of
from .trees import TreeSentimentPipeline as TreeSentimentPipeline
from .word_vectors import WordVectorsPipeline as WordVectorsPipeline

_PIPELINES: dict[str, tuple[type[Pipeline], type[Any]]] = {
    "word-vectors": (WordVectorsPipeline, AutoModel),
    "intent-slots": (IntentSlotsPipeline, AutoModelForIntentAndSlots),
    "tree-sentiment": (TreeSentimentPipeline, AutoModelForSequenceClassification),
    "image-captioning": (ImageCaptioningPipeline, AutoModelForImageTextToText),
    "series-forecasting": (SeriesForecastingPipeline, AutoModelForTimeSeriesPrediction),
    "translation": (TranslationPipeline, AutoModelForSeq2SeqLM),
    "summarization": (SummarizationPipeline, AutoModelForSeq2SeqLM),
    "text2text-generation": (Text2TextGenerationPipeline, AutoModelForSeq2SeqLM),
    "question-answering": (QuestionAnsweringPipeline, AutoModelForQuestionAnswering),
}
_OF_IMAGES = ("image-captioning",)


class _NoDefaultModel(dict[str, Any]):
    """What transformers asks for a model when none was named."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task

    def __contains__(self, key: object) -> bool:
        raise ValueError(
            f'{self.task!r} has no default model: name one, as in pipeline("{self.task}", model="user/name"), by its '
            "id on the Hub or its folder."
        )


def register() -> None:
    """Make our pipelines known to `transformers.pipeline`, but for tasks that it has."""
    tasks = PIPELINE_REGISTRY.supported_tasks
    missing = [task for task in _PIPELINES if task not in tasks]
    removed = getattr(transformers.pipelines, "REMOVED_TASKS", {})
    for task in missing:
        removed.pop(task, None)
        pipeline_class, auto_class = _PIPELINES[task]
        # Not by `register_pipeline`: its mark on the class makes `save_pretrained` copy our code and name it in
        # config.json, and loading would then ask for trust_remote_code.
        tasks[task] = {
            "impl": pipeline_class,
            "pt": (auto_class,),
            "default": _NoDefaultModel(task),
            "type": "multimodal" if task in _OF_IMAGES else "text",
        }
    if "translation" in missing:
        # On the object, not on its class: other registries are none of our business.
        setattr(PIPELINE_REGISTRY, "check_task", _reading_languages(PIPELINE_REGISTRY.check_task))  # noqa: B010


def _reading_languages(check_task: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a `check_task` that takes "translation_en_to_de" for a translation."""

    def check(task: str) -> Any:
        if not task.startswith("translation_"):
            return check_task(task)
        if languages_of(task) is None:
            raise KeyError(f"{task!r} names no two languages: write translation_XX_to_YY, as in translation_en_to_de")
        return check_task("translation")

    return check
