"""Estimating a hidden Markov model: counting where the states are known, Baum-Welch where they are not.

Counting. With tags given, the most probable parameters are relative frequencies; k pseudo counts each keep what was
not seen possible:

    pi_i = c(i starts) + k_A / ...      A_ij = c(i -> j) + k_A / ...      B_iw = c(i emits w) + k_B / ...

Baum-Welch (Baum et al. 1970; an instance of EM). Without tags the counts are replaced by their expectations under the
present parameters; the likelihood never falls from one iteration to the next (with pseudo counts: the likelihood times
their Dirichlet prior). In the letters of `hmm.py`, scaled as in Rabiner (1989, section V.A), so that nothing is a
logarithm and each step is one matrix product for a whole batch:

    alpha_t(j) = B_j(x_t) * sum_i alpha_{t-1}(i) A_ij / c_t         alpha_1(j) = B_j(x_1) pi_j / c_1,  sum_j alpha = 1
    w_t(j)     = B_j(x_t) * beta_t(j) / c_t
    beta_{t-1}(i) = sum_j A_ij w_t(j)                               beta_T = 1
    gamma_t(i) = alpha_t(i) beta_t(i)                               P(z_t = i | x)
    sum_t xi_t(i, j) = A_ij * sum_t alpha_{t-1}(i) w_t(j)           expected transitions i -> j
    log P(x)   = sum_t log c_t

Sequences of similar length run side by side, longest first, so that the ones still running at step t are the first
n_t rows: padding is never computed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers.utils import logging

from ..base import IGNORED
from ..inputs import check_range

logger = logging.get_logger(__name__)

_ROWS_PER_BATCH = 16_384  # tokens that are computed side by side: a few arrays of this many rows of S numbers


class Probabilities(NamedTuple):
    """The parameters: pi (S), A (S, S) with A[i, j] = P(j | i), B (V, S) with B[w, i] = P(w | i)."""

    pi: torch.Tensor
    A: torch.Tensor
    B: torch.Tensor


class Counts(NamedTuple):
    """How often each state starts (S), each transition is made (S, S) and each state emits each word (V, S)."""

    start: torch.Tensor
    transition: torch.Tensor
    emission: torch.Tensor

    @classmethod
    def zeros(cls, like: Probabilities) -> "Counts":
        """Return zeros in the shapes of the parameters."""
        return cls(*(torch.zeros_like(table) for table in like))


@dataclass(frozen=True)
class Boundaries:
    """The tokens that part documents: a bos stands before one and is not part of it, an eos is its last token.

    Padding, unless it is one of the two, is no part of any document and refused.
    """

    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None = None

    def sequences(self, documents: Iterable[Sequence[int] | np.ndarray]) -> list[np.ndarray]:
        """Cut documents into sequences of token ids, int64; empty ones are left out."""
        return [ids for ids, _ in self.tagged_sequences((document, document) for document in documents)]

    def tagged_sequences(
        self, pairs: Iterable[tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Cut token ids and their tags in the same way."""
        pieces: list[tuple[np.ndarray, np.ndarray]] = []
        for number, (document, its_tags) in enumerate(pairs):
            ids = _integers(document)
            self._refuse_padding(ids, number)
            pieces.extend(self._cut(ids, _integers(its_tags)))
        return pieces

    def _refuse_padding(self, ids: np.ndarray, number: int) -> None:
        if self.pad_token_id in (self.bos_token_id, self.eos_token_id):
            return
        padding = np.flatnonzero(ids == self.pad_token_id)
        if len(padding):
            raise ValueError(
                f"documents[{number}][{padding[0]}] is {self.pad_token_id}, the padding token (config.pad_token_id), "
                "which no state ever emits: pass the documents without padding, or set pad_token_id=None in the "
                "config if it is a word."
            )

    def _cut(self, ids: np.ndarray, tags: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if len(ids) != len(tags):
            raise ValueError(f"a document has {len(ids)} tokens and {len(tags)} tags: each token needs one (or -100).")
        # A document may hold several: as in the forward pass, what follows an eos starts from pi.
        begins, ends = ids == self.bos_token_id, ids == self.eos_token_id
        if self.bos_token_id == self.eos_token_id:  # one token for both: context at the very beginning, else an end
            begins, ends = begins & (np.arange(len(ids)) == 0), ends & (np.arange(len(ids)) > 0)
        cuts = np.flatnonzero(np.append(False, ends[:-1]) | begins)
        for piece, tagged, silent in zip(*(np.split(given, cuts) for given in (ids, tags, begins)), strict=True):
            if not silent.all():
                yield piece[~silent], tagged[~silent]


def _integers(document: Sequence[int] | np.ndarray) -> np.ndarray:
    given = np.asarray(document)
    if given.size == 0:
        return np.zeros(0, dtype=np.int64)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(
            f"each document must be a list of token ids, got {given.dtype} of shape {given.shape}: pass a list of "
            "such lists, for instance dataset['input_ids']."
        )
    return given.astype(np.int64)


# Counting


def tag_counts(pairs: Sequence[tuple[np.ndarray, np.ndarray]], like: Probabilities) -> Counts:
    """Count starts, transitions and emissions in tagged sequences; a tag of -100 is unknown and counts nowhere."""
    num_words, num_states = like.B.shape
    lengths = np.array([len(ids) for ids, _ in pairs])
    ids, tags = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    known = tags != IGNORED
    check_range("token id", torch.from_numpy(ids), num_words)
    check_range("tag", torch.from_numpy(tags[known]), num_states)
    first = np.zeros(len(ids), dtype=bool)
    first[np.cumsum(lengths) - lengths] = True
    # A transition counts where both its states are known and belong to one sequence.
    follows = ~first[1:] & known[1:] & known[:-1]
    found = (
        np.bincount(tags[first & known], minlength=num_states),
        np.bincount(tags[:-1][follows] * num_states + tags[1:][follows], minlength=num_states**2),
        np.bincount(ids[known] * num_states + tags[known], minlength=num_words * num_states),
    )
    return Counts(
        *(torch.from_numpy(count).view(table.shape).to(table) for count, table in zip(found, like, strict=True))
    )


def from_counts(
    counts: Counts, *, transition_smoothing: float, emission_smoothing: float, never: Sequence[int]
) -> Probabilities:
    """Estimate by relative frequencies after adding pseudo counts, none for `never`. A state never seen is uniform."""
    # Padding and bos are never emitted: a pseudo count would give them probability that no text can use.
    pseudo = torch.full_like(counts.emission[:, :1], emission_smoothing)
    pseudo[list(never)] = 0
    uniform = torch.ones_like(pseudo)
    uniform[list(never)] = 0
    return Probabilities(
        _shares(counts.start + transition_smoothing, dim=0),
        _shares(counts.transition + transition_smoothing, dim=1),
        _shares(counts.emission + pseudo, dim=0, unseen=uniform),
    )


def _shares(counts: torch.Tensor, *, dim: int, unseen: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Divide counts by their sum along `dim`; where that is 0, return shares in proportion to `unseen`."""
    # Without pseudo counts a state that never occurs has no frequencies, and 0 / 0 would spoil the others.
    counts = torch.where(counts.sum(dim, keepdim=True) > 0, counts, torch.ones_like(counts) * unseen)
    return counts / counts.sum(dim, keepdim=True)


# Baum-Welch


class SideBySide(NamedTuple):
    """Sequences, longest first: `ids` holds their first tokens, then the second ones, ...; `rows` how many of each."""

    ids: torch.Tensor
    rows: list[int]


def side_by_side(sequences: Sequence[np.ndarray], device: torch.device) -> list[SideBySide]:
    """Make batches of sequences of similar length, each of about the same number of tokens."""
    # Longest first: the sequences still running at step t are then the first rows, and none is padded.
    ordered = sorted(sequences, key=len, reverse=True)
    batches, start = [], 0
    while start < len(ordered):
        size = max(1, _ROWS_PER_BATCH // len(ordered[start]))
        chosen = ordered[start : start + size]
        start += size
        lengths = np.array([len(ids) for ids in chosen])
        step = np.concatenate([np.arange(length) for length in lengths])
        # Stable, so that each step keeps the order of the sequences.
        by_time = np.concatenate(chosen)[np.argsort(step, kind="stable")]
        batches.append(SideBySide(torch.from_numpy(by_time).to(device), np.bincount(step).tolist()))
    return batches


def add_expected_counts(counts: Counts, probabilities: Probabilities, batch: SideBySide) -> float:
    """Do the E step for one batch: add to `counts` in place, and return log P of its sequences."""
    pi, A, B = probabilities
    B_x = B[batch.ids].split(batch.rows)  # T x (n_t, S)
    alpha, scale = _scaled_forward(pi, A, B_x)
    gamma: list[torch.Tensor] = [alpha[-1]] * len(alpha)
    transition = torch.zeros_like(A)
    beta = torch.ones_like(alpha[-1])
    for t in range(len(alpha) - 1, 0, -1):
        running = len(alpha[t])
        # Divided by c_t again, as alpha is: the product alpha beta then needs no other normalisation.
        w = B_x[t] * beta / scale[t]
        transition.addmm_(alpha[t - 1][:running].t(), w)
        beta = torch.ones_like(alpha[t - 1])  # a sequence that ends at t - 1
        torch.mm(w, A.t(), out=beta[:running])
        gamma[t - 1] = alpha[t - 1] * beta
    counts.start.add_(gamma[0].sum(0))
    counts.transition.add_(A * transition)
    counts.emission.index_add_(0, batch.ids, torch.cat(gamma))
    return float(torch.cat(scale).double().log().sum())


def _scaled_forward(
    pi: torch.Tensor, A: torch.Tensor, B_x: Sequence[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return alpha_t (n_t, S), of sum 1, and c_t (n_t, 1), for each step."""
    alpha: list[torch.Tensor] = []
    scale: list[torch.Tensor] = []
    for t, emitted in enumerate(B_x):
        joint = emitted * pi if t == 0 else (alpha[-1][: len(emitted)] @ A).mul_(emitted)
        c = joint.sum(1, keepdim=True)
        alpha.append(joint.div_(c))
        scale.append(c)
    return alpha, scale


def random_start(
    sequences: Sequence[np.ndarray], like: Probabilities, seed: int, never: Sequence[int]
) -> Probabilities:
    """Draw parameters to begin EM with: every state emits words about as often as they occur, no two are alike."""
    # On the CPU and in float64, so that one seed gives the same start on every device and in every type.
    generator = torch.Generator().manual_seed(seed)
    # Every state starts from the words' own frequencies: only the texts make a word frequent in one of them.
    frequency = np.bincount(np.concatenate(sequences), minlength=len(like.B)) + 1.0
    frequency[list(never)] = 0

    def noise(table: torch.Tensor) -> torch.Tensor:
        return torch.randn(table.shape, generator=generator, dtype=torch.float64).exp()

    emission = noise(like.B) * torch.from_numpy(frequency)[:, None]
    tables = (_shares(noise(like.pi), dim=0), _shares(noise(like.A), dim=1), _shares(emission, dim=0))
    return Probabilities(*(table.to(given) for table, given in zip(tables, like, strict=True)))


class EstimationMixin:
    """Estimation without gradients, for the models of `hmm.py`."""

    config: Any
    hmm: Any
    device: Any
    dtype: Any

    def _probabilities(self) -> Probabilities:
        """Return the present parameters."""
        raise NotImplementedError(f"{type(self).__name__} must hand out its parameters")

    def fit_counts(self, documents: Iterable[Sequence[int]], tags: Iterable[Sequence[int]]) -> None:
        """Estimate the parameters from documents whose states are known, by counting.

        Args:
            documents: Rows of token ids, without padding.
            tags: A state for each token; -100 where it is unknown, which then counts nowhere.
        """
        probabilities = self._probabilities()
        pairs = self._boundaries.tagged_sequences(zip(documents, tags, strict=True))
        if not pairs:
            raise ValueError("there are no tokens to count: documents is empty.")
        self.hmm.assign(self._from_counts(tag_counts(pairs, probabilities)))

    def fit_baum_welch(
        self,
        documents: Iterable[Sequence[int] | np.ndarray],
        *,
        num_iterations: int = 20,
        tolerance: float = 1e-4,
        seed: int | None = None,
    ) -> list[float]:
        """Estimate the parameters from documents alone, by Baum-Welch (EM).

        Time is linear in tokens and quadratic in states. Documents run side by side, so one endless document is slow:
        cut it.

        Args:
            documents: Token ids of each, without padding; they are also cut after each eos.
            num_iterations: At most so many.
            tolerance: Stop when the log-likelihood per token gains less than this.
            seed: Begin at random parameters of this seed; without it at the present ones.

        Returns:
            log P(documents) before each iteration, in nats.
        """
        sequences = self._boundaries.sequences(documents)
        if not sequences:
            raise ValueError("there are no tokens to learn from: documents is empty.")
        for ids in sequences:
            check_range("token id", torch.from_numpy(ids), self.config.vocab_size)
        num_tokens = sum(map(len, sequences))
        batches = side_by_side(sequences, self.device)
        probabilities = self._probabilities()
        if seed is not None:
            probabilities = random_start(sequences, probabilities, seed, self._never_emitted)
        history: list[float] = []
        rounds = range(num_iterations)
        for iteration in logging.tqdm(rounds, desc="Baum-Welch", unit="iteration", delay=1, leave=None):
            counts = Counts.zeros(probabilities)
            history.append(sum(add_expected_counts(counts, probabilities, batch) for batch in batches))
            # NaN fails the comparison too.
            if not -float("inf") < history[-1] < float("inf"):
                raise ValueError(
                    f"iteration {iteration}: a document has the probability 0 in {self.dtype}. Raise "
                    "emission_smoothing and transition_smoothing in the config, or compute in double: model.double()."
                )
            logger.info("iteration %d: %.4f nats a token", iteration, -history[-1] / num_tokens)
            # The likelihood of the present parameters is known only now; they are kept, not estimated once more.
            if iteration and history[-1] - history[-2] < tolerance * num_tokens:
                break
            probabilities = self._from_counts(counts)
        self.hmm.assign(probabilities)
        return history

    @property
    def _boundaries(self) -> Boundaries:
        return Boundaries(self.config.bos_token_id, self.config.eos_token_id, self.config.pad_token_id)

    @property
    def _never_emitted(self) -> list[int]:
        silent = {self.config.pad_token_id, self.config.bos_token_id} - {self.config.eos_token_id, None}
        return sorted(token for token in silent if token is not None)

    def _from_counts(self, counts: Counts) -> Probabilities:
        return from_counts(
            counts,
            transition_smoothing=float(self.config.transition_smoothing),
            emission_smoothing=float(self.config.emission_smoothing),
            never=self._never_emitted,
        )


__all__ = ["Boundaries", "Counts", "EstimationMixin", "Probabilities"]
