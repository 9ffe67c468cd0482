"""Trees as data: from brackets, lists, CoNLL-U and spaCy, made binary and undone, in files and in `datasets`.

    tree = read_brackets("(NP (DT the) (JJ old) (NN dog))")
    binarise(tree)                                  # (NP (DT the) ( (JJ old) (NN dog)))
    Dataset.from_list([tree.row()], features=tree_features())

| from                                        | by                                  | back by          |
|---------------------------------------------|-------------------------------------|------------------|
| `(3 (2 It) (4 works))`                      | `read_brackets`, `read_tree_file`   | `write_brackets` |
| `["3", ["2", "It"], ["4", "works"]]`        | `from_lists`                        | `to_lists`       |
| a sentence of CoNLL-U                       | `from_conllu`, `read_tree_file`     | `write_conllu`   |
| a parsed `Doc` or `Span` of spaCy           | `from_spacy`                        |                  |
| a row with the columns of `tree_features()` | `Tree.from_row`                     | `tree.row()`     |

Nothing here recurses: a tree may be as deep as it likes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from datasets import ClassLabel, Dataset, Features, List, Value

from ..models.packed_files import PACKED, open_packed, reading
from ..settings import check_known
from ..tokenization.brackets import read_all_brackets, read_brackets, write_brackets
from ..tokenization.conllu import conllu_trees, from_conllu, write_conllu
from ..tokenization.tree import Branches, Tree, bottom_up
from .sources import FORMATS, Formats

__all__ = [
    "TREE_FORMATS",
    "Tree",
    "binarise",
    "from_conllu",
    "from_lists",
    "from_spacy",
    "read_brackets",
    "read_tree_file",
    "to_lists",
    "tree_features",
    "unbinarise",
    "write_brackets",
    "write_conllu",
]

Side: TypeAlias = Literal["right", "left"]
Unary: TypeAlias = Literal["join", "top", "keep"]
_JOINT: Final = "+"
_BRACKETS: Final = (".brackets", ".mrg", ".ptb", ".tree", ".trees", ".txt")
_CONLLU: Final = ".conllu"


# Lists


def from_lists(lists: Any, *, labelled: bool = True) -> Tree:
    """Make a tree of lists inside each other.

    Args:
        lists: A node is `[label, word]` or `[label, node, ...]`; a label is a text or a whole number. Without labels a
            word is a text, and any other node a list of nodes: `[["very", "good"], "film"]`.
        labelled: Whether the first item of each list is its label.
    """
    built = Branches()
    root = built.add(None, "")
    stack = [(lists, root)]
    while stack:
        item, node = stack.pop()
        if not labelled and isinstance(item, str):
            built.words[node] = item
            continue
        if not isinstance(item, list | tuple):
            raise ValueError(f"{_shallow(item)} is no node of a tree: give {_wanted(labelled)}.")
        items = list(item)
        if labelled:
            if len(items) < 2 or isinstance(items[0], bool) or not isinstance(items[0], str | int):
                raise ValueError(f"{_shallow(item)} is no node of a tree: give {_wanted(labelled)}.")
            built.labels[node] = str(items.pop(0))
            if len(items) == 1 and isinstance(items[0], str):
                built.words[node] = items[0]
                continue
        if not items:
            raise ValueError(f"{_shallow(item)} is no node of a tree: give {_wanted(labelled)}.")
        for child in items:
            built.children[node].append(built.add(None, ""))
            stack.append((child, built.children[node][-1]))
    return built.tree([root])


def _wanted(labelled: bool) -> str:
    return "[label, word] or [label, node, ...]" if labelled else "a word, or a list of nodes that is not empty"


def _shallow(item: Any) -> str:
    """Show a value, but not what is inside of the lists inside of it: they may be deeper than Python can show."""
    if not isinstance(item, list | tuple):
        return repr(item)[:60]
    return f"[{', '.join('[...]' if isinstance(part, list | tuple) else repr(part)[:30] for part in item[:5])}]"


def to_lists(tree: Tree, *, labelled: bool = True) -> Any:
    """Write a tree as lists inside each other, see `from_lists`; labels are texts."""
    root = _only_root(tree)
    _check_phrases(tree)
    children = tree.children()
    made: list[Any] = [None] * len(tree)
    for node in bottom_up(tree.parents):
        word = tree.words[node]
        inside = [made[child] for child in children[node]] if word is None else [word]
        if labelled:
            made[node] = [tree.labels[node], *inside]
        else:
            made[node] = inside if word is None else word
    return made[root]


def _only_root(tree: Tree) -> int:
    if len(tree.roots) != 1:
        raise ValueError(f"The tree has {len(tree.roots)} roots: give one tree.")
    return tree.roots[0]


def _check_phrases(tree: Tree) -> None:
    inner = set(tree.parents)
    for number, word in enumerate(tree.words, start=1):
        if word is not None and number in inner:
            raise ValueError(
                f"Node {number}, the word {word!r}, has children: this is a dependency tree, and only a tree of "
                "phrases, whose words are leaves, can be taken."
            )


# spaCy


def from_spacy(doc: Any) -> Tree:
    """Make the dependency tree of a parsed `Doc` or `Span`; of several sentences a forest.

    Tokens of white space are no words, and a word whose head is outside of the span is a root.
    """
    tokens = list(doc)
    if tokens and not any(token.dep_ for token in tokens):
        raise ValueError(
            f"{str(doc).strip()[:60]!r} is not parsed: make it with a pipeline of spaCy that has a parser."
        )
    places = {token.i: number for number, token in enumerate((t for t in tokens if not t.is_space), start=1)}
    words, parents, labels = [], [], []
    for token in tokens:
        if token.i in places:
            head = token.head
            while head.is_space and head.head.i != head.i:
                head = head.head
            words.append(token.text)
            parents.append(0 if head.i == token.i else places.get(head.i, 0))
            labels.append(token.dep_)
    return Tree(tuple(words), tuple(parents), tuple(labels))


# Binary trees


def binarise(tree: Tree, side: Side = "right", unary: Unary = "join") -> Tree:
    """Give each node two children or none; `unbinarise` undoes it.

    Args:
        tree: A tree of phrases, whose words are leaves.
        side: Where nodes are added below one of more than two children: "right" keeps the first child apart,
            `(NP (DT the) ( (JJ old) (NN dog)))`, "left" the last, `(NP ( (DT the) (JJ old)) (NN dog))`. Nodes that
            are added have no label, so that nothing is learnt of them.
        unary: What becomes of a node with one child: "join" makes one node of the two, `(NP (PRP It))` is
            `(NP+PRP It)`; "top" too, but keeps the label of the upper one that has one, which cannot be undone;
            "keep" leaves both.
    """
    check_known(side, get_args(Side), "binarise", kind="side")
    check_known(unary, get_args(Unary), "binarise", kind="unary")
    _check_phrases(tree)
    built, roots = Branches.of(tree), tree.roots
    _check_labels(tree, built, unary)
    for node in bottom_up(tree.parents):
        if unary != "keep":
            _shorten(built, node, unary)
        if len(built.children[node]) > 2:
            built.children[node] = _pair(built, built.children[node], side)
    return built.tree(roots)


def _pair(built: Branches, nodes: Sequence[int], side: Side) -> list[int]:
    """Add nodes of two children, until two are left."""
    if side == "left":
        first = nodes[0]
        for node in nodes[1:-1]:
            first = built.add(None, "", [first, node])
        return [first, nodes[-1]]
    last = nodes[-1]
    for node in reversed(nodes[1:-1]):
        last = built.add(None, "", [node, last])
    return [nodes[0], last]


def _shorten(built: Branches, node: int, unary: Unary) -> None:
    """Take the only child of a node into it."""
    if len(built.children[node]) != 1:
        return
    [child] = built.children[node]
    top, below = built.labels[node], built.labels[child]
    built.labels[node] = f"{top}{_JOINT}{below}" if unary == "join" else top or below
    built.words[node], built.children[node] = built.words[child], built.children[child]
    if child in built.spelled:
        built.spelled[node] = built.spelled.pop(child)


def _check_labels(tree: Tree, built: Branches, unary: Unary) -> None:
    """Refuse labels that could not be told from what is added."""
    for number, label in enumerate(tree.labels, start=1):
        if unary == "join" and _JOINT in label:
            told = f"Node {number} has the label {label!r}, with the {_JOINT!r} that joins labels"
            raise ValueError(f"{told}: rename it, or set unary to 'keep' or 'top'.")
    inner = [node for node, own in enumerate(built.children) if own]
    bare = [node for node in inner if not tree.labels[node] and tree.parents[node]]
    if bare and any(tree.labels[node] for node in inner) and any(len(own) > 2 for own in built.children):
        raise ValueError(
            f"Node {bare[0] + 1} has no label, and could not be told from the nodes that are added: give it one."
        )


def unbinarise(tree: Tree, unary: Unary = "join") -> Tree:
    """Undo `binarise`: nodes without a label go into their parents, and joined labels are nodes of their own again.

    It is exact where all nodes of the tree had labels, but for what `unary="top"` took away.

    Args:
        tree: What `binarise` returned.
        unary: What it was told.
    """
    check_known(unary, get_args(Unary), "unbinarise", kind="unary")
    _check_phrases(tree)
    built, roots = Branches.of(tree), tree.roots
    inner = [node for node, own in enumerate(built.children) if own]
    if inner and not any(tree.labels[node] for node in inner):
        raise ValueError("No node has a label: those that binarise added cannot be told from the others.")
    for node in bottom_up(tree.parents):
        own: list[int] = []
        for child in built.children[node]:
            is_added = not tree.labels[child] and tree.words[child] is None
            own += built.children[child] if is_added else [child]
        built.children[node] = own
    if unary == "join":
        for node in range(len(tree)):
            _lengthen(built, node)
    return built.tree(roots)


def _lengthen(built: Branches, node: int) -> None:
    """Make a node of each of the labels that were joined."""
    top, *below = built.labels[node].split(_JOINT)
    built.labels[node] = top
    for label in reversed(below):
        child = built.add(built.words[node], label, built.children[node])
        if node in built.spelled:
            built.spelled[child] = built.spelled.pop(node)
        built.words[node], built.children[node] = None, [child]


# Datasets and files


def tree_features(label_names: Sequence[str] | None = None, *, are_tokens: bool = False) -> Features:
    """Return the columns of a dataset of trees: each is a list, with an entry for each node.

    | column      | entry                                                                                       |
    |-------------|---------------------------------------------------------------------------------------------|
    | `words`     | the word of the node, or nothing; of tokens `input_ids`, the id of its token                |
    | `parents`   | the number of its parent, counted from 1; 0 for a root                                      |
    | `labels`    | its label: a text, empty where there is none; of tokens an id, -100 where there is none     |
    | `spans`     | `[start, end]`: from which word to before which one it reaches                              |

    Args:
        label_names: The classes of the labels, in the order of their ids: they are then `ClassLabel`s.
        are_tokens: Whether the rows are those of `TreeTokenizer(..., return_labels=True)`.
    """
    text, number = Value("string"), Value("int32")
    words = {"input_ids": List(number)} if are_tokens else {"words": List(text)}
    label = Value("int64") if are_tokens else text if label_names is None else ClassLabel(names=list(label_names))
    return Features({**words, "parents": List(number), "labels": List(label), "spans": List(List(number, length=2))})


def read_tree_file(path: str | Path) -> Dataset:
    """Read the trees of a file: the columns of `tree_features`, and `tree`, the tree as a text.

    Args:
        path: Brackets, any number of trees on one line or on many (.brackets, .mrg, .ptb, .tree, .trees, .txt), or
            CoNLL-U (.conllu); packed ones (.gz, .xz, .bz2) too.
    """
    path = Path(path)
    suffix = Path(path.stem).suffix if path.suffix.lower() in PACKED else path.suffix
    check_known(suffix.lower(), [*_BRACKETS, _CONLLU], str(path), kind="file type")
    with reading(path), open_packed(path, "rb") as file:
        text = file.read().decode("utf-8-sig")
    if suffix.lower() == _CONLLU:
        trees, write = conllu_trees(text.split("\n"), str(path)), write_conllu
    else:
        trees, write = read_all_brackets(text, str(path)), write_brackets
    rows = [{"tree": write(tree), **tree.row()} for tree in trees]
    if not rows:
        raise ValueError(f"{path} holds no tree. In brackets one is (3 (2 It) (4 works)).")
    return Dataset.from_list(rows, features=Features({"tree": Value("string"), **tree_features()}))


TREE_FORMATS: Final[Formats] = {**FORMATS, **dict.fromkeys((*_BRACKETS, _CONLLU), read_tree_file)}
"""What `load_splits` reads trees of: files of trees, and tables with a column of trees as texts."""
