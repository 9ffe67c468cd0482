"""The feature extractor of series: its scale, its padding, gaps, and what it refuses."""

import logging

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor

from hfseq import SeriesCollator, SeriesFeatureExtractor
from tests.closeness import assert_same

NAN = float("nan")
RANDOM = np.random.default_rng(0)
TRAIN = [RANDOM.normal(5, 3, (40, 2)), RANDOM.normal(7, 2, (25, 2))]


def test_it_scales_by_the_training_split_and_back():
    extractor = SeriesFeatureExtractor.fit(TRAIN, column_names=["load", "heat"])
    rows = np.concatenate(TRAIN)
    found = extractor(TRAIN[0], return_tensors="np")["input_values"][0]
    assert_same(found, ((TRAIN[0] - rows.mean(0)) / rows.std(0)).astype(np.float32), 1e-6)
    assert_same(extractor.restore(found), TRAIN[0], 1e-6)
    assert_same(extractor.restore(extractor.scale_targets(TRAIN[1])), TRAIN[1], 1e-6)


def test_targets_have_a_scale_of_their_own():
    targets = [each[:, :1] * 100 for each in TRAIN]
    extractor = SeriesFeatureExtractor.fit(TRAIN, targets, target_names=["price"])
    scaled = np.concatenate([extractor.scale_targets(each) for each in targets])
    assert_same(scaled.mean(0), np.zeros(1), 1e-6, scale=1)
    assert_same(scaled.std(0), np.ones(1), 1e-6)
    assert np.isnan(extractor.scale_targets(np.array([[NAN]]))).all()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("width", [1, 2])
def test_padding_is_marked(side, width):
    extractor = SeriesFeatureExtractor(width, padding_side=side, padding_value=9.0)
    short, long = np.ones((2, width)), np.zeros((5, width))
    batch = extractor([short, long], return_tensors="pt")
    own = slice(2) if side == "right" else slice(3, None)
    assert batch["input_values"].shape == (2, 5, width) and batch["input_values"].dtype == torch.float32
    assert batch["attention_mask"].tolist()[0] == ([1, 1, 0, 0, 0] if side == "right" else [0, 0, 0, 1, 1])
    assert (batch["input_values"][0, own] == 1).all() and batch["input_values"][0].sum() == 2 * width + 27 * width
    longer = extractor([short], padding="max_length", max_length=4, return_tensors="pt")
    assert longer["input_values"].shape == (1, 4, width)


def test_truncation_keeps_the_newest_steps():
    extractor = SeriesFeatureExtractor(1, max_length=3)
    assert extractor(list(range(5)), truncation=True)["input_values"][0].ravel().tolist() == [2, 3, 4]
    with pytest.raises(ValueError, match="truncation=True needs max_length"):
        SeriesFeatureExtractor(1)([1.0], truncation=True)


def test_missing_numbers_become_the_mean_and_a_mark():
    rows = [np.array([[1.0, 10.0], [NAN, 20.0], [3.0, NAN]])]
    extractor = SeriesFeatureExtractor.fit(rows, missing="mask")
    assert extractor.mean == [2.0, 15.0] and extractor.feature_size == 4 and extractor.num_columns == 2
    found = extractor(rows, return_tensors="np")["input_values"][0]
    assert found.tolist() == [[-1, -1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0]]


@pytest.mark.parametrize(
    ("series", "shape"),
    [
        ([1.0, 2.0, 3.0], (1, 3, 1)),
        (np.ones(4), (1, 4, 1)),
        ([[1.0, 2.0, 3.0], [4.0, 5.0]], (2, 3, 1)),
        ([[1.0], [2.0]], (1, 2, 1)),
        ([np.ones((2, 1)), torch.ones(3, 1)], (2, 3, 1)),
        (np.ones((2, 3, 1)), (2, 3, 1)),
    ],
)
def test_one_or_several_of_one_column(series, shape):
    assert SeriesFeatureExtractor(1)(series, return_tensors="pt")["input_values"].shape == shape


@pytest.mark.parametrize(
    ("series", "shape"),
    [
        ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], (1, 3, 2)),
        ([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]], (2, 2, 2)),
        ({"b": [1, 2, 3], "a": [4, 5, 6]}, (1, 3, 2)),
        ([{"b": [1], "a": [4]}, {"a": [1, 2], "b": [3, 4]}], (2, 2, 2)),
    ],
)
def test_one_or_several_of_two_columns(series, shape):
    batch = SeriesFeatureExtractor(2, columns=["a", "b"])(series, return_tensors="pt")
    assert batch["input_values"].shape == shape
    if isinstance(series, dict):
        assert batch["input_values"][0, 0].tolist() == [4, 1]


