"""`model.type: auto` and `budget.minutes`: what is kept, told and recorded, and that it comes out the same again."""

import dataclasses
import io
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest
from datasets import DatasetDict
from safetensors.torch import load_file
from transformers import AutoConfig

from hfseq.data.text import TextTask
from hfseq.recipe.budget import BudgetSettings
from hfseq.recipe.defaults.rows import count_rows
from hfseq.settings import read_settings
from hfseq.tasks.text_classification import build, defaults
from hfseq.tasks.text_classification.auto import CANDIDATES, Trained, is_kept_over, train_best
from hfseq.tasks.text_classification.defaults import follow_data
from hfseq.tasks.text_classification.facts import CandidateFacts
from hfseq.tasks.text_classification.settings import LabelledTexts, TextClassificationSettings, TransferSettings
from recipes import text_classification
from tests.tasks.base import QUIET, RECIPES, facts, weights
from tests.tasks.text_classification.classifiers import small_settings, text_task

RECIPE = RECIPES["text_classification"]
CONFIG = """\
data: {name: embedded, max_rows: 60}
model: {type: auto}
training: {max_steps: 2}
card:
  {model_id: hfseq/requests, summary: Sorts requests., data_name: requests, data_license: cc0-1.0,
   data_domain: requests, ask: [turn on the light]}
"""


def automatic(tmp_path, **changes):
    """Settings that leave all but a few updates to the rows."""
    settings = small_settings(tmp_path)
    training = {name: settings.training[name] for name in ("output_dir", "use_cpu", "report_to", "disable_tqdm")}
    changed = {"model": {"type": "auto"}, "training": training, "budget": BudgetSettings(minutes=5.0), **changes}
    settings.tokenizer.max_length = None
    return dataclasses.replace(settings, **changed)


def _task_with_validation(problem_type):
    task = text_task(problem_type)
    task.dataset["validation"] = task.dataset["test"]
    return task


def recipe_words(folder, *words):
    config = folder.with_suffix(".yaml")
    config.write_text(CONFIG, encoding="utf-8")
    return ["--config", str(config), f"--training.output_dir={folder}", *QUIET, "--budget.minutes=5", *words]


@pytest.fixture(scope="module")
def gru_run(tmp_path_factory):
    """A run of one model whose validation rows are those of the card: its folder, and what it printed."""
    folder, one = tmp_path_factory.mktemp("gru") / "run", ["--model.type=gru"]
    words = recipe_words(folder, *one, "--data.splits={train: train, validation: validation}")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        RECIPE.main(patch, *words)
    return folder, printed.getvalue()


