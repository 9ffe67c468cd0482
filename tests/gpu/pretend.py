"""A device that is none: torch takes it for a GPU of a kind of its own, and the numbers are the CPU's.

Who has no GPU sees here what would break on one: tensors of two devices in one operation, `.numpy()`, a random
generator of the CPU, and whatever asks whether a tensor is on the CPU. It says nothing of the kernels of a GPU, of its
order of adding, or of its speed, and it is slow.

`register` changes torch for the whole process: HFSEQ_TEST_DEVICE=pretend, for a process of its own.
"""

from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._device import _device_constructors
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
CPU = torch.device("cpu")
_ROOM = 1 << 50  # bytes that a shape may claim: there are none

_aten = torch.ops.aten
# What moves numbers between devices, and what takes places from the CPU as well, as on a GPU.
_MOVES = {_aten.copy_.default, _aten._to_copy.default}
_INDEXES = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}
_LIBRARY: list[torch.library.Library] = []  # what is registered lives as long as it
_GENERATORS: set[int] = set()
_NOTHING = torch.empty(0)


class There(torch.Tensor):
    """A tensor of the device; `inner` holds its numbers."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner):
        sizes = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "storage_size": _ROOM}
        device = torch.device(NAME, 0)
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=device, **sizes)
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, *args, **(kwargs or {}))

    def __repr__(self, **options):
        return f"There({self.inner!r})"

    def follow(self):
        """Take the shape that an operation in place has given to the numbers."""
        if (self.shape, self.stride()) != (self.inner.shape, self.inner.stride()):
            with no_dispatch():
                self.as_strided_(self.inner.shape, self.inner.stride(), self.inner.storage_offset())
        return self

    def untyped_storage(self):
        return self.inner.untyped_storage()

    def __deepcopy__(self, memo):
        memo[id(self)] = made = There(self.inner.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            memo[id(self)] = made = torch.nn.Parameter(made)
        return made.requires_grad_(self.requires_grad)

    def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
        options = {"dtype": dtype or self.dtype, "device": device or self.device}
        return torch.tensor(data, **options).requires_grad_(requires_grad)

    def __getitem__(self, index):
        return super().__getitem__(_with_tensors(index))

    def __setitem__(self, index, value):
        super().__setitem__(_with_tensors(index), value)

    def tolist(self):
        return self.inner.tolist()

    def numpy(self, *, force=False):
        if not force:
            raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() first.")
        return self.detach().cpu().numpy()


def _with_tensors(index: Any) -> tuple:
    """An index whose lists are tensors: torch makes none of them here."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(torch.tensor(list(part)) if isinstance(part, list | range) else part for part in parts)


def _run(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """The operation on the numbers, if its tensors are all on this device."""
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    given = {id(leaf.inner): leaf for leaf in leaves if isinstance(leaf, There)}
    _refuse_mixtures(operation, args, leaves, kwargs.get("generator"))
    device = kwargs.get("device")
    if device is not None and device.type == NAME:
        kwargs["device"] = CPU
    found = operation(*tree_map(_unwrapped, args), **tree_map(_unwrapped, kwargs))
    if operation is _aten.copy_.default:
        return args[0]
    if device is not None and device.type != NAME:
        return found

    def wrapped(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return given[id(value)].follow() if id(value) in given else There(value)  # in place: the very same

    return tree_map(wrapped, found)


def _refuse_mixtures(operation: Any, args: tuple, leaves: list[torch.Tensor], generator: Any) -> None:
    if generator is not None and generator._cdata not in _GENERATORS:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{generator.device}'")
    if operation in _INDEXES:
        if not isinstance(args[0], There):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        leaves = [leaf for leaf in leaves if leaf.is_floating_point()]
    elif operation in _MOVES:
        return
    if len({leaf.device for leaf in leaves if isinstance(leaf, There) or leaf.dim() > 0}) > 1:
        found = ", ".join(f"{leaf.device} {tuple(leaf.shape)}" for leaf in leaves)
        raise RuntimeError(f"{operation}: expected all tensors to be on the same device, but found {found}")


def _unwrapped(value: Any) -> Any:
    return value.inner if isinstance(value, There) else value


def _lstm_cell(gates, hidden_gates, c, bias=None, bias_hh=None):
    """What `torch.lstm` calls at each step on a device without a loop of its own."""
    gates = gates + hidden_gates if bias is None else gates + hidden_gates + bias + bias_hh
    i, f, g, o = gates.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c, gates


def _gru_cell(gates, hidden_gates, h, bias=None, bias_hh=None):
    if bias is not None:
        gates, hidden_gates = gates + bias, hidden_gates + bias_hh
    (r, z, n), (r_h, z_h, n_h) = gates.chunk(3, 1), hidden_gates.chunk(3, 1)
    n, z = (n + (r + r_h).sigmoid() * n_h).tanh(), (z + z_h).sigmoid()
    return (h - n) * z + n, gates


class _Module(backend_registration._DummyBackendModule):
    """What torch asks of a kind of device."""

    def get_rng_state(self, device=None):
        return torch.get_rng_state()

    def set_rng_state(self, state, device=None):
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def synchronize(self, device=None):
        pass

    def empty_cache(self):
        pass


def register() -> None:
    """Add the device to torch, once."""
    if _LIBRARY:
        return
    backend_registration._setup_privateuseone_for_python_backend(NAME, _Module())
    cells = torch.library.Library("aten", "IMPL")
    cells.impl("_thnn_fused_lstm_cell", _lstm_cell, "AutogradPrivateUse1")
    cells.impl("_thnn_fused_gru_cell", _gru_cell, "AutogradPrivateUse1")
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(_run, "PrivateUse1")
    everything.fallback(
        torch.library.fallthrough_kernel, "AutocastPrivateUse1"
    )  # it has no lower precision of its own
    _LIBRARY.extend((cells, everything))
    _device_constructors()  # kept, of torch's own functions: `with torch.device(...)` knows those
    for name in ("tensor", "as_tensor"):  # torch switches dispatch off in these
        setattr(torch, name, _on_the_cpu_first(getattr(torch, name)))
    torch.Generator = _Generator
    torch.nn.Module._apply = _swapping(torch.nn.Module._apply)


def _swapping(apply: Any) -> Any:
    """Move weights to the device and from it as torch does between others: tied ones stay one parameter."""

    def apply_and_swap(module: torch.nn.Module, change: Any, recurse: bool = True) -> Any:
        own = list(module.parameters(recurse=False))
        is_here = any(isinstance(weight, There) for weight in own)
        moves = any(change(weight) is not weight for weight in own) if is_here else isinstance(change(_NOTHING), There)
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(moves)
        try:
            return apply(module, change, recurse)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)

    return apply_and_swap


def _on_the_cpu_first(make: Any) -> Any:
    def make_and_move(data: Any, *args: Any, device: Any = None, **options: Any) -> torch.Tensor:
        if isinstance(data, There) and device is None:
            device = data.device
        if isinstance(data, There):
            data = data.inner
        if device is None or torch.device(device).type != NAME:
            return make(data, *args, device=device, **options)
        return make(data, *args, **options).to(device)

    return make_and_move


class _Generator(torch.Generator):
    """A generator of either device."""

    def __new__(cls, device="cpu"):
        is_here = torch.device(device).type == NAME
        made = super().__new__(cls, "cpu" if is_here else device)
        (_GENERATORS.add if is_here else _GENERATORS.discard)(made._cdata)  # operations see another Python object
        return made
