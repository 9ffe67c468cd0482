"""Each composition against its paper, written by hand; and the batch, level by level, against one tree at a time."""

import pytest
import torch

from hfseq import LSTMConfig, LSTMModel, RecursiveConfig, RecursiveModel
from hfseq.models.recurrent import levels
from hfseq.models.recurrent.compositions import COMPOSITIONS
from tests.closeness import assert_same
from tests.models.recurrent.naive_trees import BY_HAND, naive_states
from tests.models.recurrent.random_trees import NODE, each_text, random_batch
from tests.rounds import for_each

every_composition = for_each("name", COMPOSITIONS)
EXACT = 1e-12  # of float64


@pytest.fixture(params=["fused", "without_kernels"])
def route(request, monkeypatch):
    """Both ways through the levels."""
    if request.param == "without_kernels":
        monkeypatch.setattr(levels, "tree_kernels_for", lambda *tensors: None)
    elif levels.tree_kernels_for(torch.zeros(1)) is None:
        pytest.skip("there are no kernels here")
    return request.param


def make(name, *, width=5, dtype=torch.float64, **options):
    """A small model, the same one every time."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "embedding_size": 6, "hidden_size": width, "node_token_id": NODE}
    config = RecursiveConfig(composition=name, hidden_dropout=0.0, initializer_range=1.0, **{**sizes, **options})
    model = RecursiveModel(config).to(dtype)
    # Biases too, and what is small at first; no more, where a square would grow from level to level.
    for parameter in model.tree_loop.parameters():
        torch.nn.init.normal_(parameter, std=min(0.4, 2 / width))
    return model


def gradients(model, loss):
    """Those of all parameters; zeros where there is none."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    values = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    return dict(zip(names, values, strict=True))


def by_hand(model, text):
    """The states of one text's nodes."""
    ids, parents = text["input_ids"][0].tolist(), text["parents"][0].tolist()
    vectors = [None if token == NODE else model.embed_tokens.weight[token] for token in ids]
    return naive_states(model.tree_loop, vectors, parents)


@every_composition
@for_each("inner_words", [False, True])
def test_values_and_gradients_are_those_of_the_paper(name, inner_words, route):
    model = make(name)
    most = 4 if name == "child_sum" else 2
    batch = random_batch(most_children=most, inner_words=inner_words)
    expected = {row: by_hand(model, text) for row, text in each_text(batch)}
    hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].bool()
    assert len(expected) == 5 and not hidden[~mask].any()
    for row, states in expected.items():
        assert_same(hidden[row, mask[row]], states, EXACT, what=row)
    loss, loss_by_hand = hidden.sin().sum(), sum(states.sin().sum() for states in expected.values())
    assert_same(gradients(model, loss), gradients(model, loss_by_hand), EXACT, scale=0.1)


@every_composition
def test_a_batch_is_its_texts_one_by_one(name, route):
    model = make(name, dtype=torch.float32, width=21)
    batch = random_batch(rows=12, seed=1)
    outputs = model(**batch)
    for row, text in each_text(batch):
        alone = model(**text)
        assert_same(outputs.last_hidden_state[row, batch["attention_mask"][row].bool()], alone.last_hidden_state[0])
        assert_same(outputs.pooler_output[row], alone.pooler_output[0])
    assert not outputs.pooler_output[0].any()  # the text of no node


@every_composition
@for_each("width", [1, 8, 16, 19])
def test_both_routes_give_the_same(name, width, monkeypatch):
    model, batch = make(name, dtype=torch.float32, width=width), random_batch(rows=10, seed=2)
    found = []
    for _ in range(2):
        hidden = model(**batch).last_hidden_state
        found.append((hidden.detach(), gradients(model, hidden.sin().sum())))
        monkeypatch.setattr(levels, "tree_kernels_for", lambda *tensors: None)
    assert_same(found[0][0], found[1][0])
    assert_same(found[0][1], found[1][1], scale=0.1)


