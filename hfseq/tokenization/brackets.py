r"""Trees in the brackets of the Penn Treebank and of the Stanford Sentiment Treebank.

    (3 (2 It) (4 works))          a label 0 ... 4 at each node
    (S (NP (PRP It)) (VP (VBZ works)))          a category

Brackets, slashes and asterisks inside words are spelled `-LRB-`, `-RRB-`, `\/` and `\*` there (square and curly ones
`-LSB-`, `-RSB-`, `-LCB-`, `-RCB-`); words are read as people write them. A backslash is `\\`, and `\-` is a hyphen
that begins no such spelling. A spelling of a file that differs (a bare slash, a trace `*T*-1`) is kept beside the
word, so that a tree is written as it was read but for blanks and line ends.

A file holds any number of trees, each on one line or on many. A node has one word or children, never both.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .tree import Tree

# Only blanks of ASCII part tokens: words of the Stanford Sentiment Treebank have other ones inside.
_TOKEN = re.compile(r"[()]|[^ \t\r\n\f\v()]+")
_UNWRITABLE = re.compile(r"[ \t\r\n\f\v]")
_NAMES = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
_SPELLED = {mark: name for name, mark in _NAMES.items()} | {mark: f"\\{mark}" for mark in "/*\\"}
_READ = re.compile(r"\\([/*\\-])|-[LR][RSC]B-", re.IGNORECASE)
_WRITTEN = re.compile(r"[()\[\]{}/*\\]|-(?=[LR][RSC]B)", re.IGNORECASE)


class BracketError(ValueError):
    """Brackets are malformed; the message names the place and what was expected there."""


@dataclass
class _Open:
    """A node whose bracket is not closed yet."""

    place: int
    label: str | None = None
    word: str | None = None
    children: list[int] = field(default_factory=list)


def read_brackets(text: str) -> Tree:
    """Read one tree."""
    trees = list(read_all_brackets(text))
    if len(trees) != 1:
        raise BracketError(f"The text holds {len(trees)} trees, not one: read_tree_file reads several. {text[:60]!r}")
    return trees[0]


def read_all_brackets(text: str, source: str = "") -> Iterator[Tree]:
    """Yield the trees of a text.

    Args:
        text: Any number of trees.
        source: The name of the file, for errors.
    """
    reader = _Reader(text, source)
    for match in _TOKEN.finditer(text):
        if (tree := reader.take(match.group(), match.start())) is not None:
            yield tree
    reader.end()


class _Reader:
    """Takes the tokens of a text one by one; a stack of its own in place of recursion."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.stack: list[_Open] = []
        self._clear()

    def _clear(self) -> None:
        self.words: list[str | None] = []
        self.parents: list[int] = []
        self.labels: list[str] = []
        self.spelled: dict[int, str] = {}

    def take(self, token: str, place: int) -> Tree | None:
        """Read a token; return the tree that it ends."""
        if token == "(":
            self._open(place)
        elif token == ")":
            return self._close(place)
        else:
            self._word(token, place)
        return None

    def end(self) -> None:
        """Refuse a text that ends inside a tree."""
        if self.stack:
            line, column = _line_and_column(self.text, self.stack[-1].place)
            told = f"found the end of the text, for the bracket opened at line {line}, column {column}"
            raise self._error(len(self.text.rstrip()), "expected ')'", told)

    def _open(self, place: int) -> None:
        if self.stack:
            node = self.stack[-1]
            if node.word is not None:
                raise self._error(place, "expected ')'", f"found '(' behind the word {node.word!r}")
            node.label = node.label or ""  # the Penn Treebank has roots without a category
        self.stack.append(_Open(place))

    def _word(self, token: str, place: int) -> None:
        if not self.stack:
            raise self._error(place, "expected '('", f"found {token[:30]!r} outside of a tree")
        node = self.stack[-1]
        if node.label is None:
            node.label = token
        elif node.word is None and not node.children:
            node.word = token
        else:
            has = f"the word {node.word!r}" if node.word is not None else "a child"
            raise self._error(
                place, "expected '(' or ')'" if node.children else "expected ')'", f"found {token[:30]!r} behind {has}"
            )

    def _close(self, place: int) -> Tree | None:
        if not self.stack:
            raise self._error(place, "expected '('", "found ')' outside of a tree")
        node = self.stack.pop()
        if node.word is None and not node.children:
            wanted = "a label" if node.label is None else f"a word or '(' behind the label {node.label!r}"
            raise self._error(place, f"expected {wanted}", "found ')'")
        self._add(node)
        if self.stack:
            self.stack[-1].children.append(len(self.words))
            return None
        tree = Tree(tuple(self.words), tuple(self.parents), tuple(self.labels), self.spelled)
        self._clear()
        return tree

    def _add(self, node: _Open) -> None:
        number = len(self.words) + 1
        for child in node.children:
            self.parents[child - 1] = number
        word = None if node.word is None else unescaped(node.word)
        if word is not None and node.word is not None and escaped(word) != node.word:
            self.spelled[number - 1] = node.word
        self.words.append(word)
        self.parents.append(0)
        self.labels.append(node.label or "")

    def _error(self, place: int, wanted: str, found: str) -> BracketError:
        line, column = _line_and_column(self.text, place)
        where = f"{self.source}, line {line}" if self.source else f"Line {line}"
        return BracketError(
            f"{where}, column {column}: {wanted}, {found}. A node is (LABEL WORD) or (LABEL NODE ...)."
        )


