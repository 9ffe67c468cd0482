"""Training is pinned by equivalences: accumulated = at once, resumed = uninterrupted, ours = transformers' own."""

from functools import partial

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import Trainer, TrainerCallback

from hfseq.evaluation.trainer_metrics import PROBLEMS, classification_metrics
from hfseq.models.heads import classification as heads
from hfseq.training.trainer import SequenceTrainer
from tests.closeness import ROUNDINGS, assert_same
from tests.contract.cases import LABELS, texts
from tests.contract.promises import same_weights
from tests.rounds import for_each
from tests.training.streams.stream_trainers import distance
from tests.training.trainers import DROPOUT, RecordingCollator, distinct_texts, make_trainer, small_model


class GradientReader(TrainerCallback):
    """Keeps the gradients that each step of the optimizer used."""

    def __init__(self):
        self.updates = []

    def on_optimizer_step(self, args, state, control, **kwargs):
        self.updates.append(torch.cat([p.grad.flatten() for p in kwargs["model"].parameters()]).clone())


@pytest.fixture
def make(tmp_path):
    """`make_trainer` in an empty folder."""
    return partial(make_trainer, tmp_path)


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


# The size of an update


def test_the_rows_of_an_update_and_of_a_device_follow_from_one_another(make):
    given_total = make(total_train_batch_size=32, gradient_accumulation_steps=4).args
    assert (given_total.per_device_train_batch_size, given_total.train_batch_size) == (8, 8)
    given_device = make(per_device_train_batch_size=8, gradient_accumulation_steps=4).args
    assert given_device.total_train_batch_size == 32
    assert make(total_train_batch_size=33, gradient_accumulation_steps=4).args.per_device_train_batch_size == 9


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_accumulated_updates_equal_whole_ones(make, strategy):
    start = small_model()
    runs = []
    for steps in (1, 4):
        trainer = make(
            rows=texts(100),
            total_train_batch_size=32,
            gradient_accumulation_steps=steps,
            train_sampling_strategy=strategy,
            num_train_epochs=3,
            optim="sgd",
            learning_rate=0.5,
        )
        trainer.train()
        assert trainer.state.global_step == 9
        runs.append(trainer)
    whole, accumulated = runs
    assert distance(whole.model, accumulated.model) < ROUNDINGS < 0.1 < distance(whole.model, start)
    assert_same(losses(whole), losses(accumulated), 2e-4, scale=1)  # logged with four digits


def test_a_loss_that_ignores_the_size_of_the_update_is_caught(make, monkeypatch):
    """The fault of transformers' own heads, planted: each accumulation step divides by its own rows."""
    models = []
    for steps in (1, 4):
        trainer = make(
            rows=texts(100), total_train_batch_size=32, gradient_accumulation_steps=steps, max_steps=3, optim="sgd"
        )
        original = heads.sequence_loss
        monkeypatch.setattr(heads, "sequence_loss", lambda *args, f=original: f(*args[:3]))
        trainer.train()
        monkeypatch.undo()
        models.append(trainer.model)
    assert distance(*models) > 1e-2


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_each_epoch_takes_every_row_once_in_an_order_of_its_own(make, strategy):
    collator, rows = RecordingCollator(), distinct_texts(52)
    trainer = make(
        rows=rows,
        collator=collator,
        total_train_batch_size=16,
        gradient_accumulation_steps=2,
        num_train_epochs=2,
        train_sampling_strategy=strategy,
    )
    trainer.train()
    epochs = [sum(collator.batches[:6], []), sum(collator.batches[6:], [])]
    assert len(collator.batches) == 12
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(map(tuple, rows["input_ids"]))
    assert epochs[0] != epochs[1]


def test_a_token_budget_limits_the_padded_updates(make):
    collator, rows = RecordingCollator(), distinct_texts(60)
    trainer = make(
        rows=rows,
        collator=collator,
        total_train_batch_size=32,
        total_train_batch_tokens=60,
        num_train_epochs=1,
        train_sampling_strategy="group_by_length",
    )
    trainer.train()
    padded = [len(batch) * max(map(len, batch)) for batch in collator.batches]
    assert trainer.state.global_step == len(padded) > 5
    assert 40 < max(padded) <= 60


