"""The small runs that the tests of the tasks share."""

import pytest

from tests.tasks.base import Runs


@pytest.fixture(scope="session")
def small_runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("recipes"))
