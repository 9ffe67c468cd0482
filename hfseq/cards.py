"""Model cards: the measured facts of a run -> a README.md with `model-index`, checked before it is written.

    facts = CardFacts(...)              # see facts.py; kept as JSON
    write_card(folder, facts)           # renders templates/model_card.md and refuses a card with defects

One template serves every model: what differs between models is a fact, never a branch.
"""

import json
import math
import os
import re
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from .facts import CardFacts, Comparison, SeedRun, WidgetLabel
from .metrics import SCORES


class Wording(NamedTuple):
    """The words of the examples of one problem type."""

    right: str
    wrong: str
    score: str
    choice: str


_CLASSIFIED = Wording("Right", "Wrong", "Confidence", "rows at equal distances among the right and the wrong ones")
_WORDING = {
    "single_label_classification": _CLASSIFIED,
    "multi_label_classification": _CLASSIFIED,
    "regression": Wording("Closest", "Furthest", "Absolute error", "the rows of smallest and of greatest error"),
}


def _number(value: float, metric: str) -> str:
    return f"{100 * value:.1f}" if SCORES[metric].is_percentage else f"{value:.3f}"


def _title_of(metric: str) -> str:
    return SCORES[metric].title + (" (%)" if SCORES[metric].is_percentage else "")


def _significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cell(text: str) -> str:
    """Make any text safe inside a markdown table, and short."""
    line = " ".join(text.split()) or "(empty text)"
    short = line if len(line) <= 200 else line[:199] + "…"
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", short.replace("&", "&amp;").replace("<", "&lt;"))


def _code(text: str) -> str:
    """Set a label as code, which tells the label "None" from a value that is missing."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _quoted(text: str) -> str:
    """Write a Python string as ruff would: in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _outputs(labels: list[WidgetLabel]) -> list[dict[str, Any]]:
    return [asdict(label) for label in labels]


def _seeds(runs: list[SeedRun]) -> str:
    seeds = [run.seed for run in runs]
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _score_text(facts: CardFacts, metric: str) -> str:
    """Write "97.1 ± 0.2 (seeds 0-2: 97.0, 97.3, 97.1)", or "97.1 (seed 0)" for one run."""
    values = [run.metrics[metric] for run in facts.runs]
    if len(values) == 1:
        return f"{_number(values[0], metric)} (seed {facts.runs[0].seed})"
    each = ", ".join(_number(value, metric) for value in values)
    spread = _number(statistics.stdev(values), metric)
    return f"{_number(facts.mean(metric), metric)} ± {spread} (seeds {_seeds(facts.runs)}: {each})"


def _spread_text(facts: CardFacts) -> str:
    if len(facts.runs) == 1:
        return "One seed was run, so the spread is unknown."
    return f"Mean ± sample standard deviation over {len(facts.runs)} seeds."


def _comparisons(facts: CardFacts) -> list[Comparison]:
    """Put this model's own row above the rows that share its metric."""
    rows = []
    for metric in dict.fromkeys(row.metric for row in facts.comparisons):
        own = Comparison(name="**This model**", metric=metric, value=facts.mean(metric), source="this card")
        rows += [own, *(row for row in facts.comparisons if row.metric == metric)]
    return rows


def _limits(facts: CardFacts) -> list[str]:
    """Write the limits that follow from the facts, then those that were given."""
    data, limits = facts.data, []
    limits.append(f"Made for {data.domain} in the language `{facts.language}`; measured on nothing else.")
    limits.append(f"Trained on texts of at most {facts.architecture.max_length} tokens; longer ones are unmeasured.")
    start = "scratch" if facts.pretrained is None else facts.pretrained
    limits.append(
        f"A small model ({facts.parameters:,} parameters), trained from {start} on {data.splits['train']:,} texts "
        f"with a vocabulary of {data.vocabulary_size:,} tokens: it knows little of the world."
    )
    limits.append("It repeats the biases of its data, and its scores are no measure of fairness or of other data.")
    if data.restriction:
        limits.append(f"The terms of the data bind its use: {data.restriction}.")
    return limits + facts.limits


def _front_matter(facts: CardFacts) -> str:
    seeds = f"mean of seeds {_seeds(facts.runs)}" if len(facts.runs) > 1 else f"seed {_seeds(facts.runs)}"
    results = [
        EvalResult(
            task_type=facts.task,
            dataset_type=facts.data.hub_id or re.sub(r"\W+", "-", facts.data.name.lower()).strip("-"),
            dataset_name=facts.data.name,
            dataset_split=facts.data.evaluated_split,
            metric_type=SCORES[metric].hub_id,
            metric_name=f"{SCORES[metric].title} ({seeds})",
            metric_value=round(facts.mean(metric), 6),
            metric_args=SCORES[metric].hub_args or None,
        )
        for metric in facts.metric_names
    ]
    data = ModelCardData(
        language=facts.language,
        license=facts.license,
        library_name="transformers",  # another name makes `pipeline(model=id)` refuse the repository
        pipeline_tag=facts.task,
        tags=["hfseq", facts.architecture.family],
        datasets=[facts.data.hub_id] if facts.data.hub_id else None,
        metrics=list(dict.fromkeys(SCORES[metric].hub_id for metric in facts.metric_names)),
        model_name=facts.name,
        eval_results=results,
        widget=[{"text": widget.text, "output": _outputs(widget.output)} for widget in facts.widgets],
    )
    return data.to_yaml()


