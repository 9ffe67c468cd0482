"""One word in several sentences: static vectors stay, contextual ones move."""

import doctest

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

import hfseq
from hfseq.insight import contexts
from hfseq.insight.contexts import compare_contexts
from tests.closeness import assert_same
from tests.rounds import for_each

SENTENCES = ["The bank lends money", "money for a new bank", "two Banks? no: a river bank!"]
TOKENIZERS = {
    kind: hfseq.train_tokenizer(SENTENCES * 3, kind, vocab_size=size)
    for kind, size in {"word": 100, "wordpiece": 50, "char": 100, "word_with_space": 100, "bpe": 263}.items()
}
TOKENIZER = TOKENIZERS["word"]
FAMILIES = {
    "LSTM": (hfseq.LSTMModel, hfseq.LSTMConfig),
    "GRU": (hfseq.GRUModel, hfseq.GRUConfig),
    "RNN": (hfseq.RNNModel, hfseq.RNNConfig),
}


def word2vec():
    """One that knows every token of every tokenizer."""
    torch.manual_seed(0)
    return hfseq.Word2VecModel(hfseq.Word2VecConfig(vocab_size=400, hidden_size=48))


def lstm(tokenizer=TOKENIZER, cls=hfseq.LSTMModel, config=hfseq.LSTMConfig, **fields):
    torch.manual_seed(0)
    return cls(config(vocab_size=len(tokenizer), hidden_size=16, embedding_size=12, **fields))


def test_the_example_of_the_module_runs():
    result = doctest.testmod(contexts)
    assert result.attempted > 10 and result.failed == 0


@pytest.mark.parametrize("kind", ["word", "wordpiece", "char", "bpe"])
def test_a_static_model_has_one_vector_a_word(kind):
    sentences = ["my bank lends money", "my bank is a bank", "no bank", "is a bank? yes"]
    found = compare_contexts(word2vec(), "bank", sentences, tokenizer=TOKENIZERS[kind])
    assert (found.cosines == 1.0).all() and found.cosines.dtype == np.float64
    assert found.vectors.shape == (4, 48) and found.vectors.dtype == np.float32
    assert (found.vectors == found.vectors[0]).all()


def test_trained_word_vectors_bring_their_tokenizer():
    sentences = ["my bank lends money", "no money in the bank"]
    model = hfseq.train_word2vec(sentences, min_count=1, num_threads=1, disable_tqdm=True)
    found = compare_contexts(model, "bank", sentences)
    assert (found.cosines == 1.0).all()
    np.testing.assert_array_equal(found.vectors[0], model.vectors["bank"])
    with pytest.raises(ValueError, match="does not know 'bank'"):  # a tokenizer that is given wins
        compare_contexts(model, "bank", sentences, tokenizer=hfseq.train_tokenizer(["no words"], min_frequency=1))
    with pytest.raises(ValueError, match="Word2VecModel comes without its tokenizer"):
        compare_contexts(word2vec(), "bank", sentences)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_recurrent_model_gives_the_word_another_vector_in_each_sentence(family):
    model = lstm(cls=FAMILIES[family][0], config=FAMILIES[family][1])
    found = compare_contexts(model, "bank", SENTENCES, tokenizer=TOKENIZER)
    away = ~np.eye(3, dtype=bool)
    assert (found.cosines[away] < 0.999).all() and (np.diag(found.cosines) == 1.0).all()
    np.testing.assert_array_equal(found.cosines, found.cosines.T)
    v, w = found.vectors[:2].astype(np.float64)
    assert_same(found.cosines[0, 1], v @ w / np.sqrt((v @ v) * (w @ w)), 1e-12)


@for_each("kind", TOKENIZERS)
def test_the_vector_is_the_mean_over_the_tokens_of_the_first_whole_word(kind):
    tokenizer, sentence = TOKENIZERS[kind], SENTENCES[2]
    model = lstm(tokenizer, bidirectional=True).eval()
    found = compare_contexts(model, "BANK", [sentence, "a bank"], tokenizer=tokenizer)
    start = sentence.index("bank!")
    encoded = tokenizer(sentence, return_tensors="pt")
    tokens = sorted({encoded.char_to_token(char) for char in range(start, start + 4)})
    assert (len(tokens) > 1) == (kind in ("wordpiece", "char", "bpe"))
    with torch.no_grad():
        expected = model(**encoded).last_hidden_state[0, tokens].mean(0)
    assert_same(found.vectors[0], expected.numpy())


