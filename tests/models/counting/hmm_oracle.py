"""A hidden Markov model by brute force over all its state paths, in double precision."""

import itertools

import numpy as np
import torch

from hfseq.models.counting.hmm import HMMConfig

PAD, BOS, EOS = 0, 1, 2
WORDS = (3, 4, 5)
EXACT = 1e-9


def make(kind, *, seed=0, double=True, **options):
    """A toy with three states and six tokens, far from uniform."""
    sizes = {"vocab_size": 6, "num_states": 3, "initializer_range": 1.5, "bos_token_id": BOS, "eos_token_id": EOS}
    torch.manual_seed(seed)
    model = kind(HMMConfig(**{**sizes, **options})).eval()
    return model.double() if double else model


def probabilities(model):
    """pi, A and B as numpy arrays."""
    hmm = model.hmm
    return [
        p.detach().double().softmax(-1).numpy() for p in (hmm.start_logits, hmm.transition_logits, hmm.emission_logits)
    ]


def all_paths(model, words):
    """P(words, path) for every path through the states."""
    pi, A, B = probabilities(model)
    found = {}
    for path in itertools.product(range(len(pi)), repeat=len(words)):
        p = 1.0
        for t, (state, word) in enumerate(zip(path, words, strict=True)):
            p *= (pi[state] if t == 0 else A[path[t - 1], state]) * B[state, word]
        found[path] = p
    return found


def likelihood(model, words):
    return sum(all_paths(model, words).values())


def next_word(model, words):
    """P(w | words) for every w."""
    return [likelihood(model, [*words, w]) / likelihood(model, words) for w in range(model.config.vocab_size)]


def expected_counts(model, documents):
    """Starts, transitions and emissions, by enumeration; documents hold neither bos nor a second eos."""
    S, V = model.config.num_states, model.config.vocab_size
    starts, moves, emissions = np.zeros(S), np.zeros((S, S)), np.zeros((S, V))
    for words in documents:
        paths = all_paths(model, words)
        total = sum(paths.values())
        for path, p in paths.items():
            starts[path[0]] += p / total
            for a, b in itertools.pairwise(path):
                moves[a, b] += p / total
            for state, word in zip(path, words, strict=True):
                emissions[state, word] += p / total
    return starts, moves, emissions


DOCUMENTS = [[3, 4, 4, 5, EOS], [5, 5, 3], [4], [3, 5, 4, EOS], [4, 3]]
MASKED = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0] * 6]).bool()


def ragged():
    """Ids (5, 6), of words alone, for MASKED; what lies under the mask is a token that would change things."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(3, 6, (5, 6), generator=generator).masked_fill(~MASKED, EOS)
