"""Metrics that need no script from the Hub: a table of scores, and an `evaluate.Metric` for each.

    Accuracy().compute(predictions=[0, 1, 1], references=[0, 1, 0])                      # by hand
    evaluate.evaluator("text-classification").compute(model, data=..., metric=Accuracy(), tokenizer=..., ...)
    Accuracy(num_process=2, process_id=i, experiment_id="run")                           # gathered through files

The formulae are scikit-learn's and scipy's. Where those are undefined we raise, so that no nan reaches a model card.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..extras import need

need("train")

import evaluate
import numpy as np
from datasets import Features, List, Value
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error, r2_score

from .entities import Tags, all_found, found_entities
from .language import exp_or_inf
from .series import INTERVAL, coverage, mean_absolute_error, pinball_loss, root_mean_squared_error
from .translation import bleu, chrf, exact_match


def _r2(references: np.ndarray, predictions: np.ndarray) -> float:
    _refuse_constant(references, "R2")
    return r2_score(references, predictions)


def _pearson(references: np.ndarray, predictions: np.ndarray) -> float:
    _refuse_constant(references, "the Pearson correlation")
    if np.ptp(predictions) == 0:
        return 0.0  # scipy: nan, see `_spearman`
    return pearsonr(references, predictions).statistic


def _spearman(references: np.ndarray, predictions: np.ndarray) -> float:
    _refuse_constant(references, "the Spearman correlation")
    if np.ptp(predictions) == 0:
        return 0.0  # scipy: nan. A model that always says the same has found no order, and training must go on
    return spearmanr(references, predictions).statistic


def _nats_per_unit(counts: np.ndarray, nats: np.ndarray) -> float:
    # The total over the total, not the mean of means: a long text counts as what it is.
    if (counts < 0).any() or counts.sum() == 0:
        raise ValueError(f"there must be tokens (or characters) to divide by, got {counts[:5].tolist()} of them.")
    return nats.sum() / counts.sum()


def _perplexity(counts: np.ndarray, nats: np.ndarray) -> float:
    return exp_or_inf(_nats_per_unit(counts, nats))


def _bits_per_unit(counts: np.ndarray, nats: np.ndarray) -> float:
    return _nats_per_unit(counts, nats) / np.log(2)


def _refuse_constant(references: np.ndarray, name: str) -> None:
    if np.ptp(references) == 0:
        raise ValueError(f"{name} needs rows that differ: all {len(references)} references equal {references[0]}.")


def _entities(references: Sequence[Tags], predictions: Sequence[Tags], measure: str) -> float:
    return getattr(all_found(found_entities(references, predictions).values()), measure)


def _pinball(references: np.ndarray, ends: np.ndarray) -> float:
    return pinball_loss(references, ends, INTERVAL)


def _coverage(references: np.ndarray, ends: np.ndarray) -> float:
    return coverage(references, ends[..., 0], ends[..., 1])


def _equal(references: Sequence[Any], predictions: Sequence[Any]) -> float:
    # Rows of different lengths, which no array holds.
    return float(np.mean([one == other for one, other in zip(references, predictions, strict=True)]))


_f1 = partial(f1_score, zero_division=0)


class Score(NamedTuple):
    """One number that a model is judged by."""

    title: str  # in a model card
    hub_id: str  # at hf.co/metrics
    hub_args: dict[str, str]  # what this id needs to give the same number
    is_percentage: bool  # whether people read it times 100
    greater_is_better: bool
    formula: Callable[[Any, Any], float]  # of references and predictions: arrays, rows of tags for entities, texts
    decimals: int = 3  # that people write, where it is no percentage


SCORES: dict[str, Score] = {
    "accuracy": Score("Accuracy", "accuracy", {}, True, True, accuracy_score),
    "f1_macro": Score("Macro F1", "f1", {"average": "macro"}, True, True, partial(_f1, average="macro")),
    "f1_micro": Score("Micro F1", "f1", {"average": "micro"}, True, True, partial(_f1, average="micro")),
    "matthews_correlation": Score("Matthews correlation", "matthews_correlation", {}, False, True, matthews_corrcoef),
    "mse": Score("Mean squared error", "mse", {}, False, False, mean_squared_error),
    "r2": Score("R2", "r_squared", {}, False, True, _r2),
    "pearson": Score("Pearson correlation", "pearsonr", {}, False, True, _pearson),
    "spearman": Score("Spearman correlation", "spearmanr", {}, False, True, _spearman),
    "entity_f1": Score("Entity F1", "seqeval", {}, True, True, partial(_entities, measure="f1")),
    "entity_precision": Score("Entity precision", "seqeval", {}, True, True, partial(_entities, measure="precision")),
    "entity_recall": Score("Entity recall", "seqeval", {}, True, True, partial(_entities, measure="recall")),
    "frame_accuracy": Score("Frame accuracy", "accuracy", {}, True, True, _equal),
    "intent_accuracy": Score("Intent accuracy", "accuracy", {}, True, True, _equal),
    "slot_f1": Score("Slot F1", "seqeval", {}, True, True, partial(_entities, measure="f1")),
    "root_accuracy": Score("Root accuracy", "accuracy", {}, True, True, accuracy_score),
    "node_accuracy": Score("Node accuracy", "accuracy", {}, True, True, accuracy_score),
    "binary_root_accuracy": Score("Binary root accuracy", "accuracy", {}, True, True, accuracy_score),
    "nats_per_token": Score("Nats per token", "loss", {}, False, False, _nats_per_unit),
    "nats_per_step": Score("Nats per step", "loss", {}, False, False, _nats_per_unit),
    "perplexity": Score("Perplexity", "perplexity", {}, False, False, _perplexity),
    "bits_per_character": Score("Bits per character", "bits_per_character", {}, False, False, _bits_per_unit),
    "bleu": Score("BLEU", "sacrebleu", {}, False, True, bleu, 1),
    "chrf": Score("chrF2", "chrf", {}, False, True, chrf, 1),
    "exact_match": Score("Exact match", "exact_match", {}, True, True, exact_match),
    # Of forecasts, see `evaluation.series`: MASE compares numbers that are divided by its scale, and the last two are
    # of intervals; those of 80 % are right where they hold 80 %, no more.
    "mase": Score("Mean absolute scaled error", "mase", {}, False, False, mean_absolute_error),
    "mae": Score("Mean absolute error", "mae", {}, False, False, mean_absolute_error),
    "rmse": Score("Root mean squared error", "rmse", {}, False, False, root_mean_squared_error),
    "pinball": Score("Pinball loss of the interval", "pinball_loss", {}, False, False, _pinball),
    "coverage_80": Score("Coverage of the 80 % interval", "coverage", {}, True, True, _coverage),
}
"""Every score by the name it has in a log, a result of a metric and the facts of a model card."""


def compute_score(name: str, predictions: Any, references: Any) -> float:
    """Compute one score of SCORES after the checks that all of them share."""
    predicted, expected = np.asarray(predictions), np.asarray(references)
    if len(expected) == 0:
        raise ValueError(f"{name}: there are no rows to score. Add predictions and references before compute.")
    for kind, values in (("prediction", predicted), ("reference", expected)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: a {kind} is nan or infinite. Look at the data, or lower the learning rate.")
    return float(SCORES[name].formula(expected, predicted))


def as_wide(predicted: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Add columns of 0 to answers (rows, labels) for labels that the rows have and no system can answer."""
    if predicted.ndim < 2 or predicted.shape[1] >= expected.shape[1]:
        return predicted
    return np.pad(predicted, ((0, 0), (0, expected.shape[1] - predicted.shape[1])))


