"""What a transformer makes of masks, positions and configs that are unusual, and of flash attention's packed rows."""

import pytest
import torch
import transformers.modeling_flash_attention_utils as flash_attention
from torch import nn

from hfseq import (
    TransformerConfig,
    TransformerForCausalLM,
    TransformerForConditionalGeneration,
    TransformerForMaskedLM,
    TransformerForSequenceClassification,
    TransformerModel,
    TransformerSeq2SeqConfig,
)
from tests.closeness import assert_same
from tests.models.transformer.small_transformers import IDS, IMPLEMENTATIONS, POSITIONS, SIDES, SIZES, trained
from tests.rounds import for_each

REAL = SIDES.bool()


@for_each("dtype", [torch.bool, torch.float32, torch.bfloat16])
@for_each("position_embedding_type", POSITIONS)
def test_a_mask_may_have_any_type(dtype, position_embedding_type):
    model = trained(TransformerModel, position_embedding_type=position_embedding_type, max_position_embeddings=600)
    assert_same(model(IDS, SIDES.to(dtype))[0], model(IDS, SIDES)[0])
    ids = IDS[:1].repeat(1, 80)
    mask = torch.ones_like(ids, dtype=dtype)  # bfloat16 cannot count to 560
    assert_same(model(ids, mask)[0], model(ids)[0])


@pytest.mark.parametrize("attn_implementation", IMPLEMENTATIONS)
def test_a_mask_of_four_dimensions_is_taken_as_it_is(attn_implementation):
    model = trained(TransformerForCausalLM, attn_implementation=attn_implementation)
    places = SIDES.cumsum(1).sub(1).clamp(min=0)
    full = SIDES[:, None, None].bool() & torch.ones(7, 7, dtype=torch.bool).tril()
    whole = model(IDS, SIDES, labels=IDS.masked_fill(~REAL, -100))
    given = model(IDS, full, position_ids=places, labels=IDS.masked_fill(~REAL, -100))
    assert_same(given.logits[REAL], whole.logits[REAL])
    targets = IDS.masked_fill(~REAL, -100)[:, 1:]  # no mask (B, S), so that the labels alone say what is asked
    expected = nn.functional.cross_entropy(given.logits[:, :-1].flatten(0, 1), targets.flatten())
    assert_same(given.loss, expected)
    if attn_implementation == "eager":
        with pytest.raises(ValueError, match=r"got torch.int64: call .bool\(\)"):
            model(IDS, full.long(), position_ids=places)


def test_one_config_serves_models_of_both_directions():
    config = TransformerConfig(**SIZES)
    decoder, encoder = TransformerForCausalLM(config), TransformerForSequenceClassification(config)
    assert (decoder.config.bidirectional, encoder.config.bidirectional) == (False, True)
    assert decoder.config is decoder.model.config and config.bidirectional is None


def test_an_empty_piece_after_a_cache_adds_nothing():
    model = trained(TransformerForCausalLM)
    cache = model(IDS[:, :4], use_cache=True).past_key_values
    assert model(IDS[:, :0], past_key_values=cache).logits.shape == (3, 1, 14) and cache.get_seq_length() == 4
    assert_same(model(IDS[:, 4:], past_key_values=cache).logits, model(IDS).logits[:, 4:])


def test_what_nobody_reads_is_refused():
    options = {**SIZES, "tie_word_embeddings": False, "adaptive_softmax_cutoffs": [4]}
    with pytest.raises(ValueError, match="adaptive_softmax_cutoffs"):
        TransformerForMaskedLM(TransformerConfig(**options))
    with pytest.raises(Exception, match="adaptive_softmax_cutoffs"):
        TransformerSeq2SeqConfig(**options)


@pytest.mark.parametrize("kind", [tuple, list])
def test_the_encoders_own_answer_may_be_handed_back(kind):
    model = trained(TransformerForConditionalGeneration)
    encoded = model.get_encoder()(IDS, SIDES, return_dict=False, output_hidden_states=True, output_attentions=True)
    again = model(encoder_outputs=kind(encoded), attention_mask=SIDES, decoder_input_ids=IDS)
    assert_same(again.logits, model(IDS, SIDES, decoder_input_ids=IDS).logits)


def test_the_parts_of_a_resized_model_load(tmp_path):
    model = trained(TransformerForConditionalGeneration)
    model.resize_token_embeddings(20)
    model.get_encoder().save_pretrained(tmp_path)
    assert TransformerModel.from_pretrained(tmp_path).embed_tokens.num_embeddings == 20


# Flash attention, with torch in the place of its two kernels.


def dense(query, key, value, causal=False, softmax_scale=None, **options):
    queries, keys = query.shape[1], key.shape[1]
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries) if causal else None
    heads = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return nn.functional.scaled_dot_product_attention(*heads, mask, scale=softmax_scale).transpose(1, 2)


def packed(query, key, value, cu_seqlens_q=None, cu_seqlens_k=None, **options):
    queries, keys = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist()
    texts = zip(query.split(queries), key.split(keys), value.split(keys), strict=True)
    return torch.cat([dense(*(tensor[None] for tensor in text), **options)[0] for text in texts])


@pytest.fixture
def as_with_flash(monkeypatch):
    """Sends a model through transformers' own code around the kernels."""

    def options(**given):
        return {"causal": given["is_causal"], "softmax_scale": given["softmax_scale"]}

    kernels = dense, packed, None, flash_attention._pad_input, flash_attention._unpad_input
    monkeypatch.setattr(
        flash_attention, "lazy_import_flash_attention", lambda *args, **kwargs: (kernels, (options, None))
    )

    def switch(model):
        model.config._attn_implementation = "flash_attention_2"
        return model

    return switch


@pytest.mark.parametrize("model_class", [TransformerForCausalLM, TransformerForMaskedLM])
def test_flash_attention_unpads_the_texts(model_class, as_with_flash):
    model = trained(model_class)
    expected = model(IDS, SIDES).logits
    assert_same(as_with_flash(model)(IDS, SIDES).logits[REAL], expected[REAL])


@pytest.mark.parametrize("position_embedding_type", POSITIONS)
def test_texts_packed_into_a_row_do_not_see_each_other(position_embedding_type, as_with_flash):
    model = trained(TransformerForCausalLM, position_embedding_type=position_embedding_type)
    alone = torch.cat([model(IDS[:1, :3]).logits, model(IDS[:1, 3:]).logits], dim=1)
    places = torch.tensor([[0, 1, 2, 0, 1, 2, 3]])
    assert_same(model(IDS[:1], position_ids=places).logits, alone)
    assert_same(model(IDS[:1], position_ids=places, output_attentions=True).logits, alone)
    assert_same(as_with_flash(model)(IDS[:1], position_ids=places).logits, alone)


def test_cross_attention_refuses_flash_attention():
    """transformers leaves out queries by the padding of the keys, which are of another text here."""
    model = trained(TransformerForConditionalGeneration)
    with pytest.raises(ValueError, match="does not support Flash Attention"):
        model.set_attn_implementation("flash_attention_2")
