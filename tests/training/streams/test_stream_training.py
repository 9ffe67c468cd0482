"""Truncated back-propagation through one long text, against loops written by hand; and the same run again."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers.cache_utils import DynamicCache

from hfseq import FAMILIES
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.streams.trainer import CarriedStates, StreamTrainer
from tests.closeness import ROUNDINGS, assert_same, difference
from tests.contract.promises import same_weights
from tests.rounds import for_each
from tests.training.streams.stream_trainers import (
    DROPOUT,
    VOCAB_SIZE,
    distance,
    gradient,
    make_trainer,
    nats,
    small_masked_model,
    small_model,
    small_transformer,
    text,
)

CARRIES = ["stream", "document", "none"]
MASKED = {"carry": "none", "mlm_probability": 0.3}
WAYS = [*({"carry": carry} for carry in CARRIES), {"vary_window": True}, MASKED]


@pytest.fixture
def make(tmp_path):
    """`make_trainer` in an empty folder."""
    return partial(make_trainer, tmp_path)


# The state


@pytest.mark.parametrize("family", ["lstm", "gru", "rnn"])
def test_training_is_truncated_backpropagation_as_written_by_hand(make, family):
    trainer = make(model=small_model(family), num_train_epochs=2)
    trainer.train()
    assert trainer.state.global_step == 20
    model = small_model(family)
    start, optimizer = small_model(family), torch.optim.SGD(model.parameters(), 0.5)
    streams = torch.from_numpy(text().ids[:600].reshape(6, 100).astype(np.int64))
    following = torch.from_numpy(text().ids[1:].reshape(6, 100).astype(np.int64))
    for _ in range(2):
        cache = DynamicCache(config=model.config)
        for at in range(0, 100, 10):
            logits = model(streams[:, at : at + 10], past_key_values=cache).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), following[:, at : at + 10].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for layer in cache.layers:
                layer.states = tuple(state.detach() for state in layer.states)
    assert distance(trainer.model, model) < ROUNDINGS < 0.1 < distance(model, start)
    assert_same(trainer.losses[-1], loss)


def test_one_window_over_the_whole_text_has_the_gradient_of_a_plain_pass(make):
    trainer = make(window=1000, total_train_batch_size=1)
    trainer.train()
    model = small_model()
    (found,) = trainer.gradients
    assert_same(found, gradient(model, nats(model, text().ids)))
    assert found.abs().max() > 1e-2


def test_the_second_window_sees_the_first_and_its_gradient_does_not(make):
    trainer = make(window=300, total_train_batch_size=1, learning_rate=0.0)
    trainer.train()
    model, ids = small_model(), torch.from_numpy(text().ids.astype(np.int64))[None]
    logits = model(ids[:, :-1]).logits[0]
    half = torch.nn.functional.cross_entropy(logits[300:], ids[0, 301:])
    assert_same(trainer.losses[1], half)
    assert abs(trainer.losses[1] - nats(model, ids[0, 300:]).item()) > 1e-5  # what a fresh state would give
    assert difference(trainer.gradients[1], gradient(model, half)) > 1e-3  # which goes on into the first half


def test_documents_are_read_as_if_they_were_alone(make):
    trainer = make(carry="document", window=7, learning_rate=0.0, total_train_batch_size=4)
    trainer.train()
    model, text_ = small_model(), text()
    alone = [
        [nats(model, text_.ids[start : start + length]).item(), length - 1]
        for start, length in zip(text_.starts, text_.lengths, strict=True)
        if length > 1
    ]
    means, counts = np.array(alone).T
    # Updates have different numbers of tokens: their losses are weighted by what the sampler dealt.
    sizes = [(batch["shift_labels"] != -100).sum().item() for batch in trainer.get_train_dataloader()]
    assert sum(sizes) == sum(counts)
    assert_same(np.average(trainer.losses, weights=sizes), np.average(means, weights=counts))


def test_chunks_are_read_from_an_empty_state(make):
    trainer = make(carry="none", learning_rate=0.0)
    trainer.train()
    batches, model = list(trainer.get_train_dataloader()), small_model()
    for loss, batch in zip(trainer.losses, batches, strict=True):
        rows = zip(batch["input_ids"], batch["shift_labels"], strict=True)
        rows = [(ids[labels != -100], labels[labels != -100]) for ids, labels in rows]
        logits = torch.cat([model(ids[None]).logits[0] for ids, _ in rows])
        expected = torch.nn.functional.cross_entropy(logits, torch.cat([labels for _, labels in rows]))
        assert_same(loss, expected)


@pytest.mark.parametrize("carry", ["stream", "document"])
def test_a_state_that_never_begins_anew_is_caught(make, monkeypatch, carry):
    """The planted fault: documents and epochs run into one another."""
    models = []
    for faulty in (False, True):
        if faulty:
            begin = CarriedStates.begin
            monkeypatch.setattr(
                CarriedStates, "begin", lambda self, slot, restart, f=begin: f(self, slot, torch.zeros_like(restart))
            )
        trainer = make(carry=carry, num_train_epochs=2, learning_rate=2.0)
        trainer.train()
        models.append(trainer.model)
    assert distance(*models) > 1e-5


def held_by(states):
    """The states of every share, and whether each of them holds the graph that led to it."""
    return [state.grad_fn is not None for cache in states.caches for layer in cache.layers for state in layer.states]


@pytest.mark.parametrize("carry", ["stream", "document"])
def test_no_state_holds_the_graph_of_its_window(make, carry):
    trainer = make(carry=carry, gradient_accumulation_steps=2)
    trainer.train()
    held = held_by(trainer.states)
    assert len(held) == 2 * 2 * 2 and not any(held)  # two shares, two layers, h and c


def cut_nothing(states, slot):
    pass


def cut_the_first_layer(states, slot):
    states.caches[slot].layers[0].detach()


def cut_the_outputs(states, slot):
    for layer in states.caches[slot].layers:
        layer.states = (layer.states[0].detach(), *layer.states[1:])


@pytest.mark.parametrize("fault", [cut_nothing, cut_the_first_layer, cut_the_outputs])
def test_a_state_that_is_not_cut_is_caught(make, monkeypatch, fault):
    """The planted fault: the second window's gradient goes on into the first, whose graph is gone."""
    monkeypatch.setattr(CarriedStates, "cut", fault)
    trainer = make(max_steps=1)
    trainer.train()
    assert any(held_by(trainer.states))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        make(max_steps=2, learning_rate=0.0).train()


