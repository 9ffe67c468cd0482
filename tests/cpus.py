"""Run the numerical tests in every setting that changes in which order a CPU adds: `make test-cpus`.

    python tests/cpus.py                       # all of them, a line for each setting; minutes each
    python tests/cpus.py tests/models/counting/test_hmm.py     # other tests
    python tests/cpus.py -k "not 130"          # fewer of them: options that begin with - are pytest's

Settings that ask for more than the CPU has are left out.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import llvmlite.binding

ROOT = Path(__file__).parents[1]
NUMERICAL = [
    "tests/models",
    "tests/kernels",
    "tests/evaluation",
    "tests/generation",
    "tests/test_closeness.py",
    "tests/test_cpus.py",
    "tests/tasks/causal_lm/test_language_models.py",
    "tests/tasks/tagging/test_tagging.py",
    "tests/training/streams",
    "tests/training/test_training.py",
    "tests/training/words",
]
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "HFSEQ_SIMD_BITS": "256"}
SETTINGS: list[dict[str, str]] = [
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2", "HFSEQ_SIMD_BITS": "512"},
    {"OMP_NUM_THREADS": "1", **AVX2},
    {"OMP_NUM_THREADS": "2", **AVX2},
    {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "HFSEQ_SIMD_BITS": "128"},
    {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"},
]
NEEDS = {"avx2": "avx2", "256": "avx2", "512": "avx512f"}  # a value, and what a CPU must have for it


def main() -> None:
    """Run each setting, and exit with an error if one fails."""
    features = llvmlite.binding.get_host_cpu_features()
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    chosen = sys.argv[1:] if len(options) < len(sys.argv) - 1 else [*NUMERICAL, *options]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for setting in SETTINGS:
            name = " ".join(f"{key}={value}" for key, value in setting.items())
            if missing := [NEEDS[value] for value in setting.values() if not features.get(NEEDS.get(value, ""), True)]:
                print(f"{name}: left out, this CPU has no {missing[0]}", flush=True)  # noqa: T201
                continue
            failed |= not passes(name, setting, chosen, folder)
    sys.exit(failed)


def passes(name: str, setting: dict[str, str], chosen: list[str], kernels: str) -> bool:
    """Whether the tests pass; prints a line, and what failed."""
    inherited = {key: value for key, value in os.environ.items() if key not in {k for s in SETTINGS for k in s}}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--tb=short", "--show-capture=no", *chosen],
        cwd=ROOT,
        # Kernels are compiled once, though each run has its own Hub; a thread that waits leaves its core to others.
        env=inherited | setting | {"HF_ASSETS_CACHE": kernels, "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        encoding="utf-8",
    )
    seconds = time.perf_counter() - began
    *lines, summary = done.stdout.splitlines() or [done.stderr]
    failures = [line for line in lines if re.match("FAILED|ERROR|E  ", line)]
    print(f"{name}: {summary.strip('= ')}, {seconds:.0f} s in all", *failures, sep="\n", flush=True)  # noqa: T201
    return done.returncode == 0


if __name__ == "__main__":
    main()
