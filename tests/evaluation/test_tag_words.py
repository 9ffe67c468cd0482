"""`hfseq.tag_words`: a tag for each word, whatever stands beside its text."""

import random

import pytest
import torch

import hfseq
from hfseq import (
    LSTMConfig,
    LSTMForIntentAndSlots,
    LSTMForTokenClassification,
    TransformerConfig,
    TransformerForTokenClassification,
)
from hfseq.evaluation.tag_words import tag_words
from hfseq.tokenization import train_tokenizer
from hfseq.tokenization.kinds import TAGGING_KINDS
from tests.rounds import for_each

NAMES = ["O", "B-a", "I-a", "B-b", "I-b"]
WORDS = ["call", "Ana", "in", "Oslo", ",", "Tromsø", "unwritten", "我", "\x01", "👩🏽‍🚀"]


def drawn(count=40):
    generator = random.Random(0)
    return [[generator.choice(WORDS) for _ in range(generator.randint(0, 9))] for _ in range(count)]


def tokenizer_of(kind, **options):
    lines = [" ".join(WORDS[:6])] * 2
    return train_tokenizer(lines, kind, purpose="tagging", vocab_size=300, **options)


def tagger(tokenizer, **options):
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "embedding_size": 8, "hidden_size": 8, "bidirectional": True}
    model = LSTMForTokenClassification(LSTMConfig(**sizes, id2label=dict(enumerate(NAMES)), **options))
    torch.nn.init.normal_(model.classifier.weight, std=5.0)
    return model


def alone(model, tokenizer, words):
    """The tag of each word's first token, a text at a time, without padding."""
    if not words:
        return []
    words = [word if tokenizer.tokenize(word) else tokenizer.unk_token for word in words]
    batch = tokenizer([words], is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        best = model(**batch).logits[0].argmax(-1).tolist()
    places = batch.word_ids(0)
    return [NAMES[best[places.index(word)]] for word in range(len(words))]


@for_each(("kind", "side"), [(kind, side) for kind in TAGGING_KINDS for side in ("right", "left")])
def test_tags_are_those_of_each_text_alone(kind, side):
    tokenizer, rows = tokenizer_of(kind, padding_side=side), drawn()
    model = tagger(tokenizer, crf=side == "left").eval()
    expected = [alone(model, tokenizer, words) for words in rows]
    assert len({tag for tags in expected for tag in tags}) > 2
    for size in (1, 7, 100):
        assert tag_words(model, tokenizer, rows, batch_size=size) == expected
    assert hfseq.tag_words(model, tokenizer, [tuple(words) for words in rows[::-1]]) == expected[::-1]


def test_there_may_be_no_rows_and_rows_of_no_words():
    tokenizer = tokenizer_of("word")
    assert tag_words(tagger(tokenizer), tokenizer, []) == []
    assert tag_words(tagger(tokenizer), tokenizer, [[], []]) == [[], []]


def test_the_model_gets_its_mode_back_and_is_asked_without_dropout():
    tokenizer, rows = tokenizer_of("word"), drawn()
    model = tagger(tokenizer, embedding_dropout=0.5, classifier_dropout=0.5).train()
    assert tag_words(model, tokenizer, rows) == tag_words(model, tokenizer, rows)
    assert model.training and model.dropout.training


def test_words_behind_the_learnt_positions_have_no_tag():
    tokenizer = tokenizer_of("word", max_length=6)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    learnt = {"position_embedding_type": "learned", "max_position_embeddings": 6}
    torch.manual_seed(0)
    model = TransformerForTokenClassification(TransformerConfig(**sizes, **learnt, id2label=dict(enumerate(NAMES))))
    long, short = tag_words(model, tokenizer, [["Ana"] * 8, ["Ana"] * 5])
    assert long[5:] == [None] * 3 and None not in long[:5]
    assert long[:5] == short


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (["call Ana"], {}, "Row 0 is a text, 'call Ana', not a list of words"),
        ([["call"]], {"batch_size": 0}, "batch_size=0 has no room for a text"),
    ],
)
def test_mistakes_are_named(rows, options, message):
    tokenizer = tokenizer_of("word")
    with pytest.raises(ValueError, match=message):
        tag_words(tagger(tokenizer), tokenizer, rows, **options)


def test_a_model_with_one_answer_for_a_text_is_refused():
    tokenizer = tokenizer_of("word")
    sizes = {"vocab_size": len(tokenizer), "embedding_size": 8, "hidden_size": 8, "slot_labels": NAMES}
    model = LSTMForIntentAndSlots(LSTMConfig(**sizes))
    with pytest.raises(ValueError, match="LSTMForIntentAndSlots has one answer for a text, .* AutoModelForTokenClass"):
        tag_words(model, tokenizer, [["call", "Ana"]])
