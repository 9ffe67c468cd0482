"""Recipe settings: what a YAML file and overrides may say, and how each mistake is answered."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from transformers import LlamaConfig, TrainingArguments

from hfseq.cards.checks import check_card
from hfseq.settings import check_known, fields_of, known_fields, option, read_key, read_settings, save_settings
from tests.rounds import for_each


@dataclass
class Data:
    """Where the texts come from."""

    path: str = field(metadata={"help": "folder of texts"})
    fraction: float = option(0.1, "share of the training rows", was="share")
    names: list[str] | None = None
    files: dict[str, str] = field(default_factory=dict)
    max_rows: int | None = None
    weights: list[float] = field(default_factory=list)
    kind: Literal["word", "char"] = "word"
    shuffle: bool = field(default=False, metadata={"was": "order.shuffle"})

    def __post_init__(self) -> None:
        if self.fraction > 1:
            raise ValueError(f"fraction={self.fraction} is more than 1.")


@dataclass
class Small:
    hidden_size: int = 8
    dropout: float = 0.0


@dataclass
class Large(Small):
    peepholes: bool = False
    dtype: "str | None" = None


@dataclass
class Recipe:
    data: Data
    model: dict[str, Any] = fields_of({"small": Small, "large": Large}, without=["dtype"])
    training: dict[str, Any] = fields_of(TrainingArguments)
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint"})


@dataclass
class Quick:
    """Its own way to train."""

    threads: int = 1
    rate: float = 0.5


@dataclass
class Slow:
    """The usual way to train."""

    rate: float = 0.1
    momentum: float = 0.9


@dataclass
class Trained:
    model: dict[str, Any] = fields_of({"small": Small, "large": Large})
    training: dict[str, Any] = fields_of({"": Slow, "small": Quick}, chosen_by="model")


GOOD = """\
# python recipes/x.py --config this.yaml
data:
  path: texts
model:
  type: small
  hidden_size: 16
training:
  learning_rate: 1e-3
