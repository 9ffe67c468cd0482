"""A Hub for the whole test session, and the fixtures that several test files share.

huggingface_hub reads HF_ENDPOINT, HF_HOME and HF_HUB_DISABLE_XET when it is imported, so the Hub is started here, when
this file is imported. Set HFSEQ_TEST_XET=1 to run the tests with xet (the default of real users) instead of plain LFS.
HF_HOME is a new folder each time; compiled kernels are kept in the virtual environment, for they take minutes.
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.launches import HANGS
from tests.mini_hub import MiniHub

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# What another release of the platform may break: the marker `versions`. Of these, `newest` marks the first two, and
# `test_contract.py` marks one configuration a family.
GENERATION_FILES = ("test_generation.py", "test_fused_generation.py")
VERSIONS_FILES = (
    *GENERATION_FILES,
    "test_contract.py",
    "test_hub.py",
    "test_hub_code.py",
    "test_hub_loading.py",
    "test_hub_refusals.py",
    "test_golden_pipelines.py",
    "test_removed_pipelines.py",
    "test_word_vectors_pipeline.py",
    "test_training.py",
    "test_transformer_platform.py",
)

assert "huggingface_hub" not in sys.modules, "huggingface_hub was imported before HF_ENDPOINT could be set"

HUB = MiniHub(xet=os.environ.get("HFSEQ_TEST_XET") == "1")
REPO_NUMBERS = itertools.count()
HF_HOME = tempfile.mkdtemp(prefix="hfseq-tests-")
CACHE = Path(sys.prefix) / ".cache"
DATA_FOLDER = Path(os.environ.get("HFSEQ_DATA", Path(__file__).parents[2] / "shared" / "data"))

os.environ.update(
    HF_ENDPOINT=HUB.url,
    HF_HOME=HF_HOME,
    HF_TOKEN="hf_write",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DOWNLOAD_TIMEOUT=str(HANGS),
    HF_HUB_ETAG_TIMEOUT=str(HANGS),
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_XET="0" if HUB.xet else "1",
    NO_PROXY="127.0.0.1",
    no_proxy="127.0.0.1",  # wins over the upper-case name where both are set
    TOKENIZERS_PARALLELISM="false",
)
os.environ.setdefault("HF_ASSETS_CACHE", str(CACHE / "assets"))  # where the kernels of the cells are printed
os.environ.setdefault("NUMBA_CACHE_DIR", str(CACHE / "numba"))  # and where all machine code goes
for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "TRANSFORMERS_OFFLINE"):
    os.environ.pop(name, None)  # the developer's own settings must not leak into the tests

import torch  # noqa: E402 (nothing that may import huggingface_hub comes before the environment is set)

from tests import devices  # noqa: E402

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
devices.make_comparable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what the other releases are tested with, and skip the tests marked `data` where the data are not."""
    for item in items:
        if item.path.name in VERSIONS_FILES:
            item.add_marker("versions")
        if item.path.name in GENERATION_FILES:
            item.add_marker("newest")
    if DATA_FOLDER.is_dir():
        return
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(pytest.mark.skip(reason=f"needs the data folder {DATA_FOLDER}; set HFSEQ_DATA"))


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    HUB.close()
    shutil.rmtree(HF_HOME, ignore_errors=True)


@pytest.fixture
def hub() -> Iterator[MiniHub]:
    """The Hub that every client in this process talks to, with an empty log and without faults."""
    HUB.faults.clear()
    HUB.log.clear()
    yield HUB
    HUB.faults.clear()
    HUB.log.clear()


@pytest.fixture
def api() -> "HfApi":
    """Client of user "user", who may write."""
    from huggingface_hub import HfApi

    return HfApi()


@pytest.fixture
def repo_id() -> str:
    """Id of a repository that no other test uses; it is not created."""
    return f"user/repo{next(REPO_NUMBERS)}"


@pytest.fixture
def repo(hub: MiniHub, api: "HfApi", repo_id: str) -> str:
    """Id of a repository that exists: a public model repository of user "user"."""
    api.create_repo(repo_id)
    hub.log.clear()
    return repo_id


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Folder with a small LSTM classifier, its tokenizer and a card."""
    from tests.hub.checkpoints import save_checkpoint

    return save_checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub retry at once; it waits 1, 2, 4, 8 seconds between attempts otherwise."""
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture
def data_folder() -> Path:
    """Folder with the data sets, for tests marked `data`."""
    return DATA_FOLDER


@pytest.fixture
def run_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Function that runs a snippet in a Python of its own: this environment plus `env`, no stdin, an empty folder.

    In that folder nothing of this repository can be imported but what is installed.
    """

    def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=os.environ | env,
            cwd=tmp_path_factory.mktemp("run_python"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=HANGS,
        )

    return run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that people install."""
    from tests.wheels import build_wheel

    return build_wheel(tmp_path_factory.mktemp("package"))
