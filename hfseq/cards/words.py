"""What a person says in a model card, and no run can measure."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.utils import validate_repo_id

from .checks import check_words
from .facts import Comparison, check_license

_FACTS = ("model_id", "summary", "language", "license", "license_name", "license_link", "limits", "citations")


def _id_of(folder: Path) -> str:
    # Other characters, and such at the ends, are refused by the Hub.
    return re.sub(r"[^\w]+", "-", folder.resolve().name, flags=re.ASCII).strip("-_") or "model"


@dataclass(kw_only=True)
class CardWords:
    """What a model card says and no run can measure."""

    model_id: str | None = field(
        default=None, metadata={"help": "id on the Hub, user/name, that the snippet loads; null: the folder's name"}
    )
    summary: str | None = field(default=None, metadata={"help": "one sentence: what the model does"})
    data_name: str | None = field(default=None, metadata={"help": "name of the data"})
    data_license: str | None = field(default=None, metadata={"help": "licence of the data"})
    data_domain: str | None = field(default=None, metadata={"help": "what the texts are, e.g. news headlines"})
    data_url: str | None = field(default=None, metadata={"help": "where the data come from"})
    data_restriction: str | None = field(default=None, metadata={"help": "terms that forbid showing rows"})
    language: str | None = field(default=None, metadata={"help": "ISO code"})
    license: str = field(default="apache-2.0", metadata={"help": "licence of the weights, as the Hub spells it"})
    license_name: str | None = field(default=None, metadata={"help": "name of the licence `other`"})
    license_link: str | None = field(default=None, metadata={"help": "where the text of the licence `other` is"})
    comparisons: list[dict[str, Any]] = field(
        default_factory=list, metadata={"help": "published results: name, metric, value, source"}
    )
    limits: list[str] = field(default_factory=list, metadata={"help": "limits that the facts do not show"})
    citations: list[str] = field(default_factory=list, metadata={"help": "BibTeX entries"})

    def __post_init__(self) -> None:
        if self.model_id is not None:
            validate_repo_id(self.model_id)
        if self.data_url is not None and not self.data_url.startswith("https://"):
            raise ValueError(f"card.data_url={self.data_url!r} is no link for a card: it must begin with https://.")
        check_license(self.license, self.license_name, self.license_link)
        check_words(self._words())

    def facts(self, folder: Path) -> dict[str, Any]:
        """Return the keywords of `Facts` that a person says; a model without an id is called as its folder."""
        said = {name: getattr(self, name) for name in _FACTS}
        return said | {"model_id": self.model_id or _id_of(folder)}

    def data_facts(self) -> dict[str, Any]:
        """Return the keywords of `Source` that a person says."""
        return {name: getattr(self, f"data_{name}") for name in ("name", "license", "domain", "url", "restriction")}

    def published(self) -> list[Comparison]:
        """Return the results of other systems."""
        return [Comparison(**row) for row in self.comparisons]

    def _words(self) -> dict[str, str]:
        # Every text that the card takes over as it is; what the model is asked may be any text.
        words = {f"card.{name}": value for name, value in vars(self).items() if isinstance(value, str)}
        for name in ("limits", "citations"):
            words |= {f"card.{name}[{index}]": text for index, text in enumerate(vars(self)[name])}
        for index, row in enumerate(self.published()):
            words |= {f"card.comparisons[{index}].{key}": getattr(row, key) for key in ("name", "source")}
        return words
