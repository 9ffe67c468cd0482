"""A small set for one lesson: Hindi puts the verb last, so that a translator must look back and forth.

    >>> load_word_order()["test"][0]["source"]
    'Is she reading the letter now?'

    I am not eating the mango now.                    subject  am  not  verb  object  time
    मैं  अभी  आम  नहीं  खा रहा  हूँ ।                     subject  time  object  not  verb  am

The auxiliary agrees with the subject, and so does the verb (रहा for a man, रही for a woman, रहे for more than one).
A question starts with क्या. Each sentence of test and validation joins a subject to an action that training shows only
with other subjects; no word is new.
"""

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import NamedTuple
from zlib import crc32

from datasets import Dataset, DatasetDict


class Subject(NamedTuple):
    """Who acts: the English and the Hindi subject, each with its auxiliary, and the Hindi aspect that agrees."""

    en: str
    en_be: str
    hi: str
    hi_aspect: str
    hi_be: str


class Action(NamedTuple):
    """What is done: verb and object, which is empty for some verbs."""

    en_verb: str
    hi_verb: str
    en_object: str = ""
    hi_object: str = ""


SUBJECTS = (
    Subject("I", "am", "मैं", "रहा", "हूँ"),
    Subject("you", "are", "तुम", "रहे", "हो"),
    Subject("he", "is", "वह", "रहा", "है"),
    Subject("she", "is", "वह", "रही", "है"),
    Subject("we", "are", "हम", "रहे", "हैं"),
    Subject("they", "are", "वे", "रहे", "हैं"),
    Subject("Ravi", "is", "रवि", "रहा", "है"),
    Subject("Sita", "is", "सीता", "रही", "है"),
)
_OBJECTS = {
    ("eating", "खा"): {"the mango": "आम", "the apple": "सेब", "bread": "रोटी", "rice": "चावल"},
    ("buying", "ख़रीद"): {"the mango": "आम", "bread": "रोटी", "milk": "दूध", "the book": "किताब"},
    ("drinking", "पी"): {"water": "पानी", "tea": "चाय", "milk": "दूध"},
    ("making", "बना"): {"tea": "चाय", "bread": "रोटी"},
    ("reading", "पढ़"): {"the book": "किताब", "the letter": "चिट्ठी"},
    ("writing", "लिख"): {"the book": "किताब", "the letter": "चिट्ठी"},
    ("going", "जा"): {"": "", "home": "घर", "to the market": "बाज़ार", "to school": "स्कूल"},
    ("coming", "आ"): {"": "", "home": "घर"},
    ("sleeping", "सो"): {"": ""},
    ("laughing", "हँस"): {"": ""},
}
ACTIONS = tuple(Action(*verb, en, hi) for verb, objects in _OBJECTS.items() for en, hi in objects.items())
TIMES = {"": "", "now": "अभी", "today": "आज"}
# A pair of subject and action is held out if its checksum falls here: Python's own hash differs from run to run.
HELD_OUT_OF = {"test": 0, "validation": 1}
PAIRS_TO_ONE_HELD_OUT = 8


def load_word_order(seed: int = 0) -> DatasetDict:
    """Make all sentences: train, and validation and test with combinations that train lacks; a seed sorts the rows."""
    rng = Random(seed)
    splits: dict[str, list[dict[str, str]]] = {"train": [], **{name: [] for name in HELD_OUT_OF}}
    for subject, action in product(SUBJECTS, ACTIONS):
        name = _split_of(subject, action)
        novelty = "seen" if name == "train" else "combination"
        splits[name] += ({**row, "novelty": novelty} for row in _sentences(subject, action))
    return DatasetDict(
        {name: Dataset.from_list(sorted(rows, key=lambda row: rng.random())) for name, rows in splits.items()}
    )


def _split_of(subject: Subject, action: Action) -> str:
    # "I am going", the example of every textbook, is in training.
    if (subject, action.en_verb, action.en_object) == (SUBJECTS[0], "going", ""):
        return "train"
    place = crc32(f"{subject.en} {action.en_verb} {action.en_object}".encode()) % PAIRS_TO_ONE_HELD_OUT
    return next((name for name, held_out in HELD_OUT_OF.items() if held_out == place), "train")


def _sentences(subject: Subject, action: Action) -> Iterator[dict[str, str]]:
    """Yield each statement and question of one subject and action, with and without "not", at each time."""
    for (en_time, hi_time), negated, asked in product(TIMES.items(), (False, True), (False, True)):
        en_not, hi_not = ("not", "नहीं") if negated else ("", "")
        opening = (subject.en_be, subject.en) if asked else (subject.en, subject.en_be)
        english = (*opening, en_not, action.en_verb, action.en_object, en_time)
        question = "क्या" if asked else ""
        hindi = (question, subject.hi, hi_time, action.hi_object, hi_not, action.hi_verb)
        yield {
            "source": _sentence(english, "?" if asked else "."),
            "target": _sentence((*hindi, subject.hi_aspect, subject.hi_be), "?" if asked else "।"),
        }


def _sentence(words: tuple[str, ...], mark: str) -> str:
    text = " ".join(word for word in words if word)
    return text[0].upper() + text[1:] + mark
