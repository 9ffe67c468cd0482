"""Which rows make one update: all of them once an epoch, and the same ones however they are dealt out."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorWithPadding

from hfseq import SequenceTrainer, SequenceTrainingArguments
from hfseq.tokenization.padding import PaddingCollator
from hfseq.training.batching import SMALLEST_UPDATE, STRATEGIES, Shares, UpdateSampler, row_lengths
from tests.contract.cases import tokenizer
from tests.rounds import for_each
from tests.training.trainers import small_model

LENGTHS = np.random.default_rng(0).integers(1, 40, 203)
DEALINGS = [(1, 1), (2, 1), (1, 4), (2, 2), (4, 2)]  # processes x accumulation steps


def epoch(lengths, *, processes=1, steps=1, number=0, sampler_class=UpdateSampler, **options):
    """What every process yields in one epoch, and the updates put together again from it."""
    per_process = []
    for index in range(processes):
        sampler = sampler_class(lengths, shares=Shares(processes, index, steps), **options)
        sampler.set_epoch(number)
        per_process.append(list(sampler))
        assert len(sampler) == len(per_process[-1])
    updates = []
    for start in range(0, len(per_process[0]), steps):
        updates.append([row for batches in per_process for batch in batches[start : start + steps] for row in batch])
    return per_process, updates


def sets(updates):
    return [frozenset(rows) for rows in updates]


def tokens(lengths, rows):
    """Tokens of an update, padded to its longest row."""
    return len(rows) * max(lengths[rows])


def settings(random):
    """A random choice of sampler arguments that are allowed together."""
    strategy = str(random.choice(STRATEGIES))
    budget = int(random.integers(20, 400)) if strategy == "group_by_length" and random.random() < 0.7 else None
    return {"strategy": strategy, "tokens_per_update": budget, "seed": int(random.integers(100))}


@for_each("strategy", STRATEGIES)
@for_each(("processes", "steps"), DEALINGS)
def test_every_row_comes_exactly_once_an_epoch(strategy, processes, steps):
    for number in range(3):
        per_process, _ = epoch(
            LENGTHS, processes=processes, steps=steps, number=number, rows_per_update=16, strategy=strategy
        )
        rows = [row for batches in per_process for batch in batches for row in batch]
        assert sorted(rows) == list(range(len(LENGTHS)))


@for_each("strategy", STRATEGIES)
@for_each(("processes", "steps"), DEALINGS[1:])
def test_an_update_is_the_same_rows_however_it_is_dealt_out(strategy, processes, steps):
    options = {"rows_per_update": 16, "strategy": strategy, "seed": 3}
    for number in range(2):
        _, whole = epoch(LENGTHS, number=number, **options)
        _, dealt = epoch(LENGTHS, processes=processes, steps=steps, number=number, **options)
        assert len(whole) == 203 // 16 + 1
        assert sets(dealt) == sets(whole)


class ShuffledBatches(UpdateSampler):
    """The fault the next test plants: each process shuffles its batches once more."""

    def __iter__(self):
        batches = list(super().__iter__())
        return (batches[i] for i in np.random.default_rng(self.shares.process_index).permutation(len(batches)))


def test_a_sampler_that_shuffles_after_dealing_is_caught():
    _, whole = epoch(LENGTHS, rows_per_update=16)
    for processes, steps in DEALINGS[1:]:
        _, dealt = epoch(LENGTHS, processes=processes, steps=steps, sampler_class=ShuffledBatches, rows_per_update=16)
        assert sorted(sum(dealt, [])) == list(range(len(LENGTHS)))
        assert sets(dealt) != sets(whole)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_share_of_an_update_is_of_about_the_same_size(strategy):
    per_process, _ = epoch(LENGTHS, processes=2, steps=4, rows_per_update=32, strategy=strategy)
    for start in range(0, len(per_process[0]), 4):
        sizes = [len(batch) for batches in per_process for batch in batches[start : start + 4]]
        assert max(sizes) - min(sizes) <= 1


def test_the_order_is_the_epochs_and_the_seeds():
    first, again, second = (epoch(LENGTHS, rows_per_update=16, number=number)[1] for number in (0, 0, 1))
    other_seed = epoch(LENGTHS, rows_per_update=16, seed=1)[1]
    assert first == again
    assert sets(first) != sets(second) and sets(first) != sets(other_seed) and sets(second) != sets(other_seed)


def test_sequential_keeps_the_order_in_every_epoch():
    for number in range(2):
        _, updates = epoch(LENGTHS, rows_per_update=16, number=number, strategy="sequential")
        assert sum(updates, []) == list(range(len(LENGTHS)))


def test_random_order_is_shuffled_over_the_whole_epoch():
    _, updates = epoch(np.full(1000, 5), rows_per_update=10)
    places = np.array(sum(updates, []))
    assert abs(np.corrcoef(places, np.arange(1000))[0, 1]) < 0.1


def test_grouping_by_length_saves_padding_and_shuffles_the_updates():
    def padding(updates):
        return sum(tokens(LENGTHS, rows) for rows in updates) / LENGTHS.sum() - 1

    grouped = epoch(LENGTHS, rows_per_update=16, strategy="group_by_length")[1]
    assert padding(grouped) < 0.1 < 0.5 < padding(epoch(LENGTHS, rows_per_update=16)[1])
    longest = [max(LENGTHS[rows]) for rows in grouped]
    assert longest != sorted(longest)


def test_grouping_by_length_puts_rows_of_equal_length_together_anew_in_each_epoch():
    options = {"rows_per_update": 16, "strategy": "group_by_length"}
    one, other = (epoch(np.full(160, 7), number=number, **options)[1] for number in (0, 1))
    assert set(sets(one)).isdisjoint(sets(other))


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (64, [16, 16, 16, 16]),
        (64 + SMALLEST_UPDATE, [16, 16, 16, 16, 8]),
        (64 + SMALLEST_UPDATE - 1, [16, 16, 16, 23]),
        (7, [7]),
    ],
)
def test_a_small_tail_joins_the_update_before_it(rows, sizes):
    _, updates = epoch(np.ones(rows), rows_per_update=16)
    assert list(map(len, updates)) == sizes


def test_whole_updates_are_never_joined_even_where_they_are_small():
    assert list(map(len, epoch(np.ones(12), rows_per_update=4)[1])) == [4, 4, 4]
    assert list(map(len, epoch(np.ones(11), rows_per_update=4)[1])) == [4, 7]
    assert list(map(len, epoch(np.ones(5), rows_per_update=1)[1])) == [1] * 5


def test_the_token_budget_counts_padding_and_leaves_too_long_rows_alone():
    lengths = np.array([1] * 20 + [10] * 9 + [60, 70])
    options = {"rows_per_update": 32, "tokens_per_update": 50, "strategy": "group_by_length"}
    _, updates = epoch(lengths, **options)
    found = sorted((sorted(lengths[rows].tolist()) for rows in updates), key=max)
    assert found == [[1] * 20, [10] * 5, [10] * 4, [60], [70]] or found == [[1] * 20, [10] * 4, [10] * 5, [60], [70]]


def test_shares_get_a_row_each_where_the_budget_has_room_for_fewer():
    lengths = np.full(12, 60)
    options = {"rows_per_update": 32, "tokens_per_update": 100, "strategy": "group_by_length"}
    assert list(map(len, epoch(lengths, **options)[1])) == [1] * 12
    per_process, updates = epoch(lengths, processes=2, steps=2, **options)
    assert list(map(len, updates)) == [4] * 3
    assert all(len(batch) == 1 for batches in per_process for batch in batches)


def test_a_tail_of_long_rows_takes_no_more_rows_than_it_must():
    lengths = np.array([10] * 100 + [900])
    options = {"rows_per_update": 200, "tokens_per_update": 1000, "strategy": "group_by_length"}
    for processes, sizes in ((1, [1, 100]), (2, [2, 99]), (4, [4, 97])):
        assert sorted(map(len, epoch(lengths, processes=processes, **options)[1])) == sizes


def test_any_lengths_keep_every_promise():
    """Random lengths, strategies, budgets and dealings; what holds for one of them holds for all."""
    random = np.random.default_rng(7)
    forced = 0
    for _ in range(200):
        lengths = np.minimum(random.geometric(random.uniform(0.03, 0.5), random.integers(8, 120)), 90)
        processes, steps = DEALINGS[random.integers(len(DEALINGS))]
        shares = processes * steps
        rows_per_update = int(random.integers(shares, 40))
        options = {"rows_per_update": rows_per_update, **settings(random)}
        case = (lengths.tolist(), processes, steps, options)
        counts = set()
        for number in range(3):
            per_process, updates = epoch(lengths, processes=processes, steps=steps, number=number, **options)
            counts.add(len(updates))
            assert sorted(sum(updates, [])) == list(range(len(lengths))), case
            assert all(batch for batches in per_process for batch in batches), case
            assert {len(batches) for batches in per_process} == {len(updates) * steps}, case
            limit = rows_per_update + max(SMALLEST_UPDATE, shares) - 1
            assert max(map(len, updates)) <= limit, case
            budget = options["tokens_per_update"]
            over = [rows for rows in updates if budget is not None and tokens(lengths, rows) > budget]
            forced += len(over)
            assert all(len(rows) < 2 * shares for rows in over), case
            if budget is None:
                _, whole = epoch(lengths, number=number, **options)
                assert sets(updates) == sets(whole), case
        assert len(counts) == 1, case
    assert forced > 20  # rows too long for the budget did occur


def test_lengths_are_read_from_their_column_or_counted():
    ids = [[1, 2, 3], [], [4]]
    assert row_lengths(Dataset.from_dict({"input_ids": ids})).tolist() == [3, 0, 1]
    assert row_lengths(Dataset.from_dict({"input_ids": ids, "length": [30, 1, 10]})).tolist() == [30, 1, 10]
    assert row_lengths(Dataset.from_dict({"input_ids": ids}).select([2, 0])).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (
            {"tokens_per_update": 512, "strategy": "random"},
            ["tokens_per_update=512", "needs strategy 'group_by_length'", "got 'random'"],
        ),
        ({"strategy": "by_size"}, ["'by_size'", "'random', 'sequential', 'group_by_length'"]),
        ({"shares": Shares(16, 0, 16)}, ["203 rows", "16 processes x 16", "or more data"]),
        (
            {"rows_per_update": 6, "shares": Shares(2, 0, 4)},
            ["6 rows an update", "2 processes x 4", "Raise total_train_batch_size to 8"],
        ),
    ],
)
def test_wrong_arguments_are_answered_with_their_values_and_the_cure(options, parts):
    with pytest.raises(ValueError) as error:
        UpdateSampler(LENGTHS, **{"rows_per_update": 32, **options})
    assert [part for part in parts if part not in str(error.value)] == []


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("labels", [[1, 0, 2], [0.5, 1.5, 2.0], [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]])
def test_padding_is_that_of_transformers(side, labels):
    padding = tokenizer(padding_side=side)
    ids = [[4, 5, 6], [7], [8, 9]]
    rows = [{"input_ids": row, "label": label} for row, label in zip(ids, labels, strict=True)]
    ours, theirs = PaddingCollator(padding)(rows), DataCollatorWithPadding(padding)(rows)
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].dtype == expected.dtype and torch.equal(ours[name], expected), name


def test_the_own_mask_of_a_row_is_kept_and_a_tokenizer_without_padding_refused():
    rows = [{"input_ids": [4, 5], "attention_mask": [0, 1]}, {"input_ids": [6, 7, 8], "attention_mask": [1, 1, 1]}]
    assert PaddingCollator(tokenizer())(rows)["attention_mask"].tolist() == [[0, 1, 0], [1, 1, 1]]
    padding = tokenizer()
    padding.pad_token = None
    with pytest.raises(ValueError, match="no pad_token"):
        PaddingCollator(padding)


def test_sequence_trainer_pads_by_itself_unless_told_how(tmp_path):
    arguments = {"model": small_model(), "args": SequenceTrainingArguments(str(tmp_path), use_cpu=True)}
    assert isinstance(SequenceTrainer(**arguments, processing_class=tokenizer()).data_collator, PaddingCollator)
    own = DataCollatorWithPadding(tokenizer())
    assert SequenceTrainer(**arguments, processing_class=tokenizer(), data_collator=own).data_collator is own
