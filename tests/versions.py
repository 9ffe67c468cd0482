"""What the Makefile installs to test other releases than the pinned ones; `pyproject.toml` is the only list.

    python tests/versions.py lowest          # constraints: each lower bound that pyproject.toml declares
    python tests/versions.py newest          # constraints: none but torch, which is the pinned one at both ends
    python tests/versions.py transformers    # what pyproject.toml requires of a package, for pip
    python tests/versions.py layer FOLDER    # an environment over this one: what is installed there comes first
    python tests/versions.py installed       # the releases in use, for the log

It runs where only `packaging` is installed (and `tomli`, on Python 3.10).
"""

import itertools
import sys
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
SHOWN = ("transformers", "datasets", "accelerate", "tokenizers", "huggingface_hub", "torch", "numpy")


def requirements(pyproject: str) -> list[Requirement]:
    """What the package and its extras require, the package itself left out."""
    project = tomllib.loads(pyproject)["project"]
    lines = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    return [found for found in map(Requirement, lines) if found.name != project["name"]]


def lower_bound(requirement: Requirement) -> str:
    """The one version behind `>=`."""
    bounds = [spec.version for spec in requirement.specifier if spec.operator == ">="]
    if len(bounds) != 1:
        raise ValueError(f"pyproject.toml: {str(requirement)!r} needs one lower bound, such as >=1.0.")
    return bounds[0]


def newest(constraints: str = CONSTRAINTS) -> list[str]:
    """The pin of torch alone: everything else is the newest that pip finds."""
    return [line for line in constraints.splitlines() if line.startswith("torch==")]


def lowest(pyproject: str = PYPROJECT, constraints: str = CONSTRAINTS) -> list[str]:
    """A pin for each lower bound but torch's, which is the one of `newest`."""
    others = [found for found in requirements(pyproject) if found.name != "torch"]
    return sorted({f"{found.name}=={lower_bound(found)}" for found in others}) + newest(constraints)


def requirement(name: str) -> str:
    """What the package requires of another one."""
    return next(str(found) for found in requirements(PYPROJECT) if found.name == name)


def layer(folder: str) -> None:
    """Make an environment without pip, in which this one's packages are found after its own."""
    venv.create(folder, clear=True, symlinks=True)
    (own,) = Path(folder).glob("lib/*/site-packages")
    # `addsitedir`, not a bare path: it also reads the .pth files there, which editable installs are.
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (own / "below.pth").write_text(line, encoding="utf-8")


def main(what: str, *rest: str) -> None:
    """Do what the command line says."""
    if what == "layer":
        layer(*rest)
    elif what == "installed":
        print(", ".join(f"{name} {version(name)}" for name in SHOWN))
    else:
        lists = {"lowest": lowest, "newest": newest}
        print("\n".join(lists[what]() if what in lists else [requirement(what)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
