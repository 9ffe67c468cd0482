"""Models of fastText from its own files, `.bin` and `.ftz`: versions 11 and 12 of the format.

A file is read as if a stranger had made it: each count is held against the bytes that are left before anything of its
size is made, and what contradicts itself is refused.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from ..models.artifacts import UnsafeArtifactError
from ..models.words.ascending import pack
from ..models.words.bag import BYTES, BagConfig, BagForSequenceClassification, BagModel
from ..tokenization import byte_tokenizer

LABEL_PREFIX = "__label__"  # what a label begins with, unless fastText is told another

_MAGIC = 793712314
_VERSIONS = (11, 12)
_LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
_KINDS = {1: "cbow", 2: "skipgram", 3: "supervised"}
_CENTROIDS = 256
# What a BagConfig takes; a text has up to maxn n-grams for each of its characters.
_MOST = {"dim": 65_536, "bucket": 100_000_000, "minn": 100, "maxn": 100, "wordNgrams": 10}
_MOST_COUNTS = 10**15  # of all labels; fastText's tree of labels begins with it as infinity
_CURE = "download it again, or have fastText save it anew"


class Codes(NamedTuple):
    """A matrix of rows in parts, each of which is one of 256 centroids (product quantisation).

    Attributes:
        codes: uint8, (rows, parts).
        centroids: float32, (parts, 256, numbers of a part); a last part that is shorter is filled up with zeros.
        norm_codes: uint8, (rows,): which norm each row is multiplied with; empty for none.
        norms: float32, (256,).
    """

    codes: np.ndarray
    centroids: np.ndarray
    norm_codes: np.ndarray
    norms: np.ndarray

    def rows(self, rows: np.ndarray, width: int) -> np.ndarray:
        """Return the vectors of some rows, float32, (rows, width)."""
        parts = self.centroids[np.arange(self.codes.shape[1]), self.codes[rows]]
        vectors = parts.reshape(len(rows), self.codes.shape[1] * self.centroids.shape[2])[:, :width]
        return vectors * self.norms[self.norm_codes[rows], None] if len(self.norm_codes) else vectors


class FastTextArguments(NamedTuple):
    """The settings of the training, under fastText's names; `loss` and `model` as words."""

    dim: int
    ws: int
    epoch: int
    minCount: int
    neg: int
    wordNgrams: int
    loss: str
    model: str
    bucket: int
    minn: int
    maxn: int
    lrUpdateRate: int
    t: float

    @property
    def has_ngrams(self) -> bool:
        """Whether there are n-grams of characters or of words."""
        return self.maxn > 0 or self.wordNgrams > 1


@dataclass(frozen=True, eq=False)
class FastTextFile:
    """What a file of fastText holds.

    Attributes:
        arguments: How it was trained.
        words: The dictionary, in the order of the rows.
        counts: int64: how often each word was seen.
        labels: With their prefix, in the order of the output rows; the words for a model without labels.
        label_counts: int64.
        kept_buckets: int32, ascending: the buckets that have a row behind the words, in the order of these rows; None
            if nothing was pruned, and all have.
        inputs: float32, (words and buckets, dim), or the same in codes.
        outputs: float32, (output rows, dim), or the same in codes. With the loss "hs" row i is that of inner node i.
    """

    arguments: FastTextArguments
    words: list[bytes]
    counts: np.ndarray
    labels: list[bytes]
    label_counts: np.ndarray
    kept_buckets: np.ndarray | None
    inputs: np.ndarray | Codes
    outputs: np.ndarray | Codes


