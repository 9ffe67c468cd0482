"""What the recipe of trees does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import dataclasses
import json
import re
import subprocess
import sys

import pytest
import torch
from transformers import pipeline

import hfseq
from hfseq import plots
from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card, render_card
from hfseq.tasks.trees.rivals import Phrases
from tests.launches import HANGS
from tests.tasks.base import QUIET, RECIPES, facts, losses

RECIPE = RECIPES["trees"]
SHORT = ("--training.max_steps=2", "--training.save_strategy=no", "--training.eval_strategy=no")
UNSAVED = (*SHORT[1:], "--training.load_best_model_at_end=false")
TWO = '--data.label_map={"0": bad, "1": bad, "3": good, "4": good}'


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("trees")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A model that has learnt how negation and degree work, from the embedded trees."""
    folder = tmp_path_factory.mktemp("learnt") / "trees"
    sizes = ("--model.hidden_size=64", "--model.embedding_size=64", "--training.num_train_epochs=4", "--card.ask=[]")
    with pytest.MonkeyPatch.context() as patched:
        RECIPE.run(patched, folder, *sizes, *UNSAVED, small=QUIET)
    return pipeline("tree-sentiment", model=str(folder))


def test_the_small_run_learns_and_prints_what_its_facts_say(plain):
    folder, printed = plain
    for name, value in facts(folder).runs[0].metrics.items():
        assert f"{name} {value:.4f}" in printed
    assert list(facts(folder).runs[0].metrics) == ["root_accuracy", "node_accuracy", "binary_root_accuracy"]
    assert facts(folder).data.splits == {"train": 96, "validation": 96, "test": 96}
    assert losses(folder)[-1] < 0.8 * losses(folder)[0]


def test_the_tables_of_the_card_count_every_node_of_the_split(plain):
    made = facts(plain[0])
    assert sum(row.phrases for row in made.lengths) == made.nodes["test"]
    right = sum(row.phrases * row.accuracy for row in made.lengths)
    assert right / made.nodes["test"] == pytest.approx(made.runs[0].metrics["node_accuracy"])
    peers = [row for row in made.comparisons if row.metric == "node_accuracy"]
    assert [row.name.partition(" (")[0] for row in peers] == ["Most frequent class", "Words of phrases"]
    beside = sum(row.phrases * row.peer for row in made.lengths) / made.nodes["test"]
    assert beside == pytest.approx(peers[1].value)
    found = made.negation
    assert found.phrases > 10 and found.words[:2] == ["not", "n't"] and 0 < found.changed < 1
    names = [row.name.partition(" (")[0] for row in made.comparisons if row.metric == "root_accuracy"]
    assert names == ["Most frequent class", "Bag of words", "Words of phrases"]


def test_the_saved_model_answers_as_its_card_says(plain):
    folder, _ = plain
    pipe = pipeline("tree-sentiment", model=str(folder))
    assert len(facts(folder).widgets) == 2
    for widget in facts(folder).widgets:
        found = pipe(widget.text)
        assert found["brackets"] == widget.brackets and found["label"] == widget.output[0].label
        assert found["score"] == pytest.approx(widget.output[0].score, abs=1e-4)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"# {facts(folder).widgets[0].brackets}" in card and "## Phrases by length" in card


def test_the_command_evaluates_predicts_and_informs(plain, capsys):
    from hfseq.cli import main

    folder, _ = plain
    assert main(["predict", str(folder), "(2 (2 It) (2 works))", "It works"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer.keys() for answer in told] == [{"text", "label", "score", "brackets"}] * 2
    assert told[0]["brackets"] == told[1]["brackets"]
    assert main(["info", str(folder)]) == 0
    assert re.search(r"task tree-sentiment\n.*\nlabels: +5: very negative, ", capsys.readouterr().out)
    assert main(["evaluate", str(folder), "embedded"]) == 0
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert list(scores) == ["root_accuracy", "node_accuracy"]


def test_the_command_measures_what_the_recipe_has_measured(plain, tmp_path, capsys):
    from hfseq.cli import main
    from hfseq.data.treebanks import TreebankSettings, load_trees

    folder, _ = plain
    rows = load_trees(TreebankSettings(name="embedded", max_rows=96)).dataset["test"]
    (tmp_path / "test.txt").write_text("\n".join(rows["tree"][:]), encoding="utf-8")
    assert main(["evaluate", str(folder), str(tmp_path / "test.txt")]) == 0
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines())
    metrics = facts(folder).runs[0].metrics
    assert {name: float(value) for name, value in scores.items()} == {
        name: pytest.approx(metrics[name], abs=1e-4) for name in ("root_accuracy", "node_accuracy")
    }


