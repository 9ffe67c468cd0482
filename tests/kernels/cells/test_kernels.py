"""What the kernels are made of: symbols and their derivatives, vectors, printing, and the cache on disk."""

import logging
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from numba import njit

from hfseq.kernels.cells import modules, simd, symbols
from hfseq.models.recurrent.cells import TORCH, Cell
from tests.closeness import assert_same
from tests.models.recurrent.loops import (
    BATCHES,
    HIDDEN,
    ROUTES,
    TOLERANCES,
    assert_close,
    make_loop,
    run,
)
from tests.rounds import for_each

# Symbols

SHAPES = {
    "sigmoid": lambda ops, a, b, number: ops.sigmoid(a),
    "tanh": lambda ops, a, b, number: ops.tanh(a),
    "relu": lambda ops, a, b, number: ops.relu(a),
    "exp": lambda ops, a, b, number: ops.exp(ops.tanh(a)),
    "rsqrt": lambda ops, a, b, number: ops.rsqrt(a * a + 1.5),
    "mean": lambda ops, a, b, number: ops.mean(a) * b,
    "a + b": lambda ops, a, b, number: a + b,
    "a - b": lambda ops, a, b, number: a - b,
    "a * b": lambda ops, a, b, number: a * b,
    "a / b": lambda ops, a, b, number: a / (b * b + 1),
    "-a": lambda ops, a, b, number: -a,
    "number + a": lambda ops, a, b, number: number + a,
    "a + number": lambda ops, a, b, number: a + number,
    "number - a": lambda ops, a, b, number: number - a,
    "a - number": lambda ops, a, b, number: a - number,
    "number * a": lambda ops, a, b, number: number * a,
    "a * number": lambda ops, a, b, number: a * number,
    "number / a": lambda ops, a, b, number: number / (a * a + 1),
    "a / number": lambda ops, a, b, number: a / (number + 3),
}


def grow(draw, depth):
    """A random expression of three vectors, as a function of (ops, vectors)."""
    if depth == 0:
        index = draw.randrange(3)
        return lambda ops, vectors: vectors[index]
    shape, number = draw.choice([*SHAPES.values()]), draw.choice([0, 1, -1, 2, 0.5])
    a, b = grow(draw, depth - 1), grow(draw, depth - 1)
    return lambda ops, vectors: shape(ops, a(ops, vectors), b(ops, vectors), number)


EVALUATE = vars(TORCH) | {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "where_positive": lambda x, y: torch.where(x > 0, y, torch.zeros_like(y)),
}


def evaluate(outputs, values):
    """The numbers of these nodes; `values` holds those of the inputs."""
    found = dict(values)
    for node in symbols.in_order(outputs):
        if node.operation == "number":
            found[node] = torch.tensor(node.number, dtype=torch.float64)
        elif node not in found:
            found[node] = EVALUATE[node.operation](*(found[operand] for operand in node.operands))
    return [found[node] for node in outputs]


def assert_derivative(expression, seed):
    """Value and gradients of an expression, by symbols and by autograd."""
    graph = symbols.Graph()
    inputs = [graph.input(name) for name in ("x", "y", "z")]
    incoming = graph.input("d")
    torch.manual_seed(seed)
    vectors = [torch.randn(4, 5, dtype=torch.float64, requires_grad=True) for _ in inputs]
    gradient = torch.randn(4, 5, dtype=torch.float64)
    expected = expression(TORCH, vectors) + torch.zeros(4, 5)
    expected_gradients = torch.autograd.grad(expected, vectors, gradient, materialize_grads=True, allow_unused=True)
    output = graph.add(expression(graph, inputs), 0.0)
    outputs = [output, *symbols.differentiate([output], [incoming], inputs)]
    results = evaluate(outputs, {incoming: gradient, **dict(zip(inputs, (v.detach() for v in vectors), strict=True))})
    for result, reference in zip(results, (expected, *expected_gradients), strict=True):
        assert_same(result.expand(4, 5), reference, 1e-9)
    return {node.operation for node in symbols.in_order(outputs)}


@for_each("shape", SHAPES)
def test_each_operation_is_differentiated_as_autograd_does(shape):
    for number in (0, 1, -1, 2, 0.5):
        assert_derivative(lambda ops, v, number=number: SHAPES[shape](ops, v[0], v[1], number), seed=0)


def test_random_expressions_are_differentiated_as_autograd_does():
    met = set()
    for seed in range(200):
        met |= assert_derivative(grow(random.Random(seed), depth=1 + seed % 5), seed)
    assert met >= symbols._CHAIN_RULE.keys() | {"where_positive"}


@for_each("operation", sorted(symbols._CHAIN_RULE))
def test_a_wrong_chain_rule_is_seen(operation, monkeypatch):
    right = symbols._CHAIN_RULE[operation]
    monkeypatch.setitem(symbols._CHAIN_RULE, operation, lambda y, d: [part * 1.001 for part in right(y, d)])
    with pytest.raises(AssertionError):
        for seed in range(200):
            assert_derivative(grow(random.Random(seed), depth=1 + seed % 5), seed)


