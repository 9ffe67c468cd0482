"""What does not fit a loop is refused before any kernel sees its address, and copies stay what they are."""

import copy
import os
import sys

import pytest
import torch
from torch._subclasses import FakeTensorMode

import hfseq
from hfseq.kernels.cells import modules
from hfseq.models.recurrent.cells import CELLS, Cell, register_cell
from hfseq.models.recurrent.loop import RecurrentLoop
from hfseq.models.token_order import TokenOrder
from tests.closeness import assert_same, difference
from tests.rounds import for_each

ROUTES = ["fused", "without_kernels"]


@pytest.fixture(params=ROUTES)
def route(request, monkeypatch):
    if request.param == "without_kernels":
        monkeypatch.setattr("hfseq.models.recurrent.fused.kernels", lambda: None)
    return request.param


def make(name="lstm", hidden_size=8):
    return RecurrentLoop(CELLS[name], input_size=6, hidden_size=hidden_size)


@for_each("gradients", [True, False])
@for_each("steps", [1, 3])
@for_each(
    "states", [(torch.zeros(1, 8),) * 2, (torch.zeros(4, 16),) * 2, (torch.zeros(4, 2),) * 2, (torch.zeros(4, 8),)]
)
def test_the_state_of_another_batch_or_model_is_refused(route, states, steps, gradients):
    with torch.set_grad_enabled(gradients), pytest.raises(ValueError, match="it comes from another model"):
        make()(torch.randn(4, steps, 6), TokenOrder(4, steps, None), states)


@for_each("shape", [(4, 3, 5), (4, 3, 4096), (4, 2, 6), (3, 3, 6), (0, 3, 6)])
def test_inputs_of_another_shape_are_refused(route, shape):
    with torch.no_grad(), pytest.raises(ValueError, match="inputs of shape"):
        make()(torch.randn(*shape), TokenOrder(shape[0] and 4, 3, None))


def test_a_cache_of_attention_is_refused():
    model = hfseq.LSTMModel(hfseq.LSTMConfig(vocab_size=9, hidden_size=8))
    from transformers import DynamicCache

    cache = DynamicCache()
    cache.update(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4), 0)
    with pytest.raises(ValueError, match="another kind of model"):
        model(torch.ones(2, 3, dtype=torch.long), past_key_values=cache)


def test_tensors_without_memory_never_reach_a_kernel():
    loop, order = make(), TokenOrder(4, 3, None)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert loop(mode.from_tensor(torch.randn(4, 3, 6)), order)[0].shape == (4, 3, 8)


def test_the_answer_of_one_step_is_not_the_state_itself():
    loop = make()
    with torch.no_grad():
        output, (h, _) = loop(torch.randn(2, 1, 6), TokenOrder(2, 1, None), loop.start(torch.zeros(2, 1, 6)))
        before = h.clone()
        output.zero_()
    assert torch.equal(h, before) and h.any()


@torch.no_grad()
def in_place(loop):
    loop.weight_hh.mul_(1.5)
    loop.weight_ih.add_(0.1)


def behind_the_version_counter(loop):
    loop.weight_ih.data.mul_(0.5)


def loaded(loop):
    loop.load_state_dict(make().state_dict())


def replaced(loop):
    loop.weight_ih = torch.nn.Parameter(torch.randn_like(loop.weight_ih))


def there_and_back(loop):
    loop.train().double().weight_hh.data.add_(0.2)
    loop.eval().float()


@pytest.mark.parametrize("change", [in_place, behind_the_version_counter, loaded, replaced, there_and_back])
def test_one_step_sees_every_change_of_the_weights(change):
    loop, inputs, order = make(), torch.randn(2, 1, 6), TokenOrder(2, 1, None)
    with torch.no_grad():
        states = tuple(torch.randn(2, 2, 8))
        before = loop(inputs, order, states)[0]
    change(loop)
    with torch.no_grad():
        after = loop(inputs, order, states)[0]
        expected = loop._reference(inputs, order, states, loop.weights())[0]
    assert_same(after, expected)
    assert difference(after, before) > 1e-3


def test_a_copy_keeps_its_cell_when_the_name_means_another_one_since(monkeypatch):
    monkeypatch.setattr("hfseq.models.recurrent.cells.CELLS", dict(CELLS))
    register_cell("mine", gates=("n",))(lambda ops, gates, states, params: (ops.tanh(gates[0]),))
    loop = RecurrentLoop(hfseq.models.recurrent.cells.find_cell("mine"), input_size=6, hidden_size=8)
    register_cell("mine", gates=("n",))(lambda ops, gates, states, params: (ops.relu(gates[0]),))
    inputs = torch.randn(2, 3, 6)
    assert torch.equal(copy.deepcopy(loop)(inputs, TokenOrder(2, 3, None))[0], loop(inputs, TokenOrder(2, 3, None))[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gates": ("f", "f")}, "each once"),
        ({"gates": ("f",), "states": ("c", "h")}, "must begin with 'h'"),
        ({"gates": ("f",), "params": {"scale": 0.5}}, "must be a tuple of initial values"),
        ({"gates": ("f",), "split": ("f",), "block_size": 2}, "cannot be shared"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Cell(lambda ops, gates, states, params: states, **options)


@pytest.mark.parametrize("name", ["tampered", "cut short"])
def test_a_cached_module_that_is_not_what_was_printed_is_written_anew(name, tmp_path, monkeypatch):
    monkeypatch.setattr(modules, "_folder", lambda: tmp_path)
    source = "VALUE = 1\n"
    first = modules.import_source(source)
    path = tmp_path / f"{first.__name__}.py"
    path.write_text({"tampered": source + "VALUE = 2\n", "cut short": "VAL"}[name], encoding="utf-8")
    monkeypatch.delitem(sys.modules, first.__name__)  # as in the next process
    assert modules.import_source(source).VALUE == 1 and path.read_text(encoding="utf-8") == source


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_a_folder_that_anybody_may_write_to_is_not_run_from(tmp_path):
    modules._check_owner(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="anybody may write"):
        modules._check_owner(tmp_path)


def test_autocast_leaves_float64_alone(monkeypatch):
    monkeypatch.setattr("hfseq.models.recurrent.fused._has_bfloat16", lambda: True)
    loop, inputs, order = make().double(), torch.randn(2, 3, 6, dtype=torch.float64), TokenOrder(2, 3, None)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loop(inputs, order)[0]
    assert_same(inside, loop(inputs, order)[0], 1e-12)
