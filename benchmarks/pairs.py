"""Finished runs on pairs of texts with scores, beside the simple systems of the same rows: the table that docs show.

    python benchmarks/pairs.py runs/gru0 runs/gru1 runs/bag0 runs/bag1 --data=data/stsb

`--data` is the folder of the runs: with it a row is added that no run measures, a line through the TF-IDF cosine of
characters, which is stronger than that of words.
Runs whose commands differ in nothing but seed and folder are one row. Writes benchmarks/results/pairs.json, from which
`python model_cards/render.py tables` makes the table.
"""

import argparse
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hfseq.cards.facts import SAME_RUN
from hfseq.cards.render import load_facts
from hfseq.data.text import PAIR, all_texts, load_text_dataset
from hfseq.evaluation.scores import compute_score
from hfseq.recipe.likeness import tfidf_cosine
from hfseq.tasks.text_classification.facts import CardFacts
from hfseq.tasks.text_classification.settings import LabelledTexts

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
        said = [word[2:] for word in shlex.split(facts.command) if word.startswith("--model.")]
        others = "".join(f", {word}" for word in said if not word.startswith("model.pairs="))
        name = f"{facts.architecture.cell}, {_HOWS[facts.pairs or 'joined']}{others}"
        row = rows.setdefault(command_of(facts), {"name": name, "command": command_of(facts), "runs": []})
        row["runs"] += [{"seed": run.seed, **{score: run.metrics[score] for score in SCORES}} for run in facts.runs]
        for peer in facts.comparisons:
            if peer.source == SAME_RUN and peer.metric in SCORES:
                found = peers.setdefault(peer.name, {"name": peer.name, "command": None, "runs": [{}]})
                found["runs"][0][peer.metric] = peer.value
    return [*rows.values(), *peers.values()]


def character_row(folder: str) -> dict[str, Any]:
    """Return the row of a line through the cosine of the TF-IDF of character 3- and 4-grams."""
    settings = LabelledTexts(path=folder, text_column="sentence1", text_pair_column="sentence2")
    data = load_text_dataset(settings).dataset
    grams = {"analyzer": "char_wb", "ngram_range": (3, 4), "sublinear_tf": True}
    alike = tfidf_cosine(all_texts(data["train"])["text"][:], **grams)
    cosines, labels = (
        {split: read(data[split]) for split in ("train", "test")}
        for read in (lambda rows: alike(rows["text"][:], rows[PAIR][:]), lambda rows: np.asarray(rows["labels"][:]))
    )
    slope, start = np.polyfit(cosines["train"], labels["train"], 1)
    scores = {name: compute_score(name, slope * cosines["test"] + start, labels["test"]) for name in SCORES}
    return {"name": "Cosine of the TF-IDF of characters (3-4-grams), a line", "command": None, "runs": [scores]}


def main() -> None:
    """Write the result of the runs in these folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="of runs; none: print what was gathered")
    parser.add_argument("--data", help="the folder of STS-B")
    options = parser.parse_args()
    if not options.folders:
        print(RESULT.read_text(encoding="utf-8"))
        return
    runs = [load_facts(folder / "facts.json") for folder in options.folders]
    rows = table_rows(facts for facts in runs if isinstance(facts, CardFacts))
    if options.data is not None:
        rows.append(character_row(options.data))
    RESULT.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
