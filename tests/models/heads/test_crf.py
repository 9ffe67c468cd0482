"""The linear-chain CRF against brute force: every row of labels is scored, one by one."""

import math
from itertools import product

import pytest
import torch
from torch import nn
from transformers import AutoModelForTokenClassification, pipeline

from hfseq import (
    LSTMConfig,
    LSTMForTokenClassification,
    TransformerConfig,
    TransformerForTokenClassification,
    WindowConfig,
    WindowForTokenClassification,
)
from hfseq.models.heads import fused_crf
from hfseq.models.heads.crf import LinearChainCRF, put_first
from hfseq.models.heads.crf_passes import LEAST
from hfseq.models.heads.tagging import answer_for_words
from hfseq.models.tag_names import legal_paths
from hfseq.models.token_words import Read, Words
from hfseq.tokenization import vocabulary_tokenizer
from tests.closeness import assert_same

IOB2 = ["O", "B-a", "I-a", "B-b", "I-b"]
IOBES = ["O", "B-a", "I-a", "E-a", "S-a"]
SCHEMES = {"iob2": IOB2, "iobes": IOBES, "tags": ["NOUN", "VERB", "X"]}
# A full row, padding on the right, on the left, holes, one word, and a row without any.
CHAIN = torch.tensor(
    [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
).bool()


@pytest.fixture(params=["kernel", "torch"])
def route(request, monkeypatch):
    """Both routes: the kernel, and torch where there is none."""
    if request.param == "torch":
        monkeypatch.setattr(fused_crf, "_kernels", lambda: None)
    else:
        pytest.importorskip("numba")
    return request.param


def drawn(names, size=1.0, dtype=torch.float64):
    """A CRF and emissions with random numbers."""
    generator = torch.Generator().manual_seed(len(names))
    crf = LinearChainCRF(names).to(dtype)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.normal_(0, size, generator=generator)
    emissions = size * torch.randn(*CHAIN.shape, len(names), generator=generator, dtype=dtype)
    return crf, emissions.requires_grad_()


def rows_of(crf, emissions):
    """Each legal row of labels of one text (T, L), and its score."""
    begins, follows, ends = legal_paths(crf.label_names)
    found = {}
    with torch.no_grad():
        for row in product(range(len(crf.label_names)), repeat=len(emissions)):
            pairs = list(zip(row, row[1:], strict=False))
            if row and not (begins[row[0]] and ends[row[-1]] and all(follows[i][j] for i, j in pairs)):
                continue
            score = sum(emissions[t, label].item() for t, label in enumerate(row))
            score += sum(crf.transitions[i, j].item() for i, j in pairs)
            found[row] = score + (crf.start[row[0]].item() + crf.end[row[-1]].item() if row else 0.0)
    return found


def fits(path, told):
    return all(label in (-100, own) for own, label in zip(path, told, strict=True))


def log_sum(scores):
    return torch.tensor(list(scores), dtype=torch.float64).logsumexp(0).item()


def labels_of(crf, free):
    """Labels of a legal row for each text, unknown where `free`."""
    labels = torch.full(CHAIN.shape, -100)
    for row, chain in enumerate(CHAIN):
        legal = list(rows_of(crf, torch.zeros(int(chain.sum()), len(crf.label_names))))
        labels[row, chain] = torch.tensor(legal[(7 * row + 3) % len(legal)], dtype=torch.long)
    return labels.masked_fill(free, -100)


@torch.no_grad()
def decided(crf, emissions, chain):
    """The likeliest row of each text, 0 where there is no word."""
    return crf.answers(emissions, chain, "viterbi").argmax(-1) * chain


FREE = {
    "all known": torch.zeros(CHAIN.shape, dtype=torch.bool),
    "some unknown": torch.tensor([[0, 1, 0, 0, 1], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], *[[0, 0, 0, 1, 0]] * 3]).bool(),
}


