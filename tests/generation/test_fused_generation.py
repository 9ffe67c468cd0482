"""Fused generation against the ordinary loop: the same tokens, the same distribution, or the ordinary loop itself."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LogitsProcessorList, StoppingCriteriaList
from transformers.generation import MaxTimeCriteria
from transformers.generation.logits_process import (
    LogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.streamers import BaseStreamer

from hfseq import (
    CustomConfig,
    CustomForCausalLM,
    GRUConfig,
    GRUForCausalLM,
    LSTMConfig,
    LSTMForCausalLM,
    RNNConfig,
    RNNForCausalLM,
)
from hfseq.generation import fused as generation
from hfseq.generation.fused import fused_generate
from hfseq.models.recurrent import fused
from tests.closeness import assert_same

pytestmark = pytest.mark.skipif(fused.kernels() is None, reason="the kernels need numba")

SIZES: dict[str, Any] = {"vocab_size": 23, "embedding_size": 10, "hidden_size": 12, "pad_token_id": 0}
MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "rnn": (RNNForCausalLM, RNNConfig, {}),
    "rnn_relu": (RNNForCausalLM, RNNConfig, {"nonlinearity": "relu"}),
    "lstm": (LSTMForCausalLM, LSTMConfig, {}),
    "lstm of 3 layers, a full register wide": (
        LSTMForCausalLM,
        LSTMConfig,
        {"num_hidden_layers": 3, "hidden_size": 32},
    ),
    "lstm, last layer narrower": (LSTMForCausalLM, LSTMConfig, {"num_hidden_layers": 2, "last_hidden_size": 7}),
    "lstm, tied": (
        LSTMForCausalLM,
        LSTMConfig,
        {"num_hidden_layers": 2, "last_hidden_size": 10, "tie_word_embeddings": True},
    ),
    "lstm, peepholes": (LSTMForCausalLM, LSTMConfig, {"peephole": True, "num_hidden_layers": 2}),
    "lstm, coupled": (LSTMForCausalLM, LSTMConfig, {"coupled": True}),
    "lstm, blocks": (LSTMForCausalLM, LSTMConfig, {"block_size": 3}),
    "lstm, layer norm": (LSTMForCausalLM, LSTMConfig, {"layer_norm": True, "num_hidden_layers": 2}),
    "gru": (GRUForCausalLM, GRUConfig, {"num_hidden_layers": 2}),
    "gru, reset before": (GRUForCausalLM, GRUConfig, {"reset": "before", "num_hidden_layers": 2}),
    "custom": (CustomForCausalLM, CustomConfig, {}),
}
PLAIN: dict[str, Any] = {"max_new_tokens": 24, "do_sample": False, "pad_token_id": 0}


def make(name: str = "lstm", seed: int = 0, **options: Any) -> Any:
    """A random model whose scores are far apart, in inference mode."""
    model_class, config_class, own = MODELS[name]
    torch.manual_seed(seed)
    model = model_class(config_class(**SIZES | own | options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.8 if parameter.ndim == 2 else 0.1)
    return model


def prompts(rows: int = 3, length: int = 5) -> dict[str, torch.Tensor]:
    """Ragged prompts, padded on the left."""
    ids = torch.randint(1, SIZES["vocab_size"], (rows, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row in range(rows):
        mask[row, : row % length] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Why generation was left to the ordinary loop, call by call."""
    found: list[str] = []
    monkeypatch.setattr(generation.logger, "info", lambda message, reason: found.append(str(reason)))
    yield found


def both(model: Any, inputs: dict[str, torch.Tensor], **options: Any) -> tuple[Any, Any]:
    """The ordinary loop's answer and the fused one's."""
    return model.generate(**inputs, **options), model.generate(**inputs, **options, custom_generate=fused_generate)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_tokens_are_those_of_the_ordinary_loop(name: str, reasons: list[str]) -> None:
    written: set[int] = set()
    for seed in range(3):
        ordinary, ours = both(make(name, seed), prompts(), **PLAIN)
        assert torch.equal(ordinary, ours) and ordinary.shape == (3, 29) and not reasons
        written |= {*ordinary[:, 5:].flatten().tolist()}
    assert len(written) > 3  # texts, not one token for ever


