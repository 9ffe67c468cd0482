"""The page about language models does what it says, and the examples hold for every family."""

import copy
import time

import pytest
import torch
from transformers import pipeline

import hfseq
from tests.pages import blocks_of, play

BLOCKS = blocks_of("language.md")
FAMILIES = ["RNN", "LSTM", "GRU"]
of_the_page = pytest.mark.slow  # `make docs` runs the whole page, too


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The names that the page leaves behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        return play(BLOCKS, {})


@pytest.fixture
def helpers():
    """The two functions at the top of the page."""
    return play(BLOCKS[:1], {})


@of_the_page
def test_the_page_says_what_its_code_prints(page):
    assert sum(block.startswith(">>>") for block in BLOCKS) >= 7
    assert len(page["names"]) == len(set(page["names"])) > 30
    with pytest.raises(AssertionError, match=r"1 \+ 1\nExpected:\n +3\nGot:\n +2"):
        play([">>> 1 + 1\n3\n"], {})


@of_the_page
def test_sampled_names_are_new_and_end(page):
    assert len(page["new_names"]) == 8 and all(page["new_names"])
    torch.manual_seed(0)
    found = page["namer"]("", num_return_sequences=40, max_new_tokens=20, return_tensors=True)
    for row in found:
        ids = torch.tensor(row["generated_token_ids"])
        assert ids[0] == 2 and (ids == 3).sum() == 1
        length = int((ids == 3).nonzero())
        assert length > 1 and (ids[length + 1 :] == 0).all()
    decoded = {page["namer"].tokenizer.decode(row["generated_token_ids"], skip_special_tokens=True) for row in found}
    assert len(decoded) > 5 and decoded - set(page["names"])


@of_the_page
def test_sampled_names_are_likelier_than_shuffled_letters(page):
    tokenizer, model = page["name_tokenizer"], page["name_model"].eval()

    def loss(name):
        ids = tokenizer(name, return_tensors="pt").input_ids
        return model(ids, labels=ids).loss.item()

    assert all(loss(name) < loss(name[::-1]) for name in ("velina", "dorano", "salira"))


@pytest.mark.parametrize("family", FAMILIES)
def test_hello_is_learnt_in_a_second(helpers, family):
    classes = getattr(hfseq, f"{family}Config"), getattr(hfseq, f"{family}ForCausalLM")
    for attempt in range(2):  # the first may compile kernels
        torch.manual_seed(attempt)
        start = time.process_time()
        tokenizer, model = helpers["character_model"](*classes, ["hello"])
        helpers["learn"](model, tokenizer, ["hello"], steps=60)
        prompts = hfseq.tokenization.prompt_tokenizer(tokenizer)
        assert sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)[5:] == ["l", "e", "h", "o"]
        written = model.generate(**prompts("h", return_tensors="pt"), max_new_tokens=10)
        assert prompts.decode(written[0]) == "<s>hello</s>"
    assert time.process_time() - start < 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_alphabet_goes_on_from_the_first_letter_and_from_the_middle(helpers, family):
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    torch.manual_seed(0)
    classes = getattr(hfseq, f"{family}Config"), getattr(hfseq, f"{family}ForCausalLM")
    tokenizer, model = helpers["character_model"](*classes, [alphabet])
    helpers["learn"](model, tokenizer, [alphabet[start:] for start in range(26)], steps=60)
    prompts = hfseq.tokenization.prompt_tokenizer(tokenizer)
    for start in ("a", "m", "klm", "y"):
        written = model.generate(**prompts(start, return_tensors="pt"), max_new_tokens=30)
        assert prompts.decode(written[0], skip_special_tokens=True) == start + alphabet.split(start[-1])[1]


@of_the_page
def test_a_kept_state_goes_on_as_if_nothing_had_happened(page):
    model, prompts = page["model"], page["prompts"]
    whole = model.generate(**prompts("<sad>", return_tensors="pt"), max_new_tokens=12)
    part = model.generate(**prompts("<sad>", return_tensors="pt"), max_new_tokens=4, return_dict_in_generate=True)
    states = [copy.deepcopy(part.past_key_values) for _ in range(2)]
    for state in states:
        assert model.generate(part.sequences, past_key_values=state, max_new_tokens=8).equal(whole)
    # Only the state tells of the label: the rest of the text is the same.
    neutral = part.sequences.clone()
    neutral[0, 1] = prompts.convert_tokens_to_ids("<happy>")
    assert model.generate(neutral, past_key_values=part.past_key_values, max_new_tokens=8)[0, 5:].equal(whole[0, 5:])


@of_the_page
def test_a_label_decides_the_text_after_loading_too(page, tmp_path):
    page["model"].save_pretrained(tmp_path)
    page["prompts"].save_pretrained(tmp_path)
    loaded = pipeline("text-generation", str(tmp_path), do_sample=False, max_new_tokens=20)
    for text in page["texts"]:
        label = text.split()[0]
        assert loaded(label) == page["moods"](label) == [{"generated_text": text}]
        assert loaded(label + " ") == [{"generated_text": label + " " + text.removeprefix(label)}]
