"""Promises 2 and 5: save -> load is bit-equal, nothing is left to chance, and no pickle is read."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    PreTrainedModel,
)

from hfseq.models import configs
from tests.closeness import assert_same
from tests.contract.cases import Case


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models hold bit-equal parameters and buffers under the same names, on whatever devices."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name].cpu(), right[name].cpu()) for name in left)


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors of a saved checkpoint in place."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **values: Any) -> None:
    """Change config.json without asking the config class."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | values), encoding="utf-8")


def saving_writes_weights_and_no_code(case: Case) -> None:
    model = case.model()
    model.config.auto_map = {"AutoConfig": "elsewhere.Config"}  # as in a checkpoint that came with its code
    folder = case.saved(model)
    assert not [path.name for path in folder.iterdir() if path.suffix in (".py", ".bin", ".pkl")]
    assert "auto_map" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def save_and_load_are_bit_equal(case: Case) -> None:
    model = case.model()
    for name, parameter in model.named_parameters():  # values no initialisation gives
        values = torch.arange(parameter.numel(), dtype=torch.float32, device=parameter.device) * 0.01 + len(name)
        parameter.data = values.reshape(parameter.shape)
    loaded = case.auto_class.from_pretrained(case.saved(model))
    assert same_weights(model, loaded)
    assert torch.equal(case.reply(model), case.reply(loaded))
    assert not [name for name, parameter in loaded.named_parameters() if not parameter.requires_grad]


def damaged_checkpoints_are_refused(case: Case) -> None:
    model = case.model()
    body = {tensor.data_ptr() for tensor in model.base_model.state_dict().values()}
    first = next(
        name for name, tensor in model.state_dict().items() if tensor.is_floating_point() and tensor.data_ptr() in body
    )
    damages: list[tuple[str, Callable[[dict[str, torch.Tensor]], Any]]] = [
        ("unexpected", lambda tensors: tensors.update({f"{first}.99": torch.zeros(2)})),
        ("NaN|damaged", lambda tensors: tensors[first].fill_(float("nan"))),
        *[("lacks", lambda tensors, name=name: tensors.pop(name)) for name in (first, *dict(model.named_buffers()))],
    ]
    for word, damage in damages:
        folder = case.saved()
        edit_weights(folder, damage)
        with pytest.raises(ValueError, match=word):
            case.auto_class.from_pretrained(folder)
        case.auto_class.from_pretrained(folder, strict=False)


def checkpoints_of_another_size_are_refused(case: Case) -> None:
    folder = case.saved()
    for kind in (ValueError, RuntimeError):  # as all that does not fit, and as transformers
        with pytest.raises(kind, match="another shape"):
            case.auto_class.from_pretrained(folder, **case.misfit)
    grown = case.auto_class.from_pretrained(folder, **case.misfit, ignore_mismatched_sizes=True, strict=False)
    assert case.reply(grown).shape[-1] == case.grown_width


def misfits_are_refused_before_memory_is_asked_for(case: Case) -> None:
    """By the headers of the weights: another shape, a tensor that is missing, and numbers of another kind."""
    folder = case.saved()
    name = next(name for name, tensor in load_file(folder / "model.safetensors").items() if tensor.is_floating_point())
    damages: list[tuple[str, Callable[[dict[str, torch.Tensor]], Any]]] = [
        (f"lacks .*{name}", lambda tensors: tensors.pop(name)),
        *[
            (f"{name} as {code}", lambda tensors, kind=kind: tensors.update({name: tensors[name].to(kind)}))
            for code, kind in (("BOOL", torch.bool), ("I64", torch.int64), ("C64", torch.complex64))
        ],
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PreTrainedModel, "_load_pretrained_model", lambda *args: pytest.fail("memory is asked for"))
        edit_config(folder, **case.oversize)
        with pytest.raises(ValueError, match="another shape.* for .*10000000"):
            case.auto_class.from_pretrained(folder)
        for message, damage in damages:
            edit_weights(case.saved(), damage)
            with pytest.raises(ValueError, match=message):
                case.auto_class.from_pretrained(folder)


