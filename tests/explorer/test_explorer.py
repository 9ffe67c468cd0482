"""The page that runs a model in the browser: the same tokens, gates, states and answers as in Python, and no request.

The JavaScript runs in a headless Chromium. With HFSEQ_TEST_BROWSER=1 a missing one is a failure, else a skip.
"""

import importlib
import json
import os
import random
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

import hfseq
from hfseq import plots
from hfseq.insight.explorer.exported import LARGEST, exported
from hfseq.insight.explorer.page import page_of
from hfseq.tokenization.kinds import word_splitter

from .browser import Browser, find_browser

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explorer" / "index.html"
TEXTS = [
    "will it rain in Oslo tomorrow?",
    "Wake me up at quarter to nine",
    "",
    "zyxgrk ĵ 🙂 Señor İstanbul",
    " call   Ana\tto remind me, please! ",
]
NASTY = [
    *TEXTS,
    "\n",
    "a\r\nb\u2028c\u0085d\ufeffe\u200bf\u00a0g",
    "👩‍👩‍👧‍👦 🇳🇴🇸🇪 👍🏽 1️⃣ 𝔘𝔫𝔦 𐍈",
    "e\u0301 \u0301x é ﬁ ² ½ ſ K ΟΔΥΣΣΕΥΣ straße",
    "क्षत्रिय हिन्दी ไทย 한국어 \u1112\u1161\u11ab 中文字 カタカナ 々〆",
    "العربية \u0600١٢٣ עברית\u200f שלום",
    "x\u200dy \u200d\u0308z _a-b c'd U.S. 1,000.5 #tag @you $5",
    "<s> </s><mask>  <pad>x<unk> < s >",
    "</script><b>&amp;\u2029\\n${x}",
    "\x00\x07\x1b[0m \ue000 \U000f0000",
    "rain in Oslo " * 77,
]


