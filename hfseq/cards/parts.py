"""What the cards of all kinds of models share: how numbers and names are written, the metadata, common limits."""

import json
import re
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ..evaluation.scores import Score
from .checks import NO_LANGUAGE
from .facts import Example, Examples, Facts, NetworkFacts, SeedRun


def number(value: float, score: Score) -> str:
    """Write a score as people read it, in per cent where they do."""
    return f"{100 * value:.1f}" if score.is_percentage else f"{value:.{score.decimals}f}"


def title(score: Score) -> str:
    """Name a score, with its unit."""
    return score.title + (" (%)" if score.is_percentage else "")


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """Write a share that is not 0."""
    return f"{100 * share:.1f} %" if share >= 0.0005 else "less than 0.1 %"


def cell(text: str) -> str:
    """Make any text safe inside a markdown table, and short."""
    line = " ".join(text.split()) or "(empty text)"
    short = line if len(line) <= 200 else line[:199] + "…"
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", short.replace("&", "&amp;").replace("<", "&lt;"))


def code(text: str) -> str:
    """Set a label as code, which tells the label "None" from a value that is missing."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def quoted(value: Any) -> str:
    """Write a Python string, or a list or dictionary of strings, as ruff would: in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def inline(text: str) -> str:
    """Keep the links of a text, but nothing that would end its table cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def slug(name: str) -> str:
    """Write a name as an id, for data that have none on the Hub."""
    return re.sub(r"\W+", "-", name.lower()).strip("-")


def seeds_text(runs: Sequence[SeedRun]) -> str:
    """Write the seeds as "0-2" or "0, 3, 7"."""
    seeds = [run.seed for run in runs]
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def mean_text(facts: Facts, metric: str) -> str:
    """Write a score over the seeds: "97.1 ± 0.2", or "97.1" for one run."""
    score, values = facts.score_of(metric), [run.metrics[metric] for run in facts.runs]
    spread = f" ± {number(statistics.stdev(values), score)}" if len(values) > 1 else ""
    return number(facts.mean(metric), score) + spread


def score_text(facts: Facts, metric: str) -> str:
    """Write "97.1 ± 0.2 (seeds 0-2: 97.0, 97.3, 97.1)", or "97.1 (seed 0)" for one run."""
    if len(facts.runs) == 1:
        return f"{mean_text(facts, metric)} (seed {facts.runs[0].seed})"
    each = ", ".join(number(run.metrics[metric], facts.score_of(metric)) for run in facts.runs)
    return f"{mean_text(facts, metric)} (seeds {seeds_text(facts.runs)}: {each})"


def spread_text(facts: Facts) -> str:
    """Say what stands behind a ±."""
    if len(facts.runs) == 1:
        return "One seed was run, so the spread is unknown."
    return f"Mean ± sample standard deviation over {len(facts.runs)} seeds."


def comparison_rows(facts: Facts) -> list[str]:
    """Put this model's own row above the rows that share its metric; names and sources are safe inside the table."""
    rows = []
    for metric in dict.fromkeys(row.metric for row in facts.comparisons):
        score = facts.score_of(metric)
        own = ("**This model**", facts.mean(metric), "this card")
        others = [(cell(row.name), row.value, inline(row.source)) for row in facts.comparisons if row.metric == metric]
        for name, value, source in (own, *others):
            rows.append(f"{name} | {title(score)} | {number(value, score)} | {source}")
    return rows


def example_tables(
    examples: Examples, right: str, wrong: str, row: Callable[[Example], list[str]]
) -> list[tuple[str, list[str]]]:
    """Write the titles and the rows of the tables of examples; `row` makes safe cells."""
    tables = ((right, examples.right), (wrong, examples.wrong))
    return [(name, [" | ".join(row(each)) for each in rows]) for name, rows in tables]


UNNAMED = "data without a name"


def made(facts: Facts, preposition: str) -> str:
    """Say which texts the model was made for, or from."""
    texts = facts.source.domain or "texts that were not described"
    return f"Made {preposition} {texts} {in_language(facts)}; measured on nothing else."


def in_language(facts: Facts) -> str:
    """Name the languages of the texts, or say that nobody did."""
    codes = " and ".join(f"`{code}`" for code in facts.languages)
    return f"in the language{'s' if len(facts.languages) > 1 else ''} {codes}" if codes else NO_LANGUAGE


def smallness(facts: Facts, start: str | None, trained_on: str) -> str:
    """Say how little the model has learnt from; `start` names weights that came from elsewhere."""
    return f"A small model ({facts.parameters:,} parameters), trained from {start or 'scratch'} on {trained_on}"


def shared_limits(facts: Facts) -> list[str]:
    """Write the limits that every card has, and add those that were given."""
    limits = ["It repeats the biases of its data, and its scores are no measure of fairness or of other data."]
    if facts.source.restriction:
        limits.append(f"The terms of the data bind its use: {facts.source.restriction}.")
    if facts.license_name:
        limits.append(f"The licence of the weights is [{facts.license_name}]({facts.license_link}).")
    return [*limits, *facts.limits]


def result(facts: Facts, metric: str, **about: Any) -> EvalResult:
    """Make a score's entry in the `model-index`; `about` has the task and the data set, see `EvalResult`."""
    score, seeds = facts.score_of(metric), seeds_text(facts.runs)
    return EvalResult(
        metric_type=score.hub_id,
        metric_name=f"{score.title} ({f'mean of seeds {seeds}' if len(facts.runs) > 1 else f'seed {seeds}'})",
        metric_value=round(facts.mean(metric), 6),
        metric_args=score.hub_args or None,
        **about,
    )


def front_matter(facts: Facts, task: str, tags: Sequence[str], results: list[EvalResult], **more: Any) -> str:
    """Write the card's metadata; `results` are the scores that the card shows, `more` other keys."""
    hub_id, languages = facts.source.hub_id, facts.languages
    data = ModelCardData(
        language=languages[0] if len(languages) == 1 else languages or None,
        license=facts.license,
        license_name=facts.license_name,
        license_link=facts.license_link,
        library_name="transformers",  # another name makes `pipeline(model=id)` refuse the repository
        pipeline_tag=task,
        tags=["hfseq", *tags],
        datasets=[hub_id] if hub_id else None,
        metrics=list(dict.fromkeys(each.metric_type for each in results)) or None,
        model_name=facts.name,
        eval_results=results or None,
        **more,
    )
    return data.to_yaml()


def network_view(
    facts: NetworkFacts, task: str, *, tags: Sequence[str] = (), metrics: Sequence[str] | None = None, **more: Any
) -> dict[str, Any]:
    """Gather what the templates of all networks show: the metadata, and scores of the evaluated split.

    `tags` stand beside the family, `metrics` are the scores to show (None: all), `more` other keys of the metadata.
    """
    data, split, shown = facts.data, facts.data.evaluated_split, facts.metric_names if metrics is None else metrics
    name = data.name or UNNAMED
    about = {"dataset_type": data.hub_id or slug(name), "dataset_name": name, "dataset_split": split}
    results = [result(facts, name, task_type=task, **about) for name in shown]
    return {
        "front_matter": front_matter(facts, task, [facts.family, *tags], results, **more),
        "task": task,
        "scores": [(title(facts.score_of(name)), split, score_text(facts, name)) for name in shown],
    }