def test_two_classes_of_five_leave_neutral_texts_out(tmp_path, monkeypatch, capsys):
    from hfseq.cli import main

    made = RECIPE.run(monkeypatch, tmp_path / "run", TWO, *SHORT)
    assert made.labels == ["bad", "good"] and list(made.runs[0].metrics) == ["root_accuracy", "node_accuracy"]
    assert made.data.splits["test"] < 96 and sum(row.phrases for row in made.lengths) < made.nodes["test"]
    card = (tmp_path / "run/README.md").read_text(encoding="utf-8")
    assert "`0` is `bad`, `1` is `bad`, `3` is `good`, `4` is `good`; nodes with another one have none" in card
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "embedded"]) == 0  # labels 0 to 4, as the facts beside it know
    assert "root_accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("shape", ["given", "left"])
def test_the_labels_of_texts_alone_are_enough(shape, tmp_path, monkeypatch):
    made = RECIPE.run(monkeypatch, tmp_path / "run", "--data.labels=root", f"--model.tree={shape}", *SHORT)
    assert (made.learns, made.tree) == ("root", shape)
    # Nodes of a tree of its own have no labels to compare with.
    assert ("node_accuracy" in made.runs[0].metrics) == bool(made.lengths) == (shape == "given")
    assert all(row.metric == "root_accuracy" for row in made.comparisons)
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"), pictures_in(tmp_path / "run"))


def test_plain_texts_with_labels_are_trained_on_and_evaluated(tmp_path, monkeypatch, capsys):
    from hfseq.cli import main

    lines = [f"this is {word} {number},{mood}" for number in range(20) for word, mood in (("good", 1), ("bad", 0))]
    (tmp_path / "my.csv").write_text("\n".join(["text,mood", *lines]), encoding="utf-8")
    columns = ("--data.tree_column=text", "--data.label_column=mood", "--data.labels=root")
    data = ("--data.name=null", f"--data.path={tmp_path / 'my.csv'}", "--model.tree=balanced", "--card.ask=[]")
    made = RECIPE.run(monkeypatch, tmp_path / "run", *columns, *data, *SHORT)
    assert made.labels == ["0", "1"] and made.data.evaluated_split == "validation"
    capsys.readouterr()
    words = ["evaluate", str(tmp_path / "run"), str(tmp_path / "my.csv"), "--tree-column=text", "--label-column=mood"]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("root_accuracy ")


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="model.tree='left' builds trees of its own.*set data.labels=root"):
        RECIPE.settings("--model.tree=left")
    with pytest.raises(ValueError, match="training.class_weights='balanced' makes a loss of whole texts alone"):
        RECIPE.settings("--training.class_weights=balanced")
    with pytest.raises(ValueError, match="training.label_smoothing_factor=0.1 makes a loss of whole texts alone"):
        RECIPE.settings("--training.label_smoothing_factor=0.1")
    assert RECIPE.settings("--training.class_weights=balanced", "--data.labels=root").data.labels == "root"


def test_nodes_of_three_children_are_refused_before_training(tmp_path):
    from hfseq.data.treebanks import load_trees
    from hfseq.tasks.trees.build import make_tokenizer, make_tokens

    (tmp_path / "my.txt").write_text("(3 (2 It) (4 works))\n(1 (1 a) (2 bad) (1 film))\n" * 10, encoding="utf-8")
    data = ("--data.name=null", f"--data.path={tmp_path / 'my.txt'}", "--tokenizer.min_count=1")
    settings = RECIPE.settings(*data)
    task = load_trees(settings.data)
    tokenizer = make_tokenizer(task, settings.tokenizer)
    wrong = "the tree of 'a bad film' has a node of 3 children, and model.composition='tree_lstm'.*binarise"
    with pytest.raises(ValueError, match=wrong):
        make_tokens(task, tokenizer, settings)
    for cure in ("--model.composition=child_sum", "--data.labels=root"):
        settings = RECIPE.settings(*data, cure, *(("--model.tree=left",) if "root" in cure else ()))
        assert make_tokens(task, tokenizer, settings)["train"].num_rows == task.dataset["train"].num_rows


def test_what_nobody_says_follows_the_rows():
    settings = RECIPE.settings("--budget.minutes=1", "--model.hidden_size=7")
    settings.follow(100)
    assert settings.model["hidden_size"] == 7 and settings.model["embedding_size"] == 64
    assert settings.model["classifier_dropout"] == 0.1  # as the file says
    assert settings.training["max_minutes"] == 1 and settings.training["metric_for_best_model"] == "root_accuracy"


def test_the_phrases_of_the_regression_are_those_of_the_trees():
    from hfseq.data.treebanks import TreebankSettings, load_trees

    task = load_trees(TreebankSettings(name="embedded", max_rows=5))
    found = Phrases.of(task, "test")
    spans = [" ".join(tree.sentence[start:end]) for tree in task.trees("test") for start, end in tree.spans()]
    assert found.texts == spans and len(found.labels) == len(spans)
    own = found.distinct()
    assert len(own.texts) == len(set(zip(own.texts, own.labels.tolist(), strict=True))) < len(spans)


