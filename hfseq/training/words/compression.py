"""Make a trained bag small: fewer rows, each in a few bytes, and scores that stay what they were.

    small, report = hfseq.compress_bag(model, train_rows, tune_rows, target_mb=1.5)

Four steps, in the words of fastText's `quantize` (Joulin et al. 2016, "FastText.zip"), which has the second and third:

1. Narrower rows, without loss: scores are U h, so no more than the rank of U of a row's directions counts. That is the
   number of labels less one with a softmax. A bag of four topics needs three numbers a row, however many it had.
2. Fewer rows. Rows that no training text has are dropped first, for nothing was learnt of them. Then those that change
   the scores least: the length of a row times the root of how often texts have it. fastText takes the length alone.
3. Rows in bytes: product quantization, `quantizing.py`. Rows count there as often as texts have them.
4. The labels' vectors are fitted again, by least squares, so that the scores of training texts are what they were.

Steps 2 to 4 read `train_rows`. Without them all rows count alike, and the labels' vectors stay.
"""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub.dataclasses import strict
from safetensors.torch import save
from torch import nn
from transformers.utils import logging

from ...evaluation.scores import compute_score
from ...evaluation.trainer_metrics import PROBLEMS
from ...models.heads.classification import problem_type_of
from ...models.words.bag import BagForSequenceClassification
from ...models.words.quantized_rows import whole_pieces
from ...settings import option
from .bag_texts import BagTexts
from .compressed_rows import KeptRows, narrowed, pruned, quantized, saved_size
from .compression_texts import fit_outputs, row_importance, some_texts

logger = logging.get_logger(__name__)

MB = 1_000_000
_WIDTHS = (1, 2, 3, 4, 6, 8)  # of the pieces that are tried
_SCORES = {"single_label_classification": "accuracy", "multi_label_classification": "f1_micro", "regression": "r2"}

Retrain = Callable[[BagForSequenceClassification], Any]


