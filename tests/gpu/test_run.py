"""The script for a GPU, tried without one: sections that fail, hang or break, the record, and all in small."""

import json
import subprocess
import sys

import pytest

from tests.gpu import run
from tests.launches import HANGS, ROOT


def script(*words):
    return subprocess.run(
        [sys.executable, "tests/gpu/run.py", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=HANGS,
    )


@pytest.fixture
def in_small(monkeypatch):
    """Sections that say something, fail, hang, break the process, have nothing to run, and measure."""

    def section(code, limit=60):
        return run.Section("about", ("timeit", "-n1", "-r1", code), limit)

    sections = {
        "says": section("print('7 passed')"),
        "fails": section("raise ValueError('why')"),
        "breaks": section("import os; os.abort()"),
        "skips": section(
            "import os; print('SKIPPED [1] a.py:3: no such kernel\\n1 skipped', flush=True); os._exit(0)"
        ),
        "measures": run.Section("", ("timeit", "-n1", "-r1", "open('{rows}', 'w').write('[7]')"), 60),
    }
    monkeypatch.setattr(run, "SECTIONS", sections)
    return sections


def test_each_section_runs_whatever_became_of_the_others(in_small):
    outcomes, rows = run.run_all([*in_small], "cpu")
    found = {each.name: each.outcome for each in outcomes}
    assert found == {
        **{"says": "passed", "fails": "failed", "breaks": "failed", "skips": "skipped", "measures": "passed"}
    }
    details = {each.name: each.detail for each in outcomes}
    assert "why" in details["fails"] and details["skips"] == "no such kernel" and rows == [7]


@pytest.mark.slow  # 20 seconds of waiting
def test_one_that_hangs_is_stopped_with_its_children(in_small, tmp_path):
    code = (
        "import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); print('begun', flush=True); time.sleep(600)"
    )
    in_small["hangs"] = run.Section("", ("timeit", "-n1", "-r1", code), 60)
    outcome = run.run_section("hangs", "cpu", 20, tmp_path / "rows", 1)
    assert outcome.outcome == "failed" and "stopped after 20 s; begun" in outcome.detail
    status = subprocess.run(
        ["ps", "-o", "stat=", "-p", (tmp_path / "pid").read_text()], capture_output=True, text=True
    )
    assert not status.stdout.strip() or status.stdout.startswith("Z")


def test_what_has_no_time_left_is_said_and_not_begun(in_small, tmp_path):
    outcome = run.run_section("says", "cpu", run.LEAST - 1, tmp_path / "rows", 1)
    assert outcome.outcome == "failed" and "are over" in outcome.detail


def test_without_a_gpu_it_says_so_and_writes_nothing(monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    found = script()
    assert found.returncode == 2 and "--device cpu" in found.stdout
    assert not (ROOT / "benchmarks" / "results" / "gpu.json").exists()


def test_the_limits_fit_into_the_budget():
    assert sum(section.limit for section in run.SECTIONS.values()) <= run.BUDGET


def test_the_record_has_the_form_of_the_others(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import measure

    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    rows = [{"claim": "training", "goal": 1.0, "ratio": 0.9}]
    run._record({"device": "some GPU"}, [run.Outcome("words", "vectors", "passed", 1.0, "7 passed")], rows)
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    other = json.loads((ROOT / "benchmarks" / "results" / "cells.json").read_text(encoding="utf-8"))
    assert set(record) == {*other, "device", "sections"}
    assert record["device"] == "some GPU" and record["sections"][0]["outcome"] == "passed"


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "pretend"])
def test_the_script_itself_runs_in_small(device):
    found = script("--device", device)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("\npassed ") >= 5
