"""Pictures of attention: the maps are the weights, the labels are the tokens, and the files show both."""

import sys

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from hfseq import LSTMConfig, LSTMForSequenceClassification
from hfseq.insight import plots
from hfseq.insight.plots import attention_maps
from tests.closeness import assert_same
from tests.rounds import for_each

TOKENS = ["[CLS]", "the", "quick", "brown", "fox", "jumped", "[SEP]"]
PADDED = [*TOKENS[:4], "[PAD]", "[PAD]", "[PAD]"]
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])


def bert(implementation="eager"):
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=16,
        max_position_embeddings=16,
        initializer_range=0.8,  # so that attention is far from uniform
    )
    torch.manual_seed(0)
    model = BertModel._from_config(config, attn_implementation=implementation).eval()
    return model(torch.randint(1, 30, (2, 7)), MASK, output_attentions=True).attentions


@pytest.fixture(scope="module")
def attentions():
    return bert()


def panels(figure):
    """The matrices that the maps show: (layers, heads, T, S) as they lie in the picture."""
    rows = {}
    for axes in figure.axes:
        (image,) = axes.images
        rows.setdefault(axes.get_subplotspec().rowspan.start, []).append(np.asarray(image.get_array()))
    return np.array([rows[row] for row in sorted(rows)])


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def softmax(*shape, scale=3):
    return torch.softmax(scale * torch.randn(*shape, generator=torch.Generator().manual_seed(1)), -1)


def test_each_map_shows_the_weights_of_its_layer_and_head(attentions):
    figure = plots.attention(attentions, TOKENS)
    expected = torch.stack(attentions)[:, 0].detach().numpy()
    np.testing.assert_array_equal(panels(figure), expected)  # (3, 4, 7, 7)
    axes = np.array(figure.axes).reshape(3, 4)
    assert [panel.get_title() for panel in axes[0]] == ["head 0", "head 1", "head 2", "head 3"]
    assert [panel.get_ylabel() for panel in axes[:, 0]] == ["layer 0", "layer 1", "layer 2"]
    assert all(labels(panel.yaxis) == TOKENS for panel in axes[:, 0])
    assert all(labels(panel.xaxis) == TOKENS for panel in axes[-1])
    assert not any(labels(panel.xaxis) for panel in axes[:-1].flat)
    assert not any(labels(panel.yaxis) for panel in axes[:, 1:].flat)
    assert list(axes[2, 0].get_xticks()) == list(axes[2, 0].get_yticks()) == list(range(7))


def test_queries_go_down_keys_go_across_and_darker_is_more(tmp_path):
    weights = torch.zeros(4, 4)
    weights[0, 3], weights[1, 2] = 1.0, 0.5  # the first token looks at the last one
    figure = plots.attention(weights, list("abcd"), path=tmp_path / "one.png")
    pixels = imread(tmp_path / "one.png")[..., :3].mean(-1)
    (axes,) = figure.axes

    def brightness(query, key):
        x, y = axes.transData.transform((key, query))
        return pixels[len(pixels) - 1 - round(y), round(x)]

    shown = np.array([[brightness(query, key) for key in range(4)] for query in range(4)])
    assert shown[0, 3] < shown[1, 2] - 0.2 < shown.max() - 0.4
    assert (shown[weights.numpy() == 0] > 0.95).all()
    y = [axes.transData.transform((0, query))[1] for query in range(4)]
    assert y == sorted(y, reverse=True)
    assert axes.get_title() == axes.get_ylabel() == "", "a matrix does not tell its layer and head"


def test_all_maps_share_one_scale_that_the_colour_bar_shows(attentions):
    figure = plots.attention(attentions, TOKENS, layers=[0, 2])
    highest = torch.stack([attentions[0][0], attentions[2][0]]).max().item()
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0.0, highest)}
    (bar,) = [child for axes in figure.axes for child in axes.child_axes]
    assert bar.get_ylim() == (0.0, highest)


def test_the_colours_are_in_order_for_every_eye(attentions):
    from matplotlib import colormaps

    rgb = colormaps[plots.attention(attentions, TOKENS).axes[0].images[0].get_cmap().name](np.linspace(0, 1, 50))
    brightness = rgb[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(brightness) < 0).all() and brightness[0] > 0.95 and brightness[-1] < 0.25


