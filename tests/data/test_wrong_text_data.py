"""Texts and labels that cannot be read are refused, with their value and the cure."""

import gzip
import subprocess
import sys

import pytest
from datasets import ClassLabel, Dataset, Value

from hfseq.data import sources, text
from hfseq.data.text import DataSettings, load_text_dataset
from tests.data.test_text_data import TEXTS, table
from tests.rounds import for_each

GOOD = table()


@for_each(
    ("splits", "settings", "message"),
    [
        (
            {"train": GOOD},
            {"text_column": "txt"},
            "unknown data.text_column 'txt'; did you mean 'text'? Allowed",
        ),
        ({"train": GOOD}, {"label_column": "labels"}, "unknown data.label_column 'labels'; did you mean 'label'?"),
        ({"train": GOOD, "test": GOOD.select([])}, {}, "saved' holds a saved split without rows; save it without"),
        ({"unsupervised": GOOD}, {}, "no train split, only unsupervised; name one with '--data.splits={train: NAME}'"),
        ({"train": GOOD}, {"splits": {"train": "trian"}}, "data.splits: unknown split 'trian'; did you mean 'train'?"),
        ({"train": GOOD}, {"splits": {"test": "train"}}, "no train split, only train; name one with '--data.splits"),
        (
            {"train": table([1, 0], [5, 6], text=Value("int64"), label=Value("int64"))},
            {},
            "'text' holds int64, not",
        ),
        ({"train": table(["a", "b"], ["x", None])}, {}, "Split 'train', row 1: 'text' has no value"),
        ({"train": table([1, 0, None])}, {}, "Split 'train', row 2: 'label' has no value; fill in or remove"),
        ({"train": table(["a", ""])}, {}, "Split 'train' has an empty label"),
        ({"train": table([["a"], ["b", None]])}, {}, "Split 'train' has an empty label"),
        (
            {"train": table([1, 0]), "test": table([-1])},
            {},
            "Split 'test' has the label -1, the mark of rows",
        ),
        ({"train": table([0, 1]), "test": table([-2])}, {}, "has the labels [-2], but the 2 classes ['0', '1'] have"),
        (
            {"train": table([0, 5])},
            {"label_names": ["a", "b"]},
            "labels [5], but the 2 classes ['a', 'b'] have",
        ),
        (
            {"train": GOOD},
            {"label_names": ["neg", "poss"]},
            "unknown label 'pos'; did you mean 'poss'?",
        ),
        ({"train": table(["a", "a"])}, {}, "All labels of train are ['a']: a classifier needs two classes"),
        ({"train": table([0, 10**9])}, {}, "reach 1000000000 in 2 rows, which looks like a column of ids"),
        ({"train": GOOD, "test": table([1])}, {}, "mixed or unknown types (train: string, test: int64)"),
        ({"train": table([["a"], ["b"]]), "test": table(["a"])}, {}, "(train: lists of string, test: string)"),
        ({"train": table([[0.5], [1.0]])}, {}, "mixed or unknown types (train: lists of float64)"),
        ({"train": table([b"a", b"b"])}, {}, "mixed or unknown types (train: binary)"),
        ({"train": table([0.5, float("nan")])}, {}, "Split 'train', row 1: the label is not a finite number"),
        ({"train": table([0.5, 1.5])}, {"label_names": ["a", "b"]}, "holds floats, which are scores to predict"),
        (
            {"train": table([0, 1], label=ClassLabel(names=["a", "b"]))},
            {"label_names": ["a", "b", "c"]},
            "data.label_names=['a', 'b', 'c'] must rename the classes of the data, ['a', 'b']",
        ),
        (
            {
                "train": table([0, 1], label=ClassLabel(names=["a", "b"])),
                "test": table([0, 1], label=ClassLabel(names=["b", "a"])),
            },
            {},
            "The splits name their classes differently: [['a', 'b'], ['b', 'a']]",
        ),
    ],
)
def test_wrong_rows_are_answered_with_their_value_and_the_cure(load, splits, settings, message):
    with pytest.raises(ValueError) as error:
        load(splits, **settings)
    assert message in str(error.value)


def test_a_split_without_rows_is_refused(monkeypatch):
    monkeypatch.setitem(sources.GENERATED, "embedded", lambda seed: {"train": GOOD, "test": GOOD.select([])})
    with pytest.raises(ValueError, match="Split 'test' is empty; give rows, or choose other splits with data.splits"):
        load_text_dataset(DataSettings(name="embedded"))


