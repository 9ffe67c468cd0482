"""The ladder of classifiers: each rung is saved as it answers, measured on the same texts, and marked if behind."""

import json
import re
import shlex
import sys

import numpy as np
import pytest
from safetensors.torch import load_file
from sklearn.metrics import f1_score
from transformers import AutoTokenizer, pipeline

from hfseq.settings import read_settings
from hfseq.tasks.classifier_ladder.build import (
    CLASSIFIERS,
    ClassifierRung,
    classifier_line,
    classifier_table,
    climb,
    load_one_label,
    plot_classifiers,
    prepare,
    simplest_ahead,
)
from hfseq.tasks.classifier_ladder.settings import RUNGS, ClassifierLadderSettings
from recipes import ladder
from tests.launches import ROOT, header_lines
from tests.tasks.base import RECIPES

CONFIGS = sorted((ROOT / "recipes/configs/ladder").glob("classifiers_*.yaml"))
CONFIG = str(ROOT / "recipes/configs/ladder/classifiers_embedded.yaml")
SMALL = [
    "--data.max_rows=60",
    "--word_vectors.hidden_size=8",
    "--bag.hidden_size=8",
    "--bag.ngram_buckets=500",
    "--network.hidden_size=8",
    "--network.embedding_size=8",
    "--window.hidden_size=8",
    "--window.embedding_size=8",
    "--training.num_train_epochs=6",
    "--training.learning_rate=0.02",
    "--training.disable_tqdm=true",
    "--training.use_cpu=true",
]
NAMES = ["majority", "tf-idf", "bag", "bag-ngrams", "word-vectors", "window"]
TITLES = [
    *("majority", "TF-IDF regression", "bag of words", "bag of n-grams", "averaged word vectors"),
    "window network",
]


def settings(*options):
    return read_settings(ClassifierLadderSettings, ["--config", CONFIG, *options])


def small_settings(folder, *options):
    return settings(*SMALL, f"--training.output_dir={folder}", *options)


class Climbed:
    """A small ladder, and what it was made of."""

    def __init__(self, folder, *options):
        self.folder, self.settings = folder, small_settings(folder, *options)
        self.prepared = prepare(self.settings, load_one_label(self.settings))
        self.rungs = list(climb(self.settings, self.prepared, folder))

    @property
    def texts(self):
        return self.prepared.texts("test")

    @property
    def labels(self):
        return self.prepared.labels("test")


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    # Named from the top: they are climbed from the bottom.
    return Climbed(tmp_path_factory.mktemp("ladder"), f"--rungs.names={NAMES[::-1]}")


def test_each_rung_is_there_in_its_order_with_what_it_costs(climbed):
    assert [rung.name for rung in climbed.rungs] == TITLES
    assert [rung.is_network for rung in climbed.rungs] == [False] * 5 + [True]
    for rung, name in zip(climbed.rungs, NAMES, strict=True):
        assert 0 < rung.metrics["accuracy"] < 1 and 0 < rung.metrics["f1_macro"] < 1
        assert rung.minutes > 0 and rung.ms_per_text > 0
        files = [path for path in (climbed.folder / name).rglob("*") if path.is_file()]
        assert rung.file_mb == sum(path.stat().st_size for path in files) / 1e6 > 0


def measured(predictions, labels):
    return {
        "accuracy": pytest.approx((predictions == labels).mean()),
        "f1_macro": pytest.approx(f1_score(labels, predictions, average="macro", zero_division=0)),
    }


def test_the_majority_is_the_commonest_label_of_the_training_texts(climbed):
    label = json.loads((climbed.folder / "majority/label.json").read_text(encoding="utf-8"))
    counts = np.bincount(climbed.prepared.labels("train"))
    assert counts[label] == counts.max()
    assert climbed.rungs[0].metrics == measured(np.full(60, label), climbed.labels)


def test_what_is_saved_of_tf_idf_answers_as_it_was_measured(climbed):
    """By hand from the files alone: log counts times idf, of length 1, and the weights of the labels."""
    home = climbed.folder / "tf-idf"
    words, saved = (
        json.loads((home / "words.json").read_text(encoding="utf-8")),
        load_file(home / "weights.safetensors"),
    )
    predictions = []
    for text in climbed.texts:
        found = re.findall(r"\w+|[^\w\s]", text.lower())
        features = np.zeros(len(words))
        for term in [*found, *(f"{first} {second}" for first, second in zip(found, found[1:], strict=False))]:
            if term in words:
                features[words[term]] += 1
        features[features > 0] = 1 + np.log(features[features > 0])
        features *= saved["idf"].numpy()
        features /= np.linalg.norm(features) or 1
        scores = saved["weight"].numpy() @ features + saved["bias"].numpy()
        predictions.append(saved["classes"][scores.argmax()].item())
    assert climbed.rungs[1].metrics == measured(np.array(predictions), climbed.labels)


