"""Loading words with slots and an intent, the tokens and batches, texts that are no request, and wrong data."""

import json

import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from hfseq.data.embedded.chatter import ROWS, load_chatter
from hfseq.data.embedded.load import load_embedded
from hfseq.data.intents import IntentSettings, load_intents, tokenize_intents, tokenize_no_requests
from hfseq.tokenization import train_tokenizer
from hfseq.tokenization.padding import IntentSlotsCollator

WORDS = [["play", "New", "York"], ["stop"], ["call", "Oslo", "now"], ["why", "do", "frogs", "sing"]]
SLOTS = [["O", "B-song", "I-song"], ["O"], ["O", "B-city", "O"], ["O"] * 4]
INTENTS = ["play", "stop", "call", "none"]
NAMES = ["O", "B-song", "I-song", "B-city", "I-city"]


def table(rows=4, **columns):
    own = {"tokens": WORDS[:rows], "tags": SLOTS[:rows], "intent": INTENTS[:rows], **columns}
    return Dataset.from_dict({name: values for name, values in own.items() if values is not None})


@pytest.fixture
def load(tmp_path):
    """Saves splits, validation and test too, and loads them with some settings."""

    def load(rows, /, others=None, **settings):
        others = rows if others is None else others
        DatasetDict({"train": rows, "validation": others, "test": others}).save_to_disk(str(tmp_path / "saved"))
        return load_intents(IntentSettings(path=str(tmp_path / "saved"), **settings))

    return load


def test_the_embedded_requests_have_intents_and_texts_that_are_none():
    task = load_intents(IntentSettings(name="embedded", max_rows=20))
    assert {split: rows.num_rows for split, rows in task.dataset.items()} == dict.fromkeys(
        ("train", "validation", "test"), 20
    )
    assert {"get_time", "play_music"} <= set(task.intents.names) and {"O", "B-city"} <= set(task.slots.names)
    assert set(task.intents_of("test")) <= set(task.intents.all_names)
    assert {split: rows.num_rows for split, rows in task.no_requests.items()} == {"validation": ROWS, "test": ROWS}
    assert task.no_requests["test"]["tokens"][0] == load_chatter()["test"]["tokens"][0]


def test_rows_keep_their_intent(load):
    task = load(table(3))
    for split in ("train", "validation"):
        assert task.dataset[split]["tokens"][:] == WORDS[:3]
        assert task.tagged.tags(split) == SLOTS[:3] and task.intents_of(split) == INTENTS[:3]
    assert task.no_requests == {}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_files_are_read(tmp_path, suffix):
    path = tmp_path / f"train{suffix}"
    table(3).to_parquet(path) if suffix == ".parquet" else table(3).to_json(path)
    task = load_intents(IntentSettings(path={"train": str(path), "validation": str(path)}))
    assert task.intents.names == ["call", "play", "stop"]


def test_columns_may_have_other_names_and_classes_their_own_order(load):
    features = Features(
        {
            "words": List(Value("string")),
            "slots": List(ClassLabel(names=NAMES)),
            "label": ClassLabel(names=["stop", "play", "call"]),
        }
    )
    ids = [[NAMES.index(tag) for tag in row] for row in SLOTS[:3]]
    rows = Dataset.from_dict({"words": WORDS[:3], "slots": ids, "label": [1, 0, 2]}, features)
    task = load(rows)
    assert task.intents.names == ["stop", "play", "call"] and task.intents_of("train") == INTENTS[:3]
    assert task.slots.names == NAMES
    named = load(rows, intent_column="label", text_column="words", label_column="slots")
    assert named.intents_of("test") == INTENTS[:3]


def test_other_writings_of_slots_become_iob2_and_keep_their_row(load):
    task = load(table(3, tags=[["O", "B-song", "E-song"], ["O"], ["O", "S-city", "O"]]))
    assert task.tagged.tags("train") == SLOTS[:3] and task.intents_of("train") == INTENTS[:3]


def test_a_row_of_no_words_leaves_with_its_intent(load):
    rows = Dataset.from_dict(
        {"tokens": [["play", "Oslo"], [], ["stop"]], "tags": [["O", "B-city"], [], ["O"]], "intent": ["a", "b", "c"]}
    )
    task = load(rows)
    assert task.intents_of("train") == ["a", "c"]


def test_intents_that_train_lacks_come_behind(load):
    task = load(table(2), others=table(3), unseen_labels="wrong")
    assert (task.intents.names, task.intents.unseen) == (["play", "stop"], ["call"])
    assert task.dataset["test"]["intent"][:] == [0, 1, 2]
    assert task.slots.unseen == ["B-city", "I-city"] or task.slots.unseen == ["B-city"]


def test_rows_of_intents_that_train_lacks_are_dropped_whole_or_refused(load, caplog):
    known, later = table(2), table(3, tags=[*SLOTS[:2], ["O", "B-song", "O"]])
    load(known, others=later, unseen_labels="wrong")
    assert "Name all classes in data.intent_names" in caplog.text
    task = load(known, others=later, unseen_labels="drop")
    assert task.intents.names == ["play", "stop"] and not task.intents.unseen
    assert task.dataset["test"]["tokens"][:] == WORDS[:2]
    assert task.intents_of("test") == INTENTS[:2] and task.tagged.tags("test") == SLOTS[:2]
    with pytest.raises(ValueError, match=r"Intents: .*'call' \(1\)\. Name all classes in data.intent_names, or"):
        load(known, others=later)


def test_rows_of_slots_that_train_lacks_leave_with_their_intent(load):
    task = load(table(2), others=table(3, intent=["play", "stop", "play"]), unseen_labels="drop")
    assert task.intents_of("test") == INTENTS[:2] and task.tagged.tags("test") == SLOTS[:2]


