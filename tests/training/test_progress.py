"""What a training shows."""

from types import SimpleNamespace

import pytest
from transformers import ProgressCallback

from hfseq.training.progress import ProgressLines
from tests.training.trainers import make_trainer


def show(capsys, events, *, strategy="steps", metric="accuracy", is_over=False, step=80):
    args = SimpleNamespace(eval_strategy=strategy, metric_for_best_model=metric, load_best_model_at_end=True)
    state = SimpleNamespace(is_world_process_zero=True, max_steps=100, global_step=0)
    state.best_global_step, state.best_metric = 60, 0.75
    lines = ProgressLines(SimpleNamespace(is_over=is_over))
    lines.on_train_begin(args, state, None)
    for state.global_step, logs in events:
        lines.on_log(args, state, None, logs=logs)
    state.global_step = step
    lines.on_train_end(args, state, None)
    return capsys.readouterr().out.splitlines()


EVALUATION = {"eval_loss": 0.25, "eval_accuracy": 0.5, "eval_f1_macro": 0.4, "eval_runtime": 3.0, "epoch": 1}


def test_an_evaluation_is_a_line_with_the_last_loss(capsys):
    events = [(10, {"loss": 2.0}), (20, {"loss": 1.0}), (25, EVALUATION), (80, {"train_runtime": 9.0})]
    assert show(capsys, events) == [
        "step 25/100: loss 1.000; validation: loss 0.25, accuracy 0.5",
        "stopped at step 80: validation rose no more",
        "kept: step 60, the best on validation (accuracy 0.75)",
    ]
    assert "f1_macro 0.4" in show(capsys, events, metric=None)[0]
    assert show(capsys, events, is_over=True)[1] == "stopped at step 80: the minutes are over"
    assert len(show(capsys, events, step=100)) == 2


def test_without_evaluations_each_loss_is_a_line(capsys):
    assert show(capsys, [(10, {"loss": 2.0})], strategy="no")[0] == "step 10/100: loss 2.000"


@pytest.mark.parametrize("is_quiet", [False, True])
def test_the_trainer_shows_lines_in_place_of_dictionaries(tmp_path, is_quiet):
    trainer = make_trainer(tmp_path, disable_tqdm=is_quiet)
    kinds = [type(each) for each in trainer.callback_handler.callbacks]
    assert ProgressCallback not in kinds and (ProgressLines in kinds) != is_quiet
