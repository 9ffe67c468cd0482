"""The notebooks as they are committed: whole, without outputs, and speaking of nothing but hfseq's public names.

`make test-all` runs their code (docs/run.py --all); here it is only read.
"""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

import hfseq
from docs import run as runner
from docs.notebooks import code_cells
from hfseq import plots

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# As long as the project names no repository, OWNER stands for the account that will hold it.
REPOSITORY = PROJECT.get("urls", {}).get("Repository", "https://github.com/OWNER/hfseq")
IMPORTED = {"hfseq", "matplotlib", "numpy", "torch", "transformers"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def cells_of(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def text_of(notebook, kind):
    return "\n\n".join("".join(cell["source"]) for cell in cells_of(notebook) if cell["cell_type"] == kind)


def colab(name):
    return f"https://colab.research.google.com/github/{REPOSITORY.split('github.com/')[1]}/blob/main/notebooks/{name}"


def test_there_are_six():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


def test_it_is_notebook_format_4_as_one_indent_writes_it(notebook):
    text = notebook.read_text(encoding="utf-8")
    content = json.loads(text)
    assert text == json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert set(content) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids)
    for cell in content["cells"]:
        assert cell["metadata"] == {} and cell["cell_type"] in ("code", "markdown")
        lines = cell["source"]
        assert lines and all(line.endswith("\n") for line in lines[:-1]) and not lines[-1].endswith("\n")


def test_it_is_committed_without_outputs(notebook):
    for cell in cells_of(notebook):
        if cell["cell_type"] == "code":
            assert set(cell) == {"cell_type", "execution_count", "id", "metadata", "outputs", "source"}
            assert cell["outputs"] == [] and cell["execution_count"] is None
        else:
            assert set(cell) == {"cell_type", "id", "metadata", "source"}


def test_its_badge_opens_this_file(notebook):
    first = "".join(cells_of(notebook)[0]["source"])
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    assert first.startswith("# ") and f"[![Open in Colab]({badge})]({colab(notebook.name)})" in first
    assert first.count("colab.research.google.com/github") == 1


def test_its_first_code_installs_hfseq_only_where_it_is_missing(notebook):
    first = next("".join(cell["source"]) for cell in cells_of(notebook) if cell["cell_type"] == "code")
    install = f'%pip install -q "hfseq[all] @ git+{REPOSITORY}"'
    assert 'if importlib.util.find_spec("hfseq") is None:' in first and install in first
    code = text_of(notebook, "code")
    # Without it, Jupyter shows a figure of `plots` as a line of text: it is none of pyplot's.
    inline = ["%matplotlib inline"] if "from hfseq import plots" in code else []
    found = [line.strip() for line in code.splitlines() if line.strip().startswith(("%", "!"))]
    assert found == [install, *inline]


def test_it_imports_public_names_alone(notebook):
    tree = ast.parse("\n".join(cell.code for cell in code_cells(notebook)))
    aliases = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                assert name.name.split(".")[0] in IMPORTED | set(sys.stdlib_module_names)
                assert not name.name.startswith("hfseq.")
                aliases |= {name.asname or name.name} if name.name == "hfseq" else set()
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in IMPORTED | set(sys.stdlib_module_names)
            assert not node.module.startswith("hfseq.")
            if node.module == "hfseq":
                assert {name.name for name in node.names} <= {*hfseq.__all__, "plots"}
    used = attributes_of("hfseq", tree)
    assert aliases == {"hfseq"} and used and used <= {*hfseq.__all__, "plots"}
    assert attributes_of("plots", tree) <= set(plots.__all__)


def attributes_of(name, tree):
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {node.attr for node in found if isinstance(node.value, ast.Name) and node.value.id == name}


def test_it_claims_what_it_asserts_and_ends_with_an_exercise(notebook):
    tree = ast.parse("\n".join(cell.code for cell in code_cells(notebook)))
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(tree)) >= 2
    last = cells_of(notebook)[-1]
    text = "".join(last["source"])
    assert last["cell_type"] == "markdown" and text.index("## What to see") < text.index("## Exercise")
    assert re.search(r"^1\. ", text[text.index("## Exercise") :], re.MULTILINE)


def test_it_names_no_machine_and_no_file_that_is_not_there(notebook):
    text = text_of(notebook, "code") + text_of(notebook, "markdown")
    assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp|content|usr|Users)/|[A-Z]:\\", text)
    for page in re.findall(r"`(docs/[\w/.]+)`", text):
        assert (ROOT / page).is_file(), page


def test_the_page_lists_each_with_its_badge():
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    for notebook in NOTEBOOKS:
        (row,) = [line for line in page.splitlines() if f"(../notebooks/{notebook.name})" in line]
        assert colab(notebook.name) in row
    assert len(re.findall(r"^\| \[", page, re.MULTILINE)) == len(NOTEBOOKS)


def written(tmp_path, *sources):
    kinds = [("markdown", "# A title")] + [("code", source) for source in sources]
    cells = [
        {"cell_type": kind, "id": f"c{number}", "metadata": {}, "source": source.splitlines(keepends=True)}
        for number, (kind, source) in enumerate(kinds)
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    return path


def test_lines_for_ipython_are_left_out(tmp_path):
    path = written(tmp_path, "if False:\n    %pip install x\n!ls\ny = 7 % 4", "", "z = y")
    first, second = code_cells(path)
    assert (first.name, second.name) == ("cell 2 (c1)", "cell 4 (c3)")
    scope = {}
    exec(first.code + "\n" + second.code, scope)
    assert scope["z"] == 3


def test_a_cell_that_fails_is_named_and_ends_the_run(tmp_path, capsys, monkeypatch):
    path = written(tmp_path, "x = 1", "assert x == 2, 'x is not two'", "never = 1 / 0")
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    files = tmp_path / "files"
    files.mkdir()
    assert runner.report(path, files) is False
    told = capsys.readouterr().out
    assert "a.ipynb: 3 of 3 blocks run, 1 failed" in told
    assert "FAILED: cell 3 (c2): assert x == 2" in told and "x is not two" in told and "ZeroDivisionError" not in told
    assert told.rstrip().endswith("the cells after it were not run")
    assert runner.report(written(tmp_path, "x = 1", "assert x == 1"), files) is True
