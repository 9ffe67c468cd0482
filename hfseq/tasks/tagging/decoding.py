"""Which decoding a tagger with a CRF keeps: the better one on validation, unless the settings name one."""

from typing import Any

from datasets import Dataset

from ...evaluation.trainer_metrics import deciding_score
from ...training.trainer import SequenceTrainer
from .facts import DECODINGS, DecodingFacts


def choose_decoding(
    trainer: SequenceTrainer, validation: Dataset, problem: str, *, named: str | None
) -> DecodingFacts | None:
    """Score both decodings, and leave the chosen one in the model's config, which is saved; None without a CRF.

    The score that decides is the one that chose the model, `training.metric_for_best_model`. The loss cannot: it is
    the same for both.

    Args:
        validation: Its tokens.
        problem: What the tags tell, or INTENT_SLOTS, see `evaluation/trainer_metrics.py`.
        named: The decoding that the settings name, if any: it stays, whatever the other one scores.
    """
    model: Any = trainer.model
    if getattr(model, "crf", None) is None:
        return None
    metric, scores = deciding_score(trainer.args.metric_for_best_model, problem), {}
    for decoding in DECODINGS:
        model.config.decoding = decoding
        _, metrics = trainer.score(validation)
        scores[decoding] = metrics[metric]
    # Of two that are equal the first one: its rows of tags are legal.
    model.config.decoding = named or max(DECODINGS, key=lambda decoding: scores[decoding])
    return DecodingFacts(chosen=model.config.decoding, named=named is not None, metric=metric, scores=scores)
