"""Make the small models of this folder and write down what fastText says of them.

This needs `fasttext-wheel` and numpy 1: the training of `fasttext-numpy2-wheel` 0.9.2 takes in memory that nobody has
set, and mostly ends in NaN.

    python tests/golden/fasttext/make.py

Not run by the tests: another release of fastText may train other numbers. `answers.json` belongs to the files beside
it.
"""

import json
import tempfile
from pathlib import Path

import fasttext

HERE = Path(__file__).parent
SENTENCES = [
    "the red kite climbs over the quiet harbour",
    "a grey heron waits beside the old canal",
    "two owls call from the ruined mill at night",
    "the little wren builds her nest under ivy",
    "seven geese cross the frozen lake in a row",
    "my kettle whistles while the toast is burning",
    "she grinds coffee and warms the blue cups",
    "the baker's ovens smell of rye, plums and smoke",
    "we boil potatoes with dill and a spoon of salt",
    "søren kjøper fersk brød på hjørnet hver morgen",
]
LABELS = ["bird"] * 5 + ["kitchen"] * 4 + ["street"]
TEXTS = [
    "the old kite waits at night",
    "warm coffee and rye bread",
    "unseenword quiet",
    "søren kjøper plommer 🎉",
    "",
    "   ",
    "\t the\u00a0heron\r\vcalls\f__label__bird again",
    "a </s> b",
    "nul\0inside the lake",
    "e\u0301t\u00e9 <in> > < <",
]
WORDS = ["the", "harbour", "harbours", "søren", "日本", "</s>", "", "<", "a", "x", "__label__bird", "two words"]
COMMON = {"dim": 4, "lr": 0.5, "epoch": 150, "thread": 1, "minCount": 1, "verbose": 0}
CLASSIFIERS = {
    "softmax.bin": {"bucket": 50, "minn": 2, "maxn": 3, "wordNgrams": 2},
    "words.bin": {},
    "hierarchical.bin": {"loss": "hs", "bucket": 50, "minn": 1, "maxn": 2},
    "one_vs_all.bin": {"loss": "ova", "bucket": 50, "wordNgrams": 3},
    "sampling.bin": {"loss": "ns", "bucket": 50, "wordNgrams": 2},
    "quantized.ftz": {"bucket": 260, "minn": 3, "maxn": 4},
    "norms.ftz": {"bucket": 260, "minn": 3, "maxn": 4, "wordNgrams": 2},
    "pruned.ftz": {"bucket": 400, "minn": 2, "maxn": 4, "wordNgrams": 2, "loss": "hs"},
    "outputs.ftz": {"bucket": 260, "maxn": 0, "wordNgrams": 2},
}
QUANTIZED = {
    "quantized.ftz": {"qnorm": False},
    "norms.ftz": {"qnorm": True},
    "pruned.ftz": {"qnorm": True, "cutoff": 280, "retrain": True},
    "outputs.ftz": {"qnorm": True, "qout": True},
}
VECTORS = {
    "skipgram.bin": {"lr": 0.1, "model": "skipgram", "bucket": 60, "minn": 2, "maxn": 4},
    "cbow.bin": {"lr": 0.1, "model": "cbow", "bucket": 60, "minn": 1, "maxn": 3, "loss": "hs"},
    "skipgram_words.bin": {"lr": 0.1, "model": "skipgram", "maxn": 0, "loss": "softmax"},
}


def numbers(vector):
    return [float(f"{value:.7g}") for value in vector]


def labelled(name):
    if name == "outputs.ftz":  # fastText quantises no less than 256 rows
        return "\n".join(f"__label__{i} {SENTENCES[i % 10]} n{i % 7}" for i in range(260))
    if name == "hierarchical.bin":  # counts that are equal, for the order of the tree
        labels = ["a", "b", "c", "d", "e", "a", "b", "f", "g", "a"]
        return "\n".join(f"__label__{label} {text}" for label, text in zip(labels, SENTENCES, strict=True))
    return "\n".join(f"__label__{label} {text}" for label, text in zip(LABELS, SENTENCES, strict=True))


def answers(model, texts, is_classifier):
    found = {
        "words": {word: numbers(model.get_word_vector(word)) for word in WORDS},
        "sentences": {text: numbers(model.get_sentence_vector(text)) for text in texts},
    }
    if is_classifier:
        found["predictions"] = {}
        for text in texts:
            labels, scores = model.predict(text, k=-1)
            found["predictions"][text] = dict(zip(labels, numbers(scores), strict=True))
    return found


def main():
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        for name, options in CLASSIFIERS.items():
            corpus.write_text(labelled(name) + "\n", encoding="utf-8")
            model = fasttext.train_supervised(str(corpus), **(COMMON | options))
            if name in QUANTIZED:
                model.quantize(input=str(corpus), epoch=3, thread=1, **QUANTIZED[name])
            model.save_model(str(HERE / name))
            model = fasttext.load_model(str(HERE / name))
            found[name] = answers(model, TEXTS[:3] if name == "outputs.ftz" else TEXTS, True)
        corpus.write_text("\n".join(SENTENCES * 3) + "\n", encoding="utf-8")
        for name, options in VECTORS.items():
            model = fasttext.train_unsupervised(str(corpus), **(COMMON | options))
            model.save_model(str(HERE / name))
            found[name] = answers(model, TEXTS, False)
    content = json.dumps(found, ensure_ascii=True, indent=1)
    (HERE / "answers.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
