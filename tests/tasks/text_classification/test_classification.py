"""The parts of the text classification recipe: its model, its tokens and what it starts from."""

import dataclasses
import json

import pytest
import torch
from transformers import pipeline

from hfseq.cards.render import render_card
from hfseq.data.text import load_text_dataset, tokenize_dataset
from hfseq.data.vectors import EmbeddingSettings
from hfseq.evaluation.trainer_metrics import PROBLEMS, check_metric_for_best_model
from hfseq.models.recurrent.lstm import LSTMConfig, LSTMForCausalLM
from hfseq.settings import read_settings
from hfseq.tasks.text_classification.build import load
from hfseq.tasks.text_classification.settings import LabelledTexts, TokenizerSettings, TransferSettings
from hfseq.tokenization import KINDS, prompt_tokenizer, train_tokenizer
from tests.closeness import assert_same
from tests.contract.promises import same_weights
from tests.tasks.text_classification.classifiers import TEXTS, facts_of, made, small_settings, text_task, trained

VECTORS = {"good": [1.0, 2.0, 3.0, 4.0], "plot": [-1.0, 0.5, 0.0, 0.25], "elsewhere": [9.0, 9.0, 9.0, 9.0]}


@pytest.fixture
def settings(tmp_path):
    """Settings of a small run that writes nothing but into an empty folder."""
    return small_settings(tmp_path)


@pytest.fixture
def vectors(tmp_path):
    """A GloVe file with vectors for two of the words of TEXTS."""
    path = tmp_path / "vectors.txt"
    lines = [f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in VECTORS.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


# The model


@pytest.mark.parametrize("family", ["rnn", "lstm", "gru"])
def test_the_model_fits_the_tokenizer_and_the_labels(settings, family):
    settings.model["type"] = family
    tokenizer, model = made(settings)
    config = model.config
    assert config.model_type == f"hfseq_{family}"
    assert (config.vocab_size, config.pad_token_id) == (len(tokenizer), tokenizer.pad_token_id)
    assert (config.bos_token_id, config.eos_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert config.id2label == {0: "bad", 1: "fair", 2: "good"}
    assert config.label2id == {"bad": 0, "fair": 1, "good": 2}
    assert (config.embedding_size, config.hidden_size, config.pooling) == (4, 5, "max")
    assert not model.get_input_embeddings().weight[tokenizer.pad_token_id].any()
    assert settings.model["type"] == family  # the settings, which are saved, stay whole


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_the_problem_decides_the_outputs(settings, problem_type):
    _, model = made(settings, text_task(problem_type))
    assert model.config.problem_type == problem_type
    assert model.classifier.out_features == (1 if problem_type == "regression" else 3)
    assert model.config.id2label[0] == ("score" if problem_type == "regression" else "bad")


# Tokens


@pytest.fixture(scope="module")
def requests():
    return load_text_dataset(LabelledTexts(name="embedded", max_rows=300))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_token_is_trained_on(settings, requests, kind):
    settings.tokenizer = TokenizerSettings(kind=kind, vocab_size=400, max_length=16)
    settings.training["max_steps"] = 1
    tokenizer, start = made(settings, requests)
    trainer = trained(settings, requests)
    assert 20 < len(tokenizer) <= 400
    assert trainer.state.global_step == 1
    assert not same_weights(trainer.model, start)


@dataclasses.dataclass
class TokenizerOnly:
    """The section alone."""

    tokenizer: TokenizerSettings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "--tokenizer.kind=wrod",
            'tokenizer.kind is "wrod" but takes one of "word", "word_or_characters", "wordpiece", "unigram", "bpe", ',
        ),
        ("--tokenizer.padding_side=top", 'tokenizer.padding_side is "top" but takes one of "left", "right"'),
        ("--tokenizer.min_count=often", 'tokenizer.min_count is "often" but takes int or null'),
    ],
)
def test_misspelt_settings_of_the_tokenizer_are_answered_before_anything_is_read(tmp_path, override, message):
    path = tmp_path / "a.yaml"
    path.write_text("tokenizer: {max_length: 16}\n", encoding="utf-8")
    with pytest.raises(ValueError) as error:
        read_settings(TokenizerOnly, ["--config", str(path), override])
    assert message in str(error.value)


# Regression


def test_a_regression_keeps_the_best_model_by_the_scores_it_has(settings):
    task = text_task("regression")
    settings.training |= {
        "metric_for_best_model": "mse",
        "load_best_model_at_end": True,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 1,
        "save_steps": 1,
    }
    trainer = trained(settings, task)
    errors = [entry["eval_mse"] for entry in trainer.state.log_history if "eval_mse" in entry]
    assert trainer.state.best_metric == min(errors) < max(errors)
    rows = tokenize_dataset(task.dataset["test"], trainer.processing_class)
    assert_same(trainer.score(rows)[1]["mse"], min(errors))


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_a_metric_that_is_not_measured_is_answered_with_those_that_are(problem_type):
    allowed = (*PROBLEMS[problem_type].scores, "loss")
    for name in (None, *allowed, *(f"eval_{score}" for score in allowed)):
        check_metric_for_best_model(name, problem_type)
    wrong = "accuracy" if problem_type == "regression" else "mse"
    with pytest.raises(ValueError) as error:
        check_metric_for_best_model(wrong, problem_type)
    start = f"metric_for_best_model={wrong!r} is not measured for {problem_type}; choose one of "
    assert str(error.value) == f"{start}{', '.join(allowed)}."


