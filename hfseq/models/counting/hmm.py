"""The hidden Markov model: words are noise around a chain of states that nobody sees (Baum et al. 1970, Rabiner 1989).

The model. At each step the chain is in one of S states z_t, and the state emits a word x_t:

    pi_i   = P(z_1 = i)                    softmax of `start_logits`        (S)
    A_ij   = P(z_{t+1} = j | z_t = i)      softmax of `transition_logits`   (S, S), each row sums to 1
    B_i(w) = P(x_t = w | z_t = i)          softmax of `emission_logits`     (S, V), each row sums to 1
    P(x, z) = pi_{z_1} B_{z_1}(x_1) * prod_{t>1} A_{z_{t-1} z_t} B_{z_t}(x_t)

Three files: the models stand here; `hmm_passes.py` has the chain itself, forward, backward and Viterbi;
`hmm_training.py` estimates the parameters without gradients.

Trainer can train the model as well: the gradient of log P by the logits is made of the same expected counts that
Baum-Welch estimates from.

Documents. A bos token, wherever it stands, begins a document: it emits nothing and sets the belief to pi. An eos token
is the last word of a document: it is emitted as any word, and after it the belief is pi again. If both are the same
token, the very first one is a bos and the others are eos. Padding, on either side or in between, is skipped.

Shapes: B batch, T time, S states, V vocabulary.
"""

from typing import Any, ClassVar, Literal, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import GenerationMixin
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import IGNORED, SequencePreTrainedModel
from ..calls import CACHE_NAMES, CausalLMOutputWithPast, model_call, wants_cache, with_cache
from ..configs import SequenceConfig, bounded
from ..fixed_vocabulary import WithoutEmbeddingsMixin
from ..heads.causal_lm import (
    LanguageKwargs,
    NextTokenMixin,
    check_targets,
    kept_outputs,
    mean_over_targets,
    targets_of,
)
from ..inputs import at_least_one_token, check_input_ids, check_range, mask_of_inputs
from ..recurrent.state import RECURRENT_LAYER_TYPE, RecurrentStateLayer, States
from .hmm_passes import MAX, SUM, HiddenMarkov, LogTables, Reading, product
from .hmm_training import EstimationMixin, Probabilities


@strict
class HMMConfig(SequenceConfig):
    """Configuration of a hidden Markov model.

    Args:
        vocab_size: V, the number of token ids.
        num_states: S; 50, or as many as there are labels in `id2label`. States are the labels of a tagger.
        decoding: What a tagger's logits are: "viterbi", the best path through each state, or "posterior", the
            log-probability of each state.
        emission_smoothing: Pseudo count of each word in each state, for estimation from counts.
        transition_smoothing: Pseudo count of each transition and of each start.
        initializer_range: Standard deviation of the logits before training.
        pad_token_id: Padding; it is never emitted by an estimated model.
        bos_token_id: Begins a document, and is never emitted.
        eos_token_id: Ends a document, and is emitted.
    """

    model_type = "hfseq_hmm"
    keys_to_ignore_at_inference = list(CACHE_NAMES)
    num_hidden_layers: ClassVar[int] = 1  # what transformers asks for to build a cache

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    num_states: int | None = bounded(None, 1, 10_000)
    decoding: Literal["viterbi", "posterior"] = "viterbi"
    emission_smoothing: float | int = bounded(0.01, 0.0, 1e6)
    transition_smoothing: float | int = bounded(0.01, 0.0, 1e6)
    initializer_range: float | int = bounded(0.5, 0.0, 10.0)
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Derive the number of labels from that of states, or the other way round: they are the same things."""
        # Asked here, before the base class makes labels of its own from `num_labels`.
        num_labels = kwargs.get("num_labels") or (len(self.id2label) if self.id2label else None)
        if self.num_states is None:
            self.num_states = num_labels or 50
        if num_labels is None:
            kwargs["num_labels"] = self.num_states
        elif num_labels != self.num_states:
            raise ValueError(
                f"{num_labels} labels do not fit num_states={self.num_states}: the labels of a hidden Markov model "
                "are its states. Leave num_states out, or give each state its label in id2label."
            )
        super().__post_init__(**kwargs)

    @property
    def layer_types(self) -> list[str]:
        """Names the cache layer that transformers builds (`state.py`)."""
        return [RECURRENT_LAYER_TYPE]

    def validate_layer_type(self) -> None:
        """Accept our layer type: transformers' own check knows only its own types."""


