"""Training on windows of series: what a model reads and learns, and the state that goes on from window to window."""

import numpy as np
import pytest
import torch
from transformers import PrinterCallback

import hfseq
from hfseq.data.series import Series
from hfseq.data.series_windows import Span, windows_in
from hfseq.training.series import (
    SeriesArrays,
    SeriesStreams,
    SeriesTrainer,
    SeriesTrainingArguments,
    SeriesWholes,
    SeriesWindows,
    pad_windows,
)
from tests.closeness import assert_same

CONTEXT, HORIZON = 5, 2
LENGTHS = (23, 9, 16)
RNG = np.random.default_rng(0)
INPUTS = [RNG.standard_normal((length, 3)).astype(np.float32) for length in LENGTHS]
TARGETS = [RNG.standard_normal((length, 1)).astype(np.float32) for length in LENGTHS]
TARGETS[0][7] = np.nan
ARRAYS = SeriesArrays(INPUTS, TARGETS, HORIZON)
SERIES = [
    Series(str(place), np.arange(length), values, np.zeros((length, 0)), np.zeros(0, int))
    for place, (length, values) in enumerate(zip(LENGTHS, INPUTS, strict=True))
]
WINDOWS = windows_in(SERIES, Span(0, 30), context=CONTEXT, horizon=HORIZON)


def model(family="LSTM", **options):
    torch.manual_seed(0)
    sizes = {"embedding_size": 4, "hidden_size": 6, "hidden_dropout": 0.0, "feature_size": 3, "num_targets": 1}
    config = getattr(hfseq, f"{family}Config")(**{**sizes, "prediction_length": HORIZON, **options})
    return getattr(hfseq, f"{family}ForSeriesPrediction")(config)


def trainer(folder, own=None, *, streams=None, **options):
    quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
    settings = {"num_train_epochs": 1, "learning_rate": 0.05, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    args = SeriesTrainingArguments(str(folder), **{**quiet, **settings, **options})
    data = SeriesWindows(WINDOWS, ARRAYS, every_step=True) if streams is None else streams
    made = SeriesTrainer(own or model(), args, window=CONTEXT, train_dataset=data)
    made.remove_callback(PrinterCallback)
    return made


def losses(made):
    return [entry["loss"] for entry in made.state.log_history if "loss" in entry]


def test_a_window_learns_what_follows_each_of_its_steps():
    rows = SeriesWindows(WINDOWS, ARRAYS, every_step=True)
    assert len(rows) == sum(length - CONTEXT - HORIZON + 1 for length in LENGTHS)
    for index, (series, last) in enumerate(WINDOWS.places):
        row = rows[index]
        assert np.shares_memory(row["input_values"], INPUTS[series])
        for step in range(CONTEXT):
            place = last - CONTEXT + 1 + step
            np.testing.assert_array_equal(row["input_values"][step], INPUTS[series][place])
            expected = np.nan_to_num(TARGETS[series][place + 1 : place + 1 + HORIZON], nan=-100)
            np.testing.assert_array_equal(row["labels"][step], expected)
    held = SeriesWindows(WINDOWS, ARRAYS, every_step=False)[4]["labels"]
    assert (held[:-1] == -100).all() and (held[-1] == rows[4]["labels"][-1]).all()


def test_labels_of_steps_are_their_own():
    labels = [RNG.integers(0, 3, length) for length in LENGTHS]
    row = SeriesWindows(WINDOWS, SeriesArrays(INPUTS, labels, 0), every_step=True)[2]
    series, last = WINDOWS.places[2]
    np.testing.assert_array_equal(row["labels"], labels[series][last - CONTEXT + 1 : last + 1])


def test_wholes_answer_each_window_where_it_ends():
    own = model().eval()
    wholes, found = SeriesWholes(WINDOWS, ARRAYS), []
    for index in range(len(wholes)):
        row = wholes[index]
        values = torch.from_numpy(row["input_values"])[None]
        found.append(own(input_values=values).prediction[0, wholes.asked[index]])
        assert ((row["labels"] != -100).any((1, 2)).nonzero()[0] == np.sort(wholes.asked[index])).all()
    answers = torch.cat(found)[torch.from_numpy(wholes.order)]
    for place, (series, last) in enumerate(WINDOWS.places):
        values = torch.from_numpy(INPUTS[series][: last + 1])[None]
        assert_same(answers[place], own(input_values=values).prediction[0, -1])


def test_padding_of_a_batch_changes_no_loss():
    own = model().eval()
    rows = [SeriesWholes(WINDOWS, ARRAYS)[index] for index in range(3)]
    batch = pad_windows(rows)
    assert batch["attention_mask"].sum(1).tolist() == [len(row["input_values"]) for row in rows]
    single = [own(**pad_windows([row])).loss * (row["labels"] != -100).sum() for row in rows]
    count = sum(int((row["labels"] != -100).sum()) for row in rows)
    assert_same(own(**batch).loss, sum(single) / count)
    assert "attention_mask" not in pad_windows([rows[0], rows[0]])


def test_an_update_is_that_of_a_loop_by_hand(tmp_path):
    expected, optimized = model().train(), trainer(tmp_path, total_train_batch_size=64, optim="sgd")
    rows = SeriesWindows(WINDOWS, ARRAYS, every_step=True)
    batch = pad_windows([rows[index] for index in range(len(rows))])
    told = expected(input_values=batch["input_values"]).logits[..., 0]
    known = batch["labels"] != -100
    loss = (told - batch["labels"])[known].square().mean()
    loss.backward()
    optimized.train()
    assert_same(losses(optimized), [loss.item()], 1e-4)
    found = dict(optimized.model.named_parameters())
    for name, parameter in expected.named_parameters():
        assert_same(found[name].detach(), (parameter - 0.05 * parameter.grad).detach())


@pytest.mark.parametrize("family", ["LSTM", "GRU"])
def test_a_carried_state_goes_on_where_the_window_before_ended(tmp_path, family):
    """One series in one stream: its windows in order, the state carried, the gradient cut."""
    rows = [slice(0, 21), slice(0, 0), slice(0, 0)]
    own, expected = model(family), model(family).train()
    made = trainer(
        tmp_path, own, streams=SeriesStreams(rows, ARRAYS, 1), carry_state=True, total_train_batch_size=1, optim="sgd"
    )
    made.train()
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.05)
    cache, found = None, []
    for begin, end in [(0, 4), (4, 8), (8, 12), (12, 16), (16, 21)]:  # even cuts of 21 rows, 5 at most
        values = torch.from_numpy(INPUTS[0][begin:end])[None]
        labels = np.stack([TARGETS[0][row + 1 : row + 1 + HORIZON] for row in range(begin, end)])
        labels = torch.from_numpy(np.nan_to_num(labels, nan=-100))[None]
        outputs = expected(input_values=values, labels=labels, cache=cache, use_cache=True)
        found.append(outputs.loss.item())
        outputs.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        cache = outputs.cache
        for layer in cache.layers:
            layer.detach()
    assert_same(losses(made), found, 1e-4)
    fresh = trainer(tmp_path, model(family), total_train_batch_size=1, optim="sgd")
    fresh.train()
    assert losses(fresh)[:5] != pytest.approx(found, rel=1e-3)


