"""Pictures and what may be said of them: columns `image`, a number, and `captions`, one text or more a picture.

The number says which of `CaptionTask.images` it is: a picture, or the feature vectors that another network made of it.
They come from our generator, from the Hub, from tables with a column of pictures (bytes, or paths of files), or from a
folder of features:

    features.safetensors    features (N, R, F), R regions of width F for each of N pictures; perhaps mask (N, R)
    captions.parquet        N rows in that order (or .jsonl, .json, .csv): `captions`, perhaps `image`, a name, and
                            `split`, train, validation or test
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from datasets import Dataset, DatasetDict, Features, Image, List, Value
from safetensors import SafetensorError, safe_open

from ..settings import check_known, option
from ..tokenization.pictures import open_picture
from .columns import Role, find_columns, is_text, spelled
from .embedded.shapes import load_shapes
from .picture_tables import TablePictures, are_pictures, source_of
from .sources import FORMATS, SplitSettings, existing_path, load_splits, read_splits, take_columns

logger = logging.getLogger(__name__)

IMAGE, CAPTIONS = "image", "captions"
FEATURES_FILE, CAPTIONS_FILE, SPLIT = "features.safetensors", "captions", "split"
_FEATURES = Features({IMAGE: Value("int64"), CAPTIONS: List(Value("string"))})
_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"}
_SPLITS |= {"dev": "validation", "test": "test"}
_MOST_HELD_OUT: Final = 2_000


def _are_captions(feature: Any) -> bool:
    return is_text(feature) or (isinstance(feature, List) and is_text(feature.feature))


IMAGES: Final = Role("image_column", "the pictures", ("image", "images", "picture", "file_name", "path"), are_pictures)
SAID: Final = Role(
    "caption_column", "the captions", ("captions", "caption", "text", "texts", "sentences"), _are_captions
)


@dataclass
class CaptionSettings(SplitSettings):
    """Which pictures and captions to learn from."""

    image_column: str | None = option(None, "the column of pictures; null: found by its name")
    caption_column: str | None = option(None, "the column of captions, a text or a list of texts; null: by its name")
    lowercase: bool = option(False, "lower-case all captions, those that are compared too")
    max_rows: int | None = option(None, "pictures kept of each split, drawn with `seed`")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max_rows={self.max_rows} must be at least 1; null keeps every row.")
        if self.text_column is not None:
            given = f"text_column={self.text_column!r}"
            raise ValueError(f"{given}: captions stand in caption_column={self.text_column}.")


class Images(Protocol):
    """Pictures by their numbers."""

    def inputs(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return what a captioner reads of these pictures."""

    def shown(self, number: int) -> Any:
        """Return a picture in RGB to look at; None where there are features alone."""


