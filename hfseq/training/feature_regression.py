"""The features of a tagger as a regression, the linear CRF: its loss is convex, so the best weights are found at once.

    minimize  sum over texts of -log P(labels | words) + C * sum of squared weights

The weights are a row for each feature that the texts have, and what follows what. L-BFGS finds the minimum in seconds
to minutes, with no learning rate and no epochs, as CRFsuite does. The distinct words of all texts are hashed once, and
scored once for each step.

A network beside the features is trained by itself, and validation texts tell how much each of the two counts:

    emissions = s_r features(words) + s_n network(text),  and so what follows what

On a few thousand texts the network learns late what the features know at once; together they are better than each.

Shapes: B batch, T time, O places, N distinct words of all texts, F features of a word at all places, R rows in use, L
labels.
"""

import copy
from collections.abc import Iterator
from itertools import product
from time import perf_counter
from typing import Any, Final, NamedTuple, cast

import torch
from accelerate.utils import broadcast
from datasets import Dataset
from torch import nn
from transformers.utils import logging

from ..models.base import IGNORED
from ..models.features import WordFeatures, neighbours, row_sums, spread
from ..models.heads.crf import LinearChainCRF
from ..models.heads.token_head import token_loss
from ..models.token_words import Read, Words
from ..progress import progress_bar
from .unseen import hide_unseen
from .wide import Mixed

logger = logging.get_logger(__name__)

STRENGTH: Final = 0.1
"""C, found on cuts of CoNLL-2003 and UD EWT."""

_BATCH: Final = 256  # texts
_MEMORY: Final = 6  # steps that L-BFGS remembers
_STEPS_A_ROUND, _MOST_ROUNDS, _TOLERANCE = 10, 12, 1e-3
# How much each may count. The network is always heard: without it the model would be the linear CRF.
_OF_FEATURES, _OF_NETWORK = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5), (0.125, 0.25, 0.5, 0.75, 1.0)


def features_of(model: Any) -> WordFeatures | None:
    """Return the features of a tagger: those beside its network, or those that it is made of; None: it has none."""
    for holder in (model, getattr(model, "model", None)):
        found = getattr(holder, "features", None)
        if isinstance(found, WordFeatures):
            return found
    return None


def has_features(model: Any) -> bool:
    """Tell whether a model is a tagger with features of words."""
    return features_of(model) is not None


def is_linear(model: Any) -> bool:
    """Tell whether a model is made of features alone, without a network."""
    return has_features(model) and not hasattr(model, "classifier")


class TaggedBatch(NamedTuple):
    """Texts of about one length.

    Attributes:
        labels: (B, T), -100 for none.
        chain: (B, T) bool, the words that follow one another.
    """

    labels: torch.Tensor
    chain: torch.Tensor


class Found(NamedTuple):
    """The best weights, and the mean loss of a label with them.

    Attributes:
        used: (R), the rows that have weights.
        weight: (R, L).
        crf: What follows what; None: a label is chosen for each word alone.
        loss: Without the weights' own.
    """

    used: torch.Tensor
    weight: torch.Tensor
    crf: nn.Module | None
    loss: float


