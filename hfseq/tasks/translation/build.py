"""The parts of `recipes/translation.py`: its pairs, tokens and model, and the facts of its card."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from datasets import Dataset, DatasetDict
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast, pipeline
from transformers.utils import logging

from ...cards.facts import Examples, SeedRun
from ...cards.measure import collect_examples, measure_speed
from ...data.parallel import SOURCE, TARGET
from ...evaluation.translation import METRICS, sentence_chrf, signature
from ...recipe.publish import network_facts, run_facts, split_line, told_options
from ...recipe.sections import SPECIAL_IDS, build_model
from ...recipe.texts import most_tokens, speed_line
from ...registry import FAMILIES
from ...settings import known_fields
from ...tokenization import marking_tokenizer, unknown_rate
from ...training.seq2seq import EncoderDecoderTrainer
from .card import TASK
from .facts import CurvePoint, EncoderDecoderFacts, PairFacts, TranslatorFacts, WritingFacts, WrittenText
from .rivals import rivals
from .settings import PairTokenizerSettings, TranslationSettings, WriterParts

logger = logging.get_logger(__name__)

_VALIDATED = 1_000  # pairs of validation at most that are written at each evaluation
_TIMED_TEXTS = 48
_TOLD_BY_NAME = (
    "type",
    "cell",
    "attention",
    "num_hidden_layers",
    "num_encoder_layers",
    "hidden_size",
    "embedding_size",
)


def make_tokenizer(rows: Dataset, settings: PairTokenizerSettings) -> PreTrainedTokenizerBase:
    """Train the tokenizer on the training pairs: one for both sides, or a pair of them.

    Each text, a source or a target, ends with `</s>`. What begins a target is `<s>`, which the decoder reads first.
    """
    written: dict[str, Any] = {"purpose": "language-modeling", "padding_side": "right"}
    if settings.shared:
        return _ending(settings.train([*rows[SOURCE][:], *rows[TARGET][:]], **written))
    from ...tokenization.source_target import SourceTargetTokenizer

    source = settings.train(rows[SOURCE][:])
    plain = PairTokenizerSettings(kind=settings.kind, vocab_size=settings.vocab_size, min_count=settings.min_count)
    both: PreTrainedTokenizerBase = SourceTargetTokenizer(source, _ending(plain.train(rows[TARGET][:], **written)))
    return both


def _ending(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    return marking_tokenizer(tokenizer, add_bos=False, add_eos=True)


def make_tokens(dataset: DatasetDict, tokenizer: Any, settings: PairTokenizerSettings) -> DatasetDict:
    """Turn pairs into `input_ids` and `labels`; training pairs with a side longer than `max_length` are left out.

    A text that is cut has no end, and a target that is cut would teach the model to stop too early.
    """

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        texts = {"text": batch[SOURCE], "text_target": batch[TARGET]}
        encoded = tokenizer(**texts, truncation=False, verbose=False)
        return {"input_ids": encoded["input_ids"], "labels": encoded["labels"]}

    tokens = dataset.map(encode, batched=True, remove_columns=[SOURCE, TARGET], desc="Tokenizing")
    longest, train = settings.max_length, tokens["train"]
    columns = zip(train["input_ids"][:], train["labels"][:], strict=True)
    kept = [place for place, both in enumerate(columns) if max(map(len, both)) <= longest]
    if not kept:
        raise ValueError(f"Every training pair has more than tokenizer.max_length={longest} tokens: raise it.")
    if len(kept) < train.num_rows:
        share = 100 - 100 * len(kept) / train.num_rows
        told = f"{train.num_rows - len(kept):,} training pairs ({share:.1f} %) have more than {longest} tokens"
        logger.warning("%s on a side (tokenizer.max_length), and are left out.", told)
    tokens["train"] = train.select(kept)
    return tokens


def watched(tokens: DatasetDict) -> Dataset:
    """Return the pairs of validation that are written at each evaluation: not more than take a moment."""
    rows = tokens["validation"]
    return rows.select(range(min(rows.num_rows, _VALIDATED)))


def check_lengths(tokens: DatasetDict, model: Mapping[str, Any]) -> None:
    """Refuse before the training a text that the learned positions have no place for."""
    limit = most_tokens(model)
    for split, rows in tokens.items() if limit is not None else ():
        longest = max(max(map(len, rows[name][:])) for name in ("input_ids", "labels"))
        if longest > cast(int, limit):
            cure = f"raise model.max_position_embeddings to {longest} or more, or lower tokenizer.max_length for train"
            raise ValueError(
                f"A text of split {split!r} has {longest} tokens, more than the {limit} positions: {cure}."
            )


def make_model(settings: WriterParts, tokenizer: Any, tokens: Dataset) -> PreTrainedModel:
    """Build the model of the `model` section for these vocabularies, with its settings for `generate`."""
    config, source = FAMILIES[settings.model["type"]].config, getattr(tokenizer, "source", tokenizer)
    options = {"vocab_size": len(source), **{name: getattr(tokenizer, name) for name in SPECIAL_IDS}}
    options["decoder_start_token_id"] = tokenizer.bos_token_id
    if source is not tokenizer:
        options |= {"decoder_vocab_size": len(tokenizer), "encoder_pad_token_id": source.pad_token_id}
    if "max_position_embeddings" in known_fields(config):
        options["max_position_embeddings"] = settings.tokenizer.max_length
    return prepare_writing(build_model(TASK, settings.model, **options), settings, tokenizer, tokens)


def prepare_writing(model: PreTrainedModel, settings: WriterParts, tokenizer: Any, tokens: Dataset) -> PreTrainedModel:
    """Give the model its settings for `generate`."""
    writing, longest = settings.generation, max(map(len, tokens["labels"][:]))
    generation: Any = model.generation_config
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    generation.update(
        num_beams=writing.num_beams,
        max_new_tokens=writing.max_new_tokens or _most_tokens(longest, most_tokens(settings.model)),
        # Of the special tokens only the end is there to be written.
        suppress_tokens=sorted(special - {tokenizer.eos_token_id}),
        **({"length_penalty": float(writing.length_penalty)} if writing.num_beams > 1 else {}),
    )
    return model


def _most_tokens(longest: int, limit: int | None) -> int:
    tokens = longest + longest // 2
    return tokens if limit is None else min(tokens, limit - 1)


def card_facts(
    settings: TranslationSettings,
    trainer: EncoderDecoderTrainer,
    dataset: DatasetDict,
    tokens: DatasetDict,
    split: str,
    *,
    written: list[str],
    run: SeedRun,
) -> TranslatorFacts:
    """Gather what the card says of the run and of the saved model, loaded back as anybody would load it.

    Args:
        written: What the model made of the rows of the evaluated split.
    """
    card, data, folder = settings.card, settings.data, Path(str(trainer.args.output_dir))
    task: Any = TASK  # transformers' types do not know what `import hfseq` registers
    pipe: Pipeline = pipeline(task, model=str(folder), device="cpu", trust_remote_code=False)
    rows, config, tokenizer = dataset[split], pipe.model.config, cast(Any, pipe.tokenizer)
    generation: Any = pipe.model.generation_config
    return TranslatorFacts(
        **run_facts(card, pipe.model, folder, run),
        architecture=EncoderDecoderFacts(
            **_network(config),
            num_encoder_layers=config.num_encoder_layers or config.num_hidden_layers,
            attention=getattr(config, "attention", None),
            options=told_options(settings.model, _TOLD_BY_NAME),
        ),
        data=PairFacts(
            **card.data_facts(),
            hub_id=data.hub_id,
            splits={name: part.num_rows for name, part in dataset.items()},
            evaluated_split=split,
            unknown_rate=unknown_rate(getattr(tokenizer, "source", tokenizer), rows[SOURCE][:]),
            source_language=data.source_language,
            target_language=data.target_language,
            copies_source=data.copies_source,
            kind=settings.tokenizer.kind,
            vocabulary_size=config.vocab_size,
            target_vocabulary_size=getattr(config, "decoder_vocab_size", None),
            max_length=settings.tokenizer.max_length,
            left_out=dataset["train"].num_rows - tokens["train"].num_rows,
            validated=watched(tokens).num_rows,
        ),
        writing=WritingFacts(
            num_beams=generation.num_beams,
            length_penalty=float(generation.length_penalty or 1.0),
            max_new_tokens=generation.max_new_tokens,
        ),
        signature=signature(),
        curve=curve_of(trainer),
        speed=measure_speed(pipe, rows[SOURCE][:_TIMED_TEXTS]),
        examples=_examples(rows, written) if card.shows_rows else Examples(),
        widgets=[WrittenText(text=text, written=_answer(pipe, text)) for text in card.ask],
        comparisons=[*rivals(dataset["train"], rows, copies_source=data.copies_source), *card.published()],
    )


def _network(config: Any) -> dict[str, Any]:
    found = network_facts(config)
    cell = getattr(config, "cell", None)  # a recurrent network is called as its cell
    return found if cell is None else found | {"cell": cell.upper() if cell in ("lstm", "gru", "rnn") else cell}


def curve_of(trainer: EncoderDecoderTrainer) -> list[CurvePoint]:
    """Return the evaluations of a training, each with its minutes and BLEU."""
    entries = [entry for entry in trainer.state.log_history if f"eval_{METRICS[0]}" in entry]
    return [
        CurvePoint(minutes=entry["eval_minutes"], step=int(entry["step"]), score=entry[f"eval_{METRICS[0]}"])
        for entry in entries
    ]


def _examples(rows: Dataset, written: list[str]) -> Examples:
    wanted = rows[TARGET][:]
    scores = [sentence_chrf(one, other) for one, other in zip(wanted, written, strict=True)]
    return collect_examples(rows[SOURCE][:], wanted, written, scores)


def _answer(pipe: Pipeline, text: str) -> str:
    return str(cast(Any, pipe(text))[0]["generated_text"])


def report_lines(facts: TranslatorFacts) -> Iterator[str]:
    """Say of the finished model what it writes, how good and how fast it is."""
    for widget in facts.widgets:
        yield f"{widget.text!r} -> {widget.written!r}"
    yield split_line(facts.data.evaluated_split, facts.runs[0].metrics)
    yield speed_line(facts.speed)
