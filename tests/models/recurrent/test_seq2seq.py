"""Recurrent encoder-decoders equal plain torch, step by step; padding, labels, sampling, errors."""

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutput

import hfseq
from hfseq import Seq2SeqConfig, Seq2SeqForConditionalGeneration, Seq2SeqModel
from tests.closeness import assert_same
from tests.contract.cases import tokenizer
from tests.models.recurrent.small_seq2seq import ATTENTIONS, IDS, LABELS, SIDES, SIZES, TARGETS, VARIANTS, small
from tests.rounds import for_each

# The oracle: nn.LSTM or nn.GRU reads one source, their cells write, and attention is written out token by token.


def torch_biases(loop):
    """The two biases of torch, which adds them up where the cell does not keep them apart."""
    other = torch.zeros_like(loop.bias)
    if loop.bias_hh is not None:
        other[-len(loop.bias_hh) :] = loop.bias_hh
    return loop.bias, other


def torch_encoder(encoder, kind):
    config = encoder.config
    layer = kind(
        config.embedding_size,
        config.direction_size,
        config.encoder_depth,
        batch_first=True,
        bidirectional=config.bidirectional_encoder,
    )
    weights = {}
    for number, ours in enumerate(encoder.layers):
        for loop, end in ((ours.forward_loop, ""), (ours.backward_loop, "_reverse")):
            if loop is not None:
                values = (loop.weight_ih, loop.weight_hh, *torch_biases(loop))
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                weights |= {f"{name}_l{number}{end}": value for name, value in zip(names, values, strict=True)}
    layer.load_state_dict(weights)
    return layer.double()


