"""Loading words with tags: every source, every way of writing entities, the tokens, and the answer to each mistake."""

import gzip
import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from hfseq.data.tagged import TaggedSettings, load_tagged, tokenize_words
from hfseq.tokenization import train_tokenizer
from tests.rounds import for_each

WORDS = [["Ana", "sees", "New", "York"], ["hello"], ["Oslo", "calls"]]
TAGS = [["B-PER", "O", "B-LOC", "I-LOC"], ["O"], ["B-LOC", "O"]]
NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
CONLL = "".join(
    "".join(f"{word} NN X {tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n"
    for words, tags in zip(WORDS, TAGS, strict=True)
)
CONLLU = """\
# sent_id = 1
# text = Don't stop
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\tMood=Imp\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_
3\tstop\tstop\tVERB\tVB\t_\t0\troot\t_\t_

1\t1 000\t1 000\tNUM\tCD\t_\t0\troot\t_\t_
"""


def table(words=WORDS, tags=TAGS) -> Dataset:
    return Dataset.from_dict({"tokens": words, "tags": tags})


@pytest.fixture
def load(tmp_path):
    """Saves splits, validation too, and loads them with some settings."""

    def load(tables, /, **settings):
        DatasetDict({"validation": next(iter(tables.values())), **tables}).save_to_disk(str(tmp_path / "saved"))
        return load_tagged(TaggedSettings(path=str(tmp_path / "saved"), **settings))

    return load


@pytest.fixture
def read(tmp_path):
    """Writes a file of that name, and loads it as all splits."""

    def read(name, text, **settings):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return load_tagged(TaggedSettings(path={"train": str(path), "validation": str(path)}, **settings))

    return read


def rows_of(task, split="train"):
    return task.dataset[split]["tokens"][:], task.tags(split)


# Sources


def test_the_embedded_requests_have_slots():
    task = load_tagged(TaggedSettings(name="embedded", max_rows=20))
    assert {split: rows.num_rows for split, rows in task.dataset.items()} == dict.fromkeys(
        ("train", "validation", "test"), 20
    )
    assert task.has_entities
    assert {"O", "B-city", "I-city"} <= set(task.classes.names)
    words, tags = rows_of(task)
    assert all(len(row) == len(own) for row, own in zip(words, tags, strict=True))


@pytest.mark.parametrize("suffix", [".parquet", ".json", ".jsonl"])
def test_a_folder_of_tables_is_read(tmp_path, suffix):
    rows = table()
    for split in ("train", "dev", "test"):
        path = tmp_path / f"{split}{suffix}"
        if suffix == ".json":
            path.write_text(json.dumps(rows.to_list()), encoding="utf-8")
        else:
            (rows.to_parquet if suffix == ".parquet" else rows.to_json)(str(path))
    task = load_tagged(TaggedSettings(path=str(tmp_path)))
    assert set(task.dataset) == {"train", "validation", "test"}
    assert rows_of(task, "test") == (WORDS, TAGS)
    assert task.classes.names == ["B-LOC", "B-PER", "I-LOC", "O", "I-PER"]


def test_classes_keep_the_order_of_the_data_and_numbers_take_given_names(load):
    ids = [[NAMES.index(tag) for tag in row] for row in TAGS]
    classes = load({"train": table(WORDS, ids).cast_column("tags", List(ClassLabel(names=NAMES)))})
    numbers = load({"train": table(tags=ids)}, label_names=NAMES)
    for task in (classes, numbers):
        assert task.classes.names == NAMES
        assert rows_of(task) == (WORDS, TAGS)
    unnamed = load({"train": table(tags=ids)})
    assert unnamed.classes.names == ["0", "1", "2", "3", "4"]
    assert not unnamed.has_entities


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.iob2"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff-DOCSTART- -X- -X- O\n\n" + text.rstrip("\n"),
        lambda text: text.replace("\n\n", "\n \n\n"),
    ],
    ids=["blanks", "tabs", "windows", "document", "empty lines"],
)
def test_conll_files_are_read_however_they_are_written(read, name, change):
    assert rows_of(read(name, change(CONLL))) == (WORDS, TAGS)


