"""The parts of `recipes/captioning.py`: its tokens and model, and the facts of its card."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from datasets import Dataset, DatasetDict
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ViTImageProcessor,
    pipeline,
)
from transformers.utils import logging

from ...cards.facts import Examples, SeedRun
from ...cards.measure import collect_examples, measure_speed
from ...data.captions import CAPTIONS, IMAGE, CaptionTask, FeatureImages, PictureImages, asked_of
from ...evaluation.translation import METRICS, sentence_chrf, signature
from ...models.recurrent.captioner import CaptionerForConditionalGeneration
from ...recipe.pictures import draw_captions, draw_looks
from ...recipe.publish import network_facts, run_facts, split_line, told_options
from ...recipe.sections import build_model, token_options
from ...recipe.texts import speed_line
from ...tokenization import marking_tokenizer, unknown_rate
from ...training.captions import CaptionTrainer
from ..translation.build import curve_of, prepare_writing
from ..translation.facts import WritingFacts
from .card import TASK
from .facts import CaptionerArchitecture, CaptionerFacts, PictureFacts
from .rivals import rivals
from .settings import CaptioningSettings, CaptionTokenizerSettings, VisionSettings

logger = logging.get_logger(__name__)

_TIMED = 48  # pictures
_SHOWN, _LOOKED_AT = 8, 3  # pictures in the card
_TOLD_BY_NAME = ("type", "cell", "attention", "num_hidden_layers", "hidden_size", "embedding_size")


def make_processor(task: CaptionTask, settings: VisionSettings) -> None:
    """Make the image processor and give it to the pictures; features alone need none."""
    if not isinstance(task.images, PictureImages):
        return
    if settings.from_pretrained is not None:
        auto: Any = AutoImageProcessor
        processor: Any = auto.from_pretrained(settings.from_pretrained, trust_remote_code=False)
    else:
        size = settings.image_size or _size_of(cast(dict[str, Any], settings.config))
        processor = ViTImageProcessor(size={"height": size, "width": size})
    task.images.processor = processor


def _size_of(config: dict[str, Any]) -> int:
    size = getattr(AutoConfig.for_model(**config), "image_size", None)
    if not isinstance(size, int):
        raise ValueError(f"vision.config of {config['model_type']!r} says no image_size: give vision.image_size.")
    return size


def make_tokenizer(rows: Dataset, settings: CaptionTokenizerSettings) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the training captions; each ends with `</s>`."""
    texts = [text for texts in rows[CAPTIONS][:] for text in texts]
    trained = settings.train(texts, purpose="language-modeling", padding_side="right")
    return marking_tokenizer(trained, add_bos=False, add_eos=True)


def make_tokens(dataset: DatasetDict, tokenizer: Any, settings: CaptionTokenizerSettings) -> DatasetDict:
    """Turn captions into `labels`: in train a row a caption, elsewhere a row a picture, with its first one.

    Training captions longer than `max_length` are left out.
    """
    found = {}
    for split, rows in dataset.items():
        pairs = zip(rows[IMAGE][:], rows[CAPTIONS][:], strict=True)
        numbered = [(number, text) for number, texts in pairs for text in (texts if split == "train" else texts[:1])]
        labels = tokenizer([text for _, text in numbered])["input_ids"]
        kept = [
            (number, ids)
            for (number, _), ids in zip(numbered, labels, strict=True)
            if split != "train" or len(ids) <= settings.max_length
        ]
        if not kept:
            raise ValueError(
                f"Every training caption has more than tokenizer.max_length={settings.max_length} tokens."
            )
        if len(kept) < len(numbered):
            logger.warning(
                "%d training captions have more than %d tokens, and are left out (tokenizer.max_length).",
                *(len(numbered) - len(kept), settings.max_length),
            )
        numbers, ids = zip(*kept, strict=True)
        found[split] = Dataset.from_dict({IMAGE: list(numbers), "labels": list(ids)})
    return DatasetDict(found)


def make_model(settings: CaptioningSettings, task: CaptionTask, tokenizer: Any, tokens: Dataset) -> PreTrainedModel:
    """Build the model of the `model` section for these pictures and words, with its settings for `generate`."""
    vision, options = settings.vision, {**token_options(tokenizer), "decoder_start_token_id": tokenizer.bos_token_id}
    if vision.from_pretrained is not None:
        given = {**options, **{name: value for name, value in settings.model.items() if name != "type"}}
        model = CaptionerForConditionalGeneration.from_vision_pretrained(
            vision.from_pretrained, freeze_vision=vision.freeze, **given
        )
    else:
        if isinstance(task.images, FeatureImages):
            options |= {"feature_size": task.images.feature_size}
        else:
            options |= {"vision_config": vision.config, "vision_stage": vision.stage}
        model = build_model(TASK, settings.model, **options)
    return prepare_writing(model, cast(Any, settings), tokenizer, tokens)


