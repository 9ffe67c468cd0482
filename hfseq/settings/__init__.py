"""Settings of a recipe: YAML sections and `--section.key=value` overrides, read into one dataclass.

A recipe declares its settings as a dataclass whose fields are

- sections: dataclasses, whose fields are the keys (`data: DataSettings`);
- open sections: mappings whose keys are the fields of a class that lives elsewhere
  (`training: dict[str, Any] = fields_of(TrainingArguments)`);
- flags: `resume: bool = False`, set by `--resume` on the command line and never by the file.

A field that had another name keeps it in its metadata, and the old key is an error that names the new one:
`{"was": "min_frequency"}` for a key of the same section, `{"was": "generation.prompts"}` for one of another section.
"""

import argparse
import dataclasses
import difflib
import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from textwrap import shorten
from types import NoneType, UnionType
from typing import Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassFieldValidationError

from .plain_yaml import NULL, PlainLoader, pairs, read_yaml, write_yaml, yaml_errors

SettingsT = TypeVar("SettingsT")

_OVERRIDE = re.compile(r"--(?P<section>[^.=]+)\.(?P<key>[^=]+)=(?P<value>.*)", re.DOTALL)
_OPEN = "open_section"
_LARGEST_FILE = 1 << 20  # bytes
_LISTED, _NEAREST = 10, 5  # names that a message lists at most; of more, those that are nearest
_QUOTED = 200  # characters of a value that a message repeats


class SettingsError(ValueError):
    """A settings file or the words of a command line are wrong; nothing was done."""


@dataclass(frozen=True)
class _Section:
    """What a section may hold: the fields of the one class under "", or of the class that its key `type` names."""

    name: str
    classes: Mapping[str, type]
    without: frozenset[str] = frozenset()
    is_open: bool = False
    chosen_by: str | None = None  # the section whose key `type` names the class; None: this one, if it has several

    def keys(self, family: str) -> dict[str, Any]:
        keys = known_fields(self.classes[family], self.without)
        has_type = family != "" and self.chosen_by is None
        return {"type": Literal[tuple(self.classes)], **keys} if has_type else keys

    def required(self) -> list[str]:
        if "" not in self.classes:
            return [] if self.chosen_by else ["type"]
        fields = [] if self.is_open else dataclasses.fields(self.classes[""])
        return [item.name for item in fields if _is_required(item)]


@dataclass(frozen=True)
class _Entry:
    """One value, with the place it was written at (`recipe.yaml, line 7` or the override itself)."""

    section: str
    key: str
    value: Any
    where: str


def option(default: Any, help: str, was: str | None = None) -> Any:
    """Declare a key of a section: its default, what --help says of it, and its old name, if it had one."""
    # Only where there is one: a parser of transformers' takes the metadata of its arguments for argparse's keywords.
    renamed = {} if was is None else {"was": was}
    return field(default=default, metadata={"help": help, **renamed})


def fields_of(source: type | Mapping[str, type], without: Iterable[str] = (), *, chosen_by: str | None = None) -> Any:
    """Declare an open section: its keys are the fields of a class, or of the one that its key `type` names.

    The recipe itself fills in the fields `without`, which the section may therefore not hold. With `chosen_by` it is
    the key `type` of that other section which names the class; the class of "" is for all types without their own.
    """
    classes = {"": source} if isinstance(source, type) else dict(source)
    open_section = {"classes": classes, "without": frozenset(without), "is_open": True, "chosen_by": chosen_by}
    return field(default_factory=dict, metadata={_OPEN: open_section})


def known_fields(cls: type, without: Iterable[str] = ()) -> dict[str, Any]:
    """Names and types of the fields that a dataclass takes."""
    fields = [item for item in dataclasses.fields(cls) if item.init]
    try:
        hints = get_type_hints(cls)
    except NameError:  # a name imported for type checkers alone, such as the torch.dtype of every model config
        hints = {item.name: Any if isinstance(item.type, str) else item.type for item in fields}
    return {item.name: hints[item.name] for item in fields if item.name not in set(without)}


def check_known(name: object, known: Iterable[str], where: str, kind: str = "key") -> None:
    """Raise a ValueError with the nearest known name unless `name` is among the `known` ones."""
    known = list(known)
    if name in known:
        return
    nearest = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    allowed = f"Allowed: {', '.join(known)}."
    if len(known) > _LISTED:
        close = difflib.get_close_matches(str(name), known, n=_NEAREST, cutoff=0.0)
        listed = f"; {'--settings' if _is_command() else '--help'} lists them all" if kind == "key" else ""
        allowed = f"Nearest of {len(known)}: {', '.join(close)}{listed}."
    raise ValueError(f"{where}: unknown {kind} {name!r}{hint} {allowed}")