class FeatureImages:
    """Pictures of which there are vectors of regions alone."""

    def __init__(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> None:
        self.features, self.mask = features, mask

    @property
    def feature_size(self) -> int:
        """F, the width of the vectors."""
        return int(self.features.shape[-1])

    def inputs(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return `image_features` (B, R, F), and `image_mask` (B, R) where some regions are none."""
        rows = torch.as_tensor(list(numbers))
        found = {"image_features": self.features[rows].float()}
        return found if self.mask is None else found | {"image_mask": self.mask[rows]}

    def shown(self, number: int) -> None:
        """Return None."""
        return


class PictureImages:
    """Pictures that an image processor prepares, each time that they are asked for.

    Args:
        pictures: Arrays (height, width, 3), or what `open_picture` opens.
        processor: The image processor.
        places: Where each picture stands, which an error names; None: its number.
    """

    def __init__(self, pictures: Sequence[Any], processor: Any = None, places: Sequence[Any] | None = None) -> None:
        self.pictures, self.processor, self.places = pictures, processor, places

    def inputs(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return `pixel_values` (B, channels, height, width)."""
        if self.processor is None:
            raise ValueError("Pictures are read by an image processor: set `processor` first.")
        shown = [self.shown(number) for number in numbers]
        return {"pixel_values": self.processor(images=shown, return_tensors="pt")["pixel_values"]}

    def shown(self, number: int) -> Any:
        """Return the picture: an array (height, width, 3), or Pillow's image."""
        found = self.pictures[int(number)]
        if isinstance(found, np.ndarray):
            return found
        try:
            return open_picture(found)
        except ValueError as error:
            where = f"picture {number}" if self.places is None else self.places[int(number)]
            raise ValueError(f"{where}: {error}") from error


@dataclass(frozen=True)
class CaptionTask:
    """Prepared rows, and the pictures that they number."""

    dataset: DatasetDict
    images: FeatureImages | PictureImages

    @property
    def has_features(self) -> bool:
        """Whether there are feature vectors in the place of pictures."""
        return isinstance(self.images, FeatureImages)


def load_captions(settings: CaptionSettings) -> CaptionTask:
    """Load pictures and captions, check every row, and cut a validation and a test split where there is none."""
    folder = _folder_of_features(settings)
    images: FeatureImages | PictureImages
    if settings.path is None and settings.name == "embedded":
        dataset, images = _embedded(settings)
    elif folder is not None:
        dataset, images = _features(folder, settings)
    else:
        dataset, images = _pictures(settings)
    is_said = settings.splits is not None or isinstance(settings.path, dict)
    for split in ("validation",) if is_said else ("validation", "test"):
        if split not in dataset:
            dataset["train"], dataset[split] = _cut(dataset["train"], settings, split)
    for split, rows in dataset.items():
        if settings.max_rows is not None and rows.num_rows > settings.max_rows:
            dataset[split] = rows.shuffle(seed=settings.seed).select(range(settings.max_rows))
    return CaptionTask(dataset, images)


def asked_of(task: CaptionTask, number: int) -> Any:
    """Return what a pipeline takes for a picture: the picture, or the vectors of its real regions."""
    if isinstance(task.images, PictureImages):
        return task.images.shown(number)
    inputs = task.images.inputs([number])
    features, mask = inputs["image_features"][0], inputs.get("image_mask")
    return features if mask is None else features[mask[0].bool()]


def _embedded(settings: CaptionSettings) -> tuple[DatasetDict, PictureImages]:
    found = load_shapes(settings.seed)
    chosen = settings.splits or {split: split for split in found}
    for name in chosen.values():
        check_known(name, found, "data.splits", kind="split")
    pixels = [found[name].with_format("numpy")[IMAGE][:].astype(np.uint8) for name in chosen.values()]
    captions = [found[name][CAPTIONS][:] for name in chosen.values()]
    return _numbered(dict(zip(chosen, captions, strict=True))), PictureImages(list(np.concatenate(pixels)))


def _numbered(captions: Mapping[str, Sequence[list[str]]]) -> DatasetDict:
    """Give numbers to the pictures of all splits, one split behind the other."""
    splits, start = {}, 0
    for split, rows in captions.items():
        columns = {IMAGE: range(start, start + len(rows)), CAPTIONS: rows}
        splits[split] = Dataset.from_dict({name: list(values) for name, values in columns.items()}, _FEATURES)
        start += len(rows)
    return DatasetDict(splits)


def _folder_of_features(settings: CaptionSettings) -> Path | None:
    if not isinstance(settings.path, str):
        return None
    folder = existing_path(settings.path)
    return folder if folder.is_dir() and (folder / FEATURES_FILE).is_file() else None


def _features(folder: Path, settings: CaptionSettings) -> tuple[DatasetDict, FeatureImages]:
    """Read a folder of features."""
    tables = [folder / f"{CAPTIONS_FILE}{suffix}" for suffix in FORMATS]
    table = next((file for file in tables if file.is_file()), None)
    if table is None:
        wanted = ", ".join(file.name for file in tables)
        raise ValueError(f"{folder} has {FEATURES_FILE}, and no captions: add one of {wanted}.")
    images = read_features(folder / FEATURES_FILE)
    one = SplitSettings(path=str(table), seed=settings.seed)
    rows = read_splits(one)["train"]
    if rows.num_rows != len(images.features):
        counts = f"{table} has {rows.num_rows} rows, and {FEATURES_FILE} {len(images.features)} pictures"
        raise ValueError(f"{counts}: give one row a picture, in the same order.")
    find_columns(settings, {"train": rows}, SAID)
    captions = _captions(rows, table.name, settings)
    named = rows[SPLIT][:] if SPLIT in rows.column_names else ["train"] * rows.num_rows
    if unknown := sorted(set(named) - set(_SPLITS)):
        raise ValueError(f"{table}: column {SPLIT!r} holds {unknown[0]!r}; it may hold {', '.join(_SPLITS)}.")
    splits = [_SPLITS[name] for name in named]
    held = {
        split: [row for row, own in enumerate(splits) if own == split] for split in dict.fromkeys(_SPLITS.values())
    }
    chosen = settings.splits or {split: split for split, numbers in held.items() if numbers}
    for name in chosen.values():
        check_known(name, [split for split, numbers in held.items() if numbers], "data.splits", kind="split")
    if "train" not in chosen:
        raise ValueError(f"{table} has no row of split 'train'.")
    parts = {
        split: Dataset.from_dict({IMAGE: held[name], CAPTIONS: [captions[row] for row in held[name]]}, _FEATURES)
        for split, name in chosen.items()
    }
    return DatasetDict(parts), images


def read_features(file: Path) -> FeatureImages:
    """Read features.safetensors, and check that all numbers are finite."""
    try:
        with safe_open(file, "pt") as opened:
            found = {name: opened.get_tensor(name) for name in opened.keys() if name in ("features", "mask")}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file} is no file of safetensors, or a damaged one ({error}).") from error
    features, mask = found.get("features"), found.get("mask")
    if features is None or features.dim() != 3 or not features.is_floating_point() or 0 in features.shape:
        held = "none" if features is None else f"{features.dtype} of shape {tuple(features.shape)}"
        raise ValueError(
            f"{file} must hold a tensor 'features', numbers of shape (pictures, regions, width); got {held}."
        )
    if mask is not None and mask.shape != features.shape[:2]:
        raise ValueError(f"{file}: 'mask' of shape {tuple(mask.shape)} must be {tuple(features.shape[:2])}.")
    if mask is not None and bool(((mask != 0) & (mask != 1)).any()):
        raise ValueError(f"{file}: 'mask' must hold 1 for real regions and 0 for others, and nothing between.")
    for row, values in enumerate(features):
        real = values if mask is None else values[mask[row].bool()]
        if len(real) == 0:
            raise ValueError(f"{file}: 'mask' says that picture {row} has no region: leave this picture out.")
        if not bool(real.isfinite().all()):
            raise ValueError(f"{file}: the features of picture {row} hold NaN or infinite numbers: make them again.")
    return FeatureImages(features, mask)


def _pictures(settings: CaptionSettings) -> tuple[DatasetDict, PictureImages]:
    """Read tables with a column of pictures; rows of one picture become one row with all their captions."""
    splits = load_splits(settings)
    # Opened by ourselves and when they are needed: a damaged one is then named.
    splits = {name: _undecoded(rows) for name, rows in splits.items()}
    find_columns(settings, splits, SAID, IMAGES)
    captions: dict[str, list[list[str]]] = {}
    pictures, owners = TablePictures(), dict[Any, str]()  # owner: the split that has a picture
    for split, rows in splits.items():
        said = _captions(rows, f"split {split!r}", settings)
        kept = take_columns(rows, split, settings, image_column=IMAGE)
        keys = pictures.add(kept, split, settings)
        merged: dict[Any, list[str]] = {}
        for row, (key, texts) in enumerate(zip(keys, said, strict=True)):
            if source_of(owners.setdefault(key, split), settings) != source_of(split, settings):
                raise ValueError(
                    f"Split {split!r}, row {row}: its picture is in split {owners[key]!r} too, so that its "
                    "score would tell what was learnt by heart: leave it out of one of them."
                )
            merged.setdefault(key, []).extend(texts)
        captions[split] = list(merged.values())
    return _numbered(captions), PictureImages(pictures, places=pictures.places)


def _undecoded(rows: Dataset) -> Dataset:
    for name, feature in rows.features.items():
        if isinstance(feature, Image):
            rows = rows.cast_column(name, Image(decode=False))
    return rows


def _captions(rows: Dataset, where: str, settings: CaptionSettings) -> list[list[str]]:
    """Return the captions of each picture; refuse a picture without one."""
    kept = take_columns(rows, where, settings, caption_column=CAPTIONS)
    if not _are_captions(kept.features[CAPTIONS]):
        held = f"data.caption_column={settings.caption_column!r} holds {spelled(kept.features[CAPTIONS])}"
        raise ValueError(f"{where}: {held}, not texts or lists of texts.")
    found = [[text] if isinstance(text, str) else list(text) for text in kept[CAPTIONS][:]]
    for row, texts in enumerate(found):
        if not texts or not all(text and text.strip() for text in texts):
            raise ValueError(f"{where}, row {row}: a picture needs a caption, and no caption is empty; got {texts}.")
    return [[text.lower() for text in texts] for texts in found] if settings.lowercase else found


def _cut(train: Dataset, settings: CaptionSettings, split: str) -> tuple[Dataset, Dataset]:
    """Cut pictures off train."""
    wanted = min(max(round(settings.validation_fraction * train.num_rows), 1), _MOST_HELD_OUT)
    if train.num_rows < 3:
        raise ValueError(
            f"{train.num_rows} pictures are too few to cut off a split {split!r}: give one, or more rows."
        )
    order = np.random.default_rng((settings.seed, *split.encode())).permutation(train.num_rows)
    logger.warning("The data have no %s split: %d pictures of train are kept aside as one.", split, wanted)
    return train.select(np.sort(order[wanted:])), train.select(np.sort(order[:wanted]))
