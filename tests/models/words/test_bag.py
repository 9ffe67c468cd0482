"""What only bags do, token ids in: oracles by hand; what every model promises is in `test_contract.py`."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hfseq import BagConfig, BagForSequenceClassification, BagModel
from hfseq.models.words.ascending import AscendingNumbers, pack
from hfseq.models.words.bag_ngrams import id_hashes
from hfseq.models.words.bag_tables import find_wrong, words_of
from hfseq.models.words.tables import label_paths
from tests.closeness import assert_same
from tests.contract.cases import VOCABULARY, tokenizer
from tests.models.words.test_word2vec import fasttext_hash, ngrams_by_hand
from tests.rounds import for_each

SIZE = len(VOCABULARY)
IDS = torch.tensor([[4, 5, 6, 7, 4, 3], [13, 9, 3, 0, 0, 0], [8, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
MASK = torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0] * 6])
CHARACTERS = {"shortest_ngram": 2, "longest_ngram": 4}


def make_model(**options):
    """A classifier with random weights in float64 that knows its words."""
    torch.manual_seed(0)
    options = {"vocab_size": SIZE, "hidden_size": 5, "num_labels": 3, "ngram_buckets": 1000, **options}
    model = BagForSequenceClassification(BagConfig(**options)).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    model.model.set_vocabulary(words_of(tokenizer(), SIZE))
    return model


def hash_by_hand(token):
    """FNV-1a of the four bytes of an id, as the signed number that fastText widens to 64 bits without sign."""
    value = 2166136261
    for byte in token.to_bytes(4, "little"):
        value = ((value ^ byte) * 16777619) % 2**32
    return value - 2**32 * (value >= 2**31)


def features_by_hand(ids, config):
    """The rows of one text, counted one by one."""
    rows = list(ids)
    if config.longest_ngram:
        for token in ids:
            if VOCABULARY[token] not in ("<pad>", "<unk>", "</s>"):
                found = ngrams_by_hand(VOCABULARY[token], config.shortest_ngram, config.longest_ngram)
                rows += [SIZE + fasttext_hash(ngram) % config.ngram_buckets for ngram in found]
    for begin in range(len(ids)):
        value = hash_by_hand(ids[begin])
        for end in range(begin + 1, min(begin + config.word_ngrams, len(ids))):
            value = (value * 116049371 + hash_by_hand(ids[end])) % 2**64
            rows.append(SIZE + value % config.ngram_buckets)
    return rows


def texts():
    return [ids[mask.bool()].tolist() for ids, mask in zip(IDS, MASK, strict=True)]


FEATURES = [{"word_ngrams": 1}, {"word_ngrams": 2}, {"word_ngrams": 4}, {"word_ngrams": 1, **CHARACTERS}]
FEATURES += [{"word_ngrams": 3, **CHARACTERS, "ngram_buckets": buckets} for buckets in (1, 7, 2**20, 99_999_989)]


@for_each("options", FEATURES)
def test_the_features_of_texts_are_those_counted_by_hand(options):
    with torch.device("meta"):  # of 99,999,989 vectors the numbers alone are wanted
        bag = BagModel(BagConfig(vocab_size=SIZE, hidden_size=5, **options))
    bag.inputs = nn.Embedding(1, 1)  # says that rows are wanted on the CPU
    for name in dict(bag.named_buffers(recurse=False)):
        setattr(bag, name, torch.zeros(0, dtype=torch.long))
    bag.set_vocabulary(words_of(tokenizer(), SIZE))
    expected = [features_by_hand(ids, bag.config) for ids in texts()]
    rows, starts = bag.features(IDS[MASK.bool()].numpy(), MASK.sum(1).numpy())
    found = np.split(rows.numpy(), starts.numpy()[1:])
    assert [sorted(each.tolist()) for each in found] == [sorted(each) for each in expected]
    for each, ids in zip(expected, texts(), strict=True):
        rows, starts = bag.features(np.array(ids, dtype=np.int64), np.array([len(ids)]))
        assert sorted(rows.tolist()) == sorted(each) and starts.tolist() == [0]


def test_hashes_are_those_of_python_numbers():
    # About half of the ids have a hash below 0, whose 64 bits without sign end near 2**64.
    found = id_hashes(70_000)
    assert [int(value) for value in found[:300]] == [hash_by_hand(token) % 2**64 for token in range(300)]
    assert int(found[69_999]) == hash_by_hand(69_999) % 2**64
    assert 100 < sum(value >= 2**63 for value in found[:300].tolist()) < 200


@for_each("weighting", ["count", "tfidf", "tfidf_l2"])
def test_a_text_is_the_weighted_mean_of_its_features(weighting):
    model = make_model(word_ngrams=3, **CHARACTERS, weighting=weighting)
    weights = torch.ones(model.config.num_rows)
    power = 2 if weighting == "tfidf_l2" else 1
    if weighting != "count":
        model.model.row_weights.copy_(torch.linspace(0.1, 3, len(weights)))
        weights = model.model.row_weights
    vectors = model.model.inputs.weight
    expected = []
    for ids in texts():
        total, share = torch.zeros(5, dtype=torch.float64), 0.0
        for row in features_by_hand(ids, model.config):
            total, share = total + weights[row] * vectors[row], share + weights[row] ** power
        expected.append(total / share ** (1 / power) if ids else total)
    found = model.model(IDS, MASK)
    assert_same(found.pooler_output, torch.stack(expected), 1e-12)
    assert torch.equal(found.last_hidden_state, found.pooler_output[:, None])
    assert not found.pooler_output[-1].any()
    for row, ids in enumerate(texts()):  # one text is read another way
        alone = model.model(torch.tensor([ids], dtype=torch.long)).pooler_output[0]
        assert_same(alone, expected[row], 1e-12, scale=1e-9)


def test_words_alone_are_an_embedding_bag_and_a_linear_layer():
    model = make_model(word_ngrams=1, ngram_buckets=0)
    bag = nn.EmbeddingBag.from_pretrained(model.model.inputs.weight.detach(), mode="mean")
    expected = model.classifier(bag(IDS[:1]))
    assert_same(model(IDS[:1]).logits, expected, 1e-14)
    for ids, logits in zip(texts()[:3], model(IDS, MASK).logits, strict=False):
        assert_same(logits, model.classifier(bag(torch.tensor([ids])))[0], 1e-14)


def test_the_order_of_words_counts_in_ngrams_alone():
    shuffled = IDS[:1, [3, 0, 5, 1, 4, 2]]
    words = make_model(word_ngrams=1)
    assert_same(words(shuffled).logits, words(IDS[:1]).logits, 1e-14)
    pairs = make_model(word_ngrams=2)
    assert (pairs(shuffled).logits - pairs(IDS[:1]).logits).abs().max() > 1e-3


def test_weights_of_one_are_counts_and_those_of_zero_leave_out():
    counts, weighted = make_model(**CHARACTERS), make_model(**CHARACTERS, weighting="tfidf")
    assert_same(weighted(IDS, MASK).logits, counts(IDS, MASK).logits, 1e-13)
    weighted.model.row_weights[5] = 0
    without = weighted(torch.tensor([[4, 5, 6]])).logits
    with torch.no_grad():
        weighted.model.inputs.weight[5] = 1e6
    assert torch.equal(weighted(torch.tensor([[4, 5, 6]])).logits, without)
    weighted.model.row_weights.zero_()  # nothing is left: as an empty text
    assert_same(weighted(IDS, MASK).logits, weighted.classifier.bias.expand(4, 3), 1e-14)


# Hierarchical softmax


def tree_by_hand(counts):
    """fastText's tree, node by node: the two smallest are joined; of equal ones, inner nodes go first."""
    order = sorted(range(len(counts)), key=lambda label: -counts[label])
    leaves, inner = [(counts[label], label, None) for label in order][::-1], []
    for number in range(len(counts) - 1):
        pair = [
            leaves.pop(0) if leaves and not (inner and inner[0][0] <= leaves[0][0]) else inner.pop(0) for _ in "ab"
        ]
        inner.append((pair[0][0] + pair[1][0], number, pair))
    return inner[0]