def test_layers_heads_and_the_mean(attentions):
    every = torch.stack(attentions)[:, 0].detach().numpy()
    figure = plots.attention(attentions, TOKENS, layers=[-1, 0], heads=[2])
    np.testing.assert_array_equal(panels(figure), every[[2, 0]][:, [2]])
    assert [axes.get_ylabel() for axes in figure.axes] == ["layer 2", "layer 0"]
    assert figure.axes[0].get_title() == "head 2"
    figure = plots.attention(attentions, TOKENS, layers=1, heads="mean")
    assert_same(panels(figure), every[1].mean(0)[None, None])
    assert (figure.axes[0].get_ylabel(), figure.axes[0].get_title()) == ("layer 1", "mean of 4 heads")


@pytest.mark.parametrize("tokens", [PADDED, PADDED[:4]])
def test_padding_is_left_out(attentions, tokens):
    figure = plots.attention(attentions, tokens, row=1, attention_mask=MASK)
    np.testing.assert_array_equal(panels(figure), torch.stack(attentions)[:, 1, :, :4, :4].detach().numpy())
    assert labels(figure.axes[0].yaxis) == labels(figure.axes[-1].xaxis) == PADDED[:4]
    left = plots.attention(attentions, TOKENS, row=-1, attention_mask=MASK.flip(1), layers=0)
    np.testing.assert_array_equal(panels(left)[0], attentions[0][1, :, 3:, 3:].detach().numpy())
    assert labels(left.axes[0].yaxis) == TOKENS[3:]


def test_a_single_tensor_is_one_layer(attentions):
    layer = attentions[1].detach()
    for tensor, options in ((layer, {"row": 1}), (layer[1], {}), (layer[1].bfloat16(), {"heads": [0, 1, 2, 3]})):
        figure = plots.attention(tensor, TOKENS, **options)
        assert_same(panels(figure), layer[None, 1], 1e-2 if tensor.dtype != layer.dtype else 0)
        assert [axes.get_title() for axes in figure.axes] == ["head 0", "head 1", "head 2", "head 3"]
        assert figure.axes[0].get_ylabel() == "", "a tensor does not tell which layer it is"
    np.testing.assert_array_equal(panels(plots.attention(layer[1, 3], TOKENS))[0, 0], layer[1, 3])


def test_a_causal_model_looks_back_only():
    config = GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2)
    model = GPT2LMHeadModel._from_config(config, attn_implementation="eager").eval()
    outputs = model(torch.randint(3, 30, (1, 5)), output_attentions=True)
    shown = panels(plots.attention(outputs.attentions, ["Ġa", "Ġb", "$x$", "_y", "Ċ"]))
    assert_same(shown.sum(-1), 1)
    assert not np.triu(shown, 1).any() and (np.tril(shown).sum((-1, -2)) > 4.99).all()


def test_cross_attention_has_tokens_of_its_own_on_each_side():
    weights = (softmax(2, 3, 4, 6), softmax(2, 3, 4, 6))
    words, keys = ["das", "ist", "ein", "Haus"], ["this", "is", "a", "house", "[PAD]", "[PAD]"]
    figure = plots.attention(weights, words, key_tokens=keys)
    np.testing.assert_array_equal(panels(figure), torch.stack(weights)[:, 0])
    assert labels(figure.axes[0].yaxis) == words and labels(figure.axes[-1].xaxis) == keys
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    figure = plots.attention(weights, words, key_tokens=keys, row=1, attention_mask=mask)
    np.testing.assert_array_equal(panels(figure), torch.stack(weights)[:, 1, ..., :4])
    assert labels(figure.axes[0].yaxis) == words and labels(figure.axes[-1].xaxis) == keys[:4]


