"""The config of a network that draws (`strokes.py`)."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from ..calls import CACHE_NAMES
from ..configs import SequenceConfig, bounded, probability
from .named_cell import NamedCellConfig
from .stroke_density import PEN_STATES, StrokeDensity

FEATURES = 3  # dx, dy, and whether the pen is lifted


@strict
class StrokesConfig(NamedCellConfig, SequenceConfig):
    """Configuration of a network that draws.

    Args:
        hidden_size: H, the width of each layer.
        num_hidden_layers: Depth.
        cell: "lstm", "gru", "rnn", or any other name of `cells.CELLS`.
        loss: What is learnt of the next offset: "mdn", its density, or "mse", its mean.
        num_mixtures: Gaussians of that density.
        offset_scale: What offsets are divided by before the network reads them: their root mean square in the training
            drawings.
        residual_std: With "mse", the standard deviation of what the mean misses, in these units: that of the one
            Gaussian by which such a model draws and is scored. 1 is that of a network which knows nothing.
        class_names: Names of the kinds of drawings that can be asked for; None: one kind.
        class_embedding_size: C, the width of the vector of a class.
        hidden_dropout: Dropout on the output of each layer.
        initializer_range: Standard deviation of the vectors of classes.
        use_cache: Whether the model returns its state where a call does not say.
    """

    model_type = "hfseq_strokes"
    keys_to_ignore_at_inference = list(CACHE_NAMES)

    hidden_size: int = bounded(128, 1, 65_536)
    num_hidden_layers: int = bounded(1, 1, 64)
    cell: str = "lstm"
    loss: Literal["mdn", "mse"] = "mdn"
    num_mixtures: int = bounded(20, 1, 1_000)
    offset_scale: float | int = bounded(1.0, 1e-12, 1e12)
    residual_std: float | int = bounded(1.0, 1e-6, 1e6)
    class_names: list[str] | None = None
    class_embedding_size: int = bounded(16, 1, 4_096)
    hidden_dropout: float | int = probability(0.0)
    initializer_range: float | int = bounded(0.1, 0.0, 10.0)
    use_cache: bool = True

    @property
    def bidirectional(self) -> bool:
        """False: what is drawn next depends on what is there."""
        return False

    @property
    def input_size(self) -> int:
        """Width of what the first layer reads."""
        return FEATURES + (0 if self.class_names is None else self.class_embedding_size)

    @property
    def output_size(self) -> int:
        """D, the width of `last_hidden_state`: all layers side by side."""
        return self.num_hidden_layers * self.hidden_size

    @property
    def density_size(self) -> int:
        """P, how many numbers describe the next movement."""
        return 2 + PEN_STATES if self.loss == "mse" else StrokeDensity.size(self.num_mixtures)

    def validate_token_ids(self) -> None:
        """Check that nobody takes a drawing for a text."""
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if getattr(self, name, None) is not None:
                raise ValueError(f"{name}={getattr(self, name)}: a drawing has no tokens; leave it out.")

    def validate_classes(self) -> None:
        """Check the names of the classes."""
        names = self.class_names
        if names is not None and (not names or len(set(names)) < len(names)):
            raise ValueError(f"class_names={names} must be one name or more, each once; None: there are no classes.")
