"""A bag of words and n-grams in one call: texts and labels from wherever they are, a tokenizer, a model, its training.

model, tokenizer = hfseq.train_bag("train.txt", validation="valid.txt", word_ngrams=2, num_train_epochs=5)
"""

import dataclasses
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeAlias, cast

from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from ...data.label_files import LabelFiles
from ...data.sources import is_table, read_splits
from ...data.text import DataSettings, TextTask, labelled_texts, tokenize_dataset
from ...evaluation.trainer_metrics import check_metric_for_best_model, classification_metrics
from ...formats.fasttext import LABEL_PREFIX
from ...models.words.bag import BagConfig, BagForSequenceClassification
from ...tokenization import train_tokenizer
from .bag_trainer import BagTrainer, BagTrainingArguments
from .bag_vocabulary import new_bag
from .options import check_options, parted
from .regression import regression_options

Labelled: TypeAlias = str | Path | Dataset | Iterable[tuple[str, Any]]

_READING = ("text_column", "label_column", "label_names")
_VOCABULARY = ("min_count", "max_words")
# The fields of the config that follow from the texts, the labels and the tokenizer, or are of a smaller bag.
_FOLLOW = [
    *("vocab_size", "units", "num_ngrams", "num_words", "num_word_bytes", "num_kept_buckets", "row_codes"),
    *("norm_codes", "pad_token_id", "bos_token_id", "eos_token_id"),
]
_CONFIGURED = [
    item.name
    for item in dataclasses.fields(BagConfig)
    if item.name not in _FOLLOW and item.name not in PreTrainedConfig.__dataclass_fields__
]
_TRAINING = [item.name for item in dataclasses.fields(BagTrainingArguments)]
_TOLD = [*_READING, *_VOCABULARY, *_CONFIGURED, "and the fields of BagTrainingArguments, such as learning_rate"]
_TOLD += ["num_train_epochs", "num_threads", "seed", "output_dir"]

# What a user of fastText types, of what is not the config's.
_OF_FASTTEXT = {
    "input": "source",
    "lr": "learning_rate",
    "epoch": "num_train_epochs",
    "epochs": "num_train_epochs",
    "thread": "num_threads",
    "threads": "num_threads",
    "workers": "num_threads",
    "minCount": "min_count",
    "autotuneValidationFile": "validation",
    "verbose": "disable_tqdm",
}
_OF_FASTTEXT_ALONE = {
    "ws": "a classifier has no window",
    "neg": "there is no negative sampling: all labels are scored, or those on a path (hierarchical_softmax=True)",
    "minCountLabel": "rare labels are kept; remove their rows from the data",
    "lrUpdateRate": "the learning rate falls with each text",
    "t": "frequent words are not sampled; weighting='tfidf' makes them count less",
}
_LOSSES = {
    "hs": "give hierarchical_softmax=True instead",
    "ova": "texts whose labels are lists, or lines with several labels, are trained one-vs-all by themselves",
    "softmax": "it is the loss of texts with one label each",
    "ns": _OF_FASTTEXT_ALONE["neg"],
}


