"""Trees as data: lists, spaCy, binary trees, features of `datasets`, files, and the trees of the embedded data."""

import importlib.util
import random
from collections import Counter
from types import SimpleNamespace

import pytest
from datasets import Dataset, load_dataset

from hfseq import Tree, binarise, from_lists, from_spacy, read_brackets, read_tree_file, to_lists, unbinarise
from hfseq.data.embedded.compositions import load_compositions
from hfseq.data.embedded.grammar import ROLES
from hfseq.data.embedded.load import load_embedded
from hfseq.data.negations import negated_nodes
from hfseq.data.sources import SplitSettings, load_splits
from hfseq.data.trees import TREE_FORMATS, tree_features, write_brackets, write_conllu
from tests.tokenization.test_brackets import CONLLU, DEEP, FILM, PTB, chain

DOGS = "(S (NP (DT the) (JJ old) (JJ grey) (NN dog)) (VP (VBZ barks)))"


def bushy_tree(rng, nodes):
    """Lists of a random tree with one to five children a node, and labels."""
    root = ["r"]
    open_nodes = [root]
    for number in range(nodes):
        child = [f"L{rng.randrange(4)}"]
        rng.choice(open_nodes[-6:]).append(child)
        open_nodes.append(child)
        if number == 0:
            open_nodes.remove(root) if rng.random() < 0.3 else None
    for node in open_nodes:
        if len(node) == 1:
            node.append(f"w{rng.randrange(50)}")
    return root


# Lists


def test_lists_become_a_tree_and_come_back():
    lists = ["3", ["2", "It"], ["4", ["3", "really"], ["4", "works"]]]
    tree = from_lists(lists)
    assert write_brackets(tree) == "(3 (2 It) (4 (3 really) (4 works)))" and to_lists(tree) == lists
    assert from_lists((3, (2, "It"), (4, "works"))) == read_brackets(FILM)
    bare = [["very", "good"], "film"]
    tree = from_lists(bare, labelled=False)
    assert tree == Tree(("very", "good", None, "film", None), (3, 3, 5, 5, 0))
    assert to_lists(tree, labelled=False) == bare
    assert to_lists(from_lists("film", labelled=False), labelled=False) == "film"


def test_random_trees_come_back_from_lists():
    rng = random.Random(0)
    for _ in range(100):
        lists = bushy_tree(rng, rng.randrange(1, 30))
        assert to_lists(from_lists(lists)) == lists


def test_lists_may_be_deep():
    tree = read_brackets(chain(DEEP))
    assert from_lists(to_lists(tree)) == tree


@pytest.mark.parametrize(
    ("lists", "labelled", "message"),
    [
        (["3", ["2", "It"], "works"], True, r"'works' is no node of a tree: give \[label, word\]"),
        (["3"], True, r"\['3'\] is no node"),
        ([["2", "It"]], True, r"\[\[\.\.\.\]\] is no node"),
        ([2.5, "It"], True, r"\[2\.5, 'It'\] is no node"),
        ([True, "It"], True, "is no node"),
        ([["very"], []], False, r"\[\] is no node of a tree: give a word, or a list of nodes"),
        ([3], False, "3 is no node"),
    ],
)
def test_lists_that_are_no_tree_are_refused(lists, labelled, message):
    with pytest.raises(ValueError, match=message):
        from_lists(lists, labelled=labelled)


def test_a_dependency_tree_or_a_forest_is_refused_as_lists():
    with pytest.raises(ValueError, match="Node 2, the word 'b', has children: this is a dependency tree"):
        to_lists(Tree(("a", "b"), (2, 0)))
    with pytest.raises(ValueError, match="2 roots: give one tree"):
        to_lists(Tree(("a", "b"), (0, 0)))


# spaCy


def fake_doc(words, heads, relations, spaces=()):
    """What spaCy gives: tokens that know their heads."""
    tokens = [
        SimpleNamespace(i=i, text=word, dep_=relation, is_space=i in spaces)
        for i, (word, relation) in enumerate(zip(words, relations, strict=True))
    ]
    for token, head in zip(tokens, heads, strict=True):
        token.head = tokens[head]
    return tokens


