"""Encoder and decoder with a vocabulary each: two languages whose ids mean different words, in both families."""

import copy
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, WatermarkingConfig

from hfseq import (
    Seq2SeqConfig,
    TransformerForConditionalGeneration,
    TransformerSeq2SeqConfig,
)
from tests.closeness import assert_same
from tests.models.recurrent import small_seq2seq as recurrent
from tests.models.transformer import small_transformers as transformers
from tests.models.transformer.small_transformers import IDS, SIDES

TARGETS = torch.randint(1, 9, (3, 5), generator=torch.Generator().manual_seed(2))
TWO = {"decoder_vocab_size": 9}
GREEDY = {"max_new_tokens": 6, "do_sample": False}
FAMILIES = {
    "recurrent": partial(recurrent.small, embedding_size=8, tie_word_embeddings=True),
    "transformer": partial(transformers.trained, TransformerForConditionalGeneration),
}
CONFIGS = {
    "recurrent": lambda **options: Seq2SeqConfig(**{**recurrent.SIZES, **options}),
    "transformer": lambda **options: TransformerSeq2SeqConfig(**{**transformers.SIZES, **options}),
}
NAIVE = partial(recurrent.small, feedback=False, attention="none", **TWO)
each_family = pytest.mark.parametrize("family", FAMILIES)
each_family_tied_or_not = pytest.mark.parametrize(
    "family, tied", [(family, tied) for family in FAMILIES for tied in (True, False)]
)


def two(family, **options):
    return FAMILIES[family](**{**TWO, **options})


def matrices(model):
    vocabulary = ("embed_tokens.weight", "lm_head.weight", "lm_head.bias")
    return {name: len(value) for name, value in model.named_parameters() if name.endswith(vocabulary)}


@each_family
def test_each_language_has_its_matrix_and_the_output_is_tied_to_the_target(family):
    expected = {"model.encoder.embed_tokens.weight": 14, "model.decoder.embed_tokens.weight": 9, "lm_head.bias": 9}
    assert matrices(two(family)) == expected
    assert matrices(two(family, tie_word_embeddings=False)) == expected | {"lm_head.weight": 9}


@each_family
@torch.no_grad()
def test_with_the_same_words_it_equals_the_model_of_one_vocabulary(family):
    one, model = FAMILIES[family](), FAMILIES[family](decoder_vocab_size=14)
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


@each_family
def test_the_outputs_have_the_width_of_the_target(family):
    model = two(family)
    assert model(IDS, labels=TARGETS).logits.shape == (3, 5, 9)
    with pytest.raises(ValueError, match=r"label 9 is outside 0 to 8 \(config.decoder_vocab_size=9\)"):
        model(IDS, labels=torch.full_like(TARGETS, 9))
    with pytest.raises(ValueError, match="input id 14 is outside 0 to 13"):
        model(torch.full_like(IDS, 14), labels=TARGETS)
    message = r"target id 9 is outside 0 to 8 \(config.decoder_vocab_size=9\).*model.resize_decoder_token_embeddings"
    with pytest.raises(ValueError, match=message):
        model(IDS, decoder_input_ids=torch.full_like(TARGETS, 9))


