"""What a run measures on its word vectors: analogies, word pairs, neighbours.

    metrics, evaluations = evaluate_vectors(model.vectors, EvaluationSettings(analogies="questions-words.txt"))

Test files may be packed, and their columns separated by tabs, commas or spaces; words match whatever their case.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers.utils import logging

from ...models.words.evaluation import read_analogies, read_pairs
from ...models.words.vectors import KeyedVectors
from .facts import ANALOGIES, Analogy, Evaluation, Neighbour, Neighbours
from .settings import EvaluationSettings, Question

logger = logging.get_logger(__name__)


def evaluate_vectors(
    vectors: KeyedVectors, settings: EvaluationSettings
) -> tuple[dict[str, float], dict[str, Evaluation]]:
    """Ask the vectors every test set, and return metrics (accuracies 0 to 1, Spearman) and what was asked.

    A set of which nothing could be asked, because every question holds an unknown word, has no metric.
    """
    metrics, evaluations = {}, {}
    for metric, value, asked in _answers(vectors, settings):
        evaluations[metric] = asked
        if math.isfinite(value):
            metrics[metric] = value
        else:
            logger.warning("%s is not measured: too few questions in %s have known words.", metric, asked.data)
    return metrics, evaluations


def nearest_words(vectors: KeyedVectors, words: Sequence[str], limit: int = 5) -> list[Neighbours]:
    """Find the words nearest to each of these; words without a vector are left out, with a warning."""
    known = [word for word in words if _are_known(vectors, [word])]
    return [Neighbours(word=word, nearest=_nearest(vectors, limit, [word], [])) for word in known]


def solved_analogies(vectors: KeyedVectors, questions: Sequence[Question], limit: int = 5) -> list[Analogy]:
    """Find the words nearest to sums; questions with a word without a vector are left out, with a warning."""
    return [
        Analogy(positive=positive, negative=negative, nearest=_nearest(vectors, limit, positive, negative))
        for positive, negative in questions
        if _are_known(vectors, [*positive, *negative])
    ]


def _answers(vectors: KeyedVectors, settings: EvaluationSettings) -> Iterator[tuple[str, float, Evaluation]]:
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
    return metric == "analogy_accuracy" or section.startswith("gram") == (metric == "analogy_syntactic")


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