def read_fasttext(path: str | Path) -> FastTextFile:
    """Read a `.bin` or `.ftz` file of fastText.

    Raises:
        UnsafeArtifactError: If it is not such a file, is cut short, or contradicts itself.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file of fastText {str(path)!r}.")
    reader = _Reader(path)
    arguments = _read_arguments(reader)
    dictionary = _read_dictionary(reader, arguments)
    is_quantized = reader.flag("whether the input matrix is quantised")
    inputs = _read_matrix(reader, arguments.dim, is_quantized, "the input matrix")
    with_codes = reader.flag("whether the output matrix is quantised")
    outputs = _read_matrix(reader, arguments.dim, is_quantized and with_codes, "the output matrix")
    reader.check(not len(reader.data) - reader.place, f"{len(reader.data) - reader.place} bytes follow its end")
    kept, inputs = _ordered(reader, arguments, dictionary, is_quantized, inputs)
    labels, label_counts = dictionary.labels, dictionary.label_counts
    if arguments.model != "supervised":
        labels, label_counts = dictionary.words, dictionary.counts
    _check_outputs(reader, arguments, len(labels), _height(outputs))
    return FastTextFile(arguments, dictionary.words, dictionary.counts, labels, label_counts, kept, inputs, outputs)


def load_fasttext(path: str | Path) -> tuple[BagForSequenceClassification | BagModel, PreTrainedTokenizerFast]:
    """Load a model of fastText, `.bin` or `.ftz`, with the tokenizer that feeds it.

    Both are ordinary: `save_pretrained` keeps them, and `pipeline("text-classification", model=model,
    tokenizer=tokenizer)` classifies. Labels are spelled as in the file, such as `__label__en`.

    Args:
        path: A classifier, or word vectors (skip-gram or CBOW), also quantised or pruned.

    Returns:
        The classifier, or for word vectors a `BagModel` (their output matrix is of no use without its training), and
        the tokenizer, whose tokens are the bytes of a text.

    Raises:
        UnsafeArtifactError: If the file is malformed.
    """
    file = read_fasttext(path)
    is_classifier = file.arguments.model == "supervised"
    config, weights = _config(file), _input_weights(file)
    tokenizer = byte_tokenizer()
    if not is_classifier:
        return _with_weights(BagModel, config, weights), tokenizer
    weights = {f"model.{name}": tensor for name, tensor in weights.items()}
    outputs = file.outputs
    if isinstance(outputs, Codes):
        outputs = outputs.rows(np.arange(len(outputs.codes)), file.arguments.dim)
    if config.hierarchical_softmax:
        outputs = outputs[:-1]  # a tree has one inner node less than labels
        weights["label_counts"] = torch.from_numpy(file.label_counts)
    weights["classifier.weight"] = _tensor(outputs)
    return _with_weights(BagForSequenceClassification, config, weights), tokenizer


def _config(file: FastTextFile) -> BagConfig:
    arguments = file.arguments
    labels: dict[str, Any] = {}
    is_classifier = arguments.model == "supervised"
    if is_classifier:
        names = [label.decode("utf-8", "backslashreplace") for label in file.labels]
        several = arguments.loss in ("ova", "ns")
        problem_type = "multi_label_classification" if several else "single_label_classification"
        labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
        labels |= {"problem_type": problem_type, "hierarchical_softmax": arguments.loss == "hs"}
    codes = file.inputs if isinstance(file.inputs, Codes) else None
    return BagConfig(
        vocab_size=BYTES + 1,
        pad_token_id=BYTES,
        units="bytes",
        hidden_size=arguments.dim,
        word_ngrams=max(arguments.wordNgrams, 1),
        shortest_ngram=max(arguments.minn, 1),
        longest_ngram=arguments.maxn,
        ngram_buckets=arguments.bucket if arguments.has_ngrams else 0,
        num_words=len(file.words),
        num_word_bytes=sum(map(len, file.words)),
        num_kept_buckets=None if file.kept_buckets is None else len(file.kept_buckets),
        ends_texts=is_classifier,
        label_prefix=LABEL_PREFIX if is_classifier else "",  # a file tells no other, and fastText then takes this one
        row_codes=codes.codes.shape[1] if codes else 0,
        norm_codes=bool(codes and len(codes.norm_codes)),
        weighting="count",
        bias=False,
        **labels,
    )


def _input_weights(file: FastTextFile) -> dict[str, torch.Tensor]:
    starts = np.concatenate([[0], np.cumsum([len(word) for word in file.words])]).astype(np.int64)
    packed = {"word_starts.bits": _tensor(pack(starts, int(starts[-1]) + 1))}
    weights = packed | {"word_bytes": _tensor(np.frombuffer(b"".join(file.words), np.uint8))}
    if file.kept_buckets is not None:
        weights["kept_buckets.bits"] = _tensor(pack(file.kept_buckets, file.arguments.bucket))
    if not isinstance(file.inputs, Codes):
        return weights | {"inputs.weight": _tensor(file.inputs)}
    weights |= {"inputs.codes": _tensor(file.inputs.codes), "inputs.centroids": _tensor(file.inputs.centroids)}
    if len(file.inputs.norm_codes):
        weights["inputs.norm_codes"] = _tensor(file.inputs.norm_codes)
        weights["inputs.norm_centroids"] = _tensor(file.inputs.norms)
    return weights


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array) if array.flags.writeable else array.copy())


def _with_weights(kind: Any, config: BagConfig, weights: dict[str, torch.Tensor]) -> Any:
    # Not made and then filled: millions of rows would be drawn at random first.
    return kind.from_pretrained(None, config=config, state_dict=weights, trust_remote_code=False)


class _Reader:
    """Takes one thing after another from a file; every error names the file and the place."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.place = path, 0
        self.data: np.ndarray = np.zeros(0, dtype=np.uint8)
        if Path(path).stat().st_size > 0:  # an empty file cannot be mapped
            self.data = np.memmap(path, dtype=np.uint8, mode="r")

    def check(self, is_right: bool, fault: str) -> None:
        if not is_right:
            raise UnsafeArtifactError(f"{self.path}, byte {self.place}: {fault}: {_CURE}.")

    def numbers(self, form: str, what: str) -> tuple[Any, ...]:
        """Take numbers in the form of `struct`, little-endian."""
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form), what).tobytes())

    def number(self, form: str, what: str, least: int, most: int) -> int:
        """Take one number, within bounds."""
        (value,) = self.numbers(form, what)
        self.check(least <= value <= most, f"{what} is {value}, not one of {least} to {most}")
        return int(value)

    def flag(self, what: str) -> bool:
        return bool(self.number("B", what, 0, 1))

    def take(self, size: int, what: str) -> np.ndarray:
        left = len(self.data) - self.place
        self.check(size <= left, f"{what} needs {size} bytes, and {left} are left; the file is cut short or torn")
        taken = self.data[self.place : self.place + size]
        self.place += size
        return taken

    def array(self, shape: tuple[int, ...], dtype: str, what: str) -> np.ndarray:
        """Take an array, as a copy: the file may change later."""
        size = np.dtype(dtype).itemsize
        for length in shape:  # in Python's numbers, which do not overflow
            size *= length
        return np.frombuffer(self.take(size, what).tobytes(), dtype=dtype).reshape(shape)


