"""The pipeline of intents and slots, for which transformers has none; `import hfseq` registers it.

pipe = pipeline("intent-slots", model="user/assistant")
pipe("wake me at seven in Oslo")
# {"intent": "set_alarm", "score": 0.97, "slots": [{"name": "time", "value": "seven", "start": 11, "end": 16, ...}]}
"""

from typing import Any, NamedTuple

import torch
from transformers import Pipeline, PreTrainedModel

from ..models.tag_names import OUTSIDE, entities
from ..tokenization.limits import reading_options


class Word(NamedTuple):
    """A word of a text: its characters, and the token that speaks for it."""

    start: int
    end: int
    token: int | None  # None: the model reads no token of it


class IntentSlotsPipeline(Pipeline):
    """Finds the intent of a text and its slots.

    A text gives a dict, a list of texts a list of them: `intent`, the name of the likeliest one; `score`, its
    probability; `slots`, each with `name`, `value` (the characters from `start` to `end` of the text) and `score`, the
    mean probability of its words' tags. The first token of a word tells its tag, and words are joined as they are for
    the scores of the model: an entity of IOB tags is a slot.

    Where the score is below the model's `unknown_threshold`, the intent is None and there are no slots: a slot is a
    field of a request, and the model has just said that it knows no request of this kind. `unknown_threshold=0` in a
    call gives both all the same.

    Parameters, here or in a call: `is_split_into_words=True` (a text is a list of words; places are those in the words
    joined by blanks), `top_k` (adds `intents`, so many with their scores), `unknown_threshold`, `batch_size`.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True
    model: Any
    tokenizer: Any

    def __init__(self, model: PreTrainedModel, tokenizer: Any = None, *, task: str = "", **kwargs: Any) -> None:
        if getattr(model.config, "slot_labels", None) is None:
            raise ValueError(
                f"The task intent-slots needs a model with both heads, such as LSTMForIntentAndSlots; got "
                f"{type(model).__name__}, whose config names no slot_labels."
            )
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"The task intent-slots needs a tokenizer that tells the place of its tokens, which "
                f"{type(tokenizer).__name__} does not: take a fast one."
            )
        super().__init__(model, tokenizer, task=task, **kwargs)

    def _sanitize_parameters(
        self,
        is_split_into_words: bool | None = None,
        top_k: int | None = None,
        unknown_threshold: float | None = None,
        **pipeline_parameters: Any,
    ) -> Any:
        if pipeline_parameters:
            named = ", ".join(pipeline_parameters)
            known = "is_split_into_words, top_k and unknown_threshold"
            raise TypeError(f"intent-slots has the parameters {known}, and none named {named}.")
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k must be a number from 1 up, got {top_k!r}.")
        if unknown_threshold is not None and not 0 <= unknown_threshold <= 1:
            raise ValueError(f"unknown_threshold must be a probability from 0 to 1, got {unknown_threshold!r}.")
        preprocess = {} if is_split_into_words is None else {"is_split_into_words": is_split_into_words}
        postprocess = {"top_k": top_k, "unknown_threshold": unknown_threshold}
        return preprocess, {}, {name: value for name, value in postprocess.items() if value is not None}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Answer a text or a list of texts; with `is_split_into_words`, a list of words or a list of such lists."""
        if isinstance(inputs, list | tuple) and not inputs:  # of which transformers would look at the first
            return []
        is_split = kwargs.get("is_split_into_words", self._preprocess_params.get("is_split_into_words", False))
        if is_split and isinstance(inputs, list | tuple) and all(isinstance(word, str) for word in inputs):
            return super().__call__([list(inputs)], **kwargs)[0]
        return super().__call__(inputs, **kwargs)

    def preprocess(self, input_: Any, is_split_into_words: bool = False) -> Any:  # type: ignore[override]
        """Make a text, or its words, the model's input, and tell where its words are."""
        text, places = _joined(input_) if is_split_into_words else (input_, None)
        if not isinstance(text, str):
            raise TypeError(
                f"intent-slots takes a text; got {input_!r}. Words are given with is_split_into_words=True."
            )
        encoded = self.tokenizer(
            text if places is None else list(input_),
            is_split_into_words=places is not None,
            return_offsets_mapping=True,
            **reading_options(self.tokenizer),
        )
        ids = torch.tensor([encoded["input_ids"]], dtype=torch.long)  # which are no integers where there are none
        words = _words(encoded.word_ids(), encoded["offset_mapping"], places)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "words": words, "text": text}

    def _forward(self, input_tensors: Any) -> Any:  # type: ignore[override]
        ids, mask = input_tensors["input_ids"], input_tensors["attention_mask"]
        outputs = self.model(input_ids=ids, attention_mask=mask)
        return {
            "logits": outputs.logits,
            "slot_logits": outputs.slot_logits,
            "attention_mask": mask,
            "words": input_tensors["words"],
            "text": input_tensors["text"],
        }

    def postprocess(  # type: ignore[override]
        self, model_outputs: Any, top_k: int | None = None, unknown_threshold: float | None = None
    ) -> Any:
        """Name the intent and the slots."""
        shares = model_outputs["logits"][0].float().softmax(-1)
        best = int(shares.argmax())
        threshold = self.model.config.unknown_threshold if unknown_threshold is None else unknown_threshold
        is_known = threshold is None or float(shares[best]) >= threshold
        answer = {
            "intent": self.model.config.id2label[best] if is_known else None,
            "score": float(shares[best]),
            "slots": self._slots(model_outputs) if is_known else [],
        }
        if top_k is not None:
            scores, found = shares.topk(min(top_k, len(shares)))
            names = [self.model.config.id2label[index] for index in found.tolist()]
            answer["intents"] = [
                {"intent": name, "score": score} for name, score in zip(names, scores.tolist(), strict=True)
            ]
        return answer

    def _slots(self, model_outputs: Any) -> list[dict[str, Any]]:
        text, words = model_outputs["text"], [Word(*word) for word in model_outputs["words"]]
        is_real = model_outputs["attention_mask"][0].bool()
        # A text without a token has one output all the same.
        shares = model_outputs["slot_logits"][0][: len(is_real)][is_real].float().softmax(-1)
        best, tags = (each.tolist() for each in shares.max(-1))
        names = self.model.config.slot_labels
        told = [OUTSIDE if word.token is None else names[tags[word.token]] for word in words]
        found = []
        for kind, first, end in entities(told):
            own = words[first:end]
            scores = [best[word.token] for word in own if word.token is not None]
            slot = {"name": kind, "value": text[own[0].start : own[-1].end]}
            found.append({**slot, "start": own[0].start, "end": own[-1].end, "score": sum(scores) / len(scores)})
        return found


def _joined(words: Any) -> tuple[str, list[tuple[int, int]]]:
    """Join words by blanks, and tell the place of each."""
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"is_split_into_words=True: intent-slots takes a list of words for a text; got {words!r}.")
    places, end = [], 0
    for word in words:
        places.append((end, end + len(word)))
        end += len(word) + 1
    return " ".join(words), places


def _words(ids: list[int | None], offsets: list[Any], places: list[tuple[int, int]] | None) -> list[Word]:
    """List the words of a text; their number is that of the tokenizer, or of the words that were given."""
    tokens: dict[int, list[int]] = {}
    for place, word in enumerate(ids):
        if word is not None:
            tokens.setdefault(word, []).append(place)
    if places is not None:
        return [Word(*place, tokens[word][0] if word in tokens else None) for word, place in enumerate(places)]
    return [Word(offsets[own[0]][0], offsets[own[-1]][1], own[0]) for own in tokens.values()]
