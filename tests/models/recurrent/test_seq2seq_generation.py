"""Recurrent encoder-decoders write what loops without a cache write, in each of the ways of `generate`."""

import itertools

import pytest
import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from tests.closeness import assert_same
from tests.models.recurrent.small_seq2seq import ATTENTIONS, GREEDY, IDS, SIDES, TARGETS, VARIANTS, small
from tests.rounds import for_each

PADDED = {"attention_mask": SIDES, **GREEDY}


@torch.no_grad()
def greedy_by_hand(model, source, begun=(2,), steps=6):
    """The likeliest token, again and again, of one source and without a cache."""
    target = torch.tensor([begun])
    for _ in range(steps):
        logits = model(source, decoder_input_ids=target, use_cache=False).logits
        target = torch.cat((target, logits[:, -1:].argmax(-1)), dim=1)
    return target


@torch.no_grad()
def beams_by_hand(model, source, beams, steps=6):
    """The likeliest text that beams find, of one source and without a cache or an end."""
    found = [([2], 0.0)]
    for _ in range(steps):
        targets = torch.tensor([tokens for tokens, _ in found])
        logits = model(source.expand(len(found), -1), decoder_input_ids=targets, use_cache=False).logits
        scores = torch.tensor([score for _, score in found])[:, None] + logits[:, -1].log_softmax(-1)
        best = scores.flatten().topk(beams)
        places = [divmod(place, scores.shape[1]) for place in best.indices.tolist()]
        found = [
            ([*found[row][0], token], score) for (row, token), score in zip(places, best.values.tolist(), strict=True)
        ]
    return torch.tensor([found[0][0]])


@for_each("options", VARIANTS.values())
def test_generated_texts_equal_loops_by_hand(options):
    model = small(**options)
    for beams in (1, 3):
        together = model.generate(IDS, num_beams=beams, **PADDED)
        for row in range(3):
            source = IDS[row][SIDES[row].bool()][None]
            expected = greedy_by_hand(model, source) if beams == 1 else beams_by_hand(model, source, beams)
            assert torch.equal(together[row : row + 1], expected), (beams, row)


def length_of(tokens, end=3):
    return tokens.index(end) + 1 if end in tokens else len(tokens)


@torch.no_grad()
def every_text(model, source, steps, penalty):
    """All texts of a toy vocabulary, with their scores, best first."""
    size = model.config.target_size
    texts = {text[: length_of(text)] for text in itertools.product(range(size), repeat=steps)}
    found = []
    for length in range(1, steps + 1):
        targets = torch.tensor([text for text in texts if len(text) == length])
        if not len(targets):
            continue
        read = torch.cat((torch.full((len(targets), 1), 2), targets[:, :-1]), 1)
        logits = model(source.expand(len(targets), -1), decoder_input_ids=read).logits.log_softmax(-1)
        totals = logits.gather(2, targets[..., None]).sum((1, 2)) / length**penalty
        found += zip(totals.tolist(), targets.tolist(), strict=True)
    return sorted(found, reverse=True)


