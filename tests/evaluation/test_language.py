"""Scores of texts, against loops over single tokens and against probabilities that can be added up by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

import hfseq
from hfseq.evaluation.language import encode, score, score_ids
from hfseq.evaluation.scores import SCORES
from hfseq.models.counting.ngram import NGramConfig, NGramForCausalLM
from hfseq.tokenization import prompt_tokenizer
from tests.closeness import assert_same
from tests.rounds import for_each

TEXTS = ["the cat sat", "a dog", "the dog sat on the cat, and the cat on a mat", "", "mat", "a  dog sat\n"]
TOKENIZER = hfseq.train_tokenizer(TEXTS * 2, "char", purpose="language-modeling")
V = len(TOKENIZER)
FAMILIES = {
    "RNN": (hfseq.RNNForCausalLM, hfseq.RNNConfig, {}),
    "LSTM": (hfseq.LSTMForCausalLM, hfseq.LSTMConfig, {"num_hidden_layers": 2, "hidden_dropout": 0.5}),
    "GRU": (hfseq.GRUForCausalLM, hfseq.GRUConfig, {"tie_word_embeddings": True, "hidden_size": 8}),
    "adaptive": (hfseq.LSTMForCausalLM, hfseq.LSTMConfig, {"adaptive_softmax_cutoffs": [6, 12], "hidden_size": 16}),
}


def recurrent(family="LSTM", vocab_size=V):
    model, config, fields = FAMILIES[family]
    torch.manual_seed(0)
    return wild(model(config(**{"vocab_size": vocab_size, "hidden_size": 12, "embedding_size": 8} | fields)))


def wild(model):
    """Weights large enough that every token of context changes what is predicted.

    But not from state to state: there they would magnify a rounding of the last bit to another answer within a text.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1 if "weight_hh" in name else 3)
    return model.eval().double()


def gpt2(n_positions=64, vocab_size=V):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocab_size, n_positions=n_positions, n_embd=16, n_layer=2, n_head=2, bos_token_id=2, eos_token_id=3
    )
    return wild(GPT2LMHeadModel(config))


def transformer(max_position_embeddings=64):
    torch.manual_seed(0)
    sizes = {"vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = hfseq.TransformerConfig(**sizes, max_position_embeddings=max_position_embeddings)
    return wild(hfseq.TransformerForCausalLM(config))


def ngram(documents, order=3, vocab_size=V):
    config = NGramConfig(vocab_size=vocab_size, order=order, bos_token_id=2, eos_token_id=3)
    return NGramForCausalLM(config).fit(documents)


def models():
    return {
        **{family: recurrent(family) for family in FAMILIES},
        "GPT-2": gpt2(),
        "transformer": transformer(),
        "n-gram": ngram(encode(TOKENIZER, TEXTS[:3])),
    }


def next_surprisal(model, context, token):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(np.array([context]))).logits[0, -1]
    return -float(torch.log_softmax(logits.double(), -1)[token])


def token_by_token(model, ids, context=10**9):
    """The surprisal of every token but the first, one call of the model for each."""
    return np.array([next_surprisal(model, ids[max(0, t - context) : t], ids[t]) for t in range(1, len(ids))])


def random_documents(*lengths, vocab_size=V):
    random = np.random.default_rng(0)
    return [random.integers(4, vocab_size, length) for length in lengths]


@pytest.mark.parametrize("name", models())
def test_surprisals_are_those_of_a_loop_over_single_tokens(name):
    model, documents = models()[name], encode(TOKENIZER, TEXTS)
    for ids, surprisals in zip(documents, score_ids(model, documents), strict=True):
        assert_same(surprisals, token_by_token(model, ids))


@pytest.mark.parametrize("name", models())
def test_batch_size_padding_and_order_change_no_answer(name):
    model, documents = models()[name], random_documents(3, 41, 1, 17, 0, 40, 2, 8)
    alone = [score_ids(model, [document])[0] for document in documents]
    assert [len(values) for values in alone] == [2, 40, 0, 16, 0, 39, 1, 7]
    for budget in (1, 7, 50, 64, 10_000):
        for order in (range(8), range(7, -1, -1)):
            together = score_ids(model, [documents[i] for i in order], max_tokens_per_batch=budget)
            for i, values in zip(order, together, strict=True):
                assert_same(values, alone[i])


