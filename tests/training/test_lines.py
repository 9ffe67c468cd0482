"""What a training shows."""

from types import SimpleNamespace

import pytest
from transformers import EarlyStoppingCallback, ProgressCallback, TrainerCallback

from hfseq.training.callbacks import TimeLimit
from hfseq.training.lines import ProgressLines
from tests.contract.cases import texts
from tests.training.trainers import make_trainer


def early_stopping(worse):
    callback = EarlyStoppingCallback(2)
    callback.early_stopping_patience_counter = worse
    return callback


def time_limit(share):
    callback = TimeLimit(1.0, float)
    callback.share = share
    return callback


def show(capsys, events, *, strategy="steps", metric="accuracy", callbacks=(), step=80):
    args = SimpleNamespace(eval_strategy=strategy, metric_for_best_model=metric, load_best_model_at_end=True)
    state = SimpleNamespace(is_world_process_zero=True, max_steps=100, global_step=0)
    state.best_global_step, state.best_metric = 60, 0.75
    lines = ProgressLines(lambda: callbacks)
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
        "stopped at step 80",
        "kept: step 60, the best on validation (accuracy 0.75)",
    ]
    assert "f1_macro 0.4" in show(capsys, events, metric=None)[0]
    assert len(show(capsys, events, step=100)) == 2


@pytest.mark.parametrize(
    ("callbacks", "why"),
    [
        ([early_stopping(2), time_limit(0.5)], ": validation got no better"),
        ([early_stopping(1), time_limit(1.0)], ": the minutes are over"),
        ([early_stopping(1), time_limit(0.5), TrainerCallback()], ""),
    ],
)
def test_the_callback_that_stopped_a_training_is_told(capsys, callbacks, why):
    assert show(capsys, [], callbacks=callbacks)[0] == f"stopped at step 80{why}"


def test_the_trainer_says_that_validation_got_no_better(tmp_path, capsys):
    each = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 5}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "early_stopping_patience": 1}
    make_trainer(tmp_path, disable_tqdm=False, learning_rate=0.0, eval_dataset=texts(8), **each, **best).train()
    assert "stopped at step 2: validation got no better\n" in capsys.readouterr().out


def test_without_evaluations_each_loss_is_a_line(capsys):
    assert show(capsys, [(10, {"loss": 2.0})], strategy="no")[0] == "step 10/100: loss 2.000"


@pytest.mark.parametrize("is_quiet", [False, True])
def test_the_trainer_shows_lines_in_place_of_dictionaries(tmp_path, is_quiet):
    trainer = make_trainer(tmp_path, disable_tqdm=is_quiet)
    kinds = [type(each) for each in trainer.callback_handler.callbacks]
    assert ProgressCallback not in kinds and (ProgressLines in kinds) != is_quiet