def test_what_is_saved_of_word_vectors_answers_as_it_was_measured(climbed):
    home = climbed.folder / "word-vectors"
    tokenizer, saved = AutoTokenizer.from_pretrained(home), load_file(home / "weights.safetensors")
    assert saved["vectors"].shape == (len(tokenizer), 8) and saved["known"].sum() > 50
    predictions = []
    for text in climbed.texts:
        ids = [index for index in tokenizer(text, add_special_tokens=False)["input_ids"] if saved["known"][index]]
        mean = saved["vectors"][ids].double().mean(0) if ids else saved["vectors"][0].double() * 0
        scores = saved["weight"].double() @ mean + saved["bias"].double()
        predictions.append(saved["classes"][scores.argmax()].item())
    assert climbed.rungs[4].metrics == measured(np.array(predictions), climbed.labels)


@pytest.mark.parametrize("name", ["bag", "bag-ngrams", "window"])
def test_what_is_trained_is_a_checkpoint_that_answers_as_it_was_measured(climbed, name):
    pipe = pipeline("text-classification", model=str(climbed.folder / name))
    names = climbed.prepared.task.classes.names
    predictions = np.array([names.index(answer["label"]) for answer in pipe(climbed.texts)])
    assert climbed.rungs[NAMES.index(name)].metrics == measured(predictions, climbed.labels)


def test_a_network_is_the_one_that_the_recipe_of_classifiers_trains(climbed, monkeypatch, tmp_path):
    """The parts are the same, not copies: the numbers are equal to the bit."""
    made = climbed.settings
    options = [f"--model.{name}={value}" for name, value in made.window.items()]
    options += [option for option in SMALL if option.startswith(("--data", "--training"))]
    RECIPES["text_classification"].run(monkeypatch, tmp_path, *options, config="window_embedded", small=())
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (climbed.folder / "window", tmp_path))
    assert ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


def test_the_same_seed_gives_the_same_word_vectors(climbed, tmp_path):
    again = Climbed(tmp_path, "--rungs.names=[word-vectors]")
    files = [home / "word-vectors/weights.safetensors" for home in (climbed.folder, tmp_path)]
    ours, theirs = map(load_file, files)
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert again.rungs[0].metrics == climbed.rungs[4].metrics


def test_given_word_vectors_are_averaged_and_begin_the_networks(tmp_path):
    file = tmp_path / "vectors.txt"
    file.write_text("the 1 0 0\nturn 0 1 0\nmany 0 0 1\n", encoding="utf-8")
    options = [f"--embeddings.from_pretrained={file}", "--embeddings.freeze=true", "--window.embedding_size=3"]
    path = tmp_path / "settings.yaml"
    text = (ROOT / CONFIG).read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?ms)^word_vectors:.*?^window:", "window:", text), encoding="utf-8")
    arguments = [option for option in SMALL if "word_vectors" not in option]
    made = read_settings(
        ClassifierLadderSettings,
        [
            *("--config", str(path)),
            *(*arguments, *options, "--rungs.names=[word-vectors, window]", f"--training.output_dir={tmp_path}"),
        ],
    )
    prepared = prepare(made, load_one_label(made))
    assert len(list(climb(made, prepared, tmp_path))) == 2
    rows = [prepared.tokenizer.convert_tokens_to_ids(word) for word in ("the", "turn")]
    averaged = load_file(tmp_path / "word-vectors/weights.safetensors")
    network = load_file(tmp_path / "window/model.safetensors")["model.embed_tokens.weight"]
    for vectors in (averaged["vectors"], network):
        assert vectors[rows].tolist() == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="gives the word vectors: leave out word_vectors and word_vectors_training"):
        settings(*options)


def test_a_transformer_is_trained_as_its_own_section_says():
    made = settings()
    lstm, transformer = (made.parts_of(name, "here") for name in ("lstm", "transformer"))
    assert lstm.training == made.parts_of("window", "here").training == made.training | {"output_dir": "here"}
    assert transformer.training == made.training | made.transformer_training | {"output_dir": "here"}
    assert made.transformer_training["learning_rate"] == 3e-3 != made.training["learning_rate"]
    assert lstm.model == {"type": "lstm", **made.network}
    assert transformer.model == {"type": "transformer", **made.transformer}


