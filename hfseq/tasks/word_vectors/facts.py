"""The facts of a card of word vectors: corpus, architecture, runs, what each test set could ask, and examples."""

import statistics
from collections.abc import Collection
from dataclasses import field
from typing import Literal

from ...cards.facts import FREE, MEASURED, Facts, SeedRun, Source, checked
from ...evaluation.scores import SCORES, Score

# Of all questions, and of the sections of either kind.
ANALOGIES: dict[str, Score] = {
    "analogy_accuracy": SCORES["accuracy"]._replace(title="Analogies"),
    "analogy_semantic": SCORES["accuracy"]._replace(title="Analogies, semantic"),
    "analogy_syntactic": SCORES["accuracy"]._replace(title="Analogies, syntactic"),
}

_SIMILARITIES = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "men": "MEN", "rare_words": "Rare Words"}


def word_score(metric: str) -> Score:
    """Return how a score is named and shown: analogies, or else a set of word pairs of that name."""
    if metric in ANALOGIES:
        return ANALOGIES[metric]
    return SCORES["spearman"]._replace(title=f"{_SIMILARITIES.get(metric, metric)}, Spearman")


@checked
class VectorArchitecture:
    """How the vectors were learnt."""

    architecture: Literal["skip-gram", "cbow"]
    loss: Literal["negative-sampling", "hierarchical-softmax", "softmax"]
    hidden_size: int  # numbers in a vector
    window: int
    negatives: int  # of negative sampling; 0 with another loss
    sample: float  # threshold of the sub-sampling of frequent words; 0 for none
    min_count: int
    buckets: int  # hash buckets of character n-grams; 0 for whole words alone
    epochs: float
    engine: Literal["block", "exact", "torch"]
    is_cut: bool = False  # whether the minutes were over before the epochs
    has_output: bool  # whether the file holds the output matrix, from which training can go on

    def validate_negatives(self) -> None:
        """Check that negatives belong to negative sampling."""
        if (self.negatives > 0) != (self.loss == "negative-sampling"):
            given = f"negatives={self.negatives} does not go with the loss {self.loss!r}"
            raise ValueError(f"{given}: 'negative-sampling' needs 1 or more, any other loss 0.")


@checked
class CorpusFacts(Source):
    """What the vectors were learnt from."""

    words: int  # of the running text, before rare ones are left out
    types: int  # different words in it
    vocabulary: int  # different words that have a vector
    split: Literal["whitespace", "word"]
    lowercase: bool
    phrases: int = 0  # passes that joined frequent pairs of words, which then have a vector as one word
    period: str | None = None  # when it was written, e.g. "until March 2006"

    def validate_counts(self) -> None:
        """Check that the counts go together."""
        # Phrases are words that the running text does not have.
        known = min(self.vocabulary, self.types) if self.phrases else self.vocabulary
        if not 0 < known <= self.types <= self.words:
            counts = f"vocabulary {self.vocabulary}, types {self.types} and words {self.words} of the corpus"
            raise ValueError(f"{counts} cannot be: each is a part of the next. Count them again.")


@checked
class VectorRun(SeedRun):
    """One training run; its metrics are those of `word_score`."""

    words_per_second: float  # of the running text, all epochs


@checked
class Evaluation:
    """What stands behind a score."""

    data: str  # name of the test set
    used: int  # questions or pairs that were answered
    skipped: int  # questions or pairs that hold a word without a vector, which are left out of the score
    restrict_vocab: int | None = None  # analogies: question and answer are of so many most frequent words


@checked
class Neighbour:
    """A word near another, or near a sum of words."""

    word: str
    cosine: float


@checked
class Neighbours:
    """A word of our own choice and the words nearest to it, nearest first."""

    word: str
    nearest: list[Neighbour]


@checked
class Analogy:
    """A question of our own choice, "king - man + woman", and the nearest words, nearest first."""

    positive: list[str]
    negative: list[str]
    nearest: list[Neighbour]


@checked
class WordVectorFacts(Facts):
    """All that a card says about one model of word vectors."""

    kind: Literal["word-vectors"] = "word-vectors"
    architecture: VectorArchitecture
    corpus: CorpusFacts
    runs: list[VectorRun] = field(metadata=MEASURED)
    evaluations: dict[str, Evaluation]
    """Metric -> what was asked; a set of which nothing could be asked has no score in the runs."""
    neighbours: list[Neighbours] = field(metadata=FREE | MEASURED)
    analogies: list[Analogy] = field(default_factory=list, metadata=FREE | MEASURED)

    @property
    def source(self) -> Source:
        """Where the corpus comes from."""
        return self.corpus

    @property
    def family(self) -> str:
        """Skip-gram or cbow."""
        return self.architecture.architecture

    @property
    def words_per_second(self) -> float:
        """The mean over the runs."""
        return statistics.mean(run.words_per_second for run in self.runs)

    def known_metrics(self) -> Collection[str]:
        """Return the names that the runs have: a set of word pairs may have any name."""
        return self.metric_names

    def score_of(self, metric: str) -> Score:
        """Return how a score is named and shown."""
        return word_score(metric)

    def validate_neighbours(self) -> None:
        """Check that each word or sum of our own has an answer."""
        answers = [each.nearest for each in self.neighbours] + [each.nearest for each in self.analogies]
        if not all(answers):
            raise ValueError("neighbours and analogies must hold the nearest words of each; see nearest_words.")

    def validate_runs(self) -> None:
        """Check that the runs can be averaged, and that each score says what was asked."""
        super().validate_runs()
        asked = {name for name, evaluation in self.evaluations.items() if evaluation.used}
        if unasked := set(self.metric_names) - asked:
            raise ValueError(f"evaluations lack the questions behind the metrics {sorted(unasked)}; add their counts.")
        if unscored := asked - set(self.metric_names):
            raise ValueError(f"the runs lack the metrics {sorted(unscored)}, whose questions were answered.")
