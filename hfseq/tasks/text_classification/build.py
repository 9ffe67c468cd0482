"""The parts of `recipes/text_classification.py`: its data, tokens and model, and the facts of its card."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from transformers import AutoConfig, AutoTokenizer, Pipeline, PreTrainedModel, PreTrainedTokenizerFast, pipeline
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER
from transformers.utils import logging

from ...cards.confusion import Confusion, most_confused
from ...cards.facts import Examples, SeedRun
from ...cards.measure import collect_examples, collect_regression_examples, widget_entries
from ...data.text import Cut, TextTask, all_texts, as_asked, joined_texts, load_text_dataset, tokenize_dataset
from ...evaluation.scores import as_wide, compute_score
from ...evaluation.trainer_metrics import PROBLEMS
from ...recipe.embeddings import fill_embeddings
from ...recipe.pictures import draw_confusion
from ...recipe.publish import run_facts, split_line
from ...recipe.sections import build_model, label_options, token_options
from ...recipe.texts import most_tokens, speed_line, text_facts
from ...registry import FAMILIES
from ...tokenization.files import load_tokenizer
from ...tokenization.limits import reading_options, text_limit
from ...training.arguments import SequenceTrainingArguments
from ...training.trainer import SequenceTrainer
from ...training.words.bag_trainer import BagTrainer, BagTrainingArguments
from ...training.words.bag_vocabulary import new_bag
from ...training.words.regression import regression_options
from .auto import candidate_lines
from .card import compression_line, cut_line, mixed_line, tuning_line
from .confusion import group_ids
from .facts import SAME_LABELS, CardFacts, CutFacts
from .rivals import rivals
from .settings import (
    TASK,
    ClassifierParts,
    LabelledTexts,
    TextClassificationSettings,
    TokenizerSettings,
    TransferSettings,
    check_length,
)

logger = logging.get_logger(__name__)

_MEASURED_BESIDE = 2  # scores of classes that simple systems are measured by; the first is the one that people quote
_FEWEST_ROWS_TO_CUT, _TEST_SHARE = 500, 0.1


def load(settings: LabelledTexts) -> TextTask:
    """Load texts and labels, with `train_rows` of the training rows, and with a test split cut off where none is."""
    task = _with_test(load_text_dataset(settings), settings)
    train = task.dataset["train"]
    if settings.train_rows is None or settings.train_rows >= train.num_rows:
        return task
    order = np.random.default_rng(settings.seed).permutation(train.num_rows)
    if task.problem_type != "regression":
        order = _every_class_first(order, np.asarray(train.with_format("numpy")[:]["labels"]), settings.train_rows)
    dataset = DatasetDict({**task.dataset, "train": train.select(order[: settings.train_rows])})
    return dataclasses.replace(task, dataset=dataset)


def _with_test(task: TextTask, settings: LabelledTexts) -> TextTask:
    """Cut rows off train that choose nothing, for validation chooses the model: its score is too good."""
    train = task.dataset["train"]
    if "test" in task.dataset or settings.splits is not None or train.num_rows < _FEWEST_ROWS_TO_CUT:
        return task
    cut = train.train_test_split(_TEST_SHARE, seed=settings.seed)
    rows = cut["test"].num_rows
    logger.warning("The data have no test split: %d rows, a tenth of train, are kept aside as one.", rows)
    return dataclasses.replace(task, dataset=DatasetDict({**task.dataset, "train": cut["train"], "test": cut["test"]}))


def _every_class_first(order: np.ndarray, labels: np.ndarray, train_rows: int) -> np.ndarray:
    has = labels[order] > 0.5 if labels.ndim == 2 else labels[order, None] == np.unique(labels)  # (rows, classes)
    first = np.unique(has.argmax(0)[has.any(0)])
    if len(first) > train_rows:
        raise ValueError(f"data.train_rows={train_rows} cannot hold a row of each class: it takes {len(first)}.")
    return np.concatenate([order[first], np.delete(order, first)])


def longest_text(settings: ClassifierParts) -> int | None:
    """Return how many tokens of a text the model can read, where its positions are learnt; None: any number."""
    model, source, revision = settings.model, settings.transfer.from_pretrained, settings.transfer.revision
    if source is not None:
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        model = config.to_dict() | model
    limit = most_tokens(model)
    check_length(cast(int, settings.tokenizer.max_length), limit)
    return limit


def make_tokenizer(
    texts: Dataset,
    settings: TokenizerSettings,
    transfer: TransferSettings | None = None,
    *,
    limit: int | None = None,
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the texts of the training split, or take that of the language model.

    The longest text that it is saved with is `limit`, that of the model: `tokenizer.max_length` is of training alone.

    A language model is saved with a tokenizer that leaves the end of a prompt open. A text to be classified has an
    end: it gets the `</s>` that the model has met between texts, and keeps the `<s>` where the model has met one.
    """
    if transfer is None or transfer.from_pretrained is None:
        return settings.train(all_texts(texts), max_length=limit, padding_side=settings.padding_side)
    source = transfer.from_pretrained
    tokenizer = load_tokenizer(source, revision=transfer.revision, padding_side=settings.padding_side)
    if tokenizer.pad_token_id is None:
        raise ValueError(f"The tokenizer of {source!r} has no padding token, so its texts cannot stand in batches.")
    # Both, for setting one drops the other.
    tokenizer.add_bos_token = tokenizer.bos_token_id in tokenizer("")["input_ids"]
    tokenizer.add_eos_token = tokenizer.eos_token_id is not None
    tokenizer.model_max_length = VERY_LARGE_INTEGER if limit is None else limit
    return cast(PreTrainedTokenizerFast, tokenizer)


