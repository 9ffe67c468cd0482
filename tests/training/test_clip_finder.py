"""`ClipFinder`: planted runs that explode end with finite numbers and lower thresholds, sound runs are left alone."""

import copy
import json
import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from hfseq import ClipFinder
from hfseq.models.recurrent.clipping import loops_of
from hfseq.training import clip_finder
from hfseq.training.checkpoints import DivergedError
from tests.rounds import for_each
from tests.training.streams import stream_trainers as streams
from tests.training.trainers import make_trainer, small_model

OFF = {"max_grad_norm": 0.0}
EXPLOSIONS = {
    "max_grad_norm": {"max_grad_norm": 1e8},
    "clip_grad_value": {**OFF, "clip_grad_value": 1e6},
    "clip_hidden": {**OFF, "clip_hidden": 1e4},
}


def long_texts():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(15, 30, (64,), generator=generator).tolist()
    ids = [torch.randint(4, 14, (length,), generator=generator).tolist() for length in lengths]
    return Dataset.from_dict({"input_ids": ids, "labels": torch.randint(0, 3, (64,), generator=generator).tolist()})


def exploding_run(parent, finder, *, scale=1.5, rate=3.0, steps=12, **options):
    """A network whose recurrent matrix and learning rate are too large: its loss is NaN after a few updates."""
    model = small_model("rnn", nonlinearity="relu", hidden_size=16)
    with torch.no_grad():
        for loop in loops_of(model):
            loop.weight_hh.mul_(scale)
    callbacks = [] if finder is None else [finder]
    given = {"optim": "sgd", "learning_rate": rate, "total_train_batch_size": 8, "max_steps": steps}
    return make_trainer(parent, model=model, rows=long_texts(), callbacks=callbacks, **given, **options)


def losses(trainer):
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def weights(trainer):
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


@for_each("place", EXPLOSIONS)
def test_a_run_that_explodes_ends_sound_with_a_lower_threshold(tmp_path, place):
    options = EXPLOSIONS[place]
    with pytest.raises(DivergedError, match="loss is nan"):
        exploding_run(tmp_path, None, **options, folder="alone").train()
    trainer = exploding_run(tmp_path, ClipFinder(), **options)
    output = trainer.train()
    assert trainer.state.global_step == 12 and math.isfinite(output.training_loss)
    assert all(map(math.isfinite, losses(trainer)))
    assert all(bool(weight.isfinite().all()) for weight in weights(trainer).values())
    found = trainer.clip_finder.found
    assert set(found) == {place} and found[place] < options[place] / 2
    assert getattr(trainer.args, place) == found[place]
    logged = [row[place] for row in trainer.state.log_history if place in row]
    assert logged == sorted(logged, reverse=True) and logged[-1] == found[place] and logged[0] == options[place] / 2


def test_a_much_too_high_threshold_is_found_in_large_steps(tmp_path):
    trainer = exploding_run(tmp_path, ClipFinder(factor=0.1), scale=2.0, rate=1.0, steps=40, max_grad_norm=1e8)
    trainer.train()
    assert trainer.clip_finder.found["max_grad_norm"] <= 1e3
    assert all(bool(weight.isfinite().all()) for weight in weights(trainer).values())


def test_every_clipping_that_is_on_is_lowered(tmp_path):
    trainer = exploding_run(tmp_path, ClipFinder(), max_grad_norm=1e9, clip_hidden=1e4, clip_grad_value=1e6)
    trainer.train()
    found = trainer.clip_finder.found
    shares = {found["max_grad_norm"] / 1e9, found["clip_hidden"] / 1e4, found["clip_grad_value"] / 1e6}
    assert len({round(share, 12) for share in shares}) == 1 and max(shares) < 1


def test_parts_of_an_update_are_looked_at_together(tmp_path):
    trainer = exploding_run(tmp_path, ClipFinder(), **EXPLOSIONS["clip_hidden"], gradient_accumulation_steps=2)
    trainer.train()
    assert trainer.clip_finder.found["clip_hidden"] < 1e4
    assert all(bool(weight.isfinite().all()) for weight in weights(trainer).values())


def test_a_jump_of_the_norm_is_an_explosion_after_ten_updates():
    model, args = torch.nn.Linear(2, 1, bias=False), SimpleNamespace(max_grad_norm=4.0)
    optimizer, finder = torch.optim.SGD(model.parameters(), lr=1.0), ClipFinder(jump=5.0)

    def sees(norm):
        model.weight.grad = torch.tensor([[norm, 0.0]])
        return finder.sees_explosion(args, 1, model, optimizer)

    assert not any(sees(norm) for norm in [100.0] + [1.0] * 9)  # too early to tell what is usual
    assert not sees(4.9) and model.weight.grad is not None
    assert sees(5.1) and model.weight.grad is None
    assert args.max_grad_norm == 2.0
    assert not any(sees(0.01) for _ in range(200))
    assert not sees(0.9)  # ninety times the median, and no more than in the beginning


