"""What the recipe of drawings does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.stats import multivariate_normal

import hfseq
from hfseq import plots
from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card, render_card
from hfseq.data.strokes import DrawingSettings, load_strokes, make_rows
from hfseq.tasks.strokes import build
from hfseq.tasks.strokes.build import count_steps, score
from hfseq.tasks.strokes.rivals import Steps, rivals
from hfseq.training.trainer import SequenceTrainer
from tests.tasks.base import QUIET, RECIPES, facts, losses

RECIPE = RECIPES["strokes"]
SHORT = ("--training.max_steps=2", "--training.save_strategy=no", "--training.eval_strategy=no")


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("strokes")


def test_the_small_run_learns_and_its_card_shows_what_it_draws(plain):
    folder, printed = plain
    made, card = facts(folder), (folder / "README.md").read_text(encoding="utf-8")
    assert losses(folder)[-1] < losses(folder)[0]
    assert list(made.runs[0].metrics) == ["nats_per_step", "mse"] and len(made.drawn) == 9
    assert [each.kind for each in made.drawn] == made.data.classes
    assert made.data.splits["train"].drawings == 48 and made.data.splits["train"].points > 400
    assert "![Drawings](drawings.png)" in card and (folder / "drawings.svg").is_file()
    assert (folder / "drawings.gif").read_bytes().startswith(b"GIF8")
    assert "9 drawings, " in printed and "hfseq predict" not in printed
    ended = sum(each.has_ended for each in made.drawn)
    assert f"{ended} of 9 ended by themselves within 8 steps" in card


def test_the_saved_model_scores_as_its_card_says_and_draws_the_same(plain):
    folder, _ = plain
    model = hfseq.AutoModelForStrokes.from_pretrained(folder)
    task = load_strokes(DrawingSettings(name="embedded", class_column="kind", max_rows=48))
    found = score(model, make_rows(task.dataset)["test"])
    assert found == pytest.approx(facts(folder).runs[0].metrics, rel=1e-5)
    drawn = model.generate_strokes(9, classes=task.class_names, bias=0.5, max_new_steps=8, seed=0)
    assert [len(each) for each in drawn] == [each.points for each in facts(folder).drawn]
    assert plots.strokes_svg(drawn, titles=task.class_names, columns=9) == (folder / "drawings.svg").read_text()


def test_scores_are_those_of_each_drawing_alone(plain):
    model = hfseq.AutoModelForStrokes.from_pretrained(plain[0])
    task = load_strokes(DrawingSettings(name="embedded", class_column="kind", max_rows=6))
    nats, squares, count = 0.0, 0.0, 0
    for points, kind in zip(task.drawings("test"), task.dataset["test"]["class_ids"], strict=True):
        batch = hfseq.StrokesCollator()([points]) | {"class_ids": torch.tensor([kind])}
        nats -= model.step_log_probs(**batch).sum().item()
        logits = model(batch["input_values"], class_ids=batch["class_ids"]).logits[0, :-1]
        misses = model.density(logits).mean() - torch.tensor(points[1:, :2]) / model.config.offset_scale
        squares += misses.square().mean(-1).sum().item()
        count += len(points) - 1
    found = score(model, make_rows(task.dataset)["test"])
    assert count_steps(make_rows(task.dataset)["test"]) == count
    assert found == {"nats_per_step": pytest.approx(nats / count), "mse": pytest.approx(squares / count)}


def test_the_speed_counts_what_is_predicted_once(monkeypatch, plain):
    model = hfseq.AutoModelForStrokes.from_pretrained(plain[0])
    task = load_strokes(DrawingSettings(name="embedded", class_column="kind", max_rows=20))
    reads, drawn = [], []

    def timed(work):
        found = work()
        (reads if isinstance(found, dict) else drawn).append(found)
        return found, 1.0

    monkeypatch.setattr(build, "cpu_timed", timed)
    calls = []
    model.register_forward_hook(lambda *args: calls.append(args))
    score(model, make_rows(task.dataset)["test"])
    assert len(calls) == 1  # of one batch
    speed = build._speed(model, make_rows(task.dataset)["test"], "circle")
    assert speed.steps_per_second == sum(len(each) - 1 for each in task.drawings("test"))
    assert speed.ms_per_step == pytest.approx(1000 * np.median([1 / (len(each[0]) - 1) for each in drawn]))


def test_the_mean_alone_learns_its_width_from_training(monkeypatch, tmp_path):
    made = RECIPE.run(monkeypatch, tmp_path / "run", *SHORT, config="lstm_embedded_mse", small=SMALL_MSE)
    model = hfseq.AutoModelForStrokes.from_pretrained(tmp_path / "run")
    task = load_strokes(DrawingSettings(name="embedded", class_column="kind", max_rows=48))
    error = score(model, make_rows(task.dataset)["train"])["mse"]
    assert model.config.residual_std == pytest.approx(error**0.5) and model.config.loss == "mse"
    assert made.architecture.loss == "mse" and "A mean is no drawing" in render_card(made)


SMALL_MSE = tuple(option for option in RECIPE.small if "num_mixtures" not in option)


def test_drawings_of_a_file_without_classes_are_learnt(monkeypatch, tmp_path, capsys):
    from hfseq.cli import main

    drawings = [
        each.tolist()
        for each in load_strokes(DrawingSettings(name="embedded", class_column="kind", max_rows=20)).drawings("train")
    ]
    lines = [json.dumps({"drawing": [[x, y, min(pen, 1)] for x, y, pen in each]}) for each in drawings]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    words = ["train", "strokes", str(tmp_path / "train.jsonl"), "--model=gru", f"--out={tmp_path / 'run'}"]
    sizes = [
        "--minutes=1",
        "--model.hidden_size=8",
        "--model.num_mixtures=2",
        "--generation.num_drawings=2",
        *QUIET,
    ]
    assert main([*words, *sizes, "--training.num_train_epochs=2"]) == 0
    made = facts(tmp_path / "run")
    assert (made.architecture.cell, made.data.classes, made.data.evaluated_split) == ("gru", [], "validation")
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"), pictures_in(tmp_path / "run"))
    capsys.readouterr()
    assert main(["info", str(tmp_path / "run")]) == 0
    assert "hfseq.AutoModelForStrokes.from_pretrained(" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "run"), "draw"]) == 1
    assert "This model answers no texts: it draws, with hfseq.AutoModelForStrokes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--training.label_smoothing_factor=0.1", "a movement is no label"),
        ("--generation.num_drawings=0", "num_drawings=0"),
        ("--data.grid=-1", "grid=-1"),
        ("--model.cell=transistor", "no cell is called"),
        ("--card.ask=[hexagon]", "card.ask names 'hexagon', which is no class"),
        ("--generation.bias=-1", "generation.bias=-1"),
        ("--generation.bias=.nan", "generation.bias=nan must be a number from 0 to 100"),
        ("--generation.temperature=0", "generation.temperature=0"),
    ],
)
def test_wrong_settings_are_refused_before_the_training(option, message, monkeypatch, tmp_path):
    monkeypatch.setattr(SequenceTrainer, "train", lambda *args, **options: pytest.fail("it trains"))
    with pytest.raises(Exception, match=message):
        RECIPE.run(monkeypatch, tmp_path / "run", option, *SHORT)


def test_what_nobody_says_follows_the_rows():
    settings = RECIPE.settings("--budget.minutes=1", "--model.hidden_size=7")
    settings.follow(100)
    assert settings.model["hidden_size"] == 7 and settings.model["hidden_dropout"] == 0.1
    assert settings.training["max_minutes"] == 1 and settings.training["learning_rate"] == 4e-3  # as the file says
    assert RECIPES["strokes"].settings().training.get("max_minutes") is None


# The simple systems


def test_the_last_offset_is_a_gaussian_of_the_changes():
    task = load_strokes(DrawingSettings(name="embedded", class_column="kind", max_rows=30))
    scale = 5.0
    rows = {
        row.name.partition(" (")[0]: row for row in rivals(task, "test", scale, 3) if row.metric == "nats_per_step"
    }
    train = task.drawings("train")
    changes, pens = {0: [], 1: []}, {0: [1, 1, 1], 1: [1, 1, 1]}
    for each in train:
        before = each[0]
        for point in each[1:]:
            changes[int(before[2])].append(point[:2] - before[:2])
            pens[int(before[2])][int(point[2])] += 1
            before = point
    spreads = {state: np.array(found).T @ np.array(found) / len(found) for state, found in changes.items()}
    nats, count = 0.0, 0
    for each in task.drawings("test"):
        before = each[0]
        for point in each[1:]:
            state = int(before[2])
            nats -= multivariate_normal.logpdf(point[:2], before[:2], spreads[state])
            nats -= np.log(pens[state][int(point[2])] / sum(pens[state]))
            before, count = point, count + 1
    assert rows["Last offset"].value == pytest.approx(nats / count, rel=1e-4)
    # A single Gaussian that knows nothing of the step before.
    (single,) = (
        row.value for row in rivals(task, "test", scale, 1) if row.name.startswith("Mixture") and row.metric == "mse"
    )
    steps = Steps.of(task.drawings("test"), scale)
    mean = Steps.of(train, scale).after[:, :2].mean(0)
    assert single == pytest.approx(np.square(steps.after[:, :2] - mean).mean())


@pytest.mark.slow
def test_the_embedded_drawings_are_learnt_in_a_minute(monkeypatch, tmp_path):
    made = RECIPE.run(monkeypatch, tmp_path / "run", small=QUIET)
    (last,) = (row for row in made.comparisons if "Last offset" in row.name and row.metric == "nats_per_step")
    assert made.mean("nats_per_step") < last.value - 3
    assert sum(each.has_ended for each in made.drawn) >= 0.9 * len(made.drawn)


@pytest.mark.data
def test_omniglot_is_trained_on(data_folder, monkeypatch, tmp_path):
    rows = Dataset.from_parquet(str(data_folder / "strokes" / "omniglot.parquet"), cache_dir=str(tmp_path / "cache"))
    for split in ("train", "validation", "test"):
        own = np.flatnonzero(np.array(rows["split"]) == split)[:300]
        rows.select(own).remove_columns("split").to_parquet(str(tmp_path / f"{split}.parquet"))
    options = (f"--data.path={tmp_path}", "--card.same_data=true", "--data.max_rows=300", *SHORT)
    made = RECIPE.run(monkeypatch, tmp_path / "run", *options, config="lstm_omniglot")
    assert made.data.grid == 1 and made.data.splits["test"].drawings == 300 and made.offset_scale > 20