def test_rows_without_labels_can_be_left_out(load):
    splits = {"train": table([1, 0]), "validation": table([1, 0]), "test": table([-1, -1])}
    task = load(splits, splits={"train": "train", "validation": "validation"})
    assert list(task.dataset) == ["train", "validation"]


@for_each(
    ("files", "message"),
    [
        ({"train.doc": "a"}, "no train file (train.parquet train.csv train.tsv train.json train.jsonl train.txt)"),
        ({"train.doc": "a"}, "and no saved dataset; it holds train.doc."),
        ({}, "it holds nothing."),
        ({"train.csv": ""}, "train.csv cannot be read as csv; is it empty or torn? No columns to parse"),
        ({"train.csv": "text,label\n"}, "train.csv cannot be read as csv; is it empty or torn?"),
        (
            {"train.csv": "text,label\na,b\nc,d,e\n"},
            "cannot be read as csv; is it empty or torn? Error",
        ),
        (
            {"train.csv": "text,label\na,b,c\n"},
            "rows have more cells than the header; quote texts",
        ),
        ({"train.parquet": "PAR1"}, "train.parquet cannot be read as parquet"),
        ({"train.jsonl": '{"text": "a", "la'}, "train.jsonl cannot be read as json"),
        (
            {"train.jsonl": '{"text": "a", "label": 1}\n{"text": "b", "label": "x"}\n'},
            "mixed or unknown types",
        ),
        ({"train.jsonl": ""}, "train.jsonl cannot be read as json; is it empty or torn? It holds no row."),
        ({"train.jsonl": b'{"text": "a", "label": "caf\xe9"}'}, "train.jsonl is not UTF-8 (line 1, byte 27: 0xe9)"),
        ({"train.csv": b"text,label\na,b\ncaf\xe9,c\n"}, "train.csv is not UTF-8 (line 3, byte 18: 0xe9)"),
        (
            {"train.csv": gzip.compress(b"text,label\na,b\n", mtime=0)},
            "train.csv is packed by gzip; let its name end in .gz",
        ),
        ({"train.csv": b"PK\x03\x04"}, "train.csv is a zip archive; unpack it"),
        (
            {"train.jsonl": '{"text": "a", "label": 1}\n' + '{"a":' * 9999},
            "train.jsonl, line 2: lists and objects are",
        ),
        (
            {"train.json": '[{"text": "a", "label":\n' + "[\n" * 99 + "{"},
            "train.json, line 100: lists and objects are",
        ),
        ({"train.csv": "a", "train.json": "b"}, "One split has files of several types: "),
    ],
)
def test_wrong_files_are_answered_with_their_name_and_the_cure(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError) as error:
        load_text_dataset(DataSettings(path=str(tmp_path)))
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value) or "mixed" in message


@pytest.mark.slow
def test_json_of_the_deepest_kind_is_read_and_what_crashes_the_parser_is_not(tmp_path):
    """In a process of its own: of a hundred thousand objects in each other the parser of Arrow dies."""
    script = """
import sys
from hfseq.data.text import DataSettings, load_text_dataset
for path in sys.argv[1:]:
    try:
        print(load_text_dataset(DataSettings(path=path)).classes.names)
    except ValueError as error:
        print(error)
"""
    row = '{"text": "a [[[ \\\\\\" {{{", "label": "%s", "more": %s}\n'
    paths, deep = [], {depth: '{"a":' * depth + "1" + "}" * depth for depth in (40, 100_000)}
    for depth, labels in ((40, "xy" * 10), (100_000, "x")):
        paths.append(tmp_path / str(depth) / "train.jsonl")
        paths[-1].parent.mkdir()
        paths[-1].write_text("".join(row % (label, deep[depth]) for label in labels))
    found = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True)
    refused = f"{paths[1]}, line 1: lists and objects are nested deeper than 100"
    told = found.stdout.splitlines()
    assert found.returncode == 0 and told[0] == "['x', 'y']", found.stdout + found.stderr[-2000:]
    assert refused in told[1]


