"""The stock pipeline of taggers: the spans of characters that it gives for our tokenizers, by every strategy.

The model is asked for nothing here: a stand-in answers with the true tag of each token, as training labels it, so that
a wrong span is a fault of the tokenizer or of the pipeline.
"""

import unicodedata
from functools import cache

import pytest
import torch
from datasets import Dataset
from transformers import TokenClassificationPipeline
from transformers.modeling_outputs import TokenClassifierOutput

from hfseq import LSTMConfig, LSTMForTokenClassification
from hfseq.data.tagged import tokenize_words
from hfseq.tokenization import train_tokenizer
from hfseq.tokenization.kinds import TAGGING_KINDS
from tests.rounds import for_each

NAMES = ["O", "B-person", "I-person", "B-first place", "I-first place"]
PLACE = "first place"  # a name of two words
JOINED_LETTERS, WAVE = "👩🏽‍🚀", "👋🏿"  # a joiner, skin tones
# A text as it is written, its words, and the tag of each.
TEXTS = {
    "punctuation": (
        'call Ana Lu (Bo), in "New York"!',
        ["call", "Ana", "Lu", "(", "Bo", ")", ",", "in", '"', "New", "York", '"', "!"],
        [0, 1, 2, 0, 1, 0, 0, 0, 0, 3, 4, 0, 0],
    ),
    "neighbours": ("Oslo,Rome,Ana", ["Oslo", ",", "Rome", ",", "Ana"], [3, 0, 3, 0, 1]),
    "emoji": (f"call {JOINED_LETTERS}{WAVE} now", ["call", JOINED_LETTERS, WAVE, "now"], [0, 1, 1, 0]),
    "devanagari": ("राम, मुंबई में है।", ["राम", ",", "मुंबई", "में", "है", "।"], [1, 0, 3, 0, 0, 0]),
    "chinese": ("我爱北京天安门,小明。", ["我", "爱", "北京", "天安门", ",", "小明", "。"], [0, 0, 3, 3, 0, 1, 0]),
    "accents": ("Zoë (Málaga) café", ["Zoë", "(", "Málaga", ")", "café"], [1, 0, 3, 0, 3]),
    "spaces": ("Ana\tin\n\nNew  York", ["Ana", "in", "New", "York"], [1, 0, 3, 4]),
}
WHOLE_WORDS = ("word", "word_or_characters", "wordpiece", "whitespace")  # transformers sees where their words end
EVERY = ("simple", "first", "average", "max")


@cache
def tokenizer_of(kind):
    lines = [" ".join(words) for _, words, _ in TEXTS.values()] * 2
    return train_tokenizer(lines, kind, purpose="tagging", vocab_size=150 if kind == "unigram" else 320)


def pipeline_of(kind, words, tags, *, label_all_tokens=True):
    """The stock pipeline around a stand-in that knows the tags of these words."""
    tokenizer = tokenizer_of(kind)
    config = LSTMConfig(vocab_size=len(tokenizer), hidden_size=2, embedding_size=2, id2label=dict(enumerate(NAMES)))
    model = LSTMForTokenClassification(config).eval()
    rows = Dataset.from_dict({"tokens": [words], "labels": [tags]})
    (row,) = tokenize_words(rows, tokenizer, NAMES, label_all_tokens=label_all_tokens)
    learnt = torch.tensor([[max(label, 0) for label in row["labels"]]])  # what was not learnt is taken for outside

    def forward(input_ids, attention_mask=None):
        assert input_ids.tolist() == [row["input_ids"]], "the text and the list of its words have other tokens"
        return TokenClassifierOutput(logits=9.0 * torch.nn.functional.one_hot(learnt, len(NAMES)))

    model.forward = forward
    return TokenClassificationPipeline(model=model, tokenizer=tokenizer)


def true_spans(text, words, tags):
    """The entities as (kind, start, end) of characters."""
    spans, at = [], 0
    for word, tag in zip(words, tags, strict=True):
        at = text.index(word, at)
        if tag and not NAMES[tag].startswith("I-"):
            spans.append([NAMES[tag][2:], at, at + len(word)])
        elif tag:
            spans[-1][2] = at + len(word)
        at += len(word)
    return [tuple(span) for span in spans]


def spans(answer):
    return [(found["entity_group"], found["start"], found["end"]) for found in answer]