def torch_cell(loop, kind):
    cell = kind(loop.weight_ih.shape[1], loop.hidden_size).double()
    for name, value in zip(
        ("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
        (loop.weight_ih, loop.weight_hh, *torch_biases(loop)),
        strict=True,
    ):
        getattr(cell, name).data.copy_(value)
    return cell


def scores_by_hand(attention, config, h, memory, covered):
    """e_ts of one step for each head and source token, and what the context is made of."""
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    if config.attention == "dot":
        return torch.stack([h @ m for m in memory])[None], memory
    if config.attention == "general":
        return torch.stack([h @ (attention.key.weight @ m) for m in memory])[None], memory
    if config.attention == "additive":
        found = []
        for m, seen in zip(memory, covered, strict=True):
            inside = attention.query.weight @ h + attention.key.weight @ m + attention.key.bias
            if config.coverage:
                inside = inside + attention.coverage.weight[:, 0] * seen
            found.append(attention.score.weight[0] @ inside.tanh())
        return torch.stack(found)[None], memory
    query, keys = attention.query.weight @ h, memory @ attention.key.weight.T
    found = [
        [query[n * width : (n + 1) * width] @ key[n * width : (n + 1) * width] / width**0.5 for key in keys]
        for n in range(heads)
    ]
    return torch.tensor(found), memory @ attention.value.weight.T


@torch.no_grad()
def by_hand(model, source, target):
    """Logits (T, V) and weights (heads, T, S) of one source and one target."""
    config, body = model.config, model.model
    decoder = body.decoder
    encoder_kind, cell_kind = {"lstm": (nn.LSTM, nn.LSTMCell), "gru": (nn.GRU, nn.GRUCell)}[config.cell]
    memory, states = torch_encoder(body.encoder, encoder_kind)(body.encoder.embed_tokens(source)[None])
    states = states if isinstance(states, tuple) else (states,)
    # (layers, directions, width) -> (layers, H)
    ended = [state[:, 0].view(config.encoder_depth, -1) for state in states]
    cells = [torch_cell(loop, cell_kind) for loop in decoder.layers]
    bridges = iter(decoder.bridge.projections)
    current = []
    for layer in range(len(cells)):
        partner = max(layer + config.encoder_depth - len(cells), 0)
        current.append([torch.tanh(next(bridges)(state[partner]))[None] for state in ended])
    words = body.encoder.embed_tokens if decoder.embed_tokens is None else decoder.embed_tokens
    memory, vector = memory[0], current[-1][0]
    fed, covered = torch.zeros(1, config.hidden_size).double(), torch.zeros(len(memory)).double()
    logits, weights = [], []
    for token in target:
        x = words(token)[None] if config.feedback else vector
        x = torch.cat((x, fed), 1) if config.input_feeding else x
        for place, cell in enumerate(cells):
            after = cell(x, tuple(current[place]) if len(ended) == 2 else current[place][0])
            current[place] = list(after) if isinstance(after, tuple) else [after]
            x = current[place][0]
        if config.attention != "none":
            scores, values = scores_by_hand(decoder.attention, config, x[0], memory, covered)
            alpha = scores.softmax(-1)
            parts = values.view(len(values), len(alpha), -1)
            context = torch.cat([alpha[n] @ parts[:, n] for n in range(len(alpha))])
            x = fed = torch.tanh(decoder.combine.weight @ torch.cat((context, x[0])))[None]
            covered = covered + alpha[0]
            weights.append(alpha)
        logits.append(model.lm_head(x[0]))
    return torch.stack(logits), torch.stack(weights, 1) if weights else None


ORACLES = [
    {**attention, **options, "cell": cell}
    for cell in ("lstm", "gru")
    for attention in ATTENTIONS.values()
    for options in ({}, {"num_hidden_layers": 2, "num_encoder_layers": 3, "decoder_vocab_size": 20})
]
ORACLES += [
    {**ATTENTIONS[kind], "input_feeding": True, "cell": cell, "num_hidden_layers": 2}
    for cell in ("lstm", "gru")
    for kind in ("dot", "general", "additive", "heads")
]
ORACLES += [
    {"attention": "additive", "coverage": True, "input_feeding": feeding, "cell": cell}
    for cell in ("lstm", "gru")
    for feeding in (False, True)
]
ORACLES += [
    {"feedback": False, "attention": attention, "cell": cell, "bidirectional_encoder": both, "num_hidden_layers": 2}
    for cell, attention, both in (("lstm", "none", True), ("gru", "none", False), ("lstm", "general", False))
]


@for_each("options", ORACLES)
@torch.no_grad()
def test_a_forward_pass_equals_plain_torch(options):
    model = small(**options).double()
    found = model(IDS, SIDES, decoder_input_ids=TARGETS, output_attentions=True)
    for row in range(3):
        real = SIDES[row].bool()
        logits, weights = by_hand(model, IDS[row][real], TARGETS[row])
        assert_same(found.logits[row], logits, 1e-12)
        if weights is None:
            assert found.cross_attentions is None
        else:
            assert len(found.cross_attentions) == 1
            assert_same(found.cross_attentions[0][row][..., real], weights, 1e-12)
            assert not found.cross_attentions[0][row][..., ~real].any()


DERIVED = ("additive", "heads", "coverage-feeding", "naive-attention", "one-way", "tied")


@for_each("options", [VARIANTS[name] for name in DERIVED])
def test_gradients_equal_finite_differences(options):
    model = small(**options).double()
    generator = torch.Generator().manual_seed(3)
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])

    def draw(like):
        return torch.randn(like.shape, dtype=torch.float64, generator=generator)

    weights = draw(torch.empty(3, 5, model.config.target_size))  # in float64, unlike the loss

    def value():
        logits = model(IDS, SIDES, decoder_input_ids=TARGETS, decoder_attention_mask=mask).logits
        return (logits * weights).sum()

    value().backward()
    for parameter in model.parameters():
        direction, step = draw(parameter), 1e-5
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
                sides.append(value().item())
                parameter -= sign * step * direction
        slope = 0.0 if parameter.grad is None else (parameter.grad * direction).sum().item()
        assert_same(slope, (sides[0] - sides[1]) / (2 * step), 1e-5, scale=1.0)


# What a model reads