def test_workers_load_the_same_batches(make):
    models = []
    for workers in (0, 1):
        trainer = make(max_steps=4, total_train_batch_size=16, dataloader_num_workers=workers)
        trainer.train()
        models.append(trainer.model)
    assert same_weights(*models)


def test_the_loader_is_made_as_the_arguments_say(make):
    loader = make(
        dataloader_num_workers=1,
        dataloader_persistent_workers=True,
        dataloader_prefetch_factor=3,
        accelerator_config={"non_blocking": True},
    ).get_train_dataloader()
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor) == (1, True, 3)
    assert loader._non_blocking


def test_lengths_are_read_from_the_column_that_the_arguments_name(make):
    rows = distinct_texts(32).add_column("tokens", [i % 2 for i in range(32)])
    ids = [tuple(row) for row in rows["input_ids"]]
    options = {"total_train_batch_size": 16, "train_sampling_strategy": "group_by_length", "max_steps": 2}
    kinds = {}
    for column in ("length", "tokens"):
        collator = RecordingCollator()
        make(rows=rows, collator=collator, length_column_name=column, **options).train()
        kinds[column] = sorted(sorted({ids.index(row) % 2 for row in batch}) for batch in collator.batches)
    assert kinds == {"length": [[0, 1], [0, 1]], "tokens": [[0], [1]]}


# Gradients


def test_each_element_of_the_gradient_is_clipped_after_the_norm(make):
    gradients = {}
    for name, options in {
        "free": {"max_grad_norm": 0.0},
        "value": {"max_grad_norm": 0.0, "clip_grad_value": 1e-3},
        "norm": {"max_grad_norm": 0.05},
        "both": {"max_grad_norm": 0.05, "clip_grad_value": 1e-3},
    }.items():
        reader = GradientReader()
        make(callbacks=[reader], total_train_batch_size=16, max_steps=1, **options).train()
        (gradients[name],) = reader.updates
    free = gradients["free"]
    assert free.abs().max() > 1e-2 and free.norm() > 0.1
    assert torch.equal(gradients["value"], free.clamp(-1e-3, 1e-3))
    assert gradients["norm"].norm().item() == pytest.approx(0.05, rel=1e-4)
    assert torch.equal(gradients["both"], gradients["norm"].clamp(-1e-3, 1e-3))


def test_every_update_is_clipped(make):
    reader = GradientReader()
    make(callbacks=[reader], clip_grad_value=1e-3, total_train_batch_size=16, num_train_epochs=2).train()
    assert len(reader.updates) == 6
    assert all(update.abs().max() <= 1e-3 for update in reader.updates)


# Stopping early


@pytest.fixture
def contradicted(make):
    """Runs where evaluation contradicts training: the better the one is learned, the worse the other."""
    rows = texts(60)
    options = {
        "rows": rows,
        "eval_dataset": rows.map(lambda row: {"labels": (row["labels"] + 1) % 3}),
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
        "total_train_batch_size": 20,
        "learning_rate": 0.03,
        "max_steps": 40,
    }
    return lambda **more: make(**options, **more)


def test_early_stopping_keeps_the_best_model(contradicted):
    trainer = contradicted(early_stopping_patience=3)
    trainer.train()
    evaluated = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    best = int(np.argmin(evaluated))
    assert len(evaluated) == best + 1 + 3
    assert trainer.state.global_step == 2 * len(evaluated) < 40
    assert trainer.state.best_metric == min(evaluated) < evaluated[-1] - 0.01
    assert_same(trainer.evaluate()["eval_loss"], min(evaluated))

    until_the_end = contradicted(folder="until_the_end")
    until_the_end.train()
    assert until_the_end.state.global_step == 40


