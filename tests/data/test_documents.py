"""Texts for language models: documents of files and tables, the splits that are cut off, and their tokens."""

import gzip
import re
from dataclasses import dataclass

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from hfseq.data.documents import DocumentSettings, condition_token, conditions, load_documents, pieces, token_ids
from hfseq.data.sources import is_plain_text
from hfseq.models import packed_files
from hfseq.settings import read_settings
from hfseq.tokenization import LANGUAGE_MODEL_KINDS, train_tokenizer

TEXT = "".join(chr(ord("a") + index % 26) for index in range(1000))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def texts(dataset):
    return {name: rows["text"][:] for name, rows in dataset.items()}


def test_a_whole_text_is_cut_at_its_end(tmp_path):
    path = write(tmp_path / "text.txt", TEXT)
    found = load_documents(DocumentSettings(path=path, documents="whole"))
    assert texts(found) == {"train": [TEXT[:900]], "validation": [TEXT[900:]]}
    settings = DocumentSettings(path=path, documents="whole", validation_fraction=0.2, test_fraction=0.05)
    found = load_documents(settings)
    assert texts(found) == {"train": [TEXT[:750]], "validation": [TEXT[750:950]], "test": [TEXT[950:]]}
    assert list(found) == ["train", "validation", "test"]


def test_the_cut_is_nanogpts():
    # len(data) = 1115394; data[: int(n * 0.9)] and the rest
    settings = DocumentSettings(path="unused", documents="whole")
    from hfseq.data.documents import _with_cut_off

    found = _with_cut_off({"train": Dataset.from_dict({"text": ["x" * 1115394]})}, settings)
    assert [len(rows[0]["text"]) for rows in found.values()] == [1003854, 111540]


def test_documents_that_are_cut_off_are_drawn_by_the_seed(tmp_path):
    lines = [f"line {index}" for index in range(40)]
    path = write(tmp_path / "lines.txt", "\n".join(lines) + "\n")
    found, again, other = (
        texts(load_documents(DocumentSettings(path=path, documents="lines", validation_fraction=0.25, seed=seed)))
        for seed in (0, 0, 1)
    )
    assert found == again != other
    assert (len(found["train"]), len(found["validation"])) == (30, 10)
    assert sorted(found["train"] + found["validation"]) == sorted(lines)
    assert found["validation"] != lines[30:]


def test_empty_lines_are_documents_and_the_last_line_break_makes_none(tmp_path):
    paths = {name: write(tmp_path / f"{name}.tokens", "a b\n\nc\n") for name in ("train", "validation")}
    found = load_documents(DocumentSettings(path=paths, documents="lines"))
    assert texts(found) == {"train": ["a b", "", "c"], "validation": ["a b", "", "c"]}


def test_a_folder_of_texts_is_plain_text_and_tables_are_not(tmp_path):
    (tmp_path / "both").mkdir()
    for name in ("train.txt", "valid.txt", "test.txt", "both/train.txt"):
        write(tmp_path / name, TEXT)
    write(tmp_path / "both" / "train.csv", "text\na\n")
    found = load_documents(DocumentSettings(path=str(tmp_path), documents="whole"))
    assert texts(found) == {"train": [TEXT], "validation": [TEXT], "test": [TEXT]}
    told = {
        str(tmp_path): True,
        str(tmp_path / "train.txt"): True,
        "my.txt.gz": True,
        "wiki.train.tokens": True,
        str(tmp_path / "both"): False,
        "my.csv": False,
        "my.CSV": False,
        "my.csv.gz": False,
        "my.jsonl.XZ": False,
    }
    assert {path: is_plain_text(path) for path in told} == told
    assert is_plain_text({"train": "a.txt", "test": "b.txt"}) and not is_plain_text({"train": "a.csv"})


@pytest.mark.parametrize("documents", ["rows", "lines", "whole"])
def test_a_packed_table_is_no_text_and_capitals_change_no_format(tmp_path, documents):
    with gzip.open(tmp_path / "my.csv.gz", "wb") as file:
        file.write(b"text,label\na,x\n")
    cure = rf"my\.csv\.gz is a packed table: unpack it, and give {re.escape(str(tmp_path))}/my\.csv\."
    with pytest.raises(ValueError, match=cure):
        load_documents(DocumentSettings(path=str(tmp_path / "my.csv.gz"), documents=documents))
    path = write(tmp_path / "train.CSV", "text,label\na,x\nb,y\n")
    both = {"train": path, "validation": path}
    expected = ["a\nb"] if documents == "whole" else ["a", "b"]
    assert texts(load_documents(DocumentSettings(path=both, documents=documents)))["train"] == expected
    assert not is_plain_text(str(tmp_path))


def test_packed_text_and_foreign_line_breaks_are_read(tmp_path):
    with gzip.open(tmp_path / "text.txt.gz", "wb") as file:
        file.write("é\r\nb\r\n".encode() * 50)
    found = load_documents(DocumentSettings(path=str(tmp_path / "text.txt.gz"), documents="whole"))
    assert "".join(text for (text,) in texts(found).values()) == "é\nb\n" * 50


