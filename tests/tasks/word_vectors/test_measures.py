"""What is measured on word vectors: against counts made by hand, and against gensim."""

import bz2
import dataclasses
import gzip
import lzma

import numpy as np
import pytest

from hfseq.cards.render import render_card
from hfseq.models.words.evaluation import read_analogies, read_pairs
from hfseq.models.words.vectors import KeyedVectors
from hfseq.tasks.word_vectors.facts import Evaluation
from hfseq.tasks.word_vectors.measures import EvaluationSettings, evaluate_vectors, nearest_words, solved_analogies
from tests.closeness import assert_same
from tests.tasks.word_vectors.test_card import changed, golden_facts

# A plane in which man -> woman is up and common -> royal is right; "walk" -> "walked" is up too, far from both.
PLANE = {
    "the": (0.1, -1.0, 0.0),
    "man": (1.0, 0.0, 0.2),
    "woman": (1.0, 1.0, 0.2),
    "king": (2.0, 0.0, 0.2),
    "queen": (2.0, 1.0, 0.2),
    "walk": (0.0, 0.1, 1.0),
    "walked": (0.0, 1.1, 1.0),
    "talk": (0.1, 0.1, 2.0),
    "talked": (-3.0, -1.0, 0.5),
}


@pytest.fixture(scope="module")
def vectors():
    return KeyedVectors.from_vectors(list(PLANE), np.array(list(PLANE.values()), dtype=np.float32))


QUESTIONS = """\
: family
Man Woman King Queen
man king woman queen
boy girl king queen
: gram7-past-tense
walk walked talk talked
"""


@pytest.fixture
def sets(tmp_path):
    """Function that writes one file and names it."""

    def write(text, name="set.txt"):
        path = tmp_path / name
        opened = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}.get(path.suffix, open)
        with opened(path, "wt", encoding="utf-8") as file:
            file.write(text)
        return str(path)

    return write


def test_analogies_are_counted_by_kind_and_unknown_words_apart(vectors, sets):
    settings = EvaluationSettings(analogies=sets(QUESTIONS, "my-questions.txt"), restrict_vocab=100)
    metrics, evaluations = evaluate_vectors(vectors, settings)
    assert metrics == {"analogy_accuracy": 2 / 3, "analogy_semantic": 1.0, "analogy_syntactic": 0.0}
    asked = {"data": "my-questions", "restrict_vocab": 100}
    assert evaluations == {
        "analogy_accuracy": Evaluation(used=3, skipped=1, **asked),
        "analogy_semantic": Evaluation(used=2, skipped=1, **asked),
        "analogy_syntactic": Evaluation(used=1, skipped=0, **asked),
    }


def test_analogies_ask_the_most_frequent_words_alone(vectors, sets):
    _, evaluations = evaluate_vectors(vectors, EvaluationSettings(analogies=sets(QUESTIONS), restrict_vocab=5))
    assert [(each.used, each.skipped) for each in evaluations.values()] == [(2, 2), (2, 1), (0, 1)]


def test_questions_of_one_kind_score_that_kind_alone(vectors, sets):
    metrics, evaluations = evaluate_vectors(vectors, EvaluationSettings(analogies=sets("man woman king queen\n")))
    assert metrics == {"analogy_accuracy": 1.0, "analogy_semantic": 1.0}
    assert evaluations.keys() == metrics.keys()


@pytest.mark.parametrize("separator", ["\t", ",", " ", " , ", "   "])
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".txt.gz", ".txt.xz", ".txt.bz2"])
def test_pairs_of_any_form_give_the_same_score(separator, suffix, vectors, sets):
    rows = [("King", "queen", "9.5"), ("man", "talk", "1"), ("man", "woman", "8"), ("man", "unheard", "3")]
    lines = ["# a comment", separator.join(("Word1", "Word2", "Score")), *map(separator.join, rows), ""]
    settings = EvaluationSettings(pairs={"mine": sets("\n".join(lines), f"people{suffix}")})
    metrics, evaluations = evaluate_vectors(vectors, settings)
    assert metrics == {"mine": pytest.approx(1.0)}
    assert evaluations == {"mine": Evaluation(data="people", used=3, skipped=1)}


@pytest.mark.filterwarnings("ignore:An input array is constant")
@pytest.mark.parametrize("text", ["a\tb\t1\nc\td\t2\n", "king\tqueen\t5\n", "king\tqueen\t5\nman\twoman\t5\n"])
def test_a_set_without_an_answer_has_no_score_but_is_counted(text, vectors, sets):
    metrics, evaluations = evaluate_vectors(vectors, EvaluationSettings(pairs={"men": sets(text)}))
    assert metrics == {}
    assert (evaluations["men"].used, evaluations["men"].skipped) == (0, text.count("\n"))