def test_long_series_are_cut_into_as_many_streams_as_are_asked_for(tmp_path):
    rows = [slice(2, 21), slice(0, 7), slice(0, 14)]
    streams = SeriesStreams(rows, ARRAYS, 4)
    read = {
        (int(series), int(first) + step)
        for series, first, length in zip(streams.series, streams.first, streams.lengths - 1, strict=True)
        for step in range(length)
    }
    assert read == {(series, row) for series, own in enumerate(rows) for row in range(own.start, own.stop)}
    assert len(streams) == len(read) == 40 and len(streams.series) >= 4
    made = trainer(tmp_path, streams=streams, carry_state=True, total_train_batch_size=4, num_train_epochs=2)
    seen = []
    for batch in made.get_train_dataloader():
        assert batch["input_values"].shape[0] == 4 and batch["input_values"].shape[1] <= CONTEXT
        mask = batch.get("attention_mask", torch.ones(batch["input_values"].shape[:2]))
        seen += batch["input_values"][mask.bool()].tolist()
    assert sorted(seen) == sorted(INPUTS[series][row].tolist() for series, row in read)
    made.train()
    assert all(np.isfinite(losses(made)))
    with pytest.raises(ValueError, match="40 training rows cannot make 50 streams: lower total_train_batch_size"):
        SeriesStreams(rows, ARRAYS, 50)


@pytest.mark.parametrize("carry", [False, True])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path, carry):
    rows = [slice(0, 21), slice(0, 7), slice(0, 14)]

    def run(folder, **options):
        streams = SeriesStreams(rows, ARRAYS, 2) if carry else None
        own = {"carry_state": carry, "total_train_batch_size": 2, "save_strategy": "steps", "save_steps": 3}
        return trainer(folder, streams=streams, **own, **options)

    whole, first = run(tmp_path / "whole", max_steps=8), run(tmp_path / "parts", max_steps=3)
    whole.train()
    first.train()
    resumed = run(tmp_path / "parts", max_steps=8)
    resumed.train(resume_from_checkpoint=True)
    expected = dict(whole.model.named_parameters())
    assert all(found.equal(expected[name]) for name, found in resumed.model.named_parameters())
    assert losses(resumed) == losses(whole)


def test_shares_of_an_update_do_not_change_it(tmp_path):
    one = trainer(tmp_path, total_train_batch_size=8)
    four = trainer(tmp_path, total_train_batch_size=8, gradient_accumulation_steps=4)
    one.train()
    four.train()
    assert_same(losses(one), losses(four), 1e-4)


def test_what_means_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="windows have one length"):
        SeriesTrainingArguments(str(tmp_path), train_sampling_strategy="group_by_length")
    with pytest.raises(ValueError, match="takes no class_weights='balanced': series are no texts"):
        SeriesTrainingArguments(str(tmp_path), class_weights="balanced")
    torch.manual_seed(0)
    config = hfseq.TransformerConfig(feature_size=3, hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    other = hfseq.TransformerForSeriesPrediction(config)
    with pytest.raises(ValueError, match="carry_state=True needs a model whose state goes on"):
        trainer(tmp_path, other, carry_state=True)
