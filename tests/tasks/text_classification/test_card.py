"""The card of the text classification recipe: every fact on it is what the run and its checkpoint say."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from transformers import pipeline

from hfseq.cards.render import check_card, render_card
from hfseq.data.text import Classes
from hfseq.evaluation.trainer_metrics import PROBLEMS
from hfseq.recipe.publish import launch_command
from hfseq.tasks.text_classification.settings import LabelledTexts
from tests.closeness import assert_same
from tests.contract.promises import same_weights
from tests.tasks.text_classification.classifiers import LABELS, TEXTS, facts_of, small_settings, text_task


@pytest.fixture
def settings(tmp_path):
    """Settings of a small run that writes nothing but into an empty folder."""
    return small_settings(tmp_path)


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
    names = task.classes.names
    for example, is_right in [(row, True) for row in facts.examples.right] + [
        (row, False) for row in facts.examples.wrong
    ]:
        row = TEXTS.index(example.text)
        assert example.predicted == names[answers[row]]
        assert example.expected == names[task.dataset["test"]["labels"][row]]
        assert (example.predicted == example.expected) == is_right
        assert_same(example.score, torch.tensor(logits[row]).softmax(-1).max())
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
        assert_same(example.score, np.maximum(scores, 1 - scores).min())


def test_examples_of_numbers_are_the_closest_and_the_furthest(settings, tmp_path):
    facts, logits, _ = facts_of(settings, text_task("regression"), tmp_path)
    errors = np.abs(logits[:, 0] - np.array(LABELS["regression"][:12]))
    assert_same(facts.examples.right[0].score, errors.min())
    assert_same(facts.examples.wrong[0].score, errors.max())


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
    rows = facts_of(settings, task, tmp_path)[0].comparisons
    commonest, words, published = (row for row in rows if row.metric == "accuracy")
    assert (commonest.name, commonest.value) == ("Most frequent class", (labels == 0).mean())
    assert words.name.startswith("Bag of words")
    assert words.value > 0.8
    assert (published.name, published.value, published.source) == ("Theirs", 0.9, "a paper")


def test_the_bag_of_words_beside_it_counts_pairs_of_words(settings, tmp_path):
    texts = ["good not bad", "bad not good"] * 12
    rows = Dataset.from_dict({"text": texts, "labels": [0, 2] * 12}, text_task().dataset["train"].features)
    uneven = rows.select([*range(24), 0, 2, 4])  # one class is the commonest
    task = dataclasses.replace(text_task(), dataset=DatasetDict({"train": uneven, "test": rows}))
    commonest, words = (row for row in facts_of(settings, task, tmp_path)[0].comparisons if row.metric == "accuracy")
    assert commonest.value == 0.5
    assert words.value == 1.0


@pytest.mark.parametrize(
    ("problem_type", "names", "metrics"),
    [
        ("multi_label_classification", ("Labels of more than", "Bag of words"), {"accuracy", "f1_macro"}),
        ("regression", ("Mean of the training", "Bag of words"), set(PROBLEMS["regression"].scores)),
    ],
)
def test_other_problems_have_baselines_of_their_own(settings, tmp_path, problem_type, names, metrics):
    found = facts_of(settings, text_task(problem_type), tmp_path)[0].comparisons
    assert {row.metric for row in found} == metrics
    assert all(row.name.startswith(names) for row in found)
    assert len(found) == 2 * len(metrics)


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
    settings.data = LabelledTexts(**data)
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
        ({"ask": [""]}, "card.ask holds empty texts alone"),
    ],
)
def test_what_the_card_would_refuse_is_refused_before_the_training(settings, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(settings, card=dataclasses.replace(settings.card, **changes))


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
        classes=Classes(["None", "nan", "TODO"]),
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
    recipe = (Path(__file__).parents[3] / "recipes/text_classification.py").read_text(encoding="utf-8")
    assert launcher.startswith("accelerate launch --multi_gpu --num_processes 2 ")
    assert f"\n    {launcher} \\\n" in recipe


def test_a_command_with_a_folder_of_this_machine_would_be_refused_by_the_card(settings, tmp_path):
    facts, _, _ = facts_of(settings, text_task(), tmp_path)
    facts.command = "python x.py --data.path=/home/ana/sets/snips"
    with pytest.raises(ValueError, match="a machine's path: '/home/ana/sets/snips'"):
        render_card(facts)
    facts.command = launch_command(["x.py", "--data.path=/home/ana/sets/snips"])
    assert "--data.path=snips" in render_card(facts)
