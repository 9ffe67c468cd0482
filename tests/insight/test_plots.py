"""Pictures of word vectors: the map is right, and the files show it."""

import json
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from hfseq.insight.plots import plot_words, word_maps
from tests.closeness import assert_same
from tests.rounds import for_each

CLUSTERS = {
    "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
    "numbers": ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
}
WORDS = [word for words in CLUSTERS.values() for word in words]
ODD_WORDS = ["<script>alert(1)</script>", "\"&amp;'", "$\\frac$", "日本語", "नमस्ते", "مرحبا", "_nothing", "\U0001f600"]


class Vectors(dict):
    """As much of KeyedVectors as the pictures use."""

    @property
    def index_to_key(self):
        return list(self)


def around_two_points(words, spread=0.3, seed=0):
    """Days about one direction, all else about another; of any length, which must not matter."""
    rng = np.random.default_rng(seed)
    days, others = np.eye(2, 20)
    centre = {word: days if word in CLUSTERS["days"] else others for word in words}
    return Vectors({w: (centre[w] + spread * rng.normal(size=20) / 4) * rng.uniform(0.1, 9) for w in words})


VECTORS = around_two_points(WORDS)


class Page(HTMLParser):
    """The texts and the attributes of a page, by tag."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open, self.ids = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append(SimpleNamespace(tag=tag, attrs=dict(attrs), text=""))
        if tag not in ("meta", "circle"):
            self.open.append(self.found[-1])

    def handle_startendtag(self, tag, attrs):
        self.found.append(SimpleNamespace(tag=tag, attrs=dict(attrs), text=""))

    def handle_data(self, data):
        if self.open:
            self.open[-1].text += data

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def all(self, tag):
        return [node for node in self.found if node.tag == tag]


def nearest_drawn(word_map):
    distances = np.linalg.norm(word_map.coordinates[:, None] - word_map.coordinates[None], axis=-1)
    return (distances + np.diag(np.full(len(distances), np.inf))).argmin(1)


def ink(path):
    """Share of the pixels that are not white."""
    from matplotlib.image import imread

    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 500
    return float((pixels < 0.9).any(-1).mean())


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_days_and_numbers_fall_apart(method):
    word_map = plot_words(VECTORS, CLUSTERS, method=method)
    assert word_map.words == tuple(WORDS) and word_map.clusters == ("days",) * 7 + ("numbers",) * 10
    assert word_map.coordinates.shape == (17, 2)
    assert all(word_map.clusters[i] == word_map.clusters[j] for i, j in enumerate(nearest_drawn(word_map)))


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_the_same_seed_gives_the_same_map(method):
    one, other = (plot_words(VECTORS, WORDS, method=method, seed=3).coordinates for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_the_length_of_a_vector_does_not_matter():
    one = plot_words(VECTORS, WORDS, method="pca").coordinates
    scaled = Vectors({word: vector * (2 + i) for i, (word, vector) in enumerate(VECTORS.items())})
    assert_same(plot_words(scaled, WORDS, method="pca").coordinates, one, 1e-12)


def test_neighbours_are_those_of_the_vectors_with_their_cosines():
    word_map = plot_words(VECTORS, WORDS, method="pca")
    units = np.stack([VECTORS[word] / np.linalg.norm(VECTORS[word]) for word in WORDS])
    cosines = units @ units.T - 2 * np.eye(17)
    for row, near in zip(cosines, word_map.neighbours, strict=True):
        best = np.argsort(-row)[: word_maps.NEIGHBOURS]
        assert [word for word, _ in near] == [WORDS[i] for i in best]
        assert_same([cosine for _, cosine in near], row[best], 1e-12)


def test_without_words_the_most_frequent_are_drawn():
    many = around_two_points([f"word{i}" for i in range(150)] + [7, None], spread=2)
    word_map = plot_words(many, method="pca")
    assert word_map.words == tuple(f"word{i}" for i in range(100)) and set(word_map.clusters) == {None}
    assert plot_words(many, [7, "word1", "word2"], method="pca").words[0] == "7"


def test_three_words_are_enough():
    assert np.isfinite(plot_words(VECTORS, WORDS[5:8]).coordinates).all()


@pytest.mark.parametrize("clusters", [None, CLUSTERS])
def test_a_png_is_more_than_a_blank_page(tmp_path, clusters):
    blank, path = tmp_path / "blank.png", tmp_path / "words.png"
    plot_words(VECTORS, clusters, method="pca", path=path, title="Days and numbers")
    from matplotlib.figure import Figure

    Figure().savefig(blank, facecolor="white", dpi=160)
    assert ink(blank) == 0 and 0.005 < ink(path) < 0.2
    first = path.read_bytes()
    plot_words(VECTORS, clusters, method="pca", path=path, title="Days and numbers")
    assert path.read_bytes() == first


def test_svg_and_pdf(tmp_path):
    word_map = plot_words(VECTORS, WORDS, method="pca")
    word_map.save(tmp_path / "words.svg")
    word_map.save(tmp_path / "words.PDF")
    assert "<svg" in (tmp_path / "words.svg").read_text(encoding="utf-8")
    assert (tmp_path / "words.PDF").read_bytes().startswith(b"%PDF")


def test_drawing_leaves_the_state_of_matplotlib_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    was_there = "matplotlib.pyplot" in sys.modules
    plot_words(VECTORS, WORDS, method="pca", path=tmp_path / "words.png")
    assert dict(matplotlib.rcParams) == before and ("matplotlib.pyplot" in sys.modules) == was_there


def test_words_of_any_script_and_with_any_sign_are_drawn(tmp_path):
    vectors = around_two_points(ODD_WORDS + WORDS)
    with pytest.warns(UserWarning, match="save as .html") as warned:
        plot_words(
            vectors, {"_<odd> $\\frac$": ODD_WORDS, "days": CLUSTERS["days"]}, path=tmp_path / "w.png", title="$\\x"
        )
    assert len(warned) == 1 and ink(tmp_path / "w.png") > 0.005


def test_labels_do_not_cover_each_other_where_there_is_room():
    dots = np.random.default_rng(0).uniform(100, 400, size=(40, 2))
    sizes = np.tile((40.0, 10.0), (40, 1))
    centres = dots + word_maps._label_offsets(dots, sizes, np.array([0, 0, 500, 500]))
    shared = sizes[None] - np.abs(centres[:, None] - centres[None])
    covered = shared.clip(0).prod(-1) * (1 - np.eye(40))
    on_the_right = dots + (25, 0)
    naive = (sizes[None] - np.abs(on_the_right[:, None] - on_the_right[None])).clip(0).prod(-1) * (1 - np.eye(40))
    assert naive.sum() > 1000 and covered.sum() == 0
    edge = word_maps._label_offsets(np.array([[495.0, 250.0]]), sizes[:1], np.array([0, 0, 500, 500]))
    assert edge[0, 0] < 0, "a label at the right edge goes to the left"


def test_the_html_page_holds_every_word_and_asks_for_nothing(tmp_path):
    path = tmp_path / "words.html"
    clusters = {"<b>odd</b>": ODD_WORDS, "days": CLUSTERS["days"]}
    plot_words(around_two_points(ODD_WORDS + WORDS), clusters, path=path, title="</title>&")
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert not page.open, "a tag is left open"
    assert [node.text for node in page.all("text")] == [*ODD_WORDS, *CLUSTERS["days"]]
    assert [node.text for node in page.all("title")] == ["</title>&"]
    assert [node.text for node in page.all("li")] == list(clusters)
    assert len(page.all("script")) == 1 and "<b>" not in html
    assert not re.search(r"https?:|//\w|\bsrc=|href=|@import|url\(", html)
    words = [node for node in page.all("g") if node.attrs.get("class") == "word"]
    assert [node.attrs["data-cluster"] for node in words] == ["<b>odd</b>"] * len(ODD_WORDS) + ["days"] * 7
    places = [float(node.attrs[key][:-1]) for node in page.all("circle") for key in ("cx", "cy")]
    assert 0 < min(places) < 10 < 90 < max(places) < 100


def test_the_html_page_names_the_nearest_neighbours(tmp_path):
    word_map = plot_words(VECTORS, CLUSTERS, method="pca", path=tmp_path / "words.html")
    page = Page((tmp_path / "words.html").read_text(encoding="utf-8"))
    near = [json.loads(node.attrs["data-near"]) for node in page.all("g") if node.attrs.get("class") == "word"]
    assert [[(WORDS[i], c) for i, c in row] for row in near] == [
        [(word, round(cosine, 3)) for word, cosine in row] for row in word_map.neighbours
    ]


def test_each_cluster_has_a_colour_of_its_own_that_can_be_read_on_white():
    for count in (2, 10, 30):
        words = [f"word{i}" for i in range(3 * count)]
        clusters = {f"cluster {i}": words[3 * i : 3 * i + 3] for i in range(count)}
        colours = word_maps._legend(plot_words(around_two_points(words, spread=2), clusters, method="pca"))
        assert len(set(colours.values())) == count
        rgb = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours.values()])
        assert ((rgb @ (0.2126, 0.7152, 0.0722)) < 0.5).all()


@for_each(
    "words, options, message",
    [
        (["monday", "Sunday", "mond"], {}, r"'Sunday', 'mond' \(there is 'sunday'\): leave them out"),
        ([f"no{i}" for i in range(12)], {}, r"'no9' and 2 more: leave"),
        (["monday", "tuesday"], {}, "needs 3 words or more, got 2"),
        ([], {}, "needs 3 words or more, got 0"),
        ({"a": ["one", "two"], "b": ["two", "three"]}, {}, "but 'two' came twice"),
        (WORDS, {"method": "mds"}, "tsne, pca, umap; got 'mds'"),
        (WORDS, {"path": "words.gif"}, r"'words.gif' must end in one of .html, .png, .svg, .pdf"),
    ],
)
def test_bad_input_is_named(words, options, message):
    with pytest.raises(ValueError, match=message):
        plot_words(VECTORS, words, **options)


@pytest.mark.parametrize("words", ["monday", {"days": "monday"}])
def test_a_string_is_no_list_of_words(words):
    with pytest.raises(TypeError, match="got the string 'monday'"):
        plot_words(VECTORS, words)


def test_vectors_without_a_direction_are_named():
    for bad in (np.zeros(20), np.full(20, np.nan), np.full(20, np.inf)):
        with pytest.raises(ValueError, match="'two' are zero, NaN or infinite"):
            plot_words(Vectors(VECTORS | {"two": bad}), WORDS)
    same = Vectors({word: np.arange(3.0) * (i + 1) for i, word in enumerate(WORDS)})
    with pytest.raises(ValueError, match="point the same way"):
        plot_words(same, WORDS)


def test_missing_packages_are_named_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"pip install 'hfseq\[plots\]'"):
        plot_words(VECTORS, WORDS, path="words.png")
    with pytest.raises(ImportError, match="pip install umap-learn"):
        plot_words(VECTORS, WORDS, method="umap")
    plot_words(VECTORS, WORDS, path=tmp_path / "words.html")


def test_umap_is_asked_for_a_start_that_few_words_allow(monkeypatch):
    asked = []

    class UMAP:
        def __init__(self, **options):
            asked.append(options)

        def fit_transform(self, units):
            return units[:, :2].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    word_map = plot_words(VECTORS, CLUSTERS, method="umap", seed=4)
    assert asked == [{"n_neighbors": 8, "init": "pca", "random_state": 4, "n_jobs": 1}]
    assert word_map.coordinates.dtype == np.float64 and word_map.caption.startswith("UMAP of 17 word")


@pytest.mark.slow  # the package compiles for a minute
def test_umap():
    pytest.importorskip("umap")
    word_map = plot_words(VECTORS, CLUSTERS, method="umap")
    assert all(word_map.clusters[i] == word_map.clusters[j] for i, j in enumerate(nearest_drawn(word_map)))
    np.testing.assert_array_equal(plot_words(VECTORS, WORDS, method="umap").coordinates, word_map.coordinates)
    assert np.isfinite(plot_words(VECTORS, WORDS[:3], method="umap").coordinates).all()
