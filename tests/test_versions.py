"""Other releases than the pinned ones: what is said of them, how they are derived, and who runs the tests on them."""

import re
import shutil
import subprocess
import sys
import warnings
from importlib.metadata import version as installed
from pathlib import Path

import pytest
import transformers
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from hfseq import FAMILIES, version
from tests import conftest, versions
from tests.contract import configurations
from tests.contract.promises import HEAVY

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# What a user is told


@pytest.mark.parametrize("found", ["5.25.0", "5.25.0.dev0", "6.0.0"])
def test_a_newer_minor_release_of_transformers_gives_a_warning_that_names_both(monkeypatch, found):
    monkeypatch.setattr(version, "NEWEST_TESTED_TRANSFORMERS", "5.24")
    monkeypatch.setattr(transformers, "__version__", found)
    with pytest.warns(
        UserWarning, match=rf"transformers {re.escape(found)} is newer than 5\.24, .*==5\.24\.\*"
    ) as given:
        version.check_transformers()
    assert len(given) == 1


@pytest.mark.parametrize("found", ["5.24.9", "5.24.0.dev0", "5.20.0"])
def test_releases_in_the_tested_range_are_taken_in_silence(monkeypatch, found):
    monkeypatch.setattr(version, "NEWEST_TESTED_TRANSFORMERS", "5.24")
    monkeypatch.setattr(transformers, "__version__", found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        version.check_transformers()


@pytest.mark.parametrize(
    ("found", "code", "lines"),
    [
        ("5.99.0", 0, ["<string>:4: UserWarning: transformers 5.99.0 is newer than", "again"]),
        ("5.19.4", 1, ["ImportError: hfseq .* needs transformers 5.20 or newer, and 5.19.4 is installed"]),
    ],
)
def test_importing_the_package_says_it_once_and_first(run_python, found, code, lines):
    result = run_python(f"""
        import transformers
        transformers.__version__ = {found!r}
        import hfseq
        from hfseq import models, registry
        print("again")
    """)
    said = result.stderr + result.stdout
    assert result.returncode == code and all(len(re.findall(line, said)) == 1 for line in lines), said


def test_the_versions_named_are_those_declared_and_pinned():
    (declared,) = [found for found in versions.requirements(versions.PYPROJECT) if found.name == "transformers"]
    assert versions.lower_bound(declared) == version.OLDEST_TRANSFORMERS
    (pinned,) = re.findall(r"^transformers==(\S+)", versions.CONSTRAINTS, re.MULTILINE)
    assert (
        pinned in declared.specifier
        and Version(pinned).release[:2] <= Version(version.NEWEST_TESTED_TRANSFORMERS).release
    )


# What is installed


def test_the_lowest_versions_are_the_bounds_of_every_requirement():
    pyproject = """
        [project]
        name = "ours"
        dependencies = ["numpy>=1.26", "torch>=2.7", "transformers<6,>=5.20"]
        [project.optional-dependencies]
        fast = ["numba >= 0.62 ; python_version < '4'"]
        test = ["ours[fast]", "numpy>=1.26", "pytest>=8.3"]
    """
    constraints = "# torch: a comment\nnumpy==2.4.6\ntorch==2.13.0\ntransformers==5.23.0\n"
    lowest = ["numba==0.62", "numpy==1.26", "pytest==8.3", "transformers==5.20", "torch==2.13.0"]
    assert versions.lowest(pyproject, constraints) == lowest
    assert versions.newest(constraints) == ["torch==2.13.0"]


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy==2.0", "numpy>=1,>=2"])
def test_a_requirement_without_a_lower_bound_is_an_error_that_names_it(requirement):
    with pytest.raises(ValueError, match=f"{re.escape(str(Requirement(requirement)))}.* needs one lower bound"):
        versions.lower_bound(Requirement(requirement))


def test_the_lowest_versions_of_this_package_lie_in_its_ranges():
    pins = [Requirement(line) for line in versions.lowest()]
    names = {pin.name for pin in pins}
    assert names >= {"transformers", "datasets", "accelerate", "tokenizers", "huggingface_hub", "numpy", "safetensors"}
    declared = {found.name: found.specifier for found in versions.requirements(versions.PYPROJECT)}
    assert declared.keys() == names
    for pin in pins:
        assert next(iter(pin.specifier)).version in declared[pin.name]


@pytest.mark.slow
def test_the_layer_finds_its_own_packages_first_and_those_below_it_after(tmp_path):
    versions.layer(str(tmp_path / "layer"))
    (own,) = (tmp_path / "layer").glob("lib/*/site-packages")
    (own / "gensim.py").write_text("__version__ = 'the layer'\n", encoding="utf-8")
    code = "import gensim, torch, hfseq, importlib.metadata as m; print(gensim.__version__, m.version('transformers'))"
    result = subprocess.run(
        [tmp_path / "layer" / "bin" / "python", "-c", code], capture_output=True, encoding="utf-8", cwd=tmp_path
    )
    assert result.stdout.strip() == f"the layer {installed('transformers')}", result.stderr


# What is run


def targets(text):
    """The targets of the calls of make in a text."""
    calls = re.findall(r"\bmake((?: +(?:--?[\w-]+|[a-z][a-z-]*))+)", text)
    return {word for call in calls for word in call.split() if not word.startswith("-")}


def runs(workflow):
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def makefile_has(target):
    return re.search(rf"^(?:[\w-]+ )*{target}(?: [\w-]+)*:", MAKEFILE, re.MULTILINE)


def test_every_target_of_make_that_is_called_exists():
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "release.yml", "versions.yml"}
    called = {path.name: targets("\n".join(runs(yaml.safe_load(path.read_bytes())))) for path in WORKFLOWS}
    called["run"] = targets((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    pages = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    called["pages"] = targets("\n".join(re.findall(r"```bash\n(.*?)```", pages, re.DOTALL)))
    assert called["ci.yml"] == {"lint", "test", "test-newest", "docs"}
    assert called["run"] == called["ci.yml"] | {"layer", "site"}  # which are beside lint there
    assert called["versions.yml"] == {"test-versions"} and called["release.yml"] == set()
    assert called["pages"] >= {"demo", "docs", "test", "test-all", "test-newest", "test-versions", "lint", "bench"}
    assert [name for names in called.values() for name in names if not makefile_has(name)] == []
    assert not makefile_has("tests") and not makefile_has("est")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_clean_removes_every_environment_that_a_target_makes():
    plan = subprocess.run(
        ["make", "-n", "test-newest", "test-versions", "clean"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    made = set(re.findall(r"(?:-m venv|layer) (\S+)", plan)) - {".venv"}
    assert made == {".venv-layer", ".venv-lowest", ".venv-newest"}
    assert re.search(r"^rm -rf \.venv \.venv-\* ", plan, re.MULTILINE)
    assert all(line in (ROOT / ".gitignore").read_text(encoding="utf-8").split() for line in (".venv/", ".venv-*/"))


def test_the_newest_transformers_sees_generation_and_one_configuration_of_every_family():
    assert set(conftest.VERSIONS_FILES) <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-qq",
        "tests/contract/test_contract.py",
        "tests/generation/test_generation.py",
    ]
    out = subprocess.run(
        [*command, "-m", "newest and not slow"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert re.search(r"^tests/generation/test_generation\.py: [1-9]", out, re.MULTILINE)
    selected = [configurations.one_of(family) for family in FAMILIES]
    assert {configurations.CASES[label][0] for label in selected} == set(FAMILIES)
    assert configurations.one_of("lstm").startswith("lstm-language-")
    checks = [configurations.promises(label) for label in selected]
    modules = sum(len({check.__module__ for check in some if check not in HEAVY}) for some in checks)
    (contracts,) = re.findall(r"^tests/contract/test_contract\.py: (\d+)", out, re.MULTILINE)
    assert int(contracts) == modules + sum(len(HEAVY & set(some)) for some in checks)
