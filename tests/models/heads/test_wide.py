"""The wide part of classifiers: n-grams of token ids beside the network, as a bag counts them."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from hfseq import GRUConfig, GRUForSequenceClassification, LSTMConfig, LSTMForCausalLM, LSTMForSequenceClassification
from hfseq.models.words.bag import BagConfig, BagForSequenceClassification
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer
from hfseq.training.wide import fit_wide
from tests.closeness import assert_same

SMALL = {"vocab_size": 20, "embedding_size": 4, "hidden_size": 4, "num_labels": 3}
WIDE = {"wide_ngrams": 3, "wide_buckets": 40}
IDS = torch.tensor([[4, 5, 6, 4, 5, 9], [7, 8, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
MASK = torch.tensor([[1] * 6, [1, 1, 0, 0, 0, 0], [0] * 6])


def gru(**options):
    torch.manual_seed(0)
    return GRUForSequenceClassification(GRUConfig(**SMALL, **options)).double().eval()


def test_a_new_wide_part_changes_nothing_and_then_adds_the_scores_of_a_bag():
    plain, model = gru(), gru(**WIDE)
    model.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(model(IDS, MASK).logits, plain(IDS, MASK).logits)
    bag = BagForSequenceClassification(
        BagConfig(vocab_size=20, hidden_size=3, num_labels=3, word_ngrams=3, ngram_buckets=40, weighting="tfidf_l2")
    ).double()
    with torch.no_grad():
        model.wide.weight.normal_()
        model.wide.row_weights.copy_(torch.linspace(0, 2, 60))
        bag.model.inputs.weight.copy_(model.wide.weight)
        bag.model.row_weights.copy_(model.wide.row_weights)
    expected = plain(IDS, MASK).logits + bag.model(IDS, MASK).pooler_output
    assert_same(model(IDS, MASK).logits, expected, 1e-12)
    assert torch.equal(model(IDS, MASK).logits[2], plain(IDS, MASK).logits[2])  # nothing is in an empty text


def test_weights_are_inverse_document_frequencies_of_the_training_rows(tmp_path):
    rows = Dataset.from_dict({"input_ids": [[4, 5, 4], [4, 6], [7]], "labels": [0, 1, 2]})
    model = gru(**WIDE).float()
    options = {"use_cpu": True, "disable_tqdm": True, "per_device_train_batch_size": 1}  # no padding
    args = SequenceTrainingArguments(str(tmp_path), **options)
    SequenceTrainer(model, args, train_dataset=rows).train()
    weights = model.wide.row_weights
    assert_same(weights[[4, 5, 7]], torch.tensor(np.log([4 / 3, 4 / 2, 4 / 2]) + 1).float())
    assert not weights[[0, 8, 9]].any() and 3 <= int((weights[20:] > 0).sum()) <= 4
    assert model.wide.weight.any()
    kept = weights.clone()
    fit_wide(model, rows.select([0]))  # one that has its frequencies keeps them
    assert torch.equal(model.wide.row_weights, kept)
    model.save_pretrained(tmp_path / "saved")
    again = GRUForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    assert torch.equal(again.wide.row_weights, kept)
    assert torch.equal(again(IDS, MASK).logits, model.eval()(IDS, MASK).logits)


def test_a_language_model_gets_a_fresh_wide_part(tmp_path):
    sizes = {name: value for name, value in SMALL.items() if name != "num_labels"}
    LSTMForCausalLM(LSTMConfig(**sizes)).save_pretrained(tmp_path)
    model = LSTMForSequenceClassification.from_pretrained(tmp_path, num_labels=3, **WIDE)
    assert model.wide.weight.shape == (60, 3) and not model.wide.weight.any()
    assert bool((model.wide.row_weights == 1).all())


def test_vectors_in_the_place_of_ids_are_refused():
    with pytest.raises(ValueError, match="wide_ngrams=3: this model looks runs of token ids up"):
        gru(**WIDE)(inputs_embeds=torch.zeros(1, 2, 4).double())
    assert len(gru(wide_ngrams=1).wide.weight) == 20  # single tokens need no buckets
