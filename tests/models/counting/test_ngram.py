"""The n-gram model against the slow one of `ngram_oracle.py`."""

import itertools
import lzma
import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    DynamicCache,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    pipeline,
)

from hfseq.models.counting.ngram import NGramConfig, NGramForCausalLM
from hfseq.models.counting.ngram_counts import kneser_ney_discounts
from tests.closeness import assert_same
from tests.models.counting.ngram_oracle import LOWEST, Oracle
from tests.rounds import for_each

PAD, UNK, BOS, EOS = 0, 1, 2, 3
V = 8
BOUNDARIES = {
    "eos": {"eos_token_id": EOS},
    "bos": {"bos_token_id": BOS},
    "both": {"bos_token_id": BOS, "eos_token_id": EOS},
    "one-for-both": {"bos_token_id": EOS, "eos_token_id": EOS},
    "padding-too": {"pad_token_id": EOS, "bos_token_id": EOS, "eos_token_id": EOS},
    "none": {"pad_token_id": None},
}


def documents(config, rows=25, seed=0, longest=9):
    """Random ones, some words much more frequent than others; word 7 never occurs."""
    generator = np.random.default_rng(seed)
    special = {PAD, BOS, EOS} & {config.pad_token_id, config.bos_token_id, config.eos_token_id}
    words = [word for word in range(V - 1) if word not in special]
    chances = np.arange(1, len(words) + 1, dtype=float) ** 2
    found = []
    for row in range(rows):
        middle = generator.choice(words, generator.integers(0, longest), p=chances / chances.sum()).tolist()
        begin = [config.bos_token_id] if config.bos_token_id is not None and row % 3 else []
        found.append(begin + middle + ([config.eos_token_id] if config.eos_token_id is not None and row % 7 else []))
    eos = config.eos_token_id
    return [*found, [4, 5, eos, 6, eos]] if eos is not None else [*found, [4]]  # two sentences in one


def fitted(**options):
    config = NGramConfig(**{"vocab_size": V, "order": 3, "eos_token_id": EOS, **options})
    return NGramForCausalLM(config).fit(documents(config)).eval()


def random_texts(rows=20, time=8, seed=1):
    """(B, T), of all the words there are, boundaries in the middle too."""
    return torch.randint(1, V, (rows, time), generator=torch.Generator().manual_seed(seed))


def all_texts(length):
    return torch.tensor(list(itertools.product(range(1, V), repeat=length)))


@for_each("order", [1, 2, 3, 4])
@for_each("boundaries", BOUNDARIES)
@for_each("discounts", ["modified", "single"])
def test_kneser_ney_equals_its_definition_after_every_text(order, boundaries, discounts):
    config = NGramConfig(
        vocab_size=V, order=order, discounts=discounts, **{"eos_token_id": None, **BOUNDARIES[boundaries]}
    )
    corpus = documents(config)
    model, oracle = NGramForCausalLM(config).fit(corpus), Oracle(corpus, config)
    for texts in (random_texts(), all_texts(min(order, 2))):
        logits = model(texts).logits
        for text, row in zip(texts.tolist(), logits, strict=True):
            assert_same(row.double(), oracle.logits(text))


def test_the_oracle_meets_every_branch_of_the_definition():
    """Discounts of the formula and those of the fallback, counts of 0 to 3 and more, contexts never seen."""
    config = NGramConfig(vocab_size=V, order=3, eos_token_id=EOS)
    oracle = Oracle(documents(config), config)
    discounts = {(k, count): oracle.discount(count, k) for k in (1, 2, 3) for count in (1, 2, 3)}
    formula = [k for k in (1, 2, 3) if discounts[k, 1] != 0.5]
    assert 0 < len(formula) < 3
    assert {min(count, 3) for count in oracle.counts.values()} == {1, 2, 3}
    assert any(context not in oracle.after for context in itertools.product(range(1, V), repeat=2))


@for_each("order", [1, 2, 3])
@for_each("boundaries", BOUNDARIES)
@for_each("k", [0, 0.1, 1])
def test_add_k_equals_its_definition_after_every_text(order, boundaries, k):
    options = {"eos_token_id": None, **BOUNDARIES[boundaries]}
    config = NGramConfig(vocab_size=V, order=order, smoothing="add-k", add_k=k, **options)
    corpus = documents(config)
    model, oracle = NGramForCausalLM(config).fit(corpus), Oracle(corpus, config)
    texts = random_texts()
    for text, row in zip(texts.tolist(), model(texts).logits, strict=True):
        assert_same(row.double(), oracle.logits(text))


