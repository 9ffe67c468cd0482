"""A masked language model of the recipe, when it has trained: its scores, what it fills in, how fast, and its card.

`causal_lm/build.py` is its sibling for models that write; both have `measured`, `card_facts`, `told`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import Pipeline, pipeline

from ...cards.facts import Comparison, Widget, WidgetLabel
from ...cards.measure import measure_speed
from ...training.streams.masked_scores import MaskedScores, score_guess, score_masked
from ...training.streams.masking import Masking
from ...training.streams.trainer import StreamTrainer
from ...training.streams.windows import TokenText
from ..causal_lm.settings import LanguageSettings, common_facts
from .card import MASKED_TASK
from .facts import MASKED_METRICS, MaskedModelFacts

_SHOWN = 5
_TIMED_TEXTS = 256


def measured(trainer: StreamTrainer, text: TokenText, rows: Dataset, settings: LanguageSettings) -> dict[str, float]:
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
    return [
        Comparison(
            name="Unigram (the most frequent token)", metric=metric, value=value, source="measured in the same run"
        )
        for metric, value in _shown(scores).items()
    ]


def filled_in(pipe: Pipeline, prompts: Sequence[str]) -> list[Widget]:
    """Let a fill-mask pipeline answer: for each text, the likeliest tokens.

    Args:
        pipe: Of the saved model.
        prompts: Texts with one mask each.
    """
    return [
        Widget(
            text=prompt,
            output=[
                WidgetLabel(label=answer["token_str"], score=round(answer["score"], 4))
                for answer in pipe(prompt, top_k=_SHOWN)
            ],
        )
        for prompt in prompts
    ]


def card_facts(
    settings: LanguageSettings,
    trainer: StreamTrainer,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    folder: Path,
    *,
    metrics: dict[str, dict[str, float]],
    command: str,
) -> MaskedModelFacts:
    """Gather what the card says: from the settings, from the run, and measured on the saved model.

    Args:
        settings: Of the run.
        trainer: When it has trained.
        dataset: The documents.
        texts: Their tokens.
        folder: The saved model; it is loaded back on the CPU, as anybody would load it.
        metrics: Split -> what `measured` found, the evaluated split first.
        command: The launch line.
    """
    split, masking = next(iter(metrics)), cast(Masking, trainer.masking)
    prompts = settings.fill_mask.prompts
    pipe = pipeline(MASKED_TASK, model=str(folder), device="cpu", trust_remote_code=False)
    return MaskedModelFacts(
        **common_facts(settings, trainer, dataset, texts, folder, pipe, metrics=metrics, command=command),
        hidden_share=masking.probability,
        speed=measure_speed(pipe, [prompts[index % len(prompts)] for index in range(_TIMED_TEXTS)]),
        widgets=filled_in(pipe, prompts),
        comparisons=[
            *guess_baseline(texts["train"], texts[split], masking, window=settings.window),
            *(Comparison(**row) for row in settings.card.comparisons),
        ],
    )


def told(facts: MaskedModelFacts) -> Iterator[str]:
    """What the recipe prints of the finished model."""
    for widget in facts.widgets:
        yield f"--- {widget.text!r}: " + ", ".join(f"{each.label!r} {each.score:.3f}" for each in widget.output)
    yield f"{facts.speed.ms_per_text:.2f} ms a text filled in, {facts.speed.texts_per_second:,.0f} texts/s in batches"
