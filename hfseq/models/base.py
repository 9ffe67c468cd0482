"""What every model shares: initialisation rules, and loading that refuses a torn checkpoint.

Two classes stand directly above those of transformers: `SequencePreTrainedModel`, and `SequenceConfig` in
`configs.py`. Families derive from them once; everything else is shared by small blocks (`recurrent/backbone.py`,
`heads/pooling.py`, `state.py`).

No `from __future__ import annotations` in this folder: it turns annotations into strings, which silently switches off
the type checks of `@strict` and breaks `config_class`.
"""

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.utils import cached_file, logging
from transformers.utils.hub import resolve_revision

from .artifacts import (
    CONFIG_NAME,
    HOW_TO_CONVERT,
    INDEX_NAME,
    WEIGHTS_NAME,
    MisshapenWeightsError,
    UnsafeArtifactError,
    check_shard_names,
    check_weights_file,
    check_weights_folder,
    tensors_of,
)
from .calls import named_for_generate, wants_cache
from .shared_checkpoint import has_two_heads, own_names, read_tensors

logger = logging.get_logger(__name__)

# The label of positions that are not asked for, in all of transformers and torch.
IGNORED = -100


class SequencePreTrainedModel(PreTrainedModel):
    """Base of all models: initialisation rules, safe loading, plain saving."""

    base_model_prefix = "model"
    # The heads divide the loss by `num_items_in_batch` themselves (see `sequence_loss`).
    accepts_loss_kwargs = True
    # Keywords that a forward passes on to its layers, see `calls.model_call`.
    read_by_layers: ClassVar[frozenset[str]] = frozenset()
    # Of a model that reads its part of a checkpoint with two heads: what parts of it are called there.
    names_in_joint: Mapping[str, str] | None = None

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        # Tags of the card that `push_to_hub` writes. On the instance: `add_model_tags` appends in place.
        self.model_tags = ["hfseq", config.model_type.removeprefix("hfseq_")]
        if getattr(config, "feature_size", None) is not None:
            self.main_input_name = "input_values"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise what a checkpoint lacks; `init.*` leaves loaded parameters alone.

        `from_pretrained` builds on the meta device: whatever is not named here or in transformers' own rules would
        be leftover memory.
        """
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            # Embeddings (normal, `initializer_range`; padding row 0) and norms, which are the same everywhere.
            super()._init_weights(module)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint, from safetensors only, and refuse one that does not fit this class.

        Missing, unexpected or misshapen keys are an error. Three things count as asking for them: choosing a class
        other than the one that was saved, which lets exactly the head differ (a language model's body under a new
        classifier), an empty `state_dict`, which initialises everything, and `strict=False`, which lets anything
        through with transformers' warning.
        """
        strict_keys = kwargs.pop("strict", True)
        wants_info = kwargs.pop("output_loading_info", False)
        source = pretrained_model_name_or_path
        if source is not None:
            _check_source(source, kwargs)
        elif kwargs.get("state_dict") is None:
            raise ValueError(f"{cls.__name__}.from_pretrained needs a folder, a Hub id, or config= and state_dict=.")
        kwargs["use_safetensors"] = True
        # With a key_mapping only transformers knows what the keys will be called.
        renames = kwargs.get("key_mapping") is not None
        with (
            _undisturbed(),
            _explained_errors(source, cls.__name__),
            _lets_through(renames or not strict_keys),
        ):
            model, info = cast(Any, super()).from_pretrained(source, *args, output_loading_info=True, **kwargs)
        if strict_keys and not initialises_everything(kwargs):
            _refuse_unfit(model, info, "state_dict" if source is None else source)
        model.base_model.freeze_parameters()
        return (model, info) if wants_info else model

    # Here transformers reads weights into a model that has shapes and no memory yet.
    @classmethod
    def _load_pretrained_model(
        cls, model: PreTrainedModel, state_dict: Any, checkpoint_files: list[str] | None, load_config: Any, *args: Any
    ) -> Any:
        """Refuse a checkpoint that does not fit by the headers of its files, before memory is asked for."""
        has_shapes = not (load_config.is_quantized or is_deepspeed_zero3_enabled())
        if state_dict is None and checkpoint_files:
            held = tensors_of(checkpoint_files)
            if _reads_a_part(model):
                renamed: Any = model.names_in_joint
                names = own_names(held, model.state_dict(), renamed, model.base_model_prefix)
                held = {own: held[name] for name, own in names.items()}
                state_dict = read_tensors(checkpoint_files, names)
            if has_shapes:
                _refuse_by_headers(model, held, load_config)
        return cast(Any, super())._load_pretrained_model(model, state_dict, checkpoint_files, load_config, *args)

    def freeze_parameters(self) -> None:
        """Stop the gradients that the config says to stop. Loading replaces every parameter by a trainable one."""

    # The two steps of `generate` that we change. Both are hooks of GenerationMixin, the same from 5.20 to 5.24; models
    # that generate have it among their later bases.

    def _extract_generation_mode_kwargs(self, custom_generate: Any, *args: Any) -> dict[str, Any]:
        """Give a function passed as `custom_generate` what `generate` gives its own loops.

        transformers withholds these from it: `streamer`, `assistant_model` and `synced_gpus`, which it gets here if
        its signature names them, and the tokenizers, which travel among the arguments of the model as always.
        """
        generating: Any = super()
        if not callable(custom_generate):
            return generating._extract_generation_mode_kwargs(custom_generate, *args)
        named = {"tokenizer", "assistant_tokenizer", *inspect.signature(custom_generate).parameters}
        usual = generating._extract_generation_mode_kwargs(None, *args)
        own = generating._extract_generation_mode_kwargs(custom_generate, *args)
        return {name: value for name, value in usual.items() if name in named} | own

    def _prepare_generation_config(self, *args: Any, **kwargs: Any) -> Any:
        """Give `generate` the cache under the name that this release has for it."""
        generating: Any = super()
        return generating._prepare_generation_config(*args, **named_for_generate(kwargs))

    def _wants_cache(self, cache: Cache | None, use_cache: bool | None) -> bool:
        """Return whether a backbone fills and returns a cache, so that a later call can continue from it."""
        config: Any = self.config
        # Without gradients nothing runs twice: a model in training mode may generate.
        checkpointing = getattr(self, "gradient_checkpointing", False) and self.training and torch.is_grad_enabled()
        if cache is None:
            # Trainer writes use_cache=True into every config; in that of an encoder it asks for nothing.
            if use_cache is None:
                use_cache = wants_cache(config) and not config.bidirectional
            if use_cache and checkpointing:
                logger.warning_once("use_cache=True is left out: gradient checkpointing runs each layer twice.")
                use_cache = False
            if not use_cache:
                return False
        if config.bidirectional:
            raise ValueError(
                "A bidirectional model cannot go on from what it has read: each of its outputs depends on the whole "
                "text. Set bidirectional=False in the config, or leave use_cache and cache (past_key_values) out."
            )
        if checkpointing:
            raise ValueError(
                "Gradient checkpointing runs each layer twice, and the second run would meet the state that the first "
                "one left. Call model.activation_checkpointing_disable() (gradient_checkpointing_disable() in older "
                "transformers), or leave cache (past_key_values) out."
            )
        return True

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """Save config and weights, without code and without `auto_map`.

        A model that was loaded with its code would otherwise be saved with a map to files that the new folder may
        lack, and load nowhere. `hfseq.hub.push(..., with_code=True)` writes code and map together.

        Raises:
            ValueError: If a parameter holds NaN or infinite numbers, which no loader would take.
        """
        given = kwargs.get("state_dict", args[1] if len(args) > 1 else None) or {}
        broken = not_finite((name, given.get(name, value)) for name, value in self.named_parameters())
        if broken:
            raise ValueError(
                f"{type(self).__name__} holds NaN or infinite numbers in {', '.join(broken[:5])}: its training "
                f"diverged. Nothing was saved in {str(save_directory)!r}; go back to an earlier checkpoint."
            )
        # On the instance alone: the class may be registered for export.
        for exported in (self, self.config):
            exported.__dict__["_auto_class"] = None
        self.config.__dict__.pop("auto_map", None)
        return super().save_pretrained(save_directory, *args, **kwargs)


