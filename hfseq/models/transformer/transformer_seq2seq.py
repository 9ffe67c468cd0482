"""The transformer as published (Vaswani et al. 2017): an encoder that reads, and a decoder that writes.

    m = encoder(x_1 ... x_n)                                              the memory, one vector a source token
    P(y_t | y_1 ... y_{t-1}, x) = softmax(W_out decoder(y_1 ... y_{t-1}, m)_t + b_out)

Both read words by x_0 = sqrt(D) E[w] + P[p], see `transformer.py`. What E is depends on the vocabularies:

    one for both (`decoder_vocab_size=None`)      E_source = E_target = E         W_out = E, when tied, as in the paper
    one for each language                         E_source, E_target              W_out = E_target, when tied

"Tied" is `tie_word_embeddings`. Encoder and decoder are two `TransformerModel`s; the decoder has cross-attention to m
in each layer. Special tokens of the config are those of the target, but for `encoder_pad_token_id`.

Shapes: B batch, S source tokens, T target tokens, D width, V target vocabulary.
"""

from inspect import get_annotations
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from transformers import GenerationMixin
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..calls import Seq2SeqModelOutput, model_call, wants_cache, with_cache
from ..configs import bounded
from ..heads.conditional_generation import ConditionalGenerationMixin, check_beginning
from ..inputs import at_least_one_token
from ..vocabularies import SourceTargetConfig, SourceTargetMixin
from .transformer import TransformerModel, TransformerPreTrainedModel
from .transformer_config import TransformerConfig


@strict
class TransformerSeq2SeqConfig(SourceTargetConfig, TransformerConfig):
    """Configuration of encoder and decoder together: `TransformerConfig` and four fields more.

    What classifiers read (`pooling`, `classifier_dropout`) means nothing here.

    Args:
        decoder_vocab_size: Number of token ids of the target, where it has a vocabulary of its own: `vocab_size` is
            then that of the source. None: they share one.
        encoder_pad_token_id: Padding of the source, where it is not `pad_token_id`, which is that of the target.
        num_encoder_layers: Depth of the encoder; None: `num_hidden_layers`, which is the depth of the decoder.
        decoder_start_token_id: What the decoder reads before its first token; None: `bos_token_id`, or without one
            `pad_token_id`.
    """

    model_type = "hfseq_transformer_seq2seq"

    num_encoder_layers: int | None = bounded(None, 1, 256)

    def validate_directions(self) -> None:
        """Refuse a choice: the encoder always sees everything, and the decoder the past."""
        if self.bidirectional is not None:
            raise ValueError(
                f"bidirectional={self.bidirectional} is for encoders and decoders alone: leave it out, or use "
                "TransformerConfig"
            )

    def validate_output_weights(self) -> None:
        """Allow only one softmax over the whole vocabulary."""
        if self.adaptive_softmax_cutoffs is not None:
            raise ValueError(
                f"adaptive_softmax_cutoffs={self.adaptive_softmax_cutoffs} is for TransformerForCausalLM: leave it "
                "out."
            )

    def part(self, *, is_encoder: bool) -> TransformerConfig:
        """Return the configuration of the encoder, or of the decoder."""
        values = {name: getattr(self, name) for name in get_annotations(TransformerConfig)}
        if is_encoder:
            # The encoder neither begins nor ends a text; the ids are the target's.
            values |= {"pad_token_id": self.source_pad_token_id, "bos_token_id": None, "eos_token_id": None}
            values["num_hidden_layers"] = self.num_encoder_layers or self.num_hidden_layers
        else:
            values["vocab_size"] = self.target_vocab_size
        part = TransformerConfig(**{**values, "bidirectional": is_encoder})
        part._attn_implementation = self._attn_implementation
        return part


class TransformerSeq2SeqPreTrainedModel(TransformerPreTrainedModel):
    """Base of the classes with encoder and decoder."""

    config: TransformerSeq2SeqConfig
    # The encoder reads ahead, the decoder does not.
    _reads_ahead = None
    # transformers leaves out queries where the mask of the *keys* has padding, which is wrong of a memory.
    _supports_flash_attn = False
    read_by_layers = frozenset()