@pytest.mark.parametrize("rows", [1, 2, 4, 9, 30])
def test_any_number_of_rows_gives_the_same_tokens(rows: int, reasons: list[str]) -> None:
    ordinary, ours = both(make(), prompts(rows), **PLAIN)
    assert torch.equal(ordinary, ours) and not reasons


def test_float64_gives_the_same_tokens(reasons: list[str]) -> None:
    ordinary, ours = both(make("gru").double(), prompts(), **PLAIN)
    assert torch.equal(ordinary, ours) and not reasons


def test_a_large_vocabulary_is_not_folded_and_gives_the_same_tokens(reasons: list[str]) -> None:
    ordinary, ours = both(make("lstm", vocab_size=400), prompts(), **PLAIN)
    assert torch.equal(ordinary, ours) and not reasons


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.7},
        {"repetition_penalty": 0.6},
        {"eos_token_id": [3, 4, 5, 6, 7, 8]},
        {"eos_token_id": [3, 4, 5, 6, 7, 8], "min_new_tokens": 9},
        {"eos_token_id": list(range(1, 20)), "min_length": 11},
        {"max_new_tokens": 1},
    ],
    ids=str,
)
def test_each_option_gives_the_tokens_of_the_ordinary_loop(options: dict[str, Any], reasons: list[str]) -> None:
    differs = False
    for seed in range(4):
        model = make(seed=seed)
        ordinary, ours = both(model, prompts(), **PLAIN | options)
        assert torch.equal(ordinary, ours)
        plain = model.generate(**prompts(), **PLAIN)
        differs |= ordinary.shape != plain.shape or not torch.equal(ordinary, plain)
    assert differs and not reasons


def test_rows_that_have_ended_are_padded_until_the_last_one_ends() -> None:
    ends = list(range(3, 9))
    for seed in range(8):
        ordinary, ours = both(make(seed=seed), prompts(6), **PLAIN | {"eos_token_id": ends})
        assert torch.equal(ordinary, ours)
        first = [next((t for t, token in enumerate(row) if token in ends), None) for row in ours[:, 5:].tolist()]
        steps = [step for step in first if step is not None]
        if len({*steps}) > 1 and len(steps) == len(first):
            break
    else:
        raise AssertionError("no model whose rows end at different steps")
    assert all(set(row[t + 1 :]) <= {0} for row, t in zip(ours[:, 5:].tolist(), steps, strict=True))
    assert ours.shape[1] == 5 + max(steps) + 1


def test_the_state_returned_continues_the_text() -> None:
    model, inputs = make("gru"), prompts(1)
    ordinary, ours = both(model, inputs, **PLAIN, return_dict_in_generate=True)
    assert ours.past_key_values.get_seq_length() == ordinary.past_key_values.get_seq_length() == 28
    for layer, expected in zip(ours.past_key_values.layers, ordinary.past_key_values.layers, strict=True):
        for state, other in zip(layer.states, expected.states, strict=True):
            assert_same(state, other)
    whole = model.generate(**inputs, **PLAIN | {"max_new_tokens": 40})
    more = model.generate(
        ours.sequences,
        past_key_values=ours.past_key_values,
        custom_generate=fused_generate,
        **PLAIN | {"max_new_tokens": 16},
    )
    assert torch.equal(more, whole)


def test_seeds_repeat_a_sample_and_the_next_one_is_another() -> None:
    model = make()
    options = {"max_new_tokens": 30, "do_sample": True, "custom_generate": fused_generate, "num_return_sequences": 3}
    torch.manual_seed(5)
    first, second = model.generate(**prompts(), **options), model.generate(**prompts(), **options)
    torch.manual_seed(5)
    assert torch.equal(first, model.generate(**prompts(), **options))
    assert first.shape == (9, 35) and not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])  # returned sequences of one prompt