@pytest.mark.parametrize("name", [*FAMILIES, "hmm"])
def test_a_long_document_read_in_pieces_is_scored_as_in_one_call(name):
    model = hmm() if name == "hmm" else recurrent(name)
    (ids,) = random_documents(700)
    with torch.no_grad():
        tensor = torch.tensor(ids)[None]
        expected = -model.token_log_probs(tensor[:, :-1], tensor[:, 1:])[0]
    for budget in (1, 33, 699, 5000):
        (found,) = score_ids(model, [ids], max_tokens_per_batch=budget)
        assert_same(found, expected)


def hmm():
    from hfseq.models.counting.hmm import HMMConfig, HMMForCausalLM

    torch.manual_seed(0)
    return HMMForCausalLM(HMMConfig(vocab_size=V)).eval()


def test_texts_that_end_leave_the_batch_and_the_others_grow():
    model, widths = recurrent(), []
    read = model.token_log_probs
    model.token_log_probs = lambda ids, *args, **kwargs: (widths.append(tuple(ids.shape)), read(ids, *args, **kwargs))[
        1
    ]
    documents = random_documents(1001, 201, 201)
    found = score_ids(model, documents, max_tokens_per_batch=600)
    assert widths == [(3, 200), (1, 600), (1, 200)]
    for ids, surprisals in zip(documents, found, strict=True):
        assert_same(surprisals, score_ids(recurrent(), [ids])[0])


@pytest.mark.parametrize("window, stride", [(10, 1), (10, 3), (10, 5), (10, 10), (10, None), (None, 4), (None, None)])
def test_windows_score_each_token_once_as_a_brute_force_loop_does(window, stride):
    model, documents = gpt2(n_positions=16), random_documents(61, 17, 16, 18, 5)
    width = window or 16
    step = stride or width // 2
    found = score_ids(model, documents, window=window, stride=stride, max_tokens_per_batch=37)
    for ids, surprisals in zip(documents, found, strict=True):
        expected, contexts = np.full(len(ids), np.nan), np.zeros(len(ids))
        for begin in range(0, len(ids), step):
            for t in range(begin + 1, min(begin + width + 1, len(ids))):
                if np.isnan(expected[t]):
                    expected[t] = next_surprisal(model, ids[begin:t], ids[t])
                    contexts[t] = t - begin
        assert_same(surprisals, expected[1:])
        assert all(contexts[t] >= min(t, width - step + 1) for t in range(1, len(ids)))


def test_a_transformer_reads_windows_whose_logits_fit_into_memory(monkeypatch):
    monkeypatch.setattr("hfseq.evaluation.language._TABLE_SIZE", 600 * V)
    model, sizes, (ids,) = transformer(16), [], random_documents(2000)
    read = model.token_log_probs
    model.token_log_probs = lambda ids, *args, **kwargs: (sizes.append(ids.shape), read(ids, *args, **kwargs))[1]
    (found,) = score_ids(model, [ids])
    assert {width for _, width in sizes} == {16} and 512 < max(size.numel() for size in sizes) <= 600
    assert_same(found[104:112], [next_surprisal(model, ids[96:t], ids[t]) for t in range(105, 113)])


def test_with_a_stride_of_one_every_token_has_all_the_context_the_model_can_take():
    model, (ids,) = gpt2(n_positions=8), random_documents(40)
    (found,) = score_ids(model, [ids], stride=1)
    assert_same(found, token_by_token(model, ids, context=8))


@pytest.mark.parametrize("name", ["LSTM", "GPT-2", "n-gram"])
def test_the_probabilities_of_all_texts_and_of_all_that_goes_on_sum_to_one(name):
    """Two letters: sum over texts of length < n of P(text) + sum over beginnings of length n of P(beginning) = 1."""
    tokenizer = hfseq.train_tokenizer(["ab"] * 2, "char", purpose="language-modeling")
    size = len(tokenizer)
    assert size == 7
    model = {
        "LSTM": lambda: recurrent(vocab_size=size),
        "GPT-2": lambda: gpt2(vocab_size=size),
        "n-gram": lambda: ngram([[2, 5, 6, 3], [2, 6, 6, 3]], vocab_size=size),
    }[name]()
    # The other special tokens can follow too, so ids are enumerated: whatever comes before the end is a text.
    others = [token for token in range(size) if token != tokenizer.eos_token_id]
    total = 0.0
    for length in range(3):
        documents = [[2, *ids, 3] for ids in itertools.product(others, repeat=length)]
        total += sum(math.exp(-values.sum()) for values in score_ids(model, documents))
    open_ended = [[2, *ids] for ids in itertools.product(others, repeat=3)]
    rest = sum(math.exp(-values.sum()) for values in score_ids(model, open_ended))
    assert 0.01 < total < 0.99
    assert_same(total + rest, 1)


