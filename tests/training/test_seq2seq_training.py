"""The trainer of models that write a target: its loss, its updates, what it writes, and going on after a stop."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hfseq.training.batching import Shares, UpdateSampler
from hfseq.training.seq2seq import EncoderDecoderTrainingArguments, SourceTargetCollator
from tests.closeness import assert_same, difference
from tests.contract.cases import tokenizer
from tests.training.target_writers import make_trainer, pairs, small_model

TOKENS = {"total_train_batch_tokens": 150, "total_train_batch_size": 64, "train_sampling_strategy": "group_by_length"}


def trained(parent, **options):
    trainer = make_trainer(parent, **{"num_train_epochs": 2, **options})
    trainer.train()
    return trainer


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_formula(tmp_path, smoothing):
    trainer = make_trainer(tmp_path, label_smoothing_factor=smoothing)
    rows = [pairs()[number] for number in range(5)]
    batch = SourceTargetCollator(tokenizer(), trainer.model)(rows)
    found = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=torch.tensor(50))
    expected = 0.0
    for row in rows:  # one by one: nothing is padded
        source, target = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        written = torch.cat([torch.tensor([[2]]), target[:, :-1]], dim=1)
        log_probs = trainer.model(input_ids=source, decoder_input_ids=written).logits[0].log_softmax(-1)
        right = -log_probs.gather(-1, target[0, :, None])[:, 0]
        expected += ((1 - smoothing) * right - smoothing * log_probs.mean(-1)).sum()
    assert_same(found, expected / 50)


def test_training_makes_no_table_of_logits_and_learns_the_same(tmp_path):
    trainer = make_trainer(tmp_path, label_smoothing_factor=0.3)
    batch = SourceTargetCollator(tokenizer(), trainer.model)([pairs()[number] for number in range(5)])
    loss, outputs = trainer.compute_loss(trainer.model.train(), dict(batch), return_outputs=True)
    assert outputs.logits.shape[1] == 1 < batch["labels"].shape[1]
    assert_same(loss, trainer.model(**batch, label_smoothing=0.3).loss)
    # An evaluation logs -log P, whose exponential is the perplexity.
    evaluated = trainer.compute_loss(trainer.model.eval(), dict(batch))
    assert_same(evaluated, trainer.model(**batch).loss)


@pytest.mark.parametrize("options", [{}, TOKENS], ids=["rows", "tokens"])
def test_accumulation_changes_nothing_that_is_learnt(tmp_path, options):
    # Not Adam: of the biases of keys, which change no attention, it would make steps out of roundings.
    options = {**options, "optim": "sgd", "learning_rate": 0.3}
    whole = trained(tmp_path, folder="whole", **options)
    dealt = trained(tmp_path, folder="dealt", gradient_accumulation_steps=4, **options)
    assert whole.args.per_device_train_batch_size == 4 * dealt.args.per_device_train_batch_size
    assert whole.state.global_step == dealt.state.global_step
    assert_same(dealt.model.parameters(), whole.model.parameters(), scale=0.1)
    assert difference(whole.model.lm_head.weight, small_model().lm_head.weight) > 0.01


def test_a_mean_of_means_would_be_another_model(tmp_path, monkeypatch):
    """What the test above would miss if the targets of all parts were equally many."""
    options = {"num_train_epochs": 2, "optim": "sgd", "learning_rate": 0.3}
    whole = trained(tmp_path, folder="whole", **options)
    wrong = make_trainer(tmp_path, folder="wrong", gradient_accumulation_steps=4, **options)
    monkeypatch.setattr(wrong, "_get_num_items_in_batch", lambda *others: None)
    wrong.train()
    assert difference(wrong.model.lm_head.weight, whole.model.lm_head.weight) > 1e-3


def test_a_budget_of_tokens_bounds_source_and_target_with_their_padding():
    lengths = np.random.default_rng(0).integers(1, 30, (203, 2))
    found = []
    for number in range(2):
        sampler = UpdateSampler(
            lengths, rows_per_update=100, tokens_per_update=200, strategy="group_by_length", shares=Shares(1, 0, 1)
        )
        sampler.set_epoch(number)
        updates = list(sampler)
        assert len(updates) == len(sampler)
        assert sorted(sum(updates, [])) == list(range(203))
        sizes = [len(rows) * lengths[rows].max(axis=0).sum() for rows in updates]
        assert max(sizes) <= 200 and np.mean(sizes) > 150  # full, too
        found.append(updates)
    assert found[0] != found[1]
    summed = UpdateSampler(lengths.sum(1), rows_per_update=100, tokens_per_update=200, strategy="group_by_length")
    # What the sums alone would allow: short sources beside short targets are long together.
    assert max(len(rows) * lengths[rows].max(axis=0).sum() for rows in summed) > 200


def test_a_resumed_training_ends_at_the_same_bits(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 3, "hidden_dropout": 0.2, **TOKENS}
    dropout = {"model": small_model(hidden_dropout=options.pop("hidden_dropout"))}
    whole = trained(tmp_path, **options, **dropout)
    again = make_trainer(tmp_path, num_train_epochs=2, model=small_model(hidden_dropout=0.2), **options)
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert whole.state.global_step == again.state.global_step > 6
    assert all(one.equal(other) for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True))


def test_what_is_written_comes_in_the_order_of_the_rows_and_as_generate_writes_it(tmp_path):
    trainer, rows = trained(tmp_path, num_train_epochs=6, learning_rate=0.03), pairs(21)
    before = trainer.model.generation_config.to_dict()
    written = trainer.write(rows, num_beams=2)
    assert trainer.model.generation_config.to_dict() == before  # nothing of theirs is saved with the model
    alone = []
    for row in rows:
        ids = trainer.model.generate(torch.tensor([row["input_ids"]]), num_beams=2, max_new_tokens=10)
        alone.append(tokenizer().decode(ids[0], skip_special_tokens=True))
    assert written == alone
    assert len(set(written)) > 1


def test_an_evaluation_writes_greedily_and_logs_the_minutes(tmp_path):
    trainer = trained(tmp_path, eval_dataset=pairs(9), eval_strategy="epoch")
    first, second = (entry for entry in trainer.state.log_history if "eval_bleu" in entry)
    assert 0 < first["eval_minutes"] < second["eval_minutes"]
    greedy = trainer.write(pairs(9), num_beams=1)
    wanted = [tokenizer().decode(row, skip_special_tokens=True) for row in pairs(9)["labels"]]
    matches = [one == other for one, other in zip(greedy, wanted, strict=True)]
    assert second["eval_exact_match"] == pytest.approx(sum(matches) / 9)


def test_without_writing_the_loss_alone_is_measured(tmp_path):
    trainer = make_trainer(tmp_path, eval_dataset=pairs(9), predict_with_generate=False)
    assert "eval_loss" in (found := trainer.evaluate()) and "eval_bleu" not in found


def test_arguments_that_would_do_nothing_are_refused(tmp_path):
    for options, message in (
        ({"class_weights": "balanced"}, "class_weights='balanced' is for models of labelled texts"),
        ({"unfreeze_every": 1.0}, "unfreeze_every=1.0 is for models of labelled texts"),
        ({"generation_num_beams": 0}, "generation_num_beams=0 must be 1 or more"),
        (
            {"predict_with_generate": False, "metric_for_best_model": "bleu"},
            "metric_for_best_model='bleu' needs predict_with_generate=true",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            EncoderDecoderTrainingArguments(str(tmp_path), **options)


def test_the_best_model_on_validation_is_the_one_that_is_saved(tmp_path):
    kept = {"save_strategy": "epoch", "eval_strategy": "epoch", "load_best_model_at_end": True}
    trainer = trained(tmp_path, eval_dataset=pairs(9), metric_for_best_model="bleu", num_train_epochs=3, **kept)
    assert trainer.args.greater_is_better
    trainer.save_model(str(tmp_path / "model"))
    best = load_file(f"{trainer.state.best_model_checkpoint}/model.safetensors")
    assert all(value.equal(best[name]) for name, value in load_file(tmp_path / "model" / "model.safetensors").items())
