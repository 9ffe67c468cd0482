"""Cards of language models: the golden card, facts that are refused, what follows from them, the table of results.

After a change of the template, `python -m tests.tasks.causal_lm.test_card --write` renders the golden card anew.
"""

import dataclasses
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from hfseq.cards.language import shown_metrics
from hfseq.cards.render import check_card, load_facts, render_card, write_card
from hfseq.tasks import TASKS
from hfseq.tasks.causal_lm.facts import LanguageModelFacts, Sample
from hfseq.tasks.causal_lm.quotes import Quotations
from model_cards import render
from tests.cards.changes import change_keys

GOLDEN = Path(__file__).parents[2] / "golden"
PATH = GOLDEN / "card_language.json"
COMMAND = "python recipes/language_modeling.py --config recipes/configs/language_modeling/golden.yaml"


def golden_facts():
    return LanguageModelFacts.load(PATH)


def changed(**changes):
    """The golden facts with changes; `tokens__kind` means facts.tokens.kind."""
    facts, made = golden_facts(), {}
    for path, value in changes.items():
        part, _, name = path.rpartition("__")
        made |= {part: dataclasses.replace(made.get(part, getattr(facts, part)), **{name: value})} if part else {}
        made |= {} if part else {path: value}
    return dataclasses.replace(facts, **made)


def line_of(name, facts):
    (line,) = re.findall(rf"^- \*\*{name}:\*\* .*$", render_card(facts), re.MULTILINE)
    return line


def limits_of(facts):
    return re.search(r"## Limits\n\n(.*?)\n\n##", render_card(facts), re.DOTALL)[1]


@pytest.fixture(scope="module")
def card():
    return render_card(golden_facts())


def test_the_card_equals_its_golden_file(card, tmp_path):
    assert card == (GOLDEN / "card_language.md").read_text(encoding="utf-8")
    write_card(tmp_path, golden_facts())
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card


def test_facts_survive_json_and_their_kind_chooses_their_class(tmp_path):
    golden_facts().save(tmp_path / "facts.json")
    assert json.loads((tmp_path / "facts.json").read_text("utf-8")) == json.loads(PATH.read_text("utf-8"))
    assert type(load_facts(PATH)) is LanguageModelFacts
    assert load_facts(PATH) == golden_facts()


def test_the_hub_client_reads_the_results_back(card):
    data = ModelCard(card).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    assert data.tags == ["hfseq", "lstm", "language-model"]
    assert data.datasets == ["golden-tests/plays"]
    found = [(each.task_type, each.dataset_name, each.dataset_split, each.metric_value) for each in data.eval_results]
    assert found == [
        ("text-generation", "Golden Plays", "test", 1.504),
        ("text-generation", "Golden Plays", "test", 2.17),
    ]
    assert [widget["text"] for widget in data.widget] == golden_facts().prompts
    assert data.widget[0]["output"] == {"text": golden_facts().samples[0].text}
    assert data.inference == {"parameters": {"max_new_tokens": 60, "temperature": 0.8}}


def test_every_split_that_was_scored_is_shown_and_the_spread_is_that_of_the_evaluated_one(card):
    assert "| Nats per token, test | 1.504 ± 0.003 (seeds 0, 1: 1.502, 1.506) |" in card
    assert "| Nats per token, validation | 1.495 |" in card


def test_the_snippet_asks_what_the_card_answers(card):
    asked = {}

    def pipeline(task, model):
        asked.update(task=task, model=model)
        return lambda prompt: [{"generated_text": {"KING:": golden_facts().samples[0].text}[prompt]}]

    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    printed = []
    names = {"pipeline": pipeline, "set_seed": lambda seed: asked.update(seed=seed), "print": printed.append}
    exec(re.sub(r"^(?:import|from) .*$", "", snippet, flags=re.MULTILINE), names)
    assert asked == {"task": "text-generation", "model": golden_facts().model_id, "seed": 0}
    said = re.findall(r"^# ?(.*)$", snippet, re.MULTILINE)
    assert said == printed[0].splitlines()
    assert snippet.startswith("import hfseq ")


def test_samples_may_hold_anything_and_end_neither_their_block_nor_their_section(card):
    section = re.search(r"^## Examples\n(.*?)^## ", card, re.DOTALL | re.MULTILINE)[1]
    assert "    ## nan\n    ---\n    TODO: exeunt /home/king/all\n" in section
    assert "    KING:\n      Ay, my nan.\n" in section
    check_card(card)
    with pytest.raises(ValueError, match="/home/king"):
        check_card(card.replace("## Limits", "## Limits\n\n/home/king/all"))


def test_each_sample_names_its_prompt(card):
    told = [f"Prompt `{json.dumps(each.prompt)}`, seed {each.seed}:" for each in golden_facts().samples]
    told = [line.replace("```", "'''") for line in told]  # which would end the code
    assert len(told) > 1 and re.findall("^Prompt .*:$", card, re.MULTILINE) == told


