"""Training on hidden tokens against what is written by hand: `StreamTrainer` with `mlm_probability`."""

from functools import partial

import numpy as np
import pytest
import torch

from hfseq.training.streams.masked_scores import score_guess, score_masked
from hfseq.training.streams.masking import MaskedWindowDataset, Masking
from hfseq.training.streams.windows import ChunkCutter, TokenText
from tests.closeness import assert_same, difference
from tests.training.streams.stream_trainers import (
    VOCAB_SIZE,
    make_trainer,
    small_masked_model,
    small_tokenizer,
    small_transformer,
    text,
)

SHARE = 0.3


@pytest.fixture
def make(tmp_path):
    """`make_trainer` in an empty folder, for a masked model."""
    return partial(make_trainer, tmp_path, carry="none", mlm_probability=SHARE)


def loss_of(model, batch):
    """The mean of -log P over the hidden tokens of a batch, row by row without padding."""
    logits, labels = [], []
    for ids, asked, real in zip(batch["input_ids"], batch["labels"], real_of(batch), strict=True):
        logits.append(model(input_ids=ids[real][None]).logits[0])
        labels.append(asked[real])
    return torch.nn.functional.cross_entropy(torch.cat(logits), torch.cat(labels))


def real_of(batch):
    return batch.get("attention_mask", torch.ones_like(batch["labels"])).bool()


def test_an_update_follows_the_loss_of_the_tokens_that_it_hides(make):
    trainer = make(num_train_epochs=2)
    trainer.train()
    model = small_masked_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    masking, losses = Masking.of(small_tokenizer(), SHARE), []
    cutter = ChunkCutter(text(), 10, seed=42, reads_last=True, rows_per_update=6)  # as the arguments have it
    for epoch in range(2):
        for windows in cutter.updates(epoch):
            batch = MaskedWindowDataset(text(), masking, seed=42).__getitems__(windows._replace(epoch=epoch))
            assert {3} <= set(batch["input_ids"][real_of(batch)].tolist())
            loss = loss_of(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert_same(trainer.losses, losses)
    assert_same(trainer.model.parameters(), model.parameters(), scale=0.1)  # a bias of keys stays near 0


def test_an_evaluation_is_that_of_score_masked_whatever_the_batches(make):
    held_out = text(201, seed=1)
    scores = score_masked(small_masked_model(), held_out, Masking.of(small_tokenizer(), SHARE), window=10)
    for rows in (1, 4, 100):
        found = make(per_device_eval_batch_size=rows).evaluate(held_out)
        assert_same(found["eval_loss"], scores.loss)
        assert found["eval_accuracy"] == scores.accuracy
        assert found["eval_perplexity"] == pytest.approx(np.exp(scores.loss), rel=1e-6)


def test_what_is_asked_in_an_evaluation_does_not_depend_on_the_seed_of_training(make):
    held_out = text(201, seed=1)
    one, other = (make(seed=seed, data_seed=seed, model=small_masked_model()).evaluate(held_out) for seed in (1, 2))
    assert one["eval_loss"] == other["eval_loss"]


def counting(tokens, seed):
    """A text that counts up and begins again, but for a jump now and then: a token follows from either neighbour."""
    random = np.random.default_rng(seed)
    steps = np.where(random.random(tokens) < 0.1, random.integers(0, VOCAB_SIZE - 4, tokens), 1)
    return TokenText((4 + np.cumsum(steps) % (VOCAB_SIZE - 4)).astype(np.int32))


def read_masks_alone(model, args, kwargs):
    """The fault: whatever stands in the text, the model reads a mask."""
    return args, {**kwargs, "input_ids": torch.full_like(kwargs["input_ids"], 3)}


@pytest.mark.parametrize("is_blind", [False, True])
def test_neighbours_are_learnt_from_and_a_model_that_does_not_see_them_is_caught(make, is_blind):
    model = small_masked_model(hidden_size=32, position_embedding_type="rotary")
    if is_blind:
        model.register_forward_pre_hook(read_masks_alone, with_kwargs=True)
    seen, held_out = counting(1001, seed=0), counting(501, seed=1)
    options = {"num_train_epochs": 40, "learning_rate": 0.01, "optim": "adamw_torch"}
    trainer = make(model=model, train=seen, window=20, total_train_batch_size=16, **options)
    trainer.train()
    counts = np.bincount(seen.ids, minlength=VOCAB_SIZE) + 1.0
    guess = score_guess(counts / counts.sum(), held_out, Masking.of(small_tokenizer(), SHARE), window=20)
    found = trainer.evaluate(held_out)
    assert (found["eval_loss"] < guess.loss - 0.5) != is_blind
    assert (found["eval_accuracy"] > guess.accuracy + 0.3) != is_blind


@pytest.mark.parametrize("head", ["fill-mask", "text-generation"])
def test_a_transformer_is_trained_in_bfloat16_on_a_cpu(make, head):
    losses = []
    for bf16 in (False, True):
        share = SHARE if head == "fill-mask" else None
        trainer = make(max_steps=5, bf16=bf16, model=small_transformer(head), mlm_probability=share)
        trainer.train()
        losses.append(trainer.losses)
        assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    assert 0 < difference(*losses) < 0.03
