"""One long text and its windows: every token is a target once, whatever the way of cutting and dealing."""

from itertools import product

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets

from hfseq.tokenization import train_tokenizer
from hfseq.training.batching import Shares
from hfseq.training.streams.windows import (
    ChunkCutter,
    DocumentCutter,
    StreamCutter,
    TokenText,
    WindowDataset,
    WindowSampler,
    varied_cuts,
)
from tests.rounds import for_each

PAD = 10**6  # no token of the texts below


def counted(*lengths):
    """Documents of these lengths, in which the token at place t is t."""
    lengths = np.array(lengths)
    return TokenText(np.arange(lengths.sum(), dtype=np.int32), np.cumsum(lengths) - lengths)


def ragged(documents=60, seed=0):
    return counted(*np.random.default_rng(seed).integers(1, 40, documents))


CUTTERS = {
    "stream": lambda text, rows, window, shares: StreamCutter(text, rows, window),
    "varied": lambda text, rows, window, shares: StreamCutter(text, rows, window, vary=True),
    "document": lambda text, rows, window, shares: DocumentCutter(text, rows, window),
    "none": lambda text, rows, window, shares: ChunkCutter(
        text, window, rows_per_update=rows, shares=Shares(shares[0], 0, shares[1])
    ),
}


def batches(text, cutter, epoch=0, processes=1, steps=1):
    """The batches of an epoch: one list an update, of all processes and steps in the order of the rows."""
    dataset, loaders = WindowDataset(text, PAD), []
    for process in range(processes):
        sampler = WindowSampler(cutter, Shares(processes, process, steps))
        sampler.set_epoch(epoch)
        loaders.append([dataset.__getitems__(windows) for windows in sampler])
        assert len(loaders[-1]) == len(sampler) == len(cutter) * steps
    updates = []
    for update in range(len(cutter)):
        updates.append(
            [loaders[process][update * steps + slot] for slot in range(steps) for process in range(processes)]
        )
        assert [batch["slot"] for batch in updates[-1]] == [slot for slot in range(steps) for _ in range(processes)]
    return updates


def rows_of(batch):
    """For each row the places of its inputs; checks the row against the text, in which token t is t."""
    found = []
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    assert torch.equal(batch["labels"], batch["shift_labels"])
    assert (batch["input_ids"][~mask] == PAD).all() and (batch["shift_labels"][~mask] == -100).all()
    for ids, targets, real in zip(batch["input_ids"], batch["shift_labels"], mask, strict=True):
        places = ids[real].numpy()
        assert (targets[real].numpy() == places + 1).all() and (np.diff(places) == 1).all()
        assert real[: len(places)].all()  # padding is on the right
        found.append(places)
    return found


# The text


def test_a_text_is_made_of_rows_and_of_datasets_alike():
    rows = [[5, 6, 7], [], [8], [9, 10]]
    text = TokenText.from_documents(rows)
    assert text.ids.tolist() == [5, 6, 7, 8, 9, 10] and text.starts.tolist() == [0, 3, 4]
    assert text.ids.dtype == np.int32 and text.lengths.tolist() == [3, 1, 2] and len(text) == 6
    assert repr(text) == "TokenText(6 tokens, 3 documents)"
    dataset = Dataset.from_dict({"input_ids": rows})
    pieces = concatenate_datasets([dataset.select([0, 1]), dataset.select([3, 2]).select([1, 0])])
    for same in (dataset, pieces, dataset.add_column("labels", [0] * 4), (tuple(row) for row in rows)):
        other = TokenText.from_documents(same)
        assert (other.ids.tolist(), other.starts.tolist()) == (text.ids.tolist(), text.starts.tolist())
    shuffled = TokenText.from_documents(dataset.select([3, 0]))
    assert shuffled.ids.tolist() == [9, 10, 5, 6, 7] and shuffled.starts.tolist() == [0, 2]


