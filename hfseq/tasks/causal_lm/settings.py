"""The parts of the language modelling recipe: its settings, its tokens, its model, and what every card says.

`recipes/language_modeling.py` strings them together in eight steps. A model learns the next token, and writes; or,
with `training.mlm_probability`, hidden tokens, and fills in what is left out. What differs between the two is in
`causal_lm/build.py` and `masked_lm/build.py`.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import Pipeline, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from ...cards.facts import Comparison
from ...cards.measure import environment, model_size_mb
from ...cards.words import CardWords
from ...data.documents import TEXT, DocumentSettings, condition_token, conditions, pieces, token_ids
from ...evaluation.scores import SCORES
from ...models.recurrent.backbone import RecurrentConfig
from ...recipe.publish import HubSettings
from ...registry import FAMILIES
from ...settings import check_known, fields_of, known_fields
from ...tokenization import MASK, marking_tokenizer, train_tokenizer, unknown_rate
from ...training.streams.trainer import StreamTrainer, StreamTrainingArguments
from ...training.streams.windows import TokenText
from ..masked_lm.card import MASKED_TASK
from ..masked_lm.facts import MASKED_METRICS
from .card import TASK
from .facts import LanguageArchitecture, LanguageRun, TextFacts, TextSize, TokenFacts, TrainingFacts, shown_metrics

_FILLED_IN = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "bidirectional", "freeze_embeddings")
_OF_CLASSIFIERS = ("pooling", "classifier_dropout")
_FROM_TRANSFORMERS = tuple(
    item.name for item in dataclasses.fields(PreTrainedConfig) if item.name != "tie_word_embeddings"
)
_TOLD_BY_NAME = ("type", "cell", "num_hidden_layers", "hidden_size", "embedding_size", "tie_word_embeddings")
LONGEST_NGRAM = 10  # of NGramConfig
_WINDOW = next(item.default for item in dataclasses.fields(StreamTrainingArguments) if item.name == "window")


@dataclass
class TokenizerSettings:
    """How texts become tokens, see `train_tokenizer`."""

    kind: Literal["char", "word_with_space", "whitespace", "bpe", "unigram"] = field(
        default="char", metadata={"help": "what a token is, see hfseq.tokenization"}
    )
    vocab_size: int = field(default=10_000, metadata={"help": "most entries, special tokens included"})
    min_frequency: int | None = field(
        default=None, metadata={"help": "rarer ones are left out; null: 2 (unigram has no such threshold)"}
    )
    lowercase: bool = field(default=False, metadata={"help": "lower-case the texts"})
    start: bool = field(default=True, metadata={"help": "write <s> before each document"})
    end: bool = field(default=True, metadata={"help": "write </s> after each document"})


@dataclass(kw_only=True)
class GenerationSettings:
    """What the finished model is asked to write; `generate` finds the numbers in the checkpoint."""

    prompts: list[str] = field(
        default_factory=list, metadata={"help": "beginnings of our own that the card shows continued"}
    )
    seeds: list[int] = field(default_factory=lambda: [0, 1], metadata={"help": "one sample of each prompt for each"})
    max_new_tokens: int = field(default=100, metadata={"help": "tokens that are written at most"})
    temperature: float = field(default=0.8, metadata={"help": "below 1: likely tokens become likelier"})
    top_k: int = field(default=0, metadata={"help": "draw from the so many likeliest tokens; 0: from all"})

    def __post_init__(self) -> None:
        """Refuse before the training what would fail after it."""
        if not self.seeds:
            raise ValueError("generation.seeds must hold one number or more.")
        if self.max_new_tokens < 1 or self.temperature <= 0 or self.top_k < 0:
            raise ValueError(
                f"generation.max_new_tokens={self.max_new_tokens} must be 1 or more, temperature={self.temperature} "
                f"above 0 and top_k={self.top_k} 0 or more."
            )


@dataclass(kw_only=True)
class FillMaskSettings:
    """What the finished masked model is asked to fill in."""

    prompts: list[str] = field(
        default_factory=list,
        metadata={"help": f"texts of our own with one {MASK} each, which the card shows filled in"},
    )

    def __post_init__(self) -> None:
        """Refuse before the training what would fail after it."""
        for prompt in self.prompts:
            if prompt.count(MASK) != 1:
                raise ValueError(
                    f"fill_mask.prompts holds {prompt!r}: each text needs {MASK} once, which the model fills in."
                )


@dataclass
class EvaluationSettings:
    """What the model is compared with; a masked one always with its most frequent token."""

    ngram_order: int = field(
        default=5, metadata={"help": "count n-grams of this order on the same tokens, for comparison; 0: none"}
    )

    def __post_init__(self) -> None:
        """Refuse before the training what would fail after it."""
        if not 0 <= self.ngram_order <= LONGEST_NGRAM:
            raise ValueError(
                f"evaluation.ngram_order={self.ngram_order} must be from 1 to {LONGEST_NGRAM}, or 0 for none."
            )


@dataclass(kw_only=True)
class CardSettings(CardWords):
    """What the model card says and no run can measure."""

    def __post_init__(self) -> None:
        """Refuse before the training what the card would refuse after it."""
        for row in self.comparisons:
            check_known(Comparison(**row).metric, SCORES, "card.comparisons", kind="metric")
        super().__post_init__()


@dataclass
class LanguageSettings:
    """All settings of the recipe, a section each."""

    data: DocumentSettings
    card: CardSettings
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    fill_mask: FillMaskSettings = field(default_factory=FillMaskSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    model: dict[str, Any] = fields_of(
        # What counts instead of following a gradient has no body, and needs no trainer.
        {
            name: family.config
            for name, family in FAMILIES.items()
            if TASK in family.heads and family.backbone is not None
        },
        without=(*_FILLED_IN, *_OF_CLASSIFIERS, *_FROM_TRANSFORMERS),
    )
    training: dict[str, Any] = fields_of(StreamTrainingArguments)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint in training.output_dir"})

    @property
    def carry(self) -> str:
        """How far a state is carried, see `StreamTrainingArguments`."""
        return self.training.get("carry", "stream")

    @property
    def is_masked(self) -> bool:
        """Whether hidden tokens are learnt, not the next one."""
        return self.training.get("mlm_probability") is not None

    @property
    def window(self) -> int:
        """Tokens that are read at once in training."""
        return self.training.get("window", _WINDOW)

    @property
    def prompts(self) -> list[str]:
        """What the finished model is asked."""
        return self.fill_mask.prompts if self.is_masked else self.generation.prompts

    def __post_init__(self) -> None:
        """Refuse what does not go together before anything is read."""
        self._check_model()
        check_marks(self.tokenizer, self.data, self.carry, is_masked=self.is_masked)
        self._check_prompts()
        if self.is_masked:
            self._check_unread()
        kind = self.tokenizer.kind
        metrics = MASKED_METRICS if self.is_masked else shown_metrics(kind)
        whose = "metric of a masked model" if self.is_masked else f"metric of tokens of kind {kind!r}"
        for row in self.card.comparisons:
            check_known(row["metric"], metrics, "card.comparisons", kind=whose)

    def _check_model(self) -> None:
        """A model can be asked for what is learnt, and reads as far as its texts go."""
        name = self.model["type"]
        family = FAMILIES[name]
        if self.carry != "none" and not carries_state(name):
            raise ValueError(
                f"training.carry={self.carry!r} needs a state that goes on from window to window, and "
                f"model.type={name!r} has none: set training.carry=none."
            )
        if self.is_masked and MASKED_TASK not in family.heads:
            able = [other for other, row in FAMILIES.items() if MASKED_TASK in row.heads]
            raise ValueError(
                f"training.mlm_probability={self.training['mlm_probability']} needs a model that fills in what is "
                f"hidden, and model.type={name!r} is none: take one of {', '.join(able)}."
            )
        longest = self.model.get("max_position_embeddings", self.window)
        if longest < self.window:
            raise ValueError(
                f"model.max_position_embeddings={longest} has no room for training.window={self.window} tokens: raise "
                "it, or leave it out, and it is the window."
            )
        if not self.is_masked and self.model.get("position_embedding_type") == "learned":
            check_room(longest, 1, self.generation.max_new_tokens)

    def _check_prompts(self) -> None:
        """There is something to ask, and it fits what was learnt."""
        section, other = ("fill_mask", "generation") if self.is_masked else ("generation", "fill_mask")
        if self.fill_mask.prompts and self.generation.prompts:
            raise ValueError(
                f"{other}.prompts are not for this model, which "
                + ("fills in" if self.is_masked else "writes; training.mlm_probability makes one that fills in")
                + f": leave them out, and give {section}.prompts."
            )
        if not any(self.prompts):
            raise ValueError(f"{section}.prompts must hold a text (beside an empty one).")
        if "" in self.prompts and not (self.tokenizer.start or self.tokenizer.end):
            raise ValueError(
                "generation.prompts holds an empty text, but no token marks where texts begin: set tokenizer.start or "
                "tokenizer.end, or give the prompt a character."
            )

    def _check_unread(self) -> None:
        """Nothing is said of what a masked model does not do."""
        for name, given, usual in (
            ("generation", self.generation, GenerationSettings()),
            ("evaluation", self.evaluation, EvaluationSettings()),
        ):
            for item in dataclasses.fields(given):
                value = getattr(given, item.name)
                if value != getattr(usual, item.name):
                    raise ValueError(
                        f"{name}.{item.name}={value!r} is not for a masked model, which fills in what is hidden, and "
                        f"neither writes nor is compared with counted n-grams. Leave {item.name} out."
                    )


def carries_state(name: str) -> bool:
    """Whether the models of a family read a text of any length piece by piece."""
    return issubclass(FAMILIES[name].config, RecurrentConfig)


def check_room(positions: int, prompt: int, new_tokens: int) -> None:
    """Refuse to let a model that has learnt so many positions, and knows no other, read or write beyond them."""
    if prompt + new_tokens > positions:
        written = f" and generation.max_new_tokens={new_tokens} after it" if new_tokens else ""
        raise ValueError(
            f"a prompt of {prompt} token{'s' if prompt > 1 else ''} or more{written} goes beyond the {positions} "
            "positions that model.position_embedding_type='learned' has: make it shorter, raise training.window, or "
            "take 'sinusoidal' or 'rotary' positions."
        )


def check_marks(marks: TokenizerSettings, data: DocumentSettings, carry: str, *, is_masked: bool = False) -> None:
    """Refuse marks of documents that do not go together with how far a state is carried."""
    if carry == "document" and not marks.start:
        raise ValueError(
            "training.carry='document' starts each document without a state, so how one begins is learnt from <s> "
            "alone: set tokenizer.start=true."
        )
    if carry != "document" and marks.start and data.documents != "whole" and not is_masked:  # which asks for no mark
        raise ValueError(
            f"training.carry={carry!r} reads over the borders of documents, where <s> would stand inside the text: "
            "after </s> it needs no guessing, which makes scores look better, and counted models never predict it. "
            "Set tokenizer.start=false."
        )
    if data.condition_column is not None and carry != "document":
        raise ValueError(
            f"data.condition_column needs training.carry='document', got {carry!r}: else the state of one condition "
            "would run on into another."
        )


class TokenizedSettings(Protocol):
    """What settings say of tokens: those of this recipe and of the ladder do."""

    tokenizer: TokenizerSettings


def make_tokenizer(
    dataset: DatasetDict, settings: TokenizedSettings, *, is_masked: bool = False
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the training split; what it returns belongs beside the model.

    It writes prompts, whose end is open; for a masked model whole texts, with the marks that they have. Where
    documents have an end but no start, as in running text, a text is what follows an end: `</s>` stands before it. A
    mark that the texts lack is no mark of the tokenizer either, so that nothing ever asks for it.
    """
    marks = settings.tokenizer
    tokenizer = train_tokenizer(
        (piece for text in dataset["train"][TEXT] for piece in pieces(text)),
        marks.kind,
        purpose="language-modeling",
        vocab_size=marks.vocab_size,
        min_frequency=marks.min_frequency,
        lowercase=marks.lowercase,
        padding_side="right" if is_masked else "left",
        condition_tokens=[condition_token(label) for label in conditions(dataset)],
    )
    if not marks.start:
        tokenizer.bos_token = tokenizer.eos_token if marks.end else None
    if not marks.end:
        tokenizer.eos_token = None
    return marking_tokenizer(tokenizer, add_bos=marks.start or marks.end, add_eos=is_masked and marks.end)