class HMMPreTrainedModel(EstimationMixin, WithoutEmbeddingsMixin, SequencePreTrainedModel):
    """What the language model and the tagger share: parameters, estimation, decoding. Either loads the other's."""

    config: HMMConfig
    how_to_grow = "fit a new one, with emission_smoothing for words that the texts lack."
    _no_split_modules = ["HiddenMarkov"]
    _skip_keys_device_placement = list(CACHE_NAMES)

    def __init__(self, config: HMMConfig) -> None:
        super().__init__(config)
        num_states = cast(int, config.num_states)
        self.num_labels = config.num_labels = num_states  # `from_pretrained(..., num_states=)` changes the one alone
        # One module holds the parameters under one name: tagger and language model load each other's weights.
        self.hmm = HiddenMarkov(num_states, config.vocab_size, config.bos_token_id, config.eos_token_id)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw random logits: states that are alike would stay alike."""
        if isinstance(module, HiddenMarkov):
            for logits in module.parameters():
                init.normal_(logits, std=self.config.initializer_range)
        else:
            super()._init_weights(module)

    def _read(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        *,
        seen: int = 0,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Reading, LogTables]:
        """Check texts and return them with the parameters; the mask may also cover the `seen` tokens before them."""
        input_ids, attention_mask, _ = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        if input_ids is None:
            raise ValueError("A hidden Markov model emits tokens, not vectors: give input_ids, not inputs_embeds.")
        check_input_ids(input_ids, self.config.vocab_size)
        batch, steps = input_ids.shape
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        tables = self.hmm.tables()
        # The mask alone says what is padding: it may stand on either side, and between words.
        real = mask_of_inputs(attention_mask, batch, steps, seen=seen).bool()
        return self.hmm.read(input_ids, real, tables), tables

    @torch.no_grad()
    def _probabilities(self) -> Probabilities:
        return Probabilities(*(table.exp() for table in self.hmm.tables()))

    @torch.no_grad()
    def decode(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Find the most probable states of texts, by Viterbi.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens.

        Returns:
            The states (B, T), -100 at padding and bos, and log P(words, states), (B).
        """
        return self.hmm.best_paths(*self._read(input_ids, attention_mask))


