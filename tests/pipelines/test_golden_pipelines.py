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
CASES = GOLDEN["cases"]


def filled(value: Any) -> Any:
    """Put the texts where their names stand."""
    if isinstance(value, str):
        return value.format(**GOLDEN["texts"])
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    return [filled(item) for item in value] if isinstance(value, list) else value


def name(case: dict[str, Any]) -> str:
    told = {key: case[key] for key in ("init", "args", "how", "kwargs") if case[key]}
    return f"{case['task']}-{case['model']}-{json.dumps(told)}"


@cache
def loaded(task: str, model: str, init: str) -> Any:
    return pipeline(task, model=str(FOLDER / model), device="cpu", **json.loads(init))


def answered(case: dict[str, Any]) -> Any:
    args, kwargs = filled(case["args"]), filled(case["kwargs"])
    pipe = loaded(case["task"], case["model"], json.dumps(case["init"]))
    if case["how"] == "stream":
        return list(pipe((item for item in args[0]), **kwargs))
    if case["how"] == "squad":
        args = [[SimpleNamespace(question_text=item["question"], context_text=item["context"]) for item in args[0]]]
    return pipe(*args, **kwargs)


def plain(answer: Any) -> Any:
    if isinstance(answer, torch.Tensor):
        return {"tensor": answer.tolist()}
    if isinstance(answer, float):
        return pytest.approx(answer, rel=1e-4, abs=1e-7)
    if isinstance(answer, dict):
        return {key: plain(value) for key, value in answer.items()}
    return [plain(item) for item in answer] if isinstance(answer, list) else answer


def real(answers: Any) -> list[Any]:
    """Leave out what is no answer: transformers 4 also gave white space, and spans of probability zero."""
    if not isinstance(answers, list):
        answers = [answers]
    if answers and isinstance(answers[0], list):
        return [real(one) for one in answers]
    return [one for one in answers if one["answer"] and one["score"] > 0]


def starts_with(ours: Any, golden: Any) -> bool:
    """Say whether we answer the same, in the same order; ours may go on where theirs were without a letter."""
    ours, golden = real(ours), real(golden)
    if golden and isinstance(golden[0], list):
        return len(ours) == len(golden) and all(map(starts_with, ours, golden))
    return ours[: len(golden)] == [plain(one) for one in golden]


@pytest.mark.parametrize("case", [case for case in CASES if "answer" in case and "differs" not in case], ids=name)
def test_the_answer_is_that_of_transformers_4(case, caplog):
    with caplog.at_level(logging.WARNING, logger="hfseq"):
        answer = answered(case)
    if case["task"] == "question-answering":
        assert isinstance(answer, list) == isinstance(case["answer"], list)
        assert starts_with(answer, case["answer"])
        return
    assert plain(answer) == case["answer"]
    if "max_new_tokens" not in case["kwargs"]:  # of which transformers 4 took no notice when it warned
        heard = [record for record in caplog.records if "length" in record.getMessage()]
        assert bool(heard) == case["warns"]


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case and "differs" not in case], ids=name)
def test_what_transformers_4_refused_is_refused(case):
    with pytest.raises((ValueError, TypeError, KeyError, RuntimeError)):
        answered(case)


@pytest.mark.parametrize("case", [case for case in CASES if "differs" in case], ids=name)
def test_where_we_differ_we_do(case):
    """The list of differences stays as short as it can be."""
    try:
        answer = plain(answered(case))
    except (ValueError, TypeError) as error:
        answer = type(error).__name__
    assert answer != case.get("answer", case.get("error"))


def test_an_impossible_answer_has_the_score_of_transformers_4():
    """In one window, and in many, of which the least sure counts."""
    cases = [case for case in CASES if case["kwargs"].get("handle_impossible_answer")]
    cases = [case for case in cases if "{HERON}" in case["kwargs"]["context"] or case["kwargs"].get("top_k") == 100]
    assert len(cases) == 4
    for case in cases:
        both = case["answer"], answered(case)
        golden, ours = ([one["score"] for one in found if not one["answer"]] for found in both)
        assert len(ours) == 1
        assert plain(ours[0]) in golden


def test_the_page_tells_how_many_calls_are_compared():
    page = FOLDER.parents[2] / "docs" / "tasks" / "removed_pipelines.md"
    told = " ".join(page.read_text(encoding="utf-8").split())
    assert f"those of transformers {GOLDEN['transformers']} in {len(CASES)} calls" in told
