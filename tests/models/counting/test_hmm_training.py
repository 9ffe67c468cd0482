"""Counting and Baum-Welch against sums over all state paths."""

import itertools
import math

import numpy as np
import pytest
import torch

from hfseq.models.counting.hmm import HMMForCausalLM, HMMForTokenClassification
from tests.closeness import assert_same
from tests.models.counting.hmm_oracle import (
    BOS,
    DOCUMENTS,
    EOS,
    EXACT,
    PAD,
    WORDS,
    expected_counts,
    likelihood,
    make,
    probabilities,
)

# Estimation


def test_counting_gives_relative_frequencies():
    model = make(HMMForTokenClassification, emission_smoothing=0.5, transition_smoothing=0.25)
    model.fit_counts([[BOS, 3, 4, EOS, 5], [3, 3, 5], []], [[-100, 0, 1, 1, 2], [0, -100, 2], []])
    pi, A, B = probabilities(model)
    starts, moves = np.array([2, 0, 1]), np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0]])
    emissions = np.zeros((3, 6))
    for state, word in ((0, 3), (1, 4), (1, EOS), (2, 5), (0, 3), (2, 5)):
        emissions[state, word] += 1
    emissions[:, [EOS, *WORDS]] += 0.5  # neither padding nor bos is ever emitted
    assert_same(pi, (starts + 0.25) / (starts + 0.25).sum(), EXACT)
    assert_same(A, (moves + 0.25) / (moves + 0.25).sum(1, keepdims=True), EXACT)
    assert_same(B, emissions / emissions.sum(1, keepdims=True), EXACT)


def test_no_gradient_is_left_where_counting_puts_the_parameters():
    model = make(HMMForTokenClassification, emission_smoothing=0, transition_smoothing=0)
    ids = torch.randint(3, 6, (40, 9), generator=torch.Generator().manual_seed(0))
    tags = torch.randint(0, 3, (40, 9), generator=torch.Generator().manual_seed(1))
    model(ids, labels=tags).loss.backward()
    assert all(p.grad.abs().max() > 1e-3 for p in model.parameters())
    model.fit_counts(ids.tolist(), tags.tolist())
    model.zero_grad()
    model(ids, labels=tags).loss.backward()
    assert all(p.grad.abs().max() < EXACT for p in model.parameters())


@pytest.mark.parametrize(("emission", "transition"), [(0, 0), (0.5, 0.25)])
def test_one_iteration_of_baum_welch_is_the_one_by_enumeration(emission, transition):
    model = make(HMMForCausalLM, emission_smoothing=emission, transition_smoothing=transition)
    starts, moves, emissions = expected_counts(model, DOCUMENTS)
    log_likelihood = sum(math.log(likelihood(model, words)) for words in DOCUMENTS)
    stream = [[BOS, *DOCUMENTS[0], *DOCUMENTS[1]], DOCUMENTS[2], [BOS, *DOCUMENTS[3], BOS, *DOCUMENTS[4]], [BOS], []]
    history = model.fit_baum_welch(stream, num_iterations=1)
    assert_same(history, [log_likelihood], EXACT)
    starts, moves = starts + transition, moves + transition
    emissions[:, [EOS, *WORDS]] += emission
    pi, A, B = probabilities(model)
    assert_same(pi, starts / starts.sum(), EXACT)
    assert_same(A, moves / moves.sum(1, keepdims=True), EXACT)
    assert_same(B, emissions / emissions.sum(1, keepdims=True), EXACT)


def test_the_gradient_is_the_expected_counts_less_what_the_parameters_expect():
    model = make(HMMForCausalLM)
    width = max(map(len, DOCUMENTS)) + 1
    ids = torch.tensor([[BOS, *words, *[PAD] * (width - 1 - len(words))] for words in DOCUMENTS])
    mask = torch.tensor([[1] * (1 + len(words)) + [0] * (width - 1 - len(words)) for words in DOCUMENTS])
    model(ids, mask, labels=ids.masked_fill(mask == 0, -100), num_items_in_batch=1).loss.backward()
    for logits, counts, p in zip(
        model.hmm.parameters(), expected_counts(model, DOCUMENTS), probabilities(model), strict=True
    ):
        expected = counts - counts.sum(-1, keepdims=True) * p
        assert_same(-logits.grad.numpy(), expected, EXACT)


def _sampled_documents(model, number):
    """Documents of 2 to 12 words, drawn from the model."""
    rng = np.random.default_rng(0)
    pi, A, B = probabilities(model)
    documents = []
    for length in rng.integers(2, 13, number):
        state, words = rng.choice(len(pi), p=pi), []
        for _ in range(length):
            words.append(int(rng.choice(B.shape[1], p=B[state])))
            state = rng.choice(len(pi), p=A[state])
        documents.append(words)
    return documents


def _penalty(model):
    """The log of the Dirichlet prior that pseudo counts are."""
    pi, A, B = probabilities(model)
    k_A, k_B = model.config.transition_smoothing, model.config.emission_smoothing
    allowed = [w for w in range(B.shape[1]) if w != PAD]
    return k_A * (np.log(pi).sum() + np.log(A).sum()) + k_B * np.log(B[:, allowed]).sum()


