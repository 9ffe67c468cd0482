"""Two tokenizers in one folder: which of them answers, batches, folders, and what is refused."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
import unicodedata

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertTokenizer,
    DataCollatorForSeq2Seq,
    FeatureExtractionPipeline,
    MarianConfig,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    pipeline,
)

import hfseq
from hfseq import SourceTargetTokenizer
from hfseq.models.artifacts import UnsafeArtifactError, check_tokenizer_ids
from hfseq.tokenization import KINDS, marking_tokenizer
from hfseq.tokenization.files import check_tokenizer_folder, load_tokenizer
from hfseq.tokenization.kinds import LANGUAGE_MODEL_KINDS
from tests.rounds import for_each

ENGLISH = ["I am going", "I am eating", "he is going home", "he is eating fruit", "we are going home"]
HINDI = ["मैं जा रहा हूँ", "मैं खा रहा हूँ", "वह घर जा रहा है", "वह फल खा रहा है", "हम घर जा रहे हैं"]
# A conjunct, one kept apart by a joiner, a nukta, a digit, the full stop.
HARD = "क्षमा क्\u200dष कृ\u200cपा ज़रा श्री ३ हिन्दी।"
FILES = {"source_tokenizer.json", "target_tokenizer.json", "tokenizer_config.json"}
UNREADABLE = "tokenizer_config.json", "source_tokenizer.json", "target_tokenizer.json"


def train(texts, kind="word", **options):
    least = {} if kind in ("unigram", "byte") else {"min_frequency": 1}
    return hfseq.train_tokenizer(texts, kind, vocab_size=500, **least, **options)


@pytest.fixture(scope="module")
def languages():
    return train(ENGLISH), train(HINDI, "bpe")


@pytest.fixture
def pair(languages):
    return SourceTargetTokenizer(*copy.deepcopy(languages))


@pytest.fixture
def folder(pair, tmp_path):
    pair.save_pretrained(tmp_path)
    return tmp_path


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes), encoding="utf-8")


# Which of them answers


def test_sources_are_read_by_one_and_targets_by_the_other(pair, languages):
    source, target = languages
    assert pair(ENGLISH[0])["input_ids"] == source(ENGLISH[0])["input_ids"] == pair.encode(ENGLISH[0])
    assert pair(text_target=HINDI[0])["input_ids"] == target(HINDI[0])["input_ids"]
    assert pair.tokenize(ENGLISH[0]) == source.tokenize(ENGLISH[0])
    both = pair(ENGLISH[:2], text_target=HINDI[:2])
    assert both["labels"] == target(HINDI[:2])["input_ids"] and set(both) == {"input_ids", "attention_mask", "labels"}
    assert both["input_ids"] == source(ENGLISH[:2])["input_ids"]
    cut = pair(ENGLISH[2], text_target=HINDI[2], truncation=True, max_length=3, max_target_length=2)
    assert (len(cut["input_ids"]), len(cut["labels"])) == (3, 2)
    with pytest.raises(ValueError, match="Give text, which is the source, or text_target, or both"):
        pair()


@pytest.mark.parametrize(
    "text, text_target, message",
    [
        (["a", "b"], ["c"], r"2 \(a list\) of text and 1 \(a list\) of text_target: give one target a source"),
        (["a"], ["b", "c"], "1 .a list. of text and 2"),
        ("a", ["b"], "1 .a text. of text and 1 .a list. of text_target: .*both as a text or both as a list"),
        (["a"], "b", "1 .a list. of text and 1 .a text."),
    ],
)
def test_each_source_has_a_target(pair, text, text_target, message):
    with pytest.raises(ValueError, match=message):
        pair(text, text_target=text_target)
    words = pair(["a", "b"], text_target=["c"], is_split_into_words=True)  # one text of two words, one of one
    assert words["input_ids"] == pair.source(["a", "b"], is_split_into_words=True)["input_ids"]


def test_ids_are_those_of_the_target(pair, languages):
    _, target = languages
    ids = target(HINDI[0])["input_ids"]
    assert pair.decode(ids, skip_special_tokens=True) == HINDI[0]
    assert pair.batch_decode([ids, ids], skip_special_tokens=True) == [HINDI[0]] * 2
    assert pair.convert_ids_to_tokens(ids) == target.convert_ids_to_tokens(ids)
    assert pair.convert_tokens_to_ids(target.convert_ids_to_tokens(ids)) == ids
    assert pair.convert_tokens_to_string(target.convert_ids_to_tokens(ids[:-1])) == HINDI[0]
    assert (len(pair), pair.vocab_size, pair.get_vocab()) == (len(target), target.vocab_size, target.get_vocab())
    assert len(pair) != len(pair.source)


def test_special_tokens_are_those_of_the_target(languages):
    source, target = copy.deepcopy(languages[0]), train(HINDI, "byte")
    pair = SourceTargetTokenizer(source, target)
    assert (pair.pad_token_id, pair.source.pad_token_id) == (256, 0)
    assert pair.eos_token_id is None and pair.source.eos_token_id == 3
    pair = SourceTargetTokenizer(source, copy.deepcopy(languages[1]))
    assert pair.all_special_ids == pair.target.all_special_ids and pair.special_tokens_map["eos_token"] == "</s>"
    pair.eos_token = "<mask>"
    assert pair.eos_token_id == pair.target.eos_token_id == 4 and pair.source.eos_token_id == 3
    with pytest.raises(ValueError, match=r"to which language\? Call .source.add_tokens or .target.add_tokens"):
        pair.add_tokens(["more"])


def test_a_copy_answers_the_same(pair):
    for other in (copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))):
        assert other(ENGLISH[0], text_target=HINDI[0]) == pair(ENGLISH[0], text_target=HINDI[0])
        assert other.eos_token_id == 3 and "source=" in repr(other) and bool(other)


@for_each("kind", list(KINDS))
def test_devanagari_comes_back(kind, tmp_path):
    pair = SourceTargetTokenizer(train(ENGLISH), train([*HINDI, HARD], kind))
    pair.save_pretrained(tmp_path / kind)
    for one in (pair, AutoTokenizer.from_pretrained(tmp_path / kind)):
        ids = one(text_target=HINDI)["input_ids"]
        assert one.batch_decode(ids, skip_special_tokens=True) == HINDI
        assert one.decode(one(text_target="मैं जा रहा हूँ")["input_ids"], skip_special_tokens=True) == "मैं जा रहा हूँ"
        if kind not in ("word", "word_or_characters", "wordpiece"):  # which put spaces before the full stop
            hard = one.decode(one(text_target=HARD)["input_ids"], skip_special_tokens=True)
            assert hard == (HARD if kind == "byte" else unicodedata.normalize("NFC", HARD))


@for_each("kind", [kind for kind in LANGUAGE_MODEL_KINDS if kind != "whitespace"])
def test_devanagari_of_a_language_model_comes_back_as_it_was_written(kind):
    target = marking_tokenizer(train([*HINDI, HARD], kind, purpose="language-modeling"), add_bos=False, add_eos=True)
    pair = SourceTargetTokenizer(train(ENGLISH), target)
    for text in (*HINDI, HARD):
        assert pair.decode(pair(text_target=text)["input_ids"], skip_special_tokens=True) == text


# Batches


def test_sources_are_padded_by_their_padding_and_labels_are_left_out(languages):
    source = hfseq.train_tokenizer(ENGLISH, "byte", padding_side="left")
    pair = SourceTargetTokenizer(source, languages[1])
    rows = [pair(text, text_target=target) for text, target in zip(ENGLISH, HINDI, strict=True)]
    lengths, widths = [len(row["input_ids"]) for row in rows], [len(row["labels"]) for row in rows]
    for pad in (pair.pad, DataCollatorForSeq2Seq(pair)):
        batch = pad(copy.deepcopy(rows), return_tensors="pt")
        for row, length, width, given in zip(range(5), lengths, widths, rows, strict=True):
            assert batch["input_ids"][row].tolist() == [256] * (max(lengths) - length) + given["input_ids"]
            assert batch["attention_mask"][row].sum() == length
            assert batch["labels"][row].tolist() == given["labels"] + [-100] * (max(widths) - width)
    even = pair.pad(rows, pad_to_multiple_of=8, return_tensors="np")
    assert even["input_ids"].shape[1] % 8 == 0 == even["labels"].shape[1] % 8
    tensors = [{name: torch.tensor(value) for name, value in row.items()} for row in rows]
    assert torch.equal(pair.pad(tensors, return_tensors="pt")["labels"], batch["labels"])
    assert pair.pad(rows, padding=False)["labels"] == [row["labels"] for row in rows]
    assert "labels" not in pair.pad(pair(ENGLISH), return_tensors="pt")
    assert pair.pad(pair(ENGLISH[0]))["input_ids"] == rows[0]["input_ids"]


def test_targets_of_a_language_model_are_padded_on_the_right(languages):
    target = train(HINDI, "char", purpose="language-modeling")
    assert target.padding_side == "left"
    pair = SourceTargetTokenizer(languages[0], target)
    short = len(target(HINDI[0])["input_ids"])
    for batch in (
        pair(text_target=HINDI, padding=True)["input_ids"],
        pair(ENGLISH, text_target=HINDI, padding=True)["labels"],
    ):
        assert batch[0][:short] == target(HINDI[0])["input_ids"] and set(batch[0][short:]) == {target.pad_token_id}
    rows = [pair(text, text_target=words) for text, words in zip(ENGLISH, HINDI, strict=True)]
    assert (DataCollatorForSeq2Seq(pair)(rows)["labels"][:, 0] == target.bos_token_id).all()


# Folders


@for_each("model_type", ["hfseq_transformer_seq2seq", "hfseq_seq2seq", "marian", None])
def test_a_folder_loads_as_both(model_type, pair, tmp_path):
    folder = tmp_path / str(model_type)
    saved = pair.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == FILES == {path.rpartition("/")[2] for path in saved}
    if model_type:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    for load in (AutoTokenizer.from_pretrained, SourceTargetTokenizer.from_pretrained, load_tokenizer):
        loaded = load(folder)
        assert type(loaded) is SourceTargetTokenizer and loaded.name_or_path == str(folder)
        assert loaded(ENGLISH, text_target=HINDI) == pair(ENGLISH, text_target=HINDI)
        assert loaded.source.get_vocab() == pair.source.get_vocab() and loaded.get_vocab() == pair.get_vocab()


def test_each_keeps_its_class_and_its_options(languages, tmp_path):
    vocabulary = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film"))}
    source = BertTokenizer(vocab=vocabulary, model_max_length=7, padding_side="left")
    source.chat_template = "{{ messages }}"
    SourceTargetTokenizer(source, languages[1]).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded.source) is BertTokenizer and type(loaded.target) is type(languages[1])
    assert (loaded.model_max_length, loaded.source.padding_side, loaded.padding_side) == (7, "left", "right")
    assert loaded("good " * 20, truncation=True)["input_ids"] == source("good " * 20, truncation=True)["input_ids"]
    assert loaded.source.chat_template == source.chat_template and loaded.target.model_max_length > 1000
    assert AutoTokenizer.from_pretrained(tmp_path, model_max_length=5).target.model_max_length == 5


@for_each("model_type", ["hfseq_transformer_seq2seq", "hfseq_lstm"])
def test_a_folder_with_one_tokenizer_loads_as_before(model_type, languages, tmp_path):
    folder = tmp_path / model_type
    languages[0].save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    assert type(AutoTokenizer.from_pretrained(folder)) is PreTrainedTokenizerFast
    edit(folder / "tokenizer_config.json", tokenizer_class=None)
    assert type(AutoTokenizer.from_pretrained(folder)) is PreTrainedTokenizerFast
    with pytest.raises(ValueError, match=r"holds one tokenizer, of class None: load it with AutoTokenizer"):
        SourceTargetTokenizer.from_pretrained(folder)


def test_one_tokenizer_saved_over_a_pair_is_the_one_that_loads(folder, languages):
    languages[0].save_pretrained(folder)
    assert type(AutoTokenizer.from_pretrained(folder)) is PreTrainedTokenizerFast


def test_a_program_without_hfseq_fails_rather_than_write_the_wrong_language(folder):
    code = f"from transformers import AutoTokenizer; AutoTokenizer.from_pretrained({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "Couldn't instantiate the backend tokenizer" in done.stderr


# What is refused


@for_each("name", list(UNREADABLE))
def test_a_missing_or_torn_file_is_named(name, pair, tmp_path):
    folder = tmp_path / name
    pair.save_pretrained(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    for load in (load_tokenizer, SourceTargetTokenizer.from_pretrained):
        with pytest.raises(UnsafeArtifactError, match=rf"{name} is not JSON"):
            load(folder)
    (folder / name).unlink()
    with pytest.raises(UnsafeArtifactError, match=rf"lacks {name}: two tokenizers are"):
        SourceTargetTokenizer.from_pretrained(folder)


def test_files_of_different_versions_are_refused(folder, languages, tmp_path):
    SourceTargetTokenizer(languages[0], train([*HINDI, HARD], "char")).save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "target_tokenizer.json", folder)
    with pytest.raises(
        UnsafeArtifactError, match="target_tokenizer.json of .* is not what was saved with tokenizer_c"
    ):
        AutoTokenizer.from_pretrained(folder)


def test_other_line_ends_change_nothing(folder):
    for name in FILES:
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"\n", b"\r\n"))
    assert type(AutoTokenizer.from_pretrained(folder)) is SourceTargetTokenizer


def test_swapped_files_are_told(folder):
    one, other = folder / "source_tokenizer.json", folder / "target_tokenizer.json"
    one.rename(folder / "kept")
    other.rename(one)
    (folder / "kept").rename(other)
    with pytest.raises(UnsafeArtifactError, match="are swapped: each has the content of the other"):
        AutoTokenizer.from_pretrained(folder)


@for_each(
    ("sizes", "message"),
    [
        ({"vocab_size": 400, "decoder_vocab_size": 30}, "The languages of .* are swapped: .* takes the source first"),
        (
            {"vocab_size": 10, "decoder_vocab_size": 400},
            "The largest id in .*source_tokenizer.json .* vocab_size is 10:",
        ),
        (
            {"vocab_size": 30, "decoder_vocab_size": 200},
            r"target_tokenizer.json .* decoder_vocab_size is 200.*\(resize_d",
        ),
        ({"vocab_size": 30}, "target_tokenizer.json .* vocab_size is 30"),
    ],
)
def test_a_pair_of_another_model_is_told_by_its_sizes(sizes, message, pair, tmp_path):
    folder = tmp_path / str(abs(hash(message)))
    pair.save_pretrained(folder)
    assert len(pair.source) < 30 and 200 < len(pair) < 400
    content = {"model_type": "hfseq_transformer_seq2seq", **sizes}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    for load in (AutoTokenizer.from_pretrained, check_tokenizer_ids):
        with pytest.raises(UnsafeArtifactError, match=message):
            load(folder)


def test_sizes_of_marian_are_read_too(folder):
    MarianConfig(vocab_size=30, decoder_vocab_size=len(AutoTokenizer.from_pretrained(folder))).save_pretrained(folder)
    assert len(AutoTokenizer.from_pretrained(folder)) > 200


def test_one_tokenizer_has_to_fit_both_vocabularies(languages, tmp_path):
    languages[1].save_pretrained(tmp_path)
    edit_sizes = {"vocab_size": 400, "decoder_vocab_size": 30}
    (tmp_path / "config.json").write_text(json.dumps(edit_sizes), encoding="utf-8")
    with pytest.raises(UnsafeArtifactError, match="decoder_vocab_size is 30"):
        check_tokenizer_ids(tmp_path)


def test_a_tokenizer_that_ends_processes_is_refused_as_a_target_too(folder):
    file = folder / "target_tokenizer.json"
    edit(file, pre_tokenizer={"type": "FixedLength", "length": 0})
    with pytest.raises(UnsafeArtifactError, match="target_tokenizer.json is not loaded"):
        check_tokenizer_folder(folder)


@for_each(
    "changes", [{"fingerprints": None}, {"source": []}, {"target": {"tokenizer_class": "SourceTargetTokenizer"}}]
)
def test_a_config_that_cannot_be_is_refused(changes, pair, tmp_path):
    pair.save_pretrained(tmp_path)
    edit(tmp_path / "tokenizer_config.json", **changes)
    with pytest.raises(UnsafeArtifactError, match=r"tokenizer_config.json (lacks|holds a pair within).*: save anew"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_what_is_no_tokenizer_of_one_file_is_refused(pair, tmp_path):
    for wrong in (pair, None, "user/name"):
        with pytest.raises(TypeError, match=rf"target is a {type(wrong).__name__}: it must be a PreTrainedTokenizerF"):
            SourceTargetTokenizer(pair.source, wrong)
    with pytest.raises(ValueError, match="filename_prefix='x'.*Leave both out"):
        pair.save_pretrained(tmp_path, filename_prefix="x")


# With a model


def translator(pair, **options):
    torch.manual_seed(0)
    config = hfseq.TransformerSeq2SeqConfig(
        vocab_size=len(pair.source),
        decoder_vocab_size=len(pair),
        **{"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_dropout": 0.0},
        **{"attention_dropout": 0.0, "bos_token_id": pair.bos_token_id, "eos_token_id": pair.eos_token_id},
        **{"pad_token_id": pair.pad_token_id, "encoder_pad_token_id": pair.source.pad_token_id} | options,
    )
    return hfseq.TransformerForConditionalGeneration(config)


class Sources(FeatureExtractionPipeline):
    """Answers with the ids that a model would read."""

    def _forward(self, inputs):
        return inputs["input_ids"]

    def postprocess(self, outputs, **_):
        return outputs[0].tolist()


def test_trainer_teaches_a_translation_and_saves_both(pair, tmp_path):
    model = translator(pair)
    rows = Dataset.from_dict(dict(pair(ENGLISH, text_target=HINDI)))
    arguments = Seq2SeqTrainingArguments(
        str(tmp_path / "run"),
        **{"num_train_epochs": 60, "per_device_train_batch_size": 5, "learning_rate": 0.01, "report_to": []},
        **{"predict_with_generate": True, "generation_max_length": 40, "disable_tqdm": True, "use_cpu": True},
    )
    trainer = Seq2SeqTrainer(
        model, arguments, train_dataset=rows, processing_class=pair, data_collator=DataCollatorForSeq2Seq(pair)
    )
    trainer.train()
    written = trainer.predict(rows).predictions
    written[written < 0] = pair.pad_token_id
    assert pair.batch_decode(written, skip_special_tokens=True) == HINDI
    assert (model.config.pad_token_id, model.config.eos_token_id) == (pair.pad_token_id, pair.eos_token_id)
    trainer.save_model(str(tmp_path / "best"))
    pipe = pipeline("feature-extraction", model=str(tmp_path / "best"), pipeline_class=Sources)
    assert type(pipe.tokenizer) is SourceTargetTokenizer
    assert pipe(ENGLISH[0]) == pair(ENGLISH[0])["input_ids"]
    given = pipe.tokenizer(ENGLISH, padding=True, return_tensors="pt")
    best = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "best")
    found = pipe.tokenizer.batch_decode(best.generate(**given, max_new_tokens=40), skip_special_tokens=True)
    assert found == HINDI


def test_what_is_no_id_of_a_language_is_named(pair):
    model = translator(pair)
    foreign = pair(text_target=HINDI, padding=True, return_tensors="pt")
    with pytest.raises(ValueError, match=r"input id \d+ is outside 0 to .*does not belong to this model"):
        model(**foreign, labels=foreign["input_ids"])
    one = SourceTargetTokenizer(pair.target, pair.source)
    swapped = translator(one)
    with pytest.raises(ValueError, match=r"label \d+ is outside 0 to \d+ \(config.decoder_vocab_size"):
        swapped(**foreign, labels=foreign["input_ids"])
