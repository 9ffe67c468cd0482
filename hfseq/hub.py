"""Checkpoints to and from the Hub: one commit, nothing but what a reader needs, checked on arrival.

Where `push_to_hub` of transformers loses or leaks something, `push` sends model, tokenizer and card in one commit on
top of the commit it has seen, deletes the weights which that commit replaces (a stale `model.safetensors` beats newer
shards), sends listed file names only, and compares every file with its remote hash. `pull` is the way back.
"""

import inspect
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.dynamic_module_utils import get_imports

from .models import artifacts
from .models.artifacts import CONFIG_NAME, INDEX_NAME, TOKENIZER_NAME, WEIGHTS_NAME, UnsafeArtifactError, read_json
from .registry import AUTO_CLASSES, FAMILIES
from .tokenization.files import check_tokenizer_folder

__all__ = [
    "BehindError",
    "ConflictError",
    "HubError",
    "PushResult",
    "RefusedError",
    "UnsafeArtifactError",
    "UnsaidError",
    "VerificationError",
    "pull",
    "push",
]

logger = logging.getLogger(__name__)

CARD_NAME = "README.md"
FACTS_NAME = "facts.json"
WEIGHT_FILES = (WEIGHTS_NAME, INDEX_NAME, "model-?????-of-?????.safetensors")
TOKENIZER_FILES = (
    *(TOKENIZER_NAME, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *(artifacts.SOURCE_TOKENIZER_NAME, artifacts.TARGET_TOKENIZER_NAME),
    *("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model"),
)
_PICTURES = ("curves", "confusion", "coverage", "forecasts")  # which the card shows
PICTURE_FILES = tuple(f"{name}.{kind}" for name in _PICTURES for kind in ("svg", "png"))
OTHER_FILES = (CONFIG_NAME, "generation_config.json", "preprocessor_config.json", CARD_NAME, "LICENSE", *PICTURE_FILES)
ALLOWED_FILES = (*OTHER_FILES, *TOKENIZER_FILES, *WEIGHT_FILES)
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-?????-of-?????.bin")

STATUS_CAUSES = {
    401: "the repository does not exist, or the token is missing or not valid (`hf auth login`)",
    403: "the token may not do this: it is read-only, or has no access to this gated or foreign repository",
    404: "the repository or the revision does not exist, or the token may not see it",
}


class RefusedError(ValueError):
    """The checkpoint is whole, but not yet to be published; the message says what to do."""


class BehindError(RefusedError):
    """A simple system is better than the model on the same rows, as its own facts say; `force` pushes it anyway."""


class UnsaidError(RefusedError):
    """The card lacks words that only a person knows, such as the licence of the data."""


class HubError(OSError):
    """The Hub refused a request; the message names the repository and the cause."""


class ConflictError(HubError):
    """Somebody else committed to the repository since its head was read; nothing was written."""


class VerificationError(HubError):
    """A file here and the file of the same name on the Hub differ."""


@dataclass(frozen=True)
class PushResult:
    """What `push` left on the Hub."""

    oid: str  # the commit that holds the checkpoint; the former head if everything was there already
    url: str  # where to look at that commit
    files: tuple[str, ...]  # the names of the checkpoint's files


def push(
    source: PreTrainedModel | str | Path,
    repo_id: str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    card: str | None = None,
    revision: str | None = None,
    private: bool | None = None,
    commit_message: str = "Upload checkpoint",
    parent_commit: str | None = None,
    with_code: bool = False,
    force: bool = False,
    token: str | bool | None = None,
) -> PushResult:
    """Push a checkpoint, a folder or a model, in one commit, and check that it arrived.

    Before any request a checkpoint is refused that is incomplete, malformed, a link, not finite, or without a card; so
    is a trained folder whose card lacks words ("The licence of the data was not stated").

    Args:
        repo_id: The repository, `user/name`; it is made if it does not exist.
        tokenizer: Takes the place of the tokenizer files in the folder.
        card: The text of the model card; takes the place of the folder's `README.md`, and is required without one.
        revision: The branch to commit to, made from `main` if it does not exist.
        private: Whether a repository made by this call is private.
        parent_commit: The head that this checkpoint was made for; by default the head found now. A commit on top of
            any other head is refused.
        with_code: Whether the code of the model goes along, so that it loads with `trust_remote_code=True` where its
            package is not installed.
        force: Whether a model goes that is behind a simple system measured in the same run.
    """
    if not isinstance(source, PreTrainedModel) and (Path(source) / FACTS_NAME).is_file():
        _refuse_unsaid(Path(source), card)
        if not force:
            _refuse_behind(Path(source))
    with tempfile.TemporaryDirectory() as staging:
        folder = _stage(source, Path(staging), tokenizer, card)
        if with_code:
            _add_code(folder)
        elif "auto_map" in read_json(folder / CONFIG_NAME):
            raise ValueError("config.json has an auto_map: push with_code=True, or delete that entry.")
        api = HfApi(token=token)
        with _explained_errors(repo_id):
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if revision is not None and not revision.startswith("refs/"):
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            return _push_folder(api, repo_id, folder, revision, commit_message, parent_commit)


def pull(
    repo_id: str,
    revision: str | None = None,
    *,
    token: str | bool | None = None,
    verify: bool = True,
    cache_dir: str | Path | None = None,
) -> Path:
    """Download a checkpoint, without pickles and code, and return its folder for `from_pretrained`.

    Refused is one without safetensors weights, or whose parts are malformed, dangerous to load, or do not fit.

    Args:
        verify: Whether to compare every file with its hash on the Hub: the download itself compares lengths only.
            A pinned commit that is in the cache needs no request at all with `verify=False`.
    """
    allowed = list(ALLOWED_FILES)
    with _explained_errors(repo_id):
        found = snapshot_download(repo_id, revision=revision, token=token, cache_dir=cache_dir, allow_patterns=allowed)
        folder = Path(found)
        if verify:
            _verify_snapshot(repo_id, folder, token, cache_dir)
    artifacts.check_weights_folder(folder)
    artifacts.check_tokenizer_ids(folder)
    check_tokenizer_folder(folder)
    return folder


def _refuse_unsaid(folder: Path, card: str | None) -> None:
    from .cards.publishing import asked, unsaid_in  # here, as in the next one, since cards draw in all tasks

    path = folder / CARD_NAME
    text = path.read_text(encoding="utf-8") if card is None and path.is_file() else card or ""
    if names := unsaid_in(text):
        options = " ".join(f"--{name.replace('_', '-')} TEXT" for name in names)
        raise UnsaidError(
            f"{path} does not say {asked(names)}. Give them, `hfseq push {folder} REPO_ID {options}`, "
            f"or write them into the card."
        )


def _refuse_behind(folder: Path) -> None:
    from .cards.publishing import behind_line_in

    line = behind_line_in(folder)
    if line is not None:
        cure = "Train longer or another model, or push it all the same with force=True (--hub.force=true, --force)."
        raise BehindError(f"{folder}: {line} {cure}")


def _stage(
    source: PreTrainedModel | str | Path, staging: Path, tokenizer: PreTrainedTokenizerBase | None, card: str | None
) -> Path:
    """Check a checkpoint, and copy what is to leave the machine, and nothing else, into a folder of its own."""
    folder = staging / "model" if isinstance(source, PreTrainedModel) else Path(source)
    if isinstance(source, PreTrainedModel):
        source.save_pretrained(folder)
    tokens = folder if tokenizer is None else staging / "tokenizer"
    if tokenizer is not None:
        tokenizer.save_pretrained(tokens)
    _refuse_links(folder)
    weights = artifacts.check_weights_folder(folder)
    artifacts.check_finite_weights(weights)
    artifacts.check_tokenizer_ids(tokens, read_json(folder / CONFIG_NAME))
    target = staging / "checkpoint"
    target.mkdir()
    _copy(folder, (*OTHER_FILES, INDEX_NAME, *(path.name for path in weights)), target)
    _copy(tokens, TOKENIZER_FILES, target)
    if card is not None:
        (target / CARD_NAME).write_text(card, encoding="utf-8")
    if not (target / CARD_NAME).is_file():
        raise ValueError(f"There is no model card: pass card=, or write {folder / CARD_NAME}.")
    return target


def _copy(folder: Path, names: Iterable[str], target: Path) -> None:
    for name in names:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)


