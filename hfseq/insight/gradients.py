"""How the gradient flows back through time: the size of dL/dh_t at every step of every recurrent layer.

>>> import torch
>>> from hfseq import RNNConfig, RNNForSequenceClassification
>>> _ = torch.manual_seed(0)
>>> model = RNNForSequenceClassification(RNNConfig(vocab_size=20, embedding_size=8, hidden_size=8))
>>> with torch.no_grad():
...     _ = model.model.layers[0].forward_loop.weight_hh.mul_(0.3)  # an orthogonal matrix, made small
>>> batch = {"input_ids": torch.randint(1, 20, (2, 12)), "labels": torch.tensor([0, 1])}
>>> print(gradient_flow(model, batch).verdict)
vanishes: after 6 steps a tenth of a percent is left (layer 0, forward)

Back-propagation through time (BPTT) multiplies the gradient by the Jacobian of one step after another, so that it
shrinks or grows by about the same factor at each of them. Two curves tell how far it comes:

    hidden    |dL/dh_t|, the total derivative: all that h_t does to the loss, at this step and through later ones
    share     how much of the gradient at the end of the loss comes back to h_t through the steps between them, 1 there

With one loss at the end of the text the two are the same, up to the size of the loss. Where each step has a loss of
its own (taggers, language models, mean pooling), `hidden` is kept up by those, and `share` tells what vanishes.

A step is a real token in the order in which the layer reads: padding is none, on either side. Its distance is counted
from the last step that the loss depends on.

Shapes: B rows, T columns, K steps, H hidden.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..evaluation.language import evaluating
from ..models.recurrent.backbone import RecurrentLayer
from ..models.recurrent.cells import Cell
from ..models.recurrent.loop import RecurrentLoop, Weights
from ..models.recurrent.state import States
from ..models.token_order import TokenOrder
from .layer_flow import Direction, GradientFlow, LayerFlow

_JACOBIANS = 8  # steps whose Jacobian is made: each costs a singular value decomposition


def gradient_flow(model: PreTrainedModel, batch: Mapping[str, Any]) -> GradientFlow:
    """Measure the gradient of a batch's loss at every step of a recurrent model.

    The model runs in evaluation mode, without dropout, by the reference route (torch and autograd). It is left as it
    was: its mode, the gradients of its parameters, and which of them want one. Of an encoder-decoder the encoder is
    measured.

    Args:
        model: A recurrent model with a head: it must have a loss.
        batch: What its `forward` takes: `input_ids`, `inputs_embeds` or `input_values`, `attention_mask`, `labels`.
    """
    watches = _watches(model)
    inputs = _inputs(model, batch)
    with _as_it_was(model), ExitStack() as stack:
        for watch in watches:
            stack.enter_context(_running(watch.loop, watch.run))
        loss = _checked(getattr(model(**inputs), "loss", None), model)
        states = [state for watch in watches for state in watch.states]
        gradients = iter(torch.autograd.grad(loss, states, retain_graph=True, allow_unused=True))
        for watch in watches:
            watch.gradients = _stacked(watch, [next(gradients) for _ in watch.states])
        return GradientFlow([watch.flow() for watch in watches], float(loss.detach()))


class _Watch:
    """One loop of the model, which is run step by step, and the states of each step are kept."""

    def __init__(self, layer: int, direction: Direction, loop: RecurrentLoop) -> None:
        self.layer, self.direction, self.loop = layer, direction, loop
        self.steps: list[States] = []
        self.gradients: list[torch.Tensor] = []  # one a state of the cell: (B, K, H)

    @property
    def states(self) -> list[torch.Tensor]:
        """The states of all steps, in one list."""
        return [state for step in self.steps for state in step]

    def run(
        self, inputs: torch.Tensor, order: TokenOrder, states: States | None = None, **_: Any
    ) -> tuple[torch.Tensor, States]:
        """Do what `forward` of the loop does, with states that autograd can be asked about."""
        if self.steps:
            raise ValueError(f"Layer {self.layer} was run twice in one call of the model: its steps have no order.")
        loop, self.order = self.loop, order
        dtype = torch.float32 if inputs.dtype in (torch.float16, torch.bfloat16) else inputs.dtype
        self.weights = _each(loop.weights(), lambda weight: weight.to(dtype))
        # Real tokens first, in the reading order: then each row's first steps are its own, and the others none.
        front = order.to_front(inputs.to(dtype), loop.backward)
        self.gates = nn.functional.linear(front, self.weights.weight_ih, self.weights.bias)
        # With a gradient of their own, so that it does not matter which parameters are frozen.
        self.start = reached = tuple(_with_gradient(state.to(dtype)) for state in states or loop.start(inputs))
        alive = self.real.t()[..., None]  # (K, B, 1)
        for step in range(order.steps):
            new = _step(loop.cell, self.gates[:, step], reached, self.weights)
            self.steps.append(tuple(_with_gradient(state) for state in new))
            pairs = zip(self.steps[-1], reached, strict=True)
            reached = tuple(torch.where(alive[step], after, before) for after, before in pairs)
        outputs = torch.stack([step[0] for step in self.steps], 1)
        placed = order.put_back(outputs, loop.backward).to(inputs.dtype)
        return placed, tuple(state.to(inputs.dtype) for state in reached)

    @property
    def real(self) -> torch.Tensor:
        """(B, K) which steps are tokens."""
        steps = torch.arange(self.order.steps, device=self.gates.device).expand(self.order.batch, -1)
        return steps >= 0 if self.order.real is None else steps < self.order.lengths[:, None]

    def flow(self) -> LayerFlow:
        """Return what was measured, each step in the column of its token."""
        norms = [gradient.norm(dim=-1) for gradient in self.gradients]
        rest = self.gradients[1:]
        # The last step with a gradient is where the loss ends; NaN counts as one.
        steps = torch.arange(self.order.steps, device=self.gates.device)
        ends = torch.where((norms[0] != 0) & self.real, steps, -1).amax(1, keepdim=True)
        distance = torch.where(self.real & (steps <= ends), ends - steps, -1)
        return LayerFlow(
            self.layer,
            self.direction,
            hidden=self._in_columns(norms[0]),
            memory=self._in_columns(torch.cat(rest, -1).norm(dim=-1)) if rest else None,
            carried=self._in_columns(self._carried(ends.clamp(min=0))),
            distance=self._in_columns(distance).nan_to_num(-1).long(),
            recurrent=recurrent_norms(self.loop),
            jacobian=self._jacobian(),
        )

    def _carried(self, ends: torch.Tensor) -> torch.Tensor:
        """Return (B, K) the norm of the gradient that begins at `ends` (B, 1) and goes back through this loop."""
        # What lies above the layer is not in the graph of its states: only the recurrence leads from one to another.
        places = ends[..., None].expand(-1, -1, self.loop.hidden_size)
        last = torch.stack([step[0] for step in self.steps], 1).gather(1, places)
        begin = self.gradients[0].gather(1, places)
        found = torch.autograd.grad((last * begin).sum(), self.states, retain_graph=True, allow_unused=True)
        hidden, *rest = _stacked(self, found)
        return (torch.cat(rest, -1) if rest else hidden).norm(dim=-1)

    def _jacobian(self) -> float:
        """Return the median over some steps of the largest singular value of the step's Jacobian."""
        places = self.real.nonzero()
        chosen = places[torch.linspace(0, len(places) - 1, min(_JACOBIANS, len(places))).long()]
        return float(torch.stack([self._norm_of_step(*place) for place in chosen.tolist()]).median())

    def _norm_of_step(self, row: int, step: int) -> torch.Tensor:
        before = self.start if step == 0 else self.steps[step - 1]
        gates, weights = self.gates[row, None, step].detach(), _each(self.weights, torch.Tensor.detach)

        def run(states: torch.Tensor) -> torch.Tensor:
            return torch.cat(_step(self.loop.cell, gates, states.chunk(len(before), -1), weights), -1)

        states = torch.cat([state[row, None].detach() for state in before], -1)
        jacobian = torch.func.jacrev(run)(states)[0, :, 0]  # (states H, states H)
        return torch.linalg.matrix_norm(jacobian, ord=2).cpu()

    def _in_columns(self, values: torch.Tensor) -> torch.Tensor:
        """Map (B, K) of steps to (B, T) of tokens, NaN where there is none."""
        wide = values.to(self.gates.dtype)[..., None]
        columns = self.order.put_back(wide, self.loop.backward)[..., 0].detach()
        real = self.order.real
        return (columns if real is None else columns.masked_fill(~real, torch.nan)).cpu()