@for_each("kind", ["adamw_torch", "sgd"])
def test_weights_and_optimizer_are_put_back_to_the_bit(kind):
    torch.manual_seed(0)
    model, data = torch.nn.Linear(3, 2), torch.randn(8, 3)
    make = {"adamw_torch": torch.optim.AdamW, "sgd": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)}[kind]
    optimizer = make(model.parameters(), lr=0.1)

    def learn():
        optimizer.zero_grad()
        model(data).square().mean().backward()
        optimizer.step()

    for steps_before in (0, 3):
        for _ in range(steps_before):
            learn()
        kept = clip_finder._Kept(model, optimizer)
        expected = copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"]))
        learn()
        after = copy.deepcopy(model.state_dict())
        learn()
        kept.put_back(model, optimizer)
        assert all(torch.equal(model.state_dict()[name], value) for name, value in expected[0].items())
        assert str(optimizer.state_dict()["state"]) == str(expected[1])
        learn()
        assert all(torch.equal(model.state_dict()[name], value) for name, value in after.items())
        kept.put_back(model, optimizer)


def test_a_sound_run_is_the_same_to_the_bit(tmp_path):
    options = {"total_train_batch_size": 4, "max_steps": 24, "clip_hidden": 0.5}
    alone, watched = (
        make_trainer(tmp_path, model=small_model("gru"), callbacks=callbacks, folder=folder, **options)
        for folder, callbacks in (("alone", []), ("watched", [ClipFinder()]))
    )
    alone.train()
    watched.train()
    assert losses(alone) == losses(watched)
    assert all(torch.equal(weight, weights(watched)[name]) for name, weight in weights(alone).items())
    assert watched.clip_finder.found == {"max_grad_norm": 1.0, "clip_hidden": 0.5}
    assert watched.clip_finder._kept is None


def test_a_resumed_run_goes_on_from_what_was_found(tmp_path):
    saved = {"save_strategy": "steps", "save_steps": 8, **EXPLOSIONS["clip_hidden"]}
    whole = exploding_run(tmp_path, ClipFinder(), folder="whole", **saved)
    whole.train()
    exploding_run(tmp_path, ClipFinder(), steps=8, **saved).train()
    written = json.loads((tmp_path / "run" / "checkpoint-8" / "trainer_state.json").read_text(encoding="utf-8"))
    found = written["stateful_callbacks"]["ClipFinder"]["attributes"]["found"]
    assert 0 < found["clip_hidden"] < 1e4
    resumed = exploding_run(tmp_path, ClipFinder(), **saved)
    assert resumed.args.clip_hidden == 1e4
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 12
    assert resumed.clip_finder.found == whole.clip_finder.found == found
    assert all(torch.equal(weight, weights(resumed)[name]) for name, weight in weights(whole).items())


def test_training_stops_where_no_threshold_helps(tmp_path):
    trainer = exploding_run(tmp_path, ClipFinder(attempts=3), scale=2.0, rate=1.0, max_grad_norm=1e8)
    with pytest.raises(DivergedError, match=r"3 updates exploded, with ever lower thresholds .* Lower learning_rate"):
        trainer.train()


def test_what_cannot_work_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"max_grad_norm=0.0, clip_grad_value=None, clip_hidden=None clip nothing"):
        exploding_run(tmp_path, ClipFinder(), **OFF).train()
    for wrong in ({"factor": 1.0}, {"factor": 0.0}, {"jump": 1.0}, {"attempts": 0}):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"{name}={value} must"):
            ClipFinder(**wrong)
    with pytest.raises(ValueError, match="use hfseq.SequenceTrainer"):
        clip_finder._check(SimpleNamespace(max_grad_norm=1.0))
    args = SimpleNamespace(max_grad_norm=1.0, clip_grad_value=None, clip_hidden=None, fp16=True)
    with pytest.raises(ValueError, match="leave fp16 out"):
        clip_finder._check(args)


def test_streams_begin_anew_after_an_explosion(tmp_path):
    def make(finder):
        model = streams.small_model("rnn", nonlinearity="relu", hidden_size=16)
        with torch.no_grad():
            for loop in loops_of(model):
                loop.weight_hh.mul_(1.4)
        given = {"learning_rate": 5.0, "max_grad_norm": 1e6, "callbacks": [] if finder is None else [finder]}
        trainer = streams.make_trainer(tmp_path, model=model, train=streams.text(1201), **given)
        trainer.remove_callback(streams.GradientReader)  # which needs a gradient of each parameter
        return trainer

    with pytest.raises(DivergedError):
        make(None).train()
    trainer = make(ClipFinder(factor=0.1))
    trainer.train()
    assert trainer.clip_finder.found["max_grad_norm"] < 1e6
    exploded = [number for number, loss in enumerate(trainer.losses) if not math.isfinite(loss)]
    assert exploded and all(map(math.isfinite, trainer.losses[-5:]))
