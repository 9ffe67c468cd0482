"""`hfseq recipes`: list, show or copy what `hfseq train` runs."""

import argparse
import difflib
import shutil
from pathlib import Path

from .sources import config_names, recipes_folder


def run(options: argparse.Namespace) -> None:
    """List names, print a file, or copy one."""
    files = {path.stem: path for path in sorted(recipes_folder().glob("[!_]*.py"))} | config_names()
    if options.action == "list":
        print(*files, sep="\n")
        return
    path = files.get(options.name) or _only(options.name, files)
    if options.action == "show":
        print(path.read_text(encoding="utf-8"), end="")
        return
    target = Path(options.folder) / path.name
    if target.exists():
        raise FileExistsError(f"{target} is there already: name another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    print(shutil.copyfile(path, target))


def _only(name: str | None, files: dict[str, Path]) -> Path:
    """Return the file of a name without its recipe, where one recipe alone has it."""
    ends = [path for key, path in files.items() if key.partition("/")[2] == name]
    if len(ends) == 1:
        return ends[0]
    several = [key for key in files if name and key.endswith(f"/{name}")]
    nearest = several or difflib.get_close_matches(name or "", files, n=5, cutoff=0)
    raise ValueError(f"{name!r} names no recipe; nearest: {', '.join(nearest)}. `hfseq recipes list` has all.")
