"""What the masked language modelling recipe does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import re

import numpy as np
import pytest
from transformers import pipeline

from hfseq.data.documents import load_documents
from hfseq.recipe.language import make_text, make_tokenizer
from hfseq.tasks.masked_lm.facts import MaskedModelFacts
from tests.tasks.base import RECIPES, facts, losses

RECIPE = RECIPES["masked_language_modeling"]


@pytest.fixture
def masked(small_runs):
    return small_runs.plain("masked_language_modeling")


def test_a_masked_run_leaves_a_model_that_fills_in_as_its_card_says(masked):
    folder, printed = masked
    made = facts(folder)
    assert type(made) is MaskedModelFacts
    assert losses(folder)[-1] < losses(folder)[0] - 0.1
    pipe = pipeline("fill-mask", model=str(folder))
    assert [widget.text for widget in made.widgets] == RECIPE.settings().card.ask
    for widget in made.widgets:
        found = [(each["token_str"], round(each["score"], 4)) for each in pipe(widget.text)]
        assert found == [(each.label, pytest.approx(each.score, abs=2e-4)) for each in widget.output]
    assert f"test: accuracy {made.runs[0].metrics['accuracy']:.4f}, perplexity " in printed


def test_a_mask_among_words_is_read_as_in_training_and_what_is_filled_in_brings_its_space(masked):
    folder, _ = masked
    pipe = pipeline("fill-mask", model=str(folder))
    texts = load_documents(RECIPE.settings(*RECIPE.small).data)["train"]["text"][:]
    known = (text for text in texts if "<unk>" not in pipe.tokenizer.tokenize(text))
    text = next(text for text in known if len(pipe.tokenizer.tokenize(text)) == len(text.split()) > 3)
    first, second, hidden, *others = text.split()
    prompt = " ".join([first, second, "<mask>", *others])
    tokens = pipe.tokenizer.convert_ids_to_tokens(pipe.tokenizer(prompt)["input_ids"])
    assert tokens == ["<s>", first, f" {second}", "<mask>", *(f" {word}" for word in others), "</s>"]
    (answer,) = pipe(prompt, targets=[f" {hidden}"])
    assert (answer["token_str"], answer["sequence"]) == (f" {hidden}", text)


def test_the_snippets_of_a_masked_card_run_and_print_what_it_says(masked):
    folder, _ = masked
    card = (folder / "README.md").read_text(encoding="utf-8").replace(facts(folder).model_id, str(folder))
    snippets, printed = re.findall(r"```python\n(.*?)```", card, re.DOTALL), []
    names = {"print": printed.append}
    for snippet in snippets:
        exec(snippet, names)
    assert snippets[0].rstrip().splitlines()[-1] == f"# {printed[0]}"
    assert names["classifier"].config.num_labels == 2


def test_the_guess_of_the_commonest_word_is_measured_on_the_same_hidden_tokens(masked):
    folder, _ = masked
    found = {row.metric: row.value for row in facts(folder).comparisons}
    made = RECIPE.settings(*RECIPE.small)
    dataset = load_documents(made.data)
    tokenizer = make_tokenizer(dataset, made.tokenizer, is_whole=True)
    seen = make_text(dataset["train"], tokenizer, made.tokenizer).ids
    commonest = np.bincount(seen[seen > 4]).argmax()
    share = (make_text(dataset["test"], tokenizer, made.tokenizer).ids == commonest).mean()
    assert set(found) == {"accuracy", "perplexity"}
    assert found["accuracy"] == pytest.approx(share, abs=0.1)  # of all tokens, of which a sample is hidden
    assert 1 < found["perplexity"] < len(tokenizer)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--card.ask=['']", "card.ask holds empty texts alone"),
        ("--card.ask=[set an alarm]", "'set an alarm': each text needs <mask> once"),
        ("--card.ask=['a <mask> <mask>']", "each text needs <mask> once"),
        ("--generation.max_new_tokens=7", "unknown section 'generation'"),
        ("--evaluation.ngram_order=0", "unknown section 'evaluation'"),
        ("--training.mlm_probability=null", "training.mlm_probability is not given"),
        ("--model.type=lstm", "unknown model type 'lstm'.* Allowed: transformer"),
        ("--training.carry=stream", "set training.carry=none"),
        ("--card.comparisons=[{name: a, metric: nats_per_token, value: 0.7, source: b}]", "metric of a masked model"),
    ],
)
def test_settings_that_do_not_suit_a_masked_model_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        RECIPE.settings(option)
