"""The gradient flow in the log of a training, beside the loss: TensorBoard and the other reporters draw it."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import Trainer, TrainerCallback

from .gradients import gradient_flow
from .layer_flow import GradientFlow

DISTANCES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class GradientFlowCallback(TrainerCallback):
    """Measure the gradient flow each few logging steps, on the same few rows every time.

        trainer.add_callback(hfseq.GradientFlowCallback(trainer, every=5))

    For each direction of each layer `Trainer.log` gets, under names such as `gradient_flow/0_forward/share_10`:

        norm            |dL/dh_t| at the loss's end (median over the rows), and memory_norm of dL/dc_t
        share_D         what is left of the gradient after D steps
        spectral_GATE   the largest singular value of the gate's recurrent matrix
        jacobian        that of the Jacobian of a step

    Args:
        trainer: The trainer whose model is measured, and which logs.
        every: Measure at each so many logging steps; the first one is measured in any case.
        rows: How many rows of the training data, from its beginning; rows without a token are left out.
        batch: A batch to measure instead, such as `gradient_flow` takes: for data whose rows cannot be had by number.
    """

    def __init__(
        self, trainer: Trainer, *, every: int = 1, rows: int = 8, batch: Mapping[str, Any] | None = None
    ) -> None:
        for name, value in (("every", every), ("rows", rows)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}.")
        self.trainer, self.every, self.rows, self.batch = trainer, every, rows, batch
        self.count = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the rows, once: curves of the same texts can be compared."""
        self.count = 0
        if self.batch is None:
            self.batch = _first_rows(kwargs["train_dataloader"], self.rows)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Measure when a training loss is logged."""
        if self.batch is None or "loss" not in (logs or {}):  # an evaluation, the end, or what is logged below
            return
        if self.count % self.every == 0:
            self.trainer.log(flow_logs(gradient_flow(kwargs["model"], self.batch)))
        self.count += 1


def flow_logs(flow: GradientFlow) -> dict[str, float]:
    """Return the numbers of a flow under the names that `GradientFlowCallback` logs."""
    logs: dict[str, float] = {}
    for layer in flow.layers:
        name = f"gradient_flow/{layer.layer}_{layer.direction}"
        logs |= {f"{name}/spectral_{gate}": value for gate, value in layer.recurrent.items()}
        logs[f"{name}/jacobian"] = layer.jacobian
        share = layer.share.tolist()
        logs |= {f"{name}/share_{distance}": share[distance] for distance in DISTANCES if distance < len(share)}
        norms = {"norm": layer.hidden} | ({} if layer.memory is None else {"memory_norm": layer.memory})
        if share:
            logs |= {f"{name}/{kind}": float(layer.by_distance(values)[0]) for kind, values in norms.items()}
    return logs


def _first_rows(loader: Any, count: int) -> dict[str, Any]:
    """Return the first rows of a loader's data as a batch; its own order and random numbers are left alone."""
    data = loader.dataset
    size = len(data) if hasattr(data, "__len__") and hasattr(data, "__getitem__") else 0
    rows: Sequence[Any] = [data[number] for number in range(min(count, size))]
    if not rows or not isinstance(rows[0], Mapping):
        raise ValueError(
            f"GradientFlowCallback cannot take rows of {type(data).__name__} by their numbers: give it a batch= to "
            "measure, such as gradient_flow takes."
        )
    rows = [row for row in rows if len(row.get("input_ids", [0]))]
    if not rows:
        raise ValueError(f"The first {count} rows of the training data have no token: raise rows=, or give a batch=.")
    batch: dict[str, Any] = loader.collate_fn(rows)
    return dict(batch)
