"""Many rounds in one case: small checks of one kind, which would be thousands of cases of a millisecond each.

A round that fails does not end the case: all of them run, and the failure names each one that failed and says why.
"""

import functools
import inspect
import textwrap
import traceback
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

Check = Callable[[], Any]


def run_rounds(rounds: Iterable[tuple[str, Check]]) -> None:
    """Run named checks to the last one, and fail with the names and the tracebacks of those that failed."""
    failed, skipped, count = [], [], 0
    for name, check in rounds:
        count += 1
        try:
            check()
        except pytest.skip.Exception as skip:  # of this round: the others still run
            skipped.append(f"{name}: {skip}")
        except (Exception, pytest.fail.Exception) as error:
            lines = traceback.format_exception(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
            failed.append(f"--- {name}\n{''.join(lines)}")
    assert count, "there is no round to run"
    if failed:
        pytest.fail(f"{len(failed)} of {count} rounds failed\n\n" + "\n".join(failed), pytrace=False)
    if len(skipped) == count:
        pytest.skip("; ".join(skipped))


def for_each(names: str | tuple[str, ...], values: Collection[Any]) -> Callable[[Callable], Callable]:
    """Run a test with each of these values in one case; takes what `pytest.mark.parametrize` takes.

    A round has a `tmp_path` of its own, and what it patched by `monkeypatch` is undone after it. Other fixtures are
    shared by the rounds of a case.
    """
    names = tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else names
    rounds = [dict(zip(names, (value,) if len(names) == 1 else value, strict=True)) for value in values]

    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def case(**fixtures: Any) -> None:
            run_rounds((_name(each), functools.partial(_round, test, fixtures, each)) for each in rounds)

        signature = inspect.signature(test)
        left = [each for name, each in signature.parameters.items() if name not in names]
        case.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined] # what pytest fills in
        return case

    return decorate


def _round(test: Callable, fixtures: dict[str, Any], values: dict[str, Any]) -> None:
    own = dict(fixtures)
    if "tmp_path" in own:
        own["tmp_path"] = _new_folder(own["tmp_path"])
    if "monkeypatch" not in own:
        return test(**own, **values)
    with pytest.MonkeyPatch.context() as patch:
        return test(**{**own, "monkeypatch": patch}, **values)


def _new_folder(parent: Path) -> Path:
    folder = parent / f"round{len(list(parent.iterdir()))}"
    folder.mkdir()
    return folder


def _name(values: dict[str, Any]) -> str:
    return textwrap.shorten(", ".join(f"{name}={value!r}" for name, value in values.items()), 300)
