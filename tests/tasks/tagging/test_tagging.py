"""The parts of the tagging recipe: its model, its tokens, its training and its card."""

import dataclasses

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer, pipeline

from hfseq import cli
from hfseq.cards.facts import Comparison, SeedRun
from hfseq.cards.render import check_card, load_facts, render_card
from hfseq.data.tagged import TaggedTask
from hfseq.data.text import Classes
from hfseq.data.vectors import EmbeddingSettings
from hfseq.evaluation.entities import found_entities, found_tags
from hfseq.evaluation.tags import tags_of
from hfseq.recipe.sections import trained_families
from hfseq.registry import FAMILIES
from hfseq.settings import read_settings
from hfseq.tasks import TASKS
from hfseq.tasks.tagging.build import _examples, check_lengths, make_model, make_tokenizer, make_tokens
from hfseq.tasks.tagging.settings import TaggingSettings, TokenizerSettings
from model_cards import render
from tests.closeness import assert_same
from tests.launches import ROOT
from tests.tasks.tagging.taggers import NAMES, SENTENCES, SIZES, facts_of, small_settings, tagged_task, trained

CONFIG = str(ROOT / "recipes/configs/token_classification/lstm_embedded.yaml")


@pytest.fixture
def settings(tmp_path):
    """Settings of a small run that writes nothing but into an empty folder."""
    return small_settings(tmp_path)


@pytest.fixture(scope="module", params=[("entities", "lstm"), ("tags", "transformer")], ids=["entities", "tags"])
def finished(request, tmp_path_factory):
    """A run for each kind of tags, of another family each: its task, facts, predictions, trainer and folder."""
    problem, family = request.param
    folder = tmp_path_factory.mktemp(problem)
    task = tagged_task(problem)
    return task, *facts_of(small_settings(folder, family), task, folder), folder


# The model and its tokens


def test_every_family_with_a_body_can_tag_but_one_that_counts_cannot():
    assert {"rnn", "lstm", "gru", "transformer", "custom"} <= set(trained_families("token-classification"))
    assert "hmm" in FAMILIES
    assert "hmm" not in trained_families("token-classification")


@pytest.mark.parametrize("family", ["rnn", "lstm", "gru", "transformer"])
def test_the_model_fits_the_tokenizer_and_the_tags(settings, family):
    task = tagged_task()
    settings.model = {"type": family, **SIZES.get(family, {"hidden_size": 8})}
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    model = make_model(settings, task, tokenizer)
    assert model.config.model_type == f"hfseq_{family}"
    assert (model.config.vocab_size, model.config.pad_token_id) == (len(tokenizer), tokenizer.pad_token_id)
    assert model.config.id2label == dict(enumerate(NAMES["entities"]))
    assert model.config.label2id["I-place"] == 4
    assert settings.model["type"] == family  # the settings, which are saved, stay whole


