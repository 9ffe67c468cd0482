"""The facts of a model card: what a run measured, typed, checked and kept as JSON.

`Facts` is what every card says, `NetworkFacts` and `LabelledFacts` what the cards of several tasks say; `facts.py` in
the folder of a task adds its own.
"""

import json
import statistics
from collections.abc import Collection, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from huggingface_hub.utils import validate_repo_id
from typing_extensions import dataclass_transform

from ..evaluation.scores import SCORES, Score

F = TypeVar("F", bound="Facts")
T = TypeVar("T")

FREE: Final = {"free": True}  # marks a fact that may hold any words, such as rows of the data: `field(metadata=FREE)`
SAME_RUN: Final = "measured in the same run"  # the source of a result that the run measured beside its own
# Marks a fact that each run measures anew: runs of one configuration may differ in it.
MEASURED: Final = {"measured": True}


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def checked(cls: type[T]) -> type[T]:
    """Make a dataclass of keywords that checks their types, and calls each method `validate_...`."""
    return strict(dataclass(kw_only=True)(cls))


@checked
class Source:
    """Where the data come from, and their terms."""

    name: str | None  # what nobody said is None, and the card says so
    license: str | None
    domain: str | None  # what the texts are, e.g. "news headlines"
    hub_id: str | None = None
    url: str | None = None
    restriction: str | None = None  # terms that forbid showing rows or free use, e.g. "non-commercial research only"


@checked
class SplitSource(Source):
    """Data in splits, on one of which the model was evaluated."""

    splits: dict[str, Any]  # split -> its size
    evaluated_split: str
    unknown_rate: float  # share of the evaluated split's tokens that are unknown, 0 to 1

    def validate_splits(self) -> None:
        """Check that the evaluated split and the training texts are counted."""
        if self.evaluated_split not in self.splits:
            raise ValueError(f"evaluated_split {self.evaluated_split!r} is not among the splits {tuple(self.splits)}.")
        if "train" not in self.splits:
            raise ValueError(f"the splits {tuple(self.splits)} must count the training texts as 'train'.")


@checked
class DataFacts(SplitSource):
    """What a model of labelled texts was trained and evaluated on."""

    splits: dict[str, int]  # split -> number of texts
    vocabulary_size: int


@checked
class Network:
    """The network in a line."""

    family: str  # tag on the Hub, e.g. "lstm"
    cell: str  # name for people, e.g. "LSTM"
    num_hidden_layers: int
    hidden_size: int
    embedding_size: int


@checked
class ArchitectureFacts(Network):
    """The network of a model of labelled texts."""

    bidirectional: bool
    pooling: str | None  # None for a tagger, which has no vector of a whole text
    max_length: int  # tokens of a text that the model was trained on; longer texts were cut
    limit: int | None = None  # tokens that it can read, where its positions are learnt; None: any number
    features: str | None = None  # of a bag: what it counts; of a tagger: what it sees of words beside its network
    characters: str | None = None  # what reads the characters of words, with its sizes; None: nothing does


@checked
class SeedRun:
    """One training run."""

    seed: int
    metrics: dict[str, float]
    """Name in `hfseq.evaluation.scores.SCORES` -> value, as the metric gives it (accuracy 0.971, not 97.1)."""
    minutes: float


@checked
class SpeedFacts:
    """What `measure_speed` measured."""

    ms_per_text: float
    texts_per_second: float
    batch_size: int
    in_cpu_time: bool = False  # not by the clock, which on a busy machine counts the others too


@checked
class EnvironmentFacts:
    """Versions and hardware; `environment` fills it."""

    python: str
    torch: str
    transformers: str
    hfseq: str
    cpu: str
    cores: int
    gpu: str | None = None
    load: float | None = None  # processes that wanted a core at the end of the run, where more than there are cores


@checked
class Comparison:
    """Another system's result on the same split."""

    name: str
    metric: str
    value: float
    source: str  # who measured it, with a link where there is one


@checked
class Example:
    """One evaluated text."""

    text: str
    predicted: str
    expected: str
    score: float  # confidence of the prediction, or the absolute error in regression


@checked
class Examples:
    """Texts predicted right and wrong."""

    right: list[Example] = field(default_factory=list)
    wrong: list[Example] = field(default_factory=list)


@checked
class WidgetLabel:
    """One label of a pipeline's answer."""

    label: str
    score: float


@checked
class Widget:
    """A text of our own and the pipeline's answer: the Hub shows both without running the model."""

    text: str
    output: list[WidgetLabel]  # best first


def check_license(license_id: str, name: str | None, link: str | None) -> None:
    """Refuse the licence "other" without a name and a link, which the Hub asks for, and any listed one with them."""
    if license_id != "other" and (name, link) != (None, None):
        raise ValueError(f"license {license_id!r} takes neither license_name nor license_link; only 'other' does.")
    if license_id == "other" and not (name and link and link.startswith("https://")):
        needed = "a license_name and a license_link that begins with https://"
        raise ValueError(f"license 'other' needs {needed}, got {name!r} and {link!r}.")