def probabilities_by_hand(node, scores, probability=1.0):
    """Walk the tree: the second child of a node has the sigmoid of its score."""
    _, number, pair = node
    if pair is None:
        return {number: probability}
    right = 1 / (1 + math.exp(-scores[number]))
    return probabilities_by_hand(pair[0], scores, probability * (1 - right)) | probabilities_by_hand(
        pair[1], scores, probability * right
    )


COUNTS = [[1, 1], [5, 5, 5, 5, 5], [9, 1, 4, 4, 1, 0, 2], [1, 2, 4, 8, 16, 32], [3, 3, 6, 6, 12, 12, 0, 0]]


@for_each("counts", COUNTS)
def test_hierarchical_softmax_is_a_walk_through_fasttexts_tree(counts):
    model = make_model(hierarchical_softmax=True, num_labels=len(counts))
    model.label_counts.copy_(torch.tensor(counts))
    logits = model(IDS, MASK).logits
    tree = tree_by_hand(counts)
    for row, hidden in enumerate(model.model(IDS, MASK).pooler_output):
        expected = probabilities_by_hand(tree, model.classifier(hidden).tolist())
        assert_same(logits[row].exp(), torch.tensor([expected[label] for label in range(len(counts))]).double(), 1e-6)
    assert_same(logits.exp().sum(1), torch.ones(4).double(), 1e-12)
    assert_same(logits.softmax(1), logits.exp(), 1e-12)  # what pipelines make of it
    labels = torch.arange(4) % len(counts)
    loss = model(IDS, MASK, labels=labels).loss
    assert_same(loss, -logits[torch.arange(4), labels].mean(), 1e-6)


