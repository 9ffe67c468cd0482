"""The hidden Markov model: words are noise around a chain of states that nobody sees (Baum et al. 1970, Rabiner 1989).

The model. At each step the chain is in one of S states z_t, and the state emits a word x_t:

    pi_i   = P(z_1 = i)                    softmax of `start_logits`        (S)
    A_ij   = P(z_{t+1} = j | z_t = i)      softmax of `transition_logits`   (S, S), each row sums to 1
    B_i(w) = P(x_t = w | z_t = i)          softmax of `emission_logits`     (S, V), each row sums to 1
    P(x, z) = pi_{z_1} B_{z_1}(x_1) * prod_{t>1} A_{z_{t-1} z_t} B_{z_t}(x_t)

Forward, scaled. The belief p_t over the state that emits the next word is carried from word to word:

    p_1        = pi
    c_t        = P(x_t | x_<t)          = sum_i p_t(i) B_i(x_t)
    alpha_t(i) = P(z_t = i | x_<=t)     = p_t(i) B_i(x_t) / c_t
    p_{t+1}(j) = P(z_{t+1} = j | x_<=t) = sum_i alpha_t(i) A_ij
    P(x_{t+1} = w | x_<=t) = sum_j p_{t+1}(j) B_j(w)            log P(x) = sum_t log c_t

Backward, and the posterior of each state:

    beta_T     = 1
    beta_t(i)  ~ sum_j A_ij B_j(x_{t+1}) beta_{t+1}(j)
    gamma_t(i) = P(z_t = i | x) ~ alpha_t(i) beta_t(i)

Viterbi (1967). With max in place of each sum the same two passes give delta and, at each word, the best path through
each state (its max-marginal); going back through delta gives the best path itself.

Baum-Welch re-estimates pi, A, B from the expected counts gamma_1, sum_t xi_t(i, j) = sum_t P(z_t = i, z_{t+1} = j | x)
and sum_{t: x_t = w} gamma_t(i): `hmm_training.py`. The same expected counts are the gradient of log P by the logits
(less what the present parameters expect anyway), so Trainer can train the model as well.

Documents. A bos token, wherever it stands, begins a document: it emits nothing and sets the belief to pi. An eos token
is the last word of a document: it is emitted as any word, and after it the belief is pi again. If both are the same
token, the very first one is a bos and the others are eos. Padding, on either side or in between, is skipped.

Shapes: B batch, T time, S states, V vocabulary. Logarithms are natural, and computed in float32 at least. A
probability below the smallest normal number of that type (1e-38) counts as that number: no logarithm is infinite.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import GenerationMixin
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import (
    IGNORED,
    SequencePreTrainedModel,
    at_least_one_token,
    check_input_ids,
    check_range,
    mask_of_inputs,
)
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
from ..recurrent.state import RECURRENT_LAYER_TYPE, RecurrentStateLayer, States
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
        """States and labels are the same things: one number tells the other."""
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
        """Tells transformers which cache layer to build (`state.py`)."""
        return [RECURRENT_LAYER_TYPE]

    def validate_layer_type(self) -> None:
        """Replaces transformers' check, which knows its own layer types only."""


class LogTables(NamedTuple):
    """Logarithms of pi (S), A (S, S) and, for look-up by word, of B transposed (V, S)."""

    pi: torch.Tensor
    A: torch.Tensor
    B: torch.Tensor