def read_settings(settings_class: type[SettingsT], argv: Sequence[str] | None = None) -> SettingsT:
    """Read `[--config FILE.yaml] [--section.key=value ...]` into an instance of the settings class.

    Raises:
        SettingsError: If a key or a value is wrong, or the class refuses what the values say together.
    """
    try:
        return _read(settings_class, argv)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _read(settings_class: type[SettingsT], argv: Sequence[str] | None) -> SettingsT:
    sections, flags = _declared(settings_class)
    arguments, others = _parser(sections, flags).parse_known_args(argv)
    path = None if arguments.config is None else Path(arguments.config)
    in_file = [] if path is None else [*_file_entries(path, sections)]
    overrides = [*_override_entries(others, sections, flags)]
    entries = [*_counting(in_file, overrides, sections), *overrides]
    given = {(entry.section, entry.key) for entry in entries}
    required = [(name, key) for name, section in sections.items() for key in section.required()]
    if path is None and (missing := [f"--{name}.{key}" for name, key in required if (name, key) not in given]):
        raise ValueError(f"Required and not given: {', '.join(missing)}. Give them, or a file with --config FILE.")
    values = {name: _section_value(section, entries, path) for name, section in sections.items()}
    return settings_class(**values, **{name: vars(arguments)[name] for name in flags})


def _counting(
    in_file: Sequence[_Entry], overrides: Sequence[_Entry], sections: Mapping[str, _Section]
) -> Iterator[_Entry]:
    """Leave out of the file what a section's `forgotten(file, command line)` says: (section, key) -> value each."""
    file, command = ({(entry.section, entry.key): entry.value for entry in given} for given in (in_file, overrides))
    asked = {name: getattr(section.classes.get(""), "forgotten", None) for name, section in sections.items()}
    left_out = {name: set(ask(file, command)) for name, ask in asked.items() if ask is not None}
    yield from (entry for entry in in_file if entry.key not in left_out.get(entry.section, ()))