def test_a_parsed_doc_is_a_dependency_tree():
    doc = fake_doc(["A", "tree", "falls"], [1, 2, 2], ["det", "nsubj", "ROOT"])
    assert from_spacy(doc) == Tree(("A", "tree", "falls"), (2, 3, 0), ("det", "nsubj", "ROOT"))
    assert from_spacy(doc[:2]) == Tree(("A", "tree"), (2, 0), ("det", "nsubj"))  # a span: the head is outside
    two = fake_doc(["Go", "!", "Stay"], [0, 0, 2], ["ROOT", "punct", "ROOT"])
    assert from_spacy(two).roots == [0, 2]


def test_white_space_of_a_doc_is_no_word():
    doc = fake_doc(["A", "\n", "tree", "x"], [2, 2, 2, 1], ["det", "dep", "ROOT", "dep"], spaces=(1,))
    assert from_spacy(doc) == Tree(("A", "tree", "x"), (2, 0, 2), ("det", "ROOT", "dep"))


def test_a_doc_that_is_not_parsed_is_refused():
    with pytest.raises(ValueError, match="is not parsed: make it with a pipeline of spaCy that has a parser"):
        from_spacy(fake_doc(["A", "tree"], [0, 1], ["", ""]))


@pytest.mark.skipif(importlib.util.find_spec("spacy") is None, reason="spaCy is not installed")
def test_a_doc_of_spacy_itself():
    import spacy
    from spacy.tokens import Doc

    doc = Doc(
        spacy.blank("en").vocab, ["A", "tree", " ", "falls"], heads=[1, 3, 3, 3], deps=["det", "nsubj", "dep", "ROOT"]
    )
    assert from_spacy(doc) == Tree(("A", "tree", "falls"), (2, 3, 0), ("det", "nsubj", "ROOT"))
    assert from_spacy(doc[0:2]).parents == (2, 0)
    with pytest.raises(ValueError, match="'A tree' is not parsed"):
        from_spacy(Doc(spacy.blank("en").vocab, ["A", "tree"]))


# Binary trees


@pytest.mark.parametrize(
    ("side", "unary", "expected"),
    [
        ("right", "join", "(S (NP (DT the) ( (JJ old) ( (JJ grey) (NN dog)))) (VP+VBZ barks))"),
        ("left", "join", "(S (NP ( ( (DT the) (JJ old)) (JJ grey)) (NN dog)) (VP+VBZ barks))"),
        ("right", "top", "(S (NP (DT the) ( (JJ old) ( (JJ grey) (NN dog)))) (VP barks))"),
        ("right", "keep", "(S (NP (DT the) ( (JJ old) ( (JJ grey) (NN dog)))) (VP (VBZ barks)))"),
    ],
)
def test_a_tree_is_made_binary_and_back(side, unary, expected):
    tree = read_brackets(DOGS)
    binary = binarise(tree, side, unary)
    assert write_brackets(binary) == expected and read_brackets(expected) == binary
    assert max(map(len, binary.children())) == 2 and binary.sentence == tree.sentence
    if unary != "top":
        assert unbinarise(binary, unary) == tree
    assert binarise(binary, side, unary if unary != "join" else "keep") == binary


def test_random_trees_come_back_from_binary_ones():
    rng = random.Random(0)
    for _ in range(200):
        tree = from_lists(bushy_tree(rng, rng.randrange(1, 30)))
        for side in ("right", "left"):
            binary = binarise(tree, side)
            assert {len(own) for own in binary.children()} <= {0, 2} and unbinarise(binary) == tree
            kept = binarise(tree, side, "keep")
            assert {len(own) for own in kept.children()} <= {0, 1, 2} and unbinarise(kept, "keep") == tree


