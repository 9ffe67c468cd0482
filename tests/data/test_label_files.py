"""Texts in fastText's format: labels among the words of lines, and the answer to each mistake."""

import pytest

from hfseq.data.label_files import LabelFiles, labelled_lines
from hfseq.data.text import DataSettings, load_text_dataset
from tests.rounds import for_each

SINGLE = "__label__good A fine  film\n\n__label__bad Dull .\r\n__label__good fine\n__label__bad bad"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(tmp_path, content, **options):
    path = write(tmp_path / "lines.txt", content)
    with path.open("rb") as file:
        return list(labelled_lines(file, path, **options))


@for_each(
    ("content", "found"),
    [
        (SINGLE, [(["good"], "A fine  film"), (["bad"], "Dull ."), (["good"], "fine"), (["bad"], "bad")]),
        ("__label__a __label__b x y", [(["a", "b"], "x y")]),
        ("x __label__a y __label__b", [(["a", "b"], "x y")]),  # a label may stand anywhere, as in fastText
        ("__label__a x __label__a", [(["a"], "x")]),
        ("__label__a\tx\ty", [(["a"], "x y")]),
        ("__label__a x\0y", [(["a"], "x y")]),
        ("\ufeff__label__a x", [(["a"], "x")]),
        ("__label__a caf\xe9\u00a0x\u2028y", [(["a"], "caf\xe9\u00a0x\u2028y")]),  # only ASCII's spaces part words
        ("__label__a x__label__b", [(["a"], "x__label__b")]),  # no label: it begins otherwise
    ],
)
def test_words_that_begin_as_labels_do_are_labels(tmp_path, content, found):
    assert lines(tmp_path, content) == found


def test_labels_may_have_another_prefix(tmp_path):
    assert lines(tmp_path, "#a __label__b x", prefix="#") == [(["a"], "__label__b x")]


@for_each(
    ("content", "message"),
    [
        ("__label__a x\nno label\n", "lines.txt, line 2: 'no label' has no label. Let it begin with '__label__NAME'"),
        ("text,label\na,b\n", "line 1: 'text,label' has no label, nor has any line: .* a table belongs into .csv"),
        ("\n__label__a \n", "lines.txt, line 2: '__label__a' is a label without a text. Add the text, or remove"),
        ("__label__a __label__b", "line 1: .* is a label without a text"),
        (b"__label__a x\n__label__b caf\xe9\n", r"lines.txt is not UTF-8 \(line 2, byte 27: 0xe9\): convert it"),
        ("\n \n", "lines.txt holds no text. Each line is a label and a text"),
        (b"\x1f\x8b\x08\x00", "lines.txt is packed by gzip"),
    ],
)
def test_wrong_lines_are_answered_with_their_number_and_the_cure(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        LabelFiles().read(write(tmp_path / "lines.txt", content))


def test_recipes_read_a_file_a_folder_and_named_files(tmp_path):
    write(tmp_path / "train.txt", SINGLE)
    write(tmp_path / "valid.txt", "__label__bad no\n")
    write(tmp_path / "cooking.test", "__label__bad no\n")
    task = load_text_dataset(DataSettings(path=str(tmp_path)))
    assert task.classes.names == ["bad", "good"] and task.problem_type == "single_label_classification"
    assert task.dataset["train"]["labels"][:] == [1, 0, 1, 0] and task.dataset["validation"]["text"][:] == ["no"]
    alone = load_text_dataset(DataSettings(path=str(tmp_path / "train.txt")))
    assert {split: rows.num_rows for split, rows in alone.dataset.items()} == {"train": 3, "validation": 1}
    named = {"train": str(tmp_path / "train.txt"), "test": str(tmp_path / "cooking.test")}
    assert load_text_dataset(DataSettings(path=named)).dataset["test"]["labels"][:] == [0]


def test_several_labels_in_any_line_make_lists_of_all(tmp_path):
    write(tmp_path / "train.txt", "__label__a x\n__label__b __label__a y\n")
    write(tmp_path / "valid.txt", "__label__b x\n")
    task = load_text_dataset(DataSettings(path=str(tmp_path)))
    assert task.problem_type == "multi_label_classification"
    assert task.dataset["validation"]["labels"][:] == [[0, 1]] and task.dataset["train"]["labels"][1] == [1, 1]


def test_a_table_of_a_split_goes_before_a_text_of_the_same_name(tmp_path):
    write(tmp_path / "train.csv", "text,label\nx,a\ny,b\nz,a\n")
    write(tmp_path / "train.txt", "notes")
    write(tmp_path / "valid.txt", "__label__a x\n")
    task = load_text_dataset(DataSettings(path=str(tmp_path)))
    assert task.dataset["train"].num_rows == 3 and task.dataset["validation"]["labels"][:] == [0]
