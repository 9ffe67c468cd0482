"""The one door to the kernels of CRFs, which may be absent: no numba, or this file exported without its package.

Code exported to the Hub can meet another release of hfseq than it came from; `INTERFACE` must be equal on both sides,
or torch does the work (`crf_passes.py`), as it does everywhere else.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch

from ..recurrent.fused import fit, needs_plain_operations
from .crf_passes import LEAST, Scores

INTERFACE = 1


class Words(NamedTuple):
    """The words of all texts, one behind the other: n of them.

    Attributes:
        places: (n) where each stands among the B T tokens.
        begins: (B + 1) the first word of each text, and n.
    """

    places: torch.Tensor
    begins: torch.Tensor

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Take what belongs to the words out of (B, T, ...)."""
        return values.flatten(0, 1).index_select(0, self.places)


@lru_cache(maxsize=1)
def _kernels() -> Any | None:
    """Import `hfseq.kernels.crf.chain` at first use (numba takes a second); return None without it."""
    try:
        from hfseq import extras
    except ImportError:
        return None
    chain = extras.kernels("crf.chain", "CRFs run several times slower")
    return chain if chain is not None and chain.INTERFACE == INTERFACE else None


def _kernels_for(*tensors: torch.Tensor) -> Any | None:
    # A graph cannot hold a kernel.
    is_graph = torch.compiler.is_compiling() or torch.jit.is_tracing() or needs_plain_operations()
    return None if is_graph or not fit(*tensors) else _kernels()


def _words(chain: torch.Tensor) -> Words:
    begins = torch.nn.functional.pad(chain.sum(1).cumsum(0), (1, 0))
    return Words(chain.flatten().nonzero()[:, 0], begins)


def fused_loss(
    emissions: torch.Tensor, labels: torch.Tensor, chain: torch.Tensor, scores: Scores
) -> torch.Tensor | None:
    """Return -log P of the labels, summed over texts; None where torch has to do it, to find a fault too."""
    kernels = _kernels_for(emissions, *scores)
    if kernels is None:
        return None
    words = _words(chain)
    return kernels.loss(words.of(emissions), words.of(labels), words.begins, scores)


def fused_answers(
    emissions: torch.Tensor, chain: torch.Tensor, scores: Scores, with_paths: bool
) -> torch.Tensor | None:
    """Return the answers of `LinearChainCRF`; None where torch has to do it."""
    # Who asks for gradients of answers gets those of torch.
    with_gradients = torch.is_grad_enabled() and any(each.requires_grad for each in (emissions, *scores))
    kernels = None if with_gradients else _kernels_for(emissions, *scores)
    if kernels is None:
        return None
    words = _words(chain)
    found = kernels.answers(words.of(emissions), words.begins, scores, LEAST, with_paths)
    if found is None:
        return None
    return emissions.flatten(0, 1).index_copy(0, words.places, found).view_as(emissions)