def missing_weights_are_initialised_by_our_rules(case: Case) -> None:
    folder = case.saved()
    edit_weights(folder, lambda tensors: tensors.clear())
    loaded = case.auto_class.from_pretrained(folder, strict=False)
    for name, tensor in loaded.state_dict().items():
        assert torch.isfinite(tensor).all(), name
        assert case.starts_well(name, tensor), (name, tensor)


def an_empty_state_dict_initialises_everything(case: Case) -> None:
    """As transformers' own tests ask for it; the same values as those of a new model, whatever order they come in."""
    original = PreTrainedModel._initialize_weights

    def initialise_by_seed(model: PreTrainedModel, module: nn.Module, *options: Any) -> None:
        torch.manual_seed(0)
        original(model, module, *options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreTrainedModel, "_initialize_weights", initialise_by_seed)
        fresh = case.model_class(case.config())
        loaded, info = case.model_class.from_pretrained(
            None, config=case.config(), state_dict={}, output_loading_info=True
        )
    assert info["missing_keys"] == set(fresh.state_dict()) and not loaded.training
    assert same_weights(fresh, loaded)
    assert not [name for name, tensor in loaded.state_dict().items() if tensor.is_meta]
    model = case.model()
    weights = model.state_dict()
    assert same_weights(case.model_class.from_pretrained(None, config=model.config, state_dict=weights), model)
    some = dict([next(item for item in weights.items() if item[1].is_floating_point())])
    with pytest.raises(ValueError, match="'state_dict' .* lacks"):  # that the rest is made anew was not asked for
        case.model_class.from_pretrained(None, config=model.config, state_dict=some)
    with pytest.raises(ValueError, match="needs a folder, a Hub id, or config= and state_dict="):
        case.model_class.from_pretrained(None, config=case.config())


def a_new_head_on_an_old_body_keeps_the_body(case: Case) -> None:
    backbone = case.model().model
    backbone.save_pretrained(case.folder)
    transferred, info = case.auto_class.from_pretrained(case.folder, num_labels=4, output_loading_info=True)
    assert same_weights(transferred.model, backbone)
    head = {name: tensor for name, tensor in transferred.state_dict().items() if not name.startswith("model.")}
    assert head and info["missing_keys"] <= set(head)
    assert all(case.starts_well(name, tensor) for name, tensor in head.items())
    edit_weights(case.folder, lambda tensors: tensors.pop(next(iter(tensors))))
    with pytest.raises(ValueError, match="lacks"):  # a new head was asked for, half a body was not
        case.auto_class.from_pretrained(case.folder)


def copies_and_half_precision_work(case: Case) -> None:
    model = case.model()
    assert torch.equal(case.reply(copy.deepcopy(model)), case.reply(model))
    folder = case.saved(model.to(torch.bfloat16))
    loaded = case.auto_class.from_pretrained(folder)
    assert loaded.dtype == torch.bfloat16
    expected = case.reply(case.model())
    assert_same(case.reply(loaded), expected, 0.1, scale=1)  # bfloat16 has three digits


def keys_of_a_newer_config_are_named(case: Case) -> None:
    """In a config.json: with a warning, in the place of nothing that this class has, and they are saved again."""
    folder = case.saved()
    model = case.auto_class.from_pretrained(folder)
    edit_config(folder, highway=True, hidden_sizes=[3], validate=1, top_p=0.5)
    with capture_warnings() as lines:
        loaded = case.auto_class.from_pretrained(folder)
    assert all(f"'{name}'" in "".join(lines) for name in ("highway", "hidden_sizes", "validate", "top_p"))
    assert same_weights(loaded, model) and torch.equal(case.reply(loaded), case.reply(model))
    loaded.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert saved["highway"] is True and saved["hidden_sizes"] == [3] and not {"validate", "top_p"} & set(saved)


@contextmanager
def capture_warnings() -> Iterator[list[str]]:
    """The lines that the configs log."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(configs.logger, "warning", lines.append)
        yield lines


def pickles_and_torn_files_are_refused(case: Case) -> None:
    folder = case.saved()
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match="model.safetensors"):
        case.auto_class.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(OSError, match="neither model.safetensors"):
        case.auto_class.from_pretrained(folder)
    torch.save(case.model().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="pytorch_model.bin"):
        case.auto_class.from_pretrained(folder)
