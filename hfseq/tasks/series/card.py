"""What the card of a model of series says beside what every card says."""

from typing import Any, Final

from ...cards.checks import NO_WORDS
from ...cards.confusion import confusion_view
from ...cards.parts import cell, code, network_view, number, quoted, significant, title
from ...cards.table import CARD, DATA, MINUTES, PARAMETERS, RESULT, SCORE, ResultsTable, rival_text
from .facts import FoldFacts, SeriesFacts, StepFacts

TASK: Final = "series-forecasting"  # of the pipeline
ON_THE_HUB: Final = "time-series-forecasting"
OF_LABELS: Final = "token-classification"  # the head that labels steps
LINEAR: Final = "Linear autoregression"
SEASONAL: Final = "Seasonal naive"
LOGISTIC: Final = "Logistic regression"

SERIES_TABLE = ResultsTable(
    "models of series",
    (
        ("model", lambda facts: f"{facts.architecture.cell}, {_says(facts)}"),
        *(DATA, SCORE, RESULT),
        ("seasonal naive", lambda facts: rival_text(facts, facts.metric_names[0], SEASONAL)),
        ("regression", lambda facts: rival_text(facts, facts.metric_names[0], _regression(facts))),
        *(PARAMETERS, MINUTES, CARD),
    ),
)


def _says(facts: SeriesFacts) -> str:
    return "labels" if facts.distribution is None else facts.distribution


def _regression(facts: SeriesFacts) -> str:
    return LOGISTIC if facts.predicts_labels else LINEAR


def series_view(facts: SeriesFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    data, score = facts.data, facts.score_of(facts.metric_names[0])
    best = _best_name(facts)
    return {
        **network_view(facts, OF_LABELS if facts.predicts_labels else ON_THE_HUB, tags=["series"]),
        "pipeline_task": TASK,
        "says": _sentence(facts),
        "rows_of_one_series": _rows(facts),
        "seen": ", ".join(map(code, [*data.targets, *data.features])),
        "known": ", ".join(map(code, data.known)),
        "targets": ", ".join(map(code, data.targets)),
        "classes": ", ".join(map(code, facts.classes)),
        "first_score": title(score),
        "best": best,
        "folds": [_fold(row, score, best) for row in facts.folds],
        "steps": [_step(row, best) for row in facts.steps],
        "split_line": _cut(facts),
        "series_line": _series(facts),
        **confusion_view(facts.confusions, "labels", "Steps"),
        "limits": _limits(facts),
    }


def _best_name(facts: SeriesFacts) -> str:
    """Name the simple system that is best over all cuts in time."""
    measured = [fold.rivals for fold in facts.folds if fold.rivals]
    names = [name for name in measured[-1] if all(name in each for each in measured)]
    sign = 1 if facts.score_of(facts.metric_names[0]).greater_is_better else -1
    return max(names, key=lambda name: sign * sum(each[name] for each in measured))


def _sentence(facts: SeriesFacts) -> str:
    if facts.predicts_labels:
        ahead = f" (which follows from the {facts.horizon} steps after it)" if facts.horizon else ""
        return f"It tells the label of the last step{ahead}"
    steps = "the next step" if facts.horizon == 1 else f"the next {facts.horizon} steps"
    kinds = {
        "point": "one number each",
        "quantile": f"quantiles ({', '.join(f'{share:g}' for share in facts.shares)})",
        "gaussian": "a Gaussian each",
        "mixture": "a mixture of Gaussians each",
    }
    return f"It predicts {steps}, {kinds[str(facts.distribution)]}"


def _rows(facts: SeriesFacts) -> str:
    """Write how a series is read: one of several, and all of it where the state is carried from its beginning."""
    lines, group = ['rows = pd.read_csv("series.csv")'], facts.data.group
    if group is not None:
        lines += [f'rows = rows[rows[{quoted(group)}] == "NAME"]  # one of the series', "rows = rows"]
    if not facts.carries_state:
        lines[-1] += f".tail({facts.context})  # a row a step, the newest last"
        return "\n".join(lines)
    lines[0] += "  # a row a step from its beginning, the newest last"
    return "\n".join(lines[:2])


def _fold(row: FoldFacts, score: Any, best: str) -> str:
    cells = [cell(row.train_until), f"{cell(row.test_from)} to {cell(row.test_until)}", f"{row.windows:,}"]
    scores = ["-" if each is None else number(each, score) for each in (row.score, row.rivals.get(best))]
    return " | ".join([*cells, *scores])


def _step(row: StepFacts, best: str) -> str:
    return f"{row.ahead} | {significant(row.error)} | {significant(row.rivals[best])}"


def _series(facts: SeriesFacts) -> str:
    data = facts.data
    shortest = "" if data.shortest == data.longest else f"{data.shortest:,} to "
    lengths = f"{shortest}{data.longest:,} rows"
    many = f"{data.series} series of {lengths}" if data.series > 1 else f"one series of {lengths}"
    short = f" ({data.left_out} of them too short for a window)" if data.left_out else ""
    return f"{many}{short}, {cell(data.first)} to {cell(data.last)}"


def _cut(facts: SeriesFacts) -> str:
    kind = "all steps before" if facts.train == "expanding" else "the last steps before"
    gap = f", after a gap of {facts.gap} steps" if facts.gap else ""
    return f"learnt from {kind} the cut, chosen on the steps that follow{gap}, measured on those after them"


def _limits(facts: SeriesFacts) -> list[str]:
    lines = [
        "What it says is not advice: it is a calculation from past numbers, and must not decide about money, health "
        "or safety.",
        f"Made for {facts.source.domain or 'series that were not described'}; measured on nothing else. {NO_WORDS}",
        "What has never happened in the training steps (another level, another season, a break) it does not know. "
        "Train it anew as time goes on, and measure it on the newest steps.",
        "It counts rows, not time: steps must be as far apart as in training. It has learnt from "
        f"{facts.context} rows at a time"
        + (", its state carried on." if facts.carries_state else "; give it as many."),
    ]
    if not facts.predicts_labels and facts.distribution != "point":
        lines.append("Its intervals hold as often as they did on the steps that were measured, and not more surely.")
    return lines
