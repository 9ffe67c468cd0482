"""The linear-chain conditional random field (Lafferty, McCallum and Pereira 2001): tags that fit one another.

A tagger alone chooses each tag for itself, and may write I-day behind B-city. A CRF scores whole rows of tags y:

    score(x, y) = a_{y_1} + sum_t e_t(y_t) + sum_{t>1} A_{y_{t-1} y_t} + b_{y_T}
    P(y | x)    = exp score(x, y) / Z(x)            Z(x) = sum over all rows y of exp score(x, y)

    e_t(j)   what the tagger says of label j at word t       (B, T, L), the emissions
    A_ij     how well j follows i                            (L, L), `transitions`
    a_j, b_j how well a text begins and ends with j          (L), `start` and `end`

A row that the names of the tags rule out (`tag_names.legal_paths`) has probability 0, in training and in decoding. The
loss is -log P of the true row. A word without a label is summed over (the likelihood of partial labels): what remains
is -log of the probability of all rows that have the labels that are known.

Two decodings: "viterbi" takes the likeliest row of all, "marginal" the likeliest label of each word; the second has
more words right, and the first gives rows that are legal. `crf_passes.py` has the equations of both.

Shapes: B batch, T time, L labels.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import nn
from transformers import initialization as init

from ..base import IGNORED
from ..inputs import can_be_checked, check_range
from ..tag_names import legal_paths
from ..token_order import TokenOrder
from .crf_passes import FORBIDDEN, LEAST, Scores, best_paths, log_marginals, read_forward
from .fused_crf import fused_answers, fused_loss

Decoding: TypeAlias = Literal["marginal", "viterbi"]


class LinearChainCRF(nn.Module):
    """Loss and answers of a CRF over emissions.

    Args:
        label_names: Names of the labels, in the order of their ids. Where they tell entities, they say which label may
            follow which; else everything is allowed.
    """

    def __init__(self, label_names: Sequence[str]) -> None:
        super().__init__()
        self.label_names = list(label_names)
        size = len(self.label_names)
        self.transitions = nn.Parameter(torch.zeros(size, size))
        self.start = nn.Parameter(torch.zeros(size))
        self.end = nn.Parameter(torch.zeros(size))
        # Not buffers: they follow from the names, and a model that is built without memory must have them as well.
        legal = (torch.tensor(each, dtype=torch.bool, device="cpu") for each in legal_paths(label_names))
        self._ruled_out = tuple(~each for each in legal)

    def reset_parameters(self) -> None:
        """Give weights that a checkpoint lacks the values of a new CRF: no legal row is likelier than another."""
        for parameter in self.parameters():
            init.zeros_(parameter)

    def scores(self, like: torch.Tensor) -> Scores:
        """Return a, A and b in the precision and on the device of the emissions `like`."""
        pairs = zip((self.start, self.transitions, self.end), self._ruled_out, strict=True)
        return Scores(*(weight.to(like).masked_fill(each.to(like.device), FORBIDDEN) for weight, each in pairs))

    def loss(
        self,
        emissions: torch.Tensor,
        labels: torch.Tensor,
        chain: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return -log P of the true labels, summed over texts and divided by the number of labels.

        Args:
            emissions: (B, T, L).
            labels: (B, T) ids. -100 in the chain: unknown, and summed over.
            chain: (B, T), true at the words that have a label; all other places do not exist, nor do their labels.
            num_items_in_batch: Labels in the whole update, see `sequence_loss`; None: those of this batch's chain.
        """
        self._check(emissions, labels, chain)
        labels = labels.masked_fill(~chain, IGNORED)
        find = self._sum_outside_graphs if _is_compiled_piecewise() else self._sum
        count = (labels != IGNORED).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return find(emissions, labels, chain) / count

    def answers(self, emissions: torch.Tensor, chain: torch.Tensor, decoding: Decoding) -> torch.Tensor:
        """Return logits (B, T, L) whose softmax are probabilities and whose argmax is the decision.

        In the chain they are the logarithms of P(y_t = j | x). With "viterbi" the label of the best path and the
        likeliest one change places. Outside of the chain they are the emissions.
        """
        find = self._find_outside_graphs if _is_compiled_piecewise() else self._find
        found = find(emissions, chain, decoding == "viterbi")
        if found.dtype == emissions.dtype:
            return found
        return put_first(found.to(emissions.dtype), found.argmax(-1))  # rounding would make numbers equal

    def _sum(self, emissions: torch.Tensor, labels: torch.Tensor, chain: torch.Tensor) -> torch.Tensor:
        """Return -log P of the labels, summed over texts, by the fastest route there is."""
        emissions = _at_least_single(emissions)
        scores = self.scores(emissions)
        total = fused_loss(emissions, labels, chain, scores)
        return self._plain_sum(emissions, labels, chain, scores) if total is None else total

    def _find(self, emissions: torch.Tensor, chain: torch.Tensor, with_paths: bool) -> torch.Tensor:
        """Return the answers by the fastest route there is."""
        emissions = _at_least_single(emissions)
        scores = self.scores(emissions)
        found = fused_answers(emissions, chain, scores, with_paths)
        return _plain_answers(emissions, chain, scores, with_paths) if found is None else found

    # The loop over time is as long as the longest text: a graph of it would be made anew for each length.
    _sum_outside_graphs = torch.compiler.disable(_sum)
    _find_outside_graphs = torch.compiler.disable(_find)

    def _plain_sum(
        self, emissions: torch.Tensor, labels: torch.Tensor, chain: torch.Tensor, scores: Scores
    ) -> torch.Tensor:
        order = TokenOrder(chain.shape[0], chain.shape[1], chain)
        front, told = order.to_front(emissions), order.to_front(labels[..., None])
        is_other = torch.arange(emissions.shape[-1], device=labels.device) != told  # (B, T, L)
        with_labels = front.masked_fill(is_other & (told != IGNORED), FORBIDDEN)
        # Once for all rows of tags, and once for those that have the labels: as one batch, one pass reads both.
        _, gains = read_forward(torch.cat((with_labels, front)), order.lengths.repeat(2), scores)
        right, every = gains.chunk(2)
        self._check_legal(told[..., 0], order.lengths, right.detach())
        # Differences first: in a long text both sums are large, and nearly equal.
        return (every - right).sum()

    def _check(self, emissions: torch.Tensor, labels: torch.Tensor, chain: torch.Tensor) -> None:
        """Refuse shapes that do not fit, and labels that do not exist."""
        size = len(self.label_names)
        if emissions.shape[-1] != size:
            raise ValueError(f"This CRF has {size} labels; emissions of shape {tuple(emissions.shape)} do not fit.")
        if not labels.shape == chain.shape == emissions.shape[:2]:
            raise ValueError(
                f"A CRF needs one label a token, got labels of shape {tuple(labels.shape)} and a chain of shape "
                f"{tuple(chain.shape)} for tokens of shape {tuple(emissions.shape[:2])}: pad them with "
                "DataCollatorForTokenClassification."
            )
        check_range("label", labels, size, f" (config.num_labels={size})", ignored=IGNORED)

    def _check_legal(self, told: torch.Tensor, lengths: torch.Tensor, gains: torch.Tensor) -> None:
        """Refuse labels whose row is ruled out: where no legal row goes on, a gain is FORBIDDEN."""
        if can_be_checked(gains) and (gains < FORBIDDEN / 2).any():
            row, step = (gains < FORBIDDEN / 2).nonzero()[0].tolist()
            self._refuse(told[row, : int(lengths[row])].tolist(), row, step)

    def _refuse(self, labels: list[int], row: int, step: int) -> None:
        """Say which tags of a text do not fit: no legal row reaches word `step`, or the end of the text."""
        names = ["(unknown)" if label == IGNORED else self.label_names[label] for label in labels]
        if step == len(labels):
            where = f"{_written(names[-3:])} ends the text, and its entity is not ended"
        elif step == 0:
            where = f"{names[0]!r} begins the text, and goes on with an entity that never began"
        else:
            begin = max(0, step - 2)
            where = f"{_written(names[begin : step + 1])} (words {begin + 1} to {step + 1})"
        raise ValueError(
            f"Text {row + 1} of the batch has tags that may not follow one another: {where}. With crf=True such rows "
            "have probability 0. Write the entities anew (hfseq.evaluation.entities.in_iob2 does, and the recipe "
            "by itself), cut no text inside an entity, or train with crf=False."
        )


