"""How the gradient flows back: each dL/dh_t against back-propagation through a loop written by hand, in float64."""

import copy
import doctest
from unittest.mock import patch

import pytest
import torch

import hfseq
from hfseq.insight import gradients
from hfseq.models.recurrent.loop import RecurrentLoop
from tests.closeness import assert_same
from tests.models.recurrent.textbook import FORMULAS, Gates

LENGTHS = (6, 3, 4)
STEPS = 6
EXACT = 1e-10
OF_FLOATS = 1e-6  # the heads compute their loss from float32


def make(cls=hfseq.CustomForSequenceClassification, config=hfseq.CustomConfig, **fields):
    """A model of float64 whose parameters are all different: zero biases would hide an exchange of gates."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "embedding_size": 5, "hidden_size": 8, "num_labels": 3, "use_cache": False}
    model = cls(config(**{**sizes, **fields})).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.6, 0.6)
    return model.train()


def lstm(cls=hfseq.LSTMForSequenceClassification, **fields):
    return make(cls, hfseq.LSTMConfig, **fields)


def batch_of(side="right", labels="text"):
    torch.manual_seed(1)
    ids = torch.randint(1, 30, (len(LENGTHS), STEPS))
    mask = (torch.arange(STEPS) < torch.tensor(LENGTHS)[:, None]).long()
    mask = mask.flip(1) if side == "left" else mask
    found = {"text": torch.tensor([0, 2, 1]), "token": (ids % 3).masked_fill(mask == 0, -100)}
    found["next"] = ids.masked_fill(mask == 0, -100)
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": found[labels]}


def by_hand(model, batch, formula):
    """The norms of dL/dh_t and of dL/dc_t of each loop, (B, T), from one text and one token at a time."""
    kept = {}

    def forward(loop, inputs, order, states=None, *, with_state=True):
        kept[loop] = {}
        outputs = [[torch.zeros(loop.hidden_size, dtype=inputs.dtype)] * STEPS for _ in inputs]
        for row, tokens in enumerate(inputs):
            own = [torch.zeros(loop.hidden_size, dtype=inputs.dtype) for _ in loop.cell.states]
            places = [t for t in range(STEPS) if batch["attention_mask"][row, t]]
            for t in reversed(places) if loop.backward else places:
                own = formula(Gates(loop_cell(model), loop, tokens[t]), loop.params, *own)
                for state in own:
                    state.retain_grad()
                kept[loop][row, t] = own
                outputs[row][t] = own[0]
        return torch.stack([torch.stack(row) for row in outputs]), None

    with patch.object(RecurrentLoop, "forward", forward):
        model(**batch).loss.backward()
    norms = {}
    for loop, steps in kept.items():
        norms[loop] = [torch.full((len(LENGTHS), STEPS), torch.nan, dtype=torch.float64) for _ in loop.cell.states]
        for (row, t), own in steps.items():
            for values, state in zip(norms[loop], own, strict=True):
                values[row, t] = 0.0 if state.grad is None else state.grad.norm()
    return norms


def loop_cell(model):
    return model.config.cell


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", FORMULAS)
def test_every_cell_has_the_gradients_of_a_loop_by_hand(name, side):
    model = make(cell=name, bidirectional=True, num_hidden_layers=2).eval()
    batch = batch_of(side)
    flow = hfseq.gradient_flow(model, batch)
    expected = by_hand(model, batch, FORMULAS[name])
    loops = [loop for layer in model.model.layers for loop in (layer.forward_loop, layer.backward_loop)]
    places = [(0, "forward"), (0, "backward"), (1, "forward"), (1, "backward")]
    assert [(found.layer, found.direction) for found in flow.layers] == places
    for found, loop in zip(flow.layers, loops, strict=True):
        hidden, *memory = expected[loop]
        assert_same(found.hidden, hidden, EXACT, nan=True, what=(name, found.layer, found.direction))
        assert (found.memory is None) == (not memory)
        if memory:
            assert_same(found.memory, memory[0], EXACT, nan=True)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("cls", "labels"),
    [(hfseq.CustomForTokenClassification, "token"), (hfseq.CustomForCausalLM, "next")],
)
def test_taggers_and_language_models_have_the_gradients_of_a_loop_by_hand(cls, labels, side):
    model, batch = make(cls, cell="lstm_coupled", num_hidden_layers=2).eval(), batch_of(side, labels)
    flow = hfseq.gradient_flow(model, batch)
    for found, (hidden, memory) in zip(
        flow.layers, by_hand(model, batch, FORMULAS["lstm_coupled"]).values(), strict=True
    ):
        assert_same(found.hidden, hidden, EXACT, nan=True)
        assert_same(found.memory, memory, EXACT, nan=True)


@pytest.mark.parametrize("side", ["right", "left"])
def test_steps_are_counted_from_the_end_of_the_loss_in_the_order_of_reading(side):
    flow = hfseq.gradient_flow(lstm(bidirectional=True), batch_of(side))
    forward, backward = (layer.distance.tolist() for layer in flow.layers)
    if side == "right":
        assert forward == [[5, 4, 3, 2, 1, 0], [2, 1, 0, -1, -1, -1], [3, 2, 1, 0, -1, -1]]
        assert backward == [[0, 1, 2, 3, 4, 5], [0, 1, 2, -1, -1, -1], [0, 1, 2, 3, -1, -1]]
    else:
        assert forward == [[5, 4, 3, 2, 1, 0], [-1, -1, -1, 2, 1, 0], [-1, -1, 3, 2, 1, 0]]
        assert backward == [[0, 1, 2, 3, 4, 5], [-1, -1, -1, 0, 1, 2], [-1, -1, 0, 1, 2, 3]]


def test_the_loss_of_a_language_model_ends_one_step_before_the_text():
    flow = hfseq.gradient_flow(lstm(hfseq.LSTMForCausalLM), batch_of(labels="next"))
    assert flow.layers[0].distance.tolist() == [[4, 3, 2, 1, 0, -1], [1, 0, -1, -1, -1, -1], [2, 1, 0, -1, -1, -1]]


@pytest.mark.parametrize("name", ["rnn_tanh", "gru", "lstm", "lstm_layer_norm"])
def test_the_share_is_that_of_the_last_loss_alone(name):
    """Where each token has a loss, what comes back from the end is what a loss there alone would send."""
    model, batch = make(hfseq.CustomForTokenClassification, cell=name), batch_of("left", "token")
    (found,) = hfseq.gradient_flow(model, batch).layers
    alone = batch["labels"].clone()
    alone[:, :-1] = -100
    (expected,) = hfseq.gradient_flow(model, {**batch, "labels": alone}).layers
    values = expected.hidden if expected.memory is None else expected.memory
    ends = values[:, -1:]
    assert_same(found.carried / found.carried[:, -1:], values / ends, OF_FLOATS, nan=True)
    assert_same(found.share, expected.by_distance(values / ends), OF_FLOATS)
    assert found.share[0] == 1


def relu_of(factor, steps=15):
    """h_t = relu(x_t + factor h_{t-1}), x_t > 0: the Jacobian of a step is `factor` times the identity."""
    model = make(hfseq.RNNForSequenceClassification, hfseq.RNNConfig, nonlinearity="relu")
    loop = model.model.layers[0].forward_loop
    with torch.no_grad():
        loop.weight_ih.abs_()
        loop.weight_hh.copy_(factor * torch.eye(8))
        loop.bias.zero_()
    embeds = torch.rand(2, steps, 5, dtype=torch.float64) + 0.1
    return hfseq.gradient_flow(model, {"inputs_embeds": embeds, "labels": torch.tensor([0, 1])})


@pytest.mark.parametrize(
    ("factor", "steps", "kind", "words"),
    [
        (0.5, 15, "vanishes", "vanishes: after 10 steps a tenth of a percent is left (layer 0, forward)"),
        (2.0, 15, "explodes", "explodes: after 10 steps it is 1,024 times as large (layer 0, forward)"),
        (1.0, 15, "flows", "flows: after 14 steps 100 percent is left (layer 0, forward)"),
        (0.5, 5, "flows", "flows: after 4 steps 6.2 percent is left (layer 0, forward)"),
        (2.0, 5, "flows", "flows: after 4 steps it is 16 times as large (layer 0, forward)"),
        (0.5, 1, "flows", "flows: after 0 steps 100 percent is left (layer 0, forward)"),
    ],
)
def test_a_known_factor_a_step_gives_its_powers_and_the_verdict(factor, steps, kind, words):
    flow = relu_of(factor, steps)
    assert_same(flow.layers[0].share, factor ** torch.arange(steps, dtype=torch.float64), EXACT)
    assert_same(flow.layers[0].jacobian, factor, EXACT)
    assert_same(flow.layers[0].recurrent["n"], factor, EXACT)
    assert (flow.kind, flow.verdict) == (kind, words)
    assert str(flow).startswith(words) and "0 forward" in str(flow)


def test_the_worst_layer_gives_the_verdict():
    model = make(hfseq.RNNForSequenceClassification, hfseq.RNNConfig, nonlinearity="relu", num_hidden_layers=3)
    with torch.no_grad():
        for layer, factor in zip(model.model.layers, (1.0, 0.05, 0.3), strict=True):
            layer.forward_loop.weight_ih.abs_()
            layer.forward_loop.weight_hh.copy_(factor * torch.eye(8))
    embeds = torch.rand(2, 15, 5, dtype=torch.float64)
    flow = hfseq.gradient_flow(model, {"inputs_embeds": embeds, "labels": torch.tensor([0, 1])})
    assert [layer.kind for layer in flow.layers] == ["flows", "vanishes", "vanishes"]
    assert flow.worst is flow.layers[1] and "after 3 steps" in flow.verdict and "layer 1" in flow.verdict


def test_a_layer_that_no_gradient_reaches_has_vanished():
    model = lstm()
    with torch.no_grad():
        model.classifier.weight.zero_()
    flow = hfseq.gradient_flow(model, batch_of())
    assert flow.kind == "vanishes" and "no gradient comes to this layer" in flow.verdict and str(flow)


def test_the_jacobian_of_a_step_is_that_of_the_whole_state():
    model = lstm(num_labels=2).eval()
    found = hfseq.gradient_flow(model, {"input_ids": torch.tensor([[3, 4, 5]]), "labels": torch.tensor([1])})
    loop, states = model.model.layers[0].forward_loop, torch.zeros(16, dtype=torch.float64)
    norms = []
    for token in (3, 4, 5):
        gates = Gates("lstm", loop, model.model.embed_tokens.weight[token])

        def run(states, gates=gates):
            return torch.cat(FORMULAS["lstm"](gates, {}, *states.chunk(2)))

        norms.append(torch.linalg.svdvals(torch.autograd.functional.jacobian(run, states))[0])
        states = run(states).detach()
    assert_same(found.layers[0].jacobian, torch.stack(norms).median(), EXACT)
    for name, rows in zip("ifgo", loop.weight_hh.chunk(4), strict=True):
        assert_same(found.layers[0].recurrent[name], torch.linalg.svdvals(rows.detach())[0], EXACT)


def test_the_model_is_left_as_it_was():
    model, batch = lstm(bidirectional=True, hidden_dropout=0.5), batch_of()
    model.model.layers[0].eval()
    model.classifier.requires_grad_(False)
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.rand_like(parameter) if number % 2 else None
    before = copy.deepcopy(model)
    for now, then in zip(model.parameters(), before.parameters(), strict=True):
        then.grad = None if now.grad is None else now.grad.clone()
    modes = [module.training for module in model.modules()]
    rng = torch.get_rng_state()
    with torch.inference_mode():
        hfseq.gradient_flow(model, batch)
    assert torch.equal(torch.get_rng_state(), rng)
    assert [module.training for module in model.modules()] == modes
    assert model.config.to_dict() == before.config.to_dict()
    assert not any("forward" in vars(module) for module in model.modules())
    for now, then in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then) and now.requires_grad == then.requires_grad
        assert now.grad is None if then.grad is None else torch.equal(now.grad, then.grad)


def test_frozen_parameters_and_gradients_switched_off_change_nothing():
    model, batch = lstm(num_hidden_layers=2), batch_of()
    expected = hfseq.gradient_flow(model, batch)
    with torch.no_grad():
        found = hfseq.gradient_flow(model.requires_grad_(False), batch)
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        assert_same(ours.hidden, theirs.hidden, EXACT, nan=True)
        assert_same(ours.memory, theirs.memory, EXACT, nan=True)


def test_bfloat16_is_measured_in_float32():
    model, batch = lstm().eval(), batch_of()
    expected = hfseq.gradient_flow(model, batch).layers[0]
    (found,) = hfseq.gradient_flow(model.to(torch.bfloat16), batch).layers
    assert found.hidden.dtype == torch.float32
    assert_same(found.hidden, expected.hidden, 0.05, nan=True)
    assert_same(found.memory, expected.memory, 0.05, nan=True)


def test_of_an_encoder_and_decoder_the_encoder_is_measured():
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "embedding_size": 5, "hidden_size": 8, "num_hidden_layers": 1}
    model = hfseq.Seq2SeqForConditionalGeneration(hfseq.Seq2SeqConfig(**sizes)).eval()
    batch = batch_of(labels="next")
    flow = hfseq.gradient_flow(model, batch)
    directions = {layer.direction for layer in flow.layers}
    assert directions <= {"forward", "backward"} and flow.layers[0].hidden.shape == (3, STEPS)
    assert flow.layers[0].hidden.isnan().equal(batch["attention_mask"] == 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "needs labels, which give a loss; it has input_ids, attention_mask"),
        ({"input_ids": None}, "needs the tensor input_ids"),
        ({"input_ids": torch.zeros(0, 6, dtype=torch.long), "attention_mask": None}, "The batch has no rows"),
        ({"attention_mask": torch.tensor([[1] * 6, [0] * 6, [1] * 6])}, r"Rows \[1\] of the batch have no token"),
        ({"labels": torch.full((3,), -100)}, "every label is ignored"),
    ],
)
def test_a_batch_that_cannot_be_measured_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        hfseq.gradient_flow(lstm(), {**batch_of(), **change})


def test_a_model_without_a_recurrence_or_a_loss_is_an_error():
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformer = hfseq.TransformerForSequenceClassification(hfseq.TransformerConfig(**sizes))
    with pytest.raises(ValueError, match="TransformerForSequenceClassification has no recurrent layer"):
        hfseq.gradient_flow(transformer, batch_of())
    with pytest.raises(ValueError, match="LSTMModel has no head"):
        hfseq.gradient_flow(lstm(hfseq.LSTMModel), batch_of())


def test_the_example_of_the_module_runs():
    result = doctest.testmod(gradients)
    assert result.attempted > 4 and result.failed == 0


def test_a_model_of_numbers_is_measured_as_one_of_tokens():
    torch.manual_seed(0)
    model = hfseq.LSTMForSeriesPrediction(hfseq.LSTMConfig(feature_size=2, hidden_size=8)).double()
    batch = {"input_values": torch.randn(2, 6, 2, dtype=torch.float64), "labels": torch.randn(2, 6, 1, 2).double()}
    vectors = {"inputs_embeds": model.model.embed_values(batch["input_values"]).detach(), "labels": batch["labels"]}
    found, expected = (hfseq.gradient_flow(model, each) for each in (batch, vectors))
    assert found.loss == expected.loss
    assert torch.equal(found.layers[0].hidden, expected.layers[0].hidden)