def test_by_default_the_end_is_predicted_whatever_the_tokenizer_writes():
    model = recurrent()
    closed, opened = (score(model, tokenizer, TEXTS) for tokenizer in (TOKENIZER, prompt_tokenizer(TOKENIZER)))
    assert closed.log_prob == opened.log_prob
    assert opened.texts[1].tokens == ["a", " ", "d", "o", "g", "</s>"]
    without = score(model, TOKENIZER, TEXTS, add_end=False)
    for whole, part in zip(closed.texts, without.texts, strict=True):
        assert part.tokens == whole.tokens[:-1]
        assert_same(part.surprisals, whole.surprisals[:-1])


def test_without_a_start_token_the_first_token_is_context_only():
    model, text = recurrent(), "a dog"
    bare = hfseq.train_tokenizer(TEXTS * 2, "char")  # writes no start
    ids = bare(text, add_special_tokens=False)["input_ids"]
    assert score(model, bare, text).texts[0].tokens == [" ", "d", "o", "g", "</s>"]
    assert_same(score(model, bare, text).texts[0].surprisals, token_by_token(model, [*ids, 3]))
    started = score(model, bare, text, add_start=True)
    assert_same(started.log_prob, score(model, TOKENIZER, text).log_prob)
    assert score(model, TOKENIZER, text, add_start=False).log_prob == score(model, bare, text).log_prob


def test_a_start_or_an_end_that_stands_in_the_text_is_not_doubled():
    assert encode(TOKENIZER, ["<s>a</s>", ""]) == [[2, TOKENIZER.convert_tokens_to_ids("a"), 3], [2, 3]]


def test_measures_divide_by_the_units_of_the_text():
    model = recurrent()
    scores = score(model, TOKENIZER, TEXTS)
    log_prob = -sum(float(values.sum()) for values in score_ids(model, encode(TOKENIZER, TEXTS)))
    characters, words = sum(map(len, TEXTS)), sum(len(text.split()) for text in TEXTS)
    assert_same(scores.log_prob, log_prob, 1e-9)
    assert (scores.num_tokens, scores.num_characters, scores.num_words) == (characters + len(TEXTS), characters, words)
    assert scores.nats_per_token == pytest.approx(-log_prob / (characters + 6))
    assert scores.perplexity == pytest.approx(math.exp(-log_prob / (characters + 6)))
    assert scores.word_perplexity == pytest.approx(math.exp(-log_prob / words))
    assert scores.bits_per_character == pytest.approx(-log_prob / characters / math.log(2))
    assert scores.log_prob == pytest.approx(sum(text.log_prob for text in scores.texts))


def test_bytes_are_counted_in_utf8():
    scores = score(recurrent(), TOKENIZER, ["añ", "猫"])
    assert (scores.num_characters, scores.num_bytes) == (3, 6)
    assert scores.bits_per_byte == pytest.approx(scores.bits_per_character / 2)


def test_the_mean_surprisal_is_the_loss_of_the_model():
    model = recurrent()
    encoded = TOKENIZER(TEXTS, return_tensors="pt", padding=True)
    labels = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)
    with torch.no_grad():
        loss = float(model(**encoded, labels=labels).loss)
    assert_same(score(model, TOKENIZER, TEXTS).nats_per_token, loss)


def test_the_table_of_scores_says_the_same():
    scores = score(recurrent(), TOKENIZER, TEXTS)
    nats = np.array([-text.log_prob for text in scores.texts])
    for name, unit in {"nats_per_token": "tokens", "perplexity": "tokens", "bits_per_character": "characters"}.items():
        counts = np.array([getattr(text, f"num_{unit}") for text in scores.texts])
        assert SCORES[name].formula(counts, nats) == pytest.approx(getattr(scores, name))


def test_an_empty_text_has_an_end_and_no_character():
    model = recurrent()
    (empty,) = score(model, TOKENIZER, "").texts
    assert empty.tokens == ["</s>"] and empty.num_tokens == 1
    assert empty.perplexity == pytest.approx(math.exp(token_by_token(model, [2, 3])[0]))
    for measure, unit in {"word_perplexity": "words", "bits_per_character": "characters"}.items():
        with pytest.raises(ValueError, match=f"There are no {unit} to divide by"):
            getattr(empty, measure)
    (nothing,) = score(model, TOKENIZER, "", add_end=False).texts
    assert (nothing.log_prob, nothing.num_tokens) == (0, 0)  # every text begins with the empty one


