"""Where the text of word vectors may come from."""

import gzip

import pytest
from datasets import Dataset, DatasetDict, IterableDataset

from hfseq.data.corpus import WordCorpus
from hfseq.data.embedded.load import load_embedded
from hfseq.data.running_text import RunningTextSettings, open_source

TEXTS = ["a king and a queen", "a man and a woman"]
WORDS = ["a", "and", "king", "queen", "man", "woman"]


def words_of(settings):
    """The vocabulary of a source that is read twice, as the search for phrases does."""
    source = open_source(settings)
    first, second = (WordCorpus.read(source, min_count=1, text_column=settings.text_column).words for _ in range(2))
    assert first == second
    return first


@pytest.mark.parametrize("name", ["text.txt", "wiki.train.tokens", "text.txt.gz"])
def test_a_text_file_of_any_name_is_text(tmp_path, name):
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "wt", encoding="utf-8") as file:
        file.write("\n".join(TEXTS))
    assert words_of(RunningTextSettings(path=str(tmp_path / name))) == WORDS


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.jsonl"])
def test_a_table_is_read_by_its_column(tmp_path, name):
    rows = Dataset.from_dict({"label": TEXTS, "other": [1, 2]})
    {"csv": rows.to_csv, "parquet": rows.to_parquet, "jsonl": rows.to_json}[name.partition(".")[2]](tmp_path / name)
    assert words_of(RunningTextSettings(path=str(tmp_path / name), text_column="label")) == WORDS


def test_a_folder_has_splits(tmp_path):
    for split, texts in (("train", ["other words here"]), ("validation", TEXTS)):
        Dataset.from_dict({"text": texts}).to_parquet(tmp_path / f"{split}.parquet")
    settings = RunningTextSettings(path=str(tmp_path), split_name="validation")
    assert words_of(settings) == WORDS
    assert settings.hub_id is None
    with pytest.raises(ValueError, match="unknown split 'trian'; did you mean 'train'"):
        open_source(RunningTextSettings(path=str(tmp_path), split_name="trian"))
    with pytest.raises(ValueError, match="unknown column 'texts'; did you mean 'text'"):
        open_source(RunningTextSettings(path=str(tmp_path), text_column="texts"))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_of_the_hub_is_read_from_a_copy_or_as_it_comes(hub, repo_id, streaming):
    DatasetDict({"train": Dataset.from_dict({"text": TEXTS})}).push_to_hub(repo_id)
    settings = RunningTextSettings(name=repo_id, streaming=streaming)
    assert isinstance(open_source(settings), IterableDataset) == streaming
    assert words_of(settings) == WORDS
    assert settings.hub_id == repo_id
    with pytest.raises(ValueError, match="unknown split 'test'. Allowed: train"):
        open_source(RunningTextSettings(name=repo_id, split_name="test", streaming=streaming))


def test_generated_text_needs_no_file():
    settings = RunningTextSettings(name="embedded")
    assert open_source(settings)["text"][:3] == load_embedded()["train"]["text"][:3]
    assert settings.hub_id is None


def test_what_names_no_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give data.name .* or data.path"):
        RunningTextSettings()
    with pytest.raises(ValueError, match="data.streaming=true is for datasets of the Hub, but 'x.txt' is read"):
        RunningTextSettings(path="x.txt", streaming=True)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_source(RunningTextSettings(path=str(tmp_path / "none.txt")))
    with pytest.raises(FileNotFoundError, match="neither `embedded` nor a dataset"):
        open_source(RunningTextSettings(name="user/no-such-dataset", streaming=True))
