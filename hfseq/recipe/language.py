"""What the recipes of language models share: settings, tokens, the model, scores, and what every card says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerFast

from ..cards.language import (
    LanguageArchitecture,
    LanguageFacts,
    LanguageRun,
    TextFacts,
    TextSize,
    TokenFacts,
    TrainingFacts,
    shown_metrics,
)
from ..data.documents import TEXT, DocumentSettings, condition_token, conditions, pieces, token_ids
from ..data.sources import is_plain_text
from ..evaluation.language import Measures, score_ids
from ..models.counting.mixture import MixtureForCausalLM
from ..models.recurrent.backbone import RecurrentConfig
from ..registry import FAMILIES
from ..settings import fields_of, known_fields, option
from ..tokenization import marking_tokenizer, unknown_rate
from ..training.streams.trainer import StreamTrainer, StreamTrainingArguments
from ..training.streams.windows import TokenText
from .budget import BudgetSettings
from .defaults.language import language_sizes, language_training
from .publish import network_facts, run_facts, split_line, told_options
from .sections import (
    OF_TAGGERS,
    CardSettings,
    HubSettings,
    TokenizerSettings,
    build_model,
    resume_flag,
    token_options,
)

# Fields that mean nothing for them.
NOT_OF_LANGUAGE_MODELS = (
    *("bidirectional", "pooling", "classifier_dropout", "wide_ngrams", "wide_buckets"),
    *OF_TAGGERS,
)
LONGEST_NGRAM = 10  # of NGramConfig
_TEST_FRACTION = 0.1  # of a text without a test split, where there is a budget
_TOLD_BY_NAME = ("type", "cell", "num_hidden_layers", "hidden_size", "embedding_size", "tie_word_embeddings")


@dataclass
class LanguageTokenizerSettings(TokenizerSettings):
    """How texts become tokens, see `train_tokenizer`."""

    kind: Literal["char", "word_with_space", "whitespace", "bpe", "unigram"] = option("char", "what a token is")
    start: bool = option(True, "write <s> before each document")
    end: bool = option(True, "write </s> after each document")


@dataclass
class LanguageSettings:
    """The sections that every recipe of language models has; each declares its `model` and its `card`."""

    data: DocumentSettings
    card: CardSettings
    tokenizer: LanguageTokenizerSettings = field(default_factory=LanguageTokenizerSettings)
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = fields_of(StreamTrainingArguments)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = resume_flag()

    @property
    def carry(self) -> str:
        """How far a state is carried, see `StreamTrainingArguments`."""
        return cast(str, self.training.get("carry", StreamTrainingArguments.carry))

    @property
    def window(self) -> int:
        """Tokens that are read at once in training."""
        return cast(int, self.training.get("window", StreamTrainingArguments.window))

    def __post_init__(self) -> None:
        name = self.model["type"]
        if self.budget.minutes is not None:
            self._follow_budget(self.budget.minutes)
        if self.carry != "none" and not carries_state(name):
            needed = f"training.carry={self.carry!r} needs a state that goes on from window to window"
            raise ValueError(f"{needed}, and model.type={name!r} has none: set training.carry=none.")
        longest = self.model.get("max_position_embeddings", self.window)
        if longest < self.window:
            short = f"model.max_position_embeddings={longest} has no room for training.window={self.window} tokens"
            raise ValueError(f"{short}: raise it, or leave it out, and it is the window.")
        check_condition(self.data, self.carry)
        self.card.check_said(self.hub.repo_id)

    def _follow_budget(self, minutes: float) -> None:
        """Fill in what the minutes and the kind of the data decide."""
        if self.data.documents == "rows" and self.data.path is not None and is_plain_text(self.data.path):
            self.data.documents = "whole"
        self.data.test_fraction = self.data.test_fraction or _TEST_FRACTION
        is_whole = self.data.documents == "whole"
        carry = "none" if not carries_state(self.model["type"]) else "stream" if is_whole else "document"
        self.training = {**language_training(minutes, carry), **self.training}
        # Inside a running text nothing begins or ends; a mark that it has once would not be learnt.
        self.tokenizer.start &= self.carry == "document"
        self.tokenizer.end &= not is_whole

    def follow(self, dataset: DatasetDict) -> None:
        """Fill in what the training texts decide, where there is a budget."""
        if self.budget.is_on:
            characters = sum(map(len, dataset["train"][TEXT]))
            sizes = language_sizes(characters, is_recurrent=carries_state(self.model["type"]))
            self.model = {**sizes, **self.model}


def carries_state(name: str) -> bool:
    """Whether the models of a family read a text of any length piece by piece."""
    return issubclass(FAMILIES[name].config, RecurrentConfig)


def check_condition(data: DocumentSettings, carry: str) -> None:
    """Refuse texts on a condition that run on into one another."""
    if data.condition_column is not None and carry != "document":
        needed = "data.condition_column needs training.carry='document'"
        raise ValueError(f"{needed}, got {carry!r}: else the state of one condition would run on into another.")


def check_marks(marks: LanguageTokenizerSettings, data: DocumentSettings, carry: str) -> None:
    """Refuse marks of documents that do not go together with how far a model that writes carries its state."""
    if carry == "document" and not marks.start:
        stateless = "training.carry='document' starts each document without a state"
        raise ValueError(f"{stateless}, so how one begins is learnt from <s> alone: set tokenizer.start=true.")
    if carry != "document" and marks.start and data.documents != "whole":
        raise ValueError(
            f"training.carry={carry!r} reads over the borders of documents, where <s> would stand inside the text: "
            "after </s> it needs no guessing, which makes scores look better, and counted models never predict it. "
            "Set tokenizer.start=false."
        )
    check_condition(data, carry)


def check_room(positions: int, prompt: int, new_tokens: int) -> None:
    """Refuse to let a model that has learnt so many positions, and knows no other, read or write beyond them."""
    if prompt + new_tokens > positions:
        written = f" and generation.max_new_tokens={new_tokens} after it" if new_tokens else ""
        raise ValueError(
            f"a prompt of {prompt} token{'s' if prompt > 1 else ''} or more{written} goes beyond the {positions} "
            "positions that model.position_embedding_type='learned' has: make it shorter, raise training.window, or "
            "take 'sinusoidal' or 'rotary' positions."
        )


def make_tokenizer(
    dataset: DatasetDict, marks: LanguageTokenizerSettings, *, is_whole: bool = False
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the training split; what it returns belongs beside the model.

    It writes prompts, whose end is open, or whole texts, with the marks that they have. Where documents have an end
    but no start, as in running text, a text is what follows an end: `</s>` stands before it. A mark that the texts
    lack is no mark of the tokenizer either, so that nothing ever asks for it.
    """
    tokenizer = marks.train(
        (piece for text in dataset["train"][TEXT] for piece in pieces(text)),
        purpose="language-modeling",
        padding_side="right" if is_whole else "left",
        condition_tokens=[condition_token(label) for label in conditions(dataset)],
    )
    if not marks.start:
        tokenizer.bos_token = tokenizer.eos_token if marks.end else None
    if not marks.end:
        tokenizer.eos_token = None
    return marking_tokenizer(tokenizer, add_bos=marks.start or marks.end, add_eos=is_whole and marks.end)


