"""The tables of measured models in README and docs/: columns, those that several tables have, how rows are written."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .facts import SAME_RUN, Comparison, Facts
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
CARD: Column = ("card", lambda facts: f"[{facts.name}](../model_cards/{facts.name}.md)")  # as seen from docs/


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
    """The table of docs/results.md that has a row for each card of a task."""

    name: str  # what the rows are, e.g. "taggers"; the page has the table between the markers of this name
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
            f"`--training.output_dir` alone:\n\n"
            f"<!-- not run: minutes each, most of them on real data -->\n```bash\n{commands}\n```"
        )


def simple_peer(facts: Facts) -> Comparison | None:
    """Return the best of the simple systems that the run measured beside its own, by the score that people quote."""
    score = facts.score_of(facts.metric_names[0]) if facts.metric_names else None
    rows = [
        row
        for row in facts.comparisons
        if row.source == SAME_RUN and row.metric == facts.metric_names[0] and not row.name.startswith("The same")
    ]
    if score is None or not rows:
        return None
    return (max if score.greater_is_better else min)(rows, key=lambda row: row.value)


def _lead(facts: Facts, peer: Comparison) -> float:
    """How far the mean of the runs is ahead of the peer; negative where it is behind."""
    sign = 1 if facts.score_of(peer.metric).greater_is_better else -1
    return _merit(facts, peer) - sign * peer.value


def _merit(facts: Facts, peer: Comparison) -> float:
    """Return the mean of the runs, negative where less is better: peers differ from card to card, rows do not."""
    mean = statistics.mean(run.metrics[peer.metric] for run in facts.runs)
    return mean if facts.score_of(peer.metric).greater_is_better else -mean


def best_table(cards: Iterable[Facts]) -> str:
    """Write README's table: the best model of each data set and score beside its simple peer, and what is behind."""
    measured = [(facts, peer) for facts in cards if (peer := simple_peer(facts)) is not None]
    best: dict[tuple[str, str, str], tuple[Facts, Comparison]] = {}
    for facts, peer in measured:
        place = (facts.kind, facts.source.name or UNNAMED, peer.metric)
        if place not in best or _merit(facts, peer) > _merit(*best[place]):
            best[place] = facts, peer
    rows = []
    for facts, peer in sorted(best.values(), key=lambda pair: (pair[0].source.name or UNNAMED, pair[1].metric)):
        score = facts.score_of(peer.metric)
        theirs = f"{number(peer.value, score)} ({peer.name})"
        card = f"[{facts.name}](model_cards/{facts.name}.md)"
        ahead = "ahead" if _lead(facts, peer) > 0 else "**behind**"
        rows.append([facts.source.name or UNNAMED, title(score), result_text(facts, peer.metric), theirs, ahead, card])
    table = markdown_table(["data", "score", "best model, mean ± sd (seeds)", "simple peer", "", "card"], rows)
    behind = [
        f"{facts.name} ({number(statistics.mean(run.metrics[peer.metric] for run in facts.runs), score)} against "
        f"{number(peer.value, score)})"
        for facts, peer in measured
        if _lead(facts, peer) < 0 and (score := facts.score_of(peer.metric))
    ]
    return f"{table}\n\nBehind their simple peer, of {len(measured)} models measured: {', '.join(behind) or 'none'}."
