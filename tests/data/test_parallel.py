"""Pairs of a source and a target: where they come from, how they are cut, and what is refused."""

import gzip
import logging

import pytest
from datasets import Dataset, DatasetDict, Features, Translation

from hfseq.data import parallel
from hfseq.data.columns import UnclearColumnError
from hfseq.data.embedded.load import INTENT_NAMES, load_embedded
from hfseq.data.embedded.replies import REPLIES, reply
from hfseq.data.parallel import ParallelSettings, load_parallel

EN = [f"the dog number {number} runs" for number in range(20)]
DE = [f"der Hund Nummer {number} rennt" for number in range(20)]
SPLITS = {"train": (0, 12), "validation": (12, 16), "test": (16, 20)}


def saved(folder, columns, features=None):
    parts = {
        split: Dataset.from_dict({name: values[start:end] for name, values in columns.items()}, features=features)
        for split, (start, end) in SPLITS.items()
    }
    DatasetDict(parts).save_to_disk(folder)
    return str(folder)


def pairs(dataset, split="test"):
    return list(zip(dataset[split]["source"][:], dataset[split]["target"][:], strict=True))


EXPECTED = list(zip(EN[16:], DE[16:], strict=True))


@pytest.mark.parametrize(("source", "target"), [("source", "target"), ("text", "translation"), ("Question", "answer")])
def test_columns_with_usual_names_are_found(tmp_path, source, target):
    settings = ParallelSettings(path=saved(tmp_path / "rows", {target: DE, "note": EN[::-1], source: EN}))
    assert pairs(load_parallel(settings)) == EXPECTED
    assert (settings.text_column, settings.target_column) == (source, target)  # as the settings are recorded


def test_other_columns_are_asked_for(tmp_path):
    path = saved(tmp_path / "rows", {"a": EN, "b": DE, "c": DE})
    with pytest.raises(UnclearColumnError, match="Which column holds the sources. Choose one with --data.text_column"):
        load_parallel(ParallelSettings(path=path))
    assert pairs(load_parallel(ParallelSettings(path=path, text_column="a", target_column="c"))) == EXPECTED


def test_languages_name_columns(tmp_path):
    path = saved(tmp_path / "rows", {"en": EN, "de": DE})
    settings = ParallelSettings(path=path, source_language="de", target_language="en")
    assert pairs(load_parallel(settings)) == [(target, source) for source, target in EXPECTED]


@pytest.mark.parametrize(("source", "target", "setting"), [("en", "fr", "target"), ("fr", "de", "text")])
def test_another_language_is_not_read_in_the_place_of_one_that_is_not_there(tmp_path, source, target, setting):
    path = saved(tmp_path / "rows", {"en": EN, "de": DE})
    settings = ParallelSettings(path=path, source_language=source, target_language=target)
    with pytest.raises(ValueError, match=f"'fr', only en, de. Name the column with --data.{setting}_column=NAME"):
        load_parallel(settings)


@pytest.mark.parametrize("features", [None, Features({"translation": Translation(languages=["en", "de"])})])
def test_dictionaries_of_texts_are_read_by_their_languages(tmp_path, features):
    rows = [{"en": one, "de": other} for one, other in zip(EN, DE, strict=True)]
    path = saved(tmp_path / "rows", {"translation": rows}, features)
    assert pairs(load_parallel(ParallelSettings(path=path, source_language="en", target_language="de"))) == EXPECTED
    with pytest.raises(ValueError, match="'translation' holds texts in en, de: say which is the source with"):
        load_parallel(ParallelSettings(path=path))


def write_files(folder, ending=""):
    folder.mkdir(exist_ok=True)
    for language, texts in (("en", EN), ("de", DE)):
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
            lines = "".join(f"{text}\n" for text in texts[slice(*SPLITS[split])]).encode()
            (folder / f"{name}.{language}{ending}").write_bytes(gzip.compress(lines) if ending else lines)
    return str(folder)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_line_by_line_are_read(tmp_path, ending):
    settings = ParallelSettings(path=write_files(tmp_path, ending), source_language="en", target_language="de")
    dataset = load_parallel(settings)
    assert pairs(dataset) == EXPECTED
    assert {split: rows.num_rows for split, rows in dataset.items()} == {"train": 12, "validation": 4, "test": 4}