def test_word_vectors_fill_the_rows_of_their_words(settings, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("Oslo 1 2 3 4 5 6 7 8\n", encoding="utf-8")
    settings.embeddings = EmbeddingSettings(from_pretrained=str(path), freeze=True)
    tokenizer = make_tokenizer(tagged_task().dataset["train"], settings.tokenizer)
    model = make_model(settings, tagged_task(), tokenizer)
    weight = model.get_input_embeddings().weight
    assert weight[tokenizer.convert_tokens_to_ids("Oslo")].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert model.config.freeze_embeddings


def test_the_width_that_vectors_need_is_set_by_the_key_that_the_family_has(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("Oslo 1 2 3 4\n", encoding="utf-8")
    for family, key in (("lstm", "embedding_size"), ("transformer", "hidden_size")):
        settings = small_settings(tmp_path, family)
        settings.embeddings = EmbeddingSettings(from_pretrained=str(path))
        tokenizer = make_tokenizer(tagged_task().dataset["train"], settings.tokenizer)
        with pytest.raises(ValueError, match=f"the model's embeddings 8. Set model.{key} to 4."):
            make_model(settings, tagged_task(), tokenizer)


def test_a_text_without_learned_positions_is_refused_before_the_training(tmp_path):
    settings, task = small_settings(tmp_path, "transformer"), tagged_task()
    settings.tokenizer.max_length = 4
    tokens = make_tokens(task, make_tokenizer(task.dataset["train"], settings.tokenizer), settings.tokenizer)
    learned = settings.model | {"position_embedding_type": "learned"}
    with pytest.raises(ValueError, match=r"of split 'validation' has 6 tokens, more than the 5 learned positions"):
        check_lengths(tokens, learned | {"max_position_embeddings": 5})
    for model in (learned | {"max_position_embeddings": 6}, learned, settings.model | {"max_position_embeddings": 5}):
        check_lengths(tokens, model)


def test_only_training_texts_are_cut(settings):
    task = tagged_task()
    words = dataclasses.replace(settings.tokenizer, max_length=3)
    tokens = make_tokens(task, make_tokenizer(task.dataset["train"], words), words)
    assert max(tokens["train"]["length"]) == 3
    assert max(tokens["test"]["length"]) == 6
    counted = [sum(label != -100 for label in row) for row in tokens["validation"]["labels"]]
    assert counted == [len(sentence.split()) for sentence in SENTENCES]


def test_the_share_of_words_that_training_cut_is_in_the_card(settings, tmp_path):
    settings.tokenizer.max_length, settings.training["max_steps"] = 4, 1
    facts, _, _ = facts_of(settings, tagged_task(), tmp_path)
    lengths = [len(sentence.split()) for sentence in SENTENCES]
    assert facts.words.cut == sum(max(length - 3, 0) for length in lengths) / sum(lengths) > 0
    told = (
        f"cut to 4 tokens, and {100 * facts.words.cut:.1f} % of their words were left out; what is measured is every"
    )
    assert told in render_card(facts)
    settings.tokenizer.max_length = 16
    facts, _, _ = facts_of(settings, tagged_task(), tmp_path)
    assert facts.words.cut == 0
    assert "on texts of at most 16 tokens, of which none was cut; what is measured" in render_card(facts)


@pytest.mark.parametrize("problem", NAMES)
def test_words_after_the_learned_positions_have_no_tag(problem, tmp_path, capsys):
    settings, task = small_settings(tmp_path, "transformer"), tagged_task(problem)
    settings.model |= {"position_embedding_type": "learned", "max_position_embeddings": 6}
    facts, _, _ = facts_of(settings, task, tmp_path)
    assert facts.architecture.limit == 6
    assert "a pipeline reads so many tokens of a text and tags no word after them." in render_card(facts)
    pipe = pipeline("token-classification", model=str(tmp_path / "model"))
    text = "Ana in Oslo " * 5
    assert 0 < max(found["end"] for found in pipe(text)) <= len("Ana in Oslo Ana in")
    names = ["B-person", "O", "B-place"] if problem == "entities" else ["NAME", "OTHER", "NAME"]
    accuracies = {}
    for words in (5, 15):
        lines = [f"{word}\t{tag}\n" for word, tag in zip(text.split()[:words], names * 5, strict=False)]
        (tmp_path / "long.conll").write_text("".join(lines) + "\n", encoding="utf-8")
        capsys.readouterr()
        assert cli.main(["evaluate", str(tmp_path / "model"), str(tmp_path / "long.conll")]) == 0
        said = capsys.readouterr()
        told = "10 words come after the 6 tokens that the model reads: untagged." in said.err
        assert told == (words == 15)
        accuracies[words] = float(dict(line.split() for line in said.out.splitlines())["accuracy"])
    # Of the words that are not read only "in" is right, and that where no tag says that it is no entity.
    right = 3 if problem == "entities" else 0
    assert accuracies[15] == pytest.approx((5 * accuracies[5] + right) / 15, abs=1e-4)


def test_only_training_texts_have_a_tag_at_each_token(settings):
    task = tagged_task()
    words = dataclasses.replace(settings.tokenizer, kind="bpe", vocab_size=270)
    tokens = make_tokens(task, make_tokenizer(task.dataset["train"], words), words)
    lengths = [len(sentence.split()) for sentence in SENTENCES]
    trained_on, scored = (
        [sum(label != -100 for label in row) for row in tokens[split]["labels"]] for split in ("train", "validation")
    )
    assert scored == lengths
    assert trained_on == [length - 1 for length in tokens["train"]["length"]]
    assert sum(trained_on) > sum(lengths)
    words.label_all_tokens = False
    of_words = make_tokens(task, make_tokenizer(task.dataset["train"], words), words)["train"]["labels"]
    assert [sum(label != -100 for label in row) for row in of_words] == lengths


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "--tokenizer.kind=char",
            'tokenizer.kind is "char" but takes one of "word", "word_or_characters", "wordpiece", "unigram", "bpe", ',
        ),
        ("--tokenizer.max_length=1", "max_length=1 must be at least 2"),
        ("--model.pooling=max", "unknown key 'pooling'"),
        ("--model.type=hmm", "unknown model type 'hmm'"),
        ("--card.ask=['']", "card.ask holds empty texts alone"),
        ("--card.comparisons=[{name: a, metric: f1, value: 1.0, source: b}]", "unknown metric 'f1'"),
        ("--data.text_column=tokens --data.label_column=tokens", "text_column and label_column are both 'tokens'"),
    ],
)
def test_settings_that_fit_nothing_are_answered_before_anything_is_read(override, message):
    overrides = override.split() if override.startswith("--data") else [override]
    with pytest.raises(ValueError) as error:
        read_settings(TaggingSettings, ["--config", CONFIG, *overrides])
    assert message in str(error.value)


