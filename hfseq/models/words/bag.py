"""A bag of words and n-grams: a text is the mean of the vectors of what occurs in it (Joulin et al. 2016; fastText).

    h = sum over features f of w_f v_f / sum of w_f          w_f = 1, or its inverse document frequency (TF-IDF)
    features of a text: its words; the character n-grams of each word; its word n-grams, runs of 2 to n words

    softmax                one label of a text:        p = softmax(U h + b)
    one-vs-all             several labels:             p_l = sigmoid(u_l . h + b_l)
    hierarchical softmax   one label of very many:     p_l = product over the nodes on l's path of sigmoid(+-u_node . h)
    regression             numbers:                    U h + b

There are too many n-grams to list: a hash sends each to one of `ngram_buckets` vectors, which they share.

What a word is depends on `units`. With "tokens", `input_ids` come from an ordinary tokenizer and each token is a word;
the character n-grams of the vocabulary's words are a table of the model. With "bytes", `input_ids` are the UTF-8 bytes
of a text (`train_tokenizer(kind="byte")`): the model splits them at white space and looks words up in a dictionary of
its own, so that words never seen have vectors too, from their character n-grams. This is fastText to the bit.

The order of words counts only inside n-grams. `hfseq.BagTrainer` trains hundreds of times faster than a gradient of
torch does, though stock `Trainer` works as well.

Shapes: B batch, T time, D width, F features of all texts of a batch, R rows of the input matrix, L labels.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import (
    SequencePreTrainedModel,
    at_least_one_token,
    check_input_ids,
    mask_of_inputs,
)
from ..calls import model_call
from ..configs import SequenceConfig, bounded
from ..fixed_vocabulary import FixedVocabularyMixin
from ..heads.classification import problem_type_of, sequence_loss
from .bag_ngrams import id_hashes, path_scores, token_features
from .bag_tables import character_ngrams, find_wrong
from .bag_text import TextOptions, TextTables, text_tables
from .fused_words import text_features
from .quantized_rows import QuantizedRows
from .tables import label_paths

_MOST_ROWS = 100_000_000
BYTES = 256  # the ids of the bytes; padding has the next one


@strict
class BagConfig(SequenceConfig):
    """Configuration of a bag of words and n-grams.

    Args:
        vocab_size: Ids that `input_ids` may hold; 257 for bytes.
        units: "tokens": a word is a token. "bytes": the model splits the text's bytes into words itself.
        hidden_size: D, width of a feature's vector.
        word_ngrams: Words of the longest run that has a vector; 1: single words alone.
        shortest_ngram: Characters of the shortest n-gram of a word, marks of the word's ends counted.
        longest_ngram: Characters of the longest; 0: none.
        ngram_buckets: Vectors that all n-grams share by a hash; 0 for none.
        weighting: What a feature counts: "count": 1 each time it occurs, "tfidf": its inverse document frequency.
        hierarchical_softmax: Score labels along the paths of a Huffman tree: for thousands of them.
        bias: Whether the scores of labels have a bias.
        num_ngrams: Units "tokens": n-grams of all the vocabulary's words together; filled in with the vocabulary.
        num_words: Units "bytes": words of the dictionary; filled in, as the next.
        num_word_bytes: Their bytes.
        lowercase: Units "bytes": whether the tokenizer lower-cases.
        ends_texts: Units "bytes": whether a text ends with the word `</s>`.
        label_prefix: Units "bytes": words that begin so, and are not in the dictionary, are left out.
        num_kept_buckets: Buckets that still have a vector, in a model made smaller; None: all.
        row_codes: Bytes that stand for a vector in a quantized model; 0: its numbers themselves.
        norm_codes: Whether a byte more stands for a vector's length.
    """

    model_type = "hfseq_bag"

    vocab_size: int = bounded(30_000, 1, _MOST_ROWS)
    units: Literal["tokens", "bytes"] = "tokens"
    hidden_size: int = bounded(64, 1, 65_536)
    word_ngrams: int = bounded(2, 1, 10)
    shortest_ngram: int = bounded(3, 1, 100)
    longest_ngram: int = bounded(0, 0, 100)
    ngram_buckets: int = bounded(200_000, 0, _MOST_ROWS)
    weighting: Literal["count", "tfidf"] = "count"
    hierarchical_softmax: bool = False
    bias: bool = True
    num_ngrams: int = bounded(0, 0, 100 * _MOST_ROWS)
    num_words: int = bounded(0, 0, _MOST_ROWS)
    num_word_bytes: int = bounded(0, 0, 100 * _MOST_ROWS)
    lowercase: bool = False
    ends_texts: bool = True
    label_prefix: str = "__label__"
    num_kept_buckets: int | None = bounded(None, 0, _MOST_ROWS)
    row_codes: int = bounded(0, 0, 65_536)
    norm_codes: bool = False
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def validate_ngrams(self) -> None:
        """Check that the lengths are in order, and that n-grams have buckets."""
        if self.longest_ngram and self.shortest_ngram > self.longest_ngram:
            raise ValueError(f"shortest_ngram={self.shortest_ngram} is longer than longest_ngram={self.longest_ngram}")
        for name, given in (("word_ngrams", self.word_ngrams > 1), ("longest_ngram", self.longest_ngram > 0)):
            if given and not self.ngram_buckets:
                raise ValueError(f"{name}={getattr(self, name)} needs ngram_buckets, which is 0")
        if self.num_kept_buckets is not None and self.num_kept_buckets > self.ngram_buckets:
            raise ValueError(f"num_kept_buckets={self.num_kept_buckets} is more than {self.ngram_buckets=}")

    def validate_units(self) -> None:
        """Check that what belongs to tokens is not given for bytes, and the other way round."""
        if self.units == "bytes":
            if self.vocab_size != BYTES + 1:
                raise ValueError(f"vocab_size={self.vocab_size}: units='bytes' has {BYTES + 1}, the bytes and padding")
            if self.num_ngrams:
                raise ValueError(f"num_ngrams={self.num_ngrams} belongs to units='tokens'")
        elif self.num_words or self.num_word_bytes:
            raise ValueError(f"num_words={self.num_words} belongs to units='bytes': tokens have vocab_size")

    def validate_quantization(self) -> None:
        """Check that a row is not cut into more pieces than it has numbers."""
        if self.row_codes > self.hidden_size:
            raise ValueError(f"row_codes={self.row_codes} is more than hidden_size={self.hidden_size}")
        if self.norm_codes and not self.row_codes:
            raise ValueError("norm_codes=True needs row_codes, which is 0")

    def validate_loss(self) -> None:
        """Check that one label is chosen, where a path leads to one."""
        if self.hierarchical_softmax and self.problem_type not in (None, "single_label_classification"):
            raise ValueError(f"hierarchical_softmax=True finds one label, problem_type={self.problem_type!r} several")
        if self.hierarchical_softmax and cast(int, self.num_labels) < 2:
            raise ValueError(f"hierarchical_softmax=True needs 2 labels or more, got num_labels={self.num_labels}")

    def validate_tie_word_embeddings(self) -> None:
        """Refuse one matrix for features and labels."""
        if getattr(self, "tie_word_embeddings", False):
            raise ValueError("tie_word_embeddings=True: features and labels of a bag are not the same things")

    @property
    def words_with_rows(self) -> int:
        """How many words have a row of the input matrix; those of n-grams follow."""
        return self.vocab_size if self.units == "tokens" else self.num_words

    @property
    def num_rows(self) -> int:
        """R, the rows of the input matrix."""
        kept = self.ngram_buckets if self.num_kept_buckets is None else self.num_kept_buckets
        return self.words_with_rows + kept


class BagPreTrainedModel(FixedVocabularyMixin, SequencePreTrainedModel):
    """What both bags share: their config, and how their weights begin."""

    config: BagConfig
    config_class = BagConfig
    how_to_grow = "train a new bag on texts that have the new words."
    main_input_name = "input_ids"

    def __init__(self, config: BagConfig) -> None:
        super().__init__(config)
        self._computed: dict[str, tuple[list[tuple[torch.Tensor, int]], Any]] = {}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw rows within +-1 / D and set the labels' vectors to 0, as fastText does."""
        if isinstance(module, nn.Embedding):
            init.uniform_(module.weight, -1 / self.config.hidden_size, 1 / self.config.hidden_size)
        elif isinstance(module, nn.Linear):
            init.zeros_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, QuantizedRows):
            module.start()
        elif isinstance(module, BagModel):
            module.start_tables()
        elif isinstance(module, BagForSequenceClassification) and module.config.hierarchical_softmax:
            init.ones_(module.label_counts)

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what `make` computes from the tables, computed anew only after they changed."""
        state = [(table, 0 if table.is_inference() else table._version) for table in self.buffers(recurse=False)]
        held = self._computed.get(name)
        # The tables themselves are held: the address of one that is gone may be that of the next.
        if held is None or any(a is not b or v != w for (a, v), (b, w) in zip(held[0], state, strict=True)):
            self._computed[name] = held = state, make()
        return held[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_computed": {}}  # a copy computes its own

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint as every model does, and refuse tables that would lead out of its arrays."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.check_tables(is_strict=kwargs.get("strict", True))
        return loaded

    def check_tables(self, *, is_strict: bool = True) -> None:
        """Refuse tables that would lead out of their arrays and, if strict, weights of rows that are no weights."""
        tables = {name.rpartition(".")[2]: table for name, table in self.named_buffers() if not table.is_meta}
        wrong = find_wrong(tables, self.config.ngram_buckets)
        if wrong:
            raise ValueError(f"The checkpoint's {', '.join(wrong)} hold numbers out of range: save it anew.")
        weights = tables.get("row_weights")
        if is_strict and weights is not None and not bool((weights.isfinite() & (weights >= 0)).all()):
            raise ValueError(
                "The checkpoint's row_weights hold NaN, infinite or negative numbers: save it anew, or pass "
                "strict=False to load it as it is."
            )


class BagModel(BagPreTrainedModel):
    """The mean of a text's features: one vector a text.

    Attributes:
        inputs: The vectors of words, then of the buckets of n-grams.
        row_weights: (R,), what each feature counts, with TF-IDF.
        ngram_starts: (V + 1,), units "tokens" with character n-grams: where each word's begin in `ngrams`.
        ngrams: int32: their buckets.
        word_bytes: uint8, units "bytes": the words of the dictionary, end to end.
        word_starts: (words + 1,): where each begins.
        kept_buckets: int32, (K,), ascending: the buckets that have a row, if not all have.
    """

    row_weights: torch.Tensor
    ngram_starts: torch.Tensor
    ngrams: torch.Tensor
    word_bytes: torch.Tensor
    word_starts: torch.Tensor
    kept_buckets: torch.Tensor

    def __init__(self, config: BagConfig) -> None:
        super().__init__(config)
        config = self.config
        rows, width = config.num_rows, config.hidden_size
        if config.row_codes:
            self.inputs: nn.Module = QuantizedRows(
                rows=rows, width=width, pieces=config.row_codes, has_norms=config.norm_codes
            )
        else:
            self.inputs = nn.Embedding(rows, width)
        if config.weighting == "tfidf":
            self.register_buffer("row_weights", torch.ones(rows))
        if config.units == "bytes":
            self.register_buffer("word_bytes", torch.zeros(config.num_word_bytes, dtype=torch.uint8))
            self.register_buffer("word_starts", torch.zeros(config.num_words + 1, dtype=torch.long))
        elif config.longest_ngram:
            self.register_buffer("ngram_starts", torch.zeros(config.vocab_size + 1, dtype=torch.long))
            self.register_buffer("ngrams", torch.zeros(config.num_ngrams, dtype=torch.int32))
        if config.num_kept_buckets is not None:
            self.register_buffer("kept_buckets", torch.arange(config.num_kept_buckets, dtype=torch.int32))
        self.post_init()

    @torch.no_grad()
    def start_tables(self) -> None:
        """Give the tables that a checkpoint lacks the values of a bag without words."""
        for name, table in self.named_buffers(recurse=False):
            if name == "row_weights":
                init.ones_(table)
            elif name == "kept_buckets":
                init.copy_(table, torch.arange(len(table), dtype=table.dtype))
            else:
                init.zeros_(table)

    def get_input_embeddings(self) -> nn.Module:
        """Return the vectors of words and buckets."""
        return self.inputs

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Take other vectors for the same words and buckets."""
        expected = (self.config.num_rows, self.config.hidden_size)
        if not isinstance(value, nn.Embedding) or value.weight.shape != expected:
            raise ValueError(
                f"The vectors must be an nn.Embedding of shape {expected}, a row for each word and bucket, got "
                f"{value if isinstance(value, nn.Module) else type(value)}: {self.how_to_grow}"
            )
        if self.config.row_codes:
            raise ValueError(
                f"The rows of this bag are quantized (row_codes={self.config.row_codes}): load the bag "
                "that it was made from."
            )
        self.inputs = value

    def set_vocabulary(self, words: Sequence[str | None]) -> None:
        """Say how the tokens are spelt, with units "tokens": character n-grams come from that.

        Args:
            words: Of each id, see `words_of`; None for one that is no word.
        """
        config = self.config
        if config.units != "tokens":
            raise ValueError(f"units={config.units!r}: such a bag reads its words from the text; leave this out.")
        if len(words) != config.vocab_size:
            raise ValueError(f"There are {len(words)} words, but config.vocab_size is {config.vocab_size}.")
        if config.longest_ngram:
            lengths = {"shortest": config.shortest_ngram, "longest": config.longest_ngram}
            starts, found = character_ngrams(words, **lengths, buckets=config.ngram_buckets)
            self.ngram_starts, self.ngrams = starts.to(self.device), found.to(self.device)
            config.num_ngrams = len(found)

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the vector of each text.

        Args:
            input_ids: (B, T) token ids or bytes, see `BagConfig.units`.
            attention_mask: (B, T), 1 for real tokens.
            inputs_embeds: (B, T, D) instead: vectors whose mean is taken, each counting 1.
            **kwargs: Nothing that a bag reads.

        Returns:
            `pooler_output` (B, D), zeros for a text without features, and the same as `last_hidden_state` (B, 1, D):
            a bag has one vector, whatever the length.
        """
        # 1. Which tokens are real?
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        given = cast(torch.Tensor, input_ids if inputs_embeds is None else inputs_embeds)
        batch, steps = given.shape[:2]
        real = None if attention_mask is None else mask_of_inputs(attention_mask, batch, steps)
        if real is None or bool(real.all()):
            real, lengths = None, torch.full((batch,), steps, device=given.device)
        else:
            real = real.bool()
            lengths = real.sum(1)
        # 2. Add up what occurs in each text.
        if inputs_embeds is not None:
            vectors = inputs_embeds if real is None else inputs_embeds * real[..., None]
            hidden = vectors.sum(1) / lengths.clamp(min=1)[:, None]
        else:
            ids = cast(torch.Tensor, input_ids)
            check_input_ids(ids, self.config.vocab_size)
            ids = ids.reshape(-1) if real is None else ids[real]
            hidden = self.mean(*self.features(ids.long(), lengths))
        return BaseModelOutputWithPooling(last_hidden_state=hidden[:, None], pooler_output=hidden)

    def features(self, ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """List what occurs in texts whose ids lie end to end: the rows, (F,), and where each text's begin, (B,)."""
        if self.config.units == "bytes":
            return self._text_features(ids, lengths)
        return self._token_features(ids, lengths, word_ngrams=self.config.word_ngrams)

    def _token_features(
        self, ids: torch.Tensor, lengths: torch.Tensor, *, word_ngrams: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.config
        return token_features(
            ids,
            lengths,
            words=config.words_with_rows,
            hashes=self._hashes(ids.device) if word_ngrams > 1 else None,
            word_ngrams=word_ngrams,
            buckets=config.ngram_buckets,
            tables=(self.ngram_starts, self.ngrams) if config.longest_ngram else None,
            kept=self.kept_buckets if config.num_kept_buckets is not None else None,
        )

    def mean(self, rows: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean (B, D) of the rows of each text, zeros for a text without any."""
        if isinstance(self.inputs, nn.Embedding):
            vectors, places = self.inputs.weight, rows
        else:
            vectors, places = self.inputs(rows), torch.arange(len(rows), device=rows.device)
        if self.config.weighting == "count":
            return F.embedding_bag(places, vectors, starts, mode="mean")
        sums = F.embedding_bag(places, vectors, starts, mode="sum", per_sample_weights=self.row_weights[rows])
        sizes = F.embedding_bag(rows, self.row_weights[:, None], starts, mode="sum")
        return sums / sizes.clamp(min=torch.finfo(sums.dtype).tiny)

    def _hashes(self, device: torch.device) -> torch.Tensor:
        # Hashing the ids of each text anew would take longer than the rest of a forward.
        return self._kept(
            f"hashes on {device}", lambda: id_hashes(torch.arange(self.config.vocab_size, device=device))
        )

    def _text_features(self, ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # Splitting and hashing bytes is work for the CPU, wherever the vectors are.
        texts = ids.cpu().numpy()
        # Padding that no mask covers is no byte of a text: it counts as the space between words.
        texts = np.where(texts < BYTES, texts, ord(" ")).astype(np.uint8)
        starts = np.concatenate([[0], np.cumsum(lengths.cpu().numpy())])
        begins, rows = text_features(texts, starts, self.text_tables, self.text_options)
        found = (torch.from_numpy(part.astype(np.int64)).to(ids.device) for part in (rows, begins[:-1]))
        return next(found), next(found)

    def bucket_rows(self) -> np.ndarray:
        """Return the place of each bucket among those that were kept, -1 where it was not, int32; empty if all are."""
        if self.config.num_kept_buckets is None:
            return np.zeros(0, dtype=np.int32)
        places = np.full(self.config.ngram_buckets, -1, dtype=np.int32)
        kept = self.kept_buckets.cpu().numpy()
        places[kept] = np.arange(len(kept))
        return places

    def word_table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """List what each id of units "tokens" stands for.

        Returns:
            int64, (V + 1,): where the rows of each id begin in the next; int32: its own row and those of its character
            n-grams; int32, (V,): its hash, which those of word n-grams are made of.
        """
        ids = torch.arange(self.config.vocab_size, device=self.device)
        rows, starts = self._token_features(ids, torch.ones_like(ids), word_ngrams=1)
        begins = np.append(starts.cpu().numpy(), len(rows))
        return begins, rows.cpu().numpy().astype(np.int32), id_hashes(ids).cpu().numpy().astype(np.int32)

    @property
    def text_options(self) -> TextOptions:
        """How a text of bytes is split."""
        config = self.config
        return TextOptions(
            shortest_ngram=config.shortest_ngram,
            longest_ngram=config.longest_ngram,
            word_ngrams=config.word_ngrams,
            buckets=config.ngram_buckets,
            ends_texts=config.ends_texts,
            label_prefix=config.label_prefix.encode(),
        )

    @property
    def text_tables(self) -> TextTables:
        """The dictionary of a bag of bytes, ready to be looked up."""
        return self._kept("text tables", self._make_text_tables)

    def _make_text_tables(self) -> TextTables:
        kept = self.kept_buckets.cpu().numpy() if self.config.num_kept_buckets is not None else None
        words = self.word_bytes.cpu().numpy(), self.word_starts.cpu().numpy()
        return text_tables(*words, kept)


class BagForSequenceClassification(BagPreTrainedModel):
    """One label, several labels or numbers for a text, from the mean of its features.

    Attributes:
        label_counts: (L,), hierarchical softmax: how often each label was seen, which makes its path.
    """

    label_counts: torch.Tensor

    def __init__(self, config: BagConfig) -> None:
        super().__init__(config)
        config = self.config
        self.num_labels = cast(int, config.num_labels)
        self.model = BagModel(config)
        outputs = self.num_labels - 1 if config.hierarchical_softmax else self.num_labels
        self.classifier = nn.Linear(config.hidden_size, outputs, bias=config.bias)
        if config.hierarchical_softmax:
            self.register_buffer("label_counts", torch.ones(self.num_labels, dtype=torch.long))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the vectors of words and buckets."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Take other vectors for the same words and buckets."""
        self.model.set_input_embeddings(value)

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Classify texts.

        Args:
            input_ids: (B, T) token ids or bytes, see `BagConfig.units`.
            attention_mask: (B, T), 1 for real tokens.
            inputs_embeds: (B, T, D) instead of `input_ids`.
            labels: (B,) classes or numbers, or (B, L) of 0 and 1, see `sequence_loss`; adds `loss`.
            num_items_in_batch: Label entries in the whole update, see `sequence_loss`.
            **kwargs: Nothing that a bag reads.
        """
        outputs = self.model(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, return_dict=True
        )
        logits = self.scores(outputs.pooler_output)
        loss = None
        if labels is not None:
            if self.config.hierarchical_softmax:  # its paths lead to one label, whatever the labels look like
                self.config.problem_type = "single_label_classification"
            loss = sequence_loss(logits, labels, problem_type_of(self.config, labels), num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, L) of texts' vectors (B, D)."""
        scores = self.classifier(hidden)
        if not self.config.hierarchical_softmax:
            return scores
        paths = self._kept(
            f"paths on {scores.device}", lambda: [torch.from_numpy(part).to(scores.device) for part in self.paths()]
        )
        return path_scores(scores, (paths[0], paths[1], paths[2]))

    def paths(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the labels' ways in the Huffman tree of their counts, see `label_paths`."""
        return label_paths(self.label_counts.cpu().numpy())


__all__ = ["BagConfig", "BagForSequenceClassification", "BagModel"]
