"""`hfseq evaluate`: the scores of a model on labelled data, read by the rules of training."""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..progress import progress_bar
from .models import CAPTIONS, INTENT_SLOTS, TREES, compares_two, load_pipeline
from .predict import BATCH, answers
from .sources import is_local

_UNKNOWN = -1  # the id of a label that the model does not have: no answer is it
_CHOICES = (  # options that are settings of data, too
    *("text_column", "text_pair_column", "label_column", "column_names"),
    *(
        "image_column",
        "caption_column",
        "target_column",
        "source_language",
        "target_language",
        "intent_column",
        "tree_column",
    ),
)
_NO_TAG = ""  # of a word that a pipeline does not read: it is no tag of any word


def run(options: argparse.Namespace) -> None:
    """Print the scores of the task."""
    pipe = load_pipeline(options.model)
    if pipe.task not in _MEASURES:
        raise ValueError(
            f"hfseq evaluate does not measure models of the task {pipe.task}; only {', '.join(_MEASURES)}."
        )
    from ..data.columns import UnclearColumnError
    from ..data.headers import NoHeaderError

    try:
        found = _MEASURES[pipe.task](pipe, _source(options))
    except NoHeaderError as error:  # its cure, and the next one's, is for `hfseq train`
        raise error.with_cure("--column-names={}", "--text-column=NAME") from error
    except UnclearColumnError as error:
        raise error.with_cure(f"--{error.role.setting.replace('_', '-')}=NAME") from error
    except ValueError as error:
        own = re.sub(rf"--data\.({'|'.join(_CHOICES)})=", lambda found: f"--{found[1].replace('_', '-')}=", str(error))
        if own == str(error):
            raise
        raise ValueError(own) from error
    for name, value in found.items():
        print(f"{name} {value:.4f}")


