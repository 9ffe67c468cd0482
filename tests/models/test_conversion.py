"""Weights from and to torch and Keras give the same answers on both sides."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from hfseq import CustomConfig, CustomModel, GRUConfig, GRUModel, LSTMConfig, LSTMModel, RNNConfig, RNNModel
from hfseq.models.conversion import load_keras, load_torch, to_keras, to_torch
from tests.closeness import assert_same
from tests.rounds import for_each

os.environ.setdefault("KERAS_BACKEND", "torch")

SIZES = {"vocab_size": 10, "embedding_size": 4, "hidden_size": 3, "hidden_dropout": 0.0}
TORCH = {
    "lstm": (LSTMModel, LSTMConfig, {}, nn.LSTM, {}),
    "gru": (GRUModel, GRUConfig, {}, nn.GRU, {}),
    "rnn_tanh": (RNNModel, RNNConfig, {}, nn.RNN, {}),
    "rnn_relu": (RNNModel, RNNConfig, {"nonlinearity": "relu"}, nn.RNN, {"nonlinearity": "relu"}),
}
KERAS = {  # our model, and Keras's layer and its options
    "lstm": (LSTMModel, LSTMConfig, {}, "LSTM", {}),
    "gru_after": (GRUModel, GRUConfig, {}, "GRU", {"reset_after": True}),
    "gru_before": (GRUModel, GRUConfig, {"reset": "before"}, "GRU", {"reset_after": False}),
    "rnn_tanh": (RNNModel, RNNConfig, {}, "SimpleRNN", {}),
    "rnn_relu": (RNNModel, RNNConfig, {"nonlinearity": "relu"}, "SimpleRNN", {"activation": "relu"}),
    "rnn_sigmoid": (RNNModel, RNNConfig, {"nonlinearity": "sigmoid"}, "SimpleRNN", {"activation": "sigmoid"}),
}


def make(table, name, *, layers=1, bidirectional=False, **options):
    model_class, config_class, own, *_ = table[name]
    options = {**SIZES, **own, "num_hidden_layers": layers, "bidirectional": bidirectional, **options}
    return model_class(config_class(**options)).eval()


def shake(module):
    """Random weights; no zero biases: they would hide an exchange of gates."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.6, 0.6)
    return module


def snapshot(layers):
    return {name: value.clone() for name, value in layers.state_dict().items()}


def inputs(steps=7, dtype=torch.float32):
    return torch.randn(2, steps, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))


@for_each("bidirectional", [False, True])
@for_each("bias", [False, True])
@for_each("name", TORCH)
def test_layers_answer_as_the_torch_module_they_were_loaded_from(name, bias, bidirectional):
    *_, module_class, options = TORCH[name]
    module = module_class(4, 3, 2, bias=bias, bidirectional=bidirectional, dropout=0.5, batch_first=True, **options)
    shake(module).eval()
    model = shake(make(TORCH, name, layers=2, bidirectional=bidirectional))
    load_torch(model.layers, module)
    output = model(inputs_embeds=inputs()).last_hidden_state
    assert_same(output, module(inputs())[0])


@for_each("dtype", [torch.float64, torch.bfloat16])
@for_each("name", TORCH)
def test_the_way_to_torch_and_back_keeps_every_bit_and_the_dtype(name, dtype):
    model = shake(make(TORCH, name, layers=3, bidirectional=True)).to(dtype)
    before = snapshot(model.layers)
    state = torch.get_rng_state()
    module = to_torch(model.layers)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(module) is TORCH[name][3] and {p.dtype for p in module.parameters()} == {dtype}
    if dtype == torch.float64:
        output = model(inputs_embeds=inputs(dtype=dtype)).last_hidden_state
        assert_same(output, module(inputs(dtype=dtype))[0], 1e-12)
    shake(model)
    load_torch(model.layers, module)
    assert all(torch.equal(value, before[name]) for name, value in model.layers.state_dict().items())


