"""Pictures of gates and of influence: they show the numbers of the model, and pages ask nobody for anything."""

import html
import re

import numpy as np
import pytest
import torch

import hfseq
from hfseq import plots
from tests.closeness import assert_same
from tests.rounds import for_each

TEXT = "Mohan is nice. <Tapas> is evil."
TOKENIZER = hfseq.train_tokenizer([TEXT], min_frequency=1)
INPUTS = TOKENIZER(TEXT, return_tensors="pt")
TOKENS = TOKENIZER.convert_ids_to_tokens(INPUTS["input_ids"][0].tolist())


def make(model_class, config_class, **options):
    torch.manual_seed(0)
    return model_class(config_class(vocab_size=len(TOKENIZER), hidden_size=5, initializer_range=1.0, **options)).eval()


LSTM = make(hfseq.LSTMForSequenceClassification, hfseq.LSTMConfig, num_hidden_layers=2, bidirectional=True)
RNN = make(hfseq.RNNModel, hfseq.RNNConfig)
with torch.no_grad():
    GATES = LSTM(**INPUTS, output_gates=True).gates
VALUES = [{name: value[0].numpy() for name, value in each.items()} for each in GATES]


def shown(figure):
    """The matrices of the maps, from left to right."""
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_a_row_is_the_mean_of_a_gate():
    figure = plots.gates(LSTM, TOKENIZER, TEXT)
    (matrix,) = shown(figure)
    assert_same(matrix, np.stack([np.abs(value).mean(1) for value in VALUES[2].values()]))
    axes = figure.axes[0]
    assert labels(axes.yaxis) == ["i", "f", "g", "o", "h", "c"] and labels(axes.xaxis) == TOKENS
    assert figure.get_suptitle() == TEXT
    assert axes.images[0].get_clim() == (0, 1)


@for_each("case", [({"layer": 0}, 0), ({"layer": 0, "backward": True}, 1), ({"layer": -1, "backward": True}, 3)])
def test_layers_and_directions_are_chosen(case):
    options, number = case
    forget, cell = shown(plots.gates(LSTM, TOKENIZER, TEXT, names=["f", "c"], units="all", **options))
    assert_same((forget, cell), (VALUES[number]["f"].T, VALUES[number]["c"].T))


def test_units_are_chosen_and_red_is_below_zero():
    figure = plots.gates(LSTM, TOKENIZER, TEXT, names="c", units=[3, -5], title="two units")
    (matrix,) = shown(figure)
    assert_same(matrix, VALUES[2]["c"].T[[3, 0]])
    assert labels(figure.axes[0].yaxis) == ["3", "0"] and figure.get_suptitle() == "two units"
    (image,) = figure.axes[0].images
    low, high = image.get_clim()
    assert low == -high and high >= np.abs(matrix).max()
    red, blue = image.to_rgba(np.array([low, high]))[:, :3]
    assert red[0] > red[2] and blue[2] > blue[0]


@for_each("suffix", ["png", "svg", "pdf"])
def test_files_are_drawn(suffix, tmp_path):
    plots.gates(LSTM, TOKENIZER, TEXT, path=tmp_path / f"gates.{suffix}")
    plots.influence(RNN, TOKENIZER, TEXT, path=tmp_path / f"influence.{suffix}")
    assert all((tmp_path / f"{name}.{suffix}").stat().st_size > 1000 for name in ("gates", "influence"))


def cells(page):
    """What each cell of a page says under the mouse, and its text."""
    cell = r'<td style="background: rgb\([\d, ]+\)"(?: class="dark")? data-tip="([^"]*)">([^<]*)</td>'
    return [tuple(map(html.unescape, pair)) for pair in re.findall(cell, page)]


def check_that_it_asks_for_nothing(page):
    assert not re.search(r"https?:|//\w|\bsrc=|href=|@import|url\(", page)
    assert "default-src 'none'" in page and "<Tapas" not in page