def _read_arguments(reader: _Reader) -> FastTextArguments:
    magic, version = reader.numbers("ii", "the head of a model of fastText")
    reader.check(magic == _MAGIC, "it is not a model of fastText, which begins with the bytes ba 16 4f 2f")
    reader.check(version in _VERSIONS, f"it has version {version} of the format, and known are 11 and 12")
    *first, loss, model, bucket, shortest, longest, rate, t = reader.numbers("12id", "the settings of the training")
    reader.check(loss in _LOSSES, f"the loss is {loss}, not one of {_LOSSES}")
    reader.check(model in _KINDS, f"the kind of model is {model}, not one of {_KINDS}")
    # Classifiers of the old version did not use the n-grams of characters that they name.
    if (version == 11 and _KINDS[model] == "supervised") or shortest > longest > 0:
        longest = 0
    values = [*first, _LOSSES[loss], _KINDS[model], bucket, shortest, longest, rate, t]
    arguments = FastTextArguments._make(values)
    for name, most in _MOST.items():
        value = getattr(arguments, name)
        reader.check(value >= 0, f"{name} is {value}, less than 0")
        reader.check(value <= most, f"{name} is {value}, and more than {most} is not read")
    reader.check(arguments.dim > 0, "the dimension is 0")
    reader.check(bucket > 0 or not arguments.has_ngrams, "there are n-grams, but no buckets for them")
    return arguments


