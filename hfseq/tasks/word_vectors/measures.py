"""What a run measures on its word vectors: analogies, word pairs, neighbours.

    metrics, evaluations = evaluate_vectors(model.vectors, EvaluationSettings(analogies="questions-words.txt"))

The searches are those of `KeyedVectors`. Test files may be packed, and their
columns separated by tabs, commas or spaces; words are matched whatever their case.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers.utils import logging

from ...models.words.evaluation import read_analogies, read_pairs
from ...models.words.vectors import KeyedVectors
from .facts import ANALOGIES, Analogy, Evaluation, Neighbour, Neighbours

logger = logging.get_logger(__name__)

_SYNTACTIC = "gram"
"""How the names of syntactic sections begin."""
_NEAREST = 5


@dataclass
class EvaluationSettings:
    """Which test sets the vectors are asked."""

    analogies: str | None = field(
        default=None, metadata={"help": "file of analogies, four words a line, sections begin with ':'; null: none"}
    )
    pairs: dict[str, str] = field(
        default_factory=dict,
        metadata={"help": "name -> file of word pairs with a number; known: wordsim353, simlex999, men, rare_words"},
    )
    restrict_vocab: int = field(
        default=30_000, metadata={"help": "ask analogies among so many of the most frequent words"}
    )

    def __post_init__(self) -> None:
        """Refuse before the training what would fail after it."""
        if self.restrict_vocab < 1:
            raise ValueError(f"evaluation.restrict_vocab={self.restrict_vocab} leaves no word; give 1 or more.")
        if taken := sorted(self.pairs.keys() & ANALOGIES.keys()):
            raise ValueError(f"evaluation.pairs uses the names {taken} of analogies; name these word pairs otherwise.")
        paths = {"evaluation.analogies": self.analogies}
        paths |= {f"evaluation.pairs.{name}": path for name, path in self.pairs.items()}
        for where, path in paths.items():
            if path is not None and not Path(path).is_file():
                raise ValueError(f"{where}={path!r} is no file; give the path of one, or leave the set out.")


def evaluate_vectors(
    vectors: KeyedVectors, settings: EvaluationSettings
) -> tuple[dict[str, float], dict[str, Evaluation]]:
    """Ask the vectors every test set.

    Args:
        vectors: the model's.
        settings: which sets.

    Returns:
        Metrics (accuracies 0 to 1, Spearman correlations) and, for each set, what was asked. A set of which nothing
        could be asked, because every question holds an unknown word, has no metric.
    """
    answers = list(_answers(vectors, settings))
    for metric, value, asked in answers:
        if not math.isfinite(value):
            logger.warning("%s is not measured: too few questions in %s have known words.", metric, asked.data)
    metrics = {metric: value for metric, value, _ in answers if math.isfinite(value)}
    return metrics, {metric: asked for metric, _, asked in answers}


def nearest_words(vectors: KeyedVectors, words: Sequence[str], limit: int = _NEAREST) -> list[Neighbours]:
    """Find the words nearest to each of these; words without a vector are left out, with a warning.

    Args:
        vectors: the model's.
        words: of our own choice.
        limit: how many of each.
    """
    known = [word for word in words if _are_known(vectors, [word])]
    return [Neighbours(word=word, nearest=_nearest(vectors, limit, [word], [])) for word in known]


def solved_analogies(
    vectors: KeyedVectors, questions: Sequence[tuple[Sequence[str], Sequence[str]]], limit: int = _NEAREST
) -> list[Analogy]:
    """Find the words nearest to sums; questions with a word without a vector are left out, with a warning.

    Args:
        vectors: the model's.
        questions: (words to add, words to subtract), e.g. (["king", "woman"], ["man"]).
        limit: how many words for each.
    """
    return [
        Analogy(
            positive=list(positive),
            negative=list(negative),
            nearest=_nearest(vectors, limit, list(positive), list(negative)),
        )
        for positive, negative in questions
        if _are_known(vectors, [*positive, *negative])
    ]


def _answers(vectors: KeyedVectors, settings: EvaluationSettings) -> Iterator[tuple[str, float, Evaluation]]:
    """Yield (metric, value or nan, what was asked) for each set."""
    if settings.analogies is not None:
        yield from _ask_analogies(vectors, settings.analogies, settings.restrict_vocab)
    for name, path in settings.pairs.items():
        yield name, *_ask_pairs(vectors, path)


def _ask_analogies(vectors: KeyedVectors, path: str, limit: int) -> Iterator[tuple[str, float, Evaluation]]:
    asked = read_analogies(path)
    _, sections = vectors.evaluate_word_analogies(path, restrict_vocab=limit, case_insensitive=True, strict=True)
    # The last section counts all the others once more.
    answers = [(section["section"], len(section["correct"]), len(section["incorrect"])) for section in sections[:-1]]
    for metric in ANALOGIES:
        right, wrong = (sum(row[column] for row in answers if _is_of(metric, row[0])) for column in (1, 2))
        used, total = right + wrong, sum(len(section.rows) for section in asked if _is_of(metric, section.name))
        if total:
            evaluation = Evaluation(data=_data_name(path), used=used, skipped=total - used, restrict_vocab=limit)
            yield metric, right / used if used else math.nan, evaluation


def _is_of(metric: str, section: str) -> bool:
    syntactic = section.startswith(_SYNTACTIC)
    return metric == "analogy_accuracy" or syntactic == (metric == "analogy_syntactic")


def _ask_pairs(vectors: KeyedVectors, path: str) -> tuple[float, Evaluation]:
    rows, vocabulary = read_pairs(path), {word.upper() for word in vectors.key_to_index}
    used = sum({first.upper(), second.upper()} <= vocabulary for first, second, _ in rows)
    spearman = math.nan
    if used > 1:  # scipy refuses to rank fewer
        _, (spearman, _), _ = vectors.evaluate_word_pairs(
            path, delimiter=None, restrict_vocab=None, case_insensitive=True, strict=True
        )
    if not math.isfinite(spearman):
        used = 0
    return float(spearman), Evaluation(data=_data_name(path), used=used, skipped=len(rows) - used)


def _data_name(path: str) -> str:
    return Path(path).name.partition(".")[0]


def _are_known(vectors: KeyedVectors, words: Sequence[str]) -> bool:
    unknown = [word for word in words if word not in vectors]
    if unknown:
        logger.warning("The card leaves out an example: %s has no vector.", ", ".join(map(repr, unknown)))
    return not unknown


def _nearest(vectors: KeyedVectors, limit: int, positive: list[str], negative: list[str]) -> list[Neighbour]:
    found = vectors.most_similar(positive=positive, negative=negative, topn=limit)
    return [Neighbour(word=word, cosine=round(float(cosine), 4)) for word, cosine in found]
