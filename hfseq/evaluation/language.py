"""How probable a language model finds a text: log-probability, surprisal, perplexity.

    scores = hfseq.score(model, tokenizer, ["the cat sat", "cat the sat"])
    scores.perplexity, scores.word_perplexity, scores.bits_per_character       # of all texts together
    scores.texts[1].log_prob                                                   # of one text
    list(zip(scores.texts[1].tokens, scores.texts[1].surprisals))              # token by token, in nats

Any causal language model will do, ours or transformers' own.

- log P(text) = sum_t log P(x_t | x_1 ... x_{t-1}); the surprisal of x_t is -log P(x_t | ...), in nats.
- Every token but the first of a document is predicted; that one is context: `<s>`, or, where no start token stands in
  front, the first token of the text. The end `</s>` is predicted by default: then P of all texts sums to 1.
- Tokens are what is predicted, the end included. Words (parted by white space), characters and bytes are those of the
  text as it was given: measures per word, character and byte compare models with different tokenizers.
- A measure of several texts divides the sum of their log-probabilities by the sum of their lengths, in float64.
- Unknown words are scored as `<unk>`, which is easier to predict than the word was. `num_unknown` counts them: a
  perplexity with unknowns is only comparable to one over the same vocabulary.

A model with a state reads any text once, in pieces. One with a limited context reads windows of `window` tokens, each
`stride` tokens after the last; every token is scored once, by the first window that reaches it, and so with at least
`window - stride` tokens before it (or all there are). No answer depends on how texts are batched.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache, DynamicCache

from ..models.base import IGNORED
from ..models.recurrent.state import RECURRENT_LAYER_TYPE
from ..progress import progress_bar

Document: TypeAlias = Sequence[int] | np.ndarray

_PIECE: Final = 128  # tokens of a long text read at once beside others: more rows fill the processor better
_TABLE_SIZE: Final = 2**24  # numbers in a batch's table of logits
_FEWEST, _MOST = 512, 16_384  # tokens of a batch


@dataclass(frozen=True, eq=False, kw_only=True)
class Measures:
    """The log-probability of a text, its length, and what follows from both."""

    log_prob: float  # natural logarithm
    num_tokens: int  # tokens predicted
    num_words: int  # parted by white space
    num_characters: int  # code points
    num_bytes: int  # in UTF-8
    num_unknown: int  # how many of the tokens are `<unk>`

    def _per(self, unit: str) -> float:
        count = getattr(self, f"num_{unit}")
        if count == 0:
            raise ValueError(f"There are no {unit} to divide by: the text is empty.")
        return -self.log_prob / count

    @property
    def nats_per_token(self) -> float:
        """The mean surprisal of a token: the loss that language models are trained on."""
        return self._per("tokens")

    @property
    def perplexity(self) -> float:
        """exp(nats per token): a choice among so many equally likely tokens would be as hard."""
        return exp_or_inf(self._per("tokens"))

    @property
    def word_perplexity(self) -> float:
        """exp(-log P / words)."""
        return exp_or_inf(self._per("words"))

    @property
    def bits_per_character(self) -> float:
        """-log2 P / characters."""
        return self._per("characters") / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """-log2 P / bytes."""
        return self._per("bytes") / math.log(2)


def exp_or_inf(value: float) -> float:
    """Return exp(value): what is too improbable for a float has the perplexity inf."""
    with np.errstate(over="ignore"):
        return float(np.exp(value))


@dataclass(frozen=True, eq=False, kw_only=True)
class TextScore(Measures):
    """One text, with its measures."""

    text: str
    tokens: list[str]  # what was predicted, the end included; without the first, which is context only
    surprisals: np.ndarray  # float64, of each of `tokens`


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores(Measures):
    """The measures of all texts together; `texts` holds those of each, in the order in which they were given."""

    texts: list[TextScore]


def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: str | Iterable[str],
    *,
    add_start: bool | None = None,
    add_end: bool = True,
    window: int | None = None,
    stride: int | None = None,
    max_tokens_per_batch: int | None = None,
) -> Scores:
    """Score texts with a causal language model; see the top of this module for what is predicted and counted.

    Texts are never truncated. The model runs in evaluation mode without gradients, and gets its mode back. For
    `window`, `stride` and `max_tokens_per_batch` see `score_ids`.

    Args:
        texts: One text, or several: a list, a generator, a column of a dataset.
        add_start: Whether the start token stands before each text. By default as the tokenizer does it when called.
        add_end: Whether the end token is predicted after each text, if the tokenizer has one; else P is that of all
            texts that begin so.
    """
    strings = text_list(texts)
    documents = encode(tokenizer, strings, add_start=add_start, add_end=add_end)
    surprisals = score_ids(model, documents, window=window, stride=stride, max_tokens_per_batch=max_tokens_per_batch)
    unknown_id = tokenizer.unk_token_id
    if unknown_id in (tokenizer.bos_token_id, tokenizer.eos_token_id):  # as in GPT-2, which knows every byte
        unknown_id = None
    scored = [
        TextScore(
            text=text,
            tokens=cast(list[str], tokenizer.convert_ids_to_tokens(ids[1:])),
            surprisals=values,
            log_prob=-float(values.sum()),
            num_tokens=len(values),
            num_words=len(text.split()),
            num_characters=len(text),
            num_bytes=len(text.encode("utf-8", "surrogatepass")),
            num_unknown=ids[1:].count(unknown_id),
        )
        for text, ids, values in zip(strings, documents, surprisals, strict=True)
    ]
    names = [field.name for field in fields(Measures)]
    return Scores(texts=scored, **{name: sum(getattr(text, name) for text in scored) for name in names})


def text_list(texts: str | Iterable[str]) -> list[str]:
    """Return one text or several as a list of strings."""
    strings = [texts] if isinstance(texts, str) else list(texts)
    if not strings:
        raise ValueError("There are no texts: the iterable is empty, or it was an iterator that is already used up.")
    for number, text in enumerate(strings):
        if not isinstance(text, str):
            raise TypeError(f"text number {number} is {text!r:.60}, no string. Give a column: dataset['text'].")
    return strings


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], *, add_start: bool | None = None, add_end: bool = True
) -> list[list[int]]:
    """Turn texts into documents for `score_ids`: token ids with start and end as in `score`, each of them once."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if add_start is None:
        add_start = bos is not None and tokenizer("a", verbose=False)["input_ids"][:1] == [bos]
    elif add_start and bos is None:
        raise ValueError("add_start=True, but this tokenizer has no bos_token: leave add_start out.")
    documents = []
    for ids in tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]:
        start = [bos] if add_start and ids[:1] != [bos] else []
        end = [eos] if add_end and eos is not None and ids[-1:] != [eos] else []
        documents.append([*start, *ids, *end])
    return documents


