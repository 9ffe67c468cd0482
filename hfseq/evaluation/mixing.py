"""Mixing a trained network with counted n-grams; `models/counting/mixture.py` has the equation.

lambda, the network's share, is fitted by expectation maximisation (Jelinek and Mercer 1980) on a text that neither
part has learnt from: each token belongs to the network with the probability

    r = lambda P_network / (lambda P_network + (1 - lambda) P_ngram)

and the new lambda is the mean of r. The likelihood rises in each step, and has one maximum.
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedModel

from ..models.counting.mixture import MixtureForCausalLM
from ..models.counting.ngram import NGramForCausalLM
from .language import Document, score_ids

_MOST_STEPS = 200
_SETTLED = 1e-5
_LEAST, _MOST = 0.001, 0.999  # bounds of `network_weight`


def mix_with_ngrams(
    network: PreTrainedModel, ngrams: NGramForCausalLM, held_out: Sequence[Document]
) -> MixtureForCausalLM:
    """Mix a network with n-grams counted on the same tokens, in the shares that suit texts neither learnt from.

    Args:
        network: A causal language model of ours; it becomes a part of the mixture.
        ngrams: Fitted; they become the other part.
        held_out: Token ids, as for `score_ids`.
    """
    theirs = np.concatenate(score_ids(network, held_out))
    ours = np.concatenate(score_ids(ngrams, held_out))
    return MixtureForCausalLM.of(network, ngrams, network_share(theirs, ours))


def network_share(network: np.ndarray, ngrams: np.ndarray) -> float:
    """Return lambda from the surprisals of both, in nats, of the same tokens."""
    if not len(network):
        raise ValueError("There is nothing to fit the share of the network on: the held-out text has no token.")
    share = 0.5
    for _ in range(_MOST_STEPS):
        before = share
        # Divided by the network's probability, which may be too small for a float.
        with np.errstate(over="ignore"):
            odds = np.exp(network - ngrams) * (1 - share) / share
        share = float(np.clip(np.mean(1 / (1 + odds)), _LEAST, _MOST))
        if abs(share - before) < _SETTLED:
            break
    return share
