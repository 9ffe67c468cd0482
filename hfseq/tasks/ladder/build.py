"""The ladder of language models: from counting over recurrence to attention, on one text, measured by one function.

    unigram -> bigram -> 5-gram -> hidden Markov -> RNN -> LSTM -> GRU -> transformer

Every rung is a causal language model that `score_ids` scores on the same tokens, so their perplexities compare. A
transformer is scored with what fits into a window, where a recurrent model has read all that came before. Where
documents are scored one by one, neither sees the others. `recipes/ladder.py` trains the rungs and draws them.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from datasets import DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ...models.counting.hmm import HMMConfig, HMMForCausalLM
from ...models.counting.ngram import NGramConfig, NGramForCausalLM
from ...recipe.language import read_as_trained, score_split
from ...recipe.runs import evaluated_split
from ...recipe.sections import build_model, token_options
from ...registry import FAMILIES
from ...training.draws import OwnDraws
from ...training.streams.trainer import StreamTrainer, StreamTrainingArguments
from ...training.streams.windows import TokenText
from .settings import NETWORKS, TASK, LadderSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COUNTED, _LEARNT = "#7a5b00", "#1f6fb4"
_ORDER_NAMES = {1: "unigram", 2: "bigram", 3: "trigram"}


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
    """Make each rung, one after the other, save its checkpoint to a folder of its own, and measure it.

    `texts` are the tokens of the documents; the test split is measured, or validation where there is none.
    """
    split, ids = evaluated_split(texts), token_options(tokenizer)
    made = chain(_counted(settings, texts["train"], ids), _networks(settings, texts, ids, folder))
    for name, model, minutes in made:
        cast(Any, model).eval()
        model.save_pretrained(folder / _folder_name(name))
        tokenizer.save_pretrained(folder / _folder_name(name))
        family = model.config.model_type.removeprefix("hfseq_")
        yield Rung(
            name=name,
            is_counted=family not in NETWORKS,
            # Tied weights once.
            parameters=sum({t.data_ptr(): t.numel() for t in model.state_dict().values() if t.numel()}.values()),
            minutes=minutes,
            metrics=score_split(
                model, texts[split], dataset[split], carry=settings.carry, kind=settings.tokenizer.kind
            ),
            sample=_sample(model, tokenizer),
        )


def _folder_name(name: str) -> str:
    return name.lower().replace(" ", "-")


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
    """Draw the same from every rung: a text from its beginning, or from the first token of all."""
    prompt = tokenizer("", return_tensors="pt")
    if not prompt["input_ids"].numel():
        prompt = tokenizer("a", return_tensors="pt")
    with OwnDraws(0):
        ids = cast(Any, model).generate(
            input_ids=prompt["input_ids"].long(),
            attention_mask=prompt["attention_mask"].long(),
            do_sample=True,
            top_k=0,
            max_new_tokens=30,
            pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=[tokenizer.unk_token_id],
        )
    return cast(str, tokenizer.decode(ids[0], skip_special_tokens=True)).strip()


def ladder_table(rungs: Sequence[Rung]) -> str:
    """Write the rungs as a table in Markdown."""
    metrics = list(rungs[0].metrics)
    lines = [f"| rung | parameters | minutes | {' | '.join(name.replace('_', ' ') for name in metrics)} |"]
    lines.append("|" + "---|" * (3 + len(metrics)))
    for rung in rungs:
        values = " | ".join(f"{rung.metrics[name]:.4g}" for name in metrics)
        lines.append(f"| {rung.name} | {rung.parameters:,} | {rung.minutes:.2f} | {values} |")
    return "\n".join(lines)


def save_ladder(rungs: Sequence[Rung], folder: Path, command: str) -> None:
    """Write `ladder.json` and `ladder.md`."""
    facts = {"command": command, "rungs": [asdict(rung) for rung in rungs]}
    (folder / "ladder.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "ladder.md").write_text(ladder_table(rungs) + "\n", encoding="utf-8")


def plot_ladder(rungs: Sequence[Rung], path: str | Path) -> None:
    """Draw the rungs, a bar each, to a .png, .svg or .pdf file; needs matplotlib."""
    if not rungs:
        raise ValueError("there is no rung to draw.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot_ladder needs matplotlib: pip install 'hfseq[plots]'") from error
    figure = Figure(figsize=(8, 0.55 * len(rungs) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    _draw(figure, rungs)
    figure.savefig(path, dpi=160)


def _draw(figure: "Figure", rungs: Sequence[Rung]) -> None:
    metric = next(iter(rungs[0].metrics))
    axes = figure.subplots()
    values = [rung.metrics[metric] for rung in rungs]
    places = range(len(rungs))
    bars = axes.barh(places, values, color=[_COUNTED if rung.is_counted else _LEARNT for rung in rungs])
    axes.bar_label(bars, labels=[_label(rung, metric) for rung in rungs], padding=4, fontsize=9)
    axes.set_yticks(list(places), [rung.name for rung in rungs])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.35 * max(values))
    axes.set_xlabel(f"{metric.replace('_', ' ')} (brown: counted, blue: trained by gradient; less is better)")
    axes.spines[["top", "right"]].set_visible(False)


def _label(rung: Rung, metric: str) -> str:
    return f"{rung.metrics[metric]:.4g}  ({rung.parameters / 1e6:.2f} M, {rung.minutes:.1f} min)"
