"""Random numbers that a seed repeats, whatever other threads do.

`torch.manual_seed` seeds one generator for the whole process: a thread that seeds it changes what all others draw, and
its own draws change if another does the same. What draws through torch without being asked for a generator
(`nn.init`, the sampling of `generate`) gets one here.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_IN_PLACE = ("bernoulli", "cauchy", "exponential", "geometric", "log_normal", "normal", "random", "uniform")
_NEW = ("bernoulli", "binomial", "multinomial", "normal", "poisson", "rand", "randint", "randn", "randperm")
_LIKE = (torch.rand_like, torch.randint_like, torch.randn_like)  # an older torch has them without a generator
# The functions that can take a generator.
_DRAWING = {
    torch.Tensor.bernoulli,
    torch.Tensor.multinomial,
    *(getattr(torch.Tensor, f"{name}_") for name in _IN_PLACE),
    *(getattr(torch, name) for name in _NEW),
    *(like for like in _LIKE if "generator" in str(like.__doc__).partition(")")[0]),
}


class OwnDraws(TorchFunctionMode):
    """A `with` block in which this thread's draws come from generators of its own.

    The numbers are those that follow `torch.manual_seed(seed)`, whose generator is left as it is. Only the functions
    of `_DRAWING` are covered, and those of `nn.init`. Others still draw from the generator of the process: dropout and
    `rrelu`, of which torch lets nobody choose it, and the gamma and Dirichlet distributions.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run a function of torch; `nn.init` says by an empty `generator` that it draws."""
        given = kwargs or {}
        chosen = given.get("generator") is not None or any(isinstance(value, torch.Generator) for value in args)
        if (func in _DRAWING or "generator" in given) and not chosen:
            given = given | {"generator": self._generator(args, given)}
        return func(*args, **given)

    def _generator(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Generator:
        tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
        first = next(tensors, None)
        device = torch.device(kwargs.get("device") or torch.get_default_device()) if first is None else first.device
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]