def test_unknown_tokens_are_scored_and_counted():
    scores = score(recurrent(), TOKENIZER, ["a zebra", "dog"])
    assert [text.num_unknown for text in scores.texts] == [3, 0] and scores.num_unknown == 3  # z, b, r
    assert scores.texts[0].tokens.count("<unk>") == 3


def test_texts_may_be_one_several_a_generator_or_a_column():
    model = recurrent()
    column = Dataset.from_dict({"text": TEXTS})["text"]
    expected = score(model, TOKENIZER, TEXTS).log_prob
    assert score(model, TOKENIZER, column).log_prob == expected
    assert score(model, TOKENIZER, (text for text in TEXTS)).log_prob == expected
    assert score(model, TOKENIZER, TEXTS[0]).log_prob == pytest.approx(score(model, TOKENIZER, TEXTS[:1]).log_prob)


def test_the_model_keeps_its_mode_and_gets_no_gradient():
    model = recurrent().train()
    model.model.layers.eval()
    one, other = (score(model, TOKENIZER, TEXTS).log_prob for _ in range(2))
    assert one == other  # dropout of a half would tell
    assert model.training and not model.model.layers.training
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError):
        score_ids(model, [[V]])
    assert model.training


def test_what_is_too_improbable_for_a_float_has_an_infinite_perplexity():
    config = NGramConfig(vocab_size=V, order=2, smoothing="add-k", add_k=0, bos_token_id=2, eos_token_id=3)
    model = NGramForCausalLM(config).fit(encode(TOKENIZER, ["a dog"]))
    assert score(model, TOKENIZER, "a dog").perplexity < 2
    assert score(model, TOKENIZER, "a cat").perplexity == math.inf


@for_each(
    "call, message",
    [
        (lambda m: score(m, TOKENIZER, []), "There are no texts"),
        (
            lambda m: score(m, hfseq.train_tokenizer(["more letters than it knows: xyzvwj"] * 2, "char"), "vvxz"),
            "belong",
        ),
        (lambda m: score_ids(m, [[2, V]]), f"holds the id {V}, but the model knows the ids 0 to {V - 1}"),
        (lambda m: score_ids(m, [[2, -1]]), "holds the id -1"),
        (lambda m: score_ids(m, [2, 5, 3]), "document number 0 must be a list of token ids, got '2'"),
        (lambda m: score_ids(m, np.array([2, 5, 3])), "put it into a list"),
        (lambda m: score_ids(m, [[2, 3]], max_tokens_per_batch=0), "max_tokens_per_batch=0"),
        (lambda m: score_ids(gpt2(16), [[2, 3]], stride=17), "stride=17 must be from 1 to window=16"),
        (lambda m: score_ids(gpt2(16), [[2, 3]], stride=0), "stride=0"),
        (lambda m: score_ids(gpt2(16), [[2, 3]], window=0), "window=0"),
        (lambda m: score_ids(m, [[2, 3]], stride=5), "stride=5 must be from 1 to window=None"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(recurrent())


def test_a_value_that_is_no_text_is_named():
    with pytest.raises(TypeError, match="text number 1 is None"):
        score(recurrent(), TOKENIZER, ["a", None])
    with pytest.raises(TypeError, match="dataset\\['text'\\]"):
        score(recurrent(), TOKENIZER, Dataset.from_dict({"text": TEXTS}))


def test_a_start_that_the_tokenizer_lacks_is_named():
    tokenizer = hfseq.train_tokenizer(TEXTS * 2, "char")
    tokenizer.bos_token = None
    with pytest.raises(ValueError, match="no bos_token"):
        score(recurrent(), tokenizer, TEXTS, add_start=True)


@pytest.mark.parametrize(
    "model",
    [
        lambda: BertForMaskedLM(
            BertConfig(vocab_size=V, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
        ),
        lambda: T5ForConditionalGeneration(
            T5Config(vocab_size=V, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
        ),
        lambda: hfseq.LSTMForSequenceClassification(hfseq.LSTMConfig(vocab_size=V, hidden_size=8)),
    ],
)
def test_a_model_of_another_kind_is_named(model):
    model = model()
    with pytest.raises(ValueError, match=f"{type(model).__name__} is no causal language model"):
        score(model, TOKENIZER, TEXTS)


def test_damaged_weights_are_an_error_and_no_nan():
    model = gpt2()
    torch.nn.init.constant_(model.transformer.ln_f.weight, float("nan"))
    with pytest.raises(ValueError, match="nan to a token of document 0"):
        score(model, TOKENIZER, TEXTS)
