"""Counting n-grams: the language model that everything before 2010 ran on, and that every network must beat.

An n-gram model of order n predicts a word w from the n - 1 words before it, its context h, by how often each word came
after h in a corpus. Most word sequences never occur in any corpus, however large, so the counts must be smoothed: some
probability is taken from what was seen and given to what was not. Here P_k is the model that looks at k - 1 words; h'
is h without its oldest word. Every smoothing below has the same form, *interpolation* with the shorter context:

    P_k(w | h) = share(h w) + gamma(h) P_{k-1}(w | h')          P_0(w) = 1 / V'

where V' counts the words that can be predicted at all (padding and <s> cannot). What the shares of h leave over,
gamma(h) = 1 - sum_w share(h w), goes to the shorter context, so P_k sums to 1 if P_{k-1} does. A context that was
never seen has no shares and gamma = 1: the model *backs off* to h'.

add-k (Laplace for k = 1, Lidstone) pretends that each word was seen k times more after each context, and knows the
full context only, none shorter: P_{k-1} above is P_0. With k = 0 it is the maximum likelihood estimate, whose
perplexity on new text is infinite. c(h w) is the count of h w, c(h) the sum of it over w:

    P(w | h) = (c(h w) + k) / (c(h) + k V'),       so   share(h w) = c(h w) / (c(h) + k V')
                                                        gamma(h)   = k V' / (c(h) + k V')

Kneser-Ney, modified by Chen and Goodman (1998), rests on two ideas.

1. *Absolute discounting.* Words that occur r times in one half of a corpus occur about r - D times in the other, with
   nearly the same D for all r. So D is taken off each count:

       share(h w) = (a(h w) - D(a(h w))) / A(h)                 A(h) = sum_w a(h w)
       gamma(h)   = (D_1 N_1(h) + D_2 N_2(h) + D_3 N_3+(h)) / A(h)

   N_r(h) is the number of words w with a(h w) = r, N_3+(h) of those with 3 or more. D_1, D_2 and D_3 (for counts 1,
   2, and 3 or more) come from n_r, the number of k-grams with a = r, for each order k on its own:

       Y = n_1 / (n_1 + 2 n_2)     D_r = r - (r + 1) Y n_{r+1} / n_r          (`discounts="single"`: D_r = Y for all)

   Where that gives no number in (0, r], as on a toy corpus or for letters, D_r = r / 2 for that order.
2. *Continuation counts.* "Francisco" is frequent, but only after "San". The shorter context is asked when the longer
   one did not help, thus a word should count there by how many different words it follows:

       a(g) = c(g)             for k-grams g of the highest order, and those that begin a sentence
       a(g) = N_1+(* g)        for all others: the number of different words seen before g

A sentence's first words have nothing before them. The end of the last sentence, </s>, stands there (as does <s> where
a document begins with one), and contexts never look past it: `the` after `. </s>` has the context `</s>`. A model with
neither id gives the first word the empty context; the beginning of the document then counts as one more word seen
before what it begins with.

`ngram_counts.py` counts and smooths, here is the model. The n-grams of order k are stored as sorted numbers, (row of
the first k - 1 words among those of order k - 1) * V + id of the last word. So the words after one context lie side by
side, and an n-gram is found in k - 1 binary searches.

Shapes: B batch, T time, K positions asked, P of all rows together, V vocabulary, N n-grams of an order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import GenerationMixin
from transformers import initialization as init
from transformers.utils import can_return_tuple
from typing_extensions import Unpack

from ..base import SequencePreTrainedModel, initialises_everything
from ..calls import CausalLMOutputWithPast, model_call
from ..configs import SequenceConfig, bounded
from ..fixed_vocabulary import WithoutEmbeddingsMixin
from ..heads.causal_lm import LanguageKwargs, NextTokenMixin, mean_over_targets, targets_of
from ..inputs import at_least_one_token, check_input_ids, mask_of_inputs
from ..ragged import ragged_places
from .ngram_counts import Level, add_k, count_ngrams, kneser_ney, read_corpus
from .ngram_tables import find_fault

_MOST_NGRAMS = 10_000_000_000
_TABLE_SIZE = 2**22  # numbers of a piece of (P, V) that is worked on at once


@strict
class NGramConfig(SequenceConfig):
    """Configuration of an n-gram model.

    Args:
        vocab_size: V, number of token ids.
        order: n, words of the longest n-gram; the context is one word shorter.
        smoothing: "kneser-ney" (interpolated) or "add-k"; the equations stand at the top of this file.
        discounts: For Kneser-Ney: "modified", three for each order, or "single", one.
        add_k: For add-k smoothing: how often each word counts as seen without being seen; 0: maximum likelihood.
        num_ngrams: Stored n-grams of each order from 1 to `order`, filled in by `NGramForCausalLM.fit`.
        pad_token_id: Never predicted, unless it is `eos_token_id` too.
        bos_token_id: Begins a document, if it stands there; context only, never predicted (unless it is the next).
        eos_token_id: Ends a document; no context looks back past it.
    """

    model_type = "hfseq_ngram"

    vocab_size: int = bounded(10_000, 2, 10_000_000)
    order: int = bounded(5, 1, 10)
    smoothing: Literal["kneser-ney", "add-k"] = "kneser-ney"
    discounts: Literal["modified", "single"] = "modified"
    add_k: float | int = bounded(1.0, 0.0, 1e6)
    num_ngrams: list[int] | None = None
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def validate_token_ids(self) -> None:
        """Check that special tokens are in the vocabulary, and are not all of it."""
        super().validate_token_ids()
        if self.num_predictable < 1:
            raise ValueError(f"vocab_size={self.vocab_size} leaves no word besides padding and bos_token_id")

    def validate_num_ngrams(self) -> None:
        """Check that each order has a number; every word of the vocabulary has a row among the 1-grams."""
        sizes = self.num_ngrams
        if sizes is None:
            return
        if len(sizes) != self.order or any(not 0 <= size <= _MOST_NGRAMS for size in sizes):
            raise ValueError(f"num_ngrams={sizes} must be {self.order} (order) numbers from 0 to {_MOST_NGRAMS}")
        if sizes[0] != self.vocab_size:
            raise ValueError(f"num_ngrams={sizes} must begin with vocab_size={self.vocab_size}")

    @property
    def impossible_ids(self) -> list[int]:
        """Tokens of probability 0: padding and the beginning of a document."""
        ids = {token for token in (self.pad_token_id, self.bos_token_id) if token is not None}
        return sorted(ids - {self.eos_token_id})

    @property
    def num_predictable(self) -> int:
        """V', all the other tokens."""
        return self.vocab_size - len(self.impossible_ids)

    @property
    def boundary_ids(self) -> list[int]:
        """Tokens that no context looks back past; the first of them stands before every document. None: no such."""
        return [token for token in (self.eos_token_id, self.bos_token_id) if token is not None]