def test_it_is_saved_and_found_by_its_class(tmp_path):
    extractor = SeriesFeatureExtractor.fit(TRAIN, [each[:, :1] for each in TRAIN], missing="mask", max_length=30)
    extractor.save_pretrained(tmp_path)
    loaded = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(loaded) is SeriesFeatureExtractor and loaded.to_dict() == extractor.to_dict()
    assert np.array_equal(loaded(TRAIN[0])["input_values"], extractor(TRAIN[0])["input_values"])


BAD = [
    ([[1.0, NAN]], r"Series 0 has nan in column 'heat', step 0: mend the data, or make the extractor with missing"),
    ([[1.0, 2.0], [float("inf"), 1.0]], "Series 0 has inf in column 'load', step 1: mend the data"),
    ([], "There is no series"),
    (np.zeros((0, 2)), "Series 0 has no step"),
    ([[1.0, 2.0, 3.0]], r"Series 0 has the shape \(1, 3\), and this model reads steps of 2 numbers: load, heat"),
    ({"load": [1.0]}, r"Series 0 lacks the columns \['heat'\]; it has \['load'\]"),
    ([["a", "b"]], "Series 0 is not made of numbers"),
    ([[[1.0, 2.0], [3.0]]], "Series 0 is not made of numbers, or its steps differ in length"),
]


@pytest.mark.parametrize(("series", "message"), BAD)
def test_wrong_series_are_named(series, message):
    with pytest.raises(ValueError, match=message):
        SeriesFeatureExtractor.fit(TRAIN, column_names=["load", "heat"])(series)


def test_wrong_statistics_are_named():
    for options, message in (
        ({"mean": [1.0]}, r"mean=\[1.0\] must be 2 finite numbers"),
        ({"std": [1.0, 0.0]}, r"std=\[1.0, 0.0\] must be 2 finite numbers above 0"),
        ({"columns": ["a"]}, r"columns=\['a'\] must be 2 names"),
        ({"missing": "zero"}, "missing='zero' is not one of"),
    ):
        with pytest.raises(ValueError, match=message):
            SeriesFeatureExtractor(2, **options)
    with pytest.raises(ValueError, match="feature_size=3 with missing='mask' must be even"):
        SeriesFeatureExtractor(3, missing="mask")
    for series, message in (
        ([], "no series to learn the statistics of"),
        ([[[1.0, NAN]]], "column 'heat' holds nan"),
        ([[[1.0, 2.0], [float("inf"), 1.0]]], "column 'load' holds inf"),
    ):
        with pytest.raises(ValueError, match=message):
            SeriesFeatureExtractor.fit(series, column_names=["load", "heat"])
    with pytest.raises(ValueError, match="column 'heat' has no number at all"):
        SeriesFeatureExtractor.fit([[[1.0, NAN]]], column_names=["load", "heat"], missing="mask")


def test_a_column_that_never_changes_is_told(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("hfseq"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        extractor = SeriesFeatureExtractor.fit([np.full((5, 1), 0.1)], column_names=["still"])
    assert "column 'still' is always 0.1" in caplog.text and extractor.std == [1.0]


def test_labels_are_padded_on_the_side_of_the_series():
    rows = [
        {"input_values": np.ones((2, 1)), "labels": [[[1.0]], [[NAN]]]},
        {"input_values": np.ones((3, 1)), "labels": np.ones((3, 1, 1))},
    ]
    for side, expected in (("right", [1, -100, -100]), ("left", [-100, 1, -100])):
        batch = SeriesCollator(SeriesFeatureExtractor(1, padding_side=side), each_step=True)(rows)
        assert batch["labels"][0].flatten().tolist() == expected and batch["labels"].dtype == torch.float32
    classes = [{"input_values": np.ones((2, 1)), "labels": 1}, {"input_values": np.ones((3, 1)), "labels": 0}]
    assert SeriesCollator(SeriesFeatureExtractor(1))(classes)["labels"].tolist() == [1, 0]
    with pytest.raises(ValueError, match="do not fit a series of 2 steps"):
        SeriesCollator(SeriesFeatureExtractor(1), each_step=True)([{"input_values": np.ones((2, 1)), "labels": [1]}])
    with pytest.raises(ValueError, match="exactly -100, which marks what is missing"):
        SeriesCollator(SeriesFeatureExtractor(1), each_step=True)(
            [{"input_values": np.ones((1, 1)), "labels": [-100.0]}]
        )
