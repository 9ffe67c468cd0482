"""A network and counted n-grams that predict the next token together.

    P(w | x_1 ... x_t) = lambda P_network(w | x_1 ... x_t) + (1 - lambda) P_ngram(w | x_{t-n+2} ... x_t)

Jelinek and Mercer (1980) mixed n-grams of several orders so, Mikolov et al. (2010) a recurrent network with a 5-gram:
the network knows what a text is about, the n-gram repeats what it has seen once. On half a megabyte of text each is
better where the other is worse, so that the mixture is better than both. lambda is one number, fitted on texts that
neither has learnt from (`fit_network_weight`); the network is trained, and the n-grams are counted, as if alone.

Both parts lie in one checkpoint, and the state is that of both: the cache has the network's layers and behind them one
that keeps the last n - 1 tokens.

Shapes: B batch, T time, K positions asked, V vocabulary.
"""

import math
from typing import Any, cast

import torch
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.utils import can_return_tuple
from typing_extensions import Unpack

from ..base import SequencePreTrainedModel
from ..calls import CACHE_NAMES, CausalLMOutputWithPast, model_call, wants_cache, with_cache
from ..configs import SequenceConfig, bounded
from ..fixed_vocabulary import FixedVocabularyMixin
from ..heads.causal_lm import (
    LanguageKwargs,
    NextTokenMixin,
    check_targets,
    kept_outputs,
    mean_over_targets,
    targets_of,
)
from ..inputs import at_least_one_token, check_input_ids, mask_of_inputs
from ..recurrent.custom import CustomConfig, CustomForCausalLM
from ..recurrent.gru import GRUConfig, GRUForCausalLM
from ..recurrent.lstm import LSTMConfig, LSTMForCausalLM
from ..recurrent.rnn import RNNConfig, RNNForCausalLM
from ..recurrent.state import RECURRENT_LAYER_TYPE, RecurrentStateLayer, States
from ..transformer.transformer import TransformerConfig, TransformerForCausalLM
from .ngram import NGramConfig, NGramForCausalLM, refuse_damaged_tables, tokens_to_the_front

# Named here, not looked up in the registry: code that travels with a checkpoint has none.
_NETWORKS: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    RNNConfig.model_type: (RNNConfig, RNNForCausalLM),
    LSTMConfig.model_type: (LSTMConfig, LSTMForCausalLM),
    GRUConfig.model_type: (GRUConfig, GRUForCausalLM),
    CustomConfig.model_type: (CustomConfig, CustomForCausalLM),
    TransformerConfig.model_type: (TransformerConfig, TransformerForCausalLM),
}
_SHARED = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")  # of both parts, and so of the mixture
_OF_THE_MIXTURE = (*_SHARED, "use_cache")
_NOT_KEPT = (*_OF_THE_MIXTURE, "architectures", "dtype", "transformers_version", "auto_map")


@strict
class MixtureConfig(SequenceConfig):
    """Configuration of a mixture of a network and n-grams.

    Args:
        vocab_size: V, number of token ids.
        network: The network's configuration, as its config.json has it: `model_type` and its fields, without the
            vocabulary and its special tokens, which are those of the mixture; None: an LSTM.
        network_weight: lambda, the share of the network.
        order: n, words of the longest n-gram, counted with Kneser-Ney smoothing.
        num_ngrams: Stored n-grams of each order, filled in by counting.
        use_cache: Whether the state is returned where a call does not say.
    """

    model_type = "hfseq_mixture"
    keys_to_ignore_at_inference = list(CACHE_NAMES)

    vocab_size: int = bounded(10_000, 2, 10_000_000)
    network: dict[str, Any] | None = None
    # Inside 0 and 1: each part has a say, and the logarithms of both shares are finite.
    network_weight: float = bounded(0.5, 0.001, 0.999)
    order: int = bounded(5, 2, 10)
    num_ngrams: list[int] | None = None
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def validate_parts(self) -> None:
        """Check both parts as their own configurations do."""
        self.ngram_config()
        if getattr(self.network_config(), "bidirectional", False):
            raise ValueError("network has bidirectional=True, and a language model must not read the future")

    def validate_layer_type(self) -> None:
        """Accept our layer types: transformers' own check knows only its own."""

    def network_config(self) -> Any:
        """Return a new configuration of the network."""
        fields = {"model_type": LSTMConfig.model_type, **(self.network or {})}
        name = fields.pop("model_type")
        if name not in _NETWORKS:
            raise ValueError(f"network has the model_type {name!r}, and must have one of {', '.join(_NETWORKS)}")
        if given := sorted(set(_OF_THE_MIXTURE) & set(fields)):
            raise ValueError(f"network sets {', '.join(given)}, which is a field of the mixture: set it there")
        try:
            return _NETWORKS[name][0].from_dict({**fields, **self._shared(), "use_cache": self.use_cache})
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise ValueError(f"network: {error}") from error

    def ngram_config(self) -> NGramConfig:
        """Return a new configuration of the n-grams."""
        return NGramConfig(order=self.order, num_ngrams=self.num_ngrams, **self._shared())

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SHARED}

    @property
    def layer_types(self) -> list[str]:
        """Which cache layers transformers builds: the network's, and one for the last n - 1 tokens."""
        network = self.network_config()
        own = getattr(network, "layer_types", None) or ["full_attention"] * network.num_hidden_layers
        return [*own, RECURRENT_LAYER_TYPE]

    @property
    def num_hidden_layers(self) -> int:
        """How many layers the cache has."""
        return len(self.layer_types)

    @property
    def max_position_embeddings(self) -> int | None:
        """The longest text that the network was made for; None: any."""
        return getattr(self.network_config(), "max_position_embeddings", None)

    def get_text_config(self, *args: Any, **kwargs: Any) -> Any:
        """Return this configuration: the parts are no models of other kinds of data."""
        return self


