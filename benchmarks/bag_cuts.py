"""Bags with default settings on random cuts of the training rows, beside TF-IDF regressions.

    python benchmarks/bag_cuts.py --data.path=data/ag_news
    python benchmarks/bag_cuts.py --data.path=data/snips --data.label_column=label
    python benchmarks/bag_cuts.py --data.path=data/sst2 "--data.splits={train: train, test: test}"

The cuts are those of `data.train_rows`, some rows of each class, with the seeds 0, 1 and 2; the test split is whole.
What a person with a file of their own gets is a cut that nobody tuned on. The peers are scikit-learn's: a regression
on the TF-IDF of words, and one on words and word pairs with C = 10 and logarithms of counts.
"""

import statistics
import sys
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from hfseq.settings import read_settings
from hfseq.tasks.text_classification.build import (
    load,
    make_arguments,
    make_model,
    make_tokenizer,
    make_tokens,
    make_trainer,
)
from hfseq.tasks.text_classification.settings import TextClassificationSettings

CONFIG = "recipes/configs/text_classification/bag_ag_news.yaml"
ROWS, SEEDS = (500, 2_000, 5_000), (0, 1, 2)
DEFAULTS = ("--compression.target_mb=null", "--training.disable_tqdm=true", "--training.use_cpu=true")
_WORDS = r"\w+|[^\w\s]"


def peers() -> dict[str, Any]:
    """Return the regressions."""
    words = TfidfVectorizer(token_pattern=_WORDS)
    pairs = TfidfVectorizer(token_pattern=_WORDS, ngram_range=(1, 2), sublinear_tf=True)
    return {
        "TF-IDF of words": make_pipeline(words, LogisticRegression(max_iter=300)),
        "TF-IDF of words and pairs, C=10": make_pipeline(pairs, LogisticRegression(C=10, max_iter=300)),
    }


def measured(arguments: list[str], rows: int, seed: int) -> dict[str, float]:
    """Return the accuracies (%) on the test split after training on a cut."""
    cut = [f"--data.train_rows={rows}", f"--data.seed={seed}", f"--training.seed={seed}"]
    settings = read_settings(TextClassificationSettings, ["--config", CONFIG, *DEFAULTS, *cut, *arguments])
    task = load(settings.data)
    train, test = (task.dataset[split][:] for split in ("train", "test"))
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    tokens = make_tokens(task, tokenizer, settings.tokenizer)
    model = make_model(settings, task, tokenizer)
    trainer = make_trainer(model, make_arguments(settings), train_dataset=tokens["train"], processing_class=tokenizer)
    trainer.train()
    logits, _ = trainer.score(tokens["test"])
    found = {"bag": float(np.mean(logits.argmax(-1) == np.asarray(test["labels"])))}
    for name, peer in peers().items():
        found[name] = float(peer.fit(train["text"], train["labels"]).score(test["text"], test["labels"]))
    return {name: 100 * value for name, value in found.items()}


def main() -> None:
    """Print the mean and the spread over the seeds for each cut."""
    for rows in ROWS:
        runs = [measured(sys.argv[1:], rows, seed) for seed in SEEDS]
        told = [
            f"{name} {statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
            for name, values in ((name, [run[name] for run in runs]) for name in runs[0])
        ]
        print(f"{rows:>6} rows, seeds {SEEDS}: {'; '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
