"""The simple systems that a model of intents and slots is compared with, each part on the same rows, and together.

An intent: the commonest one, and a regression of words. Slots: the commonest tag of each word, and a CRF. Both: the
regression with either; the two do not know of each other.
"""

import numpy as np

from ...cards.facts import Comparison
from ...data.intents import IntentTask
from ...evaluation.frames import Frames, score_frames
from ...recipe.publish import rival
from ..tagging.build import texts_of
from ..tagging.rivals import commonest_tags, crf_tags
from ..text_classification.rivals import answers_of_words

_COMMONEST, _CRF = "most frequent tag of each word", "CRF (word, neighbours, endings, shapes)"


def simple_assistants(task: IntentTask, split: str, expected: Frames) -> list[Comparison]:
    """Return what the simple systems score on a split."""
    train, asked = task.dataset["train"], task.dataset[split]
    tags = task.tagged.tags("train")
    slots = {_COMMONEST: commonest_tags(train["tokens"][:], tags, asked["tokens"][:])}
    if (found := crf_tags(train["tokens"][:], tags, asked["tokens"][:])) is not None:
        slots[_CRF] = found
    intents = _intents(task, split)
    rows = []
    for name, told in intents.items():
        scores = score_frames(expected, Frames(told, slots[_COMMONEST]))
        rows += rival(name, {"intent_accuracy": scores["intent_accuracy"]})
    for name, tagged in slots.items():
        scores = score_frames(expected, Frames(expected.intents, tagged))
        rows += rival(name[0].upper() + name[1:], {"slot_f1": scores["slot_f1"]})
    best = next(reversed(intents))  # the regression, where there is one
    for name, tagged in slots.items():
        scores = score_frames(expected, Frames(intents[best], tagged))
        rows += rival(f"{best}, and {name}", {"frame_accuracy": scores["frame_accuracy"]})
    return rows


def _intents(task: IntentTask, split: str) -> dict[str, list[str]]:
    names = task.intents.names
    ids = {name: np.asarray(rows["intent"][:]) for name, rows in task.dataset.items()}
    texts = {name: texts_of(rows) for name, rows in task.dataset.items()}
    commonest = int(np.bincount(ids["train"]).argmax())
    found = {"Most frequent intent": [names[commonest]] * len(texts[split])}
    held = texts["validation"], ids["validation"]
    for name, answers in answers_of_words(texts["train"], ids["train"], texts[split], held):
        found[name.replace("Bag of words (TF-IDF", "TF-IDF regression (TF-IDF")] = [names[index] for index in answers]
    return found
