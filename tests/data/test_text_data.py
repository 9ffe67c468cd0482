"""Loading texts with labels: every source, every kind of label, and the answer to each mistake."""

import dataclasses
import gzip
import json
import subprocess
import sys

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hfseq.data import sources, text
from hfseq.data.text import DataSettings, load_text_dataset, tokenize_dataset

TEXTS = [f"{mood} film {number}" for number in range(10) for mood in ("good", "bad")]
LABELS = ["pos", "neg"] * 10


def table(labels=LABELS, texts=TEXTS, **features) -> Dataset:
    """A split with those labels; `text` repeats as needed."""
    columns = {"text": texts[: len(labels)], "label": labels}
    return Dataset.from_dict(columns, Features({"text": Value("string"), **features}) if features else None)


@pytest.fixture
def load(tmp_path):
    """Saves splits, and loads them with some settings."""

    def load(tables, /, **settings):
        DatasetDict(tables).save_to_disk(str(tmp_path / "saved"))
        return load_text_dataset(DataSettings(path=str(tmp_path / "saved"), **settings))

    return load


@pytest.fixture
def tokenizer():
    words = ["<pad>", "<unk>", "</s>", "good", "bad", "film"]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")


def write(rows: Dataset, path) -> str:
    """Writes a split in the format that the suffix names."""
    writers = {
        ".parquet": rows.to_parquet,
        ".csv": rows.to_csv,
        ".tsv": lambda file: rows.to_csv(file, sep="\t"),
        ".jsonl": rows.to_json,
        ".json": lambda file: path.write_text(json.dumps(rows.to_list()), encoding="utf-8"),
    }
    writers[path.suffix](str(path))
    return str(path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".json", ".jsonl"])
@pytest.mark.parametrize("second", ["validation", "valid", "dev", "val"])
def test_a_folder_of_files_is_read_whatever_their_format(tmp_path, suffix, second):
    for name, rows in (("train", 8), (second, 6), ("test", 4)):
        write(table(LABELS[:rows]), tmp_path / f"{name}{suffix}")
    task = load_text_dataset(DataSettings(path=str(tmp_path)))
    assert {split: rows.num_rows for split, rows in task.dataset.items()} == {"train": 8, "validation": 6, "test": 4}
    assert task.dataset["test"]["text"][:] == TEXTS[:4]
    assert task.dataset["test"]["labels"][:] == [1, 0, 1, 0]
    assert task.label_names == ["neg", "pos"]
    assert task.problem_type == "single_label_classification"


def test_a_single_file_is_train_and_a_validation_split_is_cut_from_it(tmp_path):
    settings = DataSettings(path=write(table(), tmp_path / "all.csv"), validation_fraction=0.25)
    task = load_text_dataset(settings)
    assert {split: rows.num_rows for split, rows in task.dataset.items()} == {"train": 15, "validation": 5}
    assert sorted([*task.dataset["train"]["text"], *task.dataset["validation"]["text"]]) == sorted(TEXTS)
    assert load_text_dataset(settings).dataset["validation"][:] == task.dataset["validation"][:]
    other = load_text_dataset(dataclasses.replace(settings, seed=1))
    assert other.dataset["validation"][:] != task.dataset["validation"][:]


def test_files_can_be_named_one_by_one(tmp_path):
    files = {"train": write(table(), tmp_path / "a.csv"), "test": write(table(["neg"]), tmp_path / "b.jsonl")}
    task = load_text_dataset(DataSettings(path=files))
    assert task.dataset["test"]["labels"][:] == [0]


def test_a_clone_of_a_hub_dataset_is_read_with_its_numbered_parts(tmp_path):
    (tmp_path / "data").mkdir()
    write(table(), tmp_path / "data" / "train-00000-of-00002.parquet")
    write(table(["pos"], ["last"]), tmp_path / "data" / "train-00001-of-00002.parquet")
    (tmp_path / "README.md").write_text("# About", encoding="utf-8")
    task = load_text_dataset(DataSettings(path=str(tmp_path)))
    assert task.dataset["train"].num_rows + task.dataset["validation"].num_rows == 21


