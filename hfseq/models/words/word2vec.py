"""word2vec: a vector for each word, learnt by predicting words from their neighbours (Mikolov et al. 2013).

    h = mean of the input vectors v of the words given      (skip-gram: one word; CBOW: the words around)
    loss of predicting the word w from h, with its output vector u_w:
      softmax                -log  exp(u_w . h) / sum over all words x of exp(u_x . h)
      negative sampling      -log sigmoid(u_w . h) - sum over N words n drawn from count^0.75 of log sigmoid(-u_n . h)
      hierarchical softmax   -sum over the nodes on w's path in a Huffman tree of log sigmoid(+-u_node . h)

With n-grams (Bojanowski et al. 2017) a word's input vector is the mean of its own and of those of its character
n-grams, so that a word never seen has a vector too.

A trained model is its input vectors: `forward` looks them up, `model.vectors` answers questions about them. The
output vectors may be left out of a checkpoint. `forward` with labels gives the loss above, which stock `Trainer` can
minimise, as slowly as any; `hfseq.Word2VecTrainer` is made for it.

Shapes: B batch, T time, D width, V vocabulary, N negatives.
"""

import copy
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput
from transformers.utils import TransformersKwargs, cached_file, can_return_tuple, logging
from transformers.utils.hub import resolve_revision
from typing_extensions import Unpack

from ..artifacts import TOKENIZER_NAME, explained_panics
from ..base import IGNORED, SequencePreTrainedModel
from ..calls import model_call
from ..configs import SequenceConfig, bounded
from ..fixed_vocabulary import FixedVocabularyMixin
from ..inputs import at_least_one_token, check_input_ids, check_range
from ..ragged import ragged_places
from .losses import WordLosses
from .tables import huffman_paths, ngram_buckets, out_of_range, words_alone
from .vectors import KeyedVectors

logger = logging.get_logger(__name__)

SPECIAL_TOKENS = ("<pad>", "<unk>")  # ids 0 and 1; words follow, most frequent first
_MOST_ROWS = 100_000_000


@strict
class Word2VecConfig(SequenceConfig):
    """Configuration of a word2vec model.

    Args:
        vocab_size: V, the words and two special tokens.
        hidden_size: D, width of a word's vector.
        architecture: "skip-gram" predicts each neighbour from the word, "cbow" the word from its neighbours' mean.
        loss: "negative-sampling", "hierarchical-softmax" or "softmax" (exact, and slow for large vocabularies).
        window: Neighbours on each side at the most.
        shrink_window: Draw the window's size anew for each word, from 1 to `window`: near words count more.
        negatives: N, noise words for each pair.
        noise_power: Exponent of the counts that noise words are drawn by.
        sample: Words more frequent than this share of the corpus are left out at random; 0 keeps all.
        ngram_buckets: Vectors for character n-grams, which share them by a hash; 0 for none.
        shortest_ngram: Characters of the shortest n-gram, marks of a word's ends counted.
        longest_ngram: Characters of the longest.
        num_ngrams: N-grams of all the vocabulary's words together; filled in with the vocabulary.
        with_outputs: Whether there are output vectors; without them the model can be asked, but not trained.
    """

    model_type = "hfseq_word2vec"

    vocab_size: int = bounded(30_000, 3, _MOST_ROWS)
    hidden_size: int = bounded(100, 1, 65_536)
    architecture: Literal["skip-gram", "cbow"] = "skip-gram"
    loss: Literal["negative-sampling", "hierarchical-softmax", "softmax"] = "negative-sampling"
    window: int = bounded(5, 1, 1_000)
    shrink_window: bool = True
    negatives: int = bounded(5, 1, 1_000)
    noise_power: float | int = bounded(0.75, -10.0, 10.0)
    sample: float | int = bounded(1e-3, 0.0, 1.0)
    ngram_buckets: int = bounded(0, 0, _MOST_ROWS)
    shortest_ngram: int = bounded(3, 1, 100)
    longest_ngram: int = bounded(6, 1, 100)
    num_ngrams: int = bounded(0, 0, 100 * _MOST_ROWS)
    with_outputs: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def validate_ngrams(self) -> None:
        """Check that the lengths are in order, and that n-grams have buckets."""
        if self.shortest_ngram > self.longest_ngram:
            raise ValueError(f"shortest_ngram={self.shortest_ngram} is longer than longest_ngram={self.longest_ngram}")
        if self.num_ngrams and not self.ngram_buckets:
            raise ValueError(f"num_ngrams={self.num_ngrams} needs ngram_buckets, which is 0")

    def validate_tie_word_embeddings(self) -> None:
        """Refuse one matrix for both vectors of a word."""
        if getattr(self, "tie_word_embeddings", False):
            raise ValueError("tie_word_embeddings=True: input and output vectors of word2vec are never the same ones")


