"""What only word vectors do; what every model promises is in `test_contract.py`, training in `test_word2vec_loops`."""

import copy
import pickle

import numpy as np
import pytest
import torch
from huggingface_hub import CommitOperationDelete
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedTokenizerFast

import hfseq
from hfseq.models.words.tables import ngram_buckets
from hfseq.models.words.vectors import KeyedVectors
from hfseq.models.words.word2vec import Word2VecConfig, Word2VecModel
from hfseq.tokenization import vocabulary_tokenizer
from tests.closeness import assert_same
from tests.hub.checkpoints import CARD, assert_same_weights
from tests.rounds import for_each

WORDS = ["the", "film", "was", "good", "naïve", "日本語", "a", "plot"]
COUNTS = np.array([0, 0, 50, 20, 18, 9, 5, 4, 3, 2])
SIZE = len(WORDS) + 2
SHORTEST, LONGEST, BUCKETS = 3, 6, 30


def make_model(*, vocabulary=True, **options):
    torch.manual_seed(0)
    model = Word2VecModel(Word2VecConfig(vocab_size=SIZE, hidden_size=5, **options)).eval()
    torch.nn.init.normal_(model.inputs.weight)
    if model.outputs is not None:
        torch.nn.init.normal_(model.outputs.weight)
    if vocabulary:
        model.set_vocabulary(vocabulary_tokenizer(WORDS), COUNTS)
    return model


