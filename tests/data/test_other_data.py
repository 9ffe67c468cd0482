"""What a settings file says of its data does not hold for other data, and splits that are left out are named."""

from dataclasses import dataclass, field

import pytest
from datasets import Dataset, DatasetDict

from hfseq.data.sources import SourceSettings, SplitSettings, load_splits
from hfseq.data.text import DataSettings
from hfseq.recipe.sections import CardSettings
from hfseq.settings import read_settings
from tests.rounds import for_each

ROWS = Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
OF_THE_FILE = """\
data:
  name: org/old
  config: plain
  revision: abc
  text_column: sentence
  label_column: category
  label_names: [x, y]
  splits: {train: train, test: validation}
  max_rows: 7
  validation_fraction: 0.2
"""


@dataclass
class Recipe:
    data: DataSettings
    card: CardSettings = field(default_factory=CardSettings)


def read(tmp_path, *words, text=OF_THE_FILE):
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    return read_settings(Recipe, ["--config", str(tmp_path / "recipe.yaml"), *words]).data


KEPT = {"max_rows": 7, "validation_fraction": 0.2}
FORGOTTEN = ("config", "revision", "text_column", "label_column", "label_names", "splits")


def test_other_data_have_their_own_columns_splits_and_labels(tmp_path, caplog):
    data = read(tmp_path, "--data.path=mine", "--data.label_column=topic")
    assert (data.path, data.name, data.label_column) == ("mine", None, "topic")
    assert [getattr(data, name) for name in FORGOTTEN if name != "label_column"] == [None] * 5
    assert (data.max_rows, data.validation_fraction) == (7, 0.2)
    told = "data.path=mine is other data than the settings file's: of its section data, config, label_names, revision"
    assert told in caplog.text and "label_column" not in caplog.text


@for_each("key", ["text_pair_column", "condition_column", "other_column", "score_column"])
def test_every_column_is_of_one_data_set(key, caplog):
    caplog.clear()
    file = {("data", "name"): "org/old", ("data", key): "other", ("data", "max_rows"): 7}
    assert SourceSettings.forgotten(file, {("data", "path"): "mine"}) == {"name", key}
    assert f"of its section data, {key} no longer count" in caplog.text and "card.same_data" not in caplog.text
    SourceSettings.forgotten({**file, ("card", "summary"): "Old."}, {("data", "path"): "mine"})
    assert "If it is a copy of the same data, add --card.same_data=true." in caplog.text


@for_each(
    "words",
    [
        [],
        ["--data.name=org/old"],
        ["--data.path=copy", "--card.same_data=true"],
        ["--data.config=other", "--data.max_rows=3"],
    ],
)
def test_the_same_data_keep_theirs(tmp_path, words):
    data = read(tmp_path, *words)
    assert data.splits == {"train": "train", "test": "validation"}
    assert (data.text_column, data.label_column, data.label_names) == ("sentence", "category", ["x", "y"])


def test_a_name_on_the_command_line_is_read_in_place_of_the_files_path(tmp_path):
    text = "data: {path: old/folder, text_column: name}\n"
    data = read(tmp_path, "--data.name=org/new", text=text)
    assert (data.path, data.name, data.hub_id, data.text_column) == (None, "org/new", "org/new", None)
    assert SourceSettings.forgotten({("data", "max_rows"): 1}, {("data", "path"): "mine"}) == set()


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({"train": "train"}, "data.splits leaves out 'validation', 'test': nothing is learnt"),
        ({"train": "train", "test": "validation"}, "data.splits leaves out 'test': nothing is learnt"),
        ({"train": "test", "validation": "test"}, ""),  # one split alone, as `hfseq evaluate` reads it
        ({"train": "train", "validation": "validation", "test": "test"}, ""),
        (None, ""),
    ],
)
def test_a_standard_split_that_is_left_out_is_named(tmp_path, caplog, splits, told):
    DatasetDict(dict.fromkeys(("train", "validation", "test", "unlabelled"), ROWS)).save_to_disk(tmp_path / "saved")
    load_splits(SplitSettings(path=str(tmp_path / "saved"), splits=splits))
    assert told in caplog.text and ("leaves out" in caplog.text) == bool(told)
