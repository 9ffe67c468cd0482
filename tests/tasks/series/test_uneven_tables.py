"""Tables whose series or cuts differ: short series, and cuts after which a score does not exist."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hfseq.cards.render import render_card
from hfseq.data.series import Series, SeriesTable
from hfseq.data.series_windows import Span
from hfseq.data.walk_forward import Fold
from hfseq.recipe.publish import next_line
from hfseq.tasks.series.build import _fold_facts, read_line
from hfseq.tasks.series.folds import FoldResult, prepare
from hfseq.tokenization.known_ahead import with_known
from tests.tasks.base import RECIPES, facts

RECIPE = RECIPES["series"]


@pytest.fixture
def plain(small_runs):
    return facts(small_runs.plain("series")[0])


def short_and_long(*lengths):
    rng = np.random.default_rng(0)
    own = [
        Series(f"of {rows}", np.arange(rows), rng.standard_normal((rows, 1)), np.ones((rows, 1)), np.zeros(0, int))
        for rows in lengths
    ]
    return SeriesTable("x.csv", own, list(map(str, range(max(lengths)))), ["y"], [], ["k"], [], True)


def test_series_too_short_for_a_window_are_named_and_those_shorter_than_the_horizon_are_read():
    table = short_and_long(400, 2, 30, 8)
    settings = RECIPE.settings("--windows.context=16", "--windows.horizon=4", "--split.folds=1")
    own = prepare(settings, table, settings.split.cut(400)[-1])
    assert [len(each) for each in own.arrays.inputs] == [396, 0, 26, 4]
    said = read_line(settings, table, own)
    assert "warning: 2 of 4 series have fewer than 20 rows" in said and "no window: of 2, of 8. Lower" in said
    assert "warning" not in read_line(settings, short_and_long(400, 30), own)
    assert with_known(np.zeros((2, 1)), np.zeros((2, 1)), 5).shape == (0, 6)


def test_a_cut_without_the_score_shows_a_dash_and_no_other_score(plain):
    fold = Fold(Span(0, 4), Span(4, 6), Span(6, 8))
    result = FoldResult(fold, 3, {"mae": 9.0}, {"Last value": {"mae": 8.0}}, np.zeros(0), None, {})
    found = _fold_facts(short_and_long(400), result, "mase")
    assert found.score is None and found.rivals == {}
    told = dataclasses.replace(plain, folds=[found, *plain.folds[1:]])
    rows = [line for line in render_card(told).splitlines() if "| 6 to 7 |" in line]
    assert len(rows) == 1 and rows[0].endswith("| 3 | - | - |")


def test_the_card_reads_one_series_of_a_table_and_all_of_it_where_the_state_is_carried(plain):
    assert '== "NAME"]  # one of the series\nrows = rows.tail(24)  # a row' in render_card(plain)
    alone = dataclasses.replace(plain, data=dataclasses.replace(plain.data, group=None))
    assert 'rows = pd.read_csv("series.csv").tail(24)  # a row a step, the newest last\n' in render_card(alone)
    for own in (plain, alone):
        card = render_card(dataclasses.replace(own, carries_state=True))
        assert ".tail(" not in card and 'pd.read_csv("series.csv")  # a row a step from its beginning' in card


def test_the_last_line_shows_what_a_model_is_asked(plain):
    assert """predict run '{"series": {"demand": [NUMBERS], "holiday": [NUMBERS]}, "known":""" in next_line(
        plain, Path("run")
    )
    labels = SimpleNamespace(kind="series-model", predicts_labels=True)
    assert next_line(labels, Path("run")) == "next: hfseq push run user/name"


def test_a_system_that_is_missing_after_a_cut_is_not_the_best(plain):
    first, last = plain.folds
    told = dataclasses.replace(first, rivals={"Last value": 1.0, "Mean of the series": 0.5, "Lucky": 0.01})
    card = render_card(dataclasses.replace(plain, folds=[told, last]))
    assert "Lucky" not in card