def the_browser():
    """The program; without one the test is skipped, or fails where one is asked for."""
    program = find_browser()
    if program is None and os.environ.get("HFSEQ_TEST_BROWSER") == "1":
        pytest.fail("HFSEQ_TEST_BROWSER=1, and there is no Chromium: apt-get install chromium")
    if program is None:
        pytest.skip("no Chromium to run the page in")
    return program


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(the_browser(), tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def build():
    return importlib.import_module("docs.explorer.build")


@pytest.fixture(scope="module")
def committed(build):
    """The models of the committed page, each with its tokenizer."""
    return [build.load(name) for name in build.MODELS]


def tiny(cls, kind="word", heads="SequenceClassification", *, form=None, **options):
    """An untrained model with weights that float16 holds, and its tokenizer."""
    purpose = "classification" if heads == "SequenceClassification" else "language-modeling"
    tokenizer = hfseq.train_tokenizer(NASTY[:12], kind=kind, purpose=purpose, min_frequency=1, **form or {})
    torch.manual_seed(0)
    config = getattr(hfseq, f"{cls}Config")(
        vocab_size=len(tokenizer), embedding_size=5, hidden_size=6, initializer_range=0.9, **options
    )
    model = getattr(hfseq, f"{cls}For{heads}")(config)
    with torch.no_grad():
        for parameter in model.parameters():  # no bias at 0
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.half().float().eval(), tokenizer


CASES = {
    "lstm": lambda: tiny("LSTM", num_labels=3),
    "lstm, both directions, two layers": lambda: tiny("LSTM", bidirectional=True, num_hidden_layers=2, num_labels=4),
    "gru after": lambda: tiny("GRU", "char", form={"lowercase": True}, num_hidden_layers=2, pooling="mean_max"),
    "gru before": lambda: tiny("GRU", "whitespace", reset="before", pooling="max", bidirectional=True),
    "rnn": lambda: tiny("RNN", form={"strip_accents": True, "lowercase": True}, pooling="mean", temperature=1.7),
    "rnn relu": lambda: tiny("RNN", "char", nonlinearity="relu", last_hidden_size=3, num_hidden_layers=2),
    "attention": lambda: tiny(
        "LSTM", form={"normalization": "nfkc"}, pooling="attention", problem_type="multi_label_classification"
    ),
    "letters": lambda: tiny("LSTM", "char", "CausalLM", num_hidden_layers=2),
    "tied": lambda: tiny("GRU", "whitespace", "CausalLM", last_hidden_size=5, tie_word_embeddings=True),
}


def ids_in_python(model, tokenizer, text):
    """The ids of a text; a language model's text has no end."""
    ids = tokenizer(text)["input_ids"]
    is_open = "CausalLM" in type(model).__name__ and ids and ids[-1] == tokenizer.eos_token_id
    return ids[:-1] if is_open else ids


def steps_by_hand(loop, inputs):
    """Gates and states of one direction, (T, H) each, written from the equations in float64."""
    H, cell = loop.hidden_size, loop.cell
    W, U, b = (weight.detach().double() for weight in (loop.weight_ih, loop.weight_hh, loop.bias))
    h = c = torch.zeros(H, dtype=torch.float64)
    steps = []
    for x in reversed(inputs) if loop.backward else inputs:
        a, u = W @ x + b, U @ h
        if cell.gates == ("i", "f", "g", "o"):
            i, f, o = (torch.sigmoid((a + u)[n * H : (n + 1) * H]) for n in (0, 1, 3))
            g = torch.tanh((a + u)[2 * H : 3 * H])
            c = f * c + i * g
            h = o * torch.tanh(c)
            steps.append({"i": i, "f": f, "g": g, "o": o, "c": c, "h": h})
        elif cell.gates == ("r", "z", "n"):
            r, z = torch.sigmoid((a + u)[:H]), torch.sigmoid((a + u)[H : 2 * H])
            late = U[2 * H :] @ (r * h) if cell.late else r * (u[2 * H :] + loop.bias_hh.detach().double())
            n = torch.tanh(a[2 * H :] + late)
            h = (1 - z) * n + z * h
            steps.append({"r": r, "z": z, "n": n, "h": h})
        else:
            h = torch.tanh(a + u) if cell.torch_mode == "RNN_TANH" else torch.relu(a + u)
            steps.append({"h": h})
    return steps[::-1] if loop.backward else steps


def in_python(model, ids):
    """All that the page tells of these ids: layers of directions of steps, and the answers of the model itself."""
    backbone = model.base_model
    h = [backbone.embed_tokens.weight[number].detach().double() for number in ids]
    layers = []
    for layer in backbone.layers:
        loops = [loop for loop in (layer.forward_loop, layer.backward_loop) if loop is not None]
        layers.append([steps_by_hand(loop, h) for loop in loops])
        h = [torch.cat([steps[t]["h"] for steps in layers[-1]]) for t in range(len(ids))]
    if not ids and "CausalLM" in type(model).__name__:
        return layers, np.zeros(0)
    with torch.no_grad():
        logits = model(torch.tensor([ids], dtype=torch.long)).logits[0]
    logits = logits[-1] if logits.dim() == 2 else logits
    is_multi = model.config.problem_type == "multi_label_classification"
    return layers, (logits.sigmoid() if is_multi else logits.softmax(-1)).numpy()


def in_browser(browser, text, number):
    """What the page tells; typed arrays travel as lists."""
    flat = "(_, value) => ArrayBuffer.isView(value) ? Array.from(value) : value"
    said = browser.run(f"JSON.stringify(hfseqExplorer.read({json.dumps(text)}, {number}), {flat})")
    return json.loads(said)


def assert_same(browser, model, tokenizer, text, number):
    said, ids = in_browser(browser, text, number), ids_in_python(model, tokenizer, text)
    assert said["ids"] == ids
    layers, answers = in_python(model, ids)
    assert len(said["layers"]) == len(layers)
    for theirs, ours in zip(said["layers"], layers, strict=True):
        for run, steps in zip(theirs, ours, strict=True):
            assert [column.keys() for column in run["columns"]] == [step.keys() for step in steps]
            for name in steps[0] if steps else ():
                found = np.array([column[name] for column in run["columns"]])
                np.testing.assert_allclose(found, torch.stack([step[name] for step in steps]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(said["answers"], answers, rtol=1e-4, atol=1e-4)


def assert_silent(browser):
    """No request but for the page, and no word in the console."""
    requests = [event["request"]["url"] for event in browser.told("Network.requestWillBeSent")]
    assert requests and not [url for url in requests if not url.startswith(("file:", "data:"))]
    assert browser.told("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled") == []


def test_the_committed_page_is_what_the_template_makes_of_the_committed_models(build):
    assert PAGE.read_text(encoding="utf-8") == build.page()


def test_the_committed_page_is_small_and_asks_for_nothing():
    text = PAGE.read_text(encoding="utf-8")
    assert len(text.encode()) < 400_000
    assert "default-src 'none'" in text
    assert not re.findall(r"https?:|\bsrc=|\burl\(|\bimport\b|\bfetch\(|XMLHttpRequest|WebSocket", text)
    assert re.findall(r"\bhref=\S+", text) == ['href="data:,">']


@pytest.mark.parametrize("number", [0, 1])
def test_the_committed_page_computes_what_python_does(browser, committed, number):
    browser.open(PAGE)
    for text in NASTY:
        assert_same(browser, *committed[number], text, number)
    assert_silent(browser)


def test_every_cell_pooling_and_tokenizer_is_that_of_python(browser, tmp_path):
    models = [make() for make in CASES.values()]
    path = tmp_path / "page.html"
    path.write_text(page_of([exported(*each) for each in models], "all"), encoding="utf-8")
    browser.open(path)
    for number, each in enumerate(models):
        for text in NASTY[:-1]:
            assert_same(browser, *each, text, number)
    assert_silent(browser)


def test_random_texts_are_cut_as_in_python(browser, tmp_path):
    kinds = [tiny("RNN", kind, form={"lowercase": True}) for kind in ("word", "char", "whitespace")]
    path = tmp_path / "page.html"
    path.write_text(page_of([exported(*each) for each in kinds], "cuts"), encoding="utf-8")
    browser.open(path)
    draw, pieces = random.Random(0), [*"".join(NASTY[:-1]), *(token for token in ("<s>", "<mask>", "</s>", " ", "  "))]
    texts = ["".join(draw.choices(pieces, k=draw.randrange(40))) for _ in range(300)]
    for number, (_, tokenizer) in enumerate(kinds):
        ids = browser.run(f"{json.dumps(texts)}.map(text => made[{number}].tokenize(text).map(token => token.id))")
        wrong = [text for text, own in zip(texts, ids, strict=True) if own != tokenizer(text)["input_ids"]]
        assert wrong == []


@pytest.mark.slow
def test_every_character_is_cut_as_in_python(browser):
    """One that Python's tables of Unicode lack is left out: those of the tokenizers may lack it as well."""
    browser.open(PAGE)
    cut, known = word_splitter("word"), {"Cn", "Cs", "Co"}
    texts = [f"a{chr(c)}b" for c in range(1, 0x110000) if unicodedata.category(chr(c)) not in known]
    words = browser.run(f"{json.dumps(texts)}.map(cutIntoWords)")
    wrong = [text for text, own in zip(texts, words, strict=True) if own != [w for w, _ in cut.pre_tokenize_str(text)]]
    assert len(texts) > 140_000 and wrong == []


def test_what_is_kept_of_an_earlier_text_changes_nothing(browser, committed):
    browser.open(PAGE)
    for text in ("will it rain", "will it rain today", "will it today", "so will it today", "will", "", "it will"):
        for number, each in enumerate(committed):
            assert_same(browser, *each, text, number)


def shown(browser):
    """The answers on the page: names and per cent."""
    rows = browser.run("[...get('answers').children].map(row => row.innerText.split(/\\n+/))")
    return {name: float(number.rstrip(" %")) for name, number in rows}


def test_the_answers_move_while_somebody_types(browser, committed):
    browser.open(PAGE)
    browser.run("get('text').value = ''; update(); get('text').focus()")
    model, tokenizer = committed[0]
    text, seen = "play some jazz", []
    for place, key in enumerate(text):
        browser.press(key)
        assert browser.run("get('text').value") == text[: place + 1]
        _, answers = in_python(model, tokenizer(text[: place + 1])["input_ids"])
        best = max(shown(browser).items(), key=lambda item: item[1])
        assert best == (model.config.id2label[answers.argmax()], pytest.approx(100 * answers.max(), abs=0.06))
        seen.append(best[0])
    assert seen[-1] == "play_music" and len(set(seen)) > 1
    assert browser.run("hfseqExplorer.lastMs") > 0
    assert browser.run("get('tokens').innerText.split(/\\s+/)") == ["play", "some", "jazz", "</s>"]
    assert_silent(browser)


def pixel_of(value, stops):
    """The colour of a number from 0 to 1 between the stops."""
    x = round(255 * value) / 255 * (len(stops) - 1)
    low = min(int(x), len(stops) - 2)
    return [a + (x - low) * (b - a) for a, b in zip(stops[low], stops[low + 1], strict=True)]


def test_a_cell_of_a_map_has_its_colour_and_tells_its_number(browser, committed):
    browser.open(PAGE)
    model, tokenizer = committed[0]
    layers, _ = in_python(model, tokenizer("rain in Oslo")["input_ids"])
    browser.run("get('text').value = 'rain in Oslo'; update()")
    for name, t, k in (("f", 2, 7), ("c", 1, 30), ("h", 3, 0)):
        value = layers[0][0][t][name][k].item()
        most = 1.0 if name == "f" else max(1.0, *(float(step[name].abs().max()) for step in layers[0][0]))
        part, stops = (value, "GATE_STOPS") if name == "f" else ((value / most + 1) / 2, "VALUE_STOPS")
        found = browser.run(f"[...get('map-{name}').getContext('2d').getImageData({t}, {k}, 1, 1).data]")
        np.testing.assert_allclose(found, [*pixel_of(part, browser.run(stops)), 255], atol=3)
        browser.run(f"get('map-{name}').scrollIntoView({{ block: 'center' }})")
        left, top, width, height = browser.run(
            f"(box => [box.left, box.top, box.width, box.height])(get('map-{name}').getBoundingClientRect())"
        )
        x, y = left + width * (t + 0.5) / len(layers[0][0]), top + height * (k + 0.5) / model.config.hidden_size
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        said = browser.run("get('readout').innerText")
        assert f"{name} = " in said and f"token {t + 1} " in said and f"unit {k + 1}" in said
        assert float(re.search(r"= (-?[\d.]+)", said)[1]) == pytest.approx(value, abs=1e-4)
    assert_silent(browser)


def test_layers_can_be_chosen_and_a_click_writes_the_next_letter(browser, committed):
    browser.open(PAGE)
    browser.run("get('model').selectedIndex = 1; get('model').dispatchEvent(new Event('change'))")
    assert browser.run("get('layers').hidden") is False
    model, tokenizer = committed[1]
    text = browser.run("get('text').value")
    layers, answers = in_python(model, ids_in_python(model, tokenizer, text))
    for layer in (1, 0):
        browser.run(f"get('layer').selectedIndex = {layer}; get('layer').dispatchEvent(new Event('change'))")
        canvas = "get('map-z').focus(); get('map-z').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
        browser.run(canvas)
        value = layers[layer][0][1]["z"][0].item()
        assert float(re.search(r"= (-?[\d.]+)", browser.run("get('readout').innerText"))[1]) == pytest.approx(
            value, abs=1e-4
        )
    browser.run("get('answers').querySelector('button').click()")
    assert browser.run("get('text').value") == text + tokenizer.convert_ids_to_tokens(int(answers.argmax()))
    assert_silent(browser)


@pytest.mark.parametrize("number", [0, 1])
def test_a_phone_shows_all_but_the_maps_without_moving_sideways(browser, number):
    browser.open(PAGE)
    size = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.run(f"get('model').selectedIndex = {number}; chooseModel(); get('text').value = 'a '.repeat(99); update()")
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    assert browser.run("get('maps').scrollLeft > 0 && get('maps').scrollWidth > 1000")  # where the last token is
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_one_call_writes_the_page_of_a_folder(browser, tmp_path):
    model, tokenizer = CASES["lstm"]()
    model.save_pretrained(tmp_path / "run")
    tokenizer.save_pretrained(tmp_path / "run")
    plots.explorer(str(tmp_path / "run"), None, tmp_path / "page.html", title="<My model>", example="rain & <b>")
    browser.open(tmp_path / "page.html")
    assert browser.run("document.title") == "<My model>"
    assert browser.run("get('text').value") == "rain & <b>"
    assert browser.run("[get('models').hidden, get('layers').hidden]") == [True, True]
    assert_same(browser, model, tokenizer, "rain in Oslo", 0)
    assert_silent(browser)


def test_a_script_in_the_data_stays_text(browser, tmp_path):
    attack = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"
    model, tokenizer = CASES["lstm"]()
    model.config.id2label = {0: attack, 1: "b", 2: "c"}
    plots.explorer(model, tokenizer, tmp_path / "page.html", title=attack, example=attack)
    browser.open(tmp_path / "page.html")
    assert browser.run("[window.broken ?? null, document.images.length]") == [None, 0]
    assert attack in shown(browser)


def with_large_weights(model):
    with torch.no_grad():
        model.classifier.weight.fill_(1e6)
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: (hfseq.TransformerForSequenceClassification(hfseq.TransformerConfig(vocab_size=9)), None), "transf"),
        (lambda: tiny("LSTM", peephole=True), "gates .'i', 'f', 'g', 'o'"),
        (lambda: tiny("Custom", cell="minimal_gated"), "gates .'f', 'n'"),
        (lambda: tiny("LSTM", wide_ngrams=2, wide_buckets=10), "wide_ngrams=0"),
        (lambda: tiny("LSTM", problem_type="regression", num_labels=1), "problem_type='regression'"),
        (lambda: tiny("LSTM", "bpe", form={"vocab_size": 300}), "char, word, whitespace"),
        (lambda: (hfseq.LSTMModel(hfseq.LSTMConfig(vocab_size=9)), None), "neither"),
        (lambda: (hfseq.LSTMForCausalLM(hfseq.LSTMConfig(vocab_size=9000)), None), f"at most {LARGEST:,}"),
        (lambda: tiny("LSTM")[:1] + tiny("LSTM", "char")[1:], "not its own"),
        (lambda: (with_large_weights(tiny("LSTM")[0]), None), "65,504"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_the_cure(make, message, tmp_path):
    model, tokenizer = make()
    tokenizer = tokenizer or tiny("LSTM")[1]
    with pytest.raises(ValueError, match=message):
        plots.explorer(model, tokenizer, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_file_must_be_a_page(tmp_path):
    with pytest.raises(ValueError, match="must end in one of .html"):
        plots.explorer(*CASES["lstm"](), tmp_path / "page.png")


def test_a_missing_browser_is_a_failure_where_one_is_asked_for(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HFSEQ_TEST_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        the_browser()
    monkeypatch.delenv("HFSEQ_TEST_BROWSER")
    with pytest.raises(pytest.skip.Exception):
        the_browser()
