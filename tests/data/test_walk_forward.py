"""Windows and splits of series, and the guard that sees each way to look ahead."""

import dataclasses

import numpy as np
import pytest

from hfseq.data.embedded.seasons import load_regimes, load_seasons
from hfseq.data.leaks import check_columns
from hfseq.data.series import Series, SeriesDataSettings, SeriesTable, read_series
from hfseq.data.series_windows import Span, Windows, following, windows_in
from hfseq.data.walk_forward import LookAheadError, check_no_look_ahead, rows_in, walk_forward


def series(begin, length, columns=2, seed=0):
    values = np.random.default_rng(seed).standard_normal((length, columns)).cumsum(0)
    return Series(f"from {begin}", np.arange(begin, begin + length), values, np.zeros((length, 0)), np.zeros(0, int))


def table_of(*parts, known=()):
    axis = [str(step) for step in range(max(int(each.steps[-1]) for each in parts) + 1)]
    return SeriesTable("data.path=x.csv", list(parts), axis, ["y"], ["x"], list(known), [], True)


TABLE = table_of(series(0, 60), series(25, 35, seed=1))
FOLD = walk_forward(60, folds=2, test_steps=10, validation_steps=8, gap=1)[-1]
SIZES = {"context": 5, "horizon": 3}


def windows(fold=FOLD, table=TABLE, **options):
    return [windows_in(table.series, span, **SIZES, **options) for span in dataclasses.astuple(fold)]


def statistics(table, span):
    parts = zip(table.series, rows_in(table.series, span), strict=True)
    rows = np.concatenate([each.observed[own] for each, own in parts])
    return rows.mean(0), rows.std(0)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("within", [False, True])
def test_windows_are_those_of_a_loop(stride, within):
    span, found = Span(20, 41), []
    for index, each in enumerate(TABLE.series):
        own = []
        for last in range(len(each)):
            seen, ahead = range(last - 4, last + 1), range(last + 1, last + 4)
            if seen[0] < 0 or ahead[-1] >= len(each):
                continue
            steps = each.steps[list(ahead)].tolist() + (each.steps[list(seen)].tolist() if within else [])
            if all(20 <= step < 41 for step in steps):
                own.append((index, last))
        found += own[::stride]
    assert windows_in(TABLE.series, span, **SIZES, stride=stride, within=within).places == found
    assert len(found) > 3


def test_what_a_window_sees_and_predicts_are_views_of_the_series():
    arrays = [each.observed for each in TABLE.series]
    own = windows()[0]
    for window, (owner, last) in enumerate(own.places):
        seen, ahead = own.seen(arrays, window), own.ahead(arrays, window)
        assert np.shares_memory(seen, arrays[owner])
        assert np.shares_memory(ahead, arrays[owner])
        for step in range(5):
            row = last - 4 + step
            np.testing.assert_array_equal(seen[step], arrays[owner][row])
            np.testing.assert_array_equal(ahead[step], arrays[owner][row + 1 : row + 4])
    np.testing.assert_array_equal(own.after(arrays), [own.ahead(arrays, each)[-1] for each in range(len(own))])


def test_a_label_of_the_row_itself_needs_no_row_after_it():
    own = windows_in(TABLE.series, Span(50, 60), context=5, horizon=0)
    assert sorted(own.step(0)) == sorted([*range(50, 60)] * 2)
    assert following(np.arange(5.0)[:, None], 2).tolist() == [[[1], [2]], [[2], [3]], [[3], [4]]]


@pytest.mark.parametrize("train", ["expanding", "sliding"])
@pytest.mark.parametrize("gap", [0, 3])
def test_parts_follow_each_other_and_tests_cover_the_end(train, gap):
    folds = walk_forward(100, folds=3, test_steps=10, validation_steps=7, gap=gap, train=train)
    assert [fold.test for fold in folds] == [Span(70, 80), Span(80, 90), Span(90, 100)]
    for fold in folds:
        assert fold.validation.begin - fold.train.end == gap
        assert fold.test.begin - fold.validation.end == gap
        assert fold.validation.steps == 7
    lengths = {fold.train.steps for fold in folds}
    assert len(lengths) == (1 if train == "sliding" else 3)
    assert {fold.train.begin for fold in folds} == ({0} if train == "expanding" else {0, 10, 20})


