"""Word vectors against gensim: training, queries, start-up and memory; and quality at equal epochs.

    python benchmarks/word2vec.py --corpus data/text8/text8.txt
    python benchmarks/word2vec.py --corpus data/text8/text8.txt --evaluation data/word_eval

The corpus is a text file like text8; without one a corpus is drawn from a Zipf distribution, which has the speed of a
real one but no meaning: speed is then printed alone, and nothing kept. Speed: rivals take turns on the same tokens,
one thread each, work per CPU second; gensim gets its sentences as lists in memory, ours reads ids from its file. The
clock runs for a pass over the corpus, with vocabulary and matrices ready and all compiled; the whole way from the file
is measured beside it. Quality (the second line): every rival trains the same epochs, two threads each, and all are
judged in one order of the vocabulary (`restrict_vocab` counts words, and rivals order equal counts differently).
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gensim.models import KeyedVectors as GensimVectors
from gensim.models import Word2Vec
from measure import cpu_seconds, print_rows, ratios, write_result

from hfseq import KeyedVectors, Word2VecConfig, Word2VecTrainer, Word2VecTrainingArguments, WordCorpus
from hfseq.training.words.engines import CorpusSlice, Engine

PEER = "gensim"
SENTENCE = 1000  # words; text8 has no sentences of its own
SPEED_WORDS, ROUNDS = 2_000_000, 5
# Name -> (options of ours, options of gensim, goal)
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "skip-gram, dimension 100": ({"hidden_size": 100}, {"vector_size": 100, "sg": 1}, 10.0),
    "skip-gram, dimension 300": ({"hidden_size": 300}, {"vector_size": 300, "sg": 1}, 7.0),
    "CBOW, dimension 100": ({"architecture": "cbow"}, {"vector_size": 100, "sg": 0}, 8.0),
    "CBOW, dimension 100, shared_negatives=8": (
        {"architecture": "cbow", "shared_negatives": 8},
        {"vector_size": 100, "sg": 0},
        8.0,
    ),
    "skip-gram, hierarchical softmax, dimension 100": (
        {"loss": "hierarchical-softmax"},
        {"vector_size": 100, "sg": 1, "hs": 1, "negative": 0},
        3.0,
    ),
}
COMMON = {"window": 5, "min_count": 5, "sample": 1e-3, "alpha": 0.025, "min_alpha": 1e-4, "workers": 1}


def sentences(path: Path | None, words: int | None) -> list[list[str]]:
    """Read the corpus as lists of words, at most so many words."""
    return [*islice(_sentences(path), None if words is None else words // SENTENCE)]


def _sentences(path: Path | None) -> Iterator[list[str]]:
    if path is None:
        random = np.random.default_rng(0)
        for _ in range(5_000):
            yield [f"w{rank}" for rank in random.zipf(1.15, SENTENCE) % 60_000]
        return
    rest: list[str] = []
    with path.open(encoding="utf-8") as file:
        while text := file.read(1 << 20):
            whole = text + file.readline(1 << 10) if not text.endswith((" ", "\n")) else text
            rest += whole.split()
            while len(rest) >= SENTENCE:
                yield rest[:SENTENCE]
                rest = rest[SENTENCE:]
    yield rest


def make_trainer(
    corpus: WordCorpus,
    options: dict[str, Any],
    epochs: int,
    seed: int,
    engine: Literal["auto", "exact"] = "auto",
    threads: int = 1,
) -> Word2VecTrainer:
    """Make our trainer."""
    options = dict(options)
    args = Word2VecTrainingArguments(
        shared_negatives=options.pop("shared_negatives", None),
        num_train_epochs=epochs,
        num_threads=threads,
        seed=seed,
        disable_tqdm=True,
        engine=engine,
    )
    return Word2VecTrainer(Word2VecConfig(vocab_size=corpus.vocab_size, **options), corpus, args)


def speed(texts: list[list[str]], corpus: WordCorpus) -> list[dict[str, Any]]:
    """Measure raw words per CPU second, one epoch."""
    rows = []
    for name, (options, theirs, goal) in MODELS.items():
        peer = Word2Vec(**COMMON, **theirs, epochs=1, seed=1)
        peer.build_vocab(texts)

        def train_peer(peer: Word2Vec = peer) -> None:
            peer.train(texts, total_examples=peer.corpus_count, epochs=1)

        trainer = make_trainer(corpus, options, epochs=1, seed=1)
        engine = trainer.make_engine()
        whole = CorpusSlice(0, len(corpus), before=0.0, total=len(corpus), rates=(0.025, 1e-4), seed=(1,))

        def train_ours(engine: Engine = engine, whole: CorpusSlice = whole) -> None:
            engine.run(corpus.ids, whole, lambda *told: None)

        found = ratios({PEER: train_peer, "ours": train_ours}, PEER, rounds=ROUNDS)
        claim = f"word2vec training, {name}: words per CPU second"
        rows.append({"claim": claim, "goal": goal, "ratio": round(found["ours"], 2)})
        print(rows[-1], flush=True)
    return rows


def judged(words: list[str], matrix: np.ndarray, folder: Path) -> dict[str, float]:
    """Return analogies (%) and Spearman (x 100), by the questions in a folder."""
    vectors = KeyedVectors.from_vectors(words, matrix)
    questions = next(folder.glob("questions-words*"))
    score, sections = vectors.evaluate_word_analogies(str(questions), restrict_vocab=30_000)
    found = {"analogies": 100 * score, "questions": len(sections[-1]["correct"]) + len(sections[-1]["incorrect"])}
    for name, file in (("WS-353", "gensim_wordsim353.tsv"), ("SimLex-999", "gensim_simlex999.txt")):
        found[name] = 100 * vectors.evaluate_word_pairs(str(folder / file))[1][0]
    return {name: round(float(value), 2) for name, value in found.items()}


def quality(
    texts: list[list[str]], corpus: WordCorpus, folder: Path, epochs: int, seeds: list[int]
) -> list[dict[str, Any]]:
    """Score all rivals after the same epochs, two threads each; with the CPU seconds of the training."""
    rows = []
    for name in ("skip-gram, dimension 100", "CBOW, dimension 100", "CBOW, dimension 100, shared_negatives=8"):
        options, theirs, _ = MODELS[name]
        rivals: dict[str, Callable[[int], np.ndarray]] = {
            PEER: lambda seed: _by_gensim(texts, theirs, epochs, seed, corpus.words),  # noqa: B023
            "ours": lambda seed: _by_us(corpus, options, epochs, seed, "auto"),  # noqa: B023
            "ours, exact": lambda seed: _by_us(corpus, options, epochs, seed, "exact"),  # noqa: B023
        }
        for rival, train in rivals.items():
            for seed in seeds:
                matrix: list[np.ndarray] = []
                seconds = cpu_seconds(lambda: matrix.append(train(seed)))  # noqa: B023
                scores = judged(corpus.words, matrix[0], folder)
                row = {"model": name, "rival": rival, "seed": seed, "cpu_seconds": round(seconds, 1), **scores}
                rows.append(row)
                print(row, flush=True)
    return rows


def _by_gensim(
    texts: list[list[str]], options: dict[str, Any], epochs: int, seed: int, words: list[str]
) -> np.ndarray:
    model = Word2Vec(texts, **COMMON | {"workers": 2}, **options, epochs=epochs, seed=seed)
    return np.stack([model.wv[word] for word in words])


def _by_us(
    corpus: WordCorpus, options: dict[str, Any], epochs: int, seed: int, engine: Literal["auto", "exact"]
) -> np.ndarray:
    return make_trainer(corpus, options, epochs, seed, engine, threads=2).train().vectors.vectors


def queries() -> list[dict[str, Any]]:
    """Time `most_similar` over 100,000 x 100."""
    matrix = np.random.default_rng(0).standard_normal((100_000, 100), dtype=np.float32)
    words = [f"w{i}" for i in range(len(matrix))]
    peer = GensimVectors(100)
    peer.add_vectors(words, matrix)
    ours = KeyedVectors.from_vectors(words, matrix)
    batch = words[:100]

    def one(vectors: Any) -> Callable[[], Any]:
        return lambda: [vectors.most_similar(word, topn=10) for word in batch[:20]]

    single = ratios({PEER: one(peer), "ours": one(ours)}, PEER)["ours"]
    together = ratios(
        {
            PEER: lambda: [peer.most_similar(word, topn=10) for word in batch],
            "ours": lambda: ours.most_similar_batch(batch, topn=10),
        },
        PEER,
    )["ours"]
    claim = "most_similar over 100,000 x 100"
    return [
        {"claim": f"{claim}, one query", "goal": 1.0, "ratio": round(single, 2)},
        {"claim": f"{claim}, batches of 100", "goal": 5.0, "ratio": round(together, 2)},
    ]


_START = """
import time, sys
sys.path.insert(0, {folder!r})
from hfseq import WordCorpus
from word2vec import make_trainer
corpus = WordCorpus.read([["a", "b", "c", "d"]] * 100, min_count=1)
trainer = make_trainer(corpus, {{"hidden_size": 100}}, 1, 1)
start = time.perf_counter()
trainer.train()
print("SECONDS", time.perf_counter() - start)
"""


def start_up() -> list[dict[str, Any]]:
    """Time the first trained word with an empty and with a filled cache of compiled loops."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("empty", "filled"):
            code = _START.format(folder=str(Path(__file__).parent))
            result = subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | {"HF_HOME": cache},
                capture_output=True,
                text=True,
                check=True,
            )
            found[name] = float(result.stdout.split("SECONDS")[1])
    return [
        {
            "claim": f"word2vec, first training in a process, cache of compiled loops {name}: {seconds:.2f} s",
            "peer": f"a limit of {limit} s",
            "goal": 1.0,
            "ratio": round(limit / seconds, 2),
        }
        for (name, seconds), limit in zip(found.items(), (3.0, 0.5), strict=True)
    ]