@for_each("options", VARIANTS.values())
@torch.no_grad()
def test_step_by_step_equals_the_whole(options):
    model = small(**options)
    whole = model(IDS, SIDES, decoder_input_ids=TARGETS, output_attentions=True)
    encoded = model.get_encoder()(IDS, SIDES)
    cache, logits, weights = None, [], []
    for piece in (TARGETS[:, :1], TARGETS[:, 1:3], TARGETS[:, 3:]):
        outputs = model(
            attention_mask=SIDES,
            encoder_outputs=encoded,
            decoder_input_ids=piece,
            cache=cache,
            use_cache=True,
            output_attentions=True,
        )
        cache = outputs.cache
        logits.append(outputs.logits)
        weights += outputs.cross_attentions or ()
    assert cache.get_seq_length() == 5
    assert_same(torch.cat(logits, 1), whole.logits)
    if whole.cross_attentions:
        assert_same(torch.cat(weights, 2), whole.cross_attentions[0])


@for_each("options", VARIANTS.values())
@torch.no_grad()
def test_padding_of_source_or_target_changes_nothing(options):
    model = small(**options)
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
    together = model(IDS, SIDES, decoder_input_ids=TARGETS, decoder_attention_mask=mask, use_cache=True)
    assert not model.model(IDS, SIDES, TARGETS, mask).last_hidden_state[mask == 0].any()
    after = model(
        attention_mask=SIDES,
        encoder_outputs=(together.encoder_last_hidden_state, model.get_encoder()(IDS, SIDES).final_states),
        decoder_input_ids=TARGETS[:, :2],
        cache=together.cache,
    )
    for row in range(3):
        source, target = IDS[row][SIDES[row].bool()][None], TARGETS[row][mask[row].bool()][None]
        longer = torch.cat((target, TARGETS[row : row + 1, :2]), 1)
        alone = model(source, decoder_input_ids=longer).logits[0]
        assert_same(torch.cat((together.logits[row][mask[row].bool()], after.logits[row])), alone)


@torch.no_grad()
def test_a_source_without_tokens_is_the_same_in_a_batch_and_alone():
    for options in VARIANTS.values():
        model = small(**options)
        mask = SIDES.clone()
        mask[1] = 0
        together = model(IDS, mask, decoder_input_ids=TARGETS).logits[1:2]
        for nothing in (IDS[1:2, :0], torch.zeros(1, 0)):  # the second is what a tokenizer makes of it
            alone = model(nothing, torch.zeros(1, 0), decoder_input_ids=TARGETS[1:2]).logits
            assert_same(alone, together)
        written = model.generate(IDS, attention_mask=mask, max_new_tokens=4, do_sample=False)
        assert written.shape == (3, 5)


@torch.no_grad()
def test_a_future_token_changes_no_past_logit_and_a_source_token_changes_all():
    for name, options in VARIANTS.items():
        model = small(**options)
        logits = model(IDS, decoder_input_ids=TARGETS).logits
        others = TARGETS.clone()
        others[:, 3] = (TARGETS[:, 3] - 3) % 10 + 4
        changed = (model(IDS, decoder_input_ids=others).logits - logits).abs().amax((0, 2))
        assert not changed[:3].any(), name
        assert bool(changed[3:].all()) == model.config.feedback, name
        sources = IDS.clone()
        sources[:, 3] = (IDS[:, 3] - 3) % 10 + 4
        assert (model(sources, decoder_input_ids=TARGETS).logits - logits).abs().amax((0, 2)).min() > 1e-5, name


