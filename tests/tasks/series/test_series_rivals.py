"""The simple systems beside a model of series, against loops and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hfseq.data.series import Series, SeriesTable
from hfseq.data.series_windows import windows_in
from hfseq.data.walk_forward import walk_forward
from hfseq.tasks.series import rivals
from hfseq.tasks.series.rivals import Parts, forecast_rivals, label_rivals

FOLD = walk_forward(120, folds=1, test_steps=30, validation_steps=20)[0]
CONTEXT, HORIZON, PERIOD = 6, 5, 3


def series(begin, length, seed):
    rng = np.random.default_rng(seed)
    observed = rng.standard_normal((length, 2)).cumsum(0)
    known = rng.integers(0, 2, (length, 1)).astype(float)
    return Series(f"from {begin}", np.arange(begin, begin + length), observed, known, rng.integers(0, 3, length))


SERIES = [series(0, 120, 1), series(50, 70, 2), series(85, 35, 3)]  # the last one begins behind the training part
TABLE = SeriesTable("x.csv", SERIES, list(map(str, range(120))), ["y"], ["x"], ["k"], ["a", "b", "c"], True)


@pytest.fixture(scope="module")
def parts():
    spans = (FOLD.train, FOLD.validation, FOLD.test)
    return Parts(*(windows_in(SERIES, span, context=CONTEXT, horizon=HORIZON) for span in spans))


@pytest.fixture(scope="module")
def told(parts):
    return forecast_rivals(TABLE, FOLD.train, parts, PERIOD)


def test_naive_forecasts_are_those_of_a_loop(parts, told):
    last, seasonal, mean = (told[name].center for name in list(told)[:3])
    assert len(last) == len(parts.test) > 40
    for place, (owner, row) in enumerate(parts.test.places):
        own = SERIES[owner].observed[:, :1]
        train = own[SERIES[owner].steps < FOLD.train.end]
        if not len(train):
            train = np.concatenate([each.observed[each.steps < FOLD.train.end, :1] for each in SERIES])
        for ahead in range(1, HORIZON + 1):
            back = row + ahead
            while back > row:
                back -= PERIOD
            np.testing.assert_array_equal(last[place, ahead - 1], own[row])
            np.testing.assert_array_equal(seasonal[place, ahead - 1], own[back])
            np.testing.assert_allclose(mean[place, ahead - 1], train.mean(0))


def test_the_linear_autoregression_is_a_ridge_of_what_the_model_sees(parts, told, monkeypatch):
    monkeypatch.setattr(rivals, "_STRENGTHS", (0.01,))
    monkeypatch.setattr(rivals, "_BLOCK", 7)
    steps = FOLD.train.end
    seen = np.concatenate([each.observed[each.steps < steps] for each in SERIES])
    known = np.concatenate([each.known[each.steps < steps] for each in SERIES])

    def rows(windows):
        found = []
        for owner, row in windows.places:
            own = (SERIES[owner].observed - seen.mean(0)) / seen.std(0)
            ahead = (SERIES[owner].known - known.mean(0)) / known.std(0)
            found.append([*own[row - CONTEXT + 1 : row + 1].ravel(), *ahead[row + 1 : row + HORIZON + 1].ravel()])
        return np.array(found)

    came = [
        np.array([SERIES[owner].observed[row + 1 : row + HORIZON + 1, 0] for owner, row in windows.places])
        for windows in (parts.train, parts.validation)
    ]
    ridge = Ridge(alpha=0.01 * len(parts.train)).fit(rows(parts.train), came[0])
    found = forecast_rivals(TABLE, FOLD.train, parts, PERIOD)["Linear autoregression (6 steps)"]
    expected = ridge.predict(rows(parts.test))
    np.testing.assert_allclose(found.center[..., 0], expected, rtol=1e-8, atol=1e-8)
    ends = np.quantile(came[1] - ridge.predict(rows(parts.validation)), (0.1, 0.9), axis=0)
    np.testing.assert_allclose(found.lower[..., 0], expected + ends[0], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(found.upper[..., 0], expected + ends[1], rtol=1e-7, atol=1e-7)


def test_without_a_period_there_is_no_seasonal_forecast(parts):
    assert not any("Seasonal" in name for name in forecast_rivals(TABLE, FOLD.train, parts, 1))


def test_nothing_is_learnt_from_behind_the_cut(parts, told):
    """Other numbers from the validation part on change what is measured, and nothing that was learnt."""
    behind = [Series(each.name, each.steps, each.observed.copy(), each.known, each.labels) for each in SERIES]
    for each in behind:
        each.observed[each.steps >= FOLD.test.begin + HORIZON] += 100.0  # after all that the first windows see
    table = SeriesTable("x.csv", behind, TABLE.axis, ["y"], ["x"], ["k"], TABLE.classes, True)
    moved = Parts(
        *(
            windows_in(behind, span, context=CONTEXT, horizon=HORIZON)
            for span in (FOLD.train, FOLD.validation, FOLD.test)
        )
    )
    changed = forecast_rivals(table, FOLD.train, moved, PERIOD)
    first = [place for place, (owner, row) in enumerate(parts.test.places) if SERIES[owner].steps[row] == 90 - 1]
    assert len(first) == 2
    for name, own in told.items():
        np.testing.assert_array_equal(own.center[first], changed[name].center[first])
        np.testing.assert_array_equal(own.lower[first], changed[name].lower[first])


def test_missing_values_are_the_last_known_ones(parts):
    gaps = [Series(each.name, each.steps, each.observed.copy(), each.known, each.labels) for each in SERIES]
    gaps[0].observed[100:103, 0] = np.nan
    table = SeriesTable("x.csv", gaps, TABLE.axis, ["y"], ["x"], ["k"], TABLE.classes, True)
    spans = (FOLD.train, FOLD.validation, FOLD.test)
    own = Parts(*(windows_in(gaps, span, context=CONTEXT, horizon=HORIZON) for span in spans))
    found = forecast_rivals(table, FOLD.train, own, PERIOD)
    place = own.test.places.index((0, 102))
    assert found["Last value"].center[place, 0, 0] == gaps[0].observed[99, 0]
    assert all(np.isfinite(each.center).all() for each in found.values())


@pytest.mark.parametrize("delay", [0, 4])
def test_the_last_label_is_one_that_is_known(delay):
    spans = (FOLD.train, FOLD.validation, FOLD.test)
    own = Parts(*(windows_in(SERIES, span, context=CONTEXT, horizon=delay) for span in spans))
    found = label_rivals(TABLE, FOLD.train, own, delay)
    train = np.concatenate([each.labels[each.steps < FOLD.train.end] for each in SERIES])
    assert set(found["Most frequent class"]) == {np.bincount(train).argmax()}
    name = "Last label that is known (4 steps old)" if delay else "Last label that is known (1 step old)"
    for place, (owner, row) in enumerate(own.test.places):
        assert found[name][place] == SERIES[owner].labels[row - max(delay, 1)]
    assert all(len(each) == len(own.test) for each in found.values()) and len(found) == 4


def test_a_logistic_regression_learns_what_the_last_steps_tell():
    tellable = [
        Series(each.name, each.steps, each.observed, each.known, (each.observed[:, 1] > 0).astype(int))
        for each in SERIES
    ]
    table = SeriesTable("x.csv", tellable, TABLE.axis, [], ["z", "x"], ["k"], ["a", "b"], True)
    spans = (FOLD.train, FOLD.validation, FOLD.test)
    own = Parts(*(windows_in(tellable, span, context=CONTEXT, horizon=0) for span in spans))
    expected = np.array([tellable[owner].labels[row] for owner, row in own.test.places])
    found = label_rivals(table, FOLD.train, own, 0)["Logistic regression (last 6 values)"]
    assert (found == expected).mean() > 0.85


def gappy(share, targets=1):
    """A wave with gaps, and its windows."""
    rng, rows = np.random.default_rng(0), 300
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(rows) / 12)[:, None] + rng.normal(0, 0.5, (rows, targets))
    values[rng.random(values.shape) < share] = np.nan
    own = [Series("", np.arange(rows), values, np.zeros((rows, 0)), np.zeros(0, int))]
    table = SeriesTable("", own, list(map(str, range(rows))), ["y", "z"][:targets], [], [], [], True)
    fold = walk_forward(rows, folds=1, test_steps=40, validation_steps=40)[0]
    spans = (fold.train, fold.validation, fold.test)
    return table, fold, Parts(*(windows_in(own, span, context=12, horizon=3) for span in spans))


@pytest.mark.parametrize("targets", [1, 2])
def test_the_linear_autoregression_learns_known_numbers_alone_and_sees_the_masks(targets, monkeypatch):
    monkeypatch.setattr(rivals, "_STRENGTHS", (0.01,))
    table, fold, own = gappy(0.3, targets)
    values = table.series[0].observed
    train = values[: fold.train.end]
    scaled = np.nan_to_num((values - np.nanmean(train, 0)) / np.nanstd(train, 0))
    both = np.concatenate([scaled, ~np.isnan(values)], 1)
    rows = [np.array([both[row - 11 : row + 1].ravel() for _, row in each.places]) for each in (own.train, own.test)]
    found = forecast_rivals(table, fold.train, own, 1)["Linear autoregression (12 steps)"].center
    for ahead in range(3):
        for target in range(targets):
            came = np.array([values[row + 1 + ahead, target] for _, row in own.train.places])
            known = ~np.isnan(came)
            assert 0 < known.sum() < len(known)
            ridge = Ridge(alpha=0.01 * known.sum()).fit(rows[0][known], came[known])
            np.testing.assert_allclose(found[:, ahead, target], ridge.predict(rows[1]), rtol=1e-7, atol=1e-7)


def test_leading_gaps_are_the_mean_of_the_training_rows():
    table, fold, own = gappy(0.0)
    values = table.series[0].observed
    values[:240] = np.nan  # 20 training rows are known
    values[240 : fold.train.end] = 50.0
    values[fold.train.end - 1] = 51.0
    late = Series("late", np.arange(220, 300), np.full((80, 1), np.nan), np.zeros((80, 0)), np.zeros(0, int))
    late.observed[70:] = 7.0
    several = SeriesTable("", [*table.series, late], table.axis, ["y"], [], [], [], True)
    spans = (fold.train, fold.validation, fold.test)
    own = Parts(*(windows_in(several.series, span, context=12, horizon=3) for span in spans))
    found = forecast_rivals(several, fold.train, own, 2)
    place = own.test.places.index((1, 60))
    for name in ("Last value", "Seasonal naive (period 2)"):
        np.testing.assert_allclose(found[name].center[place], np.nanmean(values[: fold.train.end]))


def test_one_class_before_the_cut_leaves_the_regressions_out():
    alone = [
        Series(each.name, each.steps, each.observed, each.known, np.where(each.steps < FOLD.train.end, 1, each.labels))
        for each in SERIES
    ]
    table = SeriesTable("x.csv", alone, TABLE.axis, [], ["z", "x"], ["k"], ["a", "b", "c"], True)
    spans = (FOLD.train, FOLD.validation, FOLD.test)
    own = Parts(*(windows_in(alone, span, context=CONTEXT, horizon=0) for span in spans))
    found = label_rivals(table, FOLD.train, own, 0)
    assert list(found) == ["Most frequent class", "Last label that is known (1 step old)"]
