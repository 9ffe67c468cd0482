"""The recall probe: which model remembers the first symbol, and for how long.

Each model is trained for the same number of updates on rows of all distances (`data/recall.py`), and asked at each
distance alone. None of them has dropout, all have the same width. A cell of 32 numbers has room enough for one of
eight symbols: what it lacks where it fails is the gradient that would teach it to keep one.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel, PrinterCallback, default_data_collator, set_seed

from ..data.recall import SYMBOLS, VOCABULARY, recall_task
from ..models.recurrent.gru import GRUConfig, GRUForSequenceClassification
from ..models.recurrent.lstm import LSTMConfig, LSTMForSequenceClassification
from ..models.recurrent.rnn import RNNConfig, RNNForSequenceClassification
from ..models.transformer.transformer import TransformerConfig, TransformerForSequenceClassification
from ..training.arguments import SequenceTrainingArguments
from ..training.trainer import SequenceTrainer
from .gradients import gradient_flow
from .layer_flow import GradientFlow

CHANCE: Final = 1 / SYMBOLS
WIDTH: Final = 32
BATCH: Final = 32
_TEST_ROWS = 100  # a distance


class _Entry(NamedTuple):
    """How a model of the probe is made, and the learning rate that suits it."""

    config: Callable[[], Any]
    model: Callable[[Any], PreTrainedModel]
    learning_rate: float = 1e-2


def _recurrent(config: Callable[..., Any], model: Callable[[Any], PreTrainedModel], **fields: Any) -> _Entry:
    # Vectors of size 1, as one-hot ones have: else the first updates go into making words large enough to be seen.
    sizes = {"embedding_size": WIDTH, "hidden_size": WIDTH, "hidden_dropout": 0.0, "initializer_range": 1.0}
    return _Entry(
        lambda: config(vocab_size=VOCABULARY, num_labels=SYMBOLS, classifier_dropout=0.0, **sizes, **fields), model
    )


def _transformer() -> TransformerConfig:
    # It answers at the question, so that it has to look for the symbol; the mean of all tokens would hand it over.
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes["num_labels"] = SYMBOLS
    dropouts: dict[str, Any] = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "classifier_dropout": 0.0}
    return TransformerConfig(vocab_size=VOCABULARY, pooling="last", **sizes, **dropouts)


PROBED: Final[dict[str, _Entry]] = {
    "rnn": _recurrent(RNNConfig, RNNForSequenceClassification),
    "residual": _recurrent(RNNConfig, RNNForSequenceClassification, residual="plain"),
    "residual_forget": _recurrent(RNNConfig, RNNForSequenceClassification, residual="forget"),
    "lstm_forget_only": _recurrent(LSTMConfig, LSTMForSequenceClassification, input_gate=False, output_gate=False),
    "lstm_forget_input": _recurrent(LSTMConfig, LSTMForSequenceClassification, output_gate=False),
    "lstm_bias_0": _recurrent(LSTMConfig, LSTMForSequenceClassification, forget_bias=0.0),
    "lstm": _recurrent(LSTMConfig, LSTMForSequenceClassification),
    "gru": _recurrent(GRUConfig, GRUForSequenceClassification),
    "gru_reset_before": _recurrent(GRUConfig, GRUForSequenceClassification, reset="before"),
    "transformer": _Entry(_transformer, TransformerForSequenceClassification, 3e-3),
}
"""The models of the probe by their names."""


@dataclass(frozen=True)
class Recall:
    """One trained model: the share of right answers at each distance."""

    model: str
    seed: int
    accuracy: dict[int, float]


@dataclass(frozen=True)
class RecallTable:
    """What `recall_probe` found; printing it shows a table in Markdown.

    Attributes:
        runs: One for each model and seed.
        steps: Updates of each training.
    """

    runs: list[Recall]
    steps: int

    @property
    def models(self) -> list[str]:
        """The names of the models, each once."""
        return list(dict.fromkeys(run.model for run in self.runs))

    @property
    def distances(self) -> list[int]:
        """The distances that were asked."""
        return list(self.runs[0].accuracy)

    def accuracies(self, model: str, distance: int) -> list[float]:
        """Return the accuracy of each seed."""
        return [run.accuracy[distance] for run in self.runs if run.model == model]

    def __str__(self) -> str:
        """Show the mean over the seeds, in percent, and from which to which where they differ."""
        lines = ["| model | " + " | ".join(map(str, self.distances)) + " |", "|---|" + "---:|" * len(self.distances)]
        for model in self.models:
            cells = (_cell(self.accuracies(model, distance)) for distance in self.distances)
            lines.append(f"| {model} | {' | '.join(cells)} |")
        chance = f"{100 * CHANCE:.1f}"
        return "\n".join([*lines, f"| chance | {' | '.join([chance] * len(self.distances))} |"])


def _cell(accuracies: Sequence[float]) -> str:
    low, high = 100 * min(accuracies), 100 * max(accuracies)
    spread = f" ({low:.0f} to {high:.0f})" if round(low) != round(high) else ""
    return f"{100 * mean(accuracies):.0f}{spread}"


def recall_probe(
    models: Sequence[str], distances: Sequence[int], seeds: Sequence[int], steps: int
) -> Iterator[Recall]:
    """Train each model with each seed, and yield how it recalls.

    Args:
        models: Names of `PROBED`.
        distances: Distractors between symbol and question.
        seeds: Of the weights and of the rows.
        steps: Updates of each training, of 32 rows.
    """
    _check(models)
    for seed in seeds:
        train = recall_task(distances, rows=BATCH * steps, seed=2 * seed)
        test = {d: recall_task([d], rows=_TEST_ROWS, seed=2 * seed + 1) for d in distances}
        for name in models:
            trainer = _trainer(name, train, seed, steps)
            trainer.train()
            yield Recall(name, seed, {distance: _accuracy(trainer, rows) for distance, rows in test.items()})


def recall_flows(models: Sequence[str], distance: int, seed: int) -> dict[str, GradientFlow]:
    """Return the gradient flow of each recurrent model on rows of one distance, before any training."""
    _check(models)
    if not (models := [name for name in models if name != "transformer"]):
        raise ValueError("There is no recurrent model whose gradient could be followed: name one, such as lstm.")
    rows = recall_task([distance], rows=8, seed=2 * seed)
    batch = default_data_collator([dict(row) for row in rows.remove_columns("distance")])
    return {name: gradient_flow(_model(name, seed), batch) for name in models}


def _check(models: Sequence[str]) -> None:
    if unknown := [name for name in models if name not in PROBED]:
        raise ValueError(f"{unknown[0]!r} is no model of the probe: choose among {', '.join(PROBED)}.")


def _model(name: str, seed: int) -> PreTrainedModel:
    set_seed(seed)
    return PROBED[name].model(PROBED[name].config())


def _trainer(name: str, train: Any, seed: int, steps: int) -> SequenceTrainer:
    arguments = SequenceTrainingArguments(
        output_dir=tempfile.gettempdir(),
        max_steps=steps,
        learning_rate=PROBED[name].learning_rate,
        warmup_steps=steps // 10,
        total_train_batch_size=BATCH,
        per_device_eval_batch_size=_TEST_ROWS,
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SequenceTrainer(_model(name, seed), arguments, train_dataset=train, data_collator=default_data_collator)
    trainer.remove_callback(PrinterCallback)  # of a training that takes seconds, only the answers count
    return trainer


def _accuracy(trainer: SequenceTrainer, rows: Any) -> float:
    output = trainer.predict(rows)
    logits: np.ndarray = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
    return float((logits.argmax(-1) == torch.tensor(rows["labels"]).numpy()).mean())
