"""Fast generation for recurrent language models: the same tokens in a fraction of the time.

    model.generate(**inputs, do_sample=True, top_p=0.9, custom_generate=hfseq.fused_generate)

The prompt is read by the model's own forward; then each step is a few kernel calls. Greedy tokens are those of the
ordinary loop. Sampling has the same distribution, and `torch.manual_seed` repeats a text, but another one than the
ordinary loop's.

**Done here:** any number of rows, padding, `num_return_sequences`, `max_length`, `eos_token_id`, `min_length`,
`min_new_tokens`, `repetition_penalty`, `temperature`, `top_k`, `top_p`, `suppress_tokens`, `return_dict_in_generate`,
a streamer, and a state to continue from (`cache` or `past_key_values`).

**Left to the ordinary loop**, with its result (`logger.info` says why): beams, assisted decoding, `stop_strings`;
other logits processors and stopping criteria, or these in another order; scores, logits or hidden states asked for; no
cache; a model in training mode, with hooks, adapters or parametrised weights, under autocast, off the CPU, with an
adaptive softmax, or in another dtype than float32 or float64; no numba.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, StoppingCriteriaList
from transformers.cache_utils import Cache
from transformers.generation import GenerateDecoderOnlyOutput, logits_process
from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria
from transformers.generation.streamers import BaseStreamer
from transformers.generation.utils import GENERATION_MODES_MAPPING, GenerationMode
from transformers.utils import logging

from ..models.calls import CACHE_NAMES, with_cache
from ..models.heads.causal_lm import CausalLMMixin
from ..models.recurrent import fused
from ..models.recurrent.backbone import RecurrentLayer, RecurrentModel
from ..models.recurrent.loop import RecurrentLoop
from ..models.recurrent.state import RecurrentStateLayer

if TYPE_CHECKING:
    from ..kernels.cells.generation import Decoder, Filters

logger = logging.get_logger(__name__)

_PREPARED = {"attention_mask", "inputs_embeds", "logits_to_keep", "use_cache", *CACHE_NAMES}
_EXTRAS = ("output_attentions", "output_hidden_states", "output_logits", "output_scores")
_DRAWN_AT_ONCE = 256  # steps whose random numbers are drawn together: to call torch in each would slow small models


def fused_generate(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    synced_gpus: bool = False,
    streamer: BaseStreamer | None = None,
    assistant_model: PreTrainedModel | None = None,
    **model_kwargs: Any,
) -> GenerateDecoderOnlyOutput | torch.Tensor:
    """Generate with fused kernels; pass this to `generate` as `custom_generate`, which calls it."""
    # 1. See whether the kernels can do what is asked for; if not, the ordinary loop does it.
    try:
        _check_call(input_ids, generation_config, synced_gpus or assistant_model is not None, model_kwargs)
        rules = _Rules.of(logits_processor, stopping_criteria, generation_config)
        network = _checked(model)
    except _NotFusedError as reason:
        logger.info("Generation is left to the ordinary loop: %s.", reason)
        own = {"logits_processor": logits_processor, "stopping_criteria": stopping_criteria}
        more = {"synced_gpus": synced_gpus, "streamer": streamer, "assistant_model": assistant_model, **model_kwargs}
        given = {name: value for name, value in more.items() if value is not None}
        return _ordinary(model, input_ids, generation_config, **own, **given)
    # 2. Read the prompts by the model's own forward.
    outputs = network._prefill(input_ids, generation_config, model_kwargs)
    cache, scores = outputs.cache, outputs.logits[:, -1].float().numpy().copy()
    # 3. Write, a few kernel calls a token.
    steps = max(rules.max_length - input_ids.shape[1], 1)
    decoder = _decoder(network, cache, steps)
    chosen = []
    for tokens in _tokens(decoder, scores, rules, input_ids, steps):
        chosen.append(torch.from_numpy(tokens.copy()))
        if streamer is not None:
            streamer.put(chosen[-1])
    if streamer is not None:
        streamer.end()
    # 4. Leave the state in the cache, so that a later call can continue. The last token is not read any more.
    for layer, states in zip(cache.layers, decoder.states(), strict=True):
        layer.keep(states, num_new_tokens=len(chosen) - 1)
    sequences: Any = torch.cat((input_ids, torch.stack(chosen, dim=1).to(input_ids.dtype)), dim=1)
    if generation_config.return_dict_in_generate:
        return GenerateDecoderOnlyOutput(sequences=sequences, **with_cache(cache))
    return sequences


class _NotFusedError(Exception):
    """Why the ordinary loop must do it."""


def _ordinary(model: Any, input_ids: torch.Tensor, generation_config: GenerationConfig, **more: Any) -> Any:
    """Do what `generate` would have done without `custom_generate`; `more` is what the loop and the model take."""
    mode = generation_config.get_generation_mode(more.get("assistant_model"))
    method = GENERATION_MODES_MAPPING[mode]
    if "/" in method:
        raise ValueError(
            f"{mode.value.replace('_', ' ')} is not part of transformers any more, but of the repository {method}: "
            f"call generate with custom_generate={method!r}, or leave its options out."
        )
    if mode == GenerationMode.ASSISTED_GENERATION:
        more["inputs_tensor"] = input_ids
    return getattr(model, method)(input_ids, generation_config=generation_config, **more)


def _check_call(
    input_ids: torch.Tensor, config: GenerationConfig, has_partners: bool, model_kwargs: dict[str, Any]
) -> None:
    # An assistant is no mode of ours; it is among the partners.
    mode = config.get_generation_mode(None)
    if mode not in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        raise _NotFusedError(f"the mode is {mode.value}")
    extras = [name for name in _EXTRAS if getattr(config, name)]
    if extras and config.return_dict_in_generate:
        raise _NotFusedError(f"{extras[0]} is asked for")
    more = set(model_kwargs) - _PREPARED
    if more:
        raise _NotFusedError(f"forward is given {', '.join(sorted(more))}")
    cache = next((model_kwargs[name] for name in CACHE_NAMES if name in model_kwargs), None)
    if not model_kwargs.get("use_cache") or not isinstance(cache, Cache):
        raise _NotFusedError("there is no cache")
    if any(type(layer) is not RecurrentStateLayer or layer.record_past for layer in cache.layers):
        raise _NotFusedError("the cache is no recurrent state, or one that records its past")
    if has_partners or config.is_assistant or input_ids.device.type != "cpu":
        raise _NotFusedError("the tokens are not on one CPU, or another model takes part")


_PROCESSORS: tuple[type, ...] = (
    logits_process.RepetitionPenaltyLogitsProcessor,
    logits_process.MinLengthLogitsProcessor,
    logits_process.MinNewTokensLengthLogitsProcessor,
    logits_process.SuppressTokensLogitsProcessor,
    logits_process.TemperatureLogitsWarper,
    logits_process.TopKLogitsWarper,
    logits_process.TopPLogitsWarper,
)


@dataclass(frozen=True)
class _Rules:
    """How a token is chosen, and when a text ends."""

    filters: "Filters"
    ignored: int | torch.Tensor | None  # tokens of the prompts that the repetition penalty leaves out
    banned: tuple[tuple[int, list[int]], ...]  # lengths, with the tokens that only texts as long may have next
    max_length: int  # prompt included
    end_tokens: list[int]
    pad_token: int
    do_sample: bool

    @classmethod
    def of(cls, processors: LogitsProcessorList, criteria: StoppingCriteriaList, config: GenerationConfig) -> "_Rules":
        """Read the rules from what `generate` prepared; fall back where there are others, or in another order."""
        penalty, shortest, fewest, suppressed, warmth, top_k, top_p = _in_order(processors)
        lengths = [each.max_length for each in criteria if type(each) is MaxLengthCriteria]
        ends = [each.eos_token_id.tolist() for each in criteria if type(each) is EosTokenCriteria]
        if len(lengths) + len(ends) < len(criteria) or not lengths:
            raise _NotFusedError(f"the text ends by {', '.join(type(each).__name__ for each in criteria)}")
        if fused.kernels() is None:
            raise _NotFusedError("the kernels need numba")
        from ..kernels.cells.generation import Filters

        banned = []
        if shortest is not None:
            banned.append((shortest.min_length, shortest.eos_token_id.tolist()))
        if fewest is not None:
            banned.append((fewest.prompt_length_to_skip + fewest.min_new_tokens, fewest.eos_token_id.tolist()))
        if suppressed is not None:
            banned.append((sys.maxsize, suppressed.suppress_tokens.tolist()))
        return cls(
            filters=Filters(
                penalty=1.0 if penalty is None else float(np.float32(penalty.penalty)),
                temperature=1.0 if warmth is None else float(warmth.temperature),
                top_k=0 if top_k is None else int(top_k.top_k),
                top_p=1.0 if top_p is None else float(top_p.top_p),
                least=1 if top_p is None else int(top_p.min_tokens_to_keep),
            ),
            ignored=None if penalty is None else penalty.prompt_ignore_length,
            banned=tuple(banned),
            max_length=min(lengths),
            end_tokens=sorted(set(chain(*ends))),
            pad_token=0 if config._pad_token_tensor is None else int(config._pad_token_tensor),
            do_sample=bool(config.do_sample),
        )

    def banned_at(self, length: int) -> np.ndarray:
        """Return the tokens that must not follow a text of this length."""
        return np.array([token for end, tokens in self.banned if length < end for token in tokens], dtype=np.int64)

    def seen(self, input_ids: torch.Tensor, vocab_size: int) -> np.ndarray:
        """Mark the tokens of the prompts, (B, V), if the penalty needs them; else return (B, 0)."""
        rows, length = input_ids.shape
        if self.filters.penalty == 1.0:
            return np.zeros((rows, 0), dtype=np.bool_)
        ignored = torch.as_tensor(0 if self.ignored is None else self.ignored).reshape(-1, 1)
        counted = torch.arange(length) >= ignored.expand(rows, 1)  # (B, P)
        seen = torch.zeros(rows, vocab_size + 1, dtype=torch.bool)
        seen.scatter_(1, input_ids.masked_fill(~counted, vocab_size), True)
        return seen[:, :vocab_size].contiguous().numpy()


def _in_order(processors: LogitsProcessorList) -> list[Any]:
    """Return the one of each known kind, or None; fall back unless `generate` could have made them in this order."""
    names = ", ".join(type(each).__name__ for each in processors)
    if any(type(each) not in _PROCESSORS for each in processors):
        raise _NotFusedError(f"the logits processors are {names}")
    places = [_PROCESSORS.index(type(each)) for each in processors]
    if places != sorted(set(places)):
        raise _NotFusedError(f"the logits processors come in the order {names}")
    if any(getattr(each, "filter_value", -np.inf) != -np.inf for each in processors):
        raise _NotFusedError("a filter_value is not -inf")
    return [next((each for each in processors if type(each) is kind), None) for kind in _PROCESSORS]


def _checked(model: PreTrainedModel) -> Any:
    """Return the model if the kernels can do what its forward does, else fall back."""
    if not isinstance(model, CausalLMMixin) or not isinstance(model.model, RecurrentModel):
        raise _NotFusedError(f"{type(model).__name__} is no recurrent language model")
    layers = model.model.layers
    own = (
        *((type(layer), RecurrentLayer) for layer in layers),
        *((type(layer.forward_loop), RecurrentLoop) for layer in layers),
        *((type(model.lm_head), nn.Linear), (type(model.model.embed_tokens), nn.Embedding)),
        *((type(model).forward, CausalLMMixin.forward), (type(model.model).forward, RecurrentModel.forward)),
    )
    if any(found is not expected for found, expected in own) or model.model.embed_tokens.max_norm is not None:
        raise _NotFusedError("a part of the model is not the package's own, or its weights are made from others")
    if any(module.training for module in model.modules()):
        raise _NotFusedError("the model is in training mode")
    if any("forward" in module.__dict__ or _has_hook(module) for module in model.modules()):
        raise _NotFusedError("the model has hooks")
    if torch.is_autocast_enabled("cpu") or torch._C._len_torch_dispatch_stack():
        raise _NotFusedError("another dtype or kind of tensor is switched on")
    if fused.kernels_for(*model.parameters()) is None:
        raise _NotFusedError("the kernels take float32 or float64 on the CPU")
    return model


def _has_hook(module: nn.Module) -> bool:
    # Those that collect hidden states change nothing that the module computes.
    hooks: list[Callable[..., Any]] = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return any(hook.__module__ != "transformers.utils.output_capturing" for hook in hooks)


def _decoder(model: Any, cache: Any, steps: int) -> "Decoder":
    from ..kernels.cells.generation import Decoder, Layer

    layers = []
    for layer, state in zip(model.model.layers, cache.layers, strict=True):
        layers.append(Layer(layer.forward_loop.cell, layer.forward_loop.weights(), state.states))
    # A product for the whole vocabulary runs at the CPU's peak speed; that of a step waits for memory, 4 times slower.
    fold = model.config.vocab_size <= 4 * steps
    return Decoder(layers, model.model.embed_tokens.weight, model.lm_head.weight, model.lm_head.bias, fold=fold)


def _tokens(
    decoder: "Decoder", scores: np.ndarray, rules: _Rules, input_ids: torch.Tensor, steps: int
) -> Iterator[np.ndarray]:
    """Yield the tokens of each step, (B), in the same array every time; `scores` are those after the prompt."""
    from ..kernels.cells.generation import choose

    rows, length = input_ids.shape
    seen = rules.seen(input_ids, scores.shape[1])
    tokens, ended = np.empty(rows, dtype=np.int64), np.zeros(rows, dtype=np.bool_)
    draws, greedy = np.empty((0, rows)), np.empty(0)
    for step in range(steps):
        if rules.do_sample and step % _DRAWN_AT_ONCE == 0:
            draws = torch.rand(_DRAWN_AT_ONCE, rows, dtype=torch.float64).numpy()
        draw = draws[step % _DRAWN_AT_ONCE] if rules.do_sample else greedy
        if not choose(scores, rules.filters, seen, rules.banned_at(length + step), draw, tokens):
            raise RuntimeError(
                "The model's scores are NaN or infinite, or every token is excluded, so none can be drawn: the "
                "training diverged, or the options contradict one another."
            )
        # Rows that have ended go on with padding until the last one ends, as in the ordinary loop.
        if rules.end_tokens:
            tokens[ended] = rules.pad_token
            ended |= np.isin(tokens, rules.end_tokens)
        yield tokens
        if step + 1 == steps or ended.all():
            return
        # The ordinary loop chooses among float32 scores, also in a float64 model.
        scores = decoder.step(tokens).astype(np.float32, copy=False)
