"""The pipeline that finds the answer to a question in a text: what transformers 4 had, and its version 5 removed.

pipe = pipeline("question-answering", model="deepset/roberta-base-squad2")
pipe(question="Who waits?", context="The heron waits.")      # {"score": 0.98, "start": 0, "end": 9, "answer": ...}

    P(answer is tokens s ... e) = P(start = s) P(end = e),   s <= e < s + max_answer_len,

each a softmax over the tokens of the context and the model's first token, which stands for "no answer". A context
that is too long is read in windows that overlap, each with a softmax of its own, as in transformers 4.
docs/tasks/removed_pipelines.md says what differs from before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Encoding
from transformers.pipelines.base import ChunkPipeline

_READING = ("padding", "doc_stride", "max_question_len", "max_seq_len")
_CHOOSING = ("top_k", "max_answer_len", "handle_impossible_answer", "align_to_words")
_COUNTS = ("doc_stride", "max_question_len", "max_seq_len", "top_k", "max_answer_len")
_FORMS = 'question= and context=, or {"question": ..., "context": ...}, or a list of such dicts'


@dataclass(frozen=True)
class Question:
    """A question and the text to search."""

    question: str
    context: str

    def __post_init__(self) -> None:
        for name, text in vars(self).items():
            if not isinstance(text, str):
                raise ValueError(f"{name} must be a text, got {text!r}: give {_FORMS}.")
            if not text.strip():
                raise ValueError(f"{name} is empty: there is nothing to {'ask' if name == 'question' else 'search'}.")


@dataclass(frozen=True)
class Window:
    """A part of the context with the question; no tuple, which a pipeline would take apart."""

    asked: Question
    encoding: Encoding
    side: int  # of the two texts of the encoding the context: 1, or 0 for tokenizers that pad on the left

    def chars(self, start: int, end: int, align_to_words: bool) -> tuple[int, int]:
        """Return where tokens stand in the context, or the words that they are of."""
        first, last = self.encoding.offsets[start][0], self.encoding.offsets[end][1]
        if align_to_words:
            if (word := self._word_of(start)) is not None:
                first = word[0]
            if (word := self._word_of(end)) is not None:
                last = word[1]
        return first, last

    def _word_of(self, token: int) -> tuple[int, int] | None:
        word = self.encoding.token_to_word(token)
        return None if word is None else self.encoding.word_to_chars(word, self.side)


class QuestionAnsweringPipeline(ChunkPipeline):
    """Finds answers in texts with any model of `AutoModelForQuestionAnswering`.

    Call it with `question=` and `context=` (texts or lists of them; one context serves many questions), with a dict of
    the two, with a list, a generator or a data set of such dicts, or of objects with `question_text` and
    `context_text`. The answer is a dict: `score`, `start` and `end` (characters of the context), `answer`. With
    `top_k` above 1 it is a list of dicts, the best first; the same words found again add up their scores.

    Parameters, here or in a call:

    - `top_k` (1): how many answers at most;
    - `max_answer_len` (15), `max_question_len` (64): in tokens; a longer question is cut;
    - `max_seq_len` (384, or what the tokenizer says): tokens of a window, question and all;
    - `doc_stride` (128, or half a window): by how many tokens two windows overlap;
    - `handle_impossible_answer` (False): whether "no answer" may be one, with an empty text;
    - `align_to_words` (True): whether answers are whole words; not for languages without spaces;
    - `padding` (False): as the tokenizer takes it.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True
    tokenizer: Any

    def _sanitize_parameters(self, **parameters: Any) -> Any:
        for name, value in parameters.items():
            if name not in _READING + _CHOOSING:
                raise TypeError(
                    f"{self.task} has no parameter {name!r}; it has {', '.join(_READING + _CHOOSING)}, and takes "
                    f"{_FORMS}."
                )
            if name in _COUNTS and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a number from 1 up, got {value!r}.")
        reading = {name: value for name, value in parameters.items() if name in _READING}
        return reading, {}, {name: value for name, value in parameters.items() if name in _CHOOSING}

    def __call__(self, *inputs: Any, **parameters: Any) -> Any:
        """Answer one question or many; see the class for how to ask."""
        if "question" in parameters or "context" in parameters:
            inputs = (_paired(parameters.pop("question", None), parameters.pop("context", None)),)
        elif len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
            inputs = (Question(*inputs),)
        asked = inputs[0] if len(inputs) == 1 else list(inputs)
        if isinstance(asked, list):
            asked = [_as_question(item) for item in asked]  # all are checked before the first is answered
            if not asked:
                if not inputs:
                    raise ValueError(f"There is no question: give {_FORMS}.")
                return []
        answers = super().__call__(asked, **parameters)
        return answers[0] if isinstance(answers, list) and isinstance(asked, list) and len(asked) == 1 else answers

    def preprocess(  # type: ignore[override]
        self,
        input_: Any,
        padding: bool | str = False,
        doc_stride: int | None = None,
        max_question_len: int = 64,
        max_seq_len: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Cut a context into windows that the model can read beside the question."""
        asked = _as_question(input_)
        if not self.tokenizer.is_fast:
            raise ValueError(
                f"{type(self.tokenizer).__name__} does not tell where its tokens stand in the text: {self.task} needs "
                "a tokenizer with a tokenizer.json."
            )
        length = max_seq_len or min(self.tokenizer.model_max_length, 384)
        question, room = self._shortened(asked.question, max_question_len, length)
        side = 1 if self.tokenizer.padding_side == "right" else 0
        encoded = self.tokenizer(
            *((question, asked.context) if side else (asked.context, question)),
            padding=padding,
            truncation="only_second" if side else "only_first",
            max_length=length,
            stride=_overlap(doc_stride, length, room),
            return_overflowing_tokens=True,
        )
        names = [name for name in self.tokenizer.model_input_names if name in encoded]
        for index, encoding in enumerate(encoded.encodings):
            yield {
                **{name: torch.tensor([encoded[name][index]]) for name in names},
                "window": Window(asked, encoding, side),
                "is_last": index == len(encoded.encodings) - 1,
            }

    def _shortened(self, question: str, max_question_len: int, length: int) -> tuple[str, int]:
        """Return the question, cut, and how many tokens of a window it leaves to the context."""
        alone = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ends = [end for _, end in alone["offset_mapping"]]
        if len(ends) > max_question_len:
            question, ends = question[: ends[max_question_len - 1]], ends[:max_question_len]
        room = length - len(ends) - self.tokenizer.num_special_tokens_to_add(pair=True)
        if room < 2:
            raise ValueError(
                f"A question of {len(ends)} tokens leaves no room for the context in a window of {length}: give a "
                "larger max_seq_len, if the model can read it, or a smaller max_question_len."
            )
        return question, room

    def _forward(self, input_tensors: Any, **forward_parameters: Any) -> Any:
        inputs = dict(input_tensors)
        kept = {name: inputs.pop(name) for name in ("window", "is_last")}
        output = self.model(**inputs)
        if not {"start_logits", "end_logits"} <= set(output):
            raise ValueError(
                f"The task {self.task} needs a model that scores where an answer starts and ends, as "
                f"AutoModelForQuestionAnswering loads; got {type(self.model).__name__}."
            )
        return {"start": output["start_logits"], "end": output["end_logits"], **kept}

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: Any,
        top_k: int = 1,
        max_answer_len: int = 15,
        handle_impossible_answer: bool = False,
        align_to_words: bool = True,
    ) -> Any:
        """Gather the answers of all windows, the best first."""
        # Spans that are one text once they are whole words leave fewer answers than were looked at.
        looked_at = 2 * top_k + 10 if align_to_words else top_k
        answers: dict[str, dict[str, Any]] = {}
        impossible = 1.0
        for output in model_outputs:
            window = output["window"]
            start, end, nothing = self._probabilities(output)
            impossible = min(impossible, nothing)
            for first, last, score in _best_spans(start, end, looked_at, max_answer_len):
                begin, stop = window.chars(first, last, align_to_words)
                text = window.asked.context[begin:stop]
                if text.strip():
                    found = {"score": 0.0, "start": begin, "end": stop, "answer": text}
                    answers.setdefault(text.lower(), found)["score"] += score
        none = {"score": impossible if handle_impossible_answer else 0.0, "start": 0, "end": 0, "answer": ""}
        ranked = [*answers.values(), *([none] if handle_impossible_answer or not answers else [])]
        ranked = sorted(ranked, key=lambda answer: -answer["score"])[:top_k]
        return ranked[0] if top_k == 1 else ranked

    def _probabilities(self, output: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return P(start) and P(end) of the tokens of the context, and the probability that there is no answer."""
        window, both = output["window"], torch.cat((output["start"], output["end"])).float()
        tokens = len(window.encoding)  # the rest is what a batch was padded with
        both = both[:, :tokens] if window.side else both[:, -tokens:]
        outside = torch.tensor([found != window.side for found in window.encoding.sequence_ids])
        ids, cls_id = window.encoding.ids, self.tokenizer.cls_token_id
        null = next((at for at, found in enumerate(ids) if found == cls_id and outside[at]), None)
        ignored = outside.clone()
        if null is not None:
            ignored[null] = False
        start, end = both.masked_fill(ignored, -torch.inf).softmax(-1)
        nothing = 0.0 if null is None else float(start[null] * end[null])
        return start.masked_fill(outside, 0.0), end.masked_fill(outside, 0.0), nothing


def _best_spans(start: torch.Tensor, end: torch.Tensor, count: int, longest: int) -> list[tuple[int, int, float]]:
    """Return the likeliest spans of tokens, as first, last and probability, the best first."""
    spans = torch.outer(start, end).triu().tril(longest - 1).flatten()
    scores, places = spans.topk(min(count, len(spans)))
    width = len(end)
    found = zip(places.tolist(), scores.tolist(), strict=True)
    return [(place // width, place % width, score) for place, score in found if score > 0]


def _overlap(doc_stride: int | None, length: int, room: int) -> int:
    """Return by how many tokens windows overlap; a long question leaves room for less than is usual."""
    if doc_stride is None:
        usual = min(length // 2, 128)
        return usual if usual < room else room // 2
    if doc_stride >= room:
        raise ValueError(
            f"doc_stride={doc_stride} must be less than the {room} tokens of the context that a window of {length} "
            "has: give a smaller doc_stride or a larger max_seq_len."
        )
    return doc_stride


def _paired(question: Any, context: Any) -> Question | list[Question]:
    if question is None or context is None:
        raise ValueError(f"question={question!r} and context={context!r}: both are needed.")
    if isinstance(question, str):
        return Question(question, context)
    if not isinstance(question, list):
        raise ValueError(f"question must be a text or a list of texts, got {question!r}.")
    contexts = [context] * len(question) if isinstance(context, str) else context
    if not isinstance(contexts, list) or len(contexts) != len(question):
        many = len(contexts) if isinstance(contexts, list) else repr(context)
        raise ValueError(f"{len(question)} questions with {many} contexts: give one text, or a context a question.")
    return [Question(*pair) for pair in zip(question, contexts, strict=True)]


def _as_question(item: Any) -> Question:
    if isinstance(item, Question):
        return item
    if hasattr(item, "question_text") and hasattr(item, "context_text"):  # what transformers 4 called a SquadExample
        return Question(item.question_text, item.context_text)
    if not isinstance(item, dict) or not {"question", "context"} <= set(item):
        raise ValueError(f"{item!r} is no question with its context: give {_FORMS}.")
    return Question(item["question"], item["context"])