def test_attention_pooling_is_drawn_as_bars(tmp_path):
    torch.manual_seed(0)
    model = LSTMForSequenceClassification(LSTMConfig(vocab_size=30, pooling="attention")).eval()
    torch.nn.init.normal_(model.pooling.score.weight)  # so that the weights are far from uniform
    outputs = model(torch.randint(1, 30, (2, 7)), MASK, output_attentions=True)
    for row, tokens in enumerate((TOKENS, PADDED)):
        figure = plots.attention(
            outputs.attentions, tokens, row=row, attention_mask=MASK, path=tmp_path / "bars.png", title="Pooling"
        )
        (axes,) = figure.axes
        count = int(MASK[row].sum())
        heights = [bar.get_height() for bar in axes.patches]
        np.testing.assert_array_equal(np.float32(heights), outputs.attentions[0][row, :count].detach().numpy())
        assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx(range(count))
        assert labels(axes.xaxis) == tokens[:count] and sum(heights) == pytest.approx(1)


def test_labels_do_not_touch_each_other():
    """Up to 64 tokens each has its label; beyond, or in small maps, every n-th has one."""
    for count, maps in ((7, (1, 1)), (64, (1, 1)), (120, (1, 1)), (30, (1, 12))):
        tokens = [f"token{i}" for i in range(count)]
        figure = plots.attention((softmax(1, maps[1], count, count),) * maps[0], tokens)
        figure.draw_without_rendering()
        axes = np.array(figure.axes).reshape(maps)
        shown = labels(axes[-1, 0].xaxis)
        step = int(axes[-1, 0].get_xticks()[1])
        assert shown == labels(axes[0, 0].yaxis) == tokens[::step]
        assert step == 1 if maps == (1, 1) and count <= 64 else step <= count / 8
        for axis, side in ((axes[-1, 0].xaxis, 0), (axes[0, 0].yaxis, 1)):
            texts = axis.get_ticklabels()
            assert min(text.get_fontsize() for text in texts) >= 5
            if not texts[0].get_rotation() % 90:  # boxes of slanted labels overlap where their letters do not
                boxes = np.array(
                    [[text.get_window_extent().min[side], text.get_window_extent().max[side]] for text in texts]
                )
                boxes = boxes[boxes[:, 0].argsort()]
                assert (boxes[1:, 0] > boxes[:-1, 1] - 1).all()
        box = axes[0, 0].get_window_extent()
        assert box.width == pytest.approx(box.height, rel=0.02)


@pytest.mark.parametrize("maps, count", [((1, 1), 1), ((1, 1), 500), ((12, 1), 40), ((1, 55), 5)])
def test_pictures_have_a_sensible_size(maps, count):
    figure = plots.attention((softmax(1, maps[1], count, count),) * maps[0], ["word"] * count)
    width, height = figure.get_size_inches()
    assert 0.8 < width < 45 and 0.8 < height < 36
    figure.draw_without_rendering()
    sides = [axes.get_window_extent().width / figure.dpi for axes in figure.axes]
    assert min(sides) > (0.3 if count == 1 else 0.55) and max(sides) < 8.1


def test_odd_tokens_are_shown_as_they_are():
    tokens = ["$\\frac$", "_x", " ", "\n", "a b", "<s>", "x" * 40, ""]
    figure = plots.attention(softmax(8, 8), tokens, title="$\\x_1$")
    figure.draw_without_rendering()
    expected = ["$\\frac$", "_x", "␣", "\\n", "a␣b", "<s>", "x" * 23 + "…", ""]
    assert labels(figure.axes[0].xaxis) == labels(figure.axes[0].yaxis) == expected
    assert figure.get_suptitle() == "$\\x_1$"


def test_a_missing_font_is_said_once(tmp_path):
    with pytest.warns(UserWarning, match="install a font") as warned:
        plots.attention(softmax(3, 3), ["\U0001f9ff", "\U00012000", "ok"], path=tmp_path / "w.png")
    assert len(warned) == 1


def test_png_svg_and_pdf(attentions, tmp_path):
    for name in ("a.png", "b.png", "a.svg", "a.PDF"):
        plots.attention(attentions, TOKENS, path=tmp_path / name, layers=0, heads="mean", title="BERT")
    pixels = imread(tmp_path / "a.png")[..., :3]
    assert min(pixels.shape[:2]) > 400 and 0.02 < (pixels < 0.9).any(-1).mean() < 0.8
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge == 1).all(), "something is cut off"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert (tmp_path / "a.PDF").read_bytes().startswith(b"%PDF")


