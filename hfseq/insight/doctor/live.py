"""`diagnose`: the doctor for a trainer in memory, ours or that of transformers."""

from typing import Any, cast

from transformers import PreTrainedModel, Trainer

from ...training.streams.windows import TokenText
from .gathering import gather
from .report import Report, examine


def diagnose(trainer: Trainer) -> Report:
    """Examine a trainer that has trained: its log, its rows, some of its answers, and its model.

    Args:
        trainer: `Trainer` of transformers or one of ours, with a model of ours. Nothing of it is changed.

    Returns:
        The report; printing it shows the findings, what they rest on, and what to try.
    """
    if not isinstance(trainer, Trainer):
        raise TypeError(f"diagnose examines a Trainer, got {type(trainer).__name__}: for a folder, hfseq doctor RUN.")
    model = trainer.accelerator.unwrap_model(cast(Any, trainer.model))
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"diagnose examines models of transformers or hfseq, got {type(model).__name__}.")
    splits = {"train": trainer.train_dataset, "validation": trainer.eval_dataset}
    if isinstance(splits["validation"], dict):  # several splits, by name
        splits["validation"] = next(iter(splits["validation"].values()), None)
    readable = {name: rows for name, rows in splits.items() if _has_places(rows)}
    missing = {name: "the rows of the trainer come in a stream" for name in splits if splits[name] is not None}
    evidence = gather(
        model,
        readable,
        trainer.data_collator,
        unknown_id=getattr(trainer.processing_class, "unk_token_id", None),
        training=trainer.args.to_dict(),
        history=trainer.state.log_history,
        missing={name: reason for name, reason in missing.items() if name not in readable},
    )
    return examine(evidence)


def _has_places(rows: Any) -> bool:
    return isinstance(rows, TokenText) or (hasattr(rows, "__getitem__") and hasattr(rows, "__len__"))
