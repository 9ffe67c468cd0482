"""What `generate()` does with a recurrent state, against loops and enumerations written by hand."""

import copy
import itertools
import threading

import pytest
import torch
from transformers import GenerationConfig, GenerationMixin, TextIteratorStreamer, pipeline
from transformers.generation.streamers import BaseStreamer

from hfseq import FAMILIES
from hfseq.tokenization import prompt_tokenizer, train_tokenizer
from tests.closeness import assert_same
from tests.devices import DEVICE
from tests.launches import HANGS
from tests.rounds import for_each

RECURRENT = ["rnn", "lstm", "gru"]
PROMPTS = torch.tensor([[1, 2, 3, 1], [0, 0, 2, 3]], device=DEVICE)  # the second is padded on the left
MASK = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]], device=DEVICE)
LETTERS = "abcdefgh ."


def language_model(family="lstm", vocab_size=4, **options):
    """A model that is sure enough of something to be told from another, the same one every time."""
    torch.manual_seed(0)
    row = FAMILIES[family]
    sizes = {"embedding_size": 6, "hidden_size": 5, "num_hidden_layers": 2, "initializer_range": 1.0}
    config = row.config(vocab_size=vocab_size, pad_token_id=0, **{**sizes, **options})
    return row.heads["text-generation"](config).eval().to(DEVICE)


# Beams


def log_probs_after(model, prompt, ends):
    """The log-probability of each text of three tokens after a prompt, read whole, in float64.

    Args:
        model: Of four words.
        prompt: (T) tokens without padding.
        ends: The word after which nothing counts, or None.
    """
    continuations = torch.tensor(list(itertools.product(range(4), repeat=3)), device=DEVICE)  # (64, 3)
    with torch.no_grad():
        texts = torch.cat((prompt.expand(64, -1), continuations), dim=1)
        logits = copy.deepcopy(model).double()(texts, use_cache=False).logits[:, len(prompt) - 1 : -1]
    steps = logits.log_softmax(-1).gather(2, continuations[..., None])[..., 0]  # (64, 3)
    found = {}
    for tokens, log_probs in zip(map(tuple, continuations.tolist()), steps, strict=True):
        length = tokens.index(ends) + 1 if ends in tokens else 3
        found[tokens[:length]] = log_probs[:length].sum().item()
    return found


