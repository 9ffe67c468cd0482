"""Pictures of drawings: files of each kind, what is in them, and what is refused."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image

from hfseq import plots

TWO_STROKES = np.array([[0, 0, 0], [10, 0, 1], [-5, 0, 0], [0, 10, 2]], dtype=float)
NAMESPACE = "{http://www.w3.org/2000/svg}"


def lines_of(svg):
    found = []
    for line in ET.fromstring(svg).iter(f"{NAMESPACE}polyline"):
        found.append(np.array([[float(x) for x in point.split(",")] for point in line.get("points").split()]))
    return found


def test_an_svg_holds_the_strokes_in_their_shape():
    first, second = lines_of(plots.strokes_svg([TWO_STROKES]))
    scale = (first[1] - first[0])[0] / 10
    assert scale > 1 and (first[1] - first[0])[1] == 0
    assert (second[0] - first[0]).tolist() == pytest.approx([5 * scale, 0], abs=0.2)  # the pen was lifted on the way
    assert (second[1] - second[0]).tolist() == pytest.approx([0, 10 * scale], abs=0.2)  # downward


def test_titles_cannot_write_into_the_page():
    svg = plots.strokes_svg([TWO_STROKES], titles=['</text><script>alert("x")</script>'])
    assert "<script>" not in svg
    assert next(ET.fromstring(svg).iter(f"{NAMESPACE}text")).text == '</text><script>alert("x")</script>'


def test_drawings_stand_side_by_side():
    svg = plots.strokes_svg([torch.tensor(TWO_STROKES)] * 5, columns=2, titles=list("abcde"))
    root = ET.fromstring(svg)
    assert (root.get("width"), root.get("height")) == ("240", str(3 * 136))
    lines = lines_of(svg)
    assert len(lines) == 10
    assert (lines[2] - lines[0])[0].tolist() == [120, 0] and (lines[4] - lines[0])[0].tolist() == [0, 136]
    assert len(lines_of(plots.strokes_svg(TWO_STROKES))) == 2  # one drawing alone


def test_tensors_that_numpy_cannot_read_are_fetched():
    drawing = torch.tensor(TWO_STROKES).requires_grad_()  # as one on a GPU, numpy refuses it
    assert plots.strokes_svg([drawing]) == plots.strokes_svg([TWO_STROKES])


def test_each_kind_of_file_is_written(tmp_path):
    drawings = [TWO_STROKES, TWO_STROKES[:1]]
    assert plots.strokes(drawings, path=tmp_path / "drawn.svg") is None
    assert (tmp_path / "drawn.svg").read_text(encoding="utf-8") == plots.strokes_svg(drawings)
    figure = plots.strokes(drawings, path=tmp_path / "drawn.png", titles=["a", "b"])
    assert len(figure.axes[0].lines) == 3
    with Image.open(tmp_path / "drawn.png") as image:
        assert np.asarray(image.convert("L")).min() < 100
    assert plots.strokes(drawings).axes


def test_a_gif_draws_point_by_point(tmp_path):
    plots.strokes([TWO_STROKES], path=tmp_path / "drawn.gif", titles=["Ω"])
    with Image.open(tmp_path / "drawn.gif") as image:
        ink = []
        for frame in range(image.n_frames):
            image.seek(frame)
            ink.append(int((np.asarray(image.convert("L")) < 90).sum()))
    assert len(ink) == 4 and ink == sorted(ink) and ink[0] < ink[1] < ink[3]
    many = np.concatenate((np.random.default_rng(0).normal(size=(1000, 2)), np.zeros((1000, 1))), axis=1)
    plots.strokes([many], path=tmp_path / "long.gif")
    with Image.open(tmp_path / "long.gif") as image:
        assert 100 < image.n_frames <= 120


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drawings": []}, "no drawing to draw"),
        ({"drawings": [[[1, 2]]]}, "Drawing 0 must be finite numbers"),
        ({"drawings": [TWO_STROKES * np.nan]}, "Drawing 0 must be finite numbers"),
        ({"titles": ["a", "b"]}, "2 titles for 1 drawings"),
        ({"columns": 0}, "columns=0"),
        ({"path": "drawn.bmp"}, "must end in one of .svg, .png, .pdf, .gif"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plots.strokes(**{"drawings": [TWO_STROKES], **options})