def make_tokens(task: TextTask, tokenizer: PreTrainedTokenizerFast, settings: TokenizerSettings) -> DatasetDict:
    """Turn the texts of all splits into ids: training texts cut to `tokenizer.max_length`, all others as used.

    A pipeline reads a text whole, or as far as learned positions go; so validation and test are read.
    """
    limit, tokens = text_limit(tokenizer), {}
    for name, rows in task.dataset.items():
        most = settings.max_length if name == "train" else limit
        tokens[name] = tokenize_dataset(rows, tokenizer, most)
        cut = Cut.of(tokens[name])
        if cut.texts:
            reason = "tokenizer.max_length" if name == "train" else "the learned positions of the model"
            told = f"{100 * cut.texts:.1f} % are longer, {100 * cut.tokens:.1f} % of all tokens are left out"
            logger.warning("The texts of split %r are cut to %d tokens (%s): %s.", name, most, reason, told)
    return DatasetDict(tokens)


def training_cut(tokens: DatasetDict) -> CutFacts:
    """Say what of the training texts the model has not seen."""
    return CutFacts(**Cut.of(tokens["train"])._asdict())


def make_model(settings: ClassifierParts, task: TextTask, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the classifier of the `model` section for these labels and this vocabulary."""
    options = {**label_options(task.classes.names), "problem_type": task.problem_type}
    if settings.model["type"] == "bag":
        return _new_bag(settings, task, tokenizer, options)
    options["freeze_embeddings"] = settings.embeddings.freeze
    if settings.transfer.from_pretrained is not None:
        return _from_language_model({**settings.model, **options}, settings.transfer, tokenizer)
    model = build_model(TASK, settings.model, **options, **token_options(tokenizer))
    fill_embeddings(model, tokenizer, settings.embeddings)
    return model


def make_arguments(settings: ClassifierParts) -> SequenceTrainingArguments:
    """Build the training arguments, which a bag has its own of."""
    is_bag = settings.model["type"] == "bag"
    return (BagTrainingArguments if is_bag else SequenceTrainingArguments)(**settings.training)


def make_trainer(model: PreTrainedModel, args: SequenceTrainingArguments, **options: Any) -> SequenceTrainer:
    """Build what trains the model: for a bag, `BagTrainer`."""
    kind: Any = BagTrainer if isinstance(args, BagTrainingArguments) else SequenceTrainer
    return cast(SequenceTrainer, kind(model, args, **options))


def _new_bag(
    settings: ClassifierParts, task: TextTask, tokenizer: PreTrainedTokenizerFast, options: dict[str, Any]
) -> PreTrainedModel:
    section, words = {**settings.model, **options}, settings.tokenizer
    del section["type"]
    texts = all_texts(task.dataset["train"])
    if settings.training.get("solver") == "regression":
        section = regression_options(texts, section)
    model = new_bag(
        tokenizer,
        texts,
        seed=int(settings.training.get("seed", 42)),
        min_count=words.min_count or 2,
        max_words=words.vocab_size,
        **section,
    )
    fill_embeddings(model, tokenizer, settings.embeddings)
    return model


def _from_language_model(
    options: dict[str, Any], transfer: TransferSettings, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """Put a new head on the body of a language model, whose config the options change where they say something."""
    name, source, revision = options.pop("type"), cast(str, transfer.from_pretrained), transfer.revision
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    held = next((other for other, family in FAMILIES.items() if isinstance(config, family.config)), config.model_type)
    if held != name:
        raise ValueError(f"model.type={name!r}, but {source!r} holds a model of type {held!r}: give the same.")
    if len(tokenizer) > config.vocab_size:
        sizes = f"{len(tokenizer)} entries, its model {config.vocab_size}"
        raise ValueError(f"The tokenizer of {source!r} has {sizes}: they do not belong together.")
    head: Any = FAMILIES[name].heads[TASK]
    options |= {"output_loading_info": True, "dtype": torch.float32}
    model, info = head.from_pretrained(source, revision=revision or "main", trust_remote_code=False, **options)
    new, total = sorted(info["missing_keys"]), len(model.state_dict())
    told = ", ".join(new) or "none"
    logger.warning("%d of %d tensors come from %s; new: %s.", total - len(new), total, source, told)
    return cast(PreTrainedModel, model)


def published_pipeline(folder: Path) -> Pipeline:
    """Load the saved model on the CPU as anybody would, and as its card says."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    options = {"tokenizer": tokenizer, "device": "cpu", **reading_options(tokenizer)}
    return pipeline(TASK, model=str(folder), trust_remote_code=False, **options)


def card_facts(
    settings: TextClassificationSettings,
    task: TextTask,
    split: str,
    folder: Path,
    *,
    logits: np.ndarray,
    run: SeedRun,
    **made: Any,
) -> CardFacts:
    """Gather what the card says of the run and of the saved model, whose outputs on the split are `logits`.

    Args:
        **made: `cut`, what the training texts lost; `tuning`, `compression`, `candidates` and `mixed`, where there
            were any.
    """
    card, rows = settings.card, task.dataset[split]
    pipe = published_pipeline(folder)
    shared = text_facts(settings, task.dataset, as_asked(rows), split, pipe)
    if (source := settings.transfer.from_pretrained) is not None:  # a Hub id in full, of a folder its last part
        name = Path(source).resolve().name if Path(source).exists() else source
        shared["pretrained"] = f"the body of the language model {name}"
    measure = partial(_scores, task, rows, card.same_labels)
    if task.problem_type == "single_label_classification":
        shared |= {"same_labels": card.same_labels, "confusions": _confusions(task, rows, logits)}
        draw_confusion(task.classes.all_names, np.asarray(rows["labels"]), logits.argmax(-1), folder)
        run = dataclasses.replace(run, metrics=_with_groups(run.metrics, measure(logits.argmax(-1))))
    beside = rivals(task, rows, card.rivals, measure)
    is_chosen = bool(settings.training.get("load_best_model_at_end") or made.get("candidates") or made.get("mixed"))
    return CardFacts(
        **run_facts(card, pipe.model, folder, run),
        **shared,
        task=TASK,
        problem_type=task.problem_type,
        pairs=getattr(pipe.model.config, "pairs", "joined") if task.has_pairs else None,
        examples=Examples() if not card.shows_rows else _examples(task, rows, logits),
        widgets=widget_entries(pipe, card.ask),
        comparisons=[*beside, *card.published()],
        chosen_on_validation=is_chosen,
        **made,
    )


def report_lines(facts: CardFacts) -> Iterator[str]:
    """Say of the finished model what it answers, how good and how fast it is."""
    for widget in facts.widgets:
        yield f"{widget.text!r:60} -> {widget.output[0].label} ({widget.output[0].score:.2f})"
    if facts.cut is not None and facts.cut.texts:
        yield cut_line(facts)
    if facts.tuning is not None:
        yield f"settings: {tuning_line(facts.tuning)}"
    if facts.compression is not None:
        yield f"made small: {compression_line(facts.compression)}"
    yield from candidate_lines(facts.candidates)
    if facts.mixed is not None:
        yield mixed_line(facts.mixed)
    split, is_chosen = facts.data.evaluated_split, facts.chosen_on_validation or facts.tuning is not None
    told = ", which also chose the model" if is_chosen and split == "validation" else ""
    yield split_line(split + told, facts.runs[0].metrics)
    yield speed_line(facts.speed)


def _examples(task: TextTask, rows: Dataset, logits: np.ndarray) -> Examples:
    texts = joined_texts(rows, between=" / ")
    if task.problem_type == "regression":
        return collect_regression_examples(texts, rows["labels"], logits.reshape(-1).tolist())
    values = torch.from_numpy(logits).float()
    if task.problem_type == "single_label_classification":
        scores, predicted = values.softmax(-1).max(-1)
        names = [task.classes.names[index] for index in predicted.tolist()]
        return collect_examples(texts, [task.classes.all_names[i] for i in rows["labels"]], names, scores.tolist())
    shares = values.sigmoid()
    expected = [_joined(task, row) for row in np.asarray(rows["labels"]) > 0.5]
    names = [_joined(task, row) for row in (shares > 0.5).numpy()]
    certainty = torch.maximum(shares, 1 - shares).amin(-1)  # of the label the model is least sure of
    return collect_examples(texts, expected, names, certainty.tolist())


def _scores(task: TextTask, rows: Dataset, groups: list[list[str]], predicted: np.ndarray) -> dict[str, float]:
    """Return the first scores of answers, and for one label a text the accuracy where those of a group are one."""
    labels = np.asarray(rows["labels"])
    names = PROBLEMS[task.problem_type].scores
    if task.problem_type != "regression":  # where an error says nothing of the order, nor the other way round
        names = names[:_MEASURED_BESIDE]
    found = {name: compute_score(name, as_wide(predicted, labels), labels) for name in names}
    if not groups:
        return found
    same = group_ids(task.classes.all_names, groups)
    return found | {SAME_LABELS: float((same[predicted] == same[labels]).mean())}


def _with_groups(metrics: dict[str, float], found: dict[str, float]) -> dict[str, float]:
    """Put the second accuracy behind the first, as people read them together."""
    if SAME_LABELS not in found:
        return metrics
    return {"accuracy": metrics["accuracy"], SAME_LABELS: found[SAME_LABELS]} | metrics


def _confusions(task: TextTask, rows: Dataset, logits: np.ndarray) -> list[Confusion]:
    return most_confused(task.classes.all_names, np.asarray(rows["labels"]), logits.argmax(-1))


def _joined(task: TextTask, chosen: np.ndarray) -> str:
    return ", ".join(name for name, yes in zip(task.classes.all_names, chosen, strict=False) if yes) or "none"