class Algebra(NamedTuple):
    """What "sum" means in the two passes: the sum itself (forward-backward), or max (Viterbi).

    `total` reduces (B, S) to (B, 1); `make_step` turns (S, S) logs of a matrix M into the product v -> v M in logs,
    for a v whose total is 0.
    """

    total: Callable[[torch.Tensor], torch.Tensor]
    make_step: Callable[[torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]


def _product(values: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """A product of probabilities, whatever autocast says: what is rare is nothing in float16."""
    with torch.autocast(values.device.type, enabled=False):
        return values @ matrix


def _sum_step(log_matrix: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    matrix, smallest = log_matrix.exp(), torch.finfo(log_matrix.dtype).tiny
    return lambda log_values: _product(log_values.exp(), matrix).clamp_min(smallest).log()


def _max_step(log_matrix: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda log_values: (log_values[:, :, None] + log_matrix).amax(1)


SUM = Algebra(lambda values: values.logsumexp(-1, keepdim=True), _sum_step)
MAX = Algebra(lambda values: values.amax(-1, keepdim=True), _max_step)


class Reading(NamedTuple):
    """Texts as the chain meets them.

    Attributes:
        emissions: (B, T, S) log B_i(x_t).
        emitted: (B, T) false at padding and bos, which have no state.
        ends: (B, T) true at bos and eos, after which the belief is pi.
    """

    emissions: torch.Tensor
    emitted: torch.Tensor
    ends: torch.Tensor

    @property
    def evidence(self) -> torch.Tensor:
        """What each word says of its state: the emissions, 0 where nothing is emitted."""
        return self.emissions.masked_fill(~self.emitted[..., None], 0.0)


class HiddenMarkov(nn.Module):
    """pi, A and B as logits, and the two passes.

    Args:
        config: Sizes and special tokens.
    """

    def __init__(self, config: HMMConfig) -> None:
        super().__init__()
        assert config.num_states is not None
        self.bos_token_id, self.eos_token_id = config.bos_token_id, config.eos_token_id
        self.start_logits = nn.Parameter(torch.empty(config.num_states))
        self.transition_logits = nn.Parameter(torch.empty(config.num_states, config.num_states))
        self.emission_logits = nn.Parameter(torch.empty(config.num_states, config.vocab_size))

    def tables(self) -> LogTables:
        """The parameters as log-probabilities, at least float32."""
        kind = torch.promote_types(self.start_logits.dtype, torch.float32)
        logits = (self.start_logits, self.transition_logits, self.emission_logits)
        pi, A, B = (values.to(kind).log_softmax(-1) for values in logits)
        return LogTables(pi, A, B.t().contiguous())

    @torch.no_grad()
    def assign(self, probabilities: Probabilities) -> None:
        """Set the parameters."""
        pi, A, B = probabilities
        smallest = torch.finfo(torch.float32).tiny
        for logits, values in zip(self.parameters(), (pi, A, B.t()), strict=True):
            logits.copy_(values.clamp_min(smallest).log())

    def read(self, input_ids: torch.Tensor, real: torch.Tensor, tables: LogTables) -> Reading:
        """(B, T) ids and which of them are no padding."""
        begins, ends = (
            real & (input_ids == token) if token is not None else torch.zeros_like(real)
            for token in (self.bos_token_id, self.eos_token_id)
        )
        silent = begins & (real.cumsum(1) == 1) if self.bos_token_id == self.eos_token_id else begins
        return Reading(nn.functional.embedding(input_ids, tables.B), real & ~silent, begins | ends)

    def forward(
        self, reading: Reading, tables: LogTables, start: torch.Tensor, algebra: Algebra = SUM
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The forward pass.

        Args:
            reading: The texts.
            tables: The parameters.
            start: (B, S) or (S) log p_1.
            algebra: SUM or MAX.

        Returns:
            log p before each token and after the last, (B, T + 1, S), and log c_t, (B, T), 0 where nothing is emitted.
        """
        step = algebra.make_step(tables.A)
        belief = start.expand(len(reading.emitted), -1)
        beliefs, gains = [belief], []
        for t in range(reading.emitted.shape[1]):
            joint = belief + reading.emissions[:, t]
            gain = algebra.total(joint)
            belief = torch.where(reading.emitted[:, t, None], step(joint - gain), belief)
            belief = torch.where(reading.ends[:, t, None], tables.pi, belief)
            beliefs.append(belief)
            gains.append(gain)
        return torch.stack(beliefs, 1), torch.cat(gains, 1).masked_fill(~reading.emitted, 0.0)

    def backward_pass(self, reading: Reading, tables: LogTables, algebra: Algebra = SUM) -> torch.Tensor:
        """Log beta_t, (B, T, S), up to a constant for each t."""
        step = algebra.make_step(tables.A.t())
        beta = torch.zeros_like(reading.emissions[:, 0])
        betas = [beta]
        for t in range(reading.emitted.shape[1] - 1, 0, -1):
            ahead = reading.emissions[:, t] + beta
            beta = torch.where(reading.emitted[:, t, None], step(ahead - algebra.total(ahead)), beta)
            beta = beta.masked_fill(reading.ends[:, t - 1, None], 0.0)
            betas.append(beta)
        return torch.stack(betas[::-1], 1)

    def marginals(self, reading: Reading, tables: LogTables, algebra: Algebra = SUM) -> torch.Tensor:
        """(B, T, S), 0 where nothing is emitted.

        Returns:
            With SUM log gamma_t; with MAX the log-probability of the best path through each state, less that of the
            best path of all.
        """
        beliefs, _ = self(reading, tables, tables.pi, algebra)
        both = beliefs[:, :-1] + reading.emissions + self.backward_pass(reading, tables, algebra)
        return (both - algebra.total(both)).masked_fill(~reading.emitted[..., None], 0.0)

    def best_paths(self, reading: Reading, tables: LogTables) -> tuple[torch.Tensor, torch.Tensor]:
        """The most probable states (B, T), -100 where there are none, and log P of them with the words, (B)."""
        beliefs, gains = self(reading, tables, tables.pi, MAX)
        delta = beliefs[:, :-1] + reading.emissions  # (B, T, S)
        link, path = torch.zeros_like(delta[:, 0]), []  # log A of going on to the state chosen one word later
        for t in range(delta.shape[1] - 1, -1, -1):
            link = link.masked_fill(reading.ends[:, t, None], 0.0)
            state = (delta[:, t] + link).argmax(-1)
            link = torch.where(reading.emitted[:, t, None], tables.A.t()[state], link)
            path.append(state)
        return torch.stack(path[::-1], 1).masked_fill(~reading.emitted, IGNORED), gains.sum(1)


class HMMPreTrainedModel(EstimationMixin, WithoutEmbeddingsMixin, SequencePreTrainedModel):
    """What the language model and the tagger share: parameters, estimation, decoding. Either loads the other's."""

    config: HMMConfig
    how_to_grow = "fit a new one, with emission_smoothing for words that the texts lack."
    _no_split_modules = ["HiddenMarkov"]
    _skip_keys_device_placement = list(CACHE_NAMES)

    def __init__(self, config: HMMConfig) -> None:
        super().__init__(config)
        config.num_labels = cast(int, config.num_states)  # `from_pretrained(..., num_states=)` changes the one alone
        self.num_labels = config.num_labels
        self.hmm = HiddenMarkov(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Random logits: states that are alike would stay alike."""
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
        """Texts, with one masked column if they are empty, and the parameters; a mask may cover `seen` tokens more."""
        input_ids, attention_mask, _ = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        if input_ids is None:
            raise ValueError("A hidden Markov model emits tokens, not vectors: give input_ids, not inputs_embeds.")
        check_input_ids(input_ids, self.config.vocab_size)
        batch, steps = input_ids.shape
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        tables = self.hmm.tables()
        real = mask_of_inputs(attention_mask, batch, steps, seen=seen).bool()
        return self.hmm.read(input_ids, real, tables), tables

    @torch.no_grad()
    def _probabilities(self) -> Probabilities:
        return Probabilities(*(table.exp() for table in self.hmm.tables()))

    @torch.no_grad()
    def decode(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The most probable states of texts, by Viterbi.

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
        logits = _product(kept.exp(), tables.B.exp().t()).clamp_min(smallest).log()
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
        """Take what is asked of the inner life out of the keywords."""
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
        """Log p after each token, (B, T, S), of texts; continues from the cached state and leaves the new one there.

        What is kept is log p - log pi, which is zero before any token, as the states of all models here are.
        """
        layer = None if cache is None else _state_layer(cache)
        reading, tables = self._read(
            input_ids, attention_mask, seen=0 if layer is None else layer.seq_length, **kwargs
        )
        start = tables.pi if layer is None or layer.states is None else layer.states[0] + tables.pi
        beliefs, _ = self.hmm(reading, tables, start)
        if layer is not None:
            kept = beliefs - tables.pi
            new = 0 if input_ids is None else input_ids.shape[1]
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
            **kwargs: `return_dict`.

        Returns:
            `logits` (B, T, S), see `HiddenMarkov.marginals`, and `loss`: -log P(words, labels), a sum over the paths
            that agree with the labels. It is least where `fit_counts` without smoothing puts the parameters.
        """
        reading, tables = self._read(input_ids, attention_mask, **kwargs)
        loss = None
        if labels is not None:
            self._check_labels(labels, reading.emitted.shape)
            other = (labels != IGNORED)[..., None] & (labels[..., None] != torch.arange(len(tables.pi)).to(labels))
            agreeing = reading._replace(emissions=reading.emissions.masked_fill(other, -float("inf")))
            loss = -self.hmm(agreeing, tables, tables.pi)[1].sum()
            if num_items_in_batch is None:
                num_items_in_batch = (labels != IGNORED).sum().clamp(min=1)
            loss = loss / num_items_in_batch
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


__all__ = ["HMMConfig", "HMMForCausalLM", "HMMForTokenClassification", "HMMPreTrainedModel"]
