"""The pipelines that transformers 5 removed, against what transformers 4 answered for the same models.

tests/golden/pipelines/ has the models, the answers, and the scripts that made both.
"""

import json
import logging
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import pipeline

import hfseq  # noqa: F401 (registers the tasks)

FOLDER = Path(__file__).parents[1] / "golden" / "pipelines"
GOLDEN = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))
QUESTIONS = "question-answering"

# Where we differ, and why; docs/tasks/removed_pipelines.md says so too.
REFUSED = {
    ("translation_en_to_de", "mbart", "{}"): "languages that the tokenizer does not know gave any text",
    ("translation", "mbart", '{"src_lang": "en_XX", "tgt_lang": "klingon"}'): "the same",
    (QUESTIONS, "bert", '{"unheard_of": 2}'): "unknown parameters were passed over",
    (QUESTIONS, "bert", '{"topk": 2}'): "deprecated names are gone",
    (QUESTIONS, "bert", '{"data"}'): "the same",
}


def filled(value: Any) -> Any:
    """Put the texts where their names stand."""
    if isinstance(value, str):
        return value.format(**GOLDEN["texts"])
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    return [filled(item) for item in value] if isinstance(value, list) else value


def name(case: dict[str, Any]) -> str:
    told = {key: case[key] for key in ("init", "args", "how", "kwargs") if case[key]}
    return f"{case['task']}-{case['model']}-{json.dumps(told, ensure_ascii=False)}"


@cache
def loaded(task: str, model: str, init: str) -> Any:
    return pipeline(task, model=str(FOLDER / model), device="cpu", **json.loads(init))


def answered(case: dict[str, Any]) -> Any:
    args, kwargs = filled(case["args"]), filled(case["kwargs"])
    pipe = loaded(case["task"], case["model"], json.dumps(case["init"]))
    if case["how"] == "stream":
        return list(pipe((item for item in args[0]), **kwargs))
    if case["how"] == "squad":
        args = [[SimpleNamespace(question_text=i["question"], context_text=i["context"]) for i in args[0]]]
    return pipe(*args, **kwargs)


def plain(answer: Any) -> Any:
    if isinstance(answer, torch.Tensor):
        return {"tensor": answer.tolist()}
    if isinstance(answer, dict):
        return {key: plain(value) for key, value in answer.items()}
    return [plain(item) for item in answer] if isinstance(answer, list) else answer


