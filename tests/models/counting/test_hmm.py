"""The hidden Markov model against brute force over all its state paths, in double precision."""

import itertools
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from datasets import Dataset, load_dataset
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    DynamicCache,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    pipeline,
)

from hfseq import LSTMConfig, LSTMForCausalLM
from hfseq.models.counting.hmm import HMMConfig, HMMForCausalLM, HMMForTokenClassification
from hfseq.models.counting.ngram import NGramConfig, NGramForCausalLM
from tests.closeness import assert_same
from tests.launches import HANGS
from tests.models.counting.hmm_oracle import (
    BOS,
    EOS,
    EXACT,
    MASKED,
    PAD,
    all_paths,
    likelihood,
    make,
    next_word,
    probabilities,
    ragged,
)

# The language model


@pytest.mark.parametrize("seed", range(3))
def test_the_next_word_has_the_probability_that_enumeration_gives(seed):
    model = make(HMMForCausalLM, seed=seed)
    text = [3, 5, 4, 4, 3]
    logits = model(torch.tensor([text])).logits[0]
    for t in range(len(text)):
        assert_same(logits[t].exp(), torch.tensor(next_word(model, text[: t + 1])).double(), EXACT)


def test_a_document_knows_nothing_of_the_one_before_it():
    model = make(HMMForCausalLM)
    logits = model(torch.tensor([[BOS, 3, 5, EOS, 4, BOS, 5]])).logits[0].exp()
    contexts = [[], [3], [3, 5], [], [4], [], [5]]
    for t, context in enumerate(contexts):
        expected = next_word(model, context) if context else probabilities(model)[0] @ probabilities(model)[2]
        assert_same(logits[t].detach().numpy(), expected, EXACT, what=t)


def test_the_loss_is_the_likelihood_of_the_words_after_bos():
    model = make(HMMForCausalLM)
    ids = torch.tensor([[BOS, 3, 4, 5, EOS]])
    expected = -math.log(likelihood(model, [3, 4, 5, EOS]))
    assert_same(model(ids, labels=ids).loss, expected / 4, EXACT)
    assert_same(model(ids, labels=ids, num_items_in_batch=7).loss, expected / 7, EXACT)
    shifted = torch.tensor([[3, 4, 5, EOS, 4]])
    log_probs = model.token_log_probs(ids, shifted)
    assert_same(log_probs[0, :4].sum(), -expected, EXACT)
    assert_same(log_probs[0, 4], math.log(next_word(model, [])[4]), EXACT)
    assert_same(log_probs, model(ids).logits.gather(-1, shifted[..., None])[..., 0], EXACT)
    assert_same(model(ids, shift_labels=shifted).loss, -log_probs.mean(), EXACT)


def test_labels_of_minus_100_are_not_asked():
    model = make(HMMForCausalLM)
    ids = torch.tensor([[BOS, 3, 4, 5, EOS]])
    some = torch.tensor([[3, -100, 5, -100, -100]])
    found = model.token_log_probs(ids, some)
    assert (found != 0).tolist() == [[True, False, True, False, False]]
    assert_same(model(ids, shift_labels=some).loss, -found.sum().item() / 2, EXACT)


def test_padding_changes_no_prediction():
    model = make(HMMForCausalLM)
    ids = ragged()
    logits = model(ids, MASKED).logits
    for row in range(4):
        alone = model(ids[row : row + 1, MASKED[row]]).logits[0]
        assert_same(logits[row, MASKED[row]], alone, EXACT, what=row)
    text = torch.tensor([[3, 4, 5]])
    losses = []
    for left, right in ((0, 0), (2, 0), (0, 3)):
        padded = torch.nn.functional.pad(text, (left, right), value=PAD)
        mask = torch.nn.functional.pad(torch.ones_like(text), (left, right))
        labels = padded.masked_fill(mask == 0, -100)
        losses.append(model(padded, mask, labels=labels).loss.item())
    assert_same(losses, [losses[0]] * 3, EXACT)


