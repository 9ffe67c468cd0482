"""The pipeline that describes images, in the place of the image-to-text that transformers 5 removed.

pipe = pipeline("image-captioning", model="user/captioner")
pipe("photo.jpg")                                       # [{"generated_text": "a dog runs on the beach"}]
pipe(["photo.jpg", "https://example.org/cat.png"])      # a list of such lists
pipe(features)                                          # stored vectors of regions, (R, F)
"""

from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, GenerationConfig, Pipeline, PreTrainedModel

from ..tokenization.pictures import open_picture

_READ = ("pixel_values", "image_features")  # the main inputs of models that read images


class ImageCaptioningPipeline(Pipeline):
    """Writes what is to be seen in an image.

    An image is a path, an address, a Pillow image, an array of numbers 0 to 255, or what the model reads in its place:
    feature vectors (R, F) of numbers. Pictures of any mode are read as RGB, what is transparent in them as white. The
    answer is a list with one dict, `generated_text`, or more of them with `num_return_sequences`; of a list of images
    a list of such answers.

    Parameters, here or in a call: those of `generate` (`max_new_tokens`, `num_beams`, ...), also as a dict
    `generate_kwargs`; `timeout`, seconds to wait for an address; `batch_size`. Where neither the model nor the call
    says how long a text may be, it has at most 64 new tokens.
    """

    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(max_new_tokens=64)
    _load_processor: Any = False
    _load_image_processor: Any = False  # here, and only where the model has an image encoder
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True
    model: Any
    tokenizer: Any
    image_processor: Any

    def __init__(self, model: PreTrainedModel, tokenizer: Any = None, *, task: str = "", **kwargs: Any) -> None:
        if getattr(model, "main_input_name", None) not in _READ or not model.can_generate():
            raise ValueError(
                "The task image-captioning needs a model that reads images and can write, such as "
                f"CaptionerForConditionalGeneration; got {type(model).__name__}."
            )
        super().__init__(model, tokenizer, task=task, **kwargs)
        if self.image_processor is None and self._has_encoder:
            if not model.name_or_path:
                raise ValueError(
                    "No folder of this model says how its pictures are prepared: give image_processor=..."
                )
            self.image_processor = AutoImageProcessor.from_pretrained(
                model.name_or_path, revision=getattr(model.config, "_commit_hash", None), trust_remote_code=False
            )

    @property
    def _has_encoder(self) -> bool:
        return bool(self.model.main_input_name == "pixel_values")

    def _sanitize_parameters(
        self, timeout: float | None = None, generate_kwargs: dict[str, Any] | None = None, **parameters: Any
    ) -> Any:
        if twice := sorted(set(parameters) & set(generate_kwargs or {})):
            raise ValueError(f"{', '.join(twice)} stands in generate_kwargs and beside it: give it once.")
        return {} if timeout is None else {"timeout": timeout}, {**(generate_kwargs or {}), **parameters}, {}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Describe an image, or a list of them."""
        if isinstance(inputs, list | tuple) and not inputs:  # of which transformers would look at the first
            return []
        try:
            return super().__call__(inputs, **kwargs)
        except RuntimeError as error:
            if "Sizes of tensors must match" not in str(error):
                raise
            raise ValueError(
                "The image processor leaves pictures in their sizes, and those of several sizes make no batch: use "
                "batch_size=1, or a processor that resizes to one size."
            ) from error

    def preprocess(self, input_: Any, timeout: float | None = None) -> Any:  # type: ignore[override]
        """Make an image the model's input."""
        features = _features_in(input_)
        if features is not None:
            mask = torch.ones(1, features.shape[0], dtype=torch.long)
            if self._has_encoder:
                raise ValueError(
                    f"An array of shape {tuple(features.shape)} is no picture, and this model reads pictures by an "
                    "image encoder of its own: give it a path, an address or a Pillow image."
                )
            return {"image_features": features[None].to(self.dtype), "image_mask": mask}
        if not self._has_encoder:
            raise ValueError(
                "This model has no image encoder: give it feature vectors (regions, "
                f"{self.model.config.feature_size}) of the network that it was trained with, not a picture."
            )
        picture = open_picture(input_, timeout=timeout)
        return {"pixel_values": self.image_processor(images=picture, return_tensors="pt")["pixel_values"]}

    def _forward(self, input_tensors: Any, **generate_kwargs: Any) -> Any:
        inputs = dict(input_tensors)
        rows = len(inputs[self.model.main_input_name])
        written = self.model.generate(**inputs, **self._prepare_generate_kwargs(generate_kwargs))
        ids = written if isinstance(written, torch.Tensor) else written.sequences
        return {"output_ids": ids.reshape(rows, -1, ids.shape[-1])}

    def postprocess(self, model_outputs: Any, **postprocess_parameters: Any) -> Any:
        """Name what was written."""
        texts = self.tokenizer.batch_decode(model_outputs["output_ids"][0], skip_special_tokens=True)
        return [{"generated_text": text.strip()} for text in texts]


def _features_in(given: Any) -> torch.Tensor | None:
    """Return vectors of regions, (R, F); None of what is a picture."""
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        given = torch.from_numpy(given)
    if not isinstance(given, torch.Tensor):
        return None
    if given.dim() != 2 or not given.is_floating_point() or 0 in given.shape:
        raise ValueError(
            f"An array of shape {tuple(given.shape)} and type {given.dtype} is neither a picture (numbers 0 to 255, "
            "type uint8, height, width, 3) nor the vectors of its regions (regions, width)."
        )
    return given