class OfflineMetric(evaluate.Metric):
    """A metric without a script on the Hub; a subclass names its row of SCORES."""

    score_name: str
    reference_url: str
    inputs: str
    """What `predictions` and `references` are."""

    def _feature(self) -> Any:
        raise NotImplementedError

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="",
            inputs_description=f"{self.inputs}\nReturns:\n    A dictionary with one number under the metric's name.\n",
            features=Features({"predictions": self._feature(), "references": self._feature()}),
            reference_urls=[self.reference_url],
        )


class ScoreMetric(OfflineMetric):
    """A metric of numbers, or with the configuration `"multilabel"`, where it has that, of 0/1 lists."""

    value_type: str = "int64"
    config_names: tuple[str, ...] = ("default",)
    inputs = """
Args:
    predictions: one per row: a class id, one 0/1 list (multi-label) or a number (regression).
    references: the true values, in the same form and order.
    For a language model's metrics: the predictions are the surprisals of texts or tokens, -log P in nats, the
    references how many tokens (or characters) each is."""

    def _feature(self) -> Any:
        if self.config_name not in self.config_names:
            raise ValueError(f"{type(self).__name__} has no configuration {self.config_name!r}: {self.config_names}.")
        value = Value(self.value_type)
        return List(value) if self.config_name == "multilabel" else value

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Add rows to score later."""
        self._check_values(predictions, references)
        super().add_batch(predictions=predictions, references=references, **kwargs)

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add one row to score later."""
        self._check_values([prediction], [reference])
        super().add(prediction=prediction, reference=reference, **kwargs)

    def _check_values(self, predictions: Any, references: Any) -> None:
        # `datasets` would silently cut fractions to whole class ids.
        for kind, column in (("predictions", predictions), ("references", references)):
            if column is None:
                raise ValueError(f"{type(self).__name__} needs {kind}; give predictions and references together.")
            values = np.asarray(column)
            if values.dtype.kind == "U":
                raise ValueError(
                    f"{type(self).__name__} takes numbers, not {kind} such as {values.flat[0]!r}. "
                    "Map names to ids first; in an evaluator, give label_mapping=model.config.label2id."
                )
            if self.value_type == "int64" and values.dtype.kind == "f" and (fractions := values[values % 1 != 0]).size:
                raise ValueError(
                    f"{type(self).__name__} takes class ids, not {kind} such as {fractions[0]}. "
                    "Take the argmax (one label) or compare with a threshold (several labels) first."
                )

    def _compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        return {self.score_name: compute_score(self.score_name, predictions, references)}


