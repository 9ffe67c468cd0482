"""Translation by an LSTM with attention: training and beam search, against the same model in plain torch.

    python benchmarks/translation.py

The peer is what one writes around nn.LSTM: packed sources, a masked softmax, nn.CrossEntropyLoss over all logits; with
input feeding a loop over nn.LSTMCell. It holds our weights, and its loss and its best beams are ours. Sources and
targets are random ids whose lengths are those of image captions (8 to 20 tokens), the vocabulary has 8,000 tokens; 32
pairs are a batch of training. An update is forward, backward, clipping and AdamW.

In beam search (5 beams, every translation has 20 tokens) the peer keeps its state, reads the source once, and takes
one sentence at a time, as those decoders do; ours takes one, or 16 at once. A third rival is our model without its
cache, also for translations of 60 tokens: what a cache saves grows with the text.

More than half of an update of ours is the products with the output weights, which the peer has as well.
"""

import copy
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from measure import median_ratio, take_turns, write_result
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hfseq import Seq2SeqConfig, Seq2SeqForConditionalGeneration, to_torch

VOCABULARY, WIDTH, ROWS, BATCHES = 8_000, 256, 32, 8
SHORTEST, LONGEST = 8, 20
PAD, START, END = 0, 1, 2
BEAMS, WRITTEN, LONG = 5, 20, 60
TRAINING_GOAL, DECODING_GOAL = 2.0, 3.0


def our_model(attention: Any, *, input_feeding: bool = False) -> Seq2SeqForConditionalGeneration:
    """Build ours: one bidirectional layer reads, one layer writes, no dropout."""
    torch.manual_seed(0)
    config = Seq2SeqConfig(
        vocab_size=VOCABULARY,
        embedding_size=WIDTH,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        cell="lstm",
        attention=attention,
        input_feeding=input_feeding,
        hidden_dropout=0.0,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
    )
    return Seq2SeqForConditionalGeneration(config)


Batch = dict[str, torch.Tensor]


def batches(count: int, rows: int) -> list[Batch]:
    """Draw padded pairs."""
    draws = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        lengths = torch.randint(SHORTEST, LONGEST + 1, (2, rows), generator=draws)
        ids = [torch.randint(3, VOCABULARY, (rows, int(own.max())), generator=draws) for own in lengths]
        real = [torch.arange(each.shape[1]) < own[:, None] for each, own in zip(ids, lengths, strict=True)]
        made.append(
            {
                "input_ids": ids[0].masked_fill(~real[0], PAD),
                "attention_mask": real[0].long(),
                "labels": ids[1].masked_fill(~real[1], -100),
            }
        )
    return made


