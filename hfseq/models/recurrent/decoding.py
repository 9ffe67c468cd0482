"""A backbone whose recurrent decoder looks at what an encoder made: what all of them do, whatever the encoder reads.

Shapes: B batch, S vectors of a memory (source tokens, regions of an image), T target tokens, E embedding, H hidden.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import ModelOutput

from ..calls import Seq2SeqModelOutput, wants_cache, with_cache
from ..heads.conditional_generation import check_beginning
from ..inputs import embed_with_word_dropout, mask_if_padded
from ..token_order import TokenOrder
from ..vocabularies import SourceTargetMixin
from .decoder import Sampler, Seq2SeqDecoder, state_layers


@dataclass
class Seq2SeqEncoderOutput(ModelOutput):
    """What the encoder made of the sources.

    Attributes:
        last_hidden_state: (B, S, H) the memory, zero at padding.
        final_states: (B, layers, states of the cell, H) z, with which the decoder begins; of an encoder that reads in
            both directions, side by side.
        hidden_states: The embeddings and each layer's output, if asked for.
        attentions: None: there are none; `generate` looks for them.
    """

    last_hidden_state: torch.Tensor | None = None
    # The batch comes first, so that `generate` repeats the rows for its beams.
    final_states: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class Encoded(NamedTuple):
    """The same, of which memory and last states are there."""

    memory: torch.Tensor
    final_states: torch.Tensor
    layers: tuple[torch.Tensor, ...] | None

    @classmethod
    def of(cls, encoder_outputs: Any) -> "Encoded":
        """Read what an encoder returned, as a tuple or with names."""
        if isinstance(encoder_outputs, tuple | list):
            encoder_outputs = Seq2SeqEncoderOutput(*encoder_outputs[:3])
        memory, final_states = encoder_outputs.last_hidden_state, encoder_outputs.get("final_states")
        if memory is None or final_states is None:
            raise ValueError(
                "encoder_outputs hold no last_hidden_state, or no final_states with which the decoder begins: pass on "
                "what model.get_encoder() returned, or its first two tensors."
            )
        return cls(memory, final_states, encoder_outputs.hidden_states)


class DecodingMixin(SourceTargetMixin):
    """Writes with a `decoder` from what an `encoder` made."""

    decoder: Seq2SeqDecoder

    def embed_targets(self, decoder_input_ids: torch.Tensor) -> torch.Tensor:
        """Map (B, T) target tokens to (B, T, E) vectors."""
        has_own = self.decoder.embed_tokens is not None
        words: Any = self.decoder.embed_tokens if has_own else self.encoder.embed_tokens
        dropout = self.config.embedding_dropout if self.training else 0.0
        # With one vocabulary the config calls its size vocab_size.
        of_target = self.config.decoder_vocab_size is not None
        return embed_with_word_dropout(words, decoder_input_ids, dropout, of_target=of_target)

    def _cache(self, cache: Cache | None, use_cache: bool | None) -> EncoderDecoderCache | None:
        """Return the cache to fill: the given one, a new one, or None."""
        if cache is None:
            # In training nobody goes on from the state.
            use_cache = wants_cache(self.config) and not self.training if use_cache is None else use_cache
            config = self.config
            return EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config)) if use_cache else None
        if not isinstance(cache, EncoderDecoderCache):
            raise ValueError(
                f"A cache of encoder and decoder is an EncoderDecoderCache, got {type(cache).__name__}: pass on the "
                "one that an earlier call returned."
            )
        return cache

    def _decode(
        self,
        encoded: Encoded,
        real: torch.Tensor | None,
        *,
        decoder_input_ids: torch.Tensor | None,
        decoder_attention_mask: torch.Tensor | None,
        decoder_inputs_embeds: torch.Tensor | None,
        cache: Cache | None,
        use_cache: bool | None,
        **kwargs: Any,
    ) -> Seq2SeqModelOutput:
        """Read the beginnings of the targets, looking at the memory.

        Args:
            encoded: What the encoder made.
            real: (B, S), where the memory is real; None: everywhere.
            decoder_input_ids: (B, T).
            decoder_attention_mask: (B, T), or more columns where there is a cache.
            decoder_inputs_embeds: (B, T, E) instead of `decoder_input_ids`.
            cache: The decoder's state after earlier target tokens.
            use_cache: Return the state reached.
            **kwargs: `output_attentions`, `output_hidden_states`, `sampler`.
        """
        sampler: Sampler | None = kwargs.get("sampler")
        # 1. Embed the beginnings of the targets, (B, T, E), and find their real tokens.
        if decoder_inputs_embeds is None:
            check_beginning(decoder_input_ids)
        target: Any = decoder_input_ids if decoder_inputs_embeds is None else decoder_inputs_embeds
        batch, steps = _check_target(target, encoded.memory)
        if decoder_inputs_embeds is None and self.config.feedback:
            decoder_inputs_embeds = self.embed_targets(target)
        # 2. Find the state to continue from, or make the first one.
        cache = self._cache(cache, use_cache)
        seen, layers, kept, carried = 0, [], None, None
        if cache is not None:
            layers = state_layers(cache.self_attention_cache, self.config.num_hidden_layers)
            kept, carried = state_layers(cache.cross_attention_cache, 1)[0], self.decoder.load(layers)
            seen = layers[0].get_seq_length()
        # 3. Read them, looking at the memory.
        decoded = self.decoder(
            decoder_inputs_embeds,
            TokenOrder(batch, steps, mask_if_padded(decoder_attention_mask, batch, steps, seen=seen)),
            self.decoder.memory(encoded.memory, real, kept),
            self.decoder.start(encoded.final_states, encoded.memory.shape[1]) if carried is None else carried,
            sampler=sampler,
            keeps_state=cache is not None,
            records_past=any(layer.record_past for layer in layers),
        )
        if cache is not None:
            self.decoder.keep(layers, decoded, steps)
        weights = decoded.weights if kwargs.get("output_attentions", self.config.output_attentions) else None
        inputs = () if decoder_inputs_embeds is None else (decoder_inputs_embeds,)
        shows_layers = kwargs.get("output_hidden_states", self.config.output_hidden_states)
        return Seq2SeqModelOutput(
            last_hidden_state=decoded.outputs,
            **with_cache(cache),
            decoder_hidden_states=(*inputs, *decoded.layers) if shows_layers else None,
            cross_attentions=None if weights is None else (weights,),
            encoder_last_hidden_state=encoded.memory,
            encoder_hidden_states=encoded.layers,
        )


class SamplingMixin(PreTrainedModel):
    """Lets a head with such a backbone write in training, for scheduled sampling."""

    model: DecodingMixin
    lm_head: nn.Linear

    def _read_pair(self, **given: Any) -> Any:
        """Read sources and beginnings of targets; in training, perhaps what the model would have written."""
        return self.model(**given, sampler=self._sampled if self.training else None)

    def _sampled(self, outputs: torch.Tensor) -> torch.Tensor:
        """Map a_t, (B, 1, H), to the vector of the likeliest token, (B, 1, E)."""
        # No gradient flows through the choice, as in the paper.
        with torch.no_grad():
            tokens = self.lm_head(outputs).argmax(-1)
        return self.model.embed_targets(tokens)


def _check_target(target: torch.Tensor, memory: torch.Tensor) -> tuple[int, int]:
    """Return the number of targets and of their tokens; refuse none, and another number than that of the sources."""
    batch, steps = target.shape[:2]
    if steps == 0:
        raise ValueError("decoder_input_ids have no tokens: give at least decoder_start_token_id in each row.")
    if batch != memory.shape[0]:
        raise ValueError(f"There are {memory.shape[0]} sources and {batch} targets: give one target a source.")
    return batch, steps
