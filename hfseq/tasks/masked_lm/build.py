"""The parts of `recipes/masked_language_modeling.py`: its scores and answers, and the facts of its card."""

from collections.abc import Iterator
from itertools import cycle, islice
from typing import cast

import numpy as np
from datasets import DatasetDict
from transformers import pipeline

from ...cards.facts import Comparison
from ...cards.measure import measure_speed, widget_entries
from ...recipe.language import language_facts, split_lines
from ...recipe.publish import rival
from ...training.streams.masked_scores import MaskedScores, score_guess, score_masked
from ...training.streams.masking import Masking
from ...training.streams.trainer import StreamTrainer
from ...training.streams.windows import TokenText
from .card import NEUTRAL, TASK
from .facts import MASKED_METRICS, MaskedModelFacts
from .settings import MaskedLMSettings


def evaluate_split(trainer: StreamTrainer, text: TokenText) -> dict[str, float]:
    """Score a split: what is hidden of it follows from its tokens and the window alone, see `score_masked`."""
    return _shown(score_masked(trainer.model, text, cast(Masking, trainer.masking), window=trainer.args.window))


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


def card_facts(
    settings: MaskedLMSettings,
    trainer: StreamTrainer,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    metrics: dict[str, dict[str, float]],
) -> MaskedModelFacts:
    """Gather what the card says of the run and of the saved model, loaded back as anybody would load it.

    `metrics` are of each split, the evaluated one first.
    """
    split, masking, asked = next(iter(metrics)), cast(Masking, trainer.masking), settings.card.ask
    pipe = pipeline(TASK, model=str(trainer.args.output_dir), device="cpu", trust_remote_code=False)
    return MaskedModelFacts(
        **language_facts(settings, trainer, dataset, texts, pipe, metrics),
        hidden_share=masking.probability,
        speed=measure_speed(pipe, list(islice(cycle(asked or [NEUTRAL]), 256))),
        widgets=widget_entries(pipe, asked, "token_str"),
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