def train_bag(
    source: Labelled,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    validation: Labelled | None = None,
    **options: Any,
) -> tuple[BagForSequenceClassification, PreTrainedTokenizerFast]:
    """Train a classifier of texts; return it and its tokenizer.

    One label a text is trained by softmax, lists of labels one-vs-all, floats by regression. `solver="regression"`
    finds the best weights of a wide model at once, see `hfseq.BagTrainer`: often better on up to some 10,000 texts.

    Args:
        source: A text file in fastText's format (`__label__good A text`), a CSV, TSV, JSON or Parquet file, a dataset,
            or pairs of a text and its label, or list of labels.
        tokenizer: What a word is; without one the model cuts texts at white space, exactly as fastText does.
        validation: Texts to evaluate on after each epoch, of any such kind.
        **options: Fields of `BagConfig` (`hidden_size=100`, `word_ngrams=2` ...) and of `BagTrainingArguments`
            (`num_train_epochs=5` ...); of a bag without a tokenizer `min_count` and `max_words`, see `new_bag`, and
            `lowercase`; `text_column`, `label_column` and `label_names` of a table, see the recipe's section `data`.
    """
    _check(options, tokenizer)
    reading, vocabulary, configured, training = parted(options, _READING, _VOCABULARY, _CONFIGURED, _TRAINING)
    task = _read(source, validation, reading, configured.get("label_prefix", LABEL_PREFIX))
    if tokenizer is None:
        lowercase = configured.pop("lowercase", False)
        tokenizer = train_tokenizer(task.dataset["train"], kind="byte", lowercase=lowercase)
    names = dict(enumerate(task.classes.names))
    configured |= {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    seed = training.get("seed", BagTrainingArguments.__dataclass_fields__["seed"].default)
    texts = task.dataset["train"]
    if training.get("solver") == "regression":
        configured = regression_options(texts, configured)
    model = new_bag(tokenizer, texts, seed=seed, problem_type=task.problem_type, **vocabulary, **configured)
    with _folder(training) as folder:
        defaults = {"output_dir": folder, "eval_strategy": "no" if validation is None else "epoch"}
        if "output_dir" not in training:
            defaults["save_strategy"] = "no"
        args = BagTrainingArguments(**defaults | training)
        check_metric_for_best_model(args.metric_for_best_model, task.problem_type)
        # A bag of bytes learns from the texts themselves: a table of their bytes would be eight times as large.
        as_they_are = ("train",) if model.config.units == "bytes" else ()
        tokens = {
            split: rows if split in as_they_are else tokenize_dataset(rows, tokenizer)
            for split, rows in task.dataset.items()
        }
        trainer = BagTrainer(
            model,
            args,
            train_dataset=tokens["train"],
            eval_dataset=tokens.get("validation"),
            processing_class=tokenizer,
            compute_metrics=classification_metrics(task.problem_type),
        )
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    return trainer.bag.eval(), tokenizer  # a regression puts another bag in the place of the given one


def _folder(training: dict[str, Any]) -> Any:
    """Return where the Trainer writes: into a temporary folder, where nobody asked for files."""
    if "output_dir" in training:
        return nullcontext(training["output_dir"])
    return tempfile.TemporaryDirectory(prefix="hfseq_bag_")


def _check(options: dict[str, Any], tokenizer: PreTrainedTokenizerFast | None) -> None:
    for name in options:
        cure = _LOSSES.get(str(options[name])) if name == "loss" else _OF_FASTTEXT_ALONE.get(name)
        if cure is not None:
            raise ValueError(f"train_bag: unknown option {name}={options[name]!r}; leave it out: {cure}.")
    known = [*_READING, *_VOCABULARY, *_CONFIGURED, *_TRAINING, "source", "validation", "tokenizer"]
    check_options("train_bag", options, known, elsewhere=_OF_FASTTEXT, config=BagConfig, told=_TOLD)
    for name in (*_VOCABULARY, "lowercase"):
        if tokenizer is not None and name in options:
            raise ValueError(
                f"train_bag: {name}={options[name]!r} is for bags without a tokenizer: the one given has its own "
                "vocabulary. Leave it out, or give it to train_tokenizer."
            )


def _read(source: Labelled, validation: Labelled | None, reading: dict[str, Any], prefix: str) -> TextTask:
    files = LabelFiles(prefix)
    given = {"train": source} if validation is None else {"train": source, "validation": validation}
    settings = DataSettings(path="as given", **reading)
    argument = {"train": "source", "validation": "validation"}
    splits = {split: _rows(argument[split], each, settings, files) for split, each in given.items()}
    return labelled_texts(files.settled(splits), settings)


def _rows(name: str, given: Labelled, settings: DataSettings, files: LabelFiles) -> Dataset:
    if isinstance(given, Dataset):
        return given
    if isinstance(given, str | Path):
        path = Path(given).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{name}={str(given)!r} is no file (looked from {Path.cwd()}).")
        if is_table(path):
            return read_splits(dataclasses.replace(settings, path=str(path)))["train"]
        return files.read_any(path)
    pairs = list(cast(Iterable[Any], given))
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(f"{name}, row {number}: {pair!r} is no pair of a text and a label, as ('A text', 'good').")
    if not pairs:
        raise ValueError(f"{name} holds no texts: it is empty, or an iterator that is already used up.")
    texts, labels = zip(*pairs, strict=True)
    return Dataset.from_dict(
        {settings.text_column or "text": list(texts), settings.label_column or "label": list(labels)}
    )