def fasttext_hash(text):
    """FNV-1a over signed bytes, as fastText's Dictionary::hash."""
    value = 2166136261
    for byte in text.encode("utf-8"):
        signed = byte - 256 if byte >= 128 else byte
        value = ((value ^ (signed & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return value


def ngrams_by_hand(word, shortest=SHORTEST, longest=LONGEST):
    marked = f"<{word}>"
    found = [
        marked[start : start + size]
        for size in range(shortest, longest + 1)
        for start in range(len(marked) - size + 1)
    ]
    return [ngram for ngram in found if ngram not in ("<", ">")]


# N-grams


def test_the_hash_is_fasttexts():
    assert [fasttext_hash(text) for text in ("a", "foobar")] == [0xE40C292C, 0xBF9CF968]  # published for FNV-1a
    fasttext = pytest.importorskip("gensim.models.fasttext_inner")
    for text in ("film", "naï", "日本語", "😀<"):
        assert fasttext_hash(text) == fasttext.ft_hash_bytes(text.encode("utf-8"))


@pytest.mark.parametrize(("shortest", "longest"), [(3, 6), (1, 2), (2, 2), (5, 9)])
def test_ngrams_are_those_of_fasttext(shortest, longest):
    words = [*WORDS, "", "x", "😀😀"]
    starts, found = ngram_buckets(words, shortest=shortest, longest=longest, buckets=1000)
    for index, word in enumerate(words):
        expected = sorted(fasttext_hash(ngram) % 1000 for ngram in ngrams_by_hand(word, shortest, longest))
        assert sorted(found[starts[index] : starts[index + 1]].tolist()) == expected, word


def vector_by_hand(model, word):
    rows = [SIZE + fasttext_hash(ngram) % BUCKETS for ngram in ngrams_by_hand(word)]
    if word in WORDS:
        rows.append(WORDS.index(word) + 2)
    return model.inputs.weight[rows].mean(0).detach()


def test_a_word_is_the_mean_of_its_own_row_and_its_ngrams():
    model = make_model(ngram_buckets=BUCKETS)
    ids = torch.tensor([[2, 6], [7, 8]])  # "a" has one n-gram, "<a>"
    found = model(ids).last_hidden_state
    for row, column in np.ndindex(2, 2):
        expected = vector_by_hand(model, WORDS[ids[row, column] - 2])
        assert_same(found[row, column], expected)
    assert_same(model.embed(torch.tensor(6)), found[0, 1])
    assert_same(model(torch.tensor([[1]])).last_hidden_state[0, 0], model.inputs.weight[1])


def test_unseen_words_have_the_mean_of_their_ngrams():
    model = make_model(ngram_buckets=BUCKETS)
    for word in ("unseenword", "films", "日本"):
        assert_same(model.vectors[word], vector_by_hand(model, word))
    for word in WORDS:
        assert_same(model.vectors[word], vector_by_hand(model, word))
    with pytest.raises(KeyError, match="'' has no vector"):  # "<>" is shorter than three
        model.vectors[""]
    with pytest.raises(KeyError, match="'unseenword' has no vector"):
        make_model().vectors["unseenword"]


# Losses


def test_the_losses_are_those_of_the_formulas():
    ids, labels = torch.tensor([[2, 3], [4, 0]]), torch.tensor([5, 6])
    mask = torch.tensor([[1, 1], [1, 0]])
    for loss in ("softmax", "negative-sampling", "hierarchical-softmax"):
        model = make_model(loss=loss, negatives=3)
        model.counts = torch.zeros(SIZE, dtype=torch.long)
        model.counts[[5, 6]] = torch.tensor([1, 3])  # noise is one of these, the other's label is passed over
        inputs, outputs = model.inputs.weight, model.outputs.weight
        contexts = [(inputs[2] + inputs[3]) / 2, inputs[4]]
        if loss == "softmax":
            expected = F.cross_entropy(torch.stack(contexts) @ outputs.T, labels)
        elif loss == "hierarchical-softmax":  # a tree of two leaves: the rarer word is the left one
            scores = torch.stack([context @ outputs[0] for context in contexts])
            expected = (F.softplus(-scores[0]) + F.softplus(scores[1])) / 2
        else:
            model.config.noise_power = -10.0  # 5 is drawn 59049 times as often as 6
            own = sum(F.softplus(-context @ outputs[label]) for context, label in zip(contexts, labels, strict=True))
            expected = (own + 3 * F.softplus(contexts[1] @ outputs[5])) / 2
        assert_same(model(ids, mask, labels=labels).loss, expected)
        torch.manual_seed(0)
        whole = model(ids, mask, labels=labels, num_items_in_batch=8).loss
        assert_same(whole, expected / 4)


@for_each("loss", ["softmax", "negative-sampling", "hierarchical-softmax"])
@for_each("dtype", [torch.float16, torch.bfloat16])
def test_the_losses_exist_in_half_precision(loss, dtype):
    model = make_model(loss=loss, ngram_buckets=BUCKETS).to(dtype).train()
    found = model(torch.tensor([[2, 3], [4, 5]]), labels=torch.tensor([5, -100])).loss
    found.backward()
    assert found.dtype == dtype and torch.isfinite(found) and model.inputs.weight.grad.any()


def test_words_are_predicted_as_gensim_predicts_them():
    word2vec = pytest.importorskip("gensim.models").Word2Vec
    sentences = [["the", "film", "was", "good"], ["a", "plot", "was", "the", "film"]] * 20
    theirs = word2vec(sentences, vector_size=5, min_count=1, sg=0, negative=5, workers=1, seed=1, epochs=20)
    words = theirs.wv.index_to_key
    ours = Word2VecModel(Word2VecConfig(vocab_size=len(words) + 2, hidden_size=5))
    ours.set_vocabulary(vocabulary_tokenizer(words), np.arange(len(words) + 2))
    with torch.no_grad():
        ours.inputs.weight[2:] = torch.from_numpy(theirs.wv.vectors)
        ours.outputs.weight[2:] = torch.from_numpy(theirs.syn1neg)
    for context in (["the", "good"], ["film", "unheard-of", "plot"]):
        expected = theirs.predict_output_word(context, topn=3)
        found = ours.predict_output_word(context, topn=3)
        assert found == [(word, pytest.approx(float(score), abs=1e-6)) for word, score in expected]
    assert ours.predict_output_word(["unheard-of"]) is None
    with pytest.raises(TypeError, match="is the string 'film'; give a list of words"):
        ours.predict_output_word("film")
    assert len(ours.predict_output_word(["the"], topn=99)) == len(words)
    with pytest.raises(RuntimeError, match="hierarchical softmax has none"):
        make_model(loss="hierarchical-softmax").predict_output_word(["the"])


# The vocabulary


def test_a_vocabulary_of_another_size_is_refused(tmp_path):
    model = make_model()
    for words in (WORDS[:-1], [*WORDS, "more"]):
        size = len(words) + 2
        with pytest.raises(ValueError, match=f"The tokenizer has {size} tokens.*the model needs {SIZE}"):
            model.set_vocabulary(vocabulary_tokenizer(words), COUNTS)
        with pytest.raises(ValueError, match=f"There are {size} counts, but config.vocab_size is {SIZE}"):
            model.set_vocabulary(vocabulary_tokenizer(WORDS), np.zeros(size))
        with pytest.raises(ValueError, match=f"The tokenizer has {size} tokens"):
            model.tokenizer = vocabulary_tokenizer(words)
        model.save_pretrained(tmp_path)
        vocabulary_tokenizer(words).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=f"The tokenizer of .* does not fit: The tokenizer has {size} tokens"):
            Word2VecModel.from_pretrained(tmp_path)
        assert Word2VecModel.from_pretrained(tmp_path, strict=False).tokenizer is None
    assert model.words == WORDS


def test_a_tokenizer_without_the_two_special_tokens_in_front_is_refused():
    other = PreTrainedTokenizerFast(tokenizer_object=vocabulary_tokenizer(WORDS).backend_tokenizer, unk_token="the")
    with pytest.raises(ValueError, match="its padding has the id None, its unknown token 2; the model needs 10"):
        make_model().tokenizer = other


def test_vectors_are_made_anew_when_something_changes():
    model = make_model(ngram_buckets=BUCKETS)
    before = model.vectors
    assert model.vectors is before
    with torch.no_grad():
        model.inputs.weight.mul_(2)
    assert_same(model.vectors["film"], 2 * before["film"])
    model.set_vocabulary(model.tokenizer, COUNTS * 3)
    assert model.vectors.get_vecattr("film", "count") == 60
    model.set_vocabulary(vocabulary_tokenizer(WORDS[::-1]), COUNTS)
    assert model.vectors.index_to_key == WORDS[::-1]


def test_from_vectors_and_back(tmp_path):
    keys = ["cat", "<pad>", "dog", "<unk>", "日本語"]
    matrix = np.arange(15, dtype=np.float64).reshape(5, 3)
    model = Word2VecModel.from_vectors(KeyedVectors.from_vectors(keys, matrix, np.array([5, 4, 3, 2, 1])))
    model.save_pretrained(tmp_path)
    for vectors in (model.vectors, AutoModel.from_pretrained(tmp_path).vectors):
        assert vectors.index_to_key == ["cat", "dog", "日本語"]
        np.testing.assert_array_equal(vectors.vectors, matrix[[0, 2, 4]].astype(np.float32))
        assert vectors.expandos["count"].tolist() == [5, 3, 1]
    assert not model.inputs.weight[:2].any() and model.outputs is None
    assert model.tokenizer("cat nobody 日本語")["input_ids"] == [2, 1, 4]
    table = KeyedVectors(3, count=2)  # one row is set aside for later
    table.add_vector("cat", matrix[0])
    table.add_vectors(["dog"], matrix[2:3])
    with pytest.raises(Exception, match="vocab_size"):
        Word2VecModel.from_vectors(KeyedVectors(3))
    assert Word2VecModel.from_vectors(table).words == ["cat", "dog"]


# Configuration


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_ngrams": 5}, "num_ngrams=5 needs ngram_buckets"),
        ({"shortest_ngram": 7}, "shortest_ngram=7 is longer than longest_ngram=6"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings=True: .* are never the same"),
        ({"vector_size": 100}, "Did you mean 'hidden_size'"),
        ({"sg": 1}, "Did you mean 'architecture'"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(options, message):
    with pytest.raises(Exception, match=message):
        Word2VecConfig(**options)


def test_the_vocabulary_cannot_be_resized():
    model = make_model()
    assert model.resize_token_embeddings(SIZE) is model.resize_token_embeddings() is model.inputs
    for wanted in ((12,), (None, 4)):  # the next multiple of 4 is 12
        with pytest.raises(ValueError, match="Word2VecModel has 10 tokens and cannot become 12: add words"):
            model.resize_token_embeddings(*wanted)


def test_other_vectors_for_the_same_words_are_taken():
    model = make_model()
    other = torch.nn.Embedding.from_pretrained(torch.arange(10 * model.config.hidden_size).float().view(10, -1))
    model.set_input_embeddings(other)
    assert model.get_input_embeddings() is other
    assert model.vectors[model.words[0]].tolist() == other.weight[2].tolist()
    for wrong in (torch.nn.Embedding(11, model.config.hidden_size), torch.nn.Linear(2, 2), torch.zeros(10, 4)):
        with pytest.raises(ValueError, match="must be an nn.Embedding of shape .* add words"):
            model.set_input_embeddings(wrong)


# Saving, loading, copying


def test_vectors_alone_are_half_the_file(tmp_path):
    model = make_model(ngram_buckets=BUCKETS)
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "lean", vectors_only=True)
    whole, lean = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "lean"))
    assert whole.keys() - lean.keys() == {"outputs.weight"}
    assert model.config.with_outputs and model.outputs is not None
    loaded = AutoModel.from_pretrained(tmp_path / "lean")
    assert loaded.outputs is None and not loaded.config.with_outputs
    assert loaded.vectors.most_similar("films") == model.vectors.most_similar("films")
    with pytest.raises(ValueError, match="no output vectors .* which a loss needs: load .* without vectors_only"):
        loaded(torch.tensor([[2]]), labels=torch.tensor([3]))
    with pytest.raises(ValueError, match="which predict_output_word needs"):
        loaded.predict_output_word(["film"])
    loaded.save_pretrained(tmp_path / "again", vectors_only=True)
    assert_same_weights(AutoModel.from_pretrained(tmp_path / "again"), loaded)


@pytest.mark.parametrize(
    "options", [{"device_map": "cpu"}, {"device_map": "auto"}, {"strict": False}, {"dtype": torch.float16}]
)
def test_loading_takes_the_options_of_transformers(tmp_path, options):
    model = make_model(ngram_buckets=BUCKETS)
    model.save_pretrained(tmp_path)
    loaded, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True, **options)
    assert not any(info.values())
    assert loaded.dtype == options.get("dtype", torch.float32)
    assert torch.equal(loaded.counts, model.counts) and torch.equal(loaded.ngrams, model.ngrams)
    assert loaded.vectors.vectors.dtype == np.float32
    for asked in (
        lambda model: [model.vectors["filmy"], model.vectors["film"]],
        lambda model: [score for _, score in model.predict_output_word(["film", "was"])],
    ):
        assert_same(asked(loaded), asked(model), 5e-3)


