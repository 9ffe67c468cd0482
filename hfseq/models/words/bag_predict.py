"""What a bag of bytes can do without a tokenizer: label texts, and give vectors of words and sentences."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .fused_words import predict_kernels, word_rows

Labels = list[tuple[str, float]]


class LabelsTextsMixin:
    """`predict`, for a classifier whose `model` is a bag."""

    config: Any
    model: Any
    classifier: nn.Linear
    scores: Callable[[torch.Tensor], torch.Tensor]
    paths: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]
    _predictor: "_Held | None" = None

    def predict(self, texts: str | Sequence[str], k: int = 1, threshold: float = 0.0) -> Any:
        """Return the most probable labels of texts, straight from their bytes; only with units "bytes".

        Args:
            texts: One text, or several.
            k: How many labels at the most; -1 for all.
            threshold: Labels that are less probable are left out.

        Returns:
            Pairs (label, probability) of the text, the most probable first; of several texts a list of such lists. A
            text without any feature has none, which takes a bag that has no vector for the end of a text.
        """
        held = self._predictor
        if held is None or not held.is_right():
            held = self._predictor = _held(self)
        if k < 1 and k != -1:
            raise ValueError(f"k={k} must be 1 or more, or -1 for all labels.")
        names, predictor = held.names, held.predictor
        if not isinstance(texts, str):
            many = _all_encoded(texts, held.encoded)
            rows = predictor.many(many, k, threshold) if predictor else self._plainly(many, k, threshold)
            return [[(names[label], chance) for label, chance in row] for row in rows]
        one = held.encoded(texts)
        row = predictor.one(one, k, threshold) if predictor else self._plainly([one], k, threshold)[0]
        return [(names[label], chance) for label, chance in row]

    @torch.no_grad()
    def _plainly(self, texts: list[bytes], k: int, threshold: float) -> list[list[tuple[int, float]]]:
        """Do it with torch, wherever the model is."""
        most = k if k > 0 else self.config.num_labels
        if not texts:
            return []
        flat, lengths = np.frombuffer(b"".join(texts), dtype=np.uint8), np.array([len(text) for text in texts])
        rows, starts = self.model.features(flat.astype(np.int64), lengths)
        scores = self.scores(self.model.mean(rows, starts)).float()
        several = self.config.problem_type == "multi_label_classification"
        every = scores.sigmoid() if several else scores.softmax(-1)
        chances, labels = every.sort(dim=-1, descending=True, stable=True)
        sizes = torch.diff(starts, append=starts.new_tensor([len(rows)])).tolist()
        pairs = zip(labels[:, :most].tolist(), chances[:, :most].tolist(), sizes, strict=True)
        return [
            [(label, chance) for label, chance in zip(*row, strict=True) if size and chance >= threshold]
            for *row, size in pairs
        ]

    def __getstate__(self) -> dict[str, Any]:
        # Addresses are of no use in a copy.
        return super().__getstate__() | {"_predictor": None}  # type: ignore[misc]


class GivesVectorsMixin:
    """`get_word_vector` and `get_sentence_vector`, for a bag."""

    config: Any

    @torch.no_grad()
    def get_word_vector(self, word: str) -> np.ndarray:
        """Return the vector (D,) of a word, known or not; only with units "bytes".

        The mean of its own row, if it is in the dictionary, and those of its character n-grams; zeros without any.
        """
        _check_bytes(self.config, "get_word_vector", "model.get_input_embeddings()")
        return self._word_vector(self._encoded(word))

    @torch.no_grad()
    def get_sentence_vector(self, text: str) -> np.ndarray:
        """Return the vector (D,) of a text; only with units "bytes".

        A bag that ends its texts with `</s>`, as a classifier of fastText does: the mean of all features, as `forward`
        has it. Others, which are word vectors: the mean of the vectors of the words, each brought to length 1.
        """
        _check_bytes(self.config, "get_sentence_vector", "hfseq.encode(model, texts)")
        encoded = self._encoded(text)
        if self.config.ends_texts:
            flat = np.frombuffer(encoded, dtype=np.uint8).astype(np.int64)
            bag: Any = self
            return bag.mean(*bag.features(flat, np.array([len(flat)])))[0].float().numpy(force=True)
        vectors = [self._word_vector(word) for word in encoded.split()]
        units = [vector / length for vector in vectors if (length := np.linalg.norm(vector)) > 0]
        return np.mean(units, axis=0) if units else np.zeros(self.config.hidden_size, dtype=np.float32)

    def _encoded(self, text: str) -> bytes:
        return _lowered(text) if self.config.lowercase else _plain(text)

    def _word_vector(self, word: bytes) -> np.ndarray:
        bag: Any = self
        starts = np.array([0, len(word)], dtype=np.int64)
        flat = np.frombuffer(word, dtype=np.uint8)
        _, rows, _ = word_rows(flat, starts, bag.text_tables, bag.text_options)
        found = torch.from_numpy(rows.astype(np.int64)).to(bag.device)
        return bag.mean(found, found.new_zeros(1))[0].float().numpy(force=True)


def _all_encoded(texts: Sequence[str], encoded: Callable[[str], bytes]) -> list[bytes]:
    try:
        return [encoded(text) for text in texts]
    except (TypeError, AttributeError):  # asked only now: it would take as long as a short text
        rows = None if isinstance(texts, bytes) or not isinstance(texts, Iterable) else list(texts)
        wrong = texts if rows is None else next((row for row in rows if not isinstance(row, str)), None)
        raise TypeError(f"predict takes a string, or a list of strings, got {wrong!r:.60}.") from None


def _plain(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _lowered(text: str) -> bytes:
    # Letter by letter, as the tokenizer does: Python has another s for the end of a Greek word.
    return _plain(text.lower() if text.isascii() else "".join(letter.lower() for letter in text))


def _check_bytes(config: Any, method: str, instead: str) -> None:
    if config.units != "bytes":
        fault = f"{method} splits the bytes of a text, and this bag reads token ids"
        raise ValueError(f"units={config.units!r}: {fault}; use {instead}.")


class _Held(NamedTuple):
    """What `predict` keeps from call to call: it takes microseconds, as much as a look at a config.

    Attributes:
        predictor: The kernel with this model; None if it cannot have it.
        names: The labels, `config.id2label` itself.
        problem_type: That of the config.
        settings: The attributes of the config, which are read faster there.
        encoded: Turns a text into bytes.
        tensors: Those that the kernel reads, each under its name among those of its module.
        addresses: Of the parameters, whose numbers may move to another place or become others.
        versions: Of the tables, of which the kernel has what was derived from them.
    """

    predictor: Any
    names: dict[int, str]
    problem_type: str | None
    settings: dict[str, Any]
    encoded: Callable[[str], bytes]
    tensors: list[tuple[dict[str, Any], str, torch.Tensor]]
    addresses: list[tuple[torch.Tensor, tuple[int, torch.dtype]]]
    versions: list[tuple[torch.Tensor, int]]

    def is_right(self) -> bool:
        """Tell whether the model still has these very tensors; the kernel sees a change of weights, not of tables."""
        settings = self.settings
        if settings["id2label"] is not self.names or settings["problem_type"] != self.problem_type:
            return False
        for owner, name, tensor in self.tensors:
            if owner[name] is not tensor:
                return False
        for tensor, place in self.addresses:
            if (tensor.data_ptr(), tensor.dtype) != place:
                return False
        for tensor, version in self.versions:  # noqa: SIM110 (a generator would take as long as the call)
            if tensor._version != version:
                return False
        return True


def _held(classifier: Any) -> _Held:
    config, bag = classifier.config, classifier.model
    _check_bytes(config, "predict", 'pipeline("text-classification", model=model, tokenizer=tokenizer)')
    if config.problem_type == "regression":
        raise ValueError(f"problem_type={config.problem_type!r} has no labels: call the model instead.")
    modules = (classifier, bag, bag.inputs, classifier.classifier)
    found = [(owner, name) for module in modules for owner in (module._parameters, module._buffers) for name in owner]
    tensors = [(owner, name, owner[name]) for owner, name in found if owner[name] is not None]
    plain = [tensor for _, _, tensor in tensors if type(tensor) in (torch.Tensor, nn.Parameter)]
    fits = len(plain) == len(tensors) and all(_fits(tensor) for tensor in plain)
    kernels = predict_kernels() if fits else None
    tables = [table for module in (classifier, bag) for table in module._buffers.values()]
    return _Held(
        _predictor(kernels, classifier) if kernels else None,
        config.id2label,
        config.problem_type,
        vars(config),
        _lowered if config.lowercase else _plain,
        tensors,
        [(each, (each.data_ptr(), each.dtype)) for each in plain if isinstance(each, nn.Parameter)],
        [(table, table._version) for table in tables if table is not None and not table.is_inference()],
    )


def _fits(tensor: torch.Tensor) -> bool:
    is_number = not tensor.is_floating_point() or tensor.dtype == torch.float32
    return tensor.device.type == "cpu" and tensor.is_contiguous() and is_number


def _predictor(kernels: Any, classifier: Any) -> Any:
    config, bag, tables = classifier.config, classifier.model, classifier.model.text_tables
    options, outputs = bag.text_options, classifier.classifier
    arrays = {"word_bytes": tables.word_bytes, "word_starts": tables.word_starts, "slots": tables.slots}
    arrays["bucket_slots"] = tables.bucket_slots
    numbers = {
        "num_word_bytes": len(tables.word_bytes),
        "words": len(tables.word_starts) - 1,
        "num_slots": len(tables.slots),
        "num_bucket_slots": len(tables.bucket_slots),
        "shortest": options.shortest_ngram,
        "longest": options.longest_ngram,
        "word_ngrams": options.word_ngrams,
        "buckets": options.buckets,
        "ends_texts": int(options.ends_texts),
        "rows": config.num_rows,
        "width": config.hidden_size,
        "by_length": int(config.weighting == "tfidf_l2"),
        "num_outputs": outputs.out_features,
        "labels": classifier.num_labels,
        "kind": 2 if config.hierarchical_softmax else int(config.problem_type == "multi_label_classification"),
    }
    arrays["outputs"] = outputs.weight.detach().numpy()
    if outputs.bias is not None:
        arrays["bias"] = outputs.bias.detach().numpy()
    if config.weighting != "count":
        arrays["weights"] = bag.weights.numpy()
    if config.row_codes:
        arrays |= {"matrix": bag.inputs.codes.numpy(), "centroids": bag.inputs.centroids.numpy()}
        numbers |= {"parts": config.row_codes, "part_size": bag.inputs.centroids.shape[2]}
        if config.norm_codes:
            arrays |= {"norm_codes": bag.inputs.norm_codes.numpy(), "norms": bag.inputs.norm_centroids.numpy()}
    else:
        arrays["matrix"] = bag.inputs.weight.detach().numpy()
    if config.hierarchical_softmax:
        arrays["children"], numbers["root"] = _tree(*classifier.paths())
    return kernels.Predictor(arrays, numbers, options.label_prefix)


def _tree(starts: np.ndarray, nodes: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, int]:
    """Return what lies left and right below each inner node, int32, and the root: a label l is -1 - l."""
    below = np.append(nodes[1:], 0).astype(np.int32)
    below[starts[1:] - 1] = -1 - np.arange(len(starts) - 1)
    if not len(nodes):
        return np.zeros((1, 2), dtype=np.int32), -1
    children = np.zeros((len(starts) - 2, 2), dtype=np.int32)
    children[nodes, turns.astype(np.int64)] = below
    return children, int(nodes[starts[0]])
