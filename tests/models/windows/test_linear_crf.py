"""The linear CRF against brute force, and against CRFsuite's with the same weights."""

import itertools
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from hfseq import CRFConfig, CRFForTokenClassification, CRFModel, train_tokenizer
from hfseq.models.features import FARTHEST, LONGEST_END, OF_NEIGHBOUR, neighbours
from hfseq.tasks.tagging.rivals import features as crfsuite_features
from tests.closeness import assert_same
from tests.models.test_features import at

TEXTS = [
    ["Ana", "saw", "Oslo", "in", "2021"],
    ["the", "saw", "of", "Tom", "in", "U.S.", "waters"],
    ["Oslo", "and", "Bergen", "are", "in", "Norway"],
]
TAGS = [
    ["B-name", "O", "B-place", "O", "O"],
    ["O", "O", "O", "B-name", "O", "B-place", "I-place"],
    ["B-place", "O", "B-place", "O", "O", "B-place"],
]
NAMES = ["B-name", "B-place", "I-place", "O"]  # CRFsuite knows no label that training does not show


def made(texts=TEXTS, *, buckets=1 << 22, names=NAMES):
    """A tagger with its tokenizer; words that come once are spelled."""
    tokenizer = train_tokenizer([" ".join(words) for words in texts], "word_or_characters", min_frequency=2)
    return CRFForTokenClassification.of(tokenizer, names, feature_buckets=buckets).eval(), tokenizer


def random(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model


def read(tokenizer, words):
    return tokenizer([words], is_split_into_words=True, return_tensors="pt")


def labels_of(model, tokenizer, words, tags):
    """One label for each first token of a word."""
    encoded = read(tokenizer, words)
    found, before = [], None
    for word in encoded.word_ids(0):
        found.append(-100 if word is None or word == before else model.config.label2id[tags[word]])
        before = word
    return torch.tensor([found])


def test_the_loss_is_that_of_all_rows_of_tags_counted_one_by_one():
    names = ["a", "b", "c"]
    model, tokenizer = made(names=names)
    random(model)
    words = TEXTS[0][:4]
    features, crf = model.model.features, model.crf
    read_words = model.model.token_words(read(tokenizer, words).input_ids)
    rows, near = features.rows(read_words), neighbours(read_words)[0, read_words.starts[0]]
    emissions = [
        sum(features.weight[at(rows, place)[word]].sum(0) for place, word in enumerate(around)) for around in near
    ]
    assert len(emissions) == len(words)
    scores = {}
    for row in itertools.product(range(3), repeat=len(words)):
        score = (
            crf.start[row[0]] + crf.end[row[-1]] + sum(each[label] for each, label in zip(emissions, row, strict=True))
        )
        scores[row] = (score + sum(crf.transitions[pair] for pair in itertools.pairwise(row))).item()
    total = math.log(sum(math.exp(score) for score in scores.values()))
    tags = ["b", "a", "c", "c"]
    labels = labels_of(model, tokenizer, words, tags)
    loss = model(**read(tokenizer, words), labels=labels, num_items_in_batch=1).loss
    assert_same(loss.detach(), torch.tensor(total - scores[1, 0, 2, 2]))
    first = read_words.starts[0]
    answered = model(**read(tokenizer, words)).logits[0, first].argmax(-1)
    assert tuple(answered.tolist()) == max(scores, key=lambda row: scores[row])


def test_with_the_weights_of_crfsuite_it_says_what_crfsuite_says(tmp_path):
    pycrfsuite = pytest.importorskip("pycrfsuite", reason="python-crfsuite is not installed")
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params({"c1": 0.1, "c2": 0.1, "max_iterations": 50})
    for words, tags in zip(TEXTS, TAGS, strict=True):
        trainer.append(list(crfsuite_features(words)), tags)
    trainer.train(str(tmp_path / "crf"))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(tmp_path / "crf"))
    # Names that tell no entities, for CRFsuite rules nothing out.
    model, tokenizer = made(names=[name.replace("-", "_") for name in NAMES])
    fill(model, tokenizer, tagger.info())
    asked = [*TEXTS, ["Tom", "saw", "Bergen", "waters"], ["in", "Oslo"], ["2021"]]
    for words in asked:
        found = list(crfsuite_features(words))
        best = tagger.tag(found)
        logits = model(**read(tokenizer, words)).logits[0]
        labels = labels_of(model, tokenizer, words, [name.replace("-", "_") for name in best])
        starts = labels[0] >= 0
        assert torch.equal(logits[starts].argmax(-1), labels[0, starts])
        for tags in (best, [NAMES[place % len(NAMES)] for place in range(len(words))]):
            labels = labels_of(model, tokenizer, words, [name.replace("-", "_") for name in tags])
            loss = model(**read(tokenizer, words), labels=labels, num_items_in_batch=1).loss
            tagger.set(found)
            assert_same(loss.detach(), torch.tensor(-math.log(tagger.probability(tags))), 1e-4)