@pytest.mark.parametrize(("bos", "eos"), list(product([True, False], repeat=2)))
def test_strings_get_the_ends_that_are_asked_for(bos, eos):
    lines = [f"the film number {i} was good" for i in range(1500)]  # more than are tokenized at once
    tokenizer = train_tokenizer(lines, "char", purpose="language-modeling")
    text = TokenText.from_texts(lines, tokenizer, bos=bos, eos=eos)
    assert tokenizer.decode(text.ids) == "".join(f"{'<s>' * bos}{line}{'</s>' * eos}" for line in lines)
    assert len(text.starts) == 1500
    assert tokenizer.decode(text.ids[text.starts[7] : text.starts[8]]) == "<s>" * bos + lines[7] + "</s>" * eos


def test_a_mapped_text_stays_on_disk(tmp_path):
    np.save(tmp_path / "ids.npy", np.arange(50, dtype=np.uint16))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    text = TokenText(mapped)
    assert text.ids is mapped and text.starts.tolist() == [0]
    (batch,) = batches(text, StreamCutter(text, 2, 30))[0]
    assert batch["input_ids"].dtype == torch.int64 and batch["shift_labels"][1].tolist()[:2] == [25, 26]


@for_each(
    ("make", "message"),
    [
        (lambda: TokenText(np.zeros((2, 3), int)), "one row of integers, got int64 of shape"),
        (lambda: TokenText(np.zeros(3)), "one row of integers, got float64"),
        (lambda: TokenText(np.zeros(0, int)), "at least one token, got none"),
        (lambda: TokenText(np.zeros(5, int), [0, 3, 3]), "starts must increase from 0 to a place below 5"),
        (lambda: TokenText(np.zeros(5, int), [1, 3]), "starts must increase from 0"),
        (lambda: TokenText(np.zeros(5, int), [0, 5]), "a place below 5"),
        (lambda: TokenText(np.zeros(5, int), []), "starts must increase"),
        (lambda: TokenText.from_documents([]), "no token in these documents"),
        (lambda: TokenText.from_documents(Dataset.from_dict({"input_ids": [[], []]})), "no token in these documents"),
        (lambda: TokenText.from_documents(Dataset.from_dict({"text": ["a"]})), r"\['text'\]: tokenize it first"),
        (lambda: TokenText.from_documents(Dataset.from_dict({"input_ids": [[1], None]})), "is missing"),
        (lambda: TokenText.from_documents(Dataset.from_dict({"input_ids": [[1, None]]})), "is missing"),
    ],
)
def test_what_is_no_text_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_strings_that_cannot_be_read_are_refused():
    tokenizer = train_tokenizer(["the film"] * 2, "char", purpose="language-modeling")
    with pytest.raises(TypeError, match="texts is one str, not a sequence of strings; wrap it in a list"):
        TokenText.from_texts("the film", tokenizer, bos=True, eos=True)
    with pytest.raises(TypeError, match="texts is one Dataset, not a sequence of strings; pass its column of texts"):
        TokenText.from_texts(Dataset.from_dict({"text": ["the film"]}), tokenizer, bos=True, eos=True)
    tokenizer.bos_token = None
    with pytest.raises(ValueError, match="this tokenizer has no bos_token"):
        TokenText.from_texts(["the film"], tokenizer, bos=True, eos=True)


# Every token once


@for_each("shares", [(1, 1), (2, 1), (1, 3), (2, 2)])
@for_each(("rows", "window"), [(4, 16), (7, 10), (20, 35)])
@for_each("carry", CUTTERS)
def test_every_token_is_a_target_once_an_epoch(carry, rows, window, shares):
    text = ragged()
    cutter = CUTTERS[carry](text, rows, window, shares)
    first = {0} if carry != "document" else set(text.starts.tolist())
    for epoch in (0, 1, 5):
        found = [
            places + 1
            for update in batches(text, cutter, epoch, *shares)
            for batch in update
            for places in rows_of(batch)
        ]
        assert np.sort(np.concatenate(found)).tolist() == [t for t in range(len(text)) if t not in first]


