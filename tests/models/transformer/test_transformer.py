"""What is special about the transformer: it equals torch's, GPT-2 and Llama, and it starts as documented."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from hfseq import (
    TransformerConfig,
    TransformerForCausalLM,
    TransformerForMaskedLM,
    TransformerForSequenceClassification,
    TransformerForTokenClassification,
    TransformerModel,
)
from hfseq.models.transformer.attention import positions_of, sinusoids
from tests.closeness import assert_same, difference
from tests.models.transformer.small_transformers import (
    IDS,
    IMPLEMENTATIONS,
    POSITIONS,
    SIDES,
    each,
    small,
    torch_stack,
    trained,
)
from tests.rounds import for_each

REAL = SIDES.bool()
GENERATION = {"attention_mask": SIDES[[0, 2]], "max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
PROMPTS = IDS[[0, 2]]  # the second is padded on the left

NORMS = {"norm_position": ["pre", "post"], "norm": ["layer_norm", "rms_norm"]}

every_implementation = pytest.mark.parametrize("attn_implementation", IMPLEMENTATIONS)
in_both_directions = for_each("bidirectional", [True, False])


# Oracles


@in_both_directions
@each(attn_implementation=IMPLEMENTATIONS, norm_position=["pre", "post"], hidden_act=["relu", "gelu"])
@for_each("bias", [True, False])
def test_outputs_and_gradients_equal_torch(bidirectional, bias, options):
    model = trained(TransformerModel, bidirectional=bidirectional, bias=bias, **options).double()
    reference = torch_stack(model).train()  # without dropout the same; in evaluation mode torch fuses the layers
    given = torch.randn(3, 7, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = model(inputs_embeds=given, attention_mask=SIDES).last_hidden_state
    words = given * 4 + sinusoids(positions_of(SIDES, 7, 0, given.device), 16)
    future = None if bidirectional else torch.ones(7, 7).triu(1).bool()
    if bidirectional:
        expected = reference(words, src_key_padding_mask=~REAL)
    else:  # torch makes NaN of a query that sees nothing, as one left of its text does
        rows = [reference(row[real][None], future[:length, :length]) for row, real, length in of_each(words)]
        expected = torch.zeros_like(words).masked_scatter(REAL[..., None], torch.cat(rows, dim=1)[0])
    assert_same(found[REAL], expected[REAL], 1e-12)
    assert not found[~REAL].any()
    targets = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad((out * targets)[REAL].sum(), given)[0] for out in (found, expected)]
    assert_same(*gradients, 1e-12)
    assert gradients[1].any()


def of_each(words):
    """Each text's vectors, which of them are real, and how many."""
    return [(row, real, int(real.sum())) for row, real in zip(words, REAL, strict=True)]


def gpt2(model):
    """GPT-2 with our weights; it multiplies from the other side, and its head has no bias."""
    reference = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=14, n_embd=16, n_layer=2, n_head=2, n_positions=32, activation_function="gelu",
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0), bos_token_id=2, eos_token_id=None,
        )
    ).eval()  # fmt: skip
    body, weights = model.model, {}
    weights["transformer.wte.weight"] = weights["lm_head.weight"] = body.embed_tokens.weight
    weights["transformer.wpe.weight"] = body.embed_positions.weight
    weights |= {f"transformer.ln_f.{kind}": value for kind, value in body.norm.named_parameters()}
    for number, layer in enumerate(body.layers):
        attention, forward = layer.self_attention, layer.feed_forward
        products = (attention.q_proj, attention.k_proj, attention.v_proj)
        name = f"transformer.h.{number}"
        weights[f"{name}.attn.c_attn.weight"] = torch.cat([product.weight for product in products]).T
        weights[f"{name}.attn.c_attn.bias"] = torch.cat([product.bias for product in products])
        parts = {"attn.c_proj": attention.o_proj, "mlp.c_fc": forward.up_proj, "mlp.c_proj": forward.down_proj}
        for part, product in parts.items():
            weights |= {f"{name}.{part}.weight": product.weight.T, f"{name}.{part}.bias": product.bias}
        for part, norm in {"ln_1": layer.self_attention_norm, "ln_2": layer.feed_forward_norm}.items():
            weights |= {f"{name}.{part}.{kind}": value for kind, value in norm.named_parameters()}
    reference.load_state_dict(weights)
    return reference


