"""The transformer (Vaswani et al. 2017), as encoder and as decoder.

    x_0 = sqrt(D) E[w] + P[p]           words and sinusoidal positions; learned ones are scaled as words are, and
                                        rotary ones turn queries and keys instead
    x_n = layer_n(x_{n-1})              N layers of attention and feed-forward networks, `layers.py`
    h   = norm(x_N)                     with norm_position="pre"; as published x_N

`TransformerModel` is an encoder, in which each token sees the whole text (`bidirectional`), or a decoder, in which it
sees what precedes it; with the same weights it equals `torch.nn.TransformerEncoder`, and GPT-2. Attention, masks and
positions are in `attention.py`, encoder and decoder together in `transformer_seq2seq.py`.

Where the paper says nothing or we differ: "pre" is the default, which trains without a warm-up that must be tuned
(Xiong et al. 2020), and then needs one more norm at the end; GELU; dropout on the attention weights. The paper does
not say how weights are initialised; ours are Xavier's uniform, as in `torch.nn.Transformer`, and of standard deviation
D^-0.5 for words, which sqrt(D) brings to 1.

Padding takes no position and is seen by nobody, so that a text's outputs are the same with padding on either side.

Shapes: B batch, T time, D width, H heads, S keys.
"""

import copy
import math
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import GenerationMixin
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import TransformersKwargs
from transformers.utils.output_capturing import OutputRecorder, capture_outputs
from typing_extensions import Unpack

from ..base import SequencePreTrainedModel, is_loaded
from ..calls import (
    CACHE_NAMES,
    READ_BY_ATTENTION,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithPast,
    model_call,
    with_cache,
)
from ..heads.causal_lm import CausalLMMixin, LanguageKwargs
from ..heads.classification import SequenceClassificationMixin
from ..heads.joint import IntentAndSlotsMixin
from ..heads.masked_lm import MaskedLMMixin
from ..heads.series import SeriesPredictionMixin
from ..heads.tagging import TokenClassificationMixin
from ..inputs import at_least_one_token, embed_with_word_dropout, mask_of_inputs
from ..values import ValueEmbedding, as_vectors
from .attention import (
    Attend,
    LastLinear,
    Mask,
    MultiHeadAttention,
    Rotation,
    attention_mask_for,
    check_positions,
    dot_product_attention,
    positions_in,
    positions_of,
    rotation_of,
    sinusoids,
)
from .layers import Attending, FeedForward, TransformerLayer
from .transformer_config import TransformerConfig