"""


@pytest.fixture
def read(tmp_path):
    """Reads a YAML text, with overrides."""

    def read(text: str, *overrides: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return read_settings(Recipe, ["--config", str(path), *overrides])

    return read


def test_a_file_is_read_into_its_sections(read):
    settings = read(GOOD)
    assert settings.data == Data(path="texts")
    assert settings.model == {"type": "small", "hidden_size": 16}
    assert settings.training == {"learning_rate": 0.001}
    assert settings.resume is False


def test_sections_may_come_in_any_order_and_be_empty(read):
    settings = read("training:\nmodel: {type: large}\ndata: {path: texts}\n")
    assert settings.training == {}
    assert settings.model == {"type": "large"}


def test_overrides_come_after_the_file_and_the_last_one_wins(read):
    settings = read(GOOD, "--model.hidden_size=1", "--model.hidden_size=32", "--data.path=a=b", "--resume")
    assert settings.model["hidden_size"] == 32
    assert settings.data.path == "a=b"
    assert settings.resume is True


def test_an_override_may_choose_another_model_type_and_its_keys(read):
    assert read(GOOD, "--model.type=large", "--model.peepholes=true").model["peepholes"] is True


@for_each(
    ("override", "value"),
    [
        ("--data.fraction=1e-3", 0.001),
        ("--data.fraction=.5", 0.5),
        ("--data.fraction=1", 1.0),
        ("--data.weights=[1, 2.5, -1e2]", [1.0, 2.5, -100.0]),
        ("--data.max_rows=1_000", 1000),
        ("--data.max_rows=null", None),
        ("--data.max_rows=", None),
        ("--data.path='007'", "007"),
        ("--data.path=007", "007"),
        ("--data.path=2026-11-21", "2026-11-21"),
        ("--data.names=[no, yes, on, off, 1:30]", ["no", "yes", "on", "off", "1:30"]),
        ("--data.files={train: a.csv, test: b.csv}", {"train": "a.csv", "test": "b.csv"}),
        ("--data.kind=char", "char"),
        ("--training.eval_strategy=no", "no"),
        ("--training.num_train_epochs=3", 3.0),
        ("--training.optim=adamw_torch", "adamw_torch"),
        ("--training.lr_scheduler_kwargs={num_cycles: 2}", {"num_cycles": 2}),
    ],
)
def test_values_are_yaml_1_2_and_take_the_declared_type(read, override, value):
    section, key = override.removeprefix("--").split("=")[0].split(".")
    got = dataclasses.asdict(read(GOOD, override))[section][key]
    assert got == value
    assert type(got) is type(value)


@for_each(
    ("override", "message"),
    [
        ("--data.pth=x", "--data.pth=x: unknown key 'pth'; did you mean 'path'? Allowed: path, fraction, names"),
        ("--dta.path=x", "unknown section 'dta'; did you mean 'data'? Allowed: data, model, training."),
        ("--model.hidden-size=3", "did you mean 'hidden_size'? Allowed: type, hidden_size, dropout."),
        ("--model.peepholes=true", "unknown key 'peepholes'"),
        ("--data.share=0.5", "--data.share=0.5: data.share is now data.fraction."),
        ("--order.shuffle=true", "--order.shuffle=true: order.shuffle is now data.shuffle."),
        ("--model.type=smal", "unknown model type 'smal'; did you mean 'small'? Allowed: small, large."),
        ("--model.type=[small]", "unknown model type ['small']"),
        ("--model.hidden_size=big", 'model.hidden_size is "big" but takes int.'),
        ("--model.hidden_size=true", "model.hidden_size is true but takes int."),
        ("--model.hidden_size=1.5", "model.hidden_size is 1.5 but takes int."),
        ("--model.hidden_size=null", "model.hidden_size is null but takes int."),
        ("--training.learning_rat=1", "did you mean 'learning_rate'?"),
        ("--training.learning_rate=fast", 'training.learning_rate is "fast" but takes float.'),
        ("--data.path=12345", "data.path is 12345 but takes str; put it in quotes if it is meant as text."),
        ("--data.path=null", "data.path is null but takes str."),
        ("--data.kind=byte", 'data.kind is "byte" but takes one of "word", "char".'),
        ("--data.max_rows=many", 'data.max_rows is "many" but takes int or null.'),
        ("--data.names=[1]", "data.names is [1] but takes list[str] or null; put each text in quotes"),
        ("--data.fraction=2", "section 'data': fraction=2.0 is more than 1."),
        ("--data.names=[a", "--data.names=[a, line 1: not valid YAML"),
        ("--data.files={a: b, a: c}", "the key 'a' is given twice"),
        ("--data.names=[Is it late ?]", """put it in quotes: '--data.names=["Is it late ?"]'."""),
        ("--data.names=[Is 'it' late ?]", """Put texts in quotes, and the whole in others for the shell: '--data.n"""),
        ("--data.path=*.txt", """put it in quotes: '--data.path="*.txt"'."""),
        ('--data.path="a" b', """put it in quotes: '--data.path="\\"a\\" b"'."""),
        (
            "--data.path=a #b",
            "line 1: not valid YAML: '#b' would be a comment. If it is meant as text, put it in quotes",
        ),
        ("--data.max_rows=#5", "'#5' would be a comment"),
        ("--data.path=&x", "line 1: not valid YAML: &x refers to another place: write the value, or quote a text."),
        ("--training.seed=!!int x", "line 1: not valid YAML: 'x' is no !!int"),
        ("--data.path", "'--data.path' is not understood; write --section.key=value, or one of --config, --resume."),
        ("data.path=x", "'data.path=x' is not understood"),
        ("--resum", "'--resum' is not understood"),
    ],
)
def test_a_wrong_override_is_answered_with_its_name_and_the_cure(read, override, message):
    with pytest.raises(ValueError) as error:
        read(GOOD, override)
    assert message in str(error.value)