def test_saved_datasets_are_read_with_and_without_splits(tmp_path, load):
    assert load({"train": table(), "test": table()}).dataset["test"].num_rows == 20
    table().save_to_disk(str(tmp_path / "rows"))
    task = load_text_dataset(DataSettings(path=str(tmp_path / "rows")))
    assert task.dataset["train"].num_rows == 18


def test_a_changed_file_is_read_anew(tmp_path):
    settings = DataSettings(path=write(table(), tmp_path / "train.csv"))
    load_text_dataset(settings)
    write(table(["new", "old"]), tmp_path / "train.csv")
    assert load_text_dataset(settings).label_names == ["new", "old"]


def test_words_that_pandas_takes_for_missing_stay_texts(tmp_path):
    (tmp_path / "train.csv").write_text('text,label\nNA,0\nnull,1\n"",0\n"a, ""b""",1\n', encoding="utf-8")
    (tmp_path / "test.tsv").write_text("text\tlabel\nnan\t0\n", encoding="utf-8")
    task = load_text_dataset(DataSettings(path=str(tmp_path), validation_fraction=0.25))
    rows = [*task.dataset["train"], *task.dataset["validation"]]
    assert sorted(row["text"] for row in rows) == ["", "NA", 'a, "b"', "null"]
    assert task.dataset["test"]["text"][:] == ["nan"]


def test_embedded_data_need_nothing_but_their_name():
    task = load_text_dataset(DataSettings(name="embedded", max_rows=20))
    assert all(rows.num_rows == 20 for rows in task.dataset.values())
    assert list(task.dataset) == ["train", "validation", "test"]
    assert len(task.label_names) > 2


def test_a_local_path_is_read_in_place_of_the_named_dataset(tmp_path):
    settings = DataSettings(name="user/elsewhere", path=write(table(), tmp_path / "train.csv"))
    assert load_text_dataset(settings).label_names == ["neg", "pos"]


