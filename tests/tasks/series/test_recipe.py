"""What the recipe of series does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForTokenClassification, pipeline

from hfseq.cards.render import check_card, render_card
from hfseq.cli import main
from hfseq.data.embedded.seasons import load_seasons
from hfseq.data.series import load_series
from hfseq.data.walk_forward import LookAheadError
from hfseq.settings import read_settings
from hfseq.tasks.series.folds import measure, prepare
from hfseq.tasks.series.settings import SeriesSettings
from tests.closeness import assert_same
from tests.launches import ROOT
from tests.tasks.base import QUIET, RECIPES, facts

RECIPE = RECIPES["series"]
SHORT = (
    *QUIET,
    *("--windows.context=16", "--split.folds=1", "--model.hidden_size=8", "--model.embedding_size=8"),
    *("--training.max_steps=3", "--training.eval_strategy=no", "--training.save_strategy=no"),
    "--training.load_best_model_at_end=false",
)
FORECASTS = (*SHORT, "--windows.horizon=4", "--windows.test_stride=12")


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("series")


def table(folder, rows=160, **columns):
    """A file of a person's own: a wave with a trend, and a column beside it."""
    steps = np.arange(rows)
    wave = 20 + 5 * np.sin(steps / 3) + 0.01 * steps + np.random.default_rng(0).normal(0, 0.3, rows)
    days = pd.date_range("2024-01-01", periods=rows).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"day": days, "sales": wave.round(3), "visitors": (10 * wave).round(), **columns})
    frame.to_csv(folder / "sales.csv", index=False)
    return frame


def test_the_walk_forward_table_and_the_rivals_are_of_the_same_windows(plain):
    folder, printed = plain
    made = facts(folder)
    assert list(made.runs[0].metrics) == ["mase", "mae", "rmse", "pinball", "coverage_80"]
    assert [fold.test_until for fold in made.folds] == ["2024-04-21 22:00:00", "2024-05-05 22:00:00"]
    names = ["Last value", "Seasonal naive (period 84)", "Mean of the series", "Linear autoregression (24 steps)"]
    assert [list(fold.rivals) for fold in made.folds] == [names, names]
    assert made.folds[-1].score == made.runs[0].metrics["mase"]
    compared = {row.name: row.value for row in made.comparisons if row.metric == "mase"}
    assert made.folds[-1].rivals == compared
    assert [row.ahead for row in made.steps] == [1, 2, 3, 4]
    mean = np.mean([row.error for row in made.steps])
    assert mean == pytest.approx(made.runs[0].metrics["mae"])
    assert not (folder / "folds").exists() and (folder / "forecasts.png").is_file()
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "**It is not advice.**" in card and "## Walk-forward evaluation" in card
    assert "It is not advice." in printed


def test_the_saved_model_says_what_was_measured(plain):
    folder, _ = plain
    settings = read_settings(SeriesSettings, ["--config", str(folder / "settings.yaml")])
    series = load_series(settings.data)
    own = prepare(settings, series, settings.split.cut(len(series.axis))[-1])
    pipe = pipeline("series-forecasting", model=str(folder))
    found = measure(settings, series, own, pipe.model)
    assert found.metrics == pytest.approx(facts(folder).runs[0].metrics, rel=1e-5)
    owner, last = own.parts.test.places[-1]
    rows = load_seasons()["train"].to_pandas()
    rows = rows[rows.place == series.series[owner].name].reset_index(drop=True)
    told = pipe(rows[: last + 1], known=rows[last + 1 : last + 5])
    for name, values in (("forecast", found.told.center), ("lower", found.told.lower), ("upper", found.told.upper)):
        assert_same(told[name], values[-1, :, 0].tolist(), 1e-4)
    assert told["targets"] == ["demand"]


def test_statistics_are_those_of_the_training_steps(plain):
    folder, _ = plain
    settings = read_settings(SeriesSettings, ["--config", str(folder / "settings.yaml")])
    series = load_series(settings.data)
    fold = settings.split.cut(len(series.axis))[-1]
    rows = np.concatenate([each.observed[each.steps < fold.train.end, 0] for each in series.series])
    saved = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert saved["mean"][0] == pytest.approx(rows.mean()) and saved["std"][0] == pytest.approx(rows.std())
    assert saved["columns"] == ["demand", *(f"holiday+{step}" for step in range(1, 5))]


def test_a_leak_is_refused_before_anything_is_trained(monkeypatch, tmp_path):
    frame = table(tmp_path)
    table(tmp_path, tomorrow=frame["sales"].shift(-1).fillna(0))
    own = (f"--data.path={tmp_path / 'sales.csv'}", "--data.time_column=day", "--data.target_columns=[sales]")
    own = (*own, "--data.known_columns=[]", "--data.group_column=null")
    with pytest.raises(LookAheadError, match=r"'tomorrow' tells the values of the target 'sales' 1 step\(s\) before"):
        RECIPE.run(
            monkeypatch, tmp_path / "run", *own, "--split.test_steps=16", "--split.validation_steps=8", small=FORECASTS
        )
    assert not (tmp_path / "run").exists()


