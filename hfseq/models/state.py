"""The recurrent state as one layer of transformers' cache.

transformers builds `DynamicCache(config=...)` from `config.layer_types`; the class below registers itself for the type
"hfseq_recurrent", so that a state is passed, returned, re-ordered and kept exactly as the keys and values of an
attention layer are, under the name `past_key_values`.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers.cache_utils import CacheLayerMixin

RECURRENT_LAYER_TYPE = "hfseq_recurrent"

States = tuple[torch.Tensor, ...]


class RecurrentStateLayer(CacheLayerMixin):
    """The states of one layer's cell after `seq_length` tokens: (h,), (h, c) or more, each (batch, hidden)."""

    _layer_type = RECURRENT_LAYER_TYPE
    is_compileable = False
    is_croppable = False
    is_sliding = False
    supports_early_init = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.states: States | None = None
        self.seq_length = 0

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

    def keep(self, states: States, *, num_new_tokens: int) -> None:
        """The states reached after `num_new_tokens` more tokens.

        They are re-bound, never copied in place: a state that carries gradients stays valid.
        """
        self.lazy_initialization(states[0])
        self.states = states
        self.seq_length += num_new_tokens

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Attention's way to add to a cache; a recurrent layer replaces its state (`keep`)."""
        raise NotImplementedError("a recurrent layer keeps a state, it has no keys and values to add to")

    def get_seq_length(self) -> int:
        """Tokens seen."""
        return self.seq_length

    def get_max_length(self) -> int:
        """No maximum: a state does not grow."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length of the attention mask for `query_length` new tokens, and its offset."""
        return self.seq_length + query_length, 0

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        if self.states is not None:
            self.states = tuple(change(state) for state in self.states)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Rows in the order of `beam_idx` (beam search)."""
        self._map(lambda state: state.index_select(0, beam_idx.to(state.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row `repeats` times."""
        self._map(lambda state: state.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Only the rows `indices`."""
        self._map(lambda state: state[indices])

    def detach(self) -> None:
        """Cut the graph: truncated back-propagation through time."""
        self._map(torch.Tensor.detach)

    def reset(self) -> None:
        """Forget everything."""
        self.states, self.seq_length = None, 0
