"""What a bag of words and n-grams may be; `bag.py` says what it computes."""

from typing import Literal, cast

from huggingface_hub.dataclasses import strict

from ..configs import SequenceConfig, bounded
from .quantized_rows import whole_pieces

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
        weighting: What a feature counts: "count": 1 each time it occurs, "tfidf": its inverse document frequency, and
            the vector of a text is the weighted mean; "tfidf_l2": the weighted sum over the root of the sum of the
            squared weights, as scikit-learn's TfidfVectorizer has it but for features that repeat in a text.
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
    hidden_size: int = bounded(32, 1, 65_536)
    word_ngrams: int = bounded(2, 1, 10)
    shortest_ngram: int = bounded(3, 1, 100)
    longest_ngram: int = bounded(0, 0, 100)
    ngram_buckets: int = bounded(200_000, 0, _MOST_ROWS)
    weighting: Literal["count", "tfidf", "tfidf_l2"] = "tfidf"
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
        if self.row_codes and self.row_codes != (pieces := whole_pieces(self.hidden_size, self.row_codes)):
            raise ValueError(
                f"row_codes={self.row_codes} leaves pieces of hidden_size={self.hidden_size} empty: set {pieces}"
            )
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