@pytest.mark.parametrize(
    ("name", "value"), [("counts", -1), ("ngram_starts", 10**6), ("ngrams", SIZE + BUCKETS), ("ngrams", -1)]
)
def test_numbers_that_lead_out_of_the_tables_are_refused(tmp_path, name, value):
    make_model(ngram_buckets=BUCKETS).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors[name][3] = value
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"The checkpoint's {name} hold numbers out of range"):
        Word2VecModel.from_pretrained(tmp_path)


def test_a_model_from_the_hub_has_its_words_at_any_revision(hub, api, repo_id, tmp_path):
    first, second = make_model(ngram_buckets=BUCKETS), make_model(ngram_buckets=BUCKETS)
    second.set_vocabulary(vocabulary_tokenizer([f"{word}2" for word in WORDS]), COUNTS)
    oid = hfseq.push(first, repo_id, card=CARD).oid
    hfseq.push(second, repo_id, card=CARD)
    assert AutoModel.from_pretrained(repo_id).words == second.words
    assert AutoModel.from_pretrained(repo_id, revision=oid).vectors.index_to_key == WORDS
    for source in (hfseq.pull(repo_id, oid), repo_id):
        loaded = Word2VecModel.from_pretrained(source, **{"revision": oid} if source == repo_id else {})
        assert_same_weights(loaded, first)
        np.testing.assert_array_equal(loaded.vectors["filmy"], first.vectors["filmy"])


