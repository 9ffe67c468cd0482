"""What people do to any torch module works on the recurrent ones: by the fused loop, or by another one, silently."""

import copy
import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parametrizations, parametrize

from hfseq import (
    FAMILIES,
    CustomConfig,
    CustomForSequenceClassification,
    GRUConfig,
    GRUForSequenceClassification,
    LSTMConfig,
    LSTMForSequenceClassification,
    RNNConfig,
    RNNForSequenceClassification,
    register_cell,
)
from tests.closeness import assert_same
from tests.rounds import for_each

SIZES = {"vocab_size": 12, "embedding_size": 4, "hidden_size": 8, "num_hidden_layers": 2, "num_labels": 3}
NO_DROPOUT = {"hidden_dropout": 0.0, "classifier_dropout": 0.0}
WIDE = {"initializer_range": 1.0}  # a norm of short or narrow vectors magnifies the rounding, which proves nothing
MODELS = {
    "lstm": (LSTMForSequenceClassification, LSTMConfig, {}),
    "gru": (GRUForSequenceClassification, GRUConfig, {}),
    "rnn": (RNNForSequenceClassification, RNNConfig, {}),
    "lstm_peephole": (LSTMForSequenceClassification, LSTMConfig, {"peephole": True}),
    "lstm_layer_norm": (LSTMForSequenceClassification, LSTMConfig, {"layer_norm": True, "hidden_size": 32}),
    "lstm_blocks": (LSTMForSequenceClassification, LSTMConfig, {"block_size": 4}),
    "gru_reset_before": (GRUForSequenceClassification, GRUConfig, {"reset": "before"}),
    "custom": (CustomForSequenceClassification, CustomConfig, {}),
}
IN_TORCH = ("lstm", "gru", "rnn")

every_cell = for_each("name", MODELS)
one_of_each_kind = for_each("name", ["lstm", "lstm_peephole"])  # torch has it, torch lacks it


def make(name, **options):
    """A small classifier, the same one every time; both directions unless told otherwise."""
    torch.manual_seed(0)
    model_class, config_class, own = MODELS[name]
    return model_class(config_class(**{"bidirectional": True, **SIZES, **NO_DROPOUT, **WIDE, **own, **options})).eval()


def batch(rows=3, steps=7):
    """Padded texts: each is two tokens shorter than the one before it."""
    lengths = (steps - 2 * torch.arange(rows)).clamp(min=1)
    mask = (torch.arange(steps) < lengths[:, None]).long()
    ids = torch.randint(1, 12, (rows, steps), generator=torch.Generator().manual_seed(rows * steps))
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": torch.arange(rows) % 3}


def texts(*shape):
    """A batch without labels."""
    return {name: value for name, value in batch(*shape).items() if name != "labels"}


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def train(model, inputs=None, call=None):
    """Logits and gradients of one step."""
    model.zero_grad()
    outputs = (model if call is None else call)(**(batch() if inputs is None else inputs))
    outputs.loss.backward()
    return outputs.logits.detach(), gradients(model)


@pytest.mark.parametrize(
    ("name", "backend"), [("lstm", "eager"), pytest.param("gru_reset_before", "aot_eager", marks=pytest.mark.slow)]
)
def test_a_compiled_model_trains_as_the_plain_one_at_every_length(name, backend, recwarn):
    torch.compiler.reset()
    model = make(name, num_hidden_layers=1, bidirectional=False)
    compiled = torch.compile(model, backend=backend)
    for shape in ((3, 7), (4, 9)):
        assert_same(train(model, batch(*shape), compiled), train(model, batch(*shape)))
    assert not [str(warning.message) for warning in recwarn if issubclass(warning.category, UserWarning)]


