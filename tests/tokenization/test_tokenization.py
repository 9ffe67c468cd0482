import json
import os
import pickle
import random
import subprocess
import sys
import textwrap
import unicodedata
from functools import cache
from itertools import pairwise

import pytest
import torch
from datasets import Dataset, DatasetDict, IterableDataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from hfseq.tokenization import KINDS, LANGUAGE_MODEL_KINDS, SPECIAL_TOKENS, train_tokenizer, unknown_rate
from hfseq.tokenization.files import check_tokenizer_folder
from tests.rounds import for_each

FAMILY, THUMB, FLAGS, HEART, KEYCAP = "👩‍👩‍👧", "👍🏽", "🇳🇴🇩🇰", "❤️", "1️⃣"
CORPUS = [
    "The cat sat on the mat, and the dog sat too.",
    "The café isn't naïve; Zoë said: Ærø!",
    "नमस्ते दुनिया, क्षत्रिय और हिन्दी भाषा।",
    "我爱北京天安门。",
    "食べるカタカナとひらがな",
    "ภาษาไทย ที่นี่",
    "Привет, мир! ёлка",
    "می‌خواهم خوش آمدید",
    "한국어 문장",
    f"{FAMILY} {THUMB}{FLAGS} {HEART} {KEYCAP} ok",
    "tabs\tand\n\nlines  twice",
] * 2
WORD_LIST_KINDS = ("word", "word_or_characters", "wordpiece", "unigram", "bpe", "whitespace")
LEARNED = [kind for kind in KINDS if kind != "byte"]  # that one has `<pad>` alone: see the end of this file
CASES = [(kind, "classification") for kind in LEARNED] + [(kind, "language-modeling") for kind in LANGUAGE_MODEL_KINDS]


def decomposed(text):
    return unicodedata.normalize("NFD", text)


def trained(kind, purpose="classification", **options):
    return train_tokenizer(CORPUS, kind, purpose=purpose, vocab_size=900, **options)


def words(text, kind="word"):
    """The tokens of a text when the text itself is the training corpus, so that nothing is unknown."""
    tokenizer = train_tokenizer([text, text], kind)
    return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False).input_ids)


every_tokenizer = for_each(("kind", "purpose"), CASES)


@cache
def tokenizer_of(kind, purpose):
    """One that no test changes."""
    return trained(kind, purpose)


@pytest.fixture(scope="module", params=LANGUAGE_MODEL_KINDS)
def language_model(request):
    return trained(request.param, "language-modeling")


@every_tokenizer
def test_special_tokens_have_the_first_ids(kind, purpose):
    tokenizer = tokenizer_of(kind, purpose)
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 1, 4)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (2, 3)
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


@every_tokenizer
def test_each_text_ends_with_eos_and_a_language_models_text_begins_with_bos(kind, purpose):
    tokenizer = tokenizer_of(kind, purpose)
    ids = tokenizer("the cat").input_ids
    assert ids[-1] == 3 and ids.count(3) == 1
    assert (ids[0] == 2) == (purpose == "language-modeling")


def test_both_texts_of_a_pair_end_with_eos():
    tokenizer = trained("word")
    pair = tokenizer("The cat", "the dog")
    assert pair.input_ids == tokenizer("The cat").input_ids + tokenizer("the dog").input_ids
    assert set(pair) == {"input_ids", "attention_mask"}


@every_tokenizer
def test_unk_written_in_a_text_is_the_unknown_token(kind, purpose):
    tokenizer = tokenizer_of(kind, purpose)
    assert tokenizer("The <unk> sat").input_ids.count(tokenizer.unk_token_id) == 1


@every_tokenizer
@for_each("text", ["", "  ", "\n\t", "\u3000"])
def test_a_blank_text_still_has_a_token_and_long_ids(kind, purpose, text):
    tokenizer = tokenizer_of(kind, purpose)
    single = tokenizer(text, return_tensors="pt")
    batch = tokenizer([text, "the cat", text], padding=True, return_tensors="pt")
    assert single.input_ids.dtype == batch.input_ids.dtype == torch.long
    assert single.attention_mask.sum() >= 1 and single.input_ids[0, -1] == 3
    assert (batch.attention_mask.sum(1) >= 1).all()


