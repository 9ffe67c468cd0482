"""Cards of masked language models: the golden card, what the Hub reads of it, facts that are refused.

After a change of the template, `python -m tests.tasks.masked_lm.test_card --write` renders the golden card anew.
"""

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hfseq.cards.render import check_card, load_facts, render_card
from hfseq.tasks.masked_lm.facts import MaskedModelFacts
from model_cards import render
from tests.cards.changes import change_keys

GOLDEN = Path(__file__).parents[2] / "golden"
PATH = GOLDEN / "card_masked.json"


def golden_facts():
    return MaskedModelFacts.load(PATH)


@pytest.fixture(scope="module")
def card():
    return render_card(golden_facts())


def test_the_card_equals_its_golden_file(card):
    assert card == (GOLDEN / "card_masked.md").read_text(encoding="utf-8")
    check_card(card)


def test_facts_survive_json_and_their_kind_chooses_their_class(tmp_path):
    golden_facts().save(tmp_path / "facts.json")
    assert json.loads((tmp_path / "facts.json").read_text("utf-8")) == json.loads(PATH.read_text("utf-8"))
    assert type(load_facts(PATH)) is MaskedModelFacts
    assert load_facts(PATH) == golden_facts()


def test_the_hub_client_reads_the_results_back(card):
    data = ModelCard(card).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "fill-mask")
    assert data.tags == ["hfseq", "transformer", "masked-language-model"]
    assert [(each.task_type, each.metric_type, each.metric_value) for each in data.eval_results] == [
        ("fill-mask", "accuracy", 0.62),
        ("fill-mask", "perplexity", 4.5),
    ]
    assert [widget["text"] for widget in data.widget] == [widget.text for widget in golden_facts().widgets]
    assert data.widget[0]["output"][0] == {"label": " queen", "score": 0.9}


def test_the_card_says_what_the_numbers_are_of(card):
    assert "| Accuracy on hidden tokens (%), test | 62.0 ± 1.4 (seeds 0, 1: 61.0, 63.0) |" in card
    assert "| Perplexity on hidden tokens, validation | 4.400 |" in card
    assert (
        "Scores are over 15 % of the tokens of a split that are neither marks nor unknown, read in windows of 64;"
        in card
    )
    assert "a causal model's perplexity, from one side, is another number" in card
    assert "- **Hidden tokens:** 15 % of each window's tokens that are neither marks nor unknown, one at least" in card
    assert "| Unigram (the most frequent token) | Accuracy on hidden tokens (%) | 9.0 |" in card
    assert "what it fills in suits its texts, and says nothing of what is true." in card
    assert "Trained on windows of 64 tokens: longer texts" in card
    assert "writes has the look" not in card
    facts = golden_facts()
    roomy = dataclasses.replace(facts, architecture=dataclasses.replace(facts.architecture, context=512))
    assert "Trained on windows of 64 tokens: longer texts" in render_card(roomy)


def test_the_snippet_asks_what_the_card_answers(card):
    asked = {}

    def pipeline(task, model):
        asked.update(task=task, model=model)
        return lambda text: [
            {"token_str": each.label} for each in {w.text: w for w in golden_facts().widgets}[text].output
        ]

    snippet, printed = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1], []
    exec(
        re.sub(r"^(?:import|from) .*$", "", snippet, flags=re.MULTILINE),
        {"pipeline": pipeline, "print": printed.append},
    )
    assert asked == {"task": "fill-mask", "model": golden_facts().model_id}
    assert snippet.rstrip().endswith(f"# {printed[0]}")


def test_answers_stand_in_a_table_that_they_cannot_break(card):
    section = re.search(r"^## Examples\n(.*?)^## ", card, re.DOTALL | re.MULTILINE)[1]
    assert "| long live the &lt;mask> | queen 0.90, king 0.05 |" in section
    assert r"| a \| b &lt;mask> | ' ' 0.50, \| 0.20 |" in section


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_keys(hidden_share=None), r"facts lacks the keys \['hidden_share'\]"),
        (change_keys(runs=[{"seed": 0, "metrics": {"bits_per_character": 2}, "minutes": 1}]), "unknown metrics"),
        (change_keys(runs=[]), "one result per seed"),
        (change_keys(license="other"), "needs a license_name and a license_link"),
        (change_keys(model_id="a/b/c"), "a/b/c"),
    ],
)
def test_wrong_facts_are_refused_with_file_and_reason(change, message, tmp_path):
    payload = json.loads(PATH.read_text(encoding="utf-8"))
    change(payload)
    (tmp_path / "facts.json").write_text(json.dumps(payload), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"(?s)facts\.json: .*{message}"):
        load_facts(tmp_path / "facts.json")


def test_runs_of_other_seeds_make_one_card(tmp_path):
    for seed in (0, 3):
        run = dataclasses.replace(golden_facts().runs[0], seed=seed)
        command = f"python r.py --config c.yaml --training.seed={seed}"
        widgets = golden_facts().widgets[seed // 3 :]
        (tmp_path / str(seed)).mkdir()
        made = dataclasses.replace(golden_facts(), runs=[run], command=command, widgets=widgets)
        made.save(tmp_path / str(seed) / "facts.json")
    merged = render.merge([tmp_path / "0", tmp_path / "3"])
    assert [run.seed for run in merged.runs] == [0, 3] and merged.widgets == golden_facts().widgets
    render_card(merged)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.tasks.masked_lm.test_card --write")
    (GOLDEN / "card_masked.md").write_text(render_card(golden_facts()), encoding="utf-8")