@pytest.mark.parametrize("free", FREE)
@pytest.mark.parametrize("names", SCHEMES.values(), ids=SCHEMES)
def test_the_loss_is_that_of_brute_force(names, free, route):
    crf, emissions = drawn(names)
    labels, expected = labels_of(crf, FREE[free]), 0.0
    for row, chain in enumerate(CHAIN):
        rows, told = rows_of(crf, emissions[row, chain]), labels[row, chain].tolist()
        fitting = [
            score for path, score in rows.items() if all(t in (-100, j) for t, j in zip(told, path, strict=True))
        ]
        expected += log_sum(rows.values()) - log_sum(fitting)
    assert_same(crf.loss(emissions, labels, CHAIN, 1), expected, 1e-12)
    assert_same(crf.loss(emissions, labels, CHAIN), expected / int((labels != -100).sum()), 1e-12)


@pytest.mark.parametrize("names", SCHEMES.values(), ids=SCHEMES)
def test_the_answers_are_those_of_brute_force(names, route):
    crf, emissions = drawn(names)
    with torch.no_grad():
        told, path = (crf.answers(emissions, CHAIN, decoding) for decoding in ("marginal", "viterbi"))
    for row, chain in enumerate(CHAIN):
        rows = rows_of(crf, emissions[row, chain])
        total = log_sum(rows.values())
        for t in range(int(chain.sum())):
            shares = [
                sum((math.exp(score - total) for each, score in rows.items() if each[t] == label), 0.0)
                for label in range(len(names))
            ]
            assert_same(told[row, chain][t].softmax(-1), shares, 1e-12)
            assert_same(path[row, chain][t].softmax(-1).sort().values, sorted(shares), 1e-12)
        likeliest = list(max(rows, key=rows.__getitem__))
        assert path[row, chain].argmax(-1).tolist() == likeliest
    assert torch.equal(told[~CHAIN], emissions[~CHAIN]) and torch.equal(path[~CHAIN], emissions[~CHAIN])


@pytest.mark.parametrize("free", FREE)
def test_the_gradients_are_right(free, route):
    crf, emissions = drawn(IOB2)
    labels = labels_of(crf, FREE[free])

    def loss(emissions, transitions, start, end):
        given = {"transitions": transitions, "start": start, "end": end}
        with nn.utils.stateless._reparametrize_module(crf, given):
            return crf.loss(emissions, labels, CHAIN, 3)

    assert torch.autograd.gradcheck(loss, (emissions, *crf.parameters()))


def test_answers_have_gradients_where_they_are_asked_for():
    crf, emissions = drawn(IOB2)
    crf.answers(emissions, CHAIN, "marginal")[0, 2, 1].backward()
    assert emissions.grad[0].abs().sum(-1).all()  # each word of the text has a say
    assert not emissions.grad[1:].any()


@pytest.mark.parametrize("names", [IOB2, IOBES], ids=["iob2", "iobes"])
def test_what_is_ruled_out_has_no_probability_however_well_it_scores(names, route):
    crf, emissions = drawn(names)
    begins, follows, _ = legal_paths(names)
    with torch.no_grad():
        for parameter, legal in ((crf.transitions, follows), (crf.start, begins)):
            parameter[~torch.tensor(legal)] = 1e6
        emissions[..., 2] += 50  # I-a
        for decoding in ("marginal", "viterbi"):
            told = crf.answers(emissions.float(), CHAIN, decoding)
            assert (told[CHAIN] >= LEAST).all()
            first = told[0, 0].softmax(-1)
            assert first[~torch.tensor(begins)].tolist() == [0.0] * begins.count(False)
        paths = crf.answers(emissions, CHAIN, "viterbi").argmax(-1)
        for row, chain in enumerate(CHAIN):
            assert tuple(paths[row, chain].tolist()) in rows_of(crf, emissions[row, chain])


