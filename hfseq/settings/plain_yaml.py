"""YAML of plain values: the scalars of YAML 1.2, lists and mappings, and nothing that runs code."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

_YAML = "tag:yaml.org,2002:"
NULL, _INT, _FLOAT = _YAML + "null", _YAML + "int", _YAML + "float"
_DEEPEST = 20  # lists and mappings inside each other; PyYAML calls itself for each, and Python's stack has an end
_LONGEST_NUMBER = 1000  # characters

_FILE_CURE = "Put a text in quotes if it has `?`, `: `, ` #`, `[`, or begins with `*`, `&`, `!`."

# The scalars of YAML 1.2. YAML 1.1, which PyYAML follows, reads `1e-3` as text, `no` and `off` as false, `1:30` as 90.
_SCALARS = (
    (NULL, re.compile(r"(?:~|null|)$"), ["~", "n", ""]),
    (_YAML + "bool", re.compile(r"(?:true|false)$"), list("tf")),
    (_INT, re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789")),
    (
        _FLOAT,
        re.compile(
            r"(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.inf|\.nan)$"
        ),
        list("-+.0123456789"),
    ),
)
_PATTERNS = {tag: pattern for tag, pattern, _ in _SCALARS}
_TAGS = {*_PATTERNS, *(_YAML + name for name in ("str", "seq", "map"))}


class _Refusal(yaml.MarkedYAMLError):
    """What is not read although it may be YAML; the problem names the cure."""

    def __init__(self, problem: str, place: yaml.Node | yaml.Event) -> None:
        mark: Any = place.start_mark
        super().__init__(problem=problem, problem_mark=mark)


class PlainLoader(yaml.SafeLoader):
    """Reads plain values: scalars of YAML 1.2, lists and mappings; every key once, where PyYAML keeps the last.

    Refused is what runs code, or makes much of little text: anchors and aliases, deep nesting, tags of other types.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and what is inside it, where it is plain."""
        event = self.peek_event()
        if event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise _Refusal(f"{sign}{event.anchor} refers to another place: write the value, or quote a text", event)
        if self._depth == _DEEPEST:
            raise _Refusal(f"lists and mappings are nested deeper than {_DEEPEST}: settings are flatter", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None:
            _check_tag(node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping that has each key once."""
        pairs(node)
        return super().construct_mapping(node, deep=deep)


def _check_tag(node: yaml.Node) -> None:
    """Refuse types beyond numbers, texts, lists and mappings, and a value that is not of the type it is given."""
    name = node.tag.replace(_YAML, "!!")
    if node.tag not in _TAGS:
        raise _Refusal(f"{name} is no type of settings: leave it out, or quote a text", node)
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _PATTERNS:
        return
    if len(node.value) > _LONGEST_NUMBER:
        raise _Refusal(f"a number of {len(node.value)} characters is none of settings: quote a text", node)
    allowed = (_INT, _FLOAT) if node.tag == _FLOAT else (node.tag,)
    if not any(_PATTERNS[tag].match(node.value) for tag in allowed):
        raise _Refusal(f"{node.value!r} is no {name}: leave {name} out, or mend the value", node)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""


for _tag, _pattern, _first in _SCALARS:
    PlainLoader.add_implicit_resolver(_tag, _pattern, _first)
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)


def read_yaml(text: str, where: str) -> Any:
    """Read YAML of plain values, without references and types of its own; error messages say `where` it stands."""
    with yaml_errors(where):
        return yaml.load(text, PlainLoader)


def write_yaml(content: Any) -> str:
    """Write plain values as YAML that reads back to equal ones."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def pairs(node: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return the key and value nodes of a mapping, each key once; none for an empty section."""
    seen: dict[str, yaml.Node] = {}
    found = node.value if isinstance(node, yaml.MappingNode) else []
    for key, _ in found:
        if not isinstance(key, yaml.ScalarNode):
            raise _Refusal("a key is one word, not a list or a mapping: quote a text", key)
        if key.value in seen:
            first = seen[key.value].start_mark.line + 1
            raise _Refusal(f"the key {key.value!r} is given twice, first in line {first}", key)
        seen[key.value] = key
    return found


@contextmanager
def yaml_errors(where: str, cure: str = _FILE_CURE) -> Iterator[None]:
    """Say of what is no plain YAML `where` it stands, in a ValueError with the `cure`."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        told = "" if isinstance(error, _Refusal) else f" {cure}"
        raise ValueError(f"{where}{line}: not valid YAML: {error.problem}.{told}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: not valid YAML in UTF-8: {error}.") from error
