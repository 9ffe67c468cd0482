"""Running text for word vectors: a text file, a table of texts, a dataset of the Hub, or our generator."""

from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, IterableDataset

from ..settings import check_known
from .text import FORMATS, DataSettings, existing_path, read_splits


@dataclass
class SourceSettings:
    """Which text to learn from."""

    name: str | None = field(
        default=None, metadata={"help": "a dataset on the Hub (user/name), or `embedded` for the generated one"}
    )
    config: str | None = field(default=None, metadata={"help": "configuration of the Hub dataset"})
    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit of the Hub dataset"})
    path: str | None = field(
        default=None,
        metadata={"help": "a text file (also .gz, .bz2, .xz), or a folder or file of a table; in place of `name`"},
    )
    text_column: str = field(default="text", metadata={"help": "the column of texts"})
    split_name: str = field(default="train", metadata={"help": "the split to read; a text file has none"})
    streaming: bool = field(default=False, metadata={"help": "read a Hub dataset as it is downloaded, keep no copy"})

    def __post_init__(self) -> None:
        """Refuse what names no text."""
        if self.name is None and self.path is None:
            raise ValueError(
                "no text: give data.name (a Hub dataset or `embedded`) or data.path (a text file or a folder)."
            )
        if self.streaming and (self.path is not None or self.name == "embedded"):
            raise ValueError(
                f"data.streaming=true is for datasets of the Hub, but {self.path or self.name!r} is read: "
                "leave streaming out."
            )

    @property
    def hub_id(self) -> str | None:
        """The data set of the Hub that is read: none where local files take its place or the text is generated."""
        return self.name if self.path is None and self.name != "embedded" else None


def open_source(settings: SourceSettings) -> Path | Dataset | IterableDataset:
    """Find the text, and download it if it has to be; what is returned can be read as often as needed."""
    if settings.path is not None:
        path = existing_path(settings.path)
        if path.is_file() and path.suffix not in FORMATS:
            return path
    source = DataSettings(
        name=settings.name,
        config=settings.config,
        revision=settings.revision,
        path=settings.path,
        splits={"train": settings.split_name},
        label_column="",  # none is read
    )
    splits = read_splits(source, streaming=settings.streaming)
    check_known(settings.split_name, splits, "data.split_name", kind="split")
    rows = splits[settings.split_name]
    if rows.column_names is not None:
        check_known(settings.text_column, rows.column_names, "data.text_column", kind="column")
    return rows
