"""The ladder of translators: each rung is an ordinary checkpoint, and is what the textbooks say it is."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from hfseq.data.parallel import SOURCE, TARGET, load_parallel
from hfseq.evaluation.translation import translation_scores
from hfseq.settings import read_settings
from hfseq.tasks.translation.rivals import word_by_word
from hfseq.tasks.translation_ladder.build import climb, plot_translators, prepare, translator_line, translator_table
from hfseq.tasks.translation_ladder.settings import RUNGS, TranslationLadderSettings
from tests.launches import ROOT

CONFIG = str(ROOT / "recipes/configs/ladder/translators_embedded.yaml")
SMALL = [
    "--data.max_rows=60",
    "--network.embedding_size=8",
    "--network.hidden_size=8",
    "--transformer.hidden_size=8",
    "--transformer.num_hidden_layers=1",
    "--transformer.num_attention_heads=2",
    "--training.num_train_epochs=1",
    "--training.disable_tqdm=true",
    "--training.use_cpu=true",
    "--language_training.num_train_epochs=1",
    "--language_training.disable_tqdm=true",
    "--language_training.use_cpu=true",
    "--generation.num_beams=2",
    "--generation.max_new_tokens=8",
]


def settings(*options):
    return read_settings(TranslationLadderSettings, ["--config", CONFIG, *options])


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder")
    made = settings(*SMALL, f"--training.output_dir={folder}")
    prepared = prepare(made, load_parallel(made.data))
    return folder, made, prepared, list(climb(made, prepared, folder))


def test_each_rung_is_a_checkpoint_that_writes_what_the_ladder_says(climbed):
    folder, made, prepared, rungs = climbed
    rows = prepared.dataset["test"]
    for name, rung in zip(RUNGS[1:], rungs[1:], strict=True):
        model = AutoModelForSeq2SeqLM.from_pretrained(folder / name)
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        inputs = tokenizer(rows[SOURCE][:], padding=True, return_tensors="pt")
        ids = model.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"])
        again = translation_scores(rows[TARGET][:], tokenizer.batch_decode(ids, skip_special_tokens=True))
        assert again == pytest.approx(rung.metrics), name
        assert sum(each.numel() for each in model.parameters()) == rung.parameters
        assert 0 < rung.minutes < made.rungs.minutes
    assert rungs[0].parameters == 0


def test_the_rungs_are_those_of_the_textbooks(climbed):
    folder = climbed[0]
    configs = {name: AutoModelForSeq2SeqLM.from_pretrained(folder / name).config for name in RUNGS[1:]}
    kinds = {name: (config.attention, config.feedback) for name, config in configs.items() if name != "transformer"}
    assert kinds == {
        "naive": ("none", False),
        "fed_back": ("none", True),
        "pretrained": ("none", True),
        "attention": ("general", True),
    }
    # Two vocabularies of the same tokens: each language model brings its own embeddings.
    assert configs["pretrained"].decoder_vocab_size == configs["fed_back"].vocab_size
    assert not configs["pretrained"].bidirectional_encoder


def test_the_pretrained_rung_begins_as_its_two_language_models(climbed, tmp_path):
    folder, _, prepared, _ = climbed
    lines = settings(
        *SMALL, f"--training.output_dir={tmp_path}", "--rungs.names=[pretrained]", "--training.learning_rate=0.0"
    )
    next(iter(climb(lines, prepared, tmp_path)))
    made = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "pretrained").state_dict()
    for side, name in (("encoder", "sources"), ("decoder", "targets")):
        parent = tmp_path / f"training/pretrained/language_model_of_{name}"
        last = max(parent.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        words = AutoModelForCausalLM.from_pretrained(last).model.embed_tokens.weight
        assert torch.equal(made[f"model.{side}.embed_tokens.weight"], words)


def test_a_rung_that_is_behind_a_simpler_one_says_so(climbed, tmp_path):
    *_, rungs = climbed
    for place, rung in enumerate(rungs):
        better = [low.name for low in rungs[:place] if low.metrics["bleu"] > rung.metrics["bleu"]]
        assert rung.behind == (better[0] if better else None)
    table = translator_table(rungs)
    assert table.count("\n") == len(rungs) + 1
    assert all(rung.name in table and rung.name in translator_line(rung) for rung in rungs)
    plot_translators(rungs, tmp_path / "ladder.svg")
    assert (tmp_path / "ladder.svg").stat().st_size > 0


def test_a_dictionary_keeps_words_whole_in_any_script():
    pairs = [("I go", "मैं जाता"), ("I eat", "मैं खाता"), ("you go", "तुम जाता"), ("you eat", "तुम खाता")]
    sources, targets = zip(*pairs, strict=True)
    assert word_by_word(sources, targets, ["you go"]) == ["तुम जाता"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--rungs.names=[naive, naive]", "each once"),
        ("--rungs.names=[mammoth]", "mammoth"),
        ("--rungs.minutes=0", "rungs.minutes=0"),
        ("--rungs.pretraining_share=1.0", "between 0 and 1"),
        ("--network.cell=minimal_gated", "'minimal_gated' is the name of no language model"),
        ("--network.attention=none", "cannot be built"),
        ("--tokenizer.shared=false", "the same tokens"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_trained(option, words):
    more = ["--network.input_feeding=true"] if "attention=none" in option else []
    with pytest.raises(ValueError, match=words):
        settings(option, *more)
