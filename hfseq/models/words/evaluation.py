"""Compare word vectors with people: analogies (a is to b as c is to ?) and the similarity of word pairs."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..packed_files import numbered_lines, open_text
from .similarity import best_of_many, divide_rows, unit_vector
from .vector_table import VectorTable

logger = logging.getLogger(__name__)

Section: TypeAlias = dict[str, Any]
Question: TypeAlias = tuple[str, str, str, str]
Search: TypeAlias = Callable[..., list[tuple[Any, float]]]

_NEIGHBOURS = 5  # that are looked through for the first one that may be an answer


class Questions(NamedTuple):
    """A section of analogies."""

    name: str
    rows: list[Question]


def read_analogies(path: str | Path, *, strict: bool = True) -> list[Questions]:
    """Read sections of analogies.

    Args:
        path: a file, also packed, of four words a line and a line `: name` before each section.
        strict: refuse a line of another form; take tabs or commas between the words as well as spaces, lines that
            begin with # as comments, and questions before the first `: name` as a section without a name. Otherwise
            read as gensim does, which passes over a line of another form and insists on that name.
    """
    sections: list[Questions] = []
    for number, line in _lines(path, "utf-8"):
        if line.startswith(": "):
            sections.append(Questions(line[1:].strip(), []))
        elif not (strict and line.startswith("#")):
            if not sections:
                sections.append(_nameless(path, number, strict))
            # gensim splits at white space alone.
            words = _columns(line) if strict else line.split()
            if len(words) == 4:
                sections[-1].rows.append((words[0], words[1], words[2], words[3]))
            else:
                _pass_over(f"{path}:{number}: an analogy has 4 words, got {line.strip()[:200]!r}.", strict)
    if not any(section.rows for section in sections):
        # gensim's users expect a division by zero.
        error = ValueError if strict else ZeroDivisionError
        raise error(f"{path} holds no analogies; a line has 4 words, and a line ': name' comes before each section.")
    return sections


def read_pairs(
    path: str | Path, *, delimiter: str | None = None, encoding: str = "utf-8", strict: bool = True
) -> list[tuple[str, str, float]]:
    """Read lines of two words and a number; lines that begin with # are comments.

    Args:
        path: a file, also packed.
        delimiter: what separates the columns; None for tabs, commas or spaces, whichever a line holds.
        strict: refuse a line of another form, but for a first one of titles; leave columns after the third out.
            Otherwise pass over such lines, as gensim does.
    """
    rows: list[tuple[str, str, float]] = []
    content = (numbered for numbered in _lines(path, encoding) if not numbered[1].startswith("#"))
    for index, (number, line) in enumerate(content):
        columns = _columns(line) if delimiter is None else line.split(delimiter)
        row = _parsed_pair(columns[:3] if strict else columns)
        if row is not None:
            rows.append(row)
        else:
            message = f"{path}:{number}: a row has two words and a number, got {line.strip()[:200]!r}."
            _pass_over(message, strict and index > 0)
    if strict and not rows:
        raise ValueError(f"{path} holds no word pairs; a row has two words and a number.")
    return rows


def evaluate_analogies(
    table: VectorTable,
    path: str | Path,
    *,
    search: Search,
    batched: bool,
    restrict_vocab: int | None,
    case_insensitive: bool,
    dummy4unknown: bool,
    strict: bool,
) -> tuple[float, list[Section]]:
    """Answer a file of analogies; see `KeyedVectors.evaluate_word_analogies`.

    Args:
        search: `most_similar` or another query of its form.
        batched: whether `search` is `most_similar`, so that many questions can be one matrix product.
        restrict_vocab: how many keys from the first on take part.
        case_insensitive: compare in upper case.
        dummy4unknown: count questions with unknown words as wrong.
    """
    indices = _indices(table, restrict_vocab, case_insensitive)
    fold = _upper if case_insensitive else str
    sections = [
        Questions(name, [_folded(row, fold) for row in rows]) for name, rows in read_analogies(path, strict=strict)
    ]
    asked = [question for section in sections for question in section.rows]
    # Files repeat questions across sections; each is answered once, and all of them by few matrix products.
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
    delimiter: str | None,
    encoding: str,
    restrict_vocab: int | None,
    case_insensitive: bool,
    dummy4unknown: bool,
    strict: bool,
) -> tuple[Any, Any, float]:
    """Correlate with a file of word pairs; see `KeyedVectors.evaluate_word_pairs`.

    Args:
        similarity: gives the similarity of two rows of the table.
        delimiter: what separates the columns; see `read_pairs`.
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
    for first, second, score in read_pairs(path, delimiter=delimiter, encoding=encoding, strict=strict):
        pair = fold(first), fold(second)
        known = all(word in indices for word in pair)
        # Counted also where the pair takes part with the similarity 0, as in gensim.
        unknown += not known
        if known or dummy4unknown:
            gold.append(score)
            ours.append(similarity(indices[pair[0]], indices[pair[1]]) if known else 0.0)
    if not gold:
        # An empty result is most often the wrong delimiter, so the message names it.
        separator = "tabs, commas or spaces" if delimiter is None else repr(delimiter)
        raise ValueError(
            f"{path} holds no pair that can be scored: lines are two words and a number, separated by "
            f"{separator}; {unknown} of them hold words unknown to {table!r}."
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
    """Map each word that takes part to its row; of words that differ in case only, the first counts."""
    indices: dict[str, int] = {}
    for index, key in enumerate(table.index_to_key[:restrict_vocab]):
        if isinstance(key, str):
            # The first is the most frequent one, as keys are sorted by count.
            indices.setdefault(key.upper() if case_insensitive else key, index)
    return indices


def _nameless(path: str | Path, number: int, strict: bool) -> Questions:
    if not strict:
        raise ValueError(f"{path}:{number}: a line ': name' must come before the first analogy.")
    return Questions("", [])


def _pass_over(message: str, strict: bool) -> None:
    if strict:
        raise ValueError(message)
    logger.info("%s The line is passed over.", message)


def _folded(question: Question, fold: Callable[[str], str]) -> Question:
    a, b, c, d = map(fold, question)
    return a, b, c, d


def _lines(path: str | Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    with open_text(path, encoding) as file:
        for number, line in numbered_lines(file, path):
            if line.strip():
                yield number, line


def _columns(line: str) -> list[str]:
    line = line.strip()
    # Tabs win over commas, and both over spaces: words of a tab-separated file may hold the others.
    separator = next((each for each in "\t," if each in line), None)
    return [column.strip() for column in line.split(separator)]


def _parsed_pair(columns: list[str]) -> tuple[str, str, float] | None:
    try:
        first, second, score = columns
        return first, second, float(score)
    except ValueError:
        return None


class _Answers:
    """The neighbours of b - a + c, without a, b and c."""

    def __init__(self, table: VectorTable, search: Search, restrict_vocab: int | None, batched: bool) -> None:
        self.table, self.search, self.restrict_vocab, self.batched = table, search, restrict_vocab, batched

    def nearest(self, questions: list[Question], indices: dict[str, int]) -> Iterable[list[Any]]:
        rows = [tuple(indices[word] for word in question[:3]) for question in questions]
        # Another query than `most_similar` has no product for many questions.
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
        # Three more than are wanted, for the three words of the question may be among them.
        best = best_of_many(self.table.vectors[:end], lengths[:end], queries, _NEIGHBOURS + 3)
        for row, found in zip(rows, best, strict=True):
            # Two neighbours are too close to call in float32: asked alone, they come in gensim's order.
            if found is None:
                yield self._alone(row)
                continue
            yield [self.table.index_to_key[index] for index in found[0] if index not in row][:_NEIGHBOURS]

    def _units(self, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return divide_rows(self.table.vectors[rows], lengths[rows])


def _answer(question: Question, found: Iterable[str], indices: dict[str, int]) -> str | None:
    """Return the first neighbour that takes part and is no word of the question; failing that, the last one."""
    word = None
    for word in found:
        if word in indices and word not in question[:3]:
            break
    return word


def _judge(section: Questions, answers: dict[Question, str | None], dummy4unknown: bool) -> Section:
    result: Section = {"section": section.name, "correct": [], "incorrect": []}
    for question in section.rows:
        if question in answers:
            result["correct" if answers[question] == question[3] else "incorrect"].append(question)
        elif dummy4unknown:
            result["incorrect"].append(question)
    return result