_SKLEARN = "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.{}.html"


class Accuracy(ScoreMetric):
    """The share of rows predicted right; of `"multilabel"` rows, those with every label right."""

    score_name = "accuracy"
    reference_url = _SKLEARN.format("accuracy_score")
    config_names = ("default", "multilabel")


class F1(ScoreMetric):
    """F1, the harmonic mean of precision and recall.

    Args:
        average: `"macro"`, the mean over the labels that occur in predictions or references, where a label never
            predicted counts 0; or `"micro"`, counted over all rows at once.
    """

    reference_url = _SKLEARN.format("f1_score")
    config_names = ("default", "multilabel")

    def __init__(self, config_name: str | None = None, average: str = "macro", **kwargs: Any) -> None:
        if average not in ("macro", "micro"):
            raise ValueError(f"F1 has no average {average!r}; choose 'macro' or 'micro'.")
        self.score_name = f"f1_{average}"
        super().__init__(config_name, **kwargs)


class MatthewsCorrelation(ScoreMetric):
    """The correlation of predicted and true classes, fair to rare ones: 1 all right, 0 chance or always the same."""

    score_name = "matthews_correlation"
    reference_url = _SKLEARN.format("matthews_corrcoef")


class FloatMetric(ScoreMetric):
    """A metric of numbers with fractions."""

    value_type = "float64"


class MeanSquaredError(FloatMetric):
    """The mean of the squared differences."""

    score_name = "mse"
    reference_url = _SKLEARN.format("mean_squared_error")


class R2(FloatMetric):
    """The share of the references' variance that the predictions explain; constant references are an error."""

    score_name = "r2"
    reference_url = _SKLEARN.format("r2_score")


class PearsonCorrelation(FloatMetric):
    """The linear correlation: 1 if predictions are a line through references, 0 if they are constant (scipy: nan)."""

    score_name = "pearson"
    reference_url = "https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.pearsonr.html"


class SpearmanCorrelation(FloatMetric):
    """The correlation of ranks: 1 if predictions order rows as references do, 0 if they are constant (scipy: nan)."""

    score_name = "spearman"
    reference_url = "https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.spearmanr.html"


class NatsPerToken(FloatMetric):
    """The mean surprisal of a token, the cross entropy of a language model."""

    score_name = "nats_per_token"
    reference_url = "https://en.wikipedia.org/wiki/Cross-entropy"


class Perplexity(FloatMetric):
    """exp(nats per token): a choice among so many equally likely tokens would be as hard."""

    score_name = "perplexity"
    reference_url = "https://huggingface.co/docs/transformers/perplexity"


class BitsPerCharacter(FloatMetric):
    """The surprisal of a text's characters in bits: what a perfect compressor with this model would write."""

    score_name = "bits_per_character"
    reference_url = "https://huggingface.co/docs/transformers/perplexity"