def _check_source(source: Any, kwargs: dict[str, Any]) -> None:
    """Refuse weights that are not safetensors, before transformers opens any of them.

    transformers reads a shard that is a pickle, if an index names it. The revision in `kwargs` becomes the commit that
    was looked at, so that what is loaded is what was checked.
    """
    if kwargs.get("variant") is not None:
        raise ValueError(f"variant={kwargs['variant']!r}: weights are read from {WEIGHTS_NAME} or {INDEX_NAME} only.")
    subfolder = kwargs.get("subfolder") or ""
    if os.path.isdir(source):
        check_weights_folder(os.path.join(source, subfolder))
        return
    if os.path.isfile(source):
        check_weights_file(Path(source))
        return
    names = ("cache_dir", "local_files_only", "revision", "token")
    download = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
    kwargs["revision"] = download["revision"] = resolve_revision(source, **download)
    download |= {"subfolder": subfolder, "force_download": kwargs.get("force_download", False)}
    # Raises transformers' own error if nothing can be read there.
    cached_file(source, CONFIG_NAME, **download)
    index = cached_file(source, INDEX_NAME, **download, _raise_exceptions_for_missing_entries=False)
    if index is not None:
        check_shard_names(Path(index))


def load_with_weights_checked(auto: Any, source: Any) -> PreTrainedModel:
    """Load a model of any family through an Auto class as ours are loaded: from safetensors, without foreign code."""
    options: dict[str, Any] = {}
    _check_source(source, options)
    with _undisturbed(), _explained_errors(source, auto.__name__):
        return cast(
            PreTrainedModel, auto.from_pretrained(source, use_safetensors=True, trust_remote_code=False, **options)
        )


