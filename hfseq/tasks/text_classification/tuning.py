"""The search for the settings of a bag, of the section `autotune`: done once a run, and recorded in its folder."""

import dataclasses
from pathlib import Path
from typing import Any, cast

from datasets import DatasetDict
from transformers import PreTrainedTokenizerFast

from ...data.text import TextTask
from ...models.words.bag import BagConfig, BagForSequenceClassification
from ...training.words.autotune import Tuned, autotune_bag
from .build import make_model
from .facts import TuningFacts
from .settings import TextClassificationSettings

RECORD = "autotune.json"


def tune(
    settings: TextClassificationSettings,
    task: TextTask,
    tokenizer: PreTrainedTokenizerFast,
    tokens: DatasetDict,
    folder: Path,
    *,
    is_resumed: bool,
) -> tuple[TextClassificationSettings, TuningFacts | None]:
    """Return the settings with what a search on the validation rows chose, and what the card says of it.

    A resumed run takes what the search of its beginning has recorded in its folder.
    """
    if not settings.autotune.is_on:
        return settings, None
    if is_resumed:
        tuned = Tuned.load(folder / RECORD)
    else:
        tuned = _search(settings, task, tokenizer, tokens)
        tuned.save(folder / RECORD)
    # What the settings say stays: a run may be resumed with more epochs, say.
    model, training = {**tuned.model, **settings.model}, {**tuned.training, **settings.training}
    return dataclasses.replace(settings, model=model, training=training), _facts(tuned)


def _search(
    settings: TextClassificationSettings, task: TextTask, tokenizer: PreTrainedTokenizerFast, tokens: DatasetDict
) -> Tuned:
    given = {name: value for name, value in settings.model.items() if name != "type"}

    def make_bag(**options: Any) -> BagForSequenceClassification:
        model = make_model(dataclasses.replace(settings, model={"type": "bag", **options}), task, tokenizer)
        return cast(BagForSequenceClassification, model)

    if settings.embeddings.from_pretrained is not None:  # the width is theirs
        given.setdefault("hidden_size", BagConfig.hidden_size)
    rows = tokens["train"], tokens["validation"]
    size = settings.compression.target_mb
    return autotune_bag(make_bag, *rows, settings.autotune, model=given, training=settings.training, target_mb=size)


def _facts(tuned: Tuned) -> TuningFacts:
    winner, first = tuned.winner, tuned.trials[0]
    return TuningFacts(
        tried=len(tuned.trials),
        minutes=tuned.minutes,
        seed=tuned.seed,
        metric=tuned.metric,
        score=cast(float, winner.score),
        given_score=first.score,
        target_mb=tuned.target_mb,
        settings=winner.options,
    )
