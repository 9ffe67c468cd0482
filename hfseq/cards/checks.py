"""The checks of a model card: words before the training, facts before the rendering, the text before it is written.

What a person or the data wrote may hold any word ("call my nan"). Such facts are marked `FREE`, and a template shows
them under "Examples" and "Confused labels", in a block of Python, in the line "Data" (`_data.md`) or as marks in code,
`<label>`. Only the rest of a card is searched for values that are missing.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ..settings.plain_yaml import read_yaml
from .facts import Facts

_REQUIRED_KEYS = ("language", "license", "library_name", "pipeline_tag", "tags")
NO_LANGUAGE = "in a language that was not stated"  # a card that says so has no such key
NO_WORDS = "It reads numbers, which have no language."  # neither has this one
_RESULT_KEYS = ("metrics", "model-index")
# The Hub cannot show what such a model answers, and there may be no test set in the language of its corpus.
_WITHOUT_RESULTS = "feature-extraction"
_PLACEHOLDER = re.compile(
    r"(?i:\[?more information needed\]?|lorem ipsum|\byour[-_](?:name|model|user)|<(?:your|model|name|path)[^>]*>)"
    r"|\b(?:TODO|TBD|FIXME|XXX)\b"  # in capitals: a todo list is a thing that people talk of
)
_MISSING_VALUE = re.compile(r"(?<![\w.-])(?:None|NaN|nan|inf)(?![\w-]|\.\w)")
_MACHINE_PATH = re.compile(r"(?<![\w.])(?:/(?:home|root|Users|tmp)/|[A-Z]:\\)\S*")
_LINK = re.compile(r"\]\(([^)\s]*)\)")
_ADDRESS = re.compile(r"https://[\w-]+(\.[\w-]+)+")
_FREE_PARTS = re.compile(
    r"^## (?:Examples|Confused labels)\n.*?(?=^## |\Z)|^```python\n.*?^```$", re.DOTALL | re.MULTILINE
)
_CODE = re.compile(r"^```\w*\n.*?^```$", re.DOTALL | re.MULTILINE)
_VALUES = re.compile(r"^(?:- \*\*(?!Data:)[\w ]+:\*\* .*|\| [^|]+ \| [^|]+ \|)$", re.MULTILINE)
_MARK = re.compile(r"`<[^`]*>`")


def check_words(words: Mapping[str, str]) -> None:
    """Refuse what a person wrote for a card if the card could not show it; cheap, so ask before the training.

    `words` are the texts by where each was given. One is refused that is empty, says None or nan and nothing else, or
    holds words of a placeholder, a path of a machine or a link that is no https:// address.
    """
    defects = [f"{where} has {defect}" for where, text in words.items() for defect in _word_defects(text)]
    if defects:
        raise ValueError("the model card could not say this: " + "; ".join(defects) + ". Write it anew.")


def _word_defects(text: str) -> Iterator[str]:
    if not text.strip() or _MISSING_VALUE.fullmatch(text.strip()):
        yield f"no value: {text!r}"
    yield from _found(text, "a placeholder", _PLACEHOLDER)
    yield from _found(text, "a machine's path", _MACHINE_PATH)
    yield from _link_defects(text, anchors=set())


def check_facts(facts: Facts) -> None:
    """Refuse facts that say nothing; their types have been checked when they were made."""
    for path, value in _leaves(facts, "facts"):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{path} is {value!r}, and a card shows numbers alone; measure it again.")
    check_words({path: value for path, value in _leaves(facts, "facts", free=False) if isinstance(value, str)})


def check_card(text: str, pictures: Collection[str] = ()) -> None:
    """Refuse a card that a reader could not use, and name every defect.

    The sentences asked, the labels and the rows under "Examples" and "Confused labels" may hold any words.

    Args:
        pictures: The files beside the card, which it may show.
    """
    parts = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    if parts is None:
        raise ValueError("the card has no YAML front matter; start it with '---', the metadata and '---'.")
    front_matter, body = read_yaml(parts[1], "the card's front matter"), parts[2]
    if not isinstance(front_matter, dict):
        raise ValueError(f"the card's front matter is no mapping of keys but {front_matter!r}.")
    shown = _FREE_PARTS.sub("", body)
    prose = _CODE.sub("", shown)
    defects = [
        *_front_matter_defects(front_matter, body),
        *_table_defects(prose),
        *_prose_defects(prose, pictures),
        *_found(shown, "a machine's path", _MACHINE_PATH),
    ]
    if defects:
        raise ValueError("the model card has defects: " + "; ".join(defects) + ". Correct the facts and render again.")


def _front_matter_defects(metadata: dict[str, Any], body: str) -> Iterator[str]:
    needs_results = metadata.get("pipeline_tag") != _WITHOUT_RESULTS
    required = (*_REQUIRED_KEYS, *_RESULT_KEYS) if needs_results else _REQUIRED_KEYS
    unsaid = {"language"} if NO_LANGUAGE in body or NO_WORDS in body else set()
    yield from (f"front matter lacks {key!r}" for key in required if key not in unsaid and not metadata.get(key))
    if metadata.get("library_name", "transformers") != "transformers":
        yield f"library_name is {metadata['library_name']!r}, so pipeline(model=id) would refuse it"
    if metadata.get("license") == "other" and not (metadata.get("license_name") and metadata.get("license_link")):
        yield "license 'other' lacks license_name or license_link"
    if "hfseq" not in (metadata.get("tags") or ["hfseq"]):
        yield "tags lack 'hfseq'"
    yield from (
        f"{path} is {value!r}" for path, value in _leaves(metadata, "front matter") if _is_unusable(path, value)
    )
    results = [result for model in metadata.get("model-index") or [] for result in model.get("results") or []]
    values = [metric.get("value") for result in results for metric in result.get("metrics") or []]
    finite = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    if (needs_results or "model-index" in metadata) and not finite:
        yield "model-index holds no finite metric"


def _is_unusable(path: str, value: Any) -> bool:
    """Tell whether a value of the front matter says nothing; the words of a widget are free."""
    if isinstance(value, str):
        return ".widget[" not in path and bool(_MISSING_VALUE.fullmatch(value) or _PLACEHOLDER.search(value))
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _leaves(node: Any, path: str, *, free: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield (path, value) for every plain value of facts or of parsed YAML; `free=False` skips facts of free words."""
    if is_dataclass(node):
        shown = [item.name for item in fields(node) if free or "free" not in item.metadata]
        inner = [(f".{name}", getattr(node, name)) for name in shown]
    elif isinstance(node, dict):
        inner = [(f".{key}", value) for key, value in node.items()]
    elif isinstance(node, list):
        inner = [(f"[{index}]", value) for index, value in enumerate(node)]
    else:
        yield path, node
        return
    for step, value in inner:
        yield from _leaves(value, path + step, free=free)


def _table_defects(body: str) -> Iterator[str]:
    for line in body.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("|") and (not all(cells) or {"None", "nan", "NaN", "inf"} & set(cells)):
            yield f"a table row misses a value: {line!r}"


def _prose_defects(prose: str, pictures: Collection[str]) -> Iterator[str]:
    for line in _VALUES.findall(prose):
        yield from _found(_MARK.sub("", line), "a missing value", _MISSING_VALUE)
    yield from _found(prose, "a placeholder", _PLACEHOLDER)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    yield from _link_defects(prose, anchors | set(pictures))


def _found(text: str, what: str, pattern: re.Pattern[str]) -> Iterator[str]:
    yield from (f"{what}: {match[0]!r}" for match in pattern.finditer(text))


def _link_defects(text: str, anchors: set[str]) -> Iterator[str]:
    for target in _LINK.findall(text):
        if target not in anchors and not _ADDRESS.match(target):
            yield f"a link that leads nowhere: {target!r}"