@pytest.mark.parametrize(
    ("names", "tags", "told"),
    [
        (IOB2, ["O", "I-a", "O", "O", "O"], r"Text 1 of the batch .*: 'O', 'I-a' \(words 1 to 2\)"),
        (IOB2, ["B-a", "I-b", "O", "O", "O"], r"'B-a', 'I-b' \(words 1 to 2\)"),
        (IOB2, ["I-a", "O", "O", "O", "O"], r"'I-a' begins the text"),
        (IOB2, ["O", None, "O", "I-b", "O"], r"'\(unknown\)', 'O', 'I-b' \(words 2 to 4\)"),
        (IOBES, ["O", "O", "O", "O", "B-a"], r"'O', 'O', 'B-a' ends the text"),
        (IOBES, ["B-a", "O", "O", "O", "O"], r"'B-a', 'O' \(words 1 to 2\)"),
    ],
)
def test_tags_that_are_ruled_out_are_named_with_the_cure(names, tags, told, route):
    crf, emissions = drawn(names)
    labels = torch.tensor([[-100 if tag is None else names.index(tag) for tag in tags]])
    with pytest.raises(ValueError, match=rf"{told}.*in_iob2 .*crf=False"):
        crf.loss(emissions[:1], labels, CHAIN[:1])


def test_labels_and_shapes_that_do_not_fit_are_named(route):
    crf, emissions = drawn(IOB2)
    with pytest.raises(ValueError, match=r"label 5 is outside 0 to 4 \(config.num_labels=5\)"):
        crf.loss(emissions, torch.full(CHAIN.shape, 5), CHAIN)
    with pytest.raises(ValueError, match=r"one label a token, got labels of shape \(6, 4\)"):
        crf.loss(emissions, torch.zeros(6, 4, dtype=torch.long), CHAIN)
    with pytest.raises(ValueError, match=r"has 5 labels; emissions of shape \(6, 5, 3\)"):
        crf.loss(emissions[..., :3], torch.zeros(CHAIN.shape, dtype=torch.long), CHAIN)


def test_padding_and_neighbours_change_nothing(route):
    crf, emissions = drawn(IOB2, dtype=torch.float32)
    labels, rest = labels_of(crf, FREE["some unknown"]), torch.full((6, 3, 5), 1e3)
    with torch.no_grad():
        together = crf.answers(emissions, CHAIN, "viterbi")
        wide = torch.cat((rest, emissions, rest), 1)
        padded = [nn.functional.pad(each, (3, 3), value=value) for each, value in ((labels, 4), (CHAIN, False))]
        assert_same(crf.answers(wide, padded[1], "viterbi")[:, 3:-3][CHAIN], together[CHAIN])
        assert_same(crf.loss(wide, *padded, 1), crf.loss(emissions, labels, CHAIN, 1))
        for row, chain in enumerate(CHAIN):
            alone = emissions[row : row + 1, chain], chain[chain][None]
            if chain.any():
                assert_same(crf.answers(*alone, "viterbi")[0], together[row, chain])


def test_half_precision_is_computed_in_single_precision(route):
    crf, emissions = drawn(IOB2, dtype=torch.float32)
    labels = labels_of(crf, FREE["all known"])
    for dtype in (torch.bfloat16, torch.float16):
        rounded, half = emissions.detach().to(dtype), LinearChainCRF(IOB2).to(dtype)
        half.load_state_dict(crf.state_dict())
        single = LinearChainCRF(IOB2)
        single.load_state_dict(half.state_dict())
        assert_same(half.loss(rounded, labels, CHAIN), single.loss(rounded.float(), labels, CHAIN))
        with torch.no_grad():
            told = half.answers(rounded, CHAIN, "marginal")
        assert told.dtype == dtype
        assert_same(told, single.answers(rounded.float(), CHAIN, "marginal"), 1e-2)
        assert torch.equal(decided(half, rounded, CHAIN), decided(single, rounded.float(), CHAIN))


def test_a_long_text_loses_no_digits(route):
    crf, _ = drawn(IOB2, dtype=torch.float32)
    emissions = torch.randn(1, 3000, 5, generator=torch.Generator().manual_seed(0))
    chain, labels = torch.ones(1, 3000, dtype=torch.bool), torch.zeros(1, 3000, dtype=torch.long)
    exact = LinearChainCRF(IOB2).double()
    exact.load_state_dict(crf.state_dict())
    assert_same(crf.loss(emissions, labels, chain), exact.loss(emissions.double(), labels, chain))
    with torch.no_grad():
        given = (emissions, chain, "marginal"), (emissions.double(), chain, "marginal")
        assert_same(crf.answers(*given[0]).softmax(-1), exact.answers(*given[1]).softmax(-1))
    assert torch.equal(decided(crf, emissions, chain), decided(exact, emissions.double(), chain))