def test_drawing_leaves_the_state_of_matplotlib_alone(attentions, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    was_there = "matplotlib.pyplot" in sys.modules
    plots.attention(attentions, TOKENS, heads="mean", path=tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before and ("matplotlib.pyplot" in sys.modules) == was_there


def test_what_sdpa_returns_is_explained():
    for nothing in (bert("sdpa"), None, (), (None, None)):
        with pytest.raises(
            ValueError,
            match="output_attentions=True .models of transformers' own also need attn_implementation='eager'",
        ):
            plots.attention(nothing, TOKENS)


WEIGHTS = (softmax(2, 4, 7, 7), softmax(2, 4, 7, 7))


@for_each(
    "given, options, message",
    [
        (WEIGHTS, {"tokens": TOKENS[:5]}, "There are 5 tokens for 7 places of attention: take them"),
        (WEIGHTS, {"tokens": TOKENS[:5], "row": 1, "attention_mask": MASK}, r"5 tokens for 7 places .*\(4 without"),
        (WEIGHTS, {"key_tokens": ["a"]}, "There are 1 key_tokens for 7 places"),
        (WEIGHTS, {"layers": [0, 2]}, "There is no layer 2: choose among the 2 by their numbers, 0 to 1"),
        (WEIGHTS, {"layers": []}, "No layer was asked for"),
        (WEIGHTS, {"heads": -5}, "There is no head -5: choose among the 4"),
        (WEIGHTS, {"heads": "max"}, "heads must be numbers, 'mean' or None, got 'max'"),
        (WEIGHTS, {"row": 2}, "There is no row 2: choose among the 2"),
        (WEIGHTS, {"attention_mask": MASK[:, :5]}, r"must be \(B, S\) = \(2, 7\), as the weights are, got \(2, 5\)"),
        (WEIGHTS, {"attention_mask": 0 * MASK}, "Text 0 of the batch is nothing but padding"),
        (WEIGHTS, {"path": "a.gif"}, "'a.gif' must end in one of .png, .svg, .pdf"),
        (WEIGHTS, {"path": "words.html"}, "'words.html' must end in one of .png, .svg, .pdf"),
        ((WEIGHTS[0], softmax(2, 4, 7, 5)), {}, r"\(2, 4, 7, 7\) and \(2, 4, 7, 5\): draw them one by one"),
        ((softmax(4, 7, 7),), {}, r"must be \(B, heads, T, S\), or the only one \(B, T\), got \(4, 7, 7\)"),
        ((softmax(2, 7),) * 2, {}, r"or the only one \(B, T\), got \(2, 7\)"),
        ((*WEIGHTS, softmax(2, 7)), {}, r"last of 3 are weights of attention pooling: draw .*\[:-1\]"),
        ((softmax(2, 7),), {"key_tokens": TOKENS}, "without key_tokens"),
        (softmax(7), {}, r"or \(T, S\), got \(7,\)"),
        (softmax(7, 5), {}, "7 tokens look at 5, which is cross attention: give the latter as key_tokens"),
        (torch.randn(7, 7), {}, "finite and not negative, got -"),
        (torch.full((7, 7), torch.nan), {}, "finite and not negative, got nan"),
        (torch.full((7, 7), torch.inf), {}, "finite and not negative, got inf"),
    ],
)
def test_bad_input_is_named(given, options, message):
    with pytest.raises(ValueError, match=message):
        plots.attention(given, **{"tokens": TOKENS, **options})


@pytest.mark.parametrize(
    "given, tokens, message",
    [
        ({"attentions": WEIGHTS}, TOKENS, "got dict: hand over outputs.attentions"),
        ((WEIGHTS, WEIGHTS), TOKENS, "got a tuple in it. What generate"),
        (WEIGHTS, "the fox", "tokens must be a list of strings, got the string 'the fox'"),
    ],
)
def test_wrong_types_are_named(given, tokens, message):
    with pytest.raises(TypeError, match=message):
        plots.attention(given, tokens)


def test_weights_of_zero_are_a_blank_map():
    figure = plots.attention(torch.zeros(3, 3), list("abc"))
    assert figure.axes[0].images[0].get_clim() == (0.0, 1.0) and not panels(figure).any()


def test_missing_matplotlib_is_named_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'hfseq\[plots\]'"):
        plots.attention(WEIGHTS, TOKENS)
    assert attention_maps.attention is plots.attention
