"""The settings of the comparison of sentence vectors."""

from dataclasses import dataclass, field

from ...data.pairs import PairSettings
from ...retrieval.encode import POOLINGS, WEIGHTINGS
from ...settings import check_known, option

_KEYS = ("model", "pooling", "weighting")


@dataclass
class CompareSettings:
    """What is compared, and where the table goes."""

    output_dir: str = field(metadata={"help": "folder of similarity.json and similarity.md"})
    encoders: dict[str, dict[str, str]] = field(
        default_factory=dict, metadata={"help": "name -> {model: FOLDER or Hub id, pooling: mean, weighting: none}"}
    )
    batch_size: int = option(64, "sentences that a network reads at once")
    disable_tqdm: bool = option(False, "show no progress")

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"compare.batch_size={self.batch_size} must be 1 or more.")
        for name, encoder in self.encoders.items():
            where = f"compare.encoders: {name!r}"
            for key in encoder:
                check_known(key, _KEYS, where)
            if not encoder.get("model"):
                raise ValueError(f"{where} names no model: give a folder or a Hub id.")
            check_known(encoder.get("pooling", "mean"), POOLINGS, where, kind="pooling")
            check_known(encoder.get("weighting", "none"), WEIGHTINGS, where, kind="weighting")


@dataclass
class SentenceSimilaritySettings:
    """All settings of the recipe, a section each."""

    data: PairSettings
    compare: CompareSettings
