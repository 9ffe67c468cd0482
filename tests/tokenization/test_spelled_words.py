"""The kind `word_or_characters`: what a word is, and how an unknown one is spelled."""

import subprocess
import sys
import textwrap

import pytest
from transformers import AutoTokenizer

from hfseq import train_tokenizer
from hfseq.tokenization.spelled_words import word_units
from tests.rounds import for_each

KIND = "word_or_characters"
TEXTS = ["the cat sat in Oslo .", "The cat sat on the mat .", "OSLO is a zoo ."]

UNITS = {
    "It's 3.5% (or 1,000).": ["It", "'s", "3.5", "%", "(", "or", "1,000", ")", "."],
    "don't can't DON’T": ["do", "n't", "ca", "n't", "DO", "N’T"],
    "n't 's ’ll '90s": ["n't", "'s", "’ll", "'90s"],
    "The U.S. and J. Smith": ["The", "U.S.", "and", "J.", "Smith"],
    "al-Ani O'Brien AT&T": ["al-Ani", "O'Brien", "AT&T"],
    "10:30 12/3/99 5-1 .500 +44": ["10:30", "12/3/99", "5-1", ".500", "+44"],
    "see https://x.org/a?b=1, or a.b@c.de!": ["see", "https://x.org/a?b=1", ",", "or", "a.b@c.de", "!"],
    "Wait... what?! -- no": ["Wait", "...", "what", "?!", "--", "no"],
    'a "b" (c) [[d]] ##e': ["a", '"', "b", '"', "(", "c", ")", "[", "[", "d", "]", "]", "#", "#", "e"],
    "and/or yes, 5 km": ["and", "/", "or", "yes", ",", "5", "km"],
    "我爱北京。": ["我", "爱", "北", "京", "。"],
    "नमस्ते दुनिया": ["नमस्ते", "दुनिया"],
    "👩‍👩‍👧👍🏽 🇳🇴🇩🇰": ["👩‍👩‍👧", "👍🏽", "🇳🇴", "🇩🇰"],
    "e\u0301t\u00e9": ["e\u0301t\u00e9"],
    "a\u200b \tb\x00": ["a", "b"],
}


def tokens(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).tokens()


@for_each(("text", "units"), UNITS.items())
def test_a_unit_is_near_to_a_word_of_a_corpus(text, units):
    cut = word_units().pre_tokenize_str(text)
    assert [unit for unit, _ in cut] == units
    assert all(text[start:end] == unit for unit, (start, end) in cut)


def test_known_words_are_tokens_and_others_are_spelled():
    tokenizer = train_tokenizer(TEXTS, KIND)
    assert tokens(tokenizer, "the cat sat .") == ["the", "cat", "sat", "."]
    assert tokens(tokenizer, "mat Oslo") == ["m", "##a", "##t", "O", "##s", "##l", "##o"]
    assert tokens(tokenizer, "cats") == ["cat", "##s"]  # the longest known beginning
    assert tokens(tokenizer, "the q mqt") == ["the", "<unk>", "<unk>"]  # no text has a q
    found = tokenizer("the mats", return_offsets_mapping=True)
    assert found.word_ids() == [0, 1, 1, 1, 1, None]
    assert found["offset_mapping"] == [(0, 3), (4, 5), (5, 6), (6, 7), (7, 8), (0, 0)]


def test_the_vocabulary_is_in_the_order_that_models_read():
    tokenizer = train_tokenizer(TEXTS, KIND)
    vocabulary = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert vocabulary[:9] == ["<pad>", "<unk>", "<s>", "</s>", "<mask>", ".", "cat", "sat", "the"]
    characters = sorted(set("".join(TEXTS)) - {" "})
    assert vocabulary[9:] == [f"##{each}" for each in characters] + [each for each in characters if each != "."]


def test_the_same_texts_give_the_same_tokenizer():
    first, second = (train_tokenizer(texts, KIND) for texts in (TEXTS, TEXTS[::-1]))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


def test_spellings_that_differ_in_case_are_counted_together_and_kept():
    tokenizer = train_tokenizer([*TEXTS, "tHE L"], KIND, lowercase=True, min_frequency=2)
    vocabulary = set(tokenizer.get_vocab())
    assert {"the", "The", "THE", "tHE", "oslo", "Oslo", "OSLO", "sat", "cat", "Cat"} <= vocabulary
    assert tokens(tokenizer, "CATS Zm") == ["CAT", "##S", "Z", "##m"]  # no text has a C or a Z
    assert tokens(tokenizer, "oslo Oslo OSLO tHE") == ["oslo", "Oslo", "OSLO", "tHE"]
    assert tokens(tokenizer, "moO") == ["m", "##o", "##O"]


def test_words_give_way_to_characters_where_room_is_short():
    characters = len(set("".join(TEXTS)) - {" "})
    tokenizer = train_tokenizer(TEXTS, KIND, vocab_size=5 + 2 * characters + 1)
    assert len(tokenizer) == 5 + 2 * characters + 1
    assert tokens(tokenizer, "the cat") == ["t", "##h", "##e", "cat"]
    with pytest.raises(ValueError, match=f"needs {5 + 2 * characters} entries"):
        train_tokenizer(TEXTS, KIND, vocab_size=5 + 2 * characters - 1)


def test_words_of_a_list_are_cut_alone():
    tokenizer = train_tokenizer(TEXTS, KIND)
    found = tokenizer([["the", "cat", ".", "Oslo"]], is_split_into_words=True)
    assert found.tokens() == ["the", "cat", ".", "O", "##s", "##l", "##o", "</s>"]
    assert found.word_ids() == [0, 1, 2, 3, 3, 3, 3, None]


def test_a_language_model_has_no_use_for_it():
    with pytest.raises(ValueError, match="kind='word_or_characters' does not keep spaces"):
        train_tokenizer(TEXTS, KIND, purpose="language-modeling")


def test_it_loads_without_this_package(tmp_path):
    tokenizer = train_tokenizer(TEXTS, KIND, lowercase=True)
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("the mats").input_ids == tokenizer("the mats").input_ids
    script = f"""
        import sys
        sys.modules["hfseq"] = None
        from transformers import AutoTokenizer
        print(AutoTokenizer.from_pretrained({str(tmp_path)!r})("the mats").tokens())
    """
    out = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(tokenizer("the mats").tokens())
