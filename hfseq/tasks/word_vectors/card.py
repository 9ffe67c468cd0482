"""What the card of word vectors says beside what every card says."""

from typing import Any

from huggingface_hub import EvalResult

from ...cards.parts import UNNAMED, cell, front_matter, in_language, mean_text, result, score_text, slug, title
from ...cards.table import CARD, MEGABYTES, MINUTES, Column, ResultsTable, result_text
from .facts import ANALOGIES, Analogy, Evaluation, Neighbour, WordVectorFacts

HUB_TASK = "feature-extraction"
TASK = "word-vectors"  # the pipeline's task
_LARGE_CORPUS = 1_000_000_000  # words; the vectors of the word2vec papers came from corpora of this size and more
_SPLITS = {"whitespace": "at white space", "word": "into words and punctuation"}


def _model(facts: WordVectorFacts) -> str:
    grams = " with n-grams" if facts.architecture.buckets else ""
    seeds = ", ".join(str(run.seed) for run in facts.runs)
    return f"{facts.architecture.architecture}{grams}, {facts.architecture.loss} ({seeds})"


def _score(title: str, metric: str) -> Column:
    return title, lambda facts: mean_text(facts, metric) if metric in facts.metric_names else "-"


def _expectation(facts: WordVectorFacts) -> str:
    scores = [f"{facts.score_of(metric).title} {result_text(facts, metric)}" for metric in facts.metric_names]
    return "; ".join(scores) or "no score, as no test set is given"


WORD_VECTORS_TABLE = ResultsTable(
    "word vectors",
    (
        ("model (seeds)", _model),
        ("corpus", lambda facts: facts.corpus.name or UNNAMED),
        ("dimension", lambda facts: str(facts.architecture.hidden_size)),
        *(_score("analogies (%)", "analogy_accuracy"), _score("WS-353", "wordsim353"), _score("SimLex", "simlex999")),
        *(_score("MEN", "men"), _score("RW", "rare_words"), MINUTES),
        ("words/s", lambda facts: f"{facts.words_per_second:,.0f}"),
        *(MEGABYTES, CARD),
    ),
    expectation=_expectation,
)


def word_vectors_view(facts: WordVectorFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    results = [_result(facts, metric) for metric in facts.metric_names]
    first = next(iter(facts.neighbours), None)
    question = None if first is None else {"positive": [first.word]}
    if facts.analogies:
        question = {"positive": facts.analogies[0].positive, "negative": facts.analogies[0].negative}
    return {
        "front_matter": front_matter(facts, HUB_TASK, ["word2vec", "word-vectors"], results),
        "task": TASK,
        "split": _SPLITS[facts.corpus.split],
        "tests": [_test(facts, metric, asked) for metric, asked in facts.evaluations.items()],
        "word": None if first is None else first.word,
        "answer": None if first is None else [(each.word, each.cosine) for each in first.nearest[:1]],
        "question": question,
        "neighbours": [(each.word, _listed(each.nearest)) for each in facts.neighbours],
        "analogies": [(_sum(each), _listed(each.nearest)) for each in facts.analogies],
        "limits": _limits(facts),
    }


def _result(facts: WordVectorFacts, metric: str) -> EvalResult:
    asked = facts.evaluations[metric]
    kind = "analogy" if metric in ANALOGIES else "similarity"
    about = {"task_type": f"word-{kind}", "task_name": f"Word {kind}"}
    made = result(facts, metric, dataset_type=slug(asked.data), dataset_name=asked.data, **about)
    made.metric_args = {"restrict_vocab": asked.restrict_vocab} if asked.restrict_vocab else None
    return made


def _test(facts: WordVectorFacts, metric: str, asked: Evaluation) -> tuple[str, str, Evaluation]:
    text = score_text(facts, metric) if asked.used else "no question with known words"
    return title(facts.score_of(metric)), text, asked


def _listed(nearest: list[Neighbour]) -> str:
    return ", ".join(f"{cell(each.word)} {each.cosine:.2f}" for each in nearest)


def _sum(analogy: Analogy) -> str:
    first, *others = analogy.positive
    return " ".join([first, *(f"- {word}" for word in analogy.negative), *(f"+ {word}" for word in others)])


def _limits(facts: WordVectorFacts) -> list[str]:
    corpus = facts.corpus
    domain = corpus.domain or "texts that were not described"
    period = f", {corpus.period}" if corpus.period else ""
    spelled = "has a vector of its spelling alone, not of its use"
    vector = spelled if facts.architecture.buckets else "has no vector"
    limits = [
        f"Learnt from {domain}{period} {in_language(facts)}: it knows no other use of words, "
        "and none that came later.",
        "One vector a word, whatever its sense: words that are spelled alike share theirs.",
        f"A word outside the vocabulary of {corpus.vocabulary:,} words, too rare or never seen, {vector}.",
    ]
    if corpus.lowercase:
        limits.append("Words are lower-cased, so a name and the common word of its spelling share a vector.")
    if corpus.words < _LARGE_CORPUS:
        limits.append(
            f"The corpus of {corpus.words:,} words is small, where published vectors come from a billion and more: it "
            "solves fewer analogies, and the neighbours of rare words are partly chance."
        )
    if not facts.architecture.has_output:
        limits.append("The file holds no output matrix: training cannot go on from it, nor can it predict words.")
    return limits
