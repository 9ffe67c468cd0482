"""The simple systems that a model of trees is measured beside, on the same rows of the same run.

The most frequent label; a regression on the words of whole texts; and where nodes have labels, the same regression on
the words of all phrases, which sees as many labels as the model and no tree.
"""

import warnings
from typing import Final, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ...cards.facts import Comparison
from ...data.treebanks import TreeTask
from ...evaluation.trainer_metrics import NODES, ROOT
from ...models.base import IGNORED
from ...recipe.publish import rival
from ..text_classification.rivals import answers_of_words
from .card import OF_PHRASES, OF_TEXTS

# Many phrases are to be known by heart, for which C=1 is too small. On the 159,274 of the Stanford Sentiment Treebank
# 200 steps take 13 seconds and tell 76.0 % of the nodes right; the fit ends after 434 steps, 29 seconds, with 76.8 %.
_STRENGTH: Final = 10.0
_MOST_STEPS: Final = 200


class Phrases(NamedTuple):
    """The phrases of all trees of a split, one behind the other."""

    texts: list[str]
    labels: np.ndarray  # (phrases,), -100: none

    @classmethod
    def of(cls, task: TreeTask, split: str) -> "Phrases":
        """Read the trees of a split."""
        texts = []
        for tree in task.trees(split):
            texts += [" ".join(tree.sentence[start:end]) for start, end in tree.spans()]
        return cls(texts, np.array([label for row in task.dataset[split]["labels"][:] for label in row]))

    def distinct(self) -> "Phrases":
        """Keep each phrase once with each of its labels, without those that have none."""
        pairs = dict.fromkeys(zip(self.texts, self.labels.tolist(), strict=True))
        own = [(text, label) for text, label in pairs if label != IGNORED]
        return Phrases([text for text, _ in own], np.array([label for _, label in own]))


class Rivals(NamedTuple):
    """What the simple systems score, and what the regression on phrases says of each node."""

    comparisons: list[Comparison]
    nodes: np.ndarray | None  # (phrases of the split,)


def rivals(task: TreeTask, split: str, learns: str) -> Rivals:
    """Train the systems on the rows of `train`, and let each answer a split."""
    roots = {name: task.roots(name) for name in ("train", "validation", split)}
    texts = {name: task.dataset[name]["text"][:] for name in roots}
    commonest = int(np.bincount(roots["train"]).argmax())
    found = {"Most frequent class": {ROOT: float((roots[split] == commonest).mean())}}
    held = texts["validation"], roots["validation"]
    for name, answers in answers_of_words(texts["train"], roots["train"], texts[split], held):
        found[name] = {ROOT: float((answers == roots[split]).mean())}
    nodes = None
    if learns == "nodes":
        nodes = _of_phrases(task, split, roots[split], found)
    return Rivals([row for name, scores in found.items() for row in rival(name, scores)], nodes)


def _of_phrases(
    task: TreeTask, split: str, roots: np.ndarray, found: dict[str, dict[str, float]]
) -> np.ndarray | None:
    """Add the scores of the systems on nodes; return what the regression says of each."""
    train, asked = Phrases.of(task, "train"), Phrases.of(task, split)
    is_labelled = asked.labels != IGNORED
    commonest = np.bincount(train.labels[train.labels != IGNORED]).argmax()
    found["Most frequent class"][NODES] = float((asked.labels[is_labelled] == commonest).mean())
    learnt = train.distinct()
    order = {text: place for place, text in enumerate(dict.fromkeys(asked.texts))}
    places = np.array([order[text] for text in asked.texts])
    last = np.cumsum([len(row) for row in task.dataset[split]["labels"][:]]) - 1  # of each tree the root
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the name says that the steps are counted
        told = next(answers_of_words(learnt.texts, learnt.labels, list(order), None, (_STRENGTH,), _MOST_STEPS), None)
    if told is None:  # no words
        return None
    name, distinct = told
    answers: np.ndarray = np.asarray(distinct)[places]
    found[f"{name.replace(OF_TEXTS, OF_PHRASES).removesuffix(')')}, at most {_MOST_STEPS} steps)"] = {
        ROOT: float((answers[last] == roots).mean()),
        NODES: float((answers == asked.labels)[is_labelled].mean()),
    }
    return answers
