"""generate() with our models against generate() with nn.LSTM: the same weights, the same greedy tokens.

    python benchmarks/generation.py

A language model of characters (vocabulary 96, two layers, embeddings as wide as the layers) continues a prompt of one
token. The peer is the shortest PreTrainedModel with GenerationMixin around nn.Embedding, nn.LSTM and nn.Linear; both
sides run under the same GenerationMixin, whose own cost a step is part of every number except those of
`fused_generate`. One row at a time the bound is memory: each step reads every weight once, at 512 units 17 MB, or
13 MB where the embeddings are folded into the first layer's gates.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from measure import ratios, write_result
from torch import nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from hfseq import LSTMConfig, LSTMForCausalLM, to_torch
from hfseq.generation.fused import fused_generate

PEER = "nn.LSTM inside generate()"
VOCABULARY = 96
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 0},
    "top-k 50, top-p 0.95, temperature 0.8": {"do_sample": True, "top_k": 50, "top_p": 0.95, "temperature": 0.8},
    "4 beams": {"do_sample": False, "num_beams": 4},
}
# (width, rows, kind) -> goals of generate() and of fused_generate
GOALS = {(512, 1, "greedy"): (5.0, 12.0), (256, 1, "greedy"): (2.8, 9.7), (256, 1, "sampling"): (2.7, 10.9)}
GOALS |= {(512, 1, "sampling"): (5.0, 12.0), (512, 16, "greedy"): (4.4, 1.0), (256, 1, "4 beams"): (1.6, 1.0)}


class PeerConfig(PreTrainedConfig):
    """Sizes only."""

    model_type = "benchmark_lstm"

    def __init__(self, width: int = 8, **kwargs: Any) -> None:
        self.width, self.vocab_size, self.num_hidden_layers = width, VOCABULARY, 2
        super().__init__(**kwargs)


class PeerState:
    """What nn.LSTM returns, under the names by which GenerationMixin asks for it."""

    is_compileable = False

    def __init__(self) -> None:
        self.states: tuple[torch.Tensor, torch.Tensor] | None = None
        self.length = 0

    def get_seq_length(self) -> int:
        """Return how many tokens were read."""
        return self.length

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Put the rows into the order of the beams."""
        assert self.states is not None
        hidden, cell = (state.index_select(1, beam_idx) for state in self.states)
        self.states = hidden, cell


@dataclass
class PeerOutput(ModelOutput):
    """What GenerationMixin reads."""

    logits: torch.Tensor | None = None
    past_key_values: Any = None


class Peer(PreTrainedModel, GenerationMixin):
    """What one writes around nn.LSTM to call generate()."""

    config_class = PeerConfig
    main_input_name = "input_ids"

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(VOCABULARY, config.width)
        self.lstm = nn.LSTM(config.width, config.width, 2, batch_first=True)
        self.head = nn.Linear(config.width, VOCABULARY)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        pass  # they come from ours

    def _prepare_cache_for_generation(  # type: ignore[override]
        self, generation_config: Any, model_kwargs: Any, *args: Any, **kwargs: Any
    ) -> None:
        model_kwargs["past_key_values"] = PeerState()

    def prepare_inputs_for_generation(self, input_ids: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Pass the tokens that were not read yet."""
        state: PeerState = kwargs["past_key_values"]
        return {"input_ids": input_ids[:, state.length :], "past_key_values": state}

    def forward(
        self, input_ids: torch.Tensor, past_key_values: PeerState, attention_mask: None = None, **kwargs: Any
    ) -> PeerOutput:
        """Read one token or the prompt, without padding."""
        outputs, past_key_values.states = self.lstm(self.embedding(input_ids), past_key_values.states)
        past_key_values.length += input_ids.shape[1]
        return PeerOutput(logits=self.head(outputs[:, -1:]), past_key_values=past_key_values)


def models(width: int) -> tuple[Any, Any]:
    """Make ours, and the peer with the same weights."""
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "embedding_size": width,
        "hidden_size": width,
        "num_hidden_layers": 2,
    }
    ours, peer = LSTMForCausalLM(LSTMConfig(**sizes)).eval(), Peer(PeerConfig(width)).eval()
    peer.lstm = to_torch(ours.model.layers)
    peer.embedding.load_state_dict(ours.model.embed_tokens.state_dict())
    peer.head.load_state_dict(ours.lm_head.state_dict())
    return ours, peer


def measure(width: int, rows: int, kind: str, steps: int = 100) -> list[dict[str, Any]]:
    """Measure both of ours against the peer."""
    ours, peer = models(width)
    input_ids = torch.randint(1, VOCABULARY, (rows, 1))
    options: dict[str, Any] = {
        "attention_mask": torch.ones_like(input_ids),
        "max_new_tokens": steps,
        "pad_token_id": 0,
    }
    options |= KINDS[kind]
    rivals = {
        PEER: partial(peer.generate, input_ids, **options),
        "generate()": partial(ours.generate, input_ids, **options),
    }
    if "num_beams" not in options:
        rivals["fused_generate"] = partial(rivals["generate()"], custom_generate=fused_generate)
    if kind == "greedy":
        texts = [work() for work in rivals.values()]
        assert all(torch.equal(texts[0], text) for text in texts), "the rivals must write the same tokens"
    found = ratios(rivals, PEER, rounds=7)
    goals = dict(zip(("generate()", "fused_generate"), GOALS.get((width, rows, kind), (1.0, 1.0)), strict=True))
    return [
        {"claim": f"{name}, LSTM 2 x {width}, batch {rows}, {kind}", "goal": goal, "ratio": round(found[name], 2)}
        for name, goal in goals.items()
        if name in found
    ]


def main() -> None:
    """Measure all of it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cases = [(width, 1, kind) for width in (512, 256) for kind in KINDS]
    cases += [(512, rows, "greedy") for rows in (16, 32)]
    rows = [row for case in cases for row in measure(*case)]
    write_result("generation", command="python benchmarks/generation.py", peer=PEER, rows=rows)


if __name__ == "__main__":
    main()