def llama(model):
    """Llama with our weights; its head has no bias."""
    reference = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=14, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
            rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=2, eos_token_id=None, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    names = {
        "self_attention_norm": "input_layernorm",
        "feed_forward_norm": "post_attention_layernorm",
        "self_attention": "self_attn",
        "feed_forward": "mlp",
    }
    weights = {}
    for name, value in model.state_dict().items():
        for mine, other in names.items():
            name = name.replace(f".{mine}.", f".{other}.")
        weights[name] = value
    del weights["lm_head.bias"]
    reference.load_state_dict(weights)
    return reference


GPT2 = {"position_embedding_type": "learned", "scale_embedding": False, "max_position_embeddings": 32}
LLAMA = {
    **{"position_embedding_type": "rotary", "norm": "rms_norm", "hidden_act": "swiglu", "intermediate_size": 20},
    **{"bias": False, "scale_embedding": False, "tie_word_embeddings": False},
}


@pytest.fixture(params=[(GPT2, gpt2), (LLAMA, llama)], ids=["gpt2", "llama"])
def twins(request):
    """A language model of ours and its counterpart with the same weights."""
    options, make_reference = request.param
    model = trained(TransformerForCausalLM, **options)
    model.lm_head.bias.data.zero_()
    return model, make_reference(model)


@torch.no_grad()
def test_logits_and_losses_equal_theirs(twins):
    model, reference = twins
    positions = positions_of(SIDES, 7, 0, IDS.device)  # theirs count padding in `forward`
    found = model(IDS, SIDES, labels=IDS.masked_fill(~REAL, -100))
    expected = reference(IDS, attention_mask=SIDES, position_ids=positions).logits
    assert_same(found.logits[REAL], expected[REAL])
    assert expected[REAL].abs().max() > 1
    ours, theirs = model(IDS, labels=IDS), reference(IDS, labels=IDS)
    assert_same(ours.loss, theirs.loss)
    ours, theirs = (twin(IDS, labels=IDS, num_items_in_batch=100).loss for twin in twins)
    assert_same(ours, theirs)


@torch.no_grad()
def test_token_by_token_equals_theirs_in_one_go(twins):
    model, reference = twins
    expected, cache = reference(IDS).logits, None
    for step in range(7):
        outputs = model(IDS[:, step : step + 1], past_key_values=cache, use_cache=True)
        cache = outputs.past_key_values
        assert_same(outputs.logits[:, 0], expected[:, step], what=step)


@pytest.mark.parametrize("beams", [1, 3])
def test_generated_texts_equal_theirs(twins, beams):
    found, expected = (twin.generate(PROMPTS, num_beams=beams, **GENERATION) for twin in twins)
    assert torch.equal(found, expected) and found.shape == (2, 13)
    assert len(set(found[:, 7:].flatten().tolist())) > 2


# What sees what


@each(attn_implementation=IMPLEMENTATIONS, position_embedding_type=POSITIONS, **NORMS)
@torch.no_grad()
def test_a_future_token_changes_no_past_logit(options):
    decoder, encoder = (trained(cls, **options) for cls in (TransformerForCausalLM, TransformerForMaskedLM))
    changed = IDS.clone()
    changed[:, 4] = IDS[:, 4] % 13 + 1
    found, logits = decoder(changed).logits, decoder(IDS).logits
    assert_same(found[:, :4], logits[:, :4])
    assert (found - logits).abs().amax((0, 2))[4:].min() > 1e-4
    assert (encoder(changed).logits - encoder(IDS).logits).abs().amax((0, 2)).min() > 1e-4