def test_add_one_of_two_sentences_by_hand():
    """`a b </s>` and `a a </s>`: after `a` came a, b and </s> once each; four words can follow."""
    config = NGramConfig(vocab_size=5, order=2, smoothing="add-k", eos_token_id=2)
    a, b, c = 1, 3, 4
    model = NGramForCausalLM(config).fit([[a, b, 2], [a, a, 2]])
    after_start, after_a = model(torch.tensor([[2, a]])).logits[0].exp()
    assert_same(after_a, torch.tensor([0, 2 / 7, 2 / 7, 2 / 7, 1 / 7]))
    assert_same(after_start, torch.tensor([0, 3 / 6, 1 / 6, 1 / 6, 1 / 6]))
    after_c = model(torch.tensor([[c]])).logits[0, -1].exp()
    assert_same(after_c, torch.tensor([0, 1 / 4, 1 / 4, 1 / 4, 1 / 4]))


def test_discounts_by_hand():
    counts = np.repeat([0, 1, 2, 3, 4, 9], [5, 10, 5, 3, 2, 1])  # Y = 10 / 20
    expected = [0, 1 - 2 * 0.5 * 5 / 10, 2 - 3 * 0.5 * 3 / 5, 3 - 4 * 0.5 * 2 / 3]
    assert_same(kneser_ney_discounts(counts, "modified"), expected)
    assert_same(kneser_ney_discounts(counts, "single"), [0, 0.5, 0.5, 0.5])
    assert_same(kneser_ney_discounts(np.array([1, 1, 3]), "modified"), [0, 0.5, 1, 1.5])


def test_a_word_that_follows_many_is_likelier_in_new_company_than_one_as_frequent_that_follows_one():
    """San Francisco: 4 follows 5 alone, six times; 6 follows six different words."""
    corpus = [[5, 4, EOS]] * 6 + [[word, 6, EOS] for word in (5, 7, 8, 9, 10, 11)]
    model = NGramForCausalLM(NGramConfig(vocab_size=13, order=2, eos_token_id=EOS)).fit(corpus)
    new = model(torch.tensor([[12]])).logits[0, -1]
    after_5 = model(torch.tensor([[5]])).logits[0, -1]
    assert new[6] > new[4] + 0.5 and after_5[4] > after_5[6]


@pytest.mark.parametrize("options", [{}, {"order": 5}, {"smoothing": "add-k", "add_k": 0.3}, {"bos_token_id": BOS}])
def test_probabilities_sum_to_one_and_the_impossible_has_none(options):
    logits = fitted(**options)(random_texts(40)).logits
    assert logits.dtype == torch.float32 and torch.isfinite(logits).all()
    assert_same(logits.double().exp().sum(-1), 1)
    assert (logits[..., PAD] == LOWEST).all()
    assert (logits[..., BOS] == LOWEST).all() == ("bos_token_id" in options)
    assert (logits[..., 7] > -20).all()  # never seen, yet possible


def test_maximum_likelihood_is_certain_and_finite():
    model = fitted(smoothing="add-k", add_k=0, order=5)
    logits = model(random_texts()).logits
    assert (logits[..., 7] == LOWEST).any() and torch.isfinite(logits).all()
    assert_same(logits.softmax(-1), logits.exp())


def test_token_log_probs_are_those_of_the_table():
    model, texts = fitted(order=4), random_texts(6, 12)
    targets = random_texts(6, 12, seed=2)
    targets[0, 3:5] = targets[4] = -100
    found = model.token_log_probs(texts, targets)
    expected = model(texts).logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    assert found.dtype == torch.float32 and (found[targets == -100] == 0).all()
    assert_same(found, expected.masked_fill(targets == -100, 0))
    assert model.token_log_probs(torch.tensor([[4]]), torch.tensor([[PAD]])).item() == LOWEST


