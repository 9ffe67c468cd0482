"""The parts of `recipes/language_modeling.py`: its model, its rivals, its samples, and the facts of its card."""

import statistics
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, cast

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerFast, pipeline

from ...cards.facts import Comparison
from ...cards.measure import cpu_timed, one_thread
from ...data.documents import TEXT
from ...evaluation.language import score_ids
from ...evaluation.mixing import mix_with_ngrams
from ...models.counting.mixture import MixtureForCausalLM
from ...models.counting.ngram import NGramConfig, NGramForCausalLM
from ...recipe.language import (
    carries_state,
    language_facts,
    make_language_model,
    read_as_trained,
    score_split,
    split_lines,
)
from ...recipe.publish import rival
from ...recipe.sections import SPECIAL_IDS
from ...training.draws import OwnDraws
from ...training.streams.trainer import StreamTrainer
from ...training.streams.windows import TokenText
from .card import NEUTRAL, TASK
from .facts import GenerationSpeed, LanguageModelFacts, Sample, Sampling
from .quotes import Quotations
from .settings import CausalLMSettings

_SPEED_TOKENS = 5_000
_TIMED_TEXTS = 5


def make_model(settings: CausalLMSettings, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Build the model of the `model` section for this vocabulary, with its settings for `generate`."""
    drawing = settings.generation
    model = make_language_model(TASK, settings, tokenizer, drawing.max_new_tokens)
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
    return model


def finished_model(settings: CausalLMSettings, trainer: StreamTrainer, texts: dict[str, TokenText]) -> PreTrainedModel:
    """Return the trained network, or its mixture with n-grams, which is saved in the network's place."""
    network = cast(PreTrainedModel, trainer.accelerator.unwrap_model(trainer.model))
    if not settings.mixed_order:
        return network
    train, held_out = (read_as_trained(texts[name], settings.carry) for name in ("train", "validation"))
    model = mix_with_ngrams(network, _counted(network.config, settings.mixed_order, train), held_out)
    model.save_pretrained(str(trainer.args.output_dir))
    return model


def _counted(config: Any, order: int, documents: Iterable[np.ndarray]) -> NGramForCausalLM:
    ids: dict[str, Any] = {name: getattr(config, name) for name in ("vocab_size", *SPECIAL_IDS)}
    return NGramForCausalLM(NGramConfig(order=order, **ids)).fit(documents)


def ngram_baselines(
    train: TokenText, text: TokenText, rows: Dataset, model: PreTrainedModel, settings: CausalLMSettings
) -> list[Comparison]:
    """Score the split with counted n-grams too: of single tokens, and of `evaluation.ngram_order`."""
    order = settings.evaluation.ngram_order
    names = {1: "Unigram (counts of single tokens)", order: f"{order}-gram (Kneser-Ney)"}
    found = []
    for size in sorted({1, order}) if order > 0 else ():
        ngrams = _counted(model.config, size, read_as_trained(train, settings.carry))
        scores = score_split(ngrams, text, rows, carry=settings.carry, kind=settings.tokenizer.kind)
        found += rival(names[size], scores)
    return found


def network_alone(
    model: PreTrainedModel, text: TokenText, rows: Dataset, settings: CausalLMSettings
) -> list[Comparison]:
    """Score what is without its n-grams, if it has any."""
    if not isinstance(model, MixtureForCausalLM):
        return []
    scores = score_split(model.network, text, rows, carry=settings.carry, kind=settings.tokenizer.kind)
    return rival("The network alone", scores)


def windows_apart(
    model: PreTrainedModel, text: TokenText, rows: Dataset, settings: CausalLMSettings
) -> list[Comparison]:
    """Score a model without a state in windows that begin anew, as it was trained and others often score theirs."""
    if carries_state(settings.model["type"]):
        return []
    window, kind = settings.window, settings.tokenizer.kind
    scores = score_split(model, text, rows, carry=settings.carry, kind=kind, window=window)
    return rival(f"The same, in windows of {window} that begin anew", scores)


def written_samples(pipe: Pipeline, prompts: Iterable[str], seeds: Iterable[int]) -> list[Sample]:
    """Let a pipeline go on from each prompt, once for each seed; the checkpoint says how tokens are drawn."""
    samples = []
    for prompt in prompts:
        for seed in seeds:
            with OwnDraws(seed):
                text = pipe(prompt)[0]["generated_text"]
            samples.append(Sample(prompt=prompt, seed=seed, text=text))
    return samples


def _in_own_words(samples: list[Sample], rows: Dataset, settings: CausalLMSettings) -> list[Sample]:
    """Leave out samples that quote the training texts."""
    if not samples:
        return []
    quotations = Quotations(rows[TEXT][:], are_rows=settings.data.documents != "whole")
    return [sample for sample in samples if sample not in quotations]


def measure_generation(pipe: Pipeline, prompt: str, documents: Iterable[np.ndarray]) -> GenerationSpeed:
    """Time the model on one CPU thread: writing texts of the usual length, and scoring the first tokens."""
    model = pipe.model
    count = cast(Any, model.generation_config).max_new_tokens
    scored = list(_first_tokens(documents, _SPEED_TOKENS))
    with one_thread():
        times = [cpu_timed(partial(pipe, prompt, min_new_tokens=count))[1] for _ in range(_TIMED_TEXTS + 1)]
        score_ids(model, [document[:8] for document in scored])  # warms up, as the first text does
        surprisals, reading = cpu_timed(lambda: score_ids(model, scored))
    return GenerationSpeed(
        in_cpu_time=True,
        ms_per_token=1000 * statistics.median(times[1:]) / count,
        tokens_per_second=sum(map(len, surprisals)) / reading,
    )


def _beginning(settings: CausalLMSettings) -> str:
    """Return what to go on from where the speed is measured: nothing, where nobody asked and a mark begins texts."""
    has_mark = settings.tokenizer.start or settings.tokenizer.end
    return next(iter(settings.card.ask), "" if has_mark else NEUTRAL)


def _first_tokens(documents: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    for document in documents:
        yield document[:count]
        count -= len(document)
        if count < 2:  # one alone is context only
            return


def card_facts(
    settings: CausalLMSettings,
    trainer: StreamTrainer,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    metrics: dict[str, dict[str, float]],
) -> LanguageModelFacts:
    """Gather what the card says of the run and of the saved model, loaded back as anybody would load it.

    `metrics` are of each split, the evaluated one first.
    """
    card, drawing, split = settings.card, settings.generation, next(iter(metrics))
    pipe = pipeline(TASK, model=str(trainer.args.output_dir), device="cpu", trust_remote_code=False)
    samples = [] if card.data_restriction else written_samples(pipe, card.ask, drawing.seeds)
    shown = samples if card.shows_rows else _in_own_words(samples, dataset["train"], settings)
    return LanguageModelFacts(
        **language_facts(settings, trainer, dataset, texts, pipe, metrics),
        speed=measure_generation(pipe, _beginning(settings), read_as_trained(texts[split], settings.carry)),
        sampling=Sampling(
            max_new_tokens=drawing.max_new_tokens, temperature=float(drawing.temperature), top_k=drawing.top_k
        ),
        prompts=card.ask,
        samples=shown,
        left_out=len(samples) - len(shown),
        comparisons=[
            *network_alone(pipe.model, texts[split], dataset[split], settings),
            *windows_apart(pipe.model, texts[split], dataset[split], settings),
            *ngram_baselines(texts["train"], texts[split], dataset[split], pipe.model, settings),
            *card.published(),
        ],
    )


def report_lines(facts: LanguageModelFacts) -> Iterator[str]:
    """Say of the finished model what it writes, how fast, and how good it is."""
    for sample in facts.samples:
        yield f"--- prompt {sample.prompt!r}, seed {sample.seed}:\n{sample.text}"
    if facts.left_out:
        told = "quote the training texts and are not in the card; card.show_rows=true shows them"
        yield f"{facts.left_out} samples {told}."
    if (mixed := facts.architecture.options.get("mixed with")) is not None:
        yield f"The network is mixed with {mixed}; the file holds both, {facts.file_mb:.1f} MB."
    yield f"{facts.speed.ms_per_token:.2f} ms a token written, {facts.speed.tokens_per_second:,.0f} tokens/s scored"
    yield from split_lines(facts)
