"""The pipeline of forecasts: every form of a series gives the same answer, in the units of the data."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import pipeline

import hfseq
from hfseq.cli import main
from tests.closeness import assert_same

RNG = np.random.default_rng(0)
SERIES = 50 + 10 * RNG.standard_normal(12)
HORIZON = 3


def saved(folder, *, columns=("y",), known=(), targets=1, family="LSTM", **options):
    """A model with random weights, and what makes its input."""
    torch.manual_seed(0)
    ahead = [f"{name}+{step}" for step in range(1, HORIZON + 1) for name in known]
    width = len(columns) + len(ahead)
    config = getattr(hfseq, f"{family}Config")(
        feature_size=width, prediction_length=HORIZON, num_targets=targets, hidden_size=8, embedding_size=4, **options
    )
    model = getattr(hfseq, f"{family}ForSeriesPrediction")(config)
    scale = {"mean": [50.0] * width, "std": [10.0] * width}
    own = {"target_mean": [50.0] * targets, "target_std": [10.0] * targets, "targets": list(columns[:targets])}
    extractor = hfseq.SeriesFeatureExtractor(
        width, **scale, **own, columns=[*columns, *ahead], max_length=10, known_columns=list(known)
    )
    for each in (model, extractor):
        each.save_pretrained(folder)
    return pipeline("series-forecasting", model=str(folder))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("plain"), distribution="gaussian")


@pytest.fixture(scope="module")
def telling(tmp_path_factory):
    """Two columns that are seen, one that is known ahead."""
    columns = {"columns": ("y", "x"), "known": ("k",), "targets": 1}
    return saved(tmp_path_factory.mktemp("telling"), **columns, distribution="quantile", quantiles=[0.1, 0.5, 0.9])


def test_the_answer_is_what_the_model_says_in_the_units_of_the_data(plain):
    values = torch.tensor((SERIES[-10:, None] - 50) / 10, dtype=torch.float32)[None]  # the newest ten
    with torch.no_grad():
        parameters = plain.model(input_values=values).logits[0, -1]
    mean, deviation = parameters[:, 0, 0], torch.nn.functional.softplus(parameters[:, 0, 1]) + 1e-3
    found = plain(SERIES.tolist())
    assert list(found) == ["forecast", "lower", "upper", "targets"] and found["targets"] == ["y"]
    assert_same(found["forecast"], (50 + 10 * mean).tolist(), 1e-5)
    for name, sign in (("lower", -1), ("upper", 1)):
        assert_same(found[name], (50 + 10 * (mean + sign * 1.2815515655 * deviation)).tolist(), 1e-5)
    wide = plain(SERIES.tolist(), interval=0.95)
    assert all(low < one for low, one in zip(wide["lower"], found["lower"], strict=True))


@pytest.mark.parametrize(
    "form",
    [
        list,
        np.array,
        torch.tensor,
        lambda own: [[each] for each in own],
        lambda own: own[:, None],
        lambda own: {"y": own.tolist()},
        lambda own: pd.DataFrame({"other": own, "y": own}),
    ],
)
def test_every_form_of_a_series_gives_the_same_answer(plain, form):
    assert plain(form(SERIES)) == plain(SERIES.tolist())
    several = plain([form(SERIES), form(SERIES[:7])])
    assert several[0] == plain(SERIES.tolist())
    assert several[1] == plain(SERIES[:7].tolist())


def test_series_of_several_lengths_are_answered_in_batches_as_alone(plain):
    rows = [SERIES[:length].tolist() for length in (3, 9, 1)]
    for one, other in zip(plain(rows, batch_size=3), map(plain, rows), strict=True):
        for name in ("forecast", "lower", "upper"):
            assert_same(one[name], other[name], 1e-5)


def test_what_is_known_of_the_steps_that_come_changes_the_answer(telling):
    frame = {"y": SERIES, "x": SERIES[::-1], "k": np.zeros(12)}
    found = telling(frame, known={"k": [0, 1, 0]})
    assert list(found) == ["forecast", "lower", "upper", "quantiles", "targets"]
    assert found["quantiles"] == {0.1: found["lower"], 0.5: found["forecast"], 0.9: found["upper"]}
    rows = np.column_stack(list(frame.values()))
    assert (
        telling(rows, known=[0, 1, 0]) == found == telling(pd.DataFrame(frame), known=pd.DataFrame({"k": [0, 1, 0]}))
    )
    assert telling(rows, known=[100, 1, 0])["forecast"] != found["forecast"]
    assert telling([rows, rows], known=[[0, 1, 0], [100, 1, 0]])[0] == found
    seen = [[*row[:2], *rows[place + 1 : place + 4, 2]] for place, row in enumerate(rows[:9])]
    ends = [[0, 0, 0], [0, 0, 1], [0, 1, 0]]  # of the last three steps, whose future is partly in `known`
    seen += [[*row[:2], *end] for row, end in zip(rows[9:], ends, strict=True)]
    values = torch.tensor((np.array(seen)[-10:] - 50) / 10, dtype=torch.float32)[None]
    with torch.no_grad():
        assert_same(found["forecast"], (50 + 10 * telling.model(input_values=values).prediction[0, -1, :, 0]).tolist())


def test_an_interval_that_was_not_learnt_is_refused(telling, tmp_path):
    frame = {"y": SERIES, "x": SERIES, "k": np.zeros(12)}
    with pytest.raises(ValueError, match=r"interval=0.9: this model has learnt the quantiles \[0.1, 0.5, 0.9\]"):
        telling(frame, known=[0, 0, 0], interval=0.9)
    with pytest.raises(ValueError, match="interval=0.8: this model has learnt one number and no interval"):
        saved(tmp_path)(SERIES.tolist(), interval=0.8)
    narrow = saved(tmp_path, distribution="quantile", quantiles=[0.25, 0.5, 0.75])
    assert "lower" not in narrow(SERIES.tolist())  # nobody asked for one


@pytest.mark.parametrize("distribution", ["gaussian", "mixture"])
def test_intervals_beyond_the_steps_of_the_model_are_of_drawn_futures(distribution, tmp_path):
    pipe = saved(tmp_path, distribution=distribution)
    with torch.no_grad():  # a walk: each step is the last one read, and a deviation of 1
        pipe.model._follow = walking(pipe.model)
    found = pipe([SERIES.tolist(), SERIES[:7].tolist()], steps=40, batch_size=2)
    width = np.array(found[0]["upper"]) - found[0]["lower"]
    assert len(width) == 40 and width[39] > 2.5 * width[3]
    assert found[0] == pipe(SERIES.tolist(), steps=40)


def walking(model):
    """Futures that go further away with every step, in the place of those of the network."""

    def follow(values, mask, steps, choose):
        parameters = torch.zeros(len(values), steps, *model.ahead[1:])
        parts = [choose(parameters[:, step : step + 1]) for step in range(steps)]
        return torch.cat(parts, 1).cumsum(1), parameters

    return follow


def test_quantiles_say_no_interval_beyond_the_steps_of_the_model(tmp_path):
    found = saved(tmp_path, distribution="quantile")(SERIES.tolist(), steps=5)
    for values in (found["lower"], found["upper"], *found["quantiles"].values()):
        assert all(isinstance(each, float) for each in values[:3]) and values[3:] == [None, None]


def test_a_table_of_several_series_or_newest_first_is_refused(plain, monkeypatch):
    monkeypatch.setattr(plain.feature_extractor, "group_column", "shop", raising=False)
    monkeypatch.setattr(plain.feature_extractor, "time_column", "day", raising=False)
    days = pd.date_range("2024-01-01", periods=12)
    frame = pd.DataFrame({"shop": ["a"] * 6 + ["b"] * 6, "day": days.strftime("%Y-%m-%d"), "y": SERIES})
    with pytest.raises(ValueError, match=r"rows of 2 series in column 'shop' \(a, b, ...\): give one"):
        plain(frame)
    assert plain(frame[frame["shop"] == "a"]) == plain(SERIES[:6].tolist())
    for times in (frame["day"], days, range(12)):
        own = frame.assign(shop="a", day=times)
        assert plain(own) == plain(SERIES.tolist())
        with pytest.raises(ValueError, match="the time in column 'day' goes back; give the oldest step first"):
            plain(own[::-1])
    assert plain(frame[["y"]]) == plain({"y": SERIES}) == plain(SERIES.tolist())


def test_a_point_has_no_interval_and_steps_may_go_on(tmp_path):
    pipe = saved(tmp_path, family="GRU")
    found = pipe(SERIES.tolist(), steps=5)
    assert list(found) == ["forecast", "targets"] and len(found["forecast"]) == 5
    assert found["forecast"][:3] == pipe(SERIES.tolist())["forecast"]


def test_several_targets_are_a_list_each(tmp_path):
    pipe = saved(tmp_path, columns=("y", "x"), targets=2, distribution="gaussian")
    found = pipe(np.column_stack([SERIES, SERIES]))
    assert found["targets"] == ["y", "x"]
    assert np.array(found["forecast"]).shape == np.array(found["upper"]).shape == (3, 2)


@pytest.mark.parametrize(
    ("series", "options", "message"),
    [
        ([], {}, "There is no series"),
        ([[]], {}, "Series 0 has no step"),
        (np.zeros((0, 1)), {}, "has no step"),
        ([1.0, float("nan")], {}, "has nan in column 'y', step 1"),
        ([1.0, float("inf")], {}, "has inf in column 'y', step 1"),
        (np.zeros((4, 2)), {}, r"has the shape \(4, 2\), and this model reads steps of 1 number\(s\): y"),
        ({"x": [1.0]}, {}, r"lacks the columns \['y'\]; it has \['x'\]"),
        ({"y": ["a"]}, {}, "is not made of numbers"),
        ({"y": 3}, {}, "column 'y' is 3: give a list, a number for each step"),
        ({"y": pd.date_range("2024", periods=3)}, {}, "column 'y' holds times, and this model reads numbers"),
        (pd.Series(pd.date_range("2024", periods=3)), {}, "holds times, and this model reads numbers"),
        (
            [[1.0, 2.0], [3.0]],
            {"known": {"k": [1]}},
            "known is one table for 2 series: give a list with one dict each",
        ),
        ([1.0, "many"], {}, "is not made of numbers"),
        ([1.0], {"known": [[1]]}, "knows no column ahead"),
        ([1.0], {"interval": 1.0}, "interval=1.0 must be a share between 0 and 1"),
        ([1.0], {"steps": 0}, "steps=0 must be a number from 1 up"),
    ],
)
def test_bad_input_is_told(plain, series, options, message):
    with pytest.raises(ValueError, match=message):
        plain(series, **options)
    with pytest.raises(TypeError, match="takes numbers, got 'many'"):
        plain("many")
    with pytest.raises(TypeError, match="and none named horizon"):
        plain([1.0], horizon=3)


def test_bad_columns_that_are_known_ahead_are_told(telling):
    frame = {"y": SERIES, "x": SERIES, "k": np.zeros(12)}
    with pytest.raises(ValueError, match="told k of the 3 steps that come: give them as known, 3 rows"):
        telling(frame)
    with pytest.raises(ValueError, match="known of series 0 has 2 rows, and 3 steps are predicted"):
        telling(frame, known=[0, 1])
    with pytest.raises(ValueError, match="known holds 1 entries for 2 series"):
        telling([frame, frame], known=[[0, 0, 0]])
    with pytest.raises(ValueError, match="step 13: a column that is known ahead has no value"):
        telling(frame, known=[0, np.nan, 0])
    with pytest.raises(ValueError, match=r"columns of several lengths, \{'y': 12, 'x': 11"):
        telling({**frame, "x": SERIES[:-1]}, known=[0, 0, 0])


def test_other_models_and_lost_extractors_are_refused(tmp_path, plain):
    torch.manual_seed(0)
    config = hfseq.LSTMConfig(feature_size=1, hidden_size=4, num_labels=2)
    hfseq.LSTMForTokenClassification(config).save_pretrained(tmp_path)
    plain.feature_extractor.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="this one was saved as LSTMForTokenClassification"):
        pipeline("series-forecasting", model=str(tmp_path))
    with pytest.raises(ValueError, match="needs the SeriesFeatureExtractor"):
        hfseq.SeriesForecastingPipeline(plain.model)


def test_the_command_predicts_what_stands_in_json(tmp_path, capsys):
    pipe = saved(tmp_path)
    given = json.dumps(SERIES.tolist())
    assert main(["predict", str(tmp_path), given]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == given and found["forecast"] == pipe(SERIES.tolist())["forecast"]
    assert main(["predict", str(tmp_path), "many"]) == 1
    assert "'many' is no JSON" in capsys.readouterr().err
