"""The fields of a config that describe the recurrent decoder (`decoder.py`), whatever it looks back at."""

from dataclasses import dataclass
from typing import Literal

from ..configs import bounded, probability
from .named_cell import NamedCellConfig


@dataclass(kw_only=True)
class RecurrentDecoderConfig(NamedCellConfig):
    """Fields of a config with such a decoder; it stands before the config class that has all the others.

    What each field means is told by the families that have it, `Seq2SeqConfig` and `CaptionerConfig`.
    """

    embedding_size: int = bounded(128, 1, 65_536)
    hidden_size: int = bounded(128, 1, 65_536)
    num_hidden_layers: int = bounded(1, 1, 64)
    cell: str = "lstm"
    attention: Literal["none", "additive", "dot", "general", "multi_head"] = "general"
    num_attention_heads: int = bounded(1, 1, 1_024)
    input_feeding: bool = False
    coverage: bool = False
    scheduled_sampling: float | int = bounded(0.0, 0.0, 1.0)
    embedding_dropout: float | int = probability(0.0)
    hidden_dropout: float | int = probability(0.1)
    freeze_embeddings: bool = False
    # As in `RecurrentConfig`: a shallow network must notice its input from the first step on.
    initializer_range: float | int = bounded(0.1, 0.0, 10.0)
    tie_word_embeddings: bool = False
    use_cache: bool = True

    def validate_attention(self) -> None:
        """Check that there is an attention for what needs one, and that its heads divide the width."""
        if self.num_attention_heads > 1 and self.attention != "multi_head":
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} is for attention='multi_head', and attention="
                f"{self.attention!r} has one head: leave it out."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} does not divide hidden_size={self.hidden_size}"
            )
        if self.input_feeding and self.attention == "none":
            raise ValueError(
                "input_feeding=True feeds the attentional vector, and attention='none' makes none: choose an "
                "attention, or set input_feeding=False."
            )
        if self.coverage and self.attention != "additive":
            raise ValueError(
                f"coverage=True is a part of the additive score, and attention={self.attention!r} has none: set "
                "attention='additive', or coverage=False."
            )

    def validate_output_weights(self) -> None:
        """Check that tied output weights fit the embeddings."""
        if self.tie_word_embeddings and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"tie_word_embeddings=True needs outputs as wide as the embeddings, but embedding_size="
                f"{self.embedding_size} and hidden_size={self.hidden_size}: make them equal."
            )
