"""The embedded data set: what it promises to every task, and that order is what makes its intents hard."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from random import Random

import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from hfseq.data.embedded.grammar import POLARITY, ROLES, Derivation, Grammar, Rule, Value, english, german
from hfseq.data.embedded.lexicon import VALUES
from hfseq.data.embedded.load import FEATURES, GRAMMAR, INTENT_NAMES, SLOT_TYPES, load_embedded
from hfseq.data.embedded.templates import PHRASES
from tests.rounds import for_each

SPLITS = ("train", "validation", "test")
TAG_NAMES = FEATURES["tags"].feature.names


@pytest.fixture(scope="module")
def data():
    return load_embedded()


@pytest.fixture(scope="module")
def rows(data):
    return {name: data[name].to_list() for name in SPLITS}


@pytest.fixture(scope="module")
def all_rows(rows):
    return [row for name in SPLITS for row in rows[name]]


def words(row):
    """The words as a listener hears them: no capitals, no marks."""
    return tuple(word.lower() for word in row["tokens"] if re.match(r"\w", word))


def bag(row):
    return tuple(sorted(words(row)))


def slots(row):
    """The tagged spans as (type, value); fails on tags that are not IOB2."""
    spans = []
    for word, tag in zip(row["tokens"], (TAG_NAMES[tag] for tag in row["tags"]), strict=True):
        if tag.startswith("B-"):
            spans.append([tag[2:], word])
            open_slot = tag[2:]
        elif tag.startswith("I-"):
            assert open_slot == tag[2:], f"{tag} opens a span in {row['text']!r}"
            spans[-1].append(word)
        else:
            open_slot = None
    return [(kind, " ".join(value)) for kind, *value in spans]


def fill(en, de="", **given):
    """A derivation with the lexicon's values of these English names."""
    found = {}
    for slot, name in given.items():
        [found[slot]] = [value for value in VALUES[slot.rstrip("0123456789")] if value.en == name]
    return Derivation(Rule(en, de), found)


def digest(data):
    first = [data[name].select(range(40)).to_list() for name in SPLITS]
    return hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()[:16]


def test_the_same_seed_gives_the_same_rows_on_every_machine(data):
    assert digest(data) == "f3bc691ba705f031"


def test_what_one_caller_changes_no_other_sees(data):
    mine = load_embedded()
    mine["train"].set_format("numpy", columns=["label"])
    mine["test"] = mine["test"].select(range(3))
    again = load_embedded()
    assert again["train"].format["type"] is None and digest(again) == digest(data)


def test_another_seed_gives_other_rows_of_the_same_kind(data):
    other = load_embedded(seed=1)
    assert other["train"].features == data["train"].features
    assert len(set(other["train"]["text"]) & set(data["train"]["text"])) < 600


def test_the_splits_have_their_sizes_and_novelties(rows):
    counts = {name: Counter(row["novelty"] for row in rows[name]) for name in SPLITS}
    assert counts["train"] == {"seen": 6000}
    assert counts["validation"] == {"seen": 270, "value": 270, "combination": 270}
    assert counts["test"] == {"seen": 400, "value": 400, "combination": 400}


def test_intents_slots_and_sentiments_are_many_and_none_is_rare(rows):
    assert len(INTENT_NAMES) >= 12 and len(SLOT_TYPES) >= 15
    for name in SPLITS:
        assert min(Counter(row["label"] for row in rows[name]).values()) >= len(rows[name]) / 125
        assert {row["label"] for row in rows[name]} == set(range(len(INTENT_NAMES)))
        assert {kind for row in rows[name] for kind, _ in slots(row)} == set(SLOT_TYPES)
        assert min(Counter(row["sentiment"] for row in rows[name]).values()) >= len(rows[name]) / 30
    assert len(Counter(row["sentiment"] for row in rows["train"])) == 5


def test_no_utterance_occurs_twice_in_any_writing(all_rows):
    assert len({words(row) for row in all_rows}) == len(all_rows)


def test_no_two_utterances_differ_only_in_manner_or_circumstance(all_rows):
    dressing = re.compile(
        r"^(my day was|this place is) [^,]+, |^please |, (please|thank you|right now|as soon as possible"
        r"|it is (very |not )?urgent|i am (not )?in a hurry|i have all day|that would be \w+)(?=,|$)"
    )
    cores = Counter()
    for row in all_rows:
        text = row["text"].lower().rstrip(".?!")
        while (bare := dressing.sub("", text)) != text:
            text = bare
        cores[text] += 1
    assert cores.most_common(1)[0][1] == 1


