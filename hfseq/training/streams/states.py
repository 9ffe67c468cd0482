"""The states that go on from window to window while a model is trained on one long text.

Each share of an update, one for each process and accumulation step, keeps the states of its own streams. Checkpoints
keep them too, and deal them anew where a resumed run has other shares.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.utils import logging

from ...models.artifacts import UnsafeArtifactError, check_weights_file
from .windows import share_bounds

logger = logging.get_logger(__name__)

_SHARES = ("num_processes", "shares")  # how the streams were dealt, which a resumed run may change


class CarriedStates:
    """The states of this process's shares of an update's streams: one cache for each accumulation step."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        streams: int,
        num_processes: int = 1,
        process_index: int = 0,
        accumulation_steps: int = 1,
    ) -> None:
        self.model, self.streams = model, streams
        self.num_processes, self.process_index = num_processes, process_index
        self.caches: list[Any] = [None] * accumulation_steps

    def begin(self, slot: int, restart: torch.Tensor) -> Any:
        """Return the state to continue from; rows marked in `restart` (B,) begin anew."""
        cache = self.caches[slot]
        if cache is None or bool(restart.all()):
            cache = self.caches[slot] = DynamicCache(config=self.model.config)
        elif bool(restart.any()):
            for layer in cache.layers:
                layer.restart(restart)
        return cache

    def cut(self, slot: int) -> None:
        """End the gradient here."""
        for layer in self.caches[slot].layers:
            layer.detach()

    def _share(self, slot: int) -> int:
        return slot * self.num_processes + self.process_index

    def save(self, folder: Path, facts: dict[str, str]) -> None:
        """Write this process's file, with what a resumed run must have in common with this one."""
        tensors = {}
        for slot, cache in enumerate(self.caches):
            share = self._share(slot)
            for index, layer in enumerate(() if cache is None else cache.layers):
                for number, state in enumerate(layer.states):
                    # A copy: states may be views of one tensor, which safetensors refuses.
                    tensors[f"{share}.{index}.{number}"] = state.detach().clone(memory_format=torch.contiguous_format)
        counts = self.num_processes, self.num_processes * len(self.caches)
        shares = dict(zip(_SHARES, map(str, counts), strict=True))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, self._file(folder, self.process_index), {**facts, **shares})

    def load(self, folder: Path, facts: dict[str, str]) -> None:
        """Read the files of all processes and take this process's rows, also if the streams were dealt otherwise."""
        self.caches = [None] * len(self.caches)
        if not self._file(folder, 0).is_file():
            logger.warning(
                f"{folder} has no states of streams: it comes from another Trainer. All streams start from an empty "
                "state."
            )
            return
        found: dict[str, torch.Tensor] = {}
        with safe_open(self._file(folder, 0), "pt") as file:
            saved = file.metadata()
        _check_same_text(saved, facts, folder)
        for process in range(int(saved["num_processes"])):
            with safe_open(self._file(folder, process), "pt") as file:
                found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if found:
            self._deal(found, int(saved["shares"]))

    def _deal(self, found: dict[str, torch.Tensor], shares: int) -> None:
        bounds = share_bounds(self.streams, self.num_processes * len(self.caches))
        names = sorted({tuple(map(int, name.split(".")[1:])) for name in found})
        whole = {name: torch.cat([found[".".join(map(str, (i, *name)))] for i in range(shares)]) for name in names}
        for slot in range(len(self.caches)):
            share = self._share(slot)
            own = slice(bounds[share], bounds[share + 1])
            cache: Any = DynamicCache(config=self.model.config)
            self.caches[slot] = cache
            for index, layer in enumerate(cache.layers):
                states = tuple(whole[name][own].to(self.model.device) for name in names if name[0] == index)
                layer.keep(states, num_new_tokens=0)

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
        processes = int(file.metadata()["num_processes"])
    for path in (CarriedStates._file(folder, process) for process in range(processes)):
        if not path.is_file():
            raise UnsafeArtifactError(f"{folder} lacks {path.name}, the states of the streams of one process.")
        check_weights_file(path)


def _check_same_text(saved: dict[str, str], facts: dict[str, str], folder: Path) -> None:
    # Another cut of the text would lose some of it and repeat some.
    names = dict.fromkeys(name for name in (*facts, *saved) if name not in _SHARES)
    pairs = [(name, saved.get(name), facts.get(name)) for name in names]
    other = [f"{name}={before} (now {now})" for name, before, now in pairs if before != now]
    if other:
        raise ValueError(
            f"{folder} is from a run with {', '.join(other)}: a run cannot go on in the middle of a text that is cut "
            "otherwise. Resume with the same settings, or start a new run from its weights (from_pretrained)."
        )
