"""Training word vectors: what is learnt, progress, checkpoints and interruption."""

import copy
import errno
import json
import os
import threading

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from tqdm.auto import tqdm
from transformers import AutoModel

import hfseq
from hfseq import progress
from hfseq.models.words.word2vec import Word2VecConfig, Word2VecModel
from hfseq.training.words import engines as word_engines
from hfseq.training.words import trainer as word_training
from hfseq.training.words.trainer import Word2VecTrainer, Word2VecTrainingArguments, train_word2vec
from tests.closeness import assert_same
from tests.rounds import for_each

ANIMALS, TOOLS, GLUE = ["cat", "dog", "cow", "hen"], ["saw", "axe", "pen", "nut"], ["the", "a", "on", "by"]


def world(sentences=3000, seed=0):
    """Two circles of words that never meet, glued by words that all share."""
    random = np.random.default_rng(seed)
    for number in range(sentences):
        circle = (ANIMALS, TOOLS)[number % 2]
        yield [str(random.choice(circle if random.random() < 0.6 else GLUE)) for _ in range(8)]


@pytest.fixture(scope="module")
def corpus():
    return hfseq.WordCorpus.read(world(), min_count=1)


def make_config(corpus, **options):
    small = {"vocab_size": len(corpus.words) + 2, "hidden_size": 16, "sample": 0, "window": 3}
    return Word2VecConfig(**(small | options))


def make_trainer(corpus, folder=None, config=None, **options):
    args = {"num_threads": 1, "num_train_epochs": 3, "disable_tqdm": True, "seed": 3} | options
    return Word2VecTrainer(
        make_config(corpus, **(config or {})),
        corpus,
        Word2VecTrainingArguments(output_dir=None if folder is None else str(folder), **args),
    )


def separation(model):
    """How much nearer words of one circle are than words of two."""
    vectors = model.vectors
    inside = [vectors.similarity(a, b) for circle in (ANIMALS, TOOLS) for a in circle for b in circle if a < b]
    across = [vectors.similarity(a, b) for a in ANIMALS for b in TOOLS]
    return np.mean(inside) - np.mean(across)


MODELS = {
    "skip-gram": {},
    "cbow": {"architecture": "cbow"},
    "skip-gram paths": {"loss": "hierarchical-softmax"},
    "cbow paths": {"architecture": "cbow", "loss": "hierarchical-softmax"},
    "skip-gram ngrams": {"ngram_buckets": 50, "shortest_ngram": 2},
}
ENGINES = {"block": {}, "exact": {"engine": "exact"}, "torch": {"engine": "torch", "tokens_per_step": 256}}
CASES = [(model, engine) for model in MODELS for engine in ENGINES]
CASES += [("skip-gram softmax", "torch"), ("cbow softmax", "torch")]


@pytest.mark.parametrize(("model", "engine"), CASES)
def test_every_engine_learns_which_words_belong_together(corpus, model, engine):
    config = MODELS.get(model) or {
        "architecture": model.split()[0],
        "loss": "softmax" if "softmax" in model else "negative-sampling",
    }
    trainer = make_trainer(corpus, config=config, num_train_epochs=8, learning_rate=0.05, **ENGINES[engine])
    before = separation(trainer.model)
    trained = trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history]
    assert losses[-1] < losses[0] - 0.01
    assert separation(trained) > 0.3 > before + 0.1
    assert not trained.inputs.weight[:2].any()  # <pad>, <unk>
    assert trainer.state.epoch == 8 and not trainer.state.interrupted


def test_engines_come_to_the_same_loss(corpus):
    losses = {}
    for name, options in ENGINES.items():
        trainer = make_trainer(corpus, num_train_epochs=5, learning_rate=0.05, **options)
        trainer.train()
        losses[name] = trainer.state.log_history[-1]["loss"]
    assert_same(losses["block"], losses["torch"], 0.03)
    # "exact" passes over negatives that are the word itself, which among twelve words is one in twelve.
    assert 0 < losses["block"] - losses["exact"] < 0.2, losses


def test_one_call_trains_and_the_checkpoint_knows_its_words(tmp_path):
    model = train_word2vec(world(), hidden_size=16, min_count=1, sample=0.0, num_train_epochs=6, disable_tqdm=True)
    assert model.vectors.most_similar("cat", topn=1)[0][0] in ANIMALS
    assert model.vectors.get_vecattr("cat", "count") == sum(words.count("cat") for words in world())
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert loaded.vectors.most_similar("cat") == model.vectors.most_similar("cat")
    with pytest.raises(ValueError, match="unknown option 'hiden_size'; did you mean 'hidden_size'"):
        train_word2vec(world(), hiden_size=3)
    with pytest.raises(ValueError, match="unknown option 'vocab_size'"):
        train_word2vec(world(), vocab_size=3)
    for name, ours in {"vector_size": "hidden_size", "epochs": "num_train_epochs", "workers": "num_threads"}.items():
        with pytest.raises(ValueError, match=f"unknown option '{name}'; did you mean '{ours}'"):
            train_word2vec(world(), **{name: 3})