def test_a_bag_has_its_own_update_and_the_seed_of_all():
    made = settings("--training.seed=7", "--training.use_cpu=true", "--bag_training.learning_rate=0.3")
    words, ngrams = (made.parts_of(name, "here") for name in ("bag", "bag-ngrams"))
    own = {"seed": 7, "use_cpu": True, "output_dir": "here", **made.bag_training}
    assert words.training == ngrams.training == own and own["learning_rate"] == 0.3
    assert ngrams.model == {"type": "bag", **made.bag} and made.bag["word_ngrams"] == 3
    assert words.model == ngrams.model | {"word_ngrams": 1, "longest_ngram": 0, "ngram_buckets": 0}


def test_texts_are_as_long_as_in_the_recipe_unless_the_file_says():
    assert settings().tokenizer.max_length == 64
    assert settings("--tokenizer.max_length=null").tokenizer.max_length == 128


def test_all_rungs_are_climbed_unless_some_are_named():
    assert settings().rungs.in_order() == list(RUNGS)
    assert settings("--rungs.names=[lstm, majority]").rungs.in_order() == ["majority", "lstm"]


# Table and picture


def rung(name, accuracy, **more):
    costs = {"is_network": False, "minutes": 0.004, "file_mb": 1.234, "ms_per_text": 0.5}
    return ClassifierRung(name=name, metrics={"accuracy": accuracy, "f1_macro": 0.5}, **{**costs, **more})


ROWS = [
    rung("majority", 0.1),
    rung("TF-IDF regression", 0.9789),
    rung("LSTM", 0.95, is_network=True, minutes=1.5, behind="TF-IDF regression"),
]


def test_a_rung_is_behind_the_simplest_one_that_is_more_often_right():
    below = [rung("a", 0.5), rung("b", 0.8), rung("c", 0.9)]
    found = {accuracy: simplest_ahead(rung("d", accuracy), below) for accuracy in (0.4, 0.5, 0.85, 0.9, 0.95)}
    assert found == {0.4: "a", 0.5: "b", 0.85: "c", 0.9: None, 0.95: None}
    assert simplest_ahead(rung("d", 0.1), []) is None


def test_a_ladder_marks_what_is_behind(climbed):
    expected = [simplest_ahead(each, climbed.rungs[:place]) for place, each in enumerate(climbed.rungs)]
    assert [each.behind for each in climbed.rungs] == expected
    assert set(expected) > {None}


def test_the_table_has_a_row_for_each_rung_and_a_mark_for_one_that_is_behind():
    assert classifier_table(ROWS).splitlines() == [
        "| rung | accuracy | macro F1 | minutes | MB | ms a text | behind |",
        "|---|---|---|---|---|---|---|",
        "| majority | 10.0 | 50.0 | 0.00 | 1.23 | 0.50 |  |",
        "| TF-IDF regression | 97.9 | 50.0 | 0.00 | 1.23 | 0.50 |  |",
        "| LSTM | 95.0 | 50.0 | 1.50 | 1.23 | 0.50 | ⚠ TF-IDF regression |",
    ]
    assert classifier_line(ROWS[2]) == "LSTM: accuracy 0.9500, f1_macro 0.5000, behind TF-IDF regression"
    assert classifier_line(ROWS[0]) == "majority: accuracy 0.1000, f1_macro 0.5000"


def test_the_picture_names_each_rung_and_what_it_costs(tmp_path):
    pytest.importorskip("matplotlib")
    plot_classifiers(ROWS, tmp_path / "ladder.svg")
    drawn = (tmp_path / "ladder.svg").read_text(encoding="utf-8")
    for words in ("majority", "LSTM", r"95\.0  \(1\.2 MB, 0\.50 ms a text\)", "accuracy .brown"):
        assert re.search(f"<!-- {words}", drawn), words
    with pytest.raises(ValueError, match="no rung to draw"):
        plot_classifiers([], tmp_path / "none.png")


# The recipe