class MixtureForCausalLM(NextTokenMixin, FixedVocabularyMixin, SequencePreTrainedModel, GenerationMixin):
    """A network and n-grams; see the top of this file. `of` makes it of two models.

    Logits are log-probabilities.
    """

    config: MixtureConfig
    config_class = MixtureConfig
    main_input_name = "input_ids"
    how_to_grow = "train a network with a larger vocabulary, and count n-grams of its tokens."
    _keep_in_fp32_modules_strict = {"shares", "gammas"}
    _skip_keys_device_placement = list(CACHE_NAMES)

    def __init__(self, config: MixtureConfig) -> None:
        super().__init__(config)
        network = config.network_config()
        self.network: Any = _NETWORKS[network.model_type][1](network)
        self.ngrams = NGramForCausalLM(config.ngram_config())
        self.post_init()

    @classmethod
    def of(
        cls, network: PreTrainedModel, ngrams: NGramForCausalLM, network_weight: float = 0.5
    ) -> "MixtureForCausalLM":
        """Mix a trained network with n-grams counted on the same tokens; both become parts of the mixture.

        Args:
            network: A causal language model of ours.
            ngrams: Fitted, with Kneser-Ney smoothing.
            network_weight: lambda.
        """
        ours, theirs = cast(Any, network.config), ngrams.config
        other = [name for name in _SHARED if getattr(ours, name) != getattr(theirs, name)]
        if other:
            named = ", ".join(f"{name}={getattr(ours, name)} and {getattr(theirs, name)}" for name in other)
            raise ValueError(f"The network and the n-grams have {named}: count the n-grams over the network's tokens.")
        if (theirs.smoothing, theirs.discounts) != ("kneser-ney", "modified"):
            raise ValueError(f"smoothing={theirs.smoothing!r}: a mixture takes n-grams with modified Kneser-Ney.")
        fields = {name: value for name, value in ours.to_diff_dict().items() if name not in _NOT_KEPT}
        config = MixtureConfig(
            network={"model_type": ours.model_type, **fields},
            network_weight=network_weight,
            order=theirs.order,
            num_ngrams=theirs.num_ngrams,
            use_cache=ours.use_cache,
            **{name: getattr(ours, name) for name in _SHARED},
        )
        # On the meta device: the parts exist, so nothing need be drawn for them.
        with torch.device("meta"):
            mixture = cls(config)
        mixture.network, mixture.ngrams = network, ngrams
        mixture.generation_config = network.generation_config
        return mixture.train(network.training)

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return cast(torch.device, self.network.device)

    def get_input_embeddings(self) -> nn.Module:
        """Return the network's embeddings."""
        return cast(nn.Module, self.network.get_input_embeddings())

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Exchange the network's embeddings."""
        self.network.set_input_embeddings(value)

    @model_call("shift_labels")
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[LanguageKwargs],
    ) -> CausalLMOutputWithPast:
        """Predict the next token at every position.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens. With a state, the last T columns count.
            cache: The state to continue from, as an earlier call returned it.
            inputs_embeds: Refused, as n-grams are found by ids.
            labels: (B, T) the same tokens as `input_ids`, -100 where nothing is asked; shifted here.
            use_cache: Return the state reached.
            logits_to_keep: How many of the last positions get logits, see `kept_outputs`, or which positions; 0: all.
            num_items_in_batch: Tokens predicted in the whole update, by which the summed loss is divided; without it,
                the mean over this batch.
            **kwargs: `shift_labels` (B, T) instead of `labels`, as in `CausalLMMixin`.

        Returns:
            `logits` (B, T, V), natural logarithms of probabilities, `cache` when asked for, and `loss` with labels.
        """
        ids, mask, _ = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        if ids is None or input_ids is None:
            raise ValueError("A mixture looks n-grams up by their ids: give it input_ids, not inputs_embeds.")
        if cache is None and (wants_cache(self.config) if use_cache is None else use_cache):
            cache = DynamicCache(config=self.config)
        seen = 0 if cache is None else cache.get_seq_length()
        # 1. Read the texts: the network's outputs (B, T, D), and the rows of the n-grams' contexts (B, T, n).
        hidden_states, contexts = read = self._read_text(ids, mask, cache)
        # 2. Score the vocabulary after the positions that are asked for.
        kept = kept_outputs(torch.stack(contexts, -1), logits_to_keep, mask, seen)
        outputs = kept_outputs(hidden_states, logits_to_keep, mask, seen)
        counted = self.ngrams.logits_after(list(kept.unbind(-1)))
        logits = self._mixed(self.network._logits(outputs).float().log_softmax(-1), counted)
        # 3. Compare what follows each position with the targets.
        targets, loss = targets_of(labels, kwargs.get("shift_labels"), attention_mask), None
        if targets is not None:
            check_targets(targets, input_ids.shape, self.config.vocab_size)
            loss = mean_over_targets(-self._target_log_probs(read, targets).sum(), targets, num_items_in_batch)
        return CausalLMOutputWithPast(loss=loss, logits=logits, **with_cache(cache))

    def _mixed(self, network: torch.Tensor, ngrams: torch.Tensor) -> torch.Tensor:
        """Mix log-probabilities."""
        share = self.config.network_weight
        return torch.logaddexp(network + math.log(share), ngrams + math.log1p(-share))

    def _read_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: Cache | None) -> Any:
        check_input_ids(input_ids, self.config.vocab_size)
        # The network counts the tokens that it has seen, so the n-grams' part of the state is read before.
        contexts = self._contexts(input_ids, _real(attention_mask, input_ids, cache), cache)
        return self.network._read_text(input_ids, attention_mask, cache), contexts

    def _log_probs(self, read: Any, asked: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        hidden_states, contexts = read
        counted = self.ngrams._log_probs(contexts, asked, targets)
        return self._mixed(self.network._log_probs(hidden_states, asked, targets), counted)

    def _contexts(self, input_ids: torch.Tensor, real: torch.Tensor, cache: Cache | None) -> list[torch.Tensor]:
        """Look up the contexts of the n-grams at each position, (B, T) each, with the tokens before in the cache."""
        layer = None if cache is None else _last_tokens(cache, self.config)
        batch, width = len(input_ids), self.config.order - 1
        # Kept are ids plus 1: zeros then stand for "nothing read", as in the states of all models here.
        recent = input_ids.new_zeros(batch, width)
        if layer is not None and layer.states is not None:
            recent = layer.states[0]
        ids = torch.cat([(recent - 1).clamp(min=0), input_ids], 1)
        mask = torch.cat([recent > 0, real], 1)
        if layer is not None:
            words, read = tokens_to_the_front(ids, mask, 0)
            # Column c of `words` is the c-th real token; column 0 is none.
            column = read[:, width - 1 :, None] - torch.arange(width - 1, -1, -1, device=ids.device)  # (B, 1 + T, n-1)
            kept = words[:, None].expand(-1, column.shape[1], -1).gather(2, column.clamp(min=0)) + 1
            kept = kept.masked_fill(column <= 0, 0)
            before: list[States] = [(kept[:, t],) for t in range(input_ids.shape[1])]
            new = input_ids.shape[1]
            layer.keep((kept[:, -1],), num_new_tokens=new, before=before if layer.record_past else None)
        return [rows[:, width:] for rows in self.ngrams.contexts_of(ids, mask)]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint as every model does, and refuse tables that cannot have come from counting."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        refuse_damaged_tables(model.ngrams, pretrained_model_name_or_path, kwargs)
        return loaded


def _real(attention_mask: torch.Tensor | None, input_ids: torch.Tensor, cache: Cache | None) -> torch.Tensor:
    """Say which of the (B, T) tokens are no padding, from any mask that `generate` makes."""
    batch, steps = input_ids.shape
    seen = 0 if cache is None else cache.get_seq_length()
    if attention_mask is None:
        return torch.ones_like(input_ids, dtype=torch.bool)
    if attention_mask.dim() == 2:
        return mask_of_inputs(attention_mask, batch, steps, seen=seen).bool()
    # (B, 1, T, S), made for attention: a real token sees itself.
    step = torch.arange(steps, device=input_ids.device)
    itself = attention_mask[:, 0, step, step + seen]
    return itself if itself.dtype == torch.bool else itself == 0


def _last_tokens(cache: Cache, config: MixtureConfig) -> RecurrentStateLayer:
    """Return the layer that keeps the last tokens, behind those of the network."""
    if not cache.layers:  # a DynamicCache() made without a config has no layers yet
        cache.layers.extend(DynamicCache(config=config).layers)
    layer = cache.layers[-1]
    if len(cache.layers) != config.num_hidden_layers or not isinstance(layer, RecurrentStateLayer):
        raise ValueError(
            f"The cache has {len(cache.layers)} layers, the last a {type(layer).__name__}: it comes from another kind "
            "of model."
        )
    return layer


__all__ = ["MixtureConfig", "MixtureForCausalLM"]
