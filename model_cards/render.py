"""Model cards, and the tables of README and docs/, from measured facts.

    python model_cards/render.py merge runs/lstm_snips_seed0 runs/lstm_snips_seed1 runs/lstm_snips_seed2
    python model_cards/render.py tables

`merge` joins the runs of one configuration that differ in their seed into facts/NAME.json and renders NAME.md; the
first run is the one whose weights would be published. `tables` writes the tables between the markers of README.md,
docs/results.md and docs/benchmarks.md from facts/ and benchmarks/results/, and the line `# Expected:` of the
configurations. Both know every kind of model.
"""

import argparse
import dataclasses
import json
import re
import shlex
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hfseq.cards.facts import Facts
from hfseq.cards.render import load_facts, render_card, task_of
from hfseq.cards.table import best_table, markdown_table, minutes_text
from hfseq.tasks import TASKS

HERE = Path(__file__).parent
ROOT = HERE.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
DEFAULTS = RESULTS / "defaults.jsonl"
LANGUAGE_DEFAULTS = RESULTS / "language_defaults.jsonl"
PAIRS = RESULTS / "pairs.json"
SETS = {"sst2": "SST-2", "ag_news": "AG News", "snips": "SNIPS"}
BEFORE = "configuration"
OF_ONE_RUN = ("--training.seed=", "--training.output_dir=")


def configuration(facts: Facts) -> dict[str, Any]:
    """Return the facts that do not depend on the seed, the folder, the machine or the time."""
    kept = {
        item.name: getattr(facts, item.name) for item in dataclasses.fields(facts) if "measured" not in item.metadata
    }
    words = [word for word in shlex.split(facts.command) if not word.startswith(OF_ONE_RUN)]
    return {**kept, "command": words}


def merge(folders: Iterable[Path]) -> Facts:
    """Make one card's facts from the runs in these folders, which may differ in seed, time and place alone."""
    first, *others = [load_facts(folder / "facts.json") for folder in folders]
    expected = configuration(first)
    for other in others:
        if type(other) is not type(first):
            raise ValueError(f"{other.command!r} made another kind of model than {first.command!r}.")
        if different := [name for name, value in configuration(other).items() if value != expected[name]]:
            raise ValueError(
                f"{other.command!r} is another configuration than {first.command!r}, by {', '.join(different)}: only "
                "runs that differ in their seed make one card."
            )
    return dataclasses.replace(first, runs=[run for facts in (first, *others) for run in facts.runs])


def save(facts: Facts) -> None:
    """Write facts/NAME.json and NAME.md."""
    facts.save(HERE / "facts" / f"{facts.name}.json")
    (HERE / f"{facts.name}.md").write_text(render_card(facts), encoding="utf-8")


