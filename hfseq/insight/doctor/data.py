"""Findings about the data: rows that repeat, labels that disagree, lost texts, splits that tell too little."""

from collections import Counter, defaultdict
from collections.abc import Hashable

import numpy as np

from .evidence import Evidence, Rows
from .findings import LABELLED, Symptom, check, margin, percent

_CONFIDENT, _KNOWS = 0.85, 0.7  # probability of an answer; accuracy from which a model's doubts about labels count
_WIDEST = 0.05  # half of a confidence interval of accuracy that still tells two models apart
_IMBALANCED = 20
_LONG_ROW = 3  # tokens: shorter rows ("thanks .") repeat in any data


def _counted(rows: Rows) -> Counter[Hashable]:
    return Counter(text for text, length in zip(rows.texts, rows.lengths, strict=True) if length > _LONG_ROW)


@check("warning", "train", cure="take the rows out", kinds=LABELLED)
def empty_texts(evidence: Evidence) -> Symptom | None:
    """Find texts without a word, which have labels all the same."""
    assert evidence.train is not None
    empty = sum(1 for text in evidence.train.texts if _is_empty(text))
    if not empty:
        return None
    told = f"{empty} of {len(evidence.train)} training texts are empty, and their labels teach nothing but noise."
    return Symptom(told, advice="take these rows out of the data")


def _is_empty(text: Hashable) -> bool:
    return not text.strip() if isinstance(text, str) else isinstance(text, tuple) and not len(text)


@check("hint", "train", cure="keep one of each")
def repeated_texts(evidence: Evidence) -> Symptom | None:
    """Find training texts that stand there more than once."""
    assert evidence.train is not None
    counts = _counted(evidence.train)
    rows, extra = sum(counts.values()), sum(count - 1 for count in counts.values())
    if rows < 2 or extra < 0.1 * rows:
        return None
    told = f"{extra} of {rows} training texts repeat another one ({percent(extra / rows)}): they count several times."
    return Symptom(told, advice="keep one of each in the data")


@check("error", "train", cure="take them out of train, or split anew")
def test_rows_in_train(evidence: Evidence) -> Symptom | None:
    """Find validation or test texts that stand in the training data too, so that scores are too good."""
    assert evidence.train is not None
    known = set(_counted(evidence.train))
    for name, rows in (("test", evidence.test), ("validation", evidence.validation)):
        if rows is None:
            continue
        counts = _counted(rows)
        shared, total = sum(count for text, count in counts.items() if text in known), sum(counts.values())
        if shared >= max(3, 0.02 * total):
            told = f"{shared} of {total} {name} texts ({percent(shared / total)}) stand in train too"
            return Symptom(f"{told}: the score on {name} is too good.", advice="take them out of train, or split anew")
    return None


@check("warning", "train", cure="mend the labels", kinds=("classes", "frames"))
def same_text_other_label(evidence: Evidence) -> Symptom | None:
    """Find equal training texts with different labels: no model can learn both."""
    rows = evidence.train
    if rows is None or rows.classes is None:
        return None
    labels: defaultdict[Hashable, Counter[int]] = defaultdict(Counter)
    for text, label in zip(rows.texts, rows.classes.tolist(), strict=True):
        labels[text][label] += 1
    lost = sum(sum(each.values()) - max(each.values()) for each in labels.values())
    if lost < max(2, 0.01 * len(rows)):
        return None
    told = f"{lost} of {len(rows)} training texts have another label than an equal text ({percent(lost / len(rows))})"
    return Symptom(f"{told}: no model can get these right.", advice="look at these rows and mend their labels")


@check("warning", "train_answers", cure="look at these rows; mend their labels", kinds=LABELLED)
def sure_of_another_label(evidence: Evidence) -> Symptom | None:
    """Find training labels that a model, which is mostly right, is sure are wrong: labels with noise."""
    answers = evidence.train_answers
    assert answers is not None
    wrong = answers.expected != answers.predicted
    doubtful = wrong & (answers.certainty > _CONFIDENT)
    share = float(doubtful.mean())
    # A model of hard texts is unsure where it is wrong.
    if answers.accuracy < _KNOWS or share < 0.03 or doubtful.sum() < 0.6 * wrong.sum():
        return None
    told = f"Of {len(answers)} training labels the model is sure (> {_CONFIDENT:g}) of another one in {percent(share)}"
    return Symptom(f"{told}, where it learnt from these very rows.", advice="look at these rows: labels may be wrong")