@torch.no_grad()
def test_hidden_states_and_tuples():
    model = small(num_encoder_layers=3, num_hidden_layers=2)
    plain = model(IDS, SIDES, decoder_input_ids=TARGETS)
    assert plain.decoder_hidden_states is plain.encoder_hidden_states is plain.cross_attentions is None
    shown = model(IDS, SIDES, decoder_input_ids=TARGETS, output_hidden_states=True, output_attentions=True)
    assert [layer.shape for layer in shown.encoder_hidden_states] == [(3, 7, 6), *[(3, 7, 8)] * 3]
    assert [layer.shape for layer in shown.decoder_hidden_states] == [(3, 5, 6), *[(3, 5, 8)] * 2]
    assert torch.equal(shown.encoder_hidden_states[-1], shown.encoder_last_hidden_state)
    encoded = model.get_encoder()(IDS, SIDES, return_dict=False)
    assert len(encoded) == 2
    again = model(attention_mask=SIDES, encoder_outputs=encoded, decoder_input_ids=TARGETS, return_dict=False)
    assert torch.equal(again[0], plain.logits)
    embedded = model(
        inputs_embeds=model.get_input_embeddings()(IDS),
        attention_mask=SIDES,
        decoder_inputs_embeds=model.model.embed_targets(TARGETS),
    )
    assert torch.equal(embedded.logits, plain.logits)


# Labels


def test_losses_by_hand():
    for options in VARIANTS.values():
        model = small(**options)
        outputs = model(IDS, SIDES, labels=LABELS)
        logits = model(IDS, SIDES, decoder_input_ids=model.prepare_decoder_input_ids_from_labels(LABELS)).logits
        assert_same(outputs.logits[LABELS != -100], logits[LABELS != -100])
        rows = (LABELS != -100).nonzero().tolist()
        total = -sum(logits.log_softmax(-1)[row, step, LABELS[row, step]] for row, step in rows)
        assert_same(outputs.loss, total / 9)
        assert_same(model(IDS, SIDES, labels=LABELS, num_items_in_batch=20).loss, total / 20)
        lean = model(IDS, SIDES, labels=LABELS, logits_to_keep=1)
        assert lean.logits.shape == (3, 1, model.config.target_size)
        assert_same(lean.loss, total / 9)


def test_a_label_that_is_not_asked_for_is_still_read():
    model = small()
    labels = torch.where(torch.arange(5) == 1, -100, TARGETS)
    assert model.prepare_decoder_input_ids_from_labels(labels)[0].tolist() == [2, labels[0, 0], 2, *labels[0, 2:4]]
    given = model(IDS, decoder_input_ids=model.prepare_decoder_input_ids_from_labels(labels)).logits
    assert_same(model(IDS, labels=labels).logits, given)


def test_training_reads_no_further_than_the_last_label():
    model, read = small(), []
    hook = lambda _, given, __: read.append(given[1].real)  # noqa: E731
    model.model.decoder.layers[0].register_forward_hook(hook)
    shifted = model.prepare_decoder_input_ids_from_labels(LABELS)  # as collators of transformers do
    expected = model(IDS, SIDES, decoder_input_ids=shifted, labels=LABELS).loss
    found = model.train()(IDS, SIDES, decoder_input_ids=shifted, labels=LABELS).loss
    assert_same(found, expected)
    assert read[0] is None and torch.equal(read[1], LABELS != -100)


@for_each(
    ("options", "labels"),
    [
        (VARIANTS[name], labels)
        for name in ("feeding", "feeding-heads", "coverage", "coverage-feeding")
        for labels in (LABELS, LABELS[:, :4], LABELS.flip(0), LABELS.masked_fill(LABELS == 9, -100))
    ],
)
def test_rows_that_have_ended_are_left_out_of_later_steps(options, labels):
    found, rows = {}, []
    for use_cache in (True, False):
        model = small(**options)
        model.model.decoder.layers[0].register_forward_pre_hook(lambda _, given: rows.append(given[1].batch))
        outputs = model(
            IDS, SIDES, labels=labels, use_cache=use_cache, output_attentions=True, output_hidden_states=True
        )
        outputs.loss.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        shown = (outputs.decoder_hidden_states[1:], outputs.cross_attentions[0] * (labels != -100)[:, None, :, None])
        found[use_cache] = outputs.loss, outputs.logits, shown, gradients
    assert_same(found[False], found[True], scale=1e-3)
    assert len(rows) == labels.shape[1] + int((labels != -100).sum(1).max())
    assert sum(rows) == 3 * labels.shape[1] + int((labels != -100).sum())


