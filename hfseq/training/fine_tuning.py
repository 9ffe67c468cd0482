"""Fine-tuning a pretrained body under a new head: the body learns slower and later (ULMFiT, Howard and Ruder 2018).

Every parameter has a depth d, which follows from where it stands in the model:

    0           before the layers of the body: embeddings
    1 ... L     layer d of the body; what follows the layers (a last norm, a pooler) counts as layer L
    L + 1       outside the body: the head

    rate(d) = learning_rate * decay^(L + 1 - d)             discriminative rates, `layer_rate_decay`
    begin(d) = (L + 1 - d) * every                          gradual unfreezing in epochs, `unfreeze_every`

A parameter that stands in two places (tied output weights) takes the greater depth. `SequenceTrainer` applies both;
the paper's schedule, a short rise and a long fall, is Trainer's `lr_scheduler_type="linear"` with `warmup_steps=0.1`.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import nn
from transformers import PreTrainedModel

Depths: TypeAlias = Mapping[nn.Parameter, int]


def parameter_depths(model: nn.Module) -> dict[nn.Parameter, int]:
    """Tell how deep each parameter of a model lies, from 0 for the embeddings to L + 1 for the head."""
    if not isinstance(model, PreTrainedModel):
        raise ValueError(f"Only a PreTrainedModel tells its body from its head, got {type(model).__name__}.")
    body = model.base_model
    stack_name, stack = _stack(body)
    numbers: dict[nn.Parameter, int] = {}
    outside = 0  # parameters come in the order of the modules: before the stack, of it, after it
    for name, parameter in body.named_parameters(remove_duplicate=False):
        number = outside
        if name.startswith(f"{stack_name}."):
            number = 1 + int(name.removeprefix(f"{stack_name}.").split(".")[0])
            outside = len(stack)
        numbers[parameter] = max(number, numbers.get(parameter, 0))
    for module in set(model.modules()) - set(body.modules()):
        numbers |= dict.fromkeys(module.parameters(recurse=False), len(stack) + 1)
    return numbers


def _stack(body: nn.Module) -> tuple[str, nn.ModuleList]:
    """Find the layers of a body and their name: its one outermost list of modules with parameters."""
    found: dict[str, nn.ModuleList] = {}
    for name, module in body.named_modules():
        is_inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList) and not is_inside and next(module.parameters(), None) is not None:
            found[name] = module
    if len(found) != 1:
        held = f"the lists {', '.join(found)}" if found else "no list of layers"
        raise ValueError(
            f"{type(body).__name__} holds {held}, and layer_rate_decay and unfreeze_every need exactly one: leave "
            "them out, or give SequenceTrainer optimizers=... with groups of your own."
        )
    return next(iter(found.items()))


def set_layer_rates(optimizer: torch.optim.Optimizer, depths: Depths, decay: float) -> None:
    """Divide the groups of a new optimizer by depth, the head first; all but the learning rate stays."""
    top = max(depths.values())
    groups = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for depth in range(top, -1, -1):
        for group in groups:
            members = [parameter for parameter in group["params"] if depths[parameter] == depth]
            if members:
                optimizer.add_param_group({**group, "params": members, "lr": group["lr"] * decay ** (top - depth)})


def drop_frozen_gradients(depths: Depths, *, epoch: float, every: float) -> None:
    """Take away the gradients of what does not learn yet, so that no optimizer changes or decays it.

    Every `every` epochs one more layer learns. `requires_grad=False` would save the backward pass, but what is frozen
    when training starts stays frozen for DistributedDataParallel, and for the optimizer.
    """
    # Epochs are sums of fractions: 3 x 0.1 is not 0.3.
    learning = 1 + math.floor(epoch / every + 1e-6)
    top = max(depths.values())
    for parameter, depth in depths.items():
        if top - depth >= learning:
            parameter.grad = None