@for_each(
    ("text", "message"),
    [
        (GOOD.replace("path: texts", "share: 0.5"), "recipe.yaml, line 3: data.share is now data.fraction."),
        ("order: {shuffle: true}\n" + GOOD, "recipe.yaml, line 1: order.shuffle is now data.shuffle."),
        (GOOD.replace("hidden_size", "hiden_size"), "recipe.yaml, line 6: unknown key 'hiden_size'; did you mean"),
        (
            GOOD.replace("training:", "trainig:"),
            "recipe.yaml, line 7: unknown section 'trainig'; did you mean 'training'",
        ),
        (GOOD.replace("16", "big"), 'recipe.yaml, line 6: model.hidden_size is "big" but takes int'),
        (GOOD.replace("  type: small\n", ""), "section 'model' lacks type: one of small, large"),
        (GOOD.replace("  path: texts\n", ""), "section 'data' lacks path"),
        (GOOD.replace("data:\n  path: texts\n", ""), "section 'data' lacks path"),
        (GOOD.replace("type: small", "type: large\n  dtype: x"), "line 6: unknown key 'dtype'"),
        (
            GOOD + "  seed: 1\n  seed: 2\n",
            "recipe.yaml, line 10: not valid YAML: the key 'seed' is given twice, first in line 9",
        ),
        (GOOD + "data:\n  path: b\n", "line 9: not valid YAML: the key 'data' is given twice"),
        (GOOD + "  lr_scheduler_kwargs: {a: 1, a: 2}\n", "line 9: not valid YAML: the key 'a' is given twice"),
        (GOOD + "resume: true\n", "line 9: unknown section 'resume'"),
        (GOOD + "  report_to: [a\n", "recipe.yaml, line 10: not valid YAML"),
        (
            GOOD + "  debug: [Is it late ?]\n",
            "line 9: not valid YAML: expected ',' or ']', but got '?'. Put a text in quotes",
        ),
        (GOOD + "  debug: !!python/name:os.system\n", "line 9: not valid YAML: !!python/name:os.system is no type"),
        (GOOD + "  debug: !mine x\n", "line 9: not valid YAML: !mine is no type of settings"),
        (GOOD + "  debug: !!timestamp 2026-99-99\n", "line 9: not valid YAML: !!timestamp is no type of settings"),
        (GOOD + "  seed: !!int x\n", "line 9: not valid YAML: 'x' is no !!int"),
        (GOOD + "  seed: !!int\n", "line 9: not valid YAML: '' is no !!int"),
        (GOOD + "  seed: !!float x\n", "line 9: not valid YAML: 'x' is no !!float"),
        (GOOD + "  fp16: !!bool maybe\n", "line 9: not valid YAML: 'maybe' is no !!bool"),
        (GOOD + f"  seed: {'9' * 5000}\n", "line 9: not valid YAML: a number of 5000 characters"),
        (GOOD + "  lr_scheduler_kwargs: {[a]: 1}\n", "line 9: not valid YAML: a key is one word"),
        (GOOD + "  {a: 1}: 1\n", "line 9: not valid YAML: a key is one word"),
        (GOOD + "  1: x\n", "line 9: unknown key '1'"),
        ("", "holds no sections; it needs some of: data, model, training."),
        ("# only a comment\n", "holds no sections"),
        ("- data\n", "holds no sections"),
        ("data: texts\n", "line 1: section 'data' holds one value; it takes `key: value` lines."),
        ("data:\n\tpath: x\n", "line 2: not valid YAML"),
        ("data: \x00\n", "not valid YAML in UTF-8"),
    ],
)
def test_a_wrong_file_is_answered_with_its_line_and_the_cure(read, text, message):
    with pytest.raises(ValueError) as error:
        read(text)
    assert message in str(error.value)
    assert "recipe.yaml" in str(error.value)