def test_the_regression_on_phrases_is_fitted_once_in_counted_steps(monkeypatch, recwarn):
    from hfseq.data.treebanks import TreebankSettings, load_trees
    from hfseq.tasks.text_classification import rivals as of_texts
    from hfseq.tasks.trees import rivals

    made, linear = [], of_texts._linear
    monkeypatch.setattr(of_texts, "_linear", lambda *asked: made.append(linear(*asked)) or made[-1])
    monkeypatch.setattr(rivals, "_MOST_STEPS", 2)
    task = load_trees(TreebankSettings(name="embedded", max_rows=40))
    names = [row.name for row in rivals.rivals(task, "test", "nodes").comparisons]
    assert names[-1] == "Words of phrases (TF-IDF of 1-2-grams, logistic regression, C=10, at most 2 steps)"
    assert [model.C for model in made] == [1.0, 10.0, 10.0]  # of whole texts the strength is chosen
    assert made[-1].n_iter_.max() == 2 < made[1].n_iter_.max()
    assert not [each for each in recwarn if "converge" in str(each.message)]


def test_vectors_of_our_own_fill_the_rows_of_words(tmp_path, monkeypatch):
    words = ["the", "please", "is", "in"]
    vectors = hfseq.KeyedVectors.from_vectors(words, torch.eye(4, 8).numpy())
    hfseq.Word2VecModel.from_vectors(vectors).save_pretrained(tmp_path / "vectors")
    given = f"--embeddings.from_pretrained={tmp_path / 'vectors'}"
    made = RECIPE.run(monkeypatch, tmp_path / "run", given, "--embeddings.freeze=true", *SHORT)
    assert made.pretrained == "vectors"
    pipe = pipeline("tree-sentiment", model=str(tmp_path / "run"))
    rows = pipe.model.get_input_embeddings().weight[pipe.tokenizer.convert_tokens_to_ids(words)]
    assert torch.equal(rows, torch.eye(4, 8))


def test_the_card_tells_where_a_negation_changes_nothing(plain):
    made = facts(plain[0])
    same = dataclasses.replace(made.negation, changed=0.0, changed_accuracy=None, peer=None)
    card = render_card(dataclasses.replace(made, negation=same))
    assert "The negation changes the label of none of them." in card
    without = render_card(dataclasses.replace(made, negation=None, lengths=[]))
    assert "## Negations" not in without and "## Phrases by length" not in without


# What a model of the recipe has learnt


def sentiment(found, text):
    """The number of the label of a phrase, from -2 to 2."""
    (node,) = (node for node in found["tree"] if node["text"] == text)
    return found["classes"].index(node["label"]) - 2


@pytest.mark.slow
def test_not_very_good_flips_a_node(learnt):
    found = learnt("The concert was not very good")
    assert sentiment(found, "very good") > 0 > sentiment(found, "not very good")
    lines = plots.tree_text(found).splitlines()
    assert lines[0].endswith("The concert was not very good")
    assert re.search(r"└─ (very )?negative \d\.\d\d  not very good", lines[-5])
    assert re.search(r"└─ (very )?positive \d\.\d\d  very good", lines[-3])
    told = {text: sentiment(learnt(text), text) for text in ("good", "not good", "not bad", "bad")}
    assert told["good"] > 0 > told["not good"] and told["not bad"] > 0 > told["bad"]


@pytest.mark.slow
def test_held_out_rows_are_told_better_than_by_words_alone(learnt):
    rows = hfseq.load_embedded()["test"].filter(lambda row: row["novelty"] == "combination")
    found = learnt(rows["tree"][:], batch_size=64)
    right = [
        each["classes"].index(each["label"]) == label for each, label in zip(found, rows["sentiment"], strict=True)
    ]
    assert sum(right) / len(right) > 0.93  # a TF-IDF regression on words: 0.91 of all rows


@pytest.mark.data
@pytest.mark.parametrize(("name", "rows"), [("sst5", 200), ("sst2", 150)])
def test_the_treebank_is_trained_on(data_folder, monkeypatch, tmp_path, name, rows):
    script = [sys.executable, data_folder / "load.py", "--export", tmp_path, "sst_trees"]
    subprocess.run(script, check=True, timeout=HANGS)
    sizes = ("--data.max_rows=200", "--model.hidden_size=16", "--model.embedding_size=16", *SHORT)
    local = (f"--data.path={tmp_path / 'sst_trees'}", "--card.same_data=true")
    made = RECIPE.run(monkeypatch, tmp_path / "run", *local, *sizes, config=f"tree_lstm_{name}", small=QUIET)
    assert len(made.labels) == int(name[-1]) and rows <= made.data.splits["test"] <= 200
    assert not made.examples.right and made.nodes["test"] > 5_000