class _Dictionary(NamedTuple):
    words: list[bytes]
    counts: np.ndarray
    labels: list[bytes]
    label_counts: np.ndarray
    pruned: np.ndarray | None  # int32, (kept, 2): bucket, place


def _read_dictionary(reader: _Reader, arguments: FastTextArguments) -> _Dictionary:
    size, words, labels = reader.numbers("iii", "the sizes of the dictionary")
    fault = f"the dictionary has {size} entries, of which {words} are words and {labels} labels"
    reader.check(min(size, words, labels) >= 0 and size == words + labels, fault)
    if arguments.model == "supervised":
        reader.check(labels > 0, "a classifier has no labels")
    reader.numbers("q", "the number of tokens")
    (kept,) = reader.numbers("q", "the number of buckets that are left")
    least = 10  # bytes of an entry: an empty word, its end, its count, its type
    fits = size * least + max(kept, 0) * 8 <= len(reader.data) - reader.place
    reader.check(fits, f"{size} entries of the dictionary and {kept} buckets do not fit into the bytes that are left")
    entries, counts = _read_entries(reader, size, words)
    reader.check(len(set(entries)) == size, "an entry of the dictionary is there twice")
    reader.check(bool(counts[words:].sum(dtype=np.float64) < _MOST_COUNTS), "the counts of labels are too large")
    pruned = None
    if kept >= 0:
        pruned = reader.array((kept, 2), "<i4", "the buckets that are left")
        _check_pruned(reader, pruned, arguments.bucket)
    return _Dictionary(entries[:words], counts[:words], entries[words:], counts[words:], pruned)


def _read_entries(reader: _Reader, size: int, words: int) -> tuple[list[bytes], np.ndarray]:
    """Read the words, then the labels; no copy of the file is made on the way."""
    buffer, place = reader.data, reader.place
    # Each entry ends with NUL, count and type, and only a count can hold a NUL in between.
    entries, counts = [], np.zeros(size, dtype=np.int64)
    block, origin = b"", place
    for number in range(size):
        end = block.find(b"\0", place - origin)
        while end < 0 and origin + len(block) < len(buffer):
            block = buffer[place : place + max(1 << 16, 2 * (origin + len(block) - place))].tobytes()
            origin = place
            end = block.find(b"\0")
        reader.place = place
        reader.check(end >= 0, f"entry {number} of the dictionary has no end")
        entries.append(block[place - origin : end])
        reader.place = origin + end + 1
        count, kind = reader.numbers("qb", f"count and type of entry {number} of the dictionary")
        wanted = int(number >= words)
        reader.check(kind == wanted, f"entry {number} of the dictionary has type {kind}, where {wanted} belongs")
        reader.check(count >= 0, f"entry {number} of the dictionary has the count {count}")
        counts[number], place = count, reader.place
    return entries, counts


def _check_pruned(reader: _Reader, pruned: np.ndarray, bucket: int) -> None:
    kept, places = pruned[:, 0], np.sort(pruned[:, 1])
    is_bucket = ((kept >= 0) & (kept < bucket)).all() and len(np.unique(kept)) == len(kept)
    reader.check(bool(is_bucket), f"the buckets that are left are not different ones of the {bucket}")
    is_place = np.array_equal(places, np.arange(len(places)))
    reader.check(is_place, f"the places of the buckets that are left are not 0 to {len(places) - 1}, each once")


