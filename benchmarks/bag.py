"""Bags of words and n-grams against fastText: training, prediction, accuracy at equal settings; and its own files.

    python benchmarks/bag.py --train data/ag_news/train.txt --test data/ag_news/test.txt
    python benchmarks/bag.py --train ... --test ... --identifier lid.176.ftz --sentences data/langid/test.txt

The files are in fastText's format, `__label__sports The match ...`. Without any, texts are drawn from a Zipf
distribution: speed is then printed alone, and nothing kept. Rivals take turns on the same file, one thread each, with
equal epochs, dimension, n-grams, buckets and learning rate; work is counted per CPU second.

Training: fastText reads its file anew in each epoch and first counts its words, which cannot be timed apart. So both
rivals train twice, for few epochs and for more, and the difference is what the further epochs take; the whole way,
from the file to the model, stands beside it. Prediction: a call with one text, and one with a list.

The peer is the package fasttext-wheel; one call of its `predict` is written for numpy 1 and mended here. In that of
fasttext-numpy2-wheel the training stops with "Encountered NaN" at settings that work the next time: it is asked again.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fasttext
import numpy as np
import torch
from measure import cpu_seconds, median_ratio, print_rows, take_turns, write_result
from transformers import pipeline

import hfseq
from hfseq.tokenization import byte_tokenizer

# What `copy=False` said to numpy 1: no copy unless one is needed.
fasttext.FastText.np = SimpleNamespace(**vars(np) | {"array": lambda values, copy=None: np.asarray(values)})

PEER = "fastText"
FEW, MORE = 5, 15  # epochs
THEIRS = {"lr": 0.25, "dim": 16, "wordNgrams": 2, "bucket": 200_000, "thread": 1, "verbose": 0}
OURS: dict[str, Any] = {
    **{"learning_rate": 0.25, "hidden_size": 16, "word_ngrams": 2, "ngram_buckets": 200_000, "num_threads": 1},
    **{"weighting": "count", "bias": False, "use_cpu": True, "disable_tqdm": True, "logging_strategy": "no"},
    "report_to": [],
}
ROUNDS, TRIES, ONE_BY_ONE = 5, 50, 2_000


def train_theirs(path: Path, epochs: int) -> Any:
    """Train fastText's."""
    for _ in range(TRIES):
        try:
            return fasttext.train_supervised(str(path), epoch=epochs, **THEIRS)
        except RuntimeError as error:
            if "NaN" not in str(error):
                raise
    raise RuntimeError(f"fastText met NaN {TRIES} times.")


def train_ours(path: Path, epochs: int) -> Any:
    """Train ours."""
    return hfseq.train_bag(str(path), num_train_epochs=epochs, **OURS)[0]


def drawn(folder: Path) -> tuple[Path, Path]:
    """Write files of words drawn from a Zipf distribution."""
    random, paths = np.random.default_rng(0), (folder / "train.txt", folder / "test.txt")
    for path, count in zip(paths, (20_000, 5_000), strict=True):
        texts = (" ".join(f"w{rank}" for rank in random.zipf(1.2, 40) % 40_000) for _ in range(count))
        path.write_text("".join(f"__label__{index % 4} {text}\n" for index, text in enumerate(texts)), "utf-8")
    return paths


def rows_of(path: Path) -> tuple[list[str], list[str]]:
    """Read labels and texts."""
    lines = [line.split(" ", 1) for line in path.read_text("utf-8").split("\n") if " " in line]
    return [label for label, _ in lines], [text for _, text in lines]


def training(path: Path) -> list[dict[str, Any]]:
    """Compare the seconds of an epoch, and of the whole way."""
    rivals: dict[str, Callable[[], Any]] = {
        f"{name}, {epochs}": partial(train, path, epochs)
        for name, train in ((PEER, train_theirs), ("ours", train_ours))
        for epochs in (FEW, MORE)
    }
    taken = take_turns(rivals, ROUNDS)
    apart = {
        name: [more - few for few, more in zip(taken[f"{name}, {FEW}"], taken[f"{name}, {MORE}"], strict=True)]
        for name in (PEER, "ours")
    }
    whole = median_ratio(taken[f"{PEER}, {FEW}"], taken[f"ours, {FEW}"])
    words = sum(len(text.split()) + 1 for text in rows_of(path)[1]) * (MORE - FEW)
    print({name: f"{words / np.median(seconds) / 1e6:.1f} M words per CPU second" for name, seconds in apart.items()})
    claim = "bag training, bigrams, dimension 16"
    return [
        {"claim": f"{claim}: words per CPU second", "goal": 2.0, "ratio": round(median_ratio(*apart.values()), 2)},
        {"claim": f"{claim}: from the file to the model, {FEW} epochs", "goal": 1.0, "ratio": round(whole, 2)},
    ]


