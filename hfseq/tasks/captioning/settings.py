"""The settings of the recipe of models that describe images."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ...data.captions import CaptionSettings
from ...evaluation.scores import SCORES
from ...evaluation.translation import METRICS
from ...models.recurrent.captioner import CaptionerConfig
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.captioning import caption_sizes, caption_training
from ...recipe.sections import CardSettings, HubSettings, TokenizerSettings, config_section, resume_flag
from ...settings import check_known, fields_of, option
from ...training.seq2seq import EncoderDecoderTrainingArguments
from ..translation.settings import NOT_OF_TRAINING, WritingSettings

FAMILY = "captioner"
# The image encoder has a section of its own.
_NOT_OF_THE_MODEL = ("vision_config", "freeze_vision", "vision_stage", "feature_size", "decoder_start_token_id")


@dataclass
class CaptionTokenizerSettings(TokenizerSettings):
    """How captions become tokens, see `train_tokenizer`."""

    kind: Literal["bpe", "unigram", "char", "word_with_space", "whitespace"] = option(
        "whitespace", "what a token is; kinds that can write a text again"
    )
    vocab_size: int = option(8_000, "most entries, special tokens included")
    max_length: int = option(64, "captions with more tokens are left out of training")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length < 2:
            raise ValueError(f"tokenizer.max_length={self.max_length} must be at least 2: a token and the end.")
        if self.lowercase:
            raise ValueError("tokenizer.lowercase=true: say data.lowercase=true, which lowers what is compared too.")


@dataclass
class VisionSettings:
    """What looks at the pictures; data of feature vectors need none of it."""

    from_pretrained: str | None = option(None, "a folder or Hub id: start from this image encoder of transformers")
    config: dict[str, Any] | None = option(
        None, "start from scratch with an image encoder of transformers, {model_type: resnet, ...}"
    )
    stage: str | None = option(None, "the stage of a new encoder whose grid gives the regions; null: its output")
    freeze: bool = option(False, "leave the image encoder as it is")
    image_size: int | None = option(None, "height and width of what it reads; null: as its config says")

    def __post_init__(self) -> None:
        if self.from_pretrained is not None and (self.config is not None or self.stage is not None):
            given = f"vision.from_pretrained={self.from_pretrained!r}"
            raise ValueError(f"{given} has a config of its own: leave vision.config and vision.stage out.")
        if self.from_pretrained is not None and self.image_size is not None:
            given = f"vision.image_size={self.image_size}"
            raise ValueError(f"{given}: vision.from_pretrained brings an image processor with a size of its own.")
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"vision.image_size={self.image_size} must be at least 1.")
        if self.freeze and self.from_pretrained is None:
            raise ValueError("vision.freeze=true would keep random weights: give vision.from_pretrained.")

    @property
    def is_said(self) -> bool:
        """Whether there is an image encoder."""
        return self.from_pretrained is not None or self.config is not None


@dataclass
class CaptioningSettings:
    """All settings of the recipe, a section each."""

    data: CaptionSettings
    card: CardSettings
    tokenizer: CaptionTokenizerSettings = field(default_factory=CaptionTokenizerSettings)
    vision: VisionSettings = field(default_factory=VisionSettings)
    model: dict[str, Any] = config_section({FAMILY: CaptionerConfig}, *_NOT_OF_THE_MODEL)
    training: dict[str, Any] = fields_of(EncoderDecoderTrainingArguments, without=NOT_OF_TRAINING)
    generation: WritingSettings = field(default_factory=WritingSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = resume_flag()

    def __post_init__(self) -> None:
        if self.budget.minutes is not None:
            self.training = {**caption_training(self.budget.minutes), **self.training}
        if (metric := self.training.get("metric_for_best_model")) is not None:
            check_known(
                str(metric).removeprefix("eval_"), (*METRICS, "loss"), "training.metric_for_best_model", "score"
            )
        if self.card.ask:
            raise ValueError("card.ask holds texts, and a captioner answers pictures: leave it out.")
        self.card.check_metrics(SCORES)
        self.card.check_said(self.hub.repo_id)

    def follow(self, captions: int, *, has_features: bool) -> None:
        """Check that somebody looks at pictures; fill in what the number of captions decides, where there is a budget.

        Args:
            captions: Those of the training pictures.
            has_features: Whether there are feature vectors in the place of pictures.
        """
        if has_features and self.vision != VisionSettings():
            raise ValueError("The data are feature vectors, which need no image encoder: leave section vision out.")
        if self.budget.is_on:
            self.model = {**caption_sizes(captions), **self.model}
        if not has_features and not self.vision.is_said and self.budget.is_on:
            self.vision.config = {"model_type": "resnet", "embedding_size": 32, "hidden_sizes": [32, 64]}
            self.vision.config |= {"depths": [1, 1], "layer_type": "basic"}
            self.vision.image_size = self.vision.image_size or 32
        if not has_features and not self.vision.is_said:
            raise ValueError(
                "The data are pictures: give an image encoder with vision.from_pretrained=FOLDER (one that has learnt "
                "from many pictures), or vision.config={model_type: resnet, ...}, which starts from scratch."
            )