def test_the_tree_is_made_anew_when_its_counts_change():
    model = make_model(hierarchical_softmax=True, num_labels=4)
    before = model(IDS, MASK).logits
    model.label_counts.copy_(torch.tensor([1, 50, 2, 9]))
    assert not torch.equal(model(IDS, MASK).logits, before)
    model.label_counts = torch.ones(4, dtype=torch.long)
    assert torch.equal(model(IDS, MASK).logits, before)


def test_frequent_labels_have_short_paths():
    starts, nodes, turns = label_paths(np.array([100, 1, 1, 50]))
    assert np.diff(starts).tolist() == [1, 3, 3, 2] and len(nodes) == len(turns) == 9


def test_hierarchical_softmax_wants_one_label_of_several():
    model = make_model(hierarchical_softmax=True)
    with pytest.raises(ValueError, match="one integer label a text, got torch.float32"):
        model(IDS, MASK, labels=torch.ones(4, 3))
    assert model.config.problem_type == "single_label_classification"
    for options, message in (
        ({"problem_type": "regression"}, "finds one label, problem_type='regression'"),
        ({"num_labels": 1}, "needs 2 labels or more, got num_labels=1"),
    ):
        with pytest.raises(Exception, match=message):
            BagConfig(hierarchical_softmax=True, **options)


# Buckets that were kept


def test_a_bag_with_kept_buckets_is_one_without_the_other_rows():
    full = make_model(word_ngrams=3, **CHARACTERS, ngram_buckets=40, weighting="tfidf")
    kept = torch.tensor([0, 3, 7, 8, 20, 21, 22, 30, 39])
    small = make_model(word_ngrams=3, **CHARACTERS, ngram_buckets=40, weighting="tfidf", num_kept_buckets=9)
    full.model.row_weights[:] = torch.linspace(1, 2, SIZE + 40)
    gone = torch.tensor([SIZE + bucket for bucket in range(40) if bucket not in kept.tolist()])
    full.model.row_weights[gone] = 0
    stays = torch.cat([torch.arange(SIZE), SIZE + kept])
    with torch.no_grad():
        small.model.inputs.weight.copy_(full.model.inputs.weight[stays])
        small.classifier.load_state_dict(full.classifier.state_dict())
    small.model.kept_buckets.fill(kept)
    small.model.row_weights.copy_(full.model.row_weights[stays])
    assert_same(small(IDS, MASK).logits, full(IDS, MASK).logits, 1e-13)
    none = make_model(word_ngrams=3, ngram_buckets=40, num_kept_buckets=0)
    words = make_model(word_ngrams=1, ngram_buckets=0)
    words.load_state_dict({name: each for name, each in none.state_dict().items() if "kept" not in name})
    assert torch.equal(none(IDS, MASK).logits, words(IDS, MASK).logits)


# The vocabulary


