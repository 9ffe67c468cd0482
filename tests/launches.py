"""Recipes through their real command lines, for the tests of each."""

import ast
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HANGS = 1800  # seconds that nothing here takes on the busiest machine: what is not done by then never ends


def launch(*words):
    """Runs a launch line as a person in the repository's root would, on the CPU."""
    return subprocess.run(
        command(*words),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=HANGS,
    )


def start(*words, **options):
    """Starts one for a test to interrupt, where this process itself may have been told to ignore Ctrl-C."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits nothing but an ignored one
    try:
        return subprocess.Popen(command(*words), cwd=ROOT, env=environment(), encoding="utf-8", **options)
    finally:
        signal.signal(signal.SIGINT, inherited)


def command(*words):
    """The words of a launch line with this interpreter in place of `python` and `accelerate`."""
    program, *words = words
    if program == "accelerate":
        program, *words = words
        words = ["-m", f"accelerate.commands.{program}", f"--main_process_port={free_port()}", *words]
    return [sys.executable, *words]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def documented(script, config, start):
    """The first launch line of the recipe's docstring that starts so, with our settings file in it."""
    text = ast.get_docstring(ast.parse((ROOT / script).read_text(encoding="utf-8")))
    line = next(line.strip() for line in text.splitlines() if line.strip().startswith(start))
    return [config if word == "..." else word for word in shlex.split(line) if word != "--section.key=value"]


def header_lines(path):
    """The comment at the beginning of a settings file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("#").strip() for line in lines[: lines.index("data:")]]
