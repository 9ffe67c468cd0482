"""The pipeline of word vectors, for which transformers has none; `import hfseq` registers it.

pipe = pipeline("word-vectors", model="user/vectors")
pipe("king", top_k=3)                                            # [{"word": "queen", "score": 0.71}, ...]
pipe({"positive": ["woman", "king"], "negative": ["man"]})       # see WordVectorsPipeline for the other questions
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from transformers import Pipeline

from ..models.words.vectors import KeyedVectors

_FORMS = (
    'a word, {"similar": word}, {"similar": word, "among": words}, {"positive": words, "negative": words}, '
    '{"odd": words} or {"vector": word}'
)


@dataclass(frozen=True)
class Request:
    """A checked request; no tuple, which a pipeline would take apart on its way to the device."""

    kind: str
    words: tuple[str, ...]
    others: tuple[str, ...] = ()


class WordVectorsPipeline(Pipeline):
    """Answers questions about the words of a `Word2VecModel`.

    A request is a word, whose neighbours are then given, or a dict:

    - `{"similar": word}`: its neighbours; with `"among": words` only these words, the most similar first;
    - `{"positive": words, "negative": words}`: words near to the positive and far from the negative ones;
    - `{"odd": words}`: these words by their similarity to their mean, the least similar first;
    - `{"vector": word}`: its vector, a list of numbers.

    The other answers are lists of at most `top_k` (10) pairs `{"word": ..., "score": ...}`; the score is a cosine. A
    list of requests gives the list of their answers.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False  # the model has its words itself

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found, needed = self.model.config.model_type, "hfseq_word2vec"
        if found != needed:
            raise ValueError(f"The task word-vectors needs a model of type {needed!r}, got one of {found!r}.")

    @property
    def vectors(self) -> KeyedVectors:
        """The model's vectors."""
        return cast(KeyedVectors, self.model.vectors)

    def _sanitize_parameters(self, top_k: int | None = None, **pipeline_parameters: Any) -> Any:
        if pipeline_parameters:
            raise TypeError(f"word-vectors has the parameter top_k and none named {', '.join(pipeline_parameters)}.")
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k must be a number from 1 up, got {top_k!r}.")
        return {}, {} if top_k is None else {"top_k": top_k}, {}

    def preprocess(self, input_: Any, **preprocess_parameters: Any) -> Any:
        """Check one request."""
        checked = _read_request(input_)
        for word in (*checked.words, *checked.others):
            if word not in self.vectors:
                # Among the most frequent words alone: all of millions would take seconds.
                close = difflib.get_close_matches(word, self.vectors.index_to_key[:50_000], n=3)
                hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
                raise ValueError(f"{word!r} is not among the {len(self.vectors)} words of this model.{hint}")
        return checked

    def _forward(self, input_tensors: Any, top_k: Any = 10, **forward_parameters: Any) -> Any:
        requests: list[Request] = input_tensors
        alone = [request.words[0] for request in requests if request.kind == "similar"]
        neighbours = iter(self.vectors.most_similar_batch(alone, topn=top_k))
        return [
            next(neighbours) if request.kind == "similar" else self._answer(request, top_k) for request in requests
        ]

    def _answer(self, request: Request, top_k: int) -> list[Any]:
        words, others = list(request.words), list(request.others)
        if request.kind == "vector":
            return self.vectors[words[0]].tolist()
        if request.kind == "positive":
            return self.vectors.most_similar(positive=words, negative=others, topn=top_k)
        if request.kind == "odd":
            return [(word, float(score)) for score, word in self.vectors.rank_by_centrality(words)[::-1]][:top_k]
        scores = [(other, float(self.vectors.similarity(words[0], other))) for other in others]
        return sorted(scores, key=lambda pair: -pair[1])[:top_k]

    def postprocess(self, model_outputs: Any, **postprocess_parameters: Any) -> Any:
        """Name what was found."""
        return [item if isinstance(item, float) else {"word": item[0], "score": item[1]} for item in model_outputs]

    def run_single(self, inputs: Any, *parameters: Any) -> Any:
        """Answer one request."""
        return next(self.get_iterator([inputs], 0, 1, *parameters))

    def get_iterator(self, inputs: Any, num_workers: int, batch_size: int, *parameters: Any) -> Iterator[Any]:
        """Answer many requests: a list at once, for nothing is padded; of a stream `batch_size` at a time."""
        size = len(inputs) if isinstance(inputs, list) else batch_size
        items = iter(inputs)
        while chunk := list(islice(items, size)):
            requests = [self.preprocess(item) for item in chunk]
            yield from map(self.postprocess, self.forward(requests, **parameters[1]))


def _read_request(request: Any) -> Request:
    given = {"similar": request} if isinstance(request, str) else request
    if not isinstance(given, dict):
        raise ValueError(f"a request is {_FORMS}; got {request!r}.")
    values = {name: _as_words(name, value) for name, value in given.items()}
    match sorted(values):
        case ["similar"] | ["odd"] | ["vector"]:
            ((kind, words),) = values.items()
            return Request(kind, words)
        case ["among", "similar"]:
            return Request("among", values["similar"], values["among"])
        case ["positive"] | ["negative"] | ["negative", "positive"]:
            return Request("positive", values.get("positive", ()), values.get("negative", ()))
    raise ValueError(f"a request is {_FORMS}; got the names {', '.join(map(str, given)) or 'of none'}.")


def _as_words(name: str, value: Any) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not words or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{name!r} must be a word or a list of words, got {value!r}.")
    if name in ("similar", "vector") and len(words) != 1:
        raise ValueError(f"{name!r} takes one word, got {len(words)}; ask for many by a list of requests.")
    return tuple(words)