def test_too_few_steps_and_wrong_numbers_are_refused():
    with pytest.raises(
        ValueError, match=r"30 steps are too few for 3 fold\(s\) of 10 test steps.*take 36: lower split.folds"
    ):
        walk_forward(30, folds=3, test_steps=10, validation_steps=5)
    with pytest.raises(ValueError, match="gap=-1"):
        walk_forward(30, folds=1, test_steps=10, validation_steps=5, gap=-1)


def check(table=TABLE, train=None, held=None, learnt_from=FOLD.train):
    own, *others = windows(table=table)
    check_no_look_ahead(table, FOLD, train or own, held or others, statistics=statistics(table, learnt_from))


def test_an_honest_split_passes():
    check()


def test_a_shuffled_split_is_refused():
    every = windows_in(TABLE.series, Span(0, 60), **SIZES)
    order = np.random.default_rng(0).permutation(len(every))
    parts = [dataclasses.replace(every, owner=every.owner[own], last=every.last[own]) for own in np.split(order, [50])]
    with pytest.raises(LookAheadError, match="training windows look ahead: one of series .* Split by time, not by"):
        check(train=parts[0], held=[parts[1]])
    with pytest.raises(LookAheadError, match="windows to measure on predict what training has seen"):
        check(held=[parts[1]])


def test_an_overlapping_horizon_is_refused():
    own = windows()[0]
    last = own.series[0].steps.searchsorted(FOLD.train.end) - 1  # seen before the cut, but not what it predicts
    reaching = Windows(own.series, 5, 3, np.append(own.owner, 0), np.append(own.last, last))
    with pytest.raises(LookAheadError, match=r"1 of \d+ training windows look ahead.*'from 0' predicts up to step 42"):
        check(train=reaching)


def test_statistics_of_all_rows_are_refused():
    with pytest.raises(LookAheadError, match="the mean of column 'y' is .* learnt from other rows"):
        check(learnt_from=Span(0, 60))
    mean, deviation = statistics(TABLE, FOLD.train)
    with pytest.raises(LookAheadError, match="the deviation of column 'x'"):
        check_no_look_ahead(TABLE, FOLD, *_split(), statistics=(mean, deviation * [1, 1.01]))


def _split():
    own, *others = windows()
    return own, others


@pytest.mark.parametrize("ahead", [1, 3, 8])
def test_the_target_among_the_features_before_its_time_is_refused(ahead):
    def leaking(each, shift):
        values = each.observed.copy()
        values[:, 1] = 5 - 2 * np.roll(values[:, 0], -shift)
        return dataclasses.replace(each, observed=values)

    table = table_of(*(leaking(each, ahead) for each in TABLE.series))
    with pytest.raises(LookAheadError, match=rf"'x' tells the values of the target 'y' {ahead} step\(s\) before"):
        check(table)
    check(table_of(*(leaking(each, 9) for each in TABLE.series)))  # beyond the context and what it predicts
    check(table_of(*(leaking(each, -1) for each in TABLE.series)))  # the past, which is known


def test_a_known_column_that_is_the_target_is_refused():
    parts = [dataclasses.replace(each, known=each.observed[:, :1] * 3) for each in TABLE.series]
    with pytest.raises(LookAheadError, match="'copy' says the same as the target 'y', and is said to be known ahead"):
        check(table_of(*parts, known=["copy"]))


def test_a_wave_beside_a_wave_is_no_leak():
    time = np.arange(60) / 4
    waves = np.column_stack([np.sin(time), np.sin(time + 0.5)])  # two steps ahead
    check(table_of(dataclasses.replace(series(0, 60), observed=waves)))


RNG = np.random.default_rng(3)
LONG = 400
WALK = RNG.standard_normal(LONG).cumsum()


