"""Scores of forecasts, against loops and known waves."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from hfseq.evaluation.scores import compute_score
from hfseq.evaluation.series import INTERVAL, Forecasts, find_period, forecast_scores, naive_scale

RNG = np.random.default_rng(0)
CAME, TOLD = RNG.standard_normal((2, 30, 4, 2))
LOWER, UPPER = TOLD - 1, TOLD + 0.5
SCALES = RNG.uniform(0.5, 2, (30, 2))


def test_scores_are_those_of_scikit_learn_and_of_a_loop():
    found = forecast_scores(CAME, Forecasts(TOLD, LOWER, UPPER), SCALES)
    flat = CAME.ravel(), TOLD.ravel()
    assert found["mae"] == pytest.approx(mean_absolute_error(*flat), rel=1e-12)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(*flat), rel=1e-12)
    ends = [mean_pinball_loss(flat[0], end.ravel(), alpha=q) for end, q in zip((LOWER, UPPER), INTERVAL, strict=True)]
    assert found["pinball"] == pytest.approx(np.mean(ends), rel=1e-12)
    inside = [low <= y <= high for low, y, high in zip(LOWER.ravel(), flat[0], UPPER.ravel(), strict=True)]
    assert found["coverage_80"] == np.mean(inside)
    scaled = [abs(CAME[n, h, o] - TOLD[n, h, o]) / SCALES[n, o] for n in range(30) for h in range(4) for o in range(2)]
    assert found["mase"] == pytest.approx(np.mean(scaled), rel=1e-12)
    assert compute_score("coverage_80", np.stack([LOWER, UPPER], -1), CAME) == found["coverage_80"]
    assert compute_score("pinball", np.stack([LOWER, UPPER], -1), CAME) == found["pinball"]


def test_what_did_not_come_counts_nowhere():
    came = CAME.copy()
    came[:10] = np.nan
    with_gaps = forecast_scores(came, Forecasts(TOLD, LOWER, UPPER), SCALES)
    without = forecast_scores(CAME[10:], Forecasts(TOLD[10:], LOWER[10:], UPPER[10:]), SCALES[10:])
    assert with_gaps == pytest.approx(without)


def test_without_a_scale_there_is_no_mase():
    assert "mase" not in forecast_scores(CAME, Forecasts(TOLD), np.full((30, 2), np.nan))
    assert "coverage_80" not in forecast_scores(CAME, Forecasts(TOLD), SCALES)


def test_the_scale_is_what_the_seasonal_naive_forecast_misses():
    values = RNG.standard_normal((20, 2))
    missed = [abs(values[t] - values[t - 3]) for t in range(3, 20)]
    np.testing.assert_allclose(naive_scale(values, 3), np.mean(missed, 0))
    assert np.isnan(naive_scale(values[:3], 3)).all()
    assert np.isnan(naive_scale(np.ones((9, 1)), 3)).all()  # nothing to divide by


@pytest.mark.parametrize("period", [2, 7, 12])
def test_a_period_is_found_under_noise_and_a_trend(period):
    time = np.arange(400)
    shape = RNG.standard_normal(period)
    wave = shape[time % period] + 0.2 * RNG.standard_normal(400) + 0.02 * time
    assert find_period([wave, wave[:20]], 30) == period


def test_no_period_is_found_in_noise_or_in_a_short_series():
    assert find_period([RNG.standard_normal(400)], 30) == 1
    assert find_period([RNG.standard_normal(400).cumsum()], 30) == 1
    assert find_period([np.sin(np.arange(20.0))], 30) == 1
