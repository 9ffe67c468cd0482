"""An image encoder, and a recurrent decoder that writes what is to be seen (Vinyals et al. 2015; Xu et al. 2015).

    f_1 ... f_R = vision(image)                 one vector a region, from a network of transformers, or stored features
    m_r = W_f f_r + b_f + p_r                   the memory; p_r tells the place of the region, with num_regions
    z = mean_r m_r
    s_0 = tanh(W_s z + b_s)                     the bridge, for each state of each layer of the decoder
    h_t, s_t = cell(E y_{t-1}, s_{t-1})
    alpha_t, c_t = attention(h_t, m)            `decoder_attention.py`: dot, general, additive, multi_head
    a_t = tanh(W_c [c_t; h_t])                  without attention a_t = h_t
    P(y_t | y_1 ... y_{t-1}, image) = softmax(W_out a_t + b_out)

    attention="none"    Show and Tell: the image is seen once, before the first word
    attention=...       Show, Attend and Tell: each word looks at the regions

Decoder, bridge and attention are those of `seq2seq.py`, and so are their options. Where we differ: Vinyals et al. let
the image be the first word that the decoder reads, where here it makes the first states, as Xu et al. have it; these
score with the state before a step, and we with the output behind it (`decoder_attention.py`).

Shapes: B batch, R regions, F width of a region's vector, T target tokens, E embedding, H hidden, V vocabulary.
"""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import MODEL_MAPPING, AutoBackbone, AutoModel, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import load_with_weights_checked
from ..calls import Seq2SeqLMOutput, Seq2SeqModelOutput, model_call
from ..heads.conditional_generation import ConditionalGenerationMixin, Seq2SeqKwargs
from ..inputs import can_be_checked, none_if_all
from .backbone import RecurrentPreTrainedModel
from .captioner_config import CaptionerConfig
from .decoder import Seq2SeqDecoder
from .decoding import DecodingMixin, Encoded, SamplingMixin, Seq2SeqEncoderOutput


class CaptionerPreTrainedModel(RecurrentPreTrainedModel):
    """Base of the classes that describe images."""

    config: CaptionerConfig
    main_input_name = "image_features"
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = False
    _can_record_outputs: dict[str, Any] = {}
    read_by_layers = frozenset()

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        # `generate` asks the model, and what it reads depends on the config.
        self.main_input_name = "image_features" if config.vision_config is None else "pixel_values"

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """Save as every model, the weights under the names that they have here.

        transformers would write those of the image encoder under names of its older releases.
        """
        kwargs.setdefault("save_original_format", False)
        return super().save_pretrained(*args, **kwargs)


