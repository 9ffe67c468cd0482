"""A data set of four words that tell three classes, in a file, and classifiers trained on it in a second."""

import csv

import numpy as np
import pytest

WORDS = {"news": ["paper", "report"], "sport": ["goal", "match"], "weather": ["rain", "sun"]}
FILLERS = ["the", "a", "big", "small", "old", "new", "today", "here"]


def texts_of(count, seed):
    """Texts with their class, each another."""
    random = np.random.default_rng(seed)
    labels = [list(WORDS)[index % 3] for index in range(count)]
    rows = {}
    for label in labels * 3:
        words = [*random.choice(FILLERS, random.integers(3, 7)), random.choice(WORDS[label])]
        random.shuffle(words)
        rows.setdefault(" ".join(words), label)
    return list(rows.items())[:count]


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    rows = texts_of(360, 0)
    for name, part in (("train", rows[:200]), ("validation", rows[200:300]), ("test", rows[300:])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *part])
    return folder
