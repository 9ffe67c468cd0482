"""`hfseq info`: what a model is, and how to use it."""

import argparse
from typing import Any

from .models import WORDS, load_pipeline

_SHOWN = 20  # labels


def run(options: argparse.Namespace) -> None:
    """Print type, size, labels or vocabulary, and the command and code that use the model."""
    pipe: Any = load_pipeline(options.model)
    config, size = pipe.model.config, sum(t.numel() * t.element_size() for t in pipe.model.parameters())
    print(f"type:       {config.model_type} ({type(pipe.model).__name__}), task {pipe.task}")
    print(f"parameters: {pipe.model.num_parameters():,}, {size / 1e6:.2f} MB in memory")
    if pipe.task in ("text-classification", "token-classification"):
        labels = list(config.id2label.values())
        rest = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
        print(f"labels:     {len(labels)}: {', '.join(map(str, labels[:_SHOWN]))}{rest}")
    words = f"{len(pipe.vectors)} words" if pipe.task == WORDS else f"{len(pipe.tokenizer)} entries"
    print(f"vocabulary: {words}")
    print(f"use it:     hfseq predict {options.model} TEXT")
    print("in Python:  import hfseq; from transformers import pipeline")
    print(f"            pipeline({pipe.task!r}, model={options.model!r})(TEXT)")
