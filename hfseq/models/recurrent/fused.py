"""The one door to the fused kernels, which may be absent: no numba, or this file exported without its package.

Code exported to the Hub can meet another release of hfseq than it came from; `INTERFACE` must be equal on both sides,
or the models run on torch alone, as they do everywhere else.
"""

import sys
from functools import lru_cache
from typing import Any

import torch

INTERFACE = 1


@lru_cache(maxsize=1)
def kernels() -> Any | None:
    """Import `hfseq.kernels.cells.sequence` at first use (numba takes a second); return None without it."""
    try:
        from hfseq import extras
    except ImportError:
        return None
    sequence = extras.kernels("cells.sequence", "Recurrent layers run several times slower")
    return sequence if sequence is not None and sequence.INTERFACE == INTERFACE else None


def kernels_for(*tensors: torch.Tensor | None) -> Any | None:
    """Return the kernels if they can take these tensors: on the CPU, all float32 or all float64."""
    return kernels() if fit(*tensors) else None


@lru_cache(maxsize=1)
def _attention_kernels() -> Any | None:
    """Import `hfseq.kernels.attention.additive` at first use; return None without it."""
    try:
        from hfseq import extras
    except ImportError:
        return None
    additive = extras.kernels("attention.additive", "Additive attention trains several times slower")
    return additive if additive is not None and additive.INTERFACE == INTERFACE else None


def additive_scores(query: torch.Tensor, keys: torch.Tensor, v: torch.Tensor) -> torch.Tensor | None:
    """Return v . tanh(q_t + k_s), (B, T, S), by a kernel; None where torch has to do it."""
    # One query is a step of generation, where there is nothing to share. A graph cannot hold a kernel.
    is_graph = torch.compiler.is_compiling() or torch.jit.is_tracing() or needs_plain_operations()
    if query.shape[1] == 1 or is_graph or not fit(query, keys, v):
        return None
    kernels = _attention_kernels()
    return None if kernels is None else kernels.additive_scores(query, keys, v)


@lru_cache(maxsize=1)
def _tree_kernels() -> Any | None:
    """Import `hfseq.kernels.trees.levels` at first use; return None without it."""
    try:
        from hfseq import extras
    except ImportError:
        return None
    levels = extras.kernels("trees.levels", "Recursive networks train a third slower")
    return levels if levels is not None and levels.INTERFACE == INTERFACE else None


def tree_kernels_for(*tensors: torch.Tensor | None) -> Any | None:
    """Return the kernels of trees if they can take these tensors; a graph cannot hold them."""
    is_graph = torch.compiler.is_compiling() or torch.jit.is_tracing() or needs_plain_operations()
    return None if is_graph or not fit(*tensors) else _tree_kernels()


def needs_plain_operations() -> bool:
    """Return whether tensors may have no memory (FakeTensor), or follow rules that kernels lack (torch.func)."""
    return torch._C._are_functorch_transforms_active() or torch._C._len_torch_dispatch_stack() > 0


def fit(*tensors: torch.Tensor | None) -> bool:
    """Return whether kernels can take these tensors: plain ones on the CPU, all float32 or all float64."""
    # Subclasses, such as DTensor of a sharded model, do not hold all their numbers here.
    if any(type(tensor) not in (torch.Tensor, torch.nn.Parameter) for tensor in tensors if tensor is not None):
        return False
    dtypes = {tensor.dtype for tensor in tensors if tensor is not None}
    devices = {tensor.device.type for tensor in tensors if tensor is not None}
    return devices == {"cpu"} and dtypes in ({torch.float32}, {torch.float64})


def gpu_kernels_for(*tensors: torch.Tensor | None) -> Any | None:
    """Return the experimental kernels for a GPU, if enabled (`hfseq.kernels.cells.gpu.enable`)."""
    # Never imported from here: without a call of `enable` these kernels are not used.
    gpu = sys.modules.get("hfseq.kernels.cells.gpu")
    return gpu if gpu is not None and gpu.INTERFACE == INTERFACE and gpu.fits(*tensors) else None


def product_dtype(inputs: torch.Tensor) -> torch.dtype | None:
    """Return bfloat16 for the kernels' matrix products under autocast, where the CPU has it (avx512_bf16 or AMX).

    Elsewhere it would be emulated, and slow.
    """
    wanted = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return torch.bfloat16 if wanted and inputs.dtype == torch.float32 and _has_bfloat16() else None


@lru_cache(maxsize=1)
def _has_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@lru_cache(maxsize=1)
def is_avx512() -> bool:
    """Return whether torch runs its AVX-512 kernels here."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"
