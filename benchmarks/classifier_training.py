"""Training of a news classifier: hfseq, the same model in stock transformers, and in Keras 3.

    python benchmarks/classifier_training.py --data data/ag_news
    python benchmarks/classifier_training.py --data data/ag_news --rows 2000 --epochs 1   # printed only

`--data` holds train.parquet and test.parquet with the columns text and label. Keras (`pip install keras`) is optional:
without it its row is left out.

One model for all: embedding 128, bidirectional LSTM of 128 a direction, maximum over time, dropout, linear. The ids
are the same (words of the training split, at least twice, at most 30,000; 128 tokens), and so are batch, optimizer,
schedule, clipping and seed; the initial weights are each library's own, but for the width of the embeddings. Each
rival trains once from start to end, in a process of its own, and rests while the others take their turns.
"""

import argparse
import math
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset, load_dataset
from measure import Turns, print_rows, train_in_turns, write_result
from torch import nn
from transformers import (
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from hfseq import (
    LSTMConfig,
    LSTMForSequenceClassification,
    SequenceTrainer,
    SequenceTrainingArguments,
    train_tokenizer,
)
from hfseq.data.text import tokenize_dataset

MAX_LENGTH, VOCAB_SIZE, MIN_FREQUENCY = 128, 30_000, 2
EMBEDDING, HIDDEN, LABELS = 128, 128, 4
EMBEDDING_STD, DROPOUT = 0.1, 0.5
BATCH, LEARNING_RATE, MAX_GRAD_NORM, ADAM_EPSILON = 64, 2e-3, 1.0, 1e-8
TURNS_PER_EPOCH = 10

OURS, TRAINER, GROUPED, KERAS = "hfseq", "transformers.Trainer", "transformers.Trainer, group_by_length", "Keras"
GOALS = {TRAINER: 4.0, GROUPED: 1.5, KERAS: 10.0}


@dataclass(frozen=True)
class Task:
    """Tokens, and how long to learn from them.

    Attributes:
        train: Rows of `input_ids`, `length` and `label`.
        test: Rows of the same form.
        tokenizer: Pads them.
        epochs: Passes over `train`.
        seed: Seed of weights and order.
    """

    train: Dataset
    test: Dataset
    tokenizer: PreTrainedTokenizerFast
    epochs: int
    seed: int


def load_task(data: Path, rows: int | None, epochs: int, seed: int) -> Task:
    """Read and tokenize AG News; nothing of this is timed."""
    files = {split: str(data / f"{split}.parquet") for split in ("train", "test")}
    splits = load_dataset("parquet", data_files=files)
    tokenizer = train_tokenizer(
        splits["train"],
        kind="word",
        vocab_size=VOCAB_SIZE,
        min_frequency=MIN_FREQUENCY,
        lowercase=True,
        max_length=MAX_LENGTH,
    )
    train, test = (tokenize_dataset(splits[split], tokenizer, MAX_LENGTH) for split in ("train", "test"))
    if rows is not None:
        train = train.select(range(rows))
    return Task(train=train, test=test, tokenizer=tokenizer, epochs=epochs, seed=seed)


def padded(rows: Dataset, tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """Pad rows as `tokenizer(..., padding="max_length")` does."""
    batch = tokenizer.pad({"input_ids": rows["input_ids"][:]}, padding="max_length", max_length=MAX_LENGTH)
    return Dataset.from_dict({**batch, "label": rows["label"][:]})


def accuracy(logits: Any, labels: Any) -> float:
    """Return the share of the rows whose label got the highest logit."""
    return float((logits.argmax(-1) == labels).mean())


class RestBetweenTurns(TrainerCallback):
    """Lets the other rivals train."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Rest after an update at which a turn ends."""
        self.turns.after(state.global_step, state.max_steps)


def settings(folder: str, epochs: int, seed: int, order: str = "random") -> dict[str, Any]:
    """Return both Trainers' arguments; optimizer (fused AdamW) and linear schedule are transformers' defaults."""
    return {
        "output_dir": folder,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": 4 * BATCH,
        "learning_rate": LEARNING_RATE,
        "max_grad_norm": MAX_GRAD_NORM,
        "seed": seed,
        "train_sampling_strategy": order,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def train_both(
    make: Callable[[Dataset, int], Trainer], train: Dataset, test: Dataset, task: Task, turns: Turns
) -> float:
    """Warm up on a few updates of another model, train in turns, and give the accuracy on the test rows."""
    warm_up, trainer = make(train.select(range(4 * BATCH)), 1), make(train, task.epochs)
    for each in (warm_up, trainer):
        each.remove_callback(PrinterCallback)  # the table is enough
    warm_up.train()
    trainer.add_callback(RestBetweenTurns(turns))
    turns.begin()
    trainer.train()
    turns.end()
    output = trainer.predict(test)
    return accuracy(output.predictions, output.label_ids)  # stock Trainer does not keep the order of grouped rows


def hfseq_rival(task: Task, turns: Turns) -> float:
    """Train ours as the recipe for AG News does: rows of about one length together."""

    def make(rows: Dataset, epochs: int) -> Trainer:
        set_seed(task.seed)
        config = LSTMConfig(
            vocab_size=len(task.tokenizer),
            embedding_size=EMBEDDING,
            hidden_size=HIDDEN,
            bidirectional=True,
            pooling="max",
            hidden_dropout=0.0,
            classifier_dropout=DROPOUT,
            initializer_range=EMBEDDING_STD,
            bos_token_id=task.tokenizer.bos_token_id,
            eos_token_id=task.tokenizer.eos_token_id,
            id2label=dict(enumerate(task.test.features["label"].names)),
        )
        return SequenceTrainer(
            model=LSTMForSequenceClassification(config),
            args=SequenceTrainingArguments(**settings(folder, epochs, task.seed, "group_by_length")),
            train_dataset=rows,
            processing_class=task.tokenizer,
        )

    with TemporaryDirectory() as folder:
        return train_both(make, task.train, task.test, task, turns)


class PlainClassifier(nn.Module):
    """The peer: what one writes around nn.LSTM. Its backward direction reads the padding first."""

    def __init__(self, vocab_size: int, pad_token_id: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING, pad_token_id)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(2 * HIDDEN, LABELS)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return loss and logits, as Trainer asks for them."""
        output, _ = self.lstm(self.embedding(input_ids))
        low = torch.finfo(output.dtype).min
        pooled = output.masked_fill(attention_mask[..., None] == 0, low).amax(1)
        logits = self.classifier(self.dropout(pooled))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def trainer_rival(task: Task, turns: Turns, grouped: bool) -> float:
    """Train by the stock Trainer: rows padded beforehand to 128 or, as fast as it can be, to the batch's longest."""

    def make(rows: Dataset, epochs: int) -> Trainer:
        set_seed(task.seed)
        order = "group_by_length" if grouped else "random"
        return Trainer(
            model=PlainClassifier(len(task.tokenizer), task.tokenizer.pad_token_id),
            args=TrainingArguments(**settings(folder, epochs, task.seed, order)),
            train_dataset=rows,
            processing_class=task.tokenizer if grouped else None,
        )

    train, test = [rows if grouped else padded(rows, task.tokenizer) for rows in (task.train, task.test)]
    with TemporaryDirectory() as folder:
        return train_both(make, train, test, task, turns)


def keras_rival(task: Task, turns: Turns) -> float:
    """Train by Keras 3 on torch, eager as is its default there, rows padded to 128 with a mask.

    The mask is the faster way on a CPU: without one, Keras 3.15 takes a path whose gradient fills a tensor of all
    steps at every step. It is the better model too: a masked step repeats the output before it, so that the maximum
    over time, which itself knows no mask (Keras warns of that), hardly sees the padding.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    rows, test = padded(task.train, task.tokenizer), padded(task.test, task.tokenizer)
    inputs, labels = np.asarray(rows["input_ids"][:]), np.asarray(rows["label"][:])
    steps = task.epochs * math.ceil(len(rows) / BATCH)
    fit = {"batch_size": BATCH, "verbose": 0}
    keras_model(task, steps).fit(inputs[: 4 * BATCH], labels[: 4 * BATCH], **fit)  # to warm up
    model = keras_model(task, steps)
    rest = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: turns.after(int(model.optimizer.iterations), steps)
    )
    turns.begin()
    model.fit(inputs, labels, epochs=task.epochs, callbacks=[rest], **fit)
    turns.end()
    logits = model.predict(np.asarray(test["input_ids"][:]), batch_size=4 * BATCH, verbose=0)
    return accuracy(logits, np.asarray(test["label"][:]))


def keras_model(task: Task, steps: int) -> Any:
    """Build the model with its optimizer and schedule, which Keras calls compiling."""
    import keras

    keras.utils.set_random_seed(task.seed)
    normal = keras.initializers.RandomNormal(stddev=EMBEDDING_STD)
    model = keras.Sequential(
        [
            keras.layers.Embedding(len(task.tokenizer), EMBEDDING, embeddings_initializer=normal, mask_zero=True),
            keras.layers.Bidirectional(keras.layers.LSTM(HIDDEN, return_sequences=True)),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dropout(DROPOUT),
            keras.layers.Dense(LABELS),
        ]
    )
    rate = keras.optimizers.schedules.PolynomialDecay(LEARNING_RATE, steps, 0.0)
    model.compile(
        optimizer=keras.optimizers.Adam(rate, epsilon=ADAM_EPSILON, global_clipnorm=MAX_GRAD_NORM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def rivals(task: Task) -> dict[str, Callable[[Turns], float]]:
    """List who takes part."""
    taking_part: dict[str, Callable[[Turns], float]] = {
        OURS: partial(hfseq_rival, task),
        TRAINER: partial(trainer_rival, task, grouped=False),
        GROUPED: partial(trainer_rival, task, grouped=True),
    }
    if find_spec("keras") is None:
        print("Keras is not installed (pip install keras): its row is left out.")
    else:
        taking_part[KERAS] = partial(keras_rival, task)
    return taking_part


def result_row(peer: str, seconds: dict[str, list[float]], scores: dict[str, list[float]]) -> dict[str, Any]:
    """Return ratio, CPU seconds and accuracy of one peer and of ours; the last two are means over the seeds."""
    seeds = len(scores[OURS])
    score, theirs = (100 * statistics.mean(scores[name]) for name in (OURS, peer))
    name = f"{peer} {version('keras')}" if peer == KERAS else peer
    padding = "" if peer == GROUPED else f", padded to {MAX_LENGTH}"
    ratio = statistics.median(other / own for other, own in zip(seconds[peer], seconds[OURS], strict=True))
    return {
        "claim": f"AG News, training a BiLSTM-{HIDDEN} to {score:.1f} % ({theirs:.1f} % the peer), against "
        f"{name}{padding}",
        "goal": GOALS[peer],
        "ratio": round(ratio, 2),
        "accuracy": round(score, 2),
        "peer_accuracy": round(theirs, 2),
        "cpu_seconds": round(sum(seconds[OURS]) / seeds, 1),
        "peer_cpu_seconds": round(sum(seconds[peer]) / seeds, 1),
    }


def compare(data: Path, rows: int | None, epochs: int, seeds: list[int]) -> list[dict[str, Any]]:
    """Train every rival with every seed; a row for each peer."""
    seconds: dict[str, list[float]] = {}
    scores: dict[str, list[float]] = {}
    for seed in seeds:
        task = load_task(data, rows, epochs, seed)
        trained = train_in_turns(rivals(task), turns=TURNS_PER_EPOCH * epochs)
        for name, (taken, score) in trained.items():
            seconds.setdefault(name, []).extend(taken)
            scores.setdefault(name, []).append(score)
            print(f"seed {seed}: {name:40} {sum(taken):8.1f} CPU s, accuracy {100 * score:.2f} %", flush=True)
    return [result_row(peer, seconds, scores) for peer in GOALS if peer in scores]


def main() -> None:
    """Train every rival with every seed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/ag_news"))
    parser.add_argument("--rows", type=int, help="only so many training rows; the result is then printed, not kept")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    if not arguments.data.exists():
        print(f"{arguments.data} does not exist: AG News is needed there (see --help). Nothing was measured.")
        return
    rows = compare(arguments.data, arguments.rows, arguments.epochs, arguments.seeds)
    if arguments.rows is not None:
        print_rows(rows)
        return
    options = f"--epochs {arguments.epochs} --seeds {' '.join(map(str, arguments.seeds))}"
    command = f"python benchmarks/classifier_training.py {options}"
    write_result("classifier_training", command=command, peer="named in the claim", rows=rows)


if __name__ == "__main__":
    main()
