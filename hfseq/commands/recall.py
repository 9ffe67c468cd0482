"""`hfseq recall`: which model remembers the first symbol of a text, and for how long; or how its gradient flows."""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from ..insight.plots.gradient_flow import gradient_flow
from ..insight.plots.recall import plot_recall
from ..insight.recall import CHANCE, PROBED, RecallTable, recall_flows, recall_probe


def run(options: argparse.Namespace) -> None:
    """Train and ask, or measure the gradients of untrained models; print a table, and write it and a picture."""
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    models = list(PROBED) if options.models is None else options.models
    if options.flow:
        _flow(models, max(options.distances), options.seeds[0], folder)
    else:
        _recall(models, options, folder)


def _recall(models: list[str], options: argparse.Namespace, folder: Path) -> None:
    table = RecallTable([], options.steps)
    began = time.perf_counter()
    for found in recall_probe(models, options.distances, options.seeds, options.steps):
        table.runs.append(found)
        answers = ", ".join(f"{100 * right:.0f}% at {distance}" for distance, right in found.accuracy.items())
        print(f"{found.model}, seed {found.seed}: {answers} ({time.perf_counter() - began:.0f} s)", flush=True)
    rows = [asdict(found) for found in table.runs]
    text = json.dumps({"steps": options.steps, "chance": CHANCE, "runs": rows}, indent=2)
    (folder / "recall.json").write_text(text + "\n", encoding="utf-8")
    plot_recall(table, CHANCE, folder / "recall.png")
    print(f"\n{table}\n\npercent of right answers; pictures and numbers: {folder / 'recall.png'}, recall.json")


def _flow(models: list[str], distance: int, seed: int, folder: Path) -> None:
    flows = recall_flows(models, distance, seed)
    width = max(map(len, flows))
    print(f"{'model':<{width}}  matrix  step  verdict")
    for name, flow in flows.items():
        worst = flow.worst
        print(f"{name:<{width}}  {max(worst.recurrent.values()):6.2f}  {worst.jacobian:4.2f}  {flow.verdict}")
    print("matrix, step: the largest singular value of a recurrent matrix, and of the Jacobian of a step")
    title = f"untrained models, a symbol {distance} steps before the question"
    gradient_flow(flows, path=folder / "gradient_flow.png", title=title)
    print(f"picture: {folder / 'gradient_flow.png'}")
