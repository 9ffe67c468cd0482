"""Source and target of an encoder and a decoder: they share one vocabulary, or each has its own.

    decoder_vocab_size=None     one: `vocab_size` ids, one matrix E of embeddings, read by both sides
    decoder_vocab_size=V        two: `vocab_size` ids and E of the source, V ids and E' of the target

The special tokens of a config are those of the target, but for `encoder_pad_token_id`. Where the output weights are
tied, it is to the matrix from which the decoder reads.
"""

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from .configs import bounded


@dataclass(kw_only=True)
class TargetConfig:
    """Fields of a config whose decoder writes; it stands before the config class that has all the others."""

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    is_encoder_decoder: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Choose the token that a text begins with."""
        others: Any = super()
        others.__post_init__(**kwargs)
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = self.pad_token_id if self.bos_token_id is None else self.bos_token_id

    @property
    def target_vocab_size(self) -> int:
        """V, the number of ids that the decoder reads and writes."""
        return self.vocab_size

    def validate_start(self) -> None:
        """Check that there is a token that a text begins with."""
        if self.decoder_start_token_id is None:
            raise ValueError(
                "decoder_start_token_id, bos_token_id and pad_token_id are None: the decoder needs one before its "
                "first token, so set one."
            )


@dataclass(kw_only=True)
class SourceTargetConfig(TargetConfig):
    """The same where the encoder reads tokens too."""

    decoder_vocab_size: int | None = bounded(None, 1, 10_000_000)
    encoder_pad_token_id: int | None = None

    @property
    def target_vocab_size(self) -> int:
        """V, the number of ids that the decoder reads and writes."""
        return self.vocab_size if self.decoder_vocab_size is None else self.decoder_vocab_size

    @property
    def source_pad_token_id(self) -> int | None:
        """Padding of the source."""
        return self.pad_token_id if self.encoder_pad_token_id is None else self.encoder_pad_token_id

    def size_field_of(self, token: str) -> str:
        """Return the field that says how many ids there are where this special token is used."""
        is_source = token == "encoder_pad_token_id" or self.decoder_vocab_size is None
        return "vocab_size" if is_source else "decoder_vocab_size"

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Any:
        """Return this config for `generate`, which takes `vocab_size` for the number of tokens that are written."""
        # What transformers does here by itself would set vocab_size to decoder_vocab_size=None.
        if self.decoder_vocab_size is None or (encoder and not decoder):
            return self
        config = copy.copy(self)
        config.vocab_size = self.decoder_vocab_size
        return config

    def validate_source_padding(self) -> None:
        """Check that the source's vocabulary has the padding, and that two vocabularies are meant."""
        own, shared = self.encoder_pad_token_id, self.pad_token_id
        if self.decoder_vocab_size is None and own not in (None, shared):
            raise ValueError(
                f"encoder_pad_token_id={own} and pad_token_id={shared} differ, but source and target share one "
                "vocabulary: leave the first out, or set decoder_vocab_size"
            )
        if own is None and shared is not None and shared >= self.vocab_size:
            raise ValueError(
                f"pad_token_id={shared} is outside the source's vocabulary, 0 to vocab_size - 1 = "
                f"{self.vocab_size - 1}: give the padding of sources as encoder_pad_token_id"
            )


class SourceTargetMixin(PreTrainedModel):
    """The vocabularies of a backbone with an `encoder` and a `decoder`, of which each has `embed_tokens`.

    Those of the decoder are None where it reads the encoder's, or reads nothing.
    """

    encoder: Any
    decoder: Any

    def get_input_embeddings(self) -> nn.Module:
        """Return the vectors of the source's words; with one vocabulary they are the target's too."""
        words: nn.Module = self.encoder.get_input_embeddings()
        return words

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the vectors of the source's words; with one vocabulary they are the target's too."""
        self.encoder.set_input_embeddings(value)
        self._say_sizes(source=value.get_parameter("weight").shape[0])

    def resize_decoder_token_embeddings(
        self, new_num_tokens: int, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding | None:
        """Resize the target's vocabulary, where it has its own; `resize_token_embeddings` resizes the source's.

        Returns:
            Its vectors; None of a decoder that does not read what it wrote.
        """
        if self.config.decoder_vocab_size is None:
            raise ValueError("Source and target share one vocabulary: call resize_token_embeddings.")
        size = new_num_tokens + -new_num_tokens % (pad_to_multiple_of or 1)
        words: nn.Embedding | None = self.decoder.embed_tokens
        if words is not None:
            words = self._get_resized_embeddings(words, size, mean_resizing=mean_resizing)
        self._say_sizes(target=size)
        return words

    def _say_sizes(self, *, source: int | None = None, target: int | None = None) -> None:
        """Write the new sizes into this config, and into those of the parts where these have some of their own."""
        # Not by `get_text_config`, as transformers does: with two vocabularies that is a copy.
        if source is not None:
            self.config.vocab_size = self.encoder.config.vocab_size = source
        if target is not None:
            self.config.decoder_vocab_size = target
        if isinstance(self.decoder, PreTrainedModel):
            self.decoder.config.vocab_size = self.config.target_vocab_size


class TargetHeadMixin(PreTrainedModel):
    """The output weights of a model with such a backbone, `model`: as wide as the target's vocabulary."""

    model: SourceTargetMixin
    lm_head: nn.Linear

    def _add_head(self, size: int) -> None:
        """Make `lm_head` for outputs of this size, tied to what the decoder reads if the config says so."""
        self.lm_head = nn.Linear(size, self.config.target_vocab_size)
        side = "encoder" if self.model.decoder.embed_tokens is None else "decoder"
        self._tied_weights_keys = {"lm_head.weight": f"model.{side}.embed_tokens.weight"}

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Resize the vocabulary, or where the target has its own, that of the source alone."""
        if self.config.decoder_vocab_size is not None:
            return self.model.resize_token_embeddings(*args, **kwargs)
        trains = self._trains()
        words = super().resize_token_embeddings(*args, **kwargs)
        self._train(*trains)
        return words

    def resize_decoder_token_embeddings(
        self, new_num_tokens: int, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding | None:
        """Resize the target's vocabulary, where it has its own: what the decoder reads and what it writes."""
        words = self.model.resize_decoder_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        trains, size = self._trains(), self.config.decoder_vocab_size
        self.lm_head = self._get_resized_lm_head(self.lm_head, size, mean_resizing=mean_resizing)
        self._train(*trains)
        self.tie_weights()
        return words

    # transformers would freeze the bias with the weights, which are frozen where they are embeddings.
    def _trains(self) -> list[bool]:
        return [parameter.requires_grad for parameter in self.lm_head.parameters()]

    def _train(self, *trains: bool) -> None:
        for parameter, wanted in zip(self.lm_head.parameters(), trains, strict=True):
            parameter.requires_grad_(wanted)
