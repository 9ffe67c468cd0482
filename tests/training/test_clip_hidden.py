"""Clipping what a step hands back to the one before it, against back-propagation through time written by hand."""

import copy
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from transformers import TrainerCallback

from hfseq import CustomConfig, CustomModel, RecursiveConfig, RecursiveForSequenceClassification
from hfseq.models.recurrent import fused
from hfseq.models.recurrent.clipping import check_clips_hidden, clipping_hidden, loops_of
from hfseq.models.token_order import TokenOrder
from hfseq.settings import read_settings
from hfseq.tasks.text_classification.build import make_arguments
from hfseq.tasks.text_classification.settings import TextClassificationSettings
from hfseq.training.words.bag_trainer import BagTrainingArguments
from tests.closeness import assert_same, difference
from tests.models.recurrent import small_seq2seq
from tests.models.recurrent.loops import (
    BATCHES,
    BUILT_IN,
    HIDDEN,
    RAGGED,
    ROUTES,
    fused_route,
    make_loop,
    reference_route,
    route_without_kernels,
    run,
)
from tests.rounds import for_each
from tests.training.trainers import make_trainer, small_model

LIMIT = 0.05
KINDS = ("every-token-real-backward-from-a-state", "left-padded-from-a-state", "holes-and-an-empty-row-backward")
BACKWARD_ROUTES = {name: ROUTES[name] for name in ("fused", "without_kernels", "reference")}
WIDTH = {"hidden_size": HIDDEN, "embedding_size": 6, "vocab_size": 12, "hidden_dropout": 0.0}


def by_hand(loop, inputs, real, d_outputs, d_reached, limit, states=None):
    """Gradients of inputs, initial states and weights, row by row and step by step, with no graph over time."""
    batch, steps, _ = inputs.shape
    names, weights = zip(*loop.named_parameters(), strict=True)
    d_weights, d_inputs = [torch.zeros_like(weight) for weight in weights], torch.zeros_like(inputs)
    starts = loop.start(inputs) if states is None else states
    d_starts = [torch.zeros_like(state) for state in starts]
    for row in range(batch):
        places = [t for t in range(steps) if real is None or real[row, t]]
        places = places[::-1] if loop.backward else places
        before, state = [], tuple(start[row : row + 1].detach() for start in starts)
        for t in places:
            before.append(state)
            state = tuple(value.detach() for value in one_step(loop, inputs[row : row + 1, t], state))
        flowing = [gradient[row : row + 1].clone() for gradient in d_reached]
        for t, state in zip(reversed(places), reversed(before), strict=True):
            leaves = [inputs[row : row + 1, t].detach().requires_grad_(), *(s.clone().requires_grad_() for s in state)]
            new = one_step(loop, leaves[0], tuple(leaves[1:]))
            flowing[0] = flowing[0] + d_outputs[row : row + 1, t]
            found = torch.autograd.grad(new, [*leaves, *weights], flowing, allow_unused=True, materialize_grads=True)
            d_inputs[row, t] = found[0][0]
            flowing = [gradient.clamp(-limit, limit) for gradient in found[1 : len(leaves)]]
            for total, gradient in zip(d_weights, found[len(leaves) :], strict=True):
                total += gradient
        for total, gradient in zip(d_starts, flowing, strict=True):
            total[row] = gradient[0]
    return d_inputs, d_starts, dict(zip(names, d_weights, strict=True))


def one_step(loop, inputs, states):
    weights = loop.weights()
    gates = torch.nn.functional.linear(inputs, weights.weight_ih, weights.bias)
    return loop.cell.step(gates, states, weights.weight_hh, weights.bias_hh, weights.params)


def gradients(loop, batch, limit, route):
    """What `run` of loops.py takes, with the loop's limit, and by which gradients its loss began."""
    with clipping_hidden(loop, limit):
        return run(route, loop, batch)


def expected_gradients(loop, batch, limit):
    inputs, states = batch.make(loop.cell, torch.float64)
    generator = torch.Generator().manual_seed(2)
    shape = (*inputs.shape[:2], loop.hidden_size)
    d_outputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    empty = [torch.zeros(shape[0], shape[2], dtype=torch.float64) for _ in loop.cell.states]
    draw = [torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in empty]
    real = None if batch.mask is None else batch.mask.bool()
    d_reached = draw if batch.with_state else empty
    d_inputs, d_states, d_weights = by_hand(loop, inputs.detach(), real, d_outputs, d_reached, limit, states)
    named = {f"d_{k}": gradient for k, gradient in enumerate(d_states)} if batch.from_state else {}
    return {"inputs": d_inputs, **named, **d_weights}


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_route_clips_between_the_steps_as_by_hand(name):
    for kind in KINDS:
        batch = BATCHES[kind]
        loop = make_loop(BUILT_IN[name], backward=batch.backward)
        expected = expected_gradients(loop, batch, LIMIT)
        for called, route in BACKWARD_ROUTES.items():
            found = gradients(loop, batch, LIMIT, route)
            assert_same(found.gradients, expected, 1e-11, scale=1e-6, what=f"{kind} {called}")
        free = run(reference_route, loop, batch)
        assert difference(free.gradients["weight_hh"], expected["weight_hh"]) > 1e-3  # there was something to clip
        assert_same(found.values, free.values, 1e-13)


