"""Language models: the next token, predicted by a backbone that reads forward.

    P(x_1 ... x_n) = prod_t P(x_t | x_1 ... x_{t-1})                       the chain rule
    P(. | x_1 ... x_t) = softmax(W_out h_t + b_out)                        h_t: what the backbone has read

W_out is a matrix of its own, or the embeddings (`tie_word_embeddings`), or an adaptive softmax, which spends less on
rare words. The loss is the mean of -log P(x_{t+1} | ...) in nats; in training Merity et al. (2017) add

    AR   alpha * mean(d_t^2)                d_t: the last outputs after dropout
    TAR  beta  * mean((h_{t+1} - h_t)^2)    h_t: before dropout

Generation is transformers' own: the state travels as `cache` (`state.py`), so a token costs the same however
long the text before it is.

Shapes: B batch, T time, D width of the backbone's output, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.utils import TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import IGNORED
from ..calls import CausalLMOutputWithPast, model_call, with_cache
from ..inputs import can_be_checked, check_range
from ..values import check_reads_tokens
from .lm_loss import linear_cross_entropy


def check_output_weights(config: Any) -> None:
    """Check that tied weights fit, and that the cuts of an adaptive softmax lie in order inside the vocabulary."""
    cutoffs = config.adaptive_softmax_cutoffs
    if config.tie_word_embeddings and config.embedding_size != config.output_size:
        raise ValueError(
            f"tie_word_embeddings=True needs outputs as wide as the embeddings, but embedding_size="
            f"{config.embedding_size} and the outputs have {config.output_size}: set hidden_size or last_hidden_size "
            f"to {config.embedding_size}."
        )
    if cutoffs is None:
        return
    if config.tie_word_embeddings:
        raise ValueError("adaptive_softmax_cutoffs has output weights of its own: set tie_word_embeddings=False.")
    if not cutoffs or cutoffs != sorted(set(cutoffs)) or not 0 < cutoffs[0] <= cutoffs[-1] < config.vocab_size:
        raise ValueError(
            f"adaptive_softmax_cutoffs={cutoffs} must be increasing ids between 1 and vocab_size - 1 = "
            f"{config.vocab_size - 1}"
        )
    if config.output_size < 4 ** len(cutoffs):
        raise ValueError(
            f"adaptive_softmax_cutoffs={cutoffs}: each cut divides the width of rarer words by 4, and the outputs "
            f"have {config.output_size}. Use fewer cuts."
        )


class LanguageKwargs(TransformersKwargs, total=False):
    """Arguments of a language model's forward besides its parameters."""

    shift_labels: torch.Tensor | None


