"""The parts of the text classification recipe: its model, its word vectors and the facts of its card."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import DataCollatorWithPadding, pipeline

from hfseq.cards import check_card, render_card
from hfseq.classification import (
    CardSettings,
    ClassificationSettings,
    TokenizerSettings,
    card_facts,
    make_model,
    make_tokenizer,
)
from hfseq.data.text import DataSettings, TextTask, load_text_dataset, tokenize_dataset
from hfseq.data.vectors import EmbeddingSettings
from hfseq.facts import SeedRun
from hfseq.metrics import PROBLEMS, check_metric_for_best_model, classification_metrics
from hfseq.publishing import launch_command
from hfseq.settings import read_settings
from hfseq.tokenization import KINDS
from hfseq.training import SequenceTrainer, SequenceTrainingArguments
from tests.contract import same_weights

TEXTS = ["a good film", "a bad film", "the plot was good", "the plot was bad", "a good plot", "a bad plot"] * 4
LABELS = {
    "single_label_classification": [[2, 0, 2, 0, 1, 0][i % 6] for i in range(24)],
    "multi_label_classification": [[float(i % 2), float(i % 3 == 0), 1.0] for i in range(24)],
    "regression": [i % 6 / 5 for i in range(24)],
}
FEATURES = {
    "single_label_classification": ClassLabel(names=["bad", "fair", "good"]),
    "multi_label_classification": List(Value("float32")),
    "regression": Value("float32"),
}
VECTORS = {"good": [1.0, 2.0, 3.0, 4.0], "plot": [-1.0, 0.5, 0.0, 0.25], "elsewhere": [9.0, 9.0, 9.0, 9.0]}


def text_task(problem_type="single_label_classification", labels=None):
    """24 training texts and 12 test ones."""
    labels = LABELS[problem_type] if labels is None else labels
    features = Features({"text": Value("string"), "labels": FEATURES[problem_type]})
    rows = Dataset.from_dict({"text": TEXTS, "labels": labels}, features)
    names = ["score"] if problem_type == "regression" else ["bad", "fair", "good"]
    return TextTask(DatasetDict({"train": rows, "test": rows.select(range(12))}), problem_type, names)


@pytest.fixture
def settings(tmp_path):
    """Settings of a small run that writes nothing but into an empty folder."""
    return ClassificationSettings(
        data=DataSettings(name="embedded"),
        card=CardSettings(
            model_id="hfseq/films",
            summary="Tells good films from bad ones.",
            data_name="Films",
            data_license="cc0-1.0",
            data_domain="sentences about films",
            ask=["a good plot", "what a film"],
        ),
        tokenizer=TokenizerSettings(min_frequency=1, max_length=16),
        model={"type": "lstm", "embedding_size": 4, "hidden_size": 5, "pooling": "max"},
        training={
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "max_steps": 5,
            "total_train_batch_size": 12,
            "learning_rate": 0.05,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
        },
    )


@pytest.fixture
def vectors(tmp_path):
    """A GloVe file with vectors for two of the words of TEXTS."""
    path = tmp_path / "vectors.txt"
    lines = [f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in VECTORS.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def made(settings, task=None):
    """Tokenizer and model for the settings, the same every time."""
    task = task or text_task()
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    torch.manual_seed(0)
    return tokenizer, make_model(settings, task, tokenizer)


def trained(settings, task):
    """A trainer that has run."""
    tokenizer, model = made(settings, task)
    rows = tokenize_dataset(task.dataset["train"], tokenizer)
    trainer = SequenceTrainer(
        model=model,
        args=SequenceTrainingArguments(**settings.training),
        train_dataset=rows,
        eval_dataset=tokenize_dataset(task.dataset["test"], tokenizer) if "test" in task.dataset else None,
        compute_metrics=classification_metrics(task.problem_type),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    trainer.train()
    return trainer


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


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_token_is_trained_on(settings, kind):
    task = load_text_dataset(DataSettings(name="embedded", max_rows=300))
    settings.tokenizer = TokenizerSettings(kind=kind, vocab_size=400, max_length=16)
    settings.training["max_steps"] = 1
    tokenizer, start = made(settings, task)
    trainer = trained(settings, task)
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
        ("--tokenizer.kind=wrod", 'tokenizer.kind is "wrod" but takes one of "word", "wordpiece", "unigram", "bpe", '),
        ("--tokenizer.padding_side=top", 'tokenizer.padding_side is "top" but takes one of "left", "right"'),
        ("--tokenizer.min_frequency=often", 'tokenizer.min_frequency is "often" but takes int or null'),
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
    assert trainer.score(rows)[1]["mse"] == pytest.approx(min(errors), abs=1e-6)


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


# The card


def facts_of(settings, task, tmp_path):
    """The facts of a run that has just ended, and its logits."""
    trainer = trained(settings, task)
    rows = tokenize_dataset(task.dataset["test"], trainer.processing_class)
    trainer.save_model(str(tmp_path / "model"))
    logits = trainer.predict(rows).predictions
    metrics = dict.fromkeys(PROBLEMS[task.problem_type].scores, 0.5)
    run = SeedRun(seed=0, metrics=metrics, minutes=0.1)
    options = {"logits": logits, "run": run, "command": "python recipes/text_classification.py"}
    return card_facts(settings, task, "test", tmp_path / "model", **options), logits, trainer.model


@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_facts_of_every_problem_render_to_a_card(settings, tmp_path, problem_type):
    task = text_task(problem_type)
    facts, _, model = facts_of(settings, task, tmp_path)
    card = render_card(facts)
    check_card(card)
    assert facts.problem_type == problem_type
    assert facts.parameters == model.num_parameters()
    assert f"{facts.parameters:,} parameters" in card
    assert facts.data.splits == {"train": 24, "test": 12}
    assert facts.data.unknown_rate == 0
    assert facts.speed.ms_per_text > 0
    architecture = facts.architecture
    assert (architecture.family, architecture.cell, architecture.pooling) == ("lstm", "LSTM", "max")
    assert (architecture.hidden_size, architecture.embedding_size, architecture.max_length) == (5, 4, 16)
    facts.save(tmp_path / "facts.json")
    assert type(facts).load(tmp_path / "facts.json") == facts


def test_examples_of_classes_are_what_the_logits_say(settings, tmp_path):
    task = text_task()
    facts, logits, _ = facts_of(settings, task, tmp_path)
    answers = logits.argmax(-1)
    names = task.label_names
    for example, is_right in [(row, True) for row in facts.examples.right] + [
        (row, False) for row in facts.examples.wrong
    ]:
        row = TEXTS.index(example.text)
        assert example.predicted == names[answers[row]]
        assert example.expected == names[task.dataset["test"]["labels"][row]]
        assert (example.predicted == example.expected) == is_right
        assert example.score == pytest.approx(torch.tensor(logits[row]).softmax(-1).max().item(), abs=1e-6)
    assert facts.examples.right


def test_examples_of_several_labels_join_their_names(settings, tmp_path):
    labels = [[float(i % 2), float(i % 3 == 0), 0.0] for i in range(24)]
    facts, logits, _ = facts_of(settings, text_task("multi_label_classification", labels), tmp_path)
    shown = [*facts.examples.right, *facts.examples.wrong]
    assert {row.expected for row in shown} <= {"bad, fair", "bad", "fair", "none"}
    for example in shown:
        scores = 1 / (1 + np.exp(-logits[TEXTS.index(example.text)]))
        chosen = [name for name, score in zip(["bad", "fair", "good"], scores, strict=True) if score > 0.5]
        assert example.predicted == (", ".join(chosen) or "none")
        assert example.score == pytest.approx(np.maximum(scores, 1 - scores).min(), abs=1e-6)


def test_examples_of_numbers_are_the_closest_and_the_furthest(settings, tmp_path):
    facts, logits, _ = facts_of(settings, text_task("regression"), tmp_path)
    errors = np.abs(logits[:, 0] - np.array(LABELS["regression"][:12]))
    assert facts.examples.right[0].score == pytest.approx(errors.min(), abs=1e-6)
    assert facts.examples.wrong[0].score == pytest.approx(errors.max(), abs=1e-6)


def test_restricted_rows_are_not_shown(settings, tmp_path):
    settings.card = dataclasses.replace(settings.card, data_restriction="research only")
    facts, _, _ = facts_of(settings, text_task(), tmp_path)
    assert not facts.examples.right and not facts.examples.wrong
    assert "research only" in render_card(facts)


def test_widgets_are_the_pipelines_answers_to_our_own_sentences(settings, tmp_path):
    facts, _, model = facts_of(settings, text_task(), tmp_path)
    pipe = pipeline("text-classification", model=str(tmp_path / "model"))
    assert same_weights(pipe.model, model)
    assert [widget.text for widget in facts.widgets] == settings.card.ask
    for widget in facts.widgets:
        assert widget.output[0].label == pipe(widget.text)[0]["label"]


def test_baselines_are_measured_on_the_evaluated_split(settings, tmp_path):
    task = text_task()  # 12 of 24 training texts are bad; the words tell all but nothing else
    labels = np.array(task.dataset["test"]["labels"])
    settings.card = dataclasses.replace(
        settings.card, comparisons=[{"name": "Theirs", "metric": "accuracy", "value": 0.9, "source": "a paper"}]
    )
    commonest, words, published = facts_of(settings, task, tmp_path)[0].comparisons
    assert (commonest.name, commonest.value) == ("Most frequent class", (labels == 0).mean())
    assert words.name.startswith("Bag of words")
    assert words.value > 0.8
    assert (published.name, published.value, published.source) == ("Theirs", 0.9, "a paper")


def test_a_bag_of_words_cannot_tell_what_only_the_order_tells(settings, tmp_path):
    texts = ["good not bad", "bad not good"] * 12
    rows = Dataset.from_dict({"text": texts, "labels": [0, 2] * 12}, text_task().dataset["train"].features)
    uneven = rows.select([*range(24), 0, 2, 4])  # one class is the commonest
    task = dataclasses.replace(text_task(), dataset=DatasetDict({"train": uneven, "test": rows}))
    commonest, words = facts_of(settings, task, tmp_path)[0].comparisons
    assert commonest.value == words.value == 0.5


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "regression"])
def test_there_are_no_baselines_where_there_is_no_single_class(settings, tmp_path, problem_type):
    assert facts_of(settings, text_task(problem_type), tmp_path)[0].comparisons == []


@pytest.mark.parametrize(
    ("data", "hub_id"),
    [
        ({"name": "user/films"}, "user/films"),
        ({"name": "user/films", "path": "data/films"}, None),
        ({"path": "data/films"}, None),
        ({"name": "embedded"}, None),
    ],
)
def test_only_the_data_set_that_was_read_is_named(settings, tmp_path, data, hub_id):
    settings.data = DataSettings(**data)
    facts, _, _ = facts_of(settings, text_task(), tmp_path)
    assert facts.data.hub_id == hub_id
    assert ("\ndatasets:\n- user/films\n" in render_card(facts)) == (hub_id is not None)


COMPARISON = {"name": "Theirs", "metric": "accuracy", "value": 0.9, "source": "a paper"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"comparisons": [COMPARISON, {**COMPARISON, "metric": "acuracy"}]}, "'acuracy'; did you mean 'accuracy'"),
        ({"comparisons": [{**COMPARISON, "source": "[theirs](paper.pdf)"}]}, r"comparisons\[0\]\.source has a link"),
        ({"limits": ["Small.", "TODO"]}, r"card\.limits\[1\] has a placeholder: 'TODO'"),
        ({"citations": ["@misc{a, file = {/home/me/a.pdf}}"]}, r"card\.citations\[0\] has a machine's path"),
        ({"data_license": "None"}, r"card\.data_license has no value: 'None'"),
        ({"summary": ""}, r"card\.summary has no value"),
        ({"license": "other"}, "needs a license_name and a license_link"),
        ({"ask": []}, "card.ask is empty"),
    ],
)
def test_what_the_card_would_refuse_is_refused_before_the_training(settings, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(settings.card, **changes)


def test_the_words_of_a_good_run_reach_the_card(settings, tmp_path):
    settings.card = dataclasses.replace(
        settings.card,
        ask=["add eggs to my todo list", "call my nan"],
        limits=["None of the films is older than a year."],
        license="other",
        license_name="terms",
        license_link="https://example.org/terms",
    )
    task = text_task()
    rows = task.dataset["test"].map(lambda row: {"text": "nan"})
    task = dataclasses.replace(
        task,
        dataset=DatasetDict({"train": task.dataset["train"], "test": rows}),
        label_names=["None", "nan", "TODO"],
    )
    card = render_card(facts_of(settings, task, tmp_path)[0])
    assert 'print(pipe("add eggs to my todo list"))' in card
    assert "\n- None of the films is older than a year.\n" in card
    assert "\n| nan | `" in card
    assert "license: other\nlicense_name: terms\n" in card


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("--data.path=/home/ana/sets/snips", "--data.path=snips"),
        ("--data.path=C:\\Users\\ana\\snips", "--data.path=snips"),
        ("--data.path={train: /tmp/a.csv, test: /srv/b/c.csv}", "'--data.path={train: a.csv, test: c.csv}'"),
        ("--data.path=data/snips", "--data.path=data/snips"),
        ("--data.name=user/name", "--data.name=user/name"),
        ("--card.data_url=https://example.org/a/b", "--card.data_url=https://example.org/a/b"),
    ],
)
def test_the_shown_command_names_no_folder_of_this_machine(word, shown):
    assert launch_command(["/opt/recipes/x.py", word]) == f"python x.py {shown}"


def test_the_shown_command_names_files_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(tmp_path / "recipes/x.py"), "--config", str(tmp_path / "configs/y.yaml"), "--card.summary=a b"]
    assert launch_command(words) == "python recipes/x.py --config configs/y.yaml '--card.summary=a b'"


def test_several_processes_are_launched_as_the_recipe_tells(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launch_command(["x.py"]) == "python x.py"
    monkeypatch.setenv("WORLD_SIZE", "2")
    launcher, script = launch_command(["x.py", "--training.num_processes=2"]).split(" x.py ")
    assert script == "--training.num_processes=2"
    recipe = (Path(__file__).parents[1] / "recipes/text_classification.py").read_text(encoding="utf-8")
    assert launcher.startswith("accelerate launch --multi_gpu --num_processes 2 ")
    assert f"\n    {launcher} \\\n" in recipe


def test_a_command_with_a_folder_of_this_machine_would_be_refused_by_the_card(settings, tmp_path):
    facts, _, _ = facts_of(settings, text_task(), tmp_path)
    facts.command = "python x.py --data.path=/home/ana/sets/snips"
    with pytest.raises(ValueError, match="a machine's path: '/home/ana/sets/snips'"):
        render_card(facts)
    facts.command = launch_command(["x.py", "--data.path=/home/ana/sets/snips"])
    assert "--data.path=snips" in render_card(facts)