def asked(kind, name):
    text, words, tags = TEXTS[name]
    return (" ".join(words) if kind == "whitespace" else text), words, tags


@for_each(("kind", "name"), [(kind, name) for kind in TAGGING_KINDS for name in TEXTS])
def test_a_span_is_its_entity_from_text_and_from_words(kind, name):
    text, words, tags = asked(kind, name)
    pipe = pipeline_of(kind, words, tags)
    expected = true_spans(text, words, tags)
    for strategy in EVERY if kind in WHOLE_WORDS else ("simple",):
        assert spans(pipe(text, aggregation_strategy=strategy)) == expected, strategy
        (of_words,) = pipe(words, is_split_into_words=True, aggregation_strategy=strategy)
        assert spans(of_words) == true_spans(" ".join(words), words, tags), strategy


@pytest.mark.parametrize("kind", [kind for kind in TAGGING_KINDS if kind not in WHOLE_WORDS])
def test_kinds_of_pieces_alone_have_words_between_spaces_for_transformers(kind):
    """A limit of transformers, told in docs/tasks/tagging.md: it sees words only in models of WordPiece."""
    text, words, tags = asked(kind, "neighbours")
    pipe = pipeline_of(kind, words, tags)
    with pytest.warns(UserWarning, match="does not support real words"):
        assert spans(pipe(text, aggregation_strategy="first")) == [(PLACE, 0, len(text))]


@for_each("kind", WHOLE_WORDS)
def test_pieces_that_were_not_learnt_are_for_the_strategy_first(kind):
    words, tags = ["Ana", "in", "Romenow", "Rome"], [1, 0, 3, 0]
    text = " ".join(words)
    pipe = pipeline_of(kind, words, tags, label_all_tokens=False)
    pieces = [word for word in pipe.tokenizer(words, is_split_into_words=True).word_ids() if word == 2]
    simple, first = (spans(pipe(text, aggregation_strategy=strategy)) for strategy in ("simple", "first"))
    assert first == true_spans(text, words, tags)
    assert (simple == first) == (len(pieces) == 1) == (kind in ("word", "whitespace"))
    assert [start for _, start, _ in simple] == [start for _, start, _ in first]


def test_text_that_is_not_composed_keeps_its_entities_less_the_last_accent():
    """A limit of the library of tokenizers, told in docs/tasks/tagging.md: compose texts before they are asked."""
    composed, words, tags = TEXTS["accents"]
    text = unicodedata.normalize("NFD", composed)
    for kind in ("word", "word_or_characters", "wordpiece", "unigram", "bpe"):
        pipe = pipeline_of(kind, words, tags)
        expected = true_spans(text, [unicodedata.normalize("NFD", word) for word in words], tags)
        found = spans(pipe(text, aggregation_strategy="simple"))
        assert [start for _, start, _ in found] == [start for _, start, _ in expected]
        for (_, _, end), (_, _, whole) in zip(found, expected, strict=True):
            assert end == whole or (end == whole - 1 and unicodedata.combining(text[end]))
        again = unicodedata.normalize("NFC", text)
        for strategy in EVERY if kind in WHOLE_WORDS else ("simple",):
            assert spans(pipe(again, aggregation_strategy=strategy)) == true_spans(composed, words, tags)
        if kind == "word":  # a word inside of which an accent was composed is joined with the bracket before it
            assert spans(pipe(text, aggregation_strategy="first")) == [found[0], found[2]]


@for_each("kind", TAGGING_KINDS)
def test_a_text_may_be_one_word_or_none(kind):
    for strategy in ("none", *EVERY):
        found = pipeline_of(kind, ["Oslo"], [3])("Oslo", aggregation_strategy=strategy)
        assert (found[0]["start"], found[-1]["end"]) == (0, 4)
        for empty in ("", " \n"):
            assert pipeline_of(kind, [], [])(empty, aggregation_strategy=strategy) == []
        assert pipeline_of(kind, [], [])([[]], is_split_into_words=True, aggregation_strategy=strategy) == [[]]


def test_a_sentence_of_5000_words_has_its_last_span():
    words, tags = ["in", "New", "York", ",", "Ana"] * 1000, [0, 3, 4, 0, 1] * 1000
    text = " ".join(words)
    for kind in ("word", "wordpiece", "bpe"):
        found = spans(pipeline_of(kind, words, tags)(text, aggregation_strategy="simple"))
        assert found == true_spans(text, words, tags) and len(found) == 2000
