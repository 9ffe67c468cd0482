"""The pipeline of intents and slots: places in the text, words that are given, unknown intents, wrong requests."""

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, pipeline

from hfseq import IntentSlotsPipeline, LSTMConfig, LSTMForIntentAndSlots, LSTMForSequenceClassification
from tests.closeness import assert_same

VOCABULARY = ["<pad>", "<unk>", "</s>", "play", "song", "##s", "oslo", "ओस्लो", "奥", "斯", "陆", "in", "!", "new"]
SLOTS = ["O", "B-what", "I-what", "B-city", "I-city"]
TAGS = {"song": 1, "##s": 4, "oslo": 3, "ओस्लो": 3, "奥": 3, "斯": 4, "陆": 4, "new": 3}


def words(*, side="right", limit=None, kind="whitespace"):
    """Pieces of words, as WordPiece makes them, and </s> after each text."""
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    bert = normalizers.BertNormalizer(strip_accents=False)  # puts blanks around Chinese characters
    tokenizer.normalizer = bert if kind == "bert" else normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if kind == "bert" else pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    options = {} if limit is None else {"model_max_length": limit}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="</s>",
        padding_side=side,
        **options,
    )


@pytest.fixture
def network():
    """Tags each token by its id alone, whatever stands beside it; its intent is that of the sum of its words."""
    torch.manual_seed(0)
    config = LSTMConfig(
        vocab_size=len(VOCABULARY),
        embedding_size=8,
        hidden_size=len(VOCABULARY),
        pooling="mean",
        id2label={0: "play_music", 1: "get_time", 2: "call"},
        label2id={"play_music": 0, "get_time": 1, "call": 2},
        slot_labels=SLOTS,
    )
    model = LSTMForIntentAndSlots(config).eval()
    model.model.forward = one_hot(model.model.forward)
    with torch.no_grad():
        model.slot_classifier.weight.zero_()
        model.slot_classifier.bias.zero_()
        model.slot_classifier.bias[0] = 1
        for word, tag in TAGS.items():
            model.slot_classifier.weight[tag, VOCABULARY.index(word)] = 3
        model.classifier.weight.zero_()
        model.classifier.bias.zero_()
        model.classifier.weight[0, VOCABULARY.index("play")] = 20
    return model


def one_hot(forward):
    def read(input_ids=None, attention_mask=None, **kwargs):
        found = forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        told = torch.nn.functional.one_hot(input_ids, len(VOCABULARY)).float() * attention_mask[..., None]
        found.last_hidden_state = told
        return found

    return read


@pytest.fixture
def pipe(network):
    return pipeline("intent-slots", model=network, tokenizer=words(), device="cpu")


def found(answer):
    return [(slot["name"], slot["value"], slot["start"], slot["end"]) for slot in answer["slots"]]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("play Songs in Oslo!", [("what", "Songs", 5, 10), ("city", "Oslo", 14, 18)]),
        ("play  songs", [("what", "songs", 6, 11)]),
        ("😀 play songs 😀 in ओस्लो", [("what", "songs", 7, 12), ("city", "ओस्लो", 18, 23)]),
        ("oslo oslo", [("city", "oslo", 0, 4), ("city", "oslo", 5, 9)]),
        ("play", []),
        ("", []),
        ("   ", []),
    ],
)
def test_slots_stand_where_the_text_says_so(pipe, text, slots):
    """The first token of a word decides: that the second one of `songs` is tagged as a city changes nothing."""
    assert isinstance(pipe, IntentSlotsPipeline)
    if "ओ" in text:  # whose vowel signs are no letters to this tokenizer
        pipe.tokenizer = words(kind="bert")
    answer = pipe(text)
    assert found(answer) == slots
    assert all(text[slot["start"] : slot["end"]] == slot["value"] for slot in answer["slots"])


def test_words_without_blanks_are_found(network):
    pipe = pipeline("intent-slots", model=network, tokenizer=words(kind="bert"), device="cpu")
    assert found(pipe("play奥斯陆!")) == [("city", "奥斯陆", 4, 7)]


