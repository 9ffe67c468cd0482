"""Training is pinned by equivalences: accumulated = at once, resumed = uninterrupted, ours = transformers' own."""

import copy

import numpy as np
import pytest
import torch
from datasets import Dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import DataCollatorWithPadding, EvalPrediction, Trainer, TrainerCallback, TrainingArguments

from hfseq import FAMILIES
from hfseq.metrics import PROBLEMS, classification_metrics
from hfseq.models import heads
from hfseq.training import SequenceTrainer, SequenceTrainingArguments
from tests.contract import LABELS, VOCABULARY, same_weights, texts, tokenizer

DROPOUT = {"embedding_dropout": 0.2, "hidden_dropout": 0.3, "classifier_dropout": 0.3}
NO_DROPOUT = dict.fromkeys(DROPOUT, 0.0)


class RecordingCollator(DataCollatorWithPadding):
    """Pads as usual, and keeps what it was given: one list of rows a batch."""

    def __init__(self):
        super().__init__(tokenizer())
        self.batches = []

    def __call__(self, features):
        self.batches.append([tuple(row["input_ids"]) for row in features])
        return super().__call__(features)


class GradientReader(TrainerCallback):
    """Keeps the gradients that each step of the optimizer used."""

    def __init__(self):
        self.updates = []

    def on_optimizer_step(self, args, state, control, **kwargs):
        self.updates.append(torch.cat([p.grad.flatten() for p in kwargs["model"].parameters()]).clone())


def small_model(family="lstm", **options):
    """A small classifier, the same one every time."""
    torch.manual_seed(0)
    row = FAMILIES[family]
    sizes = {"vocab_size": len(VOCABULARY), "embedding_size": 6, "hidden_size": 5, "num_labels": 3, "eos_token_id": 3}
    return row.heads["text-classification"](row.config(**{**sizes, **NO_DROPOUT, **options}))


