"""Write down in answers.json what the pipelines of transformers 4 answer for the models of this folder.

    pip install "transformers==4.57.6"    # in an environment of its own
    python tests/golden/pipelines/make_answers.py

A case is the task, the model, what the pipeline is made with, and what it is called with; `stream` hands the first
argument over as a generator, `squad` as objects with `question_text` and `context_text`. A tensor is written as
{"tensor": ids}, and an error by its class. `differs` says
why we answer something else.
"""

import json
import logging
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import pipeline

HERE = Path(__file__).parent
HERON = "the grey heron waits beside the old canal"
OWLS = "two owls call from the ruined mill at night"
WREN = "the little wren builds her nest"
STORY = " ".join([HERON, "and", OWLS, "while", WREN, "under the ivy.", "who", "waits?"])
LONG = " ".join([STORY, STORY.upper(), WREN, STORY])
TEXTS = {"LONG": LONG, "STORY": STORY, "HERON": HERON, "OWLS": OWLS, "WREN": WREN}
SHORT = {"max_new_tokens": 6}


def case(task: str, model: str, *args: Any, init: dict[str, Any] | None = None, how: str = "", **kwargs: Any) -> dict:
    """Return one question to transformers."""
    return {"task": task, "model": model, "init": init or {}, "args": list(args), "how": how, "kwargs": kwargs}


def as_long_as(task: str, model: str, *args: Any, **kwargs: Any) -> dict:
    """Return a question whose max_length counts."""
    return case(task, model, *args, **kwargs) | {"told": {"max_new_tokens": None}}


def unlike(one: dict, why: str) -> dict:
    """Return a question that we answer in another way."""
    return one | {"differs": why}


def as_documented(one: dict) -> dict:
    """Return a question that is answered as the pages of transformers 4 say.

    Its last releases preferred the pipelines' own 256 new tokens to a `max_length`, and 4 beams to the number that the
    model's files name. Their pages and earlier releases say the contrary, so they are told what to do.
    """
    beams = {"marian": 3, "bart": 2, "t5": 2 if one["task"] == "summarization" else 4, "mbart": 4}[one["model"]]
    return one | {"told": {"num_beams": beams, **one["init"], **one.get("told", {})}}


