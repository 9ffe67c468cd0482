"""Run what stands in README, docs/ and notebooks/: every command and every piece of Python, offline and tiny.

    python docs/run.py                               # every page, as CI does it: what takes long is left out
    python docs/run.py --all                         # every page with its slow blocks, and every notebook
    python docs/run.py README.md docs/tasks/masked.md notebooks/01_word2vec_and_analogies.ipynb
    python docs/run.py --site build/docs             # also look for requests in the built site

The blocks of a page run one after the other, in a folder of their own that holds a few small files (`prepare`), and
its pieces of Python share their names. A comment in front of a block changes what is run:

    <!-- run with: --training.max_steps=3 -->        these words more for each training
    <!-- slow: twelve ways are tried -->             nothing, unless `--all` is given; the reason is printed
    <!-- not run: needs an account -->               nothing; the reason is printed

A notebook is run as Jupyter's "Run all" does it: its cells in order, to the first that fails (`docs/notebooks.py`).

Everything is a fork of one process that has imported torch and hfseq, so a command costs no start of Python. Pages are
run beside each other, one on each core, those with the most commands first; compiled kernels are those of the tests.
"""

import argparse
import csv
import importlib
import json
import multiprocessing
import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
NOTEBOOKS = tuple(sorted((ROOT / "notebooks").glob("*.ipynb")))
RUN = "run with: "
SLOW = "slow: "
SKIP = "not run: "
# Where the tests keep the kernels that are printed, and their machine code: compiling takes minutes.
CACHE = Path(sys.prefix) / ".cache"
KERNELS = {"HF_ASSETS_CACHE": str(CACHE / "assets"), "NUMBA_CACHE_DIR": str(CACHE / "numba")}

_BLOCK = re.compile(r"(?:<!-- (?P<note>[^>]*?) -->\n+)?^```(?P<language>python|bash)\n(?P<code>.*?)^```", re.M | re.S)
_SHELL = re.compile(r"^[A-Z_]+=|[|<>;&$]")
_REQUEST = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b[^>]*rel=["']?(?:stylesheet|preconnect|icon|preload)[^>]*href=["']?(?:https?:)?//[^>]*>"""
)
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and what the comment in front of it says."""

    language: str
    code: str
    note: str
    name: str = ""  # of a notebook's cell

    @property
    def first_line(self) -> str:
        """The block in a line, for the report."""
        return self.name + self.code.strip().splitlines()[0][:90]

    def skipped(self, run_all: bool = False) -> str | None:
        """Why it is not run."""
        if self.note.startswith(SLOW) and not run_all:
            return self.note
        return self.note.removeprefix(SKIP) if self.note.startswith(SKIP) else None

    @property
    def more_words(self) -> list[str]:
        """What is added to each training."""
        return shlex.split(self.note.removeprefix(RUN)) if self.note.startswith(RUN) else []


def blocks_of(text: str) -> list[Block]:
    """Find the pieces of Python and the commands of a page."""
    return [Block(found["language"], found["code"], found["note"] or "") for found in _BLOCK.finditer(text)]


def blocks_in(page: Path) -> list[Block]:
    """Find what is to be run of a page, or of a notebook."""
    from docs.notebooks import code_cells

    if page.suffix == ".ipynb":
        return [Block("python", cell.code, "", f"{cell.name}: ") for cell in code_cells(page)]
    return blocks_of(page.read_text(encoding="utf-8"))


def commands_of(block: Block) -> Iterator[list[str] | str]:
    """Find the commands of a block: words, or a line as it is where it needs a shell."""
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        quoted = re.sub(r"'[^']*'|\"[^\"]*\"|(?<!\S)#.*", "", line)
        if _SHELL.search(quoted):
            yield line
        else:
            trains = words[:2] == ["hfseq", "train"] or words[0] == "python" and words[1].startswith("recipes/")
            yield words + (block.more_words if trains else [])


def prepare(folder: Path) -> None:
    """Write the small files that the pages call the reader's own."""
    import hfseq

    (folder / "recipes").symlink_to(ROOT / "recipes")
    data = hfseq.load_embedded()
    labels, tags = data["train"].features["label"], data["train"].features["tags"].feature
    rows = data["train"].select(range(400)).to_list()
    for row in rows:
        row["label"], row["tags"] = labels.int2str(row["label"]), tags.int2str(row["tags"])
    texts = [row["text"] for row in rows]
    _table(folder / "my.csv", ("text", "label"), rows)
    _table(folder / "my_folder" / "train.csv", ("sentence", "topic"), rows[:300])
    _table(folder / "my_folder" / "test.csv", ("sentence", "topic"), rows[300:])
    _pairs(folder, rows)
    _table(folder / "translations.csv", ("text", "translation"), rows, keys=("text", "translation"))
    circles = ["king queen man woman", "monday friday one two", "the river bank paid interest"] * 200
    lines = "\n".join(texts + circles) + "\n"
    for name in ("my.txt", "corpus.txt", "questions.txt"):
        (folder / name).write_text(lines, encoding="utf-8")
    for name, part in (("my.train.conll", rows[:300]), ("my.test.conll", rows[300:])):
        pairs = [zip(row["tokens"], row["tags"], strict=True) for row in part]
        sentences = ["".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in pairs]
        (folder / name).write_text("\n".join(sentences), encoding="utf-8")
    labelled = "\n".join(f"__label__{row['label']} {row['text']}" for row in rows) + "\n"
    (folder / "train.txt").write_text(labelled, encoding="utf-8")
    shutil.copy(ROOT / "tests" / "golden" / "fasttext" / "pruned.ftz", folder / "lid.176.ftz")
    script = folder / "bin" / "hfseq"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m hfseq "$@"\n', encoding="utf-8")
    script.chmod(0o755)