def score_ids(
    model: PreTrainedModel,
    documents: Iterable[Document],
    *,
    window: int | None = None,
    stride: int | None = None,
    max_tokens_per_batch: int | None = None,
) -> list[np.ndarray]:
    """Return the surprisals in nats of the tokens of each document: float64, of all tokens but the first.

    Args:
        documents: Token ids of each.
        window: Tokens that a model without a state reads at once, at most; by default its `max_position_embeddings`,
            or all.
        stride: How many tokens after the last window the next one begins: the smaller, the more context and work. By
            default half the window.
        max_tokens_per_batch: Tokens, with padding, read at once; a window is never cut for it. By default so many that
            a batch's logits fit into 64 MB.
    """
    if isinstance(documents, np.ndarray) and documents.ndim == 1 and documents.dtype != object:
        raise ValueError("documents must be several, got one array of ids: put it into a list.")
    arrays = [_checked(document, number, model) for number, document in enumerate(documents)]
    reader = _reader(model, window, stride, max_tokens_per_batch)
    found = [np.zeros(max(len(ids) - 1, 0)) for ids in arrays]
    order = sorted((number for number, ids in enumerate(arrays) if len(ids) > 1), key=lambda i: -len(arrays[i]))
    with evaluating(model), progress_bar("Scoring", total=sum(map(len, found)), unit="token") as bar:
        for span, log_probs in reader.read(arrays, order):
            found[span.document][span.first - 1 : span.stop - 1] = -log_probs[span.first - 1 - span.begin :]
            bar.update(span.stop - span.first)
    for number, values in enumerate(found):
        if np.isnan(values).any():
            raise ValueError(
                f"The model gives the probability nan to a token of document {number}: its weights are damaged, or "
                f"{model.dtype} is too narrow for them. Load it with dtype='float32'."
            )
    return found


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Run a model in evaluation mode without gradients; afterwards each module, frozen or not, has its mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _checked(document: Document, number: int, model: PreTrainedModel) -> np.ndarray:
    ids = np.asarray(document)
    if ids.size == 0:
        return np.zeros(0, dtype=np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(f"document number {number} must be a list of token ids, got {str(document)[:60]!r}.")
    size = model.config.get_text_config().vocab_size
    if (wrong := ids[(ids < 0) | (ids >= size)]).size:
        raise ValueError(
            f"document number {number} holds the id {wrong[0]}, but the model knows the ids 0 to {size - 1} "
            "(config.vocab_size): this tokenizer does not belong to this model."
        )
    return ids.astype(np.int64)


class Span(NamedTuple):
    """Tokens read at once: `begin` to `stop` - 1 of a document, of which `first` to `stop` - 1 are predicted."""

    document: int
    begin: int
    stop: int
    first: int


Read: TypeAlias = Iterator[tuple[Span, np.ndarray]]


@dataclass(frozen=True)
class _Reader:
    """A model without a state: each row is a window."""

    model: PreTrainedModel
    budget: int
    window: int | None
    stride: int | None

    def read(self, documents: list[np.ndarray], order: list[int]) -> Read:
        """Yield every span with the log-probabilities of its next tokens; `order` names the longest document first."""
        spans = [span for number in order for span in self._spans(number, len(documents[number]))]
        spans.sort(key=lambda span: span.begin - span.stop)
        while spans:
            rows = max(1, self.budget // (spans[0].stop - spans[0].begin - 1))
            yield from self._batch(documents, spans[:rows])
            del spans[:rows]

    def _spans(self, number: int, length: int) -> Iterator[Span]:
        """Cut a document into windows; the last input of each still predicts the token that follows the window."""
        window, stride = self.window or length, self.stride or length
        begin, first = 0, 1
        while first < length:
            stop = min(begin + window + 1, length)
            yield Span(number, begin, stop, first)
            begin, first = begin + stride, stop

    def _batch(self, documents: list[np.ndarray], spans: list[Span], cache: Cache | None = None) -> Read:
        """Call the model once. Rows are padded on the right, where a causal model does not look."""
        shape = (len(spans), max(span.stop - span.begin - 1 for span in spans))
        input_ids = np.zeros(shape, dtype=np.int64)
        targets = np.full(shape, IGNORED)
        for row, span in enumerate(spans):
            ids = documents[span.document][span.begin : span.stop]
            input_ids[row, : len(ids) - 1] = ids[:-1]
            targets[row, span.first - 1 - span.begin : len(ids) - 1] = ids[span.first - span.begin :]
        device = self.model.device
        log_probs = self._predict(torch.from_numpy(input_ids).to(device), torch.from_numpy(targets).to(device), cache)
        values = log_probs.cpu().double().numpy()
        for row, span in enumerate(spans):
            yield span, values[row, : span.stop - span.begin - 1]

    def _predict(self, input_ids: torch.Tensor, targets: torch.Tensor, cache: Cache | None) -> torch.Tensor:
        return cast(Any, self.model).token_log_probs(input_ids, targets, cache=cache)


class _LogitsReader(_Reader):
    """A model that has only logits, such as transformers' own."""

    def _predict(self, input_ids: torch.Tensor, targets: torch.Tensor, cache: Cache | None) -> torch.Tensor:
        asked = targets != IGNORED
        real = asked.long().flip(1).cummax(1).values.flip(1)  # 0 at padding, which follows the last token asked for
        logits = self.model(input_ids=input_ids, attention_mask=real, use_cache=False).logits  # (B, T, V)
        log_probs = torch.zeros(targets.shape, device=targets.device)
        log_probs[asked] = -torch.nn.functional.cross_entropy(logits[asked].float(), targets[asked], reduction="none")
        return log_probs


class _StateReader(_Reader):
    """A model that carries a state: many texts side by side, a piece of each at a time, the longest first."""

    def read(self, documents: list[np.ndarray], order: list[int]) -> Read:
        """Read as above; documents that end leave the batch, and the pieces of the others grow."""
        while order:
            rows = max(1, self.budget // min(len(documents[order[0]]) - 1, _PIECE))
            yield from self._side_by_side(documents, order[:rows])
            del order[:rows]

    def _side_by_side(self, documents: list[np.ndarray], running: list[int]) -> Read:
        cache, begin = DynamicCache(config=self.model.config), 0
        while running:
            stop = begin + max(1, self.budget // len(running)) + 1
            spans = [Span(number, begin, min(stop, len(documents[number])), begin + 1) for number in running]
            yield from self._batch(documents, spans, cache)
            begin = stop - 1
            going_on = [number for number in running if len(documents[number]) > begin + 1]
            if 0 < len(going_on) < len(running):
                cache.batch_select_indices(torch.arange(len(going_on), device=self.model.device))
            running = going_on


def _reader(model: PreTrainedModel, window: int | None, stride: int | None, budget: int | None) -> _Reader:
    config = model.config.get_text_config()
    if not model.can_generate() or model.config.is_encoder_decoder:
        raise ValueError(f"{type(model).__name__} is no causal language model: load one with AutoModelForCausalLM.")
    if window is None:
        window = getattr(config, "max_position_embeddings", None)
    if window is not None and window < 1:
        raise ValueError(f"window={window} has no room for a token: use 1 or more.")
    if stride is None:
        stride = None if window is None else (window + 1) // 2
    elif window is None or not 1 <= stride <= window:
        raise ValueError(f"stride={stride} must be from 1 to window={window}: windows must not leave tokens out.")
    # A mixture of n-grams with a transformer has a state too, but not one that reads texts of any length.
    has_state = set(getattr(config, "layer_types", None) or ()) == {RECURRENT_LAYER_TYPE}
    looks_up = hasattr(model, "token_log_probs") and not has_state
    counts = looks_up and not hasattr(config, "num_hidden_layers")  # n-grams: nothing as wide as the vocabulary
    if budget is None:
        budget = _MOST if counts else min(max(_TABLE_SIZE // config.vocab_size, _FEWEST), _MOST)
    if budget < 1:
        raise ValueError(f"max_tokens_per_batch={budget} has no room for a token: use 1 or more.")
    reader = _Reader if looks_up else _StateReader if has_state else _LogitsReader
    return reader(model, budget, window, stride)
