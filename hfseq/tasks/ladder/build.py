"""The ladder of language models: from counting over recurrence to attention, on one text, measured by one function.

    unigram -> bigram -> 5-gram -> hidden Markov -> RNN -> LSTM -> GRU -> transformer

Every rung is a causal language model that `score_ids` scores on the same tokens, so their perplexities compare. A
transformer is scored with what fits into a window, where a recurrent model has read all that came before.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, cast

from datasets import DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ...cards.table import markdown_table
from ...data.documents import load_documents
from ...models.counting.hmm import HMMConfig, HMMForCausalLM
from ...models.counting.ngram import NGramConfig, NGramForCausalLM
from ...recipe.ladders import Bar, Ladder, plot_bars
from ...recipe.language import make_text, make_tokenizer, read_as_trained, score_split
from ...recipe.runs import evaluated_split
from ...recipe.sections import build_model, token_options
from ...registry import FAMILIES
from ...training.draws import OwnDraws
from ...training.streams.trainer import StreamTrainer, StreamTrainingArguments
from ...training.streams.windows import TokenText
from .settings import NETWORKS, TASK, LadderSettings

_COUNTED, _LEARNT = "#7a5b00", "#1f6fb4"
_ORDER_NAMES = {1: "unigram", 2: "bigram", 3: "trigram"}
Prepared: TypeAlias = tuple[DatasetDict, dict[str, TokenText], PreTrainedTokenizerFast]


@dataclass(kw_only=True)
class Rung:
    """One model of the ladder, and what it reached."""

    name: str
    is_counted: bool  # whether it was counted, not learnt by following a gradient
    parameters: int
    minutes: float
    metrics: dict[str, float]  # of the evaluated split, see `score_split`
    sample: str  # a text that it wrote


def train_rungs(
    settings: LadderSettings,
    dataset: DatasetDict,
    texts: dict[str, TokenText],
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
) -> Iterator[Rung]:
    """Make each rung, one after the other, save its checkpoint to a folder of its own, and measure it."""
    split, ids = evaluated_split(texts), token_options(tokenizer)
    scored: dict[str, Any] = {"carry": settings.carry, "kind": settings.tokenizer.kind}
    made = chain(_counted(settings, texts["train"], ids), _networks(settings, texts, ids, folder))
    for name, model, minutes in made:
        cast(Any, model).eval()
        for part in (model, tokenizer):
            part.save_pretrained(folder / name.lower().replace(" ", "-"))
        family = model.config.model_type.removeprefix("hfseq_")
        yield Rung(
            name=name,
            is_counted=family not in NETWORKS,
            # Tied weights once.
            parameters=sum({t.data_ptr(): t.numel() for t in model.state_dict().values() if t.numel()}.values()),
            minutes=minutes,
            metrics=score_split(model, texts[split], dataset[split], **scored),
            sample=_sample(model, tokenizer),
        )


def _counted(
    settings: LadderSettings, text: TokenText, ids: dict[str, Any]
) -> Iterator[tuple[str, PreTrainedModel, float]]:
    documents = read_as_trained(text, settings.carry)
    for order in settings.rungs.orders:
        start = time.perf_counter()
        ngrams = NGramForCausalLM(NGramConfig(order=order, **ids)).fit(documents)
        yield _ORDER_NAMES.get(order, f"{order}-gram"), ngrams, (time.perf_counter() - start) / 60
    if settings.rungs.num_states:
        start = time.perf_counter()
        hidden = HMMForCausalLM(HMMConfig(num_states=settings.rungs.num_states, **ids))
        seed = int(settings.training.get("seed", 42))
        hidden.fit_baum_welch(documents, num_iterations=settings.rungs.num_iterations, seed=seed)
        yield "hidden Markov", hidden, (time.perf_counter() - start) / 60


def _networks(
    settings: LadderSettings, texts: dict[str, TokenText], ids: dict[str, Any], folder: Path
) -> Iterator[tuple[str, PreTrainedModel, float]]:
    for name in settings.rungs.networks:
        training = {**settings.training_of(name), "output_dir": str(folder / name / "training")}
        args = StreamTrainingArguments(**training)
        with OwnDraws(args.seed):
            model = build_model(TASK, {"type": name, **settings.network_of(name, args.window)}, **ids)
        trainer = StreamTrainer(model, args, texts["train"], texts["validation"])
        trainer.train()
        yield FAMILIES[name].title, model, trainer.training_seconds / 60


def _sample(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> str:
    # A text from its beginning, or from the first token of all.
    beginning = "" if tokenizer("")["input_ids"] else "a"
    prompt: dict[str, Any] = {name: ids.long() for name, ids in tokenizer(beginning, return_tensors="pt").items()}
    limits = {"max_new_tokens": 30, "suppress_tokens": [tokenizer.unk_token_id]}
    with OwnDraws(0):
        ids = cast(Any, model).generate(
            **prompt, do_sample=True, top_k=0, pad_token_id=tokenizer.pad_token_id, **limits
        )
    return cast(str, tokenizer.decode(ids[0], skip_special_tokens=True)).strip()


def ladder_table(rungs: Sequence[Rung]) -> str:
    """Write the rungs as a table in Markdown."""
    metrics = list(rungs[0].metrics)
    titles = ["rung", "parameters", "minutes", *(name.replace("_", " ") for name in metrics)]
    rows = [
        [rung.name, f"{rung.parameters:,}", f"{rung.minutes:.2f}", *(f"{rung.metrics[name]:.4g}" for name in metrics)]
        for rung in rungs
    ]
    return markdown_table(titles, rows)


def plot_ladder(rungs: Sequence[Rung], path: str | Path) -> None:
    """Draw the rungs, a bar each, to a .png, .svg or .pdf file; needs matplotlib."""
    metric = next((name for rung in rungs for name in rung.metrics), "")
    bars = [
        Bar(
            rung.name,
            rung.metrics[metric],
            f"{rung.metrics[metric]:.4g}  ({rung.parameters / 1e6:.2f} M, {rung.minutes:.1f} min)",
            _COUNTED if rung.is_counted else _LEARNT,
        )
        for rung in rungs
    ]
    plot_bars(bars, f"{metric.replace('_', ' ')} (brown: counted, blue: trained by gradient; less is better)", path)


def _prepare(settings: LadderSettings, dataset: DatasetDict) -> Prepared:
    tokenizer = make_tokenizer(dataset, settings.tokenizer)
    return dataset, {name: make_text(rows, tokenizer, settings.tokenizer) for name, rows in dataset.items()}, tokenizer


def _climb(settings: LadderSettings, prepared: Prepared, folder: Path) -> Iterator[Rung]:
    dataset, texts, tokenizer = prepared
    return train_rungs(settings, dataset, texts, tokenizer, folder)


LANGUAGE_MODELS = Ladder(
    settings=LadderSettings,
    load=lambda settings: load_documents(settings.data),
    prepare=_prepare,
    climb=_climb,
    line=lambda rung: f"{rung.name}: {rung.metrics}\n    {rung.sample!r}",
    table=ladder_table,
    plot=plot_ladder,
)