def padded(text, side, width=12):
    """A row of ids and its mask; `holes` puts padding before every word."""
    gap = [PAD] * (width - len(text))
    if side == "holes":
        return [x for word in text for x in (PAD, word)], [0, 1] * len(text)
    ids, mask = (gap + text, [0] * len(gap) + [1] * len(text)), (text + gap, [1] * len(text) + [0] * len(gap))
    return ids if side == "left" else (mask[0], mask[1])


@for_each("options", [{"order": 1}, {"order": 5}, {"order": 3, "smoothing": "add-k"}])
@for_each("side", ["left", "right", "holes"])
def test_padding_changes_no_answer(side, options):
    model = fitted(**options)
    for text in random_texts(10, 6).tolist():
        alone = torch.tensor([text])
        ids, mask = (torch.tensor([row, [PAD] * len(row)]) for row in padded(text, side))
        outputs = model(ids, attention_mask=mask)
        real = mask[0].bool()
        assert torch.equal(outputs.logits[0, real], model(alone).logits[0])
        assert torch.equal(outputs.logits[1, -1], model(torch.tensor([[EOS]])).logits[0, -1])  # no text: a beginning
        targets = torch.where(mask.bool(), ids.roll(-1, 1), -100)
        log_probs = model.token_log_probs(ids, targets, mask)
        assert torch.equal(
            log_probs[0, real], model.token_log_probs(alone, torch.tensor([targets[0, real].tolist()]))[0]
        )
        if side != "holes":
            labels = ids.masked_fill(mask == 0, -100)
            assert_same(model(ids, mask, labels=labels).loss, model(alone, labels=alone).loss)


@for_each("order", [1, 2, 5])
@for_each("smoothing", ["kneser-ney", "add-k"])
def test_only_the_positions_asked_for_are_computed(order, smoothing):
    model, texts = fitted(order=order, smoothing=smoothing), random_texts(4, 9)
    mask = torch.ones_like(texts)
    mask[1, :4] = mask[2, 5:] = mask[3, ::2] = 0
    everything = model(texts, mask).logits
    for kept in (1, 2, 3, 9, 20):
        assert torch.equal(model(texts, mask, logits_to_keep=kept).logits, everything[:, -kept:])
    places = torch.tensor([0, 5])
    assert torch.equal(model(texts, mask, logits_to_keep=places).logits, everything[:, places])


def test_large_tables_are_made_in_pieces(monkeypatch):
    model, texts = fitted(order=4), random_texts(5, 9)
    at_once = model(texts).logits
    monkeypatch.setattr("hfseq.models.counting.ngram._TABLE_SIZE", 3 * V)
    assert torch.equal(model(texts).logits, at_once)


def test_the_loss_is_the_mean_of_what_was_asked_or_the_sum_over_the_number_given():
    model, texts = fitted(), random_texts(3, 7)
    log_probs = model.token_log_probs(texts[:, :-1], texts[:, 1:])
    labels = texts.clone()
    assert_same(model(texts, labels=labels).loss, -log_probs.mean())
    assert_same(model(texts, labels=labels, num_items_in_batch=100).loss, -log_probs.sum() / 100)
    labels[:, 4] = -100
    kept = [0, 1, 2, 4, 5]
    assert_same(model(texts, labels=labels).loss, -log_probs[:, kept].mean())
    shifted = model(texts[:, :-1], shift_labels=texts[:, 1:]).loss
    assert_same(shifted, -log_probs.mean())
    assert model(texts[:, :1], labels=texts[:, :1]).loss == 0  # nothing follows


def test_greedy_generation_is_the_argmax_loop_also_of_padded_prompts():
    model = fitted(order=4)
    prompts = [[4, 5], [6], [EOS, 4, 4, 5, 6]]
    ids, mask = zip(*(padded(prompt, "left", 5) for prompt in prompts), strict=True)
    found = model.generate(
        torch.tensor(ids), attention_mask=torch.tensor(mask), max_new_tokens=6, do_sample=False, pad_token_id=PAD
    )
    for prompt, row in zip(prompts, found[:, 5:].tolist(), strict=True):
        text = list(prompt)
        while len(text) < len(prompt) + 6:
            text.append(model(torch.tensor([text])).logits[0, -1].argmax().item())
            if text[-1] == EOS:
                break
        expected = text[len(prompt) :]
        assert row == expected + [PAD] * (6 - len(expected))