class TransformerPreTrainedModel(SequencePreTrainedModel):
    """Initialisation; what transformers needs to know of a transformer."""

    config: TransformerConfig
    supports_gradient_checkpointing = True
    _no_split_modules = ["TransformerLayer"]
    _skip_keys_device_placement = list(CACHE_NAMES)
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True
    _can_compile_fullgraph = True
    read_by_layers = READ_BY_ATTENTION | {"position_ids"}
    _can_record_outputs = {
        "hidden_states": TransformerLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attention"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attention"),
    }

    # What bidirectional=None means.
    _reads_ahead: ClassVar[bool | None] = True
    has_memory = False

    def __init__(self, config: TransformerConfig, *args: Any, **kwargs: Any) -> None:
        if config.bidirectional is None and self._reads_ahead is not None:
            # A copy: the caller may make another model with this config.
            config = copy.copy(config)
            config.bidirectional = self._reads_ahead
        super().__init__(config, *args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise products by Xavier's uniform; with "pre", smaller where sub-layers add up (as GPT-2 does)."""
        if isinstance(module, nn.Embedding):
            given = self.config.initializer_range
            init.normal_(module.weight, std=self.config.hidden_size**-0.5 if given is None else float(given))
            # The padding row is zero, as torch makes it; `normal_` has just overwritten it.
            if module.padding_idx is not None and not is_loaded(module.weight):
                module.weight[module.padding_idx] = 0.0
            return
        super()._init_weights(module)
        # Each of the 2 N sums adds variance; GPT-2 divides by the root of their number, so that depth does not add up.
        if isinstance(module, LastLinear) and self.config.norm_position == "pre":
            sublayers = (3 if self.has_memory else 2) * self.config.num_hidden_layers
            init.xavier_uniform_(module.weight, gain=sublayers**-0.5)


class TransformerModel(TransformerPreTrainedModel):
    """Words and positions, then the layers, no head.

    Args:
        config: Its configuration.
        has_memory: Whether it is the decoder beside an encoder: with cross-attention in each layer.
        has_words: Whether it has embeddings of its own; a decoder has none where the encoder embeds its words too.
    """

    def __init__(self, config: TransformerConfig, *, has_memory: bool = False, has_words: bool = True) -> None:
        super().__init__(config)
        config = self.config
        self.embed_tokens = self.embed_values = None
        if config.feature_size is not None:
            self.embed_values = ValueEmbedding(config.feature_size, config.hidden_size)
        elif has_words:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.embed_positions = (
            nn.Embedding(config.max_position_embeddings, config.hidden_size)
            if config.position_embedding_type == "learned"
            else None
        )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(
            self._make_layer(layer_idx, has_memory) for layer_idx in range(config.num_hidden_layers)
        )
        self.norm = self._make_norm() if config.norm_position == "pre" else nn.Identity()
        self.has_memory, self.gradient_checkpointing = has_memory, False
        self.post_init()
        self.freeze_parameters()

    def _make_norm(self) -> nn.Module:
        config = self.config
        if config.norm == "rms_norm":
            return nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.bias)

    def _make_layer(self, layer_idx: int, has_memory: bool) -> TransformerLayer:
        config = self.config
        make_attention = partial(
            MultiHeadAttention,
            hidden_size=config.hidden_size,
            num_attention_heads=config.num_attention_heads,
            bias=config.bias,
            dropout=config.attention_dropout,
            layer_idx=layer_idx,
            config=config,
        )
        return TransformerLayer(
            self_attention=make_attention(is_causal=not config.bidirectional),
            cross_attention=make_attention(is_causal=False) if has_memory else None,
            feed_forward=FeedForward(
                hidden_size=config.hidden_size,
                intermediate_size=config.intermediate_size,
                hidden_act=config.hidden_act,
                bias=config.bias,
                dropout=config.activation_dropout,
            ),
            make_norm=self._make_norm,
            pre_norm=config.norm_position == "pre",
            dropout=config.hidden_dropout,
        )

    def freeze_parameters(self) -> None:
        """Freeze the embeddings if the config says so."""
        if self.embed_tokens is not None:
            self.embed_tokens.weight.requires_grad_(not self.config.freeze_embeddings)

    def embed(self, input_ids: torch.Tensor | None) -> torch.Tensor:
        """Map (B, T) ids to (B, T, D) vectors, as `inputs_embeds` takes them."""
        if self.embed_tokens is None or input_ids is None:
            raise ValueError("A decoder beside an encoder has no words of its own: give it inputs_embeds.")
        dropout = self.config.embedding_dropout if self.training else 0.0
        return embed_with_word_dropout(self.embed_tokens, input_ids, dropout, of_target=self.has_memory)

    def _cache(self, cache: Cache | None, use_cache: bool | None) -> Cache | None:
        """Return the cache to fill: the given one, a new one, or None."""
        if not self._wants_cache(cache, use_cache):
            return None
        if cache is not None:
            return cache
        cache = DynamicCache(config=self.config)
        return EncoderDecoderCache(cache, DynamicCache(config=self.config)) if self.has_memory else cache

    def _with_positions(self, words: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return x_0, (B, T, D), from words (B, T, D) and positions (B or 1, T)."""
        config = self.config
        if self.embed_positions is not None:
            check_positions(positions, config.max_position_embeddings)
            words = words + self.embed_positions(positions)
        if config.scale_embedding:
            # Learned positions too, unlike the paper's fixed ones: beside scaled words they would hardly count.
            words = words * math.sqrt(config.hidden_size)
        if config.position_embedding_type == "sinusoidal":
            words = words + sinusoids(positions, config.hidden_size).to(words.dtype)
        return self.dropout(words)

    @model_call()
    @capture_outputs
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        # Not called kwargs: `generate` would hand an encoder whatever it holds.
        **others: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Run the texts through the layers.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, S), 1 for real tokens, with those read before where there is a cache; None: all are
                real. Or (B, 1, T, S), made for `attn_implementation`.
            position_ids: (B, T) the place of each token; by default they count the real tokens. A decoder without
                mask and cache may be given several texts in one row, each from 0 on, which do not see each other; it
                then returns no cache unless `use_cache` asks for it.
            cache: Keys and values to continue from, as an earlier call returned them.
            inputs_embeds: (B, T, D) vectors instead of `input_ids`, before they are scaled.
            use_cache: Return keys and values.
            encoder_hidden_states: (B, S, D) the memory, for a decoder beside an encoder.
            encoder_attention_mask: (B, S), 1 for the real tokens of the memory.
            input_values: (B, T, F) numbers instead of `input_ids`, of a model with `feature_size`.
            **others: `output_attentions`, `output_hidden_states`, `return_dict`, and what attention functions take.

        Returns:
            `last_hidden_state` (B, T, D), zero at padding that a mask (B, S) marks; `cache`, and `attentions`
            (B, H, T, S) and `cross_attentions` of each layer, when asked for, whatever `attn_implementation` is.
        """
        # 1. Embed the words, (B, T, D). A text without tokens becomes one masked column.
        inputs_embeds = as_vectors(self, input_ids, inputs_embeds, input_values, attention_mask)
        words, attention_mask, is_empty = self._words(input_ids, attention_mask, inputs_embeds)
        # 2. Find the keys and values to continue from. Several texts in one row have no common past to return.
        if position_ids is not None and attention_mask is None and use_cache is None:
            use_cache = False
        continues, cache = cache is not None, self._cache(cache, use_cache)
        past = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
        # 3. If there is nothing more to read, return at once: nothing may be added to the keys.
        if is_empty and continues:
            return BaseModelOutputWithPastAndCrossAttentions(torch.zeros_like(words), **with_cache(cache))
        # 4. Find the real tokens, (B, S).
        real = _real_tokens(words, attention_mask, past)
        # 5. Number them: padding takes no position.
        positions = _positions(words, attention_mask, past) if position_ids is None else position_ids
        # 6. Say who sees whom, in the form that the attention function takes.
        attend = self._attention_function(bool(others.get("output_attentions", self.config.output_attentions)))
        how = Attending(
            attend,
            mask=self._mask(words, attention_mask, position_ids, past, is_eager=attend is dot_product_attention),
            memory_mask=self._memory_mask(words, encoder_hidden_states, encoder_attention_mask, attend),
            rotation=self._rotation(positions),
            position_ids=position_ids,
        )
        # 7. Add positions to the words.
        hidden_states = self._with_positions(words, positions)
        # 8. Run the layers. The memory is not part of `how`: checkpointing finds gradients in arguments alone.
        for layer in self.layers:
            hidden_states = layer(hidden_states, how, encoder_hidden_states, cache=cache, **others)
        # 9. Normalise once more: with "pre", what the layers add up has not been.
        hidden_states = self.norm(hidden_states)
        # 10. Blank the padding, so that sums over a text are right.
        if real is not None:
            hidden_states = hidden_states.masked_fill(real[:, -words.shape[1] :, None] == 0, 0.0)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden_states, **with_cache(cache))

    def _words(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, bool]:
        """Return the words' vectors, the mask, and whether the texts have no token at all."""
        given = input_ids if inputs_embeds is None else inputs_embeds
        is_empty = given is not None and given.shape[1:2] == (0,)
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        return self.embed(input_ids) if inputs_embeds is None else inputs_embeds, attention_mask, is_empty

    def _attention_function(self, keeps_weights: bool) -> Attend:
        """Choose how to attend; only `dot_product_attention` keeps the attention weights."""
        name: Any = self.config._attn_implementation
        return dot_product_attention if keeps_weights or name == "eager" else ALL_ATTENTION_FUNCTIONS[name]

    def _rotation(self, positions: torch.Tensor) -> Rotation | None:
        config = self.config
        if config.position_embedding_type != "rotary":
            return None
        return rotation_of(positions, config.hidden_size // config.num_attention_heads, config.rope_theta)

    def _mask(
        self,
        words: torch.Tensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        past: Cache | None,
        *,
        is_eager: bool,
    ) -> Mask:
        """Say who sees whom in the text, in the form that the attention function takes."""
        if not is_eager:
            if self.config.bidirectional:
                return create_bidirectional_mask(self.config, words, attention_mask)
            return create_causal_mask(self.config, words, attention_mask, past, position_ids)
        if attention_mask is not None and attention_mask.dim() == 4:
            if attention_mask.dtype != torch.bool and not attention_mask.is_floating_point():
                raise ValueError(
                    "attention_mask (B, 1, T, S) must be bool, or numbers that are added to the scores, got "
                    f"{attention_mask.dtype}: call .bool()."
                )
            return attention_mask
        steps = words.shape[1]
        return attention_mask_for(
            attention_mask,
            position_ids if attention_mask is None and past is None else None,
            queries=steps,
            keys=steps if past is None else past.get_mask_sizes(steps, 0)[0],
            seen=0 if past is None else past.get_seq_length(),
            is_causal=not self.config.bidirectional,
            device=words.device,
        )

    def _memory_mask(
        self,
        words: torch.Tensor,
        memory: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        attend: Attend,
    ) -> Mask:
        """Say which tokens of the memory are seen, in the form that the attention function takes."""
        if memory is None:
            return None
        if attend is not dot_product_attention or (attention_mask is not None and attention_mask.dim() == 4):
            return create_bidirectional_mask(self.config, words, attention_mask, encoder_hidden_states=memory)
        queries, keys = words.shape[1], memory.shape[1]
        return attention_mask_for(attention_mask, queries=queries, keys=keys, is_causal=False, device=words.device)


def _real_tokens(words: torch.Tensor, attention_mask: torch.Tensor | None, past: Cache | None) -> torch.Tensor | None:
    """Return the mask (B, S) of real tokens; None where all are real, or a mask made for attention does not say."""
    if attention_mask is None or attention_mask.dim() == 4:
        return None
    batch, steps = words.shape[:2]
    # For its check of the shape; the mask itself covers the keys, those of earlier calls included.
    mask_of_inputs(attention_mask, batch, steps + (0 if past is None else past.get_seq_length()))
    return attention_mask


def _positions(words: torch.Tensor, attention_mask: torch.Tensor | None, past: Cache | None) -> torch.Tensor:
    """Return the place of each token among the real ones, (B or 1, T)."""
    seen = 0 if past is None else past.get_seq_length()
    if attention_mask is not None and attention_mask.dim() == 4:
        # `generate` made the mask, for a cache of fixed size.
        if past is not None and past.is_compileable:
            return positions_in(attention_mask, seen)
        attention_mask = None
    return positions_of(attention_mask, words.shape[1], seen, words.device)


class TransformerForMaskedLM(MaskedLMMixin, TransformerPreTrainedModel):
    """An encoder that fills in what was masked (Devlin et al. 2019)."""

    backbone_class = TransformerModel


class TransformerForSequenceClassification(SequenceClassificationMixin, TransformerPreTrainedModel):
    """A transformer with a classifier on its pooled outputs."""

    backbone_class = TransformerModel


class TransformerForTokenClassification(TokenClassificationMixin, TransformerPreTrainedModel):
    """A transformer with a classifier on the output at each token."""

    backbone_class = TransformerModel


class TransformerForIntentAndSlots(IntentAndSlotsMixin, TransformerPreTrainedModel):
    """A transformer with two heads: the intent of a text, and the slot of each token."""

    backbone_class = TransformerModel


class TransformerForCausalLM(CausalLMMixin, TransformerPreTrainedModel, GenerationMixin):
    """A decoder as a language model."""

    backbone_class = TransformerModel
    _reads_ahead = False

    @model_call("shift_labels")
    def forward(  # type: ignore[misc]  # transformers lists parameters too; `generate` finds `position_ids` by name
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[LanguageKwargs],
    ) -> CausalLMOutputWithPast:
        """Do as `CausalLMMixin.forward`; `attention_mask` and `position_ids` are those of the backbone's forward."""
        return super().forward(
            input_ids,
            attention_mask,
            cache,
            inputs_embeds,
            labels,
            use_cache,
            logits_to_keep,
            num_items_in_batch,
            position_ids=position_ids,
            **kwargs,
        )

    def _prepare_position_ids_for_generation(self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]) -> Any:
        """Do as transformers, but number tokens written behind padding from the last real token on."""
        mask = model_kwargs.get("attention_mask")
        if mask is None:
            return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        return positions_of(mask, mask.shape[1], 0, mask.device)


class TransformerForSeriesPrediction(SeriesPredictionMixin, TransformerPreTrainedModel):
    """A decoder that says what comes next in a series of numbers."""

    backbone_class = TransformerModel
    _reads_ahead = False


__all__ = [
    "TransformerConfig",
    "TransformerForCausalLM",
    "TransformerForIntentAndSlots",
    "TransformerForMaskedLM",
    "TransformerForSequenceClassification",
    "TransformerForSeriesPrediction",
    "TransformerForTokenClassification",
    "TransformerModel",
]
