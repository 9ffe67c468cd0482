"""A causal language model of the recipe, when it has trained: its scores, what it writes, how fast, and its card.

`masked_lm/build.py` is its sibling for models that fill in hidden tokens; both have `measured`, `card_facts`, `told`.
"""

import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import Pipeline, PreTrainedModel, pipeline

from ...cards.facts import Comparison
from ...cards.measure import one_thread
from ...data.documents import TEXT
from ...evaluation.language import Measures, score_ids
from ...models.counting.ngram import NGramConfig, NGramForCausalLM
from ...training.draws import OwnDraws
from ...training.streams.trainer import StreamTrainer
from ...training.streams.windows import TokenText
from .card import TASK
from .facts import GenerationSpeed, LanguageModelFacts, Sample, Sampling, shown_metrics
from .settings import GenerationSettings, LanguageSettings, carries_state, common_facts

_SPEED_TOKENS = 5_000
_TIMED_TEXTS = 5


def score_split(
    model: PreTrainedModel,
    text: TokenText,
    rows: Dataset,
    *,
    carry: str,
    kind: str,
    window: int | None = None,
    stride: int | None = None,
) -> dict[str, float]:
    """Score a split, every token of it, and tell what is quoted of such tokens.

    Args:
        model: Any causal language model.
        text: The tokens of the split.
        rows: Its documents, whose characters count.
        carry: As in training: a state that was carried there is carried here.
        kind: Of tokens.
        window: Tokens that a model without a state reads at once, see `score_ids`.
        stride: How far apart its windows are.
    """
    surprisals = score_ids(model, read_as_trained(text, carry), window=window, stride=stride)
    scores = Measures(
        log_prob=-float(sum(values.sum() for values in surprisals)),
        num_tokens=sum(map(len, surprisals)),
        num_words=sum(len(each.split()) for each in rows[TEXT]),
        num_characters=sum(map(len, rows[TEXT])),
        num_bytes=sum(len(each.encode()) for each in rows[TEXT]),
        num_unknown=0,
    )
    return {name: float(getattr(scores, name)) for name in shown_metrics(kind)}


def measured(trainer: StreamTrainer, text: TokenText, rows: Dataset, settings: LanguageSettings) -> dict[str, float]:
    """Score a split as the settings of the run say, see `score_split`."""
    return score_split(trainer.model, text, rows, carry=settings.carry, kind=settings.tokenizer.kind)


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
        scores = score_split(ngrams, text, rows, carry=settings.carry, kind=settings.tokenizer.kind)
        found += [
            Comparison(name=names[size], metric=metric, value=value, source="measured in the same run")
            for metric, value in scores.items()
        ]
    return found


def windows_apart(
    model: PreTrainedModel, text: TokenText, rows: Dataset, settings: LanguageSettings
) -> list[Comparison]:
    """Score a model without a state in windows that begin anew, as it was trained and others often score theirs."""
    if carries_state(settings.model["type"]):
        return []
    window, kind = settings.window, settings.tokenizer.kind
    scores = score_split(model, text, rows, carry=settings.carry, kind=kind, window=window, stride=window)
    return [
        Comparison(
            name=f"The same, in windows of {window} that begin anew",
            metric=metric,
            value=value,
            source="measured in the same run",
        )
        for metric, value in scores.items()
    ]


def written_samples(pipe: Pipeline, settings: GenerationSettings) -> list[Sample]:
    """Let a text-generation pipeline go on from each prompt, once for each seed.

    Args:
        pipe: Of the saved model, whose checkpoint says how tokens are drawn.
        settings: Prompts and seeds.
    """
    samples = []
    for prompt in settings.prompts:
        for seed in settings.seeds:
            with OwnDraws(seed):
                text = pipe(prompt)[0]["generated_text"]
            samples.append(Sample(prompt=prompt, seed=seed, text=text))
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
    split, drawing = next(iter(metrics)), settings.generation
    pipe = pipeline(TASK, model=str(folder), device="cpu", trust_remote_code=False)
    return LanguageModelFacts(
        **common_facts(settings, trainer, dataset, texts, folder, pipe, metrics=metrics, command=command),
        speed=measure_generation(pipe, drawing.prompts[0], read_as_trained(texts[split], settings.carry)),
        sampling=Sampling(
            max_new_tokens=drawing.max_new_tokens, temperature=float(drawing.temperature), top_k=drawing.top_k
        ),
        prompts=drawing.prompts,
        samples=[] if settings.card.data_restriction else written_samples(pipe, drawing),
        comparisons=[
            *windows_apart(pipe.model, texts[split], dataset[split], settings),
            *ngram_baselines(texts["train"], texts[split], dataset[split], pipe.model, settings),
            *(Comparison(**row) for row in settings.card.comparisons),
        ],
    )


def told(facts: LanguageModelFacts) -> Iterator[str]:
    """What the recipe prints of the finished model."""
    for sample in facts.samples:
        yield f"--- {sample.prompt!r}, seed {sample.seed}:\n{sample.text}"
    yield f"{facts.speed.ms_per_token:.2f} ms a token written, {facts.speed.tokens_per_second:,.0f} tokens/s scored"
