"""Taggers that read characters, from the recipe to a plain pipeline; pretrained vectors in the rows of words."""

import json
import subprocess
import sys
import textwrap

import pytest
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hfseq.cards.render import render_card
from hfseq.data.vectors import EmbeddingSettings
from hfseq.tasks.tagging.build import make_model, make_tokenizer, make_tokens
from tests.rounds import for_each
from tests.tasks.tagging.taggers import facts_of, small_settings, tagged_task

READERS = {"cnn": "a convolution over 3 of them, width 8", "lstm": "an LSTM from either end, width 8"}
SIZES = {"character_embedding_size": 6, "character_hidden_size": 8}


def settings_of(folder, reader="cnn", *, min_count=5, **tokens):
    """Settings of a small run whose rarer words are spelled."""
    settings = small_settings(folder)
    settings.model |= {"characters": reader, "case_features": True, **SIZES}
    settings.tokenizer.kind, settings.tokenizer.min_count = "word_or_characters", min_count
    for name, value in tokens.items():
        setattr(settings.tokenizer, name, value)
    settings.__post_init__()
    return settings


def vectors_file(folder, *lines):
    path = folder / "vectors.txt"
    path.write_text("".join(f"{word} {' '.join([number] * 8)}\n" for word, number in lines), encoding="utf-8")
    return EmbeddingSettings(from_pretrained=str(path))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that has ended for each reader: its facts and its folder."""
    made = {}
    for reader in READERS:
        folder = tmp_path_factory.mktemp(reader)
        facts, _, _ = facts_of(settings_of(folder, reader), tagged_task(), folder)
        made[reader] = facts, folder / "model"
    return made


@pytest.fixture(params=READERS)
def finished(request, runs):
    """The facts and the folder of one of them."""
    return runs[request.param]


def test_it_learns_words_that_are_spelled(finished):
    facts, _ = finished
    assert facts.runs[0].metrics["entity_f1"] > 0.9
    assert facts.words.kind == "word_or_characters" and facts.words.tokens_per_word > 1.2


def test_the_card_says_what_reads_the_characters(finished):
    facts, _ = finished
    told = facts.architecture.characters
    assert told in {f"embeddings of 6; {reader}; features of case" for reader in READERS.values()}
    assert f"embeddings of 8, words also read by their characters ({told})." in render_card(facts)


def test_a_plain_pipeline_reads_the_folders_without_a_network(runs):
    folders = [str(folder) for _, folder in runs.values()]
    script = f"""
        import json, socket
        socket.socket.connect = lambda *args: (_ for _ in ()).throw(OSError("no network"))
        import hfseq
        from transformers import pipeline
        for folder in {folders!r}:
            pipe = pipeline("token-classification", model=folder, aggregation_strategy="first")
            print(json.dumps([(each["entity_group"], each["word"], each["start"], each["end"])
                              for each in pipe("call Ana in New York, Anas!")]))
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines()[-len(folders) :]:
        found = json.loads(line)
        assert ["person", "Ana", 5, 8] in found and ["place", "New York", 12, 20] in found


def test_only_first_tokens_are_asked(tmp_path):
    settings, task = settings_of(tmp_path), tagged_task()
    assert not settings.tokenizer.label_all_tokens
    tokens = make_tokens(task, make_tokenizer(task.dataset["train"], settings.tokenizer), settings.tokenizer)
    for row, ids in zip(tokens["train"]["labels"], tokens["train"]["input_ids"], strict=True):
        assert len(row) == len(ids)
    asked = [sum(label != -100 for label in row) for row in tokens["train"]["labels"]]
    assert asked == [len(words) for words in task.dataset["train"]["tokens"]]


def test_tables_are_filled_and_kept(finished):
    _, folder = finished
    model, tokenizer = AutoModelForTokenClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = model.base_model.token_words(**tokenizer("Nal call", return_tensors="pt"))
    assert found.starts.sum() == 2 and found.rows[found.word_of[0, 0]] == 1


@for_each("kind", ["word", "wordpiece", "whitespace"])
def test_other_tokenizers_of_words_have_characters_too(kind, tmp_path):
    settings, task = settings_of(tmp_path, kind=kind), tagged_task()
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    model = make_model(settings, task, tokenizer).eval()
    assert model(**tokenizer("call Ana", return_tensors="pt")).logits.shape[-1] == 5


def test_spellings_share_a_row_where_texts_are_lowered(tmp_path):
    settings, task = settings_of(tmp_path, min_count=1, lowercase=True), tagged_task()
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    model = make_model(settings, task, tokenizer)
    rows = model.base_model.token_words.rows
    lower, title, upper = tokenizer.convert_tokens_to_ids(["ana", "Ana", "hello"])
    assert rows[lower] == rows[title] != rows[upper]
    assert len(model.get_input_embeddings().weight) == model.config.word_rows < len(tokenizer)


def test_pretrained_vectors_go_into_the_rows_of_words(tmp_path, caplog):
    settings, task = settings_of(tmp_path), tagged_task()
    settings.embeddings = vectors_file(tmp_path, ("Ana", "1"), ("new", "2"), ("a", "3"), ("##n", "4"))
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    model = make_model(settings, task, tokenizer)
    weight, rows = model.get_input_embeddings().weight, model.base_model.token_words.rows
    assert weight[rows[tokenizer.convert_tokens_to_ids("Ana")]].tolist() == [1] * 8
    assert weight[rows[tokenizer.convert_tokens_to_ids("New")]].tolist() == [2] * 8  # by its lower case
    assert not any((weight[1] == value).all() for value in (3, 4))  # pieces have the row of unknown words
    words = sum(task.dataset["train"]["tokens"][:], [])
    exact, lowered = (100 * words.count(word) / len(words) for word in ("Ana", "New"))
    assert f"covers {100 * 2 / len(weight):.1f} % of the vocabulary." in caplog.text
    told = f"{exact + lowered:.1f} % of the running words of the training texts have a vector, {lowered:.1f} % that"
    assert told in caplog.text


def test_a_vector_of_the_lower_case_goes_first_in_a_shared_row(tmp_path):
    settings, task = settings_of(tmp_path, min_count=1, lowercase=True), tagged_task()
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    for lines, expected in (([("ana", "1"), ("Ana", "2")], 1), ([("Ana", "2")], 2), ([("ana", "1")], 1)):
        settings.embeddings = vectors_file(tmp_path, *lines)
        model = make_model(settings, task, tokenizer)
        row = model.base_model.token_words.rows[tokenizer.convert_tokens_to_ids("Ana")]
        assert model.get_input_embeddings().weight[row].tolist() == [expected] * 8
