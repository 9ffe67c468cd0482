"""What makes one tree of a row: shapes by their brackets, forests, any order, and rows that are no trees."""

import numpy as np
import pytest
import torch

from hfseq import RecursiveConfig, RecursiveModel
from hfseq.models.recurrent.tree_shapes import read_trees
from tests.rounds import for_each


def trees_of(parents, shape="given", mask=None, is_word=None):
    """The trees of rows of parents."""
    parents = np.array(parents)
    mask = np.ones(parents.shape, dtype=bool) if mask is None else np.array(mask, dtype=bool)
    return read_trees(mask, parents, shape, mask if is_word is None else np.array(is_word, dtype=bool))


def brackets(trees, row, letters):
    """One text's tree, with a letter for each node that was given: children in their order."""
    mine = [place for place in range(len(trees.rows)) if trees.rows[place] == row]
    name = {place: letters[trees.columns[place]] if trees.columns[place] < len(letters) else "" for place in mine}

    def write(place):
        below = sorted((child for child in mine if trees.parent[child] == place), key=lambda child: trees.first[child])
        return (
            f"({name[place]}{' ' if name[place] and below else ''}{' '.join(map(write, below))})"
            if below
            else name[place]
        )

    (root,) = [place for place in mine if trees.parent[place] < 0]
    return write(root)


@for_each(
    ("shape", "expected"),
    [
        ("given", "(a (b (c (d e))))"),
        ("right", "(a (b (c (d e))))"),
        ("left", "((((a b) c) d) e)"),
        ("balanced", "(((a b) c) (d e))"),
    ],
)
def test_words_are_joined_in_the_shape_that_was_asked_for(shape, expected):
    trees = trees_of([[0] * 5], shape)
    assert brackets(trees, 0, "abcde") == expected
    assert trees.mask.shape == (1, 9) and trees.mask.all()


@for_each("shape", ["right", "left", "balanced"])
def test_shapes_of_all_lengths_have_each_word_once_and_in_its_order(shape):
    lengths = [0, 1, 2, 3, 7, 8, 20]
    mask = np.arange(20) < np.array(lengths)[:, None]
    trees = trees_of(np.zeros((7, 20), dtype=int), shape, mask)
    letters = "abcdefghijklmnopqrst"
    for row, length in enumerate(lengths):
        if length:
            written = brackets(trees, row, letters)
            assert "".join(filter(str.isalpha, written)) == letters[:length]
            assert written.count("(") == length - 1 == trees.mask[row, 20:].sum()
    heights = {"right": 19, "left": 19, "balanced": 5}
    depth = max(_depth(trees, place) for place in range(len(trees.parent)))
    assert depth == heights[shape]
    assert list(trees.rows[trees.roots]) == [1, 2, 3, 4, 5, 6]


def _depth(trees, place):
    depth = 0
    while trees.parent[place] >= 0:
        place, depth = trees.parent[place], depth + 1
    return depth


def test_a_forest_keeps_its_trees_and_is_joined_to_the_right():
    #        a b <- c          d  e <- f
    trees = trees_of([[3, 3, 0, 0, 6, 0]])
    assert brackets(trees, 0, "abcdef") == "((c a b) (d (f e)))"
    assert trees.parents.tolist() == [[3, 3, 8, 7, 6, 7, 8, 0]]


def test_nodes_stand_in_any_order():
    post = brackets(trees_of([[3, 3, 5, 5, 0]]), 0, "abXcY")
    pre = brackets(trees_of([[0, 1, 2, 2, 1]]), 0, "YXabc")
    assert post == pre == "(Y (X a b) c)"


def test_parents_are_counted_in_the_text_whatever_the_padding():
    parents, mask = [3, 3, 5, 5, 0], [1] * 5
    for before, between in ((0, 0), (3, 0), (2, 1)):
        holes = [0] * before + mask[:2] + [0] * between + mask[2:] + [0]
        padded = [0] * before + parents[:2] + [0] * between + parents[2:] + [0]
        trees = trees_of([padded], mask=[holes])
        letters = "-" * before + "ab" + "-" * between + "XcY-"
        assert brackets(trees, 0, letters) == "(Y (X a b) c)"
        assert trees.parents.tolist() == [padded]


def test_another_shape_takes_the_words_alone():
    trees = trees_of([[3, 3, 5, 5, 0]], "left", is_word=[[1, 1, 0, 1, 0]])
    assert brackets(trees, 0, "abXcY") == "((a b) c)"
    assert trees.mask.tolist() == [[True, True, False, True, False, True, True]]
    assert trees.parents.tolist() == [[4, 4, 0, 5, 0, 5, 0]]  # among the nodes of the mask


def model(composition="tree_lstm", **options):
    """A small model; its errors are those of users."""
    sizes = {"vocab_size": 20, "embedding_size": 4, "hidden_size": 4, "node_token_id": 1}
    return RecursiveModel(RecursiveConfig(composition=composition, **sizes, **options))


@for_each(
    ("parents", "message"),
    [
        ([0, 0, 7, 0], r"parents\[0, 2\]=7 is no node of its text, which has 4"),
        ([0, -1, 0, 0], r"parents\[0, 1\]=-1 is no node of its text"),
        ([2, 1, 0, 0], "node 1 of text 0 is its own ancestor: its parent, 2, leads back to it"),
        ([0, 2, 1, 1], "node 2 of text 0 is its own ancestor: its parent, 2, leads back"),
        ([2, 3, 4, 2], "node [234] of text 0 is its own ancestor"),
        ([4, 4, 4, 0], "node 4 of text 0 has 3 children, and composition='tree_lstm' reads two at most: binarise the"),
    ],
)
def test_what_is_no_tree_is_refused_by_the_node(parents, message):
    with pytest.raises(ValueError, match=message):
        model()(torch.tensor([[5, 6, 7, 8]]), parents=torch.tensor([parents]))


def test_a_node_is_named_by_its_number_in_the_text():
    ids, mask = torch.tensor([[5, 6, 7, 0, 0], [0, 0, 5, 6, 7]]), torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
    with pytest.raises(ValueError, match="node 2 of text 1 is its own ancestor"):
        model()(ids, mask, torch.tensor([[3, 3, 0, 0, 0], [0, 0, 0, 3, 2]]))
    with pytest.raises(ValueError, match=r"parents\[1, 3\]=4 is no node of its text, which has 3"):
        model()(ids, mask, torch.tensor([[3, 3, 0, 0, 0], [0, 0, 0, 4, 2]]))


def test_a_sum_takes_more_than_two_children():
    outputs = model("child_sum")(torch.tensor([[5, 6, 7, 8]]), parents=torch.tensor([[4, 4, 4, 0]]))
    assert outputs.parents.tolist() == [[4, 4, 4, 0]]


def test_parents_that_fit_no_texts_are_refused():
    ids = torch.tensor([[5, 6, 7]])
    with pytest.raises(ValueError, match=r"parents must be integers of shape \(1, 3\), one a node, got .* \(1, 2\)"):
        model()(ids, parents=torch.tensor([[2, 0]]))
    with pytest.raises(ValueError, match="parents must be integers .* got torch.float32"):
        model()(ids, parents=torch.tensor([[2.0, 3.0, 0.0]]))
    with pytest.raises(ValueError, match="tree='up' is no shape: it may be given, right, left, balanced"):
        model()(ids, tree="up")
