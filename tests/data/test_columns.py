"""Columns that nobody named are found by their usual names or by what they hold, or asked for with all of them."""

import pytest
from datasets import Dataset, List, Value

from hfseq.data.columns import LABELS, RUNNING, TAGS, TEXTS, WORDS, UnclearColumnError, find_columns
from hfseq.data.documents import DocumentSettings, load_documents
from hfseq.data.running_text import RunningTextSettings, open_source
from hfseq.data.tagged import TaggedSettings, load_tagged
from hfseq.data.text import DataSettings, load_text_dataset
from tests.rounds import for_each

LONG, ALIKE = ["a rather long text", "and another one of them"] * 10, ["first kind", "other kind"] * 10
SHORT, NUMBERS = ["pos", "neg"] * 10, [0, 1] * 10
WORDS_OF, TAGS_OF = [["Ana", "sings"], ["hello"]] * 10, [["B-PER", "O"], ["O"]] * 10


def found(columns, *roles, **settings):
    chosen = DataSettings(name="embedded", **settings)
    find_columns(chosen, {"train": Dataset.from_dict(columns)}, *roles)
    return chosen.text_column, chosen.label_column


@for_each(
    ("columns", "expected"),
    [
        ({"text": LONG, "label": SHORT, "sentence": LONG, "topic": SHORT}, ("text", "label")),
        ({"id": NUMBERS, "Sentence": LONG, "Category": SHORT, "source": SHORT}, ("Sentence", "Category")),
        ({"Review Text": LONG, "sentiment": NUMBERS, "stars": NUMBERS}, ("Review Text", "sentiment")),
        ({"title": LONG, "content": LONG, "label": NUMBERS}, ("content", "label")),
        ({"message": NUMBERS, "tweet": LONG, "class": SHORT}, ("tweet", "class")),  # numbers are no messages
        ({"was sagst du": LONG, "Thema": SHORT}, ("was sagst du", "Thema")),
        ({"Thema": SHORT, "Satz": LONG}, ("Satz", "Thema")),
        ({"a": NUMBERS, "b": SHORT}, ("b", "a")),
        ({"a": LONG, "label": SHORT}, ("a", "label")),
        ({"text": LONG, "b": SHORT}, ("text", "b")),
        ({"Unnamed: 0": NUMBERS, "x": LONG, "y": SHORT}, ("x", "y")),
        ({"n": NUMBERS, "words of mine": LONG, "label": SHORT}, ("words of mine", "label")),
        ({"text": LONG, "tags": [["a"], ["b", "a"]] * 10}, ("text", "tags")),
    ],
)
def test_columns_of_texts_and_labels_are_found(columns, expected):
    assert found(columns, TEXTS, LABELS) == expected


def test_what_a_person_names_is_taken_and_nothing_else_for_it():
    columns = {"text": LONG, "label": SHORT, "topic": SHORT, "sentence": LONG}
    assert found(columns, TEXTS, LABELS, label_column="topic") == ("text", "topic")
    assert found(columns, TEXTS, LABELS, text_column="sentence") == ("sentence", "label")
    assert found({"text": SHORT, "sentence": LONG}, TEXTS, LABELS, label_column="text") == ("sentence", "text")
    assert found(columns, TEXTS, LABELS, text_column="other", label_column="none") == ("other", "none")


@for_each(
    ("columns", "role", "message"),
    [
        (
            {"x": ALIKE, "y": ALIKE[::-1]},
            TEXTS,
            "Which column holds the texts? Choose one with --data.text_column=NAME.",
        ),
        ({"x": LONG, "y": SHORT, "z": SHORT}, TEXTS, "'x' (texts: a rather long text, and another one of them); 'y'"),
        ({"tweet": LONG, "comment": LONG, "label": SHORT}, TEXTS, "There are: 'tweet' (texts: a rather long text"),
        ({"text": LONG, "topic": SHORT, "intent": NUMBERS}, LABELS, "'intent' (whole numbers: 0, 1)."),
        ({"text": LONG, "coarse": NUMBERS, "fine": SHORT}, LABELS, "Choose one with --data.label_column=NAME."),
        ({"text": LONG, "id": NUMBERS}, LABELS, "Which column holds the labels?"),
        ({"text": LONG}, LABELS, "Which column holds the labels?"),
    ],
)
def test_unclear_columns_are_one_error_that_lists_them_all(columns, role, message):
    with pytest.raises(UnclearColumnError) as error:
        found(columns, TEXTS, LABELS)
    told = str(error.value)
    assert message in told and error.value.role is role and "\n" not in told
    assert all(repr(name) in told for name in columns)
    assert "--text-column=NAME" in str(error.value.with_cure("--text-column=NAME"))