@every_composition
def test_gradients_are_exact_by_differences_of_first_and_second_order(name, route):
    model, batch = make(name, width=2, embedding_size=2), random_batch(rows=3, most_nodes=5)
    names, parameters = zip(*model.tree_loop.named_parameters(), strict=True)

    def states(*values):
        given = {f"tree_loop.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(model, given, kwargs=batch).last_hidden_state

    assert torch.autograd.gradcheck(states, parameters, fast_mode=True)
    assert torch.autograd.gradgradcheck(states, parameters, fast_mode=True)


@for_each("dtype", [torch.float32, torch.float64])
def test_a_chain_is_our_lstm(dtype, route):
    """Each word's only child is the word before it: copied are all weights but those of the right child."""
    torch.manual_seed(0)
    lstm = LSTMModel(
        LSTMConfig(vocab_size=20, embedding_size=6, hidden_size=8, hidden_dropout=0.0, initializer_range=1.0)
    ).to(dtype)
    tree = make("tree_lstm", width=8, dtype=dtype)
    tree.embed_tokens.load_state_dict(lstm.embed_tokens.state_dict())
    theirs, ours = lstm.layers[0].forward_loop, tree.tree_loop
    with torch.no_grad():
        for mine, their in ((ours.weight_ih, theirs.weight_ih), (ours.bias, theirs.bias)):
            i, f, g, o = their.chunk(4)
            mine.copy_(torch.cat((i, g, o, f)))
        i, f, g, o = theirs.weight_hh.chunk(4)
        ours.weight_hh[:, :8] = torch.cat((i, f, torch.randn_like(f), g, o))
    ids = torch.randint(4, 20, (3, 9))
    parents = torch.arange(2, 11).expand(3, -1) * (torch.arange(9) < 8)
    found, expected = tree(ids, parents=parents).last_hidden_state, lstm(ids).last_hidden_state
    assert_same(found, expected)
    of_found, of_expected = (
        torch.autograd.grad(states.sin().sum(), model.embed_tokens.weight)[0]
        for states, model in ((found, tree), (expected, lstm))
    )
    assert_same(of_found, of_expected)


def test_a_chain_of_five_thousand_nodes_is_read_as_any_other(route):
    model = make("tree_lstm", dtype=torch.float32, width=4)
    ids = torch.randint(4, 20, (1, 5000), generator=torch.Generator().manual_seed(0))
    parents = torch.arange(2, 5002)[None] * (torch.arange(5000) < 4999)
    outputs = model(ids, parents=parents)
    assert outputs.last_hidden_state.shape == (1, 5000, 4) and outputs.pooler_output.isfinite().all()
    # What is 300 words back is forgotten: the last ones alone say the same.
    end = torch.arange(2, 302)[None] * (torch.arange(300) < 299)
    assert_same(outputs.pooler_output, model(ids[:, -300:], parents=end).pooler_output, 1e-4)
    if route == "without_kernels":  # autograd would take ten seconds
        return
    outputs.pooler_output.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_sum_does_not_know_the_order_of_children(route):
    model = make("child_sum")
    ids, parents = torch.tensor([[4, 5, 6, 7, 8]]), torch.tensor([[5, 5, 5, 5, 0]])
    turned = torch.tensor([[7, 6, 5, 4, 8]])
    assert_same(model(ids, parents=parents).pooler_output, model(turned, parents=parents).pooler_output, EXACT)


def test_a_binary_node_does(route):
    for name in set(COMPOSITIONS) - {"child_sum"}:
        model, parents = make(name), torch.tensor([[3, 3, 0]])
        one, other = (model(torch.tensor([ids]), parents=parents).pooler_output for ids in ([4, 5, 1], [5, 4, 1]))
        assert (one - other).abs().max() > 1e-3, name


def test_every_composition_is_written_by_hand():
    assert BY_HAND.keys() == COMPOSITIONS.keys()
