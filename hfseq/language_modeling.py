"""The parts of the language modelling recipe: its settings, its tokens, its model, and the facts of its card.

`recipes/language_modeling.py` strings them together in eight steps.
"""

import dataclasses
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import Pipeline, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast, pipeline
from transformers.trainer_utils import set_seed

from .data.documents import TEXT, DocumentSettings, condition_token, conditions, pieces, token_ids
from .data.streams import TokenText
from .facts import Comparison, environment, model_size_mb, one_thread
from .language_cards import TASK
from .language_facts import (
    GenerationSpeed,
    LanguageArchitecture,
    LanguageModelFacts,
    LanguageRun,
    Sample,
    Sampling,
    TextFacts,
    TextSize,
    TokenFacts,
    TrainingFacts,
    shown_metrics,
)
from .metrics import SCORES
from .models.ngram import NGramConfig, NGramForCausalLM
from .publishing import CardWords, HubSettings
from .registry import FAMILIES
from .scoring import Measures, score_ids
from .settings import check_known, fields_of
from .stream_training import StreamTrainer, StreamTrainingArguments
from .tokenization import prompt_tokenizer, train_tokenizer, unknown_rate

_FILLED_IN = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "bidirectional", "freeze_embeddings")
_OF_CLASSIFIERS = ("pooling", "classifier_dropout")
_FROM_TRANSFORMERS = tuple(
    item.name for item in dataclasses.fields(PreTrainedConfig) if item.name != "tie_word_embeddings"
)
_TOLD_BY_NAME = ("type", "cell", "num_hidden_layers", "hidden_size", "embedding_size", "tie_word_embeddings")
LONGEST_NGRAM = 10  # of NGramConfig
_SPEED_TOKENS = 5_000
_TIMED_TEXTS = 5


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

    prompts: list[str] = field(metadata={"help": "beginnings of our own that the card shows continued"})
    seeds: list[int] = field(default_factory=lambda: [0, 1], metadata={"help": "one sample of each prompt for each"})
    max_new_tokens: int = field(default=100, metadata={"help": "tokens that are written at most"})
    temperature: float = field(default=0.8, metadata={"help": "below 1: likely tokens become likelier"})
    top_k: int = field(default=0, metadata={"help": "draw from the so many likeliest tokens; 0: from all"})

    def __post_init__(self) -> None:
        """Refuse before the training what would fail after it."""
        if not any(self.prompts) or not self.seeds:
            raise ValueError(
                "generation.prompts must hold a text (beside an empty one), and generation.seeds one number or more."
            )
        if self.max_new_tokens < 1 or self.temperature <= 0 or self.top_k < 0:
            raise ValueError(
                f"generation.max_new_tokens={self.max_new_tokens} must be 1 or more, temperature={self.temperature} "
                f"above 0 and top_k={self.top_k} 0 or more."
            )


@dataclass
class EvaluationSettings:
    """What the model is compared with."""

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
    generation: GenerationSettings
    card: CardSettings
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

    def __post_init__(self) -> None:
        """Refuse what does not go together before anything is read."""
        marks = self.tokenizer
        check_marks(marks, self.data, self.carry)
        if "" in self.generation.prompts and not (marks.start or marks.end):
            raise ValueError(
                "generation.prompts holds an empty text, but no token marks where texts begin: set tokenizer.start or "
                "tokenizer.end, or give the prompt a character."
            )
        metrics = shown_metrics(marks.kind)
        for row in self.card.comparisons:
            check_known(row["metric"], metrics, "card.comparisons", kind=f"metric of tokens of kind {marks.kind!r}")


def check_marks(marks: TokenizerSettings, data: DocumentSettings, carry: str) -> None:
    """Refuse marks of documents that do not go together with how far a state is carried."""
    if carry == "document" and not marks.start:
        raise ValueError(
            "training.carry='document' starts each document without a state, so how one begins is learnt from <s> "
            "alone: set tokenizer.start=true."
        )
    if carry != "document" and marks.start and data.documents != "whole":
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


