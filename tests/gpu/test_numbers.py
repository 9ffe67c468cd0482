"""A device gives the numbers of the CPU: each configuration of the contract, each cell, tokens, scores and counts.

`run.py` runs this with HFSEQ_TEST_DEVICE. In float64 the claim is about the maths; float32 takes other ways through
cuDNN and attention.
"""

import itertools

import numpy as np
import pytest
import torch

from hfseq.evaluation.language import score_ids
from hfseq.generation.fused import fused_generate
from hfseq.models.recurrent.cells import CELLS
from tests.closeness import assert_same
from tests.contract.configurations import CASES, make_case
from tests.devices import DEVICE
from tests.models.recurrent.loops import BATCHES, BUILT_IN, TOLERANCES, make_loop, reference_route, run

pytestmark = pytest.mark.slow  # against itself a CPU proves nothing

WITHIN = {torch.float64: 1e-10, torch.float32: 1e-4}
LANGUAGE_MODELS = [label for label, (_, task, _) in CASES.items() if task == "text-generation"]
TRAINED = [label for label in CASES if "loss" in make_case(label, None).traits]


def results(case, model):
    """Answers, loss and gradients, with the model as it answers and as it learns."""
    ids, mask = (tensor.to(model.device) for tensor in case.batch())
    found = {"answers": case.answers(model(ids, mask, **decoder_inputs(case, ids)))}
    if "loss" not in case.traits:
        return found
    for training in (False, True):  # a model that answers may be asked for gradients too
        model.train(training).zero_grad()
        torch.manual_seed(0)  # word2vec draws its noise
        loss = model(ids, mask, labels=case.targets(ids).to(ids.device)).loss
        loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found |= {f"{name}, {training=}": number for name, number in {"loss": loss, **gradients}.items()}
    return found


def quiet_case(label, folder):
    """A case without dropout, whose draws differ from device to device."""
    case = make_case(label, folder)
    shares = {**case.no_dropout, **{name: 0.0 for name in case.options if name.endswith("_dropout")}}
    case.options = case.options | (shares if "loss" in case.traits else {})
    return case


def decoder_inputs(case, ids):
    return {"decoder_input_ids": ids} if "encoder and decoder" in case.traits else {}


@pytest.mark.parametrize("dtype", WITHIN, ids=str)
@pytest.mark.parametrize("label", CASES)
def test_answers_loss_and_gradients(label, dtype, tmp_path):
    case = quiet_case(label, tmp_path)
    there, here = (results(case, case.model().to(device, dtype)) for device in (DEVICE, "cpu"))
    assert_same(there, here, WITHIN[dtype], scale=1e-3)


@pytest.mark.parametrize("route", ["usual", "reference"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_cell_in_every_batch(name, dtype, route):
    for kind, batch in BATCHES.items():
        loop = make_loop(BUILT_IN[name], backward=batch.backward)
        exact = run(reference_route, loop, batch)
        there = run(reference_route if route == "reference" else loops_own, loop.to(DEVICE, dtype), batch)
        assert_same(there.values, exact.values, TOLERANCES[dtype][0], what=kind)
        assert_same(there.gradients, exact.gradients, TOLERANCES[dtype][1], scale=1e-6, what=kind)


def loops_own(loop, *arguments, **options):
    """The way that the loop takes where nobody chooses."""
    return loop(*arguments, **options)


def test_every_built_in_cell_is_there():
    assert set(BUILT_IN) <= set(CELLS) and len(BUILT_IN) >= 15


@pytest.mark.parametrize("label", LANGUAGE_MODELS)
def test_greedy_text_and_beams(label, tmp_path):
    case = make_case(label, tmp_path)
    ids = case.batch()[0][:3].cpu()
    mask = torch.tensor([[1] * 7, [0, 0, 0, 0, 1, 1, 1], [0] * 6 + [1]])
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    for more in ({}, {"num_beams": 3}, {"custom_generate": fused_generate}):
        texts = [
            case.model()
            .to(device)
            .double()
            .generate(ids.to(device), attention_mask=mask.to(device), **options, **more)
            for device in (DEVICE, "cpu")
        ]
        assert torch.equal(texts[0].cpu(), texts[1]), more


@pytest.mark.parametrize("label", ["lstm-language-plain", "hmm-language", "ngram-kneser-ney"])
def test_scores_of_texts(label, tmp_path):
    case, random = make_case(label, tmp_path), np.random.default_rng(0)
    documents = [random.integers(4, 14, length) for length in (1, 9, 40)]
    there, here = (score_ids(case.model().to(device), documents) for device in (DEVICE, "cpu"))
    assert_same(there, here, WITHIN[torch.float32])


def test_estimation_of_a_hidden_markov_model(tmp_path):
    case, random = make_case("hmm-language", tmp_path), np.random.default_rng(0)
    documents = [random.integers(4, 14, length) for length in (5, 9, 40)]
    histories = [
        case.model().to(device).double().fit_baum_welch(documents, num_iterations=5, seed=0)
        for device in (DEVICE, "cpu")
    ]
    assert_same(*histories, 1e-8)


def test_counting_where_the_tables_are(tmp_path):
    case, random = make_case("ngram-kneser-ney", tmp_path), np.random.default_rng(0)
    documents = [random.integers(4, 14, length) for length in (5, 9, 40)]
    there, here = (case.model().to(device).fit(documents).state_dict() for device in (DEVICE, "cpu"))
    assert all(table.device.type == DEVICE.type for table in there.values())
    assert_same({name: table.cpu() for name, table in there.items()}, here, 0.0)


@pytest.mark.parametrize(("dtype", "label"), [*itertools.product((torch.bfloat16, torch.float16), TRAINED)])
def test_autocast(label, dtype, tmp_path):
    """As Trainer's `bf16` and `fp16` run it: near, and with gradients in the dtype of the weights."""
    case = quiet_case(label, tmp_path)
    model = case.model().train()
    ids, mask = case.batch()
    losses = []
    for is_on in (False, True):
        torch.manual_seed(0)
        with torch.autocast(DEVICE.type, dtype, enabled=is_on):
            losses.append(model(ids, mask, labels=case.targets(ids)).loss)
    losses[1].backward()
    assert_same(losses[1], losses[0], 0.05, scale=0.1)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients and all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients)
