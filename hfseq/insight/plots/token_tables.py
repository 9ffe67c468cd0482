"""Numbers at the tokens of a text as an HTML page: one file that needs no network, with each value under the mouse."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from .pages import write_page

_BLUE, _RED = (31, 111, 180), (200, 60, 48)  # of values above and below 0; 0 is white
_DARK: Final = 0.6  # of a full colour, on which letters are white
_DENSE: Final = 12  # rows of a table whose cells are small, and hold no number


@dataclass(frozen=True)
class TokenTable:
    """A table of an HTML page.

    Attributes:
        name: What stands above it.
        tokens: T, its columns.
        labels: R, its rows.
        values: (R, T).
        form: How a number is written, as in "{:.2f}".
    """

    name: str
    tokens: Sequence[str]
    labels: Sequence[str]
    values: np.ndarray
    form: str = "{:.2f}"

    def parts(self, limit: float) -> dict[str, Any]:
        """Return what the template shows; `limit` has the full colour."""
        dense = len(self.labels) > _DENSE
        rows = [
            (label, [self._cell(label, token, float(value), limit, dense) for token, value in pairs])
            for label, values in zip(self.labels, self.values, strict=True)
            for pairs in (zip(self.tokens, values, strict=True),)
        ]
        return {"name": self.name, "tokens": self.tokens, "rows": rows, "dense": dense}

    def _cell(self, label: str, token: str, value: float, limit: float, dense: bool) -> dict[str, Any]:
        strength = min(abs(value) / limit, 1.0)
        red, green, blue = (round(255 - strength * (255 - part)) for part in (_BLUE if value >= 0 else _RED))
        where = " · ".join(part for part in (self.name, label, token) if part)
        tip = f"{where}\n{self.form.format(value)}"
        text = "" if dense else self.form.format(value)
        return {"colour": f"rgb({red}, {green}, {blue})", "dark": strength > _DARK, "tip": tip, "text": text}


def write_tables(path: Path, tables: Sequence[TokenTable], *, limit: float, title: str, caption: str) -> None:
    """Write an HTML page of tables, all in one scale of colours, from -limit to limit."""
    parts = [table.parts(limit) for table in tables]
    write_page(path, "token_table.html", title=title, caption=caption, tables=parts)
