"""The ladder of translators: what each idea of the textbooks brings, on one data set, in the same minutes.

    word by word -> naive -> fed back -> of two language models -> attention -> transformer

    word by word    a dictionary of IBM model 1, in the order of the source: what fits in seconds
    naive           one vector of the source is all that the decoder has, at each step the same
    fed back        it reads what it wrote, too
    pretrained      fed back, and encoder and decoder were language models of their languages before
    attention       it looks at the words of the source
    transformer     attention alone

Every rung is measured on the same texts, with the same beams, and is an ordinary checkpoint. A rung that is behind a
simpler one says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from datasets import DatasetDict
from transformers import PreTrainedModel
from transformers.trainer_utils import set_seed

from ...cards.table import markdown_table
from ...data.parallel import SOURCE, TARGET, load_parallel
from ...evaluation.translation import METRICS, translation_scores
from ...models.recurrent.seq2seq import Seq2SeqForConditionalGeneration
from ...recipe.ladders import Bar, Ladder, plot_bars
from ...recipe.runs import evaluated_split
from ...recipe.sections import build_model, token_options
from ...training.draws import OwnDraws
from ...training.seq2seq import EncoderDecoderTrainer, EncoderDecoderTrainingArguments
from ...training.streams.trainer import StreamTrainer, StreamTrainingArguments
from ...training.streams.windows import TokenText
from ..translation.build import check_lengths, make_model, make_tokenizer, make_tokens, prepare_writing, watched
from ..translation.rivals import word_by_word
from .settings import COUNTED, TranslationLadderSettings

_LANGUAGE = "text-generation"
_COUNTED_COLOUR, _LEARNT_COLOUR = "#7a5b00", "#1f6fb4"
_TITLES = {
    **{COUNTED: "word by word", "naive": "naive: one vector", "fed_back": "its output fed back"},
    **{"pretrained": "of two language models", "attention": "attention", "transformer": "transformer"},
}


@dataclass(kw_only=True)
class TranslatorRung:
    """One model of the ladder, and what it reached."""

    name: str
    parameters: int  # 0 of a dictionary
    minutes: float  # of training
    metrics: dict[str, float]  # of the evaluated split
    source: str  # a row of that split,
    written: str  # and what became of it
    behind: str | None = None  # the simplest rung with a higher BLEU


@dataclass(frozen=True)
class Prepared:
    """What every rung learns from."""

    dataset: DatasetDict
    split: str  # that is evaluated
    tokenizer: Any
    tokens: DatasetDict

    def score(self, written: list[str]) -> dict[str, float]:
        """Measure what was written of the evaluated rows."""
        return translation_scores(self.dataset[self.split][TARGET][:], written)


def prepare(settings: TranslationLadderSettings, dataset: DatasetDict) -> Prepared:
    """Make the tokens that all rungs read."""
    tokenizer = make_tokenizer(dataset["train"], settings.tokenizer)
    tokens = make_tokens(dataset, tokenizer, settings.tokenizer)
    if "transformer" in settings.rungs.names:
        check_lengths(tokens, settings.parts_of("transformer").model)
    return Prepared(dataset, evaluated_split(dataset), tokenizer, tokens)


def climb(settings: TranslationLadderSettings, prepared: Prepared, folder: Path) -> Iterator[TranslatorRung]:
    """Make each rung, one after the other, save it to a folder of its own, and measure it."""
    names = settings.rungs.in_order()
    # All at once: what is wrong is told before anything is trained.
    arguments = {name: _arguments(settings, name, folder) for name in names if name != COUNTED}
    rungs: list[TranslatorRung] = []
    for name in names:
        if name == COUNTED:
            rung = _counted_rung(prepared)
        else:
            rung = _trained_rung(settings, name, arguments[name], prepared, folder / name)
        rung.behind = next((low.name for low in rungs if low.metrics["bleu"] > rung.metrics["bleu"]), None)
        rungs.append(rung)
        yield rung


def _arguments(settings: TranslationLadderSettings, name: str, folder: Path) -> EncoderDecoderTrainingArguments:
    minutes = settings.rungs.minutes
    if name == "pretrained":
        minutes -= 2 * settings.rungs.language_minutes
    options = {"output_dir": str(folder / "training" / name), "max_minutes": minutes}
    return EncoderDecoderTrainingArguments(**{**settings.training_of(name), **options})


def _counted_rung(prepared: Prepared) -> TranslatorRung:
    train, rows = prepared.dataset["train"], prepared.dataset[prepared.split]
    written = word_by_word(train[SOURCE][:], train[TARGET][:], rows[SOURCE][:])
    return TranslatorRung(
        name=_TITLES[COUNTED],
        parameters=0,
        minutes=0.0,
        metrics=prepared.score(written),
        source=rows[SOURCE][0],
        written=written[0],
    )


def _trained_rung(
    settings: TranslationLadderSettings,
    name: str,
    args: EncoderDecoderTrainingArguments,
    prepared: Prepared,
    home: Path,
) -> TranslatorRung:
    tokenizer, tokens = prepared.tokenizer, prepared.tokens
    set_seed(args.seed)
    minutes = 0.0
    if name == "pretrained":
        model, minutes = _of_language_models(settings, prepared, args)
    else:
        model = make_model(settings.parts_of(name), tokenizer, tokens["train"])
    trainer = EncoderDecoderTrainer(
        model=model,
        args=args,
        train_dataset=tokens["train"],
        eval_dataset=watched(tokens),
        processing_class=tokenizer,
    )
    trainer.train()
    for part in (cast(Any, trainer.model), tokenizer):
        part.save_pretrained(home)
    written = trainer.write(tokens[prepared.split], num_beams=settings.generation.num_beams)
    return TranslatorRung(
        name=_TITLES[name],
        parameters=sum(each.numel() for each in model.parameters()),
        minutes=minutes + trainer.training_seconds / 60,
        metrics=prepared.score(written),
        source=prepared.dataset[prepared.split][SOURCE][0],
        written=written[0],
    )


def _of_language_models(
    settings: TranslationLadderSettings, prepared: Prepared, args: EncoderDecoderTrainingArguments
) -> tuple[PreTrainedModel, float]:
    """Train a language model of each language, and make an encoder and a decoder of them."""
    models, minutes = [], 0.0
    for column in ("input_ids", "labels"):
        folder = f"{args.output_dir}/language_model_of_{'sources' if column == 'input_ids' else 'targets'}"
        limits = {"output_dir": folder, "max_minutes": settings.rungs.language_minutes, "carry": "document"}
        own = StreamTrainingArguments(**{**settings.language_training, **limits})
        with OwnDraws(own.seed):
            options = token_options(prepared.tokenizer)
            language_model = build_model(_LANGUAGE, settings.language_model(), **options)
        texts = {split: _text_of(prepared, split, column) for split in ("train", "validation")}
        trainer = StreamTrainer(language_model, own, texts["train"], texts["validation"])
        trainer.train()
        models.append(language_model)
        minutes += trainer.training_seconds / 60
    bos = prepared.tokenizer.bos_token_id
    model = Seq2SeqForConditionalGeneration.from_encoder_decoder_pretrained(
        *models, attention="none", decoder_start_token_id=bos
    )
    return prepare_writing(
        model, settings.parts_of("pretrained"), prepared.tokenizer, prepared.tokens["train"]
    ), minutes


def _text_of(prepared: Prepared, split: str, column: str) -> TokenText:
    """Return the texts of one side, each with its beginning: what the decoder reads first."""
    start = prepared.tokenizer.bos_token_id
    return TokenText.from_documents([start, *ids] for ids in prepared.tokens[split][column][:])


def translator_line(rung: TranslatorRung) -> str:
    """Say in a line what a rung reached."""
    scores = ", ".join(f"{name} {value:.4g}" for name, value in rung.metrics.items())
    behind = "" if rung.behind is None else f", behind {rung.behind}"
    return f"{rung.name}: {scores}{behind}\n    {rung.source!r} -> {rung.written!r}"


def translator_table(rungs: Sequence[TranslatorRung]) -> str:
    """Write the rungs as a table in Markdown; the mark of a rung names the simplest one that it is behind."""
    rows = [
        [
            rung.name,
            f"{rung.parameters:,}" if rung.parameters else "-",
            f"{rung.minutes:.1f}",
            *(f"{rung.metrics[name]:.1f}" for name in METRICS[:2]),
            f"{100 * rung.metrics['exact_match']:.1f} %",
            "" if rung.behind is None else f"⚠ {rung.behind}",
        ]
        for rung in rungs
    ]
    return markdown_table(["rung", "parameters", "minutes", "BLEU", "chrF", "exact", "behind"], rows)


def plot_translators(rungs: Sequence[TranslatorRung], path: str | Path) -> None:
    """Draw the BLEU of the rungs, a bar each, to a .png, .svg or .pdf file; needs matplotlib."""
    bars = [
        Bar(
            rung.name,
            rung.metrics["bleu"],
            f"{rung.metrics['bleu']:.1f}  ({rung.parameters / 1e6:.1f} M, {rung.minutes:.1f} min)",
            _LEARNT_COLOUR if rung.parameters else _COUNTED_COLOUR,
        )
        for rung in rungs
    ]
    plot_bars(bars, "BLEU (brown: counted, blue: trained by gradient)", path)


TRANSLATORS = Ladder(
    settings=TranslationLadderSettings,
    load=lambda settings: load_parallel(settings.data),
    prepare=prepare,
    climb=climb,
    line=translator_line,
    table=translator_table,
    plot=plot_translators,
)