def test_a_binary_tree_keeps_the_spellings_of_a_file():
    tree = read_brackets(PTB)
    assert write_brackets(unbinarise(binarise(tree))) == PTB
    assert "*T*-1" in write_brackets(binarise(tree, unary="top"))
    assert binarise(tree, unary="top").labels[-1] == "S"  # the root of the Penn Treebank has no category


@pytest.mark.parametrize("side", ["right", "left"])
def test_wide_and_deep_trees_are_made_binary(side):
    wide = read_brackets(f"(X{' (Y y)' * DEEP})")
    assert unbinarise(binarise(wide, side)) == wide
    deep = read_brackets("(1 " * DEEP + "(0 z)" + ")" * DEEP)
    assert len(binarise(deep, side)) == 1 and unbinarise(binarise(deep, side)) == deep


@pytest.mark.parametrize(
    ("tree", "unary", "message"),
    [
        (Tree(("a", "b"), (2, 0)), "join", "this is a dependency tree"),
        (read_brackets("(A+B (C x) (D y))"), "join", r"Node 3 has the label 'A\+B', with the '\+' that joins labels"),
        (read_brackets("(A (B x) (C y) ( (D z) (E w)))"), "join", "Node 5 has no label, and could not be told"),
        (read_brackets(FILM), "drop", "unary 'drop'|drop"),
    ],
)
def test_what_could_not_be_undone_is_refused(tree, unary, message):
    with pytest.raises(ValueError, match=message):
        binarise(tree, unary=unary)


def test_a_tree_without_labels_is_made_binary_but_not_undone():
    tree = from_lists(["a", "b", "c"], labelled=False)
    binary = binarise(tree)
    assert to_lists(binary, labelled=False) == ["a", ["b", "c"]]
    with pytest.raises(ValueError, match="No node has a label: those that binarise added cannot be told"):
        unbinarise(binary)


# Datasets


def rows(texts):
    return [read_brackets(text).row() for text in texts]


def test_a_dataset_of_trees_maps_shuffles_is_saved_and_streams(tmp_path):
    texts = [FILM, DOGS, PTB, "(2 a)"] * 3
    trees = [read_brackets(text) for text in texts]
    data = Dataset.from_list(rows(texts), features=tree_features())
    assert data.features == tree_features() and [Tree.from_row(row) for row in data] == trees
    mapped = data.map(lambda row: {"size": len(row["parents"])})
    assert mapped["size"][:] == list(map(len, trees)) and mapped.features["spans"] == tree_features()["spans"]
    order = data.add_column("place", list(range(len(data)))).shuffle(seed=1)
    assert [Tree.from_row(row) for row in order] == [trees[place] for place in order["place"]]
    data.to_parquet(tmp_path / "trees.parquet")
    for streaming in (False, True):
        again = load_dataset("parquet", data_files=str(tmp_path / "trees.parquet"), split="train", streaming=streaming)
        assert again.features == tree_features()
        assert [Tree.from_row(row) for row in again] == trees
    assert list(data.to_iterable_dataset().map(lambda row: {"n": len(row["words"])}))[0]["n"] == 3


def test_labels_of_a_dataset_may_be_classes():
    names = ["0", "1", "2", "3", "4"]
    data = Dataset.from_list(rows([FILM]), features=tree_features(names))
    assert data[0]["labels"] == [2, 4, 3] and data.features["labels"].feature.names == names
    assert Tree.from_row(data[0]) == read_brackets(FILM)


# Files


def test_a_file_of_trees_is_a_dataset(tmp_path):
    path = tmp_path / "a.mrg"
    path.write_text(f"\ufeff( (S\n     (NP (DT the)\n (NN dog))))\n\n{FILM}{FILM}\n", encoding="utf-8")
    data = read_tree_file(path)
    assert data["tree"][:] == ["( (S (NP (DT the) (NN dog))))", FILM, FILM]
    assert Tree.from_row(data[1]) == read_brackets(FILM) and set(data.column_names) == {"tree", *tree_features()}
    (tmp_path / "a.conllu").write_text(f"{CONLLU}\n{CONLLU}", encoding="utf-8")
    data = read_tree_file(tmp_path / "a.conllu")
    assert len(data) == 2 and data[1]["parents"] == [2, 3, 0]
    assert data[0]["tree"] == write_conllu(Tree.from_row(data[0]))