def test_special_tokens_have_no_ngrams_and_marks_are_characters():
    words = words_of(tokenizer(), SIZE + 2)
    assert words[:5] == [None, None, "<s>", None, "the"] and words[SIZE:] == [None, None]
    bag = BagModel(BagConfig(vocab_size=4, ngram_buckets=10**6, **CHARACTERS))
    bag.set_vocabulary([None, "Ġthe", "▁é", None])
    assert np.diff(bag.ngram_starts.numbers()).tolist() == [0, len(ngrams_by_hand("Ġthe", 2, 4)), 6, 0]
    expected = [fasttext_hash(ngram) % 10**6 for word in ("Ġthe", "▁é") for ngram in ngrams_by_hand(word, 2, 4)]
    assert bag.ngrams.tolist() == expected and bag.config.num_ngrams == len(expected)


def test_a_vocabulary_of_another_size_is_refused():
    bag = BagModel(BagConfig(vocab_size=4, **CHARACTERS))
    with pytest.raises(ValueError, match="There are 3 words, but config.vocab_size is 4"):
        bag.set_vocabulary(["a", "b", "c"])
    with pytest.raises(ValueError, match="units='bytes'.* reads its words from the text"):
        BagModel(BagConfig(vocab_size=257, units="bytes")).set_vocabulary(["a"] * 257)


def test_a_new_vocabulary_counts_at_once_and_is_saved(tmp_path):
    model = make_model(**CHARACTERS).float()
    before = model(IDS, MASK).logits
    model.model.set_vocabulary([None] * SIZE)
    assert not torch.equal(model(IDS, MASK).logits, before)
    model.model.set_vocabulary(words_of(tokenizer(), SIZE))
    assert torch.equal(model(IDS, MASK).logits, before)
    model.save_pretrained(tmp_path)
    assert torch.equal(BagForSequenceClassification.from_pretrained(tmp_path)(IDS, MASK).logits, before)


# Copies and other devices


