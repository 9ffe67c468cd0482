"""What the doctor knows of a run: read once, so that each check is a small function of it."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

Kind: TypeAlias = Literal["classes", "tags", "frames", "language", "other"]


@dataclass
class Rows:
    """The rows of one split.

    Args:
        texts: What two rows share when they say the same: the text, its words, or its token ids.
        lengths: (rows,) tokens of each text.
        ids: The token ids of each text.
        classes: (rows,) the label of each text; None: it has no one label.
        tags: The labels of the tokens of each text, -100 where the loss does not look; None: it has none.
        cut: (rows,) tokens that were cut off each text; None: nobody counted them.
        is_whole: Whether these are all rows of the split: of a large one the first are read.
        unknown: The share of the tokens that the tokenizer does not know; None: it knows everything or has no mark.
    """

    texts: Sequence[Hashable]
    lengths: np.ndarray
    ids: Sequence[np.ndarray] = ()
    classes: np.ndarray | None = None
    tags: Sequence[np.ndarray] | None = None
    cut: np.ndarray | None = None
    is_whole: bool = True
    unknown: float | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass
class Answers:
    """What the model answers to rows that have labels: one answer a text, or one a word for a tagger.

    Args:
        expected: (n,) ids of the labels.
        predicted: (n,) ids of the answers.
        certainty: (n,) the probability of each answer.
    """

    expected: np.ndarray
    predicted: np.ndarray
    certainty: np.ndarray

    def __len__(self) -> int:
        return len(self.expected)

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return float((self.expected == self.predicted).mean())

    @property
    def most_frequent(self) -> float:
        """The accuracy of answering the most frequent label always."""
        return float(np.bincount(self.expected).max() / len(self))

    @property
    def beats_most_frequent(self) -> bool:
        """Whether the answers say more than the most frequent label alone, of all rows or of each label."""
        return self.most_frequent > 0.98 or self.accuracy > self.most_frequent + 0.02 or self._finds_labels

    @property
    def _finds_labels(self) -> bool:
        """Whether the mean recall of the labels is above what answers without a look at the text would have."""
        labels, counts = np.unique(self.expected, return_counts=True)
        recalls = [float((self.predicted[self.expected == label] == label).mean()) for label in labels]
        shares = np.array([float((self.predicted == label).mean()) for label in labels])
        error = float((shares * (1 - shares) / counts).sum()) ** 0.5 / len(labels)
        return float(np.mean(recalls)) > float(shares.mean()) + 0.02 + 3 * error


@dataclass
class Units:
    """What the units of one layer do over a batch, in shares of the units or of their values.

    Args:
        name: The layer, as people count: "layer 1".
        dead: Share of the units that never change.
        saturated: Share of the outputs beyond 0.99 of a tanh or a sigmoid.
        stuck_gates: Share of the gates that are open or closed at every step; None: it has no gates.
    """

    name: str
    dead: float
    saturated: float
    stuck_gates: float | None = None


@dataclass
class Evidence:
    """All that the checks read. `missing` says why a part of it is not there, which leaves its checks out.

    Args:
        kind: What the model answers: a class a text, a tag a word, both, the next token, or something else.
        config: The config of the model.
        training: The arguments of the training, by name.
        settings: The other sections of the settings: tokenizer, embeddings, data.
        history: What the trainer has logged.
        train: The training rows; `validation` and `test` likewise.
        train_answers: To some training rows.
        validation_answers: To some validation rows.
        units: A row for each recurrent layer.
        gradients: What `hfseq.gradient_flow` found.
        tensors: What was found of weights: broken ones, frozen embeddings, ones without a gradient.
        padding_labels: Share of the padding in a batch that the loss looks at.
        names: The names of the classes.
        slots: The names of the tags.
        missing: Part -> why it could not be read.
    """

    kind: Kind
    config: Any
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    train: Rows | None = None
    validation: Rows | None = None
    test: Rows | None = None
    train_answers: Answers | None = None
    validation_answers: Answers | None = None
    units: Sequence[Units] | None = None
    gradients: Any = None
    tensors: Mapping[str, list[str]] | None = None
    padding_labels: float | None = None
    names: Sequence[str] = ()
    slots: Sequence[str] = ()
    missing: dict[str, str] = field(default_factory=dict)

    def lacks(self, part: str) -> str | None:
        """Say why a part is missing; None: it is there."""
        value = getattr(self, part)
        if value is None or (part == "history" and not value):
            return self.missing.get(part, _WHY.get(part, f"{part} could not be read"))
        return None

    def logged(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps at which a number was logged, and the numbers."""
        rows = [(row.get("step", 0), row[name]) for row in self.history if isinstance(row.get(name), int | float)]
        steps, values = zip(*rows, strict=True) if rows else ((), ())
        return np.asarray(steps, float), np.asarray(values, float)

    def counted_loss(self) -> float | None:
        """Return what a token of validation costs by counts of single tokens; None: the rows are not there."""
        if self.train is None or self.validation is None:
            return None
        train, held_out = (np.concatenate([*rows.ids]) for rows in (self.train, self.validation))
        counts = np.bincount(train, minlength=int(max(train.max(), held_out.max())) + 1) + 1.0
        return float(-np.log(counts / counts.sum())[held_out].mean())

    def model_fields(self, *names: str) -> Iterator[Any]:
        """Yield fields of the config; None for one that it does not have."""
        for name in names:
            yield getattr(self.config, name, None)


_WHY = {
    "history": "there is no log of the training",
    "train": "the training data could not be read",
    "validation": "there is no validation split",
    "test": "there is no test split",
    "train_answers": "the model could not be asked about training rows",
    "validation_answers": "the model could not be asked about validation rows",
    "units": "the model has no recurrent layers",
    "gradients": "the model has no recurrent layers",
    "tensors": "no batch could be run through the model",
    "padding_labels": "the labels are not of tokens",
}
