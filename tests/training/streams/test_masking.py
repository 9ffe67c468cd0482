"""What is hidden of a text: the same tokens however an update is dealt, others in every epoch, never a mark."""

from itertools import product

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from hfseq.tasks.masked_lm.build import guess_baseline
from hfseq.tokenization import train_tokenizer
from hfseq.training.batching import Shares
from hfseq.training.streams.masked_scores import score_guess, score_masked
from hfseq.training.streams.masking import MaskedWindowDataset, Masking
from hfseq.training.streams.windows import ChunkCutter, OrderedCutter, TokenText, Windows, WindowSampler

PAD = 10**6  # no token of the texts below
SIZE = 60


def masking(probability=0.15, special=(0, 1, 2, 3, 4)):
    marks = np.zeros(SIZE, bool)
    marks[list(special)] = True
    return Masking(probability, 4, np.flatnonzero(~marks), marks)


def text(tokens=501, seed=0):
    return TokenText(np.random.default_rng(seed).integers(0, SIZE, tokens).astype(np.int32))


def epoch_of(text, epoch=0, processes=1, steps=1, window=17, seed=0):
    """Every row of an epoch: where it begins -> what is read and what is asked."""
    cutter = ChunkCutter(text, window, reads_last=True, rows_per_update=8, shares=Shares(processes, 0, steps))
    dataset, found = MaskedWindowDataset(text, masking(), PAD, seed=seed), {}
    for process in range(processes):
        sampler = WindowSampler(cutter, Shares(processes, process, steps))
        sampler.set_epoch(epoch)
        for windows in sampler:
            batch = dataset.__getitems__(windows)
            real = batch.get("attention_mask", torch.ones_like(batch["labels"])).bool()
            assert (batch["input_ids"][~real] == PAD).all() and (batch["labels"][~real] == -100).all()
            for row, (start, length) in enumerate(zip(windows.starts, windows.lengths, strict=True)):
                assert start not in found and real[row].sum() == length
                found[int(start)] = batch["input_ids"][row, :length].tolist(), batch["labels"][row, :length].tolist()
    return found


def test_every_token_is_read_once_and_those_asked_for_are_its_own():
    whole = text()
    rows = epoch_of(whole)
    covered = sorted(place for start, (ids, _) in rows.items() for place in range(start, start + len(ids)))
    assert covered == list(range(len(whole)))  # the last one too
    for start, (read, asked) in rows.items():
        own = whole.ids[start : start + len(read)]
        candidates = int((own > 4).sum())
        assert sum(label != -100 for label in asked) == max(round(0.15 * candidates), 1)
        for token, shown, label in zip(own.tolist(), read, asked, strict=True):
            assert label in (-100, token) and (shown == token or label == token)
            assert label == -100 or token > 4


@pytest.mark.parametrize(("processes", "steps"), list(product([1, 2], [1, 3]))[1:])
def test_what_is_hidden_does_not_depend_on_how_updates_are_dealt(processes, steps):
    assert epoch_of(text(), epoch=2, processes=processes, steps=steps) == epoch_of(text(), epoch=2)


def test_what_is_hidden_is_drawn_anew_in_each_epoch_and_follows_from_the_seed():
    first, again, later, other = (epoch_of(text(), epoch=e, seed=s) for e, s in ((0, 0), (0, 0), (1, 0), (0, 1)))
    assert first == again
    assert first != later
    (windows,) = OrderedCutter(text(), 100, 17, reads_last=True).updates(0)
    dataset = MaskedWindowDataset(text(), masking())
    one, two = (dataset.__getitems__(windows._replace(epoch=epoch)) for epoch in (0, 1))  # where the cuts do not move
    assert ((one["labels"] != two["labels"]).any(1)).float().mean() > 0.9
    assert all(first[start] != other[start] for start in list(first)[:3])


def test_of_what_is_asked_four_fifths_are_masked_and_a_tenth_is_another_word():
    ids = np.random.default_rng(0).integers(5, SIZE, 40_000)
    read, asked = masking(special=range(10)).hide(ids, (0,))
    hidden = asked != -100
    candidates = ids >= 10
    assert hidden.sum() == round(0.15 * candidates.sum()) and not hidden[~candidates].any()
    shown, there = read[hidden], ids[hidden]
    assert (shown == 4).mean() == pytest.approx(0.8, abs=0.02)
    others = shown[(shown != 4) & (shown != there)]
    assert len(others) / len(shown) == pytest.approx(0.1 * 49 / 50, abs=0.015)  # one in 50 is itself
    assert others.min() >= 10 and len(set(others.tolist())) > 40
    assert (read[~hidden] == ids[~hidden]).all()


