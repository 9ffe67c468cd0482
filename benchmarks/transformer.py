"""Training of a small GPT: hfseq, the model that nanoGPT publishes, and transformers' GPT2LMHeadModel.

    python benchmarks/transformer.py

nanoGPT is no package: `PlainGPT` below is written anew from its dimensions, on its fast path (one product for queries,
keys and values, torch's fused attention, exact GELU, no bias, output weights tied to the embeddings), and leaner than
the original, without modules for dropout that drop nothing. It takes part twice: with the optimiser that nanoGPT
chooses on a CPU, AdamW that is not fused, and with the fused one that all the others have here. GPT-2 has the same
sizes, fused attention, no dropout and the biases that it always has. It too takes part twice: as its config makes it,
which is with an approximate GELU and a cache, and with the exact GELU and no cache.

All begin with the same weights, must give the same loss, and learn the same random tokens: forward, backward,
gradients clipped to norm 1, and AdamW with the same settings. Ours runs through its public forward. In bfloat16, which
is autocast, it is compared with the peers in float32, as they train on a CPU, and with the peers under the same
autocast. This needs a processor that multiplies bfloat16 (avx512_bf16 or AMX; results tell which): elsewhere these
rows are left out.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from measure import median_ratio, take_turns, write_result
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from hfseq import TransformerConfig, TransformerForCausalLM

VOCABULARY = 65  # characters of tiny Shakespeare
LEARNING_RATE, BETAS, WEIGHT_DECAY, MAX_GRAD_NORM = 1e-3, (0.9, 0.99), 0.1, 1.0
OURS, NANOGPT, PLAIN = "hfseq", "nanoGPT's shape and optimiser", "nanoGPT's shape, fused AdamW"
GPT2, LEAN = "GPT2LMHeadModel", "GPT2LMHeadModel, exact GELU, no cache"
GOALS = {NANOGPT: 1.0, PLAIN: 1.0, GPT2: 1.2, LEAN: 1.2}  # in float32, and with both sides under autocast
BFLOAT16_GOALS = {NANOGPT: 1.5, PLAIN: 1.5, GPT2: 1.2, LEAN: 1.2}  # against float32


@dataclass(frozen=True)
class Size:
    """A model and what it reads at once.

    Attributes:
        layers: Number of layers.
        heads: Attention heads of a layer.
        width: Numbers of a hidden state.
        tokens: T, of each text.
        batch: B, texts of an update.
        updates: Updates of a turn.
    """

    layers: int
    heads: int
    width: int
    tokens: int
    batch: int
    updates: int

    def __str__(self) -> str:
        return f"{self.layers} x {self.width}, {self.batch} texts of {self.tokens} tokens"


SIZES = [
    Size(layers=4, heads=4, width=128, tokens=64, batch=12, updates=5),
    Size(layers=6, heads=6, width=384, tokens=256, batch=4, updates=1),
]


class PlainBlock(nn.Module):
    """Attention and feed-forward network, each on what its norm gives."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width, self.heads = size.width, size.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.c_attn, self.attn_proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.c_fc, self.mlp_proj = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Attend from each token to those up to it: (B, T, D) -> (B, T, D)."""
        batch, steps, width = x.shape
        query, key, value = (
            part.view(batch, steps, self.heads, width // self.heads).transpose(1, 2)
            for part in self.c_attn(x).split(width, dim=2)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.attn_proj(mixed.transpose(1, 2).contiguous().view(batch, steps, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block: (B, T, D) -> (B, T, D)."""
        x = x + self.attend(self.ln_1(x))
        return x + self.mlp_proj(nn.functional.gelu(self.c_fc(self.ln_2(x))))


class PlainGPT(nn.Module):
    """The peer: nanoGPT's shape, in as few lines as torch allows."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, size.width), nn.Embedding(size.tokens, size.width)
        self.blocks = nn.ModuleList(PlainBlock(size) for _ in range(size.layers))
        self.ln_f = nn.LayerNorm(size.width, bias=False)
        self.lm_head = nn.Linear(size.width, VOCABULARY, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of (B, T) tokens and the tokens after them."""
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return nn.functional.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


def ours(size: Size) -> TransformerForCausalLM:
    """Make the same model from a configuration."""
    return TransformerForCausalLM(
        TransformerConfig(
            vocab_size=VOCABULARY,
            hidden_size=size.width,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            max_position_embeddings=size.tokens,
            position_embedding_type="learned",
            scale_embedding=False,
            bias=False,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            pad_token_id=None,
            initializer_range=0.02,
        )
    )


@torch.no_grad()
def plain_twin(model: TransformerForCausalLM, size: Size) -> PlainGPT:
    """Make a model of the peer's shape with the weights of ours."""
    twin = PlainGPT(size)
    body: Any = model.model
    blocks: Any = twin.blocks
    twin.wte.load_state_dict(body.embed_tokens.state_dict())
    twin.wpe.load_state_dict(body.embed_positions.state_dict())
    twin.ln_f.load_state_dict(body.norm.state_dict())
    for block, layer in zip(blocks, body.layers, strict=True):
        attention, feed_forward = layer.self_attention, layer.feed_forward
        inward = [product.weight for product in (attention.q_proj, attention.k_proj, attention.v_proj)]
        block.c_attn.weight.copy_(torch.cat(inward))
        block.attn_proj.load_state_dict(attention.o_proj.state_dict())
        block.c_fc.load_state_dict(feed_forward.up_proj.state_dict())
        block.mlp_proj.load_state_dict(feed_forward.down_proj.state_dict())
        block.ln_1.load_state_dict(layer.self_attention_norm.state_dict())
        block.ln_2.load_state_dict(layer.feed_forward_norm.state_dict())
    return twin


@torch.no_grad()
def gpt2_twin(plain: PlainGPT, size: Size, **options: Any) -> GPT2LMHeadModel:
    """Make a GPT-2 with nanoGPT's weights; its products are stored the other way round, its biases are zero."""
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=size.tokens,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        **options,
    )
    twin = GPT2LMHeadModel(config)
    body: Any = twin.transformer
    blocks: Any = plain.blocks
    for name in ("wte", "wpe", "ln_f"):
        getattr(body, name).weight.copy_(getattr(plain, name).weight)
    for block, own in zip(body.h, blocks, strict=True):
        block.ln_1.weight.copy_(own.ln_1.weight)
        block.ln_2.weight.copy_(own.ln_2.weight)
        block.attn.c_attn.weight.copy_(own.c_attn.weight.t())
        block.attn.c_proj.weight.copy_(own.attn_proj.weight.t())
        block.mlp.c_fc.weight.copy_(own.c_fc.weight.t())
        block.mlp.c_proj.weight.copy_(own.mlp_proj.weight.t())
    return twin


Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def gpt2_loss(model: GPT2LMHeadModel) -> Loss:
    """Return GPT-2's loss for targets that are shifted already."""
    return lambda ids, targets: model(ids, labels=targets, shift_labels=targets).loss


def models(size: Size) -> dict[str, tuple[nn.Module, Loss]]:
    """Make the rivals, all with the same weights; each turns tokens and the tokens after them into a loss."""
    model = ours(size)
    nanogpt, plain = plain_twin(model, size), plain_twin(model, size)
    gpt2, lean = gpt2_twin(plain, size), gpt2_twin(plain, size, activation_function="gelu", use_cache=False)
    return {
        OURS: (model, lambda ids, targets: model(ids, shift_labels=targets).loss),
        NANOGPT: (nanogpt, nanogpt),
        PLAIN: (plain, plain),
        GPT2: (gpt2, gpt2_loss(gpt2)),
        LEAN: (lean, gpt2_loss(lean)),
    }


class Training:
    """One rival's training.

    Args:
        model: What is trained.
        loss: Turns tokens and the tokens after them into a loss.
        size: Gives the shape of its batches.
        is_bfloat16: Whether autocast makes products of bfloat16.
        is_fused: Whether one kernel does all of AdamW.
    """

    def __init__(self, model: nn.Module, loss: Loss, size: Size, *, is_bfloat16: bool, is_fused: bool) -> None:
        self.model, self.loss, self.size, self.is_bfloat16 = model.train(), loss, size, is_bfloat16
        weights = list(model.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": WEIGHT_DECAY},
            {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, fused=is_fused)
        self.random = torch.Generator().manual_seed(0)

    def batch_loss(self) -> torch.Tensor:
        """Return the loss of the next batch."""
        shape = (self.size.batch, self.size.tokens + 1)
        text = torch.randint(VOCABULARY, shape, generator=self.random)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_bfloat16):
            return self.loss(text[:, :-1].contiguous(), text[:, 1:].contiguous())

    def turn(self) -> None:
        """Do as many updates as a turn has."""
        for _ in range(self.size.updates):
            self.batch_loss().backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


def trainings(size: Size, *, is_bfloat16: bool) -> dict[str, Training]:
    """Make the training of every rival, and check that they do the same work: their losses are equal."""
    rivals = {
        name: Training(model, loss, size, is_bfloat16=is_bfloat16, is_fused=name != NANOGPT)
        for name, (model, loss) in models(size).items()
    }
    losses = {name: rival.batch_loss().item() for name, rival in rivals.items()}
    tolerance = 1e-2 if is_bfloat16 else 1e-4
    assert max(losses.values()) - min(losses.values()) < tolerance, f"the rivals must compute the same: {losses}"
    return rivals


def multiplies_bfloat16() -> str | None:
    """Name the instructions that multiply bfloat16 on this processor; None without any."""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "avx512_bf16" if torch.cpu._is_avx512_bf16_supported() else None


def measure(size: Size, rounds: int = 20) -> list[dict[str, Any]]:
    """Measure ours against both peers, in both precisions."""
    full, half = "float32", f"bfloat16 ({multiplies_bfloat16()})"
    precisions = {full: False} if multiplies_bfloat16() is None else {full: False, half: True}
    rivals = {
        (name, precision): training
        for precision, is_bfloat16 in precisions.items()
        for name, training in trainings(size, is_bfloat16=is_bfloat16).items()
    }
    taken = take_turns({" ".join(key): rival.turn for key, rival in rivals.items()}, rounds)
    seconds = dict(zip(rivals, taken.values(), strict=True))

    def row(peer: str, own: str, theirs: str, goal: float) -> dict[str, Any]:
        tokens = size.batch * size.tokens * size.updates
        return {
            "claim": f"GPT {size}: training in {own}, peer in {theirs}",
            "peer": peer,
            "goal": goal,
            "ratio": round(median_ratio(seconds[peer, theirs], seconds[OURS, own]), 2),
            "tokens_per_cpu_second": round(tokens / statistics.median(seconds[OURS, own])),
            "peer_tokens_per_cpu_second": round(tokens / statistics.median(seconds[peer, theirs])),
        }

    rows = [row(peer, full, full, goal) for peer, goal in GOALS.items()]
    if half in precisions:
        rows += [row(peer, half, full, goal) for peer, goal in BFLOAT16_GOALS.items()]
        rows += [row(peer, half, half, goal) for peer, goal in GOALS.items()]
    return rows


def main() -> None:
    """Measure both sizes."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = [row for size in SIZES for row in measure(size)]
    write_result("transformer", command="python benchmarks/transformer.py", peer="named in each row", rows=rows)


if __name__ == "__main__":
    main()
