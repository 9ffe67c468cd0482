"""Drawings: what is read, what is refused, and the batches made of them."""

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value

from hfseq.data.embedded.pen import KINDS, load_pen_drawings
from hfseq.data.strokes import DrawingSettings, StrokesCollator, load_strokes, make_rows, offset_scale

GOOD = [[0.0, 0.0, 0], [3.0, -1.0, 1], [2.0, 2.0, 0], [0.0, 4.0, 1]]


def load(tmp_path, rows, **options):
    Dataset.from_dict(rows).to_parquet(tmp_path / "train.parquet")
    return load_strokes(DrawingSettings(path=str(tmp_path), **options))


def test_three_columns_and_one_column_say_the_same(tmp_path):
    dx, dy, pen = (list(column) for column in zip(*GOOD, strict=True))
    (tmp_path / "one").mkdir()
    (tmp_path / "three").mkdir()
    one = load(tmp_path / "one", {"drawing": [GOOD] * 10})
    three = load(tmp_path / "three", {"dx": [dx] * 10, "dy": [dy] * 10, "pen_up": [pen] * 10})
    assert one.dataset["train"][:] == three.dataset["train"][:] and one.class_names is None
    assert one.dataset["train"].num_rows == 9 and one.dataset["validation"].num_rows == 1
    found = one.drawings("train")[0]
    assert found.tolist() == [*GOOD[:-1], [0.0, 4.0, 2.0]]  # the last point ends the drawing
    assert one.points("train") == 36
    assert offset_scale([found]) == pytest.approx(np.sqrt((9 + 1 + 4 + 4 + 16) / 6))


def test_classes_are_numbered_by_name(tmp_path):
    task = load(tmp_path, {"drawing": [GOOD] * 8, "alphabet": ["B", "A"] * 4}, class_column="alphabet")
    assert task.class_names == ["A", "B"]
    assert (
        sorted(task.dataset["train"]["class_ids"][:] + task.dataset["validation"]["class_ids"][:]) == [0] * 4 + [1] * 4
    )


def test_multiples_of_a_grid_are_spread_in_the_units_of_the_data(tmp_path):
    rows = [[[6 * x, 6 * y, pen] for x, y, pen in GOOD]] * 50
    task = load(tmp_path, {"drawing": rows}, grid=6)
    found = (np.array(task.drawings("train")) - np.array(rows[0]))[..., :2] / 6
    assert not found[:, 0].any()  # where a drawing begins
    found = found[:, 1:]
    assert np.abs(found).max() <= 0.5 and abs(found.mean()) < 0.05 and found.std() == pytest.approx(12**-0.5, rel=0.1)
    again = load(tmp_path, {"drawing": rows}, grid=6)
    assert np.array_equal(np.array(again.drawings("train")), np.array(task.drawings("train")))
    with pytest.raises(ValueError, match=r"row 0, point 1: \[3.0, -1.0\] are no multiples of data.grid=6"):
        load(tmp_path, {"drawing": [GOOD] * 10}, grid=6)


def test_long_drawings_are_left_out_of_training_alone(tmp_path):
    Dataset.from_dict({"drawing": [GOOD] * 3 + [GOOD[:2]]}).to_parquet(tmp_path / "train.parquet")
    Dataset.from_dict({"drawing": [GOOD] * 2}).to_parquet(tmp_path / "validation.parquet")
    task = load_strokes(DrawingSettings(path=str(tmp_path), max_points=2))
    assert {split: rows.num_rows for split, rows in task.dataset.items()} == {"train": 1, "validation": 2}
    with pytest.raises(ValueError, match="no drawing has 1 points or fewer"):
        load_strokes(DrawingSettings(path=str(tmp_path), max_points=1))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "has no points"),
        ([[0, 0, 0], [1, float("nan"), 0]], r"point 1: \[1.0, nan, 0.0\] is not finite"),
        ([[0, 0, 0], [float("inf"), 1, 0]], "is not finite"),
        ([[0, 0], [1, 1]], "three numbers each .dx, dy, pen., and they have 2 numbers each"),
        ([[0, 0, 1], [1, 1]], "is no row of points"),
        ([[0, 0, 3], [1, 1, 1]], "point 0: the pen is 3, and must be 0"),
        ([[0, 0, 2], [1, 1, 1]], "point 0: the pen is 2"),
        ([[0, 0, 0.5], [1, 1, 1]], "the pen is 0.5"),
        ([[0, 0, 0], [1e39, 1, 1]], r"point 1: \[1e\+39, 1.0, 1.0\] is not finite in 32 bits"),
        ([["0", "0", "0"], ["1", "1", "1"]], "must be numbers .dx, dy, pen., and they are"),
    ],
)
def test_wrong_drawings_are_named(tmp_path, points, message):
    with pytest.raises(ValueError, match=message):
        good = [[list(map(type(points[0][0]), point)) for point in GOOD]] if points and points[0][0] == "0" else [GOOD]
        load(tmp_path, {"drawing": good * 9 + [points]}, splits={"train": "train", "validation": "train"})
    with pytest.raises(ValueError, match="Drawing 1.*"):
        StrokesCollator()([GOOD, points])


