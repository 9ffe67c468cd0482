"""Cards of word vectors: the golden card, facts that are refused, limits that follow from them, the table of results.

After a change of the template, `python -m tests.tasks.word_vectors.test_card --write` renders the golden card anew.
"""

import dataclasses
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from hfseq.cards.render import check_card, load_facts, render_card, write_card
from hfseq.tasks import TASKS
from hfseq.tasks.text_classification.facts import CardFacts
from hfseq.tasks.word_vectors.facts import Neighbour, Neighbours, WordVectorFacts, word_score
from model_cards import render
from tests.cards.changes import change_keys

GOLDEN = Path(__file__).parents[2] / "golden"
PATH = GOLDEN / "card_words.json"


def golden_facts():
    return WordVectorFacts.load(PATH)


def changed(**changes):
    """The golden facts with changes; `architecture__buckets` means facts.architecture.buckets."""
    facts, made = golden_facts(), {}
    for path, value in changes.items():
        part, _, name = path.rpartition("__")
        made |= {part: dataclasses.replace(getattr(facts, part), **{name: value})} if part else {path: value}
    return dataclasses.replace(facts, **made)


def limits_of(facts):
    return re.search(r"## Limits\n\n(.*?)\n\n##", render_card(facts), re.DOTALL)[1]


@pytest.fixture(scope="module")
def card():
    return render_card(golden_facts())


def test_the_card_equals_its_golden_file(card, tmp_path):
    assert card == (GOLDEN / "card_words.md").read_text(encoding="utf-8")
    write_card(tmp_path, golden_facts())
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card


def test_facts_survive_json_and_their_kind_chooses_their_class(tmp_path):
    golden_facts().save(tmp_path / "facts.json")
    assert json.loads((tmp_path / "facts.json").read_text("utf-8")) == json.loads(PATH.read_text("utf-8"))
    assert type(load_facts(PATH)) is WordVectorFacts
    assert load_facts(PATH) == golden_facts()
    assert type(load_facts(GOLDEN / "card_classifier.json")) is CardFacts  # which does not name its kind


def test_the_hub_client_reads_the_results_back(card):
    data = ModelCard(card).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "feature-extraction")
    assert data.tags == ["hfseq", "word2vec", "word-vectors"]
    assert data.datasets == ["golden-tests/articles"]
    found = [(each.task_type, each.dataset_name, each.metric_type, each.metric_value) for each in data.eval_results]
    assert found == [
        ("word-analogy", "golden-questions", "accuracy", 0.299),
        ("word-analogy", "golden-questions", "accuracy", 0.35),
        ("word-analogy", "golden-questions", "accuracy", 0.258),
        ("word-similarity", "golden-pairs", "spearmanr", 0.658),
    ]
    assert [each.metric_args for each in data.eval_results] == [{"restrict_vocab": 30000}] * 3 + [None]


def test_the_snippet_asks_what_the_card_answers(card):
    asked = {}

    class Vectors:
        def most_similar(self, word, topn):
            asked["word"] = word
            return [(each.word, each.cosine) for each in golden_facts().neighbours[0].nearest[:topn]]

    class AutoModel:
        vectors = Vectors()

        @classmethod
        def from_pretrained(cls, model_id):
            asked["id"] = model_id
            return cls

    def pipeline(task, model):
        asked.update(task=task, model=model)
        return lambda question: asked.update(question=question)

    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    printed = []
    names = {"AutoModel": AutoModel, "pipeline": pipeline, "print": printed.append}
    exec(re.sub(r"^(?:import|from) .*$", "", snippet, flags=re.MULTILINE), names)
    assert asked == {
        "word": "king",
        "id": golden_facts().model_id,
        "task": "word-vectors",
        "model": golden_facts().model_id,
        "question": {"positive": ["king", "woman"], "negative": ["man"]},
    }
    assert f"\n# {printed[0]}\n" in snippet
    assert snippet.startswith("import hfseq ")


def test_without_analogies_the_snippet_asks_for_neighbours():
    card = render_card(changed(analogies=[]))
    assert 'print(pipe({"positive": ["king"]}))' in card
    assert "sums of vectors" not in card


def test_vectors_that_no_test_set_fits_have_a_card_that_says_so():
    runs = [dataclasses.replace(run, metrics={}) for run in golden_facts().runs]
    card = render_card(changed(runs=runs, evaluations={}, comparisons=[]))
    assert "No test set was asked" in card
    assert not {"model-index", "metrics"} & yaml.safe_load(card.split("---\n")[1]).keys()


def test_only_the_cards_of_word_vectors_may_lack_results(card):
    bare = re.sub(r"metrics:\n.*?(?=pipeline_tag)", "", card, flags=re.DOTALL)
    bare = re.sub(r"model-index:\n.*?\n---\n", "---\n", bare, flags=re.DOTALL)
    check_card(bare)
    with pytest.raises(ValueError, match="lacks 'metrics'.*lacks 'model-index'"):
        check_card(bare.replace("feature-extraction", "text-classification"))
    with pytest.raises(ValueError, match="no finite metric"):
        check_card(re.sub(r"value: 0\.\d+", "value: high", card))


