"""A bag of words and n-grams: a text is the mean of the vectors of what occurs in it (Joulin et al. 2016; fastText).

    h = sum over features f of w_f v_f / sum of w_f          w_f = 1, or its inverse document frequency (TF-IDF)
    h = sum over features f of w_f v_f / sqrt(sum of w_f^2)  weighting "tfidf_l2": long texts are not nearer to 0
    features of a text: its words; the character n-grams of each word; its word n-grams, runs of 2 to n words

    softmax                one label of a text:        p = softmax(U h + b)
    one-vs-all             several labels:             p_l = sigmoid(u_l . h + b_l)
    hierarchical softmax   one label of very many:     p_l = product over l's path's nodes of sigmoid(+-u_node . h)
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
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import SequencePreTrainedModel
from ..calls import model_call
from ..fixed_vocabulary import FixedVocabularyMixin
from ..heads.classification import problem_type_of, sequence_loss
from ..inputs import at_least_one_token, check_input_ids, mask_of_inputs
from ..ragged import place_owners
from .ascending import AscendingNumbers
from .bag_config import BYTES as BYTES
from .bag_config import BagConfig
from .bag_ngrams import TokenOptions, TokenTables, id_hashes, path_scores, token_features
from .bag_predict import GivesVectorsMixin, LabelsTextsMixin
from .bag_tables import character_ngrams, find_wrong
from .bag_text import TextOptions, TextTables, text_tables
from .fused_words import text_features
from .quantized_rows import CENTROIDS, QuantizedRows
from .tables import label_paths


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
        elif isinstance(module, QuantizedRows | AscendingNumbers):
            module.start()
        elif isinstance(module, BagModel):
            module.start_tables()
        elif isinstance(module, BagForSequenceClassification) and module.config.hierarchical_softmax:
            init.ones_(module.label_counts)

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what `make` computes from the tables, computed anew only after they changed."""
        state = [(table, 0 if table.is_inference() else table._version) for table in self.buffers()]
        held = self._computed.get(name)
        # The tables themselves are held: the address of one that is gone may be that of the next.
        if held is None or any(a is not b or v != w for (a, v), (b, w) in zip(held[0], state, strict=True)):
            self._computed[name] = held = state, make()
        return held[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_computed": {}}  # a copy computes its own

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Count the parameters, and the numbers that the bytes of quantized rows stand for, which are not trained."""
        count = int(super().num_parameters(only_trainable, exclude_embeddings))
        coded = self.config.row_codes and not (only_trainable or exclude_embeddings)
        return count + (self.config.num_rows * self.config.hidden_size if coded else 0)

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
        lists = {
            name.rpartition(".")[2]: part for name, part in self.named_modules() if isinstance(part, AscendingNumbers)
        }
        wrong = find_wrong(tables, lists, self.config.ngram_buckets)
        if wrong:
            raise ValueError(f"The checkpoint's {', '.join(wrong)} hold numbers out of range: save it anew.")
        # `from_pretrained` looks at parameters; these are none.
        least = {"row_weights": 0.0, "weight_levels": 0.0, "centroids": -torch.inf, "norm_centroids": -torch.inf}
        broken = [
            name
            for name, smallest in least.items()
            if name in tables and not bool((tables[name].isfinite() & (tables[name] >= smallest)).all())
        ]
        if is_strict and broken:
            raise ValueError(
                f"The checkpoint's {', '.join(broken)} hold NaN, infinite or negative numbers: save it anew, or pass "
                "strict=False to load it as it is."
            )


class BagModel(GivesVectorsMixin, BagPreTrainedModel):
    """The mean of a text's features: one vector a text.

    Attributes:
        inputs: The vectors of words, then of the buckets of n-grams.
        row_weights: (R,), what each feature counts, with TF-IDF; in a quantized bag the next two.
        weight_levels: (256,): what features may count.
        weight_codes: uint8, (R,): which of these each does.
        ngram_starts: V + 1, units "tokens" with character n-grams: where each word's begin in `ngrams`.
        ngrams: int32: their buckets.
        word_bytes: uint8, units "bytes": the words of the dictionary, end to end.
        word_starts: words + 1: where each begins.
        kept_buckets: K, each once: the buckets that have a row, if not all have.
    """

    row_weights: torch.Tensor | None
    weight_levels: torch.Tensor | None
    weight_codes: torch.Tensor | None
    ngram_starts: AscendingNumbers | None
    ngrams: torch.Tensor | None
    word_bytes: torch.Tensor | None
    word_starts: AscendingNumbers | None
    kept_buckets: AscendingNumbers | None

    def __init__(self, config: BagConfig) -> None:
        super().__init__(config)
        config = self.config
        rows, width = config.num_rows, config.hidden_size
        if config.row_codes:
            pieces = config.row_codes
            self.inputs: nn.Embedding | QuantizedRows = QuantizedRows(
                rows=rows, width=width, pieces=pieces, has_norms=config.norm_codes
            )
        else:
            self.inputs = nn.Embedding(rows, width)
        is_text, kept = config.units == "bytes", config.num_kept_buckets
        has_weights = config.weighting != "count"
        has_characters = config.longest_ngram > 0 and not is_text
        tables = {
            "row_weights": torch.ones(rows) if has_weights and not config.row_codes else None,
            "weight_levels": torch.ones(CENTROIDS) if has_weights and config.row_codes else None,
            "weight_codes": torch.zeros(rows, dtype=torch.uint8) if has_weights and config.row_codes else None,
            "ngrams": torch.zeros(config.num_ngrams, dtype=torch.int32) if has_characters else None,
            "word_bytes": torch.zeros(config.num_word_bytes, dtype=torch.uint8) if is_text else None,
        }
        for name, table in tables.items():
            self.register_buffer(name, table)
        self.ngram_starts = AscendingNumbers(config.vocab_size + 1, config.num_ngrams + 1) if has_characters else None
        self.word_starts = AscendingNumbers(config.num_words + 1, config.num_word_bytes + 1) if is_text else None
        self.kept_buckets = None if kept is None else AscendingNumbers(kept, config.ngram_buckets, step=1)
        self._token_options = (
            None if is_text else TokenOptions(config.vocab_size, config.word_ngrams, config.ngram_buckets)
        )
        self.post_init()

    @torch.no_grad()
    def start_tables(self) -> None:
        """Give the tables that a checkpoint lacks the values of a bag without words."""
        for name, table in self.named_buffers(recurse=False):
            if name in ("row_weights", "weight_levels"):
                init.ones_(table)
            else:
                init.zeros_(table)

    @torch.no_grad()
    def fill_table(self, name: str, values: np.ndarray | torch.Tensor) -> None:
        """Write one of the tables, whether it is packed or not."""
        table = getattr(self, name)
        if isinstance(table, AscendingNumbers):
            table.fill(values)
        else:
            table.copy_(torch.as_tensor(values))

    def get_input_embeddings(self) -> nn.Module:
        """Return the vectors of words and buckets."""
        return self.inputs

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Take other vectors for the same words and buckets."""
        if self.config.row_codes:
            raise ValueError(
                f"The rows of this bag are quantized (row_codes={self.config.row_codes}): load the bag "
                "that it was made from."
            )
        expected = (self.config.num_rows, self.config.hidden_size)
        if not isinstance(value, nn.Embedding) or value.weight.shape != expected:
            raise ValueError(
                f"The vectors must be an nn.Embedding of shape {expected}, a row for each word and bucket, got "
                f"{value if isinstance(value, nn.Module) else type(value)}: {self.how_to_grow}"
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
            self.ngrams = found.to(self.device)
            self.ngram_starts = AscendingNumbers(len(starts), len(found) + 1).to(self.device)
            self.ngram_starts.fill(starts)
            config.num_ngrams = len(found)

    @model_call()
    @can_return_tuple
    def forward(
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
        if attention_mask is not None:
            attention_mask = mask_of_inputs(attention_mask, batch, steps)
        # 2. Add up what occurs in each text.
        if inputs_embeds is not None:
            real = given.new_ones(batch, steps) if attention_mask is None else attention_mask.bool().to(given.dtype)
            hidden = (given * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        else:
            ids = self._checked(given)
            if attention_mask is None or bool(attention_mask.all()):
                hidden = self.mean(*self.features(ids.reshape(-1), np.full(batch, steps)))
            else:
                is_real = attention_mask.bool().numpy(force=True)
                hidden = self.mean(*self.features(ids[is_real], is_real.sum(1)))
        return BaseModelOutputWithPooling(last_hidden_state=hidden[:, None], pooler_output=hidden)

    def _checked(self, input_ids: torch.Tensor) -> np.ndarray:
        # Read without sign, a negative id is the largest of all: one look at the ids finds both kinds of wrong ones.
        size = self.config.vocab_size
        ids = input_ids.numpy(force=True)
        if ids.dtype == np.int64 and ids.size > 0 and ids.view(np.uint64).max() < size:
            return ids
        check_input_ids(input_ids.cpu(), size)
        return ids.astype(np.int64)

    def features(self, ids: np.ndarray, lengths: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """List what occurs in texts: the rows, (F,), and where each text's begin, (B,), both where the vectors are.

        Args:
            ids: int64, the tokens or bytes of all texts, end to end.
            lengths: (B,), how many each text has.
        """
        if self._token_options is not None:
            begins, rows = token_features(ids, lengths, self.token_tables, self._token_options)
        else:
            # Padding that no mask covers is no byte of a text: it counts as the space between words.
            texts = np.where(ids < BYTES, ids, ord(" ")).astype(np.uint8)
            starts = np.concatenate([[0], np.cumsum(lengths)])
            begins, rows = text_features(texts, starts, self.text_tables, self.text_options)
        device = self._numbers.device
        found = torch.from_numpy(rows.astype(np.int64, copy=False)).to(device)
        return found, torch.from_numpy(begins[:-1].astype(np.int64, copy=False)).to(device)

    def mean(self, rows: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean (B, D) of the rows of each text, zeros for a text without any."""
        inputs, weights = self.inputs, self.weights
        if len(starts) == 1:  # plain look-ups take half the time of `embedding_bag`
            vectors = inputs.weight.index_select(0, rows) if isinstance(inputs, nn.Embedding) else inputs(rows)
            if weights is None:
                return vectors.mean(0, keepdim=True) if len(rows) else vectors.sum(0, keepdim=True)
            counting = weights.index_select(0, rows)
            return counting[None] @ vectors / self._sizes(counting, None)
        if isinstance(inputs, nn.Embedding):
            vectors, places = inputs.weight, rows
        else:
            vectors, places = inputs(rows), torch.arange(len(rows), device=rows.device)
        if weights is None:
            return F.embedding_bag(places, vectors, starts, mode="mean")
        counting = weights[rows]
        sums = F.embedding_bag(places, vectors, starts, mode="sum", per_sample_weights=counting)
        return sums / self._sizes(counting, starts)

    def shares(self, rows: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Return by how much each row counts in the vector of its text, (F,), see `features`."""
        weights, owners = self.weights, place_owners(starts, len(rows))
        counting = torch.ones_like(rows, dtype=self.dtype) if weights is None else weights[rows]
        return counting / self._sizes(counting, starts)[owners, 0]

    def _sizes(self, counting: torch.Tensor, starts: torch.Tensor | None) -> torch.Tensor:
        """Return what sums of vectors are divided by, (B, 1), from what each feature counts; no starts: one text."""
        is_root = self.config.weighting == "tfidf_l2"
        counting = counting.square() if is_root else counting
        if starts is None:
            sizes = counting.sum()[None, None]
        else:
            places = torch.arange(len(counting), device=counting.device)
            sizes = F.embedding_bag(places, counting[:, None], starts, mode="sum")
        return (sizes.sqrt() if is_root else sizes).clamp(min=torch.finfo(sizes.dtype).tiny)

    @property
    def weights(self) -> torch.Tensor | None:
        """What each feature counts, (R,), with TF-IDF."""
        levels, codes = self.weight_levels, self.weight_codes
        if levels is None or codes is None:
            return self.row_weights
        return cast(torch.Tensor, self._kept("weights", lambda: levels[codes.long()]))

    @property
    def token_tables(self) -> TokenTables:
        """What is looked up for texts of tokens, on the CPU."""
        return self._kept("token tables", self._make_token_tables)

    def _make_token_tables(self) -> TokenTables:
        starts = None if self.ngram_starts is None else self.ngram_starts.numbers()
        ngrams = None if self.ngrams is None else self.ngrams.numpy(force=True)
        hashes = id_hashes(self.config.vocab_size if self.config.word_ngrams > 1 else 0)
        return TokenTables(hashes, starts, ngrams, self.bucket_rows())

    @property
    def device(self) -> torch.device:
        """Where the vectors are; a quantized bag has no parameter that transformers' own property could ask."""
        return self._numbers.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the vectors' numbers."""
        return self._numbers.dtype

    @property
    def _numbers(self) -> torch.Tensor:
        return self.inputs.weight if isinstance(self.inputs, nn.Embedding) else self.inputs.centroids

    def bucket_rows(self) -> np.ndarray:
        """Return the place of each bucket among those that were kept, -1 where it was not, int32; empty if all are."""
        if self.kept_buckets is None:
            return np.zeros(0, dtype=np.int32)
        places = np.full(self.config.ngram_buckets, -1, dtype=np.int32)
        kept = self.kept_buckets.numbers()
        places[kept] = np.arange(len(kept))
        return places

    def word_table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """List what each id of units "tokens" stands for.

        Returns:
            int64, (V + 1,): where the rows of each id begin in the next; int32: its own row and those of its character
            n-grams; int32, (V,): its hash, which those of word n-grams are made of.
        """
        ids = np.arange(self.config.vocab_size)
        options = cast(TokenOptions, self._token_options)._replace(word_ngrams=1)
        begins, rows = token_features(ids, np.ones_like(ids), self.token_tables, options)
        return begins, rows.astype(np.int32), id_hashes(len(ids)).view(np.int64).astype(np.int32)

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
        kept = None if self.kept_buckets is None else self.kept_buckets.numbers().astype(np.int32)
        words, starts = cast(torch.Tensor, self.word_bytes), cast(AscendingNumbers, self.word_starts)
        return text_tables(words.numpy(force=True), starts.numbers(), kept)


class BagForSequenceClassification(LabelsTextsMixin, BagPreTrainedModel):
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
