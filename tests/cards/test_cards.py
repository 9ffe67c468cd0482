"""Model cards: golden files, checks that bite, a usage snippet that runs.

After a change of the template, `python -m tests.cards.test_cards --write` renders the golden cards anew.
"""

import ast
import dataclasses
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import StrictDataclassError
from transformers import pipeline

from hfseq import LSTMConfig, LSTMForSequenceClassification, train_tokenizer
from hfseq.cards import check_card, check_words, load_facts, render_card, write_card
from hfseq.cards.facts import Example, Examples, SeedRun, Widget, WidgetLabel
from hfseq.cards.measure import (
    collect_examples,
    collect_regression_examples,
    environment,
    measure_speed,
    model_size_mb,
    widget_entries,
)
from hfseq.tasks.text_classification.facts import CardFacts
from tests.cards.changes import change_keys
from tests.closeness import assert_same
from tests.launches import HANGS
from tests.rounds import for_each

GOLDEN = Path(__file__).parents[1] / "golden"
PATH = GOLDEN / "card_classifier.json"
GOLDEN_NAMES = ["card_classifier", "card_regression"]
MODEL_CARDS = Path(__file__).parents[2] / "model_cards"


def golden_facts(name="card_classifier"):
    return CardFacts.load(GOLDEN / f"{name}.json")


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


@pytest.fixture(scope="module")
def card():
    return render_card(golden_facts())


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_a_card_equals_its_golden_file(name):
    assert render_card(golden_facts(name)) == (GOLDEN / f"{name}.md").read_text(encoding="utf-8")


def test_every_published_card_is_what_its_facts_render():
    facts_files = sorted((MODEL_CARDS / "facts").glob("*.json"))
    assert facts_files, "model_cards/facts holds no facts"
    stale = [
        path.stem
        for path in facts_files
        if render_card(load_facts(path)) != (MODEL_CARDS / f"{path.stem}.md").read_text(encoding="utf-8")
    ]
    assert stale == []


def test_the_hub_client_reads_the_results_back(card):
    data = ModelCard(card).data
    assert [result.metric_value for result in data.eval_results] == [0.971333, 0.969333]
    assert data.eval_results[1].metric_args == {"average": "macro"}
    assert (data.library_name, data.pipeline_tag, data.tags) == (
        "transformers",
        "text-classification",
        ["hfseq", "lstm"],
    )
    assert data.widget[0]["output"][0] == {"label": "sport", "score": 0.97}


def test_only_a_data_set_of_the_hub_is_named_as_one():
    assert front_matter(render_card(golden_facts()))["datasets"] == ["golden-tests/headlines"]
    assert "datasets" not in front_matter(render_card(golden_facts("card_regression")))


@pytest.mark.parametrize(
    ("seeds", "accuracies", "text"),
    [
        ([0], [0.971], "| 97.1 (seed 0) |"),
        ([0, 1, 2], [0.970, 0.973, 0.971], "| 97.1 ± 0.2 (seeds 0-2: 97.0, 97.3, 97.1) |"),
        ([0, 3, 7], [0.970, 0.973, 0.971], "| 97.1 ± 0.2 (seeds 0, 3, 7: 97.0, 97.3, 97.1) |"),
        ([1, 2], [0.9, 0.8], "| 85.0 ± 7.1 (seeds 1, 2: 90.0, 80.0) |"),
    ],
)
def test_seeds_are_merged_into_one_line(seeds, accuracies, text):
    runs = [
        SeedRun(seed=seed, metrics={"accuracy": accuracy}, minutes=1.0)
        for seed, accuracy in zip(seeds, accuracies, strict=True)
    ]
    assert text in render_card(dataclasses.replace(golden_facts(), runs=runs))


def test_a_text_of_the_data_cannot_break_the_table(card):
    row = next(line for line in card.splitlines() if "striker" in line)
    assert row == r"| the \| striker scored \* twice &lt;b>today&lt;/b> | `sport` | `sport` | 0.98 |"


