"""How much of each word a state holds: the numbers are those of autograd and of a calculation by hand."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

import hfseq
from tests.closeness import assert_same
from tests.rounds import for_each

TEXT = "what time is it?"
TOKENIZER = hfseq.train_tokenizer([TEXT], min_frequency=1)
TOKENS = ("what", "time", "is", "it", "?", "</s>")
IDS = TOKENIZER(TEXT, return_tensors="pt")["input_ids"]


def network(model_class, config_class, **options):
    torch.manual_seed(0)
    return model_class(config_class(vocab_size=len(TOKENIZER), initializer_range=1.0, **options)).double().eval()


RNN = network(hfseq.RNNModel, hfseq.RNNConfig, embedding_size=3, hidden_size=4)
DEEP = network(
    hfseq.LSTMForSequenceClassification,
    hfseq.LSTMConfig,
    **{"embedding_size": 3, "hidden_size": 35, "num_hidden_layers": 2, "bidirectional": True},
)
TRANSFORMER = network(
    hfseq.TransformerModel, hfseq.TransformerConfig, hidden_size=8, num_attention_heads=2, num_hidden_layers=1
)
HMM = hfseq.HMMForTokenClassification(hfseq.HMMConfig(vocab_size=len(TOKENIZER)))


@for_each("case", [(RNN, None), (RNN, 2), (DEEP, 3), (DEEP, -6), (TRANSFORMER, None), (TRANSFORMER, 1)])
def test_norms_are_those_of_the_whole_derivative(case):
    model, position = case
    body = model.base_model
    place = -1 if position is None else position
    vectors = body.get_input_embeddings()(IDS).detach()
    whole = jacobian(lambda given: body(inputs_embeds=given).last_hidden_state[0, place], vectors)  # (D, 1, T, E)
    expected = whole[:, 0].square().sum((0, 2)).sqrt()
    found = hfseq.influence(model, TOKENIZER, TEXT, position=position)
    assert found.tokens == TOKENS and found.position == (None if position is None else position % 6)
    assert_same(found.norms, expected, 1e-10)
    assert_same(found.shares, expected / expected.sum(), 1e-10)


def test_a_bidirectional_network_ends_at_both_ends():
    body = DEEP.base_model

    def ends(vectors):
        forward, backward = body(inputs_embeds=vectors).last_hidden_state[0].chunk(2, dim=-1)
        return torch.cat((forward[-1], backward[0]))

    whole = jacobian(ends, body.get_input_embeddings()(IDS).detach())
    assert_same(hfseq.influence(DEEP, TOKENIZER, TEXT).norms, whole[:, 0].square().sum((0, 2)).sqrt(), 1e-10)


def test_a_linear_network_forgets_by_its_weight():
    """h_t = 0.5 h_{t-1} + 2 x_t, and nothing is below 0: token t has 2 * 0.5^(T - t)."""
    model = network(hfseq.RNNModel, hfseq.RNNConfig, embedding_size=1, hidden_size=1, nonlinearity="relu")
    loop = model.layers[0].forward_loop
    with torch.no_grad():
        model.embed_tokens.weight.fill_(1.0)
        loop.weight_ih.fill_(2.0)
        loop.weight_hh.fill_(0.5)
        loop.bias.zero_()
    found = hfseq.influence(model, TOKENIZER, TEXT)
    assert_same(found.norms, 2 * 0.5 ** np.arange(5, -1, -1), 1e-12)
    assert_same(found.shares, np.array([1, 2, 4, 8, 16, 32]) / 63, 1e-12)
    lines = str(found).splitlines()
    assert lines[0] == "what    1.6%  █" and lines[-1] == "</s>   50.8%  " + "█" * 20
    loop.weight_ih.data.zero_()  # nothing is read
    assert not hfseq.influence(model, TOKENIZER, TEXT).shares.any()


def test_words_that_come_later_have_no_share():
    assert (hfseq.influence(RNN, TOKENIZER, TEXT, position=1).shares > 0).tolist() == [True] * 2 + [False] * 4


def test_the_model_is_left_as_it_was():
    model = network(hfseq.GRUForSequenceClassification, hfseq.GRUConfig, hidden_size=4, hidden_dropout=0.5).train()
    first, again = (hfseq.influence(model, TOKENIZER, TEXT).norms for _ in range(2))
    assert np.array_equal(first, again)  # no dropout
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_folder_brings_its_tokenizer(tmp_path):
    RNN.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    assert_same(hfseq.influence(tmp_path, None, TEXT).norms, hfseq.influence(RNN, TOKENIZER, TEXT).norms)


@for_each(
    "case",
    [
        ((RNN, TOKENIZER, [TEXT]), {}, TypeError, "text must be one string, got a list"),
        ((RNN, None, TEXT), {}, ValueError, "comes without its tokenizer"),
        ((RNN, TOKENIZER, TEXT), {"position": 6}, ValueError, "position=6: this text has the tokens 0 to 5"),
        ((HMM, TOKENIZER, TEXT), {}, TypeError, "HMMForTokenClassification reads no vectors"),
    ],
)
def test_what_cannot_be_measured_is_refused(case):
    arguments, options, error, message = case
    with pytest.raises(error, match=message):
        hfseq.influence(*arguments, **options)


def test_broken_weights_are_named():
    model = network(hfseq.RNNModel, hfseq.RNNConfig, hidden_size=4)
    model.layers[0].forward_loop.bias.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN or infinite"):
        hfseq.influence(model, TOKENIZER, TEXT)