@pytest.mark.parametrize("use_cache", [None, True, False])
def test_generation_looks_at_all_the_context_whatever_is_said_of_a_cache(use_cache):
    corpus = [[4, 5, 6, 4, 6, 5, EOS]] * 3
    model = NGramForCausalLM(NGramConfig(vocab_size=V, order=4, eos_token_id=EOS)).fit(corpus)
    options = {} if use_cache is None else {"use_cache": use_cache}
    found = model.generate(torch.tensor([[4]]), do_sample=False, max_new_tokens=10, pad_token_id=PAD, **options)
    assert found.tolist() == [corpus[0]]


def test_beam_search_finds_the_best_text_of_all():
    model, steps = fitted(order=3), 3
    prompt = [4]
    best, best_score = None, -math.inf
    for words in itertools.product(range(1, V), repeat=steps):
        text = list(words)
        if EOS in text:
            text = text[: text.index(EOS) + 1]
        ids = torch.tensor([prompt + text])
        score = model.token_log_probs(ids[:, :-1], ids[:, 1:]).double().sum().item()
        if score > best_score:
            best, best_score = text, score
    found = model.generate(
        torch.tensor([prompt]),
        num_beams=V * V,
        max_new_tokens=steps,
        length_penalty=0.0,
        do_sample=False,
        pad_token_id=PAD,
        output_scores=True,
        return_dict_in_generate=True,
    )
    assert [word for word in found.sequences[0, 1:].tolist() if word != PAD] == best
    assert_same(found.sequences_scores, best_score)


def test_samples_follow_the_probabilities():
    model, draws = fitted(), 4000
    torch.manual_seed(0)
    prompt = torch.tensor([[4, 5]])
    found = model.generate(
        prompt, do_sample=True, top_k=0, max_new_tokens=1, num_return_sequences=draws, pad_token_id=PAD
    )
    shares = torch.bincount(found[:, -1], minlength=V) / draws
    assert_same(shares, model(prompt).logits[0, -1].exp(), 0.03, scale=1)


def test_the_text_generation_pipeline_continues_a_text(tmp_path):
    vocabulary = ["<pad>", "<unk>", "<s>", "</s>", "the", "cat", "sat", "dog"]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", padding_side="left"
    )
    model = NGramForCausalLM(NGramConfig(vocab_size=V, order=3, eos_token_id=EOS))
    model.fit([[4, 5, 6, EOS], [4, 5, 6, EOS], [7, 6, EOS]]).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipe = pipeline("text-generation", model=str(tmp_path))
    answers = pipe(["the", "dog", "the cat"], batch_size=3, do_sample=False, max_new_tokens=5, return_full_text=False)
    assert [answer[0]["generated_text"] for answer in answers] == ["cat sat", "sat", "sat"]


def test_the_stock_trainer_evaluates_it(tmp_path):
    model, rows = fitted(), random_texts(5, 7)
    arguments = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True, per_device_eval_batch_size=5)
    dataset = Dataset.from_dict({"input_ids": rows.tolist(), "labels": rows.tolist()})
    found = Trainer(model, arguments, eval_dataset=dataset).evaluate()
    assert_same(found["eval_loss"], model(rows, labels=rows).loss)


def test_a_text_without_words_is_a_beginning():
    model = fitted()
    empty = torch.zeros(1, 0, dtype=torch.long)
    assert torch.equal(model(empty).logits, model(torch.tensor([[EOS]])).logits)
    assert model.token_log_probs(empty, empty).shape == (1, 0)


def test_fitting_again_replaces_what_was_counted():
    model = fitted()
    again = model.fit([np.array([4, 4, EOS], dtype=np.int32), torch.tensor([5, EOS]), []])
    fresh = NGramForCausalLM(NGramConfig(vocab_size=V, order=3, eos_token_id=EOS)).fit([[4, 4, EOS], (5, EOS)])
    assert again is model and model.config.num_ngrams == fresh.config.num_ngrams
    assert torch.equal(model(random_texts()).logits, fresh(random_texts()).logits)


def test_it_knows_where_it_is_and_has_nothing_to_train():
    model = fitted()
    assert model.device == torch.device("cpu") and model.dtype == torch.float32
    assert model.base_model is model and not list(model.parameters())