@pytest.mark.parametrize("double", [True, False])
def test_a_text_in_pieces_is_the_whole_text(double):
    model = make(HMMForCausalLM, double=double)
    ids, mask = ragged().masked_fill(MASKED & (torch.arange(6) == 3), EOS), MASKED.long()
    whole = model(ids, mask, use_cache=True)
    for cuts in ((3, 6), (1, 2, 3, 4, 5, 6)):
        cache, outputs, start = DynamicCache(), [], 0
        for end in cuts:
            piece = model(ids[:, start:end], mask[:, :end], past_key_values=cache, use_cache=True)
            outputs.append(piece.logits)
            start = end
        assert_same(torch.cat(outputs, 1), whole.logits)
        assert_same(cache.layers[0].states[0], whole.past_key_values.layers[0].states[0])
        assert cache.get_seq_length() == 6
        state = cache.layers[0].states[0]
        model(ids[:, :0], mask, past_key_values=cache)
        assert torch.equal(cache.layers[0].states[0], state) and cache.get_seq_length() == 6
    scored = DynamicCache(config=model.config)
    labels = torch.where(MASKED, ids, -100)
    parts = [model.token_log_probs(ids[:, a:b], labels[:, a:b], mask[:, :b], scored) for a, b in ((0, 2), (2, 6))]
    assert_same(torch.cat(parts, 1), model.token_log_probs(ids, labels, mask))


def test_a_state_of_zeros_is_the_beginning_of_a_document():
    model = make(HMMForCausalLM)
    cache = model(torch.tensor([[3, 4]]), use_cache=True).past_key_values
    assert cache.layers[0].states[0].abs().max() > 0.1
    cache.layers[0].states = (torch.zeros_like(cache.layers[0].states[0]),)
    again = model(torch.tensor([[5, 3]]), past_key_values=cache).logits
    assert_same(again, model(torch.tensor([[5, 3]])).logits, EXACT)


def test_guesses_are_taken_back():
    model = make(HMMForCausalLM)
    cache = DynamicCache(config=model.config)
    cache.layers[0].activate_past_recording()
    model(torch.tensor([[3, 4, 5]]), past_key_values=cache)
    cache.layers[0].crop(-2)
    again = model(torch.tensor([[5, 4]]), past_key_values=cache).logits
    assert_same(again, model(torch.tensor([[3, 5, 4]])).logits[:, 1:], EXACT)


def test_greedy_generation_is_the_loop_over_argmax():
    model = make(HMMForCausalLM, seed=4)
    prompts = torch.tensor([[PAD, PAD, 3, 4], [5, 3, 3, 4]])
    mask = (prompts != PAD).long()
    out = model.generate(prompts, attention_mask=mask, max_new_tokens=4, do_sample=False, eos_token_id=None)
    for row in range(2):
        text = prompts[row, mask[row].bool()].tolist()
        for _ in range(4):
            text.append(int(np.argmax(next_word(model, text) if EOS not in text else _after_eos(model, text))))
        assert out[row, 4:].tolist() == text[-4:]


def _after_eos(model, text):
    """P(w | text) when the text holds an eos: what follows it counts."""
    rest = text[len(text) - text[::-1].index(EOS) :]
    return next_word(model, rest) if rest else probabilities(model)[0] @ probabilities(model)[2]


def test_a_beam_over_everything_finds_the_best_continuation():
    model = make(HMMForCausalLM, seed=1, bos_token_id=None, eos_token_id=None)
    out = model.generate(
        torch.tensor([[3, 4]]), max_new_tokens=3, num_beams=36, do_sample=False, return_dict_in_generate=True,
        output_scores=True, length_penalty=0.0,
    )  # fmt: skip
    scores = {
        c: likelihood(model, [3, 4, *c]) / likelihood(model, [3, 4]) for c in itertools.product(range(6), repeat=3)
    }
    best = max(scores, key=scores.get)
    assert tuple(out.sequences[0, 2:].tolist()) == best
    assert_same(out.sequences_scores[0], math.log(scores[best]))


def test_sampling_draws_by_probability():
    model = make(HMMForCausalLM, bos_token_id=None, eos_token_id=None)
    torch.manual_seed(0)
    out = model.generate(
        torch.tensor([[3, 4]]), max_new_tokens=1, do_sample=True, top_k=0, num_return_sequences=20_000
    )
    share = torch.bincount(out[:, -1], minlength=6).double() / len(out)
    assert_same(share, torch.tensor(next_word(model, [3, 4])), 0.02, scale=1)


def test_assisted_and_beam_generation_carry_the_state():
    model = make(HMMForCausalLM, seed=2)
    prompt = torch.tensor([[3, 4, 3, 4, 3]])
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    plain = model.generate(prompt, **options)
    assert torch.equal(model.generate(prompt, prompt_lookup_num_tokens=2, **options), plain)
    assert torch.equal(
        model.generate(prompt, use_cache=False, num_beams=3, **options), model.generate(prompt, num_beams=3, **options)
    )