def test_the_score_of_a_slot_is_the_mean_of_its_words(pipe, network):
    answer = pipe("play new ##s")
    shares = torch.tensor([1.0, 0, 0, 3.0, 0]).softmax(-1)
    assert_same(answer["slots"][0]["score"], float(shares.max()))
    pipe = pipeline("intent-slots", model=network, tokenizer=words(kind="bert"), device="cpu")
    found = pipe("奥斯")["slots"]
    assert len(found) == 1
    assert_same(found[0]["score"], float(shares.max()))


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_gives_what_each_text_gives_alone(network, side):
    pipe = pipeline("intent-slots", model=network, tokenizer=words(side=side), device="cpu")
    texts = ["play songs in Oslo!", "", "oslo", "play play play play play songs", "😀"]
    alone = [pipe(text) for text in texts]
    for size in (1, 2, 5):
        for one, other in zip(pipe(texts, batch_size=size), alone, strict=True):
            assert one["intent"] == other["intent"] and found(one) == found(other)
            assert_same(one["score"], other["score"])
    assert pipe([]) == []
    assert [found(answer) for answer in pipe(text for text in texts)] == [found(answer) for answer in alone]


def test_words_that_are_given_are_not_parted_again(pipe):
    given = ["play", "Songs", "in", "Oslo"]
    answer = pipe(given, is_split_into_words=True)
    assert found(answer) == [("what", "Songs", 5, 10), ("city", "Oslo", 14, 18)]
    several = pipe([given, ["oslo", "\x07"], []], is_split_into_words=True, batch_size=3)
    assert [found(each) for each in several] == [found(answer), [("city", "oslo", 0, 4)], []]
    with pytest.raises(TypeError, match="is_split_into_words=True: intent-slots takes a list of words"):
        pipe("play songs", is_split_into_words=True)
    with pytest.raises(TypeError, match="Words are given with is_split_into_words=True"):
        pipe([given])


def test_an_intent_below_the_threshold_is_unknown_and_has_no_slots(pipe):
    known, unknown = "play songs", "songs in oslo"
    assert pipe(unknown)["intent"] is not None  # without a threshold every text has an intent
    pipe.model.config.unknown_threshold = 0.9
    answer = pipe(unknown)
    assert answer["intent"] is None and answer["slots"] == []
    assert_same(answer["score"], 1 / 3)
    assert pipe(known)["intent"] == "play_music" and found(pipe(known))
    asked = pipe(unknown, unknown_threshold=0)
    assert asked["intent"] is not None and found(asked)
    assert pipe(known, unknown_threshold=1.0)["intent"] is None


def test_the_likeliest_intents_are_told_on_request(pipe):
    answer = pipe("play", top_k=2)
    assert [each["intent"] for each in answer["intents"]][0] == answer["intent"] == "play_music"
    assert len(answer["intents"]) == 2 and answer["intents"][0]["score"] == answer["score"]
    assert len(pipe("play", top_k=9)["intents"]) == 3
    assert "intents" not in pipe("play")


def test_words_beyond_the_learned_positions_have_no_slot(network):
    pipe = pipeline("intent-slots", model=network, tokenizer=words(limit=3), device="cpu")
    assert found(pipe("oslo in oslo oslo")) == [("city", "oslo", 0, 4)]
    assert found(pipe(["in", "oslo", "oslo"], is_split_into_words=True)) == [("city", "oslo", 3, 7)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": 1}, "none named colour"),
        ({"top_k": 0}, "top_k must be a number from 1 up"),
        ({"unknown_threshold": 2}, "unknown_threshold must be a probability"),
    ],
)
def test_wrong_parameters_are_refused(pipe, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        pipe("play", **options)


def test_a_model_or_a_tokenizer_that_cannot_answer_is_refused(network):
    single = LSTMForSequenceClassification(LSTMConfig(vocab_size=20, hidden_size=4, embedding_size=4))
    with pytest.raises(ValueError, match="needs a model with both heads, such as LSTMForIntentAndSlots"):
        IntentSlotsPipeline(model=single, tokenizer=words(), task="intent-slots")
    with pytest.raises(ValueError, match="needs a tokenizer that tells the place of its tokens"):
        IntentSlotsPipeline(model=network, tokenizer=None, task="intent-slots")
