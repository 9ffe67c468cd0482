"""Classifiers that read two texts apart and compare them."""

from collections import Counter
from math import sqrt

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from hfseq import GRUConfig, GRUForSequenceClassification, TransformerConfig, TransformerForSequenceClassification
from hfseq.models.heads.wide import WideNgrams
from tests.closeness import assert_same

END = 3
SMALL = {"vocab_size": 20, "hidden_size": 4, "num_labels": 2, "eos_token_id": END, "pairs": "siamese"}
FIRST, SECOND = [4, 5, 6, END], [5, 7, 5, 8, END]


def model_of(family, **options):
    torch.manual_seed(0)
    if family == "gru":
        model = GRUForSequenceClassification(GRUConfig(**SMALL, embedding_size=4, bidirectional=True, **options))
    else:
        small = {"num_hidden_layers": 2, "num_attention_heads": 2, "position_embedding_type": "rotary"}
        model = TransformerForSequenceClassification(TransformerConfig(**SMALL, **small, **options))
    return model.double().eval()


@pytest.mark.parametrize("family", ["gru", "transformer"])
@pytest.mark.parametrize("pooling", ["last", "mean_max", "attention"])
def test_each_text_is_read_as_if_it_stood_alone(family, pooling):
    model = model_of(family, pooling=pooling)
    vectors = []
    for text in (FIRST, SECOND):
        states = model.model(torch.tensor([text])).last_hidden_state
        vectors.append(model.pooling(states, None)[0])
    u, v = vectors
    expected = model.classifier(torch.cat([u, v, abs(u - v), u * v], dim=-1))
    assert_same(model(torch.tensor([FIRST + SECOND])).logits, expected, 1e-12)
    turned = model(torch.tensor([SECOND + FIRST])).logits
    assert not torch.allclose(turned, expected)


def test_states_and_attention_are_those_of_each_text():
    model = model_of("transformer", pooling="attention", attn_implementation="eager")
    found = model(torch.tensor([FIRST + SECOND]), output_hidden_states=True, output_attentions=True)
    alone = [model.model(torch.tensor([text]), output_attentions=True) for text in (FIRST, SECOND)]
    assert_same(found.hidden_states[-1], torch.cat([each.last_hidden_state for each in alone], 1), 1e-12)
    for layer in range(2):
        weights = found.attentions[layer]
        assert_same(weights[..., :4, :4], alone[0].attentions[layer], 1e-12)
        assert_same(weights[..., 4:, 4:], alone[1].attentions[layer], 1e-12)
        assert not weights[..., :4, 4:].any() and not weights[..., 4:, :4].any()
    assert_same(found.attentions[-1][0, :4].sum(), torch.ones((), dtype=torch.double), 1e-12)
    assert_same(found.attentions[-1][0, 4:].sum(), torch.ones((), dtype=torch.double), 1e-12)


def test_a_second_text_that_is_missing_is_zeros():
    model = model_of("gru")
    u = model.pooling(model.model(torch.tensor([FIRST])).last_hidden_state, None)[0]
    zeros = torch.zeros_like(u)
    expected = model.classifier(torch.cat([u, zeros, abs(u), zeros], dim=-1))
    assert_same(model(torch.tensor([FIRST])).logits, expected, 1e-12)


def cosine(first, second, weights):
    one, other = Counter(first), Counter(second)
    lengths = [sqrt(sum((count * weights[row]) ** 2 for row, count in each.items())) for each in (one, other)]
    both = sum(count * other[row] * weights[row] ** 2 for row, count in one.items())
    return both / (lengths[0] * lengths[1]) if all(lengths) else 0.0


def test_cosines_are_those_of_weighed_tokens_and_of_weighed_runs():
    wide = WideNgrams(vocab_size=20, longest=2, buckets=10_000, num_labels=1).double()
    wide.row_weights.copy_(torch.linspace(0.5, 2, len(wide.row_weights), dtype=torch.double))
    texts = [[4, 5, 6, 4], [5, 4, 5, 6, 9], [7], [7, 8], [], [4]]  # three pairs: a text and the third one behind it
    ids, mask = torch.zeros(6, 7, dtype=torch.long), torch.zeros(6, 7, dtype=torch.long)
    for row, text in enumerate(texts):
        own = slice(7 - len(text), None) if row % 2 else slice(len(text))
        ids[row, own], mask[row, own] = torch.tensor(text, dtype=torch.long), 1
    weights = wide.row_weights.tolist()
    rows = {}
    for place, text in enumerate(texts):
        begins, found = wide.features(torch.tensor(text, dtype=torch.long).numpy(), torch.tensor([len(text)]).numpy())
        assert begins[-1] == len(found)
        rows[place] = [[row for row in found.tolist() if (row >= 20) == is_run] for is_run in (False, True)]
    expected = [[cosine(rows[row][kind], rows[row + 3][kind], weights) for kind in (0, 1)] for row in range(3)]
    assert_same(wide.cosines(ids, mask), torch.tensor(expected, dtype=torch.double), 1e-12)
    same = wide.cosines(ids[[0, 0]], mask[[0, 0]])
    assert_same(same, torch.ones(1, 2, dtype=torch.double), 1e-12)


def test_likeness_begins_at_zero_and_does_not_count_what_ends_each_text():
    plain, model = model_of("gru"), model_of("gru", wide_ngrams=2, wide_buckets=50)
    model.load_state_dict(plain.state_dict(), strict=False)
    ids = torch.tensor([[4, 5, END, 6, 7, END], [4, 5, END, 4, 5, END]])
    assert torch.equal(model(ids).logits, plain(ids).logits)
    with torch.no_grad():
        model.likeness.weight.fill_(1.0)
    added = model(ids).logits - plain(ids).logits
    assert_same(added, torch.tensor([[0.0, 0.0], [20.0, 20.0]], dtype=torch.double), 1e-9)


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(StrictDataclassError, match=r"(?s)pairs='siamese'.*eos_token_id.*None.*pairs='joined'"):
        GRUConfig(pairs="siamese")
    with pytest.raises(ValueError, match=r"pairs='siamese'.*Give input_ids.*pairs='joined'"):
        model_of("gru")(inputs_embeds=torch.zeros(1, 3, 4, dtype=torch.double))
