"""Finished runs on pairs of texts with scores, beside the simple systems of the same rows: the table that docs show.

    python benchmarks/pairs.py runs/gru0 runs/gru1 runs/bag0 runs/bag1

Runs whose commands differ in nothing but seed and folder are one row. Writes benchmarks/results/pairs.json, from which
`python model_cards/render.py tables` makes the table.
"""

import argparse
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hfseq.cards.facts import SAME_RUN
from hfseq.cards.render import load_facts
from hfseq.tasks.text_classification.facts import CardFacts

RESULT = Path(__file__).parent / "results" / "pairs.json"
SCORES = ("pearson", "spearman", "mse")
_HOWS = {"siamese": "each text alone, then compared", "joined": "both texts as one"}
_OF_ONE_RUN = ("--training.seed=", "--training.disable_tqdm=")


def command_of(facts: CardFacts) -> str:
    """Return the command without the seed and the folder of one run."""
    words = [word for word in shlex.split(facts.command) if not word.startswith(_OF_ONE_RUN)]
    out = words.index("--out") if "--out" in words else len(words)
    return shlex.join(words[:out] + words[out + 2 :])


def table_rows(runs: Iterable[CardFacts]) -> list[dict[str, Any]]:
    """Return a row for each command, then one for each simple system."""
    rows: dict[str, dict[str, Any]] = {}
    peers: dict[str, dict[str, Any]] = {}
    for facts in runs:
        name = f"{facts.architecture.cell}, {_HOWS[facts.pairs or 'joined']}"
        row = rows.setdefault(command_of(facts), {"name": name, "command": command_of(facts), "runs": []})
        row["runs"] += [{"seed": run.seed, **{score: run.metrics[score] for score in SCORES}} for run in facts.runs]
        for peer in facts.comparisons:
            if peer.source == SAME_RUN and peer.metric in SCORES:
                found = peers.setdefault(peer.name, {"name": peer.name, "command": None, "runs": [{}]})
                found["runs"][0][peer.metric] = peer.value
    return [*rows.values(), *peers.values()]


def main() -> None:
    """Write the result of the runs in these folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    runs = [load_facts(folder / "facts.json") for folder in parser.parse_args().folders]
    rows = table_rows(facts for facts in runs if isinstance(facts, CardFacts))
    RESULT.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
