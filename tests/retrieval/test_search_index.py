"""The nearest rows by cosine: against all cosines in float64, saved and loaded, and what is refused."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hfseq import SearchIndex
from hfseq.models.artifacts import UnsafeArtifactError
from tests.closeness import assert_same

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.standard_normal((5000, 24)).astype(np.float32) * RANDOM.uniform(0.1, 10, (5000, 1)).astype(np.float32)
QUERIES = RANDOM.standard_normal((150, 24)).astype(np.float32)  # more than one block of them
KEYS = ["a", "b", "c"]
LIBRARIES = pytest.mark.parametrize("backend", ["hnswlib", "faiss"])


def all_cosines(rows, queries):
    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    return queries @ rows.T / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(rows, axis=1)


@pytest.mark.parametrize("k", [1, 10, 400])
def test_the_rows_of_highest_cosine_are_found(k):
    cosines = all_cosines(ROWS, QUERIES)
    places, found = SearchIndex(ROWS).search(QUERIES, k)
    assert np.shape(places) == found.shape == (150, k)
    assert_same(found, -np.sort(-cosines, axis=1)[:, :k])
    assert_same(found, np.take_along_axis(cosines, np.array(places), axis=1))
    assert all(len(set(line)) == k for line in places)


def test_one_query_is_answered_as_among_many():
    index = SearchIndex(ROWS, keys=range(10, 5010))
    keys, cosines = index.search(QUERIES, 7)
    one, scores = index.search(QUERIES[3], 7)
    assert one == keys[3] and all(isinstance(key, int) for key in one)
    assert_same(scores, cosines[3])
    assert index.search(QUERIES[3:4], 7)[0] == [one]
    assert index.search(QUERIES[3].astype(np.float64) * 1e60, 7)[0] == one
    assert index.search(QUERIES[:0], 7)[0] == []


def test_all_rows_come_where_there_are_fewer_than_asked_for():
    index = SearchIndex(np.eye(3), keys=KEYS)
    keys, cosines = index.search([1.0, 3.0, 2.0], 10)
    assert keys == ["b", "c", "a"]
    assert_same(cosines, np.array([3, 2, 1]) / np.sqrt(14))
    assert index.search(np.ones((2, 3)), 2)[1].shape == (2, 2)


@pytest.mark.parametrize("many", [False, True])
def test_of_equal_cosines_the_earlier_row_comes_first(many):
    index = SearchIndex(np.tile([[1.0, 2.0], [2.0, 1.0]], (40, 1)))
    query = np.array([1.0, 2.0])
    places = index.search(np.stack([query] * 3), 5)[0][1] if many else index.search(query, 5)[0]
    assert places == [0, 2, 4, 6, 8]


def test_zeros_have_the_cosine_0_with_everything():
    index = SearchIndex([[0, 0], [1, 0], [-1, 0]])
    for query in ([2.0, 0.0], np.array([[2.0, 0.0]] * 2)):
        places, cosines = index.search(query, 3)
        assert_same(cosines, np.broadcast_to([1, 0, -1], np.shape(cosines)))
        assert np.reshape(places, (-1, 3)).tolist()[-1] == [1, 0, 2]
    assert not index.search([0.0, 0.0], 3)[1].any()


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1e30])
def test_vectors_of_any_length_are_compared_by_their_direction(scale):
    rows = (ROWS[:50].astype(np.float64) * scale).astype(np.float32)
    _, cosines = SearchIndex(rows).search(rows, 1)
    assert_same(cosines, 1.0, 0.02 if scale == 1e-40 else 1e-5)  # where float32 has few digits left


def test_the_index_keeps_its_own_copy():
    rows = ROWS[:10].copy()
    index = SearchIndex(rows)
    rows[:] = 0
    assert_same(index.search(ROWS[4], 1)[1], [1.0])
    unit = index.vectors.copy()
    second = SearchIndex(unit)
    unit[:] = 0
    assert second.vectors.any()
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0] = 1


def test_rows_are_added_at_the_end():
    index = SearchIndex(ROWS[:100], keys=[f"row {n}" for n in range(100)])
    index.add(ROWS[100:], keys=[f"row {n}" for n in range(100, 5000)])
    assert len(index) == 5000 and repr(index) == "SearchIndex(5,000 x 24, backend='exact')"
    whole = SearchIndex(ROWS, keys=[f"row {n}" for n in range(5000)])
    found, expected = index.search(QUERIES, 5), whole.search(QUERIES, 5)
    assert found[0] == expected[0]
    assert_same(found[1], expected[1])
    index.add(ROWS[:0], keys=[])
    assert len(index) == 5000


@pytest.mark.parametrize("keys", [None, ["ä\n", "", "\ud800"], [2**70, -1, 0]])
def test_what_is_saved_is_loaded_to_the_bit(tmp_path, keys):
    index = SearchIndex(ROWS[:3], keys=keys)
    index.save(tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {"index.safetensors", "index.json"}
    loaded = SearchIndex.load(tmp_path / "new" / "folder")
    assert loaded.vectors.tobytes() == index.vectors.tobytes()
    assert loaded.keys == keys and loaded.search(QUERIES[0], 2)[0] == index.search(QUERIES[0], 2)[0]
    loaded.add(ROWS[3:4], keys=None if keys is None else ["new"])
    loaded.save(tmp_path / "new" / "folder")
    assert len(SearchIndex.load(tmp_path / "new" / "folder")) == 4


def change_keys(folder, **changes):
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def change_vectors(folder, vectors, name="vectors"):
    save_file({name: vectors}, folder / "index.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "index.json").unlink(), "index.json is missing"),
        (lambda folder: (folder / "index.safetensors").unlink(), "index.safetensors is missing: an index is the two"),
        (lambda folder: (folder / "index.json").write_text("[1", encoding="utf-8"), "is not JSON"),
        (lambda folder: (folder / "index.safetensors").write_bytes(b"\x80\x04pickle"), "is not a safetensors file"),
        (lambda folder: change_keys(folder, format="x" * 500), "has the format 'x{59}. Save it again"),
        (lambda folder: change_keys(folder, rows=2), "has 3 rows, index.json tells of 2"),
        (lambda folder: change_keys(folder, keys=["a"]), "are not one string or whole number for each of 3 rows"),
        (lambda folder: change_keys(folder, keys=["a", "b", 1.5]), "are not one string or whole number"),
        (lambda folder: change_keys(folder, keys="abc"), "are not one string or whole number"),
        (lambda folder: change_vectors(folder, np.eye(3)), "no matrix of float32 named vectors"),
        (lambda folder: change_vectors(folder, np.zeros((3, 0), np.float32)), "no matrix of float32"),
        (lambda folder: change_vectors(folder, np.eye(3, dtype=np.float32), "rows"), "no matrix of float32"),
        (lambda folder: change_vectors(folder, 2 * np.eye(3, dtype=np.float32)), "are not of length 1"),
        (lambda folder: change_vectors(folder, np.full((3, 2), np.nan, np.float32)), "are not of length 1"),
    ],
)
def test_spoilt_files_are_refused(tmp_path, spoil, message):
    SearchIndex(np.eye(3), keys=KEYS).save(tmp_path)
    assert list(load_file(tmp_path / "index.safetensors")) == ["vectors"]
    spoil(tmp_path)
    with pytest.raises(UnsafeArtifactError, match=message):
        SearchIndex.load(tmp_path)


@pytest.mark.parametrize(
    ("vectors", "options", "error", "message"),
    [
        (np.zeros((0, 3)), {}, ValueError, r"vectors are of shape \(0, 3\): an index needs one row and one column"),
        (np.zeros((3, 0)), {}, ValueError, r"shape \(3, 0\)"),
        (np.ones(3), {}, ValueError, r"vectors must be a matrix of numbers, .* got float64 of shape \(3,\)"),
        ([["a"]], {}, ValueError, "must be a matrix of numbers"),
        ([[1.0, 0.0], [np.nan, 1.0]], {}, ValueError, r"row 1 of vectors \(1 of 2\) holds NaN or infinite"),
        ([[np.inf, 1.0]], {}, ValueError, "row 0 of vectors"),
        (np.eye(3), {"keys": ["a", "b"]}, ValueError, "3 vectors need as many keys, got 2"),
        (np.eye(3), {"keys": "abc"}, TypeError, "keys is the string 'abc'; give a list"),
        (np.eye(3), {"keys": ["a", "b", 1.5]}, TypeError, "keys holds 1.5: a key is a string or a whole number"),
        (np.eye(3), {"keys": [True, False, 1]}, TypeError, "keys holds True"),
        (np.eye(3), {"backend": "anoy"}, ValueError, "unknown backend 'anoy'"),
    ],
)
def test_what_makes_no_index_is_refused(vectors, options, error, message):
    with pytest.raises(error, match=message):
        SearchIndex(vectors, **options)


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        (np.ones(3), 0, "k=0 must be a whole number from 1 up"),
        (np.ones(3), 2.0, "k=2.0 must be"),
        (np.ones(4), 1, "queries have 4 numbers each, the rows of this index have 3: take vectors of the same model"),
        (np.ones((1, 1, 3)), 1, "queries must be a matrix of numbers"),
        (np.full(3, np.nan), 1, r"row 0 of queries \(1 of 1\) holds NaN"),
    ],
)
def test_wrong_queries_are_refused(queries, k, message):
    with pytest.raises(ValueError, match=message):
        SearchIndex(np.eye(3)).search(queries, k)


@pytest.mark.parametrize(
    ("vectors", "keys", "message"),
    [
        (np.ones((1, 4)), ["d"], "vectors have 4 numbers each, the rows of this index 3"),
        (np.ones((1, 3)), None, "This index has keys: give a key for each row"),
        (np.ones((2, 3)), ["d"], "2 vectors need as many keys, got 1"),
        (np.full((1, 3), np.inf), ["d"], "holds NaN or infinite"),
    ],
)
def test_what_cannot_be_added_leaves_the_index_as_it_is(vectors, keys, message):
    index = SearchIndex(np.eye(3), keys=KEYS)
    with pytest.raises(ValueError, match=message):
        index.add(vectors, keys)
    assert len(index) == 3 and index.keys == KEYS
    with pytest.raises(ValueError, match="This index has no keys: leave keys out"):
        SearchIndex(np.eye(3)).add(np.eye(3), KEYS)


# Approximate search


@LIBRARIES
def test_an_approximate_search_finds_nearly_all_of_the_exact_one(backend, tmp_path):
    pytest.importorskip(backend)
    keys = [f"row {number}" for number in range(5000)]
    exact, index = SearchIndex(ROWS, keys), SearchIndex(ROWS[:4000], keys[:4000], backend=backend)
    index.add(ROWS[4000:], keys[4000:])
    index.save(tmp_path)
    for searched in (index, SearchIndex.load(tmp_path, backend=backend)):
        found, cosines = searched.search(QUERIES, 10)
        expected, best = exact.search(QUERIES, 10)
        shared = sum(len({*one} & {*other}) for one, other in zip(found, expected, strict=True))
        assert shared / 1500 > 0.9
        assert_same(cosines[:, 0].mean(), best[:, 0].mean(), 0.02)
    assert searched.search(QUERIES[0], 3)[0] == searched.search(QUERIES, 3)[0][0]
    assert len(SearchIndex(np.eye(3), backend=backend).search(np.ones(3), 5)[0]) == 3


@LIBRARIES
def test_a_library_that_is_not_installed_is_named_with_the_line_that_installs_it(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, backend, None)
    line = {"hnswlib": "pip install hnswlib", "faiss": "pip install faiss-cpu"}[backend]
    with pytest.raises(ImportError, match=f"backend='{backend}' needs that library: {line}"):
        SearchIndex(ROWS[:3], backend=backend)
