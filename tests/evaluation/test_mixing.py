"""A network and n-grams in one model: the share is the best, and the checkpoint, the state and the card hold both."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hfseq import (
    LSTMConfig,
    LSTMForCausalLM,
    MixtureForCausalLM,
    NGramConfig,
    NGramForCausalLM,
    TransformerConfig,
    TransformerForCausalLM,
    score_ids,
)
from hfseq.evaluation.mixing import mix_with_ngrams, network_share
from tests.closeness import assert_same

IDS = {"vocab_size": 20, "bos_token_id": 2, "eos_token_id": 3}


def parts(network="lstm"):
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    documents = [[*random.integers(4, 20, 30).tolist(), 3] for _ in range(8)]
    if network == "lstm":
        model = LSTMForCausalLM(LSTMConfig(hidden_size=8, embedding_size=6, initializer_range=1.0, **IDS))
    else:
        options = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 9}
        model = TransformerForCausalLM(TransformerConfig(**options, **IDS))
    return model.eval(), NGramForCausalLM(NGramConfig(order=3, **IDS)).fit(documents[:4]), documents


def test_share_is_the_best_of_all():
    random = np.random.default_rng(1)
    network, ngrams = random.exponential(2, 500), random.exponential(2, 500)
    found = network_share(network, ngrams)
    shares = np.linspace(0.001, 0.999, 999)
    nats = [-np.log(share * np.exp(-network) + (1 - share) * np.exp(-ngrams)).sum() for share in shares]
    assert abs(found - shares[np.argmin(nats)]) < 2e-3
    assert network_share(network, network + 5) == 0.999  # the one part is better everywhere
    assert network_share(np.array([2000.0]), np.array([1.0])) == 0.001  # too improbable for a float


@pytest.mark.parametrize("network", ["lstm", "transformer"])
def test_probabilities_are_those_of_both_parts(network, tmp_path):
    model, ngrams, documents = parts(network)
    window = {} if network == "lstm" else {"window": 40}
    expected = [score_ids(each, documents[4:], **window) for each in (model, ngrams)]
    mixture = mix_with_ngrams(model, ngrams, documents[4:])
    share = mixture.config.network_weight
    mixture.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    found = score_ids(loaded, documents[4:], **window)
    for mixed, one, other in zip(found, *expected, strict=True):
        assert_same(mixed, -np.log(share * np.exp(-one) + (1 - share) * np.exp(-other)), 1e-5)
    total = loaded(torch.tensor(documents)).logits.exp().sum(-1)
    assert_same(total, torch.ones_like(total), 1e-5)


def test_generation_settings_come_along(tmp_path):
    model, ngrams, documents = parts()
    model.generation_config.update(do_sample=True, temperature=0.8, max_new_tokens=7)
    MixtureForCausalLM.of(model, ngrams).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.generation_config.temperature == 0.8
    assert loaded.generate(torch.tensor(documents[:2])).shape == (2, 38)


def test_parts_of_other_words_are_refused():
    model, _, _ = parts()
    other = NGramForCausalLM(NGramConfig(order=2, **{**IDS, "vocab_size": 21})).fit([[4, 5, 20]])
    with pytest.raises(ValueError, match="vocab_size=20 and 21"):
        MixtureForCausalLM.of(model, other)
    unsmoothed = NGramForCausalLM(NGramConfig(order=2, smoothing="add-k", **IDS)).fit([[4, 5]])
    with pytest.raises(ValueError, match="smoothing='add-k'"):
        MixtureForCausalLM.of(model, unsmoothed)