def test_wrong_columns_and_settings_are_named(tmp_path):
    with pytest.raises(ValueError, match="data.point_columns"):
        load(tmp_path, {"dx": [[1.0]] * 10, "dy": [[1.0]] * 10})
    with pytest.raises(ValueError, match="different numbers of points .dx 1, dy 2, pen_up 1."):
        load(tmp_path, {"dx": [[1.0]] * 10, "dy": [[1.0, 2.0]] * 10, "pen_up": [[1.0]] * 10})
    with pytest.raises(ValueError, match="data.drawing_column"):
        load(tmp_path, {"drawing": [GOOD] * 4}, drawing_column="drawn")
    with pytest.raises(ValueError, match="data.class_column"):
        load(tmp_path, {"drawing": [GOOD] * 4}, class_column="kind")
    with pytest.raises(ValueError, match="the class 'b' of 'kind' is not among those of train"):
        Dataset.from_dict({"drawing": [GOOD], "kind": ["b"]}).to_parquet(tmp_path / "validation.parquet")
        load(tmp_path, {"drawing": [GOOD] * 4, "kind": ["a"] * 4}, class_column="kind")
    for options, message in (
        ({"max_rows": 0}, "max_rows=0"),
        ({"grid": 0}, "grid=0"),
        ({"text_column": "text"}, "drawings have no texts"),
        ({"point_columns": ["dx", "dy"]}, "must name three columns"),
    ):
        with pytest.raises(ValueError, match=message):
            DrawingSettings(name="embedded", **options)
    for still in (np.zeros((3, 3)), np.ones((1, 3))):
        with pytest.raises(ValueError, match="No pen moves"):
            offset_scale([still])
    with pytest.raises(ValueError, match="Split 'train': every drawing has one point, where it begins"):
        load(tmp_path, {"drawing": [GOOD[:1]] * 8})
    with pytest.raises(ValueError, match="There is no drawing to make a batch of"):
        StrokesCollator()([])


@pytest.mark.parametrize("feature", [Value("string"), ClassLabel(names=["a", "b"])])
def test_a_row_without_a_class_is_refused(tmp_path, feature):
    missing = None if isinstance(feature, Value) else -1
    features = Features({"drawing": List(List(Value("float32"))), "kind": feature})
    for wrong in {missing, None}:
        rows = Dataset.from_dict({"drawing": [GOOD] * 9, "kind": ["a", "b", wrong] * 3}, features)
        rows.to_parquet(tmp_path / "train.parquet")
        with pytest.raises(ValueError, match=f"Split 'train', row [0-9]+: 'kind' is {wrong}, no class"):
            load_strokes(DrawingSettings(path=str(tmp_path), class_column="kind"))


@pytest.mark.parametrize("side", ["right", "left"])
def test_batches_are_padded_on_either_side(side):
    batch = StrokesCollator(side)([GOOD, GOOD[:2]])
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "input_values": (2, 4, 3),
        "attention_mask": (2, 4),
        "labels": (2, 4),
    }
    own = slice(2) if side == "right" else slice(2, None)
    assert batch["attention_mask"].sum(1).tolist() == [4, 2] and batch["attention_mask"][1, own].all()
    assert batch["input_values"][1, own].tolist() == [[0, 0, 0], [3, -1, 2]]
    assert batch["labels"][1, own].tolist() == [-100, 2] and int((batch["labels"] != -100).sum()) == 4
    with pytest.raises(ValueError, match="padding_side='middle'"):
        StrokesCollator("middle")


def test_rows_and_plain_drawings_make_the_same_batch():
    task = load_strokes(DrawingSettings(name="embedded", class_column="kind", max_rows=5))
    rows = make_rows(task.dataset)["train"]
    batch = StrokesCollator()(list(rows))
    plain = StrokesCollator()(task.drawings("train"))
    assert all(torch.equal(batch[name], plain[name]) for name in plain)
    assert batch["class_ids"].shape == (5,) and rows["length"][:] == batch["attention_mask"].sum(1).tolist()


def test_the_embedded_pen_draws_all_kinds_from_a_seed():
    one, two, other = load_pen_drawings(0), load_pen_drawings(0), load_pen_drawings(1)
    assert one["train"][:5] == two["train"][:5] != other["train"][:5]
    kinds = one["train"].features["kind"].names
    counts = np.bincount(one["test"]["kind"][:])
    assert kinds == sorted(KINDS) and (counts.min(), counts.max()) == (22, 23)
    texts = [{str(points) for points in one[split]["drawing"][:]} for split in one]
    assert not texts[0] & texts[2]
    circle = np.array(one["train"][one["train"]["kind"][:].index(kinds.index("circle"))]["drawing"])
    assert np.hypot(*circle[:, :2].sum(0)) < 0.5 * np.hypot(*circle[:9, :2].sum(0))  # it comes back
    tee = np.array(one["train"][one["train"]["kind"][:].index(kinds.index("T"))]["drawing"])
    assert tee[:, 2].sum() == 2 and tee[-1, 2] == 1  # two strokes
