"""What the extras of the package install beside its base, and the error where one of them is missing.

The base loads models and runs them: `Auto` classes, pipelines, `generate`, `push` and `pull`. Each room that needs
more says so by one line, `need("train")`, before it imports anything.
"""

import logging
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

logger = logging.getLogger(__name__)
_has_warned = False

EXTRAS = {
    "train": ("datasets", "accelerate", "evaluate", "jinja2", "pyarrow", "sacrebleu", "scipy", "sklearn"),
    "fast": ("numba",),
    "plots": ("jinja2", "matplotlib", "sklearn"),
    "pictures": ("PIL",),
}
"""Extra -> the modules that it brings. The lists in `pyproject.toml` say the same by the names of projects."""

_PROJECTS = {"sklearn": "scikit-learn", "PIL": "pillow"}


def need(extra: str, *modules: str) -> None:
    """Raise an ImportError that names the extra, if one of its modules (by default any) is missing."""
    missing = next((module for module in modules or EXTRAS[extra] if find_spec(module) is None), None)
    if missing is not None:
        message = f'This needs {_PROJECTS.get(missing, missing)}: pip install "hfseq[{extra}]"'
        raise ModuleNotFoundError(message, name=missing)


def kernels(module: str, slow: str) -> ModuleType | None:
    """Import a module of `hfseq.kernels`; without numba say what is slow now, once a process, and return None.

    Args:
        slow: What runs without kernels, and how much slower: "Word vectors train up to 60 times slower".
    """
    try:
        return import_module(f"hfseq.kernels.{module}")
    except (ImportError, OSError) as error:  # OSError: the library of LLVM does not load
        # numba brings llvmlite: where either is missing, the name of numba is enough.
        _warn_once(slow, "" if isinstance(error, ModuleNotFoundError) else f" ({error})")
        return None


def _warn_once(slow: str, cause: str) -> None:
    global _has_warned
    if not _has_warned:
        logger.warning('%s without numba%s: pip install "hfseq[fast]"', slow, cause)
    _has_warned = True