@pytest.mark.parametrize("carry", ["stream", "document"])
def test_accumulation_steps_that_share_one_state_are_caught(make, monkeypatch, carry):
    """The planted fault: each share of the streams goes on from where another one ended."""
    options = {"carry": carry, "num_train_epochs": 2, "gradient_accumulation_steps": 2}
    right, wrong = make(**options), make(**options)
    right.train()
    begin, cut = CarriedStates.begin, CarriedStates.cut
    monkeypatch.setattr(CarriedStates, "begin", lambda states, slot, restart: begin(states, 0, restart))
    monkeypatch.setattr(CarriedStates, "cut", lambda states, slot: cut(states, 0))
    wrong.train()
    assert distance(right.model, wrong.model) > 1e-4
    assert np.abs(np.subtract(right.losses, wrong.losses)).max() > 1e-4


# The update


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_accumulated_updates_equal_whole_ones(make, options):
    runs = []
    for steps in (1, 2, 3):
        trainer = make(
            gradient_accumulation_steps=steps,
            total_train_batch_size=7,
            num_train_epochs=2,
            max_grad_norm=1.0,
            **options,
        )
        trainer.train()
        runs.append(trainer)
    assert runs[0].state.global_step == runs[1].state.global_step == runs[2].state.global_step >= 14
    for other in runs[1:]:
        assert distance(runs[0].model, other.model) < ROUNDINGS
        steps = other.args.gradient_accumulation_steps
        summed = np.reshape(other.losses, (-1, steps)).sum(1)
        assert_same(summed, runs[0].losses)
    assert distance(runs[0].model, small_masked_model() if options is MASKED else small_model()) > 0.1