@in_both_directions
@each(position_embedding_type=POSITIONS, **NORMS)
@torch.no_grad()
def test_eager_equals_sdpa_and_shows_what_it_attends_to(bidirectional, options):
    model = trained(TransformerModel, bidirectional=bidirectional, **options)
    shown = {"attention_mask": SIDES, "output_attentions": True, "output_hidden_states": True}
    assert model.config._attn_implementation == "sdpa"
    plain, asked = model(IDS, SIDES), model(IDS, **shown)
    model.set_attn_implementation("eager")
    eager = model(IDS, **shown)
    assert plain.attentions is None and plain.hidden_states is None
    for outputs in (plain, asked):
        assert_same(outputs.last_hidden_state, eager.last_hidden_state)
    for outputs in (asked, eager):
        assert len(outputs.attentions) == 2 and len(outputs.hidden_states) == 3
        assert torch.equal(outputs.hidden_states[-1], outputs.last_hidden_state)
    allowed = REAL[:, None, None, :] & (bidirectional | torch.ones(7, 7).tril().bool())
    for ours, weights in zip(asked.attentions, eager.attentions, strict=True):
        assert torch.equal(ours, weights) and weights.shape == (3, 2, 7, 7)
        assert not weights.masked_select(~allowed).any()
        assert_same(weights.sum(-1), allowed.any(-1).float().expand(3, 2, 7))


@every_implementation
def test_attentions_and_states_are_shown_while_generating(attn_implementation):
    model = trained(TransformerForCausalLM, attn_implementation=attn_implementation)
    shown = {"return_dict_in_generate": True, "output_attentions": True, "output_hidden_states": True}
    outputs = model.generate(PROMPTS, **shown, **GENERATION)
    assert torch.equal(outputs.sequences, model.generate(PROMPTS, **GENERATION))
    assert len(outputs.attentions) == len(outputs.hidden_states) == 6
    for step, (attentions, states) in enumerate(zip(outputs.attentions, outputs.hidden_states, strict=True)):
        queries = 1 if step else 7
        assert [weights.shape for weights in attentions] == [(2, 2, queries, 7 + step)] * 2
        assert [state.shape for state in states] == [(2, queries, 16)] * 3
        assert not attentions[0][1, :, -1, :2].any()  # of the padding


@every_implementation
@pytest.mark.parametrize("model_class", [TransformerForSequenceClassification, TransformerForTokenClassification])
def test_classifiers_read_both_ways_or_forward(model_class, attn_implementation):
    changed = IDS.clone()
    changed[:, -1] = IDS[:, -1] % 13 + 1
    for bidirectional in (None, True, False):
        model = trained(model_class, attn_implementation=attn_implementation, bidirectional=bidirectional)
        outputs, others = (model.model(ids).last_hidden_state[:, :-1] for ids in (IDS, changed))
        assert (difference(outputs, others) < 1e-5) == (bidirectional is False)


# Configurations


