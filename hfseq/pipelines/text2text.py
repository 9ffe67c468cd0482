"""Pipelines of models that read a text and write another: what transformers 4 had, and its version 5 removed.

pipe = pipeline("translation_en_to_de", model="google-t5/t5-small")
pipe("The heron waits.")                            # [{"translation_text": "Der Reiher wartet."}]
pipe = pipeline("summarization", model="facebook/bart-large-cnn")
pipe([story, another], max_length=60)               # [{"summary_text": ...}, {"summary_text": ...}]

They call `generate()` of any encoder-decoder model. docs/tasks/removed_pipelines.md says what differs from before.
"""

import logging
import re
from typing import Any

import torch
from transformers import GenerationConfig, Pipeline, PreTrainedModel

logger = logging.getLogger(__name__)

_LENGTHS = {
    "max_length": "max_new_tokens",
    "max_new_tokens": "max_length",
    "min_length": "min_new_tokens",
    "min_new_tokens": "min_length",
}


def languages_of(task: str) -> tuple[str, str] | None:
    """Return the two languages in the name of a task, translation_XX_to_YY; None if it has none."""
    found = re.fullmatch(r"translation_(.+?)_to_(.+)", task)
    return (found[1], found[2]) if found else None


class Text2TextGenerationPipeline(Pipeline):
    """Writes a text from a text with an encoder-decoder model.

    A text gives a list of dicts, one for each of `num_return_sequences`; a list of texts gives one dict a text, or a
    list of dicts a text if there are several; a generator or a data set gives an iterator over the answers.

    Parameters, here or in a call: `truncation` (as the tokenizer takes it; by default nothing is cut),
    `return_tensors=True` (token ids in place of texts; with `return_text=True` both), `clean_up_tokenization_spaces`,
    `stop_sequence` (a text or several that end the writing), and all that `generate()` takes. Of `max_length` and
    `max_new_tokens` the one that was said last counts. Where neither the model nor the call says how to write, it is
    with 4 beams and at most 256 new tokens.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True
    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(max_new_tokens=256, num_beams=4)
    return_name = "generated"
    model: Any
    tokenizer: Any

    def __init__(self, model: PreTrainedModel, tokenizer: Any = None, *, task: str = "", **kwargs: Any) -> None:
        if not (getattr(model.config, "is_encoder_decoder", False) and model.can_generate()):
            raise ValueError(
                f"The task {task} needs an encoder-decoder model that can write, as AutoModelForSeq2SeqLM loads; got "
                f"{type(model).__name__}."
            )
        super().__init__(model, tokenizer, task=task, **kwargs)
        own = self._settings_of_the_task()
        self._prefix = own.get("prefix", getattr(self.model.config, "prefix", None)) or ""
        own = {key: value for key, value in own.items() if hasattr(self._default_generation_config, key)}
        self._generate_kwargs = _on_top_of(own, self._generate_kwargs)

    def _settings_of_the_task(self) -> dict[str, Any]:
        """Return what the model's config says of this task alone: T5 has a prefix and lengths for each."""
        tasks = getattr(self.model.config, "task_specific_params", None) or {}
        pairs = [name for name in tasks if name.startswith("translation_")]
        name = pairs[0] if pairs and self.task == "translation" else self.task
        if name != self.task:
            logger.warning("translation without languages is taken for %s: name them, as this does", name)
        elif pairs and name.startswith("translation") and name not in pairs:
            logger.warning("config.json has nothing for %s, but for %s", name, ", ".join(pairs))
        return tasks.get(name, {})

    def _sanitize_parameters(
        self,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        truncation: bool | str | None = None,
        stop_sequence: str | list[str] | None = None,
        **generate_kwargs: Any,
    ) -> Any:
        if stop_sequence is not None:
            generate_kwargs |= {"stop_strings": stop_sequence, "tokenizer": self.tokenizer}
        if self.assistant_model is not None:
            generate_kwargs["assistant_model"] = self.assistant_model
        if self.assistant_tokenizer is not None:
            generate_kwargs |= {"tokenizer": self.tokenizer, "assistant_tokenizer": self.assistant_tokenizer}
        postprocess = {
            "return_tensors": return_tensors,
            "return_text": return_text,
            "clean_up_tokenization_spaces": clean_up_tokenization_spaces,
        }
        return (
            {} if truncation is None else {"truncation": truncation},
            generate_kwargs,
            {name: value for name, value in postprocess.items() if value is not None},
        )

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Write from a text, a list of texts, a generator of texts or a data set of them."""
        if isinstance(inputs, list) and not inputs:  # of which transformers would look at the first
            return []
        answers = super().__call__(inputs, **kwargs)
        if isinstance(inputs, list) and all(len(answer) == 1 for answer in answers):
            return [answer[0] for answer in answers]
        return answers

    def preprocess(self, input_: Any, truncation: bool | str = False) -> Any:  # type: ignore[override]
        """Make a text the model's input, with the prefix that its config asks for."""
        return self._checked(self.tokenizer(self._text(input_), return_tensors="pt", truncation=truncation))

    def _text(self, input_: Any) -> str:
        if not isinstance(input_, str):
            raise TypeError(f"{self.task} takes a text, a list or a generator of texts; got {input_!r} for a text.")
        return self._prefix + input_

    def _checked(self, inputs: Any) -> Any:
        if inputs["input_ids"].shape[-1] == 0:
            raise ValueError("The tokenizer makes no token of this text: give a text that is not empty.")
        inputs.pop("token_type_ids", None)  # tokenizers give them, encoder-decoder models have no use for them
        return inputs

    def _forward(self, input_tensors: Any, **generate_kwargs: Any) -> Any:
        inputs = dict(input_tensors)
        rows, input_length = inputs["input_ids"].shape
        if (first := inputs.pop("forced_bos_token_id", None)) is not None:
            # The language to write, which a batch has once a row: always the same, for the call names one.
            generate_kwargs["forced_bos_token_id"] = first[0] if isinstance(first, list) else first
        if "generation_config" not in generate_kwargs:
            generate_kwargs = _on_top_of(self._generate_kwargs, generate_kwargs)
        self._look_at_lengths(input_length, self._get_set_generation_params(generate_kwargs))
        written = self.model.generate(**inputs, **self._prepare_generate_kwargs(generate_kwargs))
        ids = written if isinstance(written, torch.Tensor) else written.sequences
        return {"output_ids": ids.reshape(rows, -1, ids.shape[-1])}

    def _look_at_lengths(self, input_length: int, settings: dict[str, Any]) -> None:
        longest = settings.get("max_new_tokens") or settings.get("max_length")
        if longest is not None:
            self.check_inputs(input_length, settings.get("min_length") or 0, longest)

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> None:
        """Warn of lengths that cannot be meant; for writing in general all can."""

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: Any,
        return_tensors: bool = False,
        return_text: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ) -> Any:
        """Name what was written."""
        answers = []
        for ids in model_outputs["output_ids"][0]:
            answer: dict[str, Any] = {}
            if not return_tensors or return_text:
                answer[f"{self.return_name}_text"] = self.tokenizer.decode(
                    ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean_up_tokenization_spaces
                )
            if return_tensors:
                answer[f"{self.return_name}_token_ids"] = ids
            answers.append(answer)
        return answers


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Writes summaries: answers are named `summary_text`; see `Text2TextGenerationPipeline` for the rest."""

    return_name = "summary"

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> None:
        """Warn of a summary that cannot be shorter than its text."""
        if max_length < min_length:
            logger.warning("min_length=%d is more than max_length=%d: lower it", min_length, max_length)
        if input_length < max_length:
            logger.warning(
                "the summary may be longer (%d tokens) than the text (%d tokens): give a smaller max_length, say %d",
                max_length,
                input_length,
                max(input_length // 2, 1),
            )


class TranslationPipeline(Text2TextGenerationPipeline):
    """Translates: answers are named `translation_text`; see `Text2TextGenerationPipeline` for the rest.

    Two parameters more, `src_lang` and `tgt_lang`, for models of many languages (mBART, NLLB, M2M100); a task
    "translation_XX_to_YY" names them too. They mean nothing to a model of one pair of languages.
    """

    return_name = "translation"

    def _sanitize_parameters(  # type: ignore[override]
        self, src_lang: str | None = None, tgt_lang: str | None = None, **kwargs: Any
    ) -> Any:
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        languages = {"src_lang": src_lang, "tgt_lang": tgt_lang}
        return preprocess | {name: code for name, code in languages.items() if code}, forward, postprocess

    def preprocess(  # type: ignore[override]
        self,
        input_: Any,
        truncation: bool | str = False,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
    ) -> Any:
        """Make a text the model's input, with the token of its language where the model has such tokens."""
        build = getattr(self.tokenizer, "_build_translation_inputs", None)
        if build is None:
            return super().preprocess(input_, truncation)
        source, target = languages_of(self.task) or (None, None)
        source, target = self._language("src_lang", src_lang or source), self._language("tgt_lang", tgt_lang or target)
        return self._checked(
            build(self._text(input_), return_tensors="pt", src_lang=source, tgt_lang=target, truncation=truncation)
        )

    def _language(self, name: str, code: str | None) -> str:
        """Check that the tokenizer knows a language: else it would write any, and say nothing."""
        codes = getattr(self.tokenizer, "lang_code_to_id", None) or self.tokenizer.all_special_tokens
        if code in codes or f"__{code}__" in codes:  # M2M100 writes its codes so
            return str(code)
        given = "was not given" if code is None else f"is {code!r}, which this tokenizer does not know"
        start = (code or "").split("_")[0]
        alike = [known for known in codes if start and known.strip("_").startswith(start)] or list(codes)[:3]
        raise ValueError(
            f"{name} {given}: name both languages by its codes, src_lang= and tgt_lang=, such as {', '.join(alike)}."
        )

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> None:
        """Warn of a translation that may be cut."""
        if input_length > 0.9 * max_length:
            logger.warning(
                "the text has %d tokens and its translation at most %d: if it is cut, give a larger max_length",
                input_length,
                max_length,
            )


def _on_top_of(settings: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """Return both, where a newer length also undoes an older one: `generate` would prefer max_new_tokens."""
    undone = {_LENGTHS[name]: None for name, value in newer.items() if name in _LENGTHS and value is not None}
    return {**settings, **undone, **newer}
