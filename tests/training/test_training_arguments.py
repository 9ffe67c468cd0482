"""Arguments that cannot work are answered with their value and the cure, before anything is trained."""

import copy
from functools import partial

import pytest
import torch
from transformers import TrainingArguments

from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer
from tests.contract.promises import same_weights
from tests.rounds import for_each
from tests.training.trainers import make_trainer, small_model


@pytest.fixture
def make(tmp_path):
    """`make_trainer` in an empty folder."""
    return partial(make_trainer, tmp_path)


@for_each(
    ("options", "message"),
    [
        ({"total_train_batch_size": 0}, "total_train_batch_size must be positive, got 0"),
        ({"total_train_batch_size": -8}, "total_train_batch_size must be positive, got -8"),
        ({"total_train_batch_tokens": 0}, "total_train_batch_tokens must be positive, got 0"),
        ({"clip_grad_value": 0.0}, "clip_grad_value must be positive, got 0.0; leave it out"),
        ({"clip_grad_value": -0.1}, "clip_grad_value must be positive, got -0.1"),
        ({"early_stopping_patience": 0}, "early_stopping_patience must be positive, got 0"),
        ({"layer_rate_decay": 0.0}, "layer_rate_decay must be positive, got 0.0; leave it out"),
        ({"layer_rate_decay": 2.6}, "layer_rate_decay=2.6 would train the embeddings fastest"),
        ({"unfreeze_every": 0}, "unfreeze_every must be positive, got 0"),
        ({"num_processes": 0}, "num_processes must be positive, got 0"),
        ({"early_stopping_patience": 2}, "early_stopping_patience=2 needs load_best_model_at_end=True"),
        ({"num_processes": 2}, "num_processes=2 was asked for, 1 run. On CPU launch with: accelerate launch"),
        (
            {"dataloader_drop_last": True},
            "SequenceTrainingArguments takes no dataloader_drop_last=True: every row is trained on",
        ),
        ({"auto_find_batch_size": True}, "no auto_find_batch_size=True: the size of an update is fixed"),
        (
            {"accelerator_config": {"split_batches": True}},
            "no accelerator_config.split_batches=True: total_train_batch_size",
        ),
        ({"accelerator_config": {"dispatch_batches": True}}, "accelerator_config.dispatch_batches=True: each process"),
        ({"accelerator_config": {"use_seedable_sampler": False}}, "no accelerator_config.use_seedable_sampler=False"),
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
    with pytest.raises(ValueError, match="2 processes were launched, but .*each would train alone.*use_cpu=true"):
        make(use_cpu=False)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert make(use_cpu=False, num_processes=1).args.world_size == 1


def test_one_process_with_several_gpus_is_stopped(make, monkeypatch):
    monkeypatch.setattr(SequenceTrainingArguments, "n_gpu", 2)
    with pytest.raises(ValueError, match="to 2 GPUs. Launch one for each GPU: accelerate .*CUDA_VISIBLE_DEVICES"):
        make()


def test_arguments_have_defaults_and_those_of_trainer_are_answered_with_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert isinstance(SequenceTrainer(model=small_model()).args, SequenceTrainingArguments)
    for call in (lambda args: SequenceTrainer(small_model(), args), lambda args: SequenceTrainer(args=args)):
        with pytest.raises(ValueError, match="takes SequenceTrainingArguments, got TrainingArguments"):
            call(TrainingArguments(use_cpu=True))


def test_only_a_dataset_is_trained_on(make):
    with pytest.raises(
        ValueError,
        match="datasets.Dataset with a column input_ids or input_values, got list. transformers.Trainer takes",
    ):
        make(rows=[{"input_ids": [4], "labels": 0}]).train()
