"""What language models of every kind say of given tokens, and of inputs that do not fit."""

import pytest
import torch

from hfseq import FAMILIES
from tests.closeness import assert_same

V = 7
IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 1, 2]])
KINDS = {
    "lstm": {"hidden_size": 6},
    "transformer": {"hidden_size": 8, "num_attention_heads": 2},
    "hmm": {"num_states": 3},
    "ngram": {"order": 2},
}


@pytest.fixture(params=KINDS)
def model(request):
    torch.manual_seed(0)
    family = FAMILIES[request.param]
    made = family.heads["text-generation"](family.config(vocab_size=V, pad_token_id=0, **KINDS[request.param])).eval()
    return made.fit(IDS.tolist()) if request.param == "ngram" else made


def test_a_mask_that_does_not_fit_is_named_with_labels_too(model):
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 3\) does not fit 2 texts of 4 tokens"):
        model(IDS, torch.ones(2, 3), labels=IDS)


def test_log_probs_of_given_tokens_are_those_of_the_logits(model):
    targets = torch.tensor([[2, -100, 4, 1], [-100, 1, 2, 3]])
    with torch.no_grad():
        table = model(IDS).logits.float().log_softmax(-1)
        found = model.token_log_probs(IDS, targets)
    asked = targets != -100
    assert_same(found[asked], table[asked].gather(1, targets[asked][:, None])[:, 0])
    assert not found[~asked].any()


def test_texts_without_tokens_ask_for_nothing(model):
    assert model.token_log_probs(IDS[:, :0], IDS[:, :0]).shape == (2, 0)


def test_targets_of_another_shape_are_named(model):
    with pytest.raises(ValueError, match=r"shape \(2, 4\)"):
        model.token_log_probs(IDS, IDS[:, 1:])
