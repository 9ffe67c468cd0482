"""Rows of two texts: their columns, their tokens, the pipeline, and the simple systems beside them."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer, pipeline

from hfseq import cli
from hfseq.cards.render import render_card
from hfseq.data.tagged import TaggedSettings
from hfseq.data.text import Classes, TextTask, load_text_dataset, tokenize_dataset
from hfseq.evaluation.scores import compute_score
from hfseq.recipe.publish import next_line
from hfseq.settings import read_settings
from hfseq.tasks.text_classification.build import make_arguments, make_model, make_tokenizer, make_trainer
from hfseq.tasks.text_classification.defaults import follow_data
from hfseq.tasks.text_classification.rivals import rivals
from hfseq.tasks.text_classification.settings import LabelledTexts, TextClassificationSettings, TokenizerSettings
from hfseq.tokenization import KINDS, train_tokenizer
from tests.closeness import assert_same
from tests.tasks.text_classification.classifiers import facts_of, small_settings

WORDS = ["film", "plot", "song", "book", "play", "story", "scene", "line", "hero", "end"]


def table(rows=40, seed=0):
    """Pairs whose score is how many of the three words both have."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(rows):
        first, second = (random.choice(WORDS, 3, replace=False) for _ in range(2))
        kept = int(random.integers(4))
        second[:kept] = first[:kept]
        found.append((" ".join(first), " ".join(second), float(len({*first} & {*second}))))
    return {name: list(values) for name, values in zip(("one", "two", "score"), zip(*found, strict=True), strict=True)}


def settings_of(tmp_path, rows=40, **options):
    path = tmp_path / "pairs.csv"
    columns = table(rows)
    Dataset.from_dict({**columns, "kind": ["alike" if score > 1 else "other" for score in columns["score"]]}).to_csv(
        str(path)
    )
    names = {"text_column": "one", "text_pair_column": "two", "label_column": "score"}
    return LabelledTexts(path=str(path), **{**names, **options})


def prepared(settings, **columns):
    """A task of few pairs with a test split."""
    task = load_text_dataset(settings)
    return dataclasses.replace(task, dataset=DatasetDict({**task.dataset, "test": task.dataset["train"]}), **columns)


def test_pairs_are_read_under_the_names_that_pipelines_take(tmp_path):
    task = load_text_dataset(settings_of(tmp_path))
    assert task.has_pairs and task.problem_type == "regression"
    rows = table()
    held = [*task.dataset["train"], *task.dataset["validation"]]
    found = {(row["text"], row["text_pair"], row["labels"]) for row in held}
    assert found == set(zip(rows["one"], rows["two"], rows["score"], strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_pair_column": "one"}, "text_pair_column='one' is the text_column or the label_column too"),
        ({"text_pair_column": "tow"}, "data.text_pair_column"),
        ({"text_pair_column": "score", "label_column": "kind"}, "text_pair_column='score' holds float64, not texts"),
    ],
)
def test_a_column_that_holds_no_second_texts_is_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load_text_dataset(settings_of(tmp_path, **options))