@each_family_tied_or_not
def test_saved_models_load_to_the_same_bits(family, tied, tmp_path):
    model = two(family, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    assert ("lm_head.weight" in load_file(tmp_path / "model.safetensors")) == (not tied)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert type(loaded) is type(model)
    assert (loaded.lm_head.weight is loaded.model.decoder.embed_tokens.weight) == tied
    assert torch.equal(loaded(IDS, labels=TARGETS).logits, model(IDS, labels=TARGETS).logits)
    body = type(model.model).from_pretrained(tmp_path)
    states = body(IDS, decoder_input_ids=TARGETS).last_hidden_state
    assert torch.equal(states, model.model(IDS, decoder_input_ids=TARGETS).last_hidden_state)


@each_family_tied_or_not
@pytest.mark.parametrize("of_body", [False, True])
def test_each_vocabulary_grows_alone(family, tied, of_body, tmp_path):
    model = two(family, tie_word_embeddings=tied)
    with torch.no_grad():
        before = model(IDS, decoder_input_ids=TARGETS).logits
    grown = (model.model if of_body else model).resize_token_embeddings(20, mean_resizing=False)
    assert grown is model.get_input_embeddings()
    assert model.config.vocab_size == 20 == model.model.encoder.config.vocab_size == grown.num_embeddings
    with torch.no_grad():
        assert torch.equal(model(IDS, decoder_input_ids=TARGETS).logits, before)
    grown = model.resize_decoder_token_embeddings(11, pad_to_multiple_of=4, mean_resizing=False)
    assert grown is model.model.decoder.embed_tokens and grown.num_embeddings == 12
    assert (model.config.vocab_size, model.config.decoder_vocab_size, len(model.lm_head.bias)) == (20, 12, 12)
    assert (model.lm_head.weight is model.model.decoder.embed_tokens.weight) == tied
    after = model(IDS + 6, decoder_input_ids=TARGETS + 3).logits
    assert after.shape == (3, 5, 12) and after.isfinite().all()
    assert_same(model(IDS, decoder_input_ids=TARGETS).logits[..., :9], before)
    model(IDS + 6, labels=TARGETS + 3).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(IDS + 6, decoder_input_ids=TARGETS + 3).logits, after)


@each_family
def test_one_vocabulary_is_resized_as_one(family, tmp_path):
    model = FAMILIES[family]()
    with pytest.raises(ValueError, match="share one vocabulary: call resize_token_embeddings"):
        model.resize_decoder_token_embeddings(20)
    before = model(IDS, decoder_input_ids=TARGETS).logits
    model.resize_token_embeddings(20, mean_resizing=False)
    assert matrices(model) == {"model.encoder.embed_tokens.weight": 20, "lm_head.bias": 20}
    assert_same(model(IDS, decoder_input_ids=TARGETS).logits[..., :14], before)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert loaded.config.vocab_size == 20
    assert torch.equal(loaded(IDS + 6, labels=TARGETS + 6).logits, model(IDS + 6, labels=TARGETS + 6).logits)


def test_a_decoder_that_reads_nothing_has_outputs_that_grow():
    model = NAIVE()
    before = model(IDS, decoder_input_ids=TARGETS).logits
    assert model.resize_decoder_token_embeddings(12, mean_resizing=False) is None
    assert matrices(model) == {"model.encoder.embed_tokens.weight": 14, "lm_head.weight": 12, "lm_head.bias": 12}
    after = model(IDS, labels=TARGETS + 3).logits
    assert after.shape == (3, 5, 12)
    assert_same(after[..., :9], before)


@each_family_tied_or_not
@pytest.mark.parametrize("options", [{}, TWO])
def test_frozen_embeddings_are_those_of_both_languages_also_when_they_grow(family, tied, options, tmp_path):
    model = FAMILIES[family](freeze_embeddings=True, tie_word_embeddings=tied, **options)
    model.save_pretrained(tmp_path)
    frozen = {name for name in matrices(model) if "embed" in name}
    models = (model, type(model).from_pretrained(tmp_path))
    for grows in (False, True):
        for one in models:
            if grows:
                one.resize_token_embeddings(20, mean_resizing=False)
            if grows and options:
                one.resize_decoder_token_embeddings(20, mean_resizing=False)
            assert {name for name, value in one.named_parameters() if not value.requires_grad} == frozen