def test_a_word_may_hold_a_space_that_does_not_break_and_a_sentence_may_have_an_id(read):
    marked = "# id 7f-3 domain=news\n" + CONLL.replace("York", "York\u00a0City").replace("\n\n", "\n\n# id 8 x y z\n")
    words, tags = rows_of(read("a.conll", marked.removesuffix("# id 8 x y z\n")))
    assert words == [[*WORDS[0][:3], "York\u00a0City"], *WORDS[1:]]
    assert tags == TAGS


def test_any_column_of_a_conll_file_can_be_the_tags(read):
    task = read("a.conll", CONLL.replace("hello NN", "hello UH"), label_column="column_2")
    assert task.classes.names == ["NN", "UH"]
    assert not task.has_entities
    assert task.tags("train")[1] == ["UH"]


def test_a_treebank_gives_the_words_of_its_trees_and_their_parts_of_speech(read):
    task = read("a.conllu", CONLLU)
    assert rows_of(task) == ([["Do", "n't", "stop"], ["1 000"]], [["AUX", "PART", "VERB"], ["NUM"]])
    assert not task.has_entities
    assert read("a.conllu", CONLLU, label_column="deprel").tags("train") == [["aux", "advmod", "root"], ["root"]]


def test_a_validation_split_is_cut_where_there_is_none(tmp_path):
    (tmp_path / "all.conll").write_text(CONLL * 10, encoding="utf-8")
    task = load_tagged(TaggedSettings(path=str(tmp_path / "all.conll"), validation_fraction=0.2))
    assert {split: rows.num_rows for split, rows in task.dataset.items()} == {"train": 24, "validation": 6}


# Entities


@pytest.mark.parametrize(
    "written",
    [
        [["I-PER", "O", "I-LOC", "I-LOC"], ["O"], ["I-LOC", "O"]],
        [["S-PER", "O", "B-LOC", "E-LOC"], ["O"], ["S-LOC", "O"]],
        [["U-PER", "O", "B-LOC", "L-LOC"], ["O"], ["U-LOC", "O"]],
    ],
    ids=["IOB1", "IOBES", "BILOU"],
)
def test_entities_are_brought_to_iob2(load, caplog, written):
    task = load({"train": table(tags=written)})
    assert rows_of(task) == (WORDS, TAGS)
    assert task.classes.names == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert "The tags were not in IOB2" in caplog.text


def test_each_kind_of_entities_goes_on_in_the_model(load):
    """A word may be several tokens: the first is B-PER, and the others need I-PER, which no word has."""
    task = load({"train": table(tags=[["B-PER", "O", "B-LOC", "I-LOC"], ["O"], ["B-LOC", "O"]])})
    assert task.classes.names == ["B-LOC", "B-PER", "I-LOC", "O", "I-PER"]
    assert task.tags("train")[0] == ["B-PER", "O", "B-LOC", "I-LOC"]
    given = load({"train": table(tags=[["B-PER", "O", "O", "O"], ["O"], ["O", "O"]])}, label_names=["B-PER", "O"])
    assert given.classes.names == ["B-PER", "O", "I-PER"]
    assert load({"train": table(tags=[["NOUN", "B-", "X", "X"], ["X"], ["X", "X"]])}).classes.names == [
        "B-",
        "NOUN",
        "X",
    ]


def test_iob2_is_left_as_it_is(load, caplog):
    odd = ["I-PER", "B-PER", "O", "B-LOC", "I-LOC"]
    assert load({"train": table()}, label_names=odd).classes.names == odd
    assert "IOB2" not in caplog.text


# Mistakes


