"""Promise 6: stock Trainer trains every parameter, the same seed gives the same run, 4 x 8 rows = 32."""

import math
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from tests.closeness import assert_same
from tests.contract.cases import Case
from tests.contract.promises.saving import same_weights
from tests.devices import DEVICE


def train(case: Case, model: PreTrainedModel, *, steps: int, rows: int, dataset: Any = None, **options: Any) -> list:
    """Train with stock Trainer, in the dataset's order; returns the logged losses."""
    arguments = {"learning_rate": 0.03, "lr_scheduler_type": "constant", "save_strategy": "no", **options}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            str(case.folder / "run"),
            per_device_train_batch_size=rows,
            max_steps=steps,
            logging_steps=1,
            use_cpu=DEVICE.type != "cuda",
            disable_tqdm=True,
            train_sampling_strategy="sequential",
            **arguments,
        ),
        train_dataset=case.rows() if dataset is None else dataset,
        data_collator=case.collator(),
    )
    trainer.train()
    # That of a density may be below zero.
    assert math.isfinite(trainer.evaluate(trainer.train_dataset)["eval_loss"])
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def stock_trainer_changes_every_parameter(case: Case) -> None:
    model = case.model().train()
    before = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    losses = train(case, model, steps=30, rows=8)
    unchanged = [name for name, value in model.named_parameters() if torch.equal(value.cpu(), before[name])]
    assert unchanged == []
    assert losses[-1] < 0.9 * losses[0]


def the_same_seed_gives_the_same_run(case: Case) -> None:
    runs = []
    for seed in (0, 0, 1):
        model = case.model(seed).train()
        runs.append((train(case, model, steps=3, rows=4, seed=seed), model))
    assert runs[0][0] == runs[1][0] and same_weights(runs[0][1], runs[1][1])
    assert not same_weights(runs[0][1], runs[2][1])


def accumulation_is_exact(case: Case) -> None:
    for options, dataset in case.trainings():
        results = []
        for rows, steps in ((8, 1), (2, 4)):
            model = case.model(**options).train()
            losses = train(
                case, model, steps=3, rows=rows, dataset=dataset, gradient_accumulation_steps=steps, optim="sgd"
            )
            results.append((losses, model))
        (losses, model), (split_losses, split_model) = results
        assert_same(losses, split_losses, 2e-4, scale=1, what=options)  # logged with four digits
        assert_same(model.parameters(), split_model.parameters(), scale=0.1, what=options)


def every_parameter_gets_a_gradient(case: Case) -> None:
    model = case.model().train()
    ids, mask = case.batch()
    model(**case.given(ids, mask), **case.wanted(case.targets(ids))).loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def checkpointing_gives_the_same_gradients(case: Case) -> None:
    ids, mask = case.batch()
    gradients = []
    for checkpointing in (False, True):
        model = case.model(**case.no_dropout).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(**case.given(ids, mask), **case.wanted(case.targets(ids))).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert_same(*gradients, scale=0.01)  # a bias of keys has none but what is left where terms cancel
