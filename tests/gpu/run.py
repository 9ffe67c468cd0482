"""What a GPU must show, in ten minutes and one command. IT HAS NEVER RUN ON A GPU SO FAR: its authors had none.

    python tests/gpu/run.py                     # one NVIDIA GPU; `make test-gpu` makes the environment first
    python tests/gpu/run.py --device cpu        # the same script in small, to try it; nothing is recorded
    python tests/gpu/run.py --device pretend    # the CPU's numbers on a device that torch takes for another
    python tests/gpu/run.py --only speed words

Each section is a process of its own with a limit of its own, so that one that fails, hangs or breaks the GPU's context
is noted, and the next one runs; all together end after ten minutes. What they found is printed, and recorded with the
device's name in benchmarks/results/gpu.json when all of it ran on a GPU. The exit code is 0 if nothing failed.

Results are compared without TF32, by `tests/closeness.py`.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BUDGET = 600  # seconds for everything
LEAST = 5  # seconds below which a section is not begun
SHOWN = 60  # lines of one that failed


@dataclass(frozen=True)
class Section:
    """A part of the run.

    Attributes:
        about: What it shows.
        command: What comes after `python -m`; "{rows}" is a file for rows of measurements.
        limit: Seconds on a GPU.
        small: What to select of the tests where there is none.
    """

    about: str
    command: tuple[str, ...]
    limit: int
    small: str = ""


@dataclass
class Outcome:
    """What a section came to."""

    name: str
    about: str
    outcome: str  # passed, failed, skipped
    seconds: float
    detail: str


def _pytest(*arguments: str) -> tuple[str, ...]:
    return ("pytest", "-rs", "--tb=short", "-p", "no:cacheprovider", *arguments)


SECTIONS = {
    "kernels": Section(
        "every cell's Triton kernels against its equation, in both launch styles",
        _pytest("-m", "", "tests/kernels/cells/test_gpu_kernels.py"),
        150,
        "every_cell and (lstm or gru)",
    ),
    "contract": Section(
        "the promises for one configuration a family",
        _pytest("-m", "newest and not slow", "tests/contract/test_contract.py"),
        120,
        "test_promise and (lstm-language or hmm-language)",
    ),
    "generation": Section(
        "beams, several texts of a prompt, kept states, stop strings",
        _pytest("tests/generation/test_generation.py"),
        60,
    ),
    "numbers": Section(
        "answers, losses and gradients of every configuration and cell, text, scores and counts against the CPU",
        _pytest("-m", "", "tests/gpu/test_numbers.py"),
        120,
        "gru or transformer-text-generation-plain or word2vec-plain or scores or markov or counting",
    ),
    "attention": Section(
        "flash attention of torch and of the package flash_attn", _pytest("-m", "", "tests/gpu/test_attention.py"), 30
    ),
    "words": Section("word2vec's torch engine", _pytest("-m", "", "tests/gpu/test_words.py"), 40, "cbow or same_seed"),
    "speed": Section("tokens a second against plain torch (cuDNN)", ("tests.gpu.speed", "{rows}"), 80),
}


def reason_to_skip(name: str, device: str) -> str | None:
    """Why a section cannot run here."""
    if name == "kernels" and find_spec("triton") is None:
        return "Triton is not installed (pip install triton)"
    if name == "kernels" and device == "pretend":
        return "Triton has no such device; --device cpu runs its interpreter"
    if name == "speed" and device == "pretend":
        return "that device has no speed"
    return None


def run_section(name: str, device: str, limit: float, rows: Path, workers: int) -> Outcome:
    """Run a section and say how it went."""
    section, began = SECTIONS[name], time.monotonic()

    def outcome(kind: str, detail: str) -> Outcome:
        return Outcome(name, section.about, kind, round(time.monotonic() - began, 1), detail)

    reason = reason_to_skip(name, device)
    if reason is not None:
        return outcome("skipped", reason)
    if limit < LEAST:
        return outcome("failed", f"not begun: the {BUDGET} s for everything are over")
    command = [word.format(rows=rows) for word in section.command]
    if device != "cuda" and section.small:
        command += ["-k", section.small]
    if workers > 1 and command[0] == "pytest":
        command += ["-n", str(workers)]
    code, output = _run([sys.executable, "-m", *command], _environment(device), limit)
    print(output)
    if code is None:
        return outcome("failed", f"stopped after {limit:.0f} s; {_last_words(output)}")
    words = _last_words(output)
    if code == 0 and "skipped" in words and "passed" not in words:
        return outcome("skipped", _reasons(output))
    return outcome("passed" if code == 0 else "failed", words)


def _run(command: list[str], environment: dict[str, str], limit: float) -> tuple[int | None, str]:
    """Exit code, None if it was stopped, and output; its children are stopped with it."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None = None
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if code is None:  # also after Ctrl-C
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        lines = output.read().splitlines()
    return code, "\n".join(lines if code == 0 else lines[-SHOWN:])


