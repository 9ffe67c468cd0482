"""A transformer with a vocabulary for each language: its matrices, ties, sizes, generation and folders."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM

from hfseq import TransformerForConditionalGeneration, TransformerSeq2SeqConfig, TransformerSeq2SeqModel
from tests.closeness import assert_same
from tests.models.transformer.small_transformers import IDS, SIDES, SIZES, small, trained

TARGETS = torch.randint(1, 9, (3, 5), generator=torch.Generator().manual_seed(2))
TWO = {"decoder_vocab_size": 9}
GREEDY = {"max_new_tokens": 6, "do_sample": False}


def two(**options):
    return trained(TransformerForConditionalGeneration, **TWO, **options)


def matrices(model):
    return {name: tuple(value.shape) for name, value in model.named_parameters() if value.shape[0] in (14, 9)}


def test_each_language_has_its_matrix_and_the_output_is_tied_to_the_target():
    assert matrices(two()) == {
        "model.encoder.embed_tokens.weight": (14, 16),
        "model.decoder.embed_tokens.weight": (9, 16),
        "lm_head.bias": (9,),
    }
    assert "lm_head.weight" in matrices(two(tie_word_embeddings=False))


@torch.no_grad()
def test_with_the_same_words_it_equals_the_model_of_one_vocabulary():
    one = trained(TransformerForConditionalGeneration)
    model = small(TransformerForConditionalGeneration, decoder_vocab_size=14)
    words = one.get_input_embeddings().weight
    model.load_state_dict(one.state_dict() | {"model.decoder.embed_tokens.weight": words.clone()})
    given = {"input_ids": IDS, "attention_mask": SIDES, "decoder_input_ids": TARGETS}
    assert torch.equal(model(**given).logits, one(**given).logits)
    # From then on the two languages are apart.
    model.get_input_embeddings().weight.mul_(0.5)
    expected = copy.deepcopy(one)
    expected.get_input_embeddings().weight.mul_(0.5)
    memory = expected.get_encoder()(IDS, attention_mask=SIDES)
    assert_same(
        model(**given).logits,
        one(attention_mask=SIDES, decoder_input_ids=TARGETS, encoder_outputs=memory).logits,
    )


def test_the_outputs_have_the_width_of_the_target():
    model = two()
    assert model(IDS, labels=TARGETS).logits.shape == (3, 5, 9)
    with pytest.raises(ValueError, match=r"label 9 is outside 0 to 8 \(config.decoder_vocab_size=9\)"):
        model(IDS, labels=torch.full_like(TARGETS, 9))
    with pytest.raises(ValueError, match="input id 14 is outside 0 to 13"):
        model(torch.full_like(IDS, 14), labels=TARGETS)


@pytest.mark.parametrize("tied", [True, False])
def test_saved_models_load_to_the_same_bits(tied, tmp_path):
    model = two(tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    assert ("lm_head.weight" in load_file(tmp_path / "model.safetensors")) == (not tied)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert type(loaded) is TransformerForConditionalGeneration
    assert (loaded.lm_head.weight is loaded.model.decoder.embed_tokens.weight) == tied
    assert torch.equal(loaded(IDS, labels=TARGETS).logits, model(IDS, labels=TARGETS).logits)
    body = TransformerSeq2SeqModel.from_pretrained(tmp_path)
    states = body(IDS, decoder_input_ids=TARGETS).last_hidden_state
    assert torch.equal(states, model.model(IDS, decoder_input_ids=TARGETS).last_hidden_state)


@pytest.mark.parametrize("tied", [True, False])
def test_each_vocabulary_grows_alone(tied):
    model = two(tie_word_embeddings=tied)
    with torch.no_grad():
        before = model(IDS, decoder_input_ids=TARGETS).logits
    model.resize_token_embeddings(20, mean_resizing=False)
    assert model.config.vocab_size == 20 == model.model.encoder.config.vocab_size
    assert torch.equal(model(IDS, decoder_input_ids=TARGETS).logits, before)
    model.resize_decoder_token_embeddings(12, mean_resizing=False)
    assert model.config.decoder_vocab_size == 12 == model.model.decoder.config.vocab_size
    assert (model.config.vocab_size, len(model.lm_head.bias)) == (20, 12)
    assert (model.lm_head.weight is model.model.decoder.embed_tokens.weight) == tied
    after = model(IDS + 6, decoder_input_ids=TARGETS + 3).logits
    assert after.shape == (3, 5, 12) and after.isfinite().all()
    assert_same(model(IDS, decoder_input_ids=TARGETS).logits[..., :9], before)
    model(IDS + 6, labels=TARGETS + 3).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_one_vocabulary_is_resized_as_one():
    with pytest.raises(ValueError, match="share one vocabulary: call resize_token_embeddings"):
        trained(TransformerForConditionalGeneration).resize_decoder_token_embeddings(20)


def test_frozen_embeddings_are_those_of_both_languages(tmp_path):
    model = two(freeze_embeddings=True, tie_word_embeddings=False)
    model.save_pretrained(tmp_path)
    for one in (model, TransformerForConditionalGeneration.from_pretrained(tmp_path)):
        frozen = {name for name, value in one.named_parameters() if not value.requires_grad}
        assert frozen == {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"}


@pytest.mark.parametrize("num_beams", [1, 3])
def test_scores_of_what_it_writes_add_up(num_beams):
    model = two(tie_word_embeddings=False)
    wanted = {"return_dict_in_generate": True, "output_scores": True, "length_penalty": 0.0}
    found = model.generate(IDS, attention_mask=SIDES, num_beams=num_beams, **wanted, **GREEDY)
    assert found.sequences.max() < 9
    beams = found.beam_indices if num_beams > 1 else None
    steps = model.compute_transition_scores(found.sequences, found.scores, beams, normalize_logits=num_beams == 1)
    with torch.no_grad():
        logits = model(IDS, attention_mask=SIDES, decoder_input_ids=found.sequences[:, :-1]).logits.log_softmax(-1)
    expected = logits.gather(2, found.sequences[:, 1:, None])[..., 0]
    assert_same(steps, expected)
    if num_beams > 1:
        assert_same(found.sequences_scores, expected.sum(1))


def test_a_word_of_the_source_may_have_the_id_of_the_target_s_padding():
    model = two(pad_token_id=8, encoder_pad_token_id=13, eos_token_id=None)
    assert (IDS == 8).any()
    expected = model.generate(IDS, attention_mask=torch.ones_like(IDS), **GREEDY)
    assert torch.equal(model.generate(IDS, **GREEDY), expected)


def test_the_row_of_padding_is_each_language_s():
    body = small(TransformerSeq2SeqModel, **TWO, pad_token_id=8, encoder_pad_token_id=13)
    assert body.encoder.embed_tokens.padding_idx == 13 and body.decoder.embed_tokens.padding_idx == 8
    assert not body.encoder.embed_tokens.weight[13].any() and not body.decoder.embed_tokens.weight[8].any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({**TWO, "pad_token_id": 9}, "pad_token_id=9 is outside 0 to decoder_vocab_size - 1 = 8"),
        ({**TWO, "bos_token_id": 12}, "bos_token_id=12 is outside 0 to decoder_vocab_size - 1 = 8"),
        ({**TWO, "encoder_pad_token_id": 14}, "encoder_pad_token_id=14 is outside 0 to vocab_size - 1 = 13"),
        ({"decoder_vocab_size": 20, "pad_token_id": 14}, "give the padding of sources as encoder_pad_token_id"),
        ({"encoder_pad_token_id": 3}, "share one vocabulary: leave the first out, or set decoder_vocab_size"),
        ({"decoder_vocab_size": 0}, "decoder_vocab_size"),
    ],
)
def test_configs_that_cannot_be_are_refused(options, message):
    with pytest.raises(Exception, match=rf"(?s){message}"):
        TransformerSeq2SeqConfig(**{**SIZES, "bos_token_id": 2, **options})


def test_ids_of_the_target_may_be_larger_than_those_of_the_source():
    options = {"decoder_vocab_size": 20, "pad_token_id": 19, "eos_token_id": 18, "bos_token_id": 17}
    model = small(TransformerForConditionalGeneration, **{**options, "encoder_pad_token_id": 0})
    assert model(IDS, labels=TARGETS + 11).loss.isfinite()
    assert model.model.encoder.config.pad_token_id == 0
