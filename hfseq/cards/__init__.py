"""Model cards: measured facts, their checks, and how they are written."""

from ..extras import need

need("train")

from .checks import check_card, check_words
from .render import load_facts, render_card, write_card

__all__ = ["check_card", "check_words", "load_facts", "render_card", "write_card"]