def test_equal_labels_leave_the_path_first():
    rows = torch.zeros(2, 3, 4)
    labels = torch.tensor([[3, 1, 0], [2, 2, 1]])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert torch.equal(put_first(rows.to(dtype) - 7, labels).argmax(-1), labels)


# In models

MODELS = {
    "lstm": (LSTMForTokenClassification, LSTMConfig, {"bidirectional": True}),
    "transformer": (TransformerForTokenClassification, TransformerConfig, {"num_attention_heads": 2}),
    "window": (WindowForTokenClassification, WindowConfig, {}),
}
WORDS = ["[PAD]", "[UNK]", "</s>", "call", "Ana", "in", "New", "York"]


def tagger(family="lstm", names=IOB2, **options):
    """A small tagger with a CRF that has an opinion."""
    model_class, config_class, own = MODELS[family]
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    sizes = {"vocab_size": len(WORDS), "hidden_size": 8, "eos_token_id": 2, "classifier_dropout": 0.0}
    model = model_class(config_class(**{**sizes, **own, "crf": True, "hidden_dropout": 0.0, **labels, **options}))
    for parameter in model.crf.parameters():
        nn.init.normal_(parameter)
    nn.init.normal_(model.classifier.weight)
    return model.eval()


IDS = torch.tensor([[3, 4, 5, 6, 7, 2], [3, 4, 2, 0, 0, 0]])


@pytest.mark.parametrize("family", MODELS)
def test_training_returns_emissions_and_evaluation_answers_with_the_same_loss(family):
    model = tagger(family, attention_dropout=0.0) if family == "transformer" else tagger(family)
    labels, mask = torch.tensor([[0, 1, 0, 3, 4, -100], [0, 1, -100, -100, -100, -100]]), (IDS != 0).long()
    answered, trained = model(IDS, mask, labels=labels), model.train()(IDS, mask, labels=labels)
    assert_same(answered.loss, trained.loss)
    chain = (IDS != 0) & (IDS != 2)
    assert_same(trained.loss, model.crf.loss(trained.logits, labels, chain))
    assert_same(answered.logits, model.crf.answers(trained.logits, chain, "viterbi"))
    assert_same(answered.logits.softmax(-1).sum(-1), 1.0)


def test_the_decoding_of_the_config_is_what_the_model_answers():
    model = tagger()
    torch.manual_seed(2)  # of a model whose likeliest labels are not all on the likeliest path
    for parameter in model.crf.parameters():
        nn.init.normal_(parameter)
    with torch.no_grad():
        viterbi = model(IDS).logits
        model.config.decoding = "marginal"
        marginal = model(IDS).logits
    assert not torch.equal(viterbi, marginal)
    assert_same(viterbi.sort(-1).values, marginal.sort(-1).values)


def test_special_tokens_take_no_part():
    model = tagger()
    labels = torch.tensor([[0, 1, 0, 3, 4, 0]])
    at_the_end = labels.clone()
    at_the_end[0, -1] = 2  # I-a: were </s> a word, this would be ruled out
    assert_same(model(IDS[:1], labels=at_the_end).loss, model(IDS[:1], labels=labels).loss)


@pytest.mark.parametrize("decoding", ["marginal", "viterbi"])
def test_the_stock_pipeline_gives_the_decision_from_a_folder(decoding, tmp_path):
    model, tokenizer = tagger(decoding=decoding), vocabulary_tokenizer(WORDS[2:])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    text = "call Ana in New York"
    given = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        logits = model(**given).logits
        assert torch.equal(loaded(**given).logits, logits)
    found = pipeline("token-classification", model=str(tmp_path), ignore_labels=[])(text)
    expected = logits[0].softmax(-1).max(-1)
    assert [each["entity"] for each in found] == [IOB2[label] for label in expected.indices]
    assert_same([float(each["score"]) for each in found], expected.values)
    if decoding == "viterbi":
        assert tuple(expected.indices.tolist()) in rows_of(model.crf, torch.zeros(5, 5))


