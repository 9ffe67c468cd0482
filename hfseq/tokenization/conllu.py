"""Sentences of CoNLL-U: a word on each line in ten columns parted by tabs, an empty line behind each sentence.

The lines of contractions (1-2) and gaps (1.1) are passed over: they are no words of the tree.
"""

from collections.abc import Iterable, Iterator, Sequence

from .tree import Tree

_COLUMNS = 10
_ID, _FORM, _HEAD, _RELATION = 0, 1, 6, 7


def conllu_sentences(lines: Iterable[str], source: str = "") -> Iterator[tuple[int, list[list[str]]]]:
    """Yield the cells of the words of each sentence, and the number of the line that it begins on.

    Args:
        lines: With or without line ends.
        source: The name of the file or split, for errors.
    """
    words: list[list[str]] = []
    first = 0
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r\n")
        if not line.strip():
            if words:
                yield first, words
            words = []
        elif not line.startswith("#"):
            cells = line.split("\t")
            if len(cells) != _COLUMNS:
                fault = f"{_where(source, number)} has {len(cells)} columns, parted by tabs"
                raise ValueError(f"{fault}; CoNLL-U has {_COLUMNS}: {line[:200]!r}.")
            if cells[_ID].isdecimal():
                first = first if words else number
                words.append(cells)
    if words:
        yield first, words


def conllu_trees(lines: Iterable[str], source: str = "") -> Iterator[Tree]:
    """Yield the dependency tree of each sentence: its nodes are the words in their order, the labels are relations."""
    for number, words in conllu_sentences(lines, source):
        yield _tree(words, _where(source, number))


def from_conllu(text: str) -> Tree:
    """Read one sentence of CoNLL-U."""
    trees = list(conllu_trees(text.splitlines()))
    if len(trees) != 1:
        raise ValueError(f"The text holds {len(trees)} sentences of CoNLL-U, not one. It begins {text[:60]!r}.")
    return trees[0]


def is_conllu(text: str) -> bool:
    """Tell whether a text is CoNLL-U: its first line that is no comment has ten columns and begins with a number."""
    if "\t" not in text:
        return False
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    cells = next(lines, "").split("\t")
    return len(cells) == _COLUMNS and cells[_ID][:1].isdecimal()


def write_conllu(tree: Tree) -> str:
    """Write a dependency tree; `_` stands in the columns of which a tree knows nothing."""
    if None in tree.words:
        number = tree.words.index(None) + 1
        raise ValueError(f"Node {number} has no word: CoNLL-U has a word at each node. Write it with write_brackets.")
    lines = []
    for number, (word, parent, label) in enumerate(zip(tree.words, tree.parents, tree.labels, strict=True), start=1):
        if not word or "\t" in word or "\n" in word:
            raise ValueError(f"Node {number} has the word {word!r}: CoNLL-U holds none that is empty or has tabs.")
        lines.append("\t".join((str(number), word, *"____", str(parent), label or "_", *"__")))
    return "\n".join(lines) + "\n"


def _tree(words: Sequence[Sequence[str]], where: str) -> Tree:
    ids = [cells[_ID] for cells in words]
    if ids != [str(number) for number in range(1, len(ids) + 1)]:
        raise ValueError(f"{where}: the words are numbered {', '.join(ids[:10])}, not 1, 2, ... in their order.")
    for cells in words:
        if not cells[_HEAD].isdecimal() or int(cells[_HEAD]) > len(words):
            told = f"{where}: word {cells[_ID]} {cells[_FORM]!r} has the head {cells[_HEAD]!r}"
            raise ValueError(f"{told}, not the number of one of its {len(words)} words, or 0 for the root.")
    labels = ("" if cells[_RELATION] == "_" else cells[_RELATION] for cells in words)
    try:
        return Tree(tuple(c[_FORM] for c in words), tuple(int(c[_HEAD]) for c in words), tuple(labels))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _where(source: str, number: int) -> str:
    return f"{source}, line {number}" if source else f"Line {number}"