def test_every_token_is_found_in_order_and_only_spaces_lie_between(all_rows):
    for row in all_rows:
        end = 0
        for token in row["tokens"]:
            start = row["text"].index(token, end)
            assert not row["text"][end:start].strip()
            end = start + len(token)
        assert end == len(row["text"])


def test_tagged_spans_are_values_of_the_lexicon(all_rows):
    allowed = {kind: {value.en.lower() for value in VALUES[kind]} for kind in SLOT_TYPES}
    found = [(kind, value.lower()) for row in all_rows for kind, value in slots(row)]
    assert len(found) > 10_000
    assert all(value in allowed[kind] for kind, value in found)


def test_an_inside_tag_without_a_beginning_is_noticed():
    wrong = {"text": "Cape Town", "tokens": ["Cape", "Town"], "tags": [0, TAG_NAMES.index("I-city")]}
    with pytest.raises(AssertionError, match="opens a span"):
        slots(wrong)


def test_names_beyond_ascii_occur_in_all_splits(rows):
    for name in SPLITS:
        assert any(not row["text"].isascii() for row in rows[name])
    assert any("東京" in row["tokens"] for row in rows["train"])


def test_held_out_values_never_occur_in_training(rows):
    held_out = {(kind, value.en.lower()) for kind in SLOT_TYPES for value in VALUES[kind] if value.held_out}
    assert {kind for kind, _ in held_out} == set(SLOT_TYPES)
    for name in SPLITS:
        for row in rows[name]:
            has_unseen = any((kind, value.lower()) in held_out for kind, value in slots(row))
            assert has_unseen == (row["novelty"] == "value")


@pytest.mark.parametrize(
    "template", [r"how many people live in (.*?)(?:,|\?|$)", r"what do you know about (.*?)(?:,|\?|$)"]
)
def test_combinations_pair_known_templates_with_known_values_for_the_first_time(template, rows):
    def values(name, novelty):
        chosen = [row["text"].lower() for row in rows[name] if row["novelty"] == novelty]
        return {match[1] for text in chosen if (match := re.search(template, text))}

    trained = values("train", "seen")
    new = values("test", "combination") | values("validation", "combination")
    assert trained and new
    assert not trained & new
    assert new <= {value.en.lower() for kind in ("city", "person") for value in VALUES[kind] if not value.held_out}


@pytest.mark.parametrize("pattern", ["^while you", "no wait, .*no wait", r"\btext .* to pay ", r"\bpay .* to text "])
def test_some_ways_to_join_clauses_are_only_in_the_test_data(pattern, rows):
    def count(name):
        return sum(bool(re.search(pattern, row["text"].lower())) for row in rows[name])

    assert count("train") == 0
    assert count("test") > 0


def leaves_and_check(tree):
    """Reads a tree in brackets with a stack; fails on a node which is neither a leaf nor a pair."""
    leaves, stack = [], [[]]
    for piece in re.findall(r"\(\d|\)|[^\s()]+", tree):
        if piece.startswith("("):
            assert piece[1] in "01234"
            stack.append([])
        elif piece == ")":
            node = stack.pop()
            assert len(node) == 2 or (len(node) == 1 and isinstance(node[0], str)), f"not binary: {node}"
            leaves += [node[0]] if len(node) == 1 else []
            stack[-1].append(node)
        else:
            stack[-1].append(piece)
    assert len(stack) == 1 and len(stack[0]) == 1
    return leaves


def test_trees_are_binary_over_exactly_the_tokens_and_their_root_is_the_sentiment(all_rows):
    for row in all_rows:
        assert leaves_and_check(row["tree"]) == row["tokens"]
        assert int(row["tree"][1]) == row["sentiment"]


def test_a_node_with_three_children_is_noticed():
    with pytest.raises(AssertionError, match="not binary"):
        leaves_and_check("(2 (2 a) (2 b) (2 c))")


