"""What conftest.py promises to every test of the session."""

import os

import huggingface_hub.constants
import pytest

from tests import conftest


def test_every_client_in_this_process_talks_to_the_hub(hub, api):
    assert hub.url == huggingface_hub.constants.ENDPOINT == api.endpoint
    assert huggingface_hub.constants.HF_HUB_CACHE.startswith(conftest.HF_HOME)
    assert (hub.xet is None) == huggingface_hub.constants.HF_HUB_DISABLE_XET
    assert api.whoami()["name"] == "user"


@pytest.mark.parametrize("run", ["first", "second"])
def test_the_log_and_the_faults_start_empty_in_each_test(hub, api, run):
    assert hub.log == [] and hub.faults == []
    api.whoami()
    hub.fault("GET", "/")
    assert len(hub.log) == len(hub.faults) == 1


def test_a_snippet_runs_elsewhere_without_stdin_and_without_this_repository(run_python):
    result = run_python(
        """
        import importlib.util, os, sys
        print(os.getcwd(), os.environ["EXTRA"], os.environ["HF_ENDPOINT"], repr(sys.stdin.read()))
        print(importlib.util.find_spec("tests"))
        """,
        EXTRA="more",
    )
    folder, extra, endpoint, read = result.stdout.splitlines()[0].split()
    assert (extra, endpoint, read) == ("more", os.environ["HF_ENDPOINT"], "''"), result.stderr
    assert folder != os.getcwd() and result.stdout.splitlines()[1] == "None"


def test_tests_marked_data_are_skipped_where_the_data_are_not(request, monkeypatch, tmp_path):
    item = pytest.Function.from_parent(request.node.parent, name="needs_data", callobj=lambda: None)
    item.add_marker("data")
    monkeypatch.setattr(conftest, "DATA_FOLDER", tmp_path)
    conftest.pytest_collection_modifyitems([item])
    assert item.get_closest_marker("skip") is None
    monkeypatch.setattr(conftest, "DATA_FOLDER", tmp_path / "absent")
    conftest.pytest_collection_modifyitems([item])
    assert "absent" in item.get_closest_marker("skip").kwargs["reason"]
