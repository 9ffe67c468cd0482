"""The language modelling recipe for models without a state: a transformer that writes, and one that fills in."""

import io
import math
import re
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline, set_seed

from hfseq.cards.render import check_card, render_card
from hfseq.data.documents import load_documents
from hfseq.evaluation.language import score_ids
from hfseq.tasks.causal_lm.build import windows_apart
from hfseq.tasks.causal_lm.facts import LanguageModelFacts
from hfseq.tasks.causal_lm.settings import make_model, make_text, make_tokenizer
from hfseq.tasks.masked_lm.facts import MaskedModelFacts
from hfseq.training.streams.windows import TokenText
from tests.closeness import assert_same
from tests.tasks.causal_lm.test_recipe import MASKED, TRANSFORMER, facts, losses, run_here, settings, small
from tests.training.streams.stream_trainers import small_transformer

# The transformer, which carries no state


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def attending(runs):
    """A small run of the transformer."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        run_here(monkeypatch, runs / "attending", "--training.window=16", config=TRANSFORMER)
    return runs / "attending"


def test_a_transformer_is_made_for_its_windows_and_scored_in_them(attending):
    made, used = facts(attending), settings(*small(TRANSFORMER), "--training.window=16", config=TRANSFORMER)
    assert type(made) is LanguageModelFacts
    assert (made.architecture.cell, made.architecture.context) == ("Transformer", 16)
    model = AutoModelForCausalLM.from_pretrained(attending)
    assert model.config.max_position_embeddings == 16
    dataset, tokenizer = load_documents(used.data), AutoTokenizer.from_pretrained(attending)
    text = make_text(dataset["test"], tokenizer, used)
    assert tokenizer.convert_ids_to_tokens(text.ids[:1].tolist()) == ["</s>"]
    (surprisals,) = score_ids(model, [text.ids], window=16, stride=8)
    assert len(surprisals) == len(text) - 1
    assert made.runs[0].metrics == {"perplexity": pytest.approx(math.exp(surprisals.mean()), rel=1e-5)}
    (apart,) = score_ids(model, [text.ids], window=16, stride=16)
    found = {row.name: row.value for row in made.comparisons}
    assert found["The same, in windows of 16 that begin anew"] == pytest.approx(math.exp(apart.mean()), rel=1e-5)
    assert len(found) == 3 and apart.mean() != surprisals.mean()
    # By hand: a token is predicted from the 8 to 16 before it, all there are at the beginning.
    ids = torch.from_numpy(text.ids.astype(np.int64))
    with torch.no_grad():
        logits = model(ids[None, 8:24]).logits[0, 8:]
    by_hand = torch.nn.functional.cross_entropy(logits, ids[17:25], reduction="none")
    assert_same(surprisals[16:24], by_hand)
    card = (attending / "README.md").read_text(encoding="utf-8")
    assert "It reads windows of 16 tokens, each 8 after the last, so that a token is predicted from the 8" in card
    assert "every window starts without a state" in card
    assert losses(attending)[-1] < losses(attending)[0] - 0.1


def test_a_transformer_writes_as_its_card_says(attending):
    pipe = pipeline("text-generation", model=str(attending))
    for sample in facts(attending).samples[:2]:
        set_seed(sample.seed)
        assert pipe(sample.prompt)[0]["generated_text"] == sample.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--training.carry=stream"], "training.carry='stream' needs a state that goes on .* set training.carry=none"),
        (["--training.carry=document"], "model.type='transformer' has none: set training.carry=none"),
        (["--model.max_position_embeddings=32"], "max_position_embeddings=32 has no room for training.window=64"),
        (["--model.position_embedding_type=learned", "--generation.max_new_tokens=64"], "beyond the 64 positions"),
        (["--fill_mask.prompts=['a <mask>']"], "fill_mask.prompts are not for this model, which writes"),
        (["--training.mlm_probability=0.15"], "generation.prompts are not|fill_mask.prompts must hold a text"),
    ],
)
def test_settings_that_do_not_suit_a_transformer_are_refused_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        settings(*options, config=TRANSFORMER)


def test_a_prompt_that_leaves_no_position_to_write_to_is_refused_before_the_training():
    learned = ["--model.position_embedding_type=learned", "--training.window=8", "--generation.max_new_tokens=5"]
    made = settings(*small(TRANSFORMER), *learned, config=TRANSFORMER)
    made.generation.prompts = ["will it rain"]
    tokenizer = make_tokenizer(load_documents(made.data), made)
    with pytest.raises(
        ValueError, match="of 4 tokens or more and generation.max_new_tokens=5 after it goes beyond the 8"
    ):
        make_model(made, tokenizer)
    made.generation.prompts = ["will it"]
    assert make_model(made, tokenizer).config.max_position_embeddings == 8
    longer = settings(*small(TRANSFORMER), "--model.max_position_embeddings=100", config=TRANSFORMER)
    assert make_model(longer, tokenizer).config.max_position_embeddings == 100


# Masked language models


@pytest.fixture(scope="module")
def masked(runs):
    """A small run of a masked model, and what it printed."""
    with pytest.MonkeyPatch.context() as monkeypatch, redirect_stdout(io.StringIO()) as printed:
        run_here(monkeypatch, runs / "masked", config=MASKED)
    return runs / "masked", printed.getvalue()


def test_a_masked_run_leaves_a_model_that_fills_in_as_its_card_says(masked):
    folder, printed = masked
    made = facts(folder)
    assert type(made) is MaskedModelFacts
    card = (folder / "README.md").read_text(encoding="utf-8")
    check_card(card)
    assert card == render_card(made)
    assert losses(folder)[-1] < losses(folder)[0] - 0.1
    pipe = pipeline("fill-mask", model=str(folder))
    assert [widget.text for widget in made.widgets] == settings(config=MASKED).fill_mask.prompts
    for widget in made.widgets:
        found = [(each["token_str"], round(each["score"], 4)) for each in pipe(widget.text)]
        assert found == [(each.label, pytest.approx(each.score, abs=2e-4)) for each in widget.output]
    assert f"test: accuracy {made.runs[0].metrics['accuracy']:.4f}, perplexity " in printed


def test_a_mask_among_words_is_read_as_in_training_and_what_is_filled_in_brings_its_space(masked):
    folder, _ = masked
    pipe = pipeline("fill-mask", model=str(folder))
    texts = load_documents(settings(*small(MASKED), config=MASKED).data)["train"]["text"][:]
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
    made = settings(*small(MASKED), config=MASKED)
    dataset = load_documents(made.data)
    tokenizer = make_tokenizer(dataset, made, is_masked=True)
    seen = make_text(dataset["train"], tokenizer, made).ids
    commonest = np.bincount(seen[seen > 4]).argmax()
    share = (make_text(dataset["test"], tokenizer, made).ids == commonest).mean()
    assert set(found) == {"accuracy", "perplexity"}
    assert found["accuracy"] == pytest.approx(share, abs=0.1)  # of all tokens, of which a sample is hidden
    assert 1 < found["perplexity"] < len(tokenizer)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--fill_mask.prompts=[]", "fill_mask.prompts must hold a text"),
        ("--fill_mask.prompts=[set an alarm]", "'set an alarm': each text needs <mask> once"),
        ("--fill_mask.prompts=['a <mask> <mask>']", "each text needs <mask> once"),
        ("--generation.prompts=[will it]", "generation.prompts are not for this model, which fills in"),
        ("--generation.max_new_tokens=7", "generation.max_new_tokens=7 is not for a masked model"),
        ("--generation.seeds=[3]", r"generation.seeds=\[3\] is not for a masked model"),
        ("--evaluation.ngram_order=0", "evaluation.ngram_order=0 is not for a masked model"),
        ("--training.carry=stream", "set training.carry=none"),
        ("--card.comparisons=[{name: a, metric: nats_per_token, value: 0.7, source: b}]", "metric of a masked model"),
    ],
)
def test_settings_that_do_not_suit_a_masked_model_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        settings(option, config=MASKED)


def test_windows_that_begin_anew_are_those_of_training_whatever_the_model_has_room_for():
    used = settings(*small(TRANSFORMER), "--training.window=16", config=TRANSFORMER)
    rows, ids = Dataset.from_dict({"text": ["any"]}), np.random.default_rng(0).integers(4, 13, 101)
    model = small_transformer("text-generation", max_position_embeddings=64).eval()
    (row,) = windows_apart(model, TokenText(ids), rows, used)
    (apart,) = score_ids(model, [ids], window=16, stride=16)
    assert row.name == "The same, in windows of 16 that begin anew"
    assert row.value == pytest.approx(math.exp(apart.mean()), rel=1e-6)


def test_a_family_that_reads_forward_fills_in_nothing():
    with pytest.raises(ValueError, match=r"model.type='lstm' is none: take one of transformer\."):
        settings("--training.carry=none", "--tokenizer.start=false", "--training.mlm_probability=0.15")