def test_a_window_of_marks_alone_is_asked_for_one_of_them():
    _, asked = masking().hide(np.array([2, 3, 2, 3]), (0,))
    assert (asked != -100).sum() == 1


def test_a_tokenizer_says_what_is_no_word():
    tokenizer = train_tokenizer(
        ["a b c"], "char", purpose="language-modeling", min_frequency=1, condition_tokens=["<x>"]
    )
    made = Masking.of(tokenizer, 0.2)
    assert (made.probability, made.mask_token_id) == (0.2, tokenizer.mask_token_id)
    assert sorted(tokenizer.convert_ids_to_tokens(made.words.tolist())) == [" ", "a", "b", "c"]
    tokenizer.bos_token = tokenizer.eos_token = None  # as where the texts have no such marks
    assert Masking.of(tokenizer, 0.2).words.tolist() == made.words.tolist()
    without = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(ValueError, match="has no mask_token"):
        Masking.of(without, 0.2)


# Evaluation


class Uniform(torch.nn.Module):
    """Holds every token for as likely as token 7 is unlikely; reads what it is given."""

    def __init__(self):
        super().__init__()
        self.config = type("Config", (), {"pad_token_id": 0})
        self.device, self.asked = torch.device("cpu"), []

    def forward(self, input_ids, attention_mask=None):
        self.asked.append(input_ids)
        logits = torch.zeros(*input_ids.shape, SIZE)
        logits[..., 7] = 2.0
        return type("Output", (), {"logits": logits})


@pytest.mark.parametrize("window", [7, 32, 1000])
def test_scores_are_those_of_the_hidden_tokens_whatever_the_batches(window, monkeypatch):
    whole, model = text(3001), Uniform()
    found = score_masked(model, whole, masking(), window=window)
    dataset = MaskedWindowDataset(whole, masking(), seed=0)
    asked = [
        dataset.__getitems__(windows)["labels"]
        for windows in OrderedCutter(whole, 1, window, reads_last=True).updates(0)
    ]
    labels = torch.cat([each[each != -100] for each in asked])
    logits = torch.zeros(len(labels), SIZE)
    logits[:, 7] = 2.0
    assert found.num_tokens == len(labels)
    assert found.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-6)
    assert found.perplexity == pytest.approx(np.exp(found.loss))
    assert found.hits == (labels == 7).sum() > 0 and found.accuracy == found.hits / len(labels)
    guess = torch.softmax(logits[0], 0).double().numpy()
    again = score_guess(guess, whole, masking(), window=window)
    assert (again.hits, again.num_tokens) == (found.hits, found.num_tokens)
    assert again.nats == pytest.approx(found.nats, rel=1e-6)
    monkeypatch.setattr("hfseq.training.streams.masked_scores._ROWS", 3)
    assert score_masked(model, whole, masking(), window=window).nats == pytest.approx(found.nats, rel=1e-9)


def test_a_guess_is_possible_where_windows_hold_special_tokens_alone():
    marks, words = TokenText(np.array([0, 1, 1, 2])), TokenText(np.array([0, 5, 6, 5, 2]))
    found = {row.metric: row.value for row in guess_baseline(words, marks, masking(), window=4)}
    assert found == {"accuracy": 0.0, "perplexity": pytest.approx(SIZE + 3)}  # counted once, of 3 words and 60 more


def test_windows_in_order_cover_the_text_and_have_one_length():
    whole = text(101)
    for rows, window in product([1, 3, 50], [1, 10, 200]):
        cutter = OrderedCutter(whole, rows, window, reads_last=True)
        updates = list(cutter.updates(0))
        assert len(updates) == len(cutter)
        places = [p for w in updates for s, n in zip(w.starts, w.lengths, strict=True) for p in range(s, s + n)]
        assert places == list(range(101))
        lengths = np.concatenate([w.lengths for w in updates])
        assert lengths.max() <= window and np.ptp(lengths) <= 1
        (last,) = {int((w.starts + w.lengths).max()) for w in list(OrderedCutter(whole, rows, window).updates(0))[-1:]}
        assert last == 100  # which predicts nothing
        assert all(isinstance(w, Windows) and w.restart.all() and w.width == w.lengths.max() for w in updates)
