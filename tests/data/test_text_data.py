"""Loading texts with labels: every source, every kind of label, and the answer to each mistake."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hfseq.data.sources import SplitSettings, load_splits
from hfseq.data.text import Cut, DataSettings, load_text_dataset, tokenize_dataset
from hfseq.tokenization import train_tokenizer
from tests.rounds import for_each

TEXTS = [f"{mood} film {number}" for number in range(10) for mood in ("good", "bad")]
LABELS = ["pos", "neg"] * 10


def table(labels=LABELS, texts=TEXTS, **features) -> Dataset:
    """A split with those labels; `text` repeats as needed."""
    columns = {"text": texts[: len(labels)], "label": labels}
    return Dataset.from_dict(columns, Features({"text": Value("string"), **features}) if features else None)


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


@for_each("suffix", [".parquet", ".csv", ".tsv", ".json", ".jsonl"])
@for_each("second", ["validation", "valid", "dev", "val"])
def test_a_folder_of_files_is_read_whatever_their_format(tmp_path, suffix, second):
    for name, rows in (("train", 8), (second, 6), ("test", 4)):
        write(table(LABELS[:rows]), tmp_path / f"{name}{suffix}")
    task = load_text_dataset(DataSettings(path=str(tmp_path)))
    assert {split: rows.num_rows for split, rows in task.dataset.items()} == {"train": 8, "validation": 6, "test": 4}
    assert task.dataset["test"]["text"][:] == TEXTS[:4]
    assert task.dataset["test"]["labels"][:] == [1, 0, 1, 0]
    assert task.classes.names == ["neg", "pos"]
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
    assert load_text_dataset(settings).classes.names == ["new", "old"]


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
    assert len(task.classes.names) > 2


def test_a_local_path_is_read_in_place_of_the_named_dataset(tmp_path):
    settings = DataSettings(name="user/elsewhere", path=write(table(), tmp_path / "train.csv"))
    assert load_text_dataset(settings).classes.names == ["neg", "pos"]


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
    assert len(task.classes.names) == 7
    assert task.dataset["train"].column_names == ["text", "labels"]


@for_each(
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
    assert task.classes.names == names
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
    assert task.classes.names == names
    assert task.dataset["validation"].features["labels"] == List(Value("float32"))
    assert task.dataset["validation"]["labels"][:] == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_float_labels_are_scores(load):
    task = load(dict.fromkeys(("train", "validation"), table([0.5, 4.0])))
    assert task.problem_type == "regression"
    assert task.classes.names == ["label"]
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
    assert task.classes.names == ["neg", "pos"]
    assert load(splits, max_rows=3).dataset["train"][:] == task.dataset["train"][:]
    assert load(splits, max_rows=3, seed=5).dataset["train"][:] != task.dataset["train"][:]
    assert load(splits, max_rows=1000).dataset["train"].num_rows == 20


def test_a_declared_class_that_train_lacks_is_a_warning(load, caplog):
    task = load({"train": table(), "test": table(["odd"])}, label_names=["neg", "odd", "pos"])
    assert task.dataset["test"]["labels"][:] == [1]
    assert "Labels 'odd' (1) of split 'test' never occur in train" in caplog.text


def test_tokenizing_keeps_labels_and_drops_texts(tokenizer):
    rows = Dataset.from_dict({"text": ["good film", "", "bad bad bad film"], "labels": [1, 0, 0]})
    tokenized = tokenize_dataset(rows, tokenizer, max_length=3)
    counted = {"length": [3, 1, 3], "cut": [0, 0, 2]}
    assert tokenized[:] == {"labels": [1, 0, 0], "input_ids": [[3, 5, 2], [2], [4, 4, 2]], **counted}
    assert Cut.of(tokenized) == (1 / 3, 2 / 9)
    whole = tokenize_dataset(rows, tokenizer)
    assert whole["length"][:] == [3, 1, 5]
    assert Cut.of(whole) == (0, 0)


def test_bytes_that_are_cut_are_counted():
    rows = Dataset.from_dict({"text": ["good film", "", "bad"], "labels": [1, 0, 0]})
    tokenized = tokenize_dataset(rows, train_tokenizer(["a"], "byte"), max_length=4)
    assert (tokenized["length"][:], tokenized["cut"][:]) == ([4, 0, 3], [5, 0, 0])
    assert Cut.of(tokenized) == (1 / 3, 5 / 12)


def test_a_second_run_reads_the_first_ones_cache(tmp_path, tokenizer):
    rows = load_text_dataset(DataSettings(path=write(table(), tmp_path / "train.csv"))).dataset["train"]
    first = tokenize_dataset(rows, tokenizer, max_length=3)
    tokenize_dataset(rows, tokenizer, max_length=2)
    second = tokenize_dataset(rows, tokenizer, max_length=3)
    assert second.cache_files == first.cache_files
    assert first.cache_files


def test_a_bare_quote_in_tsv_glues_no_rows(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text('text\tlabel\n"bare\ta\nplain\tb\nends"\ta\n')
    rows = load_splits(SplitSettings(path=str(tmp_path)))["train"]
    assert rows["text"][:] == ['"bare', "plain", 'ends"']