def test_the_loss_gives_the_same_gradients_with_and_without_all_logits():
    for options in (VARIANTS["tied"], VARIANTS["feeding"]):
        found = []
        for keep in (0, 1):
            model = small(**options)
            model(IDS, SIDES, labels=LABELS, logits_to_keep=keep).loss.backward()
            found.append({name: parameter.grad for name, parameter in model.named_parameters()})
        assert_same(*found)


def test_scheduled_sampling_reads_what_the_model_would_write():
    model = small(scheduled_sampling=1.0).train()
    start = torch.full((3, 1), 2)
    written = start
    with torch.no_grad():
        for _ in range(4):
            written = torch.cat((written, model.eval()(IDS, decoder_input_ids=written).logits[:, -1:].argmax(-1)), 1)
    sampled = model.train()(IDS, labels=TARGETS).logits
    assert_same(sampled, model.eval()(IDS, decoder_input_ids=written).logits)
    forced = small().train()(IDS, labels=TARGETS).logits
    assert (forced - sampled)[:, 1:].abs().max() > 1e-3
    assert_same(model.eval()(IDS, labels=TARGETS).logits, forced)  # in training alone
    half = small(scheduled_sampling=0.5).train()
    torch.manual_seed(1)
    first, second = half(IDS, labels=TARGETS).logits, half(IDS, labels=TARGETS).logits
    torch.manual_seed(1)
    assert torch.equal(half(IDS, labels=TARGETS).logits, first) and not torch.equal(first, second)


def test_dropout_is_drawn_in_training_alone():
    for options in (VARIANTS["deep"], VARIANTS["feeding"], {**VARIANTS["none"], "num_hidden_layers": 2}):
        model = small(**options, **{"hidden_dropout": 0.5})
        assert torch.equal(model(IDS, labels=TARGETS).logits, small(**options)(IDS, labels=TARGETS).logits)
        model.train()
        assert not torch.equal(model(IDS, labels=TARGETS).logits, model(IDS, labels=TARGETS).logits)


def test_a_graph_and_a_transform_take_no_kernel_and_give_the_same():
    model = small(**VARIANTS["additive"])
    given = {"input_ids": IDS, "attention_mask": SIDES, "decoder_input_ids": TARGETS}
    expected = model(**given).logits
    expected.sum().backward()
    assert_same(torch.export.export(model, (), given).module()(**given).logits, expected)

    def total(weights):
        return torch.func.functional_call(model, weights, kwargs=given).logits.sum()

    found = torch.func.grad(total)(dict(model.named_parameters()))
    used = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    assert_same({name: found[name] for name in used}, used, scale=1.0)


@pytest.mark.slow
@for_each("options", [VARIANTS[name] for name in ("additive", "coverage-feeding", "naive")])
def test_a_compiled_model_gives_the_same(options):
    model = small(**options)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager")(IDS, SIDES, labels=LABELS)
    assert_same(compiled.loss, model(IDS, SIDES, labels=LABELS).loss)


# Folders, sizes, training


def test_saved_models_load_by_the_auto_classes(tmp_path):
    for number, options in enumerate(VARIANTS.values()):
        model, folder = small(**options), tmp_path / str(number)
        model.save_pretrained(folder)
        loaded, body = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoModel.from_pretrained(folder)
        assert type(loaded) is Seq2SeqForConditionalGeneration and type(body) is Seq2SeqModel
        given = (IDS, SIDES, TARGETS)
        assert torch.equal(loaded(*given).logits, model(*given).logits)
        assert torch.equal(body(*given).last_hidden_state, model.model(*given).last_hidden_state)
        if model.config.tie_word_embeddings:
            assert loaded.lm_head.weight is loaded.get_input_embeddings().weight