BOMB = "[&a [x, x, x, x, x, x, x, x, x], " + ", ".join(
    f"&{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
DEEP = {
    "in flow": "[" * 5000,
    "in dashes": "- " * 5000 + "x",
    "in lines": "\n" + "".join(f"{' ' * depth}a:\n" for depth in range(4, 500)),
}


@pytest.mark.parametrize("text", [BOMB + "]", "[&a x, b]", "[b, *a]"], ids=["bomb", "anchor", "alias"])
def test_references_are_refused_unread(read, text):
    for arguments in ((GOOD + f"  debug: {text}\n",), (GOOD, f"--training.debug={text}")):
        with pytest.raises(ValueError, match=r"line \d: not valid YAML: [*&]a refers to another place") as error:
            read(*arguments)
        assert len(str(error.value)) < 800


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_deep_nesting_is_refused_where_it_begins(read, text):
    with pytest.raises(ValueError, match=r"line \d+: not valid YAML: lists and mappings are nested deeper than 20"):
        read(GOOD + f"  debug:\n    {text.lstrip()}" if text.startswith("- ") else GOOD + f"  debug: {text}")
    with pytest.raises(ValueError, match=r"line \d+: not valid YAML: lists and mappings are nested deeper than 20"):
        read(GOOD, f"--training.debug={text}")


def test_settings_nested_as_deep_as_any_are_read(read):
    deep = "[" * 15 + "]" * 15
    assert json.dumps(read(GOOD, f"--training.lr_scheduler_kwargs={{a: {deep}}}").training).count("[") == 15


def test_a_file_that_is_no_settings_file_by_its_size_is_not_read(read):
    with pytest.raises(ValueError, match=r"recipe.yaml has 2000000 bytes; a settings file has 1048576 at most"):
        read("#" * 2_000_000)


def test_the_front_matter_of_a_card_is_read_by_the_same_rules():
    with pytest.raises(ValueError, match="the card's front matter, line 2: not valid YAML: &a refers to another"):
        check_card(f"---\nlicense: mit\ntags: {BOMB}]\n---\ntext")


def test_a_value_of_the_file_is_checked_even_where_the_command_line_replaces_it(read):
    with pytest.raises(ValueError, match="line 6: model.hidden_size"):
        read(GOOD.replace("16", "big"), "--model.hidden_size=3")


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"data: {path: \xe9}\n")
    with pytest.raises(ValueError, match="recipe.yaml: not valid YAML in UTF-8"):
        read_settings(Recipe, ["--config", str(path)])


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="no settings file 'nowhere.yaml'"):
        read_settings(Recipe, ["--config", "nowhere.yaml"])


def test_without_a_file_the_command_line_says_what_is_required():
    settings = read_settings(Recipe, ["--data.path=texts", "--model.type=large"])
    assert (settings.data.path, settings.model) == ("texts", {"type": "large"})
    with pytest.raises(ValueError, match="not given: --data.path, --model.type. Give them, or .* --config FILE"):
        read_settings(Recipe, [])


@for_each(
    ("overrides", "names"),
    [
        (["Is it late?"], ["Is it late?"]),
        (["Call: Ana", "*b #c"], ["Call: Ana", "*b #c"]),
        (["[a, b]"], ["a", "b"]),
        (["null"], None),
    ],
)
def test_a_list_of_texts_takes_plain_sentences_repeated_for_more(read, overrides, names):
    assert read(GOOD, *(f"--data.names={text}" for text in overrides)).data.names == names


def test_a_long_list_of_known_names_is_cut_to_the_nearest_five():
    with pytest.raises(ValueError, match=r"Nearest of 20: name\d+(, name\d+){4}; --help lists them all."):
        check_known("nam", [f"name{number}" for number in range(20)], "here")