def test_restricted_data_are_named_and_their_rows_are_kept_out():
    facts = golden_facts()
    data = dataclasses.replace(facts.data, restriction="non-commercial research only")
    with pytest.raises(StrictDataclassError) as refused:
        dataclasses.replace(facts, data=data)
    assert "leave examples empty" in str(refused.value.__cause__)
    card = render_card(dataclasses.replace(facts, data=data, examples=Examples()))
    assert "The terms of the data bind its use: non-commercial research only." in card
    assert "striker" not in card


def test_a_model_without_errors_has_a_card_too():
    examples = dataclasses.replace(golden_facts().examples, wrong=[])
    card = render_card(dataclasses.replace(golden_facts(), examples=examples, comparisons=[]))
    assert "### Wrong\n\nThere is no such row.\n" in card
    assert "## Compared with" not in card


# (what a fault does to a sound card, what check_card says)
FAULTS = {
    "no front matter": (lambda card: card.replace("---\n", "", 1), "no YAML front matter"),
    "front matter is a list": (lambda card: "---\n- a\n---\ntext", "no mapping"),
    "no licence": (lambda card: card.replace("license: apache-2.0\n", ""), "lacks 'license'"),
    "empty licence": (lambda card: card.replace("license: apache-2.0", "license:"), "lacks 'license'"),
    "no language": (lambda card: card.replace("language: en\n", ""), "lacks 'language'"),
    "no task": (lambda card: card.replace("pipeline_tag: text-classification\n", ""), "lacks 'pipeline_tag'"),
    "no library": (lambda card: card.replace("library_name: transformers\n", ""), "lacks 'library_name'"),
    "other library": (lambda card: card.replace("library_name: transformers", "library_name: hfseq"), "refuse it"),
    "no tag": (lambda card: card.replace("- hfseq\n", ""), "tags lack 'hfseq'"),
    "no results": (lambda card: card.replace("model-index:", "results:"), "no finite metric"),
    "nan result": (lambda card: re.sub(r"value: 0\.97\d+", "value: .nan", card), "is nan"),
    "word as result": (lambda card: re.sub(r"value: 0\.9\d+", "value: high", card), "no finite metric"),
    "placeholder in front matter": (lambda card: card.replace("language: en", "language: TODO"), "'TODO'"),
    "other licence without a name": (
        lambda card: card.replace("license: apache-2.0", "license: other"),
        "lacks license_name",
    ),
    "None in front matter": (lambda card: card.replace("name: Golden Headlines", "name: None"), "is 'None'"),
    "unwritten front matter": (
        lambda card: card.replace("name: Golden Headlines", "name: '[More Information Needed]'"),
        "is '[More Information Needed]'",
    ),
    "None in a cell": (lambda card: card.replace("| 97.5 |", "| None |"), "misses a value"),
    "nan in a cell": (lambda card: card.replace("| 97.5 |", "| nan |"), "misses a value"),
    "empty cell": (lambda card: card.replace("| 97.5 |", "|  |"), "misses a value"),
    "nan in a score": (lambda card: card.replace("97.1 ± 0.2", "97.1 ± nan"), "'nan'"),
    "None in prose": (lambda card: card.replace("torch 2.13.0", "torch None"), "'None'"),
    "nan in prose": (lambda card: card.replace("1.23 %", "nan %"), "'nan'"),
    "unwritten section": (lambda card: card.replace("Not measured.", "[More Information Needed]"), "placeholder"),
    "note to self": (lambda card: card + "TODO: limits\n", "placeholder"),
    "blank to fill in": (lambda card: card + "Use <your model> here.\n", "placeholder"),
    "path of a machine in prose": (lambda card: card + "See /home/me/notes.\n", "/home/me/notes"),
    "path of a machine": (lambda card: card.replace("recipes/configs", "/home/me/configs"), "/home/me/configs"),
    "relative link": (lambda card: card + "[curves](plots/loss.png)\n", "plots/loss.png"),
    "empty link": (lambda card: card + "[paper]()\n", "leads nowhere"),
    "link to this machine": (lambda card: card + "[here](http://localhost:80)\n", "localhost"),
    "anchor without heading": (lambda card: card + "[see](#curves)\n", "#curves"),
}