def next_tokens(labels: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """Return for each position of (B, T) tokens the token that follows, -100 where none does.

    Padding neither predicts nor is predicted, whatever its labels are, so that a text's loss is the same with padding
    on either side. A mask (B, 1, T, S), made for attention, does not say what is padding; there only the labels count.
    """
    if attention_mask is not None and attention_mask.dim() == 2:
        real = attention_mask[:, -labels.shape[1] :].bool()
        labels = labels[:, 1:].masked_fill(~(real[:, :-1] & real[:, 1:]), IGNORED)
    else:
        labels = labels[:, 1:]
    return nn.functional.pad(labels, (0, 1), value=IGNORED)


def targets_of(
    labels: torch.Tensor | None, shift_labels: torch.Tensor | None, attention_mask: torch.Tensor | None
) -> torch.Tensor | None:
    """Return the token after each position: `shift_labels`, or what follows in `labels`; None without either."""
    if labels is None or shift_labels is not None:
        return shift_labels
    return next_tokens(labels, attention_mask)


def kept_outputs(
    outputs: torch.Tensor,
    logits_to_keep: int | torch.Tensor,
    attention_mask: torch.Tensor | None,
    seen: int | torch.Tensor = 0,
) -> torch.Tensor:
    """Return the outputs whose logits are asked for.

    If one is asked for, it is that of the last real token, on whichever side the padding is: `generate` goes on from
    there, also behind padding on the right.

    Args:
        outputs: (B, T, D).
        logits_to_keep: How many of the last positions, or which positions; 0: all.
        attention_mask: (B, S), 1 for real tokens, of which the last T columns count; or (B, 1, T, S), where a real
            token sees itself.
        seen: Number of tokens in the cache before these.
    """
    if isinstance(logits_to_keep, torch.Tensor):
        return outputs[:, logits_to_keep]
    rows, steps = outputs.shape[:2]
    if logits_to_keep != 1 or attention_mask is None or steps == 1:
        return outputs[:, -logits_to_keep:]
    step = torch.arange(steps, device=outputs.device)
    if attention_mask.dim() == 2:
        real = attention_mask[:, -steps:].bool()
        _check_last_chunk(attention_mask[:, :-steps].bool(), real)
    else:
        itself = attention_mask[:, 0, step, step + seen]
        real = itself if itself.dtype == torch.bool else itself == 0
    # Of a row of padding alone it is the last position; any would do.
    last = torch.where(real, step, -1).amax(1) % steps
    return outputs[torch.arange(rows, device=outputs.device), last][:, None]


def _check_last_chunk(before: torch.Tensor, real: torch.Tensor) -> None:
    """Refuse a prompt in chunks of which one is padding behind a text: its last token's output is gone."""
    if can_be_checked(real) and bool((before.any(1) & ~real.any(1)).any()):
        raise ValueError(
            "A chunk of a prompt is nothing but padding behind the last token of its text, so that the next token "
            "cannot be predicted: pad on the left, or leave prefill_chunk_size out."
        )


def check_targets(targets: torch.Tensor, shape: torch.Size, vocab_size: int, size_name: str = "vocab_size") -> None:
    """Refuse labels that are no tokens; `size_name` is what the config calls their number."""
    if targets.is_floating_point() or targets.shape != shape:
        raise ValueError(
            f"a language model's labels are token ids of shape {tuple(shape)}, one a token, got {targets.dtype} of "
            f"shape {tuple(targets.shape)}."
        )
    check_range("label", targets, vocab_size, f" (config.{size_name}={vocab_size})", ignored=IGNORED)


def mean_over_targets(
    total: torch.Tensor, targets: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor:
    """Divide a summed loss by the number of predicted tokens, of this batch or, as Trainer counted, of the update."""
    if num_items_in_batch is None:
        # At least 1: a batch of one-token texts predicts nothing, and its loss is 0, not NaN.
        num_items_in_batch = (targets != IGNORED).sum().clamp(min=1)
    return total / num_items_in_batch


class NextTokenMixin(PreTrainedModel):
    """`token_log_probs` for every model of the next token, neural or not.

    A model says how it reads (`_read_text`), and how probable tokens are after that (`_log_probs`).
    """

    def _read_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: Cache | None) -> Any:
        """Read (B, T) tokens and return what `_log_probs` needs; the state reached is left in the cache."""
        raise NotImplementedError

    def _log_probs(self, read: Any, asked: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return log P, (n), of the tokens `targets`, (n), after the positions marked in `asked`, (B, T)."""
        raise NotImplementedError

    @model_call()
    def token_log_probs(
        self,
        input_ids: torch.Tensor,
        shift_labels: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
    ) -> torch.Tensor:
        """Return log P of given next tokens, without a table of the whole vocabulary where nothing is asked.

        Args:
            input_ids: (B, T) token ids.
            shift_labels: (B, T) the token after each position; -100: not asked.
            attention_mask: (B, T), 1 for real tokens; with a cache also the tokens before.
            cache: The state to continue from; the one reached is left in it.

        Returns:
            (B, T) natural logarithms; 0 where nothing is asked.
        """
        check_targets(shift_labels, input_ids.shape, self.config.vocab_size)
        if input_ids.shape[1] == 0:
            return torch.zeros(input_ids.shape, device=input_ids.device)
        return self._target_log_probs(self._read_text(input_ids, attention_mask, cache), shift_labels)

    def _target_log_probs(self, read: Any, targets: torch.Tensor) -> torch.Tensor:
        asked = targets != IGNORED
        log_probs = self._log_probs(read, asked, targets[asked])
        zeros = torch.zeros(targets.shape, dtype=log_probs.dtype, device=log_probs.device)
        return zeros.masked_scatter(asked, log_probs)


@contextmanager
def _as_its_weights(head: nn.AdaptiveLogSoftmaxWithLoss, hidden_states: torch.Tensor) -> Iterator[torch.Tensor]:
    """Leave autocast, under which torch's adaptive softmax mixes dtypes and fails: use the dtype of its weights."""
    with torch.autocast(hidden_states.device.type, enabled=False):
        yield hidden_states.to(head.head.weight.dtype)


class CausalLMMixin(NextTokenMixin):
    """`...ForCausalLM`: the next token, from a backbone that reads in one direction.

    Each model names `GenerationMixin` as a base of its own: transformers looks for it there.
    """

    backbone_class: ClassVar[type[PreTrainedModel]]
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        # A transformer's base fills in what bidirectional=None means, in a copy.
        config = self.config
        if config.bidirectional:
            raise ValueError(
                "A language model must not read the future: set bidirectional=False in the config (a bidirectional "
                "body serves classification and tagging)."
            )
        check_reads_tokens(config)
        if getattr(config, "characters", "none") != "none":
            raise ValueError(
                f"characters={config.characters!r} reads several tokens as one word, but a language model predicts "
                "each token: set characters='none' (a model that reads characters serves classification and tagging)."
            )
        self.model = self.backbone_class(config)
        self.lm_head: nn.Module
        if config.adaptive_softmax_cutoffs is None:
            self.lm_head = nn.Linear(config.output_size, config.vocab_size)
        else:
            # It has weights of its own for each cluster.
            self._tied_weights_keys = {}
            self.lm_head = nn.AdaptiveLogSoftmaxWithLoss(
                config.output_size, config.vocab_size, config.adaptive_softmax_cutoffs
            )
        self.post_init()

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
            inputs_embeds: (B, T, E) instead of `input_ids`.
            labels: (B, T) the same tokens as `input_ids`, -100 where nothing is to be learnt; shifted here.
            use_cache: Return the state reached.
            logits_to_keep: How many of the last positions get logits, see `kept_outputs`, or which positions; 0: all.
            num_items_in_batch: Tokens predicted in the whole update (all accumulation steps and processes), by which
                the summed loss is divided; without it, the mean over this batch.
            **kwargs: `shift_labels` (B, T) instead of `labels`: the token after each position, also after the last
                one (no parameter: Trainer would expect both in every batch); `output_hidden_states`,
                `output_attentions`; `output_gates` of a recurrent model.

        Returns:
            `logits` (B, T, V), `cache`, `hidden_states`, `attentions` and `gates` as asked for, and `loss` where
            there are labels. In training with an adaptive softmax there are no logits: they would cost more than it
            saves.
        """
        # 1. Read the texts, (B, T, D). TAR is about the last layer's outputs before dropout.
        shift_labels = kwargs.pop("shift_labels", None)
        shown = kwargs.pop("output_hidden_states", self.config.output_hidden_states)
        needs_raw = self.training and self._weight_of("temporal_activation_regularization") > 0
        seen = 0 if cache is None else cache.get_seq_length()
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **{**kwargs, "output_hidden_states": True if needs_raw else shown, "return_dict": True},
        )
        hidden_states = outputs.last_hidden_state
        # 2. Find what is to be predicted: the token after each position, (B, T).
        targets = targets_of(labels, shift_labels, attention_mask)
        # 3. Score the vocabulary after the positions that are asked for, (B, K, V).
        logits = None
        if targets is None or not self.training or self._adaptive is None:
            logits = self._logits(kept_outputs(hidden_states, logits_to_keep, attention_mask, seen))
        # 4. Compare with the targets. Logits of some positions alone are no help there.
        loss = None
        if targets is not None:
            check_targets(targets, hidden_states.shape[:2], self.config.vocab_size)
            has_all = isinstance(logits_to_keep, int) and logits_to_keep == 0
            loss = self._loss(hidden_states, logits if has_all else None, targets, num_items_in_batch)
            # 5. In training, add the penalties of Merity et al.
            if needs_raw or (self.training and self._weight_of("activation_regularization") > 0):
                raw = outputs.hidden_states[-1] if needs_raw else None
                loss = loss + self._penalty(hidden_states, raw, attention_mask, num_items_in_batch)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            **with_cache(outputs.cache),
            hidden_states=outputs.hidden_states if shown or not needs_raw else None,
            attentions=outputs.attentions,
            gates=outputs.get("gates"),
        )

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Resize as transformers does; refuse it for an adaptive softmax."""
        if self._adaptive is not None and new_num_tokens is not None:
            if new_num_tokens == self.config.vocab_size:
                return self.get_input_embeddings()
            raise ValueError(
                f"an adaptive softmax cannot be resized to {new_num_tokens} tokens: its clusters follow from how "
                "often words occurred. Train a model with the larger vocabulary."
            )
        return super().resize_token_embeddings(new_num_tokens, *args, **kwargs)

    @property
    def _adaptive(self) -> nn.AdaptiveLogSoftmaxWithLoss | None:
        """The head, if it is an adaptive softmax."""
        return self.lm_head if isinstance(self.lm_head, nn.AdaptiveLogSoftmaxWithLoss) else None

    def _logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map (..., D) to (..., V); an adaptive softmax gives log-probabilities, which are their own logits."""
        head = self._adaptive
        if head is None:
            return self.lm_head(hidden_states)
        flat = hidden_states.reshape(-1, hidden_states.shape[-1])
        with _as_its_weights(head, flat) as given:
            return head.log_prob(given).view(*hidden_states.shape[:-1], -1)

    def _read_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: Cache | None) -> Any:
        outputs = self.model(input_ids, attention_mask, cache=cache, use_cache=cache is not None, return_dict=True)
        return outputs.last_hidden_state

    def _log_probs(self, read: torch.Tensor, asked: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        head, hidden_states = self._adaptive, read[asked]  # (n, D)
        if head is None:
            return -nn.functional.cross_entropy(self.lm_head(hidden_states).float(), targets, reduction="none")
        with _as_its_weights(head, hidden_states) as given:
            return head(given, targets).output.float()

    def _loss(
        self,
        hidden_states: torch.Tensor,
        logits: torch.Tensor | None,
        targets: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None,
    ) -> torch.Tensor:
        asked, head = targets != IGNORED, self.lm_head
        # Logits that were made anyway are used; else the loss is taken a few rows at a time, and they never exist.
        if logits is not None:
            total = nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum")
        elif isinstance(head, nn.Linear):
            total = linear_cross_entropy(hidden_states[asked], head.weight, head.bias, targets[asked])
        else:
            total = -self._log_probs(hidden_states, asked, targets[asked]).sum()
            # A process whose texts have no rare word reaches not all weights, and the others would wait for their
            # gradients for ever: touch each, at no weight.
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                total = total + sum(weight.flatten()[:1].sum() * 0.0 for weight in head.parameters())
        return mean_over_targets(total, targets, num_items_in_batch)

    def _weight_of(self, penalty: str) -> float:
        """Return the weight of the AR or TAR penalty; 0 where the config has none."""
        return float(getattr(self.config, penalty, 0.0))

    def _penalty(
        self,
        hidden_states: torch.Tensor,
        raw: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        num_items_in_batch: torch.Tensor | int | None,
    ) -> torch.Tensor:
        """Return AR and TAR, summed over the tokens and divided as the loss is, so that accumulation stays exact."""
        weight = self._weight_of("activation_regularization")
        real = hidden_states.new_ones(hidden_states.shape[:2])
        if attention_mask is not None:
            real = attention_mask[:, -hidden_states.shape[1] :].to(hidden_states.dtype)
        penalty = hidden_states.new_zeros(())
        # AR needs no mask: outputs at padding are zero.
        if weight > 0:
            penalty = penalty + weight * hidden_states.float().pow(2).mean(-1).sum()
        if raw is not None:
            change = (raw[:, 1:] - raw[:, :-1]).float().pow(2).mean(-1) * real[:, 1:] * real[:, :-1]
            penalty = penalty + self._weight_of("temporal_activation_regularization") * change.sum()
        return penalty / (real.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)
