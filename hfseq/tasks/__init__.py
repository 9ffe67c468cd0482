"""A folder for each task, and a row of TASKS: what the rest of the package knows of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..cards.facts import Facts
from ..cards.table import ResultsTable
from .causal_lm.card import LANGUAGE_TABLE, language_view
from .causal_lm.facts import LanguageModelFacts
from .masked_lm.card import MASKED_TABLE, masked_view
from .masked_lm.facts import MaskedModelFacts
from .tagging.card import TAGGER_TABLE, tagger_view
from .tagging.facts import TaggerFacts
from .text_classification.card import CLASSIFIER_TABLE, classifier_view
from .text_classification.facts import CardFacts
from .word_vectors.card import WORD_VECTORS_TABLE, word_vectors_view
from .word_vectors.facts import WordVectorFacts


@dataclass(frozen=True, kw_only=True)
class Task:
    """One kind of task."""

    name: str  # that of its folder
    facts: type[Facts]  # what its cards say; the value of `kind` tells its files from those of other tasks
    view: Callable[[Any], dict[str, Any]]  # facts -> the variables of the card's template
    table: ResultsTable  # README's table of its measured models

    @property
    def template(self) -> str:
        """The path of the card's template in the package."""
        return f"tasks/{self.name}/card.md"


_ROWS = (
    Task(name="text_classification", facts=CardFacts, view=classifier_view, table=CLASSIFIER_TABLE),
    Task(name="tagging", facts=TaggerFacts, view=tagger_view, table=TAGGER_TABLE),
    Task(name="word_vectors", facts=WordVectorFacts, view=word_vectors_view, table=WORD_VECTORS_TABLE),
    Task(name="causal_lm", facts=LanguageModelFacts, view=language_view, table=LANGUAGE_TABLE),
    Task(name="masked_lm", facts=MaskedModelFacts, view=masked_view, table=MASKED_TABLE),
)
TASKS = {task.name: task for task in _ROWS}  # every task, by name