def test_other_sentences_have_no_say():
    model = lstm()
    alone = compare_contexts(model, "bank", SENTENCES[:2], tokenizer=TOKENIZER).vectors
    together = compare_contexts(model, "bank", [*SENTENCES[:2], "a bank " * 40], tokenizer=TOKENIZER).vectors
    np.testing.assert_array_equal(alone, together[:2])


def test_the_model_keeps_its_mode_and_gets_no_gradient():
    model = lstm(hidden_dropout=0.5).train()
    model.layers.eval()
    one, other = (compare_contexts(model, "bank", SENTENCES, tokenizer=TOKENIZER).vectors for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert model.training and model.dropouts.training and not model.layers.training
    with pytest.raises(ValueError, match="does not contain"):
        compare_contexts(model, "bank", ["a bank", "nothing"], tokenizer=TOKENIZER)
    assert model.training, "the mode comes back after an error too"


def test_a_classifier_and_a_folder_give_the_vectors_of_the_backbone(tmp_path):
    model = lstm(cls=hfseq.LSTMForSequenceClassification)
    expected = compare_contexts(model.model, "bank", SENTENCES, tokenizer=TOKENIZER).vectors
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    for found in (
        compare_contexts(model, "bank", SENTENCES, tokenizer=TOKENIZER),
        compare_contexts(tmp_path, "bank", SENTENCES),
        compare_contexts(str(tmp_path), "bank", SENTENCES, tokenizer=TOKENIZER),
    ):
        np.testing.assert_array_equal(found.vectors, expected)


def test_of_an_encoder_decoder_the_encoder_is_asked():
    torch.manual_seed(0)
    config = T5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config)
    found = compare_contexts(model, "bank", SENTENCES, tokenizer=TOKENIZER)
    assert found.vectors.shape == (3, 8) and found.cosines[0, 1] < 1


def test_the_table_can_be_read():
    found = compare_contexts(lstm(), "bank", [*SENTENCES[:2], "a " * 60 + "bank of " + "a " * 60], tokenizer=TOKENIZER)
    lines = str(found).splitlines()
    assert lines[0].startswith("'bank' in 3 sentences") and len(lines) == 5
    assert lines[2].endswith("  The [bank] lends money") and f"{found.cosines[0, 1]:.4f}" in lines[2]
    assert lines[2].split()[:2] == ["1", "1"]
    assert "...a a" in lines[4] and "[bank] of a a" in lines[4] and len(lines[4]) < 110


@for_each(
    "word, sentence, span",
    [
        ("bank", "Banks and a bank", (12, 16)),
        ("bank", "snowbank, bank's", (10, 14)),
        ("New York", "in new york.", (3, 11)),
        ("c++", "C++, not C++11", (0, 3)),
        ("银行", "我去银行", (2, 4)),
        ("कि", "किताब कि", (6, 8)),
        ("नमस", "नमस्ते नमस", (7, 10)),
        ("a.b", "axb a.b", (4, 7)),
    ],
)
def test_a_word_is_found_where_it_stands_alone(word, sentence, span):
    assert contexts._find(word, sentence) == span


@for_each(
    "word, sentences, message",
    [
        ("bank", ["a bank", "banks of money"], "'banks of money' does not contain 'bank' as a whole word"),
        ("bank", ["a bank", ""], "'' does not contain 'bank'"),
        ("zebra", ["a zebra", "two zebra"], "does not know 'zebra' in the sentence 'a zebra'"),
        ("bank", ["a bank"], "two or more sentences, got 1"),
        (" ", ["a bank", "no bank"], "must be a word, got ' '"),
    ],
)
def test_bad_input_is_named(word, sentences, message):
    with pytest.raises(ValueError, match=message):
        compare_contexts(lstm(), word, sentences, tokenizer=TOKENIZER)


def test_what_is_missing_is_named():
    with pytest.raises(TypeError, match="got the string 'a bank'"):
        compare_contexts(lstm(), "bank", "a bank", tokenizer=TOKENIZER)
    with pytest.raises(ValueError, match="LSTMModel comes without its tokenizer: pass tokenizer="):
        compare_contexts(lstm(), "bank", SENTENCES)
    slow = type("SlowTokenizer", (), {"is_fast": False})()
    with pytest.raises(ValueError, match="SlowTokenizer does not say which characters"):
        compare_contexts(lstm(), "bank", SENTENCES, tokenizer=slow)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_vector_without_a_direction_is_an_error(value):
    model = word2vec()
    torch.nn.init.constant_(model.inputs.weight, value)
    with pytest.raises(ValueError, match="'bank' in the sentence 'The bank lends money' has length"):
        compare_contexts(model, "bank", SENTENCES, tokenizer=TOKENIZER)