def test_rows_of_a_table_are_documents_or_lines_or_one_whole(tmp_path):
    table = str(tmp_path / "t.csv")
    Dataset.from_dict({"text": ["a\nb", "c"], "other": [1, 2]}).to_csv(table)
    both = {"train": table, "validation": table}
    for documents, expected in (("rows", ["a\nb", "c"]), ("lines", ["a", "b", "c"]), ("whole", ["a\nb\nc"])):
        assert texts(load_documents(DocumentSettings(path=both, documents=documents)))["train"] == expected


def test_splits_may_be_named_and_those_that_are_there_are_kept(tmp_path):
    rows = Dataset.from_dict({"text": ["a", "b"]})
    DatasetDict({"train": rows, "dev": rows, "final": rows}).save_to_disk(tmp_path / "saved")
    folder = str(tmp_path / "saved")
    assert list(load_documents(DocumentSettings(path=folder))) == ["train", "validation"]
    chosen = DocumentSettings(path=folder, splits={"train": "train", "validation": "dev", "test": "final"})
    assert list(load_documents(chosen)) == ["train", "validation", "test"]


def test_the_embedded_texts_have_three_splits_and_their_intents():
    found = load_documents(DocumentSettings(name="embedded", condition_column="label"))
    assert {name: rows.num_rows for name, rows in found.items()} == {"train": 6000, "validation": 810, "test": 1200}
    assert "get_weather" in conditions(found)
    assert conditions(load_documents(DocumentSettings(name="embedded"))) == []


def test_a_split_can_be_limited_to_its_first_characters(tmp_path):
    path = write(tmp_path / "text.txt", TEXT)
    whole = load_documents(DocumentSettings(path=path, documents="whole", max_characters=30))
    assert texts(whole) == {"train": [TEXT[:30]], "validation": [TEXT[271:301]]}  # the tenth of the 302 that are read
    rows = load_documents(DocumentSettings(name="embedded", max_characters=500))
    for name, every in texts(load_documents(DocumentSettings(name="embedded"))).items():
        kept = rows[name]["text"][:]
        assert kept == every[: len(kept)]
        assert sum(map(len, kept)) <= 500 < sum(map(len, every[: len(kept) + 1]))


