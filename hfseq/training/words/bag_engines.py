"""The two engines that train bags: a numba loop on a CPU, and steps in torch on any device.

Both do the same updates, plain SGD as fastText's: each text moves its features' rows and the labels' vectors. The loop
goes text by text, by several threads at once; torch computes a few texts from the same state of the matrices.
"""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...models.base import IGNORED
from ...models.heads.classification import sequence_loss
from ...models.ragged import place_owners
from ...models.words.bag import BagForSequenceClassification
from .bag_corpus import BagCorpus, BagTargets, bag_kernels
from .hogwild import run_threads, taken_rows, usable_cores

Rates = tuple[float, float]  # learning rates at the beginning and at the end


class BagEngine(Protocol):
    """What moves a model's matrices in place."""

    def run(self, texts: np.ndarray, rates: Rates, number: int = 0) -> float:
        """Take a step for each of these texts, in this order, and return the mean loss; `number` counts the calls."""

    def matrices(self) -> tuple[Tensor, ...]:
        """Return the rows of features, those of labels, and the biases if there are any, as they are now."""


def loss_of(model: BagForSequenceClassification, problem_type: str) -> str:
    """Name the loss of a model."""
    if model.config.hierarchical_softmax:
        return "hierarchical-softmax"
    names = {"multi_label_classification": "one-vs-all", "regression": "regression"}
    return names.get(problem_type, "softmax")


class NumbaBagEngine:
    """Threads over shared matrices, without locks (hogwild); deterministic with one thread."""

    def __init__(
        self,
        model: BagForSequenceClassification,
        corpus: BagCorpus,
        targets: BagTargets,
        *,
        problem_type: str,
        num_threads: int | None,
        word_dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        kernels = bag_kernels()
        if kernels is None:
            raise ValueError('engine="numba" needs numba: pip install "hfseq[fast]", or take the engine "torch".')
        bag, config = model.model, model.config
        self.kernels, self.dimension, self.model = kernels, config.hidden_size, model
        self.threads = num_threads or usable_cores()
        self.corpus, self.word_dropout, self.seed = corpus, word_dropout, seed
        self.inputs = taken_rows(kernels, bag.inputs.get_parameter("weight"))
        self.outputs = taken_rows(kernels, model.classifier.weight)
        self.biases = np.zeros(len(self.outputs), dtype=np.float32)
        if config.bias:
            self.biases[:] = model.classifier.bias.detach().numpy()
            model.classifier.bias.data = torch.from_numpy(self.biases)
        self.tables = corpus.feature_tables(bag, kernels)
        paths = kernels.Paths(*model.paths()) if config.hierarchical_softmax else kernels.Paths.none()
        self.labels = kernels.Targets(targets.starts, targets.labels, targets.values), paths
        longest = int(np.diff(paths.starts).max(initial=0)) if config.hierarchical_softmax else model.num_labels
        sizes = {"most_features": corpus.most_features(config.word_ngrams), "most_scores": longest}
        loss = loss_of(model, problem_type)
        self.loops = [kernels.BagLoop(dimension=self.dimension, loss=loss, **sizes) for _ in range(self.threads)]
        # Compiled now, so that the first slice does not look slow.
        self.run(np.zeros(0, dtype=np.int64), (0.0, 0.0))

    def matrices(self) -> tuple[Tensor, ...]:
        """Return views of the rows without their padding."""
        inputs, outputs = (torch.from_numpy(matrix)[:, : self.dimension] for matrix in (self.inputs, self.outputs))
        return (inputs, outputs, torch.from_numpy(self.biases)) if self.model.config.bias else (inputs, outputs)

    def run(self, texts: np.ndarray, rates: Rates, number: int = 0) -> float:
        """Let each thread take its own part of the texts."""
        words = self.corpus.numbers, self.corpus.text_starts
        if self.word_dropout:  # other words each time, and the same again in a run that is resumed
            words = self.corpus.thinned(texts, self.word_dropout, (self.seed, number))
        progress = self.kernels.Progress.of(self.threads)
        matrices, all_rates = (self.inputs, self.outputs, self.biases), (*rates, float(self.model.config.bias))
        parts = [np.ascontiguousarray(part) for part in np.array_split(texts, self.threads)]

        def work(thread: int) -> None:
            options: Any = {"rates": all_rates, "progress": progress, "thread": thread}
            self.loops[thread].run(parts[thread], words, self.tables, self.labels, matrices, **options)

        run_threads(work, self.threads, progress.halt)
        total, count = progress.losses.sum(0).tolist()
        return total / max(count, 1)


class TorchBagEngine:
    """Steps over a few texts at once, on any device that torch knows."""

    def __init__(
        self,
        model: BagForSequenceClassification,
        corpus: BagCorpus,
        targets: BagTargets,
        *,
        problem_type: str,
        texts_per_step: int,
    ) -> None:
        self.model, self.corpus, self.texts_per_step = model, corpus, texts_per_step
        self.problem_type, self.device = problem_type, model.device
        self.labels = targets.column.to(self.device)

    def matrices(self) -> tuple[Tensor, ...]:
        """Return the model's own."""
        classifier = self.model.classifier
        parameters = (self.model.model.inputs.get_parameter("weight"), *classifier.parameters())
        return tuple(parameter.detach() for parameter in parameters)

    def run(self, texts: np.ndarray, rates: Rates, number: int = 0) -> float:
        """Step through the texts; the learning rate goes along a line."""
        losses, counted = torch.zeros((), device=self.device), len(texts)
        if self.problem_type == "single_label_classification":
            counted = int((self.labels[torch.from_numpy(texts).to(self.device)] != IGNORED).sum())
        for begin in range(0, len(texts), self.texts_per_step):
            rate = rates[0] + (rates[1] - rates[0]) * begin / len(texts)
            losses += self._step(texts[begin : begin + self.texts_per_step], rate)
        return float(losses) / max(counted, 1)

    def _step(self, texts: np.ndarray, rate: float) -> Tensor:
        bag, rows_of = self.model.model, self.model.model.inputs.get_parameter("weight")
        with torch.no_grad():
            rows, starts = self.corpus.features(bag, texts)
            hidden = bag.mean(rows, starts)
        hidden.requires_grad_()
        labels = self.labels[torch.from_numpy(texts).to(self.device)]
        loss = sequence_loss(self.model.scores(hidden), labels, self.problem_type, 1)
        parameters = list(self.model.classifier.parameters())
        # Half of the squared error has the error for its gradient.
        gradients = torch.autograd.grad(loss / 2 if self.problem_type == "regression" else loss, [hidden, *parameters])
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients[1:], strict=True):
                parameter.sub_(gradient, alpha=rate)
            # By hand: the gradient of a matrix of a million rows would be as large, and zero nearly everywhere.
            owners = place_owners(starts, len(rows))
            shares = bag.shares(rows, starts)[:, None]
            rows_of.index_add_(0, rows, -rate * shares * gradients[0][owners])
        return loss.detach()
