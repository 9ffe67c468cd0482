"""`hfseq doctor`: what a run shows, in numbers, and which settings to try."""

import argparse
import contextlib
import io
import json
import shlex

from ..insight.doctor.report import Report, examine
from ..insight.doctor.trial import trial_table, try_findings
from ..settings import SettingsError
from .run_folder import Run, open_folder, read_evidence, trainer_of


def run(options: argparse.Namespace) -> None:
    """Print the report; with --try also the scores of what it suggests."""
    _check_options(options)
    opened = open_folder(options.run)
    report = examine(read_evidence(opened), _command(opened))
    if options.json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    length = f"{opened.steps} steps" if opened.history else "without a log"
    print(f"{opened.task.command}, {length}, settings in {opened.file}\n")
    print(report)
    if options.try_:
        _try(opened, report, options.steps)


def _check_options(options: argparse.Namespace) -> None:
    if options.json and options.try_:
        raise SettingsError("--json prints the findings alone: leave --try out, or --json.")
    if options.steps is not None and not options.try_:
        raise SettingsError(f"--steps {options.steps} says how long --try trains: add --try.")


def _command(run: Run) -> str:
    again = f"{str(run.folder).rstrip('/')}-again"
    return f"hfseq train {run.task.command} --config {shlex.quote(str(run.file))} --out {shlex.quote(again)}"


def _try(run: Run, report: Report, steps: int | None) -> None:
    steps = steps or run.trial_steps
    train = trainer_of(run, steps)
    with contextlib.redirect_stdout(io.StringIO()):  # the recipe tells of each training
        trials = try_findings(report, train)
    print(
        f"\n{trial_table(trials, steps)}"
        if trials
        else "\nNothing to try: no finding has a setting that some steps can show."
    )