@every_tokenizer
def test_batches_and_single_calls_agree_and_ask_for_two_inputs_only(kind, purpose):
    tokenizer = tokenizer_of(kind, purpose)
    batch = tokenizer(CORPUS)
    assert set(batch) == {"input_ids", "attention_mask"} == set(tokenizer.model_input_names)
    assert batch.input_ids == [tokenizer(text).input_ids for text in CORPUS]


@every_tokenizer
def test_truncation_keeps_eos(kind, purpose):
    tokenizer = trained(kind, purpose, max_length=4)
    ids = tokenizer(CORPUS[0], truncation=True).input_ids
    assert tokenizer.model_max_length == len(ids) == 4
    assert ids[-1] == 3 and ids[:-1] == tokenizer(CORPUS[0]).input_ids[:3]


RELOAD = """
    import json, sys
    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "hfseq":
                raise ImportError("hfseq is not installed here")
    sys.meta_path.insert(0, Blocked())
    try:
        import hfseq
    except ImportError:
        pass
    else:
        raise SystemExit("the block does not work")
    from transformers import AutoTokenizer
    folders, corpus = json.load(sys.stdin)
    report = {}
    for folder in folders:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        encoded = tokenizer(corpus, return_offsets_mapping=True, padding=True, truncation=True)
        offsets = [list(map(list, row)) for row in encoded["offset_mapping"]]
        report[folder] = [
            type(tokenizer).__name__, encoded["input_ids"], offsets,
            tokenizer.padding_side, tokenizer.model_max_length, tokenizer.special_tokens_map,
            tokenizer.model_input_names, tokenizer.batch_decode(encoded["input_ids"]),
        ]
    print(json.dumps(report))
"""


def test_a_process_without_hfseq_loads_the_same_tokenizer(tmp_path):
    corpus = [*CORPUS, "never seen: żółć 🦔 <mask>", decomposed("café"), ""]
    expected = {}
    for kind, purpose in CASES:
        folder = str(tmp_path / f"{kind}-{purpose}")
        tokenizer = trained(kind, purpose, max_length=30, padding_side="left")
        tokenizer.save_pretrained(folder)
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            json.dump({"model_type": "hfseq_lstm"}, file)
        encoded = tokenizer(corpus, return_offsets_mapping=True, padding=True, truncation=True)
        offsets = [list(map(list, row)) for row in encoded["offset_mapping"]]
        expected[folder] = [
            *(type(tokenizer).__name__, encoded["input_ids"], offsets, "left", 30, tokenizer.special_tokens_map),
            *(["input_ids", "attention_mask"], tokenizer.batch_decode(encoded["input_ids"])),
        ]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RELOAD)],
        input=json.dumps([list(expected), corpus]),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


@every_tokenizer
def test_pickle_and_dataset_map_work(kind, purpose):
    tokenizer = tokenizer_of(kind, purpose)
    twin = pickle.loads(pickle.dumps(tokenizer))
    expected = tokenizer(CORPUS).input_ids
    assert twin(CORPUS).input_ids == expected and twin.padding_side == tokenizer.padding_side
    mapped = Dataset.from_dict({"text": CORPUS}).map(lambda rows: tokenizer(rows["text"]), batched=True)
    assert mapped["input_ids"][:] == expected


def surfaces(kind, tokenizer, text):
    """Pairs of (what the offsets point at, what the tokens say); bytes of one character are read together."""
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    groups = []
    for index, (start, end) in zip(encoded.input_ids, encoded.offset_mapping, strict=True):
        if groups and start < groups[-1][1]:
            groups[-1] = (groups[-1][0], max(end, groups[-1][1]), [*groups[-1][2], index])
        else:
            groups.append((start, end, [index]))
    strip = {"wordpiece": "##", "word_or_characters": "##", "unigram": "▁"}.get(kind, "")
    for start, end, ids in groups:
        said = tokenizer.decode(ids) if kind == "bpe" else "".join(tokenizer.convert_ids_to_tokens(ids))
        yield text[start:end].strip(" "), said.replace(strip, "").strip(" ")


