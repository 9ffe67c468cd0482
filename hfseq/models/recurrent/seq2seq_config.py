"""The configuration of a recurrent encoder and decoder; what each field computes is in `seq2seq.py`."""

import copy
from typing import Any, Literal

from huggingface_hub.dataclasses import strict

from ..calls import CACHE_NAMES
from ..configs import SequenceConfig, bounded, probability
from ..heads.conditional_generation import check_start, start_token
from .cells import CELLS, Cell, find_cell
from .state import RECURRENT_LAYER_TYPE


@strict
class Seq2SeqConfig(SequenceConfig):
    """Configuration of a recurrent encoder and decoder.

    Args:
        vocab_size: Number of source token ids.
        decoder_vocab_size: Number of target token ids, which then have embeddings of their own; None: source and
            target share one vocabulary and its embeddings.
        embedding_size: Width of a token's vector, E.
        hidden_size: H, of the decoder and of the memory. Of an encoder that reads in both directions, each one is half
            as wide, so that every attention fits.
        num_hidden_layers: Depth of the decoder.
        num_encoder_layers: Depth of the encoder; None: `num_hidden_layers`.
        bidirectional_encoder: Whether the encoder reads from both ends.
        cell: "lstm", "gru", "rnn", or any other name of `cells.CELLS`.
        attention: How a decoder's output is compared with the memory; "none": the decoder is left with the encoder's
            last states.
        num_attention_heads: Of "multi_head".
        feedback: Whether the decoder reads its previous token. Without it, each step reads the same vector of the
            source: the naive decoder.
        input_feeding: Whether a step also reads the previous attentional vector (Luong et al. 2015).
        coverage: Whether the additive score sees how much attention each source token has had (See et al. 2017).
        scheduled_sampling: Probability that in training a step reads the model's own likeliest token instead of the
            target's (Bengio et al. 2015).
        embedding_dropout: Part of the vocabulary that is blanked per batch (all occurrences of a word at once).
        hidden_dropout: Dropout on the embeddings, between the layers and on the last output.
        freeze_embeddings: Keep the embedding matrices as they are (pretrained vectors).
        initializer_range: Standard deviation of the embeddings.
        tie_word_embeddings: The output weights are the target's embeddings.
        use_cache: Whether the decoder returns its state where a call does not say.
        pad_token_id: Of the target, as the next three.
        bos_token_id: Where a target begins.
        eos_token_id: Where a target ends.
        decoder_start_token_id: What the decoder reads before its first token; None: `bos_token_id`, or without one
            `pad_token_id`.
        encoder_pad_token_id: Of the source; None: `pad_token_id`.
    """

    model_type = "hfseq_seq2seq"
    keys_to_ignore_at_inference = list(CACHE_NAMES)

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    decoder_vocab_size: int | None = bounded(None, 1, 10_000_000)
    embedding_size: int = bounded(128, 1, 65_536)
    hidden_size: int = bounded(128, 1, 65_536)
    num_hidden_layers: int = bounded(1, 1, 64)
    num_encoder_layers: int | None = bounded(None, 1, 64)
    bidirectional_encoder: bool = True
    cell: str = "lstm"
    attention: Literal["none", "additive", "dot", "general", "multi_head"] = "general"
    num_attention_heads: int = bounded(1, 1, 1_024)
    feedback: bool = True
    input_feeding: bool = False
    coverage: bool = False
    scheduled_sampling: float | int = bounded(0.0, 0.0, 1.0)
    embedding_dropout: float | int = probability(0.0)
    hidden_dropout: float | int = probability(0.1)
    freeze_embeddings: bool = False
    # As in `RecurrentConfig`: a shallow network must notice its input from the first step on.
    initializer_range: float | int = bounded(0.1, 0.0, 10.0)
    tie_word_embeddings: bool = False
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    encoder_pad_token_id: int | None = None
    is_encoder_decoder: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Choose the token that a text begins with."""
        super().__post_init__(**kwargs)
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = start_token(self)

    # `generate` makes its cache of these.
    @property
    def layer_types(self) -> list[str]:
        """Which cache layer transformers builds for each layer of the decoder (`state.py`)."""
        return [RECURRENT_LAYER_TYPE] * self.num_hidden_layers

    @property
    def target_size(self) -> int:
        """V, the number of target token ids."""
        return self.vocab_size if self.decoder_vocab_size is None else self.decoder_vocab_size

    @property
    def encoder_depth(self) -> int:
        """Number of the encoder's layers."""
        return self.num_hidden_layers if self.num_encoder_layers is None else self.num_encoder_layers

    @property
    def direction_size(self) -> int:
        """Width of one direction of the encoder."""
        # Half, and not all as in `RecurrentConfig`: the memory is as wide as the decoder, which "dot" needs.
        return self.hidden_size // 2 if self.bidirectional_encoder else self.hidden_size

    @property
    def source_pad_token_id(self) -> int | None:
        """Padding of the source."""
        return self.pad_token_id if self.encoder_pad_token_id is None else self.encoder_pad_token_id

    def make_cell(self) -> Cell:
        """Return the named cell."""
        # To `CustomConfig` the plain network has two names; here it also goes by that of its family.
        return find_cell("rnn_tanh" if self.cell == "rnn" and self.cell not in CELLS else self.cell)

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> "Seq2SeqConfig":
        """Return this config for `generate`, which takes `vocab_size` for the number of tokens that are written."""
        # What transformers does here by itself would set vocab_size to decoder_vocab_size=None.
        if self.target_size == self.vocab_size or (encoder and not decoder):
            return self
        config = copy.copy(self)
        config.vocab_size = self.target_size
        return config

    def size_field_of(self, token: str) -> str:
        """Return the field that says how many ids there are where this special token is used."""
        is_source = token == "encoder_pad_token_id" or self.decoder_vocab_size is None
        return "vocab_size" if is_source else "decoder_vocab_size"

    def validate_layer_type(self) -> None:
        """Replace transformers' check, which knows only its own layer types."""

    def validate_source_padding(self) -> None:
        """Check that the source has a padding token of its own vocabulary."""
        pad = self.pad_token_id
        if self.encoder_pad_token_id is None and pad is not None and pad >= self.vocab_size:
            raise ValueError(
                f"pad_token_id={pad} is the target's, and no id of the {self.vocab_size} source tokens: set "
                "encoder_pad_token_id."
            )

    def validate_cell(self) -> None:
        """Check that the cell exists, that two directions share the width, and that blocks fit it."""
        block_size = self.make_cell().block_size
        if self.bidirectional_encoder and self.hidden_size % 2:
            raise ValueError(
                f"hidden_size={self.hidden_size} is shared by two directions: make it even, or set "
                "bidirectional_encoder=False."
            )
        if self.direction_size % block_size:
            raise ValueError(
                f"cell={self.cell!r} needs directions of a width divisible by {block_size}, but hidden_size="
                f"{self.hidden_size} makes them {self.direction_size} wide."
            )

    def validate_attention(self) -> None:
        """Check that there is an attention for what needs one, and that its heads divide the width."""
        if self.num_attention_heads > 1 and self.attention != "multi_head":
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} is for attention='multi_head', and attention="
                f"{self.attention!r} has one head: leave it out."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} does not divide hidden_size={self.hidden_size}"
            )
        if self.input_feeding and self.attention == "none":
            raise ValueError(
                "input_feeding=True feeds the attentional vector, and attention='none' makes none: choose an "
                "attention, or set input_feeding=False."
            )
        if self.coverage and self.attention != "additive":
            raise ValueError(
                f"coverage=True is a part of the additive score, and attention={self.attention!r} has none: set "
                "attention='additive', or coverage=False."
            )

    def validate_feedback(self) -> None:
        """Check that a decoder which does not read what it wrote has nothing else to read of it."""
        if self.feedback:
            return
        for name in ("input_feeding", "scheduled_sampling"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}={getattr(self, name)} is about what the decoder reads of its own, and feedback=False "
                    f"lets it read nothing: set feedback=True, or leave {name} out."
                )

    def validate_output_weights(self) -> None:
        """Check that there are embeddings to tie the output weights to, and that they fit."""
        if not self.tie_word_embeddings:
            return
        if self.embedding_size != self.hidden_size:
            raise ValueError(
                f"tie_word_embeddings=True needs outputs as wide as the embeddings, but embedding_size="
                f"{self.embedding_size} and hidden_size={self.hidden_size}: make them equal."
            )
        # With a shared vocabulary they are the source's, which are there.
        if not self.feedback and self.decoder_vocab_size is not None:
            raise ValueError(
                "tie_word_embeddings=True needs embeddings of the target, and with feedback=False and a "
                f"decoder_vocab_size={self.decoder_vocab_size} of its own there are none: set "
                "tie_word_embeddings=False."
            )

    def validate_start(self) -> None:
        """Check that there is a token that a text begins with."""
        check_start(self)


__all__ = ["Seq2SeqConfig"]