def test_equal_expressions_are_one_node_and_numbers_are_folded():
    graph = symbols.Graph()
    x, y = graph.input("x"), graph.input("y")
    assert graph.sigmoid(x * y) is graph.sigmoid(x * y)
    assert x * 1 is x and 0 + x is x and x - 0 is x and (x * 0).number == 0 and (graph.add(2, 3) * 2.0).number == 10
    with pytest.raises(TypeError, match="not None"):
        x + None


# Vectors


def apply(name, values):
    """A function of `simd.py` on numbers: whole vectors, then one by one."""
    dtype = str(values.dtype).removeprefix("torch.")
    operation, store, lanes = getattr(simd, name), simd.store, simd.native_lanes(dtype)
    load_v, _, _ = simd.memory(dtype, lanes)
    load_1, _, _ = simd.memory(dtype, 1)

    @njit
    def loop(source, target, count):
        full = count - count % lanes
        for j in range(0, full, lanes):
            store(operation(load_v(source, j)), target, j)
        for j in range(full, count):
            store(operation(load_1(source, j)), target, j)

    result = torch.empty_like(values)
    loop(values.data_ptr(), result.data_ptr(), len(values))
    return result


@for_each(
    ("name", "dtype", "absolute", "relative"),
    [
        ("sigmoid", torch.float32, 2e-7, 0),
        ("tanh", torch.float32, 3e-7, 0),
        ("exp", torch.float32, 0, 4e-6),  # at 88; the error of x / ln 2 grows with x
        ("rsqrt", torch.float32, 0, 2e-7),
        ("sigmoid", torch.float64, 1e-15, 0),
        ("tanh", torch.float64, 1e-15, 0),
        ("exp", torch.float64, 0, 1e-15),
        ("rsqrt", torch.float64, 0, 1e-15),
    ],
)
def test_functions_of_vectors_are_accurate(name, dtype, absolute, relative):
    values = torch.linspace(-100, 100, 200_003, dtype=dtype)
    if name == "exp":
        values = values[(values > -87) & (values < 88)]
    if name == "rsqrt":
        values = values[values > 0]
    expected = getattr(torch, name)(values.double())
    error = (apply(name, values).double() - expected).abs()
    assert (error <= absolute + relative * expected.abs()).all(), error.max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_of_vectors_at_the_ends(dtype):
    infinity, nan = float("inf"), float("nan")
    values = torch.tensor([-infinity, -1000.0, -0.0, 0.0, 1000.0, infinity, nan] * 5, dtype=dtype)
    for name in ("sigmoid", "tanh", "relu"):
        result = apply(name, values)
        assert_same(result, getattr(torch, name)(values), 1e-7, nan=True, what=name)
    exponential = apply("exp", values)
    assert (exponential[:2] == 0).all() and exponential[4:6].isinf().all() and exponential[6].isnan()
    assert exponential[2] == exponential[3] == 1


# Printing


def every_thing(ops, gates, states, params):
    """All kinds of gates, states and operations, and means of means."""
    (a, (x, u), late), (h, c), (p, q), (r,) = gates, states, params["two"], params["one"]
    scale = ops.rsqrt(ops.mean(a * a) + 1e-2)
    centred = u - ops.mean(u * scale)
    gate = ops.sigmoid(a * scale * p + x)
    n = ops.tanh(late(gate * h + 0.1 * ops.relu(c)))
    c = (1 - gate) * c / (1.0 + ops.exp(-c * c)) + gate * n * q
    spread = ops.mean((c - ops.mean(c)) * centred)
    return h - r * (n - ops.tanh(c) * spread), 2 / (1.5 + c * c) - 0.5 * c


@for_each("kind", BATCHES)
def test_an_equation_of_every_thing_gives_the_same_as_kernels(kind, every_cell):
    batch = BATCHES[kind]
    loop = make_loop(every_cell, backward=batch.backward)
    exact = run(ROUTES["reference"], loop, batch)
    assert_close(run(ROUTES["fused"], loop, batch), exact, TOLERANCES[torch.float64])


@pytest.fixture(scope="module")
def every_cell():
    return Cell(
        every_thing,
        gates=("a", "x", "late"),
        states=("h", "c"),
        split=("x",),
        late="late",
        params={"two": (1.0, 1.0), "one": (0.5,)},
    )


# The cache


def no_machine_code(folder):
    """The settings of a process that finds nothing compiled: elsewhere the tests keep it between sessions."""
    return {"HF_ASSETS_CACHE": str(folder), "NUMBA_CACHE_DIR": str(folder / "numba")}


@pytest.mark.slow
def test_another_process_finds_the_machine_code_on_disk(run_python, tmp_path):
    code = f"""
        import torch
        from hfseq import CELLS
        from hfseq.kernels.cells import printer
        from hfseq.models.recurrent.loop import RecurrentLoop
        from hfseq.models.token_order import TokenOrder
        cell = CELLS["rnn_tanh"]
        loop = RecurrentLoop(cell, input_size=2, hidden_size={HIDDEN})
        loop(torch.randn(2, 3, 2), TokenOrder(2, 3, None))
        stats = printer.kernels_for(cell, "float32", {HIDDEN}).forward.stats
        print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
        """
    runs = [run_python(code, **no_machine_code(tmp_path)) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["0", "1"], ["1", "0"]], runs


