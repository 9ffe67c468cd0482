"""Queries on word vectors: by hand on toys, and against gensim, on matrices with every kind of tie."""

import copy
import sys
from types import ModuleType

import numpy as np
import pytest
from scipy.optimize import linprog

from hfseq.models.words.vectors import KeyedVectors
from tests.closeness import assert_same
from tests.rounds import for_each

WORDS = ["east", "north", "northeast", "west", "far_east"]
TOY = np.array([[1, 0], [0, 1], [1, 1], [-1, 0], [5, 0]], dtype=np.float32)
ROOT = np.sqrt(0.5)


@pytest.fixture
def toy():
    return KeyedVectors.from_vectors(WORDS, TOY.copy(), counts=np.array([3, 9, 4, 9, 1]))


def emd2(first, second, costs):
    """Optimal transport as a linear program, in POT's place."""
    rows, columns = costs.shape
    flow = np.arange(rows * columns).reshape(rows, columns)
    limits = np.zeros((rows + columns, rows * columns))
    for row in range(rows):
        limits[row, flow[row]] = 1
    for column in range(columns):
        limits[rows + column, flow[:, column]] = 1
    return linprog(costs.ravel(), A_eq=limits, b_eq=np.concatenate((first, second))).fun


@pytest.fixture
def transport(monkeypatch):
    module = ModuleType("ot")
    module.emd2 = emd2
    monkeypatch.setitem(sys.modules, "ot", module)


# Toys


def test_neighbours_are_sorted_by_cosine_and_leave_the_question_out(toy):
    assert toy.most_similar("east", topn=3) == [
        ("far_east", pytest.approx(1)),
        ("northeast", pytest.approx(ROOT)),
        ("north", pytest.approx(0)),
    ]
    assert toy.most_similar(["north", ("east", 3.0)], topn=1)[0][0] == "far_east"
    assert toy.most_similar("north", "west", topn=1) == [("northeast", pytest.approx(1))]


def test_products_of_cosines(toy):
    scores = toy.most_similar_cosmul(positive=["north"], negative=["west"], topn=None)
    expected = [0.5 / 1e-6, 1 / (0.5 + 1e-6), (1 + ROOT) / 2 / ((1 - ROOT) / 2 + 1e-6), 0.5 / (1 + 1e-6), 0.5 / 1e-6]
    assert_same(scores, expected, 1e-4)
    found = toy.most_similar_cosmul("north", topn=9, restrict_vocab=2)
    assert [word for word, _ in found] == ["east"]


def test_a_row_of_zeros_comes_last_and_stays_zeros(toy):
    toy["nothing"] = np.zeros(2)
    assert toy.most_similar("east", topn=9)[-1][0] == "nothing"
    assert not toy.get_normed_vectors()[-1].any() and not toy.get_vector("nothing", norm=True).any()
    toy.unit_normalize_all()
    assert_same(np.linalg.norm(toy.vectors, axis=1), [1, 1, 1, 1, 1, 0])


def test_changed_vectors_change_answers(toy):
    assert toy.most_similar("north", topn=1)[0][0] == "northeast"
    toy["west"] = np.array([0.1, 5])
    assert toy.most_similar("north", topn=1)[0][0] == "west"
    toy.add_vectors(["pole"], [[0, 7]])
    assert toy.most_similar("north", topn=1)[0][0] == "pole"
    toy.vectors = -toy.vectors[:, ::-1]
    assert toy.get_vector("pole", norm=True) == pytest.approx([-1, 0])


def test_vectors_are_handed_out_read_only(toy):
    for vector in (toy["east"], toy.get_vector("east", norm=True)):
        with pytest.raises(ValueError, match="read-only"):
            vector[0] = 7
    toy.vectors[0, 0] = 2  # the matrix itself stays open to training
    toy.fill_norms(force=True)
    assert toy.norms[0] == 2


def test_keys_and_rows_agree_after_either_is_set(toy):
    toy.index_to_key = list("abcde")
    assert toy.key_to_index == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}
    toy.key_to_index = {"z": 4, "y": 0}
    assert toy.index_to_key == ["y", None, None, None, "z"] and toy.next_index == 1
    with pytest.raises(ValueError, match="'x' the row 0"):
        toy.key_to_index = {"y": 0, "x": 0}
    with pytest.raises(ValueError, match=r"\(keys, 2\), got \(5, 3\)"):
        toy.vectors = np.zeros((5, 3))