def test_help_lists_launch_line_sections_types_defaults_and_docs(capsys):
    with pytest.raises(SystemExit) as exit:
        read_settings(Recipe, ["--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    for line in (
        "[--config FILE.yaml] [--section.key=value ...] [--resume]",
        "go on from the last checkpoint",
        "data: Where the texts come from.",
        "  path: str (required)  # folder of texts",
        "  fraction: float = 0.1  # share of the training rows",
        '  kind: one of "word", "char" = "word"',
        "  files: dict[str, str] = {}",
        "model (type: small): ",
        "model (type: large): ",
        "  peepholes: bool = false",
        "  max_rows: int or null = null",
        "  learning_rate: float = 5e-05  # The initial learning rate",
    ):
        assert line in text
    assert "dtype: str" not in text


@for_each("text", ["no", "1e-3", "null", "007", "1:30", "true", "~", "", " x ", "a: b", "#", "Größe 日本", "a\nb"])
def test_saved_settings_read_back_equal(read, tmp_path, text):
    settings = read(GOOD, "--data.fraction=1e-5", "--data.max_rows=5", "--training.weight_decay=0.1")
    settings.data = dataclasses.replace(settings.data, path=text, names=[text, "b"])
    save_settings(settings, tmp_path / "saved.yaml")
    assert read_settings(Recipe, ["--config", str(tmp_path / "saved.yaml")]) == settings


def test_a_section_may_have_the_keys_that_the_type_of_another_chooses(tmp_path, capsys):
    path = tmp_path / "recipe.yaml"

    def read(text: str, *overrides: str) -> Trained:
        path.write_text(text, encoding="utf-8")
        return read_settings(Trained, ["--config", str(path), *overrides])

    small, large = "model: {type: small}\n", "model: {type: large}\n"
    assert read(small + "training: {threads: 2, rate: 1}\n").training == {"threads": 2, "rate": 1.0}
    assert read("training: {momentum: 0.5}\n" + large).training == {"momentum": 0.5}
    assert read(large, "--training.threads=3", "--model.type=small").training == {"threads": 3}  # the last type counts
    saved = read(small, "--training.threads=2")
    save_settings(saved, path)
    assert read_settings(Trained, ["--config", str(path)]) == saved
    for text, override, message in (
        (
            large,
            "--training.threads=3",
            "--training.threads=3: training.threads goes with model.type: small. Allowed: ",
        ),
        (large, "--training.threads=3", "Allowed: rate, momentum."),
        (small, "--training.momentum=1", "--training.momentum=1: unknown key 'momentum'. Allowed: threads, rate."),
        (small, "--training.thread=1", "unknown key 'thread'; did you mean 'threads'? Allowed: threads, rate."),
        (small, "--training.threads=x", 'training.threads is "x" but takes int'),
        (small, "--training.type=small", "unknown key 'type'"),
        ("training: {rate: 1}\n", "--training.rate=2", "section 'model' lacks type: one of small, large"),
        ("model: {type: smal}\n", "--training.rate=2", "unknown model type 'smal'; did you mean 'small'?"),
    ):
        with pytest.raises(ValueError) as error:
            read(text, override)
        assert message in str(error.value)
    with pytest.raises(SystemExit):
        read_settings(Trained, ["--help"])
    told = capsys.readouterr().out
    for line in ("training: The usual way", "training (model.type: small): Its own way", "  threads: int = 1"):
        assert line in told


def test_a_flag_is_of_one_launch_and_not_saved(read, tmp_path):
    settings = read(GOOD, "--resume")
    save_settings(settings, tmp_path / "saved.yaml")
    assert read_settings(Recipe, ["--config", str(tmp_path / "saved.yaml")]) == dataclasses.replace(
        settings, resume=False
    )


def test_known_fields_reads_hugging_face_classes():
    config = known_fields(LlamaConfig, without=["vocab_size"])
    assert config["hidden_size"] is int
    assert "vocab_size" not in config
    assert known_fields(TrainingArguments)["learning_rate"] is float


def test_a_known_name_passes_and_a_far_one_gets_no_guess():
    check_known("a", ["a", "b"], "here")
    with pytest.raises(ValueError, match=r"^here: unknown pooling 'zzz'. Allowed: a, b.$"):
        check_known("zzz", ["a", "b"], "here", kind="pooling")


def test_a_field_that_is_neither_section_nor_flag_is_refused(tmp_path):
    @dataclass
    class Odd:
        size: int = 3

    with pytest.raises(TypeError, match="Odd.size is declared as .*fields_of"):
        read_settings(Odd, ["--config", "x.yaml"])


def test_one_key_is_read_before_it_is_known_what_else_the_file_may_hold(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("model:\n  type: lstm\nunknown:\nlist: [1]\n", encoding="utf-8")
    argv = ["--config", str(path), "--model.type=gru", "--resume"]
    assert read_key("model", "type", argv) == "lstm"
    for section, key in (("model", "size"), ("data", "type"), ("unknown", "type"), ("list", "type")):
        assert read_key(section, key, argv) is None
    for missing in ([], ["--config", str(tmp_path / "none.yaml")], ["--config", str(tmp_path)]):
        assert read_key("model", "type", missing) is None
    path.write_text("- 1\n", encoding="utf-8")
    assert read_key("model", "type", argv) is None
    path.write_text("a: [\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"settings.yaml"):
        read_key("model", "type", argv)
