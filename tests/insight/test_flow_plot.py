"""The picture of the gradient flow."""

import pytest
import torch

import hfseq
from hfseq import plots
from tests.closeness import assert_same


def flow(steps=9, **fields):
    torch.manual_seed(0)
    model = hfseq.LSTMForSequenceClassification(hfseq.LSTMConfig(vocab_size=20, hidden_size=8, **fields))
    return hfseq.gradient_flow(model, {"input_ids": torch.randint(1, 20, (2, steps)), "labels": torch.tensor([0, 1])})


def lines(figure):
    (axes,) = figure.axes
    return {line.get_gid(): line for line in axes.lines if line.get_gid()}


def test_each_layer_is_a_curve_of_shares_on_a_scale_of_powers(tmp_path):
    found = flow(bidirectional=True, num_hidden_layers=2)
    figure = plots.gradient_flow(found, path=tmp_path / "flow.png", title="a $title")
    assert (tmp_path / "flow.png").stat().st_size > 5000
    drawn = lines(figure)
    assert list(drawn) == [f"layer {layer.layer}, {layer.direction}" for layer in found.layers]
    for line, layer in zip(drawn.values(), found.layers, strict=True):
        assert_same(line.get_ydata(), layer.share)
        assert list(line.get_xdata()) == list(range(9))
    assert figure.axes[0].get_yscale() == "log"


def test_several_flows_stand_in_one_picture_under_their_names(tmp_path):
    figure = plots.gradient_flow({"one": flow(), "two": flow(bidirectional=True)}, path=tmp_path / "flows.svg")
    assert list(lines(figure)) == ["one", "two, layer 0, forward", "two, layer 0, backward"]
    assert "<svg" in (tmp_path / "flows.svg").read_text(encoding="utf-8")


def test_what_cannot_be_drawn_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="There is no curve to draw"):
        plots.gradient_flow(flow(steps=1))
    with pytest.raises(ValueError, match="must end in one of"):
        plots.gradient_flow(flow(), path=tmp_path / "flow.txt")