def test_hidden_states_are_the_evidence_of_each_word_and_the_belief_after_it():
    model, text = make(HMMForCausalLM, seed=3), [3, 5, 4, 4]
    ids, mask = torch.tensor([[PAD, BOS, *text]]), torch.tensor([[0, 1, 1, 1, 1, 1]])
    outputs = model(ids, mask, output_hidden_states=True)
    (evidence, beliefs), (pi, A, B) = outputs.hidden_states, probabilities(model)
    assert len(outputs.hidden_states) == 1 + model.config.num_hidden_layers
    assert evidence.shape == beliefs.shape == (1, 6, 3) and not evidence[0, :2].any()
    assert np.allclose(beliefs[0, :2].exp().detach(), pi, atol=EXACT)
    for t in range(len(text)):
        read = text[: t + 1]
        ends = [sum(p for path, p in all_paths(model, read).items() if path[-1] == state) for state in range(3)]
        assert np.allclose(beliefs[0, t + 2].exp().detach(), np.array(ends) @ A / sum(ends), atol=EXACT)
        assert np.allclose(evidence[0, t + 2].exp().detach(), B[:, text[t]], atol=EXACT)
        assert np.allclose((beliefs[0, t + 2].exp().detach().numpy() @ B), next_word(model, read), atol=EXACT)
    assert model(ids, mask).hidden_states is None and len(model(ids, mask, use_cache=False, return_dict=False)) == 1
    model.config.output_hidden_states = True
    assert torch.equal(model(ids, mask).hidden_states[1], beliefs)
    assert model(ids, mask, output_hidden_states=False).hidden_states is None
    with pytest.raises(ValueError, match="attends to nothing"):
        model.generate(ids, output_attentions=True, return_dict_in_generate=True)


@pytest.mark.parametrize("helper", ["hmm", "ngram", "lstm"])
def test_assisted_generation_returns_the_beliefs_token_by_token(helper):
    model = make(HMMForCausalLM, seed=2)
    assistant = _assistant(helper)
    prompt = torch.tensor([[3, 4, 3, 4, 3]])
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "return_dict_in_generate": True}
    plain = model.generate(prompt, output_hidden_states=True, **options)
    found = model.generate(prompt, assistant_model=assistant, output_hidden_states=True, **options)
    assert torch.equal(found.sequences, plain.sequences)
    assert torch.equal(model.generate(prompt, assistant_model=assistant, **options).sequences, plain.sequences)
    whole = model(plain.sequences[:, :-1], output_hidden_states=True).hidden_states
    for steps in (plain.hidden_states, found.hidden_states):
        assert [step[1].shape[1] for step in steps] == [5, *[1] * 7]
        for kind in (0, 1):
            assert torch.allclose(torch.cat([step[kind] for step in steps], 1), whole[kind], atol=EXACT)


def _assistant(family):
    if family == "hmm":
        return make(HMMForCausalLM, seed=5, num_states=2)
    sizes = {"vocab_size": 6, "bos_token_id": BOS, "eos_token_id": EOS}
    if family == "ngram":
        return NGramForCausalLM(NGramConfig(order=3, **sizes)).fit([[3, 4, 5, 3, 3, EOS], [4, 5, EOS]])
    torch.manual_seed(0)
    return LSTMForCausalLM(LSTMConfig(hidden_size=4, initializer_range=1.0, **sizes)).eval()


@pytest.mark.parametrize("family", ["hmm", "lstm"])
def test_it_assists_others(family):
    target = _assistant(family)
    prompt = torch.tensor([[3, 4, 3, 4, 3]])
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    helper = make(HMMForCausalLM, seed=2, double=family == "hmm")
    alone = target.generate(prompt, **options)
    assert torch.equal(target.generate(prompt, assistant_model=helper, **options), alone)
    found = target.generate(
        prompt, assistant_model=helper, output_hidden_states=True, return_dict_in_generate=True, **options
    )
    assert torch.equal(found.sequences, alone) and len(found.hidden_states) == 8


# Decoding


