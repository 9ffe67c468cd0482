"""What follows the minutes and the data for language models and taggers, and that what a person says wins."""

from typing import get_args

import pytest

from hfseq.data.documents import DocumentSettings
from hfseq.data.tagged import TaggedSettings
from hfseq.data.vectors import EmbeddingSettings
from hfseq.models.recurrent.recursive import RecursiveConfig
from hfseq.recipe.budget import BudgetSettings
from hfseq.recipe.defaults.classification import training_defaults, vocabulary_defaults
from hfseq.recipe.defaults.joint import joint_model, joint_training
from hfseq.recipe.defaults.language import language_sizes, language_training
from hfseq.recipe.defaults.rows import RowCounts
from hfseq.recipe.defaults.stopping import kept_on_validation
from hfseq.recipe.defaults.tagging import tagger_model, tagger_training
from hfseq.recipe.defaults.trees import tree_model, tree_training
from hfseq.recipe.sections import CardSettings
from hfseq.registry import FAMILIES
from hfseq.settings import known_fields
from hfseq.tasks.causal_lm.settings import CausalLMSettings
from hfseq.tasks.tagging.settings import TaggingSettings, TokenizerSettings
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.streams.trainer import StreamTrainingArguments

SIZES = (10_000, 500_000, 2_000_000, 10_000_000, 100_000_000)  # characters
ROWS = [RowCounts(rows, 20, 40, 2) for rows in (10, 2_000, 30_000, 300_000, 10_000_000)]


def card():
    return CardSettings(model_id="user/model", data_name="Ours", data_license="cc0-1.0")


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_the_best_model_on_validation_is_kept(strategy, tmp_path):
    said = kept_on_validation("accuracy", strategy, patience=3)
    args = SequenceTrainingArguments(str(tmp_path), use_cpu=True, **said)
    assert args.load_best_model_at_end and args.metric_for_best_model == "accuracy"
    assert args.eval_strategy == args.save_strategy == strategy  # else the best model might not have been saved
    assert args.early_stopping_patience == 3 and args.save_total_limit == 1


def test_updates_follow_the_rows_within_bounds():
    steps = [training_defaults("gru", rows, "accuracy", {}, None)["max_steps"] for rows in ROWS]
    assert steps == sorted(steps) and steps[0] == 1_500 and steps[-1] == 20_000
    assert steps[0] < steps[2] < steps[-1]
    for said in (5, 10_000):  # evaluations follow the steps that a person wants
        defaults = training_defaults("gru", ROWS[1], "accuracy", {"max_steps": said}, None)
        assert 1 <= defaults["eval_steps"] == defaults["save_steps"] <= said


def test_rows_of_the_vocabulary_follow_the_rows_of_the_data():
    words = [vocabulary_defaults("gru", rows)["vocab_size"] for rows in ROWS]
    assert words == sorted(words) and words[0] < words[-1]
    assert vocabulary_defaults("gru", ROWS[1])["min_count"] == 2  # a network meets <unk> in training
    assert vocabulary_defaults("bag", ROWS[1])["min_count"] == 1


@pytest.mark.parametrize("carry", ["stream", "document", "none"])
def test_the_minutes_of_a_language_model_are_a_limit_of_arguments_that_work(carry, tmp_path):
    args = StreamTrainingArguments(str(tmp_path), use_cpu=True, **language_training(3.0, carry))
    assert (args.max_minutes, args.carry, args.metric_for_best_model) == (3.0, carry, "loss")


@pytest.mark.parametrize("family", ["rnn", "gru", "lstm", "transformer"])
def test_longer_texts_get_wider_language_models_with_less_dropout(family):
    is_recurrent = family != "transformer"
    found = [language_sizes(size, is_recurrent=is_recurrent) for size in SIZES]
    widths, dropouts = ([sizes[name] for sizes in found] for name in ("hidden_size", "hidden_dropout"))
    assert widths == sorted(widths) and dropouts == sorted(dropouts, reverse=True)
    assert dropouts[0] > dropouts[-1] and (widths[0] < widths[-1]) is is_recurrent
    for sizes in found:
        assert sizes.keys() <= known_fields(FAMILIES[family].config).keys()
        FAMILIES[family].config(vocab_size=50, **sizes)