def test_a_varied_window_scales_its_step_and_not_the_logged_loss(make):
    trainer = make(vary_window=True, learning_rate=0.0, window=20, total_train_batch_size=1)
    trainer.train()
    model, ids = small_model(), torch.from_numpy(text().ids.astype(np.int64))
    cache, widths, at = DynamicCache(config=model.config), [], 0
    for loss, found, batch in zip(trainer.losses, trainer.gradients, trainer.get_train_dataloader(), strict=True):
        width = batch["input_ids"].shape[1]
        logits = model(ids[None, at : at + width], past_key_values=cache).logits[0]
        summed = torch.nn.functional.cross_entropy(logits, ids[at + 1 : at + 1 + width], reduction="sum")
        assert_same(loss, summed.item() / width)
        assert_same(found, gradient(model, summed / 20))
        for layer in cache.layers:
            layer.detach()
        at += width
        widths.append(width)
    assert at == 600 and len(set(widths)) > 5


# The same run again


@pytest.fixture
def interrupted(make):
    """A run of two epochs with dropout and a checkpoint every step; `resume` goes on from one of them."""

    def run(resume_from=None, **options):
        fresh = small_masked_model(hidden_dropout=0.3) if "mlm_probability" in options else small_model(**DROPOUT)
        model = options.pop("model", None) or fresh
        defaults = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1, "optim": "adamw_torch"}
        defaults |= {"lr_scheduler_type": "linear", "learning_rate": 0.03}
        trainer = make(model=model, **{**defaults, **options})
        checkpoint = None if resume_from is None else f"{trainer.args.output_dir}/checkpoint-{resume_from}"
        trainer.train(resume_from_checkpoint=checkpoint)
        return trainer

    return run


@pytest.mark.parametrize(
    "options",
    [
        {"carry": "stream"},
        {"vary_window": True, "gradient_accumulation_steps": 2},
        *(pytest.param(way, marks=pytest.mark.slow) for way in ({"carry": "document"}, {"carry": "none"}, MASKED)),
    ],
    ids=str,
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(interrupted, options):
    whole = interrupted(**options)
    epoch = whole.state.global_step // 2
    for step in (3, epoch + 4, epoch):  # in the first epoch, in a later one, at the end of one
        resumed = interrupted(resume_from=step, **options)
        assert same_weights(resumed.model, whole.model), step
        assert whole.losses[-len(resumed.losses) :] == resumed.losses, step
        assert len(resumed.gradients) == whole.state.global_step - step


@pytest.mark.parametrize("carry", ["stream", "document"])
def test_a_resumed_run_that_forgets_its_states_is_caught(interrupted, monkeypatch, carry):
    whole = interrupted(carry=carry)
    monkeypatch.setattr(CarriedStates, "load", lambda self, folder, facts: None)
    assert not same_weights(interrupted(resume_from=3, carry=carry).model, whole.model)


def test_a_run_may_go_on_with_its_streams_dealt_otherwise(interrupted):
    options = {"total_train_batch_size": 7, "carry": "stream"}
    whole = interrupted(model=small_model(), gradient_accumulation_steps=3, **options)
    resumed = interrupted(model=small_model(), resume_from=4, gradient_accumulation_steps=2, **options)
    assert distance(whole.model, resumed.model) < ROUNDINGS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 12}, r"checkpoint-3 is from a run with window=10 \(now 12\): a run cannot go on"),
        ({"total_train_batch_size": 5}, r"total_train_batch_size=6 \(now 5\)"),
        ({"carry": "none"}, r"carry=stream \(now none\)"),
        ({"vary_window": True}, r"vary_window=False \(now True\)"),
        ({"seed": 7}, r"data_seed=42 \(now 7\)"),
        ({"train": text(700)}, r"tokens=601 \(now 700\)"),
    ],
)
def test_a_text_that_is_cut_otherwise_is_not_gone_on_with(interrupted, options, message):
    interrupted(max_steps=3)
    with pytest.raises(ValueError, match=message):
        interrupted(resume_from=3, **options)


def test_a_masked_run_is_not_gone_on_with_on_the_next_token(interrupted):
    interrupted(max_steps=3, **MASKED)
    with pytest.raises(ValueError, match=r"mlm_probability=0\.\d+ \(now None\)"):
        interrupted(model=small_transformer("text-generation"), resume_from=3, carry="none")


def test_a_checkpoint_without_states_is_gone_on_from_with_a_warning(interrupted, caplog):
    whole = interrupted()
    Path(whole.args.output_dir, "checkpoint-3", "streams_0.safetensors").unlink()
    with caplog.at_level("WARNING"):
        resumed = interrupted(resume_from=3)
    assert "has no states of streams: it comes from another Trainer" in caplog.text
    assert resumed.state.global_step == whole.state.global_step and not same_weights(resumed.model, whole.model)


