"""Which decoding a tagger with a CRF keeps: the better one on validation, unless the settings name one."""

from typing import Any

from datasets import Dataset

from ...evaluation.trainer_metrics import TAGGING
from ...training.trainer import SequenceTrainer
from .facts import DECODINGS, DecodingFacts, Problem


def choose_decoding(
    trainer: SequenceTrainer, validation: Dataset, problem: Problem, *, named: str | None
) -> DecodingFacts | None:
    """Score both decodings, and leave the chosen one in the model's config, which is saved; None without a CRF.

    Args:
        validation: Its tokens.
        problem: What the tags tell.
        named: The decoding that the settings name, if any: it stays, whatever the other one scores.
    """
    model: Any = trainer.model
    if getattr(model, "crf", None) is None:
        return None
    metric, scores = TAGGING[problem][0], {}
    for decoding in DECODINGS:
        model.config.decoding = decoding
        _, metrics = trainer.score(validation)
        scores[decoding] = metrics[metric]
    # Of two that are equal the first one: its rows of tags are legal.
    model.config.decoding = named or max(DECODINGS, key=lambda decoding: scores[decoding])
    return DecodingFacts(chosen=model.config.decoding, named=named is not None, metric=metric, scores=scores)
