"""Findings about the model: whether its shape fits the labels, what its units and its gradients do."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .evidence import Evidence, Kind, Rows
from .findings import LABELLED, Symptom, check, percent, slower

_LEARNT = 0.85  # accuracy on training rows from which a model is not too weak
_SMALL = 32  # hidden units of one direction
_TAGGERS: tuple[Kind, ...] = ("tags", "frames")


@check("error", "train", cure="`hfseq train text-classification`", kinds=("tags",))
def one_label_a_text(evidence: Evidence) -> Symptom | None:
    """Find a tagger whose texts have one label each: the topology is many-to-one, not many-to-many."""
    rows = evidence.train
    if rows is None or not rows.tags:
        return None
    real = [each[each >= 0] for each in rows.tags]
    longer = [each for each, ids in zip(real, rows.lengths, strict=True) if ids > _LONG]
    if len(longer) < 2:
        return None
    if all(len(each) <= 1 for each in longer):
        told = f"Each of {len(longer)} texts has one label for all its words, and the model tags each word"
    elif all(len(set(each.tolist())) == 1 for each in longer):
        told = f"In all {len(longer)} texts every word has the same label, and the model tags each word"
    else:
        return None
    cure = "train a classifier of texts: hfseq train text-classification DATA"
    return Symptom(f"{told}: a classifier reads the whole text before it answers.", advice=cure)


_LONG = 3  # tokens, the mark of the end included: a text of one word says nothing of the topology


@check("warning", "train", "validation", cure="`model.bidirectional=true`", kinds=_TAGGERS)
def needs_later_words(evidence: Evidence) -> Symptom | None:
    """Find a tagger that reads forward only, where the word behind tells the label better than the word before."""
    config, train, held_out = evidence.config, evidence.train, evidence.validation
    if getattr(config, "bidirectional", None) is not False or getattr(config, "characters", "none") != "none":
        return None
    if train is None or held_out is None or not train.tags or not held_out.tags:
        return None
    before, after = (_accuracy_by_neighbour(train, held_out, side) for side in (-1, 1))
    if after < before + 0.01:
        return None
    told = f"The word and the one behind it tell {percent(after)} of the labels, the word and the one before it"
    cure = {"model.bidirectional": True}
    return Symptom(f"{told} {percent(before)}; this model has not read what is behind when it answers.", cure)


def _accuracy_by_neighbour(train: Rows, held_out: Rows, side: int) -> float:
    """Count which label a word has beside its neighbour, and say how often that is right."""
    seen: defaultdict[Hashable, Counter[int]] = defaultdict(Counter)
    for keys, tag in _contexts(train, side):
        for key in keys:
            seen[key][tag] += 1
    best = {key: counts.most_common(1)[0][0] for key, counts in seen.items()}
    right = total = 0
    for keys, tag in _contexts(held_out, side):
        found = next((best[key] for key in keys if key in best), None)
        right, total = right + (found == tag), total + 1
    return right / max(total, 1)


def _contexts(rows: Rows, side: int) -> Any:
    """Yield for each label the word with its neighbour, and the word alone."""
    for ids, tags in zip(rows.ids, rows.tags or (), strict=True):
        row = ids.tolist()
        for place, tag in enumerate(tags.tolist()):
            if tag >= 0:
                other = place + side
                neighbour = row[other] if 0 <= other < len(row) else None
                yield ((row[place], neighbour), row[place]), tag


@check(
    "error", "padding_labels", cure="-100 at padding (DataCollatorForTokenClassification)", kinds=("tags", "frames")
)
def padding_in_loss(evidence: Evidence) -> Symptom | None:
    """Find a loss that counts padding, an output that does not matter."""
    share = evidence.padding_labels
    assert share is not None
    if share == 0:
        return None
    told = f"{percent(share)} of the labels in a batch stand at padding, and the loss counts them"
    return Symptom(
        f"{told}: the model learns to answer nothing.",
        advice="label padding with -100, as DataCollatorForTokenClassification does",
    )


@check("hint", "train", cure="judge by F1 of entities, not by accuracy", kinds=("tags",))
def one_tag_everywhere(evidence: Evidence) -> Symptom | None:
    """Find a loss that is nearly all about one tag, so that accuracy says little."""
    rows = evidence.train
    if rows is None or not rows.tags:
        return None
    tags = np.concatenate(rows.tags)
    counts = np.bincount(tags[tags >= 0], minlength=1)
    share = float(counts.max() / max(counts.sum(), 1))
    if share < 0.9 or len(counts[counts > 0]) < 2:
        return None
    name = evidence.slots[int(counts.argmax())] if len(evidence.slots) > counts.argmax() else counts.argmax()
    told = f"{percent(share)} of the words have the tag {name}, so that accuracy is high without finding anything"
    metric = evidence.training.get("metric_for_best_model")
    cure = {} if metric and "f1" in str(metric) else {"training.metric_for_best_model": "entity_f1"}
    return Symptom(f"{told}.", cure, "judge by F1 of entities")


def _is_weak(evidence: Evidence) -> bool:
    """Tell whether the model cannot answer even what it has learnt from, while it does learn something."""
    train, held_out = evidence.train_answers, evidence.validation_answers
    assert train is not None and held_out is not None
    # Some words have no label that anybody can tell: a model at the level of its validation rows may be at its best.
    is_weak = train.accuracy < _LEARNT and train.accuracy - held_out.accuracy < 0.1
    return is_weak and train.beats_most_frequent


@check("warning", "train_answers", "validation_answers", cure="`model.hidden_size` higher", kinds=LABELLED)
def too_small(evidence: Evidence) -> Symptom | None:
    """Find a high training loss of a model with few hidden units."""
    hidden = getattr(evidence.config, "hidden_size", None)
    if not hidden or hidden >= _SMALL or not _is_weak(evidence):
        return None
    assert evidence.train_answers is not None
    told = f"With {hidden} hidden units the model is right in {percent(evidence.train_answers.accuracy)}"
    return Symptom(
        f"{told} of its own training rows: it is too small for them.", {"model.hidden_size": max(4 * hidden, 64)}
    )


@check("hint", "train_answers", "validation_answers", cure="`model.num_hidden_layers=2`", kinds=LABELLED)
def one_layer(evidence: Evidence) -> Symptom | None:
    """Find a high training loss of a model with one layer that is wide enough."""
    layers, hidden = evidence.model_fields("num_hidden_layers", "hidden_size")
    if layers != 1 or not hidden or hidden < _SMALL or not _is_weak(evidence):
        return None
    assert evidence.train_answers is not None
    told = (
        f"One layer of {hidden} units is right in {percent(evidence.train_answers.accuracy)} of its own training rows."
    )
    return Symptom(told, {"model.num_hidden_layers": 2})


@check("hint", "train_answers", "validation_answers", cure="`model.bidirectional=true`", kinds=LABELLED)
def reads_one_way(evidence: Evidence) -> Symptom | None:
    """Find a high training loss of a model that reads forward only, where its task allows both directions."""
    if getattr(evidence.config, "bidirectional", None) is not False or not _is_weak(evidence):
        return None
    assert evidence.train_answers is not None
    told = (
        f"The model reads forward only and is right in {percent(evidence.train_answers.accuracy)} of its training rows"
    )
    return Symptom(f"{told}; this task shows it the whole text.", {"model.bidirectional": True})


@check("warning", "train_answers", "validation_answers", cure="dropout lower", kinds=LABELLED)
def too_much_dropout(evidence: Evidence) -> Symptom | None:
    """Find a high training loss of a model that drops most of what it computes."""
    names = ("hidden_dropout", "embedding_dropout", "classifier_dropout", "weight_drop", "dropout")
    high = {name: value for name in names if (value := getattr(evidence.config, name, None) or 0) >= 0.6}
    if not high or not _is_weak(evidence):
        return None
    assert evidence.train_answers is not None
    told = " and ".join(f"{name}={value:g}" for name, value in high.items())
    text = f"{told}, and the model is right in {percent(evidence.train_answers.accuracy)} of its own training rows."
    return Symptom(text, {f"model.{name}": 0.3 for name in high})


@check("warning", "gradients", cure="`model.type=lstm` or gru; shorter texts, pooling over all steps")
def gradient_vanishes(evidence: Evidence) -> Symptom | None:
    """Find a gradient that vanishes within the length of the texts, in a model that does not learn them."""
    if evidence.gradients.kind != "vanishes" or not _suffers(evidence):
        return None
    cure: dict[str, Any] = {}
    if getattr(evidence.config, "model_type", "") == "hfseq_rnn":
        cure["model.type"] = "lstm"
    elif getattr(evidence.config, "pooling", None) == "last" and evidence.kind == "classes":
        cure["model.pooling"] = "max"
    return Symptom(_sentence(evidence), cure, "" if cure else "residual layers, or shorter texts")


@check("error", "gradients", cure="`training.max_grad_norm=1`, `training.learning_rate` lower")
def gradient_explodes(evidence: Evidence) -> Symptom | None:
    """Find a gradient that explodes on its way through the steps, in a model that does not learn."""
    if evidence.gradients.kind != "explodes" or not _suffers(evidence):
        return None
    cure: dict[str, Any] = {}
    if not evidence.training.get("max_grad_norm", 1.0):
        cure["training.max_grad_norm"] = 1.0
    else:
        cure = slower(evidence, 0.3)
    return Symptom(_sentence(evidence), cure)


def _suffers(evidence: Evidence) -> bool:
    """Tell whether the answers are bad too: an uneven gradient alone is no illness."""
    if evidence.kind == "language":
        _, losses = evidence.logged("eval_loss")
        counted = evidence.counted_loss()
        return counted is not None and len(losses) > 0 and bool(losses[-1] > 0.9 * counted)
    train = evidence.train_answers
    return train is not None and train.accuracy < _LEARNT


def _sentence(evidence: Evidence) -> str:
    told = f"The gradient {evidence.gradients.verdict.strip().rstrip('.')}"
    if evidence.train_answers is None:
        return f"{told}."
    return f"{told}; the model is right in {percent(evidence.train_answers.accuracy)} of its own training rows."


@check("warning", "units", cure="`model.nonlinearity=tanh`, `training.learning_rate` lower")
def dead_units(evidence: Evidence) -> Symptom | None:
    """Find units that give the same number for every token of a batch, such as ReLUs that are always zero."""
    assert evidence.units is not None
    worst = max(evidence.units, key=lambda each: each.dead, default=None)
    if worst is None or worst.dead < 0.25:
        return None
    cure: dict[str, Any] = (
        {"model.nonlinearity": "tanh"} if getattr(evidence.config, "nonlinearity", "") == "relu" else {}
    )
    cure = cure or slower(evidence, 0.3)
    return Symptom(
        f"{percent(worst.dead)} of the units of {worst.name} never change over a batch: they are dead.", cure
    )


@check("warning", "units", cure="`training.learning_rate` lower, `training.weight_decay`")
def saturated_units(evidence: Evidence) -> Symptom | None:
    """Find outputs that stay at the ends of tanh or sigmoid, where no gradient passes."""
    assert evidence.units is not None
    worst = max(evidence.units, key=lambda each: each.saturated, default=None)
    if worst is None or worst.saturated < 0.5:
        return None
    told = f"{percent(worst.saturated)} of the outputs of {worst.name} are beyond 0.99, where tanh passes no gradient."
    return Symptom(told, {**slower(evidence, 0.1), "training.weight_decay": 0.01})


@check("hint", "units", cure="`training.learning_rate` lower, `training.weight_decay`")
def stuck_gates(evidence: Evidence) -> Symptom | None:
    """Find gates that are open or closed at every step, so that they decide nothing."""
    assert evidence.units is not None
    gated = [each for each in evidence.units if each.stuck_gates is not None]
    worst = max(gated, key=lambda each: each.stuck_gates or 0, default=None)
    if worst is None or (worst.stuck_gates or 0) < 0.5:
        return None
    told = (
        f"{percent(worst.stuck_gates or 0)} of the gates of {worst.name} are open or closed at every step of a batch."
    )
    return Symptom(told, {**slower(evidence, 0.3), "training.weight_decay": 0.01})


@check("error", "tensors", cure="`embeddings.freeze=false`, or vectors to start from")
def embeddings_never_learn(evidence: Evidence) -> Symptom | None:
    """Find embeddings that are frozen at random numbers."""
    assert evidence.tensors is not None
    section = evidence.settings.get("embeddings", {})
    if not evidence.tensors.get("frozen_embeddings") or section.get("from_pretrained") or _has_source(evidence):
        return None
    cure = {"embeddings.freeze": False} if section else {"model.freeze_embeddings": False}
    return Symptom("The embeddings are frozen, and they started from random numbers: no word is ever learnt.", cure)


def _has_source(evidence: Evidence) -> bool:
    return bool(evidence.settings.get("transfer", {}).get("from_pretrained"))


@check("warning", "tensors", cure="freeze them, or use what they compute")
def weights_without_gradient(evidence: Evidence) -> Symptom | None:
    """Find weights that no gradient reaches, although they are to be trained."""
    assert evidence.tensors is not None
    lost: Sequence[str] = evidence.tensors.get("without_gradient", ())
    if not lost:
        return None
    told = f"{len(lost)} weights get no gradient from a batch: {', '.join(lost[:3])}{' ...' if len(lost) > 3 else ''}."
    return Symptom(told, advice="take them out of the model, or use what they compute")
