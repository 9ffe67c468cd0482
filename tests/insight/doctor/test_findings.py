"""Each fault, planted in the evidence of a healthy run, is named; the healthy run itself is not."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from hfseq import GRUConfig, LSTMConfig, RNNConfig
from hfseq.insight.doctor.evidence import Answers, Evidence, Rows, Units
from hfseq.insight.doctor.findings import CHECKS
from hfseq.insight.doctor.report import examine

NAMES = ["news", "sport", "weather"]
SLOTS = ["O", "B-city", "I-city"]


def rows(count=400, seed=0, start=0):
    """Texts of 4 to 9 tokens; token 2 + label stands in each text of that label."""
    random = np.random.default_rng(seed)
    classes = np.arange(count) % len(NAMES)
    ids = [
        np.array([start + index + 100, 50, 51, 2 + label, *random.integers(10, 20, random.integers(0, 6))])
        for index, label in enumerate(classes)
    ]
    return Rows(
        texts=[f"text {start + index}" for index in range(count)],
        lengths=np.array([len(each) for each in ids]),
        ids=ids,
        classes=classes,
        cut=np.zeros(count, int),
        unknown=0.02,
    )


def tagged(count=200, start=0, tell=lambda label: [50, 2 + label]):
    """A word that has a tag by what `tell` puts around it, between words without."""
    ids, tags = [], []
    for index in range(count):
        label = index % len(SLOTS)
        around = tell(label)
        ids.append(np.array([60 + (index % 7), *around, 61, 62]))
        tags.append(np.array([0, *[label if token == 50 else 0 for token in around], 0, -100]))
    lengths = np.array([len(each) for each in ids])
    return Rows([start + index for index in range(count)], lengths, ids, tags=tags, unknown=0.0)


def answers(accuracy, count=400, certainty=0.8, classes=3):
    expected = np.arange(count) % classes
    wrong = np.arange(count) >= round(accuracy * count)
    return Answers(expected, np.where(wrong, (expected + 1) % classes, expected), np.full(count, certainty))


def curve(losses, every=10, held_out=None, **others):
    history = []
    for index, loss in enumerate(losses):
        step = every * (index + 1)
        share = 1 - index / len(losses)
        history.append({"step": step, "loss": loss, "grad_norm": 0.8, "learning_rate": 1e-3 * share, **others})
        if held_out is not None:
            history.append({"step": step, "eval_loss": held_out[index]})
    return history


FALLING = [1.1, 0.6, 0.3, 0.15, 0.1, 0.09]


def healthy(**changes):
    """What a classifier leaves that has learnt its texts; `changes` replace parts of it."""
    evidence = Evidence(
        kind="classes",
        config=LSTMConfig(hidden_size=64, bidirectional=True, hidden_dropout=0.3, classifier_dropout=0.3),
        training={
            "learning_rate": 1e-3,
            "num_train_epochs": 3,
            "max_grad_norm": 1.0,
            "per_device_train_batch_size": 8,
            "load_best_model_at_end": True,
        },
        settings={"tokenizer": {"vocab_size": 10_000}, "embeddings": {"from_pretrained": None}},
        history=curve(FALLING, held_out=[1.0, 0.5, 0.3, 0.2, 0.19, 0.19]),
        train=rows(),
        validation=rows(300, 1, 10_000),
        test=rows(300, 2, 20_000),
        train_answers=answers(0.99),
        validation_answers=answers(0.96, 300),
        units=[Units("layer 1", 0.0, 0.05, 0.02)],
        gradients=SimpleNamespace(kind="flows", verdict="flows: after 8 steps 40 percent is left"),
        tensors={"broken": [], "frozen_embeddings": [], "without_gradient": []},
        padding_labels=0.0,
        names=NAMES,
    )
    return dataclasses.replace(evidence, **changes)


def tagger(**changes):
    """The same of a tagger."""
    usual = {
        "kind": "tags",
        "train": tagged(),
        "validation": tagged(99, 10_000),
        "test": None,
        "names": SLOTS,
        "slots": SLOTS,
    }
    return healthy(**{**usual, **changes})


def language(**changes):
    """The same of a language model of 30 tokens, each told by the one before it."""
    ids = [(np.arange(60) + index) % 30 for index in range(20)]
    texts = Rows([bytes([index]) * 5 for index in range(20)], np.full(20, 60), ids)
    other = dataclasses.replace(texts, texts=[bytes([100 + index]) * 5 for index in range(20)])
    usual = {
        "kind": "language",
        "train": texts,
        "validation": other,
        "test": None,
        "names": [],
        "train_answers": None,
        "validation_answers": None,
        "config": GRUConfig(vocab_size=30),
        "history": curve([2.0, 1.0, 0.6, 0.5, 0.45], held_out=[1.5, 0.9, 0.6, 0.55, 0.55]),
    }
    return healthy(**{**usual, **changes})


def with_texts(part, texts, **changes):
    return dataclasses.replace(part, texts=texts, **changes)


def training(**changes):
    return {**healthy().training, **changes}


def weak(**changes):
    return {"train_answers": answers(0.7), "validation_answers": answers(0.68, 300), **changes}


R, V = rows(), rows(300, 1, 10_000)
SHORT = RNNConfig(hidden_size=8, bidirectional=True)
FAULTS = {  # the finding -> the evidence in which it is planted
    "empty-texts": healthy(train=with_texts(R, ["", *R.texts[1:]])),
    "repeated-texts": healthy(
        train=with_texts(R, ["again and again"] * 99 + R.texts[99:], classes=np.zeros(400, int))
    ),
    "test-rows-in-train": healthy(test=with_texts(V, [*R.texts[:20], *V.texts[20:]])),
    "same-text-other-label": healthy(
        train=with_texts(R, [f"text {index // 2}" for index in range(40)] + R.texts[40:])
    ),
    "sure-of-another-label": healthy(train_answers=answers(0.9, certainty=0.99)),
    "unknown-words": healthy(validation=dataclasses.replace(V, unknown=0.25)),
    "cut-texts": healthy(train=dataclasses.replace(R, cut=np.full(400, 7))),
    "imbalanced-classes": healthy(
        train=dataclasses.replace(R, classes=np.where(np.arange(400) < 390, 0, 1)),
        validation_answers=Answers(np.repeat([0, 1], [290, 10]), np.zeros(300, int), np.full(300, 0.9)),
    ),
    "never-answered": healthy(
        validation_answers=Answers(np.repeat([0, 1, 2], 100), np.repeat([0, 1, 1], 100), np.full(300, 0.9))
    ),
    "small-validation": healthy(validation=rows(40, 1, 10_000), validation_answers=answers(0.8, 40)),
    "unused-labels": healthy(train=dataclasses.replace(R, classes=1 + np.arange(400) % 2)),
    "padding-waste": healthy(
        train=dataclasses.replace(R, lengths=np.where(np.arange(400) % 8 == 0, 200, 5)), training=training()
    ),
    "broken-numbers": healthy(history=[*curve(FALLING), {"step": 70, "loss": float("nan")}]),
    "diverged": healthy(history=curve([1.1, 0.5, 0.4, 2.5, 6.0, 7.0])),
    "no-better-than-most-frequent": healthy(
        validation_answers=Answers(np.repeat([0, 1, 2], [150, 75, 75]), np.zeros(300, int), np.full(300, 0.5))
    ),
    "no-better-than-counts": language(history=curve([3.4, 3.4, 3.4, 3.4], held_out=[3.41, 3.41, 3.4, 3.4])),
    "learning-rate-too-low": healthy(
        training=training(learning_rate=1e-5), history=curve([1.1, 1.09, 1.08, 1.07, 1.07]), **weak()
    ),
    "still-falling": healthy(history=curve(FALLING, held_out=[1.1, 1.0, 0.9, 0.8, 0.6, 0.4]), **weak()),
    "network-adds-little": healthy(
        config=LSTMConfig(wide_ngrams=2, bidirectional=True), history=curve(FALLING, eval_accuracy=0.3, eval_loss=2.0)
    ),
    "overfits": healthy(train_answers=answers(1.0), validation_answers=answers(0.7, 300)),
    "validation-loss-climbs": language(history=curve([2.0, 1.0, 0.5, 0.2, 0.1], held_out=[1.6, 1.2, 1.3, 1.6, 2.0])),
    "best-not-kept": healthy(
        training=training(load_best_model_at_end=False),
        history=curve(FALLING, held_out=[1.0, 0.4, 0.5, 0.6, 0.7, 0.8]),
    ),
    "clipped-at-every-step": healthy(history=curve(FALLING, grad_norm=40.0)),
    "rate-ended-early": healthy(
        history=[*curve(FALLING), *({"step": 60 + 10 * i, "loss": 0.09, "learning_rate": 0.0} for i in range(1, 9))]
    ),
    "warmup-too-long": healthy(
        history=[{"step": 10 * i, "loss": 1 / i, "learning_rate": 1e-4 * i, "eval_loss": 1 / i} for i in range(1, 9)]
    ),
    "never-evaluated": healthy(history=curve(FALLING)),
    "one-label-a-text": tagger(
        train=dataclasses.replace(
            tagged(), tags=[np.full(len(each), index % 3) for index, each in enumerate(tagged().ids)]
        )
    ),
    "needs-later-words": tagger(
        config=LSTMConfig(),
        **{
            part: tagged(n, s, lambda label: [50, 2 + label])
            for part, n, s in (("train", 200, 0), ("validation", 99, 10_000))
        },
    ),
    "padding-in-loss": tagger(padding_labels=0.4),
    "one-tag-everywhere": tagger(
        train=dataclasses.replace(
            tagged(),
            tags=[np.where(np.arange(len(each)) == 1, index % 40 == 0, 0) for index, each in enumerate(tagged().ids)],
        )
    ),
    "too-small": healthy(config=SHORT, **weak()),
    "one-layer": healthy(**weak()),
    "reads-one-way": healthy(config=LSTMConfig(num_hidden_layers=2), **weak()),
    "too-much-dropout": healthy(config=LSTMConfig(hidden_dropout=0.8, bidirectional=True), **weak()),
    "gradient-vanishes": healthy(
        gradients=SimpleNamespace(kind="vanishes", verdict="vanishes: after 5 steps a tenth of a percent is left"),
        config=RNNConfig(),
        **weak(),
    ),
    "gradient-explodes": healthy(
        gradients=SimpleNamespace(kind="explodes", verdict="explodes: after 5 steps it is 2,000 times as large"),
        **weak(),
    ),
    "dead-units": healthy(
        units=[Units("layer 1", 0.6, 0.0)], config=RNNConfig(nonlinearity="relu", bidirectional=True)
    ),
    "saturated-units": healthy(units=[Units("layer 1", 0.0, 0.8)]),
    "stuck-gates": healthy(units=[Units("layer 1", 0.0, 0.1, 0.9)]),
    "embeddings-never-learn": healthy(tensors={**healthy().tensors, "frozen_embeddings": ["embeddings"]}),
    "weights-without-gradient": healthy(tensors={**healthy().tensors, "without_gradient": ["model.layers.1.weight"]}),
}
NO_SETTING = {  # findings whose cure is in the data, or in the code of the user
    "empty-texts",
    "repeated-texts",
    "test-rows-in-train",
    "same-text-other-label",
    "sure-of-another-label",
    "small-validation",
    "unused-labels",
    "one-label-a-text",
    "padding-in-loss",
    "weights-without-gradient",
    "no-better-than-most-frequent",
}


@pytest.mark.parametrize("make", [healthy, tagger, language])
def test_a_healthy_run_gets_a_clean_bill(make):
    report = examine(make())
    assert report.findings == []
    assert report.num_checks >= 20
    assert "Nothing found: " in str(report)


def test_a_fault_is_planted_for_every_check():
    assert set(FAULTS) == set(CHECKS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name):
    report = examine(FAULTS[name])
    assert name in report.names
    found = report.findings[report.names.index(name)]
    assert any(letter.isdigit() for letter in found.text) or name == "embeddings-never-learn"
    assert found.changes or name in NO_SETTING
    assert found.changes or found.advice
    assert found.text.endswith(".")


def test_one_fault_gives_few_findings():
    """A report that names everything names nothing."""
    for name, evidence in FAULTS.items():
        assert len(examine(evidence).findings) <= 4, name


@pytest.mark.parametrize("kind", ["vanishes", "explodes"])
def test_an_uneven_gradient_alone_is_no_illness(kind):
    """A model of long texts whose gradient vanishes over them, and that has learnt all the same."""
    gradients = SimpleNamespace(kind=kind, verdict=f"{kind}: after 400 steps")
    assert examine(healthy(gradients=gradients)).findings == []


def test_a_language_model_of_long_texts_is_judged_by_what_it_has_learnt():
    gradients = SimpleNamespace(kind="vanishes", verdict="vanishes: after 31 steps")
    flat = curve([3.4, 3.3, 3.3, 3.25], held_out=[3.41, 3.3, 3.3, 3.25])
    assert examine(language(gradients=gradients)).findings == []
    assert "gradient-vanishes" in examine(language(gradients=gradients, history=flat)).names


def test_a_missing_part_leaves_its_checks_out_and_says_why():
    report = examine(healthy(train=None, missing={"train": "the file is gone"}))
    assert report.left_out["cut-texts"] == "the file is gone"
    assert "diverged" not in report.left_out
    assert "since the file is gone: " in str(report)


def test_the_gravest_stand_first_and_the_command_can_be_pasted():
    evidence = healthy(
        history=curve([1.1, 0.5, 0.4, 2.5, 6.0, 7.0], grad_norm=90.0), units=[Units("layer 1", 0.6, 0.0)]
    )
    report = examine(evidence, "hfseq train text-classification --config runs/x/settings.yaml --out runs/x-again")
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=["error", "warning", "hint"].index)
    assert "--out runs/x-again --training.learning_rate=0.0001 --training.warmup_steps=0.1\n" in str(report)


def test_a_model_that_finds_a_rare_class_has_learnt_something():
    """Weights of classes, which the doctor itself suggests, cost accuracy: 95 of 100 rows are of one class."""
    expected = np.repeat([0, 1], [380, 20])
    found = expected.copy()
    found[:60], found[380:384] = 1, 0  # 84 % right, and 16 of the 20 rare ones
    useful = Answers(expected, found, np.full(400, 0.8))
    assert "no-better-than-most-frequent" not in examine(healthy(validation_answers=useful)).names
    blind = Answers(expected, np.roll(found, 190), np.full(400, 0.8))
    assert "no-better-than-most-frequent" in examine(healthy(validation_answers=blind)).names
    few = Answers(blind.expected[:8], blind.predicted[:8], blind.certainty[:8])
    assert "no-better-than-most-frequent" not in examine(healthy(validation_answers=few)).names


def test_a_handful_of_validation_rows_is_no_proof():
    few = {"validation": dataclasses.replace(rows(3, 1, 10_000), unknown=0.25), "validation_answers": answers(0.34, 3)}
    found = examine(healthy(train_answers=answers(0.57, 7), **few)).names
    assert not {"overfits", "unknown-words"} & set(found)
    assert "small-validation" in found


def test_a_constant_rate_after_a_warmup_does_not_climb():
    history = curve(FALLING, held_out=[1.0, 0.5, 0.3, 0.2, 0.19, 0.19])
    logged = [row for row in history if "loss" in row]
    for row in logged:
        row["learning_rate"] = 5e-4 if row is logged[0] else 1e-3
    assert "warmup-too-long" not in examine(healthy(history=history)).names


def test_one_lucky_batch_is_no_divergence():
    """A loss that is logged at each step jumps around its mean."""
    losses = 0.69 + 0.3 * np.sin(np.arange(100) * 2.4)
    assert "diverged" not in examine(healthy(history=curve(losses.tolist()))).names


def test_broken_numbers_of_the_log_need_no_data():
    history = [*curve(FALLING), {"step": 70, "loss": float("nan")}]
    assert "broken-numbers" in examine(healthy(history=history, tensors=None, train=None)).names


def test_a_label_of_no_class_does_not_stop_the_doctor():
    train = rows()
    train.classes[:3] = -100
    assert examine(healthy(train=train)).num_checks > 20