@pytest.mark.parametrize("remembers", [True, False])
def test_a_resumed_run_remembers_how_long_it_has_waited(contradicted, remembers):
    """And one that forgets, as Trainer does by default, is caught."""
    whole = contradicted(early_stopping_patience=3)
    whole.train()
    resumed = contradicted(early_stopping_patience=3)
    assert resumed.args.restore_callback_states_from_checkpoint
    resumed.args.restore_callback_states_from_checkpoint = remembers
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-{whole.state.global_step - 2}")
    assert (resumed.state.global_step == whole.state.global_step) == remembers


# The best model


@for_each(
    ("name", "greater"),
    [("mse", False), ("eval_mse", False), ("r2", True), ("eval_accuracy", True), ("loss", False), ("other", True)],
)
def test_a_score_knows_whether_greater_is_better(make, name, greater):
    assert make(metric_for_best_model=name).args.greater_is_better == greater
    assert make(metric_for_best_model=name, greater_is_better=not greater).args.greater_is_better != greater


@pytest.mark.parametrize("knows", [True, False])
def test_a_regression_keeps_the_model_of_the_least_error(make, knows, monkeypatch):
    """And one that takes every score for greater is better, as TrainingArguments does, keeps the worst."""
    if not knows:
        monkeypatch.setattr("hfseq.training.arguments.SCORES", {})
    rows = texts().remove_columns("labels").add_column("labels", LABELS["regression"])
    trainer = make(
        model=small_model(problem_type="regression", num_labels=1),
        rows=rows,
        eval_dataset=rows,
        compute_metrics=classification_metrics("regression"),
        metric_for_best_model="mse",
        load_best_model_at_end=True,
        eval_strategy="epoch",
        save_strategy="epoch",
        num_train_epochs=6,
        total_train_batch_size=8,
    )
    trainer.train()
    errors = [entry["eval_mse"] for entry in trainer.state.log_history if "eval_mse" in entry]
    assert max(errors) > 1.2 * min(errors)
    kept = min(errors) if knows else max(errors)
    assert trainer.state.best_metric == kept
    assert_same(trainer.evaluate()["eval_mse"], kept)


# The same run again


@pytest.fixture
def interrupted(make):
    """A run of 9 updates in 3 epochs with a checkpoint after each; `resume` goes on from one of them."""
    options = {
        "rows": distinct_texts(52),
        "total_train_batch_size": 16,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 3,
        "lr_scheduler_type": "linear",
        "save_strategy": "steps",
        "save_steps": 1,
    }

    def run(strategy, resume_from=None):
        trainer = make(model=small_model(**DROPOUT), train_sampling_strategy=strategy, **options)
        checkpoint = None if resume_from is None else f"{trainer.args.output_dir}/checkpoint-{resume_from}"
        trainer.train(resume_from_checkpoint=checkpoint)
        assert trainer.state.global_step == 9
        return trainer

    return run


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(interrupted, strategy):
    whole = interrupted(strategy)
    for step in (2, 5, 6):  # in the first epoch, in a later one, at the end of one
        resumed = interrupted(strategy, resume_from=step)
        assert same_weights(resumed.model, whole.model), step
        assert losses(resumed) == losses(whole), step


