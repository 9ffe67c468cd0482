"""Evaluation on streams against loops over the text in float64: every token counts once, whatever the windows."""

from functools import partial

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.cache_utils import DynamicCache

from hfseq.training.streams.windows import TokenText
from tests.closeness import assert_same
from tests.contract.promises import same_weights
from tests.training.streams.stream_trainers import DROPOUT, VOCAB_SIZE, make_trainer, nats, small_model, text


@pytest.fixture
def make(tmp_path):
    """`make_trainer` in an empty folder."""
    return partial(make_trainer, tmp_path)


def by_hand(model, ids, window=11):
    """The sum of -log P in float64, window by window."""
    model, cache = model.double().eval(), DynamicCache(config=model.config)
    ids, summed = torch.from_numpy(np.asarray(ids, np.int64)), 0.0
    with torch.no_grad():
        for at in range(0, len(ids) - 1, window):
            piece = ids[at : at + window + 1]
            logits = model(piece[None, :-1], past_key_values=cache).logits[0]
            summed += torch.nn.functional.cross_entropy(logits, piece[1:], reduction="sum").item()
    return summed


@pytest.mark.parametrize("window", [1, 7, 64, 1000])
@pytest.mark.parametrize("carry", ["stream", "none"])
def test_evaluation_in_one_stream_is_a_loop_over_the_text(make, carry, window):
    trainer, held_out = make(carry=carry, window=window, per_device_eval_batch_size=1), text(201, seed=1)
    found = trainer.evaluate(held_out)
    expected = by_hand(small_model(), held_out.ids) / 200
    assert_same(found["eval_loss"], expected)
    assert found["eval_perplexity"] == pytest.approx(np.exp(expected), rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"tie_word_embeddings": True, "hidden_size": 8, "embedding_size": 8},
        {"adaptive_softmax_cutoffs": [6, 9], "hidden_size": 16},
    ],
    ids=["tied", "adaptive"],
)
def test_other_output_weights_are_evaluated_and_trained_as_well(make, options):
    trainer = make(model=small_model(**options), per_device_eval_batch_size=1, num_train_epochs=4)
    before = trainer.evaluate(text(seed=1))["eval_loss"]
    assert_same(before, by_hand(small_model(**options), text(seed=1).ids) / 600)
    trainer.train()
    assert trainer.evaluate(text(seed=1))["eval_loss"] < before - 0.1


def test_several_streams_drop_no_token(make):
    trainer, ids = make(per_device_eval_batch_size=7), text(seed=1).ids
    bounds = [stream * 600 // 7 for stream in range(8)]
    summed = [by_hand(small_model(), ids[a : b + 1]) for a, b in zip(bounds, bounds[1:], strict=False)]
    assert_same(trainer.evaluate(text(seed=1))["eval_loss"], sum(summed) / 600)
    one = by_hand(small_model(), ids[:5]) / 4
    assert_same(make(per_device_eval_batch_size=1).evaluate(text(5, seed=1))["eval_loss"], one)
    assert make(per_device_eval_batch_size=50).evaluate(text(5, seed=1))["eval_loss"] > 0  # in four streams


@pytest.mark.parametrize("streams", [1, 4, 500])
def test_documents_are_evaluated_as_if_they_were_alone(make, streams):
    trainer, held_out = make(carry="document", per_device_eval_batch_size=streams), text(seed=1)
    documents = np.split(held_out.ids, held_out.starts[1:])
    summed = sum(by_hand(small_model(), ids) for ids in documents)
    tokens = sum(len(ids) - 1 for ids in documents)
    assert_same(trainer.evaluate(held_out)["eval_loss"], summed / tokens)


def test_evaluation_leaves_the_training_alone(make):
    runs = []
    for options in ({}, {"eval_dataset": text(seed=1), "eval_strategy": "steps", "eval_steps": 1}):
        runs.append(make(model=small_model(**DROPOUT), vary_window=True, **options))
        runs[-1].train()
    assert same_weights(runs[0].model, runs[1].model)
    assert len([entry for entry in runs[1].state.log_history if "eval_loss" in entry]) == runs[1].state.global_step


def test_several_texts_are_evaluated_each(make):
    texts = {"one": text(seed=1), "other": text(seed=2)}
    trainer = make(eval_dataset=texts)
    found = trainer.evaluate()
    for name, held_out in texts.items():
        assert found[f"eval_{name}_loss"] == trainer.evaluate(held_out)["eval_loss"]
        assert found[f"eval_{name}_perplexity"] == pytest.approx(np.exp(found[f"eval_{name}_loss"]))


@pytest.mark.parametrize("metric", ["loss", "eval_perplexity"])
def test_the_best_model_is_kept_and_training_stops_early(make, metric):
    """What is evaluated follows no rule: the better the rule of the other text is learnt, the worse."""
    other = TokenText(np.random.default_rng(5).integers(4, VOCAB_SIZE, 200))
    trainer = make(
        eval_dataset=other,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        early_stopping_patience=2,
        num_train_epochs=40,
        optim="adamw_torch",
        learning_rate=0.03,
    )
    trainer.train()
    name = f"eval_{metric.removeprefix('eval_')}"
    evaluated = [entry[name] for entry in trainer.state.log_history if name in entry]
    best = int(np.argmin(evaluated))
    assert len(evaluated) == best + 1 + 2 < 40
    assert trainer.state.best_metric == min(evaluated) < evaluated[-1]
    assert_same(trainer.evaluate()[name], min(evaluated))


# A model without a recurrent state


def transformer():
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCAB_SIZE, "n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 2}
    no_dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return GPT2LMHeadModel(GPT2Config(**sizes, **no_dropout))


def test_a_model_without_a_recurrent_state_trains_on_chunks(make):
    options = {"carry": "none", "per_device_eval_batch_size": 1, "num_train_epochs": 4}
    trainer = make(model=transformer(), eval_dataset=text(seed=1), **options)
    model, ids = transformer(), torch.from_numpy(text(seed=1).ids.astype(np.int64))
    pieces = [nats(model, ids[at : at + 11]).item() for at in range(0, 600, 10)]
    before = trainer.evaluate()["eval_loss"]
    assert_same(before, np.mean(pieces))
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before - 0.05
    for rows in (4, 100):
        again = make(model=transformer(), **{**options, "per_device_eval_batch_size": rows}).evaluate(text(seed=1))
        assert_same(again["eval_loss"], before, what=rows)
    with pytest.raises(ValueError, match="a text of one token predicts nothing"):
        trainer.evaluate(TokenText(np.array([5])))
    with pytest.raises(ValueError, match="carry='stream' needs a model whose state .* GPT2LMHeadModel has none"):
        make(model=transformer())
