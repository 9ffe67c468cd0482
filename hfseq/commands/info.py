"""`hfseq info`: what a model is, and how to use it; read from its files, so that it needs no torch."""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .models import CAPTIONS, INTENT_SLOTS, STROKES, TREES, WORD_VECTORS, drawing_code, task_of

_SHOWN = 20  # labels
_PAIR_GIVEN = '{"text": TEXT, "text_pair": TEXT}'
_SPECIAL = 2  # entries of word vectors that are no words


def run(options: argparse.Namespace) -> None:
    """Print type, size, labels or vocabulary, and the command and code that use the model."""
    folder = _folder(options.model)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    saved = (config.get("architectures") or ["none"])[0]
    task = task_of(saved)
    print(f"type:       {config.get('model_type')} ({saved}), task {task}")
    print(f"weights:    {_size(options.model, folder)}")
    if task in ("text-classification", "token-classification", INTENT_SLOTS, TREES):
        kind = "intents" if task == INTENT_SLOTS else "labels"
        _print_names(kind, list((config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}).values()))
    if task == INTENT_SLOTS:
        _print_names("slots", config.get("slot_labels") or [])
    if task == STROKES:
        if names := config.get("class_names"):
            _print_names("classes", names)
        print(f"in Python:  import hfseq; {drawing_code(options.model)}")
        return
    if (entries := config.get("vocab_size")) is not None:
        targets = config.get("decoder_vocab_size")
        beside = "" if targets is None else f" of sources, {targets} of targets"
        print(f"vocabulary: {f'{entries - _SPECIAL} words' if task == WORD_VECTORS else f'{entries} entries{beside}'}")
    asked, given = ("--file PAIRS.jsonl", _PAIR_GIVEN) if _takes_pairs(config, folder) else ("TEXT", "TEXT")
    if task == CAPTIONS:
        asked = "PICTURE"
        given = "FEATURES" if config.get("vision_config") is None else "PICTURE"
    print(f"use it:     hfseq predict {options.model} {asked}")
    print("in Python:  import hfseq; from transformers import pipeline")
    print(f"            pipeline({task!r}, model={options.model!r})({given})")


def _print_names(kind: str, names: list[str]) -> None:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    print(f"{f'{kind}:':<12}{len(names)}: {', '.join(map(str, names[:_SHOWN]))}{rest}")


def _takes_pairs(config: dict[str, Any], folder: Path) -> bool:
    """Tell whether a model answers two texts at a time; the configuration of a joined one does not say."""
    facts = folder / "facts.json"
    said = json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
    return config.get("pairs") == "siamese" or said.get("pairs") is not None


def _folder(model: str) -> Path:
    """Return a folder with the model's config.json: its own, or of the Hub's cache."""
    if Path(model).is_dir():
        if not (Path(model) / "config.json").is_file():
            raise FileNotFoundError(f"{model} holds no config.json: give the folder of a trained model.")
        return Path(model)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(hf_hub_download(model, "config.json")).parent
    except HFValidationError as error:
        raise FileNotFoundError(f"There is no folder {model!r}, and no id on the Hub is spelled so.") from error


def _size(model: str, folder: Path) -> str:
    if Path(model).is_dir():
        files = sorted(folder.glob("*.safetensors"))
        numbers = sum(_numbers(file) for file in files)
        return f"{numbers:,} numbers, {sum(file.stat().st_size for file in files) / 1e6:.2f} MB"
    from huggingface_hub import get_safetensors_metadata

    return f"{sum(get_safetensors_metadata(model).parameter_count.values()):,} numbers"


def _numbers(file: Path) -> int:
    """Count the numbers of a safetensors file from its header: its length, then JSON."""
    with file.open("rb") as opened:
        header: dict[str, Any] = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return sum(_counts(header))


def _counts(header: dict[str, Any]) -> Iterator[int]:
    yield from (math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
