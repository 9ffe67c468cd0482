"""README's tables of measured models: columns, those that several tables have, and how rows are written."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .facts import SAME_RUN, Facts
from .parts import UNNAMED, mean_text, number, title

Column = tuple[str, Callable[[Any], str]]  # title, and what a card's facts say below it


def result_text(facts: Facts, metric: str) -> str:
    """Write a score and its seeds: `97.3 ± 0.7 (0, 1, 2)`."""
    return f"{mean_text(facts, metric)} ({', '.join(str(run.seed) for run in facts.runs)})"


def minutes_text(facts: Facts) -> str:
    """Write the mean time of a run to a tenth of a minute; what rounds to none did take some time."""
    minutes = f"{statistics.mean(run.minutes for run in facts.runs):.1f}"
    return "< 0.1" if minutes == "0.0" else minutes


def rival_text(facts: Facts, metric: str, name: str, *, named: bool = False) -> str:
    """Write the score of the last system measured beside it whose name holds `name`, or `-` if there is none."""
    beside = [row for row in facts.comparisons if row.source == SAME_RUN and row.metric == metric]
    rows = [row for row in beside if name in row.name]
    if not rows:
        return "-"
    return number(rows[-1].value, facts.score_of(metric)) + (f" ({rows[-1].name})" if named else "")


def first_result(facts: Any) -> str:
    """Write what a run is expected to score: the score that people quote."""
    name = facts.score_of(facts.metric_names[0]).title.lower()
    return f"{name} {result_text(facts, facts.metric_names[0])} on {facts.data.evaluated_split}"


DATA: Column = ("data", lambda facts: facts.source.name or UNNAMED)
SPLIT: Column = ("split", lambda facts: facts.data.evaluated_split)
SCORE: Column = ("score", lambda facts: title(facts.score_of(facts.metric_names[0])))
RESULT: Column = ("mean ± sd (seeds)", lambda facts: result_text(facts, facts.metric_names[0]))
PARAMETERS: Column = ("parameters", lambda facts: f"{facts.parameters:,}")
MINUTES: Column = ("minutes", minutes_text)
MEGABYTES: Column = ("MB", lambda facts: f"{facts.file_mb:.1f}")
MS_A_TEXT: Column = ("ms a text", lambda facts: f"{facts.speed.ms_per_text:.1f}")
TEXTS_A_SECOND: Column = ("texts/s", lambda facts: f"{facts.speed.texts_per_second:,.0f}")
CARD: Column = ("card", lambda facts: f"[{facts.name}](model_cards/{facts.name}.md)")


def labelled_columns(rival: str) -> tuple[Column, ...]:
    """Return the columns of models of labelled texts; `rival` is the name of the system that each is compared with."""
    return (
        ("model", lambda facts: facts.architecture.cell),
        *(DATA, SCORE, RESULT),
        (rival.lower(), lambda facts: rival_text(facts, facts.metric_names[0], rival)),
        *(MINUTES, MEGABYTES, MS_A_TEXT, TEXTS_A_SECOND, CARD),
    )


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in markdown."""
    head, *body = [f"| {' | '.join(row)} |" for row in (titles, *rows)]
    return "\n".join([head, "|" + "---|" * len(titles), *body])


@dataclass(frozen=True)
class ResultsTable:
    """The table of README that has a row for each card of a task."""

    name: str  # what the rows are, e.g. "taggers"; README has the table between the markers of this name
    columns: Sequence[Column]
    expectation: Callable[[Any], str] = first_result  # what a run is expected to score, from the facts of one card

    def render(self, cards: Iterable[Facts]) -> str:
        """Write a row for each card, then the command of each; a sentence while there is none."""
        cards = sorted(cards, key=lambda facts: (facts.source.name or "", facts.family, facts.name))
        if not cards:
            return f"No {self.name} have been measured yet."
        rows = [[text(facts) for _, text in self.columns] for facts in cards]
        commands = "\n".join(facts.command for facts in cards)
        return (
            f"{markdown_table([title for title, _ in self.columns], rows)}\n\n"
            "The commands of the first seed, row by row; the other seeds differ in `--training.seed` and\n"
            f"`--training.output_dir` alone:\n\n```bash\n{commands}\n```"
        )