def test_a_cell_of_ones_own_travels_by_its_name(tmp_path):
    @hfseq.register_cell("seq2seq_keeper", gates=("f", "g"), states=("h", "slow", "slower"))
    def keeper(ops, gates, states, params):
        (f, g), (h, slow, slower) = gates, states
        slow = 0.5 * slow + 0.5 * ops.tanh(g)
        return (ops.sigmoid(f) * h + slow + slower, slow, 0.9 * slower + 0.1 * slow)

    model = small(cell="seq2seq_keeper", num_hidden_layers=2, num_encoder_layers=1, input_feeding=True)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(IDS, SIDES, TARGETS).logits, model(IDS, SIDES, TARGETS).logits)
    assert torch.equal(
        model.generate(IDS, attention_mask=SIDES, num_beams=2, max_new_tokens=4),
        model.generate(IDS, attention_mask=SIDES, num_beams=2, max_new_tokens=4, use_cache=False),
    )


@pytest.mark.parametrize("tied", [True, False])
def test_the_vocabulary_grows(tied):
    model = small(embedding_size=8, tie_word_embeddings=tied)
    before = model(IDS, decoder_input_ids=TARGETS).logits
    model.resize_token_embeddings(20, mean_resizing=False)
    after = model(IDS, decoder_input_ids=TARGETS).logits
    assert after.shape == (3, 5, 20) and model.config.vocab_size == 20
    assert_same(after[..., :14], before)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    assert model(IDS + 6, labels=TARGETS + 6).loss.isfinite()


def test_two_vocabularies_do_not_grow_by_one_number():
    model = small(decoder_vocab_size=20)
    with pytest.raises(ValueError, match="14 source and 20 target tokens, and 30 does not say which"):
        model.resize_token_embeddings(30)
    assert model.resize_token_embeddings(14) is model.get_input_embeddings()


def test_frozen_embeddings_stay(tmp_path):
    model = small(freeze_embeddings=True, decoder_vocab_size=20)
    model.save_pretrained(tmp_path)
    for each in (model, Seq2SeqForConditionalGeneration.from_pretrained(tmp_path)):
        each(IDS, labels=TARGETS).loss.backward()
        still = [name for name, parameter in each.named_parameters() if parameter.grad is None]
        assert still == ["model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"]


def test_a_trainer_teaches_it_to_turn_texts_round(tmp_path):
    generator = torch.Generator().manual_seed(0)
    sources = [torch.randint(4, 14, (2 + row % 3,), generator=generator).tolist() for row in range(32)]
    rows = Dataset.from_dict({"input_ids": sources, "labels": [[*source[::-1], 3] for source in sources]})
    torch.manual_seed(0)
    model = Seq2SeqForConditionalGeneration(Seq2SeqConfig(**{**SIZES, "hidden_size": 32, "eos_token_id": 3}))
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
        learning_rate=0.02,
        lr_scheduler_type="cosine",
        logging_steps=10,
        predict_with_generate=True,
        generation_max_length=8,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    words = tokenizer()
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


# What is refused