@strict
@dataclass
class CompressionSettings:
    """The section `compression` of a recipe: how small a trained bag is made; `compress_bag` tells what each is."""

    target_mb: float | int | None = option(None, "MB that the weights may take on disk; the rest is chosen for that")
    kept_rows: int | None = option(None, "words and buckets that keep a row; null: all that were trained")
    row_codes: int | None = option(None, "bytes of a row; null: one for two numbers")
    norm_codes: bool | None = option(None, "one byte more for a row's length; null: yes")
    retrain: bool = option(False, "train the rows that are kept once more, before they are quantized; rarely a gain")

    def __post_init__(self) -> None:
        if not self.is_on and (self.norm_codes is not None or self.retrain):
            given = f"compression.norm_codes={self.norm_codes}, compression.retrain={self.retrain}"
            raise ValueError(f"{given} without a size: give target_mb, kept_rows or row_codes, too.")

    @property
    def is_on(self) -> bool:
        """Whether anything is asked for."""
        return (self.target_mb, self.kept_rows, self.row_codes) != (None, None, None)

    @property
    def options(self) -> dict[str, Any]:
        """What `compress_bag` takes."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "retrain"}


class Trial(NamedTuple):
    """One way to reach a size."""

    rows: int
    row_codes: int
    norm_codes: bool
    mb: float
    score: float | None
    error: float
    """How far scores of texts are from those before, as a share; without texts: how far rows are."""


@dataclass(frozen=True)
class CompressionReport:
    """What a compression did."""

    mb_before: float
    mb: float
    """Of model.safetensors. A tokenizer is beside it."""
    rows_before: int
    rows: int
    hidden_size: int
    row_codes: int
    norm_codes: bool
    score_name: str | None
    score_before: float | None
    score: float | None
    trials: tuple[Trial, ...]
    """What was tried for `target_mb`."""

    def __str__(self) -> str:
        code = f"{self.row_codes} bytes{' and one for its length' if self.norm_codes else ''}"
        told = f"{self.mb_before:.3g} -> {self.mb:.3g} MB: {self.rows} of {self.rows_before} rows, {code} a row"
        if self.score is None or self.score_before is None:
            return told
        return f"{told}; {self.score_name} {self.score_before:.4f} -> {self.score:.4f}"


def compress_bag(
    model: BagForSequenceClassification,
    train_rows: Dataset | None = None,
    tune_rows: Dataset | None = None,
    *,
    target_mb: float | None = None,
    kept_rows: int | None = None,
    row_codes: int | None = None,
    norm_codes: bool | None = None,
    retrain: Retrain | None = None,
    seed: int = 0,
) -> tuple[BagForSequenceClassification, CompressionReport]:
    """Make a small bag of a trained one, which stays as it is.

    Args:
        model: The bag; its rows must not be quantized yet.
        train_rows: The texts that it was trained on, with the column `input_ids`. They tell which rows count.
        tune_rows: Other texts, with the columns `input_ids` and `labels`. They choose, and are scored.
        target_mb: Millions of bytes that model.safetensors may take. The rest is then chosen: leave it out.
        kept_rows: Words and buckets that keep a row (fastText: `cutoff`); None: all that `train_rows` have. With
            units="tokens" all words keep theirs, and the number is at least theirs.
        row_codes: Bytes of a row; by default one for two numbers.
        norm_codes: Whether a byte more stands for a row's length (fastText: `qnorm`); by default it does.
        retrain: Trains, in place, the model that it is given: the rows that are kept, not yet quantized.
        seed: Of k-means.

    Returns:
        The small model, on the CPU. Its probabilities or numbers mean the same; its `hidden_size` may be smaller, and
        its texts' vectors are others. And what was done.
    """
    _check(model, target_mb, (kept_rows, row_codes, norm_codes))
    if model.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    bag = _Compression(model, train_rows, tune_rows, seed)
    trials: list[Trial] = []
    if target_mb is None:
        kept = bag.kept(len(bag.ranked) if kept_rows is None else kept_rows)
        width = bag.narrow.config.hidden_size
        codes = _row_codes(row_codes, width), width > 1 if norm_codes is None else norm_codes
    else:
        found = bag.ways(int(target_mb * MB))
        if len(found) > 1:
            trials = [bag.trial(*way) for way in found]
            best = max(range(len(trials)), key=lambda index: (trials[index].score or 0, -trials[index].error))
            found = [found[best]]
        kept, codes = found[0]
    small = bag.made(kept, codes, retrain)
    return small, bag.report(small, trials)


def _check(model: Any, target_mb: float | None, chosen: tuple[Any, ...]) -> None:
    if not isinstance(model, BagForSequenceClassification):
        raise TypeError(f"compress_bag takes a BagForSequenceClassification, got {type(model).__name__}.")
    if model.config.row_codes:
        raise ValueError(
            f"This bag is quantized already (row_codes={model.config.row_codes}): give the one it was made from."
        )
    if not bool(model.classifier.weight.any()):
        raise ValueError(
            "The labels' vectors of this bag are 0: train it before it is compressed, on texts that differ from label "
            "to label."
        )
    if target_mb is not None:
        if not 0 < target_mb < float("inf"):
            raise ValueError(f"target_mb={target_mb} must be more than 0")
        if any(value is not None for value in chosen):
            raise ValueError(
                f"target_mb={target_mb} chooses kept_rows, row_codes and norm_codes: leave them out, or target_mb."
            )


def _row_codes(given: int | None, width: int) -> int:
    if given is None:
        return -(-width // 2)
    # The narrower rows are no choice of the caller's: what was right for the wide ones becomes one byte a number.
    if given < 1:
        raise ValueError(f"row_codes={given} must be 1 or more")
    return whole_pieces(width, min(given, width))


class _Compression:
    """One bag on its way to a smaller one.

    Attributes:
        narrow: The bag with rows as wide as the labels need.
        ranked: Rows, the most important first; those that are never dropped before all others.
        forced: How many these are.
    """

    def __init__(
        self, model: BagForSequenceClassification, train_rows: Dataset | None, tune_rows: Dataset | None, seed: int
    ) -> None:
        self.model, self.seed = model, seed
        self.train = None if train_rows is None else _texts(train_rows, model)
        self.tune = None if tune_rows is None else _texts(tune_rows, model)
        self.labels = None if tune_rows is None else _labels(tune_rows)
        self.problem_type = self._problem_type(train_rows)
        single = self.problem_type == "single_label_classification" and not model.config.hierarchical_softmax
        self.narrow = narrowed(model, is_softmax=single)
        self.importance, seen = row_importance(model.model, self.train)
        rows = self.narrow.model.inputs.get_parameter("weight").detach()
        # Texts are the same for both models, and so are the numbers of the rows.
        rows[torch.from_numpy(~seen)] = 0  # what a row was first drawn as is noise
        lengths = rows.norm(dim=1).numpy()
        self.ranked, self.forced = KeptRows.ranked(model.model, lengths * np.sqrt(self.importance), seen)

    def _problem_type(self, train_rows: Dataset | None) -> str | None:
        labels = self.labels
        if labels is None and train_rows is not None and "labels" in train_rows.column_names:
            labels = torch.tensor(train_rows["labels"][:1])
        if labels is None:
            return self.model.config.problem_type or ("regression" if self.model.num_labels == 1 else None)
        return problem_type_of(copy.deepcopy(self.model.config), labels)

    def kept(self, count: int) -> KeptRows:
        """Return the most important rows."""
        if count < self.forced:
            raise ValueError(f"kept_rows={count} is less than the {self.forced} rows that cannot be dropped")
        return KeptRows.of(self.model.model, self.ranked[:count])

    def ways(self, size: int) -> list[tuple[KeptRows, tuple[int, bool]]]:
        """List which rows in which codes are a file of at most `size` bytes, the finest codes first."""
        width, found = self.narrow.config.hidden_size, []
        pieces = dict.fromkeys(whole_pieces(width, -(-width // each)) for each in _WIDTHS if each <= width)
        codes = [(number, norms) for number in pieces for norms in ((True, False) if width > 1 else (False,))]
        for each in sorted(codes, key=lambda code: -(code[0] + code[1])):
            if self._size(self.forced, each) > size:
                continue
            count = self._largest(size, each)
            found.append((self.kept(count), each))
            if count == len(self.ranked):
                break  # coarser codes would keep the same rows
        if not found:
            smallest = min(self._size(self.forced, each) for each in codes)
            raise ValueError(
                f"target_mb={size / MB:g} is too small: the least that this bag takes is {smallest / MB:.3f} MB. "
                "Ask for that much, or train a bag with a smaller vocabulary."
            )
        return found

    def _size(self, count: int, codes: tuple[int, bool]) -> int:
        return saved_size(self.narrow, self.kept(count), *codes)

    def _largest(self, size: int, codes: tuple[int, bool]) -> int:
        # The file grows with the rows, so halving finds the most that fit.
        fits, too_many = self.forced, len(self.ranked) + 1
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            fits, too_many = (middle, too_many) if self._size(middle, codes) <= size else (fits, middle)
        return fits

    @torch.no_grad()
    def made(
        self, kept: KeptRows, codes: tuple[int, bool], retrain: Retrain | None = None
    ) -> BagForSequenceClassification:
        """Prune, train again, quantize, and fit the labels' vectors."""
        wide, target = pruned(self.narrow, kept), self.narrow
        if retrain is not None:
            with torch.enable_grad():
                retrain(wide)
            target = wide = wide.eval().cpu()  # a trainer takes it to its own device
        weights = self.importance[kept.rows] if self.train is not None else None
        small = quantized(wide, *codes, weights=weights, seed=self.seed)
        if self.train is not None:
            texts = some_texts(self.train, self.seed)
            fit_outputs(small, texts.hidden(small.model), target.classifier(texts.hidden(target.model)))
        return small.eval()

    def trial(self, kept: KeptRows, codes: tuple[int, bool]) -> Trial:
        """Make a small bag, without training, and see how good it is."""
        small = self.made(kept, codes)
        trial = Trial(
            rows=len(kept.rows), row_codes=codes[0], norm_codes=codes[1], mb=file_size(small) / MB,
            score=self.score(small), error=self._error(small, kept),
        )  # fmt: skip
        logger.info("%s", trial)
        return trial

    @torch.no_grad()
    def _error(self, small: BagForSequenceClassification, kept: KeptRows) -> float:
        texts = self.tune or (None if self.train is None else some_texts(self.train, self.seed))
        if texts is not None:
            found, wanted = (each.classifier(texts.hidden(each.model)) for each in (small, self.narrow))
        else:
            wanted = self.narrow.model.inputs.get_parameter("weight").detach()
            found = torch.zeros_like(wanted)
            found[torch.from_numpy(kept.rows)] = small.model.inputs(torch.arange(len(kept.rows)))
        return float((found - wanted).square().sum() / wanted.square().sum())

    @torch.no_grad()
    def score(self, model: BagForSequenceClassification) -> float | None:
        """Return the score of a model on the rows that were given for it."""
        if self.tune is None or self.labels is None or self.problem_type is None:
            return None
        logits = model.scores(self.tune.hidden(model.model)).float().numpy()
        return score_of(logits, self.labels.numpy(), self.problem_type)

    def report(self, small: BagForSequenceClassification, trials: list[Trial]) -> CompressionReport:
        """Tell what became of the bag."""
        config = small.config
        return CompressionReport(
            mb_before=file_size(self.model) / MB,
            mb=file_size(small) / MB,
            rows_before=self.model.config.num_rows,
            rows=config.num_rows,
            hidden_size=config.hidden_size,
            row_codes=config.row_codes,
            norm_codes=config.norm_codes,
            score_name=_SCORES.get(self.problem_type or "") if self.tune is not None else None,
            score_before=self.score(self.model),
            score=self.score(small),
            trials=tuple(trials),
        )


def _texts(rows: Dataset, model: BagForSequenceClassification) -> BagTexts:
    if len(rows) == 0:
        raise ValueError("There are no texts: give some, or None.")
    return BagTexts.of(rows, model.model)


def _labels(rows: Dataset) -> torch.Tensor:
    if "labels" not in rows.column_names:
        raise ValueError(f"tune_rows have the columns {rows.column_names}: a score needs 'labels' too.")
    return torch.tensor(rows["labels"][:])


def score_of(logits: np.ndarray, labels: np.ndarray, problem_type: str) -> float:
    """Return the score that people quote for a kind of problem."""
    return compute_score(_SCORES[problem_type], *PROBLEMS[problem_type].read(logits, labels))


def file_size(model: nn.Module) -> int:
    """Return the bytes of a model's weights on disk."""
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    return len(save(state, metadata={"format": "pt"}))


__all__ = ["CompressionReport", "CompressionSettings", "compress_bag"]
