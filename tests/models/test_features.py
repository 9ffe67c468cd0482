"""Hashed features of words: they tell apart what CRFsuite's usual features tell apart, and padding changes nothing."""

import itertools

import pytest
import torch

from hfseq import train_tokenizer
from hfseq.models.features import (
    FARTHEST,
    FEATURES,
    LONGEST_END,
    OF_NEIGHBOUR,
    PLACES,
    SIZES,
    WordFeatures,
    neighbours,
)
from hfseq.models.token_words import TokenWords, word_tables
from hfseq.tasks.tagging.rivals import features as crfsuite_features
from tests.closeness import assert_same

TEXTS = [
    ["Oslo", "is", "in", "Norway", "."],
    ["U.S.", "and", "NATO", "saw", "1,000", "oslo", "Oslos"],
    ["I", "saw", "Saw", "a", "is", "ISO"],
    ["Énergie", "énergie", "of", "2021"],
]
WORD, LOWER_CASE, SHAPE = range(3)
ENDS, BEGINS = range(3, 3 + LONGEST_END), range(3 + LONGEST_END, FEATURES)


@pytest.fixture(scope="module")
def tokenizer():
    # Only what comes twice is a token: the words of the others are spelled.
    return train_tokenizer([" ".join(words) for words in TEXTS], "word_or_characters", min_frequency=2)


@pytest.fixture(scope="module")
def reader(tokenizer):
    tables = word_tables(tokenizer)
    words = TokenWords(len(tokenizer), num_characters=len(tables.classes), spelling_size=len(tables.spelling))
    words.fill(tables)
    return words


def at(rows, place):
    """The rows of the features that count at a place."""
    first = sum(SIZES[:place])
    return rows[..., first : first + SIZES[place]]


def made(tokenizer, reader, *, buckets=1 << 24, num_labels=3, seed=0):
    features = WordFeatures(buckets=buckets, num_characters=len(reader.classes), num_labels=num_labels)
    features.fill(word_tables(tokenizer))
    torch.nn.init.normal_(features.weight, generator=torch.Generator().manual_seed(seed))
    return features


def read(tokenizer, reader, texts, **options):
    encoded = tokenizer(texts, is_split_into_words=True, padding=True, return_tensors="pt", **options)
    return reader(encoded.input_ids, encoded.attention_mask)


def test_features_tell_apart_what_those_of_crfsuite_tell_apart(tokenizer, reader):
    texts = TEXTS[:3]  # of letters of any script we know the case; the expressions there know that of A to Z
    words, features = read(tokenizer, reader, texts), made(tokenizer, reader)
    rows, near = features.rows(words), neighbours(words)
    own, spelled = [], []
    for place, text in enumerate(texts):
        first = words.starts[place].nonzero().flatten()
        assert len(first) == len(text)
        own += list(at(rows, FARTHEST)[near[place, first, FARTHEST]])
        spelled += [found[: FARTHEST + 1 + LONGEST_END] for found in crfsuite_features(text)]
    usual = [WORD, LOWER_CASE, SHAPE, *ENDS]
    for one, other in itertools.combinations(range(len(own)), 2):
        same = [a == b for a, b in zip(spelled[one], spelled[other], strict=True)]
        assert (own[one][usual] == own[other][usual]).tolist() == same, (spelled[one], spelled[other])


def test_each_feature_and_each_place_has_rows_of_its_own(tokenizer, reader):
    words, features = read(tokenizer, reader, [["Oslo"]]), made(tokenizer, reader)
    rows = features.rows(words)[torch.tensor([0, int(neighbours(words)[0, 0, FARTHEST])])]
    assert len(rows.unique()) == rows.numel() == 2 * (FEATURES + (PLACES - 1) * OF_NEIGHBOUR)


def test_an_end_is_that_of_any_word_that_has_it(tokenizer, reader):
    words, features = read(tokenizer, reader, [["energie", "énergie", "is", "Oslos", "Oslo"]]), made(tokenizer, reader)
    rows = at(features.rows(words), FARTHEST)[neighbours(words)[0, words.starts[0], FARTHEST]]
    energie, accented, short, oslos, oslo = rows
    assert torch.equal(energie[list(ENDS)], accented[list(ENDS)])
    assert torch.equal(oslos[list(BEGINS)], oslo[list(BEGINS)])
    assert (oslos[list(ENDS)] != oslo[list(ENDS)]).all()
    assert short[ENDS[0]] == oslos[ENDS[0]] and short[ENDS[1]] != oslos[ENDS[1]]


def test_emissions_are_the_sums_of_the_rows_of_a_word_and_its_neighbours(tokenizer, reader):
    words, features = read(tokenizer, reader, TEXTS), made(tokenizer, reader, buckets=500)
    rows, near, emissions = features.rows(words), neighbours(words), features(words)
    for text, token in words.starts.nonzero().tolist():
        around = near[text, token]
        own = sum(features.weight[at(rows, place)[around[place]]].sum(0) for place in range(PLACES))
        assert_same(emissions[text, token], own)
    of_words = words.starts.clone()
    for text, token in itertools.product(*map(range, words.starts.shape)):  # what continues a word says the same
        if words.word_of[text, token] > 0 and not words.steps[text, token]:
            assert_same(emissions[text, token], emissions[text, token - 1])
            of_words[text, token] = True
    assert not emissions[~of_words].any()


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_and_holes_change_nothing(tokenizer, reader, side):
    features = made(tokenizer, reader)
    tokenizer.padding_side = side
    together = tokenizer(TEXTS, is_split_into_words=True, padding=True, return_tensors="pt")
    found = features(reader(together.input_ids, together.attention_mask))
    for place, text in enumerate(TEXTS):
        alone = tokenizer([text], is_split_into_words=True, return_tensors="pt")
        assert_same(found[place, together.attention_mask[place].bool()], features(reader(alone.input_ids))[0])


def test_the_neighbours_of_a_word_are_words(tokenizer, reader):
    words = read(tokenizer, reader, [["Oslo", "is", "ISO", "."]])
    first = words.starts[0].nonzero().flatten()
    assert len(first) == 4 < words.starts.shape[1] - 1  # some are spelled
    own = words.word_of[0, first].tolist()
    expected = [[*([0] * FARTHEST), *own, *([0] * FARTHEST)][place : place + PLACES] for place in range(4)]
    assert neighbours(words)[0, first].tolist() == expected
    assert (neighbours(words)[0, -1] == -1).all()  # </s>


def test_hashes_are_the_same_numbers_everywhere(tokenizer, reader):
    words, features = read(tokenizer, reader, [["Oslo", "is"]]), made(tokenizer, reader, buckets=1 << 20)
    rows = at(features.rows(words), FARTHEST)[neighbours(words)[0, words.starts[0], FARTHEST]]
    assert rows[:, [WORD, SHAPE, ENDS[0]]].tolist() == [[691656, 267974, 107616], [601896, 881204, 584894]]


def test_the_tokenizer_of_another_model_is_refused(tokenizer, reader):
    features = WordFeatures(buckets=10, num_characters=3, num_labels=2)
    with pytest.raises(ValueError, match="the model has room for 3: make the config with"):
        features.fill(word_tables(tokenizer))


def test_features_that_have_learnt_no_tokenizer_are_refused(tokenizer, reader):
    features = WordFeatures(buckets=10, num_characters=len(reader.classes), num_labels=2)
    with pytest.raises(ValueError, match=r"know no lower case yet: call model.fill_words\(word_tables\(tokenizer\)\)"):
        features(read(tokenizer, reader, [["Oslo"]]))