class FeatureTexts:
    """Texts as the features of their distinct words, and which word stands where.

    Args:
        model: A tagger with features.
        dataset: Columns `input_ids` and `labels`.
    """

    @torch.no_grad()
    def __init__(self, model: Any, dataset: Dataset) -> None:
        found, near, count = [], [], 0
        self.batches = []
        for ids, mask, labels in padded_batches(dataset, model):
            read = Read.by(model.model, ids, mask)
            words = cast(Words, read.words)
            found.append(cast(WordFeatures, features_of(model)).rows(words))
            around = neighbours(words).flatten(0, 1)
            near.append(torch.where(around >= 0, around + count, -1))  # words of other batches stand before
            count += len(found[-1])
            labels, chain = hide_unseen(labels, model.num_labels), model.chain(ids[..., None], read)
            if model.crf is not None:  # to which other labels do not exist
                labels = labels.masked_fill(~chain, IGNORED)
            self.batches.append(TaggedBatch(labels, chain))
        distinct, number = torch.cat(found).unique(dim=0, return_inverse=True)
        # (R) rows in use, and which of them are those of each word, (N, F).
        self.used, self.rows = distinct.unique(return_inverse=True)
        places = torch.cat(near)[None]  # of the tokens of all batches, (1, tokens, O)
        self._near = torch.where(places >= 0, number[places.clamp(min=0)], -1)

    @property
    def num_labels(self) -> int:
        """How many words have a label."""
        return sum(int((batch.labels != IGNORED).sum()) for batch in self.batches)

    def emissions(self, weight: torch.Tensor) -> torch.Tensor:
        """Return (tokens, L), those of all batches, with the weights (R, L) of the rows in use."""
        return spread(row_sums(self.rows, weight), self._near)[0]

    def parted(self, emissions: torch.Tensor) -> list[torch.Tensor]:
        """Part (tokens, L) into (B, T, L) of each batch."""
        sizes = [batch.labels.numel() for batch in self.batches]
        parts = zip(emissions.split(sizes), self.batches, strict=True)
        return [part.view(*batch.labels.shape, -1) for part, batch in parts]