def test_a_word_may_be_any_word_and_breaks_no_table(card):
    assert "\n| `nan` | a\\|b 0.50, none 0.45 |\n" in card
    odd = Neighbours(word="None", nearest=[Neighbour(word=word, cosine=0.5) for word in ("TODO", "inf", "<b>", "*")])
    assert "| `None` | TODO 0.50, inf 0.50, &lt;b> 0.50, \\* 0.50 |" in render_card(changed(neighbours=[odd]))


@pytest.mark.parametrize(
    ("changes", "said", "silent"),
    [
        ({}, "One vector a word, whatever its sense", "output matrix"),
        ({}, "too rare or never seen, has no vector.", "has a vector of its spelling"),
        ({"architecture__buckets": 2_000_000}, "has a vector of its spelling alone", "has no vector."),
        ({}, "Words are lower-cased", "The terms of the data"),
        ({"corpus__lowercase": False}, "One vector a word", "lower-cased"),
        ({}, "invented articles, until March 2006 in the language `en`", "The licence of the weights"),
        ({"corpus__period": None}, "invented articles in the language `en`", "2006"),
        ({}, "The corpus of 1,700,000 words is small", "output matrix"),
        ({"corpus__words": 3_000_000_000}, "One vector a word", "is small"),
        ({"architecture__has_output": False}, "The file holds no output matrix", "The terms of the data"),
        ({"corpus__restriction": "for research"}, "The terms of the data bind its use: for research.", "matrix"),
    ],
    ids=str,
)
def test_limits_follow_from_the_facts(changes, said, silent):
    limits = limits_of(changed(**changes))
    assert said in limits
    assert silent not in limits
    assert "It repeats the biases of its data" in limits
    assert "Invented: no such vectors exist." in limits


def test_the_papers_are_cited_by_what_was_used(card):
    assert re.findall(r"^@\w+\{(\w+),", card, re.MULTILINE) == [
        "hfseq",
        "mikolov2013efficient",
        "mikolov2013distributed",
        "golden",
    ]
    assert "@article{bojanowski2017enriching," in render_card(changed(architecture__buckets=1000))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "skip-gram, negative sampling, 5 negatives, vectors of 100, window 5, sub-sampling 0.001, words seen 5"),
        ({"loss": "softmax", "negatives": 0}, "skip-gram, softmax, vectors of 100"),
        ({"sample": 0.0}, "window 5, no sub-sampling, words seen"),
        ({"architecture": "cbow"}, "cbow, negative sampling"),
        ({"buckets": 2_000_000}, "5 times or more, character n-grams in 2,000,000 buckets."),
    ],
    ids=str,
)
def test_the_architecture_is_told_in_a_line(changes, told):
    architecture = dataclasses.replace(golden_facts().architecture, **changes)
    [line] = re.findall(r"^- \*\*Architecture:\*\* .*$", render_card(changed(architecture=architecture)), re.MULTILINE)
    assert told in line


ASKED = {"data": "x", "used": 3, "skipped": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            change_keys(kind="trees"),
            r"facts\.kind is 'trees'; choose one of \('classifier', 'tagger', 'intent-slots', 'word-vectors', 'lang",
        ),
        (change_keys(kind=None), "facts has unknown keys"),
        (change_keys(licence="mit"), r"unknown keys \['licence'\]"),
        (change_keys(corpus__words=None), r"facts\.corpus lacks the keys \['words'\]"),
        (change_keys(corpus__words=3), "each is a part of the next"),
        (change_keys(corpus__vocabulary=0), "each is a part of the next"),
        (change_keys(corpus__types=3), "each is a part of the next"),
        (change_keys(corpus__split="letters"), "split"),
        (change_keys(architecture__engine="magic"), "engine"),
        (change_keys(architecture__negatives=0), "negatives=0 does not go with the loss 'negative-sampling'"),
        (change_keys(architecture__loss="softmax"), "negatives=5 does not go with the loss 'softmax'"),
        (change_keys(file_mb=float("nan")), "NaN is not a number"),
        (change_keys(runs=[]), "one result per seed"),
        (
            change_keys(runs=[{"seed": 0, "metrics": {}, "minutes": 1}]),
            r"runs\[0\] lacks the keys \['words_per_second",
        ),
        (change_keys(evaluations__men=ASKED), r"the runs lack the metrics \['men'\]"),
        (change_keys(evaluations__wordsim353=None), r"behind the metrics \['wordsim353'\]"),
        (change_keys(evaluations__wordsim353={**ASKED, "used": 0}), r"behind the metrics \['wordsim353'\]"),
        (change_keys(comparisons=[{"name": "a", "metric": "men", "value": 1, "source": "b"}]), "which the runs lack"),
        (change_keys(neighbours=[{"word": "a", "nearest": []}]), "see nearest_words"),
        (change_keys(license="other"), "needs a license_name and a license_link"),
        (change_keys(model_id="a/b/c"), "a/b/c"),
    ],
)
def test_wrong_facts_are_refused_with_file_and_reason(change, message, tmp_path):
    payload = json.loads(PATH.read_text(encoding="utf-8"))
    change(payload)
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(payload), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"(?s)facts\.json: .*{message}"):
        load_facts(path)


