"""The steps that make a bag small, each from one model to another: narrower rows, fewer rows, rows in bytes."""

import copy
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...models.words.ascending import AscendingNumbers
from ...models.words.bag import BagConfig, BagForSequenceClassification, BagModel
from ...models.words.quantized_rows import QuantizedRows
from .quantizing import quantize

_NO_RANK = 1e-6  # a direction of the labels' vectors that is shorter, as a share of the longest, is rounding
_END = b"</s>"
_TYPES = {torch.uint8: "U8", torch.int32: "I32", torch.int64: "I64", torch.float32: "F32"}


@dataclass(frozen=True)
class KeptRows:
    """The rows of a bag that stay.

    Attributes:
        rows: Ascending.
        words: The words among them, of a bag of bytes; None: all words stay.
        buckets: What the others stand for: numbers below `ngram_buckets`, ascending.
        ngrams: Which entries of the table of character n-grams stay, in a bag of tokens that has one.
    """

    rows: np.ndarray
    words: np.ndarray | None
    buckets: np.ndarray
    ngrams: np.ndarray | None

    @staticmethod
    def ranked(bag: BagModel, importance: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, int]:
        """Sort the rows by importance for the bytes that they take, and tell how many at the front must stay.

        These are the words of a bag of tokens, whose tokenizer has them all, and the word that ends texts of bytes.
        Rows that were not seen are left out.
        """
        words = bag.config.words_with_rows
        forced, cost = np.zeros(len(importance), dtype=bool), np.full(len(importance), 8.0)
        if bag.config.units == "tokens":
            forced[:words] = True
        elif words:
            sizes = np.diff(_listed(bag.word_starts))
            cost[:words] += sizes + 1
            forced[:words] = [word == _END for word in _words(bag)]
        order = np.argsort(-np.where(forced, np.inf, importance / cost), kind="stable")
        return order[(seen | forced)[order]], int(forced.sum())

    @classmethod
    def of(cls, bag: BagModel, rows: np.ndarray) -> "KeptRows":
        """Sort out some rows of a bag."""
        config, rows = bag.config, np.sort(rows)
        words = rows[rows < config.words_with_rows]
        places = rows[len(words) :] - config.words_with_rows
        numbers = places if config.num_kept_buckets is None else _listed(bag.kept_buckets)[places]
        ngrams = None
        if config.units == "tokens" and config.longest_ngram:
            stays = np.zeros(config.ngram_buckets, dtype=bool)
            stays[numbers] = True
            ngrams = stays[bag.get_buffer("ngrams").numpy()]
        return cls(rows, words if config.units == "bytes" else None, numbers, ngrams)

    def config(self, bag: BagModel, **changes: Any) -> BagConfig:
        """Return the config of a bag with these rows alone."""
        config = copy.deepcopy(bag.config)
        changes["num_kept_buckets"] = None if len(self.buckets) == config.ngram_buckets else len(self.buckets)
        if self.words is not None:
            changes["num_words"] = len(self.words)
            changes["num_word_bytes"] = int(np.diff(_listed(bag.word_starts))[self.words].sum())
        if self.ngrams is not None:
            changes["num_ngrams"] = int(self.ngrams.sum())
        for name, value in changes.items():
            setattr(config, name, value)
        return config

    @torch.no_grad()
    def fill(self, target: BagModel, bag: BagModel) -> None:
        """Copy the tables of these rows."""
        if target.kept_buckets is not None:
            target.kept_buckets.fill(self.buckets)
        if bag.row_weights is not None:
            weights = bag.row_weights[torch.from_numpy(self.rows)]
            if target.row_weights is not None:
                target.fill_table("row_weights", weights)
            else:
                found = quantize(weights[:, None].numpy(), 1, norms=False)
                target.fill_table("weight_levels", found.centroids[0, :, 0])
                target.fill_table("weight_codes", found.codes[:, 0])
        if self.words is not None:
            words = _words(bag)
            stay = [words[index] for index in self.words]
            target.fill_table("word_bytes", np.frombuffer(b"".join(stay), dtype=np.uint8).copy())
            target.fill_table("word_starts", np.cumsum([0, *map(len, stay)]))
        if self.ngrams is not None:
            before = np.concatenate([[0], np.cumsum(self.ngrams)])
            target.fill_table("ngrams", bag.get_buffer("ngrams")[torch.from_numpy(self.ngrams)])
            target.fill_table("ngram_starts", before[_listed(bag.ngram_starts)])


def _listed(numbers: AscendingNumbers | None) -> np.ndarray:
    return np.zeros(1, dtype=np.int64) if numbers is None else numbers.numbers()


def _words(bag: BagModel) -> list[bytes]:
    held, starts = bag.get_buffer("word_bytes").numpy().tobytes(), _listed(bag.word_starts).tolist()
    return [held[begin:end] for begin, end in zip(starts, starts[1:], strict=False)]