@pytest.mark.parametrize("suffix", [".ptb", ".brackets", ".trees", ".txt", ".conllu"])
def test_a_folder_of_files_of_trees_is_a_source_of_recipes(tmp_path, suffix):
    content = CONLLU if suffix == ".conllu" else f"{FILM}\n"
    for name, count in (("train", 3), ("dev", 1), ("test", 2)):
        (tmp_path / f"{name}{suffix}").write_text("\n".join([content] * count), encoding="utf-8")
    splits = load_splits(SplitSettings(path=str(tmp_path)), TREE_FORMATS)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 3, "validation": 1, "test": 2}
    assert "tree" in splits["train"].column_names


def test_a_split_may_be_several_files(tmp_path):
    for part in range(2):
        (tmp_path / f"train-0000{part}-of-00002.ptb").write_text(f"(2 part{part})", encoding="utf-8")
    splits = load_splits(SplitSettings(path=str(tmp_path)), TREE_FORMATS)
    assert splits["train"]["tree"][:] == ["(2 part0)", "(2 part1)"]


def test_trees_in_a_table_are_a_source_of_recipes_too(tmp_path):
    Dataset.from_dict({"tree": [FILM, FILM]}).to_parquet(tmp_path / "train.parquet")
    splits = load_splits(SplitSettings(path=str(tmp_path)), TREE_FORMATS)
    assert splits["train"]["tree"][:] == [FILM, FILM]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", f"{FILM}\n(3 (2 It) (4 works)\n", r"a\.txt, line 2, column 20: expected '\)'"),
        ("a.txt", f"{FILM}\nA plain text.\n", r"a\.txt, line 2, column 1: expected '\(', found 'A' outside of a tree"),
        ("a.ptb", "\n", r"a\.ptb holds no tree"),
        ("a.conllu", CONLLU.replace("\tDET\tDT", ""), r"a\.conllu, line 2 has 8 columns"),
        ("a.conllu", CONLLU.replace("_\t2\tdet", "_\t9\tdet"), r"a\.conllu, line 2: word 1 'A' has the head '9'"),
        ("a.ptb", b"(2 caf\xe9)", r"a\.ptb is not UTF-8 \(line 1, byte 6"),
        ("a.csv", FILM, r"a\.csv"),
    ],
)
def test_a_file_that_is_no_treebank_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_tree_file(path)


def test_names_of_columns_are_refused_for_trees(tmp_path):
    (tmp_path / "train.ptb").write_text(FILM, encoding="utf-8")
    with pytest.raises(ValueError, match=r"data\.column_names=\['tree'\] is for CSV and TSV files"):
        load_splits(SplitSettings(path=str(tmp_path / "train.ptb"), column_names=["tree"]), TREE_FORMATS)


@pytest.mark.data
def test_the_sentiment_treebank_comes_back_to_the_last_character(data_folder):
    import lzma

    for split, count in (("train", 8544), ("dev", 1101), ("test", 2210)):
        path = data_folder / "sst" / "trees" / f"{split}.txt.xz"
        data = read_tree_file(path)
        assert len(data) == count
        assert "".join(f"{tree}\n" for tree in data["tree"]) == lzma.decompress(path.read_bytes()).decode("utf-8")


# The embedded trees


def negations(tree):
    """Each negated node with its own label and that of what is negated."""
    children = tree.children()
    for node, own in enumerate(children):
        if own and ROLES.get((tree.words[own[0]] or "").lower()) == "negate":
            yield int(tree.labels[node]), int(tree.labels[own[1]])


