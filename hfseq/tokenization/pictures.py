"""Pictures as people have them, opened as three colours: files, addresses, bytes, Pillow's images, arrays.

transformers' own `load_image` drops what is transparent, and shows the colours that lie hidden there. Here it is seen
on white, as a browser shows it. A picture that was taken on its side is turned upright.
"""

import base64
import binascii
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..extras import need

if TYPE_CHECKING:
    from PIL.Image import Image

_DATA = "data:image/"
_SECONDS = 30.0  # to wait for an address
_OF_16_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_SEEN_THROUGH = ("LA", "PA", "RGBA")
_MULTIPLIED = {"La": "LA", "RGBa": "RGBA"}


def open_picture(given: Any, *, timeout: float | None = None) -> "Image":
    """Return a picture in RGB.

    Args:
        given: A path, an address (http, https), a `data:image/` text, bytes of a file, a Pillow image, an array of
            numbers 0 to 255 (height, width, 3, or 1 or 4 channels, or none), or a dictionary with `bytes` or `path`,
            as `datasets` has pictures.
        timeout: Seconds to wait for an address.

    Raises:
        ValueError: If it is no picture, or a damaged one.
        FileNotFoundError: If there is no such file.
    """
    need("pictures")
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = _name_of(given)
    if isinstance(given, dict):
        given = given.get("bytes") or given.get("path")
    try:
        opened = given if isinstance(given, Image.Image) else _opened(given, timeout)
        _load(opened, name)
        return _in_colours(ImageOps.exif_transpose(opened), name)
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is no picture that Pillow can read: give a PNG, JPEG, GIF or WebP.") from error
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError, EOFError) as error:
        raise ValueError(f"{name} is a damaged picture, or too large a one ({error}): save it again.") from error


def _opened(given: Any, timeout: float | None) -> "Image":
    from PIL import Image

    if isinstance(given, np.ndarray):
        return Image.fromarray(_checked(given))
    if isinstance(given, bytes | bytearray):
        return Image.open(io.BytesIO(given))
    if not isinstance(given, str | os.PathLike):
        raise TypeError(
            f"{type(given).__name__} is no picture: give a path, an address, bytes, a Pillow image, or an array of "
            "numbers 0 to 255."
        )
    path = os.fspath(given)
    if path.startswith(("http://", "https://")):
        return Image.open(io.BytesIO(_fetched(path, timeout)))
    if path.startswith(_DATA):
        try:
            return Image.open(io.BytesIO(base64.b64decode(path.partition(",")[2], validate=True)))
        except binascii.Error as error:
            raise ValueError(f"{_name_of(given)} is no base64 text: {error}.") from error
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no picture {path!r} (looked from {os.getcwd()}).")
    return Image.open(path)


def _fetched(address: str, timeout: float | None) -> bytes:
    import httpx

    try:
        answer = httpx.get(address, timeout=_SECONDS if timeout is None else timeout, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ValueError(f"{address} cannot be read: {error}") from error
    return answer.content


def _checked(pixels: np.ndarray) -> np.ndarray:
    has_channels = pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or has_channels) or 0 in pixels.shape:
        raise ValueError(
            f"An array of shape {pixels.shape} and type {pixels.dtype} is no picture: give whole numbers 0 to 255 of "
            "type uint8, (height, width, 3)."
        )
    return pixels[..., 0] if has_channels and pixels.shape[-1] == 1 else pixels


def _load(picture: "Image", name: str) -> None:
    """Read the pixels: a file that is cut off is noticed only now."""
    if 0 in picture.size:
        raise ValueError(f"{name} has no pixels: it is {picture.width} wide and {picture.height} high.")
    try:
        picture.load()
    except (ValueError, AttributeError) as error:  # Pillow's answers where its file or its memory is given back
        raise ValueError(f"{name} cannot be read any more ({error}): is it closed? Open it again.") from error


def _in_colours(picture: "Image", name: str) -> "Image":
    """Return a picture of any mode in RGB: what is transparent on white, 16 bits of grey as 8."""
    from PIL import Image

    if picture.mode in (*_OF_16_BITS, "I", "F"):
        return _of_numbers(picture, name).convert("RGB")
    if picture.mode in _MULTIPLIED:  # colours times what is seen of them
        picture = picture.convert(_MULTIPLIED[picture.mode])
    if picture.mode in _SEEN_THROUGH or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return picture.convert("RGB")


def _of_numbers(picture: "Image", name: str) -> "Image":
    """Return a grey picture of 8 bits from one of larger numbers, which Pillow would cut off at 255."""
    from PIL import Image

    values = np.asarray(picture)
    most = 255 if picture.mode == "F" else 65_535
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= most):
        raise ValueError(f"{name} of mode {picture.mode!r} holds numbers that are not 0 to {most}: scale them first.")
    if picture.mode == "F" and values.max() <= 1 and (values % 1).any():
        raise ValueError(f"{name} of mode 'F' holds numbers 0 to 1, and would be black: multiply them by 255.")
    is_wide = picture.mode in _OF_16_BITS or values.max() > 255  # in mode "I" lie pictures of 8 bits and of 16
    grey = (values.astype(np.int64) >> 8 if is_wide else np.rint(values)).astype(np.uint8)
    hidden = picture.info.get("transparency")
    if isinstance(hidden, int):  # the grey that is not seen
        grey = np.where(values == hidden, 255, grey).astype(np.uint8)
    return Image.fromarray(grey)


def _name_of(given: Any) -> str:
    if isinstance(given, str) and given.startswith(_DATA):
        return f"The picture {given[:24]}..."
    if isinstance(given, dict):
        given = given.get("path") or given.get("bytes")
    if isinstance(given, str | os.PathLike):
        return f"{os.fspath(given)!r}"
    return f"The picture given as {type(given).__name__}"