def recurrent_norms(loop: RecurrentLoop) -> dict[str, float]:
    """Return the largest singular value of each gate's recurrent matrix, as the equation meets it."""
    gates = loop.weights().weight_hh.detach().double().chunk(len(loop.cell.gates))
    return {
        name: float(torch.linalg.matrix_norm(gate, ord=2)) for name, gate in zip(loop.cell.gates, gates, strict=True)
    }


def _watches(model: PreTrainedModel) -> list[_Watch]:
    layers = [module for module in model.modules() if isinstance(module, RecurrentLayer)]
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no recurrent layer whose gradient could be followed from step to step: give "
            "an RNN, LSTM, GRU or custom model of hfseq, or a Seq2Seq model."
        )
    found = []
    for number, layer in enumerate(layers):
        found.append(_Watch(number, "forward", layer.forward_loop))
        if layer.backward_loop is not None:
            found.append(_Watch(number, "backward", layer.backward_loop))
    return found


def _inputs(model: PreTrainedModel, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Check a batch, and put it where the model is."""
    if model.base_model is model:
        raise ValueError(f"{type(model).__name__} has no head, and so no loss: give a classifier, a tagger ... of it.")
    if batch.get("labels") is None:
        raise ValueError(f"The batch needs labels, which give a loss; it has {', '.join(batch) or 'nothing'}.")
    inputs = {name: value.to(model.device) if hasattr(value, "to") else value for name, value in batch.items()}
    given = (inputs.get(name) for name in ("inputs_embeds", "input_values", "input_ids"))
    texts = next((each for each in given if each is not None), None)
    if not isinstance(texts, torch.Tensor):
        raise ValueError(
            "The batch needs the tensor input_ids (B, T), inputs_embeds (B, T, E) or input_values (B, T, F): collate "
            "its rows."
        )
    mask = inputs.get("attention_mask")
    lengths = torch.full(texts.shape[:1], texts.shape[1]) if mask is None else mask[:, -texts.shape[1] :].sum(1)
    empty = (lengths == 0).nonzero().flatten().tolist()
    if empty or not len(texts):
        what = f"Rows {empty} of the batch have no token" if empty else "The batch has no rows"
        raise ValueError(f"{what}, and so no step to measure: leave empty texts out.")
    return inputs


def _checked(loss: Any, model: PreTrainedModel) -> torch.Tensor:
    if not isinstance(loss, torch.Tensor) or loss.dim():
        name = type(model).__name__
        raise ValueError(f"{name} returned no loss: give a model with a head, and the labels that it takes.")
    if loss.isnan():
        raise ValueError("The loss is NaN: either every label is ignored (-100), or the weights are not finite.")
    return loss


@contextmanager
def _as_it_was(model: PreTrainedModel) -> Iterator[None]:
    """Leave no trace on a model: a classifier would note its problem type at the first labels it sees."""
    problem_type = getattr(model.config, "problem_type", None)
    with torch.inference_mode(False), evaluating(model), torch.enable_grad():
        try:
            yield
        finally:
            if hasattr(model.config, "problem_type"):
                model.config.problem_type = problem_type


@contextmanager
def _running(loop: RecurrentLoop, run: Callable[..., Any]) -> Iterator[None]:
    """Let a loop run another function; what accelerate may have put there comes back."""
    own = vars(loop).get("forward")
    vars(loop)["forward"] = run
    try:
        yield
    finally:
        del vars(loop)["forward"]
        if own is not None:
            vars(loop)["forward"] = own


def _step(cell: Cell, gates: torch.Tensor, states: States, weights: Weights) -> States:
    return cell.step(gates, states, weights.weight_hh, weights.bias_hh, weights.params)


def _with_gradient(state: torch.Tensor) -> torch.Tensor:
    return state if state.requires_grad else state.detach().requires_grad_()


def _each(weights: Weights, change: Callable[[torch.Tensor], torch.Tensor]) -> Weights:
    changed: list[Any] = [None if weight is None else change(weight) for weight in weights]
    return Weights(*changed)


def _stacked(watch: _Watch, gradients: Sequence[torch.Tensor | None]) -> list[torch.Tensor]:
    """Turn a gradient for each state of each step into one (B, K, H) for each state; none is zero."""
    found = [
        torch.zeros_like(state) if gradient is None else gradient
        for state, gradient in zip(watch.states, gradients, strict=True)
    ]
    count = len(watch.loop.cell.states)
    return [torch.stack(found[number::count], 1) for number in range(count)]
