"""Draws of one's own: the numbers of a seeded global generator, which is neither asked nor changed."""

import threading

import pytest
import torch

from hfseq.generation.fused import fused_generate
from hfseq.registry import FAMILIES
from hfseq.training.draws import _DRAWING, OwnDraws
from tests.rounds import for_each

# An n-gram model and a linear CRF start from nothing that is drawn.
TASKS = [(name, task) for name, family in FAMILIES.items() for task in family.heads if name not in ("ngram", "crf")]
IDS = torch.tensor([[2, 5, 6], [2, 7, 8]])
HALF = torch.full((100,), 0.5)
DRAWS = {
    torch.Tensor.bernoulli: lambda: HALF.bernoulli(),
    torch.Tensor.bernoulli_: lambda: torch.zeros(100).bernoulli_(0.5),
    torch.Tensor.cauchy_: lambda: torch.zeros(100).cauchy_(),
    torch.Tensor.exponential_: lambda: torch.zeros(100).exponential_(),
    torch.Tensor.geometric_: lambda: torch.zeros(100).geometric_(0.5),
    torch.Tensor.log_normal_: lambda: torch.zeros(100).log_normal_(),
    torch.Tensor.multinomial: lambda: HALF.multinomial(50),
    torch.Tensor.normal_: lambda: torch.zeros(100).normal_(),
    torch.Tensor.random_: lambda: torch.zeros(100).random_(),
    torch.Tensor.uniform_: lambda: torch.zeros(100).uniform_(),
    torch.bernoulli: lambda: torch.bernoulli(HALF),
    torch.binomial: lambda: torch.binomial(10 * HALF, HALF),
    torch.multinomial: lambda: torch.multinomial(HALF, 50),
    torch.normal: lambda: torch.normal(0.0, 1.0, (100,)),
    torch.poisson: lambda: torch.poisson(10 * HALF),
    torch.rand: lambda: torch.rand(100),
    torch.rand_like: lambda: torch.rand_like(HALF),
    torch.randint: lambda: torch.randint(9, (100,)),
    torch.randint_like: lambda: torch.randint_like(HALF, 9),
    torch.randn: lambda: torch.randn(100),
    torch.randn_like: lambda: torch.randn_like(HALF),
    torch.randperm: lambda: torch.randperm(100),
}
LIKE = {torch.rand_like, torch.randint_like, torch.randn_like}  # without a generator in an older torch


def make_model(name, task):
    family = FAMILIES[name]
    sizes = {"hmm": {"num_states": 3}, "mixture": {"network": {"hidden_size": 8}}}
    size = sizes.get(name, {"hidden_size": 8})
    if task in ("series-forecasting", "image-captioning"):
        size = {**size, "feature_size": 3}
    if task == "intent-slots":
        size = {**size, "slot_labels": ["O", "B-x"]}
    words = {} if name == "strokes" else {"vocab_size": 20}
    return family.heads[task](family.config(**words, **size))


def sample(model, **options):
    return model.generate(IDS, do_sample=True, max_new_tokens=6, pad_token_id=0, eos_token_id=None, **options)


@pytest.fixture
def same_as_seeded():
    """Function that compares a draw with what the same draw gives after `torch.manual_seed`."""

    def check(draw):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            expected = draw()
        before = torch.get_rng_state()
        with OwnDraws(5):
            found = draw()
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        with OwnDraws(6):
            assert not all(torch.equal(a, b) for a, b in zip(draw(), expected, strict=True))

    return check


def test_each_listed_function_is_drawn_from_below():
    assert DRAWS.keys() - LIKE <= _DRAWING <= DRAWS.keys()


@pytest.mark.parametrize("function", DRAWS, ids=lambda function: function.__qualname__)
def test_single_functions(same_as_seeded, function):
    if function in LIKE and "generator" not in function.__doc__:
        pytest.skip("takes no generator in this torch")
    same_as_seeded(lambda: [DRAWS[function]()])


def test_a_generator_that_is_given_is_the_one_that_draws():
    expected = torch.poisson(10 * HALF, generator=torch.Generator().manual_seed(3))
    with OwnDraws(0):
        by_place = torch.poisson(10 * HALF, torch.Generator().manual_seed(3))
        by_name = torch.poisson(10 * HALF, generator=torch.Generator().manual_seed(3))
    assert torch.equal(by_place, expected) and torch.equal(by_name, expected)


@for_each(("name", "task"), TASKS)
def test_the_first_weights_of_every_model(same_as_seeded, name, task):
    same_as_seeded(lambda: list(make_model(name, task).state_dict().values()))


@pytest.mark.parametrize("name", [name for name, task in TASKS if task == "text-generation"])
def test_sampled_texts(same_as_seeded, name):
    with OwnDraws(0):
        model = make_model(name, "text-generation").eval()
    if name == "mixture":
        model.ngrams.fit([IDS[0].tolist()])
    same_as_seeded(lambda: [sample(model)])


def test_texts_of_the_fused_loop(same_as_seeded):
    with OwnDraws(0):
        model = make_model("lstm", "text-generation").eval()
    same_as_seeded(lambda: [sample(model, custom_generate=fused_generate)])


def test_threads_do_not_meet():
    found = {}

    def draw(seed):
        with OwnDraws(seed):
            found[seed] = torch.cat([torch.rand(2) for _ in range(500)])

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        assert torch.equal(found[seed], torch.cat([torch.rand(2, generator=generator) for _ in range(500)]))
