"""A matrix whose rows are written in a few bytes each (product quantization, Jegou et al. 2011).

A row is cut into M pieces of d numbers. Each piece is replaced by the nearest of 256 centroids of its place, so a byte
stands for it. With norms, rows are brought to length 1 before, and a byte more stands for their length.

Shapes: R rows, M pieces, d numbers of a piece, D = width of a row (the last piece may be shorter than d).
"""

import torch
from torch import nn
from transformers import initialization as init

CENTROIDS = 256


def whole_pieces(width: int, pieces: int) -> int:
    """Return into how many pieces a row is cut that should have `pieces`: the last may be shorter, none is empty."""
    return -(-width // -(-width // pieces))


class QuantizedRows(nn.Module):
    """The rows of an `nn.Embedding`, in bytes; they are looked up, not trained.

    Attributes:
        codes: uint8, (R, M).
        centroids: (M, 256, d).
        norm_codes: uint8, (R,), with norms.
        norm_centroids: (256,), with norms.
    """

    codes: torch.Tensor
    centroids: torch.Tensor
    norm_codes: torch.Tensor
    norm_centroids: torch.Tensor

    def __init__(self, *, rows: int, width: int, pieces: int, has_norms: bool) -> None:
        super().__init__()
        self.width, self.has_norms = width, has_norms
        self.register_buffer("codes", torch.zeros(rows, pieces, dtype=torch.uint8))
        self.register_buffer("centroids", torch.zeros(pieces, CENTROIDS, -(-width // pieces)))
        if has_norms:
            self.register_buffer("norm_codes", torch.zeros(rows, dtype=torch.uint8))
            self.register_buffer("norm_centroids", torch.ones(CENTROIDS))

    @torch.no_grad()
    def start(self) -> None:
        """Give what a checkpoint lacks a value."""
        init.zeros_(self.codes)
        init.normal_(self.centroids)
        if self.has_norms:
            init.zeros_(self.norm_codes)
            init.ones_(self.norm_centroids)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the vectors (..., D) of rows (...)."""
        codes = self.codes[rows].long()  # (..., M)
        pieces = self.centroids[torch.arange(codes.shape[-1], device=codes.device).expand_as(codes), codes]
        vectors = pieces.flatten(-2)[..., : self.width]
        if self.has_norms:
            vectors = vectors * self.norm_centroids[self.norm_codes[rows].long()][..., None]
        return vectors
