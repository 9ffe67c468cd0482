"""The chain of a hidden Markov model: its parameters, and what two passes through a text tell of its states.

Forward, scaled. The belief p_t over the state that emits the next word is carried from word to word:

    p_1        = pi
    c_t        = P(x_t | x_<t)          = sum_i p_t(i) B_i(x_t)
    alpha_t(i) = P(z_t = i | x_<=t)     = p_t(i) B_i(x_t) / c_t
    p_{t+1}(j) = P(z_{t+1} = j | x_<=t) = sum_i alpha_t(i) A_ij
    P(x_{t+1} = w | x_<=t) = sum_j p_{t+1}(j) B_j(w)            log P(x) = sum_t log c_t

Backward, and the posterior of each state:

    beta_T     = 1
    beta_t(i)  ~ sum_j A_ij B_j(x_{t+1}) beta_{t+1}(j)
    gamma_t(i) = P(z_t = i | x) ~ alpha_t(i) beta_t(i)

Viterbi (1967). With max in place of each sum the same two passes give delta and, at each word, the best path through
each state (its max-marginal); going back through delta gives the best path itself.

The letters are those of `hmm.py`.

Shapes: B batch, T time, S states, V vocabulary. Logarithms are natural, and computed in float32 at least. A
probability below the smallest normal number of that type (1e-38) counts as that number: no logarithm is infinite.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from ..base import IGNORED
from .hmm_training import Probabilities


class LogTables(NamedTuple):
    """Logarithms of pi (S), A (S, S) and, for look-up by word, of B transposed (V, S)."""

    pi: torch.Tensor
    A: torch.Tensor
    B: torch.Tensor


class Algebra(NamedTuple):
    """What "sum" means in the two passes: the sum itself (forward-backward), or max (Viterbi).

    `total` reduces (B, S) to (B, 1); `make_step` turns (S, S) logs of a matrix M into the product v -> v M in logs,
    for a v whose total is 0.
    """

    total: Callable[[torch.Tensor], torch.Tensor]
    make_step: Callable[[torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]


def product(values: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Multiply probabilities without autocast: rare ones would become 0 in float16."""
    with torch.autocast(values.device.type, enabled=False):
        return values @ matrix


