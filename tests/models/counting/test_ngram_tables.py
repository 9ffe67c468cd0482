"""The tables of an n-gram model as a checkpoint: saved, loaded, damaged, refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
)

from hfseq.models.counting.ngram import NGramConfig, NGramForCausalLM
from tests.models.counting.ngram_oracle import LOWEST, Oracle
from tests.models.counting.test_ngram import EOS, PAD, V, all_texts, fitted, random_texts
from tests.rounds import for_each


def test_a_checkpoint_is_bit_equal_and_loads_by_the_auto_classes(tmp_path):
    for options in ({"order": 4}, {"order": 1}, {"order": 10}, {"smoothing": "add-k", "add_k": 0.5}):
        model = fitted(**options)
        model.save_pretrained(tmp_path)
        assert {file.name for file in tmp_path.iterdir()} == {
            "config.json",
            "generation_config.json",
            "model.safetensors",
        }
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
        assert type(loaded) is NGramForCausalLM and loaded.config.num_ngrams == model.config.num_ngrams
        left, right = model.state_dict(), loaded.state_dict()
        assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
        assert torch.equal(model(random_texts()).logits, loaded(random_texts()).logits)


def test_probabilities_stay_exact_when_half_precision_is_asked_for(tmp_path):
    model = fitted()
    model.save_pretrained(tmp_path)
    for dtype in (torch.float16, torch.bfloat16):
        loaded = NGramForCausalLM.from_pretrained(tmp_path, dtype=dtype)
        assert torch.equal(loaded(random_texts()).logits, model(random_texts()).logits)


def add(amount, row):
    """To one number of a table."""
    return lambda table: table.index_add(0, torch.tensor([row]), torch.tensor([amount], dtype=table.dtype))


# Of one document, 4 5 4 </s>: keys_2 is [28, 35, 37, 44], keys_3 [5, 20, 27], gammas_2 [0.5, 1, 0.5, 0.5].
DAMAGES = {
    "descending": ("keys_2", lambda table: table.flip(0), r"keys_2\[1\] = 37 must be above .* 44"),
    "twice the same": ("keys_2", lambda table: table[[0, 0, 2, 3]], r"keys_2\[1\] = 28 must be above .* 28"),
    "below zero": ("keys_3", lambda table: table - 1000, r"keys_3\[0\] = -995 is outside 0 to 31"),
    "beyond the contexts": ("keys_3", add(2**60, 2), r"keys_3\[2\] = 1152921504606847003 is outside 0 to 31"),
    "not numbers": ("shares_3", lambda table: table * float("nan"), r"shares_3\[0\] = nan is no probability"),
    "above one": ("gammas_1", lambda table: table + 1, r"gammas_1\[0\] = 2.0 is no probability"),
    "padding that follows": ("shares_1", add(0.5, PAD), r"shares_1\[0\] = 0.5 must be 0: the id 0 is never predicted"),
    "more than all": ("shares_1", add(0.5, 5), r"gammas_0\[0\] and the shares_1 of .* ids \[\], sum to 1.5, not to 1"),
    "too little": ("shares_2", add(-0.25, 1), r"gammas_1\[4\] and the .*_2 of .* ids \[4\], sum to 0.75, not to 1"),
    "another's word": ("keys_3", add(-5, 1), r"gammas_2\[1\] and the .*_3 of .* ids \[4, 3\], sum to 1.5, not to 1"),
    "nobody's gamma": ("gammas_2", add(-0.5, 1), r"gammas_2\[1\] and the .*_3 of .* ids \[4, 3\], sum to 0.5, not"),
}


@for_each("damage", DAMAGES)
def test_damaged_tables_are_refused(damage, tmp_path):
    config = NGramConfig(vocab_size=V, order=3, eos_token_id=EOS)
    NGramForCausalLM(config).fit([[4, 5, 4, EOS]]).save_pretrained(tmp_path)
    name, change, message = DAMAGES[damage]
    file = tmp_path / "model.safetensors"
    tables = load_file(file)
    save_file(tables | {name: change(tables[name])}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"are damaged: {message}"):
        NGramForCausalLM.from_pretrained(tmp_path)


def test_a_table_that_is_missing_is_named(tmp_path):
    fitted().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tables = load_file(file)
    del tables["keys_2"]
    save_file(tables, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks keys_2"):
        NGramForCausalLM.from_pretrained(tmp_path)


def test_what_is_impossible_follows_from_the_config(tmp_path):
    model = fitted()
    model.config.pad_token_id = 4  # a word that was counted
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"shares_1\[4\] .* must be 0: the id 4 is never predicted"):
        NGramForCausalLM.from_pretrained(tmp_path)


@for_each("smoothing", ["kneser-ney", "add-k"])
@for_each("kind", ["keys", "shares", "gammas"])
def test_tables_without_a_fault_give_probabilities_that_sum_to_one(kind, smoothing):
    """Any one number changed at random: either it is found, or every distribution is still one."""
    generator, found = np.random.default_rng(0), 0
    for _ in range(60):
        model = fitted(smoothing=smoothing)
        assert model._fault() is None
        names = [name for name, table in model.named_buffers() if name.startswith(kind) and len(table)]
        table = model.get_buffer(generator.choice(names))
        row = int(generator.integers(len(table)))
        table[row] = int(generator.integers(-5, 3 * len(table) * V)) if kind == "keys" else generator.random()
        if model._fault() is not None:
            found += 1
            continue
        logits = model(torch.cat([random_texts(), all_texts(2).repeat(1, 4)])).logits
        assert logits.double().logsumexp(-1).abs().max() < 1e-4
        assert (logits[..., PAD] == LOWEST).all()
    assert found > 20


@for_each("options", [{}, {"smoothing": "add-k", "add_k": 0.5}, {"smoothing": "add-k", "add_k": 0}])
@for_each("corpus", [[[4, EOS], [5, EOS]], [[4]], [[EOS]], [[4, 5, 6, EOS]]])
def test_documents_shorter_than_the_order_are_counted(corpus, options, tmp_path):
    """No document has five words: the tables of the longest n-grams are empty."""
    config = NGramConfig(vocab_size=V, order=7, eos_token_id=EOS, **options)
    model, oracle = NGramForCausalLM(config).fit(corpus), Oracle(corpus, config)
    assert config.num_ngrams[-1] == 0
    texts = torch.cat([random_texts(), torch.tensor([[4, 5, 6, EOS, 4, EOS, 5, 6]])])
    logits = model(texts).logits
    for text, row in zip(texts.tolist(), logits, strict=True):
        torch.testing.assert_close(row.double(), oracle.logits(text), rtol=1e-6, atol=1e-6)
    log_probs = model.token_log_probs(texts[:, :-1], texts[:, 1:])
    assert torch.equal(log_probs, logits[:, :-1].gather(-1, texts[:, 1:, None])[..., 0])
    model.save_pretrained(tmp_path)
    assert torch.equal(NGramForCausalLM.from_pretrained(tmp_path)(texts).logits, logits)
    assert model.generate(texts[:, :2], max_new_tokens=3, do_sample=False).shape[1] <= 5
