"""What DATA is: a file, a folder, `embedded` or a data set on the Hub; and where the recipes lie."""

import importlib.util
from pathlib import Path

# As in data/sources.py, whose import would take seconds.
_GENERATED = ("embedded", "embedded_hindi", "embedded_seasons", "embedded_regimes")
_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt", ".conll", ".conllu", ".gz", ".bz2", ".xz", ".iob")


def is_local(data: str) -> bool:
    """Tell a path from a name on the Hub; what looks like a file is one, also if it is not there."""
    looks_so = data.startswith((".", "/", "~")) or Path(data).suffix.lower() in _SUFFIXES or data.endswith("/")
    return data not in _GENERATED and (looks_so or Path(data).exists())


def recipes_folder() -> Path:
    """Return the folder of the recipes: the package hfseq.recipes, or in a source tree the one beside the package."""
    spec = importlib.util.find_spec("hfseq.recipes")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    beside = Path(__file__).parents[2] / "recipes"
    if not (beside / "__init__.py").is_file():
        raise FileNotFoundError("The recipes are not installed with this hfseq: install it anew.")
    return beside


def config_names() -> dict[str, Path]:
    """Return the settings files, by RECIPE/NAME."""
    files = sorted(recipes_folder().glob("configs/*/*.yaml"))
    return {f"{path.parent.name}/{path.stem}": path for path in files}
