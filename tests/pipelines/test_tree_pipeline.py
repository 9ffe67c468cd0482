"""The pipeline of trees: every node has its place, its label and its neighbours, alone and in batches."""

import json

import pytest
import torch
from transformers import pipeline

import hfseq
from hfseq.tokenization.brackets import read_brackets
from tests.closeness import assert_same

TEXT = "the film is not very good , but I never liked it . n't 3 of us ( ) works It a b c d"
NAMES = ["bad", "fair", "good"]
TREE = "(2 (1 It) (0 (1 is) (1 (0 not) (2 (1 very) (2 good)))))"
TEXTS = [TREE, "the film works", "It", "", "(0 (1 not) (1 good))", "the film is not very good, but I never liked it."]


def made(folder, names=NAMES, **options):
    tokenizer = hfseq.TreeTokenizer.train([TEXT], min_frequency=1, label_names=names)
    torch.manual_seed(0)
    config = hfseq.RecursiveConfig(
        vocab_size=len(tokenizer),
        hidden_size=6,
        embedding_size=5,
        initializer_range=2.0,
        pad_token_id=tokenizer.pad_token_id,
        node_token_id=tokenizer.node_token_id,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        **options,
    )
    hfseq.RecursiveForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made(tmp_path_factory.mktemp("trees"))


@pytest.fixture(scope="module")
def pipe(folder):
    return pipeline("tree-sentiment", model=str(folder), device="cpu")


def test_a_tree_is_answered_node_by_node(pipe):
    found = pipe(TREE)
    assert found.keys() == {"label", "score", "brackets", "tree", "classes"} and found["classes"] == NAMES
    texts = [
        "It",
        "is",
        "not",
        "very",
        "good",
        "very good",
        "not very good",
        "is not very good",
        "It is not very good",
    ]
    assert [node["text"] for node in found["tree"]] == texts
    assert [node["parent"] for node in found["tree"]] == [8, 7, 6, 5, 5, 6, 7, 8, None]
    assert [node["children"] for node in found["tree"]][4:] == [[], [3, 4], [2, 5], [1, 6], [0, 7]]
    assert [node["word"] for node in found["tree"]][4:6] == ["good", None]
    whole = " ".join(["It", "is", "not", "very", "good"])
    assert all(whole[node["start"] : node["end"]] == node["text"] for node in found["tree"])
    root = found["tree"][-1]
    assert (root["label"], root["score"]) == (found["label"], pytest.approx(found["score"]))
    again = read_brackets(found["brackets"])
    assert list(again.labels) == [node["label"] for node in found["tree"]]
    assert again.words == read_brackets(TREE).words
    json.dumps(found)


def test_the_answers_are_those_of_the_model(pipe):
    inputs = pipe.tokenizer(TREE, return_tensors="pt")
    with torch.no_grad():
        shares = pipe.model(**inputs).node_logits[0].softmax(-1)
    found = pipe(TREE)["tree"]
    assert [node["label"] for node in found] == [NAMES[label] for label in shares.argmax(-1).tolist()]
    assert_same(torch.tensor([node["score"] for node in found]), shares.max(-1).values)


def test_plain_text_has_places_in_the_text_as_it_was_given(pipe):
    text = "  The  film,\tnot GOOD "
    found = pipe(text)
    leaves = [(node["text"], node["start"], node["end"]) for node in found["tree"] if node["word"] is not None]
    assert leaves == [("The", 2, 5), ("film", 7, 11), (",", 11, 12), ("not", 13, 16), ("GOOD", 17, 21)]
    root = found["tree"][-1]
    assert (root["text"], root["parent"]) == (text.strip(), None)
    odd = "<pad> 文 (see below)"
    assert pipe(odd)["tree"][-1]["text"] == odd


@pytest.mark.parametrize(
    ("shape", "texts"),
    [
        ("given", ["a", "b", "c", "d", "c d", "b c d", "a b c d"]),
        ("right", ["a", "b", "c", "d", "c d", "b c d", "a b c d"]),
        ("left", ["a", "b", "a b", "c", "a b c", "d", "a b c d"]),
        ("balanced", ["a", "b", "a b", "c", "d", "c d", "a b c d"]),
    ],
)
def test_words_without_a_tree_are_joined_by_a_shape(pipe, shape, texts):
    found = pipe("a b c d", tree=shape)
    assert [node["text"] for node in found["tree"]] == texts
    assert all(child < place for place, node in enumerate(found["tree"]) for child in node["children"])
    again = pipe(found["brackets"])  # the same tree, given
    assert [node["label"] for node in again["tree"]] == [node["label"] for node in found["tree"]]
    assert_same(*(torch.tensor([node["score"] for node in each["tree"]]) for each in (again, found)))


def test_a_shape_may_replace_a_tree_that_was_given_and_stand_in_the_config(pipe, tmp_path):
    own = pipe("(1 (1 (1 a) (1 b)) (1 c))", tree="right")
    assert [node["text"] for node in own["tree"]] == ["a", "b", "c", "b c", "a b c"]
    left = pipeline("tree-sentiment", model=str(made(tmp_path, tree="left")))
    assert [node["text"] for node in left("a b c")["tree"]] == ["a", "b", "a b", "c", "a b c"]
    assert [node["text"] for node in left("a b c", tree="right")["tree"]] == ["a", "b", "c", "b c", "a b c"]


