"""Tokenizer files that panic, end the process or ask for all memory are refused before they load; good ones pass."""

import base64
import json

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer
from transformers import AutoTokenizer

import hfseq
from hfseq.models.artifacts import UnsafeArtifactError, explained_panics
from hfseq.tokenization import KINDS
from hfseq.tokenization import files as tokenizer_files
from hfseq.tokenization.files import check_tokenizer_file, check_tokenizer_folder, load_tokenizer
from tests.hub.checkpoints import make_tokenizer
from tests.rounds import for_each

TEXTS = ["The cat sat on the mat, didn't it?", "A dog and 12 cats: naïve café!", "Das ist 日本語."] * 3


# Malformed ones. Each function changes the content of a small tokenizer.json.


def part(**values):
    return lambda content: content | values


def pattern(expression):
    return part(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}
    )


def replace(expression, text, **options):
    return {"type": "Replace", "pattern": {"Regex": expression}, "content": text}


def bpe(vocab, merges, **options):
    names = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    return part(model={"type": "BPE", **dict.fromkeys(names), "vocab": vocab, "merges": merges} | options)


def charsmap(content):
    return part(normalizer={"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()})


def template(single, **special_tokens):
    pair = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}]
    return part(
        post_processor={"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special_tokens}
    )


def padding(strategy, multiple=None):
    return part(
        padding={"strategy": strategy, "direction": "Right", "pad_to_multiple_of": multiple, "pad_id": 0}
        | {"pad_type_id": 0, "pad_token": "[PAD]"}
    )


def token(content, number, normalized):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False)
    return {"id": number, "content": content, "normalized": normalized} | flags


