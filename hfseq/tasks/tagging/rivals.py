"""The simple systems that a tagger is compared with, on the same rows: the commonest tag of each word, and a CRF.

The CRF (Lafferty et al. 2001) is CRFsuite's, with the features that taggers had before networks: the word and its
neighbours, their endings and their shapes. It is measured where python-crfsuite is installed.
"""

import logging
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...cards.facts import Comparison
from ...data.tagged import TaggedTask
from ...evaluation.tags import score_tags
from ...evaluation.trainer_metrics import TAGGING
from ...progress import progress_bar
from ...recipe.publish import rival

logger = logging.getLogger(__name__)

Rows = Sequence[Sequence[str]]

_LONGEST_ENDING = 4
_ELASTIC_NET = {"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True}
_SHAPES = ((re.compile(r"[A-Z]"), "X"), (re.compile(r"[a-z]"), "x"), (re.compile(r"\d"), "0"))
_REPEATED = re.compile(r"(.)\1+")


def simple_taggers(task: TaggedTask, split: str) -> list[Comparison]:
    """Return what the simple systems score on a split, in the score that people quote first."""
    metric = TAGGING["entities" if task.has_entities else "tags"][0]
    words, tags = task.dataset["train"]["tokens"][:], task.tags("train")
    asked, expected = task.dataset[split]["tokens"][:], task.tags(split)
    answers = {"Most frequent tag of each word": commonest_tags(words, tags, asked)}
    if (found := crf_tags(words, tags, asked)) is not None:
        answers["CRF (word, neighbours, endings, shapes)"] = found
    rows = [rival(name, {metric: score_tags(metric, expected, given)}) for name, given in answers.items()]
    return [row for one in rows for row in one]


def commonest_tags(words: Rows, tags: Rows, asked: Rows) -> list[list[str]]:
    """Give each word the tag that it most often has in training; unknown words the commonest of all."""
    counts: dict[str, Counter[str]] = {}
    for text, row in zip(words, tags, strict=True):
        for word, tag in zip(text, row, strict=True):
            counts.setdefault(word, Counter())[tag] += 1
    commonest = sum(counts.values(), Counter()).most_common(1)[0][0]
    best = {word: of_word.most_common(1)[0][0] for word, of_word in counts.items()}
    return [[best.get(word, commonest) for word in text] for text in asked]


def crf_tags(words: Rows, tags: Rows, asked: Rows) -> list[list[str]] | None:
    """Train a CRF and let it tag; None without python-crfsuite, which is said."""
    try:
        import pycrfsuite  # noqa: F401
    except ImportError:
        logger.warning("No CRF is measured beside the model: pip install python-crfsuite.")
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "crf")
        train_crf(words, tags, path)
        return tag_by_crf(path, asked)


def train_crf(words: Rows, tags: Rows, path: str) -> None:
    """Train a CRF and leave it in a file."""
    import pycrfsuite

    trainer: Any = pycrfsuite.Trainer(verbose=False)
    trainer.set_params(_ELASTIC_NET)
    rows = zip(words, tags, strict=True)
    for text, row in progress_bar("Features of the CRF", rows, total=len(words), unit="text"):
        trainer.append(list(features(text)), list(row))
    trainer.train(path)


def tag_by_crf(path: str, asked: Rows) -> list[list[str]]:
    """Let the CRF of a file tag texts."""
    import pycrfsuite

    tagger: Any = pycrfsuite.Tagger()
    tagger.open(path)
    found = [tagger.tag(list(features(text))) for text in progress_bar("Tagging with the CRF", asked, unit="text")]
    tagger.close()
    return found


def features(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the features of each word of a text."""
    own = [_of_word(word) for word in words]
    for place, word in enumerate(words):
        found = [*own[place], *(f"ends:{word.lower()[-size:]}" for size in range(1, _LONGEST_ENDING + 1))]
        for offset in (-2, -1, 1, 2):
            near = place + offset
            # Beyond the text stands a sign of its own: what begins and ends a text is worth knowing.
            known = own[near] if 0 <= near < len(words) else ["none"]
            found.extend(f"{offset}:{name}" for name in known)
        yield found


def _of_word(word: str) -> list[str]:
    shape = word
    for pattern, sign in _SHAPES:
        shape = pattern.sub(sign, shape)
    shape = _REPEATED.sub(r"\1", shape)  # Xx for every name, however long
    return [f"word:{word}", f"lower:{word.lower()}", f"shape:{shape}"]
