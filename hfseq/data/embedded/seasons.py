"""Generated series: demand with two seasons and holidays, and markets of two regimes with a label for each day.

    >>> load_seasons()["train"][0]
    {'place': 'harbour', 'time': '2024-01-01 00:00:00', 'holiday': 1, 'demand': 23.59}
    >>> load_regimes()["train"][0]
    {'market': 'A', 'day': 0, 'change': -0.076, 'label': 0}

**Seasons.** Five places, a row every two hours (12 a day, 84 a week), of 126 days or less: some places begin later.

    demand = level x (1 + trend) x day profile x week profile x (1 + noise)

The day profile of a Sunday or a holiday is another one than that of a working day, so that what a holiday does depends
on the hour. Noise goes on from step to step, and is larger by day than by night. `holiday` is 1 on Sundays too; it is
known ahead.

**Regimes.** Six markets of 800 days. Each is bull (changes of +0.12 % a day in the mean, deviation 0.7) or bear
(-0.2 %, deviation 1.5), and stays so for 30 to 70 days; the regime is hidden. The label follows from the regime of the
next 20 days, not from the changes: `buy` where 16 of them or more are bull, `sell` where 4 or fewer, else `nothing`.
Such a rule is made up to have something to learn. It is not advice, and no market is like this.
"""

import copy
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

STEPS_A_DAY: Final = 12
DAYS: Final = 126
FIRST_DAY: Final = datetime(2024, 1, 1)
# name, level, growth over all days, days after the first at which it begins
PLACES: Final = (
    ("harbour", 40.0, 0.10, 0),
    ("market", 55.0, -0.05, 0),
    ("station", 70.0, 0.05, 0),
    ("school", 30.0, 0.0, 28),
    ("museum", 45.0, 0.15, 42),
)
HOLIDAY_SHARE: Final = 0.09  # of the days that are no Sundays
# A step of two hours each, from midnight on.
WORKING_DAY: Final = (0.45, 0.40, 0.55, 1.05, 1.45, 1.30, 1.15, 1.20, 1.40, 1.55, 1.00, 0.60)
FREE_DAY: Final = (0.60, 0.50, 0.45, 0.55, 0.80, 1.20, 1.45, 1.35, 1.10, 0.95, 0.80, 0.65)
WEEK: Final = (1.00, 0.97, 1.00, 1.03, 1.12, 1.05, 0.90)  # Monday to Sunday
NOISE: Final = (0.02, 0.05)  # deviation at night and at noon
NOISE_GOES_ON: Final = 0.5

MARKETS: Final = ("A", "B", "C", "D", "E", "F")
MARKET_DAYS: Final = 800
BULL, BEAR = (0.12, 0.7), (-0.2, 1.5)  # mean and deviation of a day's change, in per cent
STAYS: Final = (30, 70)  # days that a regime lasts
LOOKS_AHEAD: Final = 20  # days of the rule of labels
MOST: Final = 16  # of them that must be of one regime
LABELS: Final = ["buy", "nothing", "sell"]


def load_seasons(seed: int = 0) -> DatasetDict:
    """Generate demand with two seasons, a trend and holidays; a seed gives the same rows everywhere."""
    return DatasetDict({"train": copy.copy(_seasons(seed))})  # formats are set in place


def load_regimes(seed: int = 0) -> DatasetDict:
    """Generate markets of two hidden regimes, with the label that the rule gives to each day."""
    return DatasetDict({"train": copy.copy(_regimes(seed))})


@lru_cache(maxsize=2)
def _seasons(seed: int) -> Dataset:
    rng = np.random.default_rng([seed, 1])
    is_holiday = rng.random(DAYS) < HOLIDAY_SHARE
    is_holiday[0] = True  # New Year's Day
    columns: dict[str, list] = {"place": [], "time": [], "holiday": [], "demand": []}
    for name, level, growth, begins in PLACES:
        steps = np.arange(begins * STEPS_A_DAY, DAYS * STEPS_A_DAY)
        day, part = np.divmod(steps, STEPS_A_DAY)
        is_free = is_holiday[day] | (day % 7 == 6)
        own = 1 + rng.uniform(-0.15, 0.15, (2, STEPS_A_DAY))  # each place has profiles of its own
        profile = np.where(is_free, (FREE_DAY * own[0])[part], (WORKING_DAY * own[1])[part])
        deviation = NOISE[0] + (NOISE[1] - NOISE[0]) * np.sin(np.pi * part / STEPS_A_DAY)
        noise = _going_on(rng.standard_normal(len(steps))) * deviation
        trend = 1 + growth * steps / (DAYS * STEPS_A_DAY)
        demand = level * trend * profile * np.take(WEEK, day % 7) * (1 + noise)
        hours = 24 // STEPS_A_DAY
        columns["place"] += [name] * len(steps)
        columns["time"] += [str(FIRST_DAY + timedelta(hours=hours * int(step))) for step in steps]
        columns["holiday"] += is_free.astype(int).tolist()
        columns["demand"] += demand.round(2).tolist()
    return Dataset.from_dict(columns)


def _going_on(shocks: np.ndarray) -> np.ndarray:
    """Return noise of deviation 1 that remembers its last value."""
    found, fresh = shocks.copy(), np.sqrt(1 - NOISE_GOES_ON**2)
    for step in range(1, len(found)):
        found[step] = NOISE_GOES_ON * found[step - 1] + fresh * shocks[step]
    return found


def hidden_regimes(seed: int = 0) -> np.ndarray:
    """Return whether each market is bull on each day, (markets, days + those that the rule looks ahead)."""
    rng = np.random.default_rng([seed, 2])
    days = MARKET_DAYS + LOOKS_AHEAD
    rows = []
    for _ in MARKETS:
        is_bull, row = bool(rng.random() < 0.5), np.zeros(0, bool)
        while len(row) < days:
            row = np.concatenate([row, np.full(rng.integers(STAYS[0], STAYS[1] + 1), is_bull)])
            is_bull = not is_bull
        rows.append(row[:days])
    return np.stack(rows)


def label_of(bull_days: int) -> str:
    """Return the label of a day from how many of the next days are bull."""
    if bull_days >= MOST:
        return "buy"
    return "sell" if bull_days <= LOOKS_AHEAD - MOST else "nothing"


@lru_cache(maxsize=2)
def _regimes(seed: int) -> Dataset:
    rng = np.random.default_rng([seed, 3])
    columns: dict[str, list] = {"market": [], "day": [], "change": [], "label": []}
    for market, is_bull in zip(MARKETS, hidden_regimes(seed), strict=True):
        own = is_bull[:MARKET_DAYS]
        mean, deviation = (np.where(own, bull, bear) for bull, bear in zip(BULL, BEAR, strict=True))
        change = mean + deviation * rng.standard_normal(MARKET_DAYS)
        ahead = [int(is_bull[day + 1 : day + 1 + LOOKS_AHEAD].sum()) for day in range(MARKET_DAYS)]
        columns["market"] += [market] * MARKET_DAYS
        columns["day"] += range(MARKET_DAYS)
        columns["change"] += change.round(3).tolist()
        columns["label"] += map(label_of, ahead)
    kinds = {"market": Value("string"), "day": Value("int64"), "change": Value("float64")}
    return Dataset.from_dict(columns, Features({**kinds, "label": ClassLabel(names=LABELS)}))
