"""The loss without logits against torch's two steps."""

import pytest
import torch
from torch import nn

from hfseq.models.heads import causal_lm as language
from hfseq.models.heads import lm_loss as token_loss
from hfseq.models.heads.lm_loss import linear_cross_entropy
from tests.closeness import assert_same
from tests.rounds import for_each
from tests.training.streams.stream_trainers import gradient, make_trainer, small_model, text

linear, cross_entropy = nn.functional.linear, nn.functional.cross_entropy


def given(dtype=torch.float64, bias=True, rows=7):
    generator = torch.Generator().manual_seed(0)
    h, w, b = (torch.randn(*size, generator=generator, dtype=dtype) for size in ((rows, 5), (11, 5), (11,)))
    targets = torch.randint(0, 11, (rows,), generator=generator)
    leaves = [tensor.requires_grad_() for tensor in ((h, w, b) if bias else (h, w))]
    return leaves, targets


@for_each("bias", [True, False])
@for_each("numbers", [1, 25, 10**6])
@for_each("smoothing", [0.0, 0.3])
def test_it_is_the_cross_entropy_of_the_logits_in_pieces_of_any_size(bias, numbers, smoothing, monkeypatch):
    monkeypatch.setattr(token_loss, "_NUMBERS_AT_ONCE", numbers)
    leaves, targets = given(bias=bias)
    h, w, b = (*leaves, None)[:3]
    ours = linear_cross_entropy(h, w, b, targets, smoothing)
    theirs = cross_entropy(linear(h, w, b), targets, reduction="sum", label_smoothing=smoothing)
    assert_same(ours, theirs)  # summed in float32, as cross-entropies of models are
    for a, b in zip(torch.autograd.grad(3.0 * ours, leaves), torch.autograd.grad(3.0 * theirs, leaves), strict=True):
        assert_same(a, b)


def test_nothing_is_asked_of_no_rows():
    leaves, targets = given(rows=0)
    loss = linear_cross_entropy(*leaves, targets)
    loss.backward()
    assert loss == 0 and not any(leaf.grad.any() for leaf in leaves)


def test_a_hopeless_token_costs_a_finite_loss():
    h, w = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[300.0], [-300.0]], requires_grad=True)
    loss = linear_cross_entropy(h, w, None, torch.tensor([1]))
    loss.backward()
    assert loss == 600 and torch.isfinite(h.grad).all() and torch.isfinite(w.grad).all()


def test_under_autocast_it_is_close_to_float32():
    leaves, targets = given(torch.float32)
    exact = linear_cross_entropy(*leaves, targets)
    expected = torch.autograd.grad(exact, leaves)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = linear_cross_entropy(*leaves, targets)
    assert_same((narrow, *torch.autograd.grad(narrow, leaves)), (exact, *expected), 0.05)


PENALTIES = {"activation_regularization": 2.0, "temporal_activation_regularization": 1.0}


@pytest.mark.parametrize("penalties", [{}, PENALTIES], ids=["plain", "AR and TAR"])
@pytest.mark.parametrize("options", [{}, {"tie_word_embeddings": True, "last_hidden_size": 6}], ids=["untied", "tied"])
def test_the_loss_of_training_on_streams_is_that_of_the_logits(options, penalties, tmp_path, monkeypatch):
    """Training asks for no logits; what it minimises is what the module says of them, and of the outputs."""
    calls = []
    counted = lambda *given: calls.append(given) or linear_cross_entropy(*given)  # noqa: E731
    monkeypatch.setattr(language, "linear_cross_entropy", counted)
    trainer = make_trainer(tmp_path, model=small_model(**options, **penalties), window=1000, total_train_batch_size=1)
    trainer.train()
    assert len(calls) == 1
    model = small_model(**options, **penalties).train()
    ids = torch.from_numpy(text().ids).long()[None]
    outputs = model(ids[:, :-1], output_hidden_states=True)
    h = outputs.hidden_states[-1]
    expected = cross_entropy(outputs.logits[0], ids[0, 1:])
    if penalties:
        expected = expected + 2.0 * h.pow(2).mean() + (h[:, 1:] - h[:, :-1]).pow(2).mean(-1).sum() / 600
    assert_same(trainer.losses[0], expected.item())
    assert_same(trainer.gradients[0], gradient(model, expected))
    ordinary = model(ids[:, :-1], shift_labels=ids[:, 1:]).loss
    assert len(calls) == 1
    assert_same(ordinary, expected)
