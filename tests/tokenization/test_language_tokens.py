"""Tokens for language models: prompts, conditions, and corpora that are split at white space already."""

import copy
import lzma

import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from hfseq.tokenization import (
    KINDS,
    LANGUAGE_MODEL_KINDS,
    SPECIAL_TOKENS,
    prompt_tokenizer,
    train_tokenizer,
    unknown_rate,
)
from tests.rounds import for_each

WITH_CONDITIONS = [kind for kind in KINDS if kind != "byte"]  # whose ids are bytes, and nothing else
CASES = [(kind, "classification") for kind in WITH_CONDITIONS] + [
    (kind, "language-modeling") for kind in LANGUAGE_MODEL_KINDS
]

LINES = ["The cat sat on the mat,", "the dog said: naïve!", "नमस्ते दुनिया", "我爱 北京", "tabs\tand\n\nlines  twice"]


@pytest.fixture(scope="module", params=LANGUAGE_MODEL_KINDS)
def language_model(request):
    return train_tokenizer(LINES * 2, request.param, purpose="language-modeling", vocab_size=600)


def kept(tokenizer, text):
    """What is left of a text when it was encoded and decoded."""
    at_white_space = isinstance(tokenizer.backend_tokenizer.pre_tokenizer, pre_tokenizers.WhitespaceSplit)
    return "".join(f" {word}" for word in text.split()) if at_white_space else text


def test_a_language_models_text_comes_back_up_to_unknown_tokens(language_model):
    for text in LINES:
        decoded = language_model.decode(language_model(text).input_ids, skip_special_tokens=True)
        assert decoded == kept(language_model, text)


def test_a_continuation_keeps_its_space(language_model):
    text = " sat on the mat,"
    head = len(language_model("The cat", add_special_tokens=False).input_ids)
    ids = language_model("The cat" + text, add_special_tokens=False).input_ids
    assert language_model.decode(ids[:head]) == kept(language_model, "The cat")
    assert language_model.decode(ids[head:]) == text


def test_a_prompt_is_left_open_also_after_saving_and_loading(language_model, tmp_path):
    language_model.save_pretrained(tmp_path / "training")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "training")
    closed = loaded("the cat").input_ids
    for tokenizer in (language_model, loaded):
        assert prompt_tokenizer(tokenizer)("the cat").input_ids == closed[:-1]
        assert tokenizer("the cat").input_ids == closed  # the original is as before
    prompt_tokenizer(loaded).save_pretrained(tmp_path / "finished")
    finished = AutoTokenizer.from_pretrained(tmp_path / "finished")
    assert finished("the cat").input_ids == closed[:-1] and finished("").input_ids == [2]
    reopened = AutoTokenizer.from_pretrained(tmp_path / "finished", add_bos_token=True, add_eos_token=True)
    assert reopened("the cat").input_ids == closed


def test_a_prompt_without_bos_is_the_text_alone_also_after_saving_and_loading(language_model, tmp_path):
    bare = prompt_tokenizer(language_model, add_bos=False)
    bare.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    expected = language_model("the cat", add_special_tokens=False).input_ids
    assert bare("the cat").input_ids == loaded("the cat").input_ids == expected
    assert prompt_tokenizer(loaded)("the cat").input_ids == [2, *expected]


def test_setting_the_flag_by_hand_on_a_loaded_tokenizer_would_lose_bos(language_model, tmp_path):
    """Why `prompt_tokenizer` exists; when this fails, transformers saves the flags and the helper can go."""
    language_model.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    loaded.add_eos_token = False
    assert loaded("the cat").input_ids[0] != 2


SPLIT_TEXTS = ["no it was n't <unk> 's <unk>", "N years of\tit 's\u3000no", " @-@ was\n"]


def test_text_split_at_white_space_keeps_its_own_types_and_its_own_unknown_words():
    tokenizer = train_tokenizer(SPLIT_TEXTS, "whitespace", purpose="language-modeling", min_frequency=1)
    words = [text.split() for text in SPLIT_TEXTS]
    types = {word for text in words for word in text} - {"<unk>"}
    assert set(tokenizer.get_vocab()) == types | set(SPECIAL_TOKENS)
    assert tokenizer.convert_ids_to_tokens(range(5, 9)) == ["'s", "it", "no", "was"]  # twice each, then by spelling
    for text, expected in zip(SPLIT_TEXTS, words, strict=True):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.convert_ids_to_tokens(ids) == expected
    assert unknown_rate(tokenizer, SPLIT_TEXTS) == 2 / 15


