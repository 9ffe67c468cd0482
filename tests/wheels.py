"""The wheel that people install, and an environment that holds it and nothing of the source."""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build_wheel(folder):
    """Builds the wheel from a copy of what belongs to the package, without network."""
    source, target = folder / "source", folder / "wheel"
    for path in [ROOT / "pyproject.toml", ROOT / "setup.py", ROOT / "README.md", *ROOT.glob("[hr]*/**/*")]:
        if path.is_file() and path.suffix != ".pyc":
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    target.mkdir()
    options = ["--quiet", "--no-deps", "--no-build-isolation", "-w", target]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, source], check=True, cwd=target)
    return next(target.glob("hfseq-*.whl"))


def install(wheel, folder):
    """Makes an environment with the wheel, and returns the folder of its commands.

    It reaches what is installed here, but no other hfseq: a folder that a `.pth` file names has its own `.pth` files
    unread, and those are how an editable install reaches its source.
    """
    venv.create(folder, with_pip=False)
    commands = folder / "bin"
    options = ["--quiet", "--disable-pip-version-check", "install", "--no-deps", "--no-index", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", commands / "python", *options], check=True, cwd=folder)
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    reached = [path for path in (*given, *sys.path) if path in given or Path(path).name.endswith("-packages")]
    (site,) = folder.glob("lib/python*/site-packages")
    others = [path for path in dict.fromkeys(reached) if Path(path).resolve() != ROOT]
    (site / "others.pth").write_text("\n".join(others) + "\n", encoding="utf-8")
    return commands
