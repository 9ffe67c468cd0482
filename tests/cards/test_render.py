"""One card out of several runs, and the table of results."""

import dataclasses
import re
from pathlib import Path

import pytest

from hfseq.cards.facts import SAME_RUN, SeedRun
from hfseq.tasks import TASKS
from hfseq.tasks.text_classification.facts import CardFacts
from model_cards.render import merge, with_expectation
from tests.tasks.word_vectors.test_card import golden_facts

GOLDEN = Path(__file__).parents[1] / "golden"
COMMAND = "python x.py --config y.yaml --training.learning_rate=0.1"


@pytest.fixture
def run(tmp_path):
    """Function that writes a run's facts, with changes, into a folder of its own."""

    def write(seed, options="", **changes):
        facts = CardFacts.load(GOLDEN / "card_classifier.json")
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        command = f"{COMMAND}{options} --training.seed={seed} --training.output_dir=runs/{seed}"
        runs = [SeedRun(seed=seed, metrics={"accuracy": 0.9 + seed / 100}, minutes=1.0 + seed)]
        dataclasses.replace(facts, runs=runs, **{"command": command, **changes}).save(folder / "facts.json")
        return folder

    return write


def golden(name="card_classifier"):
    return CardFacts.load(GOLDEN / f"{name}.json")


def test_runs_of_other_seeds_speeds_and_machines_make_one_card(run):
    speed = dataclasses.replace(golden().speed, ms_per_text=9.9)
    elsewhere = dataclasses.replace(golden().environment, cpu="Another CPU")
    merged = merge([run(0), run(1, speed=speed, environment=elsewhere), run(2)])
    assert [(each.seed, each.metrics["accuracy"]) for each in merged.runs] == [(0, 0.9), (1, 0.91), (2, 0.92)]
    assert merged.speed == golden().speed
    assert "--training.seed=0" in merged.command


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architecture": dataclasses.replace(golden().architecture, pooling="mean")}, "architecture"),
        ({"data": dataclasses.replace(golden().data, vocabulary_size=3)}, "data"),
        ({"parameters": 3}, "parameters"),
        ({"pretrained": "glove.txt"}, "pretrained"),
        ({"options": " --training.learning_rate=0.2"}, "command"),
        ({"options": " --training.seeds=3"}, "command"),
    ],
    ids=str,
)
def test_runs_of_another_configuration_are_refused_with_both_commands(run, changes, named):
    with pytest.raises(ValueError, match=f"by {named}: only runs that differ in their seed") as refused:
        merge([run(0), run(1, **changes)])
    assert len(re.findall(re.escape(COMMAND), str(refused.value))) == 2


def test_the_table_shows_the_first_score_of_every_problem_and_the_exact_commands():
    bag = dataclasses.replace(
        golden().comparisons[0], name="Bag of words (logistic regression)", value=0.941, source=SAME_RUN
    )
    table = TASKS["text_classification"].table.render(
        [golden("card_regression"), dataclasses.replace(golden(), comparisons=[bag])]
    )
    classified, regressed = table.splitlines()[2:4]
    assert classified.startswith("| LSTM | Golden Headlines | Accuracy (%) | 97.1 ± 0.2 (0, 1, 2) | 94.1 | 3.2 |")
    assert regressed.startswith("| GRU | Golden Numbers (private) | Mean squared error | 0.250 (7) | - | 0.4 |")
    commands = re.search(r"```bash\n(.*)\n```$", table, re.DOTALL)[1].splitlines()
    assert commands == [golden().command, golden("card_regression").command]


@pytest.mark.parametrize(("minutes", "shown"), [(0.0, "< 0.1"), (0.049, "< 0.1"), (0.051, "0.1"), (2.0, "2.0")])
def test_no_training_takes_no_time(minutes, shown):
    words = golden_facts()
    words = dataclasses.replace(words, runs=[dataclasses.replace(run, minutes=minutes) for run in words.runs])
    assert f" | {shown} | " in TASKS["word_vectors"].table.render([words]).splitlines()[2]
    assert f", {shown} minutes of training" in with_expectation("# Expected: ?\n", words)