def test_the_same_seed_gives_the_same_vectors_with_one_thread(corpus):
    first, second, other = (make_trainer(corpus, seed=seed).train().inputs.weight for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_that_train_at_once_get_the_vectors_of_one_alone(corpus, engine):
    """With whatever each has drawn from the process's generator, which none of them may seed."""
    options = ENGINES[engine] | {"num_train_epochs": 1}
    alone, found = make_trainer(corpus, **options).train().inputs.weight, []
    drawing = threading.Event()

    def disturb():
        while not drawing.is_set():
            torch.rand(10)

    def train():
        found.extend(make_trainer(corpus, **options).train().inputs.weight for _ in range(4))

    other = threading.Thread(target=disturb)
    other.start()
    workers = [threading.Thread(target=train) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    drawing.set()
    other.join()
    assert len(found) == 16 and all(torch.equal(weight, alone) for weight in found)


def test_a_training_leaves_the_generator_of_the_process_alone(corpus):
    before = torch.get_rng_state()
    make_trainer(corpus, num_train_epochs=1).train()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("engine", ENGINES)
def test_resumed_is_uninterrupted(corpus, tmp_path, engine, monkeypatch):
    options = ENGINES[engine] | {"save_words": 10_000, "save_total_limit": 9}
    whole = make_trainer(corpus, tmp_path / "whole", **options)
    expected = whole.train()
    kept = sorted((tmp_path / "whole").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    assert len(kept) == 9  # three an epoch
    resumed = make_trainer(corpus, tmp_path / "whole", **options)
    model = resumed.train(resume_from_checkpoint=str(kept[3]))
    assert torch.equal(model.inputs.weight, expected.inputs.weight)
    assert torch.equal(model.outputs.weight, expected.outputs.weight)
    times = ("words_per_second",)
    logs = [[{k: v for k, v in e.items() if k not in times} for e in t.state.log_history] for t in (whole, resumed)]
    assert logs[0] == logs[1]
    last = make_trainer(corpus, tmp_path / "whole", **options).train(resume_from_checkpoint=True)
    assert torch.equal(last.inputs.weight, expected.inputs.weight)


def test_only_the_last_checkpoints_are_kept_and_they_load_as_models(corpus, tmp_path):
    trainer = make_trainer(corpus, tmp_path)
    model = trainer.train()
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"checkpoint-{3 * len(corpus)}"
    assert torch.equal(AutoModel.from_pretrained(folder).inputs.weight, model.inputs.weight)
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["epoch"] == 3 and [entry["epoch"] for entry in state["log_history"]] == [1, 2, 3]
    assert state["log_history"][0]["words_per_second"] > 0
    assert state["log_history"][-1]["learning_rate"] == pytest.approx(1e-4)


def test_resuming_refuses_what_does_not_fit(corpus, tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path / "missing", None):
        with pytest.raises(ValueError, match="no checkpoint to resume"):
            make_trainer(corpus, folder).train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match="no checkpoint to resume .*elsewhere"):
        make_trainer(corpus, tmp_path).train(resume_from_checkpoint=tmp_path / "elsewhere")
    (tmp_path / "checkpoint-best").mkdir()  # somebody's own
    make_trainer(corpus, tmp_path, num_train_epochs=1).train()
    with pytest.raises(ValueError, match="holds checkpoints of another run, such as checkpoint-27000: resume it"):
        make_trainer(corpus, tmp_path, num_train_epochs=2).train()
    make_trainer(corpus, tmp_path, num_train_epochs=1).train()  # the same again
    with pytest.raises(ValueError, match="holds another model .hidden_size: 16 -> 8."):
        make_trainer(corpus, tmp_path, config={"hidden_size": 8}).train(resume_from_checkpoint=True)
    other = hfseq.WordCorpus.read([["x", "y"]], min_count=1)
    with pytest.raises(ValueError, match="model's words are not the corpus's"):
        make_trainer(other, tmp_path).train(resume_from_checkpoint=True)
    longer = make_trainer(corpus, tmp_path, num_train_epochs=2)
    warnings = []
    monkeypatch.setattr(word_training.logger, "warning", lambda message, *values: warnings.append(message % values))
    assert longer.train(resume_from_checkpoint=True) is longer.model
    assert longer.state.epoch == 2
    assert warnings == ["Resuming with other arguments: num_train_epochs: 1 -> 2."]


def test_ctrl_c_leaves_a_usable_model(corpus, monkeypatch):
    trainer = make_trainer(corpus, num_train_epochs=1000)
    original, calls = word_engines.NumbaEngine.run, []

    def interrupted(engine, ids, corpus_slice, watch):
        calls.append(corpus_slice)
        if len(calls) == 4:
            raise KeyboardInterrupt
        original(engine, ids, corpus_slice, watch)

    monkeypatch.setattr(word_engines.NumbaEngine, "run", interrupted)
    model = trainer.train()
    assert trainer.state.interrupted and trainer.state.epoch == 3
    assert separation(model) > 0.05 and torch.isfinite(model.inputs.weight).all()
    trainer.args.num_train_epochs = 5
    trainer.train()
    assert not trainer.state.interrupted and trainer.state.epoch == 5


def test_a_model_can_be_trained_on(corpus):
    first = make_trainer(corpus).train()
    before = first.inputs.weight.clone()
    earlier = first.vectors
    neighbours = earlier.most_similar("cat")
    again = Word2VecTrainer(first, corpus, Word2VecTrainingArguments(num_threads=1, disable_tqdm=True)).train()
    assert again is first and not torch.equal(before, first.inputs.weight)
    assert first.inputs.weight.is_contiguous() and first.outputs.weight.is_contiguous()
    assert earlier.most_similar("cat") == neighbours != first.vectors.most_similar("cat")
    with pytest.raises(ValueError, match="torch.float16: train in float32"):
        Word2VecTrainer(copy.deepcopy(first).half(), corpus)
    with pytest.raises(ValueError, match="has no output vectors"):
        Word2VecTrainer(first.without_outputs(), corpus)


def test_blocks_are_smaller_where_a_word_would_be_met_too_often(corpus):
    few = make_trainer(corpus).model
    many = Word2VecModel(Word2VecConfig(vocab_size=5000, hidden_size=2))
    assert [word_engines.steady_block(few, rate) for rate in (0.001, 0.025, 0.05, 10.0)] == [32, 16, 8, 1]
    assert word_engines.steady_block(many, 0.025) == 32


def test_a_training_that_diverges_says_so(corpus):
    with pytest.raises(ValueError, match="The training diverged.*Lower learning_rate"):
        make_trainer(corpus, learning_rate=1e9, block_size=64).train()


def test_a_training_that_diverges_stops_at_once_and_tells_the_rate(corpus, tmp_path):
    trainer = make_trainer(
        corpus, tmp_path, learning_rate=0.05, engine="torch", tokens_per_step=256, num_train_epochs=50
    )
    run, epochs = trainer._train_slice, []

    def diverge(*args):
        if len(epochs) == 2:
            trainer.model.inputs.weight.data.fill_(float("nan"))
            args[0].matrices()[0].fill_(float("nan"))
        epochs.append(trainer.state.epoch)
        run(*args)

    trainer._train_slice = diverge
    words = (
        r"loss is nan, at the learning rate 0.04\d+, after \d+ words.*The last checkpoint before it is .*checkpoint-"
    )
    with pytest.raises(ValueError, match=words):
        trainer.train()
    assert len(epochs) == 3 and trainer.state.epoch == 2
    (kept,) = tmp_path.iterdir()
    assert torch.isfinite(Word2VecModel.from_pretrained(kept).inputs.weight).all()


@pytest.mark.parametrize("named", [True, False])
def test_a_torn_checkpoint_is_left_aside_for_the_whole_one_before_it(corpus, tmp_path, caplog, named):
    whole = make_trainer(corpus, tmp_path, save_total_limit=9).train()
    older, torn = tmp_path / f"checkpoint-{2 * len(corpus)}", tmp_path / f"checkpoint-{3 * len(corpus)}"
    os.truncate(torn / "model.safetensors", 900)
    again = make_trainer(corpus, tmp_path, save_total_limit=9)
    if named:
        with pytest.raises(OSError, match="model.safetensors is truncated"):
            again.train(resume_from_checkpoint=torn)
    else:
        with caplog.at_level("WARNING"):
            model = again.train(resume_from_checkpoint=True)
        assert f"{torn} is left aside: " in caplog.text and f"Going on from {older}." in caplog.text
        assert torch.equal(model.inputs.weight, whole.inputs.weight)


def test_a_full_disk_leaves_the_checkpoint_before_as_it_was(corpus, tmp_path, monkeypatch):
    make_trainer(corpus, tmp_path, num_train_epochs=1).train()
    monkeypatch.setattr(os, "fsync", full_disk)
    message = "could not be written .*No space left.*the one before it, is as it was"
    with pytest.raises(OSError, match=message):
        make_trainer(corpus, tmp_path, num_train_epochs=2).train(resume_from_checkpoint=True)
    assert [path.name for path in tmp_path.iterdir()] == [f"checkpoint-{len(corpus)}"]


def full_disk(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")


@for_each(
    ("options", "message"),
    [
        ({"num_train_epochs": 0}, "num_train_epochs=0 must be 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be above 0"),
        ({"min_learning_rate": 0.1}, "learning_rate=0.025 must be above 0 and not below min_learning_rate=0.1"),
        ({"engine": "blok"}, "expected one of .'auto', 'block', 'exact', 'torch'., got blok"),
        ({"num_train_epochs": 1.5}, "num_train_epochs"),
        ({"num_train_epochs": "5"}, "num_train_epochs"),
        ({"seed": -1}, "seed=-1 must be 0 or more"),
        ({"shared_negatives": 0}, "shared_negatives=0 must be 1 or more, or null"),
        ({"save_words": 5}, "save_words=5 needs an output_dir"),
        ({"num_threads": 0}, "num_threads=0 must be 1 or more, or null"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises((ValueError, StrictDataclassFieldValidationError), match=message):
        Word2VecTrainingArguments(**options)


def test_what_does_not_fit_together_is_named(corpus, monkeypatch):
    with pytest.raises(ValueError, match="vocab_size must be 14, not 9"):
        Word2VecTrainer(Word2VecConfig(vocab_size=9), corpus)
    with pytest.raises(ValueError, match="engine='block' has no loss='softmax'"):
        make_trainer(corpus, config={"loss": "softmax"}, engine="block").train()
    with pytest.raises(ValueError, match="num_processes=2 was asked for, 1 run"):
        make_trainer(corpus, num_processes=2)
    with pytest.raises(ValueError, match="engine='block' runs on the CPU, not on 'cuda'"):
        make_trainer(corpus, engine="block", device="cuda").train()
    with pytest.raises(TypeError, match="corpus='c.txt' must be a WordCorpus"):
        Word2VecTrainer(make_config(corpus), "c.txt")
    monkeypatch.setattr(word_engines, "_has_numba", lambda: False)
    with pytest.raises(ValueError, match=r"engine='exact' needs numba: pip install \"hfseq\[fast\]\""):
        make_trainer(corpus, engine="exact").train()
    without = make_trainer(corpus, num_train_epochs=1)
    without.train()  # "auto" takes torch
    assert without.state.epoch == 1


def test_progress_is_shown(corpus, capsys, monkeypatch):
    monkeypatch.setattr(progress, "BARS_AFTER", 0)
    monkeypatch.setattr(progress, "progress_is_shown", lambda: True)  # the tests switch bars off
    monkeypatch.setattr(tqdm, "_instances", set())  # a bar that another test left open would be the outermost one
    make_trainer(corpus, disable_tqdm=False).train()
    shown = capsys.readouterr().err
    assert "word/s" in shown and "loss=" in shown and "lr=" in shown and "100%" in shown
    assert f"{3 * corpus.raw_words / 1000:.1f}k" in shown


# Several processes


def test_processes_move_rare_rows_by_the_sum_and_frequent_ones_by_the_mean(corpus, monkeypatch):
    trainer = make_trainer(corpus, engine="torch", block_size=16, tokens_per_step=9, device="cpu")
    engine = trainer.make_engine()
    monkeypatch.setattr(torch.distributed, "broadcast", lambda tensor, src: tensor.fill_(7.0))  # as the first has it
    averaging = word_training.ParameterAveraging(engine.matrices, word_training._occurrences(trainer.model), 2)
    assert all((matrix == 7).all() for matrix in engine.matrices())
    inputs, outputs = engine.matrices()
    start = inputs.clone()
    inputs += 1.0
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))  # the other moved alike
    averaging.average(1.0)
    moved = (inputs - start)[:, 0]
    met = trainer.model.counts / 2
    expected = 2 * (1000 / (met + 1000) + met / (met + 1000) / 2)
    assert_same(moved, expected.float())
    assert moved[2] < 1.5 and moved[0] == 2  # the most frequent word; a row that no word meets


@pytest.mark.parametrize("engine", ["exact", "torch"])
def test_the_clock_ends_a_training_whose_learning_rate_has_fallen(corpus, engine, monkeypatch):
    monkeypatch.setattr(word_training, "_CLOCK_WORDS", 2000)
    trainer = make_trainer(corpus, engine=engine, num_train_epochs=100_000, max_minutes=0.03)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history]
    assert trainer.is_cut and 0 < trainer.state.epoch < 100_000
    assert 1.8 <= trainer.state.seconds < 10
    assert rates[0] > 0.02 and rates[-1] < 0.005
    assert separation(trainer.model) > 0.1


def test_a_clock_that_is_not_over_changes_nothing(corpus):
    one, other = make_trainer(corpus), make_trainer(corpus, max_minutes=1000)
    assert_same(one.train().state_dict(), other.train().state_dict())
    assert not other.is_cut and other.state.epoch == 3
    with pytest.raises(ValueError, match="max_minutes=0 must be above 0"):
        Word2VecTrainingArguments(max_minutes=0)
