"""Small transformers and padded texts, for the tests of each of their sides."""

import itertools

import torch
from torch import nn

from tests.rounds import for_each

SIZES = {"vocab_size": 14, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
NO_DROPOUT = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "classifier_dropout"), 0.0)
TOKENS = {
    "bos_token_id": 2,
    "eos_token_id": None,
}  # so that a text that is generated has the length that was asked for
SIDES = torch.tensor([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1]])  # no padding, on the right, on the left
IDS = torch.randint(1, 14, SIDES.shape, generator=torch.Generator().manual_seed(1))
IMPLEMENTATIONS, POSITIONS = ["eager", "sdpa"], ["sinusoidal", "learned", "rotary"]


def each(**choices):
    """Runs a test with `options` of each combination."""
    found = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    return for_each("options", found)


def small(model_class, **options):
    """A small model as it is made, in evaluation mode, the same one every time."""
    torch.manual_seed(0)
    return model_class(model_class.config_class(**{**SIZES, **NO_DROPOUT, **TOKENS, **options})).eval()


def trained(model_class, **options):
    """The same as after much training: no bias is zero and no norm one, which would hide that one is left out."""
    model = small(model_class, **options)
    torch.manual_seed(0)  # whatever the initialisation has drawn
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed" in name:
                parameter.normal_()
            elif "attention." in name:
                parameter.uniform_(-0.8, 0.8)
            else:
                parameter.uniform_(-0.5, 0.5).add_("norm.weight" in name)
    return model


def as_torch(layer):
    """The weights of one of our layers by their names in nn.TransformerEncoderLayer or nn.TransformerDecoderLayer."""
    attentions, norms = {"self_attn": layer.self_attention}, [layer.self_attention_norm, layer.feed_forward_norm]
    if layer.cross_attention is not None:
        attentions["multihead_attn"] = layer.cross_attention
        norms.insert(1, layer.cross_attention_norm)
    parts = {f"norm{number}": norm for number, norm in enumerate(norms, 1)}
    parts |= {f"{name}.out_proj": attention.o_proj for name, attention in attentions.items()}
    parts |= {"linear1": layer.feed_forward.up_proj, "linear2": layer.feed_forward.down_proj}
    weights = {f"{name}.{kind}": value for name, part in parts.items() for kind, value in part.named_parameters()}
    for name, attention in attentions.items():
        products = attention.q_proj, attention.k_proj, attention.v_proj
        for kind, _ in attention.q_proj.named_parameters():
            weights[f"{name}.in_proj_{kind}"] = torch.cat([getattr(product, kind) for product in products])
    return weights


def torch_stack(model, decoder=False):
    """nn.TransformerEncoder or nn.TransformerDecoder with the weights of one of our models, in evaluation mode."""
    config = model.config
    layer_class, stack_class = (
        (nn.TransformerDecoderLayer, nn.TransformerDecoder)
        if decoder
        else (nn.TransformerEncoderLayer, nn.TransformerEncoder)
    )
    layer = layer_class(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size or 4 * config.hidden_size,
        dropout=0.0,
        activation=config.hidden_act,
        layer_norm_eps=config.norm_eps,
        norm_first=config.norm_position == "pre",
        bias=config.bias,
        batch_first=True,
    )
    norm = model.norm if config.norm_position == "pre" else None
    stack = stack_class(layer, config.num_hidden_layers, norm, **({} if decoder else {"enable_nested_tensor": False}))
    for mine, other in zip(model.layers, stack.layers, strict=True):
        other.load_state_dict(as_torch(mine))
    return stack.to(model.dtype).eval()