# Nothing is imported that a rival does not need: memory is counted from the start of the process.
_WHOLE = {
    PEER: """
from gensim.models.word2vec import Text8Corpus, Word2Vec
texts = Text8Corpus({path!r}, max_sentence_length={sentence})
Word2Vec(texts, window=5, min_count=5, sample=1e-3, workers=2, vector_size=100, sg=1, epochs=5)
""",
    "ours": """
import hfseq
hfseq.train_word2vec({path!r}, num_threads=2, disable_tqdm=True)
""",
}
_USED = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("USED", used.ru_utime + used.ru_stime, int(peak) / 1024)
"""


def whole_process(path: Path) -> list[dict[str, Any]]:
    """Measure from the corpus file to the vectors, each in its own process, imports and compiling included (Linux)."""
    spent = {rival: _spent(code.format(path=str(path), sentence=SENTENCE) + _USED) for rival, code in _WHOLE.items()}
    rows = []
    for number, unit in enumerate(("s of wall time", "CPU s", "MiB at the most")):
        ours, theirs = spent["ours"][number], spent[PEER][number]
        claim = f"word2vec, text file to vectors, 5 epochs, 2 threads: {ours:,.0f} against {theirs:,.0f} {unit}"
        rows.append({"claim": claim, "goal": 1.0, "ratio": round(theirs / ours, 2)})
    return rows


def _spent(code: str) -> tuple[float, ...]:
    """Return wall seconds, CPU seconds and MiB of a process."""
    started = time.perf_counter()
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return time.perf_counter() - started, *map(float, printed.split("USED")[1].split())


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="a text file like text8; drawn at random without one")
    parser.add_argument("--evaluation", type=Path, help="folder with questions-words and the two sets of gensim")
    parser.add_argument("--epochs", type=int, default=5, help="of the comparison of quality")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the comparison of quality")
    arguments = parser.parse_args()
    if arguments.evaluation is not None and arguments.corpus is None:
        parser.error("--evaluation needs a --corpus whose words mean something")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    command = f"python benchmarks/word2vec.py --corpus {arguments.corpus}"
    if arguments.evaluation is not None:
        texts = sentences(arguments.corpus, None)
        found = quality(texts, WordCorpus.read(texts), arguments.evaluation, arguments.epochs, arguments.seeds)
        command += f" --evaluation {arguments.evaluation}"
        write_result("word2vec_quality", command=command, peer=PEER, rows=_quality_rows(found))
        return
    part = sentences(arguments.corpus, SPEED_WORDS)
    rows = speed(part, WordCorpus.read(part)) + queries() + start_up()
    if arguments.corpus is None:
        print_rows(rows)
    else:
        write_result("word2vec", command=command, peer=PEER, rows=rows + whole_process(arguments.corpus))


def _quality_rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ours over the peer's, means over the seeds; goal: half a point of analogies less, one of the others."""
    rows = []
    for model in dict.fromkeys(row["model"] for row in found):
        for measure, slack in (("analogies", 0.5), ("WS-353", 1.0), ("SimLex-999", 1.0)):
            mean = {
                rival: float(np.mean([r[measure] for r in found if (r["model"], r["rival"]) == (model, rival)]))
                for rival in (PEER, "ours")
            }
            seeds = sorted({row["seed"] for row in found})
            values = {
                rival: [r[measure] for r in found if (r["model"], r["rival"]) == (model, rival)]
                for rival in dict.fromkeys(r["rival"] for r in found)
            }
            claim = f"word2vec quality, {model}, {measure}: {mean['ours']:.1f} against {mean[PEER]:.1f}, seeds {seeds}"
            goal = round((mean[PEER] - slack) / mean[PEER], 2)
            rows.append({"claim": claim, "goal": goal, "ratio": round(mean["ours"] / mean[PEER], 2), "values": values})
    return rows


if __name__ == "__main__":
    main()