def writing() -> list[dict]:
    """Return what all tasks of writing share, asked of one of them, and what each has of its own."""
    text2text, translate, summarize = "text2text-generation", "translation", "summarization"
    return [
        *(case(task, "marian", HERON) for task in (text2text, translate, summarize)),
        *(case(text2text, name, HERON, **SHORT) for name in ("t5", "bart", "mbart")),
        *(case(text2text, name, HERON) for name in ("t5", "bart", "mbart")),
        # Shapes of questions and answers
        case(translate, "marian", [HERON, OWLS]),
        case(translate, "marian", [HERON]),
        unlike(case(translate, "marian", HERON, OWLS), "texts that were passed over are refused"),
        unlike(case(translate, "marian", [HERON, OWLS], OWLS), "texts that were passed over are refused"),
        case(translate, "marian", []),
        case(translate, "marian", ""),
        case(translate, "marian", [HERON, ""]),
        case(translate, "marian", [HERON, OWLS, WREN], batch_size=2),
        case(translate, "marian", [HERON, OWLS, WREN], init={"batch_size": 3}),
        unlike(case(translate, "marian", [[HERON, OWLS], [WREN]]), "texts that were passed over are refused"),
        case(translate, "marian", [HERON, OWLS], how="stream"),
        case(translate, "marian", [HERON, OWLS, WREN], how="stream", batch_size=2),
        case(translate, "marian", 3),
        case(translate, "marian", None),
        case(translate, "marian", {"text": HERON}),
        # What is returned
        case(text2text, "marian", HERON, return_tensors=True),
        case(summarize, "marian", HERON, return_tensors=True),
        case(translate, "marian", HERON, return_tensors=True),
        unlike(
            case(translate, "marian", HERON, return_tensors=True, return_text=True),
            "both are returned, as the pages said",
        ),
        case(translate, "marian", HERON, return_tensors=True, return_text=False),
        case(translate, "marian", HERON, return_tensors=False),
        case(translate, "marian", HERON, return_text=False),
        case(translate, "marian", HERON, return_text=True),
        case(translate, "marian", [HERON, OWLS], return_tensors=True),
        case(translate, "marian", HERON, init={"return_tensors": True}),
        case(translate, "marian", HERON, clean_up_tokenization_spaces=True),
        case(translate, "marian", HERON, clean_up_tokenization_spaces=False),
        case(translate, "marian", HERON, num_return_sequences=3),
        case(translate, "marian", [HERON, OWLS], num_return_sequences=2),
        case(translate, "marian", [HERON, OWLS, WREN], num_return_sequences=2, batch_size=2),
        case(translate, "marian", HERON, num_return_sequences=2, return_tensors=True),
        # How long, and how
        case(translate, "marian", HERON, max_length=5),
        case(translate, "marian", HERON, max_new_tokens=3),
        case(translate, "marian", HERON, max_new_tokens=3, max_length=8),
        case(translate, "marian", HERON, min_length=10),
        case(translate, "marian", HERON, min_new_tokens=10),
        case(translate, "marian", HERON, num_beams=1),
        case(translate, "marian", HERON, num_beams=1, init={"max_length": 6}),
        case(translate, "marian", HERON, max_length=9, init={"max_length": 6, "num_beams": 1}),
        case(translate, "marian", HERON, num_beams=2, length_penalty=3.0, early_stopping=True),
        case(translate, "marian", HERON, no_repeat_ngram_size=1, repetition_penalty=2.0),
        as_long_as(text2text, "t5", HERON, max_length=7),
        as_long_as(text2text, "t5", HERON, max_length=7, num_beams=1),
        case(text2text, "t5", HERON, min_length=8, max_new_tokens=9),
        case(text2text, "t5", HERON, max_new_tokens=9, num_beams=1),
        case(text2text, "marian", HERON, stop_sequence="h", num_beams=1),
        case(text2text, "marian", HERON, stop_sequence="who", num_beams=1),
        case(text2text, "t5", HERON, unheard_of=3),
        # Texts longer than the tokenizer's model_max_length
        case(translate, "marian", LONG, truncation=True),
        case(translate, "marian", LONG, truncation="only_first"),
        case(translate, "marian", HERON, truncation=True),
        case(translate, "marian", [LONG, HERON], truncation=True, batch_size=2),
        case(translate, "marian", LONG, init={"truncation": True}),
        case(translate, "marian", HERON, truncation="no such"),
        # What a task's own settings in config.json say
        as_long_as(summarize, "t5", HERON),
        as_long_as(summarize, "t5", [HERON, OWLS], batch_size=2),
        as_long_as(summarize, "t5", HERON, max_length=6),
        case(summarize, "t5", HERON, max_new_tokens=12),
        as_long_as(summarize, "t5", HERON, num_beams=1, min_length=0),
        case(summarize, "t5", HERON, init={"max_length": 7}),
        as_long_as("translation_en_to_de", "t5", HERON),
        as_long_as("translation_en_to_de", "t5", [HERON, OWLS]),
        case("translation_en_to_de", "t5", HERON, max_new_tokens=5),
        case("translation_en_to_fr", "t5", HERON, **SHORT),
        case(translate, "t5", HERON, **SHORT),
        case(summarize, "bart", HERON),
        case(summarize, "bart", [HERON, OWLS], batch_size=2),
        case(summarize, "bart", HERON, min_length=0, max_length=8),
        case(summarize, "bart", HERON, min_length=12, max_length=8),
        case(summarize, "bart", [LONG[:100], HERON], batch_size=2, min_length=6, max_length=50),
        case(summarize, "marian", HERON, max_length=30),
        case(translate, "marian", HERON, max_length=60, num_beams=1),
        case("translation_en_to_de", "bart", HERON),
        case("translation_en_to_de", "marian", HERON),
        case("translation_en_to_de", "marian", HERON, src_lang="de", tgt_lang="en"),
        # Languages
        case(translate, "mbart", HERON, src_lang="en_XX", tgt_lang="de_DE"),
        case(translate, "mbart", HERON, src_lang="en_XX", tgt_lang="ro_RO"),
        case(translate, "mbart", HERON, src_lang="fr_XX", tgt_lang="de_DE"),
        case(translate, "mbart", HERON, init={"src_lang": "en_XX", "tgt_lang": "de_DE"}),
        case(translate, "mbart", HERON, init={"src_lang": "en_XX", "tgt_lang": "de_DE"}, tgt_lang="fr_XX"),
        case(translate, "mbart", [HERON, OWLS], src_lang="en_XX", tgt_lang="de_DE"),
        case(translate, "mbart", [HERON, OWLS], src_lang="en_XX", tgt_lang="de_DE", batch_size=2),
        case(translate, "mbart", HERON, src_lang="en_XX", tgt_lang="de_DE", num_return_sequences=2, num_beams=3),
        case(translate, "mbart", LONG, src_lang="en_XX", tgt_lang="de_DE", truncation=True),
        case(translate, "mbart", HERON, src_lang="en_XX", tgt_lang="de_DE", max_length=8),
        case(translate, "mbart", HERON),
        case(translate, "mbart", HERON, src_lang="en_XX"),
        case(translate, "mbart", HERON, tgt_lang="en_XX"),
        unlike(
            case(translate, "mbart", HERON, src_lang="en_XX", tgt_lang="klingon"),
            "a language that the model does not know is refused",
        ),
        unlike(case("translation_en_XX_to_de_DE", "mbart", HERON), "names of languages may have an underscore"),
        unlike(case("translation_en_to_de", "mbart", HERON), "a language that the model does not know is refused"),
        case("translation_en_to_de", "mbart", HERON, src_lang="en_XX", tgt_lang="de_DE"),
        case("translation_en", "marian", HERON),
        case("translation_en_to", "marian", HERON),
        case("translations", "marian", HERON),
    ]


