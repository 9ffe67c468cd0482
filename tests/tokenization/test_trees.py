"""The tokenizer of trees: what becomes a tree and what stays text, batches, labels, folders, and what is refused."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, BatchEncoding, DataCollatorWithPadding

import hfseq
from hfseq import Tree, TreeTokenizer, read_brackets, train_tokenizer, tree_features
from hfseq.models.artifacts import check_tokenizer_ids
from hfseq.tokenization.brackets import BracketError
from hfseq.tokenization.files import load_tokenizer
from hfseq.tokenization.padding import PaddingCollator
from hfseq.tokenization.trees import tree_in
from tests.tokenization.test_brackets import CONLLU, DEEP, FILM, chain

PLAIN = "It isn't (really) bad"
TRAINED = [FILM, PLAIN, "(1 (2 n't) (1 bad))", CONLLU]


@pytest.fixture
def tokenizer():
    return TreeTokenizer.train(TRAINED, min_frequency=1)


def words(tokenizer, encoded):
    return tokenizer.convert_ids_to_tokens(encoded["input_ids"])


# What is a tree


def test_a_tree_becomes_a_token_a_node(tokenizer):
    encoded = tokenizer(FILM)
    assert words(tokenizer, encoded) == ["It", "works", "<node>"]
    assert dict(encoded) == {
        "input_ids": encoded["input_ids"],
        "parents": [3, 3, 0],
        "attention_mask": [1, 1, 1],
    }
    assert tokenizer(FILM, return_labels=True)["labels"] == [2, 4, 3]
    assert tokenizer.encode(FILM) == encoded["input_ids"] and tokenizer.tokenize(FILM) == ["It", "works", "<node>"]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.node_token_id) == (0, 1, 2)
    assert tokenizer.vocab_size == len(tokenizer)


def test_plain_text_is_words_without_parents(tokenizer):
    encoded = tokenizer(PLAIN, return_labels=True)
    assert words(tokenizer, encoded) == ["It", "is", "n't", "(", "really", ")", "bad"]
    assert encoded["parents"] == [0] * 7 and encoded["labels"] == [-100] * 7


def test_brackets_and_plain_text_have_the_same_words(tokenizer):
    tree = tokenizer("(3 (2 It) (2 (2 is) (2 (2 n't) (2 -LRB-))))")
    assert [word for word in words(tokenizer, tree) if word != "<node>"] == words(tokenizer, tokenizer("It isn't ("))


def test_a_sentence_of_conllu_a_tree_and_a_dict_are_trees(tokenizer):
    encoded = tokenizer(CONLLU)
    assert words(tokenizer, encoded) == ["A", "tree", "falls"] and encoded["parents"] == [2, 3, 0]
    tree = read_brackets(FILM)
    for same in (tree, tree.row(), {"words": ["It", "works", None], "parents": [3, 3, 0]}):
        assert tokenizer(same)["parents"] == [3, 3, 0] and words(tokenizer, tokenizer(same)) == [
            "It",
            "works",
            "<node>",
        ]
    assert tokenizer([tree, "bad"])["parents"] == [[3, 3, 0], [0]]


def test_a_tree_in_another_order_is_brought_into_ours(tokenizer):
    tree = Tree((None, "It", None, "really", "works"), (0, 1, 1, 3, 3), ("3", "2", "4", "1", "0"))
    encoded = tokenizer(tree, return_labels=True)
    assert words(tokenizer, encoded) == ["It", "really", "works", "<node>", "<node>"]
    assert encoded["parents"] == [5, 4, 4, 5, 0] and encoded["labels"] == [2, 1, 0, 4, 3]
    heads = {"words": ["It", "works", "bad"], "parents": [2, 0, 2]}  # of dependencies: the order of the words
    assert tokenizer(heads)["parents"] == [2, 0, 2]


def test_a_list_of_words_keeps_each_word_whole(tokenizer):
    encoded = tokenizer(["n't", "isn't", FILM], is_split_into_words=True)
    assert words(tokenizer, encoded) == ["n't", "<unk>", "<unk>"] and encoded["parents"] == [0, 0, 0]
    assert tokenizer([["It"], ["n't", "bad"]], is_split_into_words=True)["parents"] == [[0], [0, 0]]
    with pytest.raises(TypeError, match="is_split_into_words=True takes lists of words, not the text 'bad'"):
        tokenizer(["bad", ["It"]], is_split_into_words=True)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "(see below) it works",
            "(see below)",
            "((see below))",
            "(I agree)",
            "(3)",
            "()",
            "(",
            ":(",
            "(3 of us) it is",
        ),
        *("(3 stars) it was great", "(NP the dog)", "It works (3 (2 It) (4 works))", "(Well (that) is it)", "A\tB"),
        *("(3 of us went", "", "  "),
    ],
)
def test_text_in_brackets_stays_text(text):
    assert tree_in(text) is None


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (f"  {FILM}\n", "2 4 3"),
        ("(2 good)", "2"),
        ("(-1 good)", "-1"),
        ("(NP dog)", "NP"),
        ("(NP (DT the) (NN dog))", "DT NN NP"),
        ("( (S (X it)))", "X S "),
        ("(sn (d el) (n perro))", "d n sn"),
        ("(S(NP(PRP It))(VP(VBZ works)))", "PRP NP VBZ VP S"),
    ],
)
def test_a_text_that_is_a_tree_as_a_whole_is_one(text, labels):
    tree = tree_in(text)
    assert tree is not None and " ".join(tree.labels) == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(3 (2 It) (4 works)", r"Line 1, column 20: expected '\)'"),
        ("(3 works", r"Line 1, column 9: expected '\)'"),
        ("(NP (DT the) (NN dog)) barks", r"Line 1, column 24: expected '\(', found 'barks'"),
        ("( (S (NP the dog)))", r"column 14: expected '\)', found 'dog' behind the word 'the'"),
        (f"{FILM} {FILM}", "2 trees, not one"),
        (CONLLU.replace("_\t2\tdet", "_\t9\tdet"), "word 1 'A' has the head '9'"),
    ],
)
def test_what_begins_as_a_tree_and_is_none_is_refused(tokenizer, text, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(text)
    if "\t" not in text:
        with pytest.raises(BracketError):
            tree_in(text)


# Words


def test_unknown_words_and_spellings_of_special_tokens_are_unknown(tokenizer):
    tree = tokenizer("(3 (2 zonk) (4 <node>))")
    assert tree["input_ids"] == [1, 1, 2]
    assert tokenizer("(2 <pad>)")["input_ids"] == [1]
    text = tokenizer("<node> It <pad>")["input_ids"]
    assert not {0, 2} & set(text) and tokenizer.convert_tokens_to_ids("It") in text
    assert tokenizer.backend_tokenizer.encode("<node> It <pad>").ids == text  # the library finds none in it either
    assert tokenizer(["<node>", "<unk>"], is_split_into_words=True)["input_ids"] == [1, 1]


def test_lower_case_is_that_of_the_tokens_alone():
    tokenizer = TreeTokenizer.train(TRAINED, min_frequency=1, lowercase=True)
    assert words(tokenizer, tokenizer("(3 (2 IT) (4 Works))")) == ["it", "works", "<node>"]
    assert words(tokenizer, tokenizer("IT Works")) == ["it", "works"]
    assert tokenizer.read("IT Works").sentence == ["IT", "Works"]


def test_rare_words_and_small_vocabularies():
    tokenizer = TreeTokenizer.train([FILM, FILM, "(2 (2 It) (2 falls))"])
    assert set(tokenizer.get_vocab()) == {"<pad>", "<unk>", "<node>", "It", "works"}
    tokenizer = TreeTokenizer.train([FILM, FILM, "(2 (2 It) (2 falls))"], vocab_size=4)
    assert set(tokenizer.get_vocab()) == {"<pad>", "<unk>", "<node>", "It"}


def test_training_takes_datasets_and_trees():
    data = Dataset.from_list([read_brackets(FILM).row()], features=tree_features())
    texts = Dataset.from_dict({"tree": [FILM], "text": ["It works"]})
    vocabularies = [
        TreeTokenizer.train(trees, min_frequency=1, **options).get_vocab()
        for trees, options in (
            (data, {}),
            (texts, {}),
            (texts, {"text_column": "text"}),
            (data.to_iterable_dataset(), {}),
            ([read_brackets(FILM)], {}),
            ([read_brackets(FILM).row()], {}),
            (iter([FILM]), {}),
        )
    ]
    assert all(vocabulary == vocabularies[0] for vocabulary in vocabularies)


@pytest.mark.parametrize(
    ("trees", "options", "error", "message"),
    [
        ([], {}, ValueError, "There are no trees"),
        ([FILM], {"vocab_size": 3}, ValueError, "vocab_size=3: use 4 or more"),
        ([FILM], {"min_frequency": 0}, ValueError, "min_frequency=0: use 1 or more"),
        ([FILM], {}, ValueError, "too rare for min_frequency"),
        (FILM, {}, TypeError, "wrap it in a list"),
        ([FILM], {"kind": "bpe"}, TypeError, "unexpected keyword argument 'kind'"),
        (["(3 (2 It)"], {}, ValueError, "Line 1, column 10"),
        ([FILM], {"label_names": ["a", "a"], "min_frequency": 1}, ValueError, "label_names="),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(trees, options, error, message):
    with pytest.raises(error, match=message):
        TreeTokenizer.train(trees, **options)


@pytest.mark.parametrize("purpose", ["classification", "tagging"])
def test_a_tokenizer_of_words_becomes_one_of_trees(purpose):
    base = train_tokenizer(["It works well", "It is bad"], min_frequency=1, purpose=purpose)
    tokenizer = TreeTokenizer.from_tokenizer(base)
    assert tokenizer.node_token_id == len(base) and len(tokenizer) == len(base) + 1
    assert words(tokenizer, tokenizer(FILM)) == ["It", "works", "<node>"]
    assert tokenizer("It works")["input_ids"] == base("It works", add_special_tokens=False)["input_ids"]
    assert tokenizer(["It", "</s>"], is_split_into_words=True)["input_ids"][1] == tokenizer.unk_token_id


def test_a_tokenizer_of_pieces_is_refused():
    base = train_tokenizer(["It works well", "It is bad"], "bpe", vocab_size=300)
    with pytest.raises(ValueError, match=r"is a BPE, which may cut a word into several tokens.*TreeTokenizer\.train"):
        TreeTokenizer.from_tokenizer(base)


# Labels


def test_labels_are_numbers_or_names(tokenizer):
    assert tokenizer("(S (X It) ( (Y works) (X bad)))")["parents"] == [5, 4, 4, 5, 0]
    with pytest.raises(ValueError, match=r"Node 1 has the label 'X', which is no number: .*label_names"):
        tokenizer("(S (X It) (Y works))", return_labels=True)
    tokenizer.label_names = ["S", "X", "Y"]
    assert tokenizer("(S (X It) ( (Y works) (X bad)))", return_labels=True)["labels"] == [1, 2, 1, -100, 0]
    assert tokenizer("(S (0 It) (2 bad))", return_labels=True)["labels"] == [0, 2, 0]
    for wrong in ("(S (X It) (Z works))", "(S (X It) (3 works))"):
        with pytest.raises(ValueError, match=r"Node 2 has the label '[Z3]', which is not among label_names: S, X, Y"):
            tokenizer(wrong, return_labels=True)


# Batches


def test_batches_are_padded_on_either_side(tokenizer):
    texts = [FILM, "It", ""]
    right = tokenizer(texts, padding=True, return_tensors="pt", return_labels=True)
    assert right["parents"].tolist() == [[3, 3, 0], [0, 0, 0], [0, 0, 0]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert right["labels"].tolist() == [[2, 4, 3], [-100] * 3, [-100] * 3]
    tokenizer.padding_side = "left"
    left = tokenizer(texts, padding=True, return_tensors="pt", return_labels=True)
    assert left["parents"].tolist() == [[3, 3, 0], [0, 0, 0], [0, 0, 0]]  # counted in the text, not in the row
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert left["input_ids"][1].tolist() == [0, 0, *tokenizer("It")["input_ids"]]
    wide = tokenizer(texts[:2], padding="max_length", max_length=5, padding_side="left", return_labels=True)
    assert wide["parents"] == [[0, 0, 3, 3, 0], [0] * 5] and wide["labels"][0] == [-100, -100, 2, 4, 3]
    assert len(tokenizer(FILM, padding="max_length", max_length=4)["parents"]) == 4
    assert tokenizer(texts, padding=True, pad_to_multiple_of=4, return_tensors="np")["parents"].shape == (3, 4)


def test_the_collator_of_transformers_makes_the_same_batches(tokenizer):
    texts = [FILM, "It works bad", "It"]
    rows = [tokenizer(text, return_labels=True) for text in texts]
    batch = DataCollatorWithPadding(tokenizer)(rows)
    whole = tokenizer(texts, padding=True, return_tensors="pt", return_labels=True)
    assert set(batch) == set(whole) and all(torch.equal(batch[name], whole[name]) for name in batch)
    of_texts = DataCollatorWithPadding(tokenizer)([{**tokenizer(text), "label": 1} for text in texts])
    assert of_texts["labels"].tolist() == [1, 1, 1] and torch.equal(of_texts["parents"], whole["parents"])
    arrays = [{name: torch.tensor(values) for name, values in row.items()} for row in rows]
    assert torch.equal(tokenizer.pad(arrays)["labels"], whole["labels"])


@pytest.mark.parametrize("side", ["right", "left"])
def test_our_own_collator_makes_the_same_batches(tokenizer, side):
    tokenizer.padding_side = side
    texts = [FILM, "It works bad really", ""]
    rows = [tokenizer(text, return_labels=True) for text in texts]
    own, theirs = PaddingCollator(tokenizer)(rows), DataCollatorWithPadding(tokenizer)(rows)
    assert set(own) == set(theirs) and all(torch.equal(own[name], theirs[name]) for name in own)
    roots = PaddingCollator(tokenizer)([{**tokenizer(text), "labels": 1} for text in texts])
    assert roots["labels"].tolist() == [1, 1, 1] and torch.equal(roots["parents"], own["parents"])
    with pytest.raises(ValueError, match="parents has 1 entries for 3 tokens"):
        PaddingCollator(tokenizer)([{**tokenizer(FILM), "parents": [0]}])
    several = [{"input_ids": [3, 4], "labels": [0.0, 1.0]}, {"input_ids": [3, 4], "labels": [1.0, 0.5]}]
    assert PaddingCollator(tokenizer)(several)["labels"].tolist() == [[0.0, 1.0], [1.0, 0.5]]  # not one a token


def test_a_dataset_of_trees_is_tokenized_by_map(tokenizer):
    data = Dataset.from_dict({"tree": [FILM, "It", ""]})
    tokens = data.map(lambda rows: tokenizer(rows["tree"], return_labels=True), batched=True)
    assert tokens["labels"][:] == [[2, 4, 3], [-100], []] and tokens["parents"][:] == [[3, 3, 0], [0], []]


def test_empty_texts_are_whole_numbers_too(tokenizer):
    assert dict(tokenizer("")) == {"input_ids": [], "parents": [], "attention_mask": []}
    for texts in ("", ["", ""]):
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        assert {values.dtype for values in batch.values()} == {torch.int64}
        assert batch["input_ids"].shape == (len(texts) or 1, 0)
    assert tokenizer("", return_tensors="np")["parents"].dtype == np.int64
    none = tokenizer([])
    assert isinstance(none, BatchEncoding) and dict(none) == {"input_ids": [], "parents": [], "attention_mask": []}
    assert tokenizer("", padding="max_length", max_length=2)["parents"] == [0, 0]


def test_truncation_keeps_whole_subtrees(tokenizer):
    text = "(3 (2 (1 It) (0 works)) (4 (3 really) (2 bad)))"
    whole = tokenizer(text, return_labels=True)
    assert whole["parents"] == [3, 3, 7, 6, 6, 7, 0]
    cut = tokenizer(text, truncation=True, max_length=4, return_labels=True)
    assert words(tokenizer, cut) == ["It", "works", "<node>", "really"]
    assert cut["parents"] == [3, 3, 0, 0] and cut["labels"] == [1, 0, 2, 3] and cut["attention_mask"] == [1] * 4
    assert tokenizer(text, truncation=True, max_length=7)["parents"] == whole["parents"]
    tokenizer.model_max_length = 2
    assert tokenizer(text, truncation=True)["parents"] == [0, 0] and not tokenizer.deprecation_warnings
    assert len(tokenizer(text)["parents"]) == 7 and tokenizer.deprecation_warnings  # transformers warns of its length
    tokenizer.truncation_side = "left"
    with pytest.raises(ValueError, match="truncation_side='left': trees are cut behind their first nodes"):
        tokenizer(text, truncation=True)


def test_a_cut_dependency_tree_keeps_its_first_words(tokenizer):
    cut = tokenizer(CONLLU, truncation=True, max_length=2)
    assert words(tokenizer, cut) == ["A", "tree"] and cut["parents"] == [2, 0]


def test_options_of_transformers_are_kept_or_refused(tokenizer):
    encoded = tokenizer(FILM, return_special_tokens_mask=True, return_length=True, return_attention_mask=False)
    assert encoded["special_tokens_mask"] == [0, 0, 1] and encoded["length"] == 3
    assert "attention_mask" not in encoded
    for name in ("return_overflowing_tokens", "return_offsets_mapping", "return_token_type_ids"):
        with pytest.raises(ValueError, match=f"{name}=True: a tree has none of these"):
            tokenizer(FILM, **{name: True})
    with pytest.raises(ValueError, match=r"text_pair='bad': a tree is of one text; join the two"):
        tokenizer(FILM, "bad")
    with pytest.raises(ValueError, match="text_target is for models that write texts"):
        tokenizer(FILM, text_target="bad")
    for wrong in (3, [3], [["It"]], [None]):
        with pytest.raises(TypeError, match="is no tree: give a text, a Tree, or a dict with words and parents"):
            tokenizer(wrong)


def test_ids_become_text_without_nodes(tokenizer):
    batch = tokenizer([FILM, "It bad really"], padding=True, return_tensors="pt")
    assert tokenizer.decode(batch["input_ids"][0]) == "It works"
    assert tokenizer.batch_decode(batch["input_ids"]) == ["It works", "It bad really"]
    assert tokenizer.decode([2]) == "" and tokenizer.decode(tokenizer.convert_tokens_to_ids("It")) == "It"
    assert tokenizer.decode([1, 0, 2], skip_special_tokens=True) == ""


def test_a_deep_tree_is_tokenized(tokenizer):
    encoded = tokenizer(chain(DEEP), return_labels=True)
    assert len(encoded["parents"]) == 2 * DEEP + 1 and encoded["parents"].count(0) == 1


# Folders


def test_a_folder_names_the_class_and_is_loaded_by_it(tokenizer, tmp_path):
    tokenizer.label_names = ["a", "b", "c", "d", "e"]
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "TreeTokenizer" and "auto_map" not in config
    loads = (AutoTokenizer.from_pretrained, TreeTokenizer.from_pretrained, load_tokenizer)
    for again in (
        *(load(tmp_path) for load in loads),
        copy.deepcopy(tokenizer),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert type(again) is TreeTokenizer and again.label_names == tokenizer.label_names
        for text in (FILM, PLAIN, CONLLU, "<node> It"):
            assert dict(again(text)) == dict(tokenizer(text))
        assert again.node_token_id == 2 and again.get_vocab() == tokenizer.get_vocab()
        assert again.model_input_names == ["input_ids", "parents", "attention_mask"]
        assert again.padding_side == "left" and len(again) == len(tokenizer)
    again.save_pretrained(tmp_path / "again")
    same = (tmp_path / "again" / "tokenizer.json").read_text(encoding="utf-8")
    assert same == (tmp_path / "tokenizer.json").read_text(encoding="utf-8")


def test_one_made_of_another_is_loaded_again(tmp_path):
    tokenizer = TreeTokenizer.from_tokenizer(train_tokenizer(["It works"], min_frequency=1, lowercase=True))
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert dict(again(FILM)) == dict(tokenizer(FILM)) and again.decode(again("It works")["input_ids"]) == "it works"
    assert again.node_token_id == tokenizer.node_token_id == len(again) - 1


def test_other_folders_are_loaded_as_before(tmp_path):
    train_tokenizer(["It works"], min_frequency=1).save_pretrained(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is not TreeTokenizer


def test_the_ids_of_a_tokenizer_are_checked_against_the_model_beside_it(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    check_tokenizer_ids(tmp_path, {"vocab_size": len(tokenizer)})
    with pytest.raises(OSError, match="the model's vocab_size is"):
        check_tokenizer_ids(tmp_path, {"vocab_size": len(tokenizer) - 1})


def test_the_embedded_trees_have_no_unknown_word_in_training():
    rows = hfseq.load_embedded()["train"].select(range(300))
    tokenizer = TreeTokenizer.train(rows, min_frequency=1)
    encoded = tokenizer(rows["tree"][:], return_labels=True)
    assert not any(tokenizer.unk_token_id in ids for ids in encoded["input_ids"])
    assert [labels[-1] for labels in encoded["labels"]] == rows["sentiment"][:]
    assert [tokenizer.decode(ids).split() for ids in encoded["input_ids"]] == rows["tokens"][:]
    assert isinstance(tokenizer.read(rows[0]["tree"]), Tree)
