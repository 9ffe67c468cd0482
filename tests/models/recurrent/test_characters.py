"""Words read by their characters: against the convolution and the LSTM of torch, word by word, and in a model."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

import hfseq
from hfseq.models.recurrent.characters import CharacterCNN, CharacterLSTM, case_features
from hfseq.models.token_words import DIGIT, LETTER, LOWER, OTHER, UPPER, word_tables
from tests.closeness import assert_same
from tests.rounds import for_each

LENGTHS = [3, 1, 0, 7, 2]
WORDS = ["the", "cat", "Oslo", "I", "sat", "cats"]
PIECES = [f"##{letter}" for letter in "acehilostIO"]
VOCABULARY = ["<pad>", "<unk>", "<s>", "</s>", *WORDS, *PIECES, *"acehilostO"]


def tokenizer():
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **marks)


def model_of(kind="cnn", model_class=hfseq.LSTMForTokenClassification, **options):
    torch.manual_seed(0)
    sizes = {"vocab_size": len(VOCABULARY), "embedding_size": 6, "hidden_size": 5, "character_hidden_size": 8}
    tables = word_tables(tokenizer())
    config = model_class.config_class(characters=kind, **{**sizes, **tables.sizes(), "num_labels": 3, **options})
    model = model_class(config).eval()
    model.fill_words(tables)
    return model


def ragged(width=4):
    """Characters of words, and the vectors of six different ones."""
    torch.manual_seed(0)
    vectors = torch.randn(6, width, dtype=torch.float64)
    vectors[0] = 0
    real = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return torch.randint(1, 6, real.shape) * real, vectors.requires_grad_()


# Against torch, word by word


@for_each("kernel_size", [1, 3, 5])
def test_the_convolution_is_that_of_torch(kernel_size):
    characters, vectors = ragged()
    reader = CharacterCNN(input_size=4, hidden_size=6, kernel_size=kernel_size).double()
    found = reader(characters, vectors)
    expected = torch.zeros(len(LENGTHS), 6, dtype=torch.float64)
    for row, length in enumerate(LENGTHS):
        if length:
            expected[row] = reader.convolution(vectors[characters[row, :length]].t()[None])[0].amax(-1)
    assert_same(found, expected)
    weights = torch.randn_like(found)
    wanted = [vectors, *reader.parameters()]
    ours, theirs = (torch.autograd.grad((each * weights).sum(), wanted) for each in (found, expected))
    # What stands around a word has no gradient in a model: its row is that of padding.
    assert_same([ours[0][1:], *ours[1:]], [theirs[0][1:], *theirs[1:]])


def test_the_lstm_is_that_of_torch():
    characters, vectors = ragged()
    reader = CharacterLSTM(input_size=4, hidden_size=6).double()
    for parameter in reader.parameters():
        nn.init.normal_(parameter, std=0.5)
    oracle = nn.LSTM(4, 3, bidirectional=True, batch_first=True).double()
    with torch.no_grad():
        for loop, end in ((reader.forward_loop, ""), (reader.backward_loop, "_reverse")):
            getattr(oracle, f"weight_ih_l0{end}").copy_(loop.weight_ih)
            getattr(oracle, f"weight_hh_l0{end}").copy_(loop.weight_hh)
            getattr(oracle, f"bias_ih_l0{end}").copy_(loop.bias)
            getattr(oracle, f"bias_hh_l0{end}").zero_()
    found = reader(characters, vectors)
    for row, length in enumerate(LENGTHS):
        expected = torch.zeros(6, dtype=torch.float64)
        if length:
            expected = oracle(vectors[characters[row : row + 1, :length]])[1][0].flatten()
        assert_same(found[row], expected, what=length)


def test_features_tell_case_and_kind():
    words = {
        "Oslo": [1, 0, 0, 0, 0, 0, 0, 0],
        "USA": [1, 1, 1, 0, 0, 0, 0, 0],
        "eBay": [0, 1, 0, 0, 0, 0, 0, 0],
        "cat": [0, 0, 0, 1, 0, 0, 0, 0],
        "1,000": [0, 0, 0, 0, 1, 1, 1, 0],
        "B2": [1, 0, 1, 0, 1, 0, 0, 0],
        "...": [0, 0, 0, 0, 0, 0, 1, 1],
        "北": [0, 0, 0, 0, 0, 0, 0, 0],
        "": [0, 0, 0, 0, 0, 0, 0, 0],
    }
    kinds = {"北": LETTER, ",": OTHER, ".": OTHER}
    for word, expected in words.items():
        told = [
            kinds.get(letter, UPPER if letter.isupper() else LOWER if letter.islower() else DIGIT) for letter in word
        ]
        classes = torch.tensor([told + [0] * (6 - len(told))], dtype=torch.uint8)
        assert case_features(classes, torch.zeros(1)).tolist() == [expected], word


# In a model


@for_each("kind", ["cnn", "lstm"])
def test_a_word_of_one_token_reads_as_the_same_of_pieces(kind):
    model, words = model_of(kind, bidirectional=True, case_features=True), tokenizer()
    whole = words("the cat sat", return_tensors="pt").input_ids
    run = torch.tensor([words.convert_tokens_to_ids(["the", "c", "##a", "##t", "sat"])])
    assert not torch.allclose(
        model(run).logits[0, [0, 1, 4]], model(whole).logits[0]
    )  # the embedding tells them apart
    model.base_model.embed_tokens.weight.data[:] = 0.5
    logits = model(run).logits[0]
    assert_same(logits[[0, 1, 4]], model(whole).logits[0])
    assert_same(logits[2:4], logits[[1, 1]])


@for_each("kind", ["cnn", "lstm"])
def test_layers_read_words_not_tokens(kind):
    """Against a plain model that is given the words' vectors."""
    model, words = model_of(kind, num_hidden_layers=2, bidirectional=True), tokenizer()
    given = words(["the cats sat Isa", "hhh the </s>"], padding=True, return_tensors="pt")
    found = model.base_model.token_words(**{name: given[name] for name in ("input_ids", "attention_mask")})
    body = model.base_model
    vectors = torch.cat([body.embed_tokens(found.rows), body.character_reader(found)], -1)
    plain = hfseq.LSTMModel(
        hfseq.LSTMConfig(vocab_size=5, embedding_size=14, hidden_size=5, num_hidden_layers=2, bidirectional=True)
    ).eval()
    plain.layers.load_state_dict(body.layers.state_dict())
    outputs = body(**{name: given[name] for name in ("input_ids", "attention_mask")}).last_hidden_state
    for row in range(2):
        places = found.steps[row].nonzero().flatten()
        alone = plain(inputs_embeds=vectors[found.word_of[row, places]][None]).last_hidden_state[0]
        assert_same(outputs[row, places], alone, what=row)
        real = given["attention_mask"][row].bool()
        assert torch.equal(outputs[row][real], outputs[row][found.step_of[row][real]])


