"""Model cards: the measured facts of a run -> a README.md with `model-index`, checked before it is written.

    facts = TaggerFacts(...)            # see facts.py in the folder of a task; kept as JSON
    write_card(folder, facts)           # renders the template of its task and refuses a card with defects

Each task has a template, card.md, and a view, which gathers what it shows; templates share templates/_*.md.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from .checks import check_card, check_facts
from .facts import Facts, read_json
from .parts import cell, code, comparison_rows, quoted, seeds_text, shared_limits, significant, spread_text
from .pictures import pictures_in
from .verdict import behind_line

if TYPE_CHECKING:
    from ..tasks import Task

_FIRST_KIND = "classifier"  # its facts were there before there were kinds, and may not name theirs
# Markdown is no HTML: `cell` and `code` escape what needs it, so autoescape stays off.
_TEMPLATES = Environment(
    loader=PackageLoader("hfseq", "."),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters.update(thousands="{:,}".format, significant=significant, cell=cell, code=code, quoted=quoted)


def task_of(kind: str) -> "Task":
    """Return the row of TASKS of such facts."""
    # Upward, as tasks are built on cards: a file of facts says nothing of its task but the kind.
    from ..tasks import TASKS

    kinds = {task.facts.kind: task for task in TASKS.values()}
    if kind not in kinds:
        raise ValueError(f"facts.kind is {kind!r}; choose one of {tuple(kinds)}.")
    return kinds[kind]


def load_facts(path: str | Path) -> Facts:
    """Read the facts of any task; see `Facts.load`."""
    parsed = read_json(path)
    kind = parsed.get("kind", _FIRST_KIND) if isinstance(parsed, dict) else _FIRST_KIND
    try:
        task = task_of(kind)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return task.facts.load(path)


def render_card(facts: Facts, pictures: Mapping[str, str] | None = None) -> str:
    """Render the model card of `facts`, Markdown that has passed `check_card`; facts that say nothing are refused.

    Args:
        pictures: File -> title of what lies beside the card, see `pictures_in`.
    """
    check_facts(facts)
    task = task_of(facts.kind)
    shared = {
        "facts": facts,
        "spread": spread_text(facts),
        "seeds": seeds_text(facts.runs),
        "minutes": ", ".join(f"{run.minutes:.1f}" for run in facts.runs),
        "comparisons": comparison_rows(facts),
        "behind": behind_line(facts),
        "papers": [],
        "pictures": pictures or {},
        "shared_limits": shared_limits(facts),
    }
    text = _TEMPLATES.from_string(task.template).render(shared | task.view(facts))
    check_card(text, pictures or ())
    return text


def write_card(folder: str | Path, facts: Facts) -> None:
    """Render `facts` to README.md in an existing folder; a reader sees the old card or the whole new one."""
    text = render_card(facts, pictures_in(folder))
    card = Path(folder) / "README.md"
    draft = card.with_name(f".README.{os.getpid()}.md")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, card)
    finally:
        draft.unlink(missing_ok=True)
