"""The language modelling recipe through its real command line and, for its options, in this process."""

import json
import math
import re
import shlex
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, pipeline, set_seed

import hfseq
from hfseq.cards.render import check_card, load_facts, render_card
from hfseq.data.documents import load_documents
from hfseq.evaluation.language import score
from hfseq.settings import read_settings
from hfseq.tasks.causal_lm.build import score_split
from hfseq.tasks.causal_lm.settings import LanguageSettings, make_model, make_text, make_tokenizer
from recipes import language_modeling
from tests import launches
from tests.closeness import assert_same
from tests.launches import ROOT, header_lines, launch

SCRIPT = "recipes/language_modeling.py"
FOLDER = "recipes/configs/language_modeling"
CONFIGS = sorted((ROOT / FOLDER).glob("*.yaml"))
CONFIG = f"{FOLDER}/lstm_embedded.yaml"
TRANSFORMER = f"{FOLDER}/transformer_embedded.yaml"
MASKED = f"{FOLDER}/masked_embedded.yaml"
SMALL = [
    "--data.max_characters=4000",
    "--model.hidden_size=8",
    "--model.hidden_dropout=0",  # masks are drawn by each process for itself
    "--training.total_train_batch_size=8",
    "--training.num_train_epochs=2",
    "--training.lr_scheduler_type=constant",  # or a first run with fewer steps would follow another schedule
    "--training.logging_steps=1",
    "--training.save_total_limit=null",
    "--training.disable_tqdm=true",
]
WRITING = "--generation.max_new_tokens=8"


def small(config):
    """Options that make a run of these settings small."""
    recurrent = ["--model.embedding_size=8"]
    attending = ["--model.num_hidden_layers=1", "--model.num_attention_heads=2", "--training.learning_rate=0.02"]
    writing = [] if config == MASKED else [WRITING]
    return [*SMALL, *writing, *(attending if config in (TRANSFORMER, MASKED) else recurrent)]


