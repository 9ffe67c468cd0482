"""Training bags: what is learnt, Trainer's habits, resuming, and the call that does it all."""

import dataclasses
import itertools
import signal

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer, TrainerCallback
from transformers import TrainingArguments as StockArguments

import hfseq
from hfseq.training.words import bag_corpus, bag_engines, bag_trainer
from hfseq.training.words.bag_trainer import BagTrainingArguments
from hfseq.training.words.train_bag import train_bag
from tests.contract.cases import tokenizer
from tests.rounds import for_each
from tests.training.words import bags
from tests.training.words.bags import accuracy, learnable, make_trainer, new_model


def losses_of(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


ENGINES = {"numba": {}, "threads": {"num_threads": 3}, "torch": {"engine": "torch"}}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_learns(tmp_path, engine):
    trainer = make_trainer(tmp_path, **ENGINES[engine])
    assert accuracy(trainer) < 0.5
    trainer.train()
    losses = losses_of(trainer)
    assert losses[-1] < losses[0] / 5 and accuracy(trainer) > 0.95
    assert all(parameter.is_contiguous() for parameter in trainer.bag.parameters())
    assert not any("grad_norm" in entry for entry in trainer.state.log_history)  # nothing has a gradient


def test_the_same_seed_gives_the_same_bits_with_one_thread(tmp_path):
    first, second, other = (make_trainer(tmp_path, num_train_epochs=1, seed=seed) for seed in (1, 1, 2))
    for trainer in (first, second, other):
        trainer.train()
    pairs = zip(*(trainer.bag.parameters() for trainer in (first, second, other)), strict=True)
    assert all(torch.equal(a, b) and not torch.equal(a, c) for a, b, c in pairs)


def test_resumed_is_uninterrupted(tmp_path):
    """From the middle of an epoch, with a rate that falls: 2,400 texts are slices of 2,000 and 400."""
    options = {"save_strategy": "steps", "save_steps": 1}
    whole = make_trainer(tmp_path / "whole", **options)
    whole.train()
    assert whole.state.global_step == 6
    for step in (1, 3, 4):
        resumed = make_trainer(tmp_path / "whole", model=new_model(seed=9), **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert all(itertools.starmap(torch.equal, zip(resumed.bag.parameters(), whole.bag.parameters(), strict=True)))
        assert losses_of(resumed) == losses_of(whole)
    kept = AutoModelForSequenceClassification.from_pretrained(tmp_path / "whole" / "checkpoint-6")
    assert all(itertools.starmap(torch.equal, zip(kept.parameters(), whole.bag.parameters(), strict=True)))


class Spoil(TrainerCallback):
    """Spoils the model after some epochs, where the engine holds it, and notes what the evaluations see."""

    def __init__(self, after):
        self.after, self.accuracies = after, []

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        if state.epoch >= self.after:
            with torch.no_grad():
                model.classifier.weight.neg_()

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        self.accuracies.append(metrics["eval_loss"])


def test_the_best_model_comes_back_and_patience_ends(tmp_path):
    spoil = Spoil(after=3)
    options = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    options |= {"early_stopping_patience": 1, "num_train_epochs": 9, "metric_for_best_model": "loss"}
    trainer = make_trainer(tmp_path, eval_dataset=learnable(300, seed=1), callbacks=[spoil], **options)
    trainer.train()
    assert len(spoil.accuracies) == 3 and spoil.accuracies[2] > 1 > spoil.accuracies[1]
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4") and accuracy(trainer) > 0.95
    assert trainer.evaluate()["eval_loss"] == pytest.approx(spoil.accuracies[1])


def test_evaluating_in_between_changes_nothing(tmp_path):
    rows = learnable(100, seed=1)
    plain, watched = (
        make_trainer(tmp_path),
        make_trainer(tmp_path, eval_dataset=rows, eval_strategy="steps", eval_steps=1),
    )
    for trainer in (plain, watched):
        trainer.train()
    assert all(itertools.starmap(torch.equal, zip(plain.bag.parameters(), watched.bag.parameters(), strict=True)))
    last = [entry["eval_loss"] for entry in watched.state.log_history if "eval_loss" in entry][-1]
    assert plain.evaluate(rows)["eval_loss"] == pytest.approx(last)


def test_ctrl_c_stops_soon_and_leaves_a_usable_model(tmp_path):
    class Interrupt(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 3:
                signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    trainer = make_trainer(tmp_path, callbacks=[Interrupt()], num_train_epochs=50, num_threads=2)
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.state.global_step == 3
    assert all(parameter.is_contiguous() and parameter.isfinite().all() for parameter in trainer.bag.parameters())
    assert accuracy(trainer) > 0.5


def test_a_failing_thread_stops_the_others_and_is_told(tmp_path, monkeypatch):
    model, rows = new_model(), learnable(50)
    engine = bags.make_engine(model, rows, num_threads=2)

    def fail(*args, **kwargs):
        raise MemoryError("no room")

    monkeypatch.setattr(engine.loops[1], "run", fail)
    with pytest.raises(MemoryError, match="no room"):
        engine.run(np.arange(50), (0.1, 0.1))


def test_a_training_that_diverges_says_so(tmp_path):
    with pytest.raises(ValueError, match="The training diverged: .*Lower learning_rate"):
        make_trainer(tmp_path, model=new_model("regression", num_labels=1), rows=numbers(), learning_rate=1e6).train()


def numbers():
    rows = learnable(200)
    return rows.remove_columns("labels").add_column("labels", [float(label) for label in rows["labels"]])


@for_each("loss", ["one-vs-all", "hierarchical-softmax", "regression"])
def test_every_loss_is_learnt(tmp_path, loss):
    rows, model = learnable(), new_model(loss)
    if loss != "hierarchical-softmax":
        hot = np.eye(bags.LABELS, dtype=np.float32)[rows["labels"]]
        rows = rows.remove_columns("labels").add_column("labels", hot.tolist())
    trainer = make_trainer(tmp_path, model=model, rows=rows)
    trainer.train()
    assert accuracy(trainer, learnable(seed=1)) > 0.9 if loss == "hierarchical-softmax" else True
    losses = losses_of(trainer)
    assert losses[-1] < losses[0] / 2
    if loss == "hierarchical-softmax":
        assert model.label_counts.tolist() == np.bincount(rows["labels"]).tolist()


def test_counts_are_taken_once_and_kept(tmp_path):
    options = {"hierarchical_softmax": True, "weighting": "tfidf"}
    trainer = make_trainer(tmp_path, model=new_model(**options), num_train_epochs=1)
    trainer.train()
    bag = trainer.bag
    weights, counts = bag.model.row_weights.clone(), bag.label_counts.clone()
    rows = learnable()
    texts = [sum(word in text for text in rows["input_ids"]) for word in (1, 7)]
    assert weights[[1, 7]].tolist() == pytest.approx(np.log((1 + 2400) / (1 + np.array(texts))), rel=1e-5)
    assert weights[0] == 0  # never met
    make_trainer(tmp_path, model=bag, rows=learnable(100, seed=5), num_train_epochs=1).train()
    assert torch.equal(bag.model.row_weights, weights) and torch.equal(bag.label_counts, counts)


def test_a_trained_bag_learns_of_words_that_are_new_to_it(tmp_path):
    quick = {"use_cpu": True, "disable_tqdm": True, "num_threads": 1, "num_train_epochs": 20}
    model, _ = train_bag([("good film", "yes"), ("bad film", "no")] * 20, longest_ngram=4, **quick)
    weights = model.model.row_weights.clone()
    rows = Dataset.from_dict({"text": ["splendid", "dreadful"] * 50, "labels": [1, 0] * 50})
    args = BagTrainingArguments(output_dir=str(tmp_path), save_strategy="no", **quick)
    hfseq.BagTrainer(model, args, train_dataset=rows).train()
    assert [model.predict(text)[0][0] for text in ("splendid", "dreadful")] == ["yes", "no"]
    assert torch.equal(model.model.row_weights[weights > 0], weights[weights > 0])


def test_a_tree_of_labels_that_were_met_once_stays(tmp_path):
    quick = {"use_cpu": True, "disable_tqdm": True, "num_threads": 1, "num_train_epochs": 40}
    model, _ = train_bag([(letter, letter) for letter in "abcd"], hierarchical_softmax=True, ngram_buckets=50, **quick)
    before = model.predict("a", k=-1)
    assert model.label_counts.tolist() == [1, 1, 1, 1]
    rows = Dataset.from_dict({"text": list("abcd") + ["b"] * 30, "labels": [0, 1, 2, 3] + [1] * 30})
    quick |= {"num_train_epochs": 1, "learning_rate": 1e-9}
    args = BagTrainingArguments(output_dir=str(tmp_path), save_strategy="no", **quick)
    hfseq.BagTrainer(model, args, train_dataset=rows).train()
    assert model.label_counts.tolist() == [1, 1, 1, 1]
    assert [label for label, _ in model.predict("a", k=-1)] == [label for label, _ in before]


def test_few_texts_are_read_more_often(tmp_path):
    for rows, epochs in ((40, 50), (4000, 25)):
        trainer = make_trainer(tmp_path, rows=learnable(rows), num_train_epochs=0)
        trainer.train()
        assert trainer.state.num_train_epochs == trainer.state.epoch == epochs
    assert bag_trainer.usual_epochs(10**9) == 5


def test_stock_trainer_trains_a_bag_too(tmp_path):
    options = {"per_device_train_batch_size": 32, "learning_rate": 0.05, "num_train_epochs": 4}
    options |= {"save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "logging_steps": 20}
    trainer = Trainer(
        new_model(),
        StockArguments(str(tmp_path), **options),
        train_dataset=learnable(800),
        data_collator=DataCollatorWithPadding(tokenizer()),
    )
    trainer.train()
    losses = losses_of(trainer)
    assert losses[-1] < losses[0] / 2


@for_each(
    ("options", "message"),
    [
        ({"optim": "sgd"}, "takes no optim="),
        ({"weight_decay": 0.1}, "takes no weight_decay=0.1: a bag moves after each text"),
        ({"max_grad_norm": 1.0}, "takes no max_grad_norm=1.0"),
        ({"adam_beta1": 0.5}, "takes no adam_beta1=0.5"),
        ({"label_smoothing_factor": 0.1}, "takes no label_smoothing_factor=0.1"),
        ({"gradient_accumulation_steps": 2}, "takes no gradient_accumulation_steps=2"),
        ({"bf16_full_eval": True}, "takes no bf16_full_eval=True: the engine holds the weights"),
        ({"layer_rate_decay": 0.5}, "takes no layer_rate_decay=0.5: a bag has no layers"),
        ({"train_sampling_strategy": "group_by_length"}, "texts need no padding"),
        ({"per_device_train_batch_size": 4}, "per_device_train_batch_size=4: a bag moves after each text"),
        ({"total_train_batch_size": 4}, "total_train_batch_size=4.*Leave both out"),
        ({"num_threads": 0}, "num_threads=0 must be 1 or more"),
        ({"texts_per_step": 0}, "texts_per_step=0 must be 1 or more"),
        ({"num_train_epochs": -1}, "num_train_epochs=-1 must be 0 or more"),
    ],
)
def test_arguments_that_would_do_nothing_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        BagTrainingArguments(str(tmp_path), use_cpu=True, **options)


@for_each(
    ("loss", "labels", "message"),
    [
        ("softmax", [0, 4, 1], "4.*num_labels=4"),
        ("softmax", [0, -1, 1], "-1.*num_labels=4"),
        ("one-vs-all", [[0.0, 1.0, 0.0, 0.5]] * 3, "takes labels of 0 and 1, got 0.5"),
        ("one-vs-all", [[0.0, 1.0]] * 3, "needs 4 numbers a text"),
    ],
)
def test_labels_out_of_range_are_named(tmp_path, loss, labels, message):
    rows = Dataset.from_dict({"input_ids": [[1], [2], [3]], "labels": labels})
    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path, model=new_model(loss), rows=rows).train()


def test_what_does_not_fit_together_is_named(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="BagTrainer trains a BagForSequenceClassification, got Linear"):
        make_trainer(tmp_path, model=torch.nn.Linear(2, 2))
    rows = Dataset.from_dict({"input_ids": [[1], [30]], "labels": [0, 1]})
    with pytest.raises(ValueError, match="30"):
        make_trainer(tmp_path, rows=rows).train()
    for module in (bag_corpus, bag_engines, bag_trainer):
        monkeypatch.setattr(module, "bag_kernels", lambda: None)
    with pytest.raises(ValueError, match='engine="numba" needs numba'):
        make_trainer(tmp_path, engine="numba").train()
    without = make_trainer(tmp_path, num_train_epochs=1)
    without.train()  # "auto" takes torch
    assert without.state.epoch == 1


# One call

QUIET = {"use_cpu": True, "disable_tqdm": True, "num_threads": 1, "num_train_epochs": 6, "hidden_size": bags.WIDTH}
QUIET |= {"ngram_buckets": 100}


def pairs(several=False):
    for text, label in zip(learnable(400)["input_ids"], learnable(400)["labels"], strict=True):
        words = " ".join(f"word{number}" for number in text)
        yield words, [f"l{label}", "all"] if several else f"l{label}"


def as_lines(prefix="__label__", several=False):
    for text, labels in pairs(several):
        yield " ".join([*(f"{prefix}{label}" for label in ([labels] if isinstance(labels, str) else labels)), text])


def test_one_call_trains_on_whatever_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.txt").write_text("\n".join(as_lines()) + "\n", encoding="utf-8")
    (tmp_path / "other.train").write_text("\n".join(as_lines("#")) + "\n", encoding="utf-8")
    table = Dataset.from_dict({"text": [text for text, _ in pairs()], "label": [label for _, label in pairs()]})
    table.to_csv("train.csv")
    table.to_parquet("train.parquet")
    sources = ["train.txt", tmp_path / "train.csv", "train.parquet", table, pairs()]
    models = [train_bag(source, **QUIET)[0] for source in sources]
    models.append(train_bag("other.train", label_prefix="#", **QUIET)[0])
    first = models[0]
    assert first.config.units == "bytes" and first.config.id2label == {0: "l0", 1: "l1", 2: "l2", 3: "l3"}
    for other in models[1:]:
        assert all(itertools.starmap(torch.equal, zip(first.parameters(), other.parameters(), strict=True)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other.train",
        "train.csv",
        "train.parquet",
        "train.txt",
    ]


def test_one_call_gives_a_model_and_a_tokenizer_that_work_together(tmp_path):
    model, own = hfseq.train_bag(pairs(), lowercase=True, **QUIET)
    texts = [text.upper() for text, _ in itertools.islice(pairs(), 50)]
    batch = own(texts, padding=True, return_tensors="pt")
    found = [model.config.id2label[number] for number in model(**batch).logits.argmax(-1).tolist()]
    assert np.mean([name == label for name, (_, label) in zip(found, pairs(), strict=False)]) > 0.95
    words = hfseq.train_tokenizer([text for text, _ in pairs()], min_frequency=1)
    model, kept = hfseq.train_bag(pairs(), tokenizer=words, **QUIET)
    assert kept is words and model.config.units == "tokens" and model.config.vocab_size == len(words)


def test_several_labels_are_trained_one_vs_all_and_numbers_by_regression(tmp_path):
    (tmp_path / "train.txt").write_text("\n".join(as_lines(several=True)), encoding="utf-8")
    model, own = train_bag(tmp_path / "train.txt", **QUIET)
    assert model.config.problem_type == "multi_label_classification" and model.config.id2label[0] == "all"
    text = next(as_lines(several=True)).split(" ", 2)[2]
    scores = model(**own([text], return_tensors="pt")).logits[0].sigmoid()
    assert scores[0] > 0.9 and int((scores > 0.5).sum()) == 2
    rated, _ = train_bag([("good", 1.0), ("bad", -1.0)] * 20, **QUIET)
    assert rated.config.problem_type == "regression"


def test_validation_is_told_after_each_epoch_and_checkpoints_are_kept_where_asked(tmp_path):
    options = QUIET | {"output_dir": str(tmp_path / "run"), "save_strategy": "epoch", "load_best_model_at_end": True}
    model, _ = train_bag(pairs(), validation=list(pairs())[:50], metric_for_best_model="accuracy", **options)
    assert not model.training and (tmp_path / "run" / "checkpoint-6").is_dir()
    with pytest.raises(ValueError, match="metric_for_best_model"):
        train_bag(pairs(), validation=list(pairs())[:50], metric_for_best_model="acuracy", **options)


OF_FASTTEXT = {"lr": "learning_rate", "dim": "hidden_size", "epoch": "num_train_epochs", "minCount": "min_count"}
OF_FASTTEXT |= {"wordNgrams": "word_ngrams", "bucket": "ngram_buckets", "minn": "shortest_ngram"}
OF_FASTTEXT |= {"maxn": "longest_ngram", "thread": "num_threads", "label": "label_prefix", "hiden_size": "hidden_size"}


@for_each(("name", "ours"), list(OF_FASTTEXT.items()))
def test_names_of_fasttext_are_answered_with_ours(name, ours):
    with pytest.raises(ValueError, match=f"train_bag: unknown option '{name}'; did you mean '{ours}'"):
        train_bag([("a", "b"), ("c", "d")], **{name: 1})


@for_each(
    ("options", "message"),
    [
        ({"loss": "hs"}, "give hierarchical_softmax=True"),
        ({"loss": "ova"}, "labels are lists"),
        ({"loss": "softmax"}, "one label each"),
        ({"ws": 5}, "has no window"),
        ({"neg": 5}, "no negative sampling"),
        ({"minCountLabel": 2}, "rare labels are kept"),
        ({"vocab_size": 9}, "unknown option 'vocab_size'"),
        ({"tokenizer": tokenizer(), "min_count": 2}, "min_count=2 is for bags without a tokenizer"),
    ],
)
def test_other_options_say_what_to_do(options, message):
    with pytest.raises(ValueError, match=message):
        train_bag([("a", "b"), ("c", "d")], **options)


@for_each(
    ("source", "error", "message"),
    [
        ([], ValueError, "source holds no texts"),
        (["a text"], TypeError, "source, row 0: 'a text' is no pair of a text and a label"),
        ("missing.txt", FileNotFoundError, "source='missing.txt' is no file"),
        ([("a", "b")], ValueError, "a classifier needs two classes"),
    ],
)
def test_wrong_sources_are_named(source, error, message):
    with pytest.raises(error, match=message):
        train_bag(source, **QUIET)


def test_the_fields_of_both_classes_are_options():
    own = {item.name for item in dataclasses.fields(BagTrainingArguments)}
    assert {"engine", "num_threads", "texts_per_step"} <= own