class CaptionerEncoder(CaptionerPreTrainedModel):
    """An image encoder, if there is one, and the layer that makes the memory."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.vision = None if config.vision_config is None else _make_vision(config)
        assert config.feature_size is not None  # checked by the config
        self.projection = nn.Linear(config.feature_size, config.hidden_size)
        self.places = None if config.num_regions is None else nn.Embedding(config.num_regions, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.post_init()
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Freeze the image encoder if the config says so."""
        if self.vision is not None:
            self.vision.requires_grad_(not self.config.freeze_vision)

    def train(self, mode: bool = True) -> "CaptionerEncoder":
        """Train or not; an image encoder that is frozen stays as it answers, its averages of batches too."""
        super().train(mode)
        if self.vision is not None and self.config.freeze_vision:
            self.vision.eval()
        return self

    def regions(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return what the image encoder makes of images, (B, channels, height, width): (B, R, F), row by row."""
        found = self._maps(pixel_values)
        return found.flatten(2).transpose(1, 2) if found.dim() == 4 else found

    def grid(self, pixel_values: torch.Tensor) -> tuple[int, int] | None:
        """Return height and width of the grid of regions of such images; None where the encoder gives a list."""
        found = self._maps(pixel_values)
        return (found.shape[2], found.shape[3]) if found.dim() == 4 else None

    def _maps(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return the encoder's output: a grid (B, F, height, width) or a list (B, R, F)."""
        if self.vision is None:
            raise ValueError("This captioner has no image encoder (vision_config=None): give it image_features.")
        if pixel_values.dim() != 4:
            alone = " One image is a batch of one: pixel_values[None]." if pixel_values.dim() == 3 else ""
            raise ValueError(
                "pixel_values must be of shape (images, channels, height, width), got "
                f"{tuple(pixel_values.shape)}.{alone}"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_vision):
            outputs = self.vision(pixel_values.to(self.vision.dtype), return_dict=True)
        maps = outputs.get("feature_maps")
        found: torch.Tensor = outputs.last_hidden_state if maps is None else maps[-1]
        return found

    @model_call()
    @can_return_tuple
    def forward(
        self,
        image_features: torch.Tensor | None = None,
        image_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        # Not called kwargs: `generate` would hand an encoder whatever it holds.
        **others: Unpack[TransformersKwargs],
    ) -> Seq2SeqEncoderOutput:
        """Look at the images.

        Args:
            image_features: (B, R, F).
            image_mask: (B, R), 1 for real regions; all real without it.
            pixel_values: (B, channels, height, width) instead of `image_features`.
            **others: `return_dict`.
        """
        # 1. Find the vectors of the regions, (B, R, F).
        if (image_features is None) == (pixel_values is None):
            raise ValueError(
                "Give exactly one of image_features and pixel_values: this captioner reads "
                f"{self.main_input_name}{'' if self.vision is None else ', or image_features of its own regions'}."
            )
        features = (
            self.regions(pixel_values) if image_features is None and pixel_values is not None else image_features
        )
        assert features is not None
        _check_shape(features, self.projection.in_features)
        real = _real_regions(features, image_mask)
        if real is not None:  # what stands there may be anything, NaN too, whose gradient would be NaN
            features = features.masked_fill(~real[..., None], 0.0)
        _check_finite(features)
        # 2. Make the memory of them, zero at padding, and their mean.
        memory = self.projection(features.to(self.projection.weight.dtype))
        if self.places is not None:
            memory = memory + self.places(_places(features, real, self.places.num_embeddings))
        if real is None:
            mean = memory.mean(1)
        else:
            memory = memory.masked_fill(~real[..., None], 0.0)
            mean = memory.sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        final_states = self.dropout(mean)[:, None, None].expand(-1, 1, self.config.num_states, -1)
        return Seq2SeqEncoderOutput(self.dropout(memory), final_states)


class CaptionerModel(DecodingMixin, CaptionerPreTrainedModel):
    """Image encoder and decoder, no head."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.encoder = CaptionerEncoder(config)
        self.decoder = Seq2SeqDecoder(config)
        self.post_init()
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Freeze what the config says to freeze."""
        self.encoder.freeze_parameters()
        self.get_input_embeddings().weight.requires_grad_(not self.config.freeze_embeddings)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the vectors of the words."""
        words = self.decoder.embed_tokens
        assert words is not None
        return words

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the vectors of the words."""
        assert isinstance(value, nn.Embedding)
        self.decoder.embed_tokens = value
        self.config.vocab_size = value.get_parameter("weight").shape[0]

    @model_call("sampler")
    @can_return_tuple
    def forward(
        self,
        image_features: torch.Tensor | None = None,
        image_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: Seq2SeqEncoderOutput | tuple[torch.Tensor, ...] | None = None,
        cache: Cache | None = None,
        pixel_values: torch.Tensor | None = None,
        decoder_inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> Seq2SeqModelOutput:
        """Look at the images, and read the beginnings of the captions.

        Args:
            image_features: (B, R, F) vectors of regions.
            image_mask: (B, R), 1 for real regions.
            decoder_input_ids: (B, T) caption tokens so far, from `decoder_start_token_id` on; with a cache those that
                are new.
            decoder_attention_mask: (B, T), 1 for real tokens, of those read before as well where there is a cache.
            encoder_outputs: What an earlier call made of the images, instead of them.
            cache: The decoder's state after earlier tokens.
            pixel_values: (B, channels, height, width) instead of `image_features`, with a `vision_config`.
            decoder_inputs_embeds: (B, T, E) instead of `decoder_input_ids`.
            use_cache: Return the state reached.
            **kwargs: `output_attentions`, `output_hidden_states`; `sampler`, by which scheduled sampling writes.

        Returns:
            `last_hidden_state` (B, T, H), which is a_t, `encoder_last_hidden_state` (B, R, H) and, when asked for,
            `cache`, the decoder's hidden states, and `cross_attentions`: one tensor (B, heads, T, R).
        """
        if encoder_outputs is None:
            encoder_outputs = self.encoder(image_features, image_mask, pixel_values, return_dict=True)
        encoded = Encoded.of(encoder_outputs)
        return self._decode(
            encoded,
            _real_regions(encoded.memory, image_mask),
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            decoder_inputs_embeds=decoder_inputs_embeds,
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )


class CaptionerForConditionalGeneration(
    SamplingMixin, ConditionalGenerationMixin, CaptionerPreTrainedModel, GenerationMixin
):
    """Image encoder and decoder, and the next token of the caption."""

    config: CaptionerConfig
    model: CaptionerModel
    _skips_behind_labels = True

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.model = CaptionerModel(config)
        self._add_head(config.hidden_size)
        self.post_init()

    @classmethod
    def from_vision_pretrained(cls, vision: Any, **config_overrides: Any) -> Any:
        """Make a captioner around a pretrained image encoder; its decoder is new.

        Args:
            vision: The folder or Hub id of an image encoder of transformers, or the model.
            **config_overrides: Fields of `CaptionerConfig`: `vocab_size`, `attention`, `freeze_vision` ...
        """
        given = vision if isinstance(vision, PreTrainedModel) else load_with_weights_checked(AutoModel, vision)
        model = cls(CaptionerConfig(vision_config=given.config, **config_overrides))
        own: Any = model.model.encoder.vision
        held = given.state_dict()
        if lacking := sorted(set(own.state_dict()) - set(held)):
            raise ValueError(
                f"{type(given).__name__} lacks {', '.join(lacking[:3])}, which {type(own).__name__} has: give the "
                "encoder as AutoModel loads it, and no vision_stage."
            )
        own.load_state_dict({name: held[name] for name in own.state_dict()})
        return model

    @model_call("decoder_inputs_embeds", "label_smoothing")
    @can_return_tuple
    def forward(
        self,
        image_features: torch.Tensor | None = None,
        image_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: Seq2SeqEncoderOutput | tuple[torch.Tensor, ...] | None = None,
        cache: Cache | None = None,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[Seq2SeqKwargs],
    ) -> Seq2SeqLMOutput:
        """Predict the next token of the caption at every position.

        Beside the arguments of the backbone's forward it takes `labels`, (B, T) the captions, with -100 for padding,
        which add `loss`; from labels alone it makes `decoder_input_ids`. The other arguments are those of
        `Seq2SeqForConditionalGeneration`.

        Returns:
            `logits` (B, T, V), `loss` where there are labels, and what the model without a head returns.
        """
        return self._predict(
            {"image_features": image_features, "image_mask": image_mask, "pixel_values": pixel_values},
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            cache=cache,
            labels=labels,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )


def _make_vision(config: CaptionerConfig) -> PreTrainedModel:
    """Build the image encoder: the stage that was asked for, or the whole without a part that nobody reads."""
    vision = config.vision_model_config()
    if config.vision_stage is not None:
        return AutoBackbone.from_config(vision)
    kind: Any = MODEL_MAPPING[type(vision)]
    parameters = inspect.signature(kind).parameters
    unread = {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}
    return AutoModel.from_config(vision, **unread)


def _check_shape(features: torch.Tensor, width: int) -> None:
    """Refuse what are no feature vectors of this width."""
    if features.dim() != 3:
        alone = " One image is a batch of one: image_features[None]." if features.dim() == 2 else ""
        raise ValueError(
            f"image_features must be of shape (images, regions, width), got {tuple(features.shape)}.{alone}"
        )
    batch, regions, given = features.shape
    if batch == 0 or regions == 0:
        raise ValueError(f"image_features of shape {tuple(features.shape)} hold no image, or no region of one.")
    if given != width:
        raise ValueError(
            f"image_features are {given} wide, and config.feature_size={width}: give features of the encoder that the "
            "model was trained with."
        )
    if not features.is_floating_point():
        raise ValueError(f"image_features must be floating-point numbers, got {features.dtype}.")


def _check_finite(features: torch.Tensor) -> None:
    """Refuse numbers that are none."""
    if can_be_checked(features) and not bool(features.isfinite().all()):
        row = int((~features.isfinite()).flatten(1).any(1).nonzero()[0])
        raise ValueError(f"image_features of image {row} hold NaN or infinite numbers: mend them, or leave it out.")


def _places(features: torch.Tensor, real: torch.Tensor | None, most: int) -> torch.Tensor:
    """Return (B, R), the number of each region among the real ones of its image."""
    batch, regions = features.shape[:2]
    if real is None:
        found, largest = torch.arange(regions, device=features.device).expand(batch, -1), regions
    else:
        found = (real.long().cumsum(1) - 1).clamp(min=0)
        largest = int(found.max()) + 1 if regions > most and can_be_checked(found) else 0
    if largest > most:
        raise ValueError(f"An image has {largest} regions, and config.num_regions={most}: give fewer.")
    return found


def _real_regions(vectors: torch.Tensor, image_mask: torch.Tensor | None) -> torch.Tensor | None:
    """Return (B, R), where a region is real; None: everywhere."""
    if image_mask is None:
        return None
    if image_mask.shape != vectors.shape[:2]:
        raise ValueError(
            f"image_mask of shape {tuple(image_mask.shape)} does not fit {vectors.shape[0]} images of "
            f"{vectors.shape[1]} regions."
        )
    if can_be_checked(image_mask) and not bool(((image_mask == 0) | (image_mask == 1)).all()):
        raise ValueError("image_mask must hold 1 for real regions and 0 for others, and nothing between.")
    mask = none_if_all(image_mask)
    if mask is None:
        return None
    real = mask.bool()
    if can_be_checked(mask) and not bool(real.any(1).all()):
        row = int((~real.any(1)).nonzero()[0])
        raise ValueError(f"image_mask says that image {row} has no real region: leave this image out.")
    return real


__all__ = ["CaptionerConfig", "CaptionerForConditionalGeneration", "CaptionerModel"]