@every_tokenizer
@for_each("text", CORPUS[: len(CORPUS) // 2])
def test_offsets_point_at_the_text_of_each_token(kind, purpose, text):
    tokenizer = tokenizer_of(kind, purpose)
    assert tokenizer.unk_token_id not in tokenizer(text).input_ids or "word" in kind or kind == "whitespace"
    pairs = list(surfaces(kind, tokenizer, text))
    assert pairs and [at for at, _ in pairs] == [said for _, said in pairs]


@for_each("kind", LEARNED)
def test_offsets_point_at_the_text_before_lower_casing_and_nfkc(kind):
    tokenizer = trained(kind, lowercase=True, normalization="nfkc")
    text = "THE CAFÉ, ﬁne: ＭＡＴ ＤＯＧ sat"
    pairs = [(at, said) for at, said in surfaces(kind, tokenizer, text) if said != "<unk>"]
    assert len(pairs) >= 3 and any(at.isupper() for at, _ in pairs)
    for at, said in pairs:
        written = unicodedata.normalize("NFKC", at)
        # Both letters of a ligature have its offsets; where embeddings alone are blind to case, the text keeps it.
        assert said in (written if kind == "word_or_characters" else written.lower())


@for_each("kind", LEARNED)
def test_decomposed_letters_give_the_ids_of_composed_ones_and_offsets_up_to_the_last_accent(kind):
    tokenizer = trained(kind)
    text = decomposed("The café isn't naïve; Zoë said")
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    assert encoded.input_ids == tokenizer(unicodedata.normalize("NFC", text), add_special_tokens=False).input_ids
    # The library aligns a composed letter with its base, so an accent at the very end of a token lies outside.
    starts = [start for start, _ in encoded.offset_mapping]
    assert not any(unicodedata.combining(text[start]) for start in starts)
    for (start, end), (following, _) in pairwise([*encoded.offset_mapping, (len(text), len(text))]):
        gap = text[end:following] if end < following else ""
        assert all(unicodedata.combining(c) or c == " " for c in gap), (text[start:end], gap)


def test_without_normalization_decomposed_letters_are_inside_their_offsets():
    text = decomposed("café Zoë")
    tokenizer = train_tokenizer([text, text], "word", normalization=None)
    offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    assert [text[start:end] for start, end in offsets] == text.split()


@pytest.mark.parametrize("kind", WORD_LIST_KINDS)
def test_a_list_of_words_gives_the_pieces_of_the_sentence_and_their_word_numbers(kind):
    tokenizer = trained(kind)
    for text in (CORPUS[0], CORPUS[2], "the dog's nose"):
        split = tokenizer(text.split(" "), is_split_into_words=True)
        assert split.input_ids == tokenizer(text).input_ids
        numbers = [n for n in split.word_ids() if n is not None]
        assert numbers == sorted(numbers) and set(numbers) == set(range(len(text.split(" "))))
        assert split.word_ids()[-1] is None


@for_each(
    ("text", "expected"),
    [
        ("Don't stop, 3 cats_!", ["Don", "'", "t", "stop", ",", "3", "cats_", "!"]),
        ("नमस्ते दुनिया क्षत्रिय।", ["नमस्ते", "दुनिया", "क्षत्रिय", "।"]),
        ("我爱Python编程", ["我", "爱", "Python", "编", "程"]),
        ("食べるカタカナ", ["食", "べるカタカナ"]),
        ("ภาษาไทย ที่นี่", ["ภาษาไทย", "ที่นี่"]),
        ("می‌خواهم", ["می‌خواهم"]),
        (f"ok{FAMILY}{THUMB}{FLAGS} {HEART}{KEYCAP}", ["ok", FAMILY, THUMB, "🇳🇴", "🇩🇰", HEART, KEYCAP]),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f!", None),
        (decomposed("Việt ñ"), ["Việt", "ñ"]),
        ("a\u00a0b\u3000c\u200bd\x00e\ufefff", list("abcdef")),
    ],
)
def test_words_are_whole_in_every_script(text, expected):
    assert words(text) == (expected or [text[:-1], text[-1]])


def test_words_with_space_are_the_same_words_with_every_space_kept():
    text = f"नमस्ते दुनिया  我爱 {FAMILY}{THUMB}, ok\n"
    pieces = words(text, "word_with_space")
    assert pieces == ["नमस्ते", " दुनिया", " ", " 我", "爱", f" {FAMILY}", THUMB, ",", " ok", "\n"]


def test_bpe_merges_whole_devanagari_words_unlike_the_librarys_own_split():
    tokenizer = train_tokenizer(["नमस्ते दुनिया"] * 9, "bpe", vocab_size=500)
    assert len(tokenizer("नमस्ते दुनिया", add_special_tokens=False).input_ids) == 2
    stock = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str("नमस्ते दुनिया")
    assert len(stock) > 2


def test_long_runs_of_thai_do_not_become_unknown_in_wordpiece():
    tokenizer = trained("wordpiece")
    assert tokenizer.unk_token_id not in tokenizer("ภาษาไทย" * 25).input_ids


def any_text(length, seed):
    draw = random.Random(seed)
    ranges = [(0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x900, 0xD7FF), (0xE000, 0xFFFF), (0x1F300, 0x1FAFF)]
    return "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(length))


def test_bpe_of_a_language_model_gives_every_text_back():
    tokenizer = trained("bpe", "language-modeling")
    texts = [*CORPUS, *(decomposed(t) for t in CORPUS), "  two ", "\x00\x07\r\n\u2028", "▁ Ġ ##x"]
    texts += [any_text(40, seed) for seed in range(300)]
    for text in texts:
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char", "word_with_space"])
def test_classification_keeps_the_text_too_except_for_its_first_space(kind):
    tokenizer = trained(kind)
    for text in CORPUS:
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("kind", [kind for kind in LEARNED if kind != "char"])
def test_a_mask_stands_for_a_word_and_its_space(kind):
    tokenizer = trained(kind)
    masked = tokenizer("The <mask> sat").input_ids
    whole = tokenizer("The cat sat").input_ids
    where = masked.index(tokenizer.mask_token_id)
    assert masked[:where] == whole[:where] and masked[where + 1 :] == whole[where + 1 - len(masked) :]


def ambiguous_texts():
    draw = random.Random(0)
    stems = [a + b + c for a in "abcd" for b in "eiou" for c in "klmn"]
    stems += ["naïve", "мир", "北京", "नमस्ते", "żółć", "ñu"]
    endings = ["", "ing", "ed", "s", "er", "é", "ы"]
    return [" ".join(draw.choice(stems) + draw.choice(endings) for _ in range(10)) for _ in range(150)]


def vocabularies(train):
    """Each training draws new hash seeds, so a dependence on them shows within one process."""
    return {json.dumps(train(), sort_keys=True, ensure_ascii=False) for _ in range(3)}


@for_each("kind", KINDS)
def test_the_same_texts_give_the_same_tokenizer(kind):
    texts = ambiguous_texts()
    found = vocabularies(lambda: json.loads(train_tokenizer(texts, kind, vocab_size=330).backend_tokenizer.to_str()))
    assert len(found) == 1


LIBRARY_TRAINERS = {
    "wordpiece": (models.WordPiece, trainers.WordPieceTrainer, {}),
    "unigram": (models.Unigram, trainers.UnigramTrainer, {"unk_token": "<unk>"}),
}


@pytest.mark.parametrize("kind", LIBRARY_TRAINERS)
def test_the_library_alone_gives_another_vocabulary_each_time(kind):
    model, trainer, options = LIBRARY_TRAINERS[kind]

    def train():
        tokenizer = Tokenizer(model())
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        options.update(vocab_size=330, special_tokens=["<unk>"], show_progress=False)
        tokenizer.train_from_iterator(ambiguous_texts(), trainer(**options))
        return json.loads(tokenizer.to_str())["model"]["vocab"]

    assert len(vocabularies(train)) > 1


def test_words_are_numbered_by_frequency_then_by_spelling():
    tokenizer = train_tokenizer(["b a c c", "a b c d"], "word", min_frequency=1)
    assert tokenizer.convert_ids_to_tokens(range(5, 9)) == ["c", "a", "b", "d"]


def test_rare_words_are_unknown_by_default():
    tokenizer = train_tokenizer(["a a rare", "a"], "word")
    assert tokenizer("a rare", add_special_tokens=False).input_ids == [5, tokenizer.unk_token_id]


def test_lower_case_and_stripped_accents_spare_other_scripts():
    text = "ÉTÉ Ёлка Ṩ हिन्दी ที่นี่ 한국어 が"
    tokenizer = train_tokenizer([text, text], "word", lowercase=True, strip_accents=True)
    found = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False).input_ids)
    assert found == ["ete", "елка", "s", "हिन्दी", "ที่นี่", "한국어", "が"]
    assert tokenizer(decomposed(text)).input_ids == tokenizer(text).input_ids


