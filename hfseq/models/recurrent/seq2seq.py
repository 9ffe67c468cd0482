"""A recurrent encoder that reads, and a recurrent decoder that writes (Sutskever et al. 2014; Cho et al. 2014).

    m_1 ... m_S, z = encoder(x_1 ... x_S)       the memory, one vector a source token, and the last states
    s_0 = tanh(W_s z + b_s)                     the bridge, for each state of each layer of the decoder
    h_t, s_t = cell(x_t, s_{t-1})               x_t: what the decoder reads, see below
    alpha_t, c_t = attention(h_t, m)            `decoder_attention.py`: dot, general, additive, multi_head
    a_t = tanh(W_c [c_t; h_t])                  the attentional vector (Luong et al. 2015)
    P(y_t | y_1 ... y_{t-1}, x) = softmax(W_out a_t + b_out)

What the decoder reads, and whether it looks back, makes the models of the textbooks:

    feedback=False, attention="none"    x_t = v, a_t = h_t                  naive: one vector v = h_0, and no own words
    attention="none"                    x_t = E y_{t-1}, a_t = h_t          its own words fed back
    attention=...                       x_t = E y_{t-1}                     with attention
    input_feeding=True                  x_t = [E y_{t-1}; a_{t-1}]          and with what it attended to

The encoder's layers are those of `RecurrentModel`, over any cell, and the decoder's loops are their forward ones; the
two share words and their vectors, or each has its own (`decoder_vocab_size`). Where we differ: Luong et al. begin the
decoder with the encoder's states themselves, which needs equal depths and one direction; the bridge does not.

Shapes: B batch, S source tokens, T target tokens, E embedding, H hidden, V target vocabulary.
"""

from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin
from transformers.cache_utils import Cache
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..calls import Seq2SeqModelOutput, model_call
from ..heads.conditional_generation import ConditionalGenerationMixin
from ..inputs import at_least_one_token, embed_with_word_dropout, mask_if_padded
from ..token_order import TokenOrder
from .backbone import RecurrentLayer, RecurrentPreTrainedModel
from .decoder import Seq2SeqDecoder
from .decoding import DecodingMixin, Encoded, SamplingMixin, Seq2SeqEncoderOutput
from .seq2seq_config import Seq2SeqConfig
from .seq2seq_transfer import config_of, copy_weights, loaded