def test_ones_own_table_is_learnt_in_one_line(monkeypatch, tmp_path, capsys):
    table(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = ("--windows.horizon=3", "--windows.context=16", "--training.max_steps=4", *QUIET)
    columns = ("--data.time_column=day", "--data.target_columns=[sales]")
    assert main(["train", "series", "sales.csv", "--out", "run", *columns, *options]) == 0
    printed = capsys.readouterr().out
    assert "read: 1 series, 160 rows; windows" in printed and "It is not advice." in printed
    made = facts(tmp_path / "run")
    assert made.distribution == "quantile" and made.data.features == ["visitors"] and len(made.folds) == 3
    rows = pd.read_csv("sales.csv")
    told = pipeline("series-forecasting", model="run")(rows)
    assert len(told["forecast"]) == 3 and set(told["quantiles"]) == {0.1, 0.5, 0.9}
    series = json.dumps({"sales": [1.0, 2.0], "visitors": [10, 20]})
    assert main(["predict", "run", series]) == 0
    assert len(json.loads(capsys.readouterr().out)["forecast"]) == 3


def test_empty_cells_are_masked_where_that_is_asked_for(monkeypatch, tmp_path):
    frame = table(tmp_path)
    frame.loc[[3, 50, 150], "sales"] = np.nan
    frame.to_csv(tmp_path / "sales.csv", index=False)
    own = (f"--data.path={tmp_path / 'sales.csv'}", "--data.time_column=day", "--data.target_columns=[sales]")
    own = (*own, "--data.known_columns=[]", "--data.group_column=null", "--split.test_steps=16")
    with pytest.raises(ValueError, match="row 3: column 'sales' has no value"):
        RECIPE.run(monkeypatch, tmp_path / "run", *own, small=FORECASTS)
    made = RECIPE.run(
        monkeypatch,
        tmp_path / "run",
        *own,
        "--data.missing=mask",
        "--split.validation_steps=16",
        "--windows.test_stride=1",
        small=FORECASTS,
    )
    assert made.masks and made.data.unknown_rate == pytest.approx(3 / 320)
    assert all(np.isfinite(list(made.runs[0].metrics.values())))
    pipe = pipeline("series-forecasting", model=str(tmp_path / "run"))
    assert np.isfinite(pipe(frame)["forecast"]).all()


def test_labels_of_steps_are_learnt_and_told(monkeypatch, tmp_path):
    short = [word for word in SHORT if not word.startswith("--training.max_steps")]
    made = RECIPE.run(
        monkeypatch, tmp_path / "run", "--training.max_steps=40", config="lstm_regimes", small=tuple(short)
    )
    assert list(made.runs[0].metrics) == ["accuracy", "f1_macro"] and made.classes == ["buy", "nothing", "sell"]
    assert made.distribution is None and made.horizon == 20 and made.steps == []
    assert [name.partition(" (")[0] for name in made.folds[0].rivals] == [
        *("Most frequent class", "Last label that is known", "Logistic regression", "Logistic regression")
    ]
    assert made.runs[0].metrics["accuracy"] > made.folds[0].rivals["Most frequent class"]
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    check_card(card, ["curves.png", "confusion.png"])
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "run").eval()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "run")
    with torch.no_grad():
        logits = model(**extractor(pd.DataFrame({"change": np.zeros(16)}), return_tensors="pt")).logits
    assert logits.shape == (1, 16, 3)
    with pytest.raises(ValueError, match="saved as LSTMForTokenClassification"):
        pipeline("series-forecasting", model=str(tmp_path / "run"))


def test_a_carried_state_reads_each_series_from_its_beginning(monkeypatch, tmp_path):
    made = RECIPE.run(
        monkeypatch,
        tmp_path / "run",
        "--training.carry_state=true",
        "--training.total_train_batch_size=6",
        small=FORECASTS,
    )
    assert made.carries_state
    assert "its state carried" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    saved = json.loads((tmp_path / "run" / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert saved["max_length"] is None


def test_rows_of_restricted_data_are_not_shown(monkeypatch, tmp_path):
    RECIPE.run(monkeypatch, tmp_path / "run", "--card.data_restriction=research only", small=FORECASTS)
    assert not (tmp_path / "run" / "forecasts.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--windows.context=2000"], "there is no window for train: windows.context=2000 and 4 rows ahead do not fit"),
        (["--split.test_steps=1500"], "1512 steps are too few for 1 fold"),
        (["--windows.context=0"], "windows.context=0 must be 1 or more steps"),
        (["--data.target_columns=[demands]"], "unknown column 'demands'; did you mean 'demand'"),
        (["--model.bidirectional=true"], "unknown key 'bidirectional'"),
        (["--card.ask=[text]"], "a model of series reads numbers"),
        (["--rivals.period=0"], "rivals.period=0"),
        (["--data.label_column=holiday"], "name one or more columns of numbers to predict, or one column of classes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=message):
        RECIPE.run(monkeypatch, tmp_path / "run", *options, small=FORECASTS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.distribution=gaussian", "model.distribution='gaussian' is of numbers that come"),
        ("--windows.horizon=3", "windows.horizon=3 is of numbers that come"),
        ("--training.carry_state=true", "is for forecasts of recurrent models"),
    ],
)
def test_settings_of_forecasts_are_refused_for_labels(option, message):
    with pytest.raises(ValueError, match=message):
        RECIPE.settings(option, config="lstm_regimes")
    with pytest.raises(ValueError, match="is for forecasts of recurrent models"):
        RECIPE.settings("--training.carry_state=true", config="transformer_seasons")


def test_the_card_renders_again_from_its_facts(plain):
    made = facts(plain[0])
    assert render_card(made) == render_card(made)
    assert (ROOT / "recipes" / "configs" / "series").is_dir()