def test_the_words_are_those_of_the_commit_whose_weights_were_read(hub, repo_id, monkeypatch):
    hfseq.push(make_model(), repo_id, card=CARD)
    later = make_model()
    later.set_vocabulary(vocabulary_tokenizer(WORDS[::-1]), COUNTS)
    load = hfseq.models.base.SequencePreTrainedModel.from_pretrained.__func__

    def load_and_be_overtaken(cls, *args, **kwargs):
        loaded = load(cls, *args, **kwargs)
        hfseq.push(later, repo_id, card=CARD)
        return loaded

    monkeypatch.setattr(
        hfseq.models.base.SequencePreTrainedModel, "from_pretrained", classmethod(load_and_be_overtaken)
    )
    assert Word2VecModel.from_pretrained(repo_id).words == WORDS


def test_push_to_hub_sends_the_words_too(hub, repo_id):
    model = make_model()
    model.push_to_hub(repo_id)
    assert AutoModel.from_pretrained(repo_id).words == AutoModel.from_pretrained(hfseq.pull(repo_id)).words == WORDS


def test_a_model_without_its_tokenizer_says_so(hub, api, repo_id, tmp_path):
    hfseq.push(make_model(), repo_id, card=CARD)
    names = [CommitOperationDelete(name) for name in ("tokenizer.json", "tokenizer_config.json")]
    api.create_commit(repo_id, names, commit_message="no words")
    make_model(vocabulary=False).save_pretrained(tmp_path)
    for source in (repo_id, tmp_path):
        loaded = AutoModel.from_pretrained(source)
        assert loaded.tokenizer is None
        with pytest.raises(ValueError, match="has no tokenizer, so its rows have no words: load it .*tokenizer.json"):
            loaded.vectors  # noqa: B018
        loaded.tokenizer = vocabulary_tokenizer(WORDS)
        assert loaded.vectors.index_to_key == WORDS


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("buckets", [0, BUCKETS])
def test_copies_are_independent(duplicate, buckets):
    model = make_model(ngram_buckets=buckets)
    words = ["film", "filmy"] if buckets else ["film"]
    before = model.vectors[words]
    other = duplicate(model)
    with torch.no_grad():
        other.inputs.weight.mul_(2)
    np.testing.assert_array_equal(model.vectors[words], before)
    assert_same(other.vectors[words], 2 * before)
    assert other.tokenizer("the film")["input_ids"] == [2, 3]
    np.testing.assert_array_equal(duplicate(model.vectors)[words], before)


@pytest.mark.parametrize("buckets", [0, BUCKETS])
def test_a_compiled_model_gives_the_same_vectors(buckets):
    model = make_model(ngram_buckets=buckets)
    compiled = torch.compile(model, backend="eager")
    for ids in (torch.tensor([[2, 3, 4]]), torch.tensor([[5, 6], [7, 1]])):
        assert_same(compiled(ids).last_hidden_state, model(ids).last_hidden_state)
