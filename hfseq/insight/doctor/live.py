"""`diagnose`: the doctor for a trainer in memory, ours or that of transformers."""

from collections.abc import Mapping
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
    missing = {name: why for name, rows in splits.items() if rows is not None and (why := _unreadable(rows))}
    readable = {name: rows for name, rows in splits.items() if rows is not None and name not in missing}
    evidence = gather(
        model,
        readable,
        trainer.data_collator,
        unknown_id=getattr(trainer.processing_class, "unk_token_id", None),
        training=trainer.args.to_dict(),
        settings={"transfer": {"from_pretrained": model.name_or_path}},
        history=trainer.state.log_history,
        missing=missing,
    )
    return examine(evidence)


def _unreadable(rows: Any) -> str | None:
    """Say why rows cannot be compared; None: they can."""
    if isinstance(rows, TokenText):
        return None
    if not (hasattr(rows, "__getitem__") and hasattr(rows, "__len__")):
        return "the rows of the trainer come in a stream"
    if len(rows) and not (isinstance(rows[0], Mapping) and "input_ids" in rows[0]):
        return "the rows of the trainer have no input_ids: give it texts that are tokenized"
    return None