@for_each(
    ("words", "tags", "settings", "message"),
    [
        (
            WORDS,
            [*TAGS[:2], ["O"]],
            {},
            r"'train', row 2 has 2 words \('tokens'\) and 1 tags \('tags'\): each word needs",
        ),
        ([*WORDS[:2], ["", "calls"]], TAGS, {}, r"row 2 holds a word that is empty or blank: \['', 'calls'\]"),
        ([*WORDS[:2], ["\u00a0 ", "calls"]], TAGS, {}, "row 2 holds a word that is empty or blank"),
        (WORDS, [*TAGS[:2], None], {}, "row 2: 'tags' has no value"),
        (WORDS, [*TAGS[:2], ["O", None]], {}, "has an empty label"),
        (WORDS, TAGS, {"label_column": "tag"}, "unknown data.label_column 'tag'; did you mean 'tags'"),
        (WORDS, TAGS, {"text_column": "words"}, "unknown data.text_column 'words'"),
        (["a b", "c", "d"], TAGS, {}, "data.text_column='tokens' holds string, not lists of words"),
        (WORDS, ["O", "O", "B-LOC"], {}, "data.label_column='tags' holds string, not lists of tags"),
        (WORDS, [["O"] * len(row) for row in WORDS], {}, r"All labels of train are \['O'\]"),
        (WORDS, TAGS, {"label_names": ["O", "B-LOC", "I-LOC"]}, "unknown label 'B-PER'"),
        (WORDS, [*TAGS[:1], ["0"], TAGS[2]], {}, r"'0', which tells no entity \(split '.*', row 1, word 'hello'\)"),
    ],
)
def test_mistakes_are_named(load, words, tags, settings, message):
    with pytest.raises(ValueError, match=message):
        load({"train": table(words, tags)}, **settings)


def test_rows_of_no_words_are_left_out_and_counted(load, caplog):
    task = load({"train": table([[], *WORDS, []], [[], *TAGS, []]), "test": table()})
    assert rows_of(task) == (WORDS, TAGS)
    assert rows_of(task, "test") == (WORDS, TAGS)
    assert "Split 'train': 2 of 5 rows hold no word and are left out." in caplog.text
    assert "'test'" not in caplog.text
    with pytest.raises(ValueError, match="'test' holds no word at all"):
        load({"train": table(), "test": table([[]], [[]]).cast(table().features)})


