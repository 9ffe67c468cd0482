"""The parts of `recipes/trees.py`: its tokens, its model, what is measured, and the facts of its card."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from datasets import Dataset, DatasetDict
from scipy.special import softmax
from transformers import Pipeline, PreTrainedModel, pipeline

from ...cards.confusion import most_confused
from ...cards.facts import Examples, SeedRun
from ...cards.measure import collect_examples, widget_entries
from ...data.negations import negated_nodes
from ...data.treebanks import TreeTask, tokenize_trees
from ...evaluation.scores import compute_score
from ...evaluation.trainer_metrics import NODES, ROOT
from ...evaluation.trees import NOT_SCORED, NegationCount, binary_roots, by_length, negation_count
from ...models.base import IGNORED
from ...models.recurrent.compositions import COMPOSITIONS
from ...models.recurrent.recursive import RecursiveConfig
from ...recipe.embeddings import fill_embeddings
from ...recipe.pictures import draw_confusion
from ...recipe.publish import run_facts, split_line
from ...recipe.sections import build_model, label_options, token_options
from ...recipe.texts import UNCUT, speed_line, text_facts
from ...tokenization.trees import TreeTokenizer
from ...training.trainer import SequenceTrainer
from .card import ON_THE_HUB, TASK, negation_line
from .facts import LengthFacts, NegationFacts, TreeAnswer, TreeFacts
from .rivals import rivals
from .settings import TreesSettings, TreeTokenizerSettings


class Answers(NamedTuple):
    """What a model says of the rows of a split."""

    logits: np.ndarray  # (rows, L) of the roots
    nodes: np.ndarray  # (rows, N) the likeliest class of each node


def make_tokenizer(task: TreeTask, settings: TreeTokenizerSettings) -> TreeTokenizer:
    """Train the tokenizer on the words of the training trees."""
    return settings.train_on_trees(task.dataset["train"]["tree"][:])


def make_tokens(task: TreeTask, tokenizer: TreeTokenizer, settings: TreesSettings) -> DatasetDict:
    """Turn the trees of all splits into ids; only training trees may be left out for their size."""
    longest = cast(int, settings.tokenizer.max_length)
    tokens = DatasetDict(
        {
            split: tokenize_trees(rows, tokenizer, settings.data.labels, longest if split == "train" else UNCUT)
            for split, rows in task.dataset.items()
        }
    )
    composition = settings.model.get("composition", RecursiveConfig.composition)
    if settings.model.get("tree", "given") == "given" and not COMPOSITIONS[composition].is_sum:
        _check_binary(tokens, tokenizer, composition)
    return tokens


def _check_binary(tokens: DatasetDict, tokenizer: TreeTokenizer, composition: str) -> None:
    """Refuse nodes of more than two children before training begins, and say in which tree."""
    for split, rows in tokens.items():
        for place, parents in enumerate(rows["parents"][:]):
            most = int(np.bincount(parents, minlength=2)[1:].max())
            if most > 2:
                text = tokenizer.decode(rows[place]["input_ids"])
                raise ValueError(
                    f"Split {split!r}: the tree of {text[:60]!r} has a node of {most} children, and "
                    f"model.composition={composition!r} reads two at most: binarise the trees (hfseq.data.trees), or "
                    "set model.composition=child_sum."
                )


def make_model(settings: TreesSettings, task: TreeTask, tokenizer: TreeTokenizer) -> PreTrainedModel:
    """Build the model of the `model` section for these labels and this vocabulary."""
    options = {**label_options(task.classes.names), "problem_type": "single_label_classification"}
    options |= {**token_options(tokenizer), "node_token_id": tokenizer.node_token_id}
    model = build_model(ON_THE_HUB, settings.model, freeze_embeddings=settings.embeddings.freeze, **options)
    fill_embeddings(model, tokenizer, settings.embeddings, task.dataset["train"]["text"][:])
    return model


def answers_of(trainer: SequenceTrainer, rows: Dataset) -> Answers:
    """Ask the model for the roots and nodes of trees."""
    predictions: Any = trainer.predict(rows, ignore_keys=NOT_SCORED).predictions
    return Answers(*predictions[:2])


def score(task: TreeTask, split: str, answers: Answers, *, has_nodes: bool) -> dict[str, float]:
    """Score the answers to a split, nodes too where the trees that were read are those with the labels."""
    roots = task.roots(split)
    found = {ROOT: compute_score(ROOT, answers.logits.argmax(-1), roots)}
    if has_nodes:
        labels, told = _flat(task, split, answers)
        is_labelled = labels != IGNORED
        found[NODES] = compute_score(NODES, told[is_labelled], labels[is_labelled])
    if task.is_scale:
        found |= binary_roots(answers.logits, roots)
    return found


def nodes_are_known(settings: TreesSettings) -> bool:
    """Tell whether the nodes that a model reads are those whose labels the data tell."""
    return settings.data.label_column is None and settings.model.get("tree", "given") == "given"


def _flat(task: TreeTask, split: str, answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of all nodes of a split, one tree behind the other, and what was told of them."""
    labels = task.dataset[split]["labels"][:]
    told = [row[: len(own)] for row, own in zip(answers.nodes, labels, strict=True)]
    return np.concatenate(labels), np.concatenate(told)


