"""Pictures as HTML pages: one file each, which asks no host for anything."""

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def write_page(path: str | os.PathLike[str], template: str, **values: Any) -> None:
    """Fill in one of the templates beside this file."""
    templates = PackageLoader("hfseq.insight.plots", ".")
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined)
    Path(path).write_text(environment.get_template(template).render(**values), encoding="utf-8")
