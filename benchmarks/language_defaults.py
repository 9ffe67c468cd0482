"""Whether language models with default settings are better than a 5-gram over their own tokens.

    python benchmarks/language_defaults.py --data FOLDER --out language_defaults.jsonl [--minutes 5] [--seeds 0]

FOLDER holds NAME_SIZE.txt, such as text8_0.5.txt: the first half megabyte of text8. The default settings of
`recipes/language_modeling.py` train on the first 80 % of each, choose on the next tenth, and are measured on the last,
as the 5-gram (Kneser-Ney) is. Each run is one line of --out; runs that stand there already are left out, so that the
sweep goes on where it was ended.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import yaml

from hfseq.cards.facts import SAME_RUN
from hfseq.tasks.causal_lm.facts import LanguageModelFacts
from recipes import language_modeling

_METRIC = "bits_per_character"


def main() -> None:
    """Run what is missing, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--model", default="lstm")
    options = parser.parse_args()
    done = set()
    if options.out.is_file():
        rows = [json.loads(line) for line in options.out.read_text(encoding="utf-8").splitlines()]
        done = {(row["data"], row["seed"], row["model"], row["minutes"]) for row in rows}
    for seed in options.seeds:
        for path in sorted(options.data.glob("*.txt")):
            key = path.stem, seed, options.model, options.minutes
            if key not in done:
                row = dict(zip(("data", "seed", "model", "minutes"), key, strict=True))
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**row, **run(path, seed, options.model, options.minutes)}) + "\n")


def run(path: Path, seed: int, model: str, minutes: float) -> dict[str, float]:
    """Train on one text, and return the scores of the model and of its peers, in bits per character."""
    card = {
        **{"model_id": "hfseq/language-defaults", "summary": "Writes.", "ask": ["the "]},
        **{"data_name": path.stem, "data_license": "other", "data_domain": "text"},
    }
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "settings.yaml"
        sections = {"data": {"path": str(path)}, "model": {"type": model}, "card": card}
        config.write_text(yaml.safe_dump(sections), encoding="utf-8")
        language_modeling.main(
            [
                *("--config", str(config), f"--budget.minutes={minutes}", f"--training.output_dir={folder}/run"),
                *(f"--training.seed={seed}", "--training.use_cpu=true", "--training.disable_tqdm=true"),
            ]
        )
        facts = LanguageModelFacts.load(Path(folder) / "run" / "facts.json")
    peers = {row.name: row.value for row in facts.comparisons if row.source == SAME_RUN and row.metric == _METRIC}
    ngram = next(value for name, value in peers.items() if name.startswith("5-gram"))
    own = facts.mean(_METRIC)
    scores = {"bits_per_character": own, "5-gram": ngram, "network alone": peers.get("The network alone", math.nan)}
    return {**scores, "gain": ngram - own, "epochs": facts.training.epochs, "file_mb": facts.file_mb}


if __name__ == "__main__":
    main()
