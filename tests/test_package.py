"""What people install: the wheel, and `import hfseq`."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hfseq
from hfseq import registry
from hfseq.registry import FAMILIES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of what belongs to the package."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in [ROOT / "pyproject.toml", ROOT / "setup.py", ROOT / "README.md", *ROOT.glob("[hr]*/**/*")]:
        if path.is_file() and path.suffix != ".pyc":
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        target,
        source,
    ]
    subprocess.run(command, check=True, cwd=target)
    return next(target.glob("hfseq-*.whl"))


def test_the_wheel_holds_what_the_package_needs_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {"hfseq/recipes/text_classification.py", "hfseq/recipes/configs/text_classification/gru_embedded.yaml"}
    assert recipes <= set(names)
    assert {"hfseq/py.typed", "hfseq/tasks/text_classification/card.md", "hfseq/models/recurrent/lstm.py"} <= set(
        names
    )
    assert {name.split("/")[0] for name in names} == {"hfseq", f"hfseq-{hfseq.__version__}.dist-info"}


def test_the_wheel_works_where_the_source_is_out_of_reach(wheel, tmp_path, run_python):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    facts = ROOT / "tests" / "golden" / "card_classifier.json"
    code = f"""
        import hfseq
        from transformers import AutoModelForSequenceClassification as Auto
        from hfseq.cards.render import render_card
        from hfseq.tasks.text_classification.facts import CardFacts
        model = Auto.from_config(hfseq.GRUConfig(vocab_size=9))
        print(type(model).__name__, hfseq.__file__, len(render_card(CardFacts.load({str(facts)!r}))))
    """
    result = run_python(code, PYTHONPATH=str(tmp_path / "site"))
    name, file, length = result.stdout.split()
    assert name == "GRUForSequenceClassification" and Path(file).is_relative_to(tmp_path) and int(length) > 1000


def test_every_public_name_can_be_had_and_nothing_heavy_is_imported_before_it_is_used(run_python):
    code = """
        import sys, hfseq
        heavy = {"hfseq.training.trainer", "hfseq.hub", "hfseq.tokenization", "hfseq.data.embedded.load"}
        assert not heavy & set(sys.modules)
        for name in hfseq.__all__:
            assert getattr(hfseq, name) is not None and name in dir(hfseq), name
        print(hfseq.train_tokenizer.__module__)
    """
    result = run_python(code)
    assert result.stdout.strip() == "hfseq.tokenization", result.stderr
    with pytest.raises(AttributeError, match="no attribute 'LSTMM'"):
        hfseq.LSTMM  # noqa: B018


def test_the_public_names_stay_what_they_are():
    names = (ROOT / "tests" / "golden" / "public_names.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(hfseq.__all__) == names


def test_each_family_makes_its_own_classes_public():
    families = {
        cls for family in FAMILIES.values() for cls in (family.config, family.backbone, *family.heads.values())
    }
    public = [getattr(module, name) for module in registry.MODULES for name in module.__all__]
    assert len(set(public)) == len(public) and set(public) == families - {None}


def test_type_checkers_see_the_lazy_names_where_they_are():
    tree = ast.parse(Path(hfseq.__file__).read_text(encoding="utf-8"))
    ifs = (node for node in tree.body if isinstance(node, ast.If))
    (block,) = (node for node in ifs if ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == hfseq._LAZY