class Tick(TrainerCallback):
    """Lets each update last a second of a clock that stands still otherwise."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr("hfseq.training.callbacks.perf_counter", lambda: self.now)

    def on_step_end(self, args, state, control, **kwargs):
        self.now += 1


@pytest.mark.parametrize("restores", [False, True])
def test_the_seconds_of_training_count_over_all_launches(make, monkeypatch, restores):
    options = {
        "total_train_batch_size": 16,
        "num_train_epochs": 3,
        "save_strategy": "steps",
        "save_steps": 1,
        "restore_callback_states_from_checkpoint": restores,  # which makes Trainer replace the callback
    }
    tick = Tick(monkeypatch)
    whole = make(callbacks=[tick], **options)
    whole.train()
    assert whole.state.global_step == whole.training_seconds == 9
    tick.now += 100
    assert whole.training_seconds == 9  # evaluation and the rest come after the training
    for _ in range(2):
        resumed = make(callbacks=[tick], **options)
        resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-5")
        assert resumed.training_seconds == 9
    whole.train()  # from the start
    assert whole.training_seconds == 9


def test_a_checkpoint_of_trainer_is_gone_on_from(make, monkeypatch):
    options = {"per_device_train_batch_size": 16, "max_steps": 6, "save_strategy": "steps", "save_steps": 2}
    make(Trainer, **options).train()
    resumed = make(callbacks=[Tick(monkeypatch)], **options)
    resumed.train(resume_from_checkpoint=f"{resumed.args.output_dir}/checkpoint-2")
    assert (resumed.state.global_step, resumed.training_seconds) == (6, 4)


def test_a_resumed_run_that_forgets_the_random_state_is_caught(interrupted, monkeypatch):
    whole = interrupted("random")
    monkeypatch.setattr(SequenceTrainer, "_load_rng_state", lambda self, checkpoint: None)
    assert not same_weights(interrupted("random", resume_from=5).model, whole.model)


def test_a_resumed_run_that_forgets_the_epoch_is_caught(interrupted, monkeypatch):
    whole = interrupted("random")
    monkeypatch.setattr("hfseq.training.trainer.UpdateSampler.set_epoch", lambda self, epoch: None)
    assert not same_weights(interrupted("random", resume_from=5).model, whole.model)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(make):
    def run(**seeds):
        trainer = make(model=small_model(**DROPOUT), total_train_batch_size=16, max_steps=5, **seeds)
        trainer.train()
        return trainer.model

    first = run(seed=3)
    assert same_weights(first, run(seed=3))
    assert not same_weights(first, run(seed=4))
    assert not same_weights(first, run(seed=3, data_seed=4))
    assert same_weights(run(seed=3, data_seed=4), run(seed=3, data_seed=4))


def test_trainer_of_transformers_trains_the_same_model(make):
    models = []
    for trainer_class in (Trainer, SequenceTrainer):
        options = {"per_device_train_batch_size": 13, "train_sampling_strategy": "sequential", "num_train_epochs": 6}
        trainer = make(trainer_class, **options)
        trainer.train()
        assert losses(trainer)[-1] < 0.9 * losses(trainer)[0]
        models.append(trainer.model)
    assert distance(*models) < ROUNDINGS


# Every kind of label


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_every_kind_of_label_is_trained_and_scored(make, problem_type):
    rows = texts().remove_columns("labels").add_column("labels", LABELS[problem_type])
    trainer = make(
        model=small_model(problem_type=problem_type, num_labels=1 if problem_type == "regression" else 3),
        rows=rows,
        compute_metrics=classification_metrics(problem_type),
        total_train_batch_size=8,
        max_steps=90,
        train_sampling_strategy="group_by_length",
    )
    before = trainer.score(rows)[1]
    trainer.train()
    logits, after = trainer.score(rows)
    labels = np.array(rows["labels"])
    assert losses(trainer)[-1] < 0.7 * losses(trainer)[0]
    assert set(after) == set(before) == set(PROBLEMS[problem_type].scores)
    if problem_type == "regression":
        assert logits.shape == (24, 1)
        assert after["mse"] == pytest.approx(((logits[:, 0] - labels) ** 2).mean(), rel=1e-5)
        assert after["mse"] < 0.5 * before["mse"]
        return
    right = ((logits > 0) == labels).all(-1) if labels.ndim == 2 else logits.argmax(-1) == labels
    assert after["accuracy"] == pytest.approx(right.mean())
    assert after["accuracy"] > before["accuracy"] + 0.2


def test_trainers_own_logging_writes_tensorboard_events(make, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    trainer = make(report_to="tensorboard", total_train_batch_size=16, max_steps=3)
    trainer.train()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    logged = events.Scalars("train/loss")
    assert [event.step for event in logged] == [1, 2, 3]
    assert [event.value for event in logged] == pytest.approx(losses(trainer), rel=1e-6)