def _environment(device: str) -> dict[str, str]:
    """The environment of a section: one GPU, the first that is visible, as Trainer would spread over several."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] if device == "cuda" else ""
    own = {"HFSEQ_TEST_DEVICE": device, "CUDA_VISIBLE_DEVICES": visible, "TOKENIZERS_PARALLELISM": "false"}
    return {"OMP_NUM_THREADS": "1"} | os.environ | own


def _last_words(output: str) -> str:
    lines = [line.strip(" =") for line in output.splitlines() if line.strip(" =")]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return "; ".join([*failed[:20], *lines[-1:]])


def _reasons(output: str) -> str:
    return "; ".join(dict.fromkeys(re.findall(r"^SKIPPED.*?: (.*)$", output, flags=re.MULTILINE)))


def describe(device: str) -> dict[str, Any]:
    """The device and the libraries that drive it."""
    import torch

    if device != "cuda":
        return {"device": f"{device} ({platform.processor() or platform.machine()})"}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": torch.cuda.get_device_name(0),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


@contextmanager
def _rows_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "rows.json"


def run_all(names: list[str], device: str) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """The sections one after the other, and the rows that they measured."""
    ends, outcomes = time.monotonic() + BUDGET, []
    workers = min(4, (os.cpu_count() or 1) // 4) if device == "cuda" else 1  # on a GPU the CPU's part is most of it
    with _rows_file() as rows:
        for name in names:
            print(f"\n== {name}: {SECTIONS[name].about}", flush=True)
            left = ends - time.monotonic()
            limit = min(SECTIONS[name].limit, left) if device == "cuda" else left
            outcomes.append(run_section(name, device, limit, rows, workers))
        measured = json.loads(rows.read_text(encoding="utf-8")) if rows.is_file() else []
    return outcomes, measured


def main() -> int:
    """Run, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu", "pretend"], default="cuda")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="sections")
    options = parser.parse_args()
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no CUDA device here. --device cpu tries the script in small.")
        return 2
    outcomes, rows = run_all(options.only, options.device)
    about = describe(options.device)  # which takes hold of the GPU: some may be held by one process alone
    print(f"\n{about['device']}")
    for each in outcomes:
        print(f"{each.outcome:8} {each.name:11} {each.seconds:6.1f} s  {each.detail}")
    for row in rows:
        speeds = f"{row['tokens_per_second']:>9,} tokens/s, plain torch {row['peer_tokens_per_second']:>9,}"
        print(f"{row['claim']:105} {speeds}  ratio {row['ratio']:.2f}")
    if options.device == "cuda" and options.only == list(SECTIONS):
        _record(about, outcomes, rows)
    return int(any(each.outcome == "failed" for each in outcomes))


def _record(about: dict[str, Any], outcomes: list[Outcome], rows: list[dict[str, Any]]) -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from measure import write_result

    write_result(
        "gpu",
        command="python tests/gpu/run.py",
        peer="plain torch: nn.LSTM, nn.GRU, nn.RNN (cuDNN)",
        unit="ratio of tokens per second, wall clock, float32 without TF32, median of interleaved rounds",
        rows=rows,
        **about,
        sections=[asdict(each) for each in outcomes],
    )


if __name__ == "__main__":
    sys.exit(main())
