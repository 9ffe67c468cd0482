"""Exports to sentence-transformers: the files, and the numbers where that library is installed."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import AutoModel

import hfseq
from hfseq.data.sentence_transformers import export_sentence_transformers, export_text_encoder
from hfseq.models.words.vectors import KeyedVectors
from tests.closeness import assert_same
from tests.hub import checkpoints

WORDS = ["king", "queen", "a", "don't", "."]
MATRIX = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
table = KeyedVectors.from_vectors
LAYOUTS = pytest.mark.parametrize("layout", ["static", "word"])


def content(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def model(tmp_path):
    """Loads the export of the words in a layout."""
    library = pytest.importorskip("sentence_transformers")

    def model(layout, lowercase=True, words=WORDS):
        export_sentence_transformers(table(words, MATRIX), tmp_path, layout=layout, lowercase=lowercase)
        return library.SentenceTransformer(str(tmp_path), device="cpu")

    return model


def test_the_static_layout_is_a_tokenizer_and_one_tensor(tmp_path):
    folder = tmp_path / "new" / "folder"
    export_sentence_transformers(table(WORDS, MATRIX), folder, lowercase=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
    ]
    kind = "sentence_transformers.models.StaticEmbedding"
    assert content(folder / "modules.json") == [{"idx": 0, "name": "0", "path": "", "type": kind}]
    tensors = load_file(folder / "model.safetensors")
    assert list(tensors) == ["embedding.weight"]
    assert tensors["embedding.weight"].tobytes() == MATRIX.tobytes()
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() == len(MATRIX)


def test_the_word_layout_is_embeddings_with_their_words_and_a_mean(tmp_path):
    export_sentence_transformers(table(WORDS, MATRIX), tmp_path, layout="word", lowercase=True)
    modules = [(module["path"], module["type"].rpartition(".")[2]) for module in content(tmp_path / "modules.json")]
    assert modules == [("0_WordEmbeddings", "WordEmbeddings"), ("1_Pooling", "Pooling")]
    folder = tmp_path / "0_WordEmbeddings"
    assert content(folder / "whitespacetokenizer_config.json") == {
        "vocab": WORDS,
        "stop_words": [],
        "do_lower_case": True,
    }
    assert load_file(folder / "model.safetensors")["emb_layer.weight"].tobytes() == MATRIX.tobytes()
    assert content(tmp_path / "1_Pooling" / "config.json") == {
        "word_embedding_dimension": 7,
        "pooling_mode_mean_tokens": True,
    }
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("king queen", [0, 1]),
        ("  King\t\n queen ", [0, 1]),
        ("king zebra queen", [0, 1]),
        ("a abc cab", [2]),
        ("'king', (queen) don't.", [0, 1, 3, 4]),
        ("king . queen", [0, 4, 1]),
        ("", []),
    ],
)
def test_static_tokens_are_the_known_words(tmp_path, text, rows):
    export_sentence_transformers(table(WORDS, MATRIX), tmp_path, lowercase=True)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode(text, add_special_tokens=False).ids == rows


@pytest.mark.parametrize(("lowercase", "rows"), [(True, [1]), (False, [0])])
def test_static_texts_are_lower_cased_on_request(tmp_path, lowercase, rows):
    export_sentence_transformers(table(["Éa", "éa"], MATRIX[:2]), tmp_path, lowercase=lowercase)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("Éa", add_special_tokens=False).ids == rows


@LAYOUTS
def test_by_default_texts_keep_their_capitals_and_rows_set_aside_are_left_out(tmp_path, layout):
    vectors = KeyedVectors(7, 4)
    for word, row in zip(["Oslo", "oslo"], MATRIX[:2], strict=True):
        vectors.add_vector(word, row)
    export_sentence_transformers(vectors, tmp_path, layout=layout)
    (weights,) = tmp_path.rglob("model.safetensors")
    (rows,) = load_file(weights).values()
    assert rows.tobytes() == MATRIX[:2].tobytes()
    if layout == "static":
        tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        assert tokenizer.encode("Oslo oslo", add_special_tokens=False).ids == [0, 1]
    else:
        assert not content(tmp_path / "0_WordEmbeddings" / "whitespacetokenizer_config.json")["do_lower_case"]


@LAYOUTS
def test_words_that_no_text_can_reach_are_counted(tmp_path, caplog, layout):
    export_sentence_transformers(
        table(["new york", "King", "e.g", "b"], MATRIX[:4]), tmp_path, layout=layout, lowercase=True
    )
    assert "2 of 4 words, such as ['new york', 'King'], are found in no text" in caplog.text
    caplog.clear()
    export_sentence_transformers(table(["King", "e.g"], MATRIX[:2]), tmp_path, layout=layout, lowercase=False)
    assert caplog.text == ""


def test_words_with_punctuation_at_their_edges_are_lost_to_the_static_layout_alone(tmp_path, caplog):
    export_sentence_transformers(table(["u.s.", "b"], MATRIX[:2]), tmp_path, layout="word", lowercase=True)
    assert caplog.text == ""
    export_sentence_transformers(table(["u.s.", "b"], MATRIX[:2]), tmp_path, lowercase=True)
    assert "1 of 2 words, such as ['u.s.']" in caplog.text


@pytest.mark.parametrize(
    ("words", "matrix", "layout", "message"),
    [
        (WORDS, MATRIX, "flat", "layout is 'flat'; it can be 'static' or 'word'"),
        ([], MATRIX[:0, :0], "static", "0 words need a matrix of as many rows; this one is \\(0, 0\\)"),
        (["a", "a"], MATRIX[:2], "static", "The word 'a' is there twice"),
        (["a", ""], MATRIX[:2], "word", "The empty word can have no vector"),
        (["a"], MATRIX[:1] * np.inf, "static", "The vector of 'a' has a number that is NaN or infinite"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_a_file_is_made(tmp_path, words, matrix, layout, message):
    with pytest.raises(ValueError, match=message):
        export_sentence_transformers(table(words, matrix), tmp_path / "export", layout=layout, lowercase=True)
    assert not (tmp_path / "export").exists()


@LAYOUTS
def test_a_text_is_encoded_as_the_mean_of_its_known_words(model, layout):
    texts = ["king queen", "King, zebra queen!", "a abc", "zebra", ""]
    means = np.stack([MATRIX[:2].mean(0), MATRIX[:2].mean(0), MATRIX[2], np.zeros(7), np.zeros(7)])
    assert_same(model(layout).encode(texts), means)


@LAYOUTS
def test_the_library_saves_and_loads_the_export_unchanged(model, layout, tmp_path):
    first = model(layout)
    first.save(str(tmp_path / "again"))
    again = type(first)(str(tmp_path / "again"), device="cpu")
    assert again.encode(["king queen don't"]).tobytes() == first.encode(["king queen don't"]).tobytes()


SIZES = {"vocab_size": len(checkpoints.WORDS), "hidden_size": 8}
ENCODERS = pytest.mark.parametrize(
    ("encoder", "width"),
    [
        (hfseq.LSTMModel(hfseq.LSTMConfig(**SIZES, bidirectional=True)), 16),
        (hfseq.GRUForSequenceClassification(hfseq.GRUConfig(**SIZES, num_hidden_layers=2, last_hidden_size=5)), 5),
        (hfseq.TransformerForCausalLM(hfseq.TransformerConfig(**SIZES)), 8),
    ],
    ids=["both directions", "another last layer", "decoder"],
)


@ENCODERS
def test_an_encoder_is_written_with_the_width_of_its_outputs(tmp_path, encoder, width):
    export_text_encoder(encoder, checkpoints.make_tokenizer(), tmp_path)
    modules = [(module["path"], module["type"].rpartition(".")[2]) for module in content(tmp_path / "modules.json")]
    assert modules == [("", "Transformer"), ("1_Pooling", "Pooling")]
    pooling = content(tmp_path / "1_Pooling" / "config.json")
    assert pooling == {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    loaded = AutoModel.from_pretrained(tmp_path)
    checkpoints.assert_same_weights(loaded, encoder.base_model)
    assert loaded(torch.tensor([[2, 3]])).last_hidden_state.shape[-1] == width


@ENCODERS
def test_the_library_reports_the_width_that_it_returns(tmp_path, encoder, width):
    library = pytest.importorskip("sentence_transformers")
    tokenizer = checkpoints.make_tokenizer()
    export_text_encoder(encoder, tokenizer, tmp_path)
    loaded = library.SentenceTransformer(str(tmp_path), device="cpu")
    assert loaded.get_sentence_embedding_dimension() == width
    found = loaded.encode(["good film", "bad"], convert_to_tensor=True)
    inputs = tokenizer("good film", return_tensors="pt")
    expected = encoder.base_model.eval()(inputs["input_ids"]).last_hidden_state[0].mean(0)
    assert found.shape == (2, width) and torch.allclose(found[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (hfseq.Word2VecModel(hfseq.Word2VecConfig(vocab_size=6)), "Word2VecModel is no encoder.*word vectors with"),
        (hfseq.NGramForCausalLM(hfseq.NGramConfig(vocab_size=6)), "NGramForCausalLM is no encoder"),
        (hfseq.TransformerSeq2SeqModel(hfseq.TransformerSeq2SeqConfig(**SIZES)), "is no encoder of texts"),
    ],
)
def test_what_is_no_encoder_is_refused(tmp_path, model, message):
    with pytest.raises(ValueError, match=message):
        export_text_encoder(model, checkpoints.make_tokenizer(), tmp_path)
    assert not list(tmp_path.iterdir())
