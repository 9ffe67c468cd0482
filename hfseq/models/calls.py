"""How transformers calls a model, release by release: the name of the cache, and no keyword that nobody reads.

transformers 5.24 renamed `past_key_values` to `cache`, in what a forward takes and in what it returns. Both names work
here with every release; the code of this package says `cache`.
"""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, Final, TypeAlias, TypeVar, cast

import torch
from transformers import modeling_outputs
from transformers.cache_utils import Cache

CACHE_NAMES: Final = ["cache", "past_key_values"]

# What transformers passes to any model, whether it reads it or not: Trainer the first, pipelines the next three,
# tokenizers of sentence pairs token_type_ids, and generate() with stop_strings the tokenizers. Trainers of rewards say
# use_cache=False to any classifier.
_PASSED_TO_ALL: Final = frozenset(
    (
        *("num_items_in_batch", "output_attentions", "output_hidden_states", "return_dict"),
        *("token_type_ids", "tokenizer", "assistant_tokenizer", "use_cache"),
    )
)
# What attention functions read (`TransformersKwargs`): texts that lie one behind the other.
READ_BY_ATTENTION: Final = frozenset(("cu_seq_lens_k", "cu_seq_lens_q", "max_length_k", "max_length_q"))

_OUTPUT_NAME: Final = next(
    name for name in CACHE_NAMES if name in {field.name for field in fields(modeling_outputs.BaseModelOutputWithPast)}
)

Forward = TypeVar("Forward", bound=Callable[..., Any])


def model_call(*more: str) -> Callable[[Forward], Forward]:
    """Let a forward take the cache by either name, and refuse a keyword that nothing reads.

    Without this, a forward with `**kwargs` would swallow a misspelt keyword, or the cache under the next name that
    transformers gives it, and answer wrongly. A keyword whose value is None asks for nothing and is dropped. Put it
    above the decorators of transformers.

    Args:
        *more: Keywords that the forward takes out of its `**kwargs`, beside its parameters and those that
            transformers passes to any model. The class attribute `read_by_layers` names those that layers read.
    """

    def decorate(forward: Forward) -> Forward:
        parameters = inspect.signature(forward).parameters
        known = frozenset(name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD)
        known |= _PASSED_TO_ALL.union(more)

        @wraps(forward)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if "past_key_values" in kwargs and "cache" in known:
                kwargs = _renamed(kwargs, "cache")
            for name in kwargs.keys() - known - self.read_by_layers:
                if kwargs.pop(name) is not None:
                    taken = (known | self.read_by_layers) - {"self"}
                    raise TypeError(_refusal(type(self).__name__, name, sorted(taken)))
            return forward(self, *args, **kwargs)

        return cast(Forward, call)

    return decorate


def _renamed(kwargs: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the arguments with the cache under this name, whichever name it was given by."""
    given = [value for each in CACHE_NAMES if (value := kwargs.pop(each, None)) is not None]
    if len(given) > 1:
        raise TypeError("cache and past_key_values are two names of one argument: give one of them.")
    return {**kwargs, name: given[0] if given else None}


def _refusal(model: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{model} does not read {name!r}, so it would change nothing.{hint} It takes {', '.join(known)}."


def wants_cache(config: Any) -> bool:
    """Return whether a forward returns its cache when the call does not say. A graph cannot take a cache back."""
    return config.use_cache and not (torch.compiler.is_exporting() or torch.jit.is_tracing())


def with_cache(cache: Cache | None) -> dict[str, Any]:
    """Return the cache as a field of transformers' outputs, under the name that this release has for it."""
    return {_OUTPUT_NAME: cache}


def named_for_generate(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `generate` with the cache under this release's name; it takes the older one itself."""
    return _renamed(kwargs, _OUTPUT_NAME) if "cache" in kwargs else kwargs


class _EitherName:
    """`outputs.cache` beside `outputs.past_key_values`; newer releases answer to the older name by themselves."""

    if _OUTPUT_NAME != "cache":

        @property
        def cache(self) -> Cache | None:
            """The cache, under its name from transformers 5.24 on."""
            return cast(Any, self).past_key_values


Gates: TypeAlias = tuple[dict[str, torch.Tensor], ...] | None
"""What recurrent models show of their cells: for each layer and direction, name of a gate or state -> (B, T, H)."""


@dataclass
class BaseModelOutputWithPast(_EitherName, modeling_outputs.BaseModelOutputWithPast):
    """The class of transformers, with both names of the cache, and the gates of a recurrent model."""

    gates: Gates = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(
    _EitherName, modeling_outputs.BaseModelOutputWithPastAndCrossAttentions
):
    """The class of transformers, with both names of the cache."""


@dataclass
class CausalLMOutputWithPast(_EitherName, modeling_outputs.CausalLMOutputWithPast):
    """The class of transformers, with both names of the cache, and the gates of a recurrent model."""

    gates: Gates = None


@dataclass
class SeriesPredictionOutput(_EitherName, modeling_outputs.CausalLMOutputWithPast):
    """What is said of the steps that come in a series of numbers.

    Attributes:
        logits: (B, T, H, O, P) the parameters of each number's density, at each step.
        prediction: (B, T, H, O) the numbers to expect: means, or medians of quantiles.
        gates: Of a recurrent model, where asked for.
    """

    prediction: torch.Tensor | None = None
    gates: Gates = None


@dataclass
class SequenceClassifierOutput(modeling_outputs.SequenceClassifierOutput):
    """The class of transformers, with the gates of a recurrent model."""

    gates: Gates = None


@dataclass
class TokenClassifierOutput(modeling_outputs.TokenClassifierOutput):
    """The class of transformers, with the gates of a recurrent model."""

    gates: Gates = None


@dataclass
class Seq2SeqModelOutput(_EitherName, modeling_outputs.Seq2SeqModelOutput):
    """The class of transformers, with both names of the cache."""


@dataclass
class Seq2SeqLMOutput(_EitherName, modeling_outputs.Seq2SeqLMOutput):
    """The class of transformers, with both names of the cache."""
