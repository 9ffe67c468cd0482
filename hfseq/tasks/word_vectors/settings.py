"""The settings of the word vectors recipe."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...data.running_text import RunningTextSettings
from ...models.words.evaluation import read_analogies, read_pairs
from ...models.words.word2vec import Word2VecConfig
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.words import fewest_occurrences, vector_size, word_training
from ...recipe.sections import CardSettings, HubSettings, config_section, resume_flag
from ...settings import fields_of, option
from ...tokenization.kinds import Split
from ...training.words.trainer import FILLED_IN, Word2VecTrainingArguments
from .facts import ANALOGIES

_MIN_COUNT = 5
Question = tuple[list[str], list[str]]  # words to add, words to subtract


@dataclass
class CorpusSettings:
    """How text becomes words."""

    split: Split = option("whitespace", "whitespace: the text is cut into words already; word: cut it")
    lowercase: bool = option(False, "lower-case the text")
    min_count: int | None = option(None, "rarer words are left out; null: 5, with a budget 2 if the corpus is small")
    max_words: int | None = option(None, "keep the most frequent so many; null: all")
    phrases: Literal[0, 1, 2] = option(0, "passes that join frequent pairs: new_york; a second finds longer phrases")
    phrase_min_count: int = option(5, "pairs that are rarer stay apart")
    phrase_threshold: float = option(10.0, "the higher, the fewer pairs, see hfseq.Phrases")

    def __post_init__(self) -> None:
        for name in ("min_count", "max_words", "phrase_min_count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"corpus.{name}={value} must be 1 or more.")


@dataclass
class EvaluationSettings:
    """Which test sets the vectors are asked."""

    analogies: str | None = option(None, "file of analogies, four words a line, sections begin with ':'; null: none")
    pairs: dict[str, str] = field(
        default_factory=dict,
        metadata={"help": "name -> file of word pairs with a number; known: wordsim353, simlex999, men, rare_words"},
    )
    restrict_vocab: int = option(30_000, "ask analogies among so many of the most frequent words")

    def __post_init__(self) -> None:
        if self.restrict_vocab < 1:
            raise ValueError(f"evaluation.restrict_vocab={self.restrict_vocab} leaves no word; give 1 or more.")
        if taken := sorted(self.pairs.keys() & ANALOGIES.keys()):
            raise ValueError(f"evaluation.pairs uses the names {taken} of analogies; name these word pairs otherwise.")
        paths = {"analogies": self.analogies, **{f"pairs.{name}": path for name, path in self.pairs.items()}}
        for key, path in paths.items():
            if path is not None and not Path(path).is_file():
                raise ValueError(f"evaluation.{key}={path!r} is no file; give the path of one, or leave the set out.")

    def metrics(self) -> list[str]:
        """Return the names of what is measured, once every file is known to be readable."""
        for path in self.pairs.values():
            read_pairs(path)
        if self.analogies is not None:
            read_analogies(self.analogies)
        return [*self.pairs, *(ANALOGIES if self.analogies is not None else ())]


@dataclass
class SaveSettings:
    """What of the model is kept."""

    vectors_only: bool = option(False, "leave the output vectors out: half the size, but no further training")


@dataclass(kw_only=True)
class WordCardSettings(CardSettings):
    """What the model card says and no run can measure."""

    ask: list[str] = field(
        default_factory=list, metadata={"help": "words whose nearest ones the card shows", "was": "neighbours"}
    )
    analogies: list[str] = field(
        default_factory=list, metadata={"help": "sums whose nearest words the card shows: king - man + woman"}
    )
    data_period: str | None = option(None, "when the text was written")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.questions()

    def questions(self) -> list[Question]:
        """Read the sums of words, `king - man + woman`."""
        return [_parsed_sum(text) for text in self.analogies]


@dataclass
class WordVectorsSettings:
    """All settings of the recipe, a section each."""

    data: RunningTextSettings
    card: WordCardSettings
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    model: dict[str, Any] = config_section(Word2VecConfig, "tie_word_embeddings", *FILLED_IN)
    training: dict[str, Any] = fields_of(Word2VecTrainingArguments)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    save: SaveSettings = field(default_factory=SaveSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    resume: bool = resume_flag()

    def __post_init__(self) -> None:
        Word2VecConfig(**self.model)
        if not Word2VecTrainingArguments(**self.training).output_dir:
            raise ValueError("training.output_dir is not given: name the folder of the run, such as runs/my_vectors.")
        self.card.check_metrics(self.evaluation.metrics(), kind="metric of this evaluation")
        self.card.check_said(self.hub.repo_id)

    def fewest_occurrences(self, words: int) -> int:
        """Return `corpus.min_count`, or where nobody said it what the number of words decides."""
        usual = fewest_occurrences(words) if self.budget.is_on else _MIN_COUNT
        return usual if self.corpus.min_count is None else self.corpus.min_count

    def follow(self, words: int) -> None:
        """Fill in what the number of words of the corpus decides."""
        self.corpus.min_count = self.fewest_occurrences(words)
        if self.budget.minutes is not None:
            self.model = {"hidden_size": vector_size(words), **self.model}
            self.training = {**word_training(words, self.budget.minutes), **self.training}


def _parsed_sum(text: str) -> Question:
    signs, words = ["+", *text.split()[1::2]], text.split()[::2]
    if len(words) != len(signs) or len(words) < 2 or not set(signs) <= {"+", "-"}:
        raise ValueError(f"card.analogies holds {text!r}, but takes words with + or - between: king - man + woman.")
    pairs = list(zip(signs, words, strict=True))
    return [word for sign, word in pairs if sign == "+"], [word for sign, word in pairs if sign == "-"]