def _refuse_links(folder: Path) -> None:
    for path in sorted(folder.glob("*")):
        if path.is_symlink() and _matches(path.name, (*ALLOWED_FILES, "*.safetensors")):
            raise UnsafeArtifactError(f"{path} is a symbolic link, maybe to a secret: push a real copy (`cp -rL`).")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _push_folder(
    api: HfApi, repo_id: str, folder: Path, revision: str | None, message: str, parent: str | None
) -> PushResult:
    """Commit on top of the head that is read here, or not at all."""
    names = tuple(sorted(path.name for path in folder.iterdir()))
    head = str(api.model_info(repo_id, revision=revision).sha)
    if parent is not None and not head.startswith(parent):
        raise _conflict(repo_id, parent)
    different, others = _compare(api, repo_id, folder, head)
    if not set(TOKENIZER_FILES) & {*names, *others}:
        logger.warning("%s gets no tokenizer: AutoTokenizer may make up an empty one.", repo_id)
    replaced = [name for name in others if _matches(name, (*WEIGHT_FILES, *PICKLES))]
    if not replaced and not different:
        return PushResult(head, f"{api.endpoint}/{repo_id}/commit/{head}", names)
    commit = _commit(api, repo_id, [folder / name for name in names], replaced, revision, message, head)
    wrong, others = _compare(api, repo_id, folder, commit.oid)
    wrong += [name for name in replaced if name in others]
    if wrong:
        raise VerificationError(
            f"{', '.join(wrong)} in {repo_id} at {commit.oid} is not what was pushed: push again. "
            f"The commit before it is {head}."
        )
    return PushResult(commit.oid, commit.commit_url, names)


