"""The configuration of a captioner; what each field computes is in `captioner.py`."""

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoBackbone, PreTrainedConfig

from ..calls import CACHE_NAMES
from ..configs import SequenceConfig, bounded, check_attention
from ..vocabularies import TargetConfig
from .decoder_config import RecurrentDecoderConfig

# What a config.json says of a model as a whole, and that means nothing in a part of another one.
_OF_STAGES = ("out_features", "out_indices", "_out_features", "_out_indices", "stage_names")  # of `AutoBackbone`
_NOT_OF_A_PART = ("architectures", "dtype", "torch_dtype", "transformers_version", "auto_map", "_name_or_path")


@strict
class CaptionerConfig(RecurrentDecoderConfig, TargetConfig, SequenceConfig):
    """Configuration of a recurrent decoder that describes images.

    Args:
        vocab_size: V, number of token ids.
        feature_size: F, width of a region's vector; None: that of the vision model.
        vision_config: The configuration of an image encoder of transformers, as its config.json has it (`model_type`
            and its fields): the model then reads `pixel_values`. None: it reads `image_features`.
        vision_stage: The stage of that encoder whose grid gives the regions ("stage2"), as `AutoBackbone` names them;
            None: its last output.
        freeze_vision: Leave the image encoder as it is.
        num_regions: Regions of an image at most, each of which then has a learned vector of its place; None: there are
            none, and what lies where is told by the features alone.
        embedding_size: Width of a token's vector, E.
        hidden_size: H, of the decoder and of the memory.
        num_hidden_layers: Depth of the decoder.
        cell: "lstm", "gru", "rnn", or any other name of `cells.CELLS`.
        attention: How a decoder's output is compared with the regions; "none": the decoder is left with the mean of
            the regions, from which its first states come.
        num_attention_heads: Of "multi_head".
        input_feeding: Whether a step also reads the previous attentional vector (Luong et al. 2015).
        coverage: Whether the additive score sees how much attention each region has had (See et al. 2017).
        scheduled_sampling: Probability that in training a step reads the model's own likeliest token instead of the
            caption's (Bengio et al. 2015).
        embedding_dropout: Part of the vocabulary that is blanked per batch (all occurrences of a word at once).
        hidden_dropout: Dropout on the regions, on the embeddings, between the layers and on the last output.
        freeze_embeddings: Keep the embedding matrix as it is (pretrained vectors).
        initializer_range: Standard deviation of the embeddings.
        tie_word_embeddings: The output weights are the embeddings.
        use_cache: Whether the decoder returns its state where a call does not say.
        bos_token_id: Where a caption begins.
        eos_token_id: Where a caption ends.
        decoder_start_token_id: What the decoder reads before its first token; None: `bos_token_id`, or without one
            `pad_token_id`.
    """

    model_type = "hfseq_captioner"
    keys_to_ignore_at_inference = list(CACHE_NAMES)

    feature_size: int | None = bounded(None, 1, 65_536)
    num_regions: int | None = bounded(None, 1, 65_536)
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    vision_stage: str | None = None
    freeze_vision: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Keep the image encoder's configuration as a dictionary, and take the width from it."""
        if isinstance(self.vision_config, PreTrainedConfig):
            given = {"model_type": self.vision_config.model_type, **self.vision_config.to_diff_dict()}
            self.vision_config = {
                name: value for name, value in given.items() if name not in (*_NOT_OF_A_PART, *_OF_STAGES)
            }
        if self.vision_config is not None and self.feature_size is None:
            self.feature_size = self._width_of_vision()
        super().__post_init__(**kwargs)

    # What the decoder asks of a config (`decoder.py`).
    @property
    def feedback(self) -> bool:
        """True: the decoder reads what it wrote."""
        return True

    @property
    def encoder_depth(self) -> int:
        """One: the mean of the regions is all that the first states come from."""
        return 1

    @property
    def decoder_has_words(self) -> bool:
        """True: nobody else has words here."""
        return True

    @property
    def decoder_vocab_size(self) -> int | None:
        """None: there is one vocabulary."""
        return None

    @property
    def num_states(self) -> int:
        """Number of states of the cell."""
        return len(self.make_cell().states)

    def vision_model_config(self) -> PreTrainedConfig:
        """Return a new configuration of the image encoder."""
        given = self.vision_config
        if not isinstance(given, dict):
            raise ValueError("vision_config is None: this captioner has no image encoder, and reads image_features.")
        check_attention(given)
        fields = {name: value for name, value in given.items() if name not in (*_NOT_OF_A_PART, *_OF_STAGES)}
        name = fields.pop("model_type", None)
        # The wrappers of timm may fetch weights by themselves.
        if name not in CONFIG_MAPPING or str(name).startswith("timm") or CONFIG_MAPPING[name] not in MODEL_MAPPING:
            raise ValueError(
                f"vision_config has the model_type {name!r}: give that of an image encoder of transformers, such as "
                "'convnext', 'resnet', 'vit' or 'swin'."
            )
        try:
            vision = CONFIG_MAPPING[name].from_dict(fields)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise ValueError(f"vision_config: {error}") from error
        stages = getattr(vision, "stage_names", [])
        if self.vision_stage is not None and self.vision_stage not in stages:
            has = f"has {', '.join(stages)}" if stages else "has none"
            raise ValueError(f"vision_stage={self.vision_stage!r} is no stage of {name!r}, which {has}.")
        if self.vision_stage is not None:
            vision.set_output_features_output_indices(out_features=[self.vision_stage], out_indices=None)
        return vision

    def validate_feature_size(self) -> None:
        """Check that the width of the regions is known, and that the image encoder can be built."""
        if self.vision_config is not None:
            self.vision_model_config()
            return
        if self.feature_size is None:
            raise ValueError(
                "feature_size=None: say how wide the feature vectors of an image are, or give the vision_config of an "
                "image encoder."
            )
        for name in ("vision_stage", "freeze_vision"):
            if getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)!r} is about an image encoder: give its vision_config.")

    def _width_of_vision(self) -> int:
        vision: Any = self.vision_model_config()
        if self.vision_stage is not None:
            with torch.device("meta"):  # it alone knows, and without memory it is made at once
                return int(AutoBackbone.from_config(vision).channels[-1])
        sizes = getattr(vision, "hidden_sizes", None)
        width = sizes[-1] if sizes else getattr(vision, "hidden_size", None)
        if width is None:
            raise ValueError("feature_size=None: say how wide the outputs of the image encoder of vision_config are.")
        return int(width)


__all__ = ["CaptionerConfig"]
