"""What every recipe does: a card, settings, a folder that holds one run, resuming, two processes, help."""

import shlex
import shutil

import pytest
from safetensors.torch import load_file

import hfseq
from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card, render_card
from hfseq.cards.verdict import verdict_lines
from hfseq.recipe.publish import next_line
from hfseq.registry import FAMILIES
from hfseq.settings import read_settings
from hfseq.tasks import TASKS
from tests import launches
from tests.closeness import assert_same
from tests.contract.cases import spellings
from tests.launches import ROOT, header_lines, launch
from tests.tasks.base import RECIPES, WITHOUT_TOKENIZER, facts, losses, weights

SCRIPTS = [*RECIPES]
CONFIGS = [
    pytest.param(script, path, id=f"{script}-{path.stem}") for script in SCRIPTS for path in RECIPES[script].configs
]
TWO = "accelerate launch --multi"
# Of each way to train one: batches of texts, streams with their states, and the engine of word vectors.
WAYS = ("text_classification", "language_modeling", "word2vec")


@pytest.fixture(params=SCRIPTS)
def recipe(request):
    return RECIPES[request.param]


@pytest.fixture
def plain(recipe, small_runs):
    """The run that the others are compared with, and what it printed."""
    return small_runs.plain(recipe.script)


def test_a_recipe_leaves_a_model_with_card_facts_and_settings(recipe, plain):
    folder, printed = plain
    files = {path.name for path in folder.iterdir() if path.is_file()}
    own = {"tokenizer.json", "tokenizer_config.json"}
    assert files >= {"config.json", "model.safetensors"}
    assert files >= WITHOUT_TOKENIZER.get(recipe.script, own)
    assert files >= {"README.md", "facts.json", "settings.yaml"}
    made, card = facts(folder), (folder / "README.md").read_text(encoding="utf-8")
    pictures = pictures_in(folder)
    check_card(card, pictures)
    assert card == render_card(made, pictures)
    used = recipe.settings(*recipe.small, f"--training.output_dir={folder}")
    recorded = read_settings(recipe.task.settings, ["--config", str(folder / "settings.yaml")])
    for column in ("text_column", "label_column"):  # what nobody named is recorded as it was found
        names_its_own = recipe.script in ("trees", "series", "strokes", "captioning")
        if getattr(used.data, column, "") is None and not names_its_own:
            assert getattr(recorded.data, column) in ("text", "label", "tokens", "tags")
            setattr(used.data, column, getattr(recorded.data, column))
    assert recorded == used
    # Without the folders of this machine:
    arguments = ["--config", recipe.file(), *recipe.small, f"--training.output_dir={folder.name}"]
    assert shlex.split(made.command) == ["python", recipe.path, *arguments]
    first, *_ = made.metric_names or [None]
    assert first is None or f"\n{made.data.evaluated_split}: {first} {made.runs[0].metrics[first]:.4f}" in printed
    place = f"{made.runs[0].minutes:.1f} minutes of training; model and card in {folder}"
    last = [place, next_line(made, folder), *verdict_lines(made)]
    assert printed.startswith("read: ") and "\ntrain: " in printed
    assert printed.endswith("\n".join(last) + "\n")


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(script, marks=[] if script in WAYS else pytest.mark.slow) for script in SCRIPTS],
    indirect=True,
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(recipe, plain, monkeypatch, tmp_path):
    uninterrupted, _ = plain
    folder = shutil.copytree(uninterrupted, tmp_path / "resumed")
    first, *later = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in (*later, folder / "model.safetensors", folder / "config.json"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    early = load_file(first / "model.safetensors")
    written = (first / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(ValueError, match="not finished: go on with --resume"):
        recipe.run(monkeypatch, folder)
    recipe.run(monkeypatch, folder, "--resume")
    assert (first / "model.safetensors").stat().st_mtime_ns == written  # a run from the start would write it anew
    expected, found = weights(uninterrupted), weights(folder)
    assert later and all(found[name].equal(expected[name]) for name in expected)
    assert not all(found[name].equal(early[name]) for name in found)
    assert losses(folder) == losses(uninterrupted)
    assert facts(folder).runs[0].metrics == facts(uninterrupted).runs[0].metrics


def test_a_finished_run_can_be_done_again_but_not_replaced_by_another(small_runs, monkeypatch, tmp_path):
    recipe = RECIPES["text_classification"]
    folder = shutil.copytree(small_runs.plain(recipe.script)[0], tmp_path / "again")
    before, measured = weights(folder), facts(folder).runs[0].metrics
    assert recipe.run(monkeypatch, folder).runs[0].metrics == measured
    assert all(found.equal(before[name]) for name, found in weights(folder).items())
    with pytest.raises(ValueError, match=r"holds a run with other settings \(training.seed: 0 -> 1\)"):
        recipe.run(monkeypatch, folder, "--training.seed=1")
    assert all(found.equal(before[name]) for name, found in weights(folder).items())


def test_a_run_of_other_settings_is_not_resumed(small_runs, monkeypatch):
    recipe = RECIPES["language_modeling"]
    with pytest.raises(ValueError, match=r"other settings \(model.hidden_size: \d+ -> 24\)"):
        recipe.run(monkeypatch, small_runs.plain(recipe.script)[0], "--resume", "--model.hidden_size=24")


def test_resuming_needs_a_run(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="none' does not exist. Start without --resume"):
        RECIPES["word2vec"].run(monkeypatch, tmp_path / "none", "--resume")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_two_processes_give_the_same_run(small_runs, tmp_path):
    recipe = RECIPES["text_classification"]
    folder, _ = small_runs.plain(recipe.script)
    launched = launch_two(recipe, tmp_path / "two")
    states = sorted(path.name for path in (launched / "checkpoint-12").glob("rng_state*"))
    assert states == ["rng_state_0.pth", "rng_state_1.pth"]
    assert len(losses(folder)) == 12
    assert_same(losses(launched), losses(folder), 1e-4, scale=1)
    assert_same(facts(launched).runs[0].metrics, facts(folder).runs[0].metrics)
    assert_same(weights(launched), weights(folder), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS[1:])
def test_two_processes_of_every_recipe_give_the_same_run(script, small_runs, tmp_path):
    recipe = RECIPES[script]
    folder, launched = small_runs.plain(script)[0], launch_two(recipe, tmp_path / "two")
    assert facts(launched).command.startswith("accelerate launch --multi_gpu --num_processes 2 ")
    if script == "word2vec":  # each process reads half, and their vectors are averaged
        assert facts(launched).corpus == facts(folder).corpus
        assert all(found.isfinite().all() for found in weights(launched).values())
        return
    assert_same(losses(launched), losses(folder), 1e-4, scale=1)
    assert facts(launched).runs[0].metrics == pytest.approx(facts(folder).runs[0].metrics, rel=1e-4)
    assert_same(weights(launched), weights(folder), 1e-4)


def launch_two(recipe, folder):
    """Launches a small run of two processes, as the recipe's docstring says, which has to succeed."""
    words = launches.documented(recipe.path, recipe.file(), TWO)
    process = launch(*words, *recipe.small, f"--training.output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return folder


def test_launch_lines_are_documented(recipe):
    python, one, two = (
        launches.documented(recipe.path, recipe.file(), start)
        for start in ("python", "accelerate launch --num_processes 1", TWO)
    )
    assert python == ["python", recipe.path, "--config", recipe.file()]
    assert one[-3:] == python[1:]
    assert {*python[1:], "--training.num_processes=2"} <= set(two)  # which stops any other number


@pytest.mark.slow
def test_one_launched_process_gives_the_model_that_no_launch_gives(monkeypatch, tmp_path):
    recipe = RECIPES["text_classification"]
    recipe.run(monkeypatch, tmp_path / "here")
    words = launches.documented(recipe.path, recipe.file(), "accelerate launch --num_processes 1")
    process = launch(*words, *recipe.small, f"--training.output_dir={tmp_path / 'launched'}")
    assert process.returncode == 0, process.stderr
    assert_same(weights(tmp_path / "launched"), weights(tmp_path / "here"), 1e-4)


@pytest.mark.slow
def test_a_launch_that_silently_became_one_process_is_stopped(tmp_path):
    recipe = RECIPES["text_classification"]
    options = ["--training.use_cpu=true", "--training.num_processes=2", f"--training.output_dir={tmp_path / 'silent'}"]
    process = launch(
        "accelerate", "launch", "--cpu", "--num_processes=2", recipe.path, "--config", recipe.file(), *options
    )
    assert process.returncode != 0
    assert "num_processes=2 was asked for, 1 run. On CPU launch with: accelerate launch --multi_gpu" in process.stderr
    assert not (tmp_path / "silent").exists()


def test_one_process_in_place_of_two_is_stopped(recipe, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="num_processes=2 was asked for, 1 run. (On CPU l|L)aunch with: accelerate"):
        recipe.run(monkeypatch, tmp_path / "silent", "--training.num_processes=2")
    assert not (tmp_path / "silent").exists()


@pytest.mark.slow
def test_a_launch_of_processes_that_do_not_know_of_one_another_is_stopped(tmp_path):
    recipe = RECIPES["text_classification"]
    words = launches.documented(recipe.path, recipe.file(), TWO)
    words = [word for word in words if "use_cpu" not in word]
    process = launch(*words, f"--training.output_dir={tmp_path / 'strangers'}")
    assert process.returncode != 0
    assert "2 processes were launched, but they do not know of one another" in process.stderr
    assert not (tmp_path / "strangers").exists()


def test_an_unknown_key_of_the_file_is_answered_with_the_nearest_one(recipe, monkeypatch, tmp_path):
    text = (ROOT / recipe.file()).read_text(encoding="utf-8")
    assert "hidden_size:" in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace("hidden_size:", "hiden_size:"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"unknown key 'hiden_size'; did you mean 'hidden_size'\?"):
        recipe.main(monkeypatch, "--config", str(path), f"--training.output_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_an_unknown_section_of_the_command_line_is_answered_with_the_nearest_one(recipe, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"unknown section 'trainin'; did you mean 'training'\?"):
        recipe.run(monkeypatch, tmp_path / "run", "--trainin.seed=1")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("text_classification", "tokenizer.min_frequency=1", "tokenizer.min_count"),
        ("token_classification", "tokenizer.min_frequency=1", "tokenizer.min_count"),
        ("language_modeling", "tokenizer.min_frequency=1", "tokenizer.min_count"),
        ("language_modeling", "generation.prompts=[a]", "card.ask"),
        ("language_modeling", "fill_mask.prompts=[a]", "card.ask"),
        ("language_modeling", "data.test_share=0.1", "data.test_fraction"),
        ("text_classification", "data.validation_share=0.1", "data.validation_fraction"),
        ("masked_language_modeling", "fill_mask.prompts=[a]", "card.ask"),
        ("word2vec", "card.neighbours=[a]", "card.ask"),
    ],
)
def test_an_old_key_is_answered_with_the_new_one(script, old, new):
    with pytest.raises(ValueError, match=f"{old.split('=')[0]} is now {new}"):
        RECIPES[script].settings(f"--{old}")


def test_help_lists_every_section(recipe, monkeypatch, capsys):
    with pytest.raises(SystemExit) as left:
        recipe.main(monkeypatch, "--help")
    assert left.value.code == 0
    printed = capsys.readouterr().out
    for title in recipe.sections:
        assert f"\n{title}: " in printed
    assert "--resume" in printed
    assert "model (type: ngram)" not in printed  # which is counted, not trained


def test_the_finished_run_is_pushed(hub, api, repo_id, small_runs, monkeypatch, tmp_path, capsys):
    recipe = RECIPES["word2vec"]
    recipe.run(monkeypatch, tmp_path, f"--hub.repo_id={repo_id}", "--hub.force=true")
    assert "pushed to http" in capsys.readouterr().out
    expected, pulled = weights(small_runs.plain("word2vec")[0]), weights(hfseq.pull(repo_id))
    assert all(pulled[name].equal(expected[name]) for name in expected)
    assert not {"settings.yaml", "facts.json"} & set(api.list_repo_files(repo_id))


# Settings files


@pytest.mark.parametrize(("script", "path"), CONFIGS)
def test_every_settings_file_parses_and_names_itself_in_its_launch_line(script, path, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe, header = RECIPES[script], header_lines(path)
    *before, line = [line for line in header if line.startswith("python ")]
    program, launched, *arguments = shlex.split(line)
    assert (program, launched) == ("python", recipe.path)
    assert arguments[:2] == ["--config", str(path.relative_to(ROOT))]
    settings = read_settings(recipe.task.settings, arguments)
    written = []  # by the recipes that come first: the language model to start from
    for earlier in before:
        first = next(
            task for task in TASKS.values() if earlier.startswith(f"python recipes/{task.recipe}.py --config ")
        )
        place = read_settings(first.settings, shlex.split(earlier)[2:]).training["output_dir"]
        written.append({"causal_lm": place, "translation": f"{place}/encoder"}[first.name])
    source = settings.transfer.from_pretrained if script == "text_classification" else None
    assert written == [source][: source is not None]
    measured = sum(line.startswith("Expected: ") for line in header)
    assert measured == 1 or (
        measured == 0 and script in ("text_classification", "token_classification", "intent_slots")
    )
    for line in header:
        if "add: " in line and script != "word2vec":  # the files of word vectors must be there
            local = read_settings(recipe.task.settings, [*arguments, *shlex.split(line.split("add: ")[1])])
            assert local.data.path not in (None, settings.data.path) or settings.data.path is not None
            assert script != "language_modeling" or local.data.hub_id is None
    if script == "word2vec":
        return
    family, name = settings.model["type"], path.stem.split("_")[0]
    if script == "trees":
        assert path.stem.startswith(f"{settings.model['composition']}_")
    else:
        assert name in (family, settings.model.get("cell"), family.removesuffix("_seq2seq"))
    # A model of that shape can be built: the options go together.
    options = {name: value for name, value in settings.model.items() if name != "type"}
    spelled = spellings().sizes() if options.get("characters", "none") != "none" else {}
    tokens = {} if script == "strokes" else {"vocab_size": 200, "pad_token_id": 0}
    seen = {"feature_size": 16} if script == "captioning" else {}
    FAMILIES[family].config(**options, **spelled, **tokens, **seen)


def test_every_run_has_a_folder_and_a_model_of_its_own():
    made = [RECIPES[script].settings(config=path.stem) for script, path in (case.values for case in CONFIGS)]
    folders = [settings.training["output_dir"] for settings in made]
    assert len(set(folders)) == len(folders)
    assert all(folder.startswith("runs/") for folder in folders)
    ids = [settings.card.model_id for settings in made]
    assert len(set(ids)) == len(ids)
    assert all(model_id.startswith("hfseq/") for model_id in ids)


@pytest.mark.parametrize(
    ("script", "task"),
    [("text_classification", "text-classification"), ("masked_language_modeling", "fill-mask")],
)
def test_there_is_a_settings_file_for_every_family(script, task):
    families = {name for name, family in FAMILIES.items() if task in family.heads} - {"recursive"}  # of trees
    assert {path.stem.split("_")[0] for path in RECIPES[script].configs} == families


def test_the_settings_files_are_there():
    names = {script: {path.stem for path in RECIPES[script].configs} for script in SCRIPTS}
    taggers = {"lstm_embedded", "lstm_snips_slots", "lstm_ud_ewt", "lstm_conll2003"}
    assert names["token_classification"] >= taggers
    assert {name.split("_")[0] for name in names["language_modeling"]} >= {"rnn", "lstm", "gru", "transformer"}