def make_text(rows: Dataset, tokenizer: PreTrainedTokenizerFast, settings: TokenizedSettings) -> TokenText:
    """Turn the documents of a split into one text of tokens, with the marks that the settings ask for.

    A text whose documents have no start of their own begins with an end, so that its first token is predicted as any
    other that begins a document.
    """
    marks = settings.tokenizer
    start = [tokenizer.bos_token_id] if marks.start else []
    end = [tokenizer.eos_token_id] if marks.end else []
    documents = list(token_ids(rows, tokenizer, start=start, end=end))
    if marks.end and not marks.start:
        documents[0] = np.concatenate([np.asarray(end, np.int32), documents[0]])
    return TokenText.from_documents(documents)


def make_model(settings: LanguageSettings, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the model of the `model` section for this vocabulary; one that writes with its settings for `generate`.

    What is made for texts up to some length is made for those of training, unless the section says otherwise.
    """
    options = {
        **settings.model,
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    family = FAMILIES[options.pop("type")]
    if "max_position_embeddings" in known_fields(family.config):
        options.setdefault("max_position_embeddings", settings.window)
    model = family.heads[MASKED_TASK if settings.is_masked else TASK](family.config(**options))
    if settings.model.get("position_embedding_type") == "learned":
        longest = max(map(len, tokenizer(settings.prompts)["input_ids"]))
        new_tokens = 0 if settings.is_masked else settings.generation.max_new_tokens
        check_room(options["max_position_embeddings"], longest, new_tokens)
    if not settings.is_masked:
        _set_generation(model, settings.generation, tokenizer)
    return model


def _set_generation(model: PreTrainedModel, drawing: GenerationSettings, tokenizer: PreTrainedTokenizerFast) -> None:
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    generation: Any = model.generation_config
    generation.update(
        do_sample=True,
        temperature=drawing.temperature,
        top_k=drawing.top_k,
        max_new_tokens=drawing.max_new_tokens,
        # Of the special tokens only the end is there to be written.
        suppress_tokens=sorted(special - {tokenizer.eos_token_id}),
    )


def common_facts(
    settings: LanguageSettings,
    trainer: StreamTrainer,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    folder: Path,
    pipe: Pipeline,
    *,
    metrics: dict[str, dict[str, float]],
    command: str,
) -> dict[str, Any]:
    """Gather what the card of any language model says: from the settings, and from the run.

    Args:
        settings: Of the run.
        trainer: When it has trained.
        dataset: The documents.
        texts: Their tokens.
        folder: The saved model.
        pipe: The saved model, loaded as anybody would load it.
        metrics: Split -> what was measured, the evaluated split first.
        command: The launch line.
    """
    card, split = settings.card, next(iter(metrics))
    run = LanguageRun(
        seed=trainer.args.seed,
        metrics=metrics[split],
        minutes=trainer.training_seconds / 60,
        others={name: values for name, values in metrics.items() if name != split},
    )
    words = ("model_id", "summary", "language", "license", "limits", "citations", "license_name", "license_link")
    return {
        **{name: getattr(card, name) for name in words},
        "parameters": pipe.model.num_parameters(),
        "file_mb": model_size_mb(folder),
        "architecture": _architecture(settings, pipe.model.config),
        "tokens": _tokens(settings, pipe.model.config),
        "data": _data(settings, dataset, texts, split, cast(PreTrainedTokenizerFast, pipe.tokenizer)),
        "training": _training(trainer),
        "runs": [run],
        "environment": environment(),
        "command": command,
    }


def _architecture(settings: LanguageSettings, config: PreTrainedConfig) -> LanguageArchitecture:
    family = next(family for family in FAMILIES.values() if isinstance(config, family.config))
    return LanguageArchitecture(
        family=family.name,
        cell=config.cell if family.name == "custom" else family.title,
        num_hidden_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        embedding_size=getattr(config, "embedding_size", config.hidden_size),
        tied=config.tie_word_embeddings,
        options={name: str(value) for name, value in settings.model.items() if name not in _TOLD_BY_NAME},
        context=None if carries_state(family.name) else config.max_position_embeddings,
    )


def _tokens(settings: LanguageSettings, config: PreTrainedConfig) -> TokenFacts:
    marks = settings.tokenizer
    return TokenFacts(
        kind=marks.kind,
        vocabulary_size=config.vocab_size,
        lowercase=marks.lowercase,
        writes_start=marks.start,
        writes_end=marks.end,
    )


def _data(
    settings: LanguageSettings,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    split: str,
    tokenizer: PreTrainedTokenizerFast,
) -> TextFacts:
    card = settings.card
    return TextFacts(
        name=card.data_name,
        license=card.data_license,
        domain=card.data_domain,
        documents=settings.data.documents,
        splits={name: _size(rows[TEXT], texts[name]) for name, rows in dataset.items()},
        evaluated_split=split,
        unknown_rate=unknown_rate(tokenizer, (piece for text in dataset[split][TEXT] for piece in pieces(text))),
        conditions=conditions(dataset),
        hub_id=settings.data.hub_id,
        url=card.data_url,
        restriction=card.data_restriction,
    )


def _size(documents: Iterable[str], text: TokenText) -> TextSize:
    lengths = [len(document) for document in documents]
    return TextSize(documents=len(lengths), tokens=len(text), characters=sum(lengths))


def _training(trainer: StreamTrainer) -> TrainingFacts:
    args = trainer.args
    by_steps = args.max_steps > 0 and trainer.state.epoch is not None
    return TrainingFacts(
        carry=args.carry,
        window=args.window,
        batch_size=cast(int, args.total_train_batch_size),
        epochs=round(trainer.state.epoch, 2) if by_steps else float(args.num_train_epochs),
        optimizer=str(getattr(args.optim, "value", args.optim)),
        learning_rate=float(args.learning_rate),
    )