def test_settings_that_are_for_one_text_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"text_pair_column='two'.*a tagger reads one"):
        TaggedSettings(name="embedded", text_pair_column="two")
    settings = small_settings(tmp_path)
    with pytest.raises(ValueError, match=r"card.ask=.*text_pair_column='two' makes a model of pairs: leave card.ask"):
        dataclasses.replace(settings, data=settings_of(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_of_the_tokenizer_that_is_loaded_again(tmp_path, kind):
    task = load_text_dataset(settings_of(tmp_path))
    rows = task.dataset["train"]
    tokenizer = make_tokenizer(rows, TokenizerSettings(kind=kind, vocab_size=300, min_count=None, max_length=9))
    tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    expected = again(rows["text"][:], rows["text_pair"][:], truncation="longest_first", max_length=9)
    assert set(expected) == {"input_ids", "attention_mask"}
    found = tokenize_dataset(rows, tokenizer, 9)
    assert found["input_ids"][:] == expected["input_ids"]
    assert found["length"][:] == [len(ids) for ids in expected["input_ids"]]
    assert "text_pair" not in found.column_names
    first, second = (again(text)["input_ids"] for text in ("film", "plot"))
    between = [ord(" ")] if kind == "byte" else []  # the others end each text with </s>
    assert again("film", "plot")["input_ids"] == [*first, *between, *second]
    assert kind == "byte" or first[-1] == second[-1] == again.eos_token_id


def test_the_longer_text_is_cut_and_the_end_of_each_stays():
    tokenizer = train_tokenizer(["a b c d e f g"] * 2, max_length=8)
    rows = Dataset.from_dict({"text": ["a b c d e f g"], "text_pair": ["a b"], "labels": [0]})
    found = tokenize_dataset(rows, tokenizer, 8)
    ids = found["input_ids"][0]
    assert tokenizer.convert_ids_to_tokens(ids) == ["a", "b", "c", "d", "</s>", "a", "b", "</s>"]
    assert found["cut"][:] == [3]
    assert [tokenize_dataset(rows, tokenizer, limit)["cut"][:] for limit in (1, 2)] == [[9], [9]]  # </s> stays, twice


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_of_any_length_are_cut_as_the_pipeline_cuts_them(kind, side):
    random = np.random.default_rng(0)
    lengths = [*random.integers(0, 12, (60, 2)), (7, 8), (8, 7)]
    texts = [[" ".join(random.choice(WORDS, length)) for length in pair] for pair in lengths]
    firsts, seconds = map(list, zip(*texts, strict=True))
    tokenizer = train_tokenizer([" ".join(WORDS)] * 2, kind=kind)
    tokenizer.truncation_side = side
    rows = Dataset.from_dict({"text": firsts, "text_pair": seconds})
    whole = list(map(len, tokenizer(firsts, seconds)["input_ids"]))
    for limit in (6, 7, 11):
        expected = tokenizer(firsts, seconds, truncation="longest_first", max_length=limit)["input_ids"]
        found = tokenize_dataset(rows, tokenizer, limit)
        assert found["input_ids"][:] == expected
        assert found["cut"][:] == [size - len(ids) for size, ids in zip(whole, expected, strict=True)]
        alone = tokenize_dataset(rows.select_columns("text"), tokenizer, limit)
        assert alone["input_ids"][:] == tokenizer(firsts, truncation=True, max_length=limit)["input_ids"]


def test_long_pairs_are_cut_without_every_combination_of_their_pieces():
    tokenizer = train_tokenizer([" ".join(WORDS)] * 2)
    rows = Dataset.from_dict({"text": ["film " * 20_000], "text_pair": ["plot " * 20_000]})
    found = tokenize_dataset(rows, tokenizer, 32)  # 1.7 million combinations, which take minutes
    assert found["cut"][:] == [40_002 - 32] and len(found["input_ids"][0]) == 32


MODELS = {
    "siamese": {"type": "gru", "pairs": "siamese", "wide_ngrams": 2, "bidirectional": True},
    "joined": {"type": "lstm", "embedding_size": 4, "hidden_size": 5},
    "transformer": {"type": "transformer", "hidden_size": 8, "num_attention_heads": 2, "pairs": "siamese"},
    "words-alone": {"type": "bag", "word_ngrams": 1},
    "bag": {"type": "bag", "word_ngrams": 2},
    "bytes": {"type": "bag", "word_ngrams": 2, "units": "bytes"},
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", MODELS)
def test_the_pipeline_answers_pairs_in_batches(tmp_path, name, side):
    task = prepared(settings_of(tmp_path, label_column="kind"))
    section, training = dict(MODELS[name]), {"output_dir": str(tmp_path / "run"), "use_cpu": True, "report_to": "none"}
    kind = "byte" if section.pop("units", None) else "word"
    settings = dataclasses.replace(
        small_settings(tmp_path),
        tokenizer=TokenizerSettings(kind=kind, min_count=1, padding_side=side),
        model=section,
        training={**training, "max_steps": 3, "save_strategy": "no", "disable_tqdm": True, "learning_rate": 0.05},
    )
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    tokens = tokenize_dataset(task.dataset["train"], tokenizer)
    model = make_model(settings, task, tokenizer)
    trainer = make_trainer(model, make_arguments(settings), train_dataset=tokens, processing_class=tokenizer)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    logits = trainer.predict(tokens).predictions
    pipe = pipeline("text-classification", model=str(tmp_path / "model"), device="cpu")
    assert pipe.tokenizer.padding_side == side
    asked = [{"text": row["text"], "text_pair": row["text_pair"]} for row in task.dataset["train"]]
    together = pipe(asked, batch_size=7, function_to_apply="none", top_k=None)
    for row, found in zip(logits, together, strict=True):
        own = {each["label"]: each["score"] for each in found}
        assert_same(np.array([own[label] for label in task.classes.names]), row, 1e-5)
    alone, turned = (
        {each["label"]: each["score"] for each in pipe(pair, function_to_apply="none", top_k=None)}
        for pair in ({"text": "film plot", "text_pair": "song"}, {"text": "song", "text_pair": "film plot"})
    )
    is_same = all(abs(alone[label] - turned[label]) < 1e-5 for label in alone)
    assert is_same == (name == "words-alone")  # a bag of single words does not see which text is the first


def test_the_dictionary_of_a_bag_of_bytes_has_the_words_of_both_texts(tmp_path):
    rows = Dataset.from_dict({"text": ["left"] * 4, "text_pair": ["right"] * 4, "labels": [0, 1, 0, 1]})
    task = TextTask(DatasetDict({"train": rows}), "single_label_classification", Classes(["a", "b"]))
    settings = dataclasses.replace(small_settings(tmp_path), model={"type": "bag"}, training={"output_dir": "run"})
    settings.tokenizer = TokenizerSettings(kind="byte", min_count=1)
    model = make_model(settings, task, make_tokenizer(rows, settings.tokenizer))
    assert model.config.num_words == 3  # and what fastText ends a text with
    words = make_tokenizer(rows, TokenizerSettings(min_count=1))
    assert {"left", "right"} <= words.get_vocab().keys()


def scores_of(task):
    """The scores of the simple systems: name without its settings -> score -> value."""
    rows, scores = task.dataset["test"], {}

    def measure(predicted):
        names = ("pearson", "mse") if task.problem_type == "regression" else ("accuracy",)
        return {name: compute_score(name, predicted, np.asarray(rows["labels"])) for name in names}

    for row in rivals(task, rows, "words", measure):
        scores.setdefault(row.name.split(" (")[0], {})[row.metric] = row.value
    return scores


def test_the_simple_systems_compare_the_two_texts(tmp_path):
    regression = scores_of(prepared(settings_of(tmp_path, rows=300)))
    bag, cosine, all_of_them = list(regression)[-3:]
    assert (bag, cosine) == ("Bag of words", "Cosine of the TF-IDF of the two texts")
    assert "word overlap" in all_of_them
    assert regression[cosine]["pearson"] > 0.9 and regression[all_of_them]["pearson"] > 0.9
    assert regression[cosine]["mse"] < 0.5 * regression[bag]["mse"]
    classes = scores_of(prepared(settings_of(tmp_path, rows=300, label_column="kind")))
    assert classes[cosine]["accuracy"] > 0.9 > classes["Most frequent class"]["accuracy"]


def test_pairs_have_defaults_of_their_own(tmp_path):
    data = settings_of(tmp_path)
    words = [f"--data.path={data.path}", "--model.type=gru", "--budget.minutes=1", f"--training.output_dir={tmp_path}"]
    pairs = ["--data.text_column=one", "--data.text_pair_column=two", "--data.label_column=score"]
    settings = read_settings(TextClassificationSettings, [*words, *pairs])
    filled = follow_data(settings, load_text_dataset(settings.data))
    assert filled.model["pairs"] == "siamese" and filled.tokenizer.kind == "wordpiece"
    assert filled.training["metric_for_best_model"] == "mse" and filled.training["early_stopping_patience"]
    assert make_arguments(filled).greater_is_better is False
    said = read_settings(TextClassificationSettings, [*words, *pairs, "--model.pairs=joined"])
    assert follow_data(said, load_text_dataset(said.data)).model["pairs"] == "joined"


def test_the_card_asks_for_two_texts(tmp_path):
    settings = small_settings(tmp_path)
    settings.card.ask = []
    settings.model["pairs"] = "siamese"
    facts, *_ = facts_of(settings, prepared(settings_of(tmp_path)), tmp_path)
    card = render_card(facts)
    assert facts.pairs == "siamese" and "reads each alone, and compares them" in card
    assert 'pipe({"text": "This is a sentence.", "text_pair": "Here is another one."})' in card
    assert "Pairs of more than 16 tokens were cut, in training" in card
    assert any(" / " in row.text for row in facts.examples.right)
    asked = ["hfseq predict out --file PAIRS.jsonl", "hfseq evaluate out DATA --text-pair-column NAME"]
    assert next_line(facts, Path("out")) == f"next: {' | '.join(asked)} | hfseq push out user/name"
    usual = next_line(dataclasses.replace(facts, pairs=None), Path("out"))
    assert usual == "next: hfseq predict out TEXT | hfseq evaluate out DATA | hfseq push out user/name"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of pairs, trained by the command, and the files beside it."""
    home = tmp_path_factory.mktemp("pairs")
    for split, seed in (("train", 0), ("validation", 1), ("test", 2)):
        Dataset.from_dict(table(60, seed)).to_csv(str(home / "data" / f"{split}.csv"))
    columns = ["--data.text_column=one", "--data.text_pair_column=two", "--data.label_column=score"]
    small = ["--training.max_steps=6", "--model.hidden_size=16", "--training.learning_rate=5e-3"]
    words = ["train", "text-classification", str(home / "data"), "--model", "gru", "--out", str(home / "model")]
    assert cli.main([*words, *columns, *small]) == 0
    return home


def test_the_command_evaluates_and_answers_pairs(folder, capsys):
    columns = ["--text-column", "one", "--text-pair-column", "two", "--label-column", "score"]
    assert cli.main(["evaluate", str(folder / "model"), str(folder / "data"), *columns]) == 0
    measured = dict(line.split() for line in capsys.readouterr().out.splitlines())
    facts = json.loads((folder / "model" / "facts.json").read_text(encoding="utf-8"))
    for name in ("mse", "pearson", "spearman"):
        assert float(measured[name]) == pytest.approx(facts["runs"][0]["metrics"][name], abs=2e-4)
    rows = [{"text": "film plot end", "text_pair": "film plot end"}, {"text": "song", "text_pair": "hero"}]
    asked = folder / "asked.jsonl"
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert cli.main(["predict", str(folder / "model"), "--file", str(asked)]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [{name: row[name] for name in ("text", "text_pair")} for row in answers] == rows
    assert all(isinstance(row["score"], float) for row in answers)


def test_the_command_tells_how_pairs_are_given(folder, capsys):
    model, data = str(folder / "model"), str(folder / "data")
    assert cli.main(["evaluate", model, data, "--text-column", "one", "--label-column", "score"]) == 1
    told = capsys.readouterr().err
    assert "name the column of the second with --text-pair-column NAME" in told and "--file" not in told
    for name, config in (("facts.json", {}), ("README.md", {"pairs": "joined"})):  # facts.json knows the latter
        copy = shutil.copytree(model, folder / "copy", dirs_exist_ok=True)
        (copy / name).unlink()
        said = json.loads((copy / "config.json").read_text(encoding="utf-8")) | config
        (copy / "config.json").write_text(json.dumps(said), encoding="utf-8")
        assert cli.main(["info", str(copy)]) == 0
        told = capsys.readouterr().out
        assert f"hfseq predict {copy} --file PAIRS.jsonl\n" in told
        assert f"""model='{copy}')({{"text": TEXT, "text_pair": TEXT}})\n""" in told


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"}', "This model compares two texts, but 'a' is one: give --file PAIRS.jsonl"),
        ('{"text": "a", "pair": "b"}', "line 1 must be"),
        ('{"text": "a", "text_pair": 3}', "line 1 must be"),
        ('["a", "b"]', "line 1 must be"),
        ("a\tb", "line 1 is no JSON"),
    ],
)
def test_lines_that_are_no_pairs_are_refused(folder, tmp_path, capsys, line, message):
    (tmp_path / "asked.jsonl").write_text(line + "\n", encoding="utf-8")
    assert cli.main(["predict", str(folder / "model"), "--file", str(tmp_path / "asked.jsonl")]) == 1
    assert message in capsys.readouterr().err