def test_a_trainer_that_trains_again_begins_anew(make):
    trainer = make(num_train_epochs=2)
    trainer.train()
    trainer.model.load_state_dict(small_model().state_dict())
    trainer.optimizer = None
    first = list(trainer.losses)
    trainer.train()
    assert trainer.losses == first * 2


def test_workers_load_the_same_windows(make):
    models = []
    for workers in (0, 1):
        trainer = make(max_steps=4, vary_window=True, dataloader_num_workers=workers)
        trainer.train()
        models.append(trainer.model)
    assert same_weights(*models)


# What is refused


def test_a_model_that_reads_the_future_is_refused(make):
    model = FAMILIES["lstm"].heads["token-classification"]
    config = FAMILIES["lstm"].config(vocab_size=VOCAB_SIZE, num_labels=VOCAB_SIZE, bidirectional=True)
    for carry in CARRIES:
        with pytest.raises(ValueError, match="LSTMForTokenClassification is bidirectional: it would read the token"):
            make(model=model(config), carry=carry)
    with pytest.raises(ValueError, match="LSTMForCausalLM reads forward: it would not see what follows"):
        make(model=small_model(), **MASKED)


@for_each(
    ("options", "message"),
    [
        ({"window": 0}, "window must be 1 or more tokens, got 0"),
        ({"carry": "text"}, "carry='text' is not one of 'stream', 'document', 'none'"),
        ({"vary_window": True, "carry": "document"}, "and carry='document' has none to move"),
        ({"vary_window": True, "window": 9}, "around window=9: raise window to 10 or more"),
        ({"total_train_batch_tokens": 50}, "an update has total_train_batch_size x window tokens"),
        ({"train_sampling_strategy": "group_by_length"}, "windows have one length"),
        ({"bf16_full_eval": True}, "evaluates in the model's own precision"),
        ({"mlm_probability": 0.0, "carry": "none"}, "mlm_probability=0.0 is the share of the tokens that are hidden"),
        ({"mlm_probability": 1.0, "carry": "none"}, "mlm_probability=1.0 is the share of the tokens that are hidden"),
        ({"mlm_probability": 0.15}, "carry='stream' reads them forward, one after the other: use carry='none'"),
    ],
)
def test_arguments_that_mean_nothing_here_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_data_that_are_no_text_are_refused(make, tmp_path):
    rows = Dataset.from_dict({"input_ids": [[4, 5, 6]]})
    cure = r"takes a TokenText, got Dataset: TokenText.from_documents\(dataset\) makes one"
    for options in ({"train": rows}, {"eval_dataset": rows}, {"eval_dataset": {"one": rows}}):
        with pytest.raises(ValueError, match=cure):
            make(**options)
    trainer = make()
    for wrong in (rows, {"one": rows}):
        with pytest.raises(ValueError, match=cure):
            trainer.evaluate(wrong)
    with pytest.raises(ValueError, match="needs a TokenText as its eval_dataset"):
        trainer.evaluate()
    with pytest.raises(ValueError, match="mlm_probability needs the tokenizer, .* got NoneType: give it as proc"):
        StreamTrainer(small_masked_model(), make(**MASKED).args, text())
    with pytest.raises(ValueError, match="StreamTrainer has no predict"):
        trainer.predict(text())
    with pytest.raises(ValueError, match="StreamTrainer has no compute_metrics"):
        StreamTrainer(small_model(), trainer.args, text(), compute_metrics=lambda prediction: {})
    with pytest.raises(ValueError, match="takes StreamTrainingArguments, got SequenceTrainingArguments"):
        StreamTrainer(small_model(), SequenceTrainingArguments(str(tmp_path), use_cpu=True), text())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": text(6)}, "6 tokens cannot make 6 streams"),
        ({"train": text(60), "carry": "document"}, "3 documents of two tokens or more cannot make 6 streams"),
        ({"gradient_accumulation_steps": 7}, "6 streams cannot be dealt to 1 processes x 7"),
        ({"gradient_accumulation_steps": 7, "carry": "none"}, "6 rows an update cannot be dealt to 1 processes x 7"),
    ],
)
def test_more_streams_than_text_or_shares_than_streams_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options).train()