def card_facts(
    settings: TreesSettings,
    task: TreeTask,
    split: str,
    folder: Path,
    *,
    tokens: DatasetDict,
    answers: Answers,
    run: SeedRun,
) -> TreeFacts:
    """Gather what the card says of the run and of the saved model, loaded back as anybody would load it."""
    card, rows = settings.card, task.dataset[split]
    pipe = pipeline(TASK, model=str(folder), device="cpu", trust_remote_code=False)  # type: ignore[call-overload]
    has_nodes, config = nodes_are_known(settings), pipe.model.config
    beside = rivals(task, split, settings.data.labels)
    roots, shares = task.roots(split), softmax(answers.logits, -1)
    best, names = answers.logits.argmax(-1), task.classes.all_names
    draw_confusion(names, roots, best, folder)
    shared = text_facts(settings, task.dataset, rows["tree"][:], split, pipe)
    longest = max(tokens["train"]["length"][:])
    shared["architecture"] = dataclasses.replace(shared["architecture"], max_length=longest)
    examples = Examples()
    if card.shows_rows:
        expected, predicted = ([names[each] for each in labels] for labels in (roots, best))
        examples = collect_examples(rows["text"][:], expected, predicted, shares.max(-1).tolist())
    return TreeFacts(
        **run_facts(card, pipe.model, folder, run),
        **shared,
        composition=config.composition,
        tree=config.tree,
        learns=settings.data.labels,
        labels=task.classes.names,
        label_map=settings.data.label_map,
        nodes={name: sum(part["length"][:]) for name, part in tokens.items()},
        lengths=_lengths(task, split, answers, beside.nodes) if has_nodes else [],
        negation=_negation(settings, task, split, answers, beside.nodes) if has_nodes else None,
        confusions=most_confused(names, roots, best),
        examples=examples,
        widgets=_asked(folder, pipe, card.ask),
        comparisons=[*beside.comparisons, *card.published()],
    )


def report_lines(facts: TreeFacts) -> Iterator[str]:
    """Say of the finished model what it answers, how good and how fast it is."""
    for widget in facts.widgets:
        yield f"{widget.text!r} -> {widget.output[0].label} ({widget.output[0].score:.2f}) {widget.brackets}"
    if facts.negation is not None:
        yield f"negations: {negation_line(facts.negation)}"
    yield split_line(facts.data.evaluated_split, facts.runs[0].metrics)
    yield speed_line(facts.speed)


def _lengths(task: TreeTask, split: str, answers: Answers, peer: np.ndarray | None) -> list[LengthFacts]:
    """Count phrases by their lengths."""
    lengths = np.array([end - start for tree in task.trees(split) for start, end in tree.spans()])
    labels, told = _flat(task, split, answers)
    is_labelled = labels != IGNORED
    rows = by_length(lengths[is_labelled], (told == labels)[is_labelled])
    others: list[float | None] = [None] * len(rows)
    if peer is not None:
        others = [row.right / row.phrases for row in by_length(lengths[is_labelled], (peer == labels)[is_labelled])]
    return [
        LengthFacts(
            shortest=row.shortest,
            longest=row.longest,
            phrases=row.phrases,
            accuracy=row.right / row.phrases,
            peer=other,
        )
        for row, other in zip(rows, others, strict=True)
    ]


def _negation(
    settings: TreesSettings, task: TreeTask, split: str, answers: Answers, peer: np.ndarray | None
) -> NegationFacts | None:
    """Count what is told of phrases with a negation; None where the split has none."""
    words = settings.data.negations
    pairs = [negated_nodes(tree, words) for tree in task.trees(split)]
    labels = task.dataset[split]["labels"][:]
    found = negation_count(pairs, labels, answers.nodes)
    if not found.phrases:
        return None
    other: NegationCount | None = None
    if peer is not None:
        ends = np.cumsum([len(row) for row in labels])[:-1]
        other = negation_count(pairs, labels, np.split(peer, ends))
    return NegationFacts(
        words=words,
        phrases=found.phrases,
        accuracy=found.right / found.phrases,
        changed=found.changed / found.phrases,
        changed_accuracy=found.right_of_changed / found.changed if found.changed else None,
        peer=None if other is None else other.right / other.phrases,
    )


def _asked(folder: Path, pipe: Pipeline, texts: list[str]) -> list[TreeAnswer]:
    whole = pipeline(ON_THE_HUB, model=str(folder), device="cpu", trust_remote_code=False)
    found: Any = [pipe(text) for text in texts]
    return [
        TreeAnswer(text=widget.text, output=widget.output, brackets=answer["brackets"])
        for widget, answer in zip(widget_entries(whole, texts), found, strict=True)
    ]
