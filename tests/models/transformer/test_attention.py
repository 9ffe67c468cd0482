"""Attention, masks and positions, against torch, transformers and formulas by hand."""

import doctest
import math

import pytest
import torch
from torch import nn
from transformers.cache_utils import DynamicCache, StaticCache
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask

from hfseq import TransformerConfig, TransformerForCausalLM, TransformerModel
from hfseq.models.transformer import attention
from hfseq.models.transformer.attention import (
    attention_mask_for,
    dot_product_attention,
    positions_of,
    rotate,
    rotation_of,
    sinusoids,
)
from tests.closeness import assert_same
from tests.models.transformer.small_transformers import IDS, SIDES, SIZES, trained
from tests.rounds import for_each

CPU = torch.device("cpu")
HOLES = torch.tensor([[1, 1, 0, 1, 0, 1, 1], [0, 1, 1, 0, 1, 1, 0]])


def test_the_example_by_hand_is_what_the_code_says():
    found = doctest.testmod(attention)
    assert found.attempted == 11 and found.failed == 0


# One product


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("kind", ["none", "bool", "number", "causal", "memory"])
def test_attention_equals_torch(kind):
    queries, keys = (4, 9) if kind == "memory" else (7, 7)
    query, key, value = drawn(3, 2, queries, 5), drawn(3, 2, keys, 5), drawn(3, 2, keys, 5) + 1
    real = SIDES.bool()[:, None, None]
    mask = {"bool": real.expand(3, 1, 7, 7), "number": drawn(3, 2, 7, 7), "causal": torch.ones(7, 7).bool().tril()}
    outputs, weights = dot_product_attention(None, query, key, value, mask.get(kind), scaling=5**-0.5)
    expected = nn.functional.scaled_dot_product_attention(query, key, value, mask.get(kind))
    assert_same(outputs, expected.transpose(1, 2), 1e-12)
    assert weights.shape == (3, 2, queries, keys)
    assert_same(weights.sum(-1), 1, 1e-12)
    if kind == "bool":
        assert not weights.masked_select(~real).any()


def test_a_query_that_may_look_nowhere_sees_nothing():
    nowhere = torch.zeros(1, 1, 2, 3).bool()
    outputs, weights = dot_product_attention(
        None, drawn(1, 1, 2, 4), drawn(1, 1, 3, 4), drawn(1, 1, 3, 4), nowhere, scaling=0.5
    )
    assert not outputs.any() and not weights.any()


def test_shares_are_dropped_in_training_alone():
    model = trained(TransformerModel, attention_dropout=0.5, attn_implementation="eager")
    inputs = {"input_ids": IDS, "output_attentions": True}
    calm = model(**inputs)
    assert torch.equal(calm.last_hidden_state, model(**inputs).last_hidden_state)
    assert not torch.equal(model.train()(**inputs).last_hidden_state, calm.last_hidden_state)


# Where a query may look


def everywhere(batch, head, query, key):
    """A condition that always holds, for which transformers writes down what torch would do by itself."""
    return key >= 0


def transformers_mask(mask, steps, cache=None, position_ids=None):
    """What transformers makes of a decoder's mask for sdpa."""
    config = TransformerConfig(**SIZES)
    config._attn_implementation = "sdpa"
    words = torch.zeros(2, steps, 16)
    return create_causal_mask(config, words, mask, cache, position_ids, and_mask_function=everywhere)


def cache_of(kind, seen):
    """A cache that has read some tokens, of one size only or of any."""
    config = TransformerConfig(**SIZES)
    cache = StaticCache(config=config, max_cache_len=12) if kind == "static" else DynamicCache(config=config)
    if seen:
        cache.update(torch.zeros(2, 2, seen, 8), torch.zeros(2, 2, seen, 8), 0)
    return cache


@for_each("kind", ["dynamic", "static"])
@for_each(("seen", "steps"), [(0, 7), (4, 3), (6, 1)])
@for_each("mask", [None, SIDES[1:], HOLES])
def test_a_decoder_sees_what_transformers_says(kind, seen, steps, mask):
    cache = cache_of(kind, seen)
    keys = cache.get_mask_sizes(steps, 0)[0]
    found = attention_mask_for(mask, queries=steps, keys=keys, seen=seen, is_causal=True, device=CPU)
    expected = transformers_mask(mask, steps, cache)
    assert keys == (12 if kind == "static" else 7)
    assert torch.equal(found.expand(2, 1, steps, keys), expected)


@pytest.mark.parametrize("mask", [SIDES[1:], HOLES], ids=["sides", "holes"])
@pytest.mark.parametrize("queries", [7, 4], ids=["text", "memory"])
def test_an_encoder_and_a_memory_are_seen_as_transformers_says(mask, queries):
    found = attention_mask_for(mask, queries=queries, keys=7, is_causal=False, device=CPU)
    config = TransformerConfig(**SIZES)
    config._attn_implementation = "sdpa"
    memory = torch.zeros(2, 7, 16)
    expected = create_bidirectional_mask(config, torch.zeros(2, queries, 16), mask, encoder_hidden_states=memory)
    assert torch.equal(found.expand(2, 1, queries, 7), expected)
    assert attention_mask_for(None, queries=queries, keys=7, is_causal=False, device=CPU) is None


