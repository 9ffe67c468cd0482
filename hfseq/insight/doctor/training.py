"""Findings about the training: its loss, its steps, its learning rate, its clipping, and how it ends."""

from typing import Any

import numpy as np

from .evidence import Evidence
from .findings import LABELLED, USUAL_RATE, Symptom, check, margin, percent, slower

_LEAST_LOGS = 4  # points of a curve before it tells anything
_LEAST_ANSWERS = 20  # with fewer a useful model may be level with the most frequent label by chance
_FIELDS = ("hidden_dropout", "embedding_dropout", "classifier_dropout", "dropout")


@check("error", cure="`training.learning_rate` lower, `training.max_grad_norm`")
def broken_numbers(evidence: Evidence) -> Symptom | None:
    """Find a loss or weights that are NaN or infinite."""
    broken = [
        f"the {name} of step {row.get('step', '?')} is {row[name]}"
        for row in evidence.history
        for name in ("loss", "eval_loss", "grad_norm")
        if isinstance(row.get(name), float) and not np.isfinite(row[name])
    ]
    weights = (evidence.tensors or {}).get("broken", [])
    if weights:
        broken.append(f"{len(weights)} weights hold NaN or infinite numbers ({weights[0]} first)")
    if not broken:
        return None
    return Symptom(f"The training broke down: {broken[0]}.", {**slower(evidence, 0.1), "training.max_grad_norm": 1.0})