def test_a_dataset_is_loaded_from_the_hub_and_then_from_the_cache(hub, repo_id, monkeypatch):
    features = {"label": ClassLabel(names=["neg", "pos"])}
    DatasetDict(train=table(**features), test=table(**features)).push_to_hub(repo_id, config_name="films")
    settings = DataSettings(name=repo_id, config="films", revision="main")
    task = load_text_dataset(settings)
    assert task.dataset["train"].num_rows == 18
    assert task.dataset["test"]["text"][:] == TEXTS
    with pytest.raises(ValueError, match=f"data.name='{repo_id}', data.config='songs'.*films"):
        load_text_dataset(dataclasses.replace(settings, config="songs"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    hub.log.clear()
    assert load_text_dataset(settings).dataset["test"].num_rows == 20
    assert not hub.log


def test_a_dataset_that_the_hub_does_not_have_is_named(hub):
    with pytest.raises(FileNotFoundError, match="data.name='user/nothing' is neither `embedded` nor .*--data.path"):
        load_text_dataset(DataSettings(name="user/nothing"))


def test_no_network_is_answered_at_once_with_the_local_ways(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="Hub cannot be reached. Give a local copy with --data.path") as error:
        load_text_dataset(DataSettings(name="user/never_seen"))
    assert isinstance(error.value.__cause__, ConnectionError)


@pytest.mark.data
def test_an_exported_public_dataset_is_loaded_by_path(tmp_path, data_folder):
    command = [sys.executable, str(data_folder / "load.py"), "--export", str(tmp_path), "snips"]
    subprocess.run(command, check=True)
    task = load_text_dataset(DataSettings(path=str(tmp_path / "snips")))
    sizes = {split: rows.num_rows for split, rows in task.dataset.items()}
    assert sizes == {"train": 13084, "validation": 700, "test": 700}
    assert len(task.label_names) == 7
    assert task.dataset["train"].column_names == ["text", "labels"]


@pytest.mark.parametrize(
    ("labels", "feature", "settings", "names", "ids"),
    [
        (["b", "a", "10", "9"], Value("string"), {}, ["10", "9", "a", "b"], [3, 2, 0, 1]),
        (["b", "a", "a", "b"], Value("large_string"), {}, ["a", "b"], [1, 0, 0, 1]),
        (["b", "a", "a", "b"], Value("string"), {"label_names": ["b", "c", "a"]}, ["b", "c", "a"], [0, 2, 2, 0]),
        ([2, 0, 1, 0], Value("int32"), {}, ["0", "1", "2"], [2, 0, 1, 0]),
        ([2, 0, 1, 0], Value("uint8"), {"label_names": ["x", "y", "z"]}, ["x", "y", "z"], [2, 0, 1, 0]),
        ([True, False, True, False], Value("bool"), {}, ["false", "true"], [1, 0, 1, 0]),
        ([1, 0, 1, 0], ClassLabel(names=["no", "yes"]), {}, ["no", "yes"], [1, 0, 1, 0]),
        ([1, 0, 1, 0], ClassLabel(names=["no", "yes"]), {"label_names": ["-", "+"]}, ["-", "+"], [1, 0, 1, 0]),
    ],
)
def test_single_labels_become_class_labels(load, labels, feature, settings, names, ids):
    task = load(dict.fromkeys(("train", "validation", "test"), table(labels, label=feature)), **settings)
    assert task.problem_type == "single_label_classification"
    assert task.label_names == names
    for rows in task.dataset.values():
        assert rows.features["labels"] == ClassLabel(names=names)
        assert rows["labels"][:] == ids


@pytest.mark.parametrize(
    ("labels", "feature", "names"),
    [
        ([["b", "a"], [], ["c"], ["a"]], Value("string"), ["a", "b", "c"]),
        ([[1, 0], [], [2], [0]], Value("int64"), ["0", "1", "2"]),
        ([[1, 0], [], [2], [0]], ClassLabel(names=["x", "y", "z"]), ["x", "y", "z"]),
    ],
)
def test_lists_of_labels_become_multi_hot_floats(load, labels, feature, names):
    task = load(dict.fromkeys(("train", "validation"), table(labels, label=List(feature))))
    assert task.problem_type == "multi_label_classification"
    assert task.label_names == names
    assert task.dataset["validation"].features["labels"] == List(Value("float32"))
    assert task.dataset["validation"]["labels"][:] == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_float_labels_are_scores(load):
    task = load(dict.fromkeys(("train", "validation"), table([0.5, 4.0])))
    assert task.problem_type == "regression"
    assert task.label_names == ["label"]
    assert task.dataset["train"].features["labels"] == Value("float32")
    assert task.dataset["train"]["labels"][:] == [0.5, 4.0]


def test_columns_and_splits_go_by_the_names_given(load):
    rows = table().rename_columns({"text": "labels", "label": "text"}).add_column("id", list(range(20)))
    splits = {"train": "validation", "validation": "other"}
    task = load({"validation": rows, "other": rows}, text_column="labels", label_column="text", splits=splits)
    assert task.dataset["train"].column_names == ["text", "labels"]
    assert task.dataset["train"]["text"][:] == TEXTS
    assert list(task.dataset) == ["train", "validation"]


def test_max_rows_draws_the_same_rows_each_time_and_keeps_all_classes(load):
    splits = dict.fromkeys(("train", "validation"), table(sorted(LABELS)))
    task = load(splits, max_rows=3)
    assert task.dataset["train"].num_rows == 3
    assert task.label_names == ["neg", "pos"]
    assert load(splits, max_rows=3).dataset["train"][:] == task.dataset["train"][:]
    assert load(splits, max_rows=3, seed=5).dataset["train"][:] != task.dataset["train"][:]
    assert load(splits, max_rows=1000).dataset["train"].num_rows == 20


def test_a_declared_class_that_train_lacks_is_a_warning(load, caplog):
    task = load({"train": table(), "test": table(["odd"])}, label_names=["neg", "odd", "pos"])
    assert task.dataset["test"]["labels"][:] == [1]
    assert "Labels ['odd'] of split 'test' never occur in train" in caplog.text


GOOD = table()


@pytest.mark.parametrize(
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
        ({"train": GOOD, "test": table(["ps"])}, {}, "has the labels ['ps'], which train never shows"),
        ({"train": GOOD, "test": table(["ps"])}, {}, "declare all classes with data.label_names"),
        ({"train": table([0, 1]), "test": table([2])}, {}, "has the labels [2], which train never shows"),
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
    monkeypatch.setattr("hfseq.data.sources.load_embedded", lambda seed: {"train": GOOD, "test": GOOD.select([])})
    with pytest.raises(ValueError, match="Split 'test' is empty; give rows, or choose other splits with data.splits"):
        load_text_dataset(DataSettings(name="embedded"))


def test_rows_without_labels_can_be_left_out(load):
    splits = {"train": table([1, 0]), "validation": table([1, 0]), "test": table([-1, -1])}
    task = load(splits, splits={"train": "train", "validation": "validation"})
    assert list(task.dataset) == ["train", "validation"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train.txt": "a"}, "holds no train file (train.parquet train.csv train.tsv train.json train.jsonl)"),
        ({"train.txt": "a"}, "and no saved dataset; it holds train.txt."),
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


def test_json_of_the_deepest_kind_is_read_and_what_crashes_the_parser_is_not(tmp_path):
    """In a process of its own: of a hundred thousand objects in each other the parser of Arrow dies."""
    script = """
import sys
from hfseq.data.text import DataSettings, load_text_dataset
try:
    print(load_text_dataset(DataSettings(path=sys.argv[1])).label_names)
except ValueError as error:
    print(error)
"""
    path = tmp_path / "train.jsonl"
    row = '{"text": "a [[[ \\\\\\" {{{", "label": "%s", "more": %s}\n'
    refused = f"{path}, line 1: lists and objects are nested deeper than 100"
    for depth, message in ((40, "['x', 'y']"), (100_000, refused)):
        deep = '{"a":' * depth + "1" + "}" * depth
        path.write_text("".join(row % (label, deep) for label in "xy" * 10) if depth < 100 else row % ("x", deep))
        found = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
        assert (found.returncode, message in found.stdout) == (0, True), found.stdout + found.stderr[-2000:]


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
        assert load(tables).label_names == sorted(labels.split())
    assert load(tables, label_names=labels.split()).label_names == labels.split()


@pytest.mark.parametrize("in_lists", [False, True])
def test_labels_that_are_seen_once_are_no_classes(load, in_lists):
    labels = [f"label {number}" for number in range(1200)]
    tables = {"train": table([[label] for label in labels] if in_lists else labels, TEXTS * 60)}
    with pytest.raises(ValueError, match="The 1200 labels of train are of 1200 kinds, which looks like .* ids"):
        load(tables)
    if not in_lists:
        assert load(tables, label_names=labels).label_names == labels


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
        ({"name": "embedded", "text_column": "label"}, "text_column and label_column are both 'label'"),
        ({"name": "embedded", "label_names": ["a", "a"]}, "holds a name twice"),
        ({"name": "embedded", "splits": {"dev": "x"}}, "splits: unknown split 'dev'"),
    ],
)
def test_wrong_settings_are_refused_when_they_are_made(settings, message):
    with pytest.raises(ValueError, match=message):
        DataSettings(**settings)


def test_tokenizing_keeps_labels_and_drops_texts(tokenizer):
    rows = Dataset.from_dict({"text": ["good film", "", "bad bad bad film"], "labels": [1, 0, 0]})
    tokenized = tokenize_dataset(rows, tokenizer, max_length=3)
    assert tokenized[:] == {"labels": [1, 0, 0], "input_ids": [[3, 5, 2], [2], [4, 4, 2]], "length": [3, 1, 3]}
    assert tokenize_dataset(rows, tokenizer)["length"][:] == [3, 1, 5]


def test_a_second_run_reads_the_first_ones_cache(tmp_path, tokenizer):
    rows = load_text_dataset(DataSettings(path=write(table(), tmp_path / "train.csv"))).dataset["train"]
    first = tokenize_dataset(rows, tokenizer, max_length=3)
    tokenize_dataset(rows, tokenizer, max_length=2)
    second = tokenize_dataset(rows, tokenizer, max_length=3)
    assert second.cache_files == first.cache_files
    assert first.cache_files