def test_the_recipe_leaves_table_picture_and_checkpoints(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "run"
    options = [*SMALL, f"--training.output_dir={folder}", "--rungs.names=[majority, tf-idf, gru]"]
    monkeypatch.setattr(sys, "argv", ["recipes/ladder.py", "--config", CONFIG, *options])
    ladder.main()
    assert (folder / "ladder.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads((folder / "ladder.json").read_text(encoding="utf-8"))
    rungs = [ClassifierRung(**values) for values in facts["rungs"]]
    assert [each.name for each in rungs] == ["majority", "TF-IDF regression", "GRU"]
    assert shlex.split(facts["command"])[:2] == ["python", "recipes/ladder.py"]
    assert (folder / "ladder.md").read_text(encoding="utf-8") == classifier_table(rungs) + "\n"
    printed = capsys.readouterr().out
    assert classifier_table(rungs) in printed and all(classifier_line(each) + "\n" in printed for each in rungs)
    assert (folder / "gru/model.safetensors").is_file()


def test_the_file_says_which_ladder_is_climbed(monkeypatch, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("rungs:\n  of: classifier\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["recipes/ladder.py", "--config", str(path)])
    with pytest.raises(ValueError, match="rungs.of: unknown ladder 'classifier'; did you mean 'classifiers'"):
        ladder.main()
    assert ladder.LADDERS["classifiers"] is CLASSIFIERS


@pytest.mark.parametrize(
    ("config", "section"), [("classifiers_embedded", "transformer_training"), ("embedded", "carry")]
)
def test_help_tells_of_the_ladder_of_the_file(config, section, monkeypatch, capsys):
    path = str(ROOT / f"recipes/configs/ladder/{config}.yaml")
    monkeypatch.setattr(sys, "argv", ["recipes/ladder.py", "--config", path, "--help"])
    with pytest.raises(SystemExit):
        ladder.main()
    printed = capsys.readouterr().out
    assert section in printed and ("word_vectors:" in printed) == (config == "classifiers_embedded")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rungs.of=language_models", 'rungs.of is "language_models" but takes one of "classifiers"'),
        ("--rungs.names=[lstn]", "unknown rung 'lstn'; did you mean 'lstm'"),
        ("--rungs.names=[]", r"rungs.names=\[\] must name one rung or more"),
        ("'--rungs.names=[gru, gru]'", "must name one rung or more, each once"),
        ("--network.hiden_size=8", "unknown key 'hiden_size'; did you mean 'hidden_size'"),
        ("--network.tie_word_embeddings=true", "unknown key 'tie_word_embeddings'"),
        ("--network.type=gru", "unknown key 'type'"),
        ("--bag.row_codes=2", "unknown key 'row_codes'"),
        ("--bag_training.seed=1", "unknown key 'seed'"),
        ("--window.bidirectional=true", "unknown key 'bidirectional'"),
        ("--transformer_training.output_dir=elsewhere", "unknown key 'output_dir'"),
        ("--word_vectors_training.output_dir=elsewhere", "unknown key 'output_dir'"),
        (
            "--transformer.position_embedding_type=learned --transformer.max_position_embeddings=10",
            "tokenizer.max_length=64 lets texts be longer than the 10 learned positions",
        ),
        (
            "--transformer.num_attention_heads=3",
            "(?s)rung 'transformer' cannot be built: .*num_attention_heads=3 does not divide",
        ),
        ("--bag.ngram_buckets=0", "word_ngrams=3 needs ngram_buckets, which is 0"),
        ("--window.left=-1", "(?s)rung 'window' cannot be built: .*left"),
        ("--word_vectors_training.num_threads=0", "num_threads=0 must be 1 or more"),
        ("--training.output_dir=''", "training.output_dir is not given"),
        ("--data.name=null", "no data: give data.name"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        settings(*shlex.split(options))


def test_wrong_training_is_refused_before_the_first_rung(climbed, tmp_path):
    made = small_settings(
        tmp_path, "--rungs.names=[majority, transformer]", "--transformer_training.clip_grad_value=-1"
    )
    with pytest.raises(ValueError, match="clip_grad_value"):
        next(climb(made, climbed.prepared, tmp_path))


def test_labels_of_another_kind_are_refused(tmp_path):
    file = tmp_path / "scores.csv"
    rows = [f"text number {index},{index / 7}" for index in range(30)]
    file.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    made = settings("--data.name=null", f"--data.path={file}")
    with pytest.raises(
        ValueError, match="one label a text, but the labels of data.label_column='label' make it regre"
    ):
        load_one_label(made)
    with pytest.raises(ValueError, match="metric_for_best_model='f1' is not measured"):
        load_one_label(small_settings(tmp_path, "--training.metric_for_best_model=f1"))
    file.write_text(
        "\n".join(["text,other,label", *(f"text {i},other {i},{i % 2}" for i in range(30))]), encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"one text a row, but data.text_pair_column='other' makes rows of two"):
        load_one_label(settings("--data.name=null", f"--data.path={file}", "--data.text_pair_column=other"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_settings_file_parses_and_names_itself_in_its_launch_line(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    header = header_lines(path)
    (line,) = [line for line in header if line.startswith("python ")]
    program, script, *arguments = shlex.split(line)
    assert (program, script) == ("python", "recipes/ladder.py")
    assert arguments == ["--config", str(path.relative_to(ROOT))]
    made = read_settings(ClassifierLadderSettings, arguments)
    assert made.training["output_dir"] == f"runs/ladder_{path.stem}"
    for line in header:
        if "add: " in line:
            local = read_settings(ClassifierLadderSettings, [*arguments, *shlex.split(line.split("add: ")[1])])
            assert local.data.path not in (None, made.data.path)
