"""Evidence from a model and the tokens it learnt from: its rows, its answers, its units, its weights."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel

from ...evaluation.language import evaluating
from ...models.base import IGNORED, not_finite
from ...models.recurrent.backbone import RecurrentLayer
from ...training.streams.windows import TokenText
from ..gradients import gradient_flow
from .evidence import Answers, Evidence, Kind, Rows, Units

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Any]]

_SPLITS = ("train", "validation", "test")
_ASKED = 400  # rows of each split that the model is asked about
_READ = 20_000  # rows of a split that are compared
_BATCH = 32
_GRADIENT_ROWS = 8
_STILL, _END = 1e-6, 0.99  # a unit that changes less is dead; an output beyond is at the end of tanh
_OPEN = 0.99
_SIGMOID_GATES = ("i", "f", "o", "r", "z")
_ASKED_PARTS = ("train_answers", "validation_answers", "padding_labels", "units", "tensors", "gradients")
_NOT_ASKED = "models that answer no classes, tags or next tokens are not asked"
_BROKEN_BATCH = (RuntimeError, ValueError, TypeError, KeyError, IndexError)


def gather(
    model: PreTrainedModel,
    splits: Mapping[str, Any],
    collate: Collate,
    *,
    texts: Mapping[str, Sequence[Hashable]] | None = None,
    unknown_id: int | None = None,
    **known: Any,
) -> Evidence:
    """Read all that the checks need, once.

    Args:
        model: The trained model.
        splits: "train", "validation", "test" -> rows with `input_ids` and labels, or a `TokenText`.
        collate: Makes a batch of rows.
        texts: What two rows share when they say the same, by split; else their ids are compared.
        unknown_id: What the tokenizer writes for an unknown word.
        **known: Further fields of `Evidence`: `training`, `settings`, `history`, `missing`.
    """
    config: Any = model.config
    kind = _kind(model, splits.get("train"))
    found = Evidence(kind, config, **known)
    found.names = list((getattr(config, "id2label", None) or {}).values())
    found.slots = found.names if kind == "tags" else list(getattr(config, "slot_labels", None) or ())
    for name in _SPLITS:
        if splits.get(name) is not None:
            setattr(found, name, _rows(splits[name], kind, (texts or {}).get(name), unknown_id))
    if kind == "other":
        found.missing |= {part: _NOT_ASKED for part in _ASKED_PARTS if part not in found.missing}
        return found
    with evaluating(model):
        if "train" in splits:
            _ask(found, model, splits, collate)
    return found


def _kind(model: PreTrainedModel, rows: Any) -> Kind:
    if getattr(model.config, "slot_labels", None) is not None:
        return "frames"
    if isinstance(rows, TokenText):
        return "language" if type(model).__name__.endswith("ForCausalLM") else "other"
    first = None if rows is None or not len(rows) else rows[0].get("labels", rows[0].get("label"))
    is_list = isinstance(first, list | np.ndarray | torch.Tensor) and np.ndim(first) > 0
    name = type(model).__name__
    if is_list and name.endswith("ForTokenClassification"):
        return "tags"
    whole = isinstance(first, int | np.integer) or (isinstance(first, torch.Tensor) and not first.is_floating_point())
    is_one_class = (model.config.num_labels or 0) > 1 and model.config.problem_type in (
        None,
        "single_label_classification",
    )
    if not is_list and whole and is_one_class and name.endswith("ForSequenceClassification"):
        return "classes"
    return "other"


def _rows(rows: Any, kind: Kind, texts: Sequence[Hashable] | None, unknown_id: int | None) -> Rows:
    if isinstance(rows, TokenText):
        ids = [np.asarray(each) for each in np.split(rows.ids, rows.starts[1:])]
        found = Rows(texts or [each.tobytes() for each in ids], np.array([len(each) for each in ids]), ids)
    else:
        columns = _columns(rows)
        ids = [np.asarray(each) for each in columns["input_ids"]]
        lengths = np.array([len(each) for each in ids])
        found = Rows(texts[: len(ids)] if texts else [tuple(each.tolist()) for each in ids], lengths, ids)
        labels = columns.get("labels", columns.get("label"))
        tags = columns.get("slot_labels") if kind == "frames" else labels if kind == "tags" else None
        if kind in ("classes", "frames") and labels is not None:
            found.classes = np.asarray(labels).reshape(len(ids), -1)[:, 0]
        if tags is not None:
            found.tags = [np.asarray(each) for each in tags]
        if "cut" in columns and kind != "frames":
            found.cut = np.asarray(columns["cut"])
    found.is_whole = isinstance(rows, TokenText) or len(rows) <= _READ
    if unknown_id is not None:
        total = sum(map(len, ids))
        found.unknown = sum(int((each == unknown_id).sum()) for each in ids) / max(total, 1)
    return found


def _columns(rows: Any) -> dict[str, Sequence[Any]]:
    if isinstance(rows, Dataset):
        few = rows.select(range(min(len(rows), _READ))).with_format(None)
        names = ("input_ids", "labels", "label", "slot_labels", "cut")
        return {name: few[name][:] for name in names if name in few.column_names}
    read = [rows[index] for index in range(min(len(rows), _READ))]
    return {name: [row[name] for row in read] for name in read[0]} if read else {"input_ids": []}


def _ask(found: Evidence, model: PreTrainedModel, splits: Mapping[str, Any], collate: Collate) -> None:
    """Run batches through the model: what fails is left out, with the reason."""
    for part, look in (
        ("train_answers", lambda: _answers(found, model, splits["train"], collate)),
        ("validation_answers", lambda: _answers(found, model, splits.get("validation"), collate)),
        ("padding_labels", lambda: _padding_labels(found.kind, _batch(splits["train"], collate, _BATCH))),
        ("units", lambda: units_of(model, _batch(splits["train"], collate, _BATCH))),
        ("tensors", lambda: _tensors(model, _batch(splits["train"], collate, _GRADIENT_ROWS))),
        ("gradients", lambda: _gradients(model, _batch(splits["train"], collate, _GRADIENT_ROWS))),
    ):
        try:
            setattr(found, part, cast(Any, look)())
        except _BROKEN_BATCH as error:
            found.missing.setdefault(part, " ".join(str(error).split())[:200] or type(error).__name__)


def _some(rows: Any, most: int) -> list[int]:
    """Return the places of some rows, drawn from all of them, always the same."""
    order = np.random.default_rng(0).permutation(len(rows))
    return np.sort(order[:most]).tolist()


def _chosen(rows: Any, places: Sequence[int]) -> list[dict[str, Any]]:
    return [{name: value for name, value in rows[place].items() if name in _INPUTS} for place in places]


_INPUTS = ("input_ids", "attention_mask", "labels", "label", "slot_labels", "token_type_ids")


def _batch(rows: Any, collate: Collate, size: int) -> dict[str, Any]:
    if isinstance(rows, TokenText):
        window = max(min(64, len(rows) // size), 2)
        ids = torch.from_numpy(np.array(rows.ids[: window * min(size, max(len(rows) // window, 1))], np.int64))
        ids = ids[: len(ids) // window * window].reshape(-1, window) if len(ids) >= window else ids[None]
        return {"input_ids": ids, "labels": ids}
    return dict(collate(_chosen(rows, _some(rows, size))))


def _on(model: PreTrainedModel, batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each.to(model.device) if torch.is_tensor(each) else each for name, each in batch.items()}


@torch.no_grad()
def _answers(found: Evidence, model: PreTrainedModel, rows: Any, collate: Collate) -> Answers | None:
    """Ask the model about some rows: a class a text, or a tag a word."""
    if rows is None or isinstance(rows, TokenText) or found.kind == "language":
        return None
    places = _some(rows, _ASKED)
    parts: list[list[np.ndarray]] = []
    for start in range(0, len(places), _BATCH):
        batch = _on(model, collate(_chosen(rows, places[start : start + _BATCH])))
        logits = _logits(model(**{**batch, "return_dict": True}))
        certainty, best = logits.float().softmax(-1).max(-1)
        if getattr(model, "crf", None) is not None:
            certainty = torch.zeros_like(certainty)  # a row of labels was chosen, not each label
        labels = batch["labels"]
        real = labels >= 0
        parts.append([each[real].cpu().numpy() for each in (labels, best, certainty)])
    answers = Answers(*map(np.concatenate, zip(*parts, strict=True))) if parts else None
    if answers is not None and not len(answers):
        raise ValueError("no row that was read has a label")
    return answers


def _logits(output: Any) -> torch.Tensor:
    return cast(torch.Tensor, output.logits[0] if isinstance(output.logits, tuple) else output.logits)


def _padding_labels(kind: Kind, batch: Mapping[str, Any]) -> float | None:
    labels = batch.get("slot_labels" if kind == "frames" else "labels")
    mask = batch.get("attention_mask")
    if labels is None or mask is None or labels.shape != mask.shape:
        return None
    padding = mask == 0
    return float(((labels != IGNORED) & padding).sum() / max(int((labels != IGNORED).sum()), 1))


@torch.no_grad()
def units_of(model: PreTrainedModel, batch: Mapping[str, Any]) -> list[Units] | None:
    """Say what the units of each recurrent layer do over a batch."""
    layers = [module for module in model.modules() if isinstance(module, RecurrentLayer)]
    if not layers:
        return None
    seen: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    def keep(layer: nn.Module, args: Any, kwargs: Any, output: torch.Tensor) -> None:
        order = kwargs["order"]
        real = torch.ones(output.shape[:2], dtype=torch.bool) if order.real is None else order.real.bool()
        seen[id(layer)] = (args[0] if args else kwargs["hidden_states"], output, real.to(output.device))

    hooks = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers]
    try:
        model(**_on(model, batch))
    finally:
        for hook in hooks:
            hook.remove()
    return [_units(layer, place + 1, *seen[id(layer)]) for place, layer in enumerate(layers) if id(layer) in seen]


def _units(
    layer: RecurrentLayer, number: int, inputs: torch.Tensor, output: torch.Tensor, real: torch.Tensor
) -> Units:
    values = output[real]
    dead = (values.amax(0) - values.amin(0)) < _STILL
    # ReLU has no upper end.
    ends = (values.abs() > _END) if bool((values <= 1).all()) else torch.zeros_like(values)
    shares = (float(dead.float().mean()), float(ends.float().mean()))
    return Units(f"layer {number}", *shares, _stuck(layer, inputs, output, real))


def _stuck(layer: RecurrentLayer, inputs: torch.Tensor, output: torch.Tensor, real: torch.Tensor) -> float | None:
    """Return the share of a layer's gates, read forward, that are open or closed at every step."""
    loop = layer.forward_loop
    cell, hidden = loop.cell, loop.hidden_size
    gates = [name for name in cell.gates if name in _SIGMOID_GATES]
    if not gates or cell.block_size != 1 or cell.split and set(cell.split) & set(gates):
        return None
    weights = loop.weights()
    states = output[..., :hidden]
    before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)  # zero where padding is in front
    sums = inputs @ weights.weight_ih.T + before @ weights.weight_hh.T
    sums = sums if weights.bias is None else sums + weights.bias
    by_name = dict(zip(cell.gates, sums.split(hidden, -1), strict=True))
    values = torch.cat([by_name[name] for name in gates], -1)[real].sigmoid()
    stuck = (values > _OPEN).all(0) | (values < 1 - _OPEN).all(0)
    return float(stuck.float().mean())


def _tensors(model: PreTrainedModel, batch: Mapping[str, Any]) -> dict[str, list[str]]:
    """Look for broken weights, for frozen embeddings, and for weights that a batch gives no gradient."""
    broken = list(not_finite(model.named_parameters()))
    embeddings = model.get_input_embeddings()
    frozen = (
        ["embeddings"] if embeddings is not None and not any(p.requires_grad for p in embeddings.parameters()) else []
    )
    with torch.enable_grad():
        loss = model(**_on(model, batch)).loss
        wanted = {name: each for name, each in model.named_parameters() if each.requires_grad}
        # Not `backward`: the gradients that a live training has summed up stay as they are.
        gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    lost = [name for name, each in zip(wanted, gradients, strict=True) if each is None]
    return {"broken": broken, "frozen_embeddings": frozen, "without_gradient": lost}


def _gradients(model: PreTrainedModel, batch: Mapping[str, Any]) -> Any:
    has_layers = any(isinstance(module, RecurrentLayer) for module in model.modules())
    return gradient_flow(model, _on(model, batch)) if has_layers else None