class NGramForCausalLM(NextTokenMixin, WithoutEmbeddingsMixin, SequencePreTrainedModel, GenerationMixin):
    """An n-gram language model: `fit` counts, the rest is a causal language model as any.

    It has no parameter, only tables: `keys_k` (from order 2 on), `shares_k` of the n-grams of order k, and `gammas_j`
    of the contexts of j words. Logits are log-probabilities. What is impossible has the lowest finite number.

    A text is a document from its beginning, whose first word has the context </s>. Generation needs no state: each
    step looks up the last words, at the same cost however long the text.
    """

    config: NGramConfig
    config_class = NGramConfig
    main_input_name = "input_ids"
    how_to_grow = "make a model with a config of that vocab_size and fit it."
    _keep_in_fp32_modules_strict = {"shares", "gammas"}

    def __init__(self, config: NGramConfig) -> None:
        super().__init__(config)
        sizes = config.num_ngrams or [config.vocab_size, *[0] * (config.order - 1)]
        for k, size in enumerate(sizes, start=1):
            if k > 1:
                # The words themselves are the keys of order 1.
                self.register_buffer(f"keys_{k}", torch.zeros(size, dtype=torch.long))
            self.register_buffer(f"shares_{k}", torch.zeros(size))
            self.register_buffer(f"gammas_{k - 1}", torch.ones(1 if k == 1 else sizes[k - 2]))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Set the tables to "nothing was counted"."""
        for name, buffer in module.named_buffers(recurse=False):
            (init.ones_ if name.startswith("gammas") else init.zeros_)(buffer)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "NGramForCausalLM":
        """Move the tables, and keep their precision: in half of it the probabilities of a context sum to 1.001."""
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, table in self.named_buffers(recurse=False):
            if table.dtype != before[name].dtype:
                setattr(self, name, before[name].to(table.device))
        return self

    @property
    def device(self) -> torch.device:
        """Device of the tables; transformers' own property looks for parameters, which there are none of."""
        return self._table("gammas", 0).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the probabilities."""
        return self._table("gammas", 0).dtype

    def _table(self, kind: str, number: int) -> torch.Tensor:
        return cast(torch.Tensor, getattr(self, f"{kind}_{number}"))

    def fit(self, documents: Iterable[Sequence[int] | np.ndarray]) -> "NGramForCausalLM":
        """Count a corpus, in place of whatever was counted before.

        Args:
            documents: Token ids of each, normally with the one that ends it; lists, arrays or tensors.

        Returns:
            The model itself.
        """
        config = self.config
        corpus = read_corpus(
            documents,
            vocab_size=config.vocab_size,
            boundary_ids=config.boundary_ids,
            impossible_ids=config.impossible_ids,
            bos_token_id=config.bos_token_id,
        )
        # How many different words came before is what Kneser-Ney asks of the shorter n-grams; add-k wants plain
        # counts.
        continuations = config.smoothing == "kneser-ney"
        levels = count_ngrams(corpus, order=config.order, vocab_size=config.vocab_size, continuations=continuations)
        tables: dict[str, np.ndarray] = {}
        for k, level in enumerate(levels, start=1):
            shares, gammas = self._smooth(level, 1 if k == 1 else len(levels[k - 2].keys))
            tables |= {f"shares_{k}": shares.astype(np.float32), f"gammas_{k - 1}": gammas.astype(np.float32)}
            if k > 1:
                tables[f"keys_{k}"] = level.keys
        device = self.device
        # Assigned, not copied into: the tables have other lengths than before.
        for name, table in tables.items():
            setattr(self, name, torch.from_numpy(table).to(device))
        config.num_ngrams = [len(level.keys) for level in levels]
        return self

    def _smooth(self, level: Level, num_contexts: int) -> tuple[np.ndarray, np.ndarray]:
        config = self.config
        context = level.keys // config.vocab_size
        if config.smoothing == "kneser-ney":
            return kneser_ney(context, level.counts, num_contexts, config.discounts)
        return add_k(context, level.counts, num_contexts, config.add_k, config.num_predictable)

    @model_call("shift_labels")
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        cache: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        num_items_in_batch: torch.Tensor | int | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Unpack[LanguageKwargs],
    ) -> CausalLMOutputWithPast:
        """Predict the next token at every position.

        Args:
            input_ids: (B, T) token ids: a text from its beginning.
            attention_mask: (B, T), 1 for real tokens.
            labels: (B, T) the same tokens as `input_ids`, -100 where nothing is asked; shifted here.
            cache: Refused, as the model keeps no state.
            use_cache: Without effect.
            logits_to_keep: How many of the last positions get logits, see `kept_outputs`, or which positions; 0: all.
            num_items_in_batch: Tokens predicted in the whole update, by which the summed loss is divided; without it,
                the mean over this batch.
            inputs_embeds: Refused, as the model has no embeddings.
            **kwargs: `shift_labels`, (B, T), the token after each position instead of `labels`, where it is known
                beyond the last one. (No parameter: the Trainer would expect both in every batch.) The rest is what
                other models are asked for.

        Returns:
            `logits` (B, T, V), natural logarithms of probabilities, and `loss` where there are labels.
        """
        if input_ids is None or inputs_embeds is not None:
            raise ValueError("An n-gram model looks words up by their ids: give it input_ids, not inputs_embeds.")
        _refuse_state(cache)
        # 1. Look up the contexts of the positions that are asked for: `generate` asks for the last one alone.
        ids, mask, _ = at_least_one_token(input_ids, attention_mask, None)
        asked = logits_to_keep if isinstance(logits_to_keep, int) and logits_to_keep > 0 else None
        contexts = self._contexts(cast(torch.Tensor, ids), mask, asked)
        if isinstance(logits_to_keep, torch.Tensor):
            contexts = [rows[:, logits_to_keep] for rows in contexts]
        # 2. Score the vocabulary after them.
        logits = self._logits(contexts)
        # 3. Compare what follows each position with the targets.
        targets, loss = targets_of(labels, kwargs.get("shift_labels"), attention_mask), None
        if targets is not None:
            total = -self.token_log_probs(input_ids, targets, attention_mask).sum()
            loss = mean_over_targets(total, targets, num_items_in_batch)
        return CausalLMOutputWithPast(loss=loss, logits=logits)

    def _read_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: Any) -> Any:
        _refuse_state(cache)
        return self._contexts(input_ids, attention_mask, None)

    def _log_probs(self, read: Any, asked: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return _finite_log(self._probabilities([rows[asked] for rows in read], targets))

    # Looking up

    def contexts_of(self, input_ids: torch.Tensor, real: torch.Tensor) -> list[torch.Tensor]:
        """Return the rows of the contexts of 0, 1, ..., n - 1 words at each position, (B, T) each, -1 for none."""
        return self._contexts(input_ids, real, None)

    def logits_after(self, contexts: list[torch.Tensor]) -> torch.Tensor:
        """Return the logits (B, K, V) after contexts that `contexts_of` found."""
        return self._logits(contexts)

    def _contexts(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, asked: int | None
    ) -> list[torch.Tensor]:
        """Look up the contexts of 0, 1, ..., n - 1 words at the last K positions: rows, each (B, K), -1 for none."""
        config = self.config
        if config.num_ngrams is None:
            raise ValueError("This model has counted nothing yet: call model.fit(documents), or load a fitted one.")
        check_input_ids(input_ids, config.vocab_size)
        start = config.boundary_ids[0] if config.boundary_ids else -1
        words, read = tokens_to_the_front(input_ids, attention_mask, start)
        read = read if asked is None else read[:, -asked:]  # (B, K)
        width = read.shape[1] + max(config.order - 2, 0)  # W: the last context begins n - 2 words before its last
        column = read[:, -1:] - width + 1 + torch.arange(width, device=read.device)  # (B, W)
        words = words.gather(1, column.clamp(min=0))  # before the beginning: `start` again
        # A context of j words is found from its first j - 1 words and the last one, so each length takes one search
        # more.
        contexts = [torch.zeros_like(words), words][: config.order]
        for k in range(2, config.order):
            before = nn.functional.pad(contexts[-1][:, :-1], (1, 0), value=-1)
            # N-grams that end in a boundary are found as well, but nothing was counted after them: gamma is 1.
            contexts.append(_find(self._table("keys", k), before * config.vocab_size + words))
        # add-k mixes the full context with the uniform distribution alone, so shorter contexts are hidden from the
        # sum.
        if config.smoothing == "add-k":
            boundaries = torch.tensor(config.boundary_ids, device=words.device, dtype=words.dtype)
            contexts = self._longest_only(contexts, torch.isin(words, boundaries) | (column <= 0))
        place = read - read[:, -1:] + width - 1
        return [rows.gather(1, place) for rows in contexts]

    def _longest_only(self, contexts: list[torch.Tensor], begins: torch.Tensor) -> list[torch.Tensor]:
        """Keep for each position only its longest context."""
        column = torch.arange(begins.shape[1], device=begins.device)
        first = torch.where(begins, column, -1).cummax(1).values
        depth = (column - first + bool(self.config.boundary_ids)).clamp(max=self.config.order - 1)
        return [rows.masked_fill(depth != j, -1) for j, rows in enumerate(contexts)]

    def _gammas(self, contexts: list[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield gamma of the contexts of each length (P,), 1 for those not seen."""
        for j, rows in enumerate(contexts):
            table = self._table("gammas", j)
            if len(table) == 0:  # no document has so many words
                yield torch.ones(rows.shape, dtype=torch.double, device=rows.device)
            else:
                yield table[rows.clamp(min=0)].double().masked_fill(rows < 0, 1.0)

    def _probabilities(self, contexts: list[torch.Tensor], words: torch.Tensor) -> torch.Tensor:
        """Return P(word | context) for P contexts and one word each: float64, (P,)."""
        # P_0, then P_k = share + gamma P_{k-1} from the shortest context to the longest. In float64, for a rare word's
        # P is a product of many gammas.
        probabilities = torch.full(words.shape, 1 / self.config.num_predictable, dtype=torch.double).to(words.device)
        probabilities[torch.isin(words, self._impossible(words.device))] = 0.0
        for j, (rows, gammas) in enumerate(zip(contexts, self._gammas(contexts), strict=True)):
            found = words
            if j > 0:
                found = _find(self._table("keys", j + 1), rows * self.config.vocab_size + words)
            seen = (rows >= 0) & (found >= 0)
            shares = torch.zeros_like(probabilities)
            shares[seen] = self._table("shares", j + 1)[found[seen]].double()
            probabilities = gammas * probabilities + shares
        return probabilities

    def _impossible(self, device: torch.device) -> torch.Tensor:
        return torch.tensor(self.config.impossible_ids, dtype=torch.long, device=device)

    @torch.no_grad()
    def _logits(self, contexts: list[torch.Tensor]) -> torch.Tensor:
        """Turn (B, K) contexts of each length into (B, K, V) logits, a piece at a time."""
        shape, size = contexts[0].shape, self.config.vocab_size
        flat = [rows.flatten() for rows in contexts]
        logits = torch.empty(len(flat[0]), size, device=flat[0].device)
        # A long text's whole table would be gigabytes of float64.
        step = max(_TABLE_SIZE // size, 1)
        for start in range(0, len(logits), step):
            part = [rows[start : start + step] for rows in flat]
            logits[start : start + step] = _finite_log(self._distributions(part))
        return logits.view(*shape, size)

    def _distributions(self, contexts: list[torch.Tensor]) -> torch.Tensor:
        """Return P(. | context) for P contexts: float64, (P, V)."""
        size, weight = self.config.vocab_size, contexts[0].new_ones(len(contexts[0]), dtype=torch.double)
        weights = []  # of each length's shares: what the longer contexts leave over
        for gammas in reversed(list(self._gammas(contexts))):
            weights.append(weight)
            weight = weight * gammas
        weights.reverse()
        table = (weight / self.config.num_predictable)[:, None].repeat(1, size)
        table[:, self._impossible(table.device)] = 0.0
        # Order 1 has a share for every word; the longer ones only for the words seen after the context, which are
        # added where they belong.
        table += (weights[0] * (contexts[0] >= 0))[:, None] * self._table("shares", 1).double()
        for j in range(1, len(contexts)):
            keys = self._table("keys", j + 1)
            begin = torch.searchsorted(keys, contexts[j] * size)  # of the words seen after each context
            seen = torch.searchsorted(keys, (contexts[j] + 1) * size) - begin
            owner, place = ragged_places(begin, seen)
            table[owner, keys[place] % size] += weights[j][owner] * self._table("shares", j + 1)[place]
        return table

    # Generation

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def prepare_inputs_for_generation(  # type: ignore[override]  # transformers declares tensor types of its own
        self, input_ids: torch.Tensor, next_sequence_length: int | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Pass the whole text at each step: there is no state, and the newest token alone would lack its context."""
        return cast(Any, super()).prepare_inputs_for_generation(input_ids, next_sequence_length=None, **kwargs)

    # Loading

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint as every model does, and refuse tables that cannot have come from counting."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        refuse_damaged_tables(model, pretrained_model_name_or_path, kwargs)
        return loaded

    def _fault(self) -> str | None:
        tables = dict(self.named_buffers())
        if any(table.device.type == "meta" for table in tables.values()):
            return None
        config = self.config
        return find_fault(
            tables, order=config.order, vocab_size=config.vocab_size, impossible_ids=config.impossible_ids
        )


def refuse_damaged_tables(model: NGramForCausalLM, source: Any, kwargs: dict[str, Any]) -> None:
    """Raise a ValueError if loaded tables cannot have come from counting; `kwargs` are those of `from_pretrained`."""
    # The tables index each other: a wrong number in a file could lead out of them, or to probabilities above 1
    # unseen.
    counted = kwargs.get("strict", True) and not initialises_everything(kwargs)
    fault = model._fault() if counted else None
    if fault is not None:
        raise ValueError(
            f"The n-gram tables of {source!r} are damaged: {fault}. Fit and save the model again, or download it "
            "again."
        )


def _refuse_state(cache: Any) -> None:
    if cache is not None:
        raise ValueError("An n-gram model keeps no state: leave cache out and give it the whole text.")


def tokens_to_the_front(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None, start: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move real tokens to the front: (B, 1 + T), behind `start`. Also return how many there are up to each place."""
    batch, time = input_ids.shape
    if attention_mask is None:
        read = torch.arange(1, time + 1, device=input_ids.device).expand(batch, time)
        return nn.functional.pad(input_ids.long(), (1, 0), value=start), read
    # A context must not stop at padding, on whichever side or in between it stands.
    real = mask_of_inputs(attention_mask, batch, time).bool()
    read = real.cumsum(1)
    words = input_ids.new_full((batch, time + 2), start, dtype=torch.long)
    words.scatter_(1, torch.where(real, read, time + 1), input_ids.long())  # what is not real goes to the last column
    return words[:, :-1], read


def _find(keys: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return where each wanted number stands in the sorted `keys`; -1 for those that do not."""
    if len(keys) == 0:
        return torch.full_like(wanted, -1)
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, place, -1)


def _finite_log(probabilities: torch.Tensor) -> torch.Tensor:
    """Take logarithms, float32; of 0 the lowest finite number, so that sums and differences are never NaN."""
    return probabilities.log().float().clamp(min=torch.finfo(torch.float32).min)


__all__ = ["NGramConfig", "NGramForCausalLM"]