def padded_batches(dataset: Dataset, model: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield ids, mask and labels (B, T) of texts, the shortest first, where the model is."""
    rows, labels = dataset["input_ids"][:], dataset["labels"][:]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    for first in range(0, len(order), _BATCH):
        chosen = order[first : first + _BATCH]
        longest = max(max(len(rows[place]) for place in chosen), 1)
        ids = torch.full((len(chosen), longest), model.config.pad_token_id or 0)
        mask, tags = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
        for line, place in enumerate(chosen):
            length = len(rows[place])
            ids[line, :length], mask[line, :length] = torch.tensor(rows[place]), 1
            tags[line, :length] = torch.tensor(labels[place])
        yield ids.to(model.device), mask.to(model.device), tags.to(model.device)


def _mean_loss(crf: nn.Module | None, emissions: list[torch.Tensor], texts: FeatureTexts) -> float:
    count = max(texts.num_labels, 1)
    with torch.no_grad():
        pairs = zip(emissions, texts.batches, strict=True)
        return sum(float(tagging_loss(crf, each, batch, count)) for each, batch in pairs)


def tagging_loss(crf: nn.Module | None, emissions: torch.Tensor, batch: TaggedBatch, count: int) -> torch.Tensor:
    """Return -log P of the labels of a batch, divided by `count`."""
    if crf is None:
        return token_loss(emissions, batch.labels, count)
    return cast(LinearChainCRF, crf).loss(emissions, batch.labels, batch.chain, count)


def fit_features(texts: FeatureTexts, model: Any, strength: float = STRENGTH, minutes: float | None = None) -> Found:
    """Find the best weights for these texts; the model stays as it is.

    Args:
        texts: Those to learn from.
        model: A tagger with features.
        strength: C.
        minutes: Go no further after so many; None: until the loss falls no more.
    """
    started = perf_counter()
    crf, count = copy.deepcopy(model.crf), max(texts.num_labels, 1)
    if crf is not None:
        crf.reset_parameters()
    weight = nn.Parameter(torch.zeros(len(texts.used), model.num_labels, device=model.device))
    learnt = [weight, *([] if crf is None else crf.parameters())]
    optimizer = torch.optim.LBFGS(
        learnt, max_iter=_STEPS_A_ROUND, history_size=_MEMORY, line_search_fn="strong_wolfe", tolerance_change=1e-9
    )

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        emissions = texts.emissions(weight)
        total = emissions.new_zeros(())
        # The sums over features are taken back once for all batches.
        leaves = [part.detach().requires_grad_() for part in texts.parted(emissions)]
        for leaf, batch in zip(leaves, texts.batches, strict=True):
            loss = tagging_loss(crf, leaf, batch, count)
            loss.backward()
            total += loss.detach()
        emissions.backward(torch.cat([cast(torch.Tensor, leaf.grad).flatten(0, 1) for leaf in leaves]))
        penalty = torch.stack([each.square().sum() for each in learnt]).sum() * (strength / count)
        penalty.backward()
        return total + penalty.detach()

    before = float("inf")
    for _ in progress_bar("Fitting the features", range(_MOST_ROUNDS), unit="round"):
        loss = float(optimizer.step(step))  # at the beginning of the round
        is_over = minutes is not None and perf_counter() - started > 60 * minutes
        if is_over or before - loss < _TOLERANCE * loss:
            break
        before = loss
    found = weight.detach()
    return Found(texts.used, found, crf, _mean_loss(crf, texts.parted(texts.emissions(found)), texts))


class FeatureRegression:
    """The best weights of the features of training texts, to stand alone or to be mixed with a network.

    While the network is trained, its features are 0 and learn nothing.

    Args:
        model: A tagger with features.
        train: Columns `input_ids` and `labels`.
        minutes: Look for the weights for so many at most.
    """

    def __init__(self, model: Any, train: Dataset, minutes: float | None = None) -> None:
        self.model, self.features = model, cast(WordFeatures, features_of(model))
        self.found = fit_features(FeatureTexts(model, train), model, minutes=minutes)
        with torch.no_grad():
            self.features.weight.zero_()
        self.features.weight.requires_grad_(False)

    def stand_alone(self) -> float:
        """Write the weights into a model that has no network; return the mean loss of a label in training."""
        self._write(1.0, 0.0)
        return self.found.loss

    @torch.no_grad()
    def mix(self, validation: Dataset) -> Mixed:
        """Choose how much features and network count, by the loss on validation texts, and write it into the model.

        Args:
            validation: Columns `input_ids` and `labels`.
        """
        texts, found, own = FeatureTexts(self.model, validation), self.found, self.model.crf
        weight = found.weight.new_zeros(self.features.buckets, self.model.num_labels)
        weight[found.used] = found.weight
        features = texts.parted(texts.emissions(weight[texts.used]))
        network = self._network(validation)
        losses = {}
        crf = copy.deepcopy(own)
        for of_f, of_n in product(_OF_FEATURES, _OF_NETWORK):
            if crf is not None:
                _mix_into(crf, found.crf, own, of_f, of_n)
            both = [of_f * one + of_n * other for one, other in zip(features, network, strict=True)]
            losses[of_f, of_n] = _mean_loss(crf, both, texts)
        best = min(losses, key=lambda key: losses[key])
        self._write(*best)
        mixed = Mixed(STRENGTH, *best, loss=losses[best], network_loss=_mean_loss(own, network, texts))
        logger.warning(
            "A regression of features (C=%g) counts %g times, the network %g times: loss on validation %.4f, of the "
            "network alone %.4f.",
            *mixed,
        )
        return mixed

    def _network(self, dataset: Dataset) -> list[torch.Tensor]:
        """Return what the network alone says, (B, T, L) for each batch."""
        self.model.eval()
        found = []
        for ids, mask, _ in padded_batches(dataset, self.model):
            hidden = self.model.model(input_ids=ids, attention_mask=mask).last_hidden_state
            found.append(self.model.classifier(hidden).float())
        return found

    @torch.no_grad()
    def _write(self, of_features: float, of_network: float) -> None:
        model, found = self.model, self.found
        self.features.weight[found.used] = of_features * found.weight
        written = [self.features.weight]
        if model.crf is not None:
            _mix_into(model.crf, found.crf, model.crf, of_features, of_network)
            written += model.crf.parameters()
        for parameter in [] if is_linear(model) else model.classifier.parameters():
            parameter.mul_(of_network)
            written.append(parameter)
        for parameter in written:  # machines may differ in the last digit
            parameter.copy_(broadcast(parameter.data))
        self.features.weight.requires_grad_(True)


@torch.no_grad()
def _mix_into(target: nn.Module, one: Any, other: nn.Module, of_one: float, of_other: float) -> None:
    for parameter, *both in zip(target.parameters(), one.parameters(), other.parameters(), strict=True):
        parameter.copy_(of_one * both[0] + of_other * both[1])