@for_each(
    ("options", "penalty"),
    [(VARIANTS[name], penalty) for name in ("general", "coverage-feeding") for penalty in (0.0, 1.0, 2.0)],
)
def test_beams_find_the_best_of_all_texts(options, penalty):
    model = small(**options, vocab_size=14, decoder_vocab_size=5, eos_token_id=3)
    every = every_text(model, IDS[2:, 2:], 3, penalty)
    found = model.generate(
        IDS[2:],
        attention_mask=SIDES[2:],
        num_beams=len(every),
        num_return_sequences=5,
        length_penalty=penalty,
        early_stopping="never",
        max_new_tokens=3,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    texts = [tuple(row[: length_of(row)]) for row in found.sequences[:, 1:].tolist()]
    assert texts == [tuple(tokens) for _, tokens in every[:5]]
    assert_same(found.sequences_scores, torch.tensor([score for score, _ in every[:5]]))


def test_each_way_to_generate_gives_the_same():
    for name in ("general", "additive", "feeding", "coverage-feeding", "naive", "two-vocabularies"):
        model = small(**VARIANTS[name])
        expected = model.generate(IDS, **PADDED)
        memory = model.get_encoder()(input_ids=IDS, attention_mask=SIDES)
        for options in (
            {"use_cache": False},
            {"cache_implementation": "static", "disable_compile": True},
            {"output_attentions": True, "output_hidden_states": True, "return_dict_in_generate": True},
            {"past_key_values": EncoderDecoderCache(DynamicCache(), DynamicCache())},
        ):
            found = model.generate(IDS, **PADDED, **options)
            found = found.sequences if "return_dict_in_generate" in options else found
            assert torch.equal(found, expected), (name, options)
        assert torch.equal(model.generate(encoder_outputs=memory, **PADDED), expected), name
        begun = model.generate(IDS, decoder_input_ids=expected[:, :3], **{**PADDED, "max_new_tokens": 4})
        assert torch.equal(begun, expected), name


@for_each("options", [VARIANTS[name] for name in ("none", "additive", "feeding", "coverage-feeding", "deep", "naive")])
def test_an_assistant_whose_guesses_are_wrong_changes_nothing(options):
    model, stranger = small(**options), small(**options)
    with torch.no_grad():
        stranger.lm_head.weight += torch.randn(
            stranger.lm_head.weight.shape, generator=torch.Generator().manual_seed(5)
        )
    for row in range(3):  # an assistant helps with one text at a time
        given = {**PADDED, "attention_mask": SIDES[row : row + 1]}
        expected = model.generate(IDS[row : row + 1], **given)
        for assistant in (model, stranger):
            found = model.generate(IDS[row : row + 1], assistant_model=assistant, **given)
            assert torch.equal(found, expected), row
        assert torch.equal(model.generate(IDS[row : row + 1], prompt_lookup_num_tokens=2, **given), expected)


def test_sampling_draws_the_same_with_and_without_a_cache():
    for options in (VARIANTS["additive"], VARIANTS["coverage-feeding"]):
        model = small(**options)
        for beams, returned in ((1, 2), (3, 2)):
            drawn = []
            for use_cache in (True, False):
                torch.manual_seed(0)
                drawn.append(
                    model.generate(
                        IDS,
                        attention_mask=SIDES,
                        do_sample=True,
                        num_beams=beams,
                        num_return_sequences=returned,
                        max_new_tokens=6,
                        use_cache=use_cache,
                    )
                )
            assert drawn[0].shape == (6, 7) and torch.equal(*drawn)
            assert len(set(map(tuple, drawn[0].tolist()))) > 3


def test_a_text_goes_on_from_the_cache_that_was_returned():
    for name in ("general", "coverage-feeding", "naive"):
        model = small(**VARIANTS[name])
        whole = model.generate(IDS, **PADDED)
        first = model.generate(IDS, **{**PADDED, "max_new_tokens": 3}, return_dict_in_generate=True)
        assert torch.equal(first.sequences, whole[:, :4])
        rest = model.generate(
            IDS,
            decoder_input_ids=first.sequences,
            # By its length transformers sees which of these tokens the cache has not read.
            decoder_attention_mask=torch.ones_like(first.sequences),
            past_key_values=first.past_key_values,
            **{**PADDED, "max_new_tokens": 3},
        )
        assert torch.equal(rest, whole), name


def test_prompts_padded_on_either_side_go_on_alike():
    left = torch.tensor([[1] * 5, [0, 0, 1, 1, 1], [0, 0, 0, 0, 1]])
    prompts = torch.where(left.bool(), TARGETS, 0)
    for name in ("general", "coverage-feeding"):
        model = small(**VARIANTS[name], decoder_start_token_id=0)  # what padding on the left begins with as well
        alone = [
            greedy_by_hand(model, IDS[row][SIDES[row].bool()][None], (0, *TARGETS[row][left[row].bool()].tolist()), 4)
            for row in range(3)
        ]
        begun = torch.cat((torch.zeros(3, 1, dtype=torch.long), prompts), 1)
        # The start stands in front of each text, and the padding before it.
        mask = torch.cat((left, torch.ones(3, 1, dtype=torch.long)), 1)
        for row, real in enumerate(mask):
            begun[row] = torch.cat(
                (torch.zeros(int((real == 0).sum()) + 1, dtype=torch.long), prompts[row][left[row].bool()])
            )
        options = {**PADDED, "max_new_tokens": 4}
        found = model.generate(IDS, decoder_input_ids=begun, decoder_attention_mask=mask, **options)
        for row in range(3):
            assert torch.equal(found[row, -4:], alone[row][0, -4:]), (name, row)
        behind = torch.stack([begun[row].roll(int(mask[row].sum())) for row in range(3)])
        found = model.generate(IDS, decoder_input_ids=behind, decoder_attention_mask=mask.flip(1), **options)
        for row in range(3):
            assert torch.equal(found[row, -4:], alone[row][0, -4:]), (name, row)


@for_each("options", ATTENTIONS.values())
def test_attentions_of_a_generated_text_are_its_alignment(options):
    model = small(**options)
    heads = model.config.num_attention_heads
    for beams in (1, 2):
        found = model.generate(IDS, num_beams=beams, output_attentions=True, return_dict_in_generate=True, **PADDED)
        if options["attention"] == "none":
            assert set(found.cross_attentions) == {None}
            continue
        assert [[weights.shape for weights in step] for step in found.cross_attentions] == [
            [(3 * beams, heads, 1, 7)]
        ] * 6
        if beams == 1:
            again = model(IDS, SIDES, found.sequences[:, :-1], output_attentions=True).cross_attentions[0]
            assert_same(torch.cat([step[0] for step in found.cross_attentions], 2), again)


@for_each("options", [VARIANTS[name] for name in ("additive", "heads", "coverage-feeding", "naive")])
def test_each_token_costs_one_step_and_the_source_is_read_once(options):
    model = small(**options)
    for beams, rows in ((1, 3), (4, 12)):
        counts = []
        for tokens in (5, 10, 20):
            steps, sources, projected = [], [], []
            hooks = [
                model.model.decoder.layers[0].register_forward_hook(
                    lambda _, given, __, steps=steps: steps.append(given[1].batch * given[1].steps)
                ),
                model.get_encoder().register_forward_hook(lambda *_, sources=sources: sources.append(1)),
            ]
            if options["attention"] != "none":
                key = model.model.decoder.attention.key
                hooks.append(key.register_forward_hook(lambda *_, projected=projected: projected.append(1)))
            model.generate(IDS, **{**PADDED, "max_new_tokens": tokens}, num_beams=beams)
            for hook in hooks:
                hook.remove()
            assert len(sources) == 1 and len(projected) == len(hooks) - 2
            assert set(steps) == {rows}
            counts.append(len(steps))
        assert counts == [5, 10, 20]


def test_a_text_ends_at_its_end():
    model = small(**VARIANTS["feeding"])
    free = model.generate(IDS, **PADDED).tolist()
    end = free[0][2]
    ended = model.generate(IDS, eos_token_id=end, pad_token_id=0, **PADDED).tolist()
    for row, text in enumerate(free):
        length = text.index(end) + 1 if end in text else 7
        assert ended[row][:length] == text[:length] and not any(ended[row][length:]), row


def test_scores_of_a_target_vocabulary_of_its_own():
    model = small(decoder_vocab_size=20)
    for beams in (1, 3):
        found = model.generate(IDS, num_beams=beams, output_scores=True, return_dict_in_generate=True, **PADDED)
        given = (found.sequences, found.scores, found.beam_indices if beams > 1 else None)
        steps = model.compute_transition_scores(*given, normalize_logits=True)
        log_probs = model(IDS, SIDES, found.sequences[:, :-1]).logits.log_softmax(-1)
        expected = log_probs.gather(2, found.sequences[:, 1:, None])[..., 0]
        assert_same(steps.sum(1), expected.sum(1))


def test_a_cache_of_another_model_is_refused():
    model = small()
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    cache.self_attention_cache.update(torch.zeros(3, 2, 1, 4), torch.zeros(3, 2, 1, 4), 0)
    with pytest.raises(ValueError, match="The cache holds DynamicLayer: it comes from another kind of model"):
        model(IDS, decoder_input_ids=TARGETS, cache=cache)
    cache = model(IDS[:2], decoder_input_ids=TARGETS[:2], use_cache=True).cache
    with pytest.raises(ValueError, match="another number of texts"):
        model(IDS, decoder_input_ids=TARGETS, cache=cache)


@torch.no_grad()
def test_what_a_user_does_to_outputs_does_not_reach_the_cache():
    for name in ("none", "general"):
        model = small(**VARIANTS[name])
        outputs = model.model(IDS, decoder_input_ids=TARGETS, use_cache=True, output_hidden_states=True)
        expected = [state.clone() for state in outputs.cache.self_attention_cache.layers[0].states]
        for tensor in (outputs.last_hidden_state, *outputs.decoder_hidden_states):
            tensor.fill_(7.0)
        assert_same(outputs.cache.self_attention_cache.layers[0].states, expected, 0.0)


def test_training_keeps_no_cache():
    model = small()
    assert model(IDS, decoder_input_ids=TARGETS).cache is not None
    assert model.train()(IDS, decoder_input_ids=TARGETS).cache is None
    assert small(use_cache=False)(IDS, decoder_input_ids=TARGETS).cache is None