def test_guesses_are_told_and_the_exact_names_are_none(caplog):
    found({"text": LONG, "label": SHORT}, TEXTS, LABELS)
    assert not caplog.text
    found({"text": LONG, "topic": SHORT}, TEXTS, LABELS)
    assert "read the labels from column 'topic'" in caplog.text and "the texts" not in caplog.text
    assert "named in data.label_column." in caplog.text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("tokens", "tags"), ("tokens", "tags")),
        (("Words", "ner_tags"), ("Words", "ner_tags")),
        (("tokens", "labels"), ("tokens", "labels")),
        (("tokens", "marks"), ("tokens", "marks")),
    ],
)
def test_columns_of_words_and_tags_are_found(names, expected):
    columns = {"id": NUMBERS, **dict(zip(names, (WORDS_OF, TAGS_OF), strict=True)), "text": LONG}
    assert found(columns, WORDS, TAGS) == expected


def test_settings_show_what_was_read(tmp_path):
    """What errors, cards and `resolved.yaml` say is what was found."""
    Dataset.from_dict({"Tweet": LONG, "Score": [0.5, 1.5] * 10}).to_csv(str(tmp_path / "a.csv"))
    settings = DataSettings(path=str(tmp_path / "a.csv"))
    task = load_text_dataset(settings)
    assert (settings.text_column, settings.label_column, task.classes.names) == ("Tweet", "Score", ["Score"])
    Dataset.from_dict({"words": WORDS_OF, "ner": TAGS_OF, "pos": TAGS_OF}).to_json(str(tmp_path / "b.jsonl"))
    tagged = TaggedSettings(path=str(tmp_path / "b.jsonl"))
    assert load_tagged(tagged).classes.names == ["B-PER", "O", "I-PER"]
    assert (tagged.text_column, tagged.label_column) == ("words", "ner")


def test_a_table_of_texts_alone_may_hold_other_things(tmp_path):
    Dataset.from_dict({"n": NUMBERS, "lyrics": LONG}).to_csv(str(tmp_path / "a.csv"))
    settings = DocumentSettings(path=str(tmp_path / "a.csv"))
    assert set(load_documents(settings)["train"]["text"]) == set(LONG)
    assert settings.text_column == "lyrics"
    running = RunningTextSettings(path=str(tmp_path / "a.csv"))
    assert open_source(running).num_rows == 20 and running.text_column == "lyrics"
    Dataset.from_dict({"genre": SHORT, "lyrics": LONG}).to_csv(str(tmp_path / "b.csv"))
    both = DocumentSettings(path=str(tmp_path / "b.csv"), condition_column="genre")
    assert load_documents(both)["train"].column_names == ["text", "condition"] and both.text_column == "lyrics"
    with pytest.raises(UnclearColumnError, match="Which column holds the texts"):
        load_documents(DocumentSettings(path=str(tmp_path / "b.csv")))


def test_lists_of_words_are_running_text_and_a_stream_is_looked_into():
    columns = {"n": NUMBERS, "tokens": WORDS_OF}
    assert found(columns, RUNNING)[0] == "tokens"
    chosen = RunningTextSettings(name="embedded")
    find_columns(chosen, {"train": Dataset.from_dict(columns).to_iterable_dataset()}, RUNNING)
    assert chosen.text_column == "tokens"


def test_types_matter_more_than_order():
    rows = Dataset.from_dict({"a": WORDS_OF, "b": [[0, 1], [0]] * 10}).cast_column("b", List(Value("int32")))
    chosen = TaggedSettings(name="embedded")
    find_columns(chosen, {"train": rows}, WORDS, TAGS)
    assert (chosen.text_column, chosen.label_column) == ("a", "b")