@torch.no_grad()
def narrowed(model: BagForSequenceClassification, *, is_softmax: bool) -> BagForSequenceClassification:
    """Turn the rows so that only directions are left that the labels' vectors have; probabilities stay the same.

    Rows and labels' vectors then have the same lengths along each direction, which are dealt out to the pieces that
    rows are quantized in from the longest on.
    """
    outputs = model.classifier.weight.detach().double().cpu().numpy()
    bias = model.classifier.bias.detach().cpu() if model.config.bias else None
    if is_softmax:  # what all scores have in common makes no difference
        outputs = outputs - outputs.mean(axis=0)
        bias = None if bias is None else bias - bias.mean()
    left, lengths, right = np.linalg.svd(outputs, full_matrices=False)
    rank = max(int((lengths > _NO_RANK * lengths[0]).sum()), 1)
    roots = np.sqrt(lengths[:rank])
    turn = torch.from_numpy(right[:rank].T * roots).float()
    config = copy.deepcopy(model.config)
    config.hidden_size = rank
    kept = KeptRows.of(model.model, np.arange(config.num_rows))
    narrow = empty_bag(model, kept.config(model.model, hidden_size=rank))
    kept.fill(narrow.model, model.model)
    weight = model.model.inputs.get_parameter("weight").detach().float().cpu()
    narrow.model.inputs.get_parameter("weight").copy_(weight @ turn)
    narrow.classifier.weight.copy_(torch.from_numpy(left[:, :rank] * roots))
    if bias is not None:
        narrow.classifier.bias.copy_(bias)
    return narrow


def empty_bag(model: BagForSequenceClassification, config: BagConfig) -> BagForSequenceClassification:
    """Build a bag for other rows, with the labels' tree of this one."""
    state = torch.get_rng_state()  # the first numbers are all overwritten: nothing is drawn for the caller
    made = BagForSequenceClassification(config).eval()
    torch.set_rng_state(state)
    if config.hierarchical_softmax:
        made.label_counts.copy_(model.label_counts)
    return made


@torch.no_grad()
def pruned(model: BagForSequenceClassification, kept: KeptRows) -> BagForSequenceClassification:
    """Return the bag without the other rows."""
    made = empty_bag(model, kept.config(model.model))
    kept.fill(made.model, model.model)
    rows = model.model.inputs.get_parameter("weight").detach()
    made.model.inputs.get_parameter("weight").copy_(rows[torch.from_numpy(kept.rows)])
    made.classifier.load_state_dict(model.classifier.state_dict())
    return made


@torch.no_grad()
def quantized(
    model: BagForSequenceClassification, pieces: int, norms: bool, *, weights: np.ndarray | None, seed: int
) -> BagForSequenceClassification:
    """Return the bag with its rows in bytes; the directions of the rows are dealt out to the pieces.

    Args:
        weights: How much each row counts; None: all alike.
    """
    width = model.config.hidden_size
    order = dealt(width, pieces)
    rows = model.model.inputs.get_parameter("weight").detach().numpy()[:, order]
    found = quantize(rows, pieces, norms=norms, weights=weights, seed=seed)
    everything = KeptRows.of(model.model, np.arange(model.config.num_rows))
    made = empty_bag(model, everything.config(model.model, row_codes=pieces, norm_codes=norms))
    everything.fill(made.model, model.model)
    held = made.model.inputs
    assert isinstance(held, QuantizedRows)
    held.codes.copy_(torch.from_numpy(found.codes))
    held.centroids.copy_(torch.from_numpy(found.centroids))
    if found.norm_codes is not None and found.norm_centroids is not None:
        held.norm_codes.copy_(torch.from_numpy(found.norm_codes))
        held.norm_centroids.copy_(torch.from_numpy(found.norm_centroids))
    made.classifier.weight.copy_(model.classifier.weight[:, torch.from_numpy(order)])
    if made.classifier.bias is not None:
        made.classifier.bias.copy_(model.classifier.bias)
    return made


def dealt(width: int, pieces: int) -> np.ndarray:
    """Deal out numbers 0 to `width` - 1 to pieces in turn, and return them piece by piece; the last may get fewer."""
    each = -(-width // pieces)
    room = [min(each, width - each * piece) for piece in range(pieces)]
    hands: list[list[int]] = [[] for _ in room]
    turn = [(place, piece) for place in range(each) for piece in range(pieces) if place < room[piece]]
    for number, (_, piece) in enumerate(turn):
        hands[piece].append(number)
    return np.array([number for hand in hands for number in hand])


def saved_size(model: BagForSequenceClassification, kept: KeptRows, pieces: int, norms: bool) -> int:
    """Return the bytes of the file that these rows would be."""
    config = kept.config(model.model, row_codes=pieces, norm_codes=norms)
    with torch.device("meta"):
        tensors = BagForSequenceClassification(config).state_dict()
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [end, end + size],
        }  # fmt: skip
        end += size
    return 8 + -(-len(json.dumps(header, separators=(",", ":"))) // 8) * 8 + end
