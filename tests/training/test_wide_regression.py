"""`wide_solver: regression`: the wide part is a regression beside the network, mixed with it on validation texts."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from transformers import TrainerCallback

from hfseq import GRUConfig, GRUForSequenceClassification
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.convex import STRENGTHS
from hfseq.training.streams.trainer import StreamTrainingArguments
from hfseq.training.trainer import SequenceTrainer
from hfseq.training.wide import fit_wide
from hfseq.training.wide_regression import Mixed, WideRegression, text_features
from hfseq.training.words.bag_trainer import BagTrainingArguments
from tests.closeness import assert_same


def gru(**options):
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "embedding_size": 4, "hidden_size": 4, "wide_ngrams": 2, "wide_buckets": 64}
    return GRUForSequenceClassification(GRUConfig(**{**sizes, **options}))


def texts(labels, seed=0):
    """Texts whose label is the one that their words are for, most of the time."""
    draw = np.random.default_rng(seed)
    ids = [[3 + (2 * label + int(draw.integers(3))) % 9 for _ in range(int(draw.integers(1, 7)))] for label in labels]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


TRAIN, VALIDATION = texts([0, 1, 2] * 20), texts([0, 1, 2] * 8, seed=1)


def arguments(folder, **options):
    usual = {
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": [],
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
    }
    return SequenceTrainingArguments(str(folder), **{**usual, "max_steps": 5, **options})


class Watch(TrainerCallback):
    """Look at the wide part while the network learns."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        weight = model.wide.weight
        self.seen.append(not weight.requires_grad and not weight.any())


def logits(model, dataset):
    model.eval()
    return torch.cat([model(torch.tensor([ids])).logits for ids in dataset["input_ids"]]).detach()


def test_features_count_as_they_do_in_the_model():
    model = gru(num_labels=3)
    fit_wide(model, TRAIN)
    with torch.no_grad():
        model.wide.weight.normal_()
    found = text_features(model.wide, VALIDATION) @ model.wide.weight.detach().numpy()
    expected = torch.cat([model.wide(torch.tensor([ids]), None) for ids in VALIDATION["input_ids"]])
    assert_same(torch.from_numpy(found).float(), expected.detach(), 1e-5)


def test_the_model_is_the_sum_of_the_network_and_of_the_solver_s_regression(tmp_path):
    model, watch, chosen = gru(num_labels=3), Watch(), []
    args = arguments(tmp_path, wide_solver="regression")
    trainer = SequenceTrainer(model, args, train_dataset=TRAIN, eval_dataset=VALIDATION, callbacks=[watch])
    network = SequenceTrainer(
        gru(num_labels=3, wide_ngrams=0), arguments(tmp_path), train_dataset=TRAIN, eval_dataset=VALIDATION
    )
    whole = WideRegression.mix

    def kept(self, *args):
        chosen.append(whole(self, *args))
        return chosen[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WideRegression, "mix", kept)
        trainer.train()
    network.model.load_state_dict(gru(num_labels=3).state_dict(), strict=False)
    network.train()
    assert watch.seen == [True] * 5 and model.wide.weight.requires_grad
    mixed: Mixed = chosen[0]
    assert mixed.strength in STRENGTHS and mixed.loss < mixed.network_loss
    regression = LogisticRegression(C=mixed.strength, max_iter=500).fit(
        text_features(model.wide, TRAIN), TRAIN["labels"][:]
    )
    beside = torch.from_numpy(regression.decision_function(text_features(model.wide, VALIDATION))).float()
    expected = mixed.of_regression * beside + mixed.of_network * logits(network.model, VALIDATION)
    assert_same(logits(model, VALIDATION), expected, 1e-4)
    loss = torch.nn.functional.cross_entropy(logits(model, VALIDATION), torch.tensor(VALIDATION["labels"][:]))
    assert abs(float(loss) - mixed.loss) < 1e-5


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({"num_labels": 2}, lambda label: label % 2),
        (
            {"num_labels": 3, "problem_type": "multi_label_classification"},
            lambda label: [float(label == i) for i in range(3)],
        ),
        ({"num_labels": 1, "problem_type": "regression"}, lambda label: label / 2),
    ],
)
def test_each_kind_of_labels_is_not_worse_on_validation(options, labels, tmp_path):
    train, validation = (
        Dataset.from_dict({"input_ids": rows["input_ids"], "labels": [labels(label) for label in rows["labels"]]})
        for rows in (TRAIN, VALIDATION)
    )
    alone, mixed = gru(**options), gru(**options)
    losses = []
    for model, solver in ((alone, "steps"), (mixed, "regression")):
        if solver == "steps":
            model.wide.weight.requires_grad_(False)
        args = arguments(tmp_path, wide_solver=solver)
        trainer = SequenceTrainer(model, args, train_dataset=train, eval_dataset=validation)
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[1] < losses[0] and mixed.wide.weight.any()