@contextmanager
def _explained_errors(source: Any, class_name: str) -> Iterator[None]:
    """Replace the errors of transformers that name no cure, or the wrong one."""
    try:
        yield
    except SafetensorError as error:
        raise UnsafeArtifactError(
            f"The weights of {source!r} are truncated or malformed ({error}): save, push or download them again."
        ) from error
    except OSError as error:
        if "use_safetensors" not in str(error):
            raise
        raise UnsafeArtifactError(
            f"{source!r} has neither {WEIGHTS_NAME} nor {INDEX_NAME}, or they are not in the cache and the Hub is out "
            f"of reach. {HOW_TO_CONVERT}"
        ) from error
    except MisshapenWeightsError:
        raise
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise MisshapenWeightsError(
            f"Some weights of {source!r} have another shape than {class_name} with this config (each is listed in "
            "the report above): check num_labels, vocab_size and the sizes that were passed. "
            "ignore_mismatched_sizes=True initialises those weights anew."
        ) from error


def initialises_everything(kwargs: dict[str, Any]) -> bool:
    """Return whether an empty `state_dict` was passed to `from_pretrained`, which asks for new weights."""
    return kwargs.get("state_dict") is not None and len(kwargs["state_dict"]) == 0


def is_loaded(parameter: torch.Tensor) -> bool:
    """Return whether a checkpoint filled this parameter."""
    # `init.*` asks this too, but a slice of a parameter lacks the mark.
    return getattr(parameter, "_is_hf_initialized", False)


