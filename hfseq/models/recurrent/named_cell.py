"""What configs that name the cell of their layers have in common."""

from .cells import CELLS, Cell, find_cell
from .state import RECURRENT_LAYER_TYPE


class NamedCellConfig:
    """Properties and checks of a config with `cell`, `hidden_size`, `num_hidden_layers`; it stands before others."""

    cell: str
    hidden_size: int
    num_hidden_layers: int

    # `generate` makes its cache of these.
    @property
    def layer_types(self) -> list[str]:
        """Which cache layer transformers builds for each layer (`state.py`)."""
        return [RECURRENT_LAYER_TYPE] * self.num_hidden_layers

    def make_cell(self) -> Cell:
        """Return the named cell."""
        # To `CustomConfig` the plain network has two names; here it also goes by that of its family.
        return find_cell("rnn_tanh" if self.cell == "rnn" and self.cell not in CELLS else self.cell)

    def validate_layer_type(self) -> None:
        """Replace transformers' check, which knows only its own layer types."""

    def validate_cell(self) -> None:
        """Check that the cell exists, and that its blocks fit the width."""
        block_size = self.make_cell().block_size
        if self.hidden_size % block_size:
            raise ValueError(
                f"cell={self.cell!r} needs a width divisible by {block_size}, got hidden_size={self.hidden_size}."
            )
