"""What several files about texts with labels share."""

import pytest
from datasets import DatasetDict

from hfseq.data.text import DataSettings, load_text_dataset


@pytest.fixture
def load(tmp_path):
    """Saves splits, and loads them with some settings."""

    def load(tables, /, **settings):
        DatasetDict(tables).save_to_disk(str(tmp_path / "saved"))
        return load_text_dataset(DataSettings(path=str(tmp_path / "saved"), **settings))

    return load