SAMPLINGS: list[dict[str, Any]] = [
    {"top_k": 0},
    {"top_k": 0, "temperature": 0.6},
    {"top_k": 5},
    {"top_k": 0, "top_p": 0.7, "temperature": 1.5},
    {"top_k": 9, "top_p": 0.8, "repetition_penalty": 1.4},
]


@pytest.mark.parametrize("options", SAMPLINGS, ids=str)
def test_samples_follow_the_softmax_of_the_processed_scores(options: dict[str, Any], reasons: list[str]) -> None:
    """Chi-square of the first token, and of the second behind the most frequent first one, for a fixed seed."""
    model, rows, prompt = make(), 20_000, torch.tensor([[3, 8, 5]])
    torch.manual_seed(0)
    sampled = {"do_sample": True, **options}
    texts = model.generate(prompt.expand(rows, -1), max_new_tokens=2, custom_generate=fused_generate, **sampled)
    assert not reasons
    first = texts[:, 3].mode().values
    for start, tokens in (
        (prompt, texts[:, 3]),
        (texts[texts[:, 3] == first][:1, :4], texts[texts[:, 3] == first, 4]),
    ):
        wanted = {
            "attention_mask": torch.ones_like(start),
            "max_new_tokens": 1,
            "return_dict_in_generate": True,
            "output_scores": True,
        }
        scores = model.generate(start, **wanted, **sampled).scores[0][0]
        expected = len(tokens) * scores.double().softmax(-1).numpy()
        counts = np.bincount(tokens.numpy(), minlength=len(expected))
        possible = expected > 0
        assert not counts[~possible].any()
        error = ((counts - expected)[possible] ** 2 / expected[possible].clip(1.0)).sum()
        degrees = int(possible.sum()) - 1
        assert 0 < error < degrees + 4 * np.sqrt(2 * degrees) + 4, (error, degrees)


@pytest.mark.parametrize("seed", range(5))
def test_top_k_and_top_p_keep_the_tokens_that_transformers_keeps(seed: int) -> None:
    from hfseq.kernels.cells.generation import Filters, _keep_top_k, _keep_top_p, choose

    scores = torch.randn(40, 57, generator=torch.Generator().manual_seed(seed)) * 3
    scores[:, 7] = scores[:, 9]  # a tie
    for count in (1, 3, 20, 57, 100):
        found = scores.clone()
        for row in found:
            _keep_top_k(row.numpy(), count)
        assert torch.equal(found, TopKLogitsWarper(count)(torch.empty(0), scores))
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        for least in (1, 4):
            found, kept = scores.clone(), TopPLogitsWarper(share, min_tokens_to_keep=least)(torch.empty(0), scores)
            for row in found:
                _keep_top_p(row.numpy(), share, least)
            assert torch.equal(found.isinf().sum(1), kept.isinf().sum(1))  # of two equal ones either may stay
            assert torch.equal(found.sort(dim=1).values, kept.sort(dim=1).values)
    tokens, draws = np.empty(40, dtype=np.int64), np.linspace(0, 1, 40, endpoint=False)
    no_ids = np.empty(0, dtype=np.int64)
    allowed = TopKLogitsWarper(4)(torch.empty(0), scores).isfinite()
    assert choose(scores.numpy().copy(), Filters(top_k=4), np.empty((40, 0), np.bool_), no_ids, draws, tokens)
    assert allowed[torch.arange(40), torch.from_numpy(tokens)].all()
    assert len(choose.signatures) == 1