@pytest.mark.parametrize("documents", ["whole", "lines"])
def test_of_a_text_file_that_is_limited_the_beginning_alone_is_unpacked(tmp_path, documents):
    lines = "".join(f"line {index}\n" for index in range(40_000))
    whole = gzip.compress(lines.encode())
    (tmp_path / "text.txt.gz").write_bytes(whole[: len(whole) // 2])  # the end is never seen
    options = {"documents": documents, "max_characters": 100, "test_fraction": 0.05}
    found = texts(load_documents(DocumentSettings(path=str(tmp_path / "text.txt.gz"), **options)))
    for name in ("train", "validation", "test"):
        assert 0 < sum(map(len, found[name])) <= 100
        assert all(part in lines[:2100] for part in found[name])
    if documents == "whole":
        assert [len(part) for (part,) in found.values()] == [100, 100, 100]
    else:
        assert all(f"{line}\n" in lines for part in found.values() for line in part)
    with pytest.raises(ValueError, match="is torn"):
        load_documents(DocumentSettings(path=str(tmp_path / "text.txt.gz"), documents=documents))


def test_a_packed_text_is_not_unpacked_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(packed_files, "UNPACKED", 1 << 16)
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(bytes(2_000_000)))
    with pytest.raises(ValueError, match=r"text\.txt\.gz unpacks to more than 100 times its size: \d+ bytes from"):
        load_documents(DocumentSettings(path=str(tmp_path / "text.txt.gz"), documents="whole"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give data.name .* or data.path"),
        ({"name": "embedded", "validation_fraction": 0.0}, "validation_fraction=0.0"),
        ({"name": "embedded", "validation_fraction": 0.5, "test_fraction": 0.5}, "must leave something to train on"),
        ({"name": "embedded", "max_characters": 0}, "max_characters=0 must be 1 or more"),
        ({"name": "embedded", "condition_column": "text", "text_column": "text"}, "both 'text'"),
        ({"name": "embedded", "condition_column": "label", "documents": "lines"}, "must be 'rows', got 'lines'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DocumentSettings(**options)


@dataclass
class Recipe:
    data: DocumentSettings


@pytest.mark.parametrize("key", ["validation", "test"])
def test_the_old_names_of_the_cuts_are_answered_with_the_new_ones(tmp_path, key):
    path = write(tmp_path / "recipe.yaml", f"data: {{name: embedded, {key}_share: 0.2}}")
    with pytest.raises(ValueError, match=f"line 1: data.{key}_share is now data.{key}_fraction."):
        read_settings(Recipe, ["--config", path])


def test_sources_that_hold_no_documents_are_refused(tmp_path):
    text = write(tmp_path / "text.txt", TEXT)
    with pytest.raises(ValueError, match=r"text\.txt is a text, which has no rows: set data.documents to 'lines'"):
        load_documents(DocumentSettings(path=text))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_documents(DocumentSettings(path="nowhere.txt", documents="whole"))
    with pytest.raises(ValueError, match="Split 'train' has no text"):
        load_documents(DocumentSettings(path=write(tmp_path / "short.txt", "ab\n"), documents="lines"))
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8 \(line 1, byte 0: 0xe9\)"):
        load_documents(DocumentSettings(path=str(tmp_path / "latin.txt"), documents="whole"))
    (tmp_path / "torn.txt.gz").write_bytes(gzip.compress(b"text" * 1000)[:-20])
    with pytest.raises(ValueError, match=r"torn\.txt\.gz is torn"):
        load_documents(DocumentSettings(path=str(tmp_path / "torn.txt.gz"), documents="whole"))
    with pytest.raises(ValueError, match=r"empty\.txt is empty; give a text"):
        load_documents(DocumentSettings(path=write(tmp_path / "empty.txt", ""), documents="whole"))
    (tmp_path / "zip.txt").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(ValueError, match=r"zip\.txt is a zip archive; unpack it"):
        load_documents(DocumentSettings(path=str(tmp_path / "zip.txt"), documents="whole"))
    with pytest.raises(ValueError, match="unknown data.text_column 'txt'; did you mean 'text'"):
        load_documents(DocumentSettings(name="embedded", text_column="txt"))
    with pytest.raises(ValueError, match=r"Split 'train', row 0: 'score' is .*, not a text"):
        load_documents(DocumentSettings(name="embedded", text_column="score"))


def test_conditions_that_training_does_not_show_are_refused():
    rows = Dataset.from_dict({"text": ["a"], "condition": ["x"]})
    other = Dataset.from_dict({"text": ["a"], "condition": ["y"]})
    assert conditions(DatasetDict({"train": rows, "test": rows})) == ["x"]
    with pytest.raises(ValueError, match=r"Split 'test' has the conditions \['y'\], which train never shows"):
        conditions(DatasetDict({"train": rows, "test": other}))


def test_labels_of_classes_are_named(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path / "saved")
    found = load_documents(DocumentSettings(path=str(tmp_path / "saved"), condition_column="label"))
    assert found["train"]["condition"][:] == ["yes", "no"]
    assert condition_token("Scottish  Gaelic") == "<Scottish_Gaelic>"


RUNNING = "The river ran  on,\n\nand on (under 3 bridges);\tthen it turned. " * 5000 + "x" * 300_000


@pytest.mark.parametrize("kind", LANGUAGE_MODEL_KINDS)
def test_a_long_text_gives_the_tokens_that_it_gives_at_once(kind):
    assert "".join(pieces(RUNNING)) == RUNNING
    assert max(map(len, pieces(RUNNING))) <= 1 << 17
    tokenizer = train_tokenizer([RUNNING[:2000]] * 2, kind, purpose="language-modeling", vocab_size=400)
    text = RUNNING[:310_000] if kind in ("whitespace", "word_with_space", "unigram", "bpe") else RUNNING
    (found,) = token_ids(Dataset.from_dict({"text": [text]}), tokenizer)
    assert found.dtype == np.int32
    assert found.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_marks_and_conditions_stand_where_they_belong():
    rows = Dataset.from_dict({"text": ["ab", "", "ba"], "condition": ["x", "y", "x"]})
    tokenizer = train_tokenizer(
        ["ab", "ba"], "char", purpose="language-modeling", min_frequency=1, condition_tokens=["<x>", "<y>"]
    )
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    found = [tokenizer.convert_ids_to_tokens(ids) for ids in token_ids(rows, tokenizer, start=[bos], end=[eos])]
    assert found == [
        ["<s>", "<x>", "a", "b", "</s>"],
        ["<s>", "<y>", "</s>"],
        ["<s>", "<x>", "b", "a", "</s>"],
    ]
    plain = list(token_ids(rows.remove_columns("condition"), tokenizer))
    assert [len(ids) for ids in plain] == [2, 0, 2]


@pytest.mark.data
def test_the_published_counts_of_the_penn_treebank(data_folder, tmp_path):
    import lzma

    paths = {}
    for split, part in (("train", "train"), ("validation", "valid"), ("test", "test")):
        with lzma.open(data_folder / "ptb" / f"ptb.{part}.txt.xz", "rt", encoding="utf-8") as file:
            paths[split] = write(tmp_path / f"{part}.txt", file.read())
    found = load_documents(DocumentSettings(path=paths, documents="lines"))
    tokenizer = train_tokenizer(
        found["train"]["text"][:], "whitespace", purpose="language-modeling", vocab_size=20_000, min_frequency=1
    )
    tokens = {name: sum(map(len, token_ids(rows, tokenizer, end=[3]))) for name, rows in found.items()}
    assert tokens == {"train": 929_589, "validation": 73_760, "test": 82_430}
    types = set(re.split(r"\s+", " ".join(found["train"]["text"][:]).strip()))
    assert len(types) == 9_999  # <unk> among them; the end of a line is the ten thousandth
    assert len(tokenizer) == len(types) - 1 + 5