def put_first(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Let the label (B, T) and the best of each row (B, T, L) change places, so that argmax is the label."""
    labels = labels[..., None]
    best, place = rows.max(-1, keepdim=True)
    changed = rows.scatter(-1, place, rows.gather(-1, labels)).scatter(-1, labels, best)
    # Of equal numbers argmax would take the first.
    below = best - torch.finfo(rows.dtype).eps * best.abs().clamp(min=1.0)
    return torch.where(torch.arange(rows.shape[-1], device=rows.device) == labels, best, changed.minimum(below))


def _plain_answers(emissions: torch.Tensor, chain: torch.Tensor, scores: Scores, with_paths: bool) -> torch.Tensor:
    order = TokenOrder(chain.shape[0], chain.shape[1], chain)
    front = order.to_front(emissions)
    found = log_marginals(front, order.lengths, scores).clamp(min=LEAST)
    if with_paths:
        found = put_first(found, best_paths(front, order.lengths, scores))
    return torch.where(chain[..., None], order.put_back(found), emissions)


def _at_least_single(emissions: torch.Tensor) -> torch.Tensor:
    # In half precision the sums over a text would lose whole units.
    return emissions.to(torch.promote_types(emissions.dtype, torch.float32))


def _is_compiled_piecewise() -> bool:
    return torch.compiler.is_compiling() and not torch.compiler.is_exporting()


def _written(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


__all__ = ["Decoding", "LinearChainCRF", "put_first"]
