"""Data of one's own, as a person has them: other columns, no header, plain texts, labels that only the test shows."""

import json
from pathlib import Path

import pytest

from hfseq import cli

SMALL = ("--training.max_steps=4", "--training.learning_rate=5e-3", "--model.hidden_size=16")
ROWS = [(f"{'good' if i % 2 else 'bad'} film {i}", "pos" if i % 2 else "neg") for i in range(60)]
SENTENCES = "".join(f"we saw a {'good' if i % 2 else 'bad'} film on day {i} .\n" for i in range(300))


def write(path, rows, header=("text", "label")):
    path.parent.mkdir(exist_ok=True)
    lines = [",".join(row) for row in [*([header] if header else []), *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def train(data, out, *words, task="text-classification", model="gru"):
    return cli.main(["train", task, str(data), "--model", model, "--out", str(out), *SMALL, *words])


def facts_in(folder):
    return json.loads((Path(folder) / "facts.json").read_text(encoding="utf-8"))


def metrics_in(folder):
    return facts_in(folder)["runs"][0]["metrics"]


def evaluated(capsys, *words):
    capsys.readouterr()
    assert cli.main(["evaluate", *map(str, words)]) == 0
    return {name: float(value) for name, value in map(str.split, capsys.readouterr().out.splitlines())}


def test_columns_are_found_by_their_names_and_shown(tmp_path, capsys, caplog):
    write(tmp_path / "own" / "train.csv", ROWS, ("Review", "Sentiment"))
    write(tmp_path / "own" / "test.csv", ROWS[:20], ("Review", "Sentiment"))
    assert train(tmp_path / "own", tmp_path / "out") == 0
    assert "read the texts from column 'Review' and the labels from column 'Sentiment'" in caplog.text
    resolved = (tmp_path / "out" / "resolved.yaml").read_text(encoding="utf-8")
    assert "text_column: Review" in resolved and "label_column: Sentiment" in resolved
    found = evaluated(capsys, tmp_path / "out", tmp_path / "own")
    assert found["accuracy"] == pytest.approx(metrics_in(tmp_path / "out")["accuracy"], abs=1e-4)
    odd = write(tmp_path / "odd.csv", [(*row, "x") for row in ROWS], ("one", "two", "three"))
    for words, cure in ((["train", "text-classification"], "--data.text_column"), (["evaluate"], "--text-column")):
        data = [str(tmp_path / "out"), odd] if words == ["evaluate"] else [odd, "--model", "gru"]
        assert cli.main([*words, *data]) == 1
        told = capsys.readouterr().err
        assert f"Choose one with {cure}=NAME" in told and "'two' (texts: neg, pos)" in told


def test_a_settings_file_of_other_data_brings_neither_splits_nor_columns(tmp_path, caplog):
    for split, rows in (("train", ROWS), ("validation", ROWS[:20]), ("test", ROWS[20:30])):
        write(tmp_path / "own" / f"{split}.csv", rows)
    assert train(tmp_path / "own", tmp_path / "out", "--config", "gru_sst2") == 0
    assert "of its section data, splits, text_column no longer count" in caplog.text
    assert facts_in(tmp_path / "out")["data"]["splits"] == {"train": 60, "validation": 20, "test": 10}


def test_a_file_without_a_header_says_so_and_is_read_with_names(tmp_path, capsys):
    path = write(tmp_path / "own.csv", ROWS, header=None)
    assert train(path, tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert (
        "seems to have no header" in told
        and "'--data.column_names=[text, label]'" in told
        and told.count("hfseq train:") == 1
    )
    assert train(path, tmp_path / "out", "--data.column_names=[text, label]") == 0
    assert sum(facts_in(tmp_path / "out")["data"]["splits"].values()) == 60
    capsys.readouterr()
    assert cli.main(["evaluate", str(tmp_path / "out"), path]) == 1
    told = capsys.readouterr().err
    assert "'--column-names=text, label'" in told and "with --text-column=NAME" in told and "data." not in told
    with_header = write(tmp_path / "named.csv", ROWS)
    for names in ("text,label", "text, label"):
        found = evaluated(capsys, tmp_path / "out", path, f"--column-names={names}")
        assert found == evaluated(capsys, tmp_path / "out", with_header)


@pytest.mark.parametrize(
    ("task", "model", "kind"),
    [
        ("language-modeling", "lstm", "folder"),
        pytest.param("language-modeling", "lstm", "file", marks=pytest.mark.slow),
        pytest.param("masked-language-modeling", "transformer", "folder", marks=pytest.mark.slow),
    ],
)
def test_language_models_read_a_folder_of_texts_or_one(tmp_path, task, model, kind, capsys):
    for name in ("train.txt", "valid.txt", "test.txt"):
        (tmp_path / name).write_text(SENTENCES, encoding="utf-8")
    data = tmp_path if kind == "folder" else tmp_path / "train.txt"
    assert train(data, tmp_path / "out", task=task, model=model) == 0
    sizes = {name: size["characters"] for name, size in facts_in(tmp_path / "out")["data"]["splits"].items()}
    whole = len(SENTENCES)
    assert list(sizes) == ["train", "validation", "test"]
    assert (set(sizes.values()) == {whole}) == (kind == "folder")
    if task == "language-modeling":
        measured = evaluated(capsys, tmp_path / "out", tmp_path)
        assert 0 < measured["bits_per_character"] < 20


@pytest.mark.parametrize("model", ["gru", pytest.param("bag", marks=pytest.mark.slow)])
def test_a_label_that_only_the_test_shows_counts_as_wrong(tmp_path, capsys, caplog, model):
    write(tmp_path / "own" / "train.csv", ROWS)
    write(tmp_path / "own" / "validation.csv", [*ROWS[:20], ("odd film", "odd")])
    write(tmp_path / "own" / "test.csv", [*ROWS[:6], ("odd film", "odd"), ("an odd film", "odd")])
    words = [] if model == "bag" else list(SMALL)
    line = ["train", "text-classification", str(tmp_path / "own"), "--model", model, "--out", str(tmp_path / "out")]
    assert cli.main([*line, *words, "--card.show_rows=true"]) == 0
    assert "Split 'test' has labels that train never shows: 'odd' (2)" in caplog.text
    facts = facts_in(tmp_path / "out")
    assert facts["data"]["splits"] == {"train": 60, "validation": 21, "test": 8}
    peers = [row["value"] for row in facts["comparisons"] if row["metric"] == "accuracy"]
    assert len(peers) >= 2 and max(peers) <= 6 / 8 and metrics_in(tmp_path / "out")["accuracy"] <= 6 / 8
    assert json.loads((tmp_path / "out" / "config.json").read_text())["id2label"] == {"0": "neg", "1": "pos"}
    found = evaluated(capsys, tmp_path / "out", tmp_path / "own")
    assert found["accuracy"] == pytest.approx(metrics_in(tmp_path / "out")["accuracy"], abs=1e-4)
    assert found["f1_macro"] == pytest.approx(metrics_in(tmp_path / "out")["f1_macro"], abs=1e-4)


@pytest.mark.parametrize("solver", [None, pytest.param("regression", marks=pytest.mark.slow)])
def test_one_of_several_labels_that_only_the_test_shows_counts_as_wrong(tmp_path, caplog, solver):
    for split, more in (("train", []), ("validation", [["odd"]]), ("test", [["pos", "odd"]])):
        rows = [{"text": text, "label": [label]} for text, label in ROWS[:40]]
        rows += [{"text": "odd film", "label": label} for label in more]
        path = tmp_path / "own" / f"{split}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "out"
    if solver is None:
        assert train(tmp_path / "own", out, "--card.show_rows=true") == 0
    else:
        words = ["--model", "bag", "--out", str(out), f"--training.solver={solver}"]
        assert cli.main(["train", "text-classification", str(tmp_path / "own"), *words]) == 0
    assert "Split 'test' has labels that train never shows: 'odd' (1)" in caplog.text
    facts = facts_in(out)
    scores = [row["value"] for row in facts["comparisons"] if row["metric"] == "accuracy"]
    assert max([*scores, metrics_in(out)["accuracy"]]) <= 40 / 41


def test_tags_that_only_the_test_shows_count_as_wrong_and_those_of_a_known_kind_are_learnt(tmp_path, capsys, caplog):
    seen = "call O\nAna B-PER\n\nOslo B-LOC\ncalls O\n\n" * 15
    (tmp_path / "train.conll").write_text(seen, encoding="utf-8")
    (tmp_path / "dev.conll").write_text(seen[:66] + "\nRome B-CITY\n\n", encoding="utf-8")
    (tmp_path / "test.conll").write_text(f"{seen}Ana B-PER\nAna I-PER\n\nin O\nRome B-CITY\n\n", encoding="utf-8")
    out = tmp_path / "out"
    line = ["train", "token-classification", str(tmp_path), "--model", "lstm", "--out", str(out), *SMALL]
    assert cli.main(line) == 1
    assert "'B-CITY' (1). Name all classes in data.label_names, or leave such rows out" in capsys.readouterr().err
    assert cli.main([*line, "--card.show_rows=true", "--data.unseen_labels=wrong"]) == 0
    assert "Split 'test' has labels that train never shows: 'B-CITY' (1)" in caplog.text
    names = set(json.loads((out / "config.json").read_text())["id2label"].values())
    assert names == {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
    facts = facts_in(out)
    assert {row["kind"]: row["expected"] for row in facts["kinds"]} == {"PER": 16, "LOC": 15, "CITY": 1}
    peers = [row["value"] for row in facts["comparisons"]]
    assert peers and max(peers) < 1
    found = evaluated(capsys, out, tmp_path)
    assert found["entity_f1"] == pytest.approx(metrics_in(out)["entity_f1"], abs=1e-4)
