"""The transformer as published: encoder and decoder together equal torch's, generate, and learn."""

import pytest
import torch
from datasets import Dataset
from safetensors import safe_open
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from hfseq import TransformerForConditionalGeneration, TransformerSeq2SeqConfig, TransformerSeq2SeqModel
from hfseq.models.transformer.attention import positions_of, sinusoids
from tests.closeness import assert_same
from tests.contract.cases import tokenizer
from tests.models.transformer.small_transformers import (
    IDS,
    IMPLEMENTATIONS,
    POSITIONS,
    SIDES,
    SIZES,
    each,
    small,
    torch_stack,
    trained,
)
from tests.rounds import for_each

TARGETS = torch.randint(1, 14, (3, 5), generator=torch.Generator().manual_seed(2))
LABELS = torch.tensor([[5, 6, 7, 3, 9], [8, 4, 3, -100, -100], [4, -100, -100, -100, -100]])
MIXED = {"tie_word_embeddings": False, "scale_embedding": False}  # else what has learnt nothing repeats itself
GREEDY = {"max_new_tokens": 6, "do_sample": False}


# One pass


@each(attn_implementation=IMPLEMENTATIONS, norm_position=["pre", "post"], hidden_act=["relu", "gelu"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@torch.no_grad()
def test_outputs_equal_torch(bias, options):
    model = trained(TransformerSeq2SeqModel, num_encoder_layers=3, bias=bias, **options).double()
    # There is no dropout; in evaluation mode torch fuses the layers.
    encoder, decoder = torch_stack(model.encoder).train(), torch_stack(model.decoder, decoder=True).train()
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(3, length, 16, dtype=torch.float64, generator=generator) for length in (7, 5))
    found = model(inputs_embeds=source, attention_mask=SIDES, decoder_inputs_embeds=target)
    padding = ~SIDES.bool()
    words = source * 4 + sinusoids(positions_of(SIDES, 7, 0, source.device), 16)
    expected = decoder(
        target * 4 + sinusoids(torch.arange(5)[None], 16),
        encoder(words, src_key_padding_mask=padding),
        tgt_mask=torch.ones(5, 5).triu(1).bool(),
        memory_key_padding_mask=padding,
    )
    assert_same(found.last_hidden_state, expected, 1e-12)
    assert expected.abs().max() > 0.1
    assert not found.encoder_last_hidden_state[padding].any()


@each(position_embedding_type=POSITIONS, norm_position=["pre", "post"])
@torch.no_grad()
def test_eager_equals_sdpa_and_shows_all_three_attentions(options):
    model = trained(TransformerForConditionalGeneration, num_encoder_layers=3, **options)
    given = {"input_ids": IDS, "attention_mask": SIDES, "decoder_input_ids": TARGETS}
    shown = {"output_attentions": True, "output_hidden_states": True}
    plain, asked = model(**given), model(**given, **shown)
    model.set_attn_implementation("eager")
    assert {model.model.encoder.config._attn_implementation, model.model.decoder.config._attn_implementation} == {
        "eager"
    }
    eager = model(**given, **shown)
    assert_same(plain.logits, eager.logits)
    assert_same(asked.logits, eager.logits)
    assert plain.encoder_attentions is plain.cross_attentions is plain.decoder_hidden_states is None
    for outputs in (asked, eager):
        assert len(outputs.encoder_hidden_states) == 4 and len(outputs.decoder_hidden_states) == 3
        assert [weights.shape for weights in outputs.encoder_attentions] == [(3, 2, 7, 7)] * 3
        assert [weights.shape for weights in outputs.decoder_attentions] == [(3, 2, 5, 5)] * 2
        assert [weights.shape for weights in outputs.cross_attentions] == [(3, 2, 5, 7)] * 2
        for weights in outputs.cross_attentions:
            assert_same(weights.sum(-1), 1)
            assert not weights.masked_select(~SIDES.bool()[:, None, None]).any()


@torch.no_grad()
def test_a_future_token_changes_no_past_logit_and_a_source_token_changes_all():
    model = trained(TransformerForConditionalGeneration)
    logits = model(IDS, decoder_input_ids=TARGETS).logits
    for changed, is_source in ((TARGETS, False), (IDS, True)):
        others = changed.clone()
        others[:, 3] = changed[:, 3] % 13 + 1
        found = model(others if is_source else IDS, decoder_input_ids=TARGETS if is_source else others).logits
        difference = (found - logits).abs().amax((0, 2))
        assert difference[0 if is_source else 3 :].min() > 1e-4
        if not is_source:
            assert_same(found[:, :3], logits[:, :3])


@each(position_embedding_type=POSITIONS, attn_implementation=IMPLEMENTATIONS)
@torch.no_grad()
def test_padding_of_source_or_target_changes_nothing(options):
    model = trained(TransformerForConditionalGeneration, **options)
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
    together = model(IDS, SIDES, decoder_input_ids=TARGETS, decoder_attention_mask=mask).logits
    for row in range(3):
        source, target = IDS[row][SIDES[row].bool()][None], TARGETS[row][mask[row].bool()][None]
        assert_same(together[row][mask[row].bool()], model(source, decoder_input_ids=target).logits[0])


def test_losses_by_hand():
    model = trained(TransformerForConditionalGeneration)
    outputs = model(IDS, SIDES, labels=LABELS)
    log_probs = outputs.logits.log_softmax(-1)
    expected = -sum(log_probs[row, step, LABELS[row, step]] for row, step in (LABELS != -100).nonzero().tolist())
    assert_same(outputs.loss, expected.item() / 9)
    loss = model(IDS, SIDES, labels=LABELS, num_items_in_batch=torch.tensor(20)).loss
    assert_same(loss, expected.item() / 20)
    parts = [
        model(IDS[rows], SIDES[rows], labels=LABELS[rows], num_items_in_batch=9).loss.item() for rows in ([0], [1, 2])
    ]
    assert_same(sum(parts), outputs.loss)
    assert model(IDS, SIDES, labels=LABELS, return_dict=False)[0].item() == pytest.approx(outputs.loss.item())
    with pytest.raises(ValueError, match="label 14 is outside 0 to 13"):
        model(IDS, SIDES, labels=LABELS + 5)


def test_the_decoder_reads_the_labels_one_step_later():
    model = small(TransformerForConditionalGeneration)
    shifted = model.prepare_decoder_input_ids_from_labels(LABELS)
    assert [row[real].tolist() for row, real in zip(shifted, LABELS != -100, strict=True)] == [
        [2, 5, 6, 7, 3],
        [2, 8, 4],
        [2],
    ]
    assert (LABELS == -100).sum() == 6 and (shifted >= 0).all()  # the caller's are left alone
    logits = model(IDS, SIDES, decoder_input_ids=shifted).logits
    assert torch.equal(model(IDS, SIDES, labels=LABELS).logits, logits)
    with pytest.raises(ValueError, match="needs a beginning"):
        model(IDS)


@pytest.mark.parametrize(
    ("options", "start"),
    [({}, 2), ({"bos_token_id": None}, 0), ({"decoder_start_token_id": 5}, 5), ({"decoder_start_token_id": 0}, 0)],
)
def test_what_a_text_begins_with(options, start):
    model = small(TransformerForConditionalGeneration, **options)
    assert model.config.decoder_start_token_id == start
    assert model.generate(IDS, **GREEDY)[:, 0].tolist() == [start] * 3


@for_each(
    ("options", "message"),
    [
        ({"bidirectional": True}, "bidirectional=True is for encoders and decoders alone"),
        ({"decoder_start_token_id": 14}, "decoder_start_token_id=14 is outside 0 to vocab_size - 1 = 13"),
        ({"bos_token_id": None, "pad_token_id": None}, "the decoder needs one"),
        ({"num_encoder_layers": 0}, "num_encoder_layers"),
        ({"num_decoder_layers": 3}, "num_decoder_layers"),
        ({"num_attention_heads": 3}, "num_attention_heads=3 does not divide hidden_size=16"),
        ({"d_model": 16}, "Did you mean 'hidden_size'"),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(Exception, match=rf"(?s){message}"):
        TransformerSeq2SeqConfig(**{**SIZES, "bos_token_id": 2, **options})


# Generation


@torch.no_grad()
def greedy_by_hand(model, source, steps=6):
    """The likeliest token, again and again, of one source and without a cache."""
    target = torch.tensor([[model.config.decoder_start_token_id]])
    for _ in range(steps):
        logits = model(source, decoder_input_ids=target, use_cache=False).logits
        target = torch.cat((target, logits[:, -1:].argmax(-1)), dim=1)
    return target


@torch.no_grad()
def beams_by_hand(model, source, beams, steps=6):
    """The likeliest text that beams find, of one source and without a cache or an end."""
    found = [([model.config.decoder_start_token_id], 0.0)]
    for _ in range(steps):
        longer = []
        for tokens, score in found:
            logits = model(source, decoder_input_ids=torch.tensor([tokens]), use_cache=False).logits
            steps_on = logits[0, -1].log_softmax(-1)
            longer += [([*tokens, token], score + steps_on[token].item()) for token in range(len(steps_on))]
        found = sorted(longer, key=lambda text: text[1], reverse=True)[:beams]
    return torch.tensor([found[0][0]])


@each(position_embedding_type=POSITIONS, attn_implementation=IMPLEMENTATIONS)
def test_generated_texts_equal_loops_by_hand(options):
    model = trained(TransformerForConditionalGeneration, num_encoder_layers=1, **MIXED, **options)
    for beams in (1, 3):
        together = model.generate(IDS, attention_mask=SIDES, num_beams=beams, **GREEDY)
        for row in range(3):
            source = IDS[row][SIDES[row].bool()][None]
            expected = greedy_by_hand(model, source) if beams == 1 else beams_by_hand(model, source, beams)
            assert torch.equal(together[row : row + 1], expected), (beams, row)
    assert len(set(map(tuple, together.tolist()))) > 1  # the source matters


def test_each_way_to_generate_gives_the_same():
    model = trained(TransformerForConditionalGeneration, **MIXED)
    given = {"attention_mask": SIDES, **GREEDY}
    expected = model.generate(IDS, **given)
    memory = model.get_encoder()(input_ids=IDS, attention_mask=SIDES)
    for options in (
        {"use_cache": False},
        {"cache_implementation": "static", "disable_compile": True},
        {"assistant_model": model},
        {"output_attentions": True, "return_dict_in_generate": True},
    ):
        rows = [slice(row, row + 1) for row in range(3)] if "assistant_model" in options else [slice(0, 3)]
        for row in rows:  # an assistant helps with one text at a time
            found = model.generate(IDS[row], **{**given, "attention_mask": SIDES[row]}, **options)
            found = found.sequences if "return_dict_in_generate" in options else found
            assert torch.equal(found, expected[row]), options
    assert torch.equal(model.generate(encoder_outputs=memory, **given), expected)
    begun = model.generate(IDS, decoder_input_ids=expected[:, :3], **{**given, "max_new_tokens": 4})
    assert torch.equal(begun, expected)


def test_a_text_ends_at_its_end():
    model = trained(TransformerForConditionalGeneration, **MIXED)
    free = model.generate(IDS, attention_mask=SIDES, **GREEDY).tolist()
    end = free[0][2]
    ended = model.generate(IDS, attention_mask=SIDES, eos_token_id=end, pad_token_id=0, **GREEDY).tolist()
    for row, text in enumerate(free):
        length = text.index(end) + 1 if end in text else 7
        assert ended[row][:length] == text[:length] and not any(ended[row][length:]), row
    assert free[0].index(end) < 3


@torch.no_grad()
def test_the_memory_is_projected_once_a_text(monkeypatch):
    model = trained(TransformerForConditionalGeneration, **MIXED)
    calls = []
    for layer in model.model.decoder.layers:
        layer.cross_attention.k_proj.register_forward_hook(lambda *_: calls.append(1))
    model.generate(IDS, attention_mask=SIDES, **GREEDY)
    assert len(calls) == 2


# Folders, sizes, training


def test_saved_models_load_by_the_auto_classes_with_one_matrix_of_words(tmp_path):
    model = trained(TransformerForConditionalGeneration, num_encoder_layers=1)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        stored = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 (not a dict)
    assert [name for name, shape in stored.items() if 14 in shape] == [
        "lm_head.bias",
        "model.encoder.embed_tokens.weight",
    ]
    loaded, body = AutoModelForSeq2SeqLM.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is TransformerForConditionalGeneration and type(body) is TransformerSeq2SeqModel
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    outputs = model(IDS, SIDES, decoder_input_ids=TARGETS)
    assert torch.equal(loaded(IDS, SIDES, decoder_input_ids=TARGETS).logits, outputs.logits)
    assert torch.equal(
        body(IDS, SIDES, decoder_input_ids=TARGETS).encoder_last_hidden_state, outputs.encoder_last_hidden_state
    )


@pytest.mark.parametrize("tied", [True, False])
def test_the_vocabulary_grows(tied):
    model = trained(TransformerForConditionalGeneration, tie_word_embeddings=tied)
    before = model(IDS, decoder_input_ids=TARGETS).logits
    model.resize_token_embeddings(20, mean_resizing=False)
    after = model(IDS, decoder_input_ids=TARGETS).logits
    assert after.shape == (3, 5, 20)
    assert_same(after[..., :14], before)
    assert model.config.vocab_size == 20 == len(model.lm_head.bias)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    assert model(IDS + 6, labels=TARGETS + 6).loss.isfinite()


def test_frozen_embeddings_serve_both_sides():
    model = trained(TransformerForConditionalGeneration, freeze_embeddings=True)
    model(IDS, labels=TARGETS).loss.backward()
    assert model.get_input_embeddings().weight.grad is None
    assert model.model.decoder.layers[0].cross_attention.k_proj.weight.grad.any()


def test_a_trainer_teaches_it_to_turn_texts_round(tmp_path):
    generator = torch.Generator().manual_seed(0)
    sources = [torch.randint(4, 14, (2 + row % 3,), generator=generator).tolist() for row in range(32)]
    rows = Dataset.from_dict({"input_ids": sources, "labels": [[*source[::-1], 3] for source in sources]})
    model = small(TransformerForConditionalGeneration, hidden_size=32, num_hidden_layers=1, eos_token_id=3)
    words = tokenizer()
    scores = []

    def exact_match(prediction):
        found = [[token for token in row if token > 3] for row in prediction.predictions.tolist()]
        scores.append(sum(text == source[::-1] for text, source in zip(found, sources, strict=True)) / 32)
        return {"exact_match": scores[-1]}

    arguments = Seq2SeqTrainingArguments(
        str(tmp_path),
        max_steps=60,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=32,
        learning_rate=0.01,
        lr_scheduler_type="cosine",
        logging_steps=10,
        predict_with_generate=True,
        generation_max_length=8,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Seq2SeqTrainer(
        model,
        arguments,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=words,
        data_collator=DataCollatorForSeq2Seq(words, model),
        compute_metrics=exact_match,
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert before["eval_loss"] > 2 and after["eval_loss"] < 0.1
    assert before["eval_exact_match"] < 0.1 and after["eval_exact_match"] == 1.0