def test_samples_that_quote_the_data_are_counted():
    card = render_card(changed(samples=golden_facts().samples[:1], left_out=3))
    assert "\n3 of 4 samples quote the training texts word for word and are left out.\n" in card
    card = render_card(changed(samples=[], left_out=4))
    assert "\n4 of 4 samples quote" in card


TEXT = "the quick brown fox jumps over the lazy dog and runs into the dark wood to sleep until the next day breaks"


@pytest.mark.parametrize(
    ("text", "is_quoted"),
    [
        ("Call Ana", True),  # a row, with the prompt
        ("<x>call   ana", True),
        ("CallNew York", True),  # a row, after the prompt
        ("Call Ana now", False),
        (" ".join(TEXT.split()[1:20]), True),
        (f"Call me: {TEXT.upper()}", True),
        (" ".join(TEXT.split()[:9]) + " or not", False),
    ],
)
def test_a_quotation_is_a_row_or_many_words_of_one(text, is_quoted):
    rows = Quotations(["call Ana", "New York", TEXT], are_rows=True)
    assert (Sample(prompt="Call", seed=0, text=text) in rows) == is_quoted
    running = Quotations(["call Ana", "New York", TEXT], are_rows=False)
    assert (Sample(prompt="Call", seed=0, text=text) in running) == (is_quoted and len(text.split()) > 3)


def test_an_empty_prompt_is_shown_but_not_offered():
    samples = [Sample(prompt="", seed=0, text="Exeunt."), Sample(prompt="KING:", seed=0, text="KING: no")]
    card = render_card(changed(prompts=["", "KING:"], samples=samples))
    assert "\nNo prompt, seed 0:\n\n    Exeunt.\n" in card
    assert 'print(pipe("")[0]["generated_text"])\n# Exeunt.\n' in card
    assert [widget["text"] for widget in yaml.safe_load(card.split("---\n")[1])["widget"]] == ["KING:"]


def test_a_restricted_text_has_a_card_without_samples():
    facts = changed(data__restriction="research only", samples=[])
    card = render_card(facts)
    assert "Nothing that the model writes is shown, for the terms of the data: research only." in card
    assert yaml.safe_load(card.split("---\n")[1])["widget"] == [{"text": prompt} for prompt in facts.prompts]
    assert 'print(pipe("KING:")[0]["generated_text"])\n```' in card
    assert "The terms of the data bind its use: research only." in limits_of(facts)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "characters, 70 different ones, 0.04 % of those of test are unknown; nothing marks where a text begins"),
        ({"tokens__kind": "whitespace", "tokens__lowercase": True}, "words, lower-cased, 70 different ones"),
        (
            {"tokens__writes_end": True, "data__documents": "lines"},
            "every line ends with `</s>`, which is predicted as any other token.",
        ),
        (
            {"tokens__writes_end": True, "tokens__writes_start": True, "data__documents": "rows"},
            "every text begins with `<s>` and ends with `</s>`.",
        ),
    ],
    ids=str,
)
def test_tokens_are_told_in_a_line(changes, told):
    assert told in line_of("Tokens", changed(**changes))


def test_network_and_training_are_told_in_a_line(card):
    facts = golden_facts()
    assert line_of("Architecture", facts) == (
        "- **Architecture:** LSTM, 2 layers, width 128, embeddings of 128, which are the output weights too, "
        "`dropout_kind locked, hidden_dropout 0.2`."
    )
    assert line_of("Training", facts) == (
        "- **Training:** 4 epochs, updates of 32 x 64 tokens, adamw_torch_fused with learning rate 0.004, the state "
        "runs on from window to window and from document to document."
    )
    bare = changed(architecture__options={}, architecture__tied=False, training__carry="none", training__epochs=1.0)
    assert line_of("Architecture", bare).endswith("embeddings of 128.")
    assert "1 epoch, " in line_of("Training", bare)
    assert "every window starts without a state" in line_of("Training", bare)


def test_conditions_are_told_where_there_are_some(card):
    assert "Conditions" not in card
    facts = changed(data__conditions=["None", "sad"])
    assert line_of("Conditions", facts) == (
        "- **Conditions:** a text begins with one of 2 labels, such as `<None>`, and is written on it; the label "
        "is predicted as any other token."
    )


def test_limits_follow_from_the_facts():
    limits = limits_of(golden_facts())
    assert "Made from invented plays in the language `en`" in limits
    assert "trained from scratch on 900,000 tokens" in limits
    assert "Tokens outside the vocabulary" in limits
    assert "Invented: no such model exists." in limits
    assert "Tokens outside the vocabulary" not in limits_of(changed(data__unknown_rate=0.0))


def test_what_is_quoted_follows_from_the_tokens():
    assert shown_metrics("char") == ("nats_per_token", "bits_per_character")
    assert shown_metrics("whitespace") == shown_metrics("word_with_space") == ("perplexity",)
    assert shown_metrics("bpe") == ("bits_per_character", "perplexity")