def test_embedded_trees_suit_training_on_all_nodes():
    data = load_embedded()
    for split in data:
        trees = [read_brackets(text) for text in data[split]["tree"]]
        assert all({len(own) for own in tree.children()} <= {0, 2} for tree in trees)
        assert [int(tree.labels[-1]) for tree in trees] == data[split]["sentiment"][:]
        assert [tree.sentence for tree in trees] == data[split]["tokens"][:]
        labels = Counter(label for tree in trees for label in tree.labels)
        assert set(labels) == set("01234") and min(labels.values()) > 300
        pairs = [pair for tree in trees for pair in negations(tree)]
        flipped = [(own, inner) for own, inner in pairs if (own - 2) * (inner - 2) < 0]
        assert len(flipped) > 100 and {(own > 2) for own, _ in flipped} == {True, False}
        assert all((own - 2) * (inner - 2) < 0 or own == inner == 2 for own, inner in pairs)


def test_compositions_are_new_and_made_of_known_words():
    train = [read_brackets(text) for text in load_embedded()["train"]["tree"]]
    phrases = {" ".join(tree.sentence[start:end]).lower() for tree in train for start, end in tree.spans()}
    found = load_compositions()
    assert len(found) > 250 and set(found["kind"]) >= {"negated_graded", "graded_negated", "graded"}
    assert not phrases & set(found["text"])
    assert {word for text in found["text"] for word in text.split()} <= phrases
    trees = [read_brackets(text) for text in found["tree"]]
    assert [int(tree.labels[-1]) for tree in trees] == found["sentiment"][:]
    assert [" ".join(tree.sentence) for tree in trees] == found["text"][:]
    assert sum((own - 2) * (inner - 2) < 0 for tree in trees for own, inner in negations(tree)) > 200
    labels = dict(zip(found["text"], found["tree"], strict=True))
    assert labels["never somewhat awful"] == "(3 (2 never) (1 (2 somewhat) (0 awful)))"
    assert len(Counter(found["sentiment"])) == 5


# Negations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1 (2 not) (4 great))", [("not great", "great")]),
        ("(1 (2 It) (1 (1 (2 Does) (2 N't)) (3 (2 really) (3 work))))", [("Does N't really work", "really work")]),
        ("(3 (2 never) (1 (2 not) (4 great)))", [("not great", "great"), ("never not great", "not great")]),
        ("(1 (2 has) (1 nothing))", []),  # nothing follows
        ("(1 (2 (2 (2 It) (2 does)) (2 not)) (3 work))", []),  # the end of another phrase
        ("(1 (2 not) (2 a) (2 b))", []),
    ],
)
def test_negated_phrases_are_found(text, expected):
    tree = read_brackets(text)
    spans = tree.spans()
    phrases = [" ".join(tree.sentence[start:end]) for start, end in spans]
    assert [(phrases[node], phrases[without]) for node, without in negated_nodes(tree)] == expected


def test_other_words_may_negate():
    assert negated_nodes(read_brackets("(1 (2 nicht) (4 gut))"), ["nicht"]) == [(2, 1)]
    assert negated_nodes(read_brackets("(1 (2 not) (4 good))"), ["nicht"]) == []


def test_negations_turn_embedded_phrases_and_those_of_the_compositions():
    for texts in (load_embedded()["test"]["tree"], load_compositions()["tree"]):
        trees = [read_brackets(text) for text in texts]
        pairs = [(tree.labels[node], tree.labels[inner]) for tree in trees for node, inner in negated_nodes(tree)]
        assert sum((int(own) - 2) * (int(inner) - 2) < 0 for own, inner in pairs) > 150


@pytest.mark.data
def test_negations_of_the_sentiment_treebank(data_folder):
    trees = [Tree.from_row(row) for row in read_tree_file(data_folder / "sst" / "trees" / "test.txt.xz")]
    pairs = [(int(tree.labels[a]), int(tree.labels[b])) for tree in trees for a, b in negated_nodes(tree)]
    turned = sum((own - 2) * (inner - 2) < 0 for own, inner in pairs)
    assert len(pairs) > 300 and turned > 50
