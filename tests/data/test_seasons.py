"""Generated series: from a seed, with the seasons and the rule that their page tells."""

import numpy as np
import pytest

from hfseq.data.embedded.seasons import (
    DAYS,
    LABELS,
    LOOKS_AHEAD,
    MARKET_DAYS,
    MARKETS,
    PLACES,
    STEPS_A_DAY,
    hidden_regimes,
    label_of,
    load_regimes,
    load_seasons,
)


@pytest.mark.parametrize("load", [load_seasons, load_regimes])
def test_a_seed_gives_the_same_rows(load):
    assert load(1)["train"][:] == load(1)["train"][:]
    assert load(1)["train"][:] != load(2)["train"][:]


def test_seasons_have_two_periods_and_places_of_several_lengths():
    rows = load_seasons()["train"].to_pandas()
    lengths = rows.groupby("place", sort=False).size()
    assert lengths.to_dict() == {name: (DAYS - begins) * STEPS_A_DAY for name, _, _, begins in PLACES}
    assert rows[rows.place == "harbour"].time.is_monotonic_increasing
    demand = rows[rows.place == "station"].demand.to_numpy()

    def likeness(lag):
        return np.corrcoef(demand[lag:], demand[:-lag])[0, 1]

    assert likeness(STEPS_A_DAY) > 0.7
    assert likeness(7 * STEPS_A_DAY) > likeness(3 * STEPS_A_DAY)
    assert likeness(STEPS_A_DAY // 2) < 0


def test_noise_is_larger_by_day_and_a_holiday_is_another_day():
    rows = load_seasons()["train"].to_pandas()
    rows = rows[rows.place == "station"].assign(part=lambda it: np.arange(len(it)) % STEPS_A_DAY)
    working = rows[(rows.holiday == 0) & (np.arange(len(rows)) // STEPS_A_DAY % 7 < 5)]
    spread = working.groupby("part").demand.std() / working.groupby("part").demand.mean()
    assert spread[6] > spread[0]
    hours = rows[rows.holiday == 1].groupby("part").demand.mean() / working.groupby("part").demand.mean()
    assert hours[3] < 0.8 < 1.1 < hours[6]  # late rising, and a busy noon


def test_labels_follow_from_the_hidden_regime_by_the_rule():
    rows, bull = load_regimes()["train"], hidden_regimes()
    assert bull.shape == (len(MARKETS), MARKET_DAYS + LOOKS_AHEAD)
    found = np.array(rows["label"][:]).reshape(len(MARKETS), MARKET_DAYS)
    for market in range(len(MARKETS)):
        for day in range(0, MARKET_DAYS, 7):
            days = bull[market, day + 1 : day + 21].sum()
            expected = "buy" if days >= 16 else "sell" if days <= 4 else "nothing"
            assert LABELS[found[market, day]] == expected == label_of(days)
    change = np.array(rows["change"][:]).reshape(len(MARKETS), MARKET_DAYS)
    own = bull[:, :MARKET_DAYS]
    assert change[own].mean() > 0 > change[~own].mean()
    assert change[~own].std() > 1.5 * change[own].std()
