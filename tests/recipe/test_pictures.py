import logging
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import load_facts
from hfseq.hub import OTHER_FILES
from hfseq.insight.plots.confusion import MOST_LABELS, confusion_table
from hfseq.insight.plots.coverage import coverage_line
from hfseq.recipe import pictures
from hfseq.recipe.pictures import draw_confusion, draw_coverage, draw_curves, kept_step
from hfseq.recipe.publish import publish
from hfseq.recipe.sections import HubSettings
from hfseq.training.wide_regression import Mixed

HISTORY = [
    {"step": 10, "loss": 1.0},
    {"step": 10, "eval_loss": 0.9, "eval_accuracy": 0.6},
    {"step": 20, "loss": 0.5},
    {"step": 20, "eval_loss": 1.1, "eval_accuracy": 0.5},
]


def trainer(history=HISTORY, *, goes_back=True):
    args = SimpleNamespace(metric_for_best_model="accuracy", load_best_model_at_end=goes_back)
    return SimpleNamespace(args=args, state=SimpleNamespace(log_history=history, best_global_step=10, global_step=20))


def is_image(folder, name):
    png = (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n")
    return png and ElementTree.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")


def test_curves_show_losses_score_and_the_kept_model(tmp_path):
    draw_curves(trainer(), tmp_path)
    assert is_image(tmp_path, "curves")
    drawn = (tmp_path / "curves.svg").read_text()
    assert all(f'id="{key}"' in drawn for key in ("loss", "eval_loss", "eval_accuracy", "kept"))
    assert "kept: update 10" in drawn


@pytest.mark.parametrize(
    ("of_regression", "told"),
    [(1.5, ["kept: update 10, without its regression", "with its regression: 0.700"]), (0.0, [])],
)
def test_the_mark_of_a_mixed_model_is_said_to_be_of_the_network_alone(tmp_path, of_regression, told):
    made = trainer()
    made.mixed = Mixed(10.0, of_regression, 1.0, loss=0.7, network_loss=0.9)
    draw_curves(made, tmp_path)
    drawn = (tmp_path / "curves.svg").read_text()
    assert [line for line in told if line not in drawn] == []
    assert ('id="mixed"' in drawn) == ("without its" in drawn) == bool(told)
    draw_curves(trainer(), tmp_path, beside="n-grams")
    drawn = (tmp_path / "curves.svg").read_text()
    assert "kept: update 10, without its n-grams" in drawn and 'id="mixed"' not in drawn


def test_the_last_model_is_the_kept_one_where_training_does_not_go_back():
    assert (kept_step(trainer()), kept_step(trainer(goes_back=False))) == (10, 20)


def test_word_vectors_are_drawn_over_epochs(tmp_path):
    state = SimpleNamespace(log_history=[{"epoch": 0.5, "loss": 2.0}, {"epoch": 1.0, "loss": 1.0}])
    draw_curves(SimpleNamespace(args=object(), state=state), tmp_path)
    assert is_image(tmp_path, "curves")
    assert "epochs" in (tmp_path / "curves.svg").read_text()


def test_a_training_without_a_log_leaves_no_picture_of_an_older_one(tmp_path):
    draw_curves(trainer(), tmp_path)
    draw_curves(trainer([]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_confusions_are_images(tmp_path):
    draw_confusion(["bad", "good $"], np.array([0, 1, 1]), np.array([0, 0, 1]), tmp_path)
    assert is_image(tmp_path, "confusion")


def test_confusions_count_expected_in_rows():
    shown, counts = confusion_table(np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1]), 2)
    assert (shown.tolist(), counts.tolist()) == ([0, 1], [[1, 0], [2, 1]])


def test_of_many_labels_the_most_confused_are_shown():
    labels = 2 * MOST_LABELS
    expected = np.arange(labels)
    predicted = np.where(expected >= MOST_LABELS, np.roll(expected, 1), expected)
    predicted[MOST_LABELS] = labels - 1  # a circle among the last labels; the first are all right
    shown, _ = confusion_table(expected, predicted, labels)
    assert shown.tolist() == list(range(MOST_LABELS, labels))


@pytest.mark.parametrize("draw", ["curves", "confusion"])
def test_without_matplotlib_there_is_a_line_and_no_picture(tmp_path, monkeypatch, caplog, draw):
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        if draw == "curves":
            draw_curves(trainer(), tmp_path)
        else:
            draw_confusion(["a", "b"], np.array([0]), np.array([1]), tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f'No picture {draw}.svg without matplotlib: pip install "hfseq[plots]"'
    ]
    assert list(tmp_path.iterdir()) == []


def test_coverage_shows_how_often_the_surest_answers_are_right(tmp_path):
    scores, right = np.array([0.5, 0.9, 0.7, 0.6]), np.array([False, True, True, False])
    share, accuracy = coverage_line(scores, right)
    assert share.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert accuracy.tolist() == [1.0, 1.0, 2 / 3, 0.5]
    for threshold in (0.65, None):
        draw_coverage(scores, right, tmp_path, threshold=threshold)
        assert is_image(tmp_path, "coverage")
        assert ('id="threshold"' in (tmp_path / "coverage.svg").read_text()) is (threshold is not None)


def test_push_carries_what_the_card_shows(tmp_path):
    draw_curves(trainer(), tmp_path)
    draw_confusion(["a", "b"], np.array([0]), np.array([1]), tmp_path)
    draw_coverage(np.array([0.9, 0.5]), np.array([True, False]), tmp_path, threshold=0.7)
    assert set(pictures_in(tmp_path)) == {"curves.png", "confusion.png", "coverage.png"}
    assert {path.name for path in tmp_path.iterdir()} <= set(OTHER_FILES)


@pytest.mark.parametrize("drawn", [True, False])
def test_a_card_links_its_pictures_and_a_push_carries_them(checkpoint, hub, api, repo_id, drawn):
    if drawn:
        draw_curves(trainer(), checkpoint)
        draw_confusion(["a", "b"], np.array([0]), np.array([1]), checkpoint)
    facts = load_facts(Path(__file__).parents[1] / "golden" / "card_classifier.json")
    publish(facts, checkpoint, HubSettings(repo_id=repo_id, force=True), [])
    card = Path(api.hf_hub_download(repo_id, "README.md")).read_text(encoding="utf-8")
    assert f'model="{repo_id}"' in card
    for name, title in (("curves.png", "Training curves"), ("confusion.png", "Confusions")):
        assert (f"![{title}]({name})" in card) is drawn
        assert api.file_exists(repo_id, name) is drawn
        if drawn:
            assert Path(api.hf_hub_download(repo_id, name)).read_bytes() == (checkpoint / name).read_bytes()
