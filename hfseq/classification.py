"""The parts of the text classification recipe: its settings, its model, and the facts of its card.

`recipes/text_classification.py` strings them together in eight steps.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from datasets import Dataset
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast, pipeline
from transformers.utils import logging

from .data.text import DataSettings, TextTask
from .data.vector_files import Format
from .data.vectors import EmbeddingSettings, embedding_matrix
from .facts import (
    ArchitectureFacts,
    CardFacts,
    Comparison,
    DataFacts,
    Examples,
    SeedRun,
    collect_examples,
    collect_regression_examples,
    environment,
    measure_speed,
    model_size_mb,
    widget_entries,
)
from .metrics import SCORES
from .publishing import CardWords, HubSettings
from .registry import FAMILIES
from .settings import check_known, fields_of
from .tokenization import Kind, train_tokenizer, unknown_rate
from .training import SequenceTrainingArguments

logger = logging.get_logger(__name__)

TASK: Final = "text-classification"
_FILLED_IN = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "freeze_embeddings")
_FROM_TRANSFORMERS = tuple(item.name for item in dataclasses.fields(PreTrainedConfig))
_SPEED_TEXTS = 512


@dataclass
class TokenizerSettings:
    """How texts become tokens, see `train_tokenizer`."""

    kind: Kind = field(default="word", metadata={"help": "what a token is, see hfseq.tokenization"})
    vocab_size: int = field(default=10_000, metadata={"help": "most entries, special tokens included"})
    min_frequency: int | None = field(
        default=None, metadata={"help": "rarer words or merges are left out; null: 2 (unigram has no such threshold)"}
    )
    lowercase: bool = field(default=True, metadata={"help": "lower-case the texts"})
    max_length: int = field(default=128, metadata={"help": "longer texts are cut to so many tokens"})
    padding_side: Literal["left", "right"] = field(default="right", metadata={"help": "changes no answer"})


@dataclass(kw_only=True)
class CardSettings(CardWords):
    """What the model card says and no run can measure."""

    ask: list[str] = field(metadata={"help": "sentences of our own that the finished model answers"})

    def __post_init__(self) -> None:
        """Refuse before the training what the card would refuse after it."""
        if not self.ask:
            raise ValueError("card.ask is empty: give one sentence or more, whose answers the card shows.")
        for row in self.comparisons:
            check_known(Comparison(**row).metric, SCORES, "card.comparisons", kind="metric")
        super().__post_init__()


@dataclass
class ClassificationSettings:
    """All settings of the recipe, a section each."""

    data: DataSettings
    card: CardSettings
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    model: dict[str, Any] = fields_of(
        {name: family.config for name, family in FAMILIES.items() if TASK in family.heads},
        without=(*_FILLED_IN, *_FROM_TRANSFORMERS),
    )
    training: dict[str, Any] = fields_of(SequenceTrainingArguments)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint in training.output_dir"})


def make_tokenizer(texts: Dataset, settings: TokenizerSettings) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the texts of the training split."""
    return train_tokenizer(texts, **dataclasses.asdict(settings))


def make_model(
    settings: ClassificationSettings, task: TextTask, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """Build the classifier of the `model` section for these labels and this vocabulary."""
    options = {
        **settings.model,
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "freeze_embeddings": settings.embeddings.freeze,
        "problem_type": task.problem_type,
        "id2label": dict(enumerate(task.label_names)),
        "label2id": {name: index for index, name in enumerate(task.label_names)},
    }
    family = FAMILIES[options.pop("type")]
    model = family.heads[TASK](family.config(**options))
    if settings.embeddings.from_pretrained is not None:
        _fill_embeddings(model, tokenizer, settings.embeddings.from_pretrained, settings.embeddings.format)
    return model


def _fill_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, source: str, format: Format) -> None:
    """Copy pretrained word vectors into the rows that have one."""
    found = embedding_matrix(tokenizer, source, format)
    width = model.config.embedding_size
    if found.matrix.shape[1] != width:
        raise ValueError(
            f"The vectors in {source} have {found.matrix.shape[1]} numbers, the model's embeddings {width}. "
            f"Set model.embedding_size to {found.matrix.shape[1]}."
        )
    weight = model.get_input_embeddings().get_parameter("weight")
    with torch.no_grad():
        weight[torch.from_numpy(found.known)] = torch.from_numpy(found.matrix[found.known])
    logger.warning("%s covers %.1f %% of the vocabulary.", source, 100 * found.coverage)