@for_each("kind", BATCHES)
def test_a_limit_that_nothing_reaches_changes_no_bit(kind):
    for name in ("lstm", "gru", "gru_reset_before", "rnn_relu"):
        loop = make_loop(BUILT_IN[name], backward=BATCHES[kind].backward)
        free, wide = run(fused_route, loop, BATCHES[kind]), gradients(loop, BATCHES[kind], 1e30, fused_route)
        for one, other in zip(free, wide, strict=True):
            assert all(torch.equal(one[each], other[each]) for each in one)
        # Here autograd adds up in another order.
        wide = gradients(loop, BATCHES[kind], 1e30, reference_route)
        assert_same(wide.gradients, run(reference_route, loop, BATCHES[kind]).gradients, 1e-13, scale=1e-6)


def test_outputs_are_those_without_a_limit_to_the_bit():
    for name in BUILT_IN:
        loop, batch = make_loop(BUILT_IN[name]), BATCHES["ragged"]
        free, clipped = run(fused_route, loop, batch), gradients(loop, batch, LIMIT, fused_route)
        assert all(torch.equal(free.values[each], clipped.values[each]) for each in free.values)


def model_gradients(model, mask, limit, d_outputs):
    ids = torch.randint(1, 12, mask.shape, generator=torch.Generator().manual_seed(3))
    model.zero_grad()
    with clipping_hidden(model, limit):
        outputs = model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        (outputs * d_outputs).sum().backward()
    return outputs.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}, ids


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn_tanh", "lstm_peephole", "minimal_gated"])
@for_each("mask", [RAGGED, RAGGED.flip(1)])
def test_two_layers_in_both_directions_equal_the_hand(name, mask):
    model = CustomModel(CustomConfig(cell=name, bidirectional=True, num_hidden_layers=2, **WIDTH)).double()
    d_outputs = torch.randn(*mask.shape, 2 * HIDDEN, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    d_outputs = d_outputs * mask[..., None]
    outputs, found, ids = model_gradients(model, mask, LIMIT, d_outputs)
    read = [model.embed_tokens(ids).detach()]
    order = TokenOrder(*mask.shape, mask)
    for layer in model.layers:
        read.append(layer(read[-1], order).detach())
    assert_same(outputs, read[-1], 1e-13)
    expected, flowing = {}, d_outputs
    for index in (1, 0):
        below = torch.zeros_like(read[index])
        for half, direction in zip(flowing.chunk(2, -1), ("forward_loop", "backward_loop"), strict=True):
            loop = getattr(model.layers[index], direction)
            nothing = [torch.zeros(len(mask), HIDDEN, dtype=torch.float64) for _ in loop.cell.states]
            d_inputs, _, d_weights = by_hand(loop, read[index], mask.bool(), half, nothing, LIMIT)
            below += d_inputs
            expected |= {f"layers.{index}.{direction}.{each}": gradient for each, gradient in d_weights.items()}
        flowing = below * mask[..., None]
    embedded = torch.zeros_like(model.embed_tokens.weight).index_add_(0, ids.flatten(), flowing.flatten(0, 1))
    embedded[model.embed_tokens.padding_idx] = 0
    assert_same(found, {"embed_tokens.weight": embedded, **expected}, 1e-11, scale=1e-6)


def test_pieces_with_a_carried_state_have_the_gradients_of_the_whole():
    for name, route in [("lstm", fused_route), ("gru", reference_route)]:
        loop = make_loop(BUILT_IN[name])
        inputs = torch.randn(3, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        share = torch.randn(3, 8, HIDDEN, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
        found = []
        for cuts in ([8], [3, 5], [1] * 8):
            states, outputs = None, []
            with clipping_hidden(loop, LIMIT):
                for piece in inputs.split(cuts, dim=1):
                    output, states = route(loop, piece, TokenOrder(3, piece.shape[1], None), states)
                    outputs.append(output)
                found.append(torch.autograd.grad((torch.cat(outputs, 1) * share).sum(), list(loop.parameters())))
        assert_same(found[1], found[0], 1e-12)
        assert_same(found[2], found[0], 1e-12)


def test_checkpointed_layers_are_clipped_alike():
    model = CustomModel(CustomConfig(cell="lstm", num_hidden_layers=2, **WIDTH)).double().train()
    generator = torch.Generator().manual_seed(7)
    d_outputs = torch.randn(*RAGGED.shape, HIDDEN, dtype=torch.float64, generator=generator)
    _, plain, _ = model_gradients(model, RAGGED, LIMIT, d_outputs)
    twice = copy.deepcopy(model)
    turn_on = getattr(twice, "activation_checkpointing_enable", twice.gradient_checkpointing_enable)
    turn_on({"use_reentrant": False})
    _, checkpointed, _ = model_gradients(twice, RAGGED, LIMIT, d_outputs)
    assert_same(checkpointed, plain, 1e-13)
    _, free, _ = model_gradients(twice, RAGGED, None, d_outputs)
    assert difference(free, plain) > 1e-3


@for_each("variant", ["dot", "feeding"])
def test_decoders_that_go_at_once_or_step_by_step_are_clipped(variant):
    model = small_seq2seq.small(**small_seq2seq.VARIANTS[variant]).double()

    def take(limit, route=nullcontext):
        model.zero_grad()
        with clipping_hidden(model, limit), route():
            given = {"input_ids": small_seq2seq.IDS, "attention_mask": small_seq2seq.SIDES}
            loss = model(**given, labels=small_seq2seq.LABELS).loss
            loss.backward()
        return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    loss, free = take(None)
    clipped_loss, clipped = take(1e-3)
    assert loss == clipped_loss
    assert difference(clipped, free) > 1e-3
    assert_same(take(1e-3, lambda: patch.object(fused, "kernels", lambda *_: None))[1], clipped, 1e-9, scale=1e-6)
    assert_same(take(1e30)[1], free, 0.0)


def test_infinite_elements_become_the_limit_and_nan_stays():
    loop = make_loop(BUILT_IN["rnn_tanh"])
    for route in (fused_route, route_without_kernels):
        state = torch.zeros(1, HIDDEN, dtype=torch.float64, requires_grad=True)
        with clipping_hidden(loop, 0.5):
            outputs, _ = route(loop, torch.zeros(1, 1, 3, dtype=torch.float64), TokenOrder(1, 1, None), (state,))
            outputs[0, 0, 0].mul(torch.tensor(float("inf"))).backward()
        assert bool(((state.grad.abs() == 0.5) | state.grad.isnan()).all())


# In a training


class GradientReader(TrainerCallback):
    """Keeps the gradient of each update."""

    def __init__(self):
        self.updates = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.updates.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})


def first_gradient(parent, **options):
    reader = GradientReader()
    trainer = make_trainer(
        parent, model=small_model("rnn"), callbacks=[reader], max_grad_norm=0.0, max_steps=1, **options
    )
    trainer.train()
    assert all(loop.clip_hidden is None for loop in loops_of(trainer.model))  # for training alone
    return reader.updates[0]


def test_the_trainer_clips_and_shares_of_an_update_do_not_matter(tmp_path):
    free = first_gradient(tmp_path, total_train_batch_size=8)
    clipped = first_gradient(tmp_path, total_train_batch_size=8, clip_hidden=1e-3)
    assert difference(clipped, free) > 1e-2
    wide = first_gradient(tmp_path, total_train_batch_size=8, clip_hidden=1e6)
    assert all(torch.equal(wide[name], free[name]) for name in free)
    # The loss of each part is divided by the whole update's rows, so that the limit means the same.
    dealt = first_gradient(tmp_path, total_train_batch_size=8, clip_hidden=1e-3, gradient_accumulation_steps=2)
    assert_same(dealt, clipped, 1e-5, scale=1e-6)


def test_a_limit_is_gone_after_an_error():
    loop = make_loop(BUILT_IN["lstm"])
    with pytest.raises(RuntimeError), clipping_hidden(loop, 1.0):
        assert loop.clip_hidden == 1.0
        raise RuntimeError
    assert loop.clip_hidden is None


@for_each("value", [0.0, -1.0])
def test_limits_that_are_none_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match=f"clip_hidden must be positive, got {value}; leave it out"):
        make_trainer(tmp_path, clip_hidden=value)


