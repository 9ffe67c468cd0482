"""Weights of classes: what they are, and that an update does not depend on how it is dealt out."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from hfseq import GRUConfig, GRUForSequenceClassification
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.class_weights import WeightedLoss, balanced_weights, needs_balance
from hfseq.training.trainer import SequenceTrainer
from hfseq.training.words.bag_trainer import BagTrainingArguments
from tests.closeness import assert_same
from tests.rounds import for_each

ROWS = Dataset.from_dict({"input_ids": [[4 + i % 9, 5, 6] for i in range(32)], "labels": [0] * 26 + [1] * 4 + [2] * 2})
SIZES = {"vocab_size": 20, "embedding_size": 6, "hidden_size": 6, "num_labels": 3}
NO_DROPOUT = {"hidden_dropout": 0.0, "classifier_dropout": 0.0}


def trained(folder, rows=ROWS, **options):
    torch.manual_seed(0)
    model = GRUForSequenceClassification(GRUConfig(**SIZES, **NO_DROPOUT))
    given = {"use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "optim": "sgd", "learning_rate": 0.5}
    given |= {"class_weights": "balanced", "max_grad_norm": 0.0, "num_train_epochs": 1} | options
    trainer = SequenceTrainer(model, SequenceTrainingArguments(str(folder), **given), train_dataset=rows)
    trainer.train()
    return model


def test_accumulation_is_exact(tmp_path):
    whole = trained(tmp_path, total_train_batch_size=32)
    parts = trained(tmp_path, total_train_batch_size=32, gradient_accumulation_steps=8)
    assert_same(list(parts.parameters()), list(whole.parameters()), 1e-5)
    plain = trained(tmp_path, total_train_batch_size=32, class_weights=None)
    assert (plain.classifier.bias - whole.classifier.bias).abs().max() > 1e-2
    # Classes that count the same: the first step has no bias towards the frequent one.
    ids, labels = torch.tensor(ROWS["input_ids"][:]), torch.tensor(ROWS["labels"][:])
    torch.manual_seed(0)
    model = GRUForSequenceClassification(GRUConfig(**SIZES, **NO_DROPOUT))
    losses = torch.nn.functional.cross_entropy(model(ids).logits, labels, reduction="none")
    torch.stack([losses[labels == label].mean() for label in range(3)]).mean().backward()
    moved = model.classifier.bias - 0.5 * model.classifier.bias.grad
    assert_same(whole.classifier.bias, moved, 1e-4)


def test_weights_are_inverse_shares_with_a_mean_of_1():
    labels = np.array([0] * 6 + [1] * 2 + [-100])
    assert_same(balanced_weights(labels, 3), np.array([8 / 12, 8 / 4, 1.0]))
    assert_same(balanced_weights(labels, 3)[labels[:-1]].mean(), 1.0)


@for_each(("counts", "expected"), [([50, 50], False), ([96, 4], True), ([95, 5], False), ([9, 0], False), ([], False)])
def test_a_class_with_less_than_a_tenth_of_its_share_needs_balance(counts, expected):
    assert needs_balance(counts) == expected


def test_texts_without_a_label_do_not_count():
    loss = WeightedLoss(np.array([1.0, 3.0]))
    logits, labels = torch.zeros(3, 2), torch.tensor([1, -100, 0])
    assert_same(loss({"logits": logits}, labels), torch.tensor(2 * np.log(2)).float())
    assert_same(loss({"logits": logits}, labels, 8), torch.tensor(np.log(2) / 2).float())


def test_what_has_no_classes_of_texts_is_refused(tmp_path):
    several = Dataset.from_dict({"input_ids": [[4, 5]] * 4, "labels": [[0.0, 1.0, 1.0]] * 4})
    with pytest.raises(ValueError, match="class_weights='balanced' is for classifiers with one label a text"):
        trained(tmp_path, several)
    with pytest.raises(ValueError, match="the steps of a bag weigh all texts alike"):
        BagTrainingArguments(str(tmp_path), class_weights="balanced")
    for options, message in (
        ({"class_weights": "equal"}, "class_weights='equal' must be 'balanced'"),
        ({"label_smoothing_factor": 0.1, "class_weights": "balanced"}, "are two losses"),
    ):
        with pytest.raises(ValueError, match=message):
            SequenceTrainingArguments(str(tmp_path), **options)
