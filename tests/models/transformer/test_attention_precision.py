"""Where attention leaves autocast's bfloat16."""

import pytest
import torch

from hfseq.models.transformer import attention
from tests.closeness import assert_same


@pytest.mark.parametrize(("keys", "expected"), [(128, torch.float32), (129, torch.bfloat16)])
@pytest.mark.parametrize("learns", [True, False])
def test_short_texts_attend_in_float32_where_bfloat16_is_slow(keys, expected, learns):
    """In training on a CPU; the outputs keep the dtype of the query, and a mask of numbers follows the others."""
    seen = []

    def attend(module, query, key, value, mask, **kwargs):
        seen.append((query.dtype, key.dtype, value.dtype, mask.dtype))
        return attention.dot_product_attention(module, query, key, value, mask, **kwargs)

    layer = attention.MultiHeadAttention(
        hidden_size=8, num_attention_heads=2, bias=True, dropout=0.0, is_causal=False, layer_idx=0, config=None
    ).requires_grad_(learns)
    x, mask = torch.randn(2, keys, 8), torch.zeros(2, 1, 1, keys, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(x, attend, mask=mask)[0]
    assert outputs.dtype == torch.bfloat16
    assert seen == [(expected if learns else torch.bfloat16,) * 4]
    assert_same(outputs, layer(x, attend, mask=mask.float())[0], 0.02)