def fill(model, tokenizer, weights):
    """Put CRFsuite's weights in the rows of the same features."""
    rows_of = {}
    for words in [*TEXTS, ["Tom", "saw", "Bergen", "waters"], ["in", "Oslo"], ["2021"]]:
        found = model.model.token_words(read(tokenizer, words).input_ids)
        rows, near = model.model.features.rows(found), neighbours(found)[0, found.starts[0]]
        for names, around in zip(crfsuite_features(words), near, strict=True):
            own = at(rows, FARTHEST)[around[FARTHEST]][: OF_NEIGHBOUR + LONGEST_END].tolist()
            for place in (0, 1, 3, 4):  # of a text's border CRFsuite has one feature
                own += at(rows, place)[around[place]].tolist()[: OF_NEIGHBOUR if around[place] > 0 else 1]
            assert len(own) == len(names)
            for name, row in zip(names, own, strict=True):
                rows_of.setdefault(name, set()).add(row)  # "ends:in" stands for several ends of a short word
    with torch.no_grad():
        for (name, tag), weight in weights.state_features.items():
            for row in rows_of.get(name, ()):
                model.model.features.weight[row, NAMES.index(tag)] = weight
        for (one, other), weight in weights.transitions.items():
            model.crf.transitions[NAMES.index(one), NAMES.index(other)] = weight


def test_a_new_model_says_that_all_legal_rows_are_as_likely():
    model, tokenizer = made(names=["O", "B-a", "I-a"])
    labels = labels_of(model, tokenizer, ["Oslo", "in"], ["O", "O"])
    loss = model(**read(tokenizer, ["Oslo", "in"]), labels=labels, num_items_in_batch=1).loss
    assert_same(loss.detach(), torch.tensor(math.log(5.0)))  # of nine rows, I-a begins three, and O I-a is one


@pytest.mark.slow
def test_a_plain_pipeline_finds_words_that_training_never_showed(tmp_path):
    model, tokenizer = made(names=[*NAMES, "I-name"])
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for _ in range(30):
        optimizer.zero_grad()
        sum(
            model(**read(tokenizer, words), labels=labels_of(model, tokenizer, words, tags)).loss
            for words, tags in zip(TEXTS, TAGS, strict=True)
        ).backward()
        optimizer.step()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipe = pipeline("token-classification", model=str(tmp_path), aggregation_strategy="simple")
    text = "Ana saw Osloga in 2021"
    found = [(each["entity_group"], text[each["start"] : each["end"]]) for each in pipe(text)]
    assert found == [("name", "Ana"), ("place", "Osloga")]
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert type(loaded) is CRFForTokenClassification and AutoTokenizer.from_pretrained(tmp_path) is not None


def test_vectors_in_the_place_of_tokens_are_refused():
    model, _ = made()
    with pytest.raises(ValueError, match="looks up how tokens are spelled: give input_ids"):
        model(inputs_embeds=torch.zeros(1, 2, 3))


def test_a_model_that_knows_no_tokenizer_says_so():
    model = CRFForTokenClassification(CRFConfig(vocab_size=9, num_labels=2, feature_buckets=10))
    with pytest.raises(ValueError, match="knows no characters yet"):
        model(torch.tensor([[1, 2]]))


@pytest.mark.parametrize("cls", [CRFModel, CRFForTokenClassification])
def test_tables_of_a_checkpoint_that_lead_out_of_others_are_refused(cls, tmp_path):
    model, _ = made()
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.token_words.spelling"][0] = 9_999
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="tables of words, spelling, hold numbers out of range"):
        cls.from_pretrained(tmp_path)
