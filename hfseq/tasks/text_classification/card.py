"""What the card of a text classifier says beside what every card says."""

from dataclasses import asdict
from typing import Any, Final

from ...cards.confusion import confusion_view
from ...cards.facts import Example
from ...cards.parts import cell, code, example_tables, made, network_view, number, percent, smallness, title
from ...cards.table import ResultsTable, labelled_columns
from ...evaluation.scores import SCORES
from .facts import CandidateFacts, CardFacts, CompressionFacts, MixedFacts, TuningFacts

CLASSIFIER_TABLE = ResultsTable("recipes", labelled_columns("Bag of words"))
# What the snippet asks where nobody gave a text.
NEUTRAL: Final = "This is a sentence."
NEUTRAL_PAIR: Final = {"text": NEUTRAL, "text_pair": "Here is another one."}
_PAIRS: Final = {
    "joined": "It takes two texts, `text` and `text_pair`, and reads them as one.",
    "siamese": "It takes two texts, `text` and `text_pair`, reads each alone, and compares them.",
}


# The titles of the two tables of examples, that of their score, and how the rows were chosen.
_CLASSIFIED = ("Right", "Wrong", "Confidence", "rows at equal distances among the right and the wrong ones")
_REGRESSION = ("Closest", "Furthest", "Absolute error", "the rows of smallest and of greatest error")


def classifier_view(facts: CardFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    data, widgets = facts.data, [asdict(widget) for widget in facts.widgets]
    right, wrong, score, choice = _REGRESSION if facts.problem_type == "regression" else _CLASSIFIED
    learnt_from = f"{data.splits['train']:,} texts with a vocabulary of {data.vocabulary_size:,} tokens"
    return {
        **network_view(facts, facts.task, metrics=_shown_metrics(facts), widget=widgets or None),
        "asked": widgets[0]["text"] if widgets else NEUTRAL if facts.pairs is None else NEUTRAL_PAIR,
        "pairs": None if facts.pairs is None else _PAIRS[facts.pairs],
        "answer": widgets[0]["output"][:1] if widgets else None,
        "examples": example_tables(facts.examples, right, wrong, _example),
        "score_name": score,
        **confusion_view(facts.confusions, "labels", "Texts"),
        "choice": choice,
        "candidates": [_candidate(row) for row in facts.candidates],
        "tuning": None if facts.tuning is None else tuning_line(facts.tuning),
        "mixed": None if facts.mixed is None else mixed_line(facts.mixed),
        "compression": None if facts.compression is None else compression_line(facts.compression),
        "limits": [
            made(facts, "for"),
            *_longest(facts),
            *_chosen_there(facts),
            smallness(facts, facts.pretrained, f"{learnt_from}: it knows little of the world."),
        ],
    }


def _longest(facts: CardFacts) -> list[str]:
    lines = ["The order of words counts inside n-grams alone."] if facts.architecture.features is not None else []
    limit = facts.architecture.limit
    if limit is not None:
        lines.append(
            f"It has learnt {limit} positions and reads no more tokens of a text: longer ones were cut, in the "
            "evaluation too, and `truncation=True` cuts them in use."
        )
    if facts.cut is not None and facts.cut.texts:
        return [*lines, cut_line(facts)]
    return lines if facts.architecture.features is not None else [*lines, _whole(facts)]


def _whole(facts: CardFacts) -> str:
    longest = facts.architecture.max_length
    if facts.cut is None:
        return (
            f"{_rows(facts).capitalize()} of more than {longest} tokens were cut, in training and in the evaluation: "
            f"how well it reads whole long {_rows(facts)} is not measured."
        )
    return f"None of the {_rows(facts)} that it was trained on has more than {longest} tokens."


def _rows(facts: CardFacts) -> str:
    return "texts" if facts.pairs is None else "pairs"


def cut_line(facts: CardFacts) -> str:
    """Say how much of the training texts the model has not seen."""
    assert facts.cut is not None
    texts, tokens = percent(facts.cut.texts), percent(facts.cut.tokens)
    share = f"{texts} of the {_rows(facts)} were longer, and {tokens} of the tokens were left out"
    whole = "" if facts.architecture.limit is not None else " The evaluated ones were read whole."
    return f"Its training {_rows(facts)} were cut to {facts.architecture.max_length} tokens: {share}.{whole}"


def tuning_line(tuning: TuningFacts) -> str:
    """Say what a search tried, and what won."""
    score = SCORES[tuning.metric]
    given = "no model" if tuning.given_score is None else number(tuning.given_score, score)
    reached = f"{title(score)} {number(tuning.score, score)}, with the settings as given {given}"
    size = "" if tuning.target_mb is None else f", compressed to {tuning.target_mb:g} MB"
    won = ", ".join(f"{name} {value}" for name, value in tuning.settings.items())
    return (
        f"the best of {tuning.tried} tried in {tuning.minutes:.1f} minutes on the validation rows{size}: {reached}. "
        f"Chosen: {won}. With seed {tuning.seed}, autotune.trials={tuning.tried} tries the same again."
    )


def compression_line(small: CompressionFacts) -> str:
    """Say how a model was made small, and at what cost."""
    rows = f"{small.rows:,} of {small.rows_before:,} vectors, {small.row_bytes} bytes each"
    told = f"from {small.mb_before:.2f} MB to {small.mb:.2f} MB ({rows})"
    if small.metric is None or small.score is None or small.score_before is None:
        return f"{told}."
    score = SCORES[small.metric]
    scores = f"{number(small.score_before, score)} before, {number(small.score, score)} after"
    return f"{told}; {title(score)} on the validation rows: {scores}."


def mixed_line(mixed: MixedFacts) -> str:
    """Say how much of the model's answer is that of the regression beside its network."""
    beside = "Beside the network stands a regression on words and runs of words"
    if not mixed.of_regression:
        return f"{beside}, which counts nothing: it did not help."
    loss, alone = f"{mixed.loss:.3f}", f"{mixed.network_loss:.3f}"
    return (
        f"{beside} (C={mixed.strength:g}). Its scores count {mixed.of_regression:g} times, those of the network "
        f"{mixed.of_network:g} times: the loss on the validation rows is {loss}, of the network alone {alone}."
    )


def _chosen_there(facts: CardFacts) -> list[str]:
    if facts.data.evaluated_split != "validation":
        return []
    if facts.tuning is not None:
        return ["Its settings were chosen on the rows that it is measured on: expect less on others."]
    if facts.chosen_on_validation:
        return ["Validation, on which it is measured, also chose the model: expect less on other rows."]
    return []


def _candidate(row: CandidateFacts) -> str:
    score = f"{row.score:.4f}" if row.metric not in SCORES else number(row.score, SCORES[row.metric])
    how = ", ".join([*(["kept"] if row.is_kept else []), *(["its time was over"] if row.is_cut else [])])
    return f"{code(row.name)} | {score} | {row.minutes:.1f} | {how or '-'}"


def _example(row: Example) -> list[str]:
    return [cell(row.text), code(row.predicted), code(row.expected), f"{row.score:.2f}"]


def _shown_metrics(facts: CardFacts) -> list[str]:
    """Leave Micro F1 out where every text has one label: there it is the accuracy under another name."""
    repeats = facts.problem_type == "single_label_classification" and "accuracy" in facts.metric_names
    return [name for name in facts.metric_names if not (repeats and name == "f1_micro")]