@pytest.mark.parametrize("seed", range(3))
def test_viterbi_and_posteriors_are_those_of_enumeration(seed):
    viterbi, posterior = (
        make(HMMForTokenClassification, seed=seed, decoding=kind) for kind in ("viterbi", "posterior")
    )
    ids = ragged()
    paths, scores = viterbi.decode(ids, MASKED)
    through, gamma = viterbi(ids, MASKED).logits, posterior(ids, MASKED).logits
    for row in range(4):
        real = MASKED[row]
        every = all_paths(viterbi, ids[row, real].tolist())
        best, total = max(every, key=every.get), sum(every.values())
        assert tuple(paths[row, real].tolist()) == best
        assert_same(scores[row], math.log(every[best]), EXACT)
        assert through[row, real].argmax(-1).tolist() == list(best)
        for t, state in itertools.product(range(len(best)), range(3)):
            here = {path: p for path, p in every.items() if path[t] == state}
            assert_same(gamma[row, real][t, state].exp(), sum(here.values()) / total, EXACT)
            loss = math.log(max(here.values()) / every[best])
            assert_same(through[row, real][t, state], loss, EXACT)
    assert (paths[~MASKED] == -100).all() and not through[~MASKED].any() and not gamma[~MASKED].any()
    assert scores[4] == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decoding", ["viterbi", "posterior"])
def test_documents_of_one_text_are_tagged_apart(decoding, seed):
    model = make(HMMForTokenClassification, decoding=decoding, seed=seed)
    first, second = [3, 5, 4, EOS], [4, 4, 5]
    text = torch.tensor([[BOS, *first, BOS, *second]])
    paths, score = model.decode(text)
    alone = [model.decode(torch.tensor([part])) for part in (first, second)]
    assert paths[0].tolist() == [-100, *alone[0][0][0].tolist(), -100, *alone[1][0][0].tolist()]
    assert_same(score, sum(part[1].item() for part in alone), EXACT)
    logits = model(text).logits[0]
    parts = [model(torch.tensor([part])).logits[0] for part in (first, second)]
    nothing = torch.zeros(1, 3)
    assert_same(logits, torch.cat([nothing, parts[0], nothing, parts[1]]), EXACT)


def test_one_token_may_begin_and_end_documents():
    model = make(HMMForTokenClassification, bos_token_id=EOS, emission_smoothing=0.5)
    paths, score = model.decode(torch.tensor([[EOS, 3, 4, EOS, 5, EOS]]))
    every = [all_paths(model, words) for words in ([3, 4, EOS], [5, EOS])]
    best = [max(paths, key=paths.get) for paths in every]
    assert paths[0].tolist() == [-100, *best[0], *best[1]]
    assert_same(score, sum(math.log(max(paths.values())) for paths in every), EXACT)
    twice = make(HMMForTokenClassification, seed=1, emission_smoothing=0.5, bos_token_id=None)
    model.fit_counts([[EOS, 3, EOS, 4, EOS]], [[-100, 0, 1, 2, 0]])
    twice.fit_counts([[3, EOS], [4, EOS]], [[0, 1], [2, 0]])
    assert_same(model.parameters(), twice.parameters())


def test_the_taggers_loss_sums_over_what_the_labels_leave_open():
    model = make(HMMForTokenClassification)
    ids = ragged()[:4]
    labels = torch.randint(0, 3, ids.shape, generator=torch.Generator().manual_seed(1))
    labels[3, 2:4] = -100
    labels[~MASKED[:4]] = -100
    expected = 0.0
    for row in range(4):
        real = MASKED[row]
        every, tags = all_paths(model, ids[row, real].tolist()), labels[row, real].tolist()
        fits = [p for path, p in every.items() if all(y in (-100, z) for y, z in zip(tags, path, strict=True))]
        expected -= math.log(sum(fits))
    count = (labels != -100).sum().item()
    assert_same(model(ids, MASKED[:4], labels=labels).loss, expected / count, EXACT)
    divided = model(ids, MASKED[:4], labels=labels, num_items_in_batch=torch.tensor(3)).loss
    assert_same(divided, expected / 3, EXACT)


# An ordinary Hugging Face model


