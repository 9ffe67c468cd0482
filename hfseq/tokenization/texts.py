"""Texts as the trainers of the tokenizers library take them: strings, in batches, without special tokens."""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from tokenizers import AddedToken

from ..progress import progress_bar

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

Texts: TypeAlias = "Iterable[str] | Dataset | IterableDataset"


def strings(texts: Texts, text_column: str) -> Iterator[str]:
    """Yield the texts one by one; refuse everything that is not a string."""
    if is_dataset(texts):
        texts = rows_of_column(cast(Any, texts), text_column)
    if isinstance(texts, str | Mapping):
        cure = "wrap it in a list" if isinstance(texts, str) else "pass one of its splits or columns"
        raise TypeError(f"texts is one {type(texts).__name__}, not a sequence of strings; {cure}")
    number = -1
    for number, text in enumerate(progress_bar("Reading texts", texts, unit="text")):
        if not isinstance(text, str):
            cure = "drop rows without text and turn other values into strings first"
            raise TypeError(f"text number {number} is {text!r} ({type(text).__name__}), not a string; {cure}")
        yield text
    if number < 0:
        raise ValueError("there are no texts: the iterable is empty, or it was an iterator that is already used up")


def check_keywords(function: Callable[..., Any], given: Mapping[str, Any], options: type) -> None:
    """Refuse a keyword that is not among the options at the end of a function, in the name of that function."""
    known = [*list(inspect.signature(function).parameters)[:-1], *options.__annotations__]
    if unknown := [name for name in given if name not in known]:
        fault = f"{function.__qualname__}() got an unexpected keyword argument {unknown[0]!r}"
        raise TypeError(f"{fault}; it takes {', '.join(known)}.")


def is_dataset(texts: Any) -> bool:
    """Tell whether these are a dataset of the library `datasets`."""
    # Who holds a dataset has imported the library; making a tokenizer of a list does not need it.
    library = sys.modules.get("datasets")
    return library is not None and isinstance(texts, library.Dataset | library.IterableDataset)


def rows_of_column(dataset: "Dataset | IterableDataset", text_column: str) -> Iterator[Any]:
    """Yield a column row by row."""
    if dataset.column_names is not None and text_column not in dataset.column_names:
        raise ValueError(f"text_column={text_column!r} is not among the columns {dataset.column_names}")
    return (row[text_column] for row in dataset.select_columns(text_column))


def between(special: list[AddedToken], texts: Iterable[str]) -> Iterator[str]:
    """Yield what stands between the special tokens of the texts: the library would learn from their spelling."""
    spaced = (
        (r"\s*" if token.lstrip else "") + re.escape(token.content) + (r"\s*" if token.rstrip else "")
        for token in sorted(special, key=lambda token: -len(token.content))
    )
    expression = re.compile("|".join(spaced))
    for text in texts:
        yield from expression.split(text)


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts in lists."""
    texts = iter(texts)
    while batch := list(islice(texts, 1000)):
        yield batch