@for_each(
    ("options", "message"),
    [
        ({"attention": "luong"}, "attention"),
        ({"num_attention_heads": 2}, "num_attention_heads=2 is for attention='multi_head'"),
        ({"attention": "multi_head", "num_attention_heads": 3}, "num_attention_heads=3 does not divide hidden_size=8"),
        ({"attention": "none", "input_feeding": True}, "input_feeding=True feeds the attentional vector"),
        ({"coverage": True}, "coverage=True is a part of the additive score"),
        ({"feedback": False, "input_feeding": True}, "input_feeding=True is about what the decoder reads"),
        ({"feedback": False, "scheduled_sampling": 0.5}, "scheduled_sampling=0.5 is about what the decoder reads"),
        ({"hidden_size": 9}, "hidden_size=9 is shared by two directions: make it even"),
        ({"cell": "lstm_blocks", "hidden_size": 12}, "cell='lstm_blocks' needs directions of a width divisible by 4"),
        ({"cell": "transistor"}, "no cell is called 'transistor'"),
        ({"tie_word_embeddings": True}, "embedding_size=6 and hidden_size=8: make them equal"),
        (
            {"tie_word_embeddings": True, "embedding_size": 8, "feedback": False, "decoder_vocab_size": 20},
            "tie_word_embeddings=True needs embeddings of the target",
        ),
        ({"bos_token_id": None, "pad_token_id": None}, "the decoder needs one"),
        ({"decoder_start_token_id": 14}, "decoder_start_token_id=14 is outside 0 to vocab_size - 1 = 13"),
        (
            {"decoder_vocab_size": 20, "eos_token_id": 20},
            "eos_token_id=20 is outside 0 to decoder_vocab_size - 1 = 19",
        ),
        (
            {"decoder_vocab_size": 20, "encoder_pad_token_id": 14},
            "encoder_pad_token_id=14 is outside 0 to vocab_size - 1 = 13",
        ),
        ({"decoder_vocab_size": 20, "pad_token_id": 15}, "set encoder_pad_token_id"),
        ({"encoder_layers": 2}, "Did you mean 'num_encoder_layers'"),
        ({"rnn_type": "gru"}, "Did you mean 'cell'"),
        ({"bidirectional": False}, "has no field 'bidirectional'"),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(Exception, match=rf"(?s){message}"):
        Seq2SeqConfig(**{**SIZES, **options})


def test_wrong_inputs_are_named():
    model = small(decoder_vocab_size=20)
    encoded = model.get_encoder()(IDS, SIDES)
    target = {"decoder_input_ids": TARGETS}
    for message, args, kwargs in (
        ("A decoder needs a beginning: give decoder_input_ids, or labels", (IDS,), {}),
        ("exactly one of input_ids and inputs_embeds", (), target),
        ("input id 14 is outside 0 to 13", (IDS + (IDS == 13),), target),
        ("input id 20 is outside 0 to 19", (IDS,), {"decoder_input_ids": TARGETS + 11 - TARGETS.max() + 9}),
        ("label 20 is outside 0 to 19", (IDS,), {"labels": TARGETS + 20 - TARGETS.max()}),
        ("input_ids must be of shape", (IDS[0],), target),
        ("decoder_input_ids must be of shape", (IDS,), {"decoder_input_ids": TARGETS[0]}),
        (
            "decoder_input_ids have no tokens: give at least decoder_start_token_id",
            (IDS,),
            {"decoder_input_ids": TARGETS[:, :0]},
        ),
        ("labels are .batch, target tokens., one token a row or more", (IDS,), {"labels": TARGETS[:, :0]}),
        ("There are 2 sources and 3 targets", (IDS[:2],), target),
        ("attention_mask of shape .3, 6.", (IDS, SIDES[:, :6]), target),
        ("attention_mask of shape .3, 4.", (IDS, SIDES), {**target, "decoder_attention_mask": SIDES[:, :4]}),
        ("attention_mask of shape .3, 6.", (None, SIDES[:, :6]), {**target, "encoder_outputs": encoded}),
        ("no final_states", (), {**target, "encoder_outputs": BaseModelOutput(encoded.last_hidden_state)}),
        ("no final_states", (), {**target, "encoder_outputs": (encoded.last_hidden_state,)}),
        ("an EncoderDecoderCache, got DynamicCache", (IDS,), {**target, "cache": DynamicCache()}),
        ("input_ids have no rows", (IDS[:0],), {"decoder_input_ids": TARGETS[:0]}),
    ):
        with pytest.raises(ValueError, match=message):
            model(*args, **kwargs)
    with pytest.raises(TypeError, match="does not read 'decoder_attention_masks'"):
        model(IDS, labels=TARGETS, decoder_attention_masks=SIDES)
    with pytest.raises(ValueError, match="does not support (gradient|activation) checkpointing"):
        model.gradient_checkpointing_enable()


def test_a_target_longer_than_learned_positions_is_refused():
    config = hfseq.TransformerSeq2SeqConfig(
        vocab_size=14, hidden_size=8, num_hidden_layers=1, position_embedding_type="learned", max_position_embeddings=7
    )
    model = hfseq.TransformerForConditionalGeneration(config)
    assert model(IDS, labels=IDS).loss.isfinite()
    with pytest.raises(ValueError, match="A text of 8 tokens is longer than the 7 positions"):
        model(IDS, labels=torch.cat((IDS, IDS[:, :1]), 1))
