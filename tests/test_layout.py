"""Where things stand: what lies in the package root, which room may import which, and what files are called."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1] / "hfseq"

IN_THE_ROOT = {
    *("__init__", "__main__", "cli", "extras"),
    *("hub", "plots", "progress", "registry", "version"),
}

# From the ground up; a dotted name parts a module from its room. The package itself ("") imports all and is imported
# by nothing in it. `tokenization` makes tokenizers from words, of which models may have one; `tokenization.files`
# checks what was downloaded, as `models.artifacts` does, and `tokenization.source_target` loads with these checks;
# `tokenization.padding` makes the batches of models, and `tokenization.trees` pads by its rules.
# `retrieval` makes vectors of texts and finds the nearest: it pads batches as training does, and `insight` looks at
# what it loads.
ORDER = (
    *(
        "version",
        "extras",
        "progress",
        "settings",
        "kernels",
        "tokenization",
        "models",
        "tokenization.files",
        "tokenization.padding",
        "tokenization.series_batches",
        "tokenization.source_target",
        "tokenization.trees",
        "pipelines",
        "registry",
        "hub",
    ),
    *(
        "formats",
        "evaluation",
        "data",
        "generation",
        "training",
        "retrieval",
        "insight",
        "plots",
        "cards",
        "recipe",
        "tasks",
        "commands",
        "",
    ),
)

# (module, target): why the import goes up. It stands inside a function, so that neither is needed to import the other.
UPWARD = {
    ("models.words.vectors", "insight.plots"): "vectors.plot() draws; who never calls it needs no matplotlib",
    ("models.words.stored_vectors", "formats.vector_files"): "vectors are read and written by methods, as in gensim",
    (
        "hub",
        "cards.publishing",
    ): "`push` reads whether the card beside a model lacks words, and whether it says that the model is behind",
    ("cards.render", "tasks"): "a card is rendered from a file of facts, whose kind names the task",
}


class Import(NamedTuple):
    module: str
    target: str
    deferred: bool  # inside a function


def imports_of(root: Path) -> Iterator[Import]:
    """Each import of a package's own modules, without the package's name; none for type checkers alone."""
    modules = {_name(path.relative_to(root)): path for path in root.rglob("*.py")}
    for name, path in modules.items():
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        for node, deferred in _import_nodes(ast.parse(path.read_text(encoding="utf-8")), False):
            for target in _targets(node, [part for part in package if part], root.name):
                while target not in modules:  # a name from a module
                    target = target.rpartition(".")[0]
                yield Import(name, target, deferred)


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _import_nodes(node: ast.AST, deferred: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from _import_nodes(ast.Module([other], []), deferred)
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield child, deferred
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _import_nodes(child, deferred or inside)


def _targets(node: ast.Import | ast.ImportFrom, package: list[str], own_name: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
    else:
        base = [own_name, *package[: len(package) - node.level + 1]] if node.level else []
        base += node.module.split(".") if node.module else []
        names = [[*base, alias.name] for alias in node.names]
    for first, *rest in names:
        if first == own_name:
            yield ".".join(rest)


def floor(module: str) -> int:
    """The place of the module's room in ORDER."""
    while module not in ORDER:
        module = module.rpartition(".")[0]
    return ORDER.index(module)


def going_up(root: Path) -> list[Import]:
    return sorted({found for found in imports_of(root) if floor(found.target) > floor(found.module)})


def test_the_root_holds_nothing_but_what_is_not_a_room():
    assert {path.stem for path in ROOT.glob("*.py")} <= IN_THE_ROOT


def test_every_room_has_its_floor():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {path.stem for path in ROOT.glob("*.py")}
    assert rooms - {"__init__", "__main__", "cli"} <= set(ORDER)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_pages_say_the_order_of_the_rooms(page):
    text = " ".join((ROOT.parent / page).read_text(encoding="utf-8").split())
    told = text.partition("Imports run one way: ")[2].partition(".")[0].split(" < ")
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert told == [name for name in ORDER if name in rooms]


@pytest.mark.parametrize("room", sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))
def test_the_map_of_the_house_has_every_room(room):
    assert f"hfseq/{room}/ " in (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_imports_run_one_way():
    found = going_up(ROOT)
    assert [one for one in found if not one.deferred] == []
    assert [one for one in found if (one.module, one.target) not in UPWARD] == []


def circles(root: Path) -> list[list[str]]:
    """Modules that import each other in a circle when they are imported: groups from which each reaches the others."""
    reach: dict[str, set[str]] = {}
    for found in imports_of(root):
        if not found.deferred:
            reach.setdefault(found.module, set()).add(found.target)
    for middle in list(reach):
        for targets in reach.values():
            if middle in targets:
                targets |= reach[middle]
    return sorted({tuple(sorted(m for m in reach[name] if name in reach.get(m, ()))) for name in reach} - {()})


def test_no_modules_import_each_other_in_a_circle():
    assert circles(ROOT) == []


def test_a_circle_of_modules_is_seen(tmp_path):
    for name, text in {
        "__init__": "",
        "a": "from .b import B",
        "b": "from .c import C",
        "c": "from . import a",
    }.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    assert circles(tmp_path) == [("a", "b", "c")]


def test_the_list_of_upward_imports_is_short_and_true():
    assert len(UPWARD) <= 4
    assert set(UPWARD) == {(one.module, one.target) for one in going_up(ROOT) if one.deferred}


@pytest.mark.parametrize(
    ("source", "target", "deferred"),
    [
        ("from ..models.lstm import LSTM", "models.lstm", False),
        ("from .. import models", "models", False),
        ("from ..models import lstm", "models.lstm", False),
        ("import toy.models.lstm", "models.lstm", False),
        ("try:\n    from toy.models import lstm\nexcept ImportError:\n    pass", "models.lstm", False),
        ("def run():\n    from ..models.lstm import LSTM", "models.lstm", True),
        ("from ..models.lstm import *", "models.lstm", False),
        ("import toy", "", False),
    ],
)
def test_an_import_that_goes_up_is_seen(tmp_path, source, target, deferred):
    package = tmp_path / "toy"
    for folder in ("", "kernels", "models"):
        (package / folder).mkdir()
        (package / folder / "__init__.py").touch()
    (package / "models" / "lstm.py").write_text("from ..kernels.loops import LSTM\n", encoding="utf-8")
    kernels = package / "kernels" / "loops.py"
    kernels.write_text(
        "import torch\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..models import lstm"
    )
    assert going_up(package) == []
    kernels.write_text(source, encoding="utf-8")
    assert going_up(package) == [Import("kernels.loops", target, deferred)]


def test_no_two_files_of_the_models_have_one_name():
    """Export writes them into one folder."""
    names = Counter(path.name for path in (ROOT / "models").rglob("*.py") if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_the_models_import_names_from_modules_and_no_modules():
    """`from . import module` is a form that those who copy the files of a model do not follow."""
    for path in (ROOT / "models").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        assert not [n.lineno for n in nodes if isinstance(n, ast.ImportFrom) and n.level and n.module is None], path