@for_each(("fault", "message"), FAULTS.values())
def test_each_check_of_a_card_bites(fault, message, card):
    check_card(card)
    with pytest.raises(ValueError, match=re.escape(message)):
        check_card(fault(card))


def test_all_defects_are_named_at_once(card):
    with pytest.raises(ValueError, match=r"(?s)'license'.*'language'|'language'.*'license'"):
        check_card(card.replace("license: apache-2.0\n", "").replace("language: en\n", ""))


def test_an_anchor_with_its_heading_is_no_defect(card):
    check_card(card + "[see](#how-it-was-trained)\n")


def test_a_card_with_a_defect_is_not_rendered():
    facts = golden_facts()
    with pytest.raises(ValueError, match="TODO"):
        render_card(dataclasses.replace(facts, limits=["TODO"]))


@for_each("name", ["summary", "language", "license"])
@for_each("text", ["None", "nan", "", "[More Information Needed]"])
def test_a_fact_that_says_nothing_is_named(name, text):
    with pytest.raises(ValueError, match=rf"facts\.{name} has .*{re.escape(text)}"):
        render_card(dataclasses.replace(golden_facts(), **{name: text}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_named(value):
    facts = golden_facts()
    facts.runs[1].metrics["f1_macro"] = value
    with pytest.raises(ValueError, match=r"facts\.runs\[1\]\.metrics\.f1_macro is (nan|inf)"):
        render_card(facts)


@for_each(
    ("text", "defect"),
    [
        ("None", "no value: 'None'"),
        ("  ", "no value"),
        ("TODO: say what it cannot do", "a placeholder: 'TODO'"),
        ("[more information needed]", "a placeholder"),
        ("see [curves](plots/loss.png)", "'plots/loss.png'"),
        ("see [below](#limits)", "'#limits'"),
        ("file = {/home/me/paper.pdf}", "a machine's path"),
    ],
)
def test_words_are_checked_without_a_card(text, defect):
    check_words({"limits[0]": "Knows no todo list and no nan.", "limits[1]": "See [this](https://example.org/a)."})
    with pytest.raises(ValueError, match=rf"limits\[2\] has .*{re.escape(defect)}"):
        check_words({"limits[2]": text})


@pytest.mark.parametrize("text", ["add eggs to my todo list", "call my nan", "nan", "None", "see [this](x) in /tmp/y"])
def test_a_sentence_that_was_asked_may_hold_any_words(text):
    widget = Widget(text=text, output=[WidgetLabel(label="None", score=0.9), WidgetLabel(label="nan", score=0.1)])
    command = f"python x.py '--card.ask=[{text.replace('/tmp/', '')}]'"  # launch_command leaves folders out
    card = render_card(dataclasses.replace(golden_facts(), widgets=[widget], command=command))
    assert front_matter(card)["widget"] == [dataclasses.asdict(widget)]
    assert f"print(pipe({json.dumps(text)}))\n# [{{'label': 'None', 'score': 0.9}}]" in card


@pytest.mark.parametrize("text", ["nan", "None", "TODO", "inf"])
def test_a_row_and_a_label_of_the_data_may_be_any_word(text):
    row = Example(text=text, predicted=text, expected=text, score=0.5)
    card = render_card(dataclasses.replace(golden_facts(), examples=Examples(right=[row], wrong=[row])))
    assert card.count(f"| {text} | `{text}` | `{text}` | 0.50 |") == 2


def test_people_may_speak_of_none_and_of_their_nan():
    facts = golden_facts()
    data = dataclasses.replace(facts.data, license="None stated by its authors", domain="calls to my nan")
    limits = ["None of the texts is longer than a tweet.", "Knows no todo list."]
    card = render_card(dataclasses.replace(facts, data=data, limits=limits, summary="Guesses whom my nan called."))
    assert "\n- None of the texts is longer than a tweet.\n" in card
    assert "calls to my nan. Licence: None stated by its authors." in card


def test_names_and_sources_cannot_break_the_comparison(card):
    assert "\n| A\\|B | Accuracy (%) | 95.0 | one \\| two |\n" in card
    assert "| [invented](https://example.org/golden-paper) |" in card


def test_micro_f1_is_shown_only_where_it_is_not_the_accuracy(card):
    assert golden_facts().runs[0].metrics["f1_micro"] == 0.97
    assert "Micro F1" not in card
    several = dataclasses.replace(golden_facts(), problem_type="multi_label_classification")
    assert "| Micro F1 (%), test | 97.1 ± 0.2" in render_card(several)


def test_a_licence_of_its_own_is_named_and_linked():
    card = render_card(golden_facts("card_regression"))
    shown = front_matter(card)
    link = "https://example.org/golden-terms"
    assert (shown["license"], shown["license_name"], shown["license_link"]) == ("other", "golden-terms", link)
    assert f"The licence of the weights is [golden-terms]({link})." in card


def test_facts_survive_json(tmp_path):
    facts = golden_facts()
    facts.save(tmp_path / "facts.json")
    assert CardFacts.load(tmp_path / "facts.json") == facts
    saved, golden = (json.loads(path.read_text("utf-8")) for path in (tmp_path / "facts.json", PATH))
    assert saved.pop("kind") == "classifier"
    # The golden facts are older than what later cards say as well: they have nothing of it.
    younger = [value for name, value in saved.items() if name not in golden]
    assert not any(younger)
    for part, name in (
        *(("architecture", "features"), ("architecture", "characters"), ("architecture", "limit")),
        ("environment", "load"),
    ):
        assert saved[part].pop(name) is None
    assert saved["speed"].pop("in_cpu_time") is False
    assert {name: value for name, value in saved.items() if name in golden} == golden


def test_a_whole_number_is_a_number(tmp_path):
    payload = json.loads(PATH.read_text(encoding="utf-8"))
    payload["speed"]["ms_per_text"] = 3
    (tmp_path / "facts.json").write_text(json.dumps(payload), encoding="utf-8")
    assert CardFacts.load(tmp_path / "facts.json").speed.ms_per_text == 3.0


@for_each(
    ("change", "message"),
    [
        (change_keys(licence="mit"), r"unknown keys \['licence'\]"),
        (change_keys(license=None), r"facts lacks the keys \['license'\]"),
        (change_keys(data__rows=3), r"facts\.data has unknown keys \['rows'\]"),
        (change_keys(data__license=None), r"facts\.data lacks the keys \['license'\]"),
        (change_keys(data="AG News"), "facts.data must be an object"),
        (change_keys(parameters="many"), "parameters"),
        (change_keys(file_mb=float("nan")), "NaN is not a number"),
        (change_keys(runs=[]), "one result per seed"),
        (change_keys(runs=[{"seed": 0, "metrics": {"accuracy": 0.5}, "minutes": 1}] * 2), r"\[0, 0\]"),
        (change_keys(runs=[{"seed": 0, "metrics": {"acc": 0.5}, "minutes": 1}]), r"unknown metrics \['acc'\]"),
        (change_keys(runs=[{"seed": 0, "metrics": {"f1_micro": 0.5}, "minutes": 1}]), "which the runs lack"),
        (change_keys(problem_type="tagging"), "'tagging'"),
        (change_keys(data__evaluated_split="dev"), "'dev'"),
        (change_keys(data__splits={"test": 3}), "'train'"),
        (change_keys(license="other"), "needs a license_name and a license_link"),
        (change_keys(license="other", license_name="mine", license_link="LICENSE"), "begins with https://"),
        (change_keys(license_name="mine"), "takes neither license_name"),
        (change_keys(model_id="a/b/c"), "a/b/c"),
    ],
)
def test_wrong_facts_are_refused_with_file_and_reason(change, message, tmp_path):
    payload = json.loads(PATH.read_text(encoding="utf-8"))
    change(payload)
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(payload), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"(?s)facts\.json: .*{message}"):
        CardFacts.load(path)


def test_a_card_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_card(tmp_path, golden_facts())
    before = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert before == (GOLDEN / "card_classifier.md").read_text(encoding="utf-8")

    def fail(source, target):
        raise OSError("the disk went away")

    monkeypatch.setattr("hfseq.cards.render.os.replace", fail)
    with pytest.raises(OSError, match="the disk went away"):
        write_card(tmp_path, golden_facts("card_regression"))
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == before


def test_examples_come_from_all_of_the_split_in_a_fixed_order():
    texts = [f"text {index}" for index in range(100)]
    predictions = ["no" if index % 10 == 0 else "yes" for index in range(100)]
    found = collect_examples(texts, ["yes"] * 100, predictions, [0.9] * 100)
    assert [example.text for example in found.wrong] == ["text 0", "text 20", "text 40", "text 60", "text 80"]
    assert [example.text for example in found.right] == ["text 1", "text 21", "text 41", "text 61", "text 81"]
    assert found.wrong[0] == Example(text="text 0", predicted="no", expected="yes", score=0.9)


def test_fewer_examples_than_asked_for_are_all_shown():
    found = collect_examples(["a", "b", "c"], ["x", "x", "x"], ["x", "x", "y"], [0.9, 0.8, 0.7])
    assert [example.text for example in found.right] == ["a", "b"]
    assert [example.text for example in found.wrong] == ["c"]


def test_what_is_right_may_be_said_by_the_caller():
    found = collect_examples(["a", "b"], ["x", "x"], ["x", "x"], [0.9, 0.8], right=[False, True])
    assert [example.text for example in found.right] == ["b"]
    assert [example.text for example in found.wrong] == ["a"]


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        collect_examples(["a", "b"], ["x"], ["x", "x"], [0.9, 0.8])


def test_regression_examples_are_the_closest_and_the_furthest():
    found = collect_regression_examples(["a", "b", "c", "d", "e"], [1, 1, 1, 1, 1], [1.5, 1, 3, 0.9, -4], limit=2)
    assert [example.text for example in found.right] == ["b", "d"]
    assert [(example.text, example.score) for example in found.wrong] == [("e", 5.0), ("c", 2.0)]
    assert (found.wrong[0].predicted, found.wrong[0].expected) == ("-4.00", "1.00")


TEXTS = ["the late goal", "the choir sings", "a goal is a goal", "they sing a late song"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folder whose path ends in the golden model's id, so that the card's snippet finds it from the root."""
    folder = tmp_path_factory.mktemp("hub") / golden_facts().model_id
    tokenizer = train_tokenizer(TEXTS * 2, max_length=16)
    torch.manual_seed(0)
    config = LSTMConfig(vocab_size=len(tokenizer), embedding_size=8, hidden_size=8, id2label={0: "sport", 1: "music"})
    LSTMForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipe(checkpoint):
    return pipeline("text-classification", model=str(checkpoint))


def test_the_snippet_of_a_card_runs_and_prints_what_the_card_says(checkpoint, pipe):
    card = render_card(dataclasses.replace(golden_facts(), widgets=widget_entries(pipe, TEXTS[:2])))
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    said = ast.literal_eval(re.search(r"^# (\[.*\])$", snippet, re.MULTILINE)[1])
    ran = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=checkpoint.parents[1],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=HANGS,
    )
    assert ran.returncode == 0, ran.stderr
    [printed] = ast.literal_eval(ran.stdout)
    assert said == [{"label": printed["label"], "score": pytest.approx(printed["score"], abs=1e-4)}]
    assert "hfseq" in snippet.splitlines()[0]


def test_widgets_hold_the_answers_of_the_pipeline_best_first(pipe):
    [widget] = widget_entries(pipe, ["the late goal"])
    assert {each.label for each in widget.output} == {"sport", "music"}
    assert widget.output[0].score >= widget.output[1].score
    assert_same(sum(each.score for each in widget.output), 1, 1e-3)


def test_speed_is_measured_on_one_thread_which_is_given_back(pipe, monkeypatch):
    threads, batches = set(), []

    def call(inputs, **kwargs):
        threads.add(torch.get_num_threads())
        batches.append(kwargs.get("batch_size"))
        return original(inputs, **kwargs)

    original = type(pipe).__call__.__get__(pipe)
    monkeypatch.setattr(type(pipe), "__call__", lambda self, inputs, **kwargs: call(inputs, **kwargs))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        speed = measure_speed(pipe, TEXTS, batch_size=4)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == {1}
    assert batches.count(1) >= 30
    assert batches.count(4) >= 1
    assert 0 < speed.ms_per_text < 1000
    assert speed.texts_per_second > 1


def test_speed_does_not_count_who_else_is_at_work(pipe, monkeypatch):
    alone = measure_speed(pipe, TEXTS)
    call = type(pipe).__call__

    def wait(self, *args, **kwargs):
        time.sleep(0.02)  # as for a core that others have
        return call(self, *args, **kwargs)

    monkeypatch.setattr(type(pipe), "__call__", wait)
    assert measure_speed(pipe, TEXTS).ms_per_text < alone.ms_per_text + 15
    assert alone.in_cpu_time
    card = render_card(dataclasses.replace(golden_facts(), speed=alone))
    assert card.count("one CPU core, CPU time) |") == 2 and "CPU time" not in render_card(golden_facts())


def test_a_busy_machine_is_told_of(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (4.0, 1.0, 1.0))
    assert environment().load is None
    monkeypatch.setattr(os, "getloadavg", lambda: (9.26, 1.0, 1.0))
    assert environment().load == 9.3
    busy = dataclasses.replace(golden_facts().environment, load=9.3)
    told = "The machine was busy: 9.3 processes wanted a core, so that wall time is too long.\n- **Versions:**"
    assert told in render_card(dataclasses.replace(golden_facts(), environment=busy))


def test_long_texts_make_smaller_batches(pipe, monkeypatch):
    monkeypatch.setattr(pipe.tokenizer, "model_max_length", 10**30)
    long = ["a " * 3000, *TEXTS]
    assert measure_speed(pipe, long).batch_size == 14


def test_threads_are_given_back_after_an_error(pipe, monkeypatch):
    def fail(self, *args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(pipe), "__call__", fail)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            measure_speed(pipe, TEXTS)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_speed_needs_texts_and_the_cpu(pipe, monkeypatch):
    with pytest.raises(ValueError, match="got none"):
        measure_speed(pipe, [])
    monkeypatch.setattr(pipe, "device", torch.device("meta"))
    with pytest.raises(ValueError, match="pipeline is on meta"):
        measure_speed(pipe, TEXTS)


def test_the_size_of_a_model_is_that_of_its_weights(checkpoint, tmp_path):
    assert model_size_mb(checkpoint) == (checkpoint / "model.safetensors").stat().st_size / 1e6
    with pytest.raises(ValueError, match="no \\*.safetensors"):
        model_size_mb(tmp_path)


def test_the_environment_names_versions_and_neither_host_nor_folders():
    found = environment()
    assert (found.python, found.torch) == (platform.python_version(), torch.__version__)
    assert found.cpu
    assert found.cores >= 1
    told = json.dumps(dataclasses.asdict(found))
    assert platform.node() not in told
    assert str(Path.home()) not in told


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.cards.test_cards --write")
    for golden_name in GOLDEN_NAMES:
        (GOLDEN / f"{golden_name}.md").write_text(render_card(golden_facts(golden_name)), encoding="utf-8")
