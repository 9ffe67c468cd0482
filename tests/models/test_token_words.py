"""The words behind tokens: where they begin, how they are spelled, and which row of the embedding they have."""

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from hfseq import train_tokenizer
from hfseq.models.token_words import DIGIT, LETTER, LOWER, OTHER, UPPER, TokenWords, word_tables
from tests.rounds import for_each

VOCABULARY = ["<pad>", "<unk>", "</s>", "the", "The", "cat", "I", "##t", "##h", "##s", "##3", "t", "h", "Ж"]
PAD, UNK, END, THE, CAPITAL, CAT, ONE, _T, _H, _S, _3, T, H, _ = range(len(VOCABULARY))


def tokenizer(vocabulary=VOCABULARY):
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")


def learnt(**options):
    tables = word_tables(tokenizer(), **options)
    words = TokenWords(len(VOCABULARY), num_characters=len(tables.classes), spelling_size=int(tables.offsets[-1]))
    words.fill(tables)
    return words


def spelled(words, found):
    """The texts of distinct words."""
    texts = [token.removeprefix("##") if token[0] != "<" else "" for token in VOCABULARY]
    characters = dict(zip(words.spelling.tolist(), "".join(texts), strict=True))
    return ["".join(characters[index] for index in row if index) for row in found.characters.tolist()]


def read(rows, masks=None):
    words = learnt()
    found = words(torch.tensor(rows), None if masks is None else torch.tensor(masks))
    texts = spelled(words, found)
    return found, [[texts[index] for index in row] for row in found.word_of.tolist()]


def test_tokens_of_a_word_are_one_word():
    found, texts = read([[THE, CAT, _S, T, _H, _S, END, PAD]], [[1] * 7 + [0]])
    assert texts == [["the", "cats", "cats", "ths", "ths", "ths", "", ""]]
    assert found.starts.tolist() == [[True, True, False, True, False, False, False, False]]
    assert found.steps.tolist() == [[True, True, False, True, False, False, True, False]]
    assert found.step_of.tolist() == [[0, 1, 1, 3, 3, 3, 6, 7]]
    assert found.word_of[0, -1] == 0 and found.word_of[0, -2] > 0  # padding is no word, `</s>` is a step


def test_each_distinct_word_is_there_once():
    found, _ = read([[THE, CAT, _S, THE, CAT], [CAT, _S, THE, UNK, UNK]])
    assert len(found.rows) == 1 + 4  # none, the, cats, cat, unknown
    assert found.word_of[0, 0] == found.word_of[0, 3] == found.word_of[1, 2]
    assert found.word_of[0, 1] == found.word_of[1, 0] != found.word_of[0, 4]


def test_a_word_of_one_token_is_spelled_as_the_same_of_pieces():
    words = learnt()
    vocabulary = [*VOCABULARY, "th"]
    tables = word_tables(tokenizer(vocabulary))
    words = TokenWords(len(vocabulary), num_characters=len(tables.classes), spelling_size=len(tables.spelling))
    words.fill(tables)
    found = words(torch.tensor([[T, _H], [len(VOCABULARY), PAD]]), torch.tensor([[1, 1], [1, 0]]))
    one, other = found.word_of[:, 0].tolist()
    assert one != other and torch.equal(found.characters[one], found.characters[other])


def test_what_continues_nothing_begins_a_word():
    _, texts = read([[_T, _H, END, _S, _S]])
    assert texts == [["th", "th", "", "ss", "ss"]]
    found, texts = read([[THE, _S, _S, _T, _H]], [[0, 1, 0, 0, 1]])  # at the left edge, and behind a hole
    assert texts == [["", "sh", "", "", "sh"]] and found.starts.tolist() == [[False, True, False, False, False]]
    assert found.step_of.tolist() == [[0, 1, 2, 3, 1]]


def test_unknown_words_and_special_tokens_have_no_characters():
    found, texts = read([[UNK, END, THE]])
    assert texts == [["", "", "the"]] and found.starts.tolist() == [[True, False, True]]
    rows = found.rows[found.word_of[0]].tolist()
    assert rows[0] == 1 and len(set(rows)) == 3 and 0 not in rows


@for_each("masks", [[[0, 0]], [[0, 0], [0, 1]]])
def test_a_row_without_tokens_has_no_word(masks):
    found = learnt()(torch.full((len(masks), 2), THE), torch.tensor(masks))
    assert not found.starts[0].any() and not found.word_of[0].any()
    assert found.rows[0] == 0 and not found.characters[0].any()


