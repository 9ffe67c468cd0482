"""The transformer (Vaswani et al. 2017), as encoder and as decoder.

    x_0 = sqrt(D) E[w] + P[p]           words and sinusoidal positions; learned ones are scaled as words are, and
                                        rotary ones turn queries and keys instead
    x_n = layer_n(x_{n-1})              N layers of attention and feed-forward networks, `layers.py`
    h   = norm(x_N)                     with norm_position="pre"; as published x_N

`TransformerModel` is an encoder, in which each token sees the whole text (`bidirectional`), or a decoder, in which it
sees what precedes it; with the same weights it equals `torch.nn.TransformerEncoder`, and GPT-2. Attention, masks and
positions are in `attention.py`, encoder and decoder together in `transformer_seq2seq.py`.

Where the paper says nothing or we differ: "pre" is the default, which trains without a warm-up that must be tuned
(Xiong et al. 2020), and then needs one more norm at the end; GELU; dropout on the shares of attention. The paper does
not tell how weights begin; ours are Xavier's uniform, as in `torch.nn.Transformer`, and of standard deviation D^-0.5
for words, which sqrt(D) brings to 1.

Padding takes no position and is seen by nobody, so that a text's outputs are the same with padding on either side.

Shapes: B batch, T time, D width, H heads, S keys.
"""

import copy
import math
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import GenerationMixin
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import TransformersKwargs
from transformers.utils.output_capturing import OutputRecorder, capture_outputs
from typing_extensions import Unpack

from ..base import SequencePreTrainedModel, at_least_one_token, is_loaded, look_up, own_columns
from ..calls import (
    CACHE_NAMES,
    READ_BY_ATTENTION,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithPast,
    model_call,
    with_cache,
)
from ..configs import SequenceConfig, bounded, share
from ..heads.causal_lm import CausalLMMixin, LanguageKwargs, check_output_weights
from ..heads.classification import SequenceClassificationMixin
from ..heads.masked_lm import MaskedLMMixin
from ..heads.tagging import TokenClassificationMixin
from .attention import (
    LastLinear,
    Mask,
    MultiHeadAttention,
    check_positions,
    dot_product_attention,
    positions_in,
    positions_of,
    rotation_of,
    sinusoids,
    visible,
)
from .layers import FeedForward, TransformerLayer


