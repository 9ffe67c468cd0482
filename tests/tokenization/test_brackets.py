"""Brackets and CoNLL-U: what is read, what is written back, and what is refused where."""

import random

import pytest

from hfseq.tokenization.brackets import (
    BracketError,
    escaped,
    read_all_brackets,
    read_brackets,
    unescaped,
    write_brackets,
)
from hfseq.tokenization.conllu import from_conllu, is_conllu, write_conllu
from hfseq.tokenization.tree import Tree, bottom_up

FILM = "(3 (2 It) (4 works))"
DEEP = 5_000
PTB = "( (S (NP-SBJ (-NONE- *T*-1)) (VP (VBD said) (PRN (-LRB- -LRB-) (NP (CD 1\\/2)) (-RRB- -RRB-))) (. .)))"
CONLLU = """# text = A tree falls
1\tA\ta\tDET\tDT\t_\t2\tdet\t_\t_
2-3\ttreefalls\t_\t_\t_\t_\t_\t_\t_\t_
2\ttree\ttree\tNOUN\tNN\t_\t3\tnsubj\t_\t_
3\tfalls\tfall\tVERB\tVBZ\t_\t0\troot\t_\t_
3.1\tdown\t_\t_\t_\t_\t_\t_\t_\t_
"""


def random_tree(rng, words):
    """Brackets of a random tree, written by a rule of its own."""
    if words == 1:
        return f"({rng.randrange(5)} w{rng.randrange(100)})"
    cut = rng.randrange(1, words)
    return f"({rng.randrange(5)} {random_tree(rng, cut)} {random_tree(rng, words - cut)})"


def chain(depth):
    return "(1 (2 a) " * depth + "(0 z)" + ")" * depth


# Reading


def test_a_tree_is_read_into_arrays_with_children_before_their_parents():
    tree = read_brackets(FILM)
    assert tree == Tree(("It", "works", None), (3, 3, 0), ("2", "4", "3"))
    assert tree.sentence == ["It", "works"] and tree.roots == [2] and tree.children() == [[], [], [0, 1]]
    assert tree.spans() == [(0, 1), (1, 2), (0, 2)]
    tree = read_brackets("(A (B (C x) (D y)) (E z))")
    assert tree.words == ("x", "y", None, "z", None) and tree.parents == (3, 3, 5, 5, 0)
    assert tree.spans() == [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)]


def test_words_are_read_as_people_write_them():
    tree = read_brackets(PTB)
    assert tree.sentence == ["*T*-1", "said", "(", "1/2", ")", "."]
    assert tree.labels[-1] == "" and tree.labels[-2] == "S" and "-LRB-" in tree.labels
    [leaf] = read_brackets("(2 -lsb-x\\*y-RCB-)").sentence
    assert leaf == "[x*y}"
    assert read_brackets("(2 Jean-Luc)").sentence == ["Jean-Luc"]
    assert read_brackets("(2 8\u00a01\\/2)").sentence == ["8\u00a01/2"]  # a blank that parts no tokens


@pytest.mark.parametrize(
    "text",
    [
        *(
            FILM,
            PTB,
            "(2 and/or)",
            "(2 and\\/or)",
            "(2 *)",
            "(2 \\*)",
            "(2 -lrb-)",
            "(2 \\o)",
            "(2 a\\\\b)",
            "(NP|<DT> x)",
        ),
        *("(1 (2 (3 x)))", "(2 [x])", "(2 \\-LRB-)", "( (S (X x)))", "(2 8\u00a01\\/2)"),
    ],
)
def test_a_text_comes_back_as_it_was(text):
    assert write_brackets(read_brackets(text)) == text


def test_blanks_and_line_ends_do_not_matter():
    pretty = "(NP\n\t(DT  the)\r\n  (NN dog ) )\n"
    assert write_brackets(read_brackets(pretty)) == "(NP (DT the) (NN dog))"
    assert [tree.sentence for tree in read_all_brackets(f"{pretty}{FILM} {FILM}\n\n(2 a)")] == [
        ["the", "dog"],
        ["It", "works"],
        ["It", "works"],
        ["a"],
    ]


def test_random_trees_come_back():
    rng = random.Random(0)
    for _ in range(300):
        text = random_tree(rng, rng.randrange(1, 20))
        tree = read_brackets(text)
        assert write_brackets(tree) == text
        ends = [tree.parents[child] > child for child in range(len(tree) - 1)]
        assert all(ends) and tree.parents[-1] == 0


def test_every_word_comes_back():
    rng = random.Random(0)
    parts = ["(", ")", "-", "L", "r", "B", "\\", "/", "*", "a", "{", "-LRB-", "LRB-", "]", "\u00a0"]
    for _ in range(20_000):
        word = "".join(rng.choices(parts, k=rng.randrange(1, 8)))
        spelled = escaped(word)
        assert unescaped(spelled) == word and not set("() ") & set(spelled), word
        assert read_brackets(write_brackets(Tree((word,), (0,), ("2",)))).words == (word,)