def test_a_key_given_twice_is_one_key(toy):
    toy.add_vectors(["up", "up"], [[1, 2], [3, 4]])
    assert len(toy) == 6 and toy["up"].tolist() == [1, 2]
    toy[["down", "down"]] = [[1, 2], [3, 4]]
    assert len(toy) == 7 and toy["down"].tolist() == [3, 4]
    with pytest.raises(ValueError, match=r"shape \(2, 2\), got \(2, 3\)"):
        toy.add_vectors(["a", "b"], np.zeros((2, 3)))


def test_extras_go_with_their_keys(toy):
    toy.add_vectors(["east", "up"], [[9, 9], [0, 2]], extras={"count": np.array([70, 80])})
    assert (toy.get_vecattr("east", "count"), toy.get_vecattr("up", "count")) == (3, 80)
    toy.add_vectors(["east"], [[9, 9]], extras={"count": np.array([70])}, replace=True)
    assert toy.get_vecattr("east", "count") == 70 and toy["east"].tolist() == [9, 9]
    toy.add_vectors("new", [1, 1])
    assert toy.get_vecattr("new", "count") == 0
    with pytest.raises(TypeError, match="'count' holds int64"):
        toy.set_vecattr("east", "count", 0.5)


def test_rows_set_aside_are_filled_one_by_one():
    table = KeyedVectors(2, 2)
    assert table.add_vector("a", [1, 2]) == 0 and table.add_vector("b", [3, 4]) == 1
    assert table.add_vector("a", [7, 7]) == 0 and table["a"].tolist() == [1, 2]
    with pytest.warns(UserWarning, match="copies all vectors"):
        assert table.add_vector("c", [5, 6]) == 2
    assert table.index_to_key == ["a", "b", "c"] and table["c"].tolist() == [5, 6]


def test_words_from_subwords_join_every_query(toy):
    toy.subwords = lambda word: np.array([2, 2], dtype=np.float32) if word.startswith("north") else None
    assert "northern" in toy and not toy.has_index_for("northern") and "southern" not in toy
    assert toy["northern"].tolist() == [2, 2]
    assert toy.get_vector("northern", norm=True) == pytest.approx([ROOT, ROOT])
    assert toy.most_similar("northern", topn=1) == [("northeast", pytest.approx(1))]
    assert toy.most_similar_batch(["northern"], topn=1) == [[("northeast", pytest.approx(1))]]
    assert toy.most_similar_cosmul("northern", topn=1)[0][0] == "northeast"
    assert toy.similarity("northern", "west") == pytest.approx(-ROOT)
    assert toy.distances("east", ["northern"]) == pytest.approx([1 - ROOT])
    assert toy.closer_than("northern", "east") == ["northeast"] and toy.rank("east", "northern") == 2
    assert toy.doesnt_match(["northern", "northeast", "west"]) == "west"
    assert toy.vectors_for_all(["northern", "east"]).index_to_key == ["northern", "east"]
    assert toy.vectors_for_all(["northern", "east"], allow_inference=False).index_to_key == ["east"]
    for ask in (toy.get_vector, toy.most_similar, toy.get_index):
        with pytest.raises(KeyError, match="southern"):
            ask("southern")


def test_word_movers_distance_by_hand(toy, transport):
    assert toy.wmdistance(["east"], ["north", "nowhere"], norm=False) == pytest.approx(np.sqrt(2))
    half = toy.wmdistance(["east", "east", "west", "west"], ["west"], norm=False)
    assert half == pytest.approx(1)  # half of the words stay, half go the distance 2
    assert toy.wmdistance(["nowhere"], ["east"]) == float("inf")
    assert toy.wmdistance(["east", "east"], ["east"]) == 0
    assert toy.wmdistance(["east"], ["far_east"]) == float("inf")  # one point, once they have the same length


def test_word_movers_distance_says_what_it_needs(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r'pip install "hfseq\[wmd\]"'):
        toy.wmdistance(["east"], ["west"])