class TransformerSeq2SeqModel(SourceTargetMixin, TransformerSeq2SeqPreTrainedModel):
    """Encoder and decoder, no head. With one vocabulary the encoder's embeddings are the decoder's too."""

    def __init__(self, config: TransformerSeq2SeqConfig) -> None:
        super().__init__(config)
        self.encoder = TransformerModel(config.part(is_encoder=True))
        self.decoder = TransformerModel(
            config.part(is_encoder=False), has_memory=True, has_words=config.decoder_vocab_size is not None
        )
        self.post_init()
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Freeze the embeddings if the config says so."""
        self.encoder.freeze_parameters()
        self.decoder.freeze_parameters()

    @model_call()
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[torch.Tensor, ...] | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        decoder_inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> Seq2SeqModelOutput:
        """Read the sources and the beginnings of the targets.

        Args:
            input_ids: (B, S) source tokens.
            attention_mask: (B, S), 1 for real tokens.
            decoder_input_ids: (B, T) target tokens so far, from `decoder_start_token_id` on.
            decoder_attention_mask: (B, T), 1 for real tokens, of those read before as well where there is a cache.
            encoder_outputs: What an earlier call made of the sources, instead of `input_ids`.
            cache: Keys and values of earlier target tokens and of the memory.
            inputs_embeds: (B, S, D) instead of `input_ids`.
            decoder_inputs_embeds: (B, T, D) instead of `decoder_input_ids`.
            use_cache: Return keys and values.
            **kwargs: `output_attentions`, `output_hidden_states`.

        Returns:
            `last_hidden_state` (B, T, D) of the decoder, `encoder_last_hidden_state` (B, S, D) and, when asked for,
            `cache`, the hidden states and attentions of both, and `cross_attentions` (B, H, T, S).
        """
        # 1. Take defaults from this config, which the parts do not see.
        kwargs.setdefault("output_attentions", self.config.output_attentions)
        kwargs.setdefault("output_hidden_states", self.config.output_hidden_states)
        use_cache = wants_cache(self.config) if use_cache is None else use_cache
        # 2. Read the sources into the memory, (B, S, D), unless an earlier call did.
        if encoder_outputs is None:
            input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
            encoder_outputs = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
            )
        given: Any = encoder_outputs
        encoded = BaseModelOutput(*given[:3]) if isinstance(given, tuple | list) else given
        memory: Any = encoded.last_hidden_state
        # For a source without tokens the encoder made one masked column.
        if attention_mask is not None and attention_mask.shape[1] == 0:
            attention_mask = attention_mask.new_zeros(memory.shape[:2])
        # 3. Embed the beginnings of the targets, with the encoder's words or the decoder's own, (B, T, D).
        if decoder_inputs_embeds is None:
            decoder_inputs_embeds = self._embed_targets(decoder_input_ids)
        # 4. Read them, looking at the memory.
        outputs = self.decoder(
            inputs_embeds=decoder_inputs_embeds,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=memory,
            encoder_attention_mask=attention_mask,
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )
        return Seq2SeqModelOutput(
            last_hidden_state=outputs.last_hidden_state,
            **with_cache(outputs.cache),
            decoder_hidden_states=outputs.hidden_states,
            decoder_attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=memory,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
        )

    def _embed_targets(self, decoder_input_ids: torch.Tensor | None) -> torch.Tensor:
        check_beginning(decoder_input_ids)
        has_own = self.config.decoder_vocab_size is not None
        return (self.decoder if has_own else self.encoder).embed(decoder_input_ids)


class TransformerForConditionalGeneration(
    ConditionalGenerationMixin, TransformerSeq2SeqPreTrainedModel, GenerationMixin
):
    """Encoder and decoder, and the next target token: translation and whatever else turns a text into a text."""

    config: TransformerSeq2SeqConfig

    def __init__(self, config: TransformerSeq2SeqConfig) -> None:
        super().__init__(config)
        self.model = TransformerSeq2SeqModel(config)
        self._add_head(config.output_size)
        self.post_init()


__all__ = [
    "TransformerForConditionalGeneration",
    "TransformerSeq2SeqConfig",
    "TransformerSeq2SeqModel",
]