def card_facts(
    settings: CaptioningSettings,
    trainer: CaptionTrainer,
    task: CaptionTask,
    tokens: DatasetDict,
    split: str,
    *,
    written: list[str],
    run: SeedRun,
) -> CaptionerFacts:
    """Gather what the card says of the run and of the saved model, loaded back as anybody would load it.

    Args:
        written: What the model wrote of the pictures of the evaluated split.
    """
    card, folder = settings.card, Path(str(trainer.args.output_dir))
    name: Any = TASK  # transformers' types do not know what `import hfseq` registers
    pipe: Any = pipeline(name, model=str(folder), device="cpu", trust_remote_code=False)
    rows, generation = task.dataset[split], pipe.model.generation_config
    numbers, wanted = rows[IMAGE][:], rows[CAPTIONS][:]
    asked = [asked_of(task, number) for number in numbers[:_TIMED]]
    if card.shows_rows and not task.has_features:
        shown = [task.images.shown(number) for number in numbers[:_SHOWN]]
        draw_captions(shown, written[: len(shown)], wanted, folder)
        draw_looks(pipe, shown[:_LOOKED_AT], folder)
    return CaptionerFacts(
        **run_facts(card, pipe.model, folder, run),
        architecture=_architecture(settings, pipe.model, task),
        data=_data_facts(settings, task, tokens, split, pipe),
        writing=WritingFacts(
            num_beams=generation.num_beams,
            length_penalty=float(generation.length_penalty or 1.0),
            max_new_tokens=generation.max_new_tokens,
        ),
        signature=signature(wanted),
        curve=curve_of(trainer),
        speed=measure_speed(pipe, asked),
        examples=_examples(numbers, wanted, written) if card.shows_rows else Examples(),
        pretrained=None if settings.vision.from_pretrained is None else Path(settings.vision.from_pretrained).name,
        comparisons=[*rivals(task, split), *card.published()],
    )


def _data_facts(
    settings: CaptioningSettings, task: CaptionTask, tokens: DatasetDict, split: str, pipe: Any
) -> PictureFacts:
    captions = {name: part[CAPTIONS][:] for name, part in task.dataset.items()}
    counts = {name: sum(map(len, texts)) for name, texts in captions.items()}
    return PictureFacts(
        **settings.card.data_facts(),
        hub_id=settings.data.hub_id,
        splits={name: part.num_rows for name, part in task.dataset.items()},
        captions=counts,
        evaluated_split=split,
        unknown_rate=unknown_rate(pipe.tokenizer, [text for texts in captions[split] for text in texts]),
        kind=settings.tokenizer.kind,
        vocabulary_size=pipe.model.config.vocab_size,
        lowercase=settings.data.lowercase,
        max_length=settings.tokenizer.max_length,
        left_out=counts["train"] - tokens["train"].num_rows,
    )


def _architecture(settings: CaptioningSettings, model: Any, task: CaptionTask) -> CaptionerArchitecture:
    config, eyes = model.config, model.model.encoder.vision
    inputs = task.images.inputs([task.dataset["train"][0][IMAGE]])
    features = inputs.get("image_features")
    regions = model.model.encoder.regions(inputs["pixel_values"]) if features is None else features
    found = network_facts(config) | {"cell": config.cell.upper() if len(config.cell) < 5 else config.cell}
    return CaptionerArchitecture(
        **found,
        attention=config.attention,
        vision=None if eyes is None else type(eyes).__name__.removesuffix("Model").removesuffix("Backbone"),
        vision_parameters=0 if eyes is None else eyes.num_parameters(),
        regions=regions.shape[1],
        feature_size=config.feature_size,
        options=told_options(settings.model, _TOLD_BY_NAME),
    )


def _examples(numbers: list[int], wanted: list[list[str]], written: list[str]) -> Examples:
    """Show the caption that is most like what was written."""
    scored = [
        max((sentence_chrf(text, own), text) for text in texts) for texts, own in zip(wanted, written, strict=True)
    ]
    scores, best = zip(*scored, strict=True)
    return collect_examples([f"picture {number}" for number in numbers], best, written, scores)


def report_lines(facts: CaptionerFacts) -> Iterator[str]:
    """Say of the finished model how good and how fast it is."""
    yield split_line(facts.data.evaluated_split, {name: facts.runs[0].metrics[name] for name in METRICS})
    yield speed_line(facts.speed)
