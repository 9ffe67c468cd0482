"""One vector for a text, from every family: by hand for one text at a time, and the same in every batch."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, pipeline

import hfseq
from hfseq.models.words.vectors import KeyedVectors
from hfseq.retrieval.encode import backbone_of, common_direction, encode
from hfseq.tokenization import vocabulary_tokenizer
from tests.closeness import assert_same, difference
from tests.contract.configurations import CASES, make_case
from tests.contract.families import WordVectorCase

TEXTS = [
    "the film was good",
    "",
    "not very good and not very bad",
    "a plot",
    "film",
    "the the the",
    "zebra",
    "and bad",
]
# Those of the families that do not have all.
POOLINGS = {"word2vec": ("mean", "max"), "bag": ("mean",), "recursive": ("mean",)}
_NO_TEXTS = ("captioner", "strokes")  # and models of numbers
LABELS = [
    label
    for label, (name, task, options) in CASES.items()
    if name not in ("hmm", "ngram", "mixture", *_NO_TEXTS)
    and task != "series-forecasting"
    and "feature_size" not in options
]


@pytest.fixture
def case(request, tmp_path):
    return make_case(request.param, tmp_path)


def by_hand(case, model, text, kind):
    """The vector of one text, read alone."""
    ids = torch.tensor([case.tokenizer()(text)["input_ids"]], dtype=torch.long, device=model.device)
    with torch.no_grad():  # a bag's one state is its answer
        states = backbone_of(model)(ids).last_hidden_state[0].double().cpu().numpy()
    if case.family.name == "recursive":  # the state of the root
        with torch.no_grad():
            return backbone_of(model)(ids).pooler_output[0].double().cpu().numpy()
    if isinstance(case, WordVectorCase):  # words that it does not know are left out
        states = states[ids[0].cpu().numpy() > 1]
    if not ids.numel() or not len(states):
        return np.zeros(states.shape[1])
    if kind == "last":
        half = states.shape[1] // 2 if getattr(model.config, "has_backward_half", False) else states.shape[1]
        return np.concatenate([states[-1, :half], states[0, half:]])
    return states.mean(0) if kind == "mean" else states.max(0)


@pytest.mark.parametrize("case", LABELS, indirect=True)
def test_every_family_gives_vectors_that_no_batch_changes(case):
    model, side = case.model(), {name: case.tokenizer(name) for name in ("left", "right")}
    for kind in POOLINGS.get(case.family.name, ("mean", "max", "last")):
        found = encode(model, TEXTS, tokenizer=side["right"], pooling=kind)
        assert found.dtype == np.float32 and found.shape[0] == len(TEXTS) and np.isfinite(found).all()
        unseen = isinstance(case, WordVectorCase) and model.config.ngram_buckets  # see the test of those
        for text, vector in zip(TEXTS, found, strict=True):
            assert text == "zebra" and unseen or difference(vector, by_hand(case, model, text, kind)) < 1e-5
        for size in (1, 3):
            for padding, tokenizer in side.items():
                again = encode(model, TEXTS, tokenizer=tokenizer, pooling=kind, batch_size=size)
                assert_same(again, found, what=(kind, size, padding))
        alone = encode(model, TEXTS[2], tokenizer=side["left"], pooling=kind)
        assert alone.shape == found.shape[1:]
        assert_same(alone, found[2])
        if found[2].any():
            assert difference(found[0], found[2]) > 1e-3  # a vector that says nothing would be the same everywhere


def test_models_that_count_are_refused(tmp_path):
    for label in ("ngram-kneser-ney", "hmm-tagger-viterbi"):
        case = make_case(label, tmp_path / label)
        with pytest.raises(ValueError, match="counts and has no hidden states to make a vector of: take a recurrent"):
            encode(case.model(), TEXTS, tokenizer=case.tokenizer())
        with pytest.raises(ValueError, match="counts and has no hidden states"):
            encode(case.saved(), TEXTS)


def test_a_bag_has_nothing_to_pool(tmp_path):
    for label in [label for label, row in CASES.items() if row[0] == "bag"]:
        case = make_case(label, tmp_path / label)
        with pytest.raises(ValueError, match="pooling='max': BagModel has no states to pool. It makes one vector"):
            encode(case.model(), TEXTS, tokenizer=case.tokenizer(), pooling="max")


# Sources


@pytest.fixture
def classifier(tmp_path):
    """A bidirectional LSTM classifier that attends."""
    return make_case("lstm-two-layers-both-directions", tmp_path)


def test_a_model_comes_from_a_folder_a_hub_id_or_a_pipeline(classifier, hub, api, repo_id):
    model, tokenizer = classifier.model(), classifier.tokenizer()
    expected = encode(model, TEXTS, tokenizer=tokenizer)
    folder = classifier.saved(model)
    api.create_repo(repo_id)
    api.upload_folder(repo_id=repo_id, folder_path=folder)
    for source in (folder, str(folder), repo_id, pipeline("text-classification", str(folder))):
        assert_same(encode(source, TEXTS), expected)
        attended = encode(model, TEXTS, tokenizer=tokenizer, pooling="attention")
        assert_same(encode(source, TEXTS, pooling="attention"), attended)


def test_a_generator_and_a_column_are_texts_too(classifier):
    model, tokenizer = classifier.model(), classifier.tokenizer()
    expected = encode(model, TEXTS, tokenizer=tokenizer)
    assert_same(encode(model, (text for text in TEXTS), tokenizer=tokenizer), expected)


def test_the_model_gets_its_mode_back(classifier):
    model, tokenizer = classifier.model(), classifier.tokenizer()
    expected = encode(model, TEXTS, tokenizer=tokenizer)
    model.train()
    model.model.layers[0].eval()
    assert_same(encode(model, TEXTS, tokenizer=tokenizer), expected)
    assert model.training and model.pooling.training and not model.model.layers[0].training


def test_attention_pooling_is_what_the_classifier_reads(classifier):
    model, seen = classifier.model(), []
    model.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0]))
    found = encode(model, TEXTS, tokenizer=classifier.tokenizer(), pooling="attention")
    with torch.no_grad():
        for text in TEXTS:
            model(**classifier.tokenizer()(text, return_tensors="pt").to(model.device))
    assert_same(found, torch.stack(seen))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("lstm-plain", "this LSTMForSequenceClassification pools by 'last'. Take another pooling, or train"),
        ("lstm-language-plain", "this LSTMForCausalLM has not learnt one"),
        ("transformer-seq2seq", "ForConditionalGeneration has not learnt one"),
    ],
)
def test_attention_that_nobody_learnt_is_refused(label, message, tmp_path):
    case = make_case(label, tmp_path)
    with pytest.raises(ValueError, match=message):
        encode(case.model(), TEXTS, tokenizer=case.tokenizer(), pooling="attention")
    if label == "lstm-language-plain":
        with pytest.raises(ValueError, match=message):
            encode(case.saved(), TEXTS, pooling="attention")


def test_texts_are_cut_at_the_longest_that_the_tokenizer_allows(classifier):
    model, tokenizer = classifier.model(), classifier.tokenizer()
    whole = encode(model, TEXTS, tokenizer=tokenizer)
    tokenizer.model_max_length = 4
    cut = encode(model, TEXTS, tokenizer=tokenizer)
    assert difference(cut[2], whole[2]) > 1e-3
    assert_same(cut[3], whole[3])
    assert_same(cut[2], encode(model, "not very good", tokenizer=tokenizer))


def test_a_pooler_of_a_foreign_model_is_not_taken_for_its_mean(classifier):
    torch.manual_seed(0)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=20, **small)).eval()
    ids = torch.tensor([classifier.tokenizer()("the film")["input_ids"]])
    with torch.no_grad():
        expected = model(ids).last_hidden_state[0].mean(0)
    assert_same(encode(model, "the film", tokenizer=classifier.tokenizer()), expected)


def test_vectors_of_half_precision_are_pooled_in_float32(classifier):
    model, tokenizer = classifier.model(), classifier.tokenizer()
    exact = encode(model, TEXTS, tokenizer=tokenizer)
    found = encode(model.bfloat16(), TEXTS, tokenizer=tokenizer)
    assert found.dtype == np.float32
    assert_same(found, exact, 0.05)
    assert encode(model, TEXTS, tokenizer=tokenizer, pooling="attention").dtype == np.float32


def test_vectors_are_scaled_on_request_and_zeros_stay_zeros(tmp_path):
    case = make_case("word2vec-plain", tmp_path)
    found = encode(case.model(), TEXTS, normalize=True)
    lengths = np.linalg.norm(found.astype(np.float64), axis=1)
    assert_same(lengths, [0.0 if text in ("", "zebra") else 1.0 for text in TEXTS])


def test_damaged_weights_are_named_by_the_first_text_they_spoil(classifier):
    model = classifier.model()
    with torch.no_grad():
        model.model.embed_tokens.weight[5] = float("nan")  # of "film"
    with pytest.raises(ValueError, match=r"vector of 'the film was good' \(2 of 8\) holds NaN or infinite numbers"):
        encode(model, TEXTS, tokenizer=classifier.tokenizer())


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ([], {}, ValueError, "There are no texts"),
        (["a", 3], {}, TypeError, "text number 1 is 3, no string"),
        ("a", {"pooling": "men"}, ValueError, "unknown pooling 'men'; did you mean 'mean'"),
        ("a", {"weighting": "siff"}, ValueError, "unknown weighting 'siff'; did you mean 'sif'"),
        ("a", {"batch_size": 0}, ValueError, "batch_size=0 has no room for a text"),
        ("a", {"weighting": "sif"}, ValueError, "weighting='sif' does not fit a LSTMForSequenceClassification"),
        ("a", {"direction": np.ones(3)}, ValueError, "direction is what SIF takes out: add weighting='sif'"),
    ],
)
def test_bad_arguments_are_refused(classifier, texts, options, error, message):
    with pytest.raises(error, match=message):
        encode(classifier.model(), texts, tokenizer=classifier.tokenizer(), **options)


def test_a_model_without_its_tokenizer_and_what_is_no_model_are_refused(classifier):
    with pytest.raises(ValueError, match="This LSTMForSequenceClassification comes without its tokenizer: pass"):
        encode(classifier.model(), TEXTS)
    with pytest.raises(TypeError, match="model is a int: give a model, a pipeline, a folder or a Hub id"):
        encode(3, TEXTS, tokenizer=classifier.tokenizer())


def test_the_feature_extraction_pipeline_stays_and_its_mean_is_ours(classifier):
    folder = classifier.saved()
    rows = pipeline("feature-extraction", str(folder))(TEXTS)
    assert_same(encode(folder, TEXTS), np.stack([np.mean(row[0], axis=0) for row in rows]))


def test_sentence_transformers_gives_the_same_means(classifier):
    library = pytest.importorskip("sentence_transformers")
    model, tokenizer = classifier.model(), classifier.tokenizer()
    hfseq.export_text_encoder(model, tokenizer, classifier.folder)
    exported = library.SentenceTransformer(str(classifier.folder), device="cpu").encode(TEXTS)
    assert_same(encode(model, TEXTS, tokenizer=tokenizer), exported)


# Word vectors

WORDS = ["the", "of", "king", "queen", "river", "bank"]
COUNTS = np.array([0, 0, 900, 500, 40, 30, 20, 10])
SENTENCES = ["the king of the river", "Queen", "the bank of the river", "of the", "", "zebra king"]


def vectors_model(counts=COUNTS, **options):
    torch.manual_seed(0)
    model = hfseq.Word2VecModel(hfseq.Word2VecConfig(vocab_size=8, hidden_size=5, with_outputs=False, **options))
    torch.nn.init.normal_(model.inputs.weight)  # `<unk>` too: its row must not reach a mean
    model.set_vocabulary(vocabulary_tokenizer(WORDS, lowercase=True), counts)
    return model


def test_the_mean_of_word_vectors_is_that_of_the_known_words():
    model = vectors_model()
    table = model.vectors
    found = encode(model, SENTENCES)
    for sentence, vector in zip(SENTENCES, found, strict=True):
        words = [word for word in sentence.lower().split() if word in table]
        expected = table.get_mean_vector(words, pre_normalize=False) if words else np.zeros(5)
        assert_same(vector, expected)
    highest = encode(model, SENTENCES, pooling="max")
    assert_same(highest[0], table[["the", "king", "of", "river"]].max(0))
    assert not highest[4].any()


def test_an_unseen_word_has_the_vector_of_its_ngrams():
    model = vectors_model(ngram_buckets=50)
    table = model.vectors
    assert_same(encode(model, "Zebra king"), (table["zebra"] + table["king"]) / 2)
    assert_same(encode(model, ["king", "unseen"])[1], table["unseen"])
    assert difference(table["zebra"], table["unseen"]) > 1e-3


def by_the_paper(model, sentences):
    """SIF as Arora et al. write it: weighted means, minus their projection on the first singular vector."""
    table, total = model.vectors, COUNTS.sum()
    means = np.zeros((len(sentences), 5))
    for row, sentence in enumerate(sentences):
        words = [word for word in sentence.lower().split() if word in table]
        for word in words:
            share = COUNTS[table.key_to_index[word] + 2] / total
            means[row] += 1e-3 / (1e-3 + share) * table[word].astype(np.float64) / len(words)
    axis = np.linalg.svd(means)[2][0]
    return means - np.outer(means @ axis, axis), axis


def test_sif_is_that_of_the_paper():
    model = vectors_model()
    expected, axis = by_the_paper(model, SENTENCES)
    assert_same(encode(model, SENTENCES, weighting="sif"), expected)
    found = common_direction(model, SENTENCES)
    assert abs(float(found @ axis)) == pytest.approx(1, rel=1e-6)
    assert found.dtype == np.float32


def test_the_direction_of_a_reference_makes_a_vector_its_own():
    model = vectors_model()
    axis = common_direction(model, SENTENCES)
    whole = encode(model, SENTENCES, weighting="sif", direction=axis)
    assert_same(whole, encode(model, SENTENCES, weighting="sif"))
    assert_same(encode(model, SENTENCES[2], weighting="sif", direction=3 * axis), whole[2])
    # Without it the texts beside it decide: the documentation says so.
    assert difference(encode(model, SENTENCES[:3], weighting="sif")[2], whole[2]) > 1e-3


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("the king", {}, "1 of 1 texts has a vector: pass direction=hfseq.common_direction"),
        (["king", "", "zebra"], {}, "1 of 3 texts has a vector"),
        (SENTENCES, {"pooling": "max"}, "weighting='sif' weights a mean, not pooling='max'"),
        (SENTENCES, {"direction": np.ones(4)}, r"what common_direction gives, \(5,\), got one of shape \(4,\)"),
        (SENTENCES, {"direction": np.zeros(5)}, "got one of shape .* and length 0"),
        (SENTENCES, {"direction": np.full(5, np.nan)}, "length nan"),
    ],
)
def test_what_sif_cannot_do_is_refused(texts, options, message):
    with pytest.raises(ValueError, match=message):
        encode(vectors_model(), texts, weighting="sif", **options)


@pytest.mark.parametrize("counts", [np.ones(6, dtype=int), np.arange(6, 0, -1)])
def test_counts_that_only_tell_the_order_are_no_weights(counts):
    model = vectors_model(np.concatenate([[0, 0], counts]))
    with pytest.raises(ValueError, match="counts only tell the order of its words"):
        encode(model, SENTENCES, weighting="sif")
    table = KeyedVectors.from_vectors(WORDS, np.eye(6, dtype=np.float32))
    with pytest.raises(ValueError, match="counts only tell the order of its words"):
        common_direction(hfseq.Word2VecModel.from_vectors(table), SENTENCES)


@pytest.mark.parametrize("pooling", ["last", "attention"])
def test_word_vectors_know_no_order(pooling):
    with pytest.raises(ValueError, match=f"pooling='{pooling}': word vectors know no order. Take 'mean' or 'max'"):
        encode(vectors_model(), SENTENCES, pooling=pooling)


def test_a_tokenizer_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"tokenizer has 4 tokens, the model 8 \(config.vocab_size\)"):
        encode(vectors_model(), SENTENCES, tokenizer=vocabulary_tokenizer(["a", "b"]))