def test_padding_goes_to_the_chosen_side(tmp_path):
    trained("word", padding_side="left").save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.padding_side == "left"
    assert tokenizer(["the cat", ""], padding=True)["attention_mask"] == [[1, 1, 1], [0, 0, 1]]


def rows():
    yield from ({"text": text, "label": 0} for text in CORPUS)


@pytest.mark.parametrize(
    "texts",
    [
        iter(CORPUS),
        tuple(CORPUS),
        Dataset.from_list(list(rows())),
        Dataset.from_list(list(rows()))["text"],
        IterableDataset.from_generator(rows),
    ],
    ids=["iterator", "tuple", "dataset", "column", "stream"],
)
@for_each("kind", ["word", "wordpiece"])
def test_every_source_of_texts_gives_the_same_tokenizer(texts, kind):
    source = iter(CORPUS) if iter(texts) is texts else texts
    assert train_tokenizer(source, kind).get_vocab() == train_tokenizer(CORPUS, kind).get_vocab()


@for_each("kind", KINDS)
@for_each(
    ("texts", "error", "message"),
    [
        ([], ValueError, "there are no texts"),
        (iter(()), ValueError, "there are no texts"),
        ("one string", TypeError, "one str.*wrap it in a list"),
        (["fine", None], TypeError, "text number 1 is None .NoneType.*drop rows"),
        ([3.5], TypeError, "text number 0 is 3.5 .float"),
        ([["a", "list"]], TypeError, "not a string"),
        (DatasetDict(train=Dataset.from_dict({"text": CORPUS})), TypeError, "DatasetDict.*one of its splits"),
        (Dataset.from_dict({"sentence": CORPUS}), ValueError, "text_column='text'.*sentence"),
    ],
)
def test_unusable_texts_are_refused(kind, texts, error, message):
    with pytest.raises(error, match=message):
        train_tokenizer(texts, kind)