@check("warning", "train", "validation", cure="`tokenizer.min_count` or `tokenizer.vocab_size`, or subwords")
def unknown_words(evidence: Evidence) -> Symptom | None:
    """Find many validation words that the tokenizer does not know."""
    assert evidence.train is not None and evidence.validation is not None
    share, seen = evidence.validation.unknown, evidence.train.unknown or 0.0
    if share is None or share - margin(share, int(evidence.validation.lengths.sum())) < 0.1:
        return None
    told = f"{percent(share)} of the validation tokens are unknown words ({percent(seen)} in train): they look alike."
    if seen > 0.05:  # training itself loses words, so that the vocabulary is too small for it
        size = getattr(evidence.config, "vocab_size", None) or 10_000
        least = evidence.settings.get("tokenizer", {}).get("min_count")
        if least == 1 or size >= 0.98 * (evidence.settings.get("tokenizer", {}).get("vocab_size") or 10_000):
            return Symptom(told, {"tokenizer.vocab_size": 4 * size})
        return Symptom(told, {"tokenizer.min_count": 1})
    return Symptom(told, {"tokenizer.kind": "bpe"}, "or start from word vectors: --embeddings.from_pretrained=FILE")


@check("warning", "train", cure="`tokenizer.max_length`")
def cut_texts(evidence: Evidence) -> Symptom | None:
    """Find training texts that are cut, so that the model never sees their ends."""
    rows = evidence.train
    assert rows is not None
    if evidence.kind == "language":
        return None
    longest = int(rows.lengths.max(initial=0))
    if rows.cut is not None:
        cut, needed = float((rows.cut > 0).mean()), int(np.quantile(rows.lengths + rows.cut, 0.99))
        lost = float(rows.cut.sum() / max(rows.cut.sum() + rows.lengths.sum(), 1))
    else:
        counts, lost, needed = np.bincount(rows.lengths, minlength=2), 0.0, 2 * longest
        cut = float(counts[-1] / max(len(rows), 1))
        if longest < 16 or counts[-1] < 5 * counts[-2] or len(np.unique(rows.lengths)) < 3:
            return None  # only a cut makes so many texts of one length, the greatest
    if cut < 0.1 and lost < 0.05:
        return None
    told = f"{percent(cut)} of the training texts are cut to {longest} tokens"
    told += f", and {percent(lost)} of all tokens are lost." if lost else "."
    return Symptom(told, {"tokenizer.max_length": needed})


@check("warning", "train", "validation_answers", cure="`training.class_weights=balanced`", kinds=("classes",))
def imbalanced_classes(evidence: Evidence) -> Symptom | None:
    """Find rare classes that are found far less often than the others."""
    rows, answers = evidence.train, evidence.validation_answers
    if rows is None or rows.classes is None or evidence.training.get("class_weights"):
        return None
    assert answers is not None
    counts = np.bincount(rows.classes[rows.classes >= 0], minlength=len(evidence.names))
    rare = np.flatnonzero((counts > 0) & (counts * _IMBALANCED <= counts.max()))
    asked = np.isin(answers.expected, rare)
    if not len(rare) or asked.sum() < 5:
        return None
    found = float((answers.predicted == answers.expected)[asked].mean())
    if found >= 0.5 * answers.accuracy:
        return None
    told = f"{len(rare)} classes have at most 1/{_IMBALANCED} of the rows of the largest, {counts.max()}"
    cure = {"training.class_weights": "balanced"}
    return Symptom(f"{told}: {percent(found)} of their texts are found, {percent(answers.accuracy)} of all.", cure)