@each_family
@pytest.mark.parametrize("num_beams", [1, 3])
def test_scores_of_what_it_writes_add_up(family, num_beams):
    model = two(family, tie_word_embeddings=False)
    wanted = {"return_dict_in_generate": True, "output_scores": True, "length_penalty": 0.0}
    found = model.generate(IDS, attention_mask=SIDES, num_beams=num_beams, **wanted, **GREEDY)
    assert found.sequences.max() < 9
    beams = found.beam_indices if num_beams > 1 else None
    with torch.no_grad():
        logits = model(IDS, attention_mask=SIDES, decoder_input_ids=found.sequences[:, :-1]).logits.log_softmax(-1)
    expected = logits.gather(2, found.sequences[:, 1:, None])[..., 0]
    for normalize in {num_beams == 1, True}:
        steps = model.compute_transition_scores(found.sequences, found.scores, beams, normalize_logits=normalize)
        assert_same(steps.sum(1) if normalize else steps, expected.sum(1) if normalize else expected)
    if num_beams > 1:
        assert_same(found.sequences_scores, expected.sum(1))


@each_family
def test_watermarks_are_in_the_words_of_the_target(family):
    model = two(family, decoder_vocab_size=40)
    # So strong that only the list of favoured words is left, of which there are half.
    mark = WatermarkingConfig(greenlist_ratio=0.5, bias=1000.0)
    words = {*model.generate(IDS, watermarking_config=mark, **GREEDY)[:, 1:].flatten().tolist()}
    plain = {*model.generate(IDS, **GREEDY)[:, 1:].flatten().tolist()}
    assert words != plain and max(words) > 14


@each_family
def test_an_assistant_drafts_words_of_the_target(family):
    model, assistant = two(family), two(family)
    with torch.no_grad():
        for parameter in assistant.parameters():
            parameter.mul_(0.8)
    expected = model.generate(IDS[:1], **GREEDY)
    assert torch.equal(model.generate(IDS[:1], assistant_model=assistant, **GREEDY), expected)


@each_family
def test_a_word_of_the_source_may_have_the_id_of_the_target_s_padding(family):
    model = two(family, pad_token_id=8, encoder_pad_token_id=13, eos_token_id=None)
    assert (IDS == 8).any()
    expected = model.generate(IDS, attention_mask=torch.ones_like(IDS), **GREEDY)
    assert torch.equal(model.generate(IDS, **GREEDY), expected)


@each_family
def test_the_row_of_padding_is_each_language_s(family):
    config = CONFIGS[family](**TWO, pad_token_id=8, encoder_pad_token_id=13)
    body = type(two(family).model)(config)
    assert body.encoder.embed_tokens.padding_idx == 13 and body.decoder.embed_tokens.padding_idx == 8
    assert not body.encoder.embed_tokens.weight[13].any() and not body.decoder.embed_tokens.weight[8].any()


@each_family
@pytest.mark.parametrize(
    "options, message",
    [
        ({**TWO, "pad_token_id": 9}, "pad_token_id=9 is outside 0 to decoder_vocab_size - 1 = 8"),
        ({**TWO, "bos_token_id": 12}, "bos_token_id=12 is outside 0 to decoder_vocab_size - 1 = 8"),
        ({**TWO, "encoder_pad_token_id": 14}, "encoder_pad_token_id=14 is outside 0 to vocab_size - 1 = 13"),
        ({"decoder_vocab_size": 20, "pad_token_id": 14}, "give the padding of sources as encoder_pad_token_id"),
        ({"encoder_pad_token_id": 3}, "share one vocabulary: leave the first out, or set decoder_vocab_size"),
        ({"decoder_vocab_size": 0}, "decoder_vocab_size"),
        ({"pad_token_id": None, "bos_token_id": None}, "the decoder needs one before its first token, so set one"),
    ],
)
def test_configs_that_cannot_be_are_refused(family, options, message):
    with pytest.raises(Exception, match=rf"(?s){message}"):
        CONFIGS[family](**{"bos_token_id": 2, **options})


@each_family
def test_ids_of_the_target_may_be_larger_than_those_of_the_source(family):
    options = {"decoder_vocab_size": 20, "pad_token_id": 19, "eos_token_id": 18, "bos_token_id": 17}
    model = FAMILIES[family](**{**options, "encoder_pad_token_id": 0})
    assert model(IDS, labels=TARGETS + 11).loss.isfinite()
    assert model.config.source_pad_token_id == 0 == model.model.encoder.embed_tokens.padding_idx