class PlainTranslator(nn.Module):
    """The peer: nn.LSTM, an attention and masks, as one writes them."""

    def __init__(self, attention: str, *, input_feeding: bool) -> None:
        super().__init__()
        self.kind, self.input_feeding = attention, input_feeding
        self.embedding = nn.Embedding(VOCABULARY, WIDTH, PAD)
        self.encoder = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.bridge = nn.ModuleList([nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)])
        if input_feeding:
            self.cell = nn.LSTMCell(2 * WIDTH, WIDTH)
        else:
            self.decoder = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.key = nn.Linear(WIDTH, WIDTH, bias=attention == "additive")
        if attention == "additive":
            self.query, self.score = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, 1, bias=False)
        self.combine = nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, VOCABULARY)
        self.loss = nn.CrossEntropyLoss(ignore_index=-100)

    def read(
        self, input_ids: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Return the memory, its keys, and the decoder's first h and c."""
        packed = pack_padded_sequence(self.embedding(input_ids), mask.sum(1), batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(outputs, batch_first=True, total_length=input_ids.shape[1])
        states = [torch.tanh(own(torch.cat((z[0], z[1]), 1))) for own, z in zip(self.bridge, last, strict=True)]
        return memory, self.key(memory), states

    def attend(
        self, hidden: torch.Tensor, memory: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return what W_out reads, (rows, steps, width)."""
        if self.kind == "additive":
            scores = self.score(torch.tanh(self.query(hidden)[:, :, None] + keys[:, None])).squeeze(-1)
        else:
            scores = hidden @ keys.transpose(1, 2)
        weights = scores.masked_fill(mask[:, None] == 0, float("-inf")).softmax(-1)
        return torch.tanh(self.combine(torch.cat((weights @ memory, hidden), -1)))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        memory, keys, (h, c) = self.read(input_ids, attention_mask)
        start = labels.new_full((len(labels), 1), START)
        written = self.embedding(torch.cat((start, labels[:, :-1].clamp(min=PAD)), 1))
        if not self.input_feeding:
            hidden, _ = self.decoder(written, (h[None], c[None]))
            outputs = self.attend(hidden, memory, keys, attention_mask)
        else:
            fed, steps = torch.zeros_like(h), []
            for now in written.unbind(1):
                h, c = self.cell(torch.cat((now, fed), 1), (h, c))
                fed = self.attend(h[:, None], memory, keys, attention_mask)[:, 0]
                steps.append(fed)
            outputs = torch.stack(steps, 1)
        return self.loss(self.output(outputs).flatten(0, 1), labels.flatten())

    @torch.no_grad()
    def beam_search(self, input_ids: torch.Tensor) -> list[int]:
        """Write one sentence of WRITTEN tokens with BEAMS beams; nothing but the end may not be written."""
        mask = torch.ones_like(input_ids)
        memory, keys, (h, c) = self.read(input_ids, mask)
        memory, keys, mask, h, c = (each.expand(BEAMS, *each.shape[1:]) for each in (memory, keys, mask, h, c))
        written, tokens = torch.full((BEAMS, 1), START), torch.full((BEAMS, 1), START)
        totals = torch.tensor([0.0, *[float("-inf")] * (BEAMS - 1)])
        for _ in range(WRITTEN):
            hidden, (h2, c2) = self.decoder(self.embedding(tokens), (h[None].contiguous(), c[None].contiguous()))
            scores = self.output(self.attend(hidden, memory, keys, mask)[:, 0]).log_softmax(-1)
            scores[:, END] = float("-inf")
            totals, places = (totals[:, None] + scores).flatten().topk(BEAMS)
            rows, tokens = places // VOCABULARY, (places % VOCABULARY)[:, None]
            h, c, written = h2[0][rows], c2[0][rows], torch.cat((written[rows], tokens), 1)
        return written[0, 1:].tolist()


def plain_twin(model: Seq2SeqForConditionalGeneration) -> PlainTranslator:
    """Build the peer with our weights."""
    config, body = model.config, cast(Any, model.model)
    twin: Any = PlainTranslator(config.attention, input_feeding=config.input_feeding)
    decoder, attention = body.decoder, body.decoder.attention
    twin.embedding, twin.output = copy.deepcopy(body.encoder.embed_tokens), copy.deepcopy(model.lm_head)
    twin.encoder = to_torch(body.encoder.layers)
    twin.bridge, twin.combine = copy.deepcopy(decoder.bridge.projections), copy.deepcopy(decoder.combine)
    twin.key = copy.deepcopy(attention.key)
    if config.attention == "additive":
        twin.query, twin.score = copy.deepcopy(attention.query), copy.deepcopy(attention.score)
    loop, suffix = decoder.layers[0], "" if config.input_feeding else "_l0"
    cell = twin.cell if config.input_feeding else twin.decoder
    values = {"weight_ih": loop.weight_ih, "weight_hh": loop.weight_hh, "bias_ih": loop.bias}
    with torch.no_grad():
        for name, value in values.items():
            getattr(cell, name + suffix).copy_(value)
        getattr(cell, f"bias_hh{suffix}").zero_()
    return twin


def updates(model: nn.Module, loss_of: Callable[[Batch], torch.Tensor], data: list[Batch]) -> Callable[[], None]:
    """Return one unit of work: an update on each batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def work() -> None:
        for batch in data:
            optimizer.zero_grad()
            loss_of(batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return work


def our_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Take ours as our trainer does: no table of logits."""
    return cast(torch.Tensor, model(**batch, logits_to_keep=1).loss)


def their_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Take theirs."""
    return cast(torch.Tensor, model(**batch))


def training_rows() -> list[dict[str, Any]]:
    """Compare training, target tokens per CPU second, for each kind of decoder."""
    data, rows = batches(BATCHES, ROWS), []
    tokens = sum(int((batch["labels"] != -100).sum()) for batch in data)
    kinds = {
        "general": ("general", False),
        "additive": ("additive", False),
        "additive, input feeding": ("additive", True),
    }
    for name, (attention, input_feeding) in kinds.items():
        ours = our_model(attention, input_feeding=input_feeding).train()
        twin = plain_twin(ours)
        torch.testing.assert_close(ours(**data[0], logits_to_keep=1).loss, twin(**data[0]), rtol=1e-4, atol=1e-4)
        taken = take_turns(
            {
                "ours": updates(ours, partial(our_loss, ours), data),
                "peer": updates(twin, partial(their_loss, twin), data),
            }
        )
        rows.append(
            {
                "claim": f"Training an LSTM with {name} attention",
                "goal": TRAINING_GOAL,
                "ratio": round(median_ratio(taken["peer"], taken["ours"]), 2),
                "target_tokens_per_cpu_second": round(tokens / statistics.median(taken["ours"])),
                "peer_target_tokens_per_cpu_second": round(tokens / statistics.median(taken["peer"])),
            }
        )
    return rows


def decoding_rows() -> list[dict[str, Any]]:
    """Compare beam search, sentences per CPU second."""
    model = our_model("general").eval()
    twin = plain_twin(model).eval()
    draws = torch.Generator().manual_seed(1)
    sources = torch.randint(3, VOCABULARY, (16, 14), generator=draws)

    def ours(rows: int, tokens: int = WRITTEN, **more: Any) -> torch.Tensor:
        options = {"num_beams": BEAMS, "min_new_tokens": tokens, "max_new_tokens": tokens, "do_sample": False}
        return torch.cat([model.generate(part, **options, **more)[:, 1:] for part in sources.split(rows)])

    def peer() -> torch.Tensor:
        return torch.tensor([twin.beam_search(source[None]) for source in sources])

    assert torch.equal(ours(16), peer()), "the best beams differ"
    rivals = {
        "one": partial(ours, 1),
        "16": partial(ours, 16),
        "no cache": partial(ours, 16, use_cache=False),
        "long": partial(ours, 16, LONG),
        "long, no cache": partial(ours, 16, LONG, use_cache=False),
        "peer": peer,
    }
    taken = take_turns(rivals, rounds=7)
    compared = [
        ("16 at once, against our model without its cache", "16", "no cache"),
        (f"16 at once, {LONG} tokens, against our model without its cache", "long", "long, no cache"),
        ("16 at once, against the plain decoder", "16", "peer"),
        ("one at a time, against the plain decoder", "one", "peer"),
    ]
    return [
        {
            "claim": f"Beam search of {BEAMS}, {what}",
            "goal": DECODING_GOAL,
            "ratio": round(median_ratio(taken[theirs], taken[own]), 2),
            "sentences_per_cpu_second": round(len(sources) / statistics.median(taken[own]), 1),
            "peer_sentences_per_cpu_second": round(len(sources) / statistics.median(taken[theirs]), 1),
        }
        for what, own, theirs in compared
    ]


def main() -> None:
    """Measure both, and keep the result."""
    torch.set_num_threads(1)
    rows = [*training_rows(), *decoding_rows()]
    write_result("translation", command="python benchmarks/translation.py", peer="plain torch, nn.LSTM", rows=rows)


if __name__ == "__main__":
    main()