def make_tokenizer(dataset: DatasetDict, settings: TokenizedSettings) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the training split; what it returns writes prompts, and belongs beside the model.

    Where documents have an end but no start, as in running text, a prompt is what follows an end: `</s>` stands
    before it. A mark that the texts lack is no mark of the tokenizer either, so that nothing ever asks for it.
    """
    marks = settings.tokenizer
    tokenizer = train_tokenizer(
        (piece for text in dataset["train"][TEXT] for piece in pieces(text)),
        marks.kind,
        purpose="language-modeling",
        vocab_size=marks.vocab_size,
        min_frequency=marks.min_frequency,
        lowercase=marks.lowercase,
        padding_side="left",
        condition_tokens=[condition_token(label) for label in conditions(dataset)],
    )
    if not marks.start:
        tokenizer.bos_token = tokenizer.eos_token if marks.end else None
    if not marks.end:
        tokenizer.eos_token = None
    return prompt_tokenizer(tokenizer, add_bos=marks.start or marks.end)


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
    """Build the language model of the `model` section for this vocabulary, with its settings for `generate`."""
    drawing = settings.generation
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    options = {
        **settings.model,
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    family = FAMILIES[options.pop("type")]
    model = family.heads[TASK](family.config(**options))
    generation: Any = model.generation_config
    generation.update(
        do_sample=True,
        temperature=drawing.temperature,
        top_k=drawing.top_k,
        max_new_tokens=drawing.max_new_tokens,
        # Of the special tokens only the end is there to be written.
        suppress_tokens=sorted(special - {tokenizer.eos_token_id}),
    )
    return model


def score_split(model: PreTrainedModel, text: TokenText, rows: Dataset, *, carry: str, kind: str) -> dict[str, float]:
    """Score a split, every token of it, and tell what is quoted of such tokens.

    Args:
        model: Any causal language model.
        text: The tokens of the split.
        rows: Its documents, whose characters count.
        carry: As in training: a state that was carried there is carried here.
        kind: Of tokens.
    """
    surprisals = score_ids(model, read_as_trained(text, carry))
    scores = Measures(
        log_prob=-float(sum(values.sum() for values in surprisals)),
        num_tokens=sum(map(len, surprisals)),
        num_words=sum(len(each.split()) for each in rows[TEXT]),
        num_characters=sum(map(len, rows[TEXT])),
        num_bytes=sum(len(each.encode()) for each in rows[TEXT]),
        num_unknown=0,
    )
    return {name: float(getattr(scores, name)) for name in shown_metrics(kind)}


def measured(model: PreTrainedModel, text: TokenText, rows: Dataset, settings: LanguageSettings) -> dict[str, float]:
    """Score a split as the settings of the run say, see `score_split`."""
    return score_split(model, text, rows, carry=settings.carry, kind=settings.tokenizer.kind)


def read_as_trained(text: TokenText, carry: str) -> list[np.ndarray]:
    """Return one long text where the state runs over borders of documents, else each document."""
    return np.split(text.ids, text.starts[1:]) if carry == "document" else [text.ids]


def ngram_baselines(
    train: TokenText, text: TokenText, rows: Dataset, model: PreTrainedModel, settings: LanguageSettings
) -> list[Comparison]:
    """Score the split with counted n-grams too: of single tokens, and of `evaluation.ngram_order`."""
    order = settings.evaluation.ngram_order
    names = {1: "Unigram (counts of single tokens)", order: f"{order}-gram (Kneser-Ney)"}
    found = []
    for size in sorted({1, order}) if order > 0 else ():
        config = NGramConfig(
            vocab_size=model.config.vocab_size,
            order=size,
            pad_token_id=model.config.pad_token_id,
            bos_token_id=model.config.bos_token_id,
            eos_token_id=model.config.eos_token_id,
        )
        ngrams = NGramForCausalLM(config).fit(read_as_trained(train, settings.carry))
        found += [
            Comparison(name=names[size], metric=metric, value=value, source="measured in the same run")
            for metric, value in measured(ngrams, text, rows, settings).items()
        ]
    return found


def written_samples(pipe: Pipeline, settings: GenerationSettings) -> list[Sample]:
    """Let a text-generation pipeline go on from each prompt, once for each seed.

    Args:
        pipe: Of the saved model, whose checkpoint says how tokens are drawn.
        settings: Prompts and seeds.
    """
    samples = []
    for prompt in settings.prompts:
        for seed in settings.seeds:
            set_seed(seed)
            samples.append(Sample(prompt=prompt, seed=seed, text=pipe(prompt)[0]["generated_text"]))
    return samples


def measure_generation(pipe: Pipeline, prompt: str, documents: Iterable[np.ndarray]) -> GenerationSpeed:
    """Time the model on one CPU thread: writing texts of the usual length, and scoring.

    Args:
        pipe: A pipeline on the CPU.
        prompt: What to go on from.
        documents: Token ids to score, of which the first will do.
    """
    model = pipe.model
    count = cast(Any, model.generation_config).max_new_tokens
    scored = list(_first_tokens(documents, _SPEED_TOKENS))
    with one_thread():
        times = [_seconds_for(pipe, prompt, count) for _ in range(_TIMED_TEXTS + 1)][1:]  # the first warms up
        score_ids(model, [document[:8] for document in scored])  # warms up too
        start = time.perf_counter()
        surprisals = score_ids(model, scored)
        reading = time.perf_counter() - start
    return GenerationSpeed(
        ms_per_token=1000 * statistics.median(times) / count,
        tokens_per_second=sum(map(len, surprisals)) / reading,
    )


def _first_tokens(documents: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    for document in documents:
        yield document[:count]
        count -= len(document)
        if count < 2:  # one alone is context only
            return


def _seconds_for(pipe: Pipeline, prompt: str, count: int) -> float:
    start = time.perf_counter()
    pipe(prompt, min_new_tokens=count)
    return time.perf_counter() - start


def card_facts(
    settings: LanguageSettings,
    trainer: StreamTrainer,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    folder: Path,
    *,
    metrics: dict[str, dict[str, float]],
    command: str,
) -> LanguageModelFacts:
    """Gather what the card says: from the settings, from the run, and measured on the saved model.

    Args:
        settings: Of the run.
        trainer: When it has trained.
        dataset: The documents.
        texts: Their tokens.
        folder: The saved model; it is loaded back on the CPU, as anybody would load it.
        metrics: Split -> what `measured` found, the evaluated split first.
        command: The launch line.
    """
    card, split = settings.card, next(iter(metrics))
    pipe = pipeline(TASK, model=str(folder), device="cpu")
    model = pipe.model
    run = LanguageRun(
        seed=trainer.args.seed,
        metrics=metrics[split],
        minutes=trainer.training_seconds / 60,
        others={name: values for name, values in metrics.items() if name != split},
    )
    return LanguageModelFacts(
        model_id=card.model_id,
        summary=card.summary,
        language=card.language,
        license=card.license,
        parameters=model.num_parameters(),
        file_mb=model_size_mb(folder),
        architecture=_architecture(settings, model.config),
        tokens=_tokens(settings, model.config),
        data=_data(settings, dataset, texts, split, cast(PreTrainedTokenizerFast, pipe.tokenizer)),
        training=_training(trainer.args),
        runs=[run],
        speed=measure_generation(pipe, settings.generation.prompts[0], read_as_trained(texts[split], settings.carry)),
        sampling=Sampling(
            max_new_tokens=settings.generation.max_new_tokens,
            temperature=float(settings.generation.temperature),
            top_k=settings.generation.top_k,
        ),
        prompts=settings.generation.prompts,
        samples=[] if card.data_restriction else written_samples(pipe, settings.generation),
        environment=environment(),
        command=command,
        comparisons=[
            *ngram_baselines(texts["train"], texts[split], dataset[split], model, settings),
            *(Comparison(**row) for row in card.comparisons),
        ],
        limits=card.limits,
        citations=card.citations,
        license_name=card.license_name,
        license_link=card.license_link,
    )


def _architecture(settings: LanguageSettings, config: PreTrainedConfig) -> LanguageArchitecture:
    family = next(family for family in FAMILIES.values() if isinstance(config, family.config))
    return LanguageArchitecture(
        family=family.name,
        cell=config.cell if family.name == "custom" else family.name.upper(),
        num_hidden_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        embedding_size=getattr(config, "embedding_size", config.hidden_size),
        tied=config.tie_word_embeddings,
        options={name: str(value) for name, value in settings.model.items() if name not in _TOLD_BY_NAME},
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


def _training(args: StreamTrainingArguments) -> TrainingFacts:
    return TrainingFacts(
        carry=args.carry,
        window=args.window,
        batch_size=cast(int, args.total_train_batch_size),
        epochs=float(args.num_train_epochs),
        optimizer=str(getattr(args.optim, "value", args.optim)),
        learning_rate=float(args.learning_rate),
    )
