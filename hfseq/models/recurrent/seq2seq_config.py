"""The configuration of a recurrent encoder and decoder; what each field computes is in `seq2seq.py`."""

from huggingface_hub.dataclasses import strict

from ..calls import CACHE_NAMES
from ..configs import SequenceConfig, bounded
from ..vocabularies import SourceTargetConfig
from .decoder_config import RecurrentDecoderConfig


@strict
class Seq2SeqConfig(RecurrentDecoderConfig, SourceTargetConfig, SequenceConfig):
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

    num_encoder_layers: int | None = bounded(None, 1, 64)
    bidirectional_encoder: bool = True
    feedback: bool = True

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
    def decoder_has_words(self) -> bool:
        """Whether the decoder has embeddings of its own."""
        return self.feedback and self.decoder_vocab_size is not None

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
        super().validate_output_weights()
        # With a shared vocabulary they are the source's, which are there.
        if self.tie_word_embeddings and not self.feedback and self.decoder_vocab_size is not None:
            raise ValueError(
                "tie_word_embeddings=True needs embeddings of the target, and with feedback=False and a "
                f"decoder_vocab_size={self.decoder_vocab_size} of its own there are none: set "
                "tie_word_embeddings=False."
            )


__all__ = ["Seq2SeqConfig"]