@check("error", "history", cure="`training.learning_rate` lower, `training.warmup_steps`")
def diverged(evidence: Evidence) -> Symptom | None:
    """Find a training loss that climbs far above what it was before: the learning rate is too high."""
    steps, losses = evidence.logged("loss")
    if len(losses) < _LEAST_LOGS or not np.isfinite(losses).all():
        return None
    width = max(len(losses) // 5, 1)  # means, since a loss that is logged at each step jumps
    means = np.convolve(losses, np.full(width, 1 / width), "valid")
    last, best = float(means[-1]), float(means.min())
    if last < max(1.5 * best, best + 0.1) or last < 0.75 * losses[0]:
        return None
    told = (
        f"The training loss fell to {best:.3g} at step {steps[means.argmin() + width - 1]:.0f} and ends at {last:.3g}"
    )
    cure = {**slower(evidence, 0.1), "training.warmup_steps": 0.1}
    return Symptom(f"{told}: the learning rate of {_rate(evidence)} is too high.", cure)


def _rate(evidence: Evidence) -> str:
    _, rates = evidence.logged("learning_rate")
    return f"{evidence.training.get('learning_rate') or (rates.max() if len(rates) else 0):g}"


@check("error", "validation_answers", cure="see the other findings; `training.learning_rate`", kinds=LABELLED)
def no_better_than_most_frequent(evidence: Evidence) -> Symptom | None:
    """Find answers that are no better than always giving the most frequent label."""
    answers = evidence.validation_answers
    assert answers is not None
    if len(answers) < _LEAST_ANSWERS or answers.beats_most_frequent:
        return None
    told = f"The model is right in {percent(answers.accuracy)} of validation; the most frequent label alone is in"
    rate = evidence.training.get("learning_rate")
    cure = {"training.learning_rate": USUAL_RATE} if rate and not 0.2 < rate / USUAL_RATE < 8 else {}
    text = f"{told} {percent(answers.most_frequent)}: it has learnt nothing from the texts."
    return Symptom(text, cure, "" if cure else "look at the labels and at how texts and labels belong together")


@check("error", "history", "train", "validation", cure="`training.learning_rate`, more epochs", kinds=("language",))
def no_better_than_counts(evidence: Evidence) -> Symptom | None:
    """Find a language model that predicts no better than counts of single tokens."""
    _, losses = evidence.logged("eval_loss")
    counted = evidence.counted_loss()
    if counted is None or not len(losses) or not np.isfinite(losses[-1]) or losses[-1] < 0.98 * counted:
        return None
    told = f"Validation costs {losses[-1]:.3f} nats a token, and counts of single tokens cost {counted:.3f}"
    rate = evidence.training.get("learning_rate") or USUAL_RATE
    cure: dict[str, Any] = (
        {"training.learning_rate": USUAL_RATE} if not 0.2 < rate / USUAL_RATE < 8 else _longer(evidence)
    )
    return Symptom(f"{told}: the model has learnt nothing of what follows what.", cure)


@check("warning", "history", cure="`training.learning_rate` higher")
def learning_rate_too_low(evidence: Evidence) -> Symptom | None:
    """Find a loss that hardly falls, at a learning rate far below the usual."""
    _, losses = evidence.logged("loss")
    if len(losses) < _LEAST_LOGS:
        _, losses = evidence.logged("eval_loss")
    rate = evidence.training.get("learning_rate")
    if not rate or rate > 0.1 * USUAL_RATE or len(losses) < _LEAST_LOGS or not np.isfinite(losses).all():
        return None
    if _is_pretrained(evidence) or losses[-1] < 0.7 * losses[0]:
        return None
    told = f"The loss went from {losses[0]:.3g} to {losses[-1]:.3g} at a learning rate of {rate:g}"
    return Symptom(f"{told}; such networks learn with about {USUAL_RATE:g}.", {"training.learning_rate": USUAL_RATE})


def _is_pretrained(evidence: Evidence) -> bool:
    return bool(evidence.settings.get("transfer", {}).get("from_pretrained"))


@check("warning", "history", cure="`training.num_train_epochs` higher")
def still_falling(evidence: Evidence) -> Symptom | None:
    """Find a validation loss that is still falling fast where training ends: too few epochs."""
    steps, losses = evidence.logged("eval_loss")
    if len(losses) < 3:
        steps, losses = evidence.logged("loss")
    if len(losses) < 3 or not np.isfinite(losses).all() or losses.argmin() < len(losses) - 1:
        return None
    # What the last fifth of the steps still brought, of all that the training did.
    before = float(np.interp(steps[-1] - 0.2 * (steps[-1] - steps[0]), steps, losses))
    answers = evidence.validation_answers
    if before - losses[-1] < 0.1 * losses[-1] or (answers is not None and answers.accuracy > 0.95):
        return None
    told = f"The loss still falls where training ends, from {before:.3g} to {losses[-1]:.3g}"
    return Symptom(f"{told} in the last fifth of the steps.", _longer(evidence))


def _longer(evidence: Evidence) -> dict[str, Any]:
    steps = evidence.training.get("max_steps") or 0
    if steps > 0:
        return {"training.max_steps": 3 * int(steps)}
    if minutes := evidence.training.get("max_minutes"):
        return {"training.max_minutes": 3 * minutes}
    epochs = evidence.training.get("num_train_epochs") or 3
    return {"training.num_train_epochs": max(int(2 * epochs), 2)}


@check("hint", "history", "validation_answers", cure="more epochs, or no regression beside it", kinds=("classes",))
def network_adds_little(evidence: Evidence) -> Symptom | None:
    """Find a network that knows little, beside a regression of words that answers in its place."""
    answers = evidence.validation_answers
    assert answers is not None
    _, alone = evidence.logged("eval_accuracy")
    if not getattr(evidence.config, "wide_ngrams", 0) or not len(alone) or alone.max() > answers.accuracy - 0.1:
        return None
    told = f"The network alone is right in {percent(float(alone.max()))} of validation, with the regression of words"
    return Symptom(f"{told} beside it {percent(answers.accuracy)}: the network adds little.", _longer(evidence))


@check(
    "warning", "train_answers", "validation_answers", cure="dropout, a smaller model, an earlier stop", kinds=LABELLED
)
def overfits(evidence: Evidence) -> Symptom | None:
    """Find training rows that are answered far better than validation rows."""
    train, held_out = evidence.train_answers, evidence.validation_answers
    assert train is not None and held_out is not None
    gap = train.accuracy - held_out.accuracy
    error = float(np.hypot(margin(train.accuracy, len(train)), margin(held_out.accuracy, len(held_out))))
    if gap < 0.1 + error:
        return None
    told = (
        f"The model is right in {percent(train.accuracy)} of its training rows, and in {percent(held_out.accuracy)} of"
    )
    return Symptom(f"{told} validation: it has learnt rows by heart.", *_against_overfitting(evidence))


@check("warning", "history", cure="dropout, a smaller model, an earlier stop", kinds=("language",))
def validation_loss_climbs(evidence: Evidence) -> Symptom | None:
    """Find a language model whose validation loss climbs while its training loss falls."""
    steps, losses = evidence.logged("eval_loss")
    _, train = evidence.logged("loss")
    if len(losses) < 3 or not np.isfinite(losses).all() or losses[-1] < 1.03 * losses.min():
        return None
    if len(train) > 1 and train[-1] > train[0]:
        return None
    told = f"The validation loss was {losses.min():.3g} at step {steps[losses.argmin()]:.0f}"
    return Symptom(f"{told} and is {losses[-1]:.3g} at the end.", *_against_overfitting(evidence))


def _against_overfitting(evidence: Evidence) -> tuple[dict[str, Any], str]:
    names = [name for name in _FIELDS if getattr(evidence.config, name, None) is not None]
    low = {
        f"model.{name}": 0.5 for name in names if getattr(evidence.config, name) < 0.3 and name != "embedding_dropout"
    }
    if low:
        return low, "or more training rows"
    hidden = getattr(evidence.config, "hidden_size", None)
    return ({"model.hidden_size": hidden // 2} if hidden and hidden >= 32 else {}), "or more training rows"


@check("warning", "history", cure="`training.load_best_model_at_end=true`")
def best_not_kept(evidence: Evidence) -> Symptom | None:
    """Find a model that was better earlier in the training, where the last one is kept."""
    steps, losses = evidence.logged("eval_loss")
    if evidence.training.get("load_best_model_at_end") or len(losses) < 3 or not np.isfinite(losses).all():
        return None
    if losses[-1] < 1.05 * losses.min() or losses[-1] - losses.min() < 0.02:
        return None
    told = f"The validation loss was {losses.min():.3g} at step {steps[losses.argmin()]:.0f}"
    every = "steps" if str(evidence.training.get("eval_strategy", "")).endswith("steps") else "epoch"
    cure = {"training.load_best_model_at_end": True, "training.save_strategy": every}
    return Symptom(f"{told}, and the kept model has {losses[-1]:.3g}.", cure)


@check("hint", "history", cure="`training.max_grad_norm` higher, or `training.learning_rate` lower")
def clipped_at_every_step(evidence: Evidence) -> Symptom | None:
    """Find a gradient far above the clipping threshold at every step: the threshold sets the pace, not the data."""
    _, norms = evidence.logged("grad_norm")
    limit = evidence.training.get("max_grad_norm", 1.0)
    if not limit or len(norms) < _LEAST_LOGS or not np.isfinite(norms).all():
        return None
    median = float(np.median(norms))
    if (norms > limit).mean() < 0.95 or median < 5 * limit:
        return None
    told = f"The gradient was clipped in {percent(float((norms > limit).mean()))} of the logged steps"
    text = f"{told}: its norm is {median:.3g} (median), the limit {limit:g}."
    return Symptom(text, {"training.max_grad_norm": float(f"{median:.1g}")})


@check("warning", "history", cure="`training.max_steps` or the schedule as long as the training")
def rate_ended_early(evidence: Evidence) -> Symptom | None:
    """Find a learning rate that is zero long before the training ends."""
    steps, rates = evidence.logged("learning_rate")
    if len(rates) < _LEAST_LOGS or rates.max() <= 0:
        return None
    alive = steps[rates > 0.001 * rates.max()].max()
    if alive > 0.85 * steps[-1]:
        return None
    told = f"The learning rate was zero from step {alive:.0f} on, and the training ran to step {steps[-1]:.0f}"
    return Symptom(f"{told}: nothing was learnt after it.", {"training.lr_scheduler_type": "constant_with_warmup"})


@check("hint", "history", cure="`training.warmup_steps` lower")
def warmup_too_long(evidence: Evidence) -> Symptom | None:
    """Find a learning rate that climbs for more than half of the training."""
    steps, rates = evidence.logged("learning_rate")
    if len(rates) < _LEAST_LOGS:
        return None
    climbs = float(steps[rates.argmax()] / steps[-1])  # the first step with the highest rate
    if climbs <= 0.5:
        return None
    told = f"The learning rate climbs for {percent(climbs)} of the training"
    return Symptom(f"{told}: most of it ran with less than what was asked for.", {"training.warmup_steps": 0.05})


@check("hint", "history", cure="`training.eval_strategy=epoch`")
def never_evaluated(evidence: Evidence) -> Symptom | None:
    """Find a training that was never measured on validation rows."""
    if len(evidence.logged("eval_loss")[0]) or len(evidence.logged("loss")[0]) < _LEAST_LOGS:
        return None
    steps = int(evidence.logged("loss")[0].max())
    told = f"In {steps} steps no validation loss was logged: nothing tells when the model begins to learn by heart."
    return Symptom(told, {"training.eval_strategy": "epoch"})
