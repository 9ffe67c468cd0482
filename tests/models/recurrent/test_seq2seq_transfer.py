"""Two language models become one encoder-decoder, with their weights."""

import pytest
import torch

import hfseq
from hfseq import Seq2SeqForConditionalGeneration
from tests.closeness import assert_same
from tests.models.recurrent.small_seq2seq import IDS
from tests.rounds import for_each

WORDS = {"bos_token_id": 2, "eos_token_id": 3}


def language_model(family, vocab_size=14, **options):
    given = {"embedding_size": 6, "hidden_size": 8, "num_hidden_layers": 2, **WORDS, **options}
    config, head = getattr(hfseq, f"{family}Config"), getattr(hfseq, f"{family}ForCausalLM")
    return head(config(vocab_size=vocab_size, **given)).eval()


def assert_has_weights_of(model, encoder, decoder):
    """Every weight of the language models stands in its place."""
    own = model.model
    for name, weight in encoder.base_model.state_dict().items():
        assert torch.equal(own.encoder.state_dict()[name], weight), name
    for name, weight in decoder.base_model.state_dict().items():
        found = own.decoder.state_dict()[name.replace("forward_loop.", "")]
        assert torch.equal(found[:, : weight.shape[1]] if name.endswith("0.forward_loop.weight_ih") else found, weight)
    for name, weight in decoder.lm_head.state_dict().items():
        assert torch.equal(model.lm_head.state_dict()[name], weight), name


@for_each(
    ("family", "options", "overrides"),
    [
        ("LSTM", {}, {}),
        ("LSTM", {"peephole": True}, {"input_feeding": True}),
        ("GRU", {"reset": "before"}, {"attention": "additive", "coverage": True}),
        ("RNN", {"nonlinearity": "relu"}, {"attention": "multi_head", "num_attention_heads": 2}),
        ("Custom", {"cell": "minimal_gated"}, {"attention": "none", "hidden_dropout": 0.5}),
        ("LSTM", {"embedding_size": 8, "tie_word_embeddings": True}, {"attention": "dot"}),
    ],
)
def test_weights_equal_those_of_the_language_models(tmp_path, family, options, overrides):
    torch.manual_seed(0)
    encoder = language_model(family, num_hidden_layers=3, **options, hidden_dropout=0.2)
    decoder = language_model(family, 20, **options, pad_token_id=1)
    model = Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(encoder, decoder, **overrides).eval()
    assert_has_weights_of(model, encoder, decoder)
    config = model.config
    assert (config.vocab_size, config.decoder_vocab_size, config.bidirectional_encoder) == (14, 20, False)
    assert (config.pad_token_id, config.encoder_pad_token_id, config.decoder_start_token_id) == (1, 0, 2)
    assert (config.num_encoder_layers, config.num_hidden_layers) == (3, 2)
    assert {name: getattr(config, name) for name in overrides} == overrides
    encoded = model.get_encoder()(IDS).last_hidden_state
    assert_same(encoded, encoder.model(IDS).last_hidden_state)
    assert (model.lm_head.weight is model.model.decoder.embed_tokens.weight) == config.tie_word_embeddings
    encoder.save_pretrained(tmp_path / "en")
    decoder.save_pretrained(tmp_path / "de")
    again = Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(
        tmp_path / "en", str(tmp_path / "de"), **overrides
    )
    assert_has_weights_of(again, encoder, decoder)
    again.save_pretrained(tmp_path / "both")
    loaded = Seq2SeqForConditionalGeneration.from_pretrained(tmp_path / "both")
    assert torch.equal(loaded.generate(IDS, max_new_tokens=4), again.eval().generate(IDS, max_new_tokens=4))
    # Copies: what is trained on does not change the language models.
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(1)
    assert not torch.equal(model.get_input_embeddings().weight, encoder.get_input_embeddings().weight)


def test_a_decoder_alone_writes_as_its_language_model_does():
    torch.manual_seed(0)
    encoder, decoder = language_model("GRU"), language_model("GRU", 20)
    model = Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(encoder, decoder, attention="none").eval()
    for projection in model.model.decoder.bridge.projections:  # nothing of the source: from zeros, as a language model
        torch.nn.init.zeros_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    target = torch.randint(4, 20, (3, 5))
    assert_same(model(IDS, decoder_input_ids=target).logits, decoder(target).logits)


def test_a_backbone_of_both_directions_is_an_encoder_of_both(tmp_path):
    encoder = hfseq.LSTMModel(
        hfseq.LSTMConfig(vocab_size=14, embedding_size=6, hidden_size=4, num_hidden_layers=2, bidirectional=True)
    ).eval()
    encoder.save_pretrained(tmp_path)
    decoder = language_model("LSTM", 20)
    for source in (encoder, tmp_path):
        model = Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(source, decoder)
        assert model.config.bidirectional_encoder
        assert_has_weights_of(model, encoder, decoder)


@for_each(
    ("encoder", "decoder", "overrides", "message"),
    [
        (("LSTM", {}), ("GRU", {}), {}, "the cells of encoder_lm is lstm, of decoder_lm gru"),
        (
            ("LSTM", {"hidden_size": 10}),
            ("LSTM", {}),
            {},
            "the width of the outputs of encoder_lm is 10, of decoder_lm 8",
        ),
        (("LSTM", {"embedding_size": 5}), ("LSTM", {}), {}, "the embedding_size of encoder_lm is 5, of decoder_lm 6"),
        (("LSTM", {"last_hidden_size": 6}), ("LSTM", {}), {}, "encoder_lm has last_hidden_size=6 and hidden_size=8"),
        (("LSTM", {}), ("LSTM", {"adaptive_softmax_cutoffs": [6]}), {}, "without a full softmax"),
        (("LSTM", {"forget_bias": 2.0}), ("LSTM", {"forget_bias": 2.0}), {}, "has no name in hfseq.CELLS"),
        (("LSTM", {}), ("LSTM", {}), {"cell": "gru", "hidden_size": 9}, "cell, hidden_size cannot be chosen"),
        (("LSTM", {}), ("LSTM", {}), {"attentions": "dot"}, "Did you mean 'attention'"),
        (("LSTM", {}), ("LSTM", {"bos_token_id": None, "pad_token_id": None}), {}, "the decoder needs one"),
    ],
)
def test_what_does_not_fit_is_named(encoder, decoder, overrides, message):
    first, second = language_model(encoder[0], **encoder[1]), language_model(decoder[0], **decoder[1])
    with pytest.raises(Exception, match=message):
        Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(first, second, **overrides)


def test_what_is_no_recurrent_language_model_is_refused(tmp_path):
    other = hfseq.TransformerForCausalLM(
        hfseq.TransformerConfig(vocab_size=14, hidden_size=8, num_hidden_layers=1, **WORDS)
    )
    own = language_model("LSTM")
    other.save_pretrained(tmp_path)
    for source in (other, tmp_path):
        with pytest.raises(ValueError, match="decoder_lm is TransformerForCausalLM: give a recurrent language model"):
            Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(own, source)
    with pytest.raises(ValueError, match="encoder_lm is TransformerForCausalLM"):
        Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(other, own)
    with pytest.raises(ValueError, match="decoder_lm is LSTMModel without a full softmax"):
        Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(own, own.model)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_no_digit_of_the_language_models_is_lost(dtype):
    encoder, decoder = language_model("GRU").to(dtype), language_model("GRU", 20).to(dtype)
    model = Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(encoder, decoder)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert_has_weights_of(model, encoder, decoder)
