"""Making bags small: rows in bytes, fewer rows, a size that is kept, and scores that stay."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassClassValidationError
from safetensors import safe_open

import hfseq
from hfseq import BagConfig, BagForSequenceClassification, compress_bag
from hfseq.models.words.ascending import AscendingNumbers, pack, packed_size, unpack
from hfseq.models.words.quantized_rows import QuantizedRows
from hfseq.training.words.compressed_rows import dealt, narrowed
from hfseq.training.words.quantizing import quantize
from tests.closeness import assert_same

LABELS, WORDS, BUCKETS, WIDTH = 5, 60, 400, 12


def rows_of(count: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, width)) * rng.gamma(1, 1, size=(count, 1))).astype(np.float32)


def texts(count: int = 400, seed: int = 0) -> Dataset:
    """Texts whose label is told by the words that are frequent in them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(LABELS, size=count)
    ids = [
        np.where(rng.random(12) < 0.4, 5 + 8 * label + rng.integers(8, size=12), rng.integers(WORDS - 5, size=12))
        for label in labels
    ]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


def bag(seed: int = 0, **options) -> BagForSequenceClassification:
    """A bag as after training: rows of words that tell a label lean towards it."""
    torch.manual_seed(seed)
    config = {"vocab_size": WORDS, "ngram_buckets": BUCKETS, "hidden_size": WIDTH, "num_labels": LABELS} | options
    model = BagForSequenceClassification(BagConfig(**config)).eval()
    with torch.no_grad():
        model.classifier.weight.normal_()
        model.model.inputs.weight.normal_(std=0.2)
        for label in range(min(LABELS, len(model.classifier.weight))):
            model.model.inputs.weight[5 + 8 * label : 13 + 8 * label] += model.classifier.weight[label] / 2
    return model


def probabilities(model, rows: Dataset, problem: str = "softmax") -> torch.Tensor:
    with torch.no_grad():
        logits = torch.cat([model(torch.tensor([ids])).logits for ids in rows["input_ids"]])
    return logits.softmax(-1) if problem == "softmax" else logits


# Rows in bytes