@for_each("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_tables_of_its_own(copied):
    model = make_model(hierarchical_softmax=True, **CHARACTERS)
    before = model(IDS, MASK).logits
    twin = copied(model)
    assert torch.equal(twin(IDS, MASK).logits, before)
    twin.model.ngrams.zero_()
    twin.label_counts[0] = 99
    assert not torch.equal(twin(IDS, MASK).logits, before) and torch.equal(model(IDS, MASK).logits, before)


def test_a_bag_that_was_made_in_inference_mode_answers():
    with torch.inference_mode():
        model = make_model(hierarchical_softmax=True, **CHARACTERS)
        before = model(IDS, MASK).logits
    assert_same(make_model(hierarchical_softmax=True, **CHARACTERS)(IDS, MASK).logits, before, 1e-14)


def test_a_quantized_body_says_where_it_is(tmp_path):
    bag = BagModel(BagConfig(vocab_size=SIZE, hidden_size=5, ngram_buckets=9, row_codes=2, norm_codes=True)).eval()
    assert bag.device.type == "cpu" and bag.dtype == torch.float32
    bag.inputs.codes.random_(256)
    found = bag(IDS, MASK).pooler_output
    for row, ids in enumerate(texts()):
        alone = bag(torch.tensor([ids], dtype=torch.long)).pooler_output[0]
        assert_same(found[row], alone, scale=1e-3)
    bag.save_pretrained(tmp_path)
    assert torch.equal(BagModel.from_pretrained(tmp_path)(IDS, MASK).pooler_output, found)
    with pytest.raises(ValueError, match=r"quantized \(row_codes=2\)"):
        bag.set_input_embeddings(nn.Embedding(SIZE + 9, 5))


# What is refused


@for_each(
    ("options", "message"),
    [
        ({"shortest_ngram": 4, "longest_ngram": 3}, "shortest_ngram=4 is longer than longest_ngram=3"),
        ({"word_ngrams": 2, "ngram_buckets": 0}, "word_ngrams=2 needs ngram_buckets"),
        ({"word_ngrams": 1, "longest_ngram": 3, "ngram_buckets": 0}, "longest_ngram=3 needs ngram_buckets"),
        ({"num_kept_buckets": 9, "ngram_buckets": 8}, "num_kept_buckets=9 is more than"),
        ({"units": "bytes"}, "vocab_size=30000: units='bytes' has 257"),
        ({"units": "bytes", "vocab_size": 257, "num_ngrams": 3}, "num_ngrams=3 belongs to units='tokens'"),
        ({"num_words": 3}, "num_words=3 belongs to units='bytes'"),
        ({"row_codes": 33}, "row_codes=33 is more than hidden_size=32"),
        ({"norm_codes": True}, "norm_codes=True needs row_codes"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings=True"),
        ({"wordNgrams": 2}, "no field 'wordNgrams'. Did you mean 'word_ngrams'"),
        ({"minn": 2}, "no field 'minn'. Did you mean 'shortest_ngram'"),
        ({"maxn": 2}, "no field 'maxn'. Did you mean 'longest_ngram'"),
        ({"bucket": 2}, "no field 'bucket'. Did you mean 'ngram_buckets'"),
        ({"dim": 2}, "no field 'dim'. Did you mean 'hidden_size'"),
        ({"loss": "hs"}, "no field 'loss'. Did you mean 'hierarchical_softmax'"),
        ({"lr": 0.5}, "no field 'lr'. Leave it out: it belongs into TrainingArguments"),
    ],
)
def test_configs_that_cannot_be_are_refused(options, message):
    with pytest.raises(Exception, match=message):
        BagConfig(**options)


def put(name, place, value):
    def damage(tensors):
        tensors[name][place] = value

    return damage


@for_each(
    ("damage", "wrong"),
    [
        (put("model.ngram_starts.bits", slice(None), 255), "ngram_starts"),
        (put("model.ngram_starts.bits", slice(None), 0), "ngram_starts"),
        (put("model.ngrams", 0, -1), "ngrams"),
        (put("model.ngrams", 0, 30), "ngrams"),
        (put("model.kept_buckets.bits", slice(None), 255), "kept_buckets"),
        (put("model.kept_buckets.bits", slice(None), torch.from_numpy(pack(np.zeros(10), 30))), "kept_buckets"),
        (put("label_counts", 0, -1), "label_counts"),
        (put("label_counts", 0, 10**15), "label_counts"),
    ],
)
def test_tables_that_lead_out_of_their_arrays_are_refused(tmp_path, damage, wrong):
    options = {"ngram_buckets": 30, "num_kept_buckets": 10, "hierarchical_softmax": True}
    make_model(**CHARACTERS, **options).float().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    damage(tensors)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for strict in (True, False):
        with pytest.raises(ValueError, match=f"checkpoint's {wrong} hold numbers out of range"):
            BagForSequenceClassification.from_pretrained(tmp_path, strict=strict)


@pytest.mark.parametrize("name", ["word_starts", "ngram_starts"])
def test_starts_that_go_back_are_refused(name):
    starts = AscendingNumbers(4, 9)
    starts.fill([0, 2, 3, 8])
    held = {"word_bytes": torch.zeros(8, dtype=torch.uint8), "ngrams": torch.zeros(8, dtype=torch.int32)}
    assert find_wrong(held, {name: starts}, 10) == []
    starts.bits[0] = 0b0100_0000  # the lowest bits of the four: 2 and 3 change places
    assert starts.numbers().tolist() == [0, 3, 2, 8]
    assert find_wrong(held, {name: starts}, 10) == [name]


@for_each("value", [float("nan"), float("inf"), -1.0])
def test_weights_that_are_none_are_refused_unless_asked_for(tmp_path, value):
    model = make_model(weighting="tfidf").float()
    model.model.row_weights[3] = value
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="row_weights hold NaN, infinite or negative numbers"):
        BagForSequenceClassification.from_pretrained(tmp_path)
    BagForSequenceClassification.from_pretrained(tmp_path, strict=False)


@for_each("ids", [[[4, SIZE]], [[4, -1]], [[2**40, 4]]])
def test_ids_outside_the_vocabulary_are_named(ids):
    for options in FEATURES[:4]:
        with pytest.raises(ValueError, match="input id .* is outside 0 to 13"):
            make_model(**options)(torch.tensor(ids))


def test_ids_of_smaller_integers_are_read():
    model = make_model(**CHARACTERS)
    assert torch.equal(model(IDS.int(), MASK.bool()).logits, model(IDS, MASK).logits)
    assert torch.equal(model(IDS.to(torch.uint8), MASK.float()).logits, model(IDS, MASK).logits)
