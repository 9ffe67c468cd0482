"""The parts of the text classification recipe: its settings, its model, and the facts of its card.

`recipes/text_classification.py` strings them together in eight steps. A model starts from random weights, from word
vectors (section `embeddings`) or from a whole language model (section `transfer`): its tokenizer, its embeddings and
its layers under a new head, which `training.layer_rate_decay` and `training.unfreeze_every` fine-tune with care.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers import (
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    pipeline,
)
from transformers.utils import logging

from ...cards.facts import ArchitectureFacts, Comparison, DataFacts, Examples, SeedRun
from ...cards.measure import (
    collect_examples,
    collect_regression_examples,
    environment,
    measure_speed,
    model_size_mb,
    widget_entries,
)
from ...cards.words import CardWords
from ...data.text import DataSettings, TextTask, load_text_dataset
from ...data.vector_files import Format
from ...data.vectors import EmbeddingSettings, embedding_matrix
from ...evaluation.scores import SCORES
from ...recipe.publish import HubSettings
from ...registry import FAMILIES
from ...settings import check_known, fields_of, known_fields
from ...tokenization import Kind, train_tokenizer, unknown_rate
from ...tokenization.files import load_tokenizer
from ...training.arguments import SequenceTrainingArguments
from .facts import CardFacts

logger = logging.get_logger(__name__)

TASK: Final = "text-classification"
_FILLED_IN = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "freeze_embeddings")
_FROM_TRANSFORMERS = tuple(item.name for item in dataclasses.fields(PreTrainedConfig))
_SPEED_TEXTS = 512
_KEPT_OF_TOKENIZER = ("max_length", "padding_side")  # with a language model's tokenizer


@dataclass
class LabelledTexts(DataSettings):
    """Which texts and labels to learn from, and from how many of them."""

    train_rows: int | None = field(
        default=None, metadata={"help": "training rows kept, drawn with `seed`, some of each class; null: all"}
    )

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to learn from."""
        super().__post_init__()
        if self.train_rows is not None and self.train_rows < 1:
            raise ValueError(f"train_rows={self.train_rows} must be at least 1; null keeps every row.")


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


@dataclass
class TransferSettings:
    """The language model that the classifier starts from."""

    from_pretrained: str | None = field(
        default=None,
        metadata={"help": "its folder or Hub id: tokenizer, embeddings and layers come from there; null: none"},
    )
    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit of a Hub id"})

    def __post_init__(self) -> None:
        """A revision is of something."""
        if self.revision is not None and self.from_pretrained is None:
            raise ValueError(f"revision={self.revision!r} of what? Give from_pretrained as well, or leave it out.")


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

    data: LabelledTexts
    card: CardSettings
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    model: dict[str, Any] = fields_of(
        {name: family.config for name, family in FAMILIES.items() if TASK in family.heads},
        without=(*_FILLED_IN, *_FROM_TRANSFORMERS),
    )
    training: dict[str, Any] = fields_of(SequenceTrainingArguments)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint in training.output_dir"})

    def __post_init__(self) -> None:
        """Refuse sections that would be set aside by another one, and texts that the model has no positions for."""
        if self.transfer.from_pretrained is None:
            _check_length(self.tokenizer.max_length, most_tokens(self.model))
            return
        if self.embeddings.from_pretrained is not None:
            raise ValueError(
                f"embeddings.from_pretrained={self.embeddings.from_pretrained!r} would replace the embeddings that "
                f"transfer.from_pretrained={self.transfer.from_pretrained!r} brings: leave one of the two out."
            )
        for item in dataclasses.fields(TokenizerSettings):
            value = getattr(self.tokenizer, item.name)
            if item.name not in _KEPT_OF_TOKENIZER and value != item.default:
                raise ValueError(
                    f"tokenizer.{item.name}={value!r}: the tokenizer comes from transfer.from_pretrained, and of that "
                    f"section only {' and '.join(_KEPT_OF_TOKENIZER)} still count. Leave {item.name} out."
                )


def most_tokens(model: Mapping[str, Any]) -> int | None:
    """How long a text the learned positions of a `model` section are made for; None: its texts may have any length."""
    if model.get("position_embedding_type") != "learned":
        return None
    if "max_position_embeddings" in model:
        return int(model["max_position_embeddings"])
    return int(cast(Any, FAMILIES[model["type"]].config).max_position_embeddings)


def _check_length(max_length: int, limit: int | None) -> None:
    if limit is not None and limit < max_length:
        raise ValueError(
            f"tokenizer.max_length={max_length} lets texts be longer than the {limit} learned positions of the model "
            "(max_position_embeddings): lower the one or raise the other, or take "
            "model.position_embedding_type=rotary or sinusoidal, which have no such limit."
        )


def load_task(settings: LabelledTexts) -> TextTask:
    """Load texts and labels, with `train_rows` of the training rows."""
    task = load_text_dataset(settings)
    train = task.dataset["train"]
    if settings.train_rows is None or settings.train_rows >= train.num_rows:
        return task
    order = np.random.default_rng(settings.seed).permutation(train.num_rows)
    if task.problem_type != "regression":
        order = _every_class_first(order, np.asarray(train.with_format("numpy")[:]["labels"]), settings.train_rows)
    dataset = DatasetDict({**task.dataset, "train": train.select(order[: settings.train_rows])})
    return dataclasses.replace(task, dataset=dataset)