def test_texts_one_behind_the_other_see_themselves_alone():
    positions = torch.tensor([[0, 1, 2, 0, 1, 0, 1], [0, 1, 2, 3, 4, 5, 0]])
    found = attention_mask_for(None, positions, queries=7, keys=7, is_causal=True, device=CPU)
    assert torch.equal(found, transformers_mask(None, 7, position_ids=positions))
    assert not found[0, 0, 3:, :3].any() and found[1, 0, 5, :6].all()


@for_each("implementation", ["eager", "sdpa"])
@for_each("kind", ["sinusoidal", "learned", "rotary"])
def test_packed_texts_equal_each_alone(kind, implementation):
    model = trained(TransformerForCausalLM, position_embedding_type=kind, attn_implementation=implementation)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3]])
    packed = model(IDS[:1], position_ids=positions).logits
    alone = torch.cat([model(ids).logits for ids in IDS[:1].split([3, 4], dim=1)], dim=1)
    assert_same(packed, alone)
    assert (packed - model(IDS[:1]).logits).abs().max() > 1e-2


# Positions


def test_sinusoids_by_hand():
    found = sinusoids(torch.tensor([[0, 1, 5]]), 6)[0]
    for row, position in enumerate((0, 1, 5)):
        for pair in range(3):
            angle = position / 10_000 ** (2 * pair / 6)
            assert_same(found[row, 2 * pair : 2 * pair + 2].tolist(), [math.sin(angle), math.cos(angle)])


def test_a_step_of_k_is_one_rotation_wherever_it_begins():
    """Of each pair, as of a complex number: P[p + k] / P[p] is of length 1 and the same for every p."""
    pairs = torch.view_as_complex(sinusoids(torch.arange(200)[None], 8)[0].double().unflatten(1, (4, 2)))
    for step in (1, 5, 100):
        turns = pairs[step:] / pairs[:-step]  # (200 - k, 4)
        assert_same(torch.view_as_real(turns), torch.view_as_real(turns[:1]).expand(len(turns), -1, -1), 1e-4)
        assert_same(turns.abs(), 1)
        assert (turns[0] - 1).abs().min() > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_turned_queries_and_keys_know_their_distance_alone(dtype):
    query, key = drawn(1, 1, 1, 8).to(dtype), drawn(1, 1, 1, 8).to(dtype) + 1

    def score(place, other):
        places = (rotation_of(torch.tensor([[place]]), 8, 10_000.0) for place in (place, other))
        turned = [rotate(values, turn) for values, turn in zip((query, key), places, strict=True)]
        assert turned[0].dtype == dtype
        return (turned[0] * turned[1]).sum().item()

    for distance in (0, 1, 7):
        scores = [score(place + distance, place) for place in (0, 1, 40, 1_000)]
        assert_same(scores, [scores[0]] * 4, 1e-3 if distance else 1e-5)
    assert_same(score(0, 0), (query * key).sum())
    assert abs(score(9, 2) - score(2, 9)) > 1e-2  # before is not behind


def test_positions_count_the_real_tokens():
    found = positions_of(SIDES, 7, 0, CPU)
    assert found.tolist() == [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 3, 3, 3], [0, 0, 0, 1, 2, 3, 4]]
    assert positions_of(SIDES, 2, 5, CPU).tolist() == [[5, 6], [3, 3], [3, 4]]
    assert positions_of(None, 2, 5, CPU).tolist() == [[5, 6]]


@pytest.mark.parametrize("kind", ["sinusoidal", "rotary"])
def test_formulas_take_texts_longer_than_those_of_training(kind):
    model = trained(TransformerModel, position_embedding_type=kind, max_position_embeddings=4)
    assert model(IDS).last_hidden_state.isfinite().all()


@pytest.mark.parametrize("inputs", [{}, {"position_ids": torch.tensor([[0, 1, 2, 3, 4, 5, 6]])}])
def test_a_text_longer_than_the_learned_positions_is_named(inputs):
    model = trained(TransformerModel, position_embedding_type="learned", max_position_embeddings=5)
    with pytest.raises(ValueError, match=r"text of 7 tokens is longer than the 5 positions.*'sinusoidal' or 'rotary'"):
        model(IDS, **inputs)
    assert model(IDS[1:], SIDES[1:]).last_hidden_state.isfinite().all()  # of 4 and 5 tokens, and padding


@pytest.mark.parametrize("kind", ["sinusoidal", "rotary"])
def test_bfloat16_tells_positions_beyond_a_thousand_apart(kind):
    """Which bfloat16 itself cannot: 1,001 is 1,000 there."""
    places = torch.tensor([[1_000, 1_001]])
    exact = [[math.sin(place / 10_000 ** (2 * i / 16)) for i in range(8)] for place in (1_000, 1_001)]
    found = sinusoids(places, 16)[0, :, ::2] if kind == "sinusoidal" else rotation_of(places, 16, 1e4)[1][0, 0, :, :8]
    assert_same(found, torch.tensor(exact), 1e-3)
    model = trained(TransformerModel, position_embedding_type=kind, bidirectional=False).to(torch.bfloat16)
    outputs = [model(IDS, position_ids=torch.arange(7)[None] + start).last_hidden_state for start in (0, 1_000, 1_001)]
    assert all(output.dtype == torch.bfloat16 for output in outputs)
    if kind == "sinusoidal":
        assert not torch.equal(outputs[1], outputs[2])
    else:
        assert_same(outputs[0], outputs[1], 0.1)
