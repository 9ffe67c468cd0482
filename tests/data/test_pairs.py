"""Pairs of sentences with scores: the columns that are read, and what is refused."""

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from hfseq.data.embedded.load import load_embedded
from hfseq.data.pairs import PairSettings, load_pairs

ROWS = {"one": ["a", "b", "c", "d"], "two": ["e", "f", "g", "h"], "alike": [0, 5, 2, 3]}
COLUMNS = {"text_column": "one", "other_column": "two", "score_column": "alike"}


def saved(folder, rows=ROWS, **splits):
    DatasetDict({"train": Dataset.from_dict(rows), **splits}).save_to_disk(folder)
    return str(folder)


def test_the_columns_that_the_settings_name_are_read(tmp_path):
    path = saved(tmp_path / "saved", test=Dataset.from_dict(ROWS))
    found = load_pairs(PairSettings(path=path, **COLUMNS))
    assert {name: rows.num_rows for name, rows in found.items()} == {"train": 3, "validation": 1, "test": 4}
    assert found["test"].column_names == ["sentence1", "sentence2", "score"]
    assert found["test"][1] == {"sentence1": "b", "sentence2": "f", "score": 5.0}
    cut = load_pairs(PairSettings(path=path, max_rows=2, **COLUMNS))
    assert (cut["test"].num_rows, cut["train"].num_rows) == (2, 2)


def test_embedded_pairs_are_drawn_from_one_split_each():
    found, source = load_pairs(PairSettings(name="embedded")), load_embedded()
    for name, rows in source.items():
        label_of = dict(zip(rows["text"][:], rows["label"][:], strict=True))
        pairs = found[name]
        assert pairs.num_rows == min(1000, rows.num_rows)
        for pair in pairs:
            one, other = pair["sentence1"], pair["sentence2"]
            assert one != other and pair["score"] == float(label_of[one] == label_of[other])
        assert 0.4 < sum(pairs["score"]) / pairs.num_rows < 0.6
    again = load_pairs(PairSettings(name="embedded"))
    assert again["test"][:] == found["test"][:]
    assert load_pairs(PairSettings(name="embedded", seed=1))["test"][:] != found["test"][:]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({**ROWS, "one": [1, 2, 3, 4]}, "Split 'train': data.text_column='one' holds int64, not texts"),
        ({**ROWS, "two": [[1]] * 4}, "data.other_column='two' holds lists of int64, not texts"),
        ({**ROWS, "alike": ["0", "1", "2", "3"]}, "data.score_column='alike' holds string, not numbers"),
        ({**ROWS, "alike": [0.0, 1.0, float("nan"), 3.0]}, "Split 'train', row 2: the score is NaN or infinite"),
        ({**ROWS, "alike": [0.0, None, 1.0, 3.0]}, "row 1: 'alike' has no value"),
        ({"one": ["a"], "two": ["b"]}, "alike"),
    ],
)
def test_wrong_columns_are_named(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        load_pairs(PairSettings(path=saved(tmp_path / "saved", rows), **COLUMNS))


def test_classes_are_no_scores(tmp_path):
    features = Features({"one": Value("string"), "two": Value("string"), "alike": ClassLabel(names=["no", "yes"])})
    rows = Dataset.from_dict({**ROWS, "alike": [0, 1, 1, 0]}, features=features)
    DatasetDict({"train": rows}).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match="data.score_column='alike' holds ClassLabel, not numbers"):
        load_pairs(PairSettings(path=str(tmp_path / "saved"), **COLUMNS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_rows": 1}, "max_rows=1 must be at least 2"),
        ({"text_column": "score"}, "must differ, got score, sentence2, score"),
        ({"name": None}, "no data: give data.name"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PairSettings(**{"name": "embedded", **options})