def test_scores_that_are_no_numbers_are_an_error() -> None:
    model = make()
    with torch.no_grad():
        model.lm_head.bias[3] = float("nan")
    with pytest.raises(RuntimeError, match="NaN or infinite"):
        model.generate(**prompts(), do_sample=True, max_new_tokens=3, custom_generate=fused_generate)
    ordinary, ours = both(model, prompts(), **PLAIN)
    assert torch.equal(ordinary, ours)  # the likeliest token is the NaN, as in torch


class Ban(LogitsProcessor):
    """A processor of a user's own."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.index_fill(1, torch.tensor([4, 5, 6]), -float("inf"))


LEFT: dict[str, tuple[dict[str, Any], str]] = {
    "beams": ({"num_beams": 3}, "beam"),
    "prompt lookup": ({"prompt_lookup_num_tokens": 3}, "mode is"),
    "own processor": ({"logits_processor": LogitsProcessorList([Ban()])}, "Ban"),
    "no repeats": ({"no_repeat_ngram_size": 2}, "NoRepeatNGram"),
    "bad words": ({"bad_words_ids": [[4], [5, 6]]}, "NoBadWords"),
    "min p": ({"do_sample": True, "min_p": 0.5, "top_k": 1}, "MinP"),
    "typical p": ({"do_sample": True, "typical_p": 0.01, "top_k": 1}, "Typical"),
    "another order": (
        {"logits_processor": [TemperatureLogitsWarper(0.5), RepetitionPenaltyLogitsProcessor(1.5)]},
        "order",
    ),
    "time": ({"stopping_criteria": StoppingCriteriaList([MaxTimeCriteria(100.0)])}, "MaxTime"),
    "scores": ({"return_dict_in_generate": True, "output_scores": True}, "output_scores"),
    "hidden states": ({"return_dict_in_generate": True, "output_hidden_states": True}, "output_hidden_states"),
    "no cache": ({"use_cache": False}, "no cache"),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_cannot_be_fused_is_left_to_the_ordinary_loop(case: str, reasons: list[str]) -> None:
    options, reason = LEFT[case]
    inputs = prompts(1) if case == "prompt lookup" else prompts()
    ordinary, ours = both(make(), inputs, **PLAIN | options)
    if "return_dict_in_generate" in options:
        assert ours.keys() == ordinary.keys()
        ordinary, ours = ordinary.sequences, ours.sequences
    assert torch.equal(ordinary, ours)
    assert len(reasons) == 1 and reason in reasons[0], reasons


class Scaled(nn.Module):
    """A parametrization."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return -weight


def adaptive() -> Any:
    return make("lstm", adaptive_softmax_cutoffs=[8])


def hooked() -> Any:
    model = make()
    model.model.layers[0].register_forward_hook(lambda module, arguments, output: -output)
    return model


def in_training() -> Any:
    model = make(hidden_dropout=0.0)
    model.model.layers[0].train()
    return model


def reparametrised() -> Any:
    model = make()
    nn.utils.parametrize.register_parametrization(model.model.layers[0].forward_loop, "weight_hh", Scaled())
    return model


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (adaptive, "not the package's own"),
        (hooked, "hooks"),
        (in_training, "training mode"),
        (reparametrised, "not the package's own"),
        (lambda: make().bfloat16(), "float32 or float64"),
    ],
    ids=["adaptive softmax", "hook", "training", "parametrization", "bfloat16"],
)
def test_models_that_cannot_be_fused_are_left_to_the_ordinary_loop(
    build: Any, reason: str, reasons: list[str]
) -> None:
    ordinary, ours = both(build(), prompts(), **PLAIN)
    assert torch.equal(ordinary, ours)
    assert len(reasons) == 1 and reason in reasons[0], reasons


def test_without_numba_the_ordinary_loop_gives_the_same(monkeypatch: pytest.MonkeyPatch, reasons: list[str]) -> None:
    model = make()
    expected = model.generate(**prompts(), **PLAIN, custom_generate=fused_generate)
    assert not reasons
    monkeypatch.setattr(fused, "kernels", lambda: None)
    assert torch.equal(expected, model.generate(**prompts(), **PLAIN, custom_generate=fused_generate))
    assert reasons == ["the kernels need numba"]


