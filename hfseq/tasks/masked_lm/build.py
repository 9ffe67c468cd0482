"""The parts of the recipe of language models that fill in: tokens, model, scores, answers, and the facts of the card.

`recipes/masked_language_modeling.py` strings them together in eight steps.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerFast, pipeline

from ...cards.facts import Comparison, Widget, WidgetLabel
from ...cards.measure import measure_speed
from ...recipe import language
from ...recipe.language import language_facts, make_language_model, make_text, split_lines
from ...recipe.publish import rival
from ...training.streams.masked_scores import MaskedScores, score_guess, score_masked
from ...training.streams.masking import Masking
from ...training.streams.trainer import StreamTrainer
from ...training.streams.windows import TokenText
from .card import TASK
from .facts import MASKED_METRICS, MaskedModelFacts
from .settings import MaskedLMSettings

__all__ = ["card_facts", "evaluate_split", "make_model", "make_text", "make_tokenizer", "report_lines"]

_SHOWN = 5
_TIMED_TEXTS = 256


def make_tokenizer(dataset: DatasetDict, marks: language.LanguageTokenizerSettings) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the training split; it writes whole texts, with the marks that they have."""
    return language.make_tokenizer(dataset, marks, is_whole=True)


def make_model(settings: MaskedLMSettings, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the model of the `model` section for this vocabulary."""
    return make_language_model(TASK, settings, tokenizer)


def evaluate_split(
    trainer: StreamTrainer, text: TokenText, rows: Dataset, settings: MaskedLMSettings
) -> dict[str, float]:
    """Score a split: what is hidden of it follows from its tokens and the window alone, see `score_masked`."""
    masking = cast(Masking, trainer.masking)
    return _shown(score_masked(trainer.model, text, masking, window=settings.window))


def _shown(scores: MaskedScores) -> dict[str, float]:
    return {name: float(getattr(scores, name)) for name in MASKED_METRICS}


def guess_baseline(train: TokenText, text: TokenText, masking: Masking, *, window: int) -> list[Comparison]:
    """Score the split with the frequencies of the training tokens: the commonest is the guess for each hidden one.

    Every token counts once more than it is there. Special ones count once: only a window that has no other is asked
    for one of them, see `Masking.hide`.
    """
    counts = np.bincount(train.ids[~masking.special[train.ids]], minlength=len(masking.special)) + 1.0
    scores = score_guess(counts / counts.sum(), text, masking, window=window)
    return rival("Unigram (the most frequent token)", _shown(scores))


def filled_in(pipe: Pipeline, prompts: Sequence[str]) -> list[Widget]:
    """Let a fill-mask pipeline answer: for each text with a mask, the likeliest tokens."""
    widgets = []
    for prompt in prompts:
        answers = [(each["token_str"], round(each["score"], 4)) for each in pipe(prompt, top_k=_SHOWN)]
        widgets.append(Widget(text=prompt, output=[WidgetLabel(label=label, score=score) for label, score in answers]))
    return widgets


def card_facts(
    settings: MaskedLMSettings,
    trainer: StreamTrainer,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    folder: Path,
    *,
    metrics: dict[str, dict[str, float]],
    command: str,
) -> MaskedModelFacts:
    """Gather what the card says: from the settings, from the run, and measured on the saved model.

    The model in the folder is loaded back on the CPU, as anybody would load it. `metrics` are what `evaluate_split`
    found, the evaluated split first.
    """
    split, masking = next(iter(metrics)), cast(Masking, trainer.masking)
    asked = settings.card.ask
    pipe = pipeline(TASK, model=str(folder), device="cpu", trust_remote_code=False)
    return MaskedModelFacts(
        **language_facts(settings, trainer, dataset, texts, folder, pipe, metrics=metrics, command=command),
        hidden_share=masking.probability,
        speed=measure_speed(pipe, [asked[index % len(asked)] for index in range(_TIMED_TEXTS)]),
        widgets=filled_in(pipe, asked),
        comparisons=[
            *guess_baseline(texts["train"], texts[split], masking, window=settings.window),
            *settings.card.published(),
        ],
    )


def report_lines(facts: MaskedModelFacts) -> Iterator[str]:
    """Say of the finished model what it fills in, how fast, and how good it is."""
    for widget in facts.widgets:
        yield f"--- {widget.text!r}: " + ", ".join(f"{each.label!r} {each.score:.3f}" for each in widget.output)
    yield f"{facts.speed.ms_per_text:.2f} ms a text filled in, {facts.speed.texts_per_second:,.0f} texts/s in batches"
    yield from split_lines(facts)