@dataclass
class Word2VecOutput(ModelOutput):
    """What `Word2VecModel` returns.

    Attributes:
        loss: Mean over the rows that have a label, if labels were given.
        last_hidden_state: (B, T, D), the vector of each token; zeros where the mask is 0.
    """

    loss: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None


class Word2VecModel(FixedVocabularyMixin, SequencePreTrainedModel):
    """Word vectors as a model: ids in, one fixed vector for each out.

    Attributes:
        inputs: The input vectors: of the words, then of the n-gram buckets.
        outputs: The output vectors, unless they were left out.
        counts: (V,), how often each word was seen.
        ngram_starts: (V + 1,), where each word's n-grams begin in `ngrams`.
        ngrams: Rows of `inputs`.
    """

    counts: torch.Tensor
    ngram_starts: torch.Tensor
    ngrams: torch.Tensor

    config: Word2VecConfig
    config_class = Word2VecConfig
    how_to_grow = "add words to model.vectors and make a new model by Word2VecModel.from_vectors."
    main_input_name = "input_ids"

    def __init__(self, config: Word2VecConfig) -> None:
        super().__init__(config)
        rows = config.vocab_size + config.ngram_buckets
        # Words and n-gram buckets share one matrix: an input vector is a mean of its rows, whatever they stand for.
        self.inputs = nn.Embedding(rows, config.hidden_size, padding_idx=config.pad_token_id)
        self.outputs = nn.Embedding(config.vocab_size, config.hidden_size) if config.with_outputs else None
        # Saved with the weights, for training goes on from them: they make the noise distribution and the Huffman
        # tree.
        self.register_buffer("counts", torch.ones(config.vocab_size, dtype=torch.long))
        if config.ngram_buckets:
            self.register_buffer("ngram_starts", torch.zeros(config.vocab_size + 1, dtype=torch.long))
            self.register_buffer("ngrams", torch.zeros(config.num_ngrams, dtype=torch.int32))
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._vectors: tuple[Any, KeyedVectors] | None = None
        self._losses = WordLosses()
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw inputs within +-1/(2 D), set outputs to 0 (as word2vec.c) and all counts to 1."""
        if module is self.inputs:
            init.uniform_(module.weight, -0.5 / self.config.hidden_size, 0.5 / self.config.hidden_size)
            if module.padding_idx is not None:
                init.zeros_(module.weight[module.padding_idx])
        elif module is self.outputs:
            init.zeros_(module.weight)
        elif module is self:
            init.ones_(self.counts)
            if self.config.ngram_buckets:
                init.zeros_(self.ngram_starts)
                init.zeros_(self.ngrams)

    def get_input_embeddings(self) -> nn.Module:
        """Return the input vectors."""
        return self.inputs

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Take other vectors for the same words and n-gram buckets."""
        expected = self.inputs.weight.shape
        if not isinstance(value, nn.Embedding) or value.weight.shape != expected:
            raise ValueError(
                f"The input vectors must be an nn.Embedding of shape {tuple(expected)}, a row for each word and "
                f"n-gram bucket, got {value if isinstance(value, nn.Module) else type(value)}: {self.how_to_grow}"
            )
        self.inputs = value

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Refuse another size: the rows are the words of the vocabulary, with their counts and n-grams."""
        super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        return self.inputs

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
    ) -> Word2VecOutput:
        """Look vectors up; with labels, also the loss of predicting each row's label from the mean of its vectors.

        Args:
            input_ids: (B, T). Skip-gram: T = 1, a word. CBOW: the words around the label.
            attention_mask: (B, T), 0 where padding is.
            inputs_embeds: (B, T, D), instead of ids.
            labels: (B,), the word to predict; -100 for none.
            num_items_in_batch: Labels of the whole update, over accumulation steps and processes.
        """
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        if inputs_embeds is None:
            ids = cast(torch.Tensor, input_ids)
            check_input_ids(ids, self.config.vocab_size)
            inputs_embeds = self.embed(ids)
        if attention_mask is None:
            attention_mask = inputs_embeds.new_ones(inputs_embeds.shape[:2])
        if attention_mask.shape != inputs_embeds.shape[:2]:
            raise ValueError(
                f"attention_mask of shape {tuple(attention_mask.shape)} does not fit {inputs_embeds.shape[0]} texts "
                f"of {inputs_embeds.shape[1]} tokens."
            )
        hidden_states = inputs_embeds * attention_mask[..., None].to(inputs_embeds.dtype)
        loss = None
        if labels is not None:
            # The mean of the real tokens alone, so that padding does not change the loss.
            context = hidden_states.sum(1) / attention_mask.sum(1, keepdim=True).clamp(min=1)
            loss = self._loss(context, labels, num_items_in_batch)
        return Word2VecOutput(loss=loss, last_hidden_state=hidden_states)

    def embed(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Turn (...) ids into (..., D) vectors, each the mean of the word's own and its n-grams' if there are any."""
        vectors = self.inputs(input_ids)
        if not self.config.ngram_buckets:
            return vectors
        # Words have different numbers of n-grams: all of them are looked up end to end, and added to their words.
        ids = input_ids.reshape(-1)
        sizes = self.ngram_starts[ids + 1] - self.ngram_starts[ids]
        owner, place = ragged_places(self.ngram_starts[ids], sizes)
        parts = self.inputs(self.ngrams[place].long())
        flat = vectors.reshape(-1, vectors.shape[-1]).index_add(0, owner, parts)
        return (flat / (1 + sizes)[:, None]).view_as(vectors)

    def _loss(
        self, context: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
    ) -> torch.Tensor:
        """Return the mean loss of predicting labels (B,) from contexts (B, D)."""
        labels = labels.view(-1)
        given = labels != IGNORED
        size = self.config.vocab_size
        check_range("label", labels[given], size, f" (config.vocab_size={size})")
        losses = self._losses(self, context[given], labels[given])
        return losses.sum() / (given.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)

    def needed_outputs(self, purpose: str) -> nn.Embedding:
        """Return the output vectors; without any, the error names the purpose that needs them."""
        if self.outputs is None:
            raise ValueError(
                f"This model has no output vectors (config.with_outputs is False), which {purpose} needs: load the "
                "checkpoint that was saved without vectors_only=True."
            )
        return self.outputs

    def paths(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the words' ways in the Huffman tree of the counts, see `huffman_paths`."""
        return huffman_paths(words_alone(self.counts.cpu().numpy(), len(SPECIAL_TOKENS)))

    # The vocabulary

    def set_vocabulary(self, tokenizer: PreTrainedTokenizerBase, counts: np.ndarray) -> None:
        """Say which words the rows belong to.

        Args:
            tokenizer: Its ids are the rows: `<pad>`, `<unk>`, then the words.
            counts: int64, (V,), of each id in the corpus; 0 for the special tokens.
        """
        if len(counts) != self.config.vocab_size:
            raise ValueError(f"There are {len(counts)} counts, but config.vocab_size is {self.config.vocab_size}.")
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError(f"counts hold {counts.min()}: they must be 0 or more, of each id in the corpus.")
        self.tokenizer, self._vectors = tokenizer, None
        self.counts = torch.from_numpy(counts.astype(np.int64)).to(self.counts.device)
        if self.config.ngram_buckets:
            starts, rows = self._ngram_rows(self.words)
            own = np.concatenate([np.zeros(len(SPECIAL_TOKENS), dtype=np.int64), starts])
            self.ngram_starts = torch.from_numpy(own).to(self.counts.device)
            self.ngrams = torch.from_numpy(rows.astype(np.int32)).to(self.counts.device)
            self.config.num_ngrams = len(rows)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The words of the vocabulary, saved and loaded with the model; None for a bare model."""
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        if tokenizer is not None:
            size, pad, unknown = len(tokenizer), tokenizer.pad_token_id, tokenizer.unk_token_id
            # Rows are words by their ids alone, so another tokenizer would give every word a wrong vector.
            if (size, pad, unknown) != (self.config.vocab_size, 0, 1):
                raise ValueError(
                    f"The tokenizer has {size} tokens, its padding has the id {pad}, its unknown token {unknown}; the "
                    f"model needs {self.config.vocab_size} (config.vocab_size), 0 and 1: take the model's own."
                )
        self._tokenizer = tokenizer

    @property
    def words(self) -> list[str]:
        """The words in the order of their ids, special tokens left out."""
        if self.tokenizer is None:
            raise ValueError(
                "This model has no tokenizer, so its rows have no words: load it from a folder or Hub id that holds "
                f"{TOKENIZER_NAME}, or set model.tokenizer."
            )
        return list(self.tokenizer.convert_ids_to_tokens(list(range(len(SPECIAL_TOKENS), self.config.vocab_size))))

    def _ngram_rows(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        config = self.config
        starts, buckets = ngram_buckets(
            words, shortest=config.shortest_ngram, longest=config.longest_ngram, buckets=config.ngram_buckets
        )
        return starts, buckets + config.vocab_size

    @property
    def vectors(self) -> KeyedVectors:
        """The input vectors by word, with gensim's methods. It is made anew when the weights have changed."""
        weight = self.inputs.weight
        state = (weight.data_ptr(), weight._version, id(self.tokenizer))
        if self._vectors is None or self._vectors[0] != state:
            self._vectors = (state, self._keyed_vectors())
        return self._vectors[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_vectors": None, "_losses": WordLosses()}  # a copy makes its own

    def weights_changed(self) -> None:
        """Forget `vectors`; for those who write weights where torch cannot see it, through `.data` or numpy."""
        self._vectors = None

    @torch.no_grad()
    def _keyed_vectors(self) -> KeyedVectors:
        ids = torch.arange(len(SPECIAL_TOKENS), self.config.vocab_size, device=self.counts.device)
        # A copy in any case: what is done to it must not reach the model, nor a training reach it.
        matrix = self.inputs.weight[len(SPECIAL_TOKENS) : self.config.vocab_size].clone()
        if self.config.ngram_buckets:
            matrix = torch.cat([self.embed(part) for part in ids.split(4096)])
        counts = self.counts[len(SPECIAL_TOKENS) :].cpu().numpy()
        vectors = KeyedVectors.from_vectors(self.words, matrix.float().cpu().numpy(), counts=counts)
        if self.config.ngram_buckets:
            vectors.subwords = partial(_unseen_vector, self)
        return vectors

    def predict_output_word(self, context_words: list[str], topn: int = 10) -> list[tuple[str, float]] | None:
        """Predict the words of a context, by a softmax over all words (gensim's method of that name).

        Args:
            context_words: Those the vocabulary lacks are passed over.

        Returns:
            Words with their probabilities; None if the vocabulary has no word of the context.
        """
        if isinstance(context_words, str):
            raise TypeError(f"context_words is the string {context_words!r}; give a list of words.")
        outputs = self.needed_outputs("predict_output_word")
        if self.config.loss == "hierarchical-softmax":
            raise RuntimeError("Predicting words needs output vectors of words; hierarchical softmax has none.")
        names, known = self.vectors.index_to_key, self.vectors.key_to_index
        ids = [known[word] + len(SPECIAL_TOKENS) for word in context_words if word in known]
        if not ids:
            return None
        with torch.no_grad():
            context = self.embed(torch.tensor(ids, device=self.counts.device)).mean(0)
            scores = outputs.weight[len(SPECIAL_TOKENS) :] @ context
            best = scores.softmax(0).topk(min(topn, len(scores)))
        return [(names[i], value) for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    # Saving and loading

    @classmethod
    def from_vectors(cls, vectors: KeyedVectors) -> "Word2VecModel":
        """Make a model of vectors that came from elsewhere; it has no output vectors.

        Words named as the special tokens are left out. Words that only `vectors.subwords` knows are lost.
        """
        try:
            from hfseq.tokenization import vocabulary_tokenizer
        except ImportError as error:
            raise ImportError("Word2VecModel.from_vectors needs the whole package: install hfseq") from error
        # Files of vectors often have rows for <unk> or <pad>, which are tokens here and no words.
        kept = [index for index, word in enumerate(vectors.index_to_key) if word not in (None, *SPECIAL_TOKENS)]
        numbers = np.asarray(vectors.vectors)[kept]
        wrong = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
        if len(wrong):
            raise ValueError(
                f"The vector of {vectors.index_to_key[kept[wrong[0]]]!r} holds NaN or infinite numbers: repair such "
                f"vectors ({len(wrong)} of {len(kept)}), or leave them out."
            )
        words = [vectors.index_to_key[index] for index in kept]
        config = Word2VecConfig(
            vocab_size=len(words) + len(SPECIAL_TOKENS), hidden_size=vectors.vector_size, with_outputs=False
        )
        model = cls(config)
        counts = np.zeros(len(SPECIAL_TOKENS), dtype=np.int64)
        known = vectors.expandos["count"][kept] if "count" in vectors.expandos else np.ones(len(kept), dtype=np.int64)
        counts = np.concatenate([counts, known])
        model.set_vocabulary(vocabulary_tokenizer(words), counts)
        with torch.no_grad():
            model.inputs.weight[: len(SPECIAL_TOKENS)] = 0
            model.inputs.weight[len(SPECIAL_TOKENS) :] = torch.from_numpy(numbers)
        return model

    def without_outputs(self) -> "Word2VecModel":
        """Make a model of the same input vectors alone, half the size; the weights are shared, not copied."""
        config = copy.deepcopy(self.config)
        config.with_outputs = False
        # No memory for weights that are replaced at once.
        with torch.device("meta"):
            lean = type(self)(config)
        lean.inputs, lean.tokenizer = self.inputs, self.tokenizer
        for name, buffer in self.named_buffers(recurse=False):
            setattr(lean, name, buffer)
        return lean

    def save_pretrained(self, save_directory: Any, *args: Any, vectors_only: bool = False, **kwargs: Any) -> Any:
        """Save config, weights and, if the model has one, its tokenizer.

        Args:
            vectors_only: Leave the output vectors out.
        """
        if vectors_only and self.outputs is not None:
            if kwargs.get("state_dict") is not None:
                raise ValueError("vectors_only=True chooses the weights itself: leave state_dict out.")
            return self.without_outputs().save_pretrained(save_directory, *args, **kwargs)
        if self.tokenizer is not None and kwargs.get("is_main_process", True):
            self.tokenizer.save_pretrained(save_directory)
        return super().save_pretrained(save_directory, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint as every model does, and the tokenizer beside it, if there is one.

        One that does not fit the model is an error; with `strict=False` the model is left without.
        """
        source = pretrained_model_name_or_path
        names = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
        options = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        if source is not None and not os.path.exists(source):  # weights and words of one commit, if a branch moves
            where = {name: options[name] for name in options if name not in ("force_download", "subfolder")}
            kwargs["revision"] = options["revision"] = resolve_revision(source, **where)
        loaded = super().from_pretrained(source, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._check_tables()
        if source is not None and _has_tokenizer(source, options):
            try:
                with explained_panics(source):
                    model.tokenizer = PreTrainedTokenizerFast.from_pretrained(
                        source, trust_remote_code=False, **options
                    )
            except ValueError as error:
                if kwargs.get("strict", True):
                    raise ValueError(f"The tokenizer of {source!r} does not fit: {error}") from error
                logger.warning("The tokenizer of %r is left out: %s", source, error)
        return loaded

    def _check_tables(self) -> None:
        tables = {name: buffer.numpy(force=True) for name, buffer in self.named_buffers(recurse=False)}
        wrong = out_of_range(tables, len(self.inputs.weight))
        if wrong:  # the training loops would leave their arrays
            raise ValueError(f"The checkpoint's {', '.join(wrong)} hold numbers out of range: save it anew.")


def _has_tokenizer(source: Any, options: dict[str, Any]) -> bool:
    if os.path.exists(source):
        return (Path(source) / options.get("subfolder", "") / TOKENIZER_NAME).is_file()
    return cached_file(source, TOKENIZER_NAME, **options, _raise_exceptions_for_missing_entries=False) is not None


@torch.no_grad()
def _unseen_vector(model: Word2VecModel, word: str) -> np.ndarray | None:
    """Return the mean of the n-grams' vectors; None for a word too short to have an n-gram."""
    _, rows = model._ngram_rows([word])
    if len(rows) == 0:
        return None
    return model.inputs.weight[torch.from_numpy(rows).to(model.counts.device)].mean(0).float().cpu().numpy()


__all__ = ["Word2VecConfig", "Word2VecModel"]
