"""Running text for word vectors: a text file, a table of texts, a dataset of the Hub, or our generator."""

from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, IterableDataset

from ..settings import check_known, option
from .columns import RUNNING, find_columns
from .sources import SourceSettings, existing_path, is_table, read_splits, text_files


@dataclass
class RunningTextSettings(SourceSettings):
    """Which text to learn from: a text file (also .gz, .bz2, .xz), a table, or a folder of either."""

    split_name: str = option("train", "the split to read; a text file has none")
    streaming: bool = option(False, "read a Hub dataset as it is downloaded, keep no copy")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.streaming and self.hub_id is None:
            read = f"but {self.path or self.name!r} is read"
            raise ValueError(f"data.streaming=true is for datasets of the Hub, {read}: leave streaming out.")


def open_source(settings: RunningTextSettings) -> Path | Dataset | IterableDataset:
    """Find the text, and download it if it has to be; what is returned can be read as often as needed."""
    if isinstance(settings.path, str):
        path = existing_path(settings.path)
        if path.is_file() and not is_table(path):
            return path
        if path.is_dir() and len(texts := text_files(path, settings.split_name)) == 1:
            return texts[0]
    splits = read_splits(settings, [settings.split_name], streaming=settings.streaming)
    check_known(settings.split_name, splits, "data.split_name", kind="split")
    rows = splits[settings.split_name]
    find_columns(settings, {settings.split_name: rows}, RUNNING)
    if rows.column_names is not None:
        check_known(settings.text_column, rows.column_names, "data.text_column", kind="column")
    return rows