def run(seed, others=None, **metrics):
    return {"seed": seed, "metrics": metrics, "minutes": 1, "others": others or {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_keys(kind=None), "facts has unknown keys"),
        (change_keys(tokens__kind=None), r"facts\.tokens lacks the keys \['kind'\]"),
        (change_keys(data__splits__test=None), "evaluated_split 'test' is not among the splits"),
        (change_keys(data__splits__train=None), "must count the training texts as 'train'"),
        (change_keys(data__documents="pages"), "documents"),
        (change_keys(training__carry="always"), "carry"),
        (change_keys(prompts=[""]), "prompts must hold at least one text"),
        (change_keys(samples=[], left_out=0), "samples must hold at least one"),
        (change_keys(data__restriction="research only"), "samples repeat them: leave samples empty"),
        (change_keys(runs=[]), "one result per seed"),
        (change_keys(runs=[run(0)]), "runs have no metrics"),
        (change_keys(runs=[run(0, f1=0.5)], comparisons=[]), r"unknown metrics \['f1'\]"),
        (change_keys(runs=[run(0, perplexity=9)]), r"comparisons use \['nats_per_token'\], which the runs lack"),
        (
            change_keys(
                runs=[run(0, {"dev": {"perplexity": 9}}, perplexity=9)],
                comparisons=[],
            ),
            r"the runs score \['dev'\], which are not among the splits",
        ),
        (
            change_keys(
                runs=[run(0, {"train": {"perplexity": 9}}, perplexity=9), run(1, perplexity=9)],
                comparisons=[],
            ),
            r"seed 1 has other scores for \[\]",
        ),
        (change_keys(license="other"), "needs a license_name and a license_link"),
        (change_keys(model_id="a/b/c"), "a/b/c"),
    ],
)
def test_wrong_facts_are_refused_with_file_and_reason(change, message, tmp_path):
    payload = json.loads(PATH.read_text(encoding="utf-8"))
    change(payload)
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(payload), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"(?s)facts\.json: .*{message}"):
        load_facts(path)


@pytest.fixture
def measured_run(tmp_path):
    """Function that writes a run's facts, with changes, into a folder of its own."""

    def write(seed, **changes):
        one = dataclasses.replace(golden_facts().runs[0], seed=seed)
        command = f"{COMMAND} --training.seed={seed} --training.output_dir=runs/{seed}"
        (tmp_path / f"run{seed}").mkdir()
        changed(runs=[one], command=command, **changes).save(tmp_path / f"run{seed}" / "facts.json")
        return tmp_path / f"run{seed}"

    return write


def test_runs_of_other_seeds_make_one_card(measured_run):
    samples = [Sample(prompt="KING:", seed=0, text="KING: no")]
    merged = render.merge([measured_run(0), measured_run(3, samples=samples, file_mb=9.0)])
    assert [each.seed for each in merged.runs] == [0, 3]
    assert merged.samples == golden_facts().samples
    render_card(merged)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"tokens__kind": "bpe"}, "tokens"), ({"training__window": 9}, "training"), ({"prompts": ["a"]}, "prompts")],
    ids=str,
)
def test_runs_of_another_configuration_make_no_card(measured_run, changes, named):
    with pytest.raises(ValueError, match=rf"by {named}: only runs that differ in their seed"):
        render.merge([measured_run(0), measured_run(1, **changes)])


def test_the_table_has_a_row_and_a_command_for_each_card():
    table = TASKS["causal_lm"].table.render([golden_facts()])
    head, _, row, *others = table.splitlines()
    assert row == (
        "| LSTM 2 x 128 | Golden Plays, char | test | Nats per token | 1.504 ± 0.003 (0, 1) "
        "| 1.900 (5-gram (Kneser-Ney)) | 512,070 | 3.2 | 2.1 | 0.46 "
        "| [invented-plays](../model_cards/invented-plays.md) |"
    )
    assert head.count("|") == row.count("|")
    assert golden_facts().command in others
    assert "| - | 512,070 |" in TASKS["causal_lm"].table.render([changed(comparisons=[])])
    assert TASKS["causal_lm"].table.render([]) == "No language models have been measured yet."


def test_a_configuration_expects_the_first_score():
    text = render.with_expectation("# Expected: not measured yet\n", golden_facts())
    assert text == (
        "# Expected: nats per token 1.504 ± 0.003 (0, 1) on test, 3.2 minutes of training; data and command of the "
        "measurement: model_cards/invented-plays.md\n"
    )


def test_the_configuration_of_a_card_is_found_by_its_command(tmp_path, monkeypatch):
    (tmp_path / "facts").mkdir()
    monkeypatch.setattr(render, "HERE", tmp_path)
    render.save(golden_facts())
    assert (tmp_path / "invented-plays.md").read_bytes() == (GOLDEN / "card_language.md").read_bytes()
    assert list(render.configurations()) == [render.ROOT / shlex.split(COMMAND)[3]]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.tasks.causal_lm.test_card --write")
    (GOLDEN / "card_language.md").write_text(render_card(golden_facts()), encoding="utf-8")