@for_each(
    ("sentence", "polarity"),
    [
        ("[the pizza] was good", 1),
        ("[the pizza] was [very good]", 2),
        ("[the pizza] was [not good]", -1),
        ("[the pizza] was [not [very good]]", -1),
        ("[the pizza] was [really [not good]]", -2),
        ("[the pizza] was [not terrible]", 1),
        ("[the pizza] was [slightly great]", 1),
        ("[the pizza] was [slightly boring]", 0),
        ("[the pizza] was [somewhat awful]", -1),
        ("[the pizza] was [never awful]", 1),
        ("[the pizza] was [great but boring]", -1),
        ("[the pizza] was [boring but great]", 2),
        ("[the pizza] was [[not good] but [very pleasant]]", 2),
        ("I do [not [love [the pizza]]]", -1),
        ("turn off [the [awful lamp]]", -2),
        ("[the pizza] was [very warm]", 0),
        ("[the pizza] was [not warm]", 0),
    ],
)
def test_sentiment_is_composed_by_the_rules(sentence, polarity):
    assert english(fill(sentence)).polarity == polarity


def test_the_tree_shows_the_sentiment_of_every_part():
    tree = english(fill("[the {dish}] was [not [very good]]", dish="soup"))
    assert tree.brackets() == "(1 (2 (2 the) (2 soup)) (1 (2 was) (1 (2 not) (4 (2 very) (3 good)))))"


def test_words_inside_a_name_carry_no_sentiment():
    song = english(Derivation(Rule("play {song}", "spiele {song}"), {"song": Value("Not Very Awful", "Egal")}))
    assert song.brackets() == "(2 (2 play) (2 (2 Not) (2 (2 Very) (2 Awful))))"


def test_every_word_of_judgement_has_its_polarity_or_role():
    assert all(POLARITY[value.en] > 0 for value in VALUES["praise"])
    assert all(POLARITY[value.en] < 0 for value in VALUES["blame"])
    assert {value.en for value in VALUES["feel"]} <= set(POLARITY)
    assert {value.en for value in VALUES["degree"]} <= set(ROLES)


@for_each(
    ("meaning", "twin"),
    [
        (
            fill(
                "turn off the [{blame} {device}] in the {room}",
                "schalte {device.acc+blame} {room.in} aus",
                blame="horrible",
                device="oven",
                room="kitchen",
            ),
            "schalte den grauenhaften Ofen in der Küche aus",
        ),
        (
            fill("the [{blame} {device}]", "{device.nom+blame}", blame="horrible", device="lamp"),
            "die grauenhafte Lampe",
        ),
        (fill("in the [{blame} {room}]", "in {room.dat+blame}", blame="bad", room="office"), "in dem schlechten Büro"),
        (fill("text {whom}", "schreibe {whom.dat}", whom="him"), "schreibe ihm"),
        (fill("call {whom}", "rufe {whom} an", whom="him"), "rufe ihn an"),
    ],
)
def test_german_agrees_in_gender_and_case(meaning, twin):
    assert german(meaning) == twin


def test_the_german_verb_moves(all_rows):
    twins = {" ".join(words(row)): row["translation"] for row in all_rows}
    moved = [(text, twin) for text, twin in twins.items() if re.match(r"before you call \w+ turn on the", text)]
    assert moved
    assert all(re.match(r"Bevor du .* anrufst, schalte .* ein\b", twin) for _, twin in moved)


def test_the_translation_is_a_function_of_the_meaning(all_rows):
    translations = defaultdict(set)
    for row in [*all_rows, *load_embedded(seed=1)["train"].to_list()]:
        translations[words(row), row["text"].endswith("!")].add(row["translation"])
    assert max(len(twins) for twins in translations.values()) == 1
    assert len(translations) < len(all_rows) + 6000, "no utterance occurs with both seeds, so nothing was compared"


def test_the_german_always_starts_with_a_capital_and_ends_with_a_mark(all_rows):
    assert all(row["translation"][-1] in ".?!" and not row["translation"][0].islower() for row in all_rows)
    assert not any(re.search(r"[{}\[\]]|  ", row["translation"] + row["text"]) for row in all_rows)


def test_urgency_is_between_zero_and_one_and_varied(rows):
    scores = [row["score"] for row in rows["train"]]
    assert min(scores) >= 0 and max(scores) <= 1
    assert len(set(scores)) >= 25
    assert Counter(scores).most_common(1)[0][1] < len(scores) / 4


def test_urgency_needs_more_than_one_cue(rows):
    def mean(pattern):
        scores = [row["score"] for row in rows["train"] if re.search(pattern, row["text"])]
        return sum(scores) / len(scores)

    assert mean("is not urgent") < mean("I have all day") < mean("is urgent") < mean("is very urgent")
    assert mean(r"is urgent[^!]*$") < mean(r"is urgent!$")
    assert mean(r"(Monday|next \w+|June), it is urgent") < mean(r"(today|tonight), it is urgent")