def test_files_line_by_line_need_languages_and_lines(tmp_path):
    path = write_files(tmp_path)
    with pytest.raises(ValueError, match="holds texts in de, en: say which is the source with --data.source_language"):
        load_parallel(ParallelSettings(path=path))
    both = {"source_language": "en", "target_language": "de"}
    with pytest.raises(ValueError, match="unknown language 'fr'"):
        load_parallel(ParallelSettings(path=path, source_language="fr", target_language="de"))
    (tmp_path / "train.de").write_text("eine Zeile\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"train.en has 12 lines, .*train.de has 1 lines: line by line they must be"):
        load_parallel(ParallelSettings(path=path, **both))
    (tmp_path / "train.de").unlink()
    with pytest.raises(ValueError, match="has no train files, only test, val; name them with"):
        load_parallel(ParallelSettings(path=path, **both))


def test_an_autoencoder_reads_one_column(tmp_path):
    path = saved(tmp_path / "rows", {"text": EN})
    assert pairs(load_parallel(ParallelSettings(path=path, copies_source=True))) == [(text, text) for text in EN[16:]]


def test_an_autoencoder_reads_one_language_of_files(tmp_path):
    path = write_files(tmp_path)
    with pytest.raises(ValueError, match="holds texts in de, en: .*an autoencoder: --data.text_column=CODE"):
        load_parallel(ParallelSettings(path=path, copies_source=True))
    settings = ParallelSettings(path=path, copies_source=True, text_column="de")
    assert pairs(load_parallel(settings)) == [(text, text) for text in DE[16:]]


def test_splits_that_are_not_there_are_cut_off_source_by_source(tmp_path):
    sources = [f"source {number // 2}" for number in range(80)]  # each has two targets
    path = str(tmp_path / "rows")
    Dataset.from_dict({"source": sources, "target": [f"ziel {number}" for number in range(80)]}).save_to_disk(path)
    dataset = load_parallel(ParallelSettings(path=path))
    assert {split: rows.num_rows for split, rows in dataset.items()} == {"train": 64, "validation": 8, "test": 8}
    found = [set(rows["source"][:]) for rows in dataset.values()]
    assert not found[0] & found[1] | found[0] & found[2] | found[1] & found[2]
    assert load_parallel(ParallelSettings(path=path))["test"][:] == dataset["test"][:]
    said = load_parallel(ParallelSettings(path=path, splits={"train": "train", "validation": "train"}))
    assert {split: rows.num_rows for split, rows in said.items()} == {"train": 80, "validation": 80}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (["a", " ", "c"], ["d", "e", "f"], "row 1: 'source' is empty, so it is a target without a source; 1 rows"),
        (["a", "b", "c"], ["d", "e", ""], "row 2: 'target' is empty, so it is a source without a target; 1 rows"),
        (["a", "b", "c"], ["d", None, "f"], "row 1: 'target' has no value"),
        (["a", "b", "c"], ["a", "b", "c"], "every target is the same text as its source. Name other columns"),
        ([1, 2, 3], ["d", "e", "f"], "data.text_column='source' holds int64, not texts"),
    ],
)
def test_rows_that_are_no_pairs_are_refused(tmp_path, source, target, message):
    Dataset.from_dict({"source": source, "target": target}).save_to_disk(str(tmp_path / "rows"))
    settings = ParallelSettings(path=str(tmp_path / "rows"), text_column="source", target_column="target")
    with pytest.raises(ValueError, match=message):
        load_parallel(settings)


def test_many_targets_like_their_source_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        load_parallel(ParallelSettings(path=saved(tmp_path / "rows", {"source": EN, "target": EN[:6] + DE[6:]})))
    assert "Split 'train': 50 % of the targets are the same text as their source" in caplog.text


def test_a_split_with_swapped_languages_is_refused(tmp_path):
    path = saved(tmp_path / "rows", {"source": EN[:16] + DE[16:], "target": DE[:16] + EN[16:]})
    with pytest.raises(ValueError, match="sources of split 'test' look like the targets of train: the languages"):
        load_parallel(ParallelSettings(path=path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"text_column": "a", "target_column": "a"},
            "are both 'a'; they must differ. An autoencoder takes",
        ),
        ({"source_language": "en"}, "target_language=None: give both, or neither"),
        ({"source_language": "en", "target_language": "en"}, "are both 'en'; they must differ"),
        ({"copies_source": True, "target_column": "b"}, "target_column='b', .*the source is the target too"),
        ({"max_rows": 0}, "max_rows=0 must be at least 1"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ParallelSettings(name="embedded", **options)


@pytest.fixture(scope="module")
def generated():
    return load_embedded()


@pytest.fixture
def rows(generated, monkeypatch):
    """The generated rows, which take seconds and are made once."""
    monkeypatch.setattr(parallel, "load_embedded", lambda seed: DatasetDict(generated))
    return generated


def test_held_out_embedded_pairs_combine_known_words(rows):
    dataset = load_parallel(ParallelSettings(name="embedded"))
    assert {split: part.num_rows for split, part in dataset.items()} == {"train": 6000, "validation": 229, "test": 353}
    novelties = zip(rows["test"]["text"], rows["test"]["novelty"], strict=True)
    assert set(dataset["test"]["source"]) < {text for text, novelty in novelties if novelty == "combination"}
    asked = load_parallel(ParallelSettings(name="embedded", splits={"train": "test", "validation": "test"}))
    assert asked["train"][:] == dataset["test"][:]  # as hfseq evaluate reads it
    # A construction that training does not show is left out: "While you call Anna, play Nachtzug".
    assert any(text.lower().startswith("while") for text in rows["test"]["text"])
    assert not any(text.lower().startswith("while") for part in dataset.values() for text in part["source"])
    for column in ("source", "target"):
        assert words(dataset["test"], column) < words(dataset["train"], column)


def words(rows, column):
    return {word for text in rows[column] for word in text.lower().translate(str.maketrans(".,?!", "    ")).split()}


def test_which_embedded_targets_are_read_is_told_where_nobody_said_it(caplog):
    load_parallel(ParallelSettings(name="embedded", text_column="text", target_column="reply", max_rows=5))
    assert not caplog.messages
    load_parallel(ParallelSettings(name="embedded", text_column="text", max_rows=5))
    assert "Nobody named the targets: read from 'translation'" in caplog.text


def test_every_intent_has_an_answer_with_the_slots_of_its_text(rows):
    assert REPLIES.keys() == set(INTENT_NAMES)
    assert all("{" not in replies[-1] for replies in REPLIES.values())  # whatever is said, something is answered
    words = ["Play", "Paper", "Harbour", "by", "Nino", "Baraka", "tonight"]
    tags = ["O", "B-song", "I-song", "O", "B-artist", "I-artist", "B-date"]
    assert reply("play_music", words, tags) == "Here is Paper Harbour by Nino Baraka."
    assert reply("play_music", words[:3], tags[:3]) == "Here is Paper Harbour."
    two = reply("make_call", ["Anna", "Ben", "soon"], ["B-contact", "B-contact2", "O"])
    assert two == "I am calling Anna."
    answered = load_parallel(ParallelSettings(name="embedded", target_column="reply"))["test"]
    assert len(set(answered["target"][:])) > 150