def test_no_json_at_all_is_named(tmp_path):
    (tmp_path / "facts.json").write_text("[", encoding="utf-8")
    with pytest.raises(ValueError, match=r"facts\.json: "):
        load_facts(tmp_path / "facts.json")
    (tmp_path / "facts.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="must be an object"):
        load_facts(tmp_path / "facts.json")


def test_a_score_is_named_by_its_set():
    assert word_score("analogy_semantic").title == "Analogies, semantic"
    assert word_score("simlex999").title == "SimLex-999, Spearman"
    assert word_score("my_words").title == "my_words, Spearman"
    assert [word_score(name).is_percentage for name in ("analogy_accuracy", "men")] == [True, False]


COMMAND = "python recipes/word2vec.py --config recipes/configs/word2vec/golden.yaml"


@pytest.fixture
def run(tmp_path):
    """Function that writes a run's facts, with changes, into a folder of its own."""

    def write(seed, **changes):
        one = dataclasses.replace(golden_facts().runs[0], seed=seed)
        command = f"{COMMAND} --training.seed={seed} --training.output_dir=runs/{seed}"
        facts = changed(runs=[one], command=command, **changes)
        (tmp_path / f"run{seed}").mkdir()
        facts.save(tmp_path / f"run{seed}" / "facts.json")
        return tmp_path / f"run{seed}"

    return write


def test_runs_of_other_seeds_make_one_card(run):
    merged = render.merge([run(0), run(3, neighbours=golden_facts().neighbours[:1], analogies=[], file_mb=9.0)])
    assert [each.seed for each in merged.runs] == [0, 3]
    assert merged.neighbours == golden_facts().neighbours
    render_card(merged)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architecture__window": 9}, "architecture"),
        ({"corpus__words": 1_800_000}, "corpus"),
        ({"parameters": 3}, "par"),
    ],
    ids=str,
)
def test_runs_of_another_configuration_make_no_card(run, changes, named):
    with pytest.raises(ValueError, match=rf"by {named}.*: only runs that differ in their seed"):
        render.merge([run(0), run(1, **changes)])


def test_runs_of_two_kinds_make_no_card(run, tmp_path):
    (tmp_path / "other").mkdir()
    CardFacts.load(GOLDEN / "card_classifier.json").save(tmp_path / "other" / "facts.json")
    with pytest.raises(ValueError, match="another kind of model"):
        render.merge([run(0), tmp_path / "other"])


def test_the_table_has_a_row_and_a_command_for_each_card():
    table = TASKS["word_vectors"].table.render([golden_facts()])
    head, _, row, *others = table.splitlines()
    assert row == (
        "| skip-gram, negative-sampling (0, 1) | Golden Articles | 100 | 29.9 ± 0.3 | 0.658 ± 0.006 | - | - | - | 1.3 "
        "| 806,172 | 4.8 | [invented-words](../model_cards/invented-words.md) |"
    )
    assert head.count("|") == row.count("|")
    assert golden_facts().command in others
    assert TASKS["word_vectors"].table.render([]) == "No word vectors have been measured yet."


def test_each_kind_has_its_table_and_its_configuration(tmp_path, monkeypatch):
    (tmp_path / "facts").mkdir()
    monkeypatch.setattr(render, "HERE", tmp_path)
    render.save(golden_facts())
    render.save(CardFacts.load(GOLDEN / "card_classifier.json"))
    assert (tmp_path / "invented-words.md").read_bytes() == (GOLDEN / "card_words.md").read_bytes()
    tables = render.result_tables()
    assert "| LSTM | Golden Headlines |" in tables["recipes"]
    assert "invented-words" not in tables["recipes"]
    assert "| Golden Articles |" in tables["word vectors"]
    assert "Headlines" not in tables["word vectors"]
    [path] = [path for path, facts in render.configurations().items() if isinstance(facts, WordVectorFacts)]
    assert path == render.ROOT / shlex.split(COMMAND)[3]


def test_a_configuration_expects_every_score():
    text = render.with_expectation("# Expected: nothing yet\nseed: 0\n", golden_facts())
    assert text == (
        "# Expected: Analogies 29.9 ± 0.3 (0, 1); Analogies, semantic 35.0 ± 0.3 (0, 1); Analogies, syntactic "
        "25.8 ± 0.3 (0, 1); WordSim-353, Spearman 0.658 ± 0.006 (0, 1), 1.3 minutes of training; data and command of "
        "the measurement: model_cards/invented-words.md\nseed: 0\n"
    )


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.tasks.word_vectors.test_card --write")
    (GOLDEN / "card_words.md").write_text(render_card(golden_facts()), encoding="utf-8")