@check("warning", "validation_answers", cure="`training.class_weights=balanced`, or more rows", kinds=LABELLED)
def never_answered(evidence: Evidence) -> Symptom | None:
    """Find labels that stand in the validation data and that the model never answers."""
    answers = evidence.validation_answers
    assert answers is not None
    if not answers.beats_most_frequent:
        return None
    size = int(max(answers.expected.max(initial=0), answers.predicted.max(initial=0))) + 1
    expected, predicted = (np.bincount(each, minlength=size) for each in (answers.expected, answers.predicted))
    lost = np.flatnonzero((expected >= 5) & (predicted == 0))
    if not len(lost):
        return None
    names = evidence.slots if evidence.kind == "tags" else evidence.names
    told = ", ".join(names[index] if index < len(names) else str(index) for index in lost[:5])
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    is_class = evidence.kind == "classes" and not evidence.training.get("class_weights")
    cure = {"training.class_weights": "balanced"} if is_class else {}
    counted = f"{len(lost)} of {(expected >= 5).sum()} labels are never answered"
    text = f"{counted}, although validation has them: {told}{more}."
    return Symptom(text, cure, "" if is_class else "give the data more rows of them")


@check(
    "hint",
    "validation_answers",
    "validation",
    cure="`data.validation_fraction`, more rows",
    kinds=("classes", "frames"),
)
def small_validation(evidence: Evidence) -> Symptom | None:
    """Find a validation split so small that chance decides between two models."""
    rows, answers = evidence.validation, evidence.validation_answers
    assert rows is not None and answers is not None
    right = min(max(answers.accuracy, 1 / len(rows)), 1 - 1 / len(rows)) if len(rows) > 1 else 0.5
    half = 1.96 * (right * (1 - right) / max(len(rows), 1)) ** 0.5
    if half <= _WIDEST and len(rows) >= 50:
        return None
    told = f"Validation has {len(rows)} rows: its accuracy of {percent(answers.accuracy)} is known"
    return Symptom(
        f"{told} to ±{100 * half:.0f} points at best.",
        advice="give more validation rows (--data.validation_fraction)",
    )


@check("warning", "train", cure="number the labels from 0; name those that there are", kinds=LABELLED)
def unused_labels(evidence: Evidence) -> Symptom | None:
    """Find outputs of the model whose label no training row has; labels that count from 1 leave one empty."""
    rows = evidence.train
    assert rows is not None
    if not rows.is_whole:  # in rows sorted by label, the first have few labels
        return None
    if evidence.kind == "tags":
        used = np.unique(np.concatenate(rows.tags)) if rows.tags else np.zeros(0, int)
        names = evidence.slots
    else:
        used, names = np.unique(rows.classes) if rows.classes is not None else np.zeros(0, int), evidence.names
    unused = [index for index in range(len(names)) if index not in set(used.tolist())]
    if not unused or len(unused) == len(names) or (evidence.kind == "tags" and len(unused) < 0.5 * len(names)):
        return None
    if unused == [0] and len(names) > 2:
        told = f"No training row has label 0, but labels 1 to {len(names) - 1} occur: they seem to count from 1."
        return Symptom(told, advice="number the labels from 0, or give their names")
    told = ", ".join(str(names[index]) for index in unused[:5])
    return Symptom(
        f"The model has {len(names)} outputs, and no training row has {len(unused)} of the labels: {told}.",
        advice="name only the labels that there are (data.label_names)",
    )


@check("hint", "train", cure="`training.train_sampling_strategy=group_by_length`", kinds=("classes", "tags", "frames"))
def padding_waste(evidence: Evidence) -> Symptom | None:
    """Find batches that are mostly padding, since texts of any length stand in one."""
    assert evidence.train is not None
    chosen, lengths = evidence.training.get("train_sampling_strategy"), evidence.train.lengths
    size = evidence.training.get("total_train_batch_size") or evidence.training.get("per_device_train_batch_size") or 8
    if chosen == "group_by_length" or evidence.training.get("group_by_length") or len(lengths) < 2 * size:
        return None
    order = np.random.default_rng(0).permutation(len(lengths))[: len(lengths) // size * size]
    waste = {}
    for name, rows in (("random", lengths[order]), ("sorted", np.sort(lengths[order]))):
        batches = rows.reshape(-1, size)
        waste[name] = 1 - float(batches.sum() / max(batches.max(1).sum() * size, 1))
    if waste["random"] < 0.4 or waste["random"] - waste["sorted"] < 0.2:
        return None
    told = f"{percent(waste['random'])} of a batch of {size} is padding; sorted by length {percent(waste['sorted'])}"
    return Symptom(f"{told} would be: training takes longer.", {"training.train_sampling_strategy": "group_by_length"})
