"""Tokens a second against plain torch, which is cuDNN on a GPU: the same weights, the same numbers, in turns.

    HFSEQ_TEST_DEVICE=cuda python -m tests.gpu.speed rows.json

The peer is what one writes with `nn.LSTM` and its kin: an embedding, two layers, a linear layer; in training with
cross-entropy over all tokens, and for text a loop that takes the likeliest token. Ours is the language model of
hfseq with these weights, and `generate()`, whose own cost a step is part of its number.
"""

import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.benchmark import Timer

from hfseq import GRUConfig, GRUForCausalLM, LSTMConfig, LSTMForCausalLM, RNNConfig, RNNForCausalLM, to_torch
from tests.closeness import assert_same
from tests.devices import DEVICE, without_tf32

FAMILIES: dict[str, tuple[Any, Any]] = {
    "LSTM": (LSTMConfig, LSTMForCausalLM),
    "GRU": (GRUConfig, GRUForCausalLM),
    "RNN": (RNNConfig, RNNForCausalLM),
}
# width, vocabulary, (rows, steps) of a training batch, (rows, tokens) of a text, rounds: full, and to try the script
SIZES = {True: (512, 10_000, (64, 128), (16, 64), 5), False: (16, 50, (4, 8), (2, 8), 2)}


class Peer(nn.Module):
    """What one writes in plain torch."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        config = ours.config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.layers = to_torch(ours.model.layers)  # which read (texts, tokens, width)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.embedding.load_state_dict(ours.model.embed_tokens.state_dict())
        self.head.load_state_dict(ours.lm_head.state_dict())

    def forward(self, ids: torch.Tensor, states: Any = None) -> tuple[torch.Tensor, Any]:
        outputs, states = self.layers(self.embedding(ids), states)
        return self.head(outputs), states

    def loss(self, ids: torch.Tensor) -> torch.Tensor:
        logits = self(ids)[0][:, :-1]
        return nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    @torch.no_grad()
    def write(self, ids: torch.Tensor, count: int) -> torch.Tensor:
        """The likeliest tokens, each read from the state."""
        text, states = [ids], None
        for _ in range(count):
            logits, states = self(text[-1], states)
            text.append(logits[:, -1:].argmax(-1))
        return torch.cat(text, 1)


def learn(model: nn.Module, loss: Callable[[], torch.Tensor]) -> None:
    """One batch forward and backward."""
    model.zero_grad()
    loss().backward()


def measure(name: str) -> list[dict[str, Any]]:
    """One family in training and in generation."""
    width, vocab_size, (rows, steps), (texts, tokens), rounds = SIZES[DEVICE.type == "cuda"]
    config_class, model_class = FAMILIES[name]
    torch.manual_seed(0)
    sizes = {"vocab_size": vocab_size, "embedding_size": width, "hidden_size": width, "num_hidden_layers": 2}
    ours = model_class(config_class(**sizes, hidden_dropout=0.0, initializer_range=1.0))
    peer = Peer(ours).to(DEVICE)
    ours = ours.to(DEVICE)
    ids = torch.randint(1, vocab_size, (rows, steps)).to(DEVICE)
    assert_same(ours(ids, labels=ids).loss, peer.loss(ids))
    training = {
        "ours": partial(learn, ours, lambda: ours(ids, labels=ids, logits_to_keep=1).loss),
        "peer": partial(learn, peer, lambda: peer.loss(ids)),
    }
    what = f"{name} 2 x {width}, vocabulary {vocab_size}"
    found = [{"claim": f"training, {what}, batch {rows} x {steps}", **compare(training, rows * steps, rounds)}]
    ours, peer, prompt = ours.eval(), peer.eval(), ids[:texts, :1]
    options = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": tokens, "pad_token_id": 0}
    generation = {
        "ours": lambda: ours.generate(prompt, do_sample=False, **options),
        "peer": lambda: peer.write(prompt, tokens),
    }
    assert torch.equal(generation["ours"](), generation["peer"]()), f"{name}: not the same text"
    claim = f"generate(), {what}, {texts} texts of {tokens} tokens, greedy (peer: a loop of ten lines)"
    return [*found, {"claim": claim, **compare(generation, texts * tokens, rounds)}]


def compare(rivals: dict[str, Callable[[], Any]], tokens: int, rounds: int) -> dict[str, Any]:
    """Tokens a second of each, and ours by the peer's; each in turn, for a clock that drifts."""
    timers = {name: Timer("work()", globals={"work": work}) for name, work in rivals.items()}  # waits for the device
    taken: dict[str, list[float]] = {name: [] for name in timers}
    for number in range(rounds + 1):
        for name, timer in timers.items():
            seconds = timer.timeit(1).mean
            if number:  # the first one warms up
                taken[name].append(seconds)
    ours, peer = (statistics.median(taken[name]) for name in ("ours", "peer"))
    ratio = statistics.median(theirs / own for own, theirs in zip(taken["ours"], taken["peer"], strict=True))
    speeds = {"tokens_per_second": round(tokens / ours), "peer_tokens_per_second": round(tokens / peer)}
    return {"goal": 1.0, "ratio": round(ratio, 2), **speeds}


def main(path: str) -> None:
    """Measure all of it; the rows go into the file as they are known."""
    without_tf32()  # on both sides, so that they are the same numbers
    rows: list[dict[str, Any]] = []
    for name in FAMILIES:
        rows += measure(name)
        Path(path).write_text(json.dumps(rows), encoding="utf-8")
    print(f"{len(rows)} rows measured")


if __name__ == "__main__":
    main(*sys.argv[1:])