def _table(
    path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]], keys: Sequence[str] = ("text", "label")
) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *([row[key] for key in keys] for row in rows)])


def _pairs(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write each row with the next one, and whether they have one label."""
    found = [{"text": one["text"], "text_pair": next_one["text"]} for one, next_one in pairwise(rows)]
    labels = ["same" if one["label"] == next_one["label"] else "other" for one, next_one in pairwise(rows)]
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = ((*pair.values(), label) for pair, label in zip(found, labels, strict=True))
        csv.writer(file).writerows([("question", "other", "label"), *table])
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, found[:5])) + "\n", encoding="utf-8")


def _offline(self: socket.socket, address: Any, *_: Any) -> None:
    raise OSError(f"docs/run.py runs offline, and this connects to {address}.")


def _logged(log: Path, act: Callable[..., None], *words: Any) -> None:
    """Do something in this new process, with all that it prints in a file."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(target, 1)
    os.dup2(target, 2)
    socket.socket.connect = _offline  # type: ignore[method-assign, assignment]
    act(*words)
    sys.stdout.flush()


def _command(command: list[str] | str) -> None:
    if isinstance(command, str) or command[0] not in ("hfseq", "python") or command[1:2] in (["-c"], ["-m"]):
        shell = command if isinstance(command, str) else shlex.join(command)
        os.execvp("bash", ["bash", "-euc", shell])
    if command[0] == "python":
        sys.argv = command[1:]
        path = Path(command[1])
        importlib.import_module(".".join(path.with_suffix("").parts)).main(command[2:])
    else:
        sys.argv = command
        code = importlib.import_module("hfseq.cli").main(command[1:])
        sys.exit(code)


def _python(pipe: Connection) -> None:
    """Run the pieces of Python that come through a pipe, all with the same names."""
    from tests.pages import play

    scope: dict[str, Any] = {"__name__": "__main__"}
    while code := pipe.recv():
        try:
            play([code], scope)
        except Exception:
            traceback.print_exc()
            pipe.send(False)
        else:
            pipe.send(True)


def run_page(blocks: list[Block], folder: Path) -> list[str]:
    """Return the blocks of a page that failed, with what they printed."""
    os.chdir(folder)
    os.environ["PATH"] = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    log = folder / "log.txt"
    ours, theirs = _FORK.Pipe()
    python = _FORK.Process(target=_logged, args=(log, _python, theirs), daemon=True)
    python.start()
    theirs.close()
    failed: list[str] = []
    for block in blocks:
        if failed and block.name:
            failed[-1] += "    the cells after it were not run"
            break
        log.write_text("", encoding="utf-8")
        if not _run(block, log, ours):
            failed.append(f"{block.first_line}\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
    ours.send(None)
    python.join()
    return failed


def _run(block: Block, log: Path, pipe: Connection) -> bool:
    if block.language == "python":
        pipe.send(block.code)
        try:
            return bool(pipe.recv())
        except EOFError:
            return False
    for command in commands_of(block):
        process = _FORK.Process(target=_logged, args=(log, _command, command))
        process.start()
        process.join()
        if process.exitcode:
            return False
    return True


def _in_fork(act: Callable[..., Any], *words: Any) -> Any:
    """Return what a function gives in a process of its own; None if it ended early."""
    receive, send = _FORK.Pipe()
    child = _FORK.Process(target=lambda: send.send(act(*words)))
    child.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        return None
    finally:
        child.join()


def report(page: Path, files: Path, run_all: bool = False) -> bool:
    """Run a page beside a copy of these files, print what was run, and return whether nothing failed."""
    start, blocks = time.monotonic(), blocks_in(page)
    reasons = [(block, block.skipped(run_all)) for block in blocks]
    skipped = [f"{block.first_line} ({reason})" for block, reason in reasons if reason is not None]
    chosen, failed = [block for block, reason in reasons if reason is None], []
    if chosen:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(files, folder, symlinks=True, dirs_exist_ok=True)
            failed = _in_fork(run_page, chosen, Path(folder))
        if failed is None:
            failed = ["the page ended early"]
    count = f"{len(chosen)} of {len(blocks)} blocks run"
    lines = [f"{page.relative_to(ROOT)}: {count}, {len(failed)} failed, {time.monotonic() - start:.0f} s"]
    lines += [*(f"    not run: {line}" for line in skipped), *(f"    FAILED: {text}" for text in failed)]
    print("\n".join(lines), flush=True)  # at once: other pages are reported by other processes
    return not failed


def requests_of(site: Path) -> list[str]:
    """Find what a reader's browser would fetch from elsewhere."""
    texts = ((path, path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html")))
    return [f"{path.relative_to(site)}: {found[0]}" for path, text in texts for found in _REQUEST.finditer(text)]


def commands_in(page: Path) -> int:
    """Count the commands of a page: it takes the longer, the more there are."""
    return sum(len(list(commands_of(block))) for block in blocks_in(page) if block.language == "bash")


def main() -> int:
    """Run the pages named, or all; the exit code tells whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="by default all; notebooks with --all alone")
    parser.add_argument("--all", action="store_true", help="also the blocks marked slow, and the notebooks")
    parser.add_argument("--site", type=Path, help="the folder that mkdocs has built")
    arguments = parser.parse_args()
    named = arguments.pages or (*PAGES, *(NOTEBOOKS if arguments.all else ()))
    pages = [page.resolve() for page in named]
    requests = requests_of(arguments.site) if arguments.site else []
    for line in requests:
        print(f"A REQUEST: {line}")
    sys.path.insert(0, str(ROOT))
    os.environ |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "Agg"} | KERNELS
    for module in ("hfseq", "torch", "hfseq.tasks.text_classification.build", "tests.pages"):
        importlib.import_module(module)
    importlib.import_module("hfseq.data.embedded.load").load_embedded()  # kept, so that no command generates it anew
    with tempfile.TemporaryDirectory() as folder:
        _in_fork(prepare, Path(folder))
        with ProcessPoolExecutor(os.cpu_count(), mp_context=_FORK) as pool:
            work = partial(report, files=Path(folder), run_all=arguments.all)
            is_good = pool.map(work, sorted(pages, key=commands_in, reverse=True))
            return 0 if all([*is_good, not requests]) else 1


if __name__ == "__main__":
    sys.exit(main())
