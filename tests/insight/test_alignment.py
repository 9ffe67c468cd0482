"""Alignments: the weights are those of cross-attention, word by word; the picture shows both texts."""

import pytest
import torch
from transformers import MarianConfig, MarianMTModel

import hfseq
from hfseq.insight import plots
from tests.closeness import assert_same

SOURCE, TARGET = "I am going home.", "मैं घर जा रहा हूँ।"


@pytest.fixture(scope="module")
def tokenizer():
    # So few merges that words have several tokens.
    return hfseq.train_tokenizer([SOURCE, TARGET], kind="bpe", vocab_size=280)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    config = hfseq.TransformerSeq2SeqConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        initializer_range=0.8,  # so that attention is far from uniform
        **{name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")},
    )
    return hfseq.TransformerForConditionalGeneration(config).train()


def test_the_words_of_both_texts_are_those_of_the_text(model, tokenizer):
    found = hfseq.align(model, tokenizer, SOURCE, TARGET)
    specials = set(tokenizer.all_special_tokens)
    assert [word for word in found.source if word not in specials] == ["I", "am", "going", "home", "."]
    assert "".join(word for word in found.target if word not in specials) == TARGET.replace(" ", "")
    assert found.weights.shape == (len(found.target), len(found.source))
    assert_same(found.weights.sum(1), torch.ones(len(found.target)))
    assert model.training  # as it was


def test_a_row_is_what_the_decoder_looks_at_before_it_writes_the_word(model, tokenizer):
    found = hfseq.align(model, tokenizer, SOURCE, TARGET, layer=0)
    read = tokenizer(SOURCE, return_tensors="pt")
    labels = tokenizer(text_target=TARGET, return_tensors="pt")
    rows, start = [], torch.tensor([[model.config.decoder_start_token_id]])
    model.eval()
    with torch.no_grad():
        for step in range(labels["input_ids"].shape[1]):
            written = torch.cat([start, labels["input_ids"][:, :step]], dim=1)
            outputs = model(read["input_ids"], decoder_input_ids=written, output_attentions=True)
            rows.append(outputs.cross_attentions[0][0, :, -1].mean(0))
    model.train()
    tokens = torch.stack(rows)
    # A word has the mean of its tokens' rows and the sum of its tokens' columns.
    source_of, target_of = read.word_ids(), labels.word_ids()
    word = "घर"
    first = TARGET.index(word)
    of_word = target_of[labels.char_to_token(first)]
    mean = tokens[[place for place, each in enumerate(target_of) if each == of_word]].mean(0)
    home = source_of[read.char_to_token(SOURCE.index("home"))]
    expected = mean[[place for place, each in enumerate(source_of) if each == home]].sum()
    assert len([each for each in target_of if each == of_word]) > 1
    assert_same(found.weights[found.target.index(word), found.source.index("home")], expected)


def test_without_a_target_the_model_writes_one_itself(model, tokenizer):
    model.eval()
    written = model.generate(**tokenizer(SOURCE, return_tensors="pt"), max_new_tokens=5)
    text = tokenizer.batch_decode(written, skip_special_tokens=True)[0]
    own = hfseq.align(model, tokenizer, SOURCE, max_new_tokens=5)
    given = hfseq.align(model, tokenizer, SOURCE, text)
    assert own.target == given.target
    assert_same(own.weights, given.weights)
    with pytest.raises(ValueError, match="max_new_tokens would change nothing"):
        hfseq.align(model, tokenizer, SOURCE, TARGET, max_new_tokens=5)


def test_the_word_looked_at_most_is_found_for_each_time_a_word_stands_there():
    weights = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    found = hfseq.Alignment(["I", "go"], ["a", "b", "a"], weights)
    assert found.looked_at == {"a": ["go", "go"], "b": ["I"]}


def test_a_model_that_returns_no_weights_is_refused_with_the_cure(tokenizer):
    sizes = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_start_token_id": 0}
    config = MarianConfig(vocab_size=len(tokenizer), pad_token_id=0, **sizes, **heads)
    with pytest.raises(ValueError, match="attn_implementation='eager'"):
        hfseq.align(MarianMTModel._from_config(config, attn_implementation="sdpa"), tokenizer, SOURCE, TARGET)
    eager = MarianMTModel._from_config(config, attn_implementation="eager")
    assert hfseq.align(eager, tokenizer, SOURCE, TARGET).weights.shape[0] > 5


@pytest.mark.parametrize("layer", [2, -3])
def test_a_layer_that_is_not_there_is_named(model, tokenizer, layer):
    with pytest.raises(ValueError, match=f"layer={layer}: this decoder returned 2, which are 0 to 1"):
        hfseq.align(model, tokenizer, SOURCE, TARGET, layer=layer)


def test_an_svg_keeps_words_of_any_script_as_text(tmp_path, recwarn):
    found = hfseq.Alignment(["I", "go"], ["मैं", "जाता", "हूँ"], torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
    figure = plots.alignment(found, path=tmp_path / "alignment.svg", title="verb last")
    drawn = (tmp_path / "alignment.svg").read_text(encoding="utf-8")
    assert all(f">{word}<" in drawn for word in (*found.source, *found.target, "written", "read"))
    assert figure.axes[0].images[0].get_array().tolist() == pytest.approx(found.weights.numpy())
    assert not [warning for warning in recwarn if "font" in str(warning.message)]
    with pytest.raises(ValueError, match="must end in one of"):
        plots.alignment(found, path=tmp_path / "alignment.txt")