@for_each(
    ("options", "message"),
    [
        ({"kind": "wordpeice"}, "kind='wordpeice'.*did you mean 'wordpiece'"),
        ({"kind": "BPE"}, "did you mean 'bpe'"),
        ({"kind": None}, "kind=None is not one of"),
        ({"purpose": "classify"}, "purpose='classify'.*did you mean 'classification'"),
        ({"normalization": "nfd"}, "normalization='nfd'"),
        ({"padding_side": "both"}, "padding_side='both'"),
        ({"kind": "word", "purpose": "language-modeling"}, "kind='word' does not keep spaces.*word_with_space"),
        ({"kind": "wordpiece", "purpose": "language-modeling"}, "does not keep spaces"),
        ({"vocab_size": 5}, "vocab_size=5 is too small.*6 or more"),
        ({"kind": "bpe", "vocab_size": 260}, "vocab_size=260.*256 bytes.*261 or more"),
        ({"kind": "wordpiece", "vocab_size": 20}, r"vocab_size=20 is too small.*needs \d+ entries"),
        ({"kind": "unigram", "vocab_size": 20}, "vocab_size=20 is smaller than the number of different characters"),
        ({"min_frequency": 0}, "min_frequency=0: use 1 or more"),
        ({"kind": "unigram", "min_frequency": 3}, "min_frequency=3: kind='unigram' has no such threshold"),
        ({"min_frequency": 1000}, "no token was learned"),
        ({"condition_tokens": "<happy>"}, "condition_tokens='<happy>' is one string; wrap it in a list"),
        ({"condition_tokens": ["<a>", ""]}, "condition_tokens holds ''; a token is written without white space"),
        ({"condition_tokens": ["<very happy>"]}, "condition_tokens holds '<very happy>'"),
        ({"condition_tokens": ["<a>", "<a>"]}, "condition_tokens holds '<a>', which is there twice"),
        ({"condition_tokens": ["</s>"]}, "condition_tokens holds '</s>'.*special token already"),
        ({"condition_tokens": ["<a>", "<b>"], "vocab_size": 7}, "vocab_size=7 is too small.*8 or more"),
        ({"max_length": 0}, "max_length=0.*2 or more"),
        ({"max_length": -3}, "max_length=-3"),
        ({"kind": "bpe", "purpose": "language-modeling", "max_length": 2}, "max_length=2.*3 or more"),
        ({"kind": "bpe", "purpose": "language-modeling", "lowercase": True}, "byte for byte.*lowercase"),
        ({"kind": "bpe", "purpose": "language-modeling", "strip_accents": True}, "byte for byte"),
        ({"kind": "bpe", "purpose": "language-modeling", "normalization": "nfc"}, "byte for byte"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(CORPUS, **options)


def test_an_unknown_option_is_named_with_the_function_that_was_called():
    with pytest.raises(TypeError, match=r"^train_tokenizer\(\) got an .* 'lower_case'; it takes texts, .*lowercase"):
        train_tokenizer(CORPUS, lower_case=True)


@for_each("kind", KINDS)
def test_errors_of_the_source_come_through(kind):
    def failing():
        yield "the cat"
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        train_tokenizer(failing(), kind)


def test_unknown_rate_counts_tokens_not_texts():
    tokenizer = train_tokenizer(["a b", "a b"], "word", max_length=3)
    assert unknown_rate(tokenizer, ["a x", "b", "", "a b a y y"]) == 3 / 8  # neither truncated nor counting `</s>`
    assert unknown_rate(tokenizer, Dataset.from_dict({"body": ["a", "x"]}), text_column="body") == 0.5
    assert unknown_rate(tokenizer, [""]) == 0.0
    with pytest.raises(ValueError, match="there are no texts"):
        unknown_rate(tokenizer, [])


def test_bytes_are_never_unknown():
    assert unknown_rate(trained("bpe"), [any_text(40, seed) for seed in range(20)]) == 0.0


def test_normalizers_hold_for_any_text():
    for options in ({"strip_accents": True, "lowercase": True}, {"normalization": "nfkc"}, {}):
        tokenizer = trained("char", **options)
        for seed in range(300):
            text = any_text(12, seed)
            offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
            assert all(0 <= start <= end <= len(text) for start, end in offsets)


# Bytes

SPELT = [
    "",
    " ",
    "a  b\n",
    "S\u00f8ren \u65e5\u672c \U0001f389",
    "e\u0301 is not composed",
    "<pad> <s> </s> <unk>",
    "\0\x7f\xad",
]


@pytest.mark.parametrize("text", SPELT)
def test_ids_of_the_kind_byte_are_the_bytes(text, tmp_path):
    tokenizer = train_tokenizer(["a"], "byte")
    tokenizer.save_pretrained(tmp_path)
    check_tokenizer_folder(tmp_path)
    for made in (tokenizer, AutoTokenizer.from_pretrained(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert made(text)["input_ids"] == list(text.encode())
        assert made.decode(made(text)["input_ids"]) == text


def test_the_kind_byte_pads_with_an_id_that_is_no_byte():
    tokenizer = train_tokenizer(["a"], "byte", max_length=3)
    batch = tokenizer(["abcdef", "a"], padding=True, truncation=True)
    assert batch["input_ids"] == [[97, 98, 99], [97, 256, 256]] and batch["attention_mask"][1] == [1, 0, 0]
    assert len(tokenizer) == 257 and tokenizer.pad_token_id == 256
    assert tokenizer.unk_token is tokenizer.bos_token is tokenizer.eos_token is None


def test_the_kind_byte_lowers_letters_if_asked():
    tokenizer = train_tokenizer(["a"], "byte", lowercase=True)
    assert tokenizer.decode(tokenizer("\u00c6RLIG Ja")["input_ids"]) == "\u00e6rlig ja"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 256}, "vocab_size=256 is too small: special tokens and 256 bytes need 257 or more"),
        ({"min_frequency": 1}, "min_frequency=1: kind='byte' has no such threshold"),
        ({"condition_tokens": ["<happy>"]}, "kind='byte' has bytes alone; leave them out"),
        ({"purpose": "language-modeling"}, "kind='byte' marks no end of a text"),
    ],
)
def test_options_that_the_kind_byte_cannot_have_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(["a"], "byte", **options)