class Seq2SeqPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the classes with encoder and decoder."""

    config: Seq2SeqConfig
    # The encoder's states are taken from inside its layers, which a layer that runs twice would not return.
    supports_gradient_checkpointing = False
    _can_record_outputs: dict[str, Any] = {}
    read_by_layers = frozenset()


class Seq2SeqEncoder(Seq2SeqPreTrainedModel):
    """Embeddings, then a stack of layers that read the source."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.source_pad_token_id)
        self.layers = nn.ModuleList(
            RecurrentLayer(
                config.make_cell(),
                input_size=input_size,
                hidden_size=config.direction_size,
                bidirectional=config.bidirectional_encoder,
            )
            for input_size in [config.embedding_size, *[config.hidden_size] * (config.encoder_depth - 1)]
        )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.post_init()
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Freeze the embeddings if the config says so."""
        self.embed_tokens.weight.requires_grad_(not self.config.freeze_embeddings)

    @model_call()
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        # Not called kwargs: `generate` would hand an encoder whatever it holds.
        **others: Unpack[TransformersKwargs],
    ) -> Seq2SeqEncoderOutput:
        """Read the sources.

        Args:
            input_ids: (B, S) source tokens.
            attention_mask: (B, S), 1 for real tokens; all real without it.
            inputs_embeds: (B, S, E) instead of `input_ids`.
            **others: `output_hidden_states`, `return_dict`.
        """
        # 1. Embed the words, (B, S, E). A text without tokens becomes one masked column.
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        if inputs_embeds is None:
            assert input_ids is not None
            dropout = self.config.embedding_dropout if self.training else 0.0
            inputs_embeds = embed_with_word_dropout(self.embed_tokens, input_ids, dropout)
        batch, steps = inputs_embeds.shape[:2]
        order = TokenOrder(batch, steps, mask_if_padded(attention_mask, batch, steps))
        # 2. Read them layer by layer, with dropout before, between and behind.
        hidden_states, shown, final = self.dropout(inputs_embeds), [inputs_embeds], []
        layer: Any
        for layer in self.layers:
            loops = (layer.forward_loop, layer.backward_loop)
            outputs, states = zip(*(loop(hidden_states, order) for loop in loops if loop is not None), strict=True)
            shown.append(torch.cat(outputs, dim=-1))
            # For each state of the cell, that of both directions side by side, (B, states, H).
            final.append(torch.stack([torch.cat(each, dim=-1) for each in zip(*states, strict=True)], dim=1))
            hidden_states = self.dropout(shown[-1])
        asked = others.get("output_hidden_states", self.config.output_hidden_states)
        return Seq2SeqEncoderOutput(hidden_states, torch.stack(final, dim=1), tuple(shown) if asked else None)


class Seq2SeqModel(DecodingMixin, Seq2SeqPreTrainedModel):
    """Encoder and decoder, no head."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.encoder = Seq2SeqEncoder(config)
        self.decoder = Seq2SeqDecoder(config)
        self.post_init()
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Freeze the embeddings if the config says so."""
        self.encoder.freeze_parameters()
        if self.decoder.embed_tokens is not None:
            self.decoder.embed_tokens.weight.requires_grad_(not self.config.freeze_embeddings)

    @model_call("sampler")
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: Seq2SeqEncoderOutput | tuple[torch.Tensor, ...] | None = None,
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
            decoder_input_ids: (B, T) target tokens so far, from `decoder_start_token_id` on; with a cache those that
                are new.
            decoder_attention_mask: (B, T), 1 for real tokens, of those read before as well where there is a cache.
            encoder_outputs: What an earlier call made of the sources, instead of `input_ids`.
            cache: The decoder's state after earlier target tokens.
            inputs_embeds: (B, S, E) instead of `input_ids`.
            decoder_inputs_embeds: (B, T, E) instead of `decoder_input_ids`.
            use_cache: Return the state reached.
            **kwargs: `output_attentions`, `output_hidden_states`; `sampler`, by which scheduled sampling writes.

        Returns:
            `last_hidden_state` (B, T, H), which is a_t, `encoder_last_hidden_state` (B, S, H) and, when asked for,
            `cache`, the hidden states of both, and `cross_attentions`: one tensor (B, heads, T, S).
        """
        # 1. Read the sources, unless an earlier call did.
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                inputs_embeds=inputs_embeds,
                output_hidden_states=kwargs.get("output_hidden_states", self.config.output_hidden_states),
                return_dict=True,
            )
        encoded = Encoded.of(encoder_outputs)
        # 2. Read the beginnings of the targets, looking at the memory.
        return self._decode(
            encoded,
            _real_tokens(encoded.memory, attention_mask),
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            decoder_inputs_embeds=decoder_inputs_embeds,
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )


def _real_tokens(encoded: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor | None:
    """Return (B, S), where the source is real; None: everywhere."""
    if attention_mask is None:
        return None
    batch, steps = encoded.shape[:2]
    # For a source without tokens the encoder made one masked column.
    if attention_mask.shape[1] == 0:
        return attention_mask.new_zeros(batch, steps).bool()
    mask = mask_if_padded(attention_mask, batch, steps)
    return None if mask is None else mask.bool()


class Seq2SeqForConditionalGeneration(
    SamplingMixin, ConditionalGenerationMixin, Seq2SeqPreTrainedModel, GenerationMixin
):
    """Encoder and decoder, and the next target token: translation and whatever else turns a text into a text."""

    config: Seq2SeqConfig
    model: Seq2SeqModel
    _skips_behind_labels = True

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.model = Seq2SeqModel(config)
        self._add_head(config.hidden_size)
        self.post_init()

    @classmethod
    def from_encoder_decoder_pretrained(cls, encoder_lm: Any, decoder_lm: Any, **config_overrides: Any) -> Any:
        """Make an encoder and a decoder of two language models, each of a language of its own.

        Args:
            encoder_lm: A recurrent language model or backbone, or the folder or Hub id of one: the encoder's words and
                layers. If it reads in both directions, so does the encoder.
            decoder_lm: A recurrent language model: the decoder's words, layers and output weights.
            **config_overrides: Fields of `Seq2SeqConfig` that do not follow from these: `attention`, dropout, ...

        Raises:
            ValueError: If the cells or widths of the two differ.
        """
        encoder = loaded(encoder_lm, is_encoder=True).base_model
        decoder = loaded(decoder_lm, is_encoder=False)
        config = config_of(encoder, decoder.base_model, config_overrides)
        # As precise as they are; a new model is made in float32.
        model = cls(config).to(decoder.device, decoder.dtype)
        copy_weights(model, encoder, decoder)
        return model


__all__ = [
    "Seq2SeqConfig",
    "Seq2SeqForConditionalGeneration",
    "Seq2SeqModel",
]