def test_plot_hands_the_words_on(toy, monkeypatch):
    module = ModuleType("hfseq.insight.plots")
    module.plot_words = lambda *args, **options: (args, options)
    monkeypatch.setitem(sys.modules, "hfseq.insight.plots", module)
    arguments, options = toy.plot(method="pca", title="compass")
    assert arguments == (toy, None)  # plot_words knows which words to draw
    assert options == {"method": "pca", "path": None, "title": "compass", "seed": 0}
    assert toy.plot({"winds": ["east"]})[0][1] == {"winds": ["east"]}
    monkeypatch.setitem(sys.modules, "hfseq.insight.plots", None)
    with pytest.raises(ImportError, match="needs the whole package: install hfseq"):
        toy.plot()


def test_rows_set_aside_are_not_drawn():
    table = KeyedVectors(2, 5)
    for key, vector in zip("abc", [[1, 2], [3, 1], [-1, 1]], strict=True):
        table.add_vector(key, vector)
    assert table.plot(method="pca").words == ("a", "b", "c")


def test_an_index_is_asked_instead(toy):
    class Index:
        def most_similar(self, vector, topn):
            return vector.tolist(), topn

    assert toy.most_similar("far_east", topn=2, indexer=Index()) == ([1.0, 0.0], 2)
    assert len(toy.most_similar("far_east", topn=None, indexer=Index())) == 5


# Against gensim


def matrices():
    generator = np.random.default_rng(0)
    random = generator.standard_normal((400, 12)).astype(np.float32)
    yield "random", random
    twins = random.copy()
    twins[200:] = twins[:200]
    yield "twins", twins
    yield "integers", generator.integers(-1, 2, (300, 4)).astype(np.float32) + np.float32(0.5)
    yield "one-hot", np.eye(12, dtype=np.float32)[generator.integers(0, 12, 300)]
    yield "few", random[:6]
    yield "large", generator.standard_normal((3000, 8)).astype(np.float32)
    zeros = random.copy()
    zeros[50] = 0
    yield "zeros", zeros


MATRICES = dict(matrices())
every_matrix = for_each("matrix", MATRICES)


@pytest.fixture(scope="module")
def pairs():
    """Ours and gensim's with the vectors of each matrix. Keys are words, but for the last, which is an integer."""
    pytest.importorskip("gensim")
    return {name: make_pair(matrix) for name, matrix in MATRICES.items()}


