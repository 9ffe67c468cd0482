"""Read notebooks: the cells of code, in order, as plain Python.

A notebook is JSON: a list of cells, each with its source as lines. Lines for IPython (`%pip install ...`, `!ls`) are
no Python; `pass` takes their place, so that an `if` above such a line still has a body.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

_FOR_IPYTHON = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A cell of code, and how a report names it: `cell 3 (train)`, counted from 1 with the cells of text."""

    name: str
    code: str


def code_cells(notebook: Path) -> list[Cell]:
    """Return the cells of code that are not empty."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found = (
        Cell(f"cell {number} ({cell['id']})", _FOR_IPYTHON.sub(r"\1pass", "".join(cell["source"])))
        for number, cell in enumerate(cells, 1)
        if cell["cell_type"] == "code"
    )
    return [cell for cell in found if cell.code.strip()]
