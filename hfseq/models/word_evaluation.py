"""Word vectors against people: analogies (a is to b as c is to ?) and the similarity of word pairs."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .similarity import best_of_many, divide_rows, unit_vector
from .vector_table import VectorTable

logger = logging.getLogger(__name__)

Section: TypeAlias = dict[str, Any]
Question: TypeAlias = tuple[str, str, str, str]
Search: TypeAlias = Callable[..., list[tuple[Any, float]]]

_NEIGHBOURS = 5  # that are looked through for the first one that may be an answer


def evaluate_analogies(
    table: VectorTable,
    path: str | Path,
    *,
    search: Search,
    batched: bool,
    restrict_vocab: int | None,
    case_insensitive: bool,
    dummy4unknown: bool,
) -> tuple[float, list[Section]]:
    """Answer a file of analogies; see `KeyedVectors.evaluate_word_analogies`.

    Args:
        table: the vectors.
        path: the file of questions.
        search: `most_similar` or another query of its form.
        batched: whether `search` is `most_similar`, so that many questions can be one matrix product.
        restrict_vocab: how many keys from the first on take part.
        case_insensitive: compare in upper case.
        dummy4unknown: count questions with unknown words as wrong.
    """
    indices = _indices(table, restrict_vocab, case_insensitive)
    fold = _upper if case_insensitive else str
    sections = list(_read_sections(path, fold))
    asked = [question for section in sections for question in section["questions"]]
    if not asked:
        raise ZeroDivisionError(f"{path} holds no analogies; a line is four words, below a line ': section'.")
    known = list(dict.fromkeys(question for question in asked if all(word in indices for word in question)))
    nearest = _Answers(table, search, restrict_vocab, batched).nearest(known, indices)
    answers = {
        question: _answer(question, map(fold, keys), indices) for question, keys in zip(known, nearest, strict=True)
    }
    results = [_judge(section, answers, dummy4unknown) for section in sections]
    total: Section = {
        "section": "Total accuracy",
        "correct": [question for section in results for question in section["correct"]],
        "incorrect": [question for section in results for question in section["incorrect"]],
    }
    unknown = sum(question not in answers for question in asked)
    logger.info("%.1f%% of the analogies in %s hold unknown words", 100 * unknown / len(asked), path)
    results.append(total)
    for section in results:
        log_accuracy(section)
    judged = len(total["correct"]) + len(total["incorrect"])
    return (len(total["correct"]) / judged if judged else 0.0), results


def evaluate_pairs(
    table: VectorTable,
    path: str | Path,
    *,
    similarity: Callable[[int, int], Any],
    delimiter: str,
    encoding: str,
    restrict_vocab: int | None,
    case_insensitive: bool,
    dummy4unknown: bool,
) -> tuple[Any, Any, float]:
    """Correlate with a file of word pairs; see `KeyedVectors.evaluate_word_pairs`.

    Args:
        table: the vectors.
        path: the file of pairs.
        similarity: of two rows of the table.
        delimiter: what separates the columns.
        encoding: of the file.
        restrict_vocab: how many keys from the first on take part.
        case_insensitive: compare in upper case.
        dummy4unknown: give pairs with unknown words the similarity 0.
    """
    try:  # the Hub's loader demands what is imported outside `try`, also of those who never evaluate
        from scipy.stats import pearsonr, spearmanr
    except ImportError as error:
        raise ImportError("evaluate_word_pairs needs scipy: pip install scipy") from error
    indices = _indices(table, restrict_vocab, case_insensitive)
    fold = _upper if case_insensitive else str
    gold: list[float] = []
    ours: list[float] = []
    unknown = 0
    for first, second, score in _read_pairs(path, delimiter, encoding):
        pair = fold(first), fold(second)
        known = all(word in indices for word in pair)
        unknown += not known
        if known or dummy4unknown:
            gold.append(score)
            ours.append(similarity(indices[pair[0]], indices[pair[1]]) if known else 0.0)
    if not gold:
        raise ValueError(
            f"{path} holds no pair that can be scored: lines are 'word{delimiter!r}word{delimiter!r}number', "
            f"{unknown} of them hold words unknown to {table!r}."
        )
    pearson, spearman = pearsonr(gold, ours), spearmanr(gold, ours)
    ratio = 100 * unknown / (len(gold) if dummy4unknown else len(gold) + unknown)
    log_word_pairs(pearson, spearman, ratio, path)
    return pearson, spearman, ratio


def log_accuracy(section: Section) -> None:
    """Log the share of right answers of one section."""
    correct, judged = len(section["correct"]), len(section["correct"]) + len(section["incorrect"])
    if judged:
        logger.info("%s: %.1f%% (%d/%d)", section["section"], 100 * correct / judged, correct, judged)


def log_word_pairs(pearson: Any, spearman: Any, oov: float, pairs: str | Path) -> None:
    """Log what `evaluate_word_pairs` found."""
    logger.info("%s: Pearson %.4f, Spearman %.4f, %.1f%% unknown", pairs, pearson[0], spearman[0], oov)


def _upper(word: Any) -> str:
    return str(word).upper()


def _indices(table: VectorTable, restrict_vocab: int | None, case_insensitive: bool) -> dict[str, int]:
    """Row of each word that takes part; of words that differ in case only, the first."""
    indices: dict[str, int] = {}
    for index, key in enumerate(table.index_to_key[:restrict_vocab]):
        if isinstance(key, str):
            indices.setdefault(key.upper() if case_insensitive else key, index)
    return indices


def _lines(path: str | Path, encoding: str = "utf-8") -> Iterator[str]:
    import fsspec

    with fsspec.open(str(path), "rt", encoding=encoding, compression="infer") as file:
        yield from file


def _read_sections(path: str | Path, fold: Callable[[str], str]) -> Iterator[Section]:
    section: Section | None = None
    for number, line in enumerate(_lines(path), start=1):
        if line.startswith(": "):
            if section is not None:
                yield section
            section = {"section": line[1:].strip(), "questions": []}
            continue
        if section is None:
            raise ValueError(f"{path}, line {number}: a line ': section' must come before the first analogy.")
        words = tuple(fold(word) for word in line.split())
        if len(words) == 4:
            section["questions"].append(words)
        else:
            logger.info("%s, line %d: passed over, it holds %d words instead of four", path, number, len(words))
    if section is not None:
        yield section


def _read_pairs(path: str | Path, delimiter: str, encoding: str) -> Iterator[tuple[str, str, float]]:
    for number, line in enumerate(_lines(path, encoding), start=1):
        if line.startswith("#"):
            continue
        try:
            first, second, score = line.split(delimiter)
            yield first, second, float(score)
        except ValueError:
            logger.info("%s, line %d: passed over, it is not two words and a number", path, number)


class _Answers:
    """The neighbours of b - a + c, without a, b and c."""

    def __init__(self, table: VectorTable, search: Search, restrict_vocab: int | None, batched: bool) -> None:
        self.table, self.search, self.restrict_vocab, self.batched = table, search, restrict_vocab, batched

    def nearest(self, questions: list[Question], indices: dict[str, int]) -> Iterable[list[Any]]:
        rows = [tuple(indices[word] for word in question[:3]) for question in questions]
        if not self.batched:
            return [self._alone(row) for row in rows]
        return self._together(rows)

    def _alone(self, rows: tuple[int, ...]) -> list[Any]:
        a, b, c = (self.table.index_to_key[row] for row in rows)
        found = self.search(positive=[b, c], negative=[a], topn=_NEIGHBOURS, restrict_vocab=self.restrict_vocab)
        return [key for key, _ in found]

    def _together(self, rows: list[tuple[int, ...]]) -> Iterator[list[Any]]:
        if not rows:
            return
        self.table.fill_norms()
        lengths, end = self.table.norms, self.restrict_vocab or len(self.table)
        assert lengths is not None
        a, b, c = np.array(rows).T
        offsets = -self._units(a, lengths)
        offsets += self._units(b, lengths)
        offsets += self._units(c, lengths)
        queries = np.stack([unit_vector(offset) for offset in offsets]).astype(np.float32)
        best = best_of_many(self.table.vectors[:end], lengths[:end], queries, _NEIGHBOURS + 3)
        for row, found in zip(rows, best, strict=True):
            if found is None:
                yield self._alone(row)
                continue
            yield [self.table.index_to_key[index] for index in found[0] if index not in row][:_NEIGHBOURS]

    def _units(self, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return divide_rows(self.table.vectors[rows], lengths[rows])


def _answer(question: Question, found: Iterable[str], indices: dict[str, int]) -> str | None:
    """The first neighbour that takes part and is no word of the question; failing that, the last one."""
    word = None
    for word in found:
        if word in indices and word not in question[:3]:
            break
    return word


def _judge(section: Section, answers: dict[Question, str | None], dummy4unknown: bool) -> Section:
    result: Section = {"section": section["section"], "correct": [], "incorrect": []}
    for question in section["questions"]:
        if question in answers:
            result["correct" if answers[question] == question[3] else "incorrect"].append(question)
        elif dummy4unknown:
            result["incorrect"].append(question)
    return result