def _source(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of data settings; the split is read as train and validation, so that nothing is cut off."""
    chosen = {name: value for name in _CHOICES if (value := getattr(options, name)) is not None}
    if is_local(options.data) and Path(options.data).expanduser().is_file():
        return {"path": {"train": options.data, "validation": options.data}, **chosen}
    place = "path" if is_local(options.data) else "name"
    return {place: options.data, "splits": {"train": options.split, "validation": options.split}, **chosen}


def _classes(pipe: Any, source: dict[str, Any]) -> dict[str, float]:
    from ..data.text import DataSettings, as_asked, load_text_dataset
    from ..evaluation.scores import compute_score
    from ..evaluation.trainer_metrics import PROBLEMS

    if compares_two(pipe) and "text_pair_column" not in source:
        raise ValueError("This model compares two texts: name the column of the second with --text-pair-column NAME.")
    task = load_text_dataset(DataSettings(**source))
    rows, problem = task.dataset["train"], pipe.model.config.problem_type or task.problem_type
    if problem != task.problem_type:
        raise ValueError(f"The model is for {problem}, the labels are of {task.problem_type}: look at --label-column.")
    texts = as_asked(rows)
    found = list(progress_bar("Answering", answers(pipe, texts), total=len(texts), unit="text"))
    if problem == "regression":
        expected, predicted = rows["labels"][:], [each["score"] for each in found]
    elif problem == "multi_label_classification":
        expected, predicted = _many(pipe, task.classes.names, rows["labels"][:], found)
    else:
        known = _known_labels(pipe, task.classes.names)
        expected = [known[label] for label in rows["labels"][:]]
        predicted = [pipe.model.config.label2id[each["label"]] for each in found]
    return {name: compute_score(name, predicted, expected) for name in PROBLEMS[problem].scores}


def _many(pipe: Any, names: Sequence[str], labels: Sequence[Any], found: Sequence[Any]) -> tuple[Any, Any]:
    own = list(pipe.model.config.id2label.values())
    every = [*own, *(name for name in names if name not in own)]
    _known_labels(pipe, names)
    told = [{name for name, value in zip(names, row, strict=True) if value > 0.5} for row in labels]
    said = [{each["label"] for each in row["labels"]} for row in found]
    return tuple([[int(name in row) for name in every] for row in rows] for rows in (told, said))  # type: ignore[return-value]


def _known_labels(pipe: Any, names: Sequence[str]) -> list[int]:
    """Return the model's id of each label of the data, by its name; numbers without names are ids."""
    ids = pipe.model.config.label2id
    if not set(names) & set(ids) and all(name.isdigit() and int(name) < len(ids) for name in names):
        return [int(name) for name in names]
    _warn_of_unknown(names, ids, "label")
    return [ids.get(name, _UNKNOWN) for name in names]


def _warn_of_unknown(names: Sequence[str], known: Iterable[str], kind: str) -> None:
    known = set(known)
    if unknown := [name for name in names if name not in known]:
        told = ", ".join(map(repr, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
        print(f"warning: the model has no {kind} {told}; its rows count as wrong.", file=sys.stderr)


def _tags(pipe: Any, source: dict[str, Any]) -> dict[str, float]:
    from ..data.tagged import TaggedSettings, load_tagged
    from ..evaluation.entities import OUTSIDE
    from ..evaluation.tag_words import tag_words
    from ..evaluation.tags import score_tags
    from ..evaluation.trainer_metrics import TAGGING
    from ..tokenization.limits import text_limit

    task = load_tagged(TaggedSettings(**source))
    _known_labels(pipe, task.classes.names)
    found = tag_words(pipe.model, pipe.tokenizer, task.dataset["train"]["tokens"][:])
    if lost := sum(tags.count(None) for tags in found):
        limit = text_limit(pipe.tokenizer)
        print(f"warning: {lost} words come after the {limit} tokens that the model reads: untagged.", file=sys.stderr)
    untagged = OUTSIDE if task.has_entities else _NO_TAG
    predicted = [[untagged if tag is None else tag for tag in tags] for tags in found]
    scores = TAGGING["entities" if task.has_entities else "tags"]
    return {name: score_tags(name, task.tags("train"), predicted) for name in scores}


def _frames(pipe: Any, source: dict[str, Any]) -> dict[str, float]:
    from ..data.intents import IntentSettings, load_intents
    from ..evaluation.batches import batch_size_for
    from ..evaluation.frames import Frames, score_frames

    task = load_intents(IntentSettings(**source))
    rows, tags = task.dataset["train"], task.tagged.tags("train")
    config: Any = pipe.model.config
    _warn_of_unknown(task.intents.names, config.id2label.values(), "intent")
    _warn_of_unknown(task.slots.names, config.slot_labels, "slot")
    texts = rows["tokens"][:]
    size = batch_size_for(pipe.tokenizer, [" ".join(words) for words in texts], BATCH)
    # Each text gets its likeliest intent: a threshold is measured by coverage, which the card tells.
    options = {"is_split_into_words": True, "unknown_threshold": 0.0, "batch_size": size}
    asked = (words for words in texts)  # of a list all answers come at once, and the bar stands still
    found = list(progress_bar("Answering", pipe(asked, **options), total=len(texts), unit="text"))
    answered = Frames([each["intent"] for each in found], list(map(_iob2, texts, found)))
    return score_frames(Frames(task.intents_of("train"), tags), answered)


def _iob2(words: Sequence[str], found: dict[str, Any]) -> list[str]:
    """Write slots that have places in the words joined by blanks as a tag for each word."""
    from ..evaluation.entities import OUTSIDE

    tags, starts, place = [], {slot["start"]: slot for slot in found["slots"]}, 0
    own = None
    for word in words:
        begins = starts.get(place)
        own = begins or (own if own is not None and place < own["end"] else None)
        tags.append(OUTSIDE if own is None else f"{'B' if begins else 'I'}-{own['name']}")
        place += len(word) + 1
    return tags


def _trees(pipe: Any, source: dict[str, Any]) -> dict[str, float]:
    from ..data.treebanks import TreebankSettings, load_trees
    from ..evaluation.scores import compute_score
    from ..evaluation.trainer_metrics import NODES, ROOT
    from ..models.base import IGNORED

    of_texts = "label_column" in source  # nodes have no labels then
    said = {"labels": "root"} if of_texts else {"label_map": _facts_of(pipe).get("label_map")}
    task = load_trees(TreebankSettings(**said, **source))
    rows, ids = task.dataset["train"], pipe.model.config.label2id
    known = _known_labels(pipe, task.classes.all_names)
    asked = (text for text in rows["tree"][:])  # of a list all answers come at once, and the bar stands still
    found = list(progress_bar("Answering", pipe(asked, batch_size=BATCH), total=rows.num_rows, unit="text"))
    labels = rows["labels"][:]
    roots = [(ids[each["label"]], known[own[-1]]) for each, own in zip(found, labels, strict=True)]
    scores = {ROOT: compute_score(ROOT, *zip(*roots, strict=True))}
    if of_texts or pipe.model.config.tree != "given":  # whose nodes are others
        return scores
    nodes = [
        (ids[node["label"]], known[label])
        for each, own in zip(found, labels, strict=True)
        for node, label in zip(each["tree"], own, strict=True)
        if label != IGNORED
    ]
    return scores | {NODES: compute_score(NODES, *zip(*nodes, strict=True))}


def _texts(pipe: Any, source: dict[str, Any]) -> dict[str, float]:
    from ..data.documents import TEXT, DocumentSettings, load_documents
    from ..data.sources import is_plain_text
    from ..evaluation.language import score

    settings = DocumentSettings(**source)
    if settings.path is not None and is_plain_text(settings.path):
        settings.documents = "whole"
    found = score(pipe.model, pipe.tokenizer, load_documents(settings)["train"][TEXT][:])
    return {name: getattr(found, name) for name in ("nats_per_token", "perplexity", "bits_per_character")}


def _written(pipe: Any, source: dict[str, Any]) -> dict[str, float]:
    from ..data.parallel import SOURCE, TARGET, ParallelSettings, load_parallel
    from ..evaluation.translation import signature, translation_scores

    rows = load_parallel(ParallelSettings(**{**_said_of_pairs(pipe, source), **source}))["train"]
    texts = rows[SOURCE][:]
    found = [
        each["generated"] for each in progress_bar("Writing", answers(pipe, texts), total=len(texts), unit="text")
    ]
    print(f"BLEU: {signature()}", file=sys.stderr)
    return translation_scores(rows[TARGET][:], found)


def _captions(pipe: Any, source: dict[str, Any]) -> dict[str, float]:
    from ..data.captions import CAPTIONS as SAID
    from ..data.captions import IMAGE, CaptionSettings, asked_of, load_captions
    from ..evaluation.translation import signature, translation_scores

    data = _facts_of(pipe).get("data", {})
    task = load_captions(CaptionSettings(**{"lowercase": data.get("lowercase", False), **source}))
    rows = task.dataset["train"]
    pictures = (asked_of(task, number) for number in rows[IMAGE][:])
    answers_of = progress_bar("Writing", pipe(pictures, batch_size=BATCH), total=rows.num_rows, unit="picture")
    found = [each[0]["generated_text"] for each in answers_of]
    print(f"BLEU: {signature(rows[SAID][:])}", file=sys.stderr)
    return translation_scores(rows[SAID][:], found)


def _facts_of(pipe: Any) -> dict[str, Any]:
    """Return the facts beside a model; none where it has none."""
    facts = Path(pipe.model.name_or_path) / "facts.json"
    found: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
    return found


def _said_of_pairs(pipe: Any, source: dict[str, Any]) -> dict[str, Any]:
    """Return what the facts beside a model say of its pairs: its languages, and whether it is an autoencoder."""
    said = _facts_of(pipe)
    names = ("copies_source", "source_language", "target_language")
    found = {name: value for name in names if (value := said.get("data", {}).get(name))}
    if "source_language" in source or "text_column" in source or "target_column" in source:
        return {"copies_source": found.get("copies_source", False)}
    return found


_MEASURES = {
    TREES: _trees,
    "text-classification": _classes,
    "token-classification": _tags,
    INTENT_SLOTS: _frames,
    "text-generation": _texts,
    "text2text-generation": _written,
    CAPTIONS: _captions,
}
