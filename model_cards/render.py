"""Model cards and README tables from measured facts.

    python model_cards/render.py merge runs/lstm_snips_seed0 runs/lstm_snips_seed1 runs/lstm_snips_seed2
    python model_cards/render.py readme

`merge` joins the runs of one configuration that differ in their seed into facts/NAME.json and renders NAME.md; the
first run is the one whose weights would be published. `readme` writes the tables between the markers of README.md from
facts/ and benchmarks/results/, and the line `# Expected:` of the configurations.
"""

import argparse
import dataclasses
import json
import re
import shlex
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hfseq.cards import render_card
from hfseq.facts import CardFacts
from hfseq.metrics import SCORES

HERE = Path(__file__).parent
ROOT = HERE.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"

# What a run measures anew; all else is equal in runs that differ in their seed alone.
MEASURED = ("runs", "speed", "environment", "examples", "widgets", "comparisons", "file_mb", "command")
OF_ONE_RUN = ("--training.seed=", "--training.output_dir=")


def configuration(facts: CardFacts) -> dict[str, Any]:
    """The facts that do not depend on the seed, the folder, the machine or the time."""
    kept = {name: value for name, value in dataclasses.asdict(facts).items() if name not in MEASURED}
    words = [word for word in shlex.split(facts.command) if not word.startswith(OF_ONE_RUN)]
    return {**kept, "command": words}


def merge(folders: Iterable[Path]) -> CardFacts:
    """One card's facts from the runs in these folders, which may differ in seed, time and place alone."""
    first, *others = [CardFacts.load(folder / "facts.json") for folder in folders]
    expected = configuration(first)
    for other in others:
        if different := [name for name, value in configuration(other).items() if value != expected[name]]:
            raise ValueError(
                f"{other.command!r} is another configuration than {first.command!r}, by {', '.join(different)}: only "
                "runs that differ in their seed make one card."
            )
    return dataclasses.replace(first, runs=[run for facts in (first, *others) for run in facts.runs])


def save(facts: CardFacts) -> None:
    """Write facts/NAME.json and NAME.md."""
    facts.save(HERE / "facts" / f"{facts.name}.json")
    (HERE / f"{facts.name}.md").write_text(render_card(facts), encoding="utf-8")


def number(value: float, metric: str) -> str:
    """A score as people read it, in per cent where they do."""
    return f"{100 * value:.1f}" if SCORES[metric].is_percentage else f"{value:.3f}"


def result_of(facts: CardFacts) -> str:
    """The first score over the seeds: `97.3 ± 0.7 (0, 1, 2)`."""
    metric = facts.metric_names[0]
    values = [run.metrics[metric] for run in facts.runs]
    spread = f" ± {number(statistics.stdev(values), metric)}" if len(values) > 1 else ""
    seeds = ", ".join(str(run.seed) for run in facts.runs)
    return f"{number(statistics.mean(values), metric)}{spread} ({seeds})"


def recipe_row(facts: CardFacts) -> str:
    """A card in a row: what was run, how good, how long, how big, how fast."""
    metric = facts.metric_names[0]
    score = SCORES[metric]
    bags = [row for row in facts.comparisons if row.name.startswith("Bag of words") and row.metric == metric]
    words = number(bags[0].value, metric) if bags else "-"
    minutes = statistics.mean(run.minutes for run in facts.runs)
    return (
        f"| {facts.architecture.cell} | {facts.data.name} | {score.title}{' (%)' if score.is_percentage else ''} "
        f"| {result_of(facts)} | {words} | {minutes:.1f} "
        f"| {facts.file_mb:.1f} | {facts.speed.ms_per_text:.1f} | {facts.speed.texts_per_second:,.0f} "
        f"| [{facts.name}](model_cards/{facts.name}.md) |"
    )


def recipe_table(every: Sequence[CardFacts]) -> str:
    """A row for each card, then the command of each."""
    rows = sorted(every, key=lambda facts: (facts.data.name, facts.architecture.family, facts.name))
    lines = [
        "| model | data | score | mean ± sd (seeds) | bag of words | minutes | MB | ms a text | texts/s | card |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(recipe_row(facts) for facts in rows),
        "",
        "The commands of the first seed, row by row; the other seeds differ in `--training.seed` and",
        "`--training.output_dir` alone:",
        "",
        "```bash",
        *(facts.command for facts in rows),
        "```",
    ]
    return "\n".join(lines)


def benchmark_table() -> str:
    """A row for each measured ratio."""
    lines = ["| claim | peer | goal | ratio | command |", "|---|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        source = f"`{result['command']}`"
        lines += [
            f"| {row['claim']} | {result['peer']} | {row['goal']:.2f} | **{row['ratio']:.2f}** | {source} |"
            for row in result["rows"]
        ]
    return "\n".join(lines)


def readme_with_tables(text: str) -> str:
    """README's text with both tables, and the commands of the first, made anew between their markers."""
    every = [CardFacts.load(path) for path in (HERE / "facts").glob("*.json")]
    for name, table in (("recipes", recipe_table(every)), ("benchmarks", benchmark_table())):
        start, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md needs the line {start.strip()!r} and, after it, {end!r}, once each.")
        before, rest = text.split(start)
        text = before + start + table + "\n" + end + rest.split(end)[1]
    return text


def with_expectation(configuration: str, facts: CardFacts) -> str:
    """The text of a YAML file with its line `# Expected:` made anew."""
    minutes = statistics.mean(run.minutes for run in facts.runs)
    title = SCORES[facts.metric_names[0]].title.lower()
    line = (
        f"# Expected: {title} {result_of(facts)} on {facts.data.evaluated_split}, {minutes:.1f} minutes of training; "
        f"data and command of the measurement: model_cards/{facts.name}.md"
    )
    new, count = re.subn(r"^# Expected: .*$", line, configuration, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"the configuration of {facts.name} needs one line that begins with '# Expected: '.")
    return new


def configurations() -> dict[Path, CardFacts]:
    """The YAML file of each card."""
    every = [CardFacts.load(path) for path in (HERE / "facts").glob("*.json")]
    return {ROOT / shlex.split(facts.command)[3]: facts for facts in every}


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("merge").add_argument("folders", nargs="+", type=Path)
    commands.add_parser("readme")
    arguments = parser.parse_args()
    if arguments.command == "merge":
        save(merge(arguments.folders))
    else:
        README.write_text(readme_with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
        for path, facts in configurations().items():
            path.write_text(with_expectation(path.read_text(encoding="utf-8"), facts), encoding="utf-8")


if __name__ == "__main__":
    main()
