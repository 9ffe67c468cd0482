"""Printed source becomes a module, kept on disk so that its machine code can be kept too."""

import hashlib
import importlib.util
import logging
import os
import stat
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from types import ModuleType

import llvmlite
import numba
from huggingface_hub import cached_assets_path

from . import simd

logger = logging.getLogger(__name__)

# Reentrant, for a printed module may print another. Threads that only run kernels never meet it, and nothing that
# numba does under its own lock asks for this one.
_LOCK = threading.RLock()


def import_source(source: str, *used: ModuleType) -> ModuleType:
    """Import a printed module from the cache folder, where numba keeps its machine code too.

    Threads may ask for the same module at once: the first one imports it, the others wait.

    Args:
        source: The text of the module.
        used: Modules, besides the vectors, that write its machine code: older code must not meet a change of theirs.
    """
    ours = b"".join(Path(str(module.__file__)).read_bytes() for module in (simd, *used))
    made_by = f"{numba.__version__} {llvmlite.__version__} {simd.register_bits()}"
    key = hashlib.sha256(source.encode() + ours + made_by.encode())
    name = f"hfseq_kernels_{key.hexdigest()[:24]}"
    with _LOCK:
        if name not in sys.modules:
            sys.modules[name] = _run(name, _written(name, source))
        return sys.modules[name]


def _written(name: str, source: str) -> Path:
    """Return the module's file; write it if it is not there."""
    path = _folder() / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != source:  # cut short, or not what was printed
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
            file.write(source)
        os.replace(file.name, path)  # at once: another process may be importing it
    return path


def _run(name: str, path: Path) -> ModuleType:
    """Run a module that nobody else can see before it is whole."""
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@cache
def _folder() -> Path:
    """Return the folder of compiled kernels: in HF_ASSETS_CACHE, or one of this process if that cannot be written."""
    try:
        folder = cached_assets_path("hfseq", namespace="kernels")
        _check_owner(folder)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, ValueError) as error:  # ValueError: a file where a folder should be
        logger.warning("Kernels are compiled anew in each process: their cache cannot be used (%s).", error)
        return Path(_own_folder().name)


@cache
def _own_folder() -> "tempfile.TemporaryDirectory[str]":
    """Make a folder for this process, which removes it at its end."""
    return tempfile.TemporaryDirectory(prefix="hfseq_kernels_")


def _check_owner(folder: Path) -> None:
    """Refuse a folder that others may write to: what lies there is run as code."""
    status = folder.stat()
    if os.name == "posix" and (status.st_uid != os.getuid() or status.st_mode & stat.S_IWOTH):
        raise PermissionError(f"{folder} belongs to somebody else, or anybody may write there")
