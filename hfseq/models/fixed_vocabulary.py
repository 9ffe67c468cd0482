"""Errors of models whose vocabulary is fixed, when other embeddings or another size are asked for.

transformers' own errors would be that the method is "not auto-handled", or that there is no `lm_head`.
"""

from typing import Any, ClassVar

from torch import nn


class FixedVocabularyMixin:
    """Refuse to grow or shrink: the words were learnt together with everything else."""

    config: Any
    how_to_grow: ClassVar[str]
    """What to do instead."""

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Refuse another size than the present one."""
        size = self.config.vocab_size
        wanted = size if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of:
            wanted += -wanted % pad_to_multiple_of
        if wanted != size:
            raise ValueError(
                f"The vocabulary of {type(self).__name__} has {size} tokens and cannot become {wanted}: "
                f"{self.how_to_grow}"
            )
        return None

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Refuse: there are none."""
        raise NotImplementedError(f"{type(self).__name__} has no output embeddings that could be exchanged.")


class WithoutEmbeddingsMixin(FixedVocabularyMixin):
    """Know words by their ids alone."""

    def get_input_embeddings(self) -> nn.Module:
        """Refuse: there are none."""
        raise self._without_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Refuse: there are none."""
        raise self._without_embeddings()

    def _without_embeddings(self) -> NotImplementedError:
        # transformers raises this kind of error for it, and catches it in places.
        return NotImplementedError(f"{type(self).__name__} has no embeddings: it knows words by their ids alone.")


__all__ = ["FixedVocabularyMixin", "WithoutEmbeddingsMixin"]