def _read_matrix(reader: _Reader, width: int, is_quantized: bool, what: str) -> np.ndarray | Codes:
    with_norms = is_quantized and reader.flag(f"whether {what} has norms")
    rows, columns = reader.numbers("qq", f"the shape of {what}")
    reader.check(rows >= 0 and columns == width, f"{what} is {rows} x {columns}, but the dimension is {width}")
    if not is_quantized:
        return reader.array((rows, columns), "<f4", what)
    (size,) = reader.numbers("i", f"the number of codes of {what}")
    parts = size // rows if rows else 0
    reader.check(size >= 0 and parts * rows == size, f"{what} has {size} codes for {rows} rows")
    codes = reader.array((rows, parts), "u1", f"the codes of {what}")
    centroids = _read_centroids(reader, width, parts if rows else None, f"the centroids of {what}")
    none = np.zeros(0, dtype=np.uint8)
    if not with_norms:
        return Codes(codes, centroids, none, np.zeros(_CENTROIDS, dtype=np.float32))
    norm_codes = reader.array((rows,), "u1", f"the norms of {what}")
    return Codes(codes, centroids, norm_codes, _read_centroids(reader, 1, 1, f"the norms of {what}").reshape(-1))


def _read_centroids(reader: _Reader, width: int, parts: int | None, what: str) -> np.ndarray:
    """Read centroids of parts of which the last may be shorter, and fill it up with zeros."""
    found_width, found_parts, size, last = reader.numbers("iiii", f"the shape of {what}")
    is_right = found_width == width and found_parts > 0 and (parts is None or found_parts == parts)
    is_right = is_right and 0 < last <= size and (found_parts - 1) * size + last == width
    fault = f"{what} are {found_parts} parts of {size} and {last} numbers, which do not make up {parts} of {width}"
    reader.check(is_right, fault)
    size = last if found_parts == 1 else size
    fault = f"{what} have parts of {size} numbers, where {width} in {found_parts} parts are read only as even ones"
    reader.check(size == -(-width // found_parts), fault)
    flat = reader.array((width * _CENTROIDS,), "<f4", what)
    whole = (found_parts - 1) * _CENTROIDS * size
    centroids = np.zeros((found_parts, _CENTROIDS, size), dtype=np.float32)
    centroids[:-1] = flat[:whole].reshape(found_parts - 1, _CENTROIDS, size)
    centroids[-1, :, :last] = flat[whole:].reshape(_CENTROIDS, last)
    return centroids


def _ordered(
    reader: _Reader,
    arguments: FastTextArguments,
    dictionary: _Dictionary,
    is_quantized: bool,
    inputs: np.ndarray | Codes,
) -> tuple[np.ndarray | None, np.ndarray | Codes]:
    """Return the kept buckets in ascending order, and the matrix with its rows in the same order."""
    words, rows = len(dictionary.words), _height(inputs)
    buckets = arguments.bucket if arguments.has_ngrams else 0
    if dictionary.pruned is None:
        fault = f"the input matrix has {rows} rows; {words} words and {buckets} buckets need {words + buckets}"
        reader.check(rows >= words + buckets and (buckets == 0 or rows == words + buckets), fault)
        return None, _rows_of(inputs, np.arange(words)) if rows > words + buckets else inputs
    reader.check(is_quantized, "a pruned model is not quantised, which fastText does not read either")
    kept = dictionary.pruned
    needed = words + len(kept)
    reader.check(
        rows == needed, f"the input matrix has {rows} rows; {words} words and {len(kept)} buckets need {needed}"
    )
    order = np.argsort(kept[:, 0])
    rows_in_order = np.concatenate([np.arange(words), words + kept[order, 1].astype(np.int64)])
    return kept[order, 0].astype(np.int32), _rows_of(inputs, rows_in_order)


def _rows_of(matrix: np.ndarray | Codes, rows: np.ndarray) -> np.ndarray | Codes:
    if not isinstance(matrix, Codes):
        return matrix[rows]
    norm_codes = matrix.norm_codes[rows] if len(matrix.norm_codes) else matrix.norm_codes
    return matrix._replace(codes=matrix.codes[rows], norm_codes=norm_codes)


def _height(matrix: np.ndarray | Codes) -> int:
    return len(matrix.codes) if isinstance(matrix, Codes) else len(matrix)


def _check_outputs(reader: _Reader, arguments: FastTextArguments, targets: int, rows: int) -> None:
    reader.check(rows == targets, f"the output matrix has {rows} rows for {targets} labels or words")