def answering() -> list[dict]:
    """Return the questions about texts."""
    task, question, other = "question-answering", "who waits beside the canal?", "where do the owls call?"
    both = {"question": question, "context": STORY}
    long, small = {"question": question, "context": LONG}, {"question": "who waits?", "context": HERON}
    cases = []
    for model in ("bert", "roberta"):
        cases += [
            case(task, model, **both),
            case(task, model, **small),
            case(task, model, **long),
            case(task, model, **both, top_k=3),
            case(task, model, **long, top_k=5),
            case(task, model, **long, top_k=40),
            case(task, model, **small, top_k=60),
            case(task, model, **long, top_k=4, max_seq_len=32, doc_stride=8),
            case(task, model, **long, top_k=4, max_seq_len=40, doc_stride=16),
            case(task, model, **long, top_k=4, doc_stride=4),
            case(task, model, **long, top_k=4, max_seq_len=1000),
            case(task, model, **both, top_k=4, max_answer_len=1),
            case(task, model, **both, top_k=4, max_answer_len=3),
            case(task, model, **both, top_k=4, max_answer_len=60),
            case(task, model, **both, top_k=4, align_to_words=False),
            case(task, model, **long, top_k=4, align_to_words=False),
            case(task, model, **long, top_k=40, align_to_words=False),
            case(task, model, question="who waits?", context="heron", top_k=5),
            case(task, model, **both, top_k=4, handle_impossible_answer=True),
            case(task, model, **long, top_k=40, handle_impossible_answer=True),
            case(task, model, **small, top_k=40, handle_impossible_answer=True),
            case(task, model, **both, handle_impossible_answer=True),
            case(task, model, **long, top_k=100, max_answer_len=1, handle_impossible_answer=True),
            unlike(case(task, model, **both, top_k=4, max_question_len=3), "the question is cut, as the pages said"),
            case(task, model, **both, top_k=4, padding="max_length"),
            case(task, model, **long, top_k=4, padding=True),
            case(task, model, **long, top_k=4, batch_size=2, padding="max_length"),
            case(task, model, question=question, context=[STORY, LONG], top_k=2, batch_size=2),
            case(task, model, question=[question, other], context=[STORY, LONG], top_k=2),
        ]
    story = {"question": question, "context": STORY}
    left = "behind the context the question was searched too"
    cases += [
        unlike(case(task, "left", question="誰が待つか", context="鷺は古い運河のそばで待つ", top_k=3), left),
        unlike(
            case(
                task, "left", question="誰が待つか", context="鷺は古い運河のそばで待つ", top_k=3, align_to_words=False
            ),
            left,
        ),
        unlike(
            case(
                task,
                "left",
                question="誰が待つか",
                context="鷺は古い運河のそばで待つ梟は夜に水車小屋から鳴く" * 3,
                top_k=3,
            ),
            left,
        ),
        # Shapes of questions and answers
        case(task, "bert", question=[question, other], context=STORY),
        case(task, "bert", question=question, context=[STORY, LONG]),
        case(task, "bert", question=[question], context=[STORY]),
        case(task, "bert", question=[question], context=STORY),
        case(task, "bert", question=[question, other], context=[STORY]),
        case(task, "bert", question=[question, other], context=[STORY, LONG, HERON]),
        case(task, "bert", question=[question, other], context=[STORY, LONG], top_k=2),
        case(task, "bert", story),
        case(task, "bert", [story]),
        case(task, "bert", [story, {"question": other, "context": LONG}]),
        case(task, "bert", story, {"question": other, "context": LONG}),
        case(task, "bert", [story, {"question": other, "context": LONG}], batch_size=2),
        case(task, "bert", [story, {"question": other, "context": LONG}], how="stream"),
        case(task, "bert", story, how="squad"),
        case(task, "bert", [story, story], how="squad"),
        unlike(case(task, "bert", data=story), "what the pages called deprecated is gone"),
        unlike(case(task, "bert", data=[story, story]), "what the pages called deprecated is gone"),
        unlike(case(task, "bert", X=story), "what the pages called deprecated is gone"),
        case(task, "bert", question, STORY),
        case(task, "bert", story, init={"top_k": 2}),
        case(task, "bert", story, init={"top_k": 2, "handle_impossible_answer": True}, top_k=3),
        unlike(case(task, "bert", **both, topk=2), "what the pages called deprecated is gone"),
        unlike(case(task, "bert", **both, unheard_of=2), "unknown parameters are refused"),
        # What cannot be answered
        case(task, "bert", question="", context=STORY),
        case(task, "bert", question=question, context=""),
        unlike(case(task, "bert", question=question, context=" "), "a text of blanks is empty"),
        case(task, "bert", question=question),
        case(task, "bert", context=STORY),
        case(task, "bert"),
        case(task, "bert", {"question": question}),
        case(task, "bert", {"question": question, "context": ""}),
        case(task, "bert", {"question": None, "context": STORY}),
        case(task, "bert", question=question, context=None),
        case(task, "bert", question=3, context=STORY),
        case(task, "bert", []),
        case(task, "bert", **both, top_k=0),
        case(task, "bert", **both, max_answer_len=0),
        case(task, "bert", **both, doc_stride=100),
        case(task, "bert", **both, max_seq_len=20, doc_stride=30),
        case(task, "bert", question=STORY * 4, context=STORY),
        unlike(
            case(task, "bert", question=STORY * 4, context=STORY, max_question_len=10),
            "the question is cut, as the pages said",
        ),
        case(task, "bert", question=question, context="日本 語"),
    ]
    return cases