@checked
class Facts:
    """What every card says of its model; what was measured on a saved model was measured on that of `runs[0]`."""

    kind: str = ""  # which class of facts these are; a task gives it its only value
    model_id: str  # id on the Hub, "user/name"
    summary: str | None  # one sentence: what the model does
    language: str | None  # ISO code
    license: str  # of the weights, as the Hub spells it
    license_name: str | None = None  # of the licence "other"; so is the link to its text
    license_link: str | None = None
    parameters: int
    file_mb: float = field(metadata=MEASURED)
    runs: Sequence[SeedRun] = field(metadata=MEASURED)
    environment: EnvironmentFacts = field(metadata=MEASURED)
    command: str = field(metadata=FREE | MEASURED)  # the exact command of the runs
    comparisons: list[Comparison] = field(default_factory=list, metadata=MEASURED)
    limits: list[str] = field(default_factory=list)  # what the limits written from the facts leave out
    citations: list[str] = field(default_factory=list)  # BibTeX entries that the card does not add by itself

    @property
    def source(self) -> Source:
        """Where the data come from."""
        raise NotImplementedError

    @property
    def languages(self) -> list[str]:
        """ISO codes of the texts that the model reads and writes; empty where nobody said them."""
        return [self.language] if self.language else []

    @property
    def family(self) -> str:
        """The kind of model, by which tables are sorted."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The model's name without its owner."""
        return self.model_id.rsplit("/")[-1]

    @property
    def metric_names(self) -> list[str]:
        """The names of the scores that every run has, the one that people quote first."""
        return list(self.runs[0].metrics)

    def known_metrics(self) -> Collection[str]:
        """Return the names of the scores that such a model may have."""
        return tuple(SCORES)

    def score_of(self, metric: str) -> Score:
        """Return how a score is named and shown."""
        return SCORES[metric]

    def mean(self, metric: str) -> float:
        """Return the mean of a score over the runs."""
        return statistics.mean(run.metrics[metric] for run in self.runs)

    def validate_id_and_license(self) -> None:
        """Check the model's id on the Hub, and that a licence which the Hub does not list is named and linked."""
        validate_repo_id(self.model_id)
        check_license(self.license, self.license_name, self.license_link)

    def validate_runs(self) -> None:
        """Check that the runs can be averaged, that their scores are known, and that comparisons share them."""
        seeds = [run.seed for run in self.runs]
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"runs must hold one result per seed, got the seeds {seeds}.")
        names, known = self.metric_names, self.known_metrics()
        for run in self.runs:
            if set(run.metrics) != set(names):
                raise ValueError(f"seed {run.seed} has the metrics {sorted(run.metrics)}; every run needs the same.")
        if known and not names:
            raise ValueError(f"runs have no metrics; give each some of {known}.")
        if unknown := set(names) - set(known):
            raise ValueError(f"unknown metrics {sorted(unknown)}; choose from {known}.")
        if missing := {row.metric for row in self.comparisons} - set(names):
            raise ValueError(f"comparisons use {sorted(missing)}, which the runs lack: {names}.")

    def save(self, path: str | Path) -> None:
        """Write the facts as JSON, in the order of their fields."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls: type[F], path: str | Path) -> F:
        """Read facts that `save` wrote; unknown, missing or ill-typed values are a ValueError."""
        parsed = read_json(path)
        try:
            return cast(F, _build(cls, parsed, "facts"))
        except (ValueError, StrictDataclassError) as error:
            raise ValueError(f"{path}: {error}") from error


@checked
class NetworkFacts(Facts):
    """What the cards of all networks say that are evaluated on a split of their data."""

    architecture: Network
    data: SplitSource

    @property
    def source(self) -> Source:
        """Where the data come from."""
        return self.data

    @property
    def family(self) -> str:
        """The family of the network."""
        return self.architecture.family


@checked
class LabelledFacts(NetworkFacts):
    """What the cards of models of labelled texts say, be it a label a text or a tag a word."""

    architecture: ArchitectureFacts
    data: DataFacts
    speed: SpeedFacts = field(metadata=MEASURED)
    examples: Examples = field(metadata=FREE | MEASURED)
    pretrained: str | None = None  # weights that came from elsewhere, e.g. "GloVe 6B vectors"

    def validate_restriction(self) -> None:
        """Check that a card does not republish rows that its data forbid to."""
        if self.data.restriction and (self.examples.right or self.examples.wrong):
            terms = f"the data are restricted ({self.data.restriction})"
            raise ValueError(f"{terms}, so the card must not show their rows: leave examples empty.")


def read_json(path: str | Path) -> Any:
    """Parse a JSON file, in which nan and infinity are a ValueError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a number; measure the value again.")


def _build(hint: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into the type `hint`; the types of plain values are left to @strict."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is UnionType and len(parts) == 1 and value is not None:  # facts that may be left out
        return _build(parts[0], value, where)
    if is_dataclass(hint):
        return _build_dataclass(hint, value, where)
    if get_origin(hint) in (list, Sequence) and isinstance(value, list):
        return [_build(get_args(hint)[0], item, f"{where}[{index}]") for index, item in enumerate(value)]
    if get_origin(hint) is dict and isinstance(value, dict):
        return {key: _build(get_args(hint)[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    if hint is float and type(value) is int:
        return float(value)  # 5 and 5.0 are the same number in JSON
    return value


def _build_dataclass(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object with the keys of {cls.__name__}, got {value!r}.")
    known = {each.name for each in fields(cls)}
    optional = {each.name for each in fields(cls) if (each.default, each.default_factory) != (MISSING, MISSING)}
    if unknown := sorted(value.keys() - known):
        raise ValueError(f"{where} has unknown keys {unknown}; it takes {sorted(known)}.")
    if missing := sorted(known - optional - value.keys()):
        raise ValueError(f"{where} lacks the keys {missing}.")
    hints = get_type_hints(cls)
    return cls(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in value.items()})