# Word vectors


def test_pretrained_vectors_fill_the_rows_of_their_words_alone(settings, vectors, caplog):
    tokenizer, random = made(settings)
    settings.embeddings = EmbeddingSettings(from_pretrained=vectors)
    _, filled = made(settings)
    before, after = (model.get_input_embeddings().weight.detach() for model in (random, filled))
    known = tokenizer.convert_tokens_to_ids(["good", "plot"])
    assert after[known].tolist() == [VECTORS["good"], VECTORS["plot"]]
    others = [row for row in range(len(tokenizer)) if row not in known]
    assert len(others) > 5
    assert torch.equal(after[others], before[others])
    assert f"{vectors} covers {100 * 2 / len(tokenizer):.1f} % of the vocabulary." in caplog.text


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_vectors_stay_and_others_are_trained(settings, vectors, freeze):
    settings.embeddings = EmbeddingSettings(from_pretrained=vectors, freeze=freeze)
    tokenizer, start = made(settings)
    model = trained(settings, text_task()).model
    assert torch.equal(model.get_input_embeddings().weight, start.get_input_embeddings().weight) == freeze
    assert not torch.equal(model.classifier.weight, start.classifier.weight)
    known = tokenizer.convert_tokens_to_ids(["good", "plot"])
    stayed = model.get_input_embeddings().weight[known].tolist() == [VECTORS["good"], VECTORS["plot"]]
    assert stayed == freeze


def test_vectors_of_another_width_are_answered_with_both_widths(settings, vectors):
    settings.embeddings = EmbeddingSettings(from_pretrained=vectors)
    settings.model["embedding_size"] = 6
    with pytest.raises(ValueError, match=r"have 4 numbers, the model's embeddings 6. Set model.embedding_size to 4."):
        made(settings)


def test_vectors_of_words_do_not_fill_a_bag_of_bytes(settings, vectors):
    settings.embeddings, settings.tokenizer.kind = EmbeddingSettings(from_pretrained=vectors), "byte"
    settings.model = {"type": "bag", "hidden_size": 4, "ngram_buckets": 100}
    with pytest.raises(ValueError, match=r"are bytes with tokenizer.kind=byte: take the kind word, or leave it out"):
        made(settings)


@pytest.mark.parametrize("room", [{"max_position_embeddings": 15}, {}])
def test_texts_longer_than_the_learned_positions_are_refused(settings, room):
    model = {"type": "transformer", "position_embedding_type": "learned", **room}
    limit = room.get("max_position_embeddings", 512)
    tokenizer = dataclasses.replace(settings.tokenizer, max_length=limit + 1)
    with pytest.raises(ValueError, match=f"max_length={limit + 1} lets texts be longer than the {limit} learned"):
        dataclasses.replace(settings, model=model, tokenizer=tokenizer)
    dataclasses.replace(settings, model=model | {"position_embedding_type": "rotary"}, tokenizer=tokenizer)
    tokenizer.max_length = limit
    dataclasses.replace(settings, model=model, tokenizer=tokenizer)


# A language model to start from


@pytest.fixture(params=[True, False], ids=["with <s>", "without <s>"])
def language_model(request, tmp_path):
    """A language model's folder, with the tokenizer that is saved beside one."""
    tokens = train_tokenizer(TEXTS, "word_with_space", purpose="language-modeling", min_frequency=1, vocab_size=60)
    torch.manual_seed(5)
    sizes = {"vocab_size": len(tokens), "embedding_size": 6, "hidden_size": 6, "tie_word_embeddings": True}
    model = LSTMForCausalLM(LSTMConfig(**sizes, hidden_dropout=0.25, bos_token_id=2, eos_token_id=3))
    folder = tmp_path / "lm"
    model.save_pretrained(folder)
    prompt_tokenizer(tokens, add_bos=request.param).save_pretrained(folder)
    return folder, model, request.param


def transferred(settings, folder):
    """The settings with a language model to start from."""
    return dataclasses.replace(
        settings,
        transfer=TransferSettings(from_pretrained=str(folder)),
        tokenizer=TokenizerSettings(max_length=16),
        model={"type": "lstm", "pooling": "mean_max"},
    )


def test_a_classifier_starts_from_the_body_and_the_tokenizer_of_a_language_model(settings, language_model, caplog):
    folder, start, writes_bos = language_model
    tokenizer, model = made(transferred(settings, folder))
    assert same_weights(model.model, start.model)
    assert (model.config.pooling, model.config.hidden_dropout) == ("mean_max", 0.25)
    assert model.config.vocab_size == len(tokenizer) == 12
    assert (model.config.problem_type, model.config.id2label[2]) == ("single_label_classification", "good")
    assert f"4 of 6 tensors come from {folder}; new: classifier.bias, classifier.weight." in caplog.text
    words = ["<s>"] * writes_bos + ["a", " good", " film", "</s>"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("a good film")["input_ids"]) == words
    assert tokenizer.model_max_length > 10**9  # not settings.tokenizer.max_length, which is of the training