def test_padding_changes_no_word():
    row = [THE, CAT, _S, CAPITAL, T, _H, END]
    alone, texts = read([row])
    for left, right in ((0, 3), (2, 0), (3, 2)):
        mask = [[0] * left + [1] * len(row) + [0] * right]
        found, padded = read([[_S] * left + row + [_S] * right], mask)
        assert padded[0][left : left + len(row)] == texts[0]
        assert torch.equal(found.starts[:, left : left + len(row)], alone.starts)
        assert found.starts.sum() == alone.starts.sum()
        assert len(found.rows) == len(alone.rows)


def test_the_row_is_that_of_the_last_token():
    words = learnt()
    found = words(torch.tensor([[CAT, CAT, _S]]))
    rows = found.rows[found.word_of[0]].tolist()
    assert rows == [int(words.rows[CAT]), 1, 1]
    # Characters that are no words stand behind the last piece, and have no row; those before it are words.
    assert words.rows[[T, H]].tolist() == [1, 1] and words.rows[ONE] > 1


def test_spellings_that_differ_in_case_may_share_a_row():
    own, shared = learnt().rows, learnt(lowercase=True).rows
    assert own[THE] != own[CAPITAL] and shared[THE] == shared[CAPITAL]
    assert len(set(shared.tolist())) == len(set(own.tolist())) - 1
    assert sorted(set(shared.tolist())) == list(range(int(shared.max()) + 1))  # no row is without a word


def test_characters_have_classes():
    tables = word_tables(tokenizer(["<pad>", "<unk>", "</s>", "aAß", "٣7", "नि", "北", "-€", "ǅ"]))
    classes = tables.classes[tables.spelling.long()].tolist()
    assert classes == [LOWER, UPPER, LOWER, DIGIT, DIGIT, LETTER, LETTER, LETTER, OTHER, OTHER, UPPER]
    assert tables.classes[0] == 0


def test_tokenizers_that_spell_otherwise_are_refused():
    bpe = train_tokenizer(["the cat"] * 2, "bpe", vocab_size=300)
    with pytest.raises(ValueError, match="type BPE does not tell how words are spelled: .*characters='none'"):
        word_tables(bpe)


def test_tables_of_another_tokenizer_are_refused():
    words = learnt()
    before = {name: table.clone() for name, table in words.named_buffers()}
    with pytest.raises(ValueError, match="table 'kinds' has 15 entries, the model has room for 14: .*sizes"):
        words.fill(word_tables(tokenizer([*VOCABULARY, "dog"])))
    assert all(torch.equal(table, before[name]) for name, table in words.named_buffers())


def test_tables_that_were_never_filled_are_named():
    words = TokenWords(5, num_characters=3, spelling_size=4)
    with pytest.raises(ValueError, match=r"knows no characters yet: call .*fill_words\(word_tables\(tokenizer\)\)"):
        words(torch.zeros(1, 2, dtype=torch.long))


@for_each("name, value", [("kinds", 3), ("rows", 99), ("spelling", -1), ("offsets", -5), ("classes", 9)])
def test_tables_out_of_range_are_refused(name, value):
    words = learnt()
    words.check_tables(num_rows=20)
    words.get_buffer(name)[1] = value
    if name == "kinds":
        words.kinds[1] = 77
    with pytest.raises(ValueError, match=f"tables of words, {name}, hold numbers out of range"):
        words.check_tables(num_rows=20)


@for_each("ids", [[[0, 14]], [[-1, 0]]])
def test_foreign_ids_are_named(ids):
    with pytest.raises(ValueError, match="is outside 0 to 13"):
        learnt()(torch.tensor(ids))


def test_tables_are_small_and_saved():
    words = learnt()
    assert set(words.state_dict()) == {"kinds", "rows", "offsets", "spelling", "classes"}
    assert sum(table.nbytes for table in words.buffers()) < 9 * len(VOCABULARY) + 4 * len(words.spelling) + 100


def test_a_graph_is_refused():
    words = learnt()
    with pytest.raises(NotImplementedError, match="cannot be traced or exported: .*characters='none'"):
        torch.jit.trace(lambda ids: words(ids).starts, torch.tensor([[THE, CAT]]))
