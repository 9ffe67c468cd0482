"""The language modelling recipe for a transformer, which carries no state."""

import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline, set_seed

from hfseq.data.documents import load_documents
from hfseq.evaluation.language import score_ids
from hfseq.recipe.language import make_text, make_tokenizer
from hfseq.tasks.causal_lm.build import make_model, windows_apart
from hfseq.tasks.causal_lm.facts import LanguageModelFacts
from hfseq.training.streams.windows import TokenText
from tests.closeness import assert_same
from tests.tasks.base import ATTENDING, OF_LANGUAGE, RECIPES, facts, losses
from tests.training.streams.stream_trainers import small_transformer

RECIPE, CONFIG = RECIPES["language_modeling"], "transformer_embedded"
SMALL = (*OF_LANGUAGE, *ATTENDING, "--generation.max_new_tokens=8")


def settings(*options):
    return RECIPE.settings(*options, config=CONFIG)


@pytest.fixture(scope="module")
def attending(tmp_path_factory):
    """A small run of the transformer."""
    folder = tmp_path_factory.mktemp("attending")
    with pytest.MonkeyPatch.context() as monkeypatch:
        RECIPE.run(monkeypatch, folder, "--training.window=16", config=CONFIG, small=SMALL)
    return folder


def test_a_transformer_is_made_for_its_windows_and_scored_in_them(attending):
    made, used = facts(attending), settings(*SMALL, "--training.window=16")
    assert type(made) is LanguageModelFacts
    assert (made.architecture.cell, made.architecture.context) == ("Transformer", 16)
    model = AutoModelForCausalLM.from_pretrained(attending)
    assert model.config.max_position_embeddings == 16
    dataset, tokenizer = load_documents(used.data), AutoTokenizer.from_pretrained(attending)
    text = make_text(dataset["test"], tokenizer, used.tokenizer)
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
        (["--training.mlm_probability=0.15"], "hides tokens, but a model that writes learns the next one"),
    ],
)
def test_settings_that_do_not_suit_a_transformer_are_refused_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        settings(*options)


def test_a_prompt_that_leaves_no_position_to_write_to_is_refused_before_the_training():
    learned = ["--model.position_embedding_type=learned", "--training.window=8", "--generation.max_new_tokens=5"]
    made = settings(*SMALL, *learned)
    made.card.ask = ["will it rain"]
    tokenizer = make_tokenizer(load_documents(made.data), made.tokenizer)
    with pytest.raises(
        ValueError, match="of 4 tokens or more and generation.max_new_tokens=5 after it goes beyond the 8"
    ):
        make_model(made, tokenizer)
    made.card.ask = ["will it"]
    assert make_model(made, tokenizer).config.max_position_embeddings == 8
    longer = settings(*SMALL, "--model.max_position_embeddings=100")
    assert make_model(longer, tokenizer).config.max_position_embeddings == 100


def test_windows_that_begin_anew_are_those_of_training_whatever_the_model_has_room_for():
    used = settings(*SMALL, "--training.window=16")
    rows, ids = Dataset.from_dict({"text": ["any"]}), np.random.default_rng(0).integers(4, 13, 101)
    model = small_transformer("text-generation", max_position_embeddings=64).eval()
    (row,) = windows_apart(model, TokenText(ids), rows, used)
    (apart,) = score_ids(model, [ids], window=16, stride=16)
    assert row.name == "The same, in windows of 16 that begin anew"
    assert row.value == pytest.approx(math.exp(apart.mean()), rel=1e-6)