@pytest.mark.parametrize("carry", CUTTERS)
def test_shares_put_together_are_the_update(carry):
    text = ragged()
    shares = (2, 2)
    cutter = CUTTERS[carry](text, 10, 12, shares)
    for whole, dealt in zip(batches(text, cutter), batches(text, cutter, 0, *shares), strict=True):
        sizes = [len(batch["restart"]) for batch in dealt]
        assert len(dealt) == 4 and max(sizes) - min(sizes) <= 1
        for name in ("input_ids", "shift_labels", "restart"):
            assert torch.equal(torch.cat([batch[name] for batch in dealt]), whole[0][name])


@pytest.mark.parametrize("carry", CUTTERS)
def test_a_short_text_is_cut_as_well(carry):
    for tokens, window in product(range(2, 14), (10, 12)):
        text = counted(tokens)
        cutter = CUTTERS[carry](text, 1, window, (1, 1))
        for epoch in range(3):
            found = [
                places for update in batches(text, cutter, epoch) for batch in update for places in rows_of(batch)
            ]
            assert sorted(np.concatenate(found).tolist()) == list(range(tokens - 1))
            assert all(len(places) for places in found)


# Streams


@pytest.mark.parametrize("carry", ["stream", "varied"])
def test_each_stream_goes_on_where_it_was(carry):
    text = ragged()
    updates = batches(text, CUTTERS[carry](text, 7, 16, (1, 1)))
    for number, (batch,) in enumerate(updates):
        assert batch["restart"].tolist() == [number == 0] * 7
    streams = [np.concatenate(windows) for windows in zip(*(rows_of(update[0]) for update in updates), strict=True)]
    assert np.concatenate(streams).tolist() == list(range(len(text) - 1))  # one after the other, nothing between them
    assert np.ptp([len(stream) for stream in streams]) <= 1


def test_windows_are_equal_up_to_one_token():
    text = counted(5 * 101 + 1)  # a window of 35 leaves a rest of 31, one of 50 a rest of 1
    for window, widths in ((35, [33, 34, 34]), (50, [33, 34, 34]), (101, [101]), (500, [101]), (100, [50, 51])):
        updates = batches(text, StreamCutter(text, 5, window))
        assert [batch["input_ids"].shape for (batch,) in updates] == [(5, width) for width in widths]
        assert not any("attention_mask" in batch for (batch,) in updates)


def test_varied_windows_are_drawn_as_merity_et_al_do():
    cuts = varied_cuts(1_000_000, 70, np.random.default_rng(0))
    lengths = np.diff(cuts)
    assert (cuts[0], cuts[-1], lengths.min()) == (0, 1_000_000, pytest.approx(22, abs=8))
    short = lengths < 52
    assert short.mean() == pytest.approx(0.05, abs=0.005)
    assert lengths[short].mean() == pytest.approx(35, abs=0.5) and lengths[~short].mean() == pytest.approx(70, abs=0.5)
    assert lengths[~short].std() == pytest.approx(5, abs=0.2)


def test_varied_windows_change_from_epoch_to_epoch_and_their_number_does_not():
    text = counted(5000)
    cutter = StreamCutter(text, 4, 20, vary=True, seed=3)
    cuts = [[windows.width for windows in cutter.updates(epoch)] for epoch in range(40)]
    assert {len(widths) for widths in cuts} == {len(cutter)} == {64}
    assert len({tuple(widths) for widths in cuts}) == 40
    assert cuts[3] == [windows.width for windows in StreamCutter(text, 4, 20, vary=True, seed=3).updates(3)]
    assert cuts[3] != [windows.width for windows in StreamCutter(text, 4, 20, vary=True, seed=4).updates(3)]


