"""Tables without a header are told from tables with one, and read with names that are given."""

import pytest
from datasets import Dataset

from hfseq.data.embedded.load import load_embedded
from hfseq.data.sources import SourceSettings, read_splits
from hfseq.data.text import DataSettings, load_text_dataset
from tests.rounds import for_each

TEXTS = [f"it was a {mood} film {place}" for place in range(5) for mood in ("good", "bad", "dull", "fine")]
LABELS = ["pos", "neg", "neg", "pos"] * 5


def write(path, columns, header=None):
    sign = "\t" if path.suffix == ".tsv" else ","
    rows = [*([header] if header else []), *zip(*columns, strict=True)]
    path.write_text("".join(sign.join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(path, **settings):
    return read_splits(DataSettings(path=str(path), **settings))["train"]


@for_each("suffix", [".csv", ".tsv"])
@for_each(
    ("columns", "fault"),
    [
        ((TEXTS, LABELS), "'pos' is also what 9 of the other rows hold in its place"),
        ((LABELS, TEXTS), "'pos' is also what 9 of the other rows hold in its place"),
        ((TEXTS, [4.5, *range(19)]), "'4.5' is a number"),
        ((range(7, 27), TEXTS), "'7' is a number"),
        ((TEXTS, ["", *map(str, range(18)), "x"], TEXTS[::-1]), "cell 2 is empty"),
        ((["so", *TEXTS[1:]], ["so", *TEXTS[1:]], range(20)), "'so' is there twice"),
        ((TEXTS[:4], ["a", "b", "c", "d"]), "'it was a good film 0' is as long as a text"),
        ((["What is it", *TEXTS[1:]], ["question", "text"] * 10), "'question' is also what 9 of the other rows"),
    ],
)
def test_a_first_line_that_is_a_row_is_refused_with_the_cure(tmp_path, suffix, columns, fault):
    path = write(tmp_path / f"train{suffix}", columns)
    with pytest.raises(ValueError) as error:
        read(path)
    names = ", ".join(["text", "label", "column_3"][: len(columns)])
    for told in (f"{path} seems to have no header: its first line is", fault, f"'--data.column_names=[{names}]'"):
        assert told in str(error.value)


@for_each("suffix", [".csv", ".tsv"])
def test_given_names_are_those_of_a_file_without_a_header(tmp_path, suffix):
    for split, rows in (("train", 20), ("test", 4)):
        write(tmp_path / f"{split}{suffix}", (TEXTS[:rows], LABELS[:rows]))
    task = load_text_dataset(DataSettings(path=str(tmp_path), column_names=["text", "label"]))
    assert task.dataset["test"]["text"][:] == TEXTS[:4]
    assert task.dataset["test"]["labels"][:] == [1, 0, 0, 1]
    assert task.dataset["train"].num_rows + task.dataset["validation"].num_rows == 20


@for_each(
    ("name", "header", "names", "message"),
    [
        ("a.csv", ("Text", "label"), ["text", "label"], "has a header, which says the same as data.column_names"),
        (
            "a.csv",
            ("Review", "Rating"),
            ["text", "label"],
            "seems to have a header: .*'Review' is a usual name",
        ),
        (
            "a.tsv",
            ("Satz", "SENTIMENT"),
            ["text", "label"],
            "seems to have a header: .*Leave data.column_names",
        ),
        ("a.csv", None, ["text"], "the rows have more cells than data.column_names"),
        ("a.csv", None, ["text", "label", "more"], "must name each column of .*, which has 2; it begins"),
        ("a.jsonl", None, ["text", "label"], "is for CSV and TSV files without a header, not for .*a.jsonl: leave"),
        ("a.txt", None, ["text", "label"], "is for CSV and TSV files without a header, not for .*a.txt: leave"),
    ],
)
def test_names_that_fit_no_file_are_refused(tmp_path, name, header, names, message):
    write(tmp_path / name, (TEXTS, LABELS), header)
    with pytest.raises(ValueError, match=message):
        load_text_dataset(DataSettings(path=str(tmp_path / name), column_names=names))


def test_a_label_that_is_a_usual_name_makes_no_header(tmp_path):
    path = write(tmp_path / "a.csv", (TEXTS, ["question", "text"] * 10))
    assert read(path, column_names=["text", "label"]).num_rows == 20


@pytest.mark.parametrize("names", [[], ["text", "text"], ["text", ""]])
def test_names_are_names(names):
    with pytest.raises(ValueError, match="column_names=.* must be one name or more, each once and none empty"):
        SourceSettings(path="a.csv", column_names=names)
    with pytest.raises(ValueError, match="give their data.path"):
        SourceSettings(name="embedded", column_names=["text"])


@for_each(
    ("header", "columns"),
    [
        (("text", "label"), (TEXTS, LABELS)),
        (("Satz", "Thema"), (TEXTS, LABELS)),
        (("", "Satz", "Thema"), (range(20), TEXTS, LABELS)),  # as pandas writes it
        (("Satz", "Thema", ""), (TEXTS, LABELS, [""] * 20)),
        (("0", "1"), (TEXTS, LABELS)),
        (("", "0", "1"), (range(20), TEXTS, LABELS)),
        (("How did you like the film that you saw?", "kind"), (TEXTS, LABELS)),
        (("the label that the reader has given", "Satz"), (LABELS, TEXTS)),
        (("text", "2019", "2020"), (TEXTS, range(20), range(20))),
        (("word", "count"), (["word", *"abcdefghijklmnopqrs"], range(20))),
        (("text", "label"), (["text", *TEXTS[1:]], LABELS)),
        (("text", "text", "label"), (TEXTS, TEXTS, LABELS)),
    ],
)
def test_ordinary_headers_are_no_rows(tmp_path, header, columns):
    assert read(write(tmp_path / "train.csv", columns, header)).num_rows == 20


def test_what_a_person_names_is_a_name(tmp_path):
    path = write(tmp_path / "a.csv", (LABELS, TEXTS))
    assert read(path, label_column="pos").num_rows == 19


def test_the_embedded_data_have_a_header(tmp_path):
    for split, rows in load_embedded().items():
        rows.remove_columns(["tokens", "tags"]).to_csv(str(tmp_path / f"{split}.csv"))
    assert read_splits(SourceSettings(path=str(tmp_path)))["train"].num_rows == 6000


@pytest.mark.data
@pytest.mark.slow
def test_no_public_set_is_taken_for_one_without_a_header(tmp_path, data_folder):
    import sys

    sys.path.insert(0, str(data_folder))
    try:
        from load import NAMES, load
    finally:
        sys.path.remove(str(data_folder))
    tried = 0
    for name in NAMES:
        for split, rows in load(name).items():
            flat = [column for column, kind in rows.features.items() if type(kind).__name__ in ("Value", "ClassLabel")]
            if not flat or rows.num_rows < 2 or name.startswith("text8"):
                continue
            part: Dataset = rows.select_columns(flat).select(range(min(rows.num_rows, 3000)))
            path = tmp_path / f"{name}-{split}.csv"
            part.to_csv(str(path))
            assert len(read(path)) >= 2, (name, split)
            tried += 1
    assert tried > 20
