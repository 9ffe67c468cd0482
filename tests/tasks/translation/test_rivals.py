"""The simplest systems beside a translator."""

from datasets import Dataset

from hfseq.tasks.translation.rivals import nearest, rivals, word_by_word

ENGLISH = {"the": "der", "dog": "Hund", "man": "Mann", "sees": "sieht", "hears": "hört", "big": "große", "old": "alte"}
SOURCES = [
    f"the {kind} {who} {does} the {whom}"
    for kind in ("big", "old")
    for who in ("dog", "man")
    for does in ("sees", "hears")
    for whom in ("dog", "man")
]
TARGETS = [" ".join(ENGLISH[word] for word in text.split()).capitalize() for text in SOURCES]


def translated(text):
    return " ".join(ENGLISH[word] for word in text.split())


def test_words_are_learnt_from_pairs_alone():
    """Also where the target has the other order: the model does not look at places."""
    backwards = [" ".join(reversed(translated(text).split())) for text in SOURCES]
    written = word_by_word(SOURCES, backwards, ["the old dog hears", "Old man, unseen!"])
    assert written == ["Der alte Hund hört", "Alte Mann, unseen!"]


def test_the_nearest_source_gives_its_target():
    assert nearest(SOURCES, TARGETS, [SOURCES[3], f"today {SOURCES[9]}"]) == [TARGETS[3], TARGETS[9]]


def test_every_system_is_measured_on_the_same_rows():
    rows = Dataset.from_dict({"source": SOURCES, "target": TARGETS})
    found = rivals(rows, rows, copies_source=False)
    names = list(dict.fromkeys(row.name for row in found))
    assert names == ["Copy of the source", "Word by word (IBM model 1)", "Nearest training source (TF-IDF)"]
    bleu = {row.name: row.value for row in found if row.metric == "bleu"}
    assert bleu[names[0]] < bleu[names[1]] and bleu[names[2]] > 99  # the rows themselves are the nearest
    assert {row.metric for row in found} == {"bleu", "chrf", "exact_match"}


def test_a_copy_is_no_rival_of_a_model_that_copies():
    rows = Dataset.from_dict({"source": SOURCES, "target": SOURCES})
    assert {row.name for row in rivals(rows, rows, copies_source=True)} == {"Nearest training source (TF-IDF)"}