def card_facts(
    settings: ClassificationSettings,
    task: TextTask,
    split: str,
    folder: Path,
    *,
    logits: np.ndarray,
    run: SeedRun,
    command: str,
) -> CardFacts:
    """Gather what the card says: from the settings, from the run, and measured on the saved model.

    Args:
        settings: Of the run.
        task: The data.
        split: The split that was evaluated.
        folder: The saved model; it is loaded back on the CPU, as anybody would load it.
        logits: The model's outputs on that split.
        run: Seed, metrics and minutes.
        command: The launch line.
    """
    card, rows = settings.card, task.dataset[split]
    pipe = pipeline(TASK, model=str(folder), device="cpu")
    model, tokenizer = pipe.model, cast(PreTrainedTokenizerFast, pipe.tokenizer)
    return CardFacts(
        model_id=card.model_id,
        summary=card.summary,
        task=TASK,
        problem_type=task.problem_type,
        language=card.language,
        license=card.license,
        parameters=model.num_parameters(),
        file_mb=model_size_mb(folder),
        architecture=_architecture(settings, model),
        data=DataFacts(
            name=card.data_name,
            license=card.data_license,
            domain=card.data_domain,
            splits={name: part.num_rows for name, part in task.dataset.items()},
            evaluated_split=split,
            vocabulary_size=model.config.vocab_size,
            unknown_rate=unknown_rate(tokenizer, rows),
            hub_id=_hub_id(settings.data),
            url=card.data_url,
            restriction=card.data_restriction,
        ),
        runs=[run],
        speed=measure_speed(pipe, rows["text"][:_SPEED_TEXTS]),
        environment=environment(),
        command=command,
        examples=Examples() if card.data_restriction else _examples(task, rows, logits),
        widgets=widget_entries(pipe, card.ask),
        comparisons=[*_baselines(task, split), *(Comparison(**row) for row in card.comparisons)],
        pretrained=settings.embeddings.from_pretrained and Path(settings.embeddings.from_pretrained).name,
        limits=card.limits,
        citations=card.citations,
        license_name=card.license_name,
        license_link=card.license_link,
    )


def _hub_id(data: DataSettings) -> str | None:
    """Name the data set of the Hub that was read: none where local files took its place or the data were generated."""
    return data.name if data.path is None and data.name != "embedded" else None


def _architecture(settings: ClassificationSettings, model: PreTrainedModel) -> ArchitectureFacts:
    config = model.config
    family = next(family for family in FAMILIES.values() if isinstance(config, family.config))
    return ArchitectureFacts(
        family=family.name,
        cell=config.cell if family.name == "custom" else family.name.upper(),
        num_hidden_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        embedding_size=config.embedding_size,
        bidirectional=config.bidirectional,
        pooling=config.pooling,
        max_length=settings.tokenizer.max_length,
    )


def _examples(task: TextTask, rows: Dataset, logits: np.ndarray) -> Examples:
    if task.problem_type == "regression":
        return collect_regression_examples(rows["text"], rows["labels"], logits.reshape(-1).tolist())
    values = torch.from_numpy(logits).float()
    if task.problem_type == "single_label_classification":
        scores, predicted = values.softmax(-1).max(-1)
        names = [task.label_names[index] for index in predicted.tolist()]
        return collect_examples(rows["text"], [task.label_names[i] for i in rows["labels"]], names, scores.tolist())
    shares = values.sigmoid()
    expected = [_joined(task, row) for row in np.asarray(rows["labels"]) > 0.5]
    names = [_joined(task, row) for row in (shares > 0.5).numpy()]
    certainty = torch.maximum(shares, 1 - shares).amin(-1)  # of the label the model is least sure of
    return collect_examples(rows["text"], expected, names, certainty.tolist())


def _joined(task: TextTask, chosen: np.ndarray) -> str:
    return ", ".join(name for name, yes in zip(task.label_names, chosen, strict=True) if yes) or "none"


def _baselines(task: TextTask, split: str) -> list[Comparison]:
    """Accuracy of two systems that read no order, measured in this run: the commonest class, and a bag of words."""
    if task.problem_type != "single_label_classification":
        return []
    # Whole columns: iterating over one of a Dataset reads it row by row.
    train, rows = task.dataset["train"][:], task.dataset[split][:]
    labels = np.asarray(rows["labels"])
    commonest = Counter(train["labels"]).most_common(1)[0][0]
    words = make_pipeline(CountVectorizer(token_pattern=r"\w+|[^\w\s]"), LogisticRegression(max_iter=300))
    words.fit(train["text"], train["labels"])
    source = "measured in the same run"
    return [
        Comparison(
            name="Most frequent class", metric="accuracy", value=float((labels == commonest).mean()), source=source
        ),
        Comparison(
            name="Bag of words (logistic regression on word counts)",
            metric="accuracy",
            value=float(words.score(rows["text"], labels)),
            source=source,
        ),
    ]