def make_text(rows: Dataset, tokenizer: PreTrainedTokenizerFast, marks: LanguageTokenizerSettings) -> TokenText:
    """Turn the documents of a split into one text of tokens, with the marks that the settings ask for.

    A text whose documents have no start of their own begins with an end, so that its first token is predicted as any
    other that begins a document.
    """
    start = [tokenizer.bos_token_id] if marks.start else []
    end = [tokenizer.eos_token_id] if marks.end else []
    documents = list(token_ids(rows, tokenizer, start=start, end=end))
    if marks.end and not marks.start:
        documents[0] = np.concatenate([np.asarray(end, np.int32), documents[0]])
    return TokenText.from_documents(documents)


def make_language_model(
    task: str, settings: LanguageSettings, tokenizer: PreTrainedTokenizerFast, new_tokens: int = 0
) -> PreTrainedModel:
    """Build the model of the `model` section for this vocabulary, made for texts as long as the training's."""
    options = token_options(tokenizer)
    if "max_position_embeddings" in known_fields(FAMILIES[settings.model["type"]].config):
        options["max_position_embeddings"] = settings.window
    model = build_model(task, settings.model, **options)
    if settings.model.get("position_embedding_type") == "learned":
        longest = max(map(len, tokenizer(settings.card.ask or [""])["input_ids"]))
        check_room(model.config.max_position_embeddings, longest, new_tokens)
    return model