# Training


def test_scores_and_predictions_are_those_of_the_rows_in_their_order(finished):
    task, facts, predictions, trainer, _ = finished
    tokens = make_tokens(task, trainer.processing_class, TokenizerSettings())["test"]
    assert facts.runs[0].metrics["accuracy"] == 1.0  # 40 updates learn these sentences by heart
    assert tags_of(predictions, tokens["labels"], task.classes.names) == task.tags("test")
    assert [*facts.runs[0].metrics][0] == ("entity_f1" if task.has_entities else "accuracy")


def test_shares_of_an_update_do_not_change_what_is_learnt(settings):
    settings.training |= {"max_steps": 3}
    whole, _ = trained(settings, tagged_task())
    settings.training |= {"gradient_accumulation_steps": 3}
    shared, _ = trained(settings, tagged_task())
    weights = shared.model.state_dict()
    for name, expected in whole.model.state_dict().items():
        assert_same(weights[name], expected)


# The pipeline


def test_the_pipeline_finds_entities_as_pieces_of_the_text(tmp_path):
    task = tagged_task()
    _, _, _ = facts_of(small_settings(tmp_path), task, tmp_path)
    pipe = pipeline("token-classification", model=str(tmp_path / "model"), aggregation_strategy="simple")
    text = "Ana likes New York a lot"
    found = [(each["entity_group"], text[each["start"] : each["end"]]) for each in pipe(text)]
    assert found == [("person", "Ana"), ("place", "New York")]
    (of_words,) = pipe(text.split(), is_split_into_words=True)
    assert [(each["entity_group"], text[each["start"] : each["end"]]) for each in of_words] == found
    assert len(pipe("call Ana " * 200)) == 200  # no length is too great


# The card


def test_the_card_is_what_the_run_and_its_checkpoint_say(finished):
    task, facts, predictions, trainer, folder = finished
    card = render_card(facts)
    check_card(card)
    assert facts.parameters == trainer.model.num_parameters()
    assert facts.architecture.pooling is None
    assert "pooling" not in card
    assert facts.data.splits == {"train": 24, "validation": 24, "test": 12}
    assert facts.words.splits["test"] == sum(len(sentence.split()) for sentence in SENTENCES[:12])
    assert facts.words.tokens_per_word == 1.0
    assert facts.labels == len(task.classes.names)
    count = found_entities if task.has_entities else found_tags
    expected = {kind: found.expected for kind, found in count(task.tags("test"), task.tags("test")).items()}
    assert {row.kind: row.expected for row in facts.kinds} == expected
    assert all(row.f1 == 1.0 for row in facts.kinds)
    facts.save(folder / "facts.json")
    assert load_facts(folder / "facts.json") == facts


