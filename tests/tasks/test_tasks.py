"""The rows of TASKS: each has its folder, its kind and its table."""

from pathlib import Path

import pytest

import hfseq
from hfseq.cards.render import task_of
from hfseq.tasks import TASKS
from tests.test_layout import imports_of

PACKAGE = Path(hfseq.__file__).parent


def test_each_task_has_a_folder_with_its_template():
    assert all('{% include "cards/templates/_head.md" %}' in task.template for task in TASKS.values())
    assert set(TASKS) == {path.parent.name for path in PACKAGE.glob("tasks/*/card.md")}


def test_a_task_is_found_by_the_kind_of_its_facts_alone():
    assert [task_of(task.facts.kind) for task in TASKS.values()] == list(TASKS.values())
    with pytest.raises(ValueError, match="facts.kind is 'trees'; choose one of"):
        task_of("trees")


def test_no_two_tables_stand_between_the_same_markers():
    assert len({task.table.name for task in TASKS.values()}) == len(TASKS)


def test_each_task_has_a_recipe_with_settings_of_its_own():
    assert all((PACKAGE.parent / "recipes" / f"{task.recipe}.py").is_file() for task in TASKS.values())
    assert len({task.settings for task in TASKS.values()}) == len(TASKS)


def test_rendering_a_card_needs_no_trainer():
    needed, edges = {"tasks", "cards.render"}, [one for one in imports_of(PACKAGE) if not one.deferred]
    while more := {one.target for one in edges if one.module in needed and one.target} - needed:
        needed |= more
    assert "tasks.tagging.facts" in needed
    assert [name for name in needed if name.startswith(("training", "recipe"))] == []