def _close(one, other):
    assert one["label"] == other["label"] and one["brackets"] == other["brackets"]
    scores = [torch.tensor([each["score"], *(node["score"] for node in each["tree"])]) for each in (one, other)]
    assert_same(*scores)
    for node, twin in zip(one["tree"], other["tree"], strict=True):
        assert {**node, "score": 0} == {**twin, "score": 0}


@pytest.mark.parametrize(("shape", "side"), [(None, "right"), (None, "left"), ("left", "left"), ("balanced", "right")])
def test_batches_answer_as_single_texts_do(pipe, shape, side, monkeypatch):
    monkeypatch.setattr(pipe.tokenizer, "padding_side", side)
    options = {} if shape is None else {"tree": shape}
    single = [pipe(text, **options) for text in TEXTS]
    for batch in (pipe(TEXTS, batch_size=4, **options), list(pipe((text for text in TEXTS), batch_size=3, **options))):
        for one, other in zip(single, batch, strict=True):
            _close(one, other)
    assert pipe([]) == []


def test_an_empty_text_has_a_label_and_no_node(pipe):
    found = pipe("")
    assert found["tree"] == [] and found["brackets"] == ""
    assert found["score"] == pytest.approx(float(pipe.model.classifier.bias.detach().softmax(-1).max()))


def test_top_k_gives_more_labels_to_each_node(pipe):
    found = pipe(TREE, top_k=2)
    for node in found["tree"]:
        assert [each["label"] for each in node["labels"]][0] == node["label"] and len(node["labels"]) == 2
        assert node["labels"][0]["score"] == node["score"] >= node["labels"][1]["score"]
    every = pipe("It", top_k=9)["tree"][0]["labels"]
    assert len(every) == 3 and sum(each["score"] for each in every) == pytest.approx(1)


def test_brackets_have_numbers_where_a_name_cannot_stand_in_them(tmp_path):
    names = ["very bad", "good"]
    pipe = pipeline("tree-sentiment", model=str(made(tmp_path, names)))
    found = pipe("It works")
    again = read_brackets(found["brackets"])
    assert [names[int(label)] for label in again.labels] == [node["label"] for node in found["tree"]]


def test_dependency_trees_have_words_at_their_inner_nodes(tmp_path):
    pipe = pipeline("tree-sentiment", model=str(made(tmp_path, composition="child_sum")))
    found = pipe({"words": ["the", "film", "works"], "parents": [2, 3, 0]})
    assert [(node["word"], node["text"]) for node in found["tree"]] == [
        ("the", "the"),
        ("film", "the film"),
        ("works", "the film works"),
    ]
    assert found["brackets"] is None and found["tree"][2]["parent"] is None
    assert pipe([hfseq.Tree(("the", "film"), (2, 0)), "It"])[0]["tree"][1]["children"] == [0]


def test_a_deep_tree_is_answered_too(pipe):
    found = pipe(" ".join(["film"] * 3000))
    assert len(found["tree"]) == 5999 and found["tree"][-1]["parent"] is None
    assert len(read_brackets(found["brackets"])) == 5999


def test_the_stock_pipeline_gives_the_root(folder, pipe):
    stock = pipeline("text-classification", model=str(folder), device="cpu")
    for text, found in zip(TEXTS, stock(TEXTS, batch_size=3), strict=True):
        own = pipe(text)
        assert (found["label"], pytest.approx(found["score"], abs=1e-5)) == (own["label"], own["score"])


def test_what_the_pipeline_does_not_take_is_named(pipe, folder, tmp_path):
    with pytest.raises(ValueError, match="tree must be one of given, right, left, balanced, got 'up'"):
        pipe("It", tree="up")
    with pytest.raises(ValueError, match="top_k must be a number from 1 up, got 0"):
        pipe("It", top_k=0)
    with pytest.raises(TypeError, match="has the parameters tree and top_k, and none named depth"):
        pipe("It", depth=3)
    with pytest.raises(TypeError, match="takes a text, a tree in brackets, a Tree, or a dict.*got 3"):
        pipe([3])
    with pytest.raises(ValueError, match="Line 1, column 12: expected a label"):
        pipe("(3 (2 It) ()")
    lstm = hfseq.LSTMForSequenceClassification(hfseq.LSTMConfig(vocab_size=50, hidden_size=4))
    with pytest.raises(ValueError, match="needs a model of trees.*got LSTMForSequenceClassification"):
        hfseq.TreeSentimentPipeline(lstm, pipe.tokenizer)
    words = hfseq.train_tokenizer(["It works"], min_frequency=1)
    with pytest.raises(ValueError, match="needs a tokenizer of trees.*TreeTokenizer.from_tokenizer"):
        hfseq.TreeSentimentPipeline(pipe.model, words)


def test_saving_the_pipeline_keeps_the_checkpoint_plain(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert "custom_pipelines" not in config and "auto_map" not in config
    _close(pipeline("tree-sentiment", model=str(tmp_path))(TREE), pipe(TREE))