class Squad:
    """What transformers 4 called a SquadExample, by the two fields that a pipeline reads."""

    def __init__(self, question: str, context: str) -> None:
        self.example = transformers.SquadExample(None, question, context, None, None, None)


def plain(answer: Any) -> Any:
    """Return an answer as JSON has it."""
    if isinstance(answer, torch.Tensor):
        return {"tensor": answer.tolist()}
    if isinstance(answer, dict):
        return {key: plain(value) for key, value in answer.items()}
    if isinstance(answer, float):
        return round(answer, 9)
    if isinstance(answer, str | int | None):
        return answer
    return [plain(item) for item in answer]


class Heard(logging.Handler):
    """Keeps what transformers warned of lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths = False

    def emit(self, record: logging.LogRecord) -> None:
        """Remember whether a text was too short or too long."""
        text = record.getMessage()
        self.lengths |= "input_length" in text or "min_length=" in text


def record(one: dict[str, Any]) -> dict[str, Any]:
    """Ask transformers and return the case with its answer."""
    args, kwargs, heard = one["args"], one.pop("told", {}) | one["kwargs"], Heard()
    logger = logging.getLogger("transformers")
    if one["how"] == "squad":
        examples = [Squad(**item).example for item in (args[0] if isinstance(args[0], list) else args)]
        args = [examples if isinstance(args[0], list) else examples[0]]
    try:
        pipe = pipeline(one["task"], model=str(HERE / one["model"]), device="cpu", **one["init"])
        logger.addHandler(heard)
        args = [(item for item in args[0])] if one["how"] == "stream" else args
        answer = pipe(*args, **kwargs)
        told = {"answer": plain(answer), "warns": heard.lengths}
    except Exception as error:
        told = {"error": type(error).__name__}
    finally:
        logger.removeHandler(heard)
    return one | told


def named(value: Any) -> Any:
    """Write the long texts by their names, as `str.format` reads them."""
    if isinstance(value, str):
        for name, text in TEXTS.items():
            value = value.replace(text, f"{{{name}}}")
        return value
    if isinstance(value, dict):
        return {key: named(item) for key, item in value.items()}
    return [named(item) for item in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = [record(one) for one in [*map(as_documented, writing()), *answering()]]
    lines = [
        json.dumps(one | {key: named(one[key]) for key in ("args", "kwargs")}, ensure_ascii=False) for one in cases
    ]
    head = json.dumps({"transformers": transformers.__version__, "texts": TEXTS})
    text = f'{head[:-1]}, "cases": [\n' + ",\n".join(lines) + "\n]}\n"
    (HERE / "answers.json").write_text(text, encoding="utf-8")
