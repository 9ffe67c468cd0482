"""Pictures of forecasts hold the numbers they were given."""

import numpy as np
import pytest

from hfseq import plots

SEEN, TOLD = np.arange(20.0), np.array([20.0, 22.0, 19.0])
ENDS = {"lower": TOLD - 1, "upper": TOLD + 2}


def lines(axes):
    return {line.get_gid(): line.get_xydata() for line in axes.get_lines() if line.get_gid()}


def test_a_picture_shows_what_was_seen_what_came_and_what_was_predicted(tmp_path):
    figure = plots.forecast(SEEN, TOLD, **ENDS, came=TOLD + 0.5, path=tmp_path / "one.png", title="sales")
    (axes,) = figure.axes
    drawn = lines(axes)
    np.testing.assert_array_equal(drawn["seen"], np.column_stack([np.arange(-19, 1), SEEN]))
    np.testing.assert_array_equal(drawn["predicted"], np.column_stack([[1, 2, 3], TOLD]))
    np.testing.assert_array_equal(drawn["came"][:, 1], TOLD + 0.5)
    (band,) = [each for each in axes.collections if each.get_gid() == "interval"]
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == ENDS["lower"].min() and corners[:, 1].max() == ENDS["upper"].max()
    assert axes.get_title(loc="left") == "sales"
    assert (tmp_path / "one.png").stat().st_size > 5000


def test_several_targets_and_series_have_panels_of_their_own(tmp_path):
    both = np.column_stack([SEEN, SEEN]), np.column_stack([TOLD, TOLD])
    panels = {"a": {"history": both[0], "predicted": both[1]}, "b": {"history": SEEN, "predicted": TOLD, **ENDS}}
    figure = plots.forecast(panels, path=tmp_path / "some.svg", title="both")
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == ["a 0", "a 1", "b"]
    assert "<svg" in (tmp_path / "some.svg").read_text(encoding="utf-8")


def test_times_stand_below_the_steps():
    days = [f"day {number}" for number in range(23)]
    (axes,) = plots.forecast(SEEN, TOLD, times=days).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["day 0", "day 6", "day 11", "day 16", "day 22"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((SEEN, TOLD), {"lower": TOLD}, "an interval has two ends"),
        ((SEEN, TOLD), {"lower": TOLD[:2], "upper": TOLD}, r"lower has the shape \(2, 1\) and predicted \(3, 1\)"),
        ((SEEN, TOLD), {"times": [1]}, "times has 1 entries for 20 steps seen and 3 predicted"),
        ((SEEN, TOLD[:, None, None]), {}, "predicted must be"),
        ((np.zeros((5, 2)), TOLD), {}, "history has 2 targets and predicted 1"),
        ((SEEN, None), {}, "predicted must be"),
        (({},), {}, "a picture has 1 to 12 panels"),
        ((SEEN, TOLD), {"path": "one.html"}, "must end in one of .png, .svg, .pdf"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        plots.forecast(*arguments, **options)
