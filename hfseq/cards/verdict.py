"""Whether a model is better than the simple systems measured on the same rows, in the words of a terminal."""

from dataclasses import dataclass
from typing import Final

from .facts import SAME_RUN, Comparison, Facts
from .parts import number, title

_LEVEL: Final = 0.003
"""Systems this near are level: 0.3 points of a percentage, 0.3 % of another score."""


@dataclass(frozen=True)
class Behind:
    """A simple system that is better than the model."""

    name: str
    metric: str
    value: float
    own: float  # what the model reaches


def simple_peers(facts: Facts) -> list[Comparison]:
    """Return the results of the simple systems of the same run, in the score that people quote first."""
    main = next(iter(facts.metric_names), None)
    return [row for row in facts.comparisons if row.source == SAME_RUN and row.metric == main]


def behind(facts: Facts) -> list[Behind]:
    """Return the simple systems that are better than the model in its main score, the best one first.

    A system that is better by 0.3 points or less is level with it: the same regression with another solver, or with a
    text more or less in the test split, differs by as much.
    """
    found = []
    for row in simple_peers(facts):
        own, score = facts.mean(row.metric), facts.score_of(row.metric)
        apart = _LEVEL if score.is_percentage else _LEVEL * abs(row.value)
        if _sign(facts, row.metric) * (row.value - own) > apart:
            found.append(Behind(row.name, row.metric, row.value, own))
    return sorted(found, key=lambda row: -_sign(facts, row.metric) * row.value)


def behind_line(facts: Facts) -> str | None:
    """Say which simple system is better and by how much; None if none is."""
    better = behind(facts)
    if not better:
        return None
    best, score = better[0], facts.score_of(better[0].metric)
    values = f"{number(best.own, score)}, {best.name} {number(best.value, score)}"
    return f"BEHIND: a simple system is better in {title(score)}: this model {values}."


def verdict_lines(facts: Facts) -> list[str]:
    """Write the table of the model and its simple peers, and a loud last line if one of them is better."""
    rows = simple_peers(facts)
    if not rows:
        return []
    metric = rows[0].metric
    score = facts.score_of(metric)
    table = [("this model", facts.mean(metric)), *((row.name, row.value) for row in rows)]
    width = max(len(name) for name, _ in table)
    lines = [f"{title(score)} on the same rows:", *(f"  {n:{width}}  {number(v, score):>6}" for n, v in table)]
    worse = behind_line(facts)
    return lines if worse is None else [*lines, f"*** {worse} `push` refuses it without force. ***"]


def _sign(facts: Facts, metric: str) -> int:
    return 1 if facts.score_of(metric).greater_is_better else -1