def finished(words, folder, *options):
    """Launches a small run into a folder, which has to succeed."""
    process = launch(*words, *small(CONFIG), *options, f"--training.output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return process


def run_here(monkeypatch, folder, *options, config=CONFIG):
    """The recipe in this process, where a launch would cost seconds."""
    monkeypatch.chdir(ROOT)
    arguments = ["--config", config, *small(config), f"--training.output_dir={folder}", *options]
    monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
    language_modeling.main()
    return facts(folder)


def settings(*options, config=CONFIG):
    return read_settings(LanguageSettings, ["--config", str(ROOT / config), *options])


def facts(folder):
    return load_facts(folder / "facts.json")


def weights(folder):
    return load_file(folder / "model.safetensors")


def losses(folder):
    checkpoint = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def plain(runs):
    """The run that the others are compared with."""
    return runs / "plain", finished(launches.documented(SCRIPT, CONFIG, "python"), runs / "plain")


def test_the_recipe_leaves_a_model_with_card_facts_and_settings(plain):
    folder, process = plain
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files >= {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json"}
    assert files >= {"README.md", "facts.json", "settings.yaml"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    check_card(card)
    assert card == render_card(facts(folder))
    perplexity = facts(folder).runs[0].metrics["perplexity"]
    assert f"\ntest: perplexity {perplexity:.4f}\n" in process.stdout
    assert 1 < perplexity < 200
    assert losses(folder)[-1] < losses(folder)[0] - 0.1
    assert facts(folder).data.evaluated_split == "test"
    assert set(facts(folder).runs[0].others) == {"validation"}
    used = settings(*small(CONFIG), f"--training.output_dir={folder}")
    assert read_settings(LanguageSettings, ["--config", str(folder / "settings.yaml")]) == used
    assert shlex.split(facts(folder).command)[-1] == "--training.output_dir=plain"  # without folders of this machine


def test_the_saved_model_scores_and_writes_as_its_card_says(plain):
    folder, _ = plain
    pipe = pipeline("text-generation", model=str(folder))
    assert [(each.prompt, each.seed) for each in facts(folder).samples] == [
        (prompt, seed) for prompt in settings().generation.prompts for seed in (0, 1)
    ]
    for sample in facts(folder).samples:
        set_seed(sample.seed)
        assert pipe(sample.prompt)[0]["generated_text"] == sample.text
        assert sample.text.startswith(sample.prompt)
    texts = load_documents(settings(*SMALL).data)["test"]["text"][:]
    scores = score(pipe.model, pipe.tokenizer, texts)
    assert scores.perplexity == pytest.approx(facts(folder).runs[0].metrics["perplexity"], rel=1e-5)
    assert scores.num_tokens == facts(folder).data.splits["test"].tokens - len(texts)  # <s> is not predicted


def test_the_snippets_of_the_card_run_and_print_what_it_says(plain):
    folder, _ = plain
    card = (folder / "README.md").read_text(encoding="utf-8").replace(facts(folder).model_id, str(folder))
    printed = []
    names = {"print": printed.append}
    for snippet in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        exec(snippet, names)
    assert printed[0] == facts(folder).samples[0].text
    assert math.isfinite(printed[1])


def test_what_stands_for_no_text_is_never_written(plain):
    folder, _ = plain
    tokenizer = AutoTokenizer.from_pretrained(folder)
    forbidden = GenerationConfig.from_pretrained(folder).suppress_tokens
    assert tokenizer.convert_ids_to_tokens(forbidden) == ["<pad>", "<unk>", "<s>", "<mask>"]
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.bias[forbidden] = 50.0
    written = model.generate(max_new_tokens=20, num_return_sequences=8)
    assert not np.isin(written[:, 1:].numpy(), [1, 2, 4]).any()  # 0 pads what ended


def test_each_baseline_is_a_model_that_was_measured_on_the_same_tokens(plain):
    folder, _ = plain
    made = settings(*SMALL, WRITING)
    dataset = load_documents(made.data)
    tokenizer = make_tokenizer(dataset, made)
    texts = {name: make_text(rows, tokenizer, made) for name, rows in dataset.items()}
    found = {row.name: row.value for row in facts(folder).comparisons}
    assert set(found) == {"Unigram (counts of single tokens)", "5-gram (Kneser-Ney)"}
    # A unigram model by hand: relative frequencies, smoothed a little by those that training does not show.
    bos = tokenizer.bos_token_id
    seen = texts["train"].ids[texts["train"].ids != bos]
    counts = np.bincount(seen, minlength=len(tokenizer)).astype(float)
    predicted = texts["test"].ids[texts["test"].ids != bos]
    by_hand = np.exp(-np.log((counts[predicted] + 0.1) / (counts + 0.1).sum()).mean())
    assert found["Unigram (counts of single tokens)"] == pytest.approx(by_hand, rel=0.1)
    assert found["5-gram (Kneser-Ney)"] < found["Unigram (counts of single tokens)"]


@pytest.mark.parametrize(("start", "processes"), [("accelerate launch --num", 1), ("accelerate launch --multi", 2)])
def test_launches_by_accelerate_give_the_same_run(plain, runs, start, processes):
    folder, _ = plain
    words = launches.documented(SCRIPT, CONFIG, start)
    assert processes == 1 or "--training.num_processes=2" in words  # which stops any other number
    launched = runs / f"accelerate_{processes}"
    finished(words, launched)
    assert_same(losses(launched), losses(folder), 1e-4, scale=1)
    assert facts(launched).runs[0].metrics == pytest.approx(facts(folder).runs[0].metrics, rel=1e-4)
    expected, found = weights(folder), weights(launched)
    assert_same(found, expected, 1e-4)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(plain, runs, monkeypatch):
    uninterrupted, _ = plain
    folder = runs / "resumed"
    run_here(monkeypatch, folder, "--training.num_train_epochs=1")
    early = weights(folder)
    run_here(monkeypatch, folder, "--resume")
    expected, found = weights(uninterrupted), weights(folder)
    assert all(found[name].equal(expected[name]) for name in expected)
    assert not all(found[name].equal(early[name]) for name in early)
    assert losses(folder) == losses(uninterrupted)
    with pytest.raises(ValueError, match=r"other settings \(tokenizer.end: True -> False\)"):
        run_here(monkeypatch, folder, "--tokenizer.end=false", "--resume")


def test_a_run_that_diverges_leaves_no_model(monkeypatch, tmp_path):
    options = ["--training.learning_rate=1e38", "--training.max_grad_norm=0", "--training.optim=sgd"]
    with pytest.raises(ValueError, match=r"The training diverged: .* at step \d, with the learning rate 1e\+38"):
        run_here(monkeypatch, tmp_path, *options)
    assert not list(tmp_path.rglob("model.safetensors")) and not (tmp_path / "config.json").exists()


def test_one_running_text_of_characters(monkeypatch, tmp_path, capsys):
    text = "KING:\nWhat said my lord?\n\nQUEEN:\nNone of it.\n\n" * 200
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    made = run_here(
        monkeypatch,
        tmp_path / "run",
        f"--data.path={tmp_path / 'text.txt'}",
        "--data.max_characters=null",
        "--generation.prompts=['KING:']",
        "--model.num_hidden_layers=1",
        config=f"{FOLDER}/lstm_tiny_shakespeare.yaml",
    )
    (run,) = made.runs
    assert (made.data.evaluated_split, made.data.documents, run.others) == ("validation", "whole", {})
    assert made.data.splits["train"].tokens == made.data.splits["train"].characters == int(len(text) * 0.9)
    # Every character but the first is predicted, and there is none but these.
    share = (made.data.splits["validation"].tokens - 1) / made.data.splits["validation"].characters
    assert run.metrics["bits_per_character"] == pytest.approx(run.metrics["nats_per_token"] * share / math.log(2))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    assert tokenizer.decode(tokenizer("KING:")["input_ids"]) == "KING:"  # nothing is added
    assert "--- 'KING:', seed 0:\nKING:" in capsys.readouterr().out
    # no mark that was never trained is asked for
    assert score(AutoModelForCausalLM.from_pretrained(tmp_path / "run"), tokenizer, "KING:").num_tokens == 4


def test_lines_of_words_that_are_cut_already(monkeypatch, tmp_path):
    lines = " the <unk> said N men \n the men said <unk> \n\n" * 60
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(lines, encoding="utf-8")
    paths = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
    given = ", ".join(f"{split}: {tmp_path / name}" for split, name in paths.items())
    made = run_here(
        monkeypatch,
        tmp_path / "run",
        f"--data.path={{{given}}}",
        "--data.max_characters=null",
        config=f"{FOLDER}/lstm_ptb_small.yaml",
    )
    sizes = made.data.splits["test"]
    assert (sizes.documents, sizes.tokens) == (180, 60 * (5 + 4 + 3) + 1)  # an end a line, and one before the first
    assert (made.tokens.vocabulary_size, made.data.unknown_rate) == (4 + 5, pytest.approx(2 / 9))
    assert made.samples == []
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    assert tokenizer.convert_ids_to_tokens(tokenizer("the men")["input_ids"]) == ["</s>", "the", "men"]
    written = pipeline("text-generation", model=str(tmp_path / "run"))("the men", max_new_tokens=6)
    assert re.fullmatch(r"the men(?: (?:the|said|N|men))*", written[0]["generated_text"])
    assert {"the LDC licence forbids to pass the text on"} == {made.data.restriction}
    assert "Nothing that the model writes is shown" in (tmp_path / "run/README.md").read_text(encoding="utf-8")


def test_texts_on_a_condition(monkeypatch, tmp_path):
    made = run_here(
        monkeypatch,
        tmp_path,
        "--generation.prompts=[<get_weather>]",
        "--data.max_characters=30000",  # enough for each intent to be there
        "--training.total_train_batch_size=64",
        config=f"{FOLDER}/gru_embedded.yaml",
    )
    assert "get_weather" in made.data.conditions
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    asked = tokenizer("<get_weather>is")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(asked) == ["<s>", "<get_weather>", "i", "s"]
    assert all("<" not in sample.text.removeprefix("<get_weather>") for sample in made.samples)
    assert "with one of 24 labels, such as `<ask_opinion>`" in render_card(made)


def test_measures_are_those_of_all_tokens_with_the_state_carried_as_in_training():
    made = settings("--data.max_characters=2000", "--tokenizer.start=false", "--training.carry=stream")
    dataset = load_documents(made.data)
    tokenizer = make_tokenizer(dataset, made)
    text = make_text(dataset["test"], tokenizer, made)
    assert tokenizer.convert_ids_to_tokens(text.ids[:1].tolist()) == ["</s>"]
    model = make_model(made, tokenizer).eval()
    ids = torch.from_numpy(text.ids.astype(np.int64))[None]
    with torch.no_grad():
        logits = model(ids[:, :-1]).logits[0].double()
    expected = torch.nn.functional.cross_entropy(logits, ids[0, 1:]).exp().item()
    found = score_split(model, text, dataset["test"], carry=made.carry, kind="word_with_space")
    assert found == {"perplexity": pytest.approx(expected, rel=1e-5)}


def test_the_finished_run_is_pushed(hub, api, repo_id, monkeypatch, tmp_path, capsys):
    run_here(monkeypatch, tmp_path, f"--hub.repo_id={repo_id}")
    assert "pushed to http" in capsys.readouterr().out
    pulled = pipeline("text-generation", model=hfseq.pull(repo_id))
    set_seed(0)
    assert pulled("remind me to")[0]["generated_text"] == facts(tmp_path).samples[0].text
    assert not {"settings.yaml", "facts.json"} & set(api.list_repo_files(repo_id))


def test_help_lists_every_section():
    process = launch("python", SCRIPT, "--help")
    assert process.returncode == 0
    for title in ("data:", "tokenizer:", "model (type: gru):", "training:", "evaluation:", "generation:", "card:"):
        assert f"\n{title} " in process.stdout
    assert "model (type: ngram)" not in process.stdout  # which is counted, not trained
    assert "--resume" in process.stdout


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.hiden_size=8", "unknown key 'hiden_size'; did you mean 'hidden_size'"),
        ("--model.pooling=max", "unknown key 'pooling'"),
        ("--model.bidirectional=true", "unknown key 'bidirectional'"),
        ("--model.type=word2vec", "unknown model type 'word2vec'"),
        ("--tokenizer.kind=word", 'takes one of "char"'),
        ("--tokenizer.start=false", "training.carry='document' starts each document without a state"),
        ("--training.carry=stream", "needs no guessing, which makes scores look better"),
        ("--generation.prompts=[]", "generation.prompts must hold a text"),
        ("--generation.temperature=0.0", "temperature=0.0"),
        ("--evaluation.ngram_order=-1", "evaluation.ngram_order=-1"),
        ("--evaluation.ngram_order=11", "evaluation.ngram_order=11 must be from 1 to 10"),
        ("--card.comparisons=[{name: a, metric: nats_per_token, value: 0.7, source: b}]", "metric of tokens of kind"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(option, message):
    with pytest.raises(ValueError, match=message):
        settings(option)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_settings_file_parses_and_names_itself_in_its_launch_line(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (line,) = [line for line in header_lines(path) if line.startswith("python ")]
    program, script, *arguments = shlex.split(line)
    assert (program, script) == ("python", SCRIPT)
    assert arguments == ["--config", str(path.relative_to(ROOT))]
    made = read_settings(LanguageSettings, arguments)
    family = path.stem.split("_")[0].replace("masked", "transformer")
    assert made.model["type"] == family
    assert made.is_masked == path.stem.startswith("masked_")
    has_namesake = (ROOT / "recipes/configs/text_classification" / path.name).exists()  # and would share its folder
    assert made.training["output_dir"] in [f"runs/{path.stem}_language", f"runs/{path.stem}"][: 2 - has_namesake]
    assert made.card.model_id.replace("-", "_") == f"hfseq/{made.training['output_dir'].removeprefix('runs/')}"
    assert sum(line.startswith("Expected: ") for line in header_lines(path)) == 1
    for line in header_lines(path):
        if "add: " in line:
            local = read_settings(LanguageSettings, [*arguments, *shlex.split(line.split("add: ")[1])])
            assert local.data.hub_id is None
    # A model of that shape can be built: the options go together.
    sizes = {"vocab_size": 200, "pad_token_id": 0}
    options = {name: value for name, value in made.model.items() if name != "type"}
    hfseq.FAMILIES[family].config(**options, **sizes)


def test_there_is_a_settings_file_for_every_family_and_objective():
    assert {path.stem.split("_")[0] for path in CONFIGS} >= {"rnn", "lstm", "gru", "transformer", "masked"}
