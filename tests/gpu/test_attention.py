"""Attention by the kernels of a GPU: torch's flash backend, and the package flash_attn where it is installed."""

from importlib.util import find_spec

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from hfseq import TransformerConfig, TransformerForCausalLM
from tests.closeness import assert_same
from tests.devices import DEVICE, ON_CPU

pytestmark = pytest.mark.slow

ON_GPU = DEVICE.type == "cuda"
DTYPE = torch.bfloat16 if ON_GPU else torch.float32  # flash kernels of a GPU take half precision alone
WITHIN = 0.05 if ON_GPU else 1e-5
NEEDS_SDPA = pytest.mark.skipif(
    not ON_CPU and not (ON_GPU and torch.backends.cuda.is_flash_attention_available()),
    reason=f"torch has no flash attention for {DEVICE}",
)
NEEDS_PACKAGE = pytest.mark.skipif(
    not ON_GPU or find_spec("flash_attn") is None, reason="needs CUDA and the package flash_attn"
)


def decoder(attention, dtype=DTYPE):
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = TransformerConfig(**sizes, bidirectional=False, hidden_dropout=0.0, attention_dropout=0.0)
    model = TransformerForCausalLM(config).eval()
    model.set_attn_implementation(attention)
    return model.to(DEVICE, dtype)


def learnt(model, mask=None):
    """Loss, logits and gradients of texts; logits at padding are left out."""
    ids = torch.randint(1, 50, (4, 32), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    outputs = model(ids, mask, labels=ids)
    outputs.loss.backward()
    real = slice(None) if mask is None else mask.bool()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"loss": outputs.loss, "logits": outputs.logits[real]} | gradients


@NEEDS_SDPA
def test_torchs_flash_attention_gives_the_numbers_of_the_equation():
    exact = learnt(decoder("eager", torch.float32))
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):  # an error where it cannot run
        assert_same(learnt(decoder("sdpa")), exact, WITHIN, scale=0.1)


@NEEDS_PACKAGE
@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_the_package_gives_the_numbers_of_the_equation(padding):
    mask = None
    if padding != "none":
        mask = torch.ones(4, 32, dtype=torch.long, device=DEVICE)
        mask[1, slice(0, 9) if padding == "left" else slice(-9, None)] = 0
    exact = learnt(decoder("eager", torch.float32), mask)
    assert_same(learnt(decoder("flash_attention_2"), mask), exact, WITHIN, scale=0.1)


@NEEDS_PACKAGE
def test_the_package_generates_what_sdpa_does():
    ids = torch.randint(1, 50, (1, 9), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "output_logits": True}
    first = [
        decoder(kind).generate(ids, return_dict_in_generate=True, **options).logits[0].float()
        for kind in ("flash_attention_2", "sdpa")
    ]
    assert_same(*first, WITHIN)