def _template_environment() -> Environment:
    # Markdown is no HTML: `cell` and `code` escape what needs it, so autoescape stays off.
    made = Environment(
        loader=PackageLoader("hfseq"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "thousands": "{:,}".format,
        "significant": _significant,
        "number": _number,
        "title_of": _title_of,
        "cell": _cell,
        "code": _code,
        "outputs": _outputs,
        "quoted": _quoted,
    }
    return made


def render_card(facts: CardFacts) -> str:
    """Render the model card of `facts`.

    Returns:
        Markdown with YAML front matter that has passed `check_card`.
    """
    text = (
        _template_environment()
        .get_template("model_card.md")
        .render(
            facts=facts,
            front_matter=_front_matter(facts),
            scores=[{"title": _title_of(name), "text": _score_text(facts, name)} for name in facts.metric_names],
            spread=_spread_text(facts),
            seeds=_seeds(facts.runs),
            minutes=", ".join(f"{run.minutes:.1f}" for run in facts.runs),
            comparisons=_comparisons(facts),
            wording=_WORDING[facts.problem_type],
            limits=_limits(facts),
        )
    )
    check_card(text)
    return text


_REQUIRED_KEYS = ("language", "license", "library_name", "pipeline_tag", "tags", "metrics", "model-index", "widget")
_PLACEHOLDER = re.compile(
    r"\[?more information needed\]?|\b(?:TODO|TBD|FIXME|XXX)\b|lorem ipsum|\bplaceholder\b"
    r"|\byour[-_ ](?:name|model|user)|<(?:your|model|name|path)[^>]*>",
    re.IGNORECASE,
)
_MISSING_VALUE = re.compile(r"\b(?:None|NaN|nan|inf)\b")
_MACHINE_PATH = re.compile(r"(?<![\w.])(?:/(?:home|root|Users|tmp)/|[A-Z]:\\)\S*")
_LINK = re.compile(r"\]\(([^)\s]*)\)")


def check_card(text: str) -> None:
    """Refuse a card that a reader could not use.

    Raises:
        ValueError: naming every defect: front matter missing or without a required key; no licence; no finite metric
            in the model-index; None or nan as a value; words of a placeholder; paths of a machine; links that lead
            nowhere. Rows of the data under "Examples" may hold any words.
    """
    parts = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    if parts is None:
        raise ValueError("the card has no YAML front matter; start it with '---', the metadata and '---'.")
    front_matter, body = yaml.safe_load(parts[1]), parts[2]
    if not isinstance(front_matter, dict):
        raise ValueError(f"the card's front matter is no mapping of keys but {front_matter!r}.")
    prose = re.sub(r"^## Examples\n.*?(?=^## |\Z)", "", body, flags=re.DOTALL | re.MULTILINE)
    defects = [*_front_matter_defects(front_matter), *_table_defects(body), *_prose_defects(prose)]
    if defects:
        raise ValueError("the model card has defects: " + "; ".join(defects) + ". Correct the facts and render again.")


def _front_matter_defects(metadata: dict[str, Any]) -> Iterator[str]:
    for key in _REQUIRED_KEYS:
        if not metadata.get(key):
            yield f"front matter lacks {key!r}"
    if metadata.get("library_name", "transformers") != "transformers":
        yield f"library_name is {metadata['library_name']!r}, so pipeline(model=id) would refuse it"
    if "hfseq" not in (metadata.get("tags") or ["hfseq"]):
        yield "tags lack 'hfseq'"
    for path, value in _leaves(metadata, "front matter"):
        if _is_unusable(path, value):
            yield f"{path} is {value!r}"
    metrics = [metric for model in metadata.get("model-index") or [] for metric in _metrics_of(model)]
    if not any(isinstance(metric.get("value"), int | float) and math.isfinite(metric["value"]) for metric in metrics):
        yield "model-index holds no finite metric"


def _is_unusable(path: str, value: Any) -> bool:
    """Tell whether a value of the front matter says nothing; the words of a widget are free."""
    if isinstance(value, str):
        return ".widget[" not in path and bool(_MISSING_VALUE.fullmatch(value) or _PLACEHOLDER.search(value))
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _metrics_of(model: dict[str, Any]) -> list[dict[str, Any]]:
    return [metric for result in model.get("results") or [] for metric in result.get("metrics") or []]


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield (path, value) for every plain value of parsed YAML."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{path}[{index}]")
    else:
        yield path, node


def _table_defects(body: str) -> Iterator[str]:
    for line in body.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not all(cells) or {"None", "nan", "NaN", "inf"} & set(cells):
                yield f"a table row misses a value: {line!r}"


def _prose_defects(prose: str) -> Iterator[str]:
    for what, pattern in (
        ("a missing value", _MISSING_VALUE),
        ("a placeholder", _PLACEHOLDER),
        ("a machine's path", _MACHINE_PATH),
    ):
        yield from (f"{what}: {found[0]!r}" for found in pattern.finditer(prose))
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in _LINK.findall(prose):
        if target not in anchors and not re.match(r"https://[\w-]+(\.[\w-]+)+", target):
            yield f"a link that leads nowhere: {target!r}"


def write_card(folder: str | Path, facts: CardFacts) -> None:
    """Render `facts` to README.md in an existing folder; a reader sees the old card or the whole new one."""
    text = render_card(facts)
    card = Path(folder) / "README.md"
    draft = card.with_name(f".README.{os.getpid()}.md")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, card)
    finally:
        draft.unlink(missing_ok=True)