def test_the_characters_decide_where_the_embedding_is_that_of_unknown_words():
    model, words = model_of(), tokenizer()
    one, other = (words(text, return_tensors="pt").input_ids for text in ("hat", "tah"))
    assert not torch.allclose(model(one).logits[0, 0], model(other).logits[0, 0])


def test_dropped_embeddings_leave_the_characters():
    model = model_of(embedding_dropout=0.95, hidden_dropout=0.0, classifier_dropout=0.0).train()
    ids = tokenizer()("hat hot", return_tensors="pt").input_ids
    logits = model(ids).logits[0]
    assert not torch.allclose(logits[0], logits[-1])


def test_a_classifier_reads_characters_too():
    model = model_of("cnn", hfseq.GRUForSequenceClassification, pooling="mean_max", bidirectional=True)
    given = tokenizer()(["the cats sat", "", "hhh"], padding=True, return_tensors="pt")
    together = model(**{name: given[name] for name in ("input_ids", "attention_mask")}).logits
    for row in range(3):
        real = given["attention_mask"][row].bool()
        assert_same(together[row], model(given["input_ids"][row : row + 1, real]).logits[0], what=row)


# What cannot be


def test_what_a_config_lacks_is_named():
    with pytest.raises(
        StrictDataclassClassValidationError,
        match=r"characters='cnn' needs a tokenizer's spellings.*word_tables\(tokenizer\)",
    ):
        hfseq.LSTMConfig(characters="cnn")
    sizes = word_tables(tokenizer()).sizes()
    with pytest.raises(
        StrictDataclassClassValidationError, match="character_hidden_size=7 is shared by two directions"
    ):
        hfseq.LSTMConfig(characters="lstm", character_hidden_size=7, **sizes)
    with pytest.raises(StrictDataclassClassValidationError, match="character_kernel_size=4 has no middle"):
        hfseq.LSTMConfig(characters="cnn", character_kernel_size=4, **sizes)
    with pytest.raises(StrictDataclassClassValidationError, match="case_features=True is about characters"):
        hfseq.LSTMConfig(case_features=True)


def test_vectors_states_and_other_vocabularies_are_refused():
    model = model_of()
    with pytest.raises(ValueError, match="characters='cnn': this model looks up how tokens are spelled"):
        model(inputs_embeds=torch.zeros(1, 2, 6))
    with pytest.raises(ValueError, match="characters='cnn': a word may go on"):
        model.base_model(torch.tensor([[4, 5]]), use_cache=True)
    with pytest.raises(ValueError, match=f"its {len(VOCABULARY)} tokens is spelled, and cannot have 99"):
        model.resize_token_embeddings(99)
    assert model.resize_token_embeddings(len(VOCABULARY)) is model.get_input_embeddings()


def test_a_language_model_of_words_is_refused():
    with pytest.raises(ValueError, match="characters='cnn' reads several tokens as one word"):
        model_of("cnn", hfseq.LSTMForCausalLM)


def test_a_checkpoint_with_tables_out_of_range_is_refused(tmp_path):
    model = model_of()
    model.base_model.token_words.rows[4] = 1000
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tables of words, rows, hold numbers out of range"):
        hfseq.LSTMForTokenClassification.from_pretrained(tmp_path)


@for_each("kind", ["ForTokenClassification", "ForSequenceClassification", "ForIntentAndSlots"])
def test_words_are_found_once_for_backbone_and_head(kind):
    slots = ["O", "B-a", "I-a"] if kind == "ForIntentAndSlots" else None
    parts = {"crf": kind != "ForSequenceClassification", "feature_buckets": 8 if slots is None else 0}
    model, found = model_of(model_class=getattr(hfseq, f"LSTM{kind}"), slot_labels=slots, **parts), []
    model.model.token_words.register_forward_hook(lambda *call: found.append(call))
    ids = torch.tensor([[4, 5, 10, 3], [6, 3, 0, 0]])
    model(ids, (ids > 0).long())
    assert len(found) == 1


def test_one_call_fills_every_part_that_knows_words():
    tables = word_tables(tokenizer())
    model = model_of(feature_buckets=8)
    assert torch.equal(model.features.lower, tables.lower)
    assert torch.equal(model.model.token_words.classes, tables.classes)
    with pytest.raises(ValueError, match="LSTMForTokenClassification does not read words by their characters"):
        model_of("none").fill_words(tables)