def accuracy(predicted: list[str], labels: list[str]) -> float:
    """Return how many % are right."""
    right = [
        one.removeprefix("__label__") == other.removeprefix("__label__")
        for one, other in zip(predicted, labels, strict=True)
    ]
    return round(100 * sum(right) / len(right), 2)


def prediction(theirs: Any, ours: Any, texts: list[str], what: str, goal: float) -> list[dict[str, Any]]:
    """Compare calls with one text and with a list."""
    some = texts[:ONE_BY_ONE]
    rivals: dict[str, Callable[[], Any]] = {
        "theirs, one": lambda: [theirs.predict(text) for text in some],
        "ours, one": lambda: [ours.predict(text) for text in some],
        "theirs, list": lambda: theirs.predict(texts),
        "ours, list": lambda: ours.predict(texts),
    }
    taken = take_turns(rivals, ROUNDS)
    for name, seconds in taken.items():
        size = len(some) if name.endswith("one") else len(texts)
        print(f"{what}, {name}: {1e6 * np.median(seconds) / size:.1f} microseconds a text")
    found = {kind: median_ratio(taken[f"theirs, {kind}"], taken[f"ours, {kind}"]) for kind in ("one", "list")}
    return [
        {"claim": f"{what}: predict, one text a call", "goal": goal, "ratio": round(found["one"], 2)},
        {"claim": f"{what}: predict, a list of texts", "goal": goal, "ratio": round(found["list"], 2)},
    ]


def pipeline_speed(model: Any, texts: list[str]) -> None:
    """Print what a text takes through the pipeline, alone and in batches."""
    pipe = pipeline("text-classification", model=model, tokenizer=byte_tokenizer(), device="cpu")
    some = texts[:500]
    pipe(some[:50])
    one = cpu_seconds(lambda: [pipe(text) for text in some])
    many = cpu_seconds(lambda: pipe(some, batch_size=32))
    print(f"pipeline: {1e6 * one / len(some):.0f} microseconds a text alone, {1e6 * many / len(some):.0f} in batches")


def identifier(path: Path, sentences: Path) -> list[dict[str, Any]]:
    """Read fastText's language identifier, and compare labels and speed."""
    theirs: Any = fasttext.load_model(str(path))
    ours: Any = hfseq.load_fasttext(path)[0]
    labels, texts = rows_of(sentences)
    wanted, found = theirs.predict(texts)[0], ours.predict(texts)
    equal = sum(one[0] == other[0][0] for one, other in zip(wanted, found, strict=True))
    print(
        f"{path.name}: {equal} of {len(texts)} labels are equal; accuracy {accuracy([o[0] for o in wanted], labels)} %"
    )
    return prediction(theirs, ours, texts, path.name, 1.0)


def main() -> None:
    """Measure, print, and keep what was measured on real texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("train", "test", "identifier", "sentences"):
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train, test = (arguments.train, arguments.test) if arguments.train else drawn(Path(folder))
        labels, texts = rows_of(test)
        rows = training(train)
        theirs, ours = train_theirs(train, FEW), train_ours(train, FEW)
    reached = {
        PEER: accuracy([row[0] for row in theirs.predict(texts)[0]], labels),
        "ours": accuracy([row[0][0] for row in ours.predict(texts)], labels),
    }
    print(f"accuracy after {FEW} epochs: {reached}")
    rows += prediction(theirs, ours, texts, "bag of bigrams", 1.0)
    pipeline_speed(ours, texts)
    if arguments.identifier:
        rows += identifier(arguments.identifier, arguments.sentences)
    if arguments.train is None:
        print_rows(rows)
        return
    more = " --identifier lid.176.ftz --sentences data/langid/test.txt" if arguments.identifier else ""
    command = f"python benchmarks/bag.py --train data/ag_news/train.txt --test data/ag_news/test.txt{more}"
    write_result("bag", command=command, peer=PEER, rows=rows, accuracy=reached)


if __name__ == "__main__":
    main()
