"""A case of many rounds runs them all, and names those that fail."""

import functools
import inspect

import pytest

from tests.rounds import for_each, run_rounds


def failure_of(check):
    with pytest.raises(pytest.fail.Exception) as failed:
        check()
    return str(failed.value)


def test_every_round_runs_and_those_that_fail_are_named_with_what_they_said():
    run = []

    @for_each(("number", "word"), [(1, "one"), (2, "two"), (3, "three"), (4, "four")])
    def check(number, word):
        run.append(word)
        assert number % 2, f"{word} is even"

    message = failure_of(check)
    assert run == ["one", "two", "three", "four"]
    assert message.startswith("2 of 4 rounds failed")
    assert "--- number=2, word='two'" in message and "AssertionError: two is even" in message
    assert "--- number=4, word='four'" in message and "number=1" not in message


def test_other_errors_and_calls_of_fail_count_too():
    def refuse(error):
        raise error

    def raises_nothing():
        with pytest.raises(ValueError):
            pass

    checks = {"an error": functools.partial(refuse, KeyError("there")), "no error": raises_nothing}
    message = failure_of(lambda: run_rounds(checks.items()))
    assert "--- an error" in message and "KeyError: 'there'" in message
    assert "--- no error" in message and "DID NOT RAISE" in message


def test_no_round_at_all_is_a_failure():
    with pytest.raises(AssertionError, match="there is no round"):
        run_rounds({})


@pytest.mark.parametrize("outer", ["a", "b"])
@for_each("middle, half", [(2, 1), (4, 2)])
@for_each("inner", {"x": None, "y": None})
def test_fixtures_parameters_and_loops_within_loops_come_together(outer, middle, half, inner, request, tmp_path):
    assert outer in "ab" and middle == 2 * half and inner in ("x", "y")
    assert f"[{outer}]" in request.node.name


class Owner:
    value = "whole"


@for_each("number", [1, 2])
def test_a_round_begins_in_an_empty_folder_with_nothing_patched(number, tmp_path, monkeypatch):
    assert Owner.value == "whole" and not list(tmp_path.iterdir())
    monkeypatch.setattr(Owner, "value", "changed")
    (tmp_path / "file").touch()


def test_pytest_is_asked_for_the_fixtures_alone():
    found = inspect.signature(test_a_round_begins_in_an_empty_folder_with_nothing_patched)
    assert list(found.parameters) == ["tmp_path", "monkeypatch"]
