"""The report: every check that the evidence allows, its findings the gravest first, and what could not be checked."""

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from textwrap import fill
from typing import Any

from . import data, model, training  # noqa: F401  # they write their checks into the table
from .evidence import Evidence
from .findings import CHECKS, SEVERITIES, Finding

_WIDTH = 100


@dataclass(frozen=True)
class Report:
    """What the doctor says of a run; printing it shows the text.

    Attributes:
        findings: The gravest first.
        num_checks: How many checks ran.
        left_out: The name of each check that could not run -> why.
        command: What trains the run again, and takes the options of a finding; None: it is not known.
    """

    findings: list[Finding]
    num_checks: int
    left_out: dict[str, str] = field(default_factory=dict)
    command: str | None = None

    @property
    def names(self) -> list[str]:
        """The names of the findings."""
        return [finding.name for finding in self.findings]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        findings = [asdict(finding) for finding in self.findings]
        return {"findings": findings, "checks": self.num_checks, "left_out": self.left_out}

    def __str__(self) -> str:
        """Write the findings, and below them how many checks ran and which did not."""
        lines = [line for number, each in enumerate(self.findings, 1) for line in self._told(number, each)]
        count = len(self.findings)
        found = f"{count} finding{'s' if count > 1 else ''}" if count else "Nothing found"
        lines.append(f"{found}: {self.num_checks} checks ran, {len(self.left_out)} left out.")
        reasons: defaultdict[str, list[str]] = defaultdict(list)
        for name, reason in self.left_out.items():
            reasons[reason].append(name)
        lines += [_filled(f"Left out, since {reason}: {', '.join(names)}.") for reason, names in reasons.items()]
        return "\n".join(lines)

    def _told(self, number: int, finding: Finding) -> list[str]:
        lines = [f"{number}. {finding.severity}: {finding.name}", _filled(finding.text, "   ")]
        if finding.options:
            lines.append(f"   try: {finding.options if self.command is None else f'{self.command} {finding.options}'}")
        if finding.advice:
            lines.append(
                _filled(f"{'or' if finding.options else 'cure'}: {finding.advice.removeprefix('or ')}", "   ")
            )
        return [*lines, ""]


def _filled(text: str, indent: str = "") -> str:
    whole = text.replace(" %", "\0%")  # a number stays beside its sign
    options: dict[str, Any] = {"initial_indent": indent, "subsequent_indent": indent, "break_long_words": False}
    return fill(whole, _WIDTH, **options).replace("\0%", " %")


def examine(evidence: Evidence, command: str | None = None) -> Report:
    """Run every check that is for such models and whose parts of the evidence are there."""
    findings, left_out, ran = [], {}, 0
    for name, each in CHECKS.items():
        if evidence.kind not in each.kinds:
            continue
        reason = next((why for part in each.needs if (why := evidence.lacks(part)) is not None), None)
        if reason is not None:
            left_out[name] = reason
            continue
        ran += 1
        if (seen := each.look(evidence)) is not None:
            findings.append(Finding(name, each.severity, seen.text, dict(seen.changes), seen.advice))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(findings, ran, left_out, command)