def benchmark_table() -> str:
    """Write a row for each measured ratio."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        if path == PAIRS:
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        for row in result["rows"]:
            peer, ratio = row.get("peer", result["peer"]), f"**{row['ratio']:.2f}**"
            rows.append([row["claim"], peer, f"{row['goal']:.2f}", ratio, f"`{result['command']}`"])
    return markdown_table(["claim", "peer", "goal", "ratio", "command"], rows)


def defaults_table() -> str:
    """Write what the defaults of `hfseq train` reach, from the runs of benchmarks/defaults.py, a row a cut."""
    runs = _lines(DEFAULTS)
    if not runs:
        return "The defaults have not been measured yet."
    cuts: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for run in runs:
        cuts.setdefault((SETS[run["data"]], _size(run), f"{run['minutes']:g}"), []).append(run)
    models = [name for name in (BEFORE, "gru", "auto") if any(run["model"] == name for run in runs)]
    rows = [_cut_row(cut, models, found) for cut, found in cuts.items()]
    titles = ["data", "rows", "minutes", "seeds", "TF-IDF", *models]
    return f"{markdown_table(titles, rows)}\n\n{_against_peer(runs)}"


def _cut_row(cut: tuple[str, str, str], models: list[str], found: list[dict[str, Any]]) -> list[str]:
    """Write the mean over seeds of the peer and of each model."""
    peer = 100 * statistics.mean(max(run["peers"].values()) for run in found)
    seeds = ", ".join(sorted({str(run["seed"]) for run in found}))
    cells = []
    for model in models:
        own = [run for run in found if run["model"] == model]
        score = 100 * statistics.mean(run["score"] for run in own) if own else None
        kept = f" ({', '.join(run['kept'] for run in own)})" if model == "auto" else ""
        cells.append("-" if score is None else f"{score:.1f}{kept}")
    return [*cut, seeds, f"{peer:.1f}", *cells]


def _against_peer(runs: list[dict[str, Any]]) -> str:
    """Write the mean difference of each model, and every single run of `auto` that is behind."""
    apart = [(run, 100 * (run["score"] - max(run["peers"].values()))) for run in runs]
    models = dict.fromkeys(run["model"] for run, _ in apart)
    means = {name: statistics.mean(gap for run, gap in apart if run["model"] == name) for name in models}
    told = ", ".join(f"{name} {mean:+.2f}" for name, mean in means.items())
    behind = [
        f"{SETS[run['data']]} {_size(run)} seed {run['seed']} ({gap:+.1f})"
        for run, gap in apart
        if run["model"] == "auto" and gap < 0
    ]
    return f"Mean difference from TF-IDF: {told}. Runs of `auto` below it: {', '.join(behind) or 'none'}."


def language_defaults_table() -> str:
    """Write what language models with default settings reach, from the runs of benchmarks/language_defaults.py."""
    runs = _lines(LANGUAGE_DEFAULTS)
    if not runs:
        return "The defaults have not been measured yet."
    rows = [
        [
            run["data"],
            str(run["seed"]),
            *(f"{run[name]:.3f}" for name in ("bits_per_character", "5-gram", "network alone")),
        ]
        for run in runs
    ]
    return markdown_table(["data", "seed", "bits per character", "5-gram", "the network alone"], rows)


def _size(run: dict[str, Any]) -> str:
    return "all" if run["rows"] is None else f"{run['rows']:,}"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def pairs_table() -> str:
    """Write what models of two texts reach beside the simple systems, from what benchmarks/pairs.py has gathered."""
    found, commands = json.loads(PAIRS.read_text(encoding="utf-8"))["rows"], []
    rows = []
    for row in found:
        means = [statistics.mean(run[score] for run in row["runs"]) for score in ("pearson", "spearman", "mse")]
        values = [f"{100 * means[0]:.1f}", f"{100 * means[1]:.1f}", f"{means[2]:.2f}"]
        seeds = ", ".join(str(run["seed"]) for run in row["runs"] if "seed" in run) or "-"
        rows.append([row["name"], seeds, *values])
        commands += [] if row["command"] is None else [f"- {row['name']}: `{row['command']}`"]
    titles = ["model", "seeds", "Pearson x 100", "Spearman x 100", "mean squared error"]
    return "\n".join([markdown_table(titles, rows), "", *commands])


def published() -> list[Facts]:
    """Read the facts of every card."""
    return [load_facts(path) for path in sorted((HERE / "facts").glob("*.json"))]


def result_tables() -> dict[str, str]:
    """Return the table of each task, by the name between whose markers it stands."""
    every = published()
    return {
        task.table.name: task.table.render(facts for facts in every if isinstance(facts, task.facts))
        for task in TASKS.values()
    }


def pages() -> dict[Path, dict[str, str]]:
    """Return which tables each page has."""
    return {
        README: {"best results": best_table(published())},
        DOCS / "results.md": {
            **result_tables(),
            **{"defaults": defaults_table(), "language defaults": language_defaults_table(), "pairs": pairs_table()},
        },
        DOCS / "benchmarks.md": {"benchmarks": benchmark_table()},
    }


def with_tables(page: str, text: str, tables: Mapping[str, str]) -> str:
    """Return the text of a page with its tables, and the commands that made their rows, anew between their markers."""
    for name, made in tables.items():
        start, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"{page} needs the line {start.strip()!r} and, after it, {end!r}, once each.")
        before, rest = text.split(start)
        text = before + start + made + "\n" + end + rest.split(end)[1]
    return text


def with_expectation(configuration: str, facts: Facts) -> str:
    """Return the text of a YAML file with its line `# Expected:` made anew."""
    expected = task_of(facts.kind).table.expectation(facts)
    line = (
        f"# Expected: {expected}, {minutes_text(facts)} minutes of training; "
        f"data and command of the measurement: model_cards/{facts.name}.md"
    )
    new, count = re.subn(r"^# Expected: .*$", line, configuration, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"the configuration of {facts.name} needs one line that begins with '# Expected: '.")
    return new


def configurations() -> dict[Path, Facts]:
    """Find the YAML file of each card."""
    return {ROOT / shlex.split(facts.command)[3]: facts for facts in published()}


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("merge").add_argument("folders", nargs="+", type=Path)
    commands.add_parser("tables")
    arguments = parser.parse_args()
    if arguments.command == "merge":
        save(merge(arguments.folders))
    else:
        for page, tables in pages().items():
            page.write_text(with_tables(page.name, page.read_text(encoding="utf-8"), tables), encoding="utf-8")
        for path, facts in configurations().items():
            path.write_text(with_expectation(path.read_text(encoding="utf-8"), facts), encoding="utf-8")


if __name__ == "__main__":
    main()