def test_what_has_no_wide_part_or_no_validation_is_refused(tmp_path):
    args = arguments(tmp_path, wide_solver="regression")
    with pytest.raises(ValueError, match="needs a classifier with wide_ngrams of 1 or more"):
        SequenceTrainer(gru(num_labels=3, wide_ngrams=0), args, train_dataset=TRAIN, eval_dataset=VALIDATION).train()
    with pytest.raises(ValueError, match="of pairs='siamese' what two texts share tells"):
        SequenceTrainer(
            gru(num_labels=3, pairs="siamese", eos_token_id=2), args, train_dataset=TRAIN, eval_dataset=VALIDATION
        ).train()
    with pytest.raises(ValueError, match="chooses on validation texts: give eval_dataset with a column labels"):
        SequenceTrainer(gru(num_labels=3), args, train_dataset=TRAIN).train()
    with pytest.raises(ValueError, match="wide_solver='convex' must be 'steps' or 'regression'"):
        arguments(tmp_path, wide_solver="convex")
    for other in (BagTrainingArguments, StreamTrainingArguments):
        with pytest.raises(ValueError, match="takes no wide_solver='regression'"):
            other(str(tmp_path), use_cpu=True, wide_solver="regression")


def test_a_resumed_run_ends_as_one_that_was_never_stopped(tmp_path):
    def trainer(folder, steps):
        options = {"max_steps": steps, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
        args = arguments(tmp_path / folder, wide_solver="regression", **options)
        return SequenceTrainer(gru(num_labels=3), args, train_dataset=TRAIN, eval_dataset=VALIDATION)

    whole = trainer("whole", 4)
    whole.train()
    trainer("two", 2).train()
    resumed = trainer("two", 4)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.mixed == whole.mixed and whole.training_seconds > 0
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weight), name


def test_labels_that_only_validation_shows_do_not_choose(tmp_path):
    other = Dataset.from_dict({"input_ids": [[3, 4]] * 9, "labels": [3] * 9})
    rows = {name: VALIDATION[name][:] + other[name][:] for name in ("input_ids", "labels")}
    found = []
    for validation in (VALIDATION, Dataset.from_dict(rows)):
        args = arguments(tmp_path, wide_solver="regression")
        trainer = SequenceTrainer(gru(num_labels=3), args, train_dataset=TRAIN, eval_dataset=validation)
        trainer.train()
        found.append(trainer.mixed)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_balanced_classes_count_the_same_in_what_is_chosen():
    many = texts([0] * 50 + [1] * 5 + [2] * 5)
    losses = []
    for weights in (None, "balanced"):
        model = gru(num_labels=3)
        fit_wide(model, many)
        mixed = WideRegression(model, many, weights).mix(np.zeros((len(many), 3)), many)
        losses.append(mixed.network_loss)
        scores = torch.from_numpy(text_features(model.wide, many) @ model.wide.weight.detach().double().numpy())
        right = (scores + model.classifier.bias.detach()).argmax(1).numpy() == np.array(many["labels"][:])
        assert right.mean() > 0.8
    assert losses == pytest.approx([np.log(3)] * 2)