def test_a_language_model_keeps_what_a_person_said(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a b c " * 200, encoding="utf-8")
    said = {"num_train_epochs": 2.0, "window": 16, "carry": "stream", "learning_rate": 0.5}
    settings = CausalLMSettings(
        data=DocumentSettings(path=str(path), documents="whole", test_fraction=0.3),
        card=card(),
        model={"type": "gru", "hidden_size": 7},
        training=dict(said),
        budget=BudgetSettings(minutes=2.0),
    )
    assert said.items() <= settings.training.items() and settings.training["max_minutes"] == 2.0
    assert settings.data.test_fraction == 0.3
    settings.follow({"train": {"text": ["a" * 1_000_000]}})
    assert settings.model["hidden_size"] == 7 and settings.model["embedding_size"] == 64


@pytest.mark.parametrize("family", ["crf", "lstm", "window", "transformer"])
def test_the_minutes_of_a_tagger_are_a_limit_of_arguments_that_work(family, tmp_path):
    known = known_fields(FAMILIES[family].config).keys()
    for rows in (100, 100_000):
        chosen = {name: value for name, value in tagger_model(family, rows, 9, {}).items() if name in known}
        args = SequenceTrainingArguments(
            str(tmp_path), use_cpu=True, **tagger_training(family, 3.0, rows, "entity_f1", chosen, {})
        )
        assert args.max_minutes == 3.0
        if family != "crf":
            assert args.load_best_model_at_end and args.metric_for_best_model == "entity_f1"
        spelled = {"num_characters": 9, "spelling_size": 99} | ({"word_rows": 9} if "word_rows" in known else {})
        FAMILIES[family].config(vocab_size=50, **chosen, **(spelled if "num_characters" in known else {}))


def test_few_texts_of_words_are_read_often_enough():
    sizes = (100, 10_000)
    for few, many in (
        (tagger_training("lstm", 3.0, rows, "accuracy", {}, {}) for rows in sizes),
        (joint_training("lstm", 3.0, rows, {}) for rows in sizes),
    ):
        assert few["max_steps"] == 1_500 and many["max_steps"] == 40 * 10_000 // 32
        assert few["max_steps"] // few["eval_steps"] == many["max_steps"] // many["eval_steps"] == 40
    assert "max_steps" not in joint_training("lstm", 3.0, 100, {"num_train_epochs": 3})
    assert "max_steps" not in tagger_training("lstm", 3.0, 100, "accuracy", {}, {"num_train_epochs": 3})


@pytest.mark.parametrize("family", ["lstm", "window", "transformer"])
def test_the_minutes_of_a_model_of_intents_and_slots_are_a_limit_of_arguments_that_work(family, tmp_path):
    args = SequenceTrainingArguments(str(tmp_path), use_cpu=True, **joint_training(family, 3.0, 100, {}))
    assert (args.max_minutes, args.metric_for_best_model) == (3.0, "frame_accuracy") and args.greater_is_better
    sizes = joint_model(family, 100, {})
    known = known_fields(FAMILIES[family].config).keys() - {"characters", "case_features"}  # which need a tokenizer
    FAMILIES[family].config(vocab_size=50, **{name: value for name, value in sizes.items() if name in known})
    assert sizes["crf"] is True and ("characters" in sizes) is (family == "lstm")
    assert "characters" not in joint_model("lstm", 100, {"characters": "none"})


@pytest.mark.parametrize("composition", get_args(RecursiveConfig.__annotations__["composition"]))
def test_the_minutes_of_a_model_of_trees_are_a_limit_of_arguments_that_work(composition, tmp_path):
    for rows in (100, 10_000, 100_000):
        args = SequenceTrainingArguments(str(tmp_path), use_cpu=True, **tree_training(3.0, rows, {}))
        assert (args.max_minutes, args.metric_for_best_model) == (3.0, "root_accuracy") and args.greater_is_better
        RecursiveConfig(composition=composition, **tree_model(rows, composition))  # of a width that it allows
    assert tree_model(100, "tree_lstm")["hidden_size"] < tree_model(10_000, "tree_lstm")["hidden_size"]


def test_few_texts_of_a_tagger_are_dropped_from_more():
    few, many = (tagger_model("gru", rows, 9, {}) for rows in (100, 100_000))
    assert few["hidden_dropout"] > many["hidden_dropout"] and few["classifier_dropout"] > many["classifier_dropout"]


def test_features_stand_beside_a_tagger_of_few_texts():
    for rows, has in ((100, True), (3_000, True), (100_000, False)):
        chosen = tagger_model("lstm", rows, 9, {})
        assert bool(chosen["feature_buckets"]) is has
        assert tagger_training("lstm", 3.0, rows, "accuracy", chosen, {})["wide_solver"] == (
            "regression" if has else "steps"
        )
    assert "feature_buckets" not in tagger_model("lstm", 100, 9, {"characters": "none"})


def test_rows_of_features_follow_texts_and_tags_within_bounds():
    buckets = [tagger_model("crf", rows, 9, {})["feature_buckets"] for rows in (10, 3_000, 10_000_000)]
    assert buckets == sorted(buckets) and buckets[0] < buckets[1]
    for labels in (1, 17, 1_000):  # a file of a few megabytes
        assert labels * tagger_model("crf", 1_000_000, labels, {})["feature_buckets"] <= 1 << 23


def tagger(**sections):
    return TaggingSettings(data=TaggedSettings(name="embedded"), card=card(), **sections)


@pytest.mark.parametrize("minutes", [None, 2.0])
def test_a_tagger_keeps_what_a_person_said(minutes):
    said = {"num_train_epochs": 2.0, "learning_rate": 0.5}
    settings = tagger(
        model={"type": "lstm", "hidden_size": 7}, training=dict(said), budget=BudgetSettings(minutes=minutes)
    )
    settings.follow(100, 9, "entity_f1")
    assert said.items() <= settings.training.items() and settings.model["hidden_size"] == 7
    if minutes is None:  # nothing is filled in
        assert settings.training == said and settings.model == {"type": "lstm", "hidden_size": 7}
        assert settings.tokenizer.kind == "word"
    else:
        assert settings.training["max_minutes"] == minutes and settings.model["bidirectional"] is True
        assert settings.tokenizer.kind == "word_or_characters" and settings.tokenizer.label_all_tokens is False


@pytest.mark.parametrize(
    ("model", "kind", "expected"),
    [
        ({"characters": "none"}, None, "word"),
        ({"characters": "none"}, "word_or_characters", "word_or_characters"),
        ({}, "bpe", "bpe"),
        ({}, "whitespace", "whitespace"),
        ({}, "word", "word"),
        ({"characters": "lstm"}, "word", "word"),
        ({"characters": "lstm"}, None, "word_or_characters"),
    ],
)
def test_what_a_person_says_of_words_decides_whether_they_are_spelled(model, kind, expected):
    settings = tagger(
        model={"type": "gru", **model}, tokenizer=TokenizerSettings(kind=kind), budget=BudgetSettings(minutes=1.0)
    )
    settings.follow(100, 9, "accuracy")
    assert settings.tokenizer.kind == expected
    reads = kind != "bpe" and model.get("characters") != "none"
    assert settings.reads_words is reads and bool(settings.model.get("feature_buckets")) is reads
    assert settings.training["wide_solver"] == ("regression" if reads else "steps")


def test_the_kind_of_tokens_is_what_a_person_says_without_a_budget_too():
    reading = {"type": "lstm", "characters": "cnn"}
    assert tagger(model=reading).tokenizer.kind == "word_or_characters"
    assert tagger(model=reading, tokenizer=TokenizerSettings(kind="word")).tokenizer.kind == "word"
    assert tagger(model={"type": "lstm"}).tokenizer.kind == "word"


@pytest.mark.parametrize("minutes", [None, 1.0])
@pytest.mark.parametrize("model", [{"type": "lstm", "characters": "cnn"}, {"type": "crf"}])
def test_tokens_that_tell_no_spelling_are_refused_where_a_model_reads_it(model, minutes):
    with pytest.raises(ValueError, match="tokenizer.kind='bpe': these tokens do not tell how words are spelled"):
        tagger(model=model, tokenizer=TokenizerSettings(kind="bpe"), budget=BudgetSettings(minutes=minutes)).follow(
            100, 9, "accuracy"
        )


def test_a_tagger_without_vectors_takes_none():
    with pytest.raises(ValueError, match="model.type=crf looks at features of words and has no vectors"):
        tagger(model={"type": "crf"}, embeddings=EmbeddingSettings(from_pretrained="vectors.txt"))