@for_each("family", ["window"])
def test_models_without_a_loop_over_time_are_refused(tmp_path, family):
    with pytest.raises(ValueError, match=r"clip_hidden=1.0 clips .* has no loop over time: leave it out"):
        make_trainer(tmp_path, model=small_model(family), clip_hidden=1.0)


def test_the_key_works_in_a_settings_file_and_on_the_command_line(tmp_path):
    config = Path(__file__).parents[2] / "recipes/configs/text_classification/rnn_embedded.yaml"
    own = ["--training.use_cpu=true", f"--training.output_dir={tmp_path / 'run'}"]
    settings = read_settings(TextClassificationSettings, ["--config", str(config), "--training.clip_hidden=1.0", *own])
    assert make_arguments(settings).clip_hidden == 1.0
    with_key = tmp_path / "with_key.yaml"
    with_key.write_text(config.read_text(encoding="utf-8").replace("max_grad_norm: 1.0", "clip_hidden: 0.5"), "utf-8")
    settings = read_settings(TextClassificationSettings, ["--config", str(with_key), *own])
    assert make_arguments(settings).clip_hidden == 0.5


def test_a_bag_refuses_it(tmp_path):
    with pytest.raises(ValueError, match="BagTrainingArguments takes no clip_hidden=1.0"):
        BagTrainingArguments(str(tmp_path), use_cpu=True, clip_hidden=1.0)


def test_trees_have_no_loop_over_time():
    model = RecursiveForSequenceClassification(RecursiveConfig(vocab_size=9, num_labels=2))
    with pytest.raises(ValueError, match="RecursiveForSequenceClassification has no loop over time"):
        check_clips_hidden(model, 1.0)
