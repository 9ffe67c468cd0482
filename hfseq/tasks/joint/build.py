"""The parts of `recipes/intent_slots.py`: its tokens, its model, the temperature and the threshold, and its facts.

Each word has a slot or none; its first token is measured. Training texts are cut to `tokenizer.max_length`; no text
that is evaluated is, so that every word counts.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerFast, pipeline

from ...cards.facts import Examples, SeedRun
from ...cards.measure import collect_examples
from ...data.intents import IntentTask, tokenize_intents
from ...evaluation.calibration import probabilities
from ...evaluation.entities import entities, found_entities, kinds
from ...evaluation.frames import Frames, frames_of, score_frames
from ...recipe.embeddings import fill_embeddings
from ...recipe.pictures import draw_coverage
from ...recipe.publish import run_facts, split_line
from ...recipe.texts import speed_line, text_facts
from ..tagging.build import build_network, texts_of, tokens_of_splits, word_facts, words_cut
from ..tagging.facts import DecodingFacts, KindScore
from ..tagging.settings import TokenizerSettings
from .calibrating import Answers, Calibrated, calibration_facts
from .card import TASK, calibration_lines, told
from .facts import AnsweredRequest, FoundSlot, IntentSlotsFacts
from .rivals import simple_assistants
from .settings import IntentSlotsSettings


class Measured(NamedTuple):
    """What a trained model was asked, and what was chosen for it on validation."""

    answers: Answers  # to the evaluated split
    calibrated: Calibrated
    no_requests: np.ndarray | None  # how sure it is where the text is no request; None: the data have no such texts
    decoding: DecodingFacts | None  # of a CRF


def make_tokens(task: IntentTask, tokenizer: PreTrainedTokenizerFast, settings: TokenizerSettings) -> DatasetDict:
    """Turn the words of all splits into ids and labels."""
    tokenize = partial(tokenize_intents, tokenizer=tokenizer, slot_names=task.slots.all_names)
    return tokens_of_splits(task.dataset, settings, tokenize)


def make_model(settings: IntentSlotsSettings, task: IntentTask, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the model of the `model` section for these intents, slots and this vocabulary."""
    model = build_network(TASK, settings, tokenizer, task.intents.names, slot_labels=task.slots.names)
    fill_embeddings(model, tokenizer, settings.embeddings, texts_of(task.dataset["train"]))
    return model


def score(task: IntentTask, split: str, tokens: Dataset, answers: Answers) -> dict[str, float]:
    """Score the answers to a split."""
    return score_frames(_expected(task, split), _answered(task, tokens, answers))


def _expected(task: IntentTask, split: str) -> Frames:
    return Frames(task.intents_of(split), task.tagged.tags(split))


def _answered(task: IntentTask, tokens: Dataset, answers: Answers) -> Frames:
    best = answers.logits.argmax(-1)
    found = frames_of(best, answers.slots, tokens["slot_labels"][:], task.slots.all_names)
    return found._replace(intents=[task.intents.names[index] for index in best])


def card_facts(
    settings: IntentSlotsSettings,
    task: IntentTask,
    split: str,
    folder: Path,
    *,
    tokens: DatasetDict,
    run: SeedRun,
    found: Measured,
) -> IntentSlotsFacts:
    """Gather what the card says of the run and of the saved model, loaded back as anybody would load it."""
    card, own = settings.card, tokens[split]
    answers, calibrated = found.answers, found.calibrated
    expected, answered = _expected(task, split), _answered(task, own, answers)
    pipe = pipeline(TASK, model=str(folder), device="cpu", trust_remote_code=False)  # type: ignore[call-overload]
    shares = probabilities(answers.logits)
    right = np.array([one == other for one, other in zip(expected.intents, answered.intents, strict=True)])
    draw_coverage(shares.max(-1), right, folder, threshold=calibrated.threshold)
    texts = texts_of(task.dataset[split])
    return IntentSlotsFacts(
        **run_facts(card, pipe.model, folder, run),
        **text_facts(settings, task.dataset, texts, split, pipe),
        intents=len(task.intents.names),
        slots=len(kinds(task.slots.names)),
        words=word_facts(settings.tokenizer, task.dataset, split, own, words_cut(task.tagged, tokens)),
        decoding=found.decoding,
        kinds=_kinds(expected, answered),
        calibration=calibration_facts(
            shares, np.asarray(own["labels"][:]), calibrated, settings=settings, no_requests=found.no_requests
        ),
        examples=Examples() if not card.shows_rows else _examples(task, split, expected, answered, shares),
        widgets=[_asked(pipe, text) for text in card.ask],
        comparisons=[*simple_assistants(task, split, expected), *card.published()],
    )


def report_lines(facts: IntentSlotsFacts) -> Iterator[str]:
    """Say of the finished model what it answers, how good and how fast it is."""
    for widget in facts.widgets:
        yield f"{widget.text!r} -> {told(widget.intent, [(each.name, each.value) for each in widget.slots])}"
    yield from calibration_lines(facts)
    yield split_line(facts.data.evaluated_split, facts.runs[0].metrics)
    yield speed_line(facts.speed)


def _kinds(expected: Frames, answered: Frames) -> list[KindScore]:
    return [
        KindScore(kind=kind, expected=count.expected, precision=count.precision, recall=count.recall, f1=count.f1)
        for kind, count in found_entities(expected.slots, answered.slots).items()
    ]


def _asked(pipe: Any, text: str) -> AnsweredRequest:
    found = pipe(text)
    slots = [FoundSlot(name=each["name"], value=each["value"]) for each in found["slots"]]
    return AnsweredRequest(text=text, intent=found["intent"], score=round(found["score"], 4), slots=slots)


def _examples(task: IntentTask, split: str, expected: Frames, answered: Frames, shares: np.ndarray) -> Examples:
    rows = task.dataset[split]["tokens"][:]
    written = []
    for frames in (expected, answered):
        parts = zip(rows, frames.intents, frames.slots, strict=True)
        written.append(
            [
                told(intent, [(kind, " ".join(words[start:end])) for kind, start, end in entities(tags)])
                for words, intent, tags in parts
            ]
        )
    both = zip(expected.intents, answered.intents, expected.slots, answered.slots, strict=True)
    right = [intent == other and tags == others for intent, other, tags, others in both]
    texts = [" ".join(words) for words in rows]
    wanted, said = written
    return collect_examples(texts, wanted, said, shares.max(-1).tolist(), right=right)
