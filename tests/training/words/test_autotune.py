"""The search for the settings of a bag: repeatable, within its budget, never worse than what was given."""

from functools import partial

import numpy as np
import pytest
from datasets import Dataset

from hfseq.data.text import tokenize_dataset
from hfseq.evaluation.trainer_metrics import classification_metrics
from hfseq.models.words.bag import BagConfig
from hfseq.tokenization import train_tokenizer
from hfseq.training.words import autotune
from hfseq.training.words.autotune import AutotuneSettings, Tuned, autotune_bag, axes_of
from hfseq.training.words.bag_trainer import BagTrainer, BagTrainingArguments
from hfseq.training.words.bag_vocabulary import new_bag

QUIET = {"seed": 0, "disable_tqdm": True}
FAST = QUIET | {"num_train_epochs": 2}  # of few texts, whose usual number is 50


def texts(count, seed):
    """Texts whose label hangs on the order of two words, with some noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    pairs = np.where(labels[:, None] == 1, ["cat", "dog"], ["dog", "cat"])
    fill = np.array([f"w{number}" for number in range(30)])[rng.integers(30, size=(count, 6))]
    rows = [" ".join([*some[:3], *pair, *some[3:]]) for some, pair in zip(fill, pairs, strict=True)]
    return {"text": rows, "labels": np.where(rng.random(count) < 0.1, 1 - labels, labels)}


@pytest.fixture(scope="module")
def data():
    """A tokenizer, and rows to train and to validate on."""
    train, validation = (Dataset.from_dict(texts(*each)) for each in ((200, 0), (80, 1)))
    tokenizer = train_tokenizer(train["text"][:], "word", min_frequency=1)
    return tokenizer, *(tokenize_dataset(rows, tokenizer) for rows in (train, validation))


def maker(tokenizer, **options):
    return partial(new_bag, tokenizer, [], seed=0, **({"num_labels": 2} | options))


def searched(data, trials=6, training=FAST, model=None, **options):
    """The record of a search; narrow bags, so that it takes a moment."""
    tokenizer, *rows = data
    search = AutotuneSettings(
        trials=trials, **{key: options.pop(key) for key in ("metric", "minutes") & options.keys()}
    )
    model = {"hidden_size": 8, "ngram_buckets": 500} if model is None else model
    make_bag = options.pop("make_bag", maker(tokenizer))
    return autotune_bag(make_bag, *rows, search, model=model, training=training, **options)


def test_the_same_seed_and_trials_find_the_same_settings(data):
    one, other = searched(data), searched(data)
    assert (one.trials, one.winner, one.model, one.training) == (
        other.trials,
        other.winner,
        other.model,
        other.training,
    )
    assert len(one.trials) == 6
    distinct = {str(trial.options) for trial in one.trials}
    assert len(distinct) == 6


def test_a_longer_search_begins_as_a_shorter_one(data):
    assert searched(data, 9).trials[:7] == searched(data, 7).trials


def test_another_seed_tries_others(data):
    one, other = searched(data), searched(data, training=FAST | {"seed": 1})
    assert one.trials[0].options == other.trials[0].options  # what is given comes first
    assert [trial.options for trial in one.trials] != [trial.options for trial in other.trials]


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro"])
def test_the_winner_is_not_worse_than_the_settings_as_given(data, metric):
    tuned = searched(data, 8, metric=metric)
    given = tuned.trials[0]
    assert given.options == {
        "word_ngrams": BagConfig.word_ngrams,
        "learning_rate": 0.5,
        "shortest_ngram": BagConfig.shortest_ngram,
        "longest_ngram": BagConfig.longest_ngram,
        "weighting": BagConfig.weighting,
    }
    assert tuned.winner.score == max(trial.score for trial in tuned.trials) >= given.score
    equals = [trial for trial in tuned.trials if trial.score == tuned.winner.score]
    assert tuned.winner.loss == min(trial.loss for trial in equals)


def test_of_errors_the_smallest_wins(data):
    tokenizer, *rows = data
    train, validation = (each.map(lambda row: {"labels": row["labels"] / 2}) for each in rows)
    tuned = searched(
        (tokenizer, train, validation), make_bag=maker(tokenizer, num_labels=1, problem_type="regression")
    )
    assert tuned.metric == "mse"
    assert tuned.winner.score == min(trial.score for trial in tuned.trials)


def test_the_winner_trained_anew_has_the_score_of_the_record(data, tmp_path):
    tokenizer, train, validation = data
    tuned = searched(data, 4)
    args = BagTrainingArguments(
        **(FAST | tuned.training), output_dir=str(tmp_path), num_threads=1, use_cpu=True, report_to="none"
    )
    trainer = BagTrainer(
        maker(tokenizer)(hidden_size=8, ngram_buckets=500, **tuned.model),
        args,
        train_dataset=train,
        processing_class=tokenizer,
        compute_metrics=classification_metrics("single_label_classification"),
    )
    trainer.train()
    assert trainer.score(validation)[1]["accuracy"] == tuned.winner.score


def test_the_order_of_words_is_found_to_count(data):
    tuned = searched(data, 8, training=QUIET, model={"hidden_size": 8, "longest_ngram": 0, "ngram_buckets": 1000})
    assert tuned.model["word_ngrams"] > 1
    assert tuned.winner.score > 0.65  # words alone tell nothing


def test_bags_that_read_bytes_are_tuned_as_well(data):
    train, validation = (Dataset.from_dict(texts(*each)) for each in ((100, 0), (40, 1)))
    tokenizer = train_tokenizer(train["text"][:], "byte")
    make_bag = partial(new_bag, tokenizer, train, seed=0, num_labels=2)
    rows = (tokenize_dataset(each, tokenizer) for each in (train, validation))
    tuned = searched((tokenizer, *rows), 3, make_bag=make_bag, target_mb=0.02)
    assert tuned.winner.score >= tuned.trials[0].score


# The budget


@pytest.fixture
def clock(monkeypatch):
    """A clock by which each trial takes a minute."""
    seconds = [0.0]
    monkeypatch.setattr(autotune, "monotonic", lambda: seconds[0])
    measured = autotune._Bench.measured

    def slow(*args):
        seconds[0] += 60
        return measured(*args)

    monkeypatch.setattr(autotune._Bench, "measured", slow)


@pytest.mark.parametrize(("minutes", "trials", "tried"), [(3.5, None, 3), (0.1, None, 1), (9, 2, 2), (3, 8, 3)])
def test_no_trial_begins_that_would_end_too_late(data, clock, minutes, trials, tried):
    tuned = searched(data, trials, minutes=minutes)
    assert (len(tuned.trials), tuned.minutes) == (tried, tried)
    assert tuned.trials == searched(data, tried).trials  # so that it can be repeated


def test_what_is_given_stays(data):
    given = {"hidden_size": 4, "word_ngrams": 1, "longest_ngram": 0, "ngram_buckets": 10}
    tuned = searched(data, 50, model=given, training=FAST | {"learning_rate": 0.3})
    # There are no others.
    assert sorted(trial.options["weighting"] for trial in tuned.trials) == ["count", "tfidf"]
    assert tuned.trials[0].options == {"weighting": BagConfig.weighting}
    assert (tuned.model, tuned.training) == ({"weighting": tuned.model["weighting"]}, {})


def test_without_buckets_there_are_no_ngrams_to_try():
    axes = axes_of({"ngram_buckets": 0, "word_ngrams": 1}, {}, num_texts=1000)
    assert sorted(name for axis in axes for name in axis.values[0]) == [
        "hidden_size", "learning_rate", "num_train_epochs", "weighting"
    ]  # fmt: skip


def test_given_steps_leave_the_epochs_alone():
    names = [name for axis in axes_of({}, {"max_steps": 5}, num_texts=1000) for name in axis.values[0]]
    assert "num_train_epochs" not in names


# A size


def test_each_is_judged_after_the_compression(data):
    plain, small = searched(data, 3), searched(data, 3, target_mb=0.01)
    assert [trial.options for trial in plain.trials] == [trial.options for trial in small.trials]
    assert plain.trials[0].loss != small.trials[0].loss
    assert small.winner.score is not None
    assert small.target_mb == 0.01


def test_a_size_that_nothing_fits_is_refused_with_the_least(data):
    with pytest.raises(ValueError, match=r"2 settings in vain: target_mb=0.0001 is too small: the least .* 0.00. MB"):
        searched(data, 2, target_mb=0.0001)


# What goes wrong


def test_settings_that_diverge_do_not_win(data, monkeypatch):
    monkeypatch.setitem(autotune._VALUES, "learning_rate", (1e38,))
    model = {"hidden_size": 8, "word_ngrams": 1, "longest_ngram": 0, "ngram_buckets": 0, "weighting": "count"}
    first, second = searched(data, 9, model=model).trials
    assert first.score is not None
    assert (second.score, second.loss) == (None, None)
    assert "diverged" in second.failure
    with pytest.raises(ValueError, match="1 settings in vain: The training diverged"):
        searched(data, 9, model=model, training=FAST | {"learning_rate": 1e38})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0.0}, r"autotune.minutes=0.0 must be more than 0"),
        ({"trials": -1}, r"autotune.trials=-1 must be more than 0"),
        ({"trials": 3, "metric": "acuracy"}, r"unknown metric 'acuracy'; did you mean 'accuracy'\?"),
        ({"metric": "accuracy"}, r"autotune.metric='accuracy' without a budget: give minutes or trials"),
    ],
)
def test_wrong_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AutotuneSettings(**options)


def test_a_metric_of_another_problem_is_refused(data):
    with pytest.raises(
        ValueError, match=r"of a single_label_classification: unknown metric 'mse'.* Allowed: accuracy"
    ):
        searched(data, metric="mse")


def test_a_search_needs_a_budget_and_rows(data):
    with pytest.raises(ValueError, match="no budget: give minutes or trials"):
        searched(data, None)
    tokenizer, train, validation = data
    with pytest.raises(ValueError, match="needs validation rows"):
        searched((tokenizer, train, validation.select([])))


def test_the_record_reads_back(data, tmp_path):
    tuned = searched(data, 2)
    tuned.save(tmp_path / "autotune.json")
    assert Tuned.load(tmp_path / "autotune.json") == tuned
    (tmp_path / "autotune.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no record of a search"):
        Tuned.load(tmp_path / "autotune.json")
