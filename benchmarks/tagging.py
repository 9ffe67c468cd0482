"""Taggers, with and without a CRF: words per CPU second in training and in use, and how many tags are right.

    python benchmarks/tagging.py --data data/ud_english_ewt
    python benchmarks/tagging.py                             # embedded slots; printed only
    python benchmarks/tagging.py --data ... --training.num_train_epochs=1     # settings of the recipe; printed only

`--data` is a folder with train, validation and test as Parquet, columns tokens and tags. python-crfsuite and spaCy are
optional: without them their rows are left out.

1. Training, forward and backward and update: a BiLSTM of 128 over whole words of ours and around a packed nn.LSTM, on
   the same batches.
2. In use: the model of the shipped recipe, trained as its settings say, from words through tokenizer and model to
   tags: by `hfseq.tag_words`, which reads 32 texts of about one length at once, and by hand on lists of 32 in the
   order of the data. The stock pipeline's figure stands beside them.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from measure import median_ratio, print_rows, take_turns, write_result
from tagging_peers import PackedTagger, Peer, Rows, crfsuite, spacy_tagger
from torch import nn
from transformers import DataCollatorForTokenClassification, PrinterCallback, pipeline, set_seed

from hfseq import (
    LSTMConfig,
    LSTMForTokenClassification,
    SequenceTrainer,
    SequenceTrainingArguments,
    tag_words,
    train_tokenizer,
)
from hfseq.data.tagged import TaggedTask, load_tagged, tokenize_words
from hfseq.evaluation.tags import best_tags, score_tags, tagging_metrics
from hfseq.evaluation.trainer_metrics import TAGGING
from hfseq.progress import silence_progress
from hfseq.settings import read_settings
from hfseq.tasks.tagging.build import make_model, make_tokenizer, make_tokens, problem_of
from hfseq.tasks.tagging.decoding import choose_decoding
from hfseq.tasks.tagging.settings import TaggingSettings

CONFIGS = Path(__file__).parents[1] / "recipes" / "configs" / "token_classification"
VOCAB_SIZE = 10_000
BATCH, WIDTH, DROPOUT, LEARNING_RATE, MAX_GRAD_NORM = 32, 128, 0.2, 2e-3, 1.0
TRAINED_BATCHES, USED_ROWS = 24, 1000  # of a turn
TRAIN_ROUNDS, USE_ROUNDS = 9, 7
WANTED_WORDS, WANTED_ACCURACY = 30_000, 94.4
OURS, OURS_CRF, PACKED, PACKED_CRF = "hfseq", "hfseq, CRF", "packed nn.LSTM", "packed nn.LSTM, plain torch CRF"
WHOLE, WHOLE_CRF = "hfseq, whole words", "hfseq, whole words, CRF"
BY_HAND, STOCK = "lists by hand", "pipeline"
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Trained:
    """A model of the recipe, and what its training took."""

    model: Any
    tokenizer: Any
    seconds: float
    words: int  # that the training read, all passes together


# 1. Training


def train_rivals(task: TaggedTask, seed: int) -> tuple[dict[str, Callable[[], None]], int]:
    """Return what trains on the same batches, and the number of their words."""
    names, rows = task.classes.names, task.dataset["train"]
    lines = [" ".join(words) for words in rows["tokens"][:]]
    tokenizer = train_tokenizer(lines, "whitespace", purpose="tagging", vocab_size=VOCAB_SIZE)
    tokens = tokenize_words(rows.select(range(min(len(rows), BATCH * TRAINED_BATCHES))), tokenizer, names)
    tokens = tokens.sort("length").select_columns(["input_ids", "labels"])
    collate = DataCollatorForTokenClassification(tokenizer)
    batches = [
        collate(tokens.select(range(at, at + BATCH)).to_list()) for at in range(0, len(tokens) - BATCH + 1, BATCH)
    ]
    rivals: dict[str, Callable[[], None]] = {}
    for with_crf, own, theirs in ((False, OURS, PACKED), (True, OURS_CRF, PACKED_CRF)):
        set_seed(seed)
        rivals[own] = partial(train, plain_model(tokenizer, names, with_crf=with_crf), loss_of_ours, batches)
        peer = PackedTagger(len(tokenizer), WIDTH, len(names), DROPOUT, with_crf=with_crf)
        rivals[theirs] = partial(train, peer, loss_of_peer, without_ends(batches))
    return rivals, int(sum((batch["labels"] >= 0).sum() for batch in batches))


def plain_model(tokenizer: Any, names: list[str], *, with_crf: bool) -> LSTMForTokenClassification:
    """Build what `PackedTagger` is, as a model of ours."""
    config = LSTMConfig(
        vocab_size=len(tokenizer),
        embedding_size=WIDTH,
        hidden_size=WIDTH,
        bidirectional=True,
        embedding_dropout=0.0,  # of whole words, which the peer has not
        input_dropout=DROPOUT,
        hidden_dropout=0.0,
        classifier_dropout=DROPOUT,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        id2label=dict(enumerate(names)),
        crf=with_crf,
    )
    return LSTMForTokenClassification(config)


def loss_of_ours(model: Any, batch: Batch) -> torch.Tensor:
    """Return the mean loss of a word."""
    return model(**batch).loss


def loss_of_peer(peer: Any, batch: Batch) -> torch.Tensor:
    """Return the mean loss of a word."""
    return peer.loss(**batch)


def without_ends(batches: list[Batch]) -> list[Batch]:
    """Return the batches for a model that reads no special tokens: the words alone, and their mask."""
    made = []
    for batch in batches:
        mask = batch["labels"] >= 0
        longest = int(mask.sum(1).max())
        made.append({"input_ids": batch["input_ids"], "mask": mask, "labels": batch["labels"]})
        made[-1] = {name: each[:, :longest] for name, each in made[-1].items()}
    return made


def train(model: nn.Module, loss: Callable[[Any, Batch], torch.Tensor], batches: list[Batch]) -> None:
    """Update a model on each batch, with what both have: clipping and fused AdamW."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    for batch in batches:
        loss(model, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()


def training_rows(task: TaggedTask, seed: int, where: str) -> list[dict[str, Any]]:
    """Compare training with the peer and with itself."""
    rivals, words = train_rivals(task, seed)
    taken = take_turns(rivals, TRAIN_ROUNDS)
    speeds = {name: round(words / sorted(seconds)[len(seconds) // 2]) for name, seconds in taken.items()}
    rows = []
    for own, peer, goal in ((OURS_CRF, PACKED_CRF, 5.0), (OURS, PACKED, 1.0), (OURS_CRF, OURS, 0.85)):
        told = f"{speeds[own]:,} words per CPU second against {speeds[peer]:,}"
        name = "with a CRF" if own == OURS_CRF else "without a CRF"
        claim = f"{where}: training a BiLSTM-{WIDTH} tagger {name}, {told}"
        ratio = round(median_ratio(taken[peer], taken[own]), 2)
        rows.append({"claim": claim, "peer": peer, "goal": goal, "ratio": ratio})
    return rows


# 2. In use


def recipe_settings(data: Path | None, folder: str, *, crf: bool, options: list[str]) -> TaggingSettings:
    """Read the shipped settings, for other data and with or without a CRF."""
    name = "lstm_embedded" if data is None else "lstm_ud_ewt"
    own = [] if data is None else [f"--data.path={data}"]
    quiet = ["--training.disable_tqdm=true", "--training.report_to=none", "--training.use_cpu=true"]
    wanted = ["--config", str(CONFIGS / f"{name}.yaml"), *own, *quiet, *options]
    return read_settings(
        TaggingSettings, [*wanted, f"--training.output_dir={folder}", f"--model.crf={str(crf).lower()}"]
    )


def train_recipe(settings: TaggingSettings, task: TaggedTask) -> Trained:
    """Train as `recipes/token_classification.py` does; evaluations count as training."""
    args = SequenceTrainingArguments(**settings.training)
    set_seed(args.seed)
    tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
    tokens = make_tokens(task, tokenizer, settings.tokenizer)
    model = make_model(settings, task, tokenizer)
    trainer = SequenceTrainer(
        model=model,
        args=args,
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorForTokenClassification(tokenizer),
        compute_metrics=tagging_metrics(task.classes.all_names),
        preprocess_logits_for_metrics=best_tags,
    )
    trainer.remove_callback(PrinterCallback)
    started = time.process_time()
    trainer.train()
    seconds = time.process_time() - started
    choose_decoding(trainer, tokens["validation"], problem_of(task), named=settings.model.get("decoding"))
    words = int(args.num_train_epochs * sum(map(len, task.dataset["train"]["tokens"][:])))
    return Trained(model.eval(), tokenizer, seconds, words)


def lists(rows: Rows) -> Iterator[Rows]:
    """Cut rows into lists of 32, in their order."""
    for at in range(0, len(rows), BATCH):
        yield rows[at : at + BATCH]


def read(trained: Trained, texts: Rows) -> Any:
    """Turn a list of texts into a batch."""
    return trained.tokenizer(texts, is_split_into_words=True, padding=True, return_tensors="pt")


def label(trained: Trained, batch: Any) -> list[list[int]]:
    """Return the best label of each token."""
    with torch.inference_mode():
        return trained.model(**batch).logits.argmax(-1).tolist()


def of_words(trained: Trained, texts: Rows, batch: Any, best: list[list[int]]) -> Iterator[list[str]]:
    """Name the tag of each word's first token."""
    names = trained.model.config.id2label
    for row, (text, ids) in enumerate(zip(texts, best, strict=True)):
        tags = dict.fromkeys(range(len(text)), 0)
        for own, word in zip(reversed(ids), reversed(batch.word_ids(row)), strict=True):
            tags[word] = own  # the first token of a word comes last
        yield [names[tags[word]] for word in range(len(text))]


def tag(trained: Trained, rows: Rows) -> Rows:
    """Tag words, list by list: tokenizer, model, and the tag of each word's first token."""
    found: list[list[str]] = []
    for texts in lists(rows):
        batch = read(trained, texts)
        found += of_words(trained, texts, batch, label(trained, batch))
    return found


def shares(trained: Trained, rows: Rows) -> dict[str, float]:
    """Return which share of the time of `tag` its three parts take."""
    seconds = dict.fromkeys(("tokenizer", "model", "words"), 0.0)
    for texts in lists(rows):
        at = [time.process_time()]
        batch = read(trained, texts)
        at.append(time.process_time())
        best = label(trained, batch)
        at.append(time.process_time())
        list(of_words(trained, texts, batch, best))
        at.append(time.process_time())
        for part, (start, end) in zip(seconds, pairwise(at), strict=True):
            seconds[part] += end - start
    return {part: round(taken / sum(seconds.values()), 3) for part, taken in seconds.items()}


def tag_packed(peer: PackedTagger, tokenizer: Any, names: list[str], rows: Rows) -> Rows:
    """Tag words by the peer, one token a word."""
    found: list[list[str]] = []
    for texts in lists(rows):
        batch = tokenizer(texts, is_split_into_words=True, padding=True, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            best = peer.best(batch["input_ids"], batch["attention_mask"].bool())
        found += [[names[label] for label in row] for row in best]
    return found


def use_rivals(task: TaggedTask, models: dict[str, Trained], peers: dict[str, Peer], rows: Rows) -> dict[str, Any]:
    """Return who tags these rows; the names of ours are those of `models`."""
    rivals: dict[str, Callable[[], Any]] = {}
    for name, trained in models.items():
        rivals[name] = partial(tag_words, trained.model, trained.tokenizer, rows, batch_size=BATCH)
        rivals[f"{BY_HAND}, {name}"] = partial(tag, trained, rows)
        pipe = pipeline("token-classification", model=trained.model, tokenizer=trained.tokenizer, device="cpu")
        rivals[f"{STOCK}, {name}"] = partial(pipe, [" ".join(row) for row in rows], batch_size=BATCH)
    names = task.classes.names
    whole = train_tokenizer([" ".join(row) for row in rows], "whitespace", min_frequency=1)
    for name, own, with_crf in (
        (PACKED, WHOLE, False),
        (PACKED_CRF, WHOLE_CRF, True),
    ):  # untrained: the speed is the same
        model = plain_model(whole, names, with_crf=with_crf).eval()
        rivals[own] = partial(tag, Trained(model, whole, 0.0, 0), rows)
        peer = PackedTagger(len(whole), WIDTH, len(names), DROPOUT, with_crf=with_crf).eval()
        rivals[name] = partial(tag_packed, peer, whole, names, rows)
    return rivals | {name: partial(peer.tag, rows) for name, peer in peers.items()}


def use_rows(task: TaggedTask, models: dict[str, Trained], peers: dict[str, Peer], where: str) -> list[dict[str, Any]]:
    """Compare tagging: the goal of 30,000 words, then each peer."""
    metric, expected = TAGGING[problem_of(task)][0], task.tags("test")
    asked = task.dataset["test"]["tokens"][:]
    answers = {name: tag(trained, asked) for name, trained in models.items()}
    answers |= {name: peer.tag(asked) for name, peer in peers.items()}
    scores = {name: round(100 * score_tags(metric, expected, found), 2) for name, found in answers.items()}
    rows = asked[:USED_ROWS]
    taken = take_turns(use_rivals(task, models, peers, rows), USE_ROUNDS)
    words = sum(map(len, rows))
    speeds = {name: round(words / sorted(seconds)[len(seconds) // 2]) for name, seconds in taken.items()}
    for name, speed in speeds.items():
        print(f"{name:40} {speed:9,} words per CPU second, {metric} {scores.get(name, float('nan')):.2f}", flush=True)
    found = []
    for name, trained in models.items():
        claim = f"{where}: tag_words, {BATCH} texts at once, {name}, {speeds[name]:,} words per CPU second at "
        others = ", ".join(f"{how} {speeds[f'{how}, {name}']:,}" for how in (BY_HAND, STOCK))
        claim += f"{metric} {scores[name]} (wanted with {WANTED_ACCURACY}); {others}"
        found.append(
            {
                "claim": claim,
                "peer": f"{WANTED_WORDS:,} words",
                "goal": 1.0,
                "ratio": round(speeds[name] / WANTED_WORDS, 2),
                "shares_by_hand": shares(trained, rows),
                "train_cpu_seconds": round(trained.seconds, 1),
                "words_per_cpu_second_of_training": round(trained.words / trained.seconds),
            }
        )
    pairs = [
        (OURS_CRF, OURS, 0.9),
        (WHOLE, PACKED, 1.0),
        (WHOLE_CRF, PACKED_CRF, 1.0),
        *((OURS_CRF, name, 1.0) for name in peers),
    ]
    for own, peer, goal in pairs:
        told = f"{speeds[own]:,} words per CPU second against {speeds[peer]:,}"
        right = f"; {metric} {scores[own]} against {scores[peer]}" if peer in scores else ""
        row = {"claim": f"{where}: tagging, {own}, {told}{right}", "peer": peer, "goal": goal}
        row["ratio"] = round(median_ratio(taken[peer], taken[own]), 2)
        if peer in peers:
            row["train_cpu_seconds"], row["peer_train_cpu_seconds"] = (
                round(each.seconds, 1) for each in (models[own], peers[peer])
            )
        found.append(row)
    return found


def main() -> None:
    """Measure, print, and keep what was measured on real texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of Parquet files; without it embedded slots are measured")
    parser.add_argument("--seed", type=int, default=0)
    arguments, changes = parser.parse_known_args()
    torch.set_num_threads(1)
    silence_progress()
    data, options = arguments.data, [*changes, f"--training.seed={arguments.seed}"]
    where = "embedded slots" if data is None else "UD EWT"
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            name: recipe_settings(data, f"{folder}/{name}", crf=name == OURS_CRF, options=options)
            for name in (OURS, OURS_CRF)
        }
        task = load_tagged(settings[OURS].data)
        rows = training_rows(task, arguments.seed, where)
        print_rows(rows)
        models = {name: train_recipe(own, task) for name, own in settings.items()}
        words, tags = task.dataset["train"]["tokens"][:], task.tags("train")
        made = {"CRFsuite": crfsuite(words, tags)}
        if not task.has_entities:
            made["spaCy"] = spacy_tagger(words, tags, arguments.seed)
        peers = {name: peer for name, peer in made.items() if peer is not None}
        rows += use_rows(task, models, peers, where)
    if data is None or changes:
        print_rows(rows)
        return
    command = f"python benchmarks/tagging.py --data data/ud_english_ewt --seed {arguments.seed}"
    write_result("tagging", command=command, peer="named in the row", rows=rows)


if __name__ == "__main__":
    main()