@for_each(
    ("options", "message"),
    [
        ({"num_attention_heads": 3}, "num_attention_heads=3 does not divide hidden_size=16"),
        ({"hidden_size": 15, "num_attention_heads": 3}, "'sinusoidal' needs an even width.*make it 15"),
        ({"hidden_size": 6, "position_embedding_type": "rotary"}, "'rotary' needs an even width.*make it 3"),
        ({"d_model": 16}, "no field 'd_model'. Did you mean 'hidden_size'"),
        ({"nhead": 2}, "no field 'nhead'. Did you mean 'num_attention_heads'"),
        ({"n_layer": 2}, "no field 'n_layer'. Did you mean 'num_hidden_layers'"),
        ({"dim_feedforward": 64}, "no field 'dim_feedforward'. Did you mean 'intermediate_size'"),
        ({"dropout": 0.1}, "no field 'dropout'. Did you mean 'hidden_dropout'"),
        ({"norm_positon": "pre"}, "no field 'norm_positon'. Did you mean 'norm_position'"),
        ({"adaptive_softmax_cutoffs": [4]}, "set tie_word_embeddings=False"),
        ({"adaptive_softmax_cutoffs": [14], "tie_word_embeddings": False}, "between 1 and vocab_size - 1 = 13"),
        ({"norm_position": "mid"}, "norm_position"),
        ({"hidden_act": "tanh"}, "hidden_act"),
        ({"position_embedding_type": "alibi"}, "position_embedding_type"),
        ({"attention_dropout": 1.5}, "attention_dropout"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"intermediate_size": 0}, "intermediate_size"),
        ({"rope_theta": "1e4"}, "rope_theta"),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises((ValueError, TypeError, StrictDataclassError), match=rf"(?s){message}"):
        TransformerConfig(**{"vocab_size": 14, "hidden_size": 16, "num_attention_heads": 2, **options})


def test_learned_positions_go_with_odd_widths():
    model = small(TransformerModel, hidden_size=15, num_attention_heads=3, position_embedding_type="learned")
    assert model(IDS).last_hidden_state.shape == (3, 7, 15)


def test_each_class_reads_in_the_direction_it_needs():
    for model_class in (TransformerModel, TransformerForMaskedLM, TransformerForSequenceClassification):
        assert small(model_class).config.bidirectional is True
    assert small(TransformerForCausalLM).config.bidirectional is False
    with pytest.raises(ValueError, match="set bidirectional=False"):
        small(TransformerForCausalLM, bidirectional=True)
    with pytest.raises(ValueError, match="set bidirectional=True"):
        small(TransformerForMaskedLM, bidirectional=False)
    with pytest.raises(ValueError, match="bidirectional model cannot go on"):
        small(TransformerModel)(IDS, use_cache=True)


def test_a_gate_costs_no_parameters_unless_asked_to():
    plain, gated, wide = (
        sum(parameter.numel() for parameter in small(TransformerModel, hidden_size=96, bias=False, **own).parameters())
        for own in ({}, {"hidden_act": "swiglu"}, {"hidden_act": "swiglu", "intermediate_size": 384})
    )
    assert plain == gated < wide


# How it begins


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_weights_begin_as_documented(norm_position):
    width, layers = 64, 8
    options = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 4, "vocab_size": 300}
    model = small(TransformerForCausalLM, norm_position=norm_position, **options)
    words = model.model.embed_tokens.weight
    assert model.lm_head.weight is words and not words[0].any()
    assert words[1:].std().item() == pytest.approx(width**-0.5, rel=0.02)
    shrunk = (2 * layers) ** -0.5 if norm_position == "pre" else 1.0
    for layer in model.model.layers:
        attention, forward = layer.self_attention, layer.feed_forward
        for product, gain in (
            *((product, 1.0) for product in (attention.q_proj, attention.k_proj, attention.v_proj, forward.up_proj)),
            *((product, shrunk) for product in (attention.o_proj, forward.down_proj)),
        ):
            limit = gain * math.sqrt(6 / sum(product.weight.shape))
            assert 0.98 * limit < product.weight.abs().max().item() <= limit
            assert product.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.05)
            assert not product.bias.any()
        assert (layer.self_attention_norm.weight == 1).all() and not layer.self_attention_norm.bias.any()


@each(tie_word_embeddings=[True, False], **NORMS)
@torch.no_grad()
def test_a_language_model_begins_knowing_nothing(options):
    if options["tie_word_embeddings"] and options["norm_position"] == "pre":
        options = {**options, "scale_embedding": False}  # scaled, a word is most of what its vector is compared to
    ids = torch.randint(1, 1_000, (8, 40), generator=torch.Generator().manual_seed(0))
    model = small(TransformerForCausalLM, hidden_size=64, num_attention_heads=4, vocab_size=1_000, **options)
    spread = 0.5 if options["tie_word_embeddings"] else 0.05  # half the variance of the logits
    assert model(ids, labels=ids).loss.item() == pytest.approx(math.log(1_000) + spread, abs=0.15)


def test_initializer_range_and_padding_row():
    model = small(TransformerModel, initializer_range=0.3, vocab_size=2_000, pad_token_id=7)
    words = model.embed_tokens.weight
    assert words.std().item() == pytest.approx(0.3, rel=0.05) and not words[7].any() and words[0].any()
    assert isinstance(small(TransformerModel, norm_position="post").norm, nn.Identity)