def test_a_page_of_gates_holds_every_value(tmp_path):
    path = tmp_path / "gates.html"
    assert plots.gates(LSTM, TOKENIZER, TEXT, path=path) is None
    page = path.read_text(encoding="utf-8")
    check_that_it_asks_for_nothing(page)
    means = {name: np.abs(value).mean(1) for name, value in VALUES[2].items()}
    expected = [
        (f"{name} · {token}\n{value:.2f}", f"{value:.2f}")
        for name, row in means.items()
        for token, value in zip(TOKENS, row.tolist(), strict=True)
    ]
    assert cells(page) == expected
    plots.gates(LSTM, TOKENIZER, TEXT, names=["f"], units="all", path=path)
    assert len(cells(path.read_text(encoding="utf-8"))) == 5 * len(TOKENS)


def test_bars_are_the_shares_of_each_model(tmp_path):
    models = {"RNN": (RNN, TOKENIZER), "LSTM": (LSTM, TOKENIZER)}
    figure = plots.influence(models, text=TEXT)
    expected = [hfseq.influence(model, TOKENIZER, TEXT).shares for model in (RNN, LSTM)]
    assert_same([[bar.get_height() / 100 for bar in axes.patches] for axes in figure.axes], expected)
    assert [axes.get_ylabel() for axes in figure.axes] == ["RNN %", "LSTM %"]
    assert all(labels(axes.xaxis) == TOKENS for axes in figure.axes)
    assert plots.influence(models, text=TEXT, path=tmp_path / "both.html") is None
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    check_that_it_asks_for_nothing(page)
    assert [text for _, text in cells(page)] == [f"{share:.1%}" for shares in expected for share in shares]
    (bars,) = plots.influence(RNN, TOKENIZER, TEXT, position=1).axes
    expected = hfseq.influence(RNN, TOKENIZER, TEXT, position=1).shares
    assert_same([bar.get_height() / 100 for bar in bars.patches], expected)


LEARNED = {"num_attention_heads": 1, "position_embedding_type": "learned"}
TRANSFORMER = make(hfseq.TransformerModel, hfseq.TransformerConfig, **LEARNED)


@for_each(
    "case",
    [
        (TRANSFORMER, {}, TypeError, "TransformerModel has no gates"),
        (LSTM, {"layer": 2}, ValueError, "layer=2: this model has the layers 0 to 1"),
        (RNN, {"backward": True}, ValueError, "reads forward alone"),
        (LSTM, {"names": "z"}, ValueError, "There is no gate or state 'z': this cell has i, f, g, o, h, c"),
        (LSTM, {"names": []}, ValueError, "No gate or state was asked for"),
        (LSTM, {"units": [5]}, ValueError, "There is no unit 5: choose among the 5"),
        (LSTM, {"units": []}, ValueError, "No unit was asked for"),
        (LSTM, {"units": "median"}, ValueError, "units must be 'mean', 'all' or numbers, got 'median'"),
        (LSTM, {"path": "gates.gif"}, ValueError, "must end in one of .html, .png, .svg, .pdf"),
        (LSTM, {"text": [TEXT]}, TypeError, "text must be one string, got a list"),
    ],
)
def test_what_cannot_be_drawn_is_refused(case):
    model, options, error, message = case
    with pytest.raises(error, match=message):
        plots.gates(model, TOKENIZER, **{"text": TEXT, **options})


@for_each(
    "case",
    [
        ((RNN, TOKENIZER), {}, "There is no text to read"),
        (({"RNN": RNN},), {"text": TEXT}, "'RNN' must come as a pair"),
        (({"RNN": (RNN, TOKENIZER)}, TOKENIZER), {"text": TEXT}, "come with their tokenizers"),
        (({},), {"text": TEXT}, "come with their tokenizers"),
    ],
)
def test_models_that_cannot_be_compared_are_refused(case):
    arguments, options, message = case
    with pytest.raises(TypeError, match=message):
        plots.influence(*arguments, **options)