def single(target, column=None, known=None, labels=None):
    """A table of one series: a target and a column of its own, or labels and a column."""
    seen = [] if target is None else [target]
    observed = np.column_stack([*seen, np.zeros(LONG) if column is None else column])
    ahead = np.zeros((LONG, 0)) if known is None else known[:, None]
    own = Series("", np.arange(LONG), observed, ahead, np.zeros(0, int) if labels is None else labels)
    names = ["y"] if labels is None else []
    classes = [] if labels is None else ["a", "b", "c"]
    return SeriesTable("", [own], [], names, ["x"], [] if known is None else ["k"], classes, True)


def look(table, context=8, horizon=3):
    check_columns(table, [slice(0, LONG)], context=context, horizon=horizon)


def later(values, steps):
    return np.roll(values, -steps)


@pytest.mark.parametrize(
    "column",
    [later(WALK, 1) - WALK, later(WALK, 3) - later(WALK, 2), 2 * later(WALK, 2) + WALK - 5, later(WALK, 11)],
)
def test_a_column_that_gives_the_target_away_with_its_past_is_refused(column):
    with pytest.raises(LookAheadError, match="column 'x' tells the values of the target 'y'"):
        look(single(WALK, column))


def test_a_column_that_gives_most_of_the_target_away_is_warned_of(caplog):
    look(single(WALK, later(WALK, 1) + RNG.normal(0, 0.2, LONG)))
    assert "column 'x' tells 9" in caplog.text and "1 step(s) before its time" in caplog.text


def honest_targets():
    strong = np.zeros(LONG)
    for step in range(1, LONG):
        strong[step] = 0.98 * strong[step - 1] + RNG.standard_normal()
    season = np.tile(RNG.standard_normal(24), LONG // 24 + 1)[:LONG]
    wave = np.sin(np.arange(LONG) / 4)
    return {"walk": WALK, "strong": strong, "wave": wave, "rounded": wave.round(2), "season": season + wave}


@pytest.mark.parametrize("target", list(honest_targets().values()), ids=list(honest_targets()))
def test_an_honest_column_is_no_leak(target, caplog):
    past = [np.concatenate([np.full(lag, np.nan), target[:-lag]]) for lag in (1, 2, 7, 23, 24)]
    mean = np.convolve(target, np.ones(5) / 5)[:LONG]
    others = [np.cos(np.arange(LONG) / 4), np.arange(LONG) * 1.0, RNG.standard_normal(LONG).cumsum()]
    noisy = target + RNG.standard_normal(LONG)
    for column in (*past, mean, target.cumsum(), noisy, *others):
        look(single(target, column), context=24)
    assert not caplog.records


@pytest.mark.parametrize("lag", [2, 1, 0, -1, -6])
def test_a_known_column_that_reaches_what_comes_is_refused(lag):
    with pytest.raises(LookAheadError, match="'k' says the same as the target 'y'.*known ahead of 3 steps"):
        look(single(WALK, known=later(WALK, -lag)))
    look(single(WALK, known=later(WALK, -3)))  # of as many steps ago: it is known


@pytest.mark.parametrize("delay", [0, 4])
def test_a_column_that_is_the_label_is_refused_until_the_label_is_known(delay):
    labels = RNG.integers(0, 3, LONG)
    code = np.array([5.0, 2.0, 9.0])[labels]
    for steps in (0, 1, 5, 1 - max(delay, 1)):
        with pytest.raises(LookAheadError, match="column 'x' has a value for each label"):
            look(single(None, later(code, steps), labels=labels), horizon=delay)
    look(single(None, later(code, -max(delay, 1)), labels=labels), horizon=delay)
    look(single(None, labels + RNG.normal(0, 0.01, LONG), labels=labels), horizon=delay)


def test_the_generated_sets_have_no_leak(caplog):
    for rows, options in (
        (load_seasons(), {"target_columns": ["demand"], "time_column": "time", "group_column": "place"}),
        (load_regimes(), {"label_column": "label", "time_column": "day", "group_column": "market"}),
    ):
        table = read_series(rows["train"], SeriesDataSettings(name="seasons", **options))
        parts = [slice(0, len(each)) for each in table.series]
        check_columns(table, parts, context=48, horizon=20 if table.classes else 12)
    assert not caplog.records