@for_each("length_penalty", [0.0, 1.0])
@for_each("ends", [None, 3])
@for_each("family", RECURRENT)
def test_beams_wide_enough_find_the_best_of_all_texts(family, ends, length_penalty):
    """Four words, three steps and sixteen beams: nothing is ever dropped that could come back."""
    model = language_model(family, eos_token_id=ends)
    outputs = model.generate(
        PROMPTS,
        attention_mask=MASK,
        num_beams=16,
        num_return_sequences=16,
        max_new_tokens=3,
        do_sample=False,
        early_stopping="never",
        length_penalty=length_penalty,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    texts, scores = outputs.sequences[:, 4:].view(2, 16, 3), outputs.sequences_scores.view(2, 16)
    for row in range(2):
        expected = {
            tokens: log_prob / len(tokens) ** length_penalty
            for tokens, log_prob in log_probs_after(model, PROMPTS[row, MASK[row].bool()], ends).items()
        }
        best = sorted(expected, key=expected.get, reverse=True)[:16]
        found = [tuple(tokens.tolist()) for tokens in texts[row]]
        if ends is not None:
            found = [tokens[: tokens.index(ends) + 1] if ends in tokens else tokens for tokens in found]
        assert found == best, row
        assert_same(scores[row].tolist(), [expected[tokens] for tokens in best])


def test_narrow_beams_miss_what_wide_ones_find():
    """Else the test above would say nothing of beams."""
    model, prompts = language_model(), torch.tensor(list(itertools.product(range(4), repeat=2)), device=DEVICE)
    options = {"attention_mask": torch.ones_like(prompts), "max_new_tokens": 3}
    one, two, wide = (model.generate(prompts, num_beams=beams, **options) for beams in (1, 2, 16))
    assert (one != wide).any() and (two != one).any()


# Several texts of a prompt


@pytest.mark.parametrize("family", RECURRENT)
def test_each_of_several_texts_goes_on_from_its_own_prompt(family):
    model = language_model(family, vocab_size=14)
    options = {"attention_mask": MASK, "max_new_tokens": 9}
    alone = model.generate(PROMPTS, **options)
    assert not torch.equal(alone[0, 4:], alone[1, 4:])
    # Of the likeliest token alone, so that a draw is no draw.
    drawn = model.generate(PROMPTS, do_sample=True, top_k=1, num_return_sequences=3, **options)
    assert torch.equal(drawn, alone.repeat_interleave(3, dim=0))
    torch.manual_seed(0)
    drawn = model.generate(PROMPTS, do_sample=True, top_k=0, num_return_sequences=3, **options)
    assert len({tuple(row) for row in drawn.tolist()}) == 6


# A state that was kept


@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize("family", RECURRENT)
def test_a_batch_goes_on_from_a_kept_state_as_in_one_call(family, sampled):
    model = language_model(family, vocab_size=14)
    options = {"do_sample": sampled, "top_k": 0, "return_dict_in_generate": True}
    torch.manual_seed(0)
    whole = model.generate(PROMPTS, attention_mask=MASK, max_new_tokens=9, **options).sequences
    torch.manual_seed(0)
    sequences, mask, state = PROMPTS, MASK, None
    for tokens in (2, 1, 6):
        part = model.generate(sequences, attention_mask=mask, past_key_values=state, max_new_tokens=tokens, **options)
        sequences, state = part.sequences, part.past_key_values
        mask = torch.nn.functional.pad(mask, (0, tokens), value=1)
        assert state.get_seq_length() == sequences.shape[1] - 1  # the last token is still to be read
    assert torch.equal(sequences, whole)


def test_a_kept_state_goes_on_in_several_ways():
    """As with the caches of transformers, whose methods repeat and pick rows."""
    model, options = language_model(vocab_size=14), {"return_dict_in_generate": True}
    whole = model.generate(PROMPTS, attention_mask=MASK, max_new_tokens=9)
    for change, rows in (
        (lambda state: state.batch_repeat_interleave(3), [0, 0, 0, 1, 1, 1]),
        (lambda state: state.batch_select_indices(torch.tensor([1])), [1]),
    ):
        part = model.generate(PROMPTS, attention_mask=MASK, max_new_tokens=3, **options)
        change(part.past_key_values)
        mask = torch.nn.functional.pad(MASK, (0, 3), value=1)[rows]
        later = model.generate(
            part.sequences[rows], attention_mask=mask, past_key_values=part.past_key_values, max_new_tokens=6
        )
        assert torch.equal(later, whole[rows])


@pytest.mark.parametrize("family", RECURRENT)
def test_a_kept_state_that_is_forgotten_is_caught(family):
    model = language_model(family, vocab_size=14)
    options = {"return_dict_in_generate": True, "max_new_tokens": 4}
    part = model.generate(PROMPTS[:1], attention_mask=MASK[:1], **options)
    state = copy.deepcopy(part.past_key_values)
    for layer in state.layers:
        layer.restart(torch.tensor([True]))
    options |= {"attention_mask": torch.ones(1, 8, dtype=torch.long, device=DEVICE), "output_scores": True}
    later = [
        model.generate(part.sequences, past_key_values=past, **options).scores[0]
        for past in (part.past_key_values, state)
    ]
    assert (later[0] - later[1]).abs().max() > 1e-3


# Texts


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """The folder of a model of characters that writes the letters from a to h again and again."""
    folder = tmp_path_factory.mktemp("writer")
    tokenizer = prompt_tokenizer(
        train_tokenizer([LETTERS], kind="char", purpose="language-modeling", min_frequency=1, padding_side="left")
    )
    ids = tokenizer.convert_tokens_to_ids(list("abcdefgh"))
    model = language_model("lstm", len(tokenizer), hidden_size=32, bos_token_id=2, eos_token_id=3)
    texts = torch.tensor([[2, *(ids[(start + step) % 8] for step in range(24))] for start in range(8)], device=DEVICE)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.02)
    for _ in range(60):
        model(texts, labels=texts).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config = GenerationConfig(max_new_tokens=20, pad_token_id=0, bos_token_id=2, eos_token_id=3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("fgh", ["abcdefgh", "fgh", "defgh"]),  # the prompt itself may be its beginning
        (["fg", "a"], ["abcdefg", "fg", "defg"]),
        ("ha", ["abcdefgha", "fgha", "defgha"]),
        ("aha", ["abcdefghabcdefghabcde", "fghabcdefghabcdefghab", "defghabcdefghabcdefgh"]),  # never: all 20 letters
    ],
)
def test_each_text_of_a_batch_stops_at_its_own_stop_string(writer, stop, expected):
    pipe = pipeline("text-generation", model=writer, device=DEVICE)
    prompts = ["a", "f", "d"]
    found = pipe(prompts, batch_size=3, stop_strings=stop, tokenizer=pipe.tokenizer)
    assert [answer[0]["generated_text"] for answer in found] == expected


