"""What a finding is, and the table that checks write themselves into."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from .evidence import Evidence, Kind

Severity: TypeAlias = Literal["error", "warning", "hint"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")
ALL_KINDS: tuple[Kind, ...] = ("classes", "tags", "frames", "language", "other")
USUAL_RATE = 1e-3  # of Adam for networks of this size
LABELLED: tuple[Kind, ...] = ("classes", "tags", "frames")


@dataclass(frozen=True)
class Symptom:
    """What a check saw.

    Args:
        text: One sentence with the numbers.
        changes: Settings to try, by section and key: `{"training.learning_rate": 1e-3}`.
        advice: What to do where no setting does it.
    """

    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""


@dataclass(frozen=True)
class Finding:
    """A symptom with the name of its check, which stays the same from release to release, and how grave it is."""

    name: str
    severity: Severity
    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""

    @property
    def options(self) -> str:
        """The changes as options of a command line."""
        return " ".join(f"--{key}={_spelled(value)}" for key, value in self.changes.items())


@dataclass(frozen=True)
class Check:
    """One question to a run.

    Args:
        name: That of its finding.
        severity: How grave it is.
        kinds: Of which models it is asked.
        needs: The parts of the evidence that it reads; where one is missing the check is left out.
        cure: What is usually changed, as the page of the findings says it.
        look: The check; None: nothing found.
    """

    name: str
    severity: Severity
    kinds: tuple[Kind, ...]
    needs: tuple[str, ...]
    cure: str
    look: Callable[[Evidence], Symptom | None]

    @property
    def looks_for(self) -> str:
        """What it looks for, in a sentence."""
        told = (inspect.getdoc(self.look) or "").split("\n\n")[0].replace("\n", " ").removeprefix("Find ")
        return f"{told[:1].upper()}{told[1:]}"


CHECKS: dict[str, Check] = {}
"""Every check by its name, in the order of the files."""


def check(
    severity: Severity, *needs: str, cure: str, kinds: tuple[Kind, ...] = ALL_KINDS
) -> Callable[[Callable[[Evidence], Symptom | None]], Callable[[Evidence], Symptom | None]]:
    """Put a function into the table; its name is that of the finding, its docstring says what it looks for."""

    def add(look: Callable[[Evidence], Symptom | None]) -> Callable[[Evidence], Symptom | None]:
        name = look.__name__.replace("_", "-")
        CHECKS[name] = Check(name, severity, kinds, needs, cure, look)
        return look

    return add


def percent(share: float) -> str:
    """Write a share as people read it: 0.034 is 3.4 %."""
    return f"{100 * share:.1f} %"


def margin(share: float, count: int) -> float:
    """Return how far a share of so few may be from the true one (twice the standard error, Agresti and Coull 1998)."""
    share = (share * count + 2) / (count + 4)
    return float(2 * (share * (1 - share) / (count + 4)) ** 0.5)


def slower(evidence: Evidence, factor: float) -> dict[str, Any]:
    """Return the change to so many times the learning rate of the run."""
    rate = evidence.training.get("learning_rate") or USUAL_RATE
    return {"training.learning_rate": float(f"{factor * rate:.1g}")}


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
