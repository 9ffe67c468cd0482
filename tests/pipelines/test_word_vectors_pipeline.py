"""Our pipelines: asking word vectors."""

import json

import numpy as np
import pytest
from transformers import pipeline

import hfseq
from hfseq.hub import push
from hfseq.models.words.vectors import KeyedVectors
from hfseq.models.words.word2vec import Word2VecConfig, Word2VecModel
from hfseq.tokenization import vocabulary_tokenizer
from tests.hub.checkpoints import CARD

WORDS = ["king", "queen", "man", "woman", "prince", "breakfast", "lunch", "dinner"]
MATRIX = np.array(
    [[2, 1, 0], [2, -1, 0], [0.5, 1, 0], [0.5, -1, 0], [1.9, 1.2, 0.1], [0, 0, 1], [0, 0.1, 1], [0.1, 0, 1.1]],
    dtype=np.float32,
)


@pytest.fixture
def model():
    return Word2VecModel.from_vectors(KeyedVectors.from_vectors(WORDS, MATRIX))


@pytest.fixture
def pipe(model, tmp_path):
    model.save_pretrained(tmp_path / "vectors")
    return pipeline("word-vectors", model=str(tmp_path / "vectors"))


def named(pairs):
    return [{"word": word, "score": pytest.approx(score, abs=1e-6)} for word, score in pairs]


def test_a_word_is_answered_with_its_neighbours(pipe, model):
    assert pipe("king") == pipe({"similar": "king"}) == named(model.vectors.most_similar("king"))
    assert pipe("king", top_k=2) == named(model.vectors.most_similar("king", topn=2))
    assert json.loads(json.dumps(pipe("king", top_k=1)))[0]["word"] == "prince"


def test_analogies(pipe, model):
    request = {"positive": ["woman", "king"], "negative": ["man"]}
    assert pipe(request, top_k=1)[0]["word"] == "queen"
    assert pipe(request) == named(model.vectors.most_similar(positive=["woman", "king"], negative=["man"]))
    assert pipe({"positive": "king"}) == pipe("king")
    assert pipe({"negative": ["king"]}) == named(model.vectors.most_similar(negative=["king"]))


def test_given_words_are_compared(pipe, model):
    similarity = model.vectors.similarity
    assert pipe({"similar": "king", "among": ["lunch", "prince"]}) == named(
        [("prince", similarity("king", "prince")), ("lunch", similarity("king", "lunch"))]
    )


def test_the_odd_word_comes_first(pipe, model):
    words = ["breakfast", "king", "dinner", "lunch"]
    answer = pipe({"odd": words})
    assert answer[0]["word"] == model.vectors.doesnt_match(words) == "king"
    assert {entry["word"] for entry in answer} == set(words)
    assert answer[0]["score"] < answer[-1]["score"]


def test_a_vector_is_a_list_of_numbers(pipe):
    assert pipe({"vector": "queen"}) == [2.0, -1.0, 0.0]


def test_a_list_is_answered_at_once_and_as_one_by_one(pipe, monkeypatch):
    requests = ["king", {"odd": WORDS}, {"similar": "lunch"}, {"vector": "man"}, {"positive": ["king", "lunch"]}]
    alone = [pipe(request, top_k=3) for request in requests]
    calls = []
    batch = KeyedVectors.most_similar_batch

    def counted(self, keys, topn):
        calls.append(keys)
        return batch(self, keys, topn)

    monkeypatch.setattr(KeyedVectors, "most_similar_batch", counted)
    together = pipe(requests, top_k=3)
    assert calls == [["king", "lunch"]]
    assert list(pipe((request for request in requests), top_k=3, batch_size=2)) == together
    assert [len(answer) for answer in together] == [3, 3, 3, 3, 3]
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a == b or (a["word"], a["score"]) == (b["word"], pytest.approx(b["score"], abs=1e-6))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("kingg", "'kingg' is not among the 8 words of this model. Did you mean 'king'?"),
        ({"odd": ["king", "xylophone"]}, "'xylophone' is not among the 8 words of this model.$"),
        ({"similar": "king", "among": ["quen"]}, "'quen' is not among .* Did you mean 'queen'"),
        ({"near": "king"}, r'a request is a word, \{"similar": word\}.*got the names near'),
        ({"similar": "king", "odd": ["king"]}, "got the names similar, odd"),
        ({}, "got the names of none"),
        (3, "a request is .*; got 3"),
        ({"similar": ["king", "queen"]}, "'similar' takes one word, got 2; ask for many by a list of requests"),
        ({"odd": []}, r"'odd' must be a word or a list of words, got \[\]"),
        ({"vector": None}, "'vector' must be a word or a list of words, got None"),
    ],
)
def test_what_cannot_be_answered_is_named(pipe, request_, message):
    with pytest.raises(ValueError, match=message):
        pipe(request_)
    with pytest.raises(ValueError, match=message):
        pipe(["king", request_])


def test_wrong_parameters_are_named(pipe, model):
    with pytest.raises(ValueError, match="top_k must be a number from 1 up, got 0"):
        pipe("king", top_k=0)
    with pytest.raises(TypeError, match="has the parameter top_k and none named topn"):
        pipe("king", topn=3)
    assert len(pipeline("word-vectors", model=model, top_k=2)("king")) == 2


def test_with_ngrams_unseen_words_are_answered_too():
    model = Word2VecModel(Word2VecConfig(vocab_size=len(WORDS) + 2, hidden_size=4, ngram_buckets=50))
    model.set_vocabulary(vocabulary_tokenizer(WORDS), np.arange(len(WORDS) + 2))
    pipe = pipeline("word-vectors", model=model)
    assert pipe("kingly", top_k=2) == named(model.vectors.most_similar("kingly", topn=2))
    assert pipe({"vector": "kingly"}) == model.vectors["kingly"].tolist()


def test_other_models_and_models_without_words_are_refused(tmp_path):
    hfseq.GRUModel(hfseq.GRUConfig(vocab_size=9, hidden_size=4)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="needs a model of type 'hfseq_word2vec', got one of 'hfseq_gru'"):
        pipeline("word-vectors", model=str(tmp_path))
    with pytest.raises(ValueError, match="This model has no tokenizer, so its rows have no words"):
        pipeline("word-vectors", model=Word2VecModel(Word2VecConfig(vocab_size=9, hidden_size=4)))("king")


def test_a_saved_pipeline_loads_without_trusting_code(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "saved")
    assert "custom_pipelines" not in (tmp_path / "saved/config.json").read_text(encoding="utf-8")
    assert not list((tmp_path / "saved").glob("*.py"))
    again = pipeline("word-vectors", model=str(tmp_path / "saved"), trust_remote_code=False)
    assert again("king") == pipe("king")


def test_a_pipeline_of_a_model_on_the_hub(hub, repo_id, model, pipe):
    first = push(model, repo_id, card=CARD).oid
    other = Word2VecModel.from_vectors(KeyedVectors.from_vectors([f"{word}s" for word in WORDS], MATRIX))
    push(other, repo_id, card=CARD)
    assert pipeline("word-vectors", model=repo_id)("kings", top_k=1)[0]["word"] == "princes"
    assert pipeline("word-vectors", model=repo_id, revision=first)("king") == pipe("king")