def _line_and_column(text: str, place: int) -> tuple[int, int]:
    """Return where a place is, both counted from 1."""
    return text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)


def write_brackets(tree: Tree) -> str:
    """Write a tree in one line; of several roots, one line each."""
    _check_writable(tree)
    children = tree.children()
    pieces: list[str] = []
    # A stack of nodes to open and of pieces to write: no recursion, and no text is copied twice.
    for root in tree.roots:
        if pieces:
            pieces.append("\n")
        stack: list[int | str] = [root]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                pieces.append(item)
                continue
            word = tree.words[item]
            if word is not None:
                spelling = tree.spelled.get(item)
                pieces.append(f"({tree.labels[item]} {escaped(word) if spelling is None else spelling})")
                continue
            pieces.append(f"({tree.labels[item]}")
            stack.append(")")
            for child in reversed(children[item]):
                stack += [child, " "]
    return "".join(pieces)


def _check_writable(tree: Tree) -> None:
    inner = set(tree.parents)
    for number, (word, label) in enumerate(zip(tree.words, tree.labels, strict=True), start=1):
        if word is not None and number in inner:
            raise ValueError(
                f"Node {number} has the word {word!r} and children, as dependency trees have: brackets hold words at "
                "leaves alone. Write it with hfseq.write_conllu."
            )
        if word is not None and not label:
            raise ValueError(f"Node {number}, the word {word!r}, has no label: brackets need one at each word.")
        for what, text in (("word", word), ("label", label)):
            if text is not None and (_UNWRITABLE.search(text) or (what == "word" and not text)):
                raise ValueError(
                    f"Node {number} has the {what} {text!r}: brackets hold none that is empty or has blanks."
                )
        if "(" in label or ")" in label:
            raise ValueError(f"Node {number} has the label {label!r}: labels in brackets hold no brackets.")


def unescaped(word: str) -> str:
    """Write a word of a treebank as people do."""
    if "\\" not in word and "-" not in word:
        return word
    return _READ.sub(lambda match: match[1] or _NAMES.get(match[0].upper(), match[0]), word)


def escaped(word: str) -> str:
    """Write a word as the Penn Treebank does."""
    return _WRITTEN.sub(lambda match: _SPELLED.get(match[0], f"\\{match[0]}"), word)