def _every_class_first(order: np.ndarray, labels: np.ndarray, train_rows: int) -> np.ndarray:
    """Bring the first row of each class to the front of an order, and leave the others as they are."""
    has = labels[order] > 0.5 if labels.ndim == 2 else labels[order, None] == np.unique(labels)  # (rows, classes)
    first = np.unique(has.argmax(0)[has.any(0)])
    if len(first) > train_rows:
        raise ValueError(f"data.train_rows={train_rows} cannot hold a row of each class: it takes {len(first)}.")
    return np.concatenate([order[first], np.delete(order, first)])


def make_tokenizer(
    texts: Dataset, settings: TokenizerSettings, transfer: TransferSettings | None = None
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the texts of the training split, or take that of the language model.

    A language model is saved with a tokenizer that leaves the end of a prompt open. A text to be classified has an
    end: it gets the `</s>` that the model has met between texts, and keeps the `<s>` where the model has met one.
    """
    if transfer is None or transfer.from_pretrained is None:
        return train_tokenizer(texts, **dataclasses.asdict(settings))
    source = transfer.from_pretrained
    tokenizer = load_tokenizer(source, revision=transfer.revision, padding_side=settings.padding_side)
    if tokenizer.pad_token_id is None:
        raise ValueError(f"The tokenizer of {source!r} has no padding token, so its texts cannot stand in batches.")
    # Both, for setting one drops the other.
    tokenizer.add_bos_token = tokenizer.bos_token_id in tokenizer("")["input_ids"]
    tokenizer.add_eos_token = tokenizer.eos_token_id is not None
    tokenizer.model_max_length = settings.max_length
    return tokenizer


def make_model(
    settings: ClassificationSettings, task: TextTask, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """Build the classifier of the `model` section for these labels and this vocabulary."""
    options = {
        **settings.model,
        "freeze_embeddings": settings.embeddings.freeze,
        "problem_type": task.problem_type,
        "id2label": dict(enumerate(task.label_names)),
        "label2id": {name: index for index, name in enumerate(task.label_names)},
    }
    name = options.pop("type")
    if settings.transfer.from_pretrained is not None:
        return _from_language_model(name, options, settings.transfer, tokenizer)
    options |= {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    model = FAMILIES[name].heads[TASK](FAMILIES[name].config(**options))
    if settings.embeddings.from_pretrained is not None:
        fill_embeddings(model, tokenizer, settings.embeddings.from_pretrained, settings.embeddings.format)
    return model


def _from_language_model(
    name: str, options: dict[str, Any], transfer: TransferSettings, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """Put a new head on the body of a language model, whose config the options change where they say something."""
    source, revision = cast(str, transfer.from_pretrained), transfer.revision
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    held = next((other for other, family in FAMILIES.items() if isinstance(config, family.config)), config.model_type)
    if held != name:
        raise ValueError(f"model.type={name!r}, but {source!r} holds a model of type {held!r}: give the same.")
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"The tokenizer of {source!r} has {len(tokenizer)} entries, its model {config.vocab_size}: they do not "
            "belong together."
        )
    head: Any = FAMILIES[name].heads[TASK]
    model, info = head.from_pretrained(
        source,
        revision=revision or "main",
        output_loading_info=True,
        dtype=torch.float32,
        trust_remote_code=False,
        **options,
    )
    _check_length(tokenizer.model_max_length, most_tokens(model.config.to_dict()))
    new = sorted(info["missing_keys"])
    logger.warning(
        "%d of %d tensors come from %s; new: %s.",
        len(model.state_dict()) - len(new),
        len(model.state_dict()),
        source,
        ", ".join(new) or "none",
    )
    return model


def fill_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, source: str, format: Format) -> None:
    """Copy pretrained word vectors into the rows that have one."""
    found = embedding_matrix(tokenizer, source, format)
    width = model.config.embedding_size
    key = "embedding_size" if "embedding_size" in known_fields(type(model.config)) else "hidden_size"
    if found.matrix.shape[1] != width:
        raise ValueError(
            f"The vectors in {source} have {found.matrix.shape[1]} numbers, the model's embeddings {width}. "
            f"Set model.{key} to {found.matrix.shape[1]}."
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
    pipe = pipeline(TASK, model=str(folder), device="cpu", trust_remote_code=False)
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
        architecture=architecture(model, settings.tokenizer.max_length),
        data=DataFacts(
            name=card.data_name,
            license=card.data_license,
            domain=card.data_domain,
            splits={name: part.num_rows for name, part in task.dataset.items()},
            evaluated_split=split,
            vocabulary_size=model.config.vocab_size,
            unknown_rate=unknown_rate(tokenizer, rows),
            hub_id=settings.data.hub_id,
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
        pretrained=_pretrained(settings),
        limits=card.limits,
        citations=card.citations,
        license_name=card.license_name,
        license_link=card.license_link,
    )


def _pretrained(settings: ClassificationSettings) -> str | None:
    """Name the weights that were not random: a Hub id in full, of a folder or a file its last part."""
    source = settings.transfer.from_pretrained
    if source is None:
        vectors = settings.embeddings.from_pretrained
        return None if vectors is None else Path(vectors).name
    name = Path(source).resolve().name if Path(source).exists() else source
    return f"the body of the language model {name}"


def architecture(model: PreTrainedModel, max_length: int) -> ArchitectureFacts:
    """Tell the network of a model that was trained on texts of at most so many tokens."""
    config = model.config
    family = next(family for family in FAMILIES.values() if isinstance(config, family.config))
    return ArchitectureFacts(
        family=family.name,
        cell=config.cell if family.name == "custom" else family.title,
        num_hidden_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        embedding_size=config.embedding_size,
        bidirectional=config.bidirectional,
        pooling=config.pooling,
        max_length=max_length,
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
