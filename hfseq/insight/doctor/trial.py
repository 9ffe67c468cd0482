"""`--try`: a finding's changes, trained for some steps beside the unchanged settings, from the same start."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .findings import Finding
from .report import Report

Train: TypeAlias = Callable[[Mapping[str, Any]], dict[str, float]]
"""Changes of the settings -> the scores of the validation rows after so many steps."""

# What a training of a given number of steps, measured at its end, cannot show.
_NOT_OF_A_FEW_STEPS = {
    f"training.{name}"
    for name in (
        *("max_steps", "num_train_epochs", "max_minutes", "load_best_model_at_end"),
        *("eval_strategy", "save_strategy"),
    )
}


@dataclass(frozen=True)
class Trial:
    """What one training of a trial came to.

    Attributes:
        names: The findings whose changes were made; none: the settings as they are.
        changes: The changed settings.
        scores: Of the validation rows, by name; none where the training failed.
        error: Why it failed.
    """

    names: tuple[str, ...]
    changes: Mapping[str, Any]
    scores: Mapping[str, float]
    error: str | None = None


def try_findings(report: Report, train: Train, *, most: int = 3) -> list[Trial]:
    """Train with the settings as they are, then with the changes of each finding that has some, the gravest first.

    Args:
        report: What was found.
        train: Trains from the same start, with the same seed and rows, each time for the same steps.
        most: So many findings are tried at most.
    """
    asked = [finding for finding in report.findings if set(finding.changes) - _NOT_OF_A_FEW_STEPS][:most]
    if not asked:
        return []
    return [_tried((), {}, train), *(_tried((each.name,), each.changes, train) for each in _distinct(asked))]


def _distinct(findings: Sequence[Finding]) -> list[Finding]:
    """Leave out a finding whose changes were made already."""
    return [
        each for place, each in enumerate(findings) if each.changes not in [one.changes for one in findings[:place]]
    ]


def _tried(names: tuple[str, ...], changes: Mapping[str, Any], train: Train) -> Trial:
    try:
        return Trial(names, changes, train(changes))
    except (ValueError, RuntimeError, OSError) as error:  # settings that do not fit together, a training that diverged
        return Trial(names, changes, {}, " ".join(str(error).split()))


def trial_table(trials: Sequence[Trial], steps: int) -> str:
    """Write the scores side by side."""
    columns = sorted({name for trial in trials for name in trial.scores}, key=lambda name: (name != "loss", name))
    lines = [f"After {steps} steps from the same start, on the same validation rows:"]
    lines.append(f"  {'settings':<60}" + "".join(f"{name:>{max(len(name), 8) + 2}}" for name in columns))
    for trial in trials:
        name = Finding("", "hint", "", trial.changes).options or "as they are"
        if trial.error is not None:
            lines.append(f"  {name:<60}  failed: {trial.error}")
            continue
        values = (f"{trial.scores[one]:>{max(len(one), 8) + 2}.4f}" for one in columns)
        lines.append(f"  {name:<60}" + "".join(values))
    return "\n".join(lines)
