"""Pictures of trees: colours and words are where they belong, and depth is no danger."""

import re

import numpy as np
import pytest

from hfseq import plots
from hfseq.insight.plots.trees import colour_of
from tests.closeness import assert_same

TREE = "(1 (2 It) (1 (2 is) (1 (2 not) (4 (2 very) (3 good)))))"
LINES = """1  It is not very good
├─ 2  It
└─ 1  is not very good
   ├─ 2  is
   └─ 1  not very good
      ├─ 2  not
      └─ 4  very good
         ├─ 2  very
         └─ 3  good"""


def node(word, text, label, score, parent):
    return {"word": word, "text": text, "label": label, "score": score, "parent": parent}


FOUND = {
    "classes": ["bad", "fair", "good"],
    "tree": [
        node("not", "not", "fair", 0.5, 2),
        node("good", "good", "good", 0.75, 2),
        node(None, "not good", "bad", 1.0, None),
    ],
}


def deep(levels):
    """A tree that branches to the right, so many levels deep."""
    return "(2 (2 a) " * levels + "(3 b)" + ")" * levels


def circles(figure):
    _, drawn = figure.axes[0].collections  # behind them the edges
    return drawn


def test_a_tree_has_a_line_a_node():
    assert plots.tree_text(TREE) == LINES
    assert plots.tree_text(FOUND) == "bad 1.00  not good\n├─ fair 0.50  not\n└─ good 0.75  good"


def test_a_dependency_tree_tells_the_word_of_each_node():
    found = {"classes": ["a"], "tree": [node("the", "the", "a", 1.0, 1), node("film", "the film", "a", 1.0, None)]}
    assert plots.tree_text(found) == "a 1.00  film\n└─ a 1.00  the"


def test_lines_stay_within_their_width_however_deep_a_tree_is():
    for levels in (200, 5000):
        lines = plots.tree_text(deep(levels), width=80).splitlines()
        assert len(lines) == 2 * levels + 1 and max(map(len, lines)) <= 80
        assert f"({levels}) 3  b" in lines[-1]
    assert plots.tree_text(TREE, width=20).splitlines()[0] == "1  It is not very g…"
    with pytest.raises(ValueError, match="width=5 is too narrow"):
        plots.tree_text(TREE, width=5)


def test_colours_go_from_red_over_grey_to_blue_and_pale_with_the_score():
    red, grey, blue = (np.array(colour_of(index, 3)) for index in range(3))
    assert red[0] > red[2] and blue[2] > blue[0] and grey.min() == grey.max()
    assert_same(np.array(colour_of(2, 5)), grey)
    drawn = circles(plots.tree(FOUND)).get_facecolors()[:, :3]
    assert_same(drawn[0], 1 - 0.5 * (1 - grey))
    assert_same(drawn[1], 1 - 0.75 * (1 - blue))
    assert_same(drawn[2], red)


def test_words_stand_from_left_to_right_and_nodes_above_their_children():
    figure = plots.tree(TREE)
    across, down = circles(figure).get_offsets().T
    assert across.tolist() == [0, 1, 2, 3, 4, 3.5, 2.75, 1.875, 0.9375]
    assert down.tolist() == [-1, -2, -3, -4, -4, -3, -2, -1, 0]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in written if not text.isdigit()] == ["It", "is", "not", "very", "good"]
    assert [int(text) for text in written if text.isdigit()] == [2, 2, 2, 2, 3, 4, 1, 1, 1]
    assert len(figure.axes[0].collections[0].get_segments()) == 8


def test_an_svg_keeps_words_as_text_and_is_the_same_each_time(tmp_path):
    odd = "(2 (2 $x$) (3 <b>&文))"
    plots.tree(odd, path=tmp_path / "one.svg", title="a tree")
    plots.tree(odd, path=tmp_path / "two.svg", title="a tree")
    svg = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert "$x$" in svg and "&lt;b&gt;&amp;文" in svg and "a tree" in svg
    ids = re.compile(r"\w*[0-9a-f]{10}")  # matplotlib's own
    assert ids.sub("", svg) == ids.sub("", (tmp_path / "two.svg").read_text(encoding="utf-8"))
    plots.tree(FOUND, path=tmp_path / "tree.png")
    assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")


def test_a_deep_tree_fits_on_a_page(tmp_path):
    figure = plots.tree(deep(200), path=tmp_path / "deep.png")
    assert max(figure.get_size_inches()) < 45
    assert len(circles(figure).get_offsets()) == 401
    wide = plots.tree(deep(3000))
    assert max(wide.get_size_inches()) < 45 and not wide.axes[0].texts


def test_what_is_no_tree_is_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(TypeError, match="A tree is what pipeline\\('tree-sentiment'\\) answers to one text"):
        plots.tree([FOUND])
    with pytest.raises(ValueError, match="The tree has no node: the text is empty"):
        plots.tree_text({"tree": [], "classes": ["a"]})
    with pytest.raises(ValueError, match="must end in one of .png, .svg, .pdf"):
        plots.tree(TREE, path=tmp_path / "tree.jpg")
    with pytest.raises(ValueError, match="Line 1, column"):
        plots.tree("(3 (2 It)")
