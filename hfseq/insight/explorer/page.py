"""The page: the template, filled with models."""

import html
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from ...retrieval.encode import Source, with_tokenizer
from .exported import exported

_HERE = Path(__file__).parent
_MARK = re.compile(r"/\*(\w+)\*/")  # a comment in HTML's scripts and styles, so that editors read the template


def explorer(
    model: Source,
    tokenizer: PreTrainedTokenizerBase | None,
    path: str | os.PathLike[str],
    *,
    title: str = "What a recurrent network does while you type",
    example: str = "",
) -> None:
    """Write a page that runs a small model in the browser and shows its gates and states while one types.

    The page is one file that makes no request, and opens from a folder as well as from a server. It shows classifiers
    and language models with an LSTM, a GRU (of both forms) or a plain RNN, of at most `LARGEST` weights, with a
    tokenizer of the kinds "char", "word" and "whitespace". Weights are rounded to float16, so that numbers may differ
    from the model's in the third digit. A text is not cut, whatever the tokenizer's `model_max_length`.

    Args:
        model: A model, or a folder or Hub id to load it from.
        tokenizer: The model's tokenizer; None: the one beside the model in its folder.
        path: The .html file to write.
        title: What stands above.
        example: The text that the page begins with.
    """
    from ..plots.figures import check_path

    check_path(path, (".html",))
    loaded, tokenizer = with_tokenizer(model, tokenizer)
    Path(path).write_text(page_of([exported(loaded, tokenizer, example=example)], title), encoding="utf-8")


def page_of(models: Sequence[dict[str, Any]], title: str) -> str:
    """Return the page of one exported model or several, among which the reader chooses."""
    data = json.dumps(models, ensure_ascii=False, separators=(",", ":"))
    parts = {
        "title": html.escape(title),
        # Nothing in the data may end the script that it stands in.
        "models": data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"),
    }
    for name in ("style.css", "tokens.js", "network.js", "view.js"):
        parts[name.partition(".")[0]] = (_HERE / name).read_text(encoding="utf-8").rstrip("\n")
    template = (_HERE / "page.html").read_text(encoding="utf-8")
    return _MARK.sub(lambda mark: parts[mark[1]], template)
