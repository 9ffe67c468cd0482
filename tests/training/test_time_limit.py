"""A training that stops when its minutes are over, whose learning rate falls with them."""

from functools import partial

import pytest

from hfseq.training import callbacks
from tests.contract.cases import texts
from tests.training.trainers import make_trainer

STEPS = {"eval_strategy": "steps", "eval_steps": 100, "lr_scheduler_type": "linear", "max_steps": 100}


@pytest.fixture
def make(tmp_path):
    """`make_trainer` in an empty folder, over a hundred updates that a clock may cut."""
    return partial(make_trainer, tmp_path, **{**STEPS, "total_train_batch_size": 4, "learning_rate": 0.1})


@pytest.fixture
def slow_clock(monkeypatch):
    """A clock that goes on by six seconds each time it is read."""
    reads = iter(range(0, 10**6, 6))
    monkeypatch.setattr(callbacks, "perf_counter", lambda: float(next(reads)))


def rates(trainer):
    return [row["learning_rate"] for row in trainer.state.log_history if "learning_rate" in row]


def test_training_stops_when_the_minutes_are_over_and_is_evaluated_then(make, slow_clock):
    trainer = make(max_minutes=1.0, eval_dataset=texts(8))
    trainer.train()
    assert 5 <= trainer.state.global_step <= 10
    assert trainer.time_limit.is_over
    evaluated = [row["step"] for row in trainer.state.log_history if "eval_loss" in row]
    assert evaluated == [trainer.state.global_step]


def test_the_learning_rate_falls_with_the_clock(make, slow_clock):
    trainer = make(max_minutes=1.0, eval_dataset=texts(8))
    trainer.train()
    assert rates(trainer) == sorted(rates(trainer), reverse=True)
    assert rates(trainer)[-1] < 0.02  # by the steps alone it would be 0.09 or more


def test_a_clock_that_is_behind_the_steps_changes_nothing(make):
    options = {"max_steps": 4, "eval_strategy": "no"}
    plain, timed = make(**options, folder="plain"), make(**options, max_minutes=1000.0, folder="timed")
    plain.train()
    timed.train()
    assert rates(plain) == pytest.approx(rates(timed))
    assert timed.state.global_step == 4
    assert not timed.time_limit.is_over


def test_a_resumed_run_counts_the_time_of_the_launches_before(make, monkeypatch):
    saved = {"save_strategy": "steps", "save_steps": 2}
    reads = iter(range(0, 10**6, 6))
    monkeypatch.setattr(callbacks, "perf_counter", lambda: float(next(reads)))
    make(max_steps=2, max_minutes=1.0, eval_dataset=texts(8), **saved).train()
    resumed = make(max_minutes=1.0, eval_dataset=texts(8), **saved)
    resumed.train(resume_from_checkpoint=True)
    alone = make(max_minutes=1.0, eval_dataset=texts(8), folder="alone")
    alone.train()
    assert resumed.state.global_step - 2 < alone.state.global_step
    assert resumed.training_seconds >= 60


@pytest.mark.parametrize("minutes", [0, -1.0])
def test_minutes_that_are_no_time_are_refused(make, minutes):
    with pytest.raises(ValueError, match=f"max_minutes must be positive, got {minutes}"):
        make(max_minutes=minutes)