def test_either_model_loads_the_others_checkpoint_and_no_torn_one(tmp_path):
    model = make(HMMForCausalLM, double=False)
    model.save_pretrained(tmp_path)
    for auto, kind in (
        (AutoModelForCausalLM, HMMForCausalLM),
        (AutoModelForTokenClassification, HMMForTokenClassification),
    ):
        loaded = auto.from_pretrained(tmp_path)
        assert type(loaded) is kind and loaded.config.num_labels == 3
        assert all(torch.equal(p, dict(model.named_parameters())[name]) for name, p in loaded.named_parameters())
    with pytest.raises(ValueError, match="another shape"):
        AutoModelForTokenClassification.from_pretrained(tmp_path, num_states=4)
    grown = HMMForTokenClassification.from_pretrained(
        tmp_path, num_states=4, ignore_mismatched_sizes=True, strict=False
    )
    assert grown.config.num_labels == len(grown.config.id2label) == 4
    tensors = load_file(tmp_path / "model.safetensors")
    lost = tensors.pop("hmm.emission_logits")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for kind in (HMMForCausalLM, HMMForTokenClassification):
        with pytest.raises(ValueError, match=r"lacks hmm\.emission_logits"):
            kind.from_pretrained(tmp_path)
        filled = kind.from_pretrained(tmp_path, strict=False).hmm.emission_logits
        assert filled.shape == lost.shape and 0.5 < filled.std() < 3


def test_labels_and_states_are_one_number():
    named = HMMConfig(id2label={0: "A", 1: "B", 2: "C"}, label2id={"A": 0, "B": 1, "C": 2})
    assert (named.num_states, named.num_labels) == (3, 3)
    assert HMMConfig(num_labels=7).num_states == 7
    assert HMMConfig(num_states=4).num_labels == 4 and HMMConfig().num_states == 50
    assert HMMConfig.from_dict(named.to_dict()).id2label == {0: "A", 1: "B", 2: "C"}
    with pytest.raises(ValueError, match="3 labels do not fit num_states=4"):
        HMMConfig(num_states=4, num_labels=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_states", 0), ("num_states", 10_001), ("num_states", 2.0), ("vocab_size", 0), ("decoding", "max"),
        ("emission_smoothing", -0.1), ("transition_smoothing", "1"), ("pad_token_id", 6), ("initializer_range", -1.0),
    ],
)  # fmt: skip
def test_wrong_config_values_are_refused(name, value):
    with pytest.raises(Exception, match=name):
        HMMConfig(**{"vocab_size": 6, name: value})


def test_what_others_call_states_is_explained():
    with pytest.raises(ValueError, match="Did you mean 'num_states'"):
        HMMConfig(hidden_size=5)