# While it loads, transformers replaces functions of its own and of torch (so that no weights are tied, for example).
# If two threads load at once, the later one puts back the replaced ones, and they stay for ever.
_LOADING = RLock()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Allow one load at a time, without a request to the service outside HF_ENDPOINT that converts .bin files."""
    name = "DISABLE_SAFETENSORS_CONVERSION"
    with _LOADING:
        before = os.environ.get(name)
        os.environ[name] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


# Whether `_load_pretrained_model` leaves open which keys are there: with strict=False or key_mapping, and when it is
# not called by our `from_pretrained`.
_LETS_THROUGH: ContextVar[bool] = ContextVar("_LETS_THROUGH", default=True)


@contextmanager
def _lets_through(anything: bool) -> Iterator[None]:
    token = _LETS_THROUGH.set(anything)
    try:
        yield
    finally:
        _LETS_THROUGH.reset(token)


def _refuse_by_headers(model: PreTrainedModel, held: dict[str, tuple[tuple[int, ...], str]], load_config: Any) -> None:
    """Raise ValueError unless the files hold all tensors of the model, in its shapes and kinds of numbers."""
    source, wanted = load_config.pretrained_model_name_or_path, model.state_dict()
    held = {_name_in_model(key, model.base_model_prefix, wanted): found for key, found in held.items()}
    for name in sorted(held.keys() & wanted.keys()):
        dtype = held[name][1]
        is_float = dtype.startswith(("F", "BF"))
        if is_float != wanted[name].is_floating_point() or not (is_float or dtype.startswith(("I", "U"))):
            raise ValueError(
                f"The checkpoint {source!r} holds {name} as {dtype}, but {type(model).__name__} computes with "
                f"{wanted[name].dtype}: rounding would make other weights of them. Save the model again."
            )
    misshapen = [
        f"{name} {held[name][0]} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in held and held[name][0] != tuple(wanted[name].shape)
    ]
    if misshapen and not load_config.ignore_mismatched_sizes:
        raise MisshapenWeightsError(
            f"Some weights of {source!r} have another shape than {type(model).__name__} with this config: "
            f"{', '.join(misshapen[:5])}{', ...' if len(misshapen) > 5 else ''}. Check num_labels, vocab_size and the "
            "sizes that were passed. ignore_mismatched_sizes=True initialises those weights anew."
        )
    if not _LETS_THROUGH.get():
        tied = {name for pair in model.all_tied_weights_keys.items() if held.keys() & set(pair) for name in pair}
        keys = {
            "missing_keys": _but(wanted.keys() - held.keys() - tied, model._keys_to_ignore_on_load_missing),
            "unexpected_keys": _but(held.keys() - wanted.keys(), model._keys_to_ignore_on_load_unexpected),
        }
        _refuse_unfit(model, keys, source)


def _but(keys: set[str], ignored: Iterable[str] | None) -> set[str]:
    """Remove the keys that a class ignores, by its regular expressions."""
    return {key for key in keys if not any(re.search(pattern, key) for pattern in ignored or ())}


def _name_in_model(key: str, prefix: str, wanted: dict[str, torch.Tensor]) -> str:
    """Return what the model calls a tensor of a file, which was saved with or without the prefix of a backbone."""
    names = (key, f"{prefix}.{key}", key.removeprefix(f"{prefix}."))
    return next((name for name in names if name in wanted), key)


def _reads_a_part(model: Any) -> bool:
    """Return whether the model has one head or another one, and its checkpoint two."""
    if model.base_model is model or has_two_heads(type(model).__name__):
        return False
    saved_class = next(iter(model.config.architectures or ()), None)
    return has_two_heads(saved_class) if saved_class is not None else model.names_in_joint is not None


def _refuse_unfit(model: PreTrainedModel, info: dict[str, Any], source: Any) -> None:
    """Raise ValueError unless the checkpoint holds what the model needs, in finite numbers."""
    saved_class = next(iter(model.config.architectures or ()), None)
    same_class = saved_class is None or saved_class in [cls.__name__ for cls in type(model).__mro__]
    # What is not of its own part has been left in the file.
    same_class = same_class or (_reads_a_part(model) and cast(Any, model).names_in_joint is not None)
    body = {name.split(".")[0] for name in model.base_model.state_dict()}  # tables of its own too
    missing, unexpected = (
        {key for key in info[kind] if same_class or _is_body(key, body, model.base_model_prefix)}
        for kind in ("missing_keys", "unexpected_keys")
    )
    problems = [
        f"{kind} {', '.join(sorted(keys)[:5])}{', ...' if len(keys) > 5 else ''}"
        for kind, keys in (("lacks", missing), ("has unexpected", unexpected))
        if keys
    ]
    if problems:
        raise ValueError(
            f"The checkpoint {source!r} (saved as {saved_class}) does not fit {type(model).__name__}: it "
            f"{' and '.join(problems)}. Load it with the class it was saved from, or pass strict=False to "
            "initialise what is missing and drop what is unexpected."
        )
    broken = not_finite(model.named_parameters())
    if broken:
        raise ValueError(
            f"The checkpoint {source!r} holds NaN or infinite numbers in {', '.join(broken[:5])}: the run that wrote "
            "it diverged. Take an earlier checkpoint, or pass strict=False to load it as it is."
        )


def not_finite(parameters: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Return the names of those that hold NaN or infinite numbers."""
    return [name for name, value in parameters if value.device.type != "meta" and not torch.isfinite(value).all()]


def _is_body(key: str, body: set[str], prefix: str) -> bool:
    """Return whether a weight belongs to the backbone, whose keys have a prefix if there is a head."""
    return key.removeprefix(prefix + ".").split(".")[0] in body