def test_varied_windows_of_hardly_any_text_have_a_token_each():
    for length, window, seed in product(range(1, 60), (10, 12), range(20)):
        cuts = varied_cuts(length, window, np.random.default_rng(seed))
        assert (cuts[0], cuts[-1]) == (0, length) and (np.diff(cuts) > 0).all()


# Documents


def test_windows_end_where_documents_end_and_states_begin_where_they_begin():
    text = ragged()
    begins, document = set(text.starts.tolist()), np.repeat(np.arange(60), text.lengths)
    for epoch in range(3):
        for (batch,) in batches(text, DocumentCutter(text, 6, 16), epoch):
            for places, restart in zip(rows_of(batch), batch["restart"].tolist(), strict=True):
                if len(places):
                    assert restart == (places[0] in begins)
                    assert document[places[0]] == document[places[-1] + 1]  # the last target is of the document too
                else:
                    assert not restart


def test_the_windows_of_a_document_follow_one_another():
    text = ragged()
    updates = batches(text, DocumentCutter(text, 6, 8), epoch=2)
    for stream in zip(*(rows_of(update[0]) for update in updates), strict=True):
        places = [window for window in stream if len(window)]
        for before, after in zip(places, places[1:], strict=False):
            assert after[0] == before[-1] + 1 or after[0] in text.starts


def test_documents_come_in_another_order_each_epoch_unless_told_otherwise():
    text = ragged()
    orders = {}
    for shuffle in (True, False):
        cutter = DocumentCutter(text, 3, 100, shuffle=shuffle)
        for epoch in range(2):
            rows = [rows_of(update[0])[0] for update in batches(text, cutter, epoch)]
            orders[shuffle, epoch] = [int(row[0]) for row in rows if len(row)]
    assert orders[True, 0] != orders[True, 1] and sorted(orders[True, 0]) == sorted(orders[True, 1])
    assert orders[False, 0] == orders[False, 1] == sorted(orders[True, 0])


def test_streams_of_documents_wait_now_and_then_and_not_all_at_the_end():
    text = ragged(documents=211)
    cutter = DocumentCutter(text, 20, 16)
    assert np.ptp(cutter.loads) <= 1
    rows = [sum(map(bool, map(len, rows_of(update[0])))) for update in batches(text, cutter)]
    assert sum(rows) == sum(cutter.loads) and min(rows) > 10


# Chunks


def test_the_cuts_of_chunks_move_and_their_order_changes():
    text = counted(1000)
    cutter = ChunkCutter(text, 10, rows_per_update=8)
    firsts, orders = [], []
    for epoch in range(12):
        rows = [places for (batch,) in batches(text, cutter, epoch) for places in rows_of(batch)]
        assert len(rows) == 101 and max(map(len, rows)) == 10 and min(map(len, rows)) >= 1
        orders.append([int(row[0]) for row in rows])
        firsts.append(sorted(orders[-1])[1])
    assert len(set(firsts)) > 5 and all(order != sorted(order) for order in orders)
    sequential = ChunkCutter(text, 10, rows_per_update=8, strategy="sequential")
    starts = [int(row[0]) for (batch,) in batches(text, sequential) for row in rows_of(batch)]
    assert starts == sorted(starts)


def test_every_chunk_begins_from_an_empty_state():
    text = counted(1000)
    assert all(batch["restart"].all() for (batch,) in batches(text, ChunkCutter(text, 10, rows_per_update=8)))


# What cannot be cut


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StreamCutter(counted(5), 5, 10), "5 tokens cannot make 5 streams with a prediction each"),
        (lambda: DocumentCutter(counted(5, 1, 4), 3, 10), "2 documents of two tokens or more cannot make 3 streams"),
        (lambda: ChunkCutter(counted(1), 10, rows_per_update=1), "a text of one token predicts nothing"),
        (lambda: ChunkCutter(counted(20), 10, rows_per_update=4, shares=Shares(4)), "4 processes x 1"),
    ],
)
def test_too_little_text_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    assert len(list(StreamCutter(counted(6), 5, 10).updates(0))) == 1