def test_the_likelihood_never_falls_and_reaches_that_of_the_truth():
    special = {"bos_token_id": None, "eos_token_id": None}
    truth = make(HMMForCausalLM, seed=3, **special)
    documents = [[w or 3 for w in words] for words in _sampled_documents(truth, 300)]
    model = make(HMMForCausalLM, emission_smoothing=0, transition_smoothing=0, **special)
    history = model.fit_baum_welch(documents, num_iterations=60, tolerance=0.0, seed=1)
    assert len(history) == 60 and all(b >= a - 1e-8 for a, b in itertools.pairwise(history))
    assert history[-1] > truth.fit_baum_welch(documents, num_iterations=1)[0]
    again = make(HMMForCausalLM, seed=9, emission_smoothing=0, transition_smoothing=0, **special)
    assert again.fit_baum_welch(documents, num_iterations=60, tolerance=0.0, seed=1) == history
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert model.fit_baum_welch(documents, num_iterations=5, tolerance=0.0)[0] >= history[-1]  # goes on from there


def test_with_pseudo_counts_the_penalised_likelihood_never_falls():
    special = {"bos_token_id": None, "eos_token_id": None}
    documents = _sampled_documents(make(HMMForCausalLM, seed=3, **special), 100)
    documents = [[w or 3 for w in words] for words in documents]
    model = make(HMMForCausalLM, emission_smoothing=2, transition_smoothing=3, **special)
    model.fit_baum_welch(documents, num_iterations=1, seed=0)
    goals = []
    for _ in range(10):
        penalty = _penalty(model)
        goals.append(model.fit_baum_welch(documents, num_iterations=1)[0] + penalty)
    assert all(b > a - 1e-8 for a, b in itertools.pairwise(goals)) and goals[-1] > goals[0] + 1


def test_baum_welch_stops_when_nothing_is_gained(monkeypatch):
    documents = [[3, 4, 5]] * 3
    model = make(HMMForCausalLM, num_states=1)
    assert len(model.fit_baum_welch(documents, num_iterations=50)) == 3  # one state is learnt in one step
    monkeypatch.setattr("hfseq.models.counting.hmm_training._ROWS_PER_BATCH", 4)
    one, many = make(HMMForCausalLM), make(HMMForCausalLM)
    many.fit_baum_welch(DOCUMENTS, num_iterations=3)
    monkeypatch.undo()
    one.fit_baum_welch(DOCUMENTS, num_iterations=3)
    assert_same(one.parameters(), many.parameters(), EXACT)


@pytest.mark.parametrize("seed", [None, 0])
def test_padding_in_a_document_is_named_as_what_it_is(seed):
    """It was learnt as a word, or, with a seed, said to have the probability 0 for want of smoothing."""
    model = make(HMMForTokenClassification)
    before = [p.clone() for p in model.parameters()]
    message = r"documents\[1\]\[2\] is 0, the padding token .* pass the documents without padding"
    with pytest.raises(ValueError, match=message):
        model.fit_baum_welch(iter([[3, 4, 5], [3, EOS, PAD, PAD]]), seed=seed)
    with pytest.raises(ValueError, match=message):
        model.fit_counts([[3, 4, 5], [3, EOS, PAD, PAD]], [[0, 1, 2], [0, 1, -100, -100]])
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    model.config.pad_token_id = None  # the cure for those who mean a word
    assert len(model.fit_baum_welch([[3, 4, 5], [3, EOS, PAD, PAD]], num_iterations=2, seed=seed)) == 2
    for special in ({"bos_token_id": PAD}, {"eos_token_id": PAD}):  # what parts documents may be padding too
        parted = make(HMMForTokenClassification, **special)
        assert math.isfinite(parted.fit_baum_welch([[3, 4, PAD, PAD, 5]], num_iterations=1)[0])


def test_estimation_refuses_what_it_cannot_learn_from():
    model = make(HMMForTokenClassification)
    for documents in ([], [[], [BOS]]):
        with pytest.raises(ValueError, match="documents is empty"):
            model.fit_baum_welch(documents)
        with pytest.raises(ValueError, match="documents is empty"):
            model.fit_counts(documents, documents)
    with pytest.raises(ValueError, match="token id 6 is outside 0 to 5"):
        model.fit_baum_welch([[3, 6]])
    with pytest.raises(ValueError, match="tag 3 is outside 0 to 2"):
        model.fit_counts([[3, 4]], [[0, 3]])
    with pytest.raises(ValueError, match="2 tokens and 1 tags"):
        model.fit_counts([[3, 4]], [[0]])
    with pytest.raises(ValueError, match="list of token ids"):
        model.fit_baum_welch([3, 4])
    sure = make(HMMForCausalLM, double=False)
    with torch.no_grad():
        sure.hmm.emission_logits[:, 3] = -1e4
    with pytest.raises(ValueError, match="probability 0 in torch.float32"):
        sure.fit_baum_welch([[3, 4]])