@pytest.mark.parametrize("named", [False, True])
def test_rows_that_are_no_request_are_measured_and_never_learnt(load, named):
    rows = table()
    if named:
        names = ["none", *INTENTS[:3]]
        rows = rows.cast(Features({**rows.features, "intent": ClassLabel(names=names)}))
    task = load(rows, unknown_intent="none")
    assert task.dataset["train"].num_rows == 3 and "none" not in task.intents.all_names
    assert task.intents_of("test") == INTENTS[:3] and len(task.intents.names) == 3
    assert {split: part["tokens"][:] for split, part in task.no_requests.items()} == {
        "validation": [WORDS[3]],
        "test": [WORDS[3]],
    }


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"intent": None}, {}, "Which column holds the intents? Choose one with --data.intent_column=NAME"),
        ({"intent": [1.5, 2.0, 1.0, 0.0]}, {"intent_column": "intent"}, "holds float64, not one intent a row"),
        ({"intent": [["a"]] * 4}, {"intent_column": "intent"}, "not one intent a row: a name or an integer"),
        ({"intent": ["a", "b", "", "a"]}, {}, "Intents: Split 'train' has an empty label"),
        ({"intent": ["a", None, "b", "a"]}, {}, "row 1: 'intent' has no value"),
        ({"intent": ["a"] * 4}, {}, "needs two classes; check data.intent_column"),
        ({"tags": [["O"], *SLOTS[1:]]}, {}, "row 0 has 3 words"),
        ({"tags": [["NN"] * len(row) for row in WORDS]}, {}, "All labels of train are"),
        ({"tags": [["X", "Y", "Z"], *SLOTS[1:]]}, {}, "tells no entity|tell no slots"),
        ({}, {"unknown_intent": "oos"}, "data.unknown_intent='oos' is the intent of no row"),
        ({"intent": ["none"] * 4}, {"unknown_intent": "none"}, "there are no requests in it"),
        ({}, {"intent_names": ["play", "stop"]}, "label 'call'"),
        ({}, {"intent_names": ["a", "a"]}, "intent_names=.* holds a name twice"),
        ({}, {"intent_column": "tags", "label_column": "tags"}, "'tags' is named for two of words, slots and intents"),
        ({}, {"intent_column": "intnt"}, "did you mean 'intent'"),
    ],
)
def test_wrong_data_are_named(load, columns, settings, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        load(table(**columns), **settings)


# Texts that are no request


def test_chatter_is_generated_alike_and_shares_no_template_with_requests():
    one, other = load_chatter(), load_chatter()
    assert {split: rows.num_rows for split, rows in one.items()} == {"validation": ROWS, "test": ROWS}
    requests = {text.lower().rstrip("!?.") for rows in load_embedded().values() for text in rows["text"][:]}
    texts = [text for rows in one.values() for text in rows["text"][:]]
    assert len(set(texts)) == len(texts) and not requests & {text.rstrip("!?.") for text in texts}
    assert all(other[split]["tokens"][:] == rows["tokens"][:] for split, rows in one.items())
    assert load_chatter(1)["test"]["text"][:] != one["test"]["text"][:]
    assert not any("{" in text for text in texts)


# Tokens and batches


@pytest.fixture
def tokenizer():
    return train_tokenizer([" ".join(words) for words in WORDS], min_frequency=1)


def test_tokens_have_an_intent_a_text_and_a_slot_a_word(load, tokenizer):
    task = load(table(3))
    tokens = tokenize_intents(task.dataset["train"], tokenizer, task.slots.all_names)
    names = task.slots.all_names
    assert tokens["labels"][:] == task.dataset["train"]["intent"][:]
    for row, slots in zip(tokens, SLOTS, strict=False):
        assert [names[label] for label in row["slot_labels"] if label != -100] == slots
        assert len(row["slot_labels"]) == len(row["input_ids"]) == row["length"]
    none = tokenize_no_requests(table().select([3]), tokenizer, None)
    assert none.column_names == ["input_ids"] and len(none[0]["input_ids"]) == 5  # </s>
    assert len(tokenize_no_requests(table().select([3]), tokenizer, 3)[0]["input_ids"]) == 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_pad_slots_where_ids_are_padded(tokenizer, side):
    tokenizer.padding_side = side
    rows = [
        {"input_ids": [4, 5, 6], "labels": 1, "slot_labels": [0, 1, -100]},
        {"input_ids": [7], "labels": 0, "slot_labels": [2]},
    ]
    batch = IntentSlotsCollator(tokenizer)(rows)
    short = [-100, -100, 2] if side == "left" else [2, -100, -100]
    assert batch["slot_labels"].tolist() == [[0, 1, -100], short]
    assert torch.equal(batch["slot_labels"][1] == 2, batch["input_ids"][1] == 7)
    assert batch["labels"].tolist() == [1, 0] and batch["attention_mask"].sum() == 4
    assert "slot_labels" not in IntentSlotsCollator(tokenizer)([{"input_ids": [4]}])
    with pytest.raises(ValueError, match="slot_labels has 1 entries for 3 tokens"):
        IntentSlotsCollator(tokenizer)([{**rows[0], "slot_labels": [1]}])


def test_the_settings_are_written_as_they_were_found(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps({"words": words, "slots": slots, "label": intent}) + "\n"
            for words, slots, intent in zip(WORDS, SLOTS, INTENTS, strict=True)
        ),
        encoding="utf-8",
    )
    settings = IntentSettings(path={"train": str(path), "validation": str(path)})
    load_intents(settings)
    assert (settings.text_column, settings.label_column, settings.intent_column) == ("words", "slots", "label")
