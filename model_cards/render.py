"""Model cards and README tables from measured facts.

    python model_cards/render.py merge runs/lstm_snips_seed0 runs/lstm_snips_seed1 runs/lstm_snips_seed2
    python model_cards/render.py readme

`merge` joins the runs of one configuration that differ in their seed into facts/NAME.json and renders NAME.md; the
first run is the one whose weights would be published. `readme` writes the tables between the markers of README.md from
facts/ and benchmarks/results/.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from hfseq.cards import render_card
from hfseq.facts import CardFacts

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
RESULTS = HERE.parent / "benchmarks" / "results"


def merge(folders: Iterable[Path]) -> CardFacts:
    """One card's facts from the runs in these folders, which may differ in seed, time and place alone."""
    first, *others = [CardFacts.load(folder / "facts.json") for folder in folders]
    for other in others:
        if (other.model_id, other.parameters, other.data) != (first.model_id, first.parameters, first.data):
            raise ValueError(
                f"{other.command!r} is another model or other data than {first.command!r}: only runs that differ in "
                "their seed make one card."
            )
    return dataclasses.replace(first, runs=[run for facts in (first, *others) for run in facts.runs])


def save(facts: CardFacts) -> None:
    """Write facts/NAME.json and NAME.md."""
    facts.save(HERE / "facts" / f"{facts.name}.json")
    (HERE / f"{facts.name}.md").write_text(render_card(facts), encoding="utf-8")


def recipe_table() -> str:
    """A row for each card: what was run, how good, how long, how big, how fast."""
    lines = [
        "| model | data | accuracy, mean ± sd (seeds) | bag of words | minutes | MB | ms a text | texts/s | card |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    every = [CardFacts.load(path) for path in sorted((HERE / "facts").glob("*.json"))]
    for facts in sorted(every, key=lambda facts: (facts.data.name, facts.architecture.family)):
        values = [100 * run.metrics["accuracy"] for run in facts.runs]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        seeds = ", ".join(str(run.seed) for run in facts.runs)
        words = next(row.value for row in facts.comparisons if row.name.startswith("Bag of words"))
        minutes = statistics.mean(run.minutes for run in facts.runs)
        lines.append(
            f"| {facts.architecture.cell} | {facts.data.name} | {statistics.mean(values):.1f}{spread} ({seeds}) "
            f"| {100 * words:.1f} | {minutes:.1f} | {facts.file_mb:.1f} | {facts.speed.ms_per_text:.1f} "
            f"| {facts.speed.texts_per_second:,.0f} | [{facts.name}](model_cards/{facts.name}.md) |"
        )
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
    """README's text with both tables made anew between their markers."""
    for name, table in (("recipes", recipe_table()), ("benchmarks", benchmark_table())):
        start, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md needs the line {start.strip()!r} and, after it, {end!r}, once each.")
        before, rest = text.split(start)
        text = before + start + table + "\n" + end + rest.split(end)[1]
    return text


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


if __name__ == "__main__":
    main()
