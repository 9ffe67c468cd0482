"""Where in an image a captioner looks, while it writes each word.

    found = look_at(pipe, "photo.jpg")          # pipe: pipeline("image-captioning", ...)
    found.words, found.weights                  # T words, (T, height, width): row t for word t
    plots.looks(found, path="looks.png")

The weights are those of attention over the regions, which lie in a grid, row by row. A word of several tokens has the
mean of their weights.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .alignment import cross_weights, evaluating, sum_of, words_of

_HAS_NONE = (
    "{model} returned no attention to regions: a captioner needs config.attention other than 'none'; load models of "
    "transformers' own with attn_implementation='eager'."
)


@dataclass(frozen=True)
class Look:
    """The words of a caption, and how much each looked at each region.

    Attributes:
        words: T words, the last one the end of the text.
        weights: (T, height, width), each of which sums to 1, less what a vector before the grid has (that of ViT).
        picture: What the model saw, after its image processor has cut and resized it: (H, W, 3) numbers 0 to 255; None
            where it was given feature vectors.
    """

    words: list[str]
    weights: torch.Tensor
    picture: Any


@torch.no_grad()
def look_at(
    pipe: Any, image: Any, caption: str | None = None, *, grid: tuple[int, int] | None = None, **generate_kwargs: Any
) -> Look:
    """Return where a captioner looks while it writes.

    Args:
        pipe: A pipeline "image-captioning".
        image: What the pipeline takes.
        caption: The text that is written; None: what the model writes itself.
        grid: Height and width of the grid of regions; None: as the image encoder has it, or, where that gives a list,
            of square regions. Feature vectors do not tell it.
        **generate_kwargs: How the model writes where there is no caption.
    """
    if caption is not None and generate_kwargs:
        raise ValueError(f"The caption is given, so that {', '.join(generate_kwargs)} would change nothing.")
    model, tokenizer = pipe.model, pipe.tokenizer
    # 1. See the image, and write, or take the caption.
    inputs = {name: tensor.to(model.device) for name, tensor in pipe.preprocess(image).items()}
    pixels = inputs.get("pixel_values")
    if caption is None:
        caption = pipe(image, **generate_kwargs)[0]["generated_text"]
    # 2. Write it again with the whole text known: row t of the weights belongs to token t.
    read = tokenizer(text_target=caption, return_tensors="pt")
    with evaluating(model):
        outputs = model(**inputs, labels=read["input_ids"].to(model.device), output_attentions=True)
    weights = cross_weights(outputs, -1, _HAS_NONE.format(model=type(model).__name__))
    # 3. Put the tokens of a word together, and the regions into their grid.
    words, places = words_of(tokenizer, read, caption)
    counts = torch.bincount(places, minlength=len(words))
    weights = sum_of(weights, places, len(words)) / counts[:, None]
    height, width = grid or _grid(model, pixels, weights.shape[1])
    first = weights.shape[1] - height * width
    if first not in (0, 1):
        raise ValueError(f"grid={grid} has {height * width} regions, and the model looks at {weights.shape[1]}.")
    return Look(words, weights[:, first:].unflatten(1, (height, width)), _seen(pixels, pipe.image_processor))


def _grid(model: Any, pixels: torch.Tensor | None, regions: int) -> tuple[int, int]:
    """Return height and width of the grid in which so many regions lie."""
    if pixels is None:
        raise ValueError(
            f"Feature vectors do not tell how their {regions} regions lie: say their grid=(height, width)."
        )
    encoder = model.get_encoder()
    found: tuple[int, int] | None = encoder.grid(pixels) if hasattr(encoder, "grid") else None
    if found is not None:
        return found
    high, wide = pixels.shape[-2:]
    for count in (regions, regions - 1):  # perhaps with one vector before them
        for height in range(1, count + 1):
            if count % height == 0 and height * wide == count // height * high:
                return height, count // height
    raise ValueError(f"{regions} regions of {high} x {wide} pixels are no squares: say their grid=(height, width).")


def _seen(pixels: torch.Tensor | None, processor: Any) -> np.ndarray | None:
    """Return what a model sees as a picture: the numbers that the processor made, turned back into colours."""
    if pixels is None:
        return None
    shown = pixels[0].float().cpu().movedim(0, -1).numpy()
    if getattr(processor, "do_normalize", False):
        shown = shown * np.array(processor.image_std) + np.array(processor.image_mean)
    if getattr(processor, "do_rescale", False):
        shown = shown / processor.rescale_factor
    found: np.ndarray = np.rint(shown).clip(0, 255).astype(np.uint8)
    return found


__all__ = ["Look", "look_at"]