@every_cell
def test_a_step_under_autocast_is_near_the_full_one_and_leaves_float32_gradients(name):
    model = make(name)
    expected = train(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, grads = train(model)
    assert_same((logits, grads), expected, 0.1)  # where the CPU has them, products are in bfloat16
    assert {grad.dtype for grad in grads.values()} == {torch.float32}


@every_cell
def test_autocast_takes_bfloat16_vectors(name):
    model, vectors = make(name), torch.randn(3, 7, 4)
    expected = model(inputs_embeds=vectors, attention_mask=batch()["attention_mask"]).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(inputs_embeds=vectors.bfloat16(), attention_mask=batch()["attention_mask"]).logits
    assert_same(logits, expected, 0.05)


@every_cell
@for_each(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_another_dtype_gives_the_same_step_to_its_precision(name, dtype, tolerance):
    model = make(name)
    expected = train(model)
    logits, grads = train(model.to(dtype))
    assert_same((logits, grads), expected, tolerance)
    assert {grad.dtype for grad in grads.values()} == {dtype}


EXPORTED = {
    (name, both): () if (name, both) in (("lstm", True), ("lstm_peephole", False)) else pytest.mark.slow
    for name in (*IN_TORCH, "lstm_peephole")
    for both in (False, True)
}


@pytest.mark.parametrize(
    ("name", "bidirectional"), [pytest.param(*case, marks=mark) for case, mark in EXPORTED.items()]
)
def test_an_exported_program_answers_as_the_model_for_any_number_of_padded_texts(name, bidirectional):
    model = make(name, bidirectional=bidirectional)
    rows = {0: Dim("rows", max=64)}
    shapes = {"input_ids": rows, "attention_mask": rows}
    program = torch.export.export(model, (), texts(3, 7), dynamic_shapes=shapes, strict=False).module()
    for count in (1, 3, 5):
        assert_same(program(**texts(count, 7)).logits, model(**texts(count, 7)).logits)


@pytest.mark.parametrize("family", ["lstm", "transformer", "hmm"])
def test_a_graph_returns_no_cache_unless_it_is_asked_for(family):
    """No graph can hold one; a plain call returns it."""
    torch.manual_seed(0)
    model = FAMILIES[family].heads["text-generation"](FAMILIES[family].config(vocab_size=12)).eval()
    given = {"input_ids": texts(2, 7)["input_ids"].clamp(max=11)}
    assert model(**given).cache is not None
    program = torch.export.export(model, (), given, strict=False).module()
    assert_same(program(**given).logits, model(**given).logits)
    assert program(**given).past_key_values is None


@pytest.mark.slow
@one_of_each_kind
def test_onnxruntime_answers_as_the_model_for_any_number_of_padded_texts(name, tmp_path):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    model = make(name)
    rows = {0: Dim("rows", max=64)}
    names = {"input_names": ["input_ids", "attention_mask"], "output_names": ["logits"]}
    shapes = {"input_ids": rows, "attention_mask": rows}
    exported = torch.onnx.export(
        model, (), kwargs=texts(3, 7), dynamic_shapes=shapes, dynamo=True, verbose=False, **names
    )
    exported.save(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for count in (1, 3, 5):
        inputs = {key: value.numpy() for key, value in texts(count, 7).items()}
        (logits,) = session.run(["logits"], inputs)
        assert_same(torch.tensor(logits), model(**texts(count, 7)).logits)


class Logits(nn.Module):
    """Tensors in, a tensor out, as `torch.jit.trace` wants it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", [*IN_TORCH, "lstm_peephole"])
def test_a_traced_model_answers_other_batches_and_where_torch_has_the_cell_other_lengths(name):
    model = make(name)
    traced = torch.jit.trace(Logits(model), tuple(texts(3, 7).values()))
    for shape in ((3, 7), (5, 7), (1, 7), *(((5, 9), (2, 3)) if name in IN_TORCH else ())):
        assert_same(traced(**texts(*shape)), model(**texts(*shape)).logits)


@every_cell
def test_copies_and_pickles_train_as_the_original_and_share_its_kernels(name):
    model = make(name)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)]
    expected = train(model)
    for other in copies:
        assert_same(train(other), expected, 0.0)
        assert other.model.layers[0].forward_loop.cell is model.model.layers[0].forward_loop.cell


@every_cell
def test_a_model_on_the_meta_device_has_shapes_and_can_be_filled(name, tmp_path):
    model = make(name)
    with torch.device("meta"):
        empty = make(name)
    outputs = empty(**{key: value.to("meta") for key, value in texts().items()})
    assert outputs.logits.shape == (3, 3) and outputs.logits.is_meta
    empty.to_empty(device="cpu").load_state_dict(model.state_dict())
    assert_same(train(empty), train(model), 0.0)

    model.save_pretrained(tmp_path)
    for options in ({"device_map": "cpu"}, {"low_cpu_mem_usage": True}):
        assert_same(train(type(model).from_pretrained(tmp_path, **options)), train(model))


@for_each("use_reentrant", [False, True])
@every_cell
def test_gradient_checkpointing_changes_no_gradient(name, use_reentrant):
    model = make(name).train()
    expected = train(model)
    model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    assert_same(train(model), expected, 1e-5)


class Halved(nn.Module):
    def forward(self, weight):
        return 0.5 * weight


@pytest.mark.parametrize(
    "change",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        lambda loop, name: parametrize.register_parametrization(loop, name, Halved()),
    ],
)
@one_of_each_kind
def test_a_loop_uses_the_parametrized_weight_and_trains_what_is_behind_it(name, change):
    model, plain = make(name), make(name)
    loop = model.model.layers[0].forward_loop
    change(loop, "weight_hh")
    loop.eval()  # spectral norm moves in training
    plain.model.layers[0].forward_loop.weight_hh.data = loop.weight_hh.detach().clone()
    logits, grads = train(model)
    assert_same(logits, train(plain)[0])
    behind = [grad for key, grad in grads.items() if "parametrizations" in key]
    assert behind and all(grad.any() for grad in behind)


@every_cell
def test_a_second_backward_pass_gives_the_same_gradients(name):
    model = make(name)
    loss = model(**batch()).loss
    loss.backward(retain_graph=True)
    first = gradients(model)
    model.zero_grad()
    loss.backward()
    assert all(torch.equal(grad, first[key]) for key, grad in gradients(model).items())


@for_each("bidirectional", [False, True])
@for_each("masked", [False, True])
@every_cell
def test_outputs_changed_in_place_give_the_right_gradients(name, masked, bidirectional):
    model = make(name, num_hidden_layers=1, bidirectional=bidirectional).model
    inputs = texts() if masked else {"input_ids": texts()["input_ids"].clamp(min=1)}
    found = []
    for change in (lambda outputs: outputs * 0.5, lambda outputs: outputs.mul_(0.5)):
        model.zero_grad()
        change(model(**inputs).last_hidden_state).square().sum().backward()
        found.append(gradients(model))
    assert all(torch.equal(grad, found[1][key]) for key, grad in found[0].items())


@one_of_each_kind
def test_weights_changed_between_the_passes_are_noticed(name):
    model = make(name)
    loss = model(**batch()).loss
    with torch.no_grad():
        model.model.layers[0].forward_loop.weight_hh.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@every_cell
def test_modes_without_gradients_give_the_same_answer_and_leave_training_as_it_was(name):
    model = make(name)
    expected = train(model)
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert_same(model(**batch()).logits, expected[0])
    assert_same(train(model), expected, 0.0)


@one_of_each_kind
def test_the_model_can_be_called_with_other_weights(name):
    model = make(name)
    others = {key: value.detach().clone().requires_grad_() for key, value in model.named_parameters()}
    outputs = functional_call(model, others, (), batch())
    outputs.loss.backward()
    found = outputs.logits.detach(), {key: value.grad for key, value in others.items()}
    assert_same(found, train(model), 0.0)


@one_of_each_kind
def test_torch_func_differentiates_and_maps_the_model(name):
    model = make(name)
    weights = {key: value.detach() for key, value in model.named_parameters()}
    logits, expected = train(model)
    found = grad(lambda given: functional_call(model, given, (), batch()).loss)(weights)
    assert_same((logits, found), (logits, expected))

    def one_text(vectors, mask):
        return model(inputs_embeds=vectors[None], attention_mask=mask[None]).logits[0]

    vectors = model.model.embed_tokens(batch()["input_ids"])
    assert_same(vmap(one_text)(vectors, batch()["attention_mask"]), logits)


@one_of_each_kind
def test_gradients_of_gradients_are_refused_in_words(name):
    model = make(name)
    weight = model.model.layers[0].forward_loop.weight_hh
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(model(**batch()).loss, weight, create_graph=True)
    # Where the incoming gradient is a constant, torch would answer with a constant too, and nobody would notice.
    embeds = torch.randn(2, 3, model.config.embedding_size, requires_grad=True)
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(model.model(inputs_embeds=embeds).last_hidden_state.sum(), embeds, create_graph=True)


@every_cell
def test_two_threads_at_once_get_their_own_answers(name):
    model = make(name, hidden_size=32)
    inputs = [batch(8, 20), batch(6, 23)]
    parameters = list(model.parameters())

    def step(number):
        outputs = model(**inputs[number])
        return [outputs.logits.detach(), *torch.autograd.grad(outputs.loss, parameters)]

    expected = [step(0), step(1)]
    with ThreadPoolExecutor(2) as pool:
        for number, found in zip([0, 1] * 8, pool.map(step, [0, 1] * 8), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(found, expected[number], strict=True))


def test_threads_that_meet_a_new_cell_together_compile_it_once_and_agree():
    @register_cell("threaded", gates=("f", "g"))
    def threaded(ops, gates, states, params):
        (f, g), (h,) = gates, states
        return (ops.sigmoid(f) * h + 0.37 * ops.tanh(g),)

    model = CustomForSequenceClassification(CustomConfig(**SIZES, cell="threaded")).eval()
    together = threading.Barrier(4)

    def answer(_):
        together.wait()
        return model(**texts()).logits.detach()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, range(4)))
    assert all(torch.equal(each, model(**texts()).logits) for each in answers)


def half_of_a_step(rank, folder):
    """What one of two processes does: its half of the batch, and a step of DistributedDataParallel."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name in ("lstm", "lstm_peephole"):
        model = nn.parallel.DistributedDataParallel(make(name))
        _, grads = train(model, {key: value[2 * rank : 2 * rank + 2] for key, value in batch(4, 7).items()})
        torch.save(grads, f"{folder}/{name}-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_reach_the_gradients_of_one(tmp_path):
    torch.multiprocessing.spawn(half_of_a_step, (str(tmp_path),), nprocs=2)
    for name in ("lstm", "lstm_peephole"):
        model = make(name)
        _, expected = train(model, batch(4, 7))
        assert len(expected) == len(list(model.parameters()))
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{name}-{rank}.pt")
            assert_same({key: found[f"module.{key}"] for key in expected}, expected)
