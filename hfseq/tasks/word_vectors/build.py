"""The parts of the word vectors recipe: its settings, its corpus, its model, and the facts of its card.

`recipes/word2vec.py` strings them together in eight steps.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, IterableDataset
from transformers import PreTrainedConfig

from ...cards.facts import Comparison
from ...cards.measure import environment, model_size_mb
from ...cards.words import CardWords
from ...data.corpus import WordCorpus
from ...data.phrases import Phrases
from ...data.running_text import RunningTextSettings
from ...models.words.evaluation import read_analogies, read_pairs
from ...models.words.word2vec import SPECIAL_TOKENS, Word2VecConfig, Word2VecModel
from ...recipe.publish import HubSettings
from ...settings import check_known, fields_of
from ...tokenization import Split
from ...training.words.engines import chosen_engine
from ...training.words.trainer import FILLED_IN, Word2VecTrainer, Word2VecTrainingArguments
from .facts import ANALOGIES, CorpusFacts, Evaluation, VectorArchitecture, VectorRun, WordVectorFacts
from .measures import EvaluationSettings, nearest_words, solved_analogies

_FROM_TRANSFORMERS = tuple(item.name for item in dataclasses.fields(PreTrainedConfig))

Question = tuple[list[str], list[str]]
"""Words to add, words to subtract."""


@dataclass
class CorpusSettings:
    """How text becomes words."""

    split: Split = field(
        default="whitespace", metadata={"help": "whitespace: the text is cut into words already; word: cut it"}
    )
    lowercase: bool = field(default=False, metadata={"help": "lower-case the text"})
    min_count: int = field(default=5, metadata={"help": "rarer words are left out"})
    max_words: int | None = field(default=None, metadata={"help": "keep the most frequent so many; null: all"})
    phrases: Literal[0, 1, 2] = field(
        default=0, metadata={"help": "passes that join frequent pairs: new_york; a second one finds longer phrases"}
    )
    phrase_min_count: int = field(default=5, metadata={"help": "pairs that are rarer stay apart"})
    phrase_threshold: float = field(default=10.0, metadata={"help": "the higher, the fewer pairs, see hfseq.Phrases"})

    def __post_init__(self) -> None:
        """Refuse what leaves no corpus."""
        for name in ("min_count", "max_words", "phrase_min_count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"corpus.{name}={value} must be 1 or more.")


@dataclass
class SaveSettings:
    """What of the model is kept."""

    vectors_only: bool = field(
        default=False, metadata={"help": "leave the output vectors out: half the size, but no further training"}
    )


@dataclass(kw_only=True)
class CardSettings(CardWords):
    """What the model card says and no run can measure."""

    neighbours: list[str] = field(metadata={"help": "words whose nearest ones the card shows"})
    analogies: list[str] = field(
        default_factory=list, metadata={"help": "sums whose nearest words the card shows: king - man + woman"}
    )
    data_period: str | None = field(default=None, metadata={"help": "when the text was written"})

    def __post_init__(self) -> None:
        """Refuse before the training what the card would refuse after it."""
        if not self.neighbours:
            raise ValueError("card.neighbours is empty: give one word or more, whose nearest ones the card shows.")
        for text in self.analogies:
            parsed_sum(text)
        for row in self.comparisons:
            Comparison(**row)
        super().__post_init__()


@dataclass
class WordVectorSettings:
    """All settings of the recipe, a section each."""

    data: RunningTextSettings
    card: CardSettings
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    model: dict[str, Any] = fields_of(Word2VecConfig, without=(*FILLED_IN, *_FROM_TRANSFORMERS))
    training: dict[str, Any] = fields_of(Word2VecTrainingArguments)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    save: SaveSettings = field(default_factory=SaveSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint in training.output_dir"})

    def __post_init__(self) -> None:
        """Refuse before the corpus is read what would fail after it."""
        Word2VecConfig(**self.model)
        if not Word2VecTrainingArguments(**self.training).output_dir:
            raise ValueError("training.output_dir is not given: name the folder of the run, such as runs/my_vectors.")
        metrics = list(self.evaluation.pairs)
        for path in self.evaluation.pairs.values():
            read_pairs(path)
        if self.evaluation.analogies is not None:
            metrics += ANALOGIES
            read_analogies(self.evaluation.analogies)
        for row in self.card.comparisons:
            check_known(row["metric"], metrics, "card.comparisons", kind="metric of this evaluation")


def parsed_sum(text: str) -> Question:
    """Read a sum of words, `king - man + woman`."""
    signs, words = ["+", *text.split()[1::2]], text.split()[::2]
    if len(words) != len(signs) or len(words) < 2 or not set(signs) <= {"+", "-"}:
        raise ValueError(f"card.analogies holds {text!r}, but takes words with + or - between: king - man + woman.")
    pairs = list(zip(signs, words, strict=True))
    return [word for sign, word in pairs if sign == "+"], [word for sign, word in pairs if sign == "-"]


def read_corpus(source: Path | Dataset | IterableDataset, settings: WordVectorSettings) -> WordCorpus:
    """Read the text once, and once before for each pass that looks for phrases.

    Raises:
        ValueError: If no word of `card.neighbours` will have a vector.
    """
    options = settings.corpus
    reading: dict[str, Any] = {
        "split": options.split,
        "lowercase": options.lowercase,
        "text_column": settings.data.text_column,
    }
    phrases = None
    for _ in range(options.phrases):
        phrases = Phrases.learn(
            source,
            min_count=options.phrase_min_count,
            threshold=options.phrase_threshold,
            phrases=phrases,
            **reading,
        )
    corpus = WordCorpus.read(
        source, min_count=options.min_count, max_words=options.max_words, phrases=phrases, **reading
    )
    asked = settings.card.neighbours
    if not settings.model.get("ngram_buckets") and set(asked).isdisjoint(corpus.words):
        raise ValueError(
            f"card.neighbours={asked} are not among the {len(corpus.words)} words of the corpus, such as "
            f"{', '.join(corpus.words[:10])}: name words that are, lower corpus.min_count, or see corpus.lowercase."
        )
    return corpus


def make_config(settings: WordVectorSettings, corpus: WordCorpus) -> Word2VecConfig:
    """Build the configuration of the `model` section for this vocabulary."""
    return Word2VecConfig(**settings.model, vocab_size=len(corpus.words) + len(SPECIAL_TOKENS))


def words_per_second(trainer: Word2VecTrainer) -> float:
    """Words of the running text that were trained on in a second, over all epochs that were read."""
    state, corpus = trainer.state, trainer.corpus
    epochs = state.epoch + state.position / len(corpus)
    return epochs * corpus.raw_words / max(state.seconds, 1e-9)


def card_facts(
    settings: WordVectorSettings,
    trainer: Word2VecTrainer,
    folder: Path,
    *,
    metrics: dict[str, float],
    evaluations: dict[str, Evaluation],
    command: str,
) -> WordVectorFacts:
    """Gather what the card says: from the settings, from the run, and asked of the saved model.

    Args:
        settings: Of the run.
        trainer: When it has trained.
        folder: The saved model; it is loaded back, as anybody would load it.
        metrics: See `evaluate_vectors`.
        evaluations: See there.
        command: The launch line.
    """
    card, model = settings.card, Word2VecModel.from_pretrained(folder, trust_remote_code=False)
    run = VectorRun(
        seed=trainer.args.seed,
        metrics=metrics,
        minutes=trainer.state.seconds / 60,
        words_per_second=words_per_second(trainer),
    )
    return WordVectorFacts(
        model_id=card.model_id,
        summary=card.summary,
        language=card.language,
        license=card.license,
        parameters=model.num_parameters(),
        file_mb=model_size_mb(folder),
        architecture=_architecture(settings, trainer, model.config),
        corpus=_corpus(settings, trainer.corpus),
        runs=[run],
        evaluations=evaluations,
        neighbours=nearest_words(model.vectors, card.neighbours),
        analogies=solved_analogies(model.vectors, [parsed_sum(text) for text in card.analogies]),
        environment=environment(),
        command=command,
        comparisons=[Comparison(**row) for row in card.comparisons],
        limits=card.limits,
        citations=card.citations,
        license_name=card.license_name,
        license_link=card.license_link,
    )


def _architecture(
    settings: WordVectorSettings, trainer: Word2VecTrainer, config: Word2VecConfig
) -> VectorArchitecture:
    return VectorArchitecture(
        architecture=config.architecture,
        loss=config.loss,
        hidden_size=config.hidden_size,
        window=config.window,
        negatives=config.negatives if config.loss == "negative-sampling" else 0,
        sample=float(config.sample),
        min_count=settings.corpus.min_count,
        buckets=config.ngram_buckets,
        epochs=trainer.state.epoch,  # a resumed run may have had more than it now asks for
        engine=chosen_engine(trainer.args.engine, config, trainer.args.device),
        has_output=config.with_outputs,
    )


def _corpus(settings: WordVectorSettings, corpus: WordCorpus) -> CorpusFacts:
    card = settings.card
    return CorpusFacts(
        name=card.data_name,
        license=card.data_license,
        domain=card.data_domain,
        words=corpus.raw_words,
        types=corpus.raw_types,
        vocabulary=len(corpus.words),
        split=corpus.split,
        lowercase=corpus.lowercase,
        phrases=settings.corpus.phrases,
        period=card.data_period,
        hub_id=settings.data.hub_id,
        url=card.data_url,
        restriction=card.data_restriction,
    )