def test_a_streamer_hands_the_text_to_another_thread_as_it_is_written(writer):
    pipe = pipeline("text-generation", model=writer, device=DEVICE)
    model, tokenizer = pipe.model, pipe.tokenizer
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=HANGS)
    prompt = tokenizer("ab", return_tensors="pt").to(DEVICE)
    thread = threading.Thread(target=model.generate, kwargs={**prompt, "streamer": streamer, "max_new_tokens": 10})
    thread.start()
    pieces = list(streamer)
    thread.join()
    assert "".join(pieces) == "cdefghabcd"


def test_a_prompt_in_chunks_is_padded_on_the_left_or_refused():
    model, text = language_model(vocab_size=14), torch.tensor([[3, 5, 7, 9, 4, 6, 8, 10]])
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    whole = model.generate(text, **options)
    assert torch.equal(model.generate(text, prefill_chunk_size=3, **options), whole)
    short = model.generate(text[:, :3], **options)[0, 3:]
    left = torch.tensor([[1] * 8, [0] * 5 + [1] * 3])
    both = torch.cat([text, text.roll(5)])
    assert torch.equal(model.generate(both, attention_mask=left, prefill_chunk_size=4, **options)[1, 8:], short)
    with pytest.raises(ValueError, match="pad on the left, or leave prefill_chunk_size out"):
        model.generate(both, attention_mask=left.flip(1), prefill_chunk_size=4, **options)


# A decoding loop of a user's own


class Listener(BaseStreamer):
    """Keeps what it is given."""

    def __init__(self):
        self.tokens = []

    def put(self, value):
        self.tokens.append(value)

    def end(self):
        self.tokens.append(None)


def test_no_model_overrides_generate():
    heads = [head for row in FAMILIES.values() for head in row.heads.values() if head.can_generate()]
    assert len(heads) >= 8
    assert all(head.generate is GenerationMixin.generate for head in heads)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [("lstm", {"hidden_size": 5}), ("transformer", {"hidden_size": 8, "num_attention_heads": 2}), ("hmm", {})],
    ids=["lstm", "transformer", "hmm"],
)
def test_a_loop_gets_the_options_that_it_names(family, sizes):
    row = FAMILIES[family]
    model = row.heads["text-generation"](row.config(vocab_size=4, pad_token_id=0, **sizes)).eval().to(DEVICE)
    given, listener = {}, Listener()

    def hears(model, input_ids, logits_processor, stopping_criteria, generation_config, streamer=None, **kwargs):
        given.update(kwargs, streamer=streamer)
        return input_ids

    def deaf(model, input_ids, logits_processor, stopping_criteria, generation_config, **kwargs):
        given.update(kwargs)
        return input_ids

    options = {"attention_mask": MASK[:1], "max_new_tokens": 2, "streamer": listener, "synced_gpus": True}
    model.generate(PROMPTS[:1], **options, custom_generate=hears)
    assert given.pop("streamer") is listener and "synced_gpus" not in given
    given.clear()
    model.generate(PROMPTS[:1], **options, custom_generate=deaf)
    assert "attention_mask" in given and not {"streamer", "synced_gpus", "assistant_model"} & given.keys()
