"""What every recipe tells readers of its model: the words of the card, the launch line, the place on the Hub."""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..training.arguments import SEVERAL_PROCESSES

_FOLDERS_FROM_ROOT = re.compile(r"(?<![\w./:~-])(?:[A-Za-z]:[\\/]|/)(?:[^\\/=,:{}\s]+[\\/])*(?=[^\\/\s])")


@dataclass
class HubSettings:
    """Where to publish."""

    repo_id: str | None = field(default=None, metadata={"help": "push the finished model here; null: do not"})
    private: bool = field(default=False, metadata={"help": "make a new repository private"})
    with_code: bool = field(default=False, metadata={"help": "push the model's code too, see hfseq.push"})


def launch_command(argv: Sequence[str]) -> str:
    """Write the launch line as a card shows it: folders of this machine, which exist nowhere else, are left out.

    Where several processes run, the line starts as many with `accelerate launch`.

    Args:
        argv: `sys.argv` of the recipe. What lies in the working directory is named from there.
    """
    here = f"{Path.cwd()}{os.sep}"
    words = [_FOLDERS_FROM_ROOT.sub("", word.replace(here, "")) for word in argv]
    processes = os.environ.get("WORLD_SIZE", "1")
    launcher = "python" if processes == "1" else SEVERAL_PROCESSES.format(processes)
    return f"{launcher} {shlex.join(words)}"