def test_only_the_two_biases_of_a_torch_module_change_on_its_way_through():
    module, model = shake(nn.GRU(4, 3)), make(TORCH, "gru")
    load_torch(model.layers, module)
    again = to_torch(model.layers)
    for kind in ("weight_ih_l0", "weight_hh_l0"):
        assert torch.equal(getattr(again, kind), getattr(module, kind))
    assert torch.equal(again.bias_ih_l0[:6], (module.bias_ih_l0 + module.bias_hh_l0)[:6])
    assert not again.bias_hh_l0[:6].any()
    assert torch.equal(again.bias_ih_l0[6:], module.bias_ih_l0[6:])
    assert torch.equal(again.bias_hh_l0[6:], module.bias_hh_l0[6:])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: nn.GRU(4, 3), "weights are those of torch's GRU, but the layers' cell is LSTM.*GRUConfig"),
        (lambda: nn.LSTM(4, 3, proj_size=2), "proj_size=2"),
        (lambda: nn.LSTM(5, 3), r"embedding_size=5 \(it is 4\)\.$"),
        (lambda: nn.LSTM(4, 6, 2), r"hidden_size=6 \(it is 3\), num_hidden_layers=2 \(it is 1\)"),
        (lambda: nn.LSTM(4, 3, bidirectional=True), r"bidirectional=True \(it is False\)"),
    ],
)
def test_a_torch_module_that_does_not_fit_is_refused_and_nothing_is_copied(module, message):
    model = make(TORCH, "lstm")
    before = snapshot(model.layers)
    with pytest.raises(ValueError, match=message):
        load_torch(model.layers, module())
    assert all(torch.equal(value, before[name]) for name, value in model.layers.state_dict().items())


def test_a_cell_that_torch_or_keras_lacks_is_refused_by_name():
    coupled = LSTMModel(LSTMConfig(**SIZES, coupled=True))
    with pytest.raises(ValueError, match="cell is none of torch"):
        load_torch(coupled.layers, nn.LSTM(4, 3))
    with pytest.raises(ValueError, match="torch has no module for this cell with the gates"):
        to_torch(GRUModel(GRUConfig(**SIZES, reset="before")).layers)
    with pytest.raises(ValueError, match="Keras has no layer for this cell with the gates"):
        to_keras(coupled.layers[0])
    with pytest.raises(ValueError, match="Keras has no layer"):
        load_keras(CustomModel(CustomConfig(**SIZES)).layers[0], [np.zeros((4, 6)), np.zeros((3, 6))])


def test_a_parametrized_weight_is_refused_where_a_copy_would_be_lost():
    model = make(TORCH, "lstm")
    nn.utils.parametrizations.weight_norm(model.layers[0].forward_loop, "weight_hh")
    with pytest.raises(AttributeError, match="weight_hh"):
        load_torch(model.layers, nn.LSTM(4, 3))


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def keras_lstm(x, h, c, kernel, recurrent, bias):
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def keras_gru(x, h, c, kernel, recurrent, bias):
    reset_after = np.ndim(bias) == 2
    bias, recurrent_bias = bias if reset_after else (bias, 0.0)
    x_z, x_r, x_h = np.split(x @ kernel + bias, 3, axis=-1)
    if reset_after:
        h_z, h_r, h_h = np.split(h @ recurrent + recurrent_bias, 3, axis=-1)
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        candidate = np.tanh(x_h + r * h_h)
    else:
        u_z, u_r, u_h = np.split(recurrent, 3, axis=-1)
        z, r = sigmoid(x_z + h @ u_z), sigmoid(x_r + h @ u_r)
        candidate = np.tanh(x_h + (r * h) @ u_h)
    return z * h + (1 - z) * candidate, c


def keras_rnn(activation):
    return lambda x, h, c, kernel, recurrent, bias: (activation(x @ kernel + bias + h @ recurrent), c)


# The equations of keras/src/layers/rnn/{lstm,gru,simple_rnn}.py, so that they are met without Keras too.
EQUATIONS = {
    "lstm": keras_lstm,
    "gru_after": keras_gru,
    "gru_before": keras_gru,
    "rnn_tanh": keras_rnn(np.tanh),
    "rnn_relu": keras_rnn(lambda values: np.maximum(values, 0)),
    "rnn_sigmoid": keras_rnn(sigmoid),
}


