"""Promise 3 again: a text read in pieces, with a state or a cache, is the text read at once."""

import copy

import pytest
import torch

from tests.closeness import assert_same
from tests.contract.cases import Case
from tests.devices import DEVICE


def generation_equals_reading_again(case: Case) -> None:
    """With a state, from left-padded prompts, in beams: as a loop that reads the whole text each time."""
    model = case.model()
    ids = case.batch()[0][:3]
    mask = torch.tensor([[1] * 7, [0, 0, 0, 0, 1, 1, 1], [0] * 6 + [1]], device=DEVICE)
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    together = model.generate(ids, attention_mask=mask, **options)
    assert torch.equal(together[:, :7], ids)
    for row in range(3):
        text = ids[row : row + 1, mask[row].bool()]
        for _ in range(8):
            logits = case.answers(model(text, use_cache=False))[:, -1].clone()
            logits[:, model.config.eos_token_id] = -torch.inf
            text = torch.cat((text, logits.argmax(-1, keepdim=True)), dim=1)
        assert torch.equal(together[row, 7:], text[0, -8:]), row
    beams = [
        model.generate(ids, attention_mask=mask, num_beams=4, use_cache=cached, **options) for cached in (True, False)
    ]
    assert torch.equal(*beams)
    sampled = model.generate(ids, attention_mask=mask, num_return_sequences=3, **{**options, "do_sample": True})
    assert sampled.shape == (9, 15)


def wrong_guesses_are_taken_back(case: Case) -> None:
    """Assisted decoding: the state returns to where it was before the tokens that were guessed wrong."""
    model, assistant = case.model(), case.model(seed=1)
    ids = case.batch()[0][:1]
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    alone = model.generate(ids, **options)
    assert torch.equal(model.generate(ids, prompt_lookup_num_tokens=2, **options), alone)
    assert torch.equal(model.generate(ids, assistant_model=assistant, **options), alone)
    assert torch.equal(model.generate(ids, cache_implementation="static", **options), alone)


@torch.no_grad()
def the_cache_has_both_names(case: Case) -> None:
    """`past_key_values`, and `cache` as transformers calls it from 5.24 on: in, out and in `generate`."""
    model = case.model()
    ids, mask = case.batch()
    ids, mask = ids[:1], mask[:1]
    first = model(**case.given(ids[:, :4]), use_cache=True)
    assert first.cache is first.past_key_values is first["cache" if "cache" in first else "past_key_values"]
    options = {"do_sample": False, "suppress_tokens": [0, 3]}  # padding, which would be taken for such, and the end
    begun = model.generate(ids, max_new_tokens=3, return_dict_in_generate=True, **options)
    whole = model.generate(ids, max_new_tokens=6, **options)
    for name in ("cache", "past_key_values"):
        rest = model(**case.given(ids[:, 4:]), **{name: copy.deepcopy(first.cache)})
        assert_same(rest.logits, model(**case.given(ids)).logits[:, 4:], what=name)
        past = {name: copy.deepcopy(begun.past_key_values)}
        assert torch.equal(model.generate(begun.sequences, max_new_tokens=3, **past, **options), whole), name
    with pytest.raises(TypeError, match="two names of one argument"):
        model(**case.given(ids), cache=first.cache, past_key_values=first.cache)
    with pytest.raises(TypeError, match="two names of one argument"):  # from 5.24 on transformers drops one before
        model._prepare_generation_config(None, cache=first.cache, past_key_values=first.cache)


def the_config_says_whether_a_cache_is_returned(case: Case) -> None:
    ids, mask = case.batch()
    for wanted in (True, False):
        model = case.model(use_cache=wanted)
        if "language model" in case.traits:
            assert (model(**case.given(ids, mask)).cache is not None) == wanted
        body = model.base_model  # of an HMM it is the model itself
        assert (body(**case.given(ids, mask)).cache is not None) == (
            wanted and not getattr(model.config, "bidirectional", False)
        )
        model.config.use_cache = True  # as Trainer writes it, into every model
        assert torch.equal(case.reply(model), case.reply(case.model()))


def given_tokens_have_the_probability_of_the_logits(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    targets = ids.roll(-1, 1).masked_fill(mask == 0, -100)
    expected = model(**case.given(ids, mask)).logits.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
    found = model.token_log_probs(ids, targets, mask)
    assert_same(found, expected * (targets != -100))
    loss = model(**case.given(ids, mask), shift_labels=targets).loss
    assert_same(loss, -found.sum() / (targets != -100).sum())


def state_split_equals_whole(case: Case) -> None:
    model = case.model().model
    ids, mask = case.batch()
    if model.config.bidirectional:
        with pytest.raises(ValueError, match="bidirectional"):
            model(**case.given(ids), use_cache=True)
        return
    whole = model(**case.given(ids, mask), use_cache=True)
    for cuts in ((3, 7), (1, 2, 3, 4, 5, 6, 7)):  # in two pieces, and token by token
        state, outputs, start = None, [], 0
        for end in cuts:
            piece = model(**case.given(ids[:, start:end], mask[:, :end]), past_key_values=state, use_cache=True)
            state, start = piece.past_key_values, end
            outputs.append(piece.last_hidden_state)
        assert_same(torch.cat(outputs, 1), whole.last_hidden_state)
        assert state.get_seq_length() == 7
        if "recurrence" not in case.traits:
            model(**case.given(ids[:, :0]), past_key_values=state)  # nothing more to read: no key of it is kept
            assert state.get_seq_length() == 7
            continue
        for ours, theirs in zip(state.layers, whole.past_key_values.layers, strict=True):
            assert_same(ours.states, theirs.states)
        before = [layer.states for layer in state.layers]
        model(**case.given(ids[:, :0], mask), past_key_values=state)  # nothing more to read, nothing more to know
        for layer, states in zip(state.layers, before, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(layer.states, states, strict=True))
    trained = case.model().train().model
    trained.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match="checkpointing"):
        trained(**case.given(ids, mask), past_key_values=whole.past_key_values)
