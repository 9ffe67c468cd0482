"""The states that go on from window to window while a model is trained on one long text.

Each share of an update, one for each process and accumulation step, has its own streams. Checkpoints keep the states,
and a resumed run with other shares deals them anew.
"""

from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.utils import logging

from ...models.artifacts import UnsafeArtifactError, check_weights_file
from ..batching import Shares

logger = logging.get_logger(__name__)

_SHARES = ("num_processes", "shares")  # how the streams were dealt, which a resumed run may change


class CarriedStates:
    """The states of this process's shares of an update's streams: one cache for each accumulation step."""

    def __init__(self, model: PreTrainedModel, shares: Shares) -> None:
        self.model, self.shares = model, shares
        self.caches: list[Any] = [None] * shares.accumulation_steps

    def begin(self, slot: int, restart: torch.Tensor) -> Any:
        """Return the state to continue from; rows marked in `restart` (B,) begin anew."""
        cache = self.caches[slot]
        if cache is None or bool(restart.all()):
            cache = self.caches[slot] = DynamicCache(config=self.model.config)
        elif bool(restart.any()):
            for layer in cache.layers:
                layer.restart(restart)
        return cache

    def forget(self) -> None:
        """Let all streams begin anew."""
        self.caches = [None] * len(self.caches)

    def cut(self, slot: int) -> None:
        """End the gradient here."""
        for layer in self.caches[slot].layers:
            layer.detach()

    def save(self, folder: Path, facts: dict[str, str]) -> None:
        """Write this process's file, with what a resumed run must have in common with this one."""
        tensors = {}
        for share, cache in zip(range(len(self.shares))[self.shares.own], self.caches, strict=True):
            for index, layer in enumerate(() if cache is None else cache.layers):
                for number, state in enumerate(layer.states):
                    # Copies, since states may be views of one tensor, which safetensors refuses.
                    tensors[f"{share}.{index}.{number}"] = state.detach().clone(memory_format=torch.contiguous_format)
        shares = {"num_processes": str(self.shares.num_processes), "shares": str(len(self.shares))}
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, self._file(folder, self.shares.process_index), facts | shares)

    def load(self, folder: Path, facts: dict[str, str]) -> None:
        """Read the files of all processes and take this process's rows, also if the streams were dealt otherwise."""
        self.forget()
        if not self._file(folder, 0).is_file():
            logger.warning(
                f"{folder} has no states of streams: it comes from another Trainer. All streams start anew."
            )
            return
        with safe_open(self._file(folder, 0), "pt") as file:
            saved = file.metadata()
        _check_same_text(saved, facts, folder)
        found: dict[str, torch.Tensor] = {}
        for process in range(int(saved["num_processes"])):
            with safe_open(self._file(folder, process), "pt") as file:
                found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if found:
            self._deal(found, int(saved["shares"]))

    def _deal(self, found: dict[str, torch.Tensor], shares: int) -> None:
        names = sorted({tuple(map(int, name.split(".")[1:])) for name in found})
        own = {}
        for name in names:
            whole = torch.cat([found[".".join(map(str, (share, *name)))] for share in range(shares)])
            own[name] = whole.tensor_split(len(self.shares))[self.shares.own]
        for slot in range(len(self.caches)):
            cache = self.caches[slot] = DynamicCache(config=self.model.config)
            for index, layer in enumerate(cache.layers):
                states = tuple(own[name][slot].to(self.model.device) for name in names if name[0] == index)
                cast(Any, layer).keep(states, num_new_tokens=0)

    @staticmethod
    def files(folder: Path) -> list[Path]:
        """List the files of all processes in a checkpoint."""
        return sorted(folder.glob("streams_*.safetensors"))

    @staticmethod
    def _file(folder: Path, process: int) -> Path:
        return folder / f"streams_{process}.safetensors"


def check_states(folder: Path) -> None:
    """Raise an UnsafeArtifactError if a checkpoint has files of streams, but not all of them whole."""
    first = CarriedStates._file(folder, 0)
    if not first.is_file():
        return  # of another Trainer
    check_weights_file(first)
    with safe_open(first, "pt") as file:
        paths = [CarriedStates._file(folder, process) for process in range(int(file.metadata()["num_processes"]))]
    for path in paths:
        if not path.is_file():
            raise UnsafeArtifactError(f"{folder} lacks {path.name}, the states of the streams of one process.")
        check_weights_file(path)


def _check_same_text(saved: dict[str, str], facts: dict[str, str], folder: Path) -> None:
    # Another cut of the text would lose some of it and repeat some.
    names = [name for name in facts | saved if name not in _SHARES and saved.get(name) != facts.get(name)]
    if names:
        other = ", ".join(f"{name}={saved.get(name)} (now {facts.get(name)})" for name in names)
        raise ValueError(
            f"{folder} is from a run with {other}: a run cannot go on in the middle of a text that is cut otherwise. "
            "Resume with the same settings, or start a new run from its weights (from_pretrained)."
        )