class HMMForCausalLM(NextTokenMixin, HMMPreTrainedModel, GenerationMixin):
    """The next word, from the belief over the state that will emit it."""

    @model_call("inputs_embeds", "shift_labels")
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
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
            labels: (B, T) the same tokens as `input_ids`, -100 where nothing is to be learnt; shifted here.
            use_cache: Return the state reached.
            logits_to_keep: How many of the last positions get logits, see `kept_outputs`, or which positions; 0: all.
            num_items_in_batch: Tokens predicted in the whole update, by which the summed loss is divided; without it,
                the mean over this batch.
            **kwargs: `shift_labels` (B, T) instead of `labels`, as in `CausalLMMixin`;
                `output_hidden_states`. There are no attentions: `output_attentions=True` is an error.

        Returns:
            `logits` (B, T, V), which are log-probabilities, `cache` when asked for, `loss` with labels.
            `hidden_states` when asked for, each (B, T, S): log B_i(x_t), what each word says of its state (0 where
            nothing is emitted), and log p_{t+1}, the belief after it, which the logits are made of.
        """
        # 1. Carry the belief over the texts, (B, T, S).
        shift_labels, shown = kwargs.pop("shift_labels", None), self._shows_beliefs(kwargs)
        if cache is None and (wants_cache(self.config) if use_cache is None else use_cache):
            cache = DynamicCache(config=self.config)
        read = self._beliefs(input_ids, attention_mask, cache, **kwargs)
        beliefs, reading, tables = read
        # 2. Find what is to be predicted: the token after each position, (B, T).
        targets = targets_of(labels, shift_labels, attention_mask)
        # 3. Score the vocabulary after the positions that are asked for.
        kept = kept_outputs(beliefs, logits_to_keep, attention_mask)
        smallest = torch.finfo(beliefs.dtype).tiny
        logits = product(kept.exp(), tables.B.exp().t()).clamp_min(smallest).log()
        # 4. Compare with the targets.
        loss = None
        if targets is not None:
            check_targets(targets, beliefs.shape[:2], self.config.vocab_size)
            total = -self._target_log_probs(read, targets).sum()
            loss = mean_over_targets(total, targets, num_items_in_batch)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=(reading.evidence, beliefs) if shown else None,
            **with_cache(cache),
        )

    def _shows_beliefs(self, kwargs: dict[str, Any]) -> bool:
        """Tell whether `hidden_states` are asked for; takes that keyword and `output_attentions` out."""
        if kwargs.pop("output_attentions", None):
            raise ValueError("A hidden Markov model attends to nothing: leave output_attentions out.")
        asked = kwargs.pop("output_hidden_states", None)
        return bool(self.config.output_hidden_states if asked is None else asked)

    def _read_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: Cache | None) -> Any:
        return self._beliefs(input_ids, attention_mask, cache)

    def _log_probs(self, read: Any, asked: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        beliefs, _, tables = read  # log P(w) = log sum_i p(i) B_i(w)
        return (beliefs[asked] + nn.functional.embedding(targets, tables.B)).logsumexp(-1)

    def _beliefs(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        cache: Cache | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Reading, LogTables]:
        """Return log p after each token, (B, T, S); continue from the cached state and leave the new one there."""
        layer = None if cache is None else _state_layer(cache)
        reading, tables = self._read(
            input_ids, attention_mask, seen=0 if layer is None else layer.seq_length, **kwargs
        )
        # Kept is log p - log pi: zeros then stand for "nothing read", as in the states of all models here.
        start = tables.pi if layer is None or layer.states is None else layer.states[0] + tables.pi
        beliefs, _ = self.hmm(reading, tables, start)
        if layer is not None:
            kept = beliefs - tables.pi
            new = 0 if input_ids is None else input_ids.shape[1]
            # Assisted decoding may take tokens back: then the states before each of them are needed.
            before: list[States] = [(kept[:, t],) for t in range(new)]
            layer.keep((kept[:, -1],), num_new_tokens=new, before=before if layer.record_past else None)
        return beliefs[:, 1:], reading, tables


def _state_layer(cache: Cache) -> RecurrentStateLayer:
    if not cache.layers:  # a DynamicCache() made without a config has no layers yet
        cache.layers.append(RecurrentStateLayer())
    layer = cache.layers[0]
    if not isinstance(layer, RecurrentStateLayer):
        raise ValueError(f"The cache holds {type(layer).__name__}: it comes from another kind of model.")
    return layer


class HMMForTokenClassification(HMMPreTrainedModel):
    """A tagger: the states are the tags. The argmax of its logits is what `config.decoding` says."""

    @model_call("inputs_embeds")
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TokenClassifierOutput:
        """Tag the tokens of texts.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens.
            labels: (B, T) tags, -100 for tokens whose tag is unknown; adds `loss`.
            num_items_in_batch: Labels in the whole update, by which the summed loss is divided; without it, those of
                this batch.

        Returns:
            `logits` (B, T, S), see `HiddenMarkov.marginals`, and `loss`: -log P(words, labels), a sum over the paths
            that agree with the labels. It is least where `fit_counts` without smoothing puts the parameters.
        """
        reading, tables = self._read(input_ids, attention_mask, **kwargs)
        loss = None
        if labels is not None:
            self._check_labels(labels, reading.emitted.shape)
            # A label is evidence: of its token all other states become impossible, and the forward pass sums the paths
            # that agree. Unlike cross-entropy on the logits, this has its minimum where counting puts the parameters.
            other = (labels != IGNORED)[..., None] & (labels[..., None] != torch.arange(len(tables.pi)).to(labels))
            agreeing = reading._replace(emissions=reading.emissions.masked_fill(other, -float("inf")))
            loss = -self.hmm(agreeing, tables, tables.pi)[1].sum()
            if num_items_in_batch is None:
                num_items_in_batch = (labels != IGNORED).sum().clamp(min=1)
            loss = loss / num_items_in_batch
        # Max-marginals: their argmax is the state on the best path, so that a stock pipeline decodes by Viterbi.
        logits = self.hmm.marginals(reading, tables, MAX if self.config.decoding == "viterbi" else SUM)
        return TokenClassifierOutput(loss=loss, logits=logits)

    def _check_labels(self, labels: torch.Tensor, shape: torch.Size) -> None:
        """Refuse labels that are no tags."""
        if labels.is_floating_point() or labels.shape != shape:
            raise ValueError(
                f"token classification needs one label a token, got {labels.dtype} of shape {tuple(labels.shape)} for "
                f"tokens of shape {tuple(shape)}: pad them with DataCollatorForTokenClassification."
            )
        check_range("label", labels, len(self.hmm.start_logits), ignored=IGNORED)


__all__ = ["HMMConfig", "HMMForCausalLM", "HMMForTokenClassification"]