@pytest.mark.parametrize("error", [PermissionError, ValueError])  # huggingface_hub's word for a file in the way
def test_a_cache_that_cannot_be_written_is_only_slower(error, monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise error("the disk is read-only")

    monkeypatch.setattr(modules, "cached_assets_path", refuse)
    modules._folder.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            module = modules.import_source(f"value = 42  # {error.__name__}")
        assert module.value == 42
        assert "compiled anew in each process" in caplog.text and "read-only" in caplog.text
    finally:
        modules._folder.cache_clear()


# The width of the vectors

WIDTH = """
from hfseq.kernels.cells import simd
from hfseq.kernels.words import engine
loop = engine.compiled_loop(100, 32, cbow=False, ngrams=False, hierarchical=False, exact=False)
print(simd.register_bits(), simd.native_lanes("float32"), simd.native_lanes("float64"), loop.__module__)
"""


@pytest.mark.slow  # `make test-cpus` runs whole test files at fewer bits
def test_fewer_bits_than_the_cpu_has_give_machine_code_of_their_own(run_python):
    widest = int(run_python(WIDTH, HFSEQ_SIMD_BITS="").stdout.split()[0])
    widths = [bits for bits in (128, 256, 512) if bits <= widest]
    found = [run_python(WIDTH, HFSEQ_SIMD_BITS=str(bits)).stdout.split() for bits in widths]
    assert [[int(number) for number in line[:3]] for line in found] == [[b, b // 32, b // 64] for b in widths]
    assert len({line[3] for line in found}) == len(widths)  # the loops of word2vec are the same text for each


@pytest.mark.parametrize(
    ("asked", "allowed"), [("64", "128, 256"), ("wide", "128, 256"), ("256.0", "128, 256"), ("512", "128, 256")]
)
def test_bits_that_this_cpu_lacks_are_refused(asked, allowed, monkeypatch):
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: {"avx2": True})
    monkeypatch.setenv("HFSEQ_SIMD_BITS", asked)
    with pytest.raises(ValueError, match=f"HFSEQ_SIMD_BITS='{asked}' .* on this CPU: unset it, or take {allowed}"):
        simd.register_bits.__wrapped__()


@pytest.mark.slow
def test_a_model_says_so_too_and_does_not_fall_back_to_torch(run_python):
    code = """
    import hfseq, torch
    hfseq.LSTMModel(hfseq.LSTMConfig(vocab_size=9))(torch.tensor([[1, 2]]))
    """
    assert "ValueError: HFSEQ_SIMD_BITS='1' is no width" in run_python(code, HFSEQ_SIMD_BITS="1").stderr


def test_threads_that_ask_at_once_get_one_whole_module(run_python, tmp_path):
    """A slow module: whoever comes while it runs must wait, not take what is there so far."""
    done = run_python(
        """
        import threading
        from hfseq.kernels.cells import modules

        SOURCE = "import time\\ntime.sleep(0.2)\\nvalue = object()"
        start, found = threading.Barrier(8), []

        def ask():
            start.wait()
            found.append(modules.import_source(SOURCE).value)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(found), len({id(value) for value in found}))
        """,
        **no_machine_code(tmp_path),
    )
    assert done.stdout.split() == ["8", "1"], done.stderr


FIRST_CALLS = """
import threading
import torch
import hfseq

torch.set_num_threads(1)
torch.manual_seed(0)
config = hfseq.LSTMConfig(vocab_size=20, hidden_size=16, hidden_dropout=0.0, classifier_dropout=0.0)
model = hfseq.LSTMForSequenceClassification(config)
ids, start, found = torch.arange(1, 13).view(2, 6), threading.Barrier(8), []

def call():
    start.wait()
    outputs = model(ids, labels=torch.tensor([0, 1]))
    outputs.loss.backward()
    found.append(outputs.logits.detach())

threads = [threading.Thread(target=call) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), all(torch.equal(logits, found[0]) for logits in found), *found[0].flatten().double().tolist())
"""


@pytest.mark.slow
def test_the_first_calls_of_eight_threads_in_two_processes_agree(run_python, tmp_path):
    """Nothing is compiled yet: the processes share an empty cache."""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: run_python(FIRST_CALLS, **no_machine_code(tmp_path)), range(2)))
    first, second = (result.stdout.split() for result in done)
    assert first[:2] == ["8", "True"], done[0].stderr
    assert first == second, done[1].stderr


def test_a_module_that_fails_is_tried_again(monkeypatch, tmp_path):
    monkeypatch.setattr(modules, "cached_assets_path", lambda *args, **kwargs: tmp_path)
    modules._folder.cache_clear()
    source = f"from pathlib import Path\nvalue = Path({str(tmp_path / 'later')!r}).read_text()"
    try:
        with pytest.raises(FileNotFoundError):
            modules.import_source(source)
        (tmp_path / "later").write_text("there", encoding="utf-8")
        assert modules.import_source(source).value == "there"
    finally:
        modules._folder.cache_clear()