def test_examples_are_told_by_their_entities_or_their_words(tmp_path):
    settings = small_settings(tmp_path)
    settings.training["max_steps"] = 1
    for problem, told in (("entities", "person: Ana; place: Oslo"), ("tags", "call/VERB Ana/NAME in/OTHER Oslo/NAME")):
        task = tagged_task(problem)
        facts, predictions, _ = facts_of(settings, task, tmp_path)
        wrong = {row.text: row for row in facts.examples.wrong}["call Ana in Oslo"]
        assert (wrong.expected == told) == (problem == "entities" or wrong.score == 0)
        assert wrong.predicted != wrong.expected
        ids = predictions[SENTENCES.index(wrong.text)][:4]
        right = np.mean([task.classes.names[a] == b for a, b in zip(ids, task.tags("test")[0], strict=True)])
        assert wrong.score == right
    facts_of_all_right = facts_of(small_settings(tmp_path), tagged_task("tags"), tmp_path)[0]
    assert not facts_of_all_right.examples.wrong
    assert {row.text: row.expected for row in facts_of_all_right.examples.right}["call Ana in Oslo"] == told


@pytest.mark.parametrize(
    ("words", "expected", "predicted"),
    [
        (["Oslo", "to", "Oslo"], ["B-city", "O", "O"], ["O", "O", "B-city"]),
        (["Ana"], ["B-city"], ["I-city"]),
    ],
)
def test_wrong_tags_are_no_example_of_right_ones_even_if_the_entities_read_the_same(words, expected, predicted):
    rows = Dataset.from_dict({"tokens": [words], "labels": [[0] * len(words)]})
    task = TaggedTask(DatasetDict({"train": rows}), Classes(["O", "B-city", "I-city"]))
    examples = _examples(task, [words, words], [expected, expected], [predicted, expected])
    assert [row.score < 1 for row in examples.wrong] == [True]
    assert [row.score for row in examples.right] == [1.0]
    assert examples.wrong[0].expected == examples.wrong[0].predicted


def test_few_names_are_a_limit_of_those_that_look_for_names(finished):
    _, facts, *_ = finished
    assert ("it knows few names" in render_card(facts)) == (facts.tagging == "entities")


def test_restricted_rows_are_not_shown(finished):
    _, facts, *_ = finished
    data = dataclasses.replace(facts.data, restriction="research only")
    with pytest.raises(Exception, match="validate_restriction") as refused:
        dataclasses.replace(facts, data=data)
    assert "leave examples empty" in str(refused.value.__cause__)


def test_a_restricted_run_that_finds_nothing_has_a_card_too(settings, tmp_path):
    settings.card = dataclasses.replace(settings.card, data_restriction="research only")
    settings.training |= {"max_steps": 1, "learning_rate": 1e-9}
    facts, *_ = facts_of(settings, tagged_task(), tmp_path)
    assert not facts.examples.right
    card = render_card(facts)
    assert "No rows are shown, for the terms of the data: research only." in card
    assert [widget.text for widget in facts.widgets] == settings.card.ask


def test_the_baseline_is_each_words_most_frequent_tag(finished):
    task, facts, *_ = finished
    (baseline,) = facts.comparisons
    assert baseline.name == "Most frequent tag of each word"
    assert baseline.metric == facts.metric_names[0]
    assert baseline.value == 1.0  # here every word has one tag