FIXED_LENGTH = part(pre_tokenizer={"type": "FixedLength", "length": 0})
CATASTROPHE = part(
    normalizer=replace("(k|k)*$", ""), added_tokens=[token("k" * 40 + "b", 6, normalized=True)], pre_tokenizer=None
)
WORDS = {"type": "WordLevel", "unk_token": "[UNK]"}
BAD = {
    "a merge whose result is missing": (bpe({"a": 0, "b": 1}, [["a", "b"]]), "does not load"),
    "a prefix longer than the token": (
        bpe({"a": 0, "b": 1, "ab": 2}, [["a", "b"]], continuing_subword_prefix="long prefix"),
        "does not load|ends the process",
    ),
    "a prefix that ends within a letter": (
        bpe({"a": 0, "é": 1, "aé": 2}, [["a", "é"]], continuing_subword_prefix="x"),
        "does not load|ends the process",
    ),
    "a gap of ids": (
        part(model=WORDS | {"vocab": {"[UNK]": 0, "a": 10**9}}),
        "largest id is 1000000000, but it has",
    ),
    "a catastrophic expression": (pattern("(a+)+$"), "asked to encode.*retry-limit"),
    "one of other letters": (pattern("(q+q+)+y"), "asked to encode.*retry-limit"),
    "one that is not closed": (pattern("("), "does not load.*unmatched parenthesis"),
    "one that meets an added token": (CATASTROPHE, "does not load.*retry-limit"),
    "one of the decoder": (
        part(decoder=replace("(a|a)*$", "x"), model=WORDS | {"vocab": {"[UNK]": 0, "a" * 40 + "b": 1}}),
        "asked to decode.*retry-limit",
    ),
    "a replacement that grows": (
        part(normalizer={"type": "Sequence", "normalizers": [replace(".", "g" * 50)] * 9}),
        "ends the process|panics",
    ),
    "pieces of length 0": (FIXED_LENGTH, "asked to encode.*must be non-zero"),
    "an empty charsmap": (charsmap(b""), "does not load"),
    "a charsmap without a trie": (charsmap(bytes(8)), "asked to encode"),
    "a charsmap that leads outside": (charsmap(b"\x04\0\0\0" + b"\xff\xff\xff\x7f" + b"abc\0"), "asked to encode"),
    "a stride as long as the text": (
        part(truncation={"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 2}),
        "asked to encode.*stride",
    ),
    "padding to 2**62": (padding({"Fixed": 2**62}), "asked to encode"),
    "padding to a multiple of 2**62": (padding("BatchLongest", 2**62), "asked to encode"),
    "padding to 10**10": (padding({"Fixed": 10**10}), "ends the process|asked to encode"),
    "a template with an unknown token": (
        template([{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]),
        "asked to encode",
    ),
    "a template of a second text": (template([{"Sequence": {"id": "B", "type_id": 0}}]), "asked to encode"),
    "a decoder that strips more than there is": (
        part(decoder={"type": "Strip", "content": "a", "start": 1, "stop": 1}),
        "asked to decode",
    ),
    "nesting": (
        part(pre_tokenizer=json.loads('{"type":"Sequence","pretokenizers":[' * 200 + "]}" * 200)),
        "does not load.*recursion",
    ),
    "another kind of model": (part(model={"type": "Magic"}), "does not load"),
}


@pytest.fixture
def file(tmp_path):
    """A tokenizer.json that a test may damage."""
    make_tokenizer().save_pretrained(tmp_path)
    return tmp_path / "tokenizer.json"


def damage(file, change):
    file.write_text(json.dumps(change(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")


@pytest.mark.parametrize("bad", BAD)
def test_a_malformed_tokenizer_is_refused_and_this_process_lives(file, bad):
    change, message = BAD[bad]
    check_tokenizer_file(file)
    damage(file, change)
    with pytest.raises(UnsafeArtifactError, match=f"tokenizer.json is not loaded: .*({message})"):
        check_tokenizer_file(file)


def test_tokens_of_the_configuration_beside_it_are_tried_with_it(file):
    """A name of a class shows in no text that is encoded in the trial."""
    damage(file, part(normalizer=replace(r"(\p{Greek}|\p{Greek})*$", "")))
    check_tokenizer_file(file)
    (file.parent / "added_tokens.json").write_text(json.dumps({"λ" * 40 + "b": 9}), encoding="utf-8")
    with pytest.raises(UnsafeArtifactError, match="asked to take the tokens of the files beside it, it panics"):
        check_tokenizer_file(file)


def test_sizes_and_other_names_are_refused(file, monkeypatch):
    config = file.with_name("tokenizer_config.json")
    damage(config, part(fast_tokenizer_files=["tokenizer.5.0.0.json"]))
    with pytest.raises(UnsafeArtifactError, match="has fast_tokenizer_files=.'tokenizer.5.0.0.json'.*delete that"):
        check_tokenizer_file(file)
    config.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(UnsafeArtifactError, match="tokenizer_config.json is not JSON"):
        check_tokenizer_file(file)
    monkeypatch.setattr(tokenizer_files, "MOST_BYTES", 100)
    with pytest.raises(UnsafeArtifactError, match="tokenizer.json has 0 MB, a tokenizer's file at most"):
        check_tokenizer_file(file)


def test_a_trial_that_does_not_end_is_ended(file, monkeypatch):
    monkeypatch.setattr(tokenizer_files, "_PATIENCE", 0.001)
    with pytest.raises(UnsafeArtifactError, match="the trial was not over after 0.001 seconds"):
        check_tokenizer_file(file)


def test_a_panic_becomes_an_error_and_nothing_else_does(file):
    damage(file, FIXED_LENGTH)
    tokenizer = AutoTokenizer.from_pretrained(file.parent)
    with pytest.raises(UnsafeArtifactError, match="'x' is malformed .chunk size"), explained_panics("x"):
        tokenizer("some text")
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), explained_panics("x"):
            raise error


def test_the_loader_checks_first(file, monkeypatch):
    assert load_tokenizer(file.parent)("good film")["input_ids"] == [2, 4]
    damage(file, bpe({"a": 0, "b": 1}, [["a", "b"]]))
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **kwargs: pytest.fail("it is loaded"))
    with pytest.raises(UnsafeArtifactError, match="does not load"):
        load_tokenizer(file.parent)


def test_a_folder_without_a_file_has_nothing_to_check(tmp_path):
    check_tokenizer_folder(tmp_path)


# Good ones: ours, and the shapes of those in the field


@for_each("kind", KINDS)
@for_each("purpose", ["classification", "tagging", "language-modeling"])
def test_all_kinds_of_ours_pass(tmp_path, kind, purpose):
    try:
        conditions = [] if kind == "byte" else ["<happy>"]
        tokenizer = hfseq.train_tokenizer(TEXTS, kind, purpose=purpose, vocab_size=300, condition_tokens=conditions)
    except ValueError as error:
        assert "use one of" in str(error) and purpose != "classification"
        return
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path)(TEXTS[0])["input_ids"] == tokenizer(TEXTS[0])["input_ids"]


def bert():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(TEXTS, WordPieceTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS, BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def roberta():
    tokenizer = gpt2()
    tokenizer.add_special_tokens(["<s>", "</s>", AddedToken("<mask>", lstrip=True)])
    end, start = (("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")))
    tokenizer.post_processor = processors.RobertaProcessing(end, start)
    return tokenizer


def llama2():
    letters = sorted(set("".join(TEXTS).replace(" ", "▁")) | {"▁"})
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "▁t", "▁th", "▁the"]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e")]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def llama3():
    tokenizer = gpt2()
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
        r"\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.add_special_tokens([f"<|reserved_special_token_{number}|>" for number in range(250)])
    return tokenizer


def t5():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    special = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{number}>" for number in range(100))]
    tokenizer.train_from_iterator(
        TEXTS, UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.enable_truncation(512)
    tokenizer.enable_padding(length=128)
    return tokenizer


@pytest.mark.parametrize("make", [bert, gpt2, roberta, llama2, llama3, t5])
def test_the_shapes_of_the_field_pass(tmp_path, make):
    make().save(str(tmp_path / "tokenizer.json"))
    check_tokenizer_file(tmp_path / "tokenizer.json")