def run_keras_equations(name, values, weights):
    """One direction, or two side by side."""
    outputs = []
    for k in range(0, len(weights), 3):
        steps = values[:, ::-1] if k else values
        h = c = np.zeros((len(values), 3))
        shown = []
        for x in steps.transpose(1, 0, 2):
            h, c = EQUATIONS[name](x, h, c, *weights[k : k + 3])
            shown.append(h)
        outputs.append(np.stack(shown[::-1] if k else shown, axis=1))
    return np.concatenate(outputs, axis=-1)


def keras_weights(name, directions):
    """Random arrays as `get_weights()` returns them."""
    rng = np.random.default_rng(0)
    rows = 3 * {"lstm": 4, "gru_after": 3, "gru_before": 3}.get(name, 1)
    bias = (2, rows) if name == "gru_after" else (rows,)
    return [rng.uniform(-0.6, 0.6, shape) for _ in range(directions) for shape in ((4, rows), (3, rows), bias)]


@for_each("bidirectional", [False, True])
@for_each("name", KERAS)
def test_a_layer_answers_by_the_equations_of_keras_and_gives_its_weights_back(name, bidirectional):
    weights = keras_weights(name, 1 + bidirectional)
    for array in weights:
        array.flags.writeable = False  # as some of Keras's backends return them
    model = make(KERAS, name, bidirectional=bidirectional).double()
    load_keras(model.layers[0], weights)
    values = inputs(dtype=torch.float64)
    output = model(inputs_embeds=values).last_hidden_state.detach().numpy()
    expected = run_keras_equations(name, values.numpy(), weights)
    assert_same(output, expected, 1e-12)

    returned = to_keras(model.layers[0])
    assert [array.shape for array in returned] == [array.shape for array in weights]
    assert_same(run_keras_equations(name, values.numpy(), returned), expected, 1e-12)
    before = snapshot(shake(model).layers)
    load_keras(model.layers[0], to_keras(model.layers[0]))
    assert all(torch.equal(value, before[key]) for key, value in model.layers.state_dict().items())


def test_a_keras_layer_without_bias_has_zeros():
    model = shake(make(KERAS, "gru_after")).double()
    kernel, recurrent, bias = keras_weights("gru_after", 1)
    load_keras(model.layers[0], [kernel, recurrent])
    loop = model.layers[0].forward_loop
    assert not loop.bias.any() and not loop.bias_hh.any() and loop.weight_ih.any()
    assert np.array_equal(to_keras(model.layers[0])[0], kernel)


def test_bfloat16_weights_reach_keras_as_float32():
    weights = to_keras(make(KERAS, "lstm").bfloat16().layers[0])
    assert {array.dtype for array in weights} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("name", "other", "directions", "message"),
    [
        ("gru_after", "gru_before", 1, 'reset="after" for reset_after=True'),
        ("gru_before", "gru_after", 1, r"\(2, 9\).*\"before\" for False"),
        ("lstm", "gru_after", 1, r"shapes \[\(4, 9\).*needs \[\(4, 12\), \(3, 12\), \(12,\)\]"),
        ("lstm", "lstm", 2, r"6 arrays for 1 direction\(s\)"),
    ],
)
def test_keras_weights_that_do_not_fit_are_refused(name, other, directions, message):
    with pytest.raises(ValueError, match=message):
        load_keras(make(KERAS, name).layers[0], keras_weights(other, directions))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", KERAS)
def test_keras_itself_gives_the_same_answers_in_both_directions(name, bidirectional):
    layers = pytest.importorskip("keras").layers
    *_, class_name, options = KERAS[name]
    layer = getattr(layers, class_name)(3, return_sequences=True, **options)
    layer = layers.Bidirectional(layer) if bidirectional else layer
    model = shake(make(KERAS, name, bidirectional=bidirectional))
    ours = model(inputs_embeds=inputs()).last_hidden_state.detach().numpy()
    layer.build((None, None, 4))
    layer.set_weights(to_keras(model.layers[0]))
    assert_same(layer(inputs().numpy()), ours)

    layer.set_weights([np.random.default_rng(1).uniform(-0.6, 0.6, w.shape) for w in layer.get_weights()])
    load_keras(model.layers[0], layer.get_weights())
    ours = model(inputs_embeds=inputs()).last_hidden_state.detach().numpy()
    assert_same(layer(inputs().numpy()), ours)