@pytest.mark.parametrize("kind", [HMMForCausalLM, HMMForTokenClassification])
def test_wrong_inputs_are_named(kind):
    model, ids = make(kind), torch.tensor([[3, 4, 5]])
    for wrong, message in (
        ({"input_ids": ids + 1}, "input id 6 is outside"),
        ({"input_ids": ids, "attention_mask": torch.ones(1, 4)}, r"shape \(1, 4\) does not fit 1 texts of 3 tokens"),
        ({}, "exactly one of input_ids"),
        ({"inputs_embeds": torch.ones(1, 3, 2)}, "emits tokens, not vectors"),
        ({"input_ids": ids, "labels": ids + 20}, r"label 2\d is outside"),
        ({"input_ids": ids, "labels": ids[:, 1:].float()}, "of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**wrong)
    assert model(torch.zeros(2, 0)).logits.shape == (2, 1, 6 if kind is HMMForCausalLM else 3)


def test_half_precision_computes_in_full():
    model = make(HMMForCausalLM, double=False)
    ids = torch.tensor([[3, 4, 5, 3]])
    halved = make(HMMForCausalLM, double=False).to(torch.bfloat16)(ids).logits
    assert halved.dtype == torch.float32
    assert_same(halved.exp().sum(-1), torch.ones(1, 4))
    assert_same(halved, model(ids).logits, 0.05, scale=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_leaves_probabilities_alone(dtype):
    """As Trainer's `fp16` runs it: a word that comes once in 100 million tokens is nothing in float16."""
    torch.manual_seed(0)
    model = HMMForCausalLM(HMMConfig(vocab_size=5_000, num_states=3, initializer_range=4.0))
    ids = torch.randint(1, 5_000, (2, 7))
    exact = model(ids, labels=ids)
    with torch.autocast("cpu", dtype):
        found = model(ids, labels=ids)
    assert exact.logits.min() < math.log(1e-8)
    assert_same({"logits": found.logits, "loss": found.loss}, {"logits": exact.logits, "loss": exact.loss})


def test_impossible_events_stay_finite():
    model = make(HMMForTokenClassification, double=False, emission_smoothing=0, transition_smoothing=0)
    model.fit_counts([[3, 4, 3, 4]], [[0, 1, 0, 1]])
    ids = torch.tensor([[3, 3, 5, 4]])
    out = model(ids, labels=torch.tensor([[0, 0, 2, 1]]))
    out.loss.backward()
    assert torch.isfinite(out.loss) and torch.isfinite(out.logits).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_state_that_cannot_be_reached_leaves_finite_gradients():
    model = make(HMMForCausalLM, double=False)
    with torch.no_grad():
        model.hmm.transition_logits[:, 1] = -1e4  # softmax is 0 in single precision
    ids = torch.tensor([[3, 4, 5, 3]])
    loss = model(ids, labels=ids).loss
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in model.parameters())


def _train(model, folder, rows, collator, **options):
    arguments = {"per_device_train_batch_size": 8, "max_steps": 30, "learning_rate": 0.1, "seed": 0, **options}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            str(folder), use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no", logging_steps=1,
            lr_scheduler_type="constant", train_sampling_strategy="sequential", **arguments,
        ),
        train_dataset=rows,
        data_collator=collator,
    )  # fmt: skip
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _tokenizer(words):
    """One token a word."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<unk>", *words])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")


@pytest.mark.parametrize("kind", [HMMForCausalLM, HMMForTokenClassification])
def test_stock_trainer_lowers_the_loss_and_accumulates_exactly(kind, tmp_path):
    generator = np.random.default_rng(0)
    ids = [[3 + (i + j) % 3 for j in range(n)] for i, n in enumerate(generator.integers(2, 8, 24))]
    labels = ids if kind is HMMForCausalLM else [[w - 3 for w in row] for row in ids]
    rows = Dataset.from_dict({"input_ids": ids, "labels": labels})
    collator = DataCollatorForTokenClassification(_tokenizer(["a", "b", "c", "d"]))
    losses = _train(make(kind, double=False), tmp_path, rows, collator)
    assert losses[-1] < 0.5 * losses[0]
    split = make(kind, double=False), make(kind, double=False)
    options = {"optim": "sgd", "max_steps": 3}
    _train(split[0], tmp_path, rows, collator, **options)
    _train(split[1], tmp_path, rows, collator, **options, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    assert_same(*(model.parameters() for model in split))


def test_the_pipelines_tag_and_write(tmp_path):
    texts = ["the dog barks", "a dog sleeps", "the cat sleeps"]
    words = _tokenizer(sorted({word for text in texts for word in text.split()}))
    labels = {0: "DET", 1: "NOUN", 2: "VERB"}
    model = HMMForTokenClassification(HMMConfig(vocab_size=len(words), id2label=labels))
    model.fit_counts(words(texts)["input_ids"], [[0, 1, 2]] * 3)
    model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    found = pipeline("token-classification", model=str(tmp_path))("a cat barks")
    assert [(part["word"], part["entity"]) for part in found] == [("a", "DET"), ("cat", "NOUN"), ("barks", "VERB")]
    written = pipeline("text-generation", model=str(tmp_path))("the", max_new_tokens=2, do_sample=False)
    assert written[0]["generated_text"].replace(" ", "") in ("thedogsleeps", "thecatsleeps")


@pytest.mark.data
def test_it_tags_english_web_text(data_folder, tmp_path):
    command = [sys.executable, str(data_folder / "load.py"), "--export", str(tmp_path), "ud_english_ewt"]
    subprocess.run(command, check=True, timeout=HANGS)
    files = {split: str(tmp_path / "ud_english_ewt" / f"{split}.parquet") for split in ("train", "test")}
    data = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    counts = Counter(word for words in data["train"]["tokens"] for word in words)
    # Words met once become <unk>, so that counting learns what unknown words are.
    tokenizer = _tokenizer([word for word, count in counts.items() if count > 1])
    names = data["train"].features["tags"].feature.names
    model = HMMForTokenClassification(HMMConfig(vocab_size=len(tokenizer), id2label=dict(enumerate(names))))
    ids = {split: tokenizer(data[split]["tokens"][:], is_split_into_words=True)["input_ids"] for split in data}
    model.fit_counts(ids["train"], data["train"]["tags"])
    right = total = 0
    for start in range(0, len(ids["test"]), 64):
        batch = tokenizer.pad({"input_ids": ids["test"][start : start + 64]}, return_tensors="pt")
        with torch.no_grad():
            found = model(**batch).logits.argmax(-1)
        for row, tags in zip(found.tolist(), data["test"]["tags"][start : start + 64], strict=True):
            right += sum(a == b for a, b in zip(row, tags, strict=False))
            total += len(tags)
    assert right / total > 0.888, right / total
