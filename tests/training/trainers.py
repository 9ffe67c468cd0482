"""A small model, ragged rows and a trainer over them, for the tests of training and of evaluation."""

import torch
from datasets import Dataset
from transformers import DataCollatorWithPadding, TrainingArguments

from hfseq import FAMILIES
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer
from tests.contract.cases import VOCABULARY, texts, tokenizer

DROPOUT = {"embedding_dropout": 0.2, "hidden_dropout": 0.3, "classifier_dropout": 0.3}
NO_DROPOUT = dict.fromkeys(DROPOUT, 0.0)


class RecordingCollator(DataCollatorWithPadding):
    """Pads as usual, and keeps what it was given: one list of rows a batch."""

    def __init__(self):
        super().__init__(tokenizer())
        self.batches = []

    def __call__(self, features):
        self.batches.append([tuple(row["input_ids"]) for row in features])
        return super().__call__(features)


def small_model(family="lstm", **options):
    """A small classifier, the same one every time."""
    torch.manual_seed(0)
    row = FAMILIES[family]
    sizes = {"vocab_size": len(VOCABULARY), "embedding_size": 6, "hidden_size": 5, "num_labels": 3, "eos_token_id": 3}
    return row.heads["text-classification"](row.config(**{**sizes, **NO_DROPOUT, **options}))


def distinct_texts(rows):
    """Ragged rows, no two of which are alike."""
    dataset = texts(rows)
    ids = [[*row, 4 + i % 10, 4 + i // 10 % 10] for i, row in enumerate(dataset["input_ids"])]
    return Dataset.from_dict({"input_ids": ids, "labels": dataset["labels"][:]})


def make_trainer(
    parent, trainer_class=SequenceTrainer, *, model=None, rows=None, collator=None, folder="run", **options
):
    """A trainer of some class over a small model; keywords that are not its own are training arguments."""
    own = {name: options.pop(name) for name in ("eval_dataset", "compute_metrics", "callbacks") if name in options}
    ours = issubclass(trainer_class, SequenceTrainer)
    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "learning_rate": 0.03,
        "lr_scheduler_type": "constant",
        "per_device_eval_batch_size": 4,
    }
    arguments = (SequenceTrainingArguments if ours else TrainingArguments)(
        str(parent / folder), **{**defaults, **options}
    )
    return trainer_class(
        model=small_model() if model is None else model,
        args=arguments,
        train_dataset=texts(52) if rows is None else rows,
        processing_class=tokenizer(),
        data_collator=collator or DataCollatorWithPadding(tokenizer()),
        **own,
    )
