"""What a trained and saved tagger finds in texts as they are written; the tokenizers alone: `tests/pipelines/`."""

import json

import pytest
from transformers import pipeline

from hfseq.commands.predict import answers
from hfseq.data.tagged import TaggedSettings, load_tagged
from hfseq.tasks.tagging.settings import TokenizerSettings
from tests.tasks.tagging.taggers import small_settings, trained

NAME, TOWN = "first name", "home town"  # names of several words
TAGS = {"Ana": f"B-{NAME}", "Oslo": f"B-{TOWN}", "New": f"B-{TOWN}", "York": f"I-{TOWN}", "北": f"B-{TOWN}"}
TAGS |= {"京": f"I-{TOWN}", "मुंबई": f"B-{TOWN}", "👩🏽‍🚀": f"B-{NAME}"}
SENTENCES = [
    "call Ana in Oslo , please !",
    "New York calls ( Ana )",
    "我 爱 北 京 。",
    "मुंबई में 👩🏽‍🚀 !",
    "hello , call me",
]


@pytest.fixture(
    scope="module",
    params=[("word", True), ("wordpiece", True), ("wordpiece", False), ("bpe", True)],
    ids=lambda each: f"{each[0]}-{'all' if each[1] else 'first'}",
)
def finished(request, tmp_path_factory):
    """A tagger that knows these sentences by heart, its pipeline, and the strategy that its training asks for."""
    folder = tmp_path_factory.mktemp("spans")
    rows = [{"tokens": text.split(), "tags": [TAGS.get(word, "O") for word in text.split()]} for text in SENTENCES]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 5), encoding="utf-8")
    task = load_tagged(TaggedSettings(path={split: str(path) for split in ("train", "validation", "test")}))
    settings, (kind, label_all) = small_settings(folder), request.param
    size = 300 if kind == "bpe" else 70
    settings.tokenizer = TokenizerSettings(kind=kind, vocab_size=size, label_all_tokens=label_all, max_length=64)
    settings.model |= {"embedding_size": 16, "hidden_size": 24, "bidirectional": True}
    settings.training |= {"max_steps": 100, "learning_rate": 0.03}
    trainer, _ = trained(settings, task)
    trainer.save_model(str(folder / "model"))
    return pipeline("token-classification", model=str(folder / "model")), "simple" if label_all else "first"


def found(finished, text, **options):
    pipe, strategy = finished
    answer = pipe(text, aggregation_strategy=strategy, **options)
    if options:
        (answer,), text = answer, " ".join(text)
    return [(each["entity_group"], text[each["start"] : each["end"]]) for each in answer]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call Ana in Oslo, please!", [(NAME, "Ana"), (TOWN, "Oslo")]),
        ("New York calls (Ana)", [(TOWN, "New York"), (NAME, "Ana")]),
        ("我爱北京。", [(TOWN, "北京")]),
        ("मुंबई में 👩🏽‍🚀!", [(TOWN, "मुंबई"), (NAME, "👩🏽‍🚀")]),
        ("hello, call me", []),
        ("", []),
    ],
)
def test_a_saved_tagger_finds_the_entities_of_a_text_as_it_is_written(finished, text, expected):
    assert found(finished, text) == expected


def test_words_that_are_parted_have_the_same_entities(finished):
    words = SENTENCES[1].split()
    assert found(finished, words, is_split_into_words=True) == [(TOWN, "New York"), (NAME, "Ana")]
    assert found(finished, ["Ana"], is_split_into_words=True)[0][1] == "Ana"


def test_a_sentence_of_5000_words_is_tagged_to_its_end(finished):
    text = ", ".join(["call Ana in Oslo"] * 1000)
    assert found(finished, text)[-4:] == [(NAME, "Ana"), (TOWN, "Oslo")] * 2
    assert len(found(finished, text)) == 2000


def test_predict_answers_by_whole_words(finished):
    pipe, _ = finished
    (row,) = answers(pipe, ["call Ana in Oslo, please!"])
    assert [(each["label"], each["text"]) for each in row["entities"]] == [(NAME, "Ana"), (TOWN, "Oslo")]