def read_as_trained(text: TokenText, carry: str) -> list[np.ndarray]:
    """Return one long text where the state runs over borders of documents, else each document."""
    return np.split(text.ids, text.starts[1:]) if carry == "document" else [text.ids]


def score_split(
    model: PreTrainedModel, text: TokenText, rows: Dataset, *, carry: str, kind: str, window: int | None = None
) -> dict[str, float]:
    """Score every token of a split with a causal language model, and return what is quoted of such tokens.

    A state that was carried in training is carried here. With a `window`, a model without a state reads so many tokens
    at once, in windows that begin anew, see `score_ids`.
    """
    surprisals = score_ids(model, read_as_trained(text, carry), window=window, stride=window)
    scores = Measures(
        log_prob=-float(sum(values.sum() for values in surprisals)),
        num_tokens=sum(map(len, surprisals)),
        num_words=sum(len(each.split()) for each in rows[TEXT]),
        num_characters=sum(map(len, rows[TEXT])),
        num_bytes=sum(len(each.encode()) for each in rows[TEXT]),
        num_unknown=0,
    )
    return {name: float(getattr(scores, name)) for name in shown_metrics(kind)}


def language_facts(
    settings: LanguageSettings,
    trainer: StreamTrainer,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    pipe: Pipeline,
    metrics: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """Gather what the card of any language model says; `pipe` is the saved model, `metrics` as in `card_facts`."""
    split, model = next(iter(metrics)), cast(Any, pipe.model)
    is_mixed = isinstance(model, MixtureForCausalLM)
    config = model.network.config if is_mixed else model.config
    mixed = {"mixed with": mixture_text(model)} if is_mixed else {}
    run = LanguageRun(
        seed=trainer.args.seed,
        metrics=metrics[split],
        minutes=trainer.training_seconds / 60,
        others={name: values for name, values in metrics.items() if name != split},
    )
    words = (piece for text in dataset[split][TEXT] for piece in pieces(text))
    sizes = {}
    for name, rows in dataset.items():
        characters = sum(map(len, rows[TEXT][:]))
        sizes[name] = TextSize(documents=rows.num_rows, tokens=len(texts[name]), characters=characters)
    return {
        **run_facts(settings.card, pipe.model, Path(str(trainer.args.output_dir)), run),
        "architecture": LanguageArchitecture(
            **network_facts(config),
            tied=config.tie_word_embeddings,
            options=told_options(settings.model, _TOLD_BY_NAME) | mixed,
            context=None if carries_state(settings.model["type"]) else config.max_position_embeddings,
        ),
        "tokens": TokenFacts(
            kind=settings.tokenizer.kind,
            vocabulary_size=config.vocab_size,
            lowercase=settings.tokenizer.lowercase,
            writes_start=settings.tokenizer.start,
            writes_end=settings.tokenizer.end,
        ),
        "data": TextFacts(
            **settings.card.data_facts(),
            hub_id=settings.data.hub_id,
            documents=settings.data.documents,
            splits=sizes,
            evaluated_split=split,
            unknown_rate=unknown_rate(cast(PreTrainedTokenizerFast, pipe.tokenizer), words),
            conditions=conditions(dataset),
        ),
        "training": _training(trainer),
    }


def mixture_text(model: MixtureForCausalLM) -> str:
    """Say what a network is mixed with, and in which shares."""
    order, share = model.config.order, 1 - model.config.network_weight
    return f"a {order}-gram (Kneser-Ney), whose share is {share:.2f}"


def _training(trainer: StreamTrainer) -> TrainingFacts:
    args = trainer.args
    # Steps or the clock may end a training in the middle of an epoch.
    by_steps = (args.max_steps > 0 or args.max_minutes is not None) and trainer.state.epoch is not None
    return TrainingFacts(
        carry=args.carry,
        window=args.window,
        batch_size=cast(int, args.total_train_batch_size),
        epochs=round(trainer.state.epoch, 2) if by_steps else float(args.num_train_epochs),
        optimizer=str(getattr(args.optim, "value", args.optim)),
        learning_rate=float(args.learning_rate),
    )


def split_lines(facts: LanguageFacts) -> Iterator[str]:
    """Write the scores of every split that was measured, a line each."""
    for split, metrics in {facts.data.evaluated_split: facts.runs[0].metrics, **facts.runs[0].others}.items():
        yield split_line(split, metrics)