@pytest.mark.parametrize(
    ("text", "peak"),
    [
        ("{}", 1),
        ('{"a": [[1], [2]]}', 3),
        ('{"a": "[[[[["}', 1),
        (r'{"a": "\"[[[[["}', 1),
        (r'{"a": "\\", "b": [[]]}', 3),
        ('"never closed [[[', 3),
    ],
)
def test_brackets_in_texts_do_not_nest(text, peak, tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text(text)
    monkeypatch.setattr(sources, "_DEEPEST", peak)
    sources._check_json(tmp_path / "x.json")
    monkeypatch.setattr(sources, "_DEEPEST", peak - 1)
    with pytest.raises(ValueError, match=f"x.json, line 1: lists and objects are nested deeper than {peak - 1}"):
        sources._check_json(tmp_path / "x.json")


@pytest.mark.parametrize("odd", ["nan", "NA", "n/a", "none", "oops"])
def test_a_word_among_scores_is_no_class(tmp_path, odd):
    scores = "".join(f"text {number},{number / 7}\n" for number in range(20))
    path = tmp_path / "train.csv"
    path.write_text(f"text,label\n{scores}bad,{odd}\n{scores}")
    with pytest.raises(ValueError) as error:
        load_text_dataset(DataSettings(path=str(path)))
    assert f"Split 'train', row 20: the label is {odd!r} among numbers such as 0.0. If 'label'" in str(error.value)
    assert "if it holds classes, name them in data.label_names" in str(error.value)


@pytest.mark.parametrize(("labels", "refused"), [("1 2 nan", True), ("1 2 many", False), ("1.5 few many", False)])
def test_numbers_among_words_are_names_of_classes(load, labels, refused):
    tables = {"train": table(labels.split() * 4, [f"text {number}" for number in range(12)])}
    if refused:
        with pytest.raises(ValueError, match="row 2: the label is 'nan' among numbers such as 1"):
            load(tables)
    else:
        assert load(tables).classes.names == sorted(labels.split())
    assert load(tables, label_names=labels.split()).classes.names == labels.split()


@pytest.mark.parametrize("in_lists", [False, True])
def test_labels_that_are_seen_once_are_no_classes(load, in_lists):
    labels = [f"label {number}" for number in range(1200)]
    tables = {"train": table([[label] for label in labels] if in_lists else labels, TEXTS * 60)}
    with pytest.raises(ValueError, match="The 1200 labels of train are of 1200 kinds, which looks like .* ids"):
        load(tables)
    if not in_lists:
        assert load(tables, label_names=labels).classes.names == labels


def test_many_classes_are_cast_in_few_batches(load, monkeypatch):
    sizes = []
    cast = Dataset.cast
    monkeypatch.setattr(
        Dataset, "cast", lambda self, *args, **kwargs: sizes.append(kwargs) or cast(self, *args, **kwargs)
    )
    labels = [f"label {number}" for number in range(1500)] * 2
    load({"train": table(labels, TEXTS * 150)})
    assert {"batch_size": 1500} in sizes


def test_a_table_of_rows_by_labels_that_is_too_large_is_refused(load, monkeypatch):
    monkeypatch.setattr(text, "_CELLS", 39)
    with pytest.raises(ValueError, match="20 rows of 2 possible labels are a table of 40 numbers, more than 39: keep"):
        load({"train": table([["a"], ["b"]] * 10)})


def test_an_unknown_file_type_and_a_missing_path_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.xlsx").write_bytes(b"x")
    with pytest.raises(ValueError, match="rows.xlsx: unknown file type '.xlsx'.* Allowed: .parquet, .csv, .tsv"):
        load_text_dataset(DataSettings(path="rows.xlsx"))
    with pytest.raises(FileNotFoundError, match="data.path='nowhere' does not exist .looked from "):
        load_text_dataset(DataSettings(path="nowhere"))
    with pytest.raises(ValueError, match="is also a local path; write --data.path=rows.xlsx"):
        load_text_dataset(DataSettings(name="rows.xlsx"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no data: give data.name"),
        ({"name": "embedded", "validation_fraction": 1.0}, "validation_fraction=1.0 must lie between 0 and 1"),
        ({"name": "embedded", "max_rows": 0}, "max_rows=0 must be at least 1; null keeps every row"),
        (
            {"name": "embedded", "text_column": "label", "label_column": "label"},
            "text_column and label_column are both 'label'",
        ),
        ({"name": "embedded", "label_names": ["a", "a"]}, "holds a name twice"),
        ({"name": "embedded", "splits": {"dev": "x"}}, "splits: unknown split 'dev'"),
    ],
)
def test_wrong_settings_are_refused_when_they_are_made(settings, message):
    with pytest.raises(ValueError, match=message):
        DataSettings(**settings)
