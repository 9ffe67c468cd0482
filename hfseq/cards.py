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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
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


def _inline(text: str) -> str:
    """Keep the links of a text, but nothing that would end its table cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


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
    """Put this model's own row above the rows that share its metric; names and sources are safe inside the table."""
    others = [replace(row, name=_cell(row.name), source=_inline(row.source)) for row in facts.comparisons]
    rows = []
    for metric in dict.fromkeys(row.metric for row in others):
        own = Comparison(name="**This model**", metric=metric, value=facts.mean(metric), source="this card")
        rows += [own, *(row for row in others if row.metric == metric)]
    return rows


def _shown_metrics(facts: CardFacts) -> list[str]:
    """Leave Micro F1 out where every text has one label: there it is the accuracy under another name."""
    one_label = facts.problem_type == "single_label_classification"
    repeated = {"f1_micro"} if one_label and "accuracy" in facts.metric_names else set()
    return [name for name in facts.metric_names if name not in repeated]


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
    if facts.license_name:
        limits.append(f"The licence of the weights is [{facts.license_name}]({facts.license_link}).")
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
        for metric in _shown_metrics(facts)
    ]
    data = ModelCardData(
        language=facts.language,
        license=facts.license,
        license_name=facts.license_name,
        license_link=facts.license_link,
        library_name="transformers",  # another name makes `pipeline(model=id)` refuse the repository
        pipeline_tag=facts.task,
        tags=["hfseq", facts.architecture.family],
        datasets=[facts.data.hub_id] if facts.data.hub_id else None,
        metrics=list(dict.fromkeys(SCORES[metric].hub_id for metric in _shown_metrics(facts))),
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

    Raises:
        ValueError: naming the facts that say nothing, or the defects of the card.
    """
    _check_facts(facts)
    text = (
        _template_environment()
        .get_template("model_card.md")
        .render(
            facts=facts,
            front_matter=_front_matter(facts),
            scores=[{"title": _title_of(name), "text": _score_text(facts, name)} for name in _shown_metrics(facts)],
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
    r"(?i:\[?more information needed\]?|lorem ipsum|\byour[-_](?:name|model|user)|<(?:your|model|name|path)[^>]*>)"
    r"|\b(?:TODO|TBD|FIXME|XXX)\b"  # in capitals: a todo list is a thing that people talk of
)
_MISSING_VALUE = re.compile(r"(?<![\w.-])(?:None|NaN|nan|inf)(?![\w-]|\.\w)")
_MACHINE_PATH = re.compile(r"(?<![\w.])(?:/(?:home|root|Users|tmp)/|[A-Z]:\\)\S*")
_LINK = re.compile(r"\]\(([^)\s]*)\)")
_ADDRESS = re.compile(r"https://[\w-]+(\.[\w-]+)+")

# What a person or the data wrote may hold any word ("call my nan"); only the rest of a card shows values.
_EXAMPLES = re.compile(r"^## Examples\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_SNIPPET = re.compile(r"^```python\n.*?^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"^```\w*\n.*?^```$", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^(?:- \*\*(?!Data:)[\w ]+:\*\* .*|\| [^|]+ \| [^|]+ \|)$", re.MULTILINE)
_FREE_FACTS = re.compile(r"facts\.(?:command|examples|widgets)\b")


def check_words(words: Mapping[str, str]) -> None:
    """Refuse what a person wrote for a card if the card could not show it; cheap, so ask before the training.

    Args:
        words: Where each text was given, and the text.

    Raises:
        ValueError: naming every text that is empty, says None or nan and nothing else, or holds words of a
            placeholder, a path of a machine or a link that is no https:// address.
    """
    defects = [f"{where} has {defect}" for where, text in words.items() for defect in _word_defects(text)]
    if defects:
        raise ValueError("the model card could not say this: " + "; ".join(defects) + ". Write it anew.")


def _word_defects(text: str) -> Iterator[str]:
    if not text.strip() or _MISSING_VALUE.fullmatch(text.strip()):
        yield f"no value: {text!r}"
    yield from _found(text, "a placeholder", _PLACEHOLDER)
    yield from _found(text, "a machine's path", _MACHINE_PATH)
    yield from _link_defects(text, anchors=set())


def _check_facts(facts: CardFacts) -> None:
    """Refuse facts that say nothing; their types have been checked when they were made."""
    leaves = list(_leaves(asdict(facts), "facts"))
    for path, value in leaves:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{path} is {value!r}, and a card shows numbers alone; measure it again.")
    check_words({path: value for path, value in leaves if isinstance(value, str) and not _FREE_FACTS.match(path)})


def check_card(text: str) -> None:
    """Refuse a card that a reader could not use.

    Raises:
        ValueError: naming every defect: front matter missing or without a required key; no licence; no finite metric
            in the model-index; None or nan as a value; words of a placeholder; paths of a machine; links that lead
            nowhere. The sentences asked, the labels and the rows under "Examples" may hold any words.
    """
    parts = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    if parts is None:
        raise ValueError("the card has no YAML front matter; start it with '---', the metadata and '---'.")
    front_matter, body = yaml.safe_load(parts[1]), parts[2]
    if not isinstance(front_matter, dict):
        raise ValueError(f"the card's front matter is no mapping of keys but {front_matter!r}.")
    shown = _SNIPPET.sub("", _EXAMPLES.sub("", body))
    prose = _CODE.sub("", shown)
    defects = [
        *_front_matter_defects(front_matter),
        *_table_defects(prose),
        *_prose_defects(prose),
        *_found(shown, "a machine's path", _MACHINE_PATH),
    ]
    if defects:
        raise ValueError("the model card has defects: " + "; ".join(defects) + ". Correct the facts and render again.")


def _front_matter_defects(metadata: dict[str, Any]) -> Iterator[str]:
    for key in _REQUIRED_KEYS:
        if not metadata.get(key):
            yield f"front matter lacks {key!r}"
    if metadata.get("library_name", "transformers") != "transformers":
        yield f"library_name is {metadata['library_name']!r}, so pipeline(model=id) would refuse it"
    if metadata.get("license") == "other" and not (metadata.get("license_name") and metadata.get("license_link")):
        yield "license 'other' lacks license_name or license_link"
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
    for line in _FIELD.findall(prose):
        yield from _found(line, "a missing value", _MISSING_VALUE)
    yield from _found(prose, "a placeholder", _PLACEHOLDER)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    yield from _link_defects(prose, anchors)


def _found(text: str, what: str, pattern: re.Pattern[str]) -> Iterator[str]:
    yield from (f"{what}: {match[0]!r}" for match in pattern.finditer(text))


def _link_defects(text: str, anchors: set[str]) -> Iterator[str]:
    for target in _LINK.findall(text):
        if target not in anchors and not _ADDRESS.match(target):
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