def test_more_bytes_are_nearer_to_the_rows():
    rows = rows_of(3000, 8)
    errors = [np.square(quantize(rows, pieces, norms=True).rows(8) - rows).sum() for pieces in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2e-3 * np.square(rows).sum()


def test_lengths_of_their_own_serve_rows_of_very_different_lengths():
    rows = rows_of(3000, 8)
    with_norms, without = (np.square(quantize(rows, 4, norms=norms).rows(8) - rows).sum() for norms in (True, False))
    assert with_norms < without / 2


def test_a_byte_a_number_is_exact_for_256_values():
    rows = np.random.default_rng(0).choice(rows_of(256, 1)[:, 0], size=(2000, 3))
    assert np.array_equal(quantize(rows, 3, norms=False).rows(3), rows)


@pytest.mark.parametrize("rows", [np.zeros((5, 4)), np.ones((1, 4)), np.repeat(rows_of(3, 4), 100, axis=0)])
@pytest.mark.parametrize("norms", [False, True])
def test_few_or_equal_rows_are_exact(rows, norms):
    rows = rows.astype(np.float32)
    assert_same(quantize(rows, 2, norms=norms).rows(4), rows)


def test_the_last_piece_may_be_shorter():
    rows = rows_of(200, 5)
    found = quantize(rows, 3, norms=False)
    assert found.centroids.shape == (3, 256, 2)
    assert_same(found.rows(5), rows)


def test_the_same_seed_gives_the_same_bytes():
    rows = rows_of(1000, 6)
    first, second, third = (quantize(rows, 2, norms=True, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first.codes, third.codes)


def test_rows_that_count_more_are_nearer():
    rows, weights = rows_of(4000, 4), np.ones(4000)
    weights[:400] = 1000
    heavy, even = (np.square(quantize(rows, 1, norms=False, weights=each).rows(4) - rows) for each in (weights, None))
    assert heavy[:400].sum() < even[:400].sum() / 2


def test_quantized_rows_are_read_as_they_were_written():
    rows = rows_of(300, 5)
    found = quantize(rows, 3, norms=True)
    module = QuantizedRows(rows=300, width=5, pieces=3, has_norms=True)
    state = {name: torch.from_numpy(value) for name, value in found._asdict().items()}
    module.load_state_dict(state)
    assert_same(module(torch.arange(300)), found.rows(5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm_codes": True}, "norm_codes=True needs row_codes"),
        ({"row_codes": 7}, "row_codes=7 is more than hidden_size=6"),
        ({"row_codes": 4}, "row_codes=4 leaves pieces of hidden_size=6 empty: set 3"),
    ],
)
def test_codes_that_fit_no_row_are_refused(options, message):
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        BagConfig(hidden_size=6, **options)


def test_directions_are_dealt_to_pieces_in_turn():
    assert dealt(5, 2).tolist() == [0, 2, 4, 1, 3]
    assert dealt(4, 4).tolist() == [0, 1, 2, 3]
    assert sorted(dealt(17, 5)) == list(range(17))


# Ascending numbers


@pytest.mark.parametrize(("count", "limit"), [(0, 9), (1, 1), (5, 1), (9, 9), (700, 2000), (20, 10**6), (300, 7)])
def test_ascending_numbers_come_back_from_few_bytes(count, limit):
    numbers = np.sort(np.random.default_rng(count).integers(limit, size=count))
    packed = pack(numbers, limit)
    assert len(packed) == packed_size(count, limit)
    assert np.array_equal(unpack(packed, count, limit), numbers)


def test_ascending_numbers_are_about_as_few_bits_as_can_be():
    assert packed_size(50_000, 200_000) == 25_000
    assert packed_size(50_000, 2_000_000) < 46_000


@pytest.mark.parametrize("numbers", [[3, 2, 4], [0, 1, 10], [-1, 0, 1]])
def test_numbers_that_do_not_ascend_within_their_limit_are_refused(numbers):
    with pytest.raises(ValueError, match="ascend from 0 to 9"):
        AscendingNumbers(3, 10).fill(np.array(numbers))


def test_a_list_is_read_anew_after_it_changed():
    listed = AscendingNumbers(3, 10)
    listed.fill(np.array([1, 2, 3]))
    assert listed.numbers().tolist() == [1, 2, 3]
    listed.fill(np.array([1, 2, 9]))
    assert copy.deepcopy(listed).numbers().tolist() == listed.numbers().tolist() == [1, 2, 9]
    with pytest.raises(ValueError, match="3 numbers are needed"):
        listed.fill(np.array([1]))


# Bags


@pytest.mark.parametrize(
    "options",
    [{}, {"weighting": "tfidf"}, {"hierarchical_softmax": True}, {"bias": False}, {"num_kept_buckets": 50}],
    ids=["plain", "tfidf", "hierarchical", "without-bias", "kept"],
)
def test_narrower_rows_give_the_same_probabilities(options):
    model, rows = bag(**options), texts(20)
    narrow = narrowed(model, is_softmax=not options.get("hierarchical_softmax"))
    assert narrow.config.hidden_size == LABELS - 1
    assert_same(probabilities(narrow, rows), probabilities(model, rows), 1e-4)


def test_several_labels_and_numbers_keep_their_scores():
    for problem, labels in (("multi_label_classification", LABELS), ("regression", 2)):
        model = bag(problem_type=problem, num_labels=labels)
        small, _ = compress_bag(model, row_codes=WIDTH)
        assert small.config.hidden_size == labels
        wanted = probabilities(model, texts(50), problem)
        assert_same(probabilities(small, texts(50), problem), wanted, 0.05)


def test_a_bag_keeps_its_score_and_stays_as_it_was():
    model, rows, tune = bag(), texts(), texts(seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small, report = compress_bag(model, rows, tune)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert report.score_name == "accuracy"
    assert report.score_before > 0.45  # of 0.2 by chance
    assert report.score > report.score_before - 0.03
    assert report.mb < report.mb_before
    assert f"accuracy {report.score_before:.4f} -> {report.score:.4f}" in str(report)
    assert small.config.row_codes == 2
    assert not small.training


def test_rows_that_no_text_has_are_dropped_and_change_nothing_in_texts():
    model, rows = bag(), texts(30)
    small, report = compress_bag(model, rows, row_codes=WIDTH)
    assert report.rows < model.config.num_rows
    assert_same(probabilities(small, rows), probabilities(model, rows), 0.05)


def test_the_rows_that_matter_stay():
    model, rows = bag(word_ngrams=2), texts(50)
    features, _ = model.model.features(np.array(rows[0]["input_ids"]), np.array([12]))
    chosen = int(features[-1])
    with torch.no_grad():
        model.model.inputs.weight[chosen] *= 100
    small, _ = compress_bag(model, rows, kept_rows=WORDS + 3)
    assert small.config.num_rows == WORDS + 3
    assert chosen - WORDS in small.model.kept_buckets.numbers()


@pytest.mark.parametrize("target", [0.0085, 0.011, 0.02])
def test_the_file_is_no_larger_than_asked_for(target, tmp_path):
    small, report = compress_bag(bag(ngram_buckets=3000), texts(), texts(seed=1), target_mb=target)
    small.save_pretrained(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size == round(report.mb * 1e6)
    assert size <= target * 1e6
    assert size > 0.75 * target * 1e6 or report.rows == compress_bag(bag(ngram_buckets=3000), texts())[1].rows


def test_the_best_of_what_was_tried_is_taken():
    small, report = compress_bag(bag(ngram_buckets=3000), texts(), texts(seed=1), target_mb=0.0085)
    assert len(report.trials) > 1
    assert report.score == max(trial.score for trial in report.trials)


def test_a_size_that_is_too_small_names_the_least():
    with pytest.raises(ValueError, match=r"target_mb=0.001 is too small: the least .* is (0.00\d)") as caught:
        compress_bag(bag(), texts(), target_mb=0.001)
    least = float(str(caught.value).split(" takes is ")[1].split()[0]) + 0.001
    assert compress_bag(bag(), texts(), target_mb=least)[1].mb <= least


def test_it_loads_again_to_the_bit_with_whole_numbers(tmp_path):
    small, _ = compress_bag(bag(longest_ngram=0, weighting="tfidf"), texts(), kept_rows=WORDS + 30)
    small.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        kinds = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert kinds["model.inputs.codes"] == kinds["model.kept_buckets.bits"] == torch.uint8
    loaded = hfseq.BagForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(probabilities(loaded, texts(10)), probabilities(small, texts(10)))


def test_weights_of_features_take_a_byte_and_stay_what_they_were():
    model = bag(weighting="tfidf")
    model.model.row_weights.copy_(torch.arange(len(model.model.row_weights)) % 50 / 10)
    small, _ = compress_bag(model, texts(), kept_rows=WORDS + 30)
    assert small.model.row_weights is None
    kept = np.append(np.arange(WORDS), WORDS + small.model.kept_buckets.numbers())
    assert_same(small.model.weights, model.model.row_weights[torch.from_numpy(kept)])


def test_character_ngrams_of_buckets_that_are_gone_leave_their_table():
    model = bag(longest_ngram=3)
    words = [None] * 5 + [f"word{number}" for number in range(WORDS - 5)]
    model.model.set_vocabulary(words)
    small, _ = compress_bag(model, texts(), kept_rows=WORDS + 30, row_codes=WIDTH)
    kept = set(small.model.kept_buckets.numbers().tolist())
    assert 0 < small.config.num_ngrams < model.config.num_ngrams
    assert set(small.model.ngrams.tolist()) <= kept
    row = np.array(texts(1)[0]["input_ids"])
    found = small.model.features(row, np.array([len(row)]))[0]
    wanted = [bucket - WORDS for bucket in model.model.features(row, np.array([len(row)]))[0].tolist()]
    numbers = small.model.kept_buckets.numbers().tolist()
    assert sorted(numbers[place - WORDS] for place in found.tolist() if place >= WORDS) == sorted(
        bucket for bucket in wanted if bucket in kept
    )


def test_the_same_seed_gives_the_same_bag():
    first, second = (compress_bag(bag(), texts(), seed=3)[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_retrains_gets_the_kept_rows_unquantized():
    seen = []

    def retrain(model):
        seen.append((model.config.num_rows, model.config.row_codes))
        with torch.no_grad():
            model.classifier.bias += 100 * torch.arange(LABELS)

    small, report = compress_bag(bag(), texts(), texts(seed=1), kept_rows=WORDS + 30, retrain=retrain)
    assert seen == [(WORDS + 30, 0)]
    assert probabilities(small, texts(20)).argmax(1).tolist() == [LABELS - 1] * 20
    assert report.score < report.score_before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_bag_on_a_gpu_stays_there_and_its_small_one_is_on_the_cpu():
    model = bag().cuda()
    small, report = compress_bag(model, texts(), texts(seed=1), row_codes=2, retrain=lambda model: model.cuda())
    assert (model.device.type, small.device.type) == ("cuda", "cpu")
    assert report.score_before == compress_bag(bag(), texts(), texts(seed=1), row_codes=2)[1].score_before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_mb": 0}, "target_mb=0 must be more than 0"),
        ({"target_mb": 1.0, "row_codes": 2}, "leave them out, or target_mb"),
        ({"kept_rows": 3}, f"kept_rows=3 is less than the {WORDS} rows that cannot be dropped"),
        ({"row_codes": 0}, "row_codes=0 must be 1 or more"),
        ({"tune_rows": texts(3).remove_columns("labels")}, "a score needs 'labels' too"),
        ({"train_rows": texts(3).select([])}, "There are no texts"),
        ({"train_rows": Dataset.from_dict({"input_ids": [[WORDS]]})}, "outside|59"),
    ],
)
def test_what_cannot_be_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        compress_bag(bag(), **options)


def test_only_trained_bags_that_are_not_quantized_yet_are_taken():
    small, _ = compress_bag(bag())
    with pytest.raises(ValueError, match="quantized already"):
        compress_bag(small)
    with pytest.raises(ValueError, match="train it before"):
        compress_bag(BagForSequenceClassification(BagConfig(vocab_size=9, num_labels=2)))
    with pytest.raises(TypeError, match="got BagModel"):
        compress_bag(small.model)


def test_the_section_of_a_recipe_has_the_options():
    names = {field.name for field in dataclasses.fields(hfseq.CompressionSettings)}
    assert set(hfseq.CompressionSettings().options) == names - {"retrain"}