def _compare(api: HfApi, repo_id: str, folder: Path, revision: str) -> tuple[list[str], list[str]]:
    """List the files of a folder that the Hub lacks or has with another hash, and what the Hub has besides."""
    checked = api.verify_repo_checksums(repo_id, revision=revision, local_dir=folder)
    return [mismatch["path"] for mismatch in checked.mismatches] + checked.extra_paths, checked.missing_paths


def _commit(
    api: HfApi, repo_id: str, files: list[Path], replaced: list[str], revision: str | None, message: str, parent: str
) -> CommitInfo:
    # create_commit, since upload_folder may split its work into several commits when xet is in use.
    additions = [CommitOperationAdd(path.name, path) for path in files]
    changes: list[CommitOperationAdd | CommitOperationDelete] = [*additions, *map(CommitOperationDelete, replaced)]
    try:
        commit = api.create_commit(repo_id, changes, commit_message=message, revision=revision, parent_commit=parent)
    except RemoteEntryNotFoundError as error:  # a file to delete was there at the parent: somebody deleted it since
        raise _conflict(repo_id, parent) from error
    # The client skips the commit, and with it the check of the parent, when somebody else has just pushed the same.
    if not any(addition._is_committed for addition in additions):
        raise _conflict(repo_id, parent)
    return commit


def _verify_snapshot(repo_id: str, folder: Path, token: str | bool | None, cache_dir: str | Path | None) -> None:
    checked = HfApi(token=token).verify_repo_checksums(repo_id, revision=folder.name, cache_dir=cache_dir)
    wrong = [mismatch["path"] for mismatch in checked.mismatches]
    for name in wrong:  # otherwise the next download would find it in the cache and take it for the right one
        (folder / name).resolve().unlink()
        (folder / name).unlink(missing_ok=True)
    if wrong:
        names = ", ".join(wrong)
        raise VerificationError(f"{names} of {repo_id} at {folder.name} came damaged and is deleted here: pull again.")


@contextmanager
def _explained_errors(repo_id: str) -> Iterator[None]:
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 412:
            raise _conflict(repo_id, None) from error
        cause = STATUS_CAUSES.get(status, error.server_message or "the Hub gave no reason")
        raise HubError(f"{repo_id}: {cause} (HTTP {status}).") from error


def _conflict(repo_id: str, parent: str | None) -> ConflictError:
    since = f"since {parent}" if parent else "while this push was under way"
    return ConflictError(
        f"Somebody else committed to {repo_id} {since}; nothing was written. Look at the new head, then push again."
    )


def _add_code(folder: Path) -> None:
    """Add the modules of the model, and a map to them in its config.

    `register_for_auto_class` would mark the live class: every later `save_pretrained` of the process would write code.
    """
    config = read_json(folder / CONFIG_NAME)
    classes = _auto_classes(config.get("model_type"))
    copied: dict[str, Path] = {}
    for module in sorted({inspect.getfile(cls) for cls in classes.values()}):
        flatten(Path(module), folder, copied)
    config["auto_map"] = {auto: f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}" for auto, cls in classes.items()}
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _auto_classes(model_type: Any) -> dict[str, type]:
    for family in FAMILIES.values():
        if family.config.model_type == model_type:
            heads = {AUTO_CLASSES[task].__name__: head for task, head in family.heads.items()}
            body = {} if family.backbone is None else {"AutoModel": family.backbone}
            return {"AutoConfig": family.config, **body, **heads}
    known = ", ".join(family.config.model_type for family in FAMILIES.values())
    raise ValueError(f"Only code of hfseq can travel, model_type {known}; got {model_type!r}: drop with_code.")


_RELATIVE_IMPORT = re.compile(r"^(\s*)from (\.+)((?:\w+\.)*)(\w*) import", re.MULTILINE)


def flatten(file: Path, target: Path, copied: dict[str, Path]) -> None:
    """Copy a module of a model and what it imports relatively into one folder, from which transformers loads code.

    There `from ..base import X` becomes `from .base import X`. `copied` maps names to the modules copied so far.
    """
    if file.name in copied:
        if copied[file.name] != file:
            raise ValueError(f"Code that travels has two modules called {file.name}: {copied[file.name]} and {file}.")
        return
    if not file.is_file() or "models" not in file.parts[-3:-1]:
        raise ValueError(f"{file} is no module of a model: code that travels imports names from those alone.")
    if "hfseq" in get_imports(file):
        raise ValueError(f"{file} needs hfseq itself: import it inside `try:`, with a way to do without.")
    copied[file.name] = file
    text = file.read_text(encoding="utf-8")
    for _, dots, folders, name in _RELATIVE_IMPORT.findall(text):
        parent = file.parents[len(dots) - 1] / folders.replace(".", "/")
        flatten(parent / f"{name}.py", target, copied)
    (target / file.name).write_text(_RELATIVE_IMPORT.sub(r"\1from .\4 import", text), encoding="utf-8")
