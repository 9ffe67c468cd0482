"""The recurrent state as one layer of transformers' cache.

transformers builds `DynamicCache(config=...)` from `config.layer_types`; the class below registers itself for the type
"hfseq_recurrent", so that a state is passed, returned, re-ordered and kept exactly as the keys and values of an
attention layer are, under the name `cache` (`past_key_values` before transformers 5.24).
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from transformers.cache_utils import STATIC_LAYER_TYPE_MAPPING, CacheLayerMixin

RECURRENT_LAYER_TYPE = "hfseq_recurrent"

States = tuple[torch.Tensor, ...]

# How many tokens before a guess can still be taken back; each holds a copy of the state.
_LONGEST_RECALL: Final = 64


class RecurrentStateLayer(CacheLayerMixin):
    """The states of one layer's cell after `seq_length` tokens: (h,), (h, c) or more, each (batch, hidden)."""

    _layer_type = RECURRENT_LAYER_TYPE
    is_compileable = False
    is_croppable = True
    is_sliding = False
    supports_early_init = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.states: States | None = None
        self.seq_length = 0
        self.record_past = False
        # The states before each of the last tokens, if they are recorded.
        self._history: list[States] = []

    # Code that walks over caches reads `keys` and `values`; here they are views of the state.
    @property
    def keys(self) -> torch.Tensor | None:
        """The output h, (batch, hidden)."""
        return None if self.states is None else self.states[0]

    @keys.setter
    def keys(self, value: torch.Tensor | None) -> None:
        """Ignored: the constructor of CacheLayerMixin assigns None."""

    @property
    def values(self) -> torch.Tensor | None:
        """The last of the states: c for an LSTM, (batch, hidden)."""
        return None if self.states is None else self.states[-1]

    @values.setter
    def values(self, value: torch.Tensor | None) -> None:
        """Ignored: the constructor of CacheLayerMixin assigns None."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor | None = None) -> None:
        """Note dtype and device of the first state."""
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True

    def keep(self, states: States, *, num_new_tokens: int, before: list[States] | None = None) -> None:
        """Keep the states reached after `num_new_tokens` more tokens.

        Args:
            states: The states after the last token.
            num_new_tokens: How many tokens led there.
            before: The states before each of them, needed while the past is recorded.
        """
        # Re-bound, never copied in place: a state that carries gradients stays valid.
        self.lazy_initialization(states[0])
        if self.record_past:
            if before is None or len(before) != num_new_tokens:
                raise ValueError("while the past is recorded, the states before each token are needed")
            self._history.extend(before)
        self.states = states
        self.seq_length += num_new_tokens

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Refuse what attention does with its cache; a recurrent layer replaces its state (`keep`)."""
        raise NotImplementedError("a recurrent layer keeps a state, it has no keys and values to add to")

    def get_seq_length(self) -> int:
        """Return the number of tokens read."""
        return self.seq_length

    def get_max_length(self) -> int:
        """Return -1, for no maximum: a state does not grow."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length of the attention mask for `query_length` new tokens, and its offset."""
        return self.seq_length + query_length, 0

    def activate_past_recording(self) -> None:
        """Remember from now on the states before each token, so that `crop` can return to them."""
        self.record_past = True

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last `-tokens_to_remove` tokens (assisted decoding takes back the guesses that were wrong)."""
        if tokens_to_remove > 0:
            raise ValueError(f"crop takes the tokens to remove as a number below 0, got {tokens_to_remove}")
        if not self.record_past and tokens_to_remove < 0:
            raise RuntimeError("a state holds no past: call activate_past_recording() before the tokens are read")
        count = -tokens_to_remove
        if count > len(self._history):
            raise RuntimeError(f"cannot take back {count} tokens: only {len(self._history)} are recorded")
        kept = len(self._history) - count
        if count:
            self.states, self.seq_length = self._history[kept], self.seq_length - count
        # A guess may be taken back in several calls, so what precedes it is kept; not for ever.
        self._history = self._history[max(kept - _LONGEST_RECALL, 0) : kept]

    def restart(self, rows: torch.Tensor) -> None:
        """Set the rows marked in `rows` (batch,) back to the state before any token, which is zero."""
        self._map(lambda state: state.masked_fill(rows[:, None].to(state.device), 0.0))

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        if self.states is not None:
            self.states = tuple(change(state) for state in self.states)
        self._history = [tuple(change(state) for state in states) for states in self._history]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Put the rows in the order of `beam_idx` (beam search)."""
        self._map(lambda state: state.index_select(0, beam_idx.to(state.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row `repeats` times."""
        self._map(lambda state: state.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only the rows `indices`."""
        self._map(lambda state: state[indices])

    def detach(self) -> None:
        """Cut the graph: truncated back-propagation through time."""
        self._map(torch.Tensor.detach)

    def reset(self) -> None:
        """Forget everything."""
        self.states, self.seq_length, self._history = None, 0, []


# A state does not grow, so that it also serves where a cache of fixed size is asked for.
STATIC_LAYER_TYPE_MAPPING[RECURRENT_LAYER_TYPE] = RecurrentStateLayer