def test_text_split_at_white_space_is_joined_by_spaces_for_classification():
    tokenizer = train_tokenizer(SPLIT_TEXTS, "whitespace", min_frequency=1)
    assert tokenizer.decode(tokenizer("N  years\nof it").input_ids, skip_special_tokens=True) == "N years of it"


@pytest.mark.data
@pytest.mark.parametrize(
    ("corpus", "tokens", "types"),
    [
        # The published counts, 929,589 and 10,000, 2,088,628 and 33,278, include the end of each line.
        ("ptb/ptb.train.txt.xz", 929_589, 10_000),
        pytest.param("wikitext2/wiki.train.tokens.xz", 2_088_628, 33_278, marks=pytest.mark.slow),
    ],
)
def test_the_counts_of_corpora_are_the_published_ones(data_folder, corpus, tokens, types):
    with lzma.open(data_folder / corpus, "rt", encoding="utf-8") as file:
        lines = file.read().removesuffix("\n").split("\n")
    options = {"purpose": "language-modeling", "vocab_size": 50_000, "min_frequency": 1}
    tokenizer = train_tokenizer(lines, "whitespace", **options)
    assert len(tokenizer) == types + len({"<pad>", "<s>", "<mask>"})  # `</s>` is their `<eos>`
    ids = tokenizer(lines, return_attention_mask=False).input_ids
    assert sum(len(line) - 1 for line in ids) == tokens  # without `<s>`
    unknown = sum(line.count(tokenizer.unk_token_id) for line in ids)
    assert unknown == sum(line.split().count("<unk>") for line in lines)  # no word is unknown but those


def labelled(kind, purpose):
    texts = ["<happy> what a day it is", "oh what <mask> a night, <sad>it was"] * 2
    return train_tokenizer(texts, kind, purpose=purpose, vocab_size=300, condition_tokens=["<happy>", "<sad>"])


@for_each(("kind", "purpose"), CASES)
def test_a_condition_is_one_token_that_decoding_skips(kind, purpose, tmp_path):
    tokenizer = labelled(kind, purpose)
    tokenizer.save_pretrained(tmp_path)
    bare = tokenizer("what a day").input_ids
    first = len(bare) - len(tokenizer("what a day", add_special_tokens=False).input_ids) - 1  # 1 after `<s>`
    for found in (tokenizer, AutoTokenizer.from_pretrained(tmp_path), copy.deepcopy(tokenizer)):
        assert found.convert_tokens_to_ids(["<happy>", "<sad>"]) == [5, 6]
        assert found.extra_special_tokens == ["<happy>", "<sad>"] and set(found.all_special_ids) == set(range(7))
        assert sorted(found.get_vocab().values()) == list(range(len(found)))
        for prompt in ("<happy> what a day", "<happy>what a day"):
            ids = found(prompt).input_ids
            assert ids == [*bare[:first], 5, *bare[first:]]
            assert found.decode(ids, skip_special_tokens=True) == found.decode(bare, skip_special_tokens=True)


@pytest.mark.parametrize("kind", WITH_CONDITIONS)
def test_nothing_is_learnt_from_the_spelling_of_special_tokens(kind):
    tokenizer = labelled(kind, "classification")
    learnt = [token for token in tokenizer.get_vocab() if token not in tokenizer.all_special_tokens]
    if kind == "bpe":
        learnt = [token for token in learnt if len(token) > 1]  # every byte is there
    assert learnt and not any(set("<>kp") & set(token) for token in learnt)


def test_the_longest_condition_is_read_in_training_as_in_use():
    tokenizer = train_tokenizer(["<a>b", "<a>bc"], "char", min_frequency=1, condition_tokens=["<a>", "<a>b"])
    assert set(tokenizer.get_vocab()) == {*SPECIAL_TOKENS, "<a>", "<a>b", "c"}
    assert tokenizer("<a>bc").tokens() == ["<a>b", "c", "</s>"]