def test_a_transferred_classifier_is_trained_saved_and_named_on_its_card(settings, language_model, tmp_path):
    folder, start, writes_bos = language_model
    settings = transferred(settings, folder)
    settings.training |= {"max_steps": 12, "layer_rate_decay": 0.5, "unfreeze_every": 1, "num_train_epochs": 6}
    facts, logits, model = facts_of(settings, text_task(), tmp_path)
    assert not same_weights(model.model, start.model)
    assert "Initial weights:** the body of the language model lm." in render_card(facts)
    pipe = pipeline("text-classification", model=str(tmp_path / "model"))
    ids = pipe.tokenizer("a film")["input_ids"]
    assert (ids[0] == 2, ids[-1], len(ids)) == (writes_bos, 3, 3 + writes_bos)
    scores = torch.tensor(logits).softmax(-1).max(-1).values.tolist()
    assert_same([answer["score"] for answer in pipe(TEXTS[:12])], scores)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"embeddings": EmbeddingSettings(from_pretrained="vectors.txt")},
            "'vectors.txt' would replace the embeddings",
        ),
        (
            {"tokenizer": TokenizerSettings(kind="bpe")},
            "tokenizer.kind='bpe': the tokenizer comes from transfer.from_pre",
        ),
        ({"tokenizer": TokenizerSettings(lowercase=False)}, "only max_length and padding_side still count"),
    ],
)
def test_settings_that_a_language_model_sets_aside_are_refused(settings, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(transferred(settings, "lm"), **changes)


def test_a_revision_is_of_something():
    with pytest.raises(ValueError, match="revision='main' of what"):
        TransferSettings(revision="main")


@pytest.mark.parametrize("language_model", [True], indirect=True)
def test_a_model_that_does_not_fit_the_language_model_is_answered_with_both(settings, language_model):
    folder, _, _ = language_model
    settings = transferred(settings, folder)
    settings.model = {"type": "gru"}
    with pytest.raises(ValueError, match=r"model.type='gru', but '.*lm' holds a model of type 'lstm': give the same"):
        made(settings)
    settings.model = {"type": "lstm", "hidden_size": 5, "tie_word_embeddings": False}
    with pytest.raises(ValueError, match="another shape"):
        made(settings)


# Few labels


def rows_of(folder, labels):
    """A data set with a text for each label, the same in training and validation."""
    path = folder / "rows.csv"
    lines = ["text,label", *(f"text {number},{label}" for number, label in enumerate(labels))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"path": {"train": str(path), "validation": str(path)}}


@pytest.mark.parametrize("rows", [7, 8, 60])
def test_few_training_rows_hold_every_class_and_the_other_splits_stay(tmp_path, rows):
    source = rows_of(tmp_path, [f"class {number % 7}" for number in range(70)])
    whole, few = load(LabelledTexts(**source)), load(LabelledTexts(**source, train_rows=rows))
    texts = few.dataset["train"]["text"][:]
    assert len(texts) == len(set(texts)) == rows
    assert set(few.dataset["train"]["labels"]) == set(range(7))
    for text, label in zip(texts, few.dataset["train"]["labels"], strict=True):
        assert int(text.split()[1]) % 7 == label
    assert few.dataset["validation"][:] == whole.dataset["validation"][:]
    assert few.dataset["train"].features == whole.dataset["train"].features
    assert whole.dataset["train"].num_rows == 70
    assert load(LabelledTexts(**source, train_rows=71)).dataset["train"][:] == whole.dataset["train"][:]


def test_few_training_rows_of_several_labels_hold_each_of_them(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"text {number}", "label": ["rare"] if number == 31 else ["a", "b"]} for number in range(60)]
    lines = map(json.dumps, rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    few = load(LabelledTexts(path={"train": str(path), "validation": str(path)}, train_rows=3))
    assert "text 31" in few.dataset["train"]["text"]
    assert few.dataset["train"].num_rows == 3


def test_the_seed_draws_the_training_rows_and_the_one_of_a_rare_class(tmp_path):
    source = rows_of(tmp_path, ["rare" if number == 77 else "common" for number in range(200)])

    def drawn(seed):
        return load(LabelledTexts(**source, train_rows=6, seed=seed)).dataset["train"]["text"][:]

    assert drawn(0) == drawn(0) != drawn(1)
    assert all("text 77" in drawn(seed) and len(drawn(seed)) == 6 for seed in range(3))


def test_training_rows_that_cannot_hold_every_class_are_answered_with_their_number(tmp_path):
    source = rows_of(tmp_path, [f"class {number % 7}" for number in range(70)])
    with pytest.raises(ValueError, match="data.train_rows=6 cannot hold a row of each class: it takes 7"):
        load(LabelledTexts(**source, train_rows=6))
    with pytest.raises(ValueError, match="train_rows=0 must be at least 1"):
        LabelledTexts(**source, train_rows=0)