def read_key(section: str, key: str, argv: Sequence[str] | None = None) -> Any:
    """Return what the file of `--config` says of one key, or None: for a recipe that has several settings classes.

    Which file and which other keys are wrong is left to `read_settings`, to which the answer leads.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    given = parser.parse_known_args(argv)[0].config
    if given is None or not Path(given).is_file() or Path(given).stat().st_size > _LARGEST_FILE:
        return None
    content = read_yaml(Path(given).read_text(encoding="utf-8"), given)
    values = content.get(section) if isinstance(content, dict) else None
    return values.get(key) if isinstance(values, dict) else None


def save_settings(settings: Any, path: str | Path) -> None:
    """Write the resolved sections as YAML that reads back to equal ones; flags, of one launch only, are left out."""
    sections, _ = _declared(type(settings))
    content = {name: value for name, value in dataclasses.asdict(settings).items() if name in sections}
    Path(path).write_text(write_yaml(content), encoding="utf-8")


def _declared(settings_class: type) -> tuple[dict[str, _Section], dict[str, str | None]]:
    sections: dict[str, _Section] = {}
    flags: dict[str, str | None] = {}
    hints = known_fields(settings_class)
    for item in dataclasses.fields(settings_class):
        hint = hints[item.name]
        if _OPEN in item.metadata:
            sections[item.name] = _Section(item.name, **item.metadata[_OPEN])
        elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
            sections[item.name] = _Section(item.name, {"": hint})
        elif hint is bool:
            flags[item.name] = item.metadata.get("help")
        else:
            raise TypeError(
                f"{settings_class.__name__}.{item.name} is declared as {hint}; "
                "declare a dataclass, `fields_of(...)` or a bool flag."
            )
    return sections, flags


def _check_renamed(section: str, key: str, sections: Mapping[str, _Section], where: str) -> None:
    """Name the new place of an old key, whose section may not exist any more."""
    for new in sections.values():
        for item in (item for cls in new.classes.values() for item in dataclasses.fields(cls)):
            was = (item.metadata.get("was") or "").split()
            if f"{section}.{key}" in was or (key in was and new.name == section):
                raise ValueError(f"{where}: {section}.{key} is now {new.name}.{item.name}.")


def _file_entries(path: Path, sections: Mapping[str, _Section]) -> Iterator[_Entry]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no settings file {str(path)!r}; --config takes the path of a YAML file.")
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; a settings file has {_LARGEST_FILE} at most.")
    with yaml_errors(str(path)):
        loader = PlainLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise ValueError(f"{path} holds no sections; it needs some of: {', '.join(sections)}.")
        for section, body in pairs(root):
            for key, _ in pairs(body):
                _check_renamed(section.value, key.value, sections, f"{path}, line {key.start_mark.line + 1}")
            where = f"{path}, line {section.start_mark.line + 1}"
            check_known(section.value, sections, where, kind="section")
            if not isinstance(body, yaml.MappingNode) and body.tag != NULL:
                raise ValueError(f"{where}: section {section.value!r} holds one value; it takes `key: value` lines.")
            for key, value in pairs(body):
                where = f"{path}, line {key.start_mark.line + 1}"
                yield _Entry(section.value, key.value, loader.construct_object(value, deep=True), where)


def _override_entries(given: list[str], sections: Mapping[str, _Section], flags: Iterable[str]) -> Iterator[_Entry]:
    sentences: dict[tuple[str, str], list[str]] = {}
    for argument in given:
        match = _OVERRIDE.fullmatch(argument)
        if match is None:
            options = ", ".join(["--config", *(f"--{flag}" for flag in flags)])
            raise ValueError(f"{argument!r} is not understood; write --section.key=value, or one of {options}.")
        _check_renamed(match["section"], match["key"], sections, argument)
        check_known(match["section"], sections, argument, kind="section")
        place, text = (match["section"], match["key"]), match["value"]
        kind = _sentence_kind(sections[match["section"]], match["key"], text)
        if kind == "list":  # each one more
            sentences[place] = [*sentences.get(place, []), text]
            yield _Entry(*place, sentences[place], argument)
        else:
            yield _Entry(*place, text if kind == "text" else _override_value(argument, text), argument)


def _sentence_kind(section: _Section, key: str, text: str) -> Literal["list", "text"] | None:
    """Tell whether an override is a plain sentence, of a list of texts or of one; what begins as YAML does is none."""
    if not text.strip() or text.strip() in ("null", "~") or text.lstrip()[0] in "[{\"'":
        return None
    hints = [keys[key] for keys in map(section.keys, section.classes) if key in keys]
    if not hints or any(_fits({"": ""}, hint) for hint in hints):
        return None
    if all(_fits([""], hint) and not _fits("", hint) for hint in hints):
        return "list"
    return "text" if ": " in text and all(_fits("", hint) for hint in hints) else None


def _override_value(argument: str, text: str) -> Any:
    """Read the value of an override, which has no comments: the rest of a text would be lost silently."""
    with yaml_errors(argument[:_QUOTED], _shell_cure(argument, text)):
        loader = PlainLoader(text)
        node = loader.get_single_node()
        rest = text[0 if node is None else node.end_mark.index :].strip()
        if rest.startswith("#"):
            raise yaml.MarkedYAMLError(None, None, f"{rest[:_QUOTED]!r} would be a comment", loader.get_mark())
        return None if node is None else loader.construct_document(node)


def _shell_cure(argument: str, text: str) -> str:
    """Tell how to write an override that YAML must take as text: quotes for YAML, and others for the shell."""
    option, is_list = argument.removesuffix(text), text.startswith("[")
    if len(text) > _QUOTED or text.startswith("{") or (is_list and set(text[1:-1]) & set("[]\"'")):
        return f'Put texts in quotes, and the whole in others for the shell: \'{option}["TEXT", "TEXT"]\'.'
    items = [item.strip() for item in text.strip("[]").split(",")]
    quoted = json.dumps(items if is_list else text, ensure_ascii=False)
    return f"If it is meant as text, put it in quotes: {shlex.quote(option + quoted)}."


def _section_value(section: _Section, all_entries: Iterable[_Entry], path: Path | None) -> Any:
    where = "the command line" if path is None else str(path)
    entries = [entry for entry in all_entries if entry.section == section.name]
    family = _family(section, all_entries, where)
    keys = section.keys(family)
    for entry in entries:
        _check_chosen(section, entry, keys)
        check_known(entry.key, keys, entry.where)
    # Every value is checked, also one of the file that the command line replaces.
    values = {entry.key: _converted(entry, keys[entry.key]) for entry in entries}
    if section.is_open:
        return values
    if missing := [name for name in section.required() if name not in values]:
        raise ValueError(f"{where}: section {section.name!r} lacks {', '.join(missing)}.")
    try:
        return section.classes[""](**values)
    except ValueError as error:
        raise ValueError(f"{where}: section {section.name!r}: {error}") from error


def _check_chosen(section: _Section, entry: _Entry, keys: Iterable[str]) -> None:
    """Tell a key that another type has from one that none has."""
    if section.chosen_by is None or entry.key in keys:
        return
    types = [name for name in section.classes if name and entry.key in section.keys(name)]
    if types:
        chosen, own = f"{section.chosen_by}.type", f"{entry.section}.{entry.key}"
        raise ValueError(f"{entry.where}: {own} goes with {chosen}: {', '.join(types)}. Allowed: {', '.join(keys)}.")


def _family(section: _Section, all_entries: Iterable[_Entry], where: str) -> str:
    chooses = section.chosen_by or section.name
    given = [entry for entry in all_entries if (entry.section, entry.key) == (chooses, "type")]
    if "" in section.classes:
        chosen = str(given[-1].value) if given and section.chosen_by else ""
        return chosen if chosen in section.classes else ""
    if not given:
        raise ValueError(f"{where}: section {section.name!r} lacks type: one of {', '.join(section.classes)}.")
    for entry in given:
        check_known(entry.value, section.classes, entry.where, kind=f"{section.name} type")
    return str(given[-1].value)


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _converted(entry: _Entry, hint: Any) -> Any:
    """Return the value of an entry, a whole number as a float where only a float fits."""
    for value in (entry.value, _floats(entry.value)):
        if _fits(value, hint):
            return value
    cure = ""
    if _fits("", hint) and entry.value is not None:
        cure = "; put it in quotes if it is meant as text"
    elif isinstance(entry.value, list) and _fits([""], hint):
        cure = "; put each text in quotes if YAML reads it as something else"
    given, takes = json.dumps(entry.value, ensure_ascii=False, default=str), _spelled(hint)
    raise ValueError(f"{entry.where}: {entry.section}.{entry.key} is {given} but takes {takes}{cure}.")


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _fits(value: Any, hint: Any) -> bool:
    checked: Any = strict(dataclasses.make_dataclass("Checked", [("value", hint)]))
    try:
        checked(value)
    except StrictDataclassFieldValidationError:
        return False
    return True


def _spelled(hint: Any) -> str:
    """Spell a type in the words of a settings file: `int or null`, `one of "lstm", "gru"`."""
    if hint is None or hint is NoneType:
        return "null"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_spelled(part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(json.dumps(part) for part in get_args(hint))
    if isinstance(hint, ForwardRef):
        return hint.__forward_arg__
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _parser(sections: Mapping[str, _Section], flags: Mapping[str, str | None]) -> argparse.ArgumentParser:
    overview = "\n\n".join(_described(section, family) for section in sections.values() for family in section.classes)
    options = "".join(f" [--{flag}]" for flag in flags)
    start = f"{shlex.join([*sys.argv[:3], 'DATA'])}" if _is_command() else f"python {sys.argv[0]}"
    parser = argparse.ArgumentParser(
        usage=f"{start} [--config FILE.yaml] [--section.key=value ...]{options}".replace("%", "%%"),
        epilog=f"sections and keys of FILE.yaml, each also --section.key=value:\n\n{overview}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="the settings of the recipe")
    for flag, help in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=help)
    return parser


def _is_command() -> bool:
    """Tell whether `hfseq train` reads the settings, whose --help is its own."""
    return Path(sys.argv[0]).stem == "hfseq"


def _described(section: _Section, family: str) -> str:
    cls = section.classes[family]
    key = f"{section.chosen_by}.type" if section.chosen_by else "type"
    title = section.name if family == "" else f"{section.name} ({key}: {family})"
    keys = known_fields(cls, section.without)
    lines = [title + ": " + (inspect.getdoc(cls) or "").partition("\n")[0]]
    for item in dataclasses.fields(cls):
        if item.name in keys:
            text = shorten(item.metadata.get("help") or "", width=100, placeholder=" ...")
            line = f"  {item.name}: {_spelled(keys[item.name])} {_default(item)}"
            lines.append(f"{line}  # {text}" if text else line)
    return "\n".join(lines)


def _default(item: dataclasses.Field[Any]) -> str:
    if _is_required(item):
        return "(required)"
    value = item.default if item.default_factory is MISSING else item.default_factory()
    return f"= {json.dumps(value, ensure_ascii=False, default=str)}"