@pytest.mark.slow
def test_the_best_on_validation_is_kept_told_and_made_the_same_again(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "one"
    RECIPE.main(monkeypatch, *recipe_words(folder))
    made = facts(folder)
    assert [row.name for row in made.candidates] == list(CANDIDATES)
    (kept,) = [row for row in made.candidates if row.is_kept]
    others = [row for row in made.candidates if row is not kept]
    assert not any(is_kept_over(row, kept, sign=1, num_rows=made.data.splits["validation"]) for row in others)
    assert AutoConfig.from_pretrained(folder).model_type == f"hfseq_{kept.name}"
    printed, card = capsys.readouterr().out, (folder / "README.md").read_text(encoding="utf-8")
    for name in CANDIDATES:
        assert f"  {name}" in printed
        assert f"| `{name}` |" in card
    assert "<- kept" in printed
    assert "this model" in printed
    assert not (folder / "candidates").exists()
    given = read_settings(TextClassificationSettings, recipe_words(tmp_path / "two"))
    again = train_best(text_classification.train, given, build.load(given.data), tmp_path / "two", None)
    assert [row.score for row in again.candidates] == [row.score for row in made.candidates]
    assert_same_weights(folder, again.trainer.model.state_dict())


def test_the_rows_are_counted_once_for_all_candidates(monkeypatch, tmp_path):
    counted, trained = [], []
    monkeypatch.setattr(defaults, "count_rows", lambda *given: counted.append(1) or count_rows(*given))

    def train(settings, task, folder, checkpoint):
        trained.append(settings.model["type"])
        trainer = SimpleNamespace(
            evaluate=lambda: {"eval_accuracy": 0.5},
            time_limit=None,
            training_seconds=1.0,
            is_world_process_zero=lambda: False,
        )
        return Trained(settings, trainer, None)

    train_best(train, automatic(tmp_path), _task_with_validation("single_label_classification"), tmp_path, None)
    assert trained == list(CANDIDATES) and len(counted) == 1


def assert_same_weights(folder, found):
    saved = load_file(folder / "model.safetensors")
    assert saved.keys() == found.keys() and all(saved[name].equal(found[name]) for name in saved)


def test_a_run_is_repeated_without_the_clock_from_its_folder(gru_run, monkeypatch, tmp_path):
    first, again = gru_run[0], tmp_path / "again"
    resolved = read_settings(TextClassificationSettings, ["--config", str(first / "resolved.yaml")])
    assert not resolved.budget.is_on
    assert "max_minutes" not in resolved.training
    assert resolved.model["hidden_size"] > 0
    RECIPE.main(monkeypatch, "--config", str(first / "resolved.yaml"), f"--training.output_dir={again}")
    assert_same_weights(first, weights(again))


def test_what_is_said_wins_over_the_rows(tmp_path):
    said = automatic(tmp_path, model={"type": "gru", "hidden_size": 7}, training={"max_steps": 3})
    filled = follow_data(said, text_task())
    assert filled.model["hidden_size"] == 7
    assert filled.training["max_steps"] == 3
    assert filled.tokenizer.min_count == 1  # said
    assert filled.tokenizer.max_length == 32
    assert filled.training["metric_for_best_model"] == "accuracy"
    without = dataclasses.replace(small_settings(tmp_path))
    assert follow_data(without, text_task()) is without


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": BudgetSettings()}, "say for how long, such as --budget.minutes=5"),
        ({"transfer": TransferSettings(from_pretrained="some/model")}, "fits one kind of model: name it"),
        ({"resume": True}, "--resume goes on with one model"),
    ],
)
def test_auto_refuses_what_needs_one_model(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        automatic(tmp_path, **changes)


def rows_of(count, splits=None):
    return build._with_test(_task(count, splits), LabelledTexts(name="embedded")).dataset


def _task(count, splits):
    task = text_task()
    rows = task.dataset["train"].select([i % 24 for i in range(count)])
    names = splits or ["train", "validation"]
    return TextTask(DatasetDict(dict.fromkeys(names, rows)), task.problem_type, task.classes)


def test_a_test_split_is_cut_where_there_is_none_and_rows_enough():
    cut = rows_of(500)
    assert {name: rows.num_rows for name, rows in cut.items()} == {"train": 450, "validation": 500, "test": 50}
    assert set(rows_of(499)) == {"train", "validation"}
    assert rows_of(500, ["train", "validation", "test"])["test"].num_rows == 500


def test_a_score_of_rows_that_chose_the_model_says_so(gru_run):
    folder, printed = gru_run
    assert "validation, which also chose the model: accuracy" in printed
    assert "also chose the model" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("new", "old", "num_rows", "is_kept"),
    [
        (("gru", 0.80), ("bag", 0.81), 1_000, True),  # a standard error is 0.0124
        (("gru", 0.80), ("bag", 0.81), 10_000, False),
        (("transformer", 0.81), ("gru", 0.80), 1_000, False),
        (("transformer", 0.82), ("gru", 0.80), 1_000, True),
        (("transformer", 0.80), ("bag", 0.81), 1_000, True),
    ],
)
def test_accuracies_within_a_standard_error_are_a_tie(new, old, num_rows, is_kept):
    rows = [CandidateFacts(name=name, metric="accuracy", score=score, minutes=1.0) for name, score in (new, old)]
    assert is_kept_over(*rows, sign=1, num_rows=num_rows) is is_kept
    loss = [dataclasses.replace(row, metric="loss") for row in rows]
    assert is_kept_over(*loss, sign=-1, num_rows=num_rows) is (new[1] < old[1])


class _Known:
    """A trainer whose score on validation is known."""

    def __init__(self, score):
        self.score, self.time_limit, self.training_seconds = score, None, 60.0

    def evaluate(self):
        return {"eval_mse": self.score}

    def is_world_process_zero(self):
        return False


def test_of_an_error_the_least_is_kept_and_the_minutes_are_those_of_all(tmp_path):
    scores = dict(zip(CANDIDATES, (0.3, 0.1, 0.2), strict=True))
    settings = automatic(tmp_path)

    def train(one, task, folder, checkpoint):
        return Trained(one, _Known(scores[one.model["type"]]), DatasetDict())

    kept = train_best(train, settings, _task_with_validation("regression"), tmp_path, None)
    assert kept.settings.model["type"] == "gru"
    assert kept.minutes == 3.0
