"""What a training shows: a bar, a line for each evaluation, and why it ended."""

from collections.abc import Callable, Iterable
from typing import Any

from transformers import EarlyStoppingCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from .callbacks import TimeLimit

_BOOKKEEPING = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


class ProgressLines(ProgressCallback):
    """Show `Trainer`'s bar with the loss in it; in place of its dictionaries a line for each evaluation."""

    def __init__(self, callbacks: Callable[[], Iterable[TrainerCallback]] = tuple) -> None:
        """Take what tells the callbacks of the trainer, of which one may stop it."""
        super().__init__()
        self.callbacks = callbacks
        self.loss: float | None = None  # the last one logged

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show a loss in the bar, and an evaluation in a line; without evaluations the loss gets the line."""
        if self.training_bar is None or not state.is_world_process_zero:
            return
        found = {name.removeprefix("eval_"): value for name, value in logs.items() if name.startswith("eval_")}
        if "loss" in logs:
            self.loss = float(logs["loss"])
            self.training_bar.set_postfix(loss=f"{self.loss:.3f}", refresh=False)
        told = [] if self.loss is None else [f"loss {self.loss:.3f}"]
        if found:
            main = (args.metric_for_best_model or "").removeprefix("eval_")
            shown = ("loss", main) if main in found else [name for name in found if name not in _BOOKKEEPING]
            scores = [f"{name} {found[name]:.4g}" for name in dict.fromkeys(shown) if name in found]
            told.append(f"validation: {', '.join(scores)}")
        elif "loss" not in logs or args.eval_strategy != IntervalStrategy.NO:
            return
        self.training_bar.write(f"step {state.global_step}/{state.max_steps}: {'; '.join(told)}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar, and say why a training ended early and which step is kept."""
        if state.is_world_process_zero and self.training_bar is not None:
            if state.global_step < state.max_steps:
                why = next((f": {why}" for why in map(_why_stopped, self.callbacks()) if why is not None), "")
                self.training_bar.write(f"stopped at step {state.global_step}{why}")
            if args.load_best_model_at_end and state.best_global_step:
                kept = f"kept: step {state.best_global_step}, the best on validation"
                self.training_bar.write(f"{kept} ({args.metric_for_best_model} {state.best_metric:.4g})")
        super().on_train_end(args, state, control, **kwargs)


def _why_stopped(callback: TrainerCallback) -> str | None:
    if isinstance(callback, TimeLimit) and callback.is_over:
        return "the minutes are over"
    if isinstance(callback, EarlyStoppingCallback):
        has_waited = callback.early_stopping_patience_counter >= callback.early_stopping_patience
        return "validation got no better" if has_waited else None
    return None