def make_pair(matrix):
    keys = [*(f"{'wW'[index % 2]}{index // 2}" for index in range(len(matrix) - 1)), 10**6]
    ours = KeyedVectors.from_vectors(keys, matrix, np.arange(len(matrix)) // 2)
    return ours, ours.to_gensim()


def outcome(table, ask):
    try:
        return ask(table)
    except Exception as error:
        return type(error)


def same(ours, theirs):
    if isinstance(theirs, list | tuple):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    elif isinstance(theirs, np.ndarray | np.floating | float):
        assert np.shape(ours) == np.shape(theirs)
        assert_same(ours, theirs, nan=True)
    else:
        assert ours == theirs


VECTOR = np.linspace(-1, 2, 12, dtype=np.float32)


def vector(table):
    return VECTOR[: table.vector_size]


QUESTIONS = {
    "one key": lambda t: t.most_similar("w1"),
    "all that is asked": lambda t: t.most_similar(["w1", "W2"], ["w0"], 5, 0, None, None),
    "positive and negative keys": lambda t: t.most_similar("w1", "w2"),
    "negative only": lambda t: t.most_similar(negative=["w1"]),
    "one vector": lambda t: t.most_similar(vector(t)),
    "vectors": lambda t: t.most_similar([vector(t), "w1"], [vector(t)[::-1].copy()]),
    "a matrix": lambda t: t.most_similar(t.vectors[:3]),
    "weights": lambda t: t.most_similar([("w1", 0.3), "w2"], [("W1", -2.0), (vector(t), 0.5)]),
    "weight zero": lambda t: t.most_similar([("w1", 0.0)]),
    "a row number": lambda t: t.most_similar(0),
    "a numpy row number": lambda t: t.most_similar([np.int64(2)]),
    "an integer key": lambda t: t.most_similar(10**6),
    "a key twice": lambda t: t.most_similar(["w1", "w1"], topn=2),
    "unknown": lambda t: t.most_similar(["w1", "unknown"]),
    "row number out of range": lambda t: t.most_similar(10**5),
    "nothing": lambda t: t.most_similar(),
    "an empty list": lambda t: t.most_similar([]),
    "a vector of wrong size": lambda t: t.most_similar(np.ones(3, np.float32)),
    "topn None": lambda t: t.most_similar("w1", topn=None),
    "topn 0": lambda t: t.most_similar("w1", topn=0),
    "topn False": lambda t: t.most_similar("w1", topn=False),
    "topn negative": lambda t: t.most_similar("unknown", topn=-3),
    "topn 1": lambda t: t.most_similar("w1", topn=1),
    "topn numpy": lambda t: t.most_similar("w1", topn=np.int32(3)),
    "topn all": lambda t: t.most_similar("w1", topn=10**4),
    "topn half": lambda t: t.most_similar("w1", topn=len(t) // 2),
    "clips": lambda t: t.most_similar("w1", topn=3, clip_start=2, clip_end=5),
    "clip end": lambda t: t.most_similar("w1", clip_end=4),
    "restricted": lambda t: t.most_similar("w1", topn=30, restrict_vocab=5),
    "restricted beyond the end": lambda t: t.most_similar("w1", restrict_vocab=10**6),
    "restricted over clips": lambda t: t.most_similar("w1", clip_start=3, restrict_vocab=4),
    "restricted numbers": lambda t: t.most_similar("w1", topn=None, restrict_vocab=5),
    "by word": lambda t: t.similar_by_word("w2", 4, 5),
    "by key": lambda t: t.similar_by_key(10**6, 4),
    "by vector": lambda t: t.similar_by_vector(vector(t), 4, 5),
    "by unknown word": lambda t: t.similar_by_word("unknown"),
    "cosmul": lambda t: t.most_similar_cosmul("w1"),
    "cosmul both": lambda t: t.most_similar_cosmul(["w1", "w2"], "W0", 7),
    "cosmul vector": lambda t: t.most_similar_cosmul([t.get_vector("w1", norm=True)], ["w2"]),
    "cosmul numbers": lambda t: t.most_similar_cosmul("w1", ["w2", "W2"], topn=None),
    "cosmul nothing": lambda t: t.most_similar_cosmul([]),
    "cosmul negative only": lambda t: t.most_similar_cosmul(negative=["w1"]),
    "cosmul unknown": lambda t: t.most_similar_cosmul("unknown"),
    "cosmul topn 0": lambda t: t.most_similar_cosmul("unknown", topn=0),
    "of those given": lambda t: t.most_similar_to_given("w1", ["w2", "W2", "w0"]),
    "of none given": lambda t: t.most_similar_to_given("w1", []),
    "closer": lambda t: t.closer_than("w1", "w2"),
    "closer than itself": lambda t: t.closer_than("w1", "w1"),
    "closer, row numbers": lambda t: t.closer_than(0, 1),
    "closer than unknown": lambda t: t.closer_than("w1", "unknown"),
    "rank": lambda t: t.rank("w1", "W2"),
    "rank of unknown": lambda t: t.rank("unknown", "w1"),
    "odd one": lambda t: t.doesnt_match(["w1", "w2", "W2", "W1"]),
    "odd one, unknown words": lambda t: t.doesnt_match(["w1", "unknown", "w2", "W0"]),
    "odd one of none": lambda t: t.doesnt_match([]),
    "odd one of unknown words": lambda t: t.doesnt_match(["unknown"]),
    "centrality": lambda t: t.rank_by_centrality(["w1", "w2", "W2"]),
    "centrality without norm": lambda t: t.rank_by_centrality(["w1", "w2", "W2"], use_norm=False),
    "similarity": lambda t: t.similarity("w1", "w2"),
    "similarity with itself": lambda t: t.similarity("w1", "w1"),
    "similarity of unknown": lambda t: t.similarity("w1", "unknown"),
    "similarity with zeros": lambda t: t.similarity("w25", "w1"),
    "lists": lambda t: t.n_similarity(["w1", "w2"], ["W1"]),
    "lists with unknown words": lambda t: t.n_similarity(["w1", "unknown"], ["W1"]),
    "lists of unknown words": lambda t: t.n_similarity(["unknown"], ["W1"]),
    "an empty list of words": lambda t: t.n_similarity(["w1"], []),
    "distance": lambda t: t.distance("w1", "w2"),
    "distances": lambda t: t.distances("w1"),
    "distances to some": lambda t: t.distances("w1", ["w2", "w0"]),
    "distances to None": lambda t: t.distances("w1", None),
    "distances of a vector": lambda t: t.distances(vector(t), ("w2",)),
    "distances of unknown": lambda t: t.distances("unknown"),
    "distances to unknown": lambda t: t.distances("w1", ["unknown"]),
    "cosines": lambda t: t.cosine_similarities(vector(t), t.vectors[:4]),
    "relative": lambda t: t.relative_cosine_similarity("w1", "w2", 3),
    "relative to none": lambda t: t.relative_cosine_similarity("w1", "w2", 0),
    "vector": lambda t: t.get_vector("w1"),
    "unit vector": lambda t: t.get_vector("w1", norm=True),
    "vector of unknown": lambda t: t.get_vector("unknown"),
    "item": lambda t: t["w1"],
    "items": lambda t: t[["w1", 10**6, 0]],
    "item by number": lambda t: t[3],
    "items of nothing": lambda t: t[[]],
    "item unknown": lambda t: t["unknown"],
    "items unknown": lambda t: t[["w1", "unknown"]],
    "mean": lambda t: t.get_mean_vector(["w1", "w2", "unknown", vector(t)]),
    "mean, weights": lambda t: t.get_mean_vector(["w1", "w2"], [1, -3], False, True),
    "mean, negative weight": lambda t: t.get_mean_vector(["w1", "w2"], [3, -1]),
    "mean, array of weights": lambda t: t.get_mean_vector(["w1", "w2"], np.array([0.5, 2])),
    "mean, too few weights": lambda t: t.get_mean_vector(["w1", "w2"], [1]),
    "mean of unknown": lambda t: t.get_mean_vector(["w1", "unknown"], ignore_missing=False),
    "mean of unknown only": lambda t: t.get_mean_vector(["unknown"]),
    "mean of nothing": lambda t: t.get_mean_vector([]),
    "membership": lambda t: [key in t for key in ("w1", "unknown", 0, 10**6, -1, 10**5, np.int64(1))],
    "membership of a list": lambda t: ["w1"] in t,
    "rows": lambda t: [t.get_index(key, -7) for key in ("w1", "unknown", 0, 10**6, -1)],
    "row of unknown": lambda t: t.get_index("unknown"),
    "count": lambda t: t.get_vecattr("w1", "count"),
    "count of unknown": lambda t: t.get_vecattr("unknown", "count"),
    "unknown number": lambda t: t.get_vecattr("w1", "colour"),
    "length": len,
    "text": str,
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@every_matrix
@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_answers_and_errors_are_gensims(pairs, ask, matrix):
    ours, theirs = (outcome(table, ask) for table in pairs[matrix])
    if isinstance(theirs, type):
        assert isinstance(ours, type) and issubclass(ours, theirs)
    else:
        same(ours, theirs)


def norms(table):
    table.fill_norms()
    return table.norms


def grow(table, count):
    table.index_to_key = [*table.index_to_key, *(f"new{index}" for index in range(count))]
    table.key_to_index = {key: index for index, key in enumerate(table.index_to_key)}
    table.resize_vectors(seed=3)


CHANGES = {
    "add": lambda t: t.add_vectors(["new", "w1"], [np.ones(t.vector_size), np.ones(t.vector_size)]),
    "add one": lambda t: t.add_vectors("new", np.ones(t.vector_size)),
    "replace": lambda t: t.add_vectors(["new", "w1"], np.ones((2, t.vector_size)), None, True),
    "set": lambda t: t.__setitem__("w1", np.ones(t.vector_size)),
    "set several": lambda t: t.__setitem__(["w1", "new"], np.ones((2, t.vector_size))),
    "set a number": lambda t: t.__setitem__(0, np.ones(t.vector_size)),
    "normalize": lambda t: t.unit_normalize_all(),
    "sort": lambda t: t.sort_by_descending_frequency(),
    "grow": lambda t: grow(t, 5),
    "attribute": lambda t: t.set_vecattr("w1", "colour", "red"),
    "wrong attribute": lambda t: t.set_vecattr("w1", "count", "red"),
    "allocate": lambda t: t.allocate_vecattrs(["weight", "number"], [np.float32, int]),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@every_matrix
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_gensims(pairs, change, matrix):
    ours, theirs = copy.deepcopy(pairs[matrix])
    results = outcome(ours, change), outcome(theirs, change)
    assert results[0] == results[1]
    assert ours.index_to_key == theirs.index_to_key and ours.key_to_index == theirs.key_to_index
    known = np.isfinite(theirs.vectors)  # gensim makes NaN of zeros
    assert_same(ours.vectors[known], theirs.vectors[known])
    assert ours.expandos.keys() == theirs.expandos.keys()
    for name, values in theirs.expandos.items():
        assert ours.expandos[name].dtype == values.dtype
        assert ours.expandos[name][: len(values)].tolist() == values.tolist()
    theirs.norms = None  # gensim keeps old ones
    same(ours.most_similar("w1", topn=5), theirs.most_similar("w1", topn=5))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@every_matrix
def test_normed_vectors_are_gensims(pairs, matrix):
    ours, theirs = pairs[matrix]
    same(norms(ours), norms(theirs))
    same(ours.get_normed_vectors(), np.nan_to_num(theirs.get_normed_vectors()))


@every_matrix
@for_each("options", [{}, {"copy_vecattrs": True}, {"allow_inference": False}])
def test_a_part_of_the_table_is_gensims(pairs, options, matrix):
    ours, theirs = (table.vectors_for_all(["w2", "unknown", "w1", "w2"], **options) for table in pairs[matrix])
    assert ours.index_to_key == theirs.index_to_key == ["w2", "w1"]
    assert ours.expandos["count"].tolist() == theirs.expandos["count"].tolist()
    same(ours.vectors, theirs.vectors)
    assert len(pairs[matrix][0].vectors_for_all([])) == 0


@every_matrix
@pytest.mark.parametrize(
    "documents",
    [
        (["w0", "w1", "w1"], ["W2", "w1", "unknown"]),
        (["w0", "W1"], ["w0", "W1"]),
        (["w0"], ["w0"]),
        (["w0"], []),
    ],
)
def test_word_movers_distance_is_gensims(pairs, documents, matrix, transport):
    for norm in (True, False):
        ours, theirs = (table.wmdistance(*documents, norm=norm) for table in pairs[matrix])
        assert_same(ours, theirs, nan=True)


@every_matrix
def test_to_gensim_and_back(pairs, matrix):
    ours, theirs = pairs[matrix]
    back = KeyedVectors.from_gensim(theirs)
    assert (
        back.index_to_key == ours.index_to_key and back.expandos["count"].tolist() == ours.expandos["count"].tolist()
    )
    assert (back.vectors == ours.vectors).all() and not np.shares_memory(back.vectors, theirs.vectors)


def test_subwords_answer_as_gensims_fasttext():
    models = pytest.importorskip("gensim.models")
    texts = [["graph", "trees", "minors"], ["human", "interface", "computer"], ["graph", "system", "human"]] * 3
    theirs = models.FastText(texts, vector_size=8, min_count=1, bucket=50, seed=1, workers=1).wv
    ours = KeyedVectors.from_gensim(theirs)
    ours.subwords = theirs.get_vector
    for ask in (
        lambda t: t.most_similar("graphs"),
        lambda t: t.most_similar(["graphs", "human"], ["trees"], topn=3),
        lambda t: t.similarity("graphs", "humans"),
        lambda t: t.distances("graphs"),
        lambda t: t.doesnt_match(["graphs", "tree", "computers"]),
        lambda t: t.n_similarity(["graphs"], ["humans", "trees"]),
        lambda t: t.get_vector("graphs", norm=True),
        lambda t: ["graphs" in t, t.has_index_for("graphs")],
        lambda t: t.vectors_for_all(["graphs", "human"]).vectors,
    ):
        same(ask(ours), ask(theirs))