def test_hidden_states_once_asked_for_do_not_keep_a_model_from_being_fused(reasons: list[str]) -> None:
    model = make()
    model(**prompts(), output_hidden_states=True)
    ordinary, ours = both(model, prompts(), **PLAIN)
    assert torch.equal(ordinary, ours) and not reasons


def test_weights_changed_between_two_calls_are_met() -> None:
    model = make()
    before = model.generate(**prompts(), **PLAIN, custom_generate=fused_generate)
    with torch.no_grad():
        model.model.embed_tokens.weight.neg_()
        model.lm_head.weight.data.mul_(-1.5)
    ordinary, ours = both(model, prompts(), **PLAIN)
    assert torch.equal(ordinary, ours) and not torch.equal(before, ours)


class Listener(BaseStreamer):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.tokens: list[torch.Tensor] = []
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        self.tokens.append(value)

    def end(self) -> None:
        self.ended = True


def test_a_streamer_hears_each_token(reasons: list[str]) -> None:
    """transformers keeps it from a function; `generate` must not lose it, and the function itself takes one."""
    inputs, listener = prompts(1), Listener()
    ids = make().generate(**inputs, **PLAIN, custom_generate=fused_generate, streamer=listener)
    assert listener.ended and torch.equal(torch.cat([part.reshape(1, -1) for part in listener.tokens], 1), ids)
    assert torch.equal(make().generate(**inputs, **PLAIN), ids) and not reasons
    listener = Listener()

    def stream(model: Any, input_ids: torch.Tensor, logits_processor: Any, stopping_criteria: Any, **rest: Any) -> Any:
        return fused_generate(model, input_ids, logits_processor, stopping_criteria, streamer=listener, **rest)

    assert torch.equal(make().generate(**inputs, **PLAIN, custom_generate=stream), ids)
    assert listener.ended and torch.equal(torch.stack(listener.tokens, 1), ids[:, 5:])


def test_an_assistant_is_not_lost(reasons: list[str]) -> None:
    model, assistant = make(), make(seed=1)
    calls = []
    assistant.register_forward_hook(lambda *arguments: calls.append(1))
    options = {**PLAIN, "assistant_model": assistant, "eos_token_id": None}
    ids = model.generate(**prompts(1), **options, custom_generate=fused_generate)
    assert calls and torch.equal(ids, model.generate(**prompts(1), **PLAIN))


def test_the_tokenizer_of_an_assistant_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tokenizers: the guesses are translated from one into the other."""
    model, given = make(), {}
    monkeypatch.setattr(type(model), "_assisted_decoding", lambda self, *args, **kwargs: given.update(kwargs))
    mine, other = object(), object()
    options = {**PLAIN, "assistant_model": make(vocab_size=29), "tokenizer": mine, "assistant_tokenizer": other}
    model.generate(**prompts(1), **options, custom_generate=fused_generate)
    assert given["tokenizer"] is mine and given["assistant_tokenizer"] is other


def test_a_mode_that_left_transformers_is_an_error_with_a_cure() -> None:
    with pytest.raises(ValueError, match="custom_generate='transformers-community/contrastive-search'"):
        make().generate(**prompts(), **PLAIN, penalty_alpha=0.6, top_k=4, custom_generate=fused_generate)


def test_the_reason_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    generation.logger.addHandler(caplog.handler)
    level = generation.logger.level
    generation.logger.setLevel(logging.INFO)
    try:
        make().generate(**prompts(), **PLAIN, num_beams=2, custom_generate=fused_generate)
    finally:
        generation.logger.removeHandler(caplog.handler)
        generation.logger.setLevel(level)
    assert "left to the ordinary loop: the mode is beam_search" in caplog.text