def distinct_texts(rows):
    """Ragged rows, no two of which are alike."""
    dataset = texts(rows)
    ids = [[*row, 4 + i % 10, 4 + i // 10 % 10] for i, row in enumerate(dataset["input_ids"])]
    return Dataset.from_dict({"input_ids": ids, "labels": dataset["labels"][:]})


@pytest.fixture
def make(tmp_path):
    """Builds a trainer of some class over a small model; keywords that are not its own are training arguments."""

    def make(trainer_class=SequenceTrainer, *, model=None, rows=None, collator=None, folder="run", **options):
        own = {name: options.pop(name) for name in ("eval_dataset", "compute_metrics", "callbacks") if name in options}
        ours = issubclass(trainer_class, SequenceTrainer)
        defaults = {
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_steps": 1,
            "learning_rate": 0.03,
            "lr_scheduler_type": "constant",
            "per_device_eval_batch_size": 4,
        }
        arguments = (SequenceTrainingArguments if ours else TrainingArguments)(
            str(tmp_path / folder), **{**defaults, **options}
        )
        return trainer_class(
            model=small_model() if model is None else model,
            args=arguments,
            train_dataset=texts(52) if rows is None else rows,
            processing_class=tokenizer(),
            data_collator=collator or DataCollatorWithPadding(tokenizer()),
            **own,
        )

    return make


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def distance(one, other):
    """The greatest difference between two models' parameters."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


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
    assert distance(whole.model, accumulated.model) < 1e-6 < 0.1 < distance(whole.model, start)
    assert losses(whole) == pytest.approx(losses(accumulated), abs=2e-4)  # logged with four digits


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


# Evaluation and prediction


class GroupsEvaluation(SequenceTrainer):
    """The planted fault: Trainer's own evaluation order, which is grouped by length as training is."""

    _get_eval_sampler = Trainer._get_eval_sampler


@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length"])
def test_predictions_are_those_of_trainer_in_the_order_of_the_dataset(make, strategy):
    rows = distinct_texts(43)
    expected = make(Trainer).predict(rows)
    output = make(train_sampling_strategy=strategy).predict(rows)
    assert output.predictions == pytest.approx(expected.predictions, abs=1e-6)
    assert output.label_ids.tolist() == expected.label_ids.tolist() == rows["labels"][:]
    assert output.metrics["test_loss"] == pytest.approx(expected.metrics["test_loss"], abs=1e-6)


def test_predictions_in_the_order_of_trainers_groups_are_caught(make):
    rows = distinct_texts(43)
    expected = make(Trainer).predict(rows).predictions
    wrong = make(GroupsEvaluation, train_sampling_strategy="group_by_length").predict(rows).predictions
    assert np.abs(wrong - expected).max() > 1e-2
    assert np.sort(wrong[:, 0]) == pytest.approx(np.sort(expected[:, 0]), abs=1e-6)  # every row is there, elsewhere


def test_prediction_and_evaluation_run_over_rows_sorted_by_length(make):
    collator, rows = RecordingCollator(), distinct_texts(43)
    trainer = make(collator=collator, eval_dataset=rows, train_sampling_strategy="group_by_length")
    for run in (trainer.evaluate, lambda: trainer.predict(rows)):
        collator.batches.clear()
        run()
        lengths = [len(row) for batch in collator.batches for row in batch]
        assert len(lengths) == 43
        assert lengths == sorted(lengths)
    assert rows["input_ids"][:] != sorted(rows["input_ids"][:], key=len)


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_evaluation_equals_trainers(make, strategy):
    rows = distinct_texts(43)
    options = {"eval_dataset": rows, "compute_metrics": classification_metrics("single_label_classification")}
    expected = make(Trainer, **options).evaluate()
    found = make(train_sampling_strategy=strategy, **options).evaluate()
    for name in ("eval_loss", "eval_accuracy", "eval_f1_macro", "eval_matthews_correlation"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6)


def test_several_evaluation_sets_are_evaluated_each(make):
    sets = {"one": distinct_texts(20), "other": distinct_texts(9)}
    found = make(eval_dataset=sets).evaluate()
    for name, rows in sets.items():
        assert found[f"eval_{name}_loss"] == pytest.approx(make(Trainer).evaluate(rows)["eval_loss"], abs=1e-6)


def test_score_gives_logits_and_metrics_alone(make):
    rows = distinct_texts(43)
    metrics = classification_metrics("single_label_classification")
    logits, found = make(compute_metrics=metrics, train_sampling_strategy="group_by_length").score(rows)
    assert logits == pytest.approx(make(Trainer).predict(rows).predictions, abs=1e-6)
    assert found == metrics(EvalPrediction(logits, np.array(rows["labels"])))
    assert found["accuracy"] == (logits.argmax(-1) == np.array(rows["labels"])).mean()


def test_prediction_takes_any_dataset_as_trainer_does(make):
    rows = distinct_texts(11)
    as_list = [{"input_ids": ids} for ids in rows["input_ids"]]
    output = make().predict(as_list)
    assert output.predictions == pytest.approx(make(Trainer).predict(rows).predictions, abs=1e-6)
    assert output.label_ids is None
    assert make().predict(rows.remove_columns("labels")).label_ids is None


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
        "learning_rate": 0.01,
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
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(evaluated), abs=1e-6)

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


def test_a_resumed_run_that_forgets_the_random_state_is_caught(interrupted, monkeypatch):
    whole = interrupted("random")
    monkeypatch.setattr(SequenceTrainer, "_load_rng_state", lambda self, checkpoint: None)
    assert not same_weights(interrupted("random", resume_from=5).model, whole.model)


def test_a_resumed_run_that_forgets_the_epoch_is_caught(interrupted, monkeypatch):
    whole = interrupted("random")
    monkeypatch.setattr("hfseq.training.UpdateSampler.set_epoch", lambda self, epoch: None)
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
        options = {"per_device_train_batch_size": 13, "train_sampling_strategy": "sequential", "num_train_epochs": 3}
        trainer = make(trainer_class, **options)
        trainer.train()
        assert losses(trainer)[-1] < 0.9 * losses(trainer)[0]
        models.append(trainer.model)
    assert distance(*models) < 1e-6


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


# Wrong arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total_train_batch_size": 0}, "total_train_batch_size must be positive, got 0"),
        ({"total_train_batch_size": -8}, "total_train_batch_size must be positive, got -8"),
        ({"total_train_batch_tokens": 0}, "total_train_batch_tokens must be positive, got 0"),
        ({"clip_grad_value": 0.0}, "clip_grad_value must be positive, got 0.0; leave it out"),
        ({"clip_grad_value": -0.1}, "clip_grad_value must be positive, got -0.1"),
        ({"early_stopping_patience": 0}, "early_stopping_patience must be positive, got 0"),
        ({"num_processes": 0}, "num_processes must be positive, got 0"),
        ({"early_stopping_patience": 2}, "early_stopping_patience=2 needs load_best_model_at_end=True"),
        ({"num_processes": 2}, "num_processes=2 was asked for, 1 run. On CPU launch with: accelerate launch"),
    ],
)
def test_wrong_arguments_are_answered_with_value_and_cure(make, options, message):
    with pytest.raises(ValueError) as error:
        make(**options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total_train_batch_tokens": 100}, "tokens_per_update=100 needs strategy 'group_by_length', got 'random'"),
        (
            {"total_train_batch_size": 2, "gradient_accumulation_steps": 4},
            "rows an update cannot be dealt to 1 processes x 4 accumulation steps. Raise total_train_batch_size to 4",
        ),
        ({"gradient_accumulation_steps": 99}, "52 rows cannot be dealt to 1 processes x 99 accumulation steps"),
        ({"train_sampling_strategy": "batch_rebalance"}, "strategy 'batch_rebalance' is not one of ('random', "),
    ],
)
def test_arguments_that_do_not_fit_the_data_are_answered_before_the_first_update(make, options, message):
    trainer = make(**options)
    before = copy.deepcopy(trainer.model)
    with pytest.raises(ValueError) as error:
        trainer.train()
    assert message in str(error.value)
    assert same_weights(trainer.model, before)


def test_processes_that_would_train_alone_are_stopped(make, monkeypatch):
    """What a two-process launch without a GPU and without use_cpu looks like from inside."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes were launched, but .* each would train alone.*use_cpu=true"):
        make(use_cpu=False)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert make(use_cpu=False, num_processes=1).args.world_size == 1


def test_only_a_dataset_is_trained_on(make):
    with pytest.raises(
        ValueError, match="datasets.Dataset with a column input_ids, got list. transformers.Trainer takes"
    ):
        make(rows=[{"input_ids": [4], "labels": 0}]).train()
