"""The rows of TASKS: each has its folder, its kind and its table."""

from pathlib import Path

import pytest

import hfseq
from hfseq.cards.render import task_of
from hfseq.tasks import TASKS

PACKAGE = Path(hfseq.__file__).parent


def test_each_task_has_a_folder_with_its_template():
    assert all((PACKAGE / task.template).is_file() for task in TASKS.values())
    assert set(TASKS) == {path.parent.name for path in PACKAGE.glob("tasks/*/card.md")}


def test_a_task_is_found_by_the_kind_of_its_facts_alone():
    assert [task_of(task.facts.kind) for task in TASKS.values()] == list(TASKS.values())
    with pytest.raises(ValueError, match="facts.kind is 'trees'; choose one of"):
        task_of("trees")


def test_no_two_tables_stand_between_the_same_markers():
    assert len({task.table.name for task in TASKS.values()}) == len(TASKS)
