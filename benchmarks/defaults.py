"""Text classifiers of which nobody says more than data and minutes, on random cuts, beside the TF-IDF regression.

    python benchmarks/defaults.py --data=data --results=results.jsonl             # two minutes a run, 20 runs
    python benchmarks/defaults.py --data=data --results=results.jsonl --whole     # five minutes on each whole set
    python benchmarks/defaults.py --data=data --results=results.jsonl --configurations    # what a settings file says

`--data` has the folders sst2, ag_news and snips with `train.parquet`, `test.parquet` and perhaps
`validation.parquet`, columns `text` and `label`. Each finished run is a line of the results; a sweep that was stopped
goes on with the runs that have none; `model_cards/render.py tables` makes the table. The
commit and the load of the machine are in each line: a clock that stops a training gives less of it on a busy machine.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hfseq.cards.facts import SAME_RUN
from hfseq.cards.render import load_facts

ROOT = Path(__file__).parents[1]
CUTS = {"sst2": (2_000, 10_000), "ag_news": (2_000, 10_000), "snips": (2_000,)}
MODELS, SEEDS = ("gru", "auto"), (0, 1)
CONFIGURATION = "configuration"  # the settings file of a GRU on the same data, whose epochs fit all of their rows
MINUTES, WHOLE_MINUTES = 2.0, 5.0
# Nothing but what a person must say; `data`, `model` and `budget` come with each run.
CONFIG = """\
data: {seed: 0}
card:
  model_id: hfseq/defaults
  summary: Sorts texts.
  data_name: texts
  data_license: see the data
  data_domain: texts
  ask: [some text]
training: {use_cpu: true, report_to: none, disable_tqdm: true}
"""


class Job(NamedTuple):
    """One run: rows of None are all."""

    data: str
    rows: int | None
    seed: int
    model: str
    minutes: float


def jobs(*, whole: bool, models: tuple[str, ...] = MODELS) -> Iterator[Job]:
    """Return the runs of a sweep, all models of a cut one after the other."""
    if whole:
        yield from (Job(data, None, 0, model, WHOLE_MINUTES) for data in CUTS for model in models)
        return
    for data, cuts in CUTS.items():
        for rows in cuts:
            for seed in SEEDS:
                yield from (Job(data, rows, seed, model, MINUTES) for model in models)


def run(job: Job, data: Path) -> dict[str, Any]:
    """Train with the recipe, in a process of its own, and return a line of the results."""
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch, "config.yaml")
        config.write_text(CONFIG, encoding="utf-8")
        files = {split: str(data / job.data / f"{split}.parquet") for split in ("train", "validation", "test")}
        files = {split: file for split, file in files.items() if Path(file).is_file()}
        cut = [] if job.rows is None else [f"--data.train_rows={job.rows}"]
        sections = {
            "data.path": json.dumps(files),
            "data.seed": job.seed,
            "training.seed": job.seed,
            "training.output_dir": f"{scratch}/run",
            "model.type": job.model,
            "budget.minutes": job.minutes,
        }
        if job.model == CONFIGURATION:
            config = ROOT / f"recipes/configs/text_classification/gru_{job.data}.yaml"
            del sections["model.type"], sections["budget.minutes"]
            sections |= {"training.use_cpu": "true", "data.text_column": "text", "data.label_column": "label"}
            sections["data.splits"] = json.dumps({split: split for split in files})
        words = [f"--{name}={value}" for name, value in sections.items()]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        recipe = [sys.executable, str(ROOT / "recipes/text_classification.py"), "--config", str(config)]
        subprocess.run([*recipe, *cut, *words], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        facts: Any = load_facts(Path(scratch, "run/facts.json"))
    metric = facts.metric_names[0]
    return {
        **job._asdict(),
        "metric": metric,
        "score": facts.mean(metric),
        "peers": {r.name: r.value for r in facts.comparisons if r.source == SAME_RUN and r.metric == metric},
        "candidates": {row.name: row.score for row in facts.candidates},
        "kept": next((row.name for row in facts.candidates if row.is_kept), job.model),
        "wall_minutes": facts.runs[0].minutes,
        "cpu_minutes": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60,
        "load": os.getloadavg()[0],
        "commit": _commit(),
    }


def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def read_results(path: Path) -> dict[Job, dict[str, Any]]:
    """Return the finished runs of a file; there may be none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [json.loads(line) for line in lines]
    return {Job(**{name: row[name] for name in Job._fields}): row for row in found}


def main() -> None:
    """Go on with a sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder of the data sets")
    parser.add_argument("--results", type=Path, required=True, help="a file of JSON lines")
    parser.add_argument("--whole", action="store_true", help="the whole sets, once each, in place of the cuts")
    parser.add_argument("--configurations", action="store_true", help="settings files in place of the defaults")
    given = parser.parse_args()
    for job in jobs(whole=given.whole, models=(CONFIGURATION,) if given.configurations else MODELS):
        if job not in read_results(given.results):
            row = run(job, given.data)
            with given.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
