"""What the recipe of translation does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import json
import shutil

import pytest
import torch
from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoTokenizer, pipeline

from hfseq import Seq2SeqConfig, SourceTargetTokenizer, cli
from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card, render_card
from hfseq.data.parallel import ParallelSettings, load_parallel
from hfseq.evaluation.translation import signature, translation_scores
from hfseq.recipe.defaults.translation import translation_training
from hfseq.settings import read_settings
from hfseq.tasks.translation.settings import TranslationSettings
from tests.tasks.base import RECIPES, facts, losses

RECIPE = RECIPES["translation"]
SHORT = ("--training.num_train_epochs=1", "--training.eval_strategy=no", "--training.save_strategy=no")
SHORT += ("--training.metric_for_best_model=null",)


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("translation")


def card(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_small_run_learns_and_its_card_has_the_signature_the_curve_and_the_peers(plain):
    folder, printed = plain
    made = facts(folder)
    assert losses(folder)[-1] < 0.9 * losses(folder)[0]
    assert made.signature == signature() and f"`{signature()}`" in card(folder)
    assert [point.step for point in made.curve] == [4, 8, 12]
    assert 0 < made.curve[0].minutes < made.curve[2].minutes
    beside = {row.name for row in made.comparisons}
    assert beside == {"Copy of the source", "Word by word (IBM model 1)", "Nearest training source (TF-IDF)"}
    assert "Word by word (IBM model 1)" in printed and "BEHIND" in printed
    assert "pipeline_tag: translation" in card(folder) and "- en-de\n" in card(folder)
    assert "\nlanguage:\n- en\n- de\n" in card(folder) and "in the languages `en` and `de`" in card(folder)
    assert made.data.splits == {"train": 96, "validation": 96, "test": 96}


def test_the_scores_are_those_of_what_the_saved_model_writes(plain):
    folder, _ = plain
    rows = load_parallel(ParallelSettings(name="embedded", max_rows=96))["test"]
    pipe = pipeline("text2text-generation", model=str(folder))
    written = [each["generated_text"] for each in pipe(rows["source"][:], batch_size=32)]
    assert facts(folder).runs[0].metrics == pytest.approx(translation_scores(rows["target"][:], written))
    assert pipe.model.generation_config.num_beams == 2 and pipe.model.generation_config.max_length is None
    for widget in facts(folder).widgets:
        assert widget.written == pipe(widget.text)[0]["generated_text"]


@pytest.mark.parametrize("config", ["lstm_embedded", "transformer_embedded"])
def test_two_vocabularies_lie_in_the_checkpoint_and_the_pipeline_uses_both(monkeypatch, tmp_path, capsys, config):
    short = ("--tokenizer.shared=false", "--data.max_rows=40", "--training.max_steps=2", *SHORT)
    fields = [word for word in RECIPE.small if config.startswith("lstm") or "embedding_size" not in word]
    made = tmp_path / "run"
    RECIPE.run(monkeypatch, made, *short, config=config, small=fields)
    tokenizer = AutoTokenizer.from_pretrained(made)
    assert isinstance(tokenizer, SourceTargetTokenizer)
    pipe = pipeline("translation", model=str(made))
    assert cli.main(["info", str(made)]) == 0
    told = f"vocabulary: {len(tokenizer.source)} entries of sources, {len(tokenizer)} of targets"
    assert told in capsys.readouterr().out
    sizes = pipe.model.config
    assert (sizes.vocab_size, sizes.decoder_vocab_size) == (len(tokenizer.source), len(tokenizer))
    texts = ["will it rain in Oslo?", "set an alarm for 7 am, please"]
    alone = [pipe(text)[0]["translation_text"] for text in texts]
    assert [each["translation_text"] for each in pipe(texts, batch_size=2)] == alone


def test_the_commands_know_the_model(plain, tmp_path, capsys):
    folder, _ = plain
    assert cli.main(["info", str(folder)]) == 0
    assert "task text2text-generation" in capsys.readouterr().out
    asked = tmp_path / "texts.txt"
    asked.write_text("play Nachtzug\nwhat time is it?\n", encoding="utf-8")
    assert cli.main(["predict", str(folder), "--file", str(asked)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in found] == ["play Nachtzug", "what time is it?"]
    assert all(isinstance(line["generated"], str) for line in found)
    table = tmp_path / "pairs.tsv"
    table.write_text("en\tde\nplay Nachtzug\tSpiele Nachtzug.\nI am here\tIch bin hier.\n", encoding="utf-8")
    languages = ["--source-language", "en", "--target-language", "de"]
    assert cli.main(["evaluate", str(folder), str(table), *languages]) == 0
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines()] == ["bleu", "chrf", "exact_match"]
    assert signature() in told.err
    assert cli.main(["evaluate", str(folder), str(table)]) == 0  # the languages are those of the model
    assert capsys.readouterr().out == told.out
    table.write_text("en\tfr\nplay Nachtzug\tJoue Nachtzug.\n", encoding="utf-8")
    assert cli.main(["evaluate", str(folder), str(table)]) == 1
    assert "No column is named 'de', only en, fr. Name the column with --target-column=NAME" in capsys.readouterr().err
    table.write_text("a\tb\nplay Nachtzug\tSpiele Nachtzug.\n", encoding="utf-8")
    assert cli.main(["evaluate", str(folder), str(table)]) == 1
    assert "Choose one with --text-column=NAME" in capsys.readouterr().err
    assert cli.main(["card", str(folder), "--check"]) == 0


def test_it_is_refused_behind_its_peer_and_pushed_with_force(hub, api, repo_id, plain, capsys):
    folder, _ = plain
    assert cli.main(["push", str(folder), repo_id]) == cli.REFUSED
    assert "a simple system is better in BLEU" in capsys.readouterr().err
    assert cli.main(["push", str(folder), repo_id, "--force"]) == 0
    pipe = pipeline("text2text-generation", model=repo_id)
    assert pipe("play Nachtzug") == pipeline("text2text-generation", model=str(folder))("play Nachtzug")


def test_the_command_trains_for_its_minutes_with_what_follows_the_data(tmp_path, capsys):
    rows = load_parallel(ParallelSettings(name="embedded", max_rows=80))["train"]
    lines = ["question\tanswer", *map("\t".join, zip(rows["source"], rows["target"], strict=True))]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["train", "translation", str(tmp_path / "pairs.tsv"), "--minutes", "0.02", "--out", str(tmp_path / "run")]
    small = ["--tokenizer.vocab_size=400", "--training.use_cpu=true", "--training.disable_tqdm=true"]
    assert cli.main([*words, *small, "--generation.max_new_tokens=5"]) == 0
    assert "at most 0.02 minutes" in capsys.readouterr().out
    used = read_settings(TranslationSettings, ["--config", str(tmp_path / "run" / "settings.yaml")])
    assert (used.data.text_column, used.data.target_column) == ("question", "answer")
    assert (used.model["hidden_size"], used.tokenizer.vocab_size) == (128, 400)
    assert (used.training["total_train_batch_tokens"], used.training["metric_for_best_model"]) == (1024, "chrf")
    assert facts(tmp_path / "run").data.splits == {"train": 65, "validation": 8, "test": 7}


@pytest.mark.parametrize(
    ("family", "pairs", "expected"),
    [
        ("seq2seq", 5_000, {"hidden_size": 128, "hidden_dropout": 0.3}),
        ("seq2seq", 50_000, {"hidden_size": 256, "hidden_dropout": 0.2}),
        ("transformer_seq2seq", 50_000, {"hidden_size": 256, "num_attention_heads": 4}),
    ],
)
def test_sizes_follow_the_number_of_pairs_where_nobody_says_them(family, pairs, expected):
    words = ["--data.name=embedded", f"--model.type={family}", "--budget.minutes=3"]
    settings = read_settings(TranslationSettings, words)
    settings.follow(pairs)
    assert expected.items() <= settings.model.items()
    assert settings.tokenizer.vocab_size == (4_000 if pairs < 20_000 else 8_000)
    assert settings.model["tie_word_embeddings"] and settings.model["num_attention_heads"] == 4


@pytest.mark.parametrize(
    "said", [{"hidden_size": 32}, {"embedding_size": 64}, {"attention": "additive"}, {"attention": "none"}]
)
def test_what_follows_the_pairs_fits_what_was_said(said):
    options = [f"--model.{name}={value}" for name, value in said.items()]
    words = ["--data.name=embedded", "--budget.minutes=3", "--model.type=seq2seq"]
    settings = read_settings(TranslationSettings, [*words, *options])
    settings.follow(5_000)
    assert said.items() <= settings.model.items()
    Seq2SeqConfig(**{name: value for name, value in settings.model.items() if name != "type"})


def test_a_long_training_makes_larger_updates():
    tokens = [
        translation_training(minutes, is_transformer=False)["total_train_batch_tokens"] for minutes in (5, 20, 60)
    ]
    assert tokens == [1024, 2048, 4096]


def test_the_mean_of_its_checkpoints_is_a_model(plain, tmp_path, capsys):
    folder, _ = plain
    assert cli.main(["average", str(folder), "--last", "2", "--out", str(tmp_path / "mean")]) == 0
    assert cli.main(["predict", str(tmp_path / "mean"), "play Nachtzug"]) == 0
    assert '"generated"' in capsys.readouterr().out


def test_an_autoencoder_leaves_an_encoder_that_starts_a_classifier(monkeypatch, tmp_path):
    made = RECIPE.run(monkeypatch, tmp_path / "auto", *SHORT, config="lstm_embedded_autoencoder")
    assert made.data.copies_source and {row.name for row in made.comparisons} == {"Nearest training source (TF-IDF)"}
    whole, encoder = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "auto"), tmp_path / "auto" / "encoder"
    tokens = AutoTokenizer.from_pretrained(encoder)(["play Nachtzug", "I am here, please"], padding=True)
    inputs = {name: torch.tensor(ids) for name, ids in tokens.items()}
    alone = AutoModel.from_pretrained(encoder)(**inputs).last_hidden_state
    assert alone.equal(whole.get_encoder()(**inputs).last_hidden_state)
    sizes = ("--model.embedding_size=8", "--model.hidden_size=4", "--training.num_train_epochs=1")
    options = (f"--transfer.from_pretrained={encoder}", "--data.max_rows=50", "--data.train_rows=null", *sizes)
    quiet = ("--training.use_cpu=true", "--training.disable_tqdm=true")
    classifier = RECIPES["text_classification"]
    classifier.run(monkeypatch, tmp_path / "classes", *options, config="lstm_embedded_transfer", small=quiet)


def test_restricted_rows_and_long_pairs_stay_out_of_the_card(monkeypatch, tmp_path):
    options = ("--card.data_restriction=research only", "--tokenizer.max_length=12")
    small = [option for option in RECIPE.small if "embedding_size" not in option]
    made = RECIPE.run(monkeypatch, tmp_path / "run", *SHORT, *options, config="transformer_embedded", small=small)
    assert made.data.left_out > 0 and not made.examples.right and not made.examples.wrong
    text = card(tmp_path / "run")
    assert "No rows are shown, for the terms of the data: research only." in text
    assert f"{made.data.left_out} training pairs of more than 12 tokens are left out" in text
    check_card(text, pictures_in(tmp_path / "run"))
    assert text == render_card(made, pictures_in(tmp_path / "run"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--training.metric_for_best_model=accuracy",), "unknown score 'accuracy'"),
        (("--tokenizer.lowercase=true",), "tokenizer.lowercase=true would lower-case the targets too"),
        (("--generation.num_beams=0",), "generation.num_beams=0 and max_new_tokens=6 must be 1 or more"),
        (("--data.copies_source=true",), "with copies_source=true the source is the target too"),
        (("--tokenizer.max_length=2",), "Every training pair has more than tokenizer.max_length=2 tokens: raise it"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(monkeypatch, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        RECIPE.run(monkeypatch, tmp_path / "run", *options)


def test_each_side_has_its_own_vocabulary_where_it_is_asked_for(monkeypatch, tmp_path):
    options = ("--tokenizer.shared=false", "--tokenizer.lowercase=true")
    made = RECIPE.run(monkeypatch, tmp_path / "run", *SHORT, *options)
    both = AutoTokenizer.from_pretrained(tmp_path / "run")
    assert (made.data.vocabulary_size, made.data.target_vocabulary_size) == (len(both.source), len(both.target))
    assert both("PLAY Nachtzug")["input_ids"] == both("play nachtzug")["input_ids"]
    assert both(text_target="Spiele Nachtzug.")["input_ids"] != both(text_target="spiele nachtzug.")["input_ids"]
    written = pipeline("text2text-generation", model=str(tmp_path / "run"))("play Nachtzug")[0]["generated_text"]
    assert isinstance(written, str) and "of sources and" in card(tmp_path / "run")


@pytest.mark.data
def test_real_pairs_exported_as_files_are_trained_on(data_folder, monkeypatch, tmp_path):
    for language in ("en", "de"):
        for split, name in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr")):
            shutil.copy(data_folder / "multi30k" / f"{name}.{language}.gz", tmp_path / f"{split}.{language}.gz")
    small = ("--data.max_rows=200", "--training.max_steps=2", "--model.hidden_size=16", "--model.embedding_size=16")
    options = (f"--data.path={tmp_path}", "--card.same_data=true", "--generation.num_beams=1")
    quiet = ("--training.use_cpu=true", "--training.disable_tqdm=true", "--generation.max_new_tokens=5")
    made = RECIPE.run(monkeypatch, tmp_path / "run", *options, *small, config="lstm_multi30k", small=quiet)
    assert made.data.splits == {"train": 200, "validation": 200, "test": 200}
    assert (made.data.source_language, made.data.target_language) == ("en", "de")