def _sum_step(log_matrix: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    # Out of the logarithms and back: a matrix product is many times faster than sums of exponentials over (B, S, S).
    # Nothing that matters underflows, for the caller has scaled the values.
    matrix, smallest = log_matrix.exp(), torch.finfo(log_matrix.dtype).tiny
    return lambda log_values: product(log_values.exp(), matrix).clamp_min(smallest).log()


def _max_step(log_matrix: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    # There is no product for max: all (B, S, S) sums are made.
    return lambda log_values: (log_values[:, :, None] + log_matrix).amax(1)


SUM = Algebra(lambda values: values.logsumexp(-1, keepdim=True), _sum_step)
MAX = Algebra(lambda values: values.amax(-1, keepdim=True), _max_step)


class Reading(NamedTuple):
    """Texts as the chain meets them.

    Attributes:
        emissions: (B, T, S) log B_i(x_t).
        emitted: (B, T) false at padding and bos, which have no state.
        ends: (B, T) true at bos and eos, after which the belief is pi.
    """

    emissions: torch.Tensor
    emitted: torch.Tensor
    ends: torch.Tensor

    @property
    def evidence(self) -> torch.Tensor:
        """What each word says of its state: the emissions, 0 where nothing is emitted."""
        return self.emissions.masked_fill(~self.emitted[..., None], 0.0)


class HiddenMarkov(nn.Module):
    """pi, A and B as logits, and the two passes.

    Args:
        num_states: S.
        vocab_size: V.
        bos_token_id: Begins a document, and is not emitted.
        eos_token_id: Ends a document, and is emitted.
    """

    def __init__(self, num_states: int, vocab_size: int, bos_token_id: int | None, eos_token_id: int | None) -> None:
        super().__init__()
        self.bos_token_id, self.eos_token_id = bos_token_id, eos_token_id
        self.start_logits = nn.Parameter(torch.empty(num_states))
        self.transition_logits = nn.Parameter(torch.empty(num_states, num_states))
        self.emission_logits = nn.Parameter(torch.empty(num_states, vocab_size))

    def tables(self) -> LogTables:
        """Return the parameters as log-probabilities, at least float32."""
        # In half precision the log-probabilities of rare words would be rounded to steps of 0.016 (bfloat16: 0.125).
        kind = torch.promote_types(self.start_logits.dtype, torch.float32)
        logits = (self.start_logits, self.transition_logits, self.emission_logits)
        pi, A, B = (values.to(kind).log_softmax(-1) for values in logits)
        # Transposed, a word's emissions are one row, which an embedding looks up.
        return LogTables(pi, A, B.t().contiguous())

    @torch.no_grad()
    def assign(self, probabilities: Probabilities) -> None:
        """Set the parameters."""
        pi, A, B = probabilities
        # No logit of minus infinity: times 0 it is NaN.
        smallest = torch.finfo(torch.float32).tiny
        for logits, values in zip(self.parameters(), (pi, A, B.t()), strict=True):
            logits.copy_(values.clamp_min(smallest).log())

    def read(self, input_ids: torch.Tensor, real: torch.Tensor, tables: LogTables) -> Reading:
        """Look the emissions of (B, T) ids up; `real` is False at padding."""
        begins, ends = (
            real & (input_ids == token) if token is not None else torch.zeros_like(real)
            for token in (self.bos_token_id, self.eos_token_id)
        )
        # With one token for both only the first token of a text begins a document; the others end one, and are
        # emitted.
        silent = begins & (real.cumsum(1) == 1) if self.bos_token_id == self.eos_token_id else begins
        return Reading(nn.functional.embedding(input_ids, tables.B), real & ~silent, begins | ends)

    def forward(
        self, reading: Reading, tables: LogTables, start: torch.Tensor, algebra: Algebra = SUM
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the forward pass.

        Args:
            start: (B, S) or (S) log p_1.
            algebra: SUM or MAX.

        Returns:
            log p before each token and after the last, (B, T + 1, S), and log c_t, (B, T), 0 where nothing is emitted.
        """
        step = algebra.make_step(tables.A)
        belief = start.expand(len(reading.emitted), -1)
        beliefs, gains = [belief], []
        for t in range(reading.emitted.shape[1]):
            joint = belief + reading.emissions[:, t]
            # The scale is taken out at each word, so that nothing underflows however long the text is.
            gain = algebra.total(joint)
            # Padding and bos say nothing: the belief stays. Behind the end of a document it is pi again.
            belief = torch.where(reading.emitted[:, t, None], step(joint - gain), belief)
            belief = torch.where(reading.ends[:, t, None], tables.pi, belief)
            beliefs.append(belief)
            gains.append(gain)
        return torch.stack(beliefs, 1), torch.cat(gains, 1).masked_fill(~reading.emitted, 0.0)

    def backward_pass(self, reading: Reading, tables: LogTables, algebra: Algebra = SUM) -> torch.Tensor:
        """Return log beta_t, (B, T, S), up to a constant for each t."""
        step = algebra.make_step(tables.A.t())
        beta = torch.zeros_like(reading.emissions[:, 0])
        betas = [beta]
        for t in range(reading.emitted.shape[1] - 1, 0, -1):
            # A constant may be taken out of beta at each step, for the marginals are normalised at the end.
            ahead = reading.emissions[:, t] + beta
            beta = torch.where(reading.emitted[:, t, None], step(ahead - algebra.total(ahead)), beta)
            # Before the end of a document nothing is known of what follows it.
            beta = beta.masked_fill(reading.ends[:, t - 1, None], 0.0)
            betas.append(beta)
        return torch.stack(betas[::-1], 1)

    def marginals(self, reading: Reading, tables: LogTables, algebra: Algebra = SUM) -> torch.Tensor:
        """Combine both passes: one number for each token and state, (B, T, S), 0 where nothing is emitted.

        Returns:
            With SUM log gamma_t; with MAX the log-probability of the best path through each state, less that of the
            best path of all.
        """
        beliefs, _ = self(reading, tables, tables.pi, algebra)
        both = beliefs[:, :-1] + reading.emissions + self.backward_pass(reading, tables, algebra)
        return (both - algebra.total(both)).masked_fill(~reading.emitted[..., None], 0.0)

    def best_paths(self, reading: Reading, tables: LogTables) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the most probable states (B, T), -100 where there are none, and log P of them with the words, (B)."""
        beliefs, gains = self(reading, tables, tables.pi, MAX)
        delta = beliefs[:, :-1] + reading.emissions  # (B, T, S)
        link, path = torch.zeros_like(delta[:, 0]), []  # log A of going on to the state chosen one word later
        for t in range(delta.shape[1] - 1, -1, -1):
            link = link.masked_fill(reading.ends[:, t, None], 0.0)
            state = (delta[:, t] + link).argmax(-1)
            link = torch.where(reading.emitted[:, t, None], tables.A.t()[state], link)
            path.append(state)
        return torch.stack(path[::-1], 1).masked_fill(~reading.emitted, IGNORED), gains.sum(1)


__all__ = ["MAX", "SUM", "HiddenMarkov", "LogTables", "Reading", "product"]