def test_a_tag_that_training_never_shows_is_named(load, caplog):
    strange = table([["Rome"]], [["B-CITY"]])
    with pytest.raises(ValueError, match=r"labels that train never shows: 'B-CITY' \(1\). Name all classes in"):
        load({"train": table(), "test": strange})
    task = load({"train": table(), "test": strange}, unseen_labels="wrong")
    assert (task.classes.unseen, task.tags("test")) == (["B-CITY"], [["B-CITY"]])
    assert "Split 'test' has labels that train never shows: 'B-CITY' (1)." in caplog.text
    assert set(task.classes.names) == {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
    task = load({"train": table(), "test": strange}, label_names=[*NAMES, "B-CITY"])
    assert task.tags("test") == [["B-CITY"]]


@for_each(
    ("name", "text", "message"),
    [
        ("a.conll", "Ana B-PER\nsees X O\n", r"line 2 has 3 columns, not 2, as the lines before it: 'sees X O'"),
        ("a.conll", "# made by hand\nAna O\n", r"line 2 .*'# made by hand' is read as a word and its tags: remove it"),
        ("a.conll", "Ana O\n\n# by hand\n", r"line 3 has 3 columns.*'# by hand' is read as a word .*: remove it"),
        ("a.conll", "Ana\nsees\n", "line 1 has 1 columns, not a word and its tags: 'Ana'"),
        ("a.conllu", "1\tAna\tAna\tPROPN\n", "line 1 has 4 columns, parted by tabs; CoNLL-U has 10"),
        ("a.conllu", "# nothing\n", "'train' is empty"),
        ("a.conll", "\n\n", "'train' is empty"),
        ("a.csv", "tokens,tags\n", "unknown file type '.csv'"),
    ],
)
def test_files_that_are_no_conll_are_answered_with_the_line(read, name, text, message):
    with pytest.raises(ValueError, match=message):
        read(name, text)


# Tokens

TEXTS = [["Don't", "call", "New-York", "Ana"], [], ["call"]]
IDS = [[0, 0, 3, 1], [], [0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", r"x\.conll is a zip archive; unpack it"),
        (
            gzip.compress(b"EU B-ORG\n\n", mtime=0),
            r"x\.conll is packed by gzip; let its name end in \.gz, or unpack it",
        ),
        (b"EU B-ORG\ncaf\xe9 O\n\n", r"x\.conll is not UTF-8 \(line 2, byte 12: 0xe9\): convert it"),
        (b"", r"x\.conll cannot be read as text; is it empty or torn"),
        (b"EU B-ORG\n" + b"x" * 9999, r"line 2 has 1 columns, not 2, as the lines before it: 'x{200}'"),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    (tmp_path / "x.conll").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_tagged(TaggedSettings(path=str(tmp_path / "x.conll")))


@pytest.fixture
def rows():
    return Dataset.from_dict(
        {"tokens": TEXTS, "labels": IDS},
        Features({"tokens": List(Value("string")), "labels": List(ClassLabel(names=NAMES))}),
    )


def tokenizer(kind="word"):
    options = {"vocab_size": 30} if kind == "unigram" else {"vocab_size": 300, "min_frequency": 1}
    return train_tokenizer([" ".join(words) for words in TEXTS], kind, **options)


@pytest.mark.parametrize("kind", ["word", "wordpiece", "unigram", "bpe", "whitespace"])
def test_the_first_token_of_each_word_has_its_tag(rows, kind):
    own = tokenizer(kind)
    tokens = tokenize_words(rows, own, NAMES)
    assert [[label for label in labels if label != -100] for labels in tokens["labels"]] == IDS
    for words, ids, labels in zip(TEXTS, tokens["input_ids"], tokens["labels"], strict=True):
        starts = [place for place, label in enumerate(labels) if label != -100]
        ends = [*starts[1:], len(ids) - 1][: len(starts)]
        spelled = [own.decode(ids[start:end]).replace(" ", "") for start, end in zip(starts, ends, strict=True)]
        assert spelled == words
        assert (ids[-1], labels[-1]) == (own.eos_token_id, -100)
    assert tokens["length"][:] == [len(ids) for ids in tokens["input_ids"]]


def test_later_tokens_are_inside_the_entity_when_all_are_labelled(rows):
    tokens = tokenize_words(rows, tokenizer(), NAMES, label_all_tokens=True)
    assert tokens["labels"][0] == [0, 0, 0, 0, 3, 4, 4, 1, -100]  # Don ' t call New - York Ana </s>
    without_inside = tokenize_words(rows, tokenizer(), ["O", "B-a", "I-a", "B-b"], label_all_tokens=True)
    assert without_inside["labels"][0] == [0, 0, 0, 0, 3, -100, -100, 1, -100]
    of_words = tokenize_words(rows, tokenizer(), ["A", "B", "C", "D"], label_all_tokens=True)
    assert of_words["labels"][0] == [0, 0, 0, 0, 3, 3, 3, 1, -100]


def test_long_texts_are_cut_and_the_words_that_are_lost_are_counted(rows, caplog):
    tokens = tokenize_words(rows, tokenizer(), NAMES, max_length=5)
    assert tokens["labels"][:] == [[0, -100, -100, 0, -100], [-100], [0, -100]]
    assert tokens["input_ids"][0][-1] == tokenizer().eos_token_id
    assert "2 of 5 words are left out with their tags: the texts are cut to 5 tokens." in caplog.text


def test_a_word_that_the_tokenizer_leaves_nothing_of_keeps_its_place():
    own = tokenizer()
    silent = Dataset.from_dict({"tokens": [["call", "\u200b", "Ana"]], "labels": [[0, 3, 1]]})
    tokens = tokenize_words(silent, own, NAMES)
    assert tokens["labels"][0] == [0, 3, 1, -100]
    assert own.convert_ids_to_tokens(tokens["input_ids"][0]) == ["call", "<unk>", "Ana", "</s>"]
