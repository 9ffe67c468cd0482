"""A folder for each task, and a row of TASKS: what the rest of the package knows of it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import Any, cast

from ..extras import need

need("train")

from ..cards.facts import Facts
from ..cards.table import ResultsTable
from .captioning.card import CAPTIONER_TABLE, captioner_view
from .captioning.facts import CaptionerFacts
from .causal_lm.card import LANGUAGE_TABLE, language_view
from .causal_lm.facts import LanguageModelFacts
from .joint.card import JOINT_TABLE, joint_view
from .joint.facts import IntentSlotsFacts
from .masked_lm.card import MASKED_TABLE, masked_view
from .masked_lm.facts import MaskedModelFacts
from .series.card import SERIES_TABLE, series_view
from .series.facts import SeriesFacts
from .strokes.card import STROKES_TABLE, strokes_view
from .strokes.facts import StrokesFacts
from .tagging.card import TAGGER_TABLE, tagger_view
from .tagging.facts import TaggerFacts
from .text_classification.card import CLASSIFIER_TABLE, classifier_view
from .text_classification.facts import CardFacts
from .translation.card import TRANSLATOR_TABLE, translator_view
from .translation.facts import TranslatorFacts
from .trees.card import TREE_TABLE, tree_view
from .trees.facts import TreeFacts
from .word_vectors.card import WORD_VECTORS_TABLE, word_vectors_view
from .word_vectors.facts import WordVectorFacts


@dataclass(frozen=True)
class Task:
    """One kind of task; its folder is that of its facts."""

    name: str  # that of its folder
    command: str  # what follows `hfseq train`
    recipe: str  # the name of its script in recipes/
    settings_name: str  # that of the class in settings.py
    facts: type[Facts]  # what its cards say; the value of `kind` tells its files from those of other tasks
    view: Callable[[Any], dict[str, Any]]  # facts -> the variables of the card's template
    table: ResultsTable  # of its measured models, in docs/results.md

    @property
    def template(self) -> str:
        """The text of the card's template."""
        return (files(self._package) / "card.md").read_text(encoding="utf-8")

    @property
    def settings(self) -> type:
        """All settings of its recipe, imported when asked for: a card needs no trainer."""
        return cast(type, getattr(import_module(f"{self._package}.settings"), self.settings_name))

    @property
    def _package(self) -> str:
        return self.facts.__module__.rpartition(".")[0]


# The columns: name, command, recipe, settings, facts, view of the facts, table.
_CLASSIFICATION = ("text_classification", "text-classification", "text_classification")
_TAGGING = ("tagging", "token-classification", "token_classification")
_JOINT = ("joint", "intent-slots", "intent_slots")
_WORDS = ("word_vectors", "word-vectors", "word2vec")
_CAUSAL = ("causal_lm", "language-modeling", "language_modeling")
_MASKED = ("masked_lm", "masked-language-modeling", "masked_language_modeling")
_SERIES = ("series", "series", "series")
_TREES = ("trees", "trees", "trees")
_TRANSLATION = ("translation", "translation", "translation")
_STROKES = ("strokes", "strokes", "strokes")
_CAPTIONING = ("captioning", "captioning", "captioning")
_ROWS = (
    Task(*_CLASSIFICATION, "TextClassificationSettings", CardFacts, classifier_view, CLASSIFIER_TABLE),
    Task(*_TAGGING, "TaggingSettings", TaggerFacts, tagger_view, TAGGER_TABLE),
    Task(*_JOINT, "IntentSlotsSettings", IntentSlotsFacts, joint_view, JOINT_TABLE),
    Task(*_WORDS, "WordVectorsSettings", WordVectorFacts, word_vectors_view, WORD_VECTORS_TABLE),
    Task(*_CAUSAL, "CausalLMSettings", LanguageModelFacts, language_view, LANGUAGE_TABLE),
    Task(*_MASKED, "MaskedLMSettings", MaskedModelFacts, masked_view, MASKED_TABLE),
    Task(*_SERIES, "SeriesSettings", SeriesFacts, series_view, SERIES_TABLE),
    Task(*_TREES, "TreesSettings", TreeFacts, tree_view, TREE_TABLE),
    Task(*_TRANSLATION, "TranslationSettings", TranslatorFacts, translator_view, TRANSLATOR_TABLE),
    Task(*_STROKES, "StrokesSettings", StrokesFacts, strokes_view, STROKES_TABLE),
    Task(*_CAPTIONING, "CaptioningSettings", CaptionerFacts, captioner_view, CAPTIONER_TABLE),
)
TASKS = {task.name: task for task in _ROWS}  # every task, by name
