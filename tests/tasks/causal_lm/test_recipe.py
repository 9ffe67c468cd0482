"""What the language modelling recipe does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import math
import re

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, pipeline, set_seed

import hfseq
from hfseq.cards.render import render_card
from hfseq.data.documents import load_documents
from hfseq.evaluation.language import score
from hfseq.recipe.language import make_text, make_tokenizer, score_split
from hfseq.tasks.causal_lm.build import make_model
from tests.tasks.base import OF_LANGUAGE, RECIPES, facts, losses

RECIPE = RECIPES["language_modeling"]


def settings(*options):
    return RECIPE.settings(*options)


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("language_modeling")


def test_the_small_run_learns_and_prints_what_its_facts_say(plain):
    folder, printed = plain
    assert (folder / "generation_config.json").is_file()
    perplexity = facts(folder).runs[0].metrics["perplexity"]
    assert f"\ntest: perplexity {perplexity:.4f}\n" in printed
    assert 1 < perplexity < 200
    assert losses(folder)[-1] < losses(folder)[0] - 0.1
    assert facts(folder).data.evaluated_split == "test"
    assert set(facts(folder).runs[0].others) == {"validation"}
    assert f"\nvalidation: perplexity {facts(folder).runs[0].others['validation']['perplexity']:.4f}\n" in printed


def test_the_saved_model_scores_and_writes_as_its_card_says(plain):
    folder, _ = plain
    pipe = pipeline("text-generation", model=str(folder))
    assert [(each.prompt, each.seed) for each in facts(folder).samples] == [
        (prompt, seed) for prompt in settings().card.ask for seed in (0, 1)
    ]
    for sample in facts(folder).samples:
        set_seed(sample.seed)
        assert pipe(sample.prompt)[0]["generated_text"] == sample.text
        assert sample.text.startswith(sample.prompt)
    texts = load_documents(settings(*OF_LANGUAGE).data)["test"]["text"][:]
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
    made = settings(*RECIPE.small)
    dataset = load_documents(made.data)
    tokenizer = make_tokenizer(dataset, made.tokenizer)
    texts = {name: make_text(rows, tokenizer, made.tokenizer) for name, rows in dataset.items()}
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


def test_a_run_that_diverges_leaves_no_model(monkeypatch, tmp_path):
    options = ["--training.learning_rate=1e38", "--training.max_grad_norm=0", "--training.optim=sgd"]
    with pytest.raises(ValueError, match=r"The training diverged: .* at step \d, with the learning rate 1e\+38"):
        RECIPE.run(monkeypatch, tmp_path, *options)
    assert not list(tmp_path.rglob("model.safetensors")) and not (tmp_path / "config.json").exists()


def test_one_running_text_of_characters(monkeypatch, tmp_path, capsys):
    text = "KING:\nWhat said my lord?\n\nQUEEN:\nNone of it.\n\n" * 200
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    made = RECIPE.run(
        monkeypatch,
        tmp_path / "run",
        f"--data.path={tmp_path / 'text.txt'}",
        "--data.max_characters=null",
        "--card.ask=['KING:']",
        "--model.num_hidden_layers=1",
        config="lstm_tiny_shakespeare",
    )
    (run,) = made.runs
    assert (made.data.evaluated_split, made.data.documents, run.others) == ("validation", "whole", {})
    assert made.data.splits["train"].tokens == made.data.splits["train"].characters == int(len(text) * 0.9)
    # Every character but the first is predicted, and there is none but these.
    share = (made.data.splits["validation"].tokens - 1) / made.data.splits["validation"].characters
    assert run.metrics["bits_per_character"] == pytest.approx(run.metrics["nats_per_token"] * share / math.log(2))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    assert tokenizer.decode(tokenizer("KING:")["input_ids"]) == "KING:"  # nothing is added
    assert "--- prompt 'KING:', seed 0:\nKING:" in capsys.readouterr().out
    # no mark that was never trained is asked for
    assert score(AutoModelForCausalLM.from_pretrained(tmp_path / "run"), tokenizer, "KING:").num_tokens == 4


def test_rows_that_a_model_knows_by_heart_enter_its_card_on_request_alone(monkeypatch, tmp_path, capsys):
    (tmp_path / "text.csv").write_text("text\n" + "my secret\n" * 200, encoding="utf-8")
    how = (
        "--data.max_characters=null",
        "--card.ask=['my']",
        "--training.learning_rate=0.05",
        "--model.hidden_size=32",
    )
    options = (f"--data.path={tmp_path / 'text.csv'}", "--training.num_train_epochs=8", "--generation.top_k=1", *how)
    made = RECIPE.run(monkeypatch, tmp_path / "run", *options)
    assert (made.samples, made.left_out) == ([], 2)
    assert "secret" not in render_card(made)
    assert "2 samples quote the training texts and are not in the card" in capsys.readouterr().out
    made = RECIPE.run(monkeypatch, tmp_path / "shown", *options, "--card.show_rows=true")
    assert ({each.text for each in made.samples}, made.left_out) == ({"my secret"}, 0)


def test_lines_of_words_that_are_cut_already(monkeypatch, tmp_path):
    lines = " the <unk> said N men \n the men said <unk> \n\n" * 60
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(lines, encoding="utf-8")
    paths = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
    given = ", ".join(f"{split}: {tmp_path / name}" for split, name in paths.items())
    made = RECIPE.run(
        monkeypatch,
        tmp_path / "run",
        f"--data.path={{{given}}}",
        "--data.max_characters=null",
        "--card.same_data=true",
        config="lstm_ptb_small",
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
    made = RECIPE.run(
        monkeypatch,
        tmp_path,
        "--card.ask=[<get_weather>]",
        "--data.max_characters=30000",  # enough for each intent to be there
        "--training.total_train_batch_size=64",
        config="gru_embedded",
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
    tokenizer = make_tokenizer(dataset, made.tokenizer)
    text = make_text(dataset["test"], tokenizer, made.tokenizer)
    assert tokenizer.convert_ids_to_tokens(text.ids[:1].tolist()) == ["</s>"]
    model = make_model(made, tokenizer).eval()
    ids = torch.from_numpy(text.ids.astype(np.int64))[None]
    with torch.no_grad():
        logits = model(ids[:, :-1]).logits[0].double()
    expected = torch.nn.functional.cross_entropy(logits, ids[0, 1:]).exp().item()
    found = score_split(model, text, dataset["test"], carry=made.carry, kind="word_with_space")
    assert found == {"perplexity": pytest.approx(expected, rel=1e-5)}


def test_the_finished_run_is_pushed(hub, api, repo_id, monkeypatch, tmp_path, capsys):
    RECIPE.run(monkeypatch, tmp_path, f"--hub.repo_id={repo_id}", "--hub.force=true")
    assert "pushed to http" in capsys.readouterr().out
    pulled = pipeline("text-generation", model=hfseq.pull(repo_id))
    set_seed(0)
    assert pulled("remind me to")[0]["generated_text"] == facts(tmp_path).samples[0].text
    assert not {"settings.yaml", "facts.json"} & set(api.list_repo_files(repo_id))


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
        ("--card.ask=['']", "card.ask holds empty texts alone"),
        ("--generation.temperature=0.0", "temperature=0.0"),
        ("--evaluation.ngram_order=-1", "evaluation.ngram_order=-1"),
        ("--evaluation.ngram_order=11", "evaluation.ngram_order=11 must be from 1 to 10"),
        ("--training.mlm_probability=0.15", "take recipes/masked_language_modeling.py"),
        ("--card.comparisons=[{name: a, metric: nats_per_token, value: 0.7, source: b}]", "metric of tokens of kind"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(option, message):
    with pytest.raises(ValueError, match=message):
        settings(option)