def test_a_deep_tree_needs_no_deep_stack():
    text = chain(DEEP)
    tree = read_brackets(text)
    assert len(tree) == 2 * DEEP + 1 and write_brackets(tree) == text
    assert tree.spans()[-1] == (0, DEEP + 1)
    unary = "(1 " * DEEP + "(0 z)" + ")" * DEEP
    assert write_brackets(read_brackets(unary)) == unary


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(3 (2 It) (4 works)", r"Line 1, column 20: expected '\)', found the end .* opened at line 1, column 1"),
        ("(3 (2 It (4 works))", r"column 10: expected '\)', found '\(' behind the word 'It'"),
        ("(3 It works)", r"column 7: expected '\)', found 'works' behind the word 'It'"),
        ("(3 (2 It) works)", r"column 11: expected '\(' or '\)', found 'works' behind a child"),
        ("(3 (2 It) (4))", r"column 13: expected a word or '\(' behind the label '4', found '\)'"),
        ("(3 (2 It) ())", r"column 12: expected a label, found '\)'"),
        ("(3 It))", r"column 7: expected '\(', found '\)' outside of a tree"),
        ("It (3 works)", r"column 1: expected '\(', found 'It' outside of a tree"),
        ("(NP\n  (DT the)\n  (NN dog)) barks", r"Line 3, column 13: expected '\(', found 'barks'"),
        ("", "0 trees, not one"),
        (f"{FILM} {FILM}", "2 trees, not one"),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(text, message):
    with pytest.raises(BracketError, match=message):
        read_brackets(text)


def test_an_error_names_the_file():
    with pytest.raises(BracketError, match=r"^dev\.txt, line 2, column 6: "):
        list(read_all_brackets(f"{FILM}\n(3 a b)\n", "dev.txt"))


# Trees that are no text


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (lambda: Tree(("a",), (0, 0)), "1 words, 2 parents and 1 labels"),
        (lambda: Tree(("a", "b"), (3, 0)), "Node 1 of 2 has the parent 3"),
        (lambda: Tree(("a", "b"), (-1, 0)), "Node 1 of 2 has the parent -1"),
        (lambda: Tree(("a", None), (0, 0)), "Node 2 has neither a word nor children"),
        (lambda: Tree(("a", "b", "c"), (0, 3, 2)), "go in a circle, from node 2"),
        (lambda: Tree(("a", "b"), (1, 0)), "go in a circle, from node 1"),
        (lambda: Tree.from_row({"words": ["a"]}), "needs words and parents; this one has words"),
    ],
)
def test_arrays_that_are_no_tree_are_refused(tree, message):
    with pytest.raises(ValueError, match=message):
        tree()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (Tree(("a", "b"), (2, 0), ("x", "y")), "Node 2 has the word 'b' and children.*hfseq.write_conllu"),
        (Tree(("a",), (0,)), "Node 1, the word 'a', has no label"),
        (Tree(("a b",), (0,), ("x",)), "has the word 'a b': brackets hold none that is empty or has blanks"),
        (Tree(("",), (0,), ("x",)), "has the word ''"),
        (Tree(("a",), (0,), ("x y",)), "has the label 'x y'"),
        (Tree(("a",), (0,), ("x(",)), r"has the label 'x\('"),
    ],
)
def test_a_tree_that_brackets_cannot_hold_is_refused(tree, message):
    with pytest.raises(ValueError, match=message):
        write_brackets(tree)


def test_a_forest_has_a_line_for_each_tree():
    forest = Tree(("a", "b"), (0, 0), ("1", "2"))
    assert write_brackets(forest) == "(1 a)\n(2 b)"
    assert forest.spans() == [(0, 1), (1, 2)]


def test_nodes_come_before_their_parents_in_any_order_of_numbers():
    assert bottom_up((2, 3, 0)) == [0, 1, 2]
    parents = (2, 4, 2, 0, 4)
    order = bottom_up(parents)
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert all(order.index(node) < order.index(parent - 1) for node, parent in enumerate(parents) if parent)


# CoNLL-U


def test_a_sentence_of_conllu_is_a_dependency_tree_in_the_order_of_its_words():
    tree = from_conllu(CONLLU)
    assert tree == Tree(("A", "tree", "falls"), (2, 3, 0), ("det", "nsubj", "root"))
    assert tree.spans() == [(0, 1), (0, 2), (0, 3)]
    assert is_conllu(CONLLU) and not is_conllu("A\ttree") and not is_conllu("A tree falls")
    assert from_conllu(write_conllu(tree)) == tree


def test_a_span_covers_the_words_below_a_node_also_across_gaps():
    tree = Tree(("a", "b", "c", "d"), (4, 4, 1, 0))  # c hangs on a, across b
    assert tree.spans() == [(0, 3), (1, 2), (2, 3), (0, 4)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tDET\tDT\t_\t2\tdet\t_", "\tDET", r"Line 2 has 5 columns, parted by tabs; CoNLL-U has 10"),
        ("_\t2\tdet", "_\t7\tdet", r"Line 2: word 1 'A' has the head '7', not the number of one of its 3 words"),
        ("_\t2\tdet", "_\t_\tdet", r"word 1 'A' has the head '_'"),
        ("_\t0\troot", "_\t2\troot", r"Line 2: .*go in a circle, from node 2"),
        ("2\ttree\t", "5\ttree\t", r"Line 2: the words are numbered 1, 5, 3"),
        ("1\tA\t", "\n1\tB\t_\t_\t_\t_\t0\t_\t_\t_\n\n1\tA\t", "2 sentences of CoNLL-U, not one"),
    ],
)
def test_what_is_no_tree_of_conllu_is_refused(old, new, message):
    assert old in CONLLU
    with pytest.raises(ValueError, match=message):
        from_conllu(CONLLU.replace(old, new))


def test_conllu_has_a_word_at_each_node():
    with pytest.raises(ValueError, match="Node 3 has no word.*write_brackets"):
        write_conllu(read_brackets(FILM))