def test_a_slot_the_grammar_does_not_know_is_named():
    with pytest.raises(ValueError, match="no slot type 'planet'"):
        Grammar(VALUES, PHRASES).fill(Rule("fly to {planet}", "flieg"), rng=None)


def test_a_german_slot_without_an_english_one_is_named():
    with pytest.raises(ValueError, match=r"asks for \['city'\]"):
        Rule("what time is it", "wie spät ist es in {city}")


def test_values_of_one_rule_differ():
    rng = Random(0)
    for _ in range(200):
        fillers = GRAMMAR.fill(Rule("from {origin} to {destination} over {city}", ""), rng).fillers
        assert len(set(fillers.values())) == 3


def test_order_pairs_have_the_same_words_and_other_intents(rows):
    intents = defaultdict(set)
    for row in rows["train"]:
        intents[bag(row)].add(INTENT_NAMES[row["label"]])
    pairs = Counter(tuple(sorted(names)) for names in intents.values() if len(names) > 1)
    assert 2 * sum(pairs.values()) > len(rows["train"]) / 3
    for pair in [
        ("ask_permission", "grant_permission"),
        ("ask_status", "report_status"),
        ("ask_opinion", "rate"),
        ("make_call", "set_reminder"),
        ("make_call", "play_music"),
        ("order_food", "set_alarm"),
    ]:
        assert pairs[pair] >= 5, pair


def test_no_bag_of_words_of_training_occurs_in_the_other_splits(rows):
    trained = {bag(row) for row in rows["train"]}
    for name in ("validation", "test"):
        assert sum(bag(row) in trained for row in rows[name]) <= len(rows[name]) / 100


def test_a_bag_of_words_fails_on_the_order_pairs_and_only_there(rows):
    vectorizer = CountVectorizer(token_pattern=r"\S+")
    train = vectorizer.fit_transform(" ".join(row["tokens"]) for row in rows["train"])
    classifier = LogisticRegression(max_iter=200).fit(train, [row["label"] for row in rows["train"]])
    guesses = classifier.predict(vectorizer.transform(" ".join(row["tokens"]) for row in rows["test"]))

    intents = defaultdict(set)
    for row in rows["test"]:
        intents[bag(row)].add(row["label"])
    right = {True: [], False: []}
    for row, guess in zip(rows["test"], guesses, strict=True):
        right[len(intents[bag(row)]) > 1].append(guess == row["label"])
    accuracy = (sum(right[True]) + sum(right[False])) / len(rows["test"])
    in_pairs, elsewhere = (sum(right[kind]) / len(right[kind]) for kind in (True, False))
    # The word sequence decides every intent (no utterance occurs twice), so the bound of a reader of order is 1.
    assert accuracy < 0.9
    assert in_pairs < 0.6
    assert elsewhere > 0.95


class Reader(torch.nn.Module):
    """The plainest reader of order: embeddings, one LSTM, its last state."""

    def __init__(self, vocabulary):
        super().__init__()
        self.embed = torch.nn.Embedding(vocabulary + 2, 64, padding_idx=0)
        self.lstm = torch.nn.LSTM(64, 96, batch_first=True)
        self.classify = torch.nn.Linear(96, len(INTENT_NAMES))

    def forward(self, texts):
        lengths = torch.tensor([len(text) for text in texts])
        states, _ = self.lstm(self.embed(torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)))
        return self.classify(states[torch.arange(len(texts)), lengths - 1])


@pytest.mark.slow
def test_an_lstm_reads_the_order(rows):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    counts = Counter(word.lower() for row in rows["train"] for word in row["tokens"])
    ids = {word: i + 2 for i, word in enumerate(sorted(counts))}

    def read(name):
        texts = [torch.tensor([ids.get(word.lower(), 1) for word in row["tokens"]]) for row in rows[name]]
        return texts, torch.tensor([row["label"] for row in rows[name]])

    texts, labels = read("train")
    model = Reader(len(ids))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(4):
        for batch in torch.randperm(len(texts)).split(32):
            # Now and then a word is hidden, so that the vector of unknown words is trained.
            shown = [torch.where(torch.rand(len(texts[i])) < 0.03, 1, texts[i]) for i in batch]
            loss = torch.nn.functional.cross_entropy(model(shown), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    texts, labels = read("test")
    with torch.no_grad():
        accuracy = (model(texts).argmax(-1) == labels).float().mean().item()
    assert 0.95 <= accuracy < 1