def test_what_was_measured_makes_facts_and_a_card(vectors, sets):
    settings = EvaluationSettings(analogies=sets(QUESTIONS), pairs={"men": sets("a\tb\t1\n", "men.txt")})
    metrics, evaluations = evaluate_vectors(vectors, settings)
    facts = changed(
        comparisons=[],
        evaluations=evaluations,
        runs=[dataclasses.replace(golden_facts().runs[0], metrics=metrics)],
        neighbours=nearest_words(vectors, ["king"]),
        analogies=solved_analogies(vectors, [(["king", "woman"], ["man"])]),
    )
    assert "| MEN, Spearman | men | no question with known words | 0 | 1 |" in render_card(facts)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_analogies, ": family\nman woman king\n", r"set\.txt:2: an analogy has 4 words, got 'man woman king'"),
        (read_analogies, "man woman king queen\n: family king\na b, c\n", r"set\.txt:3"),
        (read_analogies, ": family\n", "holds no analogies"),
        (read_pairs, "a\tb\t1\nc\td\n", r"set\.txt:2: a row has two words and a number, got 'c\\td'"),
        (read_pairs, "a\tb\thigh\nc\td\tlow\n", r"set\.txt:2"),
        (read_pairs, "a\tb\n", "holds no word pairs"),
    ],
)
def test_files_of_another_form_are_refused_with_their_line(read, text, message, sets):
    with pytest.raises(ValueError, match=message):
        read(sets(text))


def test_settings_are_checked_before_the_training(sets):
    path = sets("a\tb\t1\n")
    with pytest.raises(ValueError, match=r"evaluation\.analogies='nowhere' is no file"):
        EvaluationSettings(analogies="nowhere")
    with pytest.raises(ValueError, match=r"evaluation\.pairs\.men='nowhere' is no file"):
        EvaluationSettings(pairs={"men": "nowhere"})
    with pytest.raises(ValueError, match="leaves no word"):
        EvaluationSettings(restrict_vocab=0)
    with pytest.raises(ValueError, match=r"uses the names \['analogy_accuracy'\]"):
        EvaluationSettings(pairs={"analogy_accuracy": path})


def test_neighbours_are_nearest_first_and_unknown_words_are_left_out(vectors):
    [found] = nearest_words(vectors, ["king", "unheard"], limit=2)
    assert (found.word, [each.word for each in found.nearest]) == ("king", ["man", "queen"])
    assert_same(found.nearest[0].cosine, vectors.similarity("king", "man"), 1e-4)  # written with four digits
    [solved] = solved_analogies(vectors, [(["king", "woman"], ["man"]), (["unheard"], [])], limit=1)
    assert (solved.positive, solved.negative, solved.nearest[0].word) == (["king", "woman"], ["man"], "queen")


@pytest.mark.data
def test_the_published_sets_are_read_whole(data_folder):
    folder = data_folder / "word_eval"
    sections = read_analogies(folder / "questions-words.txt.gz")
    syntactic = sum(len(each.rows) for each in sections if each.name.startswith("gram"))
    assert (sum(len(each.rows) for each in sections), syntactic, len(sections)) == (19_544, 10_675, 14)
    sizes = {path.name: len(read_pairs(path)) for path in folder.glob("EN-*.txt")}
    assert (sizes["EN-WS-353-ALL.txt"], sizes["EN-SIMLEX-999.txt"]) == (353, 999)
    assert (sizes["EN-MEN-TR-3k.txt"], sizes["EN-RW-STANFORD.txt"], len(sizes)) == (3_000, 2_034, 13)
    assert sorted(read_pairs(folder / "gensim_simlex999.txt")) == sorted(read_pairs(folder / "EN-SIMLEX-999.txt"))


@pytest.mark.data
def test_scores_are_those_of_gensim(data_folder):
    gensim = pytest.importorskip("gensim.models")
    folder = data_folder / "word_eval"
    words = sorted({word for row in read_analogies(folder / "questions-words.txt.gz")[0].rows for word in row})
    words += sorted({word.lower() for row in read_pairs(folder / "gensim_wordsim353.tsv")[:200] for word in row[:2]})
    words = list(dict.fromkeys(words))
    matrix = np.random.default_rng(0).normal(size=(len(words), 3)).astype(np.float32)
    theirs = gensim.KeyedVectors(3)
    theirs.add_vectors(words, matrix)
    settings = EvaluationSettings(
        analogies=str(folder / "questions-words.txt.gz"), pairs={"wordsim353": str(folder / "gensim_wordsim353.tsv")}
    )
    metrics, asked = evaluate_vectors(KeyedVectors.from_vectors(words, matrix), settings)
    accuracy, sections = theirs.evaluate_word_analogies(settings.analogies, restrict_vocab=settings.restrict_vocab)
    _, spearman, unknown = theirs.evaluate_word_pairs(settings.pairs["wordsim353"])
    assert metrics["analogy_accuracy"] == accuracy > 0
    assert asked["analogy_accuracy"].used == len(sections[-1]["correct"]) + len(sections[-1]["incorrect"])
    assert_same(metrics["wordsim353"], spearman[0])
    assert asked["wordsim353"].skipped == round(unknown * 353 / 100) > 0