@for_each(
    ("options", "message"),
    [
        ({"order": 0}, r"must be in \[1, 10\], got 0"),
        ({"order": 11}, r"must be in \[1, 10\], got 11"),
        ({"order": 2.0}, "order"),
        ({"smoothing": "good-turing"}, "smoothing"),
        ({"discounts": "none"}, "discounts"),
        ({"add_k": -1.0}, r"must be in \[0.0, 1000000.0\]"),
        ({"n": 3}, "Did you mean 'order'"),
        ({"eos_token_id": V}, "eos_token_id=8 is outside 0 to vocab_size - 1 = 7"),
        ({"pad_token_id": -1}, "pad_token_id=-1 is outside"),
        ({"vocab_size": 2, "bos_token_id": 1}, "leaves no word"),
        ({"num_ngrams": [V, 3]}, "must be 3"),
        ({"num_ngrams": [V, 3, -1]}, "from 0 to"),
        ({"num_ngrams": [V + 1, 3, 3]}, "must begin with vocab_size=8"),
        ({"num_ngrams": "many"}, "num_ngrams"),
    ],
)
def test_a_wrong_config_is_refused(options, message):
    with pytest.raises(Exception, match=message):
        NGramConfig(**{"vocab_size": V, "order": 3, **options})


@for_each(
    ("corpus", "message"),
    [
        ([], "nothing to count"),
        ([[], []], "nothing to count"),
        ([[BOS]], "no token besides"),
        ([[4, V]], "id 8 is outside 0 to 7"),
        ([[4, -1]], "id -1 is outside 0 to 7"),
        ([[4, EOS, PAD, PAD]], "id 0, which is padding, 2 times"),
        ([[4.0, 5.0]], "float64"),
        ([4, 5], "0 dimensions"),
        (["the cat"], "'the cat'"),
        ([[True, False]], "bool"),
    ],
)
def test_a_corpus_that_cannot_be_counted_is_refused(corpus, message):
    model = NGramForCausalLM(NGramConfig(vocab_size=V, bos_token_id=BOS, eos_token_id=EOS))
    with pytest.raises(ValueError, match=message):
        model.fit(corpus)


def test_wrong_inputs_are_refused():
    model, ids = fitted(), torch.tensor([[4, 5]])
    for call, message in {
        lambda: NGramForCausalLM(NGramConfig(vocab_size=V))(ids): "counted nothing yet",
        lambda: model(torch.tensor([[V]])): "input id 8 is outside",
        lambda: model(ids.float()): "must be integers",
        lambda: model(): "give it input_ids",
        lambda: model(inputs_embeds=torch.zeros(1, 2, 3)): "give it input_ids",
        lambda: model(ids, past_key_values=DynamicCache()): "keeps no state",
        lambda: model(ids, torch.ones(1, 3)): r"attention_mask of shape \(1, 3\)",
        lambda: model(ids, labels=torch.tensor([[4, V]])): "label 8 is outside 0 to 7",
        lambda: model.token_log_probs(ids, torch.tensor([[4]])): r"shape \(1, 1\)",
        lambda: model.resize_token_embeddings(9): "cannot become 9",
    }.items():
        with pytest.raises(ValueError, match=message):
            call()


def ptb(folder, split):
    with lzma.open(folder / "ptb" / f"ptb.{split}.txt.xz", "rt", encoding="utf-8") as file:
        return [[*line.split(), "</s>"] for line in file]


@pytest.mark.data
def test_the_penn_treebank_has_the_published_perplexity(data_folder):
    """141.2 for order 5 (Mikolov et al. 2011); 10,000 words, `</s>` among them."""
    ids = {"<pad>": 0}
    train, test = (
        [[ids.setdefault(w, len(ids)) for w in row] for row in ptb(data_folder, s)] for s in ("train", "test")
    )
    eos = ids["</s>"]
    model = NGramForCausalLM(NGramConfig(vocab_size=len(ids), eos_token_id=eos)).fit(train)
    stream = torch.tensor([[eos, *itertools.chain.from_iterable(test)]])
    log_probs = model.token_log_probs(stream[:, :-1], stream[:, 1:])
    assert len(ids) == 10_001 and log_probs.numel() == 82_430
    assert 141.1 < log_probs.double().mean().neg().exp().item() < 141.3