def test_later_tokens_answer_as_the_first_of_their_word():
    starts = torch.tensor([[0, 1, 0, 1, 0, 0, 1]]).bool()
    later = torch.tensor([[0, 0, 1, 0, 1, 1, 0]]).bool()
    shares = torch.tensor([[0.4, 0.3, 0.1, 0.1, 0.1], [0.1, 0.5, 0.1, 0.2, 0.1]])
    logits = torch.zeros(1, 7, 5)
    logits[0, [1, 3]] = shares.log()
    found = answer_for_words(logits, starts, later, {1: 2, 3: 4}).softmax(-1)[0]
    # O is the likeliest, and B-a and I-a together are as likely: the decision stays.
    assert_same(found[2], [0.4, 0.0, 0.4, 0.0, 0.2])
    assert found[2].argmax() == 0
    assert_same(found[4], [0.1, 0.0, 0.6, 0.0, 0.3])
    assert torch.equal(found[4], found[5])
    assert_same(found[[1, 3]], shares)
    assert_same(found[[0, 6]], 0.2)


def test_a_backbone_that_knows_words_leaves_later_tokens_out(monkeypatch):
    model = tagger()
    starts = torch.tensor([[1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0]]).bool()
    nothing = torch.zeros(0)
    words = Words(starts, nothing, nothing, nothing, nothing, starts, nothing)
    monkeypatch.setattr(Read, "by", lambda backbone, ids, mask: Read(ids, mask, words))
    labels = torch.tensor([[0, 1, 2, 3, 4, -100], [0, 1, -100, -100, -100, -100]])
    emissions = model.train()(IDS).logits
    loss = model(IDS, labels=labels).loss
    assert_same(loss, model.crf.loss(emissions, labels, starts))
    with torch.no_grad():
        tags = model.eval()(IDS).logits.argmax(-1)
    path = decided(model.crf, emissions, starts)
    inside = {1: 2, 3: 4}
    for later, first in ((2, 1), (4, 3)):
        label = path[0, first].item()
        assert tags[0, first] == label and tags[0, later] == inside.get(label, label)
    assert_same(model(IDS).logits[0, 5], emissions[0, 5])  # </s>


def test_labels_outside_the_chain_do_not_count(route):
    crf, emissions = drawn(IOB2)
    generator = torch.Generator().manual_seed(5)
    inside = labels_of(crf, FREE["all known"])
    others = torch.randint(0, len(IOB2), CHAIN.shape, generator=generator)
    told = torch.where(CHAIN, inside, others)
    loss = crf.loss(emissions, told, CHAIN)
    assert_same(loss, crf.loss(emissions, inside, CHAIN))
    assert_same(loss, crf.loss(emissions, told, CHAIN, num_items_in_batch=int(CHAIN.sum())))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_graphs_hold_the_answers():
    model = tagger("window").requires_grad_(False)
    mask = torch.tensor([[1, 0, 1, 1, 1, 1], [0, 1, 1, 0, 0, 1]])
    traced = torch.jit.trace(lambda ids, mask: model(ids, mask).logits, (IDS, torch.ones_like(IDS)))
    assert_same(traced(IDS, mask), model(IDS, mask).logits)
    exported = torch.export.export(model, (IDS, torch.ones_like(IDS))).module()
    assert_same(exported(IDS, mask).logits, model(IDS, mask).logits)


def test_a_compiled_model_learns_and_answers_the_same():
    model, labels = tagger("window"), torch.tensor([[0, 1, 0, 3, 4, -100], [0, 1, -100, -100, -100, -100]])
    expected, gradients = model(IDS, labels=labels), []
    compiled = torch.compile(model, backend="eager")
    assert_same(compiled(IDS, labels=labels).logits, expected.logits)
    for each in (model, compiled):
        model.zero_grad()
        each(IDS, labels=labels).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert_same(*gradients)