@strict
class TransformerConfig(SequenceConfig):
    """Configuration of encoder and decoder.

    Args:
        vocab_size: Number of token ids.
        hidden_size: D, of words, positions and every layer's output.
        num_hidden_layers: N.
        num_attention_heads: H, which divides D.
        intermediate_size: Width inside the feed-forward network; None: 4 D, or for "swiglu" as many parameters.
        hidden_act: "relu" (the paper), "gelu", or "swiglu", whose third matrix is a gate (Shazeer 2020).
        norm: "layer_norm", or "rms_norm", which does not subtract the mean (Zhang and Sennrich 2019).
        norm_position: "pre" or "post", see the equations.
        norm_eps: Added to the variance.
        position_embedding_type: "sinusoidal" (the paper), "learned" or "rotary".
        max_position_embeddings: The longest text that learned positions are made for; for the others, which take any,
            the longest that the model was trained on.
        rope_theta: Base of rotary positions.
        bias: Whether products and layer norms add a bias.
        scale_embedding: Multiply the words' vectors, and learned positions, by sqrt(D). With tied weights a model then
            begins by expecting each word once more, and unlearns it in its first steps.
        embedding_dropout: Share of the vocabulary blanked per batch (all occurrences of a word at once).
        hidden_dropout: Dropout on the sum of words and positions, and on what each sub-layer adds.
        attention_dropout: Dropout on the shares of attention.
        activation_dropout: Dropout inside the feed-forward network.
        bidirectional: Whether each token sees the whole text, or only what precedes it; None: as the model needs it
            that is made of this config, `TransformerForCausalLM` the second, all others the first.
        pooling: How a text's outputs become one vector, see `heads.SequencePooling`.
        classifier_dropout: Dropout before the classifier.
        freeze_embeddings: Keep the embedding matrix as it is (pretrained vectors).
        initializer_range: Standard deviation of the words' vectors, and of learned positions; None: D^-0.5.
        tie_word_embeddings: A language model's output weights are its embeddings, as in the paper.
        adaptive_softmax_cutoffs: As for recurrent models (`RecurrentConfig`).
        use_cache: Whether a decoder returns keys and values when a call does not say so.
    """

    model_type = "hfseq_transformer"
    keys_to_ignore_at_inference = list(CACHE_NAMES)
    attribute_map = {"embedding_size": "hidden_size"}

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    hidden_size: int = bounded(128, 1, 65_536)
    num_hidden_layers: int = bounded(4, 1, 256)
    num_attention_heads: int = bounded(4, 1, 1_024)
    intermediate_size: int | None = bounded(None, 1, 1_000_000)
    hidden_act: Literal["relu", "gelu", "swiglu"] = "gelu"
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    norm_position: Literal["pre", "post"] = "pre"
    norm_eps: float | int = bounded(1e-5, 0.0, 1.0)
    position_embedding_type: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    max_position_embeddings: int = bounded(512, 1, 10_000_000)
    rope_theta: float | int = bounded(10_000.0, 1.0, 1e9)
    bias: bool = True
    scale_embedding: bool = True
    embedding_dropout: float | int = share(0.0)
    hidden_dropout: float | int = share(0.1)
    attention_dropout: float | int = share(0.1)
    activation_dropout: float | int = share(0.0)
    bidirectional: bool | None = None
    pooling: Literal["last", "mean", "max", "attention", "mean_max"] = "mean"
    classifier_dropout: float | int = share(0.1)
    freeze_embeddings: bool = False
    initializer_range: float | int | None = bounded(None, 0.0, 10.0)
    tie_word_embeddings: bool = True
    adaptive_softmax_cutoffs: list[int] | None = None
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def validate_heads(self) -> None:
        """Heads share the width, and sines and cosines come in pairs."""
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} does not divide hidden_size={self.hidden_size}"
            )
        width = self.hidden_size // (self.num_attention_heads if self.position_embedding_type == "rotary" else 1)
        if self.position_embedding_type != "learned" and width % 2:
            raise ValueError(
                f"position_embedding_type={self.position_embedding_type!r} needs an even width, but hidden_size="
                f"{self.hidden_size} and num_attention_heads={self.num_attention_heads} make it {width}"
            )

    def validate_output_weights(self) -> None:
        """The cuts of an adaptive softmax, which tied weights do not go with, lie in order inside the vocabulary."""
        check_output_weights(self)

    @property
    def output_size(self) -> int:
        """D, the width of `last_hidden_state`."""
        return self.hidden_size

    @property
    def has_backward_half(self) -> bool:
        """No half of an output was read backward: each part of it has seen what the token sees."""
        return False


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

    _reads_ahead: ClassVar[bool | None] = True  # what bidirectional=None means
    has_memory = False

    def __init__(self, config: TransformerConfig, *args: Any, **kwargs: Any) -> None:
        if config.bidirectional is None and self._reads_ahead is not None:
            config = copy.copy(config)  # the caller may make another model of it
            config.bidirectional = self._reads_ahead
        super().__init__(config, *args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Xavier's uniform for products; in "pre" smaller where the sub-layers add up (Radford et al. 2019)."""
        if isinstance(module, nn.Embedding):
            given = self.config.initializer_range
            init.normal_(module.weight, std=self.config.hidden_size**-0.5 if given is None else float(given))
            if module.padding_idx is not None and not is_loaded(module.weight):
                module.weight[module.padding_idx] = 0.0
            return
        super()._init_weights(module)
        if isinstance(module, LastLinear) and self.config.norm_position == "pre":
            sublayers = (3 if self.has_memory else 2) * self.config.num_hidden_layers
            init.xavier_uniform_(module.weight, gain=sublayers**-0.5)


class TransformerModel(TransformerPreTrainedModel):
    """Words and positions, then the layers, no head.

    Args:
        config: Its configuration.
        has_memory: Whether it is the decoder beside an encoder: with cross-attention in each layer, and without words
            of its own, which the encoder embeds.
    """

    def __init__(self, config: TransformerConfig, *, has_memory: bool = False) -> None:
        super().__init__(config)
        config = self.config
        self.embed_tokens = (
            None if has_memory else nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        )
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
        """The embeddings, when the config freezes them."""
        if self.embed_tokens is not None:
            self.embed_tokens.weight.requires_grad_(not self.config.freeze_embeddings)

    def embed(self, input_ids: torch.Tensor | None) -> torch.Tensor:
        """(B, T) -> (B, T, D), as `inputs_embeds` takes them."""
        if self.embed_tokens is None or input_ids is None:
            raise ValueError("A decoder beside an encoder has no words of its own: give it inputs_embeds.")
        return look_up(self.embed_tokens, input_ids, self.config.embedding_dropout if self.training else 0.0)

    def _cache(self, cache: Cache | None, use_cache: bool | None) -> Cache | None:
        if not self._goes_on(cache, use_cache):
            return None
        if cache is not None:
            return cache
        cache = DynamicCache(config=self.config)
        return EncoderDecoderCache(cache, DynamicCache(config=self.config)) if self.has_memory else cache

    def _with_positions(self, words: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """x_0: (B, T, D) words and (B or 1, T) positions -> (B, T, D)."""
        config = self.config
        if self.embed_positions is not None:
            check_positions(positions, config.max_position_embeddings)
            words = words + self.embed_positions(positions)
        if config.scale_embedding:  # learned positions too, which would take long to be heard beside scaled words
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
        # Not called kwargs: `generate` would hand an encoder whatever it holds.
        **others: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Run the texts through the layers.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, S), 1 for real tokens, of those read before as well where there is a cache; all real
                without it. Or (B, 1, T, S), made for `attn_implementation`.
            position_ids: (B, T) the place of each token; by default they count the real tokens. Given to a decoder
                without mask and cache, a row may hold several texts, each from 0 on, which do not see each other; no
                cache is returned then unless `use_cache` asks for it.
            cache: Keys and values to go on from, as an earlier call returned them.
            inputs_embeds: (B, T, D) vectors instead of `input_ids`, before they are scaled.
            use_cache: Return keys and values.
            encoder_hidden_states: (B, S, D) the memory, of a decoder beside an encoder.
            encoder_attention_mask: (B, S), 1 for the real tokens of the memory.
            **others: `output_attentions`, `output_hidden_states`, `return_dict`, and what attention functions take.

        Returns:
            `last_hidden_state` (B, T, D), zero at padding that a mask (B, S) tells; `cache`, and
            `attentions` (B, H, T, S) and `cross_attentions` of each layer, when asked for, whatever
            `attn_implementation` is.
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        is_empty = given is not None and given.shape[1:2] == (0,)
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        words = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        batch, steps = words.shape[:2]
        if position_ids is not None and attention_mask is None and use_cache is None:
            use_cache = False  # several texts in a row have not one past
        goes_on, cache = cache is not None, self._cache(cache, use_cache)
        if is_empty and goes_on:  # nothing more to read: nothing may be added to the keys
            return BaseModelOutputWithPastAndCrossAttentions(torch.zeros_like(words), **with_cache(cache))
        seen = 0 if cache is None else cache.get_seq_length()
        real = None if attention_mask is None or attention_mask.dim() == 4 else attention_mask
        if real is not None:
            own_columns(real, batch, seen + steps)  # which names a mask that does not fit
        # Only `dot_product_attention` keeps the shares.
        is_eager = self.config._attn_implementation == "eager" or bool(
            others.get("output_attentions", self.config.output_attentions)
        )
        attend = dot_product_attention if is_eager else ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        past = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
        mask, memory_mask = self._mask(words, attention_mask, position_ids, past, is_eager=is_eager), None
        if encoder_hidden_states is not None:
            memory_mask = self._memory_mask(words, encoder_hidden_states, encoder_attention_mask, is_eager=is_eager)
        positions = position_ids
        if positions is None and real is not attention_mask and past is not None and past.is_compileable:
            # `generate` made the mask, for a cache of fixed size.
            positions = positions_in(cast(torch.Tensor, attention_mask), seen)
        elif positions is None:
            positions = positions_of(real, steps, seen, words.device)
        hidden_states = self._with_positions(words, positions)
        rotation = None
        if self.config.position_embedding_type == "rotary":
            head_size = self.config.hidden_size // self.config.num_attention_heads
            rotation = rotation_of(positions, head_size, self.config.rope_theta)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                attend,
                mask,
                rotation,
                encoder_hidden_states,
                memory_mask,
                cache=cache,
                position_ids=position_ids,
                **others,
            )
        hidden_states = self.norm(hidden_states)
        if real is not None:
            hidden_states = hidden_states.masked_fill(real[:, -steps:, None] == 0, 0.0)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden_states, **with_cache(cache))

    def _mask(
        self,
        words: torch.Tensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        past: Cache | None,
        *,
        is_eager: bool,
    ) -> Mask:
        """Who sees whom in the text, in the form that the way of attending takes."""
        if not is_eager:
            if self.config.bidirectional:
                return create_bidirectional_mask(self.config, words, attention_mask)
            return create_causal_mask(self.config, words, attention_mask, past, position_ids)
        if attention_mask is not None and attention_mask.dim() == 4:
            if attention_mask.dtype != torch.bool and not attention_mask.is_floating_point():
                raise ValueError(
                    f"a mask (B, 1, T, S) says True or False, or is added to the scores, got {attention_mask.dtype}: "
                    "call .bool()."
                )
            return attention_mask
        steps = words.shape[1]
        return visible(
            attention_mask,
            position_ids if attention_mask is None and past is None else None,
            queries=steps,
            keys=steps if past is None else past.get_mask_sizes(steps, 0)[0],
            seen=0 if past is None else past.get_seq_length(),
            is_causal=not self.config.bidirectional,
            device=words.device,
        )

    def _memory_mask(
        self, words: torch.Tensor, memory: torch.Tensor, attention_mask: torch.Tensor | None, *, is_eager: bool
    ) -> Mask:
        """Which of the memory everybody sees, likewise."""
        if not is_eager or (attention_mask is not None and attention_mask.dim() == 4):
            return create_bidirectional_mask(self.config, words, attention_mask, encoder_hidden_states=memory)
        queries, keys = words.shape[1], memory.shape[1]
        return visible(attention_mask, queries=queries, keys=keys, is_causal=False, device=words.device)


class TransformerForMaskedLM(MaskedLMMixin, TransformerPreTrainedModel):
    """An encoder that fills in what was masked (Devlin et al. 2019)."""

    backbone_class = TransformerModel


class TransformerForSequenceClassification(SequenceClassificationMixin, TransformerPreTrainedModel):
    """A transformer with a classifier on its pooled outputs."""

    backbone_class = TransformerModel


class TransformerForTokenClassification(TokenClassificationMixin, TransformerPreTrainedModel):
    """A transformer with a classifier on the output at each token."""

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
        """As `CausalLMMixin.forward`, with `attention_mask` and `position_ids` as of `TransformerModel.forward`."""
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
        """As transformers', but what is written behind padding goes on from the last real token's place."""
        mask = model_kwargs.get("attention_mask")
        if mask is None:
            return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        return positions_of(mask, mask.shape[1], 0, mask.device)


__all__ = [
    "TransformerConfig",
    "TransformerForCausalLM",
    "TransformerForMaskedLM",
    "TransformerForSequenceClassification",
    "TransformerForTokenClassification",
    "TransformerModel",
]
