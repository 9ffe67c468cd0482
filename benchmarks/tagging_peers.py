"""The peers of `tagging.py`: what one writes by hand around nn.LSTM, CRFsuite, and spaCy."""

import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hfseq.tasks.tagging.rivals import tag_by_crf, train_crf

Rows = Sequence[Sequence[str]]
SPACY_EPOCHS, SPACY_BATCH = 5, 32


class PlainCRF(nn.Module):
    """A linear-chain CRF as tutorials and pytorch-crf write it: the forward algorithm of a batch, step by step."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))
        self.start = nn.Parameter(torch.zeros(num_labels))
        self.end = nn.Parameter(torch.zeros(num_labels))

    def loss(self, emissions: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return -log P of the true rows, summed; (B, T, L), (B, T), (B, T) with real words first."""
        return (self._total(emissions, mask) - self._score(emissions, labels, mask)).sum()

    def _score(self, emissions: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        own = emissions.gather(2, labels[..., None])[..., 0] * mask
        steps = self.transitions[labels[:, :-1], labels[:, 1:]] * mask[:, 1:]
        last = labels.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
        return own.sum(1) + steps.sum(1) + self.start[labels[:, 0]] + self.end[last]

    def _total(self, emissions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        alpha = self.start + emissions[:, 0]
        for step in range(1, emissions.shape[1]):
            following = torch.logsumexp(alpha[:, :, None] + self.transitions, dim=1) + emissions[:, step]
            alpha = torch.where(mask[:, step, None], following, alpha)
        return torch.logsumexp(alpha + self.end, dim=1)

    def decode(self, emissions: torch.Tensor, mask: torch.Tensor) -> list[list[int]]:
        """Return the likeliest row of labels of each text (Viterbi)."""
        score, back = self.start + emissions[:, 0], []
        for step in range(1, emissions.shape[1]):
            best, before = (score[:, :, None] + self.transitions).max(dim=1)
            score = torch.where(mask[:, step, None], best + emissions[:, step], score)
            back.append(before)
        rows = []
        for text, length in enumerate(mask.sum(1).tolist()):
            row = [int((score[text] + self.end).argmax())]
            for before in reversed(back[: length - 1]):
                row.append(int(before[text, row[-1]]))
            rows.append(row[::-1])
        return rows


class PackedTagger(nn.Module):
    """A tagger as one writes it around nn.LSTM; packed, since its backward direction would read padding first."""

    def __init__(self, vocab_size: int, width: int, num_labels: int, dropout: float, *, with_crf: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * width, num_labels)
        self.crf = PlainCRF(num_labels) if with_crf else None

    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return logits (B, T, L)."""
        embedded = self.dropout(self.embedding(input_ids))
        packed = pack_padded_sequence(embedded, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.classifier(self.dropout(output))

    def loss(self, input_ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a word."""
        logits = self(input_ids, mask)
        if self.crf is None:
            return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        return self.crf.loss(logits, labels.clamp(min=0), mask) / mask.sum()

    def best(self, input_ids: torch.Tensor, mask: torch.Tensor) -> list[list[int]]:
        """Return the label of each word."""
        logits = self(input_ids, mask)
        if self.crf is not None:
            return self.crf.decode(logits, mask)
        rows = zip(logits.argmax(-1).tolist(), mask.sum(1).tolist(), strict=True)
        return [row[:length] for row, length in rows]


class Peer(NamedTuple):
    """A tagger that was trained on the same rows."""

    tag: Callable[[Rows], Rows]
    seconds: float  # of the whole training, in CPU time


def crfsuite(words: Rows, tags: Rows) -> Peer | None:
    """Train CRFsuite with the features that taggers had before networks; None where it is not installed."""
    if find_spec("pycrfsuite") is None:
        print("python-crfsuite is not installed (pip install python-crfsuite): its rows are left out.")
        return None
    path = str(Path(tempfile.mkdtemp()) / "crf")
    started = time.process_time()
    train_crf(words, tags, path)
    return Peer(lambda asked: tag_by_crf(path, asked), time.process_time() - started)


def spacy_tagger(words: Rows, tags: Rows, seed: int) -> Peer | None:
    """Train spaCy's tagger on a blank pipeline; None where it is not installed."""
    try:
        import spacy
        from spacy.tokens import Doc
        from spacy.training import Example
        from spacy.util import fix_random_seed, minibatch
    except ImportError:
        print("spaCy is not installed (pip install spacy): its row is left out.")
        return None

    fix_random_seed(seed)
    blank = spacy.blank("en")
    blank.add_pipe("tagger")
    rows = [
        Example.from_dict(Doc(blank.vocab, words=list(text)), {"tags": list(row)})
        for text, row in zip(words, tags, strict=True)
    ]
    started = time.process_time()
    optimizer = blank.initialize(lambda: rows)
    for _ in range(SPACY_EPOCHS):
        for batch in minibatch(rows, SPACY_BATCH):
            blank.update(batch, sgd=optimizer, drop=0.1)
    seconds = time.process_time() - started

    def tag(asked: Rows) -> Rows:
        texts = [Doc(blank.vocab, words=list(text)) for text in asked]
        return [[word.tag_ for word in text] for text in blank.pipe(texts, batch_size=32)]

    return Peer(tag, seconds)
