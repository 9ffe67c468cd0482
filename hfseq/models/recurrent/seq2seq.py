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

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import ModelOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..calls import Seq2SeqModelOutput, model_call, wants_cache, with_cache
from ..heads.conditional_generation import ConditionalGenerationMixin, check_beginning
from ..inputs import at_least_one_token, embed_with_word_dropout, mask_if_padded
from ..token_order import TokenOrder
from ..vocabularies import SourceTargetMixin
from .backbone import RecurrentLayer, RecurrentPreTrainedModel
from .decoder import Sampler, Seq2SeqDecoder, state_layers
from .seq2seq_config import Seq2SeqConfig
from .seq2seq_transfer import config_of, copy_weights, loaded


@dataclass
class Seq2SeqEncoderOutput(ModelOutput):
    """What the encoder made of the sources.

    Attributes:
        last_hidden_state: (B, S, H) the memory, zero at padding.
        final_states: (B, layers, states of the cell, H) z, both directions side by side.
        hidden_states: The embeddings and each layer's output, if asked for.
        attentions: None: there are none; `generate` looks for them.
    """

    last_hidden_state: torch.Tensor | None = None
    # The batch comes first, so that `generate` repeats the rows for its beams.
    final_states: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


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


class Seq2SeqModel(SourceTargetMixin, Seq2SeqPreTrainedModel):
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

    def embed_targets(self, decoder_input_ids: torch.Tensor) -> torch.Tensor:
        """Map (B, T) target tokens to (B, T, E) vectors."""
        has_own = self.decoder.embed_tokens is not None
        words = self.decoder.embed_tokens if has_own else self.encoder.embed_tokens
        dropout = self.config.embedding_dropout if self.training else 0.0
        return embed_with_word_dropout(words, decoder_input_ids, dropout, of_target=has_own)

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
        given: Any = kwargs
        sampler: Sampler | None = given.pop("sampler", None)
        shows_layers = kwargs.get("output_hidden_states", self.config.output_hidden_states)
        # 1. Read the sources, unless an earlier call did.
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                inputs_embeds=inputs_embeds,
                output_hidden_states=shows_layers,
                return_dict=True,
            )
        encoded, final_states, encoder_layers = _read_before(encoder_outputs)
        real = _real_tokens(encoded, attention_mask)
        # 2. Embed the beginnings of the targets, (B, T, E), and find their real tokens.
        if decoder_inputs_embeds is None:
            check_beginning(decoder_input_ids)
        target: Any = decoder_input_ids if decoder_inputs_embeds is None else decoder_inputs_embeds
        batch, steps = _check_target(target, encoded)
        if decoder_inputs_embeds is None and self.config.feedback:
            decoder_inputs_embeds = self.embed_targets(target)
        # 3. Find the state to continue from, or make the first one.
        cache = self._cache(cache, use_cache)
        seen, layers, kept, carried = 0, [], None, None
        if cache is not None:
            layers = state_layers(cache.self_attention_cache, self.config.num_hidden_layers)
            kept, carried = state_layers(cache.cross_attention_cache, 1)[0], self.decoder.load(layers)
            seen = layers[0].get_seq_length()
        # 4. Read them, looking at the memory.
        decoded = self.decoder(
            decoder_inputs_embeds,
            TokenOrder(batch, steps, mask_if_padded(decoder_attention_mask, batch, steps, seen=seen)),
            self.decoder.memory(encoded, real, kept),
            self.decoder.start(final_states, encoded.shape[1]) if carried is None else carried,
            sampler=sampler,
            keeps_state=cache is not None,
            records_past=any(layer.record_past for layer in layers),
        )
        if cache is not None:
            self.decoder.keep(layers, decoded, steps)
        weights = decoded.weights if kwargs.get("output_attentions", self.config.output_attentions) else None
        inputs = () if decoder_inputs_embeds is None else (decoder_inputs_embeds,)
        return Seq2SeqModelOutput(
            last_hidden_state=decoded.outputs,
            **with_cache(cache),
            decoder_hidden_states=(*inputs, *decoded.layers) if shows_layers else None,
            cross_attentions=None if weights is None else (weights,),
            encoder_last_hidden_state=encoded,
            encoder_hidden_states=encoder_layers,
        )


def _read_before(encoder_outputs: Any) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...] | None]:
    """Return memory, last states and layers of what an encoder returned, as a tuple or with names."""
    if isinstance(encoder_outputs, tuple | list):
        encoder_outputs = Seq2SeqEncoderOutput(*encoder_outputs[:3])
    memory, final_states = encoder_outputs.last_hidden_state, encoder_outputs.get("final_states")
    if memory is None or final_states is None:
        raise ValueError(
            "encoder_outputs hold no last_hidden_state, or no final_states with which the decoder begins: pass on "
            "what model.get_encoder() returned, or its first two tensors."
        )
    return memory, final_states, encoder_outputs.hidden_states


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


def _check_target(target: torch.Tensor, encoded: torch.Tensor) -> tuple[int, int]:
    """Return the number of targets and of their tokens; refuse none, and another number than that of the sources."""
    batch, steps = target.shape[:2]
    if steps == 0:
        raise ValueError("decoder_input_ids have no tokens: give at least decoder_start_token_id in each row.")
    if batch != encoded.shape[0]:
        raise ValueError(f"There are {encoded.shape[0]} sources and {batch} targets: give one target a source.")
    return batch, steps


class Seq2SeqForConditionalGeneration(ConditionalGenerationMixin, Seq2SeqPreTrainedModel, GenerationMixin):
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

    def _read_pair(self, **given: Any) -> Any:
        """Read sources and beginnings of targets; in training, perhaps what the model would have written."""
        return self.model(**given, sampler=self._sampled if self.training else None)

    def _sampled(self, outputs: torch.Tensor) -> torch.Tensor:
        """Map a_t, (B, 1, H), to the vector of the likeliest token, (B, 1, E)."""
        # No gradient flows through the choice, as in the paper.
        with torch.no_grad():
            tokens = self.lm_head(outputs).argmax(-1)
        return self.model.embed_targets(tokens)


__all__ = [
    "Seq2SeqConfig",
    "Seq2SeqForConditionalGeneration",
    "Seq2SeqModel",
]