def test_the_baseline_of_a_word_with_several_tags_is_wrong_sometimes(settings, tmp_path):
    task = tagged_task("tags")
    train = task.dataset["train"].select([0, 1])  # call Ana in Oslo, call me: "likes", "hello", ... are never seen
    task = dataclasses.replace(task, dataset=type(task.dataset)({**task.dataset, "train": train}))
    settings.training |= {"max_steps": 1, "total_train_batch_size": 2}
    (baseline,) = facts_of(settings, task, tmp_path)[0].comparisons
    tags = [tag for row in task.tags("test") for tag in row]
    words = [word for row in task.dataset["test"]["tokens"] for word in row]
    seen = {"call": "VERB", "Ana": "NAME", "in": "OTHER", "Oslo": "NAME", "me": "OTHER"}
    answers = [seen.get(word, "VERB") for word in words]  # VERB, NAME and OTHER are as common; the first one counts
    assert baseline.value == np.mean([a == b for a, b in zip(answers, tags, strict=True)])


def test_the_snippet_of_the_card_prints_what_it_says(finished, tmp_path):
    _, facts, _, _, folder = finished
    snippet = render_card(facts).split("```python\n")[1].split("```")[0].replace(facts.model_id, str(folder / "model"))
    printed = []
    exec(snippet, {"print": printed.append})
    assert [f"# {line}" for line in printed] == [line for line in snippet.splitlines() if line.startswith("# ")]
    assert printed[0].startswith("person: Ana (" if facts.tagging == "entities" else "VERB: call (")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": [SeedRun(seed=0, metrics={"mse": 1.0}, minutes=1.0)]}, r"unknown metrics \['mse'\]"),
        ({"runs": [SeedRun(seed=0, metrics={}, minutes=1.0)]}, "runs have no metrics"),
        ({"comparisons": [Comparison(name="a", metric="f1_micro", value=1.0, source="b")]}, "which the runs lack"),
        ({"license": "other"}, "license_name"),
    ],
)
def test_facts_that_cannot_be_shown_are_refused(finished, changes, message):
    _, facts, *_ = finished
    with pytest.raises(Exception, match="validate") as refused:
        dataclasses.replace(facts, **changes)
    with pytest.raises(ValueError, match=message):
        raise refused.value.__cause__


def test_runs_of_several_seeds_make_one_card_and_one_row(finished, tmp_path):
    _, facts, *_ = finished
    folders = []
    for seed, score in ((0, 0.9), (1, 0.8)):
        metrics = dict.fromkeys(facts.metric_names, score)
        run = SeedRun(seed=seed, metrics=metrics, minutes=1.0)
        kinds = [dataclasses.replace(kind, f1=score) for kind in facts.kinds]
        folders.append(tmp_path / str(seed))
        folders[-1].mkdir()
        dataclasses.replace(facts, runs=[run], kinds=kinds).save(folders[-1] / "facts.json")
    merged = render.merge(folders)
    assert merged.kinds[0].f1 == 0.9
    head, _, row, *_ = TASKS["tagging"].table.render([merged]).splitlines()
    score = "Entity F1 (%)" if facts.tagging == "entities" else "Accuracy (%)"
    assert row.startswith(f"| {facts.architecture.cell} | Names | {score} | 85.0 ± 7.1 (0, 1) | 100.0 | 1.0 |")
    assert head.count("|") == row.count("|")
    assert TASKS["tagging"].table.render([]) == "No taggers have been measured yet."
    line = render.with_expectation("# Expected: ?\n", merged)
    assert "85.0 ± 7.1 (0, 1) on test, 1.0 minutes of training" in line


def test_data_without_capitals_make_a_tokenizer_that_takes_them(tmp_path):
    words = [["play", "oslo", "now"]] * 3
    settings = TokenizerSettings(kind="word_or_characters", min_count=1)
    lower = make_tokenizer(Dataset.from_dict({"tokens": words}), settings)
    lower.save_pretrained(tmp_path)
    for tokenizer in (lower, AutoTokenizer.from_pretrained(tmp_path)):
        found = tokenizer("Play OSLO", return_offsets_mapping=True)
        assert found["input_ids"] == tokenizer("play oslo")["input_ids"]
        assert found["offset_mapping"][:2] == [(0, 4), (5, 9)]
    both = make_tokenizer(Dataset.from_dict({"tokens": [*words, ["Play"]]}), settings)
    assert both("Play")["input_ids"] != both("play")["input_ids"]
