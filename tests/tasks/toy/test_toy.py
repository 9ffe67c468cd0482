"""A task is a folder and a row of TASKS: with no other edit it gets all that the tasks of the package have."""

import io
import sys
from contextlib import redirect_stdout

import pytest

from hfseq.cards import check_card, load_facts
from hfseq.tasks import TASKS, Task
from model_cards import render
from tests.launches import ROOT
from tests.tasks import test_recipes as recipes
from tests.tasks import test_tasks as rows
from tests.tasks.base import RECIPES, Recipe
from tests.tasks.toy.card import TOY_TABLE, toy_view
from tests.tasks.toy.facts import ToyFacts

ROW = Task(
    name="toy",
    command="toy",
    recipe="letters",
    settings_name="ToySettings",
    facts=ToyFacts,
    view=toy_view,
    table=TOY_TABLE,
)
TOY = Recipe(ROW, home="tests/tasks/toy")


@pytest.fixture(autouse=True)
def row(monkeypatch):
    monkeypatch.setitem(TASKS, ROW.name, ROW)
    monkeypatch.setitem(RECIPES, ROW.recipe, TOY)


@pytest.fixture
def plain(monkeypatch, tmp_path):
    with redirect_stdout(io.StringIO()) as printed:
        TOY.run(monkeypatch, tmp_path / "plain")
    return tmp_path / "plain", printed.getvalue()


def test_it_keeps_what_the_rows_promise():
    rows.test_a_task_is_found_by_the_kind_of_its_facts_alone()
    rows.test_no_two_tables_stand_between_the_same_markers()


def test_its_settings_come_from_yaml_with_help_and_named_errors(monkeypatch, tmp_path, capsys):
    recipes.test_help_lists_every_section(TOY, monkeypatch, capsys)
    recipes.test_launch_lines_are_documented(TOY)
    recipes.test_every_settings_file_parses_and_names_itself_in_its_launch_line(
        TOY.script, TOY.configs[0], monkeypatch
    )
    recipes.test_an_unknown_key_of_the_file_is_answered_with_the_nearest_one(TOY, monkeypatch, tmp_path)
    recipes.test_an_unknown_section_of_the_command_line_is_answered_with_the_nearest_one(TOY, monkeypatch, tmp_path)
    recipes.test_one_process_in_place_of_two_is_stopped(TOY, monkeypatch, tmp_path)
    with pytest.raises(ValueError, match=r"section 'data': data.count=2 is too few to learn from: give 8 or more"):
        TOY.settings("--data.count=2")


def test_its_run_leaves_a_card_and_can_be_resumed(plain, monkeypatch, tmp_path):
    recipes.test_a_recipe_leaves_a_model_with_card_facts_and_settings(TOY, plain)
    recipes.test_a_resumed_run_ends_where_an_uninterrupted_one_does(TOY, plain, monkeypatch, tmp_path)
    card = (plain[0] / "README.md").read_text(encoding="utf-8")
    check_card(card)
    assert "\n# letters\n\nTells words that end in a vowel.\n" in card
    with pytest.raises(ValueError, match="no finite metric"):
        check_card(card.replace("model-index:", "results:"))


def test_its_runs_make_one_card_and_a_row_of_the_results(plain, monkeypatch, tmp_path):
    TOY.run(monkeypatch, tmp_path / "other", "--training.seed=1")
    (tmp_path / "facts").mkdir()
    monkeypatch.setattr(render, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["render.py", "merge", str(plain[0]), str(tmp_path / "other")])
    render.main()
    merged = load_facts(tmp_path / "facts" / "letters.json")
    assert type(merged) is ToyFacts and [run.seed for run in merged.runs] == [0, 1]
    check_card((tmp_path / "letters.md").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="results.md needs the line '<!-- toys: begin -->'"):
        render.with_tables("results.md", page, render.result_tables())
    page += "<!-- toys: begin -->\n<!-- toys: end -->\n"
    made = render.with_tables("results.md", page, render.result_tables())
    assert "\n| Drawn words | Accuracy (%) | " in made.split("<!-- toys: begin -->")[1]
    assert "# Expected: accuracy " in render.with_expectation("# Expected: ?\n", merged)
