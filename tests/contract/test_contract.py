"""Every promise for every row of the registry, and a planted fault for each promise.

The quick checks of one module of `promises` are one case a configuration, and a failure names each check that failed.
A heavy check is a case of its own.
"""

from functools import partial

import pytest

from hfseq import FAMILIES
from tests.contract.configurations import (
    CASES,
    HEADS,
    ONE_A_FAMILY,
    OWN_LOSS,
    REPRESENTATIVES,
    ROWS,
    make_case,
    promises,
)
from tests.contract.faults import CRASHES, FAULTS, PLANTED
from tests.contract.promises import CHECKS, EVERYWHERE, HEAVY, ON_CPU_ALONE, ONCE_A_FAMILY
from tests.devices import ON_CPU
from tests.rounds import run_rounds


def test_the_registry_and_the_suite_are_not_empty():
    assert len(ROWS) >= 3 and len(CHECKS) >= 20
    assert {(name, task) for name, task, _ in CASES.values()} >= set(ROWS)
    assert {name for name, _, _ in CASES.values()} == set(FAMILIES)


def here(label):
    """The checks of a configuration on this device, those of one module together: module -> checks."""
    found = {}
    for check in promises(label):
        if ON_CPU or check not in ON_CPU_ALONE:
            found.setdefault(check.__module__.rpartition(".")[2], []).append(check)
    return found


def row(label, name, value, *marks):
    newest = [pytest.mark.newest] if label in ONE_A_FAMILY else []
    return pytest.param(label, value, id=f"{label}-{name}", marks=[*newest, *marks])


def is_met(label, check):
    """Tell whether CI makes this check of it; `make test-all` makes every check of every configuration."""
    if check in ONCE_A_FAMILY:
        return label in ONE_A_FAMILY or label in OWN_LOSS
    return check in EVERYWHERE or label in REPRESENTATIVES or label in OWN_LOSS


def quick_rows():
    """The quick checks of each module for each configuration: those of CI, and the rest."""
    for label in CASES:
        for module, checks in here(label).items():
            quick = [check for check in checks if check not in HEAVY]
            met = [check for check in quick if is_met(label, check)]
            if met:
                yield row(label, module, met)
            if met != quick:
                yield row(label, f"{module}-more", [check for check in quick if check not in met], pytest.mark.slow)


@pytest.mark.parametrize(("label", "checks"), quick_rows())
def test_promises(label, checks, tmp_path):
    run_rounds((f"{check.__name__} of {label}", partial(run_check, check, label, tmp_path)) for check in checks)


def run_check(check, label, parent):
    folder = parent / check.__name__
    folder.mkdir()
    check(make_case(label, folder))


@pytest.mark.parametrize(
    ("label", "check"),
    [
        row(label, check.__name__, check, *([] if is_met(label, check) else [pytest.mark.slow]))
        for label in CASES
        for checks in here(label).values()
        for check in checks
        if check in HEAVY
    ],
)
def test_heavy_promise(label, check, tmp_path):
    check(make_case(label, tmp_path))


def test_each_family_and_head_meets_the_heavy_checks():
    assert sorted(CASES[label][:2] for label in REPRESENTATIVES) == sorted(HEADS)
    assert set(HEADS) >= set(ROWS) and set(CHECKS) > HEAVY > ONCE_A_FAMILY and set(CHECKS) > EVERYWHERE
    assert ONE_A_FAMILY <= REPRESENTATIVES


def test_each_promise_has_a_planted_fault():
    assert set(FAULTS) == set(CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "check", "fault"), [pytest.param(*row, id=f"{row[0]}-{row[1].__name__}") for row in PLANTED]
)
def test_the_check_sees_a_planted_fault(label, check, fault, tmp_path, monkeypatch):
    case = make_case(label, tmp_path)
    check(case)
    owner, name, value = fault
    monkeypatch.setattr(owner, name, value)
    with pytest.raises(CRASHES.get(check, (AssertionError, pytest.fail.Exception))):
        check(case)
