"""What people install: the wheel, and `import hfseq`."""

import ast
import zipfile
from pathlib import Path

import pytest

import hfseq
from hfseq import registry
from hfseq.registry import FAMILIES

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_what_the_package_needs_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"hfseq", f"hfseq-{hfseq.__version__}.dist-info"}
    expected = {"hfseq/py.typed"}
    ours, recipes = ("py", "md", "html", "css", "js"), ("py", "yaml")
    for top, inside, kinds in (("hfseq", "hfseq", ours), ("recipes", "hfseq/recipes", recipes)):
        files = [path for kind in kinds for path in (ROOT / top).rglob(f"*.{kind}")]
        expected |= {f"{inside}/{path.relative_to(ROOT / top).as_posix()}" for path in files}
    assert {name for name in names if name.startswith("hfseq/")} == expected


def test_every_public_name_can_be_had_and_nothing_heavy_is_imported_before_it_is_used(run_python):
    code = """
        import sys, hfseq
        # hfseq.tokenization is not among them: AutoTokenizer has to know our class, which costs some milliseconds.
        heavy = {"hfseq.training.trainer", "hfseq.hub", "hfseq.tokenization.files", "hfseq.data.embedded.load"}
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
